//! Sums of calls, refusals and amounts, until they become a report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use encumber::{Cost, Resource, Timestamp, Violation, Window};

use super::parties::Party;
use crate::report::Slice;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Sessions in a report.
const SESSIONS_MAX: usize = 300;
/// Windows with a refusal remembered for each subject.
const HITS_MAX: usize = 1_024;
/// Days in a report, those without calls included; a longer trace's report has only the days with calls.
const DAYS_MAX: i64 = 4_000;

/// What has been counted so far.
pub(super) struct Tally {
    resources: Vec<Resource>,
    limits: Vec<LimitTally>,
    total: Slice,
    unpriced: u64,
    skipped: u64,
    span: Option<(Timestamp, Timestamp)>,
    days: BTreeMap<i64, Slice>,
    users: Slices,
    sessions: Slices,
}

/// What one limit did.
#[derive(Clone, Default)]
pub(super) struct LimitTally {
    pub(super) violated: u64,
    pub(super) would_refuse: u64,
    pub(super) windows_hit: u64,
    pub(super) first_denied: Option<(Timestamp, String)>,
    /// Ends of the windows in which each subject was refused, the latest [`HITS_MAX`] of them: more than a trace goes back.
    hits: HashMap<Box<str>, BTreeSet<Timestamp>>,
}

/// Slices that were found by name.
#[derive(Default)]
struct Slices {
    numbers: HashMap<Box<str>, usize>,
    slices: Vec<Slice>,
}

impl Slices {
    fn number(&mut self, name: &str, empty: impl FnOnce() -> Slice) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.numbers.insert(name.into(), self.slices.len());
        self.slices.push(empty());
        self.slices.len() - 1
    }

    /// Most spent of the first resource first.
    fn ranked(self) -> Vec<Slice> {
        let mut slices: Vec<Slice> = self.slices.into_iter().filter(|slice| slice.calls > 0).collect();
        slices.sort_by(|a, b| b.spent.first().cmp(&a.spent.first()).then_with(|| a.name.cmp(&b.name)));
        slices
    }
}

/// A call that was refused: its violations as indices of limits, the primary one first.
pub(super) struct Denial<'a> {
    pub(super) violated: &'a [usize],
    pub(super) primary: &'a Violation,
}

impl Tally {
    pub(super) fn new(resources: Vec<Resource>, limits: usize) -> Self {
        let total = empty_slice("", resources.len(), limits);
        Self {
            resources,
            limits: vec![LimitTally::default(); limits],
            total,
            unpriced: 0,
            skipped: 0,
            span: None,
            days: BTreeMap::new(),
            users: Slices::default(),
            sessions: Slices::default(),
        }
    }

    /// The number of a user's slice.
    pub(super) fn user(&mut self, name: &str) -> usize {
        let (resources, limits) = (self.resources.len(), self.limits.len());
        self.users.number(name, || empty_slice(name, resources, limits))
    }

    /// The number of a session's slice.
    pub(super) fn session(&mut self, name: &str) -> usize {
        let (resources, limits) = (self.resources.len(), self.limits.len());
        self.sessions.number(name, || empty_slice(name, resources, limits))
    }

