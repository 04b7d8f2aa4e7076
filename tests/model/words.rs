//! What both sides say, in the same words.

use encumber as engine;
use encumber_model as model;

/// A budget: limit and subject.
pub(super) type Budget = (String, String);

/// The answer to something asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The soft budgets that are over, and the shadow budgets that would have refused.
    Admitted {
        over: Vec<Budget>,
        would_refuse: Vec<Budget>,
        degraded: bool,
    },
    Refused(Vec<Row>),
    UnknownKind(String),
    UnknownResource,
    TooManyHolds(u64),
    Degraded(model::Component),
    /// More was asked for than is held or was charged: this much.
    TooMuch(u64),
    /// A reservation that is settled already.
    Settled(&'static str),
}

/// A budget that had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) budget: Budget,
    pub(super) requested: u64,
    pub(super) max: u64,
    pub(super) used: u64,
    pub(super) held: u64,
    pub(super) remaining: u64,
    pub(super) resets_at: Option<i64>,
    pub(super) retry: model::Retry,
}

/// A budget's usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) budget: Budget,
    pub(super) max: Option<u64>,
    pub(super) used: u64,
    pub(super) held: u64,
    pub(super) remaining: Option<u64>,
    pub(super) bounds: Option<(i64, i64)>,
    pub(super) status: model::Status,
}

/// What a settlement or a record charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) charged: Vec<(String, u64)>,
    pub(super) overages: Vec<(Budget, u64)>,
    pub(super) late: bool,
    pub(super) degraded: bool,
}

/// The engine's admission; `budgets` are those of the scope, by position.
pub(super) fn admitted(admission: engine::Admission, budgets: &[Budget]) -> Answer {
    let named = |positions: &mut dyn Iterator<Item = usize>| positions.map(|index| budgets[index].clone()).collect();
    let degraded = admission.is_degraded();
    Answer::Admitted {
        over: named(&mut admission.over()),
        would_refuse: named(&mut admission.would_refuse()),
        degraded,
    }
}

pub(super) fn charge_error(error: &engine::ChargeError) -> Answer {
    match error {
        engine::ChargeError::Refused(refusal) => Answer::Refused(refusal.violations().map(row).collect()),
        engine::ChargeError::UnknownResource(_) => Answer::UnknownResource,
        engine::ChargeError::Scope(error) => scope_error(error),
        engine::ChargeError::TooManyHolds { max } => Answer::TooManyHolds(*max),
        engine::ChargeError::Degraded(what) => Answer::Degraded(component(*what)),
        other => panic!("an error that is not compared: {other}"),
    }
}

pub(super) fn record_error(error: &engine::RecordError) -> Answer {
    match error {
        engine::RecordError::UnknownResource(_) => Answer::UnknownResource,
        engine::RecordError::Scope(error) => scope_error(error),
        engine::RecordError::Degraded(what) => Answer::Degraded(component(*what)),
        other => panic!("an error that is not compared: {other}"),
    }
}

pub(super) fn reserve_error(error: &engine::ReserveError) -> Answer {
    match error {
        engine::ReserveError::Charge(error) => charge_error(error),
        engine::ReserveError::Conflict => Answer::Settled("conflict"),
        engine::ReserveError::Settled => Answer::Settled("committed"),
        other => panic!("an error that is not compared: {other}"),
    }
}

pub(super) fn split_error(error: engine::SplitError) -> Answer {
    match error {
        engine::SplitError::TooMuch { held, .. } => Answer::TooMuch(held),
        engine::SplitError::Settled => Answer::Settled("settled"),
        other => panic!("an error that is not compared: {other}"),
    }
}

pub(super) fn refund_error(error: engine::RefundError) -> Answer {
    match error {
        engine::RefundError::TooMuch { charged, .. } => Answer::TooMuch(charged),
        engine::RefundError::Refunded => Answer::Settled("refunded"),
        engine::RefundError::TooOld => Answer::Settled("too old"),
        other => panic!("an error that is not compared: {other}"),
    }
}

fn component(component: engine::Component) -> model::Component {
    match component {
        engine::Component::Store => model::Component::Store,
        engine::Component::Policy => model::Component::Policy,
        other => panic!("a component that is not compared: {other}"),
    }
}

pub(super) fn scope_error(error: &engine::ScopeError) -> Answer {
    match error {
        engine::ScopeError::UnknownKind { kind, .. } => Answer::UnknownKind(kind.to_string()),
        other => panic!("an error that is not compared: {other}"),
    }
}

pub(super) fn extend_error(error: &engine::ExtendError) -> Answer {
    match error {
        engine::ExtendError::Charge(error) => charge_error(error),
        engine::ExtendError::Settled => Answer::Settled("settled"),
        other => panic!("an error that is not compared: {other}"),
    }
}

