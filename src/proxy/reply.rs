//! Writes the answers that mesher makes up itself. Pure.
//!
//! Every one says its cause in three ways: the status, `x-mesher-error: FLAG; sentence` for programs and logs, and
//! a body for whoever reads it, as RFC 9457 problem details if the request's `Accept` asks for JSON.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mesher_actors::snapshot::Failure;
use serde_json::json;

use super::grpc;
use crate::codec::{self, DateText, reason, write};
use crate::handler::Reply;

/// Name of the header that carries the cause.
pub const ERROR_HEADER: &str = "x-mesher-error";

/// What the request says about the form of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// `HEAD`: no body, though its length is told.
    pub head: bool,
    /// `Accept` names JSON.
    pub json: bool,
    /// The connection ends after this answer.
    pub close: bool,
}

/// Does this `Accept` value ask for JSON rather than text?
#[must_use]
pub fn accepts_json(accept: &[u8]) -> bool {
    memchr::memmem::find(accept, b"json").is_some()
}

/// What a reply says, however it is sent.
struct Words {
    /// Value of [`ERROR_HEADER`].
    cause: String,
    body: String,
    content_type: &'static str,
}

impl Words {
    fn of(reply: &Reply, json: bool) -> Self {
        let face = reply.failure.face();
        let detail = printable(&reply.detail);
        let cause = format!("{}; {detail}", face.flag);
        if json {
            let problem =
                json!({ "title": face.name, "status": reply.status, "detail": detail, "flag": face.flag });
            return Self { cause, body: format!("{problem}\n"), content_type: "application/problem+json" };
        }
        Self { cause, body: format!("{detail}\n"), content_type: "text/plain; charset=utf-8" }
    }
}

/// A whole response for HTTP/2: head and body.
#[must_use]
pub fn message(reply: &Reply, wanted: Wanted) -> (Response<()>, Bytes) {
    let Words { cause, body, content_type } = Words::of(reply, wanted.json);
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let fields = head.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CONTENT_LENGTH, body.len().into());
    fields.insert(ERROR_HEADER, value(&cause));
    if reply.failure == Failure::Overloaded {
        fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    (head, if wanted.head { Bytes::new() } else { body.into() })
}

/// The status of a call of gRPC that is answered so. A head beyond a bound is malformed to HTTP and too much to gRPC.
#[must_use]
pub fn grpc_status(reply: &Reply) -> u8 {
    let failure = match reply.status {
        413 | 414 | 431 => Failure::Overloaded,
        _ => reply.failure,
    };
    failure.face().grpc
}

/// The head, and nothing behind it, of a response to a call of gRPC ("Responses", `Trailers-Only`).
#[must_use]
pub fn trailers_only(reply: &Reply) -> Response<()> {
    let mut head = Response::new(());
    *head.headers_mut() = trailers(reply);
    head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head
}

/// The trailers of a response to a call of gRPC that had begun and goes no further ("Responses", `Trailers`).
#[must_use]
pub fn trailers(reply: &Reply) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(&grpc::STATUS, u16::from(grpc_status(reply)).into());
    fields.insert(&grpc::MESSAGE, value(&codec::grpc::message(&reply.detail)));
    fields.insert(ERROR_HEADER, value(&Words::of(reply, false).cause));
    fields
}

/// Printable text is always a value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Appends a whole response to `out`.
pub fn render(out: &mut Vec<u8>, reply: &Reply, wanted: Wanted, date: &DateText) {
    let Words { cause, body, content_type } = Words::of(reply, wanted.json);
    write::status_line(out, reply.status, reason(reply.status).as_bytes());
    write::header(out, b"Date", date);
    write::header(out, b"Content-Type", content_type.as_bytes());
    write::number_header(out, b"Content-Length", body.len() as u64);
    write::header(out, ERROR_HEADER.as_bytes(), cause.as_bytes());
    if reply.failure == Failure::Overloaded {
        write::header(out, b"Retry-After", b"1");
    }
    if wanted.close {
        write::header(out, b"Connection", b"close");
    }
    write::end(out);
    if !wanted.head {
        out.extend_from_slice(body.as_bytes());
    }
}

/// What comes from the wire or a registry may stand in `detail`; only printable ASCII leaves in a header.
fn printable(detail: &str) -> String {
    detail.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::imf_fixdate;

    fn rendered(reply: &Reply, wanted: Wanted) -> String {
        let mut out = Vec::new();
        render(&mut out, reply, wanted, &imf_fixdate(0));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_names_its_cause_in_status_header_and_body() {
        let reply = Reply::new(Failure::NoHealthyInstance, "no usable instance of \"orders\"");
        let text = rendered(&reply, Wanted::default());
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        assert!(text.contains("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "{text}");
        assert!(text.contains("\r\nx-mesher-error: UH; no usable instance of \"orders\"\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nno usable instance of \"orders\"\n"), "{text}");
    }

    #[test]
    fn a_client_that_reads_json_gets_problem_details() {
        assert!(accepts_json(b"text/html, application/json;q=0.9"));
        let reply = Reply::new(Failure::UnknownService, "no such service");
        let text = rendered(&reply, Wanted { json: true, ..Wanted::default() });
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["status"], &problem["flag"]), (&json!(503), &json!("NC")));
        assert!(text.contains("Content-Type: application/problem+json\r\n"));
    }

    #[test]
    fn a_head_request_gets_the_length_and_no_body() {
        let reply = Reply::new(Failure::NoRoute, "nowhere");
        let text = rendered(&reply, Wanted { head: true, close: true, ..Wanted::default() });
        assert!(text.contains("Content-Length: 8\r\n") && text.contains("Connection: close\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_call_of_grpc_is_answered_by_trailers_only() {
        let head = trailers_only(&Reply::new(Failure::UnknownService, "no service \"caf\u{e9}\""));
        let field = |name| head.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!((head.status(), field("content-type")), (StatusCode::OK, "application/grpc"));
        assert_eq!(field("grpc-status"), "14");
        assert_eq!(field("grpc-message"), "no service \"caf%C3%A9\"");
        assert_eq!(field(ERROR_HEADER), "NC; no service \"caf?\"");
    }

    #[test]
    fn the_same_is_said_on_a_stream_as_in_text() {
        let reply = Reply::new(Failure::Overloaded, "too much");
        let (head, body) = message(&reply, Wanted::default());
        assert_eq!((head.status().as_u16(), &*body), (503, &b"too much\n"[..]));
        assert_eq!(head.headers().get("retry-after").unwrap(), "1");
        assert_eq!(head.headers().get(ERROR_HEADER).unwrap(), "OM; too much");
        let (head, body) = message(&reply, Wanted { head: true, ..Wanted::default() });
        assert!(body.is_empty() && head.headers().get("content-length").unwrap() == "9");
    }

    #[test]
    fn nothing_from_outside_can_start_a_new_header() {
        let reply = Reply::new(Failure::NoRoute, "a\r\nSet-Cookie: x=1\u{e9}");
        assert!(rendered(&reply, Wanted::default()).contains("NR; a??Set-Cookie: x=1?\r\n"));
    }
}
