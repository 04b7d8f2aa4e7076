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
    /// Whether something was degraded.
    pub degraded: bool,
}

/// Something outside that can be degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Where usage is kept.
    Store,
    /// Where the policy comes from.
    Policy,
}

/// How a model is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The time-to-live of holds that are given none.
    pub hold_ttl_micros: Option<i64>,
    /// How many holds are kept under an id at most, open and remembered ones.
    pub holds_max: usize,
    /// How long a settled hold is remembered.
    pub remember_micros: i64,
    /// How old a receipt may be to be refunded.
    pub refund_within_micros: i64,
    /// Whether checks pass while something is degraded.
    pub check_open: bool,
    /// Whether records are counted while something is degraded.
    pub record_open: bool,
    /// Whether charges and reservations pass while something is degraded.
    pub reserve_open: bool,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: i64 = 86_400_000_000;
        Self {
            hold_ttl_micros: None,
            holds_max: 1_000_000,
            remember_micros: DAY,
            refund_within_micros: 30 * DAY,
            check_open: true,
            record_open: true,
            reserve_open: false,
        }
    }
}

/// What was charged, from [`Model::record`](crate::Model::record) or [`Model::commit`](crate::Model::commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId(pub u64);

/// A cost that was counted after the fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// For a refund.
    pub receipt: ReceiptId,
    /// The budgets that are over with it.
    pub overage: Vec<Overage>,
    /// Whether something was degraded.
    pub degraded: bool,
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
    /// The reservation was committed with another actual; or for an id: it is of another scope or cost.
    Conflict,
    /// The reservation was committed, or for an id: it was settled, or has expired.
    AlreadySettled,
    /// The reservation was released.
    AlreadyReleased,
    /// The reservation's time-to-live ran out.
    Expired,
    /// The reservation has no time-to-live.
    NoTimeToLive,
    /// So many holds are kept, as many as may be.
    TooManyHolds(usize),
    /// Something is degraded, and the operation closed for that reason.
    Degraded(Component),
    /// More was asked for than is there.
    TooMuch {
        /// Of which resource.
        resource: String,
        /// How much of it is held, or was charged.
        there: u64,
    },
    /// The receipt was refunded before.
    Refunded,
    /// The receipt is too old for a refund.
    TooOld,
}

/// A reservation that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// For a refund.
    pub receipt: ReceiptId,
    /// Whether this repeats an earlier commit and changed nothing.
    pub replayed: bool,
    /// Whether a window that it changed had ended, or the hold had expired.
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
