//! The length of windows that depend on use: rolling ones, and those that begin with the first charge.

use std::fmt;

use super::{Period, WindowError};
use crate::time::MICROS_PER_SECOND;

/// Into how many sub-intervals a rolling window is divided: its count is exact to one of them.
pub(crate) const ROLLING_PARTS: i64 = 60;

/// A sub-interval of a rolling window counts in at most so many bits, so that the sum of all is far below what a word holds.
pub(crate) const ROLLING_AMOUNT_BITS_MAX: u32 = 54;
/// The count of a window from first use has so many bits. Its number counts windows that were used, so few bits tell those apart: a hold
/// would have to stay open through 32,768 windows to be taken for one of another.
pub(crate) const FIRST_USE_AMOUNT_BITS: u32 = 48;

/// A positive length of whole seconds.
///
/// ```
/// use encumber::Window;
/// let Window::Rolling(span) = "rolling 5h".parse()? else { panic!("a rolling window") };
/// assert_eq!((span.as_seconds(), span.to_string().as_str()), (18_000, "5h"));
/// # Ok::<(), encumber::WindowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    micros: i64,
}

impl Span {
    /// A length of `seconds` seconds.
    ///
    /// # Errors
    /// When `seconds` is 0 or more than a [`Timestamp`](crate::Timestamp) can hold.
    pub fn from_seconds(seconds: u64) -> Result<Self, WindowError> {
        let micros = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(MICROS_PER_SECOND)).filter(|m| *m > 0);
        micros.map(|micros| Self { micros }).ok_or_else(|| WindowError::Period(format!("{seconds}s").into()))
    }

    /// The length in seconds.
    pub const fn as_seconds(self) -> u64 {
        (self.micros / MICROS_PER_SECOND) as u64
    }

    /// The length in microseconds.
    pub(crate) const fn micros(self) -> i64 {
        self.micros
    }

    /// The length of each sub-interval of a rolling window in microseconds, rounded up: [`ROLLING_PARTS`] of them cover the window.
    pub(crate) const fn sub_interval_micros(self) -> i64 {
        self.micros / ROLLING_PARTS + (self.micros % ROLLING_PARTS > 0) as i64
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Period::Seconds(self.as_seconds()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_sub_intervals_cover_the_window_and_no_more_than_needed() {
        for seconds in [1, 2, 59, 60, 61, 18_000, 9_223_372_036_854] {
            let span = Span::from_seconds(seconds).unwrap();
            let part = i128::from(span.sub_interval_micros());
            let covered = part * i128::from(ROLLING_PARTS);
            assert!(covered >= i128::from(span.micros()) && covered - 60 < i128::from(span.micros()), "{seconds}");
        }
        for wrong in [0, 9_223_372_036_855, u64::MAX] {
            assert!(matches!(Span::from_seconds(wrong), Err(WindowError::Period(_))), "{wrong}");
        }
    }
}
