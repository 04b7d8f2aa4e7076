//! budget-context: budgets in a tree, each call charged to a node and all above it, under a lock of each.

use anyhow::Result;
use budget_context::{Budget, Resource};

use crate::contender::{Contender, Group, Plan, Seats, Spec, worst_case};

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Levels, Refusal, Settle, SettleLevels};
    let package = "budget-context";
    vec![
        Spec::new("budget-context, consume", package, &[Direct, Refusal], |plan| plan.seats(|| Node::root(plan.max))),
        Spec::new("budget-context, reserve + commit", package, &[Settle], |plan| {
            plan.seats(|| Ok(Settling(Node::root(plan.max)?)))
        }),
        Spec::new("budget-context, consume in a tree", package, &[Levels], |plan| levels(plan, |node| node)),
        Spec::new("budget-context, reserve + commit in a tree", package, &[SettleLevels], |plan| {
            levels(plan, Settling)
        }),
    ]
}

#[derive(Clone)]
struct Node {
    budget: Budget,
    tokens: Resource,
}

impl Node {
    fn root(max: u64) -> Result<Self> {
        let tokens = Resource::new("tokens")?;
        Ok(Self { budget: Budget::builder().limit(tokens.clone(), max).build()?, tokens })
    }

    fn child(&self, max: u64) -> Result<Self> {
        let budget = self.budget.child().limit(self.tokens.clone(), max).build()?;
        Ok(Self { budget, tokens: self.tokens.clone() })
    }
}

/// The total, a user below it, and an agent for each thread below that.
fn levels<C: Contender + 'static>(plan: &Plan, seat: fn(Node) -> C) -> Result<Seats> {
    let user = Node::root(plan.max)?.child(plan.max)?;
    plan.each(|_| Ok(seat(user.child(plan.max)?)))
}

impl Contender for Node {
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.budget.consume(&self.tokens, amount).is_ok()
    }
}

#[derive(Clone)]
struct Settling(Node);

impl Contender for Settling {
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        let Node { budget, tokens } = &self.0;
        budget.reserve(tokens, worst_case(amount)).is_ok_and(|hold| hold.commit(amount).is_ok())
    }
}
