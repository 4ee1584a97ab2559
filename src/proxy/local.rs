//! The local service as a target: one endpoint a port.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use mesher_actors::snapshot::stats::Series;
use mesher_actors::snapshot::{Endpoint, Failure, Policy, Protocol, Service, Strategy, TlsClient};

use crate::balance::Balancer;
use crate::handler::destination::{LocalPort, LocalPorts};
use crate::handler::{Reply, Target};
use crate::upstream::Upstreams;

/// Different ports that callers may name where no service ports are configured. Real services have one or two.
pub const PORTS_MAX: usize = 64;

/// The service beside which mesher stands.
#[derive(Debug)]
pub struct Local {
    host: IpAddr,
    ports: LocalPorts,
    tls: Option<Arc<TlsClient>>,
    name: Arc<str>,
    app: Arc<str>,
    policy: Policy,
    series: Arc<Series>,
    targets: RefCell<HashMap<LocalPort, Rc<Target>>>,
    upstreams: Rc<Upstreams>,
}

impl Local {
    /// The service at `host` (`mesher.service.host`), reachable through `ports`, and by TLS if `tls` says how.
    #[must_use]
    pub fn new(
        (host, ports): (IpAddr, LocalPorts),
        tls: Option<Arc<TlsClient>>,
        policy: Policy,
        series: Arc<Series>,
        upstreams: Rc<Upstreams>,
    ) -> Self {
        let (name, app) = (series.labels.service.clone(), series.labels.app.clone());
        Self { host, ports, tls, name, app, policy, series, targets: RefCell::default(), upstreams }
    }

    /// The target that a request from outside is for; see [`LocalPorts::resolve`].
    ///
    /// # Errors
    /// The reply to give if the port is unknown or out of bounds.
    pub fn target(
        &self,
        forwarded: Option<&[u8]>,
        listener: Protocol,
        is_grpc: bool,
    ) -> Result<Rc<Target>, Reply> {
        let port = self.ports.resolve(forwarded, listener, is_grpc)?;
        let mut targets = self.targets.borrow_mut();
        if let Some(target) = targets.get(&port) {
            return Ok(target.clone());
        }
        if targets.len() >= PORTS_MAX {
            return Err(Reply::new(
                Failure::Overloaded,
                "callers have named too many different ports; configure --service-ports",
            ));
        }
        let target = Rc::new(self.make(port));
        targets.insert(port, target.clone());
        Ok(target)
    }

    /// Counts requests to it.
    #[must_use]
    pub fn series(&self) -> &Arc<Series> {
        &self.series
    }

    fn make(&self, LocalPort { port, protocol }: LocalPort) -> Target {
        let address = SocketAddr::new(self.host, port);
        let endpoint = Endpoint { instance: "local".into(), address, protocol, tls: false };
        let service = Service {
            name: self.name.clone(),
            app: self.app.clone(),
            version: self.series.labels.version.clone(),
            strategy: Strategy::RoundRobin,
            endpoints: [endpoint].into(),
            tls_endpoints: Arc::default(),
            instances_total: 1,
            left_out: "".into(),
            policy: self.policy.clone(),
        };
        Target {
            service: Arc::new(service),
            peers: [self.upstreams.acquire(address, protocol, self.tls.clone())].into(),
            balancer: RefCell::new(Balancer::new(Strategy::RoundRobin, 0)),
            series: self.series.clone(),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let targets = self.targets.get_mut().values();
        targets.flat_map(|target| target.peers.iter()).for_each(|peer| self.upstreams.release(peer.pool));
    }
}
