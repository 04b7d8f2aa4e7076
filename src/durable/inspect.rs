//! What is in a directory, read as an engine would read it. Nothing is changed, and nothing is locked.
//!
//! **A directory that is in use** changes while it is read: its last segment grows, and when a snapshot is published older files go. What is read then may
//! look torn or damaged where it is not. So after anything but a good end the files are looked at again, and if they have changed, read again.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{Amounts, HoldEntry, IdEntry, Named, RuleName, WorkflowEntry};
use super::open::{Found, Given, RuleOf, Single};
use super::report::TornTail;
use crate::amount::Cap;
use crate::holds::HoldId;
use crate::meter::Image;
use crate::persist::{Disk, Fault, Kind, LOCK, Name, OpenError, Recovered, Vfs, first_gap, recover};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::window::{Bounds, Exact, Window};
use crate::workflow::{KIND, STEPS_LIMIT};

/// How often a directory that changes is read.
const TRIES: u32 = 32;

/// What is in the directory of an engine that survives restarts: all of it, verified.
///
/// It is read as an engine would read it, which checks every file that counts from its first byte to its last. Nothing is changed: no directory and no file
/// is made, and no lock is taken. A directory that is in use may be read; what is told is how it stood at some moment meanwhile.
///
/// ```
/// use encumber::{Cap, Engine, Limit, Persist, Policy, Unit, Window};
/// # let dir = std::env::temp_dir().join(format!("encumber-doc-inspect-{}", std::process::id()));
/// let policy = Policy::builder()
///     .resource("tokens", Unit::Count)
///     .limit(Limit::new("agent-life", "agent", "tokens", Window::Lifetime, Cap::Max(1_000)))
///     .build()?;
/// let engine = Engine::builder(policy).persist(Persist::journal(&dir)).build()?;
/// engine.scope(["agent:planner"])?.try_charge(engine.resource("tokens")?.of(600))?;
/// assert_eq!(encumber::inspect(&dir)?.in_use, Some(true));
/// engine.close()?;
///
/// let found = encumber::inspect(&dir)?;
/// assert!(found.was_closed, "every amount is exact");
/// assert_eq!(found.budgets.len(), 1);
/// let budget = &found.budgets[0];
/// assert_eq!((budget.subject.as_str(), &*budget.rule.limit, budget.charged), ("agent:planner", "agent-life", 600));
/// assert_eq!(budget.rule.window_text(), "lifetime");
/// assert!(encumber::inspect(dir.join("elsewhere")).is_err());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As an engine would not open it: [`OpenError::Corrupt`] with the file and the place, for which there is [`salvage`](crate::salvage);
/// [`OpenError::NewerVersion`]; [`OpenError::Io`], also when there is no such directory. Never [`OpenError::AlreadyOpen`].
pub fn inspect(dir: impl AsRef<Path>) -> Result<Inspection, OpenError> {
    inspect_on(&Disk::existing(dir.as_ref())?)
}

fn inspect_on(vfs: &dyn Vfs) -> Result<Inspection, OpenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let files = files(vfs)?;
        let mut found = Found::default();
        let read = recover(vfs, &mut |item| found.take(item));
        let is_good = matches!(&read, Ok(recovered) if recovered.torn.is_none());
        if is_good || tries == TRIES || self::files(vfs)? == files {
            let read = read.map_err(|error| found.blame(error))?;
            return Ok(Inspection::of(vfs, files, found, &read));
        }
    }
}

