//! What calls cost: by the policy's tables, or, where these know no price, as the trace itself recorded it.

use anyhow::Result;
use encumber::{Cost, CostError, Engine, Policy, PolicyError, Price, Ratio, Resource, TokenClass, Unit, Usage};

/// The resources of a policy and how calls are charged for them.
pub(super) struct Costs {
    engine: Engine,
    /// The same tables, in which the model [`NO_MODEL`] costs no money.
    free: Engine,
    resources: Vec<Charged>,
}

/// A resource of the policy, as both engines know it.
struct Charged {
    resource: Resource,
    unit: Unit,
    in_free: Resource,
}

/// What a call costs, and whether a part of it counted as 0 because it has no price.
pub(super) struct Costed {
    pub(super) cost: Cost,
    pub(super) is_unpriced: bool,
}

impl Costs {
    /// # Errors
    /// None for the engine of a policy that was checked.
    pub(super) fn new(engine: &Engine) -> Result<Self> {
        let policy = engine.policy();
        let free = Engine::new(without_money(&policy)?);
        let resources = policy
            .resources()
            .map(|(name, unit)| Ok(Charged { resource: engine.resource(name)?, unit, in_free: free.resource(name)? }))
            .collect::<Result<_>>()?;
        Ok(Self { engine: engine.clone(), free, resources })
    }

    /// The policy's resources, in its order.
    pub(super) fn resources(&self) -> Vec<Resource> {
        self.resources.iter().map(|charged| charged.resource).collect()
    }

    /// What `usage` costs. Money that the tables have no price for is `recorded_nanos`, where the trace has that.
    ///
    /// # Errors
    /// When there is neither a price nor a recorded cost, and the policy refuses such calls.
    pub(super) fn of(&self, usage: &Usage, recorded_nanos: Option<u64>) -> Result<Costed, CostError> {
        match (self.engine.cost(usage), recorded_nanos) {
            (Ok(cost), Some(nanos)) if cost.is_unpriced() => self.recorded(usage, nanos),
            (Err(_), Some(nanos)) => self.recorded(usage, nanos),
            (Ok(cost), _) => Ok(Costed { is_unpriced: cost.is_unpriced(), cost }),
            (Err(error), None) => Err(error),
        }
    }

    /// Nothing of everything that `cost` names: asks whether anything is left.
    pub(super) fn nothing_of(cost: &Cost) -> Cost {
        cost.iter().fold(Cost::nothing(), |nothing, (resource, _)| nothing.and(resource, 0))
    }

    fn recorded(&self, usage: &Usage, nanos: u64) -> Result<Costed, CostError> {
        let counted = self.free.cost(&usage.clone().model(NO_MODEL))?;
        let mut cost = Cost::nothing();
        for &Charged { resource, unit, in_free } in &self.resources {
            match counted.amount(in_free) {
                Some(_) if unit == Unit::Usd => cost.add(resource, nanos),
                Some(amount) => cost.add(resource, amount),
                None => {}
            }
        }
        Ok(Costed { cost, is_unpriced: false })
    }
}

/// Stands in for a model whose money is known from elsewhere.
const NO_MODEL: &str = "";

fn without_money(policy: &Policy) -> Result<Policy, PolicyError> {
    let free = TokenClass::ALL.into_iter().fold(Price::new(), |price, class| price.with(class, Ratio::ZERO));
    let free = free.with_web_search(Ratio::ZERO);
    let rates = policy.rates().clone().price(NO_MODEL, free);
    let builder = policy.resources().fold(Policy::builder(), |builder, (name, unit)| builder.resource(name, unit));
    builder.rates(rates).build()
}
