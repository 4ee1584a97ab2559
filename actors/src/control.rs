//! The control plane as a whole: one thread that all its actors share.
//!
//! ```text
//!   shards <== ports ==> RouteTable <--- Balancer (one a service) <--- Watcher <===> source <~~~> registry
//!                             \------------- lookups ----------------> ^   ^------- Health ~~~> local service
//!   Control (any thread) ---- orders ----------------------------------/
//! ```
//!
//! RouteTable, Watcher and Health live and die together: a panic in one is a bug, and all three begin anew with what
//! is remembered outside of them, while the shards serve on from the snapshot they have. A source and a balancer die
//! alone. A process may run several control planes; nothing here is global.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{AsyncContext as _, Context, System};
use tracing::error;

use crate::balancer::{Selection, Upstream};
use crate::health::{Check, Health, Verdict};
use crate::registry::instance::{Identity, Registration};
use crate::registry::watcher::{self, Memory, Order, Watcher};
use crate::registry::{COMMANDS_WAITING_MAX, Source};
use crate::route::{Ledger, RouteTable};
use crate::snapshot::port::ControlPort;
use crate::snapshot::stats::Board;
use crate::state::Key;
use crate::status::{Running, StatusBoard};
use crate::supervisor::{Backoff, Report, Together, supervise};

/// Services known at a time unless set otherwise. A sidecar calls tens; each costs a watch in the registry, and the
/// commands that repeat them all to a new source must fit into its channel.
pub const SERVICES_MAX: usize = 1024;

/// Orders that may wait; there are a few in a life, and a reload is made by a person.
const ORDERS_WAITING_MAX: usize = 16;
/// Messages that may wait for an actor: lookups come 1024 at a time from each shard, and those beyond are dropped.
const MAILBOX: usize = 4096;
/// Between two lives of the actors, after a bug.
const ACTORS_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(10) };

/// Makes a source; called on the control thread, again after each death.
pub type SourceFactory = Box<dyn Fn() -> Box<dyn Source> + Send>;
/// What the configuration says of a service.
pub type UpstreamSettings = Arc<dyn Fn(&str) -> Upstream + Send + Sync>;

/// How a control plane works.
pub struct ControlSettings {
    /// Kind of the registry, for people: `servicecenter`, `file`.
    pub registry_kind: String,
    /// Its addresses or path, for people.
    pub registry_address: String,
    /// Makes the source that talks to it.
    pub source: SourceFactory,
    /// Who we are.
    pub identity: Identity,
    /// Strategy and bounds of each service.
    pub upstream: UpstreamSettings,
    /// Checks of the local service.
    pub health_checks: Vec<Check>,
    /// Where the last good state is kept; a directory of this mesher alone. None: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Services known at a time, [`SERVICES_MAX`] unless there is a reason; 1 to 2048.
    pub services_max: usize,
    /// The shards' counters: services that are no longer called are forgotten.
    pub board: Arc<Board>,
}

/// A running control plane. Dropping it stops it.
#[derive(Debug)]
pub struct Control {
    status: Arc<StatusBoard>,
    orders: flume::Sender<Order>,
    checks: flume::Sender<Vec<Check>>,
    stop: flume::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The thread or its event loop was refused by the system.
    #[error("the control thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What is wanted of the actors.
struct Given {
    orders: flume::Receiver<Order>,
    checks: flume::Receiver<Vec<Check>>,
}

/// Everything that outlives the actors.
struct Roots {
    settings: Rc<watcher::Settings>,
    memory: Rc<RefCell<Memory>>,
    ledger: Rc<RefCell<Ledger>>,
    checks: Rc<RefCell<Rc<[Check]>>>,
    verdict: Rc<RefCell<Verdict>>,
    given: Given,
    status: Arc<StatusBoard>,
}

/// Says that the control plane is gone, however its thread ends.
struct Epitaph(Arc<StatusBoard>);

// === impl Control ===

impl Control {
    /// Starts the control thread. The registry is not waited for: it is reached, or not, in the background, and
    /// [`StatusBoard::readiness`] tells.
    ///
    /// # Errors
    /// When the system refuses a thread or an event loop.
    pub fn start(settings: ControlSettings, ports: Vec<ControlPort>) -> Result<Self, ControlError> {
        let status = StatusBoard::new();
        status.update(|status| {
            status.registry.kind.clone_from(&settings.registry_kind);
            status.registry.address.clone_from(&settings.registry_address);
        });
        let (orders, given) = flume::bounded(ORDERS_WAITING_MAX);
        let (checks, new_checks) = flume::bounded(ORDERS_WAITING_MAX);
        let given = Given { orders: given, checks: new_checks };
        let (stop, stopped) = flume::bounded(1);
        let (began, beginning) = flume::bounded(1);
        let board = status.clone();
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            let _epitaph = Epitaph(board.clone());
            // Not `System::new`, which panics where it is refused.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Err(error) => {
                    let _ = began.send(Err(error));
                }
                Ok(runtime) => {
                    let system = System::with_tokio_rt(|| runtime);
                    let _ = began.send(Ok(()));
                    system.block_on(run(settings, ports, given, board, stopped));
                }
            }
        })?;
        match beginning.recv() {
            Ok(Ok(())) => Ok(Self { status, orders, checks, stop, thread: Some(thread) }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(std::io::Error::other("it died at once").into()),
        }
    }

    /// Has our own instance registered, and kept so until [`Control::withdraw`]. [`StatusBoard`] tells how it goes.
    pub fn announce(&self, registration: Registration) {
        if self.orders.try_send(Order::Announce(Arc::new(registration))).is_err() {
            error!("the control plane takes no orders; the instance is not registered");
        }
    }

    /// Has our own instance taken out of the registry. The outcome comes when that is done, at once if it was never
    /// announced; an error says why the instance may still be registered, and will be called until its lease ends.
    /// Nothing comes, and the channel closes, if the control plane has stopped.
    #[must_use]
    pub fn withdraw(&self) -> flume::Receiver<Result<(), String>> {
        let (done, outcome) = flume::bounded(1);
        // An order that is not taken is dropped, which closes the channel.
        let _ = self.orders.try_send(Order::Withdraw(done));
        outcome
    }

    /// Leaves our own instance registered as it is, to another process that has taken it over: no call more is made for
    /// it.
    pub fn release(&self) {
        self.order(Order::Release);
    }

    /// Has these services watched although no request wants them yet; [`StatusBoard`] shows when they are known.
    pub fn expect(&self, services: Vec<Arc<str>>) {
        self.order(Order::Expect(services));
    }

    /// Goes over to these checks of the local service, and to what [`ControlSettings::upstream`] says now. Checks that
    /// are as they were go on undisturbed.
    pub fn reload(&self, health_checks: Vec<Check>) {
        self.order(Order::Resolve);
        if self.checks.try_send(health_checks).is_err() {
            error!("the control plane is stuck; health checks stay as they were");
        }
    }

    fn order(&self, order: Order) {
        let what = order.name();
        if self.orders.try_send(order).is_err() {
            error!(order = what, "the control plane takes no orders");
        }
    }

    /// Where the actors put their status.
    #[must_use]
    pub fn status(&self) -> Arc<StatusBoard> {
        self.status.clone()
    }

    /// Ends all actors, writes the last good state if it is not on disk yet, and waits for the thread. What is
    /// registered stays so.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            error!("the control thread panicked");
        }
    }
}

