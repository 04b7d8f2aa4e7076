//! Amounts as both sides write them.

use encumber::Cost;

use super::drive::Run;
use super::script::{Amount, Costs};
use super::world::RESOURCES;

/// A cost as both sides write it.
#[derive(Clone)]
pub(super) struct Spelled {
    pub(super) engine: Cost,
    pub(super) model: Vec<(&'static str, u64)>,
}

impl Run {
    /// The cost with amounts resolved; `around` tells what an amount may be near to.
    pub(super) fn spelled(&self, costs: &Costs, around: impl Fn(&Self, &'static str) -> u64) -> Spelled {
        let (mut engine, mut model) = (Cost::nothing(), Vec::new());
        for ((name, resource), amount) in RESOURCES.into_iter().zip(self.resources).zip(costs.amounts) {
            let Some(amount) = amount else { continue };
            let amount = resolved(amount, around(self, name));
            let first = if costs.split { amount / 2 } else { amount };
            let parts = [Some(first), costs.split.then_some(amount - first)];
            for part in parts.into_iter().flatten() {
                engine.add(resource, part);
                model.push((name, part));
            }
        }
        Spelled { engine, model }
    }

    /// The same cost in the resources of another engine.
    pub(super) fn spelled_again(&self, spelled: &Spelled) -> Spelled {
        let mut engine = Cost::nothing();
        for (name, amount) in &spelled.model {
            let place = RESOURCES.iter().position(|known| known == name).unwrap_or_default();
            engine.add(self.resources[place], *amount);
        }
        Spelled { engine, model: spelled.model.clone() }
    }

    /// What is left of a resource to the subjects; a small amount where nothing caps it.
    pub(super) fn room(&self, subjects: &[&str], resource: &str) -> u64 {
        self.model.room(subjects, resource, self.at()).ok().flatten().unwrap_or(7)
    }

    /// What the reservation at `index` holds of a resource; a small amount when it does not name it.
    pub(super) fn holds_of(&self, index: usize, resource: &str) -> u64 {
        let place = RESOURCES.iter().position(|name| *name == resource).unwrap_or_default();
        self.held[index].handle.held().amount(self.resources[place]).unwrap_or(3)
    }
}

/// The amount, where `around` is what it may be near to.
pub(super) fn resolved(amount: Amount, around: u64) -> u64 {
    match amount {
        Amount::Small(amount) => amount.into(),
        Amount::Around(delta) => around.saturating_add_signed(delta.into()),
        Amount::Huge(amount) => amount,
    }
}

/// What a cost names of a resource.
pub(super) fn amount_of(cost: &[(&str, u64)], resource: &str) -> Option<u64> {
    let parts = cost.iter().filter(|(name, _)| *name == resource).map(|(_, amount)| *amount);
    parts.reduce(u64::saturating_add)
}
