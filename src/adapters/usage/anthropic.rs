//! Anthropic's messages. Input, cache reads and cache writes are disjoint; thinking is part of the output.

use serde_json::Value;

use super::read::{Object, service, usage_of};
use super::split::{Answered, Tally};
use super::{ReportedUsage, UsageError};
use crate::cost::{TokenClass, Usage};

pub(super) fn read(root: &Value) -> Result<ReportedUsage, UsageError> {
    let root = Object::root(root)?;
    let body = root.object("message")?.unwrap_or(root);
    let usage = usage_of(&body, &["usage"], &["input_tokens", "output_tokens"])?;
    let mut tally = tally(&usage)?;
    tally.web_searches(usage.count_in("server_tool_use", "web_search_requests")?);
    let mut reported = tally.finish(body.text("model"));
    reported.service = service(usage.text("service_tier"));
    reported.others = others(&usage, &reported.usage, body.text("model"))?;
    Ok(reported)
}

fn tally(usage: &Object<'_>) -> Result<Tally, UsageError> {
    let input = usage.count("input_tokens")?.ok_or(UsageError::Missing("input_tokens"))?;
    let written = |field| usage.count_in("cache_creation", field);
    let mut tally = Tally::new();
    tally.add(TokenClass::Input, Some(input));
    tally.add(TokenClass::CacheRead, usage.count("cache_read_input_tokens")?);
    tally.add_written(
        usage.count("cache_creation_input_tokens")?,
        [written("ephemeral_5m_input_tokens")?, written("ephemeral_1h_input_tokens")?],
    );
    tally.add_answered(&Answered {
        total: usage.count("output_tokens")?,
        reasoning: usage.count_in("output_tokens_details", "thinking_tokens")?,
        ..Answered::default()
    });
    Ok(tally)
}

/// Steps of the call that its totals leave out: compactions of the context, and other models that were asked. The messages themselves are in
/// the totals, and where all steps together are, nothing is left out.
fn others(usage: &Object<'_>, total: &Usage, model: Option<&str>) -> Result<Vec<Usage>, UsageError> {
    let mut others = Vec::new();
    let mut sum = Usage::new();
    for step in usage.objects("iterations")? {
        let model = step.text("model").or(model);
        let used = tally(&step)?.finish(model).usage;
        for class in TokenClass::ALL {
            sum.add(class, used.tokens(class));
        }
        if step.text("type") != Some("message") {
            others.push(used);
        }
    }
    // Steps do not tell thinking apart.
    let answered = |usage: &Usage| usage.tokens(TokenClass::Output).saturating_add(usage.tokens(TokenClass::Reasoning));
    let is_whole = sum.context() == total.context() && answered(&sum) == answered(total);
    Ok(if is_whole { Vec::new() } else { others })
}
