//! Limits and how they apply to a subject; the policy as a value.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::amount::{Cap, Unit};
use crate::cost::Rates;
use crate::subject::{GLOBAL, Subject, is_name};
use crate::window::Window;

mod error;
#[cfg(feature = "json")]
mod json;
#[cfg(any(feature = "toml", feature = "json"))]
mod read;
mod resets;
#[cfg(feature = "toml")]
mod toml;

use error::{Fault, Place};
pub use error::{PolicyCause, PolicyError};
pub use resets::{Guard, PaidReset};

/// What happens to an amount that a limit has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Hard,
    /// It is admitted, and the budget reports that it is over.
    Soft,
    /// It is admitted, and reported as what a hard limit would have refused. For trying out a limit.
    Shadow,
}

/// When a budget's status becomes [`Status::Warning`](crate::Status::Warning).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Warn {
    /// At this percentage of the cap: `charged * 100 >= max * percent`, in exact integers.
    Percent(u8),
    /// At this amount.
    At(u64),
}

impl Warn {
    /// The least charged amount that reaches it.
    pub(crate) fn reached_from(self, max: u64) -> u64 {
        match self {
            Self::Percent(percent) => {
                let hundredfold = u128::from(max) * u128::from(percent);
                u64::try_from(hundredfold.div_ceil(100)).unwrap_or(u64::MAX)
            }
            Self::At(amount) => amount,
        }
    }
}

/// Which entry counts when a subject is in several groups that a limit names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum GroupChoice {
    /// The smallest.
    #[default]
    Smallest,
    /// The largest.
    Largest,
}

/// Where the cap of a budget comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The subject's own cap, set while the engine runs: [`Engine::set_override`](crate::Engine::set_override).
    Override,
    /// The subject's own entry.
    Subject,
    /// The entry of this group.
    Group(Box<str>),
    /// The limit's `max`.
    Default,
    /// No limit refuses the subject: it is counted, and that is all ([`PolicyBuilder::exempt`]).
    Exempt,
}

/// A rule: how much of a resource each subject of a kind may spend per window.
///
/// ```
/// use encumber::{Cap, Enforcement, Limit, Window};
/// let limit = Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(25_000_000_000))
///     .warn_percent([80, 95])
///     .group("heavy", Cap::Max(100_000_000_000))
///     .enforcement(Enforcement::Soft);
/// assert_eq!(limit.id(), "user-day");
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    pub(crate) id: Box<str>,
    pub(crate) kind: Box<str>,
    pub(crate) resource: Box<str>,
    pub(crate) window: Window,
    pub(crate) max: Cap,
    pub(crate) enforcement: Enforcement,
    pub(crate) warn: Vec<Warn>,
    pub(crate) group_choice: GroupChoice,
    pub(crate) groups: Vec<(Box<str>, Cap)>,
    pub(crate) subjects: Vec<(Box<str>, Cap)>,
    pub(crate) striped: Option<bool>,
}

impl Limit {
    /// A hard limit with the stable id `id` on subjects of `kind` (`global` for the one subject in every scope): at most `max` of
    /// `resource` per `window`.
    ///
    /// The id, the resource and the window are what a budget is known by: usage stays when anything else of the limit changes.
    pub fn new(id: &str, kind: &str, resource: &str, window: Window, max: Cap) -> Self {
        Self {
            id: id.into(),
            kind: kind.into(),
            resource: resource.into(),
            window,
            max,
            enforcement: Enforcement::Hard,
            warn: Vec::new(),
            group_choice: GroupChoice::Smallest,
            groups: Vec::new(),
            subjects: Vec::new(),
            striped: None,
        }
    }

    /// Sets what happens when there is no room.
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// Warns at these percentages of the cap.
    pub fn warn_percent(mut self, percents: impl IntoIterator<Item = u8>) -> Self {
        self.warn.extend(percents.into_iter().map(Warn::Percent));
        self
    }

    /// Warns at this amount.
    pub fn warn_at(mut self, amount: u64) -> Self {
        self.warn.push(Warn::At(amount));
        self
    }

    /// Members of `group` have this cap instead of the limit's `max`.
    pub fn group(mut self, group: &str, cap: Cap) -> Self {
        self.groups.push((group.into(), cap));
        self
    }

    /// Which group counts for a subject that is in several.
    pub fn group_choice(mut self, choice: GroupChoice) -> Self {
        self.group_choice = choice;
        self
    }

