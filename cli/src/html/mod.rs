//! Replays as one page of HTML that needs nothing else: no network, no script.
//!
//! Text from a trace or a policy reaches the page through [`escape::escape`] alone; the page's policy for
//! browsers forbids scripts and loading anything besides.

mod axis;
mod chart;
mod escape;
mod figures;
mod number;
mod tables;
#[cfg(test)]
mod tests;

use encumber::Unit;

use crate::report::{Admission, Report, ResourceReport};
use escape::{elide, escape};
use number::{amount, counted, difference, grouped, share, word};

const STYLE: &str = include_str!("style.css");
const PATTERNS: &str = include_str!("patterns.svg");
/// Characters of a file name in the title.
const TITLE_PART_MAX: usize = 60;
/// Users and sessions that get a row of their own; the rest is summed.
const USERS_MAX: usize = 50;
const SESSIONS_MAX: usize = 20;

/// One page about one replay, or about several side by side.
pub(crate) fn render(reports: &[Report]) -> String {
    let labelled = label(reports);
    let title = title(reports);
    let (class, columns) = if reports.len() > 1 { ("several", reports.len()) } else { ("one", 1) };
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body class="{class} columns-{columns}">
{PATTERNS}
<header>
<p class="kicker">encumber replay</p>
<h1>{title}</h1>
</header>
<main>
{body}</main>
</body>
</html>
"#,
        body = if labelled.is_empty() { "<p>There is no replay to show.</p>\n".to_owned() } else { body(&labelled) },
    )
}

fn body(reports: &[Labelled]) -> String {
    let overview = each(reports, |labelled| {
        labelled.panel(&(facts(labelled.report) + &tiles(labelled.report, reports) + &other_resources(labelled.report)))
    });
    let sections = [
        section("Spending over time", &(SPEND_NOTES.to_owned() + &figures::spend(reports))),
        section("Refusals over time", &figures::refusals(reports)),
        section("Limits", &(each(reports, tables::limits) + tables::LIMIT_NOTES)),
        section("By user", &each(reports, users)),
        section("By session", &each(reports, sessions)),
        section("Numbers by day", &each(reports, days)),
    ];
    format!(
        "<section class=\"first\">\n<h2 class=\"unseen\">Overview</h2>\n<div class=\"row\">{overview}</div></section>\n{COUNTERFACTUAL}{}",
        sections.concat()
    )
}

const COUNTERFACTUAL: &str = r#"<aside class="note"><p><strong>A replay is counterfactual.</strong> It takes every recorded call as given. In
reality a call that a budget refuses changes what comes after it: the agent stops, waits or does something else. Read these
numbers as what the recorded calls would have met, not as what the work would have cost.</p></aside>
"#;

const SPEND_NOTES: &str = r#"<p class="notes">Offered is what all calls would have cost: spent and refused together. Days are UTC, by
the start of the call.</p>
"#;

/// A report, and what tells it from the others on the page.
struct Labelled<'a> {
    report: &'a Report,
    /// A letter that element ids start with.
    id: String,
    /// Not escaped; `None` when it is the only report.
    label: Option<String>,
}

impl Labelled<'_> {
    /// A column of a row, under the report's label.
    fn panel(&self, content: &str) -> String {
        format!("<div class=\"panel\">{}{content}</div>\n", self.heading())
    }

    fn heading(&self) -> String {
        self.label.as_ref().map_or(String::new(), |label| format!("<h3><bdi>{}</bdi></h3>\n", escape(label)))
    }

    /// A table in a box that scrolls sideways when it has to; `head`, `rows` and `foot` are markup.
    fn table(&self, caption: &str, head: &str, rows: &str, foot: &str) -> String {
        let name = self.label.as_ref().map_or(caption.to_owned(), |label| format!("{label}: {caption}"));
        let foot = if foot.is_empty() { String::new() } else { format!("<tfoot>\n{foot}</tfoot>\n") };
        format!(
            r#"<section class="scroll" tabindex="0" aria-label="{name}"><table><caption><span>{name}</span></caption>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}</tbody>
{foot}</table></section>
"#,
            name = escape(&name),
        )
    }
}

fn label(reports: &[Report]) -> Vec<Labelled<'_>> {
    let traces_differ = reports.iter().any(|report| report.trace != reports[0].trace);
    let letter = |index: usize| char::from(b'A' + (index % 26) as u8);
    let text = |index: usize, report: &Report| {
        let trace = if traces_differ { format!(", {}", report.trace) } else { String::new() };
        format!("{}: {}, {}{trace}", letter(index), report.policy, report.admission.name())
    };
    let one = |(index, report)| Labelled {
        report,
        id: format!("{}{index}", letter(index).to_ascii_lowercase()),
        label: (reports.len() > 1).then(|| text(index, report)),
    };
    reports.iter().enumerate().map(one).collect()
}

/// Escaped.
fn title(reports: &[Report]) -> String {
    let Some(first) = reports.first() else { return "No replay".to_owned() };
    let unlike_first = |of: fn(&Report) -> &str| reports.iter().any(|report| of(report) != of(first));
    let under = match reports.len() {
        1 => first.policy.clone(),
        count if unlike_first(|report| &report.policy) => format!("{count} policies"),
        count => format!("{}, {count} ways", first.policy),
    };
    let trace = if unlike_first(|report| &report.trace) { "Several traces" } else { &first.trace };
    format!("{} under {}", escape(&elide(trace, TITLE_PART_MAX)), escape(&elide(&under, TITLE_PART_MAX)))
}

