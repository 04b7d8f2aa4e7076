//! A file system that forgets: what was not synced may be there after the power went, or not, or in part.
//!
//! Everything random comes from one seed, so that each state can be had again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use super::vfs::{Lock, Vfs, VfsFile};
use crate::sync::{Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// What goes wrong. Operations are counted from 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    /// The process ends, or the power goes, in the middle of it: it may be done in part, and all later ones fail.
    pub(crate) cut: Option<u64>,
    /// These fail. A write may be done in part, the rest of what is written is not; what is not synced by a failed sync never will be.
    pub(crate) fail: Option<(FromTo, io::ErrorKind)>,
}

/// Both ends are meant.
pub(crate) type FromTo = (u64, u64);

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
struct Data {
    durable: Vec<u8>,
    /// What a reader sees.
    cached: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, u64),
    /// Known by its file, so that it can survive without what came before.
    Rename(String, String, u64),
    Remove(String),
}

#[derive(Debug, Clone)]
struct Machine {
    random: Random,
    plan: Plan,
    operations: u64,
    is_cut: bool,
    files: BTreeMap<u64, Data>,
    durable_names: BTreeMap<String, u64>,
    names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    next_file: u64,
}

/// The file system of one machine, until it is crashed.
pub(crate) struct Sim {
    this: Weak<Sim>,
    machine: Mutex<Machine>,
    owner: Arc<()>,
}

/// How an operation goes.
#[derive(PartialEq)]
enum Luck {
    Good,
    /// It fails; of what it would have done some may be done.
    Bad(io::ErrorKind),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => {
                let end = at + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(written);
            }
            Self::SetLen(len) => bytes.resize(*len, 0),
        }
    }

    /// Some of its sectors, and perhaps its length.
    fn apply_some(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        match self {
            Self::Write(at, written) => {
                let end = at + written.len();
                if random.coin() && bytes.len() < end {
                    // The length was on disk before the data: there is nothing, or what was there once.
                    let is_garbage = random.below(4) == 0;
                    bytes.resize_with(end, || if is_garbage { random.next() as u8 } else { 0 });
                }
                let mut start = *at;
                while start < end {
                    let stop = end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if random.coin() {
                        Self::Write(start, written[start - at..stop - at].to_vec()).apply(bytes);
                    }
                    start = stop;
                }
            }
            Self::SetLen(_) => {
                if random.coin() {
                    self.apply(bytes);
                }
            }
        }
    }
}

impl Data {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    /// What is on disk if the power goes.
    fn after_crash(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        match random.below(4) {
            0 => {}
            1 => self.pending.iter().for_each(|change| change.apply(&mut bytes)),
            2 => {
                let whole = random.below(self.pending.len() as u64 + 1) as usize;
                self.pending[..whole].iter().for_each(|change| change.apply(&mut bytes));
                if let Some(Change::Write(at, written)) = self.pending.get(whole) {
                    let kept = random.below(written.len() as u64 + 1) as usize;
                    Change::Write(*at, written[..kept].to_vec()).apply(&mut bytes);
                }
            }
            _ => self.pending.iter().for_each(|change| change.apply_some(&mut bytes, random)),
        }
        bytes
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Machine {
    fn begin(&mut self) -> io::Result<Luck> {
        self.operations += 1;
        if self.is_cut {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.plan.cut == Some(self.operations) {
            self.is_cut = true;
            return Ok(Luck::Bad(io::ErrorKind::Interrupted));
        }
        Ok(match self.plan.fail {
            Some(((from, to), kind)) if (from..=to).contains(&self.operations) => Luck::Bad(kind),
            _ => Luck::Good,
        })
    }

    /// Done; or failed, and done all the same or not.
    fn name(&mut self, change: NameChange) -> io::Result<()> {
        let luck = self.begin()?;
        if luck == Luck::Good || self.random.coin() {
            change.apply(&mut self.names);
            self.pending_names.push(change);
        }
        luck.result()
    }

    fn survivors(&mut self) -> BTreeMap<String, u64> {
        let mut names = self.durable_names.clone();
        let style = self.random.below(3);
        for change in &self.pending_names {
            if style == 0 || (style == 1 && self.random.coin()) {
                change.apply(&mut names);
            }
        }
        names
    }
}

impl Luck {
    fn result(self) -> io::Result<()> {
        match self {
            Self::Good => Ok(()),
            Self::Bad(kind) => Err(kind.into()),
        }
    }
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Self::of(Machine {
            random: Random(seed),
            plan: Plan::default(),
            operations: 0,
            is_cut: false,
            files: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            names: BTreeMap::new(),
            pending_names: Vec::new(),
            next_file: 0,
        })
    }

    fn of(machine: Machine) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { this: this.clone(), machine: Mutex::new(machine), owner: Arc::new(()) })
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock()
    }

    /// From now on operations are counted anew.
    pub(crate) fn plan(&self, plan: Plan) {
        let mut machine = self.machine();
        machine.plan = plan;
        machine.operations = 0;
    }

