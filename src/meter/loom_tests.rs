//! Every interleaving of small races on one budget's word.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::{explore, looking_by_load};
use crate::window::Span;

fn meter() -> Arc<Meter> {
    Arc::new(Meter::in_window(&Window::Day, 10))
}

fn spawn<T: 'static>(meter: &Arc<Meter>, run: impl FnOnce(&Meter) -> T + 'static) -> thread::JoinHandle<T> {
    let meter = Arc::clone(meter);
    thread::spawn(move || run(&meter))
}

#[test]
fn loom_admission_against_admission_at_the_last_unit() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 9, Gate::Max(10)).unwrap();
        let other = spawn(&meter, |meter| meter.admit(10, 1, Gate::Max(10)).is_ok());
        let mine = meter.admit(10, 1, Gate::Max(10)).is_ok();
        let theirs = other.join().unwrap();
        assert!(mine ^ theirs, "exactly one gets the last unit");
        assert_eq!(meter.peek(10).amount, 10);
    });
}

#[test]
fn loom_three_admissions_for_two_places() {
    loom::model(|| {
        let meter = meter();
        let others = [0, 1].map(|_| spawn(&meter, |meter| meter.admit(10, 1, Gate::Max(2)).is_ok()));
        let mine = meter.admit(10, 1, Gate::Max(2)).is_ok();
        let admitted = others.into_iter().map(|other| other.join().unwrap()).chain([mine]).filter(|ok| *ok).count();
        assert_eq!((admitted, meter.peek(10).amount), (2, 2));
    });
}

#[test]
fn loom_admission_against_rollover() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 7, Gate::Max(10)).unwrap();
        // One still reads the time in the old window, one in the new one.
        let late = spawn(&meter, |meter| meter.admit(10, 3, Gate::Max(10)).unwrap().window);
        let window = meter.admit(11, 4, Gate::Max(10)).unwrap().window;
        let late = late.join().unwrap();
        assert_eq!(window, 11);
        let old = if late == 10 { 10 } else { 7 };
        let new = if late == 10 { 4 } else { 7 };
        assert_eq!((meter.charged_in(10), meter.charged_in(11)), (Some(old), Some(new)), "late went to {late}");
    });
}

#[test]
fn loom_two_rollovers_grant_the_window_once() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 10, Gate::Max(10)).unwrap();
        let other = spawn(&meter, |meter| meter.admit(11, 6, Gate::Max(10)).is_ok());
        let mine = meter.admit(11, 6, Gate::Max(10)).is_ok();
        assert!(mine ^ other.join().unwrap());
        assert_eq!((meter.charged_in(10), meter.charged_in(11)), (Some(10), Some(6)));
    });
}

#[test]
fn loom_release_against_rollover() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 8, Gate::Max(10)).unwrap();
        meter.hold(10, 8);
        let release = spawn(&meter, |meter| {
            meter.settle(10, 8, 0);
        });
        meter.admit(11, 5, Gate::Max(10)).unwrap();
        release.join().unwrap();
        assert_eq!(meter.charged_in(11), Some(5), "the release never credits the newer window");
        assert_eq!(meter.charged_in(10), Some(0), "and is not lost in its own");
    });
}

/// A settlement and the hand-over of its window both need the part that neither finds.
#[test]
fn loom_late_release_and_hand_over_make_one_cold_part() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 8, Gate::Max(10)).unwrap();
        let release = spawn(&meter, |meter| meter.settle(10, 0, 1));
        meter.admit(11, 1, Gate::Max(10)).unwrap();
        release.join().unwrap();
        assert_eq!((meter.charged_in(10), meter.charged_in(11)), (Some(9), Some(1)));
    });
}

/// One undoes its charge while another looks for traces of undone ones: who sees the count sees the amount gone.
#[test]
fn loom_an_undo_that_makes_the_cold_part_is_seen_whole() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 4, Gate::Max(10)).unwrap();
        let undo = spawn(&meter, |meter| meter.undo(10, 4, Part::Used));
        let seen = meter.taken_back();
        assert!(seen == 0 || meter.peek(10).amount == 0);
        undo.join().unwrap();
        assert_eq!((meter.taken_back(), meter.peek(10).amount), (1, 0));
    });
}

