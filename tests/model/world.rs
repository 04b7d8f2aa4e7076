//! The policy in force, told to both sides: a fixed set of rules of which some are in force, with caps that are easily reached.

use std::num::NonZeroU32;

use encumber as engine;
use encumber_model as model;

use super::script::{Change, Raw};
use super::zones;

/// The subjects besides `global`.
pub(super) const SUBJECTS: [&str; 4] = ["user:1", "user:2", "agent:a", "session:s"];
/// The resources.
pub(super) const RESOURCES: [&str; 3] = ["tokens", "usd", "calls"];
/// The groups, and who is in them.
const GROUPS: [(&str, &[&str]); 2] = [("heavy", &["user:1", "user:2", "agent:a"]), ("light", &["user:2", "global"])];
/// The clock's start, 2026-12-10T12:00:00Z: late enough in the year that going back does not leave it.
pub(super) const START_MICROS: i64 = 1_796_904_000_000_000;
/// An anchor that no calendar shares, and one before the epoch.
const ANCHORS_MICROS: [i64; 2] = [START_MICROS + 77_777_777, -123_456_789_000];

/// A window that a rule can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Quarter,
    FiveHours,
    NinetyMinutes,
    Lifetime,
    /// From noon to noon.
    NoonDay,
    SundayWeek,
    /// From 09:30 on the last day of each month on.
    LateMonth,
    /// From half past six on New Year's day on.
    LateYear,
    HavanaDay,
    BerlinWeek,
    RollingFiveHours,
    RollingMinute,
    RollingMonth,
    FiveHoursFromUse,
    MinuteFromUse,
}

/// Id, kind, resource and windows of each rule: a rule has one window at a time.
const RULES: [(&str, &str, &str, &[Span]); 16] = [
    ("user-day", "user", "tokens", &[Span::Day, Span::Hour, Span::Lifetime]),
    ("user-minute", "user", "tokens", &[Span::Minute, Span::RollingMinute]),
    ("team-day", "global", "tokens", &[Span::Day, Span::NoonDay, Span::HavanaDay]),
    ("user-life", "user", "calls", &[Span::Lifetime]),
    ("user-week", "user", "tokens", &[Span::Week, Span::SundayWeek, Span::BerlinWeek]),
    ("team-month", "global", "usd", &[Span::Month, Span::LateMonth, Span::RollingMonth]),
    ("agent-5h", "agent", "tokens", &[Span::FiveHours, Span::NinetyMinutes, Span::FiveHoursFromUse]),
    ("agent-90m", "agent", "calls", &[Span::NinetyMinutes, Span::MinuteFromUse]),
    ("team-year", "global", "calls", &[Span::Year, Span::LateYear]),
    ("user-quarter", "user", "usd", &[Span::Quarter, Span::RollingFiveHours]),
    ("team-hour", "global", "calls", &[Span::Hour, Span::Week]),
    ("user-usd-minute", "user", "usd", &[Span::Minute, Span::Month]),
    ("agent-life", "agent", "tokens", &[Span::Lifetime, Span::Year]),
    ("user-rolling", "user", "tokens", &[Span::RollingFiveHours, Span::RollingMinute]),
    ("user-from-use", "user", "tokens", &[Span::FiveHoursFromUse, Span::MinuteFromUse]),
    ("team-rolling", "global", "calls", &[Span::RollingMinute, Span::BerlinWeek]),
];

/// How many windows a rule has to choose from at most.
pub(super) const WINDOWS_PER_RULE_MAX: usize = 3;

/// A cap as both sides write it.
type Cap = Option<u64>;

#[derive(Clone, Debug)]
struct Rule {
    is_in_force: bool,
    window: usize,
    cap: Cap,
    enforcement: model::Enforcement,
    groups: [Option<Cap>; 2],
    subjects: [Option<Cap>; SUBJECTS.len()],
    largest_group: bool,
    warn: Vec<u8>,
}

/// The policy in force.
#[derive(Clone, Debug)]
pub(super) struct World {
    rules: Vec<Rule>,
    declared: [bool; RESOURCES.len()],
    declares_kinds: bool,
}

