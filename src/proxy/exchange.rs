//! One request and its response: the chain, the attempts, and what is counted at the end.
//!
//! ```text
//!   chain --Forward--> connection (pooled or new) --> send and deliver --> done
//!     ^                        | fault                      | fault
//!     +---- on_fault: Retry ---+----------------------------+
//! ```
//!
//! An attempt may be repeated if no byte of a response came and the request certainly has not run (no byte of it was
//! sent) or does no harm twice (RFC 9110 section 9.2.2: an idempotent method). A pooled connection may die just when
//! it is used, because the upstream closed it as the request left: that is no fault of the endpoint, which gets the
//! request once more over a new connection. After a fault on a new connection the chain chooses another endpoint.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use mesher_actors::snapshot::{Failure, Protocol};

use super::account::{self, InFlight};
use super::attempts;
use super::connection::Downstream;
use super::context::Context;
use super::crossover::{self, Asked};
use super::download::Download;
use super::forward::{self, Additions, Delivery};
use super::reply::{self, Wanted};
use super::route::{Crossing, Wish, retry, route};
use super::terms::Terms;
use super::transfer::{Broken, Transfer};
use super::tunnel;
use super::upload::{self, Upload};
use crate::codec::{self, Known, Outgoing, RequestHead, RequestKind, ResponseHead, write};
use crate::handler::{Call, Fault, Peer, Reply, Target};
use crate::net;
use crate::upstream::Connection;

/// What the request asks of its response, read once.
#[derive(Debug, Clone, Copy)]
struct Wishes {
    delivery: Delivery,
    wanted: Wanted,
    kind: RequestKind,
    idempotent: bool,
}

/// What became of the request.
enum End {
    /// The upstream's response was delivered.
    Delivered { status: u16, keep: bool },
    /// So it was, before the upstream had taken the whole request.
    DeliveredEarly { status: u16 },
    /// The protocol has changed: bytes from here on.
    Switched(Connection),
    /// Mesher answers.
    Reply(Reply),
    /// The response broke off in the middle, or the client is gone: nothing more can be said.
    Cut { status: u16, failure: Failure },
}

/// What becomes of the client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It carries another; the bytes of this one are consumed.
    Keep,
    /// It ends.
    Close,
    /// It ends, though the client may still be sending.
    Linger,
}

/// Carries one request whose head is complete, and answers it.
pub(super) async fn carry(down: &Downstream, head: &mut RequestHead, started: Instant) -> After {
    let ctx = &down.ctx;
    let _in_flight = InFlight::new(&ctx.stats);
    let mut call = Call::default();
    let wishes = Wishes::of(head);
    let terms = down.terms();
    let end = match ctx.refusal(terms.settings().requests_max) {
        Some(reply) => End::Reply(reply),
        None => Exchange { down, ctx, terms: &terms, head, wishes, call: &mut call, started }.run().await,
    };
    let (status, failure, after) = match end {
        End::Delivered { status, keep } => (status, None, if keep { After::Keep } else { After::Close }),
        End::DeliveredEarly { status } => (status, None, After::Linger),
        End::Cut { status, failure } => (status, Some(failure), After::Close),
        End::Switched(up) => {
            let mut behind = head.rest().to_vec();
            tunnel::splice(down, &up, &mut behind).await;
            (101, None, After::Close)
        }
        End::Reply(reply) => {
            // A body that was not read would be taken for the next request. After a CONNECT clients expect a tunnel or
            // the end; some would wait for it for ever.
            let keep = wishes.delivery.keep_alive
                && wishes.kind != RequestKind::Connect
                && !head.framing().has_content()
                && ctx.drain.keeps_connections();
            let sent = answer(down, &reply, Wanted { close: !keep, ..wishes.wanted }).await;
            (reply.status, Some(reply.failure), if keep && sent { After::Keep } else { After::Linger })
        }
    };
    account::finish(ctx, down.ingress.direction, &call, (status, failure), started);
    after
}

impl Wishes {
    fn of(head: &RequestHead) -> Self {
        let keep_alive = head.keep_alive();
        let kind = match head.method() {
            b"HEAD" => RequestKind::Head,
            b"CONNECT" => RequestKind::Connect,
            _ if forward::offered_upgrade(head).is_some() => RequestKind::Upgrade,
            _ => RequestKind::Plain,
        };
        Self {
            delivery: Delivery { version: head.version(), keep_alive },
            wanted: Wanted {
                head: kind == RequestKind::Head,
                json: head.header(Known::Accept).is_some_and(reply::accepts_json),
                close: !keep_alive,
            },
            kind,
            idempotent: is_idempotent(head.method()),
        }
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE")
}

/// Writes a reply; false if the client did not take it.
pub(super) async fn answer(down: &Downstream, reply: &Reply, wanted: Wanted) -> bool {
    let mut out = down.ctx.spare.buffer();
    reply::render(&mut out, reply, wanted, &down.ctx.dates.now());
    let written = write_all(down, &out).await;
    down.ctx.spare.put_buffer(out);
    written
}

/// Writes a few bytes of our own; false if the client did not take them in time.
async fn write_all(down: &Downstream, bytes: &[u8]) -> bool {
    down.deadline.arm(net::now() + down.terms().settings().header_timeout);
    let mut sent = 0;
    poll_fn(|cx| {
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match down.stream.poll_write(cx, rest) {
                Poll::Ready(Ok(n)) => sent += n,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return down.deadline.poll_expired(cx).map(|()| false),
            }
        }
        Poll::Ready(true)
    })
    .await
}

