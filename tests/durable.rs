//! Engines that survive restarts: closed and opened again, and killed at rest, which is a copy of the directory.

#![allow(clippy::similar_names, reason = "`killed` engines have `held` amounts and `hold`s")]

mod durable_rig;

use std::time::Duration;

use encumber::{
    Cap, ChargeError, Component, Enforcement, Engine, Events, Limit, LostGuards, OpenError, Persist, Policy,
    PolicyBuilder, ReserveError, Reset, Subject, Timestamp, Unit, Window, WorkflowSpec,
};

use durable_rig::{Dir, START, builder, clock, open, usage, used};

#[test]
fn what_is_closed_is_opened_as_it_was() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(123)).unwrap();
    engine.scope(["agent:a"]).unwrap().try_charge(tokens.of(77)).unwrap();
    clock.advance(Duration::from_secs(1_200));
    engine.scope(["agent:a"]).unwrap().record(tokens.of(900)).unwrap();
    let before = [usage(&engine, "user:7"), usage(&engine, "agent:a")];
    engine.close().unwrap();
    let again = open(&dir, &clock);
    assert_eq!([usage(&again, "user:7"), usage(&again, "agent:a")], before);
    let report = again.recovery().unwrap();
    assert!(report.was_closed && report.torn.is_none() && report.clock_behind.is_none(), "{report:?}");
    assert_eq!(report.budgets, 6 - 1, "day, life, team, rolling, session");
    clock.advance(Duration::from_secs(2_500));
    assert_eq!(used(&again, "agent:a", "rolling"), 900, "the first 77 have left the hour");
    drop(again);
    clock.advance(Duration::from_secs(24 * 3_600));
    let next = open(&dir, &clock);
    assert_eq!((used(&next, "user:7", "day"), used(&next, "user:7", "life")), (0, 123));
}

#[test]
fn what_leaves_a_rolling_window_while_the_engine_is_down_has_left() {
    for down_minutes in [0, 20, 35, 50, 70, 200] {
        let (dir, clock) = (Dir::new(), clock());
        let engine = open(&dir, &clock);
        let tokens = engine.resource("tokens").unwrap();
        let scope = engine.scope(["agent:a"]).unwrap();
        scope.try_charge(tokens.of(300)).unwrap();
        clock.advance(Duration::from_secs(30 * 60));
        scope.try_charge(tokens.of(200)).unwrap();
        engine.close().unwrap();
        clock.advance(Duration::from_secs(down_minutes * 60));
        let again = open(&dir, &clock);
        let left = match down_minutes {
            0..30 => 500,
            30..60 => 200,
            _ => 0,
        };
        assert_eq!(used(&again, "agent:a", "rolling"), left, "down for {down_minutes} minutes");
        let tokens = again.resource("tokens").unwrap();
        again.scope(["agent:a"]).unwrap().try_charge(tokens.of(1_000 - left)).unwrap();
        clock.advance(Duration::from_secs(65 * 60));
        assert_eq!(used(&again, "agent:a", "rolling"), 0, "down for {down_minutes} minutes");
    }
}

#[test]
fn a_kill_never_under_counts_and_over_counts_by_a_step() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7", "agent:a"]).unwrap();
    let mut total = 0;
    for amount in [1, 2, 3, 500, 7, 150, 1] {
        scope.try_charge(tokens.of(amount)).unwrap();
        total += amount;
        let killed = dir.killed();
        let again = open(&killed, &clock);
        assert!(!again.recovery().unwrap().was_closed);
        for (limit, subject, step) in [
            ("day", "user:7", 100),
            ("life", "user:7", 1_000),
            ("team", "user:7", total / 64),
            ("rolling", "agent:a", 0),
            ("session", "agent:a", 2_000 / 64),
        ] {
            let found = used(&again, subject, limit);
            assert!((total..=total + step.max(amount)).contains(&found), "{limit}: {found} of {total}");
        }
    }
}

