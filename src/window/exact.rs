//! A window as text that says all of it, settings and anchors included: what budgets on disk are known by.

use std::fmt;

use super::{Calendar, Grid, TimeOfDay, Weekday, Window, Zone};
use crate::time::Timestamp;

/// Displays as the window's text with its settings behind it: `week;zone=Europe/Berlin;week_start=sunday`.
pub(crate) struct Exact<'a>(pub(crate) &'a Window);

impl fmt::Display for Exact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Window::Calendar(calendar) => {
                write!(f, "{}", calendar.unit())?;
                let (zone, start) = (calendar.zone(), calendar.week_start());
                if !zone.is_utc() {
                    write!(f, ";zone={zone}")?;
                }
                if start != Weekday::Monday {
                    write!(f, ";week_start={start}")?;
                }
                if calendar.month_day() != 1 {
                    write!(f, ";month_day={}", calendar.month_day())?;
                }
                if calendar.reset_at() != TimeOfDay::MIDNIGHT {
                    write!(f, ";reset_at={}", calendar.reset_at())?;
                }
                Ok(())
            }
            Window::Every(Grid { anchor, .. }) if *anchor != Timestamp::UNIX_EPOCH => {
                write!(f, "{};anchor={}", self.0, anchor.as_micros())
            }
            plain => plain.fmt(f),
        }
    }
}

impl Window {
    /// The window that [`Exact`] writes so.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn from_exact(text: &str) -> Result<Self, String> {
        let mut settings = text.split(';');
        let plain: Self = settings.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
        settings.try_fold(plain, |window, setting| {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            let set = match name {
                "zone" => return window.in_zone(Zone::new(value).map_err(text_of)?).map_err(text_of),
                "week_start" => value.parse().and_then(|day| window.week_starts(day)),
                "month_day" => window.month_day(value.parse().map_err(text_of)?),
                "reset_at" => value.parse().and_then(|time| window.reset_at(time)),
                "anchor" => Ok(window.anchored(Timestamp::from_micros(value.parse().map_err(text_of)?))),
                _ => return Err(format!("a window has no setting {name:?}")),
            };
            set.map_err(text_of)
        })
    }
}

fn text_of(error: impl fmt::Display) -> String {
    error.to_string()
}

impl Calendar {
    /// For tests: every setting at once.
    #[cfg(all(test, not(loom)))]
    fn all_set() -> Result<Window, super::WindowError> {
        Window::Month.month_day(15)?.reset_at("23:30:15".parse()?)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_window_comes_back_as_it_was() {
        let plain = ["minute", "day", "week", "3mo", "lifetime", "5h", "rolling 5h", "5h from first use"];
        let mut windows: Vec<Window> = plain.iter().map(|text| text.parse().unwrap()).collect();
        windows.push(Window::every_from(7, Timestamp::from_micros(-3)).unwrap());
        windows.push(Calendar::all_set().unwrap());
        windows.push(Window::Week.week_starts(Weekday::Sunday).unwrap());
        #[cfg(feature = "time-zones")]
        windows.push(Window::Day.in_zone(Zone::new("Europe/Berlin").unwrap()).unwrap());
        for window in windows {
            let text = Exact(&window).to_string();
            assert_eq!(Window::from_exact(&text).as_ref(), Ok(&window), "{text}");
        }
    }

    #[test]
    fn what_is_no_window_is_an_error() {
        for text in ["", "fortnight", "day;zone=Nowhere/Land", "day;colour=red", "month;month_day=32", "5h;anchor=x"] {
            assert!(Window::from_exact(text).is_err(), "{text}");
        }
    }
}
