//! What a step at a gate leads to, one after the other.
//!
//! A settled child brings its allowance level, which settles the reservation that the allowance was made of, which brings the allowance
//! around it level, and so on up; dropping them goes the same way. Whatever comes up while this thread is at it waits for its turn, so that
//! the depth of allowances is not limited by the stack.

use std::cell::RefCell;
use std::sync::Arc;

use super::owner::{Owned, Owner, Standing};

enum Work {
    Tell(Arc<dyn Owner>, Standing),
    Drop(Vec<Owned>),
}

impl Work {
    fn run(self) {
        match self {
            Self::Tell(owner, standing) => owner.changed(standing),
            Self::Drop(owners) => drop(owners),
        }
    }
}

thread_local! {
    /// What waits for its turn; `None` while this thread is at nothing.
    static WAITING: RefCell<Option<Vec<Work>>> = const { RefCell::new(None) };
}

/// Tells `owner` where its gate stands after a step.
pub(super) fn tell(owner: &Arc<dyn Owner>, standing: Standing) {
    // Loom's threads share the thread's locals.
    if cfg!(loom) {
        return owner.changed(standing);
    }
    in_turn(Work::Tell(Arc::clone(owner), standing));
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
