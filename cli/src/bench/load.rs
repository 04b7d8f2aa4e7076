//! The threads that call, and what they were told.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use encumber::{ChargeError, Engine, Receipt, Resource, Scope};
use hdrhistogram::Histogram;

use super::draw::{Dice, Draw, Random};
use super::machine::thread_running;
use super::settings::Operation;
use super::tree::Tree;
use super::verify::Overages;

/// What threads share.
pub(super) struct Load<'a> {
    pub(super) tree: &'a Tree,
    pub(super) engine: &'a Engine,
    pub(super) tokens: Resource,
    pub(super) reach: Reach,
    pub(super) draw: Draw,
    pub(super) dice: Dice,
    pub(super) overages: &'a Overages,
    pub(super) seed: u64,
    /// Every so many calls, one is timed.
    pub(super) sample: u32,
    pub(super) clock_overhead: Duration,
}

/// How a call comes to its budgets.
pub(super) enum Reach {
    /// One for each subject, shared by all threads.
    Handles(Vec<Scope>),
    ByKey,
}

/// When threads stop.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Elapsed(Duration),
    /// So many calls of all threads together.
    Calls(u64),
}

/// What is timed.
#[derive(Clone, Copy)]
pub(super) enum Row {
    Charge,
    Reserve,
    Commit,
    Record,
    Check,
    Refused,
}

impl Row {
    pub(super) const NAMES: [&str; 6] = ["charge", "reserve", "commit", "record", "check", "any, refused"];

    const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Charge => Self::Charge,
            Operation::Reserve => Self::Reserve,
            Operation::Record => Self::Record,
            Operation::Check => Self::Check,
        }
    }
}

/// The answers to one operation's calls.
#[derive(Clone, Copy, Default)]
pub(super) struct Answers {
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) errors: u64,
}

/// What one thread, or all of them, saw.
pub(super) struct Tally {
    /// By subject: what admitted calls came to. In plain words of the thread's own, so that counting is no traffic between threads.
    pub(super) used: Vec<u64>,
    /// By operation.
    pub(super) answers: [Answers; 4],
    /// By row, in nanoseconds.
    pub(super) times: Vec<Histogram<u64>>,
    pub(super) first_error: Option<String>,
    pub(super) calls: u64,
    pub(super) elapsed: Duration,
    /// How much of it a processor was there for; `None` where the system does not tell.
    pub(super) running: Option<Duration>,
}

impl Tally {
    pub(super) fn new(subjects: u32) -> Self {
        // Up to a minute, three digits.
        let times = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds that a histogram can have");
        Self {
            used: vec![0; subjects as usize],
            answers: [Answers::default(); 4],
            times: Row::NAMES.iter().map(|_| times()).collect(),
            first_error: None,
            calls: 0,
            elapsed: Duration::ZERO,
            running: Some(Duration::ZERO),
        }
    }

    /// With what another thread saw.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, used) in self.used.iter_mut().zip(&other.used) {
            *sum += used;
        }
        for (sum, answers) in self.answers.iter_mut().zip(other.answers) {
            sum.admitted += answers.admitted;
            sum.refused += answers.refused;
            sum.errors += answers.errors;
        }
        for (sum, times) in self.times.iter_mut().zip(&other.times) {
            // They have the same bounds.
            let _ = sum.add(times);
        }
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.calls += other.calls;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.running = self.running.zip(other.running).map(|(sum, running)| sum + running);
    }
}

