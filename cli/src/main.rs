//! The command line of encumber: what a budget policy would have done to recorded calls, whether a policy file is right, and what the engine
//! does under load on this machine.

mod bench;
mod html;
mod policy;
mod render;
mod replay;
mod report;
mod trace;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exact, in-process budgets for AI agents: replay recorded calls under a policy, check policy files, load the engine.
#[derive(Parser)]
#[command(name = "encumber", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the engine is wrong: the reference model differs (replay --verify), or budgets have not what calls were told (bench); \
2 wrong usage or bad input.";

#[derive(Subcommand)]
enum Command {
    /// Run a recorded trace through the engine under a policy, and report what it admits, refuses and spends
    Replay(replay::Options),
    /// Put a load on an engine in this process; print throughput and latency, and verify that it counted right
    Bench(bench::Options),
    /// Work with policy files
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Check policy files, and print the limits, resources and prices in force
    #[command(after_help = "Examples:\n  encumber policy check team.toml\n  encumber policy check old.toml new.json")]
    Check {
        /// TOML or JSON
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Replay(options) => replay::run(&options),
        Command::Bench(options) => bench(&options),
        Command::Policy { command: PolicyCommand::Check { files } } => policy::check(&files),
    };
    match done.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "error: {}", render::plain(&format!("{error:#}")));
            ExitCode::from(if is_fault(&error) { 1 } else { 2 })
        }
    }
}

/// Prints the report, also of an engine that is found wrong.
fn bench(options: &bench::Options) -> anyhow::Result<String> {
    let (text, fault) = bench::run(options)?;
    match fault {
        None => Ok(text),
        Some(fault) => print(&text).and(Err(fault)),
    }
}

/// The engine is wrong, not what it was given.
fn is_fault(error: &anyhow::Error) -> bool {
    error.is::<replay::Difference>() || error.is::<bench::Unverified>() || error.is::<bench::CallErrors>()
}

/// Writes to standard output. A reader that went away (`| head`) has what it wanted.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("standard output"))
        }
        _ => Ok(()),
    }
}
