//! Calendar windows with settings: a time zone, the first day of the week or month, the time of day at which they start.
//!
//! All arithmetic is on dates: a window has a number, the number a first date, and the window starts at the first instant at which the
//! local clock shows the reset time of that date or later. So a start that daylight saving leaves out is the instant of the jump, and
//! one that comes twice is the first. Windows follow each other by construction: one ends where the next one starts.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::{Window, WindowError, Zone};
use crate::time::{Date, MICROS_PER_DAY, MICROS_PER_SECOND, Timestamp};

const SECONDS_PER_DAY: i64 = 86_400;
/// The epoch was a Thursday, the day with this number from Monday on.
const EPOCH_WEEKDAY: i64 = 3;
/// More than any clock was ever put forward by less than a day (eight hours, in the Antarctic).
const JUMP_MICROS_MAX: i64 = 10 * 3_600 * MICROS_PER_SECOND;

/// A calendar window with settings: made from [`Window::Day`], [`Window::Week`], [`Window::Month`], [`Window::Year`] or
/// [`Window::Months`] by [`Window::in_zone`], [`Window::week_starts`], [`Window::month_day`] and [`Window::reset_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calendar {
    unit: Unit,
    zone: Zone,
    week_start: Weekday,
    month_day: u8,
    reset_at: TimeOfDay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Day,
    Week,
    Month,
    Year,
    Months(NonZeroU32),
}

impl Calendar {
    /// The window without its settings.
    pub fn unit(&self) -> Window {
        match self.unit {
            Unit::Day => Window::Day,
            Unit::Week => Window::Week,
            Unit::Month => Window::Month,
            Unit::Year => Window::Year,
            Unit::Months(count) => Window::Months(count),
        }
    }

    /// The time zone.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// The day on which weeks start; Monday for other windows.
    pub fn week_start(&self) -> Weekday {
        self.week_start
    }

    /// The day on which months start, where months have it; 1 for other windows.
    pub fn month_day(&self) -> u8 {
        self.month_day
    }

    /// The local time at which windows start.
    pub fn reset_at(&self) -> TimeOfDay {
        self.reset_at
    }

    /// `window` with the settings that it has, or the usual ones; `None` for windows that have no calendar.
    fn of(window: Window) -> Option<Self> {
        let unit = match window {
            Window::Calendar(calendar) => return Some(calendar),
            Window::Day => Unit::Day,
            Window::Week => Unit::Week,
            Window::Month => Unit::Month,
            Window::Year => Unit::Year,
            Window::Months(count) => Unit::Months(count),
            _ => return None,
        };
        let (zone, week_start, reset_at) = (Zone::utc(), Weekday::Monday, TimeOfDay::MIDNIGHT);
        Some(Self { unit, zone, week_start, month_day: 1, reset_at })
    }

    /// The one window with these settings: without any it is the plain one.
    fn window(self) -> Window {
        let plain = self.unit();
        if Self::of(plain) == Some(self) { plain } else { Window::Calendar(self) }
    }

    /// The number of the window that holds `at`.
    pub(super) fn index(&self, at: Timestamp) -> i64 {
        let instant = at.as_seconds();
        let shown = self.zone.shown_at(instant) - self.reset_at.seconds();
        let mut index = self.index_of_day(shown.div_euclid(SECONDS_PER_DAY));
        // A clock that was put back may show a time before a start that has been.
        while self.start_seconds(index + 1) <= instant {
            index += 1;
        }
        index
    }

    /// The start of window number `index`, clamped to what a [`Timestamp`] holds.
    pub(super) fn start_of(&self, index: i64) -> Timestamp {
        Timestamp::from_seconds(self.start_seconds(index))
    }

    fn start_seconds(&self, index: i64) -> i64 {
        self.zone.first_showing(self.first_day(index) * SECONDS_PER_DAY + self.reset_at.seconds())
    }

    /// The number of the window that holds the reset time of the date `day` days after 1970-01-01.
    fn index_of_day(&self, day: i64) -> i64 {
        match self.unit {
            Unit::Day => day - self.skipped_dates().filter(|skipped| *skipped <= day).count() as i64,
            Unit::Week => (day - self.first_week_day()).div_euclid(7),
            _ => {
                let Date { year, month, day } = Date::from_days(day);
                let month = (year - 1970) * 12 + month - 1;
                let has_begun = day >= self.day_of_month(month);
                (month - i64::from(!has_begun)).div_euclid(self.months())
            }
        }
    }

    /// The date on which window number `index` starts, in days after 1970-01-01.
    fn first_day(&self, index: i64) -> i64 {
        // Beyond these a Timestamp has long been clamped, and the date arithmetic stays far from overflow.
        let index = index.clamp(-200_000_000, 200_000_000);
        match self.unit {
            Unit::Day => self.skipped_dates().fold(index, |day, skipped| day + i64::from(skipped <= day)),
            Unit::Week => index * 7 + self.first_week_day(),
            _ => {
                let month = (index * self.months()).clamp(-4_000_000, 4_000_000);
                let (year, month_of_year) = (1970 + month.div_euclid(12), month.rem_euclid(12) + 1);
                Date { year, month: month_of_year, day: self.day_of_month(month) }.days()
            }
        }
    }

