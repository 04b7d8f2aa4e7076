//! Resets of accounts: paid for from a wallet, or an operator's.

use std::sync::{Arc, Mutex, PoisonError};

use encumber::{
    Cap, Component, Guard, Limit, PaidReset, PolicyBuilder, Receipt, Reset, ResetError, Scope, Subject, Wallet,
    WalletError, Window,
};
use serde_json::{Value, json};

use super::{Account, Accounts, Unbuilt, lock};
use crate::args::{self, Amount};

/// The kind of subject that has a wallet.
const WALLET: &str = "wallet";
const CREDITS: &str = "credits";

/// What a reset costs, how often it is sold, and who can pay what.
#[derive(Clone, Default)]
pub(super) struct Resets {
    sold: Option<Sold>,
    wallets: Vec<(String, Cap)>,
}

#[derive(Clone)]
struct Sold {
    /// None: it is switched off.
    price: Option<u64>,
    max_per_day: Cap,
    guard: Guard,
}

/// What fails from the payment to the end of a reset.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) charge: bool,
    pub(super) reset_write: bool,
    pub(super) refund: bool,
}

impl Resets {
    pub(super) fn read(setup: &Value) -> Result<Self, Unbuilt> {
        let wrong = || Unbuilt::Wrong("invalid_config");
        let wallets = args::fields(setup, "wallet")?.into_iter();
        let wallets = wallets.map(|(key, balance)| Ok((key.to_owned(), args::cap(balance, false).ok_or_else(wrong)?)));
        let wallets = wallets.collect::<Result<_, Unbuilt>>()?;
        let reset = &setup["reset"];
        if reset.is_null() {
            return Ok(Self { sold: None, wallets });
        }
        args::known_fields(reset, &["cost", "max_per_day", "credit_enabled", "weekly_guard"])?;
        let price = match (&reset["credit_enabled"], Amount::of(&reset["cost"])) {
            (_, Amount::Invalid) if !reset["cost"].is_null() => return Err(wrong()),
            (credit_enabled, Amount::Whole(price @ 1..)) if *credit_enabled != false => Some(price),
            // In this dialect a price of 0 switches the reset off.
            _ => None,
        };
        // In this dialect 0 is no cap.
        let max_per_day =
            if reset["max_per_day"].is_null() { Some(Cap::Unlimited) } else { args::cap(&reset["max_per_day"], true) };
        let guard = match reset["weekly_guard"].as_str() {
            None | Some("strict") => Guard::Strict,
            Some("effective") => Guard::Effective,
            Some(_) => return Err(wrong()),
        };
        Ok(Self { sold: Some(Sold { price, max_per_day: max_per_day.ok_or_else(wrong)?, guard }), wallets })
    }

    /// Adds the wallets, and the reset of each account that has a day.
    pub(super) fn declare(&self, mut policy: PolicyBuilder, accounts: &[Arc<Account>]) -> PolicyBuilder {
        let credit = Limit::new("credit", WALLET, CREDITS, Window::Lifetime, Cap::Max(0));
        let credit = self.wallets.iter().fold(credit, |credit, (key, balance)| {
            Subject::new(WALLET, key).map_or(credit.clone(), |wallet| credit.subject(wallet.as_str(), *balance))
        });
        policy = policy.limit(credit);
        let Some(Sold { price, max_per_day, guard }) = &self.sold else { return policy };
        for account in accounts {
            let Some(day) = account.day() else { continue };
            let mut reset = PaidReset::new(&account.reset_id(), day).max_per_window(*max_per_day).guard(*guard);
            if let Some(week) = account.week() {
                reset = reset.lowers(week);
            }
            if let Some(price) = price {
                reset = reset.price(*price).credits(CREDITS);
            }
            policy = policy.reset(reset);
        }
        policy
    }
}

impl Account {
    /// The limit per day.
    fn day(&self) -> Option<&str> {
        self.limits.iter().find(|limit| limit.window == Window::Day).map(|limit| limit.id.as_str())
    }

