//! A life: it opens the directory, and does this and that in four threads until it is killed, or closes the engine.
//!
//! Each thread says what it is about to do, does it, and says what came of it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::exit;
use std::thread;
use std::time::Duration;

use encumber::{
    ChargeError, Engine, HoldId, ManualClock, Persist, Receipt, Reservation, ReserveError, Reset, Resource, Scope,
    SlotError, Subject, Timestamp,
};

use crate::book::Standing;
use crate::durable_rig::Random;
use crate::words::{Did, Order, RESET, SCOPES, SCOPES_OF_ONE_USER, SCOPES_OF_USERS, Said, THREADS, What, Will, policy};

/// Longer than all lives together.
pub(crate) const TTL: Duration = Duration::from_secs(3_600 * 24 * 365 * 10);

pub(crate) fn persist(dir: &Path, mode: &str) -> Persist {
    let journal = Persist::journal(dir);
    match mode {
        "always" => journal.always(),
        "os" => journal.os(),
        _ => journal,
    }
}

pub(crate) fn open(dir: &Path, mode: &str, clock: &ManualClock) -> Result<Engine, encumber::OpenError> {
    let builder = Engine::builder(policy()).clock(clock).remember_settled(Duration::from_secs(3_600));
    builder.persist(persist(dir, mode).segment_bytes(4_096)).build()
}

/// The pipe to the parent.
struct Pipe(File);

impl Pipe {
    fn say(&self, said: &Said) {
        // One write, of less than a pipe takes at once: lines of threads do not mix.
        if (&self.0).write_all(said.line().as_bytes()).is_err() {
            // The parent is gone.
            exit(0);
        }
    }
}

pub(crate) fn live(dir: &Path, order: &Order) -> ! {
    let inform = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        inform(panic);
        exit(3);
    }));
    let pipe = Pipe(std::io::stdout().as_fd().try_clone_to_owned().unwrap().into());
    pipe.say(&Said::Begin);
    let clock = ManualClock::at(Timestamp::from_micros(order.at));
    let engine = open(dir, order.mode, &clock).unwrap();
    for ((limit, subject), charged) in Standing::of(&engine).charged() {
        pipe.say(&Said::Found { limit: limit.to_owned(), subject: subject.to_owned(), charged });
    }
    pipe.say(&Said::Ready);
    let found = engine.recovery().unwrap().holds.iter().filter(|hold| hold.charged.is_none());
    let ids: Vec<Kept> = found.map(|hold| Kept { id: hold.id.to_string(), amount: hold.held[0].1 }).collect();
    let scopes: Vec<Scope> = SCOPES.iter().map(|subjects| engine.scope(subjects.iter().copied()).unwrap()).collect();
    let mut callers: Vec<Caller<'_>> = (0..THREADS)
        .map(|thread| Caller {
            thread,
            life: order.life,
            pipe: &pipe,
            engine: &engine,
            scopes: &scopes,
            tokens: engine.resource("tokens").unwrap(),
            credits: engine.resource("credits").unwrap(),
            streams: engine.resource("streams").unwrap(),
            random: Random(order.seed ^ (thread as u64) << 56),
            // What a reset took is not refunded: one life has the one, the next life the other.
            resets: order.seed.is_multiple_of(2),
            guards: Vec::new(),
            receipts: Vec::new(),
            kept: ids.iter().skip(thread).step_by(THREADS).cloned().collect(),
            next: 0,
        })
        .collect();
    thread::scope(|threads| {
        for caller in &mut callers {
            threads.spawn(|| {
                let mut done = 0;
                while order.close_after.is_none_or(|after| done < after) {
                    caller.call();
                    done += 1;
                }
                // Guards that are left when the engine is closed are charged, as they would be if it were killed.
                if order.seed.is_multiple_of(3) {
                    while !caller.guards.is_empty() {
                        caller.settle_guard();
                    }
                }
            });
        }
        if order.snapshots && order.close_after.is_none() {
            threads.spawn(|| {
                loop {
                    pipe.say(&Said::Snap);
                    engine.snapshot_now().unwrap();
                    pipe.say(&Said::Snapped);
                }
            });
        }
    });
    pipe.say(&Said::Closing);
    engine.close().unwrap();
    pipe.say(&Said::Closed);
    exit(0);
}

/// A hold under an id.
#[derive(Clone)]
struct Kept {
    id: String,
    amount: u64,
}

impl Kept {
    /// The number of its scope is in the id's end.
    fn scope(&self) -> usize {
        self.id[self.id.len() - 1..].parse().unwrap()
    }