pub(super) fn settle_error(error: engine::SettleError) -> Answer {
    match error {
        engine::SettleError::Conflict => Answer::Settled("conflict"),
        engine::SettleError::Committed => Answer::Settled("committed"),
        engine::SettleError::Released => Answer::Settled("released"),
        engine::SettleError::UnknownResource => Answer::UnknownResource,
        engine::SettleError::Expired => Answer::Settled("expired"),
        engine::SettleError::NoTimeToLive => Answer::Settled("no time-to-live"),
        other => panic!("an error that is not compared: {other}"),
    }
}

fn row(violation: &engine::Violation) -> Row {
    Row {
        budget: (violation.limit.to_string(), violation.subject.to_string()),
        requested: violation.requested,
        max: violation.max,
        used: violation.used,
        held: violation.held,
        remaining: violation.remaining,
        resets_at: violation.resets_at.map(engine::Timestamp::as_micros),
        retry: match violation.retry {
            engine::Retry::At(then) => model::Retry::At(then.as_micros()),
            engine::Retry::Unknown => model::Retry::Unknown,
            engine::Retry::Never => model::Retry::Never,
        },
    }
}

pub(super) fn usage(usage: &engine::BudgetUsage) -> Usage {
    Usage {
        budget: (usage.limit.to_string(), usage.subject.to_string()),
        max: usage.cap.max(),
        used: usage.used,
        held: usage.held,
        remaining: usage.remaining().max(),
        bounds: usage.bounds.map(|bounds| (bounds.start.as_micros(), bounds.end.as_micros())),
        status: match usage.status {
            engine::Status::Ok => model::Status::Ok,
            engine::Status::Warning => model::Status::Warning,
            engine::Status::Exhausted => model::Status::Exhausted,
            engine::Status::Over => model::Status::Over,
        },
    }
}

/// The engine's receipt; `name` tells a resource's name.
pub(super) fn receipt(receipt: &engine::Receipt, name: impl Fn(engine::Resource) -> String) -> Receipt {
    let mut charged: Vec<_> = receipt.charged().iter().map(|(resource, amount)| (name(resource), amount)).collect();
    charged.sort();
    let overage = |over: &engine::Overage| ((over.limit.to_string(), over.subject.to_string()), over.above);
    let overages = receipt.overages().iter().map(overage).collect();
    Receipt { charged, overages, late: receipt.is_late(), degraded: receipt.is_degraded() }
}

pub(super) fn model_admitted(admission: &model::Admission) -> Answer {
    Answer::Admitted {
        over: admission.over.iter().map(|over| (over.limit.clone(), over.subject.clone())).collect(),
        would_refuse: admission.shadow.iter().map(|shadow| (shadow.limit.clone(), shadow.subject.clone())).collect(),
        degraded: admission.degraded,
    }
}

pub(super) fn model_error(error: &model::Error) -> Answer {
    match error {
        model::Error::Refused(refusal) => Answer::Refused(refusal.violations.iter().map(model_row).collect()),
        model::Error::UnknownKind(kind) => Answer::UnknownKind(kind.clone()),
        model::Error::UnknownResource(_) => Answer::UnknownResource,
        model::Error::Conflict => Answer::Settled("conflict"),
        model::Error::AlreadySettled => Answer::Settled("committed"),
        model::Error::AlreadyReleased => Answer::Settled("released"),
        model::Error::Expired => Answer::Settled("expired"),
        model::Error::NoTimeToLive => Answer::Settled("no time-to-live"),
        model::Error::TooManyHolds(max) => Answer::TooManyHolds(*max as u64),
        model::Error::Degraded(component) => Answer::Degraded(*component),
        model::Error::TooMuch { there, .. } => Answer::TooMuch(*there),
        model::Error::Refunded => Answer::Settled("refunded"),
        model::Error::TooOld => Answer::Settled("too old"),
        model::Error::UnknownHold => panic!("the model does not know a hold that it made"),
    }
}

fn model_row(violation: &model::Violation) -> Row {
    Row {
        budget: (violation.limit.clone(), violation.subject.clone()),
        requested: violation.requested,
        max: violation.max,
        used: violation.used,
        held: violation.held,
        remaining: violation.remaining,
        resets_at: violation.window_end,
        retry: violation.retry,
    }
}

pub(super) fn model_usage(usage: model::Usage) -> Usage {
    Usage {
        budget: (usage.limit, usage.subject),
        max: usage.max,
        used: usage.used,
        held: usage.held,
        remaining: usage.remaining,
        bounds: usage.window_start.zip(usage.window_end),
        status: usage.status,
    }
}

pub(super) fn model_overages(overages: &[model::Overage]) -> Vec<(Budget, u64)> {
    overages.iter().map(|over| ((over.limit.clone(), over.subject.clone()), over.excess)).collect()
}

pub(super) fn model_receipt(settled: &model::Settled) -> Receipt {
    let (charged, overages) = (settled.amounts.clone(), model_overages(&settled.overage));
    Receipt { charged, overages, late: settled.late, degraded: false }
}
