//! The charts of a report: spent by day, spent since the start of the month, refusals by day.

use encumber::{Enforcement, Unit};

use super::axis::{Scale, day_ticks};
use super::chart::{CapLine, Chart, Series};
use super::escape::escape;
use super::number::{counted, grouped, rounded, with_unit, word};
use super::{Labelled, at, each};
use crate::report::{LimitReport, Report, ResourceReport, Slice};

/// A cap this many times the highest bar would flatten the bars: it is told instead of drawn.
const CAP_ABOVE_DATA_MAX: u128 = 4;
const NO_CALLS: &str = "<p>The trace has no calls: there is nothing to draw.</p>";
/// The classes of the limits that get a layer of their own; the rest share one.
const LAYERS: [&str; 5] = ["l0", "l1", "l2", "l3", "l4"];
const OTHER_LAYER: &str = "l5";

/// Spent and offered by day, and by month where a limit asks for it: one row of charts per resource.
pub(super) fn spend(reports: &[Labelled]) -> String {
    if reports.iter().all(|labelled| labelled.report.days.is_empty()) {
        return NO_CALLS.to_owned();
    }
    let mut out = String::new();
    for resource in resources(reports) {
        out.push_str(&spend_row(reports, resource, Span::Day));
        let by_month = |report: &Report| caps(report, resource, Span::Month).next().is_some();
        if reports.iter().any(|labelled| by_month(labelled.report)) {
            out.push_str(&spend_row(reports, resource, Span::Month));
        }
    }
    if out.is_empty() { "<p>The policy counts no resource.</p>".to_owned() } else { out }
}

/// Refused calls by day and by the limit that refused them.
pub(super) fn refusals(reports: &[Labelled]) -> String {
    let highest = reports.iter().flat_map(|labelled| &labelled.report.days).map(|day| day.denied).max();
    let scale = Scale::new(Unit::Count, highest.unwrap_or(0).into());
    let order = refusing_ids(reports);
    let figures = each(reports, |labelled| match labelled.report.denied {
        0 => labelled.panel("<p>No call was refused.</p>"),
        _ => labelled.panel(&refusal_chart(labelled, &scale, &order).figure()),
    });
    format!(r#"<div class="row">{figures}</div>"#)
}

/// The span whose caps a chart is held against.
#[derive(Clone, Copy, PartialEq)]
enum Span {
    Day,
    Month,
}

impl Span {
    const fn window(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The amounts as they are charted: as they are, or added up since the start of the month.
    fn accumulate(self, days: &[Slice], amounts: Vec<u128>) -> Vec<u128> {
        if self == Self::Day {
            return amounts;
        }
        let (mut month, mut sum) = ("", 0_u128);
        let mut out = Vec::with_capacity(amounts.len());
        for (day, amount) in days.iter().zip(amounts) {
            let this_month = day.name.get(..7).unwrap_or("");
            sum = if this_month == month { sum.saturating_add(amount) } else { amount };
            month = this_month;
            out.push(sum);
        }
        out
    }
}

/// The first report's resources, and those that only a later one has.
fn resources<'a>(reports: &[Labelled<'a>]) -> Vec<&'a ResourceReport> {
    let mut found: Vec<&ResourceReport> = Vec::new();
    for resource in reports.iter().flat_map(|labelled| &labelled.report.resources) {
        if !found.iter().any(|known| same(known, resource)) {
            found.push(resource);
        }
    }
    found
}

fn same(one: &ResourceReport, other: &ResourceReport) -> bool {
    one.name == other.name && one.unit == other.unit
}

/// Limits on everybody together, of this resource and span.
fn caps<'a>(
    report: &'a Report,
    resource: &'a ResourceReport,
    span: Span,
) -> impl Iterator<Item = (&'a LimitReport, u64)> {
    let of_resource = |limit: &LimitReport| report.resources.get(limit.resource).is_some_and(|it| same(it, resource));
    let fits =
        move |limit: &&LimitReport| limit.kind == "global" && limit.window == span.window() && of_resource(limit);
    report.limits.iter().filter(fits).filter_map(|limit| Some((limit, limit.cap.max()?)))
}

/// What is charted of one report.
struct Amounts {
    spent: Vec<u128>,
    /// Offered and not spent.
    unspent: Vec<u128>,
}

