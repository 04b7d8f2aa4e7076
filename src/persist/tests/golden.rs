//! The format, held by files in `golden/`. If this test fails the format has changed: that wants a new version, and a reader for the old one.
//!
//! `ENCUMBER_GOLDEN=write` writes them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::persist::log::Opening;
use crate::persist::recover::{Item, recover};
use crate::persist::sim::Sim;
use crate::persist::vfs::{Lock, Vfs, VfsFile};

const GOLDEN: [(&str, &[u8]); 2] = [
    ("journal-0000000000000002", include_bytes!("golden/journal-0000000000000002")),
    ("snapshot-0000000000000002", include_bytes!("golden/snapshot-0000000000000002")),
];

/// Gives every file the same salt.
struct Salted(Arc<Sim>);

impl Vfs for Salted {
    fn dir(&self) -> &Path {
        self.0.dir()
    }
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.0.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        self.0.create_new(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
    fn salt(&self) -> u64 {
        0x5a17_5a17_5a17_5a17
    }
}

fn write() -> Arc<Sim> {
    let sim = Sim::new(1);
    let vfs = Arc::new(Salted(Arc::clone(&sim)));
    let (log, _) = Opening::new(vfs, &mut |_| Ok(())).expect("it opens").publish(|_| Ok(())).expect("it is published");
    let first = log.append(b"before the snapshot").expect("there is room");
    log.sync_to(first).expect("the disk is well");
    log.rotate(|snapshot| snapshot.push(b"a piece").and_then(|()| snapshot.push(b""))).expect("there is room");
    for payload in [&b"a record"[..], b"", b"another one"] {
        let sequence = log.append(payload).expect("there is room");
        log.sync_to(sequence).expect("the disk is well");
    }
    log.close().expect("it closes");
    sim
}

#[test]
fn the_files_are_written_as_ever() {
    let files = write().files();
    if std::env::var_os("ENCUMBER_GOLDEN").is_some_and(|value| value == "write") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/persist/tests/golden");
        for (name, _) in GOLDEN {
            fs::write(folder.join(name), &files[name]).expect("it can be written");
        }
        return;
    }
    for (name, golden) in GOLDEN {
        assert_eq!(files[name], golden, "{name}");
    }
}

#[test]
fn the_files_are_read_as_ever() {
    let sim = Sim::new(1);
    for (name, bytes) in GOLDEN {
        sim.put(name, bytes.to_vec());
    }
    let mut found = Vec::new();
    let recovered = recover(&*sim, &mut |item| {
        found.push(match item {
            Item::Piece(payload) => (0, payload.to_vec()),
            Item::Record { sequence, payload } => (sequence, payload.to_vec()),
        });
        Ok(())
    });
    let recovered = recovered.expect("it can be read");
    let texts = [(0, "a piece"), (0, ""), (2, "a record"), (3, ""), (4, "another one")];
    assert_eq!(found, texts.map(|(sequence, text)| (sequence, text.as_bytes().to_vec())));
    assert_eq!((recovered.sequence, recovered.synced, recovered.is_closed), (5, 4, true));
}
