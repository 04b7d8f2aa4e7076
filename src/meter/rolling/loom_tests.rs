//! Every interleaving of charges, expiry by several threads and settlements on a small ring.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::explore;

/// Two slots: what a number charges counts in the next one too.
type Ring = Rolling<2>;

const MAX: u64 = 10;
const HARD: Gate = Gate::Max(MAX);

fn ring() -> Arc<Ring> {
    let ring = unused(100, 1_000);
    // Numbers that follow each other from here on.
    assert!(ring.admit(10, 0, HARD, Part::Used).is_ok());
    Arc::new(ring)
}

fn spawn<T: 'static>(ring: &Arc<Ring>, run: impl FnOnce(&Ring) -> T + 'static) -> thread::JoinHandle<T> {
    let ring = Arc::clone(ring);
    thread::spawn(move || run(&ring))
}

fn charge(ring: &Ring, now: i64, amount: u64) -> Option<(i64, u64)> {
    ring.admit(now, amount, HARD, Part::Used).ok().map(|state| (state.window, amount))
}

/// At rest: the total is what the slots hold, and is what was charged in the live numbers. And no interval ever held more than the max.
fn assert_sound(ring: &Ring, charged: impl IntoIterator<Item = Option<(i64, u64)>>) {
    let latest = ring.latest();
    let charged: Vec<_> = charged.into_iter().flatten().collect();
    let within =
        |first: i64| charged.iter().filter(|(n, _)| (first..first + 2).contains(n)).map(|(_, a)| a).sum::<u64>();
    let in_slots: u64 = ring.amounts(latest - 1, latest).flat_map(|(_, parts)| parts).sum();
    assert_eq!((ring.charged(), in_slots), (within(latest - 1), within(latest - 1)), "latest {latest}: {charged:?}");
    for &(number, _) in &charged {
        assert!(within(number) <= MAX, "{charged:?} in the interval from {number}");
    }
}

#[test]
fn loom_rolling_two_admissions_for_one_place() {
    explore(3, || {
        let ring = ring();
        let first = charge(&ring, 10, 4);
        let other = spawn(&ring, |ring| charge(ring, 11, 6));
        let mine = charge(&ring, 11, 6);
        let theirs = other.join().unwrap();
        assert!(mine.is_some() ^ theirs.is_some());
        assert_sound(&ring, [first, mine, theirs]);
    });
}

/// The thread that still reads the old number must not use room that an expiry made, in a number from which the expired charge counts.
#[test]
fn loom_rolling_stale_admission_against_expiry() {
    explore(3, || {
        let ring = ring();
        let first = charge(&ring, 10, 10);
        let stale = spawn(&ring, |ring| charge(ring, 11, 6));
        let mine = charge(&ring, 12, 5);
        let stale = stale.join().unwrap();
        assert_sound(&ring, [first, mine, stale]);
        // Once everything has expired, nothing is left over.
        let last = charge(&ring, 20, 10);
        assert!(last.is_some());
        assert_sound(&ring, [first, mine, stale, last]);
    });
}

#[test]
fn loom_rolling_expiry_by_two_threads_in_different_numbers() {
    explore(3, || {
        let ring = ring();
        let charges = [charge(&ring, 10, 4), charge(&ring, 11, 6)];
        let other = spawn(&ring, |ring| charge(ring, 13, 7));
        let mine = charge(&ring, 12, 4);
        let theirs = other.join().unwrap();
        assert_sound(&ring, charges.into_iter().chain([mine, theirs]));
    });
}

#[test]
fn loom_rolling_expiry_by_two_threads_against_a_stale_admission() {
    explore(3, || {
        let ring = ring();
        let first = charge(&ring, 10, 10);
        let others = [(11, 3), (12, 5)].map(|(now, amount)| spawn(&ring, move |ring| charge(ring, now, amount)));
        let mine = charge(&ring, 12, 6);
        let others = others.map(|other| other.join().unwrap());
        assert_sound(&ring, others.into_iter().chain([first, mine]));
    });
}

/// A thread that charges while the ring turns over under it more than once.
#[test]
fn loom_rolling_admission_that_sleeps_through_the_ring() {
    explore(3, || {
        let ring = ring();
        let sleeper = spawn(&ring, |ring| charge(ring, 10, 6));
        let mine = [charge(&ring, 12, 5), charge(&ring, 14, 5)];
        let slept = sleeper.join().unwrap();
        assert_sound(&ring, mine.into_iter().chain([slept]));
    });
}

/// What a settlement leaves charged in its number, if it was not late.
fn settle(ring: &Ring, number: i64, held: u64, actual: u64) -> bool {
    ring.settle(number, held, actual) != Settled::Late { charged: None }
}

#[test]
fn loom_rolling_release_against_expiry_and_admission() {
    explore(3, || {
        let ring = ring();
        assert!(ring.admit(10, 6, HARD, Part::Held).is_ok());
        let next = charge(&ring, 11, 4);
        let release = spawn(&ring, |ring| settle(ring, 10, 6, 0));
        let stale = spawn(&ring, |ring| charge(ring, 11, 6));
        let mine = charge(&ring, 12, 5);
        let stale = stale.join().unwrap();
        release.join().unwrap();
        // Released or expired, the hold is gone either way.
        assert_sound(&ring, [next, stale, mine]);
        assert_eq!(ring.held(12), 0);
    });
}

