//! The bars of this crate, each beside its yardstick: rounds of both in turn, medians, and the ratio pair by pair.
//!
//! `cargo bench --bench bars` prints, per operation, nanoseconds per call, the ratio to a bare compare-and-swap loop in the same round, and
//! whether the bar is met.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use encumber::{Cap, Clock, Engine, Limit, ManualClock, Policy, Scope, Timestamp, Unit, Window};

const ROUNDS: usize = 31;
const CALLS: u64 = 400_000;

fn main() {
    // `cargo test --benches` and `cargo bench` both run this; only the latter is for figures.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let ticking = Clock::ticking(Duration::from_millis(1)).expect("a clock thread");
    let manual = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    println!("{ROUNDS} rounds of {CALLS} calls in turn; medians; one thread\n");
    println!("{:<58}{:>8}{:>8}{:>8}  met", "operation", "ns", "× CAS", "bar");

    row("bare CAS loop on one word", None, cas());
    for (name, window) in [("day", Window::Day), ("month", Window::Month), ("lifetime", Window::Lifetime)] {
        let name = format!("try_charge, one budget ({name}), ticking clock");
        row(&name, Some(2.2), charge(engine(ticking.clone(), &[window])));
    }
    row(
        "try_charge, one budget (day), clock read per call",
        Some(5.0),
        charge(engine(Clock::system(), &[Window::Day])),
    );
    row("try_charge, one budget (day), manual clock", None, charge(engine((&manual).into(), &[Window::Day])));
    let levels = [Window::Day, Window::Day, Window::Day];
    row("try_charge, three budgets (day), ticking clock", Some(6.0), charge(engine(ticking.clone(), &levels)));
    row(
        "refused try_charge, one budget (lifetime), ticking clock",
        Some(4.0),
        refuse(engine(ticking.clone(), &[Window::Lifetime])),
    );
    row(
        "reserve + commit, one budget (day), amounts differ",
        Some(5.0),
        reserve(engine(ticking.clone(), &[Window::Day])),
    );
    row("reserve + commit, three budgets (day), amounts differ", Some(12.0), reserve(engine(ticking, &levels)));
}

fn engine(clock: Clock, windows: &[Window]) -> (Engine, Scope) {
    let policy =
        windows.iter().enumerate().fold(Policy::builder().resource("tokens", Unit::Count), |policy, (i, window)| {
            let kind = ["agent", "user", "global"][i];
            policy.limit(Limit::new(&format!("l{i}"), kind, "tokens", *window, Cap::Max(window.cap_max())))
        });
    let engine = Engine::builder(policy.kind("user").build().expect("a policy")).clock(clock).build();
    let subjects = &["agent:a", "user:u"][..windows.len().min(2)];
    let scope = engine.scope(subjects.iter().copied()).expect("a scope");
    (engine, scope)
}

fn cas() -> impl FnMut() {
    let word = AtomicU64::new(0);
    move || bare(&word)
}

#[inline]
fn bare(word: &AtomicU64) {
    let mut current = word.load(Ordering::Acquire);
    while let Err(seen) =
        word.compare_exchange_weak(current, black_box(current.wrapping_add(1)), Ordering::AcqRel, Ordering::Acquire)
    {
        current = seen;
    }
}

fn charge((engine, scope): (Engine, Scope)) -> impl FnMut() {
    let tokens = engine.resource("tokens").expect("declared");
    let mut turn = 0_u64;
    move || {
        // Amounts that differ without a trip through memory, as `black_box` would make one.
        turn = turn.wrapping_add(1);
        assert!(scope.try_charge(tokens.of(turn & 3 | 1)).is_ok());
    }
}

fn refuse((engine, scope): (Engine, Scope)) -> impl FnMut() {
    let tokens = engine.resource("tokens").expect("declared");
    move || {
        assert!(scope.try_charge(tokens.of(u64::MAX)).is_err());
    }
}

fn reserve((engine, scope): (Engine, Scope)) -> impl FnMut() {
    let tokens = engine.resource("tokens").expect("declared");
    move || {
        let hold = scope.reserve(tokens.of(7)).expect("room");
        assert!(hold.commit(tokens.of(2)).is_ok());
    }
}

/// Runs the operation and the yardstick in turn, and prints the medians.
fn row(name: &str, bar: Option<f64>, mut operation: impl FnMut()) {
    let word = AtomicU64::new(0);
    let mut times = Vec::with_capacity(ROUNDS);
    let mut ratios = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let yardstick = time(|| bare(&word));
        let operation = time(&mut operation);
        times.push(operation);
        ratios.push(operation / yardstick);
    }
    let (time, ratio) = (median(times), median(ratios));
    let (bar, met) = match bar {
        Some(bar) => (format!("{bar:.1}"), if ratio <= bar { "yes" } else { "NO" }),
        None => ("–".to_owned(), ""),
    };
    println!("{name:<58}{time:>8.2}{ratio:>8.2}{bar:>8}  {met}");
}

fn time(mut operation: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        operation();
    }
    start.elapsed().as_nanos() as f64 / CALLS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
