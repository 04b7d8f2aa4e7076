//! Two windows in time zones; without the zones' rules they are two in UTC.

use encumber as engine;
use encumber_model as model;

/// The same window for both sides.
type Both = (engine::Window, model::Window);

#[cfg(feature = "time-zones")]
mod listed {
    use std::sync::OnceLock;

    use jiff::civil::{DateTime, Weekday, date};
    use jiff::tz::TimeZone;
    use jiff::{Timestamp, ToSpan};

    use super::{Both, engine, model};

    const HOUR_MICROS: i64 = 3_600_000_000;

    /// Days where the clock goes forward at midnight.
    pub(crate) fn havana_day() -> Both {
        static LISTED: OnceLock<Both> = OnceLock::new();
        *LISTED.get_or_init(|| {
            let zone = engine::Zone::new("America/Havana").expect("a zone");
            let window = engine::Window::Day.in_zone(zone).expect("a window");
            (window, listed("America/Havana", date(2025, 1, 1).at(0, 0, 0, 0), 1, 14 * HOUR_MICROS))
        })
    }

    /// Weeks that start on Sundays at half past two, which the clock leaves out once a year and shows twice once a year.
    pub(crate) fn berlin_week() -> Both {
        static LISTED: OnceLock<Both> = OnceLock::new();
        *LISTED.get_or_init(|| {
            let zone = engine::Zone::new("Europe/Berlin").expect("a zone");
            let time = engine::TimeOfDay::new(2, 30, 0).expect("a time of day");
            let week = engine::Window::Week.in_zone(zone).and_then(|week| week.week_starts(engine::Weekday::Sunday));
            let first = date(2025, 1, 5).at(2, 30, 0, 0);
            assert_eq!(first.weekday(), Weekday::Sunday);
            let window = week.and_then(|week| week.reset_at(time)).expect("a window");
            (window, listed("Europe/Berlin", first, 7, (5 * 24 + 14) * HOUR_MICROS))
        })
    }

    /// Starts every so many days until 2048.
    fn listed(zone: &str, first: DateTime, days: i64, shortest_micros: i64) -> model::Window {
        let zone = TimeZone::get(zone).expect("a zone");
        let dates = (0..).map(|number| first + (number * days).days()).take_while(|start| start.year() < 2048);
        let micros: Vec<i64> = dates.map(|start| first_showing(&zone, start)).collect();
        model::Window::Listed(model::Starts { micros: micros.leak(), shortest_micros })
    }

    /// The first instant at which the local clock shows this or later, found minute by minute from the earliest it could be.
    fn first_showing(zone: &TimeZone, start: DateTime) -> i64 {
        let earliest = zone.to_ambiguous_zoned_datetime(start).earlier().expect("an instant").timestamp();
        let mut instants = (0..).map(|minute| earliest + (minute * 60).seconds());
        let found = instants.find(|at: &Timestamp| zone.to_datetime(*at) >= start);
        found.expect("a clock goes on").as_microsecond()
    }
}

#[cfg(feature = "time-zones")]
pub(super) use listed::{berlin_week, havana_day};

#[cfg(not(feature = "time-zones"))]
pub(super) fn havana_day() -> Both {
    (engine::Window::Month, model::Window::Month)
}

#[cfg(not(feature = "time-zones"))]
pub(super) fn berlin_week() -> Both {
    (engine::Window::Year, model::Window::Year)
}
