//! The bars that this crate set itself, each with the figure of this run.

use serde::Serialize;

use crate::contender::Group;
use crate::contenders::{ours, peer, yardstick};
use crate::measure::Measured;
use crate::memory::Weighed;
use crate::statistics::Spread;
use crate::stress::Stressed;

/// A bar and what this run says of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) operation: String,
    /// What has to be reached.
    pub(crate) target: String,
    /// What would be better still.
    pub(crate) stretch: Option<String>,
    /// Absent where what it needs was not run.
    pub(crate) figure: Option<String>,
    pub(crate) met: Option<bool>,
}

/// Against what an operation of ours is held.
#[derive(Clone, Copy)]
enum Against {
    /// The bare compare-and-swap just before; at most so many times as long.
    Cas(f64),
    /// Another contender of the same round; at most so many times as long.
    AtMost(f64, &'static str),
    /// Another contender of the same round; at least so many times as fast.
    Faster(f64, &'static str),
}

struct Speed {
    operation: &'static str,
    group: Group,
    ours: &'static str,
    against: Against,
    stretch: Option<f64>,
    threads: &'static [usize],
}

/// A bar on one and on two threads.
const BOTH: &[usize] = &[1, 2];

fn speeds() -> Vec<Speed> {
    use Against::{AtMost, Cas, Faster};
    use Group::{Direct, Keys1k, Keys1m, Levels, Refusal, Settle, SettleKeys, SettleLevels};
    let speed =
        |operation, group, ours, against, stretch, threads| Speed { operation, group, ours, against, stretch, threads };
    vec![
        speed("handle, one budget, ticking clock: try_charge", Direct, ours::TICKING, Cas(2.2), Some(1.5), BOTH),
        speed("the same, clock read per call", Direct, ours::READING, Cas(5.0), Some(4.2), BOTH),
        speed("refusal, day", Refusal, ours::TICKING, Cas(4.0), Some(2.0), &[1]),
        speed("refusal, lifetime", Refusal, ours::LIFETIME, Cas(4.0), Some(2.0), &[1]),
        speed("reserve + commit, one budget, amounts differ", Settle, ours::TICKING, Cas(5.0), Some(2.8), BOTH),
        speed("by key, 1,000 keys, Zipf", Keys1k, ours::BY_KEY, AtMost(1.3, yardstick::DASHMAP), Some(0.9), BOTH),
        speed("by key, 1,000,000 keys", Keys1m, ours::BY_KEY, AtMost(1.2, yardstick::DASHMAP), Some(0.75), BOTH),
        speed("governor direct (check_n)", Direct, ours::TICKING, Faster(3.0, peer::GOVERNOR_CHECK_N), None, BOTH),
        speed(
            "governor direct (check, its shortest)",
            Direct,
            ours::TICKING,
            Faster(3.0, peer::GOVERNOR_CHECK),
            None,
            BOTH,
        ),
        speed("governor keyed", Keys1k, ours::BY_KEY, Faster(2.0, peer::GOVERNOR_KEYED), None, BOTH),
        speed("HeliosDB's way, direct", Direct, ours::TICKING, Faster(10.0, peer::HELIOS), None, BOTH),
        speed("HeliosDB's way, keyed", Keys1k, ours::BY_KEY, Faster(4.0, peer::HELIOS_BY_KEY), None, BOTH),
        speed(
            "limitador reserve + commit",
            Settle,
            ours::TICKING,
            Faster(100.0, peer::LIMITADOR_RESERVE),
            Some(1000.0),
            BOTH,
        ),
        speed(
            "limitador reserve + commit, by key",
            SettleKeys,
            ours::SCOPE,
            Faster(100.0, peer::LIMITADOR_RESERVE),
            Some(1000.0),
            BOTH,
        ),
        speed("three levels: try_charge", Levels, ours::LEVELS, Cas(6.0), Some(3.0), &[1]),
        speed("three levels: try_charge, user and total shared", Levels, ours::LEVELS, Cas(8.0), Some(4.0), &[2]),
        speed(
            "three levels: against one global mutex",
            Levels,
            ours::LEVELS,
            Faster(1.0, yardstick::GLOBAL_MUTEX),
            None,
            &[2],
        ),
        speed("three levels: reserve + commit", SettleLevels, ours::LEVELS, Cas(12.0), Some(6.5), &[1]),
        speed(
            "three levels: reserve + commit, user and total shared",
            SettleLevels,
            ours::LEVELS,
            Cas(16.0),
            None,
            &[2],
        ),
        #[cfg(feature = "persist")]
        speed(
            "journal, synced every second: handle, try_charge",
            Direct,
            ours::JOURNAL,
            AtMost(1.3, ours::TICKING),
            None,
            BOTH,
        ),
    ]
}

/// All bars that need no journal.
pub(crate) fn judge(measured: &[Measured], weighed: &[Weighed], stressed: &[Stressed]) -> Vec<Bar> {
    let speeds = speeds();
    let mut bars: Vec<Bar> = speeds
        .iter()
        .flat_map(|speed| speed.threads.iter().map(|threads| judge_speed(speed, *threads, measured)))
        .collect();
    bars.extend(judge_memory(weighed));
    bars.push(judge_stress(stressed));
    bars
}

fn judge_speed(speed: &Speed, threads: usize, measured: &[Measured]) -> Bar {
    let samples = |name: &str| {
        let row = |row: &&Measured| row.group == speed.group && row.threads == threads && row.spec.name == name;
        measured.iter().find(row).and_then(Measured::samples)
    };
    let ours = samples(speed.ours);
    let ratio = match speed.against {
        Against::Cas(_) => ours.map(|ours| Spread::of_ratios(&ours.nanos, &ours.cas_nanos)),
        Against::AtMost(_, other) => {
            ours.zip(samples(other)).map(|(ours, other)| Spread::of_ratios(&ours.nanos, &other.nanos))
        }
        Against::Faster(_, other) => {
            ours.zip(samples(other)).map(|(ours, other)| Spread::of_ratios(&other.nanos, &ours.nanos))
        }
    };
    let ratio = ratio.map(|ratio| ratio.median);
    let words = |value: f64| match speed.against {
        Against::Cas(_) => format!("≤ {value}× CAS"),
        Against::AtMost(_, other) => format!("≤ {value}× {other}"),
        Against::Faster(..) if value <= 1.0 => "faster".to_owned(),
        Against::Faster(..) => format!("≥ {value}× faster"),
    };
    let (limit, met) = match speed.against {
        Against::Cas(limit) | Against::AtMost(limit, _) => (limit, ratio.map(|ratio| ratio <= limit)),
        Against::Faster(limit, _) => (limit, ratio.map(|ratio| ratio >= limit)),
    };
    let plural = if threads == 1 { "" } else { "s" };
    Bar {
        operation: format!("{}, {threads} thread{plural}", speed.operation),
        target: words(limit),
        stretch: speed.stretch.map(|stretch| format!("{stretch}×")),
        figure: ratio.map(|ratio| format!("{ratio:.2}×")),
        met,
    }
}

fn judge_memory(weighed: &[Weighed]) -> [Bar; 2] {
    let bytes = |name| weighed.iter().find(|weighed| weighed.spec.name == name)?.bytes.as_ref().ok().copied();
    let one = bytes(ours::BY_KEY);
    let more = one.zip(bytes(ours::THREE_LIMITS)).map(|(one, three)| (three - one) / 2.0);
    let bar = |operation: &str, limit: f64, stretch: u32, bytes: Option<f64>| Bar {
        operation: operation.to_owned(),
        target: format!("≤ {limit} B"),
        stretch: Some(format!("{stretch} B")),
        figure: bytes.map(|bytes| format!("{bytes:.0} B")),
        met: bytes.map(|bytes| bytes <= limit),
    };
    [
        bar("memory per subject, 30-byte key, one limit", 256.0, 110, one),
        bar("memory per subject, each more limit", 48.0, 24, more),
    ]
}

/// How many operations the bar asks for.
const STRESS_CALLS: u64 = 1_000_000_000;

fn judge_stress(stressed: &[Stressed]) -> Bar {
    let ours = stressed.iter().filter(|row| row.spec.is_ours());
    let found: Vec<_> = ours.filter_map(|row| row.outcome.as_ref().ok()).collect();
    let sum = |value: fn(&crate::stress::Found) -> u64| found.iter().map(|found| value(found)).sum::<u64>();
    let (calls, over, refused) =
        (sum(|found| found.calls), sum(|found| found.units_over), sum(|found| found.falsely_refused));
    let figure = format!("{over} over-admitted, {refused} falsely refused in {:.1e} calls", calls as f64);
    // Fewer calls than the bar asks for can fail it, and cannot meet it.
    let met = match (over + refused, calls) {
        (1.., _) => Some(false),
        (0, STRESS_CALLS..) => Some(true),
        (0, _) => None,
    };
    Bar {
        operation: "correctness under stress".to_owned(),
        target: "1e9 calls: 0 over-admitted, 0 falsely refused".to_owned(),
        stretch: None,
        figure: (!found.is_empty()).then_some(figure),
        met,
    }
}
