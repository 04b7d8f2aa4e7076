//! Defects of other systems that this engine does not have, as far as no other test is about them. `docs/internals/defects.md` has the
//! whole list, and which test stands for which.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use encumber::{
    Cap, ChargeError, Clock, Component, Cost, Engine, Guard, Limit, ManualClock, PaidReset, Percent, Policy, Price,
    Rates, Ratio, Reset, Resource, Retry, Scope, SettleError, Status, TimeSource, Timestamp, TokenClass, Unit, Usage,
    Weights, Window, WorkflowSpec,
};

/// A Friday; the day is 10 hours old.
const START: &str = "2026-04-03T10:00:00Z";
const TTL: Duration = Duration::from_secs(300);

struct Rig {
    clock: ManualClock,
    engine: Engine,
    tokens: Resource,
}

fn rig(limits: impl IntoIterator<Item = Limit>) -> Rig {
    let clock = ManualClock::at(START.parse().unwrap());
    let policy = limits
        .into_iter()
        .fold(Policy::builder().resource("tokens", Unit::Count), |policy, limit| policy.kind("session").limit(limit));
    let engine = Engine::builder(policy.build().unwrap()).clock(&clock).build();
    let tokens = engine.resource("tokens").unwrap();
    Rig { clock, engine, tokens }
}

impl Rig {
    fn scope(&self, subjects: &[&str]) -> Scope {
        self.engine.scope(subjects.iter().copied()).unwrap()
    }

    fn of(&self, amount: u64) -> Cost {
        self.tokens.of(amount)
    }

    fn at(&self, at: &str) {
        self.clock.set(at.parse().unwrap());
    }
}

fn limit(kind: &str, window: Window, max: u64) -> Limit {
    Limit::new(kind, kind, "tokens", window, Cap::Max(max)).warn_percent([80])
}

/// What each budget of a scope shows: used and held.
fn counts(scope: &Scope) -> Vec<(u64, u64)> {
    scope.usage().unwrap().iter().map(|budget| (budget.used, budget.held)).collect()
}

/// Known defect B-A9: each component of each record is rounded by itself, so small amounts never add up, and large ones lose their ends.
#[test]
fn b_a9_small_amounts_are_never_free_and_large_ones_stay_exact() {
    let fraction = |text: &str| text.parse::<Ratio>().unwrap();
    let weights =
        Weights::equal().with(TokenClass::CacheRead, fraction("0.1")).with(TokenClass::CacheWrite5m, fraction("0.25"));
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .limit(Limit::new("run", "agent", "tokens", Window::Lifetime, Cap::Unlimited))
        .rates(Rates::strict().weights("tokens", &weights));
    let engine = Engine::builder(policy.build().unwrap()).clock(&ManualClock::at(Timestamp::UNIX_EPOCH)).build();
    let (tokens, scope) = (engine.resource("tokens").unwrap(), engine.scope(["agent:a"]).unwrap());
    let cost = |usage: Usage| engine.cost(&usage).unwrap();
    let four_read = Usage::new().with(TokenClass::CacheRead, 4);
    for _ in 0..10 {
        scope.record(cost(four_read.clone())).unwrap();
    }
    assert!(scope.usage().unwrap()[0].used >= 4, "ten times 0.4");
    let mixed = Usage::new().with(TokenClass::CacheWrite5m, 2).with(TokenClass::CacheRead, 5);
    assert_eq!(cost(mixed).amount(tokens), Some(1), "0.5 and 0.5, summed before they are rounded");
    let large = Usage::new().with(TokenClass::Input, (1 << 53) + 1).with(TokenClass::CacheRead, 10);
    assert_eq!(cost(large).amount(tokens), Some((1 << 53) + 2));
}

/// Known defect B-A13: 99.96 % reads as 100 % although something is left.
#[test]
fn b_a13_a_budget_reads_as_full_only_when_nothing_remains() {
    let rig = rig([limit("user", Window::Day, 10_000)]);
    let scope = rig.scope(&["user:7"]);
    scope.try_charge(rig.of(9_996)).unwrap();
    assert_eq!(scope.usage().unwrap()[0].percent().unwrap().to_string(), "99.9");
    scope.try_charge(rig.of(4)).unwrap();
    assert_eq!(scope.usage().unwrap()[0].percent().unwrap(), Percent::of(1, 1));
}

