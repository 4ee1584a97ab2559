//! mesher: a sidecar before a consumer, with the file registry and the default handler chain.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::{Launch, Probe};
use super::site::{Site, free_address, write};
use crate::load::Wire;

pub(super) fn prepare(
    site: &Site,
    wire: Wire,
    address: SocketAddr,
    dir: &Path,
    settings: &str,
) -> Result<Launch, String> {
    let admin = free_address()?;
    write(dir, "chassis.yaml", &chassis(wire, address, admin)?)?;
    write(dir, "microservice.yaml", "servicecomb:\n  service:\n    name: capacity\n    version: 0.0.1\n")?;
    write(dir, "registry.yaml", &registry(wire, site.origin.address(wire)))?;
    let limit = format!("mesher.limit.connections: {}\n", site.connections);
    let tls = if wire == Wire::Tls { tls(dir) } else { String::new() };
    let path = write(dir, "mesher.yaml", &format!("{TIMEOUTS}{limit}{tls}{settings}"))?;
    let shards = site.shards.to_string();
    let request = format!("GET /ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    Ok(Launch {
        arguments: vec!["--config".into(), path.into(), "--shards".into(), shards.into()],
        ready: Some(Probe { address: admin, request }),
    })
}

/// The time-outs that the other proxies have in their files.
const TIMEOUTS: &str = "\
mesher.timeout.connectSeconds: 5
mesher.timeout.headerSeconds: 10
mesher.timeout.idleSeconds: 60
cse.isolation.Consumer.timeoutInMilliseconds: 30000
";

/// Calls of HTTP/2 for upstreams of HTTP/2 have a listener of their own; what comes to the other goes on as HTTP/1.
fn chassis(wire: Wire, address: SocketAddr, admin: SocketAddr) -> Result<String, String> {
    let (http, grpc) = if wire == Wire::Http2 {
        (free_address()?, format!("    grpc:\n      listenAddress: {address}\n"))
    } else {
        (address, String::new())
    };
    Ok(format!(
        "servicecomb:\n  registry:\n    type: file\n  protocols:\n{grpc}    http:\n      listenAddress: {http}\n    \
         rest-admin:\n      listenAddress: {admin}\n"
    ))
}

/// TLS on the listener for consumers; groups and suites are those that the load offers.
fn tls(dir: &Path) -> String {
    let file = |name: &str| dir.join(name).display().to_string();
    format!(
        "ssl.mesher.Provider.certFile: {}\nssl.mesher.Provider.keyFile: {}\nssl.mesher.Provider.protocol: TLSv1.3\n",
        file("certificate.pem"),
        file("key.pem")
    )
}

fn registry(wire: Wire, origin: SocketAddr) -> String {
    let scheme = if wire == Wire::Http2 { "grpc" } else { "rest" };
    format!("services:\n  origin:\n    - version: 0.0.1\n      endpoints: [\"{scheme}://{origin}\"]\n")
}
