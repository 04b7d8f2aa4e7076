//! Fifty agents whose calls are cut off at random points: dropped, panicked, timed out, answered late, never answered.
//!
//! At rest nothing is held, what is used is what the provider billed plus the conservative charges for calls whose outcome nobody knows, and
//! no limit was passed beyond what commits above their holds account for. `ENCUMBER_AGENT_CALLS` sets the number of calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use encumber::{
    Actual, Cap, ChargeError, Engine, Limit, ManualClock, Policy, Reservation, Resource, Scope, SettleError, Unit,
    UnknownHold,
};

const AGENTS: usize = 50;
const THREADS: usize = 4;
const USERS: usize = 5;
/// Of calls that nobody settles in time.
const TTL: Duration = Duration::from_secs(60);
/// Of all others: they are settled long before, however long their thread is kept waiting.
const LONG_TTL: Duration = Duration::from_secs(30 * 86_400);
const ENDINGS: usize = 11;
const SEED: u64 = 20_261_124;

struct Random(u64);

impl Random {
    /// A number below `below`.
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What one agent knows for certain that its calls have cost, and how far above their holds.
#[derive(Default)]
struct Ledger {
    charged: AtomicU64,
    above_holds: AtomicU64,
    calls: AtomicU64,
    refused: AtomicU64,
    endings: [AtomicU64; ENDINGS],
}

impl Ledger {
    fn charge(&self, amount: u64, reserved: u64) {
        self.charged.fetch_add(amount, Ordering::Relaxed);
        self.above_holds.fetch_add(amount.saturating_sub(reserved), Ordering::Relaxed);
    }
}

/// How what is held compares to what calls cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Estimates {
    /// Now and then a call costs more than was held for it.
    Low,
    /// No call does.
    WorstCase,
}

struct Agent {
    scope: Scope,
    user: usize,
    ledger: Ledger,
}

fn policy() -> Policy {
    let limit = |id: &str, kind: &str, window: &str, max| Limit::new(id, kind, "tokens", window.parse().unwrap(), max);
    Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(limit("agent-run", "agent", "lifetime", Cap::Unlimited))
        .limit(limit("agent-minute", "agent", "minute", Cap::Max(9_000)))
        .limit(limit("user-rolling", "user", "rolling 5m", Cap::Max(450_000)))
        .limit(limit("user-session", "user", "10m from first use", Cap::Max(800_000)))
        .limit(limit("user-run", "user", "lifetime", Cap::Unlimited))
        .limit(limit("team-hour", "global", "hour", Cap::Max(20_000_000)))
        .limit(limit("team-run", "global", "lifetime", Cap::Max(1 << 40)))
        .build()
        .unwrap()
}

