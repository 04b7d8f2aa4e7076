//! What records and pieces of snapshots say, as bytes. `docs/internals/format.md` has it byte by byte.
//!
//! Every entry is absolute: it says how something stands, never what was done to it. Each carries a *stamp*, a number that grows with every
//! entry of a directory; of two entries about one thing the one with the larger stamp counts, in whatever order they are read. So reading them
//! twice changes nothing.

use crate::amount::Cap;
use crate::meter::{Image, ImageCourse as Course};
use crate::window::{Exact, Window};

/// What records and pieces begin with.
const VERSION: u8 = 1;

/// A budget's name on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleName {
    pub(crate) limit: Box<str>,
    pub(crate) resource: Box<str>,
    pub(crate) window: Window,
}

/// Something that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// What later pieces of the snapshot call by this number.
    Rule { number: u32, rule: RuleName },
    /// The budgets of one subject, by number of their rules.
    Group { subject: Box<str>, stamp: u64, budgets: Vec<(u32, Image)> },
    /// One budget. Those that workflows carry are told apart by the workflow's stamp; it is 0 for the policy's.
    Budget { rule: RuleName, subject: Box<str>, carrier: u64, stamp: u64, image: Image },
    /// What a budget was given: a cap of its own, and by how much its cap is raised in a window.
    Grant { rule: RuleName, subject: Box<str>, stamp: u64, cap: Option<Cap>, extra: Option<(i64, u64)> },
    /// How the engine stands as a whole: how many resets it has carried out.
    Engine { stamp: u64, resets: u64 },
    /// A hold that the engine keeps under an id.
    Hold(Box<HoldEntry>),
    /// A workflow.
    Workflow(Box<WorkflowEntry>),
}

/// An amount of each of some resources, by name.
pub(crate) type Amounts = Vec<(Box<str>, u64)>;

/// Subjects, each with the groups that the host says it is in.
pub(crate) type Named = Vec<(Box<str>, Vec<Box<str>>)>;

/// The id of a hold on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum IdEntry {
    Given(u64),
    Chosen(Box<str>),
    Slot { resource: Box<str>, subjects: Vec<Box<str>>, name: Box<str> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HoldEntry {
    pub(crate) stamp: u64,
    pub(crate) id: IdEntry,
    /// While it is open, when it expires; afterwards, when it is forgotten. Microseconds.
    pub(crate) due: i64,
    /// Its id is remembered once it is settled.
    pub(crate) remember: bool,
    /// A drop of its owner settles it: a guard, which does not survive.
    pub(crate) guarded: bool,
    pub(crate) dispatched: bool,
    pub(crate) observed: Amounts,
    /// What was split off its first part: with what that holds it is what was asked for.
    pub(crate) given: Amounts,
    pub(crate) parts: Vec<PartEntry>,
    pub(crate) settled: Option<SettledEntry>,
}

/// What one admission took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartEntry {
    pub(crate) subjects: Named,
    /// The workflows that it is in.
    pub(crate) workflows: Vec<Box<str>>,
    pub(crate) seats: Vec<SeatEntry>,
    pub(crate) cost: Amounts,
}

/// A budget that admitted a hold, and in which window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeatEntry {
    pub(crate) rule: RuleName,
    pub(crate) subject: Box<str>,
    pub(crate) carrier: u64,
    pub(crate) window: i64,
}

/// How a hold was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettledEntry {
    pub(crate) at: i64,
    /// After how many of the engine's resets.
    pub(crate) resets: u64,
    /// What it charged; `None` when everything was given back.
    pub(crate) charged: Option<Amounts>,
    pub(crate) expired: bool,
    pub(crate) late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkflowEntry {
    /// Of when it began: what tells it from others of its id.
    pub(crate) began: u64,
    pub(crate) stamp: u64,
    pub(crate) id: Box<str>,
    pub(crate) due: i64,
    pub(crate) ended: bool,
    pub(crate) subjects: Named,
    pub(crate) steps: Cap,
    /// By name; the others' without one.
    pub(crate) tools: Vec<(Option<Box<str>>, Cap)>,
    pub(crate) budgets: Amounts,
}

