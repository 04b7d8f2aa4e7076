//! Stripes: room of one budget that threads have taken for themselves, so that charging it does not fetch everybody's line.
//!
//! **Story.** A stripe is a hold that no caller made. A thread that charged the budget's word takes a share of what is left into its
//! stripe, in one swap of the word, and charges from there by a swap of the stripe alone. So the word counts what is charged *and* what stripes
//! hold: it may say too much, never too little, and whoever fits beside what it says fits.
//!
//! **Near the limit, and for whoever must know**, what stripes hold goes back into the word, as a hold is released: a [`Calm`] does that, and
//! keeps new room from being taken until it is dropped. A refusal, a report, a reset, a rollover, a raise above what the stripes stand for:
//! each of them looks at the word in a calm. Shares are small parts of what is left, and none is taken where a few hundred calls would
//! use up the rest, so that budgets near their limits count in the word alone.
//!
//! **What keeps it exact.** Room in a stripe was taken in one window under one max, its *arming*, which stands in the stripe beside the room:
//! a charge that found another window or max to be armed meanwhile does not find its stripe as it expects it. Whatever raises the word
//! above the armed max, or opens a window, empties the stripes before it answers: so as long as there is room in a stripe, the word stands at
//! most at that max, in that window, but for operations that have not answered yet, and those count as coming after the charge.
//!
//! **Who locks.** Charging a stripe takes no lock, nor does charging the word. Taking room tries the lock and goes without if it is busy; a calm
//! is the lock. No other lock is asked for, nothing is waited for and no code of the host's runs under it.

use crossbeam_utils::CachePadded;

use super::word::{Layout, State};
use super::{change, transition};
use crate::sync::{AtomicI64, AtomicU64, Mutex, MutexGuard, Ordering, stripes_count, thread_index};

/// The number of an arming above the room.
const SLOT: Layout = Layout::with_bits(32);
/// The most room that a stripe holds.
const ROOM_MAX: u64 = SLOT.saturated() - 1;
/// Of what is left all stripes together take one part in so many at a time.
const LEFT_SHARES: u64 = if EAGER { 1 } else { 4 };
/// Calls that a share must be enough for, each like the one that asks for it.
const CALLS_MIN: u64 = if EAGER { 2 } else { 8 };
/// Calls that a share is enough for at most.
const CALLS_MAX: u64 = 1 << 12;
/// Askers with another max than the armed one before theirs is armed: caps are changed rarely, but scopes of one budget may differ in them.
const OTHERS_MAX: u32 = if EAGER { 0 } else { 64 };
/// For models and tests: room is taken where next to nothing is left.
const EAGER: bool = cfg!(any(loom, encumber_striped));

/// The stripes of a budget whose windows follow the clock.
#[derive(Debug)]
pub(super) struct Stripes {
    /// The number of the arming, and what is armed. Written under the lock.
    arming: AtomicU64,
    window: AtomicI64,
    max: AtomicU64,
    slots: Box<[CachePadded<AtomicU64>]>,
    lock: Mutex<Others>,
}

/// Askers with another max since the last one that had the armed one.
#[derive(Debug)]
struct Others(u32);

/// No stripe holds room as long as this lives.
pub(super) struct Calm<'a> {
    _locked: MutexGuard<'a, Others>,
}

/// Where room is taken, by whom, and for what.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) window: i64,
    pub(super) max: u64,
    /// What the call was charged.
    pub(super) amount: u64,
}

impl Stripes {
    /// Armed for nothing.
    pub(super) fn new() -> Self {
        Self {
            arming: AtomicU64::new(0),
            window: AtomicI64::new(i64::MIN),
            max: AtomicU64::new(0),
            slots: (0..stripes_count()).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            lock: Mutex::new(Others(0)),
        }
    }

    /// The max that room is taken under.
    #[inline]
    pub(super) fn max(&self) -> u64 {
        // Pairs with the store in `arm`, through the word: see `Meter::reined_in`.
        self.max.load(Ordering::Acquire)
    }

