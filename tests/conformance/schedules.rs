//! Stress schedules: threads that run described operations in rounds, and an invariant that is asked of everything they see.
//!
//! A line of the body is `ROLE: OPERATION ARGUMENTS`, or `OPERATION or OPERATION` for a choice, `OPERATION and OPERATION in parallel` for
//! both at once, `OPERATION, then OPERATION` for one after the other. A line that the runner cannot read is an error: what a schedule
//! describes and the runner does not do would not be tested.

use serde_json::{Map, Value, json};

use crate::args;

/// One in this many, for what happens "sometimes".
const SOMETIMES: u64 = 16;

/// What a schedule is.
pub(crate) struct Schedule {
    pub(crate) roles: Vec<Role>,
    pub(crate) rounds: u64,
}

/// Threads that run the same lines.
pub(crate) struct Role {
    pub(crate) threads: u64,
    pub(crate) lines: Vec<Line>,
}

/// One step of a round.
pub(crate) struct Line {
    /// It is run once in so many rounds.
    pub(crate) one_in: u64,
    /// One of these is chosen each time.
    pub(crate) choices: Vec<Action>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Operation(Operation),
    /// These operations all at once on the same hold; the choices before this one, when there are none.
    AllAtOnce(Vec<Operation>),
    /// Moves the clock on.
    Clock(Leap),
    /// Looks at what the line before returned; every result is looked at anyway.
    Look,
}

/// How far the clock moves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leap {
    /// By the time-to-live of what was acquired last.
    TimeToLive,
    /// To where the first window ends.
    NextWindow,
    Seconds(u64),
    /// By so many seconds into the past.
    Back(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// The other words of the line: names of users, keys, features.
    pub(crate) words: Vec<String>,
    pub(crate) amount: Option<(Bound, Bound)>,
}

/// One end of a range of amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Number(u64),
    /// What the thread holds.
    Hold,
}

/// The words that name operations.
const OPERATIONS: [(&str, &str); 46] = [
    ("admin_reset", "admin_reset"),
    ("agent_check", "agent_check"),
    ("agent_consume", "agent_consume"),
    ("agent_reset", "agent_reset"),
    ("agent_status", "agent_status"),
    ("cancel", "release"),
    ("charge", "consume"),
    ("check", "check"),
    ("commit", "finalize"),
    ("consume", "consume"),
    ("counter_get", "counter_get"),
    ("counter_incr", "counter_incr"),
    ("counter_reset", "counter_reset"),
    ("feature_check", "feature_check"),
    ("feature_quota_view", "feature_quota_view"),
    ("feature_record", "feature_record"),
    ("feature_release", "feature_release"),
    ("feature_reserve", "feature_reserve"),
    ("feature_usage", "feature_usage"),
    ("finalize", "finalize"),
    ("lock_acquire", "lock_acquire"),
    ("lock_release", "lock_release"),
    ("paid_reset", "paid_reset"),
    ("record", "record"),
    ("release", "release"),
    ("remaining_steps", "wf_status"),
    ("reserve", "reserve"),
    ("reset_count", "reset_count"),
    ("reset_daily", "reset_daily"),
    ("set_limit", "set_limit"),
    ("settle", "finalize"),
    ("slot_acquire", "slot_acquire"),
    ("slot_count", "slot_count"),
    ("slot_release", "slot_release"),
    ("slot_renew", "slot_renew"),
    ("snapshot", "usage"),
    ("spend", "spend"),
    ("spend_status", "spend_status"),
    ("steps_executed", "wf_status"),
    ("usage", "usage"),
    ("wallet", "wallet"),
    ("wf_begin", "wf_begin"),
    ("wf_end", "wf_end"),
    ("wf_start", "wf_begin"),
    ("wf_status", "wf_status"),
    ("wf_step", "wf_step"),
];

