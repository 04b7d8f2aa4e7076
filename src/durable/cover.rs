//! Writing budgets down: after what raised them, before it is answered; and after what lowered them by much.
//!
//! See [`crate::meter`]'s `image` for what a ceiling is, and what keeps it above what is charged.

use super::entry::{Entry, RuleName};
use super::store::{Store, Unwritten};
use crate::amount::{Cap, Cost};
use crate::charge::{Ask, Seat, Windows};
use crate::engine::{Core, OnFailure};
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
        if ahead == Ahead::Nothing || self.meter.has_several_words() {
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
        self.is_up()?;
        let _lock = self.lock(&seat.meter);
        if !seat.meter.is_beyond() {
            // Somebody else has, for both.
            return Ok(());
        }
        let mut image = seat.image(now);
        if image.is_nothing() {
            return Ok(());
        }
        let step = seat.step(&image, ahead).saturating_sub(amount);
        image.charged = image.charged.saturating_add(step).min(seat.meter.charged_max());
        // Written first: whoever finds the ceiling raised needs it to be.
        self.append(now, &[seat.entry(self.stamp(), image.clone())])?;
        seat.meter.set_ceiling(&image);
        Ok(())
    }

    /// Lowers the ceiling of a budget to a step above what is charged.
    fn lower(&self, seat: &Seat, ahead: Ahead, now: Timestamp) -> Result<(), Unwritten> {
        self.is_up()?;
        let _lock = self.lock(&seat.meter);
        let image = lowered(seat, ahead, now);
        self.append(now, &[seat.entry(self.stamp(), image.clone())])?;
        seat.meter.set_ceiling(&image);
        Ok(())
    }
}

/// What is to be written of a budget so that its ceiling is a step above what is charged, under its lock. In memory the ceiling is as low from here
/// on, and no higher than it was, until that is written: so what is charged by whoever has not seen that is in it, or was written before.
fn lowered(seat: &Seat, ahead: Ahead, now: Timestamp) -> Image {
    let step = |image: Image| {
        let ahead = seat.step(&image, ahead);
        Image { charged: image.charged.saturating_add(ahead).min(seat.meter.charged_max()), ..image }
    };
    let mut image = step(seat.image(now));
    loop {
        let lower = image.charged.min(seat.meter.written_in(image.window));
        seat.meter.set_ceiling(&Image { charged: lower, ..image.clone() });
        let seen = seat.image(now);
        if seat.meter.has_several_words() || seen.window == image.window && seen.charged <= image.charged {
            // What else it says is as of now.
            return Image { charged: image.charged.max(seen.charged), ..seen };
        }
        image = step(seen);
    }
}

impl Ahead {
    /// How far a ceiling may be above what is charged after an operation of this amount.
    fn or_as_much_as(self, amount: u64) -> u64 {
        match self {
            Self::Step => amount,
            Self::Nothing => 0,
        }
    }
}

impl Plan {
    /// Writes down what an admission of `ask` has charged, where that is due.
    #[inline]
    pub(crate) fn cover(&self, ask: Ask<'_>, ahead: Ahead, now: Timestamp) -> Recorded {
        let is_due = |seat: &&Seat| seat.meter.is_beyond() && ask.amount_of(seat.resource).is_some();
        if self.seats.iter().any(|seat| is_due(&seat)) { self.cover_due(ask, ahead, now) } else { Recorded::Yes }
    }

    #[cold]
    fn cover_due(&self, ask: Ask<'_>, ahead: Ahead, now: Timestamp) -> Recorded {
        let Some(store) = self.core.store() else { return Recorded::Yes };
        for seat in &self.seats {
            if let (true, Some(amount)) = (seat.meter.is_beyond(), ask.amount_of(seat.resource))
                && let Err(unwritten) = store.raise(seat, amount, ahead, now)
            {
                self.core.lose_store(&unwritten, now);
                let is_closed = self.core.failure_policy.reserve == OnFailure::Closed || store.is_closed();
                return if is_closed { Recorded::No } else { Recorded::InMemory };
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
            } else if seat.meter.slack() > ahead.or_as_much_as(amount).max(seat.step(&seat.image(now), ahead)) {
                store.lower(seat, ahead, now)
            } else {
                Ok(())
            };
            if let Err(unwritten) = written {
                self.core.lose_store(&unwritten, now);
                is_written = false;
            }
        }
        is_written
    }

    /// Writes down several budgets at once, as they stand: all of them or none.
    pub(crate) fn write_together(&self, seats: &[usize], now: Timestamp) -> bool {
        let Some(store) = self.core.store() else { return true };
        if !store.writes_changes() {
            return true;
        }
        let seats = || seats.iter().map(|index| &self.seats[*index]);
        let _locks = store.lock_all(seats().map(|seat| &*seat.meter));
        let images: Vec<Image> = seats().map(|seat| lowered(seat, Ahead::Step, now)).collect();
        let entries: Vec<Entry> =
            seats().zip(&images).map(|(seat, image)| seat.entry(store.stamp(), image.clone())).collect();
        let resets = Entry::Engine { stamp: store.stamp(), resets: self.core.resets.done() };
        let entries: Vec<Entry> = entries.into_iter().chain([resets]).collect();
        match store.append(now, &entries) {
            Ok(()) => {
                seats().zip(&images).for_each(|(seat, image)| seat.meter.set_ceiling(image));
                true
            }
            Err(unwritten) => {
                self.core.lose_store(&unwritten, now);
                false
            }
        }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::amount::{Resource, Unit};
    use crate::charge::Label;
    use crate::meter::{Gate, ImageCourse, Meter, MeterRef};
    use crate::policy::Enforcement;
    use crate::subject::Subject;
    use crate::window::Window;

    /// A budget with a cap of 6,400, of which `charged` is charged and `written` is written down.
    fn seat(charged: u64, written: u64) -> Seat {
        let seat = Seat::new(
            MeterRef::from(Meter::in_window(&Window::Lifetime, 0).watched()),
            (
                Arc::new(Label {
                    limit: "life".into(),
                    resource: "tokens".into(),
                    unit: Unit::Count,
                    warn: Box::default(),
                    carrier: 0,
                }),
                "user:7".parse::<Subject>().unwrap(),
            ),
            Resource::new(1, 0),
            Window::Lifetime,
            (Cap::Max(6_400), Enforcement::Hard),
        );
        let image =
            |charged| Image { window: 0, charged, told: 0, ended: None, reset: None, course: ImageCourse::Clock };
        seat.meter.restore(&image(written));
        seat.meter.settle(0, written, charged);
        seat
    }

    #[test]
    fn a_ceiling_is_never_above_what_is_written_while_it_is_lowered() {
        for (charged, written, to_write, until_then) in [(1_000, 5_000, 1_100, 1_100), (1_000, 1_050, 1_100, 1_050)] {
            let seat = seat(charged, written);
            let image = lowered(&seat, Ahead::Step, Timestamp::from_micros(0));
            assert_eq!((image.charged, seat.meter.written_in(0)), (to_write, until_then));
            // What goes beyond asks for the lock, and is written before it is answered.
            let beyond = until_then - charged + 1;
            seat.meter.admit(0, beyond, Gate::Open).unwrap();
            assert!(seat.meter.is_beyond());
        }
    }
}
