//! The tables of a report: limits, users, sessions, days.

use encumber::{Cap, Enforcement, Timestamp};

use super::chart::px;
use super::escape::escape;
use super::number::{amount, exact, grouped, share, word};
use super::{Labelled, at, each};
use crate::report::{LimitReport, Report, ResourceReport, Slice};

/// The limits of a policy and what each did.
pub(super) fn limits(labelled: &Labelled) -> String {
    let report = labelled.report;
    if report.limits.is_empty() {
        return "<p>The policy has no limits: nothing could be refused.</p>".to_owned();
    }
    let shadowed = report.limits.iter().any(|limit| limit.enforcement == Enforcement::Shadow);
    let would = if shadowed { heading("Would refuse", "n") } else { String::new() };
    let head = each(["Limit", "On each", "Window"], |text| heading(text, ""))
        + &heading("Cap", "n")
        + &heading("Enforcement", "")
        + &each(["Refused", "Involved in"], |text| heading(text, "n"))
        + &would
        + &heading("Windows hit", "n")
        + &heading("First refusal", "")
        + &each(["Peak", "Over the cap by"], |text| heading(text, "n"));
    let rows = each(&report.limits, |limit| limit_row(report, limit, shadowed));
    labelled.table("Limits, in the policy's order: the first one violated is the one that refuses", &head, &rows, "")
}

/// Says what the columns of [`limits`] mean.
pub(super) const LIMIT_NOTES: &str = r#"<p class="notes">Refused: calls that this limit was the first to refuse. Involved in: refused calls that
had no room under this limit, whichever limit was first. Windows hit: how many windows of how many subjects saw such a
first refusal. Peak: the most that was charged to one subject in one window.</p>"#;

fn limit_row(report: &Report, limit: &LimitReport, shadowed: bool) -> String {
    let resource = report.resources.get(limit.resource);
    let cap = match limit.cap {
        Cap::Max(max) => limit_amount(resource, max),
        Cap::Unlimited => "unlimited".to_owned(),
    };
    let enforcement = match limit.enforcement {
        Enforcement::Hard => "hard",
        Enforcement::Soft => "soft",
        Enforcement::Shadow => "shadow",
    };
    let first = limit
        .first_denied
        .as_ref()
        .map_or(NONE.to_owned(), |(time, subject)| format!("{}<br>{}", moment(*time), name(subject)));
    let over = if limit.peak_over == 0 { NONE.to_owned() } else { limit_amount(resource, limit.peak_over) };
    row_heading(&limit.id)
        + &cell("", &name(&limit.kind))
        + &cell("", &name(&limit.window))
        + &cell("n", &cap)
        + &cell("", enforcement)
        + &cell("n", &grouped(limit.denied.into()))
        + &cell("n", &grouped(limit.violated.into()))
        + &(if shadowed { cell("n", &grouped(limit.would_refuse.into())) } else { String::new() })
        + &cell("n", &grouped(limit.windows_hit.into()))
        + &cell("", &first)
        + &cell("n", &limit_amount(resource, limit.peak))
        + &cell("n", &over)
        + "</tr>\n"
}

/// Characters that are not broken into lines.
const NAME_SHORT_MAX: usize = 32;
const NONE: &str = r#"<span class="none">none</span>"#;

fn limit_amount(resource: Option<&ResourceReport>, number: u64) -> String {
    match resource {
        Some(resource) => format!("{} {}", amount(resource, number.into()), escape(&word(resource))),
        None => grouped(number.into()),
    }
}

