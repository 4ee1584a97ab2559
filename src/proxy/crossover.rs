//! A request that came as text, to an endpoint that speaks HTTP/2: its head becomes fields, and [`Attempts`] do the rest.

use std::time::Instant;

use mesher_actors::snapshot::Failure;

use super::attempts::{self, Attempts, End};
use super::connection::Downstream;
use super::flow::Code;
use super::forward::Delivery;
use super::grpc;
use super::message::{self, Marks};
use super::relay::Passed;
use super::route::Crossing;
use super::terms::Terms;
use super::text::{RequestBody, TextClient, request_of};
use crate::codec::RequestHead;
use crate::handler::{Call, Reply};

/// What is known of the request beside its head.
pub(super) struct Asked {
    /// Port that the caller named.
    pub(super) port: Option<u16>,
    /// How the response is wished.
    pub(super) delivery: Delivery,
    /// `HEAD`.
    pub(super) is_head: bool,
    /// When it came.
    pub(super) started: Instant,
}

/// Carries the request. Returns its end, and whether the client's connection can carry another.
pub(super) async fn carry(
    down: &Downstream,
    terms: &Terms,
    head: &mut RequestHead,
    call: &mut Call,
    asked: Asked,
) -> (End, bool) {
    let ctx = &*down.ctx;
    let crossing = Crossing { ctx, terms, ingress: &down.ingress };
    let has_body = head.framing().has_content();
    let peer = call.target.as_ref().zip(call.endpoint()).and_then(|(target, at)| target.peers.get(at));
    let host = peer.map(|peer| peer.address.to_string()).unwrap_or_default();
    let parts = request_of(head, head.authority().unwrap_or(host.as_bytes()));
    let mut parts = match parts {
        Ok(parts) => parts,
        Err(why) => return (End::Reply(Reply::new(Failure::ClientProtocolError, why)), false),
    };
    let traits = match message::judge(&mut parts, &terms.settings().limits, has_body) {
        Ok(traits) => traits,
        Err(reply) => return (End::Reply(reply), false),
    };
    let marks = Marks {
        direction: down.ingress.direction,
        peer: &message::address(down.peer()),
        scheme: down.scheme(),
        port: asked.port,
        source: &ctx.source,
        source_alone: &ctx.source_alone,
    };
    message::prepare(&mut parts, traits, &marks);
    let until = if traits.is_grpc { grpc::deadline(&parts.headers, asked.started) } else { None };
    let patience = attempts::patience(crossing, call, until);
    let mut client = TextClient::new(down, ctx.spare.buffer(), asked.delivery, asked.is_head);
    let mut body = RequestBody::new(&down.stream, head);
    let attempts = Attempts { crossing, call, deadline: &down.deadline, patience, has_body };
    let end = attempts.run(&mut parts, &mut body, &mut client).await;
    let end = match end {
        End::Reply(reply) if client.is_midway() => {
            End::Stopped { passed: Passed::default(), reply, code: Code::CANCEL }
        }
        end => end,
    };
    let keep = client.keeps_connection(body.is_whole());
    ctx.spare.put_buffer(client.into_buffer());
    (end, keep)
}