/// What [`inspect`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The directory, by its one true name.
    pub dir: PathBuf,
    /// Whether an engine has it: in this process, or, on Linux, in one that the system shows. `None` where that cannot be told without taking it.
    pub in_use: Option<bool>,
    /// Everything that is there, in order of names.
    pub files: Vec<FoundFile>,
    /// The snapshot that counts; `None` when no engine has published one.
    pub snapshot: Option<u64>,
    /// How many records of the journal come after it.
    pub records: u64,
    /// The engine closed it: every amount is exact. Otherwise budgets stand at their ceilings; see [`Persist`](crate::Persist).
    pub was_closed: bool,
    /// The end of the journal that never got to the disk: what a loss of power leaves behind, or, of a directory in use, what is being written.
    pub torn: Option<TornTail>,
    /// The latest instant that was written down.
    pub latest: Option<Timestamp>,
    /// The limits that budgets were counted under, in order of names.
    pub rules: Vec<FoundRule>,
    /// The budgets, in order of subjects and limits. Those that workflows carry are [theirs](FoundWorkflow::budgets).
    pub budgets: Vec<FoundBudget>,
    /// What single budgets were given, in the same order.
    pub grants: Vec<FoundGrant>,
    /// The holds that are open under an id, in order of ids. What they hold is charged in the budgets.
    pub holds: Vec<FoundHold>,
    /// How many ids are remembered of holds that were settled, at the latest instant.
    pub remembered: u64,
    /// The workflows that are active, in order of ids.
    pub workflows: Vec<FoundWorkflow>,
    /// How many resets the engine has carried out.
    pub resets: u64,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundFile {
    /// Its name, as far as it is text.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its number, of those that have one.
    pub number: Option<u64>,
    /// How long it is, where that is known.
    pub bytes: Option<u64>,
    /// It counts. Other snapshots and segments are the generation before, which is kept for [`salvage`](crate::salvage).
    pub is_used: bool,
    /// Where one of the generation before is not whole. In a segment that may also be what an append left there that failed.
    pub unreadable: Option<Unreadable>,
}

/// What a file in the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A snapshot.
    Snapshot,
    /// A segment of the journal.
    Journal,
    /// Begun and never finished: it counts for nothing.
    Unfinished,
    /// What owners lock.
    Lock,
    /// Not an engine's.
    Foreign,
}

/// Where a file is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub why: String,
}

/// A limit that budgets were counted under, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundRule {
    /// Its id.
    pub limit: Box<str>,
    /// The resource that it counts.
    pub resource: Box<str>,
    /// Its window.
    pub window: Window,
}

impl FoundRule {
    /// The window with all of its settings, as it is on disk: `week;zone=Europe/Berlin;week_start=sunday`.
    pub fn window_text(&self) -> String {
        Exact(&self.window).to_string()
    }

    fn of(RuleName { limit, resource, window }: RuleName) -> Arc<Self> {
        Arc::new(Self { limit, resource, window })
    }

    fn order(&self, other: &Self) -> Ordering {
        let names = (&self.limit, &self.resource).cmp(&(&other.limit, &other.resource));
        names.then_with(|| self.window_text().cmp(&other.window_text()))
    }
}

/// A budget that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundBudget {
    /// Its limit.
    pub rule: Arc<FoundRule>,
    /// Whose it is.
    pub subject: Subject,
    /// What is charged in its window, used and held. Of a directory that was not closed: at least, and at most a step of its cap more.
    pub charged: u64,
    /// The number of its window: by the calendar, from 1970 on, or as its windows were used.
    pub window_number: i64,
    /// The bounds of its window, if it has some: a lifetime and a rolling window have none.
    pub bounds: Option<Bounds>,
    image: Image,
}

impl FoundBudget {
    fn of(rule: Arc<FoundRule>, subject: Subject, image: Image) -> Self {
        let (charged, window_number, bounds) = (image.charged, image.window, image.bounds(&rule.window));
        Self { rule, subject, charged, window_number, bounds, image }
    }

    /// Whether its window has ended at `at`: then it starts fresh. A rolling window has when nothing counts any more.
    pub fn has_ended(&self, at: Timestamp) -> bool {
        self.image.has_ended(&self.rule.window, at)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.subject.cmp(&other.subject).then_with(|| self.rule.order(&other.rule))
    }
}

/// What one budget was given while the engine ran.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundGrant {
    /// The budget's limit.
    pub rule: Arc<FoundRule>,
    /// Whose it is.
    pub subject: Subject,
    /// A cap of its own.
    pub cap: Option<Cap>,
    /// By how much its cap is raised.
    pub extra: u64,
    /// The number of the window in which it is.
    pub extra_window: Option<i64>,
}

