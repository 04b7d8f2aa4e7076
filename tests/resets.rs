//! Resets: paid by credit, paid by a wallet of the host's, and by an operator.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use encumber::{
    Cap, Clock, Component, Engine, FailurePolicy, Guard, Limit, ManualClock, OnFailure, PaidReset, Policy,
    PolicyBuilder, Reset, ResetError, Resource, Scope, Subject, TimeSource, Timestamp, Unit, Wallet, WalletError,
    Window,
};

const FRIDAY: &str = "2026-04-03T10:00:00Z";

fn day_reset() -> PaidReset {
    PaidReset::new("fresh-day", "day").lowers("week").price(500).credits("credits").max_per_window(Cap::Max(3))
}

fn limit(id: &str, window: Window, max: u64) -> Limit {
    Limit::new(id, "user", "tokens", window, Cap::Max(max))
}

fn builder(credit: u64) -> PolicyBuilder {
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(limit("day", Window::Day, 100))
        .limit(limit("week", Window::Week, 500))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(credit)))
}

struct Rig {
    engine: Engine,
    clock: ManualClock,
    tokens: Resource,
    scope: Scope,
}

fn rig_of(policy: Policy, failure: FailurePolicy) -> Rig {
    let clock = ManualClock::at(FRIDAY.parse().unwrap());
    let engine = Engine::builder(policy).clock(&clock).failure_policy(failure).build();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    Rig { engine, clock, tokens, scope }
}

fn rig(reset: PaidReset) -> Rig {
    rig_of(builder(2_000).reset(reset).build().unwrap(), FailurePolicy::default())
}

impl Rig {
    fn record(&self, amount: u64) {
        self.scope.record(self.tokens.of(amount)).unwrap();
    }

    fn budget(&self, limit: &str) -> (u64, u64) {
        let usage = self.scope.usage().unwrap();
        let budget = usage.iter().find(|budget| &*budget.limit == limit).unwrap();
        (budget.used, budget.held)
    }

    fn used(&self, limit: &str) -> u64 {
        self.budget(limit).0
    }

    /// Used of the day, the week, the credit and the count.
    fn all_used(&self) -> [u64; 4] {
        ["day", "week", "credit", "fresh-day"].map(|limit| self.used(limit))
    }

    fn buy(&self) -> Result<encumber::ResetReceipt, ResetError> {
        self.scope.paid_reset("fresh-day")
    }

    fn outcome(&self) -> &'static str {
        self.buy().map_or_else(|error| error.name(), |_| "ok")
    }
}

#[test]
fn a_paid_reset_changes_four_budgets_in_one_step() {
    let rig = rig(day_reset());
    rig.record(60);
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    rig.record(130);
    let receipt = rig.buy().unwrap();
    assert_eq!((receipt.reset.amount, receipt.lowered.as_ref().unwrap().amount), (130, 100));
    assert_eq!((receipt.paid, receipt.balance, receipt.resets), (500, Some(Cap::Max(1_500)), 1));
    assert_eq!(rig.all_used(), [0, 90, 500, 1]);
    // The week has less than the day's limit: it is floored at 0.
    rig.scope.reset(&Reset::limit("week")).unwrap();
    rig.record(100);
    rig.scope.reset(&Reset::limit("week")).unwrap();
    assert_eq!(rig.buy().unwrap().lowered.unwrap().amount, 0);
    assert_eq!(rig.all_used(), [0, 0, 1_000, 2]);
}

#[test]
fn holds_are_not_touched() {
    let rig = rig(day_reset());
    let hold = rig.scope.reserve(rig.tokens.of(40)).unwrap();
    rig.record(60);
    let receipt = rig.buy().unwrap();
    // The week is not lowered below what is held.
    assert_eq!((receipt.reset.amount, receipt.lowered.unwrap().amount), (60, 60));
    assert_eq!([rig.budget("day"), rig.budget("week")], [(0, 40), (0, 40)]);
    assert!(rig.scope.try_charge(rig.tokens.of(61)).is_err(), "the hold still counts");
    hold.commit(rig.tokens.of(45)).unwrap();
    assert_eq!([rig.budget("day"), rig.budget("week")], [(45, 0), (45, 0)]);
}

