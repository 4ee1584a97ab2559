//! Reads the addresses that instances register: `rest://10.0.0.7:8080?sslEnabled=true`. Pure; the text comes from
//! other people's programs through a registry.
//!
//! ```text
//!   endpoint = scheme "://" host ":" port [ "/" … ] [ "?" parameter *( "&" parameter ) ]
//!   host     = IPv4 | "[" IPv6 "]"
//! ```
//! Only the parameter `sslEnabled` matters here, only an exact `true` turns it on.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::snapshot::Protocol;

/// An address as registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Where to connect.
    pub socket: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Declared `sslEnabled=true`.
    pub tls: bool,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// There is no `://`.
    #[error("it has no scheme; write rest://IP:PORT")]
    NoScheme,
    /// There is no `:port`.
    #[error("it has no port; write rest://IP:PORT")]
    NoPort,
    /// The port is no number from 1 to 65535.
    #[error("its port is not a number from 1 to 65535")]
    BadPort,
    /// The host is a name, or nonsense.
    #[error("its host is not an IP address; host names are not resolved")]
    NotAnIp,
    /// The host is `0.0.0.0` or `[::]`.
    #[error("its host is the unspecified address; its owner must advertise a real one")]
    Unspecified,
}

/// Reads an address. `Ok(None)` if it is of a scheme that is no business of ours (`highway`, `dubbo`, …).
///
/// # Errors
/// When the scheme is known and the rest cannot be used.
pub fn parse(text: &str) -> Result<Option<Address>, EndpointError> {
    let (scheme, rest) = text.trim().split_once("://").ok_or(EndpointError::NoScheme)?;
    let Some(protocol) = protocol(scheme) else { return Ok(None) };
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let (host, port) = authority.rsplit_once(':').ok_or(EndpointError::NoPort)?;
    let ip = ip(host)?;
    let port = port_number(port)?;
    let tls = parameters.split('&').any(|parameter| parameter == "sslEnabled=true");
    Ok(Some(Address { socket: SocketAddr::new(ip, port), protocol, tls }))
}

fn protocol(scheme: &str) -> Option<Protocol> {
    match scheme {
        "rest" => Some(Protocol::Rest),
        "grpc" => Some(Protocol::Grpc),
        _ => None,
    }
}

fn ip(host: &str) -> Result<IpAddr, EndpointError> {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let ip = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => host.parse::<std::net::Ipv4Addr>().map(IpAddr::V4),
    }
    .map_err(|_| EndpointError::NotAnIp)?;
    if ip.is_unspecified() { Err(EndpointError::Unspecified) } else { Ok(ip) }
}

/// Digits only: `u16` alone would take `+80` too.
fn port_number(port: &str) -> Result<u16, EndpointError> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0).ok_or(EndpointError::BadPort)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, socket: &str, protocol: Protocol, tls: bool) {
        let expected = Address { socket: socket.parse().unwrap(), protocol, tls };
        assert_eq!(parse(text), Ok(Some(expected)), "{text}");
    }

    #[test]
    fn addresses_are_read_with_and_without_parameters() {
        check("rest://127.0.0.1:8080", "127.0.0.1:8080", Protocol::Rest, false);
        check("rest://127.0.0.1:8080?sslEnabled=true", "127.0.0.1:8080", Protocol::Rest, true);
        check("rest://127.0.0.1:8080/?a=b&sslEnabled=true&c", "127.0.0.1:8080", Protocol::Rest, true);
        check("rest://127.0.0.1:8080?sslEnabled=false", "127.0.0.1:8080", Protocol::Rest, false);
        check("grpc://[2001:db8::1]:90?sslEnabled=true", "[2001:db8::1]:90", Protocol::Grpc, true);
        check(" rest://10.0.0.1:1\n", "10.0.0.1:1", Protocol::Rest, false);
    }

    #[test]
    fn schemes_of_others_are_skipped_silently() {
        for text in ["highway://10.0.0.1:7070", "rest-admin://10.0.0.1:1", "dubbo://nonsense", "://"] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (text, why) in [
            ("", EndpointError::NoScheme),
            ("10.0.0.1:80", EndpointError::NoScheme),
            ("rest://", EndpointError::NoPort),
            ("rest://10.0.0.1", EndpointError::NoPort),
            ("rest://10.0.0.1:", EndpointError::BadPort),
            ("rest://10.0.0.1:0", EndpointError::BadPort),
            ("rest://10.0.0.1:+80", EndpointError::BadPort),
            ("rest://10.0.0.1:65536", EndpointError::BadPort),
            ("rest://orders.local:80", EndpointError::NotAnIp),
            ("rest://user@10.0.0.1:80", EndpointError::NotAnIp),
            ("rest://2001:db8::1:80", EndpointError::NotAnIp),
            ("rest://[10.0.0.1]:80", EndpointError::NotAnIp),
            ("rest://0.0.0.0:80", EndpointError::Unspecified),
            ("rest://[::]:80", EndpointError::Unspecified),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", tail in "[\\x00-\\x7f]*") {
            let _ = parse(&text);
            let _ = parse(&format!("rest://{tail}"));
        }

        #[test]
        fn every_socket_address_is_read_back(ip: std::net::IpAddr, port in 1..=u16::MAX, tls: bool) {
            prop_assume!(!ip.is_unspecified());
            let socket = SocketAddr::new(ip, port);
            let text = format!("rest://{socket}?sslEnabled={tls}");
            prop_assert_eq!(parse(&text), Ok(Some(Address { socket, protocol: Protocol::Rest, tls })));
        }
    }
}
