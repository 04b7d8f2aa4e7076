//! Bad input: a typed error that says what and where, and nothing charged.

use encumber::{
    Cap, ChargeError, CostError, Engine, Limit, ManualClock, Policy, PolicyCause, Price, Rates, ScopeError,
    SettleError, Subject, SubjectError, Timestamp, TokenClass, Unit, Unknown, Usage, Window,
};

fn engine() -> Engine {
    let policy = Policy::builder()
        .resource("usd", Unit::Usd)
        .resource("tokens", Unit::Count)
        .kind("tool")
        .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000)))
        .rates(Rates::strict().price("known", Price::new().with(TokenClass::Input, 1.into())))
        .build()
        .unwrap();
    Engine::builder(policy).clock(&ManualClock::at(Timestamp::from_seconds(1_770_000_000))).build()
}

fn used(engine: &Engine) -> u64 {
    engine.scope(["user:7"]).unwrap().usage().unwrap()[0].charged()
}

#[test]
fn an_unknown_resource_is_an_error_for_everybody() {
    let engine = engine();
    let error = engine.resource("usdd").unwrap_err();
    assert_eq!(error.to_string(), "the resource \"usdd\" is not declared by the policy; declared: usd, tokens");
    // A subject without any limit is not exempt.
    let scope = engine.scope(["tool:grep"]).unwrap();
    let foreign = self::engine().resource("usd").unwrap();
    for error in [
        scope.try_charge(foreign.of(1)).unwrap_err(),
        scope.reserve(foreign.of(1)).unwrap_err(),
        scope.check_cost(&foreign.of(0)).unwrap_err(),
        scope.record(foreign.of(1)).unwrap_err().into(),
        scope.afford(foreign).unwrap_err().into(),
    ] {
        assert!(matches!(error, ChargeError::UnknownResource(_)), "{error}");
    }
    // One unknown resource spoils the whole cost.
    let usd = engine.resource("usd").unwrap();
    assert!(engine.scope(["user:7"]).unwrap().try_charge(usd.of(5).and(foreign, 1)).is_err());
    assert_eq!(used(&engine), 0);
}

#[test]
fn an_unknown_kind_is_an_error_and_an_unlimited_known_one_is_admitted() {
    let engine = engine();
    let error = engine.scope(["users:7"]).unwrap_err();
    assert!(matches!(&error, ScopeError::UnknownKind { kind, .. } if &**kind == "users"), "{error}");
    let usd = engine.resource("usd").unwrap();
    assert!(engine.scope(["tool:grep"]).unwrap().try_charge(usd.of(u64::MAX)).is_ok());
    assert_eq!(engine.scope(["tool:grep"]).unwrap().afford(usd), Ok(Cap::Unlimited));
}