    /// The subject written `subject` (`user:7`) has this cap, whatever its groups.
    pub fn subject(mut self, subject: &str, cap: Cap) -> Self {
        self.subjects.push((subject.into(), cap));
        self
    }

    /// Whether its budgets are spread over stripes from the first charge on, or never; without it they are once threads get in each other's
    /// way, or as [`EngineBuilder::striping`](crate::EngineBuilder::striping) says. It changes how fast threads that share a budget charge it, and
    /// nothing else. Worth setting for budgets that all threads share, such as one of `global`.
    pub fn striped(mut self, striped: bool) -> Self {
        self.striped = Some(striped);
        self
    }

    /// The stable id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The kind of subject that is limited.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name of the resource.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The cap of subjects without an entry of their own or of a group.
    pub fn max(&self) -> Cap {
        self.max
    }

    /// What happens when there is no room.
    pub fn enforced(&self) -> Enforcement {
        self.enforcement
    }

    /// When it warns.
    pub fn warnings(&self) -> &[Warn] {
        &self.warn
    }

    /// Which group counts for a subject that is in several.
    pub fn chosen_group(&self) -> GroupChoice {
        self.group_choice
    }

    /// Whether its budgets are spread over stripes, if that is said.
    pub fn is_striped(&self) -> Option<bool> {
        self.striped
    }

    /// The caps of groups, in declared order.
    pub fn group_caps(&self) -> impl Iterator<Item = (&str, Cap)> {
        self.groups.iter().map(|(name, cap)| (&**name, *cap))
    }

    /// The caps of single subjects, in declared order.
    pub fn subject_caps(&self) -> impl Iterator<Item = (&str, Cap)> {
        self.subjects.iter().map(|(name, cap)| (&**name, *cap))
    }

    /// The cap in force for `subject`, which is in `groups`: its own entry, else the chosen group's, else `max`.
    /// The cap for a subject that has none of its own.
    fn resolve(&self, groups: &[&str]) -> (Cap, Source) {
        let entries = self.groups.iter().filter(|(name, _)| groups.contains(&&**name));
        let chosen = match self.group_choice {
            GroupChoice::Smallest => entries.min_by_key(|(_, cap)| *cap),
            // `max_by_key` would take the last of equals; the first declared is the one to name.
            GroupChoice::Largest => entries.min_by_key(|(_, cap)| std::cmp::Reverse(*cap)),
        };
        chosen.map_or((self.max, Source::Default), |(name, cap)| (*cap, Source::Group(name.clone())))
    }

    /// Every cap the limit can give, each with the field and entry it stands in.
    fn caps(&self) -> impl Iterator<Item = (&'static str, Option<&str>, Cap)> {
        let groups = self.groups.iter().map(|(name, cap)| ("groups", Some(&**name), *cap));
        let subjects = self.subjects.iter().map(|(name, cap)| ("subjects", Some(&**name), *cap));
        std::iter::once(("max", None, self.max)).chain(groups).chain(subjects)
    }
}

/// Which limits exist, on what, for whom, and what usage costs. A value: an engine enforces it from when it is given until another one
/// is swapped in.
///
/// From code with [`Policy::builder`]; from text with `Policy::from_toml` and `Policy::from_json` (features `toml`, `json`). Both
/// go through the same checks.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) resources: Vec<(Box<str>, Unit)>,
    pub(crate) kinds: BTreeSet<Box<str>>,
    members: HashMap<Subject, Vec<Box<str>>>,
    exempt: BTreeSet<Subject>,
    exempt_groups: BTreeSet<Box<str>>,
    pub(crate) limits: Vec<Limit>,
    /// The caps of single subjects, each with the position of its limit: there may be very many.
    own: HashMap<Subject, Vec<(usize, Cap)>>,
    resets: Vec<PaidReset>,
    pub(crate) rates: Rates,
}

impl Policy {
    /// The subjects of which it says something that it does not say of their kind.
    pub(crate) fn named_subjects(&self) -> impl Iterator<Item = &Subject> {
        let matters = |subject: &Subject, group: &str| {
            let mut limits = self.limits.iter().filter(|limit| *limit.kind == *subject.kind());
            self.exempt_groups.contains(group)
                || limits.any(|limit| limit.groups.iter().any(|(name, _)| **name == *group))
        };
        let members = self.members.iter();
        let members = members.filter(move |(subject, groups)| groups.iter().any(|group| matters(subject, group)));
        self.own.keys().chain(members.map(|(subject, _)| subject)).chain(&self.exempt)
    }

