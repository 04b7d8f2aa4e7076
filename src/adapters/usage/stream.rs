//! Usage out of a stream, while it comes.

use serde_json::{Map, Value};

use super::sse::Events;
use super::{ReportedUsage, UsageApi, UsageError, json};
use crate::amount::Cost;
use crate::cost::Usage;
use crate::reservation::Actual;

/// The most bytes that one event of a stream may have.
pub const EVENT_BYTES_MAX: usize = 64 << 20;

/// Reads what a streamed reply says about its usage.
///
/// Providers tell it at different times: Anthropic the input first and the output at the end, Gemini again and again, `OpenAI` at the end, for chat
/// only when asked to (`stream_options.include_usage`). [`so_far`](Self::so_far) is the latest that was told, [`finish`](Self::finish) says whether
/// it is the last word.
///
/// ```
/// use encumber::{StreamEnd, TokenClass, UsageApi, UsageStream};
/// let mut stream = UsageStream::new(UsageApi::Anthropic);
/// stream.push_sse(b"data: {\"type\": \"message_start\", \"message\": {\"usage\": {\"input_tokens\": 43, \"outp")?;
/// stream.push_sse(b"ut_tokens\": 1}}}\n\n")?;
/// assert_eq!(stream.so_far().map(|told| told.usage.tokens(TokenClass::Input)), Some(43));
/// let broken_off = stream.clone();
/// stream.push_event(r#"{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 282}}"#)?;
/// let StreamEnd::Final(told) = stream.finish() else { panic!("it ended") };
/// assert_eq!(told.usage.tokens(TokenClass::Output), 282);
/// assert!(matches!(broken_off.finish(), StreamEnd::Partial(Some(_))));
/// # Ok::<(), encumber::UsageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct UsageStream {
    api: UsageApi,
    events: Events,
    state: State,
}

#[derive(Clone, Debug, Default)]
struct State {
    told: Option<ReportedUsage>,
    /// Anthropic's bodies laid over each other: later ones tell what has changed.
    merged: Map<String, Value>,
    /// The answer has stopped, but its usage may be still to come.
    has_stopped: bool,
    /// The last word on usage has been told.
    has_ended: bool,
    has_failed: bool,
}

impl UsageStream {
    /// A stream of which nothing has come yet.
    pub fn new(api: UsageApi) -> Self {
        Self { api, events: Events::new(EVENT_BYTES_MAX), state: State::default() }
    }

    /// Takes the data of one event. Says whether it told of usage.
    ///
    /// # Errors
    /// When the event is not JSON, or its usage is malformed. The stream can go on, but its end is [`StreamEnd::Partial`] then.
    pub fn push_event(&mut self, data: impl AsRef<[u8]>) -> Result<bool, UsageError> {
        self.state.event(self.api, data.as_ref())
    }

    /// Takes bytes of a body of server-sent events, cut anywhere. Says whether usage was told in them.
    ///
    /// # Errors
    /// The first one of the events in these bytes, as for [`push_event`](Self::push_event); the rest of them is read nevertheless.
    /// [`UsageError::EventTooLarge`] for an event of more than [`EVENT_BYTES_MAX`] bytes.
    pub fn push_sse(&mut self, bytes: impl AsRef<[u8]>) -> Result<bool, UsageError> {
        let mut has_told = false;
        let Self { api, events, state } = self;
        let outcome = events.push(bytes.as_ref(), |data| {
            has_told |= state.event(*api, data)?;
            Ok(())
        });
        state.has_failed |= outcome.is_err();
        outcome.map(|()| has_told)
    }

    /// The latest that was told. It may still grow.
    pub fn so_far(&self) -> Option<&ReportedUsage> {
        self.state.told.as_ref()
    }

    /// The stream is over, whether it came to its end or broke off.
    pub fn finish(mut self) -> StreamEnd {
        let Self { api, events, state } = &mut self;
        let outcome = events.finish(|data| state.event(*api, data).map(|_| ()));
        let is_final = state.has_ended && !state.has_failed && outcome.is_ok();
        match self.state.told {
            Some(told) if is_final => StreamEnd::Final(told),
            told => StreamEnd::Partial(told),
        }
    }
}

impl State {
    fn event(&mut self, api: UsageApi, data: &[u8]) -> Result<bool, UsageError> {
        let outcome = self.read(api, data);
        self.has_failed |= outcome.is_err();
        outcome
    }

    fn read(&mut self, api: UsageApi, data: &[u8]) -> Result<bool, UsageError> {
        match data.trim_ascii() {
            b"" => return Ok(false),
            b"[DONE]" => {
                // What was told before may have been a running count; no more comes now.
                self.has_ended |= api == UsageApi::OpenAiChat && self.told.is_some();
                return Ok(false);
            }
            _ => {}
        }
        let mut event = json(data)?;
        let kind = event.get("type").and_then(Value::as_str).unwrap_or("");
        let ends = match api {
            // Usage without choices is what was asked for at the end; with choices it may be a running count.
            UsageApi::OpenAiChat => event.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty),
            UsageApi::OpenAiResponses => {
                matches!(kind, "response.completed" | "response.incomplete" | "response.failed")
            }
            UsageApi::Anthropic => event.pointer("/delta/stop_reason").is_some_and(|reason| !reason.is_null()),
            UsageApi::Gemini => {
                let candidates = event.get("candidates").and_then(Value::as_array);
                let has_stopped = |one: &Value| one.get("finishReason").is_some_and(|reason| !reason.is_null());
                self.has_stopped |= candidates.is_some_and(|all| all.iter().any(has_stopped));
                self.has_stopped
            }
            UsageApi::Bedrock => true,
            UsageApi::Cohere => kind == "message-end",
        };
        if api == UsageApi::Anthropic {
            match self.merge(&event) {
                Some(merged) => event = merged,
                None => return Ok(false),
            }
        }
        match api.read(&event) {
            Ok(told) => {
                self.told = Some(told);
                self.has_ended |= ends;
                Ok(true)
            }
            Err(UsageError::NotReported) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Anthropic's message as told so far; `None` when the event tells nothing of usage.
    fn merge(&mut self, event: &Value) -> Option<Value> {
        let message = event.get("message").unwrap_or(event);
        let usage = message.get("usage").and_then(Value::as_object)?;
        let told = self.merged.entry("usage").or_insert_with(|| Value::Object(Map::new())).as_object_mut()?;
        for (field, value) in usage.iter().filter(|(_, value)| !value.is_null()) {
            told.insert(field.clone(), value.clone());
        }
        if let Some(model) = message.get("model") {
            self.merged.insert("model".to_owned(), model.clone());
        }
        Some(Value::Object(self.merged.clone()))
    }
}

/// What is known of a stream's usage at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one per call, moved once
pub enum StreamEnd {
    /// The provider's last word.
    Final(ReportedUsage),
    /// The stream broke off, or did not tell: at least this, or nothing is known.
    Partial(Option<ReportedUsage>),
}

impl StreamEnd {
    /// What to commit, by `cost` for each part of the usage ([`Hold::cost`](crate::Hold::cost)): exactly the cost of what is final, and at
    /// least the cost of what is not, so that what was held stays charged where it is more.
    ///
    /// # Errors
    /// The first error of `cost`.
    pub fn actual<E>(&self, cost: impl FnMut(&Usage) -> Result<Cost, E>) -> Result<Actual, E> {
        Ok(match self {
            Self::Final(told) => Actual::Exact(told.cost(cost)?),
            Self::Partial(Some(told)) => Actual::AtLeast(told.cost(cost)?),
            Self::Partial(None) => Actual::AtLeast(Cost::nothing()),
        })
    }
}