/// An open hold that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundHold {
    /// The id that it is kept under: `#17` for a number, a slot's name, or what the caller chose.
    pub id: Box<str>,
    /// The resource, if it is a slot.
    pub slot_of: Option<Box<str>>,
    /// The subjects of its scope.
    pub subjects: Vec<Subject>,
    /// What it holds, by resource.
    pub held: Vec<(Box<str>, u64)>,
    /// When its time runs out.
    pub expires_at: Timestamp,
    /// A guard is answerable for it, which does not survive the process: see [`LostGuards`](crate::LostGuards).
    pub guarded: bool,
    /// It is written down that its call has gone out.
    pub dispatched: bool,
}

/// An active workflow that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundWorkflow {
    /// Its id.
    pub id: Box<str>,
    /// How many steps it has taken.
    pub steps: u64,
    /// How many it may take.
    pub steps_max: Cap,
    /// When its time runs out, if it has one.
    pub expires_at: Option<Timestamp>,
    /// The subjects of its starter.
    pub subjects: Vec<Subject>,
    /// The budgets that it carries: what was counted for it alone.
    pub budgets: Vec<FoundBudget>,
}

impl Inspection {
    fn of(vfs: &dyn Vfs, mut files: Vec<FoundFile>, mut found: Found, read: &Recovered) -> Self {
        for file in &mut files {
            let kind = match file.kind {
                FileKind::Journal => Kind::Journal,
                FileKind::Snapshot => Kind::Snapshot,
                _ => continue,
            };
            let Some(number) = file.number else { continue };
            file.is_used = read.snapshot.is_some_and(|from| number >= from);
            if !file.is_used {
                file.unreadable = unreadable(vfs, Name { kind, number, is_temporary: false });
            }
        }
        let latest = read.snapshot.map(|_| Timestamp::from_micros(found.at));
        let mut rules: Vec<Arc<FoundRule>> = found.rules.iter().cloned().map(FoundRule::of).collect();
        let mut budgets = Vec::new();
        let numbered = rules.clone();
        found.each_subject(|subject, all| {
            for (rule, image) in all {
                let Some(rule) = known(rule, &numbered, &mut rules) else { continue };
                budgets.push(FoundBudget::of(rule, subject.clone(), image));
            }
        });
        budgets.sort_by(FoundBudget::order);
        let mut grants: Vec<FoundGrant> =
            found.grants.iter().filter_map(|((rule, subject), given)| grant(rule, subject, *given)).collect();
        grants.sort_by(|a, b| a.subject.cmp(&b.subject).then_with(|| a.rule.order(&b.rule)));
        let holds = found.holds.values().map(|hold| &**hold);
        let (mut open, settled): (Vec<&HoldEntry>, Vec<&HoldEntry>) = holds.partition(|hold| hold.settled.is_none());
        open.sort_by(|a, b| a.id.cmp(&b.id));
        let is_remembered = |hold: &&HoldEntry| hold.remember && hold.due > found.at;
        let remembered = settled.into_iter().filter(is_remembered).count() as u64;
        let active = found.workflows.values().filter(|workflow| !workflow.ended);
        let mut workflows: Vec<FoundWorkflow> = active.map(|entry| workflow(entry, &found)).collect();
        workflows.sort_by(|a, b| a.id.cmp(&b.id));
        rules.sort_by(|a, b| a.order(b));
        Self {
            dir: vfs.dir().to_owned(),
            in_use: vfs.is_taken(),
            files,
            snapshot: read.snapshot,
            records: read.records,
            was_closed: read.is_closed,
            torn: TornTail::of(read),
            latest,
            rules: rules.iter().map(|rule| FoundRule::clone(rule)).collect(),
            budgets,
            grants,
            holds: open.into_iter().map(hold).collect(),
            remembered,
            workflows,
            resets: found.resets_done(),
        }
    }
}

/// Everything that is there, in order of names. What is used is not known yet.
fn files(vfs: &dyn Vfs) -> Result<Vec<FoundFile>, OpenError> {
    let mut names = vfs.list().map_err(Fault::of(vfs, "list", ""))?;
    names.sort_unstable();
    let file = |name: String| {
        let ours = Name::parse(&name);
        let kind = match ours {
            Some(Name { is_temporary: true, .. }) => FileKind::Unfinished,
            Some(Name { kind: Kind::Journal, .. }) => FileKind::Journal,
            Some(Name { kind: Kind::Snapshot, .. }) => FileKind::Snapshot,
            None if name == LOCK => FileKind::Lock,
            None => FileKind::Foreign,
        };
        // It may be gone by now.
        let bytes = vfs.len(&name).ok();
        FoundFile { kind, number: ours.map(|ours| ours.number), bytes, is_used: false, unreadable: None, name }
    };
    Ok(names.into_iter().map(file).collect())
}

