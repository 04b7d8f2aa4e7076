//! Taking what is whole out of a directory that no engine opens, into a new one.
//!
//! **Why the order does not matter.** Every entry says how something stands, and has a stamp that grows with every entry of a directory: of two
//! entries about one thing the one with the larger stamp counts, whichever was read first. So a record behind damage is as good as one before it, and pieces of
//! two snapshots can be taken together. Only the numbers of rules are a snapshot's own: here each budget gets its rule by name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{Entry, IdEntry, RuleName};
use super::open::{Found, Map};
use super::snapshot::Pieces;
use crate::persist::{self, Disk, Fault, LogError, Name, OpenError, Opening, Salvage, SnapshotWriter, Taken, Vfs};

/// Copies everything that is whole in the directory `from` to the directory `to`, which must not exist or be empty: for one that an engine
/// refuses as [`OpenError::Corrupt`]. Nothing in `from` is changed. An engine can open `to`, and goes on from there.
///
/// **What is taken.** The newest snapshot that is whole; of one that is not, the pieces that are, together with the one before it. And every record of the journal
/// that is whole by its own checksum, also behind damage: entries say how things stand, and are stamped, so that their order does not matter and the
/// newest of each counts.
///
/// **What is lost** is what was in damaged bytes and nowhere else. Nothing else is under-counted: budgets stand at their ceilings as
/// after a kill, so above what was charged rather than below. [`Salvaged`] says what was passed over, and its `Display` says it in sentences. If anything was,
/// holds that are open are taken as dispatched, since their settlement may be what is lost: unless somebody releases them, they are charged.
///
/// ```
/// use encumber::{Cap, Engine, Limit, OpenError, Persist, Policy, Unit, Window};
/// # let dir = std::env::temp_dir().join(format!("encumber-doc-salvage-{}", std::process::id()));
/// # let saved = dir.with_extension("saved");
/// # let policy = || Policy::builder().resource("tokens", Unit::Count)
/// #     .limit(Limit::new("agent-life", "agent", "tokens", Window::Lifetime, Cap::Max(1_000))).build();
/// let engine = Engine::builder(policy()?).persist(Persist::journal(&dir)).build()?;
/// let tokens = engine.resource("tokens")?;
/// engine.scope(["agent:planner"])?.try_charge(tokens.of(600))?;
/// engine.close()?;
/// // A disk that fails: the newest snapshot has a bad byte.
/// let snapshot = dir.join("snapshot-0000000000000002");
/// let mut bytes = std::fs::read(&snapshot)?;
/// bytes[80] ^= 1;
/// std::fs::write(&snapshot, bytes)?;
/// let refused = Engine::builder(policy()?).persist(Persist::journal(&dir)).build().map(drop);
/// assert!(matches!(refused, Err(OpenError::Corrupt { offset: 64, .. })));
///
/// let salvaged = encumber::salvage(&dir, &saved)?;
/// assert_eq!((salvaged.snapshot, salvaged.is_complete()), (Some(1), false));
/// let engine = Engine::builder(policy()?).persist(Persist::journal(&saved)).build()?;
/// assert!(engine.scope(["agent:planner"])?.usage()?[0].used >= 600);
/// # engine.close()?;
/// # std::fs::remove_dir_all(&dir)?;
/// # std::fs::remove_dir_all(&saved)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SalvageError`]. `from` is as it was, whatever happens.
pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Salvaged, SalvageError> {
    let (source, to) = (Disk::existing(from.as_ref()).map_err(OpenError::Io)?, to.as_ref());
    if source.is_taken() == Some(true) {
        return Err(OpenError::AlreadyOpen(source.dir().to_owned()).into());
    }
    if !Disk::is_free(to).map_err(OpenError::Io)? {
        return Err(SalvageError::NotEmpty(to.to_owned()));
    }
    let mut taking = Taking::default();
    let done = persist::salvage(&source, &mut |taken| taking.take(taken))?;
    if let Some(version) = taking.found.newer {
        return Err(OpenError::NewerVersion { path: source.dir().to_owned(), version }.into());
    }
    if taking.found.stamp == 0 {
        return Err(SalvageError::Nothing(source.dir().to_owned()));
    }
    if !done.is_all() {
        taking.doubt_holds();
    }
    taking.write(Disk::open(to).map_err(OpenError::Io)?, &done)?;
    Ok(Salvaged::of(&source, &taking.found, done))
}

