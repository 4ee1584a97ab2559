//! A proxy that is installed, and how it is started.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::running::{Instance, Running, wait};
use super::{Site, envoy, haproxy, mesher, nginx, site};
use crate::load::Wire;
use crate::process::Process;

/// Which proxy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Direct,
    Mesher,
    Haproxy,
    Nginx,
    Envoy,
}

/// A proxy that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Names it in options, tables and files.
    pub(crate) name: String,
    /// What it says its version is.
    pub(crate) version: String,
    pub(super) kind: Kind,
    pub(super) program: PathBuf,
    /// Lines added to mesher's own configuration.
    pub(super) settings: String,
}

/// How to start a proxy: its configuration is written.
pub(super) struct Launch {
    pub(super) arguments: Vec<OsString>,
    /// Answers 200 there once the proxy is ready, if it has such a place.
    pub(super) ready: Option<Probe>,
}

/// A request whose 200 says that a proxy is ready.
pub(super) struct Probe {
    pub(super) address: SocketAddr,
    pub(super) request: String,
}

impl Peer {
    /// Starts a process for each of `wires` that it has, and waits until they carry requests.
    pub(crate) fn start(&self, site: &Site, wires: &[Wire]) -> Result<Running, String> {
        let served = wires.iter().filter(|wire| self.left_out(**wire).is_none());
        let instances = served
            .map(|wire| self.instance(site, *wire).map_err(|error| format!("{}: {error}", self.name)))
            .collect::<Result<_, _>>()?;
        Ok(Running { peer: self.clone(), instances })
    }

    /// Why it cannot be measured with this protocol, if so.
    pub(crate) fn left_out(&self, wire: Wire) -> Option<&'static str> {
        match (self.kind, wire) {
            (Kind::Direct, Wire::Tls) => Some("the origin has no TLS"),
            (Kind::Direct, Wire::Http2ToHttp1) => Some("the origin takes either, and translates neither"),
            (Kind::Nginx, Wire::Http2) => Some("it speaks no HTTP/2 with origins"),
            _ => None,
        }
    }

    fn instance(&self, site: &Site, wire: Wire) -> Result<Instance, String> {
        let dir = TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?;
        if self.kind == Kind::Direct {
            return Ok(Instance { wire, address: site.origin.address(wire), process: None, _dir: dir });
        }
        if wire == Wire::Tls {
            site.certificate.write(dir.path())?;
        }
        let address = site::free_address()?;
        let launch = self.prepare(site, wire, address, dir.path())?;
        let mut process = Process::start(&self.program, &launch.arguments, &site.cpus, dir.path())?;
        wait(&mut process, launch.ready.as_ref(), wire, address)?;
        Ok(Instance { wire, address, process: Some(process), _dir: dir })
    }

    fn prepare(&self, site: &Site, wire: Wire, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
        match self.kind {
            Kind::Haproxy => haproxy::prepare(site, wire, address, dir),
            Kind::Nginx => nginx::prepare(site, wire, address, dir),
            Kind::Envoy => envoy::prepare(site, wire, address, dir),
            Kind::Direct | Kind::Mesher => mesher::prepare(site, wire, address, dir, &self.settings),
        }
    }
}