#[test]
fn what_is_given_back_is_given_back_after_a_kill_but_for_a_step() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let holds: Vec<_> = (0..10).map(|_| scope.reserve(tokens.of(600)).unwrap()).collect();
    assert!(used(&open(&dir.killed(), &clock), "user:7", "day") >= 6_000);
    for hold in holds {
        hold.commit(tokens.of(10)).unwrap();
    }
    let found = used(&open(&dir.killed(), &clock), "user:7", "day");
    assert!((100..=100 + 600).contains(&found), "{found}");
    let receipt = scope.record(tokens.of(5_000)).unwrap();
    engine.refund(&receipt, &tokens.of(5_000)).unwrap();
    let found = used(&open(&dir.killed(), &clock), "user:7", "day");
    assert!((100..=100 + 5_000).contains(&found), "{found}");
    scope.reset(&Reset::limit("day")).unwrap();
    let found = used(&open(&dir.killed(), &clock), "user:7", "day");
    assert!(found <= 100, "{found}");
}

#[test]
fn holds_under_ids_survive_and_can_be_settled() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let ttl = Duration::from_secs(300);
    let _open = scope.reserve_with_id("req-1", ttl, tokens.of(640)).unwrap();
    scope.reserve_with_id("req-2", ttl, tokens.of(64)).unwrap().commit(tokens.of(32)).unwrap();
    scope.reserve_with_id("req-3", ttl, tokens.of(64)).unwrap().release().unwrap();
    let killed = open(&dir.killed(), &clock);
    let report = killed.recovery().unwrap().clone();
    assert_eq!(report.holds.len(), 1, "{report:?}");
    assert_eq!((report.holds[0].id.to_string(), report.holds[0].charged), ("req-1".to_owned(), None));
    assert_eq!(&report.holds[0].held, &[("tokens".into(), 640)]);
    let again = killed.scope(["user:7"]).unwrap();
    let tokens = killed.resource("tokens").unwrap();
    assert!(again.reserve_with_id("req-1", ttl, tokens.of(640)).unwrap().is_replayed());
    assert_eq!(again.reserve_with_id("req-1", ttl, tokens.of(1)).unwrap_err(), ReserveError::Conflict);
    for id in ["req-2", "req-3"] {
        assert_eq!(again.reserve_with_id(id, ttl, tokens.of(64)).unwrap_err(), ReserveError::Settled);
    }
    assert_eq!(again.usage().unwrap()[0].held, 640);
    let hold = killed.resume(&"req-1".parse().unwrap()).unwrap();
    let before = again.usage().unwrap()[0].charged();
    let receipt = hold.commit(tokens.of(40)).unwrap();
    assert_eq!((again.usage().unwrap()[0].charged(), again.usage().unwrap()[0].held), (before - 600, 0));
    assert!(killed.refund(&receipt, &tokens.of(40)).is_ok());
}

#[test]
fn a_hold_whose_time_runs_out_after_a_restart_is_charged() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let _id = scope.reserve(tokens.of(640)).unwrap().detach(Duration::from_secs(60)).unwrap();
    engine.close().unwrap();
    let again = open(&dir, &clock);
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 0, 640));
    clock.advance(Duration::from_secs(60));
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 640, 0), "its call may have gone out");
}

#[test]
fn lost_guards_are_charged_or_as_the_host_chose() {
    for (guards, dispatch, charged) in [
        (LostGuards::Charge, false, Some(true)),
        (LostGuards::ByDispatch, false, Some(false)),
        (LostGuards::ByDispatch, true, Some(true)),
        (LostGuards::Keep, false, None),
    ] {
        let (dir, clock) = (Dir::new(), clock());
        let persist = |dir: &Dir| Persist::journal(dir.path()).lost_guards(guards);
        let engine = builder(&clock).persist(persist(&dir)).build().unwrap();
        let tokens = engine.resource("tokens").unwrap();
        let hold = engine.scope(["user:7"]).unwrap().reserve_for(tokens.of(640), Duration::from_secs(60)).unwrap();
        if dispatch {
            hold.dispatched();
        }
        let killed = dir.killed();
        let again = builder(&clock).persist(persist(&killed)).build().unwrap();
        let report = again.recovery().unwrap();
        assert_eq!((report.holds.len(), report.holds[0].charged), (1, charged), "{guards:?} {dispatch}");
        let (_, used, open) = usage(&again, "user:7").swap_remove(0);
        let expected = match charged {
            Some(true) => (640, 0),
            Some(false) => (0, 0),
            None => (0, 640),
        };
        assert_eq!((used, open), expected, "{guards:?} {dispatch}");
        again.close().unwrap();
        let third = builder(&clock).persist(persist(&killed)).build().unwrap();
        let left = third.recovery().unwrap().holds.len();
        assert_eq!(
            (usage(&third, "user:7").swap_remove(0).1, left),
            (expected.0, usize::from(charged.is_none())),
            "once"
        );
    }
}

