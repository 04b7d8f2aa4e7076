//! Holds that the engine keeps under an id, and when each has to be looked at: to expire while it is open, to be forgotten afterwards.
//!
//! **Who owns what.** A shard's table is behind a lock of its own, held for the few steps of a look-up, never while anything is charged or
//! settled. An id is claimed before its hold is admitted, so that two calls with one id admit one hold. Whoever finds a hold overdue
//! marks it under the lock, and settles it after the lock is gone.
//!
//! Due times are queued. A hold that is renewed gets a second place in the queue; the first one is found to be stale when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::{Entry as Place, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;

use crate::amount::Resource;
use crate::subject::{SUBJECT_ID_BYTES_MAX, Subject};
use crate::sync::{AtomicI64, AtomicU64, Ordering, unique_number, yield_now};
use crate::time::Timestamp;

#[cfg(not(loom))]
const SHARDS: usize = 32;
#[cfg(loom)]
const SHARDS: usize = 1;
/// Stale places that a queue may have beyond a multiple of those that count.
const QUEUE_SLACK: usize = 64;

/// What a hold is known by in an engine: a text that the caller chose, or a number that the engine gave.
///
/// Written as text it can travel with a request: `#17` for a number, the text itself otherwise.
///
/// ```
/// use encumber::HoldId;
/// let id: HoldId = "req-7f3a".parse()?;
/// assert_eq!(id.to_string(), "req-7f3a");
/// assert!("".parse::<HoldId>().is_err() && "#x".parse::<HoldId>().is_err());
/// # Ok::<(), encumber::HoldIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId(Id);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Given(u64),
    Chosen(Arc<str>),
    Slot(Arc<Slotted>),
}

/// What tells one slot from another.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Slotted {
    resource: Resource,
    subjects: Vec<Subject>,
    name: Box<str>,
}

impl HoldId {
    /// The id with this number.
    #[cfg(feature = "persist")]
    pub(crate) fn of_given(number: u64) -> Self {
        Self(Id::Given(number))
    }

    /// Its number, if the engine gave it.
    #[cfg(feature = "persist")]
    pub(crate) fn given(&self) -> Option<u64> {
        match self.0 {
            Id::Given(number) => Some(number),
            Id::Chosen(_) | Id::Slot(_) => None,
        }
    }

    /// The resource and the subjects, if it is a slot's.
    #[cfg(feature = "persist")]
    pub(crate) fn slotted(&self) -> Option<(Resource, &[Subject])> {
        match &self.0 {
            Id::Slot(slot) => Some((slot.resource, &slot.subjects)),
            Id::Given(_) | Id::Chosen(_) => None,
        }
    }

    /// The id of a workflow, in the table of workflows.
    pub(crate) fn of_workflow(id: &str) -> Self {
        Self(Id::Chosen(id.into()))
    }

    /// The id of the caller's slot `name` of `resource` of `subjects`: no other one's, and no reservation's.
    pub(crate) fn of_slot(
        resource: Resource,
        subjects: impl Iterator<Item = Subject>,
        name: &str,
    ) -> Result<Self, HoldIdError> {
        check_length(name)?;
        Ok(Self(Id::Slot(Arc::new(Slotted { resource, subjects: subjects.collect(), name: name.into() }))))
    }
}

fn check_length(text: &str) -> Result<(), HoldIdError> {
    match text.len() {
        0 => Err(HoldIdError::Empty),
        bytes if bytes > SUBJECT_ID_BYTES_MAX => Err(HoldIdError::Long { bytes }),
        _ => Ok(()),
    }
}

impl FromStr for HoldId {
    type Err = HoldIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_length(text)?;
        match text.strip_prefix('#') {
            None => Ok(Self(Id::Chosen(text.into()))),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map(|number| Self(Id::Given(number))).map_err(|_| HoldIdError::Number)
            }
            Some(_) => Err(HoldIdError::Number),
        }
    }
}

impl TryFrom<&str> for HoldId {
    type Error = HoldIdError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(number) => write!(f, "#{number}"),
            Id::Chosen(text) => f.write_str(text),
            Id::Slot(slot) => f.write_str(&slot.name),
        }
    }
}

