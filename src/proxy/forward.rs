//! Rewrites heads on their way through. Pure.
//!
//! What is sent obeys the sender's grammar (RFC 9112) whatever came in; header lines keep their case, order and
//! repetition. Hop-by-hop lines and those that `Connection` names stay here (RFC 9110 section 7.6.1).

use std::net::{IpAddr, SocketAddr};

use mesher_actors::snapshot::stats::Direction;

use crate::codec::{DateText, Framing, Known, Outgoing, RequestHead, ResponseHead, Target, Version, write};
use crate::handler::context::SourceContext;

/// What mesher adds to a request.
#[derive(Debug)]
pub struct Additions<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// Address of the peer it came from, without port.
    pub peer: IpAddr,
    /// Port that the caller named, for the provider's mesher.
    pub port: Option<u16>,
    /// The service that mesher stands beside.
    pub source: &'a SourceContext,
    /// `https` if it came over TLS, else `http`.
    pub scheme: &'static str,
    /// Whom to name as host if the client names none, which HTTP/1.0 allows it.
    pub upstream: Option<SocketAddr>,
}

/// Appends the request head to send upstream: origin form, with the original authority as `Host`.
pub fn request(out: &mut Vec<u8>, head: &RequestHead, additions: &Additions<'_>) {
    let (target, authority) = match head.target_form() {
        Target::Origin(path) => (path, None),
        Target::Absolute { authority, path, .. } => (path, Some(authority)),
        Target::Authority(authority) => (authority, Some(authority)),
        Target::Asterisk => (&b"*"[..], None),
    };
    let outgoing = additions.direction == Direction::Outgoing;
    let host = authority.or_else(|| head.header(Known::Host));
    write::request_line(out, head.method(), target);
    match (host, additions.upstream) {
        (None, Some(upstream)) => write::header(out, b"Host", upstream.to_string().as_bytes()),
        (host, _) => write::header(out, b"Host", host.unwrap_or_default()),
    }
    let hops_left = hops_left(head);
    let (mut has_host, mut has_proto) = (false, false);
    for header in head.headers() {
        if header.hop_by_hop {
            continue;
        }
        match header.known {
            // Written anew, above or below.
            Known::MaxForwards if hops_left.is_some() => continue,
            Known::Host | Known::XForwardedFor | Known::TransferEncoding | Known::ContentLength => continue,
            Known::XCseContext if outgoing => continue,
            Known::XForwardedPort if outgoing && additions.port.is_some() => continue,
            Known::XForwardedHost => has_host = true,
            Known::XForwardedProto => has_proto = true,
            _ => {}
        }
        write::forwarded(out, &header);
    }
    if let Some(left) = hops_left {
        write::number_header(out, b"Max-Forwards", left.saturating_sub(1));
    }
    forwarded_for(out, head, additions.peer);
    if let Some(host) = host.filter(|_| !has_host) {
        write::header(out, b"X-Forwarded-Host", host);
    }
    if !has_proto {
        write::header(out, b"X-Forwarded-Proto", additions.scheme.as_bytes());
    }
    if outgoing {
        if let Some(port) = additions.port {
            write::number_header(out, b"X-Forwarded-Port", u64::from(port));
        }
        let context = additions.source.merge(head.header(Known::XCseContext));
        write::header(out, b"X-Cse-Context", &context);
    }
    if let Some(protocol) = offered_upgrade(head) {
        write::header(out, b"Connection", b"upgrade");
        write::header(out, b"Upgrade", protocol);
    }
    write::framing(out, head.framing());
    write::end(out);
}

/// How many hops a TRACE or OPTIONS may still take, if it says so; at zero it is not to be forwarded (RFC 9110 section
/// 7.6.2). More than 64 bits are as good as none.
#[must_use]
pub fn hops_left(head: &RequestHead) -> Option<u64> {
    let digits =
        head.header(Known::MaxForwards).filter(|_| matches!(head.method(), b"TRACE" | b"OPTIONS"))?;
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// The protocol that the client offers to change to, if that is passed on. `h2c` and TLS concern the hop to mesher
/// only and are ignored, which a server may do (RFC 9110 section 7.8).
#[must_use]
pub fn offered_upgrade(head: &RequestHead) -> Option<&[u8]> {
    let protocol = head.header(Known::Upgrade).filter(|_| head.upgrade())?;
    let ours = protocol.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|name| {
        name.eq_ignore_ascii_case(b"h2c")
            || name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"tls"))
    });
    (!ours).then_some(protocol)
}

