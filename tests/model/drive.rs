//! Drives both sides through the steps of a run.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Deref;
use std::rc::Rc;

use encumber::{
    Admission, BudgetUsage, Component, DetachedHold, Engine, EngineBuilder, Hold, ManualClock, Policy, Reservation,
    ReserveError, Resource, Scope, ScopeError, Subjects, Timestamp,
};
use encumber_model::{HoldId, Model, ReceiptId};

use super::compare::{Checked, same};
use super::costs::{Spelled, amount_of, resolved};
use super::keep;
use super::ledger::Holds;
use super::reopen::{Home, Reopening};
use super::script::{Ask, Change, Move, Party, Raw, Span, Step};
use super::words::{self, Answer, Receipt};
use super::world::{RESOURCES, START_MICROS, SUBJECTS, WINDOWS_PER_RULE_MAX, World};

/// The clock goes at most this far ahead of its start: what an engine tells apart reaches further.
const LATEST_MICROS: i64 = START_MICROS + 18 * 365 * DAY_MICROS;
/// An engine takes a budget that has not been used to have seen a window of a year before it was made; the model knows of none.
const BACK_MICROS: i64 = 250 * DAY_MICROS;
const DAY_MICROS: i64 = 86_400_000_000;
const HOLDS_MAX: usize = 12;
const IDS: [&str; 4] = ["a", "b", "c", "d"];
/// What can be degraded.
pub(super) const COMPONENTS: [Component; 2] = [Component::Store, Component::Policy];
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
pub(crate) fn run(head: Raw, steps: &[Raw], reopening: Reopening) -> Result<Tally, Fault> {
    let mut run = Run::new(head, reopening);
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

/// The engine's handle on a hold.
#[allow(clippy::large_enum_variant, reason = "a few of them, in tests")]
pub(super) enum Handle {
    /// Dropping it settles the hold.
    Owned(Reservation),
    Detached(DetachedHold),
    /// Its engine is closed.
    #[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "none is closed"))]
    Gone,
}

impl Deref for Handle {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        match self {
            Self::Owned(reservation) => reservation,
            Self::Detached(hold) => hold,
            Self::Gone => panic!("a hold of a closed engine"),
        }
    }
}

impl Handle {
    /// Answerable for the hold.
    pub(super) fn attached(self) -> Self {
        match self {
            Self::Detached(detached) => Self::Owned(detached.attach()),
            other => other,
        }
    }
}

/// A reservation on both sides.
pub(super) struct Held {
    pub(super) handle: Handle,
    pub(super) id: HoldId,
    pub(super) subjects: u8,
    /// What it was asked for with, under an id of the caller's.
    asked: Option<Asked>,
    pub(super) holds: Holds,
    pub(super) committed: Option<(Spelled, bool)>,
    /// How often a rule had got another window when it was made.
    pub(super) windows_changed: u32,
    /// Whether it is detached only to outlive its engine.
    #[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "none does"))]
    pub(super) was_attached: bool,
    /// Whether an engine before settled it: what is told of that again is what was charged, not whether it was late.
    pub(super) was_settled: bool,
}

/// A run under way.
pub(super) struct Run {
    pub(super) world: World,
    pub(super) clock: ManualClock,
    #[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "read when an engine is opened again"))]
    pub(super) head: Raw,
    pub(super) engine: Engine,
    /// After the engine, which has its lock.
    #[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "nobody comes back"))]
    pub(super) home: Home,
    pub(super) model: Model,
    pub(super) resources: [Resource; RESOURCES.len()],
    pub(super) scopes: HashMap<u8, Rc<Scope>>,
    /// Handles on every budget that was ever asked for. The model forgets nothing; what eviction forgets is tested in `tests/bounds.rs`.
    pub(super) kept: Vec<Scope>,
    pub(super) held: Vec<Held>,
    pub(super) receipts: Vec<(encumber::Receipt, ReceiptId)>,
    pub(super) before_jump: Option<i64>,
    /// Instants before this one are not asked about.
    pub(super) earliest: i64,
    /// The latest instant so far.
    pub(super) latest: i64,
    /// Which of [`COMPONENTS`] are degraded.
    pub(super) degraded: [bool; COMPONENTS.len()],
    /// Whether every budget was made at the start, so that the clock may go back from anywhere.
    is_premade: bool,
    pub(super) windows_changed: u32,
    pub(super) tally: Tally,
    /// The steps so far, and when; none where what was refused is asked again.
    pub(super) log: Vec<(Timestamp, Option<Step>)>,
}

