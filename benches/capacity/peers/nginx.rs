//! nginx.

use std::net::SocketAddr;
use std::path::Path;

use super::peer::{Launch, Probe};
use super::site::{Site, write};
use super::template::fill;

const TEMPLATE: &str = include_str!("../../nginx.conf");

pub(super) fn prepare(site: &Site, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let values = [
        ("SHARDS", site.shards.to_string()),
        // It counts connections to the origin too.
        ("CONNECTIONS", (2 * site.connections).to_string()),
        ("ADDRESS", address.to_string()),
        ("ORIGIN", site.origin.to_string()),
        ("DIR", dir.display().to_string()),
    ];
    let path = write(dir, "nginx.conf", &fill(TEMPLATE, &values))?;
    let arguments = vec!["-p".into(), dir.into(), "-e".into(), "stderr".into(), "-c".into(), path.into()];
    Ok(Launch { arguments, ready: Probe::through(address) })
}
