//! A proxy that is installed, and one that runs.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Site, envoy, haproxy, mesher, nginx, site};
use crate::machine;
use crate::process::{Process, Usage};

/// How long a proxy may take to answer its first request.
const START_MAX: Duration = Duration::from_secs(20);

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
    /// Answers 200 there once the proxy is ready.
    pub(super) ready: Probe,
}

/// A request whose 200 says that a proxy is ready.
pub(super) struct Probe {
    pub(super) address: SocketAddr,
    pub(super) request: String,
}

/// A proxy in front of the origin; dropped, it ends.
pub(crate) struct Running {
    /// Which it is.
    pub(crate) peer: Peer,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    _dir: TempDir,
}

impl Peer {
    /// Starts it and waits until it carries requests.
    pub(crate) fn start(&self, site: &Site) -> Result<Running, String> {
        self.try_start(site).map_err(|error| format!("{}: {error}", self.name))
    }

    fn try_start(&self, site: &Site) -> Result<Running, String> {
        let dir = TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?;
        if self.kind == Kind::Direct {
            return Ok(Running { peer: self.clone(), address: site.origin, process: None, _dir: dir });
        }
        let address = site::free_address()?;
        let launch = self.prepare(site, address, dir.path())?;
        let mut process = Process::start(&self.program, &launch.arguments, &site.cpus, dir.path())?;
        launch.ready.wait(&mut process)?;
        Probe::through(address).wait(&mut process)?;
        Ok(Running { peer: self.clone(), address, process: Some(process), _dir: dir })
    }

    fn prepare(&self, site: &Site, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
        match self.kind {
            Kind::Haproxy => haproxy::prepare(site, address, dir),
            Kind::Nginx => nginx::prepare(site, address, dir),
            Kind::Envoy => envoy::prepare(site, address, dir),
            Kind::Direct | Kind::Mesher => mesher::prepare(site, address, dir, &self.settings),
        }
    }
}

impl Running {
    /// What it has used since it started; nothing if it is no process.
    pub(crate) fn usage(&self) -> Result<Usage, String> {
        self.process.as_ref().map_or(Ok(Usage::default()), Process::usage)
    }

    /// Resident bytes, if it is a process.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.process.as_ref().map(Process::resident_bytes)
    }

    /// It is a process, so that what it uses can be told.
    pub(crate) fn is_process(&self) -> bool {
        self.process.is_some()
    }
}

impl Probe {
    /// A request that goes through the proxy to the origin.
    pub(super) fn through(address: SocketAddr) -> Self {
        let request = "GET http://origin/b/0 HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n";
        Self { address, request: request.to_owned() }
    }

    fn wait(&self, process: &mut Process) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        loop {
            process.check()?;
            let answer = self.ask();
            match answer {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => return Ok(()),
                answer if Instant::now() > deadline => {
                    let answer = answer.unwrap_or_else(|error| error.to_string());
                    return Err(format!(
                        "not ready after {START_MAX:?}; {} last said: {answer}\n{}",
                        self.address,
                        process.printed()
                    ));
                }
                _ => machine::pause(Duration::from_millis(5)),
            }
        }
    }

    fn ask(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(self.request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
