//! What the open reservations hold, kept apart from both sides: by budget and window, as the budgets stood when they were admitted.

use encumber::{BudgetUsage, Window};

/// A budget and one of its windows: limit, subject, resource, window, start.
type Place = (String, String, String, Window, Option<i64>);

/// What one reservation holds.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<(Place, u64)>);

impl Holds {
    /// Adds an admitted hold: the usage of its scope just after, and the amount of each resource.
    pub(super) fn admit(&mut self, usage: &[BudgetUsage], amount: impl Fn(&str) -> Option<u64>) {
        let held = usage.iter().filter_map(|usage| Some((place(usage), amount(&usage.resource)?)));
        self.0.extend(held.filter(|(_, amount)| *amount > 0));
    }

    /// How much is held of the budget in the window that `usage` is about.
    pub(super) fn in_window(&self, usage: &BudgetUsage) -> u128 {
        let place = place(usage);
        self.0.iter().filter(|(held, _)| *held == place).map(|(_, amount)| u128::from(*amount)).sum()
    }

    /// The starts of the windows of a budget in which something is held.
    pub(super) fn starts(&self, limit: &str, subject: &str) -> impl Iterator<Item = i64> {
        let is_of = move |place: &Place| place.0 == limit && place.1 == subject;
        self.0.iter().filter(move |(place, _)| is_of(place)).filter_map(|(place, _)| place.4)
    }
}

fn place(usage: &BudgetUsage) -> Place {
    let start = usage.bounds.map(|bounds| bounds.start.as_micros());
    (usage.limit.to_string(), usage.subject.to_string(), usage.resource.to_string(), usage.window, start)
}
