//! `encumber inspect`: what an engine keeps in a directory, without the engine; and what is whole in a damaged one, into a new one.

mod json;
mod names;
mod text;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Error, Result};
use encumber::{Clock, Inspection, OpenError, SalvageError, Timestamp};

use names::Names;

/// Budgets that are listed for people.
const BUDGETS: usize = 20;

/// Where to look, and what to show.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The directory that an engine persists to; it may be in use, and is left as it is
    dir: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// List at most N budgets; without it 20, as JSON all
    #[arg(long, value_name = "N")]
    budgets: Option<usize>,
    /// Print hashes instead of ids, fit for tickets
    ///
    /// Of subjects, holds and workflows. The same id has the same hash everywhere. It is no protection of ids that can be guessed.
    #[arg(long)]
    hash_ids: bool,
    /// Copy everything that is whole to NEWDIR, which must not exist or be empty, and say what was lost
    #[arg(long, value_name = "NEWDIR", conflicts_with = "budgets")]
    salvage: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  encumber inspect /var/lib/agents/budgets
  encumber inspect /var/lib/agents/budgets --json --hash-ids > ticket.json
  encumber inspect /var/lib/agents/budgets --salvage /var/lib/agents/saved

Exit codes: 0 whole, or salvaged; 1 damaged; 2 wrong usage, or a directory that cannot be read.";

/// The directory is damaged.
#[derive(Debug)]
pub(crate) struct Damaged(String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

/// Looks, and returns what to print, also of a directory that is damaged.
///
/// # Errors
/// When the directory cannot be read; of what is salvaged, when it cannot be written.
pub(crate) fn run(options: &Options) -> Result<(String, Option<Error>)> {
    let names = Names::new(options.hash_ids);
    if let Some(to) = &options.salvage {
        return match encumber::salvage(&options.dir, to) {
            Ok(salvaged) if options.json => Ok((json::salvaged(&salvaged, to)?, None)),
            Ok(salvaged) => Ok((text::salvaged(&salvaged, to), None)),
            Err(error @ SalvageError::Nothing(_)) => Err(Damaged(error.to_string()).into()),
            Err(error) => Err(error.into()),
        };
    }
    match encumber::inspect(&options.dir) {
        Ok(found) => {
            let now = now(&found);
            let text = if options.json {
                json::inspection(&found, names, options.budgets, now)?
            } else {
                text::inspection(&found, names, options.budgets.unwrap_or(BUDGETS), now)
            };
            Ok((text, None))
        }
        Err(OpenError::Corrupt { path, offset, why }) => {
            let text = if options.json { json::damaged(&path, offset, &why)? } else { String::new() };
            let damage = OpenError::Corrupt { path, offset, why };
            let advice = "what is whole can be copied to a new directory: encumber inspect DIR --salvage NEWDIR";
            Ok((text, Some(Damaged(format!("{damage}; {advice}")).into())))
        }
        Err(error) => Err(error.into()),
    }
}

/// By which windows have ended or not. For a budget time never goes back.
fn now(found: &Inspection) -> Timestamp {
    let now = Clock::system().now();
    found.latest.map_or(now, |latest| latest.max(now))
}
