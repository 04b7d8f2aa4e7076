//! Top-ups, overrides, and two resources that pay in order.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use encumber::{
    Cap, CapError, ChargeError, Enforcement, Engine, Limit, ManualClock, Policy, RecordError, Resource, Retry, Scope,
    Source, Status, Subject, Unit, Window,
};

fn policy(day: u64) -> Policy {
    let day = Limit::new("day", "user", "tokens", Window::Day, Cap::Max(day))
        .group("heavy", Cap::Max(70))
        .subject("user:2", Cap::Max(50))
        .subject("user:3", Cap::Unlimited);
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("steps", Unit::Count)
        .resource("included", Unit::Usd)
        .resource("credit", Unit::Usd)
        .limit(day)
        .limit(Limit::new("steps", "agent", "steps", Window::Day, Cap::Max(10)).enforcement(Enforcement::Soft))
        .limit(Limit::new("included", "user", "included", Window::Month, Cap::Max(1_000)))
        .limit(Limit::new("credit", "user", "credit", Window::Lifetime, Cap::Max(5_000)))
        .build()
        .unwrap()
}

struct Rig {
    engine: Engine,
    clock: ManualClock,
    tokens: Resource,
    user: Subject,
    scope: Scope,
}

fn rig() -> Rig {
    let clock = ManualClock::at("2026-04-03T10:00:00Z".parse().unwrap());
    let engine = Engine::builder(policy(100)).clock(&clock).build();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:1"]).unwrap();
    Rig { engine, clock, tokens, user: "user:1".parse().unwrap(), scope }
}

impl Rig {
    fn admits(&self, amount: u64) -> bool {
        self.scope.try_charge(self.tokens.of(amount)).is_ok()
    }

    fn cap(&self, limit: &str) -> Cap {
        self.scope.usage().unwrap().iter().find(|budget| &*budget.limit == limit).unwrap().cap
    }

    fn order(&self) -> [Resource; 2] {
        ["included", "credit"].map(|name| self.engine.resource(name).unwrap())
    }

    /// Used of the allowance and of the balance.
    fn used(&self) -> [u64; 2] {
        let usage = self.scope.usage().unwrap();
        ["included", "credit"].map(|limit| usage.iter().find(|budget| &*budget.limit == limit).unwrap().used)
    }

    fn next_day(&self) {
        self.clock.advance(Duration::from_secs(24 * 3_600));
    }
}

#[test]
fn a_top_up_of_a_day_is_good_for_that_day() {
    let rig = rig();
    assert!(rig.admits(100) && !rig.admits(1));
    let change = rig.engine.top_up(&rig.user, "day", 20).unwrap();
    assert_eq!((change.before, change.after), (Cap::Max(100), Cap::Max(120)));
    assert_eq!(change.until, Some("2026-04-04T00:00:00Z".parse().unwrap()));
    assert_eq!((&*change.limit, &*change.resource, change.at), ("day", "tokens", rig.clock.now()));
    // The scope was there before.
    assert!(rig.admits(15) && !rig.admits(6));
    assert_eq!(rig.engine.top_up(&rig.user, "day", 10).unwrap().after, Cap::Max(130), "top-ups add up");
    assert_eq!(rig.cap("day"), Cap::Max(130));
    assert!(rig.admits(15) && !rig.admits(1));
    assert_eq!(rig.engine.resolve(&rig.user, &[]).unwrap()[0], ("day".into(), Cap::Max(130), Source::Default));
    rig.next_day();
    assert_eq!((rig.cap("day"), rig.scope.afford(rig.tokens)), (Cap::Max(100), Ok(Cap::Max(100))));
    assert!(!rig.admits(101) && rig.admits(100) && !rig.admits(1));
    let refusal = rig.scope.try_charge(rig.tokens.of(1)).unwrap_err().into_refusal().unwrap();
    assert_eq!(refusal.primary().max, 100);
}

/// The window that is charged decides, not the clock: an older time uses the later window, at the later window's cap.
#[test]
fn a_top_up_does_not_reach_into_a_later_window() {
    let rig = rig();
    rig.engine.top_up(&rig.user, "day", 20).unwrap();
    rig.next_day();
    assert!(rig.admits(100));
    rig.clock.set("2026-04-03T23:00:00Z".parse().unwrap());
    assert!(!rig.admits(1));
    assert_eq!(rig.scope.afford(rig.tokens), Ok(Cap::Max(0)));
    // And a top-up made now is of the window that operations use.
    assert_eq!(rig.engine.top_up(&rig.user, "day", 5).unwrap().after, Cap::Max(105));
    assert!(rig.admits(5) && !rig.admits(1));
}