/// Known defect B-A14: what is recorded in an outage is dropped.
#[test]
fn b_a14_what_is_recorded_while_the_store_is_down_counts_afterwards() {
    let rig = rig([limit("user", Window::Day, 1_000)]);
    let scope = rig.scope(&["user:7"]);
    rig.engine.set_degraded(Component::Store, true);
    assert!(scope.record(rig.of(1_500)).unwrap().is_degraded());
    assert!(scope.check().unwrap().is_degraded(), "open, and it says so");
    assert!(matches!(scope.try_charge(rig.of(1)), Err(ChargeError::Degraded(Component::Store))));
    rig.engine.set_degraded(Component::Store, false);
    assert_eq!(counts(&scope), [(1_500, 0)]);
    assert!(scope.check().is_err());
}

/// Known defects B-S2 and B-S3: after a refusal the answer still includes the hold that was rolled back, and one of the keys keeps it.
#[test]
fn b_s3_a_refused_reserve_leaves_nothing_and_tells_numbers_without_itself() {
    let rig = rig([limit("session", Window::Lifetime, 100), limit("address", Window::Lifetime, 500)]);
    rig.scope(&["address:a"]).try_charge(rig.of(450)).unwrap();
    let scope = rig.scope(&["session:s", "address:a"]);
    let refusal = scope.reserve_with_id("r1", TTL, rig.of(60)).unwrap_err().refusal().unwrap().clone();
    let primary = refusal.primary();
    assert_eq!((refusal.violations().count(), &*primary.limit), (1, "address"));
    assert_eq!((primary.used, primary.held, primary.remaining), (450, 0, 50));
    assert_eq!(counts(&scope), [(0, 0), (450, 0)]);
    assert!(scope.reserve(rig.of(50)).is_ok(), "all of the rest is there");
}

/// Known defect B-S6: settling says "ok" for unknown ids and exhausted accounts.
#[test]
fn b_s6_settling_tells_unknown_ids_and_exhausted_budgets_apart() {
    let rig = rig([limit("user", Window::Lifetime, 100)]);
    let scope = rig.scope(&["user:7"]);
    assert!(rig.engine.resume(&"ghost".parse().unwrap()).is_err());
    let hold = scope.reserve_with_id("r1", TTL, rig.of(100)).unwrap();
    hold.commit(rig.of(100)).unwrap();
    assert_eq!(scope.usage().unwrap()[0].status, Status::Exhausted);
    let receipt = scope.record(rig.of(20)).unwrap();
    assert_eq!((receipt.overages()[0].above, scope.usage().unwrap()[0].status), (20, Status::Over));
}

/// Known defect B-S8: usage that is settled after the record has expired is dropped.
#[test]
fn b_s8_usage_that_is_settled_after_its_hold_has_expired_is_charged_once() {
    let rig = rig([limit("user", Window::Lifetime, 1_000)]);
    let scope = rig.scope(&["user:7"]);
    scope.reserve_with_id("r1", TTL, rig.of(400)).unwrap();
    rig.clock.advance(TTL * 10);
    let late = rig.engine.resume(&"r1".parse().unwrap()).unwrap();
    let receipt = late.commit(rig.of(250)).unwrap();
    assert!(receipt.is_late() && late.has_expired());
    assert_eq!(late.commit(rig.of(250)).unwrap(), receipt, "again is the same");
    assert_eq!(counts(&scope), [(250, 0)]);
}

/// Known defect B-S10: a reserve that takes the last unit is "blocked" in one path and "warning" in the other.
#[test]
fn b_s10_every_path_to_the_last_unit_shows_the_same_status() {
    let by_reserve = |rig: &Rig, scope: &Scope| drop(scope.reserve_with_id("r", TTL, rig.of(100)).unwrap());
    let by_charge = |rig: &Rig, scope: &Scope| assert!(scope.try_charge(rig.of(100)).is_ok());
    let by_record = |rig: &Rig, scope: &Scope| drop(scope.record(rig.of(100)).unwrap());
    for take in [by_reserve as fn(&Rig, &Scope), by_charge, by_record] {
        let rig = rig([limit("user", Window::Lifetime, 100)]);
        let scope = rig.scope(&["user:7"]);
        take(&rig, &scope);
        assert_eq!(scope.usage().unwrap()[0].status, Status::Exhausted);
        assert!(scope.check().is_err(), "the next one is refused");
    }
}

