//! Every interleaving of small races for a budget's ceiling: at no point is less written down than was answered.

use loom::sync::{Arc, Mutex};
use loom::thread;

use super::super::{Gate, Part};
use super::*;
use crate::sync::explore;
use crate::window::Window;

/// A budget, and what a crash would leave of it: the newest record, its window above its amount.
struct Written {
    meter: Meter,
    /// The writer's.
    lock: Mutex<()>,
    disk: AtomicU64,
}

const MAX: u64 = 100;

impl Written {
    fn new() -> Arc<Self> {
        let meter = Meter::in_window(&Window::Day, 10).watched();
        Arc::new(Self { meter, lock: Mutex::new(()), disk: AtomicU64::new(0) })
    }

    /// Charges, and answers.
    fn charge(&self, window: i64, amount: u64, ahead: u64) {
        self.meter.admit(window, amount, Gate::Max(MAX)).unwrap();
        if self.meter.is_beyond() {
            self.raise(window, ahead);
        }
    }

    fn raise(&self, window: i64, ahead: u64) {
        let _lock = self.lock.lock().unwrap();
        let write = |image: &Image| {
            self.write(image);
            Ok::<_, ()>(())
        };
        self.meter.raise_ceiling(window, |_| ahead, write).unwrap();
    }

    fn write(&self, image: &Image) {
        self.disk.store((image.window as u64) << 32 | image.charged, Ordering::Release);
    }

    /// Gives back, and writes that down.
    fn give_back(&self, window: i64, amount: u64, ahead: u64) {
        self.meter.settle(window, amount, 0);
        let _lock = self.lock.lock().unwrap();
        self.meter.seal();
        let image = self.meter.image_ahead(window, |_| ahead);
        self.write(&image);
        self.meter.set_ceiling(&image);
    }

    /// What is written down in `window`.
    fn found(&self, window: i64) -> u64 {
        let disk = self.disk.load(Ordering::Acquire);
        if disk >> 32 == window as u64 { disk & u64::from(u32::MAX) } else { 0 }
    }
}

fn spawn(written: &Arc<Written>, run: impl FnOnce(&Written) + 'static) -> thread::JoinHandle<()> {
    let written = Arc::clone(written);
    thread::spawn(move || run(&written))
}

#[test]
fn loom_two_charges_are_written_before_they_are_answered() {
    explore(3, || {
        let written = Written::new();
        written.charge(10, 1, 3);
        let other = spawn(&written, |written| {
            written.charge(10, 5, 0);
            assert!(written.found(10) >= 6);
        });
        written.charge(10, 2, 1);
        assert!(written.found(10) >= 3);
        other.join().unwrap();
        assert!(written.found(10) >= 8);
    });
}

#[test]
fn loom_a_charge_below_the_ceiling_against_its_lowering() {
    explore(3, || {
        let written = Written::new();
        written.charge(10, 20, 10);
        written.meter.hold(10, 20);
        // Within what is written, or no more: the ceiling is on its way down.
        let charges = spawn(&written, |written| {
            written.charge(10, 4, 0);
            assert!(written.found(10) >= 4, "{} of 4", written.found(10));
            written.charge(10, 5, 0);
            assert!(written.found(10) >= 9, "{} of 9", written.found(10));
        });
        written.give_back(10, 20, 1);
        charges.join().unwrap();
        assert!(written.found(10) >= 9);
        assert!(written.found(10) <= 9 + 1, "{} is more than a step above", written.found(10));
    });
}

#[test]
fn loom_a_new_window_against_a_lowering_in_the_old_one() {
    explore(3, || {
        let written = Written::new();
        written.charge(10, 20, 0);
        written.meter.hold(10, 20);
        let charges = spawn(&written, |written| {
            written.charge(11, 7, 0);
            assert!(written.found(11) >= 7);
        });
        written.give_back(10, 20, 1);
        charges.join().unwrap();
        assert!(written.found(11) >= 7);
    });
}

#[test]
fn loom_two_lowerings_against_a_charge() {
    explore(2, || {
        let written = Written::new();
        written.charge(10, 20, 0);
        written.meter.hold(10, 20);
        let others = [4, 16].map(|amount| spawn(&written, move |written| written.give_back(10, amount, 0)));
        written.charge(10, 3, 0);
        assert!(written.found(10) >= 3);
        for other in others {
            other.join().unwrap();
        }
        assert!(written.found(10) >= 3);
    });
}

#[test]
fn loom_an_undone_charge_leaves_enough_written() {
    explore(3, || {
        let written = Written::new();
        let undone = spawn(&written, |written| {
            written.meter.admit(10, 50, Gate::Max(MAX)).unwrap();
            written.meter.undo(10, 50, Part::Used);
        });
        written.charge(10, 3, 2);
        assert!(written.found(10) >= 3);
        written.charge(10, 2, 0);
        assert!(written.found(10) >= 5);
        undone.join().unwrap();
    });
}

#[test]
fn loom_a_raise_against_what_falls_and_is_charged_again_below_the_ceiling() {
    explore(3, || {
        let written = Written::new();
        written.charge(10, 8, 0);
        written.meter.hold(10, 8);
        let other = spawn(&written, |written| {
            // By so little that nobody writes it.
            written.meter.settle(10, 8, 0);
            written.charge(10, 3, 0);
            assert!(written.found(10) >= 3);
        });
        written.charge(10, 5, 0);
        assert!(written.found(10) >= 5);
        other.join().unwrap();
        assert!(written.found(10) >= 8, "{} of 8", written.found(10));
    });
}
