//! Where a request wants to go, read from its target and `Host`; Mesher's rules.
//!
//! On the way out the host part of the authority is the service's name and the port part, if there is one, is told
//! to the provider's mesher in `X-Forwarded-Port`. On the way in the port decides which local port is meant.

use std::net::{IpAddr, SocketAddr};

use mesher_actors::snapshot::{Failure, Protocol};

use super::Reply;

/// Longest service name, as service-center has it.
pub const SERVICE_NAME_MAX: usize = 128;

/// A service and perhaps a port of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination<'a> {
    /// Name of the service.
    pub service: &'a str,
    /// Port that the caller named.
    pub port: Option<u16>,
}

/// Reads the authority of a request that the local service sends out. `own` is the address it arrived at.
///
/// # Errors
/// The reply to give if the authority is missing, names no service, or is mesher's own address.
pub fn outgoing(authority: Option<&[u8]>, own: SocketAddr) -> Result<Destination<'_>, Reply> {
    let Some(authority) = authority.filter(|authority| !authority.is_empty()) else {
        return Err(bad(
            "the request names no service: set http_proxy to mesher's address and call http://serviceName/path",
        ));
    };
    let (host, port) = split(authority);
    let Ok(service) = std::str::from_utf8(host) else { return Err(not_a_name()) };
    if is_own(service, port, own) {
        return Err(bad(
            "this is mesher's own address: set http_proxy to it and call http://serviceName/path",
        ));
    }
    let port = match port {
        None | Some(b"") => None,
        Some(digits) => {
            Some(number(digits).ok_or_else(|| bad("the port in the request's authority is not a port"))?)
        }
    };
    if service.is_empty() || service.len() > SERVICE_NAME_MAX || !service.bytes().all(is_name_byte) {
        return Err(not_a_name());
    }
    Ok(Destination { service, port })
}

/// A port of the local service and what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalPort {
    /// Number.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// Which local ports requests from outside may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPorts {
    /// Ports of `--service-ports`, the first of each protocol its default; empty if none are configured.
    pub configured: Vec<LocalPort>,
    /// Ports that mesher itself listens on: never a service's.
    pub own: Vec<u16>,
}

impl LocalPorts {
    /// The local port that a request from outside is for, by its `X-Forwarded-Port`, the protocol that its listener is
    /// for, and whether it is a call of gRPC, which is never sent as HTTP/1.
    ///
    /// Where service ports are configured, the header may name only one of them: anything else would let any peer
    /// reach any port of the loopback interface. Where none are, it is followed as Mesher's manual says, but never
    /// to a port of mesher itself.
    ///
    /// # Errors
    /// The reply to give if no port is known or the one named is out of bounds.
    pub fn resolve(
        &self,
        forwarded: Option<&[u8]>,
        listener: Protocol,
        is_grpc: bool,
    ) -> Result<LocalPort, Reply> {
        let wanted = if is_grpc { Protocol::Grpc } else { listener };
        let Some(digits) = forwarded.filter(|digits| !digits.is_empty()) else {
            return self.default_port(wanted, is_grpc);
        };
        let port = number(digits).ok_or_else(|| bad("X-Forwarded-Port is not a port"))?;
        if self.configured.is_empty() {
            if port != 0 && !self.own.contains(&port) {
                return Ok(LocalPort { port, protocol: wanted });
            }
            let detail = format!("X-Forwarded-Port {port} is no port of a local service");
            return Err(Reply::new(Failure::NoRoute, detail));
        }
        let named = || self.configured.iter().filter(|known| known.port == port);
        match named().find(|known| known.protocol == wanted).or_else(|| named().next()) {
            Some(_) if is_grpc => Ok(LocalPort { port, protocol: Protocol::Grpc }),
            Some(known) => Ok(*known),
            None => Err(Reply::new(
                Failure::NoRoute,
                format!(
                    "X-Forwarded-Port {port} is not one of the service ports (--service-ports or SERVICE_PORTS)"
                ),
            )),
        }
    }

    fn default_port(&self, wanted: Protocol, is_grpc: bool) -> Result<LocalPort, Reply> {
        let fitting = self.configured.iter().find(|known| known.protocol == wanted);
        let any = self.configured.first().filter(|_| !is_grpc);
        fitting.or(any).copied().ok_or_else(|| {
            let why = if is_grpc {
                "the local service's port for gRPC is not known: start mesher with --service-ports=grpc:PORT or SERVICE_PORTS"
            } else {
                "the local service's port is not known: start mesher with --service-ports=rest:PORT or SERVICE_PORTS"
            };
            Reply::new(Failure::NoRoute, why)
        })
    }
}

fn bad(detail: &'static str) -> Reply {
    Reply::new(Failure::ClientProtocolError, detail)
}

fn not_a_name() -> Reply {
    bad(
        "the host in the request's target is not a service name (letters, digits, '-', '_', '.'; 128 at most)",
    )
}