impl World {
    /// The policy that eight bytes say.
    pub(super) fn read(head: Raw) -> Self {
        let [a, b, c, d, one, caps, factor, enforcements] = head;
        let mask = u16::from_le_bytes([a, b]) & u16::from_le_bytes([c, d]) | 1 << (usize::from(one) % RULES.len());
        let rule = |index: usize| {
            let turned = (index as u8).wrapping_mul(factor);
            Rule {
                is_in_force: mask >> index & 1 == 1,
                window: 0,
                cap: cap(caps.wrapping_add(turned), RULES[index].3[0]),
                enforcement: enforcement(enforcements.wrapping_add(turned)),
                groups: [0x80, 0x40].map(|bit| {
                    let code = turned.wrapping_add(caps).wrapping_mul(bit / 64 + 2);
                    (factor & bit != 0).then(|| cap(code, RULES[index].3[0]))
                }),
                subjects: std::array::from_fn(|subject| {
                    let has_own = factor & 0x30 == 0x30 && index % SUBJECTS.len() == subject;
                    has_own.then(|| cap(turned, RULES[index].3[0]))
                }),
                largest_group: factor & 3 == 3,
                warn: if index.is_multiple_of(2) { vec![80, 95] } else { Vec::new() },
            }
        };
        let rules = (0..RULES.len()).map(rule).collect();
        Self { rules, declared: [true; RESOURCES.len()], declares_kinds: true }
    }

    /// All rules, with one choice of their windows.
    pub(super) fn with_all(choice: usize) -> Self {
        let mut all = Self::read(Raw::default());
        for (rule, (.., spans)) in all.rules.iter_mut().zip(RULES) {
            (rule.is_in_force, rule.window) = (true, choice % spans.len());
        }
        all
    }

    /// Changes one thing, of the rule that `number` says where it is of a rule.
    pub(super) fn change(&mut self, number: u8, change: Change) {
        let index = usize::from(number) % RULES.len();
        let (spans, rule) = (RULES[index].3, &mut self.rules[index]);
        let span = spans[rule.window];
        let toggle =
            |entry: &mut Option<Cap>, code| *entry = if entry.is_some() { None } else { Some(cap(code, span)) };
        match change {
            Change::Cap(code) => rule.cap = cap(code, span),
            Change::Enforcement(code) => rule.enforcement = enforcement(code),
            Change::Toggle => rule.is_in_force ^= true,
            Change::Group { group, cap } => toggle(&mut rule.groups[usize::from(group)], cap),
            Change::Subject { subject, cap } => toggle(&mut rule.subjects[usize::from(subject) % SUBJECTS.len()], cap),
            Change::LargestGroup => rule.largest_group ^= true,
            Change::Warn => rule.warn = if rule.warn.is_empty() { vec![1, 50] } else { Vec::new() },
            Change::Window(code) => {
                rule.window = usize::from(code) % spans.len();
                // A cap that the longer window holds may be too large for the shorter one.
                let top = spans[rule.window].engine().cap_max();
                let caps = rule.groups.iter_mut().chain(&mut rule.subjects).flatten().chain([&mut rule.cap]);
                caps.flatten().for_each(|max| *max = (*max).min(top));
            }
            Change::Resource(code) => self.declared[usize::from(code) % RESOURCES.len()] ^= true,
            Change::Kinds => self.declares_kinds ^= true,
        }
    }

    /// The engine's policy.
    ///
    /// # Errors
    /// When the engine refuses it, which is a fault of this file or of the engine.
    pub(super) fn engine(&self) -> Result<engine::Policy, engine::PolicyError> {
        let mut builder = engine::Policy::builder();
        for (name, _) in RESOURCES.iter().zip(self.declared).filter(|(_, declared)| *declared) {
            builder = builder.resource(name, engine::Unit::Count);
        }
        for kind in self.kinds() {
            builder = builder.kind(kind);
        }
        // A member of a kind that the policy does not know is refused: a typo is not a free pass.
        let known: Vec<_> = self.kinds().iter().copied().chain(self.limits().map(|limit| limit.kind)).collect();
        let is_known = |member: &&str| known.iter().any(|kind| member.split(':').next() == Some(*kind));
        for (name, members) in GROUPS {
            builder = builder.group(name, members.iter().copied().filter(is_known));
        }
        self.limits().fold(builder, |builder, limit| builder.limit(limit.engine())).build()
    }