#[test]
fn a_guard_is_answerable_from_the_first_record_on() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let _hold = engine.scope(["user:7"]).unwrap().reserve_for(tokens.of(640), Duration::from_secs(60)).unwrap();
    let again = open(&dir.killed(), &clock);
    let report = again.recovery().unwrap();
    assert_eq!(report.holds[0].charged, Some(true));
    assert_eq!(report.records, 1, "the hold and what it charged, in one");
}

#[test]
fn lost_guards_are_settled_once_however_often_the_engine_is_killed() {
    for (guards, used_then) in [(LostGuards::Charge, 640), (LostGuards::ByDispatch, 0)] {
        let (dir, clock) = (Dir::new(), clock());
        let open = |dir: &Dir| {
            let persist = Persist::journal(dir.path()).lost_guards(guards);
            builder(&clock).persist(persist).build().unwrap()
        };
        let engine = open(&dir);
        let tokens = engine.resource("tokens").unwrap();
        let scope = engine.scope(["user:7"]).unwrap();
        scope.try_charge(tokens.of(1_000)).unwrap();
        let day = |engine: &Engine| usage(engine, "user:7").swap_remove(0);
        let counted = day(&open(&dir.killed())).1;
        let _hold = scope.reserve_for(tokens.of(640), Duration::from_secs(60)).unwrap();
        let killed = dir.killed();
        let again = open(&killed);
        assert_eq!(again.recovery().unwrap().holds.len(), 1, "{guards:?}");
        assert_eq!((day(&again).1, day(&again).2), (counted + used_then, 0), "{guards:?}");
        for (how, third) in [("killed", killed.killed()), ("closed", killed)] {
            if how == "closed" {
                again.close().unwrap();
            }
            let third = open(&third);
            let report = third.recovery().unwrap();
            assert!(report.holds.is_empty(), "{guards:?} {how}: {report:?}");
            assert_eq!((day(&third).1, day(&third).2), (counted + used_then, 0), "{guards:?} {how}");
        }
    }
}

#[test]
fn slots_workflows_and_grants_survive() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let (tokens, credits) = (engine.resource("tokens").unwrap(), engine.resource("credits").unwrap());
    let user = Subject::new("user", "7").unwrap();
    engine.top_up(&user, "credit", 500).unwrap();
    engine.set_override(&user, "day", Some(Cap::Max(64_000))).unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let spec = WorkflowSpec::new().steps(3).tool("search", 5).budget(tokens, 1_000);
    let workflow = scope.begin_workflow("wf-1", spec).unwrap();
    workflow.step().unwrap();
    workflow.step().unwrap();
    workflow.tool_call("search").unwrap();
    let ended = scope.begin_workflow("wf-2", WorkflowSpec::new()).unwrap();
    ended.end();
    let hold = workflow.scope().reserve(tokens.of(600)).unwrap().detach(Duration::from_secs(60)).unwrap();
    scope.slot_with_id(credits, "stream", Duration::from_secs(60)).unwrap().detach();
    let killed = open(&dir.killed(), &clock);
    let report = killed.recovery().unwrap();
    assert_eq!(report.workflows.iter().map(|found| (&*found.id, found.steps)).collect::<Vec<_>>(), [("wf-1", 2)]);
    assert_eq!(killed.active_workflows(), 1);
    let again = killed.scope(["user:7"]).unwrap();
    let (tokens, credits) = (killed.resource("tokens").unwrap(), killed.resource("credits").unwrap());
    assert_eq!(again.usage().unwrap()[0].cap, Cap::Max(64_000));
    assert!(again.slot_with_id(credits, "stream", Duration::from_secs(60)).unwrap().is_replayed());
    again.try_charge(credits.of(499)).unwrap();
    assert!(again.try_charge(credits.of(1)).is_err());
    assert!(again.begin_workflow("wf-1", WorkflowSpec::new()).is_err(), "it is active");
    let resumed = killed.resume_workflow("wf-1").unwrap();
    assert_eq!(resumed.usage()[2].held, 600);
    assert!(resumed.scope().try_charge(tokens.of(401)).is_err());
    killed.resume(hold.id()).unwrap().commit(tokens.of(100)).unwrap();
    resumed.scope().try_charge(tokens.of(401)).unwrap();
    assert_eq!(resumed.tool_calls("search").unwrap().taken(), 1);
    assert_eq!(resumed.step().unwrap().taken(), 3);
    assert!(resumed.step().is_err());
    drop(resumed);
    assert_eq!(killed.active_workflows(), 0);
    assert!(killed.resume_workflow("wf-1").is_err());
}