#[test]
fn there_must_be_something_to_buy() {
    let rig = rig(day_reset());
    assert_eq!(rig.buy(), Err(ResetError::NotReached { charged: 0, max: 100 }));
    rig.record(99);
    assert_eq!(rig.buy(), Err(ResetError::NotReached { charged: 99, max: 100 }));
    let hold = rig.scope.reserve(rig.tokens.of(1)).unwrap();
    assert_eq!(rig.outcome(), "ok", "holds fill the day as well");
    let more = rig.scope.reserve(rig.tokens.of(99)).unwrap();
    assert_eq!(rig.buy(), Err(ResetError::NotReached { charged: 100, max: 100 }), "nothing is used");
    drop((hold, more));
    assert_eq!(rig.all_used(), [0, 0, 500, 1]);
}

#[test]
fn a_second_one_at_once_finds_a_fresh_day() {
    let rig = rig(day_reset());
    rig.record(100);
    assert_eq!([rig.outcome(), rig.outcome()], ["ok", "not_reached"]);
    assert_eq!(rig.used("credit"), 500);
}

#[test]
fn strict_and_effective_guards() {
    let full = |reset: PaidReset, earlier: u64| {
        let rig = rig(reset);
        rig.clock.advance(Duration::from_secs(24 * 3_600));
        rig.record(earlier);
        rig.clock.advance(Duration::from_secs(24 * 3_600));
        rig.record(100);
        rig.outcome()
    };
    let effective = day_reset().guard(Guard::Effective);
    assert_eq!([full(day_reset(), 399), full(day_reset(), 400)], ["ok", "other_window_exhausted"]);
    assert_eq!([full(effective.clone(), 400), full(effective.clone(), 499)], ["ok", "ok"]);
    assert_eq!(full(effective, 500), "other_window_exhausted", "it would still be exhausted");
    let rig = rig(day_reset());
    rig.record(500);
    assert_eq!(rig.outcome(), "other_window_exhausted");
    assert_eq!(rig.all_used(), [500, 500, 0, 0]);
}

/// Holds in the week cannot be given back, so the effective guard counts them.
#[test]
fn the_effective_guard_counts_what_is_held() {
    let rig = rig(day_reset().guard(Guard::Effective));
    rig.record(90);
    let holds = rig.scope.reserve(rig.tokens.of(10)).unwrap();
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    let _hold = rig.scope.reserve(rig.tokens.of(90)).unwrap();
    rig.record(400);
    assert_eq!(rig.outcome(), "ok");
    holds.release().unwrap();
}

#[test]
fn the_cap_is_per_window_and_the_count_a_budget() {
    let rig = rig_of(builder(10_000).reset(day_reset()).build().unwrap(), FailurePolicy::default());
    for resets in 1..=3 {
        rig.record(100);
        assert_eq!(rig.buy().unwrap().resets, resets);
    }
    rig.record(100);
    assert_eq!(rig.buy(), Err(ResetError::CapReached { max: 3 }));
    assert!(rig.scope.check_in(&[rig.tokens]).is_err());
    // One more for this subject, today.
    rig.engine.top_up(&Subject::new("user", "7").unwrap(), "fresh-day", 1).unwrap();
    assert_eq!(rig.outcome(), "ok");
    assert!(rig.scope.check_in(&[rig.tokens]).is_ok(), "a full count refuses no call");
    rig.record(100);
    assert_eq!((rig.outcome(), rig.used("credit")), ("cap_reached", 2_000));
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(rig.used("fresh-day"), 0);
    rig.record(100);
    assert_eq!(rig.outcome(), "ok");
}

#[test]
fn the_count_outlives_a_policy() {
    let rig = rig(day_reset());
    rig.record(100);
    assert_eq!(rig.outcome(), "ok");
    rig.record(100);
    rig.engine.set_policy(builder(2_000).reset(day_reset().max_per_window(Cap::Max(1)).price(7)).build().unwrap());
    assert_eq!(rig.buy(), Err(ResetError::CapReached { max: 1 }));
    rig.engine.set_policy(builder(2_000).reset(day_reset().max_per_window(Cap::Unlimited).price(7)).build().unwrap());
    let receipt = rig.buy().unwrap();
    assert_eq!((receipt.resets, receipt.paid), (2, 7));
    rig.engine.set_policy(builder(2_000).build().unwrap());
    let gone = rig.buy();
    assert_eq!(gone.unwrap_err().to_string(), "the policy has no \"fresh-day\" to reset; known: none");
}