/// Escaped: a caller's id may hold anything.
impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(number) => write!(f, "#{number}"),
            Id::Chosen(text) => write!(f, "{text:?}"),
            Id::Slot(slot) => write!(f, "{:?}", slot.name),
        }
    }
}

/// A text that is not the id of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoldIdError {
    /// It is empty.
    Empty,
    /// It is longer than [`SUBJECT_ID_BYTES_MAX`].
    Long {
        /// How long it is.
        bytes: usize,
    },
    /// It begins with `#`, as the numbers that the engine gives do, and is none.
    Number,
}

impl fmt::Display for HoldIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the id of a hold is empty"),
            Self::Long { bytes } => {
                write!(f, "the id of a hold has {bytes} bytes, more than {SUBJECT_ID_BYTES_MAX}")
            }
            Self::Number => {
                f.write_str("the id of a hold begins with \"#\", as those given by the engine do, and is no number")
            }
        }
    }
}

impl std::error::Error for HoldIdError {}

/// The kept holds of an engine.
pub(crate) struct Holds<T: ?Sized> {
    shards: [Shard<T>; SHARDS],
    hasher: RandomState,
    /// Ids that are claimed, open or remembered.
    kept: AtomicU64,
    max: u64,
    remember: Duration,
    /// What ids with numbers begin at: above those of engines before.
    first_number: AtomicU64,
}

struct Shard<T: ?Sized> {
    /// The earliest due time in the queue, in microseconds, to be read without the lock.
    next: AtomicI64,
    table: Mutex<Table<T>>,
}

struct Table<T: ?Sized> {
    by_id: HashMap<HoldId, Entry<T>, RandomState>,
    queue: BinaryHeap<Reverse<(Timestamp, HoldId)>>,
}

enum Entry<T: ?Sized> {
    /// Its hold is being admitted.
    Claimed,
    Kept(Kept<T>),
}

struct Kept<T: ?Sized> {
    hold: Arc<T>,
    /// While open: when it expires. Afterwards: when it is forgotten.
    due: Timestamp,
    open: bool,
    keep: Keep,
}

/// How something is kept.
#[cfg(feature = "persist")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptAs {
    /// While open: when it expires. Afterwards: when it is forgotten.
    pub(crate) due: Timestamp,
    pub(crate) keep: Keep,
    pub(crate) open: bool,
}

/// What becomes of an id whose hold is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is remembered for a while, and refused.
    Remember,
    /// It is free again at once.
    Forget,
}

/// Why an id was not claimed.
pub(crate) enum NotClaimed<T: ?Sized> {
    /// There is a hold under it.
    Taken(Arc<T>),
    /// No more ids are kept.
    Full(Full),
}

/// As many ids are kept as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) max: u64,
}

/// An id that is claimed; free again if nothing is kept under it.
pub(crate) struct Claim<'a, T: ?Sized> {
    holds: &'a Holds<T>,
    pub(crate) id: HoldId,
    kept: bool,
}

impl<T: ?Sized> Holds<T> {
    pub(crate) fn new(max: u64, remember: Duration) -> Self {
        let hasher = RandomState::new();
        let shard = |_| Shard {
            next: AtomicI64::new(i64::MAX),
            table: Mutex::new(Table { by_id: HashMap::with_hasher(hasher.clone()), queue: BinaryHeap::new() }),
        };
        Self {
            shards: std::array::from_fn(shard),
            hasher: hasher.clone(),
            kept: AtomicU64::new(0),
            max,
            remember,
            first_number: AtomicU64::new(0),
        }
    }

