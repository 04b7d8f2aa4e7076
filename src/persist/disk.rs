//! The real file system.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::Fault;
use super::names::LOCK;
use super::vfs::{Lock, Vfs, VfsFile};

/// The directories that this process has. What a file lock says to a second opener in one process differs between systems.
static OWNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A directory of the file system, by its one true name.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// The directory, made if there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self, Fault> {
        let fault = |action| move |error| Fault::new(action, dir.to_owned(), error);
        create(dir).map_err(fault("create"))?;
        Self::existing(dir)
    }

    /// The directory, which must be there.
    pub(crate) fn existing(dir: &Path) -> Result<Self, Fault> {
        // Whatever links lead there: it is the same directory to the next one who opens it.
        let dir = dir.canonicalize().map_err(|error| Fault::new("open", dir.to_owned(), error))?;
        // A file is found here.
        fs::read_dir(&dir).map_err(|error| Fault::new("open", dir.clone(), error))?;
        Ok(Self { dir })
    }

    /// Whether nothing is there: no directory, or one without a file in it.
    pub(crate) fn is_free(dir: &Path) -> Result<bool, Fault> {
        match fs::read_dir(dir) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(Fault::new("open", dir.to_owned(), error)),
        }
    }
}

/// Makes the directory and those above it; their names survive the loss of power as well.
fn create(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    fs::create_dir_all(dir)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        sync_dir(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Where directories cannot be opened as files, names are durable without it.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives the directory back when dropped.
struct Owned {
    dir: PathBuf,
    file: File,
}

impl Drop for Owned {
    #[expect(clippy::incompatible_msrv, reason = "the feature asks for a later compiler than the crate")]
    fn drop(&mut self) {
        // It would end with the file, but that may be open in a process that is just being made. If it cannot be, it ends then.
        let _ends_later = self.file.unlock();
        OWNED.lock().remove(&self.dir);
    }
}

impl Vfs for Disk {
    fn dir(&self) -> &Path {
        &self.dir
    }

    #[expect(clippy::incompatible_msrv, reason = "the feature asks for a later compiler than the crate")]
    fn lock(&self) -> io::Result<Option<Lock>> {
        let mut owned = OWNED.lock();
        if owned.contains(&self.dir) {
            return Ok(None);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.dir.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        owned.insert(self.dir.clone());
        Ok(Some(Box::new(Owned { dir: self.dir.clone(), file })))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.dir.join(name))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        fs::symlink_metadata(self.dir.join(name)).map(|metadata| metadata.len())
    }

    fn is_taken(&self) -> Option<bool> {
        if OWNED.lock().contains(&self.dir) {
            return Some(true);
        }
        match fs::metadata(self.dir.join(LOCK)) {
            // Whoever has it has made the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
            Err(_) => None,
            Ok(file) => is_locked(&file),
        }
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(self.dir.join(name))?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    fn salt(&self) -> u64 {
        // Keyed by the system's random numbers, anew for each.
        RandomState::new().hash_one(0_u64)
    }
}

/// Whether some process has a lock on the file, as far as the system shows: to try for the lock would keep others from it meanwhile.
#[cfg(target_os = "linux")]
fn is_locked(file: &fs::Metadata) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let (device, inode) = (file.dev(), file.ino());
    let major = device >> 8 & 0xfff | device >> 32 & !0xfff;
    let minor = device & 0xff | device >> 12 & !0xff;
    let (device, inode) = (format!(" {major:02x}:{minor:02x}:"), format!(":{inode} "));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // "1: FLOCK  ADVISORY  WRITE 1234 fd:00:5678 0 EOF". Some file systems give files another device than stands there.
    let alike: Vec<&str> = locks.lines().filter(|line| line.contains("FLOCK") && line.contains(&inode)).collect();
    if alike.iter().any(|line| line.contains(&device)) { Some(true) } else { alike.is_empty().then_some(false) }
}

#[cfg(not(target_os = "linux"))]
fn is_locked(_: &fs::Metadata) -> Option<bool> {
    None
}

struct DiskFile {
    file: File,
}

impl VfsFile for DiskFile {
    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use std::io::{Seek, Write};
        (&self.file).seek(io::SeekFrom::Start(offset))?;
        (&self.file).write_all(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        // A file that was removed can be written and synced all right; nobody will ever read it.
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&self.file.metadata()?) == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed"));
        }
        Ok(())
    }
}
