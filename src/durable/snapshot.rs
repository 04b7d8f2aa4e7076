//! Writing everything down, while the engine goes on.
//!
//! **In this order**: rules, budgets, what was given, workflows, holds. A budget is read under the lock that it is written under, up to its ceiling: so a
//! record of it that is not in the snapshot has a later stamp. A hold is read under the lock of its entries. One that is open and was made, or
//! grew, after its budgets were read would not be in them: so the budgets of holds are written once more, under that lock.

use super::entry::{Encoder, Entry, RuleName, WorkflowEntry};
use super::hold::{amounts, named};
use super::store::Store;
use crate::charge::{Seat, UNWRITTEN};
use crate::engine::Core;
use crate::grants::Grant;
use crate::meter::{Image, Meter};
use crate::persist::{LogError, SnapshotWriter};
use crate::scope::Carried;
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::Window;
use crate::workflow::{WorkflowImage, image_of};

/// Gathered before it becomes a piece.
const PIECE_BYTES: usize = 48 << 10;

/// How exact the budgets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amounts {
    /// Up to their ceilings: charges go on below them, and write nothing.
    Ceilings,
    /// As they are charged. Nothing can be charged afterwards without being written.
    Exact,
}

/// Writes the engine down at `now`; `stamp` gives the stamps.
pub(super) fn write(
    core: &Core,
    store: Option<&Store>,
    stamp: &dyn Fn() -> u64,
    (now, latest): (Timestamp, i64),
    how: Amounts,
    writer: &mut SnapshotWriter<'_>,
) -> Result<(), LogError> {
    let mut pieces = Pieces::new(writer, latest);
    let rules = core.names.lock().all_rules();
    let snapshot = Snapshot { core, rules, store, stamp, now, how };
    snapshot.rules(&mut pieces)?;
    pieces.push(&Entry::Engine { stamp: stamp(), resets: core.resets.done() })?;
    // A piece of their own: should the next one be damaged, the budgets of others can still be told.
    pieces.finish()?;
    snapshot.budgets(&mut pieces)?;
    snapshot.grants(&mut pieces)?;
    snapshot.workflows(&mut pieces)?;
    snapshot.holds(&mut pieces)?;
    pieces.finish()
}

/// Entries on their way into a snapshot.
pub(super) struct Pieces<'a, 'w> {
    writer: &'a mut SnapshotWriter<'w>,
    encoder: Encoder,
    latest: i64,
}

impl<'a, 'w> Pieces<'a, 'w> {
    /// Of the instant `latest`, in microseconds.
    pub(super) fn new(writer: &'a mut SnapshotWriter<'w>, latest: i64) -> Self {
        Self { writer, encoder: Encoder::new(latest), latest }
    }

    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), LogError> {
        self.encoder.push(entry);
        if self.encoder.len() >= PIECE_BYTES { self.finish() } else { Ok(()) }
    }

    /// Ends a piece, as it must at the end.
    pub(super) fn finish(&mut self) -> Result<(), LogError> {
        let encoder = std::mem::replace(&mut self.encoder, Encoder::new(self.latest));
        self.writer.push(encoder.bytes())
    }
}

struct Snapshot<'a> {
    core: &'a Core,
    /// All rules by their numbers, taken once: what a policy that is set meanwhile adds has no number in this snapshot, and its budgets are
    /// written by name after it.
    rules: Vec<(Box<str>, Box<str>, Window)>,
    store: Option<&'a Store>,
    stamp: &'a dyn Fn() -> u64,
    now: Timestamp,
    how: Amounts,
}

