//! Resets: an operator's, and one that is paid for.

use criterion::Criterion;
use encumber::{Cap, Limit, PaidReset, Reset, Subject, Wallet, WalletError, Window};

use crate::rig::{PLENTY, Rig, resources, rig_of};

const DAY_MAX: u64 = 100;

/// Always pays.
struct Purse;

impl Wallet for Purse {
    fn charge(&self, _subject: &Subject, _amount: u64) -> Result<(), WalletError> {
        Ok(())
    }

    fn refund(&self, _subject: &Subject, _amount: u64) -> Result<(), WalletError> {
        Ok(())
    }
}

pub(crate) fn resets(criterion: &mut Criterion) {
    let tokens_a = |id, window, max| Limit::new(id, "user", "tokens", window, Cap::Max(max));
    let policy = resources()
        .resource("credits", encumber::Unit::Count)
        .limit(tokens_a("day", Window::Day, DAY_MAX))
        .limit(tokens_a("week", Window::Week, PLENTY))
        .limit(Limit::new("credit", "user", "credits", Window::Lifetime, Cap::Max(PLENTY)))
        .reset(
            PaidReset::new("fresh", "day").lowers("week").price(1).credits("credits").max_per_window(Cap::Unlimited),
        );
    let Rig { scope, tokens, .. } = rig_of(policy, |engine| engine);
    let operator = Reset::limit("day").lowers("week");
    criterion.bench_function("record + reset", |b| {
        b.iter(|| (scope.record(tokens.of(DAY_MAX)).unwrap(), scope.reset(&operator).unwrap()));
    });
    criterion.bench_function("record + paid_reset", |b| {
        b.iter(|| (scope.record(tokens.of(DAY_MAX)).unwrap(), scope.paid_reset("fresh").unwrap()));
    });
    criterion.bench_function("record + paid_reset_with", |b| {
        b.iter(|| (scope.record(tokens.of(DAY_MAX)).unwrap(), scope.paid_reset_with("fresh", &Purse).unwrap()));
    });
}
