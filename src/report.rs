//! What operations report: admissions, receipts, and the usage of budgets.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::amount::{Cap, Cost, Unit};
use crate::charge::{Passed, SeatSet, Windows};
use crate::policy::Warn;
use crate::scope::{Ahead, Gate, Plan};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::{Bounds, Window};

/// An operation that was let through.
///
/// Budgets are named by their position in [`Scope::usage`](crate::Scope::usage).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Admission {
    over: SeatSet,
    would_refuse: SeatSet,
    degraded: bool,
}

impl Admission {
    /// Whether a soft budget is above its max with it.
    pub fn is_over(&self) -> bool {
        self.over != SeatSet::default()
    }

    /// The positions of the soft budgets that are above their max with it.
    pub fn over(&self) -> impl Iterator<Item = usize> + use<> {
        self.over.iter()
    }

    /// The positions of the shadow budgets that would have refused it, were they hard.
    pub fn would_refuse(&self) -> impl Iterator<Item = usize> + use<> {
        self.would_refuse.iter()
    }

    /// Whether it was let through by the [`FailurePolicy`](crate::FailurePolicy) while something that the engine depends on was degraded.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    pub(crate) fn degraded(self) -> Self {
        Self { degraded: true, ..self }
    }
}

impl From<Passed> for Admission {
    fn from(Passed { over, would_refuse }: Passed) -> Self {
        Self { over, would_refuse, degraded: false }
    }
}

/// What a commit or a record charged.
///
/// It can be given back, at most once: [`Engine::refund`](crate::Engine::refund). Clones are the same receipt.
#[derive(Clone)]
pub struct Receipt {
    /// No other receipt of this process has it.
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    /// How many resets the engine had carried out: what a later one took is not given back again.
    pub(crate) resets: u64,
    pub(crate) charged: Cost,
    pub(crate) overages: SmallVec<[Overage; 0]>,
    pub(crate) late: bool,
    pub(crate) degraded: bool,
    pub(crate) parts: SmallVec<[Charged; 1]>,
}

/// What was charged to the budgets of one plan, and in which windows.
#[derive(Clone)]
pub(crate) struct Charged {
    pub(crate) plan: Arc<Plan>,
    pub(crate) windows: Windows,
    /// What of the receipt's charge fell to it; `None` when that is all of it.
    pub(crate) cost: Option<Box<Cost>>,
}

impl Receipt {
    /// What was charged, by resource.
    pub fn charged(&self) -> &Cost {
        &self.charged
    }

    /// The budgets that are above their max with it.
    pub fn overages(&self) -> &[Overage] {
        &self.overages
    }

    /// Whether it came after its time: a budget had gone on to a newer window, which knows nothing of it, or the hold's time-to-live had
    /// run out before.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Whether it was counted while something that the engine depends on was degraded
    /// ([`FailurePolicy`](crate::FailurePolicy)).
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// Takes `cost` out of what was charged, in the windows that it was charged in.
    pub(crate) fn give_back(&self, cost: &Cost, now: Timestamp) {
        let mut rest = cost.clone();
        for Charged { plan, windows, cost } in self.parts.iter().rev() {
            let share = rest.take_up_to(cost.as_deref().unwrap_or(&self.charged));
            let flight = plan.flight();
            for (seat, &window) in plan.seats.iter().zip(windows) {
                if let Some(amount @ 1..) = share.amount(seat.resource) {
                    seat.meter.adjust(window, amount, 0, self.resets);
                }
            }
            drop(flight);
            plan.write_counted(&share, Ahead::Step, now);
            plan.tell(Gate::touch, now);
        }
    }
}

/// The same receipt, or a clone of it.
impl PartialEq for Receipt {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Receipt {}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Receipt");
        debug.field("charged", &self.charged).field("overages", &self.overages).field("late", &self.late);
        debug.finish_non_exhaustive()
    }
}

/// A budget that is charged above its max.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overage {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Who is limited.
    pub subject: Subject,
    /// How much is charged above the max.
    pub above: u64,
}