#[test]
fn a_slot_that_was_found_is_free_again_once_its_time_has_run_out() {
    for guards in [LostGuards::Charge, LostGuards::ByDispatch, LostGuards::Keep] {
        let (dir, clock) = (Dir::new(), clock());
        let open = |dir: &Dir| {
            let persist = Persist::journal(dir.path()).lost_guards(guards);
            builder(&clock).persist(persist).build().unwrap()
        };
        let engine = open(&dir);
        let user = Subject::new("user", "7").unwrap();
        engine.top_up(&user, "credit", 1).unwrap();
        let credits = engine.resource("credits").unwrap();
        let _slot = engine.scope(["user:7"]).unwrap().slot(credits, Duration::from_secs(60)).unwrap();
        for dir in [dir.killed(), dir.killed().killed()] {
            let again = open(&dir);
            let (scope, credits) = (again.scope(["user:7"]).unwrap(), again.resource("credits").unwrap());
            assert!(scope.slot(credits, Duration::from_secs(60)).is_err(), "{guards:?}: it is taken");
        }
        clock.advance(Duration::from_secs(60));
        let again = open(&dir.killed());
        let (scope, credits) = (again.scope(["user:7"]).unwrap(), again.resource("credits").unwrap());
        let _slot = scope.slot(credits, Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn a_closed_engine_refuses_and_the_directory_is_free() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(tokens.of(5)).unwrap();
    assert!(matches!(builder(&clock).persist(Persist::journal(dir.path())).build(), Err(OpenError::AlreadyOpen(_))));
    engine.close().unwrap();
    assert_eq!(scope.try_charge(tokens.of(1)).unwrap_err(), ChargeError::Degraded(Component::Store));
    assert!(engine.close().is_ok() && engine.snapshot_now().unwrap_err().is_closed());
    let again = open(&dir, &clock);
    assert_eq!(used(&again, "user:7", "day"), 5);
}

#[test]
fn a_clock_that_is_behind_starts_no_window_again() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    clock.advance(Duration::from_secs(24 * 3_600));
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(6_400)).unwrap();
    engine.close().unwrap();
    clock.set(START.parse::<Timestamp>().unwrap());
    let again = open(&dir, &clock);
    let behind = again.recovery().unwrap().clock_behind;
    assert_eq!(behind, Some(Duration::from_secs(24 * 3_600)));
    assert!(again.scope(["user:7"]).unwrap().try_charge(again.resource("tokens").unwrap().of(1)).is_err());
    let other = again.scope(["user:8"]).unwrap();
    let tokens = again.resource("tokens").unwrap();
    other.try_charge(tokens.of(6_400)).unwrap();
    clock.advance(Duration::from_secs(24 * 3_600));
    assert!(other.try_charge(tokens.of(1)).is_err(), "the window that was granted early is not granted twice");
}

#[test]
fn snapshots_alone_keep_what_was_there_when_they_were_made() {
    let (dir, clock) = (Dir::new(), clock());
    let persist = |dir: &Dir| Persist::snapshot(dir.path(), Duration::from_secs(3_600));
    let engine = builder(&clock).persist(persist(&dir)).build().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(tokens.of(5)).unwrap();
    let _hold = scope.reserve_with_id("req-1", Duration::from_secs(60), tokens.of(7)).unwrap();
    engine.snapshot_now().unwrap();
    scope.try_charge(tokens.of(100)).unwrap();
    let killed = dir.killed();
    let again = builder(&clock).persist(persist(&killed)).build().unwrap();
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 5, 7));
    engine.close().unwrap();
    let again = builder(&clock).persist(persist(&dir)).build().unwrap();
    assert_eq!(usage(&again, "user:7")[0], ("day".to_owned(), 105, 7));
    // And a journal goes on from there.
    drop(again);
    assert_eq!(usage(&open(&dir, &clock), "user:7")[0], ("day".to_owned(), 105, 7));
}

