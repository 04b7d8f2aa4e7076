//! Caps from dynamic sources: flag services, databases, other people's JSON.

use std::fmt;

use serde_json::Value;

use super::Cap;

impl Cap {
    /// The cap that a dynamic source gives: a whole number from 0 to 2^64-1, and nothing else. Neither clamped, nor cut, nor converted: a
    /// source that says something else has failed, and the caller goes on with what it had before.
    ///
    /// 0 admits nothing; where the source means "unlimited" by it, use [`Cap::from_zero_unlimited`] on the number.
    ///
    /// ```
    /// use encumber::{Cap, CapValueError};
    /// use serde_json::json;
    /// assert_eq!(Cap::from_json(&json!(2_500_000)), Ok(Cap::Max(2_500_000)));
    /// assert_eq!(Cap::from_json(&json!(-1)), Err(CapValueError::Negative));
    /// assert_eq!(Cap::from_json(&json!(2.9)), Err(CapValueError::NotWhole));
    /// let fallback = Cap::Max(1_000);
    /// assert_eq!(Cap::from_json(&json!(true)).unwrap_or(fallback), fallback);
    /// ```
    ///
    /// # Errors
    /// When the value is no number (a text of digits and `true` are none), is below 0, has a fraction or an exponent (`2.0`), or is above
    /// 2^64-1.
    pub fn from_json(value: &Value) -> Result<Self, CapValueError> {
        let Value::Number(number) = value else {
            return Err(CapValueError::NotANumber(match value {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::String(_) => "a text",
                Value::Array(_) => "a list",
                Value::Object(_) | Value::Number(_) => "an object",
            }));
        };
        match number.as_u64() {
            Some(max) => Ok(Self::Max(max)),
            None if number.to_string().starts_with('-') => Err(CapValueError::Negative),
            None => Err(CapValueError::NotWhole),
        }
    }
}

/// A value of a dynamic source that is no cap, from [`Cap::from_json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapValueError {
    /// It is no number; what it is instead.
    NotANumber(&'static str),
    /// It is below 0.
    Negative,
    /// It has a fraction or an exponent, or is above 2^64-1.
    NotWhole,
}

impl fmt::Display for CapValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit is a whole number from 0 to 18446744073709551615, not ")?;
        f.write_str(match self {
            Self::NotANumber(what) => what,
            Self::Negative => "a negative number",
            Self::NotWhole => "a fraction or a larger number",
        })
    }
}

impl std::error::Error for CapValueError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Cap, CapValueError> {
        Cap::from_json(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn whole_numbers_are_caps() {
        for (text, max) in [("0", 0), ("1", 1), ("9007199254740993", 9_007_199_254_740_993)] {
            assert_eq!(read(text), Ok(Cap::Max(max)), "{text}");
        }
        assert_eq!(read("18446744073709551615"), Ok(Cap::Max(u64::MAX)));
    }

    #[test]
    fn nothing_else_is_a_cap() {
        for text in ["-1", "-9223372036854775808", "-0.5", "-1e40"] {
            assert_eq!(read(text), Err(CapValueError::Negative), "{text}");
        }
        for text in ["2.9", "2.0", "1e6", "18446744073709551616", "0.0"] {
            assert_eq!(read(text), Err(CapValueError::NotWhole), "{text}");
        }
        for text in ["null", "true", "false", "\"5\"", "\"\"", "\"unlimited\"", "[]", "[5]", "{}"] {
            assert!(matches!(read(text), Err(CapValueError::NotANumber(_))), "{text}");
        }
    }

    #[test]
    fn errors_say_what_was_found() {
        let text = read("true").unwrap_err().to_string();
        assert_eq!(text, "a limit is a whole number from 0 to 18446744073709551615, not a boolean");
    }
}