#[test]
fn too_little_credit_changes_nothing() {
    let rig = rig_of(builder(499).reset(day_reset()).build().unwrap(), FailurePolicy::default());
    rig.record(100);
    assert_eq!(rig.buy(), Err(ResetError::InsufficientCredits { price: 500, balance: Some(499) }));
    assert_eq!(rig.all_used(), [100, 100, 0, 0]);
}

#[test]
fn what_is_switched_off_or_unlimited() {
    let off = rig(PaidReset::new("fresh-day", "day").max_per_window(Cap::Unlimited));
    off.record(100);
    assert_eq!(off.outcome(), "disabled");
    // The price is in a resource that no hard budget of this scope counts: it is not free by accident.
    let elsewhere = Limit::new("team", "team", "credits", Window::Lifetime, Cap::Max(9_000));
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(limit("day", Window::Day, 100))
        .limit(elsewhere)
        .reset(PaidReset::new("fresh-day", "day").price(500).credits("credits").max_per_window(Cap::Unlimited))
        .build()
        .unwrap();
    let rig = rig_of(policy, FailurePolicy::default());
    rig.record(100);
    assert_eq!(rig.buy(), Err(ResetError::Disabled));
    let with_team = rig.engine.scope(["user:7", "team:a"]).unwrap();
    assert_eq!(with_team.paid_reset("fresh-day").unwrap().balance, Some(Cap::Max(8_500)));

    let free_day = Limit::new("day", "user", "tokens", Window::Day, Cap::Unlimited);
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(free_day)
        .limit(limit("week", Window::Week, 500))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(2_000)));
    let rig = rig_of(policy.reset(day_reset()).build().unwrap(), FailurePolicy::default());
    rig.record(300);
    assert_eq!(rig.outcome(), "no_limit");
    let taken = rig.scope.reset(&Reset::limit("day").lowers("week")).unwrap();
    assert_eq!([taken[0].amount, taken[1].amount], [300, 0], "an unlimited day lowers the week by nothing");
    assert_eq!(rig.used("week"), 300);
}

#[test]
fn a_reset_is_bought_for_one_subject() {
    let rig = rig(day_reset());
    let two = rig.engine.scope(["user:7", "user:8"]).unwrap();
    assert_eq!(two.paid_reset("fresh-day"), Err(ResetError::SeveralBudgets { limit: "day".into() }));
    let none = rig.engine.scope([""; 0]).unwrap();
    assert_eq!(none.paid_reset("fresh-day"), Err(ResetError::NoBudget { limit: "day".into() }));
    assert!(matches!(rig.scope.paid_reset("fresh"), Err(ResetError::Unknown { .. })));
}

#[test]
fn a_degraded_engine_sells_none_unless_told_to() {
    let closed = rig(day_reset());
    closed.record(100);
    closed.engine.set_degraded(Component::Store, true);
    assert_eq!(closed.buy(), Err(ResetError::Degraded(Component::Store)));
    let by_operator = closed.scope.reset(&Reset::limit("day"));
    assert_eq!(by_operator, Err(ResetError::Degraded(Component::Store)), "failure is told");
    closed.engine.set_degraded(Component::Store, false);
    assert_eq!(closed.all_used(), [100, 100, 0, 0]);

    let failure = FailurePolicy::default().reset(OnFailure::Open);
    let open = rig_of(builder(2_000).reset(day_reset()).build().unwrap(), failure);
    open.record(100);
    open.engine.set_degraded(Component::Store, true);
    assert!(open.buy().unwrap().degraded);
}

/// A clock of which each reading is later than the one before.
struct Running(AtomicI64);

impl TimeSource for Running {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(4_000, Ordering::AcqRel))
    }
}

