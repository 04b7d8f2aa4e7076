//! Bounds: idle subjects make room, unobservably; whoever has usage stays; a full engine says so and goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use encumber::{
    Cap, ChargeError, Engine, EngineBuilder, Limit, ManualClock, Policy, Receipt, Reservation, Resource, ScopeError,
    Timestamp, Unit, Window,
};

const SEED: u64 = 0x5eed_0011;
const MINUTE: Duration = Duration::from_secs(60);

/// A small generator with a long enough period (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Users have 10 tokens a minute, accounts 1000 for good.
fn rig(set_up: impl Fn(EngineBuilder) -> EngineBuilder) -> (Engine, ManualClock, Resource) {
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("user-minute", "user", "tokens", Window::Minute, Cap::Max(10)))
        .limit(Limit::new("account", "account", "tokens", Window::Lifetime, Cap::Max(1_000)))
        .build()
        .unwrap();
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = set_up(Engine::builder(policy).clock(&clock)).build();
    let tokens = engine.resource("tokens").unwrap();
    (engine, clock, tokens)
}

fn used(engine: &Engine, subject: &str) -> u64 {
    engine.scope([subject]).unwrap().usage().unwrap()[0].used
}

#[test]
fn a_million_one_off_subjects_pass_and_nothing_that_has_usage_is_forgotten() {
    const MAX: u64 = 100_000;
    const KEPT: u64 = 100;
    let (engine, clock, tokens) = rig(|builder| builder.max_subjects(MAX));
    let charge = |subject: &str, amount| engine.scope([subject]).unwrap().try_charge(tokens.of(amount));
    let day = Duration::from_secs(86_400);
    for number in 0..KEPT {
        charge(&format!("account:lifetime-{number}"), number + 1).unwrap();
        let scope = engine.scope([format!("user:detached-{number}")]).unwrap();
        scope.reserve_with_id(&*format!("req-{number}"), day, tokens.of(7)).unwrap();
    }
    let scopes: Vec<_> = (0..KEPT).map(|number| engine.scope([format!("user:scope-{number}")]).unwrap()).collect();
    let open: Vec<_> = (0..KEPT)
        .map(|number| engine.scope([format!("account:open-{number}")]).unwrap().reserve(tokens.of(9)).unwrap())
        .collect();
    for number in 0..1_000_000_u64 {
        if number % 25_000 == 0 {
            clock.advance(MINUTE);
            for kept in 0..KEPT {
                charge(&format!("user:now-{kept}"), 6).unwrap();
            }
        }
        // Looked at, used, held and released, refused: all of them are idle once their window has ended.
        let scope = engine.scope([format!("user:{number}")]).unwrap();
        match number % 4 {
            0 => drop(scope.check().unwrap()),
            1 => drop(scope.try_charge(tokens.of(3)).unwrap()),
            2 => drop(scope.reserve(tokens.of(3)).unwrap()),
            _ => assert!(scope.try_charge(tokens.of(11)).is_err()),
        }
        if number % 25_000 == 24_999 {
            assert!(engine.subjects() as u64 <= MAX);
            for kept in 0..KEPT {
                let refused = charge(&format!("user:now-{kept}"), 5);
                assert!(refused.is_err(), "6 of 10 are charged in this window");
                assert_eq!(used(&engine, &format!("account:lifetime-{kept}")), kept + 1);
            }
        }
    }
    for (number, open) in (0..KEPT).zip(open) {
        engine.resume(&format!("req-{number}").parse().unwrap()).unwrap().commit(tokens.of(7)).unwrap();
        open.commit(tokens.of(4)).unwrap();
        assert_eq!(used(&engine, &format!("account:open-{number}")), 4);
        scopes[number as usize].try_charge(tokens.of(10)).unwrap();
        assert_eq!(used(&engine, &format!("user:scope-{number}")), 10, "all scopes on a subject share its budgets");
    }
}

#[test]
fn a_full_engine_says_so_and_those_that_it_has_go_on() {
    let (engine, clock, tokens) = rig(|builder| builder.max_subjects(100));
    let account = |number: u64| engine.scope([format!("account:{number}")]);
    for number in 0..100 {
        account(number).unwrap().try_charge(tokens.of(1)).unwrap();
    }
    for number in 100..1_000 {
        assert_eq!(account(number).unwrap_err(), ScopeError::TooManySubjects { max: 100 });
        clock.advance(MINUTE);
    }
    assert_eq!(
        ScopeError::TooManySubjects { max: 100 }.to_string(),
        "the engine keeps 100 subjects, as many as it may, and all of them have usage or are in use"
    );
    assert_eq!((engine.subjects(), engine.sweep().evicted), (100, 0));
    for number in 0..100 {
        account(number).unwrap().try_charge(tokens.of(2)).unwrap();
        assert_eq!(used(&engine, &format!("account:{number}")), 3);
    }
}