/// Nobody reads it, so whatever is wrong with it is no error.
fn unreadable(vfs: &dyn Vfs, name: Name) -> Option<Unreadable> {
    match first_gap(vfs, name) {
        Ok(gap) => gap.map(|gap| Unreadable { offset: gap.from, why: gap.why }),
        Err(error) => Some(Unreadable { offset: 0, why: error.to_string() }),
    }
}

/// The rule of a budget. One that only records name is new.
fn known(rule: RuleOf, numbered: &[Arc<FoundRule>], rules: &mut Vec<Arc<FoundRule>>) -> Option<Arc<FoundRule>> {
    match rule {
        RuleOf::Number(number) => numbered.get(number as usize).cloned(),
        RuleOf::Name(name) => {
            let rule = FoundRule::of(name);
            let at = rules.iter().position(|known| *known == rule).unwrap_or_else(|| {
                rules.push(rule);
                rules.len() - 1
            });
            rules.get(at).cloned()
        }
    }
}

fn grant(rule: &RuleName, subject: &str, (_, cap, extra): Given) -> Option<FoundGrant> {
    let rule = FoundRule::of(rule.clone());
    let (extra_window, extra) = extra.map_or((None, 0), |(window, extra)| (Some(window), extra));
    // One of which everything was taken away again is written down as well.
    let is_something = cap.is_some() || extra > 0;
    is_something.then_some(FoundGrant { rule, subject: subject.parse().ok()?, cap, extra, extra_window })
}

fn hold(entry: &HoldEntry) -> FoundHold {
    let (id, slot_of) = match &entry.id {
        IdEntry::Given(number) => (HoldId::of_given(*number).to_string().into(), None),
        IdEntry::Chosen(text) => (text.clone(), None),
        IdEntry::Slot { resource, name, .. } => (name.clone(), Some(resource.clone())),
    };
    FoundHold {
        id,
        slot_of,
        subjects: entry.parts.first().map_or_else(Vec::new, |part| subjects(&part.subjects)),
        held: sum(entry.parts.iter().map(|part| &part.cost)),
        expires_at: Timestamp::from_micros(entry.due),
        guarded: entry.guarded,
        dispatched: entry.dispatched,
    }
}

fn workflow(entry: &WorkflowEntry, found: &Found) -> FoundWorkflow {
    let subject = Subject::new(KIND, &entry.id).ok();
    let carried = subject.iter().flat_map(|subject| {
        let of = move |single: &Single| {
            FoundBudget::of(FoundRule::of(single.rule.clone()), subject.clone(), single.image.clone())
        };
        found.carried(subject.as_str(), entry.began).map(of)
    });
    let mut budgets: Vec<FoundBudget> = carried.collect();
    budgets.sort_by(FoundBudget::order);
    let steps = budgets.iter().find(|budget| &*budget.rule.limit == STEPS_LIMIT).map_or(0, |budget| budget.charged);
    let due = Timestamp::from_micros(entry.due);
    FoundWorkflow {
        id: entry.id.clone(),
        steps,
        steps_max: entry.steps,
        expires_at: (due != Timestamp::MAX).then_some(due),
        subjects: subjects(&entry.subjects),
        budgets,
    }
}

fn subjects(named: &Named) -> Vec<Subject> {
    named.iter().filter_map(|(subject, _)| subject.parse().ok()).collect()
}

fn sum<'a>(all: impl Iterator<Item = &'a Amounts>) -> Vec<(Box<str>, u64)> {
    let mut sums: Vec<(Box<str>, u64)> = Vec::new();
    for (resource, amount) in all.flatten() {
        match sums.iter_mut().find(|(known, _)| known == resource) {
            Some((_, sum)) => *sum = sum.saturating_add(*amount),
            None => sums.push((resource.clone(), *amount)),
        }
    }
    sums
}

#[cfg(all(test, not(loom)))]
mod tests;
