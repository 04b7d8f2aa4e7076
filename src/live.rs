//! The policy in force: the only room that swaps shared values.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;

use crate::sync::{AtomicU64, Ordering};

/// A value that is replaced whole while others read it, with a version that is cheap to compare.
#[derive(Debug)]
pub(crate) struct Live<T> {
    current: ArcSwap<T>,
    version: AtomicU64,
    /// Held while a new value is installed, so that versions and values come in one order.
    installing: Mutex<()>,
}

impl<T> Live<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { current: ArcSwap::from_pointee(first), version: AtomicU64::new(0), installing: Mutex::new(()) }
    }

    /// The version of the value in force.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        // Pairs with the additions in `install` and `touch`: who sees the version finds its value, or a newer one.
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Puts a new value in force.
    pub(crate) fn install(&self, value: T) {
        let _one_at_a_time = self.installing.lock();
        self.current.store(Arc::new(value));
        // Release: pairs with the load in `version`.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Gives the value another version, so that what was made for it is made anew: something beside it has changed.
    pub(crate) fn touch(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// A value made for one version of something live, and made anew when that has changed. The first one is reached without a step
/// through shared memory.
#[derive(Debug)]
pub(crate) struct Renewed<T> {
    first: Arc<T>,
    later: Later<T>,
}

/// As [`Renewed`], but that the first one too is made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Derived<T> {
    first: OnceLock<T>,
    later: Later<T>,
}

impl<T> Derived<T> {
    pub(crate) fn new() -> Self {
        Self { first: OnceLock::new(), later: Later::new() }
    }

    /// What `act` says of the value that is `current`; `make` makes it if there is none.
    #[inline]
    pub(crate) fn with<R>(&self, current: impl Fn(&T) -> bool, make: impl Fn() -> T, act: impl FnOnce(&T) -> R) -> R {
        match self.first.get() {
            Some(first) if current(first) => act(first),
            first => self.with_later(first.is_none(), current, make, act),
        }
    }

    #[inline(never)]
    fn with_later<R>(
        &self,
        is_first: bool,
        current: impl Fn(&T) -> bool,
        make: impl Fn() -> T,
        act: impl FnOnce(&T) -> R,
    ) -> R {
        if is_first {
            // Made before the cell is asked for, so that nobody waits for it. Another one may have come first, for an earlier version.
            let mine = make();
            let first = self.first.get_or_init(|| mine);
            if current(first) {
                return act(first);
            }
        }
        if let Some(value) = &*self.later.0.load()
            && current(value)
        {
            return act(value);
        }
        let Ok(value) = self.later.made::<std::convert::Infallible>(|| Ok(Arc::new(make())));
        act(&value)
    }
}

/// The newest value.
#[derive(Debug)]
struct Later<T>(ArcSwapOption<T>);

impl<T> Later<T> {
    fn new() -> Self {
        Self(ArcSwapOption::empty())
    }

    /// The value that is `current`; `make` makes it if there is none.
    fn get<E>(&self, current: impl Fn(&T) -> bool, make: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        self.newest().filter(|value| current(value)).map_or_else(|| self.made(make), Ok)
    }

    #[cold]
    fn made<E>(&self, make: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        let value = make()?;
        self.0.store(Some(Arc::clone(&value)));
        Ok(value)
    }

    fn newest(&self) -> Option<Arc<T>> {
        self.0.load_full()
    }
}

/// A [`Renewed`] value on loan.
pub(crate) enum Loan<'a, T> {
    First(&'a Arc<T>),
    Later(Arc<T>),
}

impl<T> Renewed<T> {
    pub(crate) fn new(first: Arc<T>) -> Self {
        Self { first, later: Later::new() }
    }

    /// The value that is `current`; `make` makes it if there is none.
    #[inline]
    pub(crate) fn get<E>(
        &self,
        current: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Loan<'_, T>, E> {
        if current(&self.first) { Ok(Loan::First(&self.first)) } else { self.later.get(current, make).map(Loan::Later) }
    }

    /// The newest value made so far.
    pub(crate) fn newest(&self) -> Arc<T> {
        self.later.newest().unwrap_or_else(|| Arc::clone(&self.first))
    }
}

impl<T> Deref for Loan<'_, T> {
    type Target = Arc<T>;

    #[inline]
    fn deref(&self) -> &Arc<T> {
        match self {
            Self::First(value) => value,
            Self::Later(value) => value,
        }
    }
}
