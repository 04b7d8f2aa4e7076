//! How far a replay has come, for people who watch.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Calls between two looks at how far the file is read.
const CALLS_PER_LOOK: u64 = 1_024;

/// A bar on standard error; nothing when that is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of a file in this format and of this size, or of a stream.
    pub(super) fn new(format: &str, bytes_total: Option<u64>) -> Self {
        let shown = std::io::stderr().is_terminal();
        let bar = match bytes_total {
            _ if !shown => ProgressBar::hidden(),
            Some(bytes) => ProgressBar::new(bytes).with_style(style("{prefix} {wide_bar} {percent}% {msg}")),
            None => ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {msg}")),
        };
        bar.set_prefix(format.to_owned());
        Self { bar }
    }

    /// So many calls have been replayed.
    pub(super) fn at(&self, calls: u64, bytes_read: impl FnOnce() -> u64) {
        if calls.is_multiple_of(CALLS_PER_LOOK) && !self.bar.is_hidden() {
            self.bar.set_position(bytes_read());
            self.bar.set_message(format!("{calls} calls"));
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
