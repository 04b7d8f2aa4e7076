//! Windows: which span an instant falls in, on calendars and fixed grids, half-open. UTC, where no other zone is set.

mod calendar;
#[cfg(feature = "persist")]
mod exact;
mod period;
mod span;
mod zone;

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::time::{Date, MICROS_PER_DAY, MICROS_PER_SECOND, Timestamp};
pub use calendar::{Calendar, TimeOfDay, Weekday};
#[cfg(feature = "persist")]
pub(crate) use exact::Exact;
pub use period::{Countdown, Period, PeriodError};
pub use span::Span;
pub(crate) use span::{FIRST_USE_AMOUNT_BITS, ROLLING_AMOUNT_BITS_MAX, ROLLING_PARTS};
pub use zone::{Zone, ZoneError};

const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
const MICROS_PER_WEEK: i64 = 7 * MICROS_PER_DAY;
/// 1970-01-01 was a Thursday: the ISO week that holds it began three days before.
const MICROS_BEFORE_EPOCH_WEEK: i64 = 3 * MICROS_PER_DAY;

/// The span after which a budget starts fresh. Half-open `[start, end)`; a new window starts with the first operation in it.
///
/// Read from text by the policy: `minute`, `hour`, `day`, `week`, `month`, `year`, `lifetime`, a period such as `5h` or `30d`,
/// `rolling 5h`, or `5h from first use`.
///
/// Calendar windows are UTC and start at midnight, weeks on Monday, months on the 1st. [`Window::in_zone`], [`Window::week_starts`],
/// [`Window::month_day`] and [`Window::reset_at`] set these otherwise.
///
/// ```
/// use encumber::{Timestamp, Window};
/// let now: Timestamp = "2026-02-04T15:30:00Z".parse()?;
/// let week = Window::Week.bounds(now).unwrap();
/// assert_eq!(week.start.to_string(), "2026-02-02T00:00:00.000Z");
/// assert_eq!(week.end.to_string(), "2026-02-09T00:00:00.000Z");
/// assert_eq!("5h".parse::<Window>()?.to_string(), "5h");
/// assert!("fortnight".parse::<Window>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// A minute of the clock.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A calendar day.
    Day,
    /// An ISO week: Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// A whole number of calendar months, on a grid that starts with January 1970 (`3mo`: quarters).
    Months(NonZeroU32),
    /// A fixed period on a grid: see [`Window::every`].
    Every(Grid),
    /// One window for all time: the budget never starts fresh.
    Lifetime,
    /// A day, week, month, year or several months in another time zone, or with another start.
    Calendar(Calendar),
    /// The span of this length that ends now: see [`Window::rolling`].
    Rolling(Span),
    /// A span of this length that begins with a charge: see [`Window::from_first_use`].
    FirstUse(Span),
}

/// A fixed period on a grid that never drifts, whatever the traffic: slices of equal length before and after an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    micros: i64,
    anchor: Timestamp,
}

/// Start (included) and end (excluded) of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The first instant of the window.
    pub start: Timestamp,
    /// The first instant after it, when the budget starts fresh.
    pub end: Timestamp,
}

impl Window {
    /// Windows of `seconds` seconds on a grid anchored at the Unix epoch.
    ///
    /// # Errors
    /// When `seconds` is 0 or more than a [`Timestamp`] can hold.
    pub fn every(seconds: u64) -> Result<Self, WindowError> {
        Self::every_from(seconds, Timestamp::UNIX_EPOCH)
    }

    /// Windows of `seconds` seconds on a grid of which one slice starts at `anchor`.
    ///
    /// # Errors
    /// When `seconds` is 0 or more than a [`Timestamp`] can hold.
    pub fn every_from(seconds: u64, anchor: Timestamp) -> Result<Self, WindowError> {
        Span::from_seconds(seconds).map(|span| Self::Every(Grid { micros: span.micros(), anchor }))
    }

    /// A rolling window of `seconds` seconds: no interval of that length ever holds more than the limit's `max`. Amounts are kept by
    /// sub-intervals of a sixtieth of the length, so that a charge counts for at most that much longer.
    ///
    /// # Errors
    /// When `seconds` is 0 or more than a [`Timestamp`] can hold.
    ///
    /// ```
    /// use encumber::Window;
    /// assert_eq!(Window::rolling(5 * 3_600)?, "rolling 5h".parse()?);
    /// # Ok::<(), encumber::WindowError>(())
    /// ```
    pub fn rolling(seconds: u64) -> Result<Self, WindowError> {
        Span::from_seconds(seconds).map(Self::Rolling)
    }

