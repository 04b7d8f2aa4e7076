//! What surviving a restart costs: opening a directory of a million subjects, calls while a snapshot of them is written, and operations for
//! each sync. Prints one line for each; `RESTART_SUBJECTS` sets another number, `RESTART_DIR` another place than the temporary directory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use encumber::{Cap, Clock, Engine, Limit, Persist, Policy, Unit, Window};

const ROUNDS: usize = 5;

fn main() {
    // `cargo bench` passes flags that are not for this one.
    let subjects: u64 = std::env::var("RESTART_SUBJECTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    restore(subjects);
    pauses(subjects);
    syncs();
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let place = std::env::var_os("RESTART_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = place.join(format!("encumber-restart-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(persist: Persist) -> Engine {
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("day", "user", "tokens", Window::Month, Cap::Max(1_000_000)))
        .build()
        .expect("a policy");
    let clock = Clock::ticking(Duration::from_millis(1)).expect("a clock");
    Engine::builder(policy).clock(clock).persist(persist).build().expect("a directory")
}

fn fill(engine: &Engine, subjects: u64) {
    let tokens = engine.resource("tokens").expect("it is declared");
    for number in 0..subjects {
        engine.try_charge([format!("user:a-subject-of-30-bytes-{number:07}")], tokens.of(7)).expect("it fits");
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn restore(subjects: u64) {
    let dir = Dir::new("restore");
    let engine = open(Persist::journal(&dir.0));
    fill(&engine, subjects);
    engine.close().expect("it closes");
    let mut opened = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let engine = open(Persist::journal(&dir.0));
        opened.push(begun.elapsed());
        assert_eq!(engine.recovery().map(|report| report.budgets), Some(subjects));
        engine.close().expect("it closes");
    }
    println!("restore: {subjects} subjects in {:?}, its own snapshot included (median of {ROUNDS})", median(opened));
}

/// The longest call, and how many there were.
fn longest(stop: &AtomicBool, mut call: impl FnMut(u64)) -> (Duration, u64) {
    let (mut longest, mut calls) = (Duration::ZERO, 0);
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        call(calls);
        longest = longest.max(begun.elapsed());
        calls += 1;
    }
    (longest, calls)
}

fn pauses(subjects: u64) {
    let dir = Dir::new("pauses");
    let engine = open(Persist::journal(&dir.0));
    fill(&engine, subjects);
    let tokens = engine.resource("tokens").expect("it is declared");
    let scope = engine.scope(["user:a-subject-of-30-bytes-0000001"]).expect("it is known");
    let handle = |_| drop(scope.try_charge(tokens.of(1)));
    let by_name = |number: u64| {
        let number = number.wrapping_mul(7_919) % subjects;
        drop(engine.try_charge([format!("user:a-subject-of-30-bytes-{number:07}")], tokens.of(1)));
    };
    // Not without end: the snapshot would never catch up.
    let new = |number: u64| drop(engine.try_charge([format!("user:new-{}", number % 200_000)], tokens.of(1)));
    let calls: [(&str, &(dyn Fn(u64) + Sync)); 3] =
        [("of a handle", &handle), ("by name", &by_name), ("of new subjects", &new)];
    for (what, call) in calls {
        for with_snapshot in [false, true] {
            let mut found = Vec::new();
            let mut wrote = Duration::ZERO;
            for _ in 0..ROUNDS {
                let stop = AtomicBool::new(false);
                let longest = thread::scope(|threads| {
                    let calls = threads.spawn(|| longest(&stop, call));
                    let begun = Instant::now();
                    if with_snapshot {
                        engine.snapshot_now().expect("a snapshot");
                    } else {
                        thread::sleep(Duration::from_millis(500));
                    }
                    wrote = begun.elapsed();
                    stop.store(true, Ordering::Release);
                    calls.join().expect("no panic")
                });
                found.push(longest.0);
            }
            let beside =
                if with_snapshot { format!("while a snapshot is written ({wrote:?})") } else { "alone".to_owned() };
            let quietest = found.iter().min().copied().unwrap_or_default();
            println!(
                "longest call {what}, {beside}: {:?} (median of {ROUNDS}; {quietest:?} in the quietest)",
                median(found)
            );
        }
    }
}

fn syncs() {
    const THREADS: u64 = 32;
    const EACH: u64 = 400;
    for (what, with_id) in [("charges", false), ("reservations with an id", true)] {
        let dir = Dir::new("syncs");
        let engine = open(Persist::journal(&dir.0).always());
        let tokens = engine.resource("tokens").expect("it is declared");
        let before = engine.journal().expect("a journal").syncs;
        let begun = Instant::now();
        thread::scope(|threads| {
            for thread in 0..THREADS {
                let engine = &engine;
                threads.spawn(move || {
                    let scope = engine.scope([format!("user:{thread}")]).expect("it is known");
                    for number in 0..EACH {
                        if with_id {
                            let id = format!("{thread}-{number}");
                            let ttl = Duration::from_secs(60);
                            scope.reserve_with_id(id.as_str(), ttl, tokens.of(1)).expect("it fits");
                        } else {
                            scope.try_charge(tokens.of(1)).expect("it fits");
                        }
                    }
                });
            }
        });
        let (took, syncs) = (begun.elapsed(), engine.journal().expect("a journal").syncs - before);
        let operations = THREADS * EACH;
        println!(
            "journal, always: {operations} {what} by {THREADS} threads, {syncs} syncs, {} operations each, in {took:?}",
            operations / syncs.max(1)
        );
    }
}
