//! `host[:port]` as it stands in a `Host` field or a request target (RFC 3986 §3.2, RFC 9110 §7.2).

use std::net::Ipv6Addr;

use super::bytes;
use super::reject::Fault;

/// A host and maybe a port. Stricter than the generic URI grammar, where that leaves room for two readings: no user
/// information, no comma, no percent-encoding, no empty host, no empty port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'b> {
    /// A name, an IPv4 address, or an IPv6 address in its brackets, as it was written.
    pub host: &'b [u8],
    /// 1 to 65535, if one was written.
    pub port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Reads a whole authority. The error says in words what is wrong.
    pub fn parse(text: &'b [u8]) -> Result<Self, &'static str> {
        Self::read(text).map_err(|fault| fault.why)
    }

    pub(super) fn read(text: &'b [u8]) -> Result<Self, Fault> {
        if let Some(at) = memchr::memchr(b'@', text) {
            return Err(Fault::new("user information before the host", at));
        }
        let end = if text.first() == Some(&b'[') { literal_end(text)? } else { name_end(text)? };
        let (host, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits).map_err(|why| Fault::new(why, end))?),
            _ => return Err(Fault::new("byte that no host may have", end)),
        };
        Ok(Authority { host, port })
    }
}

/// End of `[IPv6]`, brackets included.
fn literal_end(text: &[u8]) -> Result<usize, Fault> {
    let close = memchr::memchr(b']', text).ok_or(Fault::new("IPv6 address without closing bracket", 0))?;
    let inner = text.get(1..close).unwrap_or_default();
    match std::str::from_utf8(inner).ok().and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        Some(_) => Ok(close.saturating_add(1)),
        None => Err(Fault::new("brackets around something that is no IPv6 address", 0)),
    }
}

fn name_end(text: &[u8]) -> Result<usize, Fault> {
    let end = text.iter().position(|&byte| !bytes::is_host(byte)).unwrap_or(text.len());
    match (end, text.get(end)) {
        (_, Some(b',')) => Err(Fault::new("more than one host", end)),
        (_, Some(b'%')) => Err(Fault::new("percent-encoding in a host", end)),
        (0, _) => Err(Fault::new("empty host", 0)),
        (end, _) => Ok(end),
    }
}

fn port(digits: &[u8]) -> Result<u16, &'static str> {
    match digits {
        [] => Err("colon without a port"),
        _ if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) => {
            Err("port is no number up to 65535")
        }
        _ => match digits.iter().fold(0u32, |n, &d| n.wrapping_mul(10).wrapping_add(u32::from(d & 15))) {
            n @ 1..=65535 => u16::try_from(n).map_err(|_| "port is no number up to 65535"),
            _ => Err("port is no number up to 65535"),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn good(text: &str, host: &str, port: Option<u16>) {
        assert_eq!(
            Authority::parse(text.as_bytes()),
            Ok(Authority { host: host.as_bytes(), port }),
            "{text}"
        );
    }

    fn bad(text: &str, why: &str) {
        assert!(Authority::parse(text.as_bytes()).unwrap_err().contains(why), "{text}");
    }

    #[test]
    fn names_addresses_and_ports_are_read() {
        good("RESTServer", "RESTServer", None);
        good("svc_a.default:8080", "svc_a.default", Some(8080));
        good("127.0.0.1:1", "127.0.0.1", Some(1));
        good("[::1]", "[::1]", None);
        good("[fe80::1]:65535", "[fe80::1]", Some(65535));
        good("0.0.0.0=5000", "0.0.0.0=5000", None);
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        bad("", "empty host");
        bad(":80", "empty host");
        bad("user@localhost", "user information");
        bad("user:secret@localhost", "user information");
        bad("a, b", "more than one host");
        bad("a%2eb", "percent");
        bad("a/b", "byte that no host");
        bad("a b", "byte that no host");
        bad("caf\u{e9}", "byte that no host");
        bad("a:", "without a port");
        bad("a:0", "65535");
        bad("a:65536", "65535");
        bad("a:000080", "65535");
        bad("a:+80", "65535");
        bad("a:80:80", "65535");
        bad("[::1", "closing bracket");
        bad("[::1]80", "byte that no host");
        bad("[1.2.3.4]", "no IPv6");
        bad("[fe80::1%25eth0]", "no IPv6");
        bad("[v1.x]", "no IPv6");
    }
}
