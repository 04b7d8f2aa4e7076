//! Writing budgets down: after what raised them, before it is answered; and after what lowered them by much.
//!
//! See [`crate::meter`]'s `image` for what a ceiling is, and what keeps it above what is charged.

use super::entry::{Entry, RuleName};
use super::store::{Store, Unwritten};
use crate::amount::{Cap, Cost};
use crate::charge::{Ask, Seat, Windows};
use crate::engine::Core;
use crate::meter::Image;
use crate::scope::Plan;
use crate::time::Timestamp;

/// Into how many steps a budget's cap is divided: so often is it written on the way there.
const STEPS: u64 = 64;

/// How far ahead of what is charged a ceiling is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// A step, so that what comes next writes nothing.
    Step,
    /// Not at all: for holds that are written down one by one, so that nothing of them is left over after a kill.
    Nothing,
    /// Not at all, and not yet: it is written together with the hold.
    WithHold,
}

/// What became of the writing of an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It is written down, or need not be.
    Yes,
    /// It cannot be written down, and stands in memory alone.
    InMemory,
    /// It cannot be written down, and must not stand.
    No,
}

impl Seat {
    /// How far its ceiling is put ahead of what is charged.
    fn step(&self, image: &Image, ahead: Ahead) -> u64 {
        if ahead != Ahead::Step || self.meter.has_several_words() {
            return 0;
        }
        let whole = match self.cap_in(image.window) {
            Cap::Max(max) => max,
            Cap::Unlimited => image.charged,
        };
        whole / STEPS
    }

    fn entry(&self, stamp: u64, image: Image) -> Entry {
        let rule = self.rule_name();
        Entry::Budget { rule, subject: self.subject.as_str().into(), carrier: self.label.carrier, stamp, image }
    }

    /// What it is called on disk.
    pub(super) fn rule_name(&self) -> RuleName {
        let (limit, resource) = ((&*self.label.limit).into(), (&*self.label.resource).into());
        RuleName { limit, resource, window: self.window }
    }

    fn image(&self, now: Timestamp) -> Image {
        self.meter.image(self.window.index(now))
    }

    /// Sets the ceiling to what is charged, before anybody charges.
    pub(super) fn lower_ceiling(&self, now: Timestamp) {
        self.meter.set_ceiling(&self.image(now));
    }
}

impl Store {
    /// Raises the ceiling of a budget that an operation brought above it by `amount`.
    fn raise(&self, seat: &Seat, amount: u64, ahead: Ahead, now: Timestamp) -> Result<(), Unwritten> {
        // What a rolling budget writes may be less than before.
        if seat.meter.has_several_words() {
            self.takes_falls()?;
        } else {
            self.is_up()?;
        }
        let lock = self.lock(&seat.meter);
        let step = |image: &Image| seat.step(image, ahead).saturating_sub(amount);
        let write = |image: &Image| self.append(now, &[seat.entry(self.stamp(), image.clone())]);
        seat.meter.raise_ceiling(seat.window.index(now), step, write)?;
        drop(lock);
        self.lower_if_far(seat, amount, ahead, now)
    }

    /// Lowers the ceiling of a budget that is further above what is charged than it should be after an operation of `amount`: something was given back, or
    /// a call was refused that had charged something while it was written.
    fn lower_if_far(&self, seat: &Seat, amount: u64, ahead: Ahead, now: Timestamp) -> Result<(), Unwritten> {
        let (may_be, slack) = (ahead.or_as_much_as(amount), seat.meter.slack());
        if seat.meter.has_several_words() || slack <= may_be || slack <= seat.step(&seat.image(now), ahead) {
            return Ok(());
        }
        self.lower(&[seat], ahead, None, now)
    }

    /// Puts the ceilings of budgets a step above what is charged, wherever they were: all of them or none. With the number of resets.
    fn lower(&self, seats: &[&Seat], ahead: Ahead, resets: Option<u64>, now: Timestamp) -> Result<(), Unwritten> {
        self.takes_falls()?;
        let _locks = self.lock_all(seats.iter().map(|seat| &*seat.meter));
        let image = |seat: &&Seat| {
            seat.meter.seal();
            seat.meter.image_ahead(seat.window.index(now), |image| seat.step(image, ahead))
        };
        let images: Vec<Image> = seats.iter().map(image).collect();
        let mut entries: Vec<Entry> =
            seats.iter().zip(&images).map(|(seat, image)| seat.entry(self.stamp(), image.clone())).collect();
        entries.extend(resets.map(|resets| Entry::Engine { stamp: self.stamp(), resets }));
        self.append(now, &entries)?;
        for (seat, image) in seats.iter().zip(&images) {
            seat.meter.set_ceiling(image);
        }
        Ok(())
    }

