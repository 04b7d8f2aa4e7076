//! The one door to atomics: `std`, or `loom` when the crate is built with `--cfg loom`.
//!
//! Nothing else in the crate names `std::sync::atomic`, so every interleaving that loom explores is of the real code.

#[cfg(loom)]
pub(crate) use loom::hint::spin_loop;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::thread::yield_now;

#[cfg(not(loom))]
pub(crate) use std::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
#[cfg(not(loom))]
pub(crate) use std::thread::yield_now;

/// A lock that is held while atomics are used: loom has to know it.
#[cfg(not(loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

/// As `parking_lot::Mutex`, for loom.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
pub(crate) use loom::sync::MutexGuard;

#[cfg(loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("loom's locks are not poisoned")
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// Where threads wait for what somebody who has the lock will do. They may wake without it.
#[cfg(all(feature = "persist", not(loom)))]
#[derive(Debug, Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

#[cfg(all(feature = "persist", not(loom)))]
impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    /// The same for so long at most.
    pub(crate) fn wait_for<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        during: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        self.0.wait_for(&mut guard, during);
        guard
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// As the other one, for loom.
#[cfg(all(feature = "persist", loom))]
#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

#[cfg(all(feature = "persist", loom))]
impl Condvar {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).expect("loom's locks are not poisoned")
    }

    /// Models have no time: it waits.
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, _: std::time::Duration) -> MutexGuard<'a, T> {
        self.wait(guard)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A mark that is set once: whoever sees it sees what was done before it was set.
#[derive(Debug)]
pub(crate) struct Mark(AtomicU8);

impl Mark {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    pub(crate) fn set(&self) {
        self.0.fetch_or(1, Ordering::AcqRel);
    }

    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // Pairs with the swap in `set`.
        self.0.load(Ordering::Acquire) != 0
    }

    /// A swap that changes nothing: loom remembers the last access of a word alone, and a load by the thread that sets the mark would hide an earlier
    /// look of another one from it.
    #[cfg(loom)]
    pub(crate) fn is_set(&self) -> bool {
        self.0.fetch_or(0, Ordering::AcqRel) != 0
    }
}

/// A box that is made when it is first needed, by whoever comes first: of two who make one the later one's goes.
#[cfg(not(loom))]
pub(crate) use once_cell::race::OnceBox;

/// As `once_cell::race::OnceBox`, for loom, but that the later one waits and makes none.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct OnceBox<T> {
    /// With its value from the start: nobody has to be told of it.
    is_given: bool,
    is_made: Mark,
    making: loom::sync::Mutex<()>,
    value: std::sync::OnceLock<Box<T>>,
}