/// Known defect B-S12: each request prolongs the window of a counter that is meant to be daily.
#[test]
fn b_s12_a_window_from_first_use_does_not_slide() {
    let rig = rig([limit("address", Window::from_first_use(86_400).unwrap(), 10)]);
    let scope = rig.scope(&["address:a"]);
    for (now, used) in [
        ("2026-04-03T10:00:00Z", 1),
        ("2026-04-04T09:00:00Z", 2),
        ("2026-04-04T09:59:59.999Z", 3),
        ("2026-04-04T10:00:00Z", 1),
        ("2026-04-05T09:59:59Z", 2),
        ("2026-04-07T12:00:00Z", 1),
        ("2026-04-08T11:59:59Z", 2),
    ] {
        rig.at(now);
        scope.try_charge(rig.of(1)).unwrap();
        assert_eq!(counts(&scope), [(used, 0)], "{now}");
    }
}

/// Known defect B-S13: negative and not-a-number prices are taken, and products of tokens and prices overflow.
#[test]
fn b_s13_prices_are_non_negative_numbers_and_their_products_do_not_wrap() {
    for wrong in ["-1", "-0.5", "NaN", "inf", "", "1/0"] {
        assert!(wrong.parse::<Ratio>().is_err(), "{wrong}");
    }
    let price = Price::new().with(TokenClass::Output, "1000000000".parse().unwrap());
    let usage = Usage::new().with(TokenClass::Output, u64::MAX);
    assert_eq!(price.nanos(&usage, encumber::Rounding::Up), Some(u64::MAX), "as much as there can be");
    assert_eq!(Price::new().nanos(&usage, encumber::Rounding::Up), None, "without a price it is not a cheap call");
}

/// Known defect B-S15: only some errors give the hold back; a panic, or a task that is dropped, leaks it.
#[test]
fn b_s15_whatever_ends_a_call_gives_its_hold_back() {
    let rig = rig([limit("user", Window::Lifetime, 100)]);
    let scope = rig.scope(&["user:7"]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _hold = scope.reserve(rig.of(60)).unwrap();
        std::panic::resume_unwind(Box::new("the work fails"));
    }));
    assert!(panicked.is_err());
    assert_eq!(counts(&scope), [(0, 0)], "after a panic");
    {
        let mut task = pin!(async {
            let hold = scope.reserve(rig.of(60)).unwrap();
            std::future::pending::<()>().await;
            hold.commit(rig.of(60)).unwrap();
        });
        assert_eq!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        assert_eq!(counts(&scope), [(0, 60)], "while it runs");
    }
    assert_eq!(counts(&scope), [(0, 0)], "cancelled");
    let stopped = || -> Result<(), ChargeError> {
        let _hold = scope.reserve(rig.of(60))?;
        scope.check_cost(&rig.of(60))?;
        Ok(())
    };
    assert!(stopped().is_err());
    assert_eq!(counts(&scope), [(0, 0)], "after an error");
}

/// Known defect B-S16: only the session's numbers come back, so an exhausted address is not reported.
#[test]
fn b_s16_settling_reports_every_budget_that_is_over() {
    let rig = rig([limit("session", Window::Lifetime, 1_000), limit("address", Window::Lifetime, 100)]);
    let scope = rig.scope(&["session:s", "address:a"]);
    let receipt = scope.reserve(rig.of(80)).unwrap().commit(rig.of(130)).unwrap();
    let over: Vec<_> = receipt.overages().iter().map(|overage| (overage.subject.as_str(), overage.above)).collect();
    assert_eq!(over, [("address:a", 30)]);
    let statuses: Vec<_> = scope.usage().unwrap().iter().map(|budget| budget.status).collect();
    assert_eq!(statuses, [Status::Ok, Status::Over]);
}

