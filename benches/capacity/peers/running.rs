//! A proxy that runs: one process for each protocol that loads need, so that no configuration does what it need not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::peer::{Peer, Probe};
use crate::load::{self, Load, Pattern, Wire};
use crate::machine;
use crate::process::{Process, Usage};

/// How long a proxy may take to answer its first request.
const START_MAX: Duration = Duration::from_secs(20);

/// How long one try to reach it may take.
const TRY_MAX: Duration = Duration::from_secs(2);

/// A proxy in front of the origin.
pub(crate) struct Running {
    /// Which it is.
    pub(crate) peer: Peer,
    pub(super) instances: Vec<Instance>,
}

/// A process of a proxy, or the origin itself; dropped, it ends.
pub(crate) struct Instance {
    pub(super) wire: Wire,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
    pub(super) process: Option<Process>,
    pub(super) _dir: TempDir,
}

impl Running {
    /// The process for this protocol, if the proxy has it.
    pub(crate) fn instance(&self, wire: Wire) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.wire == wire)
    }
}

impl Instance {
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

/// Waits until a proxy says it is ready, where it has a place to say so, and carries requests to the origin.
pub(super) fn wait(
    process: &mut Process,
    ready: Option<&Probe>,
    wire: Wire,
    address: SocketAddr,
) -> Result<(), String> {
    if let Some(probe) = ready {
        until(process, || probe.ask())?;
    }
    let load = Load { wire, ..Load::http1("probe".to_owned(), Pattern::Closed, 1, wire.bytes_min()) };
    until(process, || load::probe(address, &load, TRY_MAX))
}

fn until(process: &mut Process, ask: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + START_MAX;
    loop {
        process.check()?;
        match ask() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("not ready after {START_MAX:?}: {error}\n{}", process.printed()));
            }
            Err(_) => machine::pause(Duration::from_millis(5)),
        }
    }
}

impl Probe {
    fn ask(&self) -> Result<(), String> {
        let exchange = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(TRY_MAX))?;
            stream.write_all(self.request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        match exchange() {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
            Ok(answer) => Err(format!("{} last said: {answer}", self.address)),
            Err(error) => Err(format!("{}: {error}", self.address)),
        }
    }
}
