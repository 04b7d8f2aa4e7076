//! When a budget resets next: windows in time zones, from a time of day on.

use std::num::NonZeroU32;

use encumber::{Period, TimeOfDay, Timestamp, Window, WindowError, Zone};
use serde_json::{Value, json};

use crate::{args, windows};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// The end of the window that holds `now`: of a day, a week from Monday on or a number of months by the local calendar, which start at
/// a time of day; or of a slice of another length.
pub(crate) fn next_reset(step: &Value, now: Timestamp) -> Result<Value, String> {
    let text = |field: &str, absent: &'static str| {
        if step[field].is_null() { Ok(absent.to_owned()) } else { args::text(step, field).map(str::to_owned) }
    };
    let (zone, time) = (text("timezone", "UTC")?, text("time_of_day", "00:00:00")?);
    Ok(match reset_at(args::text(step, "every")?, &zone, &time, now) {
        Ok(at) => json!({ "reset_at": windows::shown(at) }),
        Err(error) => json!({ "error": error }),
    })
}

fn reset_at(every: &str, zone: &str, time: &str, now: Timestamp) -> Result<Timestamp, String> {
    let zone = Zone::new(zone).map_err(|error| error.to_string())?;
    let time: TimeOfDay = time.parse().map_err(|error: WindowError| error.to_string())?;
    let period = every.parse().or_else(|error| Period::from_word(every).ok_or(error));
    let period = period.map_err(|error: encumber::PeriodError| error.to_string())?;
    let calendar = |window: Window| Ok(end(window.in_zone(zone)?.reset_at(time)?, now));
    let end = match period {
        Period::Seconds(DAY) => calendar(Window::Day),
        Period::Seconds(WEEK) => calendar(Window::Week),
        Period::Seconds(seconds) if DAY.is_multiple_of(seconds) => next_local_multiple(seconds, zone, now),
        Period::Seconds(seconds) => Window::every(seconds).map(|window| end(window, now)),
        Period::Months(1) => calendar(Window::Month),
        Period::Months(months) => {
            let months = u32::try_from(months).ok().and_then(NonZeroU32::new);
            months.map(Window::Months).ok_or_else(|| WindowError::Period(every.into())).and_then(calendar)
        }
    };
    end.map_err(|error| error.to_string())
}

/// The end of a slice that divides the day, on a grid from local midnight on.
///
/// An hour and its parts go on evenly over a change of the clock. Longer slices keep to the hours that the clock shows, so that the one
/// with the change is longer or shorter, as the day is.
fn next_local_multiple(seconds: u64, zone: Zone, now: Timestamp) -> Result<Timestamp, WindowError> {
    let day = Window::Day.in_zone(zone)?;
    if HOUR.is_multiple_of(seconds) {
        let midnight = day.bounds(now).map_or(now, |bounds| bounds.start);
        return Ok(end(Window::every_from(seconds, midnight)?, now));
    }
    let mut first = Timestamp::MAX;
    for second in (0..DAY).step_by(usize::try_from(seconds).unwrap_or(usize::MAX)) {
        let part = |unit: u64, of: u64| u8::try_from(second / unit % of).unwrap_or(0);
        let time = TimeOfDay::new(part(HOUR, 24), part(60, 60), part(1, 60))?;
        first = first.min(end(day.reset_at(time)?, now));
    }
    Ok(first)
}

fn end(window: Window, now: Timestamp) -> Timestamp {
    window.bounds(now).map_or(Timestamp::MAX, |bounds| bounds.end)
}
