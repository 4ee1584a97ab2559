//! Requests that come as HTTP/2 and go on as text, and the other way round, over arbitrary fields and heads.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, uri};
use mesher_actors::snapshot::stats::Direction;

use crate::codec::{Framing, Limits, Parse, RequestHead};
use crate::handler::context::SourceContext;
use crate::proxy::message::{self, Marks};
use crate::proxy::text::{request_of, write_request};

/// Between two fields of the input, and between a name and its value: bytes that no field may have.
const BETWEEN: [u8; 2] = [0x1e, 0x1f];
/// Host of a request that names none.
const UPSTREAM: &str = "10.0.0.9:8080";
/// What is written may have the fields that mesher adds on top of as many as a client may send.
const WRITTEN: Limits = Limits { request_line: 16 << 10, head_bytes: 1 << 20, headers: 160 };

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Arbitrary fields as the head of a request on a stream; the first byte says whether a body follows and which way the
/// request goes. What is accepted is written as one text head that our own strict reader and httparse both read back with
/// the same method, target, fields and framing; the rest is refused.
pub fn fuzz_request_fields(data: &[u8]) {
    let [flags, data @ ..] = data else { return };
    let has_body = flags & 1 != 0;
    let direction = if flags & 2 != 0 { Direction::Outgoing } else { Direction::Incoming };
    let Some(mut parts) = parts_of(data) else { return };
    let Ok(traits) = message::judge(&mut parts, &Limits::default(), has_body) else { return };
    if parts.method == Method::CONNECT {
        return;
    }
    message::name_host(&mut parts, UPSTREAM);
    let (peer, alone) = (HeaderValue::from_static("10.0.0.1"), HeaderValue::from_static("{}"));
    let source = SourceContext::new("caller");
    let (scheme, port) = ("http", Some(8080));
    let marks = Marks { direction, peer: &peer, scheme, port, source: &source, source_alone: &alone };
    message::prepare(&mut parts, traits, &marks);
    let mut text = Vec::new();
    let framing = write_request(&mut text, &parts, has_body);
    let expected = expected(&parts, framing);
    reads_back(&text, &parts, framing, &expected);
    httparse_reads_back(&text, &parts, &expected);
}

/// Arbitrary bytes as the head of a request in text. What is accepted and can be said in HTTP/2 is accepted there too, and
/// has the same method and path.
pub fn fuzz_request_translation(data: &[u8]) {
    let mut head = RequestHead::new();
    head.buffer().extend_from_slice(data);
    if head.parse(&Limits::default()) != Ok(Parse::Complete) {
        return;
    }
    let authority = head.authority().unwrap_or(UPSTREAM.as_bytes());
    let Ok(mut parts) = request_of(&head, authority) else { return };
    assert_eq!(parts.method.as_str().as_bytes(), head.method());
    let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes();
    assert_eq!(path.escape_ascii().to_string(), path_of(&head).escape_ascii().to_string());
    let judged = message::judge(&mut parts, &WRITTEN, head.framing().has_content());
    assert!(judged.is_ok(), "not accepted as HTTP/2: {:?}", judged.err().map(|reply| reply.detail));
}

/// What a target asks for: its part behind the authority, or all of the server (RFC 9112 section 3.2).
fn path_of(head: &RequestHead) -> &[u8] {
    let target = head.target();
    if target.starts_with(b"/") || target == b"*" {
        return target;
    }
    let authority = memchr::memmem::find(target, b"://").expect("a URI") + 3;
    match target[authority..].iter().position(|byte| *byte == b'/') {
        Some(at) => &target[authority + at..],
        None if head.method() == b"OPTIONS" => b"*",
        None => b"/",
    }
}

/// A head as a stream delivers it: method, authority and path, then names and values. None for what the HTTP/2 layer below
/// refuses by itself.
fn parts_of(data: &[u8]) -> Option<Parts> {
    let mut texts = data.split(|byte| *byte == BETWEEN[0]);
    let (method, authority, path) = (texts.next()?, texts.next()?, texts.next()?);
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(method).ok()?;
    let mut uri = uri::Parts::default();
    if !authority.is_empty() {
        uri.authority = Some(uri::Authority::try_from(authority).ok()?);
        uri.scheme = Some(uri::Scheme::HTTP);
    }
    uri.path_and_query = Some(PathAndQuery::try_from(path).ok().filter(|_| !path.is_empty())?);
    parts.uri = Uri::from_parts(uri).ok()?;
    for field in texts {
        let at = field.iter().position(|byte| *byte == BETWEEN[1])?;
        let name = HeaderName::from_lowercase(&field[..at]).ok()?;
        let value = HeaderValue::from_bytes(&field[at + 1..]).ok()?;
        if !passes_below(&name, &value) {
            return None;
        }
        parts.headers.append(name, value);
    }
    Some(parts)
}

