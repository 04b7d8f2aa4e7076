//! Which window an [`Image`] is of, and whether it still counts: without the budget.

use super::first_use;
use super::image::{Course, Image};
use super::rolling::SLOTS_DEFAULT;
use crate::time::Timestamp;
use crate::window::{Bounds, Window};

impl Image {
    /// The bounds of its window, where it has some.
    pub(crate) fn bounds(&self, window: &Window) -> Option<Bounds> {
        match (&self.course, window) {
            (Course::Clock, _) => window.bounds_of(self.window),
            (Course::Use { began }, Window::FirstUse(span)) => first_use::bounds(*began, *span),
            _ => None,
        }
    }

    /// Whether nothing of what is charged counts any more at `at`.
    pub(crate) fn has_ended(&self, window: &Window, at: Timestamp) -> bool {
        match &self.course {
            Course::Clock => window.index(at) > self.window,
            Course::Use { .. } => self.bounds(window).is_some_and(|bounds| bounds.end <= at),
            Course::Rolling { skew, slots } => {
                let now = window.index(at).saturating_add(*skew);
                slots.iter().all(|(number, amount)| *amount == 0 || number.saturating_add(SLOTS_DEFAULT as i64) <= now)
            }
        }
    }
}
