//! Who is charged with whom: a budget of each level, from the subject's own to the one of all.

use std::fmt::Write as _;

use encumber::{Cap, Limit, Policy, PolicyError, Unit, Window};

use super::settings::kinds;

/// The resource that is counted.
pub(super) const RESOURCE: &str = "tokens";
/// Bytes of a subject's text, its kind included: as long as ids often are.
const KEY_BYTES: usize = 30;

/// The levels of budgets and how many budgets each has, the deepest first.
pub(super) struct Tree {
    pub(super) levels: Vec<Level>,
}

pub(super) struct Level {
    /// Also the limit's id.
    pub(super) kind: &'static str,
    pub(super) budgets: u32,
    /// `None` for as much as a budget can hold.
    pub(super) max: Option<u64>,
}

impl Tree {
    /// `fan_out` budgets of a level share one of the next.
    pub(super) fn new(subjects: u32, maxes: &[Option<u64>], fan_out: u32) -> Self {
        let mut budgets = subjects;
        let kinds = kinds(maxes.len());
        let levels = kinds.iter().zip(maxes).enumerate().map(|(number, (kind, max))| {
            if number > 0 {
                budgets = if number + 1 == kinds.len() { 1 } else { budgets.div_ceil(fan_out) };
            }
            Level { kind, budgets, max: *max }
        });
        Self { levels: levels.collect() }
    }

    pub(super) fn subjects(&self) -> u32 {
        self.levels[0].budgets
    }

    pub(super) fn budgets(&self) -> u64 {
        self.levels.iter().map(|level| u64::from(level.budgets)).sum()
    }

    /// The budget of each level that a call of `subject` is charged to, the deepest first.
    pub(super) fn path(&self, subject: u32) -> impl Iterator<Item = u32> + '_ {
        // Neighbours do not share, so that subjects that are drawn often are spread over the groups.
        self.levels.iter().scan(subject, |at, level| {
            *at %= level.budgets;
            Some(*at)
        })
    }

    /// The subjects that a call of `subject` names. `global` is in every scope and need not be named.
    pub(super) fn write_keys(&self, subject: u32, keys: &mut Vec<String>) {
        keys.resize_with(self.levels.iter().filter(|level| level.is_named()).count(), String::new);
        for ((key, at), level) in keys.iter_mut().zip(self.path(subject)).zip(&self.levels) {
            level.write_key(at, key);
        }
    }

    /// # Errors
    /// None for levels that were checked.
    pub(super) fn policy(&self) -> Result<Policy, PolicyError> {
        let policy = Policy::builder().resource(RESOURCE, Unit::Count);
        // Lifetime: what was charged at the first call is there at the end, however long the run.
        let limit = |level: &Level| Limit::new(level.kind, level.kind, RESOURCE, Window::Lifetime, level.cap());
        self.levels.iter().map(limit).fold(policy, encumber::PolicyBuilder::limit).build()
    }
}

impl Level {
    pub(super) fn cap(&self) -> Cap {
        Cap::Max(self.max.unwrap_or(Window::Lifetime.cap_max()))
    }

    pub(super) fn is_named(&self) -> bool {
        self.kind != "global"
    }

    /// The text of a subject.
    pub(super) fn write_key(&self, number: u32, key: &mut String) {
        key.clear();
        // Writing to a string cannot fail.
        let _ = write!(key, "{}:{number:0width$}", self.kind, width = KEY_BYTES - 1 - self.kind.len());
    }

    /// The subject of a budget as people read it.
    pub(super) fn name(&self, number: u32) -> String {
        let mut key = self.kind.to_owned();
        if self.is_named() {
            self.write_key(number, &mut key);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_share_budgets_and_all_share_the_last() {
        let tree = Tree::new(1_000, &[None; 5], 10);
        let budgets: Vec<_> = tree.levels.iter().map(|level| level.budgets).collect();
        assert_eq!(budgets, [1_000, 100, 10, 1, 1]);
        assert_eq!(tree.path(987).collect::<Vec<_>>(), [987, 87, 7, 0, 0]);
        assert_eq!(tree.budgets(), 1_112);
    }

    #[test]
    fn every_subject_of_a_group_shares_what_the_group_shares() {
        let tree = Tree::new(37, &[None; 4], 3);
        for subject in 0..37 {
            let path: Vec<_> = tree.path(subject).collect();
            let same = (0..37).map(|other| tree.path(other).collect::<Vec<_>>()).filter(|other| other[1] == path[1]);
            assert!(same.into_iter().all(|other| other[2..] == path[2..]));
        }
    }

    #[test]
    fn keys_are_of_one_length() {
        let tree = Tree::new(4_000_000_000, &[None; 8], 1);
        let mut keys = Vec::new();
        tree.write_keys(3_999_999_999, &mut keys);
        assert_eq!(keys.len(), 7);
        assert!(keys.iter().all(|key| key.len() == KEY_BYTES), "{keys:?}");
        assert_eq!(tree.levels[7].name(0), "global");
    }
}
