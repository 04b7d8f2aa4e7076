//! Who is in the middle of charging several budgets.
//!
//! Such an attempt may still be undone, so what it has charged so far is not a reason to refuse somebody else. It announces itself
//! before its first charge and takes the announcement back after its last charge or undo. A refuser waits until the attempts that it
//! may have seen have ended.
//!
//! Operations that change what is held announce themselves too, and those that change more than one budget: who wants to see, or to
//! change, several words as of one instant asks for a moment in which nothing is announced ([`Flights::exclusive`]).
//!
//! Announcements are spread over stripes so that threads do not share a line. Each stripe holds the number of attempts in flight in
//! its low bits, then a bit that keeps new ones waiting, and a count of those that ended above. Bit and number are in one word, so that
//! an announcement and the wish for a moment without any cannot miss each other.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, spin_loop, thread_index, yield_now};

#[cfg(not(loom))]
const STRIPES: usize = 64;
#[cfg(loom)]
const STRIPES: usize = 1;

const ACTIVE_BITS: u32 = 20;
const ACTIVE_MASK: u64 = (1 << ACTIVE_BITS) - 1;
/// Somebody wants, or has, the moment without announcements.
const CLOSED: u64 = 1 << ACTIVE_BITS;
const ENDED_SHIFT: u32 = ACTIVE_BITS + 1;
const ENDED_ONE: u64 = 1 << ENDED_SHIFT;

/// Turns of waiting for one stripe.
#[cfg(not(loom))]
const TURNS_MAX: u32 = 20_000;
#[cfg(loom)]
const TURNS_MAX: u32 = 3;
#[cfg(not(loom))]
const TURNS_SPUN: u32 = 64;
// Loom has to be told that another thread must run.
#[cfg(loom)]
const TURNS_SPUN: u32 = 0;

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

    /// Announces an attempt; waits while somebody has the moment without announcements, a few steps.
    #[inline]
    pub(crate) fn begin(&self) -> Flight<'_> {
        let stripe = &*self.stripes[thread_index() % STRIPES];
        // Release: whoever sees one of this attempt's charges (an AcqRel swap that comes after this) sees the announcement.
        // Acquire: pairs with the end of `Exclusive`, whose changes are seen.
        if stripe.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 { Flight { stripe } } else { begin_later(stripe) }
    }

    /// Waits until nothing is announced, and keeps it so until the answer is dropped. One at a time. Must not be asked for by a thread that
    /// is in flight itself.
    pub(crate) fn exclusive(&self) -> Exclusive<'_> {
        loop {
            if let Some(exclusive) = self.try_exclusive() {
                return exclusive;
            }
        }
    }

    /// Like [`Flights::exclusive`], but gives up when somebody in flight, or who has the moment, does not end within the bound (its thread
    /// does not run).
    pub(crate) fn try_exclusive(&self) -> Option<Exclusive<'_>> {
        let [first, ..] = &self.stripes;
        // Acquire: pairs with the end of the one before. The bit of the first stripe is everybody's turn.
        within_turns(|| first.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0)?;
        let exclusive = Exclusive { flights: self };
        for stripe in &self.stripes {
            stripe.fetch_or(CLOSED, Ordering::AcqRel);
        }
        for stripe in &self.stripes {
            // Pairs with the Release of `Flight::drop`: what it did is seen.
            within_turns(|| stripe.load(Ordering::Acquire) & ACTIVE_MASK == 0)?;
        }
        Some(exclusive)
    }

    /// A mark of this instant, if nothing is announced: the same mark later means that nothing has been meanwhile.
    pub(crate) fn quiet(&self) -> Option<u64> {
        self.stripes.iter().try_fold(0_u64, |sum, stripe| {
            // Pairs with the Release of `Flight::drop`.
            let seen = stripe.load(Ordering::Acquire);
            (seen & (ACTIVE_MASK | CLOSED) == 0).then(|| sum.wrapping_add(seen))
        })
    }

    /// Waits until every attempt has ended that was in flight when this was called. False when one did not end within the bound (its
    /// thread does not run).
    #[must_use]
    pub(crate) fn wait(&self) -> bool {
        self.stripes.iter().all(|stripe| wait_for(stripe))
    }
}

impl<'a> Exclusive<'a> {
    /// Announces what the owner of the moment does in it, for those who wait for attempts that may be undone.
    pub(crate) fn announce(&self) -> Flight<'a> {
        let stripe = &*self.flights.stripes[thread_index() % STRIPES];
        // As in `begin`; the bit that keeps new ones waiting is the owner's own.
        stripe.fetch_add(1, Ordering::AcqRel);
        Flight { stripe }
    }
}

/// Asks until the answer is yes, for a bounded number of turns.
fn within_turns(mut is_so: impl FnMut() -> bool) -> Option<()> {
    for turn in 0..TURNS_MAX {
        if is_so() {
            return Some(());
        }
        pause(turn);
    }
    None
}

/// The first turns spin, the others give the processor away.
fn pause(turn: u32) {
    if turn < TURNS_SPUN { spin_loop() } else { yield_now() }
}

/// Takes the announcement back, waits, and announces anew.
#[cold]
fn begin_later(stripe: &AtomicU64) -> Flight<'_> {
    loop {
        drop(Flight { stripe });
        while stripe.load(Ordering::Acquire) & CLOSED != 0 {
            yield_now();
        }
        if stripe.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
            return Flight { stripe };
        }
    }
}

fn wait_for(stripe: &AtomicU64) -> bool {
    // Pairs with the Release of `Flight::drop`: what an ended attempt undid is seen.
    let first = stripe.load(Ordering::Acquire);
    let mut seen = first;
    for turn in 0..TURNS_MAX {
        let the_only_one_ended = first & ACTIVE_MASK == 1 && seen >> ENDED_SHIFT != first >> ENDED_SHIFT;
        if seen & ACTIVE_MASK == 0 || the_only_one_ended {
            return true;
        }
        pause(turn);
        seen = stripe.load(Ordering::Acquire);
    }
    false
}

/// A moment in which nothing is announced; it ends when dropped.
pub(crate) struct Exclusive<'a> {
    flights: &'a Flights,
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        // The first stripe last: it is everybody's turn. Release: pairs with the Acquire of `begin` and `exclusive`.
        for stripe in self.flights.stripes.iter().rev() {
            stripe.fetch_and(!CLOSED, Ordering::Release);
        }
    }
}

impl Drop for Flight<'_> {
    #[inline]
    fn drop(&mut self) {
        self.stripe.fetch_add(ENDED_ONE - 1, Ordering::Release);
    }
}