    /// The limit per week.
    fn week(&self) -> Option<&str> {
        self.limits.iter().find(|limit| limit.window == Window::Week).map(|limit| limit.id.as_str())
    }

    fn reset_id(&self) -> String {
        format!("{}-reset", self.kind)
    }
}

impl Accounts {
    /// Buys a fresh day. The credit budget of the key's wallet pays; while what follows the payment is made to fail, a wallet of the
    /// host's does, on the same credit.
    pub(crate) fn paid_reset(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let Some(account) = self.account(key) else { return Ok(json!({ "outcome": "unknown", "charged": 0 })) };
        let refused = |outcome: &str, charged: u64| json!({ "outcome": outcome, "charged": charged, "balance": self.balance(key), "resets_today": self.resets(key) });
        match self.resets_of_setup().sold {
            None => return Ok(refused("disabled", 0)),
            Some(Sold { price: Some(_), .. }) if account.day().is_none() => return Ok(refused("no_limit", 0)),
            Some(_) if account.day().is_none() => return Ok(refused("disabled", 0)),
            Some(_) => {}
        }
        let scope = self.with_wallet(&account)?;
        let faults = *lock(&self.faults);
        let sold = if faults.charge || faults.reset_write {
            let is_degraded = self.is_degraded();
            let sold = scope.paid_reset_with(&account.reset_id(), &Failing::new(self, key, faults)?);
            self.engine.set_degraded(Component::Store, is_degraded);
            sold
        } else {
            scope.paid_reset(&account.reset_id())
        };
        Ok(match sold {
            Ok(receipt) => json!({
                "outcome": "ok",
                "charged": receipt.paid,
                "balance": self.balance(key),
                "resets_today": receipt.resets,
                "weekly_reduced_by": receipt.lowered.map_or(0, |taken| taken.amount),
                "degraded": receipt.degraded,
            }),
            Err(error @ ResetError::FailedRefundFailed { .. }) => {
                let price = self.resets_of_setup().sold.and_then(|sold| sold.price);
                refused(error.name(), price.unwrap_or(0))
            }
            Err(error) => refused(error.name(), 0),
        })
    }

    /// Whether a paid reset of the key is refused whatever anybody does meanwhile: it is not sold, or there is nothing to reset.
    pub(crate) fn never_sells(&self, step: &Value) -> bool {
        let day = step["key"].as_str().and_then(|key| self.account(key)).and_then(|account| {
            let day = account.day()?;
            account.limits.iter().find(|limit| limit.id == day).map(|limit| limit.cap)
        });
        day.is_none_or(|cap| cap == Cap::Unlimited)
            || self.resets_of_setup().sold.is_none_or(|sold| sold.price.is_none())
    }

    /// What is said of a reset while another one of the key is running.
    pub(crate) fn busy(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        Ok(json!({
            "outcome": "busy", "charged": 0, "balance": self.balance(key), "resets_today": self.resets(key),
        }))
    }

    /// The day starts fresh and the week gets one day's limit back; nobody pays.
    pub(crate) fn reset_daily(&self, step: &Value) -> Result<Value, String> {
        self.reset(step, |account| {
            let day = account.day()?;
            let reset = Reset::limit(day);
            Some(account.week().map_or(reset.clone(), |week| reset.lowers(week)))
        })
    }

    /// The day starts fresh, and the week as well if the step says so.
    pub(crate) fn admin_reset(&self, step: &Value) -> Result<Value, String> {
        let include_weekly = step["include_weekly"] == true;
        self.reset(step, |account| {
            let reset = Reset::limit(account.day().or(account.week())?);
            Some(account.week().filter(|_| include_weekly).map_or(reset.clone(), |week| reset.and(week)))
        })
    }