    /// A policy to be put together in code.
    ///
    /// ```
    /// use encumber::{Cap, Limit, Policy, Unit, Window};
    /// let policy = Policy::builder()
    ///     .resource("usd", Unit::Usd)
    ///     .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(25_000_000_000)))
    ///     .build()?;
    /// let typo = Policy::builder().limit(Limit::new("x", "user", "used", Window::Day, Cap::Max(1))).build();
    /// assert_eq!(typo.unwrap_err().to_string(), "limits[0].resource: the resource \"used\" is not declared");
    /// # Ok::<(), encumber::PolicyError>(())
    /// ```
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder::default()
    }

    /// Reads a policy from TOML text. The format is described in `docs/policy.md`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and key. Nothing is taken over from a policy with an error.
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        read::policy(&toml::parse(text)?)
    }

    /// Reads a policy from JSON text: the same tables and keys as in TOML.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and key. Nothing is taken over from a policy with an error.
    #[cfg(feature = "json")]
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        read::policy(&json::parse(text)?)
    }

    /// The limits, in the policy's order: the first that is violated is the one that a refusal names first.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The resets that subjects can buy, in declared order. The limits that count them come last in [`Policy::limits`].
    pub fn resets(&self) -> &[PaidReset] {
        &self.resets
    }

    /// The declared resources and their units, in declared order.
    pub fn resources(&self) -> impl Iterator<Item = (&str, Unit)> {
        self.resources.iter().map(|(name, unit)| (&**name, *unit))
    }

    /// The unit of a declared resource.
    pub fn unit(&self, resource: &str) -> Option<Unit> {
        self.resources.iter().find(|(name, _)| **name == *resource).map(|&(_, unit)| unit)
    }

    /// The groups that the policy puts a subject in, in declared order.
    pub fn groups_of(&self, subject: &Subject) -> impl Iterator<Item = &str> {
        self.members.get(subject).into_iter().flatten().map(AsRef::as_ref)
    }

    /// Whether subjects of `kind` are known: the kind is declared, limited, or `global`.
    pub fn knows_kind(&self, kind: &str) -> bool {
        kind == GLOBAL || self.kinds.contains(kind)
    }

    /// Whether a subject that the host says is in `groups` is exempt from every limit, by itself or by a group that it is in.
    pub fn is_exempt(&self, subject: &Subject, groups: &[&str]) -> bool {
        self.exempt.contains(subject)
            || !self.exempt_groups.is_empty()
                && groups.iter().copied().chain(self.groups_of(subject)).any(|group| self.exempt_groups.contains(group))
    }

    /// The tables by which usage is turned into amounts.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// This policy with other cost tables: its own with more prices, such as those of a price file, or all new ones.
    ///
    /// ```
    /// use encumber::{Policy, Price, Ratio, TokenClass, Unit};
    /// let policy = Policy::builder().resource("usd", Unit::Usd).build()?; // or from a text
    /// let rates = policy.rates().clone().price("m", Price::new().with(TokenClass::Input, Ratio::from(3)));
    /// let policy = policy.with_rates(rates);
    /// assert!(policy.rates().price_of("m").is_some());
    /// # Ok::<(), encumber::PolicyError>(())
    /// ```
    pub fn with_rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// The caps in force for a subject that the host says is in `groups` besides those that the policy puts it in: for each limit on
    /// its kind, in the policy's order, the limit, its cap and where the cap comes from. Empty when no limit is on its kind. An exempt
    /// subject is unlimited in all of them.
    pub fn resolve<'a>(&'a self, subject: &Subject, groups: &[&str]) -> Vec<(&'a Limit, Cap, Source)> {
        let is_exempt = self.is_exempt(subject, groups);
        let mut groups = groups.to_vec();
        groups.extend(self.members.get(subject).into_iter().flatten().map(AsRef::<str>::as_ref));
        let own = self.own.get(subject).map_or(&[][..], Vec::as_slice);
        let own = |index| own.iter().find(|(limit, _)| *limit == index).map(|(_, cap)| (*cap, Source::Subject));
        self.limits
            .iter()
            .enumerate()
            .filter(|(_, limit)| *limit.kind == *subject.kind())
            .map(|(index, limit)| {
                let unlimited = is_exempt.then_some((Cap::Unlimited, Source::Exempt));
                let (cap, source) = unlimited.or_else(|| own(index)).unwrap_or_else(|| limit.resolve(&groups));
                (limit, cap, source)
            })
            .collect()
    }
}

