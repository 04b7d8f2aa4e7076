//! A durable log of opaque records, in a directory of its own: what the engine's memory is written to and read back from.
//!
//! **Files.** Numbered journal segments and numbered snapshots. Snapshot `n` has everything that was appended before segment `n` was begun; with the
//! segments from `n` on, in order, it is the whole log. `docs/internals/format.md` has the format byte by byte, and why it is so.
//!
//! **Writing** ([`log`]). Threads append to a queue; one of them writes what is queued, in one call, the others wait for it. An append is
//! acknowledged when its write has returned, and *synced* once a sync of its file that began later has: one sync serves everybody who waits.
//! A write that fails is undone by truncation; where that fails too the segment is sealed. A sync that fails says that nobody knows what
//! is in the file: nothing is acknowledged any more until a new snapshot is published, which does not need it.
//!
//! **Reading** ([`recover`]). Reads only, and hands out a prefix of what was appended: all of it, unless the power went, and then all that was synced.
//! A tail that was never synced may be torn, and is reported. Everything else that is not as it was written is an error with file and offset.
//!
//! **Salvage** ([`salvage`](mod@salvage)) takes every frame that is whole from files that recovery refuses.
//!
//! **After recovery** nothing is appended to what was there: the owner publishes a snapshot of what it was handed, and a new segment.
//!
//! Everything goes through [`Vfs`], so that tests can cut the power at any operation (`sim`).
//!
//! **Locks**, in this order: `Log::rotation`, `Log::state`. No file is touched under `state`.

mod disk;
mod error;
mod files;
mod frame;
mod log;
mod names;
mod queue;
mod recover;
mod salvage;
mod segment;
mod vfs;

pub(crate) use disk::Disk;
pub(crate) use error::LogError;
pub use error::{Fault, OpenError};
pub(crate) use files::SnapshotWriter;
pub(crate) use log::{Log, Opening};
pub(crate) use names::{Kind, LOCK, Name};
pub(crate) use recover::{Item, Recovered, recover};
pub(crate) use salvage::{Gap, Salvage, Taken, first_gap, salvage};
pub(crate) use vfs::Vfs;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
pub(crate) mod sim;
#[cfg(all(test, not(loom)))]
mod tests;
