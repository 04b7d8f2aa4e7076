//! Engines that survive restarts: closed and opened again, and killed at rest, which is a copy of the directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use encumber::{
    Cap, ChargeError, Component, Engine, EngineBuilder, Limit, LostGuards, ManualClock, OpenError, Persist, Policy,
    PolicyBuilder, ReserveError, Reset, Subject, Timestamp, Unit, Window, WorkflowSpec,
};

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the numbers only have to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("encumber-durable-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// What a process that is killed now leaves behind: all that was written, synced or not.
    fn killed(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(&self.0).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
        }
        copy
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

fn clock() -> ManualClock {
    ManualClock::at(START.parse().unwrap())
}

fn policy() -> PolicyBuilder {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(6_400)))
        .limit(Limit::new("life", "user", "tokens", Window::Lifetime, Cap::Max(64_000)))
        .limit(Limit::new("team", "global", "tokens", Window::Month, Cap::Unlimited))
        .limit(Limit::new("rolling", "agent", "tokens", "rolling 1h".parse().unwrap(), Cap::Max(1_000)))
        .limit(Limit::new("session", "agent", "tokens", "5h from first use".parse().unwrap(), Cap::Max(2_000)))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(0)))
}

fn builder(clock: &ManualClock) -> EngineBuilder {
    Engine::builder(policy().build().unwrap()).clock(clock)
}

fn open(dir: &Dir, clock: &ManualClock) -> Engine {
    builder(clock).persist(Persist::journal(dir.path())).build().unwrap()
}

/// Limit, used and held of each budget of a scope.
fn usage(engine: &Engine, subject: &str) -> Vec<(String, u64, u64)> {
    let usage = engine.scope([subject]).unwrap().usage().unwrap();
    usage.into_iter().map(|budget| (budget.limit.to_string(), budget.used, budget.held)).collect()
}

fn used(engine: &Engine, subject: &str, limit: &str) -> u64 {
    usage(engine, subject).into_iter().find(|(id, ..)| id == limit).map(|(_, used, held)| used + held).unwrap()
}

#[test]
fn what_is_closed_is_opened_as_it_was() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(123)).unwrap();
    engine.scope(["agent:a"]).unwrap().try_charge(tokens.of(77)).unwrap();
    clock.advance(Duration::from_secs(1_200));
    engine.scope(["agent:a"]).unwrap().record(tokens.of(900)).unwrap();
    let before = [usage(&engine, "user:7"), usage(&engine, "agent:a")];
    engine.close().unwrap();
    let again = open(&dir, &clock);
    assert_eq!([usage(&again, "user:7"), usage(&again, "agent:a")], before);
    let report = again.recovery().unwrap();
    assert!(report.was_closed && report.torn.is_none() && report.clock_behind.is_none(), "{report:?}");
    assert_eq!(report.budgets, 6 - 1, "day, life, team, rolling, session");
    clock.advance(Duration::from_secs(2_500));
    assert_eq!(used(&again, "agent:a", "rolling"), 900, "the first 77 have left the hour");
    drop(again);
    clock.advance(Duration::from_secs(24 * 3_600));
    let next = open(&dir, &clock);
    assert_eq!((used(&next, "user:7", "day"), used(&next, "user:7", "life")), (0, 123));
}

#[test]
fn a_kill_never_under_counts_and_over_counts_by_a_step() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7", "agent:a"]).unwrap();
    let mut total = 0;
    for amount in [1, 2, 3, 500, 7, 150, 1] {
        scope.try_charge(tokens.of(amount)).unwrap();
        total += amount;
        let killed = dir.killed();
        let again = open(&killed, &clock);
        assert!(!again.recovery().unwrap().was_closed);
        for (limit, subject, step) in [
            ("day", "user:7", 100),
            ("life", "user:7", 1_000),
            ("team", "user:7", total / 64),
            ("rolling", "agent:a", 0),
            ("session", "agent:a", 2_000 / 64),
        ] {
            let found = used(&again, subject, limit);
            assert!((total..=total + step.max(amount)).contains(&found), "{limit}: {found} of {total}");
        }
    }
}

