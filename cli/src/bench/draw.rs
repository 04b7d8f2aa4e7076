//! Which subject a call is for, and what it does: cheap enough to stand beside operations of a few nanoseconds.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::settings::{Distribution, Mix, Operation};

/// A fast generator.
pub(super) struct Random(SmallRng);

impl Random {
    /// The stream of one thread.
    pub(super) fn new(seed: u64, thread: u64) -> Self {
        let mut seeds = SmallRng::seed_from_u64(seed);
        Self(SmallRng::seed_from_u64(seeds.next_u64() ^ thread))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Scales 32 random bits to `0..n`.
fn below(bits: u64, n: u32) -> u32 {
    (((bits & u64::from(u32::MAX)) * u64::from(n)) >> 32) as u32
}

/// Draws subjects.
pub(super) enum Draw {
    Uniform { subjects: u32 },
    Zipf(Zipf),
}

impl Draw {
    pub(super) fn new(distribution: Distribution, subjects: u32) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { subjects },
            Distribution::Zipf(exponent) => Self::Zipf(Zipf::new(exponent, subjects)),
        }
    }

    /// The number of a subject.
    #[inline]
    pub(super) fn subject(&self, random: &mut Random) -> u32 {
        match self {
            Self::Uniform { subjects } => below(random.next(), *subjects),
            Self::Zipf(zipf) => zipf.scatter(zipf.rank(random)),
        }
    }
}

/// Ranks with a step of their own.
const SINGLE_RANKS: u32 = 512;
/// Later steps are this part of the ranks before them, so that probabilities within a step differ by less than this, times the exponent.
const STEP: u32 = 100;

/// Zipf's law by an alias table over steps of ranks. A table of every rank would be megabytes that push the budgets out of the cache; one of
/// steps stays in the first level. Within a step all ranks are equally likely: the first 512 are exact, the others within one percent for
/// an exponent of 1.
pub(super) struct Zipf {
    steps: Vec<Step>,
    subjects: u32,
    /// Coprime to the number of subjects.
    stride: u64,
}

struct Step {
    /// Of 2^32, how many of the draws that meet this step stay here.
    own: u32,
    /// Where the others go.
    alias: u32,
    first: u32,
    ranks: u32,
}

impl Zipf {
    fn new(exponent: f64, subjects: u32) -> Self {
        let mut steps = Vec::new();
        let mut weights = Vec::new();
        let mut first = 0;
        while first < subjects {
            let ranks = if first < SINGLE_RANKS { 1 } else { (first / STEP).min(subjects - first) };
            steps.push(Step { own: u32::MAX, alias: steps.len() as u32, first, ranks });
            // Ranks count from 1; the middle of the step stands for all of it.
            let middle = f64::from(first) + f64::from(ranks - 1) / 2.0 + 1.0;
            weights.push(middle.powf(-exponent) * f64::from(ranks));
            first += ranks;
        }
        alias(&mut steps, &weights);
        // Near the golden section, so that neighbours in rank are far apart.
        let mut stride = (f64::from(subjects) * 0.618) as u64 | 1;
        while gcd(stride, subjects.into()) != 1 {
            stride += 1;
        }
        Self { steps, subjects, stride }
    }

    /// 0 is the most likely one.
    #[inline]
    fn rank(&self, random: &mut Random) -> u32 {
        let bits = random.next();
        let mut step = &self.steps[below(bits >> 32, self.steps.len() as u32) as usize];
        if (bits as u32) > step.own {
            step = &self.steps[step.alias as usize];
        }
        if step.ranks == 1 { step.first } else { step.first + below(random.next(), step.ranks) }
    }

    /// The subject of a rank: those that are drawn often do not lie side by side in memory.
    #[inline]
    fn scatter(&self, rank: u32) -> u32 {
        (u64::from(rank) * self.stride % u64::from(self.subjects)) as u32
    }
}

