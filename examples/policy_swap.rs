//! A policy swapped in while threads charge: usage stays, and the new numbers count from the next call on.
//!
//! Run it with `cargo run --example policy_swap --features toml`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use encumber::{Engine, Policy};

const THREADS: u64 = 4;

/// The policy file of this program, with the maximum as it is edited.
fn policy(max: u64) -> String {
    format!(
        r#"
[resources]
calls = "count"

[[limits]]
id = "user-lifetime"
subject = "user"
resource = "calls"
window = "lifetime"
max = {max}
"#
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new(Policy::from_toml(&policy(10_000))?);
    let calls = engine.resource("calls")?;
    let scope = engine.scope(["user:7"])?;
    let admitted = AtomicU64::new(0);
    let full = AtomicU64::new(0);
    let raised = AtomicBool::new(false);

    thread::scope(|threads| -> Result<(), encumber::PolicyError> {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    // Read before the charge: a refusal after it is one by the new policy.
                    let last_round = raised.load(Ordering::Acquire);
                    if scope.try_charge(calls.of(1)).is_ok() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    } else if last_round {
                        break;
                    } else {
                        full.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                    }
                }
            });
        }
        while full.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        println!("full at {} calls", admitted.load(Ordering::Relaxed));

        // A wrong policy is refused whole, and the one in force stays.
        let wrong = Policy::from_toml(&policy(25_000).replace("\"calls\"", "\"cals\"")).map(|_| ());
        println!("a wrong policy: {}", wrong.expect_err("the resource is not declared"));

        let raise = Policy::from_toml(&policy(25_000));
        if let Ok(policy) = &raise {
            engine.set_policy(policy.clone());
        }
        raised.store(true, Ordering::Release);
        raise.map(|_| ())
    })?;

    let budget = &scope.usage()?[0];
    println!(
        "after the swap: {} admitted, {} used, {}",
        admitted.load(Ordering::Relaxed),
        budget.used,
        budget.status.name()
    );
    assert_eq!((admitted.into_inner(), budget.used), (25_000, 25_000));
    Ok(())
}
