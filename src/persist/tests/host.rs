//! The owner of a log, as an engine would be: it keeps what it appended, writes all of it into each snapshot, and heals the log.

use std::collections::HashMap;
use std::sync::Arc;

use crate::persist::error::{LogError, OpenError};
use crate::persist::files::SnapshotWriter;
use crate::persist::log::{Log, Opening};
use crate::persist::recover::{Item, Recovered, recover};
use crate::persist::sim::{Random, Sim};
use crate::persist::vfs::Vfs;

/// Begins with a number that no other one has.
pub(super) type Thing = Vec<u8>;

/// What was handed out, without what a snapshot and the journal both have.
#[derive(Default)]
pub(super) struct Things {
    pub(super) in_order: Vec<Thing>,
    places: HashMap<u64, usize>,
}

impl Things {
    pub(super) fn take(&mut self, item: Item<'_>) -> Result<(), String> {
        let (Item::Piece(payload) | Item::Record { payload, .. }) = item;
        let number = payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or("it has no number")?;
        match self.places.get(&number) {
            Some(place) if self.in_order[*place] == payload => {}
            Some(_) => return Err("two things have one number".to_owned()),
            None => {
                self.places.insert(number, self.in_order.len());
                self.in_order.push(payload.to_vec());
            }
        }
        Ok(())
    }
}

pub(super) fn read(vfs: &dyn Vfs) -> Result<(Vec<Thing>, Recovered), OpenError> {
    let mut things = Things::default();
    let recovered = recover(vfs, &mut |item| things.take(item))?;
    Ok((things.in_order, recovered))
}

/// What the log has said.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// What it took, in order.
    pub(super) things: Vec<Thing>,
    /// So many of them are on disk.
    pub(super) synced: usize,
    /// So many are in its files.
    pub(super) appended: usize,
    /// What it did not take, and after how many that it had taken.
    pub(super) refused: Vec<(usize, Thing)>,
}

impl Told {
    /// What is read must be what was appended, up to some point that is not before `least`; at its end there may be an append that failed.
    pub(super) fn check(&self, read: &[Thing], least: usize) -> Result<(), String> {
        let alike = read.iter().zip(&self.things).take_while(|(read, thing)| read == thing).count();
        let rest = &read[alike..];
        let is_ours = match rest {
            [] => true,
            [thing] => self.refused.iter().any(|(after, refused)| *after == alike && refused == thing),
            _ => false,
        };
        if alike >= least && is_ours {
            return Ok(());
        }
        let (is, had) = (read.len(), self.things.len());
        Err(format!(
            "{is} read, of which {alike} as the {had} that were appended; at least {least} of them must be there"
        ))
    }
}

pub(super) struct Host {
    pub(super) sim: Arc<Sim>,
    pub(super) log: Option<Log>,
    pub(super) told: Told,
    random: Random,
    next_number: u64,
    /// Of the last one that was refused: another one of that length may take its very place.
    refused_bytes: Option<usize>,
}

impl Host {
    pub(super) fn new(sim: &Arc<Sim>, seed: u64) -> Self {
        Self {
            sim: Arc::clone(sim),
            log: None,
            told: Told::default(),
            random: Random(seed),
            next_number: 1,
            refused_bytes: None,
        }
    }

    /// From now on things have other numbers than those of an earlier owner.
    pub(super) fn skip(&mut self, numbers: u64) {
        self.next_number += numbers;
    }

    /// Everything that a log does, in an order of the seed. Goes on after what fails, unless the machine is gone.
    pub(super) fn run(&mut self, steps: usize) {
        self.open();
        for _ in 0..steps {
            if self.sim.is_cut() {
                return;
            }
            match self.random.below(16) {
                _ if self.log.is_none() => self.open(),
                0..=8 => self.append(),
                9..=11 => self.sync(),
                12..=13 => self.rotate(),
                14 => self.open(),
                _ => {
                    self.close();
                    self.open();
                }
            }
        }
    }

