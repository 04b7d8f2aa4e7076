//! Subjects and their budgets, in a sharded concurrent map.
//!
//! A budget is known by its subject and a *rule number*, which the engine gives to each combination of limit id, resource and window
//! that a policy ever named. It is made when a scope first needs it and then stays, whatever the policy says: usage survives a limit
//! that is changed, or removed and put back.

use std::sync::Arc;

use ahash::RandomState;
use dashmap::DashMap;
use smallvec::SmallVec;

use crate::meter::Meter;
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;

/// A rule number and the window its budgets have.
pub(crate) type Rule = (u32, Window);

type Budgets = SmallVec<[(u32, Arc<Meter>); 2]>;

/// The budgets of an engine. The hasher is keyed with random numbers of the process: ids cannot be chosen to collide.
#[derive(Debug)]
pub(crate) struct Registry {
    subjects: DashMap<Subject, Budgets, RandomState>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { subjects: DashMap::with_hasher(RandomState::new()) }
    }

    /// The subject's budgets for `rules`, in their order. Those that do not exist are made, unused as of `now`.
    pub(crate) fn budgets(&self, subject: &Subject, rules: &[Rule], now: Timestamp) -> Vec<Arc<Meter>> {
        if rules.is_empty() {
            return Vec::new();
        }
        if let Some(budgets) = self.subjects.get(subject) {
            let found: Option<Vec<_>> = rules.iter().map(|(rule, _)| find(&budgets, *rule)).collect();
            if let Some(found) = found {
                return found;
            }
        }
        let mut budgets = self.subjects.entry(subject.clone()).or_default();
        rules
            .iter()
            .map(|(rule, window)| {
                find(&budgets, *rule).unwrap_or_else(|| {
                    let meter = Arc::new(Meter::new(window, now));
                    budgets.push((*rule, Arc::clone(&meter)));
                    meter
                })
            })
            .collect()
    }

    /// How many subjects have budgets.
    pub(crate) fn subjects(&self) -> usize {
        self.subjects.len()
    }
}

fn find(budgets: &Budgets, rule: u32) -> Option<Arc<Meter>> {
    budgets.iter().find(|(number, _)| *number == rule).map(|(_, meter)| Arc::clone(meter))
}
