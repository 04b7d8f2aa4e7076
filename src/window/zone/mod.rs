//! Time zones: what a local clock shows at an instant, and when it first shows a time.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "time-zones")]
#[path = "iana.rs"]
mod rules;
#[cfg(not(feature = "time-zones"))]
#[path = "absent.rs"]
mod rules;

use rules::Rules;

/// A time zone of the IANA database, such as `Europe/Berlin`.
///
/// Zones other than UTC need the feature `time-zones`. Their rules come with the crate that it brings in (jiff's bundled copy of the
/// database), so that they are the same on every machine; rules that change come with an update of that crate. A zone is a small
/// value to copy. The process keeps the rules of every zone it has named, once each, until it ends.
///
/// ```
/// use encumber::Zone;
/// assert_eq!(Zone::utc(), "UTC".parse()?);
/// # #[cfg(feature = "time-zones")]
/// assert_eq!(Zone::new("europe/berlin")?.name(), "Europe/Berlin");
/// assert!(Zone::new("Europe/Berln").is_err());
/// # Ok::<(), encumber::ZoneError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Zone {
    /// None: UTC.
    rules: Option<&'static Rules>,
}

impl Zone {
    /// Universal time, the zone of every window that names none.
    pub const fn utc() -> Self {
        Self { rules: None }
    }

    /// The zone with this name, in any case. `UTC` and `Etc/UTC` are [`Zone::utc`].
    ///
    /// # Errors
    /// When the database has no such zone, or for any but UTC without the feature `time-zones`.
    pub fn new(name: &str) -> Result<Self, ZoneError> {
        if ["UTC", "Etc/UTC"].iter().any(|utc| name.eq_ignore_ascii_case(utc)) {
            return Ok(Self::utc());
        }
        rules::find(name).map(|rules| Self { rules: Some(rules) })
    }

    /// The name, spelled as in the database.
    pub fn name(&self) -> &str {
        self.rules.map_or("UTC", Rules::name)
    }

    pub(super) const fn is_utc(self) -> bool {
        self.rules.is_none()
    }

    /// What the local clock shows at an instant; both in seconds, the clock's as if it were UTC.
    pub(super) fn shown_at(self, instant: i64) -> i64 {
        instant + self.rules.map_or(0, |rules| rules.offset_at(instant))
    }

    /// The first instant at which the local clock shows `shown` or later; both in seconds, the clock's as if it were UTC.
    pub(super) fn first_showing(self, shown: i64) -> i64 {
        self.rules.map_or(shown, |rules| rules.first_showing(shown))
    }

    /// Where the local clock left out a whole day: the times, as it shows them, that it jumped away from.
    pub(super) fn skipped_days(self) -> &'static [i64] {
        self.rules.map_or(&[], Rules::skipped_days)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name(), f)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// A time zone that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneError {
    /// The database has no zone of this name.
    Unknown(Box<str>),
    /// The crate was built without its feature `time-zones`.
    NotBuiltIn(Box<str>),
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(f, "{name:?} is not a time zone: write a name of the IANA database such as \"Europe/Berlin\"")
            }
            Self::NotBuiltIn(name) => {
                write!(
                    f,
                    "the time zone {name:?} needs the crate's feature \"time-zones\"; without it there is only \"UTC\""
                )
            }
        }
    }
}

impl std::error::Error for ZoneError {}

/// A name as errors quote it.
fn quoted(name: &str) -> Box<str> {
    name.chars().take(64).collect()
}
