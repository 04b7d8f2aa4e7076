//! The policy that is killed, and what child and parent tell each other about it: lines of text, each written in one go.

use std::fmt::{self, Write};
use std::str::FromStr;

use encumber::{Cap, Limit, Policy, Unit};

pub(crate) const THREADS: usize = 4;

/// A limit of the policy.
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) resource: &'static str,
    window: &'static str,
    cap: Option<u64>,
}

const fn rule(
    id: &'static str,
    kind: &'static str,
    resource: &'static str,
    window: &'static str,
    cap: Option<u64>,
) -> Rule {
    Rule { id, kind, resource, window, cap }
}

/// Small enough that calls are refused, and large enough that ceilings are ahead of what is charged.
pub(crate) const RULES: [Rule; 10] = [
    rule("life", "user", "tokens", "lifetime", Some(6_400)),
    rule("open", "user", "tokens", "lifetime", None),
    rule("year", "user", "tokens", "year", Some(12_800)),
    rule("team", "global", "tokens", "year", Some(20_000)),
    rule("total", "global", "tokens", "lifetime", None),
    rule("rolling", "agent", "tokens", "rolling 1h", Some(3_000)),
    rule("day", "agent", "tokens", "day", Some(9_600)),
    rule("session", "agent", "tokens", "5h from first use", Some(5_000)),
    rule("credit", "user", "credits", "lifetime", Some(1_000)),
    rule("streams", "user", "streams", "lifetime", Some(3)),
];

/// Those that operators reset.
pub(crate) const RESET: [&str; 3] = ["life", "year", "team"];

pub(crate) const SUBJECTS: [&str; 5] = ["user:0", "user:1", "user:2", "agent:0", "agent:1"];

/// Whose calls there are. The first ones are of users alone.
pub(crate) const SCOPES: [&[&str]; 7] = [
    &["user:0"],
    &["user:1"],
    &["user:2"],
    &["user:1", "user:2"],
    &["user:0", "agent:0"],
    &["user:1", "agent:0"],
    &["user:2", "agent:1"],
];
pub(crate) const SCOPES_OF_USERS: u64 = 4;
pub(crate) const SCOPES_OF_ONE_USER: u64 = 3;

pub(crate) fn policy() -> Policy {
    let mut builder = Policy::builder();
    for resource in ["tokens", "credits", "streams"] {
        builder = builder.resource(resource, Unit::Count);
    }
    for Rule { id, kind, resource, window, cap } in RULES {
        let cap = cap.map_or(Cap::Unlimited, Cap::Max);
        builder = builder.limit(Limit::new(id, kind, resource, window.parse().unwrap(), cap));
    }
    builder.build().unwrap()
}

impl Rule {
    /// The subjects of a scope that it limits.
    pub(crate) fn subjects(&self, scope: usize) -> impl Iterator<Item = &'static str> {
        let of_kind = SCOPES[scope].iter().copied().filter(|subject| subject.split(':').next() == Some(self.kind));
        of_kind.chain((self.kind == "global").then_some("global"))
    }

    pub(crate) fn is_rolling(&self) -> bool {
        self.window.starts_with("rolling")
    }
}

/// The largest amount that one operation asks for, or settles at.
pub(crate) fn amount_max(resource: &str) -> u64 {
    if resource == "streams" { 1 } else { 250 }
}