/// Puts a [`Policy`] together; [`PolicyBuilder::build`] checks it whole.
#[derive(Clone, Debug, Default)]
pub struct PolicyBuilder {
    resources: Vec<(Box<str>, Unit)>,
    kinds: Vec<Box<str>>,
    groups: Vec<(Box<str>, Vec<Box<str>>)>,
    exempt: Vec<Box<str>>,
    exempt_groups: Vec<Box<str>>,
    limits: Vec<Limit>,
    resets: Vec<PaidReset>,
    rates: Rates,
}

impl PolicyBuilder {
    /// Declares a resource.
    pub fn resource(mut self, name: &str, unit: Unit) -> Self {
        self.resources.push((name.into(), unit));
        self
    }

    /// Declares a kind of subject, so that subjects of it are known although no limit names it.
    pub fn kind(mut self, kind: &str) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// Puts the subjects written in `members` (`user:7`) into a group.
    pub fn group<'a>(mut self, name: &str, members: impl IntoIterator<Item = &'a str>) -> Self {
        self.groups.push((name.into(), members.into_iter().map(Into::into).collect()));
        self
    }

    /// Exempts the subject written `subject` (`user:4`): every limit on it counts what it uses and never refuses it, whatever entries
    /// there are for it. Limits on the other subjects of a scope hold all the same, and what is unknown stays an error. Only an override that
    /// the engine was given for one budget of the subject goes before ([`Engine::set_override`](crate::Engine::set_override)).
    ///
    /// ```
    /// use encumber::{Cap, Engine, Limit, Policy, Unit, Window};
    /// let policy = Policy::builder()
    ///     .resource("calls", Unit::Count)
    ///     .limit(Limit::new("user-day", "user", "calls", Window::Day, Cap::Max(1)))
    ///     .exempt("user:4")
    ///     .build()?;
    /// let engine = Engine::new(policy);
    /// let calls = engine.resource("calls")?;
    /// let scope = engine.scope(["user:4"])?;
    /// scope.try_charge(calls.of(5))?;
    /// assert_eq!((scope.usage()?[0].used, scope.usage()?[0].cap), (5, Cap::Unlimited));
    /// assert!(engine.resource("cals").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exempt(mut self, subject: &str) -> Self {
        self.exempt.push(subject.into());
        self
    }

    /// Exempts every member of `group`, as [`PolicyBuilder::exempt`] does one subject.
    pub fn exempt_group(mut self, group: &str) -> Self {
        self.exempt_groups.push(group.into());
        self
    }

    /// Adds a limit, after those added before.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Adds a reset that subjects can buy.
    pub fn reset(mut self, reset: PaidReset) -> Self {
        self.resets.push(reset);
        self
    }

    /// Sets the tables by which usage is turned into amounts. Without them whatever is unknown is refused.
    pub fn rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// Checks everything and makes the policy.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn build(self) -> Result<Policy, PolicyError> {
        self.assemble().map_err(|fault| PolicyError {
            line: None,
            key: fault.place.to_string().into(),
            cause: fault.cause,
        })
    }

    fn assemble(mut self) -> Result<Policy, Fault> {
        let mut kinds = BTreeSet::new();
        for (index, (name, _)) in self.resources.iter().enumerate() {
            let place = || Place::Resource(name.clone());
            named(name, place)?;
            if self.resources[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Fault::at(place(), PolicyCause::Duplicate(name.clone())));
            }
        }
        for (index, kind) in self.kinds.iter().enumerate() {
            named(kind, || Place::Kind(index))?;
            kinds.insert(kind.clone());
        }
        for (index, limit) in self.limits.iter().enumerate() {
            let fault = |field, entry: Option<&str>, cause| {
                Fault::at(Place::Limit { index, field, entry: entry.map(Into::into) }, cause)
            };
            check_limit(limit, &self.resources).map_err(|(field, entry, cause)| fault(field, entry, cause))?;
            if self.limits[..index].iter().any(|earlier| earlier.id == limit.id) {
                return Err(fault("id", None, PolicyCause::Duplicate(limit.id.clone())));
            }
            kinds.insert(limit.kind.clone());
        }
        resets::assemble(&self.resets, &mut self.limits, &mut self.resources)?;
        let members = members(&self.groups, &kinds)?;
        let exempt = exempt_subjects(&self.exempt, &kinds)?;
        let exempt_groups = exempt_groups(&self.exempt_groups)?;
        let Self { resources, limits, resets, rates, .. } = self;
        let own = own_caps(&limits);
        Ok(Policy { resources, kinds, members, exempt, exempt_groups, limits, own, resets, rates })
    }
}

