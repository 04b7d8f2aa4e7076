//! What the open reservations hold, kept apart from both sides: by budget and window, as the budgets stood when they were admitted.

use std::collections::BTreeMap;

use encumber::{BudgetUsage, Window};

/// A budget and one of its windows: limit, subject, resource, window, start.
type Place = (String, String, String, Window, Option<i64>);

/// What one reservation holds, admission by admission.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<Part>);

#[derive(Debug, Default)]
struct Part {
    amounts: BTreeMap<String, u64>,
    places: Vec<Place>,
}

impl Holds {
    /// Adds an admitted hold: the usage of its scope just after, and the amount of each resource.
    pub(super) fn admit(&mut self, usage: &[BudgetUsage], amount: impl Fn(&str) -> Option<u64>) {
        let places: Vec<_> = usage.iter().map(place).collect();
        let named = |place: &Place| Some((place.2.clone(), amount(&place.2)?));
        self.0.push(Part { amounts: places.iter().filter_map(named).collect(), places });
    }

    /// Moves amounts to another reservation, of the newest admission first.
    pub(super) fn split(&mut self, amount: impl Fn(&str) -> Option<u64>) -> Self {
        let mut taken = Vec::new();
        let mut given = BTreeMap::<String, u64>::new();
        for part in self.0.iter_mut().rev() {
            let mut share = Part { amounts: BTreeMap::new(), places: part.places.clone() };
            for (resource, there) in &mut part.amounts {
                let given = given.entry(resource.clone()).or_default();
                let moved = (amount(resource).unwrap_or(0) - *given).min(*there);
                (*there, *given) = (*there - moved, *given + moved);
                share.amounts.insert(resource.clone(), moved);
            }
            taken.push(share);
        }
        taken.reverse();
        Self(taken)
    }

    /// How much is held of the budget in the window that `usage` is about; where windows are no slices of time, how much at most.
    pub(super) fn in_window(&self, usage: &BudgetUsage) -> u128 {
        let asked = place(usage);
        let is_asked = |place: &&Place| {
            let is_budget = (&place.0, &place.1, &place.2, place.3) == (&asked.0, &asked.1, &asked.2, asked.3);
            is_budget && (place.4 == asked.4 || !is_sliced(usage.window))
        };
        let amount = |part: &Part| {
            let places = part.places.iter().filter(is_asked).count() as u128;
            places * u128::from(part.amounts.get(&asked.2).copied().unwrap_or(0))
        };
        self.0.iter().map(amount).sum()
    }
}

/// Whether a budget's windows are slices of time.
pub(super) fn is_sliced(window: Window) -> bool {
    !matches!(window, Window::Rolling(_) | Window::FirstUse(_))
}

fn place(usage: &BudgetUsage) -> Place {
    let start = usage.bounds.map(|bounds| bounds.start.as_micros());
    (usage.limit.to_string(), usage.subject.to_string(), usage.resource.to_string(), usage.window, start)
}
