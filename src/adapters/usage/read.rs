//! Counts and names out of a body. Null is as good as absent; anything else that is not a count is an error.

use serde_json::{Map, Value};

use super::UsageError;
use crate::cost::Service;

/// An object of a body, and where it stands.
#[derive(Clone)]
pub(super) struct Object<'a> {
    fields: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// The body itself.
    pub(super) fn root(value: &'a Value) -> Result<Self, UsageError> {
        let fields = value.as_object().ok_or_else(|| malformed("body", "an object", value))?;
        Ok(Self { fields, path: String::new() })
    }

    /// The object at `field`; `None` when absent or null.
    pub(super) fn object(&self, field: &str) -> Result<Option<Self>, UsageError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self { fields, path: self.path_to(field) })),
            Some(other) => Err(malformed(&self.path_to(field), "an object", other)),
        }
    }

    /// The objects in the list at `field`; none when absent or null.
    pub(super) fn objects(&self, field: &str) -> Result<Vec<Self>, UsageError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let object = |(index, item): (usize, &'a Value)| {
                    let path = format!("{}[{index}]", self.path_to(field));
                    let fields = item.as_object().ok_or_else(|| malformed(&path, "an object", item))?;
                    Ok(Self { fields, path })
                };
                items.iter().enumerate().map(object).collect()
            }
            Some(other) => Err(malformed(&self.path_to(field), "a list", other)),
        }
    }

    /// The count at `field`; `None` when absent or null.
    pub(super) fn count(&self, field: &str) -> Result<Option<u64>, UsageError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| malformed(&self.path_to(field), "a whole number below 2^64", value)),
        }
    }

    /// The first count there is.
    pub(super) fn first_count(&self, fields: &[&str]) -> Result<Option<u64>, UsageError> {
        fields.iter().try_fold(None, |found, field| Ok(found.or(self.count(field)?)))
    }

    /// The count at `field` of the object `object`, if both are there.
    pub(super) fn count_in(&self, object: &str, field: &str) -> Result<Option<u64>, UsageError> {
        self.object(object)?.map_or(Ok(None), |object| object.count(field))
    }

    pub(super) fn text(&self, field: &str) -> Option<&'a str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }

    fn path_to(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }
}

/// The usage object of a body: at one of `keys`, or the body itself when it has one of `counts`.
pub(super) fn usage_of<'a>(root: &Object<'a>, keys: &[&str], counts: &[&str]) -> Result<Object<'a>, UsageError> {
    for key in keys {
        if let Some(usage) = root.object(key)? {
            return Ok(usage);
        }
    }
    if counts.iter().any(|count| root.has(count)) { Ok(root.clone()) } else { Err(UsageError::NotReported) }
}

pub(super) fn malformed(field: &str, expected: &'static str, found: &Value) -> UsageError {
    let found = match found {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string().chars().take(40).collect(),
    };
    UsageError::Malformed { field: field.into(), expected, found: found.into() }
}

/// The service that a provider's word means, if it means one.
pub(super) fn service(word: Option<&str>) -> Option<Service> {
    match word?.to_ascii_lowercase().as_str() {
        "default" | "standard" | "on_demand" => Some(Service::Standard),
        "batch" => Some(Service::Batch),
        "flex" | "on_demand_flex" => Some(Service::Flex),
        "priority" | "on_demand_priority" => Some(Service::Priority),
        _ => None,
    }
}
