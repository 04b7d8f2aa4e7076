//! What the calls were told, against what the engine says at the end.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use encumber::{BudgetUsage, Cap, Engine};

use super::tree::{Level, Tree};

/// Differences that are listed for programs; the others are counted.
const LISTED_MAX: usize = 10;
/// Differences in the sentence for people.
const SAID_MAX: usize = 3;

/// The most that receipts told of above each budget's max; empty for levels without a `--max`.
pub(super) struct Overages(Vec<Vec<AtomicU64>>);

impl Overages {
    pub(super) fn new(tree: &Tree) -> Self {
        let of = |level: &Level| {
            let budgets = if level.max.is_some() { level.budgets } else { 0 };
            (0..budgets).map(|_| AtomicU64::new(0)).collect()
        };
        Self(tree.levels.iter().map(of).collect())
    }

    /// Takes note of what a receipt told.
    pub(super) fn tell(&self, level: usize, budget: u32, above: u64) {
        if let Some(most) = self.0[level].get(budget as usize) {
            // Relaxed: read after the threads have been joined.
            most.fetch_max(above, Ordering::Relaxed);
        }
    }

    fn most(&self, level: usize, budget: u32) -> u64 {
        self.0[level].get(budget as usize).map_or(0, |most| most.load(Ordering::Relaxed))
    }
}

/// What the engine says of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    used: u64,
    held: u64,
    cap: Cap,
}

