//! What was found as tables, for people.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::Cell;
use encumber::{Bounds, Cap, FoundBudget, FoundRule, Inspection, Salvaged, Timestamp};

use super::json::kind;
use super::names::{Names, escaped};
use crate::render::{grouped, many, plain, right, table};

pub(super) fn inspection(found: &Inspection, names: Names, budgets_max: usize, now: Timestamp) -> String {
    let mut text = headline(found);
    text.push_str(&files(found));
    if found.snapshot.is_none() {
        return text;
    }
    text.push_str(&limits(&found.rules));
    text.push_str(&budgets(&found.budgets, names, budgets_max, now));
    text.push_str(&grants(found, names));
    text.push_str(&holds(found, names));
    text.push_str(&workflows(found, names));
    text
}

pub(super) fn salvaged(salvaged: &Salvaged, to: &Path) -> String {
    let mut text = plain_lines(&salvaged.to_string());
    for (what, names) in [("not an engine's", &salvaged.foreign), ("never finished", &salvaged.unfinished)] {
        for name in names {
            let _ = writeln!(text, "Not copied: {}, which is {what}.", escaped(name));
        }
    }
    let _ = writeln!(text, "Written to {}.", plain(&to.display().to_string()));
    text
}

/// Text of several lines, fit for a terminal.
fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(line) + "\n").collect()
}

fn headline(found: &Inspection) -> String {
    let dir = plain(&found.dir.display().to_string());
    let in_use = match found.in_use {
        Some(true) => "an engine has it, and it may change",
        Some(false) => "no engine has it",
        None => "whether an engine has it cannot be told",
    };
    let Some(snapshot) = found.snapshot else {
        return format!("{dir}: {in_use}. No engine has published anything here.\n");
    };
    let closed = if found.was_closed {
        "It was closed: every amount is exact."
    } else {
        "It was not closed: budgets stand at their ceilings, at least at what was charged."
    };
    let mut text = format!(
        "{dir}: whole; {in_use}.\n{closed}\nSnapshot {snapshot} and {} of the journal after it, up to {}.\n",
        many(found.records, "record"),
        found.latest.map_or_else(String::new, |latest| latest.to_string()),
    );
    let _ = writeln!(
        text,
        "{} carried out, {} of settled holds remembered.",
        many(found.resets, "reset"),
        many(found.remembered, "id")
    );
    if let Some(torn) = &found.torn {
        let _ = writeln!(
            text,
            "The end of the journal never got to the disk: {} from byte {} on, {}.",
            plain(&torn.path.display().to_string()),
            torn.offset,
            many(torn.bytes, "byte")
        );
    }
    text
}

fn files(found: &Inspection) -> String {
    if found.files.is_empty() {
        return String::new();
    }
    let mut table = table(&["file", "kind", "number", "bytes", ""]);
    for file in &found.files {
        let generation = match (file.number, file.is_used) {
            (_, true) => "used".to_owned(),
            (Some(_), false) if found.snapshot.is_some() && kind(file.kind) != "unfinished" => {
                let damage = file.unreadable.as_ref();
                damage.map_or("older".to_owned(), |damage| {
                    format!("older; not whole at byte {}:\n{}", damage.offset, plain(&damage.why))
                })
            }
            _ => String::new(),
        };
        table.add_row(vec![
            Cell::new(escaped(&file.name)),
            Cell::new(kind(file.kind)),
            right(file.number.map_or_else(String::new, |number| number.to_string())),
            right(file.bytes.map_or_else(String::new, |bytes| grouped(bytes.into()))),
            Cell::new(generation),
        ]);
    }
    format!("\n{}\n", table.trim_fmt())
}

fn limits(rules: &[FoundRule]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let mut table = table(&["limit", "resource", "window"]);
    for rule in rules {
        table.add_row([escaped(&rule.limit), escaped(&rule.resource), rule.window_text()]);
    }
    format!("\nLimits that budgets were counted under:\n{}\n", table.trim_fmt())
}

