//! Reading the arguments of steps and the fields of setups.

use encumber::{Cap, Ratio, Timestamp};
use serde_json::Value;

/// A count as cases write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// A whole number from 0 to 2^64-1.
    Whole(u64),
    /// A whole number below 0.
    Negative,
    /// Not a whole number.
    Invalid,
}

impl Amount {
    pub(crate) fn of(value: &Value) -> Self {
        match (value.as_u64(), value.as_i64()) {
            (Some(whole), _) => Self::Whole(whole),
            (None, Some(_)) => Self::Negative,
            (None, None) => Self::Invalid,
        }
    }

    /// The number, negative ones clamped to 0.
    pub(crate) fn clamped(self) -> Option<u64> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Negative => Some(0),
            Self::Invalid => None,
        }
    }

    /// The number, if it is not negative.
    pub(crate) fn whole(self) -> Option<u64> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Negative | Self::Invalid => None,
        }
    }
}

/// A text that must be there.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str, String> {
    object[name].as_str().ok_or_else(|| format!("{name} is {}, not a text", object[name]))
}

/// An instant that must be there.
pub(crate) fn instant(object: &Value, name: &str) -> Result<Timestamp, String> {
    text(object, name)?.parse().map_err(|error| format!("{name}: {error}"))
}

/// A count that must be there, whatever it is.
pub(crate) fn amount(object: &Value, name: &str) -> Result<Amount, String> {
    if object[name].is_null() { Err(format!("{name} is missing")) } else { Ok(Amount::of(&object[name])) }
}

/// A list that must be there.
pub(crate) fn list<'a>(object: &'a Value, name: &str) -> Result<&'a [Value], String> {
    object[name].as_array().map(Vec::as_slice).ok_or_else(|| format!("{name} is {}, not a list", object[name]))
}

/// The texts of a list that must be there.
pub(crate) fn texts(object: &Value, name: &str) -> Result<Vec<String>, String> {
    let texts = list(object, name)?.iter().map(|text| text.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| format!("{name} holds other than texts"))
}

/// The fields of an object; of nothing, when it is null.
pub(crate) fn fields<'a>(object: &'a Value, name: &str) -> Result<Vec<(&'a str, &'a Value)>, String> {
    match &object[name] {
        Value::Null => Ok(Vec::new()),
        Value::Object(fields) => Ok(fields.iter().map(|(key, value)| (key.as_str(), value)).collect()),
        other => Err(format!("{name} is {other}, not an object")),
    }
}

/// That an object has no other fields than these: what a case sets up and the runner ignores would not be tested.
pub(crate) fn known_fields(object: &Value, known: &[&str]) -> Result<(), String> {
    let unknown = object.as_object().and_then(|fields| fields.keys().find(|key| !known.contains(&key.as_str())));
    unknown.map_or(Ok(()), |key| Err(format!("the runner does not know the setup {key:?}")))
}

/// An exact number, written as a text or as a number of JSON; `None` when it is negative or none.
pub(crate) fn ratio(value: &Value) -> Option<Ratio> {
    decimal(value)?.parse().ok()
}

/// The text of a number.
pub(crate) fn decimal(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A cap: a whole number or `"unlimited"`; `None` for anything else.
pub(crate) fn cap(value: &Value, zero_is_unlimited: bool) -> Option<Cap> {
    match value {
        Value::String(text) if text == "unlimited" => Some(Cap::Unlimited),
        _ if zero_is_unlimited => Amount::of(value).whole().map(Cap::from_zero_unlimited),
        _ => Amount::of(value).whole().map(Cap::Max),
    }
}
