//! A run as text for people and as JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use comfy_table::Cell;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::{Answers, Row, Tally};
use super::machine::Machine;
use super::settings::{Distribution, Mix, Operation};
use super::tree::Tree;
use super::verify::Unverified;
use crate::render::{grouped, many, right, table};

/// A finished run.
pub(super) struct Report<'a> {
    pub(super) machine: Machine,
    pub(super) tree: &'a Tree,
    pub(super) threads: u16,
    pub(super) fan_out: u32,
    pub(super) distribution: Distribution,
    pub(super) mix: Mix,
    pub(super) by_key: bool,
    pub(super) clock: &'static str,
    pub(super) seed: u64,
    pub(super) sample: u32,
    pub(super) clock_overhead: Duration,
    pub(super) draw_cost: Duration,
    pub(super) set_up: Duration,
    /// Calls per second of each thread.
    pub(super) rates: Vec<f64>,
    /// What part of a processor each thread had, where the system tells.
    pub(super) shares: Option<Vec<f64>>,
    pub(super) tally: Tally,
    pub(super) memory: Memory,
    /// How long the verification took.
    pub(super) verifying: Duration,
    pub(super) unverified: Option<Unverified>,
}

impl Report<'_> {
    /// A processor's time for a call.
    fn running_nanos(&self) -> Option<f64> {
        let running = self.tally.running.filter(|_| self.tally.calls > 0)?;
        Some(running.as_nanos() as f64 / self.tally.calls as f64)
    }
}

/// Resident memory in bytes, where it is known.
#[derive(Serialize)]
pub(super) struct Memory {
    /// Before there was an engine.
    pub(super) start: Option<u64>,
    /// With every subject in the engine.
    pub(super) set_up: Option<u64>,
    /// After the calls, the tallies of this program included.
    pub(super) end: Option<u64>,
    /// Of each subject: its budget, its share of the budgets above, its handle. Of too few subjects it would be mostly the rest.
    pub(super) per_subject: Option<u64>,
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// For people.
pub(super) fn text(report: &Report) -> String {
    let Report { machine, tree, tally, .. } = report;
    let mut text = format!(
        "encumber {} · {} · {} · {} {}\n",
        env!("CARGO_PKG_VERSION"),
        machine.cpu.as_deref().map_or("unknown processor".into(), crate::render::plain),
        many(machine.cores as u64, "core"),
        machine.os,
        machine.arch
    );
    if cfg!(debug_assertions) {
        text.push_str("NOT OPTIMISED: built without --release, the times below mean nothing\n");
    }
    let levels = tree.levels.iter().map(|level| {
        let max = level.max.map_or(String::new(), |max| format!(", max {}", grouped(max.into())));
        format!("{} ({}{max})", level.kind, grouped(level.budgets.into()))
    });
    let _ = write!(
        text,
        "{} · {}, {} · {} · {} clock\nlevels: {}\nmix: {} · seed {}\n\n",
        many(report.threads.into(), "thread"),
        many(tree.subjects().into(), "subject"),
        report.distribution,
        if report.by_key { "by key" } else { "handles" },
        report.clock,
        levels.collect::<Vec<_>>().join(" → "),
        report.mix,
        report.seed,
    );
    let rate: f64 = report.rates.iter().sum();
    let _ = writeln!(
        text,
        "{} in {:.2} s: {} calls/s, by thread {}",
        many(tally.calls, "call"),
        tally.elapsed.as_secs_f64(),
        whole(rate),
        by_thread(&report.rates, whole),
    );
    if let (Some(nanos), Some(shares)) = (report.running_nanos(), &report.shares) {
        let percents = by_thread(shares, |share| format!("{:.0} %", share * 100.0));
        let _ = writeln!(text, "{nanos:.1} ns of a processor's time a call; the threads had {percents} of a processor");
    }
    let _ = writeln!(
        text,
        "to make a call up takes this program {} ns; one call in {} is timed, less the clock's own {} ns\n",
        report.draw_cost.as_nanos(),
        grouped(report.sample.into()),
        report.clock_overhead.as_nanos(),
    );
    let _ = writeln!(text, "{}\n", latencies(tally).trim_fmt());
    let _ = writeln!(text, "{}\n", answers(tally).trim_fmt());
    if let Some(error) = &tally.first_error {
        let _ = writeln!(text, "the first error: {}\n", crate::render::plain(error));
    }
    let Memory { start, set_up, end, per_subject } = &report.memory;
    if let (Some(start), Some(set_up), Some(end)) = (start, set_up, end) {
        let each = per_subject.map_or(String::new(), |bytes| format!("{} bytes each, ", grouped(bytes.into())));
        let _ = writeln!(
            text,
            "resident: {} MB at the start, {} MB with all subjects ({each}made in {:.2} s), {} MB at the end",
            mega(*start),
            mega(*set_up),
            report.set_up.as_secs_f64(),
            mega(*end)
        );
    }
    let budgets = many(tree.budgets(), "budget");
    let _ = match &report.unverified {
        None => writeln!(
            text,
            "verified in {:.2} s: {budgets}, as much used as the calls were told, nothing held",
            report.verifying.as_secs_f64()
        ),
        Some(Unverified { wrong, .. }) => {
            writeln!(text, "NOT VERIFIED: {} of {budgets} are wrong", grouped((*wrong).into()))
        }
    };
    text
}

fn latencies(tally: &Tally) -> comfy_table::Table {
    let mut header = vec!["nanoseconds", "timed"];
    header.extend(PERCENTILES.map(|(name, _)| name));
    header.push("max");
    let mut table = table(&header);
    for (name, times) in timed(tally) {
        let mut row = vec![Cell::new(name), right(grouped(times.len().into()))];
        row.extend(PERCENTILES.map(|(_, percent)| right(grouped(times.value_at_percentile(percent).into()))));
        row.push(right(grouped(times.max().into())));
        table.add_row(row);
    }
    table
}

fn answers(tally: &Tally) -> comfy_table::Table {
    let mut table = table(&["calls", "admitted", "refused", "errors"]);
    for (operation, Answers { admitted, refused, errors }) in asked(tally) {
        let name = if operation == Operation::Reserve { "reserve + commit" } else { operation.name() };
        let mut row = vec![Cell::new(name)];
        row.extend([admitted, refused, errors].map(|count| right(grouped(count.into()))));
        table.add_row(row);
    }
    table
}

/// The rows that something was timed for.
fn timed(tally: &Tally) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
    Row::NAMES.into_iter().zip(&tally.times).filter(|(_, times)| !times.is_empty())
}

