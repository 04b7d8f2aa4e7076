use super::*;

const ALL: [Window; 6] = [Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month, Window::Year];

fn windows() -> impl Iterator<Item = Window> {
    let odd = Window::every_from(9_000, "2026-04-03T10:00:00Z".parse().unwrap()).unwrap();
    let plain =
        ALL.into_iter().chain([odd, Window::every(18_000).unwrap(), Window::Months(NonZeroU32::new(3).unwrap())]);
    plain.chain(calendars())
}

/// Calendar windows in UTC with settings.
fn calendars() -> Vec<Window> {
    let at = |text: &str| text.parse::<TimeOfDay>().unwrap();
    let quarter = Window::Months(NonZeroU32::new(3).unwrap());
    let days = [28, 29, 30, 31].map(|day| Window::Month.month_day(day).unwrap().reset_at(at("23:59:59")).unwrap());
    let weeks = [Weekday::Tuesday, Weekday::Sunday].map(|day| Window::Week.week_starts(day).unwrap());
    let late = [Window::Day, Window::Week, Window::Year].map(|window| window.reset_at(at("09:30:15")).unwrap());
    let mut all = vec![quarter.month_day(31).unwrap(), Window::Month.month_day(15).unwrap()];
    all.extend(days.into_iter().chain(weeks).chain(late));
    all
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
    for window in windows().chain(["lifetime", "rolling 5h", "5h from first use"].map(|text| text.parse().unwrap())) {
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
    for text in [
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "year",
        "lifetime",
        "5h",
        "30d",
        "90m",
        "3mo",
        "2w",
        "rolling 5h",
        "rolling 90s",
        "5h from first use",
        "30d from first use",
    ] {
        let window: Window = text.parse().expect(text);
        assert_eq!(window.to_string().parse(), Ok(window), "{text}");
    }
    for text in [
        "",
        "Day",
        "days",
        "rolling",
        "rolling ",
        "rolling  5h",
        "Rolling 5h",
        "rolling 5h ",
        "rolling 0s",
        "rolling 1mo",
        "rolling day",
        "rolling rolling 5h",
        "from first use",
        " from first use",
        "5h  from first use",
        "5h from first use ",
        "5hfrom first use",
        "1mo from first use",
        "rolling 5h from first use",
        "0d",
        "99999999999999999w",
        "999999999mo",
    ] {
        assert!(text.parse::<Window>().is_err(), "{text}");
    }
}

#[test]
fn settings_that_say_nothing_leave_the_plain_window() {
    for window in [Window::Day, Window::Week, Window::Month, Window::Year, Window::Months(NonZeroU32::MIN)] {
        assert_eq!(window.in_zone(Zone::utc()).and_then(|w| w.reset_at(TimeOfDay::MIDNIGHT)), Ok(window));
        let late = window.reset_at("09:30".parse().unwrap()).unwrap();
        assert!(matches!(late, Window::Calendar(calendar) if calendar.unit() == window));
        assert_eq!(late.reset_at(TimeOfDay::MIDNIGHT), Ok(window));
        assert_eq!(late.cap_max(), window.cap_max());
        assert_eq!(late.adjective(), window.adjective());
    }
    assert_eq!(Window::Week.week_starts(Weekday::Monday), Ok(Window::Week));
    assert_eq!(Window::Month.month_day(1), Ok(Window::Month));
    assert_eq!(Window::Hour.in_zone(Zone::utc()), Ok(Window::Hour));
}

#[test]
fn a_setting_goes_with_windows_that_it_means_something_to() {
    let sunday = |window: Window| window.week_starts(Weekday::Sunday).is_ok();
    let fifteenth = |window: Window| window.month_day(15).is_ok();
    let late = |window: Window| window.reset_at("09:30".parse().unwrap()).is_ok();
    let accepted = |text: &str| {
        let window = text.parse().unwrap();
        [sunday(window), fifteenth(window), late(window)]
    };
    assert_eq!(accepted("week"), [true, false, true]);
    for text in ["month", "3mo"] {
        assert_eq!(accepted(text), [false, true, true], "{text}");
    }
    for text in ["day", "year"] {
        assert_eq!(accepted(text), [false, false, true], "{text}");
    }
    for text in ["minute", "hour", "5h", "1d", "lifetime", "rolling 1d", "1d from first use"] {
        assert_eq!(accepted(text), [false; 3], "{text}");
    }
    let error = Window::Day.week_starts(Weekday::Sunday).unwrap_err();
    assert_eq!(error.to_string(), "a day window has no week_start: a week has one");
    assert_eq!(Window::Month.month_day(0), Err(WindowError::MonthDay(0)));
    assert_eq!(Window::Day.month_day(32), Err(WindowError::MonthDay(32)));
}

#[test]
fn months_that_are_shorter_than_their_anchor_day_start_on_their_last_day() {
    let month = Window::Month.month_day(31).unwrap();
    let mut start: Timestamp = "2023-12-31T00:00:00Z".parse().unwrap();
    let mut starts = Vec::new();
    for _ in 0..6 {
        starts.push(start.to_string()[5..10].to_owned());
        start = month.bounds(start).unwrap().end;
    }
    assert_eq!(starts, ["12-31", "01-31", "02-29", "03-31", "04-30", "05-31"]);
    assert_eq!(month.label(start), "2024-06-30");
}

#[test]
fn labels_and_texts_tell_windows_apart() {
    let now: Timestamp = "2026-02-04T08:00:00Z".parse().unwrap();
    let late = |window: Window| window.reset_at("09:30".parse().unwrap()).unwrap();
    let cases = [
        (late(Window::Day), "day at 09:30", "2026-02-03"),
        (late(Window::Week), "week at 09:30", "2026-W06"),
        (Window::Week.week_starts(Weekday::Sunday).unwrap(), "week from sunday", "2026-02-01"),
        (late(Window::Month), "month at 09:30", "2026-02"),
        (late(Window::Month.month_day(15).unwrap()), "month from day 15 at 09:30", "2026-01-15"),
        (late(Window::Year), "year at 09:30", "2026"),
        (late(Window::Months(NonZeroU32::new(3).unwrap())), "3mo at 09:30", "2026-01"),
        (Window::rolling(18_000).unwrap(), "rolling 5h", "rolling 5h"),
        (Window::from_first_use(90).unwrap(), "90s from first use", "90s from first use"),
    ];
    for (window, text, label) in cases {
        assert_eq!((window.to_string().as_str(), window.label(now).as_str()), (text, label));
    }
}

#[test]
fn windows_that_depend_on_use_have_numbers_but_no_bounds() {
    let rolling = Window::rolling(18_000).unwrap();
    let first_use = Window::from_first_use(18_000).unwrap();
    let at = |seconds: i64| Timestamp::from_seconds(seconds);
    assert_eq!([0, 299, 300, -1].map(|seconds| rolling.index(at(seconds))), [0, 0, 1, -1]);
    assert_eq!([0, 17_999, 18_000, -1].map(|seconds| first_use.index(at(seconds))), [0, 0, 1, -1]);
    for window in [rolling, first_use] {
        assert_eq!((window.bounds(at(7)), window.length(at(7))), (None, Some(Duration::from_secs(18_000))));
    }
    assert_eq!(rolling.cap_max(), Window::every(18_000).unwrap().cap_max());
    assert_eq!(Window::rolling(365 * 86_400).unwrap().cap_max(), (1 << 54) - 2);
    for seconds in [1, 18_000, 365 * 86_400] {
        assert_eq!(Window::from_first_use(seconds).unwrap().cap_max(), (1 << 48) - 2);
    }
    assert_eq!(rolling.shortest_micros(), Some(300_000_000));
    assert_eq!((rolling.adjective(), first_use.adjective()), ("rolling 5h".to_owned(), "5h".to_owned()));
}
