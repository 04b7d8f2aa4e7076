//! Disks that fail under an engine: full, read-only, broken, gone; directories that somebody else has, or that are not as they were written.
//!
//! Where a test needs what a machine may not have (the right to mount, `strace`), it says on the standard error that it was skipped, and why.

#![cfg(unix)]

mod durable_rig;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use encumber::{
    ChargeError, Component, Engine, Event, Events, FailurePolicy, ManualClock, OpenError, Persist, RecordError,
    ReserveError,
};
use twox_hash::XxHash3_64;

use durable_rig::{Dir, builder, clock, used};

/// What a child is to do.
const ROLE: &str = "ENCUMBER_DISK_ROLE";
const DIR: &str = "ENCUMBER_DISK_DIR";

const POLICIES: [&str; 2] = ["closed", "degraded"];

fn failure(policy: &str) -> FailurePolicy {
    if policy == "degraded" { FailurePolicy::degraded() } else { FailurePolicy::default() }
}

/// An engine, and what it tells.
struct Rig {
    engine: Engine,
    events: Events,
}

fn rig(persist: Persist, clock: &ManualClock, policy: &str) -> Rig {
    let events = Events::bounded(1_000);
    let builder = builder(clock).failure_policy(failure(policy)).events(&events);
    Rig { engine: builder.persist(persist).build().unwrap(), events }
}

impl Rig {
    fn told(&self, name: &str) -> usize {
        self.events.drain().filter(|event: &Event| event.name() == name).count()
    }

    fn life(&self) -> u64 {
        used(&self.engine, "user:7", "life")
    }

    /// Charges until the disk has failed, and what does not go well then. What was charged is known to the last token.
    fn fails(&self, policy: &str) {
        let tokens = self.engine.resource("tokens").unwrap();
        let scope = self.engine.scope(["user:7"]).unwrap();
        let mut charged = self.life();
        for call in 0.. {
            assert!(call < 500, "{policy}: the disk does not fail");
            match scope.try_charge(tokens.of(3)) {
                Ok(admission) => {
                    charged += 3;
                    if admission.is_degraded() {
                        assert_eq!(policy, "degraded");
                        break;
                    }
                }
                Err(ChargeError::Degraded(Component::Store)) => {
                    assert_eq!(policy, "closed");
                    break;
                }
                Err(other) => panic!("{policy}: {other}"),
            }
            // Settled below what was held: each of these calls writes, however far the ceiling is ahead.
            match scope.reserve_with_id(format!("call-{call}").as_str(), Duration::from_secs(60), tokens.of(5)) {
                Ok(hold) => {
                    let _receipt = hold.commit(tokens.of(2)).unwrap();
                    charged += 2;
                }
                Err(ReserveError::Charge(ChargeError::Degraded(Component::Store))) if policy == "closed" => {}
                Err(other) => panic!("{policy}: {other}"),
            }
        }
        assert_eq!(self.life(), charged, "{policy}: nothing else was charged");
        assert_eq!(self.engine.degraded(), Some(Component::Store));
        assert_eq!(self.told("degraded"), 1, "{policy}: once");
        assert!(self.engine.snapshot_now().is_err() && self.engine.flush().is_err(), "{policy}: it is not well yet");
        if policy == "closed" {
            assert_eq!(scope.try_charge(tokens.of(1)).unwrap_err(), ChargeError::Degraded(Component::Store));
            assert!(matches!(scope.reserve(tokens.of(1)), Err(ChargeError::Degraded(Component::Store))));
            let by_name = self.engine.try_charge(["user:7"], tokens.of(1));
            assert_eq!(by_name.unwrap_err(), ChargeError::Degraded(Component::Store));
        } else {
            assert!(scope.try_charge(tokens.of(1)).unwrap().is_degraded());
            assert!(self.engine.try_charge(["user:7"], tokens.of(1)).unwrap().is_degraded());
            let receipt = scope.reserve(tokens.of(10)).unwrap().commit(tokens.of(7)).unwrap();
            assert!(receipt.is_degraded());
            charged += 9;
            let refused = scope.try_charge(tokens.of(6_400)).unwrap_err();
            assert!(matches!(refused, ChargeError::Refused(_)), "limits hold in memory: {refused}");
        }
        // What was spent is counted in any case, and flagged.
        assert!(scope.record(tokens.of(20)).unwrap().is_degraded());
        assert_eq!(self.life(), charged + 20, "{policy}");
        assert_eq!(self.told("healed"), 0);
    }

