//! Every interleaving of a charge of two budgets that is undone with a charge of one that fits.

use std::sync::Arc;

use loom::thread;

use super::stand::{Ground, TOKENS};
use super::*;
use crate::meter::{Forgive, Meter, MeterRef};
use crate::sync::{explore, looking_by_load};
use crate::window::Window;

fn seat(meter: &MeterRef, max: u64) -> Seat {
    meter.join();
    stand::seat(meter, Window::Lifetime, (Cap::Max(max), Enforcement::Hard))
}

struct Rig {
    shared: MeterRef,
    other: MeterRef,
    ground: Ground,
}

fn check(preemptions: usize, model: impl Fn(&Arc<Rig>) + Send + Sync + 'static) {
    explore(preemptions, move || {
        let meter = || MeterRef::from(Meter::in_window(&Window::Lifetime, 0));
        model(&Arc::new(Rig { shared: meter(), other: meter(), ground: Ground::at(Timestamp::UNIX_EPOCH) }));
    });
}

/// Runs `model` with at most three preemptions where first looks are loads, with two where they are swaps.
fn check_both(model: impl Fn(&Arc<Rig>) + Copy + Send + Sync + 'static) {
    looking_by_load(|| check(3, model));
    check(2, model);
}

fn beside<T: 'static>(rig: &Arc<Rig>, run: impl FnOnce(&Rig) -> T + 'static) -> thread::JoinHandle<T> {
    let rig = Arc::clone(rig);
    thread::spawn(move || run(&rig))
}

impl Rig {
    fn charge(&self, seats: &[Seat], amount: u64) -> bool {
        let cost = TOKENS.of(amount);
        charge(seats, &self.ground, Ask::Charge(&cost), Timestamp::UNIX_EPOCH, &mut Windows::new()).is_ok()
    }

    fn both(&self) -> [Seat; 2] {
        [seat(&self.shared, 10), seat(&self.other, 10)]
    }
}

/// The pair needs 6 of both; the other budget's last room is taken meanwhile, so the pair may be undone on the shared one. The single
/// call of 5 fits beside everything that goes through, and must be admitted unless the pair went through.
fn undo_against_a_fitting_single_charge(rig: &Arc<Rig>, charge_both: fn(&Rig, u64) -> bool) {
    let pair = beside(rig, move |rig| charge_both(rig, 6));
    let taker = beside(rig, move |rig| rig.charge(&[seat(&rig.other, 10)], 5));
    let single = rig.charge(&[seat(&rig.shared, 10)], 5);
    let (pair, taker) = (pair.join().unwrap(), taker.join().unwrap());
    assert!(pair ^ taker, "the other budget has room for one of them");
    assert!(single ^ pair, "the shared budget: refused only because the pair went through");
    assert_eq!(rig.shared.peek(0).amount, if pair { 6 } else { 5 });
    assert_eq!(rig.other.peek(0).amount, if pair { 6 } else { 5 });
}

#[test]
fn loom_undo_of_a_two_budget_charge_against_a_fitting_single_one() {
    check_both(|rig| undo_against_a_fitting_single_charge(rig, |rig, amount| rig.charge(&rig.both(), amount)));
}

/// Tries the short way first, as scopes do.
fn charge_shortly(rig: &Rig, amount: u64) -> bool {
    let seats = rig.both();
    let [shared, other] = seats.each_ref().map(|seat| Measure::of(seat).unwrap());
    let places = [Quick { meter: &*rig.shared, measure: &shared }, Quick { meter: &*rig.other, measure: &other }];
    charge_found(&places, &TOKENS.of(amount), Timestamp::UNIX_EPOCH, &rig.ground.flights, || true)
        || rig.charge(&seats, amount)
}

/// The same on the short way, which swaps what its look saw.
#[test]
fn loom_undo_of_a_charge_on_the_short_way() {
    check(2, |rig| undo_against_a_fitting_single_charge(rig, charge_shortly));
}

/// Both fit: neither's swap may undo the other's.
#[test]
fn loom_two_charges_on_the_short_way_that_fit() {
    check(4, |rig| {
        let other = beside(rig, |rig| charge_shortly(rig, 4));
        assert!(charge_shortly(rig, 5) && other.join().unwrap());
        assert_eq!((rig.shared.peek(0).amount, rig.other.peek(0).amount), (9, 9));
    });
}

/// Two pairs that name the budgets in one order: one of them goes through.
#[test]
fn loom_two_pairs_for_one_place() {
    check(3, |rig| {
        let both = |rig: &Rig| rig.charge(&rig.both(), 6);
        let other = beside(rig, move |rig| both(rig));
        let mine = both(rig);
        assert!(mine ^ other.join().unwrap());
        assert_eq!((rig.shared.peek(0).amount, rig.other.peek(0).amount), (6, 6));
    });
}

