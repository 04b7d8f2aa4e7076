//! Subjects and their budgets, in a sharded concurrent map.
//!
//! A budget is known by its subject and a *rule number*, which the engine gives to each combination of limit id, resource and window
//! that a policy ever named. It is made when a scope first needs it and stays, whatever the policy says: usage survives a limit
//! that is changed, or removed and put back.
//!
//! **Layout.** The budgets that a subject gets at once, nearly always all it ever has, stand side by side behind its text in one allocation, and
//! who has one of them ([`MeterRef`]) has a share of all. The map knows a subject by the hash of its text alone, so that a look-up reads the
//! map's place and that allocation. What is the same for the budgets of a rule that are made in one window stands apart, once ([`Mould`]).
//!
//! **Eviction.** A subject goes when nobody could tell: nobody holds one of its budgets, and each is as if new ([`Meter::is_fresh`]).
//! Both are decided under the lock of the subject's shard. Nobody else can get at a budget meanwhile: whoever wants one looks it up under that
//! lock, and whoever has one (a scope, a reservation, a receipt) is counted by its `Arc`. What must outlive an eviction is in the rule's
//! [`Chronicle`].
//!
//! **When.** Whoever makes the subject that doubles what the last sweep left sweeps; so does whoever finds the registry full, unless the last
//! sweep was a moment ago: see [`Registry::find_room`]. A sweep locks one shard at a time.
//!
//! **Locks**, in this order: `sweeping`, a shard, `books`.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ahash::RandomState;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::meter::{GROUP_MAX, Group, Meter, MeterRef, Mould, Past};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;

mod chronicle;
#[cfg(feature = "persist")]
mod restore;

use chronicle::Chronicle;

/// A rule number and the window its budgets have.
pub(crate) type Rule = (u32, Window);

/// A subject's budgets, in the order of the rules that were asked for.
pub(crate) type Meters = SmallVec<[MeterRef; 4]>;

/// So many that a sweep locks a shard of a large registry for well under a millisecond.
const SHARDS: usize = 256;
/// Nothing is swept below this many subjects, unless it is asked for or the registry is full.
const SWEEP_FROM: u64 = 1_024;
/// Subjects that a full registry examines, on average, for each new one that is asked for.
const EXAMINED_PER_SUBJECT: u64 = 32;
/// The newest subjects, which a full registry examines first: most likely to be idle when all others are in use.
const NEWEST: usize = 64;

/// The budgets of an engine.
#[derive(Debug)]
pub(crate) struct Registry {
    /// By the hashes of the subjects' texts.
    subjects: DashMap<u64, Budgets, BuildHasherDefault<Hashed>>,
    /// Keyed with random numbers of the process: ids cannot be chosen to collide.
    hasher: RandomState,
    /// The bits of a hash that count, for tests of texts with one hash.
    #[cfg(test)]
    hash_mask: u64,
    books: Mutex<Books>,
    /// Held by who sweeps.
    sweeping: Mutex<()>,
    max: u64,
    /// Whether budgets are written down.
    #[cfg(feature = "persist")]
    is_watched: bool,
}

/// The hash of what is a hash.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is known about all subjects together.
#[derive(Debug)]
struct Books {
    subjects: u64,
    /// How many subjects there may be until somebody sweeps.
    sweep_at: u64,
    /// New subjects that were asked for since the last sweep.
    asked: u64,
    /// When windows have ended since the last sweep.
    again_at: Timestamp,
    newest: VecDeque<Subject>,
    /// By rule number.
    rules: Vec<Option<Kept>>,
}

/// What is known of a rule.
#[derive(Clone, Debug)]
struct Kept {
    window: Window,
    chronicle: Chronicle,
    /// What its newest budget was made of: in which window, after what past.
    mould: Option<(i64, Option<Past>, Arc<Mould>)>,
}

/// The budgets of the subjects whose texts have one hash: one subject, as good as always. Several are counted as one, and evicted together.
#[derive(Debug)]
enum Budgets {
    /// Those that it got at once, nearly always all it ever has.
    Group(Arc<Group>),
    Chain(Box<SmallVec<[Arc<Group>; 2]>>),
}

impl Budgets {
    fn groups(&self) -> &[Arc<Group>] {
        match self {
            Self::Group(group) => std::slice::from_ref(group),
            Self::Chain(groups) => groups,
        }
    }

    fn groups_mut(&mut self) -> &mut [Arc<Group>] {
        match self {
            Self::Group(group) => std::slice::from_mut(group),
            Self::Chain(groups) => groups,
        }
    }

    fn add(&mut self, group: Arc<Group>) {
        match self {
            Self::Group(first) => *self = Self::Chain(Box::new([Arc::clone(first), group].into())),
            Self::Chain(groups) => groups.push(group),
        }
    }

    #[inline]
    fn of(&self, subject: &str) -> impl Iterator<Item = &Arc<Group>> {
        self.groups().iter().filter(move |group| group.is_of(subject))
    }

    /// The subject's budget for `rule`.
    #[inline]
    fn meter(&self, subject: &str, rule: u32) -> Option<&Meter> {
        self.of(subject).find_map(|group| group.meters().iter().find(|meter| meter.number() == rule))
    }