/// What became of an attempt that will not be repeated.
enum Attempted {
    /// The request is over, and the connection to the upstream with it.
    Over(End),
    /// The request is over; the connection can carry another.
    Reusable(End),
    /// The protocol on the connection has changed.
    Switched,
}

struct Exchange<'a> {
    down: &'a Downstream,
    ctx: &'a Rc<Context>,
    terms: &'a Terms,
    head: &'a mut RequestHead,
    wishes: Wishes,
    call: &'a mut Call,
    started: Instant,
}

impl Exchange<'_> {
    async fn run(&mut self) -> End {
        let routed = self.route().await;
        if self.wishes.kind == RequestKind::Connect {
            return self.connect(routed.err()).await;
        }
        let port = match routed {
            Ok(port) => port,
            Err(reply) => return End::Reply(reply),
        };
        if self.protocol() == Protocol::Grpc {
            // Boxed: it is seldom, and a connection that idles is to be small.
            return Box::pin(self.over_http2(port)).await;
        }
        let mut upload = match self.prepare(port) {
            Ok(upload) => upload,
            Err(reply) => return End::Reply(reply),
        };
        let mut response = self.ctx.spare.response();
        let mut out = self.ctx.spare.buffer();
        let end = self.attempts(&mut upload, &mut response, &mut out).await;
        self.ctx.spare.put_buffer(out);
        self.ctx.spare.put_response(response);
        self.ctx.spare.put_buffer(upload.into_buffer());
        end
    }

    /// Finds the target. Returns the port that the caller named.
    async fn route(&mut self) -> Result<Option<u16>, Reply> {
        let (names_service, is_https) = match self.head.target_form() {
            codec::Target::Absolute { scheme, .. } => (true, scheme.eq_ignore_ascii_case(b"https")),
            codec::Target::Authority(_) => (true, false),
            codec::Target::Origin(_) | codec::Target::Asterisk => (false, false),
        };
        let wish = Wish {
            tunnel: self.down.tunnel().filter(|_| !names_service),
            authority: self.head.authority(),
            forwarded_port: self.head.header(Known::XForwardedPort),
            hops_left: forward::hops_left(self.head),
            is_grpc: false,
            is_https,
            until: None,
        };
        let crossing = Crossing { ctx: self.ctx, terms: self.terms, ingress: &self.down.ingress };
        route(crossing, wish, self.call).await
    }

    /// What the endpoint speaks.
    fn protocol(&self) -> Protocol {
        let peer = self.call.target.as_ref().and_then(|target| self.peer(target));
        peer.map_or(Protocol::Rest, |peer| peer.protocol)
    }

    /// Carries the request to an endpoint that speaks HTTP/2.
    async fn over_http2(&mut self, port: Option<u16>) -> End {
        let Wishes { delivery, kind, .. } = self.wishes;
        let asked = Asked { port, delivery, is_head: kind == RequestKind::Head, started: self.started };
        let (end, keep) = crossover::carry(self.down, self.terms, self.head, self.call, asked).await;
        match end {
            attempts::End::Delivered { passed, whole: true } => {
                End::Delivered { status: passed.status, keep }
            }
            attempts::End::Delivered { passed, whole: false } => {
                End::DeliveredEarly { status: passed.status }
            }
            attempts::End::Reply(reply) => End::Reply(reply),
            attempts::End::Stopped { passed, reply, .. } => self.cut(passed.status, reply.failure),
            attempts::End::Cut { passed, failure, .. } => self.cut(passed.status, failure),
            attempts::End::ClientGone { passed } => {
                End::Cut { status: passed.status, failure: Failure::ClientGone }
            }
        }
    }

    /// Opens a tunnel to the service; what comes through it is looked at when it comes. `refused` is what the chain
    /// says against a request to it: no plain instance is no reason if there is one that takes TLS.
    async fn connect(&mut self, refused: Option<Reply>) -> End {
        let takes_tls =
            self.call.target.as_ref().is_some_and(|target| !target.service.tls_endpoints.is_empty());
        let opened = match refused {
            Some(reply) if !takes_tls => Err(reply),
            _ => tunnel::open(self.down, self.head.authority(), self.call),
        };
        if let Err(reply) = opened {
            return End::Reply(reply);
        }
        let mut out = self.ctx.spare.buffer();
        write::status_line(&mut out, 200, b"Connection established");
        write::end(&mut out);
        let keep = write_all(self.down, &out).await;
        self.ctx.spare.put_buffer(out);
        End::Delivered { status: 200, keep }
    }

    /// Renders the request with as much of its body as is there.
    fn prepare(&mut self, port: Option<u16>) -> Result<Upload, Reply> {
        let mut out = self.ctx.spare.buffer();
        let target = &self.call.target;
        let additions = Additions {
            direction: self.down.ingress.direction,
            peer: self.down.peer(),
            port,
            source: &self.ctx.source,
            upstream: target.as_ref().and_then(|target| self.peer(target)).map(|peer| peer.address),
            scheme: self.down.scheme(),
        };
        forward::request(&mut out, self.head, &additions);
        let mut body = self.head.body(Outgoing::AsReceived);
        match upload::take(&mut body, self.head.rest(), &mut out) {
            Ok(taken) => {
                self.head.consume(taken);
                Ok(Upload::new(out, body))
            }
            Err(reject) => Err(Reply::with_status(Failure::ClientProtocolError, reject.status, reject.why)),
        }
    }

    async fn attempts(&mut self, upload: &mut Upload, response: &mut ResponseHead, out: &mut Vec<u8>) -> End {
        // False for the attempt after an idle race: it gets a new connection.
        let mut may_reuse = true;
        loop {
            let target = self.call.target.clone();
            let Some(peer) = target.as_ref().and_then(|target| self.peer(target)) else {
                return End::Reply(Reply::new(Failure::NoRoute, "the handler chain chose no endpoint"));
            };
            // The future has room for one connection only: it is moved once everything has been awaited.
            let connection = self.ctx.upstreams.connection(peer, may_reuse).await;
            let attempted = match &connection {
                Ok(connection) => self.attempt(connection, upload, response, out).await,
                Err(error) => Err(Fault::unconnected(peer.address, error)),
            };
            let fault = match (attempted, connection) {
                (Ok(Attempted::Over(end)), _) => return end,
                (Ok(Attempted::Reusable(end)), connection) => {
                    connection
                        .into_iter()
                        .for_each(|connection| self.ctx.upstreams.put(peer.pool, connection));
                    return end;
                }
                (Ok(Attempted::Switched), Ok(connection)) => return End::Switched(connection),
                (Ok(Attempted::Switched), Err(error)) => Fault::unconnected(peer.address, &error),
                (Err(fault), connection) => {
                    may_reuse = !connection.is_ok_and(|used| used.reused && fault.repeatable);
                    fault
                }
            };
            if may_reuse {
                let crossing = Crossing { ctx: self.ctx, terms: self.terms, ingress: &self.down.ingress };
                if let Err(reply) = retry(crossing, self.call, fault).await {
                    return End::Reply(reply);
                }
            }
            upload.rewind();
            response.reset();
            out.clear();
        }
    }

    /// The endpoint of `target` that was chosen.
    fn peer<'t>(&self, target: &'t Target) -> Option<&'t Peer> {
        target.peers.get(self.call.endpoint()?)
    }

    /// Sends the request over this connection and delivers the response. `Err` if another attempt may be made.
    async fn attempt(
        &mut self,
        connection: &Connection,
        upload: &mut Upload,
        response: &mut ResponseHead,
        out: &mut Vec<u8>,
    ) -> Result<Attempted, Fault> {
        let timeout = self.call.target.as_ref().map_or(Duration::ZERO, |t| t.service.policy.response_timeout);
        let streams = (&self.down.stream, &**connection);
        let Wishes { delivery, kind, idempotent, .. } = self.wishes;
        let shard = (&self.terms.settings().limits, &self.ctx.dates, &self.ctx.drain);
        let download = Download::new(streams, shard, response, out, delivery, kind);
        let source = (upload, self.head.buffer());
        let mut transfer = Transfer::new(self.down, connection, source, download, timeout, idempotent);
        let result = poll_fn(|cx| transfer.poll(cx)).await;
        let uploaded = transfer.is_uploaded();
        let download = transfer.download();
        let (status, begun) = (download.status(), download.is_begun());
        let over = |end| Ok(Attempted::Over(end));
        match result {
            Ok(()) if download.is_switched() => Ok(Attempted::Switched),
            Ok(()) if !uploaded => over(End::DeliveredEarly { status }),
            Ok(()) => {
                connection.call_ended();
                let end = End::Delivered { status, keep: download.keeps_client() };
                if download.keeps_upstream() { Ok(Attempted::Reusable(end)) } else { over(end) }
            }
            Err(Broken::Reply(reply)) if !begun => over(End::Reply(reply)),
            Err(Broken::Reply(reply)) => over(self.cut(status, reply.failure)),
            Err(Broken::ClientGone) => {
                over(End::Cut { status: if begun { status } else { 0 }, failure: Failure::ClientGone })
            }
            Err(Broken::Upstream(fault)) if begun => over(self.cut(status, fault.failure)),
            Err(Broken::Upstream(fault)) => Err(fault),
        }
    }

    /// The client must not take what it has for the whole response.
    fn cut(&self, status: u16, failure: Failure) -> End {
        self.down.stream.reset_on_close();
        End::Cut { status, failure }
    }
}