    /// Claims `id`; waits while another call is admitting a hold under it, a few steps.
    pub(crate) fn claim(&self, id: &HoldId) -> Result<Claim<'_, T>, NotClaimed<T>> {
        loop {
            let mut table = self.shard(id).table.lock();
            match table.by_id.entry(id.clone()) {
                Place::Occupied(place) => {
                    if let Entry::Kept(kept) = place.get() {
                        return Err(NotClaimed::Taken(Arc::clone(&kept.hold)));
                    }
                }
                Place::Vacant(place) => {
                    self.count_one().map_err(NotClaimed::Full)?;
                    place.insert(Entry::Claimed);
                    return Ok(Claim { holds: self, id: id.clone(), kept: false });
                }
            }
            drop(table);
            yield_now();
        }
    }

    /// Claims an id that no other hold has.
    pub(crate) fn claim_unique(&self) -> Result<Claim<'_, T>, Full> {
        self.count_one()?;
        Ok(self.claim_number())
    }

    /// Claims an id for what takes the place of a hold that was kept, whatever the maximum.
    pub(crate) fn claim_in_exchange(&self) -> Claim<'_, T> {
        self.kept.fetch_add(1, Ordering::AcqRel);
        self.claim_number()
    }

    fn claim_number(&self) -> Claim<'_, T> {
        let number = self.first_number.load(Ordering::Acquire).wrapping_add(unique_number());
        Claim { holds: self, id: HoldId(Id::Given(number)), kept: false }
    }

    /// Ids with numbers begin there.
    #[cfg(feature = "persist")]
    pub(crate) fn number_from(&self, first: u64) {
        self.first_number.store(first, Ordering::Release);
    }

    /// How long the ids of settled ones are remembered.
    #[cfg(feature = "persist")]
    pub(crate) fn remember(&self) -> Duration {
        self.remember
    }

    /// How `hold` is kept under `id`, if it is.
    #[cfg(feature = "persist")]
    pub(crate) fn kept_as(&self, id: &HoldId, hold: &T) -> Option<KeptAs> {
        match self.shard(id).table.lock().by_id.get(id) {
            Some(Entry::Kept(kept)) if kept.is(hold) => {
                Some(KeptAs { due: kept.due, keep: kept.keep, open: kept.open })
            }
            _ => None,
        }
    }

    /// All that are kept. Locks a shard at a time.
    #[cfg(feature = "persist")]
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let table = shard.table.lock();
            all.extend(table.by_id.values().filter_map(|entry| match entry {
                Entry::Kept(kept) => Some(Arc::clone(&kept.hold)),
                Entry::Claimed => None,
            }));
        }
        all
    }

    /// Keeps what was read back, whatever the maximum: open until `due`, or settled and remembered until then.
    #[cfg(feature = "persist")]
    pub(crate) fn keep_again(&self, id: HoldId, hold: Arc<T>, KeptAs { due, keep, open }: KeptAs) {
        self.kept.fetch_add(1, Ordering::AcqRel);
        let shard = self.shard(&id);
        let mut table = shard.table.lock();
        let before = table.by_id.insert(id.clone(), Entry::Kept(Kept { hold, due, open, keep }));
        shard.enqueue(&mut table, due, id);
        drop(table);
        // There is none: each is read back once.
        drop(before);
    }

    fn count_one(&self) -> Result<(), Full> {
        if self.kept.fetch_add(1, Ordering::AcqRel) < self.max {
            return Ok(());
        }
        self.kept.fetch_sub(1, Ordering::AcqRel);
        Err(Full { max: self.max })
    }

    /// The hold under `id`, open or remembered.
    pub(crate) fn get(&self, id: &HoldId) -> Option<Arc<T>> {
        match self.shard(id).table.lock().by_id.get(id) {
            Some(Entry::Kept(kept)) => Some(Arc::clone(&kept.hold)),
            Some(Entry::Claimed) | None => None,
        }
    }

    /// Lets `hold`, kept under `id`, expire at `due` instead. `None` when it has expired by `now`, or is settled, or another one has the id.
    pub(crate) fn renew(&self, id: &HoldId, hold: &T, now: Timestamp, due: Timestamp) -> Option<()> {
        let shard = self.shard(id);
        let mut table = shard.table.lock();
        match table.by_id.get_mut(id) {
            Some(Entry::Kept(kept)) if kept.is(hold) && kept.open && kept.due > now => kept.due = due,
            _ => return None,
        }
        shard.enqueue(&mut table, due, id.clone());
        Some(())
    }

    /// When the open `hold`, kept under `id`, expires.
    pub(crate) fn expires_at(&self, id: &HoldId, hold: &T) -> Option<Timestamp> {
        match self.shard(id).table.lock().by_id.get(id) {
            Some(Entry::Kept(kept)) if kept.is(hold) && kept.open => Some(kept.due),
            _ => None,
        }
    }

    /// Takes note that `hold`, kept under `id`, was settled at `now`. Another one that has the id by now is left alone.
    pub(crate) fn settled(&self, id: &HoldId, hold: &T, now: Timestamp) {
        let shard = self.shard(id);
        let forgotten = {
            let mut table = shard.table.lock();
            let has_it = matches!(table.by_id.get(id), Some(Entry::Kept(kept)) if kept.is(hold));
            if has_it { self.close(shard, &mut table, id, now) } else { None }
        };
        // When the lock is gone, as wherever something is forgotten: it may settle others.
        drop(forgotten);
    }

    /// Whether no id is claimed, open or remembered.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Pairs with the addition before a claim: a hold that this thread knows of is seen.
        self.kept.load(Ordering::Acquire) == 0
    }

    /// The holds that have expired by `now`, for the caller to settle: each is told of once, in the order in which their times ran out, and
    /// of those with one time by their ids. Forgets what has been remembered long enough.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<Arc<T>> {
        let mut forgotten = Vec::new();
        if self.is_empty() {
            return Vec::new();
        }
        let mut overdue = Vec::new();
        for shard in &self.shards {
            // Pairs with the store in `enqueue`: a hold that this thread knows of is seen.
            if shard.next.load(Ordering::Acquire) > now.as_micros() {
                continue;
            }
            let mut table = shard.table.lock();
            while let Some(Reverse((due, id))) = table.queue.peek().filter(|Reverse((due, _))| *due <= now).cloned() {
                table.queue.pop();
                match table.by_id.get(&id) {
                    // Renewed or settled since: it has another place in the queue.
                    Some(Entry::Kept(kept)) if kept.due != due => {}
                    Some(Entry::Kept(kept)) if kept.open => {
                        overdue.push((due, id.clone(), Arc::clone(&kept.hold)));
                        forgotten.extend(self.close(shard, &mut table, &id, now));
                    }
                    Some(Entry::Kept(_)) => forgotten.extend(self.forget(&mut table, &id)),
                    Some(Entry::Claimed) | None => {}
                }
            }
            shard.note_next(&table);
        }
        // Ids fall to shards by chance. Settling in another order may leave another count: one that saturates keeps nothing of what comes after.
        overdue.sort_unstable_by(|(due, id, _), (other, other_id, _)| (due, id).cmp(&(other, other_id)));
        overdue.into_iter().map(|(_, _, hold)| hold).collect()
    }

    /// Forgets everything that is kept; the caller drops it, when no lock is held.
    pub(crate) fn let_go(&self) -> Vec<Arc<T>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut table = shard.table.lock();
            let is_claimed = |entry: &Entry<T>| matches!(entry, Entry::Claimed);
            let kept = table.by_id.extract_if(|_, entry| !is_claimed(entry));
            all.extend(kept.filter_map(|(_, entry)| match entry {
                Entry::Kept(kept) => Some(kept.hold),
                Entry::Claimed => None,
            }));
            table.queue.clear();
            shard.note_next(&table);
        }
        self.kept.fetch_sub(all.len() as u64, Ordering::AcqRel);
        all
    }

    /// How many ids are claimed, open or remembered.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// What is forgotten with it is to be dropped when no lock is held.
    #[must_use]
    fn close(&self, shard: &Shard<T>, table: &mut Table<T>, id: &HoldId, now: Timestamp) -> Option<Entry<T>> {
        let Some(Entry::Kept(kept)) = table.by_id.get_mut(id) else { return None };
        if !kept.open {
            return None;
        }
        kept.open = false;
        match kept.keep {
            Keep::Forget => self.forget(table, id),
            Keep::Remember => {
                kept.due = now.saturating_add(self.remember);
                let due = kept.due;
                shard.enqueue(table, due, id.clone());
                None
            }
        }
    }

    /// As [`Holds::close`].
    #[must_use]
    fn forget(&self, table: &mut Table<T>, id: &HoldId) -> Option<Entry<T>> {
        let entry = table.by_id.remove(id);
        self.kept.fetch_sub(1, Ordering::AcqRel);
        entry
    }

    fn shard(&self, id: &HoldId) -> &Shard<T> {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}

