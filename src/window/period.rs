//! Lengths of time as people write and read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::time::Timestamp;

/// A length of time as people write it: digits and one of `s m h d w mo`.
///
/// Days and weeks are fixed lengths; `mo` is the calendar month, whose length depends on where it starts.
///
/// ```
/// use encumber::Period;
/// assert_eq!("90m".parse(), Ok(Period::Seconds(5_400)));
/// assert_eq!("30d".parse(), Ok(Period::Seconds(2_592_000)));
/// assert_eq!("7mo".parse(), Ok(Period::Months(7)));
/// for wrong in ["", "h", "0s", "+5h", "1,5h", "30dd", "1month", "1M", "1h\n", " 1h", "٣h", "18446744073709551616s"] {
///     assert!(wrong.parse::<Period>().is_err(), "{wrong:?}");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// A fixed number of seconds, never 0.
    Seconds(u64),
    /// A number of calendar months, never 0.
    Months(u64),
}

impl Period {
    /// The period that a word names: `hourly`, `daily`, `weekly`, `monthly`, in any case, blanks around it ignored. For hosts that
    /// take over configuration with such words; policies do not accept them.
    pub fn from_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, Period); 4] = [
            ("hourly", Period::Seconds(3_600)),
            ("daily", Period::Seconds(86_400)),
            ("weekly", Period::Seconds(604_800)),
            ("monthly", Period::Months(1)),
        ];
        WORDS.iter().find(|(name, _)| word.trim().eq_ignore_ascii_case(name)).map(|&(_, period)| period)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PeriodError { text: text.chars().take(64).collect() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number = number.parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(error)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            "mo" => return Ok(Self::Months(number)),
            _ => return Err(error()),
        };
        number.checked_mul(seconds).map(Self::Seconds).ok_or_else(error)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Months(months) => write!(f, "{months}mo"),
            Self::Seconds(seconds) => {
                let units = [(604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
                let (length, unit) = units.into_iter().find(|(length, _)| seconds % length == 0).unwrap_or((1, "s"));
                write!(f, "{}{unit}", seconds / length)
            }
        }
    }
}

/// The text is not a period such as `90m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodError {
    text: Box<str>,
}

impl fmt::Display for PeriodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a period: write digits and one of s m h d w mo, such as \"90m\"", self.text)
    }
}

impl std::error::Error for PeriodError {}

/// How long it is until an instant, for people: `3h 5m`, `59m`, `less than 1m`, or `now` when it has passed.
///
/// Rounded down to the minute; hours are not folded into days.
///
/// ```
/// use encumber::{Countdown, Timestamp};
/// let now: Timestamp = "2026-04-03T10:00:00Z".parse()?;
/// assert_eq!(Countdown::between(now, "2026-04-03T13:05:30Z".parse()?).to_string(), "3h 5m");
/// assert_eq!(Countdown::between(now, "2026-04-03T10:00:59Z".parse()?).to_string(), "less than 1m");
/// assert_eq!(Countdown::between(now, now).to_string(), "now");
/// # Ok::<(), encumber::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown(Duration);

impl Countdown {
    /// From `now` until `then`.
    pub fn between(now: Timestamp, then: Timestamp) -> Self {
        Self(then.saturating_since(now))
    }
}

impl fmt::Display for Countdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.as_secs() / 60;
        match (self.0.is_zero(), minutes / 60, minutes % 60) {
            (true, ..) => f.write_str("now"),
            (_, 0, 0) => f.write_str("less than 1m"),
            (_, 0, minutes) => write!(f, "{minutes}m"),
            (_, hours, minutes) => write!(f, "{hours}h {minutes}m"),
        }
    }
}
