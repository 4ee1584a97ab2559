//! A running mesher: control plane, admin, shards.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use mesher_actors::admin::{self, AdminHandle, AdminOptions, Build, Shard};
use mesher_actors::control::{Control, ControlError, ControlSettings, SERVICES_MAX};
use mesher_actors::snapshot::port::{ShardPort, pair};
use mesher_actors::snapshot::stats::Board;
use tracing::{error, info, warn};

use super::settings::Settings;
use super::signals::Signal;
use super::sockets::Sockets;
use super::view::NodeView;
use crate::net::{self, Driver, Refusal, ShardOptions};
use crate::shard::{self, Command, Handle, ShardSpec};

/// A shard that dies is started again after this; at once would turn a bug that strikes at start into a busy loop.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// A running mesher.
pub struct Node {
    settings: Settings,
    board: Arc<Board>,
    pub(super) sockets: Sockets,
    pub(super) control: Control,
    admin: Option<AdminHandle>,
    view: Arc<NodeView>,
    driver: Driver,
    refusal: Option<Refusal>,
    ports: Vec<ShardPort>,
    shards: Vec<Option<Handle>>,
    ends: flume::Sender<usize>,
    pub(super) ended: flume::Receiver<usize>,
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
    Admin(#[source] std::io::Error),
    /// A shard did not start.
    #[error("cannot start a shard: {0}")]
    Shard(#[source] std::io::Error),
}

impl Node {
    /// Starts everything on sockets that are bound already. Returns when all shards accept connections; the registry
    /// is not waited for.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start(settings: Settings, mut sockets: Sockets) -> Result<Self, StartError> {
        let (driver, refusal) =
            net::preflight(settings.driver, settings.shards).map_err(StartError::Driver)?;
        if let Some(refusal) = &refusal {
            warn!(cause = refusal.cause, fix = refusal.fix, "io_uring cannot be used; running on epoll");
        }
        let board = Board::new();
        let (ports, controls) = (0..settings.shards).map(|_| pair()).unzip();
        let control = Control::start(control_settings(&settings, &board), controls)?;
        let view = NodeView::new(control.status());
        let (ends, ended) = flume::unbounded();
        let listener = sockets.admin.take();
        let mut node = Self {
            settings,
            board,
            sockets,
            control,
            admin: None,
            view,
            driver,
            refusal,
            ports,
            shards: Vec::new(),
            ends,
            ended,
        };
        for index in 0..node.settings.shards {
            let handle = node.start_shard(index).map_err(StartError::Shard)?;
            node.shards.push(Some(handle));
        }
        if let Some(listener) = listener {
            node.admin = Some(admin::start(listener, node.admin_options()).map_err(StartError::Admin)?);
        }
        if let Some(registration) = node.settings.registration.clone() {
            node.control.announce(registration);
        }
        node.log_start();
        Ok(node)
    }

    /// Starts shards again that die, until a signal asks for something else; the log is reopened in between.
    pub fn supervise(&mut self, signals: &flume::Receiver<Signal>, reopen_logs: impl Fn()) -> Signal {
        loop {
            let event = flume::Selector::new()
                .recv(&self.ended, |index| index.map_or(Event::Nothing, Event::ShardEnded))
                .recv(signals, |signal| signal.map_or(Event::Signal(Signal::Terminate), Event::Signal))
                .wait();
            match event {
                Event::ShardEnded(index) => self.restart(index),
                Event::Signal(Signal::HangUp | Signal::User1) => reopen_logs(),
                Event::Signal(signal) => return signal,
                Event::Nothing => {}
            }
        }
    }

    /// Ends everything at once.
    pub fn stop(mut self) {
        self.tell_all(Command::Cut);
        for index in 0..self.shards.len() {
            self.join_shard(index);
        }
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
        self.control.stop();
    }

    pub(super) fn tell_all(&self, command: Command) {
        self.shards.iter().flatten().for_each(|handle| handle.tell(command));
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
            }
            Err(error) => {
                error!(shard = index, %error, "cannot start it; trying again");
                let _ = self.ends.send(index);
            }
        }
    }

    fn start_shard(&self, index: usize) -> std::io::Result<Handle> {
        let port = self.ports.get(index).cloned().ok_or_else(|| std::io::Error::other("no such shard"))?;
        let spec = ShardSpec {
            options: ShardOptions {
                name: format!("shard-{index}"),
                driver: self.driver,
                cpu: None,
                polling: self.settings.polling,
            },
            listeners: self.sockets.for_shard()?,
            port,
            board: self.board.clone(),
            policies: self.settings.policies.clone(),
            seed: RandomState::new().hash_one(index),
        };
        let ends = self.ends.clone();
        let handle = shard::start(spec, move || {
            // Nobody listens any more once the node is being dropped.
            let _ = ends.send(index);
        })?;
        let why = self.refusal.as_ref().map(ToString::to_string).unwrap_or_default();
        self.view.set_shard(index, Shard { alive: true, driver: handle.driver().to_string(), why });
        Ok(handle)
    }

    fn admin_options(&self) -> AdminOptions {
        let identity = &self.settings.identity;
        AdminOptions {
            identity: admin::Identity {
                app: identity.app.to_string(),
                service: identity.name.to_string(),
                version: identity.version.to_string(),
            },
            build: Build { version: env!("CARGO_PKG_VERSION").into(), ..Build::default() },
            board: self.board.clone(),
            view: self.view.clone(),
        }
    }

    fn log_start(&self) {
        let listeners: Vec<_> = self
            .sockets
            .traffic
            .iter()
            .filter_map(|(socket, direction)| {
                Some(format!("{} {}", direction.label(), socket.local_addr().ok()?))
            })
            .collect();
        let (registry, address) = self.settings.registry.name();
        info!(
            version = env!("CARGO_PKG_VERSION"),
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
    Signal(Signal),
    Nothing,
}

fn control_settings(settings: &Settings, board: &Arc<Board>) -> ControlSettings {
    let (kind, address) = settings.registry.name();
    let upstreams = settings.upstreams.clone();
    ControlSettings {
        registry_kind: kind.to_owned(),
        registry_address: address,
        source: settings.registry.factory(),
        identity: settings.identity.clone(),
        upstream: Arc::new(move |service: &str| upstreams.of(service)),
        health_checks: settings.checks.clone(),
        state_dir: settings.state_dir.clone(),
        services_max: SERVICES_MAX,
        board: board.clone(),
    }
}
