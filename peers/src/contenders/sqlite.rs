//! `SQLite`: one conditional update for each call, in memory and in a file with a write-ahead log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::contender::{Contender, Group, Plan, Seats, Spec};

pub(super) fn specs() -> Vec<Spec> {
    vec![
        Spec::new("SQLite in memory, one update", "rusqlite", &[Group::Stores], |plan| {
            plan.seats(|| Ok(Memory(Arc::new(Mutex::new(Table::new(Connection::open_in_memory()?, plan.max)?)))))
        }),
        Spec::new("SQLite in a file (WAL, synchronous = NORMAL), one update", "rusqlite", &[Group::Stores], files),
    ]
}

/// Which library is compiled in.
pub(crate) fn library_version() -> &'static str {
    rusqlite::version()
}

struct Table {
    connection: Connection,
    max: u64,
}

impl Table {
    fn new(connection: Connection, max: u64) -> Result<Self> {
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS budget (key TEXT PRIMARY KEY, used INTEGER NOT NULL) WITHOUT ROWID",
        )?;
        Ok(Self { connection, max })
    }

    fn charge(&self, key: &str, amount: u64) -> Result<bool> {
        let sql = "INSERT INTO budget (key, used) SELECT ?1, ?2 WHERE ?2 <= ?3 \
                   ON CONFLICT (key) DO UPDATE SET used = used + ?2 WHERE used + ?2 <= ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.execute((key, amount as i64, self.max as i64))? == 1)
    }
}

/// A database in memory belongs to one connection, which threads share.
#[derive(Clone)]
struct Memory(Arc<Mutex<Table>>);

impl Contender for Memory {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.0.lock().charge(key, amount).unwrap_or(false)
    }
}

/// A connection of its own to a file that all share.
struct File {
    table: Table,
    /// Goes with the last connection.
    _folder: Arc<Folder>,
}

impl Contender for File {
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.table.charge(key, amount).unwrap_or(false)
    }
}

fn files(plan: &Plan) -> Result<Seats> {
    let folder = Arc::new(Folder::new("sqlite")?);
    plan.each(|_| {
        let connection = Connection::open(folder.path().join("budgets.db"))?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(File { table: Table::new(connection, plan.max)?, _folder: Arc::clone(&folder) })
    })
}

/// A folder of its own, gone when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(what: &str) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::AcqRel);
        let path = std::env::temp_dir().join(format!("encumber-peers-{what}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
