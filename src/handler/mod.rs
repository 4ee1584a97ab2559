//! The handler chain: what becomes of a request. Pure: no I/O, no clock, no ambient randomness.
//!
//! Handlers decide, the driver (`proxy`) acts. Handlers see heads, never bodies. A chain runs in the order of
//! `servicecomb.handler.chain.*`, and its answers backwards:
//!
//! ```text
//!   request   router -> loadbalance -> transport -> Forward      the driver connects, sends, waits
//!   answer    router <- loadbalance <- transport <- head or fault
//!                            | Retry: the chain runs again from loadbalance on
//! ```
//!
//! `self` of a [`Handler`] is the shard's own state of that handler; what belongs to one request lives in its
//! [`Call`].

mod call;
mod chain;
pub mod context;
pub mod destination;
mod directory;
mod loadbalance;
mod reply;
mod router;
mod target;
mod transport;

pub use call::{Call, Fault, Invocation};
pub use chain::{Chain, Decision, SERVED};
pub use directory::{Directory, Entry};
pub use reply::Reply;
pub use target::{Peer, PoolId, Target};

/// What a handler wants done with a request.
#[derive(Debug)]
pub enum Next {
    /// Ask the next handler.
    Next,
    /// Send it to the endpoint chosen in the [`Call`].
    Forward,
    /// The service is not in the directory: have it looked up, then run the chain again from this handler on.
    LookUp,
    /// Answer it here.
    Reply(Reply),
}

/// What a handler wants done about a failed attempt.
#[derive(Debug)]
pub enum After {
    /// Ask the handler before.
    Next,
    /// Try again: the chain runs from this handler on.
    Retry,
}

/// One link of the chain.
pub trait Handler {
    /// Name in `servicecomb.handler.chain.*`.
    fn name(&self) -> &'static str;

    /// The request head has arrived, or an attempt is to be repeated.
    fn on_request(&mut self, invocation: &mut Invocation<'_>) -> Next;

    /// An attempt failed before any of the answer came.
    fn on_fault(&mut self, call: &mut Call, fault: &Fault) -> After {
        let _ = (call, fault);
        After::Next
    }
}
