//! A clock of the host's own: what it does while it is read, and how often it is.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encumber::{
    Allowance, Cap, ChargeError, Clock, Cost, Engine, Limit, Policy, Resource, Scope, TimeSource, Timestamp, Unit,
    Window, WorkflowError, WorkflowSpec,
};

const START: &str = "2026-04-03T10:00:00Z";
const HOUR: Duration = Duration::from_secs(3_600);

thread_local! {
    /// Whether this thread does what happens while the clock is read.
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

type Ask = fn(&Scope, Resource) -> Result<(), ChargeError>;
type Aside = Arc<dyn Fn() + Send + Sync>;

/// Goes on by a step with every reading, and lets another thread do something meanwhile.
#[derive(Default)]
struct Host {
    micros: AtomicI64,
    step: AtomicI64,
    readings: AtomicU64,
    aside: Mutex<Option<Aside>>,
}

impl TimeSource for Host {
    fn now(&self) -> Timestamp {
        if IS_ASIDE.get() {
            return Timestamp::from_micros(self.micros.load(Ordering::Acquire));
        }
        self.readings.fetch_add(1, Ordering::AcqRel);
        let aside = self.aside.lock().unwrap().clone();
        if let Some(aside) = aside {
            let (done, is_done) = channel();
            std::thread::spawn(move || {
                IS_ASIDE.set(true);
                aside();
                let _ = done.send(());
            });
            let waited = is_done.recv_timeout(Duration::from_secs(20));
            assert!(waited.is_ok(), "the engine holds something while it reads the clock");
        }
        Timestamp::from_micros(self.micros.fetch_add(self.step.load(Ordering::Acquire), Ordering::AcqRel))
    }
}

impl Host {
    fn set(&self, at: &str) {
        self.micros.store(at.parse::<Timestamp>().unwrap().as_micros(), Ordering::Release);
    }

    /// Whenever the clock is read from now on, another thread does this.
    fn meanwhile(&self, aside: impl Fn() + Send + Sync + 'static) {
        self.replace(Some(Arc::new(aside)));
    }

    fn alone(&self) {
        self.replace(None);
    }

    fn replace(&self, aside: Option<Aside>) {
        let before = std::mem::replace(&mut *self.aside.lock().unwrap(), aside);
        // Dropping it drops handles, which reads the clock.
        drop(before);
    }

    /// What `act` answers; it must read the clock once.
    fn once<T>(&self, what: &str, act: impl FnOnce() -> T) -> T {
        let before = self.readings.load(Ordering::Acquire);
        let answer = act();
        assert_eq!(self.readings.load(Ordering::Acquire) - before, 1, "readings of {what}");
        answer
    }
}

struct Rig {
    host: Arc<Host>,
    engine: Engine,
    tokens: Resource,
    steps: Resource,
}

fn rig(step: Duration) -> Rig {
    let limit =
        |id: &str, kind: &str, resource: &str, window, max| Limit::new(id, kind, resource, window, Cap::Max(max));
    let policy = Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("steps", Unit::Count)
        .limit(limit("user-day", "user", "tokens", Window::Day, 10_000))
        .limit(limit("agent-run", "agent", "tokens", Window::Lifetime, 2_000))
        .limit(limit("agent-steps", "agent", "steps", Window::Lifetime, 1_000));
    let host = Arc::new(Host::default());
    host.set(START);
    let engine = Engine::builder(policy.build().unwrap()).clock(Clock::host(host.clone())).build();
    host.step.store(step.as_micros().try_into().unwrap(), Ordering::Release);
    let (tokens, steps) = (engine.resource("tokens").unwrap(), engine.resource("steps").unwrap());
    Rig { host, engine, tokens, steps }
}

impl Rig {
    fn scope(&self, subjects: &[&str]) -> Scope {
        self.engine.scope(subjects.iter().copied()).unwrap()
    }

    /// Waits for whatever an operation on these may hold: a hold's own lock, an allowance's, a moment without announcements.
    fn look_at(&self, scope: &Scope, allowances: &[Allowance], engine: &Engine) -> impl Fn() + Send + Sync + 'static {
        let (tokens, steps) = (self.tokens, self.steps);
        let (scope, allowances, engine) = (scope.clone(), allowances.to_vec(), engine.clone());
        move || {
            scope.charge_in_order([tokens, steps], 0).unwrap();
            scope.usage().unwrap();
            for allowance in &allowances {
                allowance.usage();
                allowance.is_settled();
                allowance.expires_at();
            }
            for id in ["a", "b", "c"] {
                if let Ok(hold) = engine.resume(&id.parse().unwrap()) {
                    hold.held();
                    hold.observe(&Cost::nothing());
                    hold.expires_at();
                }
            }
        }
    }
}