/// Charges every subject once, so that all are there and none is idle: what is measured later is not their making. Returns what was
/// charged, by subject, and the handles.
///
/// # Errors
/// When the engine knows one of the subjects not.
pub(super) fn set_up(engine: &Engine, tree: &Tree, tokens: Resource, keep: bool) -> Result<(Vec<u64>, Vec<Scope>)> {
    let mut keys = Vec::new();
    let mut used = vec![0; tree.subjects() as usize];
    let mut handles = Vec::with_capacity(if keep { used.len() } else { 0 });
    for (subject, used) in (0..).zip(&mut used) {
        tree.write_keys(subject, &mut keys);
        let scope = engine.scope(keys.iter().map(String::as_str))?;
        match scope.try_charge(tokens.of(1)) {
            Ok(_) => *used = 1,
            Err(ChargeError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if keep {
            handles.push(scope);
        }
    }
    Ok((used, handles))
}

/// A call before it is made.
#[derive(Clone, Copy)]
struct Call {
    subject: u32,
    operation: Operation,
    amount: u64,
    /// Of a reservation: what it is committed with.
    actual: u64,
}

/// What a call was told.
enum Told {
    Yes,
    Charged(u64),
    /// And a budget is above its max with it.
    Over(u64, Box<Receipt>),
    No,
    Error(String),
}

impl From<ChargeError> for Told {
    fn from(error: ChargeError) -> Self {
        match error {
            ChargeError::Refused(_) => Self::No,
            other => Self::error(other),
        }
    }
}

impl Told {
    fn receipt(receipt: Receipt, tokens: Resource) -> Self {
        let amount = receipt.charged().amount(tokens).unwrap_or(0);
        if receipt.overages().is_empty() { Self::Charged(amount) } else { Self::Over(amount, Box::new(receipt)) }
    }

    fn error(error: impl std::error::Error) -> Self {
        Self::Error(error.to_string())
    }
}

impl Load<'_> {
    /// Runs the threads to their end.
    pub(super) fn run(&self, threads: u16, until: Until) -> Vec<Tally> {
        let stop = AtomicBool::new(false);
        let start = Barrier::new(usize::from(threads) + 1);
        std::thread::scope(|scope| {
            let spawn = |number: u16| {
                let calls_max = match until {
                    Until::Elapsed(_) => u64::MAX,
                    Until::Calls(calls) => {
                        let (number, threads) = (u64::from(number), u64::from(threads));
                        calls / threads + u64::from(number < calls % threads)
                    }
                };
                let (stop, start) = (&stop, &start);
                scope.spawn(move || {
                    let mut caller = Caller::new(self, number.into());
                    start.wait();
                    caller.run(calls_max, stop);
                    caller.tally
                })
            };
            let running: Vec<_> = (0..threads).map(spawn).collect();
            start.wait();
            if let Until::Elapsed(time) = until {
                std::thread::sleep(time);
                // Relaxed: nothing else is told by it.
                stop.store(true, Ordering::Relaxed);
            }
            let join = |thread: std::thread::ScopedJoinHandle<'_, Tally>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(join).collect()
        })
    }

    /// What it costs this program to make up a call, without making it.
    pub(super) fn draw_cost(&self) -> Duration {
        const CALLS: u32 = if cfg!(debug_assertions) { 1_000 } else { 100_000 };
        let mut caller = Caller::new(self, u64::MAX);
        let mut round = || {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(caller.next());
            }
            start.elapsed() / CALLS
        };
        // The shortest: what was slower was something else of the machine.
        (0..7).map(|_| round()).min().unwrap_or_default()
    }
}

struct Caller<'a> {
    load: &'a Load<'a>,
    random: Random,
    keys: Vec<String>,
    tally: Tally,
}

impl<'a> Caller<'a> {
    fn new(load: &'a Load<'a>, number: u64) -> Self {
        let random = Random::new(load.seed, number);
        Self { load, random, keys: Vec::new(), tally: Tally::new(load.tree.subjects()) }
    }

    fn run(&mut self, calls_max: u64, stop: &AtomicBool) {
        let running = thread_running();
        let start = Instant::now();
        let mut until_timed = self.load.sample;
        while self.tally.calls < calls_max && !stop.load(Ordering::Relaxed) {
            until_timed -= 1;
            let timed = until_timed == 0;
            if timed {
                until_timed = self.load.sample;
            }
            let call = self.next();
            self.make(call, timed);
            self.tally.calls += 1;
        }
        self.tally.elapsed = start.elapsed();
        self.tally.running = thread_running().zip(running).map(|(now, then)| now.saturating_sub(then));
    }