/// How far a budget is used, apart from whether it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Below every warning.
    Ok,
    /// A warning is reached.
    Warning,
    /// Nothing remains.
    Exhausted,
    /// More is charged than the max.
    Over,
}

impl Status {
    pub(crate) fn of(charged: u64, cap: Cap, warn: &[Warn]) -> Self {
        let Cap::Max(max) = cap else { return Self::Ok };
        let reached = |warn: &Warn| charged >= warn.reached_from(max);
        match charged.cmp(&max) {
            std::cmp::Ordering::Greater => Self::Over,
            std::cmp::Ordering::Equal => Self::Exhausted,
            std::cmp::Ordering::Less if warn.iter().any(reached) => Self::Warning,
            std::cmp::Ordering::Less => Self::Ok,
        }
    }

    /// The word in reports: `ok`, `warning`, `exhausted`, `over`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Exhausted => "exhausted",
            Self::Over => "over",
        }
    }
}

/// How much of a budget is charged, in tenths of a percent, rounded down: 100 only when nothing remains.
///
/// ```
/// use encumber::Percent;
/// assert_eq!(Percent::of(9_999, 10_000).to_string(), "99.9");
/// assert_eq!(Percent::of(12_000, 10_000).to_string(), "100.0");
/// assert_eq!(Percent::of(0, 0).tenths(), 1_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

impl Percent {
    /// `charged` of `max`.
    pub fn of(charged: u64, max: u64) -> Self {
        match u128::from(charged) * 1_000 {
            _ if charged >= max => Self(1_000),
            thousandfold => Self(u16::try_from(thousandfold / u128::from(max)).unwrap_or(1_000)),
        }
    }

    /// Tenths of a percent, 0 to 1000.
    pub const fn tenths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// One budget of a scope and its usage in its window.
///
/// `charged = used + held`. A count that ran past what the budget can hold is shown as `u64::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetUsage {
    /// The limit's id.
    pub limit: Arc<str>,
    /// Who is limited.
    pub subject: Subject,
    /// The resource's name.
    pub resource: Arc<str>,
    /// The resource's unit; the amounts below are counted in it.
    pub unit: Unit,
    /// The limit's window.
    pub window: Window,
    /// The cap in force for the subject.
    pub cap: Cap,
    /// Committed in the window.
    pub used: u64,
    /// Reserved in the window and not settled.
    pub held: u64,
    /// Start and end of the window; `None` for a lifetime.
    pub bounds: Option<Bounds>,
    /// How far the budget is used.
    pub status: Status,
}

impl BudgetUsage {
    /// `used + held`.
    pub fn charged(&self) -> u64 {
        self.used.saturating_add(self.held)
    }

    /// What is left, floored at 0; [`Cap::Unlimited`] without a limit.
    pub fn remaining(&self) -> Cap {
        match self.cap {
            Cap::Max(max) => Cap::Max(max.saturating_sub(self.charged())),
            Cap::Unlimited => Cap::Unlimited,
        }
    }

    /// How much is charged of the cap; `None` without a limit.
    pub fn percent(&self) -> Option<Percent> {
        self.cap.max().map(|max| Percent::of(self.charged(), max))
    }

    /// When the budget starts fresh; `None` for a lifetime.
    pub fn resets_at(&self) -> Option<Timestamp> {
        self.bounds.map(|bounds| bounds.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_exact_ratios() {
        let status = |charged, max, percent| Status::of(charged, Cap::Max(max), &[Warn::Percent(percent)]);
        assert_eq!(status(0, 1, 80), Status::Ok);
        assert_eq!([status(28, 100, 29), status(29, 100, 29)], [Status::Ok, Status::Warning]);
        assert_eq!(
            [status(9, 10, 80), status(10, 10, 80), status(11, 10, 80)],
            [Status::Warning, Status::Exhausted, Status::Over]
        );
        assert_eq!(status(0, 0, 80), Status::Exhausted);
        assert_eq!(status(u64::MAX - 1, u64::MAX, 100), Status::Ok);
        assert_eq!(Status::of(u64::MAX, Cap::Unlimited, &[Warn::Percent(1)]), Status::Ok);
    }
}