/// What the words of operations mean where a schedule is about other things than accounts: the setup that says so, and its words.
const WORDS_OF: [(&str, &[(&str, &str)]); 5] = [
    (
        "agents",
        &[
            ("check", "agent_check"),
            ("consume", "agent_consume"),
            ("reset", "agent_reset"),
            ("snapshot", "agent_status"),
            ("status", "agent_status"),
            ("usage", "agent_status"),
        ],
    ),
    (
        "slots",
        &[
            ("acquire", "slot_acquire"),
            ("active", "slot_count"),
            ("count", "slot_count"),
            ("release", "slot_release"),
            ("renew", "slot_renew"),
            ("status", "slot_count"),
            ("usage", "slot_count"),
        ],
    ),
    (
        "workflow",
        &[
            ("begin", "wf_begin"),
            ("end", "wf_end"),
            ("start", "wf_begin"),
            ("status", "wf_status"),
            ("step", "wf_step"),
            ("usage", "wf_status"),
        ],
    ),
    (
        "features",
        &[
            ("check", "feature_check"),
            ("record", "feature_record"),
            ("release", "feature_release"),
            ("reserve", "feature_reserve"),
            ("status", "feature_usage"),
            ("usage", "feature_usage"),
        ],
    ),
    (
        "counter",
        &[
            ("count", "counter_get"),
            ("get", "counter_get"),
            ("incr", "counter_incr"),
            ("increment", "counter_incr"),
            ("reset", "counter_reset"),
        ],
    ),
];

/// The same for accounts.
const WORDS_OF_ACCOUNTS: &[(&str, &str)] = &[("reset", "reset_daily"), ("status", "usage")];

/// Operations that only look.
const READS: [&str; 10] = [
    "agent_status",
    "counter_get",
    "feature_quota_view",
    "feature_usage",
    "reset_count",
    "slot_count",
    "spend_status",
    "usage",
    "wallet",
    "wf_status",
];

impl Schedule {
    /// Reads a step. What its words mean follows from what is set up.
    pub(crate) fn read(step: &Value, setup: &Value) -> Result<Self, String> {
        let rounds = step["rounds"].as_u64().filter(|rounds| *rounds > 0).ok_or("rounds is no number")?;
        let own = WORDS_OF.iter().find(|(name, _)| setup["accounts"].is_null() && !setup[*name].is_null());
        let words = own.map_or(WORDS_OF_ACCOUNTS, |(_, words)| words);
        let lines = args::texts(step, "body")?;
        let threads = |count: &Value| count.as_u64().filter(|count| (1..=256).contains(count));
        let named: Vec<(&str, u64)> = match &step["threads"] {
            Value::Object(roles) => {
                let roles = roles.iter().map(|(name, count)| Some((name.as_str(), threads(count)?)));
                roles.collect::<Option<_>>().ok_or("threads holds other than counts")?
            }
            count => vec![("", threads(count).ok_or("threads is no count")?)],
        };
        let mut roles: Vec<Role> =
            named.iter().map(|(_, threads)| Role { threads: *threads, lines: Vec::new() }).collect();
        for text in &lines {
            let (role, text) = match text.split_once(':') {
                Some((role, text)) => (Some(role.trim()), text),
                None => (None, text.as_str()),
            };
            let mut is_taken = false;
            for ((name, _), taking) in named.iter().zip(&mut roles) {
                if role.is_none_or(|role| role == *name) {
                    taking.lines.extend(Line::read_all(text, words)?);
                    is_taken = true;
                }
            }
            if !is_taken {
                return Err(format!("the runner knows no threads {role:?}"));
            }
        }
        if roles.iter().any(|role| role.lines.is_empty()) {
            return Err("there are threads with nothing to do".to_owned());
        }
        Ok(Self { roles, rounds })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.operations().any(|operation| operation.name == name)
    }

    /// Whether some threads do nothing but look.
    pub(crate) fn has_readers(&self) -> bool {
        let mut roles = self.roles.iter();
        roles.any(|role| role.operations().count() > 0 && role.operations().all(|read| READS.contains(&read.name)))
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.roles.iter().flat_map(Role::operations)
    }
}

impl Role {
    fn operations(&self) -> impl Iterator<Item = &Operation> {
        let choices = self.lines.iter().flat_map(|line| &line.choices);
        choices.flat_map(|action| match action {
            Action::Operation(operation) => std::slice::from_ref(operation),
            Action::AllAtOnce(several) => several,
            Action::Clock(_) | Action::Look => &[],
        })
    }

    /// Whether a line of these gives back what another one took, so that it must be kept under a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.operations().any(|operation| operation.name == name)
    }
}

/// What words mean: the word, the operation.
type Words = [(&'static str, &'static str)];