fn named(name: &str, place: impl FnOnce() -> Place) -> Result<(), Fault> {
    if is_name(name) { Ok(()) } else { Err(Fault::at(place(), PolicyCause::Name(name.into()))) }
}

/// The caps of single subjects. The limits have been checked.
fn own_caps(limits: &[Limit]) -> HashMap<Subject, Vec<(usize, Cap)>> {
    let mut own = HashMap::<Subject, Vec<(usize, Cap)>>::new();
    for (index, limit) in limits.iter().enumerate() {
        for (text, cap) in &limit.subjects {
            if let Ok(subject) = text.parse() {
                own.entry(subject).or_default().push((index, *cap));
            }
        }
    }
    own
}

/// Which groups each subject is in.
fn members(
    groups: &[(Box<str>, Vec<Box<str>>)],
    kinds: &BTreeSet<Box<str>>,
) -> Result<HashMap<Subject, Vec<Box<str>>>, Fault> {
    let mut members = HashMap::<Subject, Vec<Box<str>>>::new();
    for (index, (group, subjects)) in groups.iter().enumerate() {
        let place = |member| Place::Group { name: group.clone(), member };
        named(group, || place(None))?;
        if groups[..index].iter().any(|(earlier, _)| earlier == group) {
            return Err(Fault::at(place(None), PolicyCause::Duplicate(group.clone())));
        }
        for (member, text) in subjects.iter().enumerate() {
            let subject = known_subject(text, kinds).map_err(|cause| Fault::at(place(Some(member)), cause))?;
            members.entry(subject).or_default().push(group.clone());
        }
    }
    Ok(members)
}

fn exempt_subjects(texts: &[Box<str>], kinds: &BTreeSet<Box<str>>) -> Result<BTreeSet<Subject>, Fault> {
    let mut exempt = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        let fault = |cause| Fault::at(Place::Exempt(index), cause);
        let subject = known_subject(text, kinds).map_err(fault)?;
        if !exempt.insert(subject) {
            return Err(fault(PolicyCause::Duplicate(text.clone())));
        }
    }
    Ok(exempt)
}

/// A subject of a kind that is declared, limited, or `global`: with any other, a typo would go unseen.
fn known_subject(text: &str, kinds: &BTreeSet<Box<str>>) -> Result<Subject, PolicyCause> {
    let subject: Subject = text.parse().map_err(PolicyCause::Subject)?;
    let is_known = subject.kind() == GLOBAL || kinds.contains(subject.kind());
    if is_known { Ok(subject) } else { Err(PolicyCause::UnknownKind(subject.kind().into())) }
}

fn exempt_groups(groups: &[Box<str>]) -> Result<BTreeSet<Box<str>>, Fault> {
    let mut exempt = BTreeSet::new();
    for (index, group) in groups.iter().enumerate() {
        named(group, || Place::ExemptGroup(index))?;
        if !exempt.insert(group.clone()) {
            return Err(Fault::at(Place::ExemptGroup(index), PolicyCause::Duplicate(group.clone())));
        }
    }
    Ok(exempt)
}

type LimitFault<'a> = (&'static str, Option<&'a str>, PolicyCause);

