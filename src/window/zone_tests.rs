//! Windows in time zones: known days, and every change of the clock of every zone.

use std::collections::BTreeSet;

use jiff::tz::TimeZoneDatabase;

use super::*;

const ZONES: [&str; 14] = [
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Juneau",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "Antarctica/Vostok",
    "Asia/Kathmandu",
    "Asia/Manila",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kwajalein",
];
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn zone(name: &str) -> Zone {
    Zone::new(name).unwrap()
}

fn time(text: &str) -> TimeOfDay {
    text.parse().unwrap()
}

fn seconds(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_seconds()
}

/// When the clocks of a zone change between two instants, in seconds, and from and to which offset.
fn changes(name: &str, from: i64, until: i64) -> Vec<(i64, [i64; 2])> {
    let zone = TimeZoneDatabase::bundled().get(name).unwrap();
    let from = jiff::Timestamp::from_second(from).unwrap();
    let mut offset = zone.to_offset(from).seconds();
    let mut changes = Vec::new();
    for change in zone.following(from).take_while(|change| change.timestamp().as_second() < until) {
        let before = std::mem::replace(&mut offset, change.offset().seconds());
        changes.push((change.timestamp().as_second(), [before.into(), offset.into()]));
    }
    changes
}

fn windows(zone: Zone) -> Vec<Window> {
    let local = |window: Window| window.in_zone(zone).unwrap();
    let at = |window: Window, text: &str| window.reset_at(time(text)).unwrap();
    let mut windows = [Window::Day, Window::Week, Window::Month, Window::Year].map(local).to_vec();
    windows.extend(["00:00:01", "00:30", "02:30", "12:00", "23:59:59"].map(|text| at(local(Window::Day), text)));
    windows.push(at(local(Window::Week.week_starts(Weekday::Sunday).unwrap()), "02:30"));
    windows.push(at(local(Window::Month.month_day(31).unwrap()), "00:30"));
    windows.push(local(Window::Months(NonZeroU32::new(3).unwrap()).month_day(30).unwrap()));
    windows
}

/// The window around an instant holds it, touches its neighbours, and is numbered between them.
fn follows_time(window: Window, at: Timestamp) {
    let Bounds { start, end } = window.bounds(at).unwrap();
    assert!(start <= at && at < end, "{window} {at}: {start}..{end}");
    let index = window.index(at);
    let before = |at: Timestamp| Timestamp::from_micros(at.as_micros() - 1);
    let numbers = [before(start), start, before(end), end].map(|at| window.index(at) - index);
    assert_eq!(numbers, [-1, 0, 0, 1], "{window} {at}: {start}..{end}");
    assert!(end.as_micros() - start.as_micros() >= window.shortest_micros().unwrap(), "{window} {at}: {start}..{end}");
}

#[test]
fn windows_follow_time_around_every_change_of_the_clock() {
    for name in ZONES {
        for window in windows(zone(name)) {
            for (change, _) in changes(name, seconds("1840-01-01T00:00:00Z"), seconds("2040-01-01T00:00:00Z")) {
                for near in [-DAY, -HOUR, -61, -1, 0, 1, 59, HOUR - 1, HOUR, DAY] {
                    follows_time(window, Timestamp::from_seconds(change + near));
                }
            }
        }
    }
}

#[test]
fn windows_follow_time_in_every_hour_of_some_years() {
    for name in ZONES {
        for (position, window) in windows(zone(name)).into_iter().enumerate() {
            for year in ["1986", "2011", "2026"] {
                let new_year = seconds(&format!("{year}-01-01T00:00:00Z"));
                // Every hour for the plain day; the others are met around the changes of the clock as well.
                for hour in (0..365 * 24).step_by(if position == 0 { 1 } else { 13 }) {
                    follows_time(window, Timestamp::from_seconds(new_year + hour * HOUR + 17));
                }
            }
        }
    }
}

