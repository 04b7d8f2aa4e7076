//! The words of `encumber bench`: how subjects are drawn, what calls do, what budgets hold.

use std::fmt;
use std::str::FromStr;

/// Kinds of subjects from the deepest to the widest; the last level of several is always `global`.
const KINDS: [&str; LEVELS_MAX - 1] = ["agent", "user", "team", "department", "division", "organization", "tenant"];
pub(super) const LEVELS_MAX: usize = 8;

/// The kinds of `levels` levels, the deepest first.
pub(super) fn kinds(levels: usize) -> Vec<&'static str> {
    match levels {
        1 => vec![KINDS[0]],
        _ => KINDS[..levels - 1].iter().copied().chain(["global"]).collect(),
    }
}

/// How often each subject is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    Uniform,
    /// The subject of rank k is drawn in proportion to k^−s.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, exponent) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
        match (word, exponent) {
            ("uniform", None) => Ok(Self::Uniform),
            ("zipf", None) => Ok(Self::Zipf(1.0)),
            ("zipf", Some(exponent)) => match exponent.parse::<f64>() {
                Ok(exponent) if exponent > 0.0 && exponent <= 10.0 => Ok(Self::Zipf(exponent)),
                _ => Err(format!("the exponent of zipf is above 0 and at most 10, not {exponent:?}")),
            },
            _ => Err("expected uniform, zipf or zipf:EXPONENT".to_owned()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Charge,
    /// A reservation, and its commit with another amount.
    Reserve,
    Record,
    Check,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Charge, Self::Reserve, Self::Record, Self::Check];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Reserve => "reserve",
            Self::Record => "record",
            Self::Check => "check",
        }
    }
}

/// The weight of each operation, in the order of [`Operation::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix([u16; 4]);

impl Mix {
    /// So many calls of `weights().sum()` are of this operation.
    pub(super) fn weights(self) -> impl Iterator<Item = (Operation, u16)> {
        Operation::ALL.into_iter().zip(self.0)
    }

    pub(super) fn total(self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [None; 4];
        for part in text.split(',') {
            let (word, weight) =
                part.split_once('=').ok_or_else(|| format!("expected OPERATION=WEIGHT, found {part:?}"))?;
            let place = Operation::ALL.iter().position(|operation| operation.name() == word);
            let place = place.ok_or_else(|| {
                format!("{word:?} is no operation; they are {}", Operation::ALL.map(Operation::name).join(", "))
            })?;
            let weight: u16 =
                weight.parse().map_err(|_| format!("a weight is a whole number up to {}, not {weight:?}", u16::MAX))?;
            if weights[place].replace(weight).is_some() {
                return Err(format!("{word} is given twice"));
            }
        }
        let mix = Self(weights.map(Option::unwrap_or_default));
        if mix.total() == 0 { Err("all weights are 0: there is nothing to do".to_owned()) } else { Ok(mix) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> =
            self.weights().filter(|part| part.1 > 0).map(|(o, weight)| format!("{}={weight}", o.name())).collect();
        f.write_str(&parts.join(","))
    }
}

/// What the budgets of some levels hold, by kind; `None` for the deepest level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Maxes(Vec<(Option<String>, u64)>);

impl Maxes {
    /// By level, the deepest first; `None` where nothing is set.
    ///
    /// # Errors
    /// When a name is not that of a level, or one is set twice.
    pub(super) fn by_level(&self, kinds: &[&str]) -> anyhow::Result<Vec<Option<u64>>> {
        let mut by_level = vec![None; kinds.len()];
        for (kind, max) in &self.0 {
            let kind = kind.as_deref().unwrap_or(kinds[0]);
            let Some(level) = kinds.iter().position(|known| *known == kind) else {
                anyhow::bail!("--max: there is no level {kind:?}; the levels are {}", kinds.join(", "));
            };
            anyhow::ensure!(by_level[level].replace(*max).is_none(), "--max: {kind} is given twice");
        }
        Ok(by_level)
    }
}

impl FromStr for Maxes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let (kind, max) = part.split_once('=').map_or((None, part), |(kind, max)| (Some(kind.to_owned()), max));
            // One more marks a count that ran past what a budget can hold.
            match max.parse::<u64>() {
                Ok(max) if max < u64::MAX => Ok((kind, max)),
                _ => Err(format!("expected a whole number below 2^64 − 1, or LEVEL=NUMBER, found {part:?}")),
            }
        };
        text.split(',').map(part).collect::<Result<_, _>>().map(Self)
    }
}

/// A number of seconds that a run can last.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("expected a number above 0 and at most 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_alike() {
        for text in ["uniform", "zipf:1", "zipf:0.8"] {
            assert_eq!(text.parse::<Distribution>().unwrap().to_string(), text);
        }
        assert_eq!("zipf".parse(), Ok(Distribution::Zipf(1.0)));
        for text in ["charge=70,reserve=20,record=5,check=5", "check=1"] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
        assert_eq!("check=0,reserve=3".parse::<Mix>().unwrap().to_string(), "reserve=3");
    }

    #[test]
    fn bad_words_say_what_is_wrong() {
        let mix = |text: &str| text.parse::<Mix>().unwrap_err();
        assert!(mix("charge=0,check=0").contains("nothing to do"));
        assert!(mix("spend=1").contains("\"spend\" is no operation; they are charge, reserve, record, check"));
        assert!(mix("charge").contains("OPERATION=WEIGHT"));
        assert!(mix("charge=-1").contains("whole number"));
        assert!(mix("charge=1,charge=2").contains("twice"));
        let drawn = |text: &str| text.parse::<Distribution>().unwrap_err();
        assert!(drawn("normal").contains("expected uniform"));
        assert!(drawn("uniform:2").contains("expected uniform"));
        for exponent in ["0", "-1", "NaN", "inf", "11", ""] {
            assert!(drawn(&format!("zipf:{exponent}")).contains("exponent"));
        }
        assert!(["0", "-1", "NaN", "inf", "86401", "long"].iter().all(|text| seconds(text).is_err()));
        assert!(["", "x", "-1", "user=", "18446744073709551615"].iter().all(|text| text.parse::<Maxes>().is_err()));
    }

    #[test]
    fn maxes_belong_to_levels() {
        let kinds = kinds(3);
        assert_eq!(kinds, ["agent", "user", "global"]);
        let by_level = |text: &str| text.parse::<Maxes>().unwrap().by_level(&kinds);
        assert_eq!(by_level("7,global=9").unwrap(), [Some(7), None, Some(9)]);
        assert_eq!(by_level("user=0").unwrap(), [None, Some(0), None]);
        assert!(by_level("team=1").unwrap_err().to_string().contains("the levels are agent, user, global"));
        assert!(by_level("7,agent=7").unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn the_widest_of_several_levels_is_global() {
        assert_eq!(kinds(1), ["agent"]);
        assert_eq!(kinds(2), ["agent", "global"]);
        assert_eq!(kinds(LEVELS_MAX).len(), LEVELS_MAX);
    }
}
