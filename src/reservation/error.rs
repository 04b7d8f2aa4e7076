//! Why a hold was not made, extended, split, found or settled.

use std::fmt;

use crate::amount::Resource;
use crate::holds::HoldIdError;
use crate::refusal::Refusal;
use crate::scope::{ChargeError, ScopeError};

/// Why a hold was not settled (again). Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleError {
    /// It was committed with another actual.
    Conflict,
    /// It was committed.
    Committed,
    /// It was released.
    Released,
    /// Its time-to-live ran out before.
    Expired,
    /// It has no time-to-live that could be renewed.
    NoTimeToLive,
    /// The actual names a resource that the policy does not declare.
    UnknownResource,
}

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "the reservation was committed before, with another amount",
            Self::Committed => "the reservation was committed before",
            Self::Released => "the reservation was released before",
            Self::Expired => "the reservation's time-to-live ran out before",
            Self::NoTimeToLive => "the reservation has no time-to-live",
            Self::UnknownResource => {
                "the actual names a resource of another engine, or one that the reservation's policy does not declare"
            }
        })
    }
}

impl std::error::Error for SettleError {}

/// Why a reservation was not extended. It holds what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendError {
    /// The budgets did not admit it.
    Charge(ChargeError),
    /// The reservation has been settled.
    Settled,
}

impl From<ChargeError> for ExtendError {
    fn from(error: ChargeError) -> Self {
        Self::Charge(error)
    }
}

impl fmt::Display for ExtendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge(error) => error.fmt(f),
            Self::Settled => f.write_str("the reservation has been settled"),
        }
    }
}

impl std::error::Error for ExtendError {}

/// Why nothing was split off a reservation. It holds what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// More was asked for than is held.
    TooMuch {
        /// Of which resource.
        resource: Resource,
        /// What is held of it.
        held: u64,
    },
    /// The reservation has been settled.
    Settled,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMuch { held, .. } => {
                write!(f, "more was asked for than the {held} units that the reservation holds")
            }
            Self::Settled => f.write_str("the reservation has been settled"),
        }
    }
}

impl std::error::Error for SplitError {}

/// Why there is no hold under an id of the caller's. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// The budgets did not admit it, or there was something wrong with what was asked.
    Charge(ChargeError),
    /// There is an open hold under the id, of other subjects or another amount.
    Conflict,
    /// The hold under the id has been settled, or has expired. The id is refused until that is forgotten.
    Settled,
    /// The text cannot be an id.
    Id(HoldIdError),
}

impl ReserveError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Charge(error) => error.refusal(),
            _ => None,
        }
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge(error) => error.fmt(f),
            Self::Conflict => {
                f.write_str("there is an open reservation under this id, of other subjects or another amount")
            }
            Self::Settled => f.write_str("the reservation under this id has been settled"),
            Self::Id(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReserveError {}

impl From<ChargeError> for ReserveError {
    fn from(error: ChargeError) -> Self {
        Self::Charge(error)
    }
}

impl From<ScopeError> for ReserveError {
    fn from(error: ScopeError) -> Self {
        Self::Charge(error.into())
    }
}

impl From<HoldIdError> for ReserveError {
    fn from(error: HoldIdError) -> Self {
        Self::Id(error)
    }
}

/// No hold is kept under the id: it was never made, was refused, or has been forgotten. Nothing was charged; what the call took all the
/// same goes through [`Scope::record`](crate::Scope::record).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownHold;

impl fmt::Display for UnknownHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no reservation is kept under this id")
    }
}

impl std::error::Error for UnknownHold {}

/// Why a refund was not made. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefundError {
    /// More was asked for than the receipt's call was charged.
    TooMuch {
        /// Of which resource.
        resource: Resource,
        /// What was charged of it.
        charged: u64,
    },
    /// The receipt has been refunded before.
    Refunded,
    /// The receipt is older than refunds are made for.
    TooOld,
    /// The receipt is of another engine.
    OtherEngine,
}

impl fmt::Display for RefundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMuch { charged, .. } => {
                write!(f, "more was asked back than the {charged} units that were charged")
            }
            Self::Refunded => f.write_str("the receipt has been refunded before"),
            Self::TooOld => f.write_str("the receipt is too old for a refund"),
            Self::OtherEngine => f.write_str("the receipt is of another engine"),
        }
    }
}

impl std::error::Error for RefundError {}
