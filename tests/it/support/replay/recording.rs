//! One recorded case: requests with their answers, WebSocket events, remarks, and what of it varies.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// A case.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Recording {
    /// Its number, as in the file name.
    pub(crate) case: String,
    /// How the server was set up.
    #[serde(default)]
    pub(crate) server_config: serde_json::Map<String, Value>,
    /// What happened, in order of start. Kept as JSON, since pointers point into it.
    pub(crate) steps: Vec<Value>,
    /// Values the server made up.
    #[serde(default)]
    pub(crate) vars: Vec<Var>,
    /// Pointers to what need not be equal.
    #[serde(default)]
    pub(crate) volatile: Vec<String>,
    /// Pointers to arrays whose order means nothing.
    #[serde(default)]
    pub(crate) unordered: Vec<String>,
}

/// A value the server made up.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Var {
    /// Its name, for messages.
    pub(crate) name: String,
    /// What it was when recorded.
    pub(crate) value: String,
    /// Where it was first seen.
    pub(crate) from: String,
}

impl Recording {
    /// Reads a file; panics with its name when it is no recording.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// Name and value pairs, from an object or from a list of pairs.
pub(crate) fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match headers {
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        Value::Array(list) => list.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        _ => Vec::new(),
    }
}

/// The body of a recorded request: as it stands, or padded.
pub(crate) fn request_body(request: &Value) -> String {
    if let Some(pad) = request.get("body_pad").filter(|pad| pad.is_object()) {
        let part = |name: &str| pad[name].as_str().unwrap_or_default();
        let count = pad["count"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        return [part("prefix"), &part("char").repeat(count), part("suffix")].concat();
    }
    request["body"].as_str().unwrap_or_default().to_owned()
}