    /// Windows of `seconds` seconds, each of which begins with the first charge after the last one has ended, as the session limits of
    /// coding assistants do.
    ///
    /// # Errors
    /// When `seconds` is 0 or more than a [`Timestamp`] can hold.
    ///
    /// ```
    /// use encumber::Window;
    /// assert_eq!(Window::from_first_use(5 * 3_600)?, "5h from first use".parse()?);
    /// # Ok::<(), encumber::WindowError>(())
    /// ```
    pub fn from_first_use(seconds: u64) -> Result<Self, WindowError> {
        Span::from_seconds(seconds).map(Self::FirstUse)
    }

    /// This window with its grid anchored at `anchor`; windows without a grid have no anchor and are returned as they are.
    pub fn anchored(self, anchor: Timestamp) -> Self {
        match self {
            Self::Every(Grid { micros, .. }) => Self::Every(Grid { micros, anchor }),
            other => other,
        }
    }

    /// The bounds of the window that holds `at`; `None` for [`Window::Lifetime`], and for [`Window::Rolling`] and [`Window::FirstUse`],
    /// whose bounds depend on use.
    pub fn bounds(&self, at: Timestamp) -> Option<Bounds> {
        self.bounds_of(self.index(at))
    }

    /// A short name of the window that holds `at`, as reports use it: `2026-02-04`, `2026-W06`, `2026-02`, `lifetime`. Local dates, in a
    /// time zone; windows without bounds are called what they are.
    ///
    /// ```
    /// use encumber::{Timestamp, Window};
    /// let new_year: Timestamp = "2021-01-01T00:00:00Z".parse()?;
    /// assert_eq!(Window::Week.label(new_year), "2020-W53");
    /// # Ok::<(), encumber::TimestampError>(())
    /// ```
    pub fn label(&self, at: Timestamp) -> String {
        if let Self::Calendar(calendar) = self {
            return calendar.label(calendar.index(at));
        }
        let Some(Bounds { start, .. }) = self.bounds(at) else { return self.to_string() };
        let text = start.to_string();
        match self {
            Self::Minute => text[..16].to_owned(),
            Self::Hour => text[..13].to_owned(),
            Self::Day => text[..10].to_owned(),
            Self::Month | Self::Months(_) => text[..7].to_owned(),
            Self::Year => text[..4].to_owned(),
            Self::Week => {
                // A week belongs to the year that holds its Thursday.
                let thursday = Timestamp::from_micros(start.as_micros() + MICROS_BEFORE_EPOCH_WEEK);
                let Date { year, .. } = thursday.date();
                let new_year = Date { year, month: 1, day: 1 }.days();
                let week = (thursday.as_micros().div_euclid(MICROS_PER_DAY) - new_year) / 7 + 1;
                format!("{year:04}-W{week:02}")
            }
            _ => text,
        }
    }

    /// The number of the window that holds `at`: windows are numbered without gaps, in order of time.
    ///
    /// For a rolling window, the number of the sub-interval; for one from first use, that of the slice of its length on the epoch's grid.
    #[inline]
    pub(crate) fn index(&self, at: Timestamp) -> i64 {
        let micros = at.as_micros();
        match *self {
            Self::Minute => micros.div_euclid(MICROS_PER_MINUTE),
            Self::Hour => micros.div_euclid(MICROS_PER_HOUR),
            Self::Day => micros.div_euclid(MICROS_PER_DAY),
            Self::Week => micros.saturating_add(MICROS_BEFORE_EPOCH_WEEK).div_euclid(MICROS_PER_WEEK),
            Self::Month => month_index(at),
            Self::Year => at.date().year,
            Self::Months(count) => month_index(at).div_euclid(i64::from(count.get())),
            Self::Every(Grid { micros: period, anchor }) => {
                micros.saturating_sub(anchor.as_micros()).div_euclid(period)
            }
            Self::Lifetime => 0,
            Self::Calendar(calendar) => calendar.index(at),
            Self::Rolling(span) => micros.div_euclid(span.sub_interval_micros()),
            Self::FirstUse(span) => micros.div_euclid(span.micros()),
        }
    }

    /// The bounds of window number `index`, clamped to what a [`Timestamp`] holds; `None` as for [`Window::bounds`].
    pub(crate) fn bounds_of(&self, index: i64) -> Option<Bounds> {
        Some(Bounds { start: self.start_of(index)?, end: self.start_of(index.saturating_add(1))? })
    }