#[test]
fn loom_rolling_commit_against_expiry_and_admission() {
    explore(3, || {
        let ring = ring();
        assert!(ring.admit(10, 8, HARD, Part::Held).is_ok());
        let commit = spawn(&ring, |ring| settle(ring, 10, 8, 8));
        let stale = spawn(&ring, |ring| charge(ring, 11, 6));
        let mine = charge(&ring, 12, 5);
        let stale = stale.join().unwrap();
        commit.join().unwrap();
        // Whoever commits after number 12 has begun must not let the stale charge into number 11.
        assert_sound(&ring, [Some((10, 8)), mine, stale]);
    });
}

#[test]
fn loom_rolling_commit_above_and_below_against_expiry() {
    explore(3, || {
        let ring = ring();
        assert!(ring.admit(10, 2, HARD, Part::Held).is_ok());
        assert!(ring.admit(11, 6, HARD, Part::Held).is_ok());
        let above = spawn(&ring, |ring| settle(ring, 10, 2, 4));
        let below = spawn(&ring, |ring| settle(ring, 11, 6, 5));
        let mine = charge(&ring, 12, 4);
        above.join().unwrap();
        assert!(below.join().unwrap(), "it is live all the while");
        assert_sound(&ring, [Some((11, 5)), mine]);
        assert_eq!(ring.held(12), 0);
    });
}

#[test]
fn loom_rolling_reset_against_settlement_and_expiry() {
    explore(3, || {
        let ring = ring();
        charge(&ring, 10, 2).unwrap();
        charge(&ring, 11, 3).unwrap();
        assert!(ring.admit(11, 4, HARD, Part::Held).is_ok());
        let commit = spawn(&ring, |ring| settle(ring, 11, 4, 4));
        let reset = spawn(&ring, |ring| ring.take_used(11, u64::MAX));
        let mine = charge(&ring, 12, 1);
        let taken = reset.join().unwrap();
        assert!(commit.join().unwrap());
        // 3 or 7 of number 11, the 2 of number 10 if it came in time, the new 1 if it came late.
        let live = ring.charged();
        let [with_commit, with_new] = [[0, 4], [0, 1]];
        let possible = |[all, left]: [u64; 2]| {
            // Number 10 is taken or expires; number 11 leaves what was not committed in time, number 12 what came too late.
            with_commit.iter().any(|c| with_new.iter().any(|n| left == c + n && [8, 10].contains(&(all + left))))
        };
        assert!(mine.is_some() && possible([taken, live]), "{taken} taken, {live} left");
        let in_slots: u64 = ring.amounts(11, 12).flat_map(|(_, parts)| parts).sum();
        assert_eq!(in_slots, live);
    });
}

/// The rule by which a refuser makes sure: if nobody is in the middle of anything and `lowered` has not moved, there was no room.
#[test]
fn loom_rolling_a_refusal_that_stands_is_right() {
    explore(3, || {
        let ring = ring();
        charge(&ring, 10, 6).unwrap();
        let hold = ring.admit(11, 2, HARD, Part::Held).unwrap();
        let expiry = spawn(&ring, |ring| charge(ring, 12, 1).unwrap());
        let release = spawn(&ring, move |ring| settle(ring, hold.window, 2, 0));
        // 7 fit into number 12 whatever the others do: the 6 have expired by then, and 1 and 2 leave room.
        let lowered = ring.lowered();
        let mine = charge(&ring, 12, 7);
        assert!(expiry.join().is_ok() && release.join().unwrap());
        assert!(mine.is_some() || ring.lowered() != lowered, "refused what fits");
        let again = mine.or_else(|| charge(&ring, 12, 7));
        assert_sound(&ring, [again, Some((12, 1))]);
    });
}

/// A check while a charge expires: never less than what is charged.
#[test]
fn loom_rolling_peek_against_expiry() {
    explore(3, || {
        let ring = ring();
        charge(&ring, 10, 4).unwrap();
        charge(&ring, 11, 3).unwrap();
        let other = spawn(&ring, |ring| charge(ring, 12, 2));
        let seen = ring.peek(12).amount;
        assert!([3, 5, 7, 9].contains(&seen), "{seen}");
        other.join().unwrap().unwrap();
        assert_eq!(ring.peek(12), State { window: 12, amount: 5 });
    });
}

#[test]
fn loom_rolling_two_come_back_and_a_charge() {
    explore(3, || {
        let ring = ring();
        let far = charge(&ring, 5_000, 10);
        let seen = ring.latest();
        let other = spawn(&ring, move |ring| ring.come_back(seen, 10));
        let charging = spawn(&ring, |ring| charge(ring, 10, 1));
        ring.come_back(ring.latest(), 10);
        other.join().unwrap();
        assert_eq!(charging.join().unwrap(), None);
        assert_eq!((ring.fits_at(1, MAX, 10), charge(&ring, 11, 1)), (Some(12), None));
        let later = charge(&ring, 12, 10);
        assert_eq!(later, Some((5_002, 10)));
        assert_sound(&ring, [far, later]);
    });
}
