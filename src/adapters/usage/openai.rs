//! `OpenAI`'s two shapes. Totals include what was cached, and reasoning.

use serde_json::Value;

use super::read::{Object, service, usage_of};
use super::split::{Answered, Sent, Tally};
use super::{ReportedUsage, UsageError};

pub(super) fn chat(root: &Value) -> Result<ReportedUsage, UsageError> {
    let root = Object::root(root)?;
    let usage = usage_of(&root, &["usage"], &["prompt_tokens", "completion_tokens"])?;
    let prompt = usage.count("prompt_tokens")?.ok_or(UsageError::Missing("prompt_tokens"))?;
    let completion = usage.count("completion_tokens")?;
    let sent_in = |field| usage.count_in("prompt_tokens_details", field);
    let answered_in = |field| usage.count_in("completion_tokens_details", field);
    // Some that speak this dialect tell of the cache beside the details.
    let cached = match sent_in("cached_tokens")? {
        Some(cached) => Some(cached),
        None => usage.first_count(&["prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"])?,
    };
    let reasoning = answered_in("reasoning_tokens")?;
    let sum = usage.count("total_tokens")?;

    let mut tally = Tally::new();
    tally.add_sent(&Sent {
        total: Some(prompt),
        cached,
        written_5m: sent_in("cache_write_tokens")?,
        media: [sent_in("audio_tokens")?, sent_in("image_tokens")?, sent_in("video_tokens")?],
        ..Sent::default()
    });
    tally.add_answered(&Answered {
        total: with_reasoning(prompt, completion, reasoning, sum),
        reasoning,
        media: [answered_in("audio_tokens")?, answered_in("image_tokens")?, answered_in("video_tokens")?],
    });
    tally.check_sum(sum);
    let mut reported = tally.finish(root.text("model"));
    reported.service = service(root.text("service_tier"));
    Ok(reported)
}

pub(super) fn responses(root: &Value) -> Result<ReportedUsage, UsageError> {
    let root = Object::root(root)?;
    let body = root.object("response")?.unwrap_or(root);
    let usage = usage_of(&body, &["usage"], &["input_tokens", "output_tokens"])?;
    let input = usage.count("input_tokens")?.ok_or(UsageError::Missing("input_tokens"))?;
    let output = usage.count("output_tokens")?;
    let sent_in = |field| usage.count_in("input_tokens_details", field);
    let reasoning = usage.count_in("output_tokens_details", "reasoning_tokens")?;
    let sum = usage.count("total_tokens")?;

    let mut tally = Tally::new();
    tally.add_sent(&Sent {
        total: Some(input),
        cached: sent_in("cached_tokens")?,
        written_5m: sent_in("cache_write_tokens")?,
        media: [sent_in("audio_tokens")?, sent_in("image_tokens")?, None],
        ..Sent::default()
    });
    tally.add_answered(&Answered {
        total: with_reasoning(input, output, reasoning, sum),
        reasoning,
        ..Answered::default()
    });
    tally.check_sum(sum);
    let mut reported = tally.finish(body.text("model"));
    reported.service = service(body.text("service_tier"));
    Ok(reported)
}

/// The output with its reasoning. Some report reasoning beside the output: their sum of everything tells.
fn with_reasoning(input: u64, output: Option<u64>, reasoning: Option<u64>, sum: Option<u64>) -> Option<u64> {
    let (output, reasoning) = (output?, reasoning.unwrap_or(0));
    let both = output.saturating_add(reasoning);
    Some(if sum == Some(input.saturating_add(both)) { both } else { output })
}
