//! Ours.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::RandomState;
use anyhow::{Context as _, Result};
use dashmap::DashMap;
use encumber::{Cap, Clock, Engine, EngineBuilder, Limit, Policy, Resource, Scope, Striping, Unit, Window};

use crate::contender::{Contender, Group, Plan, Seats, Spec, worst_case};

/// Names that bars refer to.
pub(crate) mod names {
    pub(crate) const TICKING: &str = "encumber, ticking clock";
    pub(crate) const LIFETIME: &str = "encumber, lifetime, ticking clock";
    pub(crate) const READING: &str = "encumber, clock read per call";
    pub(crate) const BY_KEY: &str = "encumber, by name";
    pub(crate) const SCOPE: &str = "encumber, a scope per call";
    pub(crate) const LEVELS: &str = "encumber, three limits";
    pub(crate) const NO_STRIPES: &str = "encumber, three limits, no stripes";
    pub(crate) const THREE_LIMITS: &str = "encumber, three limits on a key";
    #[cfg(feature = "persist")]
    pub(crate) const JOURNAL: &str = "encumber, journal every second";
}

pub(super) fn specs() -> Vec<Spec> {
    use Group::{Direct, Keys1k, Keys1m, Levels, Memory, Refusal, Settle, SettleKeys, SettleLevels};
    let spec = |name, groups, make| Spec::new(name, "", groups, make).without_package();
    #[cfg(feature = "persist")]
    let journal = journal::specs();
    #[cfg(not(feature = "persist"))]
    let journal = Vec::new();
    let memory = vec![
        spec(names::TICKING, &[Direct, Refusal], |plan| direct(plan, &ticking()?, Window::Day)),
        spec(names::LIFETIME, &[Direct, Refusal], |plan| direct(plan, &ticking()?, Window::Lifetime)),
        spec("encumber, month, ticking clock", &[Direct], |plan| direct(plan, &ticking()?, Window::Month)),
        spec(names::READING, &[Direct, Refusal], |plan| direct(plan, &Clock::system(), Window::Day)),
        spec(names::TICKING, &[Settle], |plan| {
            plan.seats(|| {
                Ok(Settling(Handle::new(&engine(ticking()?, plan.max, &["agent"], Window::Day)?, &["agent:a"])?))
            })
        }),
        spec(names::BY_KEY, &[Keys1k, Keys1m, Memory], |plan| plan.seats(|| ByKey::new(plan.max, 1))),
        spec("encumber, by name, clock read per call", &[Keys1k, Keys1m], |plan| {
            plan.seats(|| ByKey::on(Clock::system(), plan.max, 1))
        }),
        spec(names::SCOPE, &[Keys1k, Keys1m], |plan| plan.seats(|| Ok(ScopeByKey(ByKey::new(plan.max, 1)?)))),
        spec(names::SCOPE, &[SettleKeys], |plan| plan.seats(|| Ok(SettlingByKey(ByKey::new(plan.max, 1)?)))),
        spec("encumber, scopes kept in a dashmap", &[Keys1k, Keys1m, Memory], |plan| {
            plan.seats(|| Ok(Kept { by_key: ByKey::new(plan.max, 1)?, scopes: Arc::default() }))
        }),
        spec("encumber, two limits on a key", &[Memory], |plan| plan.seats(|| ByKey::new(plan.max, 2))),
        spec(names::THREE_LIMITS, &[Memory], |plan| plan.seats(|| ByKey::new(plan.max, 3))),
        spec(names::LEVELS, &[Levels], |plan| levels(plan, Striping::default(), |handle| handle)),
        spec(names::NO_STRIPES, &[Levels], |plan| levels(plan, Striping::Off, |handle| handle)),
        spec(names::LEVELS, &[SettleLevels], |plan| levels(plan, Striping::default(), Settling)),
        spec(names::NO_STRIPES, &[SettleLevels], |plan| levels(plan, Striping::Off, Settling)),
    ];
    memory.into_iter().chain(journal).collect()
}

