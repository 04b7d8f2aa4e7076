//! The model against figures worked out by hand.

use encumber_model::Enforcement::{Hard, Shadow, Soft};
use encumber_model::{
    Component, Enforcement, Error, HoldId, Limit, Model, Overage, Policy, Refusal, Retry, Settings, Status, Violation,
    Window,
};

const DAY: i64 = 86_400_000_000;
const TOKENS: &str = "tokens";

fn limit(id: &str, kind: &str, window: Window, enforcement: Enforcement, max: Option<u64>) -> Limit {
    Limit { max, ..Limit::new(id, kind, TOKENS, window, enforcement) }
}

fn policy(limits: Vec<Limit>) -> Policy {
    Policy { limits, resources: vec![TOKENS.into(), "usd".into()], ..Policy::default() }
}

/// One hard limit per user and day.
fn daily(max: u64) -> Model {
    Model::new(policy(vec![limit("day", "user", Window::Day, Hard, Some(max))]))
}

fn tokens(amount: u64) -> [(&'static str, u64); 1] {
    [(TOKENS, amount)]
}

/// Used and held of the scope's budgets at an instant.
fn figures(model: &Model, scope: &[&str], at: i64) -> Vec<(u64, u64)> {
    model.clone().usage(scope, at).unwrap().into_iter().map(|usage| (usage.used, usage.held)).collect()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<Violation> {
    match result {
        Err(Error::Refused(Refusal { violations })) => violations,
        other => panic!("not refused: {other:?}"),
    }
}

fn over(limit: &str, subject: &str, excess: u64) -> Overage {
    Overage { limit: limit.into(), subject: subject.into(), excess }
}

const U: &[&str] = &["user:1"];
const U0: &[&str] = &[];

#[test]
fn an_exact_fit_passes_and_one_more_does_not() {
    let mut model = daily(10);
    model.try_charge(U, &tokens(7), 0).unwrap();
    model.check_amount(U, &tokens(3), 0).unwrap();
    assert!(model.check_amount(U, &tokens(4), 0).is_err());
    model.try_charge(U, &tokens(3), 0).unwrap();
    let [violation] = &refusal(model.try_charge(U, &tokens(1), 5))[..] else { panic!() };
    let expected = Violation {
        limit: "day".into(),
        subject: "user:1".into(),
        requested: 1,
        max: 10,
        used: 10,
        held: 0,
        remaining: 0,
        window_end: Some(DAY),
        retry: Retry::At(DAY),
    };
    assert_eq!(*violation, expected);
    assert_eq!(refusal(model.try_charge(U, &tokens(11), DAY))[0].retry, Retry::Never);
    assert_eq!(refusal(model.try_charge(U, &tokens(u64::MAX), 0))[0].requested, u64::MAX);
    model.try_charge(U, &tokens(10), DAY).unwrap();
    assert_eq!((model.charged_in("day", "user:1", 1), model.charged_in("day", "user:1", DAY)), (10, 10));
    assert_eq!(model.charged_in("day", "user:1", 2 * DAY) + model.charged_in("no", "user:1", 0), 0);
}

#[test]
fn amounts_of_zero() {
    let mut model = daily(10);
    model.try_charge(U, &tokens(10), 0).unwrap();
    model.try_charge(U, &tokens(0), 0).unwrap();
    model.check_amount(U, &tokens(0), 0).unwrap();
    assert_eq!(refusal(model.check(U, 0))[0].requested, 0);
    assert_eq!(refusal(model.reserve(U, &tokens(0), 0))[0].retry, Retry::At(DAY));
    model.reserve(U, &[], 0).unwrap();
    let mut closed = daily(0);
    assert_eq!(refusal(closed.check(U, 0))[0].retry, Retry::Never);
    closed.try_charge(U, &tokens(0), 0).unwrap();
    assert_eq!(closed.usage(U, 0).unwrap()[0].status, Status::Exhausted);
}

#[test]
fn all_or_nothing_with_violations_in_the_policys_order() {
    let usd = Limit { resource: "usd".into(), ..limit("usd", "global", Window::Lifetime, Hard, Some(5)) };
    let team = limit("team", "global", Window::Month, Hard, Some(100));
    let mut model = Model::new(policy(vec![limit("day", "user", Window::Day, Hard, Some(10)), usd, team]));
    let scope = &["user:9", "user:10", "user:9", "global"];
    model.try_charge(scope, &[(TOKENS, 6), ("usd", 1)], 0).unwrap();
    assert_eq!(figures(&model, scope, 0), [(6, 0), (6, 0), (1, 0), (6, 0)], "a subject named twice is charged once");
    let violations = refusal(model.try_charge(scope, &[("usd", 5), (TOKENS, 5)], 0));
    let named: Vec<_> = violations.iter().map(|v| (v.limit.as_str(), v.subject.as_str(), v.retry)).collect();
    let expected =
        [("day", "user:10", Retry::At(DAY)), ("day", "user:9", Retry::At(DAY)), ("usd", "global", Retry::Never)];
    assert_eq!(named, expected);
    assert_eq!(figures(&model, scope, 0), [(6, 0), (6, 0), (1, 0), (6, 0)]);
    model.try_charge(scope, &[("usd", 4)], 0).unwrap();
    model.try_charge(&["user:1"], &[(TOKENS, 3), (TOKENS, 4)], 0).unwrap();
    assert_eq!(figures(&model, &["user:1"], 0), [(7, 0), (5, 0), (13, 0)], "a resource named twice adds up");
}

#[test]
fn unknown_names_are_errors_for_everybody() {
    let mut model = Model::new(Policy { kinds: vec!["agent".into()], ..policy(vec![]) });
    assert_eq!(model.try_charge(&[], &[("gold", 0)], 0), Err(Error::UnknownResource("gold".into())));
    assert_eq!(model.check(U, 0), Err(Error::UnknownKind("user".into())));
    assert_eq!(model.usage(&["agents:1"], 0), Err(Error::UnknownKind("agents".into())));
    assert_eq!(model.afford(&["agent:1"], TOKENS, 0), Ok(None));
    model.try_charge(&["agent:1"], &tokens(u64::MAX), 0).unwrap();
    assert_eq!(model.release(HoldId(0), 0), Err(Error::UnknownHold));
    let hold = model.reserve(&[], &tokens(1), 0).unwrap().hold;
    assert_eq!(model.commit(hold, &[("gold", 1)], false, 0), Err(Error::UnknownResource("gold".into())));
}

#[test]
fn soft_shadow_and_unlimited_never_refuse() {
    let limits = [("soft", Soft, Some(10)), ("shadow", Shadow, Some(10)), ("free", Hard, None)];
    let limits = limits.map(|(id, enforcement, max)| limit(id, "user", Window::Day, enforcement, max));
    let mut model = Model::new(policy(limits.to_vec()));
    let fits = model.try_charge(U, &tokens(10), 0).unwrap();
    assert!(fits.over.is_empty() && fits.shadow.is_empty());
    assert_eq!(model.check(U, 0).unwrap().shadow.len(), 1, "a bare check would be refused");
    assert!(model.try_charge(U, &tokens(0), 0).unwrap().shadow.is_empty(), "a charge of 0 passes everywhere");
    let above = model.try_charge(U, &tokens(2), 0).unwrap();
    assert_eq!(above.over, [over("soft", "user:1", 2)]);
    assert_eq!((above.shadow[0].limit.as_str(), above.shadow[0].requested, above.shadow[0].used), ("shadow", 2, 10));
    assert_eq!(
        model.record(U, &tokens(1), 0).unwrap().overage,
        [over("soft", "user:1", 3), over("shadow", "user:1", 3)]
    );
    assert_eq!(model.afford(U, TOKENS, 0), Ok(None), "only hard budgets bound what one can afford");
    let usage = model.usage(U, 0).unwrap();
    assert_eq!(usage.iter().map(|u| u.status).collect::<Vec<_>>(), [Status::Over, Status::Over, Status::Ok]);
    assert!(model.try_charge(U, &tokens(0), 0).unwrap().over.is_empty(), "and reports nothing, though soft is over");
    assert_eq!((usage[2].used, usage[2].remaining), (13, None));
}

#[test]
fn warnings_are_exact() {
    let day = Limit { warn: vec![95, 80], ..limit("day", "user", Window::Day, Hard, Some(10)) };
    let mut model = Model::new(policy(vec![day]));
    let mut status = |amount| {
        model.record(U, &tokens(amount), 0).unwrap();
        model.usage(U, 0).unwrap()[0].status
    };
    assert_eq!(
        [status(7), status(1), status(2), status(1)],
        [Status::Ok, Status::Warning, Status::Exhausted, Status::Over]
    );
}

#[test]
fn reservations_hold_then_settle_once() {
    let mut model = daily(100);
    let hold = model.reserve(U, &tokens(60), 0).unwrap().hold;
    assert_eq!(figures(&model, U, 0), [(0, 60)]);
    assert_eq!(refusal(model.try_charge(U, &tokens(41), 0))[0].held, 60);
    let settled = model.commit(hold, &tokens(25), false, 0).unwrap();
    assert_eq!((settled.replayed, settled.overage.len()), (false, 0));
    assert_eq!(settled.amounts, [(TOKENS.to_string(), 25)]);
    assert_eq!(figures(&model, U, 0), [(25, 0)]);
    assert!(model.commit(hold, &tokens(25), false, 0).unwrap().replayed);
    assert_eq!(model.commit(hold, &tokens(26), false, 0), Err(Error::Conflict));
    assert_eq!(model.release(hold, 0), Err(Error::AlreadySettled));
    assert_eq!(model.try_extend(hold, &tokens(1), 0), Err(Error::AlreadySettled));

    let hold = model.reserve(U, &tokens(75), 0).unwrap().hold;
    model.release(hold, 0).unwrap();
    assert_eq!(model.release(hold, 0), Err(Error::AlreadyReleased));
    assert_eq!(model.commit(hold, &tokens(75), false, 0), Err(Error::AlreadyReleased));
    assert_eq!(figures(&model, U, 0), [(25, 0)]);

    let hold = model.reserve(U, &tokens(75), 0).unwrap().hold;
    let settled = model.commit(hold, &tokens(80), false, 0).unwrap();
    assert_eq!(settled.overage, [over("day", "user:1", 5)], "charged in full");
    assert_eq!(model.commit(hold, &tokens(80), true, 0).unwrap().overage, settled.overage, "the same receipt");
    assert_eq!(figures(&model, U, 0), [(105, 0)]);
}

#[test]
fn what_a_settlement_does_not_name_is_as_reserved_and_what_was_not_held_counts_from_0() {
    let usd = Limit { resource: "usd".into(), ..limit("usd", "user", Window::Day, Hard, Some(100)) };
    let mut model = Model::new(policy(vec![limit("day", "user", Window::Day, Hard, Some(100)), usd]));
    let hold = model.reserve(U, &tokens(40), 0).unwrap().hold;
    let settled = model.commit(hold, &[("usd", 7)], false, 0).unwrap();
    assert_eq!(settled.amounts, [(TOKENS.to_string(), 40), ("usd".to_string(), 7)]);
    assert_eq!(figures(&model, U, 0), [(40, 0), (7, 0)]);
    let hold = model.reserve(U, &[(TOKENS, 10), ("usd", 10)], 0).unwrap().hold;
    model.commit(hold, &[(TOKENS, 5), ("usd", 15)], true, 0).unwrap();
    assert_eq!(figures(&model, U, 0), [(50, 0), (22, 0)], "at least gives nothing back");
}

#[test]
fn dropped_holds_are_released_unless_dispatched() {
    let mut model = daily(100);
    let mut drop = |seen: Option<u64>| {
        let hold = model.reserve(U, &tokens(10), 0).unwrap().hold;
        if let Some(seen) = seen {
            model.dispatched(hold).unwrap();
            model.observe(hold, &tokens(seen)).unwrap();
            model.observe(hold, &tokens(1)).unwrap();
        }
        model.drop_hold(hold, 0).unwrap();
        assert!(model.drop_hold(hold, 0).is_err());
        figures(&model, U, 0)[0]
    };
    assert_eq!([drop(None), drop(Some(4)), drop(Some(14))], [(0, 0), (10, 0), (25, 0)]);
}

#[test]
fn a_late_settlement_changes_its_own_window_only() {
    let mut model = daily(100);
    let [late, later, freed] = [30, 20, 10].map(|amount| model.reserve(U, &tokens(amount), DAY - 1).unwrap().hold);
    model.try_charge(U, &tokens(100), DAY).unwrap();
    model.release(freed, 0).unwrap();
    model.commit(late, &tokens(5), false, 0).unwrap();
    assert_eq!(figures(&model, U, DAY), [(100, 0)]);
    assert_eq!(model.charged_in("day", "user:1", 0), 25);
    let settled = model.commit(later, &tokens(120), false, 0).unwrap();
    assert_eq!((settled.overage, settled.late), (vec![over("day", "user:1", 25)], true));
    assert_eq!((model.charged_in("day", "user:1", 0), model.charged_in("day", "user:1", DAY)), (125, 100));
    assert!(model.check(U, DAY).is_err());
    assert_eq!(figures(&model, U, 0), [(100, 0)], "an older time uses the later window");
    assert_eq!(figures(&model, U, 2 * DAY), [(0, 0)]);
}

#[test]
fn only_a_change_makes_a_window_current() {
    let mut model = daily(10);
    model.try_charge(U, &tokens(10), 0).unwrap();
    model.check(U, DAY).unwrap();
    model.usage(U, DAY).unwrap();
    model.try_charge(U, &tokens(0), DAY).unwrap();
    model.record(U, &tokens(0), DAY).unwrap();
    assert!(model.try_charge(U, &tokens(11), DAY).is_err());
    assert_eq!(figures(&model, U, 0), [(10, 0)]);
    model.record(U, &tokens(1), DAY).unwrap();
    assert_eq!(figures(&model, U, 0), [(1, 0)]);
    model.try_charge(U, &tokens(9), 0).unwrap();
    assert_eq!(model.charged_in("day", "user:1", DAY), 10);
}

#[test]
fn an_admitted_hold_moves_every_budget_of_its_scope() {
    let usd = Limit { resource: "usd".into(), ..limit("usd", "global", Window::Day, Hard, Some(5)) };
    let mut model = Model::new(policy(vec![limit("day", "user", Window::Day, Hard, Some(10)), usd]));
    model.try_charge(U, &[(TOKENS, 10), ("usd", 5)], 0).unwrap();
    assert!(model.reserve(U, &tokens(11), DAY).is_err());
    assert_eq!(figures(&model, U, 0), [(10, 0), (5, 0)], "a refusal moves nothing");
    let hold = model.reserve(U, &tokens(0), DAY).unwrap().hold;
    assert_eq!(
        figures(&model, U, 0),
        [(0, 0), (0, 0)],
        "day 1 is the current one of both, though only tokens are named"
    );
    model.try_extend(hold, &tokens(0), 2 * DAY).unwrap();
    model.try_charge(U, &tokens(1), DAY).unwrap();
    assert_eq!(model.charged_in("day", "user:1", DAY), 1, "an extension of nothing left both in day 1");
    model.try_extend(hold, &tokens(2), 2 * DAY).unwrap();
    model.try_charge(U, &[("usd", 5)], DAY).unwrap();
    assert_eq!(model.charged_in("usd", "global", 2 * DAY), 5, "an extension by 2 tokens moved both to day 2");
    model.reserve(U, &[], 3 * DAY).unwrap();
    assert_eq!(figures(&model, U, 0), [(0, 0), (0, 0)], "and a hold that names nothing to day 3");
}

#[test]
fn a_hold_of_0_settles_in_the_window_that_admitted_it() {
    let mut model = daily(10);
    model.try_charge(U, &tokens(9), 0).unwrap();
    let hold = model.reserve(U, &tokens(0), DAY).unwrap().hold;
    assert_eq!(model.commit(hold, &tokens(12), false, 0).unwrap().overage, [over("day", "user:1", 2)]);
    assert_eq!((model.charged_in("day", "user:1", 0), model.charged_in("day", "user:1", DAY)), (9, 12));
    assert!(model.check(U, DAY).is_err());
    assert_eq!(figures(&model, U, DAY), [(12, 0)]);

    let mut model = daily(10);
    let hold = model.reserve(U, &tokens(0), 0).unwrap().hold;
    model.try_charge(U, &tokens(1), DAY).unwrap();
    model.commit(hold, &tokens(4), false, 0).unwrap();
    assert_eq!((model.charged_in("day", "user:1", 0), model.charged_in("day", "user:1", DAY)), (4, 1));
}

#[test]
fn an_extension_belongs_to_the_window_that_admits_it() {
    let mut model = daily(100);
    let charged = |model: &Model| [0, 1, 2].map(|day| model.charged_in("day", "user:1", day * DAY));
    let extended = |model: &mut Model, actual: u64| {
        let hold = model.reserve(U, &tokens(40), 0).unwrap().hold;
        model.try_extend(hold, &tokens(30), DAY).unwrap();
        model.try_extend(hold, &tokens(0), 2 * DAY).unwrap();
        model.commit(hold, &tokens(actual), false, 0).unwrap().overage
    };
    assert_eq!(extended(&mut model.clone(), 70).len(), 0);
    for (actual, expected) in [(25, [25, 0, 0]), (55, [40, 15, 0]), (90, [40, 50, 0])] {
        let mut model = model.clone();
        extended(&mut model, actual);
        assert_eq!(charged(&model), expected, "{actual}");
        assert_eq!(figures(&model, U, DAY), [(expected[1], 0)]);
    }
    assert_eq!(extended(&mut model.clone(), 150), [over("day", "user:1", 10)]);

    let mut same_window = model.clone();
    let hold = same_window.reserve(U, &tokens(40), 0).unwrap().hold;
    same_window.try_extend(hold, &tokens(60), 0).unwrap();
    assert_eq!(
        same_window.commit(hold, &tokens(101), false, 0).unwrap().overage,
        [over("day", "user:1", 1)],
        "named once"
    );

    let hold = model.reserve(U, &tokens(40), 0).unwrap().hold;
    assert_eq!(refusal(model.try_extend(hold, &tokens(61), 0))[0].remaining, 60);
    model.try_extend(hold, &tokens(60), 0).unwrap();
    assert_eq!(figures(&model, U, 0), [(0, 100)]);
    model.try_extend(hold, &tokens(0), 0).unwrap();
    model.release(hold, 0).unwrap();
    assert_eq!(charged(&model), [0, 0, 0]);
}

#[test]
fn saturated_counts_stay_until_the_window_ends() {
    let top = (1 << 38) - 1;
    let mut model = Model::new(policy(vec![limit("minute", "user", Window::Minute, Soft, Some(10))]));
    let hold = model.reserve(U, &tokens(top - 2), 0).unwrap().hold;
    model.try_charge(U, &tokens(1), 0).unwrap();
    assert_eq!(figures(&model, U, 0), [(1, top - 2)]);
    let last = model.try_charge(U, &tokens(1), 0).unwrap();
    assert_eq!(last.over, [over("minute", "user:1", u64::MAX - 10)]);
    assert_eq!(figures(&model, U, 0), [(u64::MAX, 0)], "nobody knows any more what of it is held");
    model.release(hold, 0).unwrap();
    assert_eq!(figures(&model, U, 0), [(u64::MAX, 0)]);
    assert_eq!(model.charged_in("minute", "user:1", 0), u64::MAX);
    let usage = &model.usage(U, 0).unwrap()[0];
    assert_eq!((usage.remaining, usage.status), (Some(0), Status::Over));
    assert_eq!(figures(&model, U, 60_000_000), [(0, 0)]);
    model.record(U, &tokens(top + 1), 60_000_000).unwrap();
    assert_eq!(figures(&model, U, 60_000_000), [(u64::MAX, 0)], "past the top is the top");

    let mut lifetime = Model::new(policy(vec![limit("life", "user", Window::Lifetime, Hard, Some(u64::MAX - 1))]));
    lifetime.try_charge(U, &tokens(u64::MAX - 1), 0).unwrap();
    assert!(lifetime.try_charge(U, &tokens(1), 0).is_err());
    lifetime.record(U, &tokens(u64::MAX), 0).unwrap();
    let hold = lifetime.reserve(&["user:2"], &tokens(5), 0).unwrap().hold;
    lifetime.commit(hold, &tokens(u64::MAX), false, 0).unwrap();
    assert_eq!(figures(&lifetime, &["user:1", "user:2"], 0), [(u64::MAX, 0), (u64::MAX, 0)]);
}

#[test]
fn lifetime_refusals_say_whether_only_other_holders_are_in_the_way() {
    let mut model = Model::new(policy(vec![limit("life", "user", Window::Lifetime, Hard, Some(10))]));
    model.try_charge(U, &tokens(4), 0).unwrap();
    model.reserve(U, &tokens(6), 0).unwrap();
    let retry = |result| refusal(result)[0].retry;
    assert_eq!(retry(model.try_charge(U, &tokens(6), 0)), Retry::Unknown);
    assert_eq!(retry(model.try_charge(U, &tokens(7), 0)), Retry::Never);
    assert_eq!(retry(model.check(U, 0)), Retry::Unknown);
    model.record(U, &tokens(6), 0).unwrap();
    assert_eq!(retry(model.check(U, 0)), Retry::Never);
    assert_eq!(refusal(model.check(U, 0))[0].window_end, None);
}

#[test]
fn a_clock_that_jumped_ahead_locks_nobody_out_for_longer_than_a_window() {
    let mut model = daily(10);
    model.try_charge(U, &tokens(8), 9 * DAY).unwrap();
    model.try_charge(U, &tokens(1), 0).unwrap();
    assert_eq!(model.usage(U, 0).unwrap()[0].window_end, Some(10 * DAY), "no refusal, no change");
    let [violation] = &refusal(model.reserve(U, &tokens(2), 0))[..] else { panic!() };
    let told = (violation.used, violation.window_end, violation.retry);
    assert_eq!(told, (9, Some(2 * DAY), Retry::At(2 * DAY)), "day 9 was renumbered as day 1, the one after the call's");
    let usage = &model.usage(U, 0).unwrap()[0];
    assert_eq!((usage.used, usage.window_start, usage.window_end), (9, Some(DAY), Some(2 * DAY)));
    assert!(model.try_charge(U, &tokens(2), DAY).is_err(), "nothing is granted twice");
    model.try_charge(U, &tokens(10), 2 * DAY).unwrap();

    let mut near = daily(10);
    near.try_charge(U, &tokens(10), DAY).unwrap();
    assert!(near.check(U, 0).is_err());
    assert_eq!(near.usage(U, 0).unwrap()[0].window_end, Some(2 * DAY), "one ahead stays");
}

#[test]
fn holds_of_a_renumbered_window_give_nothing_back() {
    let mut model = daily(10);
    let [less, more, freed] = [4, 2, 3].map(|amount| model.reserve(U, &tokens(amount), 9 * DAY).unwrap().hold);
    assert!(model.check_amount(U, &tokens(2), 0).is_err());
    assert_eq!(figures(&model, U, 0), [(9, 0)], "4 + 2 + 3 were held in day 9 and are used in day 1");
    assert_eq!(model.charged_in("day", "user:1", 9 * DAY), 0);
    model.commit(less, &tokens(1), false, 0).unwrap();
    assert_eq!(figures(&model, U, 0), [(9, 0)], "1 instead of 4 would give back 3");
    let settled = model.commit(more, &tokens(5), false, 0).unwrap();
    assert_eq!((settled.overage, settled.late), (vec![over("day", "user:1", 2)], false));
    assert_eq!(figures(&model, U, 0), [(12, 0)], "5 instead of 2 adds 3 to the 9");
    model.try_charge(U, &tokens(5), 2 * DAY).unwrap();
    model.release(freed, 0).unwrap();
    assert_eq!(figures(&model, U, 2 * DAY), [(5, 0)], "a newer window is left alone");
    assert_eq!(model.charged_in("day", "user:1", DAY), 12);
}

#[test]
fn a_clock_that_comes_back_twice() {
    let mut model = daily(10);
    model.try_charge(U, &tokens(7), 5 * DAY).unwrap();
    let hold = model.reserve(U, &tokens(6), 20 * DAY).unwrap().hold;
    let refused_at = |model: &mut Model, day: i64, renumbered: i64| {
        let [violation] = &refusal(model.try_charge(U, &tokens(5), day * DAY))[..] else { panic!() };
        assert_eq!(violation.window_end, Some((renumbered + 1) * DAY));
        assert_eq!(model.usage(U, day * DAY).unwrap()[0].window_start, Some(renumbered * DAY));
        assert_eq!(figures(model, U, day * DAY), [(6, 0)], "the 6 held in day 20 count as used from then on");
    };
    refused_at(&mut model, 10, 11);
    // Day 5 was granted before the jump: the first day after it that was not is day 6.
    refused_at(&mut model, 2, 6);
    assert_eq!(figures(&model, U, 7 * DAY), [(0, 0)], "ahead of the current window everything is fresh");
    assert_eq!([5, 6, 11].map(|day| model.charged_in("day", "user:1", day * DAY)), [7, 6, 0], "day 11 was given up");
    assert_eq!(
        [5, 6, 7, 11, 20].map(|day| model.repeats("day", "user:1", day * DAY)),
        [false, false, false, true, true]
    );
    model.release(hold, 0).unwrap();
    assert_eq!(figures(&model, U, 2 * DAY), [(6, 0)]);

    // A number that was given up is used again: holds made under it now are found there, not where the old window went.
    let mut model = daily(10);
    model.record(U, &tokens(1), 20 * DAY).unwrap();
    refusal(model.try_charge(U, &tokens(10), 0));
    refusal(model.try_charge(U, &tokens(10), -5 * DAY));
    for day in [20, 0] {
        model.record(U, &tokens(1), 20 * DAY).unwrap();
        refusal(model.try_charge(U, &tokens(10), day * DAY));
        let hold = model.reserve(U, &tokens(1), day * DAY).unwrap().hold;
        model.release(hold, 0).unwrap();
        assert_eq!(figures(&model, U, day * DAY)[0].1, 0);
        assert!(model.repeats("day", "user:1", 0), "day 20 began twice");
    }
}

#[test]
fn a_clock_that_is_set_back_within_windows_that_were_granted_renumbers_nothing() {
    let mut model = daily(10);
    for day in 1..=4 {
        model.try_charge(U, &tokens(10), day * DAY).unwrap();
    }
    for day in 1..=4 {
        let violation = &refusal(model.try_charge(U, &tokens(1), day * DAY))[0];
        assert_eq!(violation.retry, Retry::At(5 * DAY), "set back to day {day}, all up to day 4 are used up");
    }
    // Back to before day 1, by no more than the clock has run on since: that is a step back too. Further, it had jumped.
    assert_eq!(refusal(model.try_charge(U, &tokens(1), -2 * DAY))[0].retry, Retry::At(5 * DAY));
    assert_eq!(refusal(model.try_charge(U, &tokens(1), -3 * DAY))[0].retry, Retry::At(-DAY));
}

#[test]
fn which_windows_may_be_forgotten() {
    let mut model = daily(10);
    let may_be = |model: &Model, day: i64| model.may_be_forgotten("day", "user:1", day * DAY);
    for day in [1, 3, 4] {
        model.try_charge(U, &tokens(1), day * DAY).unwrap();
    }
    assert_eq!([0, 1, 2, 3, 4, 5].map(|day| may_be(&model, day)), [true, true, true, false, false, false]);
    model.try_charge(U, &tokens(10), 9 * DAY).unwrap();
    refusal(model.try_charge(U, &tokens(1), 4 * DAY));
    assert_eq!([4, 5, 9].map(|day| may_be(&model, day)), [true, false, false], "day 9 is day 5 now");
}

#[test]
fn afford_is_the_least_that_any_hard_budget_leaves() {
    let usd = Limit { resource: "usd".into(), ..limit("usd", "user", Window::Day, Hard, Some(1)) };
    let month = limit("month", "global", Window::Month, Hard, Some(100));
    let mut model = Model::new(policy(vec![limit("day", "user", Window::Day, Hard, Some(50)), usd, month]));
    model.try_charge(&["user:2"], &tokens(50), 0).unwrap();
    model.try_charge(U, &tokens(20), DAY).unwrap();
    assert_eq!(model.afford(U, TOKENS, DAY), Ok(Some(30)));
    assert_eq!(model.afford(U, TOKENS, 3 * DAY), Ok(Some(30)), "the month is what binds now");
    assert_eq!(model.afford(U, "usd", DAY), Ok(Some(1)));
    let (reserved, amount) = model.reserve_up_to(U, TOKENS, 10, 1_000, DAY).unwrap();
    assert_eq!((amount, figures(&model, U, DAY)), (30, vec![(20, 30), (0, 0), (70, 30)]));
    let violations = refusal(model.reserve_up_to(U, TOKENS, 1, 5, DAY));
    assert_eq!(
        violations.iter().map(|v| (v.limit.as_str(), v.requested)).collect::<Vec<_>>(),
        [("day", 1), ("month", 1)]
    );
    assert_eq!(refusal(model.reserve_up_to(U, TOKENS, 0, 5, DAY))[0].requested, 0);
    assert_eq!(refusal(model.reserve_up_to(U, TOKENS, 9, 5, DAY))[0].requested, 5, "no more than is wanted");
    model.commit(reserved.hold, &tokens(60), false, 0).unwrap();
    assert_eq!(model.afford(U, TOKENS, DAY), Ok(Some(0)));
}

#[test]
fn usage_outlives_policies() {
    let mut model = daily(100);
    let hold = model.reserve(U, &tokens(60), 0).unwrap().hold;
    model.set_policy(policy(vec![limit("other", "user", Window::Day, Hard, Some(5))]));
    assert_eq!(figures(&model, U, 0), [(0, 0)]);
    model.try_extend(hold, &tokens(5), 0).unwrap();
    assert_eq!(figures(&model, U, 0), [(0, 5)]);
    model.commit(hold, &tokens(62), false, 0).unwrap();
    assert_eq!((figures(&model, U, 0), model.charged_in("day", "user:1", 0)), (vec![(2, 0)], 60));
    model.set_policy(policy(vec![limit("day", "user", Window::Day, Soft, Some(10))]));
    assert_eq!(model.usage(U, 0).unwrap()[0].status, Status::Over);
    model.set_policy(policy(vec![limit("day", "user", Window::Hour, Hard, Some(10))]));
    assert_eq!(figures(&model, U, 0), [(0, 0)], "another window is another budget");
}

#[test]
fn an_actual_may_name_what_the_policies_of_the_hold_declare() {
    let without_usd = || Policy { resources: vec![TOKENS.into()], ..policy(vec![]) };
    let mut model = Model::new(without_usd());
    let [plain, extended] = [1, 2].map(|amount| model.reserve(U0, &tokens(amount), 0).unwrap().hold);
    model.set_policy(policy(vec![]));
    model.try_extend(extended, &[("usd", 1)], 0).unwrap();
    model.set_policy(without_usd());
    let unknown = Err(Error::UnknownResource("usd".into()));
    assert_eq!(model.commit(plain, &[("usd", 1)], false, 0), unknown);
    let amounts = model.commit(extended, &[("usd", 3)], false, 0).unwrap().amounts;
    assert_eq!(amounts, [(TOKENS.to_string(), 2), ("usd".to_string(), 3)]);
    model.release(plain, 0).unwrap();
    assert_eq!(model.commit(plain, &[("usd", 1)], false, 0), unknown, "also of a hold that is settled");
}

#[test]
fn a_budget_is_reported_as_over_once_and_as_it_stands() {
    let mut model = daily(100);
    let hold = model.reserve(U, &tokens(40), 0).unwrap().hold;
    model.try_extend(hold, &tokens(30), 0).unwrap();
    model.record(U, &tokens(50), 0).unwrap();
    assert_eq!(
        model.commit(hold, &tokens(45), false, 0).unwrap().overage,
        [],
        "50 + 45 fit, though 50 + 40 + 30 did not"
    );

    let mut model = daily(100);
    let hold = model.reserve(U, &tokens(40), 0).unwrap().hold;
    model.record(U, &tokens(70), 0).unwrap();
    model.try_extend(hold, &tokens(30), DAY).unwrap();
    let mut spent = model.clone();
    assert_eq!(
        spent.commit(hold, &tokens(70), false, 0).unwrap().overage,
        [over("day", "user:1", 10)],
        "day 0 has 110"
    );
    assert_eq!(
        model.commit(hold, &tokens(145), false, 0).unwrap().overage,
        [over("day", "user:1", 5)],
        "day 1 has 105"
    );
}

/// Invariant: at rest what is charged is what is used and held, no hard budget is over by admissions, refusals leave no trace, and the
/// sum of what was settled is the sum of what is used.
#[test]
fn random_calls_keep_the_books() {
    for seed in 1..=40_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % below
        };
        let limits = vec![
            limit("day", "user", Window::Day, Hard, Some(40)),
            limit("life", "global", Window::Lifetime, Hard, Some(300)),
        ];
        let mut model = Model::new(policy(limits));
        let (mut spent, mut open, mut at) = (0, Vec::new(), 0);
        for step in 0..400 {
            at += next(DAY as u64 / 8) as i64;
            let user = format!("user:{}", next(3));
            let (scope, amount) = ([user.as_str()], next(15));
            let before = model.usage(&scope, at).unwrap();
            match next(3) {
                0 => match model.try_charge(&scope, &tokens(amount), at) {
                    Ok(_) => spent += amount,
                    Err(_) => assert_eq!(model.usage(&scope, at).unwrap(), before, "seed {seed} step {step}"),
                },
                1 => match model.reserve(&scope, &tokens(amount), at) {
                    Ok(reserved) => open.push((reserved.hold, amount)),
                    Err(_) => assert_eq!(model.usage(&scope, at).unwrap(), before, "seed {seed} step {step}"),
                },
                _ if !open.is_empty() => {
                    let (hold, amount) = open.swap_remove(next(open.len() as u64) as usize);
                    let actual = next(amount + 1);
                    spent += actual;
                    model.commit(hold, &tokens(actual), false, 0).unwrap();
                }
                _ => {}
            }
            let usage = model.usage(&scope, at).unwrap();
            let held: u64 = open.iter().map(|(_, held)| held).sum();
            assert_eq!((usage[1].used, usage[1].held), (spent, held), "seed {seed} step {step}");
            assert!(usage.iter().all(|u| u.used + u.held <= u.max.unwrap()), "seed {seed} step {step}");
        }
    }
}