/// In every order with loads as first looks, and with at most five preemptions with swaps.
#[test]
fn loom_late_commit_against_the_hand_over_of_its_window() {
    let model = || {
        let meter = Arc::new(Meter::in_window_with_all(&Window::Day, 10));
        meter.admit(10, 8, Gate::Max(10)).unwrap();
        let commit = spawn(&meter, |meter| meter.settle(10, 5, 9));
        let other = spawn(&meter, |meter| meter.settle(10, 3, 1));
        meter.admit(11, 1, Gate::Max(10)).unwrap();
        commit.join().unwrap();
        other.join().unwrap();
        assert_eq!((meter.charged_in(10), meter.charged_in(11)), (Some(10), Some(1)));
    };
    looking_by_load(|| loom::model(model));
    explore(5, model);
}

/// The cap is no part of the word: an admission goes by one of the caps in force during its call.
#[test]
fn loom_cap_change_against_admission() {
    loom::model(|| {
        let meter = meter();
        let cap = Arc::new(AtomicU64::new(10));
        meter.admit(10, 4, Gate::Max(10)).unwrap();
        let changed = Arc::clone(&cap);
        let change = thread::spawn(move || changed.store(5, Ordering::Release));
        let other_cap = Arc::clone(&cap);
        let other =
            spawn(&meter, move |meter| meter.admit(10, 4, Gate::Max(other_cap.load(Ordering::Acquire))).is_ok());
        let mine = meter.admit(10, 4, Gate::Max(cap.load(Ordering::Acquire))).is_ok();
        let theirs = other.join().unwrap();
        change.join().unwrap();
        let charged = meter.peek(10).amount;
        assert!(!(mine && theirs), "both would pass the larger cap");
        assert_eq!(charged, 4 + 4 * u64::from(mine || theirs));
        assert!(meter.admit(10, 1, Gate::Max(5)).is_ok() == (charged == 4));
    });
}

#[test]
fn loom_commit_below_frees_room_for_exactly_one() {
    loom::model(|| {
        let meter = meter();
        meter.admit(10, 10, Gate::Max(10)).unwrap();
        let commit = spawn(&meter, |meter| {
            meter.settle(10, 10, 4);
        });
        let other = spawn(&meter, |meter| meter.admit(10, 6, Gate::Max(10)).is_ok());
        let mine = meter.admit(10, 6, Gate::Max(10)).is_ok();
        let theirs = other.join().unwrap();
        commit.join().unwrap();
        assert!(!(mine && theirs));
        assert_eq!(meter.peek(10).amount, 4 + 6 * u64::from(mine || theirs));
    });
}

/// A budget whose clock has jumped ahead, from window 10 to 100.
fn jumped() -> Arc<Meter> {
    let meter = meter();
    meter.admit(10, 5, Gate::Max(10)).unwrap();
    meter.admit(100, 6, Gate::Max(10)).unwrap();
    meter
}

/// A clock that jumped ahead has come back, and jumps again meanwhile: the gap that the second jump leaves is recognised as well.
#[test]
fn loom_a_window_comes_back_against_a_second_jump() {
    loom::model(|| {
        let meter = jumped();
        let seen = meter.state(10);
        let other = spawn(&meter, |meter| meter.admit(200, 7, Gate::Max(10)).is_ok());
        meter.come_back(seen, 10);
        assert!(other.join().unwrap());
        let seen = meter.state(10);
        assert_eq!(seen, State { window: 200, amount: 7 });
        let next = meter.come_back(seen, 10);
        assert!([12, 101].contains(&next), "after the last window that was granted: {next}");
        assert_eq!(meter.state(10), State { window: next, amount: 7 });
    });
}

/// The next window follows in good order while a look at the one before it comes back: nothing moves, and what was there is still recognised.
#[test]
fn loom_a_window_comes_back_against_the_next_one() {
    loom::model(|| {
        let meter = jumped();
        let seen = meter.state(10);
        let other = spawn(&meter, |meter| meter.admit(101, 7, Gate::Max(10)).is_ok());
        meter.come_back(seen, 10);
        assert!(other.join().unwrap());
        assert_eq!(meter.come_back(meter.state(10), 10), if meter.charged_in(11) == Some(6) { 12 } else { 11 });
    });
}

