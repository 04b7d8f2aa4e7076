//! The rules of zones: jiff's bundled copy of the IANA database, each zone kept once.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use parking_lot::Mutex;

use super::{ZoneError, quoted};

const SECONDS_PER_DAY: i64 = 86_400;
/// No clock is further from UTC than this.
const OFFSET_MAX: i64 = 26 * 3_600;
/// 9000-02-01: what is in force then stays in force, so that instants beyond what jiff can hold have a local time too.
const RULES_END: i64 = 221_848_070_400;
/// 2100-01-01: a place that changes over to the other side of the date line after this would have to be in the database today.
const SKIPPED_DAYS_END: i64 = 4_102_444_800;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
/// Every zone that was ever asked for: at most as many as the database has names.
static KNOWN: Mutex<Vec<&'static Rules>> = Mutex::new(Vec::new());

pub(super) struct Rules {
    name: Box<str>,
    zone: TimeZone,
    skipped_days: Vec<i64>,
}

pub(super) fn find(name: &str) -> Result<&'static Rules, ZoneError> {
    let error = || ZoneError::Unknown(quoted(name));
    let zone = DATABASE.get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(error)?;
    let name = zone.iana_name().ok_or_else(error)?;
    let mut known = KNOWN.lock();
    if let Some(rules) = known.iter().find(|rules| *rules.name == *name) {
        return Ok(rules);
    }
    let rules: &'static Rules = Box::leak(Box::new(Rules::new(name.into(), zone.clone())));
    known.push(rules);
    Ok(rules)
}

impl Rules {
    fn new(name: Box<str>, zone: TimeZone) -> Self {
        let mut skipped_days = Vec::new();
        let mut before = zone.to_offset(Timestamp::MIN).seconds();
        for transition in zone.following(Timestamp::MIN) {
            let (instant, after) = (transition.timestamp().as_second(), transition.offset().seconds());
            if instant > SKIPPED_DAYS_END {
                break;
            }
            if i64::from(after - before) >= SECONDS_PER_DAY {
                skipped_days.push(instant + i64::from(before));
            }
            before = after;
        }
        Self { name, zone, skipped_days }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn offset_at(&self, instant: i64) -> i64 {
        self.zone.to_offset(held(instant)).seconds().into()
    }

    /// From an instant at which no clock shows it yet, on through the stretches between changes of the clock.
    pub(super) fn first_showing(&self, shown: i64) -> i64 {
        let mut since = shown - OFFSET_MAX;
        let mut offset = self.offset_at(since);
        for transition in self.zone.following(held(since)) {
            let change = transition.timestamp().as_second();
            if shown - offset < change || change > RULES_END {
                break;
            }
            (since, offset) = (change, transition.offset().seconds().into());
        }
        since.max(shown - offset)
    }

    pub(super) fn skipped_days(&self) -> &[i64] {
        &self.skipped_days
    }
}

/// An instant in seconds, clamped to where rules change.
fn held(instant: i64) -> Timestamp {
    Timestamp::from_second(instant.clamp(-RULES_END, RULES_END)).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Rules {}

impl Hash for Rules {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
