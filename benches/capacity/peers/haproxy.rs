//! HAProxy.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::Launch;
use super::site::{Site, write};
use super::template::fill;
use crate::load::Wire;

const TEMPLATE: &str = include_str!("../../haproxy.cfg");

pub(super) fn prepare(site: &Site, wire: Wire, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let values = [
        ("SHARDS", site.shards.to_string()),
        ("CONNECTIONS", site.connections.to_string()),
        ("ADDRESS", address.to_string()),
        ("LISTEN", listen(wire, dir)),
        ("SCHEME", wire.scheme().to_owned()),
        ("ORIGIN", site.origin.address(wire).to_string()),
        ("SPEAK", if wire == Wire::Http2 { "proto h2" } else { "" }.to_owned()),
    ];
    let path = write(dir, "haproxy.cfg", &fill(TEMPLATE, &values))?;
    // -db: stays in the foreground, one process.
    Ok(Launch { arguments: vec!["-db".into(), "-f".into(), path.into()], ready: None })
}

/// What the listener speaks. Two tickets after a handshake are OpenSSL's default.
fn listen(wire: Wire, dir: &Path) -> String {
    match wire {
        Wire::Http1 => String::new(),
        Wire::Http2 | Wire::Http2ToHttp1 => "proto h2".to_owned(),
        Wire::Tls => format!(
            "ssl crt {} alpn http/1.1 ssl-min-ver TLSv1.3 curves X25519 ciphersuites TLS_AES_128_GCM_SHA256",
            dir.join("both.pem").display()
        ),
    }
}
