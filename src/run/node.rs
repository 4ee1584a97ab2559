//! A running mesher: control plane, admin, shards.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesher_actors::admin::{self, AdminHandle, AdminOptions, Shard};
use mesher_actors::control::{Control, ControlError, ControlSettings, SERVICES_MAX};
use mesher_actors::snapshot::Protocol;
use mesher_actors::snapshot::port::{ShardPort, pair};
use mesher_actors::snapshot::stats::Board;
use mesher_actors::tls::{Keeper, Tls};
use tracing::{error, info, warn};

use super::about;
use super::drain::HandedOver;
use super::memory::MemoryWatch;
use super::settings::{DrainSettings, Settings, Upstreams};
use super::signals::Signal;
use super::sockets::Sockets;
use super::upgrade::{NotReady, Prepared, Successor};
use super::view::NodeView;
use crate::net::{self, Driver, Refusal, ShardOptions};
use crate::shard::{self, Command, Handle, ShardSpec};

/// A shard that dies is started again after this; at once would turn a bug that strikes at start into a busy loop.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// A running mesher.
pub struct Node {
    pub(super) settings: Settings,
    /// What the control plane asks for each service; a reload puts another in its place.
    pub(super) upstreams: Arc<Mutex<Arc<Upstreams>>>,
    board: Arc<Board>,
    pub(super) sockets: Sockets,
    pub(super) control: Control,
    /// Watches the files of TLS, if there is TLS.
    pub(super) certificates: Option<Keeper>,
    /// What it makes of new ones.
    pub(super) renewals: (flume::Sender<Tls>, flume::Receiver<Tls>),
    pub(super) admin: Option<AdminHandle>,
    pub(super) view: Arc<NodeView>,
    pub(super) memory: MemoryWatch,
    driver: Driver,
    refusal: Option<Refusal>,
    ports: Vec<ShardPort>,
    pub(super) shards: Vec<Option<Handle>>,
    /// Shards accept connections.
    is_open: bool,
    /// A process that is getting ready to take over.
    pub(super) successor: Option<Successor>,
    ends: flume::Sender<usize>,
    pub(super) ended: flume::Receiver<usize>,
}