/// Two charges after the end of a window from first use: one of them begins the next one, and both count in it.
#[test]
fn loom_two_first_charges_begin_one_window() {
    loom::model(|| {
        let window = "1h from first use".parse::<Window>().unwrap();
        let at = |seconds| Timestamp::from_seconds(seconds);
        let slice = Arc::new(Slice::new(window));
        let meter = Arc::new(Meter::new(&window, at(0)));
        meter.admit_at(&slice, at(0), 7, Gate::Max(10), Part::Used).unwrap();
        let other = {
            let (meter, slice) = (Arc::clone(&meter), Arc::clone(&slice));
            thread::spawn(move || meter.admit_at(&slice, at(3_601), 6, Gate::Max(10), Part::Used).is_ok())
        };
        let mine = meter.admit_at(&slice, at(3_600), 6, Gate::Max(10), Part::Used).is_ok();
        assert!(mine ^ other.join().unwrap(), "the new window has room for one of them");
        let state = meter.peek_at(&slice, at(3_700));
        assert_eq!((state.window, state.amount, meter.charged_in(1)), (2, 6, Some(7)));
        let start = meter.bounds(&window, 2, at(3_700)).unwrap().start;
        assert!([at(3_600), at(3_601)].contains(&start));
    });
}

#[test]
fn loom_a_milestone_that_two_reach_at_once_is_told_once() {
    loom::model(|| {
        let meter = meter();
        let tell = |meter: &Meter, window: i64| meter.announce(window, 0b11).count_ones();
        assert_eq!(meter.announce(10, 0b01), 0b01);
        let other = spawn(&meter, move |meter| (tell(meter, 10), tell(meter, 11)));
        let mine = (tell(&meter, 10), tell(&meter, 11));
        let theirs = other.join().unwrap();
        assert_eq!((mine.0 + theirs.0, mine.1 + theirs.1), (1, 2));
    });
}

const HOUR_MICROS: i64 = 3_600_000_000;

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_micros(hour * HOUR_MICROS)
}

/// Windows of five hours from first use, of which one began at each of `hours`.
fn opened<const N: usize>(hours: [i64; N]) -> Arc<Opened> {
    let opened = Arc::new(Opened::new(Span::from_seconds(5 * 3_600).unwrap()));
    for start in hours {
        opened.open(hour(start));
    }
    opened
}

fn open(opened: &Arc<Opened>, start: i64) -> thread::JoinHandle<i64> {
    let opened = Arc::clone(opened);
    thread::spawn(move || opened.open(hour(start)))
}

fn start(opened: &Opened, number: i64) -> i64 {
    opened.bounds(number).expect("the last one").start.as_micros() / HOUR_MICROS
}

#[test]
fn loom_a_window_from_first_use_begins_once() {
    loom::model(|| {
        let opened = opened([]);
        let other = open(&opened, 101);
        assert_eq!((opened.open(hour(100)), other.join().unwrap()), (1, 1));
        assert!([100, 101].contains(&start(&opened, 1)));
    });
}

#[test]
fn loom_a_window_from_first_use_comes_back_while_its_gap_is_written_down() {
    loom::model(|| {
        let opened = opened([0]);
        let other = open(&opened, 100);
        opened.come_back(opened.last(), hour(3));
        assert_eq!(other.join().unwrap(), 2);
        assert!([5, 100].contains(&start(&opened, 2)), "the first one lasts till 5");
        opened.come_back(opened.last(), hour(3));
        assert_eq!(start(&opened, 2), 5);
    });
}

#[test]
fn loom_a_window_from_first_use_comes_back_against_the_next_one() {
    loom::model(|| {
        let opened = opened([0, 100]);
        let seen = opened.last();
        let other = open(&opened, 106);
        opened.come_back(seen, hour(3));
        assert_eq!(other.join().unwrap(), 3);
        assert_eq!(start(&opened, 3), 106, "what was seen is not the last one any more, or has been left");
        opened.come_back(opened.last(), hour(3));
        assert!([5, 10].contains(&start(&opened, 3)), "none begins before one that was granted has ended");
    });
}
