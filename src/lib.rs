//! The in-process, lock-free budget engine for AI agents.
#![forbid(unsafe_code)]

mod amount;
mod charge;
mod clock;
mod cost;
mod engine;
mod live;
mod meter;
mod policy;
mod refusal;
mod registry;
mod report;
mod reservation;
mod scope;
mod subject;
mod sync;
mod time;
mod window;

pub use amount::{AmountError, Cap, Cost, NANOS_PER_USD, Ratio, Resource, Unit};
pub use clock::{Clock, ManualClock, TimeSource};
pub use cost::{CostError, Estimate, EstimateError, Price, Rates, Rounding, TokenClass, Unknown, Usage, Weights};
pub use engine::{Engine, EngineBuilder, UnknownResource};
pub use policy::{Enforcement, GroupChoice, Limit, Policy, PolicyBuilder, PolicyCause, PolicyError, Source, Warn};
pub use refusal::{HttpRefusal, Refusal, Retry, Violation};
pub use report::{Admission, BudgetUsage, Overage, Percent, Receipt, Status};
pub use reservation::{Actual, ExtendError, Reservation, SettleError};
pub use scope::{AffordError, ChargeError, RecordError, Scope, ScopeError, Subjects};
pub use subject::{NAME_BYTES_MAX, SUBJECT_ID_BYTES_MAX, Subject, SubjectError, is_name};
pub use time::{Timestamp, TimestampError};
pub use window::{Bounds, Countdown, Grid, Period, PeriodError, Window, WindowError};
