//! Directories of engines, looked at without one, and what is whole in them taken into a new one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use encumber::{
    Cap, Engine, FileKind, Limit, ManualClock, OpenError, Persist, Policy, Reset, SalvageError, Subject, Timestamp,
    Unit, Window, WorkflowSpec, inspect, salvage,
};

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    /// Where none is yet.
    fn none() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the numbers only have to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("encumber-inspect-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    /// What a process that is killed now leaves behind: all that was written, synced or not.
    fn killed(&self) -> Self {
        let copy = Self::none();
        fs::create_dir_all(&copy.0).unwrap();
        for (name, bytes) in self.files() {
            fs::write(copy.0.join(name), bytes).unwrap();
        }
        copy
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&self.0).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }

    fn flip(&self, name: &str, at: usize) {
        let mut bytes = fs::read(self.0.join(name)).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(self.0.join(name), bytes).unwrap();
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const START: &str = "2026-02-04T20:55:00Z";
const TTL: Duration = Duration::from_secs(300);

fn clock() -> ManualClock {
    ManualClock::at(START.parse().unwrap())
}

fn policy() -> Policy {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("places", Unit::Count)
        .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(6_400)))
        .limit(Limit::new("life", "user", "tokens", Window::Lifetime, Cap::Max(64_000)))
        .limit(Limit::new("rolling", "agent", "tokens", "rolling 1h".parse().unwrap(), Cap::Max(1_000)))
        .limit(Limit::new("session", "agent", "tokens", "5h from first use".parse().unwrap(), Cap::Max(2_000)))
        .limit(Limit::new("places", "user", "places", Window::Lifetime, Cap::Max(4)))
        .build()
        .unwrap()
}

fn open(dir: &Dir, clock: &ManualClock) -> Engine {
    Engine::builder(policy()).clock(clock).persist(Persist::journal(dir.path())).build().unwrap()
}

/// By how much a record lowers a budget, at most: a step of the largest cap, and what [`fill`] gives back.
const LOWERED: u64 = 70_000 / 64 + 77 + 64;

/// Something of everything.
fn fill(engine: &Engine) {
    let [tokens, places] = ["tokens", "places"].map(|name| engine.resource(name).unwrap());
    let user = Subject::new("user", "7").unwrap();
    engine.top_up(&user, "day", 500).unwrap();
    engine.set_override(&user, "life", Some(Cap::Max(70_000))).unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    engine.scope(["user:8"]).unwrap().try_charge(tokens.of(77)).unwrap();
    engine.scope(["user:8"]).unwrap().reset(&Reset::limit("day")).unwrap();
    engine.scope(["agent:a"]).unwrap().record(tokens.of(900)).unwrap();
    scope.try_charge(tokens.of(123)).unwrap();
    let _ = scope.reserve(tokens.of(640)).unwrap().detach(TTL).unwrap();
    let guard = scope.reserve_for(tokens.of(10), TTL).unwrap();
    guard.dispatched();
    std::mem::forget(guard);
    let _ = scope.reserve_with_id("req-1", TTL, tokens.of(10)).unwrap();
    scope.reserve_with_id("req-2", TTL, tokens.of(64)).unwrap().commit(tokens.of(32)).unwrap();
    scope.slot_with_id(places, "stream", TTL).unwrap().detach();
    let spec = WorkflowSpec::new().steps(3).tool("search", 5).budget(tokens, 1_000);
    let workflow = scope.begin_workflow("wf-1", spec).unwrap();
    workflow.step().unwrap();
    workflow.step().unwrap();
    workflow.scope().try_charge(tokens.of(5)).unwrap();
    std::mem::forget(workflow);
    scope.begin_workflow("wf-2", WorkflowSpec::new()).unwrap().end();
}

/// Subject, limit and charged.
type Charged = BTreeMap<(String, String), u64>;

fn found(dir: &Dir) -> Charged {
    let budgets = inspect(dir.path()).unwrap().budgets;
    budgets
        .into_iter()
        .map(|budget| ((budget.subject.to_string(), budget.rule.limit.to_string()), budget.charged))
        .collect()
}

fn charged(engine: &Engine) -> Charged {
    let mut all = Charged::new();
    for subject in ["user:7", "user:8", "agent:a"] {
        for budget in engine.scope([subject]).unwrap().usage().unwrap() {
            all.insert((subject.to_owned(), budget.limit.to_string()), budget.charged());
        }
    }
    all.retain(|_, charged| *charged > 0);
    all
}

