//! The engine closed and opened again between steps, with all that survives it compared.
//!
//! What a restart ends by contract is put out of its way: guards without a time-to-live are detached first, with a long one, on both sides;
//! afterwards every hold is found by its id, and attached again if it had been. Guards with a time-to-live are kept by
//! [`LostGuards::Keep`](encumber::LostGuards::Keep), where every hold may have been dispatched; in other runs, where that is written down
//! ([`LostGuards::ByDispatch`](encumber::LostGuards::ByDispatch)), they are detached as well. Handles on settled holds that nobody remembers go
//! with the process. Receipts are of the engine that made them: the engine after it refuses them.
//!
//! What is not written down is forgotten by the model too ([`encumber_model::Model::reopened`]), or kept from mattering: where clocks had jumped
//! is not known afterwards, so an engine is not opened while the clock stands before an instant that it has seen, and the clock does not go back to
//! before an opening.

use super::compare::Checked;
use super::drive::Run;
use super::script::Raw;

/// When an engine is closed and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "an engine in memory cannot be"))]
pub(crate) enum Reopening {
    Never,
    /// After every step, or after a few: so that refunds are made in between, and clocks go back. The first byte of a run decides.
    BetweenSteps,
}

#[cfg(not(feature = "persist"))]
mod on_disk {
    use encumber::{Engine, EngineBuilder};

    use super::{Checked, Raw, Reopening, Run};

    /// Where an engine is kept: nowhere.
    pub(crate) struct Home;

    impl Home {
        pub(crate) fn new(_: Reopening, _: Raw) -> Self {
            Self
        }

        #[allow(clippy::unused_self, reason = "as on disk")]
        pub(crate) fn build(&self, builder: EngineBuilder) -> Engine {
            builder.build()
        }
    }

    impl Run {
        #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on disk")]
        pub(crate) fn after_step(&mut self) -> Checked {
            Ok(())
        }
    }
}

#[cfg(feature = "persist")]
mod on_disk {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use encumber::{Cost, Engine, EngineBuilder, HoldId, LostGuards, Persist, RefundError, Timestamp};

    use super::super::compare::same;
    use super::super::drive::{self, Handle};
    use super::super::script::Party;
    use super::super::world::{RESOURCES, SUBJECTS};
    use super::{Checked, Raw, Reopening, Run};

    /// Longer than any run.
    const LONG_MICROS: i64 = 40 * 365 * 86_400_000_000;

    /// Where an engine is kept: in a directory that goes with it, or nowhere.
    pub(crate) struct Home {
        dir: Option<PathBuf>,
        guards: LostGuards,
    }

    impl Home {
        pub(crate) fn new(reopening: Reopening, head: Raw) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let dir = (reopening == Reopening::BetweenSteps).then(|| {
                // Relaxed: the numbers only have to differ.
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                // Where there is memory to write to: a sync takes its time on a disk.
                let memory = PathBuf::from("/dev/shm");
                let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
                parent.join(format!("encumber-model-{}-{number}", std::process::id()))
            });
            if let Some(dir) = &dir {
                let _ = fs::remove_dir_all(dir);
            }
            let guards = if head[0] & 4 == 0 { LostGuards::ByDispatch } else { LostGuards::Keep };
            Self { dir, guards }
        }

