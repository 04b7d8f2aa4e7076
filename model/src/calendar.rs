//! Which window an instant falls in: calendars by counting years and months off one by one.

const SECOND: i128 = 1_000_000;
const DAY: i128 = 86_400 * SECOND;
/// Days in any 400 years in a row of the Gregorian calendar, after which it repeats.
const CYCLE_DAYS: i64 = 146_097;

/// The span after which a budget starts fresh: half-open, UTC, instants in microseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// A minute of the clock.
    Minute,
    /// An hour of the clock.
    Hour,
    /// A calendar day.
    Day,
    /// An ISO week, which starts on Monday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// This many calendar months (not 0), counted from January 1970.
    Months(u32),
    /// Slices of equal length.
    Every {
        /// The length, not 0.
        seconds: u64,
        /// An instant at which a slice starts, in microseconds.
        anchor_micros: i64,
    },
    /// One window for all time.
    Lifetime,
    /// A calendar window that starts elsewhere than at midnight, on Monday or on the 1st.
    Set(Calendar),
    /// Windows that start at listed instants.
    Listed(Starts),
    /// The span of this many seconds (not 0) that ends now.
    Rolling {
        /// The length.
        seconds: u64,
    },
    /// Spans of this many seconds (not 0), each of which begins with the first charge after the last one ended.
    FirstUse {
        /// The length.
        seconds: u64,
    },
}

/// A calendar window with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// Of which dates.
    pub dates: Dates,
    /// The seconds after midnight at which it starts.
    pub reset_seconds: u32,
}

/// Which dates a calendar window holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dates {
    /// One.
    Day,
    /// Seven, the first of which is so many days after a Monday.
    Week {
        /// 0 to 6.
        first: u8,
    },
    /// So many months (not 0), counted from January 1970, from one day of the month on, or from the last one of shorter months.
    Months {
        /// How many.
        count: u32,
        /// 1 to 31.
        day: u8,
    },
}

/// Instants in order at which windows start, made by the host. Before the first and after the last one nothing starts.
#[derive(Clone, Copy, Debug)]
pub struct Starts {
    /// The instants, in microseconds.
    pub micros: &'static [i64],
    /// The shortest that such a window can be, in microseconds.
    pub shortest_micros: i64,
}

/// The same list, not one that says the same.
impl PartialEq for Starts {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.micros, other.micros)
    }
}

impl Eq for Starts {}

impl std::hash::Hash for Starts {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.micros.as_ptr().hash(state);
    }
}

impl Window {
    /// The number of the window that holds `at`. Numbers have no gaps and go up with time.
    pub fn index(self, at: i64) -> i64 {
        let micros = i128::from(at);
        let day = micros.div_euclid(DAY) as i64;
        match self {
            Self::Week => (day + 3).div_euclid(7),
            Self::Month => months_since_epoch(day),
            Self::Year => year_and_day(day).0 - 1970,
            Self::Months(count) => months_since_epoch(day).div_euclid(i64::from(count)),
            Self::Set(Calendar { dates, reset_seconds }) => {
                dates.index((micros - i128::from(reset_seconds) * SECOND).div_euclid(DAY) as i64)
            }
            Self::Listed(Starts { micros, .. }) => micros.partition_point(|start| *start <= at) as i64 - 1,
            // A budget numbers these by itself.
            Self::Lifetime | Self::Rolling { .. } | Self::FirstUse { .. } => 0,
            Self::Minute | Self::Hour | Self::Day | Self::Every { .. } => {
                let (length, anchor) = self.grid();
                (micros - anchor).div_euclid(length) as i64
            }
        }
    }

    /// Start and end of window number `index`, clamped to what an instant can be; `None` for a lifetime.
    pub fn bounds(self, index: i64) -> Option<(i64, i64)> {
        let start = |index: i128| match self {
            Self::Set(Calendar { dates, reset_seconds }) => {
                dates.first_day(index) * DAY + i128::from(reset_seconds) * SECOND
            }
            Self::Listed(Starts { micros, .. }) => match usize::try_from(index) {
                Ok(index) => micros.get(index).copied().unwrap_or(i64::MAX).into(),
                Err(_) => i64::MIN.into(),
            },
            Self::Week => (index * 7 - 3) * DAY,
            Self::Month => month_start(index),
            Self::Year => month_start(index * 12),
            Self::Months(count) => month_start(index * i128::from(count)),
            _ => {
                let (length, anchor) = self.grid();
                anchor + index * length
            }
        };
        let clamped = |micros: i128| micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let index = i128::from(index);
        let has_bounds = !matches!(self, Self::Lifetime | Self::Rolling { .. } | Self::FirstUse { .. });
        has_bounds.then(|| (clamped(start(index)), clamped(start(index + 1))))
    }

