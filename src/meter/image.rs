//! What of a budget is written down, and how it is read back.
//!
//! **Story.** Writing down every charge would cost more than the charge. So what is written is a *ceiling*: an amount in a window that what is charged
//! stays below for a while. An operation that brought the budget above it has it raised before it answers; nearly none does, so nearly none writes.
//! Whoever reads the record back finds at least what was charged.
//!
//! **Who owns what.** `ceiling` is packed as the budget's word is, so that one comparison tells whether the word is above it, and a new window is
//! above it by itself. It changes under a lock of the writer's, and is never above what is written: it is set after the record with it was written. Who
//! lowers it puts it below everything first, and then reads the word by a read-modify-write. Of that and a charge's swap of the word one comes
//! first: either the charge is seen, and is in what is written; or it finds itself above the ceiling when it looks, after its swap, and waits for the lock.
//!
//! A rolling budget is above its ceiling at all times: each operation writes all of it down.

use super::cold::Cold;
use super::word::State;
use super::{Course as Follows, Meter, NO_WORD, change};
use crate::sync::{AtomicU64, Ordering};

/// How a budget stands, to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The number of the current window.
    pub(crate) window: i64,
    /// What is charged in it, used and held.
    pub(crate) charged: u64,
    /// The milestones that were told in it.
    pub(crate) told: u64,
    /// The window that ended last with something charged, and what was.
    pub(crate) ended: Option<(i64, u64)>,
    /// Which of the engine's resets was its last one, and what resets took in the current window that was not asked for since.
    pub(crate) reset: Option<(u64, u64)>,
    pub(crate) course: Course,
}

/// What the windows of an [`Image`] follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Clock,
    /// When the window began, as the meter counts.
    Use {
        began: u64,
    },
    /// Of the budget's own numbers; what the numbers that count have charged, used and held, in order. The window is the latest.
    Rolling {
        skew: i64,
        slots: Vec<(i64, u64)>,
    },
}

impl Image {
    /// Whether there is nothing to remember.
    pub(crate) fn is_nothing(&self) -> bool {
        let is_as_new = match self.course {
            Course::Clock => true,
            // It has begun, though what began it was given back.
            Course::Use { began } => began == 0,
            // Holds go by its own numbers, also those of nothing.
            Course::Rolling { skew, .. } => skew == 0,
        };
        self.charged == 0 && self.ended.is_none() && self.reset.is_none() && self.told == 0 && is_as_new
    }
}

/// The ceiling of a budget that nobody writes down.
pub(super) const UNWATCHED: u64 = u64::MAX;

impl Meter {
    /// An unused budget that is written down.
    pub(crate) fn watched(self) -> Self {
        // The word of a rolling budget is nobody's: it stands above the ceiling.
        let word = if self.has_several_words() { 1 } else { self.word.load(Ordering::Acquire) };
        Self { ceiling: AtomicU64::new(0), word: AtomicU64::new(word), ..self }
    }

    /// Whether there may be something to write down. A glance: what is charged meanwhile is not seen.
    pub(crate) fn is_used(&self) -> bool {
        let amount = self.layout().saturated() & self.word.load(Ordering::Acquire);
        // Below a ceiling somebody may charge at any moment, and write nothing.
        let is_written = ![0, UNWATCHED].contains(&self.ceiling.load(Ordering::Acquire));
        amount > 0 || is_written || self.cold.get().is_some()
    }

    /// How far the ceiling is above what is charged.
    pub(crate) fn slack(&self) -> u64 {
        let ceiling = self.ceiling.load(Ordering::Acquire);
        if ceiling == UNWATCHED {
            return 0;
        }
        if self.has_several_words() {
            return u64::MAX;
        }
        let word = self.word.load(Ordering::Acquire);
        let ceiling = self.layout().unpack(ceiling, 0);
        let state = self.layout().unpack(word, ceiling.window);
        if state.window == ceiling.window { ceiling.amount.saturating_sub(state.amount) } else { 0 }
    }

    /// How it stands, its window found near `near`: at least all that was charged by those who have looked at the ceiling before.
    pub(crate) fn image(&self, near: i64) -> Image {
        let _calm = self.calm();
        let (window, charged, course) = match self.course() {
            Follows::Clock => {
                let State { window, amount } = self.latest_state(near);
                (window, amount, Course::Clock)
            }
            Follows::Use(opened) => {
                // Numbered by use, not by the clock.
                let last = opened.last();
                let State { window, amount } = self.latest_state(last.window);
                let charged = if last.window == window { amount } else { 0 };
                (last.window, charged, Course::Use { began: last.amount })
            }
            Follows::Rolling(rolling) => {
                let (latest, skew, slots) = rolling.image();
                (
                    latest,
                    slots.iter().fold(0_u64, |sum, (_, amount)| sum.saturating_add(*amount)),
                    Course::Rolling { skew, slots },
                )
            }
        };
        let (ended, reset) = match self.cold.get() {
            None => (None, None),
            Some(cold) => {
                let ended = self.ended(window);
                let ended =
                    self.ended_in(ended.window).filter(|amount| *amount > 0).map(|amount| (ended.window, amount));
                let last = cold.last_reset.load(Ordering::Acquire);
                let forgiven = self.layout().unpack(cold.forgiven.load(Ordering::Acquire), window);
                let forgiven = if forgiven.window == window { forgiven.amount } else { 0 };
                (ended, (last > 0).then_some((last, forgiven)))
            }
        };
        let told = self.announced_in(self.told_in(window));
        Image { window, charged, told, ended, reset, course }
    }