        pub(crate) fn build(&self, builder: EngineBuilder) -> Engine {
            match &self.dir {
                None => builder.build(),
                Some(dir) => {
                    // The system syncs: what is read back was written by this process.
                    let persist = Persist::journal(dir).os().lost_guards(self.guards);
                    builder.persist(persist).build().expect("a directory of this test")
                }
            }
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            if let Some(dir) = &self.dir {
                let _ = fs::remove_dir_all(dir);
            }
        }
    }

    /// What a handle said of its hold before the engine was closed.
    struct Seen {
        id: Option<HoldId>,
        held: Vec<(String, u64)>,
        state: (bool, bool, Option<Timestamp>),
        is_owned: bool,
    }

    impl Run {
        pub(crate) fn after_step(&mut self) -> Checked {
            let every = [1, 3, 3, 10][usize::from(self.head[0] & 3)];
            let is_due = self.log.len().is_multiple_of(every);
            // A clock that is behind starts no window that had not started by then: the model goes by its call's instant alone.
            if self.home.dir.is_none() || !is_due || self.at() < self.latest {
                return Ok(());
            }
            // Holds whose time has run out by now are settled before they count as dispatched.
            let swept = (self.engine.sweep().expired, self.model.sweep(self.at()));
            same("how many expired before the engine is closed", &swept.0, &swept.1)?;
            self.detach_all()?;
            let seen: Vec<Seen> = (0..self.held.len()).map(|index| self.seen(index)).collect();
            self.reopen()?;
            self.find_again(&seen)?;
            self.count("reopened");
            let party = Party { subjects: (1 << SUBJECTS.len()) - 1, is_new: true };
            match self.scope(party)? {
                Some(scope) => self.same_usage(&scope, &drive::texts(party.subjects)),
                None => Ok(()),
            }
        }

        /// Gives every open hold an id, and lets go of what is settled and has none.
        fn detach_all(&mut self) -> Checked {
            for index in (0..self.held.len()).rev() {
                let handle = &self.held[index].handle;
                match (handle.id(), handle.is_open()) {
                    (None, true) => {
                        let (before, id) = (self.held.len(), self.held[index].id);
                        self.detach(index, LONG_MICROS)?;
                        if self.held.len() == before && self.held[index].id == id {
                            self.held[index].was_attached = true;
                            if self.home.guards == LostGuards::Keep {
                                self.model.dispatched(id).map_err(|error| format!("{error:?}"))?;
                            }
                        }
                    }
                    (None, false) => self.drop_hold(index),
                    (Some(_), true) if self.home.guards == LostGuards::ByDispatch => {
                        let left = handle.expires_at().map_or(0, |due| due.as_micros() - self.at());
                        self.held[index].was_attached = matches!(handle, Handle::Owned(_));
                        self.detach(index, left)?;
                    }
                    (Some(_), true) => {
                        self.model.dispatched(self.held[index].id).map_err(|error| format!("{error:?}"))?;
                    }
                    (Some(_), false) => {}
                }
            }
            Ok(())
        }

        fn seen(&mut self, index: usize) -> Seen {
            let was_attached = std::mem::take(&mut self.held[index].was_attached);
            let handle = &self.held[index].handle;
            let held = handle.held();
            let mut held: Vec<_> = held.iter().map(|(resource, amount)| (self.name(resource), amount)).collect();
            held.sort();
            Seen {
                id: handle.id().cloned(),
                held,
                state: (handle.is_open(), handle.has_expired(), handle.expires_at()),
                is_owned: was_attached || matches!(handle, Handle::Owned(_)),
            }
        }

        fn reopen(&mut self) -> Checked {
            let at = self.at();
            let degraded = self.degraded;
            let receipt = self.receipts.pop().map(|(receipt, _)| receipt);
            self.receipts.clear();
            self.scopes.clear();
            self.kept.clear();
            self.engine.close().map_err(|error| format!("it could not be closed: {error}"))?;
            let open: Vec<HoldId> = {
                let open = self.held.iter().filter(|held| held.handle.is_open());
                let mut open: Vec<_> = open.filter_map(|held| held.handle.id().cloned()).collect();
                open.sort();
                open
            };
            // Guards that are dropped after the close settle nothing on disk.
            let handles: Vec<Handle> =
                self.held.iter_mut().map(|held| std::mem::replace(&mut held.handle, Handle::Gone)).collect();
            drop(handles);
            self.engine = self.home.build(self.builder());
            let report = self.engine.recovery().ok_or("an engine on disk without a report")?.clone();
            let is_whole = report.was_closed && report.torn.is_none() && report.clock_behind.is_none();
            same("whether it was closed well", &(is_whole, report.foreign.len(), report.records), &(true, 0, 0))?;
            let kept: Vec<_> = report.holds.iter().map(|hold| (hold.id.clone(), hold.charged)).collect();
            same("the open holds found", &kept, &open.into_iter().map(|id| (id, None)).collect())?;
            self.make_budgets();
            self.resources = RESOURCES.map(|name| self.engine.resource(name).expect("declared at first"));
            self.enforce();
            for (degraded, component) in degraded.into_iter().zip(drive::COMPONENTS) {
                self.engine.set_degraded(component, degraded);
            }
            self.earliest = self.earliest.max(at);
            self.model.reopened(at);
            if let Some(receipt) = receipt {
                let refunded = self.engine.refund(&receipt, &Cost::nothing());
                same("a refund of an earlier engine's receipt", &refunded, &Err(RefundError::OtherEngine))?;
            }
            Ok(())
        }

        /// Finds the holds by their ids.
        fn find_again(&mut self, seen: &[Seen]) -> Checked {
            for (mut held, seen) in std::mem::take(&mut self.held).into_iter().zip(seen) {
                let Some(id) = &seen.id else { return Err("a hold without an id".to_owned()) };
                let name = self.model.name(held.id).map(String::from).unwrap_or_default();
                let (engine, model) = (self.engine.resume(id), self.model.resume(&name, self.at()));
                same(&format!("whether {id} is kept"), &engine.is_ok(), &model.is_ok())?;
                let (Ok(hold), Ok(found)) = (engine, model) else {
                    same(&format!("whether {id} was open and is not kept"), &seen.state.0, &false)?;
                    self.count("forgotten by a reopening");
                    continue;
                };
                // There may be another one under its id by now.
                if found != held.id {
                    continue;
                }
                let mut now: Vec<_> =
                    hold.held().iter().map(|(resource, amount)| (self.name(resource), amount)).collect();
                now.sort();
                same(&format!("what {id} holds"), &now, &seen.held)?;
                let state = (hold.is_open(), hold.has_expired(), hold.expires_at());
                same(&format!("open, expired, due of {id}"), &state, &seen.state)?;
                held.was_settled = !hold.is_open();
                held.handle = Handle::Detached(hold);
                if seen.is_owned {
                    held.handle = held.handle.attached();
                }
                held.spell_again(self);
                self.held.push(held);
            }
            Ok(())
        }
    }
}

pub(crate) use on_disk::Home;