    /// How many bits a count has: what the engine's word of 64 leaves beside the number of a window as short as this one can be, with
    /// room for fifty years of them and as much again to tell earlier from later.
    ///
    /// A rolling window counts by sub-interval, in at most 54 bits: there the number is that of the turn of the 61 sub-intervals. One from
    /// first use has 48, as it is numbered by use.
    pub fn bits(self) -> u32 {
        let shortest = match self {
            Self::FirstUse { .. } => return 48,
            Self::Rolling { seconds } => 61 * i128::from(sub_interval_micros(seconds)),
            Self::Listed(Starts { shortest_micros, .. }) => shortest_micros.into(),
            Self::Lifetime => return 64,
            Self::Week | Self::Set(Calendar { dates: Dates::Week { .. }, .. }) => 7 * DAY,
            Self::Month => 28 * DAY,
            Self::Year => 365 * DAY,
            Self::Months(count) | Self::Set(Calendar { dates: Dates::Months { count, .. }, .. }) => {
                28 * DAY * i128::from(count)
            }
            _ => self.grid().0,
        };
        let mut windows = (50 * 365 * DAY / shortest).max(1);
        let mut log2 = 0;
        while windows > 1 {
            windows /= 2;
            log2 += 1;
        }
        let bits = 64 - (log2 + 2);
        if matches!(self, Self::Rolling { .. }) { bits.min(54) } else { bits }
    }

    /// Length and anchor of a window of fixed length.
    fn grid(self) -> (i128, i128) {
        match self {
            Self::Minute => (60 * SECOND, 0),
            Self::Hour => (3_600 * SECOND, 0),
            Self::Every { seconds, anchor_micros } => (i128::from(seconds) * SECOND, anchor_micros.into()),
            _ => (DAY, 0),
        }
    }
}

impl Dates {
    /// The number of the window that holds a date, by its day since the epoch.
    fn index(self, day: i64) -> i64 {
        match self {
            Self::Day => day,
            Self::Week { first } => (day + 3 - i64::from(first)).div_euclid(7),
            Self::Months { count, day: anchor } => {
                let month = months_since_epoch(day);
                let has_begun = i128::from(day) >= day_of_month(month.into(), anchor);
                (month - i64::from(!has_begun)).div_euclid(count.into())
            }
        }
    }

    /// The first date of window number `index`.
    fn first_day(self, index: i128) -> i128 {
        match self {
            Self::Day => index,
            Self::Week { first } => index * 7 - 3 + i128::from(first),
            Self::Months { count, day } => day_of_month(index * i128::from(count), day),
        }
    }
}

/// The day that a month has for an anchor day: its last one when it is shorter.
fn day_of_month(month: i128, anchor: u8) -> i128 {
    let (first, next) = (month_start(month) / DAY, month_start(month + 1) / DAY);
    first + i128::from(anchor).min(next - first) - 1
}

