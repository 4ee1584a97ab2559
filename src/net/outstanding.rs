//! Upstream calls whose answer is outstanding, for connections that carry many at a time.

use std::rc::Rc;

use super::reactor::Reactor;
use super::shard;

/// An upstream's answer is outstanding while this lives. Input of the shard's polling rule, as
/// [`Stream::call_started`](super::Stream::call_started) is for a connection that carries one call at a time.
#[must_use = "the call counts as answered when this is dropped"]
pub struct Outstanding(Rc<Reactor>);

/// A request went out.
///
/// # Panics
/// Outside of a shard.
pub fn outstanding() -> Outstanding {
    let reactor = shard::reactor();
    let calls = reactor.calls();
    calls.set(calls.get().saturating_add(1));
    Outstanding(reactor)
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let calls = self.0.calls();
        calls.set(calls.get().saturating_sub(1));
    }
}
