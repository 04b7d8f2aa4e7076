//! Runs stress schedules, and asks their invariants of every result.

use std::collections::HashMap;
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::args;
use crate::expressions::{Expression, Values};
use crate::matching;
use crate::schedules::{self, Action, Bound, Leap, Line, Operation, Role, Schedule};
use crate::world::World;

/// Where the random choices of every schedule begin.
const SEED: u64 = 0x656e_6375_6d62_6572;

/// Runs the schedule of a step. `expected` holds its invariants: `always` of everything that a thread sees, the others of the end.
pub(crate) fn interleave(outer: &World, step: &Value, expected: &Value) -> Result<Value, String> {
    let own = schedules::own_setup(step)?;
    let inner;
    let world = if own.is_empty() {
        outer
    } else {
        inner = outer.with_setup(own)?;
        &inner
    };
    let schedule = Schedule::read(step, world.setup())?;
    if says(step, "first day of the week") {
        world.to_monday();
    }
    let always = match &expected["always"] {
        Value::Null => Vec::new(),
        Value::String(text) => Expression::parse(text)?.clauses(),
        Value::Array(_) => {
            let texts = args::texts(expected, "always")?;
            Expression::All(texts.iter().map(|text| Expression::parse(text)).collect::<Result<_, _>>()?).clauses()
        }
        other => return Err(format!("always is {other}, not a text")),
    };
    let run = Run::new(world, &schedule, &always)?;
    let sums = run.all_rounds()?;
    let mut end = run.reading()?;
    for (name, sum) in &sums {
        if end[name].is_null() {
            end[name] = i64::try_from(*sum).map_or(Value::Null, |sum| json!(sum));
        }
    }
    for (name, wanted) in expected.as_object().into_iter().flatten().filter(|(name, _)| *name != "always") {
        let fault = |what: &str| format!("{name}: {what} at {end} with the sums {sums:?}");
        match wanted {
            Value::Null => {}
            Value::String(text) => match Expression::parse(text)?.holds(&Seen { result: &end, sums: Some(&sums) }) {
                Some(true) => {}
                Some(false) => return Err(fault("does not hold")),
                None => return Err(fault("names what is not there")),
            },
            wanted => {
                if let Some(mismatch) = matching::mismatch(wanted, &end) {
                    return Err(fault(&mismatch));
                }
            }
        }
    }
    // All that is expected has been judged.
    Ok(expected.clone())
}

fn says(step: &Value, phrase: &str) -> bool {
    step["body"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|line| line.contains(phrase))
}

/// Values of a result, and of the sums over all results if there are any.
struct Seen<'a> {
    result: &'a Value,
    sums: Option<&'a HashMap<String, i128>>,
}

impl Values for Seen<'_> {
    /// Found by its path; what a path says about where it was read (`snapshot.`, `usage.`), and that windows stand under `windows`,
    /// may be left out.
    fn named(&self, name: &str) -> Option<i128> {
        let short = name.strip_prefix("snapshot.").or(name.strip_prefix("usage."));
        let paths = [Some(name), short].into_iter().flatten();
        let per_key = self.result.get("per_key");
        let roots = [Some(self.result), self.result.get("windows"), per_key, sole(per_key)];
        let found = paths.flat_map(|path| roots.into_iter().flatten().filter_map(move |root| at(root, path)));
        found.into_iter().find_map(number).or_else(|| self.sum_of(name))
    }

    fn sum_of(&self, name: &str) -> Option<i128> {
        let sums = self.sums?;
        sums.get(name).copied().or_else(|| SUMS.contains(&name).then_some(0))
    }
}

/// What is added up over all results besides the numbers in them: amounts that were let through, and how many calls were ok or not.
const SUMS: [&str; 7] = ["charged", "recorded", "consumed", "reserved", "released", "ok", "rejected"];

fn at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(root, |value, name| value.get(name))
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Bool(bool) => Some(i128::from(*bool)),
        Value::Number(number) => number.as_u64().map(i128::from).or(number.as_i64().map(i128::from)),
        _ => None,
    }
}

/// The one value of an object that has one.
fn sole(object: Option<&Value>) -> Option<&Value> {
    let mut values = object?.as_object()?.values();
    values.next().filter(|_| values.next().is_none())
}

