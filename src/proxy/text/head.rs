//! Request heads from text to fields and from fields to text. Pure.

use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use crate::codec::{Framing, Known, RequestHead, Target, write};

/// A request that came as text, as HTTP/2 has it: without what concerns the connection or frames the body. `authority` is
/// its host.
///
/// # Errors
/// What of it cannot be said in HTTP/2.
pub(in crate::proxy) fn request_of(head: &RequestHead, authority: &[u8]) -> Result<Parts, &'static str> {
    let path = match head.target_form() {
        Target::Origin(path) | Target::Absolute { path, .. } => path,
        Target::Asterisk => b"*",
        Target::Authority(_) => return Err("CONNECT is no request to send on"),
    };
    let method = Method::from_bytes(head.method()).map_err(|_| "method that HTTP/2 cannot carry")?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority.try_into().map_err(|_| "host that HTTP/2 cannot carry")?);
    uri.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| "target that HTTP/2 cannot carry")?);
    let uri = Uri::from_parts(uri).map_err(|_| "target that HTTP/2 cannot carry")?;
    let mut parts = Request::new(()).into_parts().0;
    (parts.method, parts.uri, parts.version) = (method, uri, Version::HTTP_2);
    for header in head.headers().filter(|header| !header.hop_by_hop) {
        match header.known {
            Known::Host | Known::TransferEncoding => continue,
            Known::ContentLength if head.framing() == Framing::Chunked => continue,
            _ => {}
        }
        let name = HeaderName::from_bytes(header.name).map_err(|_| "header that HTTP/2 cannot carry")?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| "header that HTTP/2 cannot carry")?;
        parts.headers.append(name, value);
    }
    Ok(parts)
}

/// Appends the text of a head that came as fields, and judged. `has_body`: the stream did not end with it. Returns the
/// framing that it declares.
pub(in crate::proxy) fn write_request(out: &mut Vec<u8>, parts: &Parts, has_body: bool) -> Framing {
    let method = parts.method.as_str().as_bytes();
    write::request_line(out, method, parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).as_bytes());
    let host = parts.uri.authority().map_or("", http::uri::Authority::as_str);
    write::header(out, b"Host", host.as_bytes());
    let mut crumbs = Vec::new();
    for (name, value) in &parts.headers {
        match *name {
            header::CONTENT_LENGTH | header::HOST => {}
            // Joined, an empty one would leave blanks at an end of the value.
            header::COOKIE if value.is_empty() => {}
            header::COOKIE => crumbs.push(value.as_bytes()),
            // RFC 9110 section 10.1.4: it concerns the next hop, which is to be told so.
            header::TE => {
                write::header(out, b"TE", value.as_bytes());
                write::header(out, b"Connection", b"TE");
            }
            _ => write::header(out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if !crumbs.is_empty() {
        // RFC 9113 section 8.2.3: HTTP/2 may send a cookie in crumbs, HTTP/1 may not.
        write::header(out, b"cookie", &crumbs.join(&b"; "[..]));
    }
    let framing = framing(parts, has_body);
    write::framing(out, framing);
    write::end(out);
    framing
}

fn framing(parts: &Parts, has_body: bool) -> Framing {
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse().ok());
    match (has_body, declared) {
        (true, Some(length)) => Framing::Length(length),
        (true, None) => Framing::Chunked,
        (false, Some(_)) => Framing::Length(0),
        // RFC 9110 section 8.6: a method that usually has a body says that there is none.
        (false, None) if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) => {
            Framing::Length(0)
        }
        (false, None) => Framing::None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{Limits, Parse};

    fn text_of(request: http::request::Builder, has_body: bool) -> (Framing, String) {
        let mut out = Vec::new();
        let framing = write_request(&mut out, &request.body(()).unwrap().into_parts().0, has_body);
        (framing, String::from_utf8(out).unwrap())
    }

    fn parts_of(text: &str) -> Parts {
        let mut head = RequestHead::new();
        head.buffer().extend_from_slice(text.as_bytes());
        assert_eq!(head.parse(&Limits::default()), Ok(Parse::Complete));
        request_of(&head, head.authority().unwrap()).unwrap()
    }

    #[test]
    fn fields_become_a_text_head() {
        let request = Request::post("http://orders:80/a?b").header("cookie", "a=1").header("x-y", "z");
        let (framing, text) = text_of(request.header("cookie", "b=2"), true);
        assert_eq!(framing, Framing::Chunked);
        assert_eq!(
            text,
            "POST /a?b HTTP/1.1\r\nHost: orders:80\r\nx-y: z\r\ncookie: a=1; b=2\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn a_body_has_the_length_that_was_declared() {
        let with = |method: &str, length: Option<&str>, has_body| {
            let mut request = Request::builder().method(method).uri("http://a/");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            text_of(request, has_body).0
        };
        assert_eq!(with("PUT", Some("5"), true), Framing::Length(5));
        assert_eq!(with("PUT", None, false), Framing::Length(0));
        assert_eq!(with("GET", None, false), Framing::None);
        assert_eq!(with("GET", Some("0"), false), Framing::Length(0));
        assert_eq!(with("GET", None, true), Framing::Chunked);
    }

    #[test]
    fn the_next_hop_is_told_that_trailers_are_welcome() {
        let (_, text) = text_of(Request::get("http://a/").header("te", "trailers"), false);
        assert!(text.contains("TE: trailers\r\nConnection: TE\r\n"), "{text}");
    }

    #[test]
    fn a_text_head_becomes_fields() {
        let text = "POST http://orders/a HTTP/1.1\r\nHost: x\r\nX-Y: z\r\nConnection: X-Z\r\nX-Z: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let parts = parts_of(text);
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "http://orders/a"));
        let fields: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(fields, [("x-y", "z")]);
    }
}