    /// The same, to have.
    #[inline]
    fn find(&self, subject: &str, rule: u32) -> Option<MeterRef> {
        self.of(subject).find_map(|group| MeterRef::find(group, |meter| meter.number() == rule))
    }

    /// All of them, if nobody has one.
    fn unshared(&mut self) -> Option<SmallVec<[&mut Meter; 4]>> {
        let mut all = SmallVec::new();
        for group in self.groups_mut() {
            all.extend(Group::unshared(group)?);
        }
        Some(all)
    }
}

/// As many subjects are kept as may be, and none was found idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    pub(crate) max: u64,
}

impl Registry {
    /// For up to `max` subjects.
    pub(crate) fn new(max: u64) -> Self {
        let books = Books {
            subjects: 0,
            sweep_at: SWEEP_FROM,
            asked: 0,
            again_at: Timestamp::MIN,
            newest: VecDeque::new(),
            rules: Vec::new(),
        };
        Self {
            subjects: DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS),
            hasher: RandomState::new(),
            #[cfg(test)]
            hash_mask: u64::MAX,
            books: Mutex::new(books),
            sweeping: Mutex::new(()),
            max,
            #[cfg(feature = "persist")]
            is_watched: false,
        }
    }

    #[inline]
    fn hash(&self, subject: &str) -> u64 {
        let hash = self.hasher.hash_one(subject.as_bytes());
        #[cfg(test)]
        let hash = hash & self.hash_mask;
        hash
    }

    /// The subject's budgets for `rules`, in their order. Those that do not exist are made, unused as of `now`.
    pub(crate) fn budgets(&self, subject: &Subject, rules: &[Rule], now: Timestamp) -> Result<Meters, NoRoom> {
        if rules.is_empty() {
            return Ok(Meters::new());
        }
        let mut found = Meters::new();
        if self.find(subject.as_str(), rules.iter().map(|(rule, _)| *rule), &mut found) {
            return Ok(found);
        }
        loop {
            if let Some((meters, sweep_due)) = self.make(subject, rules, now) {
                if sweep_due && let Some(_sweeping) = self.sweeping.try_lock() {
                    self.sweep_all(now);
                }
                return Ok(meters);
            }
            if !self.find_room(now) {
                return Err(NoRoom { max: self.max });
            }
        }
    }

    /// What `act` says of the budget for `rule` of the subject with this text, if there is one. Under the lock of the subject's shard: `act` must
    /// not wait.
    #[inline]
    pub(crate) fn with<R>(&self, subject: &str, rule: u32, act: impl FnOnce(&Meter) -> R) -> Option<R> {
        self.subjects.get(&self.hash(subject))?.meter(subject, rule).map(act)
    }

    /// Adds the budgets for `rules` of the subject with this text to `found`, in their order; false when it has not all of them.
    #[inline]
    pub(crate) fn find(
        &self,
        subject: &str,
        rules: impl Iterator<Item = u32>,
        found: &mut impl Extend<MeterRef>,
    ) -> bool {
        let Some(budgets) = self.subjects.get(&self.hash(subject)) else { return false };
        let mut has_all = true;
        found.extend(rules.map_while(|rule| {
            let meter = budgets.find(subject, rule);
            has_all &= meter.is_some();
            meter
        }));
        has_all
    }

    /// Evicts the idle subjects; says how many. Waits for a sweep that is under way.
    pub(crate) fn sweep(&self, now: Timestamp) -> usize {
        let _sweeping = self.sweeping.lock();
        self.sweep_all(now)
    }

    /// How many subjects have budgets.
    pub(crate) fn subjects(&self) -> u64 {
        self.books.lock().subjects
    }

    /// Makes those budgets of the subject that are missing, and says whether a sweep is due; `None` when the subject is new and there is no room.
    fn make(&self, subject: &Subject, rules: &[Rule], now: Timestamp) -> Option<(Meters, bool)> {
        let text = subject.as_str();
        let entry = self.subjects.entry(self.hash(text));
        let mut books = self.books.lock();
        let make = |books: &mut Books, rules: &[Rule]| {
            Group::of(text, rules, |&(rule, window)| self.meter(books, rule, window, now))
        };
        let budgets = match entry {
            Entry::Occupied(place) => {
                let mut budgets = place.into_ref();
                let missing = rules.iter().filter(|(rule, _)| budgets.meter(text, *rule).is_none());
                let missing: SmallVec<[Rule; 4]> = missing.copied().collect();
                missing.chunks(GROUP_MAX).for_each(|rules| budgets.add(make(&mut books, rules)));
                budgets
            }
            Entry::Vacant(place) => {
                books.asked = books.asked.saturating_add(1);
                if books.subjects >= self.max {
                    return None;
                }
                books.add(subject);
                let mut groups = rules.chunks(GROUP_MAX).map(|rules| make(&mut books, rules));
                let mut budgets = place.insert(Budgets::Group(groups.next()?));
                groups.for_each(|group| budgets.add(group));
                budgets
            }
        };
        let meters = rules.iter().filter_map(|(rule, _)| budgets.find(text, *rule)).collect();
        Some((meters, books.subjects >= books.sweep_at))
    }

    /// An unused budget.
    #[cfg(not(feature = "persist"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    fn meter(&self, books: &mut Books, rule: u32, window: Window, now: Timestamp) -> Meter {
        Meter::of(&books.mould(rule, window, now), rule)
    }

    /// Evicts something, if it finds something idle; false when there is no room.
    ///
    /// The newest subjects are looked at each time. All of them are when windows have ended since the last sweep, or when so many new ones have
    /// been asked for since that a sweep costs little for each: an attacker's ids in a registry whose subjects are all in use cost no sweep each.
    /// So room that becomes idle within a window may be found late, when it is less than a thirty-second part of all.
    fn find_room(&self, now: Timestamp) -> bool {
        let _sweeping = self.sweeping.lock();
        let (newest, sweep_pays) = {
            let mut books = self.books.lock();
            if books.subjects < self.max {
                return true;
            }
            let pays = books.asked.saturating_mul(EXAMINED_PER_SUBJECT) >= books.subjects || now >= books.again_at;
            (std::mem::take(&mut books.newest), pays)
        };
        let numbers = self.books.lock().numbers(now);
        let is_idle = |budgets: &mut Budgets| self.evict_if_idle(budgets, &numbers);
        let gone = |subject: &Subject| {
            self.subjects.remove_if_mut(&self.hash(subject.as_str()), |_, budgets| is_idle(budgets)).is_some()
        };
        let (evicted, mut in_use): (VecDeque<_>, VecDeque<_>) = newest.into_iter().partition(gone);
        // They are looked at again the next time, before any that came meanwhile are too many.
        let mut books = self.books.lock();
        in_use.extend(std::mem::take(&mut books.newest));
        let surplus = in_use.len().saturating_sub(NEWEST);
        books.newest = in_use.split_off(surplus);
        drop(books);
        !evicted.is_empty() || sweep_pays && self.sweep_all(now) > 0
    }

    /// A sweep, by who holds `sweeping`.
    fn sweep_all(&self, now: Timestamp) -> usize {
        let numbers = self.books.lock().numbers(now);
        let mut evicted = 0;
        self.subjects.retain(|_, budgets| {
            let gone = self.evict_if_idle(budgets, &numbers);
            evicted += usize::from(gone);
            !gone
        });
        self.books.lock().note_sweep(now);
        evicted
    }

    /// Whether the subject that has these budgets goes; then that is in the books. The caller holds the lock of its shard, and removes it.
    fn evict_if_idle(&self, budgets: &mut Budgets, numbers: &[Option<i64>]) -> bool {
        let number = |meter: &Meter| numbers.get(meter.number() as usize).copied().flatten();
        // Nobody else has one, and what the last who had one did is seen; a rule that is newer than this sweep has no number.
        let idle = budgets
            .unshared()
            .filter(|meters| meters.iter().all(|meter| number(meter).is_some_and(|now| meter.is_fresh(now))));
        let Some(meters) = idle else { return false };
        let mut books = self.books.lock();
        books.subjects -= 1;
        for meter in meters {
            let charged = number(meter).and_then(|now| meter.charged_last(now));
            if let (Some(run), Some(Some(kept))) = (charged, books.rules.get_mut(meter.number() as usize)) {
                kept.chronicle.evict(run);
            }
        }
        true
    }
}

