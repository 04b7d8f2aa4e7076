//! Totals and their details made disjoint: every token in one class, and none of the total lost.

use super::ReportedUsage;
use crate::cost::{ClassSet, TokenClass, Usage};

/// Audio, images and video, in this order.
pub(super) type Media = [Option<u64>; 3];

/// What was sent, as a provider reports it: a total that includes what was cached, and parts of it.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) total: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) written_5m: Option<u64>,
    pub(super) written_1h: Option<u64>,
    /// Cached ones included.
    pub(super) media: Media,
    pub(super) cached_media: Media,
}

/// What was answered: a total, and parts of it.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) total: Option<u64>,
    pub(super) reasoning: Option<u64>,
    pub(super) media: Media,
}

/// A usage being put together.
pub(super) struct Tally {
    usage: Usage,
    reported: ClassSet,
    is_consistent: bool,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { usage: Usage::new(), reported: ClassSet::new(), is_consistent: true }
    }

    /// Tokens that the provider reports as a class of their own.
    pub(super) fn add(&mut self, class: TokenClass, tokens: Option<u64>) {
        if let Some(tokens) = tokens {
            self.reported = self.reported.with(class);
            self.usage.add(class, tokens);
        }
    }

    pub(super) fn add_sent(&mut self, sent: &Sent) {
        use TokenClass as C;
        const FRESH: [C; 3] = [C::InputAudio, C::InputImage, C::InputVideo];
        const CACHED: [C; 3] = [C::CacheReadAudio, C::CacheReadImage, C::CacheReadVideo];
        let number = |count: Option<u64>| i128::from(count.unwrap_or(0));
        let mut cached = number(sent.cached);
        let (mut fresh, mut from_cache) = ([0; 3], [0; 3]);
        for kind in 0..3 {
            // More of a kind cached than sent: the provider did not tell how much was sent.
            from_cache[kind] = number(sent.cached_media[kind]).min(cached);
            self.is_consistent &= from_cache[kind] == number(sent.cached_media[kind]);
            cached -= from_cache[kind];
            fresh[kind] = (number(sent.media[kind]) - from_cache[kind]).max(0);
        }
        let written = number(sent.written_5m) + number(sent.written_1h);
        let cached_media: i128 = from_cache.iter().sum();
        let mut rest = number(sent.total) - cached - cached_media - written - fresh.iter().sum::<i128>();
        // Parts may overlap where a provider tells how much was audio and how much was cached, and not how much was both.
        for kind in [2, 1, 0] {
            let both = (-rest).clamp(0, fresh[kind].min(cached));
            fresh[kind] -= both;
            from_cache[kind] += both;
            cached -= both;
            rest += both;
        }
        if rest < 0 {
            self.is_consistent = false;
            rest = number(sent.total);
        }
        let tokens = |count: i128| u64::try_from(count).unwrap_or(u64::MAX);
        self.add(C::Input, sent.total.map(|_| tokens(rest)));
        self.add(C::CacheRead, sent.cached.map(|_| tokens(cached)));
        self.add(C::CacheWrite5m, sent.written_5m);
        self.add(C::CacheWrite1h, sent.written_1h);
        for kind in 0..3 {
            let told = sent.media[kind].is_some();
            self.add(FRESH[kind], told.then(|| tokens(fresh[kind])));
            let told = sent.cached_media[kind].is_some() || from_cache[kind] > 0;
            self.add(CACHED[kind], told.then(|| tokens(from_cache[kind])));
        }
    }

    pub(super) fn add_answered(&mut self, answered: &Answered) {
        use TokenClass as C;
        const MEDIA: [C; 3] = [C::OutputAudio, C::OutputImage, C::OutputVideo];
        let parts = answered.media.into_iter().chain([answered.reasoning]).flatten();
        let parts = parts.fold(0, u64::saturating_add);
        let total = answered.total.unwrap_or(0);
        let rest = total.checked_sub(parts);
        // What is not within its total is beside it.
        self.is_consistent &= rest.is_some() || answered.total.is_none();
        self.add(C::Output, answered.total.map(|total| rest.unwrap_or(total)));
        self.add(C::Reasoning, answered.reasoning);
        for (class, tokens) in MEDIA.into_iter().zip(answered.media) {
            self.add(class, tokens);
        }
    }

    /// Writes to a cache by lifetime, `split` into five minutes and one hour as far as the provider tells. What it does not tell the
    /// lifetime of lives five minutes, as is the default.
    pub(super) fn add_written(&mut self, total: Option<u64>, split: [Option<u64>; 2]) {
        let [short, long] = split;
        let told = short.unwrap_or(0).saturating_add(long.unwrap_or(0));
        let untold = total.unwrap_or(told).checked_sub(told);
        self.is_consistent &= untold.is_some();
        let short = short.or(total.map(|_| 0)).map(|short| short.saturating_add(untold.unwrap_or(0)));
        self.add(TokenClass::CacheWrite5m, short);
        self.add(TokenClass::CacheWrite1h, long);
    }

    /// The provider's own sum of everything. What it has beyond the classes was answered without being told apart, as hidden
    /// reasoning is.
    pub(super) fn check_sum(&mut self, sum: Option<u64>) {
        let counted = TokenClass::ALL.into_iter().fold(0, |sum, class| self.usage.tokens(class).saturating_add(sum));
        let untold = sum.unwrap_or(counted).saturating_sub(counted);
        if untold > 0 {
            self.is_consistent = false;
            self.usage.add(TokenClass::Reasoning, untold);
        }
    }

    pub(super) fn web_searches(&mut self, searches: Option<u64>) {
        self.usage = std::mem::take(&mut self.usage).with_web_searches(searches.unwrap_or(0));
    }

    pub(super) fn inconsistent(&mut self) {
        self.is_consistent = false;
    }

    pub(super) fn finish(self, model: Option<&str>) -> ReportedUsage {
        let usage = match model {
            Some(model) => self.usage.model(model),
            None => self.usage,
        };
        ReportedUsage {
            usage,
            others: Vec::new(),
            reported: self.reported,
            service: None,
            is_consistent: self.is_consistent,
        }
    }
}
