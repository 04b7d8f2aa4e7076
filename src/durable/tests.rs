//! An engine on a machine that is stopped at every operation of its disk, by a kill or by a loss of power, in the running or while it is
//! opened again: nothing that was answered is under-counted, and nothing is over-counted by more than is said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::snapshot::{self, Amounts};
use super::{LostGuards, Persist};
use crate::amount::{Cap, Resource, Unit};
use crate::clock::ManualClock;
use crate::engine::{Engine, FailurePolicy};
use crate::holds::HoldId;
use crate::persist::sim::{Plan, Random, Sim};
use crate::policy::{Limit, Policy};
use crate::reservation::{Reservation, SettleError};
use crate::reset::Reset;
use crate::scope::Scope;
use crate::window::Window;

const LIMITS: [(&str, u64); 4] = [("day", 640), ("life", 6_400), ("all", 0), ("rolling", 100_000)];
const AMOUNT_MAX: u64 = 24;
const TTL: Duration = Duration::from_secs(3_600);

/// How the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Kill,
    Power,
}

fn open(sim: &Arc<Sim>, stop: Stop) -> Option<(Engine, Scope, Resource)> {
    let cap = |max: u64| if max == 0 { Cap::Unlimited } else { Cap::Max(max) };
    let window = |id: &str| match id {
        "day" => Window::Day,
        "rolling" => "rolling 5h".parse().unwrap(),
        _ => Window::Lifetime,
    };
    let mut policy = Policy::builder().resource("tokens", Unit::Count);
    for (id, max) in LIMITS {
        let kind = if id == "all" { "global" } else { "user" };
        policy = policy.limit(Limit::new(id, kind, "tokens", window(id), cap(max)));
    }
    let clock = ManualClock::at("2026-02-04T20:55:00Z".parse().unwrap());
    let vfs: Arc<dyn crate::persist::Vfs> = Arc::<Sim>::clone(sim);
    // So that all that is left of a hold can be seen.
    let persist = Persist::over(vfs).lost_guards(LostGuards::Keep);
    // What a loss of power takes is what was not synced: nothing then.
    let persist = if stop == Stop::Power { persist.always() } else { persist };
    // So that it goes on while nothing can be written.
    let builder = Engine::builder(policy.build().unwrap()).failure_policy(FailurePolicy::degraded());
    let engine = builder.clock(&clock).persist(persist).build().ok()?;
    let (scope, tokens) = (engine.scope(["user:7"]).unwrap(), engine.resource("tokens").unwrap());
    Some((engine, scope, tokens))
}

/// What was answered: of every limit the same, but for resets.
#[derive(Clone, Default)]
struct Told {
    used: BTreeMap<&'static str, u64>,
    /// Of reservations without an id.
    guards: u64,
    /// By id: what is held.
    open: BTreeMap<u32, u64>,
    settled: Vec<u32>,
    flight: Flight,
}

/// The operation in flight when the machine stops: it may be done, or not.
#[derive(Clone, Default)]
struct Flight {
    /// What it gives back, and charges, at most.
    less: u64,
    more: u64,
    /// The hold that it is about, and what it commits it at if it does.
    about: Option<u32>,
    actual: Option<u64>,
    /// It resets the day.
    resets: bool,
}

impl Told {
    fn charged(&self, limit: &str) -> u64 {
        self.used.get(limit).copied().unwrap_or(0) + self.guards + self.open.values().sum::<u64>()
    }

    fn use_all(&mut self, amount: u64) {
        for (limit, _) in LIMITS {
            *self.used.entry(limit).or_default() += amount;
        }
    }
}

struct Host {
    sim: Arc<Sim>,
    stop: Stop,
    random: Random,
    next: u32,
    told: Told,
    /// Whether it resets the day now and then.
    resets: bool,
    /// As it was left.
    end: Option<Arc<Sim>>,
    operations: u64,
}

impl Host {
    fn new(seed: u64, stop: Stop) -> Self {
        Self {
            sim: Sim::new(seed),
            stop,
            random: Random(seed),
            next: 0,
            told: Told::default(),
            resets: true,
            end: None,
            operations: 0,
        }
    }

    fn amount(&mut self) -> u64 {
        1 + self.random.below(AMOUNT_MAX)
    }

