//! What a step at a gate leads to, one after the other.
//!
//! A settled child brings its allowance level, which settles the reservation that the allowance was made of, which brings the allowance
//! around it level, and so on up; dropping them goes the same way. Whatever comes up while this thread is at it waits for its turn, so that
//! the depth of allowances is not limited by the stack.

use std::cell::RefCell;
use std::sync::Arc;

use super::owner::{Owned, Owner, Standing};
use crate::time::Timestamp;

enum Work {
    Tell(Arc<dyn Owner>, Standing, Timestamp),
    Drop(Vec<Owned>),
}

impl Work {
    fn run(self) {
        match self {
            Self::Tell(owner, standing, at) => owner.changed(standing, at),
            Self::Drop(owners) => drop(owners),
        }
    }
}

thread_local! {
    /// What waits for its turn; `None` while this thread is at nothing.
    static WAITING: RefCell<Option<Vec<Work>>> = const { RefCell::new(None) };
}

/// Tells `owner` where its gate stands after a step of an operation at `at`.
pub(super) fn tell(owner: &Arc<dyn Owner>, standing: Standing, at: Timestamp) {
    // Loom's threads share the thread's locals.
    if cfg!(loom) {
        return owner.changed(standing, at);
    }
    in_turn(Work::Tell(Arc::clone(owner), standing, at));
}

/// Drops `owners`.
pub(super) fn forget(owners: Vec<Owned>) {
    if !owners.is_empty() {
        in_turn(Work::Drop(owners));
    }
}

fn in_turn(work: Work) {
    let mut mine = Some(work);
    // After the thread's locals are gone it is done at once.
    let begins = WAITING.try_with(|waiting| match &mut *waiting.borrow_mut() {
        Some(waiting) => {
            waiting.extend(mine.take());
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    // Not made where it does not begin: dropping it ends the turn.
    let _turn = if begins.unwrap_or(false) { Some(Turn) } else { None };
    while let Some(work) = mine.take() {
        work.run();
        mine = WAITING.try_with(|waiting| waiting.borrow_mut().as_mut().and_then(Vec::pop)).ok().flatten();
    }
}

/// This thread is at it; the next one may begin when it is dropped.
struct Turn;

impl Drop for Turn {
    fn drop(&mut self) {
        // Empty, but for a panic: then it is dropped here, outside the borrow.
        let _left = WAITING.try_with(|waiting| waiting.borrow_mut().take());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Weak;

    use super::super::owner::Gate;
    use super::*;
    use crate::subject::Subject;
    use crate::sync::{AtomicU32, Ordering};

    /// Tells the one above it when it is told, and keeps it.
    struct Link {
        gate: Gate,
        above: Option<Arc<dyn Owner>>,
        told: Arc<AtomicU32>,
        subject: Subject,
        fails: bool,
    }

    impl Owner for Link {
        fn gate(&self) -> &Gate {
            &self.gate
        }

        fn subject(&self) -> &Subject {
            &self.subject
        }

        fn changed(&self, standing: Standing, at: Timestamp) {
            self.told.fetch_add(1, Ordering::AcqRel);
            if let Some(above) = &self.above {
                tell(above, standing, at);
            }
            assert!(!self.fails, "expected: the link fails");
        }

        fn end(&self, _: Timestamp) {}
    }

    impl Drop for Link {
        fn drop(&mut self) {
            let above = self.above.take().map(|owner| Owned { owner, only: None, of: Vec::new() });
            forget(above.into_iter().collect());
        }
    }

    fn chain(links: u32, fails: bool) -> (Arc<dyn Owner>, Weak<dyn Owner>, Arc<AtomicU32>) {
        let told = Arc::new(AtomicU32::new(0));
        let link = |above| {
            let (gate, told, subject) = (Gate::new(), Arc::clone(&told), Subject::global());
            Arc::new(Link { gate, above, told, subject, fails }) as Arc<dyn Owner>
        };
        let top = link(None);
        let watched = Arc::downgrade(&top);
        ((1..links).fold(top, |above, _| link(Some(above))), watched, told)
    }

    #[test]
    fn a_chain_of_any_length_is_told_and_dropped_on_a_small_stack() {
        let (bottom, top, told) = chain(200_000, false);
        tell(&bottom, bottom.gate().touch(), Timestamp::UNIX_EPOCH);
        assert_eq!(told.load(Ordering::Acquire), 200_000);
        drop(bottom);
        assert!(top.upgrade().is_none());
    }

    #[test]
    fn a_panic_on_the_way_does_not_end_all_turns() {
        let (bottom, _, _) = chain(3, true);
        let telling = || tell(&bottom, bottom.gate().touch(), Timestamp::UNIX_EPOCH);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(telling)).is_err());
        let (bottom, _, told) = chain(3, false);
        tell(&bottom, bottom.gate().touch(), Timestamp::UNIX_EPOCH);
        assert_eq!(told.load(Ordering::Acquire), 3);
    }
}
