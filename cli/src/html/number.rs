//! Amounts as people read them: rounded in the text, exact in the tooltip.

use std::borrow::Cow;

use encumber::{NANOS_PER_USD, Unit};

use super::escape::escape;
use crate::report::ResourceReport;

const NANOS_PER_CENT: u128 = NANOS_PER_USD as u128 / 100;

/// An amount as a `<data>` element: rounded to read, exact in value and tooltip.
pub(super) fn amount(resource: &ResourceReport, amount: u128) -> String {
    let (exact, word) = (exact(resource.unit, amount), word(resource));
    let word = escape(&word);
    let shown = rounded(resource.unit, amount);
    format!(r#"<data value="{exact}" title="{exact} {word}">{}</data>"#, escape(&shown))
}

/// A rounded amount with its unit, as plain text (not escaped): `739.63 usd`.
pub(super) fn with_unit(resource: &ResourceReport, amount: u128) -> String {
    format!("{} {}", rounded(resource.unit, amount), word(resource))
}

/// What an amount of the resource is followed by: the resource's name, and its unit where the name does not say it. Not
/// escaped.
pub(super) fn word(resource: &ResourceReport) -> Cow<'_, str> {
    match resource.unit {
        Unit::Usd if resource.name != "usd" => Cow::Owned(format!("usd ({})", resource.name)),
        _ => Cow::Borrowed(&resource.name),
    }
}

/// Dollars with two decimals, rounded half up, or a whole number; thousands are grouped.
pub(super) fn rounded(unit: Unit, amount: u128) -> String {
    if unit != Unit::Usd {
        return grouped(amount);
    }
    let cents = amount / NANOS_PER_CENT + u128::from(amount % NANOS_PER_CENT >= NANOS_PER_CENT / 2);
    if cents == 0 && amount > 0 {
        return "<0.01".to_owned();
    }
    format!("{}.{:02}", grouped(cents / 100), cents % 100)
}

/// The amount to its last digit, as [`Unit::format`] writes it, also past `u64`.
pub(super) fn exact(unit: Unit, amount: u128) -> String {
    let nanos = u128::from(NANOS_PER_USD);
    match u64::try_from(amount) {
        Ok(amount) => unit.format(amount),
        Err(_) if unit == Unit::Usd => {
            let fraction = unit.format((amount % nanos) as u64);
            format!("{}{}", amount / nanos, fraction.trim_start_matches('0'))
        }
        Err(_) => amount.to_string(),
    }
}

/// A whole number with its thousands grouped: `10,298`.
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts: `1 call`, `2,000 calls`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number.into()), if number == 1 { one } else { many })
}

/// How much of `whole` is `part`: `31.5%`. Only nothing is 0% and only everything is 100%; `None` of nothing.
pub(super) fn share(part: u128, whole: u128) -> Option<String> {
    let shift = 10_u32.saturating_sub(whole.max(part).leading_zeros());
    let (small_part, small_whole) = (part >> shift, whole >> shift);
    let permille = (small_part * 1_000 + small_whole / 2).checked_div(small_whole)?;
    Some(match permille {
        0 if part > 0 => "<0.1%".to_owned(),
        1_000 if part < whole => ">99.9%".to_owned(),
        permille => format!("{}.{}%", permille / 10, permille % 10),
    })
}

/// `now` against what the first report has: `+12.50 against A`, `−3 against A`, `same as A`.
pub(super) fn difference(unit: Unit, before: u128, now: u128) -> String {
    match now.cmp(&before) {
        std::cmp::Ordering::Less => format!("−{} against A", rounded(unit, before - now)),
        std::cmp::Ordering::Equal => "same as A".to_owned(),
        std::cmp::Ordering::Greater => format!("+{} against A", rounded(unit, now - before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_decimals_and_counts_none() {
        assert_eq!(rounded(Unit::Usd, 739_627_587_850), "739.63");
        assert_eq!(rounded(Unit::Usd, 1_133_950_000_000), "1,133.95");
        assert_eq!(rounded(Unit::Usd, 25_000_000_000), "25.00");
        assert_eq!(rounded(Unit::Usd, 5_000_000), "0.01");
        assert_eq!(rounded(Unit::Usd, 4_999_999), "<0.01");
        assert_eq!(rounded(Unit::Usd, 0), "0.00");
        assert_eq!(rounded(Unit::Count, 1_234_567), "1,234,567");
        assert_eq!(rounded(Unit::Usd, 999_995_000_000), "1,000.00");
    }

    #[test]
    fn exact_goes_past_64_bits() {
        assert_eq!(exact(Unit::Usd, 739_627_587_850), "739.62758785");
        assert_eq!(exact(Unit::Usd, 20_000_000_000_500_000_000), "20000000000.5");
        assert_eq!(exact(Unit::Usd, 20_000_000_000_000_000_000), "20000000000");
        assert_eq!(exact(Unit::Usd, u128::MAX), "340282366920938463463374607431.768211455");
        assert_eq!(exact(Unit::Count, u128::MAX), u128::MAX.to_string());
    }

    #[test]
    fn shares_never_round_to_nothing_or_everything() {
        assert_eq!(share(4_738, 15_036).as_deref(), Some("31.5%"));
        assert_eq!(share(0, 7).as_deref(), Some("0.0%"));
        assert_eq!(share(7, 7).as_deref(), Some("100.0%"));
        assert_eq!(share(1, 100_000).as_deref(), Some("<0.1%"));
        assert_eq!(share(99_999, 100_000).as_deref(), Some(">99.9%"));
        assert_eq!(share(0, 0), None);
        assert_eq!(share(u128::MAX / 2, u128::MAX).as_deref(), Some("50.0%"));
        assert_eq!(share(u128::MAX, 1), None, "too far apart to say");
    }

    #[test]
    fn differences_have_a_sign() {
        assert_eq!(difference(Unit::Usd, 10_000_000_000, 7_500_000_000), "−2.50 against A");
        assert_eq!(difference(Unit::Count, 1_000, 2_500), "+1,500 against A");
        assert_eq!(difference(Unit::Count, 0, 0), "same as A");
    }

    #[test]
    fn an_amount_is_escaped_with_its_unit() {
        let resource = ResourceReport { name: "<b>".to_owned(), unit: Unit::Count, spent: 0, offered: 0 };
        assert_eq!(amount(&resource, 1_500), r#"<data value="1500" title="1500 &lt;b&gt;">1,500</data>"#);
    }
}
