//! Behaviours of the connections to an endpoint, each on both drivers, against a peer on the same shard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bounds;
mod calls;
mod churn;
mod ends;
mod floods;
mod peer;
mod resets;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use mesher_actors::snapshot::Protocol;
use mesher_actors::snapshot::stats::ShardStats;

use super::{Call, CallError, Cause, Endpoint, Ready, Settings};
use crate::handler::PoolId;
use crate::net;
use crate::net::tests::{loopback, on_both, on_shard, until};
use crate::upstream::{self, Upstreams};
use peer::{Peer, Session};

/// A client side and where its peer will be.
struct World {
    upstreams: Rc<Upstreams>,
    stats: Arc<ShardStats>,
    pool: PoolId,
    endpoint: Rc<Endpoint>,
    peer: Peer,
}

impl World {
    fn new(settings: Settings) -> Self {
        let peer = Peer::new();
        Self::towards(peer.address(), peer, settings)
    }

    fn towards(address: SocketAddr, peer: Peer, settings: Settings) -> Self {
        let stats = Arc::new(ShardStats::default());
        let settings = upstream::Settings { http2: settings, ..upstream::Settings::default() };
        let upstreams = Upstreams::new(&settings, stats.clone());
        let reached = upstreams.acquire(address, Protocol::Grpc, None);
        let endpoint = upstreams.http2(&reached);
        Self { upstreams, stats, pool: reached.pool, endpoint, peer }
    }

    /// A call that goes on by itself.
    fn call(&self) -> oneshot::Receiver<Result<u16, CallError>> {
        start(get(self.endpoint.clone()))
    }

    fn streams(&self) -> u64 {
        self.stats.upstream_http2_streams.value()
    }

    fn connections(&self) -> u64 {
        self.stats.upstream_http2_open.value()
    }

    async fn everything_is_given_back(&self) {
        until("all is given back", || self.streams() == 0 && self.connections() == 0).await;
        assert_eq!(self.stats.upstream_open.value(), 0);
    }
}

/// Runs a behaviour on a shard of each driver.
fn on_each<Fut: Future<Output = ()> + 'static>(behaviour: impl Fn() -> Fut + Send + Clone + 'static) {
    on_both(|driver| on_shard(driver, behaviour.clone()));
}

/// Runs a future as a task; its result comes out at the other end.
fn start<T: 'static>(f: impl Future<Output = T> + 'static) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    net::spawn(async move {
        let _ = sender.send(f.await);
    });
    receiver
}

fn request() -> http::Request<()> {
    http::Request::builder().version(http::Version::HTTP_2).uri("http://orders/list").body(()).unwrap()
}

/// A call without a body, to the end of its answer: the status.
async fn get(endpoint: Rc<Endpoint>) -> Result<u16, CallError> {
    let Call { answer, lease, .. } = endpoint.ready().await?.send(request(), true)?;
    let explain = |error| lease.explain(&error);
    let mut response = answer.await.map_err(explain)?;
    while let Some(data) = response.body_mut().data().await {
        let n = data.map_err(explain)?.len();
        response.body_mut().flow_control().release_capacity(n).map_err(explain)?;
    }
    Ok(response.status().as_u16())
}

fn cause(outcome: Result<u16, CallError>) -> Cause {
    outcome.expect_err("the call fails").cause
}

/// Settings under which a single connection carries a single call.
fn narrow() -> Settings {
    Settings { streams_per_connection: 1, connections_per_endpoint: 1, ..Settings::default() }
}

/// Short enough for a test, longer than a tick of the clock.
const SHORT: Duration = Duration::from_millis(150);
