//! Stress schedules: threads that run described operations in rounds, and an invariant that is asked of everything they see.
//!
//! A line of the body is `ROLE: OPERATION ARGUMENTS`, `OPERATION then OPERATION`, or `OPERATION or OPERATION` for a choice. A line that the runner cannot read is an
//! error: what a schedule describes and the runner does not do would not be tested.

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
    /// The choices before this one, all at once on the same hold.
    AllAtOnce,
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
    pub(crate) fn read(step: &Value) -> Result<Self, String> {
        let rounds = step["rounds"].as_u64().filter(|rounds| *rounds > 0).ok_or("rounds is no number")?;
        let is_of_agents = step["account"].is_null() && step["accounts"].is_null() && !step["agent"].is_null();
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
                    for part in text.trim().split(" then ") {
                        taking.lines.push(Line::read(part, is_of_agents)?);
                    }
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
        self.roles.iter().any(|role| role.operations().all(|operation| READS.contains(&operation.name)))
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.roles.iter().flat_map(Role::operations)
    }
}

impl Role {
    fn operations(&self) -> impl Iterator<Item = &Operation> {
        let choices = self.lines.iter().flat_map(|line| &line.choices);
        choices.filter_map(|action| if let Action::Operation(operation) = action { Some(operation) } else { None })
    }

    /// Whether a line of these gives back what another one took, so that it must be kept under a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.operations().any(|operation| operation.name == name)
    }
}

impl Line {
    fn read(text: &str, is_of_agents: bool) -> Result<Self, String> {
        let bare = without_remarks(text);
        let one_in = if bare.split_whitespace().any(|word| word == "sometimes") { SOMETIMES } else { 1 };
        let choices = bare.split(" or ").map(|choice| {
            Action::read(choice, is_of_agents)
                .ok_or_else(|| format!("the runner cannot read the line {text:?} of a schedule"))
        });
        Ok(Self { one_in, choices: choices.collect::<Result<_, _>>()? })
    }
}

impl Action {
    fn read(text: &str, is_of_agents: bool) -> Option<Self> {
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || ",;".contains(c)).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let says = |sought: &str| words.contains(&sought);
        if says("clock") || says("advance") || says("expire") {
            let seconds = words.iter().find_map(|word| word.trim_end_matches('s').parse().ok());
            let to_next = ["midnight", "boundary", "period", "window", "day", "week"].into_iter().any(says);
            return Some(Self::Clock(match seconds {
                Some(seconds) => Leap::Seconds(seconds),
                None if to_next => Leap::NextWindow,
                None => Leap::TimeToLive,
            }));
        }
        if says("parallel") || says("both") {
            return Some(Self::AllAtOnce);
        }
        if says("refusal") && says("read") {
            return Some(Self::Look);
        }
        let place = words.iter().position(|word| OPERATIONS.iter().any(|(known, _)| known == word))?;
        let (_, name) = OPERATIONS.iter().find(|(known, _)| *known == words[place])?;
        let name = match *name {
            "consume" if is_of_agents => "agent_consume",
            "check" if is_of_agents => "agent_check",
            "usage" if is_of_agents => "agent_status",
            name => name,
        };
        let rest = &words[place + 1..];
        let amount = rest.iter().find_map(|word| range(word));
        Some(Self::Operation(Operation { name, words: rest.iter().map(|word| (*word).to_owned()).collect(), amount }))
    }
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
    let read =
        |threads: Value, body: &[&str]| Schedule::read(&json!({ "threads": threads, "rounds": 1, "body": body }));
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
        [Action::Operation(_), Action::Operation(_), Action::AllAtOnce]
    ));
    let Action::Operation(settle) = &schedule.roles[0].lines[1].choices[0] else { panic!("an operation") };
    assert_eq!((settle.name, settle.amount), ("finalize", Some((Bound::Number(0), Bound::Hold))));
    for body in ["dance", "a: consume 1", "consume 1 or dance", ""] {
        assert!(read(json!(1), &[body]).is_err(), "{body}");
    }
}
