//! Threads against budgets: what every interleaving must keep, counted from outside.
//!
//! Amounts come from fixed seeds, which every failure prints. `ENCUMBER_STRESS_OPS` sets the operations per test (default 1,000,000).

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use encumber::{
    Cap, ChargeError, Clock, Cost, Enforcement, Engine, Guard, Limit, ManualClock, PaidReset, Policy, Reset, Resource,
    Scope, Timestamp, Unit, Window,
};

const THREADS: u64 = 8;
const MAX: u64 = 1_000_000;
const SEED: u64 = 0x5eed_0001;

fn operations() -> u64 {
    std::env::var("ENCUMBER_STRESS_OPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// A small generator with a long enough period (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

struct Rig {
    engine: Engine,
    clock: ManualClock,
    tokens: Resource,
}

fn rig(limits: impl IntoIterator<Item = Limit>) -> Rig {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = Engine::builder(policy(limits)).clock(Clock::manual(&clock)).build();
    let tokens = engine.resource("tokens").unwrap();
    Rig { engine, clock, tokens }
}

fn policy(limits: impl IntoIterator<Item = Limit>) -> Policy {
    let builder = Policy::builder().resource("tokens", Unit::Count).kind("user").kind("agent");
    limits.into_iter().fold(builder, encumber::PolicyBuilder::limit).build().unwrap()
}

fn limit(id: &str, kind: &str, max: u64) -> Limit {
    Limit::new(id, kind, "tokens", Window::Minute, Cap::Max(max))
}

fn three_levels() -> Vec<Limit> {
    vec![limit("agent", "agent", MAX), limit("user", "user", MAX), limit("top", "global", MAX)]
}

fn charged(scope: &Scope, limit: &str) -> u64 {
    scope.usage().unwrap().iter().find(|usage| &*usage.limit == limit).unwrap().charged()
}

/// `total` cut into `pieces` amounts of different size that sum to it exactly.
fn cut(total: u64, pieces: u64, random: &mut Random) -> Vec<u64> {
    let mut left = total;
    let mut amounts = Vec::new();
    for rest in (1..=pieces).rev() {
        let amount = if rest == 1 { left } else { 1 + random.below(2 * (left - rest) / rest + 1).min(left - rest) };
        left -= amount;
        amounts.push(amount);
    }
    assert_eq!(amounts.iter().sum::<u64>(), total);
    amounts
}

/// Everybody's amounts together fill the budget exactly: not one call may be refused, and the budget ends exactly full.
fn every_call_that_fits_is_admitted(limits: Vec<Limit>, top: &str) {
    let rig = rig(limits);
    let rounds = (operations() / 100_000).max(1);
    for round in 0..rounds {
        let refused = AtomicU64::new(0);
        let start = Barrier::new(THREADS as usize);
        thread::scope(|threads| {
            for thread in 0..THREADS {
                let (rig, refused, start) = (&rig, &refused, &start);
                threads.spawn(move || {
                    let scope = rig.engine.scope([format!("agent:{thread}"), format!("user:{}", thread / 2)]).unwrap();
                    let mut random = Random(SEED ^ round << 8 ^ thread);
                    let amounts = cut(MAX / THREADS, 100_000 / THREADS, &mut random);
                    start.wait();
                    for amount in amounts {
                        if scope.try_charge(rig.tokens.of(amount)).is_err() {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let scope = rig.engine.scope(["user:0", "agent:0"]).unwrap();
        assert_eq!(refused.into_inner(), 0, "calls that fit were refused; seed {SEED:#x}, round {round}");
        assert_eq!(charged(&scope, top), MAX, "seed {SEED:#x}, round {round}");
        assert!(scope.try_charge(rig.tokens.of(1)).is_err());
        rig.clock.advance(Duration::from_secs(60));
    }
}

#[test]
fn one_budget_every_call_that_fits_is_admitted() {
    every_call_that_fits_is_admitted(vec![limit("top", "global", MAX)], "top");
}

#[test]
fn three_levels_every_call_that_fits_is_admitted() {
    every_call_that_fits_is_admitted(three_levels(), "top");
}

/// More is asked than fits, holds are released and committed below, and the windows roll over all the while. Each window ends at or below
/// its max, exactly at it once single units are asked for to fill it; and what the threads were admitted is what the windows hold.
fn windows_roll_over_under_threads(limits: Vec<Limit>, top: &str) {
    const WINDOWS: u64 = 25;
    let rig = rig(limits);
    let watcher = rig.engine.scope(["user:0", "agent:0"]).unwrap();
    let per_window = operations() / WINDOWS / THREADS;
    let admitted = AtomicU64::new(0);
    let mut held_by_windows = 0;
    for window in 0..WINDOWS {
        let start = Barrier::new(THREADS as usize);
        // The clock moves on while the threads are in the middle of their calls: some finish in the next window.
        let calls = AtomicU64::new(0);
        thread::scope(|threads| {
            for thread in 0..THREADS {
                let (rig, start, calls, admitted) = (&rig, &start, &calls, &admitted);
                threads.spawn(move || {
                    let scope = rig.engine.scope([format!("agent:{thread}"), format!("user:{}", thread / 2)]).unwrap();
                    let mut random = Random(SEED ^ window << 8 ^ thread);
                    start.wait();
                    for _ in 0..per_window {
                        admitted.fetch_add(one_call(&scope, rig.tokens, &mut random), Ordering::Relaxed);
                        if calls.fetch_add(1, Ordering::Relaxed) == per_window * THREADS / 2 {
                            rig.clock.advance(Duration::from_secs(60));
                        }
                    }
                });
            }
        });
        // The second half's window: fill it with single units, as long as they fit.
        while watcher.try_charge(rig.tokens.of(1)).is_ok() {
            admitted.fetch_add(1, Ordering::Relaxed);
        }
        let now = watcher.usage().unwrap();
        assert!(
            now.iter().any(|usage| usage.charged() == MAX),
            "a budget is exactly full; seed {SEED:#x}, window {window}"
        );
        assert!(
            now.iter().all(|usage| usage.charged() <= MAX && usage.held == 0),
            "seed {SEED:#x}, window {window}: {now:?}"
        );
        let before = Timestamp::from_micros(rig.clock.now().as_micros() - 60_000_000);
        let ended = watcher.usage_at(before).unwrap().into_iter().flatten().find(|usage| &*usage.limit == top).unwrap();
        assert!(ended.charged() <= MAX, "seed {SEED:#x}, window {window}: {ended:?}");
        held_by_windows += ended.charged() + charged(&watcher, top);
        rig.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(held_by_windows, admitted.into_inner(), "charges were lost or doubled; seed {SEED:#x}");
}

/// One of the operations, and how much it added to the budgets in the end.
fn one_call(scope: &Scope, tokens: Resource, random: &mut Random) -> u64 {
    let amount = 1 + random.below(200);
    match random.below(4) {
        0 => match scope.reserve(tokens.of(amount)) {
            Ok(hold) => {
                let actual = random.below(amount + 1);
                hold.commit(tokens.of(actual)).unwrap();
                actual
            }
            Err(_) => 0,
        },
        1 => match scope.reserve(tokens.of(amount)) {
            Ok(hold) => {
                hold.release().unwrap();
                0
            }
            Err(_) => 0,
        },
        _ => scope.try_charge(tokens.of(amount)).map_or(0, |_| amount),
    }
}

#[test]
fn one_budget_windows_roll_over() {
    windows_roll_over_under_threads(vec![limit("top", "global", MAX)], "top");
}

#[test]
fn three_levels_windows_roll_over() {
    windows_roll_over_under_threads(three_levels(), "top");
}

fn striped(limits: Vec<Limit>) -> Vec<Limit> {
    limits.into_iter().map(|limit| limit.striped(true)).collect()
}

#[test]
fn striped_every_call_that_fits_is_admitted() {
    every_call_that_fits_is_admitted(striped(three_levels()), "top");
}

#[test]
fn striped_windows_roll_over() {
    windows_roll_over_under_threads(striped(three_levels()), "top");
}

/// Calls through handles and by name, of one and of several budgets, while others read, record, hold, and put caps in force. What is read
/// never falls and never is above the larger cap by more than what was recorded, and in the end every budget holds what was charged.
#[test]
fn striped_budgets_are_exact_for_whoever_looks() {
    let limits = |max| vec![limit("agent", "agent", MAX).striped(false), limit("top", "global", max).striped(true)];
    let rig = rig(limits(MAX));
    let (stop, admitted, recorded) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let top = rig.engine.scope(["global"]).unwrap();
    thread::scope(|threads| {
        let callers: Vec<_> = (0..4)
            .map(|thread| {
                let (rig, admitted, top) = (&rig, &admitted, &top);
                threads.spawn(move || {
                    let name = format!("agent:{thread}");
                    let scope = rig.engine.scope([&name]).unwrap();
                    let mut random = Random(SEED ^ thread);
                    for _ in 0..operations() / 8 {
                        let amount = 1 + random.below(3);
                        let cost = rig.tokens.of(amount);
                        let answer = match random.below(8) {
                            0..4 => scope.try_charge(cost),
                            4..6 => rig.engine.try_charge([&name], cost),
                            6 => top.try_charge(cost),
                            _ => scope.reserve(rig.tokens.of(5)).map(|hold| {
                                hold.commit(cost).unwrap();
                                encumber::Admission::default()
                            }),
                        };
                        if answer.is_ok() {
                            admitted.fetch_add(amount, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        threads.spawn(|| {
            let mut before = 0;
            while !stop.load(Ordering::Relaxed) {
                // Read first: what is recorded meanwhile may be seen or not.
                let usage = top.usage().unwrap();
                let (used, allowed) = (usage[0].used, MAX + recorded.load(Ordering::Relaxed));
                assert!(before <= used && used <= allowed, "{before} {used} {allowed}; seed {SEED:#x}");
                before = used;
                let Cap::Max(room) = top.afford(rig.tokens).unwrap() else { unreachable!("it has a cap") };
                assert!(room <= MAX - used.min(MAX), "{room} beside {used}");
            }
        });
        threads.spawn(|| {
            let mut random = Random(!SEED);
            while !stop.load(Ordering::Relaxed) {
                recorded.fetch_add(1, Ordering::Relaxed);
                top.record(rig.tokens.of(1)).unwrap();
                rig.engine.set_policy(policy(limits(if random.below(2) == 0 { MAX } else { MAX / 2 })));
            }
        });
        for caller in callers {
            caller.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (admitted, recorded) = (admitted.into_inner(), recorded.into_inner());
    assert_eq!(charged(&top, "top"), admitted + recorded, "charges were lost or doubled; seed {SEED:#x}");
    assert!(admitted <= MAX, "admitted {admitted}; seed {SEED:#x}");
}

/// Attempts that are refused leave no trace: beside threads whose own agent's budget is always full, and which are refused all the time,
/// amounts that fill the shared budget exactly are all admitted.
#[test]
fn refused_attempts_never_make_a_fitting_call_fail() {
    let rounds = (operations() / 200_000).max(1);
    for round in 0..rounds {
        let rig = rig([limit("top", "global", MAX), limit("small", "agent", MAX).subject("agent:full", Cap::Max(10))]);
        let fill = rig.engine.scope(["agent:full"]).unwrap();
        fill.try_charge(rig.tokens.of(10)).unwrap();
        let stop = AtomicBool::new(false);
        let refused = AtomicU64::new(0);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        assert!(fill.try_charge(rig.tokens.of(400_000)).is_err());
                    }
                });
            }
            let workers: Vec<_> = (0..2)
                .map(|thread| {
                    let (rig, refused) = (&rig, &refused);
                    threads.spawn(move || {
                        let scope = rig.engine.scope([format!("agent:{thread}")]).unwrap();
                        let total = (MAX - 10) / 2;
                        for amount in cut(total, 50_000, &mut Random(SEED ^ round << 8 ^ thread)) {
                            if scope.try_charge(rig.tokens.of(amount)).is_err() {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(refused.into_inner(), 0, "seed {SEED:#x}, round {round}");
        assert_eq!(charged(&fill, "top"), MAX, "seed {SEED:#x}, round {round}");
    }
}

/// Policies are swapped while calls run: no charge is lost, and nothing is admitted beyond the larger of the caps.
#[test]
fn policies_are_swapped_under_traffic() {
    const SWAPS: u64 = 10_000;
    let caps = [400_000_u64, 600_000];
    let with_cap =
        |cap: u64| policy([limit("top", "global", cap), limit("other", "user", MAX).enforcement(Enforcement::Soft)]);
    let rig = rig([limit("top", "global", caps[0]), limit("other", "user", MAX).enforcement(Enforcement::Soft)]);
    let admitted = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        for thread in 0..4_u64 {
            let (rig, admitted, stop) = (&rig, &admitted, &stop);
            threads.spawn(move || {
                let scope = rig.engine.scope([format!("user:{thread}")]).unwrap();
                let mut random = Random(SEED ^ thread);
                while !stop.load(Ordering::Relaxed) {
                    let amount = 1 + random.below(3);
                    match scope.try_charge(rig.tokens.of(amount)) {
                        Ok(_) => _ = admitted.fetch_add(amount, Ordering::Relaxed),
                        Err(ChargeError::Refused(refusal)) => {
                            let primary = refusal.primary();
                            assert!(primary.remaining < amount && caps.contains(&primary.max), "{refusal:?}");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for swap in 0..SWAPS {
            rig.engine.set_policy(with_cap(caps[(swap % 2) as usize]));
            if swap % 8 == 0 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let watcher = rig.engine.scope(["user:0"]).unwrap();
    let total = charged(&watcher, "top");
    assert_eq!(total, admitted.into_inner(), "no charge is lost; seed {SEED:#x}");
    assert!(total <= caps[1], "nothing is admitted beyond the larger cap");
    let by_user: u64 = (0..4).map(|user| charged(&rig.engine.scope([format!("user:{user}")]).unwrap(), "other")).sum();
    assert_eq!(by_user, total, "both limits counted the same charges");
}

/// A reservation that threads share settles once: of a commit, a release and a commit of another amount one wins, and the others are told.
#[test]
fn a_shared_reservation_settles_once() {
    let rig = rig([limit("top", "global", MAX)]);
    let scope = rig.engine.scope::<&str>([]).unwrap();
    for round in 0..2_000_u64 {
        let before = charged(&scope, "top");
        let hold = scope.reserve(rig.tokens.of(100)).unwrap();
        let start = Barrier::new(3);
        let outcomes = thread::scope(|threads| {
            let commit = |cost: Cost| {
                let (hold, start) = (&hold, &start);
                threads.spawn(move || {
                    start.wait();
                    hold.commit(cost).map(|receipt| receipt.charged().iter().map(|(_, amount)| amount).sum())
                })
            };
            let (one, other) = (commit(rig.tokens.of(30)), commit(rig.tokens.of(70)));
            start.wait();
            let release = hold.release().map(|()| 0);
            [one.join().unwrap(), other.join().unwrap(), release]
        });
        let won: Vec<u64> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
        assert_eq!(won.len(), 1, "round {round}: {outcomes:?}");
        assert_eq!(charged(&scope, "top"), before + won[0], "round {round}: {outcomes:?}");
        rig.clock.advance(Duration::from_secs(1));
    }
}

fn reset_policy() -> Policy {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(Limit::new("day", "user", "tokens", Window::Day, Cap::Max(3_000)))
        .limit(Limit::new("week", "user", "tokens", Window::Week, Cap::Max(1 << 40)))
        // Never full: charges of it alone come at any moment of a reset.
        .limit(Limit::new("own", "agent", "tokens", Window::Day, Cap::Max(1 << 40)))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(1 << 40)))
        .reset(
            PaidReset::new("fresh", "day")
                .lowers("week")
                .price(3)
                .credits("credits")
                .max_per_window(Cap::Unlimited)
                .guard(Guard::Effective),
        )
        .build()
        .unwrap()
}

/// What was spent is used, or was taken by a reset, or given back: nothing vanishes, nothing is taken twice, and nobody gets past a max.
#[test]
fn resets_among_calls_lose_no_spend() {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = Engine::builder(reset_policy()).clock(&clock).build();
    let tokens = engine.resource("tokens").unwrap();
    let (spent, taken) = ([0; 2].map(AtomicU64::new), [0; 3].map(AtomicU64::new));
    let (bought, over, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let steps = operations() / 20;
    thread::scope(|threads| {
        for thread in 0..6_u64 {
            let (engine, spent, over, done) = (&engine, &spent, &over, &done);
            threads.spawn(move || {
                let (both, alone) = (engine.scope(["user:1", "agent:1"]).unwrap(), engine.scope(["agent:1"]).unwrap());
                let mut random = Random(SEED ^ thread << 16);
                for _ in 0..steps {
                    let (amount, actual) = (1 + random.below(40), random.below(60));
                    // Charges of one budget alone wait for nobody: two threads make nothing else.
                    let (is_plain, is_alone) = (thread < 2, random.below(3) == 0);
                    let (scope, on_user) = if is_plain || is_alone { (&alone, false) } else { (&both, true) };
                    let charged = match random.below(if is_plain { 3 } else { 8 }) {
                        0..3 => scope.try_charge(tokens.of(amount)).map_or(0, |_| amount),
                        3 => scope.reserve(tokens.of(amount)).map_or(0, |hold| {
                            hold.release().unwrap();
                            0
                        }),
                        4..7 => scope.reserve(tokens.of(amount)).map_or(0, |hold| {
                            over.fetch_add(actual.saturating_sub(amount), Ordering::AcqRel);
                            hold.commit(tokens.of(actual)).unwrap();
                            actual
                        }),
                        _ => {
                            over.fetch_add(amount, Ordering::AcqRel);
                            scope.record(tokens.of(amount)).unwrap();
                            amount
                        }
                    };
                    spent[0].fetch_add(charged, Ordering::AcqRel);
                    spent[1].fetch_add(if on_user { charged } else { 0 }, Ordering::AcqRel);
                }
                done.fetch_add(1, Ordering::AcqRel);
            });
        }
        for thread in 0..2_u64 {
            let (engine, taken, bought, over, done) = (&engine, &taken, &bought, &over, &done);
            threads.spawn(move || {
                let (both, agent) = (engine.scope(["user:1"]).unwrap(), engine.scope(["agent:1"]).unwrap());
                let mut random = Random(SEED ^ thread << 32);
                while done.load(Ordering::Acquire) < 6 {
                    let add = |index: usize, amount: u64| taken[index].fetch_add(amount, Ordering::AcqRel);
                    match random.below(4) {
                        0 => {
                            for reset in both.reset(&Reset::limit("day").lowers("week")).unwrap() {
                                add(usize::from(&*reset.limit == "week"), reset.amount);
                            }
                        }
                        1 => {
                            add(2, agent.reset(&Reset::limit("own")).unwrap()[0].amount);
                        }
                        _ => {
                            if let Ok(receipt) = both.paid_reset("fresh") {
                                add(0, receipt.reset.amount);
                                add(1, receipt.lowered.unwrap().amount);
                                bought.fetch_add(1, Ordering::AcqRel);
                            }
                        }
                    }
                    let usage = both.usage().unwrap();
                    let most = 3_000 + over.load(Ordering::Acquire);
                    assert!(usage[0].charged() <= most && usage[0].held <= 6 * 60, "{usage:?}; seed {SEED:#x}");
                    thread::yield_now();
                }
            });
        }
    });
    let [all, on_user] = spent.map(AtomicU64::into_inner);
    let [day, week, own] = taken.map(AtomicU64::into_inner);
    let bought = bought.into_inner();
    let usage = engine.scope(["user:1", "agent:1"]).unwrap().usage().unwrap();
    let used = |limit: &str| {
        let budget = usage.iter().find(|budget| &*budget.limit == limit).unwrap();
        assert_eq!(budget.held, 0, "{limit}; seed {SEED:#x}");
        budget.used
    };
    assert_eq!(used("day") + day, on_user, "day; seed {SEED:#x}");
    assert_eq!(used("week") + week, on_user, "week; seed {SEED:#x}");
    assert_eq!(used("own") + own, all, "own; seed {SEED:#x}");
    assert_eq!((used("credit"), used("fresh")), (3 * bought, bought), "seed {SEED:#x}");
    assert!(day > 0 && own > 0 && bought > 0, "nothing was reset: {day}, {own}, {bought}");
}
