//! The real file system.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::host::read;
use super::round_trip::open;
use crate::persist::disk::Disk;
use crate::persist::error::{LogError, OpenError};
use crate::persist::log::Opening;
use crate::persist::vfs::Vfs;

/// A directory for one test, removed with it.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let dir = env::temp_dir().join(format!("encumber-persist-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("there is a place for temporary files");
        Self(dir.canonicalize().expect("it was made"))
    }

    fn dir(&self) -> PathBuf {
        self.0.join("far/down")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn disk(dir: &Path) -> Arc<dyn Vfs> {
    Arc::new(Disk::open(dir).expect("the directory can be made"))
}

fn is_owned(dir: &Path) -> bool {
    match Opening::new(disk(dir), &mut |_| Ok(())) {
        Ok(_) => false,
        Err(OpenError::AlreadyOpen(_)) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_was_written_is_read() {
    let room = Room::new("round-trip");
    let things: Vec<Vec<u8>> = (0..50_u64).map(|number| [&number.to_le_bytes()[..], &[9; 100]].concat()).collect();
    let (first, second) = things.split_at(30);
    let log = open(disk(&room.dir()));
    for thing in first {
        log.append(thing).expect("there is room");
    }
    log.rotate(|snapshot| first.iter().try_for_each(|thing| snapshot.push(thing))).expect("there is room");
    for thing in second {
        let sequence = log.append(thing).expect("there is room");
        log.sync_to(sequence).expect("the disk is well");
    }
    assert_eq!(log.standing().synced, 50);
    log.close().expect("it closes");
    drop(log);

    let (read, recovered) = read(&*disk(&room.dir())).expect("it can be read");
    assert_eq!(read, things);
    assert!(recovered.is_closed && recovered.torn.is_none() && recovered.foreign.is_empty());
    assert_eq!((recovered.pieces, recovered.records), (30, 20));
}

#[test]
fn salts_differ() {
    let room = Room::new("salts");
    let disk = disk(&room.dir());
    let mut salts: Vec<_> = (0..100).map(|_| disk.salt()).collect();
    salts.sort_unstable();
    salts.dedup();
    assert_eq!(salts.len(), 100);
}

#[cfg(unix)]
#[test]
fn a_second_opener_in_this_process_is_told_so_by_whatever_name() {
    let room = Room::new("second-opener");
    let dir = room.dir();
    let log = open(disk(&dir));
    let link = room.0.join("link");
    std::os::unix::fs::symlink(&dir, &link).expect("links can be made");
    assert!(is_owned(&dir));
    assert!(is_owned(&link));
    assert!(is_owned(&link.join("../down")));
    // Even where the lock file is gone.
    fs::remove_file(dir.join("LOCK")).expect("it is there");
    assert!(is_owned(&dir));
    assert!(is_owned(&link));
    drop(log);
    assert!(!is_owned(&link));
}

/// Run by the test below in a process of its own, with the directory that it should ask for.
const ASKED: &str = "ENCUMBER_TEST_ASKED_DIR";

#[test]
fn a_second_opener_in_another_process_is_told_so() {
    if let Some(dir) = env::var_os(ASKED) {
        assert!(is_owned(Path::new(&dir)));
        return;
    }
    let room = Room::new("other-process");
    let asks = || {
        let name = "persist::tests::disk::a_second_opener_in_another_process_is_told_so";
        let test = env::current_exe().expect("it runs");
        let output = Command::new(test).args(["--exact", name]).env(ASKED, room.dir()).output().expect("it runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 test"), "the test was renamed");
        output.status.success()
    };
    let log = open(disk(&room.dir()));
    assert!(asks(), "it was let in");
    drop(log);
    assert!(!asks(), "it was not let in");
}

/// A process that is being made has the files of the one that makes it, up to the moment in which it becomes another program.
#[cfg(unix)]
#[test]
fn a_directory_is_free_at_once_though_a_process_is_being_made() {
    let room = Room::new("while-forking");
    let done = crate::sync::Mark::new();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.is_set() {
                    Command::new("true").status().expect("it runs");
                }
            });
        }
        for _ in 0..500 {
            let vfs = disk(&room.dir());
            let lock = vfs.lock().expect("it can be locked");
            if lock.is_none() {
                done.set();
                panic!("nobody has it");
            }
        }
        done.set();
    });
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_removed_is_noticed() {
    let room = Room::new("removed");
    let log = open(disk(&room.dir()));
    log.append(b"first").expect("there is room");
    fs::remove_dir_all(room.dir()).expect("it is there");
    // A write to a file without a name does not fail, but nobody will ever read it.
    let sequence = log.append(b"second").expect("the system takes it");
    let error = log.sync_to(sequence).expect_err("it is gone");
    assert!(
        matches!(&error, LogError::Poisoned(fault) if fault.error.to_string() == "the file was removed"),
        "{error}"
    );
    assert!(matches!(log.rotate(|_| Ok(())), Err(LogError::Io(_))));
    fs::create_dir_all(room.dir()).expect("it can be made");
    log.rotate(|_| Ok(())).expect("it heals when the directory is back");
    log.append(b"third").expect("it is healed");
}

#[test]
fn what_is_no_directory_is_an_error_with_its_path() {
    let room = Room::new("no-directory");
    let file = room.0.join("file");
    fs::write(&file, b"text").expect("there is room");
    for dir in [file.clone(), file.join("below")] {
        let error = Disk::open(&dir).expect_err("a file is there");
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    }
    assert_eq!(fs::read(&file).expect("it is there"), b"text");
}

#[cfg(unix)]
#[test]
fn a_directory_in_place_of_a_file_is_an_error() {
    let room = Room::new("wrong-kind");
    drop(open(disk(&room.dir())));
    fs::create_dir(room.dir().join("journal-0000000000000002")).expect("it can be made");
    let error = read(&*disk(&room.dir())).map(|_| ()).expect_err("it is no file");
    assert!(matches!(&error, OpenError::Io(fault) if fault.path.ends_with("journal-0000000000000002")), "{error}");
}
