//! One replay: calls in the order of the trace, settlements in the order of their ends.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::Result;
use encumber::{
    BudgetUsage, ChargeError, Cost, CostError, Engine, Limit, ManualClock, Policy, Refusal, Reservation, Resource,
    Timestamp, Window,
};

use super::Outcome;
use super::costs::{Costed, Costs};
use super::ledger::{Ledger, Peak};
use super::parties::{Parties, Party, Seat};
use super::tally::{Counted, Denial, LimitTally, Tally};
use super::verify::{Difference, Held, Verifier};
use crate::report::{Admission, LimitReport, Report, ResourceReport};
use crate::trace::Call;

/// A trace on its way through an engine.
pub(super) struct Replay {
    policy: Policy,
    engine: Engine,
    clock: ManualClock,
    costs: Costs,
    /// By limit.
    limit_resources: Vec<Resource>,
    admission: Admission,
    max_output: u64,
    parties: Parties,
    ledger: Ledger,
    tally: Tally,
    /// Calls that are not settled, by end and by number.
    open: BTreeMap<(Timestamp, u64), Open>,
    /// The latest start so far.
    latest: Timestamp,
    /// Whether a call has started before an earlier one.
    went_back: bool,
    verifier: Option<Verifier>,
}

/// A call between its start and its end.
struct Open {
    reservation: Reservation,
    asked: Cost,
    actual: Cost,
    party: Rc<Party>,
    /// Starts of the windows that admitted it, by seat.
    windows: Vec<i64>,
    held: Option<Held>,
}

/// Why a call was not replayed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Something is wrong with the call; nothing was counted.
    Call(String),
    /// The reference model says something else than the engine.
    Difference(Difference),
}

impl From<Difference> for Fault {
    fn from(difference: Difference) -> Self {
        Self::Difference(difference)
    }
}

impl From<CostError> for Fault {
    fn from(error: CostError) -> Self {
        match error {
            CostError::UnknownModel(None) => Self::Call(format!("{error}; --model names one")),
            error => fault(error),
        }
    }
}

fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::Call(error.to_string())
}

impl Replay {
    /// A replay under `policy`. A reservation counts with `max_output` output tokens; with `is_verified` the reference model runs
    /// beside the engine.
    ///
    /// # Errors
    /// When the reference model does not cover the policy.
    pub(super) fn new(policy: &Policy, admission: Admission, max_output: u64, is_verified: bool) -> Result<Self> {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let engine = Engine::builder(policy.clone()).clock(&clock).build();
        let costs = Costs::new(&engine)?;
        let limit_resources =
            policy.limits().iter().map(|limit| engine.resource(limit.resource())).collect::<Result<_, _>>()?;
        let verifier = if is_verified { Some(Verifier::new(policy, &costs.resources())?) } else { None };
        Ok(Self {
            tally: Tally::new(costs.resources(), policy.limits().len()),
            ledger: Ledger::new(policy.limits().len()),
            policy: policy.clone(),
            engine,
            clock,
            costs,
            limit_resources,
            admission,
            max_output,
            parties: Parties::default(),
            open: BTreeMap::new(),
            latest: Timestamp::MIN,
            went_back: false,
            verifier,
        })
    }

    /// Replays call number `number`: settles the calls that ended before it, then asks for it.
    ///
    /// # Errors
    /// When it cannot be priced or its subjects cannot be ones, or the reference model differs.
    pub(super) fn call(&mut self, number: u64, call: &Call) -> Result<(), Fault> {
        let Costed { cost: actual, is_unpriced } = self.costs.of(&call.usage, call.recorded_nanos)?;
        let asked = self.asked(call, &actual)?;
        self.settle_until(call.start)?;
        self.clock.set(call.start);
        let party =
            self.parties.of(call, &self.engine, &self.policy, &mut self.ledger, &mut self.tally).map_err(fault)?;
        if is_unpriced {
            self.tally.unpriced();
        }
        match self.admission {
            Admission::Charge => self.charge(number, call, &party, &actual)?,
            Admission::Reserve | Admission::Check => self.reserve(number, call, &party, asked, actual)?,
        }
        self.latest = self.latest.max(call.start);
        Ok(())
    }