    fn start_of(&self, index: i64) -> Option<Timestamp> {
        let grid =
            |period: i64, anchor: i64| Timestamp::from_micros(index.saturating_mul(period).saturating_add(anchor));
        Some(match *self {
            Self::Minute => grid(MICROS_PER_MINUTE, 0),
            Self::Hour => grid(MICROS_PER_HOUR, 0),
            Self::Day => grid(MICROS_PER_DAY, 0),
            Self::Week => grid(MICROS_PER_WEEK, -MICROS_BEFORE_EPOCH_WEEK),
            Self::Month => month_start(index),
            Self::Year => month_start(index.saturating_sub(1970).saturating_mul(12)),
            Self::Months(count) => month_start(index.saturating_mul(i64::from(count.get()))),
            Self::Every(Grid { micros, anchor }) => grid(micros, anchor.as_micros()),
            Self::Calendar(calendar) => calendar.start_of(index),
            Self::Lifetime | Self::Rolling(_) | Self::FirstUse(_) => return None,
        })
    }

    /// Start of window 0 and length of each, in microseconds, for windows whose numbers all stand for one length.
    pub(crate) fn grid(&self) -> Option<(i64, u64)> {
        match *self {
            Self::Minute | Self::Hour | Self::Day | Self::Week | Self::Every(_) => {
                Some((self.start_of(0)?.as_micros(), self.shortest_micros()? as u64))
            }
            Self::Rolling(_) | Self::FirstUse(_) => Some((0, self.shortest_micros()? as u64)),
            Self::Month | Self::Year | Self::Months(_) | Self::Lifetime | Self::Calendar(_) => None,
        }
    }

    /// How long the window that holds `at` lasts, for those that end.
    pub(crate) fn length(&self, at: Timestamp) -> Option<Duration> {
        match self {
            Self::Rolling(span) | Self::FirstUse(span) => Some(Duration::from_secs(span.as_seconds())),
            _ => self.bounds(at).map(|bounds| bounds.end.saturating_since(bounds.start)),
        }
    }

    /// The shortest that a number of this kind of window can last, in microseconds; `None` for [`Window::Lifetime`].
    pub(crate) fn shortest_micros(&self) -> Option<i64> {
        Some(match *self {
            Self::Minute => MICROS_PER_MINUTE,
            Self::Hour => MICROS_PER_HOUR,
            Self::Day => MICROS_PER_DAY,
            Self::Week => MICROS_PER_WEEK,
            Self::Month => 28 * MICROS_PER_DAY,
            Self::Year => 365 * MICROS_PER_DAY,
            Self::Months(count) => (28 * MICROS_PER_DAY).saturating_mul(i64::from(count.get())),
            Self::Every(Grid { micros, .. }) => micros,
            Self::Calendar(calendar) => calendar.shortest_micros(),
            Self::Rolling(span) => span.sub_interval_micros(),
            Self::FirstUse(span) => span.micros(),
            Self::Lifetime => return None,
        })
    }

    /// Bits of a budget's word that count the amount; the rest hold the low bits of the window's number.
    ///
    /// The number gets as many bits as let fifty years pass before it could be mistaken for another one (half its range: earlier and
    /// later are told apart by the shorter way round), the amount gets the rest. A rolling window has as many as a fixed period of its
    /// length, up to a bound. A window from first use is numbered by use, not by time: it has the same whatever its length.
    pub(crate) fn amount_bits(&self) -> u32 {
        const FIFTY_YEARS_MICROS: i64 = 50 * 365 * MICROS_PER_DAY;
        let bits = |shortest: i64| u64::BITS - ((FIFTY_YEARS_MICROS / shortest).max(1) as u64).ilog2() - 2;
        match self {
            Self::FirstUse(_) => FIRST_USE_AMOUNT_BITS,
            Self::Rolling(span) => bits(span.micros()).min(ROLLING_AMOUNT_BITS_MAX),
            _ => self.shortest_micros().map_or(u64::BITS, bits),
        }
    }

    /// The largest `max` that a hard, soft or shadow limit of this window can have, in amount units. One less than the field's
    /// largest value, which marks a count that ran past the field.
    ///
    /// ```
    /// use encumber::Window;
    /// assert_eq!(Window::Day.cap_max(), (1 << 48) - 2);
    /// assert_eq!(Window::Lifetime.cap_max(), u64::MAX - 1);
    /// ```
    pub fn cap_max(&self) -> u64 {
        (u64::MAX >> (u64::BITS - self.amount_bits())) - 1
    }

    /// The word for a limit of this window in a sentence: `daily`, `5h`, `rolling 5h`, `lifetime`.
    pub(crate) fn adjective(&self) -> String {
        match self {
            Self::Minute => "per-minute".to_owned(),
            Self::Hour => "hourly".to_owned(),
            Self::Day => "daily".to_owned(),
            Self::Week => "weekly".to_owned(),
            Self::Month => "monthly".to_owned(),
            Self::Year => "yearly".to_owned(),
            Self::Calendar(calendar) => calendar.unit().adjective(),
            Self::FirstUse(span) => span.to_string(),
            other => other.to_string(),
        }
    }
}