/// The operations that were called.
fn asked(tally: &Tally) -> impl Iterator<Item = (Operation, Answers)> {
    let called = |answers: &Answers| answers.admitted + answers.refused + answers.errors > 0;
    Operation::ALL.into_iter().zip(tally.answers).filter(move |(_, answers)| called(answers))
}

/// The figures of a few threads, or between what those of many are.
fn by_thread(figures: &[f64], text: impl Fn(f64) -> String) -> String {
    const LISTED_MAX: usize = 4;
    if figures.len() <= LISTED_MAX {
        return figures.iter().map(|figure| text(*figure)).collect::<Vec<_>>().join(" + ");
    }
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(0.0, f64::max);
    format!("{} to {}", text(least), text(most))
}

fn whole(rate: f64) -> String {
    grouped(rate as u128)
}

fn mega(bytes: u64) -> String {
    grouped(u128::from(bytes / 1_000_000))
}

/// For programs.
///
/// # Errors
/// None that an input can cause.
pub(super) fn json(report: &Report) -> Result<String> {
    Ok(serde_json::to_string_pretty(&JsonReport::new(report))? + "\n")
}

#[derive(Serialize)]
struct JsonReport<'a> {
    version: &'static str,
    optimised: bool,
    machine: JsonMachine<'a>,
    settings: JsonSettings,
    calls: u64,
    seconds: f64,
    calls_per_second: f64,
    calls_per_second_of_thread: &'a [f64],
    processor_share_of_thread: Option<&'a [f64]>,
    processor_nanos_per_call: Option<f64>,
    admitted: u64,
    refused: u64,
    errors: u64,
    first_error: Option<&'a str>,
    operations: Vec<JsonOperation>,
    clock_nanos: u64,
    draw_nanos: u64,
    latency: Vec<JsonLatency>,
    set_up_seconds: f64,
    resident_bytes: &'a Memory,
    budgets: u64,
    used: u64,
    verified: bool,
    wrong: u64,
    differences: &'a [String],
}

