//! Engines to measure.

use std::time::Duration;

use encumber::{
    Cap, Engine, EngineBuilder, Limit, ManualClock, Policy, PolicyBuilder, Price, Rates, Resource, Scope, Timestamp,
    TokenClass, Unit, Window,
};

/// More than any bench charges, and less than any window's budget can hold.
pub(crate) const PLENTY: u64 = 1 << 38;

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) clock: ManualClock,
    pub(crate) scope: Scope,
    pub(crate) tokens: Resource,
}

/// Tokens and dollars, and a price.
pub(crate) fn resources() -> PolicyBuilder {
    let price = Price::new().with(TokenClass::Input, 3.into()).with(TokenClass::Output, 15.into());
    Policy::builder()
        .resource("tokens", Unit::Count)
        .resource("usd", Unit::Usd)
        .rates(Rates::strict().price("model", price))
}

/// With `budgets` hard limits on tokens of each user.
pub(crate) fn limits(base: PolicyBuilder, budgets: usize, max: u64, window: Window) -> PolicyBuilder {
    (0..budgets).fold(base, |policy, number| {
        policy.limit(Limit::new(&format!("limit-{number}"), "user", "tokens", window, Cap::Max(max)))
    })
}

/// The scope of one user under the policy, on a clock that stands still.
pub(crate) fn rig_of(policy: PolicyBuilder, set_up: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Rig {
    let clock = ManualClock::at(Timestamp::from_seconds(1_770_000_000));
    let engine = set_up(Engine::builder(policy.build().expect("a policy")).clock(&clock)).build();
    let scope = engine.scope(["user:7"]).expect("a scope");
    let tokens = engine.resource("tokens").expect("declared");
    Rig { engine, clock, scope, tokens }
}

/// A scope of `budgets` hard budgets on one subject.
pub(crate) fn rig(budgets: usize, max: u64, window: Window) -> Rig {
    rig_of(limits(resources(), budgets, max, window), |engine| engine)
}

/// An engine that forgets what it need not remember after a second.
pub(crate) fn forgetful(budgets: usize) -> Rig {
    let second = Duration::from_secs(1);
    rig_of(limits(resources(), budgets, PLENTY, Window::Day), |engine| {
        engine.remember_settled(second).refund_within(second)
    })
}

impl Rig {
    /// Lets a millisecond pass, so that at most a thousand settled ids and receipts are remembered, as in a host that goes on for long.
    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }
}

/// Whether everything runs once and is not measured: `-- --test`, or `cargo test --benches`, which does not say `--bench`.
pub(crate) fn is_test() -> bool {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}
