//! The session log of Claude Code: JSON lines, of which those with `message.usage` are pieces of model replies.
//!
//! One reply stands on several lines, one per content block, that repeat its usage. Lines of the same message and request ids are
//! merged into one call with the usage of the largest output count. A reply stays open for merging until [`OPEN_MAX`] other replies
//! have begun after it, and then waits until as many are closed, so that calls come out in the order of their start. Thus memory is
//! bounded, and so is what it can tell apart: a line that repeats a reply from further back counts as a call of its own, and a call
//! that starts before one already given comes out of order. In logs as written, a reply's lines lie a few lines apart.
//!
//! The user is `local`, since a log holds one person's work. Sub-agents are known by their `agentId`, in `progress` lines and at
//! the top of a line; a line without one is the main agent's.

use std::collections::{BTreeMap, HashMap, VecDeque};

use encumber::{SUBJECT_ID_BYTES_MAX, Timestamp, TokenClass, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Call, field};

/// Replies that are kept open for merging, closed ones that wait to be put in order, and lines that a reply can be linked to.
pub(super) const OPEN_MAX: usize = 4_096;

/// A reply that comes later than this after the line it answers was not asked for by it; its start is its own first line.
const ANSWER_SECONDS_MAX: u64 = 600;

const USER: &str = "local";

/// A window over the log.
pub(super) struct Log {
    open_max: usize,
    /// Replies by the order in which they began.
    open: BTreeMap<u64, Reply>,
    by_key: HashMap<ReplyKey, u64>,
    begun: u64,
    /// Closed replies, ordered by start.
    closed: BTreeMap<(Timestamp, u64), Call>,
    /// When a line was written, by its uuid.
    lines: Recent,
    /// When a sub-agent was last given text or a tool's result.
    asked: Recent,
}

/// The ids of a message and of its request.
type ReplyKey = (Box<str>, Box<str>);

struct Reply {
    /// `None` for lines without a message id: nothing can be merged with them.
    key: Option<ReplyKey>,
    call: Call,
}

impl Log {
    /// A window of `open_max` replies.
    pub(super) fn new(open_max: usize) -> Self {
        Self {
            open_max,
            open: BTreeMap::new(),
            by_key: HashMap::new(),
            begun: 0,
            closed: BTreeMap::new(),
            lines: Recent::new(open_max),
            asked: Recent::new(open_max),
        }
    }

    /// Takes in one line. Lines that are JSON but no replies are passed over.
    pub(super) fn line(&mut self, line: &str) -> Result<(), String> {
        if !line.trim_start().starts_with('{') {
            return serde_json::from_str::<serde::de::IgnoredAny>(line)
                .map(|_| ())
                .map_err(|error| field::not_json(&error));
        }
        let entry: Entry<'_> = field::object(line)?;
        let progress: Option<Progress<'_>> = nested(entry.data)?;
        let inner = match &progress {
            Some(progress) => nested::<Entry<'_>>(progress.message)?,
            None => None,
        };
        let agent = progress.as_ref().map_or(entry.agent_id, |progress| progress.agent_id);
        let speaker = inner.as_ref().unwrap_or(&entry);
        let message: Option<Message<'_>> = nested(speaker.message)?;
        let reported = message.as_ref().map(|message| nested::<Reported<'_>>(message.usage)).transpose()?.flatten();
        let Some(reported) = reported else {
            self.remember(&entry, inner.as_ref(), agent);
            return Ok(());
        };
        let piece = Piece { entry: &entry, speaker, agent, message: message.as_ref(), reported };
        self.reply(&piece, inner.is_some())
    }

    /// The next call by start, once it can no longer change or the log has `ended`.
    pub(super) fn next_call(&mut self, ended: bool) -> Option<Call> {
        while ended && !self.open.is_empty() {
            self.close_oldest();
        }
        if ended || self.closed.len() > self.open_max {
            return self.closed.pop_first().map(|(_, call)| call);
        }
        None
    }

    fn reply(&mut self, piece: &Piece<'_>, is_progress: bool) -> Result<(), String> {
        let call = piece.call()?;
        let key = piece.key()?;
        let begun = key.as_ref().and_then(|key| self.by_key.get(key));
        if let Some(known) = begun.and_then(|begun| self.open.get_mut(begun)) {
            merge(&mut known.call, call);
        } else {
            let start = self.answered(piece, &call, is_progress).unwrap_or(call.start);
            self.open(key, Call { start, ..call });
        }
        self.remember(piece.entry, None, None);
        Ok(())
    }

    /// When the line was written that a reply answers: for a sub-agent's progress the last thing said to it, else the parent line.
    fn answered(&self, piece: &Piece<'_>, call: &Call, is_progress: bool) -> Option<Timestamp> {
        let asked = if is_progress {
            self.asked.get(call.subagent.as_deref()?)
        } else {
            self.lines.get(&lenient(piece.entry.parent_uuid)?)
        };
        asked.filter(|&asked| asked <= call.start && call.start.saturating_since(asked).as_secs() <= ANSWER_SECONDS_MAX)
    }

    fn open(&mut self, key: Option<ReplyKey>, call: Call) {
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), self.begun);
        }
        self.open.insert(self.begun, Reply { key, call });
        self.begun += 1;
        if self.open.len() > self.open_max {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let Some((begun, reply)) = self.open.pop_first() else { return };
        if let Some(key) = &reply.key {
            self.by_key.remove(key);
        }
        self.closed.insert((reply.call.start, begun), reply.call);
    }

    fn remember(&mut self, entry: &Entry<'_>, inner: Option<&Entry<'_>>, agent: Option<&RawValue>) {
        let time = |entry: &Entry<'_>| lenient(entry.timestamp)?.parse::<Timestamp>().ok();
        if let (Some(uuid), Some(time)) = (lenient(entry.uuid), time(entry)) {
            self.lines.insert(&uuid, time);
        }
        if let Some(inner) = inner
            && lenient(inner.kind).as_deref() == Some("user")
            && let (Some(agent), Some(time)) = (lenient(agent), time(inner))
        {
            self.asked.insert(&agent, time);
        }
    }
}

