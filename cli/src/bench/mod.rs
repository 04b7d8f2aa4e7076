//! `encumber bench`: a load on an engine of this process, what it takes on this machine, and whether the engine counted right.

mod draw;
mod load;
mod machine;
mod report;
mod settings;
mod tree;
mod verify;

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use encumber::{Clock, Engine};

use draw::{Dice, Draw};
use load::{Load, Reach, Tally, Until};
use machine::Machine;
use report::{Memory, Report};
use settings::{Distribution, Maxes, Mix};
use tree::Tree;
use verify::Overages;
pub(crate) use verify::Unverified;

/// The load.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Threads that call at once; without it as many as there are cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Subjects, each with a budget of its own
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    subjects: u32,
    /// How often each subject is called for: `uniform`, `zipf`, or `zipf:EXPONENT`
    #[arg(long, value_name = "WORD", default_value = "zipf")]
    distribution: Distribution,
    /// Budgets that one call is charged to: the subject's own, those that groups share, one that all share
    ///
    /// The first ones of agent, user, team, department, division, organization, tenant, and then global.
    #[arg(long, value_name = "1..8", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=settings::LEVELS_MAX as i64))]
    levels: u8,
    /// How many budgets of a level share one of the next
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    fan_out: u32,
    /// What calls do, by weights; `reserve` is a reservation and its commit with another amount
    #[arg(long, value_name = "WEIGHTS", default_value = "charge=70,reserve=20,record=5,check=5")]
    mix: Mix,
    /// The max of each subject's own budget, or of each budget of a level: `10000`, `user=1000000,global=50000000`
    ///
    /// A call takes 1 to 16 units. Without it, nothing is refused.
    #[arg(long, value_name = "MAXES")]
    max: Option<Maxes>,
    /// How long
    #[arg(long, value_name = "S", default_value = "5", value_parser = settings::seconds, conflicts_with = "calls")]
    seconds: f64,
    /// How many calls, of all threads together, instead of how long
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// Name the subjects at every call, instead of keeping a handle for each: charges by `Engine::try_charge`, the others by a scope for the call
    #[arg(long)]
    by_key: bool,
    /// The engine's clock
    #[arg(long, value_enum, default_value_t = ClockKind::Ticking)]
    clock: ClockKind,
    /// Time one call of so many
    #[arg(long, value_name = "K", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Repeats a run: the same calls in the same order, by thread
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ClockKind {
    /// A thread reads the time once a millisecond
    Ticking,
    /// Every operation reads the system's coarse clock
    System,
}

const EXAMPLES: &str = "\
Examples:
  encumber bench                                             1,000 subjects, three levels, all cores, five seconds
  encumber bench --levels 1 --mix charge=1 --threads 1       the shortest way
  encumber bench --subjects 1000000 --by-key                 a million subjects, found by their ids
  encumber bench --max 20000 --seconds 2                     budgets that fill up: refusals
  encumber bench --calls 1000000 --threads 1 --seed 1        the same totals every time

At the end every budget is asked, and must have what the calls were told. If not, the exit code is 1.";

/// Runs the load; returns what to print, and what is wrong with the engine, if anything is.
///
/// # Errors
/// Wrong options; a subject, thread or policy that cannot be made.
pub(crate) fn run(options: &Options) -> Result<(String, Option<anyhow::Error>)> {
    let maxes = match &options.max {
        Some(maxes) => maxes.by_level(&settings::kinds(options.levels.into()))?,
        None => vec![None; options.levels.into()],
    };
    let tree = Tree::new(options.subjects, &maxes, options.fan_out);
    let resident_start = machine::resident_bytes();
    let clock = match options.clock {
        ClockKind::Ticking => Clock::ticking(Duration::from_millis(1)).context("the clock's thread")?,
        ClockKind::System => Clock::system(),
    };
    let engine = Engine::builder(tree.policy()?).clock(clock).build();
    let tokens = engine.resource(tree::RESOURCE)?;

    let started = Instant::now();
    let (used, handles) = load::set_up(&engine, &tree, tokens, !options.by_key)?;
    let set_up = started.elapsed();
    let resident_set_up = machine::resident_bytes();

    let overages = Overages::new(&tree);
    let load = Load {
        tree: &tree,
        engine: &engine,
        tokens,
        reach: if options.by_key { Reach::ByKey } else { Reach::Handles(handles) },
        draw: Draw::new(options.distribution, options.subjects),
        dice: Dice::new(options.mix),
        overages: &overages,
        seed: options.seed.unwrap_or_else(any_seed),
        sample: options.sample,
        clock_overhead: machine::clock_overhead(),
    };
    let draw_cost = load.draw_cost();
    let threads = options.threads.unwrap_or_else(|| u16::try_from(machine::cores()).unwrap_or(u16::MAX));
    let until = options.calls.map_or_else(|| Until::Elapsed(Duration::from_secs_f64(options.seconds)), Until::Calls);
    let tallies = load.run(threads, until);
    let resident_end = machine::resident_bytes();

    let shares = tallies.iter().map(|tally| Some(tally.running?.div_duration_f64(tally.elapsed))).collect();
    let rates = tallies.iter().map(|tally| tally.calls as f64 / tally.elapsed.as_secs_f64().max(1e-9)).collect();
    let mut tally = Tally::new(0);
    tally.used = used;
    for each in &tallies {
        tally.add(each);
    }
    drop(tallies);
    let started = Instant::now();
    let unverified = match verify::engine(&engine, &tree, &tally.used, &overages) {
        Ok(()) => None,
        Err(error) => Some(error.downcast::<Unverified>()?),
    };
    let report = Report {
        machine: Machine::here(),
        tree: &tree,
        threads,
        fan_out: options.fan_out,
        distribution: options.distribution,
        mix: options.mix,
        by_key: options.by_key,
        clock: match options.clock {
            ClockKind::Ticking => "ticking",
            ClockKind::System => "system",
        },
        seed: load.seed,
        sample: load.sample,
        clock_overhead: load.clock_overhead,
        draw_cost,
        set_up,
        rates,
        shares,
        memory: Memory {
            start: resident_start,
            set_up: resident_set_up,
            end: resident_end,
            per_subject: resident_start.zip(resident_set_up).and_then(|at| per_subject(at, options.subjects)),
        },
        verifying: started.elapsed(),
        unverified,
        tally,
    };
    let text = if options.json { report::json(&report)? } else { report::text(&report) };
    let Report { unverified, tally: Tally { answers, first_error, .. }, .. } = report;
    let errors = answers.iter().map(|answers| answers.errors).sum();
    let failed = first_error.map(|first| CallErrors { errors, first }.into());
    Ok((text, unverified.map(Into::into).or(failed)))
}

/// From the resident memory without subjects and with them.
fn per_subject((without, with): (u64, u64), subjects: u32) -> Option<u64> {
    const SUBJECTS_MIN: u32 = 10_000;
    // This program counts each subject, too.
    let counts = u64::from(subjects) * size_of::<u64>() as u64;
    (subjects >= SUBJECTS_MIN).then(|| with.saturating_sub(without + counts) / u64::from(subjects))
}

/// Calls that were neither admitted nor refused.
#[derive(Debug)]
pub(crate) struct CallErrors {
    errors: u64,
    first: String,
}

impl std::fmt::Display for CallErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} calls were errors; the first one: {}", self.errors, self.first)
    }
}

impl std::error::Error for CallErrors {}

/// The standard library's maps have a random key for each; nothing else here needs a source of chance.
fn any_seed() -> u64 {
    RandomState::new().hash_one(0) % 1_000_000_000
}