/// What the child says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It opens the directory.
    Begin,
    /// It has, and found this to be charged.
    Found {
        limit: String,
        subject: String,
        charged: u64,
    },
    Ready,
    /// A snapshot begins, and has ended.
    Snap,
    Snapped,
    /// It closes the engine, and has.
    Closing,
    Closed,
    /// A thread is about to do something.
    Will(Will),
    /// A thread was answered.
    Did(Did),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) thread: usize,
    pub(crate) scope: usize,
    pub(crate) resource: String,
    /// The most that it gives back.
    pub(crate) down: u64,
    /// The most that it adds.
    pub(crate) up: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Count,
    /// Opens a hold of the amount under an id.
    Open(String),
    /// Settles it.
    Settle(String),
    /// Sets back what is used of [`RESET`].
    Reset,
    /// Raises the cap by the amount.
    TopUp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Did {
    pub(crate) thread: usize,
    /// By how much it changed the budgets.
    pub(crate) change: i64,
    /// It was not refused.
    pub(crate) done: bool,
    /// What a reset took: limit, subject, amount.
    pub(crate) taken: Vec<(String, String, u64)>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::Found { limit, subject, charged } => write!(f, "found {limit} {subject} {charged}"),
            Self::Ready => f.write_str("ready"),
            Self::Snap => f.write_str("snap"),
            Self::Snapped => f.write_str("snapped"),
            Self::Closing => f.write_str("closing"),
            Self::Closed => f.write_str("closed"),
            Self::Will(Will { thread, scope, resource, down, up, what }) => {
                write!(f, "will {thread} {scope} {resource} {down} {up} ")?;
                match what {
                    What::Count => f.write_str("count"),
                    What::Open(id) => write!(f, "open {id}"),
                    What::Settle(id) => write!(f, "settle {id}"),
                    What::Reset => f.write_str("reset"),
                    What::TopUp => f.write_str("top-up"),
                }
            }
            Self::Did(Did { thread, change, done, taken }) => {
                write!(f, "did {thread} {change} {done}")?;
                taken.iter().try_for_each(|(limit, subject, amount)| write!(f, " {limit} {subject} {amount}"))
            }
        }
    }
}

impl FromStr for Said {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        let said = Self::read(&mut words).filter(|_| words.next().is_none());
        said.ok_or_else(|| format!("the child said {line:?}"))
    }
}

impl Said {
    fn read<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        fn number<'a, N: FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<N> {
            words.next()?.parse().ok()
        }
        Some(match words.next()? {
            "begin" => Self::Begin,
            "found" => Self::Found {
                limit: words.next()?.to_owned(),
                subject: words.next()?.to_owned(),
                charged: number(words)?,
            },
            "ready" => Self::Ready,
            "snap" => Self::Snap,
            "snapped" => Self::Snapped,
            "closing" => Self::Closing,
            "closed" => Self::Closed,
            "will" => Self::Will(Will {
                thread: number(words)?,
                scope: number(words)?,
                resource: words.next()?.to_owned(),
                down: number(words)?,
                up: number(words)?,
                what: match words.next()? {
                    "count" => What::Count,
                    "open" => What::Open(words.next()?.to_owned()),
                    "settle" => What::Settle(words.next()?.to_owned()),
                    "reset" => What::Reset,
                    "top-up" => What::TopUp,
                    _ => return None,
                },
            }),
            "did" => {
                let (thread, change, done) = (number(words)?, number(words)?, number(words)?);
                let mut taken = Vec::new();
                while let Some(limit) = words.next() {
                    taken.push((limit.to_owned(), words.next()?.to_owned(), number(words)?));
                }
                Self::Did(Did { thread, change, done, taken })
            }
            _ => return None,
        })
    }

    /// As it is written: one line.
    pub(crate) fn line(&self) -> String {
        let mut line = String::with_capacity(64);
        writeln!(line, "{self}").expect("a string takes everything");
        line
    }
}

/// What the parent asks a child for, in its environment.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) life: u64,
    /// `every_sec`, `always` or `os`.
    pub(crate) mode: &'static str,
    /// When it lives, in microseconds.
    pub(crate) at: i64,
    /// After so many operations of each thread it closes the engine; without it, it goes on for ever.
    pub(crate) close_after: Option<u64>,
    /// One thread more makes snapshots all the time.
    pub(crate) snapshots: bool,
}

pub(crate) const MODES: [&str; 3] = ["every_sec", "always", "os"];

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, life, mode, at, close_after, snapshots } = self;
        write!(f, "{seed} {life} {mode} {at} {} {snapshots}", close_after.unwrap_or(0))
    }
}

impl FromStr for Order {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split(' ').collect();
        let [seed, life, mode, at, close_after, snapshots] = words[..] else { return Err("six words") };
        let close_after = close_after.parse().map_err(|_| "after how many operations")?;
        Ok(Self {
            seed: seed.parse().map_err(|_| "the seed")?,
            life: life.parse().map_err(|_| "the life")?,
            mode: MODES.into_iter().find(|known| *known == mode).ok_or("the mode")?,
            at: at.parse().map_err(|_| "the instant")?,
            close_after: (close_after > 0).then_some(close_after),
            snapshots: snapshots.parse().map_err(|_| "whether there are snapshots")?,
        })
    }
}
