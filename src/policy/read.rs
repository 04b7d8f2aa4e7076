//! A parsed document, whatever its syntax, read into a policy. Each node knows its line.

use std::collections::HashSet;

use super::error::key;
use super::{Enforcement, Fault, GroupChoice, Limit, Place, Policy, PolicyBuilder, PolicyCause, PolicyError};
use crate::amount::{Cap, Ratio, Unit};
use crate::cost::{Price, Rates, Rounding, TokenClass, Unknown, Weights};
use crate::time::Timestamp;
use crate::window::{TimeOfDay, Weekday, Window, Zone};

mod resets;

/// A value of a document and the line it stands in, counted from 1.
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// Where the lines of a text start, but for the first one: a document may have very many.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect())
    }

    /// The line that holds the byte at `byte`, counted from 1.
    pub(super) fn at(&self, byte: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= byte)
    }
}

pub(super) enum Value {
    String(String),
    /// The digits as written, with a sign if there is one.
    Integer(String),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A value that no key takes, by its name: a float, a date, null.
    Other(&'static str),
}

type Read<T> = Result<T, PolicyError>;

/// A node and the path to it.
#[derive(Clone)]
struct At<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> At<'a> {
    fn error(&self, cause: PolicyCause) -> PolicyError {
        PolicyError { line: Some(self.node.line), key: self.path.as_str().into(), cause }
    }

    fn expected(&self, expected: &'static str) -> PolicyError {
        let found = match &self.node.value {
            Value::String(text) => format!("{text:?}"),
            Value::Integer(digits) => digits.clone(),
            Value::Boolean(_) => "a boolean".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other("float") => "a float (write it as a string: floats are not exact)".to_owned(),
            Value::Other(name) => (*name).to_owned(),
        };
        self.error(PolicyCause::Expected { expected, found: found.into() })
    }