    /// Once the disk is well again everything is as it was, and what was charged meanwhile is written down.
    fn heals(self, dir: &Path, clock: &ManualClock, policy: &str) {
        let charged = self.life();
        self.engine.snapshot_now().unwrap();
        assert_eq!((self.engine.degraded(), self.told("healed")), (None, 1), "{policy}");
        let tokens = self.engine.resource("tokens").unwrap();
        let admission = self.engine.scope(["user:7"]).unwrap().try_charge(tokens.of(5)).unwrap();
        assert!(!admission.is_degraded());
        assert_eq!(self.life(), charged + 5);
        self.engine.flush().unwrap();
        let copy = Dir::new();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let killed = used(&durable_rig::open(&copy, clock), "user:7", "life");
        assert!((charged + 5..=charged + 5 + 1_000).contains(&killed), "{policy}: {killed} of {}", charged + 5);
        self.engine.close().unwrap();
        let again = builder(clock).persist(Persist::journal(dir)).build().unwrap();
        assert_eq!(used(&again, "user:7", "life"), charged + 5, "{policy}");
        again.close().unwrap();
    }
}

fn skip(test: &str, why: &str) {
    // Not by a macro: those are held back while tests pass.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
}

/// A small file system of its own.
struct Tmpfs(Dir);

impl Tmpfs {
    fn new(test: &str) -> Option<Self> {
        let dir = Dir::new();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(dir.path()).output();
        match mount {
            Ok(Output { status, .. }) if status.success() => return Some(Self(dir)),
            Ok(Output { stderr, .. }) => skip(test, String::from_utf8_lossy(&stderr).trim()),
            Err(error) => skip(test, &format!("mount: {error}")),
        }
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, how: &str) -> bool {
        let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.path()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk() {
    let Some(tmpfs) = Tmpfs::new("a_full_disk") else { return };
    for policy in POLICIES {
        let (dir, clock) = (tmpfs.path().join(policy), clock());
        let rig = rig(Persist::journal(&dir), &clock, policy);
        let tokens = rig.engine.resource("tokens").unwrap();
        rig.engine.scope(["user:7"]).unwrap().try_charge(tokens.of(500)).unwrap();
        let filler = tmpfs.path().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        drop(file);
        rig.fails(policy);
        fs::remove_file(&filler).unwrap();
        rig.heals(&dir, &clock, policy);
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_read_only_disk() {
    let Some(tmpfs) = Tmpfs::new("a_read_only_disk") else { return };
    let (dir, clock) = (tmpfs.path().join("engine"), clock());
    let engine = builder(&clock).persist(Persist::journal(&dir)).build().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(500)).unwrap();
    engine.close().unwrap();
    drop(engine);
    assert!(tmpfs.remount("ro"));
    let before = contents(&dir);
    for persist in [Persist::journal(&dir), Persist::journal(tmpfs.path().join("new"))] {
        let error = builder(&clock).persist(persist).build().unwrap_err();
        let OpenError::Io(fault) = &error else { panic!("{error}") };
        assert_eq!(fault.error().kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
        assert!(fault.path().starts_with(tmpfs.path()), "{error}");
    }
    assert_eq!(contents(&dir), before);
    assert!(tmpfs.remount("rw"));
    let again = builder(&clock).persist(Persist::journal(&dir)).build().unwrap();
    assert_eq!(used(&again, "user:7", "life"), 500);
    again.close().unwrap();
}

#[test]
fn a_directory_that_is_removed() {
    for policy in POLICIES {
        for always in [true, false] {
            let (place, clock) = (Dir::new(), clock());
            let dir = place.path().join("engine");
            let journal = Persist::journal(&dir);
            let rig = rig(if always { journal.always() } else { journal }, &clock, policy);
            let tokens = rig.engine.resource("tokens").unwrap();
            rig.engine.scope(["user:7"]).unwrap().try_charge(tokens.of(500)).unwrap();
            fs::remove_dir_all(&dir).unwrap();
            if !always {
                // What is written to a file that is not there any more is found out by the next sync.
                assert!(rig.engine.flush().is_err());
            }
            rig.fails(policy);
            fs::create_dir(&dir).unwrap();
            rig.heals(&dir, &clock, policy);
        }
    }
}

#[test]
fn writes_and_syncs_that_fail() {
    let version = Command::new("strace").arg("-V").output();
    if let Err(error) = version {
        return skip("writes_and_syncs_that_fail", &format!("strace: {error}"));
    }
    for policy in POLICIES {
        for (mode, inject) in [
            ("always", "pwrite64:error=EIO:when=20..40"),
            ("os", "pwrite64:error=EIO:when=20..40"),
            ("os", "pwrite64:error=ENOSPC:when=20..40"),
            ("always", "fdatasync:error=EIO:when=20..30"),
        ] {
            let (place, what) = (Dir::new(), format!("{policy} {mode} {inject}"));
            let dir = place.path().join("engine");
            let child = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,fdatasync", "-e"])
                .arg(format!("inject={inject}"))
                .arg(std::env::current_exe().unwrap())
                .args(["child", "--exact", "--nocapture"])
                .env(ROLE, format!("{policy} {mode}"))
                .env(DIR, &dir)
                .output()
                .unwrap();
            let (out, error) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
            if error.contains("PTRACE") {
                return skip("writes_and_syncs_that_fail", error.trim());
            }
            assert!(child.status.success() && out.contains("endured"), "{what}: {out}{error}");
        }
    }
}

/// What other tests have done in a process of its own.
#[test]
fn child() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR).map(PathBuf::from)) else { return };
    let (clock, journal) = (clock(), Persist::journal(&dir));
    match role.split_once(' ') {
        None => match builder(&clock).persist(journal).build() {
            Err(OpenError::AlreadyOpen(of)) => println!("already open: {}", of.display()),
            other => println!("{other:?}"),
        },
        Some((policy, mode)) => {
            let rig = rig(if mode == "always" { journal.always() } else { journal.os() }, &clock, policy);
            rig.fails(policy);
            // What fails is over after so many times.
            let tries = (0..200).take_while(|_| rig.engine.snapshot_now().is_err()).count();
            assert!(tries < 200, "it never healed");
            rig.heals(&dir, &clock, policy);
            println!("endured");
        }
    }
}

#[test]
fn a_second_opener() {
    let (dir, clock) = (Dir::new(), clock());
    let engine = durable_rig::open(&dir, &clock);
    let tokens = engine.resource("tokens").unwrap();
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(500)).unwrap();
    let link = Dir::new().path().with_extension("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let elsewhere = |path: &Path| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(ROLE, "open")
            .env(DIR, path)
            .output()
            .unwrap();
        String::from_utf8_lossy(&child.stdout).into_owned()
    };
    for path in [dir.path(), link.as_path()] {
        let error = builder(&clock).persist(Persist::journal(path)).build().unwrap_err();
        assert!(matches!(&error, OpenError::AlreadyOpen(of) if of == &dir.path().canonicalize().unwrap()), "{error}");
        let found = elsewhere(path);
        assert!(found.contains("already open"), "{found}");
    }
    engine.scope(["user:7"]).unwrap().try_charge(tokens.of(600)).unwrap();
    engine.close().unwrap();
    assert!(elsewhere(dir.path()).contains("Ok("), "it is free");
    let again = builder(&clock).persist(Persist::journal(&link)).build().unwrap();
    assert_eq!(used(&again, "user:7", "life"), 1_100, "by whatever name");
    again.close().unwrap();
    fs::remove_file(&link).unwrap();
}