#[test]
fn everything_of_a_closed_directory_is_told() {
    let (dir, clock) = (Dir::none(), clock());
    let engine = open(&dir, &clock);
    fill(&engine);
    let actual = charged(&engine);
    engine.close().unwrap();
    let before = dir.files();
    let read = inspect(dir.path()).unwrap();
    assert_eq!(dir.files(), before, "nothing is changed");

    assert!(read.was_closed && read.torn.is_none() && read.in_use == Some(false), "{read:?}");
    assert_eq!((read.snapshot, read.records, read.resets, read.remembered), (Some(2), 0, 1, 1));
    let files: Vec<_> = read.files.iter().map(|file| (&*file.name, file.kind, file.number, file.is_used)).collect();
    let expected = [
        ("LOCK", FileKind::Lock, None, false),
        ("journal-0000000000000001", FileKind::Journal, Some(1), false),
        ("journal-0000000000000002", FileKind::Journal, Some(2), true),
        ("snapshot-0000000000000001", FileKind::Snapshot, Some(1), false),
        ("snapshot-0000000000000002", FileKind::Snapshot, Some(2), true),
    ];
    assert_eq!(files, expected);
    assert!(read.files.iter().all(|file| file.bytes == Some(before[&file.name].len() as u64)));
    assert!(read.files.iter().all(|file| file.unreadable.is_none()), "the generation before is whole");
    assert_eq!(read.latest, Some(START.parse().unwrap()));
    let mut exact = found(&dir);
    exact.retain(|_, charged| *charged > 0);
    assert_eq!(exact, actual);

    let limits: Vec<&str> = read.rules.iter().map(|rule| &*rule.limit).collect();
    assert!(["day", "life", "places", "rolling", "session"].iter().all(|limit| limits.contains(limit)), "{limits:?}");
    let day = read.budgets.iter().find(|budget| &*budget.rule.limit == "day").unwrap();
    let bounds = day.bounds.unwrap();
    assert_eq!((day.subject.as_str(), day.window_number), ("user:7", 20_488));
    assert_eq!(bounds.start.to_string(), "2026-02-04T00:00:00.000Z");
    assert!(!day.has_ended(START.parse().unwrap()) && day.has_ended(bounds.end));

    let grants: Vec<_> =
        read.grants.iter().map(|grant| (&*grant.rule.limit, grant.cap, grant.extra, grant.extra_window)).collect();
    assert_eq!(grants, [("day", None, 500, Some(20_488)), ("life", Some(Cap::Max(70_000)), 0, None)]);

    let holds: Vec<_> = read.holds.iter().map(|hold| (&*hold.id, hold.slot_of.as_deref())).collect();
    assert_eq!(holds.len(), 4, "{holds:?}");
    assert_eq!(holds[2..], [("req-1", None), ("stream", Some("places"))]);
    assert!(holds[0].0.starts_with('#') && holds[1].0.starts_with('#'));
    let flags: Vec<_> = read.holds.iter().map(|hold| (hold.guarded, hold.dispatched)).collect();
    assert_eq!(flags, [(false, false), (true, true), (false, false), (false, false)]);
    assert_eq!(read.holds[0].held, [("tokens".into(), 640)]);
    assert_eq!(read.holds[0].subjects, [Subject::global(), Subject::new("user", "7").unwrap()]);
    assert_eq!(read.holds[0].expires_at, START.parse::<Timestamp>().unwrap().saturating_add(TTL));

    let [workflow] = &read.workflows[..] else { panic!("{:?}", read.workflows) };
    assert_eq!((&*workflow.id, workflow.steps, workflow.steps_max), ("wf-1", 2, Cap::Max(3)));
    let carried: u64 = workflow.budgets.iter().map(|budget| budget.charged).sum();
    assert_eq!(carried, 2 + 5);
}

#[test]
fn windows_have_ended_when_nothing_of_them_counts() {
    let (dir, clock) = (Dir::none(), clock());
    let engine = open(&dir, &clock);
    engine.scope(["agent:a"]).unwrap().record(engine.resource("tokens").unwrap().of(900)).unwrap();
    let from = clock.now();
    engine.close().unwrap();
    let read = inspect(dir.path()).unwrap();
    let [rolling, session] = &read.budgets[..] else { panic!("{:?}", read.budgets) };
    assert!(rolling.bounds.is_none());
    let bounds = session.bounds.unwrap();
    assert_eq!(bounds.end.saturating_since(bounds.start), Duration::from_secs(5 * 3_600));
    for (budget, seconds) in [(rolling, 3_600), (session, 5 * 3_600)] {
        let after = |seconds| from.saturating_add(Duration::from_secs(seconds));
        assert!(!budget.has_ended(after(seconds - 1)), "{budget:?}");
        // A rolling window counts to a sixtieth of its length.
        assert!(budget.has_ended(after(seconds + seconds / 60)), "{budget:?}");
    }
}