fn section(heading: &str, content: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n{content}</section>\n")
}

/// What was replayed, and how.
fn facts(report: &Report) -> String {
    let span = report.span.map_or(String::new(), |(first, last)| {
        let days = counted(report.days.len() as u64, "day", "days");
        format!(", {} to {} UTC, {days}", tables::moment(first), tables::moment(last))
    });
    let how = match report.admission {
        Admission::Reserve => "the estimate is reserved when a call starts, the actual is committed when it ends",
        Admission::Charge => "the actual cost is charged when a call starts",
        Admission::Check => {
            "a call passes while anything is left, the actual is committed when it ends; what most systems do today"
        }
    };
    let skipped = match report.skipped {
        0 => String::new(),
        lines => fact("Passed over", &format!("{} that could not be read", counted(lines, "line", "lines"))),
    };
    let facts = fact("Trace", &format!("<bdi>{}</bdi>", escape(&report.trace)))
        + &fact("Policy", &format!("<bdi>{}</bdi>", escape(&report.policy)))
        + &fact("Calls", &format!("{}{span}", counted(report.calls, "call", "calls")))
        + &skipped
        + &fact("Admission", &format!("{}: {how}", report.admission.name()));
    format!("<dl class=\"facts\">{facts}</dl>\n")
}

fn fact(name: &str, value: &str) -> String {
    format!("<div><dt>{name}</dt><dd>{value}</dd></div>")
}

/// The headline: admitted, refused, and the first resource's spent and offered. Later reports say how they differ from
/// the first.
fn tiles(report: &Report, reports: &[Labelled]) -> String {
    let first = reports.first().map(|labelled| labelled.report).filter(|first| !std::ptr::eq(*first, report));
    let calls = |name: &str, of: fn(&Report) -> u64| {
        let count = u128::from(of(report));
        let note = share(count, report.calls.into()).map(|share| format!("{share} of the calls"));
        tile(name, &grouped(count), note, first.map(|first| difference(Unit::Count, of(first).into(), count)))
    };
    let amounts = report.resources.first().map_or(String::new(), |resource| {
        let before = first.and_then(|first| first.resources.first());
        amount_tiles(resource, before.filter(|before| before.name == resource.name && before.unit == resource.unit))
    });
    let calls = calls("Admitted", |report| report.admitted) + &calls("Refused", |report| report.denied);
    format!("<dl class=\"tiles\">{calls}{amounts}</dl>\n")
}

fn amount_tiles(resource: &ResourceReport, before: Option<&ResourceReport>) -> String {
    let ResourceReport { unit, spent, offered, .. } = *resource;
    let share = share(spent, offered).map(|share| format!("{share} of what all calls would have cost"));
    let refused = format!("{} of it refused", number::with_unit(resource, offered.saturating_sub(spent)));
    let against = |of: fn(&ResourceReport) -> u128| before.map(|before| difference(unit, of(before), of(resource)));
    tile("Spent", &with_unit(resource, spent), share, against(|it| it.spent))
        + &tile(
            "All calls would have cost",
            &with_unit(resource, offered),
            (offered > 0).then_some(refused),
            against(|it| it.offered),
        )
}

/// `value` is markup; the others are plain.
fn tile(name: &str, value: &str, note: Option<String>, difference: Option<String>) -> String {
    let notes = each(note.into_iter().chain(difference), |text| format!("<dd class=\"small\">{}</dd>", escape(&text)));
    format!("<div><dt>{name}</dt><dd>{value}</dd>{notes}</div>")
}

fn with_unit(resource: &ResourceReport, number: u128) -> String {
    format!("{} <small>{}</small>", amount(resource, number), escape(&word(resource)))
}

/// The resources that the tiles have no room for.
fn other_resources(report: &Report) -> String {
    let facts = each(report.resources.iter().skip(1), |resource| {
        let (spent, offered) = (with_unit(resource, resource.spent), amount(resource, resource.offered));
        fact("Also spent", &format!("{spent}; all calls would have cost {offered}"))
    });
    if facts.is_empty() { facts } else { format!("<dl class=\"facts\">{facts}</dl>\n") }
}

fn users(labelled: &Labelled) -> String {
    match labelled.report.users.as_slice() {
        [] => labelled.heading() + "<p>The trace names no users.</p>\n",
        users => tables::slices(labelled, "Users, most spent first", "User", users, USERS_MAX),
    }
}

fn sessions(labelled: &Labelled) -> String {
    match labelled.report.sessions.as_slice() {
        [] => labelled.heading() + "<p>The trace names no sessions.</p>\n",
        sessions => {
            let caption = format!("Sessions, the {} that spent most", sessions.len().min(SESSIONS_MAX));
            tables::slices(labelled, &caption, "Session", sessions, SESSIONS_MAX)
        }
    }
}

fn days(labelled: &Labelled) -> String {
    if labelled.report.days.is_empty() {
        return labelled.heading() + "<p>The trace has no calls.</p>\n";
    }
    let days = counted(labelled.report.days.len() as u64, "day", "days");
    let whose = labelled.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
    format!("<details><summary>{}{days}</summary>\n{}</details>\n", escape(&whose), tables::days(labelled))
}

/// The markup of each item, one after the other.
fn each<T>(items: impl IntoIterator<Item = T>, markup: impl FnMut(T) -> String) -> String {
    items.into_iter().map(markup).collect()
}

/// The number at `index`, or none where a slice is shorter than its report.
fn at<T: Copy + Default>(numbers: &[T], index: usize) -> T {
    numbers.get(index).copied().unwrap_or_default()
}
