//! What contenders get wrong when threads ask at once: units admitted past the limit, and calls refused that fit.
//!
//! Two scenarios, each with fresh budgets in every round. *To the limit*: all threads ask for more than there is. What was admitted above the
//! limit is too much; a refused call that would have fitted even after all is falsely refused, since nothing is given back. *Beside what
//! does not fit*: half of the budget is used, half of the threads ask again and again for one unit more than the other half, and the others for amounts that
//! together just fit. Each of these refused is falsely refused.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::contender::{Contender, Group, HOLD_MORE, Limits, Plan, Seats, Skipped, Spec, amount};
use crate::keys::key;

/// How long and with how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) threads: usize,
    /// How long each scenario goes on at least.
    pub(crate) time: Duration,
    /// How many calls each of ours makes at least.
    pub(crate) calls: u64,
}

/// The limit of each round's budget: small, so that there are many rounds and the limit is reached in each.
const MAX: u64 = 2_000;

/// What came out for one contender.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Found {
    pub(crate) rounds: u64,
    /// All calls that were made.
    pub(crate) calls: u64,
    /// Rounds in which more was admitted than the limit.
    pub(crate) rounds_over: u64,
    pub(crate) units_over: u64,
    /// The most units over in one round.
    pub(crate) units_over_most: u64,
    /// Calls that fitted, as far as that is known.
    pub(crate) fitting: u64,
    pub(crate) falsely_refused: u64,
    /// Whether it was asked for single units alone, and beside nothing that does not fit: it does not look at amounts.
    pub(crate) units_alone: bool,
}

/// A contender in one of its groups, and what came out or why it did not run.
pub(crate) struct Stressed {
    pub(crate) spec: Spec,
    pub(crate) group: Group,
    pub(crate) outcome: Result<Found, String>,
}

/// In which groups a contender is stressed: budgets are the same in the others.
pub(crate) fn groups(spec: &Spec) -> impl Iterator<Item = Group> {
    spec.groups
        .iter()
        .copied()
        .filter(|group| !matches!(group, Group::Refusal | Group::Keys1m | Group::Memory))
        .filter(|_| spec.limits != Limits::Nothing)
}

/// Stresses one contender.
pub(crate) fn stress(spec: &Spec, group: Group, settings: Settings) -> Stressed {
    let calls = if spec.is_ours() { settings.calls } else { 0 };
    let units_alone = spec.limits == Limits::Units;
    let run = || -> Result<Found> {
        let mut found = Found { units_alone, ..Found::default() };
        let scenarios: &[Scenario] =
            if units_alone { &[to_the_limit] } else { &[to_the_limit, beside_what_does_not_fit] };
        for (done, scenario) in scenarios.iter().enumerate() {
            let start = Instant::now();
            let enough = calls / scenarios.len() as u64 * (done as u64 + 1);
            while start.elapsed() < settings.time || found.calls < enough {
                let plan = Plan { group, max: MAX, threads: settings.threads, shared: true, keys: 2 };
                scenario((spec.make)(&plan)?, group, &mut found);
                found.rounds += 1;
            }
        }
        Ok(found)
    };
    let outcome =
        run().map_err(|error| if error.is::<Skipped>() { error.to_string() } else { format!("failed: {error:#}") });
    Stressed { spec: spec.clone(), group, outcome }
}

type Scenario = fn(Seats, Group, &mut Found);

/// What one thread saw.
#[derive(Default)]
struct Seen {
    units: u64,
    admitted: u64,
    /// Refused calls by amount.
    refused: [u64; 4],
}

impl Seen {
    fn ask(&mut self, seat: &mut dyn Contender, key: &str, amount: u64) -> bool {
        let admitted = seat.ask(key, amount);
        if admitted {
            self.units += amount;
            self.admitted += 1;
        } else if let Some(refused) = self.refused.get_mut(amount as usize) {
            *refused += 1;
        }
        admitted
    }
}