#[test]
fn a_killed_directory_is_told_as_an_engine_finds_it() {
    let (dir, clock) = (Dir::none(), clock());
    let engine = open(&dir, &clock);
    fill(&engine);
    let killed = dir.killed();
    let read = inspect(killed.path()).unwrap();
    assert!(!read.was_closed && read.torn.is_none() && read.records > 10, "{read:?}");
    let mut told = found(&killed);
    told.retain(|_, charged| *charged > 0);
    for (budget, actual) in charged(&engine) {
        assert!(told[&budget] >= actual, "{budget:?} has {} of {actual}", told[&budget]);
    }
    let again = open(&killed, &clock);
    assert_eq!(charged(&again), told);
    let report = again.recovery().unwrap();
    assert_eq!((report.holds.len(), report.workflows.len()), (read.holds.len(), read.workflows.len()));
    assert_eq!((report.records, report.budgets), (read.records, told.len() as u64));
}

#[test]
fn a_directory_without_an_engine_is_told_and_none_is_made() {
    let dir = Dir::none();
    assert!(matches!(inspect(dir.path()), Err(OpenError::Io(_))));
    assert!(!dir.path().exists());
    fs::create_dir_all(dir.path()).unwrap();
    let read = inspect(dir.path()).unwrap();
    assert!(read.files.is_empty() && read.snapshot.is_none() && read.latest.is_none() && !read.was_closed);
    assert!(dir.files().is_empty());
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    assert!(matches!(inspect(dir.path().join("notes.txt")), Err(OpenError::Io(_))));
    let read = inspect(dir.path()).unwrap();
    assert_eq!((read.files[0].kind, read.files[0].bytes), (FileKind::Foreign, Some(1)));
}

#[test]
fn damage_is_an_error_and_in_the_generation_before_it_is_a_remark() {
    let (dir, clock) = (Dir::none(), clock());
    let engine = open(&dir, &clock);
    fill(&engine);
    engine.close().unwrap();
    let _reopened = open(&dir, &clock);
    let older = dir.killed();
    older.flip("snapshot-0000000000000002", 70);
    let read = inspect(older.path()).unwrap();
    let found = read.files.iter().find(|file| file.name == "snapshot-0000000000000002").unwrap();
    assert!(!found.is_used && found.unreadable.as_ref().is_some_and(|damage| damage.offset == 64), "{found:?}");
    let newest = read.snapshot.unwrap();
    let name = format!("snapshot-{newest:016}");
    dir.flip(&name, 80);
    let Err(OpenError::Corrupt { path, offset, why }) = inspect(dir.path()) else { panic!("it is damaged") };
    assert_eq!((path.file_name().unwrap().to_str(), offset), (Some(&*name), 64), "{why}");
}

#[test]
fn a_directory_in_use_is_read_while_it_changes() {
    let (dir, clock) = (Dir::none(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(tokens.of(1)).unwrap();
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for round in 0..150 {
                scope.record(tokens.of(40)).unwrap();
                let _ = scope.reserve(tokens.of(1)).unwrap().detach(TTL);
                if round % 3 == 0 {
                    engine.snapshot_now().unwrap();
                }
            }
        });
        let mut last = 0;
        let mut reads = 0;
        while !writer.is_finished() {
            let read = inspect(dir.path()).unwrap();
            assert_eq!(read.in_use, Some(true));
            let life = read.budgets.iter().find(|budget| &*budget.rule.limit == "life").unwrap();
            assert!(life.charged >= last, "it goes on, never back");
            last = life.charged;
            reads += 1;
        }
        writer.join().unwrap();
        assert!(reads > 5, "{reads} reads");
    });
    let clash = salvage(dir.path(), Dir::none().path()).unwrap_err();
    assert!(matches!(clash, SalvageError::Open(OpenError::AlreadyOpen(_))), "{clash}");
}