    /// The model's policy.
    pub(super) fn model(&self) -> model::Policy {
        let declared = RESOURCES.iter().zip(self.declared).filter(|(_, declared)| *declared);
        let text = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        model::Policy {
            limits: self.limits().map(|limit| limit.model()).collect(),
            resources: declared.map(|(name, _)| (*name).to_owned()).collect(),
            kinds: text(self.kinds()),
            members: GROUPS.iter().map(|(name, members)| ((*name).to_owned(), text(members))).collect(),
        }
    }

    /// Whether the rule with this id refuses.
    pub(super) fn is_hard(&self, id: &str) -> bool {
        let named = RULES.iter().zip(&self.rules).find(|((name, ..), _)| *name == id);
        named.is_some_and(|(_, rule)| rule.enforcement == model::Enforcement::Hard)
    }

    fn declares(&self, resource: &str) -> bool {
        RESOURCES.iter().zip(self.declared).any(|(name, declared)| *name == resource && declared)
    }

    fn kinds(&self) -> &'static [&'static str] {
        if self.declares_kinds { &["session", "user", "agent"] } else { &[] }
    }

    fn limits(&self) -> impl Iterator<Item = Limit<'_>> {
        let limits = self.rules.iter().zip(RULES).filter(|(rule, _)| rule.is_in_force);
        let limits = limits.map(|(rule, (id, kind, resource, spans))| Limit {
            id,
            kind,
            resource,
            span: spans[rule.window],
            rule,
        });
        limits.filter(|limit| self.declares(limit.resource))
    }
}

/// A rule in force.
struct Limit<'a> {
    id: &'static str,
    kind: &'static str,
    resource: &'static str,
    span: Span,
    rule: &'a Rule,
}

impl Limit<'_> {
    fn groups(&self) -> impl Iterator<Item = (&'static str, Cap)> {
        GROUPS.iter().zip(self.rule.groups).filter_map(|((name, _), cap)| Some((*name, cap?)))
    }

    fn subjects(&self) -> impl Iterator<Item = (&'static str, Cap)> {
        let entries = SUBJECTS.into_iter().zip(self.rule.subjects).filter_map(|(name, cap)| Some((name, cap?)));
        entries.filter(|(name, _)| name.split(':').next() == Some(self.kind))
    }

    fn engine(&self) -> engine::Limit {
        let cap = |cap: Cap| cap.map_or(engine::Cap::Unlimited, engine::Cap::Max);
        let mut limit = engine::Limit::new(self.id, self.kind, self.resource, self.span.engine(), cap(self.rule.cap))
            .enforcement(match self.rule.enforcement {
                model::Enforcement::Hard => engine::Enforcement::Hard,
                model::Enforcement::Soft => engine::Enforcement::Soft,
                model::Enforcement::Shadow => engine::Enforcement::Shadow,
            })
            .warn_percent(self.rule.warn.iter().copied());
        if self.rule.largest_group {
            limit = limit.group_choice(engine::GroupChoice::Largest);
        }
        limit = self.groups().fold(limit, |limit, (name, max)| limit.group(name, cap(max)));
        self.subjects().fold(limit, |limit, (name, max)| limit.subject(name, cap(max)))
    }

    fn model(&self) -> model::Limit {
        let entries =
            |entries: Vec<(&str, Cap)>| entries.into_iter().map(|(name, cap)| (name.to_owned(), cap)).collect();
        model::Limit {
            max: self.rule.cap,
            groups: entries(self.groups().collect()),
            subjects: entries(self.subjects().collect()),
            largest_group: self.rule.largest_group,
            warn: self.rule.warn.clone(),
            ..model::Limit::new(self.id, self.kind, self.resource, self.span.model(), self.rule.enforcement)
        }
    }
}

