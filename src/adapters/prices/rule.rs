//! Which names a price is for, and when it holds.

use regex_lite::Regex;
use serde::Deserialize;

use super::PriceFault;
use super::number::Wrong;
use crate::time::{MICROS_PER_DAY, Timestamp};

/// A rule for names as a file writes it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RuleText {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(String),
    Or(Vec<RuleText>),
    And(Vec<RuleText>),
}

/// A rule for names in lower case.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    Equals(Box<str>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Regex(Regex),
    Or(Vec<Rule>),
    And(Vec<Rule>),
}

impl Rule {
    pub(super) fn read(text: &RuleText) -> Result<Self, Wrong> {
        let all = |rules: &[RuleText]| rules.iter().map(Self::read).collect::<Result<Vec<_>, _>>();
        Ok(match text {
            RuleText::Equals(text) => Self::Equals(text.to_lowercase().into()),
            RuleText::StartsWith(text) => Self::StartsWith(text.to_lowercase().into()),
            RuleText::EndsWith(text) => Self::EndsWith(text.to_lowercase().into()),
            RuleText::Contains(text) => Self::Contains(text.to_lowercase().into()),
            RuleText::Regex(text) => Self::Regex(
                Regex::new(text).map_err(|error| ("match".into(), PriceFault::Shape(error.to_string().into())))?,
            ),
            RuleText::Or(rules) => Self::Or(all(rules)?),
            RuleText::And(rules) => Self::And(all(rules)?),
        })
    }

    /// Whether the rule is for `name`, which is in lower case.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Equals(text) => **text == *name,
            Self::StartsWith(text) => name.starts_with(&**text),
            Self::EndsWith(text) => name.ends_with(&**text),
            Self::Contains(text) => name.contains(&**text),
            Self::Regex(regex) => regex.is_match(name),
            Self::Or(rules) => rules.iter().any(|rule| rule.matches(name)),
            Self::And(rules) => rules.iter().all(|rule| rule.matches(name)),
        }
    }

    /// The names that one `equals` alone suffices for.
    pub(super) fn exact_names(&self) -> Vec<&str> {
        match self {
            Self::Equals(text) => vec![text],
            Self::Or(rules) => rules.iter().flat_map(Self::exact_names).collect(),
            _ => Vec::new(),
        }
    }
}

/// When a price holds, as a file writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhenText {
    start_date: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
}

/// When a price holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    From(Timestamp),
    /// From one time of the day to before another, in microseconds after midnight UTC.
    Daily(i64, i64),
}

impl When {
    pub(super) fn read(text: Option<&WhenText>) -> Result<Self, Wrong> {
        let Some(text) = text else { return Ok(Self::Always) };
        let instant = |text: String| {
            text.parse::<Timestamp>()
                .map_err(|error| ("constraint".into(), PriceFault::Shape(error.to_string().into())))
        };
        // An offset may carry a time past midnight.
        let time = |text: &str| Ok(instant(format!("1970-01-02T{text}"))?.as_micros().rem_euclid(MICROS_PER_DAY));
        match (&text.start_date, &text.start_time, &text.end_time) {
            (Some(date), None, None) => Ok(Self::From(instant(format!("{date}T00:00:00Z"))?)),
            (None, Some(start), Some(end)) => Ok(Self::Daily(time(start)?, time(end)?)),
            _ => Err(("constraint".into(), PriceFault::Shape("neither a start date nor a time of day".into()))),
        }
    }

    pub(super) fn holds(self, at: Timestamp) -> bool {
        match self {
            Self::Always => true,
            Self::From(start) => at >= start,
            Self::Daily(start, end) => (start..end).contains(&at.as_micros().rem_euclid(MICROS_PER_DAY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        Rule::read(&serde_json::from_str(json).expect(json)).expect(json)
    }

    #[test]
    fn rules_match_names_in_lower_case() {
        let any = rule(r#"{"or": [{"equals": "GPT-5"}, {"and": [{"starts_with": "o"}, {"ends_with": "Mini"}]}]}"#);
        assert!(any.matches("gpt-5") && any.matches("o4-mini") && !any.matches("o4") && !any.matches("gpt-5-mini"));
        assert_eq!(any.exact_names(), ["gpt-5"]);
        assert!(rule(r#"{"contains": "Sonnet"}"#).matches("claude-sonnet-4"));
        assert!(rule(r#"{"regex": "^o[134]"}"#).matches("o3-mini"));
    }

    #[test]
    fn a_rule_that_is_none_is_an_error() {
        assert!(serde_json::from_str::<RuleText>(r#"{"sounds_like": "x"}"#).is_err());
        let unclosed = serde_json::from_str::<RuleText>(r#"{"regex": "("}"#).expect("a rule by shape");
        assert!(Rule::read(&unclosed).is_err());
    }

    #[test]
    fn a_price_holds_from_its_date_on_or_between_times_of_the_day() {
        let when = |json: &str| When::read(Some(&serde_json::from_str(json).expect(json)));
        let holds = |when: When, at: &str| when.holds(at.parse().expect(at));
        let dated = when(r#"{"start_date": "2026-03-13"}"#).expect("a date");
        assert!(!holds(dated, "2026-03-12T23:59:59.999Z") && holds(dated, "2026-03-13T00:00:00Z"));
        let daily = when(r#"{"start_time": "00:30:00Z", "end_time": "16:30:00Z"}"#).expect("times");
        for (at, expected) in [("00:29:59", false), ("00:30:00", true), ("16:29:59", true), ("16:30:00", false)] {
            assert_eq!(holds(daily, &format!("2026-03-12T{at}Z")), expected, "{at}");
        }
        assert!(when(r#"{"start_date": "2026-13-13"}"#).is_err() && when(r#"{"start_time": "00:30:00Z"}"#).is_err());
    }
}
