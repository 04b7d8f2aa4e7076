//! Every interleaving of announcements with those who wait for them, in a stripe that threads share and in one of a thread's own.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::sync::{explore, number_thread};

/// Two words that an announced attempt changes together, as those of budgets are.
struct Rig {
    flights: Flights,
    words: [AtomicU64; 2],
    /// Two that are changed together by who has the moment.
    quietly: [AtomicU64; 2],
}

fn check(preemptions: usize, model: impl Fn(&Arc<Rig>) + Send + Sync + 'static) {
    explore(preemptions, move || {
        let words = || [AtomicU64::new(0), AtomicU64::new(0)];
        model(&Arc::new(Rig { flights: Flights::new(), words: words(), quietly: words() }));
    });
}

fn beside(rig: &Arc<Rig>, run: impl FnOnce(&Rig) + 'static) -> thread::JoinHandle<()> {
    let rig = Arc::clone(rig);
    thread::spawn(move || run(&rig))
}

impl Rig {
    /// Adds one to both words.
    fn attempt(&self) {
        let _flight = self.flights.begin();
        // Relaxed: the announcement orders it.
        let [first, second] = self.quietly.each_ref().map(|word| word.load(Ordering::Relaxed));
        assert_eq!(first, second, "what was done in a moment is done");
        for word in &self.words {
            word.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn read(&self) -> [u64; 2] {
        self.words.each_ref().map(|word| word.load(Ordering::Acquire))
    }
}

/// Attempts of one thread, which has the stripe to itself.
fn alone(rig: &Arc<Rig>, attempts: u32) -> thread::JoinHandle<()> {
    beside(rig, move |rig| {
        number_thread(THREAD_ALONE);
        (0..attempts).for_each(|_| rig.attempt());
    })
}

#[test]
fn loom_who_has_the_moment_sees_attempts_of_a_stripe_with_one_owner_whole() {
    check(4, |rig| {
        let owner = alone(rig, 2);
        for _ in 0..2 {
            let _quiet = rig.flights.exclusive();
            let [first, second] = rig.read();
            assert_eq!(first, second);
            // Relaxed: the end of the moment orders it.
            rig.quietly.iter().for_each(|word| word.store(first + 1, Ordering::Relaxed));
        }
        owner.join().unwrap();
        assert_eq!(rig.read(), [2, 2]);
    });
}

#[test]
fn loom_two_quiet_looks_with_one_mark_have_nothing_between_them() {
    check(4, |rig| {
        let owner = alone(rig, 2);
        let before = rig.flights.quiet();
        let [first, second] = rig.read();
        if before.is_some() && rig.flights.quiet() == before {
            assert_eq!(first, second);
        }
        owner.join().unwrap();
    });
}

#[test]
fn loom_who_has_waited_sees_the_end_of_what_he_saw_the_beginning_of() {
    check(4, |rig| {
        let owner = alone(rig, 2);
        let [seen, _] = rig.read();
        if rig.flights.stripes[0].wait_for_begun() {
            assert!(rig.read()[1] >= seen);
        }
        owner.join().unwrap();
    });
}

/// The end of a later attempt in a stripe that threads share is not the end that was waited for.
#[test]
fn loom_a_wait_is_not_over_when_another_threads_later_attempt_ends() {
    check(3, |rig| {
        let flight = rig.flights.begin();
        let later = beside(rig, |rig| drop(rig.flights.begin()));
        let waiter = beside(rig, |rig| {
            if rig.flights.wait() {
                assert_eq!(rig.read(), [1, 1], "the first attempt has ended");
            }
        });
        rig.words.iter().for_each(|word| word.store(1, Ordering::Release));
        drop(flight);
        later.join().unwrap();
        waiter.join().unwrap();
    });
}