#[test]
fn ids_may_hold_anything_but_have_a_length() {
    let engine = engine();
    let usd = engine.resource("usd").unwrap();
    for id in ["a:b", "a\"b", "line\nbreak", "nul\0", "größe-🔑", "\u{202e}bidi", &"x".repeat(256)] {
        let scope = engine.scope([Subject::new("user", id).unwrap()]).unwrap();
        scope.try_charge(usd.of(1_000)).unwrap();
        let refusal = scope.try_charge(usd.of(1)).unwrap_err().into_refusal().unwrap();
        assert_eq!(refusal.primary().subject.id(), id);
        for text in [format!("{refusal}"), format!("{refusal:#}"), format!("{refusal:?}")] {
            assert!(!text.contains(['\n', '\0']), "{text}");
        }
        assert!(refusal.http().headers.iter().all(|(_, value)| value.bytes().all(|b| (b' '..=b'~').contains(&b))));
    }
    let errors = [("user:", "empty"), ("user", "kind:id"), (":x", "kind"), ("us er:x", "kind"), ("größe:x", "kind")];
    for (text, expected) in errors {
        let error = engine.scope([text]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let long = engine.scope([format!("user:{}", "x".repeat(257))]).unwrap_err();
    assert_eq!(long, ScopeError::Subject(SubjectError::LongId { kind: "user".into(), bytes: 257 }));
    assert_eq!(used(&engine), 0, "all of them are other subjects");
}

#[test]
fn an_unpriced_model_is_refused_unless_the_table_says_otherwise() {
    let engine = engine();
    let usage = Usage::new().with(TokenClass::Input, 10);
    let error = engine.cost(&usage.clone().model("unknown")).unwrap_err();
    assert_eq!(error.to_string(), "the model \"unknown\" has no price in the table");
    assert_eq!(engine.cost(&usage), Err(CostError::UnknownModel(None)));
    let output = usage.clone().with(TokenClass::Output, 1).model("known");
    assert_eq!(engine.cost(&output).unwrap_err().to_string(), "the model \"known\" has no price for output tokens");
    let operation = usage.clone().model("known").operation("mystery");
    assert_eq!(engine.cost(&operation).unwrap_err().to_string(), "the operation \"mystery\" has no cost in the table");
    let policy = Policy::builder().resource("usd", Unit::Usd).rates(Rates::new(Unknown::Refuse, Unknown::Unpriced));
    let lenient = Engine::new(policy.build().unwrap());
    assert!(lenient.cost(&usage.model("unknown")).unwrap().is_unpriced());
}

#[test]
fn a_cap_beyond_the_field_says_what_fits() {
    for window in [Window::Minute, Window::Day, Window::Month, Window::Lifetime] {
        let with = |max| {
            Policy::builder()
                .resource("tokens", Unit::Count)
                .limit(Limit::new("x", "user", "tokens", window, Cap::Max(max)))
                .build()
        };
        assert!(with(window.cap_max()).is_ok());
        let error = with(window.cap_max() + 1).unwrap_err();
        assert!(matches!(error.cause(), PolicyCause::MaxTooLarge { .. }));
        assert!(error.to_string().ends_with(&format!("holds at most {}", window.cap_max())), "{error}");
    }
}

#[test]
fn amounts_beyond_a_cap_are_refused_for_good_and_never_wrap() {
    let engine = engine();
    let usd = engine.resource("usd").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(usd.of(10)).unwrap();
    for amount in [991, u64::MAX - 5, u64::MAX] {
        let refusal = scope.try_charge(usd.of(amount)).unwrap_err().into_refusal().unwrap();
        assert_eq!((refusal.primary().remaining, refusal.primary().requested), (990, amount));
        assert!(scope.reserve(usd.of(amount)).is_err());
    }
    assert_eq!(used(&engine), 10);
    let receipt = scope.record(usd.of(u64::MAX)).unwrap();
    assert_eq!(receipt.overages()[0].above, u64::MAX - 1_000, "a count past its field is shown as the largest number");
    assert!(scope.check().is_err());
}

#[test]
fn settling_twice_is_told_apart() {
    let engine = engine();
    let (usd, tokens) = (engine.resource("usd").unwrap(), engine.resource("tokens").unwrap());
    let scope = engine.scope(["user:7"]).unwrap();
    let hold = scope.reserve(usd.of(100)).unwrap();
    assert_eq!(hold.commit(self::engine().resource("usd").unwrap().of(1)), Err(SettleError::UnknownResource));
    let receipt = hold.commit(usd.of(30).and(tokens, 7)).unwrap();
    assert_eq!(hold.commit(tokens.of(7).and(usd, 30)), Ok(receipt));
    assert_eq!(hold.commit(usd.of(31).and(tokens, 7)), Err(SettleError::Conflict));
    assert_eq!(hold.release(), Err(SettleError::Committed));
    assert!(hold.try_extend(usd.of(1)).is_err());
    drop(hold);
    assert_eq!(used(&engine), 30);
    let hold = scope.reserve(usd.of(100)).unwrap();
    hold.release().unwrap();
    assert_eq!(hold.release(), Err(SettleError::Released));
    assert_eq!(hold.commit(usd.of(1)), Err(SettleError::Released));
    assert_eq!(used(&engine), 30);
}

/// The prices of a reservation are those of the policy that it was made under.
#[test]
fn a_reservation_keeps_its_prices() {
    let engine = engine();
    let scope = engine.scope(["user:7"]).unwrap();
    let usage = Usage::new().with(TokenClass::Input, 1).model("known");
    let hold = scope.reserve(engine.cost(&usage).unwrap()).unwrap();
    let dearer = Policy::builder()
        .resource("usd", Unit::Usd)
        .resource("tokens", Unit::Count)
        .limit(Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000_000)))
        .rates(Rates::strict().price("known", Price::new().with(TokenClass::Input, 9.into())));
    engine.set_policy(dearer.build().unwrap());
    let usd = engine.resource("usd").unwrap();
    assert_eq!(engine.cost(&usage).unwrap().amount(usd), Some(9_000));
    assert_eq!(hold.cost(&usage).unwrap().amount(usd), Some(1_000));
    hold.commit(hold.cost(&usage).unwrap()).unwrap();
    assert_eq!(used(&engine), 1_000);
}

