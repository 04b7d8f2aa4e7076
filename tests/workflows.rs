//! Workflows: their quota, limits that all handles share, and their end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use encumber::{
    Cap, ChargeError, Counted, Engine, Limit, ManualClock, PaidReset, Policy, ResetError, Retry, Scope, StepError,
    Subject, Unit, Wallet, WalletError, Window, Workflow, WorkflowError, WorkflowSpec,
};

struct Rig {
    clock: ManualClock,
    engine: Engine,
}

/// Workflows per agent and hour: `places`. 1000 usd a day, 9 steps of all agents an hour when `counted`.
fn rig(places: u64, counted: bool) -> Rig {
    let clock = ManualClock::at("2026-04-03T10:00:00Z".parse().unwrap());
    let mut policy = Policy::builder()
        .resource("workflows", Unit::Count)
        .resource("starts", Unit::Count)
        .resource("usd", Unit::Usd)
        .limit(Limit::new("runs", "agent", "workflows", Window::Hour, Cap::Max(places)))
        .limit(Limit::new("starts", "agent", "starts", Window::Lifetime, Cap::Max(1)))
        .limit(Limit::new("usd-day", "agent", "usd", Window::Day, Cap::Max(1_000)));
    if counted {
        policy = policy
            .resource("steps", Unit::Count)
            .resource("tool_calls", Unit::Count)
            .resource("tool_calls.search", Unit::Count)
            .limit(Limit::new("all-steps", "global", "steps", Window::Hour, Cap::Max(9)))
            .limit(Limit::new("all-tools", "global", "tool_calls", Window::Hour, Cap::Max(9)))
            .limit(Limit::new("all-searches", "global", "tool_calls.search", Window::Hour, Cap::Max(3)));
    }
    Rig { engine: Engine::builder(policy.build().unwrap()).clock(&clock).build(), clock }
}

impl Rig {
    fn scope(&self) -> Scope {
        self.engine.scope(["agent:a"]).unwrap()
    }

    fn begin(&self, id: &str, spec: WorkflowSpec) -> Result<Workflow, WorkflowError> {
        self.scope().begin_workflow(id, spec)
    }

    fn used(&self, limit: &str) -> u64 {
        let usage = self.scope().usage().unwrap();
        usage.iter().find(|usage| &*usage.limit == limit).unwrap().used
    }
}

fn steps(max: u64) -> WorkflowSpec {
    WorkflowSpec::new().steps(max)
}

#[test]
fn a_workflow_takes_a_place_that_returns_with_the_window_and_not_with_its_end() {
    let rig = rig(1, false);
    let first = rig.begin("wf-1", steps(5)).unwrap();
    assert!(first.end());
    assert!(!first.end(), "a second end is a no-op");
    let refused = rig.begin("wf-2", steps(5)).unwrap_err();
    let primary = refused.refusal().unwrap().primary();
    assert_eq!((primary.used, primary.max, primary.retry), (1, 1, Retry::At("2026-04-03T11:00:00Z".parse().unwrap())));
    assert_eq!(rig.engine.active_workflows(), 0);
    rig.clock.advance(Duration::from_secs(3_600));
    let second = rig.begin("wf-2", steps(5)).unwrap();
    assert_eq!((rig.engine.active_workflows(), rig.used("runs")), (1, 1));
    drop(second);
    assert_eq!(rig.engine.active_workflows(), 0);
}

/// Known defect B-H10: beginning an active id again took a place and doubled the step limit.
#[test]
fn b_h10_beginning_an_active_id_again_is_an_error_and_takes_no_place() {
    let rig = rig(10, false);
    let workflow = rig.begin("wf-1", steps(5)).unwrap();
    workflow.step().unwrap();
    let error = rig.begin("wf-1", steps(5)).unwrap_err();
    assert_eq!(format!("{error:#}"), "the workflow \"wf-1\" is active");
    assert!(!error.to_string().contains("wf-1"), "logs name nobody: {error}");
    let elsewhere = rig.engine.scope(["agent:b"]).unwrap().begin_workflow("wf-1", steps(5));
    assert!(matches!(elsewhere, Err(WorkflowError::Active { .. })), "ids are the engine's");
    assert_eq!((rig.used("runs"), rig.engine.active_workflows(), workflow.steps().taken()), (1, 1, 1));
    workflow.end();
    let again = rig.begin("wf-1", steps(5)).unwrap();
    assert_eq!((rig.used("runs"), again.steps().remaining()), (2, Cap::Max(5)));
    drop(workflow);
    assert!(again.step().is_ok(), "the old one's end is not the new one's");
    assert_eq!(rig.engine.active_workflows(), 1);
}

