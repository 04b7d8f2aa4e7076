//! Bytes read as steps.

/// How many bytes a step takes.
pub(crate) const STEP_BYTES: usize = 8;

/// The bytes of a step.
pub(crate) type Raw = [u8; STEP_BYTES];

/// What one step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Asks something of a scope, and with `wait` asks again when a refusal says that it helps.
    Ask { scope: Party, ask: Ask, wait: bool },
    /// Does something with one of the reservations made so far.
    Settle { hold: u8, settle: Settle },
    /// Gives back some of what one of the receipts so far charged.
    Refund { receipt: u8, costs: Costs },
    /// Looks for holds whose time has run out.
    Sweep,
    /// Something outside is degraded, or is well again.
    Degrade { store: bool, degraded: bool },
    /// Compares the usage of the windows that hold an instant in the past.
    UsageAt { scope: Party, ago: Span },
    /// Moves the clock.
    Time(Move),
    /// Puts a policy in force that differs in one thing.
    Policy { rule: u8, change: Change },
}

/// Which subjects take part, and how the engine's handle on them is come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    /// Bits of [`SUBJECTS`](super::world::SUBJECTS).
    pub(crate) subjects: u8,
    /// Whether the handle is made for this step, with subjects named twice, and not kept from an earlier one.
    pub(crate) is_new: bool,
}

/// What is asked of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Check,
    CheckCost(Costs),
    Charge(Costs),
    Reserve(Costs),
    ReserveFor { costs: Costs, ttl_micros: i64 },
    ReserveWithId { id: u8, costs: Costs, ttl_micros: i64 },
    ReserveUpTo { resource: u8, min: Amount, want: Amount },
    Record(Costs),
    Afford { resource: u8 },
}

/// What is done with a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    Commit {
        actual: Costs,
        at_least: bool,
    },
    /// Commits again what was committed last.
    CommitAgain,
    Release,
    Drop,
    Dispatch,
    Observe(Costs),
    Extend(Costs),
    Split(Costs),
    Renew {
        ttl_micros: i64,
    },
    Detach {
        ttl_micros: i64,
    },
    Attach,
    /// Reserves under its id again.
    ReserveAgain,
    /// Finds it again by its id.
    Resume,
}

/// Amounts of the resources that a cost names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Costs {
    pub(crate) amounts: [Option<Amount>; 3],
    /// Whether each resource is named twice, with the amount in two parts.
    pub(crate) split: bool,
}

/// An amount, resolved when the step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Small(u8),
    /// What is left, or what the reservation holds, and one less or more.
    Around(i8),
    Huge(u64),
}

/// A length of time: how many of which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) unit_seconds: u64,
    pub(crate) count: u8,
}

/// Where the clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Forward(Span),
    Back(Span),
    /// To the end of a budget's window, or a microsecond before or after it.
    Edge {
        budget: u8,
        micros: i8,
    },
    /// To when a hold expires, or a microsecond before or after it.
    Due {
        hold: u8,
        micros: i8,
    },
    /// Far ahead.
    Jump {
        days: u16,
    },
    /// To where it was before it jumped.
    Return,
}

/// What differs in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Cap(u8),
    Enforcement(u8),
    /// The rule comes or goes.
    Toggle,
    /// An entry for a group comes or goes.
    Group {
        group: u8,
        cap: u8,
    },
    /// An entry for a subject comes or goes.
    Subject {
        subject: u8,
        cap: u8,
    },
    LargestGroup,
    Warn,
    /// The rule gets another of its windows.
    Window(u8),
    /// A resource is declared, or not any more, together with its rules.
    Resource(u8),
    /// The kinds without rules are declared, or not any more.
    Kinds,
}

const SPANS_SECONDS: [u64; 10] = [1, 20, 60, 600, 3_600, 18_000, 86_400, 604_800, 2_600_000, 31_500_000];
const TTLS_SECONDS: [i64; 8] = [300, 20, 60, 600, 3_600, 18_000, 86_400, 0];
const HUGE: [u64; 6] = [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 48) - 1, (1 << 38) - 1, (1 << 57) + 3];

