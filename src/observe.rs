//! A bounded queue from the engine to whoever listens: what does not fit is counted and dropped, and nobody ever waits.

use std::fmt;

use crossbeam_queue::ArrayQueue;

use crate::sync::{AtomicU64, Ordering};

/// Values on their way to a listener.
pub(crate) struct Queue<T> {
    waiting: ArrayQueue<T>,
    dropped: AtomicU64,
}

impl<T> Queue<T> {
    /// For `capacity` values, at least one.
    pub(crate) fn bounded(capacity: usize) -> Self {
        Self { waiting: ArrayQueue::new(capacity.max(1)), dropped: AtomicU64::new(0) }
    }

    /// Adds a value, or counts it as dropped when there is no room.
    pub(crate) fn push(&self, value: T) {
        if self.waiting.push(value).is_err() {
            // Relaxed: the count orders nothing.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The value that has waited longest.
    pub(crate) fn pop(&self) -> Option<T> {
        self.waiting.pop()
    }

    /// How many were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        // Relaxed: the count orders nothing.
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.waiting.len())
            .field("capacity", &self.waiting.capacity())
            .field("dropped", &self.dropped())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_what_waits_keeps_its_order() {
        let queue = Queue::bounded(2);
        (1..=5).for_each(|value| queue.push(value));
        assert_eq!((queue.dropped(), queue.pop()), (3, Some(1)));
        queue.push(6);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(2), Some(6), None]);
        assert_eq!(Queue::<u8>::bounded(0).waiting.capacity(), 1);
    }
}
