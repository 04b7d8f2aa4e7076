//! Timing: within a group, each round runs every contender once, each right after the bare compare-and-swap.
//!
//! The order is drawn anew for each round: what else the machine does now and then does not fall on the same contender each time.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use crate::contender::{Contender, Group, Limits, Plan, Seats, Skipped, Spec};
use crate::contenders::yardstick;
use crate::keys::{Calls, SEED, key, write_key};

/// What each budget admits in all while it is timed: more than all rounds ask for, and what 32 bits hold.
const ROOM: u64 = 1 << 31;

/// How rounds are run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    /// About how long one contender runs in one round.
    pub(crate) round_time: Duration,
    pub(crate) threads: Vec<usize>,
}

/// What one contender did in one group with so many threads.
pub(crate) struct Measured {
    pub(crate) spec: Spec,
    pub(crate) group: Group,
    pub(crate) threads: usize,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    Timed(Samples),
    /// It did not run, or did not do the work, and why.
    Not(String),
}

/// One value for each round.
pub(crate) struct Samples {
    /// Nanoseconds for one call of one thread.
    pub(crate) nanos: Vec<f64>,
    /// Those of the bare compare-and-swap just before, on as many threads, each with a word of its own: where threads have to share
    /// a core with others, both do.
    pub(crate) cas_nanos: Vec<f64>,
    /// Calls of each thread in each round.
    pub(crate) calls: u64,
}

impl Measured {
    pub(crate) fn samples(&self) -> Option<&Samples> {
        match &self.outcome {
            Outcome::Timed(samples) => Some(samples),
            Outcome::Not(_) => None,
        }
    }

    /// A contender that was not run, for the report to name.
    pub(crate) fn not(spec: &Spec, group: Group, threads: usize, why: String) -> Self {
        Self { spec: spec.clone(), group, threads, outcome: Outcome::Not(why) }
    }
}

/// Times the contenders of a group, with each number of threads in turn.
pub(crate) fn measure(group: Group, specs: &[Spec], cas: &Spec, settings: &Settings) -> Vec<Measured> {
    let counts: Vec<usize> = settings.threads.iter().copied().filter(|count| *count <= group.threads_max()).collect();
    let Some(threads) = counts.iter().copied().max() else { return Vec::new() };
    let keys =
        group.keys().map(|(keys, zipf)| (0..threads).map(|thread| Calls::new(keys, zipf, thread as u64)).collect());
    let course = Course { group, keys };
    let words = Course { group: Group::Direct, keys: None };
    let mut cas = Runner::new(cas, &words, threads).expect("a word can be made");
    let mut runners: Vec<(&Spec, Result<Runner>)> =
        specs.iter().map(|spec| (spec, Runner::new(spec, &course, threads))).collect();
    let mut measured = Vec::new();
    let mut random = SmallRng::seed_from_u64(SEED);
    for count in counts {
        cas.calibrate(&words, count, settings.round_time);
        let mut samples: Vec<Samples> = Vec::new();
        for (_, runner) in &mut runners {
            let calls = runner.as_mut().map_or(0, |runner| runner.calibrate(&course, count, settings.round_time));
            samples.push(Samples { nanos: Vec::new(), cas_nanos: Vec::new(), calls });
        }
        let mut order: Vec<usize> = (0..runners.len()).collect();
        for _ in 0..settings.rounds {
            order.shuffle(&mut random);
            for place in &order {
                if let (_, Ok(runner)) = &mut runners[*place] {
                    samples[*place].cas_nanos.push(cas.round(&words, count));
                    samples[*place].nanos.push(runner.round(&course, count));
                }
            }
        }
        for ((spec, runner), samples) in runners.iter().zip(samples) {
            let outcome = match runner {
                Ok(Runner { failed: false, .. }) => Outcome::Timed(samples),
                Ok(_) => Outcome::Not("failed: calls were admitted or refused that should not have been".to_owned()),
                Err(error) if error.is::<Skipped>() => Outcome::Not(error.to_string()),
                Err(error) => Outcome::Not(format!("failed: {error:#}")),
            };
            measured.push(Measured { spec: (*spec).clone(), group, threads: count, outcome });
        }
    }
    measured
}

