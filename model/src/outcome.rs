//! What the model answers.

/// A reservation, from [`Model::reserve`](crate::Model::reserve) until it is settled and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u64);

/// A call that was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// The soft budgets that are over their max with it.
    pub over: Vec<Overage>,
    /// What the shadow budgets would have refused.
    pub shadow: Vec<Violation>,
}

/// A reservation that was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The reservation.
    pub hold: HoldId,
    /// How it was admitted.
    pub admission: Admission,
}

/// A budget with more charged than its max.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overage {
    /// The limit's id.
    pub limit: String,
    /// The subject.
    pub subject: String,
    /// How much more than max is charged (as shown: a saturated count is `u64::MAX`).
    pub excess: u64,
}

/// A call that was refused; it changed no count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Every hard budget without room, in the policy's order.
    pub violations: Vec<Violation>,
}

/// A budget without room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The limit's id.
    pub limit: String,
    /// The subject.
    pub subject: String,
    /// The amount asked for, 0 for a bare check.
    pub requested: u64,
    /// The cap in force.
    pub max: u64,
    /// What is committed.
    pub used: u64,
    /// What is reserved and not settled.
    pub held: u64,
    /// What is left.
    pub remaining: u64,
    /// When the budget starts fresh: when the window that refused ends, or the one that it was renumbered as. `None` for a lifetime.
    pub window_end: Option<i64>,
    /// Whether waiting helps.
    pub retry: Retry,
}

/// When the same call could pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not under this cap.
    Never,
    /// When the budget starts fresh.
    At(i64),
    /// When others give back what they hold.
    Unknown,
}

/// Why a call did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The policy does not declare the resource.
    UnknownResource(String),
    /// The policy does not know subjects of this kind.
    UnknownKind(String),
    /// Hard budgets have no room.
    Refused(Refusal),
    /// There is no such reservation.
    UnknownHold,
    /// The reservation was committed with another actual.
    Conflict,
    /// The reservation was committed.
    AlreadySettled,
    /// The reservation was released.
    AlreadyReleased,
}

/// A reservation that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// How.
    pub outcome: Outcome,
    /// Whether this repeats an earlier commit and changed nothing.
    pub replayed: bool,
    /// Whether a window that it changed had ended.
    pub late: bool,
    /// What is charged for it now: each resource that the hold or the actual named, by name.
    pub amounts: Vec<(String, u64)>,
    /// The budgets that are over their max with it: part by part of the reservation, each in its policy's order. A budget of which
    /// several parts touched windows that are over is named once, by the last.
    pub overage: Vec<Overage>,
}

/// How a reservation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was charged.
    Committed,
    /// It was given back.
    Released,
}

/// A budget as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The limit's id.
    pub limit: String,
    /// The subject.
    pub subject: String,
    /// The cap in force, `None` when unlimited.
    pub max: Option<u64>,
    /// What is committed.
    pub used: u64,
    /// What is reserved and not settled.
    pub held: u64,
    /// What is left, `None` when unlimited.
    pub remaining: Option<u64>,
    /// When the window started, `None` for a lifetime.
    pub window_start: Option<i64>,
    /// When the window ends, `None` for a lifetime.
    pub window_end: Option<i64>,
    /// How near the cap it is.
    pub status: Status,
}

/// How near its cap a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Below every warning, or unlimited.
    Ok,
    /// At or above a warning.
    Warning,
    /// Nothing is left.
    Exhausted,
    /// More is charged than the cap.
    Over,
}