/// Known defect B-C3: an unknown period panics. B-L1, B-L3: it is read in part, or falls back to a day.
#[test]
fn b_c3_unknown_windows_are_errors() {
    for text in
        ["fortnight", "", "Day", "30dd", "1month", "30s;x", "٣d", "0d", "-1d", "1.5h", "day ", "5h from firstuse"]
    {
        assert!(text.parse::<Window>().is_err(), "{text:?}");
    }
}

/// Known defect B-C8: the sum overflows, and the failure opens the gate.
#[test]
fn b_c8_a_sum_that_overflows_stays_shut() {
    let rig = rig([limit("user", Window::Lifetime, 1_000), limit("global", Window::Month, 1_000)]);
    let scope = rig.scope(&["user:7"]);
    for _ in 0..3 {
        scope.record(rig.of(u64::MAX)).unwrap();
    }
    for answer in [scope.check(), scope.try_charge(rig.of(1)), scope.check_cost(&rig.of(1))] {
        assert!(answer.is_err());
    }
    assert!(scope.reserve(rig.of(0)).is_err());
    assert!(scope.usage().unwrap().iter().all(|budget| budget.status == Status::Over));
}

/// Known defects B-C7 and B-C9: a number in the band means "no limit". Here `Unlimited` is a value of its own, and every number is a cap.
#[test]
fn b_c9_unlimited_is_a_value_and_the_largest_number_is_a_cap() {
    let base = limit("user", Window::Lifetime, 5);
    let rig = rig([base.subject("user:free", Cap::Unlimited).subject("user:big", Cap::Max(u64::MAX - 2))]);
    let free = rig.scope(&["user:free"]);
    free.try_charge(rig.of(u64::MAX / 2)).unwrap();
    free.try_charge(rig.of(u64::MAX / 4)).unwrap();
    assert_eq!((free.usage().unwrap()[0].remaining(), free.usage().unwrap()[0].percent()), (Cap::Unlimited, None));
    let big = rig.scope(&["user:big"]);
    big.try_charge(rig.of(u64::MAX - 2)).unwrap();
    assert!(big.try_charge(rig.of(1)).is_err());
}

/// Known defect B-H4: an amount that is taken back after its period has ended leaves the new period's counter at 2^64 minus it.
#[test]
fn b_h4_what_is_taken_back_after_a_window_has_ended_does_not_touch_the_next() {
    for settle in [release, commit_less] {
        let rig = rig([limit("user", Window::every(60).unwrap(), 100)]);
        let scope = rig.scope(&["user:7"]);
        let hold = scope.reserve(rig.of(80)).unwrap();
        rig.clock.advance(Duration::from_secs(60));
        scope.try_charge(rig.of(30)).unwrap();
        settle(&rig, &hold);
        assert_eq!(counts(&scope), [(30, 0)]);
        scope.try_charge(rig.of(70)).unwrap();
        assert!(scope.try_charge(rig.of(1)).is_err());
    }
}

fn release(_: &Rig, hold: &encumber::Reservation) {
    hold.release().unwrap();
}

fn commit_less(rig: &Rig, hold: &encumber::Reservation) {
    hold.commit(rig.of(10)).unwrap();
}

/// Known defect B-H5: a period begins with the first access after the last one, so that it drifts.
#[test]
fn b_h5_periods_stay_on_their_grid_whenever_somebody_asks() {
    let rig = rig([limit("agent", Window::every(3_600).unwrap(), 100)]);
    let scope = rig.scope(&["agent:a"]);
    for (now, ends) in
        [("2026-04-03T10:00:00Z", "2026-04-03T11:00:00Z"), ("2026-04-03T13:37:11Z", "2026-04-03T14:00:00Z")]
    {
        rig.at(now);
        scope.try_charge(rig.of(100)).unwrap();
        let usage = &scope.usage().unwrap()[0];
        assert_eq!((usage.used, usage.resets_at()), (100, Some(ends.parse().unwrap())));
    }
    rig.at("2026-04-03T13:59:59.999Z");
    assert!(scope.try_charge(rig.of(1)).is_err());
    rig.at("2026-04-03T14:00:00Z");
    scope.try_charge(rig.of(1)).unwrap();
}