#[test]
fn what_is_given_back_is_given_back_after_a_kill_but_for_a_step() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let holds: Vec<_> = (0..10).map(|_| scope.reserve(tokens.of(600)).unwrap()).collect();
    assert!(used(&open(&dir.killed(), &clock), "user:7", "day") >= 6_000);
    for hold in holds {
        hold.commit(tokens.of(10)).unwrap();
    }
    let found = used(&open(&dir.killed(), &clock), "user:7", "day");
    assert!((100..=100 + 600).contains(&found), "{found}");
    let receipt = scope.record(tokens.of(5_000)).unwrap();
    engine.refund(&receipt, &tokens.of(5_000)).unwrap();
    let found = used(&open(&dir.killed(), &clock), "user:7", "day");
    assert!((100..=100 + 5_000).contains(&found), "{found}");
    scope.reset(&Reset::limit("day")).unwrap();
    let found = used(&open(&dir.killed(), &clock), "user:7", "day");
    assert!(found <= 100, "{found}");
}

#[test]
fn holds_under_ids_survive_and_can_be_settled() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let ttl = Duration::from_secs(300);
    let _open = scope.reserve_with_id("req-1", ttl, tokens.of(640)).unwrap();
    scope.reserve_with_id("req-2", ttl, tokens.of(64)).unwrap().commit(tokens.of(32)).unwrap();
    scope.reserve_with_id("req-3", ttl, tokens.of(64)).unwrap().release().unwrap();
    let killed = open(&dir.killed(), &clock);
    let report = killed.recovery().unwrap().clone();
    assert_eq!(report.holds.len(), 1, "{report:?}");
    assert_eq!((report.holds[0].id.to_string(), report.holds[0].charged), ("req-1".to_owned(), None));
    assert_eq!(&report.holds[0].held, &[("tokens".into(), 640)]);
    let again = killed.scope(["user:7"]).unwrap();
    let tokens = killed.resource("tokens").unwrap();
    assert!(again.reserve_with_id("req-1", ttl, tokens.of(640)).unwrap().is_replayed());
    assert_eq!(again.reserve_with_id("req-1", ttl, tokens.of(1)).unwrap_err(), ReserveError::Conflict);
    for id in ["req-2", "req-3"] {
        assert_eq!(again.reserve_with_id(id, ttl, tokens.of(64)).unwrap_err(), ReserveError::Settled);
    }
    let held = again.usage().unwrap()[0].held;
    assert_eq!(held, 640);
    let hold = killed.resume(&"req-1".parse().unwrap()).unwrap();
    let before = again.usage().unwrap()[0].charged();
    let receipt = hold.commit(tokens.of(40)).unwrap();
    assert_eq!((again.usage().unwrap()[0].charged(), again.usage().unwrap()[0].held), (before - 600, 0));
    assert!(killed.refund(&receipt, &tokens.of(40)).is_ok());
}

#[test]
fn a_hold_whose_time_runs_out_after_a_restart_is_charged() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let _id = scope.reserve(tokens.of(640)).unwrap().detach(Duration::from_secs(60)).unwrap();
    engine.close().unwrap();
    let again = open(&dir, &clock);
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 0, 640));
    clock.advance(Duration::from_secs(60));
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 640, 0), "its call may have gone out");
}