impl Run {
    fn new(head: Raw, reopening: Reopening) -> Self {
        let world = World::read(head);
        let clock = ManualClock::at(Timestamp::from_micros(START_MICROS));
        let settings = keep::settings(head);
        let home = Home::new(reopening, head);
        let engine = home.build(builder(&World::with_all(0), &clock, head));
        let resources = RESOURCES.map(|name| engine.resource(name).expect("declared at first"));
        let is_premade = head[7] & 1 == 0;
        let mut run = Self {
            model: Model::with_settings(world.model(), settings),
            log: Vec::new(),
            world,
            clock,
            head,
            engine,
            home,
            resources,
            scopes: HashMap::new(),
            kept: Vec::new(),
            held: Vec::new(),
            receipts: Vec::new(),
            before_jump: None,
            earliest: START_MICROS - BACK_MICROS,
            latest: START_MICROS,
            degraded: [false; COMPONENTS.len()],
            is_premade,
            windows_changed: 0,
            tally: Tally::new(),
        };
        if is_premade {
            run.make_budgets();
        }
        run.enforce();
        run
    }

    /// The engine's builder, with the policy in force.
    #[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "used when an engine is opened again"))]
    pub(super) fn builder(&self) -> EngineBuilder {
        builder(&self.world, &self.clock, self.head)
    }

    /// Makes every budget that there can be.
    pub(super) fn make_budgets(&mut self) {
        for choice in 0..WINDOWS_PER_RULE_MAX {
            self.engine.set_policy(policy(&World::with_all(choice)));
            self.kept.push(self.engine.scope(SUBJECTS).expect("kinds of that policy"));
        }
    }

    /// Puts the policy of the world in force.
    pub(super) fn enforce(&self) {
        self.engine.set_policy(policy(&self.world));
    }

    fn step(&mut self, step: &Step) -> Checked {
        self.make(step)?;
        // A clone is of the policy that the scope was asked under last.
        self.kept.extend(self.scopes.values().map(|scope| Scope::clone(scope)));
        same("how many holds are kept", &self.engine.holds(), &(self.model.kept() as u64))?;
        self.after_step()?;
        same("how many holds are kept", &self.engine.holds(), &(self.model.kept() as u64))
    }

