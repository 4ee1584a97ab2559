//! What every proxy is told, so that all do the same work.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::Certificate;
use crate::load::Origin;

/// Where and how the proxies run.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The origin they forward to.
    pub(crate) origin: Origin,
    /// What they show in TLS.
    pub(crate) certificate: Certificate,
    /// CPUs they run on.
    pub(crate) cpus: Vec<usize>,
    /// Threads or workers.
    pub(crate) shards: u16,
    /// Connections they must be able to have.
    pub(crate) connections: usize,
}

/// A loopback address that nothing listens on.
pub(super) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

/// Writes a configuration file and returns its path.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