    pub(crate) fn operations(&self) -> u64 {
        self.machine().operations
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.machine().is_cut
    }

    /// One of the machines that there can be when the power comes back.
    pub(crate) fn crash(&self, seed: u64) -> Arc<Self> {
        let mut machine = self.machine().clone();
        machine.random = Random(seed);
        machine.names = machine.survivors();
        machine.durable_names = machine.names.clone();
        machine.pending_names.clear();
        let Machine { files, random, names, .. } = &mut machine;
        files.retain(|file, _| names.values().any(|named| named == file));
        for data in files.values_mut() {
            data.durable = data.after_crash(random);
            data.cached = data.durable.clone();
            data.pending.clear();
        }
        Self::restarted(machine)
    }

    /// The machine after the process has ended: what was written is there, and as little synced as it was.
    pub(crate) fn kill(&self, seed: u64) -> Arc<Self> {
        let mut machine = self.machine().clone();
        machine.random = Random(seed);
        Self::restarted(machine)
    }

    fn restarted(mut machine: Machine) -> Arc<Self> {
        machine.plan = Plan::default();
        machine.operations = 0;
        machine.is_cut = false;
        Self::of(machine)
    }

    /// The files as a reader sees them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let machine = self.machine();
        machine.names.iter().map(|(name, file)| (name.clone(), machine.files[file].cached.clone())).collect()
    }

    /// A machine with these files, all of them on disk.
    pub(crate) fn with(files: &BTreeMap<String, Vec<u8>>) -> Arc<Self> {
        let sim = Self::new(0);
        for (name, bytes) in files {
            sim.put(name, bytes.clone());
        }
        sim
    }

    /// Puts a file there, on disk.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut machine = self.machine();
        machine.next_file += 1;
        let file = machine.next_file;
        machine.files.insert(file, Data { durable: bytes.clone(), cached: bytes, pending: Vec::new() });
        machine.names.insert(name.to_owned(), file);
        machine.durable_names.insert(name.to_owned(), file);
    }
}

impl Vfs for Sim {
    fn dir(&self) -> &Path {
        Path::new("/sim")
    }

    fn lock(&self) -> io::Result<Option<Lock>> {
        self.machine().begin()?.result()?;
        let is_first = Arc::strong_count(&self.owner) == 1;
        Ok(is_first.then(|| Box::new(Arc::clone(&self.owner)) as Lock))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut machine = self.machine();
        machine.begin()?.result()?;
        Ok(machine.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut machine = self.machine();
        machine.begin()?.result()?;
        let file = machine.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(machine.files[file].cached.clone())
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let mut machine = self.machine();
        if machine.names.contains_key(name) {
            machine.begin()?.result()?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.next_file += 1;
        let file = machine.next_file;
        machine.files.insert(file, Data::default());
        machine.name(NameChange::Create(name.to_owned(), file))?;
        let sim = self.this.upgrade().expect("it is there while it is used");
        Ok(Arc::new(SimFile { sim, file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut machine = self.machine();
        let file = *machine.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        machine.name(NameChange::Rename(from.to_owned(), to.to_owned(), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut machine = self.machine();
        if !machine.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        machine.name(NameChange::Remove(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut machine = self.machine();
        let luck = machine.begin()?;
        if luck == Luck::Good || machine.random.coin() {
            machine.durable_names = machine.names.clone();
            machine.pending_names.clear();
        }
        luck.result()
    }

    fn salt(&self) -> u64 {
        self.machine().random.next()
    }
}

struct SimFile {
    sim: Arc<Sim>,
    file: u64,
}

impl SimFile {
    fn with<T>(&self, run: impl FnOnce(&mut Data, &mut Random, &Luck) -> T) -> io::Result<T> {
        let mut machine = self.sim.machine();
        let luck = machine.begin()?;
        let Machine { files, random, .. } = &mut *machine;
        let data = files.get_mut(&self.file).expect("files stay");
        let done = run(data, random, &luck);
        luck.result().map(|()| done)
    }
}

impl VfsFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|data, random, luck| {
            let is_whole = *luck == Luck::Good || random.below(4) == 0;
            let written = if is_whole { bytes.len() } else { random.below(bytes.len() as u64 + 1) as usize };
            data.change(Change::Write(offset as usize, bytes[..written].to_vec()));
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|data, random, luck| {
            if *luck == Luck::Good || random.coin() {
                data.change(Change::SetLen(len as usize));
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|data, random, luck| match luck {
            Luck::Good => {
                let Data { durable, pending, .. } = data;
                pending.drain(..).for_each(|change| change.apply(durable));
            }
            // The process ends: the system may go on with it, or not.
            Luck::Bad(io::ErrorKind::Interrupted) => {}
            Luck::Bad(_) => {
                // The pages are called clean all the same. They may be thrown away: then a reader sees what is on disk.
                data.durable = data.after_crash(random);
                data.pending.clear();
                if random.coin() {
                    data.cached.clone_from(&data.durable);
                }
            }
        })
    }
}
