//! What an operation has brought a budget to that is worth telling whoever listens.
//!
//! A budget has *milestones*: its warnings and its max. Each is told once per window, by the one operation that finds it untold in the meter
//! ([`Meter::announce`](crate::meter::Meter::announce)), whatever the amount does afterwards. The least of them is the seat's `mark`: an
//! operation that leaves less charged has nothing to tell and does not come here. Without a listener no amount reaches the mark.

use smallvec::SmallVec;

use super::{Grounds, Seat};
use crate::amount::Cap;
use crate::policy::{Enforcement, Warn};
use crate::time::Timestamp;

/// Something that a budget came to, in one of its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) at: Timestamp,
    /// The number of the window.
    pub(crate) window: i64,
    /// What is charged in it.
    pub(crate) charged: u64,
    pub(crate) max: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Reached a warning.
    Warning(Warn),
    /// Nothing is left.
    Exhausted,
    /// Went above its max, or further above it.
    Over,
    /// Let this amount through, and would have refused it were it hard.
    WouldRefuse(u64),
}

/// How an amount came to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It was asked for and admitted.
    Admitted,
    /// It was settled or recorded: nobody was asked.
    Counted,
}

/// The seats that an admission has brought to something worth telling, each with what is charged then.
pub(crate) type Reached = SmallVec<[(usize, u64); 2]>;

/// Warnings of one budget that are told; there is a bit for each beside the one of the max.
const WARNINGS_MAX: usize = 31;

impl Seat {
    /// The milestones below a cap: the bit of each, the amount from which it is reached, and what is reached.
    pub(super) fn milestones(&self, cap: Cap) -> impl Iterator<Item = (u64, u64, What)> {
        cap.max().into_iter().flat_map(|max| {
            let warnings = self.label.warn.iter().take(WARNINGS_MAX).enumerate();
            let warnings =
                warnings.map(move |(index, warn)| (2 << index, warn.reached_from(max), What::Warning(*warn)));
            warnings.chain([(1, max, What::Exhausted)])
        })
    }

    /// Tells what settling or recording `added` more than before brought it to, if that is worth telling.
    #[inline]
    pub(crate) fn tell_counted(&self, grounds: &impl Grounds, at: Timestamp, stands: (i64, u64), added: u64) {
        if added > 0 && stands.1 >= self.mark {
            let window = self.meter.now_numbered(stands.0);
            tell(grounds, self, at, (window, stands.1), (added, Way::Counted));
        }
    }
}

/// Tells what an operation at `at` brought a budget to by adding `added`; it left `charged` in window `window`.
#[cold]
pub(super) fn tell(
    grounds: &impl Grounds,
    seat: &Seat,
    at: Timestamp,
    (window, charged): (i64, u64),
    (added, way): (u64, Way),
) {
    let cap = seat.cap_in(window);
    let Cap::Max(max) = cap else { return };
    let news = |what| News { at, window, charged, max, what };
    let reached = || seat.milestones(cap).filter(|(_, from, _)| charged >= *from);
    let untold = seat.meter.announce(window, reached().fold(0, |bits, (bit, ..)| bits | bit));
    for (.., what) in reached().filter(|(bit, ..)| untold & bit != 0) {
        grounds.tell(seat, news(what));
    }
    let what = match (way, seat.enforcement) {
        (Way::Admitted, Enforcement::Shadow) => {
            (charged > max || added == 0 && charged == max).then_some(What::WouldRefuse(added))
        }
        _ => (added > 0 && charged > max).then_some(What::Over),
    };
    if let Some(what) = what {
        grounds.tell(seat, news(what));
    }
}
