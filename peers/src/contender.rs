//! What is compared: ways of asking a budget for an amount, and where each of them stands.
//!
//! A [`Contender`] is a handle that one thread uses. A [`Spec`] says what it is called, in which groups it takes part and how to make one
//! handle for each thread. Everything else (timing, stress, memory, tests) is done with these two.

use std::hint::black_box;

use anyhow::Result;

use crate::keys::Calls;

/// One thread's handle on something that admits or refuses amounts.
pub(crate) trait Contender: Send {
    /// Asks for `amount` on behalf of `key`, and says whether it was admitted. What stands for one budget alone may ignore the key.
    fn ask(&mut self, key: &str, amount: u64) -> bool;

    /// Asks `calls` times with one key, and says how many were admitted. The loop is here so that it is compiled for each contender: one
    /// dynamic call, not one each time.
    fn one_key(&mut self, key: &str, calls: u64) -> u64 {
        let mut admitted = 0;
        for turn in 0..calls {
            admitted += u64::from(self.ask(key, amount(turn)));
        }
        black_box(admitted)
    }

    /// Asks `calls` times with the keys in their order, and says how many were admitted.
    fn many_keys(&mut self, keys: &Calls, from: usize, calls: u64) -> u64 {
        let mut admitted = 0;
        for turn in 0..calls {
            admitted += u64::from(self.ask(keys.key(from + turn as usize), amount(turn)));
        }
        black_box(admitted)
    }
}

/// Amounts that differ without a trip through memory: 1, 1, 3, 3 and so on.
#[inline]
pub(crate) fn amount(turn: u64) -> u64 {
    turn & 2 | 1
}

/// What a holder reserves for a call that will take `amount`: the two differ, as in life.
#[inline]
pub(crate) fn worst_case(amount: u64) -> u64 {
    amount + HOLD_MORE
}

/// By how much a reservation exceeds what is committed.
pub(crate) const HOLD_MORE: u64 = 2;

/// What work is compared. Figures of one group are measured side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// One budget through a handle; each thread has its own.
    Direct,
    /// The same, exhausted: every call is refused.
    Refusal,
    /// Reserve, then commit less, on one budget through a handle; each thread has its own.
    Settle,
    /// A key with each call, 1,000 keys, few of them often.
    Keys1k,
    /// A key with each call, 1,000,000 keys, all alike.
    Keys1m,
    /// Reserve, then commit less, with a key each time: 1,000 keys, few of them often.
    SettleKeys,
    /// Three budgets at once: each thread's own agent, and a user and a total that all share.
    Levels,
    /// Reserve, then commit less, on three budgets at once.
    SettleLevels,
    /// Something that keeps budgets outside of this process or on disk.
    Stores,
    /// Not timed: memory alone.
    Memory,
}

impl Group {
    /// The groups that are timed, in the order of the report.
    pub(crate) const TIMED: [Self; 9] = [
        Self::Direct,
        Self::Refusal,
        Self::Settle,
        Self::Keys1k,
        Self::Keys1m,
        Self::SettleKeys,
        Self::Levels,
        Self::SettleLevels,
        Self::Stores,
    ];

