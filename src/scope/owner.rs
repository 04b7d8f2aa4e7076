//! Those whom carried budgets belong to, workflows and allowances: they end, and whatever is charged to them passes their gate.
//!
//! **Who owns what.** The gate is one word that is only added to: how many charges are on their way through it, how many holds are open
//! behind it, how many handles there are, and a bit for the end. A charge goes in, looks at the bit, charges, and comes out; a hold stays
//! counted as open until it is settled. Whoever takes a step tells the owner where the gate stands with it. Each step is one
//! read-modify-write, so of two steps one sees the other's, and what was done before it.
//!
//! **After the end** nobody comes in. Those who were in before may still charge: the end is complete once the last of them has come out,
//! and that one does what there is to do. So nobody waits inside, and a charge on its way may end its own owner (by finding that its time
//! has run out).

use std::fmt;
use std::sync::Arc;

use super::later;
use crate::amount::{Cost, Resource};
use crate::subject::Subject;
use crate::sync::{AtomicU64, Ordering, yield_now};
use crate::time::Timestamp;

const IN_FLIGHT_ONE: u64 = 1;
const OPEN_SHIFT: u32 = 16;
const OPEN_ONE: u64 = 1 << OPEN_SHIFT;
const USERS_SHIFT: u32 = 40;
const USERS_ONE: u64 = 1 << USERS_SHIFT;
const ENDED: u64 = 1 << 63;

/// Whom carried budgets belong to.
pub(crate) trait Owner: std::any::Any + Send + Sync {
    fn gate(&self) -> &Gate;

    /// What it is called in reports.
    fn subject(&self) -> &Subject;

    /// The gate stands at `standing` after a step of an operation at `at`; whatever was charged or given back before the step is seen. Locks,
    /// gates and announcements may be held around this: it must not read the clock, which may be the host's own.
    fn changed(&self, standing: Standing, at: Timestamp);

    /// Ends it, once. Called when its time has run out, too; must not wait. As for [`Owner::changed`].
    fn end(&self, at: Timestamp);
}

/// What is charged to an owner passes here.
#[derive(Debug)]
pub(crate) struct Gate(AtomicU64);

/// Where a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing(u64);

impl Standing {
    pub(crate) fn has_ended(self) -> bool {
        self.0 & ENDED != 0
    }

    /// Nothing is on its way through.
    pub(crate) fn is_quiet(self) -> bool {
        self.0 & (OPEN_ONE - 1) == 0
    }

    /// No hold is open.
    pub(crate) fn is_settled(self) -> bool {
        self.0 & (USERS_ONE - OPEN_ONE) == 0
    }

    /// Nothing is on its way, nothing is open, and nobody has a handle: nothing can be charged any more.
    pub(crate) fn is_forsaken(self) -> bool {
        self.0 & !ENDED == 0
    }
}

impl Gate {
    /// An open gate with one user.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(USERS_ONE))
    }

    pub(crate) fn standing(&self) -> Standing {
        // Pairs with the release half of `step`.
        Standing(self.0.load(Ordering::Acquire))
    }

    /// Comes in, unless it has ended.
    pub(crate) fn enter(&self) -> Result<(), Standing> {
        if self.standing().has_ended() {
            return Err(self.standing());
        }
        let standing = self.step(IN_FLIGHT_ONE);
        if standing.has_ended() { Err(self.leave()) } else { Ok(()) }
    }

    pub(crate) fn leave(&self) -> Standing {
        self.step(IN_FLIGHT_ONE.wrapping_neg())
    }

    /// Comes out, and leaves a hold open behind the gate.
    pub(crate) fn leave_open(&self) -> Standing {
        self.step(OPEN_ONE.wrapping_sub(IN_FLIGHT_ONE))
    }

    pub(crate) fn open(&self) -> Standing {
        self.step(OPEN_ONE)
    }

    pub(crate) fn settle(&self) -> Standing {
        self.step(OPEN_ONE.wrapping_neg())
    }

    /// Says that something has changed behind the gate.
    pub(crate) fn touch(&self) -> Standing {
        self.step(0)
    }

    pub(crate) fn add_user(&self) -> Standing {
        self.step(USERS_ONE)
    }

    pub(crate) fn drop_user(&self) -> Standing {
        self.step(USERS_ONE.wrapping_neg())
    }

    /// Closes the gate; `None` when it had been closed.
    pub(crate) fn close(&self) -> Option<Standing> {
        let before = self.0.fetch_or(ENDED, Ordering::AcqRel);
        (before & ENDED == 0).then_some(Standing(before | ENDED))
    }

    /// Waits until those have come out who were in when it ended. Not for those who are in themselves.
    pub(crate) fn wait(&self) {
        while !self.standing().is_quiet() {
            yield_now();
        }
    }

    /// Release: what this thread did before is seen by whoever's step comes later. Acquire: the other way round.
    fn step(&self, by: u64) -> Standing {
        Standing(self.0.fetch_add(by, Ordering::AcqRel).wrapping_add(by))
    }
}

