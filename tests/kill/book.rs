//! What the parent knows: how each budget stood when a life began, what was answered in it, and what was going on when it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use encumber::{Engine, ReserveError};

use crate::words::{Did, RESET, RULES, SCOPES, SUBJECTS, Said, THREADS, What, Will, amount_max};

/// A limit and whom it limits.
pub(crate) type Budget = (&'static str, &'static str);

/// A hold under an id: its scope, its resource and its amount.
type Kept = (usize, String, u64);

/// What an engine says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Charged, held, and the cap.
    budgets: BTreeMap<Budget, (u64, u64, Option<u64>)>,
    holds: BTreeMap<String, Kept>,
}

impl Standing {
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut budgets = BTreeMap::new();
        for subject in SUBJECTS {
            for usage in engine.scope([subject]).unwrap().usage().unwrap() {
                let rule = RULES.iter().find(|rule| rule.id == &*usage.limit).unwrap();
                let subject = if rule.kind == "global" { "global" } else { subject };
                budgets.insert((rule.id, subject), (usage.charged(), usage.held, usage.cap.max()));
            }
        }
        let open = engine.recovery().unwrap().holds.iter().filter(|hold| hold.charged.is_none());
        let holds = open.map(|hold| {
            let subjects = hold.subjects.iter().map(encumber::Subject::as_str);
            let subjects: BTreeSet<&str> = subjects.filter(|subject| *subject != "global").collect();
            let is_of = |scope: &&[&str]| scope.iter().copied().collect::<BTreeSet<_>>() == subjects;
            let scope = SCOPES.iter().position(is_of).unwrap_or_else(|| panic!("{hold:?}"));
            let [(resource, amount)] = &*hold.held else { panic!("{hold:?} holds something else") };
            (hold.id.to_string(), (scope, resource.to_string(), *amount))
        });
        Self { holds: holds.collect(), budgets }
    }

    /// What is charged.
    pub(crate) fn charged(&self) -> impl Iterator<Item = (Budget, u64)> {
        self.budgets.iter().map(|(budget, (charged, ..))| (*budget, *charged))
    }
}

/// What may be found: between what was answered less what was being given back, and that plus what was being charged.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Below 0 for a moment: a reset may be heard of before the charge that it took.
    least: i64,
    most: i64,
    cap_least: Option<u64>,
    cap_most: Option<u64>,
}

/// What a life has said, gone through.
pub(crate) struct Book {
    budgets: BTreeMap<Budget, Bounds>,
    holds: BTreeMap<String, Kept>,
    /// Those that were being opened, and settled, with what was announced.
    opening: BTreeMap<String, Will>,
    settling: BTreeMap<String, Will>,
    settled: Vec<String>,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// Something was begun.
    has_begun: bool,
    is_closed: bool,
    /// What it found otherwise than the parent did.
    misread: Vec<String>,
}

impl Will {
    /// Whether its hold is among these.
    fn is_of(&self, holds: &BTreeMap<String, Kept>) -> bool {
        matches!(&self.what, What::Open(id) | What::Settle(id) if holds.contains_key(id))
    }

    fn opens(&self) -> Kept {
        (self.scope, self.resource.clone(), self.up)
    }
}

/// How a life ended, seen from its book.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// By how much what was found was above what may have been charged, at most: in thousandths of the step that is stated.
    pub(crate) over_thousandths: u64,
    pub(crate) is_torn: bool,
}

