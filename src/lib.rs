//! The in-process, lock-free budget engine for AI agents: reserve before you spend, never past a hard limit.
//!
//! Ask before each model call, tool call or step: may this agent spend this much? The answer is exact under any concurrency, needs no
//! server, and comes without a lock on the way. Reserve the worst case, make the call, commit what it really took. What was not used is
//! free again at once.
//!
//! ```
//! use encumber::{Cap, ChargeError, Engine, Limit, ManualClock, Policy, Unit, Window};
//!
//! let policy = Policy::builder()
//!     .resource("usd", Unit::Usd) // counted in nano-dollars
//!     .limit(Limit::new("agent-day", "agent", "usd", Window::Day, Cap::Max(Unit::Usd.parse("0.50")?)))
//!     .limit(Limit::new("team-month", "global", "usd", Window::Month, Cap::Max(Unit::Usd.parse("800")?)))
//!     .build()?;
//! let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?); // without it: the system's clock
//! let engine = Engine::builder(policy).clock(&clock).build();
//! let usd = engine.resource("usd")?;
//! let scope = engine.scope(["agent:planner"])?; // and `global`, which is in every scope
//!
//! let hold = scope.reserve(usd.of(400_000_000))?; // the call costs at most 40 cents
//! hold.dispatched(); // it goes out: from here on, dropping the hold charges it
//! let receipt = hold.commit(usd.of(150_000_000))?; // it took 15
//! assert!(receipt.overages().is_empty());
//!
//! let Err(ChargeError::Refused(refusal)) = scope.reserve(usd.of(400_000_000)) else { panic!("35 cents are left") };
//! assert_eq!(
//!     format!("{refusal:#}"),
//!     "daily limit agent-day of \"agent:planner\" has 0.35 of 0.5 usd left, fewer than the 0.4 asked for, resets in 3h 5m"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The words
//!
//! A *resource* is what is counted (`usd`, `tokens`, `steps`). A *subject* is who is limited (`user:7`, `agent:planner`, `global`). A
//! *scope* is the set of subjects that one call is charged to. A *limit* is a rule on a kind of subject; a *budget* is one limit applied to
//! one subject, with its usage in the current *window*. `charged = used + held`: committed, and reserved. `remaining = max − charged`.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Engine`] | built once, cloned freely: makes scopes, prices usage, swaps policies, resumes holds by id |
//! | [`Scope`] | the operations: [`check`](Scope::check), [`try_charge`](Scope::try_charge), [`reserve`](Scope::reserve), [`record`](Scope::record), [`afford`](Scope::afford), [`usage`](Scope::usage) |
//! | [`Reservation`], [`Hold`] | an amount held, settled once: [`commit`](Hold::commit), [`release`](Hold::release), or its drop; [`try_extend`](Hold::try_extend) for streams; [`split`](Reservation::split) |
//! | [`DetachedHold`], [`HoldId`] | holds under an id, with a time-to-live: idempotency keys, other threads, later requests |
//! | [`Allowance`] | a reservation turned into a budget for sub-agents |
//! | [`Workflow`], [`Slot`] | steps, tool calls and budgets of a run; places for what runs at once |
//! | [`Policy`], [`Limit`], [`Cap`], [`Enforcement`] | which limits exist, on whom; hard, soft, shadow, unlimited |
//! | [`Resource`], [`Unit`], [`Cost`] | amounts; money is whole nano-dollars |
//! | [`Usage`], [`Rates`], [`Price`], [`Weights`], [`Unknown`], [`Estimate`] | token counts turned into costs, exactly, with an explicit choice for what is unknown |
//! | [`Window`], [`Timestamp`], [`Clock`], [`ManualClock`] | calendars and grids, rolling windows, windows from first use; injected clocks |
//! | [`Refusal`], [`Violation`], [`Retry`] | every violated budget, whether waiting helps; as a sentence, JSON and HTTP |
//! | [`Admission`], [`Receipt`], [`BudgetUsage`], [`Status`] | what operations report; receipts can be [refunded](Engine::refund) |
//! | [`PaidReset`], [`Reset`], [`Engine::top_up`], [`Engine::set_override`] | what is sold or decided while the engine runs |
//! | [`Events`], [`Event`] | a bounded stream of what happened |
//! | [`FailurePolicy`], [`Component`] | what operations do while something else is degraded |
//!
//! # What it does
//!
//! - A hard limit admits an amount only while `charged + amount ≤ max`, decided and applied in one atomic step. An exact fit passes.
//! - A call is admitted by every budget of its scope or charged to none.
//! - Three things may carry a budget past its max, and each is reported: a commit above its reservation, [`Scope::record`], and a
//!   lowered limit.
//! - A reservation belongs to the windows that admitted it. A late settlement never credits a newer one.
//! - A hold that nobody settles expires, if it was given a time-to-live: released if its call never went out, charged if it did.
//! - A new window starts with the first charge in it, with no timer.
//! - Numbers never wrap. Counts saturate where nothing hard is admitted; a cap that a budget cannot hold is an error
//!   ([`Window::cap_max`]).
//!
//! # What it does not do
//!
//! Without the feature `persist` it keeps everything in memory: a restart starts all budgets fresh. It limits one process: budgets that several machines share
//! need a server. It does not smooth a rate: for that, use a rate limiter.
//!
//! # Policies from text
//!
//! With the feature `toml` (or `json`, for JSON). The format is in `docs/policy.md`.
//!
//! ```
//! # #[cfg(feature = "toml")] {
//! use encumber::{Engine, Policy, TokenClass, Usage};
//!
//! let policy = Policy::from_toml(
//!     r#"
//!     [resources]
//!     usd = "usd"
//!
//!     [prices."claude-haiku-4-5-20251001"]  # dollars per million tokens
//!     input = "1"
//!     output = "5"
//!
//!     [[limits]]
//!     id = "user-day"
//!     subject = "user"
//!     resource = "usd"
//!     window = "day"
//!     max = "25"
//!     "#,
//! )?;
//! let engine = Engine::new(policy);
//! let usage = Usage::new().model("claude-haiku-4-5-20251001").with(TokenClass::Input, 10_000).with(TokenClass::Output, 500);
//! let admission = engine.scope(["user:7"])?.try_charge(engine.cost(&usage)?)?;
//! assert!(!admission.is_over()); // no soft limit is passed
//!
//! let error = Policy::from_toml("[resources]\nusd = \"euro\"").unwrap_err();
//! assert_eq!(error.to_string(), "line 2: resources.usd: expected \"usd\" or \"count\", found \"euro\"");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `toml` | `Policy::from_toml` |
//! | `json` | `Policy::from_json`, `Cap::from_json`, `Refusal::to_json` |
//! | `time-zones` | [`Zone`]s other than UTC |
//! | `prices` | `PriceTable`: the price files of `LiteLLM` and genai-prices |
//! | `usage` | `UsageApi` and `UsageStream`: what providers report in replies and streams |
//! | `persist` | `Persist`: engines that survive restarts, by a journal or snapshots on disk. Needs Rust 1.89 |
//!
//! None is on by default. A feature adds functions and changes no behaviour.
//!
//! # Concurrency
//!
//! Each budget is one atomic word that holds the window's number and the charged amount, so admission, settlement and rollover are single
//! compare-and-swap steps (a rolling window takes a few words). All handles are `Send` and `Sync`. An operation that finds room waits for nobody,
//! but for the few steps of a reset, or of a report that would otherwise see half of something. A refusal is
//! the cold path: the clock is read again precisely, and with several budgets it waits, bounded, for attempts that may be undone, so that
//! no call is refused because of another one that is itself refused. Nothing of the crate has to be held across an `.await` but a
//! [`Reservation`], which is owned and `Send`. See [`Scope`](Scope#concurrency) for what holds when, [`Hold`] for races between
//! settlements, and `docs/internals/atomics.md` for the orderings.
#![forbid(unsafe_code)]