fn check_limit<'a>(limit: &'a Limit, resources: &[(Box<str>, Unit)]) -> Result<(), LimitFault<'a>> {
    for (field, name) in [("id", &limit.id), ("subject", &limit.kind)] {
        if !is_name(name) {
            return Err((field, None, PolicyCause::Name(name.clone())));
        }
    }
    let Some((_, unit)) = resources.iter().find(|(name, _)| *name == limit.resource) else {
        return Err(("resource", None, PolicyCause::UndeclaredResource(limit.resource.clone())));
    };
    let cap_max = limit.window.cap_max();
    for (field, entry, cap) in limit.caps() {
        if cap.max().is_some_and(|max| max > cap_max) {
            let cause = PolicyCause::MaxTooLarge { window: limit.window, unit: *unit, cap_max };
            return Err((field, entry, cause));
        }
    }
    for (index, (name, _)) in limit.groups.iter().enumerate() {
        if !is_name(name) {
            return Err(("groups", Some(name), PolicyCause::Name(name.clone())));
        }
        if limit.groups[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(("groups", Some(name), PolicyCause::Duplicate(name.clone())));
        }
    }
    // There may be very many.
    let mut seen = HashSet::with_capacity(limit.subjects.len());
    for (text, _) in &limit.subjects {
        let subject: Subject = text.parse().map_err(|e| ("subjects", Some(&**text), PolicyCause::Subject(e)))?;
        if *subject.kind() != *limit.kind {
            let cause = PolicyCause::WrongKind { subject: text.clone(), kind: limit.kind.clone() };
            return Err(("subjects", Some(text), cause));
        }
        if !seen.insert(text) {
            return Err(("subjects", Some(text), PolicyCause::Duplicate(text.clone())));
        }
    }
    if let Some(Warn::Percent(percent)) = limit.warn.iter().find(|w| matches!(w, Warn::Percent(0 | 101..))) {
        return Err(("warn", None, PolicyCause::Percent(percent.to_string().into())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::NAME_RULE;

    fn limit(id: &str) -> Limit {
        Limit::new(id, "user", "usd", Window::Day, Cap::Max(5))
    }

    fn built(limits: impl IntoIterator<Item = Limit>) -> Result<Policy, PolicyError> {
        let builder =
            Policy::builder().resource("usd", Unit::Usd).group("a", ["user:1", "user:2"]).group("b", ["user:1"]);
        limits.into_iter().fold(builder, PolicyBuilder::limit).build()
    }

    #[test]
    fn own_entry_then_group_then_max() {
        let base = limit("x").group("a", Cap::Max(7)).group("b", Cap::Max(3)).subject("user:9", Cap::Max(0));
        let policy = built([base.clone(), base.clone().group_choice(GroupChoice::Largest)].map(|mut l| {
            l.id = format!("x{:?}", l.group_choice).into();
            l
        }))
        .unwrap();
        let caps = |subject: &str, groups: &[&str]| -> Vec<(Cap, Source)> {
            policy
                .resolve(&subject.parse().unwrap(), groups)
                .into_iter()
                .map(|(_, cap, source)| (cap, source))
                .collect()
        };
        let group = |name: &str| Source::Group(name.into());
        assert_eq!(caps("user:1", &[]), [(Cap::Max(3), group("b")), (Cap::Max(7), group("a"))]);
        assert_eq!(caps("user:2", &[]), [(Cap::Max(7), group("a")), (Cap::Max(7), group("a"))]);
        assert_eq!(caps("user:3", &["b"])[0], (Cap::Max(3), group("b")));
        assert_eq!(caps("user:3", &["unknown"])[0], (Cap::Max(5), Source::Default));
        assert_eq!(caps("user:9", &["a"])[0], (Cap::Max(0), Source::Subject));
        assert_eq!(caps("agent:1", &[]), []);
    }

    #[test]
    fn faults_name_their_key() {
        let fault = |limit: Limit| built([limit]).unwrap_err().to_string();
        assert_eq!(fault(limit("")), "limits[0].id: \"\" cannot be a name: ".to_owned() + NAME_RULE);
        assert!(fault(limit("a\"b")).starts_with("limits[0].id: \"a\\\"b\" cannot"));
        assert!(fault(limit("x").group("g", Cap::Max(1 << 48))).starts_with("limits[0].groups.g: a budget with a day"));
        assert!(fault(limit("x").subject("agent:1", Cap::Max(1))).contains("not of the limit's kind"));
        assert!(fault(limit("x").subject("user:", Cap::Max(1))).starts_with("limits[0].subjects.\"user:\": the id"));
        assert!(fault(limit("x").warn_percent([101])).starts_with("limits[0].warn"));
        let twice = built([limit("x"), limit("x")]).unwrap_err();
        assert_eq!((twice.key(), twice.cause()), ("limits[1].id", &PolicyCause::Duplicate("x".into())));
        assert!(built([limit("x").subject("user:1", Cap::Max((1 << 48) - 2))]).is_ok());
    }
}
