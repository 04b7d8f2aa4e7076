//! Spend limits with one resolution: own entry, smallest group, default, off.
//!
//! Two budgets are kept for each user: what the user spent everywhere, and what the user spent within an organisation. A group's limit
//! in an organisation holds for the second; an own entry or the default holds for the first, or the same limit would be granted again
//! in every organisation.

use std::sync::atomic::{AtomicI64, Ordering};

use encumber::{
    BudgetUsage, Cap, Clock, Engine, Limit, ManualClock, Policy, Price, Rates, Ratio, Resource, Scope, Source, Status,
    Subject, Subjects, Timestamp, Unit, Unknown, Usage,
};
use serde_json::{Value, json};

use crate::accounts::Unbuilt;
use crate::args::{self, Amount};
use crate::home::{Home, Keeping};
use crate::{costs, windows};

/// The users of a case and what limits them.
pub(crate) struct Spending {
    clock: ManualClock,
    engine: Engine,
    home: Home,
    micros: Resource,
    groups: Vec<Group>,
    /// The latest instant of a step, in microseconds: an earlier one asks about the past.
    latest_micros: AtomicI64,
}

/// A group as the host knows it: whose it is, in which organisation.
struct Group {
    name: String,
    user: String,
    org: String,
}

/// The limit in force: the cap, where it comes from, and the budget it holds for.
struct InForce {
    cap: Cap,
    source: &'static str,
    scope: Scope,
}

impl Spending {
    pub(crate) fn new(hierarchy: &Value, clock: ManualClock, keeping: Keeping) -> Result<Self, Unbuilt> {
        args::known_fields(hierarchy, &["config", "users"])?;
        let config = &hierarchy["config"];
        args::known_fields(config, &["enabled", "default", "period"])?;
        let enabled = config["enabled"] != false;
        let (policy, groups) = if config.is_null() { (Policy::builder(), Vec::new()) } else { limited(hierarchy)? };
        let policy = if enabled { policy } else { Policy::builder() };
        let policy = policy.kind("user").kind("member").resource("micros", Unit::Count).resource("usd", Unit::Usd);
        // Usage without a price is accepted, counts as no money, and says so.
        let policy = policy.rates(Rates::new(Unknown::Given(Ratio::ONE), Unknown::<Price>::Unpriced));
        let policy = policy.build().map_err(|_| Unbuilt::Wrong("invalid_config"))?;
        let of_clock = clock.clone();
        let (engine, home) = Home::engine(keeping, policy, move |engine| engine.clock(Clock::manual(&of_clock)))?;
        let micros = engine.resource("micros").map_err(|error| error.to_string())?;
        let latest_micros = AtomicI64::new(Timestamp::MIN.as_micros());
        Ok(Self { clock, engine, home, micros, groups, latest_micros })
    }

    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        self.home.reopen(&mut self.engine)?;
        self.micros = self.engine.resource("micros").map_err(|error| error.to_string())?;
        Ok(())
    }

    pub(crate) fn resolve_limit(&self, step: &Value) -> Result<Value, String> {
        let in_force = self.in_force(step)?;
        Ok(json!({ "limit": costs::shown(in_force.cap), "source": in_force.source }))
    }

    /// Counts what was spent: everywhere, and within the organisation if one is named.
    pub(crate) fn spend(&self, step: &Value) -> Result<Value, String> {
        self.now();
        let user = args::text(step, "user")?;
        let mut subjects = Subjects::new().with(user_subject(user)?).map_err(|error| error.to_string())?;
        if let Some(org) = step["org"].as_str() {
            subjects = subjects.with(member(user, org)?).map_err(|error| error.to_string())?;
        }
        let cost = match (&step["micros"], Amount::of(&step["micros"]).clamped()) {
            (Value::Null, _) => self.engine.cost(&Usage::new()).map_err(|error| error.to_string())?,
            (_, Some(micros)) => self.micros.of(micros),
            (_, None) => return Ok(json!({ "error": "invalid_amount" })),
        };
        let scope = self.engine.scope_of(subjects).map_err(|error| error.to_string())?;
        let receipt = scope.record(cost).map_err(|error| error.to_string())?;
        let charged = receipt.charged();
        Ok(json!({ "ok": true, "recorded": charged.amount(self.micros), "unpriced": charged.is_unpriced() }))
    }

    /// The limit in force and what is spent of it, in the window that holds the step's instant.
    pub(crate) fn spend_status(&self, step: &Value) -> Result<Value, String> {
        let (now, is_past) = self.now();
        let InForce { cap, source, scope } = self.in_force(step)?;
        let usage = scope.usage_at(now).map_err(|error| error.to_string())?;
        let usage: Option<BudgetUsage> = usage.into_iter().next().flatten();
        let blocked = match &usage {
            Some(budget) if is_past => matches!(budget.status, Status::Exhausted | Status::Over),
            _ => scope.check().is_err(),
        };
        let bounds = usage.as_ref().and_then(|budget| budget.bounds);
        Ok(json!({
            "limited": cap != Cap::Unlimited,
            "limit": costs::shown(cap),
            "source": source,
            "spent": usage.as_ref().map(BudgetUsage::charged),
            "remaining": usage.as_ref().and_then(|budget| budget.remaining().max()),
            "blocked": blocked,
            "period_start": bounds.map(|bounds| windows::shown(bounds.start)),
            "period_end": bounds.map(|bounds| windows::shown(bounds.end)),
        }))
    }

    /// The limit in force for a user, in an organisation or without one.
    fn in_force(&self, step: &Value) -> Result<InForce, String> {
        let user = args::text(step, "user")?;
        let org = step["org"].as_str();
        let groups: Vec<&str> = self.groups_of(user, org).collect();
        let subject = user_subject(user)?;
        let resolved = self.engine.resolve(&subject, &groups).map_err(|error| error.to_string())?;
        let (cap, source) = match resolved.into_iter().next() {
            Some((_, cap, Source::Subject)) => (cap, "user"),
            Some((_, cap, Source::Group(_))) => (cap, "group"),
            Some((_, cap, Source::Default)) => (cap, "default"),
            // Cases of this area exempt nobody, and nobody overrides anything.
            Some((_, cap, Source::Exempt)) => (cap, "exempt"),
            Some((_, cap, Source::Override)) => (cap, "override"),
            None => (Cap::Unlimited, "disabled"),
        };
        let limited = match org {
            Some(org) if source == "group" => member(user, org)?,
            _ => subject,
        };
        let subjects = Subjects::new().in_groups(limited, groups).map_err(|error| error.to_string())?;
        let scope = self.engine.scope_of(subjects).map_err(|error| error.to_string())?;
        Ok(InForce { cap, source, scope })
    }

    /// The groups of a user that count: those of the organisation, all when none is named.
    fn groups_of(&self, user: &str, org: Option<&str>) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter().filter(move |group| group.user == user);
        groups.filter(move |group| org.is_none_or(|org| group.org == org)).map(|group| group.name.as_str())
    }

    /// The instant of the step, and whether an earlier step was later.
    fn now(&self) -> (Timestamp, bool) {
        let now = self.clock.now();
        let latest_micros = self.latest_micros.fetch_max(now.as_micros(), Ordering::AcqRel);
        (now, now.as_micros() < latest_micros)
    }
}

