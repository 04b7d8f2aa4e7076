//! The report: for people as tables, for programs as JSON.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::bars::Bar;
use crate::contender::{Group, Spec};
use crate::contenders::{self, REDIS};
use crate::keys::{SEED, ZIPF_EXPONENT};
use crate::machine::Machine;
use crate::measure::{Measured, Outcome};
use crate::memory::Weighed;
use crate::statistics::Spread;
use crate::stress::{Found, Stressed};
use crate::versions;

/// Everything that a run found.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) key_seed: u64,
    pub(crate) zipf_exponent: f64,
    pub(crate) rows: Vec<Row>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) stress: Vec<StressRow>,
    pub(crate) memory: Vec<MemoryRow>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// One contender in one group with so many threads.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) package: Option<&'static str>,
    pub(crate) version: Option<&'static str>,
    pub(crate) threads: usize,
    /// Calls of each thread in each round.
    pub(crate) calls: Option<u64>,
    /// Of one call of one thread.
    pub(crate) nanos: Option<Spread>,
    /// To the bare compare-and-swap just before.
    pub(crate) ratio: Option<Spread>,
    pub(crate) note: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct StressRow {
    pub(crate) work: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) version: Option<&'static str>,
    pub(crate) found: Option<Found>,
    pub(crate) note: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct MemoryRow {
    pub(crate) contender: &'static str,
    pub(crate) version: Option<&'static str>,
    pub(crate) subjects: usize,
    pub(crate) bytes_per_subject: Option<f64>,
    pub(crate) note: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct LeftOut {
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        rounds: usize,
        measured: &[Measured],
        bars: Vec<Bar>,
        stressed: Vec<Stressed>,
        weighed: Vec<Weighed>,
    ) -> Self {
        Self {
            machine,
            rounds,
            key_seed: SEED,
            zipf_exponent: ZIPF_EXPONENT,
            rows: measured.iter().map(Row::new).collect(),
            bars,
            stress: stressed.into_iter().map(StressRow::new).collect(),
            memory: weighed.into_iter().map(MemoryRow::new).collect(),
            left_out: contenders::LEFT_OUT.iter().map(|(what, why)| LeftOut { what, why }).collect(),
        }
    }
}

/// What stands beside a contender's name.
fn version(spec: &Spec) -> Option<&'static str> {
    match spec.package? {
        REDIS => contenders::redis_version(),
        "rusqlite" => Some(contenders::sqlite_version()),
        package => versions::version(package),
    }
}

impl Row {
    fn new(measured: &Measured) -> Self {
        let (samples, note) = match &measured.outcome {
            Outcome::Timed(samples) => (Some(samples), None),
            Outcome::Not(why) => (None, Some(why.clone())),
        };
        Self {
            group: measured.group.title(),
            contender: measured.spec.name,
            package: measured.spec.package,
            version: version(&measured.spec),
            threads: measured.threads,
            calls: samples.map(|samples| samples.calls),
            nanos: samples.map(|samples| Spread::of(samples.nanos.clone())),
            ratio: samples.map(|samples| Spread::of_ratios(&samples.nanos, &samples.cas_nanos)),
            note,
        }
    }
}

impl StressRow {
    fn new(stressed: Stressed) -> Self {
        let (found, note) = match stressed.outcome {
            Ok(found) => (Some(found), None),
            Err(why) => (None, Some(why)),
        };
        let Stressed { spec, group, .. } = stressed;
        Self { work: group.work(), contender: spec.name, version: version(&spec), found, note }
    }
}

impl MemoryRow {
    fn new(weighed: Weighed) -> Self {
        let Weighed { spec, subjects, bytes } = weighed;
        let version = version(&spec);
        Self {
            contender: spec.name,
            version,
            subjects,
            bytes_per_subject: bytes.as_ref().ok().copied(),
            note: bytes.err(),
        }
    }
}

/// The report for people.
pub(crate) fn text(report: &Report) -> String {
    let mut text = heading(report);
    for group in Group::TIMED {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.group == group.title()).collect();
        if !rows.is_empty() {
            section(&mut text, group.title(), &speeds(&rows));
        }
    }
    section(&mut text, "bars", &bars(&report.bars));
    if !report.stress.is_empty() {
        section(&mut text, "what each gets wrong when threads ask at once", &stress(&report.stress));
    }
    if !report.memory.is_empty() {
        section(&mut text, "memory per subject, 30-byte key", &memory(&report.memory));
    }
    let mut left_out = table(&["left out", "why"]);
    report.left_out.iter().for_each(|left| {
        left_out.add_row([left.what, left.why]);
    });
    section(&mut text, "left out", &left_out);
    text
}

