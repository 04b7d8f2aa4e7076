//! Policies from text: what is read, and that each fault is refused with its line, key and cause.

use encumber::{
    Cap, ChargeError, Cost, Enforcement, Engine, GroupChoice, ManualClock, Policy, PolicyCause, PolicyError, Source,
    Subject, Subjects, Timestamp, TokenClass, Unit, Usage, Warn, Weekday, Window, WindowError, ZoneError,
};

#[cfg(feature = "time-zones")]
use encumber::Zone;

const TEAM: &str = include_str!("../policies/team.toml");

const FULL: &str = r#"
kinds = ["tool"]

[resources]
usd    = "usd"
tokens = "count"
calls  = "count"

[cost]
unknown_operation = "1"
rounding = "up"

[cost.tokens]
cache_read = "0.1"

[cost.operations]
embedding = 5

[prices."claude-opus-4-5-20251101"]
input = "5"
output = 25

[groups]
heavy = ["user:dev-1", "user:dev-5"]

[[limits]]
id          = "user-day"
subject     = "user"
resource    = "usd"
window      = "day"
max         = "25.5"
enforcement = "soft"
warn        = [80, 95]
time_zone   = "UTC"
groups      = { heavy = "100" }
group_choice = "largest"
subjects    = { "user:dev-4" = "unlimited", "user:a.b \"c\"" = 0 }

[[limits]]
id = "window"
subject = "global"
resource = "tokens"
window = "5h"
anchor = "2026-02-04T01:30:00Z"
max = 1_000_000
"#;

fn check_full(policy: &Policy) {
    assert_eq!(
        policy.resources().collect::<Vec<_>>(),
        [("usd", Unit::Usd), ("tokens", Unit::Count), ("calls", Unit::Count)]
    );
    assert!(policy.knows_kind("tool") && policy.knows_kind("user") && !policy.knows_kind("agent"));
    let [day, window] = policy.limits() else { panic!("two limits") };
    assert_eq!(
        (day.max(), day.enforced(), day.warnings()),
        (Cap::Max(25_500_000_000), Enforcement::Soft, &[Warn::Percent(80), Warn::Percent(95)][..])
    );
    let cap = |subject: &str| policy.resolve(&subject.parse::<Subject>().unwrap(), &[])[0].1;
    assert_eq!(cap("user:dev-1"), Cap::Max(100_000_000_000));
    assert_eq!(
        [cap("user:dev-4"), cap("user:a.b \"c\""), cap("user:x")],
        [Cap::Unlimited, Cap::Max(0), Cap::Max(25_500_000_000)]
    );
    let anchor: Timestamp = "2026-02-04T01:30:00Z".parse().unwrap();
    assert_eq!((window.window(), window.max()), (Window::every_from(18_000, anchor).unwrap(), Cap::Max(1_000_000)));

    let engine = Engine::builder(policy.clone()).clock(&ManualClock::at(anchor)).build();
    let [usd, tokens, calls] = ["usd", "tokens", "calls"].map(|name| engine.resource(name).unwrap());
    let usage = Usage::new().with(TokenClass::Input, 10).with(TokenClass::Output, 1).model("claude-opus-4-5-20251101");
    assert_eq!(engine.cost(&usage).unwrap(), usd.of(75_000).and(tokens, 11).and(calls, 1));
    let embedding = usage.clone().operation("embedding");
    assert_eq!(engine.cost(&embedding).unwrap().amount(tokens), Some(55));
    assert!(engine.cost(&usage.with(TokenClass::CacheRead, 1)).is_err(), "cache reads have no price");
    assert_eq!(GroupChoice::default(), GroupChoice::Smallest);
}

#[test]
fn toml_with_every_key() {
    check_full(&Policy::from_toml(FULL).unwrap());
}

#[test]
fn json_with_every_key_is_the_same_policy() {
    let json = r#"{
      "kinds": ["tool"],
      "resources": {"usd": "usd", "tokens": "count", "calls": "count"},
      "cost": {"unknown_operation": "1", "rounding": "up", "tokens": {"cache_read": "0.1"}, "operations": {"embedding": 5}},
      "prices": {"claude-opus-4-5-20251101": {"input": "5", "output": 25}},
      "groups": {"heavy": ["user:dev-1", "user:dev-5"]},
      "limits": [
        {"id": "user-day", "subject": "user", "resource": "usd", "window": "day", "max": "25.5", "enforcement": "soft",
         "warn": [80, 95], "time_zone": "UTC", "groups": {"heavy": "100"}, "group_choice": "largest",
         "subjects": {"user:dev-4": "unlimited", "user:a.b \"c\"": 0}},
        {"id": "window", "subject": "global", "resource": "tokens", "window": "5h", "anchor": "2026-02-04T01:30:00Z",
         "max": 1000000}
      ]
    }"#;
    check_full(&Policy::from_json(json).unwrap());
}

