//! Reading what other implementations write: absent and null are empty, one bad element does not spoil a list.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A list whose elements were read one by one.
pub(super) type List<T> = Vec<Result<T, String>>;

/// Reads a list element by element.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<List<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let elements: Option<Vec<Value>> = Option::deserialize(deserializer)?;
    let read = |value| serde_json::from_value(value).map_err(|e| e.to_string());
    Ok(elements.unwrap_or_default().into_iter().map(read).collect())
}

/// Reads a value of which null is the default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a map of texts; numbers and truth values become text, anything deeper is left out.
pub(super) fn texts<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let map: Option<BTreeMap<String, Value>> = Option::deserialize(deserializer)?;
    let text = |(key, value)| match value {
        Value::String(text) => Some((key, text)),
        Value::Number(number) => Some((key, number.to_string())),
        Value::Bool(truth) => Some((key, truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    Ok(map.unwrap_or_default().into_iter().filter_map(text).collect())
}
