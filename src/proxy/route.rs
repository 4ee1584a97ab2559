//! Finds the target of a request: the chain, run as often as it takes.

use std::cell::RefCell;
use std::time::Instant;

use mesher_actors::snapshot::stats::Direction;
use mesher_actors::snapshot::{Failure, Protocol};

use super::context::{Context, Ingress};
use super::relay;
use super::terms::Terms;
use super::tunnel::Tunnel;
use crate::handler::destination::{self, Destination};
use crate::handler::{Call, Chain, Decision, Fault, Invocation, Reply};
use crate::net;

/// Where a request stands when it is routed.
#[derive(Clone, Copy)]
pub(super) struct Crossing<'a> {
    /// Its shard.
    pub(super) ctx: &'a Context,
    /// Its terms.
    pub(super) terms: &'a Terms,
    /// Where it came in.
    pub(super) ingress: &'a Ingress,
}

/// What a request says of where it wants to go.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    /// The tunnel it came through, if it names no service beside it.
    pub(super) tunnel: Option<&'a Tunnel>,
    /// Host and port.
    pub(super) authority: Option<&'a [u8]>,
    /// Port of the local service.
    pub(super) forwarded_port: Option<&'a [u8]>,
    /// Hops that it may still take, if it says so.
    pub(super) hops_left: Option<u64>,
    /// It is a call of gRPC.
    pub(super) is_grpc: bool,
    /// It was addressed as `https`.
    pub(super) is_https: bool,
    /// The client gives up then.
    pub(super) until: Option<Instant>,
}

/// Runs the chain of a request to its first forward. Returns the port that the caller named.
///
/// # Errors
/// The reply to give instead.
pub(super) async fn route(
    crossing: Crossing<'_>,
    wish: Wish<'_>,
    call: &mut Call,
) -> Result<Option<u16>, Reply> {
    if wish.hops_left == Some(0) {
        let why = "Max-Forwards is 0, so the request ends at mesher, which has no answer to it";
        return Err(Reply::with_status(Failure::NoRoute, 501, why));
    }
    call.protocol = if wish.is_grpc { Protocol::Grpc } else { Protocol::Rest };
    match crossing.ingress.direction {
        Direction::Incoming => {
            let (local, listener) = (crossing.terms.local(), crossing.ingress.protocol);
            call.target = Some(local.target(wish.forwarded_port, listener, wish.is_grpc)?);
            call.tried.add(0);
            call.chosen = true;
            decide(crossing, call, 0, ("", wish.until)).await?;
            Ok(None)
        }
        Direction::Outgoing => {
            let Destination { service, port } = match wish.tunnel {
                Some(tunnel) => tunnel.destination(),
                None => destination::outgoing(wish.authority, crossing.ingress.address)?,
            };
            decide(crossing, call, 0, (service, wish.until)).await?;
            if wish.is_https {
                check_scheme(call, service)?;
            }
            Ok(port)
        }
    }
}

/// A caller that asks for `https` does not get something else without a word. Whether a service is called by TLS is a matter of the
/// configuration, so one that asks for `http` may well get TLS.
fn check_scheme(call: &Call, service: &str) -> Result<(), Reply> {
    let chosen = call.target.as_ref().zip(call.endpoint()).and_then(|(target, at)| target.peers.get(at));
    if chosen.is_none_or(|peer| peer.tls.is_some()) {
        return Ok(());
    }
    let why = format!(
        "https was asked for, and mesher calls \"{service}\" in the clear: set ssl.{service}.rest.Consumer.caFile and \
         verifyPeer, or call http://{service}"
    );
    Err(Reply::with_status(Failure::NoRoute, 501, why))
}

/// Runs the chain from a link on, to a forward. A lookup of the service is waited for no longer than `until`.
///
/// # Errors
/// The reply to give instead.
async fn decide(
    crossing: Crossing<'_>,
    call: &mut Call,
    from: usize,
    (service, until): (&str, Option<Instant>),
) -> Result<(), Reply> {
    let Crossing { ctx, terms, ingress } = crossing;
    let chain = terms.chain(ingress.direction);
    let mut from = from;
    while let Some(at) = step(ctx, chain, call, service, from)? {
        let timeout = terms.settings().lookup_timeout;
        let left = until.map_or(timeout, |until| until.saturating_duration_since(net::now()).min(timeout));
        let answered = ctx.lookups.wait(service, left).await;
        if until.is_some_and(|until| net::now() >= until) {
            return Err(relay::late());
        }
        answered?;
        from = at;
    }
    Ok(())
}

/// Runs the chain backwards for a failed attempt and, if it is to be repeated, forwards again.
///
/// # Errors
/// The reply to give instead of another attempt.
pub(super) async fn retry(crossing: Crossing<'_>, call: &mut Call, fault: Fault) -> Result<(), Reply> {
    let chain = crossing.terms.chain(crossing.ingress.direction);
    let retry = chain.borrow_mut().on_fault(call, &fault);
    let Some(from) = retry else { return Err(Reply::new(fault.failure, fault.detail)) };
    // The target is in the call by now; the name is not asked for again.
    decide(crossing, call, from, ("", None)).await
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