#[test]
fn a_subject_that_gives_everything_back_makes_room() {
    let (engine, clock, tokens) = rig(|builder| builder.max_subjects(1));
    let receipt = {
        let scope = engine.scope(["account:1"]).unwrap();
        let hold = scope.reserve(tokens.of(5)).unwrap();
        assert!(engine.scope(["account:2"]).is_err());
        hold.commit(tokens.of(5)).unwrap()
    };
    engine.refund(&receipt, &tokens.of(5)).unwrap();
    assert!(engine.scope(["account:2"]).is_err(), "the receipt is still held");
    drop(receipt);
    clock.advance(MINUTE);
    drop(engine.scope(["account:2"]).unwrap());
    let scope = engine.scope(["user:1"]).unwrap();
    scope.try_charge(tokens.of(1)).unwrap();
    drop(scope);
    for (passed, room) in [(0, false), (1, false), (2, true)] {
        assert_eq!(engine.scope(["user:2"]).is_ok(), room, "{passed} windows later");
        clock.advance(MINUTE);
    }
}

#[test]
fn holds_that_are_kept_under_an_id_keep_their_subject_until_they_are_forgotten() {
    let (engine, clock, tokens) = rig(|builder| builder.remember_settled(10 * MINUTE));
    let scope = engine.scope(["account:1"]).unwrap();
    scope.reserve_with_id("req", MINUTE, tokens.of(5)).unwrap();
    drop(scope);
    assert_eq!(engine.sweep().evicted, 0);
    clock.advance(MINUTE);
    let swept = engine.sweep();
    assert_eq!((swept.expired, swept.evicted), (1, 0));
    clock.advance(10 * MINUTE);
    assert_eq!((engine.sweep().evicted, engine.subjects(), engine.holds()), (1, 0, 0));
}