#[test]
fn files_of_others_are_left_alone() {
    let (dir, clock) = (Dir::new(), clock());
    let foreign = ["README", "journal-1", "journal-0000000000000001.bak", "snapshot-000000000000000x"];
    for name in foreign {
        fs::write(dir.path().join(name), name).unwrap();
    }
    for _ in 0..3 {
        let engine = durable_rig::open(&dir, &clock);
        let mut found = engine.recovery().unwrap().foreign.clone();
        found.sort_unstable();
        let mut expected = foreign;
        expected.sort_unstable();
        assert_eq!(found, expected);
        engine.snapshot_now().unwrap();
        engine.close().unwrap();
        for name in foreign {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
        }
    }
}

/// All files but the lock, which has nothing in it.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.filter(|(name, _)| name != "LOCK").collect()
}

/// A directory of an engine that was killed, and the names of its newest snapshot and segment.
fn killed(clock: &ManualClock) -> (Dir, PathBuf, PathBuf) {
    let dir = Dir::new();
    let engine = builder(clock).persist(Persist::journal(dir.path()).always()).build().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7", "agent:a"]).unwrap();
    scope.try_charge(tokens.of(500)).unwrap();
    engine.snapshot_now().unwrap();
    for _ in 0..5 {
        scope.try_charge(tokens.of(60)).unwrap();
    }
    let copy = dir.killed();
    let newest = |kind: &str| {
        let names = contents(copy.path()).into_keys().filter(|name| name.starts_with(kind));
        copy.path().join(names.max().unwrap())
    };
    let (snapshot, journal) = (newest("snapshot"), newest("journal"));
    (copy, snapshot, journal)
}