/// What a start is, by the clock alone: it shows the time, or a later one, and never did before.
#[test]
fn a_window_starts_when_the_clock_first_shows_its_time() {
    for name in ZONES {
        let zone = zone(name);
        for (change, [before, after]) in changes(name, 0, seconds("2038-01-01T00:00:00Z")) {
            let edges = [change + before, change + after];
            for shown in edges.into_iter().flat_map(|edge| [-DAY, -1800, -1, 0, 1, 1800, DAY].map(|near| edge + near)) {
                let start = zone.first_showing(shown);
                assert!(zone.shown_at(start) >= shown, "{name} {shown}");
                for earlier in (1..2 * DAY).step_by(1_799) {
                    assert!(zone.shown_at(start - earlier) < shown, "{name} {shown}: {earlier}");
                }
            }
        }
    }
}

/// What the lengths and the numbers of windows assume about all places, those of today and of the past.
#[test]
fn no_zone_breaks_what_is_assumed_of_all() {
    let names: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    assert!(names.len() > 400, "{} zones", names.len());
    let mut skipped = BTreeSet::new();
    for name in &names {
        let Ok(zone) = Zone::new(name) else { panic!("{name}") };
        let days = ["00:00", "12:34:56", "23:59:59"]
            .map(|at| Window::Day.reset_at(time(at)).and_then(|d| d.in_zone(zone)).unwrap());
        for (change, [before, after]) in changes(name, seconds("1800-01-01T00:00:00Z"), seconds("2101-01-01T00:00:00Z"))
        {
            let jump = after - before;
            assert!(jump == DAY || jump <= 10 * HOUR, "{name} {change}: {jump}");
            if jump == DAY {
                skipped.insert(Timestamp::from_seconds(change + before).to_string()[..10].to_owned());
            }
            if jump.abs() > 2 * HOUR || name.starts_with("Europe/") {
                for day in days {
                    follows_time(day, Timestamp::from_seconds(change));
                }
            }
        }
    }
    let known = ["1844-12-31", "1993-08-21", "1994-12-31", "1995-01-01", "2011-12-30"];
    assert!(skipped.iter().all(|date| known.contains(&date.as_str())), "{skipped:?}");
    assert!(skipped.contains("2011-12-30"), "{skipped:?}");
}

/// The window of each instant, in UTC, of a zone's window.
fn bounds(window: Window, at: &str) -> [String; 2] {
    let Bounds { start, end } = window.bounds(at.parse().unwrap()).unwrap();
    [start, end].map(|at| at.to_string().replace(":00.000Z", ""))
}

#[test]
fn days_of_23_and_25_hours_are_one_day() {
    let day = |name: &str| Window::Day.in_zone(zone(name)).unwrap();
    let cases = [
        ("Europe/Berlin", "2026-03-29T12:00:00Z", ["2026-03-28T23:00", "2026-03-29T22:00"]),
        ("Europe/Berlin", "2026-10-25T12:00:00Z", ["2026-10-24T22:00", "2026-10-25T23:00"]),
        ("Australia/Lord_Howe", "2025-10-05T00:00:00Z", ["2025-10-04T13:30", "2025-10-05T13:00"]),
        ("Australia/Lord_Howe", "2026-04-05T00:00:00Z", ["2026-04-04T13:00", "2026-04-05T13:30"]),
        // Midnight is left out: the day starts at 01:00.
        ("America/Sao_Paulo", "2018-11-04T12:00:00Z", ["2018-11-04T03:00", "2018-11-05T02:00"]),
        ("America/Sao_Paulo", "2018-11-03T12:00:00Z", ["2018-11-03T03:00", "2018-11-04T03:00"]),
        // Midnight comes twice: the day starts at the first.
        ("America/Havana", "2025-11-02T12:00:00Z", ["2025-11-02T04:00", "2025-11-03T05:00"]),
        // The hour before midnight comes twice: the day goes on.
        ("America/Sao_Paulo", "2018-02-18T02:30:00Z", ["2018-02-17T02:00", "2018-02-18T03:00"]),
        // One minute past midnight the clock was put back to the day before, which had ended.
        ("America/St_Johns", "2006-10-29T03:00:00Z", ["2006-10-29T02:30", "2006-10-30T03:30"]),
        ("Asia/Kathmandu", "2026-02-04T12:00:00Z", ["2026-02-03T18:15", "2026-02-04T18:15"]),
    ];
    for (name, at, expected) in cases {
        assert_eq!(bounds(day(name), at), expected, "{name} {at}");
    }
}