    /// Counts a call that could not be replayed.
    pub(super) fn skip(&mut self) {
        self.tally.skip();
    }

    /// Settles what is open and reports.
    ///
    /// # Errors
    /// When the reference model differs.
    pub(super) fn finish(mut self, policy: &str, trace: &str, skipped_lines: u64) -> Result<Outcome, Difference> {
        self.settle_until(Timestamp::MAX)?;
        let counted = self.tally.finish();
        let amounts = counted.total.spent.iter().zip(&counted.total.offered);
        let resources = self.policy.resources().zip(amounts).map(|((name, unit), (spent, offered))| ResourceReport {
            name: name.to_owned(),
            unit,
            spent: *spent,
            offered: *offered,
        });
        let report = Report {
            policy: policy.to_owned(),
            trace: trace.to_owned(),
            admission: self.admission,
            calls: counted.total.calls,
            admitted: counted.total.calls - counted.total.denied,
            denied: counted.total.denied,
            skipped: counted.skipped + skipped_lines,
            span: counted.span,
            resources: resources.collect(),
            limits: limit_reports(&self.policy, &counted, self.ledger.peaks()),
            days: counted.days,
            users: counted.users,
            sessions: counted.sessions,
        };
        Ok(Outcome { report, unpriced: counted.unpriced })
    }

    /// What the call asks for when it starts.
    fn asked(&self, call: &Call, actual: &Cost) -> Result<Cost, Fault> {
        match self.admission {
            Admission::Charge => Ok(actual.clone()),
            Admission::Check => Ok(Costs::nothing_of(actual)),
            Admission::Reserve => {
                let worst_case = call.usage.worst_case(self.max_output);
                Ok(self.costs.of(&worst_case, call.recorded_nanos)?.cost)
            }
        }
    }

    fn charge(&mut self, number: u64, call: &Call, party: &Party, actual: &Cost) -> Result<(), Fault> {
        let answer = party.scope.try_charge(actual.clone());
        if let Some(verifier) = &mut self.verifier {
            verifier.charged(number, party, actual, call.start, answer.as_ref())?;
        }
        match answer {
            Ok(admission) => {
                self.admitted(call, party, actual, actual, admission);
                Ok(())
            }
            Err(error) => self.not_admitted(call, party, actual, error),
        }
    }

    fn reserve(&mut self, number: u64, call: &Call, party: &Rc<Party>, asked: Cost, actual: Cost) -> Result<(), Fault> {
        let answer = party.scope.reserve(asked.clone());
        let held = match &mut self.verifier {
            Some(verifier) => verifier.reserved(number, party, &asked, call.start, answer.as_ref())?,
            None => None,
        };
        match answer {
            Ok(reservation) => {
                let windows = self.admitted(call, party, &asked, &actual, reservation.admission());
                let open = Open { reservation, asked, actual, party: Rc::clone(party), windows, held };
                self.open.insert((call.end, number), open);
                Ok(())
            }
            Err(error) => self.not_admitted(call, party, &actual, error),
        }
    }

