//! What both sides must agree on.

use std::fmt::Debug;

use encumber::{BudgetUsage, Scope, Timestamp};

use super::drive::{Run, micros};
use super::ledger::is_sliced;
use super::script::{Party, Span};
use super::words::{self, Answer, Budget, Receipt};

/// Nothing, or how the two sides differ.
pub(super) type Checked = Result<(), String>;

/// Compares what both sides say of `what`.
///
/// # Errors
/// How they differ.
pub(super) fn same<T: Debug + PartialEq>(what: &str, engine: &T, model: &T) -> Checked {
    if engine == model { Ok(()) } else { Err(format!("{what} differs\n  engine: {engine:?}\n  model:  {model:?}")) }
}

impl Run {
    /// Compares the windows that were the current ones before, and those that held the instant `ago`.
    pub(super) fn usage_at(&mut self, party: Party, ago: Span) -> Checked {
        let Some(scope) = self.scope(party)? else { return Ok(()) };
        let Ok(now) = self.engine_usage(&scope) else { return Ok(()) };
        let instants = now.iter().filter_map(|usage| usage.bounds).map(|bounds| bounds.start.as_micros() - 1);
        let instants = instants.chain([self.at() - micros(ago), self.at()]);
        let instants: Vec<i64> = instants.map(|at| at.max(self.earliest)).collect();
        for at in instants {
            let past = scope.usage_at(Timestamp::from_micros(at)).map_err(|error| error.to_string())?;
            self.model.sweep(at.min(self.at()));
            same("the number of budgets", &past.len(), &now.len())?;
            for (past, now) in past.iter().zip(&now) {
                self.same_past(past.as_ref(), now, at)?;
            }
        }
        Ok(())
    }

    /// Compares what is charged in the window that holds `at`; `now` is the budget's usage in the current one.
    fn same_past(&mut self, past: Option<&BudgetUsage>, now: &BudgetUsage, at: i64) -> Checked {
        let (limit, subject) = (&*now.limit, now.subject.as_str());
        if self.repeats(limit, subject) || self.model.repeats(limit, subject, at) {
            return Ok(());
        }
        let Some(past) = past else {
            self.count("forgotten");
            let may_be = self.model.may_be_forgotten(limit, subject, at);
            return same(&format!("whether {limit} of {subject} at {at} may be forgotten"), &true, &may_be);
        };
        let holds = past.bounds.is_none_or(|bounds| (bounds.start.as_micros()..bounds.end.as_micros()).contains(&at));
        same(&format!("whether the bounds of {limit} hold {at}"), &holds, &true)?;
        if past.bounds == now.bounds {
            return same("the usage at an instant of the current window", past, now);
        }
        self.count("remembered");
        let charged = self.model.charged_in(limit, subject, at);
        same(&format!("what {limit} of {subject} has charged at {at}"), &past.charged(), &charged)
    }

    /// Compares every budget of the scope.
    pub(super) fn same_usage(&mut self, scope: &Scope, subjects: &[&str]) -> Checked {
        self.make_room();
        match (scope.usage(), self.model.usage(subjects, self.at())) {
            (Ok(engine), Ok(model)) => {
                engine.iter().try_for_each(|usage| self.open_holds(usage))?;
                let engine: Vec<_> = engine.iter().map(words::usage).map(|usage| self.sure(usage)).collect();
                let model: Vec<_> = model.into_iter().map(words::model_usage).map(|usage| self.sure(usage)).collect();
                if engine == model {
                    return Ok(());
                }
                let differ = engine.iter().zip(&model).find(|(engine, model)| engine != model);
                differ.map_or_else(|| same("usage", &engine, &model), |(engine, model)| same("usage", engine, model))
            }
            (engine, model) => {
                let engine = engine.err().as_ref().map(words::scope_error);
                same("the answer to usage", &engine, &model.err().as_ref().map(words::model_error))
            }
        }
    }

    /// What both sides must agree on: where a window number came up twice, whose holds are open is not known.
    fn sure(&self, usage: words::Usage) -> words::Usage {
        if self.repeats(&usage.budget.0, &usage.budget.1) {
            words::Usage { used: usage.used.saturating_add(usage.held), held: 0, ..usage }
        } else {
            usage
        }
    }

    fn repeats(&self, limit: &str, subject: &str) -> bool {
        self.model.repeats(limit, subject, self.at())
    }

    /// Compares answers.
    pub(super) fn same_answer(&self, engine: &Answer, model: &Answer) -> Checked {
        let (Answer::Refused(rows), Answer::Refused(model_rows)) = (engine, model) else {
            return same("the answer", engine, model);
        };
        let (mut rows, mut model_rows) = (rows.clone(), model_rows.clone());
        for (row, model) in rows.iter_mut().zip(&mut model_rows) {
            if self.repeats(&model.budget.0, &model.budget.1) {
                for row in [row, model] {
                    (row.used, row.held) = (row.used.saturating_add(row.held), 0);
                }
            }
        }
        same("the refusal", &rows, &model_rows)
    }

    /// Compares receipts. The engine does not know overages of forgotten windows.
    pub(super) fn same_receipt(&self, index: usize, engine: &Receipt, model: &Receipt, replayed: bool) -> Checked {
        let held = &self.held[index];
        same("what is charged", &engine.charged, &model.charged)?;
        if !(self.model.had_ended(held.id) || replayed && held.was_settled) {
            same("whether it is late", &engine.late, &model.late)?;
        }
        same("whether it is of an engine that is degraded", &engine.degraded, &model.degraded)?;
        // Of a rule's earlier window the model tells nothing more than the receipt.
        let is_of_another_window = engine.late && held.windows_changed != self.windows_changed;
        if replayed || is_of_another_window {
            return Ok(());
        }
        let may_miss = |(limit, subject): &Budget| {
            self.repeats(limit, subject) || engine.late && self.model.is_unsure(held.id, limit, subject)
        };
        let told = |receipt: &Receipt| {
            let overages = receipt.overages.iter().filter(|(budget, _)| !may_miss(budget));
            overages.cloned().collect::<Vec<_>>()
        };
        same("the overages", &told(engine), &told(model))
    }

    /// Contract §14.2: what is charged and not used is what open reservations hold.
    fn open_holds(&self, usage: &BudgetUsage) -> Checked {
        if usage.used == u64::MAX || self.repeats(&usage.limit, usage.subject.as_str()) {
            return Ok(());
        }
        let open = self.held.iter().filter(|held| held.handle.is_open());
        let open = open.map(|held| held.holds.in_window(usage)).sum::<u128>();
        let held = u128::from(usage.held);
        if is_sliced(usage.window) {
            return same(&format!("what is held of {usage:?}"), &held, &open);
        }
        if held > open { Err(format!("more is held than by open holds, which is {open}: {usage:?}")) } else { Ok(()) }
    }
}
