//! Why a workflow did not begin, or go on.

use std::fmt;

use crate::refusal::Refusal;
use crate::scope::{ChargeError, Ended};
use crate::subject::{Subject, SubjectError};

/// Why no workflow began. No place was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkflowError {
    /// A workflow with this id is active.
    Active {
        /// The workflow, as a subject of the kind `workflow`.
        workflow: Subject,
    },
    /// The quota has no place, or there is something wrong with the scope or the resources of the spec.
    Charge(ChargeError),
    /// The text cannot be an id: it is empty, or longer than [`SUBJECT_ID_BYTES_MAX`](crate::SUBJECT_ID_BYTES_MAX).
    Id(SubjectError),
    /// A limit of the spec is larger than a budget can hold.
    Cap {
        /// The largest.
        max: u64,
    },
}

impl WorkflowError {
    /// The refusal, if the quota had no place: it says how many there are, and when they come back.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Charge(error) => error.refusal(),
            _ => None,
        }
    }
}

impl fmt::Display for WorkflowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { workflow } if f.alternate() => write!(f, "the workflow {:?} is active", workflow.id()),
            Self::Active { workflow } => write!(f, "{workflow:?} is active"),
            Self::Charge(error) => error.fmt(f),
            Self::Id(error) => error.fmt(f),
            Self::Cap { max } => write!(f, "a limit of the workflow is larger than {max}"),
        }
    }
}

impl std::error::Error for WorkflowError {}

impl From<ChargeError> for WorkflowError {
    fn from(error: ChargeError) -> Self {
        Self::Charge(error)
    }
}

/// What a workflow counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Its steps.
    Steps,
    /// Calls of this tool.
    Tool(Box<str>),
    /// Calls of the tools that it does not name.
    OtherTools,
}

/// Why a step was not taken, or a tool not called. Nothing was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepError {
    /// The workflow has ended, or one that it was begun in.
    Ended(Ended),
    /// The workflow's own limit is reached.
    Limit {
        /// Which one.
        of: Counted,
        /// How many were taken.
        current: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The spec neither names the tool nor admits others.
    UnknownTool {
        /// The tool.
        tool: Box<str>,
        /// The tools that the spec names.
        known: Vec<Box<str>>,
    },
    /// Another budget has no room, or the policy in force does not know the scope.
    Charge(ChargeError),
}

impl StepError {
    /// The refusal, if another budget than the workflow's own had no room.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Charge(error) => error.refusal(),
            _ => None,
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ended) => ended.fmt(f),
            Self::Limit { of, current, limit } => match of {
                Counted::Steps => write!(f, "{current} of {limit} steps of the workflow have been taken"),
                Counted::Tool(tool) => write!(f, "{current} of {limit} calls of the tool {tool:?} have been made"),
                Counted::OtherTools => write!(f, "{current} of {limit} calls of other tools have been made"),
            },
            Self::UnknownTool { tool, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(f, "the tool {tool:?} is not one of the workflow; it has: {known}")
            }
            Self::Charge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StepError {}
