//! Reading a directory back into an engine.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use ahash::RandomState;

use super::entry::{self, Amounts, Entry, HoldEntry, IdEntry, Named, PartEntry, RuleName, SeatEntry, WorkflowEntry};
use super::hold::{HoldImage, HoldPart, SettledImage};
use super::report::{RecoveredHold, RecoveredWorkflow, RecoveryReport, TornTail};
use super::store::Store;
use super::{Keeper, LostGuards, Mode, Persist, Place, snapshot};
use crate::amount::{Cap, Cost, Resource, Unit};
use crate::charge::{Label, Seat, Windows};
use crate::engine::{Core, Engine, EngineBuilder, InForce, Keeping};
use crate::event::EventKind;
use crate::grants::Grant;
use crate::holds::{HoldId, Keep, KeptAs};
use crate::meter::{Image, ImageCourse};
use crate::persist::{Disk, Fault, Item, LogError, OpenError, Opening, Recovered, Vfs};
use crate::policy::Enforcement;
use crate::registry::Rule;
use crate::reservation::Hold;
use crate::scope::{Carried, Members, Plan, Subjects};
use crate::subject::Subject;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;
use crate::workflow::{self, Again, WorkflowImage};

/// Ids with numbers begin at so many for each generation of the files: no process gives as many.
const NUMBERS_PER_GENERATION: u32 = 40;

pub(super) fn open(builder: EngineBuilder<Persist>) -> Result<Engine, OpenError> {
    let keeping = match builder.persist.mode {
        Mode::Journal(_) => Keeping::Journal,
        Mode::Snapshot(_) => Keeping::Snapshots,
    };
    let vfs: Arc<dyn Vfs> = match &builder.persist.place {
        Place::Dir(dir) => Arc::new(Disk::open(dir)?),
        #[cfg(all(test, not(loom)))]
        Place::Over(vfs) => Arc::clone(vfs),
    };
    let mut found = Found::default();
    let opening = Opening::new(Arc::clone(&vfs), &mut |item| found.take(item));
    let opening = opening.map_err(|error| found.blame(error))?;
    let (engine, persist) = builder.make(keeping);
    let core = engine.core();
    let now = core.now_precise();
    let stamps = AtomicU64::new(found.stamp);
    let latest = now.max(Timestamp::from_micros(found.at));
    core.holds.number_from(opening.recovered().next_number << NUMBERS_PER_GENERATION);
    core.timed.number_from(opening.recovered().next_number << NUMBERS_PER_GENERATION);
    let report = Restoring { core, now, latest, guards: persist.guards, is_watched: keeping == Keeping::Journal }
        .restore(found, opening.recovered());
    let stamp = || stamps.fetch_add(1, Ordering::AcqRel) + 1;
    let at = (now, latest.as_micros());
    let published =
        opening.publish(|writer| snapshot::write(core, None, &stamp, at, snapshot::Amounts::Ceilings, writer));
    let (log, _) = published.map_err(|error| match error {
        LogError::Io(fault) => OpenError::Io(fault),
        other => OpenError::Io(Fault::new("write", vfs.dir().to_owned(), io::Error::other(other))),
    })?;
    let store = Store::new(log, &persist, stamps.into_inner(), latest);
    let _first = core.store.set(store);
    core.emit(now, || EventKind::Recovered {
        budgets: report.budgets,
        holds: report.holds.iter().filter(|hold| hold.charged.is_none()).count() as u64,
    });
    let _first = core.recovered.set(report);
    if persist.has_keeper {
        let keeper = Keeper::start(core, &persist)
            .map_err(|error| OpenError::Io(Fault::new("start the keeper of", vfs.dir().to_owned(), error)))?;
        *core.keeper.lock() = Some(keeper);
    }
    Ok(engine)
}

pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// What files say: of each thing the newest.
#[derive(Default)]
pub(super) struct Found {
    /// The latest instant.
    pub(super) at: i64,
    pub(super) stamp: u64,
    pub(super) rules: Vec<RuleName>,
    groups: Vec<Group>,
    /// By subject: more recent than the groups.
    pub(super) budgets: Map<Box<str>, Vec<Single>>,
    pub(super) grants: Map<(RuleName, Box<str>), Given>,
    /// How many resets were carried out, and the stamp of that.
    pub(super) resets: (u64, u64),
    /// The last one that a budget has seen: its record may have been written before that of the reset itself.
    pub(super) reset_seen: u64,
    pub(super) holds: Map<IdEntry, Box<HoldEntry>>,
    pub(super) workflows: Map<Box<str>, Box<WorkflowEntry>>,
    /// Something is of this version, which we do not read.
    pub(super) newer: Option<u32>,
}

/// A subject's budgets by number of their rules, and their stamp.
type Group = (Subject, u64, Vec<(u32, Image)>);

/// A grant's stamp, cap and extra.
pub(super) type Given = (u64, Option<Cap>, Option<(i64, u64)>);

pub(super) struct Single {
    pub(super) rule: RuleName,
    pub(super) carrier: u64,
    pub(super) stamp: u64,
    pub(super) image: Image,
}

/// What a budget's rule is known by.
pub(super) enum RuleOf {
    /// In [`Found::rules`].
    Number(u32),
    Name(RuleName),
}

impl Found {
    pub(super) fn take(&mut self, item: Item<'_>) -> Result<(), String> {
        let (Item::Piece(bytes) | Item::Record { payload: bytes, .. }) = item;
        self.decode(bytes)?.into_iter().try_for_each(|entry| self.add(entry))
    }

