//! What service-center says on the watch socket: one text frame for each change of an instance.

use std::sync::Arc;

use serde::Deserialize;

use super::id::shown;
use super::lenient::or_default;
use super::offer::{Offer, RawInstance, checked_id};
use crate::registry::object::Object;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Application of the service that changed.
    pub app: String,
    /// Its name.
    pub service: String,
    /// What happened.
    pub change: Change,
}

/// What happened to a service.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// This instance is new or differs.
    Put(Offer),
    /// The instance of this id is gone.
    Delete(Arc<str>),
    /// What we know of the service no longer holds; ask again.
    Expire,
}

/// A frame that is not a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Plain text: service-center explains why it is about to close the connection.
    #[error("service-center says {0:?}")]
    Refusal(String),
    /// A change that cannot be read: something happened, ask what.
    #[error("a change cannot be read: {0}")]
    Unreadable(String),
}

/// Reads a text frame.
///
/// # Errors
/// See [`FrameError`].
pub fn watch_frame(bytes: &[u8]) -> Result<Frame, FrameError> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(FrameError::Refusal(shown(&String::from_utf8_lossy(bytes))));
    }
    let Object(raw): Object<RawFrame> =
        serde_json::from_slice(bytes).map_err(|e| FrameError::Unreadable(e.to_string()))?;
    let Object(key) = raw.key;
    let change = change(&raw.action, raw.instance.map(|Object(instance)| instance))
        .map_err(|problem| FrameError::Unreadable(shown(&problem)))?;
    Ok(Frame { app: key.app_id, service: key.service_name, change })
}

fn change(action: &str, instance: Option<RawInstance>) -> Result<Change, String> {
    match (action, instance) {
        ("CREATE" | "UPDATE", Some(instance)) => Offer::try_from(instance).map(Change::Put),
        ("DELETE", Some(instance)) => checked_id(&instance.instance_id).map(Change::Delete),
        ("EXPIRE", _) => Ok(Change::Expire),
        ("CREATE" | "UPDATE" | "DELETE", None) => Err(format!("{action} without an instance")),
        _ => Err(format!("unknown action {action:.40?}")),
    }
}

#[derive(Deserialize)]
struct RawFrame {
    action: String,
    key: Object<RawKey>,
    #[serde(default)]
    instance: Option<Object<RawInstance>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKey {
    #[serde(default, deserialize_with = "or_default")]
    app_id: String,
    service_name: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        r#""key":{"tenant":"default/default","appId":"default","serviceName":"l3p","version":"1.0.0"}"#;

    fn read(action: &str, instance: &str) -> Result<Frame, FrameError> {
        watch_frame(format!(r#"{{"action":"{action}",{KEY}{instance}}}"#).as_bytes())
    }

    #[test]
    fn changes_name_their_service_and_instance() {
        let instance = r#","instance":{"instanceId":"k1","status":"DOWN","endpoints":["rest://10.0.0.5:1"]}"#;
        for action in ["CREATE", "UPDATE"] {
            let frame = read(action, instance).unwrap();
            assert_eq!((frame.app.as_str(), frame.service.as_str()), ("default", "l3p"));
            assert!(matches!(frame.change, Change::Put(offer) if &*offer.id == "k1"));
        }
        assert_eq!(read("DELETE", instance).unwrap().change, Change::Delete("k1".into()));
    }

    #[test]
    fn expire_needs_no_instance() {
        assert_eq!(read("EXPIRE", "").unwrap().change, Change::Expire);
    }

    #[test]
    fn plain_text_is_a_refusal() {
        let refusal = watch_frame(b"service does not exist").unwrap_err();
        assert_eq!(refusal, FrameError::Refusal("service does not exist".into()));
    }

    #[test]
    fn a_change_that_cannot_be_read_is_told_from_a_refusal() {
        let frames =
            [read("DELETE", ""), read("CREATE", r#","instance":{}"#), read("MERGE", ""), watch_frame(b"{")];
        for frame in frames {
            assert!(matches!(frame, Err(FrameError::Unreadable(_))), "{frame:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = watch_frame(&bytes);
        }
    }
}
