//! A chain of handlers, run forwards for a request and backwards for a failed attempt.

use super::loadbalance::LoadBalance;
use super::router::Router;
use super::transport::Transport;
use super::{After, Call, Fault, Handler, Invocation, Next, Reply};

/// Names of the handlers that exist.
pub const SERVED: [&str; 3] = ["router", "loadbalance", "transport"];

/// What the chain as a whole decided.
#[derive(Debug)]
pub enum Decision {
    /// Send the request to the endpoint in the call.
    Forward,
    /// Look the service up, then go on at this link.
    LookUp(usize),
    /// Answer here.
    Reply(Reply),
}

/// Handlers of one direction on one shard.
pub struct Chain {
    links: Vec<Box<dyn Handler>>,
}

impl Chain {
    /// A chain of these handlers. Names that are not [`SERVED`] are left out (the configuration check has named
    /// them); `transport` is added at the end where it is missing, since a chain without it answers nothing.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut links: Vec<Box<dyn Handler>> = names
            .into_iter()
            .filter_map(|name| -> Option<Box<dyn Handler>> {
                match name {
                    "router" => Some(Box::new(Router)),
                    "loadbalance" => Some(Box::new(LoadBalance)),
                    "transport" => Some(Box::new(Transport)),
                    _ => None,
                }
            })
            .collect();
        if !links.iter().any(|link| link.name() == "transport") {
            links.push(Box::new(Transport));
        }
        Self { links }
    }

    /// Runs the chain from link `from` on.
    pub fn on_request(&mut self, from: usize, invocation: &mut Invocation<'_>) -> Decision {
        for (at, link) in self.links.iter_mut().enumerate().skip(from) {
            match link.on_request(invocation) {
                Next::Next => {}
                Next::Forward => return Decision::Forward,
                Next::LookUp => return Decision::LookUp(at),
                Next::Reply(reply) => return Decision::Reply(reply),
            }
        }
        // Only reached if the last link is no transport, which `new` rules out.
        Decision::Reply(Reply::new(
            mesher_actors::snapshot::Failure::NoRoute,
            "the handler chain ended without a decision",
        ))
    }

    /// Runs the chain backwards for a failed attempt. `Some(link)` if it is to be tried again from there.
    pub fn on_fault(&mut self, call: &mut Call, fault: &Fault) -> Option<usize> {
        let retry =
            self.links.iter_mut().enumerate().rev().find_map(|(at, link)| match link.on_fault(call, fault) {
                After::Next => None,
                After::Retry => Some(at),
            });
        call.chosen &= retry.is_none();
        retry
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.links.iter().map(|link| link.name())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    use mesher_actors::snapshot::stats::{Board, Direction, Labels};
    use mesher_actors::snapshot::{
        Endpoint, Failure, Policy, Protocol, Resolution, Service, ServiceMap, Snapshot, Strategy,
    };

    use super::*;
    use crate::balance::Balancer;
    use crate::handler::{Directory, Peer, PoolId, Target};

    fn service(endpoints: u16) -> Arc<Service> {
        let endpoints: Vec<_> = (1..=endpoints)
            .map(|port| Endpoint {
                instance: format!("i{port}").into(),
                address: ([127, 0, 0, 1], port).into(),
                protocol: Protocol::Rest,
                tls: false,
            })
            .collect();
        Arc::new(Service {
            name: "orders".into(),
            app: "default".into(),
            version: "0.0.1".into(),
            strategy: Strategy::RoundRobin,
            endpoints: endpoints.into(),
            tls_endpoints: Arc::default(),
            instances_total: 3,
            left_out: "1 DOWN".into(),
            policy: Policy::default(),
        })
    }

    fn directory(entry: Option<Resolution>) -> Directory {
        let name: Arc<str> = "orders".into();
        let services: ServiceMap = entry.into_iter().map(|entry| (name.clone(), entry)).collect();
        let snapshot = Snapshot { version: 1, services: services.into(), changed: [name].into() };
        let mut directory = Directory::default();
        let board = Board::new().of_shard(0);
        directory.apply(&snapshot, &snapshot.changed, |service, _| {
            let empty: Arc<str> = "".into();
            let labels = Labels {
                direction: Direction::Outgoing,
                app: empty.clone(),
                service: empty.clone(),
                version: empty,
            };
            Rc::new(Target {
                service: service.clone(),
                peers: (0..)
                    .zip(service.endpoints.iter())
                    .map(|(slot, endpoint)| Peer {
                        address: endpoint.address,
                        protocol: endpoint.protocol,
                        tls: None,
                        pool: PoolId { slot, generation: 0 },
                    })
                    .collect(),
                balancer: RefCell::new(Balancer::new(service.strategy, 0)),
                series: board.series(labels),
            })
        });
        directory
    }

    fn run(chain: &mut Chain, from: usize, call: &mut Call, directory: &Directory) -> Decision {
        chain.on_request(from, &mut Invocation { call, service: "orders", directory, random: 1 })
    }

    fn refused() -> Fault {
        Fault { failure: Failure::ConnectFailed, repeatable: true, detail: String::new() }
    }

    #[test]
    fn an_unknown_name_is_looked_up_and_the_chain_resumed_where_it_was() {
        let mut chain = Chain::new(SERVED);
        let mut call = Call::default();
        let Decision::LookUp(at) = run(&mut chain, 0, &mut call, &directory(None)) else {
            panic!("no lookup")
        };
        let found = directory(Some(Resolution::Known(service(1))));
        assert!(matches!(run(&mut chain, at, &mut call, &found), Decision::Forward));
        assert_eq!(call.endpoint(), Some(0));
    }

    #[test]
    fn a_service_the_registry_does_not_have_is_refused_by_name() {
        let absent = directory(Some(Resolution::Absent("asked service-center 2 s ago".into())));
        let Decision::Reply(reply) = run(&mut Chain::new(SERVED), 0, &mut Call::default(), &absent) else {
            panic!("no reply")
        };
        assert_eq!(reply.failure, Failure::UnknownService);
        assert!(reply.detail.contains("orders") && reply.detail.contains("asked service-center"));
    }

    #[test]
    fn a_service_without_a_usable_instance_says_why() {
        let empty = directory(Some(Resolution::Known(service(0))));
        let Decision::Reply(reply) = run(&mut Chain::new(SERVED), 0, &mut Call::default(), &empty) else {
            panic!("no reply")
        };
        assert_eq!((reply.failure, reply.status), (Failure::NoHealthyInstance, 503));
        assert!(reply.detail.contains("0/3: 1 DOWN"), "{}", reply.detail);
    }

    #[test]
    fn a_refused_connection_moves_on_to_each_other_instance_once() {
        let mut chain = Chain::new(SERVED);
        let two = directory(Some(Resolution::Known(service(2))));
        let mut call = Call::default();
        assert!(matches!(run(&mut chain, 0, &mut call, &two), Decision::Forward));
        let first = call.endpoint();
        let Some(from) = chain.on_fault(&mut call, &refused()) else { panic!("no retry") };
        assert!(matches!(run(&mut chain, from, &mut call, &two), Decision::Forward));
        assert_ne!(call.endpoint(), first);
        assert_eq!(chain.on_fault(&mut call, &refused()), None);
    }

    #[test]
    fn a_call_of_grpc_goes_where_it_is_spoken_and_other_requests_to_rest_where_there_is_any() {
        let with = |protocols: &[Protocol]| {
            let mut service = Service::clone(&service(protocols.len() as u16));
            let spoken = service.endpoints.iter().zip(protocols);
            service.endpoints =
                spoken.map(|(endpoint, &protocol)| Endpoint { protocol, ..endpoint.clone() }).collect();
            directory(Some(Resolution::Known(Arc::new(service))))
        };
        let called = |protocols: &[Protocol], protocol| -> Vec<Option<usize>> {
            let (mut chain, directory) = (Chain::new(SERVED), with(protocols));
            let mut call = Call { protocol, ..Call::default() };
            let mut called = Vec::new();
            let mut from = Some(0);
            while let Some(link) = from {
                if !matches!(run(&mut chain, link, &mut call, &directory), Decision::Forward) {
                    break;
                }
                called.push(call.endpoint());
                from = chain.on_fault(&mut call, &refused());
            }
            called.sort();
            called
        };
        let both = [Protocol::Rest, Protocol::Rest, Protocol::Grpc];
        assert_eq!(called(&both, Protocol::Rest), [Some(0), Some(1)]);
        assert_eq!(called(&both, Protocol::Grpc), [Some(2)]);
        assert_eq!(called(&both[2..], Protocol::Rest), [Some(0)]);
        assert_eq!(called(&both[..1], Protocol::Grpc), []);
    }

    #[test]
    fn what_may_have_run_is_not_repeated() {
        let mut chain = Chain::new(SERVED);
        let two = directory(Some(Resolution::Known(service(2))));
        let mut call = Call::default();
        assert!(matches!(run(&mut chain, 0, &mut call, &two), Decision::Forward));
        let fault = Fault { failure: Failure::UpstreamClosed, repeatable: false, detail: String::new() };
        assert_eq!(chain.on_fault(&mut call, &fault), None);
    }

    #[test]
    fn a_chain_without_transport_gets_one() {
        let one = directory(Some(Resolution::Known(service(1))));
        let mut chain = Chain::new(["router", "ratelimiter-consumer", "loadbalance"]);
        assert!(matches!(run(&mut chain, 0, &mut Call::default(), &one), Decision::Forward));
    }

    #[test]
    fn a_chain_in_the_wrong_order_says_which_key_to_mend() {
        let one = directory(Some(Resolution::Known(service(1))));
        let Decision::Reply(reply) = run(&mut Chain::new(["loadbalance"]), 0, &mut Call::default(), &one)
        else {
            panic!("no reply")
        };
        assert!(reply.detail.contains("servicecomb.handler.chain.Consumer.outgoing"));
    }
}
