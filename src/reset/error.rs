//! Why a reset did not come about.

use std::fmt;
use std::sync::Arc;

use super::{Taken, WalletError};
use crate::engine::Component;
use crate::scope::{Ended, ScopeError};

/// Why a reset did not come about. Nothing was reset, and nothing was charged but what [`ResetError::FailedRefundFailed`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetError {
    /// The policy in force has no paid reset, or no limit, of that id.
    Unknown {
        /// The id.
        id: Box<str>,
        /// The ids that there are.
        known: Vec<Box<str>>,
    },
    /// No subject of the scope has a budget of the limit.
    NoBudget {
        /// The limit.
        limit: Box<str>,
    },
    /// Several subjects of the scope have one; a reset is bought for one of them.
    SeveralBudgets {
        /// The limit.
        limit: Box<str>,
    },
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
    /// The reset has no price, or no hard budget of the scope pays: it is switched off.
    Disabled,
    /// The budget is unlimited: there is nothing to buy.
    NoLimit,
    /// The budget has room, or nothing used that a reset could take.
    NotReached {
        /// What is charged.
        charged: u64,
        /// The cap.
        max: u64,
    },
    /// The longer limit is exhausted, or would still be ([`Guard`](crate::Guard)).
    OtherWindowExhausted {
        /// That limit.
        limit: Arc<str>,
    },
    /// There is less than the price.
    InsufficientCredits {
        /// The price.
        price: u64,
        /// What there is; `None` when a wallet of the host's did not say.
        balance: Option<u64>,
    },
    /// It was carried out, and counts in this process, but could not be written down: a restart may not know of it.
    Unwritten {
        /// What was taken.
        taken: Vec<Taken>,
    },
    /// It was bought as often as it may in this window.
    CapReached {
        /// How often that is.
        max: u64,
    },
    /// Another reset of the budget is being paid at this moment.
    Busy,
    /// Something is degraded, and the [`FailurePolicy`](crate::FailurePolicy) closes resets then.
    Degraded(Component),
    /// The workflow or the allowance that the scope belongs to has ended.
    Ended(Ended),
    /// The host's wallet could not be charged.
    Wallet(WalletError),
    /// The host's wallet was charged, the reset could not be carried out any more, and the wallet was refunded.
    FailedRefunded(Box<Self>),
    /// The host's wallet was charged, the reset could not be carried out any more, and the wallet could not be refunded: the subject is owed
    /// the price.
    FailedRefundFailed {
        /// Why there was no reset.
        cause: Box<Self>,
        /// Why there was no refund.
        refund: WalletError,
    },
}

impl ResetError {
    /// The outcome in a word, for answers to clients: `disabled`, `no_limit`, `not_reached`, `other_window_exhausted`,
    /// `insufficient_credits`, `cap_reached`, `busy`, `unwritten`, `unavailable`, `ended`, `failed_refunded`, `failed_refund_failed`; `unknown` when there is no
    /// such reset for the scope.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::NoBudget { .. } | Self::SeveralBudgets { .. } | Self::Scope(_) => "unknown",
            Self::Disabled => "disabled",
            Self::NoLimit => "no_limit",
            Self::NotReached { .. } => "not_reached",
            Self::OtherWindowExhausted { .. } => "other_window_exhausted",
            Self::InsufficientCredits { .. } => "insufficient_credits",
            Self::CapReached { .. } => "cap_reached",
            Self::Unwritten { .. } => "unwritten",
            Self::Busy => "busy",
            Self::Degraded(_) | Self::Wallet(_) => "unavailable",
            Self::Ended(_) => "ended",
            Self::FailedRefunded(_) => "failed_refunded",
            Self::FailedRefundFailed { .. } => "failed_refund_failed",
        }
    }
}

impl fmt::Display for ResetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { id, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(f, "the policy has no {id:?} to reset; known: {known}")
            }
            Self::NoBudget { limit } => write!(f, "no subject of the scope has a budget of {limit}"),
            Self::SeveralBudgets { limit } => write!(f, "several subjects of the scope have a budget of {limit}"),
            Self::Scope(error) => error.fmt(f),
            Self::Disabled => f.write_str("resets are not sold here"),
            Self::NoLimit => f.write_str("the budget is unlimited: there is nothing to reset"),
            Self::NotReached { charged, max } => {
                write!(f, "the budget is not used up, or by open calls alone: {charged} of {max} are charged")
            }
            Self::OtherWindowExhausted { limit } => {
                write!(f, "the limit {limit} is exhausted, and a reset does not help")
            }
            Self::InsufficientCredits { price, balance: Some(balance) } => {
                write!(f, "a reset costs {price}, more than the {balance} there are")
            }
            Self::InsufficientCredits { price, balance: None } => {
                write!(f, "a reset costs {price}, more than there is")
            }
            Self::CapReached { max } => {
                write!(f, "the budget was reset {max} times in this window, as often as it may")
            }
            Self::Unwritten { .. } => {
                f.write_str("the budgets were reset in this process, and that could not be written down")
            }
            Self::Busy => f.write_str("another reset of the budget is being paid"),
            Self::Degraded(component) => component.fmt(f),
            Self::Ended(ended) => ended.fmt(f),
            Self::Wallet(error) => error.fmt(f),
            Self::FailedRefunded(cause) => write!(f, "the reset was paid and refunded: {cause}"),
            Self::FailedRefundFailed { cause, refund } => {
                write!(f, "the reset was paid, but {cause}; it could not be refunded: {refund}")
            }
        }
    }
}

impl std::error::Error for ResetError {}

impl From<Ended> for ResetError {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<ScopeError> for ResetError {
    fn from(error: ScopeError) -> Self {
        Self::Scope(Box::new(error))
    }
}
