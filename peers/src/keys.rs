//! Keys of 30 bytes, and the order in which they are asked for.

use std::fmt::Write as _;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::Zipf;

/// The seed of every order; each thread's is this one plus its number.
pub(crate) const SEED: u64 = 0x5eed_0001;

/// The exponent of the Zipf distribution: the key of rank `r` is asked in proportion to `1 / r`.
pub(crate) const ZIPF_EXPONENT: f64 = 1.0;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 30;

/// How many calls an order holds before it starts again.
const ORDER: usize = 1 << 18;

/// The text of a key: a subject of the kind `agent`.
pub(crate) fn key(number: usize) -> String {
    let mut text = String::with_capacity(KEY_BYTES);
    write_key(&mut text, number);
    text
}

/// Replaces the text with that of a key.
pub(crate) fn write_key(text: &mut String, number: usize) {
    text.clear();
    let _ = write!(text, "agent:{number:024}");
}

/// The keys of a run of calls, one after the other in memory: as in life, the key of a call is at hand when it is asked.
pub(crate) struct Calls {
    text: String,
}

impl Calls {
    /// Calls of `keys` keys for the thread of this number: by Zipf's law, or all alike.
    pub(crate) fn new(keys: usize, zipf: bool, thread: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(SEED + thread);
        let numbers = shuffled(keys);
        let zipf = if zipf { Zipf::new(keys as f64, ZIPF_EXPONENT).ok() } else { None };
        let mut text = String::with_capacity(ORDER * KEY_BYTES);
        for _ in 0..ORDER {
            let rank = match &zipf {
                // Ranks count from 1.
                Some(zipf) => random.sample(zipf) as usize - 1,
                None => random.random_range(0..keys),
            };
            let _ = write!(text, "agent:{:024}", numbers[rank]);
        }
        Self { text }
    }

    /// The key of this call.
    #[inline]
    pub(crate) fn key(&self, call: usize) -> &str {
        let start = (call & (ORDER - 1)) * KEY_BYTES;
        &self.text[start..start + KEY_BYTES]
    }
}

/// Which number has which rank, the same for every thread: what is asked often does not stand side by side.
fn shuffled(keys: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..keys).collect();
    numbers.shuffle(&mut SmallRng::seed_from_u64(SEED));
    numbers
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn keys_have_their_length_and_come_by_zipfs_law() {
        let calls = Calls::new(1_000, true, 0);
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for call in 0..ORDER {
            *seen.entry(calls.key(call)).or_default() += 1;
        }
        let mut counts: Vec<usize> = seen.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // The weights of ranks 1 and 2 over the sum of 1/r to 1,000, which is 7.4855.
        assert!((counts[0] as f64 / ORDER as f64 - 0.1336).abs() < 0.003, "{}", counts[0]);
        assert!((counts[1] as f64 / ORDER as f64 - 0.0668).abs() < 0.003, "{}", counts[1]);
        assert_eq!(key(7).len(), KEY_BYTES);
        assert_eq!(calls.key(3), calls.key(ORDER + 3));
    }

    #[test]
    fn uniform_keys_are_spread_and_threads_differ() {
        let [first, second] = [Calls::new(1_000, false, 0), Calls::new(1_000, false, 1)];
        let distinct: std::collections::HashSet<&str> = (0..ORDER).map(|call| first.key(call)).collect();
        assert_eq!(distinct.len(), 1_000);
        assert!((0..16).any(|call| first.key(call) != second.key(call)));
    }
}
