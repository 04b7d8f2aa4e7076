//! `--verify`: the reference model takes every step that the engine takes, and both must say the same.

mod words;

use std::fmt;

use anyhow::{Result, bail};
use encumber::{
    Admission, ChargeError, Cost, Enforcement, Limit, Policy, Receipt, Reservation, Resource, SettleError, Source,
    Timestamp, Warn, Window,
};
use encumber_model as reference;

use super::parties::{Party, Seat};

/// A call about which the engine and the reference model disagree.
#[derive(Debug)]
pub(crate) struct Difference {
    call: u64,
    about: String,
    engine: String,
    model: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, about, engine, model } = self;
        write!(f, "call {call}, {about}: the engine says {engine}; the reference model says {model}")
    }
}

impl std::error::Error for Difference {}

impl Difference {
    /// That the engine did not settle a call that it admitted.
    pub(super) fn unsettled(call: u64, error: SettleError) -> Self {
        Self { call, about: "commit".to_owned(), engine: error.to_string(), model: "it is to be settled".to_owned() }
    }
}

/// A hold of the reference model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held(reference::HoldId);

/// The reference model, on the same way.
pub(super) struct Verifier {
    model: reference::Model,
    policy: reference::Policy,
    resources: Vec<(Resource, String)>,
    latest: Timestamp,
    /// Whether a call started before an earlier one.
    went_back: bool,
}

impl Verifier {
    /// A model under `policy`, whose resources have these handles.
    ///
    /// # Errors
    /// When the model does not know one of the windows.
    pub(super) fn new(policy: &Policy, resources: &[Resource]) -> Result<Self> {
        let names: Vec<String> = policy.resources().map(|(name, _)| name.to_owned()).collect();
        let kinds = ["user", "session", "subagent"].into_iter().filter(|kind| policy.knows_kind(kind));
        let model_policy = reference::Policy {
            limits: policy.limits().iter().map(limit).collect::<Result<_>>()?,
            resources: names.clone(),
            kinds: kinds.map(ToOwned::to_owned).collect(),
            members: Vec::new(),
        };
        Ok(Self {
            model: reference::Model::new(model_policy.clone()),
            policy: model_policy,
            resources: resources.iter().copied().zip(names).collect(),
            latest: Timestamp::MIN,
            went_back: false,
        })
    }

    /// Compares the engine's answer to a charge.
    pub(super) fn charged(
        &mut self,
        call: u64,
        party: &Party,
        asked: &Cost,
        at: Timestamp,
        engine: Result<&Admission, &ChargeError>,
    ) -> Result<(), Difference> {
        self.step(party, at);
        let subjects = texts(party);
        let model = self.model.try_charge(&borrowed(&subjects), &amounts(&self.resources, asked), at.as_micros());
        let said = (words::answer(engine.copied(), party, &self.policy), words::model_answer(model.as_ref()));
        same(call, "charge", at, said)?;
        self.usage(call, party, at)
    }

    /// Compares the engine's answer to a reservation; the hold to settle when both admit it.
    pub(super) fn reserved(
        &mut self,
        call: u64,
        party: &Party,
        asked: &Cost,
        at: Timestamp,
        engine: Result<&Reservation, &ChargeError>,
    ) -> Result<Option<Held>, Difference> {
        self.step(party, at);
        let subjects = texts(party);
        let model = self.model.reserve(&borrowed(&subjects), &amounts(&self.resources, asked), at.as_micros());
        let admission = engine.map(|hold| hold.admission());
        let model_admission = model.as_ref().map(|reserved| &reserved.admission);
        let said = (words::answer(admission, party, &self.policy), words::model_answer(model_admission));
        same(call, "reservation", at, said)?;
        self.usage(call, party, at)?;
        Ok(model.ok().map(|reserved| Held(reserved.hold)))
    }

    /// Compares the engine's settlement of a reservation.
    pub(super) fn settled(
        &mut self,
        call: u64,
        party: &Party,
        held: Held,
        actual: &Cost,
        at: Timestamp,
        engine: &Receipt,
    ) -> Result<(), Difference> {
        let model = self.model.commit(held.0, &amounts(&self.resources, actual), false, at.as_micros());
        // Of windows that ended earlier than the last one the engine knows no overage any more.
        let says_overages = !engine.is_late();
        let said = (words::receipt(engine, says_overages), words::model_receipt(model.as_ref(), says_overages));
        same(call, "commit", at, said)?;
        self.usage(call, party, at)
    }