/// Another line of the same reply: it ends later, and the larger output count is the later state of the stream.
fn merge(known: &mut Call, other: Call) {
    known.start = known.start.min(other.start);
    known.end = known.end.max(other.end);
    known.recorded_nanos = known.recorded_nanos.max(other.recorded_nanos);
    if other.usage.tokens(TokenClass::Output) > known.usage.tokens(TokenClass::Output) {
        known.usage = other.usage;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    uuid: Option<&'a RawValue>,
    #[serde(borrow)]
    parent_uuid: Option<&'a RawValue>,
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "costUSD")]
    cost_usd: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    #[serde(borrow)]
    agent_id: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Reported<'a> {
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct CacheCreation<'a> {
    #[serde(borrow)]
    ephemeral_5m_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    ephemeral_1h_input_tokens: Option<&'a RawValue>,
}

/// One line of a reply. `speaker` is the entry itself, or the sub-agent's entry within a progress line.
struct Piece<'a> {
    entry: &'a Entry<'a>,
    speaker: &'a Entry<'a>,
    agent: Option<&'a RawValue>,
    message: Option<&'a Message<'a>>,
    reported: Reported<'a>,
}

impl Piece<'_> {
    /// The call as this line alone shows it.
    fn call(&self) -> Result<Call, String> {
        let time = field::text("timestamp", self.speaker.timestamp.or(self.entry.timestamp))?;
        let time = field::instant("timestamp", &time.ok_or("timestamp: missing")?)?;
        let cost = self.entry.cost_usd.map(|cost| field::nanos("costUSD", cost.get())).transpose()?;
        Ok(Call {
            start: time,
            end: time,
            user: Some(USER.into()),
            session: optional_id("sessionId", self.entry.session_id)?,
            subagent: optional_id("agentId", self.agent)?,
            usage: self.usage()?,
            recorded_nanos: cost,
        })
    }

    fn key(&self) -> Result<Option<ReplyKey>, String> {
        let id = optional_id("message.id", self.message.and_then(|message| message.id))?;
        let request = optional_id("requestId", self.speaker.request_id)?;
        Ok(id.map(|id| (id, request.unwrap_or_default())))
    }

    fn usage(&self) -> Result<Usage, String> {
        let reported = &self.reported;
        let count = |name, raw: Option<&RawValue>| raw.map_or(Ok(0), |raw| field::count(name, raw.get()));
        let parts: CacheCreation<'_> = nested(reported.cache_creation)?.unwrap_or_default();
        let written = count("cache_creation_input_tokens", reported.cache_creation_input_tokens)?;
        let five_minutes = count("ephemeral_5m_input_tokens", parts.ephemeral_5m_input_tokens)?;
        let one_hour = count("ephemeral_1h_input_tokens", parts.ephemeral_1h_input_tokens)?;
        let usage = Usage::new()
            .with(TokenClass::Input, count("input_tokens", reported.input_tokens)?)
            .with(TokenClass::Output, count("output_tokens", reported.output_tokens)?)
            .with(TokenClass::CacheRead, count("cache_read_input_tokens", reported.cache_read_input_tokens)?)
            // Older logs give the sum alone; what it has above the parts was written for five minutes.
            .with(TokenClass::CacheWrite5m, five_minutes.max(written.saturating_sub(one_hour)))
            .with(TokenClass::CacheWrite1h, one_hour);
        let model = optional_id("model", self.message.and_then(|message| message.model))?;
        Ok(match model {
            Some(model) => usage.model(&model),
            None => usage,
        })
    }
}

fn optional_id(name: &str, raw: Option<&RawValue>) -> Result<Option<Box<str>>, String> {
    field::text(name, raw)?.map(|text| field::id(name, &text)).transpose()
}

/// The object that a value is; `None` for other values: many kinds of lines use the same keys for texts and lists.
fn nested<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<Option<T>, String> {
    raw.map(RawValue::get).filter(|text| text.starts_with('{')).map(field::object).transpose()
}

/// A text that serves only for linking lines: what is no text, or too long for an id, links nothing.
fn lenient(raw: Option<&RawValue>) -> Option<std::borrow::Cow<'_, str>> {
    field::text("", raw).ok().flatten().filter(|text| text.len() <= SUBJECT_ID_BYTES_MAX)
}

/// The instants of the last so many ids.
struct Recent {
    max: usize,
    times: HashMap<Box<str>, Timestamp>,
    order: VecDeque<Box<str>>,
}

impl Recent {
    fn new(max: usize) -> Self {
        Self { max, times: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&self, id: &str) -> Option<Timestamp> {
        self.times.get(id).copied()
    }

    fn insert(&mut self, id: &str, time: Timestamp) {
        if let Some(known) = self.times.get_mut(id) {
            *known = time;
            return;
        }
        if self.order.len() == self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.times.remove(&oldest);
        }
        self.times.insert(id.into(), time);
        self.order.push_back(id.into());
    }
}
