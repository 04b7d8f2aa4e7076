//! Who a call is charged to: looked up once for each combination of user, session and sub-agent.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use encumber::{Cap, Engine, Policy, Scope, ScopeError, Source, Subject};

use super::ledger::Ledger;
use super::tally::Tally;
use crate::trace::Call;

/// Parties kept; looking one up again is only slower.
const PARTIES_MAX: usize = 16_384;

/// The subjects of a call.
pub(super) struct Party {
    pub(super) scope: Scope,
    /// The subjects besides `global`, as written.
    pub(super) subjects: Vec<Subject>,
    /// The budgets of the scope, in its order.
    pub(super) seats: Vec<Seat>,
    /// Slice of the user and of the session in the tally.
    pub(super) user: Option<usize>,
    pub(super) session: Option<usize>,
}

/// A budget of a scope. A scope has one subject of a kind, so that a limit has at most one seat in it.
pub(super) struct Seat {
    /// Index of the limit in the policy.
    pub(super) limit: usize,
    /// Number of the budget in the ledger.
    pub(super) budget: usize,
    pub(super) subject: Subject,
    pub(super) cap: Cap,
    /// Where the cap comes from.
    pub(super) source: Source,
}

/// The parties that were looked up.
#[derive(Default)]
pub(super) struct Parties {
    known: HashMap<Box<str>, Rc<Party>>,
    key: String,
}

impl Parties {
    /// The party of `call`. Kinds that the policy does not know are left out: a trace may tell more than a policy limits.
    ///
    /// # Errors
    /// When an id cannot be a subject's.
    pub(super) fn of(
        &mut self,
        call: &Call,
        engine: &Engine,
        policy: &Policy,
        ledger: &mut Ledger,
        tally: &mut Tally,
    ) -> Result<Rc<Party>, ScopeError> {
        write_key(&mut self.key, call);
        if let Some(party) = self.known.get(self.key.as_str()) {
            return Ok(Rc::clone(party));
        }
        let subjects = subjects(call, policy)?;
        let party = Rc::new(Party {
            scope: engine.scope(subjects.iter().cloned())?,
            seats: seats(&subjects, policy, ledger),
            subjects,
            user: call.user.as_deref().map(|user| tally.user(user)),
            session: call.session.as_deref().map(|session| tally.session(session)),
        });
        if self.known.len() == PARTIES_MAX {
            self.known.clear();
        }
        self.known.insert(self.key.as_str().into(), Rc::clone(&party));
        Ok(party)
    }
}

/// One text for one combination: lengths first, since ids may hold any character.
fn write_key(key: &mut String, call: &Call) {
    key.clear();
    for id in [&call.user, &call.session, &call.subagent] {
        // Writing to a String cannot fail.
        let _ = match id {
            Some(id) => write!(key, "{}:{id}", id.len()),
            None => key.write_char('-'),
        };
    }
}

fn subjects(call: &Call, policy: &Policy) -> Result<Vec<Subject>, ScopeError> {
    let mut subjects = Vec::new();
    let mut add = |kind: &str, id: Option<&str>| -> Result<(), ScopeError> {
        if let Some(id) = id.filter(|_| policy.knows_kind(kind)) {
            subjects.push(Subject::new(kind, id)?);
        }
        Ok(())
    };
    add("user", call.user.as_deref())?;
    add("session", call.session.as_deref())?;
    let subagent = match (&call.session, &call.subagent) {
        (Some(session), Some(subagent)) => Some(format!("{session}/{subagent}")),
        (None, Some(subagent)) => Some(subagent.to_string()),
        (_, None) => None,
    };
    add("subagent", subagent.as_deref())?;
    Ok(subjects)
}

fn seats(subjects: &[Subject], policy: &Policy, ledger: &mut Ledger) -> Vec<Seat> {
    let mut seats = Vec::new();
    for subject in subjects.iter().chain([&Subject::global()]) {
        let limits = policy.limits().iter().enumerate().filter(|(_, limit)| limit.kind() == subject.kind());
        for ((index, limit), (_, cap, source)) in limits.zip(policy.resolve(subject, &[])) {
            let budget = ledger.budget(index, subject.as_str(), limit.window(), cap);
            seats.push(Seat { limit: index, budget, subject: subject.clone(), cap, source });
        }
    }
    seats.sort_by_key(|seat| seat.limit);
    seats
}