impl Book {
    pub(crate) fn of(base: &Standing, said: &[Said]) -> Self {
        let bounds = |&(charged, _, cap): &(u64, u64, Option<u64>)| Bounds {
            least: charged as i64,
            most: charged as i64,
            cap_least: cap,
            cap_most: cap,
        };
        let mut book = Self {
            budgets: base.budgets.iter().map(|(budget, standing)| (*budget, bounds(standing))).collect(),
            holds: base.holds.clone(),
            opening: BTreeMap::new(),
            settling: BTreeMap::new(),
            settled: Vec::new(),
            calls: 0,
            refused: 0,
            has_begun: false,
            is_closed: said.last() == Some(&Said::Closed),
            misread: Vec::new(),
        };
        let mut going_on: [Option<Will>; THREADS] = [const { None }; THREADS];
        for said in said {
            match said {
                Said::Will(will) => {
                    book.has_begun = true;
                    let before = going_on[will.thread].replace(will.clone());
                    assert_eq!(before, None, "the thread does one thing at a time");
                }
                Said::Did(did) => {
                    let will = going_on[did.thread].take().expect("it was announced");
                    book.calls += 1;
                    book.refused += u64::from(!did.done);
                    book.done(will, did);
                }
                Said::Found { limit, subject, charged } => {
                    let is_of = |budget: &Budget| (budget.0, budget.1) == (limit.as_str(), subject.as_str());
                    let known = base.charged().find(|(budget, _)| is_of(budget)).map(|(_, charged)| charged);
                    if known != Some(*charged) {
                        book.misread.push(format!("{limit} of {subject}: {charged}, and the parent {known:?}"));
                    }
                }
                _ => {}
            }
        }
        going_on.into_iter().flatten().for_each(|will| book.perhaps(will));
        book
    }

    fn each(&mut self, will: &Will, mut act: impl FnMut(&mut Bounds)) {
        for rule in RULES.iter().filter(|rule| rule.resource == will.resource) {
            for subject in rule.subjects(will.scope) {
                act(self.budgets.get_mut(&(rule.id, subject)).unwrap());
            }
        }
    }

    /// It was answered.
    fn done(&mut self, will: Will, did: &Did) {
        let range = -(will.down as i64)..=will.up as i64;
        assert!(range.contains(&did.change), "{will:?} {did:?}");
        self.each(&will, |bounds| {
            for amount in [&mut bounds.least, &mut bounds.most] {
                *amount += did.change;
            }
        });
        for (limit, subject, taken) in &did.taken {
            let found = self.budgets.iter_mut().find(|((id, of), _)| id == limit && of == subject);
            let (_, bounds) = found.unwrap();
            bounds.least -= *taken as i64;
            bounds.most -= *taken as i64;
        }
        match will.what {
            What::Open(id) if did.done => {
                self.holds.insert(id, (will.scope, will.resource, will.up));
            }
            What::Settle(id) => {
                let hold = self.holds.remove(&id);
                assert!(hold.is_some(), "{id} was not open");
                self.settled.push(id);
            }
            What::TopUp => {
                self.each(&Will { what: What::Count, ..will.clone() }, |bounds| {
                    for cap in [&mut bounds.cap_least, &mut bounds.cap_most] {
                        *cap = cap.map(|cap| cap + will.up);
                    }
                });
            }
            _ => {}
        }
    }

    /// It was going on.
    fn perhaps(&mut self, will: Will) {
        if will.what == What::TopUp {
            return self.each(&will, |bounds| bounds.cap_most = bounds.cap_most.map(|cap| cap + will.up));
        }
        self.each(&will, |bounds| bounds.most += will.up as i64);
        match &will.what {
            What::Open(id) => {
                self.opening.insert(id.clone(), will);
            }
            What::Settle(id) => {
                self.settling.insert(id.clone(), will);
            }
            What::Count => self.each(&will, |bounds| bounds.least -= will.down as i64),
            What::Reset => {
                for rule in RULES.iter().filter(|rule| RESET.contains(&rule.id)) {
                    for subject in rule.subjects(will.scope) {
                        self.budgets.get_mut(&(rule.id, subject)).unwrap().least = 0;
                    }
                }
            }
            What::TopUp => {}
        }
    }

    /// What was going on with holds, now that it is known which ones are open: those are in their budgets, whatever was being done to them.
    fn decide(&mut self, open: &BTreeMap<String, Kept>) {
        let opened: Vec<Will> = self.opening.values().filter(|will| will.is_of(open)).cloned().collect();
        for will in &opened {
            self.each(will, |bounds| bounds.least += will.up as i64);
        }
        let settled: Vec<Will> = self.settling.values().filter(|will| !will.is_of(open)).cloned().collect();
        for will in &settled {
            self.each(will, |bounds| bounds.least -= will.down as i64);
        }
    }

