//! Cohere. What it bills is less than what it processes; the billed units count.

use serde_json::Value;

use super::read::{Object, usage_of};
use super::split::{Sent, Tally};
use super::{ReportedUsage, UsageError};
use crate::cost::TokenClass;

pub(super) fn read(root: &Value) -> Result<ReportedUsage, UsageError> {
    let root = Object::root(root)?;
    let body = root.object("delta")?.unwrap_or(root);
    let usage = usage_of(&body, &["usage", "meta"], &["billed_units", "tokens"])?;
    let mut tally = Tally::new();
    if let Some(billed) = usage.object("billed_units")? {
        let images = billed.count("image_tokens")?;
        let input = billed.count("input_tokens")?;
        if input.is_none() && images.is_none() {
            return Err(UsageError::Missing("input_tokens"));
        }
        tally.add(TokenClass::Input, input);
        tally.add(TokenClass::InputImage, images);
        tally.add(TokenClass::Output, billed.count("output_tokens")?);
    } else {
        let tokens = usage.object("tokens")?.ok_or(UsageError::Missing("billed_units"))?;
        let total = Some(tokens.count("input_tokens")?.ok_or(UsageError::Missing("input_tokens"))?);
        tally.add_sent(&Sent { total, cached: usage.count("cached_tokens")?, ..Sent::default() });
        tally.add(TokenClass::Output, tokens.count("output_tokens")?);
    }
    Ok(tally.finish(body.text("model")))
}