    /// The entries of a record or piece. Takes note of its instant.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, String> {
        self.newer = self.newer.max(entry::newer(bytes));
        let (at, entries) = entry::decode(bytes)?;
        self.at = if self.stamp == 0 { at } else { self.at.max(at) };
        Ok(entries)
    }

    /// What a later release wrote is not damaged.
    pub(super) fn blame(&self, error: OpenError) -> OpenError {
        match (error, self.newer) {
            (OpenError::Corrupt { path, .. }, Some(version)) => OpenError::NewerVersion { path, version },
            (error, _) => error,
        }
    }

    pub(super) fn add(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Rule { number, rule } => {
                // Numbered without gaps, as they come.
                if number as usize != self.rules.len() {
                    return Err(format!("rule {number} comes after {} others", self.rules.len()));
                }
                self.rules.push(rule);
            }
            Entry::Group { subject, stamp, budgets } => {
                let subject = subject_of(&subject)?;
                if let Some((number, _)) = budgets.iter().find(|(number, _)| *number as usize >= self.rules.len()) {
                    return Err(format!("there is no rule {number}"));
                }
                self.see(stamp);
                for (_, image) in &budgets {
                    self.see_reset(image);
                }
                self.groups.push((subject, stamp, budgets));
            }
            Entry::Budget { rule, subject, carrier, stamp, image } => {
                subject_of(&subject)?;
                self.see(stamp);
                self.see_reset(&image);
                let singles = self.budgets.entry(subject).or_default();
                match singles.iter_mut().find(|single| single.carrier == carrier && single.rule == rule) {
                    Some(single) if single.stamp >= stamp => {}
                    Some(single) => (single.stamp, single.image) = (stamp, image),
                    None => singles.push(Single { rule, carrier, stamp, image }),
                }
            }
            Entry::Grant { rule, subject, stamp, cap, extra } => {
                subject_of(&subject)?;
                self.see(stamp);
                let grant = self.grants.entry((rule, subject)).or_insert((0, None, None));
                if stamp > grant.0 {
                    *grant = (stamp, cap, extra);
                }
            }
            Entry::Engine { stamp, resets } => {
                self.see(stamp);
                if stamp > self.resets.0 {
                    self.resets = (stamp, resets);
                }
            }
            Entry::Hold(hold) => {
                self.see(hold.stamp);
                match self.holds.get_mut(&hold.id) {
                    Some(known) if known.stamp >= hold.stamp => {}
                    Some(known) => *known = hold,
                    None => {
                        self.holds.insert(hold.id.clone(), hold);
                    }
                }
            }
            Entry::Workflow(workflow) => {
                self.see(workflow.stamp.max(workflow.began));
                match self.workflows.get_mut(&workflow.id) {
                    Some(known) if known.stamp >= workflow.stamp => {}
                    Some(known) => *known = workflow,
                    None => {
                        self.workflows.insert(workflow.id.clone(), workflow);
                    }
                }
            }
        }
        Ok(())
    }

    fn see(&mut self, stamp: u64) {
        self.stamp = self.stamp.max(stamp);
    }

    fn see_reset(&mut self, image: &Image) {
        self.reset_seen = self.reset_seen.max(image.reset.map_or(0, |(last, _)| last));
    }

    /// How many resets were carried out: what is charged from now on was charged after all of them.
    pub(super) fn resets_done(&self) -> u64 {
        self.resets.1.max(self.reset_seen)
    }

    /// Hands out the budgets of each subject, of each the newest; but for those that workflows carry, which stay. A subject may come several times.
    pub(super) fn each_subject(&mut self, mut act: impl FnMut(&Subject, Vec<(RuleOf, Image)>)) {
        for (subject, stamp, budgets) in std::mem::take(&mut self.groups) {
            let mut singles = self.budgets.get_mut(subject.as_str());
            let mut all = Vec::with_capacity(budgets.len());
            for (number, image) in budgets {
                let Some(name) = self.rules.get(number as usize) else { continue };
                // Taken out, so that each budget comes once; the others may belong to another group of the subject.
                let single = singles.as_mut().and_then(|singles| {
                    let place = singles.iter().position(|single| single.carrier == 0 && single.rule == *name)?;
                    Some(singles.swap_remove(place))
                });
                let newer = single.filter(|single| single.stamp > stamp);
                all.push((RuleOf::Number(number), newer.map_or(image, |single| single.image)));
            }
            act(&subject, all);
        }
        for (subject, singles) in &mut self.budgets {
            let own = singles.extract_if(.., |single| single.carrier == 0);
            let all: Vec<(RuleOf, Image)> = own.map(|single| (RuleOf::Name(single.rule), single.image)).collect();
            if let (Ok(subject), false) = (subject.parse(), all.is_empty()) {
                act(&subject, all);
            }
        }
    }

    /// What a workflow carries of its own.
    pub(super) fn carried(&self, subject: &str, began: u64) -> impl Iterator<Item = &Single> {
        self.budgets.get(subject).into_iter().flatten().filter(move |single| single.carrier == began)
    }
}

fn subject_of(text: &str) -> Result<Subject, String> {
    text.parse().map_err(|error| format!("{error}"))
}

struct Restoring<'a> {
    core: &'a Arc<Core>,
    now: Timestamp,
    /// Now, or the latest instant that was written down.
    latest: Timestamp,
    guards: LostGuards,
    is_watched: bool,
}

/// The workflows that were active, by id, each with its stamp.
type Active = Map<Box<str>, (u64, Again)>;