    /// By how much what is found may be above what was charged: a step, or the largest amount; and, where the kill came in the moment before that is put
    /// right, what calls that were refused had charged in other threads when the ceiling was put there.
    fn step(&self, budget: Budget, found: u64, cap: Option<u64>) -> u64 {
        let rule = RULES.iter().find(|rule| rule.id == budget.0).unwrap();
        if !self.has_begun || self.is_closed || rule.is_rolling() {
            return 0;
        }
        let tried = (THREADS as u64 - 1) * amount_max(rule.resource);
        (cap.unwrap_or(found) / 64).max(amount_max(rule.resource)) + tried
    }

    /// Compares with what an engine has read back: all that is wrong.
    pub(crate) fn check(&mut self, engine: &Engine) -> Result<Found, String> {
        let report = engine.recovery().unwrap();
        let standing = Standing::of(engine);
        self.decide(&standing.holds);
        let mut faults = Faults::default();
        let mut found = Found::default();
        for misread in &self.misread {
            faults.say(format_args!("the child has found {misread}"));
        }
        if self.is_closed && !report.was_closed {
            faults.say(format_args!("it was closed, and the report does not say so"));
        }
        // A write that is interrupted by the kill ends at a page, in the middle of a record that nobody was answered for.
        found.is_torn = report.torn.is_some();
        if self.is_closed && found.is_torn || !report.foreign.is_empty() || report.clock_behind.is_some() {
            faults.say(format_args!("{report:?}"));
        }
        for (budget, &(charged, held, cap)) in &standing.budgets {
            let bounds = self.budgets[budget];
            let step = self.step(*budget, charged, bounds.cap_most);
            let most = bounds.most as u64;
            if (charged as i64) < bounds.least {
                faults.say(format_args!("{budget:?} is under-counted: {charged} charged, {bounds:?}"));
            }
            if charged > most + step {
                faults.say(format_args!("{budget:?} is over-counted: {charged} charged, {bounds:?}, step {step}"));
            }
            // What is unlimited is not counted: its step grows with it.
            let step = if cap.is_some() { step } else { u64::MAX };
            let over = u128::from(charged.saturating_sub(most)) * 1_000 / u128::from(step.max(1));
            found.over_thousandths = found.over_thousandths.max(over as u64);
            if cap < bounds.cap_least || cap > bounds.cap_most {
                faults.say(format_args!("{budget:?} has the cap {cap:?}, {bounds:?}"));
            }
            let holds = standing.holds.values().filter(|(scope, resource, _)| {
                let rule = RULES.iter().find(|rule| rule.id == budget.0).unwrap();
                rule.resource == *resource && rule.subjects(*scope).any(|subject| subject == budget.1)
            });
            let whole: u64 = holds.map(|(.., amount)| amount).sum();
            if held != whole {
                faults.say(format_args!("{budget:?} holds {held}, and its open holds are {whole}"));
            }
        }
        for (id, hold) in &self.holds {
            match standing.holds.get(id) {
                Some(found) if found != hold => faults.say(format_args!("{id} is {found:?}, and was {hold:?}")),
                None if !self.settling.contains_key(id) => faults.say(format_args!("{id} {hold:?} is gone")),
                _ => {}
            }
        }
        for (id, hold) in &standing.holds {
            let opening = self.opening.get(id).is_some_and(|will| will.opens() == *hold);
            if !self.holds.contains_key(id) && !opening {
                faults.say(format_args!("{id} {hold:?} is open"));
            }
        }
        for id in self.settled.iter().filter(|id| id.starts_with("hold")) {
            let tokens = engine.resource("tokens").unwrap();
            let again = engine.scope(["user:0"]).unwrap().reserve_with_id(id.as_str(), crate::TTL, tokens.of(0));
            if !matches!(again, Err(ReserveError::Settled)) {
                faults.say(format_args!("{id} was settled, and answers {again:?}"));
            }
        }
        faults.none(found)
    }
}

#[derive(Default)]
struct Faults(String);

impl Faults {
    fn say(&mut self, fault: fmt::Arguments<'_>) {
        writeln!(self.0, "{fault}").expect("a string takes everything");
    }

    fn none<T>(self, found: T) -> Result<T, String> {
        if self.0.is_empty() { Ok(found) } else { Err(self.0) }
    }
}