    fn reset(&self, step: &Value, choose: impl FnOnce(&Account) -> Option<Reset>) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        let failed =
            |error: &str| json!({ "ok": false, "outcome": error, "error": error, "degraded": self.is_degraded() });
        let Some(account) = self.account(key) else { return Ok(failed("unknown_account")) };
        let Some(reset) = choose(&account) else { return Ok(failed("no_limit")) };
        if lock(&self.faults).reset_write {
            self.engine.set_degraded(Component::Store, true);
        }
        let taken = self.scope(&[key])?.reset(&reset);
        if lock(&self.faults).reset_write {
            self.engine.set_degraded(Component::Store, false);
        }
        Ok(match taken {
            Ok(taken) => {
                let of = |limit: Option<&str>| {
                    taken.iter().find(|taken| limit == Some(&*taken.limit)).map_or(0, |taken| taken.amount)
                };
                json!({
                    "ok": true,
                    "outcome": "ok",
                    "charged": 0,
                    "daily_reduced_by": of(account.day()),
                    "weekly_reduced_by": of(account.week()),
                })
            }
            Err(error) => failed(error.name()),
        })
    }

    /// How many resets the key has bought today. Nobody can tell in an outage.
    pub(crate) fn reset_count(&self, step: &Value) -> Result<Value, String> {
        let key = args::text(step, "key")?;
        if self.is_degraded() {
            return Ok(json!({ "count": null, "error": "unavailable", "degraded": true }));
        }
        Ok(json!({ "count": self.resets(key) }))
    }

    pub(crate) fn wallet(&self, step: &Value) -> Result<Value, String> {
        Ok(json!({ "balance": self.balance(args::text(step, "key")?) }))
    }

    fn resets(&self, key: &str) -> u64 {
        let count = || {
            let id = self.account(key)?.reset_id();
            let usage = self.scope(&[key]).ok()?.usage().ok()?;
            usage.into_iter().find(|budget| *budget.limit == *id).map(|budget| budget.charged())
        };
        count().unwrap_or(0)
    }

    fn balance(&self, key: &str) -> Option<u64> {
        let usage = self.wallet_of(key).ok()?.usage().ok()?;
        usage.first()?.remaining().max()
    }

    fn wallet_of(&self, key: &str) -> Result<Scope, String> {
        let wallet = Subject::new(WALLET, key).map_err(|error| error.to_string())?;
        self.engine.scope([&wallet]).map_err(|error| error.to_string())
    }

    fn with_wallet(&self, account: &Account) -> Result<Scope, String> {
        let subjects = [Subject::new(&account.kind, &account.key), Subject::new(WALLET, &account.key)];
        let subjects = subjects.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        self.engine.scope(&subjects).map_err(|error| error.to_string())
    }
}

/// A wallet of the host's that cannot be charged, or after whose charge the engine's store goes down.
struct Failing<'a> {
    accounts: &'a Accounts,
    wallet: Scope,
    faults: Faults,
    paid: Mutex<Option<Receipt>>,
}

impl<'a> Failing<'a> {
    fn new(accounts: &'a Accounts, key: &str, faults: Faults) -> Result<Self, String> {
        Ok(Self { accounts, wallet: accounts.wallet_of(key)?, faults, paid: Mutex::default() })
    }
}

impl Wallet for Failing<'_> {
    fn charge(&self, _: &Subject, amount: u64) -> Result<(), WalletError> {
        if self.faults.charge {
            return Err(failed(&"the wallet cannot be charged"));
        }
        let credits = self.accounts.engine.resource(CREDITS).map_err(|error| failed(&error))?;
        let hold = self.wallet.reserve(credits.of(amount)).map_err(|_| WalletError::Insufficient)?;
        let receipt = hold.commit(credits.of(amount)).map_err(|error| failed(&error))?;
        *self.paid.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipt);
        self.accounts.engine.set_degraded(Component::Store, true);
        Ok(())
    }

    fn refund(&self, _: &Subject, _: u64) -> Result<(), WalletError> {
        if self.faults.refund {
            return Err(WalletError::Failed("the refund fails".into()));
        }
        let paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner).take();
        let paid = paid.ok_or_else(|| WalletError::Failed("nothing was paid".into()))?;
        self.accounts.engine.refund(&paid, paid.charged()).map_err(|error| failed(&error))
    }
}

fn failed(error: &dyn std::fmt::Display) -> WalletError {
    WalletError::Failed(error.to_string().into())
}
