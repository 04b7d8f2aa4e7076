//! What a call used: counts of tokens by class, and of what is billed beside tokens.

use std::fmt;

/// A class of tokens. Classes are disjoint: a token counts in one of them.
///
/// The classes of audio, images and video are there for models that price them apart. Where a table does not name one of these, it is
/// priced and weighed as its [plain class](TokenClass::plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TokenClass {
    /// Input that no cache served or stored.
    Input,
    /// Output, reasoning aside.
    Output,
    /// Input read from a prompt cache.
    CacheRead,
    /// Input written to a prompt cache that lives five minutes.
    CacheWrite5m,
    /// Input written to a prompt cache that lives one hour.
    CacheWrite1h,
    /// Output that the model thinks and does not show. Priced as output where it has no price of its own.
    Reasoning,
    /// Audio sent, not from a cache.
    InputAudio,
    /// Images and documents sent, not from a cache.
    InputImage,
    /// Video sent, not from a cache.
    InputVideo,
    /// Audio read from a prompt cache.
    CacheReadAudio,
    /// Images and documents read from a prompt cache.
    CacheReadImage,
    /// Video read from a prompt cache.
    CacheReadVideo,
    /// Audio answered.
    OutputAudio,
    /// Images answered.
    OutputImage,
    /// Video answered.
    OutputVideo,
}

pub(super) const CLASSES: usize = 15;

impl TokenClass {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; CLASSES] = [
        Self::Input,
        Self::Output,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Reasoning,
        Self::InputAudio,
        Self::InputImage,
        Self::InputVideo,
        Self::CacheReadAudio,
        Self::CacheReadImage,
        Self::CacheReadVideo,
        Self::OutputAudio,
        Self::OutputImage,
        Self::OutputVideo,
    ];

    /// The names of every class, in the same order.
    pub const NAMES: [&'static str; CLASSES] = {
        let mut names = [""; CLASSES];
        let mut index = 0;
        while index < CLASSES {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    /// The name that policies and usage reports use, such as `cache_write_5m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Reasoning => "reasoning",
            Self::InputAudio => "input_audio",
            Self::InputImage => "input_image",
            Self::InputVideo => "input_video",
            Self::CacheReadAudio => "cache_read_audio",
            Self::CacheReadImage => "cache_read_image",
            Self::CacheReadVideo => "cache_read_video",
            Self::OutputAudio => "output_audio",
            Self::OutputImage => "output_image",
            Self::OutputVideo => "output_video",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The class that a class of audio, images or video is part of where nobody tells them apart; any other class is its own.
    ///
    /// ```
    /// use encumber::TokenClass;
    /// assert_eq!(TokenClass::CacheReadAudio.plain(), TokenClass::CacheRead);
    /// assert_eq!(TokenClass::Reasoning.plain(), TokenClass::Reasoning);
    /// ```
    pub const fn plain(self) -> Self {
        match self {
            Self::InputAudio | Self::InputImage | Self::InputVideo => Self::Input,
            Self::CacheReadAudio | Self::CacheReadImage | Self::CacheReadVideo => Self::CacheRead,
            Self::OutputAudio | Self::OutputImage | Self::OutputVideo => Self::Output,
            other => other,
        }
    }

    /// Whether the class is sent to the model, whatever caches do with it, rather than answered by it.
    pub const fn is_input(self) -> bool {
        !matches!(self.plain(), Self::Output | Self::Reasoning)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// A set of token classes, such as those that a provider reported.
///
/// ```
/// use encumber::{ClassSet, TokenClass};
/// let set = ClassSet::new().with(TokenClass::Input).with(TokenClass::Output);
/// assert!(set.contains(TokenClass::Output) && !set.contains(TokenClass::CacheRead));
/// assert_eq!(format!("{set:?}"), "{Input, Output}");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClassSet(u32);

impl ClassSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(0)
    }

    /// This set and one class more.
    pub const fn with(self, class: TokenClass) -> Self {
        Self(self.0 | 1 << class.index())
    }

    /// Whether the class is in the set.
    pub const fn contains(self, class: TokenClass) -> bool {
        self.0 & 1 << class.index() != 0
    }

    /// The classes of the set, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = TokenClass> {
        TokenClass::ALL.into_iter().filter(move |&class| self.contains(class))
    }
}

impl fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// How a provider was asked to serve a call; some price that apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Service {
    /// At once, at the list price.
    #[default]
    Standard,
    /// In a batch that may take hours: cheaper.
    Batch,
    /// When there is room: cheaper.
    Flex,
    /// Ahead of others: dearer.
    Priority,
}