    /// Gives the log up as it is, and opens it again.
    pub(super) fn open(&mut self) {
        self.log = None;
        let mut things = Things::default();
        let Ok(opening) = Opening::new(Arc::clone(&self.sim) as Arc<dyn Vfs>, &mut |item| things.take(item)) else {
            return;
        };
        if let Err(fault) = self.told.check(&things.in_order, self.told.appended) {
            panic!("opened again: {fault}");
        }
        let write =
            |snapshot: &mut SnapshotWriter<'_>| things.in_order.iter().try_for_each(|thing| snapshot.push(thing));
        if let Ok((log, _)) = opening.publish(write) {
            self.told.refused.clear();
            self.told.things = things.in_order;
            self.told.synced = self.told.things.len();
            self.told.appended = self.told.synced;
            self.log = Some(log);
        }
    }

    /// Takes what is there for what it was told.
    pub(super) fn open_whatever(&mut self) {
        let (things, _) = read(&*self.sim).expect("it can be read");
        self.told.things = things;
        self.open();
    }

    pub(super) fn append(&mut self) {
        let thing = self.thing();
        self.append_this(thing);
    }

    pub(super) fn append_of(&mut self, bytes: usize) {
        let thing = self.thing_of(bytes);
        self.append_this(thing);
    }

    fn append_this(&mut self, thing: Thing) {
        let Some(log) = &self.log else { return };
        let is_taken = log.append(&thing).is_ok();
        self.note(thing, is_taken);
        self.look();
    }

    fn note(&mut self, thing: Thing, is_taken: bool) {
        if is_taken {
            self.told.things.push(thing);
            self.told.appended = self.told.things.len();
        } else {
            self.refused_bytes = Some(thing.len() - 8);
            self.told.refused.push((self.told.things.len(), thing));
        }
    }

    pub(super) fn sync(&mut self) {
        let Some(log) = &self.log else { return };
        if log.sync_to(log.standing().appended).is_ok() {
            self.told.synced = self.told.things.len();
        }
        self.look();
    }

    /// With an append in the middle of the snapshot, which has it as well, or not.
    pub(super) fn rotate(&mut self) {
        let thing = self.thing();
        let is_in_both = self.random.coin();
        let Some(log) = &self.log else { return };
        let before = self.told.things.len();
        let mut is_taken = None;
        let rotated = log.rotate(|snapshot| {
            self.told.things.iter().try_for_each(|thing| snapshot.push(thing))?;
            let is_there = *is_taken.insert(log.append(&thing).is_ok());
            if is_there && is_in_both { snapshot.push(&thing) } else { Ok(()) }
        });
        if let Some(is_taken) = is_taken {
            self.note(thing, is_taken);
        }
        if rotated.is_ok() {
            self.told.synced = self.told.synced.max(before);
            self.told.appended = self.told.things.len();
        }
        self.look();
    }

    pub(super) fn close(&mut self) {
        let Some(log) = &self.log else { return };
        if log.close().is_ok() {
            self.told.synced = self.told.things.len();
        }
        self.look();
    }

    /// What is wrong with the log is healed at the next rotation. What was in a file whose sync failed may be gone with the process.
    fn look(&mut self) {
        let trouble = self.log.as_ref().and_then(|log| log.standing().trouble);
        if let Some(LogError::Poisoned(_)) = trouble {
            self.told.appended = self.told.synced;
        }
    }

    pub(super) fn is_in_trouble(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.standing().trouble.is_some())
    }

    fn thing(&mut self) -> Thing {
        let most = if self.random.below(4) == 0 { 1500 } else { 80 };
        let bytes = self.random.below(most) as usize;
        let again = self.refused_bytes.take().filter(|_| self.random.coin());
        self.thing_of(again.unwrap_or(bytes))
    }

    fn thing_of(&mut self, bytes: usize) -> Thing {
        let number = self.next_number;
        self.next_number += 1;
        let mut thing = number.to_le_bytes().to_vec();
        thing.resize_with(8 + bytes, || self.random.next() as u8);
        thing
    }
}