/// A schedule that runs.
struct Run<'a> {
    world: &'a World,
    schedule: &'a Schedule,
    always: &'a [Expression],
    /// By clause, how often it was asked.
    asked: Mutex<Vec<u64>>,
    /// The names of the setup, by what they are of.
    keys: Vec<String>,
    users: Vec<String>,
    features: Vec<String>,
    agents: Vec<String>,
}

/// What a thread has at hand.
struct Hands {
    thread: u64,
    round: u64,
    random: u64,
    /// The id under which it acquired last, and the amount.
    id: String,
    amount: u64,
    sums: HashMap<String, i128>,
    asked: Vec<u64>,
}

impl<'a> Run<'a> {
    fn new(world: &'a World, schedule: &'a Schedule, always: &'a [Expression]) -> Result<Self, String> {
        let setup = world.setup();
        let names = |of: &Value, field: &str| -> Result<Vec<String>, String> {
            Ok(args::fields(of, field)?.into_iter().map(|(name, _)| name.to_owned()).collect())
        };
        let users = [names(&setup["features"], "users")?, names(&setup["hierarchy"], "users")?].concat();
        let run = Self {
            world,
            schedule,
            always,
            asked: Mutex::new(vec![0; always.len()]),
            keys: names(setup, "accounts")?,
            users,
            features: names(&setup["features"], "limits")?,
            agents: names(setup, "agents")?,
        };
        if setup["workflow"].is_object() && !schedule.has("wf_begin") {
            world.run("wf_begin", &json!({ "id": "workflow" }))?;
        }
        Ok(run)
    }

