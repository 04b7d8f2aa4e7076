//! Windows: which span an instant falls in, on calendars and fixed grids, UTC, half-open.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::time::{Date, MICROS_PER_DAY, MICROS_PER_SECOND, Timestamp};

const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
const MICROS_PER_WEEK: i64 = 7 * MICROS_PER_DAY;
/// 1970-01-01 was a Thursday: the ISO week that holds it began three days before.
const MICROS_BEFORE_EPOCH_WEEK: i64 = 3 * MICROS_PER_DAY;

/// The span after which a budget starts fresh. Half-open `[start, end)`, UTC; a new window starts with the first operation in it.
///
/// Read from text by the policy: `minute`, `hour`, `day`, `week`, `month`, `year`, `lifetime`, or a period such as `5h` or `30d`.
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
        let micros = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(MICROS_PER_SECOND)).filter(|m| *m > 0);
        match micros {
            Some(micros) => Ok(Self::Every(Grid { micros, anchor })),
            None => Err(WindowError::Period(format!("{seconds}s").into())),
        }
    }

    /// This window with its grid anchored at `anchor`; calendar windows have no anchor and are returned as they are.
    pub fn anchored(self, anchor: Timestamp) -> Self {
        match self {
            Self::Every(Grid { micros, .. }) => Self::Every(Grid { micros, anchor }),
            calendar => calendar,
        }
    }

    /// The bounds of the window that holds `at`; `None` for [`Window::Lifetime`].
    pub fn bounds(&self, at: Timestamp) -> Option<Bounds> {
        self.bounds_of(self.index(at))
    }

    /// A short name of the window that holds `at`, as reports use it: `2026-02-04`, `2026-W06`, `2026-02`, `lifetime`.
    ///
    /// ```
    /// use encumber::{Timestamp, Window};
    /// let new_year: Timestamp = "2021-01-01T00:00:00Z".parse()?;
    /// assert_eq!(Window::Week.label(new_year), "2020-W53");
    /// # Ok::<(), encumber::TimestampError>(())
    /// ```
    pub fn label(&self, at: Timestamp) -> String {
        let Some(Bounds { start, .. }) = self.bounds(at) else { return "lifetime".to_owned() };
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
            Self::Every(_) | Self::Lifetime => text,
        }
    }

    /// The number of the window that holds `at`: windows are numbered without gaps, in order of time.
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
        }
    }

    /// The bounds of window number `index`, clamped to what a [`Timestamp`] holds; `None` for [`Window::Lifetime`].
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
            Self::Lifetime => return None,
        })
    }

    /// Start of window 0 and length of each, in microseconds, for windows that all have one length.
    pub(crate) fn grid(&self) -> Option<(i64, u64)> {
        match *self {
            Self::Minute | Self::Hour | Self::Day | Self::Week | Self::Every(_) => {
                Some((self.start_of(0)?.as_micros(), self.shortest_micros()? as u64))
            }
            Self::Month | Self::Year | Self::Months(_) | Self::Lifetime => None,
        }
    }

    /// The shortest that a window of this kind can last, in microseconds; `None` for [`Window::Lifetime`].
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
            Self::Lifetime => return None,
        })
    }

    /// Bits of a budget's word that count the amount; the rest hold the low bits of the window's number.
    ///
    /// The number gets as many bits as let fifty years pass before it could be mistaken for another one (half its range: earlier and
    /// later are told apart by the shorter way round), the amount gets the rest.
    pub(crate) fn amount_bits(&self) -> u32 {
        const FIFTY_YEARS_MICROS: i64 = 50 * 365 * MICROS_PER_DAY;
        let Some(shortest) = self.shortest_micros() else { return u64::BITS };
        let windows = (FIFTY_YEARS_MICROS / shortest).max(1) as u64;
        u64::BITS - (windows.ilog2() + 2)
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

    /// The word for a limit of this window in a sentence: `daily`, `5h`, `lifetime`.
    pub(crate) fn adjective(&self) -> String {
        match self {
            Self::Minute => "per-minute".to_owned(),
            Self::Hour => "hourly".to_owned(),
            Self::Day => "daily".to_owned(),
            Self::Week => "weekly".to_owned(),
            Self::Month => "monthly".to_owned(),
            Self::Year => "yearly".to_owned(),
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
            Self::Every(grid) => write!(f, "{}", Period::Seconds((grid.micros / MICROS_PER_SECOND) as u64)),
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
            _ if text.starts_with("rolling ") || text.ends_with(" from first use") => {
                Err(WindowError::NotYet(text.chars().take(64).collect()))
            }
            _ => match text.parse() {
                Ok(Period::Seconds(seconds)) => Self::every(seconds),
                Ok(Period::Months(months)) => u32::try_from(months)
                    .ok()
                    .and_then(NonZeroU32::new)
                    .filter(|m| m.get() <= 12_000)
                    .map(Self::Months)
                    .ok_or_else(|| WindowError::Period(text.into())),
                Err(_) => Err(WindowError::Unknown(text.chars().take(64).collect())),
            },
        }
    }
}

/// A window that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowError {
    /// The text names no window.
    Unknown(Box<str>),
    /// The period is longer than an instant can hold, or zero.
    Period(Box<str>),
    /// A window that this version does not offer.
    NotYet(Box<str>),
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(
                f,
                "{text:?} is not a window: write minute, hour, day, week, month, year, lifetime or a period such as \"5h\""
            ),
            Self::Period(text) => write!(f, "a window of {text} cannot be held"),
            Self::NotYet(text) => {
                write!(f, "{text:?}: rolling windows and windows from first use are not in this version")
            }
        }
    }
}

impl std::error::Error for WindowError {}

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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Window; 6] = [Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Year];

    fn windows() -> impl Iterator<Item = Window> {
        let odd = Window::every_from(9_000, "2026-04-03T10:00:00Z".parse().unwrap()).unwrap();
        ALL.into_iter().chain([odd, Window::every(18_000).unwrap(), Window::Months(NonZeroU32::new(3).unwrap())])
    }

    #[test]
    fn windows_are_half_open_gapless_and_hold_their_instants() {
        for window in windows() {
            // Two hundred years in steps that share no factor with any period.
            for micros in (-3_155_760_000_000_000..3_155_760_000_000_000_i64).step_by(7_777_777_777_777) {
                let at = Timestamp::from_micros(micros);
                let index = window.index(at);
                let Bounds { start, end } = window.bounds(at).unwrap();
                assert!(start <= at && at < end, "{window} {at}: {start}..{end}");
                let last = Timestamp::from_micros(end.as_micros() - 1);
                assert_eq!((window.index(start), window.index(last), window.index(end)), (index, index, index + 1));
                assert!(end.as_micros() - start.as_micros() >= window.shortest_micros().unwrap());
            }
        }
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for window in windows().chain([Window::Lifetime]) {
            for at in [Timestamp::MIN, Timestamp::MAX] {
                let _ = (window.index(at), window.bounds(at), window.label(at));
            }
            for index in [i64::MIN, i64::MAX] {
                let _ = window.bounds_of(index);
            }
        }
    }

    #[test]
    fn windows_read_back_what_they_print() {
        for text in ["minute", "hour", "day", "week", "month", "year", "lifetime", "5h", "30d", "90m", "3mo", "2w"] {
            let window: Window = text.parse().expect(text);
            assert_eq!(window.to_string().parse(), Ok(window), "{text}");
        }
        for text in ["", "Day", "days", "rolling 5h", "5h from first use", "0d", "99999999999999999w", "999999999mo"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