/// The same with a journal.
#[cfg(feature = "persist")]
mod journal {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use anyhow::Context as _;
    use encumber::Persist;

    use super::{
        ByKey, Clock, Contender, Engine, Group, Handle, Result, Settling, Spec, Striping, Window, builder, names,
        ticking,
    };

    pub(super) fn specs() -> Vec<Spec> {
        use Group::{Direct, Keys1k, Levels, Settle};
        let spec = |name, groups, make| Spec::new(name, "", groups, make).without_package();
        vec![
            spec(names::JOURNAL, &[Direct], |plan| {
                plan.seats(|| InDir::of(plan.max, &["agent"], |engine| Handle::new(engine, &["agent:a"])))
            }),
            spec(names::JOURNAL, &[Settle], |plan| {
                plan.seats(|| {
                    InDir::of(plan.max, &["agent"], |engine| Ok(Settling(Handle::new(engine, &["agent:a"])?)))
                })
            }),
            spec(names::JOURNAL, &[Keys1k], |plan| {
                plan.seats(|| {
                    InDir::of(plan.max, &["agent"], |engine| {
                        Ok(ByKey { engine: engine.clone(), tokens: engine.resource("tokens")? })
                    })
                })
            }),
            spec(names::JOURNAL, &[Levels], |plan| {
                let (dir, engine) = opened(plan.max, &["agent", "user", "global"])?;
                plan.each(|thread| {
                    let seat = Handle::new(&engine, &[&format!("agent:{thread}"), "user:u"])?;
                    Ok(InDir { seat, _engine: engine.clone(), _dir: dir.clone() })
                })
            }),
        ]
    }

    fn opened(max: u64, kinds: &[&str]) -> Result<(Dir, Engine)> {
        let dir = Dir::new();
        let clock: Clock = ticking()?;
        let builder = builder(clock, max, kinds, Window::Day)?.striping(Striping::default());
        let engine = builder.persist(Persist::journal(&dir.0.0)).build().context("a directory")?;
        Ok((dir, engine))
    }

    /// A contender whose engine has a directory.
    #[derive(Clone)]
    struct InDir<C> {
        // Dropped in this order.
        seat: C,
        _engine: Engine,
        _dir: Dir,
    }

    impl<C> InDir<C> {
        fn of(max: u64, kinds: &[&str], seat: impl FnOnce(&Engine) -> Result<C>) -> Result<Self> {
            let (dir, engine) = opened(max, kinds)?;
            Ok(Self { seat: seat(&engine)?, _engine: engine, _dir: dir })
        }
    }

    impl<C: Contender> Contender for InDir<C> {
        #[inline]
        fn ask(&mut self, key: &str, amount: u64) -> bool {
            self.seat.ask(key, amount)
        }
    }

    /// Gone with its last clone.
    #[derive(Clone)]
    struct Dir(std::sync::Arc<Removed>);

    struct Removed(PathBuf);