fn used_and_held(scope: &Scope) -> (u64, u64) {
    let usage = scope.usage().unwrap();
    (usage[0].used, usage[0].held)
}

/// Contract §3.6: no lock is held across a call into host code. The host's clock lets another thread into the engine, and waits for it.
#[test]
fn nothing_is_held_while_the_clock_is_read() {
    let rig = rig(Duration::ZERO);
    let (tokens, steps) = (rig.tokens, rig.steps);
    let parent = rig.scope(&["user:7"]);
    let outer = parent.reserve_for(tokens.of(1_000), HOUR).unwrap().into_allowance().unwrap();
    let inner = outer.carve(tokens.of(400)).unwrap();
    let scope = inner.scope(["agent:a"]).unwrap();
    rig.host.meanwhile(rig.look_at(&parent, &[outer.clone(), inner.clone()], &rig.engine));

    // Extensions and parts stand behind the hold's own lock.
    let hold = scope.reserve_with_id("a", HOUR, tokens.of(100)).unwrap();
    hold.try_extend(tokens.of(50)).unwrap();
    let hold = hold.attach();
    let part = hold.split(tokens.of(20)).unwrap();
    part.commit(tokens.of(30)).unwrap();
    hold.renew(HOUR).unwrap();
    hold.commit(tokens.of(1_500)).unwrap(); // above the inner allowance, which is raised, and so is the outer one
    assert_eq!(used_and_held(&parent), (0, 1_530));

    let late = scope.reserve_with_id("b", Duration::from_secs(60), Cost::nothing()).unwrap();
    late.observe(&tokens.of(10));
    late.dispatched();
    rig.host.micros.fetch_add(60_000_000, Ordering::AcqRel);
    rig.engine.sweep();
    assert!(late.has_expired());
    let receipt = late.commit(tokens.of(40)).unwrap();
    assert!(receipt.is_late());
    rig.engine.refund(&receipt, &tokens.of(15)).unwrap();

    let dropped = scope.reserve_with_id("c", HOUR, Cost::nothing()).unwrap();
    dropped.observe(&tokens.of(5));
    dropped.dispatched();
    drop(dropped.attach());

    drop(scope.clone());
    scope.record(steps.of(3)).unwrap();
    scope.check().unwrap_err();
    outer.end();
    assert_eq!(inner.end().amount(tokens), Some(30 + 1_500 + 25 + 5));
    assert_eq!(used_and_held(&parent), (1_560, 0));
    // What has been committed is corrected by a refund that comes later.
    rig.engine.refund(&receipt, &tokens.of(1)).unwrap_err();
    rig.host.alone();
}