#[test]
fn lost_guards_are_charged_or_as_the_host_chose() {
    for (guards, dispatch, charged) in [
        (LostGuards::Charge, false, Some(true)),
        (LostGuards::ByDispatch, false, Some(false)),
        (LostGuards::ByDispatch, true, Some(true)),
        (LostGuards::Keep, false, None),
    ] {
        let (dir, clock) = (Dir::new(), clock());
        let persist = |dir: &Dir| Persist::journal(dir.path()).lost_guards(guards);
        let engine = builder(&clock).persist(persist(&dir)).build().unwrap();
        let tokens = engine.resource("tokens").unwrap();
        let hold = engine.scope(["user:7"]).unwrap().reserve_for(tokens.of(640), Duration::from_secs(60)).unwrap();
        if dispatch {
            hold.dispatched();
        }
        let killed = dir.killed();
        let again = builder(&clock).persist(persist(&killed)).build().unwrap();
        let report = again.recovery().unwrap();
        assert_eq!((report.holds.len(), report.holds[0].charged), (1, charged), "{guards:?} {dispatch}");
        let (_, used, held) = usage(&again, "user:7").swap_remove(0);
        let expected = match charged {
            Some(true) => (640, 0),
            Some(false) => (0, 0),
            None => (0, 640),
        };
        assert_eq!((used, held), expected, "{guards:?} {dispatch}");
    }
}

#[test]
fn slots_workflows_and_grants_survive() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let (tokens, credits) = (engine.resource("tokens").unwrap(), engine.resource("credits").unwrap());
    let user = Subject::new("user", "7").unwrap();
    engine.top_up(&user, "credit", 500).unwrap();
    engine.set_override(&user, "day", Some(Cap::Max(64_000))).unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let spec = WorkflowSpec::new().steps(3).tool("search", 5).budget(tokens, 1_000);
    let workflow = scope.begin_workflow("wf-1", spec).unwrap();
    workflow.step().unwrap();
    workflow.step().unwrap();
    workflow.tool_call("search").unwrap();
    let ended = scope.begin_workflow("wf-2", WorkflowSpec::new()).unwrap();
    ended.end();
    let hold = workflow.scope().reserve(tokens.of(600)).unwrap().detach(Duration::from_secs(60)).unwrap();
    scope.slot_with_id(credits, "stream", Duration::from_secs(60)).unwrap().detach();
    let killed = open(&dir.killed(), &clock);
    let report = killed.recovery().unwrap();
    assert_eq!(report.workflows.iter().map(|found| (&*found.id, found.steps)).collect::<Vec<_>>(), [("wf-1", 2)]);
    assert_eq!(killed.active_workflows(), 1);
    let again = killed.scope(["user:7"]).unwrap();
    let (tokens, credits) = (killed.resource("tokens").unwrap(), killed.resource("credits").unwrap());
    assert_eq!(again.usage().unwrap()[0].cap, Cap::Max(64_000));
    assert!(again.slot_with_id(credits, "stream", Duration::from_secs(60)).unwrap().is_replayed());
    again.try_charge(credits.of(499)).unwrap();
    assert!(again.try_charge(credits.of(1)).is_err());
    assert!(again.begin_workflow("wf-1", WorkflowSpec::new()).is_err(), "it is active");
    let resumed = killed.resume_workflow("wf-1").unwrap();
    assert_eq!(resumed.usage()[2].held, 600);
    assert!(resumed.scope().try_charge(tokens.of(401)).is_err());
    let held = killed.resume(hold.id()).unwrap();
    held.commit(tokens.of(100)).unwrap();
    resumed.scope().try_charge(tokens.of(401)).unwrap();
    assert_eq!(resumed.tool_calls("search").unwrap().taken(), 1);
    assert_eq!(resumed.step().unwrap().taken(), 3);
    assert!(resumed.step().is_err());
    drop(resumed);
    assert_eq!(killed.active_workflows(), 0);
    assert!(killed.resume_workflow("wf-1").is_err());
}

#[test]
fn a_closed_engine_refuses_and_the_directory_is_free() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(tokens.of(5)).unwrap();
    assert!(matches!(builder(&clock).persist(Persist::journal(dir.path())).build(), Err(OpenError::AlreadyOpen(_))));
    engine.close().unwrap();
    assert_eq!(scope.try_charge(tokens.of(1)).unwrap_err(), ChargeError::Degraded(Component::Store));
    assert!(engine.close().is_ok() && engine.snapshot_now().unwrap_err().is_closed());
    let again = open(&dir, &clock);
    assert_eq!(used(&again, "user:7", "day"), 5);
}