    /// The state, read so that it is the last one there is: see the module.
    fn latest_state(&self, near: i64) -> State {
        self.layout().unpack(self.word.fetch_or(0, Ordering::AcqRel), near)
    }

    /// Puts the ceiling so much `ahead` of what is charged, if that is above it, once `write` has written it. Under the writer's lock.
    pub(crate) fn raise_ceiling<E>(
        &self,
        near: i64,
        ahead: impl FnOnce(&Image) -> u64,
        write: impl FnOnce(&Image) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.is_beyond() {
            // Somebody else has.
            return Ok(());
        }
        let image = self.image_to_raise(near, ahead);
        if image.is_nothing() {
            return Ok(());
        }
        // Written first: whoever finds the ceiling raised goes by it.
        write(&image)?;
        self.set_ceiling(&image);
        Ok(())
    }

    /// How it stands, with so much ahead of what is charged, but no lower than the ceiling: below that others charge, and write nothing.
    pub(crate) fn image_to_raise(&self, near: i64, ahead: impl FnOnce(&Image) -> u64) -> Image {
        let mut image = self.image_ahead(near, ahead);
        self.up_to_ceiling(&mut image);
        image
    }

    /// How it stands, with so much ahead of what is charged.
    pub(crate) fn image_ahead(&self, near: i64, ahead: impl FnOnce(&Image) -> u64) -> Image {
        let image = self.image(near);
        let charged = image.charged.saturating_add(ahead(&image)).min(self.layout().saturated());
        Image { charged, ..image }
    }

    /// Sets the ceiling to what an image says. Under the writer's lock.
    pub(crate) fn set_ceiling(&self, image: &Image) {
        if !self.has_several_words() {
            let ceiling = self.layout().pack(State { window: image.window, amount: image.charged });
            let next = self.layout().pack(State { window: image.window.wrapping_add(1), amount: 0 });
            // Numbers come round in the word's high bits once in decades: until they have, every charge is looked at.
            let ceiling = if next == 0 || ceiling == UNWATCHED { 0 } else { ceiling };
            // Release: pairs with the load in `is_beyond`.
            self.ceiling.store(ceiling, Ordering::Release);
        }
    }

    /// Puts the ceiling below everything: whoever charges from now on, and is not seen by whoever reads it next, is above it. The first step
    /// of lowering it, under the writer's lock.
    pub(crate) fn seal(&self) {
        // Release: as in `set_ceiling`.
        self.ceiling.store(0, Ordering::Release);
    }

    /// The ceiling in window `window`; `None` when it is not written down.
    pub(super) fn ceiling_in(&self, window: i64) -> Option<u64> {
        let ceiling = self.ceiling.load(Ordering::Acquire);
        if ceiling == UNWATCHED {
            return None;
        }
        let ceiling = self.layout().unpack(ceiling, window);
        Some(if ceiling.window == window { ceiling.amount } else { 0 })
    }

    /// What is charged as the ceiling allows: at least what an image says, and at most what was written.
    pub(crate) fn up_to_ceiling(&self, image: &mut Image) {
        if let (Some(ceiling), false) = (self.ceiling_in(image.window), self.has_several_words()) {
            image.charged = image.charged.max(ceiling);
        }
    }

    /// Stands as the image says, all of it used. Nobody else has it yet.
    pub(crate) fn restore(&self, image: &Image) {
        let &Image { window, charged, told, ended, reset, .. } = image;
        let layout = self.layout();
        let at = |window, amount: u64| layout.pack(State { window, amount: amount.min(layout.saturated()) });
        match (self.course(), &image.course) {
            (Follows::Rolling(rolling), Course::Rolling { skew, slots }) => rolling.restore(window, *skew, slots),
            (Follows::Use(opened), Course::Use { began }) => {
                opened.restore(window, *began);
                self.word.store(at(window, charged), Ordering::Release);
            }
            _ => self.word.store(at(window, charged), Ordering::Release),
        }
        if self.ceiling.load(Ordering::Acquire) != UNWATCHED {
            self.set_ceiling(image);
        }
        // Made in a later window, the words beside it would take no note of what comes late for this one.
        if matches!(self.course(), Follows::Clock) && layout.unpack(self.mould.unused, window).window != window {
            let Cold { held, ended, returned, announced: [even, odd], forgiven, .. } = self.cold();
            for word in [held, ended, returned, even, odd, forgiven] {
                word.store(at(window, 0), Ordering::Release);
            }
        }
        if told > 0 {
            self.announce(window, told);
        }
        if let Some((window, amount)) = ended {
            self.cold().ended.store(at(window, amount), Ordering::Release);
        }
        if let Some((last, forgiven)) = reset {
            self.cold().forgiven.store(at(window, forgiven), Ordering::Release);
            self.cold().last_reset.store(last, Ordering::Release);
        }
    }

    /// Counts what a hold that was read back holds as held. It is among what was restored as used; unless a reset took it for used, between
    /// its settlement and the writing of that. Then it is charged again, since it is open again.
    pub(crate) fn hold_again(&self, window: i64, amount: u64) {
        if let Follows::Rolling(rolling) = self.course() {
            return rolling.hold_again(window, amount);
        }
        self.hold(window, amount);
        let held = self.held_in(window);
        change(&self.word, self.layout(), window, |state| {
            let is_there = state.window == window;
            State { amount: if is_there { state.amount.max(held) } else { state.amount }, ..state }
        });
    }
}

/// A word that no admission goes by is a ceiling that none is above.
const _: () = assert!(UNWATCHED == NO_WORD);

#[cfg(all(test, loom))]
mod loom_tests;