/// The engine and the calls do not agree.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(super) budgets: u64,
    /// How many budgets are wrong.
    pub(super) wrong: u64,
    pub(super) listed: Vec<String>,
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.listed[..self.listed.len().min(SAID_MAX)];
        write!(f, "not verified: {} of {} budgets are wrong: {}", self.wrong, self.budgets, said.join("; "))?;
        match self.wrong - said.len() as u64 {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Unverified {}

/// Asks the engine for every budget. `used` is what the admitted calls of each subject come to.
///
/// # Errors
/// [`Unverified`] names the budgets, what was expected and what was found.
pub(super) fn engine(engine: &Engine, tree: &Tree, used: &[u64], overages: &Overages) -> Result<()> {
    let mut key = String::new();
    let ask = |level: &Level, budget: u32| {
        level.write_key(budget, &mut key);
        let scope = engine.scope(level.is_named().then_some(&*key))?;
        let usage = scope.usage()?.into_iter().find(|usage| *usage.limit == *level.kind);
        let BudgetUsage { used, held, cap, .. } = usage.context("a limit is not in its subject's scope")?;
        Ok(Found { used, held, cap })
    };
    verify(tree, used, overages, ask)
}

fn verify(
    tree: &Tree,
    used: &[u64],
    overages: &Overages,
    mut ask: impl FnMut(&Level, u32) -> Result<Found>,
) -> Result<()> {
    let mut unverified = Unverified { budgets: tree.budgets(), wrong: 0, listed: Vec::new() };
    let mut expected = Cow::Borrowed(used);
    for (number, level) in tree.levels.iter().enumerate() {
        if number > 0 {
            expected = gathered(&expected, level.budgets).into();
        }
        for (budget, expected) in (0..).zip(&*expected) {
            let found = ask(level, budget)?;
            if let Some(fault) = fault(*expected, level.cap(), overages.most(number, budget), found) {
                unverified.wrong += 1;
                if unverified.listed.len() < LISTED_MAX {
                    unverified.listed.push(format!("limit {} of {}: {fault}", level.kind, level.name(budget)));
                }
            }
        }
    }
    if unverified.wrong > 0 { Err(unverified.into()) } else { Ok(()) }
}

/// What the budgets of the next level should have: a call is charged to all levels alike.
fn gathered(below: &[u64], budgets: u32) -> Vec<u64> {
    let mut sums = vec![0; budgets as usize];
    for (number, used) in below.iter().enumerate() {
        sums[number % budgets as usize] += used;
    }
    sums
}

fn fault(expected: u64, cap: Cap, told_above: u64, found: Found) -> Option<String> {
    let Found { used, held, .. } = found;
    if found.cap != cap {
        return Some(format!("expected the cap {cap:?}, found {:?}", found.cap));
    }
    if used != expected {
        return Some(format!("expected {expected} used, found {used}"));
    }
    if held != 0 {
        return Some(format!("expected 0 held, found {held}"));
    }
    let above = used.saturating_sub(cap.max()?);
    (above > told_above)
        .then(|| format!("expected at most {told_above} above the max, as receipts told, found {above}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new(4, &[Some(10), None, Some(100)], 2)
    }

    /// What an engine says that is right.
    fn right(level: &Level, budget: u32) -> Found {
        let used = match (level.kind, budget) {
            ("agent", 0) | ("user", 1) => 12,
            ("agent", _) => 2 * u64::from(budget + 1),
            ("user", _) => 18,
            _ => 30,
        };
        Found { used, held: 0, cap: level.cap() }
    }

    fn told() -> Overages {
        let overages = Overages::new(&tree());
        overages.tell(0, 0, 3);
        overages.tell(0, 0, 2);
        overages.tell(1, 0, 7);
        overages
    }

    fn unverified(overages: &Overages, change: impl Fn(&Level, u32, &mut Found)) -> Unverified {
        let ask = |level: &Level, budget| {
            let mut found = right(level, budget);
            change(level, budget, &mut found);
            Ok(found)
        };
        let error = verify(&tree(), &[12, 4, 6, 8], overages, ask).expect_err("something is wrong");
        error.downcast().expect("the difference")
    }

    #[test]
    fn what_agrees_is_verified() {
        let ask = |level: &Level, budget| Ok(right(level, budget));
        verify(&tree(), &[12, 4, 6, 8], &told(), ask).unwrap();
    }

    #[test]
    fn a_lost_unit_names_its_budget() {
        let lost = unverified(&told(), |level, budget, found| {
            found.used -= u64::from(level.kind == "user" && budget == 1);
        });
        let name = tree().levels[1].name(1);
        assert_eq!(
            lost.to_string(),
            format!("not verified: 1 of 7 budgets are wrong: limit user of {name}: expected 12 used, found 11")
        );
    }

    #[test]
    fn what_is_held_or_above_without_a_word_is_wrong() {
        let held = unverified(&told(), |level, _, found| found.held = u64::from(level.kind == "global"));
        assert!(held.to_string().ends_with("limit global of global: expected 0 held, found 1"), "{held}");
        let silent = unverified(&Overages::new(&tree()), |_, _, _| {});
        assert!(silent.to_string().contains("expected at most 0 above the max, as receipts told, found 2"), "{silent}");
        let cap = unverified(&told(), |level, _, found| {
            found.cap = if level.kind == "user" { Cap::Max(1) } else { found.cap }
        });
        assert_eq!(cap.wrong, 2);
    }

    #[test]
    fn a_wrong_tally_is_wrong_on_every_level() {
        let ask = |level: &Level, budget| Ok(right(level, budget));
        let error = verify(&tree(), &[12, 4, 6, 9], &told(), ask).expect_err("one more than the engine has");
        let said = error.to_string();
        assert!(said.starts_with("not verified: 3 of 7 budgets are wrong: limit agent of"), "{said}");
    }

    #[test]
    fn an_engine_that_was_charged_behind_the_tallies_is_found_out() {
        let tree = tree();
        let engine = Engine::new(tree.policy().unwrap());
        let tokens = engine.resource(super::super::tree::RESOURCE).unwrap();
        super::engine(&engine, &tree, &[0; 4], &Overages::new(&tree)).unwrap();
        let mut keys = Vec::new();
        tree.write_keys(3, &mut keys);
        let scope = engine.scope(keys.iter().map(String::as_str)).unwrap();
        scope.try_charge(tokens.of(1)).unwrap();
        super::engine(&engine, &tree, &[0, 0, 0, 1], &Overages::new(&tree)).unwrap();
        let hold = scope.reserve(tokens.of(2)).unwrap();
        let error = super::engine(&engine, &tree, &[0, 0, 0, 1], &Overages::new(&tree)).expect_err("2 are held");
        assert!(error.is::<Unverified>() && error.to_string().contains("expected 0 held, found 2"), "{error}");
        hold.commit(tokens.of(3)).unwrap();
        let error = super::engine(&engine, &tree, &[0, 0, 0, 1], &Overages::new(&tree)).expect_err("3 were committed");
        let name = tree.levels[0].name(3);
        assert!(error.to_string().contains(&format!("limit agent of {name}: expected 1 used, found 4;")), "{error}");
    }

    #[test]
    fn many_differences_are_counted() {
        let tree = Tree::new(50, &[None], 10);
        let ask = |level: &Level, _| Ok(Found { used: 1, held: 0, cap: level.cap() });
        let error = verify(&tree, &[0; 50], &Overages::new(&tree), ask).expect_err("all are wrong");
        assert!(error.to_string().ends_with("found 1; and 47 more"), "{error}");
    }
}