#[test]
fn a_clock_that_is_behind_starts_no_window_again() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    clock.advance(Duration::from_secs(24 * 3_600));
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(6_400)).unwrap();
    engine.close().unwrap();
    clock.set(START.parse::<Timestamp>().unwrap());
    let again = open(&dir, &clock);
    let behind = again.recovery().unwrap().clock_behind;
    assert_eq!(behind, Some(Duration::from_secs(24 * 3_600)));
    assert!(again.scope(["user:7"]).unwrap().try_charge(again.resource("tokens").unwrap().of(1)).is_err());
    let other = again.scope(["user:8"]).unwrap();
    let tokens = again.resource("tokens").unwrap();
    other.try_charge(tokens.of(6_400)).unwrap();
    clock.advance(Duration::from_secs(24 * 3_600));
    assert!(other.try_charge(tokens.of(1)).is_err(), "the window that was granted early is not granted twice");
}

#[test]
fn snapshots_alone_keep_what_was_there_when_they_were_made() {
    let (dir, clock) = (Dir::new(), clock());
    let persist = |dir: &Dir| Persist::snapshot(dir.path(), Duration::from_secs(3_600));
    let engine = builder(&clock).persist(persist(&dir)).build().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(tokens.of(5)).unwrap();
    let _hold = scope.reserve_with_id("req-1", Duration::from_secs(60), tokens.of(7)).unwrap();
    engine.snapshot_now().unwrap();
    scope.try_charge(tokens.of(100)).unwrap();
    let killed = dir.killed();
    let again = builder(&clock).persist(persist(&killed)).build().unwrap();
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 5, 7));
    engine.close().unwrap();
    let again = builder(&clock).persist(persist(&dir)).build().unwrap();
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 105, 7));
    // And a journal goes on from there.
    drop(again);
    assert_eq!(usage(&open(&dir, &clock), "user:7")[0], ("day".to_owned(), 105, 7));
}

#[test]
fn ids_that_the_engine_gives_are_new_after_a_restart() {
    let (dir, clock) = (Dir::new(), clock());
    let mut ids = Vec::new();
    for _ in 0..5 {
        let engine = open(&dir, &clock);
        let tokens = engine.resource("tokens").unwrap();
        let hold = engine.scope(["user:7"]).unwrap().reserve(tokens.of(1)).unwrap();
        ids.push(hold.detach(Duration::from_secs(60)).unwrap().id().clone());
        engine.close().unwrap();
    }
    let engine = open(&dir, &clock);
    assert_eq!(engine.recovery().unwrap().holds.len(), 5, "{ids:?}");
}

#[test]
fn a_slot_is_given_back_whatever_becomes_of_its_handle() {
    for guards in [LostGuards::Charge, LostGuards::ByDispatch] {
        let (dir, clock) = (Dir::new(), clock());
        let persist = |dir: &Dir| Persist::journal(dir.path()).lost_guards(guards);
        let places = || {
            let limit = Limit::new("places", "user", "places", Window::Lifetime, Cap::Max(2));
            Policy::builder().resource("places", Unit::Count).limit(limit).build().unwrap()
        };
        let open = |dir: &Dir| Engine::builder(places()).clock(&clock).persist(persist(dir)).build().unwrap();
        let engine = open(&dir);
        let (scope, ttl) = (engine.scope(["user:7"]).unwrap(), Duration::from_secs(60));
        let places = engine.resource("places").unwrap();
        scope.slot_with_id(places, "detached", ttl).unwrap().detach();
        let _kept = scope.slot_with_id(places, "kept", ttl).unwrap();
        let again = open(&dir.killed());
        clock.advance(ttl);
        assert_eq!(usage(&again, "user:7"), [("places".to_owned(), 0, 0)], "{guards:?}");
    }
}
