//! The power goes, or the process, at every operation; and again at every operation of the recovery.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::host::{Host, Thing, Told, read};
use super::{first_seed, states_wanted};
use crate::persist::sim::{Plan, Random, Sim};

const STEPS: usize = 24;
/// Of each machine that stops, one is read after a kill, the others after a loss of power.
const OUTCOMES: u64 = 4;

#[derive(Default)]
struct Counts {
    states: u64,
    torn: u64,
    void: u64,
    closed: u64,
}

impl Counts {
    /// Reads the machine and checks what it was told.
    fn check(&mut self, sim: &Sim, told: &Told, least: usize, state: &str) -> Vec<Thing> {
        self.states += 1;
        let (things, recovered) = read(sim).unwrap_or_else(|error| panic!("{state}: {error}"));
        told.check(&things, least).unwrap_or_else(|fault| panic!("{state}: {fault}"));
        self.torn += u64::from(recovered.torn.is_some());
        self.void += u64::from(recovered.void_bytes > 0);
        self.closed += u64::from(recovered.is_closed);
        things
    }
}

fn cut(at: u64) -> Plan {
    Plan { cut: Some(at), ..Plan::default() }
}

/// The machine that stopped, and what it had said.
fn stopped(seed: u64, plan: Plan) -> (Arc<Sim>, Told, u64) {
    let sim = Sim::new(seed);
    let mut host = Host::new(&sim, seed);
    sim.plan(plan);
    host.run(STEPS);
    (Arc::clone(&sim), host.told, sim.operations())
}

/// One of the machines that can come after it; and how much of what was told must be there.
fn restarted(sim: &Sim, told: &Told, outcome: u64, seed: u64) -> (Arc<Sim>, usize) {
    if outcome == 0 { (sim.kill(seed), told.appended) } else { (sim.crash(seed), told.synced) }
}

/// The owner of the restarted machine, which has what it had.
fn host_of(sim: &Arc<Sim>, told: &Told, seed: u64) -> Host {
    let mut host = Host::new(sim, seed);
    host.told = told.clone();
    host.skip(1 << 32);
    host
}

/// Every recovery of the machine that stops at every operation, and whatever the power leaves.
fn recoveries(first: &Arc<Sim>, told: &Told, outcome: u64, counts: &mut Counts, state: &str, random: &mut Random) {
    let (base, least) = restarted(first, told, outcome, random.next());
    let there = counts.check(&base, told, least, state);

    let whole = base.kill(random.next());
    let mut host = host_of(&whole, &told_of(told, least), random.next());
    host.open();
    assert!(!host.is_in_trouble(), "{state}: it does not open");
    for at in 1..=whole.operations() {
        let again = base.kill(random.next());
        again.plan(cut(at));
        let mut host = host_of(&again, &told_of(told, least), random.next());
        host.open();
        let is_published = host.log.is_some();
        for second in 0..2 {
            let (machine, _) = restarted(&again, told, second, random.next());
            let state = format!("{state}, recovery cut at {at}, outcome {second}");
            // What was on disk, or published, stays; else what a kill left may go with the power.
            let is_same = outcome != 0 || second == 0 || is_published;
            let least = if is_same { there.len().min(told.things.len()).max(least) } else { told.synced };
            let found = counts.check(&machine, told, least, &state);
            assert!(!is_same || found == there, "{state}: it recovers to {} of {}", found.len(), there.len());
        }
    }
    // And life goes on.
    let mut host = host_of(&base, &told_of(told, least), random.next());
    base.plan(cut(1 + random.below(60)));
    host.run(STEPS / 2);
    for outcome in 0..2 {
        let (machine, least) = restarted(&base, &host.told, outcome, random.next());
        counts.check(&machine, &host.told, least, &format!("{state}, later, outcome {outcome}"));
    }
}

/// What must be there when it is opened.
fn told_of(told: &Told, least: usize) -> Told {
    Told { appended: least, synced: told.synced.min(least), ..told.clone() }
}

#[test]
fn nothing_acknowledged_is_lost_wherever_it_stops() {
    let wanted = states_wanted(4_000);
    let mut counts = Counts::default();
    let first = first_seed();
    let mut seeds = BTreeMap::new();
    for seed in first.. {
        let (_, _, operations) = stopped(seed, Plan::default());
        let mut random = Random(seed);
        for at in 1..=operations {
            let (sim, told, _) = stopped(seed, cut(at));
            for outcome in 0..OUTCOMES {
                let state = format!("seed {seed}, cut at {at}, outcome {outcome}");
                recoveries(&sim, &told, outcome, &mut counts, &state, &mut random);
            }
        }
        seeds.insert(seed, operations);
        if counts.states >= wanted {
            break;
        }
    }
    let Counts { states, torn, void, closed } = counts;
    println!(
        "{states} states, seeds from {first} with their operations: {seeds:?}; torn {torn}, void {void}, closed {closed}"
    );
    assert!(torn > 0 && closed > 0, "the simulation is too kind");
}
