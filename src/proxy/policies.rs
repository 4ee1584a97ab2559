//! How a shard treats requests: the part of the configuration that is the data plane's, ready to be sent to it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use mesher_actors::snapshot::port::ShardPort;
use mesher_actors::snapshot::stats::{Direction, Labels, ShardBoard};
use mesher_actors::snapshot::{Policy, Tls};

use super::context::{Context, Random, Spare, Unrouted};
use super::dates::Dates;
use super::drain::Drain;
use super::lookup::Lookups;
use super::settings::Settings;
use super::terms::Terms;
use crate::handler::Directory;
use crate::handler::context::SourceContext;
use crate::handler::destination::LocalPorts;
use crate::net::Seldom;
use crate::upstream::{self, Upstreams};

/// Policies of one mesher, the same for each of its shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// Bounds of downstream connections.
    pub settings: Settings,
    /// Bounds of upstream connections.
    pub upstream: upstream::Settings,
    /// `servicecomb.handler.chain.Consumer.outgoing`.
    pub outgoing: Vec<String>,
    /// `servicecomb.handler.chain.Provider.incoming`.
    pub incoming: Vec<String>,
    /// Where the local service is.
    pub service_host: IpAddr,
    /// Its ports.
    pub ports: LocalPorts,
    /// Bounds of requests to it.
    pub local_policy: Policy,
    /// Its application, name and version.
    pub service: ServiceLabels,
    /// What listeners present, and how services are called.
    pub tls: Tls,
}

/// The local service as metrics name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLabels {
    /// Application.
    pub app: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Version.
    pub version: Arc<str>,
}

impl Policies {
    /// Everything the connections of a shard share. Called on the shard's thread.
    #[must_use]
    pub fn into_context(self, port: ShardPort, board: &ShardBoard, seed: u64) -> Rc<Context> {
        let stats = board.stats().clone();
        let empty: Arc<str> = "".into();
        let unrouted = |direction| {
            board.series(Labels {
                direction,
                app: empty.clone(),
                service: empty.clone(),
                version: empty.clone(),
            })
        };
        let local = board.series(Labels {
            direction: Direction::Incoming,
            app: self.service.app.clone(),
            service: self.service.name.clone(),
            version: self.service.version.clone(),
        });
        let source = SourceContext::new(&self.service.name);
        // JSON in printable bytes: always the value of a field.
        let source_alone =
            HeaderValue::from_bytes(&source.merge(None)).unwrap_or_else(|_| HeaderValue::from_static("{}"));
        let upstreams = Upstreams::new(&self.upstream, stats.clone());
        Rc::new(Context {
            terms: RefCell::new(Rc::new(Terms::new(self, &upstreams, local))),
            directory: RefCell::new(Directory::default()),
            upstreams,
            lookups: Lookups::new(port),
            drain: Drain::default(),
            source,
            source_alone,
            unrouted: Unrouted {
                outgoing: unrouted(Direction::Outgoing),
                incoming: unrouted(Direction::Incoming),
            },
            stats,
            spare: Spare::default(),
            dates: Dates::default(),
            random: Random::new(seed),
            tls_failures_told: Seldom::default(),
            calmed_told: Seldom::default(),
        })
    }
}
