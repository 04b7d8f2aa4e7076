//! What is wrong with a policy, and where.

use std::fmt;

use crate::amount::{AmountError, Unit};
use crate::subject::{NAME_RULE, SubjectError, is_name};
use crate::window::{Window, WindowError, ZoneError};

/// A fault and where it is in the model, from which a reader finds the line.
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) cause: PolicyCause,
}

impl Fault {
    pub(super) fn at(place: Place, cause: PolicyCause) -> Self {
        Self { place, cause }
    }
}

pub(super) enum Place {
    Resource(Box<str>),
    Kind(usize),
    Group { name: Box<str>, member: Option<usize> },
    Exempt(usize),
    ExemptGroup(usize),
    Limit { index: usize, field: &'static str, entry: Option<Box<str>> },
    Reset { index: usize, field: &'static str },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(name) => write!(f, "resources.{}", key(name)),
            Self::Kind(index) => write!(f, "kinds[{index}]"),
            Self::Group { name, member: None } => write!(f, "groups.{}", key(name)),
            Self::Group { name, member: Some(index) } => write!(f, "groups.{}[{index}]", key(name)),
            Self::Exempt(index) => write!(f, "exempt[{index}]"),
            Self::ExemptGroup(index) => write!(f, "exempt_groups[{index}]"),
            Self::Limit { index, field, entry: None } => write!(f, "limits[{index}].{field}"),
            Self::Limit { index, field, entry: Some(entry) } => write!(f, "limits[{index}].{field}.{}", key(entry)),
            Self::Reset { index, field } => write!(f, "resets[{index}].{field}"),
        }
    }
}

/// A key as it is written in a path: bare where it can be, quoted and escaped where not.
pub(super) fn key(name: &str) -> String {
    if is_name(name) && !name.contains('.') { name.to_owned() } else { format!("{name:?}") }
}

/// A policy that is refused: the line (of a text), the key and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    pub(super) line: Option<usize>,
    pub(super) key: Box<str>,
    pub(super) cause: PolicyCause,
}

impl PolicyError {
    /// The line of the text, counted from 1; `None` for a policy from code.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key, such as `limits[2].max`; empty for the text as a whole.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong.
    pub fn cause(&self) -> &PolicyCause {
        &self.cause
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.cause)
    }
}

impl std::error::Error for PolicyError {}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyCause {
    /// The text is not TOML or JSON.
    Syntax(Box<str>),
    /// A key that does not exist here.
    UnknownKey {
        /// The key.
        key: Box<str>,
        /// The keys that do.
        known: &'static [&'static str],
    },
    /// A key that must be there is missing.
    Missing(&'static str),
    /// A value of another type, or none of the choices.
    Expected {
        /// What is wanted.
        expected: &'static str,
        /// What is there.
        found: Box<str>,
    },
    /// A name that is empty, too long, or holds other than plain characters.
    Name(Box<str>),
    /// The same name twice.
    Duplicate(Box<str>),
    /// A limit on a resource that the policy does not declare.
    UndeclaredResource(Box<str>),
    /// An unknown window, or a setting that the window does not have.
    Window(WindowError),
    /// An amount that cannot be read.
    Amount(AmountError),
    /// A cap beyond what a budget of the window can hold.
    MaxTooLarge {
        /// The limit's window.
        window: Window,
        /// The resource's unit.
        unit: Unit,
        /// The largest cap, in amount units.
        cap_max: u64,
    },
    /// A subject that cannot be read.
    Subject(SubjectError),
    /// An entry for a subject of another kind than the limit's.
    WrongKind {
        /// The entry.
        subject: Box<str>,
        /// The limit's kind.
        kind: Box<str>,
    },
    /// An exempt subject of a kind that is neither declared nor limited.
    UnknownKind(Box<str>),
    /// A paid reset of, or one that lowers, a limit that the policy does not have.
    UnknownLimit {
        /// The id.
        limit: Box<str>,
        /// The ids that there are.
        known: Vec<Box<str>>,
    },
    /// A paid reset that lowers a limit which does not contain the one that is reset.
    CannotLower {
        /// The limit that is reset.
        limit: Box<str>,
        /// The limit that should be lowered.
        lowers: Box<str>,
        /// What is in the way.
        why: &'static str,
    },
    /// A paid reset that is paid in a resource on which there is no hard limit: it would be free.
    NothingPays(Box<str>),
    /// A warning percentage outside 1 to 100.
    Percent(Box<str>),
    /// A time zone that does not exist, or one other than UTC without the feature `time-zones`.
    TimeZone(ZoneError),
}

impl fmt::Display for PolicyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => f.write_str(text),
            Self::UnknownKey { key, known } => {
                write!(f, "the key {key:?} does not exist here; there is {}", known.join(", "))
            }
            Self::Missing(key) => write!(f, "the key `{key}` is missing"),
            Self::Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Name(name) => write!(f, "{name:?} cannot be a name: {NAME_RULE}"),
            Self::Duplicate(name) => write!(f, "{name:?} is there twice"),
            Self::UndeclaredResource(name) => write!(f, "the resource {name:?} is not declared"),
            Self::Window(error) => error.fmt(f),
            Self::Amount(error) => error.fmt(f),
            Self::MaxTooLarge { window, unit, cap_max } => {
                let unit_name = if *unit == Unit::Usd { " usd" } else { "" };
                write!(f, "a budget with a {window} window holds at most {}{unit_name}", unit.format(*cap_max))
            }
            Self::Subject(error) => error.fmt(f),
            Self::WrongKind { subject, kind } => write!(f, "{subject:?} is not of the limit's kind, {kind:?}"),
            Self::UnknownKind(kind) => write!(f, "the kind of subject {kind:?} is neither declared nor limited"),
            Self::UnknownLimit { limit, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(f, "there is no limit {limit:?}; known: {known}")
            }
            Self::CannotLower { limit, lowers, why } => {
                write!(f, "a reset of {limit} cannot lower {lowers}: {why}")
            }
            Self::NothingPays(resource) => {
                write!(f, "no hard limit is on {resource:?}: a reset paid in it would be free")
            }
            Self::Percent(found) => write!(f, "a warning is a percentage from 1 to 100, not {found}"),
            Self::TimeZone(error) => error.fmt(f),
        }
    }
}