/// Vose's method: every step keeps a part of its share of the draws and gives the rest to one other.
fn alias(steps: &mut [Step], weights: &[f64]) {
    let total: f64 = weights.iter().sum();
    let mut shares: Vec<f64> = weights.iter().map(|weight| weight / total * weights.len() as f64).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..shares.len()).partition(|step| shares[*step] < 1.0);
    while let (Some(poor), Some(rich)) = (small.pop(), large.pop()) {
        steps[poor].own = (shares[poor] * f64::from(u32::MAX)) as u32;
        steps[poor].alias = rich as u32;
        shares[rich] -= 1.0 - shares[poor];
        if shares[rich] < 1.0 { &mut small } else { &mut large }.push(rich);
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Draws operations by their weights.
pub(super) struct Dice {
    /// Draws below the first are charges, below the second reservations, and so on.
    bounds: [u32; 3],
    total: u32,
}

impl Dice {
    pub(super) fn new(mix: Mix) -> Self {
        let mut sum = 0;
        let sums: Vec<u32> = mix
            .weights()
            .map(|(_, weight)| {
                sum += u32::from(weight);
                sum
            })
            .collect();
        Self { bounds: [sums[0], sums[1], sums[2]], total: sum }
    }

    #[inline]
    pub(super) fn operation(&self, bits: u64) -> Operation {
        let drawn = below(bits, self.total);
        match self.bounds {
            [charge, ..] if drawn < charge => Operation::Charge,
            [_, reserve, _] if drawn < reserve => Operation::Reserve,
            [.., record] if drawn < record => Operation::Record,
            _ => Operation::Check,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The probability of every rank, from the table.
    fn probabilities(zipf: &Zipf) -> Vec<f64> {
        let mut steps = vec![0.0; zipf.steps.len()];
        for (number, step) in zipf.steps.iter().enumerate() {
            let own = f64::from(step.own) / f64::from(u32::MAX);
            steps[number] += own;
            steps[step.alias as usize] += 1.0 - own;
        }
        let of = |(step, share): (&Step, f64)| {
            vec![share / zipf.steps.len() as f64 / f64::from(step.ranks); step.ranks as usize]
        };
        zipf.steps.iter().zip(steps).flat_map(of).collect()
    }

    #[test]
    fn the_table_says_what_the_law_says() {
        for (exponent, subjects) in [(1.0, 1), (1.0, 2), (1.0, 600), (1.0, 100_000), (0.7, 20_000), (1.2, 20_000)] {
            let found = probabilities(&Zipf::new(exponent, subjects));
            let law: Vec<f64> = (1..=subjects).map(|rank| f64::from(rank).powf(-exponent)).collect();
            let total: f64 = law.iter().sum();
            assert_eq!(found.len(), subjects as usize);
            for (rank, (found, law)) in found.iter().zip(law).enumerate() {
                let off = found / (law / total) - 1.0;
                let bound = if rank < SINGLE_RANKS as usize { 0.001 } else { 0.01 * exponent };
                assert!(off.abs() < bound, "{subjects} subjects, exponent {exponent}, rank {rank}: off by {off}");
            }
        }
    }

    #[test]
    fn every_rank_is_a_subject_of_its_own() {
        for subjects in [1, 2, 3, 10, 618, 1_000, 4_096] {
            let zipf = Zipf::new(1.0, subjects);
            let scattered: HashSet<u32> = (0..subjects).map(|rank| zipf.scatter(rank)).collect();
            assert_eq!(scattered.len(), subjects as usize);
            assert!(scattered.iter().all(|subject| *subject < subjects));
        }
    }

    #[test]
    fn draws_come_as_often_as_they_should() {
        let mut random = Random::new(7, 0);
        let zipf = Draw::new(Distribution::Zipf(1.0), 1_000);
        let hits = (0..100_000).filter(|_| zipf.subject(&mut random) == 0).count();
        assert!((12_900..13_900).contains(&hits), "1 of 7.485: {hits}");
        let uniform = Draw::new(Distribution::Uniform, 10);
        let hits = (0..100_000).filter(|_| uniform.subject(&mut random) == 9).count();
        assert!((9_700..10_300).contains(&hits), "{hits}");
        let dice = Dice::new("charge=1,record=3".parse().unwrap());
        let drawn: Vec<Operation> = (0..100_000).map(|_| dice.operation(random.next())).collect();
        let of = |operation| drawn.iter().filter(|drawn| **drawn == operation).count();
        assert_eq!(of(Operation::Reserve) + of(Operation::Check), 0);
        assert!((24_500..25_500).contains(&of(Operation::Charge)));
    }

    #[test]
    fn threads_and_seeds_differ_and_repeat() {
        let first = |seed, thread| Random::new(seed, thread).next();
        assert_eq!(first(1, 1), first(1, 1));
        let all: HashSet<u64> = (0..4).flat_map(|seed| (0..4).map(move |thread| first(seed, thread))).collect();
        assert_eq!(all.len(), 16);
    }
}
