//! What every connection of a shard shares: policy, pools and things to use again.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::stats::{Direction, Series, ShardStats};
use mesher_actors::snapshot::{Endpoint, Protocol, Service};

use super::dates::Dates;
use super::drain::Drain;
use super::lookup::Lookups;
use super::policies::Policies;
use super::recycle::Recycle;
use super::terms::Terms;
use crate::balance::Balancer;
use crate::codec::{RequestHead, ResponseHead};
use crate::handler::context::SourceContext;
use crate::handler::{Directory, Peer, Reply, Target};
use crate::net::Seldom;
use crate::upstream::Upstreams;

/// Heads and buffers kept for reuse; more requests than this at a time allocate.
pub const RECYCLED_MAX: usize = 256;
/// A buffer that grew beyond this is not kept.
pub const RECYCLED_BYTES_MAX: usize = 64 * 1024;

/// Where a connection came in.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// Which way its requests go.
    pub direction: Direction,
    /// Address of the listener.
    pub address: SocketAddr,
    /// What the listener is for: which port of the local service a request is for that names none, unless it says itself
    /// what it is.
    pub protocol: Protocol,
    /// What the listener presents if it speaks TLS.
    pub presents: Presents,
}

/// Which of the two certificates of [`Tls`](mesher_actors::snapshot::Tls) a listener presents, if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presents {
    /// The one for this machine.
    Local,
    /// The one for others.
    External,
}

/// One shard as its connections see it.
#[derive(Debug)]
pub struct Context {
    /// How requests are treated that begin now.
    pub terms: RefCell<Rc<Terms>>,
    /// Services known.
    pub directory: RefCell<Directory>,
    /// Connections to upstreams.
    pub upstreams: Rc<Upstreams>,
    /// Requests that wait for their service.
    pub lookups: Lookups,
    /// The shutdown.
    pub drain: Drain,
    /// What is told to upstreams about the caller.
    pub source: SourceContext,
    /// The same for a request that has no context, as the value of a field.
    pub source_alone: HeaderValue,
    /// Numbers of the shard.
    pub stats: Arc<ShardStats>,
    /// Where requests of each direction are counted that found no target.
    pub unrouted: Unrouted,
    /// Things to use again.
    pub spare: Spare,
    /// The time of day.
    pub dates: Dates,
    /// State of the random numbers.
    pub random: Random,
    /// Failed TLS handshakes that the log tells of.
    pub tls_failures_told: Seldom,
    /// Clients told to calm down that the log tells of.
    pub calmed_told: Seldom,
}

/// Series of requests without a target.
#[derive(Debug)]
pub struct Unrouted {
    /// On the way out.
    pub outgoing: Arc<Series>,
    /// On the way in.
    pub incoming: Arc<Series>,
}

/// Things to use again.
#[derive(Debug)]
pub struct Spare {
    requests: Recycle<Box<RequestHead>>,
    responses: Recycle<Box<ResponseHead>>,
    buffers: Recycle<Vec<u8>>,
}

impl Default for Spare {
    fn default() -> Self {
        Self {
            requests: Recycle::new(RECYCLED_MAX),
            responses: Recycle::new(RECYCLED_MAX),
            buffers: Recycle::new(RECYCLED_MAX),
        }
    }
}

impl Spare {
    /// Lets go of everything.
    fn clear(&self) {
        self.requests.clear();
        self.responses.clear();
        self.buffers.clear();
    }

    /// An empty request head.
    pub fn request(&self) -> Box<RequestHead> {
        self.requests.take(|| Box::new(RequestHead::new()))
    }

    /// Takes a request head back.
    pub fn put_request(&self, mut head: Box<RequestHead>) {
        head.reset();
        self.requests.put(head);
    }

    /// An empty response head.
    pub fn response(&self) -> Box<ResponseHead> {
        self.responses.take(|| Box::new(ResponseHead::new()))
    }

    /// Takes a response head back.
    pub fn put_response(&self, mut head: Box<ResponseHead>) {
        head.reset();
        self.responses.put(head);
    }

