//! What the hardware and the usual building blocks cost: they count, and most of them limit nothing.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::Result;
use dashmap::DashMap;
use parking_lot::Mutex;

use crate::contender::{Contender, Group, Limits, Plan, Seats, Spec, worst_case};

/// Names that bars refer to.
pub(crate) mod names {
    pub(crate) const CAS: &str = "bare CAS loop";
    pub(crate) const DASHMAP: &str = "dashmap (ahash) get + fetch_add";
    pub(crate) const GLOBAL_MUTEX: &str = "one global mutex, three counters";
}

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Keys1k, Keys1m, Levels, Refusal, Settle};
    vec![
        Spec::new(names::CAS, "", &[Direct], |plan| plan.seats(|| Ok(Cas::default())))
            .limiting(Limits::Nothing)
            .without_package(),
        Spec::new("fetch_add", "", &[Direct], |plan| plan.seats(|| Ok(FetchAdd::default())))
            .limiting(Limits::Nothing)
            .without_package(),
        Spec::new("mutex, compare and add", "parking_lot", &[Direct, Refusal], |plan| {
            plan.seats(|| Ok(Locked { max: plan.max, used: Arc::default() }))
        }),
        Spec::new("mutex, hold and settle", "parking_lot", &[Settle], |plan| {
            plan.seats(|| Ok(LockedHolds { max: plan.max, charged: Arc::default() }))
        }),
        Spec::new(names::DASHMAP, "dashmap", &[Keys1k, Keys1m, Group::Memory], |plan| {
            plan.seats(|| Ok(Mapped::<ahash::RandomState>(Arc::default())))
        })
        .limiting(Limits::Nothing),
        Spec::new("dashmap get + fetch_add, clock read per call", "dashmap", &[Keys1k, Keys1m], |plan| {
            plan.seats(|| Ok(Clocked(Mapped::<ahash::RandomState>(Arc::default()))))
        })
        .limiting(Limits::Nothing),
        Spec::new("dashmap (SipHash) get + fetch_add", "dashmap", &[Keys1k, Keys1m], |plan| {
            plan.seats(|| Ok(Mapped::<std::hash::RandomState>(Arc::default())))
        })
        .limiting(Limits::Nothing),
        Spec::new("mutex of a HashMap", "parking_lot", &[Keys1k], |plan| {
            plan.seats(|| Ok(LockedMap { max: plan.max, used: Arc::default() }))
        }),
        Spec::new("three CAS loops, no undo", "", &[Levels], cas_levels).limiting(Limits::Nothing).without_package(),
        Spec::new(names::GLOBAL_MUTEX, "parking_lot", &[Levels], locked_levels),
    ]
}

/// A word that is swapped for its successor, as a budget's would be.
#[derive(Clone, Default)]
struct Cas(Arc<AtomicU64>);

impl Contender for Cas {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        swap(&self.0, amount);
        true
    }
}

#[inline]
fn swap(word: &AtomicU64, amount: u64) {
    let mut current = word.load(Ordering::Acquire);
    while let Err(seen) = word.compare_exchange_weak(
        current,
        black_box(current.wrapping_add(amount)),
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        current = seen;
    }
}

#[derive(Clone, Default)]
struct FetchAdd(Arc<AtomicU64>);

impl Contender for FetchAdd {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        black_box(self.0.fetch_add(amount, Ordering::AcqRel));
        true
    }
}

/// The budget that one writes first.
#[derive(Clone)]
struct Locked {
    max: u64,
    used: Arc<Mutex<u64>>,
}

impl Contender for Locked {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        add(&mut self.used.lock(), amount, self.max)
    }
}

#[inline]
fn add(used: &mut u64, amount: u64, max: u64) -> bool {
    let fits = used.checked_add(amount).filter(|sum| *sum <= max);
    *used = fits.unwrap_or(*used);
    fits.is_some()
}

/// Reservations as one writes them first: a hold counts until it is settled.
#[derive(Clone)]
struct LockedHolds {
    max: u64,
    charged: Arc<Mutex<u64>>,
}

impl Contender for LockedHolds {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        let held = worst_case(amount);
        let fits = add(&mut self.charged.lock(), held, self.max);
        if fits {
            *self.charged.lock() -= held - amount;
        }
        fits
    }
}

/// A map of counters that nothing limits.
#[derive(Clone)]
struct Mapped<S>(Arc<DashMap<String, AtomicU64, S>>);

impl<S: std::hash::BuildHasher + Clone + Send + Sync> Contender for Mapped<S> {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        if let Some(counter) = self.0.get(key) {
            counter.fetch_add(amount, Ordering::AcqRel);
        } else {
            self.0.entry(key.to_owned()).or_default().fetch_add(amount, Ordering::AcqRel);
        }
        true
    }
}

/// A reading of the clock waits for the loads before it, so that nothing of a call is done while the call before waits for memory.
#[derive(Clone)]
struct Clocked<C>(C);

impl<C: Contender> Contender for Clocked<C> {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        black_box(SystemTime::now());
        self.0.ask(key, amount)
    }
}

/// The keyed budget that one writes first.
#[derive(Clone)]
struct LockedMap {
    max: u64,
    used: Arc<Mutex<HashMap<String, u64>>>,
}

impl Contender for LockedMap {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        let mut map = self.used.lock();
        if let Some(used) = map.get_mut(key) {
            add(used, amount, self.max)
        } else {
            add(map.entry(key.to_owned()).or_default(), amount, self.max)
        }
    }
}

/// A thread's own word, and two that all share.
struct CasLevels([Arc<AtomicU64>; 3]);

impl Contender for CasLevels {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.0.iter().for_each(|word| swap(word, amount));
        true
    }
}

fn cas_levels(plan: &Plan) -> Result<Seats> {
    let [user, total] = [Arc::default(), Arc::default()];
    plan.each(|_| Ok(CasLevels([Arc::default(), Arc::clone(&user), Arc::clone(&total)])))
}

/// The usual way to charge several budgets at once: one lock on all of them.
struct LockedLevels {
    max: u64,
    /// The user's, the total, and each thread's own behind them.
    used: Arc<Mutex<Vec<u64>>>,
    own: usize,
}

impl Contender for LockedLevels {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        let mut used = self.used.lock();
        let levels = [self.own, 0, 1];
        let fits = levels.iter().all(|level| used[*level].checked_add(amount).is_some_and(|sum| sum <= self.max));
        if fits {
            for level in levels {
                used[level] += amount;
            }
        }
        fits
    }
}

fn locked_levels(plan: &Plan) -> Result<Seats> {
    let used = Arc::new(Mutex::new(vec![0; 2 + plan.threads]));
    plan.each(|thread| Ok(LockedLevels { max: plan.max, used: Arc::clone(&used), own: 2 + thread }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::key;

    #[test]
    fn the_map_counts_what_it_is_asked() {
        let map = Mapped::<ahash::RandomState>(Arc::default());
        let mut seat = map.clone();
        assert!(seat.ask(&key(1), 3) && seat.ask(&key(1), 1));
        assert_eq!(map.0.get(&key(1)).map(|counter| counter.load(Ordering::Acquire)), Some(4));
    }
}