impl Service {
    /// The name: `standard`, `batch`, `flex` or `priority`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// Whether the list price is never below this service's, so that it may stand in for one that is not known.
    pub(super) const fn is_at_most_standard(self) -> bool {
        matches!(self, Self::Standard | Self::Batch | Self::Flex)
    }
}

/// Where in a row of counts the web searches stand, behind the classes of tokens.
pub(super) const WEB_SEARCHES: usize = CLASSES;
/// And the call itself, for models that have a price per call.
pub(super) const CALLS: usize = CLASSES + 1;
/// Everything that can have a price.
pub(super) const UNITS: usize = CLASSES + 2;

/// What one call used: tokens by class, and optionally its operation, model, service and web searches.
///
/// ```
/// use encumber::{TokenClass, Usage};
/// let usage = Usage::new().with(TokenClass::Input, 1_000).with(TokenClass::Output, 50).model("claude-opus-4-6");
/// assert_eq!(usage.tokens(TokenClass::Output), 50);
/// assert_eq!(usage.worst_case(4_096).tokens(TokenClass::Output), 4_096);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    pub(super) tokens: [u64; CLASSES],
    pub(super) web_searches: u64,
    pub(super) service: Service,
    pub(super) operation: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
}

impl Usage {
    /// A call that used nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This usage with `tokens` of `class` added, saturating.
    pub fn with(mut self, class: TokenClass, tokens: u64) -> Self {
        self.add(class, tokens);
        self
    }

    /// Like [`Usage::with`] for sources with signed counts: a negative count adds nothing.
    pub fn with_signed(self, class: TokenClass, tokens: i64) -> Self {
        self.with(class, u64::try_from(tokens).unwrap_or(0))
    }

    /// This usage, by the operation `name`.
    pub fn operation(mut self, name: &str) -> Self {
        self.operation = Some(name.into());
        self
    }

    /// This usage, by the model `name`.
    pub fn model(mut self, name: &str) -> Self {
        self.model = Some(name.into());
        self
    }

    /// This usage, served as `service`, which chooses the prices that [`Price::service`](crate::Price::service) tells.
    pub fn service(mut self, service: Service) -> Self {
        self.service = service;
        self
    }

    /// This usage with `searches` web searches that the provider made for the model, billed apart from tokens. They weigh nothing in
    /// counted resources.
    pub fn with_web_searches(mut self, searches: u64) -> Self {
        self.web_searches = self.web_searches.saturating_add(searches);
        self
    }

    /// Adds tokens in place, saturating.
    pub fn add(&mut self, class: TokenClass, tokens: u64) {
        let count = &mut self.tokens[class.index()];
        *count = count.saturating_add(tokens);
    }

    /// The tokens of one class.
    pub fn tokens(&self, class: TokenClass) -> u64 {
        self.tokens[class.index()]
    }

    /// The tokens that the call sends, cached or not, saturating: the size that prices with [tiers](crate::Price::above) go by.
    pub fn context(&self) -> u64 {
        let sent = TokenClass::ALL.into_iter().filter(|class| class.is_input());
        sent.fold(0, |sum, class| self.tokens(class).saturating_add(sum))
    }

    /// The web searches that the provider made.
    pub fn web_searches(&self) -> u64 {
        self.web_searches
    }

    /// How the call was served.
    pub fn served_as(&self) -> Service {
        self.service
    }

    /// The model's name, if given.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The operation's name, if given.
    pub fn operation_name(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// The most that a call can use that sends this usage's input and may answer with `output_max` tokens.
    pub fn worst_case(&self, output_max: u64) -> Self {
        self.answered(TokenClass::Output, output_max)
    }

    /// This usage with `tokens` of `class` in place of everything answered.
    pub(super) fn answered(&self, class: TokenClass, tokens: u64) -> Self {
        let mut usage = self.clone();
        for class in TokenClass::ALL.into_iter().filter(|class| !class.is_input()) {
            usage.tokens[class.index()] = 0;
        }
        usage.tokens[class.index()] = tokens;
        usage
    }

    /// The tokens, with nothing beside them.
    pub(super) fn token_counts(&self) -> [u64; UNITS] {
        let mut counts = [0; UNITS];
        counts[..CLASSES].copy_from_slice(&self.tokens);
        counts
    }

    /// Everything that can have a price.
    pub(super) fn billed_counts(&self) -> [u64; UNITS] {
        let mut counts = self.token_counts();
        counts[WEB_SEARCHES] = self.web_searches;
        counts[CALLS] = 1;
        counts
    }

    /// A bit for each class with tokens and for web searches: what must have a price. The call itself need not.
    pub(super) fn billed_units(&self) -> u32 {
        let used = self.tokens.iter().chain([&self.web_searches]).enumerate().filter(|(_, count)| **count > 0);
        used.fold(0, |bits, (unit, _)| bits | 1 << unit)
    }
}
