//! nginx.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::Launch;
use super::site::{Site, write};
use super::template::fill;
use crate::load::Wire;

const TEMPLATE: &str = include_str!("../../nginx.conf");

/// Two tickets after a handshake are OpenSSL's default.
const TLS: &str = "
    ssl_certificate certificate.pem;
    ssl_certificate_key key.pem;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_session_tickets on;";

pub(super) fn prepare(site: &Site, wire: Wire, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let (listen, tls) = match wire {
        Wire::Tls => ("ssl", TLS),
        Wire::Http2 | Wire::Http2ToHttp1 => ("http2", ""),
        Wire::Http1 => ("", ""),
    };
    let values = [
        ("SHARDS", site.shards.to_string()),
        // It counts connections to the origin too.
        ("CONNECTIONS", (2 * site.connections).to_string()),
        ("ADDRESS", address.to_string()),
        ("LISTEN", listen.to_owned()),
        ("TLS", tls.to_owned()),
        ("SCHEME", wire.scheme().to_owned()),
        ("ORIGIN", site.origin.address(wire).to_string()),
        ("DIR", dir.display().to_string()),
    ];
    let path = write(dir, "nginx.conf", &fill(TEMPLATE, &values))?;
    let arguments = vec!["-p".into(), dir.into(), "-e".into(), "stderr".into(), "-c".into(), path.into()];
    Ok(Launch { arguments, ready: None })
}