#[test]
fn what_each_sub_interval_of_a_rolling_window_charged_leaves_in_its_own_time() {
    // Sub-intervals of a second.
    let rolling = Window::Rolling { seconds: 60 };
    let mut model = Model::new(policy(vec![limit("rolling", "user", rolling, Hard, Some(100))]));
    let second = 1_000_000;
    model.try_charge(U, &tokens(60), 0).unwrap();
    let hold = model.reserve(U, &tokens(30), 10 * second).unwrap().hold;
    assert_eq!(figures(&model, U, 60 * second), [(60, 30)]);
    let retry = |model: &mut Model, amount| refusal(model.try_charge(U, &tokens(amount), 12 * second))[0].retry;
    assert_eq!([20, 70, 71, 101].map(|amount| retry(&mut model, amount)), {
        [Retry::At(61 * second), Retry::At(61 * second), Retry::At(71 * second), Retry::Never]
    });
    assert_eq!(figures(&model, U, 61 * second), [(0, 30)]);
    model.commit(hold, &tokens(50), false, 0).unwrap();
    assert_eq!(figures(&model, U, 61 * second), [(50, 0)], "in the hold's own sub-interval");
    model.try_charge(U, &tokens(100), 71 * second).unwrap();
    assert_eq!(figures(&model, U, 20 * second), [(100, 0)], "an older time uses the later one");
}

