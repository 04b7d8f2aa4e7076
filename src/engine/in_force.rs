//! A policy made ready: names turned into numbers, so that operations compare integers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;

use crate::amount::{Cap, Cost, Resource, Unit};
use crate::charge::{Label, Seat};
use crate::cost::{CostError, Usage};
use crate::meter::{MeterRef, Striping};
use crate::policy::{Enforcement, Limit, Policy};
use crate::registry::Rule;
use crate::subject::Subject;
use crate::window::Window;

/// The numbers that an engine has given to names. They only grow: a number means the same under every policy.
#[derive(Debug, Default)]
pub(crate) struct Names {
    resources: Vec<Box<str>>,
    rules: HashMap<(Box<str>, Resource, Window), u32>,
}

impl Names {
    /// The number of the resource `name`, a new one the first time it is named.
    pub(crate) fn resource(&mut self, engine: u32, name: &str) -> Resource {
        let index = self.resources.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.resources.push(name.into());
            self.resources.len() - 1
        });
        Resource::new(engine, index as u32)
    }

    fn rule(&mut self, limit: &Limit, resource: Resource) -> Rule {
        self.rule_of(limit.id(), resource, limit.window())
    }

    /// The number of the rule with these names, a new one the first time it is named.
    pub(crate) fn rule_of(&mut self, limit: &str, resource: Resource, window: Window) -> Rule {
        let next = self.rules.len() as u32;
        (*self.rules.entry((limit.into(), resource, window)).or_insert(next), window)
    }

    /// What a resource is called.
    #[cfg(feature = "persist")]
    pub(crate) fn resource_name(&self, resource: Resource) -> Option<&str> {
        self.resources.get(resource.index()).map(AsRef::as_ref)
    }

    /// All rules by their numbers: limit, resource and window.
    #[cfg(feature = "persist")]
    pub(crate) fn all_rules(&self) -> Vec<(Box<str>, Box<str>, Window)> {
        let mut rules: Vec<_> = self
            .rules
            .iter()
            .map(|((limit, resource, window), number)| (*number, &**limit, *resource, *window))
            .collect();
        rules.sort_unstable_by_key(|(number, ..)| *number);
        let named = |(_, limit, resource, window): (u32, &str, Resource, Window)| {
            (limit.into(), self.resource_name(resource).unwrap_or_default().into(), window)
        };
        rules.into_iter().map(named).collect()
    }
}

/// A policy in force in an engine.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) policy: Policy,
    pub(crate) limits: Box<[LimitInForce]>,
    engine: u32,
    /// By index of the resource: whether the policy declares it.
    declared: Box<[bool]>,
    /// The declared resources, in the policy's order.
    resources: Box<[(Resource, Costing)]>,
    /// Subjects of which the policy says something that it does not say of their kind.
    named: HashSet<Subject, RandomState>,
}

/// A limit's names and numbers.
#[derive(Debug)]
pub(crate) struct LimitInForce {
    pub(crate) label: Arc<Label>,
    pub(crate) resource: Resource,
    pub(crate) rule: Rule,
    striping: Striping,
}

impl LimitInForce {
    /// The place of its budget of `subject`, under these limits.
    pub(crate) fn seat(&self, meter: MeterRef, subject: &Subject, limits: (Cap, Enforcement)) -> Seat {
        let called = (Arc::clone(&self.label), subject.clone());
        Seat::new(meter, called, self.resource, self.rule.1, limits).striped(self.striping)
    }
}

/// How a resource follows from usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Costing {
    Priced,
    Weighed,
    PerCall,
    /// The host charges it itself.
    ByHost,
}

impl InForce {
    pub(super) fn new(policy: Policy, (engine, striping): (u32, Striping), names: &mut Names) -> Self {
        let costing = |name: &str, unit| match (unit, name) {
            (Unit::Usd, _) => Costing::Priced,
            (Unit::Count, "tokens") => Costing::Weighed,
            (Unit::Count, name) if policy.rates.weighs(name) => Costing::Weighed,
            (Unit::Count, "calls") => Costing::PerCall,
            (Unit::Count, _) => Costing::ByHost,
        };
        let resources: Box<[_]> =
            policy.resources().map(|(name, unit)| (names.resource(engine, name), costing(name, unit))).collect();
        let limits = policy
            .limits()
            .iter()
            .map(|limit| {
                let resource = names.resource(engine, limit.resource());
                let label = Label {
                    limit: limit.id().into(),
                    resource: limit.resource().into(),
                    unit: policy.unit(limit.resource()).unwrap_or(Unit::Count),
                    warn: limit.warnings().into(),
                    #[cfg(feature = "persist")]
                    carrier: 0,
                };
                let striping = match limit.is_striped() {
                    None => striping,
                    Some(true) => Striping::Always,
                    Some(false) => Striping::Off,
                };
                LimitInForce { label: Arc::new(label), resource, rule: names.rule(limit, resource), striping }
            })
            .collect();
        let mut declared = vec![false; names.resources.len()];
        for (resource, _) in &resources {
            declared[resource.index()] = true;
        }
        let declared = declared.into();
        Self { limits, engine, declared, resources, named: policy.named_subjects().cloned().collect(), policy }
    }

    /// Whether the policy says something of the subject with this text that it does not say of its kind.
    #[inline]
    pub(crate) fn names(&self, subject: &str) -> bool {
        !self.named.is_empty() && self.named.contains(subject)
    }

    /// Whether the policy declares the resource.
    #[inline]
    pub(crate) fn declares(&self, resource: Resource) -> bool {
        resource.engine() == self.engine && self.declared.get(resource.index()).is_some_and(|declared| *declared)
    }

    /// The declared resource of that name.
    pub(crate) fn resource(&self, name: &str) -> Option<Resource> {
        let index = self.policy.resources().position(|(declared, _)| declared == name)?;
        self.resources.get(index).map(|&(resource, _)| resource)
    }

    /// What a declared resource is called, and its unit.
    pub(crate) fn name(&self, resource: Resource) -> Option<(&str, Unit)> {
        let index = self.resources.iter().position(|&(declared, _)| declared == resource)?;
        self.policy.resources().nth(index)
    }

    /// The cost of a call, in every resource that follows from usage; money as told, else by price.
    pub(crate) fn cost(&self, usage: &Usage, nanos: Option<u64>) -> Result<Cost, CostError> {
        let mut cost = Cost::nothing();
        for (&(resource, costing), (name, _)) in self.resources.iter().zip(self.policy.resources()) {
            let (amount, unpriced) = match costing {
                Costing::Priced => match nanos {
                    Some(nanos) => (nanos, false),
                    None => self.policy.rates.nanos(usage)?,
                },
                Costing::Weighed => self.policy.rates.weigh(name, usage)?,
                Costing::PerCall => (1, false),
                Costing::ByHost => continue,
            };
            cost.add(resource, amount);
            cost.unpriced |= unpriced;
        }
        Ok(cost)
    }
}