/// What [`salvage`] took, and what it passed over.
///
/// `Display` says both in sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The newest snapshot that was whole; `None` if none was.
    pub snapshot: Option<u64>,
    /// Newer snapshots, which were not whole, newest first.
    pub damaged_snapshots: Vec<u64>,
    /// How many pieces of those were taken.
    pub pieces: u64,
    /// How many records of the journal were taken.
    pub records: u64,
    /// How many records are known to have been there, and were not found.
    pub records_lost: u64,
    /// The bytes that were passed over, in order of files.
    pub lost: Vec<LostBytes>,
    /// Files that must have been there, and were not: of several in a row the first.
    pub missing: Vec<String>,
    /// The engine had closed the directory, and nothing was passed over: every amount is exact.
    pub is_exact: bool,
    /// How many budgets were taken.
    pub budgets: u64,
    /// How many open holds were taken.
    pub holds: u64,
    /// How many active workflows were taken.
    pub workflows: u64,
    /// Files that are not the engine's: they were not copied.
    pub foreign: Vec<String>,
    /// Files that were never finished: they count for nothing, and were not copied.
    pub unfinished: Vec<String>,
    is_complete: bool,
}

/// Bytes that were passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostBytes {
    /// The file.
    pub path: PathBuf,
    /// Where in it they begin.
    pub from: u64,
    /// Where the next whole frame begins, or the file ends.
    pub to: u64,
    /// What is wrong.
    pub why: String,
    /// How many records were there, where those on both sides tell.
    pub records: Option<u64>,
}

impl Salvaged {
    /// Whether nothing was passed over.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn of(source: &dyn Vfs, found: &Found, done: Salvage) -> Self {
        let is_complete = done.is_all();
        let gap = |gap: persist::Gap| LostBytes {
            path: source.dir().join(gap.name.to_string()),
            from: gap.from,
            to: gap.to,
            why: gap.why,
            records: gap.records,
        };
        Self {
            snapshot: done.base,
            damaged_snapshots: done.damaged,
            pieces: done.pieces,
            records: done.records,
            records_lost: done.records_lost,
            lost: done.gaps.into_iter().map(gap).collect(),
            missing: done.missing.iter().map(Name::to_string).collect(),
            is_exact: done.is_closed && is_complete,
            budgets: found.budgets.values().flatten().filter(|single| single.carrier == 0).count() as u64,
            holds: found.holds.values().filter(|hold| hold.settled.is_none()).count() as u64,
            workflows: found.workflows.values().filter(|workflow| !workflow.ended).count() as u64,
            foreign: done.foreign,
            unfinished: done.unfinished,
            is_complete,
        }
    }
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budgets, holds, workflows, records, .. } = self;
        match self.snapshot {
            Some(number) => write!(f, "Taken: snapshot {number}")?,
            None => f.write_str("Taken: no snapshot, since none is whole")?,
        }
        if self.pieces > 0 {
            write!(f, ", {} whole pieces of newer ones", self.pieces)?;
        }
        writeln!(f, ", and {records} records of the journal.")?;
        writeln!(f, "In it: budgets {budgets}, open holds {holds}, active workflows {workflows}.")?;
        for number in &self.damaged_snapshots {
            writeln!(f, "Damaged: snapshot {number}.")?;
        }
        for LostBytes { path, from, to, why, records } in &self.lost {
            write!(f, "Passed over: {} bytes {from} to {to}: {why}", path.display())?;
            match records {
                Some(records) => writeln!(f, " (records: {records}).")?,
                None => f.write_str(".\n")?,
            }
        }
        for name in &self.missing {
            writeln!(f, "Missing: {name}.")?;
        }
        if self.is_complete() {
            return f.write_str(if self.is_exact {
                "Nothing was passed over, and every amount is exact.\n"
            } else {
                "Nothing was passed over. It was not closed: budgets stand at their ceilings, at least at what was charged.\n"
            });
        }
        if self.records_lost > 0 {
            writeln!(f, "Records known to be lost: {}.", self.records_lost)?;
        }
        f.write_str(
            "Under-counted may be what was written in the bytes that were passed over and nowhere else; and nothing but that: \
             budgets stand at their ceilings, at least at what was charged.\n",
        )?;
        if self.snapshot.is_none() || !self.damaged_snapshots.is_empty() {
            f.write_str(
                "With snapshots alone and no journal, that is all that was charged since the snapshot that was taken, and is not in a whole piece.\n",
            )?;
        }
        if *holds > 0 {
            f.write_str(
                "Open holds may have been settled in what is lost: they count as dispatched, and are charged when nobody settles them.\n",
            )?;
        }
        Ok(())
    }
}

/// Why nothing was salvaged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SalvageError {
    /// The directory cannot be read: an engine has it, a later release wrote it, or the file system says no.
    Open(OpenError),
    /// The new directory has something in it.
    NotEmpty(PathBuf),
    /// Nothing in the directory is whole, or nothing was ever written there.
    Nothing(PathBuf),
    /// The new directory cannot be written. What is in it now counts for nothing: remove it.
    Write(Fault),
}

