//! Drives both sides through the steps of a run.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;

use encumber::{Engine, ManualClock, Policy, Reservation, Resource, Scope, Subjects, Timestamp};
use encumber_model::{HoldId, Model};

use super::compare::{Checked, same};
use super::costs::{Spelled, amount_of, resolved};
use super::ledger::Holds;
use super::script::{Ask, Change, Move, Party, Raw, Span, Step};
use super::words::{self, Answer, Budget, Receipt};
use super::world::{RESOURCES, START_MICROS, SUBJECTS, WINDOWS_PER_RULE_MAX, World};

/// The clock goes at most this far ahead of its start: what an engine tells apart reaches further.
const LATEST_MICROS: i64 = START_MICROS + 18 * 365 * DAY_MICROS;
/// An engine takes a budget that has not been used to have seen a window of a year before it was made; the model knows of none.
const BACK_MICROS: i64 = 250 * DAY_MICROS;
const DAY_MICROS: i64 = 86_400_000_000;
const HOLDS_MAX: usize = 12;
/// How often something happened in runs.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// Where the two sides differ, and the steps up to there.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) difference: String,
    pub(crate) log: String,
}

/// Makes a run of bytes; how often what happened in it.
///
/// # Errors
/// The first difference between engine and model, or a broken invariant.
pub(crate) fn run(head: Raw, steps: &[Raw]) -> Result<Tally, Fault> {
    let mut run = Run::new(head);
    let mut outcome = Ok(());
    for raw in steps {
        let step = Step::read(*raw);
        run.log.push((run.clock.now(), Some(step.clone())));
        outcome = run.step(&step);
        if outcome.is_err() {
            break;
        }
    }
    match outcome.and_then(|()| run.finish()) {
        Ok(()) => Ok(run.tally),
        Err(difference) => Err(Fault { difference, log: told(head, &run.log) }),
    }
}

/// The steps of a run, in words.
fn told(head: Raw, log: &[(Timestamp, Option<Step>)]) -> String {
    let mut text = format!("under {:?}\n", World::read(head).model());
    for (at, step) in log {
        let step = step.as_ref().map_or_else(|| "asks again".to_owned(), |step| format!("{step:?}"));
        let _ = writeln!(text, "{at}  {step}");
    }
    text
}

/// A reservation on both sides.
pub(super) struct Held {
    pub(super) reservation: Reservation,
    pub(super) id: HoldId,
    pub(super) subjects: u8,
    pub(super) holds: Holds,
    pub(super) is_extended: bool,
    pub(super) committed: Option<(Spelled, bool)>,
    /// How often a rule had got another window when it was made.
    pub(super) windows_changed: u32,
}

/// A run under way.
pub(super) struct Run {
    pub(super) world: World,
    pub(super) clock: ManualClock,
    pub(super) engine: Engine,
    pub(super) model: Model,
    pub(super) resources: [Resource; RESOURCES.len()],
    pub(super) scopes: HashMap<u8, Rc<Scope>>,
    pub(super) held: Vec<Held>,
    pub(super) before_jump: Option<i64>,
    /// Instants before this one are not asked about.
    pub(super) earliest: i64,
    /// Whether every budget was made at the start, so that the clock may go back from anywhere.
    is_premade: bool,
    pub(super) windows_changed: u32,
    pub(super) tally: Tally,
    /// The steps so far, and when; none where what was refused is asked again.
    pub(super) log: Vec<(Timestamp, Option<Step>)>,
}

impl Run {
    fn new(head: Raw) -> Self {
        let world = World::read(head);
        let clock = ManualClock::at(Timestamp::from_micros(START_MICROS));
        let engine = Engine::builder(policy(&World::with_all(0))).clock(&clock).build();
        let is_premade = head[7] & 1 == 0;
        for choice in 0..if is_premade { WINDOWS_PER_RULE_MAX } else { 0 } {
            engine.set_policy(policy(&World::with_all(choice)));
            engine.scope(SUBJECTS).expect("kinds of that policy");
        }
        engine.set_policy(policy(&world));
        let resources = RESOURCES.map(|name| engine.resource(name).expect("declared at first"));
        Self {
            model: Model::new(world.model()),
            log: Vec::new(),
            world,
            clock,
            engine,
            resources,
            scopes: HashMap::new(),
            held: Vec::new(),
            before_jump: None,
            earliest: START_MICROS - BACK_MICROS,
            is_premade,
            windows_changed: 0,
            tally: Tally::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Ask { scope, ask, wait } => self.ask(*scope, ask, *wait),
            Step::Settle { .. } if self.held.is_empty() => Ok(()),
            Step::Settle { hold, settle } => self.settle(usize::from(*hold) % self.held.len(), settle),
            Step::UsageAt { scope, ago } => self.usage_at(*scope, *ago),
            Step::Time(to) => {
                self.travel(*to);
                Ok(())
            }
            Step::Policy { rule, change } => {
                self.windows_changed += u32::from(matches!(change, Change::Window(_)));
                self.world.change(*rule, *change);
                self.engine.set_policy(policy(&self.world));
                self.model.set_policy(self.world.model());
                self.count("policy");
                Ok(())
            }
        }
    }

