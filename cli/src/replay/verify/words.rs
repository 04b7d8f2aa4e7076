//! What the engine and the reference model say, in the same words.

use encumber::{Admission, BudgetUsage, Cap, ChargeError, Receipt, ScopeError, Timestamp};
use encumber_model as reference;

use crate::replay::parties::Party;

/// The engine's answer to a charge or a reservation.
pub(super) fn answer(engine: Result<Admission, &ChargeError>, party: &Party, policy: &reference::Policy) -> String {
    match engine {
        Ok(admission) => {
            let named = |place: usize| {
                let seat = &party.seats[place];
                budget(&policy.limits[seat.limit].id, seat.subject.as_str())
            };
            let over: Vec<String> = admission.over().map(named).collect();
            let shadow: Vec<String> = admission.would_refuse().map(named).collect();
            admitted(&over, &shadow)
        }
        Err(ChargeError::Refused(refusal)) => {
            let rows = refusal.violations().map(|v| {
                let end = v.resets_at.map(Timestamp::as_micros);
                violation(&budget(&v.limit, v.subject.as_str()), [v.requested, v.max, v.used, v.held, v.remaining], end)
            });
            format!("refused by {}", listed(&rows.collect::<Vec<_>>()))
        }
        Err(error) => error.to_string(),
    }
}

/// The model's.
pub(super) fn model_answer(model: Result<&reference::Admission, &reference::Error>) -> String {
    match model {
        Ok(admission) => {
            let over = admission.over.iter().map(|over| budget(&over.limit, &over.subject));
            let shadow = admission.shadow.iter().map(|shadow| budget(&shadow.limit, &shadow.subject));
            admitted(&over.collect::<Vec<_>>(), &shadow.collect::<Vec<_>>())
        }
        Err(reference::Error::Refused(refusal)) => {
            let rows = refusal.violations.iter().map(|v| {
                let amounts = [v.requested, v.max, v.used, v.held, v.remaining];
                violation(&budget(&v.limit, &v.subject), amounts, v.window_end)
            });
            format!("refused by {}", listed(&rows.collect::<Vec<_>>()))
        }
        Err(error) => format!("{error:?}"),
    }
}

/// The engine's receipt; with `says_overages` the budgets that are over with it.
pub(super) fn receipt(engine: &Receipt, says_overages: bool) -> String {
    let overages = engine.overages().iter().map(|over| overage(&over.limit, over.subject.as_str(), over.above));
    committed(&overages.filter(|_| says_overages).collect::<Vec<_>>())
}

/// The model's.
pub(super) fn model_receipt(model: Result<&reference::Settled, &reference::Error>, says_overages: bool) -> String {
    match model {
        Ok(settled) => {
            let overages = settled.overage.iter().map(|over| overage(&over.limit, &over.subject, over.excess));
            committed(&overages.filter(|_| says_overages).collect::<Vec<_>>())
        }
        Err(error) => format!("{error:?}"),
    }
}

/// The engine's budgets of a scope.
pub(super) fn usage(engine: Result<Vec<BudgetUsage>, ScopeError>) -> Vec<String> {
    match engine {
        Ok(usage) => {
            let row = |usage: BudgetUsage| {
                let name = budget(&usage.limit, usage.subject.as_str());
                let remaining = usage.remaining().max();
                let start = usage.bounds.map(|bounds| bounds.start.as_micros());
                let cap = match usage.cap {
                    Cap::Max(max) => Some(max),
                    Cap::Unlimited => None,
                };
                state(&name, cap, [usage.used, usage.held], remaining, start, usage.status.name())
            };
            usage.into_iter().map(row).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// The model's.
pub(super) fn model_usage(model: Result<Vec<reference::Usage>, reference::Error>) -> Vec<String> {
    match model {
        Ok(usage) => {
            let row = |usage: reference::Usage| {
                let name = budget(&usage.limit, &usage.subject);
                let status = match usage.status {
                    reference::Status::Ok => "ok",
                    reference::Status::Warning => "warning",
                    reference::Status::Exhausted => "exhausted",
                    reference::Status::Over => "over",
                };
                state(&name, usage.max, [usage.used, usage.held], usage.remaining, usage.window_start, status)
            };
            usage.into_iter().map(row).collect()
        }
        Err(error) => vec![format!("{error:?}")],
    }
}

fn budget(limit: &str, subject: &str) -> String {
    format!("{limit} of {subject}")
}

fn overage(limit: &str, subject: &str, above: u64) -> String {
    format!("{} by {above}", budget(limit, subject))
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn admitted(over: &[String], shadow: &[String]) -> String {
    format!("admitted (over: {}; shadow limits that would refuse: {})", listed(over), listed(shadow))
}

fn committed(overages: &[String]) -> String {
    format!("committed (over: {})", listed(overages))
}

fn violation(budget: &str, [requested, max, used, held, remaining]: [u64; 5], end: Option<i64>) -> String {
    let resets = end.map_or("never".to_owned(), |end| Timestamp::from_micros(end).to_string());
    format!("{budget} (asked {requested}, max {max}, used {used}, held {held}, left {remaining}, resets {resets})")
}

fn state(
    budget: &str,
    max: Option<u64>,
    [used, held]: [u64; 2],
    remaining: Option<u64>,
    start: Option<i64>,
    status: &str,
) -> String {
    let number = |number: Option<u64>| number.map_or("unlimited".to_owned(), |number| number.to_string());
    let since = start.map_or("ever".to_owned(), |start| Timestamp::from_micros(start).to_string());
    let (max, left) = (number(max), number(remaining));
    format!("{budget} (max {max}, used {used}, held {held}, left {left}, since {since}, {status})")
}