    fn string(&self) -> Read<&'a str> {
        match &self.node.value {
            Value::String(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    /// An integer or a string, as text.
    fn number(&self, expected: &'static str) -> Read<&'a str> {
        match &self.node.value {
            Value::String(text) | Value::Integer(text) => Ok(text),
            _ => Err(self.expected(expected)),
        }
    }

    fn items(&self) -> Read<Vec<At<'a>>> {
        match &self.node.value {
            Value::Array(items) => {
                let at = |(index, node)| At { node, path: format!("{}[{index}]", self.path) };
                Ok(items.iter().enumerate().map(at).collect())
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// The entries of a table, each key once.
    fn entries(&self) -> Read<Vec<(&'a str, At<'a>)>> {
        let Value::Table(entries) = &self.node.value else { return Err(self.expected("a table")) };
        let mut found = Vec::<(&str, At<'_>)>::with_capacity(entries.len());
        let mut seen = HashSet::with_capacity(entries.len());
        let prefix = if self.path.is_empty() { String::new() } else { format!("{}.", self.path) };
        for (name, node) in entries {
            let at = At { node, path: format!("{prefix}{}", key(name)) };
            if !seen.insert(name) {
                return Err(at.error(PolicyCause::Duplicate(name.as_str().into())));
            }
            found.push((name, at));
        }
        Ok(found)
    }

    fn unknown_key(&self, name: &str, known: &'static [&'static str]) -> PolicyError {
        self.error(PolicyCause::UnknownKey { key: name.into(), known })
    }

    /// The entries of a table that has no other keys than these.
    fn table(&self, known: &'static [&'static str]) -> Read<Table<'a>> {
        let entries = self.entries()?;
        if let Some((name, at)) = entries.iter().find(|(name, _)| !known.contains(name)) {
            return Err(at.unknown_key(name, known));
        }
        Ok(Table { at: self.clone(), entries })
    }
}

/// A table whose keys are known.
struct Table<'a> {
    at: At<'a>,
    entries: Vec<(&'a str, At<'a>)>,
}

impl<'a> Table<'a> {
    fn find(&self, name: &str) -> Option<&At<'a>> {
        self.entries.iter().find(|(key, _)| *key == name).map(|(_, at)| at)
    }

    fn need(&self, name: &'static str) -> Read<&At<'a>> {
        self.find(name).ok_or_else(|| self.at.error(PolicyCause::Missing(name)))
    }
}

/// Keys that describe costs rather than name a resource in `[cost]`.
const COST_KEYS: [&str; 4] = ["operations", "rounding", "unknown_operation", "unknown_model"];

/// What can have a price: the classes, and what is billed beside tokens.
const PRICE_KEYS: [&str; TokenClass::NAMES.len() + 2] = {
    let mut keys = [""; TokenClass::NAMES.len() + 2];
    let mut index = 0;
    while index < TokenClass::NAMES.len() {
        keys[index] = TokenClass::NAMES[index];
        index += 1;
    }
    keys[index] = "web_search";
    keys[index + 1] = "call";
    keys
};

pub(super) fn policy(document: &Node) -> Read<Policy> {
    const KNOWN: &[&str] =
        &["resources", "kinds", "cost", "prices", "groups", "exempt", "exempt_groups", "limits", "resets"];
    let root = At { node: document, path: String::new() };
    let table = root.table(KNOWN)?;
    let find = |name: &str| table.find(name).cloned();

    let mut builder = Policy::builder();
    let mut units = Vec::new();
    for (name, at) in find("resources").map_or(Ok(Vec::new()), |at| at.entries())? {
        if COST_KEYS.contains(&name) {
            return Err(at.error(PolicyCause::Duplicate(format!("{name} (a key of [cost])").into())));
        }
        let unit = match at.string()? {
            "usd" => Unit::Usd,
            "count" => Unit::Count,
            _ => return Err(at.expected("\"usd\" or \"count\"")),
        };
        units.push((name, unit));
        builder = builder.resource(name, unit);
    }
    for at in find("kinds").map_or(Ok(Vec::new()), |at| at.items())? {
        builder = builder.kind(at.string()?);
    }
    for (name, at) in find("groups").map_or(Ok(Vec::new()), |at| at.entries())? {
        let members = at.items()?.iter().map(At::string).collect::<Read<Vec<_>>>()?;
        builder = builder.group(name, members);
    }
    for at in find("exempt").map_or(Ok(Vec::new()), |at| at.items())? {
        builder = builder.exempt(at.string()?);
    }
    for at in find("exempt_groups").map_or(Ok(Vec::new()), |at| at.items())? {
        builder = builder.exempt_group(at.string()?);
    }
    builder = builder.rates(rates(find("cost"), find("prices"), &units)?);
    for at in find("limits").map_or(Ok(Vec::new()), |at| at.items())? {
        builder = builder.limit(limit(&at, &units)?);
    }
    for at in find("resets").map_or(Ok(Vec::new()), |at| at.items())? {
        builder = builder.reset(resets::reset(&at, &units)?);
    }
    assemble(builder, &root)
}

/// Checks the whole; a fault gets the line of the node that it is about.
fn assemble(builder: PolicyBuilder, root: &At<'_>) -> Read<Policy> {
    builder.assemble().map_err(|Fault { place, cause }| {
        let segments: Vec<String> = match &place {
            Place::Resource(name) => vec!["resources".into(), name.to_string()],
            Place::Kind(index) => vec!["kinds".into(), index.to_string()],
            Place::Group { name, member } => {
                ["groups".into(), name.to_string()].into_iter().chain(member.map(|m| m.to_string())).collect()
            }
            Place::Exempt(index) => vec!["exempt".into(), index.to_string()],
            Place::ExemptGroup(index) => vec!["exempt_groups".into(), index.to_string()],
            Place::Limit { index, field, entry } => ["limits".into(), index.to_string(), (*field).to_owned()]
                .into_iter()
                .chain(entry.as_deref().map(ToOwned::to_owned))
                .collect(),
            Place::Reset { index, field } => vec!["resets".into(), index.to_string(), (*field).to_owned()],
        };
        let node = segments.iter().try_fold(root.node, |node, segment| match &node.value {
            Value::Table(entries) => entries.iter().find(|(name, _)| name == segment).map(|(_, node)| node),
            Value::Array(items) => segment.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        });
        PolicyError { line: Some(node.unwrap_or(root.node).line), key: place.to_string().into(), cause }
    })
}

fn ratio(at: &At<'_>) -> Read<Ratio> {
    at.number("a number: an integer or a decimal string")?.parse().map_err(|e| at.error(PolicyCause::Amount(e)))
}

fn class(name: &str, at: &At<'_>) -> Read<TokenClass> {
    TokenClass::from_name(name).ok_or_else(|| at.unknown_key(name, &TokenClass::NAMES))
}

fn rates(cost: Option<At<'_>>, prices: Option<At<'_>>, units: &[(&str, Unit)]) -> Read<Rates> {
    let entries = cost.map_or(Ok(Vec::new()), |at| at.entries())?;
    let find = |name: &str| entries.iter().find(|(key, _)| *key == name).map(|(_, at)| at.clone());
    let unknown_operation = match find("unknown_operation") {
        None => Unknown::Refuse,
        Some(at) => match at.number("\"refuse\", \"unpriced\" or a multiplier")? {
            "refuse" => Unknown::Refuse,
            "unpriced" => Unknown::Unpriced,
            _ => Unknown::Given(ratio(&at)?),
        },
    };
    let unknown_model = match find("unknown_model") {
        None => Unknown::Refuse,
        Some(at) => match at.string()? {
            "refuse" => Unknown::Refuse,
            "unpriced" => Unknown::Unpriced,
            _ => return Err(at.expected("\"refuse\" or \"unpriced\"")),
        },
    };
    let mut rates = Rates::new(unknown_operation, unknown_model);
    if let Some(at) = find("rounding") {
        rates = rates.rounding(match at.string()? {
            "up" => Rounding::Up,
            "half_up" => Rounding::HalfUp,
            "half_even_per_class" => Rounding::HalfEvenPerClass,
            _ => return Err(at.expected("\"up\", \"half_up\" or \"half_even_per_class\"")),
        });
    }
    for (name, at) in find("operations").map_or(Ok(Vec::new()), |at| at.entries())? {
        rates = rates.operation(name, ratio(&at)?);
    }
    for (name, at) in entries.iter().filter(|(name, _)| !COST_KEYS.contains(name)) {
        match units.iter().find(|(resource, _)| resource == name) {
            None => return Err(at.error(PolicyCause::UndeclaredResource((*name).into()))),
            Some((_, Unit::Usd)) => return Err(at.expected("weights of a \"count\" resource (money is priced)")),
            Some(_) => {}
        }
        let mut weights = Weights::equal();
        for (name, at) in at.entries()? {
            weights = weights.with(class(name, &at)?, ratio(&at)?);
        }
        rates = rates.weights(name, &weights);
    }
    for (model, at) in prices.map_or(Ok(Vec::new()), |at| at.entries())? {
        let mut price = Price::new();
        for (name, at) in at.entries()? {
            price = match name {
                "web_search" => price.with_web_search(ratio(&at)?),
                "call" => price.with_call_fee(ratio(&at)?),
                _ => match TokenClass::from_name(name) {
                    Some(class) => price.with(class, ratio(&at)?),
                    None => return Err(at.unknown_key(name, &PRICE_KEYS)),
                },
            };
        }
        rates = rates.price(model, price);
    }
    Ok(rates)
}

fn limit(at: &At<'_>, units: &[(&str, Unit)]) -> Read<Limit> {
    const KNOWN: &[&str] = &[
        "id",
        "subject",
        "resource",
        "window",
        "anchor",
        "max",
        "enforcement",
        "warn",
        "time_zone",
        "week_start",
        "month_day",
        "reset_at",
        "groups",
        "group_choice",
        "subjects",
        "striped",
    ];
    let table = at.table(KNOWN)?;
    let (find, need) = (|name| table.find(name), |name| table.need(name));

    let id = need("id")?.string()?;
    let kind = need("subject")?.string()?;
    let resource_at = need("resource")?;
    let resource = resource_at.string()?;
    let unit = units
        .iter()
        .find(|(name, _)| *name == resource)
        .map(|&(_, unit)| unit)
        .ok_or_else(|| resource_at.error(PolicyCause::UndeclaredResource(resource.into())))?;
    let window = window(need("window")?, &table)?;
    let mut limit = Limit::new(id, kind, resource, window, cap(need("max")?, unit)?);
    if let Some(at) = find("enforcement") {
        limit = limit.enforcement(match at.string()? {
            "hard" => Enforcement::Hard,
            "soft" => Enforcement::Soft,
            "shadow" => Enforcement::Shadow,
            _ => return Err(at.expected("\"hard\", \"soft\" or \"shadow\"")),
        });
    }
    for at in find("warn").map_or(Ok(Vec::new()), At::items)? {
        let percent = match &at.node.value {
            Value::Integer(digits) => digits.parse().ok().filter(|p| (1..=100).contains(p)),
            _ => None,
        };
        limit = limit.warn_percent([percent.ok_or_else(|| at.expected("a percentage from 1 to 100"))?]);
    }
    if let Some(at) = find("group_choice") {
        limit = limit.group_choice(match at.string()? {
            "smallest" => GroupChoice::Smallest,
            "largest" => GroupChoice::Largest,
            _ => return Err(at.expected("\"smallest\" or \"largest\"")),
        });
    }
    if let Some(at) = find("striped") {
        let Value::Boolean(striped) = at.node.value else { return Err(at.expected("true or false")) };
        limit = limit.striped(striped);
    }
    for (group, at) in find("groups").map_or(Ok(Vec::new()), At::entries)? {
        limit = limit.group(group, cap(&at, unit)?);
    }
    for (subject, at) in find("subjects").map_or(Ok(Vec::new()), At::entries)? {
        limit = limit.subject(subject, cap(&at, unit)?);
    }
    Ok(limit)
}

/// The window of a limit with its settings, which are looked up by `find`.
fn window(at: &At<'_>, table: &Table<'_>) -> Read<Window> {
    let find = |name| table.find(name);
    let mut window: Window = at.string()?.parse().map_err(|e| at.error(PolicyCause::Window(e)))?;
    if let Some(at) = find("anchor") {
        let anchor: Timestamp = at.string()?.parse().map_err(|_| at.expected("an RFC 3339 instant"))?;
        if !matches!(window, Window::Every(_)) {
            return Err(at.expected("no anchor: only a window that is a period has one"));
        }
        window = window.anchored(anchor);
    }
    if let Some(at) = find("time_zone") {
        let zone = Zone::new(at.string()?).map_err(|e| at.error(PolicyCause::TimeZone(e)))?;
        window = window.in_zone(zone).map_err(|e| at.error(PolicyCause::Window(e)))?;
    }
    if let Some(at) = find("week_start") {
        let day = at.string()?.parse::<Weekday>();
        window = day.and_then(|day| window.week_starts(day)).map_err(|e| at.error(PolicyCause::Window(e)))?;
    }
    if let Some(at) = find("month_day") {
        let Value::Integer(digits) = &at.node.value else { return Err(at.expected("a day from 1 to 31")) };
        let day = digits.parse().map_err(|_| at.expected("a day from 1 to 31"))?;
        window = window.month_day(day).map_err(|e| at.error(PolicyCause::Window(e)))?;
    }
    if let Some(at) = find("reset_at") {
        let time = at.string()?.parse::<TimeOfDay>();
        window = time.and_then(|time| window.reset_at(time)).map_err(|e| at.error(PolicyCause::Window(e)))?;
    }
    Ok(window)
}

fn cap(at: &At<'_>, unit: Unit) -> Read<Cap> {
    match at.number("an integer, a decimal string or \"unlimited\"")? {
        "unlimited" => Ok(Cap::Unlimited),
        text => unit.parse(text).map(Cap::Max).map_err(|e| at.error(PolicyCause::Amount(e))),
    }
}
