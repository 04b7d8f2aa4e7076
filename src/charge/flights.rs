//! Who is in the middle of charging several budgets.
//!
//! Such an attempt may still be undone, so what it has charged so far is not a reason to refuse somebody else. It announces itself
//! before its first charge and takes the announcement back after its last charge or undo. A refuser waits until the attempts that it
//! may have seen have ended.
//!
//! Operations that change what is held announce themselves too, and those that change more than one budget: who wants to see, or to
//! change, several words as of one instant asks for a moment in which nothing is announced ([`Flights::exclusive`]).
//!
//! Announcements are spread over stripes so that threads do not share a line. Each stripe counts the attempts that began, with a bit that keeps
//! new ones waiting, and apart from them those that ended. Bit and count are in one word, so that an announcement and the wish for a moment
//! without any cannot miss each other. More have begun than have ended while something is in flight: whoever compares them reads the ended ones
//! first, and then never finds too many of them.
//!
//! The first stripes belong to one thread each, and its ends are plain stores. All others share the rest.

use std::marker::PhantomData;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, spin_loop, thread_index, yield_now};

#[cfg(not(loom))]
const OWN: usize = 64;
#[cfg(not(loom))]
const SHARED: usize = 32;
// A model says which threads have the one stripe to themselves.
#[cfg(loom)]
const OWN: usize = 0;
#[cfg(loom)]
const SHARED: usize = 1;

/// Somebody wants, or has, the moment without announcements.
const CLOSED: u64 = 1 << 63;

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
    stripes: [CachePadded<Stripe>; OWN + SHARED],
}

#[derive(Debug)]
struct Stripe {
    /// How many attempts have begun, and [`CLOSED`].
    begun: AtomicU64,
    ended: AtomicU64,
}

/// An attempt in flight; it ends when dropped, by the thread that began it.
pub(crate) struct Flight<'a> {
    stripe: &'a Stripe,
    is_own: bool,
    of_its_thread: PhantomData<*const ()>,
}

impl Flights {
    pub(crate) fn new() -> Self {
        let stripe = || Stripe { begun: AtomicU64::new(0), ended: AtomicU64::new(0) };
        Self { stripes: std::array::from_fn(|_| CachePadded::new(stripe())) }
    }

    /// Announces an attempt; waits while somebody has the moment without announcements, a few steps.
    #[inline]
    pub(crate) fn begin(&self) -> Flight<'_> {
        let (flight, is_closed) = self.announce();
        if is_closed { flight.begin_later() } else { flight }
    }

    /// Announces an attempt, and says whether somebody wants no announcements.
    #[inline]
    fn announce(&self) -> (Flight<'_>, bool) {
        let (index, is_own) = stripe_of_thread();
        Flight::begin(&self.stripes[index], is_own)
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
        within_turns(|| first.begun.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0)?;
        let exclusive = Exclusive { flights: self };
        for stripe in &self.stripes {
            stripe.begun.fetch_or(CLOSED, Ordering::AcqRel);
        }
        for stripe in &self.stripes {
            within_turns(|| stripe.at_rest().is_some())?;
        }
        Some(exclusive)
    }

    /// A mark of this instant, if nothing is announced: the same mark later means that nothing has been meanwhile.
    pub(crate) fn quiet(&self) -> Option<u64> {
        self.stripes.iter().try_fold(0_u64, |sum, stripe| {
            stripe.at_rest().filter(|begun| begun & CLOSED == 0).map(|begun| sum.wrapping_add(begun))
        })
    }

    /// Waits until every attempt has ended that was in flight when this was called. False when one did not end within the bound (its
    /// thread does not run).
    #[must_use]
    pub(crate) fn wait(&self) -> bool {
        let (own, shared) = self.stripes.split_at(OWN);
        // One thread's attempts end in their order; of those of several threads a later one may end first.
        own.iter().all(|stripe| stripe.wait_for_begun()) && shared.iter().all(|stripe| stripe.wait_for_rest())
    }
}

/// The place of the calling thread's stripe, and whether it has it to itself.
#[cfg(not(loom))]
#[inline]
fn stripe_of_thread() -> (usize, bool) {
    let index = thread_index();
    if index < OWN { (index, true) } else { (OWN + index % SHARED, false) }
}

