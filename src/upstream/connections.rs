//! The upstream connections of a shard.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use mesher_actors::snapshot::stats::ShardStats;
use mesher_actors::snapshot::{Protocol, TlsClient};
use tracing::warn;

use super::http2::{self, Dial, Endpoint, Endpoints};
use super::pool::{Bounds, Pools};
use crate::handler::{Peer, PoolId};
use crate::net::{self, Seldom, Stream, TlsError};

/// How often idle connections are looked through. A connection that its peer closed stays in the table of open
/// files until then.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds of upstream connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// Idle connections kept for one endpoint on one shard (`servicecomb.transport.maxIdleCon.rest`).
    pub idle_per_endpoint: usize,
    /// How long a connection may be idle in the pool.
    pub idle_timeout: Duration,
    /// Bounds of connections that speak HTTP/2.
    pub http2: http2::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        // 4 s: below the keep-alive time of Node (5 s) and most others. 512: Mesher's.
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_per_endpoint: 512,
            idle_timeout: Duration::from_secs(4),
            http2: http2::Settings::default(),
        }
    }
}

impl Settings {
    fn bounds(&self) -> Bounds {
        Bounds { idle_per_endpoint: self.idle_per_endpoint, idle_timeout: self.idle_timeout }
    }
}

/// An open upstream connection; counted while it lives.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    handshakes: Rc<Handshakes>,
    /// It has carried a request before.
    pub reused: bool,
}

impl Deref for Connection {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handshakes.stats.upstream_open.sub(1);
        if let Some(error) = self.stream.tls_refusal() {
            self.handshakes.failed(self.stream.peer_addr(), &error);
        }
    }
}

/// What all connections of a pool have in common: where they lead, and whom the other end has proven to be. Another
/// configuration of TLS is another pool: nothing is sent on what was trusted by rules that do not hold any more.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    address: SocketAddr,
    tls: Option<Arc<TlsClient>>,
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        self.tls.as_ref().map(|tls| Arc::as_ptr(&tls.config)).hash(state);
    }
}

/// Makes, keeps and lets go of a shard's upstream connections.
#[derive(Debug)]
pub struct Upstreams {
    pools: RefCell<Pools<Key, Connection>>,
    connect_timeout: Cell<Duration>,
    sweeping: Cell<bool>,
    http2: Endpoints,
    stats: Arc<ShardStats>,
    handshakes: Rc<Handshakes>,
}

/// Counts TLS handshakes, and tells of those that failed.
#[derive(Debug)]
struct Handshakes {
    stats: Arc<ShardStats>,
    told: Seldom,
}

impl Upstreams {
    /// None open yet.
    #[must_use]
    pub fn new(settings: &Settings, stats: Arc<ShardStats>) -> Rc<Self> {
        Rc::new(Self {
            pools: RefCell::new(Pools::new(settings.bounds())),
            connect_timeout: Cell::new(settings.connect_timeout),
            sweeping: Cell::new(false),
            http2: Endpoints::new(settings.http2.clone(), stats.clone()),
            handshakes: Rc::new(Handshakes { stats: stats.clone(), told: Seldom::default() }),
            stats,
        })
    }

    /// Changes the bounds. Connections that are too many now go when they are used or have expired.
    pub fn apply(&self, settings: &Settings) {
        self.connect_timeout.set(settings.connect_timeout);
        self.pools.borrow_mut().set_bounds(settings.bounds());
        self.http2.apply(settings.http2.clone());
    }

    /// An endpoint, for a target that will call it; see [`Upstreams::release`].
    pub fn acquire(&self, address: SocketAddr, protocol: Protocol, tls: Option<Arc<TlsClient>>) -> Peer {
        let pool = self.pools.borrow_mut().acquire(Key { address, tls: tls.clone() });
        Peer { address, protocol, tls, pool }
    }

    /// A target no longer uses the pool.
    pub fn release(&self, id: PoolId) {
        self.pools.borrow_mut().release(id);
        if !self.pools.borrow().contains(id) {
            self.http2.remove(id);
        }
    }

    /// Closes all idle connections; those that speak HTTP/2 say goodbye first.
    pub fn let_go(&self) {
        self.pools.borrow_mut().let_go();
        self.http2.let_go();
    }

