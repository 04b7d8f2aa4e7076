//! A budget that somebody has: one of those that were made together, which stand side by side behind the name of whom they belong to.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::Arc;

use super::Meter;
use crate::subject::Name;

/// Budgets that were made together, of one owner: who looks them up by its name reads one allocation. They go together, when nobody has one of
/// them any more.
#[derive(Debug)]
pub(crate) struct Group<M: ?Sized = [Meter]> {
    owner: Name,
    meters: M,
}

/// As many budgets as a group can have.
pub(crate) const GROUP_MAX: usize = 8;

impl Group {
    /// A budget for each of the first [`GROUP_MAX`] of `rules`.
    #[allow(clippy::many_single_char_names, reason = "they say how many there are")]
    pub(crate) fn of<R>(owner: &str, rules: &[R], make: impl FnMut(&R) -> Meter) -> Arc<Self> {
        let owner = Name::new(owner);
        match rules {
            [] => Arc::new(Group { owner, meters: [] }),
            [a] => Arc::new(Group { owner, meters: [a].map(make) }),
            [a, b] => Arc::new(Group { owner, meters: [a, b].map(make) }),
            [a, b, c] => Arc::new(Group { owner, meters: [a, b, c].map(make) }),
            [a, b, c, d] => Arc::new(Group { owner, meters: [a, b, c, d].map(make) }),
            [a, b, c, d, e] => Arc::new(Group { owner, meters: [a, b, c, d, e].map(make) }),
            [a, b, c, d, e, f] => Arc::new(Group { owner, meters: [a, b, c, d, e, f].map(make) }),
            [a, b, c, d, e, f, g] => Arc::new(Group { owner, meters: [a, b, c, d, e, f, g].map(make) }),
            [a, b, c, d, e, f, g, h, ..] => Arc::new(Group { owner, meters: [a, b, c, d, e, f, g, h].map(make) }),
        }
    }

    /// Whether they are the budgets of the owner with this name.
    #[inline]
    pub(crate) fn is_of(&self, owner: &str) -> bool {
        self.owner.is(owner)
    }

    /// Whose they are.
    #[cfg(feature = "persist")]
    pub(crate) fn owner(&self) -> &str {
        self.owner.as_str()
    }

    #[inline]
    pub(crate) fn meters(&self) -> &[Meter] {
        &self.meters
    }

    /// All of them, if nobody has one.
    pub(crate) fn unshared(this: &mut Arc<Self>) -> Option<&mut [Meter]> {
        Arc::get_mut(this).map(|group| &mut group.meters)
    }
}

/// A budget, and a share of all that were made with it.
#[derive(Clone, Debug)]
pub(crate) struct MeterRef {
    group: Arc<Group>,
    place: usize,
}

impl MeterRef {
    /// The first one of `group` that `is` the one.
    #[inline]
    pub(crate) fn find(group: &Arc<Group>, is: impl Fn(&Meter) -> bool) -> Option<Self> {
        let place = group.meters.iter().position(is)?;
        Some(Self { group: Arc::clone(group), place })
    }

    /// Whether both are the same budget.
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

impl From<Meter> for MeterRef {
    /// A budget by itself, that nobody looks up.
    fn from(meter: Meter) -> Self {
        Self { group: Arc::new(Group { owner: Name::new(""), meters: [meter] }), place: 0 }
    }
}

impl Deref for MeterRef {
    type Target = Meter;

    #[inline]
    fn deref(&self) -> &Meter {
        &self.group.meters[self.place]
    }
}

impl Borrow<Meter> for MeterRef {
    #[inline]
    fn borrow(&self) -> &Meter {
        self
    }
}
