//! What providers report that a call used, read into disjoint classes of tokens. One file per shape of body.

mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod openai;
mod read;
mod split;
mod sse;
mod stream;

use std::fmt;

use serde_json::Value;

pub use self::stream::{EVENT_BYTES_MAX, StreamEnd, UsageStream};
use crate::amount::Cost;
use crate::cost::{ClassSet, Service, Usage};

/// A provider's way to report usage: the shape of its reply bodies and streams.
///
/// ```
/// use encumber::{TokenClass, UsageApi};
/// // OpenAI's input includes what was cached; Anthropic's does not. Both become the same classes.
/// let chat = r#"{"model": "gpt-5", "usage": {"prompt_tokens": 120, "completion_tokens": 9,
///     "prompt_tokens_details": {"cached_tokens": 100}}}"#;
/// let anthropic = r#"{"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 9}"#;
/// for (api, body) in [(UsageApi::OpenAiChat, chat), (UsageApi::Anthropic, anthropic)] {
///     let reported = api.parse(body)?;
///     assert_eq!(reported.usage.tokens(TokenClass::Input), 20);
///     assert_eq!(reported.usage.tokens(TokenClass::CacheRead), 100);
///     assert!(!reported.reported.contains(TokenClass::Reasoning), "not reported is not zero");
/// }
/// assert!(UsageApi::OpenAiChat.parse(r#"{"usage": {"prompt_tokens": -1}}"#).is_err());
/// # Ok::<(), encumber::UsageError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UsageApi {
    /// Chat completions and embeddings of `OpenAI`, and of the many that speak as it does.
    OpenAiChat,
    /// Responses of `OpenAI`.
    OpenAiResponses,
    /// Messages of Anthropic, wherever they are served.
    Anthropic,
    /// `generateContent` and embeddings of Gemini.
    Gemini,
    /// Converse of Amazon Bedrock.
    Bedrock,
    /// Chat and embeddings of Cohere.
    Cohere,
}

impl UsageApi {
    /// Every shape.
    pub const ALL: [Self; 6] =
        [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic, Self::Gemini, Self::Bedrock, Self::Cohere];

    /// Reads a reply's body, or its usage object alone.
    ///
    /// # Errors
    /// [`UsageError::NotReported`] when there is no usage in it, which is not the same as a usage of nothing. [`UsageError::Malformed`] for a
    /// count that is not a whole number below 2^64, [`UsageError::Missing`] when the count of what was sent is not there,
    /// [`UsageError::Json`] when the body is not JSON.
    pub fn parse(self, body: impl AsRef<[u8]>) -> Result<ReportedUsage, UsageError> {
        self.read(&json(body.as_ref())?)
    }

    /// Which shape a body, or a usage object alone, has. `None` when it has none of them.
    ///
    /// Plain `input_tokens` and `output_tokens` without any details are read alike by all who write so; they count as Anthropic's.
    ///
    /// # Errors
    /// [`UsageError::Json`] when the body is not JSON.
    pub fn detect(body: impl AsRef<[u8]>) -> Result<Option<Self>, UsageError> {
        let root = json(body.as_ref())?;
        let usage = ["usage", "usageMetadata", "meta"].iter().find_map(|key| root.get(key)).unwrap_or(&root);
        let has = |keys: &[&str]| keys.iter().any(|key| usage.get(key).is_some());
        Ok(if has(&["promptTokenCount", "candidatesTokenCount", "totalTokenCount"]) {
            Some(Self::Gemini)
        } else if has(&["inputTokens", "outputTokens"]) {
            Some(Self::Bedrock)
        } else if has(&["billed_units", "tokens"]) {
            Some(Self::Cohere)
        } else if has(&["prompt_tokens", "completion_tokens"]) {
            Some(Self::OpenAiChat)
        } else if has(&["input_tokens_details", "total_tokens"]) {
            Some(Self::OpenAiResponses)
        } else if has(&["input_tokens", "output_tokens"]) {
            Some(Self::Anthropic)
        } else {
            None
        })
    }

    fn read(self, root: &Value) -> Result<ReportedUsage, UsageError> {
        match self {
            Self::OpenAiChat => openai::chat(root),
            Self::OpenAiResponses => openai::responses(root),
            Self::Anthropic => anthropic::read(root),
            Self::Gemini => gemini::read(root),
            Self::Bedrock => bedrock::read(root),
            Self::Cohere => cohere::read(root),
        }
    }
}

fn json(body: &[u8]) -> Result<Value, UsageError> {
    serde_json::from_slice(body).map_err(|error| UsageError::Json(error.to_string().into()))
}

/// What a provider reported that a call used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportedUsage {
    /// The tokens by disjoint classes, the web searches, and the model if the body names it. Served as [`Service::Standard`]: the host knows
    /// what it asked for, and `service` says what the provider tells.
    pub usage: Usage,
    /// What further calls used that the provider made for this one and does not count in its own totals, such as a compaction of the
    /// context or another model's advice. Each is priced by itself.
    pub others: Vec<Usage>,
    /// The classes that the provider told apart. The tokens of any other class are part of one that it did tell: an input without
    /// `CacheRead` here may have been cached in part.
    pub reported: ClassSet,
    /// How the provider says that it served the call, where it says so in words that mean a price.
    pub service: Option<Service>,
    /// Whether the counts add up. Where they do not, the larger reading is taken: details that exceed their total are counted beside it, and
    /// tokens of the total that are in no class are counted as answered.
    pub is_consistent: bool,
}

impl ReportedUsage {
    /// The usage and those of further calls.
    pub fn parts(&self) -> impl Iterator<Item = &Usage> {
        std::iter::once(&self.usage).chain(&self.others)
    }

    /// What all of it costs, by `cost` for each part: [`Engine::cost`](crate::Engine::cost) or
    /// [`Hold::cost`](crate::Hold::cost).
    ///
    /// # Errors
    /// The first error of `cost`.
    pub fn cost<E>(&self, mut cost: impl FnMut(&Usage) -> Result<Cost, E>) -> Result<Cost, E> {
        self.parts().try_fold(Cost::nothing(), |mut sum, usage| {
            sum.add_all(&cost(usage)?);
            Ok(sum)
        })
    }
}

/// Usage that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// Not JSON. Holds what is wrong, with line and column.
    Json(Box<str>),
    /// There is no usage in the body: nobody knows yet what the call used.
    NotReported,
    /// The usage lacks a count without which it says nothing.
    Missing(&'static str),
    /// A field that is not what it should be, such as a negative count.
    Malformed {
        /// Where it stands, such as `usage.prompt_tokens_details.cached_tokens`.
        field: Box<str>,
        /// What should stand there, in words: `a whole number`.
        expected: &'static str,
        /// What stands there, shortened.
        found: Box<str>,
    },
    /// An event of a stream is larger than [`EVENT_BYTES_MAX`].
    EventTooLarge,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(what) => write!(f, "not JSON: {what}"),
            Self::NotReported => f.write_str("the body reports no usage"),
            Self::Missing(field) => write!(f, "the usage has no {field}"),
            Self::Malformed { field, expected, found } => write!(f, "{field}: expected {expected}, found {found}"),
            Self::EventTooLarge => write!(f, "an event of the stream is larger than {EVENT_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for UsageError {}
