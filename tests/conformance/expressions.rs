//! The invariants of schedules: comparisons and sums over named values, such as `used + held <= 1000 and active == 0`.

use std::iter::Peekable;
use std::vec::IntoIter;

/// A condition, or a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Number(i128),
    Name(String),
    /// What came of all calls, added up.
    SumOf(String),
    Arithmetic(Box<Self>, char, Box<Self>),
    /// Two or more values, each compared with the next.
    Comparison(Box<Self>, Vec<(String, Self)>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// Where the values of names come from.
pub(crate) trait Values {
    fn named(&self, name: &str) -> Option<i128>;
    fn sum_of(&self, name: &str) -> Option<i128>;
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = tokens(text)?.into_iter().peekable();
        let parsed = any(&mut tokens).filter(|parsed| parsed.is_condition() && tokens.peek().is_none());
        parsed.ok_or_else(|| format!("the runner cannot read the condition {text:?}"))
    }

    /// The conditions that must hold together, each to be asked by itself.
    pub(crate) fn clauses(self) -> Vec<Self> {
        match self {
            Self::All(clauses) => clauses.into_iter().flat_map(Self::clauses).collect(),
            clause => vec![clause],
        }
    }

    /// Whether the condition holds; `None` when a name has no value.
    pub(crate) fn holds(&self, values: &impl Values) -> Option<bool> {
        self.value(values).map(|value| value != 0)
    }

    fn value(&self, values: &impl Values) -> Option<i128> {
        Some(match self {
            Self::Number(number) => *number,
            Self::Name(name) => values.named(name)?,
            Self::SumOf(name) => values.sum_of(name)?,
            Self::Arithmetic(left, operator, right) => {
                let (left, right) = (left.value(values)?, right.value(values)?);
                match operator {
                    '+' => left.checked_add(right)?,
                    '-' => left.checked_sub(right)?,
                    _ => left.checked_mul(right)?,
                }
            }
            Self::Comparison(first, rest) => {
                let mut left = first.value(values)?;
                let mut holds = true;
                for (operator, right) in rest {
                    let right = right.value(values)?;
                    holds &= match operator.as_str() {
                        "<" => left < right,
                        "<=" => left <= right,
                        ">" => left > right,
                        ">=" => left >= right,
                        "!=" => left != right,
                        _ => left == right,
                    };
                    left = right;
                }
                i128::from(holds)
            }
            Self::All(all) => all.iter().try_fold(1, |holds, one| Some(holds & one.value(values)?))?,
            Self::Any(any) => any.iter().try_fold(0, |holds, one| Some(holds | one.value(values)?))?,
        })
    }

    fn is_condition(&self) -> bool {
        match self {
            Self::Comparison(..) => true,
            Self::All(several) | Self::Any(several) => several.iter().all(Self::is_condition),
            _ => false,
        }
    }
}

type Tokens = Peekable<IntoIter<String>>;

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let length = match first {
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            '<' | '>' | '=' | '!' => rest.find(|c| !"<>=!".contains(c)).unwrap_or(rest.len()),
            '+' | '-' | '*' | '(' | ')' => 1,
            _ => return Err(format!("the runner cannot read {first:?} in the condition {text:?}")),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn any(tokens: &mut Tokens) -> Option<Expression> {
    let mut several = vec![all(tokens)?];
    while tokens.next_if(|token| token == "or").is_some() {
        several.push(all(tokens)?);
    }
    if several.len() == 1 { several.pop() } else { Some(Expression::Any(several)) }
}

fn all(tokens: &mut Tokens) -> Option<Expression> {
    let mut several = vec![comparison(tokens)?];
    while tokens.next_if(|token| token == "and").is_some() {
        several.push(comparison(tokens)?);
    }
    if several.len() == 1 { several.pop() } else { Some(Expression::All(several)) }
}

fn comparison(tokens: &mut Tokens) -> Option<Expression> {
    let first = sum(tokens)?;
    let mut rest = Vec::new();
    let operators = ["<", "<=", ">", ">=", "==", "=", "!="];
    while let Some(operator) = tokens.next_if(|token| operators.contains(&token.as_str())) {
        rest.push((operator, sum(tokens)?));
    }
    Some(if rest.is_empty() { first } else { Expression::Comparison(Box::new(first), rest) })
}

fn sum(tokens: &mut Tokens) -> Option<Expression> {
    let mut left = product(tokens)?;
    while let Some(operator) = tokens.next_if(|token| token == "+" || token == "-") {
        left = Expression::Arithmetic(Box::new(left), operator.chars().next()?, Box::new(product(tokens)?));
    }
    Some(left)
}

fn product(tokens: &mut Tokens) -> Option<Expression> {
    let mut left = factor(tokens)?;
    while tokens.next_if(|token| token == "*").is_some() {
        left = Expression::Arithmetic(Box::new(left), '*', Box::new(factor(tokens)?));
    }
    Some(left)
}

fn factor(tokens: &mut Tokens) -> Option<Expression> {
    let token = tokens.next()?;
    match token.as_str() {
        "(" => {
            let inner = any(tokens)?;
            tokens.next_if(|token| token == ")").map(|_| inner)
        }
        "-" => Some(Expression::Arithmetic(Box::new(Expression::Number(0)), '-', Box::new(factor(tokens)?))),
        "true" => Some(Expression::Number(1)),
        "false" => Some(Expression::Number(0)),
        "sum" if tokens.next_if(|token| token == "of").is_some() => {
            // "sum of all charged amounts" is the sum of what was charged.
            while tokens.next_if(|token| token == "all" || token == "the").is_some() {}
            let name = tokens.next()?;
            tokens.next_if(|token| token == "amounts");
            Some(Expression::SumOf(name))
        }
        "and" | "or" => None,
        word if word.starts_with(|c: char| c.is_ascii_digit()) => word.parse().ok().map(Expression::Number),
        word if word.starts_with(|c: char| c.is_ascii_alphabetic()) => Some(Expression::Name(word.to_owned())),
        _ => None,
    }
}

/// Checks this reading before anything is judged by it.
pub(crate) fn self_check() {
    struct Known;
    impl Values for Known {
        fn named(&self, name: &str) -> Option<i128> {
            [("used", 7), ("held", 3), ("a.b", 10)]
                .into_iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        }
        fn sum_of(&self, name: &str) -> Option<i128> {
            (name == "charged").then_some(7)
        }
    }
    let cases = [
        ("used == 7 and held == 3", Some(true)),
        ("used + held <= 10", Some(true)),
        ("used + held < 10", Some(false)),
        ("used - 2 * held >= 1", Some(true)),
        ("0 <= used <= 7", Some(true)),
        ("used == 1 or held == 3 and a.b == 10", Some(true)),
        ("(used == 7 or held == 0) and a.b != 10", Some(false)),
        ("used == sum of charged", Some(true)),
        ("held == sum of all charged amounts", Some(false)),
        ("held >= -1", Some(true)),
        ("used == 7 and unknown == 1", None),
    ];
    for (text, expected) in cases {
        let holds = Expression::parse(text).map(|expression| expression.holds(&Known));
        assert_eq!(holds, Ok(expected), "{text}");
    }
    for text in
        ["", "used", "used ==", "used is small", "used == 1 held", "used % 2 == 0", "(used == 1", "and used == 1"]
    {
        assert!(Expression::parse(text).is_err(), "{text}");
    }
}
