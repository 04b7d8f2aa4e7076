//! Bedrock's Converse. Input, cache reads and cache writes are disjoint. The body does not name the model.

use serde_json::Value;

use super::read::{Object, service, usage_of};
use super::split::Tally;
use super::{ReportedUsage, UsageError};
use crate::cost::TokenClass;

pub(super) fn read(root: &Value) -> Result<ReportedUsage, UsageError> {
    let root = Object::root(root)?;
    let body = root.object("metadata")?.unwrap_or(root);
    let usage = usage_of(&body, &["usage"], &["inputTokens", "outputTokens"])?;
    let input = usage.count("inputTokens")?.ok_or(UsageError::Missing("inputTokens"))?;
    let mut split = [None; 2];
    let mut is_told = true;
    for written in usage.objects("cacheDetails")? {
        let lifetime = match written.text("ttl") {
            Some("5m") => 0,
            Some("1h") => 1,
            _ => {
                is_told = false;
                continue;
            }
        };
        let tokens = written.count("inputTokens")?;
        split[lifetime] = Some(split[lifetime].unwrap_or(0_u64).saturating_add(tokens.unwrap_or(0)));
    }

    let mut tally = Tally::new();
    tally.add(TokenClass::Input, Some(input));
    tally.add(TokenClass::CacheRead, usage.first_count(&["cacheReadInputTokens", "cacheReadInputTokenCount"])?);
    tally.add_written(usage.first_count(&["cacheWriteInputTokens", "cacheWriteInputTokenCount"])?, split);
    if !is_told {
        tally.inconsistent();
    }
    tally.add(TokenClass::Output, usage.count("outputTokens")?);
    tally.check_sum(usage.count("totalTokens")?);
    let mut reported = tally.finish(None);
    let tier = body.object("serviceTier")?;
    reported.service = service(tier.and_then(|tier| tier.text("type")));
    Ok(reported)
}
