//! One request on its way through the chain.

use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;

use mesher_actors::snapshot::{Failure, Protocol};

use super::{Directory, Target};
use crate::balance::Tried;

/// What the chain has decided about a request so far. Kept from one attempt to the next.
#[derive(Debug, Default)]
pub struct Call {
    /// The service, as it was when the request found it; known from the start on the way in.
    pub target: Option<Rc<Target>>,
    /// What the request is: decides which endpoints of the target may be called.
    pub protocol: Protocol,
    /// Index of the first of those.
    pub first: usize,
    /// Those that were tried, counted from the first, the current one last.
    pub tried: Tried,
    /// The current attempt has an endpoint.
    pub chosen: bool,
}

impl Call {
    /// Index of the endpoint of the current attempt.
    #[must_use]
    pub fn endpoint(&self) -> Option<usize> {
        if self.chosen { Some(self.first + self.tried.last()?) } else { None }
    }
}

/// What a handler sees of a request.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Decisions so far.
    pub call: &'a mut Call,
    /// Name of the service wanted; empty on the way in.
    pub service: &'a str,
    /// Services known to the shard.
    pub directory: &'a Directory,
    /// 64 fresh random bits.
    pub random: u64,
}

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Kind.
    pub failure: Failure,
    /// The request may be sent again: it certainly has not run, or running twice does no harm.
    pub repeatable: bool,
    /// One sentence for people, without the kind: `connect to 10.0.0.1:80: connection refused`.
    pub detail: String,
}

impl Fault {
    /// There is no connection: what was to be sent on it is unseen, and there still.
    pub fn unconnected(address: SocketAddr, why: &impl Display) -> Self {
        let detail = format!("connect to {address}: {why}");
        Self { failure: Failure::ConnectFailed, repeatable: true, detail }
    }
}