    /// A kept connection that, as far as is known, is still alive and has been sent nothing that nobody asked for. What
    /// came since the last turn is not known yet; a connection that was put back since then is asked for it, or what an
    /// origin sends right behind a response (the body of one that must have none) would be taken for the next one.
    pub fn take(&self, id: PoolId) -> Option<Connection> {
        let connection = self.pools.borrow_mut().take(id, net::now(), |idle, just_now| {
            if just_now { !idle.is_stale_now() } else { !idle.is_stale() }
        })?;
        self.stats.upstream_reused.add(1);
        Some(connection)
    }

    /// Keeps a connection on which an exchange has ended in order.
    pub fn put(self: &Rc<Self>, id: PoolId, mut connection: Connection) {
        connection.reused = true;
        self.pools.borrow_mut().put(id, connection, net::now());
        if !self.sweeping.replace(true) {
            net::spawn(sweep(Rc::downgrade(self)));
        }
    }

    /// A kept connection if `may_reuse` and there is one, else a new one.
    ///
    /// # Errors
    /// As [`Upstreams::connect`].
    pub async fn connection(&self, peer: &Peer, may_reuse: bool) -> io::Result<Connection> {
        if let Some(kept) = may_reuse.then(|| self.take(peer.pool)).flatten() {
            return Ok(kept);
        }
        self.connect(peer.address, peer.tls.as_deref()).await
    }

    /// The connections to an endpoint that speak HTTP/2. For one whose pool is gone (a request outlives a change of the
    /// registry) it is an endpoint of the caller's own, whose connections end with what they carry.
    pub fn http2(self: &Rc<Self>, peer: &Peer) -> Rc<Endpoint> {
        if let Some(endpoint) = self.http2.find(peer.pool) {
            return endpoint;
        }
        let endpoint = self.http2.make(peer.address, self.dial(peer));
        if self.pools.borrow().contains(peer.pool) {
            self.http2.keep(peer.pool, endpoint.clone());
        }
        endpoint
    }

    /// How connections that are to speak HTTP/2 are made.
    fn dial(self: &Rc<Self>, peer: &Peer) -> Dial {
        let (upstreams, address, tls) = (Rc::downgrade(self), peer.address, peer.tls.clone());
        Rc::new(move || {
            let (upstreams, tls) = (upstreams.clone(), tls.clone());
            Box::pin(async move {
                let upstreams = upstreams.upgrade().ok_or(io::ErrorKind::NotConnected)?;
                upstreams.connect(address, tls.as_deref()).await
            })
        })
    }

    /// A new connection, secured if `tls` says how. Never in the clear if it does.
    ///
    /// # Errors
    /// What the system says, or why TLS failed; `TimedOut` after the connect time-out, which is for both.
    pub async fn connect(&self, address: SocketAddr, tls: Option<&TlsClient>) -> io::Result<Connection> {
        let (timeout, begun) = (self.connect_timeout.get(), net::now());
        let stream = Stream::connect(address, timeout).await?;
        if let Some(tls) = tls {
            let left = timeout.saturating_sub(net::now().saturating_duration_since(begun));
            let secured = stream.connect_tls(tls.config.clone(), tls.server_name.clone(), left).await;
            match secured {
                Ok(()) => self.stats.handshakes_upstream.count(Ok(stream.is_resumed())),
                Err(error) => {
                    self.handshakes.failed(address, &error);
                    return Err(error.into());
                }
            }
        }
        self.stats.upstream_connects.add(1);
        self.stats.upstream_open.add(1);
        Ok(Connection { stream, handshakes: self.handshakes.clone(), reused: false })
    }
}

impl Handshakes {
    /// Of an instance that another may have stood in for, so that no client saw it; though not told of each one in a flood.
    fn failed(&self, address: SocketAddr, error: &TlsError) {
        let failure = error.failure();
        self.stats.handshakes_upstream.count(Err(failure));
        if let Some(untold) = self.told.tell(net::now()) {
            let reason = failure.label();
            warn!(peer = %address, reason, why = %error, untold, "a TLS handshake with an instance failed");
        }
    }
}

/// Closes what expires; ends when nothing is left, so that an idle shard sleeps.
async fn sweep(upstreams: Weak<Upstreams>) {
    loop {
        net::sleep(SWEEP_INTERVAL).await;
        let Some(upstreams) = upstreams.upgrade() else { return };
        let mut pools = upstreams.pools.borrow_mut();
        pools.sweep(net::now(), |idle| !idle.is_stale());
        if pools.idle() == 0 {
            upstreams.sweeping.set(false);
            return;
        }
    }
}
