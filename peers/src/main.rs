//! encumber beside its yardsticks and beside others that do the same work: how long a call takes, what goes wrong when threads ask at once,
//! and what a subject costs in memory.

mod bars;
mod contender;
mod contenders;
mod keys;
mod machine;
mod measure;
mod memory;
mod report;
mod statistics;
mod stress;
mod versions;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::contender::{Group, Spec};
use crate::machine::Machine;
use crate::measure::Measured;
use crate::report::Report;

/// Measures encumber beside yardsticks and peers, and prints the bars with what this run says of them.
#[derive(Parser, Debug)]
#[command(name = "encumber-peers", version)]
struct Options {
    /// Run what contains this in its name or in its group's; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Rounds of each group
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Milliseconds that each contender runs in each round, about
    #[arg(long, default_value_t = 5, value_name = "MS")]
    round_ms: u64,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Threads of the stress
    #[arg(long, default_value_t = 4, value_name = "THREADS")]
    stress_threads: usize,
    /// Milliseconds of each of the stress's two scenarios
    #[arg(long, default_value_t = 500, value_name = "MS")]
    stress_ms: u64,
    /// Calls that each of our rows makes in the stress at least; the bar asks for 1000000000 in all
    #[arg(long, default_value_t = 0, value_name = "CALLS")]
    stress_calls: u64,
    /// Subjects whose memory is measured
    #[arg(long, default_value_t = 1_000_000)]
    subjects: usize,
    /// A tiny run that shows that everything runs; its figures mean little
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The child of a memory measurement: prints bytes
    #[arg(long, hide = true, value_name = "NAME")]
    memory_child: Option<String>,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if let Some(name) = &options.memory_child {
        let specs = contenders::all();
        let takes_part = |spec: &&Spec| spec.name == name && spec.groups.contains(&Group::Memory);
        let spec = specs.iter().find(takes_part).context("no such contender")?;
        return print(&memory::child(spec, options.subjects)?.to_string());
    }
    if options.quick {
        (options.rounds, options.round_ms, options.stress_ms, options.subjects) = (3, 1, 10, 1_000);
    }
    ensure!(options.rounds > 0 && options.stress_threads > 1, "there is nothing to measure");
    ensure!(!options.threads.is_empty() && !options.threads.contains(&0), "threads are counted from 1");
    let report = run(&options);
    print(&if options.json { serde_json::to_string_pretty(&report)? } else { report::text(&report) })
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()).context("standard output")
}

fn run(options: &Options) -> Report {
    let machine = Machine::read();
    let measured = speeds(options);
    let specs = contenders::all();
    let is_wanted = |spec: &Spec, title: &str| wanted(&options.only, spec.name, title);
    let settings = stress::Settings {
        threads: options.stress_threads,
        time: Duration::from_millis(options.stress_ms),
        calls: options.stress_calls,
    };
    let stressed = specs.iter().flat_map(|spec| stress::groups(spec).map(move |group| (spec, group)));
    let stressed = stressed.filter(|(spec, group)| is_wanted(spec, group.title()));
    let stressed = stressed.map(|(spec, group)| {
        progress(&format!("stress: {}, {}", spec.name, group.title()));
        stress::stress(spec, group, settings)
    });
    let stressed: Vec<_> = stressed.collect();
    let weighed = specs.iter().filter(|spec| spec.groups.contains(&Group::Memory));
    let weighed = weighed.filter(|spec| is_wanted(spec, Group::Memory.title())).map(|spec| {
        progress(&format!("memory: {}", spec.name));
        memory::weigh(spec, options.subjects)
    });
    let weighed: Vec<_> = weighed.collect();
    let bars = bars::judge(&measured, &weighed, &stressed);
    Report::new(machine, options.rounds, &measured, bars, stressed, weighed)
}

/// The timed groups.
fn speeds(options: &Options) -> Vec<Measured> {
    let settings = measure::Settings {
        rounds: options.rounds,
        round_time: Duration::from_millis(options.round_ms),
        threads: options.threads.clone(),
    };
    let specs = contenders::all();
    let cas = measure::cas(&specs);
    let mut measured = Vec::new();
    for group in Group::TIMED {
        let takes_part = |spec: &&Spec| spec.groups.contains(&group) && wanted(&options.only, spec.name, group.title());
        let specs: Vec<Spec> = specs.iter().filter(takes_part).cloned().collect();
        if specs.is_empty() {
            continue;
        }
        progress(group.title());
        if options.quick && group == Group::Keys1m {
            let threads = options.threads.iter().flat_map(|threads| specs.iter().map(move |spec| (spec, *threads)));
            let skipped =
                threads.map(|(spec, threads)| Measured::not(spec, group, threads, "skipped: --quick".to_owned()));
            measured.extend(skipped);
        } else {
            measured.extend(measure::measure(group, &specs, cas, &settings));
        }
    }
    measured
}

fn wanted(only: &[String], name: &str, title: &str) -> bool {
    only.is_empty() || only.iter().any(|text| name.contains(text) || title.contains(text))
}

/// Says on standard error what is being done; standard output is the report's alone.
fn progress(what: &str) {
    let _ = writeln!(std::io::stderr(), "… {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_a_row_for_every_contender_in_every_group() {
        let options = Options { round_ms: 0, rounds: 2, ..Options::parse_from(["encumber-peers", "--quick"]) };
        let measured = speeds(&options);
        let bars = bars::judge(&measured, &[], &[]);
        let report = Report::new(Machine::read(), options.rounds, &measured, bars, Vec::new(), Vec::new());
        let json = serde_json::to_value(&report).expect("JSON");
        let rows = json["rows"].as_array().expect("rows");
        let mut count = 0;
        for (spec, group) in
            contenders::all().iter().flat_map(|spec| spec.groups.iter().map(move |group| (spec, *group)))
        {
            let threads = options.threads.iter().filter(|threads| **threads <= group.threads_max());
            for threads in threads.filter(|_| group != Group::Memory) {
                let is_it = |row: &&serde_json::Value| {
                    row["contender"] == spec.name && row["group"] == group.title() && row["threads"] == *threads
                };
                let row =
                    rows.iter().find(is_it).unwrap_or_else(|| panic!("{} in {group:?}, {threads} threads", spec.name));
                let note = row["note"].as_str().unwrap_or("");
                assert!(row["nanos"]["median"].is_f64() || note.starts_with("skipped"), "{row}");
                count += 1;
            }
        }
        assert_eq!(rows.len(), count);
    }

    #[test]
    fn only_asks_of_names_and_of_groups() {
        let only = ["governor".to_owned(), "three levels".to_owned()];
        assert!(wanted(&only, "governor, check", Group::Direct.title()) && wanted(&only, "x", Group::Levels.title()));
        assert!(!wanted(&only, "quota, check", Group::Keys1k.title()) && wanted(&[], "x", "y"));
    }
}
