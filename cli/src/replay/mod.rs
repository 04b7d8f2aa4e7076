//! `encumber replay`: recorded calls through the real engine, on a clock that follows them.
//!
//! One pass over the trace feeds every replay that is wanted (one for each policy, and one for contrast), so that a stream is
//! enough and memory does not grow with the number of calls.

mod costs;
mod ledger;
mod parties;
mod progress;
mod run;
mod tally;
mod verify;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::html;
use crate::policy::{self, Named};
use crate::render;
use crate::report::{Admission, Report};
use crate::trace::{self, Call, Trace};
use progress::Progress;
use run::{Fault, Replay};
pub(crate) use verify::Difference;

const TEAM_TRACE: &[u8] = include_bytes!("../../../data/agent-team-claude-code.csv.gz");
const TEAM_TRACE_NAME: &str = "agent-team-claude-code.csv.gz";

/// What to replay, and how.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The recorded calls, plain or gzip, `-` for standard input; the format is recognised
    ///
    /// Agent-team CSV, Claude Code session logs, aider analytics, Azure LLM CSV, Mooncake JSON lines. Without it: five weeks of a team
    /// of five developers, which the program brings along (15,036 calls).
    trace: Option<PathBuf>,
    /// The policy, TOML or JSON; given twice, two policies side by side
    ///
    /// Without it: a small team's policy, which the program brings along.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// How a call asks before it goes out
    #[arg(long, value_enum, default_value_t = Admission::Reserve)]
    admission: Admission,
    /// Output tokens that a reservation counts with
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_output: u64,
    /// The model of calls that name none
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write a page with charts, which needs no network, to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Run the reference model beside the engine and stop at the first difference; keeps everything in memory
    #[arg(long)]
    verify: bool,
    /// Pass over lines that cannot be read and calls that cannot be priced, and count them
    #[arg(long)]
    skip_bad: bool,
}

const EXAMPLES: &str = "\
Examples:
  encumber replay                                     the shipped trace under the shipped policy
  encumber replay calls.csv.gz --policy team.toml     your own
  encumber replay --policy old.toml --policy new.toml --html compare.html
  zcat calls.jsonl.gz | encumber replay - --model claude-sonnet-4-5-20250929 --json

A replay is counterfactual: a call that is refused would have changed what came after it.";

/// A finished replay.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// Calls of which a part counted as 0 because the policy has no price for it and says so.
    pub(crate) unpriced: u64,
}

/// Replays, and returns what to print.
///
/// # Errors
/// Wrong options and bad input, with file, line and cause; a [`Difference`] when the reference model answers differently.
pub(crate) fn run(options: &Options) -> Result<String> {
    let policies = policies(&options.policy)?;
    let (mut trace, trace_name) = open(options.trace.as_deref())?;
    let mut replays: Vec<Replay> = policies
        .iter()
        .map(|named| Replay::new(&named.policy, options.admission, options.max_output, options.verify))
        .collect::<Result<_>>()?;
    let has_contrast = policies.len() == 1 && !options.json;
    if has_contrast {
        replays.push(Replay::new(&policies[0].policy, other_way(options.admission), options.max_output, false)?);
    }

    let skipped_lines = feed(&mut trace, &mut replays, &policies, options)?;

    let names = policies.iter().map(|named| &named.name).cycle();
    let finished =
        replays.into_iter().zip(names).map(|(replay, policy)| replay.finish(policy, &trace_name, skipped_lines));
    let mut outcomes: Vec<Outcome> = finished.collect::<Result<_, Difference>>()?;
    let contrast = if has_contrast { outcomes.pop() } else { None };
    if options.verify {
        let calls: u64 = outcomes.iter().map(|outcome| outcome.report.calls).sum();
        let _ = writeln!(std::io::stderr(), "verified: the reference model says the same about each of {calls} calls");
    }
    if let Some(path) = &options.html {
        let reports: Vec<Report> = outcomes.iter().map(|outcome| outcome.report.clone()).collect();
        std::fs::write(path, html::render(&reports)).with_context(|| path.display().to_string())?;
    }
    if options.json {
        return render::json(&outcomes);
    }
    Ok(render::text(&outcomes, contrast.as_ref(), options.max_output))
}

/// What to show beside a replay: reserving beside check-then-record, and the other way round.
fn other_way(admission: Admission) -> Admission {
    match admission {
        Admission::Check => Admission::Reserve,
        Admission::Reserve | Admission::Charge => Admission::Check,
    }
}

fn policies(files: &[PathBuf]) -> Result<Vec<Named>> {
    match files {
        [] => Ok(vec![policy::shipped()?]),
        [_] | [_, _] => files.iter().map(|file| policy::load(file)).collect(),
        _ => bail!("--policy is given {} times; at most two policies can be compared", files.len()),
    }
}

/// The trace, and its file's name without folders.
fn open(path: Option<&Path>) -> Result<(Trace, String)> {
    let Some(path) = path else {
        return Ok((shipped_trace()?, TEAM_TRACE_NAME.to_owned()));
    };
    let trace = trace::open(path)?;
    let name = match path.file_name() {
        Some(name) if path.as_os_str() != "-" => name.to_string_lossy().into_owned(),
        _ => trace.name().to_owned(),
    };
    Ok((trace, name))
}

/// The trace that the program brings along.
fn shipped_trace() -> Result<Trace> {
    Ok(Trace::new(TEAM_TRACE_NAME.into(), Box::new(TEAM_TRACE), Some(TEAM_TRACE.len() as u64))?)
}

/// Feeds every call of the trace to every replay; returns how many lines were passed over.
fn feed(trace: &mut Trace, replays: &mut [Replay], policies: &[Named], options: &Options) -> Result<u64> {
    let progress = Progress::new(&trace.format().to_string(), trace.bytes_total());
    let mut skipped_lines = 0;
    let mut number = 0;
    while let Some(item) = trace.next() {
        progress.at(number, || trace.bytes_read());
        let call = match item {
            Ok(call) => assume_model(call, options.model.as_deref()),
            Err(error) if options.skip_bad && !error.ends_stream() => {
                skipped_lines += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        number += 1;
        for (index, replay) in replays.iter_mut().enumerate() {
            match replay.call(number, &call) {
                Err(Fault::Call(_)) if options.skip_bad => replay.skip(),
                Err(Fault::Call(cause)) => {
                    let policy = &policies[index.min(policies.len() - 1)].name;
                    bail!("{} call {number} ({}) under {policy}: {cause}", trace.name(), call.start);
                }
                Err(Fault::Difference(difference)) => return Err(difference.into()),
                Ok(()) => {}
            }
        }
    }
    progress.finish();
    Ok(skipped_lines)
}

fn assume_model(mut call: Call, model: Option<&str>) -> Call {
    if let Some(model) = model
        && call.usage.model_name().is_none()
    {
        call.usage = call.usage.model(model);
    }
    call
}
