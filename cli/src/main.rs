//! The command line of encumber: what a budget policy would have done to recorded calls, whether a policy file is right, what the engine
//! does under load on this machine, and what it keeps in a directory.

mod bench;
mod html;
mod inspect;
mod policy;
mod render;
mod replay;
mod report;
mod trace;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exact, in-process budgets for AI agents: replay recorded calls under a policy, check policy files, load the engine, look into its directory.
#[derive(Parser)]
#[command(name = "encumber", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the engine is wrong: the reference model differs (replay --verify), or budgets have not what calls were told (bench), \
or its directory is damaged (inspect); 2 wrong usage or bad input.";

#[derive(Subcommand)]
enum Command {
    /// Run a recorded trace through the engine under a policy, and report what it admits, refuses and spends
    Replay(replay::Options),
    /// Put a load on an engine in this process; print throughput and latency, and verify that it counted right
    Bench(bench::Options),
    /// Show what an engine keeps in a directory: files, budgets, holds, workflows; or copy what is whole of a damaged one
    Inspect(inspect::Options),
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
        Command::Bench(options) => reported(bench::run(&options)),
        Command::Inspect(options) => reported(inspect::run(&options)),
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

/// Prints the report, also of an engine or a directory that is found wrong.
fn reported(done: anyhow::Result<(String, Option<anyhow::Error>)>) -> anyhow::Result<String> {
    let (text, fault) = done?;
    match fault {
        None => Ok(text),
        Some(fault) => print(&text).and(Err(fault)),
    }
}

/// The engine is wrong, or its directory; not what it was given.
fn is_fault(error: &anyhow::Error) -> bool {
    error.is::<replay::Difference>()
        || error.is::<bench::Unverified>()
        || error.is::<bench::CallErrors>()
        || error.is::<inspect::Damaged>()
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
