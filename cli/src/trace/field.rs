//! Single values: counts, ids, instants, costs and pieces of JSON. Each error names the field and quotes the text.

use std::borrow::Cow;

use encumber::{SUBJECT_ID_BYTES_MAX, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Seconds from 1970-01-01T00:00:00Z to the end of the year 9999, the last that RFC 3339 can write.
const SECONDS_MAX: u64 = 253_402_300_799;
/// A nano-dollar has this many decimals.
const NANO_DECIMALS: i64 = 9;

/// A number of tokens.
pub(super) fn count(name: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{name}: {} is not a whole number of tokens", quoted(text)));
    }
    text.parse().map_err(|_| format!("{name}: {} is more than {}", quoted(text), u64::MAX))
}

/// Who or what is named: any text of 1 to [`SUBJECT_ID_BYTES_MAX`] bytes.
pub(super) fn id(name: &str, text: &str) -> Result<Box<str>, String> {
    match text.len() {
        0 => Err(format!("{name}: empty")),
        1..=SUBJECT_ID_BYTES_MAX => Ok(text.into()),
        bytes => Err(format!("{name}: {bytes} bytes, more than {SUBJECT_ID_BYTES_MAX}")),
    }
}

/// An instant as RFC 3339.
pub(super) fn instant(name: &str, text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("{name}: {error}"))
}

/// A whole number of seconds since 1970-01-01T00:00:00Z.
pub(super) fn unix_seconds(name: &str, text: &str) -> Result<Timestamp, String> {
    whole_up_to(text, SECONDS_MAX)
        .map(Timestamp::from_seconds)
        .ok_or_else(|| format!("{name}: {} is not a whole number of Unix seconds up to {SECONDS_MAX}", quoted(text)))
}

/// A whole number of milliseconds since 1970-01-01T00:00:00Z.
pub(super) fn unix_millis(name: &str, text: &str) -> Result<Timestamp, String> {
    let millis_max = SECONDS_MAX * 1_000;
    whole_up_to(text, millis_max)
        .map(Timestamp::from_millis)
        .ok_or_else(|| format!("{name}: {} is not a whole number of milliseconds up to {millis_max}", quoted(text)))
}

fn whole_up_to(text: &str, max: u64) -> Option<i64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|number| digits && *number <= max)?;
    i64::try_from(number).ok()
}

/// A JSON number of dollars as nano-dollars, from its digits and rounded up: never below what is written.
pub(super) fn nanos(name: &str, text: &str) -> Result<u64, String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = !whole.is_empty() && [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let exponent = exponent.parse::<i32>().ok().filter(|_| is_number);
    let exponent = exponent.ok_or_else(|| format!("{name}: {} is not a number of dollars from 0 up", quoted(text)))?;
    let digits = [whole, fraction].concat();
    let shift = i64::from(exponent) - fraction.len() as i64 + NANO_DECIMALS;
    nanos_of_digits(digits.trim_start_matches('0'), shift)
        .ok_or_else(|| format!("{name}: {} dollars are more than can be held", quoted(text)))
}

/// `digits` times ten to the power of `shift`, rounded up.
fn nanos_of_digits(digits: &str, shift: i64) -> Option<u64> {
    let zeros = usize::try_from(shift).unwrap_or(0);
    let dropped = usize::try_from(-shift).unwrap_or(0).min(digits.len());
    let (kept, rest) = digits.split_at(digits.len() - dropped);
    let up = u64::from(rest.bytes().any(|b| b != b'0'));
    if kept.is_empty() {
        return Some(up);
    }
    let power = 10_u64.checked_pow(u32::try_from(zeros).ok()?)?;
    kept.parse::<u64>().ok()?.checked_mul(power)?.checked_add(up)
}

/// The JSON object that `text` is.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    if !text.trim_start().starts_with('{') {
        return Err(format!("{} is not a JSON object", quoted(text)));
    }
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// Why a text is not the JSON that was looked for. The parser knows of one line only, so its line number is left out.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let cause = text.rsplit_once(" at line ").map_or(&*text, |(cause, _)| cause);
    format!("not valid JSON at column {}: {cause}", error.column())
}

/// The value of a field that must be there.
pub(super) fn present<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<&'a str, String> {
    raw.map(RawValue::get).ok_or_else(|| format!("{name}: missing"))
}

/// The text that a JSON value is; `None` when it is absent or null.
pub(super) fn text<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, String> {
    let Some(raw) = raw else { return Ok(None) };
    plain_text(raw.get()).map(Some).ok_or_else(|| format!("{name}: {} is not text", quoted(raw.get())))
}

fn plain_text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// At most 64 characters of a text, quoted and escaped.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(64) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_and_fit() {
        assert_eq!(count("n", "18446744073709551615"), Ok(u64::MAX));
        assert_eq!(count("n", "-3").unwrap_err(), "n: \"-3\" is not a whole number of tokens");
        for bad in ["", "+1", "1.0", "1e3", " 1", "٣", "null"] {
            assert!(count("n", bad).unwrap_err().contains("not a whole number"), "{bad:?}");
        }
        assert_eq!(
            count("n", "18446744073709551616").unwrap_err(),
            "n: \"18446744073709551616\" is more than 18446744073709551615"
        );
    }

    #[test]
    fn costs_are_read_from_their_digits_and_rounded_up() {
        for (text, expected) in [
            ("0", 0),
            ("0.0", 0),
            ("0e99", 0),
            ("0.028194000000000004", 28_194_001),
            ("0.028194", 28_194_000),
            ("9.855e-05", 98_550),
            ("1e-10", 1),
            ("1E-2147483648", 1),
            ("9990.01252875", 9_990_012_528_750),
            ("1.5e+3", 1_500_000_000_000),
            ("18446744073.709551615", u64::MAX),
            ("18446744073.7095516140000000000000000000000001", u64::MAX),
        ] {
            assert_eq!(nanos("cost", text), Ok(expected), "{text}");
        }
        for bad in ["-1", "-0", "", ".", "NaN", "1e", "\"1\"", "1e9999999999", "true"] {
            assert!(nanos("cost", bad).unwrap_err().contains("not a number of dollars"), "{bad:?}");
        }
        for large in ["18446744073.7095516150001", "1e11", "1e2147483647", "99999999999999999999999"] {
            assert!(nanos("cost", large).unwrap_err().contains("more than can be held"), "{large:?}");
        }
    }

    #[test]
    fn errors_quote_no_more_than_64_characters() {
        let error = count("n", &"ж".repeat(1_000)).unwrap_err();
        assert!(error.chars().count() < 120, "{error}");
    }
}