/// New subjects are asked for by all threads at once while others sweep without a pause. Of each, exactly as much is admitted as fits, and it
/// is all there in the end.
#[test]
fn eviction_beside_lookups_and_charges_loses_no_charge() {
    const THREADS: u64 = 8;
    const SUBJECTS: u64 = 500;
    const MAX: u64 = 1_000;
    let (engine, _, tokens) = rig(|builder| builder);
    let admitted: Vec<_> = (0..SUBJECTS).map(|_| AtomicU64::new(0)).collect();
    let (start, stop) = (Barrier::new(THREADS as usize), AtomicBool::new(false));
    let evicted = AtomicU64::new(0);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    evicted.fetch_add(engine.sweep().evicted as u64, Ordering::Relaxed);
                }
            });
        }
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (engine, admitted, start, evicted) = (&engine, &admitted, &start, &evicted);
                threads.spawn(move || {
                    let mut random = Random(SEED ^ thread);
                    for (number, admitted) in admitted.iter().enumerate() {
                        let name = format!("account:{number}");
                        // Before anybody can have charged it, so that there is something to evict however the threads run.
                        if thread == 0 {
                            drop(engine.scope([&name]).unwrap());
                            evicted.fetch_add(engine.sweep().evicted as u64, Ordering::Relaxed);
                        }
                        start.wait();
                        for _ in 0..3 {
                            // Made, looked at and let go: idle, unless somebody else has charged it.
                            drop(engine.scope([&name]).unwrap().check());
                            if random.below(2) == 0 {
                                evicted.fetch_add(engine.sweep().evicted as u64, Ordering::Relaxed);
                            }
                            let amount = 100 + random.below(100);
                            let scope = engine.scope([&name]).unwrap();
                            let went = match random.below(3) {
                                0 => scope.try_charge(tokens.of(amount)).map_or(0, |_| amount),
                                1 => scope.reserve(tokens.of(amount)).map_or(0, |hold| {
                                    hold.commit(tokens.of(amount / 2)).unwrap();
                                    amount / 2
                                }),
                                _ => scope.reserve(tokens.of(amount)).map_or(0, |hold| {
                                    hold.release().unwrap();
                                    0
                                }),
                            };
                            admitted.fetch_add(went, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        stop.store(true, Ordering::Release);
    });
    for (number, admitted) in admitted.into_iter().enumerate() {
        let admitted = admitted.into_inner();
        assert!(admitted <= MAX, "account {number}, seed {SEED:#x}");
        assert_eq!(used(&engine, &format!("account:{number}")), admitted, "account {number}, seed {SEED:#x}");
    }
    assert!(evicted.into_inner() > 0, "nothing was evicted: the test shows nothing");
}

/// The bound holds under threads, and idle room is found by all of them.
#[test]
fn the_bound_is_exact_under_threads() {
    const THREADS: u64 = 8;
    let (engine, _, tokens) = rig(|builder| builder.max_subjects(500));
    let kept = Mutex::new(Vec::new());
    let made = AtomicU64::new(0);
    thread::scope(|threads| {
        for thread in 0..THREADS {
            let (engine, kept, made) = (&engine, &kept, &made);
            threads.spawn(move || {
                for number in 0..1_000 {
                    // Six of seven are one-off; the room for the seventh runs out in the end.
                    let Ok(scope) = engine.scope([format!("user:{thread}-{number}")]) else { continue };
                    made.fetch_add(1, Ordering::Relaxed);
                    assert!(engine.subjects() <= 500);
                    if number % 7 == 0 {
                        scope.try_charge(tokens.of(1)).unwrap();
                        kept.lock().unwrap().push(scope);
                    }
                }
            });
        }
    });
    assert!(made.into_inner() > 3_000);
    let kept = kept.into_inner().unwrap();
    assert!(kept.len() <= 500 && kept.iter().all(|scope| scope.usage().unwrap()[0].used == 1));
}

/// Two engines do the same, and one of them evicts before each step: every answer is the same.
#[test]
fn eviction_is_unobservable() {
    const STEPS: u64 = 20_000;
    let mut evicted = 0;
    for round in 0..3 {
        let seed = SEED ^ round;
        let rigs = [rig(|builder| builder), rig(|builder| builder.max_subjects(45))];
        let mut random = Random(seed);
        let mut sides: [(Vec<Reservation>, Vec<Receipt>); 2] = Default::default();
        for step in 0..STEPS {
            evicted += rigs[1].0.sweep().evicted;
            if random.below(20) == 0 {
                let seconds = random.below(150);
                for (_, clock, _) in &rigs {
                    clock.advance(Duration::from_secs(seconds));
                }
            }
            let kind = if random.below(3) == 0 { "account" } else { "user" };
            let name = format!("{kind}:{}", random.below(20));
            let (what, amount, which) = (random.below(8), random.below(8), random.below(1 << 30) as usize);
            let sides = rigs.iter().zip(&mut sides);
            let answers: Vec<_> =
                sides.map(|((engine, ..), side)| one_step(engine, side, &name, (what, amount, which))).collect();
            assert_eq!(answers[0], answers[1], "seed {seed:#x}, step {step}: {what} of {amount} for {name}");
        }
    }
    assert!(evicted > 1_000, "only {evicted} were evicted: the test shows little");
}

/// The kinds of windows, each as long as a minute.
fn kinds() -> [Window; 3] {
    [Window::Minute, Window::rolling(60).unwrap(), Window::from_first_use(60).unwrap()]
}

/// Users have 10 tokens in each window.
fn rig_with(window: Window) -> (Engine, ManualClock, Resource) {
    let limit = Limit::new("user", "user", "tokens", window, Cap::Max(10));
    let policy = Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap();
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = Engine::builder(policy).clock(&clock).max_subjects(100).build();
    let tokens = engine.resource("tokens").unwrap();
    (engine, clock, tokens)
}

/// The clock walks ahead and is set back, a little or far, and everything idle is evicted all the time. No subject gets more than its max for each
/// window that time has ever reached, nor is it locked out once time has reached a new one.
#[test]
fn a_clock_that_is_set_back_finds_nothing_to_grant_again() {
    for window in kinds() {
        let evicted: usize = (0..20).map(|round| walk_back_and_forth(window, SEED ^ round << 8, true)).sum();
        assert!(evicted > 1_000, "{window}: only {evicted} were evicted: the test shows little");
        for round in 0..20 {
            walk_back_and_forth(window, SEED ^ round << 8, false);
        }
    }
}

fn walk_back_and_forth(window: Window, seed: u64, evicting: bool) -> usize {
    const MINUTE_MICROS: i64 = 60_000_000;
    let (engine, clock, tokens) = rig_with(window);
    let mut random = Random(seed);
    let first = clock.now().as_micros() / MINUTE_MICROS * MINUTE_MICROS;
    clock.set(Timestamp::from_micros(first));
    let (mut furthest, mut admitted, mut evicted) = (first, [0_u64; 5], 0);
    for step in 0..3_000 {
        let seconds = match random.below(10) {
            0 => -(random.below(1_200) as i64),
            1..4 => random.below(200) as i64,
            _ => random.below(60) as i64,
        };
        let now = (clock.now().as_micros() + seconds * 1_000_000).max(first);
        clock.set(Timestamp::from_micros(now));
        // A sub-interval of a rolling window lasts a second, and counts for a window and one more.
        let is_new = now >= furthest + 2 * MINUTE_MICROS + 2_000_000;
        furthest = furthest.max(now);
        if evicting {
            evicted += engine.sweep().evicted;
        }
        let subject = random.below(5) as usize;
        let scope = engine.scope([format!("user:{subject}")]).unwrap();
        let mut got = 0;
        while scope.try_charge(tokens.of(5)).is_ok() {
            got += 5;
        }
        assert!(got > 0 || !is_new, "{window}: locked out; seed {seed:#x}, step {step}");
        admitted[subject] += got;
        let windows = ((furthest - first) / MINUTE_MICROS + 1) as u64;
        assert!(
            admitted[subject] <= 10 * windows,
            "{window}: {admitted:?} in {windows}; seed {seed:#x}, step {step}, evicting: {evicting}"
        );
    }
    evicted
}

/// To and fro between the same two minutes: however often a budget is evicted meanwhile, they hold what they hold.
#[test]
fn a_clock_that_goes_to_and_fro_grants_nothing_again() {
    for window in kinds() {
        let (engine, clock, tokens) = rig_with(window);
        let home = clock.now();
        let (mut admitted, mut evicted) = (0, 0);
        for second in 0..60 {
            clock.set(home.saturating_add(Duration::from_secs(second)));
            admitted += engine.scope(["user:1"]).unwrap().try_charge(tokens.of(10)).map_or(0, |_| 10);
            clock.advance(5 * MINUTE);
            evicted += engine.sweep().evicted;
        }
        // Six minutes, each of which one of them may have used.
        assert!(admitted <= 70 && evicted > 0, "{window}: {admitted}, evicted {evicted} times");
    }
}

/// Found by reading: a window from first use began anew wherever the clock was set back to, also where the window before it was still to end.
#[test]
fn a_window_from_first_use_never_begins_before_the_one_before_it_has_ended() {
    let (engine, clock, tokens) = rig_with(Window::from_first_use(60).unwrap());
    let (home, scope) = (clock.now(), engine.scope(["user:1"]).unwrap());
    let fill_at = |second: u64| {
        clock.set(home.saturating_add(Duration::from_secs(second)));
        scope.try_charge(tokens.of(10)).is_ok()
    };
    assert!(fill_at(0) && fill_at(60));
    assert!(!fill_at(5), "set back");
    assert!(!fill_at(66) && !fill_at(119), "two of them have been granted until then");
    assert!(fill_at(120));
    // Ahead, and back.
    assert!(fill_at(100_000) && !fill_at(130));
    assert!(!fill_at(239) && fill_at(240), "it began with the end of the one before the jump");
}

/// The clock had jumped ahead, and everything that was made and evicted meanwhile is known by then. When it comes back, nobody is locked out for longer than the
/// next window, and what was granted before the jump is not granted again.
#[test]
fn a_clock_that_comes_back_from_far_ahead_locks_nobody_out() {
    for window in kinds() {
        let (engine, clock, tokens) = rig_with(window);
        let home = clock.now();
        let fill = |user: &str| {
            let scope = engine.scope([user]).unwrap();
            let admitted = scope.try_charge(tokens.of(10)).is_ok();
            (admitted, scope)
        };
        assert!(fill("user:a").0);
        clock.advance(100_000 * MINUTE);
        assert!(fill("user:b").0);
        clock.advance(4 * MINUTE);
        assert_eq!(engine.sweep().evicted, 2, "{window}");
        let (admitted, scope) = fill("user:c");
        assert!(admitted);
        clock.set(home);
        let mut refused = 0;
        while scope.try_charge(tokens.of(10)).is_err() {
            clock.advance(Duration::from_secs(1));
            refused += 1;
            assert!(refused < 10 * 60, "{window}: locked out");
        }
        assert!(refused <= 3 * 61, "{window}: locked out for {refused} s");
    }
}

fn one_step(
    engine: &Engine,
    (holds, receipts): &mut (Vec<Reservation>, Vec<Receipt>),
    name: &str,
    (what, amount, which): (u64, u64, usize),
) -> String {
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope([name]).unwrap();
    let cost = tokens.of(amount);
    let answer = match what {
        0 => format!("{:?}", scope.try_charge(cost)),
        1 => format!("{:?}", scope.check_cost(&cost)),
        2 => match scope.reserve(cost) {
            Ok(hold) => {
                holds.push(hold);
                "held".to_owned()
            }
            Err(error) => format!("{error:?}"),
        },
        3 | 4 if !holds.is_empty() => {
            let hold = holds.swap_remove(which % holds.len());
            if what == 3 {
                receipts.push(hold.commit(cost).unwrap());
                receipts.last().map(told).unwrap()
            } else {
                format!("{:?}", hold.release())
            }
        }
        5 => scope.record(cost).map(|receipt| told(&receipt)).unwrap(),
        6 if !receipts.is_empty() => {
            let receipt = receipts.swap_remove(which % receipts.len());
            format!("{:?}", engine.refund(&receipt, receipt.charged()))
        }
        _ => {
            // The window before this one is remembered whatever happens.
            let before = Timestamp::from_micros(engine.now().as_micros() - 60_000_000);
            format!("{:?}", scope.usage_at(before))
        }
    };
    format!("{answer} {:?} {:?}", scope.usage(), scope.afford(tokens))
}

/// A receipt, but for what differs between engines.
fn told(receipt: &Receipt) -> String {
    format!("{:?} {}", receipt.overages(), receipt.is_late())
}

#[test]
fn a_scope_without_room_is_an_error_and_charges_nothing() {
    let (engine, _, tokens) = rig(|builder| builder.max_subjects(1));
    let scope = engine.scope(["account:1"]).unwrap();
    scope.try_charge(tokens.of(1)).unwrap();
    assert!(matches!(engine.scope(["account:1", "user:1"]), Err(ScopeError::TooManySubjects { max: 1 })));
    assert_eq!(used(&engine, "account:1"), 1);
    // A policy that limits more kinds makes no new subject of those that are there.
    let more = Limit::new("account-day", "account", "tokens", Window::Day, Cap::Max(5));
    let policy = Policy::builder().resource("tokens", Unit::Count).limit(more).build().unwrap();
    engine.set_policy(policy);
    scope.try_charge(tokens.of(5)).unwrap();
    assert!(matches!(scope.try_charge(tokens.of(1)), Err(ChargeError::Refused(_))));
}

/// Found while writing the page on bounds: after one refusal the newest subjects were forgotten, and a registry that had become idle went on
/// refusing.
#[test]
fn a_registry_that_becomes_idle_after_a_refusal_has_room_at_once() {
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Max(10)))
        .build()
        .unwrap();
    let engine = Engine::builder(policy).max_subjects(100).build();
    let scope = |number: u32| engine.scope([format!("agent:{number}")]);
    let kept: Vec<_> = (0..100).map(|number| scope(number).unwrap()).collect();
    assert!(matches!(scope(1_000), Err(ScopeError::TooManySubjects { max: 100 })));
    drop(kept);
    assert!(scope(1_001).is_ok());
}

