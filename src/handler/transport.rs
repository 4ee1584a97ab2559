//! `transport`: the last link; hands the request to the driver.

use mesher_actors::snapshot::Failure;

use super::{Handler, Invocation, Next, Reply};

/// Has no state.
#[derive(Debug)]
pub(super) struct Transport;

impl Handler for Transport {
    fn name(&self) -> &'static str {
        "transport"
    }

    fn on_request(&mut self, invocation: &mut Invocation<'_>) -> Next {
        if invocation.call.endpoint().is_some() {
            return Next::Forward;
        }
        Next::Reply(Reply::new(
            Failure::NoRoute,
            "the handler chain has `transport` without `loadbalance` before it; see servicecomb.handler.chain.Consumer.outgoing",
        ))
    }
}