impl Snapshot<'_> {
    fn rules(&self, pieces: &mut Pieces<'_, '_>) -> Result<(), LogError> {
        for (number, (limit, resource, window)) in (0..).zip(self.rules.iter().cloned()) {
            pieces.push(&Entry::Rule { number, rule: RuleName { limit, resource, window } })?;
        }
        Ok(())
    }

    fn budgets(&self, pieces: &mut Pieces<'_, '_>) -> Result<(), LogError> {
        for group in self.core.registry.in_use() {
            // Taken first: what is written of them meanwhile is newer.
            let stamp = (self.stamp)();
            let mut budgets = Vec::new();
            for meter in group.meters() {
                let Some((.., window)) = self.rules.get(meter.number() as usize) else { continue };
                let image = self.image(meter, window.index(self.now));
                if !image.is_nothing() {
                    budgets.push((meter.number(), image));
                }
            }
            if !budgets.is_empty() {
                pieces.push(&Entry::Group { subject: group.owner().into(), stamp, budgets })?;
            }
        }
        Ok(())
    }

    /// A budget, read under its lock.
    fn image(&self, meter: &Meter, near: i64) -> Image {
        let _lock = self.store.map(|store| store.lock(meter));
        self.image_locked(meter, near)
    }

    fn image_locked(&self, meter: &Meter, near: i64) -> Image {
        match self.how {
            Amounts::Ceilings => {
                let mut image = meter.image(near);
                if self.store.is_none_or(Store::writes_changes) {
                    // Where it is above, whoever brought it there is yet to write it: the snapshot is not published yet.
                    meter.up_to_ceiling(&mut image);
                }
                image
            }
            Amounts::Exact => {
                if self.store.is_some_and(Store::writes_changes) {
                    meter.seal();
                }
                meter.image(near)
            }
        }
    }

    fn grants(&self, pieces: &mut Pieces<'_, '_>) -> Result<(), LogError> {
        let entries: Vec<Entry> = self.core.grants.with_all(|all| {
            let entry = |(subject, rule, grant): (&Subject, u32, &Grant)| {
                let (limit, resource, window) = self.rules.get(rule as usize).cloned()?;
                Some(grant_entry(RuleName { limit, resource, window }, subject.as_str(), grant, (self.stamp)()))
            };
            all.filter_map(entry).collect()
        });
        entries.iter().try_for_each(|entry| pieces.push(entry))
    }

    fn workflows(&self, pieces: &mut Pieces<'_, '_>) -> Result<(), LogError> {
        for owner in self.core.timed.all() {
            // Taken first: an end that comes meanwhile is newer.
            let stamp = (self.stamp)();
            let Some(image) = image_of(&owner) else { continue };
            pieces.push(&workflow_entry(self.core, &image, stamp))?;
            let seats: Vec<Seat> = image.carried.iter().map(Carried::seat).collect();
            seats.iter().filter_map(|seat| self.seat(seat)).try_for_each(|entry| pieces.push(&entry))?;
        }
        Ok(())
    }

    /// A budget by its name, if there is something to write.
    fn seat(&self, seat: &Seat) -> Option<Entry> {
        if seat.label.carrier == UNWRITTEN {
            return None;
        }
        let _lock = self.store.map(|store| store.lock(&seat.meter));
        let image = self.image_locked(&seat.meter, seat.window.index(self.now));
        let (rule, subject) = (seat.rule_name(), seat.subject.as_str().into());
        (!image.is_nothing()).then(|| Entry::Budget {
            rule,
            subject,
            carrier: seat.label.carrier,
            stamp: (self.stamp)(),
            image,
        })
    }

    fn holds(&self, pieces: &mut Pieces<'_, '_>) -> Result<(), LogError> {
        for hold in self.core.holds.all() {
            let entries = hold.with_image(|image| {
                let entry = self.core.hold_entry(&hold, &image, (self.stamp)());
                let parts = if image.settled.is_none() { &*image.parts } else { &[] };
                let seats = parts.iter().flat_map(|part| &part.plan.seats);
                seats.filter_map(|seat| self.seat(seat)).chain(entry).collect::<Vec<_>>()
            });
            entries.into_iter().flatten().try_for_each(|entry| pieces.push(&entry))?;
        }
        Ok(())
    }
}

pub(super) fn grant_entry(rule: RuleName, subject: &str, grant: &Grant, stamp: u64) -> Entry {
    Entry::Grant { rule, subject: subject.into(), stamp, cap: grant.cap, extra: grant.extra }
}

pub(super) fn workflow_entry(core: &Core, image: &WorkflowImage, stamp: u64) -> Entry {
    let names = &*core.names.lock();
    Entry::Workflow(Box::new(WorkflowEntry {
        began: image.began,
        stamp,
        id: image.id.clone(),
        due: image.due.as_micros(),
        ended: image.ended,
        subjects: named(&image.starter),
        steps: image.steps,
        tools: image.tools.iter().map(|(name, of)| (name.clone(), *of)).collect(),
        budgets: amounts(names, &image.budgets),
    }))
}
