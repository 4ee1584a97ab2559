//! `mesher demo`: a small mesh in one process, to look at and play with.
//!
//! ```text
//!   curl -> consumer sidecar -+-> provider sidecar 1 -> RESTServer 1 (127.0.0.1:8083)
//!           127.0.0.1:30101   +-> provider sidecar 2 -> RESTServer 2 (127.0.0.2:8083)
//! ```
//!
//! Everything is real: the sidecars are started as `run` starts them, from configuration files in a directory of
//! their own, and find each other through a registry file.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mesher_actors::config::{Config, Sources};
use mesher_actors::demo::hello::{self, HelloHandle};
use mesher_actors::logging;
use mesher_actors::tls::Ciphers;
use tempfile::TempDir;

use super::exit::Exit;
use super::run::complain;
use crate::run::{DrainSettings, Given, Mode, Node, ServicePorts, Settings, Signal, Signals, Sockets};

/// One instance of the hello service.
struct Plan {
    name: &'static str,
    service: &'static str,
    host: &'static str,
    sidecar: &'static str,
    admin: &'static str,
}

const PLANS: [Plan; 2] = [
    Plan {
        name: "RESTServer-1",
        service: "127.0.0.1:8083",
        host: "127.0.0.1",
        sidecar: "127.0.0.3:30103",
        admin: "127.0.0.1:30112",
    },
    Plan {
        name: "RESTServer-2",
        service: "127.0.0.2:8083",
        host: "127.0.0.2",
        sidecar: "127.0.0.4:30104",
        admin: "127.0.0.1:30122",
    },
];