/// Entries as bytes, of one record or piece.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Of an instant in microseconds: the latest that the engine has seen.
    pub(crate) fn new(at: i64) -> Self {
        let mut encoder = Self { bytes: vec![VERSION] };
        encoder.signed(at);
        encoder
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn push(&mut self, entry: &Entry) {
        match entry {
            Entry::Rule { number, rule } => {
                self.byte(1);
                self.number(u64::from(*number));
                self.rule(rule);
            }
            Entry::Group { subject, stamp, budgets } => {
                self.byte(2);
                self.text(subject);
                self.number(*stamp);
                self.list(budgets, |this, (rule, image)| {
                    this.number(u64::from(*rule));
                    this.image(image);
                });
            }
            Entry::Budget { rule, subject, carrier, stamp, image } => {
                self.byte(3);
                self.rule(rule);
                self.text(subject);
                self.number(*carrier);
                self.number(*stamp);
                self.image(image);
            }
            Entry::Grant { rule, subject, stamp, cap, extra } => {
                self.byte(4);
                self.rule(rule);
                self.text(subject);
                self.number(*stamp);
                self.option(cap.as_ref(), |this, cap| this.cap(*cap));
                self.option(extra.as_ref(), |this, (window, extra)| {
                    this.signed(*window);
                    this.number(*extra);
                });
            }
            Entry::Engine { stamp, resets } => {
                self.byte(5);
                self.number(*stamp);
                self.number(*resets);
            }
            Entry::Hold(hold) => {
                self.byte(6);
                self.hold(hold);
            }
            Entry::Workflow(workflow) => {
                self.byte(7);
                self.workflow(workflow);
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the lowest first; the top bit says that more come.
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// The sign is the lowest bit.
    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn list<T>(&mut self, list: &[T], each: impl Fn(&mut Self, &T)) {
        self.number(list.len() as u64);
        for item in list {
            each(self, item);
        }
    }

    fn option<T>(&mut self, option: Option<&T>, some: impl FnOnce(&mut Self, &T)) {
        self.byte(u8::from(option.is_some()));
        if let Some(value) = option {
            some(self, value);
        }
    }

    fn cap(&mut self, cap: Cap) {
        self.option(cap.max().as_ref(), |this, max| this.number(*max));
    }

    fn rule(&mut self, RuleName { limit, resource, window }: &RuleName) {
        self.text(limit);
        self.text(resource);
        self.text(&Exact(window).to_string());
    }

    fn image(&mut self, Image { window, charged, told, ended, reset, course }: &Image) {
        self.signed(*window);
        self.number(*charged);
        self.number(*told);
        self.option(ended.as_ref(), |this, (window, charged)| {
            this.signed(*window);
            this.number(*charged);
        });
        self.option(reset.as_ref(), |this, (last, forgiven)| {
            this.number(*last);
            this.number(*forgiven);
        });
        match course {
            Course::Clock => self.byte(0),
            Course::Use { began } => {
                self.byte(1);
                self.number(*began);
            }
            Course::Rolling { skew, slots } => {
                self.byte(2);
                self.signed(*skew);
                self.list(slots, |this, (number, amount)| {
                    this.signed(*number);
                    this.number(*amount);
                });
            }
        }
    }

    fn amounts(&mut self, amounts: &Amounts) {
        self.list(amounts, |this, (resource, amount)| {
            this.text(resource);
            this.number(*amount);
        });
    }

    fn named(&mut self, subjects: &Named) {
        self.list(subjects, |this, (subject, groups)| {
            this.text(subject);
            this.list(groups, |this, group| this.text(group));
        });
    }

    fn hold(&mut self, hold: &HoldEntry) {
        self.number(hold.stamp);
        match &hold.id {
            IdEntry::Given(number) => {
                self.byte(0);
                self.number(*number);
            }
            IdEntry::Chosen(text) => {
                self.byte(1);
                self.text(text);
            }
            IdEntry::Slot { resource, subjects, name } => {
                self.byte(2);
                self.text(resource);
                self.list(subjects, |this, subject| this.text(subject));
                self.text(name);
            }
        }
        self.signed(hold.due);
        let flags = [hold.remember, hold.guarded, hold.dispatched];
        self.byte(flags.iter().enumerate().fold(0, |bits, (index, flag)| bits | u8::from(*flag) << index));
        self.amounts(&hold.observed);
        self.amounts(&hold.given);
        self.list(&hold.parts, |this, PartEntry { subjects, workflows, seats, cost }| {
            this.named(subjects);
            this.list(workflows, |this, id| this.text(id));
            this.list(seats, |this, SeatEntry { rule, subject, carrier, window }| {
                this.rule(rule);
                this.text(subject);
                this.number(*carrier);
                this.signed(*window);
            });
            this.amounts(cost);
        });
        self.option(hold.settled.as_ref(), |this, SettledEntry { at, resets, charged, expired, late }| {
            this.signed(*at);
            this.number(*resets);
            this.option(charged.as_ref(), Self::amounts);
            this.byte(u8::from(*expired) | u8::from(*late) << 1);
        });
    }

    fn workflow(&mut self, workflow: &WorkflowEntry) {
        let WorkflowEntry { began, stamp, id, due, ended, subjects, steps, tools, budgets } = workflow;
        self.number(*began);
        self.number(*stamp);
        self.text(id);
        self.signed(*due);
        self.byte(u8::from(*ended));
        self.named(subjects);
        self.cap(*steps);
        self.list(tools, |this, (name, cap)| {
            this.option(name.as_ref(), |this, name| this.text(name));
            this.cap(*cap);
        });
        self.amounts(budgets);
    }
}

/// Why bytes are not what a record or piece should be.
pub(crate) type Malformed = String;

/// The version of the entries, if a later release wrote them.
pub(crate) fn newer(bytes: &[u8]) -> Option<u32> {
    bytes.first().filter(|version| **version > VERSION).map(|version| u32::from(*version))
}

/// The instant that a record or piece was written for, and its entries.
pub(crate) fn decode(bytes: &[u8]) -> Result<(i64, Vec<Entry>), Malformed> {
    let mut decoder = Decoder { bytes, whole: bytes.len() };
    match decoder.byte()? {
        VERSION => {}
        other => return Err(format!("its entries are of version {other}, which this release does not read")),
    }
    let at = decoder.signed()?;
    let mut entries = Vec::new();
    while !decoder.bytes.is_empty() {
        entries.push(decoder.entry()?);
    }
    Ok((at, entries))
}

struct Decoder<'a> {
    bytes: &'a [u8],
    whole: usize,
}

impl Decoder<'_> {
    fn malformed(&self, what: &str) -> Malformed {
        format!("its entries are malformed: {what} at byte {}", self.whole - self.bytes.len())
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let Some((&byte, rest)) = self.bytes.split_first() else { return Err(self.malformed("the end is missing")) };
        self.bytes = rest;
        Ok(byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("neither yes nor no")),
        }
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.malformed("a number that is too long"))
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        self.number().map(|bits| (bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn small(&mut self) -> Result<u32, Malformed> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.malformed("a number that is too large"))
    }

    fn text(&mut self) -> Result<Box<str>, Malformed> {
        let length = self.number()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= self.bytes.len());
        let Some((text, rest)) = length.map(|length| self.bytes.split_at(length)) else {
            return Err(self.malformed("a text that is too long"));
        };
        let text = std::str::from_utf8(text).map_err(|_| self.malformed("a text that is none"))?;
        self.bytes = rest;
        Ok(text.into())
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.number()?;
        // Each takes a byte at least: a count that cannot be is found before anything is made for it.
        if count > self.bytes.len() as u64 {
            return Err(self.malformed("a list that is too long"));
        }
        (0..count).map(|_| each(self)).collect()
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.flag()? { some(self).map(Some) } else { Ok(None) }
    }

    fn cap(&mut self) -> Result<Cap, Malformed> {
        Ok(self.option(Self::number)?.map_or(Cap::Unlimited, Cap::Max))
    }

    fn rule(&mut self) -> Result<RuleName, Malformed> {
        let (limit, resource, window) = (self.text()?, self.text()?, self.text()?);
        let window = Window::from_exact(&window).map_err(|why| self.malformed(&why))?;
        Ok(RuleName { limit, resource, window })
    }

    fn image(&mut self) -> Result<Image, Malformed> {
        Ok(Image {
            window: self.signed()?,
            charged: self.number()?,
            told: self.number()?,
            ended: self.option(|this| Ok((this.signed()?, this.number()?)))?,
            reset: self.option(|this| Ok((this.number()?, this.number()?)))?,
            course: match self.byte()? {
                0 => Course::Clock,
                1 => Course::Use { began: self.number()? },
                2 => Course::Rolling {
                    skew: self.signed()?,
                    slots: self.list(|this| Ok((this.signed()?, this.number()?)))?,
                },
                _ => return Err(self.malformed("windows of an unknown kind")),
            },
        })
    }

    fn amounts(&mut self) -> Result<Amounts, Malformed> {
        self.list(|this| Ok((this.text()?, this.number()?)))
    }

    fn named(&mut self) -> Result<Named, Malformed> {
        self.list(|this| Ok((this.text()?, this.list(Self::text)?)))
    }

    fn entry(&mut self) -> Result<Entry, Malformed> {
        Ok(match self.byte()? {
            1 => Entry::Rule { number: self.small()?, rule: self.rule()? },
            2 => Entry::Group {
                subject: self.text()?,
                stamp: self.number()?,
                budgets: self.list(|this| Ok((this.small()?, this.image()?)))?,
            },
            3 => Entry::Budget {
                rule: self.rule()?,
                subject: self.text()?,
                carrier: self.number()?,
                stamp: self.number()?,
                image: self.image()?,
            },
            4 => Entry::Grant {
                rule: self.rule()?,
                subject: self.text()?,
                stamp: self.number()?,
                cap: self.option(Self::cap)?,
                extra: self.option(|this| Ok((this.signed()?, this.number()?)))?,
            },
            5 => Entry::Engine { stamp: self.number()?, resets: self.number()? },
            6 => Entry::Hold(Box::new(self.hold()?)),
            7 => Entry::Workflow(Box::new(self.workflow()?)),
            _ => return Err(self.malformed("an entry of an unknown kind")),
        })
    }

    fn hold(&mut self) -> Result<HoldEntry, Malformed> {
        let stamp = self.number()?;
        let id = match self.byte()? {
            0 => IdEntry::Given(self.number()?),
            1 => IdEntry::Chosen(self.text()?),
            2 => IdEntry::Slot { resource: self.text()?, subjects: self.list(Self::text)?, name: self.text()? },
            _ => return Err(self.malformed("an id of an unknown kind")),
        };
        let due = self.signed()?;
        let flags = self.byte()?;
        if flags > 7 {
            return Err(self.malformed("a hold of an unknown kind"));
        }
        let [remember, guarded, dispatched] = [0, 1, 2].map(|bit| flags >> bit & 1 == 1);
        let (observed, given) = (self.amounts()?, self.amounts()?);
        let parts = self.list(|this| {
            Ok(PartEntry {
                subjects: this.named()?,
                workflows: this.list(Self::text)?,
                seats: this.list(|this| {
                    let (rule, subject) = (this.rule()?, this.text()?);
                    Ok(SeatEntry { rule, subject, carrier: this.number()?, window: this.signed()? })
                })?,
                cost: this.amounts()?,
            })
        })?;
        let settled = self.option(|this| {
            let (at, resets) = (this.signed()?, this.number()?);
            let charged = this.option(Self::amounts)?;
            let flags = this.byte()?;
            if flags > 3 {
                return Err(this.malformed("a settlement of an unknown kind"));
            }
            Ok(SettledEntry { at, resets, charged, expired: flags & 1 != 0, late: flags & 2 != 0 })
        })?;
        Ok(HoldEntry { stamp, id, due, remember, guarded, dispatched, observed, given, parts, settled })
    }

    fn workflow(&mut self) -> Result<WorkflowEntry, Malformed> {
        Ok(WorkflowEntry {
            began: self.number()?,
            stamp: self.number()?,
            id: self.text()?,
            due: self.signed()?,
            ended: self.flag()?,
            subjects: self.named()?,
            steps: self.cap()?,
            tools: self.list(|this| Ok((this.option(Self::text)?, this.cap()?)))?,
            budgets: self.amounts()?,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
