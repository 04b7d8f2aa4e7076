//! Whom ids name, or a hash of that.

use encumber::{FoundHold, Subject};

/// How ids are shown.
#[derive(Clone, Copy)]
pub(super) struct Names {
    are_hashed: bool,
}

impl Names {
    pub(super) fn new(are_hashed: bool) -> Self {
        Self { are_hashed }
    }

    pub(super) fn subject(self, subject: &Subject) -> String {
        // Its `Debug` is made for logs: the kind, and a hash of the id.
        if self.are_hashed { format!("{subject:?}") } else { subject.to_string() }
    }

    pub(super) fn subjects(self, subjects: &[Subject]) -> Vec<String> {
        subjects.iter().map(|subject| self.subject(subject)).collect()
    }

    pub(super) fn hold(self, hold: &FoundHold) -> String {
        // A number that the engine gave names nobody.
        if hold.slot_of.is_none() && hold.id.starts_with('#') { hold.id.to_string() } else { self.id("hold", &hold.id) }
    }

    pub(super) fn workflow(self, id: &str) -> String {
        self.id("workflow", id)
    }

    /// The hash is that of a subject with this id.
    fn id(self, kind: &str, id: &str) -> String {
        match Subject::new(kind, id) {
            Ok(subject) if self.are_hashed => self.subject(&subject)[kind.len() + 1..].to_owned(),
            Err(_) if self.are_hashed => "#".to_owned(),
            _ => id.to_owned(),
        }
    }
}

/// For a terminal, so that no two look alike by what cannot be seen.
pub(super) fn escaped(text: &str) -> String {
    text.escape_debug().collect()
}
