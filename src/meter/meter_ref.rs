//! A budget that somebody has: one of those that were made with it, which stand side by side.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::Arc;

use super::Meter;

/// A budget, and a share of all that were made with it: they go together, when nobody has one of them any more.
#[derive(Clone, Debug)]
pub(crate) enum MeterRef {
    Alone(Alone),
    /// At this place of several.
    Among(Arc<[Meter]>, usize),
}

/// A budget that was made alone: nothing has to be asked to find it.
#[derive(Clone, Debug)]
pub(crate) struct Alone(Arc<[Meter; 1]>);

impl MeterRef {
    /// The first one of `meters` that `is` the one.
    #[inline]
    pub(crate) fn find(meters: &Arc<[Meter]>, is: impl Fn(&Meter) -> bool) -> Option<Self> {
        let place = meters.iter().position(is)?;
        let alone = Arc::clone(meters).try_into();
        Some(alone.map_or_else(|meters| Self::Among(meters, place), |alone| Self::Alone(Alone(alone))))
    }

    /// The same, if it was made alone.
    pub(crate) fn alone(&self) -> Option<Alone> {
        match self {
            Self::Alone(alone) => Some(alone.clone()),
            Self::Among(..) => None,
        }
    }

    /// Whether both are the same budget.
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

impl From<Meter> for MeterRef {
    fn from(meter: Meter) -> Self {
        Self::Alone(Alone(Arc::new([meter])))
    }
}

impl Deref for MeterRef {
    type Target = Meter;

    #[inline]
    fn deref(&self) -> &Meter {
        match self {
            Self::Alone(alone) => alone.borrow(),
            Self::Among(meters, place) => &meters[*place],
        }
    }
}

impl Borrow<Meter> for MeterRef {
    #[inline]
    fn borrow(&self) -> &Meter {
        self
    }
}

impl Borrow<Meter> for Alone {
    #[inline]
    fn borrow(&self) -> &Meter {
        let [meter] = &*self.0;
        meter
    }
}
