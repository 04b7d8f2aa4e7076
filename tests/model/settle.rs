//! What is done with reservations.

use encumber::Actual;

use super::compare::{Checked, same};
use super::costs::{Spelled, amount_of};
use super::drive::{Run, texts};
use super::ledger::Holds;
use super::script::{Costs, Party, Settle};
use super::words::{self, Answer};
use super::world::SUBJECTS;

impl Run {
    /// Does something with the reservation at `index`.
    pub(super) fn settle(&mut self, index: usize, settle: &Settle) -> Checked {
        let (bits, id) = (self.held[index].subjects, self.held[index].id);
        let subjects = texts(bits);
        match settle {
            Settle::Commit { actual, at_least } => {
                let actual = self.spelled(actual, |run, resource| run.holds_of(index, resource));
                self.held[index].committed = Some((actual.clone(), *at_least));
                self.commit(index, &actual, *at_least)?;
            }
            Settle::CommitAgain => {
                if let Some((actual, at_least)) = self.held[index].committed.clone() {
                    self.commit(index, &actual, at_least)?;
                }
            }
            Settle::Release => {
                let engine = self.held[index].handle.release().map_err(words::settle_error);
                let model = self.model.release(id, self.at()).map_err(|error| words::model_error(&error));
                self.count(if engine.is_ok() { "released" } else { "released again" });
                same("the answer to a release", &engine, &model)?;
                if engine.is_ok() {
                    self.held[index].holds = Holds::default();
                }
            }
            Settle::Drop => self.drop_hold(index),
            Settle::Dispatch => {
                self.held[index].handle.dispatched();
                let _ = self.model.dispatched(id);
            }
            Settle::Observe(costs) => {
                let costs = self.spelled(costs, |run, resource| run.holds_of(index, resource));
                self.held[index].handle.observe(&costs.engine);
                let _ = self.model.observe(id, &costs.model);
            }
            Settle::Extend(costs) => self.extend(index, costs)?,
            Settle::Split(costs) => self.split(index, costs)?,
            Settle::Renew { ttl_micros } => self.renew(index, *ttl_micros)?,
            Settle::Detach { ttl_micros } => self.detach(index, *ttl_micros)?,
            Settle::Attach => self.attach(index),
            Settle::ReserveAgain => self.reserve_again(index)?,
            Settle::Resume => self.resume(index)?,
        }
        let scope = Party { subjects: bits, is_new: false };
        match self.scope(scope)? {
            Some(scope) => self.same_usage(&scope, &subjects),
            None => Ok(()),
        }
    }

    /// Drops the reservation at `index`; one that is detached is attached before.
    pub(super) fn drop_hold(&mut self, index: usize) {
        self.attach(index);
        let held = self.held.remove(index);
        let outcome = self.model.drop_hold(held.id, self.at());
        self.count(match outcome {
            Ok(encumber_model::Outcome::Committed) => "dropped and charged",
            Ok(encumber_model::Outcome::Released) => "dropped",
            Err(_) => "dropped settled",
        });
        drop(held);
    }

    fn commit(&mut self, index: usize, actual: &Spelled, at_least: bool) -> Checked {
        let held = &self.held[index];
        let was_expired = !held.handle.is_open();
        let cost = actual.engine.clone();
        let engine = held.handle.commit(if at_least { Actual::AtLeast(cost) } else { Actual::Exact(cost) });
        let model = self.model.commit(held.id, &actual.model, at_least, self.at());
        match (engine, model) {
            (Ok(receipt), Ok(settled)) => {
                let engine = words::receipt(&receipt, |resource| self.name(resource));
                self.same_receipt(index, &engine, &words::model_receipt(&settled), settled.replayed)?;
                self.receipts.push((receipt, settled.receipt));
                if was_expired && !settled.replayed {
                    self.count("committed after expiry");
                }
                self.count(match (settled.replayed, settled.late, settled.overage.is_empty()) {
                    (true, ..) => "committed again",
                    (_, true, true) => "committed late",
                    (_, true, false) => "committed late and over",
                    (_, _, true) => "committed",
                    (_, _, false) => "committed over",
                });
                self.held[index].holds = Holds::default();
                Ok(())
            }
            (engine, model) => {
                self.count("commit refused");
                let engine = engine.map_or_else(|error| Some(words::settle_error(error)), |_| None);
                same("the answer to a commit", &engine, &model.err().as_ref().map(words::model_error))
            }
        }
    }

    fn extend(&mut self, index: usize, costs: &Costs) -> Checked {
        let (bits, id) = (self.held[index].subjects, self.held[index].id);
        let subjects = texts(bits);
        let cost = self.spelled(costs, |run, resource| run.room(&subjects, resource));
        let engine = self.held[index].handle.try_extend(cost.engine.clone());
        let model = self.model.try_extend(id, &cost.model, self.at());
        let model = model.map(|_| ()).map_err(|error| match words::model_error(&error) {
            Answer::Settled(_) => Answer::Settled("settled"),
            error => error,
        });
        match (engine.as_ref().err().map(words::extend_error), model.err()) {
            (Some(engine), Some(model)) => self.same_answer(&engine, &model)?,
            (engine, model) => same("the answer to an extension", &engine, &model)?,
        }
        self.count(if engine.is_ok() { "extended" } else { "extension refused" });
        if engine.is_ok() && cost.model.iter().any(|(_, amount)| *amount > 0) {
            let Some(scope) = self.scope(Party { subjects: bits, is_new: false })? else { return Ok(()) };
            let expired_above = self.model.expired_above();
            let usage = self.engine_usage(&scope).map_err(|error| error.to_string())?;
            // What expired meanwhile may have taken more than it held.
            if self.model.expired_above() == expired_above {
                self.within_max(&usage, |resource| amount_of(&cost.model, resource))?;
            }
            let held = &mut self.held[index];
            held.holds.admit(&usage, |resource| amount_of(&cost.model, resource).filter(|amount| *amount > 0));
        }
        Ok(())
    }

    /// Compares everything, also after every reservation has been dropped.
    pub(super) fn finish(&mut self) -> Checked {
        let party = Party { subjects: (1 << SUBJECTS.len()) - 1, is_new: true };
        let Some(scope) = self.scope(party)? else { return Ok(()) };
        let subjects = texts(party.subjects);
        self.same_usage(&scope, &subjects)?;
        while !self.held.is_empty() {
            self.drop_hold(0);
        }
        self.same_usage(&scope, &subjects)?;
        self.count("finished");
        Ok(())
    }
}