    fn ask(&mut self, party: Party, ask: &Ask, wait: bool) -> Checked {
        let Some(scope) = self.scope(party)? else { return Ok(()) };
        let subjects = texts(party.subjects);
        match ask {
            Ask::Afford { resource } => return self.afford(&scope, &subjects, usize::from(*resource)),
            Ask::Record(costs) => {
                let cost = self.spelled(costs, |run, resource| run.room(&subjects, resource));
                return self.record(&scope, &subjects, &cost);
            }
            _ => {}
        }
        let asked = self.asked(ask, &subjects);
        let answer = self.admission(&scope, party.subjects, &asked)?;
        self.same_usage(&scope, &subjects)?;
        match answer {
            Answer::Refused(rows) if wait => self.wait(&scope, party.subjects, &asked, &rows),
            _ => Ok(()),
        }
    }

    /// Resolves the amounts of what is asked, so that it can be asked again.
    fn asked(&mut self, ask: &Ask, subjects: &[&str]) -> Asked {
        let room = |run: &Self, resource| run.room(subjects, resource);
        match ask {
            Ask::CheckCost(costs) => Asked::CheckCost(self.spelled(costs, room)),
            Ask::Charge(costs) => Asked::Charge(self.spelled(costs, room)),
            Ask::Reserve(costs) => Asked::Reserve(self.spelled(costs, room)),
            Ask::ReserveUpTo { resource, min, want } => {
                let index = usize::from(*resource);
                let room = self.room(subjects, RESOURCES[index]);
                Asked::ReserveUpTo { resource: index, min: resolved(*min, room), want: resolved(*want, room) }
            }
            Ask::Check | Ask::Record(_) | Ask::Afford { .. } => Asked::Check,
        }
    }

    /// Asks both sides for an admission and compares what they say.
    fn admission(&mut self, scope: &Rc<Scope>, bits: u8, asked: &Asked) -> Result<Answer, String> {
        let (subjects, at) = (texts(bits), self.at());
        let before: Vec<_> = scope.usage().iter().flatten().map(words::usage).collect();
        let budgets: Vec<Budget> = before.iter().map(|usage| usage.budget.clone()).collect();
        let mut hold = None;
        let (engine, model) = match asked {
            Asked::Check => (scope.check(), self.model.check(&subjects, at)),
            Asked::CheckCost(cost) => {
                (scope.check_cost(&cost.engine), self.model.check_amount(&subjects, &cost.model, at))
            }
            Asked::Charge(cost) => {
                (scope.try_charge(cost.engine.clone()), self.model.try_charge(&subjects, &cost.model, at))
            }
            Asked::Reserve(cost) => {
                let engine = scope.reserve(cost.engine.clone());
                let model = self.model.reserve(&subjects, &cost.model, at);
                hold = engine.as_ref().ok().zip(model.as_ref().ok()).map(|(_, model)| (model.hold, cost.model.clone()));
                let admission = engine.as_ref().map(|hold| hold.admission()).map_err(Clone::clone);
                self.keep(engine.ok(), hold.as_ref().map(|(id, _)| *id), bits);
                (admission, model.map(|reserved| reserved.admission))
            }
            Asked::ReserveUpTo { resource, min, want } => {
                let name = RESOURCES[*resource];
                let engine = scope.reserve_up_to(self.resources[*resource], *min, *want);
                let model = self.model.reserve_up_to(&subjects, name, *min, *want, at);
                if let (Ok(engine), Ok((model, amount))) = (&engine, &model) {
                    same("the amount held", &engine.held().amount(self.resources[*resource]), &Some(*amount))?;
                    hold = Some((model.hold, vec![(name, *amount)]));
                }
                let admission = engine.as_ref().map(|hold| hold.admission()).map_err(Clone::clone);
                self.keep(engine.ok(), hold.as_ref().map(|(id, _)| *id), bits);
                (admission, model.map(|(reserved, _)| reserved.admission))
            }
        };
        let refusal = engine.as_ref().err().and_then(encumber::ChargeError::refusal).map(encumber::Refusal::retry);
        let engine = match engine {
            Ok(admission) => words::admitted(admission, &budgets),
            Err(error) => words::charge_error(&error),
        };
        let model = model.as_ref().map_or_else(words::model_error, words::model_admitted);
        self.same_answer(&engine, &model)?;
        if let Answer::Refused(rows) = &engine {
            let ends = |row: &words::Row| before.iter().find(|usage| usage.budget == row.budget)?.bounds;
            if rows.iter().any(|row| row.resets_at < ends(row).map(|(_, end)| end)) {
                self.count("renumbered");
            }
        }
        self.count(match (&engine, asked) {
            (Answer::Admitted { over, would_refuse }, _) if !over.is_empty() || !would_refuse.is_empty() => "told",
            (Answer::Admitted { .. }, Asked::Charge(_)) => "charged",
            (Answer::Admitted { .. }, _) => "admitted",
            (Answer::Refused(_), _) => match refusal {
                Some(encumber::Retry::At(_)) => "refused until",
                Some(encumber::Retry::Unknown) => "refused until others end",
                _ => "refused for good",
            },
            _ => "unknown",
        });
        if let (Answer::Admitted { .. }, Some(cost)) = (&engine, asked.taken(hold.as_ref().map(|(_, cost)| &**cost))) {
            self.within_max(scope, &cost)?;
        }
        if let Some((_, cost)) = hold {
            let usage = scope.usage().map_err(|error| error.to_string())?;
            let last = self.held.last_mut().ok_or("a reservation that was not kept")?;
            last.holds.admit(&usage, |resource| amount_of(&cost, resource));
        }
        Ok(engine)
    }