    /// Runs until the machine stops, or `steps` are done; `told` is what was answered by then.
    fn run(&mut self, steps: u32) {
        let Some((engine, scope, tokens)) = open(&self.sim, self.stop) else { return };
        let mut guards: Vec<(Reservation, u64)> = Vec::new();
        for _ in 0..steps {
            let amount = self.amount();
            let before = self.told.clone();
            self.step(&engine, &scope, tokens, amount, &mut guards);
            let flight = std::mem::take(&mut self.told.flight);
            if self.sim.is_cut() {
                // Not answered, as far as anybody can know.
                self.told = Told { flight, ..before };
                break;
            }
        }
        // What is dropped now is of a process that has ended.
        self.operations = self.sim.operations();
        self.end = Some(self.sim.kill(self.random.next()));
    }

    fn step(
        &mut self,
        engine: &Engine,
        scope: &Scope,
        tokens: Resource,
        amount: u64,
        guards: &mut Vec<(Reservation, u64)>,
    ) {
        let cost = tokens.of(amount);
        self.told.flight.more = amount;
        match self.random.below(12) {
            0..=2 => {
                if scope.try_charge(cost).is_ok() {
                    self.told.use_all(amount);
                }
            }
            3 => {
                if scope.record(cost).is_ok() {
                    self.told.use_all(amount);
                }
            }
            4 => {
                if let Ok(guard) = scope.reserve(cost) {
                    guards.push((guard, amount));
                    self.told.guards += amount;
                }
            }
            5 if !guards.is_empty() => {
                let (guard, held) = guards.swap_remove(self.random.below(guards.len() as u64) as usize);
                let actual = self.amount();
                (self.told.flight.less, self.told.flight.more) = (held.saturating_sub(actual), actual);
                guard.commit(tokens.of(actual)).unwrap();
                self.told.guards -= held;
                self.told.use_all(actual);
            }
            6 if !guards.is_empty() => {
                let (guard, held) = guards.swap_remove(self.random.below(guards.len() as u64) as usize);
                self.told.flight.less = held;
                drop(guard);
                self.told.guards -= held;
            }
            7..=8 => {
                let id = self.next;
                self.next += 1;
                self.told.flight.about = Some(id);
                if scope.reserve_with_id(&*format!("req-{id}"), TTL, cost).is_ok() {
                    self.told.open.insert(id, amount);
                }
            }
            9 => {
                let Some((&id, &amount_held)) = self.told.open.iter().next() else { return };
                (self.told.flight.about, self.told.flight.less) = (Some(id), amount_held);
                let hold = engine.resume(&id_of(id)).unwrap();
                match self.random.below(4) {
                    0..=1 => {
                        let actual = self.amount();
                        (self.told.flight.actual, self.told.flight.more) = (Some(actual), actual);
                        hold.commit(tokens.of(actual)).unwrap();
                        self.told.use_all(actual);
                    }
                    2 => {
                        hold.release().unwrap();
                    }
                    _ => {
                        // Some of it, and the rest by the next one.
                        let part = amount_held / 2;
                        let hold = hold.attach();
                        let part = hold.split(tokens.of(part)).unwrap();
                        part.release().unwrap();
                        hold.commit(tokens.of(amount)).unwrap();
                        self.told.use_all(amount);
                    }
                }
                self.told.open.remove(&id);
                self.told.settled.push(id);
            }
            10 if self.resets => {
                self.told.flight.resets = true;
                if scope.reset(&Reset::limit("day")).is_ok() {
                    self.told.used.insert("day", 0);
                }
            }
            _ => {
                // A failed one is as if there had been none.
                let _failed = engine.snapshot_now();
            }
        }
    }