/// Known defect B-H9: clones have counters of their own.
#[test]
fn b_h9_clones_of_handles_and_engines_share_their_budgets() {
    let rig = rig([limit("agent", Window::Lifetime, 100)]);
    let scope = rig.scope(&["agent:a"]);
    scope.clone().try_charge(rig.of(60)).unwrap();
    let other = rig.engine.clone().scope(["agent:a"]).unwrap();
    assert!(other.try_charge(rig.of(60)).is_err());
    assert_eq!([counts(&scope), counts(&other)], [[(60, 0)], [(60, 0)]]);
}

/// Known defect B-H13: any period is called hourly, `current` exceeds `limit`, and a wait of less than a second reads as none.
#[test]
fn b_h13_refusals_name_their_window_and_never_a_wait_of_nothing() {
    for (window, named) in
        [(Window::Day, "daily"), (Window::every(5 * 3_600).unwrap(), "5h"), (Window::Month, "monthly")]
    {
        let rig = rig([limit("agent", window, 100)]);
        let refusal = rig.scope(&["agent:a"]).try_charge(rig.of(101)).unwrap_err().into_refusal().unwrap();
        let text = refusal.to_string();
        assert!(text.contains(named) && !text.contains("ourly"), "{text}");
    }
    let rig = rig([limit("agent", Window::Day, 100)]);
    let scope = rig.scope(&["agent:a"]);
    scope.record(rig.of(150)).unwrap();
    rig.at("2026-04-03T23:59:59.900Z");
    let refusal = scope.try_charge(rig.of(1)).unwrap_err().into_refusal().unwrap();
    let Retry::At(then) = refusal.retry() else { panic!("tomorrow") };
    assert_eq!(
        (then, refusal.retry_after()),
        ("2026-04-04T00:00:00Z".parse().unwrap(), Some(Duration::from_millis(100)))
    );
    assert!(refusal.to_string().contains("less than 1m"), "{refusal}");
    let http = refusal.http();
    let (_, wait) = http.headers.iter().find(|(name, _)| *name == "Retry-After").unwrap();
    assert_eq!(wait, "1", "rounded up");
    assert_eq!(refusal.primary().remaining, 0);
}

/// A clock that goes on by some microseconds with every reading.
struct EveryReading(AtomicI64, i64);

impl TimeSource for EveryReading {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(self.1, Ordering::SeqCst))
    }
}

/// Known defects B-A5 and B-D11: an operation reads the clock several times, and its parts fall on different days.
#[test]
fn b_d11_a_refusal_tells_the_end_of_the_window_that_it_was_decided_for() {
    let midnight: Timestamp = "2026-04-04T00:00:00Z".parse().unwrap();
    for readings_before in 0..24 {
        let start = midnight.as_micros() - readings_before * 1_000;
        let source = Arc::new(EveryReading(AtomicI64::new(start), 1_000));
        let policy = Policy::builder()
            .resource("tokens", Unit::Count)
            .limit(Limit::new("user-day", "user", "tokens", Window::Day, Cap::Max(0)))
            .limit(Limit::new("user-week", "user", "tokens", Window::Week, Cap::Max(0)));
        let engine = Engine::builder(policy.build().unwrap()).clock(Clock::host(source)).build();
        let tokens = engine.resource("tokens").unwrap();
        let refusal = engine.scope(["user:7"]).unwrap().try_charge(tokens.of(1)).unwrap_err().into_refusal().unwrap();
        let day = Window::Day.bounds(refusal.at()).unwrap();
        assert_eq!(refusal.primary().resets_at, Some(day.end), "{readings_before} readings before midnight");
    }
}

