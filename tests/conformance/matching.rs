//! Whether a result is what a case expects.

use encumber::Timestamp;
use serde_json::{Value, json};

/// What differs, if something does. A null expectation asserts nothing; otherwise every listed field must match, and further fields
/// of the result do not matter.
pub(crate) fn mismatch(expected: &Value, got: &Value) -> Option<String> {
    if expected.is_null() { None } else { differs(expected, got, "result") }
}

/// Compares a value: numbers by value, instants as instants, `"unlimited"` and null as no limit, `error: true` as any error.
/// Fields of objects are compared as far as they are expected, except below `json`: there both must be equal.
fn differs(expected: &Value, got: &Value, path: &str) -> Option<String> {
    match (expected, got) {
        (Value::Object(fields), Value::Object(_)) => fields.iter().find_map(|(name, wanted)| {
            let path = format!("{path}.{name}");
            match (wanted, got.get(name)) {
                (Value::Null, None) => None,
                (Value::Bool(true), Some(Value::String(_))) if name == "error" => None,
                (_, Some(found)) if name == "json" => (wanted != found).then(|| format!("{path} is not equal")),
                (_, Some(found)) => differs(wanted, found, &path),
                (_, None) => Some(format!("{path} is missing")),
            }
        }),
        (Value::Array(wanted), Value::Array(found)) => {
            if wanted.len() != found.len() {
                return Some(format!("{path} has {} entries, not {}", found.len(), wanted.len()));
            }
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(index, (wanted, found))| differs(wanted, found, &format!("{path}[{index}]")))
        }
        _ if same(expected, got) => None,
        _ => Some(format!("{path} is {got}, not {expected}")),
    }
}

fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(wanted), Value::Number(found)) => match (wanted.as_u64(), found.as_u64()) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => wanted.as_f64() == found.as_f64(),
        },
        (Value::String(wanted), Value::String(found)) => {
            let instant = |text: &str| text.parse::<Timestamp>().ok();
            wanted == found || instant(wanted).is_some_and(|wanted| instant(found) == Some(wanted))
        }
        (Value::String(wanted), Value::Null) => wanted == "unlimited",
        _ => expected == got,
    }
}

/// Checks this matching before anything is judged by it.
pub(crate) fn self_check() {
    let same = [
        (json!(null), json!({"allowed": false})),
        (json!({}), json!({"anything": 1})),
        (json!({"used": 18_446_744_073_709_551_615_u64}), json!({"used": u64::MAX, "held": 0})),
        (json!({"percent": 25.0, "fraction": 1.0}), json!({"percent": 25, "fraction": 1.0})),
        (json!({"at": "2026-04-04T00:00:00Z"}), json!({"at": "2026-04-04T00:00:00.000Z"})),
        (json!({"at": "2026-04-04T02:00:00+02:00"}), json!({"at": "2026-04-04T00:00:00.000Z"})),
        (json!({"violated": null}), json!({"violated": null})),
        (json!({"violated": null}), json!({"allowed": true})),
        (json!({"limit": "unlimited"}), json!({"limit": null})),
        (json!({"error": true}), json!({"error": "not a period"})),
        (json!({"windows": {"day": {"used": 1}}}), json!({"windows": {"day": {"used": 1, "held": 2}, "week": {}}})),
        (json!({"all": ["a", "b"]}), json!({"all": ["a", "b"]})),
        (json!({"json": {"a": 1}}), json!({"json": {"a": 1}, "text": ""})),
    ];
    for (expected, got) in same {
        assert_eq!(mismatch(&expected, &got), None, "{expected} {got}");
    }
    let different = [
        (json!({"used": 1}), json!({"used": 2})),
        (json!({"used": 1}), json!({})),
        (json!({"used": 1}), json!({"used": null})),
        (json!({"used": 1}), json!({"used": "1"})),
        (json!({"used": 9_007_199_254_740_993_u64}), json!({"used": 9_007_199_254_740_992_u64})),
        (json!({"allowed": true}), json!({"allowed": "yes"})),
        (json!({"error": true}), json!({"error": null})),
        (json!({"error": true}), json!({"seconds": 5})),
        (json!({"limit": "unlimited"}), json!({"limit": 5})),
        (json!({"limit": "unlimited"}), json!({})),
        (json!({"violated": null}), json!({"violated": "day"})),
        (json!({"at": "2026-04-04T00:00:00Z"}), json!({"at": "2026-04-04T00:00:00.001Z"})),
        (json!({"all": ["a", "b"]}), json!({"all": ["b", "a"]})),
        (json!({"all": []}), json!({"all": ["a"]})),
        (json!({"windows": {"day": {"used": 1}}}), json!({"windows": {"week": {"used": 1}}})),
        (json!({"json": {"a": 1}}), json!({"json": {"a": 1, "b": 2}})),
    ];
    for (expected, got) in different {
        assert!(mismatch(&expected, &got).is_some(), "{expected} {got}");
    }
}