/// Who looks at both budgets while a call charges both sees all of it or nothing.
#[test]
fn loom_a_snapshot_against_a_charge_of_two_budgets() {
    check(3, |rig| {
        let other = beside(rig, move |rig| rig.charge(&rig.both(), 6));
        let seen = snapshot(&rig.ground.flights, || (rig.shared.peek(0).amount, rig.other.peek(0).amount));
        assert_eq!(seen.0, seen.1);
        assert!(other.join().unwrap());
    });
}

/// Who has the moment to himself changes two budgets as of one instant, and keeps a charge of both waiting.
#[test]
fn loom_an_exclusive_change_against_a_charge_of_two_budgets() {
    check(3, |rig| {
        let other = beside(rig, move |rig| rig.charge(&rig.both(), 6));
        {
            let _quiet = rig.ground.flights.exclusive();
            let (shared, both) = (rig.shared.peek(0).amount, rig.other.peek(0).amount);
            assert_eq!(shared, both);
            rig.shared.admit(0, 5, Gate::Open).unwrap();
            rig.other.admit(0, 5, Gate::Open).unwrap();
        }
        let charged = other.join().unwrap();
        let expected = if charged { 11 } else { 5 };
        assert_eq!((rig.shared.peek(0).amount, rig.other.peek(0).amount), (expected, expected));
    });
}

/// A reset of the day as [`crate::reset`] carries it out: all that is used, never what is held.
fn reset(rig: &Rig) -> u64 {
    let _moment = rig.ground.flights.moment();
    let taken = |meter: &Meter, much| meter.reset(0, much, 1).map_or(0, |(before, after)| before - after);
    let day = taken(&rig.shared, Forgive::All);
    taken(&rig.other, Forgive::UpTo(10));
    day
}

/// A charge of the day alone is not announced: it is taken with the rest, or comes after the reset and stays.
#[test]
fn loom_a_reset_against_a_charge_of_one_budget() {
    check(3, |rig| {
        assert!(rig.charge(&rig.both(), 4));
        let other = beside(rig, move |rig| rig.charge(&[seat(&rig.shared, 10)], 5));
        let taken = reset(rig);
        assert!(other.join().unwrap(), "there was room before and after");
        assert_eq!(taken + rig.shared.peek(0).amount, 9, "no spend vanishes");
        assert!(taken == 4 || taken == 9, "all that was used");
        assert_eq!(rig.other.peek(0).amount, 0);
    });
}

/// A call that holds both budgets and commits less: what is held stays, whenever the reset comes.
#[test]
fn loom_a_reset_against_a_reservation_and_its_commit() {
    check_both(|rig| {
        assert!(rig.charge(&rig.both(), 4));
        let other = beside(rig, |rig| {
            let (seats, mut windows, cost) = (rig.both(), Windows::new(), TOKENS.of(6));
            let now = Timestamp::UNIX_EPOCH;
            assert!(charge(&seats, &rig.ground, Ask::Hold(&cost), now, &mut windows).is_ok());
            let _flight = rig.ground.flights.begin();
            for (seat, window) in seats.iter().zip(windows) {
                seat.meter.settle(window, 6, 5);
            }
        });
        let taken = reset(rig);
        let (charged, held) =
            snapshot(&rig.ground.flights, || (rig.shared.peek(0).amount, rig.shared.held(0, Timestamp::UNIX_EPOCH)));
        assert!(charged >= held, "as of one instant: {charged} and {held}");
        other.join().unwrap();
        assert!(taken == 4 || taken == 9, "never what is held: {taken}");
        assert_eq!(taken + rig.shared.peek(0).amount, 9);
        assert_eq!(rig.other.peek(0).amount, rig.shared.peek(0).amount);
    });
}

/// Two that pay from one and then the other, beside a charge of the first alone: exactly what there is, the first one first.
#[test]
fn loom_two_that_pay_in_order() {
    const LATER: Resource = Resource::new(1, 1);
    check(2, |rig| {
        let seats = |rig: &Rig| {
            rig.other.join();
            let limits = (Cap::Max(10), Enforcement::Hard);
            [seat(&rig.shared, 4), stand::seat_of(LATER, &rig.other, Window::Lifetime, limits)]
        };
        let pay = move |rig: &Rig| {
            let order = [TOKENS, LATER];
            charge_in_order(&seats(rig), &rig.ground, order, 3, Timestamp::UNIX_EPOCH, |_, _, _| {})
        };
        let other = beside(rig, move |rig| pay(rig).is_ok());
        let single = rig.charge(&[seat(&rig.shared, 4)], 2);
        assert!(other.join().unwrap());
        let (first, second) = (rig.shared.peek(0).amount, rig.other.peek(0).amount);
        assert_eq!(first + second, 3 + 2 * u64::from(single));
        assert!(first == 4 || second == 0, "the second is not touched while the first has room: {first}, {second}");
    });
}