#[test]
fn a_reset_hour_that_is_left_out_or_comes_twice() {
    let day = Window::Day.in_zone(zone("Europe/Berlin")).and_then(|day| day.reset_at(time("02:30"))).unwrap();
    assert_eq!(bounds(day, "2026-03-29T12:00:00Z"), ["2026-03-29T01:00", "2026-03-30T00:30"]);
    assert_eq!(bounds(day, "2026-10-25T12:00:00Z"), ["2026-10-25T00:30", "2026-10-26T01:30"]);
}

/// Samoa went from the 29th to the 31st: the 29th ends where the 31st starts, and they have numbers in a row.
#[test]
fn a_skipped_day_is_no_window() {
    let day = Window::Day.in_zone(zone("Pacific/Apia")).unwrap();
    let [last, next]: [Timestamp; 2] = ["2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z"].map(|at| at.parse().unwrap());
    assert_eq!([day.label(last), day.label(next)], ["2011-12-29", "2011-12-31"]);
    assert_eq!(day.index(next), day.index(last) + 1);
    assert_eq!(bounds(day, "2011-12-30T10:00:00Z"), ["2011-12-30T10:00", "2011-12-31T10:00"]);
    let late = day.reset_at(time("09:30")).unwrap();
    assert_eq!(bounds(late, "2011-12-30T10:00:00Z"), ["2011-12-29T19:30", "2011-12-30T19:30"]);
}

#[test]
fn weeks_and_months_start_by_the_local_clock() {
    let berlin = zone("Europe/Berlin");
    let sunday = Window::Week.week_starts(Weekday::Sunday).and_then(|week| week.in_zone(berlin)).unwrap();
    assert_eq!(bounds(sunday, "2026-03-29T12:00:00Z"), ["2026-03-28T23:00", "2026-04-04T22:00"]);
    let month = Window::Month.in_zone(berlin).unwrap();
    assert_eq!(bounds(month, "2026-03-31T21:59:59Z"), ["2026-02-28T23:00", "2026-03-31T22:00"]);
    assert_eq!(month.label("2026-03-31T22:00:00Z".parse().unwrap()), "2026-04");
    assert_eq!(month.to_string(), "month in Europe/Berlin");
}

#[test]
fn a_zone_is_known_by_its_name() {
    let berlin = zone("Europe/Berlin");
    assert_eq!((berlin, berlin.name()), (zone("eUROPE/berlin"), "Europe/Berlin"));
    assert!(berlin != zone("Europe/Paris") && berlin != Zone::utc());
    for name in ["UTC", "utc", "Etc/UTC"] {
        assert_eq!(zone(name), Zone::utc(), "{name}");
    }
    for name in ["", " ", "Europe/Berln", "Mars/Phobos", "Etc/Unknown", "CEST", "+01:00", "Europe/Berlin ", "Local"] {
        assert_eq!(Zone::new(name), Err(ZoneError::Unknown(name.into())), "{name:?}");
    }
}

#[test]
fn the_ends_of_time_do_not_panic_in_a_zone() {
    for name in ZONES {
        for window in windows(zone(name)) {
            for at in [
                Timestamp::MIN,
                Timestamp::MAX,
                Timestamp::from_seconds(-377_705_116_800),
                Timestamp::from_seconds(253_402_300_800),
            ] {
                let Bounds { start, end } = window.bounds(at).unwrap();
                assert!(start <= at && at <= end, "{window} {at}: {start}..{end}");
                let _ = window.label(at);
            }
            for index in [i64::MIN, i64::MAX] {
                let _ = window.bounds_of(index);
            }
        }
    }
}

#[test]
fn a_zone_takes_no_room_from_the_amount() {
    let berlin = zone("Europe/Berlin");
    for window in [Window::Day, Window::Week, Window::Month, Window::Year] {
        assert_eq!(window.in_zone(berlin).unwrap().cap_max(), window.cap_max(), "{window}");
    }
}
