//! Service-center's error answers: `{"errorCode":"400012","errorMessage":"…","detail":"…"}`.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::id::shown;
use super::lenient::or_default;
use crate::registry::object::Object;

/// A code of service-center; the first three digits are the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

/// What service-center says when it refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorAnswer {
    /// Its code.
    pub code: Code,
    /// Its explanation, one line.
    pub text: String,
}

impl Code {
    /// A parameter breaks a rule.
    pub const INVALID: Self = Self(400_001);
    /// No such service. Said of a provider and of the consumer that asks.
    pub const NO_SERVICE: Self = Self(400_012);
    /// No such instance.
    pub const NO_INSTANCE: Self = Self(400_017);
    /// The service is known, but not in this version.
    pub const NO_VERSION: Self = Self(400_026);

    /// Whether the fault is on service-center's side: another address or a later try may help.
    #[must_use]
    pub const fn server_fault(self) -> bool {
        self.0 >= 500_000
    }

    /// Whether it does not let us in.
    #[must_use]
    pub const fn denies_us(self) -> bool {
        matches!(self.0 / 1000, 401 | 403)
    }
}

impl ErrorAnswer {
    /// Whether a find failed for want of the provider, and not because our own service is unknown. Both have the
    /// code [`Code::NO_SERVICE`]; only the text differs, so anything but the known words is left in doubt.
    #[must_use]
    pub fn names_provider(&self) -> bool {
        self.text.contains("find provider[")
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code.0)
    }
}

/// Reads the body of an error answer; nothing if it is not one of service-center's.
#[must_use]
pub fn error_answer(body: &[u8]) -> Option<ErrorAnswer> {
    serde_json::from_slice(body).ok().map(|Object::<RawError>(error)| error.into())
}

/// As it is on the wire.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawError {
    #[serde(deserialize_with = "code")]
    error_code: u32,
    #[serde(default, deserialize_with = "or_default")]
    error_message: String,
    #[serde(default, deserialize_with = "or_default")]
    detail: String,
}

impl From<RawError> for ErrorAnswer {
    fn from(raw: RawError) -> Self {
        let text = match (raw.error_message.as_str(), raw.detail.as_str()) {
            (message, "") => shown(message),
            ("", detail) => shown(detail),
            (message, detail) if detail.starts_with(message) => shown(detail),
            (message, detail) => shown(&format!("{message}: {detail}")),
        };
        Self { code: Code(raw.error_code), text }
    }
}

/// A string in every version seen, a number by the published interface description.
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let code = match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
        _ => None,
    };
    let code = code.filter(|code| (400_000..600_000).contains(code));
    code.ok_or_else(|| serde::de::Error::custom("errorCode is no code of service-center"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_code_may_be_a_text_or_a_number() {
        for code in ["\"400012\"", "400012"] {
            let body = format!("{{\"errorCode\":{code},\"errorMessage\":\"Micro-service does not exist\"}}");
            let answer = error_answer(body.as_bytes()).unwrap();
            assert_eq!(answer.code, Code::NO_SERVICE);
            assert_eq!(answer.to_string(), "Micro-service does not exist (400012)");
        }
    }

    #[test]
    fn what_is_no_error_answer_is_nothing() {
        for body in ["", "404 page not found", "{}", "{\"errorCode\":\"x\"}", "{\"errorCode\":-1}", "[1]"] {
            assert_eq!(error_answer(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn the_detail_tells_a_missing_provider_from_a_missing_consumer() {
        let names_provider = |detail: &str| {
            let body = serde_json::json!({"errorCode": "400012", "errorMessage": "m", "detail": detail});
            error_answer(body.to_string().as_bytes()).unwrap().names_provider()
        };
        assert!(names_provider(
            "m(Consumer[45][/default/r8c/1.0.0] find provider[/default/nobody] failed, …)"
        ));
        assert!(!names_provider("m(Consumer[deadbeef] does not exist.)"));
    }
}