const REGISTRY: &str = "\
services:
  RESTServer:
    - version: 0.0.1
      endpoints: [\"rest://127.0.0.3:30103\"]
    - version: 0.0.1
      endpoints: [\"rest://127.0.0.4:30104\"]
";

const GREETING: &str = "\
A mesh of two instances of RESTServer, a sidecar before each, and a caller's sidecar. Try in another terminal:

  http_proxy=http://127.0.0.1:30101 curl http://RESTServer:8083/sayhello/peter    (again: the other instance answers)
  curl -X POST http://127.0.0.1:8083/stop                                         (instance 1 and its sidecar end)
  http_proxy=http://127.0.0.1:30101 curl http://RESTServer:8083/sayhello/peter    (instance 2 answers all)
  curl 'http://127.0.0.1:30102/ready?verbose'                                     (what the caller's sidecar knows)
  curl http://127.0.0.1:30102/metrics

ctrl-c ends it.
";

/// An instance that is told to stop finishes what it has begun, within this.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

type Failure = (Exit, String);

/// Runs until ctrl-c.
pub(super) fn demo() -> Exit {
    match Demo::start() {
        Ok(demo) => demo.serve(),
        Err((exit, why)) => complain(exit, &why),
    }
}

/// One instance with its sidecar, while it runs.
struct Instance {
    hello: HelloHandle,
    node: Node,
}

struct Demo {
    /// Configuration of all sidecars; removed at the end.
    _dir: TempDir,
    signals: Signals,
    instances: Vec<Option<Instance>>,
    consumer: Node,
    stops: flume::Receiver<usize>,
}

impl Demo {
    fn start() -> Result<Self, Failure> {
        let failed = |error: io::Error| (Exit::Failed, error.to_string());
        let dir = tempfile::Builder::new().prefix("mesher-demo-").tempdir().map_err(failed)?;
        let registry = dir.path().join("registry.yaml");
        fs::write(&registry, REGISTRY).map_err(failed)?;
        let signals = Signals::catch().map_err(failed)?;
        logging::start(&quiet()).map_err(|error| (Exit::Failed, error.to_string()))?;
        let (stop, stops) = flume::bounded(PLANS.len());
        let mut instances = Vec::new();
        for (index, plan) in PLANS.iter().enumerate() {
            let stop = stop.clone();
            let on_stop = move || {
                // Full: it was asked before and is stopping already.
                let _ = stop.try_send(index);
            };
            let hello = hello::start(address(plan.service)?, plan.name, on_stop).map_err(|error| {
                (Exit::Bind, format!("cannot start {} on {}: {error}", plan.name, plan.service))
            })?;
            let conf = dir.path().join(plan.name);
            write_conf(&conf, &registry, plan.name, plan.sidecar, plan.admin, plan.host).map_err(failed)?;
            let ports = "rest:8083".parse().unwrap_or_default();
            instances.push(Some(Instance { hello, node: node(&conf, ports)? }));
        }
        let conf = dir.path().join("consumer");
        write_conf(&conf, &registry, "consumer", "127.0.0.1:30101", "127.0.0.1:30102", "127.0.0.1")
            .map_err(failed)?;
        let consumer = node(&conf, ServicePorts::default())?;
        Ok(Self { _dir: dir, signals, instances, consumer, stops })
    }

    fn serve(mut self) -> Exit {
        // A closed standard output is no reason to stop serving.
        let _ = io::stdout().write_all(GREETING.as_bytes());
        let _ = io::stdout().flush();
        loop {
            let event = flume::Selector::new()
                .recv(self.signals.receiver(), |signal| signal.map_or(Event::End, Event::of))
                .recv(&self.stops, |index| index.map_or(Event::Nothing, Event::Stop))
                .wait();
            match event {
                Event::Stop(index) => self.stop_instance(index),
                Event::Nothing => {}
                Event::End => break,
            }
        }
        for index in 0..self.instances.len() {
            self.stop_instance(index);
        }
        self.consumer.stop();
        Exit::Ok
    }

    fn stop_instance(&mut self, index: usize) {
        let Some(Instance { hello, node }) = self.instances.get_mut(index).and_then(Option::take) else {
            return;
        };
        let at_once = DrainSettings { grace: Duration::ZERO, timeout: STOP_TIMEOUT };
        node.drain(at_once, self.signals.receiver());
        hello.stop();
    }
}

enum Event {
    Stop(usize),
    Nothing,
    End,
}

impl Event {
    fn of(signal: Signal) -> Self {
        match signal {
            Signal::Terminate | Signal::Interrupt => Self::End,
            Signal::HangUp | Signal::User1 | Signal::User2 => Self::Nothing,
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    text.parse().map_err(|_| (Exit::Failed, format!("{text} is not an address")))
}

fn quiet() -> logging::Settings {
    let default = logging::Settings::default();
    logging::Settings { level: "WARN".parse().unwrap_or(default.level), ..default }
}

fn write_conf(
    dir: &Path,
    registry: &Path,
    name: &str,
    listen: &str,
    admin: &str,
    host: &str,
) -> io::Result<()> {
    fs::create_dir(dir)?;
    let chassis = format!(
        "servicecomb:\n  registry:\n    type: file\n    configPath: {}\n  protocols:\n    http:\n      listenAddress: {listen}\n    rest-admin:\n      listenAddress: {admin}\n",
        registry.display()
    );
    fs::write(dir.join("chassis.yaml"), chassis)?;
    fs::write(
        dir.join("microservice.yaml"),
        format!("servicecomb:\n  service:\n    name: {name}\n    version: 0.0.1\n"),
    )?;
    fs::write(dir.join("mesher.yaml"), format!("mesher:\n  service:\n    host: {host}\n"))
}

/// Starts a sidecar from its directory, as `run` does.
fn node(conf: &Path, ports: ServicePorts) -> Result<Node, Failure> {
    let sources = Sources { dir_flag: Some(conf.to_owned()), ..Sources::default() };
    let (config, mut report) = Config::load(&sources).map_err(|error| (Exit::Failed, error.to_string()))?;
    let given = Given { mode: Mode::Sidecar, ports, shards: None, ciphers: Ciphers::default() };
    let settings = Settings::from_config(&config, &given, &mut report);
    if report.has_errors() {
        return Err((Exit::Failed, report.render(false)));
    }
    let sockets = Sockets::bind(&settings, Vec::new()).map_err(|error| (Exit::Bind, error.to_string()))?;
    Node::start(settings, sockets).map_err(|error| (Exit::Failed, error.to_string()))
}
