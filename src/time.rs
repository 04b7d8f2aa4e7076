//! Instants: microseconds since the Unix epoch, UTC, written and read as RFC 3339.

use std::fmt;
use std::str::FromStr;

/// Microseconds in one second.
pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Microseconds in one day of 24 hours.
pub(crate) const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;

/// An instant in UTC, counted in whole microseconds since 1970-01-01T00:00:00Z.
///
/// The range is about 292,000 years either way. Instants before the epoch are negative and are as good as
/// any other. [`Display`](fmt::Display) writes RFC 3339 with milliseconds (rounded down); [`FromStr`] reads RFC 3339 with any
/// offset.
///
/// ```
/// use encumber::Timestamp;
/// let t: Timestamp = "2026-02-04T12:00:00.250+01:00".parse()?;
/// assert_eq!(t.to_string(), "2026-02-04T11:00:00.250Z");
/// assert!("2026-02-30T00:00:00Z".parse::<Timestamp>().is_err());
/// # Ok::<(), encumber::TimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);
    /// The latest instant that can be held.
    pub const MAX: Self = Self(i64::MAX);
    /// The earliest instant that can be held.
    pub const MIN: Self = Self(i64::MIN);

    /// The instant `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the Unix epoch, clamped to what can be held.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The instant `seconds` seconds after the Unix epoch, clamped to what can be held.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// The instant `duration` later, clamped to [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this instant is; zero when it is not after it.
    pub fn saturating_since(self, earlier: Self) -> std::time::Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The civil date (UTC) that this instant falls on.
    pub(crate) fn date(self) -> Date {
        Date::from_days(self.0.div_euclid(MICROS_PER_DAY))
    }

    /// Midnight UTC at the start of the day that is `days` days after 1970-01-01, clamped.
    pub(crate) const fn from_days(days: i64) -> Self {
        Self(days.saturating_mul(MICROS_PER_DAY))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = self.date();
        let micros = self.0.rem_euclid(MICROS_PER_DAY);
        let (seconds, millis) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND / 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an RFC 3339 instant such as `2026-02-04T12:00:00.250Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampError {
    text: Box<str>,
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an RFC 3339 instant such as \"2026-02-04T12:00:00.250Z\"", self.text)
    }
}

impl std::error::Error for TimestampError {}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`; a blank may stand for the `T`. Digits beyond the
    /// microsecond are dropped; a leap second reads as the next second.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.as_bytes()).ok_or_else(|| TimestampError { text: text.chars().take(64).collect() })
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, to: usize| -> Option<i64> {
        text.get(from..to)?.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let at = |index: usize, allowed: &[u8]| text.get(index).is_some_and(|b| allowed.contains(b));
    let punctuated = at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":");
    let date = Date { year: number(0, 4)?, month: number(5, 7)?, day: number(8, 10)? };
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !punctuated || !date.is_real() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = 19;
    let mut micros = 0;
    if at(rest, b".") {
        let digits = text[rest + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        micros = number(rest + 1, rest + 1 + digits.min(6))? * 10_i64.pow(6 - digits.min(6) as u32);
        rest += 1 + digits;
    }
    let offset_minutes = match text.get(rest)? {
        b'Z' | b'z' if text.len() == rest + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == rest + 6 && at(rest + 3, b":") => {
            let (hours, minutes) = (number(rest + 1, rest + 3)?, number(rest + 4, rest + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = date.days() * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second - offset_minutes * 60;
    Some(Timestamp(seconds * MICROS_PER_SECOND + micros))
}

/// A date of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
}

/// Days of one 400-year cycle of the Gregorian calendar.
const DAYS_PER_CYCLE: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01: years are counted from March so that the leap day comes last.
const DAYS_TO_EPOCH: i64 = 719_468;

impl Date {
    /// The date `days` days after 1970-01-01.
    pub(crate) fn from_days(days: i64) -> Self {
        let days = days + DAYS_TO_EPOCH;
        let (cycle, day_of_cycle) = (days.div_euclid(DAYS_PER_CYCLE), days.rem_euclid(DAYS_PER_CYCLE));
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: cycle * 400 + year_of_cycle + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        }
    }

    /// Days from 1970-01-01 to this date.
    pub(crate) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = (self.month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
        cycle * DAYS_PER_CYCLE + day_of_cycle - DAYS_TO_EPOCH
    }

    fn is_real(self) -> bool {
        (1..=12).contains(&self.month) && self.day >= 1 && Self::from_days(self.days()) == self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_round_trips_and_dates_ascend() {
        let mut before = Date::from_days(-150_001);
        for days in -150_000..150_000 {
            let date = Date::from_days(days);
            assert_eq!(date.days(), days, "{date:?}");
            assert!(before < date, "{before:?} then {date:?}");
            before = date;
        }
    }

    #[test]
    fn offsets_fractions_and_leap_days() {
        let micros = |text: &str| text.parse::<Timestamp>().map(Timestamp::as_micros);
        assert_eq!(micros("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(micros("1969-12-31T23:59:59.999999Z"), Ok(-1));
        assert_eq!(micros("2024-02-29 00:00:00.5+00:00"), Ok(1_709_164_800_500_000));
        assert_eq!(micros("2025-06-15T22:00:00-04:00"), micros("2025-06-16T02:00:00Z"));
        assert_eq!(micros("1970-01-01T00:00:00.0000019Z"), Ok(1));
    }

    #[test]
    fn malformed_instants_are_errors_that_quote_the_text() {
        for text in [
            "",
            "2026",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "+026-01-01T00:00:00Z",
            "２026-01-01T00:00:00Z",
        ] {
            let error = text.parse::<Timestamp>().expect_err(text);
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
    }
}
