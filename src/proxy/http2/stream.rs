//! One request of HTTP/2, from its head to its end.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts;
use http::{Method, Request};
use mesher_actors::snapshot::Failure;

use super::body::{Downstream, Inflow};
use super::responder::Responder;
use super::session::{Place, Session};
use super::tunnel;
use crate::handler::{Call, Reply};
use crate::net::{self, Deadline};
use crate::proxy::account::{self, InFlight};
use crate::proxy::attempts::{self, Attempts, End, unless_gone};
use crate::proxy::flow::Sink;
use crate::proxy::grpc;
use crate::proxy::message::{self, Marks, Traits};
use crate::proxy::relay::{Client, Passed};
use crate::proxy::reply::{self, Wanted};
use crate::proxy::route::{Crossing, Wish, route};
use crate::proxy::terms::Terms;

/// Carries the request, answers it and counts it. Ends at once when the client resets the stream.
pub(super) async fn serve(place: Place, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let session = place.session();
    let ctx = &session.ctx;
    let _in_flight = InFlight::new(&ctx.stats);
    let (mut parts, body) = request.into_parts();
    let terms = ctx.terms();
    let mut call = Call::default();
    let mut exchange = Exchange {
        session,
        terms: &terms,
        has_body: !body.is_end_stream(),
        is_head: parts.method == Method::HEAD,
        traits: Traits::default(),
        client: Responder::new(respond, session.clone()),
        deadline: Deadline::new(),
        started: net::now(),
        until: None,
    };
    let end = exchange.run(&mut parts, Inflow::new(body, Downstream(session)), &mut call).await;
    let started = exchange.started;
    let Outcome { status, failure, grpc_status } = exchange.conclude(end).await;
    let series = account::finish(ctx, session.ingress.direction, &call, (status, failure), started);
    if let Some(grpc_status) = grpc_status {
        series.record_grpc(grpc_status);
    }
}

struct Exchange<'a> {
    session: &'a Session,
    terms: &'a Terms,
    has_body: bool,
    is_head: bool,
    traits: Traits,
    client: Responder,
    deadline: Deadline,
    started: Instant,
    /// The deadline of the call, if it has one.
    until: Option<Instant>,
}

/// What is counted of a request.
struct Outcome {
    /// That of the response; 0 if none has begun.
    status: u16,
    failure: Option<Failure>,
    /// Of a call of gRPC.
    grpc_status: Option<u8>,
}

impl Exchange<'_> {
    async fn run(&mut self, parts: &mut Parts, mut body: Inflow<Downstream<'_>>, call: &mut Call) -> End {
        // Many come only to be reset; nothing is done for those.
        if poll_fn(|cx| Poll::Ready(self.client.poll_gone(cx, false).is_ready())).await {
            return End::ClientGone { passed: Passed::default() };
        }
        let limits = &self.terms.settings().limits;
        let judged = message::judge(parts, limits, self.has_body);
        match judged {
            Ok(traits) => self.traits = traits,
            Err(_) => self.traits.is_grpc = grpc::is_call(&parts.headers),
        }
        self.client.set_grpc(self.traits.is_grpc);
        if let Err(reply) = judged {
            return End::Reply(reply);
        }
        let ctx = &self.session.ctx;
        if let Some(reply) = ctx.refusal(self.terms.settings().requests_max) {
            return End::Reply(reply);
        }
        let crossing = Crossing { ctx, terms: self.terms, ingress: &self.session.ingress };
        if self.traits.is_grpc {
            self.until = grpc::deadline(&parts.headers, self.started);
        }
        let wish = Wish {
            tunnel: self.session.tunnel.as_ref(),
            authority: parts.uri.authority().map(|authority| authority.as_str().as_bytes()),
            forwarded_port: message::forwarded_port(&parts.headers, self.traits),
            hops_left: self.traits.hops_left,
            is_grpc: self.traits.is_grpc,
            is_https: false,
            until: self.until,
        };
        let Some(routed) =
            unless_gone(&mut self.client, &mut body, self.has_body, route(crossing, wish, call)).await
        else {
            return End::ClientGone { passed: Passed::default() };
        };
        if parts.method == Method::CONNECT {
            let target = match tunnel::opening(self.session, call, routed.err()) {
                Ok(target) => target,
                Err(reply) => return End::Reply(reply),
            };
            return tunnel::carry(crossing, &target, body, &mut self.client, &self.deadline).await;
        }
        let port = match routed {
            Ok(port) => port,
            Err(reply) => return End::Reply(reply),
        };
        if let (None, Some(target)) = (parts.uri.authority(), &call.target) {
            message::name_host(parts, &target.service.name);
        }
        let marks = Marks {
            direction: self.session.ingress.direction,
            peer: &self.session.peer,
            scheme: self.session.scheme,
            port,
            source: &ctx.source,
            source_alone: &ctx.source_alone,
        };
        message::prepare(parts, self.traits, &marks);
        let patience = attempts::patience(crossing, call, self.until);
        let attempts =
            Attempts { crossing, call, deadline: &self.deadline, patience, has_body: self.has_body };
        attempts.run(parts, &mut body, &mut self.client).await
    }

    /// Says to the client what has to be said. Returns what is counted.
    async fn conclude(mut self, end: End) -> Outcome {
        let is_grpc = self.traits.is_grpc;
        let (Passed { status, grpc_status }, failure) = match end {
            End::Delivered { passed, .. } => {
                self.session.note_answered();
                (passed, None)
            }
            End::Stopped { passed, reply, code } => {
                if !is_grpc || self.client.end_call(&reply).is_err() {
                    self.client.cut(code);
                }
                (passed, Some(reply.failure))
            }
            End::Cut { passed, failure, code } => {
                self.client.cut(code);
                (passed, Some(failure))
            }
            End::ClientGone { passed } => {
                if !self.client.is_begun() {
                    self.session.note_reset(self.started, self.until);
                }
                (passed, Some(Failure::ClientGone))
            }
            End::Reply(reply) => {
                self.answer(&reply).await;
                let grpc_status = is_grpc.then(|| reply::grpc_status(&reply));
                (Passed { status: reply.status, grpc_status }, Some(reply.failure))
            }
        };
        // A call that is cut or given up has no status of its own.
        let given = failure.filter(|_| is_grpc).map(|failure| failure.face().grpc);
        Outcome { status, failure, grpc_status: grpc_status.or(given) }
    }

    /// Answers here; what the client does not take in time is thrown away.
    async fn answer(&mut self, reply: &Reply) {
        if self.traits.is_grpc {
            let _ = self.client.begin(reply::trailers_only(reply), true);
            return;
        }
        let wanted = Wanted { head: self.is_head, json: self.traits.wants_json, close: false };
        let (head, mut body) = reply::message(reply, wanted);
        if self.client.begin(head, body.is_empty()).is_err() {
            return;
        }
        self.deadline.arm(net::now() + self.terms.settings().header_timeout);
        poll_fn(|cx| {
            while !body.is_empty() {
                match self.client.poll_room(cx, body.len()) {
                    Poll::Ready(Ok(room)) => {
                        let piece = body.split_to(room.min(body.len()));
                        let _ = self.client.put(piece, body.is_empty());
                    }
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => return self.deadline.poll_expired(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}