    /// An empty buffer.
    pub fn buffer(&self) -> Vec<u8> {
        self.buffers.take(Vec::new)
    }

    /// Takes a buffer back.
    pub fn put_buffer(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= RECYCLED_BYTES_MAX {
            buffer.clear();
            self.buffers.put(buffer);
        }
    }
}

/// Random numbers for balancing: fast, not for secrets (splitmix64).
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// Starts from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Context {
    /// The terms of requests that begin now.
    #[must_use]
    pub fn terms(&self) -> Rc<Terms> {
        self.terms.borrow().clone()
    }

    /// Treats requests like this from now on; those in flight keep their terms.
    pub fn apply(&self, policies: Policies) {
        self.upstreams.apply(&policies.upstream);
        let old = self.terms();
        let renewed = Rc::new(old.renewed(policies, &self.upstreams));
        self.terms.replace(renewed.clone());
        if old.tls() != renewed.tls() {
            self.call_anew();
        }
    }

    /// The endpoints of a service, as it is called now: if that is by TLS, all of them are, what they declare or not, and
    /// if it is not, none that declares to want it. They are to be released.
    #[must_use]
    pub fn peers(&self, service: &Service) -> Box<[Peer]> {
        let terms = self.terms.borrow();
        let client = |protocol| terms.tls().client(&service.name, protocol);
        let (rest, grpc) = (client(Protocol::Rest), client(Protocol::Grpc));
        let peer = |endpoint: &Endpoint| {
            let tls = match endpoint.protocol {
                Protocol::Rest => &rest,
                Protocol::Grpc => &grpc,
            };
            (tls.is_some() || !endpoint.tls)
                .then(|| self.upstreams.acquire(endpoint.address, endpoint.protocol, tls.clone()))
        };
        let declares_both = |secure: &&Endpoint| {
            service.endpoints.iter().any(|e| (e.address, e.protocol) == (secure.address, secure.protocol))
        };
        let secure = service.tls_endpoints.iter().filter(|endpoint| !declares_both(endpoint));
        let mut peers: Vec<_> = service.endpoints.iter().chain(secure).filter_map(peer).collect();
        peers.sort_by_key(|peer| peer.protocol);
        peers.into()
    }

    /// Calls all services in the way of now. Requests in flight keep the way in which they began.
    fn call_anew(&self) {
        let mut replaced = Vec::new();
        self.directory.borrow_mut().renew(|old| {
            replaced.extend(old.peers.iter().map(|peer| peer.pool));
            Rc::new(Target {
                service: old.service.clone(),
                peers: self.peers(&old.service),
                balancer: RefCell::new(old.balancer.replace(Balancer::new(old.service.strategy, 0))),
                series: old.series.clone(),
            })
        });
        // A pool stays open while the new target uses it too, so the old ones are let go last.
        replaced.into_iter().for_each(|pool| self.upstreams.release(pool));
    }

    /// Memory is short, or is no longer. While it is, requests are answered 503, connections end with the answer under way,
    /// and what is kept for later is let go; called again and again, so that this goes for what was in use before.
    pub fn set_short_of_memory(&self, is_short: bool) {
        self.drain.set_short_of_memory(is_short);
        if is_short {
            self.upstreams.let_go();
            self.spare.clear();
        }
    }

    /// Why no request more can be taken on, if so; `requests_max` may be in flight, this one included.
    #[must_use]
    pub fn refusal(&self, requests_max: u64) -> Option<Reply> {
        let why = if self.drain.is_short_of_memory() {
            "memory is short (mesher.limit.memoryBytes, or the control group's limit)"
        } else if self.stats.requests_in_flight.value() > requests_max {
            "as many requests as allowed are in flight (mesher.limit.requests)"
        } else {
            return None;
        };
        Some(Reply::new(Failure::Overloaded, why))
    }

    /// Where requests of a direction are counted that found no target.
    #[must_use]
    pub fn unrouted(&self, direction: Direction) -> &Arc<Series> {
        match direction {
            Direction::Outgoing => &self.unrouted.outgoing,
            Direction::Incoming => &self.unrouted.incoming,
        }
    }
}