/// service-center's alphabet for names.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Host and port of `host[:port]`; an IPv6 literal keeps its brackets.
fn split(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memrchr(b':', authority) {
        Some(colon) if !authority.ends_with(b"]") => {
            let (host, port) = authority.split_at(colon);
            (host, port.get(1..))
        }
        _ => (authority, None),
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    u16::try_from(value).ok()
}

fn is_own(host: &str, port: Option<&[u8]>, own: SocketAddr) -> bool {
    // Nearly all requests name a service: what the port tells, or the first byte, is not asked of the rest.
    if port.and_then(number).unwrap_or(80) != own.port() {
        return false;
    }
    let may_be_address = host.starts_with(|first: char| first == '[' || first.is_ascii_digit());
    let is_local = |ip: IpAddr| ip == own.ip() || ip.is_loopback();
    host.eq_ignore_ascii_case("localhost")
        || may_be_address && host.trim_matches(['[', ']']).parse().is_ok_and(is_local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own() -> SocketAddr {
        ([127, 0, 0, 1], 30101).into()
    }

    #[test]
    fn the_host_is_the_service_and_the_port_is_passed_on() {
        let read = |authority: &'static str| outgoing(Some(authority.as_bytes()), own());
        assert_eq!(
            read("RESTServer:8083").ok(),
            Some(Destination { service: "RESTServer", port: Some(8083) })
        );
        assert_eq!(read("order.v2_x-1").ok(), Some(Destination { service: "order.v2_x-1", port: None }));
        assert_eq!(read("orders:").ok(), Some(Destination { service: "orders", port: None }));
    }

    #[test]
    fn a_request_to_mesher_itself_is_told_how_to_call_a_service() {
        for authority in ["127.0.0.1:30101", "localhost:30101", "LOCALHOST:30101"] {
            let reply = outgoing(Some(authority.as_bytes()), own()).unwrap_err();
            assert_eq!(reply.status, 400);
            assert!(reply.detail.contains("http_proxy"), "{}", reply.detail);
        }
        assert!(outgoing(None, own()).is_err());
    }

    #[test]
    fn what_cannot_be_a_service_name_is_refused() {
        for authority in ["a b", "[::1]:80", "a/b", ":80", "a:99999", "a:x", "\u{e9}t\u{e9}"] {
            assert!(outgoing(Some(authority.as_bytes()), own()).is_err(), "{authority}");
        }
        assert!(outgoing(Some("a".repeat(SERVICE_NAME_MAX + 1).as_bytes()), own()).is_err());
    }

    fn ports(configured: &[(u16, Protocol)], own: &[u16]) -> LocalPorts {
        let configured = configured.iter().map(|&(port, protocol)| LocalPort { port, protocol }).collect();
        LocalPorts { configured, own: own.to_vec() }
    }

    fn resolved(
        ports: &LocalPorts,
        forwarded: Option<&[u8]>,
        listener: Protocol,
        is_grpc: bool,
    ) -> (u16, Protocol) {
        let found = ports.resolve(forwarded, listener, is_grpc).unwrap();
        (found.port, found.protocol)
    }

    #[test]
    fn a_forwarded_port_may_only_name_a_configured_one() {
        let ports = ports(&[(8080, Protocol::Rest), (9090, Protocol::Rest)], &[30101]);
        assert_eq!(resolved(&ports, None, Protocol::Rest, false), (8080, Protocol::Rest));
        assert_eq!(resolved(&ports, Some(b"9090"), Protocol::Rest, false), (9090, Protocol::Rest));
        let refused = ports.resolve(Some(b"22"), Protocol::Rest, false).unwrap_err();
        assert_eq!(refused.failure, Failure::NoRoute);
    }

    #[test]
    fn without_configured_ports_the_forwarded_one_is_followed_but_never_to_mesher() {
        let ports = ports(&[], &[30101, 30102]);
        assert_eq!(resolved(&ports, Some(b"8080"), Protocol::Rest, false), (8080, Protocol::Rest));
        assert_eq!(resolved(&ports, Some(b"8080"), Protocol::Rest, true), (8080, Protocol::Grpc));
        for refused in [&b"30101"[..], b"30102", b"0"] {
            let reply = ports.resolve(Some(refused), Protocol::Rest, false).unwrap_err();
            assert_eq!(reply.failure, Failure::NoRoute);
        }
        assert!(ports.resolve(None, Protocol::Rest, false).unwrap_err().detail.contains("--service-ports"));
    }

    #[test]
    fn a_call_of_grpc_and_the_listener_for_it_have_a_default_of_their_own() {
        let both = ports(&[(8080, Protocol::Rest), (9000, Protocol::Grpc)], &[]);
        assert_eq!(resolved(&both, None, Protocol::Rest, false), (8080, Protocol::Rest));
        assert_eq!(resolved(&both, None, Protocol::Rest, true), (9000, Protocol::Grpc));
        assert_eq!(resolved(&both, None, Protocol::Grpc, false), (9000, Protocol::Grpc));
        assert_eq!(resolved(&both, Some(b"9000"), Protocol::Rest, false), (9000, Protocol::Grpc));
        assert_eq!(resolved(&both, Some(b"8080"), Protocol::Grpc, true), (8080, Protocol::Grpc));
    }

    #[test]
    fn a_call_of_grpc_needs_a_port_for_it_and_other_requests_take_any() {
        let rest_only = ports(&[(8080, Protocol::Rest)], &[]);
        let reply = rest_only.resolve(None, Protocol::Grpc, true).unwrap_err();
        assert!(reply.failure == Failure::NoRoute && reply.detail.contains("grpc:PORT"), "{}", reply.detail);
        assert_eq!(resolved(&rest_only, None, Protocol::Grpc, false), (8080, Protocol::Rest));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(authority: Vec<u8>, forwarded: Vec<u8>) {
            if let Ok(destination) = outgoing(Some(&authority), own()) {
                prop_assert!(destination.service.bytes().all(is_name_byte));
            }
            let _ = LocalPorts { configured: vec![], own: vec![] }.resolve(Some(&forwarded), Protocol::Rest, false);
        }
    }
}