/// Money taken, count and both windows go by one reading, however close midnight is.
#[test]
fn a_reset_around_midnight_belongs_to_one_day() {
    let midnight: Timestamp = "2026-04-04T00:00:00Z".parse().unwrap();
    for before in 1..30_i64 {
        let running = Arc::new(Running(AtomicI64::new(0)));
        let policy = builder(2_000).reset(day_reset()).build().unwrap();
        let engine = Engine::builder(policy).clock(Clock::host(running.clone())).build();
        let tokens = engine.resource("tokens").unwrap();
        let scope = engine.scope(["user:7"]).unwrap();
        running.0.store(midnight.as_micros() - 3_600_000_000, Ordering::Release);
        scope.record(tokens.of(100)).unwrap();
        running.0.store(midnight.as_micros() - before * 1_000, Ordering::Release);
        let bought = scope.paid_reset("fresh-day");
        running.0.store(midnight.as_micros() + 3_600_000_000, Ordering::Release);
        let at = |limit: &str, at: Timestamp| {
            let usage = scope.usage_at(at).unwrap();
            usage.into_iter().flatten().find(|budget| &*budget.limit == limit).unwrap().used
        };
        let (yesterday, today) = (Timestamp::from_micros(midnight.as_micros() - 1), midnight);
        let counts = [at("fresh-day", yesterday), at("fresh-day", today)];
        let week = at("week", today);
        match bought {
            Ok(receipt) => {
                assert!(receipt.at < midnight);
                assert_eq!((counts, at("day", yesterday), week, at("credit", today)), ([1, 0], 0, 0, 500), "{before}");
            }
            Err(error) => {
                assert_eq!(error.name(), "not_reached", "{before}");
                assert_eq!(
                    (counts, at("day", yesterday), week, at("credit", today)),
                    ([0, 0], 100, 100, 0),
                    "{before}"
                );
            }
        }
    }
}

/// A clock that is set back: the later day, with the later day's count.
#[test]
fn an_older_time_uses_the_later_day() {
    let rig = rig(day_reset());
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    rig.record(100);
    rig.clock.set(FRIDAY.parse().unwrap());
    let receipt = rig.buy().unwrap();
    assert_eq!(receipt.at, "2026-04-04T00:00:00Z".parse().unwrap());
    assert_eq!((receipt.reset.amount, rig.used("fresh-day")), (100, 1));
    rig.clock.set("2026-04-04T23:00:00Z".parse().unwrap());
    assert_eq!(rig.used("fresh-day"), 1);
}

#[test]
fn expired_holds_count_for_nothing() {
    let rig = rig(day_reset());
    rig.record(60);
    let _stuck = rig.scope.reserve_with_id("stuck", Duration::from_secs(60), rig.tokens.of(40)).unwrap();
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(rig.buy(), Err(ResetError::NotReached { charged: 60, max: 100 }));
}

#[test]
fn a_refund_of_what_a_reset_took_gives_nothing_back_twice() {
    let rig = rig(day_reset());
    let receipt = rig.scope.record(rig.tokens.of(100)).unwrap();
    assert_eq!(rig.outcome(), "ok");
    let after = rig.scope.record(rig.tokens.of(10)).unwrap();
    let hold = rig.scope.reserve(rig.tokens.of(90)).unwrap();
    rig.engine.refund(&receipt, &rig.tokens.of(100)).unwrap();
    assert_eq!([rig.budget("day"), rig.budget("week")], [(10, 90), (10, 90)]);
    assert!(rig.scope.try_charge(rig.tokens.of(1)).is_err(), "the hold keeps its room");
    rig.engine.refund(&after, &rig.tokens.of(10)).unwrap();
    assert_eq!(rig.budget("day"), (0, 90));
    drop(hold);
    assert_eq!(rig.budget("day"), (0, 0));
}

#[test]
fn a_late_commit_of_what_a_reset_took_takes_nothing_from_others() {
    let rig = rig(day_reset());
    let hold = rig.scope.reserve_with_id("call", Duration::from_secs(60), rig.tokens.of(80)).unwrap();
    hold.dispatched();
    rig.record(20);
    rig.clock.advance(Duration::from_secs(61));
    // Its expiry charged the 80; the reset takes them.
    assert_eq!(rig.buy().unwrap().reset.amount, 100);
    let other = rig.scope.reserve(rig.tokens.of(70)).unwrap();
    let receipt = hold.commit(rig.tokens.of(30)).unwrap();
    assert!(receipt.is_late());
    assert_eq!(rig.budget("day"), (0, 70), "the hold of others is whole");
    rig.engine.refund(&receipt, &rig.tokens.of(30)).unwrap();
    assert_eq!(rig.budget("day"), (0, 70));
    drop(other);
}

