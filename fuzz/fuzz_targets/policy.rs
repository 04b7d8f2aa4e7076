//! Any text as a policy: it is refused with a message, or gives an engine that answers.
//!
//! Begins best with real ones: `cargo +nightly fuzz run policy fuzz/corpus/policy policies`.

#![no_main]

use encumber::{Cap, Engine, ManualClock, Policy, PolicyError, Subjects, Timestamp, Usage};
use libfuzzer_sys::fuzz_target;

const START_SECONDS: i64 = 1_770_206_400;

fuzz_target!(|text: &str| {
    answers(Policy::from_toml(text), text);
    answers(Policy::from_json(text), text);
});

fn answers(read: Result<Policy, PolicyError>, text: &str) {
    let policy = match read {
        Ok(policy) => policy,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !said.chars().any(|c| c.is_control() && c != '\n'), "{said:?} of {text:?}");
            return;
        }
    };
    let clock = ManualClock::at(Timestamp::from_seconds(START_SECONDS));
    let engine = Engine::builder(policy.clone()).clock(&clock).build();
    let resources: Vec<_> = policy.resources().map(|(name, _)| engine.resource(name).expect("declared")).collect();
    let mut subjects = Subjects::new();
    for limit in policy.limits() {
        if limit.kind() != "global" {
            subjects = subjects.with(format!("{}:7", limit.kind())).expect("a kind and an id");
        }
    }
    // Only a policy with very many limits on one kind has no scope.
    let Ok(scope) = engine.scope_of(subjects) else {
        assert!(policy.limits().len() > 64, "no scope under {text:?}");
        return;
    };
    let budgets = scope.usage().expect("known kinds");
    assert_eq!(budgets.len(), policy.limits().len());
    for (day, resource) in (1..).zip(resources) {
        let fits = scope.afford(resource).expect("declared");
        let amount = match fits {
            Cap::Max(max) => max,
            Cap::Unlimited => 1_000,
        };
        let _ = scope.try_charge(resource.of(amount)).expect("what can be afforded is admitted");
        if let Cap::Max(max) = fits {
            let refused = scope.try_charge(resource.of(max.max(1))).expect_err("nothing is left");
            let _ = refused.refusal().expect("a refusal").to_json().to_string();
        }
        clock.set(Timestamp::from_seconds(START_SECONDS + day * 86_400));
        let _ = scope.check_cost(&resource.of(1));
    }
    let _ = engine.cost(&Usage::new());
    engine.set_policy(policy);
    let _ = scope.usage().expect("the same policy");
}