    /// Every thread runs its lines as often as there are rounds. What all results add up to.
    fn all_rounds(&self) -> Result<HashMap<String, i128>, String> {
        let threads = self.schedule.roles.iter().map(|role| role.threads).sum::<u64>();
        let start = Barrier::new(usize::try_from(threads).map_err(|_| "too many threads")?);
        let (sums, fault) = (Mutex::new(HashMap::new()), Mutex::new(None));
        std::thread::scope(|scope| {
            let mut number = 0;
            for role in &self.schedule.roles {
                for _ in 0..role.threads {
                    let (start, sums, fault) = (&start, &sums, &fault);
                    let mut hands = Hands::new(number, self.always.len());
                    number += 1;
                    scope.spawn(move || {
                        start.wait();
                        for round in 0..self.schedule.rounds {
                            if let Err(error) = self.round(role, round, &mut hands) {
                                *locked(fault) =
                                    Some(format!("thread {number} in round {round} of seed {SEED}: {error}"));
                                break;
                            }
                        }
                        let mut all = locked(sums);
                        hands.sums.into_iter().for_each(|(name, sum)| *all.entry(name).or_default() += sum);
                        locked(&self.asked).iter_mut().zip(&hands.asked).for_each(|(all, own)| *all += own);
                    });
                }
            }
        });
        if let Some(fault) = fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(fault);
        }
        if let Some(clause) = locked(&self.asked).iter().position(|asked| *asked == 0) {
            return Err(format!("nothing was seen to ask {:?} of", self.always[clause]));
        }
        Ok(sums.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn round(&self, role: &Role, round: u64, hands: &mut Hands) -> Result<(), String> {
        hands.round = round;
        let asked_before = hands.asked.clone();
        for Line { one_in, choices } in &role.lines {
            if hands.below(*one_in) > 0 {
                continue;
            }
            let chosen = usize::try_from(hands.below(choices.len() as u64)).unwrap_or(0);
            match &choices[chosen] {
                Action::Look => {}
                Action::Clock(leap) => self.move_clock(*leap),
                Action::Operation(operation) => {
                    let step = self.arguments(role, operation, hands);
                    let result = self.world.run(operation.name, &step)?;
                    self.look_at(operation.name, &step, &result, hands)?;
                }
                Action::AllAtOnce(own) if own.is_empty() => {
                    let before = choices[..chosen].iter().filter_map(|choice| match choice {
                        Action::Operation(operation) => Some(operation),
                        _ => None,
                    });
                    self.all_at_once(role, before, hands)?;
                }
                Action::AllAtOnce(own) => self.all_at_once(role, own.iter(), hands)?,
            }
        }
        let is_unasked = |(before, after): (&u64, &u64)| before == after;
        if !self.schedule.has_readers() && asked_before.iter().zip(&hands.asked).any(is_unasked) {
            let reading = self.reading()?;
            self.ask(&reading, hands)?;
        }
        Ok(())
    }

    /// Runs operations on the same hold at once.
    fn all_at_once<'o>(
        &self,
        role: &Role,
        operations: impl Iterator<Item = &'o Operation>,
        hands: &mut Hands,
    ) -> Result<(), String> {
        let operations = operations.map(|operation| (operation.name, self.arguments(role, operation, hands)));
        let operations: Vec<_> = operations.collect();
        let results: Vec<_> = std::thread::scope(|scope| {
            let run = |(name, step): &'_ (&'static str, Value)| self.world.run(name, step);
            let [others @ .., last] = &operations[..] else { return Vec::new() };
            let others: Vec<_> = others.iter().map(|operation| scope.spawn(move || run(operation))).collect();
            let last = run(last);
            let others = others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err("panicked".to_owned())));
            others.chain([last]).collect()
        });
        for ((name, step), result) in operations.iter().zip(results) {
            self.look_at(name, step, &result?, hands)?;
        }
        Ok(())
    }

    /// The arguments that an operation takes: from the words of its line, else what the setup and the thread have.
    fn arguments(&self, role: &Role, operation: &Operation, hands: &mut Hands) -> Value {
        let of = |names: &[String], default: &str| {
            let named = names.iter().find(|name| operation.words.contains(name));
            named.or(names.first()).cloned().unwrap_or_else(|| default.to_owned())
        };
        if takes_new_id(operation.name) {
            hands.id = format!("{}-{}", hands.thread, hands.round);
        }
        let amount = operation.amount.map_or(1, |range| hands.amount_in(range));
        let key = of(&self.keys, "key");
        match operation.name {
            "reserve" => {
                hands.amount = amount;
                let named: Vec<_> = self.keys.iter().filter(|key| operation.words.contains(key)).collect();
                let keys = if named.is_empty() { self.keys.iter().collect() } else { named };
                json!({ "keys": keys, "id": hands.id, "amount": amount })
            }
            "finalize" => json!({ "id": hands.id, "actual": amount }),
            "release" => json!({ "id": hands.id }),
            "usage" if self.keys.len() > 1 && !self.keys.iter().any(|key| operation.words.contains(key)) => {
                json!({ "keys": self.keys })
            }
            "consume" | "record" => json!({ "key": key, "amount": amount }),
            "check" if operation.amount.is_some() => json!({ "key": key, "amount": amount }),
            "set_limit" => json!({ "key": key, "limit": amount }),
            "slot_acquire" | "slot_release" | "slot_renew" => json!({ "key": key, "lease": hands.id }),
            "lock_acquire" | "lock_release" => json!({ "key": key, "token": hands.id, "ttl_s": 10 }),
            "wf_begin" | "wf_end" | "wf_step" | "wf_status" => {
                let id = if self.schedule.has("wf_begin") { hands.id.as_str() } else { "workflow" };
                json!({ "id": id })
            }
            name if name.starts_with("feature_") => {
                // A place is only kept under a handle if these threads give it back.
                let handle = role.has("feature_release").then(|| hands.id.clone());
                json!({ "user": of(&self.users, "user"), "feature": of(&self.features, "feature"), "handle": handle })
            }
            name if name.starts_with("agent_") => json!({ "agent": of(&self.agents, "agent"), "tokens": amount }),
            "spend" | "spend_status" => json!({ "user": of(&self.users, "user"), "micros": amount }),
            _ => json!({ "key": key }),
        }
    }

    /// Adds up what a result says, and asks the invariant of it.
    fn look_at(&self, name: &str, step: &Value, result: &Value, hands: &mut Hands) -> Result<(), String> {
        let is_ok = crate::parallel::is_ok(result);
        hands.add(if is_ok { "ok" } else { "rejected" }, 1);
        for (field, value) in result.as_object().into_iter().flatten().filter(|(_, value)| value.is_number()) {
            hands.add(field, number(value).unwrap_or(0));
        }
        match name {
            "agent_consume" | "consume" if is_ok => {
                let amount = number(&result["requested"]).or_else(|| number(&step["amount"])).unwrap_or(0);
                hands.add("charged", amount);
                hands.add("consumed", amount);
            }
            "record" | "spend" if is_ok => hands.add("charged", number(&result["recorded"]).unwrap_or(0)),
            "reserve" if is_ok && result["replayed"] != true => {
                hands.add("reserved", number(&step["amount"]).unwrap_or(0));
            }
            "release" if is_ok => hands.add("released", i128::from(hands.amount)),
            _ => {}
        }
        self.ask(result, hands)
    }

    /// Asks every clause of the invariant whose names have values here.
    fn ask(&self, result: &Value, hands: &mut Hands) -> Result<(), String> {
        for (clause, asked) in self.always.iter().zip(&mut hands.asked) {
            match clause.holds(&Seen { result, sums: None }) {
                None => {}
                Some(true) => *asked += 1,
                Some(false) => return Err(format!("{clause:?} does not hold of {result}")),
            }
        }
        Ok(())
    }

    /// Everything that can be read: flat for what there is one of, and by name.
    fn reading(&self) -> Result<Value, String> {
        let mut reading = Map::new();
        let setup = self.world.setup();
        let mut add = |name: Option<&str>, result: Value| {
            if let Some(name) = name {
                reading.insert(name.to_owned(), result.clone());
            }
            if let Value::Object(fields) = result {
                for (field, value) in fields {
                    reading.entry(field).or_insert(value);
                }
            }
        };
        match &self.keys[..] {
            [] => {}
            [key] => add(Some(key), self.world.run("usage", &json!({ "key": key }))?),
            keys => {
                // All as of one instant.
                let usage = self.world.run("usage", &json!({ "keys": keys }))?;
                for key in keys {
                    add(Some(key), usage["per_key"][key].clone());
                }
            }
        }
        if setup["slots"].is_object() {
            let key = self.keys.first().map_or("key", String::as_str);
            add(None, self.world.run("slot_count", &json!({ "key": key }))?);
        }
        if setup["workflow"].is_object() {
            add(None, self.world.run("wf_status", &json!({ "id": "workflow" }))?);
        }
        if setup["features"].is_object() {
            for user in &self.users {
                add(Some(user), self.world.run("feature_usage", &json!({ "user": user }))?);
            }
        }
        for agent in &self.agents {
            add(Some(agent), self.world.run("agent_status", &json!({ "agent": agent }))?);
        }
        if setup["counter"].is_object() {
            add(None, self.world.run("counter_get", &json!({ "key": "key" }))?);
        }
        if setup["reset"].is_object() {
            for key in &self.keys {
                add(None, self.world.run("wallet", &json!({ "key": key }))?);
                add(None, self.world.run("reset_count", &json!({ "key": key }))?);
            }
        }
        Ok(Value::Object(reading))
    }

    fn move_clock(&self, leap: Leap) {
        let setup = self.world.setup();
        let seconds = match leap {
            Leap::Seconds(seconds) => Some(seconds),
            Leap::TimeToLive => [&setup["slots"]["ttl_s"], &setup["hold_ttl_s"]].into_iter().find_map(Value::as_u64),
            Leap::NextWindow => None,
            Leap::Back(seconds) => return self.world.set_back(Duration::from_secs(seconds)),
        };
        match seconds {
            Some(seconds) => self.world.advance(Duration::from_secs(seconds)),
            None => self.world.to_next_window(self.keys.first().map_or("", String::as_str)),
        }
    }
}

/// Whether an operation begins something that later ones of the round are about.
fn takes_new_id(name: &str) -> bool {
    ["reserve", "slot_acquire", "lock_acquire", "wf_begin", "feature_reserve"].contains(&name)
}

impl Hands {
    fn new(thread: u64, clauses: usize) -> Self {
        let random = SEED.wrapping_add(thread.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (id, asked) = (format!("{thread}-none"), vec![0; clauses]);
        Self { thread, round: 0, random, id, amount: 0, sums: HashMap::new(), asked }
    }

    /// A random number below `end`; 0 when that is 0. (A splitmix generator: the same choices every time.)
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).checked_rem(end).unwrap_or(0)
    }

    fn amount_in(&mut self, (from, to): (Bound, Bound)) -> u64 {
        let number = |bound| match bound {
            Bound::Number(number) => number,
            Bound::Hold => self.amount,
        };
        let (from, to) = (number(from), number(to));
        from.saturating_add(self.below(to.saturating_sub(from).saturating_add(1)))
    }

    fn add(&mut self, name: &str, number: i128) {
        *self.sums.entry(name.to_owned()).or_default() += number;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
