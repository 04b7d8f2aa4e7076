//! Where a registry may keep a subject's text and its budget: the layouts that `docs/internals/registry.md` weighs. They count, and limit nothing.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use dashmap::DashMap;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;

use crate::contender::{Contender, Group, Limits, Plan, Seats, Spec};

const SHARDS_BITS: u32 = 7;

pub(super) fn specs() -> Vec<Spec> {
    let spec = |name, package, make| {
        Spec::new(name, package, &[Group::Keys1k, Group::Keys1m, Group::Memory], make).limiting(Limits::Nothing)
    };
    vec![
        spec("layout: text and budget apart, in dashmap", "dashmap", seats::<Apart>),
        spec("layout: text with budget, in dashmap by its hash", "dashmap", seats::<ByHash>),
        spec("layout: text with budget, in a table of its own", "hashbrown", seats::<Own>),
    ]
}

fn seats<L: Default + Send + Sync + 'static>(plan: &Plan) -> anyhow::Result<Seats>
where
    Arc<L>: Contender,
{
    plan.seats(|| Ok(Arc::new(L::default())))
}

/// A budget of as many words as one has, of which the first counts.
#[derive(Default)]
struct Budget([AtomicU64; 5]);

impl Budget {
    #[inline]
    fn add(&self, amount: u64) {
        let [used, ..] = &self.0;
        used.fetch_add(amount, Ordering::AcqRel);
    }
}

/// A budget behind a text of up to 46 bytes.
struct Named {
    length: usize,
    bytes: [u8; 46],
    budget: Budget,
}

impl Named {
    fn new(text: &str) -> Arc<Self> {
        let mut bytes = [0; 46];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Arc::new(Self { length: text.len(), bytes, budget: Budget::default() })
    }

    #[inline]
    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The map's place holds the text's address and the budget's.
struct Apart(DashMap<Arc<str>, Arc<[Budget; 1]>, RandomState>);

impl Default for Apart {
    fn default() -> Self {
        Self(DashMap::with_hasher_and_shard_amount(RandomState::new(), 1 << SHARDS_BITS))
    }
}

impl Contender for Arc<Apart> {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        if let Some(budget) = self.0.get(key) {
            budget[0].add(amount);
        } else {
            self.0.entry(key.into()).or_default()[0].add(amount);
        }
        true
    }
}

/// The map's place holds the text's hash and the address of text and budget. Two texts of one hash are not told apart here.
struct ByHash {
    map: DashMap<u64, Arc<Named>, BuildHasherDefault<Hashed>>,
    hasher: RandomState,
}

/// The hash of a hash.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are numbers");
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

impl Default for ByHash {
    fn default() -> Self {
        let map = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), 1 << SHARDS_BITS);
        Self { map, hasher: RandomState::new() }
    }
}

impl Contender for Arc<ByHash> {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        let hash = self.hasher.hash_one(key.as_bytes());
        if let Some(named) = self.map.get(&hash).filter(|named| named.text() == key.as_bytes()) {
            named.budget.add(amount);
        } else {
            self.map.entry(hash).or_insert_with(|| Named::new(key)).budget.add(amount);
        }
        true
    }
}

/// Shards of our own; a table's place holds the address of text and budget alone.
struct Own {
    shards: [RwLock<HashTable<Arc<Named>>>; 1 << SHARDS_BITS],
    hasher: RandomState,
}

impl Default for Own {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), hasher: RandomState::new() }
    }
}

impl Contender for Arc<Own> {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        let hash = self.hasher.hash_one(key.as_bytes());
        // As in dashmap: a table marks its places with the top seven bits.
        let shard = &self.shards[(hash << 7 >> (u64::BITS - SHARDS_BITS)) as usize];
        let is = |named: &Arc<Named>| named.text() == key.as_bytes();
        if let Some(named) = shard.read().find(hash, is) {
            named.budget.add(amount);
            return true;
        }
        match shard.write().entry(hash, is, |named| self.hasher.hash_one(named.text())) {
            Entry::Occupied(place) => place.get().budget.add(amount),
            Entry::Vacant(place) => place.insert(Named::new(key)).get().budget.add(amount),
        }
        true
    }
}
