//! The names of the log's files.

use std::fmt;

/// What a file of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Journal,
    Snapshot,
}

/// A file of ours. Its `Display` is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    /// Still being written: it counts for nothing.
    pub(crate) is_temporary: bool,
}

pub(crate) const LOCK: &str = "LOCK";
const TEMPORARY: &str = ".tmp";
const DIGITS: usize = 16;
/// What the digits hold.
pub(crate) const NUMBER_MAX: u64 = 10_u64.pow(DIGITS as u32) - 1;

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Journal => "journal-",
            Self::Snapshot => "snapshot-",
        }
    }
}

impl Name {
    pub(crate) fn journal(number: u64) -> Self {
        Self { kind: Kind::Journal, number, is_temporary: false }
    }

    pub(crate) fn snapshot(number: u64) -> Self {
        Self { kind: Kind::Snapshot, number, is_temporary: false }
    }

    pub(crate) fn temporary(self) -> Self {
        Self { is_temporary: true, ..self }
    }

    /// Exactly as we write them: anything else is somebody else's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, is_temporary) = name.strip_suffix(TEMPORARY).map_or((name, false), |stem| (stem, true));
        let of = |kind: Kind| stem.strip_prefix(kind.prefix()).map(|digits| (kind, digits));
        let (kind, digits) = of(Kind::Journal).or_else(|| of(Kind::Snapshot))?;
        let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_number)?;
        Some(Self { kind, number, is_temporary })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.is_temporary { TEMPORARY } else { "" };
        write!(f, "{}{:0DIGITS$}{suffix}", self.kind.prefix(), self.number)
    }
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) journals: Vec<u64>,
    pub(crate) snapshots: Vec<u64>,
    pub(crate) temporary: Vec<Name>,
    pub(crate) foreign: Vec<String>,
}

impl Listing {
    /// Each kind in ascending order.
    pub(crate) fn of(names: Vec<String>) -> Self {
        let mut listing = Self::default();
        for name in names {
            match Name::parse(&name) {
                Some(name) if name.is_temporary => listing.temporary.push(name),
                Some(Name { kind: Kind::Journal, number, .. }) => listing.journals.push(number),
                Some(Name { kind: Kind::Snapshot, number, .. }) => listing.snapshots.push(number),
                None if name == LOCK => {}
                None => listing.foreign.push(name),
            }
        }
        listing.journals.sort_unstable();
        listing.snapshots.sort_unstable();
        listing.temporary.sort_unstable();
        listing.foreign.sort_unstable();
        listing
    }

    /// The one after the highest in use. A temporary file does not use its number: segments are numbered without gaps.
    pub(crate) fn next_number(&self) -> u64 {
        self.journals.iter().chain(&self.snapshots).max().map_or(1, |number| number.saturating_add(1))
    }
}