#[derive(Serialize)]
struct JsonMachine<'a> {
    cpu: Option<&'a str>,
    cores: usize,
    os: &'static str,
    arch: &'static str,
}

#[derive(Serialize)]
struct JsonSettings {
    threads: u16,
    subjects: u32,
    distribution: String,
    fan_out: u32,
    levels: Vec<JsonLevel>,
    mix: String,
    by_key: bool,
    clock: &'static str,
    seed: u64,
    sample: u32,
}

#[derive(Serialize)]
struct JsonLevel {
    kind: &'static str,
    budgets: u32,
    max: Option<u64>,
}

#[derive(Serialize)]
struct JsonOperation {
    operation: &'static str,
    admitted: u64,
    refused: u64,
    errors: u64,
}

#[derive(Serialize)]
struct JsonLatency {
    operation: &'static str,
    timed: u64,
    p50_nanos: u64,
    p90_nanos: u64,
    p99_nanos: u64,
    p999_nanos: u64,
    max_nanos: u64,
}

impl<'a> JsonReport<'a> {
    fn new(report: &'a Report) -> Self {
        let Report { machine, tree, tally, unverified, .. } = report;
        let sum = |count: fn(&Answers) -> u64| tally.answers.iter().map(count).sum();
        let operations = asked(tally).map(|(operation, Answers { admitted, refused, errors })| JsonOperation {
            operation: operation.name(),
            admitted,
            refused,
            errors,
        });
        let latency = timed(tally).map(|(name, times)| {
            let percentiles = PERCENTILES.map(|(_, percent)| times.value_at_percentile(percent));
            let operation = if name == Row::NAMES[Row::Refused as usize] { "refused" } else { name };
            JsonLatency {
                operation,
                timed: times.len(),
                p50_nanos: percentiles[0],
                p90_nanos: percentiles[1],
                p99_nanos: percentiles[2],
                p999_nanos: percentiles[3],
                max_nanos: times.max(),
            }
        });
        let levels = tree.levels.iter();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            machine: JsonMachine {
                cpu: machine.cpu.as_deref(),
                cores: machine.cores,
                os: machine.os,
                arch: machine.arch,
            },
            settings: JsonSettings {
                threads: report.threads,
                subjects: tree.subjects(),
                distribution: report.distribution.to_string(),
                fan_out: report.fan_out,
                levels: levels.map(|l| JsonLevel { kind: l.kind, budgets: l.budgets, max: l.max }).collect(),
                mix: report.mix.to_string(),
                by_key: report.by_key,
                clock: report.clock,
                seed: report.seed,
                sample: report.sample,
            },
            calls: tally.calls,
            seconds: tally.elapsed.as_secs_f64(),
            calls_per_second: report.rates.iter().sum(),
            calls_per_second_of_thread: &report.rates,
            processor_share_of_thread: report.shares.as_deref(),
            processor_nanos_per_call: report.running_nanos(),
            admitted: sum(|answers| answers.admitted),
            refused: sum(|answers| answers.refused),
            errors: sum(|answers| answers.errors),
            first_error: tally.first_error.as_deref(),
            operations: operations.collect(),
            clock_nanos: nanos(report.clock_overhead),
            draw_nanos: nanos(report.draw_cost),
            latency: latency.collect(),
            set_up_seconds: report.set_up.as_secs_f64(),
            resident_bytes: &report.memory,
            budgets: tree.budgets(),
            used: tally.used.iter().sum(),
            verified: unverified.is_none(),
            wrong: unverified.as_ref().map_or(0, |unverified| unverified.wrong),
            differences: unverified.as_ref().map_or(&[], |unverified| &unverified.listed),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