/// Known defect B-A5: what one operation takes in several windows is taken at one instant.
#[test]
fn b_a5_one_operation_charges_the_windows_of_one_instant() {
    let sunday = "2026-04-05T00:00:00Z".parse::<Timestamp>().unwrap();
    let midnight = Window::Week.bounds(sunday).unwrap().end;
    for readings_before in 0..24 {
        let source = Arc::new(EveryReading(AtomicI64::new(midnight.as_micros() - readings_before * 1_000), 1_000));
        let limits = [("day", Window::Day), ("week", Window::Week)];
        let policy =
            limits.into_iter().fold(Policy::builder().resource("tokens", Unit::Count), |policy, (id, window)| {
                policy.limit(Limit::new(id, "user", "tokens", window, Cap::Max(1_000)))
            });
        let engine = Engine::builder(policy.build().unwrap()).clock(Clock::host(source)).build();
        let tokens = engine.resource("tokens").unwrap();
        let scope = engine.scope(["user:7"]).unwrap();
        scope.try_charge(tokens.of(5)).unwrap();
        scope.record(tokens.of(2)).unwrap();
        let of_week_before = scope.usage_at(Timestamp::from_micros(midnight.as_micros() - 1)).unwrap();
        let of_week_after = scope.usage_at(midnight).unwrap();
        let mut total = 0;
        for usage in [of_week_before, of_week_after] {
            let used: Vec<_> = usage.iter().map(|budget| budget.as_ref().map_or(0, |budget| budget.used)).collect();
            assert_eq!(used[0], used[1], "{readings_before} readings before Monday");
            total += used[0];
        }
        assert_eq!(total, 7, "{readings_before} readings before Monday");
    }
}

/// Known defect B-D8: a counter below zero is repaired by setting it to 0, which wipes what others count meanwhile.
#[test]
fn b_d8_giving_back_twice_leaves_what_others_count() {
    let rig = rig([limit("user", Window::Day, 100)]);
    let scope = rig.scope(&["user:7"]);
    let hold = scope.reserve_with_id("r1", TTL, rig.of(10)).unwrap();
    hold.release().unwrap();
    scope.try_charge(rig.of(3)).unwrap();
    assert_eq!(hold.release(), Err(SettleError::Released));
    assert_eq!(rig.engine.resume(&"r1".parse().unwrap()).unwrap().release(), Err(SettleError::Released));
    assert_eq!(counts(&scope), [(3, 0)]);
}

/// Known defect B-L2: grids of several hours begin anew at midnight.
#[test]
fn b_l2_periods_of_hours_run_over_midnight() {
    let ends = |text: &str, now: &str| {
        let window: Window = text.parse().unwrap();
        window.bounds(now.parse().unwrap()).unwrap().end.as_micros() / 1_000_000
    };
    for (text, seconds) in [("5h", 18_000), ("48h", 172_800), ("36h", 129_600)] {
        for now in ["2026-04-03T23:30:00Z", "2026-04-04T00:30:00Z", "2026-04-05T12:00:00Z"] {
            let end = ends(text, now);
            assert_eq!(end % seconds, 0, "{text} at {now}");
            assert!(end - now.parse::<Timestamp>().unwrap().as_micros() / 1_000_000 <= seconds);
        }
    }
}

/// Known defect B-L4: "30d" is thirty days in one place and a calendar month in another.
#[test]
fn b_l4_thirty_days_are_thirty_days_and_a_month_is_a_month() {
    let february: Timestamp = "2026-02-10T00:00:00Z".parse().unwrap();
    let length = |text: &str| {
        let bounds = text.parse::<Window>().unwrap().bounds(february).unwrap();
        bounds.end.saturating_since(bounds.start).as_secs() / 86_400
    };
    assert_eq!([length("30d"), length("1mo"), length("month"), length("4w")], [30, 28, 28, 28]);
}

/// A user's day and week of tokens, and credit to buy fresh days with.
fn shop(credit: u64, max_per_day: Cap) -> Rig {
    let clock = ManualClock::at(START.parse().unwrap());
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(limit("user", Window::Day, 100))
        .limit(Limit::new("week", "user", "tokens", Window::Week, Cap::Max(100_000)))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(credit)))
        .reset(PaidReset::new("fresh", "user").lowers("week").price(5).credits("credits").max_per_window(max_per_day));
    let engine = Engine::builder(policy.build().unwrap()).clock(&clock).build();
    let tokens = engine.resource("tokens").unwrap();
    Rig { clock, engine, tokens }
}