impl<T: ?Sized> Kept<T> {
    fn is(&self, hold: &T) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.hold), hold)
    }
}

impl<T: ?Sized> Shard<T> {
    fn enqueue(&self, table: &mut Table<T>, due: Timestamp, id: HoldId) {
        if table.queue.len() > QUEUE_SLACK + 4 * table.by_id.len() {
            table.forget_stale();
        }
        table.queue.push(Reverse((due, id)));
        self.note_next(table);
    }

    fn note_next(&self, table: &Table<T>) {
        let next = table.queue.peek().map_or(i64::MAX, |Reverse((due, _))| due.as_micros());
        // Written under the lock alone. Release pairs with the load in `overdue`.
        self.next.store(next, Ordering::Release);
    }
}

impl<T: ?Sized> Table<T> {
    /// Leaves one place in the queue for each entry: ids that come and go fast would fill it with stale ones until they are due.
    fn forget_stale(&mut self) {
        let places = self.by_id.iter().filter_map(|(id, entry)| match entry {
            Entry::Kept(kept) => Some(Reverse((kept.due, id.clone()))),
            Entry::Claimed => None,
        });
        self.queue = places.collect();
    }
}

impl<T: ?Sized> Claim<'_, T> {
    /// Keeps `hold` under the id until `due`.
    pub(crate) fn keep(mut self, hold: Arc<T>, due: Timestamp, keep: Keep) {
        self.kept = true;
        let shard = self.holds.shard(&self.id);
        let mut table = shard.table.lock();
        table.by_id.insert(self.id.clone(), Entry::Kept(Kept { hold, due, open: true, keep }));
        shard.enqueue(&mut table, due, self.id.clone());
    }
}

