//! Limits, and which budgets a scope has under them.

use std::collections::BTreeSet;

use crate::budget::Key;
use crate::calendar::Window;

/// What happens to an amount that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// It is refused.
    Hard,
    /// It is admitted, and the budget is reported as over.
    Soft,
    /// It is admitted, and what a hard limit would have refused is reported.
    Shadow,
}

/// A rule: how much of a resource each subject of a kind may spend per window. A cap of `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The stable id.
    pub id: String,
    /// The kind of subject, `global` for the one subject in every scope.
    pub kind: String,
    /// What is counted.
    pub resource: String,
    /// When a budget starts fresh.
    pub window: Window,
    /// What happens to an amount that does not fit.
    pub enforcement: Enforcement,
    /// The cap of subjects without an entry of their own or of a group.
    pub max: Option<u64>,
    /// Caps of groups.
    pub groups: Vec<(String, Option<u64>)>,
    /// Whether the largest entry of a subject's groups counts, and not the smallest.
    pub largest_group: bool,
    /// Caps of single subjects, written `user:7`.
    pub subjects: Vec<(String, Option<u64>)>,
    /// Percentages of the cap from which the status is a warning.
    pub warn: Vec<u8>,
}

impl Limit {
    /// An unlimited limit without entries or warnings, to be filled in.
    pub fn new(id: &str, kind: &str, resource: &str, window: Window, enforcement: Enforcement) -> Self {
        Self {
            id: id.into(),
            kind: kind.into(),
            resource: resource.into(),
            window,
            enforcement,
            max: None,
            groups: Vec::new(),
            largest_group: false,
            subjects: Vec::new(),
            warn: Vec::new(),
        }
    }
}

/// Limits and the names that calls may use. Taken as it is: finding mistakes in policies is the engine's work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The limits, in the order in which refusals name them. Ids are not repeated.
    pub limits: Vec<Limit>,
    /// The resources that a cost may name.
    pub resources: Vec<String>,
    /// The kinds of subject that are known besides `global` and those that a limit names.
    pub kinds: Vec<String>,
    /// The subjects in each group.
    pub members: Vec<(String, Vec<String>)>,
}

/// A budget and the cap in force for it.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) key: Key,
    pub(crate) enforcement: Enforcement,
    pub(crate) max: Option<u64>,
    pub(crate) warn: Vec<u8>,
}

impl Bound {
    /// The cap that refuses, if there is one.
    pub(crate) fn hard_max(&self) -> Option<u64> {
        self.max.filter(|_| self.enforcement == Enforcement::Hard)
    }
}

pub(crate) fn kind(subject: &str) -> &str {
    subject.split(':').next().unwrap_or(subject)
}

impl Policy {
    pub(crate) fn knows_resource(&self, resource: &str) -> bool {
        self.resources.iter().any(|known| known == resource)
    }

    pub(crate) fn knows_kind(&self, kind: &str) -> bool {
        kind == "global"
            || self.kinds.iter().any(|known| known == kind)
            || self.limits.iter().any(|limit| limit.kind == kind)
    }

    /// The budgets of a scope: limits in their order, the subjects of each sorted by their text.
    pub(crate) fn budgets(&self, scope: &BTreeSet<String>) -> Vec<Bound> {
        let mut budgets = Vec::new();
        for limit in &self.limits {
            for subject in scope.iter().filter(|subject| kind(subject) == limit.kind) {
                let (resource, subject) = (limit.resource.clone(), subject.clone());
                budgets.push(Bound {
                    max: self.cap(limit, &subject),
                    key: Key { limit: limit.id.clone(), resource, window: limit.window, subject },
                    enforcement: limit.enforcement,
                    warn: limit.warn.clone(),
                });
            }
        }
        budgets
    }

    /// The cap in force: the subject's own entry, else the smallest (or largest) of its groups' entries, else `max`.
    fn cap(&self, limit: &Limit, subject: &str) -> Option<u64> {
        if let Some((_, cap)) = limit.subjects.iter().find(|(name, _)| name == subject) {
            return *cap;
        }
        let is_in = |group: &str| {
            self.members.iter().any(|(name, members)| name == group && members.iter().any(|m| m == subject))
        };
        // Unlimited counts as more than any number.
        let height = |cap: &Option<u64>| cap.map_or(u128::MAX, u128::from);
        let entries = limit.groups.iter().filter(|(group, _)| is_in(group)).map(|(_, cap)| *cap);
        let chosen = if limit.largest_group { entries.max_by_key(height) } else { entries.min_by_key(height) };
        chosen.unwrap_or(limit.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(limit: Limit, subject: &str) -> Option<u64> {
        let members = vec![
            ("heavy".to_string(), vec!["user:1".to_string(), "user:2".to_string()]),
            ("light".to_string(), vec!["user:2".to_string(), "user:3".to_string()]),
        ];
        let policy = Policy { limits: vec![limit], members, ..Policy::default() };
        policy.budgets(&BTreeSet::from([subject.to_string(), "global".to_string()]))[0].max
    }

    #[test]
    fn own_entry_then_groups_then_max() {
        let mut limit = Limit {
            max: Some(10),
            groups: vec![("light".into(), Some(5)), ("heavy".into(), None)],
            subjects: vec![("user:3".into(), Some(0)), ("user:4".into(), None)],
            ..Limit::new("l", "user", "tokens", Window::Day, Enforcement::Hard)
        };
        assert_eq!(caps(limit.clone(), "user:1"), None, "the only group's entry, above max");
        assert_eq!(caps(limit.clone(), "user:2"), Some(5), "the smallest of two groups");
        assert_eq!(caps(limit.clone(), "user:3"), Some(0), "its own entry of 0 is a value");
        assert_eq!(caps(limit.clone(), "user:4"), None);
        assert_eq!(caps(limit.clone(), "user:5"), Some(10));
        limit.largest_group = true;
        assert_eq!(caps(limit, "user:2"), None, "the largest of two groups");
    }

    #[test]
    fn budgets_come_in_the_order_of_limits_then_of_subjects_by_text() {
        let limit = |id: &str, kind: &str| Limit::new(id, kind, "tokens", Window::Day, Enforcement::Hard);
        let policy = Policy { limits: vec![limit("b", "user"), limit("a", "global")], ..Policy::default() };
        let scope = ["user:9", "global", "user:10", "agent:x"].map(String::from).into();
        let names = policy.budgets(&scope).into_iter().map(|bound| (bound.key.limit, bound.key.subject));
        let expected =
            [("b", "user:10"), ("b", "user:9"), ("a", "global")].map(|(l, s)| (l.to_string(), s.to_string()));
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert!(policy.knows_kind("global") && policy.knows_kind("user") && !policy.knows_kind("agent"));
    }
}
