//! Every interleaving of a charge of two budgets that is undone with a charge of one that fits.

use std::sync::Arc;

use loom::thread;

use super::stand::{Ground, TOKENS};
use super::*;
use crate::meter::Meter;
use crate::window::Window;

fn seat(meter: &Arc<Meter>, max: u64) -> Seat {
    meter.join();
    stand::seat(meter, Window::Lifetime, (Cap::Max(max), Enforcement::Hard))
}

struct Rig {
    shared: Arc<Meter>,
    other: Arc<Meter>,
    ground: Ground,
}

fn rig() -> Arc<Rig> {
    let meter = || Arc::new(Meter::in_window(&Window::Lifetime, 0));
    Arc::new(Rig { shared: meter(), other: meter(), ground: Ground::at(Timestamp::UNIX_EPOCH) })
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
#[test]
fn loom_undo_of_a_two_budget_charge_against_a_fitting_single_one() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 100_000;
    model.check(|| {
        let rig = rig();
        let pair = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.charge(&rig.both(), 6))
        };
        let taker = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.charge(&[seat(&rig.other, 10)], 5))
        };
        let single = rig.charge(&[seat(&rig.shared, 10)], 5);
        let (pair, taker) = (pair.join().unwrap(), taker.join().unwrap());
        assert!(pair ^ taker, "the other budget has room for one of them");
        assert!(single ^ pair, "the shared budget: refused only because the pair went through");
        assert_eq!(rig.shared.peek(0).amount, if pair { 6 } else { 5 });
        assert_eq!(rig.other.peek(0).amount, if pair { 6 } else { 5 });
    });
}

/// Two pairs that name the budgets in one order: one of them goes through.
#[test]
fn loom_two_pairs_for_one_place() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 100_000;
    model.check(|| {
        let rig = rig();
        let both = |rig: &Rig| rig.charge(&rig.both(), 6);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || both(&rig))
        };
        let mine = both(&rig);
        assert!(mine ^ other.join().unwrap());
        assert_eq!((rig.shared.peek(0).amount, rig.other.peek(0).amount), (6, 6));
    });
}

/// Who looks at both budgets while a call charges both sees all of it or nothing.
#[test]
fn loom_a_snapshot_against_a_charge_of_two_budgets() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 100_000;
    model.check(|| {
        let rig = rig();
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.charge(&rig.both(), 6))
        };
        let seen = snapshot(&rig.ground.flights, || (rig.shared.peek(0).amount, rig.other.peek(0).amount));
        assert_eq!(seen.0, seen.1);
        assert!(other.join().unwrap());
    });
}

/// Who has the moment to himself changes two budgets as of one instant, and keeps a charge of both waiting.
#[test]
fn loom_an_exclusive_change_against_a_charge_of_two_budgets() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 100_000;
    model.check(|| {
        let rig = rig();
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.charge(&rig.both(), 6))
        };
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