    fn keep(&mut self, reservation: Option<Reservation>, id: Option<HoldId>, subjects: u8) {
        let (Some(reservation), Some(id)) = (reservation, id) else { return };
        self.held.push(Held {
            reservation,
            id,
            subjects,
            holds: Holds::default(),
            is_extended: false,
            committed: None,
            windows_changed: self.windows_changed,
        });
    }

    /// Contract §14.1: after an admission every hard budget that it charged is within its max.
    pub(super) fn within_max(&self, scope: &Scope, cost: &[(&str, u64)]) -> Checked {
        for usage in scope.usage().map_err(|error| error.to_string())? {
            let is_hard = self.world.is_hard(&usage.limit);
            let is_charged = amount_of(cost, &usage.resource).is_some_and(|amount| amount > 0);
            if is_hard && is_charged && usage.cap.max().is_some_and(|max| usage.charged() > max) {
                return Err(format!("admitted past the max of a hard limit: {usage:?}"));
            }
        }
        Ok(())
    }

    /// Contract §14.9: waiting until a refusal says that it helps, with no other traffic, succeeds.
    fn wait(&mut self, scope: &Rc<Scope>, bits: u8, asked: &Asked, rows: &[words::Row]) -> Checked {
        let ends = rows.iter().map(|row| match row.retry {
            encumber_model::Retry::At(then) => Some(then),
            _ => None,
        });
        let Some(then) = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max()) else {
            return Ok(());
        };
        if then > LATEST_MICROS + BACK_MICROS {
            return Ok(());
        }
        self.go(then);
        self.log.push((self.clock.now(), None));
        self.make_room();
        match self.admission(scope, bits, asked)? {
            Answer::Admitted { .. } => self.count("waited"),
            answer => return Err(format!("refused after waiting until it said that it would fit: {answer:?}")),
        }
        self.same_usage(scope, &texts(bits))
    }

    fn record(&mut self, scope: &Rc<Scope>, subjects: &[&str], cost: &Spelled) -> Checked {
        let engine = scope.record(cost.engine.clone());
        let model = self.model.record(subjects, &cost.model, self.at());
        match (engine, model) {
            (Ok(engine), Ok(overages)) => {
                let engine = words::receipt(&engine, |resource| self.name(resource));
                let mut charged = BTreeMap::<String, u64>::new();
                for (resource, amount) in &cost.model {
                    let sum = charged.entry((*resource).to_owned()).or_default();
                    *sum = sum.saturating_add(*amount);
                }
                let charged = charged.into_iter().collect();
                let model = Receipt { charged, overages: words::model_overages(&overages), late: false };
                self.count(if overages.is_empty() { "recorded" } else { "recorded over" });
                same("the receipt of a record", &engine, &model)?;
            }
            (engine, model) => {
                let engine = engine.map_or_else(|error| Some(words::record_error(&error)), |_| None);
                same("the answer to a record", &engine, &model.err().as_ref().map(words::model_error))?;
            }
        }
        self.same_usage(scope, subjects)
    }

    fn afford(&mut self, scope: &Rc<Scope>, subjects: &[&str], resource: usize) -> Checked {
        let engine = scope.afford(self.resources[resource]).map(encumber::Cap::max);
        let model = self.model.afford(subjects, RESOURCES[resource], self.at());
        self.count("afforded");
        let engine = engine.map_err(|error| words::record_error(&error));
        same("what can be afforded", &engine, &model.map_err(|error| words::model_error(&error)))
    }

    fn travel(&mut self, to: Move) {
        let now = self.at();
        let at = match to {
            Move::Forward(span) => now + micros(span),
            Move::Back(span) => now - micros(span),
            Move::Edge { rule, micros } => self.world.end_of_window(rule, now).unwrap_or(now) + i64::from(micros),
            Move::Jump { days } => {
                self.before_jump = Some(now);
                now + i64::from(days) * DAY_MICROS
            }
            Move::Return => self.before_jump.take().unwrap_or(now),
        };
        self.count(if at < now { "went back" } else { "went on" });
        self.go(at.clamp(self.earliest, LATEST_MICROS));
    }

    fn go(&mut self, at: i64) {
        self.clock.set(Timestamp::from_micros(at));
        if !self.is_premade {
            self.earliest = self.earliest.max(at - BACK_MICROS);
        }
    }

    /// The engine's handle on the subjects; none when both sides do not know one of their kinds.
    pub(super) fn scope(&mut self, party: Party) -> Result<Option<Rc<Scope>>, String> {
        if let Some(scope) = self.scopes.get(&party.subjects).filter(|_| !party.is_new) {
            return Ok(Some(Rc::clone(scope)));
        }
        let subjects = texts(party.subjects);
        let engine = if party.is_new {
            let twice = subjects.iter().chain(&subjects).chain(&["global"]);
            let named = twice.fold(Subjects::new(), |all, subject| all.with(*subject).expect("a subject"));
            self.engine.scope_of(named)
        } else {
            self.engine.scope(subjects.iter().copied())
        };
        match engine {
            Ok(scope) => {
                let scope = Rc::new(scope);
                self.scopes.insert(party.subjects, Rc::clone(&scope));
                Ok(Some(scope))
            }
            Err(error) => {
                let model = self.model.usage(&subjects, self.at()).err().as_ref().map(words::model_error);
                self.count("unknown kind");
                same("the answer to a scope", &Some(words::scope_error(&error)), &model).map(|()| None)
            }
        }
    }

    /// Lets go of the oldest reservations, also in the model, when there are many.
    pub(super) fn make_room(&mut self) {
        while self.held.len() > HOLDS_MAX {
            self.drop_hold(0);
        }
    }

    pub(super) fn name(&self, resource: Resource) -> String {
        let place = self.resources.iter().position(|known| *known == resource);
        place.map_or_else(|| "?".to_owned(), |index| RESOURCES[index].to_owned())
    }

    pub(super) fn at(&self) -> i64 {
        self.clock.now().as_micros()
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }
}

/// What is asked, with amounts.
enum Asked {
    Check,
    CheckCost(Spelled),
    Charge(Spelled),
    Reserve(Spelled),
    ReserveUpTo { resource: usize, min: u64, want: u64 },
}

impl Asked {
    /// What an admission of it takes; `held` is what a reservation came to hold.
    fn taken(&self, held: Option<&[(&'static str, u64)]>) -> Option<Vec<(&'static str, u64)>> {
        match self {
            Self::Charge(cost) => Some(cost.model.clone()),
            Self::Reserve(_) | Self::ReserveUpTo { .. } => held.map(<[_]>::to_vec),
            Self::Check | Self::CheckCost(_) => None,
        }
    }
}

fn policy(world: &World) -> Policy {
    world.engine().expect("a policy of this test")
}

/// The subjects that are named by their bits.
pub(super) fn texts(bits: u8) -> Vec<&'static str> {
    SUBJECTS.into_iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1).map(|(_, text)| text).collect()
}

/// The length of a span.
pub(super) fn micros(span: Span) -> i64 {
    (span.unit_seconds * u64::from(span.count)) as i64 * 1_000_000
}
