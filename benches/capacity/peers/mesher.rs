//! mesher: a sidecar before a consumer, with the file registry and the default handler chain.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::{Launch, Probe};
use super::site::{Site, free_address, write};

pub(super) fn prepare(
    site: &Site,
    address: SocketAddr,
    dir: &Path,
    settings: &str,
) -> Result<Launch, String> {
    let admin = free_address()?;
    write(dir, "chassis.yaml", &chassis(address, admin))?;
    write(dir, "microservice.yaml", "servicecomb:\n  service:\n    name: capacity\n    version: 0.0.1\n")?;
    write(dir, "registry.yaml", &registry(site.origin))?;
    let limit = format!("mesher.limit.connections: {}\n", site.connections);
    let path = write(dir, "mesher.yaml", &format!("{TIMEOUTS}{limit}{settings}"))?;
    let shards = site.shards.to_string();
    let request = format!("GET /ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    Ok(Launch {
        arguments: vec!["--config".into(), path.into(), "--shards".into(), shards.into()],
        ready: Probe { address: admin, request },
    })
}

/// The time-outs that the other proxies have in their files.
const TIMEOUTS: &str = "\
mesher.timeout.connectSeconds: 5
mesher.timeout.headerSeconds: 10
mesher.timeout.idleSeconds: 60
cse.isolation.Consumer.timeoutInMilliseconds: 30000
";

fn chassis(address: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "servicecomb:\n  registry:\n    type: file\n  protocols:\n    http:\n      listenAddress: {address}\n    \
         rest-admin:\n      listenAddress: {admin}\n"
    )
}

fn registry(origin: SocketAddr) -> String {
    format!("services:\n  origin:\n    - version: 0.0.1\n      endpoints: [\"rest://{origin}\"]\n")
}
