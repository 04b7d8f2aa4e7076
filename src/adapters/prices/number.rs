//! Objects and numbers of a price file as they are written: a float would not be exact.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::PriceFault;
use crate::amount::Ratio;

/// An object's entries in their order, the values unread.
pub(super) struct Entries<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Entries<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|&(_, value)| value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A field's fault: its name and what is wrong with it.
pub(super) type Wrong = (Box<str>, PriceFault);

/// Reads a part of an entry that has the shape `T`.
pub(super) fn part<'a, T: Deserialize<'a>>(field: &str, raw: &'a RawValue) -> Result<T, Wrong> {
    serde_json::from_str(raw.get()).map_err(|error| (field.into(), PriceFault::Shape(error.to_string().into())))
}

/// The most dollars that a million tokens, or a thousand calls or searches, may cost in a file that is believed.
const DOLLARS_MAX: u128 = 1_000_000;

/// A price as written, times `scale`; `None` for null. A number in quotes counts as that number.
pub(super) fn price(field: &str, raw: &RawValue, scale: u32) -> Result<Option<Ratio>, Wrong> {
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    let wrong = |fault: fn(Box<str>) -> PriceFault| (field.into(), fault(text.chars().take(40).collect()));
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if digits.starts_with('-') {
        return Err(wrong(PriceFault::Negative));
    }
    // A fraction is a fine ratio and no number of JSON.
    let price = digits.parse::<Ratio>().ok().filter(|_| !digits.contains('/'));
    let price = price.and_then(|price| price.product(Ratio::from(scale)));
    let price = price.ok_or_else(|| wrong(PriceFault::NotANumber))?;
    if price.floor() > DOLLARS_MAX { Err(wrong(PriceFault::Absurd)) } else { Ok(Some(price)) }
}

/// A whole number as written, such as `200000` or `200000.0`.
pub(super) fn whole(field: &str, raw: &RawValue) -> Result<u64, Wrong> {
    let number = raw.get().parse::<Ratio>().ok().filter(|number| number.denominator == 1);
    let whole = number.and_then(|number| u64::try_from(number.numerator).ok());
    whole.ok_or_else(|| (field.into(), PriceFault::NotANumber(raw.get().chars().take(40).collect())))
}