impl Amounts {
    fn of(report: &Report, resource: &ResourceReport, span: Span) -> Option<Self> {
        let index = report.resources.iter().position(|it| same(it, resource))?;
        let spent = report.days.iter().map(|day| at(&day.spent, index)).collect();
        let unspent = |day: &Slice| at(&day.offered, index).saturating_sub(at(&day.spent, index));
        let unspent = report.days.iter().map(unspent).collect();
        Some(Self { spent: span.accumulate(&report.days, spent), unspent: span.accumulate(&report.days, unspent) })
    }

    fn highest(&self) -> u128 {
        self.spent.iter().zip(&self.unspent).map(|(spent, unspent)| spent.saturating_add(*unspent)).max().unwrap_or(0)
    }
}

fn spend_row(reports: &[Labelled], resource: &ResourceReport, span: Span) -> String {
    let amounts: Vec<_> = reports.iter().map(|it| Amounts::of(it.report, resource, span)).collect();
    let data_max = amounts.iter().flatten().map(Amounts::highest).max().unwrap_or(0);
    let drawn_max = data_max.saturating_mul(CAP_ABOVE_DATA_MAX);
    let caps = reports.iter().flat_map(|it| caps(it.report, resource, span)).map(|(_, cap)| u128::from(cap));
    let scale = Scale::new(resource.unit, caps.filter(|cap| *cap <= drawn_max).fold(data_max, u128::max));
    let mut panels = String::new();
    for (labelled, amounts) in reports.iter().zip(amounts) {
        panels.push_str(&labelled.panel(&match amounts {
            None => format!("<p>This policy does not count <bdi>{}</bdi>.</p>", escape(&resource.name)),
            Some(_) if labelled.report.days.is_empty() => NO_CALLS.to_owned(),
            Some(amounts) => {
                spend_chart(labelled, resource, span, amounts, &scale).figure()
                    + &undrawn_limits(labelled.report, resource, span, &scale)
            }
        }));
    }
    format!(r#"<div class="row">{panels}</div>"#)
}

fn spend_chart<'a>(
    labelled: &Labelled<'a>,
    resource: &'a ResourceReport,
    span: Span,
    amounts: Amounts,
    scale: &'a Scale,
) -> Chart<'a> {
    let days = &labelled.report.days;
    let place = labelled.report.resources.iter().position(|it| same(it, resource)).unwrap_or(0);
    let (title, since) = match span {
        Span::Day => ("Spent by day", ""),
        Span::Month => ("Spent since the start of the month", " since the month began"),
    };
    let tooltip = |(index, day): (usize, &Slice)| {
        let (spent, unspent) = (amounts.spent[index], rounded(resource.unit, amounts.unspent[index]));
        format!("{}: {} spent{since}, {unspent} refused", day.name, with_unit(resource, spent))
    };
    Chart {
        id: format!("{}-{}-{place}", labelled.id, span.window()),
        title: format!("{title}, {}", word(resource)),
        summary: spend_summary(days, resource, span, &amounts),
        scale,
        days: days.iter().enumerate().map(tooltip).collect(),
        ticks: day_ticks(days),
        caps: drawn_caps(labelled.report, resource, span, scale),
        series: vec![
            Series { label: "spent".to_owned(), class: "spent", values: amounts.spent },
            Series { label: "refused, so not spent".to_owned(), class: "unspent", values: amounts.unspent },
        ],
    }
}

fn spend_summary(days: &[Slice], resource: &ResourceReport, span: Span, amounts: &Amounts) -> String {
    let highest = amounts.spent.iter().zip(days).max_by_key(|(spent, _)| **spent).filter(|(spent, _)| **spent > 0);
    match (highest, span) {
        (None, _) => "Nothing was spent.".to_owned(),
        (Some((spent, day)), Span::Day) => format!("Most was spent on {}: {}.", day.name, with_unit(resource, *spent)),
        (Some((spent, day)), Span::Month) => {
            format!("The highest month had come to {} on {}.", with_unit(resource, *spent), day.name)
        }
    }
}

fn drawn_caps(report: &Report, resource: &ResourceReport, span: Span, scale: &Scale) -> Vec<CapLine> {
    let drawn = caps(report, resource, span).filter(|(_, cap)| u128::from(*cap) <= scale.top);
    let line = |(limit, cap): (&LimitReport, u64)| CapLine {
        id: limit.id.clone(),
        text: format!("{}{}", rounded(resource.unit, cap.into()), aside(limit.enforcement)),
        amount: cap.into(),
    };
    drawn.map(line).collect()
}