fn budgets(budgets: &[FoundBudget], names: Names, most: usize, now: Timestamp) -> String {
    if budgets.is_empty() {
        return "\nNo budget was charged.\n".to_owned();
    }
    let mut table = table(&["budget of", "limit", "resource", "window", "charged", ""]);
    for budget in budgets.iter().take(most) {
        table.add_row(vec![
            Cell::new(escaped(&names.subject(&budget.subject))),
            Cell::new(escaped(&budget.rule.limit)),
            Cell::new(escaped(&budget.rule.resource)),
            Cell::new(window(budget)),
            right(grouped(budget.charged.into())),
            Cell::new(if budget.has_ended(now) { "ended" } else { "" }),
        ]);
    }
    let more = budgets.len().saturating_sub(most);
    let note = if more > 0 { format!("and {} more\n", many(more as u64, "budget")) } else { String::new() };
    format!("\n{}\n{note}", table.trim_fmt())
}

fn window(budget: &FoundBudget) -> String {
    let mut text = format!("{}, number {}", budget.rule.window_text(), budget.window_number);
    if let Some(Bounds { start, end }) = budget.bounds {
        let _ = write!(text, "\n{start}\n{end}");
    }
    text
}

fn grants(found: &Inspection, names: Names) -> String {
    if found.grants.is_empty() {
        return String::new();
    }
    let mut table = table(&["given to", "limit", "cap of its own", "raised by", "in window"]);
    for grant in &found.grants {
        let own = match grant.cap {
            None => String::new(),
            Some(Cap::Max(max)) => grouped(max.into()),
            Some(Cap::Unlimited) => "unlimited".to_owned(),
        };
        table.add_row(vec![
            Cell::new(escaped(&names.subject(&grant.subject))),
            Cell::new(escaped(&grant.rule.limit)),
            right(own),
            right(if grant.extra > 0 { grouped(grant.extra.into()) } else { String::new() }),
            right(grant.extra_window.map_or_else(String::new, |number| number.to_string())),
        ]);
    }
    format!("\n{}\n", table.trim_fmt())
}

fn holds(found: &Inspection, names: Names) -> String {
    if found.holds.is_empty() {
        return String::new();
    }
    let mut table = table(&["open hold", "of", "holds", "expires at", ""]);
    for hold in &found.holds {
        let amounts =
            hold.held.iter().map(|(resource, amount)| format!("{} {}", grouped((*amount).into()), escaped(resource)));
        let mut notes = Vec::new();
        notes.extend(hold.slot_of.is_some().then_some("slot"));
        notes.extend(hold.guarded.then_some("guarded"));
        notes.extend(hold.dispatched.then_some("dispatched"));
        table.add_row([
            escaped(&names.hold(hold)),
            escaped_lines(&names.subjects(&hold.subjects)),
            amounts.collect::<Vec<_>>().join("\n"),
            hold.expires_at.to_string(),
            notes.join("\n"),
        ]);
    }
    format!("\n{}\n", table.trim_fmt())
}

fn workflows(found: &Inspection, names: Names) -> String {
    if found.workflows.is_empty() {
        return String::new();
    }
    let mut table = table(&["active workflow", "of", "steps", "expires at", "has charged"]);
    for workflow in &found.workflows {
        let most = match workflow.steps_max {
            Cap::Max(max) => format!(" of {}", grouped(max.into())),
            Cap::Unlimited => String::new(),
        };
        let charged = workflow
            .budgets
            .iter()
            .map(|budget| format!("{} {}", escaped(&budget.rule.limit), grouped(budget.charged.into())));
        table.add_row([
            escaped(&names.workflow(&workflow.id)),
            escaped_lines(&names.subjects(&workflow.subjects)),
            grouped(workflow.steps.into()) + &most,
            workflow.expires_at.map_or_else(String::new, |at| at.to_string()),
            charged.collect::<Vec<_>>().join("\n"),
        ]);
    }
    format!("\n{}\n", table.trim_fmt())
}

fn escaped_lines(names: &[String]) -> String {
    names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("\n")
}