#[test]
fn the_shipped_policy_is_good() {
    let policy = Policy::from_toml(TEAM).unwrap();
    let ids: Vec<_> = policy.limits().iter().map(encumber::Limit::id).collect();
    assert_eq!(ids, ["subagent", "session", "user-day", "team-day", "team-month"]);
}

/// Replaces the one line of [`FULL`] that starts with `key` and returns the error, which must name that line.
fn fault(line_start: &str, replacement: &str) -> PolicyError {
    let mut number = 0;
    let lines: Vec<String> = FULL
        .lines()
        .enumerate()
        .map(|(index, line)| {
            if number == 0 && line.starts_with(line_start) {
                number = index + 1;
                replacement.to_owned()
            } else {
                line.to_owned()
            }
        })
        .collect();
    assert!(number > 0, "no line starts with {line_start}");
    let error = Policy::from_toml(&lines.join("\n")).expect_err(replacement);
    assert_eq!(error.line(), Some(number), "{replacement}: {error}");
    error
}

#[test]
fn each_fault_names_its_line_key_and_cause() {
    let cases = [
        ("tokens = ", "tokens = \"tons\"", "resources.tokens: expected \"usd\" or \"count\", found \"tons\""),
        ("tokens = ", "\"to kens\" = \"count\"", "cost.tokens"),
        ("window      =", "window = \"fortnight\"", "\"fortnight\" is not a window"),
        ("window      =", "window = \"rolling\"", "\"rolling 5h\" or \"5h from first use\""),
        ("window      =", "window = \"rolling 1mo\"", "limits[0].window: a window of \"rolling 1mo\" cannot be held"),
        ("window      =", "window = \"0h\"", "\"0h\" is not a window"),
        ("max         =", "max = -1", "limits[0].max: \"-1\" is not a non-negative number"),
        ("max         =", "max = nan", "found a float"),
        ("max         =", "max = 2.5", "write it as a string"),
        ("max         =", "max = \"NaN\"", "\"NaN\" is not a non-negative number"),
        ("max         =", "max = \"\"", "\"\" is not a non-negative number"),
        ("max         =", "max = \"0.0000000001\"", "finer than a nano-dollar"),
        ("max         =", "max = \"300000\"", "a budget with a day window holds at most 281474.976710654 usd"),
        ("max         =", "max = true", "found a boolean"),
        ("enforcement =", "striped = 1", "limits[0].striped: expected true or false, found 1"),
        (
            "max         =",
            "maximum = 1",
            "limits[0].maximum: the key \"maximum\" does not exist here; there is id, subject",
        ),
        ("enforcement =", "enforcement = \"firm\"", "\"hard\", \"soft\" or \"shadow\""),
        ("warn        =", "warn = [80, 101]", "limits[0].warn[1]: expected a percentage from 1 to 100, found 101"),
        ("warn        =", "warn = [0]", "percentage from 1 to 100"),
        (
            "time_zone   =",
            "week_start = \"sunday\"",
            "limits[0].week_start: a day window has no week_start: a week has one",
        ),
        ("time_zone   =", "month_day = 15", "limits[0].month_day: a day window has no month_day"),
        ("time_zone   =", "month_day = 0", "limits[0].month_day: a month starts on a day from 1 to 31, not 0"),
        ("time_zone   =", "month_day = 300", "limits[0].month_day: expected a day from 1 to 31, found 300"),
        ("time_zone   =", "month_day = \"15\"", "limits[0].month_day: expected a day from 1 to 31, found \"15\""),
        ("time_zone   =", "reset_at = \"9:30\"", "limits[0].reset_at: \"9:30\" is not a time of day"),
        (
            "time_zone   =",
            "reset_at = 09:30:00",
            "limits[0].reset_at: expected a string, found a date (write it as a string)",
        ),
        ("time_zone   =", "time_zone = 1", "limits[0].time_zone: expected a string, found 1"),
        ("anchor = ", "reset_at = \"09:30\"", "limits[1].reset_at: a 5h window has no reset_at"),
        ("anchor = ", "week_start = \"someday\"", "limits[1].week_start: \"someday\" is not a day of the week"),
        ("groups      =", "groups = { heavy = \"lots\" }", "limits[0].groups.heavy: \"lots\" is not"),
        (
            "subjects    =",
            "subjects = { \"agent:1\" = 1 }",
            "limits[0].subjects.\"agent:1\": \"agent:1\" is not of the limit's kind",
        ),
        ("subjects    =", "subjects = { \"user:\" = 1 }", "the id of the user subject is empty"),
        ("id          =", "id = \"\"", "limits[0].id: \"\" cannot be a name"),
        ("id          =", "id = \"a b\"", "cannot be a name"),
        ("id          =", "id = \"größe\"", "cannot be a name"),
        ("id          =", "id = \"a\\\"b\\n\"", "limits[0].id: \"a\\\"b\\n\" cannot be a name"),
        ("id = \"window\"", "id = \"user-day\"", "limits[1].id: \"user-day\" is there twice"),
        ("resource    =", "resource = \"euro\"", "limits[0].resource: the resource \"euro\" is not declared"),
        ("subject     =", "subject = \"us er\"", "limits[0].subject: \"us er\" cannot be a name"),
        ("heavy = ", "heavy = [\"user:dev-1\", \"dev-5\"]", "groups.heavy[1]: \"dev-5\" is not a subject"),
        ("cache_read = ", "cached = \"0.1\"", "cost.tokens.cached: the key \"cached\" does not exist here"),
        ("cache_read = ", "cache_read = \"-0.1\"", "cost.tokens.cache_read: \"-0.1\" is not a non-negative number"),
        ("embedding = ", "embedding = \"inf\"", "cost.operations.embedding: \"inf\""),
        ("unknown_operation", "unknown_operation = \"free\"", "cost.unknown_operation: \"free\""),
        ("output = ", "outputs = 1", "prices.claude-opus-4-5-20251101.outputs"),
        ("anchor = ", "anchor = \"noon\"", "an RFC 3339 instant"),
        ("kinds = ", "kinds = [\"tool:1\"]", "kinds[0]: \"tool:1\" cannot be a name"),
        ("kinds = ", "kind = [\"tool\"]", "kind: the key \"kind\" does not exist here"),
    ];
    for (line, replacement, expected) in cases {
        if replacement.contains("to kens") {
            // The weights of a resource that is no longer declared are found first, in their own line.
            let error = Policy::from_toml(&FULL.replace("tokens = \"count\"", replacement)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            continue;
        }
        let error = fault(line, replacement);
        assert!(error.to_string().contains(expected), "{replacement}\n  says {error}\n  not  {expected}");
    }
}

/// A policy of one limit with these keys besides the needed ones.
fn one_limit(keys: &str) -> Result<Window, PolicyError> {
    let text = format!(
        "[resources]\ncalls = \"count\"\n[[limits]]\nid = \"x\"\nsubject = \"user\"\nresource = \"calls\"\nmax = 1\n{keys}"
    );
    Policy::from_toml(&text).map(|policy| policy.limits()[0].window())
}

#[test]
fn windows_of_a_calendar_have_settings() {
    let late = |window: Window| window.reset_at("09:30:15".parse().unwrap()).unwrap();
    let sunday = Window::Week.week_starts(Weekday::Sunday).unwrap();
    let cases = [
        ("window = \"week\"\nweek_start = \"sunday\"", sunday),
        ("window = \"week\"\nreset_at = \"09:30:15\"\nweek_start = \"sunday\"", late(sunday)),
        ("window = \"month\"\nmonth_day = 15", Window::Month.month_day(15).unwrap()),
        ("window = \"3mo\"\nmonth_day = 31", "3mo".parse::<Window>().unwrap().month_day(31).unwrap()),
        ("window = \"day\"\nreset_at = \"09:30:15\"", late(Window::Day)),
        ("window = \"month\"\nmonth_day = 1\nreset_at = \"00:00\"\ntime_zone = \"UTC\"", Window::Month),
        ("window = \"rolling 5h\"\ntime_zone = \"UTC\"", Window::rolling(18_000).unwrap()),
        ("window = \"5h from first use\"", Window::from_first_use(18_000).unwrap()),
    ];
    for (keys, window) in cases {
        assert_eq!(one_limit(keys), Ok(window), "{keys}");
    }
    for window in ["minute", "hour", "5h", "1d", "lifetime", "rolling 5h", "5h from first use"] {
        for setting in ["week_start = \"sunday\"", "month_day = 15", "reset_at = \"09:30\""] {
            let error = one_limit(&format!("window = \"{window}\"\n{setting}")).unwrap_err();
            let cause = matches!(error.cause(), PolicyCause::Window(WindowError::Setting { .. }));
            assert!(cause && error.line() == Some(9), "{window} {setting}: {error}");
        }
    }
}

#[cfg(feature = "time-zones")]
#[test]
fn a_limit_has_a_time_zone() {
    let berlin = Zone::new("Europe/Berlin").unwrap();
    let zoned = "time_zone = \"Europe/Berlin\"";
    assert_eq!(one_limit(&format!("window = \"day\"\n{zoned}")).unwrap(), Window::Day.in_zone(berlin).unwrap());
    let unknown = one_limit("window = \"day\"\ntime_zone = \"Europe/Berln\"").unwrap_err();
    assert_eq!((unknown.line(), unknown.key()), (Some(9), "limits[0].time_zone"));
    assert!(matches!(unknown.cause(), PolicyCause::TimeZone(ZoneError::Unknown(_))), "{unknown}");
    for window in ["hour", "5h", "1d", "lifetime", "rolling 5h", "5h from first use"] {
        let error = one_limit(&format!("window = \"{window}\"\n{zoned}")).unwrap_err();
        assert!(error.to_string().contains(&format!("a {window} window has no time_zone")), "{error}");
    }
}

/// Rollover at local midnight, in the engine.
#[cfg(feature = "time-zones")]
#[test]
fn a_day_of_23_hours_is_one_window() {
    let text = FULL.replace("\"UTC\"", "\"Europe/Berlin\"").replace("\"soft\"", "\"hard\"");
    let clock = ManualClock::at("2026-03-28T23:00:00Z".parse().unwrap());
    let engine = Engine::builder(Policy::from_toml(&text).unwrap()).clock(&clock).build();
    let usd = engine.resource("usd").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    scope.try_charge(usd.of(25_500_000_000)).unwrap();
    clock.set("2026-03-29T21:59:59.999Z".parse().unwrap());
    let refusal = scope.try_charge(usd.of(1)).unwrap_err().into_refusal().unwrap();
    assert_eq!(refusal.primary().resets_at, Some("2026-03-29T22:00:00Z".parse().unwrap()));
    assert!(refusal.http().headers[0].1.ends_with(";w=82800"), "{:?}", refusal.http());
    clock.set("2026-03-29T22:00:00Z".parse().unwrap());
    scope.try_charge(usd.of(25_500_000_000)).unwrap();
}

#[cfg(not(feature = "time-zones"))]
#[test]
fn without_the_feature_there_is_no_zone_but_utc() {
    let error = one_limit("window = \"day\"\ntime_zone = \"Europe/Berlin\"").unwrap_err();
    assert!(matches!(error.cause(), PolicyCause::TimeZone(ZoneError::NotBuiltIn(_))), "{error}");
    assert!(error.to_string().contains("the crate's feature \"time-zones\""), "{error}");
}

#[test]
fn syntax_errors_name_their_line() {
    let toml = Policy::from_toml("[resources]\nusd = \"usd\"\nusd = \"usd\"\n").unwrap_err();
    assert_eq!(toml.line(), Some(3), "{toml}");
    let toml = Policy::from_toml("[resources]\nusd = usd\n").unwrap_err();
    assert_eq!(toml.line(), Some(2), "{toml}");
    let json = Policy::from_json("{\n  \"resources\": {},\n  \"limits\": [,]\n}").unwrap_err();
    assert_eq!(json.line(), Some(3), "{json}");
    for extension in
        ["{} // comment", "{\"limits\": [],}", "{limits: []}", "{'limits': []}", "", "[]", "null", "{\"a\": 1} x"]
    {
        assert!(Policy::from_json(extension).is_err(), "{extension}");
    }
    let twice = Policy::from_json("{\n\"resources\": {\"usd\": \"usd\",\n\"usd\": \"count\"}}").unwrap_err();
    assert_eq!((twice.line(), twice.key()), (Some(3), "resources.usd"), "{twice}");
    let number = Policy::from_json(
        r#"{"resources": {"t": "count"}, "limits": [{"id": "x", "subject": "user", "resource": "t", "window": "day", "max": 1e3}]}"#,
    );
    assert!(number.unwrap_err().to_string().contains("float"));
}

#[test]
fn a_wrong_policy_leaves_the_old_one_in_force() {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let engine = Engine::builder(Policy::from_toml(FULL).unwrap()).clock(&clock).build();
    let tokens = engine.resource("tokens").unwrap();
    let scope = engine.scope::<&str>([]).unwrap();
    scope.try_charge(tokens.of(1_000_000)).unwrap();
    assert!(Policy::from_toml(&FULL.replace("max = 1_000_000", "max = minus one")).is_err());
    assert!(scope.try_charge(tokens.of(1)).is_err());
    engine.set_policy(Policy::from_toml(&FULL.replace("max = 1_000_000", "max = 1_000_001")).unwrap());
    scope.try_charge(tokens.of(1)).unwrap();
    assert!(scope.try_charge(tokens.of(1)).is_err(), "usage stays");
    assert_eq!(scope.usage().unwrap()[0].used, 1_000_001);
}

/// A resource or a kind that a swapped-in policy does not know is an error for whoever still uses it, and nothing is charged.
#[test]
fn what_a_new_policy_does_not_know_is_refused() {
    let engine = Engine::new(Policy::from_toml(FULL).unwrap());
    let (tokens, calls) = (engine.resource("tokens").unwrap(), engine.resource("calls").unwrap());
    let scope = engine.scope(["tool:grep"]).unwrap();
    scope.try_charge(tokens.of(5).and(calls, 1)).unwrap();
    let hold = scope.reserve(tokens.of(7)).unwrap();
    engine.set_policy(Policy::from_toml(&FULL.replace("calls  = \"count\"\n", "")).unwrap());
    let error = scope.try_charge(tokens.of(5).and(calls, 1)).unwrap_err();
    assert!(error.to_string().contains("declared: usd, tokens"), "{error}");
    engine.set_policy(Policy::from_toml(&FULL.replace("kinds = [\"tool\"]\n", "")).unwrap());
    let error = scope.record(tokens.of(5)).unwrap_err();
    assert!(error.to_string().contains("\"tool\" is neither declared nor limited"), "{error}");
    hold.commit(tokens.of(6)).unwrap();
    engine.set_policy(Policy::from_toml(FULL).unwrap());
    assert_eq!(scope.usage().unwrap()[0].used, 11);
    let other = Engine::new(Policy::from_toml(FULL).unwrap());
    assert!(scope.try_charge(other.resource("tokens").unwrap().of(1)).is_err(), "another engine's resource");
    assert!(scope.try_charge(Cost::nothing()).is_ok());
}

const EXEMPT: &str = r#"
exempt        = ["user:4"]
exempt_groups = ["staff"]

[resources]
calls = "count"

[groups]
staff = ["user:5"]

[[limits]]
id       = "user-day"
subject  = "user"
resource = "calls"
window   = "day"
max      = 1
subjects = { "user:4" = 0 }

[[limits]]
id       = "agent"
subject  = "agent"
resource = "calls"
window   = "lifetime"
max      = 3
"#;

#[test]
fn exempt_subjects_are_counted_and_never_refused_by_limits_on_them() {
    let engine = Engine::new(Policy::from_toml(EXEMPT).unwrap());
    let calls = engine.resource("calls").unwrap();
    for (name, groups) in [("user:4", &[][..]), ("user:5", &[]), ("user:6", &["staff"])] {
        let scope = engine.scope_of(Subjects::new().in_groups(name, groups.iter().copied()).unwrap()).unwrap();
        scope.try_charge(calls.of(5)).unwrap();
        scope.record(calls.of(2)).unwrap();
        let hold = scope.reserve(calls.of(3)).unwrap();
        let usage = &scope.usage().unwrap()[0];
        assert_eq!((usage.used, usage.held, usage.cap), (7, 3, Cap::Unlimited), "{name}");
        hold.release().unwrap();
        let resolved = engine.resolve(&name.parse().unwrap(), groups).unwrap();
        assert_eq!(resolved, [("user-day".into(), Cap::Unlimited, Source::Exempt)], "{name}");
    }
    let other = engine.scope(["user:6"]).unwrap();
    assert!(other.try_charge(calls.of(1)).is_err(), "it is over: what it used as a member counts");
    assert_eq!(other.usage().unwrap()[0].used, 7);
}

#[test]
fn an_exempt_subject_does_not_lift_limits_on_others_or_what_is_unknown() {
    let engine = Engine::new(Policy::from_toml(EXEMPT).unwrap());
    let calls = engine.resource("calls").unwrap();
    let scope = engine.scope(["user:4", "agent:a"]).unwrap();
    scope.try_charge(calls.of(3)).unwrap();
    let ChargeError::Refused(refusal) = scope.try_charge(calls.of(1)).unwrap_err() else { panic!("a refusal") };
    assert_eq!((refusal.violations().count(), &*refusal.primary().limit), (1, "agent"));
    assert_eq!(scope.usage().unwrap()[0].used, 3, "all or none");
    assert!(engine.resource("cals").is_err() && engine.scope(["usr:4"]).is_err());
    engine.set_override(&"user:4".parse().unwrap(), "user-day", Some(Cap::Max(3))).unwrap();
    assert!(engine.scope(["user:4"]).unwrap().try_charge(calls.of(1)).is_err(), "an operator's word goes before it");
    let other = Engine::new(Policy::from_toml(EXEMPT).unwrap()).resource("calls").unwrap();
    assert!(matches!(engine.scope(["user:4"]).unwrap().try_charge(other.of(1)), Err(ChargeError::UnknownResource(_))));
}

#[test]
fn exemption_can_come_and_go_while_holds_are_open() {
    let engine = Engine::new(Policy::from_toml(EXEMPT).unwrap());
    let calls = engine.resource("calls").unwrap();
    let scope = engine.scope(["user:7"]).unwrap();
    let before = scope.reserve(calls.of(1)).unwrap();
    engine.set_policy(Policy::from_toml(&EXEMPT.replace("user:4", "user:7")).unwrap());
    let while_exempt = scope.reserve(calls.of(1)).unwrap();
    before.release().unwrap();
    engine.set_policy(Policy::from_toml(EXEMPT).unwrap());
    assert!(scope.try_charge(calls.of(1)).is_err(), "the place that was taken meanwhile is still taken");
    while_exempt.release().unwrap();
    assert_eq!(scope.usage().unwrap()[0].charged(), 0);
    scope.try_charge(calls.of(1)).unwrap();
}

#[test]
fn exempt_entries_are_checked() {
    for (entry, replacement, expected) in [
        ("\"user:4\"]", "\"user:4\", \"usr:4\"]", "line 2: exempt[1]: the kind of subject \"usr\" is neither"),
        ("\"user:4\"]", "\"user:4\", \"user:4\"]", "line 2: exempt[1]: \"user:4\" is there twice"),
        ("\"user:4\"]", "\"staff\"]", "line 2: exempt[0]: \"staff\" is not a subject"),
        ("\"user:4\"]", "4]", "line 2: exempt[0]: expected a string, found 4"),
        ("[\"staff\"]", "[\"user:4\"]", "line 3: exempt_groups[0]: \"user:4\" cannot be a name"),
        ("[\"staff\"]", "[\"staff\", \"staff\"]", "line 3: exempt_groups[1]: \"staff\" is there twice"),
        ("[\"staff\"]", "\"staff\"", "line 3: exempt_groups: expected a list"),
    ] {
        let error = Policy::from_toml(&EXEMPT.replacen(entry, replacement, 1)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{replacement}\n  says {error}\n  not  {expected}");
    }
    assert!(Policy::from_toml(&EXEMPT.replacen("\"user:4\"]", "\"global\"]", 1)).is_ok());
}

#[test]
fn a_price_may_name_media_web_searches_and_a_fee_per_call() {
    let text = r#"
        [resources]
        usd = "usd"

        [prices."m"]
        input = "1"
        input_audio = "4"
        web_search = "10"
        call = "2"
    "#;
    let engine = Engine::new(Policy::from_toml(text).expect(text));
    let usd = engine.resource("usd").expect("declared");
    let call = Usage::new().model("m").with(TokenClass::InputAudio, 1_000).with(TokenClass::InputImage, 1_000);
    let cost = engine.cost(&call.with_web_searches(1)).expect("priced");
    assert_eq!(cost, usd.of(4_000_000 + 1_000_000 + 10_000_000 + 2_000_000));

    let error = Policy::from_toml(&text.replace("call =", "calls =")).unwrap_err();
    assert_eq!((error.line(), error.key()), (Some(9), "prices.m.calls"));
}