    /// The dates, in order, on which no window starts: the local clock jumped a whole day and left out their reset times. Numbers of days
    /// leave them out too.
    fn skipped_dates(&self) -> impl Iterator<Item = i64> {
        let reset = self.reset_at.seconds();
        self.zone
            .skipped_days()
            .iter()
            .map(move |from| (from - reset + SECONDS_PER_DAY - 1).div_euclid(SECONDS_PER_DAY))
    }

    /// The date on which week 0 starts.
    fn first_week_day(&self) -> i64 {
        self.week_start as i64 - EPOCH_WEEKDAY
    }

    fn months(&self) -> i64 {
        match self.unit {
            Unit::Year => 12,
            Unit::Months(count) => count.get().into(),
            _ => 1,
        }
    }

    /// The day on which the month `month` months after January 1970 starts anew: the anchor day, or the last one of a shorter month.
    fn day_of_month(&self, month: i64) -> i64 {
        let first =
            |month: i64| Date { year: 1970 + month.div_euclid(12), month: month.rem_euclid(12) + 1, day: 1 }.days();
        let anchor = i64::from(self.month_day);
        // No month is shorter than this.
        if anchor <= 28 { anchor } else { anchor.min(first(month + 1) - first(month)) }
    }

    /// The shortest that such a window can last, in microseconds.
    ///
    /// The hour of daylight saving is no matter of hours in all zones, and a week or month that holds a skipped day is a day shorter.
    pub(super) fn shortest_micros(&self) -> i64 {
        let plain = self.unit().shortest_micros().unwrap_or(MICROS_PER_DAY);
        match self.unit {
            _ if self.zone.is_utc() => plain,
            Unit::Day => plain - JUMP_MICROS_MAX,
            _ => plain - JUMP_MICROS_MAX - MICROS_PER_DAY,
        }
    }

    /// A short name of window number `index`, by its first local date.
    pub(super) fn label(&self, index: i64) -> String {
        let day = self.first_day(index);
        match self.unit {
            Unit::Year => self.unit().label(Timestamp::from_days(day)),
            Unit::Week if self.week_start == Weekday::Monday => Window::Week.label(Timestamp::from_days(day)),
            Unit::Month | Unit::Months(_) if self.month_day == 1 => Window::Month.label(Timestamp::from_days(day)),
            _ => Window::Day.label(Timestamp::from_days(day)),
        }
    }
}

impl Window {
    /// This window by the calendar and clock of a time zone: for days, weeks, months and years. A day lasts as long as the local day does,
    /// 23 and 25 hours included.
    ///
    /// A start that the local clock leaves out is the instant at which it jumps; of one that it shows twice the first counts. Where a
    /// place left out a whole day, the day before ends where the day after starts.
    ///
    /// # Errors
    /// For windows without a calendar. They all are UTC, so [`Zone::utc`] changes nothing and is no error.
    ///
    /// ```
    /// # #[cfg(feature = "time-zones")] {
    /// use encumber::{Timestamp, Window, Zone};
    /// let day = Window::Day.in_zone(Zone::new("Europe/Berlin")?)?;
    /// let spring: Timestamp = "2026-03-29T12:00:00+02:00".parse()?;
    /// let bounds = day.bounds(spring).unwrap();
    /// assert_eq!(bounds.start.to_string(), "2026-03-28T23:00:00.000Z");
    /// assert_eq!(bounds.end.to_string(), "2026-03-29T22:00:00.000Z"); // 23 hours
    /// assert!("5h".parse::<Window>()?.in_zone(Zone::new("Europe/Berlin")?).is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_zone(self, zone: Zone) -> Result<Self, WindowError> {
        match Calendar::of(self) {
            Some(calendar) => Ok(Calendar { zone, ..calendar }.window()),
            None if zone.is_utc() => Ok(self),
            None => Err(WindowError::Setting { setting: "time_zone", window: self }),
        }
    }

    /// This window with weeks that start on `day`.
    ///
    /// # Errors
    /// For other windows than weeks.
    ///
    /// ```
    /// use encumber::{Timestamp, Weekday, Window};
    /// let now: Timestamp = "2026-02-04T15:30:00Z".parse()?;
    /// let week = Window::Week.week_starts(Weekday::Sunday)?;
    /// assert_eq!(week.bounds(now).unwrap().start.to_string(), "2026-02-01T00:00:00.000Z");
    /// assert!(Window::Day.week_starts(Weekday::Sunday).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn week_starts(self, day: Weekday) -> Result<Self, WindowError> {
        match Calendar::of(self) {
            Some(calendar @ Calendar { unit: Unit::Week, .. }) => Ok(Calendar { week_start: day, ..calendar }.window()),
            _ => Err(WindowError::Setting { setting: "week_start", window: self }),
        }
    }

    /// This window with months that start on `day`, from 1 to 31, or on their last day when they are shorter.
    ///
    /// # Errors
    /// For other windows than months, and for other days.
    ///
    /// ```
    /// use encumber::{Timestamp, Window};
    /// let now: Timestamp = "2026-03-15T00:00:00Z".parse()?;
    /// let month = Window::Month.month_day(31)?.bounds(now).unwrap();
    /// assert_eq!(month.start.to_string(), "2026-02-28T00:00:00.000Z");
    /// assert_eq!(month.end.to_string(), "2026-03-31T00:00:00.000Z");
    /// assert!(Window::Month.month_day(32).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn month_day(self, day: u8) -> Result<Self, WindowError> {
        match Calendar::of(self) {
            Some(_) if !(1..=31).contains(&day) => Err(WindowError::MonthDay(day)),
            Some(calendar @ Calendar { unit: Unit::Month | Unit::Months(_), .. }) => {
                Ok(Calendar { month_day: day, ..calendar }.window())
            }
            _ => Err(WindowError::Setting { setting: "month_day", window: self }),
        }
    }

    /// This window with its start at a time of day instead of midnight: for days, weeks, months and years.
    ///
    /// # Errors
    /// For windows without a calendar.
    ///
    /// ```
    /// use encumber::{Timestamp, Window};
    /// let day = Window::Day.reset_at("09:30".parse()?)?;
    /// let before: Timestamp = "2026-02-04T09:29:59Z".parse()?;
    /// assert_eq!(day.bounds(before).unwrap().end.to_string(), "2026-02-04T09:30:00.000Z");
    /// assert!(Window::Hour.reset_at("09:30".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_at(self, time: TimeOfDay) -> Result<Self, WindowError> {
        match Calendar::of(self) {
            Some(calendar) => Ok(Calendar { reset_at: time, ..calendar }.window()),
            None => Err(WindowError::Setting { setting: "reset_at", window: self }),
        }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unit().fmt(f)?;
        if self.week_start != Weekday::Monday {
            write!(f, " from {}", self.week_start)?;
        }
        if self.month_day != 1 {
            write!(f, " from day {}", self.month_day)?;
        }
        if self.reset_at != TimeOfDay::MIDNIGHT {
            write!(f, " at {}", self.reset_at)?;
        }
        if !self.zone.is_utc() {
            write!(f, " in {}", self.zone)?;
        }
        Ok(())
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    const NAMES: [(&str, Self); 7] = [
        ("monday", Self::Monday),
        ("tuesday", Self::Tuesday),
        ("wednesday", Self::Wednesday),
        ("thursday", Self::Thursday),
        ("friday", Self::Friday),
        ("saturday", Self::Saturday),
        ("sunday", Self::Sunday),
    ];
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize].0)
    }
}