/// Found by the property test: the receipt of an extended reservation told of an overage that stood only between the settling of its parts.
#[test]
fn an_overage_is_told_as_the_budget_stands_in_the_end() {
    let engine = engine();
    let usd = engine.resource("usd").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let hold = scope.reserve(usd.of(400)).unwrap();
    hold.try_extend(usd.of(300)).unwrap();
    assert_eq!(scope.record(usd.of(500)).unwrap().overages()[0].above, 200);
    assert_eq!(hold.commit(usd.of(450)).unwrap().overages(), []);
    assert_eq!(used(&engine), 950);
}

/// Found by the property test: a refusal took apart a count that had run past its field, as if used and held were known.
#[test]
fn a_saturated_count_is_all_used_and_never_helped_by_waiting_for_holders() {
    let limit = Limit::new("life", "user", "tokens", Window::Lifetime, Cap::Max(u64::MAX - 1));
    let engine = Engine::new(Policy::builder().resource("tokens", Unit::Count).limit(limit).build().unwrap());
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let hold = scope.reserve(tokens.of(5)).unwrap();
    scope.record(tokens.of(u64::MAX)).unwrap();
    let refusal = scope.try_charge(tokens.of(1)).unwrap_err().into_refusal().unwrap();
    assert_eq!(
        (refusal.primary().used, refusal.primary().held, refusal.retry()),
        (u64::MAX, 0, encumber::Retry::Never)
    );
    hold.release().unwrap();
    assert_eq!(scope.usage().unwrap()[0].used, u64::MAX);
}

#[test]
fn a_member_of_an_unknown_kind_is_a_typo() {
    let with = |member: &'static str| {
        let limit = Limit::new("user-day", "user", "usd", Window::Day, Cap::Max(1_000)).group("heavy", Cap::Max(10));
        Policy::builder().resource("usd", Unit::Usd).kind("bot").group("heavy", [member]).limit(limit).build()
    };
    for known in ["user:1", "bot:1", "global"] {
        assert!(with(known).is_ok(), "{known}");
    }
    let error = with("usr:1").unwrap_err();
    assert!(matches!(error.cause(), PolicyCause::UnknownKind(kind) if &**kind == "usr"), "{error}");
    assert!(error.to_string().contains("heavy"), "{error}");
}

#[cfg(feature = "toml")]
#[test]
fn messages_of_a_policy_name_all_that_can_stand_there() {
    let error = |text: &str| Policy::from_toml(text).unwrap_err().to_string();
    let price = error("[resources]\nusd = \"usd\"\n[prices.m]\nwebsearch = \"10\"");
    assert!(price.starts_with("line 4: prices.m.websearch: ") && price.ends_with(", web_search, call"), "{price}");
    let reset = error("[resources]\nusd = \"usd\"\n[[resets]]\nid = \"r\"\nlimit = \"x\"\nmax_per_window = 1");
    assert_eq!(reset, "line 5: resets[0].limit: there is no limit \"x\"; known: none");
}

#[cfg(feature = "prices")]
#[test]
fn a_skipped_model_without_a_provider_is_named_alone() {
    let table = encumber::PriceTable::from_litellm(r#"{"m": {"input_cost_per_token": -1}}"#).unwrap();
    assert_eq!(table.skipped()[0].to_string(), "m: input_cost_per_token: -1 is negative");
}

#[cfg(feature = "usage")]
#[test]
fn a_body_that_is_no_object_says_what_was_expected() {
    let error = encumber::UsageApi::Anthropic.parse("[]").unwrap_err();
    assert_eq!(error.to_string(), "body: expected an object, found a list");
}