fn heading(report: &Report) -> String {
    let Machine { cpu, cores, architecture, system, rustc, profile, date, load } = &report.machine;
    let load = load.map_or(String::new(), |load| format!(", load {load} at the start"));
    let mut text = format!("{cpu}, {cores} cores, {architecture} {system}{load}; {rustc}; {date}\n");
    if *profile != "release" {
        text.push_str("NOT A RELEASE BUILD: these figures mean nothing\n");
    }
    let _ = writeln!(
        text,
        "{} rounds, each contender once per round, in any order; medians. ns: of one call of one thread. × CAS: to a bare, uncontended\n\
         compare-and-swap loop just before, on as many threads. Keys of 30 bytes, seed {:#x}, Zipf exponent {}.",
        report.rounds, report.key_seed, report.zipf_exponent
    );
    text
}

fn section(text: &mut String, title: &str, table: &Table) {
    let _ = write!(text, "\n{title}\n{}\n", table.trim_fmt());
}

const UNDER_HEADER: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UNDER_HEADER);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(header.iter().copied());
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn speeds(rows: &[&Row]) -> Table {
    let mut table = table(&["contender", "version", "threads", "ns", "quartiles", "× CAS", "quartiles", ""]);
    for row in rows {
        let figures = |spread: Option<Spread>| {
            let quartiles =
                |spread: Spread| format!("{}–{}", short(spread.lower_quartile), short(spread.upper_quartile));
            [spread.map_or(String::new(), |spread| short(spread.median)), spread.map_or(String::new(), quartiles)]
        };
        let mut cells =
            vec![Cell::new(row.contender), Cell::new(row.version.unwrap_or("")), right(row.threads.to_string())];
        cells.extend([row.nanos, row.ratio].into_iter().flat_map(figures).map(right));
        cells.push(Cell::new(row.note.as_deref().unwrap_or("")));
        table.add_row(cells);
    }
    table
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn bars(bars: &[Bar]) -> Table {
    let mut table = table(&["operation", "bar", "stretch", "figure", "met"]);
    for bar in bars {
        let met = match (bar.met, &bar.figure) {
            (Some(true), _) => "yes",
            (Some(false), _) => "NO",
            (None, Some(_)) => "not shown: too few calls",
            (None, None) => "not run",
        };
        table.add_row([
            Cell::new(&bar.operation),
            Cell::new(&bar.target),
            Cell::new(bar.stretch.as_deref().unwrap_or("")),
            right(bar.figure.clone().unwrap_or_default()),
            Cell::new(met),
        ]);
    }
    table
}

fn stress(rows: &[StressRow]) -> Table {
    let header = [
        "contender",
        "work",
        "version",
        "rounds",
        "rounds over",
        "units over (most)",
        "falsely refused",
        "of fitting calls",
        "",
    ];
    let mut table = table(&header);
    for row in rows {
        let mut cells = vec![Cell::new(row.contender), Cell::new(row.work), Cell::new(row.version.unwrap_or(""))];
        let figures = |found: &Found| {
            [
                found.rounds.to_string(),
                found.rounds_over.to_string(),
                format!("{} ({})", found.units_over, found.units_over_most),
                found.falsely_refused.to_string(),
                format!("{} ({:.2} %)", found.fitting, percent(found.falsely_refused, found.fitting)),
            ]
        };
        cells.extend(row.found.as_ref().map_or_else(Default::default, figures).map(right));
        let units_alone = row.found.as_ref().is_some_and(|found| found.units_alone).then_some("asked for single units");
        cells.push(Cell::new(row.note.as_deref().or(units_alone).unwrap_or("")));
        table.add_row(cells);
    }
    table
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

fn memory(rows: &[MemoryRow]) -> Table {
    let mut table = table(&["contender", "version", "subjects", "bytes per subject", ""]);
    for row in rows {
        table.add_row([
            Cell::new(row.contender),
            Cell::new(row.version.unwrap_or("")),
            right(row.subjects.to_string()),
            right(row.bytes_per_subject.map_or(String::new(), |bytes| format!("{bytes:.0}"))),
            Cell::new(row.note.as_deref().unwrap_or("")),
        ]);
    }
    table
}
