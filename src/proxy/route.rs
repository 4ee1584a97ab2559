//! Finds the target of a request: the chain, run as often as it takes.

use std::cell::RefCell;

use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::stats::Direction;

use super::connection::Downstream;
use super::context::Context;
use super::forward;
use crate::codec::{Known, RequestHead, Target};
use crate::handler::destination::{self, Destination};
use crate::handler::{Call, Chain, Decision, Invocation, Reply};

/// Runs the chain of a request to its first forward. Returns the port that the caller named.
///
/// # Errors
/// The reply to give instead.
pub(super) async fn route(
    down: &Downstream,
    head: &RequestHead,
    call: &mut Call,
) -> Result<Option<u16>, Reply> {
    if forward::hops_left(head) == Some(0) {
        let why = "Max-Forwards is 0, so the request ends at mesher, which has no answer to it";
        return Err(Reply::with_status(Failure::NoRoute, 501, why));
    }
    match down.ingress.direction {
        Direction::Incoming => {
            call.target = Some(down.terms().local().target(head.header(Known::XForwardedPort))?);
            call.tried.add(0);
            call.chosen = true;
            decide(down, call, 0, "").await?;
            Ok(None)
        }
        Direction::Outgoing => {
            let Destination { service, port } = match (down.tunnel(), head.target_form()) {
                (Some(tunnel), Target::Origin(_) | Target::Asterisk) => tunnel.destination(),
                _ => destination::outgoing(head.authority(), down.ingress.address)?,
            };
            decide(down, call, 0, service).await?;
            check_scheme(head, call, service)?;
            Ok(port)
        }
    }
}

/// A caller that asks for `https` does not get something else without a word. Whether a service is called by TLS is a matter of the
/// configuration, so one that asks for `http` may well get TLS.
fn check_scheme(head: &RequestHead, call: &Call, service: &str) -> Result<(), Reply> {
    let Target::Absolute { scheme, .. } = head.target_form() else { return Ok(()) };
    let chosen = call.target.as_ref().zip(call.endpoint()).and_then(|(target, at)| target.peers.get(at));
    if !scheme.eq_ignore_ascii_case(b"https") || chosen.is_none_or(|peer| peer.tls.is_some()) {
        return Ok(());
    }
    let why = format!(
        "https was asked for, and mesher calls \"{service}\" in the clear: set ssl.{service}.rest.Consumer.caFile and \
         verifyPeer, or call http://{service}"
    );
    Err(Reply::with_status(Failure::NoRoute, 501, why))
}

/// Runs the chain from a link on, to a forward.
///
/// # Errors
/// The reply to give instead.
pub(super) async fn decide(
    down: &Downstream,
    call: &mut Call,
    from: usize,
    service: &str,
) -> Result<(), Reply> {
    let (ctx, terms) = (&down.ctx, down.terms());
    let chain = terms.chain(down.ingress.direction);
    let mut from = from;
    while let Some(at) = step(ctx, chain, call, service, from)? {
        ctx.lookups.wait(service, terms.settings().lookup_timeout).await?;
        from = at;
    }
    Ok(())
}

/// Runs the chain once. `Some(link)` if the service must be looked up first.
fn step(
    ctx: &Context,
    chain: &RefCell<Chain>,
    call: &mut Call,
    service: &str,
    from: usize,
) -> Result<Option<usize>, Reply> {
    let directory = ctx.directory.borrow();
    let mut invocation = Invocation { call, service, directory: &directory, random: ctx.random.next() };
    match chain.borrow_mut().on_request(from, &mut invocation) {
        Decision::Forward => Ok(None),
        Decision::LookUp(at) => Ok(Some(at)),
        Decision::Reply(reply) => Err(reply),
    }
}