#[test]
fn what_is_whole_is_copied_whole() {
    let (dir, to, clock) = (Dir::none(), Dir::none(), clock());
    let engine = open(&dir, &clock);
    fill(&engine);
    engine.close().unwrap();
    let before = dir.files();
    let salvaged = salvage(dir.path(), to.path()).unwrap();
    assert_eq!(dir.files(), before, "never in place");
    assert!(salvaged.is_complete() && salvaged.is_exact, "{salvaged}");
    assert_eq!((salvaged.snapshot, salvaged.holds, salvaged.workflows), (Some(2), 4, 1));
    let [old, new] = [&dir, &to].map(|dir| inspect(dir.path()).unwrap());
    assert_eq!((new.was_closed, new.snapshot), (true, Some(3)), "its numbers go on");
    assert_eq!(old.budgets, new.budgets);
    assert_eq!((old.grants, old.holds, old.workflows), (new.grants, new.holds, new.workflows));
    assert_eq!((old.latest, old.rules, old.remembered), (new.latest, new.rules, new.remembered));
    assert!(matches!(salvage(dir.path(), to.path()), Err(SalvageError::NotEmpty(_))));
    let [one, other] = [open(&dir, &clock), open(&to, &clock)];
    assert_eq!(charged(&one), charged(&other));
    let holds = |engine: &Engine| format!("{:?}", engine.recovery().unwrap().holds);
    assert_eq!(holds(&one), holds(&other));
}

/// Two generations of a journal, of which the newer one has something in its snapshot and in its segment.
fn two_generations(clock: &ManualClock) -> (Dir, Charged) {
    let dir = Dir::none();
    let engine = open(&dir, clock);
    fill(&engine);
    engine.snapshot_now().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    for subject in ["user:7", "user:8"] {
        engine.scope([subject]).unwrap().record(tokens.of(200)).unwrap();
    }
    engine
        .scope(["user:7"])
        .unwrap()
        .reserve_with_id("req-9", TTL, tokens.of(9))
        .unwrap()
        .commit(tokens.of(9))
        .unwrap();
    let killed = dir.killed();
    (killed, charged(&engine))
}

#[test]
fn what_came_after_a_snapshot_counts() {
    let clock = clock();
    let (dir, actual) = two_generations(&clock);
    let read = inspect(dir.path()).unwrap();
    assert!(read.snapshot == Some(2) && read.records > 2, "{read:?}");
    let told = found(&dir);
    assert!(actual.iter().all(|(budget, charged)| told[budget] >= *charged), "{told:?} of {actual:?}");
    let again = charged(&open(&dir, &clock));
    assert!(again.iter().all(|(budget, charged)| told[budget] == *charged), "{told:?} is not {again:?}");
}

#[test]
fn nothing_is_under_counted_but_what_was_in_damaged_frames() {
    let clock = clock();
    let (dir, actual) = two_generations(&clock);
    let whole = found(&dir);
    let files = dir.files();
    let (mut opened, mut lossy) = (0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "LOCK") {
        for at in (0..bytes.len()).step_by(47) {
            let (damaged, to) = (dir.killed(), Dir::none());
            damaged.flip(name, at);
            let refuses = inspect(damaged.path()).is_err();
            let salvaged = salvage(damaged.path(), to.path()).unwrap();
            assert!(!salvaged.is_exact && (!refuses || !salvaged.is_complete()), "{name} {at}: {salvaged}");
            let told = found(&to);
            // One generation is whole, and all that came after it.
            if name == "journal-0000000000000002" {
                lossy += u32::from(actual.iter().any(|(budget, charged)| told.get(budget).is_none_or(|t| t < charged)));
                // A record that lowered a budget may be what is lost: then it stands as it did before.
                for (budget, charged) in &told {
                    let now = whole[budget];
                    assert!(*charged <= now + LOWERED, "{name} {at}: {budget:?} has {charged} and not {now}");
                }
            } else {
                for (budget, charged) in &actual {
                    assert!(told[budget] >= *charged, "{name} {at}: {budget:?} has {} of {charged}", told[budget]);
                }
            }
            if at % 5 == 0 {
                let again = open(&to, &clock);
                let mut found = charged(&again);
                found.retain(|budget, _| told.contains_key(budget));
                assert!(found.iter().all(|(budget, charged)| *charged <= told[budget]), "{name} {at}");
                opened += 1;
            }
        }
    }
    println!("{opened} opened, {lossy} lossy");
    assert!(opened > 10 && lossy > 0);
}

#[test]
fn records_behind_damage_are_taken_and_the_loss_is_told() {
    let clock = clock();
    let (dir, actual) = two_generations(&clock);
    let to = Dir::none();
    let journal = "journal-0000000000000002";
    dir.flip(journal, 64 + 40);
    let salvaged = salvage(dir.path(), to.path()).unwrap();
    let [lost] = &salvaged.lost[..] else { panic!("{salvaged}") };
    assert_eq!((lost.path.file_name().unwrap().to_str(), lost.from), (Some(journal), 64));
    assert_eq!((salvaged.snapshot, salvaged.records_lost, salvaged.is_exact), (Some(2), 1, false));
    let text = salvaged.to_string();
    for part in ["Passed over: ", "bytes 64 to ", "Under-counted may be", "Records known to be lost: 1."] {
        assert!(text.contains(part), "{text}");
    }
    let told = found(&to);
    let user_8 = |limit: &str| ("user:8".to_owned(), limit.to_owned());
    assert!(told[&user_8("life")] >= actual[&user_8("life")], "it was written behind the damage");
    assert!(inspect(to.path()).unwrap().holds.iter().all(|hold| hold.dispatched || hold.slot_of.is_some()));
}