/// The directory cannot be opened, and nothing in it is changed.
fn is_refused(dir: &Dir, clock: &ManualClock, is_right: impl Fn(&OpenError) -> bool) {
    let before = contents(dir.path());
    for _ in 0..2 {
        let error = builder(clock).persist(Persist::journal(dir.path())).build().unwrap_err();
        assert!(is_right(&error), "{error}");
    }
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn a_newer_format() {
    let clock = clock();
    for of_snapshot in [true, false] {
        let (dir, snapshot, journal) = killed(&clock);
        let file = if of_snapshot { snapshot } else { journal };
        let mut bytes = fs::read(&file).unwrap();
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let checksum = XxHash3_64::oneshot_with_seed(0, &bytes[..56]);
        bytes[56..64].copy_from_slice(&checksum.to_le_bytes());
        fs::write(&file, bytes).unwrap();
        is_refused(
            &dir,
            &clock,
            |error| matches!(error, OpenError::NewerVersion { path, version: 2 } if path.ends_with(file.file_name().unwrap())),
        );
    }
}

#[test]
fn files_that_are_damaged() {
    let clock = clock();
    // In a snapshot, a segment that was synced, and one that is missing.
    for damage in ["cut", "flipped", "header", "flipped journal", "missing journal"] {
        let (dir, snapshot, journal) = killed(&clock);
        let file = if damage.ends_with("journal") { journal } else { snapshot };
        let mut bytes = fs::read(&file).unwrap();
        let place = match damage {
            "header" => 20,
            _ => 64 + 8 + (bytes.len() - 72) / 3,
        };
        if damage == "missing journal" {
            fs::remove_file(&file).unwrap();
        } else {
            if damage == "cut" {
                bytes.truncate(bytes.len() - 1);
            } else {
                bytes[place] ^= 1;
            }
            fs::write(&file, &bytes).unwrap();
        }
        is_refused(&dir, &clock, |error| match error {
            OpenError::Corrupt { path, offset, .. } => {
                let is_near = match damage {
                    "cut" => *offset >= 64,
                    "header" | "missing journal" => *offset == 0,
                    _ => (64..=place as u64).contains(offset),
                };
                path.file_name() == file.file_name() && is_near
            }
            _ => false,
        });
    }
}

#[test]
fn a_host_that_would_rather_stop_than_forget_refuses_records_too() {
    let (place, clock) = (Dir::new(), clock());
    let dir = place.path().join("engine");
    let builder = builder(&clock).failure_policy(FailurePolicy::fail_closed());
    let engine = builder.persist(Persist::journal(&dir).always()).build().unwrap();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(scope.try_charge(tokens.of(500)).unwrap_err(), ChargeError::Degraded(Component::Store));
    assert_eq!(scope.record(tokens.of(1)).unwrap_err(), RecordError::Degraded(Component::Store));
    assert_eq!(used(&engine, "user:7", "life"), 0);
}
