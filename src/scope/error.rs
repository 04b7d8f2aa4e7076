//! Why a scope does not exist, or an operation on one did nothing.

use std::fmt;

use super::owner::Ended;
use crate::charge::SEATS_MAX;
use crate::cost::CostError;
use crate::engine::{Component, InForce, UnknownResource};
use crate::holds::Full;
use crate::refusal::Refusal;
use crate::registry::NoRoom;
use crate::subject::SubjectError;

/// Subjects that cannot be a scope. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeError {
    /// A text that is not a subject.
    Subject(SubjectError),
    /// A kind that the policy neither declares nor limits.
    UnknownKind {
        /// The kind.
        kind: Box<str>,
        /// The kinds that are known.
        known: Vec<Box<str>>,
    },
    /// More than 64 budgets apply.
    TooManyBudgets {
        /// How many do.
        budgets: usize,
    },
    /// A subject is new, and the engine keeps as many as it may, all of them in use:
    /// [`EngineBuilder::max_subjects`](crate::EngineBuilder::max_subjects). Those that it has go on.
    TooManySubjects {
        /// How many it may keep.
        max: u64,
    },
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(error) => error.fmt(f),
            Self::UnknownKind { kind, known } => write!(
                f,
                "the kind of subject {kind:?} is neither declared nor limited by the policy; known: {}",
                known.join(", ")
            ),
            Self::TooManyBudgets { budgets } => {
                write!(f, "{budgets} budgets apply to this scope, more than {SEATS_MAX}")
            }
            Self::TooManySubjects { max } => {
                write!(
                    f,
                    "the engine keeps {max} subjects, as many as it may, and all of them have usage or are in use"
                )
            }
        }
    }
}

impl std::error::Error for ScopeError {}

impl From<SubjectError> for ScopeError {
    fn from(error: SubjectError) -> Self {
        Self::Subject(error)
    }
}

/// Why a call was not let through. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChargeError {
    /// A hard budget has no room.
    Refused(Box<Refusal>),
    /// The cost names a resource that the policy in force does not declare.
    UnknownResource(Box<UnknownResource>),
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
    /// The engine keeps as many holds as it may: [`EngineBuilder::max_holds`](crate::EngineBuilder::max_holds).
    TooManyHolds {
        /// How many it may keep.
        max: u64,
    },
    /// Something that the engine depends on is degraded, and the [`FailurePolicy`](crate::FailurePolicy) closes the operation then.
    Degraded(Component),
    /// The workflow or the allowance that the scope belongs to has ended.
    Ended(Ended),
}

impl ChargeError {
    pub(crate) fn unknown_resource(in_force: &InForce) -> Self {
        UnknownResource::handle(in_force).into()
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The refusal, if it is one.
    pub fn into_refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::UnknownResource(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
            Self::TooManyHolds { max } => {
                write!(f, "the engine keeps {max} reservations with an id or a time-to-live, as many as it may")
            }
            Self::Degraded(component) => component.fmt(f),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

impl std::error::Error for ChargeError {}

/// Why a cost was not counted, or a question not answered: the policy in force does not know what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// A resource that the policy in force does not declare.
    UnknownResource(Box<UnknownResource>),
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
    /// Something that the engine depends on is degraded, and the [`FailurePolicy`](crate::FailurePolicy) closes recording then.
    Degraded(Component),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownResource(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
            Self::Degraded(component) => component.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {}

/// Why [`Scope::afford_output`](crate::Scope::afford_output) has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AffordError {
    /// The call cannot be priced.
    Cost(CostError),
    /// The policy in force does not know the scope's subjects.
    Scope(Box<ScopeError>),
}

impl fmt::Display for AffordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AffordError {}

impl From<NoRoom> for ScopeError {
    fn from(NoRoom { max }: NoRoom) -> Self {
        Self::TooManySubjects { max }
    }
}

macro_rules! from {
    ($error:ident, $($variant:ident($cause:ty)),+) => {
        $(impl From<$cause> for $error {
            fn from(cause: $cause) -> Self {
                Self::$variant(cause.into())
            }
        })+
    };
}

from!(ChargeError, UnknownResource(UnknownResource), Scope(ScopeError), Ended(Ended));
from!(RecordError, UnknownResource(UnknownResource), Scope(ScopeError));
from!(AffordError, Cost(CostError), Scope(ScopeError));

impl From<Full> for ChargeError {
    fn from(Full { max }: Full) -> Self {
        Self::TooManyHolds { max }
    }
}

impl From<RecordError> for ChargeError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::UnknownResource(error) => Self::UnknownResource(error),
            RecordError::Scope(error) => Self::Scope(error),
            RecordError::Degraded(component) => Self::Degraded(component),
        }
    }
}