/// An owner that a scope is charged to.
#[derive(Clone)]
pub(crate) struct Owned {
    pub(crate) owner: Arc<dyn Owner>,
    /// Only charges that name one of these concern it; every charge without.
    pub(crate) only: Option<Vec<Resource>>,
    /// The resources that its end is about: once a scope within has others for all of them, it does not belong to it any more. Empty for
    /// one whose end is about everything within.
    pub(crate) of: Vec<Resource>,
}

impl Owned {
    /// Whom a scope within belongs to that has budgets of its own for `resources`: the same, as far as it still has a part in it.
    pub(crate) fn without(&self, resources: &[Resource]) -> Option<Self> {
        if self.of.is_empty() {
            return Some(self.clone());
        }
        let of: Vec<_> = self.of.iter().copied().filter(|resource| !resources.contains(resource)).collect();
        (!of.is_empty()).then(|| Self { owner: Arc::clone(&self.owner), only: Some(of.clone()), of })
    }

    pub(super) fn is_concerned(&self, cost: &Cost) -> bool {
        self.only.as_ref().is_none_or(|only| cost.iter().any(|(resource, _)| only.contains(&resource)))
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("owner", self.owner.subject()).field("only", &self.only).finish_non_exhaustive()
    }
}

/// A charge on its way through the gates of the owners that it concerns; it comes out when dropped. Whoever ends one of them may wait for
/// it, so nothing of the host's is called before.
pub(crate) struct Passing<'a> {
    owners: &'a [Owned],
    cost: &'a Cost,
    at: Timestamp,
    leaves_open: bool,
}

impl<'a> Passing<'a> {
    /// Through all the gates, or none.
    #[inline]
    pub(super) fn enter(owners: &'a [Owned], cost: &'a Cost, at: Timestamp) -> Result<Self, Ended> {
        for (index, owned) in owners.iter().enumerate() {
            if !owned.is_concerned(cost) {
                continue;
            }
            if let Err(standing) = owned.owner.gate().enter() {
                later::tell(&owned.owner, standing, at);
                drop(Self { owners: &owners[..index], cost, at, leaves_open: false });
                return Err(Ended::of(owned.owner.subject()));
            }
        }
        Ok(Self { owners, cost, at, leaves_open: false })
    }

    /// A hold was made: it is open behind the gates, of all owners, since it may be settled in whatever they have.
    pub(super) fn leave_open(mut self) {
        self.leaves_open = true;
    }
}

impl Drop for Passing<'_> {
    #[inline]
    fn drop(&mut self) {
        for owned in self.owners {
            let gate = owned.owner.gate();
            let standing = match (owned.is_concerned(self.cost), self.leaves_open) {
                (true, true) => gate.leave_open(),
                (true, false) => gate.leave(),
                (false, true) => gate.open(),
                (false, false) => continue,
            };
            later::tell(&owned.owner, standing, self.at);
        }
    }
}

/// Something that a call was to be charged to has ended: the workflow or the allowance that its scope belongs to. Nothing was charged.
///
/// `Display` hashes the id, fit for logs; `{:#}` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    subject: Subject,
}

impl Ended {
    pub(crate) fn of(subject: &Subject) -> Self {
        Self { subject: subject.clone() }
    }

    /// What has ended: the kind is `workflow`, with the workflow's id, or `allowance`, with a number.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "the {} {:?} has ended", self.subject.kind(), self.subject.id())
        } else {
            write!(f, "{:?} has ended", self.subject)
        }
    }
}

impl std::error::Error for Ended {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_gate_counts_each_kind_apart() {
        let gate = Gate::new();
        assert!(!gate.standing().is_forsaken(), "it has a user");
        gate.enter().unwrap();
        assert!(!gate.standing().is_quiet() && gate.standing().is_settled());
        let held = gate.leave_open();
        assert!(held.is_quiet() && !held.is_settled());
        assert!(!gate.drop_user().is_forsaken(), "a hold is open");
        gate.enter().unwrap();
        assert!(!gate.settle().is_forsaken(), "a charge is on its way");
        assert!(gate.leave().is_forsaken());
    }

    #[test]
    fn a_closed_gate_lets_nobody_in_and_closes_once() {
        let gate = Gate::new();
        gate.enter().unwrap();
        let standing = gate.close().unwrap();
        assert!(standing.has_ended() && !standing.is_quiet());
        assert!(gate.close().is_none());
        assert!(gate.enter().is_err());
        let last = gate.leave();
        assert!(last.has_ended() && last.is_quiet(), "who was in comes out");
        assert!(gate.drop_user().is_forsaken(), "the end is no user");
    }
}