    /// Writes a hold that was just made together with what it brought above their ceilings: both or neither. Under the lock of its entries.
    pub(super) fn append_hold(&self, plan: &Plan, cost: &Cost, entry: Entry, at: Timestamp) -> Result<(), Unwritten> {
        self.takes_falls()?;
        let beyond = |seat: &&Seat| cost.amount(seat.resource).is_some() && seat.meter.is_beyond();
        let seats: Vec<&Seat> = plan.seats.iter().filter(beyond).collect();
        let _locks = self.lock_all(seats.iter().map(|seat| &*seat.meter));
        let images: Vec<Image> =
            seats.iter().map(|seat| seat.meter.image_to_raise(seat.window.index(at), |_| 0)).collect();
        let budgets = seats.iter().zip(&images).map(|(seat, image)| seat.entry(self.stamp(), image.clone()));
        let entries: Vec<Entry> = budgets.chain([entry]).collect();
        self.append(at, &entries)?;
        for (seat, image) in seats.iter().zip(&images) {
            seat.meter.set_ceiling(image);
        }
        Ok(())
    }
}

impl Ahead {
    /// How far a ceiling may be above what is charged after an operation of this amount.
    fn or_as_much_as(self, amount: u64) -> u64 {
        match self {
            Self::Step => amount,
            Self::Nothing | Self::WithHold => 0,
        }
    }
}

impl Plan {
    /// Writes down what an admission of `ask` has charged, where that is due.
    #[inline]
    pub(crate) fn cover(&self, ask: Ask<'_>, ahead: Ahead, now: Timestamp) -> Recorded {
        let is_due = |seat: &Seat| seat.meter.is_beyond() && ask.amount_of(seat.resource).is_some();
        if ahead != Ahead::WithHold && self.seats.iter().any(is_due) {
            self.cover_due(ask, ahead, now)
        } else {
            Recorded::Yes
        }
    }

    #[cold]
    fn cover_due(&self, ask: Ask<'_>, ahead: Ahead, now: Timestamp) -> Recorded {
        let Some(store) = self.core.store() else { return Recorded::Yes };
        for seat in &self.seats {
            if let (true, Some(amount)) = (seat.meter.is_beyond(), ask.amount_of(seat.resource))
                && store.raise(seat, amount, ahead, now).is_err()
            {
                self.core.lose_store(now);
                return if self.core.refuses_unwritten() { Recorded::No } else { Recorded::InMemory };
            }
        }
        Recorded::Yes
    }

    /// Writes down what has been counted, or settled, of the resources of `cost`, where that is due: what raised a budget above its ceiling,
    /// and what lowered it far below. It stands in any case; false when it was not written.
    #[inline]
    pub(crate) fn write_counted(&self, cost: &Cost, ahead: Ahead, now: Timestamp) -> bool {
        let is_due = |seat: &Seat| match cost.amount(seat.resource) {
            Some(amount) => seat.meter.is_beyond() || seat.meter.slack() > ahead.or_as_much_as(amount),
            None => false,
        };
        !self.seats.iter().any(is_due) || self.write_due(cost, ahead, now)
    }

    #[cold]
    fn write_due(&self, cost: &Cost, ahead: Ahead, now: Timestamp) -> bool {
        let Some(store) = self.core.store() else { return true };
        let mut is_written = true;
        for seat in &self.seats {
            let Some(amount) = cost.amount(seat.resource) else { continue };
            let written = if seat.meter.is_beyond() {
                store.raise(seat, amount, ahead, now)
            } else {
                store.lower_if_far(seat, amount, ahead, now)
            };
            if written.is_err() {
                self.core.lose_store(now);
                is_written = false;
            }
        }
        is_written
    }

    /// After a call that was refused: what others have written while it had charged something may have it in it.
    #[inline]
    pub(crate) fn write_refused(&self, ask: Ask<'_>, now: Timestamp) {
        let seats = self.seats.iter().filter(|seat| !seat.meter.has_several_words());
        for (seat, amount) in seats.filter_map(|seat| Some((seat, ask.amount_of(seat.resource)?))) {
            if seat.meter.slack() > amount
                && let Some(store) = self.core.store()
            {
                // Where it is not written, the ceiling on disk is as high as it was.
                let _degraded = store.lower_if_far(seat, amount, Ahead::Step, now);
            }
        }
    }

    /// Writes down several budgets at once, as they stand: all of them or none.
    pub(crate) fn write_together(&self, seats: &[usize], now: Timestamp) -> bool {
        let Some(store) = self.core.store() else { return true };
        if !store.writes_changes() {
            return true;
        }
        let seats: Vec<&Seat> = seats.iter().map(|index| &self.seats[*index]).collect();
        let written = store.lower(&seats, Ahead::Step, Some(self.core.resets.done()), now);
        if written.is_err() {
            self.core.lose_store(now);
        }
        written.is_ok()
    }

    /// Takes back an admission that could not be written down.
    #[cold]
    pub(crate) fn take_back(&self, ask: Ask<'_>, windows: &Windows) {
        let flight = self.flight();
        for (seat, &window) in self.seats.iter().zip(windows) {
            if let Some(amount @ 1..) = ask.amount_of(seat.resource) {
                seat.give_up(window, amount, ask);
            }
        }
        drop(flight);
    }
}

impl Core {
    /// Where the engine is written down, if it is.
    #[inline]
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.get()
    }
}