impl Span {
    fn engine(self) -> engine::Window {
        let every = |seconds, anchor| {
            let anchor = engine::Timestamp::from_micros(anchor);
            engine::Window::every_from(seconds, anchor).unwrap_or(engine::Window::Lifetime)
        };
        let set = |window: Result<_, engine::WindowError>| window.expect("a window that exists");
        let time = |hour, minute| engine::TimeOfDay::new(hour, minute, 0).expect("a time of day");
        match self {
            Self::Minute => engine::Window::Minute,
            Self::Hour => engine::Window::Hour,
            Self::Day => engine::Window::Day,
            Self::Week => engine::Window::Week,
            Self::Month => engine::Window::Month,
            Self::Year => engine::Window::Year,
            Self::Quarter => engine::Window::Months(NonZeroU32::MIN.saturating_add(2)),
            Self::FiveHours => every(18_000, ANCHORS_MICROS[0]),
            Self::NinetyMinutes => every(5_400, ANCHORS_MICROS[1]),
            Self::Lifetime => engine::Window::Lifetime,
            Self::NoonDay => set(engine::Window::Day.reset_at(time(12, 0))),
            Self::SundayWeek => set(engine::Window::Week.week_starts(engine::Weekday::Sunday)),
            Self::LateMonth => set(engine::Window::Month.month_day(31).and_then(|month| month.reset_at(time(9, 30)))),
            Self::LateYear => set(engine::Window::Year.reset_at(time(6, 30))),
            Self::HavanaDay => zones::havana_day().0,
            Self::BerlinWeek => zones::berlin_week().0,
            Self::RollingFiveHours => set(engine::Window::rolling(18_000)),
            Self::RollingMinute => set(engine::Window::rolling(60)),
            Self::RollingMonth => set(engine::Window::rolling(2_592_000)),
            Self::FiveHoursFromUse => set(engine::Window::from_first_use(18_000)),
            Self::MinuteFromUse => set(engine::Window::from_first_use(60)),
        }
    }

    fn model(self) -> model::Window {
        let set = |dates, reset_seconds| model::Window::Set(model::Calendar { dates, reset_seconds });
        match self {
            Self::Minute => model::Window::Minute,
            Self::Hour => model::Window::Hour,
            Self::Day => model::Window::Day,
            Self::Week => model::Window::Week,
            Self::Month => model::Window::Month,
            Self::Year => model::Window::Year,
            Self::Quarter => model::Window::Months(3),
            Self::FiveHours => model::Window::Every { seconds: 18_000, anchor_micros: ANCHORS_MICROS[0] },
            Self::NinetyMinutes => model::Window::Every { seconds: 5_400, anchor_micros: ANCHORS_MICROS[1] },
            Self::Lifetime => model::Window::Lifetime,
            Self::NoonDay => set(model::Dates::Day, 43_200),
            Self::SundayWeek => set(model::Dates::Week { first: 6 }, 0),
            Self::LateMonth => set(model::Dates::Months { count: 1, day: 31 }, 34_200),
            Self::LateYear => set(model::Dates::Months { count: 12, day: 1 }, 23_400),
            Self::HavanaDay => zones::havana_day().1,
            Self::BerlinWeek => zones::berlin_week().1,
            Self::RollingFiveHours => model::Window::Rolling { seconds: 18_000 },
            Self::RollingMinute => model::Window::Rolling { seconds: 60 },
            Self::RollingMonth => model::Window::Rolling { seconds: 2_592_000 },
            Self::FiveHoursFromUse => model::Window::FirstUse { seconds: 18_000 },
            Self::MinuteFromUse => model::Window::FirstUse { seconds: 60 },
        }
    }
}

fn enforcement(code: u8) -> model::Enforcement {
    match code {
        0..192 => model::Enforcement::Hard,
        192..224 => model::Enforcement::Soft,
        224.. => model::Enforcement::Shadow,
    }
}

fn cap(code: u8, span: Span) -> Cap {
    match code {
        0..32 => Some(10),
        32..64 => Some(5),
        64..80 => Some(1),
        80..96 => Some(0),
        96..128 => Some(20),
        128..160 => Some(3),
        160..208 => Some(100),
        208..224 => Some(30),
        224..232 => Some(span.engine().cap_max()),
        232.. => None,
    }
}
