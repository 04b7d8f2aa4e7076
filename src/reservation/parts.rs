//! The parts of a hold: what each admission took, in its windows, and how a total is shared among them.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::amount::{Cost, Resource};
use crate::charge::{Windows, copied};
use crate::meter::Settled;
use crate::report::{Charged, Overage};
use crate::scope::Plan;
use crate::time::Timestamp;
use crate::window::Window;

/// A hold that was admitted in one step.
pub(super) struct Part {
    /// The scope as it was resolved then.
    pub(super) plan: Arc<Plan>,
    pub(super) cost: Cost,
    pub(super) windows: Windows,
}

/// A part and what it holds now: what it was admitted with, less what was split off.
#[derive(Clone, Copy)]
pub(super) struct Share<'a> {
    pub(super) part: &'a Part,
    pub(super) held: &'a Cost,
}

/// Overages, each with the window that it is about.
pub(super) type Overages = SmallVec<[((Window, i64), Overage); 0]>;

impl Part {
    /// Changes what this part has charged from `before` to `after`, resource by resource, at the instant `at`: what it holds, or what it had
    /// charged after `resets` of the engine's resets. Says whether a window had ended.
    pub(super) fn change(
        &self,
        at: Timestamp,
        (before, resets): (&Cost, Option<u64>),
        after: &Cost,
        overages: &mut Overages,
    ) -> bool {
        let mut late = false;
        let seats = self.plan.seats.iter().zip(&self.windows).enumerate();
        for (index, (seat, &window)) in seats {
            let (from, to) = (before.amount(seat.resource), after.amount(seat.resource));
            if from.is_none() && to.is_none() {
                continue;
            }
            let (from, to) = (from.unwrap_or(0), to.unwrap_or(0));
            let meter = &*seat.meter;
            let settled = match resets {
                None => meter.settle(window, from, to),
                Some(resets) => meter.adjust(window, from, to, resets),
            };
            let charged = match settled {
                Settled::Current { charged } => Some(charged),
                Settled::Late { charged } => {
                    late = true;
                    charged
                }
            };
            // What is forgotten, or no longer counts in a rolling window, says nothing about what other parts found.
            let Some(charged) = charged else { continue };
            seat.tell_counted(&*self.plan.core, at, (window, charged), to.saturating_sub(from));
            // Nearly always there is nothing to say.
            if overages.is_empty() && seat.is_within(charged) {
                continue;
            }
            let number = meter.now_numbered(window);
            // A later part may have given the window room again. A rolling budget counts all parts together.
            let place = (seat.window, if meter.has_several_words() { 0 } else { number });
            overages.retain(|earlier| !(self.plan.is_about(index, &earlier.1) && earlier.0 == place));
            overages.extend(self.plan.overage(index, number, charged).map(|overage| (place, overage)));
        }
        late
    }
}

impl Part {
    /// Whether it has budgets of the resource.
    pub(super) fn counts(&self, resource: Resource) -> bool {
        self.plan.seats.iter().any(|seat| seat.resource == resource)
    }

    /// Another one in the same budgets and windows.
    pub(super) fn beside(&self, cost: Cost) -> Self {
        Self { plan: Arc::clone(&self.plan), cost, windows: copied(&self.windows) }
    }

    /// What a receipt says of it, of which this fell to it; all of it where nothing is named.
    pub(super) fn charged(&self, cost: Option<&Cost>) -> Charged {
        let cost = cost.map(|cost| Box::new(cost.clone()));
        Charged { plan: Arc::clone(&self.plan), windows: copied(&self.windows), cost }
    }

    /// Charges what it is to hold, whether it fits or not.
    pub(super) fn grow(&self, at: Timestamp) {
        for (seat, &window) in self.plan.seats.iter().zip(&self.windows) {
            if let Some(amount @ 1..) = self.cost.amount(seat.resource)
                && let Settled::Current { charged } = seat.meter.grow_hold(window, amount)
            {
                seat.tell_counted(&*self.plan.core, at, (window, charged), amount);
            }
        }
    }
}

/// The overages of budgets that are over after all changes: each budget once, as the last of its windows says.
pub(super) fn each_once(overages: Overages) -> SmallVec<[Overage; 0]> {
    let mut told = SmallVec::<[Overage; 0]>::new();
    if overages.is_empty() {
        return told;
    }
    for (_, overage) in overages {
        told.retain(|earlier| (&earlier.limit, &earlier.subject) != (&overage.limit, &overage.subject));
        told.push(overage);
    }
    told
}

/// What a hold has charged so far, and whether it is held.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    /// Each part what it holds: changing it settles.
    Held,
    /// This in all, after so many of the engine's resets: it was settled before.
    Charged(&'a Cost, u64),
}

/// Shares out totals among the parts, each total on its own: each part takes up to what it holds. What is above falls, resource by resource, to
/// the last one that has budgets of it: they may be of different policies.
pub(super) fn each_share<'a, const N: usize>(
    shares: &[Share<'a>],
    totals: [&Cost; N],
    mut act: impl FnMut(Share<'a>, [&Cost; N]),
) {
    // Nearly always there is one part, and nothing to share out.
    if let [only] = shares {
        return act(*only, totals);
    }
    let mut rests = totals.map(Cost::clone);
    let take = |share: &Share<'_>| rests.each_mut().map(|rest| rest.take_up_to(share.held));
    let mut costs: SmallVec<[[Cost; N]; 4]> = shares.iter().map(take).collect();
    for (total, rest) in rests.iter().enumerate() {
        for (resource, amount) in rest.iter() {
            let last = shares.iter().rposition(|share| share.part.counts(resource)).unwrap_or(shares.len() - 1);
            costs[last][total].add(resource, amount);
        }
    }
    for (share, costs) in shares.iter().zip(&costs) {
        act(*share, costs.each_ref());
    }
}