    fn make(&mut self, step: &Step) -> Checked {
        match step {
            Step::Ask { scope, ask, wait } => self.ask(*scope, ask, *wait),
            Step::Settle { .. } if self.held.is_empty() => Ok(()),
            Step::Settle { hold, settle } => self.settle(usize::from(*hold) % self.held.len(), settle),
            Step::Refund { .. } if self.receipts.is_empty() => Ok(()),
            Step::Refund { receipt, costs } => self.refund(usize::from(*receipt) % self.receipts.len(), costs),
            Step::Sweep => same("how many expired", &self.engine.sweep().expired, &self.model.sweep(self.at())),
            Step::Degrade { store, degraded } => {
                let place = usize::from(!*store);
                let model = [encumber_model::Component::Store, encumber_model::Component::Policy][place];
                self.degraded[place] = *degraded;
                self.engine.set_degraded(COMPONENTS[place], *degraded);
                self.model.set_degraded(model, *degraded);
                Ok(())
            }
            Step::UsageAt { scope, ago } => self.usage_at(*scope, *ago),
            Step::Time(to) => self.travel(*to),
            Step::Policy { rule, change } => {
                self.windows_changed += u32::from(matches!(change, Change::Window(_)));
                self.world.change(*rule, *change);
                self.enforce();
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
            Ask::ReserveFor { costs, ttl_micros } => Asked::ReserveFor(self.spelled(costs, room), *ttl_micros),
            Ask::ReserveWithId { id, costs, ttl_micros } => {
                Asked::ReserveWithId(IDS[usize::from(*id)], self.spelled(costs, room), *ttl_micros)
            }
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
        // Looking collects holds whose time has run out, so only sometimes.
        let looks = self.log.len().is_multiple_of(2);
        let before = if looks { self.engine_usage(scope).unwrap_or_default() } else { Vec::new() };
        let (engine, model) = match asked {
            Asked::Check => (scope.check().map_err(ReserveError::from), self.model.check(&subjects, at)),
            Asked::CheckCost(cost) => {
                let model = self.model.check_amount(&subjects, &cost.model, at);
                (scope.check_cost(&cost.engine).map_err(ReserveError::from), model)
            }
            Asked::Charge(cost) => {
                let engine = if self.log.len().is_multiple_of(3) {
                    self.engine.try_charge(&subjects, cost.engine.clone())
                } else {
                    scope.try_charge(cost.engine.clone())
                };
                (engine.map_err(ReserveError::from), self.model.try_charge(&subjects, &cost.model, at))
            }
            Asked::Reserve(cost) => {
                let engine = scope.reserve(cost.engine.clone()).map(Handle::Owned);
                let model = self.model.reserve(&subjects, &cost.model, at);
                self.keep(engine.map_err(ReserveError::from), model, bits)
            }
            Asked::ReserveFor(cost, ttl) => {
                let engine = scope.reserve_for(cost.engine.clone(), keep::duration(*ttl)).map(Handle::Owned);
                let model = self.model.reserve_for(&subjects, &cost.model, *ttl, at);
                self.keep(engine.map_err(ReserveError::from), model, bits)
            }
            Asked::ReserveWithId(id, cost, ttl) => {
                let engine = scope.reserve_with_id(*id, keep::duration(*ttl), cost.engine.clone());
                let model = self.model.reserve_with_id(&subjects, id, &cost.model, *ttl, at);
                if let (Ok(engine), Ok((model, replayed))) = (&engine, &model) {
                    same("whether the hold was there", &engine.is_replayed(), replayed)?;
                    if *replayed {
                        return self.replayed(scope, engine, model.hold, &before);
                    }
                }
                self.keep(engine.map(Handle::Detached), model.map(|(reserved, _)| reserved), bits)
            }
            Asked::ReserveUpTo { resource, min, want } => {
                let name = RESOURCES[*resource];
                let engine = scope.reserve_up_to(self.resources[*resource], *min, *want);
                let model = self.model.reserve_up_to(&subjects, name, *min, *want, at);
                if let (Ok(engine), Ok((_, amount))) = (&engine, &model) {
                    same("the amount held", &engine.held().amount(self.resources[*resource]), &Some(*amount))?;
                }
                let engine = engine.map(Handle::Owned).map_err(ReserveError::from);
                self.keep(engine, model.map(|(reserved, _)| reserved), bits)
            }
        };
        let refusal = engine.as_ref().err().and_then(ReserveError::refusal).map(encumber::Refusal::retry);
        let is_reserved = engine.is_ok() && asked.reserves();
        let expired_above = self.model.expired_above();
        let usage = if engine.is_ok() { self.engine_usage(scope).unwrap_or_default() } else { Vec::new() };
        let budgets: Vec<_> = usage.iter().map(|usage| words::usage(usage).budget).collect();
        let engine = match engine {
            Ok(admission) => words::admitted(admission, &budgets),
            Err(error) => words::reserve_error(&error),
        };
        let model = model.as_ref().map_or_else(words::model_error, words::model_admitted);
        self.same_answer(&engine, &model)?;
        self.count_answer(&engine, asked, refusal);
        if let Answer::Refused(rows) = &engine {
            self.after_refusal(scope, rows, &before)?;
        }
        if let Answer::Admitted { .. } = &engine
            && is_reserved
        {
            let last = self.held.last_mut().ok_or("a reservation that was not kept")?;
            let held = last.handle.held();
            let resources = self.resources;
            let amount = |name: &str| {
                let place = RESOURCES.iter().position(|known| *known == name)?;
                held.amount(resources[place])
            };
            last.holds.admit(&usage, amount);
            last.asked = matches!(asked, Asked::ReserveWithId(..)).then(|| asked.clone());
            if self.model.expired_above() == expired_above {
                self.within_max(&usage, amount)?;
            }
        }
        if let (Answer::Admitted { .. }, Asked::Charge(cost)) = (&engine, asked)
            && self.model.expired_above() == expired_above
        {
            self.within_max(&usage, |resource| amount_of(&cost.model, resource))?;
        }
        Ok(engine)
    }

    fn count_answer(&mut self, answer: &Answer, asked: &Asked, retry: Option<encumber::Retry>) {
        self.count(match (answer, asked) {
            (Answer::Admitted { degraded: true, .. }, _) => "passed while degraded",
            (Answer::Admitted { over, would_refuse, .. }, _) if !over.is_empty() || !would_refuse.is_empty() => "told",
            (Answer::Admitted { .. }, Asked::Charge(_)) => "charged",
            (Answer::Admitted { .. }, _) => "admitted",
            (Answer::Refused(_), _) => match retry {
                Some(encumber::Retry::At(_)) => "refused until",
                Some(encumber::Retry::Unknown) => "refused until others end",
                _ => "refused for good",
            },
            (Answer::TooManyHolds(_), _) => "too many holds",
            (Answer::Degraded(_), _) => "closed while degraded",
            (Answer::Settled("conflict"), _) => "id in use",
            (Answer::Settled(_), _) => "id settled",
            _ => "unknown",
        });
    }

    /// Contract §14.3: a refusal leaves every budget as it was; a window that a jumped clock opened may have been renumbered.
    fn after_refusal(&mut self, scope: &Scope, rows: &[words::Row], before: &[BudgetUsage]) -> Checked {
        if before.is_empty() {
            return Ok(());
        }
        let after = self.engine_usage(scope).map_err(|error| error.to_string())?;
        for (before, after) in before.iter().zip(&after) {
            same("what is charged after a refusal", &after.charged(), &before.charged())?;
            let budget = words::usage(before).budget;
            let end = before.bounds.map(|bounds| bounds.end.as_micros());
            if rows.iter().any(|row| row.budget == budget && row.resets_at < end) {
                self.count("renumbered");
            }
        }
        Ok(())
    }

    /// Contract §14.11: replaying an idempotent call changes nothing.
    fn replayed(
        &mut self,
        scope: &Scope,
        found: &DetachedHold,
        id: HoldId,
        before: &[BudgetUsage],
    ) -> Result<Answer, String> {
        let held = self.held.iter().find(|held| held.id == id).ok_or("an open hold that was let go of")?;
        same("what is held under an id", &found.held(), &held.handle.held())?;
        let after = self.engine_usage(scope).map_err(|error| error.to_string())?;
        if !before.is_empty() {
            same("the usage after a replay", &after, &before.to_vec())?;
        }
        self.count("id replayed");
        Ok(Answer::Admitted { over: Vec::new(), would_refuse: Vec::new(), degraded: false })
    }

    /// Reserves under the id of the hold at `index` again, if the caller chose it.
    pub(super) fn reserve_again(&mut self, index: usize) -> Checked {
        let Held { asked: Some(asked), subjects, .. } = &self.held[index] else { return Ok(()) };
        let (asked, subjects) = (asked.clone(), *subjects);
        let Some(scope) = self.scope(Party { subjects, is_new: false })? else { return Ok(()) };
        self.admission(&scope, subjects, &asked).map(|_| ())
    }

    /// The engine's usage. Holds whose time has run out are collected by that, on both sides.
    pub(super) fn engine_usage(&mut self, scope: &Scope) -> Result<Vec<BudgetUsage>, ScopeError> {
        let usage = scope.usage()?;
        self.model.sweep(self.at());
        Ok(usage)
    }

    /// Keeps a reservation that both sides made, and tells how each admitted it.
    fn keep(
        &mut self,
        engine: Result<Handle, ReserveError>,
        model: Result<encumber_model::Reserved, encumber_model::Error>,
        subjects: u8,
    ) -> (Result<Admission, ReserveError>, Result<encumber_model::Admission, encumber_model::Error>) {
        let admission = engine.as_ref().map(|handle| handle.admission()).map_err(Clone::clone);
        if let (Ok(handle), Ok(reserved)) = (engine, &model) {
            self.held.push(Held::new(handle, reserved.hold, subjects, self.windows_changed));
        }
        (admission, model.map(|reserved| reserved.admission))
    }

    /// Contract §14.1: after an admission every hard budget that it charged is within its max.
    pub(super) fn within_max(&self, usage: &[BudgetUsage], amount: impl Fn(&str) -> Option<u64>) -> Checked {
        // What is let through while something is degraded may go over.
        if self.engine.degraded().is_some() {
            return Ok(());
        }
        for usage in usage {
            let is_hard = self.world.is_hard(&usage.limit);
            let is_charged = amount(&usage.resource).is_some_and(|amount| amount > 0);
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
        let expired_above = self.model.expired_above();
        match self.admission(scope, bits, asked)? {
            Answer::Admitted { .. } | Answer::TooManyHolds(_) => self.count("waited"),
            // A call that went out and took more than it held is other traffic.
            Answer::Refused(_) if self.model.expired_above() > expired_above => self.count("waited in vain"),
            answer => return Err(format!("refused after waiting until it said that it would fit: {answer:?}")),
        }
        self.same_usage(scope, &texts(bits))
    }

    fn record(&mut self, scope: &Rc<Scope>, subjects: &[&str], cost: &Spelled) -> Checked {
        let engine = scope.record(cost.engine.clone());
        let model = self.model.record(subjects, &cost.model, self.at());
        match (engine, model) {
            (Ok(receipt), Ok(recorded)) => {
                let overages = recorded.overage;
                let engine = words::receipt(&receipt, |resource| self.name(resource));
                self.receipts.push((receipt, recorded.receipt));
                let mut charged = BTreeMap::<String, u64>::new();
                for (resource, amount) in &cost.model {
                    let sum = charged.entry((*resource).to_owned()).or_default();
                    *sum = sum.saturating_add(*amount);
                }
                let charged = charged.into_iter().collect();
                let degraded = recorded.degraded;
                let model = Receipt { charged, overages: words::model_overages(&overages), late: false, degraded };
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

    fn travel(&mut self, to: Move) -> Checked {
        let now = self.at();
        let at = match to {
            Move::Forward(span) => now + micros(span),
            Move::Back(span) => now - micros(span),
            Move::Edge { budget, micros } => {
                let ends = self.model.bounds(&SUBJECTS, now).unwrap_or_default();
                let ends: Vec<i64> = ends.into_iter().flatten().map(|(_, end)| end).collect();
                ends.get(usize::from(budget) % ends.len().max(1)).map_or(now, |end| end + i64::from(micros))
            }
            Move::Due { hold, micros } => {
                let held = self.held.get(usize::from(hold) % self.held.len().max(1));
                let due = held.and_then(|held| self.model.expires_at(held.id));
                same(
                    "when it expires",
                    &held.and_then(|held| held.handle.expires_at()).map(Timestamp::as_micros),
                    &due,
                )?;
                due.map_or(now, |due| due + i64::from(micros))
            }
            Move::Jump { days } => {
                self.before_jump = Some(now);
                now + i64::from(days) * DAY_MICROS
            }
            Move::Return => self.before_jump.take().unwrap_or(now),
        };
        let at = at.clamp(self.earliest, LATEST_MICROS.max(self.earliest));
        self.count(if at < now { "went back" } else { "went on" });
        if at < now {
            return self.go_back(at);
        }
        self.go(at);
        Ok(())
    }

    /// Contract §14.14: a clock that went back lets nothing in that had no room before.
    fn go_back(&mut self, at: i64) -> Checked {
        let subjects = texts(u8::MAX);
        let rooms = |run: &Self| RESOURCES.map(|name| run.model.room(&subjects, name, run.at()));
        let before = rooms(self);
        self.go(at);
        for (before, after) in before.iter().zip(rooms(self)) {
            let height = |room: &Result<Option<u64>, _>| room.as_ref().ok().map(|room| room.unwrap_or(u64::MAX));
            if height(&after) > height(before) {
                return Err(format!("going back made room: {before:?} before, {after:?} afterwards"));
            }
        }
        Ok(())
    }

    fn go(&mut self, at: i64) {
        self.clock.set(Timestamp::from_micros(at));
        self.latest = self.latest.max(at);
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
#[derive(Clone)]
enum Asked {
    Check,
    CheckCost(Spelled),
    Charge(Spelled),
    Reserve(Spelled),
    ReserveFor(Spelled, i64),
    ReserveWithId(&'static str, Spelled, i64),
    ReserveUpTo { resource: usize, min: u64, want: u64 },
}

impl Asked {
    /// Whether an admission of it is a reservation.
    fn reserves(&self) -> bool {
        !matches!(self, Self::Check | Self::CheckCost(_) | Self::Charge(_))
    }
}

impl Held {
    pub(super) fn new(handle: Handle, id: HoldId, subjects: u8, windows_changed: u32) -> Self {
        let holds = Holds::default();
        let (asked, committed, was_attached, was_settled) = (None, None, false, false);
        Self { handle, id, subjects, asked, holds, committed, windows_changed, was_attached, was_settled }
    }

    /// Its amounts in the resources of the run's engine.
    #[cfg_attr(not(feature = "persist"), allow(dead_code, reason = "used when an engine is opened again"))]
    pub(super) fn spell_again(&mut self, run: &Run) {
        if let Some(Asked::ReserveWithId(_, spelled, _)) = &mut self.asked {
            *spelled = run.spelled_again(spelled);
        }
        if let Some((spelled, _)) = &mut self.committed {
            *spelled = run.spelled_again(spelled);
        }
    }
}

fn builder(world: &World, clock: &ManualClock, head: Raw) -> EngineBuilder {
    keep::set_up(Engine::builder(policy(world)).clock(clock), keep::settings(head))
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