/// Users or sessions: the first `max` of them, then what is left of the report, then the whole of it.
pub(super) fn slices(labelled: &Labelled, caption: &str, column: &str, slices: &[Slice], max: usize) -> String {
    let report = labelled.report;
    let shown = &slices[..slices.len().min(max)];
    let whole = whole(report);
    let rest = shown.iter().fold(whole.clone(), without);
    let longest = shown.iter().map(|slice| at(&slice.offered, 0)).max().unwrap_or(0);
    let (chart, no_chart) = match longest {
        0 => (String::new(), String::new()),
        _ => (heading("Spent of offered", "wide"), cell("wide", "")),
    };
    let head = heading(column, "")
        + &each(["Calls", "Refused"], |text| heading(text, "n"))
        + &amount_headings(report)
        + &heading("Refused mostly by", "")
        + &chart;
    let rows = each(shown, |slice| {
        let bar = if longest > 0 { cell("wide", &bar(report, slice, longest)) } else { String::new() };
        slice_row(report, &row_heading(&slice.name), slice, &bar)
    });
    let mut foot = String::new();
    if rest.calls > 0 {
        let name = if slices.len() > max { "All other calls" } else { "Calls that name none" };
        foot.push_str(&slice_row(
            report,
            &format!(r#"<tr class="rest"><th scope="row">{name}</th>"#),
            &rest,
            &no_chart,
        ));
    }
    foot.push_str(&slice_row(report, r#"<tr><th scope="row">All calls</th>"#, &whole, &no_chart));
    labelled.table(caption, &head, &rows, &foot)
}

/// Every day's numbers: what the charts are drawn from.
pub(super) fn days(labelled: &Labelled) -> String {
    let report = labelled.report;
    let refusing: Vec<_> = report.limits.iter().enumerate().filter(|(_, limit)| limit.denied > 0).collect();
    let head = heading("Day", "")
        + &each(["Calls", "Refused"], |text| heading(text, "n"))
        + &amount_headings(report)
        + &each(&refusing, |(_, limit)| heading(&format!("By {}", limit.id), "n"));
    let rows = each(&report.days, |day| {
        let by = each(&refusing, |(limit, _)| cell("n", &grouped(at(&day.denied_by, *limit).into())));
        let numbers = each([day.calls, day.denied], |number| cell("n", &grouped(number.into())));
        format!("{}{numbers}{}{by}</tr>\n", row_heading(&day.name), amount_cells(report, day))
    });
    labelled.table("Every day (UTC), by the start of the call", &head, &rows, "")
}

/// An instant to the second, exact in the tooltip.
pub(super) fn moment(time: Timestamp) -> String {
    let exact = time.to_string();
    let (date, clock) = exact.split_once('T').unwrap_or((&exact, ""));
    let seconds = clock.split('.').next().unwrap_or("");
    format!(r#"<time datetime="{exact}" title="{exact}">{date} {seconds}</time>"#)
}

fn whole(report: &Report) -> Slice {
    let mut denied_by = vec![0; report.limits.len()];
    for (sum, limit) in denied_by.iter_mut().zip(&report.limits) {
        *sum = limit.denied;
    }
    Slice {
        name: String::new(),
        calls: report.calls,
        denied: report.denied,
        spent: report.resources.iter().map(|resource| resource.spent).collect(),
        offered: report.resources.iter().map(|resource| resource.offered).collect(),
        denied_by,
    }
}

fn without(mut rest: Slice, slice: &Slice) -> Slice {
    rest.calls = rest.calls.saturating_sub(slice.calls);
    rest.denied = rest.denied.saturating_sub(slice.denied);
    for (rest, amounts) in [(&mut rest.spent, &slice.spent), (&mut rest.offered, &slice.offered)] {
        for (rest, amount) in rest.iter_mut().zip(amounts) {
            *rest = rest.saturating_sub(*amount);
        }
    }
    for (rest, count) in rest.denied_by.iter_mut().zip(&slice.denied_by) {
        *rest = rest.saturating_sub(*count);
    }
    rest
}

fn slice_row(report: &Report, start: &str, slice: &Slice, bar: &str) -> String {
    let refused = match share(slice.denied.into(), slice.calls.into()) {
        Some(share) if slice.denied > 0 => {
            format!("{} <small>{}</small>", grouped(slice.denied.into()), escape(&share))
        }
        _ => grouped(slice.denied.into()),
    };
    let mostly = slice.denied_by.iter().zip(&report.limits).max_by_key(|(count, _)| **count);
    let mostly = mostly.filter(|(count, _)| **count > 0).map_or(NONE.to_owned(), |(count, limit)| {
        format!("{} <small>{}</small>", name(&limit.id), grouped((*count).into()))
    });
    format!(
        "{start}{}{}{}{}{bar}</tr>\n",
        cell("n", &grouped(slice.calls.into())),
        cell("n", &refused),
        amount_cells(report, slice),
        cell("", &mostly),
    )
}

/// Spent and refused of the first resource, as long as what was offered is beside the longest.
fn bar(report: &Report, slice: &Slice, longest: u128) -> String {
    let percent = |amount: u128| 100.0 * (amount as f64 / longest as f64).min(1.0);
    let (spent, offered) = (at(&slice.spent, 0), at(&slice.offered, 0));
    let (filled, whole) = (percent(spent), percent(offered).max(percent(spent)));
    let unit = report.resources.first().map(|resource| resource.unit);
    let title = unit.map_or(String::new(), |unit| format!("{} of {}", exact(unit, spent), exact(unit, offered)));
    format!(
        r#"<svg class="bar" aria-hidden="true" width="100%" height="12"><title>{title}</title><rect class="unspent" x="{x}%" width="{rest}%" height="12"/><rect class="spent" width="{x}%" height="12"/></svg>"#,
        x = px(filled),
        rest = px(whole - filled),
    )
}

fn amount_headings(report: &Report) -> String {
    each(&report.resources, |resource| {
        heading(&format!("Spent, {}", word(resource)), "n") + &heading(&format!("Offered, {}", word(resource)), "n")
    })
}

fn amount_cells(report: &Report, slice: &Slice) -> String {
    each(report.resources.iter().enumerate(), |(index, resource)| {
        let of = |amounts: &[u128]| cell("n", &amount(resource, at(amounts, index)));
        of(&slice.spent) + &of(&slice.offered)
    })
}

fn heading(text: &str, class: &str) -> String {
    format!(r#"<th scope="col" class="{class}">{}</th>"#, name(text))
}

fn row_heading(text: &str) -> String {
    format!(r#"<tr><th scope="row">{}</th>"#, name(text))
}

/// Text from input: short text stays on one line, long text does not widen its column without end, and neither turns
/// its neighbours around.
fn name(text: &str) -> String {
    let class = if text.chars().nth(NAME_SHORT_MAX).is_none() { "short" } else { "long" };
    format!(r#"<bdi class="{class}">{}</bdi>"#, escape(text))
}

/// A cell of content that is markup already.
fn cell(class: &str, content: &str) -> String {
    format!(r#"<td class="{class}">{content}</td>"#)
}