fn to_the_limit(mut seats: Seats, group: Group, found: &mut Found) {
    let units_alone = found.units_alone;
    let mean = if units_alone { 1 } else { 2 };
    let calls = MAX * 3 / 2 / mean / seats.len() as u64;
    let key = key(1);
    let start = Barrier::new(seats.len());
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = seats
            .iter_mut()
            .map(|seat| {
                scope.spawn(|| {
                    let mut seen = Seen::default();
                    start.wait();
                    for turn in 0..calls {
                        seen.ask(seat.as_mut(), &key, if units_alone { 1 } else { amount(turn) });
                    }
                    seen
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a contender does not panic")).collect()
    });
    let units = seen.iter().map(|seen| seen.units).sum();
    found.calls += calls * seen.len() as u64;
    found.count_over(units);
    // While holds are open, what is left at the end says nothing about what was left then.
    if !group.settles() {
        let left = MAX.saturating_sub(units) as usize;
        let refused = |seen: &Seen| seen.refused.iter().take(left + 1).sum::<u64>();
        let falsely: u64 = seen.iter().map(refused).sum();
        found.falsely_refused += falsely;
        found.fitting += falsely + seen.iter().map(|seen| seen.admitted).sum::<u64>();
    }
}

fn beside_what_does_not_fit(mut seats: Seats, group: Group, found: &mut Found) {
    let half = MAX / 2;
    let key = key(1);
    let mut first = Seen::default();
    assert!(first.ask(seats[0].as_mut(), &key, half), "half of an empty budget fits");
    let modest = seats.len().div_ceil(2);
    // What holds have above their amounts has to fit as well.
    let room = half - if group.settles() { HOLD_MORE * modest as u64 } else { 0 };
    let share = room / modest as u64;
    let start = Barrier::new(seats.len());
    let done = AtomicUsize::new(0);
    let (start, done, key) = (&start, &done, &key);
    let seen: Vec<(bool, Seen, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = seats
            .iter_mut()
            .enumerate()
            .map(|(place, seat)| {
                let is_modest = place < modest;
                scope.spawn(move || {
                    let (mut seen, mut calls) = (Seen::default(), 0);
                    start.wait();
                    if is_modest {
                        let mut left = share;
                        while left > 0 {
                            let amount = amount(calls).min(left);
                            seen.ask(seat.as_mut(), key, amount);
                            left -= amount;
                            calls += 1;
                        }
                        done.fetch_add(1, Ordering::AcqRel);
                    } else {
                        while done.load(Ordering::Acquire) < modest {
                            seen.ask(seat.as_mut(), key, half + 1);
                            calls += 1;
                        }
                    }
                    (is_modest, seen, calls)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a contender does not panic")).collect()
    });
    found.calls += 1 + seen.iter().map(|(_, _, calls)| calls).sum::<u64>();
    found.count_over(first.units + seen.iter().map(|(_, seen, _)| seen.units).sum::<u64>());
    for (_, seen, calls) in seen.iter().filter(|(is_modest, _, _)| *is_modest) {
        found.fitting += calls;
        found.falsely_refused += seen.refused.iter().sum::<u64>();
    }
}

impl Found {
    fn count_over(&mut self, units: u64) {
        let over = units.saturating_sub(MAX);
        self.units_over += over;
        self.units_over_most = self.units_over_most.max(over);
        self.rounds_over += u64::from(over > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    const SETTINGS: Settings = Settings { threads: 4, time: Duration::from_millis(10), calls: 0 };

    /// Admits `more` above its limit, or refuses each call of one unit.
    #[derive(Clone)]
    struct Wrong {
        used: Arc<AtomicU64>,
        max: u64,
        refuses: u64,
    }

    impl Contender for Wrong {
        fn ask(&mut self, _: &str, amount: u64) -> bool {
            amount != self.refuses
                && self
                    .used
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                        (used + amount <= self.max).then(|| used + amount)
                    })
                    .is_ok()
        }
    }

    fn wrong(plan: &Plan, more: u64, refuses: u64) -> Result<Seats> {
        plan.seats(|| Ok(Wrong { used: Arc::default(), max: plan.max + more, refuses }))
    }

    fn found(make: fn(&Plan) -> Result<Seats>) -> Found {
        let spec = Spec::new("one for tests", "", &[Group::Direct], make);
        stress(&spec, Group::Direct, SETTINGS).outcome.expect("it runs")
    }

    #[test]
    fn what_is_right_has_nothing_wrong() {
        let found = found(|plan| wrong(plan, 0, 0));
        assert!(found.rounds > 1 && found.calls > found.fitting && found.fitting > 0, "{found:?}");
        assert_eq!((found.rounds_over, found.units_over, found.falsely_refused), (0, 0, 0), "{found:?}");
    }

    #[test]
    fn what_is_admitted_above_the_limit_is_counted() {
        let found = found(|plan| wrong(plan, 5, 0));
        assert!(found.rounds_over > 0 && found.units_over_most <= 5 && found.units_over > 0, "{found:?}");
    }

    #[test]
    fn what_is_refused_and_fits_is_counted() {
        let found = found(|plan| wrong(plan, 0, 1));
        assert!(found.falsely_refused > 0 && found.units_over == 0, "{found:?}");
    }

    #[test]
    fn ours_gets_nothing_wrong() {
        for spec in crate::contenders::all().iter().filter(|spec| spec.is_ours()) {
            for group in groups(spec) {
                let found = stress(spec, group, SETTINGS).outcome.expect("it runs");
                assert_eq!((found.units_over, found.falsely_refused), (0, 0), "{} in {group:?}", spec.name);
            }
        }
    }
}
