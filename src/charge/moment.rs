//! Changes of several budgets as of one instant: in a moment in which nothing is announced but the owner's own doing.
//!
//! In the moment, what is held stands still, and nothing that was charged is given back. Only charges and records of one budget still come:
//! they can take room, never make it, unless they open a new window. Each change of a word is one transition all the same, and whatever
//! was looked at is looked at again when such a charge came between.

use smallvec::SmallVec;

use super::flights::{Exclusive, Flight, Flights};
use super::tell::Reached;
use super::{Ask, Asked, Glance, Grounds, Passed, SEATS_INLINE, Seat, Windows, count, look, room, take, tell_reached};
use crate::amount::{Cap, Cost, Resource};
use crate::meter::Part;
use crate::time::Timestamp;

/// The moment; it ends when dropped. Nobody else's code may run in it, and no lock may be taken.
pub(crate) struct Moment<'a> {
    // Dropped in this order.
    _flight: Flight<'a>,
    _quiet: Exclusive<'a>,
}

impl Flights {
    /// Waits for such a moment. As [`Flights::exclusive`].
    pub(crate) fn moment(&self) -> Moment<'_> {
        let quiet = self.exclusive();
        Moment { _flight: quiet.announce(), _quiet: quiet }
    }
}

/// Charges `cost` to all seats or to none. What it has reached is to be told after the moment.
pub(crate) fn charge_in(
    _: &Moment<'_>,
    seats: &[Seat],
    cost: &Cost,
    now: Timestamp,
    (windows, reached): (&mut Windows, &mut Reached),
) -> Option<Passed> {
    reached.clear();
    let ask = Ask::Charge(cost);
    for seat in seats.iter().filter(|seat| seat.is_hard() && ask.of(seat.resource).is_some()) {
        // It may be taken back though it is the only one that can refuse.
        seat.meter.join();
    }
    let mut glances = SmallVec::<[_; SEATS_INLINE]>::from_elem(Glance::default(), seats.len());
    let seen = look(seats, ask, now, &mut glances)?;
    take(seats, (seen, &glances), ask, now, windows, reached)
}

/// Takes back what [`charge_in`] charged.
pub(crate) fn take_back(_: &Moment<'_>, seats: &[Seat], cost: &Cost, windows: &Windows) {
    for (seat, &window) in seats.iter().zip(windows) {
        if let Some(amount @ 1..) = cost.amount(seat.resource) {
            seat.meter.undo(window, amount, Part::Used);
        }
    }
}

/// Charges what is left of the first resource and the rest of `amount` to the second: all or none, and the second only once the first is
/// used up. Tells each seat's window and charged amount to `report`.
///
/// # Errors
/// The cost that did not fit.
pub(crate) fn charge_in_order(
    seats: &[Seat],
    grounds: &impl Grounds,
    order: [Resource; 2],
    amount: u64,
    now: Timestamp,
    report: impl FnMut(usize, i64, u64),
) -> Result<Cost, Cost> {
    let moment = grounds.flights().moment();
    let (mut windows, mut reached) = (Windows::new(), Reached::new());
    loop {
        let shares = Shares::of(seats, order, amount, now);
        let [_, last] = order;
        if shares.rest > 0 && super::afford(seats, last, now) < Cap::Max(shares.rest) {
            return Err(shares.cost());
        }
        let cost = shares.cost();
        if charge_in(&moment, seats, &cost, now, (&mut windows, &mut reached)).is_some() {
            if shares.still_hold(seats, now) {
                report_all(seats, &cost, now, &windows, report);
                drop(moment);
                tell_reached(seats, grounds, Ask::Charge(&cost), now, &windows, reached);
                return Ok(cost);
            }
            take_back(&moment, seats, &cost, &windows);
        }
    }
}

/// Like [`charge_in_order`] after the fact: never refused, the second resource takes whatever is left.
pub(crate) fn record_in_order(
    seats: &[Seat],
    grounds: &impl Grounds,
    order: [Resource; 2],
    amount: u64,
    now: Timestamp,
    mut report: impl FnMut(usize, i64, u64),
) -> Cost {
    let moment = grounds.flights().moment();
    let (mut windows, mut reached) = (Windows::new(), Reached::new());
    loop {
        let shares = Shares::of(seats, order, amount, now);
        let first = shares.of_first();
        if charge_in(&moment, seats, &first, now, (&mut windows, &mut reached)).is_none() {
            continue;
        }
        if !shares.still_hold(seats, now) {
            take_back(&moment, seats, &first, &windows);
            continue;
        }
        report_all(seats, &first, now, &windows, &mut report);
        let [_, last] = order;
        if shares.rest > 0 {
            count(seats, grounds, &last.of(shares.rest), now, &mut report);
        }
        drop(moment);
        tell_reached(seats, grounds, Ask::Charge(&first), now, &windows, reached);
        return shares.cost();
    }
}

/// Tells the window and the charged amount of each seat that `cost` was charged to.
fn report_all(seats: &[Seat], cost: &Cost, now: Timestamp, windows: &Windows, mut report: impl FnMut(usize, i64, u64)) {
    for (index, seat) in seats.iter().enumerate() {
        if cost.amount(seat.resource).is_some() {
            report(index, windows[index], seat.peek(now).amount);
        }
    }
}

/// How an amount falls to two resources.
struct Shares {
    order: [Resource; 2],
    first: u64,
    rest: u64,
    /// The windows in which the first one's room was seen, by seat.
    windows: SmallVec<[(usize, i64); 8]>,
}

impl Shares {
    fn of(seats: &[Seat], [first, last]: [Resource; 2], amount: u64, now: Timestamp) -> Self {
        let counted = || seats.iter().enumerate().filter(|(_, seat)| seat.resource == first && first != last);
        let windows = counted().map(|(index, seat)| (index, seat.peek(now).window)).collect();
        // A resource that no budget counts has nothing to give.
        let left = counted().map(|(_, seat)| room(seat, now)).min().unwrap_or(Cap::Max(0));
        let share = left.max().map_or(amount, |left| left.min(amount));
        Self { order: [first, last], first: share, rest: amount - share, windows }
    }

    /// Whether the first one's windows are those whose room was seen: a new one has more.
    fn still_hold(&self, seats: &[Seat], now: Timestamp) -> bool {
        self.windows.iter().all(|&(index, window)| seats[index].peek(now).window == window)
    }

    fn of_first(&self) -> Cost {
        let [first, _] = self.order;
        if self.first > 0 { first.of(self.first) } else { Cost::nothing() }
    }

    fn cost(&self) -> Cost {
        let [_, last] = self.order;
        if self.rest > 0 { self.of_first().and(last, self.rest) } else { self.of_first() }
    }
}