/// A hold or a workflow may be asked for by id in another thread while the clock is read: no id is claimed meanwhile.
#[test]
fn no_id_is_claimed_while_the_clock_is_read() {
    let rig = rig(Duration::ZERO);
    let (tokens, steps) = (rig.tokens, rig.steps);
    let scope = rig.scope(&["user:7", "agent:a"]);
    let first = Arc::new(Mutex::new(None));
    let (place, clone) = (first.clone(), scope.clone());
    rig.host.meanwhile(move || {
        let hold = clone.reserve_with_id("a", HOUR, tokens.of(100)).unwrap();
        place.lock().unwrap().get_or_insert(hold);
    });
    assert!(scope.reserve_with_id("a", HOUR, tokens.of(100)).unwrap().is_replayed());
    assert!(!first.lock().unwrap().take().unwrap().is_replayed());

    let (place, clone) = (Arc::new(Mutex::new(None)), scope.clone());
    let begun = place.clone();
    rig.host.meanwhile(move || {
        if let Ok(workflow) = clone.begin_workflow("w", WorkflowSpec::new()) {
            *begun.lock().unwrap() = Some(workflow);
        }
    });
    assert!(matches!(scope.begin_workflow("w", WorkflowSpec::new()), Err(WorkflowError::Active { .. })));

    // A budget that was charged at a later time than the clock says makes a refusal read the clock once more.
    rig.host.alone();
    rig.host.set("2029-04-03T10:00:00Z");
    scope.record(tokens.of(10_000)).unwrap();
    rig.host.set(START);
    let (asked, clone) = (Arc::new(AtomicU64::new(0)), scope.clone());
    let counter = asked.clone();
    rig.host.meanwhile(move || {
        if counter.fetch_add(1, Ordering::AcqRel) == 1 {
            // Refused as well, and so free again.
            clone.reserve_with_id("b", HOUR, tokens.of(1)).unwrap_err();
        }
    });
    scope.reserve_with_id("b", HOUR, tokens.of(1)).unwrap_err();
    assert_eq!(asked.load(Ordering::Acquire), 2, "readings");
    rig.host.alone();
    scope.reserve_with_id("b", HOUR, steps.of(1)).unwrap();
}

/// Whoever ends a workflow or an allowance waits for the calls on their way in it; the clock is read before they come in, and after.
#[test]
fn no_call_is_on_its_way_while_the_clock_is_read() {
    let rig = rig(Duration::ZERO);
    let tokens = rig.tokens;
    let asks: [Ask; 5] = [
        |scope, tokens| scope.try_charge(tokens.of(1)).map(drop),
        |scope, tokens| scope.reserve(tokens.of(1)).map(drop),
        |scope, tokens| scope.charge_in_order([tokens, tokens], 1).map(drop),
        |scope, tokens| scope.check_cost(&tokens.of(1)).map(drop),
        |scope, tokens| scope.reserve_for(tokens.of(1), HOUR).map(drop),
    ];
    let day = "2026-04-03T10:00:00Z";
    for (number, ask) in asks.iter().enumerate() {
        // One that is admitted, one that is refused, and one that is refused by a budget that was charged in a later year.
        for (used, charged_at) in [(0, day), (10_000, day), (10_000, "2029-04-03T10:00:00Z")] {
            let user = format!("user:{number}-{used}-{charged_at}");
            rig.host.set(charged_at);
            let scope = rig.engine.scope([&*user]).unwrap();
            scope.record(tokens.of(used)).unwrap();
            rig.host.set(day);
            let workflow = Arc::new(scope.begin_workflow(&user, WorkflowSpec::new()).unwrap());
            let readings = u64::from(charged_at != day);
            let (seen, ending) = (AtomicU64::new(0), workflow.clone());
            rig.host.meanwhile(move || {
                if seen.fetch_add(1, Ordering::AcqRel) == readings {
                    ending.end();
                }
            });
            let answer = ask(workflow.scope(), tokens);
            rig.host.alone();
            match readings {
                0 => assert!(matches!(answer, Err(ChargeError::Ended(_))), "{number}, {used}: {answer:?}"),
                // It was refused before, and says so.
                _ => assert!(matches!(answer, Err(ChargeError::Refused(_))), "{number}: {answer:?}"),
            }
            assert!(workflow.has_ended(), "{number}, {used}, {charged_at}");
        }
    }
}