impl Restoring<'_> {
    fn restore(&self, mut found: Found, recovered: &Recovered) -> RecoveryReport {
        let core = self.core;
        let mut report = RecoveryReport {
            snapshot: recovered.snapshot,
            records: recovered.records,
            was_closed: recovered.is_closed || recovered.snapshot.is_none(),
            torn: TornTail::of(recovered),
            foreign: recovered.foreign.clone(),
            unfinished: recovered.unfinished.clone(),
            ..RecoveryReport::default()
        };
        if recovered.snapshot.is_some() && self.latest > self.now {
            report.clock_behind = Some(self.latest.saturating_since(self.now));
        }
        core.resets.restore(found.resets_done());
        self.budgets(&mut found, &mut report);
        for ((rule, subject), (_, cap, extra)) in &found.grants {
            self.grant(rule, subject, *cap, *extra);
        }
        let active = self.workflows(&found, &mut report);
        let mut holds: Vec<Box<HoldEntry>> = found.holds.into_values().collect();
        // As they were made, so that whatever comes of it is the same each time.
        holds.sort_unstable_by_key(|hold| hold.stamp);
        for hold in holds {
            self.hold(&hold, &active, &mut report);
        }
        report.holds.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        report.workflows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        report
    }

    fn rule(&self, RuleName { limit, resource, window }: &RuleName) -> Rule {
        let names = &mut *self.core.names.lock();
        let resource = names.resource(self.core.number(), resource);
        names.rule_of(limit, resource, *window)
    }

    fn resource(&self, name: &str) -> Resource {
        self.core.names.lock().resource(self.core.number(), name)
    }

    fn budgets(&self, found: &mut Found, report: &mut RecoveryReport) {
        let rules: Vec<Rule> = found.rules.iter().map(|name| self.rule(name)).collect();
        let mut known: HashSet<Rule, RandomState> = HashSet::default();
        let mut begin = |rule: Rule| {
            if known.insert(rule) {
                self.core.registry.begin_at(rule, self.latest);
            }
        };
        for rule in &rules {
            begin(*rule);
        }
        let named = found.budgets.values().flatten().filter(|single| single.carrier == 0);
        named.for_each(|single| begin(self.rule(&single.rule)));
        found.each_subject(|subject, budgets| {
            let rule = |named: RuleOf| match named {
                RuleOf::Number(number) => rules.get(number as usize).copied(),
                RuleOf::Name(name) => Some(self.rule(&name)),
            };
            let all: Vec<(Rule, Image)> =
                budgets.into_iter().filter_map(|(named, image)| Some((rule(named)?, image))).collect();
            self.subject(subject, &all, report);
        });
    }

    /// The budgets of one subject, but for those whose windows have ended for long: nobody could tell them from new ones.
    fn subject(&self, subject: &Subject, budgets: &[(Rule, Image)], report: &mut RecoveryReport) {
        let mut left = Vec::with_capacity(budgets.len());
        for ((rule, window), image) in budgets {
            let by_clock = matches!(image.course, ImageCourse::Clock);
            let number = window.index(self.latest);
            if by_clock && number > image.window {
                report.ended += 1;
            } else if image.charged > 0 {
                report.budgets += 1;
            }
            if !by_clock || number <= image.window.saturating_add(1) {
                left.push(((*rule, *window), image));
            }
        }
        if !left.is_empty() {
            self.core.registry.restore(subject, &left, self.latest);
        }
    }

    fn grant(&self, rule: &RuleName, subject: &str, cap: Option<Cap>, extra: Option<(i64, u64)>) {
        let (Ok(subject), rule) = (subject.parse::<Subject>(), self.rule(rule)) else { return };
        let give = |grant: &mut Grant| {
            *grant = Grant::again(rule.1, cap, extra);
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = self.core.grants.change(&subject, rule, self.latest, give, |_| Ok(()));
    }

    fn workflows(&self, found: &Found, report: &mut RecoveryReport) -> Active {
        let mut active = Active::default();
        for (id, entry) in &found.workflows {
            if entry.ended {
                continue;
            }
            let subject = format!("{}:{id}", workflow::KIND);
            let singles: Vec<&Single> = found.carried(&subject, entry.began).collect();
            let Some(starter) = subjects(&entry.subjects) else { continue };
            let due = Timestamp::from_micros(entry.due);
            let image = WorkflowImage {
                began: entry.began,
                id: id.clone(),
                due,
                ended: false,
                starter,
                steps: entry.steps,
                tools: entry.tools.clone(),
                budgets: self.cost(&entry.budgets),
                carried: Vec::new(),
            };
            let again = workflow::begin_again(self.core, image, |carried| {
                let carried = carried.written_under(entry.began, self.is_watched);
                if let Some(single) = singles.iter().find(|single| *single.rule.limit == *carried.label.limit) {
                    carried.meter.restore(&single.image);
                }
                carried
            });
            let Some(again) = again else { continue };
            let steps = again.carried.first().map_or(0, Carried::charged);
            let expires_at = (due != Timestamp::MAX).then_some(due);
            report.workflows.push(RecoveredWorkflow { id: id.clone(), steps, expires_at });
            active.insert(id.clone(), (entry.began, again));
        }
        active
    }

    fn cost(&self, amounts: &Amounts) -> Cost {
        amounts.iter().fold(Cost::nothing(), |cost, (name, amount)| cost.and(self.resource(name), *amount))
    }

    fn hold(&self, entry: &HoldEntry, active: &Active, report: &mut RecoveryReport) {
        let core = self.core;
        let due = Timestamp::from_micros(entry.due);
        let keep = if entry.remember { Keep::Remember } else { Keep::Forget };
        let is_open = entry.settled.is_none();
        if !is_open && (keep == Keep::Forget || due <= self.now) {
            return;
        }
        let Some(id) = self.id(&entry.id) else { return };
        let in_force = core.live.get();
        let parts: Option<Vec<HoldPart>> = entry.parts.iter().map(|part| self.part(part, active, &in_force)).collect();
        let Some(parts) = parts.filter(|parts| !parts.is_empty()) else { return };
        let settled = entry.settled.as_ref().map(|settled| SettledImage {
            at: Timestamp::from_micros(settled.at),
            resets: settled.resets,
            charged: settled.charged.as_ref().map(|charged| self.cost(charged)),
            expired: settled.expired,
            late: settled.late,
        });
        let is_lost = entry.guarded && is_open && self.guards != LostGuards::Keep;
        // A slot is never dispatched: the end of its time gives it back.
        let may_be_out = self.guards != LostGuards::ByDispatch && !matches!(entry.id, IdEntry::Slot { .. });
        let image = HoldImage {
            id: id.clone(),
            guarded: false,
            dispatched: entry.dispatched || may_be_out,
            observed: self.cost(&entry.observed),
            given: self.cost(&entry.given),
            parts,
            settled,
        };
        let Some(hold) = Hold::again(image) else { return };
        let hold = Arc::new(hold);
        core.holds.keep_again(id.clone(), Arc::clone(&hold), KeptAs { due, keep, open: is_open });
        if !is_open {
            return;
        }
        hold.each_held(|plan, windows, cost| {
            for (seat, &window) in plan.seats.iter().zip(windows) {
                if let Some(amount @ 1..) = cost.amount(seat.resource) {
                    seat.meter.hold_again(window, amount);
                }
            }
        });
        for owned in entry.parts.iter().take(1).flat_map(|part| &part.workflows).filter_map(|id| active.get(id)) {
            owned.1.owned.owner.gate().open();
        }
        let subjects = hold.plan().members().subjects.iter().cloned().collect();
        let amounts = super::hold::amounts(&core.names.lock(), &hold.held());
        let charged = is_lost.then(|| hold.settle_lost(self.latest));
        if charged == Some(false) && self.is_watched {
            // What it gave back is not to be found again: ceilings stand where budgets were when they were read.
            hold.each_held(|plan, _, _| plan.seats.iter().for_each(|seat| seat.lower_ceiling(self.latest)));
        }
        report.holds.push(RecoveredHold { id, subjects, held: amounts, expires_at: due, charged });
    }

    fn id(&self, entry: &IdEntry) -> Option<HoldId> {
        match entry {
            IdEntry::Given(number) => Some(HoldId::of_given(*number)),
            IdEntry::Chosen(text) => text.parse().ok(),
            IdEntry::Slot { resource, subjects, name } => {
                let subjects: Result<Vec<Subject>, _> = subjects.iter().map(|subject| subject.parse()).collect();
                HoldId::of_slot(self.resource(resource), subjects.ok()?.into_iter(), name).ok()
            }
        }
    }

    fn part(&self, entry: &PartEntry, active: &Active, in_force: &InForce) -> Option<HoldPart> {
        let mut members = Members::new(subjects(&entry.subjects)?);
        for (_, again) in entry.workflows.iter().filter_map(|id| active.get(id)) {
            members.carried.extend(again.budgets.iter().cloned());
            members.owners.push(again.owned.clone());
        }
        let seats = entry.seats.iter().filter_map(|seat| Some((self.seat(seat, active, in_force)?, seat.window)));
        let (seats, windows): (Vec<Seat>, Vec<i64>) = seats.unzip();
        let plan = Plan::again(self.core, members, seats);
        Some(HoldPart { plan, windows: Windows::from_vec(windows), cost: self.cost(&entry.cost) })
    }

    /// A budget that admitted a hold, under the policy in force; one that it does not name any more as it was called.
    fn seat(&self, entry: &SeatEntry, active: &Active, in_force: &InForce) -> Option<Seat> {
        let subject: Subject = entry.subject.parse().ok()?;
        if entry.carrier != 0 {
            let (_, again) = active.values().find(|(began, _)| *began == entry.carrier)?;
            return again.carried.iter().find(|carried| *carried.label.limit == *entry.rule.limit).map(Carried::seat);
        }
        let rule = self.rule(&entry.rule);
        let meter = self.core.registry.budgets(&subject, &[rule], self.latest).ok()?.into_iter().next()?;
        if let Some((limit, named)) =
            in_force.limits.iter().zip(in_force.policy.limits()).find(|(limit, _)| limit.rule == rule)
        {
            let resolved = in_force.policy.resolve(&subject, &[]);
            let cap =
                resolved.iter().find(|(found, ..)| found.id() == named.id()).map_or(named.max(), |(_, cap, _)| *cap);
            let seat = limit.seat(meter, &subject, (cap, named.enforced()));
            return Some(seat.heard(self.core.is_heard()));
        }
        let label = Label {
            limit: (&*entry.rule.limit).into(),
            resource: (&*entry.rule.resource).into(),
            unit: Unit::Count,
            warn: Box::default(),
            carrier: 0,
        };
        let resource = self.resource(&entry.rule.resource);
        Some(Seat::new(meter, (Arc::new(label), subject), resource, rule.1, (Cap::Unlimited, Enforcement::Soft)))
    }
}

fn subjects(named: &Named) -> Option<Subjects> {
    named.iter().try_fold(Subjects::new(), |subjects, (subject, groups)| {
        subjects.in_groups(&**subject, groups.iter().map(AsRef::as_ref)).ok()
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::window::Window;

    fn budget(stamp: u64, reset: Option<(u64, u64)>) -> Entry {
        let rule = RuleName { limit: "life".into(), resource: "tokens".into(), window: Window::Lifetime };
        let image = Image { window: 0, charged: 5, told: 0, ended: None, reset, course: ImageCourse::Clock };
        Entry::Budget { rule, subject: "user:7".into(), carrier: 0, stamp, image }
    }

    #[test]
    fn a_reset_that_only_a_budget_tells_of_was_carried_out() {
        let mut found = Found::default();
        found.add(Entry::Engine { stamp: 1, resets: 7 }).unwrap();
        found.add(budget(2, None)).unwrap();
        assert_eq!(found.resets_done(), 7);
        // Written by a charge, between the reset and the reset's own record.
        found.add(budget(3, Some((8, 100)))).unwrap();
        assert_eq!(found.resets_done(), 8);
    }
}
