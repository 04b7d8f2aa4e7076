//! Budgets that are written down, and read back.

use std::sync::Arc;

use super::{Books, Budgets, GROUP_MAX, Group, Kept, Registry, Rule};
use crate::meter::{Image, Meter};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;

impl Registry {
    /// The same with budgets that are written down.
    pub(crate) fn watched(self) -> Self {
        Self { is_watched: true, ..self }
    }

    /// An unused budget.
    pub(super) fn meter(&self, books: &mut Books, rule: u32, window: Window, now: Timestamp) -> Meter {
        let meter = Meter::of(&books.mould(rule, window, now), rule);
        if self.is_watched { meter.watched() } else { meter }
    }

    /// Budgets of a rule that are made from now on stand no earlier than in the window of `at`: up to there all may have been granted.
    pub(crate) fn begin_at(&self, (rule, window): Rule, at: Timestamp) {
        let mut books = self.books.lock();
        // Made, so that the rule has a chronicle.
        let _ = books.mould(rule, window, at);
        let number = window.index(at);
        if let Some(Some(Kept { chronicle, .. })) = books.rules.get_mut(rule as usize) {
            chronicle.evict((number, number.saturating_sub(1)));
        }
    }

    /// Lets the budgets of `subject` stand as their images say. One that exists already is left as it is. However many subjects there may be.
    pub(crate) fn restore(&self, subject: &Subject, budgets: &[(Rule, &Image)], now: Timestamp) {
        let text = subject.as_str();
        let mut entry = self.subjects.entry(self.hash(text));
        let books = &mut *self.books.lock();
        let known = |entry: &super::Entry<'_, u64, Budgets>, rule: u32| match entry {
            super::Entry::Occupied(place) => place.get().meter(text, rule).is_some(),
            super::Entry::Vacant(_) => false,
        };
        let missing: Vec<_> = budgets.iter().filter(|((rule, _), _)| !known(&entry, *rule)).collect();
        for chunk in missing.chunks(GROUP_MAX) {
            let group = Group::of(text, chunk, |((rule, window), image)| {
                let meter = self.meter(books, *rule, *window, now);
                meter.restore(image);
                meter
            });
            entry = match entry {
                super::Entry::Occupied(mut place) => {
                    place.get_mut().add(group);
                    super::Entry::Occupied(place)
                }
                super::Entry::Vacant(place) => {
                    Books::add(books, subject);
                    super::Entry::Occupied(place.insert_entry(Budgets::Group(group)))
                }
            };
        }
    }

    /// What the subjects have of which some budget is not as if new. Locks a shard at a time.
    pub(crate) fn in_use(&self) -> Vec<Arc<Group>> {
        let is_used = |group: &&Arc<Group>| group.meters().iter().any(Meter::is_used);
        let mut found = Vec::new();
        for budgets in &self.subjects {
            found.extend(budgets.groups().iter().filter(is_used).cloned());
        }
        found
    }
}