impl Step {
    /// The step that eight bytes say; any do.
    pub(crate) fn read(raw: Raw) -> Self {
        let [kind, who, named, one, two, three, flags, dice] = raw;
        let scope = Party { subjects: who & 15, is_new: who & 0xc0 == 0xc0 };
        let span = Span { unit_seconds: SPANS_SECONDS[usize::from(one) % SPANS_SECONDS.len()], count: two % 24 + 1 };
        let resource = named % 3;
        let costs = || costs(named, [one, two, three], flags & 3 == 3);
        let (plain, wait) = (|ask| Self::Ask { scope, ask, wait: false }, dice & 7 == 7);
        let settle = |settle| Self::Settle { hold: who, settle };
        let policy = |change| Self::Policy { rule: who, change };
        let ttl_micros = TTLS_SECONDS[usize::from(dice >> 4 & 7)] * 1_000_000;
        let id = who >> 4 & 3;
        let micros = (one % 3) as i8 - 1;
        match kind {
            0..38 => Self::Ask { scope, ask: Ask::Charge(costs()), wait },
            38..62 => Self::Ask { scope, ask: Ask::Reserve(costs()), wait },
            62..78 => Self::Ask { scope, ask: Ask::ReserveFor { costs: costs(), ttl_micros }, wait },
            78..92 => Self::Ask { scope, ask: Ask::ReserveWithId { id, costs: costs(), ttl_micros }, wait },
            92..99 => plain(Ask::ReserveUpTo { resource, min: amount(one), want: amount(two) }),
            99..108 => plain(Ask::Record(costs().rarely_huge(dice))),
            108..113 => Self::Ask { scope, ask: Ask::Check, wait },
            113..120 => Self::Ask { scope, ask: Ask::CheckCost(costs()), wait },
            120..123 => plain(Ask::Afford { resource }),
            123..147 => settle(Settle::Commit { actual: costs().rarely_huge(dice), at_least: flags & 0x30 == 0x30 }),
            147..150 => settle(Settle::CommitAgain),
            150..157 => settle(Settle::Release),
            157..162 => settle(Settle::Drop),
            162..170 => settle(Settle::Dispatch),
            170..175 => settle(Settle::Observe(costs().rarely_huge(dice))),
            175..188 => settle(Settle::Extend(costs())),
            188..194 => settle(Settle::Split(costs())),
            194..197 => settle(Settle::Renew { ttl_micros }),
            197..200 => settle(Settle::Detach { ttl_micros }),
            200 => settle(Settle::Attach),
            201..203 => settle(Settle::ReserveAgain),
            203..206 => settle(Settle::Resume),
            206..211 => Self::Refund { receipt: who, costs: costs() },
            211 => Self::Sweep,
            212..217 => Self::UsageAt { scope, ago: span },
            217..226 => Self::Time(Move::Forward(span)),
            226..230 => Self::Time(Move::Edge { budget: who, micros }),
            230..233 => Self::Time(Move::Due { hold: who, micros }),
            233..236 => Self::Time(Move::Back(span)),
            236..239 => Self::Time(Move::Jump { days: u16::from_le_bytes([one, two]) % 1_500 }),
            239..243 => Self::Time(Move::Return),
            243 | 244 => Self::Degrade { store: two & 1 == 0, degraded: one.is_multiple_of(3) },
            245 | 246 => policy(Change::Cap(one)),
            247 => policy(Change::Enforcement(one)),
            248 | 249 => policy(Change::Toggle),
            250 => policy(Change::Group { group: one & 1, cap: two }),
            251 => policy(Change::Subject { subject: one, cap: two }),
            252 => policy(if one & 1 == 0 { Change::LargestGroup } else { Change::Warn }),
            253 => policy(Change::Window(one)),
            254 => policy(Change::Resource(one)),
            255 => policy(Change::Kinds),
        }
    }
}

impl Costs {
    /// Huge amounts that are counted without asking make a budget useless for the rest of the run.
    fn rarely_huge(mut self, dice: u8) -> Self {
        for amount in self.amounts.iter_mut().flatten() {
            if matches!(amount, Amount::Huge(_)) && !dice.is_multiple_of(16) {
                *amount = Amount::Small(dice % 16);
            }
        }
        self
    }
}

fn costs(named: u8, amounts: [u8; 3], split: bool) -> Costs {
    // Most costs name the first resource; some name none.
    let takes_part = |index: usize| if index == 0 { named & 7 != 7 } else { named >> (2 + index) & 3 == 3 };
    Costs { amounts: std::array::from_fn(|index| takes_part(index).then(|| amount(amounts[index]))), split }
}

fn amount(byte: u8) -> Amount {
    match byte {
        0..176 => Amount::Small(byte % 16),
        176..248 => Amount::Around((byte % 3) as i8 - 1),
        248.. => Amount::Huge(HUGE[usize::from(byte) % HUGE.len()]),
    }
}