    /// Charges the thread's stripe, if it has room that was taken in `window` under `max`.
    #[inline]
    pub(super) fn charge(&self, Share { window, max, amount }: Share) -> bool {
        // Pair with the Release stores in `arm`: who sees a later arming in one of them finds it in the slot, or a later one, and changes nothing.
        let arming = self.arming.load(Ordering::Acquire) as i64;
        if self.window.load(Ordering::Acquire) != window || self.max.load(Ordering::Acquire) != max {
            return false;
        }
        let charged = transition(self.slot(), SLOT, arming, |room| match room.amount.checked_sub(amount) {
            Some(left) if room.window == arming => Ok(State { amount: left, ..room }),
            _ => Err(()),
        });
        charged.is_ok()
    }

    /// Takes room for the thread's stripe out of `word`, if much is left there below `bound`. Without the lock it takes none.
    pub(super) fn take(
        &self,
        share: Share,
        bound: u64,
        (word, layout): (&AtomicU64, Layout),
        give_back: impl FnOnce(i64, u64),
    ) {
        let Some(mut others) = self.lock.try_lock() else { return };
        let Share { window, max, amount } = share;
        // Relaxed: written under this lock.
        let (armed, armed_max) = (self.window.load(Ordering::Relaxed), self.max.load(Ordering::Relaxed));
        if (armed, armed_max) == (window, max) {
            others.0 = 0;
            // Another thread of this stripe may have been here.
            if SLOT.unpack(self.slot().load(Ordering::Acquire), self.armed()).amount >= amount {
                return;
            }
        } else if armed < window || others.0 >= OTHERS_MAX {
            let (window, room) = self.empty();
            self.arm(share);
            others.0 = 0;
            if room > 0 {
                give_back(window, room);
            }
        } else {
            others.0 += 1;
            return;
        }
        let mut taken = 0;
        let raised = transition(word, layout, window, |state| {
            taken = self.share_of(bound.saturating_sub(state.amount), amount);
            let is_there = state.window == window && state.amount <= max && taken > 0;
            if is_there { Ok(State { amount: state.amount + taken, ..state }) } else { Err(()) }
        });
        if raised.is_ok() {
            // The sum fits: shares are cut to what the field has room for beside another one.
            change(self.slot(), SLOT, self.armed(), |room| State { amount: room.amount + taken, ..room });
        }
    }

    /// Keeps room from being taken, and takes what the stripes hold: how much, and the window that it is of.
    pub(super) fn calm(&self) -> (Calm<'_>, i64, u64) {
        let locked = self.lock.lock();
        let (window, room) = self.empty();
        (Calm { _locked: locked }, window, room)
    }

    /// Takes what the stripes hold. Under the lock.
    fn empty(&self) -> (i64, u64) {
        let arming = self.armed();
        let take = |slot: &CachePadded<AtomicU64>| {
            let (before, _) = change(slot, SLOT, arming, |room| State { amount: 0, ..room });
            before.amount
        };
        // Relaxed: written under the lock.
        (self.window.load(Ordering::Relaxed), self.slots.iter().map(take).sum())
    }

    /// Arms the empty stripes anew. Under the lock.
    fn arm(&self, Share { window, max, .. }: Share) {
        let arming = self.armed().wrapping_add(1);
        for slot in &self.slots {
            change(slot, SLOT, arming, |_| State { window: arming, amount: 0 });
        }
        // After the slots. Release: see `charge`.
        self.window.store(window, Ordering::Release);
        self.max.store(max, Ordering::Release);
        self.arming.store(arming as u64, Ordering::Release);
    }

    /// The number of the arming. Under the lock.
    fn armed(&self) -> i64 {
        // Relaxed: written under the lock.
        self.arming.load(Ordering::Relaxed) as i64
    }

    /// How much room a stripe takes where so much is left, for calls of `amount`; 0 where it is better to count in the word.
    fn share_of(&self, left: u64, amount: u64) -> u64 {
        let share = left / LEFT_SHARES / self.slots.len() as u64;
        let share = share.min(amount.saturating_mul(CALLS_MAX)).min(ROOM_MAX / 2);
        if share / CALLS_MIN >= amount { share } else { 0 }
    }

    fn slot(&self) -> &AtomicU64 {
        &self.slots[thread_index() % self.slots.len()]
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
