//! Who is in the middle of charging several budgets.
//!
//! Such an attempt may still be undone, so what it has charged so far is not a reason to refuse somebody else. It announces itself
//! before its first charge and takes the announcement back after its last charge or undo. A refuser waits until the attempts that it
//! may have seen have ended.
//!
//! Announcements are spread over stripes so that threads do not share a line. Each stripe holds the number of attempts in flight in
//! its low bits and a count of those that ended above.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, spin_loop, thread_index, yield_now};

#[cfg(not(loom))]
const STRIPES: usize = 64;
#[cfg(loom)]
const STRIPES: usize = 1;

const ACTIVE_BITS: u32 = 20;
const ACTIVE_MASK: u64 = (1 << ACTIVE_BITS) - 1;
const ENDED_ONE: u64 = 1 << ACTIVE_BITS;

/// Turns of waiting for one stripe: the first ones spin, the others give the processor away.
#[cfg(not(loom))]
const TURNS_MAX: u32 = 20_000;
#[cfg(loom)]
const TURNS_MAX: u32 = 3;
const TURNS_SPUN: u32 = 64;

/// The announcements of one engine.
#[derive(Debug)]
pub(crate) struct Flights {
    stripes: [CachePadded<AtomicU64>; STRIPES],
}

/// An attempt in flight; it ends when dropped.
pub(crate) struct Flight<'a> {
    stripe: &'a AtomicU64,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self { stripes: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(0))) }
    }

    /// Announces an attempt.
    #[inline]
    pub(crate) fn begin(&self) -> Flight<'_> {
        let stripe = &*self.stripes[thread_index() % STRIPES];
        // Whoever sees one of this attempt's charges (an AcqRel swap that comes after this) sees the announcement.
        stripe.fetch_add(1, Ordering::Release);
        Flight { stripe }
    }

    /// Waits until every attempt has ended that was in flight when this was called. False when one did not end within the bound (its
    /// thread does not run).
    #[must_use]
    pub(crate) fn wait(&self) -> bool {
        self.stripes.iter().all(|stripe| wait_for(stripe))
    }
}

fn wait_for(stripe: &AtomicU64) -> bool {
    // Pairs with the Release of `Flight::drop`: what an ended attempt undid is seen.
    let first = stripe.load(Ordering::Acquire);
    let mut seen = first;
    for turn in 0..TURNS_MAX {
        let the_only_one_ended = first & ACTIVE_MASK == 1 && seen >> ACTIVE_BITS != first >> ACTIVE_BITS;
        if seen & ACTIVE_MASK == 0 || the_only_one_ended {
            return true;
        }
        if turn < TURNS_SPUN {
            spin_loop();
        } else {
            yield_now();
        }
        seen = stripe.load(Ordering::Acquire);
    }
    false
}

impl Drop for Flight<'_> {
    #[inline]
    fn drop(&mut self) {
        self.stripe.fetch_add(ENDED_ONE - 1, Ordering::Release);
    }
}
