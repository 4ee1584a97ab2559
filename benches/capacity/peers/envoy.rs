//! Envoy.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::{Launch, Probe};
use super::site::{Site, write};
use super::template::fill;

const TEMPLATE: &str = include_str!("../../envoy.yaml");

pub(super) fn prepare(site: &Site, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let values = [
        ("CONNECTIONS", site.connections.to_string()),
        ("HOST", address.ip().to_string()),
        ("PORT", address.port().to_string()),
        ("ORIGIN_HOST", site.origin.ip().to_string()),
        ("ORIGIN_PORT", site.origin.port().to_string()),
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
    Ok(Launch { arguments, ready: Probe::through(address) })
}