impl Line {
    /// The lines of a text: what is joined with "then", or with "and" where both sides are operations, is done one after the other.
    fn read_all(text: &str, words: &Words) -> Result<Vec<Self>, String> {
        let bare = without_remarks(text);
        let mut parts: Vec<String> = Vec::new();
        for part in bare.split(" then ") {
            let both: Vec<&str> = part.split(" and ").collect();
            let are_operations = both.iter().all(|side| !operations(&split(side), words).is_empty());
            if both.len() > 1 && are_operations && !is_at_once(&split(part)) {
                parts.extend(both.into_iter().map(str::to_owned));
            } else {
                parts.push(part.to_owned());
            }
        }
        parts.iter().map(|part| Self::read(part, text, words)).collect()
    }

    fn read(part: &str, text: &str, words: &Words) -> Result<Self, String> {
        let one_in = if split(part).contains(&"sometimes") { SOMETIMES } else { 1 };
        let fault = || format!("the runner cannot read the line {text:?} of a schedule");
        let choices: Option<Vec<_>> = part.split(" or ").map(|choice| Action::read(choice, words)).collect();
        let choices = choices.ok_or_else(fault)?;
        for (place, choice) in choices.iter().enumerate() {
            let nothing_at_once = matches!(choice, Action::AllAtOnce(own) if own.is_empty() && place < 2);
            if nothing_at_once {
                return Err(fault());
            }
        }
        Ok(Self { one_in, choices })
    }
}

impl Action {
    fn read(text: &str, meanings: &Words) -> Option<Self> {
        let words = split(text);
        let says = |sought: &[&str]| sought.iter().any(|word| words.contains(word));
        let mut operations = operations(&words, meanings);
        let boundaries = ["boundary", "day", "midnight", "period", "rollover", "week", "window"];
        if says(&["advance", "clock", "expire", "expires", "jump", "jumps"])
            || (operations.is_empty() && says(&["midnight", "boundary", "rollover"]))
        {
            let seconds = words.iter().find_map(|word| word.trim_end_matches('s').parse().ok());
            return Some(Self::Clock(match seconds {
                seconds if says(&["back", "backward", "backwards"]) => Leap::Back(seconds.unwrap_or(1)),
                Some(seconds) => Leap::Seconds(seconds),
                None if says(&boundaries) => Leap::NextWindow,
                None => Leap::TimeToLive,
            }));
        }
        if is_at_once(&words) && operations.len() != 1 {
            return Some(Self::AllAtOnce(operations));
        }
        if says(&["both"]) && operations.is_empty() {
            return Some(Self::AllAtOnce(operations));
        }
        if says(&["refusal"]) && says(&["read"]) {
            return Some(Self::Look);
        }
        operations.truncate(1);
        operations.pop().map(Self::Operation)
    }
}

/// The words of a text.
fn split(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_whitespace() || ",;+/".contains(c)).filter(|word| !word.is_empty()).collect()
}

fn is_at_once(words: &[&str]) -> bool {
    ["concurrently", "once", "parallel", "simultaneously"].into_iter().any(|word| words.contains(&word))
}

/// The operations that words name, each with the words up to the next one.
fn operations(words: &[&str], meanings: &Words) -> Vec<Operation> {
    let meaning = |word: &&str| {
        let all = meanings.iter().chain(&OPERATIONS);
        all.into_iter().find(|(known, _)| known == word).map(|(_, name)| *name)
    };
    let places: Vec<(usize, &str)> =
        words.iter().enumerate().filter_map(|(place, word)| Some((place, meaning(word)?))).collect();
    let mut operations: Vec<Operation> = Vec::new();
    for (number, &(place, name)) in places.iter().enumerate() {
        let end = places.get(number + 1).map_or(words.len(), |(next, _)| *next);
        let rest = &words[place + 1..end];
        let amount = rest.iter().find_map(|word| range(word));
        operations.push(Operation { name, words: rest.iter().map(|word| (*word).to_owned()).collect(), amount });
    }
    operations
}

/// `7`, `1..50`, `0..hold`, `hold`.
fn range(word: &str) -> Option<(Bound, Bound)> {
    let bound = |text: &str| match text {
        "hold" => Some(Bound::Hold),
        digits => digits.parse().ok().map(Bound::Number),
    };
    match word.split_once("..") {
        Some((from, to)) => Some((bound(from)?, bound(to.trim_start_matches('='))?)),
        None => bound(word).map(|one| (one, one)),
    }
}

/// The text without what stands in brackets.
fn without_remarks(text: &str) -> String {
    let mut depth = 0_u32;
    let outside = |c: &char| {
        depth = if *c == '(' { depth + 1 } else { depth };
        let is_outside = depth == 0;
        depth = if *c == ')' { depth.saturating_sub(1) } else { depth };
        is_outside
    };
    text.chars().filter(outside).collect()
}