    /// What an engine that is opened on `sim` finds is what was told.
    fn check(&self, sim: &Arc<Sim>, state: &str) {
        let Some((engine, scope, tokens)) = open(sim, self.stop) else { panic!("{state}: it does not open") };
        let told = &self.told;
        let step = |max: u64, charged: u64| (if max == 0 { charged } else { max }) / 64;
        let Flight { less, more, about, actual, resets } = told.flight;
        let found = charged_by(&scope);
        for (limit, max) in LIMITS {
            let (is, was) = (found[limit], told.charged(limit));
            let least = if resets && limit == "day" { 0 } else { was.saturating_sub(less) };
            let most = was + more + step(max, was + more).max(AMOUNT_MAX);
            assert!((least..=most).contains(&is), "{state}: {limit} has {is}, told was {was}, {least} to {most}");
        }
        for id in &told.settled {
            assert!(engine.resume(&id_of(*id)).is_ok_and(|hold| !hold.is_open()), "{state}: {id} is settled");
        }
        // Whoever was cut off tries again, everybody else gives back: what is of others stays.
        let mut used = 0;
        let mut lost = if about.is_none() { less } else { 0 };
        for (id, held) in &told.open {
            let hold = engine.resume(&id_of(*id));
            let is_about = about == Some(*id);
            assert!(is_about || hold.as_ref().is_ok_and(|hold| hold.is_open()), "{state}: {id} is open");
            match (hold, actual.filter(|_| is_about)) {
                (Ok(hold), Some(actual)) => {
                    hold.commit(tokens.of(actual)).unwrap_or_else(|error| panic!("{state}: {id}: {error}"));
                    used += actual;
                }
                (Ok(hold), None) => match hold.release() {
                    Ok(()) => {}
                    Err(SettleError::Committed | SettleError::Released) if is_about => lost += held,
                    Err(error) => panic!("{state}: {id}: {error}"),
                },
                (Err(error), _) => panic!("{state}: {id}: {error}"),
            }
        }
        // One that was made by the operation in flight.
        if let Some(hold) = about.filter(|id| !told.open.contains_key(id)).and_then(|id| engine.resume(&id_of(id)).ok())
        {
            hold.release().unwrap_or_else(|error| panic!("{state}: {error}"));
        }
        let found = charged_by(&scope);
        for (limit, _) in LIMITS {
            let was = told.used.get(limit).copied().unwrap_or(0) + told.guards + used;
            let least = if resets && limit == "day" { 0 } else { was.saturating_sub(lost) };
            assert!(found[limit] >= least, "{state}: {limit} has {}, {was} was told, all holds settled", found[limit]);
        }
        engine.close().unwrap();
    }
}

fn cut(at: u64) -> Plan {
    Plan { cut: Some(at), fail: None }
}

fn id_of(id: u32) -> HoldId {
    format!("req-{id}").parse().unwrap()
}

/// What all budgets have charged.
fn charged_by(scope: &Scope) -> BTreeMap<String, u64> {
    let usage = scope.usage().unwrap();
    usage.into_iter().map(|budget| (budget.limit.to_string(), budget.charged())).collect()
}

/// Whatever fails for a while, and wherever the machine stops while that is made good.
#[test]
fn what_was_charged_while_nothing_could_be_written_is_written_once_it_can() {
    const STEPS: u32 = 20;
    let mut states = 0;
    for seed in 1..=states_wanted(1_600) / 400 {
        let mut operations = None;
        for at in 1.. {
            let mut host = Host::new(seed, Stop::Kill);
            host.resets = false;
            let (engine, scope, tokens) = open(&host.sim, Stop::Kill).unwrap();
            let mut guards = Vec::new();
            let mut steps = |host: &mut Host| {
                let mut all = vec![host.told.clone()];
                for _ in 0..STEPS {
                    let amount = host.amount();
                    host.step(&engine, &scope, tokens, amount, &mut guards);
                    all.push(host.told.clone());
                }
                all
            };
            steps(&mut host);
            host.sim.plan(Plan { cut: None, fail: Some(((1, u64::MAX), std::io::ErrorKind::StorageFull)) });
            // From before anything failed on: of what fails first, all may be on disk.
            let told = steps(&mut host);
            let was_down = engine.journal().unwrap().is_down;
            host.sim.plan(operations.map_or_else(Plan::default, |_| cut(at)));
            let healed = engine.snapshot_now();
            let machine = host.sim.kill(at);
            let state = format!("seed {seed} stopped at {at} of {operations:?}");
            let least = |of: &dyn Fn(&Told) -> u64| match healed {
                Ok(()) => of(&told[told.len() - 1]),
                Err(_) => told.iter().map(of).min().unwrap_or(0),
            };
            let (again, found, _) = open(&machine, Stop::Kill).unwrap_or_else(|| panic!("{state}: it does not open"));
            for (limit, is) in charged_by(&found) {
                let least = least(&|told| told.charged(&limit));
                assert!(is >= least, "{state}: {limit} has {is} of {least}");
            }
            for id in told.iter().flat_map(|told| told.open.keys()) {
                if let Ok(hold) = again.resume(&id_of(*id)) {
                    let _settled_before = hold.release();
                }
            }
            for (limit, is) in charged_by(&found) {
                let least = least(&|told| told.used.get(&*limit).copied().unwrap_or(0) + told.guards);
                assert!(is >= least, "{state}: {limit} has {is} of {least} once all holds are settled");
            }
            states += 1;
            match operations {
                None => {
                    assert!(was_down && !engine.journal().unwrap().is_down, "{state}: {healed:?}");
                    assert_eq!(engine.degraded(), None);
                    operations = Some(host.sim.operations());
                }
                Some(all) if at > all => break,
                Some(_) => {}
            }
        }
    }
    println!("{states} states");
}