#[test]
fn a_top_up_of_a_lifetime_is_for_good() {
    let rig = rig();
    let [_, credit] = rig.order();
    assert_eq!(rig.engine.top_up(&rig.user, "credit", 500).unwrap().until, None);
    rig.clock.advance(Duration::from_secs(400 * 24 * 3_600));
    rig.engine.set_policy(policy(100));
    rig.scope.try_charge(credit.of(5_500)).unwrap();
    assert!(rig.scope.try_charge(credit.of(1)).is_err());
    assert_eq!(rig.cap("credit"), Cap::Max(5_500));
    let other = rig.engine.scope(["user:9"]).unwrap();
    assert!(other.try_charge(credit.of(5_001)).is_err(), "it is one subject's");
}

#[test]
fn soft_budgets_go_by_the_raised_cap() {
    let rig = rig();
    let steps = rig.engine.resource("steps").unwrap();
    let scope = rig.engine.scope(["agent:a"]).unwrap();
    rig.engine.top_up(&"agent:a".parse().unwrap(), "steps", 5).unwrap();
    assert!(!scope.try_charge(steps.of(15)).unwrap().is_over());
    assert!(scope.try_charge(steps.of(1)).unwrap().is_over());
    assert_eq!(scope.record(steps.of(1)).unwrap().overages()[0].above, 2);
    rig.next_day();
    assert!(scope.try_charge(steps.of(11)).unwrap().is_over());
    assert_eq!(scope.usage().unwrap()[0].status, Status::Over);
}

#[test]
fn an_override_goes_before_the_policy_and_can_be_taken_away() {
    let rig = rig();
    let own: Subject = "user:2".parse().unwrap();
    let scope = rig.engine.scope(["user:2"]).unwrap();
    let cap = || scope.usage().unwrap()[0].cap;
    let change = rig.engine.set_override(&own, "day", Some(Cap::Max(80))).unwrap();
    assert_eq!((change.before, change.after, change.until), (Cap::Max(50), Cap::Max(80), None));
    assert_eq!(cap(), Cap::Max(80), "its own entry is 50");
    assert_eq!(rig.engine.resolve(&own, &["heavy"]).unwrap()[0], ("day".into(), Cap::Max(80), Source::Override));
    rig.engine.set_policy(policy(7));
    rig.next_day();
    assert_eq!(cap(), Cap::Max(80), "it outlives policies and windows");
    rig.engine.top_up(&own, "day", 5).unwrap();
    assert_eq!(cap(), Cap::Max(85), "top-ups come on top");
    rig.engine.set_override(&own, "day", Some(Cap::Max(0))).unwrap();
    assert_eq!(cap(), Cap::Max(5));
    rig.next_day();
    assert!(scope.try_charge(rig.tokens.of(1)).is_err(), "0 is a value");
    rig.engine.set_override(&own, "day", Some(Cap::Unlimited)).unwrap();
    assert!(scope.try_charge(rig.tokens.of(1_000)).is_ok());
    let change = rig.engine.set_override(&own, "day", None).unwrap();
    assert_eq!((change.before, change.after), (Cap::Unlimited, Cap::Max(50)));
    assert!(scope.try_charge(rig.tokens.of(1)).is_err());
    assert_eq!(rig.engine.resolve(&own, &[]).unwrap()[0].2, Source::Subject);
}

#[test]
fn what_cannot_be_is_refused() {
    let rig = rig();
    let day_max = Window::Day.cap_max();
    let too_large = CapError::TooLarge { window: Window::Day, unit: Unit::Count, cap_max: day_max };
    assert_eq!(rig.engine.top_up(&rig.user, "day", day_max - 99), Err(too_large.clone()));
    assert_eq!(rig.engine.top_up(&rig.user, "day", day_max - 100).unwrap().after, Cap::Max(day_max));
    assert_eq!(rig.engine.top_up(&rig.user, "day", 1), Err(too_large.clone()));
    assert_eq!(rig.engine.set_override(&rig.user, "day", Some(Cap::Max(day_max + 1))), Err(too_large.clone()));
    assert!(too_large.to_string().ends_with(&format!("holds at most {day_max}")));
    // A larger policy does not carry the sum past what the word can hold.
    rig.engine.set_policy(policy(1_000));
    assert_eq!(rig.cap("day"), Cap::Max(day_max));
    assert_eq!(rig.engine.top_up(&"user:3".parse().unwrap(), "day", 1), Err(CapError::Unlimited));
    let unknown = rig.engine.top_up(&rig.user, "dya", 1).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no limit \"dya\" on the subject; known: day, included, credit");
    assert!(matches!(rig.engine.top_up(&rig.user, "steps", 1), Err(CapError::UnknownLimit { .. })));
    assert!(matches!(rig.engine.top_up(&"usr:1".parse().unwrap(), "day", 1), Err(CapError::Scope(_))));
}

