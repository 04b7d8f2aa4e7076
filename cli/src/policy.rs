//! Policy files: reading them, and showing what they put in force.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use comfy_table::Cell;
use encumber::{Enforcement, Limit, Policy, Price, Rates, Rounding, TokenClass, Unit, Warn};

use crate::render::{cap, plain, right, table};

const TEAM: &str = include_str!("../../policies/team.toml");

/// A policy and the name of its file, without folders.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) policy: Policy,
}

/// The policy that the program brings along: a small team's.
///
/// # Errors
/// None in a program that was built right.
pub(crate) fn shipped() -> Result<Named> {
    read("team.toml", TEAM).map(|policy| Named { name: "team.toml".to_owned(), policy })
}

/// Reads a policy file, TOML or JSON.
///
/// # Errors
/// When it cannot be read or is not a policy: file, line, key and cause.
pub(crate) fn load(path: &Path) -> Result<Named> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| shown.clone())?;
    let policy = read(&shown, &text)?;
    let name = path.file_name().map_or(shown, |name| name.to_string_lossy().into_owned());
    Ok(Named { name, policy })
}

/// A TOML document cannot begin with a brace, a JSON policy must.
fn read(name: &str, text: &str) -> Result<Policy> {
    let is_json = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    let parsed = if is_json { Policy::from_json(text) } else { Policy::from_toml(text) };
    parsed.map_err(|error| match error.line() {
        Some(line) if error.key().is_empty() => anyhow!("{name} line {line}: {}", error.cause()),
        Some(line) => anyhow!("{name} line {line}: {}: {}", error.key(), error.cause()),
        None => anyhow!("{name}: {error}"),
    })
}

/// What the policies in `files` put in force.
///
/// # Errors
/// The first fault of the first file that has one.
pub(crate) fn check(files: &[PathBuf]) -> Result<String> {
    let shown: Vec<String> = files
        .iter()
        .map(|file| load(file).map(|named| show(&file.display().to_string(), &named.policy)))
        .collect::<Result<_>>()?;
    Ok(shown.join("\n"))
}

fn show(file: &str, policy: &Policy) -> String {
    let mut text = format!("{}: no mistakes found.\n\n", plain(file));
    text.push_str(&limits(policy));
    text.push_str("\nResources: ");
    let resources: Vec<String> =
        policy.resources().map(|(name, unit)| format!("{name} ({})", unit_words(unit))).collect();
    text.push_str(if resources.is_empty() { "none" } else { "" });
    let _ = writeln!(text, "{}.", resources.join(", "));
    let _ = writeln!(text, "Costs are {}.", rounding_words(policy.rates()));
    text.push_str(&prices(policy.rates()));
    text
}

fn limits(policy: &Policy) -> String {
    if policy.limits().is_empty() {
        return "It has no limits: everything is admitted.\n".to_owned();
    }
    let mut limits = table(&["limit", "each", "at most", "per", "above it", "warns at", "instead"]);
    for limit in policy.limits() {
        let unit = policy.unit(limit.resource()).unwrap_or(Unit::Count);
        limits.add_row(vec![
            Cell::new(plain(limit.id())),
            Cell::new(limit.kind()),
            right(cap(limit.max(), unit, limit.resource())),
            Cell::new(limit.window()),
            Cell::new(enforcement_words(limit.enforced())),
            Cell::new(warnings(limit, unit)),
            Cell::new(exceptions(limit, unit)),
        ]);
    }
    format!("Limits, in the order in which a refusal names them:\n{}\n", limits.trim_fmt())
}

fn enforcement_words(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Hard => "refuses",
        Enforcement::Soft => "reports (soft)",
        Enforcement::Shadow => "reports (shadow)",
    }
}

fn warnings(limit: &Limit, unit: Unit) -> String {
    let warnings = limit.warnings().iter().map(|warn| match *warn {
        Warn::Percent(percent) => format!("{percent} %"),
        Warn::At(amount) => unit.format(amount),
    });
    warnings.collect::<Vec<_>>().join(", ")
}

fn exceptions(limit: &Limit, unit: Unit) -> String {
    let groups = limit.group_caps().map(|(name, max)| format!("group {name}: {}", cap(max, unit, limit.resource())));
    let subjects =
        limit.subject_caps().map(|(name, max)| format!("{}: {}", plain(name), cap(max, unit, limit.resource())));
    groups.chain(subjects).collect::<Vec<_>>().join("\n")
}

fn unit_words(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "dollars, exact to the nano-dollar",
        _ => "whole units",
    }
}

fn rounding_words(rates: &Rates) -> &'static str {
    match rates.rounds() {
        Rounding::HalfUp => "summed exactly and rounded once to the nearest unit, half up (half_up)",
        Rounding::HalfEvenPerClass => "rounded by token class to the nearest unit, half to even (half_even_per_class)",
        _ => "summed exactly and rounded up once (up)",
    }
}

fn prices(rates: &Rates) -> String {
    let mut models: Vec<(&str, &Price)> =
        rates.models().filter_map(|name| Some((name, rates.price_of(name)?))).collect();
    if models.is_empty() {
        return "No model has a price.\n".to_owned();
    }
    models.sort_unstable_by_key(|(name, _)| *name);
    let is_own = |price: &Price, class: TokenClass| match class {
        TokenClass::Reasoning => price.per_million(class) != price.per_million(TokenClass::Output),
        class if class.plain() != class => price.per_million(class) != price.per_million(class.plain()),
        _ => price.per_million(class).is_some(),
    };
    let classes: Vec<TokenClass> =
        TokenClass::ALL.into_iter().filter(|class| models.iter().any(|(_, price)| is_own(price, *class))).collect();
    let mut header = vec!["model"];
    header.extend(classes.iter().map(|class| class.name()));
    let mut prices = table(&header);
    for (name, price) in models {
        let mut row = vec![Cell::new(plain(name))];
        row.extend(classes.iter().map(|class| right(per_million(price, *class))));
        prices.add_row(row);
    }
    format!("\nPrices in dollars per million tokens:\n{}\n", prices.trim_fmt())
}

fn per_million(price: &Price, class: TokenClass) -> String {
    price.per_million(class).map_or_else(|| "no price".to_owned(), |price| price.to_string())
}