fn states_wanted(everyday: u64) -> u64 {
    std::env::var("ENCUMBER_CRASH_STATES")
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .map_or(everyday, |all| all / 10)
}

#[test]
fn nothing_answered_is_under_counted_wherever_the_machine_stops() {
    const STEPS: u32 = 60;
    let wanted = states_wanted(400);
    let first = std::env::var("ENCUMBER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let mut states = 0;
    for seed in first.. {
        for stop in [Stop::Kill, Stop::Power] {
            let mut whole = Host::new(seed, stop);
            whole.run(STEPS);
            let operations = whole.operations;
            assert!(operations > 20, "seed {seed}: only {operations} operations");
            let end = whole.end.clone().expect("it opens");
            whole.check(&end, &format!("seed {seed} {stop:?} run to its end"));
            for at in 1..=operations {
                let mut host = Host::new(seed, stop);
                host.sim.plan(cut(at));
                host.run(STEPS);
                let state = format!("ENCUMBER_SEED={seed} {stop:?} at {at} of {operations}");
                let stopped = |sim: &Arc<Sim>, seed| if stop == Stop::Kill { sim.kill(seed) } else { sim.crash(seed) };
                let machine = stopped(&host.sim, at);
                // Stopped once more while it is opened, at some operation.
                let again = 1 + host.random.below(12);
                machine.plan(cut(again));
                drop(open(&machine, stop));
                let machine = if machine.is_cut() { stopped(&machine, again) } else { machine.kill(again) };
                host.check(&machine, &format!("{state}, and at {again} of the next"));
                states += 1;
                if states >= wanted {
                    println!("{states} states from ENCUMBER_SEED={first}");
                    return;
                }
            }
        }
    }
}

/// A snapshot whose budgets had numbers that its rules did not could not be opened.
#[test]
fn a_policy_set_while_a_snapshot_is_written_is_kept() {
    let sim = Sim::new(7);
    let (engine, scope, tokens) = open(&sim, Stop::Kill).unwrap();
    scope.try_charge(tokens.of(5)).unwrap();
    let core = engine.core();
    let (store, now) = (core.store().unwrap(), core.now_precise());
    let is_set = std::cell::Cell::new(false);
    // Between the rules and the budgets.
    let stamp = || {
        if !is_set.replace(true) {
            let limit = Limit::new("added", "user", "tokens", Window::Lifetime, Cap::Max(100));
            engine.set_policy(Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap());
            engine.scope(["user:7"]).unwrap().try_charge(tokens.of(3)).unwrap();
        }
        store.stamp()
    };
    let at = (now, store.see(now));
    let rotated = store.log.rotate(|to| snapshot::write(core, Some(store), &stamp, at, Amounts::Ceilings, to));
    assert!(rotated.is_ok() && is_set.get(), "{rotated:?}");
    let killed = sim.kill(8);

    let (again, ..) = open(&killed, Stop::Kill).expect("it opens");
    let limit = Limit::new("added", "user", "tokens", Window::Lifetime, Cap::Max(100));
    again.set_policy(Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap());
    let used = again.scope(["user:7"]).unwrap().usage().unwrap()[0].used;
    // A ceiling is ahead by no more than a step.
    assert!((3..=6).contains(&used), "{used}");
}
