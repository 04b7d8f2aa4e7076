// Made from docs/policy.md. Change the page, then `ENCUMBER_BOOK=write cargo test --test pages`.
pub(crate) fn page() -> Result<(), Box<dyn std::error::Error>> {
use encumber::Policy;

let error = Policy::from_toml("[resources]\nusd = \"usd\"\n[[limits]]\nid = \"x\"\nsubject = \"user\"\nresource = \"used\"\nwindow = \"day\"\nmax = 1").unwrap_err();
assert_eq!(error.to_string(), "line 6: limits[0].resource: the resource \"used\" is not declared");

use encumber::{Cap, Enforcement, Limit, Price, Rates, Ratio, TokenClass, Unit, Unknown, Weights, Window};

let price = Price::new().with(TokenClass::Input, "5".parse()?).with(TokenClass::Output, "25".parse()?);
let rates = Rates::new(Unknown::Given(Ratio::ONE), Unknown::Refuse)
    .weights("tokens", &Weights::provider_cache()) // cache writes ×1.25 and ×2, reads ×0.1
    .helios_operations()                           // query 1, embedding 5, vector_search 10, write 2, transaction 3
    .price("claude-opus-4-5-20251101", price);
let policy = Policy::builder()
    .resource("usd", Unit::Usd)
    .resource("tokens", Unit::Count)
    .kind("session")
    .group("heavy", ["user:dev-1", "user:dev-5"])
    .rates(rates)
    .limit(
        Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(Unit::Usd.parse("25")?))
            .warn_percent([80, 95])
            .warn_at(Unit::Usd.parse("24.50")?)
            .group("heavy", Cap::Max(Unit::Usd.parse("100")?))
            .subject("user:dev-4", Cap::Unlimited)
            .enforcement(Enforcement::Hard),
    )
    .build()?;

use encumber::{Engine, PolicyError};

fn reload(engine: &Engine, text: &str) -> Result<(), PolicyError> {
    engine.set_policy(Policy::from_toml(text)?);
    Ok(())
}

let engine = Engine::new(policy);
assert!(reload(&engine, "[resources]\nusd = \"dollars\"").is_err());
assert!(engine.resource("tokens").is_ok()); // the old policy stays

Ok(())
}
