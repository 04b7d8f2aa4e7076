//! JSON text into nodes.

use jsonc_parser::ast::{ObjectProp, Value as Ast};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::read::{Lines, Node, Value};
use super::{PolicyCause, PolicyError};

pub(super) fn parse(text: &str) -> Result<Node, PolicyError> {
    let lines = Lines::of(text);
    let syntax = |line, message: &str| PolicyError {
        line: Some(line),
        key: "".into(),
        cause: PolicyCause::Syntax(message.into()),
    };
    // Strict JSON: none of the extensions that the parser offers.
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_extended_string_escapes: false,
        allow_non_finite_numbers: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options)
        .map_err(|error| syntax(lines.at(error.range().start), &error.kind().to_string()))?;
    match parsed.value {
        Some(value) => Ok(node(&value, &lines)),
        None => Err(syntax(1, "the text is empty")),
    }
}

fn node(ast: &Ast<'_>, lines: &Lines) -> Node {
    let value = match ast {
        Ast::StringLit(literal) => Value::String(literal.value.to_string()),
        Ast::NumberLit(literal) if literal.value.contains(['.', 'e', 'E']) => Value::Other("float"),
        Ast::NumberLit(literal) => Value::Integer(literal.value.to_owned()),
        Ast::BooleanLit(literal) => Value::Boolean(literal.value),
        Ast::NullKeyword(_) => Value::Other("null"),
        Ast::Array(array) => Value::Array(array.elements.iter().map(|item| node(item, lines)).collect()),
        Ast::Object(object) => {
            let entry = |prop: &ObjectProp<'_>| (prop.name.as_str().to_owned(), node(&prop.value, lines));
            Value::Table(object.properties.iter().map(entry).collect())
        }
    };
    Node { line: lines.at(ast.start()), value }
}