    /// Compares what the replay's ledger has charged in the windows that a settlement changed, whether or not the engine still
    /// remembers them: budget, start of the window, charged.
    ///
    /// Where calls went back in time, a window may have been renumbered, and its figures are compared by [`Self::usage`] alone.
    pub(super) fn ledger(&self, call: u64, charged: &[(&Seat, i64, Option<u128>)]) -> Result<(), Difference> {
        if self.went_back {
            return Ok(());
        }
        for (seat, start, charged) in charged {
            let limit = &self.policy.limits[seat.limit].id;
            let model = self.model.charged_in(limit, seat.subject.as_str(), *start);
            let at = Timestamp::from_micros(*start);
            let charged = charged.map(|charged| u64::try_from(charged).unwrap_or(u64::MAX));
            // A saturated count says only that it is not known.
            if model != u64::MAX {
                let say = |charged: Option<u64>| format!("{limit} of {} has {charged:?} charged", seat.subject);
                same(call, "ledger of the window starting", at, (say(charged), say(Some(model))))?;
            }
        }
        Ok(())
    }

    /// Compares every budget of the scope.
    fn usage(&mut self, call: u64, party: &Party, at: Timestamp) -> Result<(), Difference> {
        let subjects = texts(party);
        let engine = words::usage(party.scope.usage());
        let model = words::model_usage(self.model.usage(&borrowed(&subjects), at.as_micros()));
        let first = engine.iter().zip(&model).find(|(engine, model)| engine != model);
        match first {
            Some((engine, model)) => same(call, "usage after", at, (engine.clone(), model.clone())),
            None => same(call, "usage after", at, (engine.join("; "), model.join("; "))),
        }
    }

    fn step(&mut self, party: &Party, at: Timestamp) {
        self.went_back |= at < self.latest;
        self.latest = self.latest.max(at);
        self.learn(party);
    }

    /// Which group counts for a subject is the policy's own answer: the model gets it as the subject's own entry.
    fn learn(&mut self, party: &Party) {
        let mut is_new = false;
        for seat in party.seats.iter().filter(|seat| matches!(seat.source, Source::Group(_))) {
            let entries = &mut self.policy.limits[seat.limit].subjects;
            if entries.iter().all(|(name, _)| name != seat.subject.as_str()) {
                entries.push((seat.subject.to_string(), seat.cap.max()));
                is_new = true;
            }
        }
        if is_new {
            self.model.set_policy(self.policy.clone());
        }
    }
}

fn same(call: u64, about: &str, at: Timestamp, (engine, model): (String, String)) -> Result<(), Difference> {
    if engine == model {
        return Ok(());
    }
    Err(Difference { call, about: format!("{about} at {at}"), engine, model })
}

fn limit(limit: &Limit) -> Result<reference::Limit> {
    let enforcement = match limit.enforced() {
        Enforcement::Hard => reference::Enforcement::Hard,
        Enforcement::Soft => reference::Enforcement::Soft,
        Enforcement::Shadow => reference::Enforcement::Shadow,
    };
    let percent = |warn: &Warn| match *warn {
        Warn::Percent(percent) => Some(percent),
        Warn::At(_) => None,
    };
    Ok(reference::Limit {
        max: limit.max().max(),
        subjects: limit.subject_caps().map(|(subject, cap)| (subject.to_owned(), cap.max())).collect(),
        warn: limit.warnings().iter().filter_map(percent).collect(),
        ..reference::Limit::new(limit.id(), limit.kind(), limit.resource(), window(limit)?, enforcement)
    })
}

fn window(limit: &Limit) -> Result<reference::Window> {
    Ok(match limit.window() {
        Window::Minute => reference::Window::Minute,
        Window::Hour => reference::Window::Hour,
        Window::Day => reference::Window::Day,
        Window::Week => reference::Window::Week,
        Window::Month => reference::Window::Month,
        Window::Year => reference::Window::Year,
        Window::Months(count) => reference::Window::Months(count.get()),
        Window::Lifetime => reference::Window::Lifetime,
        // A slice of the grid has its length, and any slice's start is as good an anchor as another's.
        grid @ Window::Every(_) => match grid.bounds(Timestamp::UNIX_EPOCH) {
            Some(slice) => reference::Window::Every {
                seconds: slice.end.saturating_since(slice.start).as_secs(),
                anchor_micros: slice.start.as_micros(),
            },
            None => bail!("--verify does not cover the window of the limit {}", limit.id()),
        },
        Window::Rolling(span) => reference::Window::Rolling { seconds: span.as_seconds() },
        Window::FirstUse(span) => reference::Window::FirstUse { seconds: span.as_seconds() },
        other => bail!("--verify does not cover the window {other} of the limit {}", limit.id()),
    })
}

fn amounts<'a>(resources: &'a [(Resource, String)], cost: &Cost) -> Vec<(&'a str, u64)> {
    resources.iter().filter_map(|(resource, name)| Some((name.as_str(), cost.amount(*resource)?))).collect()
}

fn texts(party: &Party) -> Vec<String> {
    party.subjects.iter().map(ToString::to_string).collect()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
