//! The connections to one endpoint: gives out places on them, makes another when all are full, lets callers wait.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use h2::client::SendRequest;
use mesher_actors::snapshot::stats::ShardStats;

use super::call::Ready;
use super::choice::{self, Load};
use super::driver;
use super::error::{CallError, Cause};
use super::link::Link;
use super::pulse::Pulse;
use super::queue::Queue;
use super::settings::Settings;
use super::wire::Wire;
use crate::net::{self, Seldom};
use crate::upstream::Connection;

/// After an attempt to make a further connection failed: how long the endpoint gets by with those it has. Otherwise each
/// call that ends would try again. With none left it tries at once.
const FURTHER_PAUSE: Duration = Duration::from_secs(1);

/// After an attempt to make one that only shares the calls: how long none is made again. What keeps it from being made, or from
/// lasting, rarely passes soon.
const COMPANY_PAUSE: Duration = Duration::from_secs(60);

/// Makes a connection on which HTTP/2 can begin: connected, secured if need be, within a time of its own.
pub type Dial = Rc<dyn Fn() -> LocalBoxFuture<'static, io::Result<Connection>>>;

/// One endpoint's connections on one shard. When the last owner lets go of it, its connections are retired.
pub struct Endpoint {
    address: SocketAddr,
    dial: Dial,
    settings: Rc<RefCell<Settings>>,
    stats: Arc<ShardStats>,
    /// Those that take calls, oldest first. Retired ones live on in their tasks.
    links: RefCell<Vec<Rc<Link>>>,
    waiting: Queue<Result<Ready, CallError>>,
    /// An [`Attempt`] is under way.
    connecting: Cell<bool>,
    /// No further connection is tried until then.
    paused_until: Cell<Option<Instant>>,
    /// Until then none is made only to share the calls.
    company_paused_until: Cell<Option<Instant>>,
    calmed_told: Seldom,
    me: Weak<Self>,
}