#[test]
fn reservations_and_the_short_way_go_by_the_raised_cap() {
    let rig = rig();
    rig.engine.top_up(&rig.user, "day", 20).unwrap();
    let hold = rig.scope.reserve(rig.tokens.of(110)).unwrap();
    assert!(hold.try_extend(rig.tokens.of(11)).is_err());
    hold.try_extend(rig.tokens.of(10)).unwrap();
    assert!(hold.commit(rig.tokens.of(120)).unwrap().overages().is_empty());
    assert!(rig.scope.check_in(&[rig.tokens]).is_err());
}

/// Top-ups while others charge: exactly what was given is admitted.
#[test]
fn what_is_given_is_admitted_and_no_more() {
    let rig = rig();
    let admitted = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let scope = rig.engine.scope(["user:1"]).unwrap();
                while done.load(Ordering::Acquire) == 0 || scope.check_in(&[rig.tokens]).is_ok() {
                    if scope.try_charge(rig.tokens.of(1)).is_ok() {
                        admitted.fetch_add(1, Ordering::AcqRel);
                    }
                }
            });
        }
        for _ in 0..200 {
            rig.engine.top_up(&rig.user, "day", 7).unwrap();
        }
        done.store(1, Ordering::Release);
    });
    assert_eq!(admitted.into_inner(), 100 + 200 * 7);
}

#[test]
fn the_allowance_first_then_the_balance() {
    let rig = rig();
    let [included, credit] = rig.order();
    let charge =
        |amount| rig.scope.charge_in_order([included, credit], amount).map(|receipt| receipt.charged().clone());
    assert_eq!(charge(0), Ok(encumber::Cost::nothing()));
    assert_eq!(charge(400), Ok(included.of(400)));
    assert_eq!(charge(600), Ok(included.of(600)), "an exact fit leaves the balance alone");
    assert_eq!(charge(500), Ok(credit.of(500)));
    assert_eq!(rig.used(), [1_000, 500]);
    let Err(ChargeError::Refused(refusal)) = charge(4_501) else { panic!("there are 4,500") };
    assert_eq!((&*refusal.primary().limit, refusal.primary().requested), ("credit", 4_501));
    assert_eq!(rig.used(), [1_000, 500], "all or none");
    assert_eq!(charge(4_500), Ok(credit.of(4_500)));
    rig.clock.set("2026-05-01T00:00:00Z".parse().unwrap());
    assert_eq!(charge(1_000), Ok(included.of(1_000)), "the allowance comes anew, the balance does not");
    assert!(charge(1).is_err());
}

#[test]
fn a_shortfall_is_split_and_can_be_refunded() {
    let rig = rig();
    let [included, credit] = rig.order();
    let receipt = rig.scope.charge_in_order([included, credit], 1_500).unwrap();
    assert_eq!(rig.used(), [1_000, 500]);
    rig.engine.refund(&receipt, &included.of(100).and(credit, 500)).unwrap();
    assert_eq!(rig.used(), [900, 0]);
}

#[test]
fn an_allowance_that_is_over_never_enlarges_the_charge() {
    let rig = rig();
    let [included, credit] = rig.order();
    rig.scope.record(included.of(2_000)).unwrap();
    let receipt = rig.scope.charge_in_order([included, credit], 300).unwrap();
    assert_eq!(receipt.charged(), &credit.of(300));
    assert_eq!(rig.used(), [2_000, 300]);
}

#[test]
fn recorded_in_order_the_last_one_goes_over() {
    let rig = rig();
    let [included, credit] = rig.order();
    let hold = rig.scope.reserve(included.of(300)).unwrap();
    let receipt = rig.scope.record_in_order([included, credit], 6_000).unwrap();
    assert_eq!(receipt.charged(), &included.of(700).and(credit, 5_300));
    assert_eq!((&*receipt.overages()[0].limit, receipt.overages()[0].above), ("credit", 300));
    drop(hold);
    assert_eq!(rig.used(), [700, 5_300]);
    let receipt = rig.scope.record_in_order([included, credit], 0).unwrap();
    assert!(receipt.charged().is_zero());
}

#[test]
fn odd_orders() {
    let rig = rig();
    let [included, credit] = rig.order();
    let other = Engine::new(policy(1)).resource("credit").unwrap();
    assert!(matches!(rig.scope.charge_in_order([included, other], 1), Err(ChargeError::UnknownResource(_))));
    assert!(matches!(rig.scope.record_in_order([other, credit], 1), Err(RecordError::UnknownResource(_))));
    // The same one twice is that one; one that no budget of the scope counts has nothing to give.
    assert_eq!(rig.scope.charge_in_order([credit, credit], 700).unwrap().charged(), &credit.of(700));
    let steps = rig.engine.resource("steps").unwrap();
    assert_eq!(rig.scope.charge_in_order([steps, credit], 100).unwrap().charged(), &credit.of(100));
    assert!(rig.scope.charge_in_order([included, credit], u64::MAX).is_err());
    assert_eq!(rig.used(), [0, 800]);
}

