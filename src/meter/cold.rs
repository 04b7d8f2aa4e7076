//! What few budgets need: most are charged in one window, and nothing else ever happens to them.
//!
//! The first operation that writes a word of it makes it, as the words stand in an unused budget ([`Mould`]). Until then they are read there. So
//! whoever finds none reads what he would have read in one that was just made; and who makes it needs to know nothing of what goes on
//! beside him.

use super::stripes::Stripes;
use super::{Course, Mould};
use crate::sync::{AtomicU32, AtomicU64, OnceBox};

#[derive(Debug)]
pub(super) struct Cold {
    /// Window and the part of the charged amount that is held.
    pub(super) held: AtomicU64,
    /// The window that ended last with something charged: what was charged, and what late settlements added.
    pub(super) ended: AtomicU64,
    /// The same window: what late settlements gave back before the hand-over.
    pub(super) returned: AtomicU64,
    /// The near side of the gap of which [`Meter::landed`](super::Meter) is the far side.
    pub(super) left: AtomicU64,
    /// Windows of even and of odd number, and the milestones, as bits, that a listener was told of in each: who is late with one of the window
    /// before is not lost to the newer one.
    pub(super) announced: [AtomicU64; 2],
    /// What resets took in the window, less what refunds of charges from before have asked for since.
    pub(super) forgiven: AtomicU64,
    /// Which of the engine's resets was this budget's last one, from 1.
    pub(super) last_reset: AtomicU64,
    /// How many charges of this budget were undone because another budget of their scope had no room.
    pub(super) undone: AtomicU32,
    /// Races lost by those who charged the word, until there are stripes.
    pub(super) lost: AtomicU32,
    /// Room that threads took, once that is worth it. Only of a budget whose windows follow the clock.
    pub(super) stripes: OnceBox<Stripes>,
    pub(super) course: Course,
}

impl Cold {
    /// As an unused budget has it.
    pub(super) fn new(mould: &Mould) -> Self {
        let unused = || AtomicU64::new(mould.unused);
        Self {
            held: unused(),
            ended: unused(),
            returned: unused(),
            left: AtomicU64::new(mould.left),
            announced: [unused(), unused()],
            forgiven: unused(),
            last_reset: AtomicU64::new(0),
            undone: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            stripes: OnceBox::new(),
            course: mould.course(),
        }
    }
}