#[test]
fn ids_that_the_engine_gives_are_new_after_a_restart() {
    let (dir, clock) = (Dir::new(), clock());
    let mut ids = Vec::new();
    for _ in 0..5 {
        let engine = open(&dir, &clock);
        let tokens = engine.resource("tokens").unwrap();
        let hold = engine.scope(["user:7"]).unwrap().reserve(tokens.of(1)).unwrap();
        ids.push(hold.detach(Duration::from_secs(60)).unwrap().id().clone());
        engine.close().unwrap();
    }
    let engine = open(&dir, &clock);
    assert_eq!(engine.recovery().unwrap().holds.len(), 5, "{ids:?}");
}

#[test]
fn what_has_left_a_rolling_window_meanwhile_counts_no_more() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    engine.scope(["agent:a"]).unwrap().try_charge(tokens.of(77)).unwrap();
    engine.close().unwrap();
    clock.advance(Duration::from_secs(2 * 3_600));
    let again = open(&dir, &clock);
    assert_eq!(used(&again, "agent:a", "rolling"), 0);
    let scope = again.scope(["agent:a"]).unwrap();
    scope.try_charge(again.resource("tokens").unwrap().of(5)).unwrap();
    assert_eq!(used(&again, "agent:a", "rolling"), 5);
}

#[test]
fn a_window_that_began_with_a_hold_that_was_given_back_has_begun() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let session = |engine: &Engine| {
        let usage = engine.scope(["agent:a"]).unwrap().usage().unwrap();
        usage.into_iter().find(|budget| &*budget.limit == "session").and_then(|budget| budget.bounds)
    };
    engine.scope(["agent:a"]).unwrap().reserve(tokens.of(77)).unwrap().release().unwrap();
    let before = session(&engine);
    assert!(before.is_some());
    engine.close().unwrap();
    assert_eq!(session(&open(&dir, &clock)), before);
}

#[test]
fn a_window_that_ends_after_a_restart_is_remembered() {
    let (dir, clock) = (Dir::new(), clock());
    let yesterday = clock.now();
    let engine = open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(tokens.of(500)).unwrap();
    let id = scope.reserve(tokens.of(640)).unwrap().detach(Duration::from_secs(9 * 3_600)).unwrap().id().clone();
    engine.close().unwrap();
    clock.advance(Duration::from_secs(4 * 3_600));
    let again = open(&dir, &clock);
    let (scope, tokens) = (again.scope(["user:7"]).unwrap(), again.resource("tokens").unwrap());
    scope.try_charge(tokens.of(1)).unwrap();
    let day = || scope.usage_at(yesterday).unwrap().swap_remove(0).map(|budget| budget.charged());
    assert_eq!(day(), Some(1_140));
    let receipt = again.resume(&id).unwrap().commit(tokens.of(100)).unwrap();
    assert!(receipt.is_late());
    assert_eq!(day(), Some(600));
}

#[test]
fn a_hold_that_was_settled_before_it_got_an_id_stays_settled() {
    for committed in [true, false] {
        let (dir, clock) = (Dir::new(), clock());
        let engine = open(&dir, &clock);
        let tokens = engine.resource("tokens").unwrap();
        let hold = engine.scope(["user:7"]).unwrap().reserve(tokens.of(640)).unwrap();
        if committed {
            hold.commit(tokens.of(100)).unwrap();
        } else {
            hold.release().unwrap();
        }
        let id = hold.detach(Duration::from_secs(60)).unwrap().id().clone();
        for dir in [dir.killed(), {
            engine.close().unwrap();
            dir
        }] {
            let again = open(&dir, &clock);
            assert_eq!(again.recovery().unwrap().holds, [], "committed: {committed}");
            let (hold, tokens) = (again.resume(&id).unwrap(), again.resource("tokens").unwrap());
            assert!(!hold.is_open());
            assert_eq!(hold.commit(tokens.of(100)).is_ok(), committed);
            assert!(hold.release().is_err());
        }
    }
}