    fn next(&mut self) -> Call {
        let subject = self.load.draw.subject(&mut self.random);
        if matches!(self.load.reach, Reach::ByKey) {
            self.load.tree.write_keys(subject, &mut self.keys);
        }
        let bits = self.random.next();
        let operation = self.load.dice.operation(bits);
        let (amount, other) = (1 + (bits >> 32) % 8, 1 + (bits >> 40) % 8);
        match operation {
            // One of 16 takes more than it reserved.
            Operation::Reserve if bits >> 60 == 0 => Call { subject, operation, amount, actual: amount + other },
            Operation::Reserve => Call { subject, operation, amount: amount + other, actual: amount },
            _ => Call { subject, operation, amount, actual: amount },
        }
    }

    fn make(&mut self, call: Call, timed: bool) {
        let start = timed.then(Instant::now);
        let mut middle = None;
        let told = match &self.load.reach {
            Reach::Handles(handles) => self.ask(&handles[call.subject as usize], call, timed, &mut middle),
            Reach::ByKey if call.operation == Operation::Charge => {
                let answer = self.load.engine.try_charge(&self.keys, self.load.tokens.of(call.amount));
                answer.map_or_else(Told::from, |_| Told::Charged(call.amount))
            }
            Reach::ByKey => match self.load.engine.scope(self.keys.iter().map(String::as_str)) {
                Ok(scope) => self.ask(&scope, call, timed, &mut middle),
                Err(error) => Told::error(error),
            },
        };
        if let Some(start) = start {
            self.time(call.operation, &told, (start, middle, Instant::now()));
        }
        self.take_note(call, told);
    }

    /// Makes the call; `middle` is the time between a reservation and its commit.
    #[inline]
    fn ask(&self, scope: &Scope, call: Call, timed: bool, middle: &mut Option<Instant>) -> Told {
        let tokens = self.load.tokens;
        let cost = tokens.of(call.amount);
        match call.operation {
            Operation::Charge => scope.try_charge(cost).map_or_else(Told::from, |_| Told::Charged(call.amount)),
            Operation::Check => scope.check_cost(&cost).map_or_else(Told::from, |_| Told::Yes),
            Operation::Record => scope.record(cost).map_or_else(Told::error, |receipt| Told::receipt(receipt, tokens)),
            Operation::Reserve => match scope.reserve(cost) {
                Err(error) => error.into(),
                Ok(hold) => {
                    *middle = timed.then(Instant::now);
                    let receipt = hold.commit(tokens.of(call.actual));
                    receipt.map_or_else(Told::error, |receipt| Told::receipt(receipt, tokens))
                }
            },
        }
    }

    fn time(&mut self, operation: Operation, told: &Told, (start, middle, end): (Instant, Option<Instant>, Instant)) {
        let overhead = self.load.clock_overhead;
        let mut record = |row: Row, from: Instant, to: Instant| {
            let nanos = to.duration_since(from).saturating_sub(overhead).as_nanos();
            self.tally.times[row as usize].saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        };
        match (told, middle) {
            (Told::Error(_), _) => {}
            (Told::No, _) => record(Row::Refused, start, end),
            (_, Some(middle)) => {
                record(Row::Reserve, start, middle);
                record(Row::Commit, middle, end);
            }
            (_, None) => record(Row::of(operation), start, end),
        }
    }

    fn take_note(&mut self, call: Call, told: Told) {
        let answers = &mut self.tally.answers[call.operation as usize];
        let used = &mut self.tally.used[call.subject as usize];
        match told {
            Told::Yes => answers.admitted += 1,
            Told::Charged(amount) => {
                answers.admitted += 1;
                *used += amount;
            }
            Told::Over(amount, receipt) => {
                answers.admitted += 1;
                *used += amount;
                self.note_overages(call.subject, &receipt);
            }
            Told::No => answers.refused += 1,
            Told::Error(error) => {
                answers.errors += 1;
                self.tally.first_error.get_or_insert(error);
            }
        }
    }

    #[cold]
    fn note_overages(&self, subject: u32, receipt: &Receipt) {
        let tree = self.load.tree;
        for (number, (level, budget)) in tree.levels.iter().zip(tree.path(subject)).enumerate() {
            if let Some(overage) = receipt.overages().iter().find(|overage| *overage.limit == *level.kind) {
                self.load.overages.tell(number, budget, overage.above);
            }
        }
    }
}