/// One call; how it ends is drawn.
fn call(engine: &Engine, agent: &Agent, tokens: Resource, random: &mut Random, (number, estimates): (u64, Estimates)) {
    let estimate = 1 + random.next(2_000);
    let ledger = &agent.ledger;
    let reserved = match random.next(3) {
        0 => agent.scope.reserve(tokens.of(estimate)),
        1 => agent.scope.reserve_for(tokens.of(estimate), LONG_TTL),
        _ => {
            let id = format!("{}-{number}", agent.user);
            match agent.scope.reserve_with_id(id.as_str(), LONG_TTL, tokens.of(estimate)) {
                Ok(hold) => Ok(hold.attach()),
                Err(error) => match error.refusal() {
                    Some(refusal) => Err(ChargeError::Refused(Box::new(refusal.clone()))),
                    None => panic!("{error}"),
                },
            }
        }
    };
    let hold = match reserved {
        Ok(hold) => hold,
        Err(ChargeError::Refused(_)) => {
            ledger.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let ending = random.next(ENDINGS as u64);
    ledger.endings[ending as usize].fetch_add(1, Ordering::Relaxed);
    let most = if estimates == Estimates::Low { 2_500 } else { estimate / 2 + 1 };
    let billed = random.next(most);
    // What a stream tells before it breaks off.
    let observed = random.next(most);
    match ending {
        // Given up before the call went out.
        0 => drop(hold),
        1 => panicked(move || {
            let _hold = hold;
            std::panic::resume_unwind(Box::new("before the call"));
        }),
        // Answered.
        2 | 3 => commit(&hold, tokens.of(billed).into(), billed, estimate, ledger),
        // A stream that grows, and is answered.
        4 => {
            hold.dispatched();
            let more = 1 + random.next(500);
            let extended = hold.try_extend(tokens.of(more)).is_ok();
            hold.observe(&tokens.of(observed));
            let reserved = estimate + if extended { more } else { 0 };
            commit(&hold, tokens.of(billed).into(), billed, reserved, ledger);
        }
        // Broken off: at least this much.
        5 => {
            hold.dispatched();
            let least = observed.max(estimate);
            commit(&hold, Actual::AtLeast(tokens.of(observed)), least, estimate, ledger);
        }
        // The task is cancelled, or panics, while the provider works.
        6 | 7 => {
            hold.dispatched();
            hold.observe(&tokens.of(observed));
            ledger.charge(observed.max(estimate), estimate);
            if ending == 6 {
                drop(hold);
            } else {
                panicked(move || {
                    let _hold = hold;
                    std::panic::resume_unwind(Box::new("while the provider works"));
                });
            }
        }
        // Split, half of it answered, half of it not needed.
        8 => {
            let half = hold.split(tokens.of(estimate / 2)).unwrap();
            commit(&half, tokens.of(billed).into(), billed, estimate / 2, ledger);
            hold.release().unwrap();
        }
        // Leaked before it went out: its time runs out, and it costs nothing.
        9 => {
            let _ = hold.detach(TTL).unwrap();
        }
        // Timed out: nobody settles it in time, and now and then the answer comes all the same.
        _ => {
            hold.dispatched();
            hold.observe(&tokens.of(observed));
            let id = hold.detach(TTL).unwrap().id().clone();
            if random.next(2) == 0 {
                ledger.charge(observed.max(estimate), estimate);
                return;
            }
            engine.sweep();
            match engine.resume(&id) {
                Ok(hold) => {
                    hold.commit(tokens.of(billed)).unwrap();
                    ledger.charge(billed, estimate);
                }
                // This thread was kept waiting so long that the hold has expired and been forgotten.
                Err(UnknownHold) => ledger.charge(observed.max(estimate), estimate),
            }
        }
    }
}

fn commit(hold: &Reservation, actual: Actual, charged: u64, reserved: u64, ledger: &Ledger) {
    match hold.commit(actual) {
        Ok(receipt) => assert_eq!(receipt.charged().iter().map(|(_, amount)| amount).sum::<u64>(), charged),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(hold.release(), Err(SettleError::Committed));
    ledger.charge(charged, reserved);
}

fn assert_within(scope: &Scope) {
    for budget in scope.usage().unwrap() {
        let charged = budget.charged();
        assert!(budget.cap.max().is_none_or(|max| charged <= max), "{}: {charged} of {:?}", budget.limit, budget.cap);
    }
}

/// Runs something that panics on purpose, quietly.
fn panicked(run: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
}

#[test]
fn fifty_agents_cancelled_at_random_points_lose_nothing_and_leave_nothing_held() {
    run(Estimates::Low);
}

#[test]
fn fifty_agents_that_hold_the_worst_case_never_pass_a_limit() {
    run(Estimates::WorstCase);
}

fn run(estimates: Estimates) {
    println!("seed {SEED}");
    let calls: u64 = std::env::var("ENCUMBER_AGENT_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let clock = ManualClock::at("2026-02-04T10:00:00Z".parse().unwrap());
    let engine = Engine::builder(policy()).clock(&clock).remember_settled(Duration::from_secs(60)).build();
    let tokens = engine.resource("tokens").unwrap();
    let agents: Vec<Agent> = (0..AGENTS)
        .map(|number| {
            let user = number % USERS;
            let scope = engine.scope([format!("agent:a{number}"), format!("user:u{user}")]).unwrap();
            Agent { scope, user, ledger: Ledger::default() }
        })
        .collect();
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (engine, agents, clock) = (&engine, &agents, &clock);
            threads.spawn(move || {
                let mut random = Random(SEED + thread as u64);
                for round in 0..calls / THREADS as u64 {
                    let agent = &agents[random.next(AGENTS as u64) as usize];
                    agent.ledger.calls.fetch_add(1, Ordering::Relaxed);
                    call(engine, agent, tokens, &mut random, (round * THREADS as u64 + thread as u64, estimates));
                    if estimates == Estimates::WorstCase && round % 64 == 0 {
                        assert_within(&agent.scope);
                    }
                    // Two minutes in a thousand calls, so that windows end and holds run out of time.
                    clock.advance(Duration::from_millis(random.next(240)));
                }
            });
        }
    });
    clock.advance(TTL);
    engine.sweep();

    let sum = |of: fn(&Ledger) -> &AtomicU64| -> u64 {
        agents.iter().map(|agent| of(&agent.ledger).load(Ordering::Relaxed)).sum()
    };
    let (charged, above, refused) = (sum(|l| &l.charged), sum(|l| &l.above_holds), sum(|l| &l.refused));
    println!("{calls} calls, {refused} refused, {charged} tokens charged, {above} above their holds");
    assert_eq!(above > 0, estimates == Estimates::Low);
    assert!(refused > calls / 1_000, "the limits were never reached: {refused}");
    for ending in 0..ENDINGS {
        let ended: u64 = agents.iter().map(|agent| agent.ledger.endings[ending].load(Ordering::Relaxed)).sum();
        assert!(ended > 0, "no call ended in way {ending}");
    }
    let mut by_user = [0; USERS];
    for agent in &agents {
        let usage = agent.scope.usage().unwrap();
        let expected = agent.ledger.charged.load(Ordering::Relaxed);
        by_user[agent.user] += expected;
        for budget in &usage {
            assert_eq!(budget.held, 0, "{}", budget.limit);
        }
        assert_eq!(usage[0].used, expected, "seed {SEED}");
    }
    for (user, expected) in by_user.into_iter().enumerate() {
        let usage = engine.scope([format!("user:u{user}")]).unwrap().usage().unwrap();
        let run = usage.iter().find(|budget| &*budget.limit == "user-run").unwrap();
        assert_eq!(run.used, expected, "seed {SEED}");
    }
    let team = engine.scope([] as [&str; 0]).unwrap().usage().unwrap();
    assert_eq!(team.iter().find(|budget| &*budget.limit == "team-run").unwrap().used, charged, "seed {SEED}");
    clock.advance(Duration::from_secs(120));
    engine.sweep();
    assert_eq!(engine.holds(), 0, "every id is forgotten in its time");
}