impl From<OpenError> for SalvageError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl fmt::Display for SalvageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::NotEmpty(dir) => {
                write!(f, "{} is not empty: what is salvaged goes to a new directory", dir.display())
            }
            Self::Nothing(dir) => write!(f, "nothing in {} can be salvaged", dir.display()),
            Self::Write(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for SalvageError {}

/// What is taken: of each thing the newest.
#[derive(Default)]
struct Taking {
    /// Without groups: budgets are by name.
    found: Found,
    /// The rules of a snapshot, as far as they were read, by its number and theirs.
    rules: Map<(u64, u32), RuleName>,
}

impl Taking {
    /// Takes all that can be; the first thing that cannot be is the error.
    fn take(&mut self, taken: Taken<'_>) -> Result<(), String> {
        let (Taken::Piece { payload, .. } | Taken::Record { payload }) = taken;
        let snapshot = match taken {
            Taken::Piece { snapshot, .. } => Some(snapshot),
            Taken::Record { .. } => None,
        };
        let mut first = Ok(());
        for entry in self.found.decode(payload)? {
            first = first.and(self.entry(snapshot, entry));
        }
        first
    }

    fn entry(&mut self, snapshot: Option<u64>, entry: Entry) -> Result<(), String> {
        match (entry, snapshot) {
            (Entry::Rule { number, rule }, Some(snapshot)) => {
                let rules = &mut self.found.rules;
                if !rules.contains(&rule) {
                    rules.push(rule.clone());
                }
                self.rules.insert((snapshot, number), rule);
                Ok(())
            }
            (Entry::Group { subject, stamp, budgets }, Some(snapshot)) => {
                let mut first = Ok(());
                for (number, image) in budgets {
                    let taken = match self.rules.get(&(snapshot, number)).cloned() {
                        Some(rule) => {
                            let subject = subject.clone();
                            self.found.add(Entry::Budget { rule, subject, carrier: 0, stamp, image })
                        }
                        None => {
                            Err(format!("some of its entries cannot be told: rule {number} is in a piece that is lost"))
                        }
                    };
                    first = first.and(taken);
                }
                first
            }
            (Entry::Rule { .. } | Entry::Group { .. }, None) => Err("a record has what only snapshots have".to_owned()),
            (other, _) => self.found.add(other),
        }
    }

    /// Something is lost: open holds may have been settled in it. What a settlement gave back must not be given back again. A slot is given back when its time
    /// runs out, whatever it is.
    fn doubt_holds(&mut self) {
        let holds = self.found.holds.values_mut();
        let open = holds.filter(|hold| hold.settled.is_none() && !matches!(hold.id, IdEntry::Slot { .. }));
        open.for_each(|hold| hold.dispatched = true);
    }

    /// Writes a snapshot of it into a directory of its own. Its files go on where those of the other one ended, so that the ids that an engine gives do.
    fn write(&self, target: Disk, done: &Salvage) -> Result<(), SalvageError> {
        let dir = target.dir().to_owned();
        let mut nothing = |_: persist::Item<'_>| Err("somebody else has begun here".to_owned());
        let opening = Opening::new(Arc::new(target), &mut nothing)?.numbered_from(done.next_number);
        let written = opening.publish(|writer| self.snapshot(writer)).and_then(|(log, _)| {
            // One that is closed says that its amounts are exact.
            if done.is_closed && done.is_all() { log.close() } else { Ok(()) }
        });
        written.map_err(|error| match error {
            LogError::Io(fault) => SalvageError::Write(fault),
            other => SalvageError::Write(Fault::new("write", dir, io::Error::other(other))),
        })
    }

    fn snapshot(&self, writer: &mut SnapshotWriter<'_>) -> Result<(), LogError> {
        let Found { at, rules, budgets, grants, resets: (stamp, _), holds, workflows, .. } = &self.found;
        let mut pieces = Pieces::new(writer, *at);
        for (number, rule) in (0..).zip(rules) {
            pieces.push(&Entry::Rule { number, rule: rule.clone() })?;
        }
        pieces.push(&Entry::Engine { stamp: *stamp, resets: self.found.resets_done() })?;
        for (subject, singles) in budgets {
            for single in singles {
                pieces.push(&Entry::Budget {
                    rule: single.rule.clone(),
                    subject: subject.clone(),
                    carrier: single.carrier,
                    stamp: single.stamp,
                    image: single.image.clone(),
                })?;
            }
        }
        for ((rule, subject), (stamp, cap, extra)) in grants {
            let (rule, subject) = (rule.clone(), subject.clone());
            pieces.push(&Entry::Grant { rule, subject, stamp: *stamp, cap: *cap, extra: *extra })?;
        }
        workflows.values().try_for_each(|workflow| pieces.push(&Entry::Workflow(workflow.clone())))?;
        holds.values().try_for_each(|hold| pieces.push(&Entry::Hold(hold.clone())))?;
        pieces.finish()
    }
}
