//! Holds as entries.

use std::sync::Arc;

use super::entry::{Amounts, Entry, HoldEntry, IdEntry, Named, PartEntry, SeatEntry, SettledEntry};
use super::store::Unwritten;
use crate::amount::{Cost, Resource};
use crate::charge::{UNWRITTEN, Windows};
use crate::engine::{Core, Names};
use crate::holds::{HoldId, Keep, KeptAs};
use crate::reservation::Hold;
use crate::scope::{Plan, Subjects};
use crate::time::Timestamp;

/// How a hold stands, to be written down.
#[derive(Clone)]
pub(crate) struct HoldImage {
    pub(crate) id: HoldId,
    pub(crate) guarded: bool,
    pub(crate) dispatched: bool,
    pub(crate) observed: Cost,
    /// What was split off the first part.
    pub(crate) given: Cost,
    pub(crate) parts: Vec<HoldPart>,
    pub(crate) settled: Option<SettledImage>,
}

/// What one admission took, and what is left of it.
#[derive(Clone)]
pub(crate) struct HoldPart {
    pub(crate) plan: Arc<Plan>,
    pub(crate) windows: Windows,
    pub(crate) cost: Cost,
}

/// How a hold was settled.
#[derive(Clone, Debug)]
pub(crate) struct SettledImage {
    pub(crate) at: Timestamp,
    pub(crate) resets: u64,
    /// `None` when everything was given back.
    pub(crate) charged: Option<Cost>,
    pub(crate) expired: bool,
    pub(crate) late: bool,
}

impl Core {
    /// Writes a hold down as it stands. Under the lock of its entries.
    pub(crate) fn write_hold(&self, hold: &Hold, image: &HoldImage, at: Timestamp) -> Result<(), Unwritten> {
        let Some(store) = self.store().filter(|store| store.writes_changes()) else { return Ok(()) };
        store.is_up()?;
        let stamp = store.stamp();
        let Some(entry) = self.hold_entry(hold, image, stamp) else { return Ok(()) };
        store.append(at, &[entry]).inspect_err(|_| self.lose_store(at))
    }

    /// The same of one that was just made, together with what it charged.
    pub(crate) fn write_new_hold(&self, hold: &Hold, image: &HoldImage, at: Timestamp) -> Result<(), Unwritten> {
        let Some(store) = self.store().filter(|store| store.writes_changes()) else { return Ok(()) };
        let (Some(entry), [part]) = (self.hold_entry(hold, image, store.stamp()), &*image.parts) else {
            return self.write_hold(hold, image, at);
        };
        let written = store.append_hold(&part.plan, &part.cost, entry, at);
        written.inspect_err(|_| self.lose_store(at))
    }

    /// `None` when the engine does not keep it.
    pub(super) fn hold_entry(&self, hold: &Hold, image: &HoldImage, stamp: u64) -> Option<Entry> {
        let KeptAs { due, keep, open } = self.holds.kept_as(&image.id, hold)?;
        let names = &*self.names.lock();
        // Once it is settled it is forgotten after a while from then on: the table is told last.
        let due = match &image.settled {
            Some(settled) if open => settled.at.saturating_add(self.holds.remember()),
            _ => due,
        };
        let settled = image.settled.as_ref().map(|settled| SettledEntry {
            at: settled.at.as_micros(),
            resets: settled.resets,
            charged: settled.charged.as_ref().map(|charged| amounts(names, charged)),
            expired: settled.expired,
            late: settled.late,
        });
        Some(Entry::Hold(Box::new(HoldEntry {
            stamp,
            id: id_entry(names, &image.id),
            due: due.as_micros(),
            remember: keep == Keep::Remember,
            guarded: image.guarded,
            dispatched: image.dispatched,
            observed: amounts(names, &image.observed),
            given: amounts(names, &image.given),
            parts: image.parts.iter().map(|part| part_entry(names, part)).collect(),
            settled,
        })))
    }
}

pub(super) fn amounts(names: &Names, cost: &Cost) -> Amounts {
    cost.iter().map(|(resource, amount)| (name(names, resource), amount)).collect()
}

fn name(names: &Names, resource: Resource) -> Box<str> {
    names.resource_name(resource).unwrap_or_default().into()
}

pub(super) fn named(subjects: &Subjects) -> Named {
    subjects.with_groups().map(|(subject, groups)| (subject.as_str().into(), groups.to_vec())).collect()
}

fn id_entry(names: &Names, id: &HoldId) -> IdEntry {
    if let Some(number) = id.given() {
        return IdEntry::Given(number);
    }
    match id.slotted() {
        Some((resource, subjects)) => IdEntry::Slot {
            resource: name(names, resource),
            subjects: subjects.iter().map(|subject| subject.as_str().into()).collect(),
            name: id.to_string().into(),
        },
        None => IdEntry::Chosen(id.to_string().into()),
    }
}

fn part_entry(names: &Names, HoldPart { plan, windows, cost }: &HoldPart) -> PartEntry {
    let members = plan.members();
    let seats = plan.seats.iter().zip(windows).filter(|(seat, _)| seat.label.carrier != UNWRITTEN);
    let seats = seats.map(|(seat, &window)| SeatEntry {
        rule: seat.rule_name(),
        subject: seat.subject.as_str().into(),
        carrier: seat.label.carrier,
        window,
    });
    let owners = members.owners.iter().map(|owned| owned.owner.subject());
    PartEntry {
        subjects: named(&members.subjects),
        workflows: owners
            .filter(|owner| owner.kind() == crate::workflow::KIND)
            .map(|owner| owner.id().into())
            .collect(),
        seats: seats.collect(),
        cost: amounts(names, cost),
    }
}
