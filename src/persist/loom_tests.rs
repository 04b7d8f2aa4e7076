//! Every interleaving of a few appends, syncs and a rotation: who is told that a record is there finds it there.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex as Plain};

use loom::thread;

use super::error::LogError;
use super::frame::{Frame, HEADER_BYTES, Header, Tag};
use super::log::{Log, Opening};
use super::names::{Kind, Name};
use super::vfs::{Lock, Vfs, VfsFile};
use crate::sync::{Mutex, explore};

/// A directory of files that are never read by name. Loom does not see the plain locks: none is held while another thread runs.
#[derive(Default)]
struct Model {
    files: Plain<Vec<Arc<ModelFile>>>,
    /// Syncs of journals fail from now on.
    is_bad: Arc<Plain<bool>>,
}

struct ModelFile {
    name: String,
    bytes: Plain<Vec<u8>>,
    synced_bytes: Plain<usize>,
    is_bad: Arc<Plain<bool>>,
    /// Loom sees this one, so that other threads run in the middle of a write or of a sync.
    writer: Mutex<()>,
    syncer: Mutex<()>,
}

impl Vfs for Model {
    fn dir(&self) -> &Path {
        Path::new("/model")
    }
    fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let file = Arc::new(ModelFile {
            name: name.trim_end_matches(".tmp").to_owned(),
            bytes: Plain::default(),
            synced_bytes: Plain::default(),
            is_bad: Arc::clone(&self.is_bad),
            writer: Mutex::new(()),
            syncer: Mutex::new(()),
        });
        self.files.lock().unwrap().push(Arc::clone(&file));
        Ok(file)
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
    fn salt(&self) -> u64 {
        7
    }
}

impl VfsFile for ModelFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _only = self.writer.try_lock().expect("one writes at a time");
        let mut all = self.bytes.lock().unwrap();
        assert_eq!(all.len() as u64, offset, "a write goes to the end");
        all.extend_from_slice(bytes);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().truncate(len as usize);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let _only = self.syncer.try_lock().expect("one syncs at a time");
        let bytes = self.bytes.lock().unwrap().len();
        // Only from here on do others run: what they write meanwhile is not synced.
        drop(self.syncer.try_lock());
        if *self.is_bad.lock().unwrap() {
            return Err(io::ErrorKind::Other.into());
        }
        *self.synced_bytes.lock().unwrap() = bytes;
        Ok(())
    }
}

struct Rig {
    model: Arc<Model>,
    log: Log,
}

impl Rig {
    /// The records in the journals, in order; or only those that are synced.
    fn records(&self, synced_only: bool) -> Vec<(u64, u8)> {
        let mut records = Vec::new();
        for file in self.model.files.lock().unwrap().iter() {
            let Some(Name { kind: Kind::Journal, number, .. }) = Name::parse(&file.name) else { continue };
            let bytes = file.bytes.lock().unwrap();
            let len = if synced_only { *file.synced_bytes.lock().unwrap() } else { bytes.len() };
            let header = Header::decode(&bytes, Kind::Journal, number).expect("it is whole");
            let mut offset = HEADER_BYTES;
            while offset < len {
                let frame = Frame::decode(&bytes[..len], header.salt, offset).expect("it is whole");
                assert_eq!(frame.tag, Tag::Record);
                records.push((frame.sequence, frame.payload[0]));
                offset += frame.bytes();
            }
        }
        records
    }

    fn append(&self, payload: u8) -> Result<u64, LogError> {
        let appended = self.log.append(&[payload]);
        if let Ok(sequence) = appended {
            assert!(self.records(false).contains(&(sequence, payload)), "it is acknowledged and not there");
        }
        appended
    }

    fn append_and_sync(&self, payload: u8) -> Result<u64, LogError> {
        let sequence = self.append(payload)?;
        self.log.sync_to(sequence)?;
        assert!(self.records(true).contains(&(sequence, payload)), "it is acknowledged and not on disk");
        Ok(sequence)
    }

    fn fail_syncs(&self) {
        *self.model.is_bad.lock().unwrap() = true;
    }
}

fn check(preemptions: usize, model: impl Fn(&Arc<Rig>) + Send + Sync + 'static) {
    explore(preemptions, move || {
        let files = Arc::new(Model::default());
        let opening = Opening::new(Arc::clone(&files) as Arc<dyn Vfs>, &mut |_| Ok(())).expect("it is empty");
        let (log, _) = opening.publish(|_| Ok(())).expect("nothing fails");
        let rig = Arc::new(Rig { model: files, log });
        model(&rig);
        let sequences: Vec<u64> = rig.records(false).into_iter().map(|(sequence, _)| sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "a gap, or out of order");
    });
}

fn beside<T: 'static>(rig: &Arc<Rig>, run: impl FnOnce(&Rig) -> T + 'static) -> thread::JoinHandle<T> {
    let rig = Arc::clone(rig);
    thread::spawn(move || run(&rig))
}

#[test]
fn loom_log_appends_are_in_the_file_when_they_are_acknowledged() {
    check(5, |rig| {
        let others = [1, 2].map(|payload| beside(rig, move |rig| rig.append(payload).expect("nothing fails")));
        rig.append(3).expect("nothing fails");
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(rig.records(false).len(), 3);
    });
}

#[test]
fn loom_log_syncs_are_on_disk_when_they_are_acknowledged() {
    check(5, |rig| {
        let other = beside(rig, |rig| rig.append_and_sync(1).expect("nothing fails"));
        rig.append_and_sync(2).expect("nothing fails");
        other.join().unwrap();
        assert_eq!(rig.records(true).len(), 2);
    });
}

/// One sync fails at some time; after somebody was told so, nobody is told that a record is there.
#[test]
fn loom_log_a_poisoned_file_acknowledges_nobody() {
    check(5, |rig| {
        rig.fail_syncs();
        let other = beside(rig, |rig| {
            assert!(rig.append_and_sync(1).is_err());
            assert!(matches!(rig.log.append(&[3]), Err(LogError::Poisoned(_))));
        });
        assert!(rig.append_and_sync(2).is_err());
        assert!(matches!(rig.log.append(&[4]), Err(LogError::Poisoned(_))));
        other.join().unwrap();
        assert_eq!(rig.log.standing().synced, 0);
    });
}

#[test]
fn loom_log_appends_go_on_while_it_is_rotated() {
    check(5, |rig| {
        let first = beside(rig, |rig| {
            let sequence = rig.append(1).expect("nothing fails");
            // By its own sync, or by the snapshot.
            rig.log.sync_to(sequence).expect("nothing fails");
        });
        let second = beside(rig, |rig| rig.append(2).expect("nothing fails"));
        rig.log.rotate(|_| Ok(())).expect("nothing fails");
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(rig.append(3).expect("nothing fails"), 3);
    });
}