    impl Dir {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            // Relaxed: the numbers only have to differ.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("encumber-peers-{}-{number}", std::process::id()));
            Self(std::sync::Arc::new(Removed(dir)))
        }
    }

    impl Drop for Removed {
        fn drop(&mut self) {
            // What cannot be removed stays.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// One clock thread for all.
fn ticking() -> Result<Clock> {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    if CLOCK.get().is_none() {
        let clock = Clock::ticking(Duration::from_millis(1)).context("a clock thread")?;
        let _ = CLOCK.set(clock);
    }
    CLOCK.get().cloned().context("a clock")
}

/// An engine with one limit on each of the kinds.
fn engine(clock: Clock, max: u64, kinds: &[&str], window: Window) -> Result<Engine> {
    Ok(builder(clock, max, kinds, window)?.build())
}

fn builder(clock: Clock, max: u64, kinds: &[&str], window: Window) -> Result<EngineBuilder> {
    let mut policy = Policy::builder().resource("tokens", Unit::Count);
    for (place, kind) in kinds.iter().enumerate() {
        policy = policy.limit(Limit::new(&format!("limit-{place}"), kind, "tokens", window, Cap::Max(max)));
    }
    Ok(Engine::builder(policy.build()?).clock(clock))
}

fn direct(plan: &Plan, clock: &Clock, window: Window) -> Result<Seats> {
    plan.seats(|| Handle::new(&engine(clock.clone(), plan.max, &["agent"], window)?, &["agent:a"]))
}

/// Agents of their own, and a user and a total that they share.
fn levels<C: Contender + 'static>(plan: &Plan, striping: Striping, seat: fn(Handle) -> C) -> Result<Seats> {
    let engine = builder(ticking()?, plan.max, &["agent", "user", "global"], Window::Day)?.striping(striping).build();
    plan.each(|thread| Ok(seat(Handle::new(&engine, &[&format!("agent:{thread}"), "user:u"])?)))
}

/// A scope that is kept and asked again and again.
#[derive(Clone)]
struct Handle {
    scope: Scope,
    tokens: Resource,
}

impl Handle {
    fn new(engine: &Engine, subjects: &[&str]) -> Result<Self> {
        Ok(Self { scope: engine.scope(subjects.iter().copied())?, tokens: engine.resource("tokens")? })
    }
}

impl Contender for Handle {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        self.scope.try_charge(self.tokens.of(amount)).is_ok()
    }
}

#[derive(Clone)]
struct Settling(Handle);

impl Contender for Settling {
    #[inline]
    fn ask(&mut self, _: &str, amount: u64) -> bool {
        settle(&self.0.scope, self.0.tokens, amount)
    }
}

#[inline]
fn settle(scope: &Scope, tokens: Resource, amount: u64) -> bool {
    scope.reserve(tokens.of(worst_case(amount))).is_ok_and(|hold| hold.commit(tokens.of(amount)).is_ok())
}

/// The subject is named at the call.
#[derive(Clone)]
struct ByKey {
    engine: Engine,
    tokens: Resource,
}

impl ByKey {
    fn new(max: u64, limits: usize) -> Result<Self> {
        Self::on(ticking()?, max, limits)
    }

    fn on(clock: Clock, max: u64, limits: usize) -> Result<Self> {
        let engine = engine(clock, max, &["agent"; 3][..limits], Window::Day)?;
        let tokens = engine.resource("tokens")?;
        Ok(Self { engine, tokens })
    }
}

impl Contender for ByKey {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.engine.try_charge([key], self.tokens.of(amount)).is_ok()
    }
}

/// A scope is made for each call, from the key's text.
#[derive(Clone)]
struct ScopeByKey(ByKey);

impl Contender for ScopeByKey {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.0.engine.scope([key]).is_ok_and(|scope| scope.try_charge(self.0.tokens.of(amount)).is_ok())
    }
}

#[derive(Clone)]
struct SettlingByKey(ByKey);

impl Contender for SettlingByKey {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        self.0.engine.scope([key]).is_ok_and(|scope| settle(&scope, self.0.tokens, amount))
    }
}

/// What a host may do that sees the same keys again: it keeps their scopes.
#[derive(Clone)]
struct Kept {
    by_key: ByKey,
    scopes: Arc<DashMap<String, Scope, RandomState>>,
}

impl Contender for Kept {
    #[inline]
    fn ask(&mut self, key: &str, amount: u64) -> bool {
        let cost = self.by_key.tokens.of(amount);
        if let Some(scope) = self.scopes.get(key) {
            return scope.try_charge(cost).is_ok();
        }
        self.by_key.engine.scope([key]).is_ok_and(|scope| {
            let admitted = scope.try_charge(cost).is_ok();
            self.scopes.insert(key.to_owned(), scope);
            admitted
        })
    }
}