#[test]
fn an_operator_resets_what_he_names() {
    let rig = rig(day_reset());
    rig.record(130);
    let none = rig.scope.reset(&Reset::limit("fresh-day")).unwrap();
    assert_eq!(none[0].amount, 0);
    let taken = rig.scope.reset(&Reset::limit("day")).unwrap();
    assert_eq!((&*taken[0].limit, taken[0].subject.as_str(), taken[0].amount), ("day", "user:7", 130));
    assert_eq!(rig.all_used(), [0, 130, 0, 0]);
    rig.record(1);
    let taken = rig.scope.reset(&Reset::limit("day").and("week")).unwrap();
    assert_eq!(taken.iter().map(|taken| taken.amount).collect::<Vec<_>>(), [1, 131]);
    let unknown = rig.scope.reset(&Reset::limit("day").and("weak")).unwrap_err();
    assert!(unknown.to_string().starts_with("the policy has no \"weak\" to reset; known: day, week"), "{unknown}");
    let both = rig.engine.scope(["user:7", "user:8"]).unwrap();
    both.record(rig.tokens.of(5)).unwrap();
    assert_eq!(both.reset(&Reset::limit("day").lowers("week")).unwrap().len(), 4);
    assert_eq!(rig.all_used(), [0, 0, 0, 0]);
}

/// What a test's wallet does when it is charged.
type OnCharge<'a> = Box<dyn Fn() -> Result<(), WalletError> + Sync + 'a>;

struct Purse<'a> {
    taken: AtomicU64,
    on_charge: OnCharge<'a>,
    refund_fails: bool,
}

impl<'a> Purse<'a> {
    fn new(on_charge: impl Fn() -> Result<(), WalletError> + Sync + 'a) -> Self {
        Self { taken: AtomicU64::new(0), on_charge: Box::new(on_charge), refund_fails: false }
    }
}

impl Wallet for Purse<'_> {
    fn charge(&self, subject: &Subject, amount: u64) -> Result<(), WalletError> {
        assert_eq!(subject.as_str(), "user:7");
        (self.on_charge)()?;
        self.taken.fetch_add(amount, Ordering::AcqRel);
        Ok(())
    }

    fn refund(&self, _: &Subject, amount: u64) -> Result<(), WalletError> {
        if self.refund_fails {
            return Err(WalletError::Failed("no line".into()));
        }
        self.taken.fetch_sub(amount, Ordering::AcqRel);
        Ok(())
    }
}

impl Rig {
    fn buy_with(&self, purse: &Purse<'_>) -> (&'static str, u64) {
        let bought = self.scope.paid_reset_with("fresh-day", purse);
        (bought.map_or_else(|error| error.name(), |_| "ok"), purse.taken.load(Ordering::Acquire))
    }
}

#[test]
fn a_wallet_of_the_hosts_pays() {
    let rig = rig(day_reset());
    assert_eq!(rig.buy_with(&Purse::new(|| unreachable!("nothing is for sale"))), ("not_reached", 0));
    rig.record(130);
    assert_eq!(rig.buy_with(&Purse::new(|| Ok(()))), ("ok", 500));
    assert_eq!(rig.all_used(), [0, 30, 0, 1], "the engine's credit is not asked");
    rig.record(100);
    assert_eq!(rig.buy_with(&Purse::new(|| Err(WalletError::Insufficient))), ("insufficient_credits", 0));
    assert_eq!(rig.buy_with(&Purse::new(|| Err(WalletError::Failed("no line".into())))), ("unavailable", 0));
    assert_eq!(rig.all_used(), [100, 130, 0, 1]);
}

#[test]
fn a_wallet_is_refunded_when_the_reset_is_not_possible_any_more() {
    let during = |act: &(dyn Fn(&Rig) + Sync)| {
        let rig = rig(day_reset());
        rig.record(100);
        let purse = Purse::new(|| {
            act(&rig);
            Ok(())
        });
        let outcome = rig.buy_with(&purse);
        drop(purse);
        rig.engine.set_degraded(Component::Store, false);
        assert_eq!(rig.used("fresh-day"), u64::from(outcome.0 == "ok"));
        outcome
    };
    let refunded = ("failed_refunded", 0);
    assert_eq!(during(&|rig| rig.engine.set_degraded(Component::Store, true)), refunded);
    assert_eq!(during(&|rig| assert!(rig.scope.reset(&Reset::limit("day")).is_ok())), refunded);
    assert_eq!(during(&|rig| rig.clock.advance(Duration::from_secs(14 * 3_600))), refunded, "the day has ended");
    assert_eq!(during(&|rig| rig.engine.set_policy(builder(0).reset(day_reset().price(9)).build().unwrap())), refunded);
    assert_eq!(during(&|_| ()), ("ok", 500));
}