/// What a schedule sets up besides the case, in the words of setups.
pub(crate) fn own_setup(step: &Value) -> Result<Map<String, Value>, String> {
    let mut setup = Map::new();
    for (name, value) in step.as_object().into_iter().flatten() {
        match name.as_str() {
            "threads" | "rounds" | "body" => {}
            "account" => {
                setup.insert("accounts".to_owned(), json!({ "account": account(value)? }));
            }
            "agent" => {
                let mut agent = json!({ "period_s": 3_600, "created_at": "2026-04-03T00:00:00Z" });
                for (field, value) in args::fields(step, "agent")? {
                    agent[field] = value.clone();
                }
                setup.insert("agents".to_owned(), json!({ "agent": agent }));
            }
            "accounts" => {
                let accounts = args::fields(step, "accounts")?;
                let accounts = accounts.into_iter().map(|(key, value)| Ok((key.to_owned(), account(value)?)));
                setup.insert(name.clone(), Value::Object(accounts.collect::<Result<_, String>>()?));
            }
            "workflow" => {
                let mut workflow = json!({ "max_workflows": u32::MAX, "max_steps": u32::MAX, "period_s": 3_600 });
                for (field, value) in args::fields(step, "workflow")? {
                    workflow[field] = value.clone();
                }
                setup.insert(name.clone(), workflow);
            }
            _ => {
                setup.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(setup)
}

/// An account as setups write it: with its windows, with one limit for ever, or with a limit for each of some periods.
fn account(short: &Value) -> Result<Value, String> {
    let fields = short.as_object().ok_or_else(|| format!("account is {short}, not an object"))?;
    if fields.contains_key("windows") {
        return Ok(short.clone());
    }
    if fields.contains_key("limit") {
        let mut window = json!({ "name": "total", "period": "lifetime" });
        fields.iter().for_each(|(field, value)| window[field] = value.clone());
        return Ok(json!({ "windows": [window] }));
    }
    let windows = fields.iter().map(|(name, limit)| {
        let period = match name.as_str() {
            "daily" => "day",
            "weekly" => "week",
            "monthly" => "month",
            "total" => "lifetime",
            period => period,
        };
        json!({ "name": name, "period": period, "limit": limit })
    });
    Ok(json!({ "windows": windows.collect::<Vec<_>>() }))
}

/// Checks this reading before anything is judged by it.
pub(crate) fn self_check() {
    let read = |threads: Value, body: &[&str]| {
        Schedule::read(&json!({ "threads": threads, "rounds": 1, "body": body }), &Value::Null)
    };
    let Ok(schedule) = read(json!({ "a": 2, "b": 1 }), &["a: consume 101 (always refused)", "b: one usage snapshot"])
    else {
        panic!("roles")
    };
    assert!(schedule.has_readers() && schedule.has("consume") && schedule.roles[0].threads == 2);
    let Ok(schedule) =
        read(json!(8), &["reserve random 1..50", "then finalize with 0..hold, or release, or both in parallel"])
    else {
        panic!("choices")
    };
    assert!(matches!(
        schedule.roles[0].lines[1].choices[..],
        [Action::Operation(_), Action::Operation(_), Action::AllAtOnce(_)]
    ));
    let Action::Operation(settle) = &schedule.roles[0].lines[1].choices[0] else { panic!("an operation") };
    assert_eq!((settle.name, settle.amount), ("finalize", Some((Bound::Number(0), Bound::Hold))));
    let Ok(schedule) = read(
        json!(8),
        &["finalize 7 and release in parallel", "reserve both keys 5", "check and record 5, then usage"],
    ) else {
        panic!("joined lines")
    };
    let [at_once, both, check, record, usage] = &schedule.roles[0].lines[..] else { panic!("five lines") };
    assert!(matches!(&at_once.choices[..], [Action::AllAtOnce(two)] if two.len() == 2));
    for (line, expected) in [(both, "reserve"), (check, "check"), (record, "record"), (usage, "usage")] {
        assert!(
            matches!(&line.choices[..], [Action::Operation(operation)] if operation.name == expected),
            "{expected}"
        );
    }
    for body in ["dance", "a: consume 1", "consume 1 or dance", "consume 1, then dance", "both in parallel", ""] {
        assert!(read(json!(1), &[body]).is_err(), "{body}");
    }
}