/// Many at once, beside calls that charge and hold one of the two: together never more than both have, and everything that fits goes through.
#[test]
fn many_at_once_take_what_there_is() {
    for round in 0..40 {
        let rig = rig();
        let order = rig.order();
        let start = Barrier::new(6);
        let charged = [AtomicU64::new(0), AtomicU64::new(0)];
        thread::scope(|threads| {
            for thread in 0..6_u64 {
                let (rig, start, charged) = (&rig, &start, &charged);
                threads.spawn(move || {
                    start.wait();
                    for step in 0..200 {
                        let amount = 1 + (thread * 7 + step) % 19;
                        let paid = match thread {
                            0 => rig.scope.try_charge(order[0].of(1)).ok().map(|_| order[0].of(1)),
                            1 => rig.scope.reserve(order[0].of(3)).ok().map(|hold| {
                                hold.release().unwrap();
                                encumber::Cost::nothing()
                            }),
                            _ => rig.scope.charge_in_order(order, amount).ok().map(|receipt| receipt.charged().clone()),
                        };
                        for (resource, sum) in order.iter().zip(charged) {
                            let amount = paid.as_ref().and_then(|paid| paid.amount(*resource)).unwrap_or(0);
                            sum.fetch_add(amount, Ordering::AcqRel);
                        }
                    }
                });
            }
        });
        let charged = charged.map(AtomicU64::into_inner);
        assert_eq!(rig.used(), charged, "round {round}");
        assert!(charged[0] <= 1_000 && charged[1] <= 5_000, "round {round}: {charged:?}");
        // 4 × 200 of 10 on average are more than both have.
        assert!(rig.scope.charge_in_order(order, 30).is_err(), "round {round}: {charged:?}");
    }
}

/// Found by reading: `retry_at` went by the cap of a window that the top-up does not reach.
#[test]
fn what_fits_only_with_a_top_up_of_today_does_not_fit_tomorrow() {
    let rig = rig();
    rig.engine.top_up(&rig.user, "day", 100).unwrap();
    let hold = rig.scope.reserve(rig.tokens.of(150)).unwrap();
    let retry = |amount: u64| rig.scope.try_charge(rig.tokens.of(amount)).unwrap_err().into_refusal().unwrap().retry();
    assert_eq!(retry(100), Retry::At("2026-04-04T00:00:00Z".parse().unwrap()));
    assert_eq!(retry(101), Retry::Unknown, "the hold may be released today");
    assert_eq!(retry(201), Retry::Never);
    hold.commit(rig.tokens.of(150)).unwrap();
    assert_eq!(retry(101), Retry::Never);
    rig.next_day();
    assert!(!rig.admits(101) && rig.admits(100));
}

/// Found by reading: who had read the clock before midnight and came after one who had read it later put an ended window's top-up in the
/// place of the new one.
#[test]
fn a_top_up_by_an_older_time_does_not_take_away_a_newer_one() {
    let rig = rig();
    let night = rig.clock.now();
    rig.next_day();
    rig.engine.top_up(&rig.user, "day", 30).unwrap();
    rig.clock.set(night);
    let change = rig.engine.top_up(&rig.user, "day", 20).unwrap();
    assert_eq!(change.until, Some("2026-04-05T00:00:00Z".parse().unwrap()), "the later window is used");
    assert_eq!((change.before, change.after), (Cap::Max(130), Cap::Max(150)));
    rig.next_day();
    assert_eq!(rig.cap("day"), Cap::Max(150));
}

#[test]
fn a_top_up_by_a_clock_that_had_jumped_does_not_keep_later_ones_from_working() {
    let rig = rig();
    let home = rig.clock.now();
    rig.clock.advance(Duration::from_secs(4_000 * 86_400));
    rig.engine.top_up(&rig.user, "day", 30).unwrap();
    rig.clock.set(home);
    rig.engine.top_up(&rig.user, "day", 20).unwrap();
    assert_eq!(rig.cap("day"), Cap::Max(120));
}

#[test]
fn soft_rolling_budgets_that_pay_in_order_report_what_they_are_over() {
    let soft = Limit::new("soft", "user", "a", Window::rolling(3_600).unwrap(), Cap::Max(5));
    let policy = Policy::builder().resource("a", Unit::Count).resource("b", Unit::Count);
    let policy = policy.limit(soft.enforcement(Enforcement::Soft)).build().unwrap();
    let engine = Engine::new(policy);
    let order = ["a", "b"].map(|name| engine.resource(name).unwrap());
    let receipt = engine.scope(["user:1"]).unwrap().charge_in_order(order, 8).unwrap();
    assert_eq!(receipt.overages().iter().map(|overage| overage.above).collect::<Vec<_>>(), [3]);
}