/// One line with all addresses, the peer's last (the order in which proxies were passed).
fn forwarded_for(out: &mut Vec<u8>, head: &RequestHead, peer: IpAddr) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    for header in head.headers().filter(|header| header.known == Known::XForwardedFor) {
        if !header.value.is_empty() {
            out.extend_from_slice(header.value);
            out.extend_from_slice(b", ");
        }
    }
    write::ip(out, peer);
    out.extend_from_slice(b"\r\n");
}

/// How an answer's body goes on to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The client's version of HTTP.
    pub version: Version,
    /// The connection to the client is kept.
    pub keep_alive: bool,
}

impl Delivery {
    /// The form of a body. One of unknown length needs chunks to be told from a broken one; a client of HTTP/1.0
    /// does not know chunks, so there the end of the connection ends it.
    #[must_use]
    pub fn form(self) -> Outgoing {
        match self.version {
            Version::Http11 => Outgoing::Chunked,
            Version::Http10 => Outgoing::Payload,
        }
    }
}

/// Appends the response head for the client. A message without a body keeps the length it tells (HEAD, 304). One
/// without a date is given one (RFC 9110 section 6.6.1).
pub fn response(out: &mut Vec<u8>, head: &ResponseHead, delivery: Delivery, date: impl FnOnce() -> DateText) {
    write::status_line(out, head.status(), head.reason());
    let framing = delivery.form().framing(head.framing());
    let mut has_date = false;
    for header in head.headers() {
        if header.hop_by_hop {
            continue;
        }
        match header.known {
            Known::TransferEncoding => continue,
            Known::Date => has_date = true,
            Known::ContentLength if framing != Framing::None => continue,
            _ => {}
        }
        write::forwarded(out, &header);
    }
    if !has_date {
        write::header(out, b"Date", &date());
    }
    write::framing(out, framing);
    match (delivery.keep_alive, delivery.version) {
        (false, _) => write::header(out, b"Connection", b"close"),
        (true, Version::Http10) => write::header(out, b"Connection", b"keep-alive"),
        (true, Version::Http11) => {}
    }
    write::end(out);
}

/// Appends an interim (1xx) response head for the client.
pub fn interim(out: &mut Vec<u8>, head: &ResponseHead) {
    unframed(out, head);
    write::end(out);
}

/// Appends the response head that changes the protocol (101).
pub fn switching(out: &mut Vec<u8>, head: &ResponseHead) {
    unframed(out, head);
    write::header(out, b"Connection", b"upgrade");
    write::header(out, b"Upgrade", head.header(Known::Upgrade).unwrap_or_default());
    write::end(out);
}

fn unframed(out: &mut Vec<u8>, head: &ResponseHead) {
    write::status_line(out, head.status(), head.reason());
    for header in head.headers() {
        let framing = matches!(header.known, Known::TransferEncoding | Known::ContentLength);
        if !framing && !header.hop_by_hop {
            write::forwarded(out, &header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Limits, Parse};

    fn forwarded(request: &str) -> (Option<u64>, String) {
        let mut head = RequestHead::new();
        head.buffer().extend_from_slice(request.as_bytes());
        assert_eq!(head.parse(&Limits::default()), Ok(Parse::Complete));
        let source = SourceContext::new("caller");
        let upstream = Some(([127, 0, 0, 1], 8080).into());
        let direction = Direction::Incoming;
        let additions = Additions {
            direction,
            peer: [10, 0, 0, 1].into(),
            port: None,
            source: &source,
            upstream,
            scheme: "http",
        };
        let mut out = Vec::new();
        super::request(&mut out, &head, &additions);
        (hops_left(&head), String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_request_that_names_no_host_is_given_that_of_the_upstream() {
        let (_, text) = forwarded("GET / HTTP/1.0\r\n\r\n");
        assert!(text.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"), "{text}");
        assert!(!text.contains("X-Forwarded-Host"), "the client named none: {text}");
    }

    #[test]
    fn hops_are_counted_where_a_request_asks_for_it() {
        let options = |value: &str| {
            forwarded(&format!("OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: {value}\r\n\r\n"))
        };
        let (left, text) = options("7");
        assert!(left == Some(7) && text.contains("\r\nMax-Forwards: 6\r\n"), "{text}");
        assert_eq!(options("0").0, Some(0));
        for unread in ["-1", "x", "99999999999999999999"] {
            let (left, text) = options(unread);
            assert!(left.is_none() && text.contains(&format!("\r\nMax-Forwards: {unread}\r\n")), "{text}");
        }
        let (left, text) = forwarded("GET / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
        assert!(left.is_none() && text.contains("\r\nMax-Forwards: 0\r\n"), "no matter of ours: {text}");
    }
}