#[test]
fn one_id_begun_by_many_threads_begins_once() {
    let rig = rig(64, false);
    for _ in 0..200 {
        let begun: Vec<_> = std::thread::scope(|threads| {
            let begin = |_| threads.spawn(|| rig.begin("wf", steps(1).no_place()).ok());
            let threads: Vec<_> = (0..4).map(begin).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((begun.len(), rig.engine.active_workflows()), (1, 1));
    }
    assert_eq!(rig.engine.active_workflows(), 0);
}

/// Known defect B-H16: the roll-back of a refused begin across a reset poisoned the next period.
#[test]
fn b_h16_refused_begins_at_the_end_of_a_period_do_not_poison_the_next() {
    let rig = rig(1, false);
    let _first = rig.begin("a", steps(5)).unwrap();
    for period in 1..50_u32 {
        rig.clock.advance(Duration::from_secs(3_599));
        let begun = std::thread::scope(|threads| {
            let begin = |n: u32| {
                let rig = &rig;
                threads.spawn(move || rig.begin(&format!("{period}-{n}"), steps(5)).is_ok())
            };
            let threads: Vec<_> = (0..8).map(begin).collect();
            rig.clock.advance(Duration::from_secs(1));
            threads.into_iter().map(|thread| u64::from(thread.join().unwrap())).sum::<u64>()
        });
        assert!(begun <= 1);
        assert!(rig.used("runs") <= 1);
        rig.clock.advance(Duration::from_secs(3_600));
        assert!(rig.begin("next", steps(5)).is_ok());
        assert!(rig.begin("next", steps(5)).is_err());
    }
}

#[test]
fn steps_run_out_and_say_how_many_there_were() {
    let rig = rig(10, false);
    let workflow = rig.begin("wf-1", steps(2)).unwrap();
    assert!(workflow.can_continue());
    let first = workflow.step().unwrap();
    assert_eq!((first.taken(), first.remaining(), first.can_continue()), (1, Cap::Max(1), true));
    let last = workflow.step().unwrap();
    assert_eq!((last.taken(), last.remaining(), last.can_continue()), (2, Cap::Max(0), false));
    for _ in 0..2 {
        let error = workflow.step().unwrap_err();
        assert_eq!(error, StepError::Limit { of: Counted::Steps, current: 2, limit: 2 });
    }
    assert!(!workflow.can_continue() && !workflow.has_ended());
    let none = rig.begin("wf-2", steps(0)).unwrap();
    assert_eq!(none.step().unwrap_err(), StepError::Limit { of: Counted::Steps, current: 0, limit: 0 });
    let unlimited = rig.begin("wf-3", WorkflowSpec::new()).unwrap();
    assert_eq!((unlimited.step().unwrap().taken(), unlimited.steps().remaining()), (1, Cap::Unlimited));
}

/// Known defects B-H9 and B-H12: clones had counters of their own, and a step at the limit could lose the limit for good.
#[test]
fn b_h9_b_h12_a_step_limit_admits_exactly_as_many_from_all_threads_and_clones() {
    const LIMIT: u64 = 5_000;
    let rig = rig(10, false);
    let workflow = rig.begin("wf", steps(LIMIT).tool("search", LIMIT / 2)).unwrap();
    let (stepped, called) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|threads| {
        for clone in [(); 8].map(|()| workflow.clone()) {
            let (stepped, called) = (&stepped, &called);
            threads.spawn(move || {
                for _ in 0..LIMIT / 4 {
                    stepped.fetch_add(u64::from(clone.step().is_ok()), Ordering::Relaxed);
                    called.fetch_add(u64::from(clone.tool_call("search").is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((stepped.into_inner(), called.into_inner()), (LIMIT, LIMIT / 2));
    assert_eq!(workflow.steps().taken(), LIMIT);
    assert!(workflow.step().is_err() && rig.engine.active_workflows() == 1);
}

/// Known defect B-H11: tokens went on after the end, and active entries never went away.
#[test]
fn b_h11_an_ended_workflow_admits_nothing() {
    let rig = rig(10, false);
    let usd = rig.engine.resource("usd").unwrap();
    let workflow = rig.begin("wf", steps(5).tool("search", 5).budget(usd, 500)).unwrap();
    let (clone, scope) = (workflow.clone(), workflow.scope().clone());
    let open = scope.reserve(usd.of(100)).unwrap();
    clone.step().unwrap();
    workflow.end();
    let ended = clone.step().unwrap_err();
    assert_eq!(format!("{ended:#}"), "the workflow \"wf\" has ended");
    assert!(matches!(clone.tool_call("search"), Err(StepError::Ended(_))));
    assert!(matches!(scope.try_charge(usd.of(1)), Err(ChargeError::Ended(_))));
    assert!(matches!(scope.reserve(usd.of(1)), Err(ChargeError::Ended(_))));
    assert!(matches!(scope.check(), Err(ChargeError::Ended(_))));
    assert!(matches!(scope.check_cost(&usd.of(1)), Err(ChargeError::Ended(_))));
    assert!(open.try_extend(usd.of(1)).is_err(), "what is open does not grow");
    assert!(matches!(scope.check_in(&[usd]), Err(ChargeError::Ended(_))));
    let starts = rig.engine.resource("starts").unwrap();
    assert!(matches!(scope.charge_in_order([starts, usd], 1), Err(ChargeError::Ended(_))), "in whatever order");
    assert_eq!(scope.afford(usd).unwrap(), Cap::Max(0));
    let nested = scope.begin_workflow("inner", WorkflowSpec::new().no_place());
    assert!(matches!(nested, Err(WorkflowError::Charge(ChargeError::Ended(_)))));
    assert_eq!((clone.steps().taken(), clone.tool_calls("search").unwrap().taken()), (1, 0));
    open.commit(usd.of(150)).unwrap();
    assert_eq!((rig.used("usd-day"), clone.usage()[2].used), (150, 150), "what was open settles");
    scope.record(usd.of(10)).unwrap();
    scope.record_in_order([usd, usd], 5).unwrap();
    assert_eq!(rig.used("usd-day"), 165, "what was spent counts");
}

#[test]
fn a_step_that_races_with_the_end_counts_before_it_or_is_refused() {
    let rig = rig(1_000, false);
    for round in 0..300 {
        let workflow = rig.begin(&format!("wf-{round}"), steps(1_000_000).no_place()).unwrap();
        let go = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let stepping = || {
                while !go.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                let mut taken = 0;
                while workflow.step().is_ok() {
                    taken += 1;
                }
                taken
            };
            let steppers = [threads.spawn(stepping), threads.spawn(stepping)];
            go.store(true, Ordering::Release);
            workflow.end();
            let counted = workflow.steps().taken();
            let stepped: u64 = steppers.into_iter().map(|stepper| stepper.join().unwrap()).sum();
            assert_eq!((counted, workflow.steps().taken()), (stepped, stepped), "none after the end");
        });
    }
}

#[test]
fn a_workflow_ends_with_its_last_handle_and_leaves_nothing() {
    let rig = rig(1_000, false);
    let workflow = rig.begin("wf", steps(5)).unwrap();
    let (clone, scope) = (workflow.clone(), workflow.scope().clone());
    drop(workflow);
    assert_eq!(rig.engine.active_workflows(), 1);
    clone.step().unwrap();
    let panics = std::thread::spawn(move || {
        let _clone = clone;
        panic!("expected: the task fails");
    });
    assert!(panics.join().is_err());
    assert_eq!(rig.engine.active_workflows(), 0);
    assert!(scope.check().is_err(), "a scope does not keep it");
    assert!(rig.begin("wf", steps(5)).is_ok(), "its id is free");
}

#[test]
fn tools_have_limits_of_their_own_and_an_unknown_one_is_an_error() {
    let rig = rig(10, false);
    let spec = WorkflowSpec::new().tool("search", 2).tool("write", 1).tool("write", 0);
    let workflow = rig.begin("wf-1", spec.clone()).unwrap();
    assert_eq!(workflow.tool_call("search").unwrap().remaining(), Cap::Max(1));
    assert_eq!(workflow.tool_call("search").unwrap().remaining(), Cap::Max(0));
    let error = workflow.tool_call("search").unwrap_err();
    assert_eq!(error, StepError::Limit { of: Counted::Tool("search".into()), current: 2, limit: 2 });
    assert_eq!(error.to_string(), "2 of 2 calls of the tool \"search\" have been made");
    assert!(matches!(workflow.tool_call("write"), Err(StepError::Limit { limit: 0, .. })), "named again: replaced");
    let error = workflow.tool_call("serach").unwrap_err();
    assert_eq!(error.to_string(), "the tool \"serach\" is not one of the workflow; it has: search, write");
    assert_eq!(workflow.steps().taken(), 0, "a call is no step");

    let workflow = rig.begin("wf-2", spec.other_tools(Cap::Max(2))).unwrap();
    assert!(workflow.tool_call("read").is_ok() && workflow.tool_call("list").is_ok());
    let error = workflow.tool_call("read").unwrap_err();
    assert_eq!(error, StepError::Limit { of: Counted::OtherTools, current: 2, limit: 2 });
    assert!(workflow.tool_call("search").is_ok());
}

#[test]
fn declared_resources_count_steps_and_tool_calls_too_all_or_none() {
    let rig = rig(10, true);
    let workflow = rig.begin("wf-1", steps(100).tool("search", 100).tool("read", 100)).unwrap();
    for _ in 0..3 {
        workflow.tool_call("search").unwrap();
    }
    let refused = workflow.tool_call("search").unwrap_err();
    assert_eq!(&*refused.refusal().unwrap().primary().limit, "all-searches");
    for _ in 0..6 {
        workflow.tool_call("read").unwrap();
    }
    assert_eq!(&*workflow.tool_call("read").unwrap_err().refusal().unwrap().primary().limit, "all-tools");
    assert_eq!(workflow.tool_calls("read").unwrap().taken(), 6, "a refused call is counted nowhere");
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..12 {
        match workflow.step() {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(&*error.refusal().unwrap().primary().limit, "all-steps");
                refused += 1;
            }
        }
    }
    assert_eq!((taken, refused, workflow.steps().taken(), rig.used("all-steps")), (9, 3, 9, 9));
    rig.clock.advance(Duration::from_secs(3_600));
    assert_eq!(workflow.step().unwrap().taken(), 10, "the workflow's count goes on in the next hour");
    let short = rig.begin("wf-2", steps(0)).unwrap();
    assert!(matches!(short.step(), Err(StepError::Limit { .. })));
    assert_eq!(rig.used("all-steps"), 1);
}

#[test]
fn own_budgets_are_nested_under_those_of_the_starter() {
    let rig = rig(10, false);
    let usd = rig.engine.resource("usd").unwrap();
    let outer = rig.begin("outer", WorkflowSpec::new().budget(usd, 700)).unwrap();
    let inner = outer.scope().begin_workflow("inner", WorkflowSpec::new().budget(usd, 500)).unwrap();
    assert_eq!(rig.used("runs"), 2);
    inner.scope().try_charge(usd.of(400)).unwrap();
    let error = inner.scope().try_charge(usd.of(200)).unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.primary().subject.to_string(), "workflow:inner");
    assert_eq!(refusal.retry(), Retry::Never);
    outer.scope().try_charge(usd.of(250)).unwrap();
    let error = inner.scope().try_charge(usd.of(100)).unwrap_err();
    assert_eq!(error.refusal().unwrap().primary().subject.to_string(), "workflow:outer");
    assert_eq!((rig.used("usd-day"), outer.usage()[1].used, inner.usage()[1].used), (650, 650, 400));
    outer.end();
    assert!(matches!(inner.scope().try_charge(usd.of(1)), Err(ChargeError::Ended(_))), "inside an ended one");
    assert!(matches!(inner.step(), Err(StepError::Ended(ended)) if ended.subject().id() == "outer"));
}

#[test]
fn a_leaked_workflow_with_a_time_to_live_ends_in_time() {
    let rig = rig(10, false);
    let ttl = Duration::from_secs(60);
    let workflow = rig.begin("wf", steps(5).ttl(ttl)).unwrap();
    rig.clock.advance(Duration::from_secs(59));
    assert!(workflow.renew(ttl) && workflow.step().is_ok());
    rig.clock.advance(Duration::from_secs(59));
    workflow.step().unwrap();
    rig.clock.advance(Duration::from_secs(1));
    assert!(matches!(workflow.step(), Err(StepError::Ended(_))), "steps do not prolong it");
    assert!(!workflow.renew(ttl));
    assert_eq!((workflow.expires_at(), workflow.has_ended(), rig.engine.active_workflows()), (None, true, 0));

    std::mem::forget(rig.begin("wf", steps(5).ttl(ttl)).unwrap());
    assert!(rig.begin("wf", steps(5)).is_err());
    rig.clock.advance(ttl);
    assert_eq!(rig.engine.sweep().expired, 1);
    assert!(rig.begin("wf", steps(5)).is_ok());
    let endless = rig.begin("endless", steps(5)).unwrap();
    assert_eq!((endless.expires_at(), rig.engine.active_workflows()), (None, 1));
    assert!(endless.renew(ttl), "it gets one");
    rig.clock.advance(ttl);
    assert_eq!(rig.engine.active_workflows(), 0);
}

#[test]
fn what_does_not_begin_takes_no_place() {
    let rig = rig(10, false);
    let (usd, starts) = (rig.engine.resource("usd").unwrap(), rig.engine.resource("starts").unwrap());
    let other = Engine::new(rig.engine.policy()).resource("usd").unwrap();
    let wrong = [
        rig.begin("", steps(1)),
        rig.begin(&"x".repeat(257), steps(1)),
        rig.begin("wf", steps(u64::MAX)),
        rig.begin("wf", steps(1).budget(usd, u64::MAX)),
        rig.begin("wf", steps(1).budget(other, 1)),
        rig.begin("wf", (0..70).fold(steps(1), |spec, n| spec.tool(&format!("tool-{n}"), 1))),
    ];
    assert!(matches!(wrong[0], Err(WorkflowError::Id(_))) && matches!(wrong[1], Err(WorkflowError::Id(_))));
    assert!(matches!(wrong[2], Err(WorkflowError::Cap { .. })) && matches!(wrong[3], Err(WorkflowError::Cap { .. })));
    assert!(matches!(wrong[4], Err(WorkflowError::Charge(ChargeError::UnknownResource(_)))));
    assert!(matches!(wrong[5], Err(WorkflowError::Charge(ChargeError::Scope(_)))));
    assert_eq!((rig.used("runs"), rig.engine.active_workflows()), (0, 0));
    let first = rig.begin("wf", steps(1).place(starts)).unwrap();
    assert_eq!((rig.used("runs"), rig.used("starts")), (0, 1));
    assert!(rig.begin("other", steps(1).place(starts)).is_err());
    assert!(rig.begin("other", steps(1).no_place()).is_ok());
    drop(first);
    assert!(rig.begin("wf", steps(1)).is_ok(), "a refused id is free");
}

#[test]
fn active_workflows_are_bounded_as_holds_are() {
    let rig = rig(10, false);
    let engine = Engine::builder(rig.engine.policy()).clock(&rig.clock).max_holds(1).build();
    let scope = engine.scope(["agent:a"]).unwrap();
    let _one = scope.begin_workflow("one", steps(1)).unwrap();
    let two = scope.begin_workflow("two", steps(1)).unwrap_err();
    assert_eq!(two, WorkflowError::Charge(ChargeError::TooManyHolds { max: 1 }));
    assert_eq!(scope.usage().unwrap()[0].used, 1);
}

/// Of which nothing is ever taken.
struct NoWallet;

impl Wallet for NoWallet {
    fn charge(&self, _: &Subject, _: u64) -> Result<(), WalletError> {
        panic!("nothing is sold after the end");
    }

    fn refund(&self, _: &Subject, _: u64) -> Result<(), WalletError> {
        Ok(())
    }
}

/// Found by reading: these ways in passed no gate.
#[test]
fn what_pays_in_order_and_paid_resets_pass_the_gate_too() {
    let policy = Policy::builder()
        .resource("included", Unit::Count)
        .resource("credits", Unit::Count)
        .limit(Limit::new("day", "agent", "included", Window::Day, Cap::Max(10)))
        .limit(Limit::new("credit", "agent", "credits", Window::Lifetime, Cap::Max(100)))
        .reset(PaidReset::new("fresh", "day").price(5).credits("credits").max_per_window(Cap::Unlimited))
        .build()
        .unwrap();
    let engine = Engine::new(policy);
    let order = ["included", "credits"].map(|name| engine.resource(name).unwrap());
    let starter = engine.scope(["agent:a"]).unwrap();
    let workflow = starter.begin_workflow("wf", WorkflowSpec::new()).unwrap();
    let scope = workflow.scope();
    assert_eq!(scope.charge_in_order(order, 10).unwrap().charged(), &order[0].of(10));
    workflow.end();
    assert!(matches!(scope.charge_in_order(order, 1), Err(ChargeError::Ended(_))));
    assert!(matches!(scope.check_in(&order[1..]), Err(ChargeError::Ended(_))));
    let error = scope.paid_reset("fresh").unwrap_err();
    assert!(matches!(error, ResetError::Ended(_)) && error.name() == "ended", "{error:?}");
    assert!(matches!(scope.paid_reset_with("fresh", &NoWallet), Err(ResetError::Ended(_))));
    assert_eq!(starter.usage().unwrap().iter().map(|budget| budget.used).collect::<Vec<_>>(), [10, 0, 0]);
}
