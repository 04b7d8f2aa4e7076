//! What single budgets were given while the engine runs: caps of their own, and top-ups.
//!
//! They belong to budgets, which are known by subject and rule number, and are kept apart from the budgets' counters: a budget that is idle
//! may be forgotten, what it was given is not. Only what was given is kept; a top-up of a window that has ended goes when others come.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;
use parking_lot::{Mutex, RwLock};

use crate::amount::Cap;
use crate::registry::Rule;
use crate::subject::Subject;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;
use crate::window::Window;

/// What one budget was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Its cap, whatever the policy says.
    pub(crate) cap: Option<Cap>,
    /// The number of a window and what its cap is raised by. For a lifetime its only window.
    pub(crate) extra: Option<(i64, u64)>,
    window: Window,
}

impl Grant {
    /// What the cap of window number `window` is raised by.
    pub(crate) fn extra_in(&self, window: i64) -> u64 {
        self.extra.filter(|(topped, _)| *topped == window).map_or(0, |(_, extra)| extra)
    }

    /// As it was given by an engine before.
    #[cfg(feature = "persist")]
    pub(crate) fn again(window: Window, cap: Option<Cap>, extra: Option<(i64, u64)>) -> Self {
        Self { cap, extra, window }
    }

    fn is_nothing(&self, now: Timestamp) -> bool {
        self.cap.is_none() && self.extra.is_none_or(|(topped, _)| topped < self.window.index(now))
    }
}

/// `cap` raised by `extra`, up to what a budget of the window can hold.
pub(crate) fn raised(cap: Cap, extra: u64, window: Window) -> Cap {
    match cap {
        Cap::Max(max) => Cap::Max(max.saturating_add(extra).min(window.cap_max()).max(max)),
        Cap::Unlimited => Cap::Unlimited,
    }
}

/// Everything that budgets were given.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    given: Mutex<Given>,
    /// How many budgets were given something. Nearly always 0, to be read without the lock.
    count: AtomicU64,
    /// Their subjects, and some that have nothing any more: found by text, and changed under the lock of `given`.
    subjects: RwLock<HashSet<Subject, RandomState>>,
}

#[derive(Debug, Default)]
struct Given {
    budgets: HashMap<(Subject, u32), Grant, RandomState>,
    /// How many to have before ended top-ups are looked for again.
    purge_at: usize,
}

const PURGE_AT_LEAST: usize = 1_024;

impl Grants {
    /// What the budget of `subject` under rule number `rule` was given.
    pub(crate) fn of(&self, subject: &Subject, rule: u32) -> Option<Grant> {
        // Pairs with the store in `change`: whoever was told of a change sees it. What changes meanwhile gives the policy a later version.
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.given.lock().budgets.get(&(subject.clone(), rule)).copied()
    }

    /// All that was given, by subject and rule number, while nothing changes.
    #[cfg(feature = "persist")]
    pub(crate) fn with_all<R>(&self, act: impl FnOnce(&mut dyn Iterator<Item = (&Subject, u32, &Grant)>) -> R) -> R {
        let given = self.given.lock();
        act(&mut given.budgets.iter().map(|((subject, rule), grant)| (subject, *rule, grant)))
    }

    /// Whether some budget of the subject with this text was given something, or may have been.
    #[inline]
    pub(crate) fn concern(&self, subject: &str) -> bool {
        // As in `of`.
        self.count.load(Ordering::Acquire) != 0 && self.subjects.read().contains(subject)
    }

    /// Gives a budget something else, as `decide` says on what it has, once `write` has written that down.
    pub(crate) fn change<R, E>(
        &self,
        subject: &Subject,
        (rule, window): Rule,
        now: Timestamp,
        decide: impl FnOnce(&mut Grant) -> Result<R, E>,
        write: impl FnOnce(&Grant) -> Result<(), E>,
    ) -> Result<R, E> {
        let mut given = self.given.lock();
        let key = (subject.clone(), rule);
        let mut grant = given.budgets.get(&key).copied().unwrap_or(Grant { cap: None, extra: None, window });
        let answer = decide(&mut grant)?;
        write(&grant)?;
        if grant.is_nothing(now) {
            given.budgets.remove(&key);
        } else {
            self.subjects.write().insert(subject.clone());
            given.budgets.insert(key, grant);
        }
        if given.budgets.len().max(self.subjects.read().len()) > given.purge_at.max(PURGE_AT_LEAST) {
            given.budgets.retain(|_, grant| !grant.is_nothing(now));
            given.purge_at = 2 * given.budgets.len();
            let left: HashSet<&Subject> = given.budgets.keys().map(|(subject, _)| subject).collect();
            self.subjects.write().retain(|subject| left.contains(subject));
        }
        // Written under the lock alone. Release pairs with the load in `of`.
        self.count.store(given.budgets.len() as u64, Ordering::Release);
        Ok(answer)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    fn kept(grants: &Grants) -> usize {
        grants.given.lock().budgets.len()
    }

    fn change(grants: &Grants, id: usize, now: Timestamp, give: impl FnOnce(&mut Grant)) {
        let subject = Subject::new("user", &id.to_string()).unwrap();
        let decide = |grant: &mut Grant| {
            give(grant);
            Ok::<_, Infallible>(())
        };
        let Ok(()) = grants.change(&subject, (0, Window::Day), now, decide, |_| Ok(()));
    }

    #[test]
    fn what_is_taken_away_again_is_not_kept() {
        let grants = Grants::default();
        let now = Timestamp::from_seconds(1_770_000_000);
        change(&grants, 1, now, |grant| grant.cap = Some(Cap::Max(5)));
        assert_eq!(kept(&grants), 1);
        assert!(grants.concern("user:1") && !grants.concern("user:2"));
        change(&grants, 1, now, |grant| grant.cap = None);
        assert_eq!(kept(&grants), 0);
        assert!(!grants.concern("user:1"));
    }

    #[test]
    fn subjects_that_have_nothing_any_more_do_not_pile_up() {
        let grants = Grants::default();
        let now = Timestamp::from_seconds(1_770_000_000);
        change(&grants, 0, now, |grant| grant.cap = Some(Cap::Max(5)));
        for id in 1..5_000 {
            change(&grants, id, now, |grant| grant.cap = Some(Cap::Max(5)));
            change(&grants, id, now, |grant| grant.cap = None);
        }
        let subjects = grants.subjects.read().len();
        assert!(subjects <= PURGE_AT_LEAST + 1, "{subjects} subjects");
        assert!(grants.concern("user:0"));
    }

    #[test]
    fn top_ups_of_windows_that_have_ended_do_not_pile_up() {
        let grants = Grants::default();
        let mut now = Timestamp::from_seconds(1_770_000_000);
        change(&grants, 0, now, |grant| grant.cap = Some(Cap::Unlimited));
        for id in 1..20_000 {
            now = now.saturating_add(Duration::from_secs(600));
            change(&grants, id, now, |grant| grant.extra = Some((Window::Day.index(now), 7)));
        }
        assert!(kept(&grants) <= 2 * PURGE_AT_LEAST, "{} are kept", kept(&grants));
        let first = grants.of(&"user:0".parse().unwrap(), 0);
        assert_eq!(first.unwrap().cap, Some(Cap::Unlimited), "a cap stays");
    }
}
