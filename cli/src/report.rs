//! What a replay found: plain values that the table, the JSON and the page are rendered from.

use encumber::{Cap, Enforcement, Timestamp, Unit};

/// How a replay asks before each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Admission {
    /// Reserve the estimate at the start, commit the actual at the end.
    Reserve,
    /// Charge the actual at the start.
    Charge,
    /// Pass while anything is left, commit the actual at the end: what most systems do today.
    Check,
}

impl Admission {
    /// The word on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Charge => "charge",
            Self::Check => "check",
        }
    }
}

/// One trace replayed under one policy with one way of asking.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// File name of the policy, without its folders.
    pub(crate) policy: String,
    /// File name of the trace, without its folders.
    pub(crate) trace: String,
    pub(crate) admission: Admission,
    pub(crate) calls: u64,
    pub(crate) admitted: u64,
    pub(crate) denied: u64,
    /// Lines that could not be read and were passed over (`--skip-bad`).
    pub(crate) skipped: u64,
    /// Start of the first and of the last call; `None` for an empty trace.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    /// The policy's resources, in its order: everything indexed by resource below uses this order.
    pub(crate) resources: Vec<ResourceReport>,
    /// The policy's limits, in its order: everything indexed by limit below uses this order.
    pub(crate) limits: Vec<LimitReport>,
    /// By day (UTC) of the call's start, in order, days without calls included.
    pub(crate) days: Vec<Slice>,
    /// By user, most spent of the first resource first; empty when the trace names no users.
    pub(crate) users: Vec<Slice>,
    /// By session, most spent of the first resource first, the first few hundred; empty when the trace names none.
    pub(crate) sessions: Vec<Slice>,
}

/// A resource of the policy and what was spent of it.
#[derive(Clone, Debug)]
pub(crate) struct ResourceReport {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// Spent by the admitted calls, in amount units.
    pub(crate) spent: u128,
    /// What all calls of the trace would have cost, admitted or not.
    pub(crate) offered: u128,
}

/// A limit of the policy and what it did.
#[derive(Clone, Debug)]
pub(crate) struct LimitReport {
    pub(crate) id: String,
    /// The kind of subject.
    pub(crate) kind: String,
    /// Index into [`Report::resources`].
    pub(crate) resource: usize,
    /// As the policy writes it: `day`, `lifetime`, `5h`.
    pub(crate) window: String,
    pub(crate) cap: Cap,
    pub(crate) enforcement: Enforcement,
    /// Calls whose primary violation it was.
    pub(crate) denied: u64,
    /// Refused calls that it was among the violations of.
    pub(crate) violated: u64,
    /// Admitted calls that it would have refused, had it been hard (shadow limits only).
    pub(crate) would_refuse: u64,
    /// Subject-windows with a primary violation.
    pub(crate) windows_hit: u64,
    pub(crate) first_denied: Option<(Timestamp, String)>,
    /// Highest `charged` above the cap in any window, in amount units.
    pub(crate) peak_over: u64,
    /// Highest `charged` in any window, and its subject and window start.
    pub(crate) peak: u64,
}

/// Calls that belong together: of a day, a user, a session.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// `2026-02-04`, `dev-1`, `s001`.
    pub(crate) name: String,
    pub(crate) calls: u64,
    pub(crate) denied: u64,
    /// Spent, by resource.
    pub(crate) spent: Vec<u128>,
    /// What its calls would have cost, by resource.
    pub(crate) offered: Vec<u128>,
    /// Calls refused with this limit as the primary violation, by limit.
    pub(crate) denied_by: Vec<u64>,
}