#[test]
fn a_refund_that_fails_is_told() {
    let rig = rig(day_reset());
    rig.record(100);
    let down = || {
        rig.engine.set_degraded(Component::Store, true);
        Ok(())
    };
    let purse = Purse { refund_fails: true, ..Purse::new(down) };
    let error = rig.scope.paid_reset_with("fresh-day", &purse).unwrap_err();
    assert_eq!(error.name(), "failed_refund_failed");
    assert_eq!(
        error.to_string(),
        "the reset was paid, but the store of usage is degraded; it could not be refunded: the wallet failed: no line"
    );
    assert_eq!(rig.used("day"), 100);
}

#[test]
fn while_a_wallet_is_charged_other_resets_of_the_budget_are_busy() {
    let rig = rig(day_reset());
    rig.record(100);
    let others = engine_of_another_user(&rig);
    let purse = Purse::new(|| {
        assert_eq!(rig.buy(), Err(ResetError::Busy));
        assert_eq!(rig.buy_with(&Purse::new(|| Ok(()))), ("busy", 0));
        assert_eq!(others.paid_reset("fresh-day").map(|receipt| receipt.resets), Ok(1));
        Ok(())
    });
    assert_eq!(rig.buy_with(&purse), ("ok", 500));
    rig.record(100);
    assert_eq!(rig.outcome(), "ok", "and afterwards not any more");
}

fn engine_of_another_user(rig: &Rig) -> Scope {
    let scope = rig.engine.scope(["user:8"]).unwrap();
    scope.record(rig.tokens.of(100)).unwrap();
    scope
}

#[test]
fn a_wallet_that_panics_keeps_nobody_out() {
    let rig = rig(day_reset());
    rig.record(100);
    let purse = Purse::new(|| panic!("the wallet's own fault"));
    let bought = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.buy_with(&purse)));
    assert!(bought.is_err());
    assert_eq!((rig.outcome(), rig.all_used()), ("ok", [0, 0, 500, 1]));
}

#[test]
fn eight_at_once_charge_once() {
    for round in 0..200_u64 {
        let rig = rig(day_reset());
        rig.record(130);
        let start = Barrier::new(8);
        let bought = AtomicU64::new(0);
        let purse = Purse::new(|| Ok(()));
        let by_wallet = round % 2 == 1;
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    start.wait();
                    let ok = if by_wallet { rig.buy_with(&purse).0 == "ok" } else { rig.outcome() == "ok" };
                    bought.fetch_add(u64::from(ok), Ordering::AcqRel);
                });
            }
        });
        let credit = if by_wallet { purse.taken.load(Ordering::Acquire) } else { rig.used("credit") };
        assert_eq!((bought.into_inner(), credit), (1, 500), "round {round}");
        assert_eq!((rig.used("day"), rig.used("week"), rig.used("fresh-day")), (0, 30, 1), "round {round}");
    }
}

/// The day fills up again and again while four threads buy: never beyond the cap, and each reset is paid.
#[test]
fn the_cap_holds_while_the_day_fills_up_again() {
    let rig = rig_of(
        builder(1_000_000).reset(day_reset().guard(Guard::Effective)).build().unwrap(),
        FailurePolicy::default(),
    );
    let (bought, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    bought.fetch_add(u64::from(rig.outcome() == "ok"), Ordering::AcqRel);
                }
            });
        }
        for _ in 0..2_000 {
            let _ = rig.scope.try_charge(rig.tokens.of(10));
        }
        done.store(true, Ordering::Release);
    });
    let bought = bought.into_inner();
    assert!(bought <= 3, "{bought} were bought");
    assert_eq!((rig.used("fresh-day"), rig.used("credit")), (bought, 500 * bought));
}

#[cfg(all(feature = "toml", feature = "json"))]
mod from_text {
    use super::*;