    pub(super) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Counts a call that was admitted, or that `denial` refused.
    pub(super) fn count(&mut self, at: Timestamp, party: &Party, actual: &Cost, denial: Option<Denial>) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        let (resources, limits) = (self.resources.len(), self.limits.len());
        let day = self.days.entry(at.as_micros().div_euclid(MICROS_PER_DAY));
        let day = day.or_insert_with(|| empty_slice(&Window::Day.label(at), resources, limits));
        let user = party.user.map(|number| &mut self.users.slices[number]);
        let session = party.session.map(|number| &mut self.sessions.slices[number]);
        let primary = denial.as_ref().and_then(|denial| denial.violated.first().copied());
        for slice in [Some(&mut self.total), Some(day), user, session].into_iter().flatten() {
            add(slice, &self.resources, actual, primary);
        }
        if let Some(denial) = denial {
            self.deny(at, &denial);
        }
    }

    /// Counts a call that went through although shadow limit number `limit` would have refused it.
    pub(super) fn would_refuse(&mut self, limit: usize) {
        self.limits[limit].would_refuse += 1;
    }

    /// Counts a call of which a part had no price.
    pub(super) fn unpriced(&mut self) {
        self.unpriced += 1;
    }

    fn deny(&mut self, at: Timestamp, denial: &Denial) {
        for limit in denial.violated {
            self.limits[*limit].violated += 1;
        }
        let Some(primary) = denial.violated.first() else { return };
        let limit = &mut self.limits[*primary];
        let Violation { subject, resets_at, .. } = denial.primary;
        limit.first_denied.get_or_insert_with(|| (at, subject.to_string()));
        if !limit.hits.contains_key(subject.as_str()) {
            limit.hits.insert(subject.as_str().into(), BTreeSet::new());
        }
        let Some(hits) = limit.hits.get_mut(subject.as_str()) else { return };
        if hits.insert(resets_at.unwrap_or(Timestamp::MAX)) {
            limit.windows_hit += 1;
            if hits.len() > HITS_MAX {
                hits.pop_first();
            }
        }
    }

    /// Everything that was counted.
    pub(super) fn finish(self) -> Counted {
        let mut sessions = self.sessions.ranked();
        sessions.truncate(SESSIONS_MAX);
        Counted {
            days: every_day(self.days, self.resources.len(), self.limits.len()),
            limits: self.limits,
            total: self.total,
            unpriced: self.unpriced,
            skipped: self.skipped,
            span: self.span,
            users: self.users.ranked(),
            sessions,
        }
    }
}

/// What a tally comes to.
pub(super) struct Counted {
    pub(super) limits: Vec<LimitTally>,
    pub(super) total: Slice,
    pub(super) unpriced: u64,
    pub(super) skipped: u64,
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) days: Vec<Slice>,
    pub(super) users: Vec<Slice>,
    pub(super) sessions: Vec<Slice>,
}

fn empty_slice(name: &str, resources: usize, limits: usize) -> Slice {
    Slice {
        name: name.to_owned(),
        calls: 0,
        denied: 0,
        spent: vec![0; resources],
        offered: vec![0; resources],
        denied_by: vec![0; limits],
    }
}

fn add(slice: &mut Slice, resources: &[Resource], actual: &Cost, denied_by: Option<usize>) {
    slice.calls += 1;
    for (index, resource) in resources.iter().enumerate() {
        let amount = u128::from(actual.amount(*resource).unwrap_or(0));
        slice.offered[index] += amount;
        if denied_by.is_none() {
            slice.spent[index] += amount;
        }
    }
    if let Some(limit) = denied_by {
        slice.denied += 1;
        slice.denied_by[limit] += 1;
    }
}

fn every_day(days: BTreeMap<i64, Slice>, resources: usize, limits: usize) -> Vec<Slice> {
    let ends = days.first_key_value().zip(days.last_key_value()).map(|((first, _), (last, _))| (*first, *last));
    match ends {
        Some((first, last)) if last - first < DAYS_MAX => {
            let mut days = days;
            let missing = |day: i64| {
                let at = Timestamp::from_micros(day.saturating_mul(MICROS_PER_DAY));
                empty_slice(&Window::Day.label(at), resources, limits)
            };
            (first..=last).map(|day| days.remove(&day).unwrap_or_else(|| missing(day))).collect()
        }
        _ => days.into_values().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(starts: &[i64]) -> Vec<String> {
        let slice = |day: &i64| (*day, empty_slice(&day.to_string(), 1, 1));
        every_day(starts.iter().map(slice).collect(), 1, 1).into_iter().map(|day| day.name).collect()
    }

    #[test]
    fn days_without_calls_are_there_unless_they_would_swamp_the_rest() {
        assert_eq!(days(&[]), [""; 0]);
        assert_eq!(days(&[-1, 2]), ["-1", "1970-01-01", "1970-01-02", "2"]);
        assert_eq!(days(&[0, DAYS_MAX]), ["0", "4000"]);
    }
}