/// The one attempt to connect that an endpoint has under way. Whatever becomes of it, those who wait hear of it.
pub(super) struct Attempt {
    endpoint: Option<Weak<Endpoint>>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Without connections.
    pub(super) fn new(
        address: SocketAddr,
        dial: Dial,
        settings: Rc<RefCell<Settings>>,
        stats: Arc<ShardStats>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            address,
            dial,
            settings,
            stats,
            links: RefCell::default(),
            waiting: Queue::new(),
            connecting: Cell::new(false),
            paused_until: Cell::new(None),
            company_paused_until: Cell::new(None),
            calmed_told: Seldom::default(),
            me: me.clone(),
        })
    }

    /// A place on a connection, made if need be. Waits while all are full, for as long as the caller does: dropping the
    /// future gives everything back.
    ///
    /// # Errors
    /// [`Cause::ConnectFailed`] if there is no connection and the attempt that all who wait share has failed (the next
    /// caller starts another), [`Cause::Refused`] if its peer ended it before it took a request; [`Cause::Overflow`] if too
    /// many wait already.
    pub async fn ready(&self) -> Result<Ready, CallError> {
        if self.waiting.is_empty() {
            let mut chosen = self.chosen();
            if chosen.as_ref().is_some_and(|link| link.may_have_ended()) {
                net::yield_now().await; // to its task, which is woken already
                chosen = self.chosen();
            }
            if let Some(ready) = chosen.and_then(|link| link.lease()) {
                self.widen();
                return Ok(ready);
            }
        }
        let max = self.settings.borrow().waiting_per_endpoint;
        let Some(wait) = self.waiting.join(max) else { return Err(self.overflow(max)) };
        self.dispatch();
        wait.await
    }

    /// Hands out what places there are; asks for another connection if some still wait.
    pub(super) fn dispatch(&self) {
        while !self.waiting.is_empty() {
            let Some(ready) = self.take() else {
                if choice::wants_another(loads(&self.links.borrow())) {
                    self.connect();
                }
                return;
            };
            self.waiting.serve(|| Ok(ready));
        }
    }

    /// Asks for a connection that shares the calls.
    fn widen(&self) {
        let is_few = self.links.borrow().len() < choice::ABREAST;
        if !is_few || self.company_paused_until.get().is_some_and(|until| net::now() < until) {
            return;
        }
        if choice::wants_company(loads(&self.links.borrow())) && !self.connecting.get() {
            self.company_paused_until.set(Some(net::now() + COMPANY_PAUSE));
            self.connect();
        }
    }

    /// Retires the connections that carry nothing, unless somebody waits for them.
    pub(super) fn let_go(&self) {
        if self.waiting.is_empty() {
            let links = self.links.borrow().clone();
            links.iter().filter(|link| link.is_empty()).for_each(|link| link.retire());
        }
    }

    /// A connection takes no more calls.
    pub(super) fn forget(&self, link: &Link) {
        self.links.borrow_mut().retain(|known| !std::ptr::eq(&**known, link));
    }

    /// Counts a connection whose peer was told to calm down, and tells of it, though not of each one.
    pub(super) fn note_calmed(&self, why: &str) {
        self.stats.upstream_http2_calmed.add(1);
        if let Some(untold) = self.calmed_told.tell(net::now()) {
            tracing::warn!(
                peer = %self.address,
                why,
                untold,
                "an upstream HTTP/2 connection was ended: its peer was told to calm down"
            );
        }
    }

    fn take(&self) -> Option<Ready> {
        self.chosen()?.lease()
    }

    fn chosen(&self) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        let at = choice::choose(loads(&links), self.may_grow())?;
        links.get(at).cloned()
    }

    fn connect(&self) {
        if self.connecting.get() || !self.may_grow() {
            return;
        }
        self.connecting.set(true);
        let settings = self.settings.borrow().clone();
        let attempt = Attempt { endpoint: Some(self.me.clone()) };
        net::spawn(driver::run(attempt, self.dial.clone(), settings, self.stats.clone()));
    }

    /// There may be another connection.
    pub(super) fn may_grow(&self) -> bool {
        let count = self.links.borrow().len();
        let paused = self.paused_until.get().is_some_and(|until| net::now() < until);
        count < self.settings.borrow().connections_per_endpoint.max(1) && !(paused && count > 0)
    }

    fn connected(&self, link: Rc<Link>) {
        self.connecting.set(false);
        self.links.borrow_mut().push(link);
        self.dispatch();
    }

    /// Who waits shares the failure, unless there are connections to wait for.
    fn not_connected(&self, cause: Cause, why: &str) {
        self.connecting.set(false);
        if self.links.borrow().is_empty() {
            let detail = format!("no HTTP/2 connection to {}: {why}", self.address);
            self.waiting.serve_all(|| Err(CallError { cause, detail: detail.clone() }));
        } else if self.waiting.is_empty() {
            tracing::debug!(peer = %self.address, why, "a second upstream HTTP/2 connection could not be made");
        } else {
            tracing::warn!(peer = %self.address, why, "a further upstream HTTP/2 connection could not be made");
            self.paused_until.set(Some(net::now() + FURTHER_PAUSE));
            self.dispatch(); // to those that rest
        }
    }

    fn overflow(&self, max: usize) -> CallError {
        let detail = format!("{max} calls wait for a stream to {} already", self.address);
        CallError { cause: Cause::Overflow, detail }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        for link in self.links.take() {
            link.retire();
        }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let links = self.links.borrow();
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("loads", &loads(&links).collect::<Vec<_>>())
            .field("connecting", &self.connecting.get())
            .finish_non_exhaustive()
    }
}

fn loads(links: &[Rc<Link>]) -> impl Iterator<Item = Load> + Clone {
    links.iter().map(|link| link.load())
}

// === impl Attempt ===

impl Attempt {
    /// Whose it is.
    pub(super) fn endpoint(&self) -> Weak<Endpoint> {
        self.endpoint.clone().unwrap_or_default()
    }

    /// There is a connection; it is the endpoint's if that still exists.
    pub(super) fn succeeded(
        mut self,
        sender: SendRequest<Bytes>,
        wire: &Rc<Wire>,
        streams_max: u32,
        settings: &Settings,
    ) -> Option<Rc<Link>> {
        let me = self.endpoint.take()?;
        let endpoint = me.upgrade()?;
        let pulse = Pulse::new(settings.times(random()), net::now());
        let link =
            Link::new((me, endpoint.address), wire, sender, streams_max, pulse, endpoint.stats.clone());
        endpoint.connected(link.clone());
        Some(link)
    }

    /// There is none.
    pub(super) fn failed(mut self, cause: Cause, why: &str) {
        self.fail(cause, why);
    }

    fn fail(&mut self, cause: Cause, why: &str) {
        if let Some(endpoint) = self.endpoint.take().and_then(|endpoint| endpoint.upgrade()) {
            endpoint.not_connected(cause, why);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.fail(Cause::ConnectFailed, "the attempt was given up");
    }
}

/// Different for each connection; nobody needs to be surprised by it.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