#[cfg(loom)]
impl<T> OnceBox<T> {
    pub(crate) fn new() -> Self {
        Self {
            is_given: false,
            is_made: Mark::new(),
            making: loom::sync::Mutex::new(()),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn with_value(value: Box<T>) -> Self {
        Self { is_given: true, value: value.into(), ..Self::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        let is_made = self.is_given || self.is_made.is_set();
        self.value.get().map(|value| &**value).filter(|_| is_made)
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _making = self.making.lock().expect("loom's locks are not poisoned");
        let value = self.value.get_or_init(make);
        self.is_made.set();
        value
    }
}

/// Runs a model to the end, with at most so many preemptions in each of its orders.
#[cfg(all(test, loom))]
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

#[cfg(loom)]
thread_local!(static LOOKS_BY_LOAD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

/// Whether the first look at a word is a load, as it is without loom: see `meter::look`.
#[cfg(loom)]
pub(crate) fn looks_by_load() -> bool {
    LOOKS_BY_LOAD.get()
}

/// Runs `models` with first looks that are loads. Loom tries fewer orders then, so that models end with more preemptions.
#[cfg(all(test, loom))]
pub(crate) fn looking_by_load(models: impl FnOnce()) {
    // Loom's threads are all of this thread.
    LOOKS_BY_LOAD.set(true);
    models();
    LOOKS_BY_LOAD.set(false);
}

/// A number of the calling thread, as small as there is, that no other thread has while it lives.
#[cfg(not(loom))]
#[inline]
pub(crate) fn thread_index() -> usize {
    thread_local!(static NUMBER: ThreadNumber = ThreadNumber::take());
    // After the thread's locals are gone any large number will do.
    NUMBER.try_with(|number| number.0).unwrap_or(usize::MAX)
}

/// A thread's number, until it ends.
#[cfg(not(loom))]
struct ThreadNumber(usize);

#[cfg(not(loom))]
mod thread_numbers {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::{Mutex, ThreadNumber};

    /// The numbers of threads that have ended, and the first one that no thread has had. Whoever takes a number sees what its threads before did.
    static FREE: Mutex<(BinaryHeap<Reverse<usize>>, usize)> = Mutex::new((BinaryHeap::new(), 0));

    impl ThreadNumber {
        pub(super) fn take() -> Self {
            let mut free = FREE.lock();
            let (returned, next) = &mut *free;
            let number = returned.pop().map(|Reverse(number)| number);
            Self(number.unwrap_or_else(|| {
                *next += 1;
                *next - 1
            }))
        }
    }

    impl Drop for ThreadNumber {
        fn drop(&mut self) {
            FREE.lock().0.push(Reverse(self.0));
        }
    }
}

#[cfg(loom)]
loom::thread_local!(static INDEX: std::cell::Cell<usize> = std::cell::Cell::new(0));

/// 0, unless a model gave the thread another number.
#[cfg(loom)]
pub(crate) fn thread_index() -> usize {
    INDEX.with(std::cell::Cell::get)
}

/// Gives the calling thread of a model a number.
#[cfg(all(test, loom))]
pub(crate) fn number_thread(index: usize) {
    INDEX.with(|number| number.set(index));
}

/// How many stripes are worth having: as many as threads run at once, with some to spare, since threads may share one.
#[cfg(not(any(loom, encumber_striped)))]
pub(crate) fn stripes_count() -> usize {
    use std::sync::OnceLock;
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        (2 * cores).next_power_of_two().clamp(8, 64)
    })
}

/// As few as there can be.
#[cfg(any(loom, encumber_striped))]
pub(crate) const fn stripes_count() -> usize {
    2
}

/// A number that no other call in this process gets. Threads take them in blocks, so that they do not share a line.
pub(crate) fn unique_number() -> u64 {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU64;
    const BLOCK: u64 = 1 << 16;
    static NEXT_BLOCK: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    // Relaxed: the numbers only have to differ.
    let block = || NEXT_BLOCK.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * BLOCK;
    let take = |next: &Cell<u64>| {
        let number = if next.get().is_multiple_of(BLOCK) { block() } else { next.get() };
        next.set(number + 1);
        number
    };
    // After the thread's locals are gone a block serves for one number.
    NEXT.try_with(take).unwrap_or_else(|_| block())
}

/// The next number of a process-wide count, from 1.
pub(crate) fn next_number() -> u32 {
    use std::sync::atomic::AtomicU32;
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // Relaxed: the numbers only have to differ.
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const THREADS: usize = 20;

    /// The numbers of so many threads that live at once.
    fn numbers() -> BTreeSet<usize> {
        let barrier = Barrier::new(THREADS);
        let number = || {
            let number = thread_index();
            barrier.wait();
            assert_eq!(thread_index(), number);
            number
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(number)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn threads_that_live_at_once_have_different_numbers_and_leave_them_to_others() {
        let mut largest = 0;
        for _ in 0..100 {
            let numbers = numbers();
            assert_eq!(numbers.len(), THREADS);
            largest = largest.max(*numbers.last().unwrap());
        }
        // Other tests' threads come and go meanwhile, but never as many as there were here.
        assert!(largest < 50 * THREADS, "{largest}");
    }
}