    const TEXT: &str = r#"
[resources]
tokens  = "count"
credits = "usd"

[[limits]]
id = "day"
subject = "user"
resource = "tokens"
window = "day"
max = 100

[[limits]]
id = "week"
subject = "user"
resource = "tokens"
window = "week"
max = 500

[[limits]]
id = "credit"
subject = "user"
resource = "credits"
window = "lifetime"
max = "20"

[[resets]]
id             = "fresh-day"
limit          = "day"
lowers         = "week"
credits        = "credits"
price          = "0.50"
max_per_window = 5
guard          = "effective"
"#;

    #[test]
    fn a_reset_from_toml_and_json() {
        let expected = PaidReset::new("fresh-day", "day")
            .lowers("week")
            .credits("credits")
            .price(500_000_000)
            .max_per_window(Cap::Max(5))
            .guard(Guard::Effective);
        assert_eq!(Policy::from_toml(TEXT).unwrap().resets(), std::slice::from_ref(&expected));
        let json = r#"{
            "resources": {"tokens": "count", "credits": "usd"},
            "limits": [
                {"id": "day", "subject": "user", "resource": "tokens", "window": "day", "max": 100},
                {"id": "week", "subject": "user", "resource": "tokens", "window": "week", "max": 500},
                {"id": "credit", "subject": "user", "resource": "credits", "window": "lifetime", "max": "20"}
            ],
            "resets": [
                {"id": "fresh-day", "limit": "day", "lowers": "week", "credits": "credits", "price": "0.5",
                 "max_per_window": 5, "guard": "effective"}
            ]
        }"#;
        assert_eq!(Policy::from_json(json).unwrap().resets(), [expected]);
        let own_wallet = TEXT.replace("credits        = \"credits\"\n", "").replace("\"0.50\"", "500");
        assert_eq!(Policy::from_toml(&own_wallet).unwrap().resets()[0].cost(), Some(500));
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        let fault = |from: &str, to: &str| {
            assert!(TEXT.contains(from));
            Policy::from_toml(&TEXT.replacen(from, to, 1)).unwrap_err().to_string()
        };
        let unknown = "line 29: resets[0].limit: there is no limit \"dya\"; known: day, week, credit";
        assert_eq!(fault("limit          = \"day\"", "limit          = \"dya\""), unknown);
        assert!(
            fault("lowers         = \"week\"", "lowers = \"day\"")
                .starts_with("line 30: resets[0].lowers: a reset of day")
        );
        assert!(
            fault("credits        = \"credits\"", "credits = \"cash\"")
                .starts_with("line 31: resets[0].credits: the resource")
        );
        let nothing = fault("credits        = \"credits\"", "credits = \"resets\"");
        assert!(
            nothing.starts_with("line 31: resets[0].credits: the resource \"resets\" is not declared"),
            "{nothing}"
        );
        // Credits are dollars; tokens would be whole.
        assert!(fault("\"0.50\"", "\"0.0000000001\"").starts_with("line 32: resets[0].price: "));
        assert!(
            fault("credits        = \"credits\"", "credits = \"tokens\"")
                .starts_with("line 32: resets[0].price: \"0.50\" is not a whole")
        );
        assert!(
            fault("max_per_window = 5\n", "").starts_with("line 27: resets[0]: the key `max_per_window` is missing")
        );
        assert!(fault("max_per_window = 5", "max_per_window = -1").starts_with("line 33: resets[0].max_per_window: "));
        assert!(
            fault("\"effective\"", "\"lax\"")
                .starts_with("line 34: resets[0].guard: expected \"strict\" or \"effective\"")
        );
        assert!(
            fault("guard ", "gaurd ").starts_with("line 34: resets[0].gaurd: the key \"gaurd\" does not exist here")
        );
        assert!(fault("\"fresh-day\"", "\"day\"").starts_with("line 28: resets[0].id: \"day\" is there twice"));
    }
}

/// Amounts that a budget cannot count any more: a reset starts afresh and nothing wraps.
#[test]
fn a_saturated_day_is_reset_too() {
    let rig = rig(day_reset().guard(Guard::Effective));
    let hold = rig.scope.reserve(rig.tokens.of(7)).unwrap();
    rig.record(u64::MAX);
    assert_eq!(rig.outcome(), "other_window_exhausted", "what the week was is not known");
    let taken = rig.scope.reset(&Reset::limit("day").lowers("week")).unwrap();
    assert_eq!([taken[0].amount, taken[1].amount], [u64::MAX, 0]);
    assert_eq!((rig.budget("day"), rig.used("week")), ((0, 7), u64::MAX));
    drop(hold);
}