impl Books {
    fn add(&mut self, subject: &Subject) {
        self.subjects += 1;
        if self.newest.len() == NEWEST {
            self.newest.pop_front();
        }
        self.newest.push_back(subject.clone());
    }

    fn mould(&mut self, rule: u32, window: Window, now: Timestamp) -> Arc<Mould> {
        let index = rule as usize;
        if index >= self.rules.len() {
            self.rules.resize(index + 1, None);
        }
        let number = window.index(now);
        let new = || Kept { window, chronicle: Chronicle::new(number), mould: None };
        let kept = self.rules[index].get_or_insert_with(new);
        let past = kept.chronicle.past(number);
        if let Some((of, after, mould)) = &kept.mould
            && (*of, *after) == (number, past)
        {
            return Arc::clone(mould);
        }
        let mould = Arc::new(past.map_or_else(|| Mould::new(&window, now), |past| Mould::after(&window, now, past)));
        kept.mould = Some((number, past, Arc::clone(&mould)));
        mould
    }

    /// The numbers of the windows of `now`, by rule.
    fn numbers(&mut self, now: Timestamp) -> Vec<Option<i64>> {
        let number = |rule: &mut Option<Kept>| {
            rule.as_mut().map(|kept| {
                let number = kept.window.index(now);
                kept.chronicle.see(number);
                number
            })
        };
        self.rules.iter_mut().map(number).collect()
    }

    fn note_sweep(&mut self, now: Timestamp) {
        self.sweep_at = self.subjects.saturating_mul(2).max(SWEEP_FROM);
        self.asked = 0;
        let ends = self.rules.iter().flatten().filter_map(|kept| kept.window.bounds(now));
        self.again_at = ends.map(|bounds| bounds.end).min().unwrap_or(Timestamp::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