/// What all contenders of a group run over.
struct Course {
    group: Group,
    /// For each thread, where there are keys.
    keys: Option<Vec<Calls>>,
}

/// A contender that is ready to run.
struct Runner {
    seats: Seats,
    /// What each call should be told; a yardstick that limits nothing may say what it likes.
    admits: Option<bool>,
    /// Calls of each thread in a round.
    calls: u64,
    /// Where the next round begins in the order of the keys.
    from: usize,
    failed: bool,
}

impl Runner {
    fn new(spec: &Spec, course: &Course, threads: usize) -> Result<Self> {
        let group = course.group;
        let refuses = group == Group::Refusal;
        let keys = group.keys().map_or(1, |(keys, _)| keys);
        let max = if refuses { 1 } else { ROOM };
        let mut seats = (spec.make)(&Plan { group, max, threads, shared: group.shared(), keys })?;
        if refuses {
            for seat in &mut seats {
                assert!(seat.ask(&key(0), 1), "{} is empty at first", spec.name);
            }
        }
        if group.keys().is_some() {
            // Every key has its budget before anything is timed.
            let mut text = String::new();
            for number in 0..keys {
                write_key(&mut text, number);
                seats[0].ask(&text, 1);
            }
        }
        let admits = (spec.limits != Limits::Nothing).then_some(!refuses);
        Ok(Self { seats, admits, calls: 1, from: 0, failed: false })
    }

    /// Finds out how many calls fill a round.
    fn calibrate(&mut self, course: &Course, threads: usize, round_time: Duration) -> u64 {
        self.calls = 16;
        loop {
            // The shortest of a few: one that was interrupted says little.
            let nanos = (0..3).map(|_| self.round(course, threads)).fold(f64::INFINITY, f64::min).max(0.1);
            let filling = (round_time.as_nanos() as f64 / nanos) as u64;
            if self.calls * 4 >= filling {
                self.calls = filling.max(16);
                return self.calls;
            }
            self.calls *= 4;
        }
    }

    /// Runs a round, and says what one call took.
    fn round(&mut self, course: &Course, threads: usize) -> f64 {
        let (from, calls) = (self.from, self.calls);
        self.from = from.wrapping_add(calls as usize);
        let run = |seat: &mut dyn Contender, thread: usize| {
            let start = Instant::now();
            let admitted = match &course.keys {
                Some(keys) => seat.many_keys(&keys[thread], from, calls),
                None => seat.one_key("agent:000000000000000000000000", calls),
            };
            (start.elapsed(), admitted)
        };
        let results: Vec<(Duration, u64)> = if let [seat] = &mut self.seats[..threads] {
            vec![run(seat.as_mut(), 0)]
        } else {
            let start = Barrier::new(threads);
            let (start, run) = (&start, &run);
            std::thread::scope(|scope| {
                let running: Vec<_> = self.seats[..threads]
                    .iter_mut()
                    .enumerate()
                    .map(|(thread, seat)| {
                        scope.spawn(move || {
                            start.wait();
                            run(seat.as_mut(), thread)
                        })
                    })
                    .collect();
                running.into_iter().map(|thread| thread.join().expect("a contender does not panic")).collect()
            })
        };
        let slowest = results.iter().map(|(elapsed, _)| *elapsed).max().unwrap_or_default();
        let admitted: u64 = results.iter().map(|(_, admitted)| admitted).sum();
        let expected = |admits| if admits { calls * threads as u64 } else { 0 };
        self.failed |= self.admits.is_some_and(|admits| admitted != expected(admits));
        slowest.as_nanos() as f64 / calls as f64
    }
}

/// The yardstick of all rounds.
pub(crate) fn cas(specs: &[Spec]) -> &Spec {
    specs.iter().find(|spec| spec.name == yardstick::CAS).expect("it takes part")
}
