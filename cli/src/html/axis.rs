//! Ticks: round amounts for the upright axis, dates where people expect them for the other.

use encumber::{NANOS_PER_USD, Timestamp, Unit};

use super::number::grouped;
use crate::report::Slice;

/// Ticks of amounts from 0 up to the first one that nothing is drawn above.
pub(super) struct Scale {
    /// The amount at the top of the plot, above 0.
    pub(super) top: u128,
    /// Amounts and their labels, ascending.
    pub(super) ticks: Vec<(u128, String)>,
}

impl Scale {
    /// A scale that holds `max`, in three to six steps of 1, 2 or 5 times a power of ten.
    pub(super) fn new(unit: Unit, max: u128) -> Self {
        let step = step(max);
        let steps = max.div_ceil(step).max(1);
        let top = steps.saturating_mul(step);
        let ticks = (0..=steps).map(|index| index.saturating_mul(step));
        Self { top, ticks: ticks.map(|amount| (amount, label(unit, amount, step, top))).collect() }
    }

    /// How far up an amount is, from 0 to 1.
    pub(super) fn height(&self, amount: u128) -> f64 {
        (amount as f64 / self.top as f64).min(1.0)
    }
}

/// The least of 1, 2, 5, 10, 20, 50… that at most five of reach `max`.
fn step(max: u128) -> u128 {
    let mut power = 1_u128;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if max.div_ceil(step) <= 5 {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Short: `60`, `0.25`, `1.5M`. All labels of an axis have the same suffix and decimals.
fn label(unit: Unit, amount: u128, step: u128, top: u128) -> String {
    let whole = if unit == Unit::Usd { u128::from(NANOS_PER_USD) } else { 1 };
    let suffixes = [(12, "T"), (9, "B"), (6, "M"), (3, "k")];
    let found = suffixes.into_iter().find(|(power, _)| top >= (10_u128.pow(*power) * whole).saturating_mul(5));
    let (divisor, suffix) = match found {
        _ if amount == 0 => return "0".to_owned(),
        _ if top / whole >= 10_u128.pow(15) => return format!("{:.1e}", amount as f64 / whole as f64),
        Some((power, suffix)) => (whole * 10_u128.pow(power), suffix),
        None => (whole, ""),
    };
    let mut decimals = 0;
    while !(step * 10_u128.pow(decimals)).is_multiple_of(divisor) {
        decimals += 1;
    }
    let scaled = amount * 10_u128.pow(decimals) / divisor;
    let (before, after) = (scaled / 10_u128.pow(decimals), scaled % 10_u128.pow(decimals));
    match decimals {
        0 => format!("{}{suffix}", grouped(before)),
        _ => format!("{before}.{after:0width$}{suffix}", width = decimals as usize),
    }
}

/// A labelled day.
pub(super) struct DayTick {
    /// Position among the days.
    pub(super) index: usize,
    /// `5 Jan`, `Feb`, `2026`.
    pub(super) label: String,
    /// The year, where the label does not say it and it is new.
    pub(super) year: Option<String>,
    /// Whether it is left out where there is little room.
    pub(super) minor: bool,
}

/// At most ten ticks: days, Mondays, firsts of months or of years, whatever is the finest that fits.
pub(super) fn day_ticks(days: &[Slice]) -> Vec<DayTick> {
    let dates: Vec<Option<Date>> = days.iter().map(|day| Date::read(&day.name)).collect();
    let steps = [1, 2].map(Every::Days).into_iter().chain([1, 2].map(Every::Weeks));
    let steps = steps.chain([1, 2, 3, 6].map(Every::Months)).chain([1, 2, 5, 10, 50, 100, 1_000].map(Every::Years));
    for every in steps {
        let found: Vec<_> = dates.iter().enumerate().filter_map(|(i, date)| Some((i, (*date)?))).collect();
        let found: Vec<_> = found.into_iter().filter(|&(index, date)| every.includes(index, date)).collect();
        if found.len() <= 10 {
            return labelled(every, &found);
        }
    }
    Vec::new()
}

fn labelled(every: Every, found: &[(usize, Date)]) -> Vec<DayTick> {
    let crowded = found.len() > 5;
    let mut year_before = None;
    let mut ticks = Vec::with_capacity(found.len());
    for (place, &(index, date)) in found.iter().enumerate() {
        let Date { year, .. } = date;
        let label = match every {
            Every::Days(_) | Every::Weeks(_) => format!("{} {}", date.day, date.month_name()),
            Every::Months(_) => date.month_name().to_owned(),
            Every::Years(_) => year.to_string(),
        };
        let new_year = !matches!(every, Every::Years(_)) && year_before != Some(year);
        let minor = crowded && place % 2 == 1;
        year_before = if minor { year_before } else { Some(year) };
        ticks.push(DayTick { index, label, year: (new_year && !minor).then(|| year.to_string()), minor });
    }
    ticks
}

#[derive(Clone, Copy)]
enum Every {
    Days(usize),
    Weeks(i64),
    Months(u32),
    Years(i64),
}

impl Every {
    fn includes(self, index: usize, date: Date) -> bool {
        match self {
            Self::Days(days) => index.is_multiple_of(days),
            Self::Weeks(weeks) => date.weekday() == 0 && (date.days + 3).div_euclid(7) % weeks == 0,
            Self::Months(months) => date.day == 1 && (date.month - 1).is_multiple_of(months),
            Self::Years(years) => date.day == 1 && date.month == 1 && date.year % years == 0,
        }
    }
}

#[derive(Clone, Copy)]
struct Date {
    year: i64,
    month: u32,
    day: u32,
    /// Since 1970-01-01.
    days: i64,
}

impl Date {
    /// Reads `2026-02-04`.
    fn read(name: &str) -> Option<Self> {
        let midnight: Timestamp = format!("{name}T00:00:00Z").parse().ok()?;
        let number = |from: usize, to: usize| name.get(from..to)?.parse().ok();
        Some(Self {
            year: i64::from(number(0, 4)?),
            month: number(5, 7)?,
            day: number(8, 10)?,
            days: midnight.as_seconds().div_euclid(86_400),
        })
    }

    /// 0 for Monday.
    fn weekday(self) -> i64 {
        (self.days + 3).rem_euclid(7)
    }

    fn month_name(self) -> &'static str {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        NAMES[(self.month as usize - 1) % 12]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(unit: Unit, max: u128) -> Vec<String> {
        Scale::new(unit, max).ticks.into_iter().map(|(_, label)| label).collect()
    }

    fn days(first: &str, count: i64) -> Vec<Slice> {
        let first: Timestamp = format!("{first}T00:00:00Z").parse().expect("a date");
        let name = |day: i64| Timestamp::from_seconds(first.as_seconds() + day * 86_400).to_string()[..10].to_owned();
        let slice = |name| Slice { name, calls: 0, denied: 0, spent: vec![], offered: vec![], denied_by: vec![] };
        (0..count).map(|day| slice(name(day))).collect()
    }

    fn day_labels(first: &str, count: i64) -> Vec<String> {
        day_ticks(&days(first, count)).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(labels(Unit::Usd, 87_300_000_000), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(Unit::Usd, 1_200_000_000), ["0", "0.5", "1.0", "1.5"]);
        assert_eq!(labels(Unit::Usd, 61_000_000), ["0", "0.02", "0.04", "0.06", "0.08"]);
        assert_eq!(labels(Unit::Count, 3), ["0", "1", "2", "3"]);
        assert_eq!(labels(Unit::Count, 9_000_000), ["0", "2M", "4M", "6M", "8M", "10M"]);
        assert_eq!(labels(Unit::Count, 2_100), ["0", "500", "1,000", "1,500", "2,000", "2,500"]);
        assert_eq!(labels(Unit::Count, 0), ["0", "1"]);
    }

    #[test]
    fn no_amount_is_too_large_for_a_scale() {
        for unit in [Unit::Usd, Unit::Count] {
            for max in (0..128).flat_map(|bit| [1_u128 << bit, (1 << bit) - 1]).chain([u128::MAX]) {
                let scale = Scale::new(unit, max);
                assert!(scale.top >= max, "{max}");
                assert!((2..=6).contains(&scale.ticks.len()), "{max}: {} ticks", scale.ticks.len());
                assert!(scale.ticks.iter().all(|(_, label)| label.len() <= 12), "{max}");
                assert!((0.0..=1.0).contains(&scale.height(max)));
            }
        }
    }

    #[test]
    fn dates_are_labelled_where_people_expect_them() {
        assert_eq!(day_labels("2026-01-05", 1), ["5 Jan"]);
        assert_eq!(day_labels("2026-01-05", 35), ["5 Jan", "12 Jan", "19 Jan", "26 Jan", "2 Feb"]);
        assert_eq!(
            day_labels("2025-11-20", 120),
            ["1 Dec", "15 Dec", "29 Dec", "12 Jan", "26 Jan", "9 Feb", "23 Feb", "9 Mar"]
        );
        assert_eq!(day_labels("2025-01-01", 365), ["Jan", "Mar", "May", "Jul", "Sep", "Nov"]);
        assert_eq!(
            day_labels("2020-01-01", 2_000),
            ["2020", "2021", "2022", "2023", "2024", "2025"].to_vec()[..6].to_vec()
        );
        assert!(day_labels("2020-01-01", 0).is_empty());
    }

    #[test]
    fn the_year_is_said_once_and_again_when_it_changes() {
        let years: Vec<_> = day_ticks(&days("2025-12-29", 6)).into_iter().filter_map(|tick| tick.year).collect();
        assert_eq!(years, ["2025", "2026"]);
    }

    #[test]
    fn days_that_are_no_dates_get_no_ticks() {
        let mut days = days("2026-01-05", 3);
        for day in &mut days {
            day.name = "<b>day</b>".to_owned();
        }
        assert!(day_ticks(&days).is_empty());
    }
}
