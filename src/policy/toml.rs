//! TOML text into nodes.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::{Lines, Node, Value};
use super::{PolicyCause, PolicyError};

pub(super) fn parse(text: &str) -> Result<Node, PolicyError> {
    let lines = Lines::of(text);
    let document = DeTable::parse(text).map_err(|error| PolicyError {
        line: Some(error.span().map_or(1, |span| lines.at(span.start))),
        key: "".into(),
        cause: PolicyCause::Syntax(error.message().into()),
    })?;
    Ok(Node { line: 1, value: table(document.get_ref(), &lines) })
}

fn table(entries: &DeTable<'_>, lines: &Lines) -> Value {
    // The line of an entry is that of its key: the value of a `[table]` starts nowhere of its own.
    let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        (key.get_ref().to_string(), node(value, lines.at(key.span().start), lines))
    };
    // In the order in which they are written: it is the order of resources and of what is reported.
    let mut written: Vec<_> = entries.iter().collect();
    written.sort_by_key(|(key, _)| key.span().start);
    Value::Table(written.into_iter().map(entry).collect())
}

fn node(value: &Spanned<DeValue<'_>>, line: usize, lines: &Lines) -> Node {
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => match integer.radix() {
            10 => Value::Integer(integer.as_str().to_owned()),
            _ => Value::Other("an integer that is not decimal"),
        },
        DeValue::Float(_) => Value::Other("float"),
        DeValue::Boolean(is_so) => Value::Boolean(*is_so),
        DeValue::Datetime(_) => Value::Other("a date (write it as a string)"),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| node(item, lines.at(item.span().start), lines)).collect())
        }
        DeValue::Table(entries) => table(entries, lines),
    };
    Node { line, value }
}
