//! The upstream connections of a shard.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use mesher_actors::snapshot::stats::ShardStats;

use super::http2::{self, Dial, Endpoint, Endpoints};
use super::pool::{Bounds, Pools};
use crate::handler::PoolId;
use crate::net::{self, Stream};

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
    stats: Arc<ShardStats>,
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
        self.stats.upstream_open.sub(1);
    }
}

/// Makes, keeps and lets go of a shard's upstream connections.
#[derive(Debug)]
pub struct Upstreams {
    pools: RefCell<Pools<Connection>>,
    connect_timeout: Cell<Duration>,
    sweeping: Cell<bool>,
    http2: Endpoints,
    stats: Arc<ShardStats>,
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
            stats,
        })
    }

    /// Changes the bounds. Connections that are too many now go when they are used or have expired.
    pub fn apply(&self, settings: &Settings) {
        self.connect_timeout.set(settings.connect_timeout);
        self.pools.borrow_mut().set_bounds(settings.bounds());
        self.http2.apply(settings.http2.clone());
    }

    /// The pool of an address, for a target that will use it; see [`Upstreams::release`].
    pub fn acquire(&self, address: SocketAddr) -> PoolId {
        self.pools.borrow_mut().acquire(address)
    }

    /// A target no longer uses the pool.
    pub fn release(&self, id: PoolId) {
        self.pools.borrow_mut().release(id);
        if !self.pools.borrow().contains(id) {
            self.http2.remove(id);
        }
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

    /// The connections of a pool's address that speak HTTP/2. For a pool that is gone (a request outlives a change of the
    /// registry) it is an endpoint of the caller's own, whose connections end with what they carry.
    pub fn http2(self: &Rc<Self>, id: PoolId, address: SocketAddr) -> Rc<Endpoint> {
        if let Some(endpoint) = self.http2.find(id) {
            return endpoint;
        }
        let endpoint = self.http2.make(address, self.dial(address));
        if self.pools.borrow().contains(id) {
            self.http2.keep(id, endpoint.clone());
        }
        endpoint
    }

    /// How connections that are to speak HTTP/2 are made.
    fn dial(self: &Rc<Self>, address: SocketAddr) -> Dial {
        let upstreams = Rc::downgrade(self);
        Rc::new(move || {
            let upstreams = upstreams.clone();
            Box::pin(async move {
                let upstreams = upstreams.upgrade().ok_or(io::ErrorKind::NotConnected)?;
                upstreams.connect(address).await
            })
        })
    }

    /// A new connection.
    ///
    /// # Errors
    /// What the system says; `TimedOut` after the connect time-out.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Connection> {
        let stream = Stream::connect(address, self.connect_timeout.get()).await?;
        self.stats.upstream_connects.add(1);
        self.stats.upstream_open.add(1);
        Ok(Connection { stream, stats: self.stats.clone(), reused: false })
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
