//! Every interleaving of charges of stripes with whatever else touches their budget.
//!
//! There are two stripes, which take half of what is left where that is enough for two calls. All models but one begin in window 10 with 1
//! charged and some room in the first stripe.

use loom::sync::Arc;
use loom::thread;

use crate::meter::rule::{Forgive, Gate};
use crate::meter::{Meter, Part, Settled, Striping};
use crate::sync::{explore, number_thread};
use crate::window::Window;

const MAX: u64 = 8;

/// The first stripe holds 3 of the 8.
fn meter() -> Arc<Meter> {
    let meter = Meter::in_window(&Window::Day, 10);
    meter.note_lost(Striping::Always, 0);
    assert!(charge(&meter, 1, MAX));
    assert_eq!(meter.glance(10).amount, 4, "1 is charged, and 3 are held by the stripe");
    Arc::new(meter)
}

fn charge(meter: &Meter, amount: u64, max: u64) -> bool {
    charge_at(meter, 10, amount, max)
}

fn charge_at(meter: &Meter, now: i64, amount: u64, max: u64) -> bool {
    meter.admit_quickly(meter.layout(), now, amount, Gate::Max(max), Striping::Always).is_ok()
}

/// Runs on the stripe of this number.
fn spawn<T: 'static>(
    meter: &Arc<Meter>,
    stripe: usize,
    run: impl FnOnce(&Meter) -> T + 'static,
) -> thread::JoinHandle<T> {
    let meter = Arc::clone(meter);
    thread::spawn(move || {
        number_thread(stripe);
        run(&meter)
    })
}

fn check(model: impl Fn(&Arc<Meter>) + Send + Sync + 'static) {
    explore(4, move || model(&meter()));
}

#[test]
fn loom_stripes_strand_no_room() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| [1, 1].map(|amount| charge(meter, amount, MAX)));
        number_thread(1);
        assert!(charge(meter, 5, MAX), "1 + 1 + 1 + 5 fit");
        assert_eq!(other.join().unwrap(), [true; 2]);
        assert!(!charge(meter, 1, MAX), "all is charged");
        assert_eq!(meter.peek(10).amount, 8);
    });
}

#[test]
fn loom_stripes_admit_no_more_than_fits() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| charge(meter, 3, MAX));
        number_thread(1);
        let mine = charge(meter, 5, MAX);
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs, "1 + 3 + 5 do not fit, two of them do");
        assert_eq!(meter.peek(10).amount, if mine { 6 } else { 4 });
    });
}

#[test]
fn loom_stripes_hold_nothing_for_a_reader() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| [1, 2].map(|amount| charge(meter, amount, MAX)));
        number_thread(1);
        let seen = [(); 2].map(|()| meter.peek(10).amount);
        assert!(seen.is_sorted() && seen.iter().all(|seen| [1, 2, 4].contains(seen)), "{seen:?}");
        assert_eq!(other.join().unwrap(), [true; 2]);
        assert_eq!(meter.peek(10).amount, 4);
    });
}

#[test]
fn loom_stripes_admit_nothing_once_a_record_has_gone_over() {
    check(|meter| {
        let other = spawn(meter, 1, |meter| charge(meter, 1, MAX));
        number_thread(0);
        let recorded = meter.admit(10, 10, Gate::Open).unwrap().amount;
        assert!(!charge(meter, 1, MAX), "over is over");
        let theirs = u64::from(other.join().unwrap());
        assert!(recorded == 11 || recorded == 11 + theirs, "{recorded}");
        assert_eq!(meter.peek(10).amount, 11 + theirs);
    });
}

#[test]
fn loom_stripes_that_come_while_a_record_goes_over() {
    explore(3, || {
        let meter = Arc::new(Meter::in_window_with_all(&Window::Day, 10));
        let other = spawn(&meter, 0, |meter| {
            meter.note_lost(Striping::Always, 0);
            charge(meter, 1, MAX)
        });
        assert!(meter.admit(10, 10, Gate::Open).is_ok());
        assert!(!charge(&meter, 1, MAX), "over is over");
        let theirs = u64::from(other.join().unwrap());
        assert_eq!(meter.peek(10).amount, 10 + theirs);
    });
}

#[test]
fn loom_stripes_end_with_their_window() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| charge_at(meter, 10, 1, MAX));
        assert!(meter.admit(11, 2, Gate::Max(MAX)).is_ok());
        // By a clock that was set back.
        number_thread(0);
        assert!(charge_at(meter, 10, 1, MAX));
        assert!(other.join().unwrap());
        let (old, new) = (meter.charged_in(10).unwrap(), meter.charged_in(11).unwrap());
        assert!((old, new) == (2, 3) || (old, new) == (1, 4), "{old} {new}");
    });
}

#[test]
fn loom_stripes_of_another_max() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| charge(meter, 1, MAX));
        number_thread(1);
        // At most 3: 2 fit if the other one has not come, else 1.
        let (first, second) = (charge(meter, 2, 3), charge(meter, 1, 3));
        assert!(first ^ second, "{first} {second}");
        assert!(other.join().unwrap());
        assert_eq!(meter.peek(10).amount, 2 + if first { 2 } else { 1 });
    });
}

#[test]
fn loom_stripes_of_another_max_taken_while_they_are_looked_at() {
    check(|meter| {
        assert!(charge(meter, 3, MAX) && meter.admit(10, 4, Gate::Max(MAX)).is_ok(), "all is charged");
        // Takes room for the same stripe.
        let other = spawn(meter, 0, |meter| charge(meter, 1, 4 * MAX));
        assert!(!charge(meter, 1, MAX), "at no instant there was room");
        assert!(other.join().unwrap());
        assert_eq!(meter.peek(10).amount, 9);
    });
}

#[test]
fn loom_stripes_of_a_higher_max() {
    check(|meter| {
        // Goes above what the first stripe's room was taken under.
        let other = spawn(meter, 1, |meter| charge(meter, 9, 16));
        number_thread(0);
        let mine = charge(meter, 1, MAX);
        assert!(other.join().unwrap());
        assert!(!charge(meter, 1, MAX));
        assert_eq!(meter.peek(10).amount, 10 + u64::from(mine));
    });
}

#[test]
fn loom_stripes_against_a_reset() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| charge(meter, 1, MAX));
        number_thread(1);
        let (before, after) = meter.reset(10, Forgive::All, 1).unwrap();
        assert!((before, after) == (1, 0) || (before, after) == (2, 0), "{before}");
        assert!(other.join().unwrap());
        assert_eq!(meter.peek(10).amount, 2 - before);
    });
}

#[test]
fn loom_stripes_against_an_undo_and_a_settlement() {
    check(|meter| {
        let other = spawn(meter, 0, |meter| {
            if charge(meter, 1, MAX) {
                meter.undo(10, 1, Part::Used);
            }
        });
        number_thread(1);
        meter.admit(10, 2, Gate::Max(MAX)).unwrap();
        let settled = meter.settle(10, 2, 9);
        assert!(matches!(settled, Settled::Current { charged: 10 | 11 }), "{settled:?}");
        other.join().unwrap();
        assert_eq!(meter.peek(10).amount, 10);
    });
}
