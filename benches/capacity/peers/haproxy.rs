//! HAProxy.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::{Launch, Probe};
use super::site::{Site, write};
use super::template::fill;

const TEMPLATE: &str = include_str!("../../haproxy.cfg");

pub(super) fn prepare(site: &Site, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let values = [
        ("SHARDS", site.shards.to_string()),
        ("CONNECTIONS", site.connections.to_string()),
        ("ADDRESS", address.to_string()),
        ("ORIGIN", site.origin.to_string()),
    ];
    let path = write(dir, "haproxy.cfg", &fill(TEMPLATE, &values))?;
    // -db: stays in the foreground, one process.
    Ok(Launch { arguments: vec!["-db".into(), "-f".into(), path.into()], ready: Probe::through(address) })
}