// === impl Epitaph ===

impl Drop for Epitaph {
    fn drop(&mut self) {
        self.0.update(|status| status.running = Running::Stopped);
    }
}

// === impl Roots ===

impl Roots {
    fn new(
        settings: ControlSettings,
        ports: Vec<ControlPort>,
        given: Given,
        status: Arc<StatusBoard>,
    ) -> Self {
        let registry = format!("{} {}", settings.registry_kind, settings.registry_address);
        let selection = Selection::of(&settings.identity);
        let Identity { app, environment, .. } = settings.identity;
        let settings_of_watcher = watcher::Settings {
            source: settings.source,
            selection,
            upstream: settings.upstream,
            state: settings.state_dir.map(|dir| (dir, Key { registry, app, environment })),
            // All of them are repeated to a new source at once, with room left for other commands.
            services_max: settings.services_max.clamp(1, COMMANDS_WAITING_MAX / 2),
            requests: settings.board,
        };
        let memory = Memory::load(&settings_of_watcher, &status);
        Self {
            settings: Rc::new(settings_of_watcher),
            memory: Rc::new(RefCell::new(memory)),
            ledger: Rc::new(RefCell::new(Ledger::new(ports))),
            verdict: Rc::new(RefCell::new(Verdict::new(settings.health_checks.len()))),
            checks: Rc::new(RefCell::new(settings.health_checks.into())),
            given,
            status,
        }
    }

    /// One life of the actors.
    fn grow(&self) -> Together {
        let (mut route, mut watcher, health) = (Context::new(), Context::new(), Context::new());
        route.set_mailbox_capacity(MAILBOX);
        watcher.set_mailbox_capacity(MAILBOX);
        let (route_table, watched): (actix::Addr<RouteTable>, actix::Addr<Watcher>) =
            (route.address(), watcher.address());
        let mut actors = Together::default();
        actors.add(
            route,
            RouteTable::new(self.ledger.clone(), watched.clone().recipient(), self.status.clone()),
        );
        actors.add(
            watcher,
            Watcher::new(
                self.settings.clone(),
                self.memory.clone(),
                self.given.orders.clone(),
                route_table.recipient(),
                self.status.clone(),
            ),
        );
        actors.add(
            health,
            Health::new(
                self.checks.clone(),
                self.verdict.clone(),
                self.given.checks.clone(),
                watched.recipient(),
                self.status.clone(),
            ),
        );
        actors
    }
}

/// Runs the control plane until it is told to stop.
async fn run(
    settings: ControlSettings,
    ports: Vec<ControlPort>,
    given: Given,
    status: Arc<StatusBoard>,
    stopped: flume::Receiver<()>,
) {
    let roots = Roots::new(settings, ports, given, status.clone());
    status.update(|status| status.running = Running::Yes);
    let report = |report: Report<'_>| {
        if let Report::Died { death, wait } = &report {
            error!(%death, ?wait, "the control plane's actors died and are started again; this is a bug");
        }
        status.count("actors", &report);
    };
    let lives = supervise(ACTORS_BACKOFF, report, || roots.grow().first_death());
    futures::pin_mut!(lives);
    let stopped = stopped.into_recv_async();
    futures::future::select(lives, stopped).await;
    roots.memory.borrow_mut().save(&roots.settings);
}

#[cfg(test)]
mod tests;