/// RFC 9113 sections 8.1.1 and 8.2.2, which the HTTP/2 layer holds its peers to.
fn passes_below(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => false,
        header::TE => value == "trailers",
        header::CONTENT_LENGTH => value.to_str().is_ok_and(|length| {
            length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<i64>().is_ok()
        }),
        _ => name.as_str() != "keep-alive" && name.as_str() != "proxy-connection",
    }
}

/// The fields of the text, names in lower case, sorted: which order fields of different names have means nothing.
fn expected(parts: &Parts, framing: Framing) -> Fields {
    let host = parts.uri.authority().expect("every request has a host by now").as_str();
    let mut fields: Fields = vec![(b"host".to_vec(), host.into())];
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        match *name {
            header::CONTENT_LENGTH => continue,
            header::COOKIE if value.is_empty() => continue,
            header::COOKIE => {
                cookies.push(value.as_bytes());
                continue;
            }
            header::TE => fields.push((b"connection".into(), b"TE".into())),
            _ => {}
        }
        fields.push((name.as_str().into(), value.as_bytes().into()));
    }
    if !cookies.is_empty() {
        fields.push((b"cookie".into(), cookies.join(&b"; "[..])));
    }
    match framing {
        Framing::Length(length) => fields.push((b"content-length".into(), length.to_string().into())),
        Framing::Chunked => fields.push((b"transfer-encoding".into(), b"chunked".into())),
        Framing::None | Framing::UntilClose => {}
    }
    sorted(fields)
}

fn sorted(mut fields: Fields) -> Fields {
    for (name, _) in &mut fields {
        name.make_ascii_lowercase();
    }
    // Stable: values of one name keep their order.
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields
}

fn path(parts: &Parts) -> &str {
    parts.uri.path_and_query().expect("every request has a path").as_str()
}

fn reads_back(text: &[u8], parts: &Parts, framing: Framing, expected: &Fields) {
    let mut head = RequestHead::new();
    head.buffer().extend_from_slice(text);
    assert_eq!(head.parse(&WRITTEN), Ok(Parse::Complete), "refused: {}", text.escape_ascii());
    assert_eq!(head.end(), text.len(), "more than a head: {}", text.escape_ascii());
    assert_eq!(head.method(), parts.method.as_str().as_bytes());
    assert_eq!(head.target(), path(parts).as_bytes());
    assert_eq!(head.framing(), framing);
    let fields = head.headers().map(|header| (header.name.to_vec(), header.value.to_vec()));
    assert_eq!(&sorted(fields.collect()), expected);
}

fn httparse_reads_back(text: &[u8], parts: &Parts, expected: &Fields) {
    let mut headers = [httparse::EMPTY_HEADER; 160];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(text), Ok(httparse::Status::Complete(text.len())), "{}", text.escape_ascii());
    assert_eq!((request.method, request.path), (Some(parts.method.as_str()), Some(path(parts))));
    let fields = request.headers.iter().map(|header| (header.name.into(), header.value.into()));
    assert_eq!(&sorted(fields.collect()), expected);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fuzzing::seeds::replay;

    #[test]
    fn the_seeds_of_request_fields_hold() {
        replay("request_fields", fuzz_request_fields);
    }

    #[test]
    fn the_seeds_of_request_heads_hold_when_they_go_on_as_http2() {
        replay("request_head", fuzz_request_translation);
        replay("request_translation", fuzz_request_translation);
    }

    #[test]
    fn a_request_is_written_and_read_back() {
        let data = b"\x01POST\x1eorders:80\x1e/a?b\x1ecookie\x1fa=1\x1ecookie\x1fb=2\x1ete\x1ftrailers";
        assert!(parts_of(&data[1..]).is_some(), "the property looks at nothing");
        fuzz_request_fields(data);
    }
}