const fn aside(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Hard => "",
        Enforcement::Soft => " (soft)",
        Enforcement::Shadow => " (shadow)",
    }
}

/// Names the limits of this span that the chart has no line for, and why.
fn undrawn_limits(report: &Report, resource: &ResourceReport, span: Span, scale: &Scale) -> String {
    let word = escape(&word(resource)).to_string();
    let too_high = caps(report, resource, span).filter(|(_, cap)| u128::from(*cap) > scale.top);
    let too_high = each(too_high, |(limit, cap)| {
        let cap = escape(&rounded(resource.unit, cap.into())).to_string();
        format!("<li><bdi>{}</bdi> allows {cap} {word}: far above this chart.</li>", escape(&limit.id))
    });
    let apart = report.limits.iter().filter(|limit| limit.kind != "global" && limit.window == span.window());
    let apart = apart.filter(|limit| report.resources.get(limit.resource).is_some_and(|it| same(it, resource)));
    let apart = each(apart.filter_map(|limit| Some((limit, limit.cap.max()?))), |(limit, cap)| {
        let cap = escape(&rounded(resource.unit, cap.into())).to_string();
        let (id, kind) = (escape(&limit.id), escape(&limit.kind));
        format!("<li><bdi>{id}</bdi> allows each <bdi>{kind}</bdi> {cap} {word}; this chart adds all of them up.</li>")
    });
    if too_high.is_empty() && apart.is_empty() {
        return String::new();
    }
    format!(r#"<ul class="notes">{too_high}{apart}</ul>"#)
}

/// The limits that refused something in any report: a limit looks the same in all of them.
fn refusing_ids<'a>(reports: &[Labelled<'a>]) -> Vec<&'a str> {
    let mut ids = Vec::new();
    for limit in reports.iter().flat_map(|labelled| &labelled.report.limits) {
        if limit.denied > 0 && !ids.contains(&limit.id.as_str()) {
            ids.push(&limit.id);
        }
    }
    ids
}

fn refusal_chart<'a>(labelled: &Labelled<'a>, scale: &'a Scale, order: &[&str]) -> Chart<'a> {
    let report = labelled.report;
    let series = layers(report, order);
    let tooltip = |(index, day): (usize, &Slice)| {
        let calls = counted(day.calls, "call", "calls");
        let by = series.iter().filter(|layer| layer.values[index] > 0);
        let by = each(by, |layer| format!("\n{}: {}", layer.label, grouped(layer.values[index])));
        format!("{}: {} of {calls} refused{by}", day.name, grouped(day.denied.into()))
    };
    let highest = report.days.iter().max_by_key(|day| day.denied);
    Chart {
        id: format!("{}-refusals", labelled.id),
        title: "Refused calls by day".to_owned(),
        summary: highest.map_or(String::new(), |day| {
            format!("Most were refused on {}: {}.", day.name, counted(day.denied, "call", "calls"))
        }),
        scale,
        days: report.days.iter().enumerate().map(tooltip).collect(),
        ticks: day_ticks(&report.days),
        caps: Vec::new(),
        series,
    }
}

/// A layer for each of the first limits in `order`, and one for what the others refused.
fn layers(report: &Report, order: &[&str]) -> Vec<Series> {
    let mut rest: Vec<u128> = report.days.iter().map(|day| day.denied.into()).collect();
    let mut layers = Vec::new();
    for (id, class) in order.iter().zip(LAYERS) {
        let Some(limit) = report.limits.iter().position(|limit| limit.id == *id) else { continue };
        let values: Vec<u128> = report.days.iter().map(|day| at(&day.denied_by, limit).into()).collect();
        for (rest, count) in rest.iter_mut().zip(&values) {
            *rest = rest.saturating_sub(*count);
        }
        if values.iter().any(|count| *count > 0) {
            layers.push(Series { label: (*id).to_owned(), class, values });
        }
    }
    if rest.iter().any(|count| *count > 0) {
        layers.push(Series { label: "other limits".to_owned(), class: OTHER_LAYER, values: rest });
    }
    layers
}