    fn is_slot(&self) -> bool {
        self.id.starts_with("slot")
    }
}

struct Caller<'a> {
    thread: usize,
    life: u64,
    pipe: &'a Pipe,
    engine: &'a Engine,
    scopes: &'a [Scope],
    tokens: Resource,
    credits: Resource,
    streams: Resource,
    random: Random,
    resets: bool,
    /// Each with its scope and amount.
    guards: Vec<(Reservation, usize, u64)>,
    /// Each with its scope and amount.
    receipts: Vec<(Receipt, usize, u64)>,
    kept: Vec<Kept>,
    next: u64,
}

impl Caller<'_> {
    fn call(&mut self) {
        match self.random.below(100) {
            0..20 => {
                let (scope, amount) = self.pick();
                self.charge("tokens", scope, amount, |this| this.scopes[scope].try_charge(this.tokens.of(amount)));
            }
            20..32 => {
                let (scope, amount) = self.pick();
                self.charge("tokens", scope, amount, |this| {
                    this.engine.try_charge(SCOPES[scope].iter().copied(), this.tokens.of(amount))
                });
            }
            32..50 => self.reserve(),
            50..66 => self.settle_guard(),
            66..72 => {
                let (scope, amount) = self.pick();
                self.will(scope, "tokens", (0, amount), What::Count);
                let receipt = self.scopes[scope].record(self.tokens.of(amount)).unwrap();
                self.did(amount as i64, true);
                self.receipts.push((receipt, scope, amount));
            }
            72..78 => self.refund(),
            78..84 => self.open(),
            84..92 => self.settle_kept(),
            92..94 => self.slot(),
            94..97 => {
                let (scope, amount) = (self.random.below(SCOPES_OF_ONE_USER) as usize, 1 + self.random.below(60));
                self.charge("credits", scope, amount, |this| this.scopes[scope].try_charge(this.credits.of(amount)));
            }
            97..99 => {
                let (scope, amount) = (self.random.below(SCOPES_OF_ONE_USER) as usize, 1 + self.random.below(20));
                self.will(scope, "credits", (0, amount), What::TopUp);
                let user: Subject = SCOPES[scope][0].parse().unwrap();
                self.engine.top_up(&user, "credit", amount).unwrap();
                self.did(0, true);
            }
            _ => self.reset(),
        }
    }

    fn pick(&mut self) -> (usize, u64) {
        let amount = if self.random.once_in(3) { 1 + self.random.below(200) } else { 1 + self.random.below(30) };
        (self.random.below(SCOPES.len() as u64) as usize, amount)
    }

    fn will(&self, scope: usize, resource: &str, (down, up): (u64, u64), what: What) {
        let resource = resource.to_owned();
        self.pipe.say(&Said::Will(Will { thread: self.thread, scope, resource, down, up, what }));
    }

    fn did(&self, change: i64, done: bool) {
        self.pipe.say(&Said::Did(Did { thread: self.thread, change, done, taken: Vec::new() }));
    }

    fn charge<T>(
        &mut self,
        resource: &str,
        scope: usize,
        amount: u64,
        charge: impl FnOnce(&Self) -> Result<T, ChargeError>,
    ) -> Option<T> {
        self.will(scope, resource, (0, amount), What::Count);
        match charge(self) {
            Ok(got) => {
                self.did(amount as i64, true);
                Some(got)
            }
            Err(ChargeError::Refused(_)) => {
                self.did(0, false);
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn reserve(&mut self) {
        let (scope, amount) = self.pick();
        // A guard with a time to live is kept under an id, and is lost with the process.
        let has_ttl = scope < SCOPES_OF_USERS as usize && self.random.once_in(4);
        let guard = self.charge("tokens", scope, amount, |this| {
            let (scope, cost) = (&this.scopes[scope], this.tokens.of(amount));
            if has_ttl { scope.reserve_for(cost, TTL) } else { scope.reserve(cost) }
        });
        self.guards.extend(guard.map(|guard| (guard, scope, amount)));
        if self.guards.len() > 4 {
            self.settle_guard();
        }
    }

    /// What a hold of `amount` is settled at: less, the same, or more.
    fn actual(&mut self, amount: u64) -> u64 {
        match self.random.below(4) {
            0 => amount,
            1 => amount + self.random.below(50),
            _ => self.random.below(amount + 1),
        }
    }

    fn settle_guard(&mut self) {
        if self.guards.is_empty() {
            return;
        }
        let index = self.random.below(self.guards.len() as u64) as usize;
        let (guard, scope, amount) = self.guards.swap_remove(index);
        match self.random.below(6) {
            0 => {
                self.will(scope, "tokens", (amount, 0), What::Count);
                drop(guard);
                self.did(-(amount as i64), true);
            }
            1 => {
                self.will(scope, "tokens", (0, 0), What::Count);
                guard.dispatched();
                drop(guard);
                self.did(0, true);
            }
            _ => {
                let actual = self.actual(amount);
                self.will(scope, "tokens", change_of(amount, actual), What::Count);
                let receipt = guard.commit(self.tokens.of(actual)).unwrap();
                self.did(actual as i64 - amount as i64, true);
                self.receipts.push((receipt, scope, actual));
            }
        }
    }

    fn refund(&mut self) {
        if self.resets || self.receipts.is_empty() {
            return;
        }
        // A receipt is refunded once.
        let index = self.random.below(self.receipts.len() as u64) as usize;
        let (receipt, scope, charged) = self.receipts.swap_remove(index);
        let amount = self.random.below(charged + 1);
        self.will(scope, "tokens", (amount, 0), What::Count);
        self.engine.refund(&receipt, &self.tokens.of(amount)).unwrap();
        self.did(-(amount as i64), true);
    }

    /// An id that was never used.
    fn id(&mut self, what: &str, scope: usize) -> String {
        self.next += 1;
        format!("{what}-{}-{}-{}-{scope}", self.life, self.thread, self.next)
    }

    fn open(&mut self) {
        if self.kept.len() > 6 {
            return self.settle_kept();
        }
        let (scope, amount) = (self.random.below(SCOPES_OF_USERS) as usize, 1 + self.random.below(150));
        let id = self.id("hold", scope);
        self.will(scope, "tokens", (0, amount), What::Open(id.clone()));
        match self.scopes[scope].reserve_with_id(id.as_str(), TTL, self.tokens.of(amount)) {
            Ok(hold) => {
                assert!(!hold.is_replayed(), "{id}");
                self.did(amount as i64, true);
                self.kept.push(Kept { id, amount });
            }
            Err(ReserveError::Charge(ChargeError::Refused(_))) => self.did(0, false),
            Err(other) => panic!("{id}: {other}"),
        }
    }

    fn settle_kept(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let index = self.random.below(self.kept.len() as u64) as usize;
        let kept = self.kept.swap_remove(index);
        let (scope, amount, settle) = (kept.scope(), kept.amount, What::Settle(kept.id.clone()));
        if kept.is_slot() {
            self.will(scope, "streams", (1, 0), settle);
            assert!(self.scopes[scope].release_slot(self.streams, &kept.id), "{}", kept.id);
            return self.did(-1, true);
        }
        let id: HoldId = kept.id.parse().unwrap();
        if self.random.once_in(3) {
            self.will(scope, "tokens", (amount, 0), settle);
            self.engine.resume(&id).unwrap().release().unwrap();
            return self.did(-(amount as i64), true);
        }
        let actual = self.actual(amount);
        self.will(scope, "tokens", change_of(amount, actual), settle);
        self.engine.resume(&id).unwrap().commit(self.tokens.of(actual)).unwrap();
        self.did(actual as i64 - amount as i64, true);
    }

    fn slot(&mut self) {
        let scope = self.random.below(SCOPES_OF_USERS) as usize;
        let id = self.id("slot", scope);
        self.will(scope, "streams", (0, 1), What::Open(id.clone()));
        match self.scopes[scope].slot_with_id(self.streams, &id, TTL) {
            Ok(slot) => {
                slot.detach();
                self.did(1, true);
                self.kept.push(Kept { id, amount: 1 });
            }
            Err(SlotError::Charge(ChargeError::Refused(_))) => self.did(0, false),
            Err(other) => panic!("{id}: {other}"),
        }
    }

    fn reset(&mut self) {
        if !self.resets {
            return;
        }
        let scope = self.random.below(SCOPES_OF_USERS) as usize;
        self.will(scope, "tokens", (0, 0), What::Reset);
        let [first, more @ ..] = RESET;
        let reset = more.iter().fold(Reset::limit(first), |reset, limit| reset.and(limit));
        let taken = self.scopes[scope].reset(&reset).unwrap();
        let taken = taken.iter().map(|taken| (taken.limit.to_string(), taken.subject.to_string(), taken.amount));
        self.pipe.say(&Said::Did(Did { thread: self.thread, change: 0, done: true, taken: taken.collect() }));
    }
}

/// By how much a settlement at `actual` lowers and raises what is charged.
fn change_of(held: u64, actual: u64) -> (u64, u64) {
    (held.saturating_sub(actual), actual.saturating_sub(held))
}