impl<T: ?Sized> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing is kept under it.
            let _claimed = self.holds.forget(&mut self.holds.shard(&self.id).table.lock(), &self.id);
        }
    }
}

impl<T: ?Sized> fmt::Debug for Holds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds").field("kept", &self.kept()).field("max", &self.max).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const REMEMBER: Duration = Duration::from_secs(100);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn id(text: &str) -> HoldId {
        text.parse().unwrap()
    }

    fn holds(max: u64, ids: &[(&str, i64, Keep)]) -> Holds<u8> {
        let holds = Holds::new(max, REMEMBER);
        for (text, due, keep) in ids {
            keep_one(&holds, text, *due, *keep);
        }
        holds
    }

    fn keep_one(holds: &Holds<u8>, text: &str, due: i64, keep: Keep) -> Arc<u8> {
        let Ok(claim) = holds.claim(&id(text)) else { panic!("{text} is taken") };
        let hold = Arc::new(0);
        claim.keep(Arc::clone(&hold), at(due), keep);
        hold
    }

    #[test]
    fn a_hold_is_overdue_at_its_due_time_and_told_of_once() {
        let holds = holds(9, &[("a", 10, Keep::Remember), ("b", 20, Keep::Remember)]);
        assert_eq!(holds.overdue(at(9)).len(), 0);
        assert_eq!([holds.overdue(at(10)).len(), holds.overdue(at(10)).len()], [1, 0]);
        assert!(holds.get(&id("a")).is_some(), "remembered");
        assert_eq!([holds.overdue(at(109)).len(), holds.kept() as usize], [1, 2]);
        assert_eq!([holds.overdue(at(110)).len(), holds.kept() as usize], [0, 1]);
        assert!(holds.get(&id("a")).is_none());
    }

    #[test]
    fn what_is_overdue_is_told_of_in_the_order_of_due_times_and_ids_whatever_the_shards() {
        let ids: Vec<String> = (0..64).map(|number| format!("{number:02}")).collect();
        let due = |number: usize| 10 + (number % 4) as i64;
        let holds = Holds::new(64, REMEMBER);
        let kept: Vec<Arc<u8>> =
            ids.iter().enumerate().map(|(number, text)| keep_one(&holds, text, due(number), Keep::Remember)).collect();
        let told = holds.overdue(at(20));
        let place = |hold: &Arc<u8>| kept.iter().position(|kept| Arc::ptr_eq(kept, hold)).unwrap();
        let places: Vec<usize> = told.iter().map(place).collect();
        let mut in_order: Vec<usize> = (0..64).collect();
        in_order.sort_by_key(|&number| (due(number), number));
        assert_eq!(places, in_order);
    }

    #[test]
    fn renewing_moves_one_hold_and_fails_once_it_is_due() {
        let holds = holds(9, &[("a", 10, Keep::Remember), ("b", 10, Keep::Remember)]);
        let (a, b) = (holds.get(&id("a")).unwrap(), holds.get(&id("b")).unwrap());
        assert_eq!(holds.renew(&id("a"), &a, at(9), at(30)), Some(()));
        assert_eq!(holds.expires_at(&id("a"), &a), Some(at(30)));
        assert_eq!(holds.renew(&id("b"), &b, at(10), at(30)), None, "due");
        assert_eq!(holds.overdue(at(10)).len(), 1);
        assert_eq!(holds.renew(&id("a"), &a, at(20), at(15)), Some(()), "shorter as well");
        assert_eq!(holds.overdue(at(20)).len(), 1);
        assert_eq!(holds.renew(&id("a"), &a, at(5), at(30)), None, "expired");
    }

    #[test]
    fn a_hold_that_lost_its_id_does_nothing_to_the_one_that_has_it_now() {
        let holds = Holds::new(9, REMEMBER);
        let old = keep_one(&holds, "a", 10, Keep::Forget);
        assert_eq!(holds.overdue(at(10)).len(), 1);
        let new = keep_one(&holds, "a", 20, Keep::Forget);
        assert_eq!(holds.renew(&id("a"), &old, at(11), at(99)), None);
        holds.settled(&id("a"), &old, at(11));
        assert_eq!((holds.expires_at(&id("a"), &old), holds.expires_at(&id("a"), &new)), (None, Some(at(20))));
        assert_eq!((holds.overdue(at(20)).len(), holds.kept()), (1, 0));
    }

    #[test]
    fn ids_that_come_and_go_leave_nothing_in_the_queue() {
        let holds = Holds::new(9, REMEMBER);
        let kept = keep_one(&holds, "kept", 1_000_000, Keep::Forget);
        for round in 0..10_000 {
            let hold = keep_one(&holds, "a", 1_000_000 + round, Keep::Forget);
            assert_eq!(holds.renew(&id("a"), &hold, at(1), at(2_000_000)), Some(()));
            holds.settled(&id("a"), &hold, at(1));
        }
        let queued: usize = holds.shards.iter().map(|shard| shard.table.lock().queue.len()).sum();
        assert!(queued <= 2 * (QUEUE_SLACK + 8), "{queued} places");
        assert_eq!(holds.expires_at(&id("kept"), &kept), Some(at(1_000_000)));
        assert_eq!(holds.overdue(at(1_000_000)).len(), 1);
    }

    #[test]
    fn ids_are_bounded_and_free_again_when_forgotten_or_not_kept() {
        let holds = holds(2, &[("a", 10, Keep::Forget), ("b", 10, Keep::Remember)]);
        assert!(matches!(holds.claim(&id("c")), Err(NotClaimed::Full(Full { max: 2 }))));
        assert!(matches!(holds.claim(&id("a")), Err(NotClaimed::Taken(_))));
        let (a, b) = (holds.get(&id("a")).unwrap(), holds.get(&id("b")).unwrap());
        holds.settled(&id("a"), &a, at(1));
        drop(holds.claim(&id("c")).ok().expect("a place"));
        assert!(holds.claim(&id("a")).is_ok(), "a is free, and c was not kept");
        holds.settled(&id("b"), &b, at(1));
        assert!(matches!(holds.claim(&id("b")), Err(NotClaimed::Taken(_))), "remembered");
    }

    #[test]
    fn texts_of_ids() {
        let given = HoldId(Id::Given(17));
        assert_eq!(given.to_string().parse(), Ok(given));
        for wrong in ["", "#", "#+1", "#1x", "#18446744073709551616", &"x".repeat(257)] {
            assert!(wrong.parse::<HoldId>().is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", id("a\n\"")), "\"a\\n\\\"\"");
    }
}