/// Runs `act` with the number of the thread on some threads at once.
fn at_once<T: Send>(threads: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let run = |number| {
            let (start, act) = (&start, &act);
            scope.spawn(move || {
                start.wait();
                act(number)
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Known defects B-A2, B-A3 and B-A6: resets pass their cap, are charged twice, or are not counted.
#[test]
fn b_a6_a_paid_reset_is_charged_and_counted_once_or_not_at_all() {
    for round in 0..50 {
        let rig = shop(1_000, Cap::Max(3));
        let scope = rig.scope(&["user:7"]);
        let bought = at_once(4, |_| {
            let scope = scope.clone();
            let buy = |_| {
                scope.record(rig.of(100)).unwrap();
                u64::from(scope.paid_reset("fresh").is_ok())
            };
            (0..4).map(buy).sum::<u64>()
        });
        let bought: u64 = bought.iter().sum();
        let used = |limit: &str| {
            let usage = scope.usage().unwrap();
            usage.iter().find(|budget| *budget.limit == *limit).unwrap().used
        };
        assert_eq!(bought, 3, "round {round}: as many as may be, and no more");
        assert_eq!((used("fresh"), used("credit")), (3, 15), "round {round}");
    }
}

/// Known defects B-A4 and B-A15: what is recorded while a reset runs is overwritten, or the week is reduced by something else than the day.
#[test]
fn b_a15_a_reset_takes_what_it_says_and_nothing_that_comes_meanwhile() {
    let rig = shop(0, Cap::Unlimited);
    let scope = rig.scope(&["user:7"]);
    let taken = at_once(4, |thread| {
        let scope = scope.clone();
        let mut taken = [0, 0];
        for _ in 0..500 {
            if thread > 0 {
                scope.record(rig.of(7)).unwrap();
                continue;
            }
            let reset = scope.reset(&Reset::limit("user").lowers("week")).unwrap();
            taken[0] += reset[0].amount;
            taken[1] += reset[1].amount;
        }
        taken
    });
    let usage = scope.usage().unwrap();
    let [day, week] = [0, 1].map(|index| taken.iter().map(|taken| taken[index]).sum::<u64>() + usage[index].used);
    assert_eq!([day, week], [3 * 500 * 7; 2]);
}

/// Known defect B-A11: a reset is refused because the week is used up, which the reset itself would change.
#[test]
fn b_a11_whether_an_exhausted_week_stops_a_reset_is_said() {
    for (guard, sold) in [(Guard::Strict, false), (Guard::Effective, true)] {
        let clock = ManualClock::at(START.parse().unwrap());
        let policy = Policy::builder()
            .resource("tokens", Unit::Count)
            .resource("credits", Unit::Count)
            .limit(limit("user", Window::Day, 100))
            .limit(Limit::new("week", "user", "tokens", Window::Week, Cap::Max(100)))
            .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(5)))
            .reset(
                PaidReset::new("fresh", "user")
                    .lowers("week")
                    .price(5)
                    .credits("credits")
                    .max_per_window(Cap::Unlimited)
                    .guard(guard),
            );
        let engine = Engine::builder(policy.build().unwrap()).clock(&clock).build();
        let tokens = engine.resource("tokens").unwrap();
        let scope = engine.scope(["user:7"]).unwrap();
        scope.record(tokens.of(100)).unwrap();
        assert_eq!(scope.paid_reset("fresh").is_ok(), sold);
        assert_eq!(scope.check_in(&[tokens]).is_ok(), sold);
    }
}

/// Known defects B-H10 and B-H11: an id that is begun again doubles its steps, and tokens go on after the end.
#[test]
fn b_h11_all_handles_of_a_workflow_share_its_steps_and_its_end() {
    let rig = rig([limit("agent", Window::Lifetime, 100)]);
    let scope = rig.scope(&["agent:a"]);
    let workflow = scope.begin_workflow("wf", WorkflowSpec::new().steps(5)).unwrap();
    assert!(scope.begin_workflow("wf", WorkflowSpec::new().steps(5)).is_err());
    let steps = at_once(4, |_| {
        let workflow = workflow.clone();
        (0..5).filter(|_| workflow.step().is_ok()).count()
    });
    assert_eq!(steps.iter().sum::<usize>(), 5);
    let other = workflow.clone();
    assert!(workflow.end());
    assert!(other.step().is_err() && other.scope().try_charge(rig.of(1)).is_err());
    assert_eq!(rig.engine.active_workflows(), 0);
}