/// The limits of a hierarchy, and the groups they name.
fn limited(hierarchy: &Value) -> Result<(encumber::PolicyBuilder, Vec<Group>), Unbuilt> {
    let config = &hierarchy["config"];
    let cap = |value: &Value| args::cap(value, false).ok_or(Unbuilt::Wrong("invalid_config"));
    let window = windows::window(config).map_err(Unbuilt::Wrong)?;
    let default = if config["default"].is_null() { Cap::Unlimited } else { cap(&config["default"])? };
    let mut everywhere = Limit::new("spend", "user", "micros", window, default);
    let mut within = Limit::new("spend-in-organisation", "member", "micros", window, Cap::Unlimited);
    let mut groups = Vec::new();
    for (user, entry) in args::fields(hierarchy, "users")? {
        args::known_fields(entry, &["override", "groups"])?;
        if !entry["override"].is_null() {
            everywhere = everywhere.subject(user_subject(user)?.as_str(), cap(&entry["override"])?);
        }
        // A group without a limit of its own limits nobody.
        let listed = entry["groups"].as_array().into_iter().flatten().filter(|group| !group["limit"].is_null());
        for group in listed {
            let name = format!("g{}", groups.len());
            everywhere = everywhere.group(&name, cap(&group["limit"])?);
            within = within.group(&name, cap(&group["limit"])?);
            let org = group["org"].as_str().unwrap_or_default().to_owned();
            groups.push(Group { name, user: user.to_owned(), org });
        }
    }
    Ok((Policy::builder().limit(everywhere).limit(within), groups))
}

fn user_subject(user: &str) -> Result<Subject, String> {
    Subject::new("user", user).map_err(|error| error.to_string())
}

/// A user within an organisation; the length tells where the user's name ends.
fn member(user: &str, org: &str) -> Result<Subject, String> {
    Subject::new("member", &format!("{}:{user}@{org}", user.len())).map_err(|error| error.to_string())
}
