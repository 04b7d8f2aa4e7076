//! What is done with holds that have an id or a time-to-live, and what an engine is set up to.

use std::time::Duration;

use encumber::{EngineBuilder, FailurePolicy, HoldId, OnFailure};
use encumber_model::Settings;

use super::compare::{Checked, same};
use super::costs::amount_of;
use super::drive::{Handle, Held, Run};
use super::script::{Costs, Raw};
use super::words::{self, Answer};

/// What an engine is set up to, from the bytes of the policy that a run begins with.
pub(super) fn settings(head: Raw) -> Settings {
    const SECOND: i64 = 1_000_000;
    let code = head.iter().fold(0_u8, |code, byte| code.wrapping_mul(31).wrapping_add(*byte));
    let choice = |place: u32| usize::from(code >> place & 3);
    Settings {
        hold_ttl_micros: (code & 7 == 1).then_some(600 * SECOND),
        holds_max: [1_000, 1_000, 6, 2][choice(1)],
        remember_micros: [60, 86_400, 3_600, 0][choice(3)] * SECOND,
        refund_within_micros: [30 * 86_400, 3_600, 86_400, 60][choice(5)] * SECOND,
        check_open: head[0] & 1 == 0,
        record_open: head[1] & 3 != 3,
        reserve_open: head[2] & 1 == 0,
    }
}

/// The builder set up so.
pub(super) fn set_up(builder: EngineBuilder, settings: Settings) -> EngineBuilder {
    let when = |open| if open { OnFailure::Open } else { OnFailure::Closed };
    let failure_policy = FailurePolicy::default()
        .check(when(settings.check_open))
        .record(when(settings.record_open))
        .reserve(when(settings.reserve_open));
    let builder = builder
        .max_holds(settings.holds_max as u64)
        .remember_settled(duration(settings.remember_micros))
        .refund_within(duration(settings.refund_within_micros))
        .failure_policy(failure_policy);
    match settings.hold_ttl_micros {
        Some(ttl) => builder.hold_ttl(duration(ttl)),
        None => builder,
    }
}

pub(super) fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

impl Run {
    pub(super) fn split(&mut self, index: usize, costs: &Costs) -> Checked {
        let costs = self.spelled(costs, |run, resource| run.holds_of(index, resource));
        let at = self.at();
        let held = &mut self.held[index];
        let Handle::Owned(reservation) = &held.handle else { return Ok(()) };
        let engine = reservation.split(costs.engine.clone());
        let model = self.model.split(held.id, &costs.model, at).map_err(|error| match words::model_error(&error) {
            Answer::Settled(_) => Answer::Settled("settled"),
            error => error,
        });
        match (engine, model) {
            (Ok(reservation), Ok(id)) => {
                let mut other = Held::new(Handle::Owned(reservation), id, held.subjects, held.windows_changed);
                other.holds = held.holds.split(|resource| amount_of(&costs.model, resource));
                self.held.push(other);
                self.count("split");
                Ok(())
            }
            (engine, model) => {
                self.count("split refused");
                same("the answer to a split", &engine.map(drop).map_err(words::split_error), &model.map(drop))
            }
        }
    }

    pub(super) fn renew(&mut self, index: usize, ttl_micros: i64) -> Checked {
        let held = &self.held[index];
        let engine = held.handle.renew(duration(ttl_micros)).map_err(words::settle_error);
        let model = self.model.renew(held.id, ttl_micros, self.at());
        self.count(if engine.is_ok() { "renewed" } else { "renewal refused" });
        same("the answer to a renewal", &engine, &model.map_err(|error| words::model_error(&error)))
    }

    /// Detaches the reservation at `index`, if it is one; without a place it is dropped.
    pub(super) fn detach(&mut self, index: usize, ttl_micros: i64) -> Checked {
        let Held { handle, id, .. } = &self.held[index];
        let Handle::Owned(_) = handle else { return Ok(()) };
        let (id, mut held) = (*id, self.held.remove(index));
        let Handle::Owned(reservation) = held.handle else { return Ok(()) };
        let engine = reservation.detach(duration(ttl_micros));
        let model = self.model.detach(id, ttl_micros, self.at());
        match (engine, model) {
            (Ok(detached), Ok(())) => {
                held.handle = Handle::Detached(detached);
                self.held.insert(index, held);
                self.count("detached");
                Ok(())
            }
            (engine, model) => {
                self.count("detached without a place");
                let engine = engine.map(drop).map_err(|error| words::charge_error(&error));
                same("the answer to a detachment", &engine, &model.map_err(|error| words::model_error(&error)))
            }
        }
    }

    /// Makes the handle at `index` answerable for its hold.
    pub(super) fn attach(&mut self, index: usize) {
        let mut held = self.held.remove(index);
        held.handle = held.handle.attached();
        self.held.insert(index, held);
    }

    /// Looks up the hold at `index` by its id, under which there may be another one by now.
    pub(super) fn resume(&mut self, index: usize) -> Checked {
        let Held { handle, id, .. } = &self.held[index];
        let (engine_id, name) = (handle.id().cloned(), self.model.name(*id).map(String::from));
        same("whether it has an id", &engine_id.is_some(), &name.is_some())?;
        let (Some(engine_id), Some(name)) = (engine_id, name) else { return Ok(()) };
        let text: HoldId = engine_id.to_string().parse().map_err(|error| format!("an id that is none: {error}"))?;
        let (engine, model) = (self.engine.resume(&text), self.model.resume(&name, self.at()));
        same("whether a hold is kept", &engine.is_ok(), &model.is_ok())?;
        let (Ok(hold), Ok(id)) = (engine, model) else {
            self.count("forgotten id");
            return Ok(());
        };
        same("whether a kept hold is open", &hold.is_open(), &self.model.is_open(id))?;
        if let Some(held) = self.held.iter_mut().find(|held| held.id == id) {
            same("what a kept hold holds", &hold.held(), &held.handle.held())?;
            if matches!(held.handle, Handle::Detached(_)) {
                held.handle = Handle::Detached(hold);
            }
        }
        self.count("resumed");
        Ok(())
    }

    pub(super) fn refund(&mut self, index: usize, costs: &Costs) -> Checked {
        let (receipt, id) = &self.receipts[index];
        let (receipt, id) = (receipt.clone(), *id);
        let resources = self.resources;
        let costs = self.spelled(costs, |_, name| {
            let place = super::world::RESOURCES.iter().position(|known| *known == name).unwrap_or_default();
            receipt.charged().amount(resources[place]).unwrap_or(1)
        });
        let engine = self.engine.refund(&receipt, &costs.engine).map_err(words::refund_error);
        let model = self.model.refund(id, &costs.model, self.at()).map_err(|error| words::model_error(&error));
        self.count(match &engine {
            Ok(()) => "refunded",
            Err(Answer::TooMuch(_)) => "refund of too much",
            Err(Answer::Settled("too old")) => "refund too late",
            Err(_) => "refunded again",
        });
        same("the answer to a refund", &engine, &model)
    }
}
