//! One refusal, told to a person, to a log, to a model and to an HTTP client.
//!
//! Run it with `cargo run --example refusals --features json`.

use encumber::{Cap, Engine, Limit, ManualClock, Policy, Refusal, Retry, Unit, Window};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usd = |text: &str| Unit::Usd.parse(text).map(Cap::Max);
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .limit(Limit::new("user-day", "user", "usd", Window::Day, usd("25")?))
        .limit(Limit::new("team-month", "global", "usd", Window::Month, usd("30")?))
        .build()?;
    // A clock that stands still, so that the output is the same at any time of day.
    let clock = ManualClock::at("2026-02-04T20:55:00Z".parse()?);
    let engine = Engine::builder(policy).clock(&clock).build();
    let dollars = engine.resource("usd")?;
    let scope = engine.scope(["user:ann@example.org"])?;

    scope.try_charge(dollars.of(24_500_000_000))?;
    for amount in ["1", "7.5", "40"] {
        let refusal = scope
            .try_charge(dollars.of(Unit::Usd.parse(amount)?))
            .err()
            .and_then(encumber::ChargeError::into_refusal)
            .ok_or("there is no room for it")?;
        println!("== {amount} usd ==");
        show(&refusal);
    }
    Ok(())
}

fn show(refusal: &Refusal) {
    println!("log:     {refusal}");
    println!("person:  {refusal:#}");
    println!("advice:  {}", refusal.suggestion());
    println!(
        "retry:   {}",
        match refusal.retry() {
            Retry::At(then) => format!("at {then}"),
            Retry::Unknown => "nobody knows when".to_owned(),
            Retry::Never => "never".to_owned(),
        }
    );
    let http = refusal.http();
    println!("http:    {}", http.status);
    for (name, value) in &http.headers {
        println!("         {name}: {value}");
    }
    println!("model:   {:#}\n", refusal.to_json());
}