/// What is to be decided by whoever runs a node.
#[derive(Debug)]
pub enum Happening {
    /// A signal came.
    Signal(Signal),
    /// Another process serves now: there is nothing left but [`Node::retire`].
    HandedOver(HandedOver),
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configured I/O driver cannot be had.
    #[error("net.driver is uring, and io_uring cannot be used here: {0}")]
    Driver(Refusal),
    /// The control plane did not start.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The admin did not start.
    #[error("cannot start the admin interface: {0}")]
    Admin(#[source] io::Error),
    /// The files of TLS cannot be watched.
    #[error("cannot watch certificates: {0}")]
    Certificates(#[source] io::Error),
    /// A shard did not start.
    #[error("cannot start a shard: {0}")]
    Shard(#[source] io::Error),
}

impl Node {
    /// Starts everything on sockets that are bound already. Returns when all shards run and are told to accept; the
    /// registry is not waited for.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start(settings: Settings, sockets: Sockets) -> Result<Self, StartError> {
        let mut node = Self::prepare(settings, sockets)?;
        node.open()?;
        node.announce();
        Ok(node)
    }

    /// Starts everything that nobody sees: control plane and shards. Serves nothing and registers nothing yet.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn prepare(settings: Settings, sockets: Sockets) -> Result<Self, StartError> {
        let (driver, refusal) =
            net::preflight(settings.driver, settings.shards).map_err(StartError::Driver)?;
        if let Some(refusal) = &refusal {
            warn!(cause = refusal.cause, fix = refusal.fix, "io_uring cannot be used; running on epoll");
        }
        let board = Board::new();
        let (ports, controls) = (0..settings.shards).map(|_| pair()).unzip();
        let upstreams = Arc::new(Mutex::new(settings.upstreams.clone()));
        let control = Control::start(control_settings(&settings, &upstreams, &board), controls)?;
        let view = NodeView::new(control.status());
        let (ends, ended) = flume::unbounded();
        let mut node = Self {
            settings,
            upstreams,
            board,
            sockets,
            control,
            certificates: None,
            renewals: flume::unbounded(),
            admin: None,
            view,
            memory: MemoryWatch::default(),
            driver,
            refusal,
            ports,
            shards: Vec::new(),
            is_open: false,
            successor: None,
            ends,
            ended,
        };
        node.watch_certificates().map_err(StartError::Certificates)?;
        for index in 0..node.settings.shards {
            let handle = node.start_shard(index).map_err(StartError::Shard)?;
            node.shards.push(Some(handle));
        }
        node.renew_memory_watch();
        Ok(node)
    }

    /// Opens the admin and has the shards accept.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is accepted then.
    pub(super) fn open(&mut self) -> Result<(), StartError> {
        let listeners: io::Result<Vec<_>> = self.shards.iter().map(|_| self.sockets.for_shard()).collect();
        let listeners = listeners.map_err(StartError::Shard)?;
        self.open_admin().map_err(StartError::Admin)?;
        for (handle, listeners) in self.shards.iter().flatten().zip(listeners) {
            handle.tell(Command::Listen(listeners));
        }
        self.introduce();
        self.is_open = true;
        self.log_start();
        Ok(())
    }

    /// Has our instance registered, if the configuration wants it to be; false if not.
    pub(super) fn announce(&self) -> bool {
        let registration = self.settings.registration.clone();
        registration.map(|registration| self.control.announce(registration)).is_some()
    }

    /// The settings in force for an end by this signal.
    #[must_use]
    pub fn drain_settings(&self, signal: Signal) -> DrainSettings {
        self.settings.drain.for_signal(signal)
    }

    /// Starts shards again that die, and watches the memory, until something happens that is to be decided.
    pub fn supervise(&mut self, signals: &flume::Receiver<Signal>) -> Happening {
        loop {
            let mut events = flume::Selector::new()
                .recv(&self.ended, |index| index.ok().map(Event::ShardEnded))
                .recv(signals, |signal| Some(Event::Signal(signal.unwrap_or(Signal::Terminate))))
                .recv(&self.renewals.1, |tls| tls.ok().map(Event::Certificates));
            if let Some(successor) = &self.successor {
                events = events.recv(successor.answers(), |answer| answer.ok().map(Event::Successor));
            }
            let event = match self.memory.due() {
                Some(due) => events.wait_deadline(due).unwrap_or(Some(Event::MemoryDue)),
                None => events.wait(),
            };
            match event {
                Some(Event::MemoryDue) => self.watch_memory(),
                Some(Event::ShardEnded(index)) => self.restart(index),
                Some(Event::Signal(signal)) => return Happening::Signal(signal),
                Some(Event::Certificates(tls)) => self.renew_certificates(tls),
                Some(Event::Successor(answer)) => {
                    if let Some(handed_over) = self.hand_over(answer) {
                        return Happening::HandedOver(handed_over);
                    }
                }
                None => {}
            }
        }
    }

    /// Ends everything at once.
    pub fn stop(mut self) {
        self.tell_all(|| Command::Cut);
        for index in 0..self.shards.len() {
            self.join_shard(index);
        }
        self.close_admin();
        self.control.stop();
    }

    /// Tells each shard.
    pub(super) fn tell_all(&self, command: impl Fn() -> Command) {
        let deaf = |handle: &&Handle| !handle.tell(command());
        let stuck = self.shards.iter().flatten().filter(deaf).count();
        if stuck > 0 {
            error!(stuck, "shards are stuck and do not hear a command");
        }
    }

    /// Has the shards know each other, if there are several.
    fn introduce(&self) {
        if self.settings.shards > 1 {
            let all: Arc<[_]> = self.shards.iter().flatten().map(Handle::sibling).collect();
            self.tell_all(|| Command::Siblings(all.clone()));
        }
    }

    /// Takes leave of a shard that has said that it ends.
    pub(super) fn join_shard(&mut self, index: usize) {
        let handle = self.shards.get_mut(index).and_then(Option::take);
        if let Some(Err(why)) = handle.map(Handle::join) {
            error!(shard = index, why, "a shard did not end in order");
        }
    }

    pub(super) fn all_ended(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }

    pub(super) fn open_connections(&self) -> u64 {
        self.shards.iter().flatten().map(|handle| handle.stats().downstream_open.value()).sum()
    }

    fn restart(&mut self, index: usize) {
        let Some(slot) = self.shards.get_mut(index) else { return };
        let why = slot
            .take()
            .map(Handle::join)
            .and_then(Result::err)
            .unwrap_or_else(|| "it ended by itself".into());
        error!(shard = index, why, "a shard died and is started again");
        self.view.set_shard(index, Shard { alive: false, driver: self.driver.to_string(), why });
        std::thread::park_timeout(RESTART_AFTER);
        match self.start_shard(index) {
            Ok(handle) => {
                if let Some(slot) = self.shards.get_mut(index) {
                    *slot = Some(handle);
                }
                self.introduce();
            }
            Err(error) => {
                error!(shard = index, %error, "cannot start it; trying again");
                let _ = self.ends.send(index);
            }
        }
    }

    fn start_shard(&self, index: usize) -> io::Result<Handle> {
        let port = self.ports.get(index).cloned().ok_or_else(|| io::Error::other("no such shard"))?;
        let spec = ShardSpec {
            options: ShardOptions {
                name: format!("shard-{index}"),
                driver: self.driver,
                cpu: None,
                polling: self.settings.polling,
            },
            port,
            board: self.board.of_shard(index),
            policies: self.settings.policies.clone(),
            seed: RandomState::new().hash_one(index),
        };
        let listeners = if self.is_open { self.sockets.for_shard()? } else { Vec::new() };
        let ends = self.ends.clone();
        let handle = shard::start(spec, move || {
            // Nobody listens any more once the node is being dropped.
            let _ = ends.send(index);
        })?;
        self.tell_of_memory(&handle);
        handle.tell(Command::Listen(listeners));
        let why = self.refusal.as_ref().map(ToString::to_string).unwrap_or_default();
        self.view.set_shard(index, Shard { alive: true, driver: handle.driver().to_string(), why });
        Ok(handle)
    }

    pub(super) fn open_admin(&mut self) -> io::Result<()> {
        if let Some(listener) = &self.sockets.admin {
            self.admin = Some(admin::start(listener.try_clone()?, self.admin_options())?);
        }
        Ok(())
    }

    /// Returns when it accepts no longer and what it had accepted is answered.
    pub(super) fn close_admin(&mut self) {
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
    }

    fn admin_options(&self) -> AdminOptions {
        let identity = &self.settings.identity;
        AdminOptions {
            identity: admin::Identity {
                app: identity.app.to_string(),
                service: identity.name.to_string(),
                version: identity.version.to_string(),
            },
            build: about::build(),
            board: self.board.clone(),
            view: self.view.clone(),
            tls: self.settings.tls.admin(),
        }
    }

    fn log_start(&self) {
        let listeners: Vec<_> = self
            .sockets
            .traffic
            .iter()
            .filter_map(|traffic| {
                let purpose = if traffic.protocol == Protocol::Grpc { " for gRPC" } else { "" };
                let address = traffic.socket.local_addr().ok()?;
                Some(format!("{} {address}{purpose}", traffic.direction.label()))
            })
            .collect();
        let (registry, address) = self.settings.registry.name();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            pid = std::process::id(),
            service = %self.settings.identity.name,
            listeners = listeners.join(", "),
            admin = self.admin.as_ref().map(|admin| admin.addr().to_string()).unwrap_or_default(),
            shards = self.settings.shards,
            driver = %self.driver,
            registry,
            address,
            "mesher runs"
        );
    }
}

enum Event {
    ShardEnded(usize),
    MemoryDue,
    Signal(Signal),
    Certificates(Tls),
    Successor(Result<Prepared, NotReady>),
}

fn control_settings(
    settings: &Settings,
    upstreams: &Arc<Mutex<Arc<Upstreams>>>,
    board: &Arc<Board>,
) -> ControlSettings {
    let (kind, address) = settings.registry.name();
    let upstreams = upstreams.clone();
    ControlSettings {
        registry_kind: kind.to_owned(),
        registry_address: address,
        source: settings.registry.factory(),
        identity: settings.identity.clone(),
        upstream: Arc::new(move |service: &str| {
            upstreams.lock().unwrap_or_else(PoisonError::into_inner).of(service)
        }),
        health_checks: settings.checks.clone(),
        state_dir: settings.state_dir.clone(),
        services_max: SERVICES_MAX,
        board: board.clone(),
    }
}
