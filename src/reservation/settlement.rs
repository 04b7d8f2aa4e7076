//! What a settlement charged, as its hold keeps it: nearly always a few plain words.

use std::sync::OnceLock;

use smallvec::SmallVec;

use crate::amount::{Cost, Resource};
use crate::report::Overage;
use crate::sync::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use crate::time::Timestamp;

/// What a settlement charged: its receipt, but for the windows.
#[derive(Clone)]
pub(super) struct Settlement {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    /// How many resets the engine had carried out.
    pub(super) resets: u64,
    pub(super) charged: Cost,
    pub(super) overages: SmallVec<[Overage; 0]>,
    pub(super) late: bool,
}

/// As many resources as a cost holds without allocating.
const ITEMS: usize = 4;

/// How many resources were charged: the low bits of `form`.
const COUNT: u8 = 7;
const UNPRICED: u8 = 8;
const LATE: u8 = 16;

/// A place for one settlement. Whoever settles the hold writes it down, once, and says so with a Release; whoever has seen that (Acquire) may
/// read it. So its words need no order of their own.
pub(super) struct Written {
    number: AtomicU64,
    at: AtomicI64,
    resets: AtomicU64,
    form: AtomicU8,
    /// Each resource, and how much of it.
    items: [[AtomicU64; 2]; ITEMS],
    /// One that has overages, or charges more resources: all of it.
    whole: OnceLock<Box<Settlement>>,
}

impl Written {
    pub(super) fn nothing() -> Self {
        Self {
            number: AtomicU64::new(0),
            at: AtomicI64::new(0),
            resets: AtomicU64::new(0),
            form: AtomicU8::new(0),
            items: std::array::from_fn(|_| [AtomicU64::new(0), AtomicU64::new(0)]),
            whole: OnceLock::new(),
        }
    }

    pub(super) fn write(&self, settlement: &Settlement) {
        let Settlement { number, at, resets, charged, overages, late } = settlement;
        let items = charged.items.as_slice();
        if items.len() > ITEMS || !overages.is_empty() {
            let _ = self.whole.set(Box::new(settlement.clone()));
            return;
        }
        // Relaxed: these, and those of `read`, are ordered by the hold's outcome.
        let order = Ordering::Relaxed;
        self.number.store(*number, order);
        self.at.store(at.as_micros(), order);
        self.resets.store(*resets, order);
        for ([resource, amount], item) in self.items.iter().zip(items) {
            resource.store(item.0.bits(), order);
            amount.store(item.1, order);
        }
        let unpriced = if charged.unpriced { UNPRICED } else { 0 };
        self.form.store(items.len() as u8 | unpriced | if *late { LATE } else { 0 }, order);
    }

    pub(super) fn read(&self) -> Settlement {
        if let Some(whole) = self.whole.get() {
            return (**whole).clone();
        }
        // Relaxed: as in `write`.
        let order = Ordering::Relaxed;
        let form = self.form.load(order);
        let items = self.items[..usize::from(form & COUNT)].iter();
        let items = items.map(|[resource, amount]| (Resource::from_bits(resource.load(order)), amount.load(order)));
        Settlement {
            number: self.number.load(order),
            at: Timestamp::from_micros(self.at.load(order)),
            resets: self.resets.load(order),
            charged: Cost { items: items.collect(), unpriced: form & UNPRICED != 0 },
            overages: SmallVec::new(),
            late: form & LATE != 0,
        }
    }
}