#[test]
fn a_window_from_first_use_begins_with_a_charge() {
    let first_use = Window::FirstUse { seconds: 60 };
    let mut model = Model::new(policy(vec![limit("first", "user", first_use, Hard, Some(100))]));
    let minute = 60_000_000;
    assert_eq!(refusal(model.try_charge(U, &tokens(101), 0))[0].window_end, None);
    model.try_charge(U, &tokens(100), 7_700).unwrap();
    assert_eq!(refusal(model.try_charge(U, &tokens(1), minute))[0].retry, Retry::At(minute + 7_000));
    assert_eq!(figures(&model, U, minute + 7_000), [(0, 0)]);
    model.try_charge(U, &tokens(100), 9 * minute).unwrap();
    let [violation] = &refusal(model.try_charge(U, &tokens(1), 2 * minute))[..] else { panic!() };
    assert_eq!(violation.retry, Retry::At(3 * minute), "a clock that came back from a jump: it begins again");
}

#[test]
fn a_hold_with_a_time_to_live_is_settled_when_somebody_looks_and_may_be_committed_afterwards() {
    let mut model = daily(100);
    let kept = |model: &mut Model| model.reserve_for(U, &tokens(60), 10, 0).unwrap().hold;
    let (released, charged) = (kept(&mut model.clone()), kept(&mut model));
    model.dispatched(charged).unwrap();
    model.observe(charged, &tokens(70)).unwrap();
    assert_eq!((model.renew(charged, 20, 9), model.sweep(28), model.kept()), (Ok(()), 0, 1));
    assert_eq!(refusal(model.try_charge(U, &tokens(41), 29))[0].used, 70, "it expired first");
    assert_eq!([model.release(charged, 29), model.renew(charged, 9, 29)], [Err(Error::Expired), Err(Error::Expired)]);
    let settled = model.commit(charged, &tokens(40), false, 29).unwrap();
    assert!(settled.late && model.commit(charged, &tokens(40), false, 29).unwrap().replayed);
    assert_eq!(figures(&model, U, 29), [(40, 0)]);
    assert_eq!((released, model.sweep(29 + DAY), model.kept()), (charged, 0, 0));
}