#[test]
fn pieces_of_two_damaged_snapshots_are_taken_together() {
    let (dir, to, clock) = (Dir::none(), Dir::none(), clock());
    let persist = |dir: &Dir| Persist::snapshot(dir.path(), Duration::from_secs(3_600));
    let engine = Engine::builder(policy()).clock(&clock).persist(persist(&dir)).build().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    // More than one piece of them.
    let charge = || {
        for id in 0..3_000 {
            engine.scope([Subject::new("user", &format!("{id:04}")).unwrap()]).unwrap().record(tokens.of(7)).unwrap();
        }
    };
    for _ in 0..2 {
        charge();
        engine.snapshot_now().unwrap();
    }
    let killed = dir.killed();
    let [old, new] = ["snapshot-0000000000000002", "snapshot-0000000000000003"];
    let middle = |name: &str| fs::metadata(killed.path().join(name)).unwrap().len() as usize / 2;
    // Rules have a piece of their own.
    killed.flip(new, middle(new));
    let salvaged = salvage(killed.path(), to.path()).unwrap();
    assert_eq!((salvaged.snapshot, &*salvaged.damaged_snapshots), (Some(2), &[3][..]));
    assert!(salvaged.pieces > 1 && salvaged.to_string().contains("With snapshots alone"), "{salvaged}");
    let lives = |dir: &Dir| {
        let told = found(dir).into_iter().filter(|((_, limit), _)| limit == "life");
        told.fold((0, 0), |(old, new), (_, charged)| match charged {
            7 => (old + 1, new),
            14 => (old, new + 1),
            other => panic!("{other}"),
        })
    };
    let (before, after) = lives(&to);
    assert_eq!(before + after, 3_000);
    assert!(before > 100 && after > 100, "{before} as of the older snapshot, {after} as of the newer one");

    killed.flip(old, middle(old));
    let to = Dir::none();
    let salvaged = salvage(killed.path(), to.path()).unwrap();
    assert_eq!((salvaged.snapshot, &*salvaged.damaged_snapshots), (None, &[3, 2][..]));
    let (_, still) = lives(&to);
    assert_eq!(still, after, "{salvaged}");
}

#[test]
fn ids_that_the_engine_gives_are_new_after_a_salvage() {
    let (mut dir, to, clock) = (Dir::none(), Dir::none(), clock());
    let given = |engine: &Engine| {
        let hold = engine.scope(["user:7"]).unwrap().reserve(engine.resource("tokens").unwrap().of(1)).unwrap();
        hold.detach(TTL).unwrap().id().to_string()
    };
    let mut ids = Vec::new();
    for _ in 0..3 {
        let engine = open(&dir, &clock);
        ids.push(given(&engine));
        // Killed, so that each has the next number.
        let killed = dir.killed();
        drop(engine);
        dir = killed;
    }
    salvage(dir.path(), to.path()).unwrap();
    let engine = open(&to, &clock);
    let next = given(&engine);
    let number = |id: &str| id.trim_start_matches('#').parse::<u64>().unwrap();
    assert!(ids.iter().all(|id| number(id) < number(&next)), "{next} after {ids:?}");
    assert_eq!(inspect(to.path()).unwrap().holds.len(), 4);
}

#[test]
fn nothing_comes_of_nothing() {
    let (dir, to) = (Dir::none(), Dir::none());
    assert!(matches!(salvage(dir.path(), to.path()), Err(SalvageError::Open(OpenError::Io(_)))));
    fs::create_dir_all(dir.path()).unwrap();
    let error = salvage(dir.path(), to.path()).unwrap_err();
    assert!(matches!(error, SalvageError::Nothing(_)), "{error}");
    open(&dir, &clock()).close().unwrap();
    for (name, bytes) in dir.files() {
        fs::write(dir.path().join(name), vec![0; bytes.len()]).unwrap();
    }
    assert!(matches!(salvage(dir.path(), to.path()), Err(SalvageError::Nothing(_))));
    assert!(!to.path().exists());
}
