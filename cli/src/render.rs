//! Replays as tables for people and as JSON for programs.

use std::fmt::Write as _;

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use encumber::{Cap, Enforcement, Unit};
use serde::{Serialize, Serializer};

use crate::replay::Outcome;
use crate::report::{Admission, LimitReport, Report, ResourceReport, Slice};

/// Users in a table.
const USERS_MAX: usize = 20;

/// The result as JSON: an object, or a list of them for several policies.
///
/// # Errors
/// None that an input can cause.
pub(crate) fn json(outcomes: &[Outcome]) -> Result<String> {
    let results: Vec<JsonReport> = outcomes.iter().map(JsonReport::new).collect();
    let text = match results.as_slice() {
        [one] => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(several)?,
    };
    Ok(text + "\n")
}

#[derive(Serialize)]
struct JsonReport<'a> {
    trace: &'a str,
    policy: &'a str,
    admission: &'static str,
    calls: u64,
    admitted: u64,
    denied: u64,
    skipped: u64,
    unpriced: u64,
    #[serde(serialize_with = "amounts")]
    spent: Vec<(&'a str, String)>,
    limits: Vec<JsonLimit<'a>>,
}

#[derive(Serialize)]
struct JsonLimit<'a> {
    id: &'a str,
    denied: u64,
    violated: u64,
    would_refuse: u64,
    windows_hit: u64,
    first_denied: Option<JsonDenial<'a>>,
    peak_over: String,
}

#[derive(Serialize)]
struct JsonDenial<'a> {
    at: String,
    subject: &'a str,
}

impl<'a> JsonReport<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        let report = &outcome.report;
        let spent = report.resources.iter().map(|r| (r.name.as_str(), decimal(r.unit, r.spent)));
        Self {
            trace: &report.trace,
            policy: &report.policy,
            admission: report.admission.name(),
            calls: report.calls,
            admitted: report.admitted,
            denied: report.denied,
            skipped: report.skipped,
            unpriced: outcome.unpriced,
            spent: spent.collect(),
            limits: report.limits.iter().map(|limit| JsonLimit::new(limit, report)).collect(),
        }
    }
}

impl<'a> JsonLimit<'a> {
    fn new(limit: &'a LimitReport, report: &Report) -> Self {
        let first_denied = limit.first_denied.as_ref();
        Self {
            id: &limit.id,
            denied: limit.denied,
            violated: limit.violated,
            would_refuse: limit.would_refuse,
            windows_hit: limit.windows_hit,
            first_denied: first_denied.map(|(at, subject)| JsonDenial { at: at.to_string(), subject }),
            peak_over: report.resources[limit.resource].unit.format(limit.peak_over),
        }
    }
}