/// The one stripe.
#[cfg(loom)]
fn stripe_of_thread() -> (usize, bool) {
    (0, thread_index() == THREAD_ALONE)
}

/// The number of a model's thread that has the stripe to itself.
#[cfg(loom)]
pub(crate) const THREAD_ALONE: usize = usize::MAX;

impl<'a> Flight<'a> {
    /// Counts an attempt that begins; says whether it has to wait.
    #[inline]
    fn begin(stripe: &'a Stripe, is_own: bool) -> (Self, bool) {
        // Release: whoever sees one of this attempt's charges (an AcqRel swap that comes after this) sees the announcement.
        // Acquire: pairs with the end of `Exclusive`, whose changes are seen.
        let begun = stripe.begun.fetch_add(1, Ordering::AcqRel);
        (Self { stripe, is_own, of_its_thread: PhantomData }, begun & CLOSED != 0)
    }

    /// Takes the announcement back, waits, and announces anew.
    #[cold]
    fn begin_later(self) -> Self {
        let Self { stripe, is_own, .. } = self;
        let mut refused = self;
        loop {
            drop(refused);
            while stripe.begun.load(Ordering::Acquire) & CLOSED != 0 {
                yield_now();
            }
            let (flight, is_closed) = Self::begin(stripe, is_own);
            if !is_closed {
                return flight;
            }
            refused = flight;
        }
    }
}

impl Stripe {
    fn ended(&self) -> u64 {
        // Pairs with the Release of `Flight::drop`: what the ended attempts did is seen, and that they began.
        self.ended.load(Ordering::Acquire)
    }

    /// The attempts that have begun, and [`CLOSED`], if all had ended at an instant between the two looks.
    fn at_rest(&self) -> Option<u64> {
        let ended = self.ended();
        // Acquire: as `begin`.
        let begun = self.begun.load(Ordering::Acquire);
        (begun & !CLOSED == ended).then_some(begun)
    }

    /// Waits until as many have ended as have begun by now.
    fn wait_for_begun(&self) -> bool {
        let begun = self.begun.load(Ordering::Acquire) & !CLOSED;
        within_turns(|| self.ended() >= begun).is_some()
    }

    fn wait_for_rest(&self) -> bool {
        within_turns(|| self.at_rest().is_some()).is_some()
    }
}

impl<'a> Exclusive<'a> {
    /// Announces what the owner of the moment does in it, for those who wait for attempts that may be undone.
    pub(crate) fn announce(&self) -> Flight<'a> {
        // The bit that keeps new ones waiting is the owner's own.
        let (flight, _) = self.flights.announce();
        flight
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

/// A moment in which nothing is announced; it ends when dropped.
pub(crate) struct Exclusive<'a> {
    flights: &'a Flights,
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        // The first stripe last: it is everybody's turn. Release: pairs with the Acquire of `begin` and `exclusive`.
        for stripe in self.flights.stripes.iter().rev() {
            stripe.begun.fetch_and(!CLOSED, Ordering::Release);
        }
    }
}

impl Drop for Flight<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the look in `Stripe::ended`.
        if self.is_own {
            // Relaxed: no other thread writes it.
            let ended = self.stripe.ended.load(Ordering::Relaxed);
            self.stripe.ended.store(ended + 1, Ordering::Release);
        } else {
            self.stripe.ended.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// A store counts out of a stripe of a thread's own: a second thread there would lose counts.
    #[test]
    fn no_two_threads_that_live_have_one_own_stripe() {
        const THREADS: usize = 3 * OWN;
        let together = Barrier::new(THREADS);
        let stripe = || {
            let stripe = stripe_of_thread();
            together.wait();
            stripe
        };
        let stripes: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(stripe)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (own, shared): (Vec<_>, Vec<_>) = stripes.into_iter().partition(|(_, is_own)| *is_own);
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len());
        assert!(own.iter().all(|(index, _)| *index < OWN), "{own:?}");
        assert!(shared.iter().all(|(index, _)| (OWN..OWN + SHARED).contains(index)), "{shared:?}");
    }
}