/// Contract §5.4: one reading per operation.
#[test]
fn an_operation_reads_the_clock_once() {
    let rig = rig(Duration::ZERO);
    let (tokens, steps) = (rig.tokens, rig.steps);
    let scope = rig.scope(&["user:7", "agent:a"]);
    let host = &*rig.host;
    host.once("try_charge", || scope.try_charge(tokens.of(1)).unwrap());
    host.once("refused", || scope.try_charge(tokens.of(9_999)).unwrap_err());
    host.once("check", || scope.check().unwrap());
    host.once("check_cost", || scope.check_cost(&tokens.of(1)).unwrap());
    host.once("check_in", || scope.check_in(&[tokens]).unwrap());
    host.once("record", || scope.record(tokens.of(1)).unwrap());
    host.once("usage", || scope.usage().unwrap());
    host.once("afford", || scope.afford(tokens).unwrap());
    host.once("charge_in_order", || scope.charge_in_order([tokens, steps], 1).unwrap());
    let hold = host.once("reserve", || scope.reserve(tokens.of(5)).unwrap());
    host.once("extend", || hold.try_extend(tokens.of(5)).unwrap());
    let part = host.once("split", || hold.split(tokens.of(5)).unwrap());
    host.once("commit", || hold.commit(tokens.of(5)).unwrap());
    host.once("drop", || drop(part));
    let hold = host.once("reserve_with_id", || scope.reserve_with_id("a", HOUR, tokens.of(5)).unwrap());
    host.once("renew", || hold.renew(HOUR).unwrap());
    host.once("release", || hold.release().unwrap());
    let allowance = host.once("into_allowance", || scope.reserve(tokens.of(5)).unwrap().into_allowance().unwrap());
    let inner = allowance.scope(["agent:b"]).unwrap();
    host.once("try_charge in an allowance", || inner.try_charge(tokens.of(1)).unwrap());
    host.once("end", || allowance.end());
}

/// A time-to-live runs out between any two readings, those of one scenario's operations: all is settled, and charged once.
#[test]
fn a_time_to_live_may_run_out_between_any_two_readings() {
    for ttl in (0..60).map(Duration::from_secs) {
        let rig = rig(Duration::from_secs(1));
        let tokens = rig.tokens;
        let parent = rig.scope(&["user:7"]);
        let mut billed = 0;
        let mut charge = |answer: Result<u64, ChargeError>| billed += answer.unwrap_or(0);
        let outer = parent.reserve_for(tokens.of(1_000), ttl).unwrap().into_allowance();
        if let Ok(outer) = outer {
            let hold = outer.scope(["agent:a"]).unwrap().reserve_for(tokens.of(400), ttl / 2);
            if let Some(inner) = hold.ok().and_then(|hold| hold.into_allowance().ok()) {
                let scope = inner.scope(["agent:b"]).unwrap();
                charge(scope.try_charge(tokens.of(50)).map(|_| 50));
                if let Ok(hold) = scope.reserve(tokens.of(100)) {
                    let part = hold.split(tokens.of(40)).unwrap();
                    hold.commit(tokens.of(300)).unwrap();
                    part.commit(tokens.of(200)).unwrap(); // above the inner pool
                    charge(Ok(500));
                }
                if let Ok(hold) = outer.scope(["agent:c"]).unwrap().reserve_for(tokens.of(60), ttl / 3) {
                    hold.dispatched();
                    hold.commit(tokens.of(70)).unwrap();
                    charge(Ok(70));
                }
                if let Ok(hold) = scope.reserve_for(tokens.of(10), ttl / 2) {
                    drop(hold);
                }
                inner.end();
            }
            outer.end();
            assert!(outer.is_settled(), "{ttl:?}");
        }
        assert_eq!(used_and_held(&parent), (billed, 0), "{ttl:?}");
    }
}