/// An object whose keys keep the policy's order.
fn amounts<S: Serializer>(amounts: &[(&str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(amounts.iter().map(|(name, amount)| (name, amount)))
}

/// A sum, exact and without trailing zeros.
fn decimal(unit: Unit, amount: u128) -> String {
    match (u64::try_from(amount), unit) {
        (Ok(amount), _) => unit.format(amount),
        (Err(_), Unit::Usd) => {
            let nanos_per_usd = u128::from(encumber::NANOS_PER_USD);
            // "0", or "0." and the decimals.
            let fraction = unit.format((amount % nanos_per_usd) as u64);
            format!("{}{}", amount / nanos_per_usd, &fraction[1..])
        }
        (Err(_), _) => amount.to_string(),
    }
}

/// The result for people. `contrast` is the same replay with the other way of asking.
pub(crate) fn text(outcomes: &[Outcome], contrast: Option<&Outcome>, max_output: u64) -> String {
    let mut text = String::new();
    match outcomes {
        [one] => {
            text.push_str(&headline(one, max_output));
            text.push_str(&limits(&one.report));
            text.push_str(&users(&one.report));
            if let Some(contrast) = contrast {
                text.push_str(&compare_admissions(&one.report, &contrast.report));
            }
        }
        several => {
            for outcome in several {
                text.push_str(&headline(outcome, max_output));
            }
            text.push_str(&compare_policies(several));
        }
    }
    text.push_str(COUNTERFACTUAL);
    text
}

const COUNTERFACTUAL: &str = "
A replay is counterfactual: it takes the recorded calls as they came, and a call that is refused would have changed
what came after it.
";

fn headline(outcome: &Outcome, max_output: u64) -> String {
    let report = &outcome.report;
    let span = report.span.map_or(String::new(), |(first, last)| {
        let (first, last) = (first.to_string(), last.to_string());
        format!(", {} to {}", &first[..first.len().min(10)], &last[..last.len().min(10)])
    });
    let mut text = format!(
        "{}: {} calls{span}, under {}.\nAdmission {}: {}.\n{} admitted, {} refused; {}.\n",
        plain(&report.trace),
        grouped(report.calls.into()),
        plain(&report.policy),
        report.admission.name(),
        how(report.admission, max_output),
        grouped(report.admitted.into()),
        grouped(report.denied.into()),
        spending(&report.resources),
    );
    if report.skipped > 0 {
        let _ = writeln!(
            text,
            "{} lines or calls passed over: they cannot be read or priced.",
            grouped(report.skipped.into())
        );
    }
    if outcome.unpriced > 0 {
        let _ = writeln!(
            text,
            "{} calls have no price and count as no money, as the policy says (unknown_model).",
            grouped(outcome.unpriced.into())
        );
    }
    text.push('\n');
    text
}

fn how(admission: Admission, max_output: u64) -> String {
    match admission {
        Admission::Reserve => format!(
            "at its start a call reserves its input and {} output tokens,\nat its end it commits what it took",
            grouped(max_output.into())
        ),
        Admission::Charge => "at its start a call is charged what it took".to_owned(),
        Admission::Check => "a call passes while anything is left, and what it took\nis recorded at its end".to_owned(),
    }
}

fn spending(resources: &[ResourceReport]) -> String {
    let one =
        |r: &ResourceReport| format!("{} of {} {} spent", rounded(r.unit, r.spent), rounded(r.unit, r.offered), r.name);
    if resources.is_empty() {
        "nothing is counted".to_owned()
    } else {
        resources.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn limits(report: &Report) -> String {
    if report.limits.is_empty() {
        return "The policy has no limits.\n".to_owned();
    }
    let mut limits = table(&["limit", "at most", "refused", "windows\nhit", "first refused", "over by"]);
    for limit in &report.limits {
        let resource = &report.resources[limit.resource];
        limits.add_row(vec![
            Cell::new(plain(&limit.id)),
            Cell::new(format!("{}\nper {}", cap(limit.cap, resource.unit, &resource.name), limit.window)),
            right(refusals(limit)),
            right(grouped(limit.windows_hit.into())),
            Cell::new(limit.first_denied.as_ref().map_or(String::new(), |(at, subject)| {
                format!("{}\n{}", &at.to_string()[..16].replace('T', " "), plain(subject))
            })),
            right(over(limit, resource.unit)),
        ]);
    }
    limits.trim_fmt() + "\n"
}

fn refusals(limit: &LimitReport) -> String {
    match limit.enforcement {
        Enforcement::Hard => grouped(limit.denied.into()),
        Enforcement::Soft => "soft".to_owned(),
        Enforcement::Shadow => format!("shadow: {}", grouped(limit.would_refuse.into())),
    }
}

fn over(limit: &LimitReport, unit: Unit) -> String {
    match (limit.peak_over, unit) {
        (0, _) => "–".to_owned(),
        (1..5_000_000, Unit::Usd) => "< 0.01".to_owned(),
        (over, _) => rounded(unit, over.into()),
    }
}

fn users(report: &Report) -> String {
    if report.users.is_empty() {
        return String::new();
    }
    let mut header = vec!["user", "calls", "refused"];
    let names: Vec<String> =
        report.resources.iter().flat_map(|r| [format!("{} spent", r.name), format!("{} refused", r.name)]).collect();
    header.extend(names.iter().map(String::as_str));
    let mut users = table(&header);
    for user in report.users.iter().take(USERS_MAX) {
        users.add_row(slice(user, &report.resources));
    }
    let more = report.users.len().saturating_sub(USERS_MAX);
    let note = if more > 0 { format!("and {more} users more\n") } else { String::new() };
    format!("\n{}\n{note}", users.trim_fmt())
}

fn slice(slice: &Slice, resources: &[ResourceReport]) -> Vec<Cell> {
    let mut row =
        vec![Cell::new(plain(&slice.name)), right(grouped(slice.calls.into())), right(grouped(slice.denied.into()))];
    for (index, resource) in resources.iter().enumerate() {
        let (spent, offered) = (slice.spent[index], slice.offered[index]);
        row.push(right(rounded(resource.unit, spent)));
        row.push(right(rounded(resource.unit, offered.saturating_sub(spent))));
    }
    row
}

/// The same calls under the same policy, asked for in two ways.
fn compare_admissions(one: &Report, other: &Report) -> String {
    let way = match other.admission {
        Admission::Check => "if a call only had to find something left (check, then record, as most systems do today)",
        Admission::Reserve | Admission::Charge => "if a call had reserved what it may take",
    };
    let reports = [one, other];
    let mut table = comparison([one.admission.name(), other.admission.name()].map(ToOwned::to_owned), &reports);
    for (index, limit) in one.limits.iter().enumerate() {
        let unit = one.resources[limit.resource].unit;
        let mut row = vec![Cell::new(format!("{} over by", plain(&limit.id)))];
        row.extend(reports.iter().map(|report| right(over(&report.limits[index], unit))));
        table.add_row(row);
    }
    format!("\nWhy the way of asking matters: the same calls under the same policy,\n{way}.\n{}\n", table.trim_fmt())
}

/// Two policies, side by side.
fn compare_policies(outcomes: &[Outcome]) -> String {
    let reports: Vec<&Report> = outcomes.iter().map(|outcome| &outcome.report).collect();
    let mut table = comparison(reports.iter().map(|report| plain(&report.policy)), &reports);
    for id in in_order(reports.iter().flat_map(|report| &report.limits).map(|limit| limit.id.as_str())) {
        let mut row = vec![Cell::new(format!("refused by {}", plain(id)))];
        row.extend(reports.iter().map(|report| {
            let limit = report.limits.iter().find(|limit| limit.id == id);
            right(limit.map_or("no such limit".to_owned(), refusals))
        }));
        table.add_row(row);
    }
    table.trim_fmt() + "\n"
}

/// What reports admit, refuse and spend, a column each.
fn comparison(names: impl IntoIterator<Item = String>, reports: &[&Report]) -> Table {
    let names: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    let mut table = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: String, of: &dyn Fn(&Report) -> String| {
        let mut row = vec![Cell::new(name)];
        row.extend(reports.iter().map(|report| right(of(report))));
        table.add_row(row);
    };
    row("admitted".to_owned(), &|report| grouped(report.admitted.into()));
    row("refused".to_owned(), &|report| grouped(report.denied.into()));
    for name in in_order(reports.iter().flat_map(|report| &report.resources).map(|resource| resource.name.as_str())) {
        row(format!("{} spent", plain(name)), &|report| {
            let resource = report.resources.iter().find(|resource| resource.name == name);
            resource.map_or("not counted".to_owned(), |resource| rounded(resource.unit, resource.spent))
        });
    }
    table
}

/// Each name once.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// A line below the header and no other.
const UNDER_HEADER: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// An empty table with these column headings, as wide as the terminal allows.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UNDER_HEADER);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(header.iter().copied());
    table
}

/// A number's cell.
pub(crate) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A cap as people read it.
pub(crate) fn cap(cap: Cap, unit: Unit, resource: &str) -> String {
    match cap {
        Cap::Max(max) => format!("{} {resource}", unit.format(max)),
        Cap::Unlimited => "unlimited".to_owned(),
    }
}

/// Text of others, fit for a terminal: control characters are escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { plain.extend(character.escape_default()) } else { plain.push(character) }
    }
    plain
}

/// An amount for people: dollars to the cent, rounded half up, and digits in groups.
fn rounded(unit: Unit, amount: u128) -> String {
    match unit {
        Unit::Usd => {
            let cents = (amount + 5_000_000) / 10_000_000;
            format!("{}.{:02}", grouped(cents / 100), cents % 100)
        }
        _ => grouped(amount),
    }
}

/// `15036` as `15,036`.
pub(crate) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 thread`, `2 threads`.
pub(crate) fn many(count: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(count.into()), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_beyond_64_bits() {
        let sum = 10 * u128::from(u64::MAX);
        assert_eq!(decimal(Unit::Usd, sum), "184467440737.09551615");
        assert_eq!(decimal(Unit::Usd, 50 * 1_000_000_000 * 1_000_000_000), "50000000000");
        assert_eq!(decimal(Unit::Usd, 739_627_587_850), "739.62758785");
        assert_eq!(decimal(Unit::Count, sum), "184467440737095516150");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_000, 15_036, 1_234_567].map(grouped), ["0", "999", "1,000", "15,036", "1,234,567"]);
        assert_eq!(rounded(Unit::Usd, 1_234_995_000_000), "1,235.00");
        assert_eq!(rounded(Unit::Usd, 4_999_999), "0.00");
        assert_eq!(plain("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\nb");
    }
}