impl FromStr for Weekday {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|&(_, day)| day).ok_or_else(|| WindowError::Weekday(text.chars().take(64).collect()))
    }
}

/// A time of day to the second, from `00:00:00` to `23:59:59`, as a local clock shows it.
///
/// ```
/// use encumber::TimeOfDay;
/// assert_eq!("09:30".parse(), TimeOfDay::new(9, 30, 0));
/// assert_eq!(TimeOfDay::new(9, 30, 15)?.to_string(), "09:30:15");
/// for wrong in ["", "9:30", "24:00", "09:60", "09:30:60", "0930", "09:30Z", "09:30:15.5"] {
///     assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong:?}");
/// }
/// # Ok::<(), encumber::WindowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeOfDay {
    seconds: u32,
}

impl TimeOfDay {
    /// `00:00`, at which windows start that say nothing else.
    pub const MIDNIGHT: Self = Self { seconds: 0 };

    /// The time `hour:minute:second`.
    ///
    /// # Errors
    /// When a clock never shows it.
    pub fn new(hour: u8, minute: u8, second: u8) -> Result<Self, WindowError> {
        let [h, m, s] = [hour, minute, second].map(u32::from);
        if h < 24 && m < 60 && s < 60 {
            Ok(Self { seconds: h * 3_600 + m * 60 + s })
        } else {
            Err(WindowError::TimeOfDay(format!("{hour:02}:{minute:02}:{second:02}").into()))
        }
    }

    fn seconds(self) -> i64 {
        self.seconds.into()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.seconds / 3_600, self.seconds / 60 % 60, self.seconds % 60);
        write!(f, "{hour:02}:{minute:02}")?;
        if second == 0 { Ok(()) } else { write!(f, ":{second:02}") }
    }
}

impl FromStr for TimeOfDay {
    type Err = WindowError;

    /// Reads `hh:mm` or `hh:mm:ss`, two digits each.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let two = |from: usize| match text.as_bytes().get(from..from + 2)? {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (ones - b'0')),
            _ => None,
        };
        let colon = |at: usize| text.as_bytes().get(at) == Some(&b':');
        let second = match text.len() {
            5 => Some(0),
            8 if colon(5) => two(6),
            _ => None,
        };
        let parts = two(0).zip(two(3)).zip(second).filter(|_| colon(2));
        let time = parts.and_then(|((hour, minute), second)| Self::new(hour, minute, second).ok());
        time.ok_or_else(|| WindowError::TimeOfDay(text.chars().take(64).collect()))
    }
}