/// Months since January 1970.
fn month_index(at: Timestamp) -> i64 {
    let Date { year, month, .. } = at.date();
    (year - 1970) * 12 + month - 1
}

fn month_start(index: i64) -> Timestamp {
    // Beyond these years a Timestamp has long been clamped, and the date arithmetic stays far from overflow.
    let index = index.clamp(-4_000_000, 4_000_000);
    Timestamp::from_days(Date { year: 1970 + index.div_euclid(12), month: index.rem_euclid(12) + 1, day: 1 }.days())
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minute => f.write_str("minute"),
            Self::Hour => f.write_str("hour"),
            Self::Day => f.write_str("day"),
            Self::Week => f.write_str("week"),
            Self::Month => f.write_str("month"),
            Self::Year => f.write_str("year"),
            Self::Lifetime => f.write_str("lifetime"),
            Self::Months(count) => write!(f, "{count}mo"),
            Self::Every(grid) => Period::Seconds((grid.micros / MICROS_PER_SECOND) as u64).fmt(f),
            Self::Calendar(calendar) => calendar.fmt(f),
            Self::Rolling(span) => write!(f, "rolling {span}"),
            Self::FirstUse(span) => write!(f, "{span} from first use"),
        }
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "minute" => Ok(Self::Minute),
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "week" => Ok(Self::Week),
            "month" => Ok(Self::Month),
            "year" => Ok(Self::Year),
            "lifetime" => Ok(Self::Lifetime),
            _ => match (text.strip_prefix("rolling "), text.strip_suffix(" from first use")) {
                (Some(length), None) => Self::rolling(fixed(length, text)?),
                (None, Some(length)) => Self::from_first_use(fixed(length, text)?),
                _ => match period(text, text)? {
                    Period::Seconds(seconds) => Self::every(seconds),
                    Period::Months(months) => u32::try_from(months)
                        .ok()
                        .and_then(NonZeroU32::new)
                        .filter(|m| m.get() <= 12_000)
                        .map(Self::Months)
                        .ok_or_else(|| WindowError::Period(text.into())),
                },
            },
        }
    }
}

/// The period in a part of a window's text.
fn period(part: &str, text: &str) -> Result<Period, WindowError> {
    part.parse().map_err(|_| WindowError::Unknown(text.chars().take(64).collect()))
}

/// The same in seconds, where only a fixed length will do.
fn fixed(part: &str, text: &str) -> Result<u64, WindowError> {
    match period(part, text)? {
        Period::Seconds(seconds) => Ok(seconds),
        Period::Months(_) => Err(WindowError::Period(text.into())),
    }
}

/// A window that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowError {
    /// The text names no window.
    Unknown(Box<str>),
    /// The period is longer than an instant can hold, or zero, or has no fixed length where one is needed.
    Period(Box<str>),
    /// A window that does not have this setting.
    Setting {
        /// The setting, as policies call it: `time_zone`, `week_start`, `month_day`, `reset_at`.
        setting: &'static str,
        /// The window.
        window: Window,
    },
    /// A day of the month other than 1 to 31.
    MonthDay(u8),
    /// The text names no day of the week.
    Weekday(Box<str>),
    /// The text is no time of day.
    TimeOfDay(Box<str>),
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(
                f,
                "{text:?} is not a window: write minute, hour, day, week, month, year, lifetime, a period such as \"5h\", \
                 \"rolling 5h\" or \"5h from first use\""
            ),
            Self::Period(text) => write!(
                f,
                "a window of {text:?} cannot be held: a length is not zero, not beyond all time, and in months only on a calendar"
            ),
            Self::Setting { setting, window } => {
                let has = match *setting {
                    "week_start" => "a week",
                    "month_day" => "a month or a number of months",
                    _ => "a day, week, month, year or number of months",
                };
                write!(f, "a {window} window has no {setting}: {has} has one")
            }
            Self::MonthDay(day) => write!(f, "a month starts on a day from 1 to 31, not {day}"),
            Self::Weekday(text) => write!(f, "{text:?} is not a day of the week: write monday, tuesday, ..., sunday"),
            Self::TimeOfDay(text) => write!(f, "{text:?} is not a time of day: write hh:mm or hh:mm:ss"),
        }
    }
}

impl std::error::Error for WindowError {}

#[cfg(test)]
mod tests;

#[cfg(all(test, feature = "time-zones"))]
mod zone_tests;
