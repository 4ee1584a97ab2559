//! `loadbalance`: chooses an endpoint, and another one when the first cannot be reached.

use mesher_actors::snapshot::{Failure, Protocol};

use super::{After, Call, Fault, Handler, Invocation, Next, Reply, Target};

/// Has no state of its own; the balancers live in the targets.
#[derive(Debug)]
pub(super) struct LoadBalance;

impl Handler for LoadBalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn on_request(&mut self, invocation: &mut Invocation<'_>) -> Next {
        let call = &mut *invocation.call;
        if call.chosen {
            return Next::Next; // the local service, on the way in
        }
        let Some(target) = &call.target else {
            return Next::Reply(Reply::new(
                Failure::NoRoute,
                "the handler chain has `loadbalance` without `router` before it; see servicecomb.handler.chain.Consumer.outgoing",
            ));
        };
        let callable = target.callable(call.protocol);
        match target.balancer.borrow_mut().pick(callable.len(), &call.tried, invocation.random) {
            Some(index) => {
                call.first = callable.start;
                call.tried.add(index);
                call.chosen = true;
                Next::Next
            }
            None => {
                Next::Reply(Reply::new(Failure::NoHealthyInstance, nothing_to_call(target, call.protocol)))
            }
        }
    }

    /// Another instance gets the request if it may be repeated.
    fn on_fault(&mut self, call: &mut Call, fault: &Fault) -> After {
        let callable = call.target.as_ref().map_or(0, |target| target.callable(call.protocol).len());
        let untried = callable > call.tried.count();
        if fault.repeatable && untried && !call.tried.is_full() { After::Retry } else { After::Next }
    }
}

fn nothing_to_call(target: &Target, protocol: Protocol) -> String {
    let service = &target.service;
    if service.instances_total == 0 {
        format!("service \"{}\" has no instance", service.name)
    } else if protocol == Protocol::Grpc && !target.peers.is_empty() {
        format!("no instance of \"{}\" has a grpc:// address", service.name)
    } else if !service.tls_endpoints.is_empty() {
        format!(
            "the instances of \"{0}\" speak TLS only: set ssl.{0}.rest.Consumer.caFile and verifyPeer, or use https and CONNECT",
            service.name
        )
    } else {
        let why = if service.left_out.is_empty() { "none offers this protocol" } else { &service.left_out };
        format!("no usable instance of \"{}\" (0/{}: {why})", service.name, service.instances_total)
    }
}
