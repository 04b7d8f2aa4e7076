//! What of a budget is written down, and how it is read back.
//!
//! **Story.** Writing down every charge would cost more than the charge. So what is written is a *ceiling*: an amount in a window that what is charged
//! stays below for a while. An operation that brought the budget above it has it raised before it answers; nearly none does, so nearly none writes.
//! Whoever reads the record back finds at least what was charged.
//!
//! **Who owns what.** `ceiling` is packed as the budget's word is, so that one comparison tells whether the word is above it, and a new window is
//! above it by itself. It changes under a lock of the writer's, one for each budget. It is raised after the record with it was written. It is
//! lowered before: who lowers it stores it, and then reads the word by a read-modify-write. Of that and a charge's swap of the word one comes
//! first: either the charge is seen, and the ceiling raised again before it is written; or the charge sees the lower ceiling when it looks, after its swap.
//!
//! A rolling budget is above its ceiling at all times: each operation writes all of it down.

use super::word::State;
use super::{Course as Follows, Meter, NO_WORD};
use crate::sync::Ordering;

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
        self.charged == 0 && self.ended.is_none() && self.reset.is_none() && self.told == 0
    }
}

/// The ceiling of a budget that nobody writes down.
pub(super) const UNWATCHED: u64 = u64::MAX;

impl Meter {
    /// An unused budget that is written down.
    pub(crate) fn watched(mut self) -> Self {
        *self.ceiling.get_mut() = 0;
        if self.has_several_words() {
            // Its word is nobody's: it stands above the ceiling.
            *self.word.get_mut() = 1;
        }
        self
    }

    /// Whether there may be something to write down. A glance: what is charged meanwhile is not seen.
    pub(crate) fn is_used(&self) -> bool {
        let amount = self.layout().saturated() & self.word.load(Ordering::Acquire);
        amount > 0 || self.cold.get().is_some()
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
        let told = if self.has_several_words() { 0 } else { self.announced_in(window) };
        Image { window, charged, told, ended, reset, course }
    }

    /// The state, read so that it is the last one there is: see the module.
    fn latest_state(&self, near: i64) -> State {
        self.layout().unpack(self.word.fetch_or(0, Ordering::AcqRel), near)
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

    /// Puts the ceiling below everything: whoever charges from now on looks. Under the writer's lock.
    pub(crate) fn seal(&self) {
        // Release: as in `set_ceiling`.
        self.ceiling.store(0, Ordering::Release);
    }

    /// What is charged as the ceiling allows: at least what an image says, and at most what was written.
    pub(crate) fn up_to_ceiling(&self, image: &mut Image) {
        let ceiling = self.ceiling.load(Ordering::Acquire);
        if ceiling != UNWATCHED && !self.has_several_words() {
            let ceiling = self.layout().unpack(ceiling, image.window);
            if ceiling.window == image.window {
                image.charged = image.charged.max(ceiling.amount);
            }
        }
    }

    /// The largest amount that it can count.
    pub(crate) fn charged_max(&self) -> u64 {
        self.layout().saturated()
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
        if told > 0 && !self.has_several_words() {
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

    /// Counts what a hold that was read back holds as held. It is among what was restored as used.
    pub(crate) fn hold_again(&self, window: i64, amount: u64) {
        match self.course() {
            Follows::Rolling(rolling) => rolling.hold_again(window, amount),
            _ => self.hold(window, amount),
        }
    }
}

/// A word that no admission goes by is a ceiling that none is above.
const _: () = assert!(UNWATCHED == NO_WORD);