#[cfg(any(feature = "prices", feature = "usage"))]
mod adapters;
mod allowance;
mod amount;
mod charge;
mod clock;
mod cost;
#[cfg(feature = "persist")]
mod durable;
mod engine;
mod event;
mod grants;
mod holds;
mod live;
mod meter;
mod observe;
#[cfg(feature = "persist")]
mod persist;
mod policy;
mod refusal;
mod registry;
mod report;
mod reservation;
mod reset;
mod scope;
mod slot;
mod subject;
mod sync;
mod time;
mod window;
mod workflow;

#[cfg(feature = "prices")]
pub use adapters::prices::{ListedPrice, PriceFault, PriceFileError, PriceTable, SkippedPrice, UnlistedModel};
#[cfg(feature = "usage")]
pub use adapters::usage::{EVENT_BYTES_MAX, ReportedUsage, StreamEnd, UsageApi, UsageError, UsageStream};
pub use allowance::Allowance;
#[cfg(feature = "json")]
pub use amount::CapValueError;
pub use amount::{AmountError, Cap, Cost, NANOS_PER_USD, Ratio, Resource, Unit};
pub use clock::{Clock, ManualClock, TimeSource};
pub use cost::{
    ClassSet, CostError, Estimate, EstimateError, Price, Rates, Rounding, Service, TokenClass, Unknown, Usage, Weights,
};
#[cfg(feature = "persist")]
pub use durable::{
    Fault, FileKind, FoundBudget, FoundFile, FoundGrant, FoundHold, FoundRule, FoundWorkflow, Inspection, Journal,
    LostBytes, LostGuards, OpenError, Persist, PersistError, RecoveredHold, RecoveredWorkflow, RecoveryReport,
    SalvageError, Salvaged, Synced, TornTail, Unreadable, inspect, salvage,
};
pub use engine::{
    CapChange, CapError, Component, Engine, EngineBuilder, FailurePolicy, OnFailure, Swept, UnknownResource,
};
pub use event::{BudgetName, Event, EventKind, Events, Standing};
pub use holds::{HoldId, HoldIdError};
pub use meter::Striping;
pub use policy::{
    Enforcement, GroupChoice, Guard, Limit, PaidReset, Policy, PolicyBuilder, PolicyCause, PolicyError, Source, Warn,
};
pub use refusal::{HttpRefusal, Refusal, Retry, Violation};
pub use report::{Admission, BudgetUsage, Overage, Percent, Receipt, Status};
pub use reservation::{
    Actual, DetachedHold, ExtendError, Hold, RefundError, Reservation, ReserveError, SettleError, SplitError,
    UnknownHold,
};
pub use reset::{Reset, ResetError, ResetReceipt, Taken, Wallet, WalletError};
pub use scope::{AffordError, ChargeError, Ended, RecordError, Scope, ScopeError, Subjects};
pub use slot::{Slot, SlotError};
pub use subject::{NAME_BYTES_MAX, SUBJECT_ID_BYTES_MAX, Subject, SubjectError, is_name};
pub use time::{Timestamp, TimestampError};
pub use window::{
    Bounds, Calendar, Countdown, Grid, Period, PeriodError, Span, TimeOfDay, Weekday, Window, WindowError, Zone,
    ZoneError,
};
#[cfg(feature = "persist")]
pub use workflow::UnknownWorkflow;
pub use workflow::{Counted, Progress, StepError, Workflow, WorkflowError, WorkflowSpec};

/// The README's program runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