    /// Counts an admitted call, and returns the starts of the windows that admitted it, by seat.
    fn admitted(
        &mut self,
        call: &Call,
        party: &Party,
        asked: &Cost,
        actual: &Cost,
        admission: encumber::Admission,
    ) -> Vec<i64> {
        for seat in admission.would_refuse() {
            self.tally.would_refuse(party.seats[seat].limit);
        }
        self.tally.count(call.start, party, actual, None);
        let stays_open = self.admission != Admission::Charge;
        // Once a call has started before an earlier one, calls are counted in the windows that their budgets have reached, and windows
        // may have been renumbered: the engine knows. It also knows the windows that follow use.
        self.went_back |= call.start < self.latest;
        let follows_use = party.seats.iter().any(|seat| self.follows_use(seat));
        let reached = if self.went_back || follows_use { party.scope.usage().ok() } else { None };
        let mut windows = Vec::with_capacity(if stays_open { party.seats.len() } else { 0 });
        for (place, seat) in party.seats.iter().enumerate() {
            let amount = asked.amount(self.limit_resources[seat.limit]);
            let (start, before) = match reached.as_ref().map(|usage| &usage[place]) {
                None => (self.ledger.window_at(seat.budget, call.start), None),
                Some(usage) => {
                    let start = usage.bounds.map_or(i64::MIN, |bounds| bounds.start.as_micros());
                    (start, Some(u128::from(usage.charged().saturating_sub(amount.unwrap_or(0)))))
                }
            };
            match amount {
                Some(0) if !stays_open => {}
                Some(_) if self.rolls(seat) => self.stands(party, place, reached.as_deref()),
                Some(amount) => self.ledger.admit(seat.budget, start, before, amount, stays_open),
                None => {}
            }
            if stays_open {
                windows.push(start);
            }
        }
        windows
    }

    /// Whether the windows of the limit depend on use.
    fn follows_use(&self, seat: &Seat) -> bool {
        let window = self.policy.limits()[seat.limit].window();
        matches!(window, Window::Rolling(_) | Window::FirstUse(_))
    }

    fn rolls(&self, seat: &Seat) -> bool {
        matches!(self.policy.limits()[seat.limit].window(), Window::Rolling(_))
    }

    fn stands(&mut self, party: &Party, place: usize, usage: Option<&[BudgetUsage]>) {
        if let Some(usage) = usage.and_then(|usage| usage.get(place)) {
            self.ledger.stands(party.seats[place].budget, usage.charged());
        }
    }

    fn not_admitted(&mut self, call: &Call, party: &Party, actual: &Cost, error: ChargeError) -> Result<(), Fault> {
        let refusal = match error {
            ChargeError::Refused(refusal) => refusal,
            other => return Err(fault(other)),
        };
        let violated = self.violated(party, &refusal);
        let denial = Denial { violated: &violated, primary: refusal.primary() };
        self.tally.count(call.start, party, actual, Some(denial));
        Ok(())
    }

    fn violated(&self, party: &Party, refusal: &Refusal) -> Vec<usize> {
        let limits = self.policy.limits();
        let of = |violation: &encumber::Violation| {
            party.seats.iter().map(|seat| seat.limit).find(|limit| limits[*limit].id() == &*violation.limit)
        };
        refusal.violations().filter_map(of).collect()
    }

    /// Settles the calls that ended at `at` or before, in the order of their ends.
    fn settle_until(&mut self, at: Timestamp) -> Result<(), Difference> {
        while let Some(first) = self.open.first_entry().filter(|first| first.key().0 <= at) {
            let ((end, number), open) = first.remove_entry();
            self.clock.set(end);
            self.settle(number, end, &open)?;
        }
        Ok(())
    }

    fn settle(&mut self, number: u64, end: Timestamp, open: &Open) -> Result<(), Difference> {
        let commit = open.reservation.commit(open.actual.clone());
        let receipt = commit.map_err(|error| Difference::unsettled(number, error))?;
        let mut charged = Vec::new();
        let stand =
            if open.party.seats.iter().any(|seat| self.rolls(seat)) { open.party.scope.usage().ok() } else { None };
        for (place, (seat, start)) in open.party.seats.iter().zip(&open.windows).enumerate() {
            let resource = self.limit_resources[seat.limit];
            if self.rolls(seat) {
                self.stands(&open.party, place, stand.as_deref());
            } else if let (Some(held), Some(actual)) = (open.asked.amount(resource), open.actual.amount(resource)) {
                let now = self.ledger.settle(seat.budget, *start, held, actual);
                // What the model calls a window that follows use, its usage shows.
                if !self.follows_use(seat) {
                    charged.push((seat, *start, now));
                }
            }
        }
        match (&mut self.verifier, open.held) {
            (Some(verifier), Some(held)) => {
                verifier.settled(number, &open.party, held, &open.actual, end, &receipt)?;
                verifier.ledger(number, &charged)
            }
            _ => Ok(()),
        }
    }
}

