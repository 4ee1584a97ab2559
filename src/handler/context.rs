//! `x-cse-context`: ServiceComb's invocation context, a JSON object of strings in a header.
//!
//! mesher adds one entry, the name of the calling service, and leaves the others alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Key of the caller's name within the context.
pub const SOURCE_KEY: &str = "x-cse-src-microservice";
/// A longer context is replaced rather than parsed: real ones have a handful of short entries.
pub const CONTEXT_BYTES_MAX: usize = 8192;

/// What a shard says of the service it stands beside.
#[derive(Debug, Clone)]
pub struct SourceContext {
    name: Box<str>,
    alone: Box<[u8]>,
}

impl SourceContext {
    /// For a service of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let entries = BTreeMap::from([(SOURCE_KEY, name)]);
        Self { name: name.into(), alone: serde_json::to_vec(&entries).unwrap_or_default().into() }
    }

    /// The value to send on, given the one that came in. What cannot be read as an object of strings is replaced,
    /// as Mesher does.
    #[must_use]
    pub fn merge(&self, existing: Option<&[u8]>) -> Cow<'_, [u8]> {
        let entries = existing
            .filter(|value| value.len() <= CONTEXT_BYTES_MAX)
            .and_then(|value| serde_json::from_slice::<BTreeMap<String, String>>(value).ok());
        let Some(mut entries) = entries else { return Cow::Borrowed(&self.alone) };
        entries.insert(SOURCE_KEY.into(), self.name.to_string());
        match serde_json::to_vec(&entries) {
            // JSON may hold a DEL as it is, a header may not (RFC 9110 section 5.5).
            Ok(merged) if !merged.contains(&0x7f) => Cow::Owned(merged),
            _ => Cow::Borrowed(&self.alone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(existing: Option<&str>) -> String {
        let own = SourceContext::new("consumer");
        String::from_utf8(own.merge(existing.map(str::as_bytes)).into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_missing_context_becomes_one_with_the_callers_name() {
        assert_eq!(merged(None), r#"{"x-cse-src-microservice":"consumer"}"#);
    }

    #[test]
    fn other_entries_are_kept_and_the_callers_name_replaced() {
        let existing = r#"{"x-cse-src-microservice":"forged","trace":"7"}"#;
        assert_eq!(merged(Some(existing)), r#"{"trace":"7","x-cse-src-microservice":"consumer"}"#);
    }

    #[test]
    fn what_is_no_object_of_strings_is_replaced() {
        for existing in ["null", "{", r#"{"k":1}"#, "[]", "", r#"{"k":"\u007f"}"#] {
            assert_eq!(merged(Some(existing)), r#"{"x-cse-src-microservice":"consumer"}"#, "{existing}");
        }
    }

    proptest! {
        #[test]
        fn the_result_is_always_a_legal_header_value(existing: Vec<u8>) {
            let own = SourceContext::new("consumer");
            prop_assert!(own.merge(Some(&existing)).iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
        }
    }
}