/// A policy may name tens of thousands of subjects: reading it, and finding one of them, does not go through all the others.
#[test]
#[cfg(feature = "toml")]
fn a_policy_names_very_many_subjects() {
    let own = (0..50_000).map(|n| format!("\"user:{n}\" = {}", n + 1)).collect::<Vec<_>>().join("\n");
    let text = format!(
        "[resources]\ntokens = \"count\"\n[[limits]]\nid = \"day\"\nsubject = \"user\"\nresource = \"tokens\"\nwindow = \"day\"\nmax = 7\n[limits.subjects]\n{own}"
    );
    let engine = Engine::new(Policy::from_toml(&text).unwrap());
    let tokens = engine.resource("tokens").unwrap();
    for n in (0..50_000).step_by(97) {
        let name = format!("user:{n}");
        engine.try_charge([&name], tokens.of(n + 1)).unwrap();
        assert!(engine.scope([&name]).unwrap().try_charge(tokens.of(1)).is_err(), "{name}");
    }
    assert!(
        engine.try_charge(["user:x"], tokens.of(8)).is_err() && engine.try_charge(["user:x"], tokens.of(7)).is_ok()
    );
    let twice = format!("{text}\n\"user:49999\" = 1\n");
    assert!(Policy::from_toml(&twice).is_err(), "named twice");
}