fn limit_reports(policy: &Policy, counted: &Counted, peaks: &[Peak]) -> Vec<LimitReport> {
    let resource = |name: &str| policy.resources().position(|(resource, _)| resource == name).unwrap_or(0);
    let clamped = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
    let limits = policy.limits().iter().zip(&counted.limits).zip(&counted.total.denied_by).zip(peaks);
    let report = |(((limit, tally), denied), peak): (((&Limit, &LimitTally), &u64), &Peak)| LimitReport {
        id: limit.id().to_owned(),
        kind: limit.kind().to_owned(),
        resource: resource(limit.resource()),
        window: limit.window().to_string(),
        cap: limit.max(),
        enforcement: limit.enforced(),
        denied: *denied,
        violated: tally.violated,
        would_refuse: tally.would_refuse,
        windows_hit: tally.windows_hit,
        first_denied: tally.first_denied.clone(),
        peak_over: clamped(peak.over),
        peak: clamped(peak.charged),
    };
    limits.map(report).collect()
}

#[cfg(test)]
mod tests {
    use encumber::{Cap, Limit, Price, Rates, Ratio, TokenClass, Unit, Usage, Window};

    use super::*;

    /// A dollar for each output token, and this many a day.
    fn policy(dollars: u64) -> Policy {
        let price = Price::new().with(TokenClass::Input, Ratio::ZERO).with(TokenClass::Output, Ratio::from(1_000_000));
        Policy::builder()
            .resource("usd", Unit::Usd)
            .limit(Limit::new("day", "user", "usd", Window::Day, Cap::Max(dollars * encumber::NANOS_PER_USD)))
            .rates(Rates::strict().price("m", price))
            .build()
            .unwrap()
    }

    fn call(start: i64, tokens: u64) -> Call {
        Call {
            start: Timestamp::from_seconds(start),
            end: Timestamp::from_seconds(start + 1),
            user: Some("dev-1".into()),
            session: None,
            subagent: None,
            usage: Usage::new().with(TokenClass::Output, tokens).model("m"),
            recorded_nanos: None,
        }
    }

    #[test]
    fn the_first_difference_stops_the_replay_and_says_which_call_it_is() {
        for admission in [Admission::Reserve, Admission::Charge, Admission::Check] {
            let mut replay = Replay::new(&policy(3), admission, 1, true).unwrap();
            // A model that forgets the first call.
            replay.verifier = None;
            replay.call(1, &call(0, 2)).unwrap();
            replay.verifier = Some(Verifier::new(&policy(3), &replay.costs.resources()).unwrap());
            let Err(Fault::Difference(difference)) = replay.call(2, &call(10, 2)) else { panic!("they differ") };
            let said = difference.to_string();
            assert!(said.starts_with("call 2, ") && said.contains("the reference model says"), "{said}");
        }
    }

    #[test]
    fn a_call_that_cannot_be_one_counts_nowhere() {
        let mut replay = Replay::new(&policy(3), Admission::Reserve, 1, true).unwrap();
        let nameless = Call { user: Some("x".repeat(257).into()), ..call(0, 1) };
        assert!(matches!(replay.call(1, &nameless), Err(Fault::Call(_))));
        replay.skip();
        let report = replay.finish("p", "t", 2).unwrap().report;
        assert_eq!((report.calls, report.skipped, report.users.len()), (0, 3, 0));
    }
}
