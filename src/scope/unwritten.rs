//! Without the feature `persist` nothing is written down, and nothing has to be.

use super::Plan;
use crate::amount::Cost;
use crate::charge::{Ask, Windows};
use crate::engine::Core;
use crate::reservation::Hold;
use crate::time::Timestamp;

/// How far ahead of what is charged a ceiling is put.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "as with the feature")]
pub(crate) enum Ahead {
    Step,
    Nothing,
    WithHold,
}

/// What became of the writing of an admission.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "as with the feature")]
pub(crate) enum Recorded {
    Yes,
    InMemory,
    No,
}

#[allow(clippy::unused_self, reason = "as with the feature")]
impl Plan {
    #[inline]
    pub(crate) fn cover(&self, _: Ask<'_>, _: Ahead, _: Timestamp) -> Recorded {
        Recorded::Yes
    }

    #[inline]
    pub(crate) fn write_counted(&self, _: &Cost, _: Ahead, _: Timestamp) -> bool {
        true
    }

    #[inline]
    pub(crate) fn write_refused(&self, _: Ask<'_>, _: Timestamp) {}

    #[inline]
    pub(crate) fn write_together(&self, _: &[usize], _: Timestamp) -> bool {
        true
    }

    #[inline]
    pub(crate) fn take_back(&self, _: Ask<'_>, _: &Windows) {}
}

#[allow(clippy::unused_self, reason = "as with the feature")]
impl Core {
    #[inline]
    pub(crate) fn is_unwritten(&self) -> bool {
        false
    }
}

#[allow(clippy::unused_self, reason = "as with the feature")]
impl Hold {
    #[inline]
    pub(crate) fn begin_guarded(&self) {}
}