/// The same calls on an engine in memory, and on one that is closed and opened again between them: each tells the same.
#[test]
fn what_a_listener_is_told_is_the_same_with_restarts_between() {
    const SEED: u64 = 20_260_204;
    let limits = || {
        ["day", "lifetime", "rolling 1h", "5h from first use", "hour"].into_iter().enumerate().map(|(index, window)| {
            let limit = Limit::new(&format!("limit-{index}"), "user", "tokens", window.parse().unwrap(), Cap::Max(100));
            let enforcement = if index % 2 == 0 { Enforcement::Soft } else { Enforcement::Shadow };
            limit.warn_percent([50, 80]).enforcement(enforcement)
        })
    };
    let policy = || limits().fold(Policy::builder().resource("tokens", Unit::Count), PolicyBuilder::limit).build();
    let (clock, dir) = (clock(), Dir::new());
    let (told, told_again) = (Events::bounded(1_000), Events::bounded(1_000));
    let builder = |events: &Events| Engine::builder(policy().unwrap()).clock(&clock).events(events);
    let open = || builder(&told_again).persist(Persist::journal(dir.path()).os()).build().unwrap();
    let names = |events: &Events| -> Vec<String> {
        let kinds = events.drain().filter(|event| event.name() != "recovered");
        kinds.map(|event| format!("{:?}", event.kind)).collect()
    };
    let (engine, mut random, mut count) = (builder(&told).build(), SEED, 0);
    for step in 0..120 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (what, amount) = (random >> 33 & 7, random >> 40 & 31);
        let again = open();
        for engine in [&engine, &again] {
            let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
            match what {
                0..3 => drop(scope.try_charge(tokens.of(amount)).unwrap()),
                3 => drop(scope.record(tokens.of(amount)).unwrap()),
                4 => scope.reserve(tokens.of(amount)).unwrap().release().unwrap(),
                5 => drop(scope.reserve(tokens.of(amount)).unwrap().commit(tokens.of(amount / 2)).unwrap()),
                _ => {}
            }
        }
        if what > 5 {
            clock.advance(Duration::from_secs(amount * 120));
        }
        again.close().unwrap();
        let expected = names(&told);
        count += expected.len();
        assert_eq!(names(&told_again), expected, "step {step} of seed {SEED}");
    }
    assert!(count > 40, "{count}");
}

#[test]
fn an_id_whose_hold_gave_a_part_away_is_still_of_what_was_asked() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = open(&dir, &clock);
    let (tokens, ttl) = (engine.resource("tokens").unwrap(), Duration::from_secs(60));
    let reserve =
        |engine: &Engine| engine.scope(["user:7"]).unwrap().reserve_with_id("req", ttl, tokens_of(engine, 640));
    let hold = reserve(&engine).unwrap().attach();
    hold.split(tokens.of(100)).unwrap().release().unwrap();
    let _id = hold.detach(ttl).unwrap();
    assert!(reserve(&engine).unwrap().is_replayed());
    engine.close().unwrap();
    let again = open(&dir, &clock);
    assert!(reserve(&again).unwrap().is_replayed());
}

fn tokens_of(engine: &Engine, amount: u64) -> encumber::Cost {
    engine.resource("tokens").unwrap().of(amount)
}

#[test]
fn a_slot_is_given_back_whatever_becomes_of_its_handle() {
    for guards in [LostGuards::Charge, LostGuards::ByDispatch] {
        let (dir, clock) = (Dir::new(), clock());
        let persist = |dir: &Dir| Persist::journal(dir.path()).lost_guards(guards);
        let places = || {
            let limit = Limit::new("places", "user", "places", Window::Lifetime, Cap::Max(2));
            Policy::builder().resource("places", Unit::Count).limit(limit).build().unwrap()
        };
        let open = |dir: &Dir| Engine::builder(places()).clock(&clock).persist(persist(dir)).build().unwrap();
        let engine = open(&dir);
        let (scope, ttl) = (engine.scope(["user:7"]).unwrap(), Duration::from_secs(60));
        let places = engine.resource("places").unwrap();
        scope.slot_with_id(places, "detached", ttl).unwrap().detach();
        let _kept = scope.slot_with_id(places, "kept", ttl).unwrap();
        let again = open(&dir.killed());
        clock.advance(ttl);
        assert_eq!(usage(&again, "user:7"), [("places".to_owned(), 0, 0)], "{guards:?}");
    }
}