/// The length of a rolling window's sub-intervals: 60 of them are at least as long as the window.
pub(crate) fn sub_interval_micros(seconds: u64) -> i64 {
    let micros = i128::from(seconds) * SECOND;
    ((micros + 59) / 60) as i64
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_lengths(year: i64) -> [i64; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

fn year_length(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

/// The year of a day since the epoch, and how many days of the year lie before it.
fn year_and_day(day: i64) -> (i64, i64) {
    let mut year = 1970 + 400 * day.div_euclid(CYCLE_DAYS);
    let mut rest = day.rem_euclid(CYCLE_DAYS);
    while rest >= year_length(year) {
        rest -= year_length(year);
        year += 1;
    }
    (year, rest)
}

fn months_since_epoch(day: i64) -> i64 {
    let (year, mut rest) = year_and_day(day);
    let mut months = (year - 1970) * 12;
    for length in month_lengths(year) {
        if rest < length {
            break;
        }
        rest -= length;
        months += 1;
    }
    months
}

/// The first instant of the month that is `months` after January 1970.
fn month_start(months: i128) -> i128 {
    // The calendar repeats after 4800 months; only the part of one cycle is counted off.
    let (cycles, rest) = (months.div_euclid(4_800), months.rem_euclid(4_800) as i64);
    let year = 1970 + rest / 12;
    let years: i64 = (1970..year).map(year_length).sum();
    let months: i64 = month_lengths(year)[..(rest % 12) as usize].iter().sum();
    (cycles * i128::from(CYCLE_DAYS) + i128::from(years + months)) * DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;

    /// Start and end of the window that holds `at`, in days since the epoch.
    fn days(window: Window, at_day: i64) -> (i64, i64) {
        let (start, end) = window.bounds(window.index(at_day * DAY)).unwrap();
        assert_eq!((start % DAY, end % DAY), (0, 0));
        (start / DAY, end / DAY)
    }

    // Days since the epoch of some dates, by hand: 1600-01-01 -135140, 1900-01-01 -25567, 2000-01-01 10957, 2024-01-01 19723,
    // 2026-01-01 20454, 2100-01-01 47482, 2400-01-01 157054, 2600-01-01 230103.
    #[test]
    fn years_start_where_the_calendar_says() {
        for (year, start, length) in [
            (1600, -135_140, 366),
            (1900, -25_567, 365),
            (1970, 0, 365),
            (2000, 10_957, 366),
            (2024, 19_723, 366),
            (2026, 20_454, 365),
            (2100, 47_482, 365),
            (2400, 157_054, 366),
            (2600, 230_103, 365),
        ] {
            for day in [start, start + length - 1] {
                assert_eq!(Window::Year.index(day * DAY), year - 1970, "{year}");
                assert_eq!(days(Window::Year, day), (start, start + length), "{year}");
            }
        }
    }

    #[test]
    fn february_has_28_days_in_2100_and_29_in_2000_and_2024() {
        assert_eq!(days(Window::Month, 47_482 + 40), (47_482 + 31, 47_482 + 59));
        assert_eq!(days(Window::Month, 10_957 + 59), (10_957 + 31, 10_957 + 60));
        assert_eq!(days(Window::Month, 19_723 + 59), (19_723 + 31, 19_723 + 60));
        assert_eq!(days(Window::Month, 20_454 + 59), (20_454 + 59, 20_454 + 90), "1 March 2026");
        assert_eq!(days(Window::Month, -1), (-31, 0), "December 1969");
        assert_eq!(Window::Month.index(-1), -1);
        assert_eq!(Window::Month.index(20_454 * DAY), 56 * 12);
    }

    #[test]
    fn months_from_1600_to_2600_follow_each_other_and_hold_their_days() {
        let mut start = -135_140;
        for month in -370 * 12..630 * 12 {
            let (first, next) = days(Window::Month, start);
            assert_eq!((first, Window::Month.index(first * DAY)), (start, month));
            assert_eq!(Window::Month.index(next * DAY - 1), month);
            assert!((28..=31).contains(&(next - first)));
            start = next;
        }
        assert_eq!(start, 230_103);
    }

    #[test]
    fn weeks_start_on_monday_across_new_year() {
        // 2021-01-01 is day 18628, a Friday: it is in the week of Monday 2020-12-28.
        assert_eq!(days(Window::Week, 18_628), (18_624, 18_631));
        assert_eq!(days(Window::Week, 0), (-3, 4), "the epoch was a Thursday");
        assert_eq!(Window::Week.index(4 * DAY), Window::Week.index(4 * DAY - 1) + 1);
    }

    #[test]
    fn short_windows_and_the_instant_before_them() {
        let day = 20_454 * DAY;
        for (window, length) in [(Window::Minute, 60), (Window::Hour, 3_600), (Window::Day, 86_400)] {
            let index = window.index(day);
            assert_eq!(window.bounds(index), Some((day, day + length * SECOND)));
            assert_eq!(window.index(day - 1), index - 1);
            assert_eq!(window.index(day + length * SECOND - 1), index);
        }
        assert_eq!(Window::Minute.index(-1), -1);
    }

    #[test]
    fn periods_keep_to_their_grid() {
        let five_hours = Window::Every { seconds: 18_000, anchor_micros: 0 };
        assert_eq!(five_hours.bounds(1), Some((18_000 * SECOND, 36_000 * SECOND)));
        let anchored = Window::Every { seconds: 18_000, anchor_micros: 7 };
        assert_eq!((anchored.index(6), anchored.index(7)), (-1, 0));
        assert_eq!(anchored.bounds(-1), Some((7 - 18_000 * SECOND, 7)));
        assert_eq!(days(Window::Months(3), 20_454 + 100), (20_454 + 90, 20_454 + 181), "second quarter of 2026");
        assert_eq!(days(Window::Months(5), -1), (-153, 0), "August to December 1969");
        assert_eq!((Window::Lifetime.index(i64::MIN), Window::Lifetime.bounds(0)), (0, None));
    }

    #[test]
    fn settings_move_the_starts() {
        let set = |dates, reset_seconds| Window::Set(Calendar { dates, reset_seconds });
        let noon = set(Dates::Day, 43_200);
        assert_eq!((noon.index(DAY / 2 - 1), noon.index(DAY / 2)), (-1, 0));
        assert_eq!(noon.bounds(0), Some((DAY / 2, DAY + DAY / 2)));
        let sunday = set(Dates::Week { first: 6 }, 0);
        assert_eq!(days(sunday, 0), (-4, 3), "the epoch was a Thursday");
        let last = set(Dates::Months { count: 1, day: 31 }, 0);
        assert_eq!(days(last, 20_454 + 31 + 27), (20_454 + 58, 20_454 + 89), "from 28 February to 31 March 2026");
        assert_eq!(days(last, 20_454 + 31), (20_454 + 30, 20_454 + 58));
        let years = set(Dates::Months { count: 12, day: 2 }, 0);
        assert_eq!(days(years, 20_454), (20_454 - 364, 20_454 + 1));
        let listed = Window::Listed(Starts { micros: &[5, 8, 20], shortest_micros: 3 });
        assert_eq!([4, 5, 7, 8, 99].map(|at| listed.index(at)), [-1, 0, 0, 1, 2]);
        assert_eq!((listed.bounds(1), listed.bounds(-1)), (Some((8, 20)), Some((i64::MIN, 5))));
        assert_eq!(listed.bounds(2), Some((20, i64::MAX)));
    }

    #[test]
    fn the_ends_of_time_are_clamped() {
        for window in [Window::Minute, Window::Week, Window::Month, Window::Year, Window::Months(7)] {
            let (start, end) = window.bounds(window.index(i64::MAX)).unwrap();
            assert!(start > 0 && end == i64::MAX, "{window:?}");
            let (start, end) = window.bounds(window.index(i64::MIN)).unwrap();
            assert!(start == i64::MIN && end < 0, "{window:?}");
        }
    }

    #[test]
    fn counts_have_the_bits_that_fifty_years_of_windows_leave() {
        // Windows in fifty years: 26,280,000 (2^24 and more), 438,000 (2^18), 18,250 (2^14), 2,607 (2^11), 651 (2^9), 50 (2^5).
        for (window, bits) in [
            (Window::Minute, 38),
            (Window::Hour, 44),
            (Window::Day, 48),
            (Window::Week, 51),
            (Window::Month, 53),
            (Window::Year, 57),
            (Window::Months(1), 53),
            (Window::Months(3), 55),
            (Window::Months(u32::MAX), 62),
            (Window::Every { seconds: 18_000, anchor_micros: 0 }, 46),
            (Window::Every { seconds: 1, anchor_micros: 0 }, 32),
            (Window::Lifetime, 64),
            (Window::Set(Calendar { dates: Dates::Months { count: 12, day: 2 }, reset_seconds: 1 }), 57),
            (Window::Rolling { seconds: 18_000 }, 46),
            (Window::Rolling { seconds: 31_536_000 }, 54),
            (Window::FirstUse { seconds: 1 }, 48),
        ] {
            assert_eq!(window.bits(), bits, "{window:?}");
        }
    }
}