#[test]
fn ids_splits_and_refunds() {
    let mut model = daily(100);
    let reserve = |model: &mut Model, amount, at| model.reserve_with_id(U, "r", &tokens(amount), 10, at);
    let (reserved, replayed) = reserve(&mut model, 60, 0).unwrap();
    assert_eq!((reserve(&mut model, 60, 1).map(|(again, _)| again.hold), replayed), (Ok(reserved.hold), false));
    assert_eq!(reserve(&mut model, 61, 1).unwrap_err(), Error::Conflict);
    let part = model.split(reserved.hold, &tokens(20), 0).unwrap();
    assert_eq!(model.split(part, &tokens(21), 0), Err(Error::TooMuch { resource: TOKENS.into(), there: 20 }));
    let settled = model.commit(part, &tokens(25), false, 1).unwrap();
    assert_eq!(figures(&model, U, 1), [(25, 40)]);
    assert!(matches!(model.refund(settled.receipt, &tokens(26), 1), Err(Error::TooMuch { there: 25, .. })));
    assert_eq!(model.refund(settled.receipt, &tokens(5), 1), Ok(()));
    assert_eq!(model.refund(settled.receipt, &tokens(5), 1), Err(Error::Refunded));
    assert_eq!(model.refund(settled.receipt, &tokens(5), 31 * DAY), Err(Error::TooOld));
    assert_eq!(figures(&model, U, 10), [(20, 0)], "the rest has expired");
    assert_eq!(reserve(&mut model, 60, 11).unwrap_err(), Error::AlreadySettled);
    assert_eq!(model.resume("r", 11 + DAY), Err(Error::UnknownHold));
}

#[test]
fn what_is_degraded_opens_or_closes_operations() {
    let mut model = daily(10);
    model.set_degraded(Component::Policy, true);
    assert!(model.check_amount(U, &tokens(11), 0).unwrap().degraded);
    assert!(model.record(U, &tokens(7), 0).unwrap().degraded);
    assert_eq!(model.try_charge(U, &tokens(1), 0), Err(Error::Degraded(Component::Policy)));
    let settings = Settings { check_open: false, reserve_open: true, record_open: false, ..Settings::default() };
    let mut model = Model::with_settings(policy(vec![limit("day", "user", Window::Day, Hard, Some(10))]), settings);
    model.set_degraded(Component::Store, true);
    assert_eq!(model.check(U, 0), Err(Error::Degraded(Component::Store)));
    assert_eq!(model.record(U, &tokens(7), 0), Err(Error::Degraded(Component::Store)));
    assert_eq!(model.try_charge(U, &tokens(11), 0).unwrap().over, [over("day", "user:1", 1)]);
    model.set_degraded(Component::Store, false);
    refusal(model.try_charge(U, &tokens(1), 0));
}