    /// What the report calls it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Direct => "one budget, a handle, own by thread: charge",
            Self::Refusal => "one budget, a handle: refusal",
            Self::Settle => "one budget, a handle, own by thread: reserve + commit",
            Self::Keys1k => "by key, 1,000 keys, Zipf: charge",
            Self::Keys1m => "by key, 1,000,000 keys, uniform: charge",
            Self::SettleKeys => "by key, 1,000 keys, Zipf: reserve + commit",
            Self::Levels => "three levels, two of them shared: charge",
            Self::SettleLevels => "three levels, two of them shared: reserve + commit",
            Self::Stores => "stores: charge",
            Self::Memory => "memory",
        }
    }

    /// The same in fewer words, and without how threads share it in a timed round.
    pub(crate) const fn work(self) -> &'static str {
        match self {
            Self::Direct => "one budget: charge",
            Self::Refusal => "one budget: refusal",
            Self::Settle => "one budget: reserve + commit",
            Self::Keys1k | Self::Keys1m => "by key: charge",
            Self::SettleKeys => "by key: reserve + commit",
            Self::Levels => "three levels: charge",
            Self::SettleLevels => "three levels: reserve + commit",
            Self::Stores => "store: charge",
            Self::Memory => "memory",
        }
    }

    /// Whether calls reserve more than they commit.
    pub(crate) const fn settles(self) -> bool {
        matches!(self, Self::Settle | Self::SettleKeys | Self::SettleLevels)
    }

    /// How many keys there are, and whether few of them are asked often.
    pub(crate) const fn keys(self) -> Option<(usize, bool)> {
        match self {
            Self::Keys1k | Self::SettleKeys => Some((1_000, true)),
            Self::Keys1m => Some((1_000_000, false)),
            _ => None,
        }
    }

    /// Whether the threads of a timed round share what is charged.
    pub(crate) const fn shared(self) -> bool {
        !matches!(self, Self::Direct | Self::Refusal | Self::Settle)
    }

    /// The most threads that make sense.
    pub(crate) const fn threads_max(self) -> usize {
        match self {
            Self::Refusal | Self::Stores => 1,
            _ => usize::MAX,
        }
    }
}

/// What a set of handles is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) group: Group,
    /// What each budget admits in all.
    pub(crate) max: u64,
    /// How many handles are wanted.
    pub(crate) threads: usize,
    /// Whether the handles stand for the same budgets.
    pub(crate) shared: bool,
    /// How many keys will be asked for; a hint for what has to be told in advance.
    pub(crate) keys: usize,
}

/// One handle for each thread.
pub(crate) type Seats = Vec<Box<dyn Contender>>;

impl Plan {
    /// One handle for each thread, made for its number.
    ///
    /// # Errors
    /// What `make` fails with.
    pub(crate) fn each<C>(&self, mut make: impl FnMut(usize) -> Result<C>) -> Result<Seats>
    where
        C: Contender + 'static,
    {
        (0..self.threads).map(|thread| Ok(Box::new(make(thread)?) as Box<dyn Contender>)).collect()
    }

    /// One handle for each thread: clones of one, or each made anew.
    ///
    /// # Errors
    /// What `make` fails with.
    pub(crate) fn seats<C>(&self, mut make: impl FnMut() -> Result<C>) -> Result<Seats>
    where
        C: Contender + Clone + 'static,
    {
        if !self.shared {
            return self.each(|_| make());
        }
        let first = make()?;
        self.each(|_| Ok(first.clone()))
    }
}

/// What a contender can refuse, which decides what it is asked in the stress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// Any amount that does not fit.
    Amounts,
    /// Single units alone: it takes amounts, but does not look at them when it admits.
    Units,
    /// Nothing: a yardstick.
    Nothing,
}

/// Something that takes part.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// The package whose version is printed.
    pub(crate) package: Option<&'static str>,
    pub(crate) groups: &'static [Group],
    pub(crate) limits: Limits,
    /// Makes the handles; an error that is [`Skipped`] is no failure.
    pub(crate) make: fn(&Plan) -> Result<Seats>,
}

impl Spec {
    /// A contender that limits amounts.
    pub(crate) const fn new(
        name: &'static str,
        package: &'static str,
        groups: &'static [Group],
        make: fn(&Plan) -> Result<Seats>,
    ) -> Self {
        Self { name, package: Some(package), groups, limits: Limits::Amounts, make }
    }

    /// Whether it is one of ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("encumber")
    }

    /// The same, limiting what `limits` says.
    pub(crate) const fn limiting(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same, of no package.
    pub(crate) const fn without_package(self) -> Self {
        Self { package: None, ..self }
    }
}

/// Why something cannot take part on this machine.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) &'static str);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skipped {}
