//! Gemini. The prompt includes what was cached; thoughts and the prompts of tools are beside the other counts.

use serde_json::Value;

use super::read::{Object, service, usage_of};
use super::split::{Answered, Media, Sent, Tally};
use super::{ReportedUsage, UsageError};

const COUNTS: [&str; 4] = ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"];

pub(super) fn read(root: &Value) -> Result<ReportedUsage, UsageError> {
    let root = Object::root(root)?;
    let usage = usage_of(&root, &["usageMetadata"], &COUNTS)?;
    if !COUNTS.iter().any(|count| usage.has(count)) {
        return Err(UsageError::NotReported);
    }
    let prompt = usage.count("promptTokenCount")?;
    let tools = usage.count("toolUsePromptTokenCount")?;
    let candidates = usage.count("candidatesTokenCount")?;
    let thoughts = usage.count("thoughtsTokenCount")?;

    let mut tally = Tally::new();
    tally.add_sent(&Sent {
        total: both(prompt, tools),
        cached: usage.count("cachedContentTokenCount")?,
        media: sum(media(&usage, "promptTokensDetails")?, media(&usage, "toolUsePromptTokensDetails")?),
        cached_media: media(&usage, "cacheTokensDetails")?,
        ..Sent::default()
    });
    tally.add_answered(&Answered {
        total: both(candidates, thoughts.filter(|_| candidates.is_some())),
        reasoning: thoughts,
        media: media(&usage, "candidatesTokensDetails")?,
    });
    tally.check_sum(usage.count("totalTokenCount")?);
    let mut reported = tally.finish(root.text("modelVersion"));
    reported.service = service(usage.text("serviceTier").or(usage.text("trafficType")));
    Ok(reported)
}

/// The tokens of each kind. Documents are images; text is what is left.
fn media(usage: &Object<'_>, field: &str) -> Result<Media, UsageError> {
    let mut media = [None; 3];
    for item in usage.objects(field)? {
        let kind = match item.text("modality") {
            Some("AUDIO") => 0,
            Some("IMAGE" | "DOCUMENT") => 1,
            Some("VIDEO") => 2,
            _ => continue,
        };
        media[kind] = both(media[kind], item.count("tokenCount")?);
    }
    Ok(media)
}

fn sum(a: Media, b: Media) -> Media {
    std::array::from_fn(|kind| both(a[kind], b[kind]))
}

/// The sum of what is there.
fn both(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, other) => one.or(other),
    }
}
