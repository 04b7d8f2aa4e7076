//! Windows and lengths of time.

use encumber::{Period, Timestamp, Window};
use serde_json::{Value, json};

use crate::args;

/// The window that `period` names; `fixed` is a grid of `seconds` from `anchor`. The error is the one that results carry.
pub(crate) fn window(of: &Value) -> Result<Window, &'static str> {
    match of["period"].as_str() {
        Some("fixed") => {
            let (Some(seconds), Ok(anchor)) = (of["seconds"].as_u64(), args::instant(of, "anchor")) else {
                return Err("invalid_config");
            };
            Window::every_from(seconds, anchor).map_err(|_| "invalid_config")
        }
        Some(period) => period.parse().map_err(|_| "unknown_period"),
        None => Err("unknown_period"),
    }
}

pub(crate) fn period_bounds(step: &Value, now: Timestamp) -> Value {
    match window(step).map(|window| window.bounds(now)) {
        Ok(bounds) => json!({ "start": bounds.map(|b| shown(b.start)), "end": bounds.map(|b| shown(b.end)) }),
        Err(error) => json!({ "error": error }),
    }
}

pub(crate) fn window_label(step: &Value, now: Timestamp) -> Value {
    match window(step) {
        Ok(window) => json!({ "label": window.label(now) }),
        Err(error) => json!({ "error": error }),
    }
}

/// Strictly first; then the words.
pub(crate) fn parse_duration(step: &Value) -> Result<Value, String> {
    let text = args::text(step, "text")?;
    let period = text.parse().or_else(|error| Period::from_word(text).ok_or(error));
    Ok(match period {
        Ok(Period::Seconds(seconds)) => json!({ "seconds": seconds }),
        Ok(Period::Months(months)) => json!({ "months": months }),
        Err(error) => json!({ "error": error.to_string() }),
    })
}

/// An instant as results write it.
pub(crate) fn shown(at: Timestamp) -> String {
    at.to_string()
}
