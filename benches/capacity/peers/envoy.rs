//! Envoy.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::Launch;
use super::site::{Site, write};
use super::template::fill;
use crate::load::Wire;

const TEMPLATE: &str = include_str!("../../envoy.yaml");

/// Suites of TLS 1.3 cannot be chosen in it; the load offers the only one.
const TLS: &str = r#"
          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [http/1.1]
                tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [X25519]}
                tls_certificates:
                  - {certificate_chain: {filename: "@DIR@/certificate.pem"}, private_key: {filename: "@DIR@/key.pem"}}"#;

const HTTP2_ORIGIN: &str = r#"
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 100}}"#;

pub(super) fn prepare(site: &Site, wire: Wire, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let codec = if matches!(wire, Wire::Http2 | Wire::Http2ToHttp1) { "HTTP2" } else { "HTTP1" };
    let origin = site.origin.address(wire);
    let values = [
        ("CODEC", codec.to_owned()),
        ("TLS", if wire == Wire::Tls { TLS } else { "" }.to_owned()),
        ("SPEAK", if wire == Wire::Http2 { HTTP2_ORIGIN } else { "" }.to_owned()),
        ("DIR", dir.display().to_string()),
        ("CONNECTIONS", site.connections.to_string()),
        ("HOST", address.ip().to_string()),
        ("PORT", address.port().to_string()),
        ("ORIGIN_HOST", origin.ip().to_string()),
        ("ORIGIN_PORT", origin.port().to_string()),
    ];
    let path = write(dir, "envoy.yaml", &fill(TEMPLATE, &values))?;
    let arguments = vec![
        "-c".into(),
        path.into(),
        "--concurrency".into(),
        site.shards.to_string().into(),
        "--disable-hot-restart".into(),
        "--log-level".into(),
        "error".into(),
    ];
    Ok(Launch { arguments, ready: None })
}
