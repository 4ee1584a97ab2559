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
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use mesher_actors::snapshot::stats::{Direction, Series};
use mesher_actors::snapshot::{Endpoint, Failure};

use super::connection::Downstream;
use super::context::Context;
use super::download::{Download, DownloadError};
use super::forward::{self, Additions, Delivery};
use super::reply::{self, Wanted};
use super::upload::{self, Upload, UploadError};
use crate::codec::{Known, Outgoing, RequestHead, RequestKind, ResponseHead};
use crate::handler::destination::{self, Destination};
use crate::handler::{Call, Decision, Fault, Invocation, PoolId, Reply, Target};
use crate::net;
use crate::upstream::Connection;

/// What the request asks of its response, read once.
#[derive(Debug, Clone, Copy)]
struct Wishes {
    delivery: Delivery,
    wanted: Wanted,
    idempotent: bool,
}

/// What became of the request.
enum End {
    /// The upstream's response was delivered.
    Delivered { status: u16, keep: bool },
    /// Mesher answers.
    Reply(Reply),
    /// The response broke off in the middle, or the client is gone: nothing more can be said.
    Cut { status: u16, failure: Failure },
}

/// Carries one request whose head is complete, and answers it. True if the connection can carry another; the bytes of
/// this one are consumed then.
pub async fn carry(down: &Downstream, head: &mut RequestHead, started: Instant) -> bool {
    let ctx = &down.ctx;
    ctx.stats.requests_in_flight.add(1);
    let keep_alive = head.keep_alive() && ctx.drain.keeps_connections();
    let delivery = Delivery { version: head.version(), keep_alive };
    let wanted = Wanted {
        head: head.method() == b"HEAD",
        json: head.header(Known::Accept).is_some_and(reply::accepts_json),
        close: !keep_alive,
    };
    let wishes = Wishes { delivery, wanted, idempotent: is_idempotent(head.method()) };
    let mut call = Call::default();
    let end = Exchange { down, ctx, head, wishes, call: &mut call }.run().await;
    let (status, failure, mut keep) = match end {
        End::Delivered { status, keep } => (status, None, keep),
        End::Cut { status, failure } => (status, Some(failure), false),
        End::Reply(reply) => {
            // A body that was not read would be taken for the next request.
            let keep = wishes.delivery.keep_alive && !head.framing().has_content();
            let sent = answer(down, &reply, Wanted { close: !keep, ..wishes.wanted }).await;
            (reply.status, Some(reply.failure), keep && sent)
        }
    };
    keep &= ctx.drain.keeps_connections();
    let series = series(ctx, down.ingress.direction, &call);
    series.retries.add(call.tried.count().saturating_sub(1) as u64);
    series.record(status, failure, net::now().saturating_duration_since(started));
    ctx.stats.requests_in_flight.sub(1);
    keep
}

fn series<'a>(ctx: &'a Context, direction: Direction, call: &'a Call) -> &'a Arc<Series> {
    call.target.as_ref().map_or_else(|| ctx.unrouted(direction), |target| &target.series)
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE")
}

/// Writes a reply; false if the client did not take it.
pub async fn answer(down: &Downstream, reply: &Reply, wanted: Wanted) -> bool {
    let mut out = down.ctx.spare.buffer();
    reply::render(&mut out, reply, wanted);
    down.deadline.arm(net::now() + down.ctx.settings.header_timeout);
    let mut sent = 0;
    let written = poll_fn(|cx| {
        while let Some(rest) = out.get(sent..).filter(|rest| !rest.is_empty()) {
            match down.stream.poll_write(cx, rest) {
                Poll::Ready(Ok(n)) => sent += n,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return down.deadline.poll_expired(cx).map(|()| false),
            }
        }
        Poll::Ready(true)
    })
    .await;
    down.ctx.spare.put_buffer(out);
    written
}

struct Exchange<'a> {
    down: &'a Downstream,
    ctx: &'a Rc<Context>,
    head: &'a mut RequestHead,
    wishes: Wishes,
    call: &'a mut Call,
}

impl Exchange<'_> {
    async fn run(&mut self) -> End {
        let port = match self.route().await {
            Ok(port) => port,
            Err(reply) => return End::Reply(reply),
        };
        let mut upload = match self.prepare(port) {
            Ok(upload) => upload,
            Err(reply) => return End::Reply(reply),
        };
        let mut response = self.ctx.spare.response();
        let mut out = self.ctx.spare.buffer();
        let end = self.attempts(&mut upload, &mut response, &mut out).await;
        self.ctx.spare.put_buffer(out);
        self.ctx.spare.put_response(response);
        if upload.is_done() || upload.can_rewind() {
            self.ctx.spare.put_buffer(upload.into_buffer());
        }
        end
    }

    /// Runs the chain to its first decision. Returns the port that the caller named.
    async fn route(&mut self) -> Result<Option<u16>, Reply> {
        match self.down.ingress.direction {
            Direction::Incoming => {
                let target =
                    self.ctx.local.target(self.head.header(Known::XForwardedPort), &self.ctx.upstreams)?;
                self.call.target = Some(target);
                self.call.tried.add(0);
                self.call.chosen = true;
                decide(self.ctx, self.down, self.call, 0, "").await?;
                Ok(None)
            }
            Direction::Outgoing => {
                let authority = self.head.authority();
                let Destination { service, port } =
                    destination::outgoing(authority, self.down.ingress.address)?;
                decide(self.ctx, self.down, self.call, 0, service).await?;
                Ok(port)
            }
        }
    }

    /// Renders the request with as much of its body as is there.
    fn prepare(&mut self, port: Option<u16>) -> Result<Upload, Reply> {
        let mut out = self.ctx.spare.buffer();
        let additions = Additions {
            direction: self.down.ingress.direction,
            peer: &self.down.peer,
            port,
            source: &self.ctx.source,
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
        loop {
            let Some((endpoint, pool)) = self.endpoint() else {
                return End::Reply(Reply::new(Failure::NoRoute, "the handler chain chose no endpoint"));
            };
            let fault = match self.ctx.upstreams.take(pool) {
                Some(connection) => match self.attempt(connection, pool, upload, response, out).await {
                    Ok(end) => return end,
                    // The idle race: once more to the same endpoint.
                    Err(fault) if fault.repeatable => {
                        upload.rewind();
                        self.fresh(endpoint.address, pool, upload, response, out).await
                    }
                    Err(fault) => Err(fault),
                },
                None => self.fresh(endpoint.address, pool, upload, response, out).await,
            };
            let fault = match fault {
                Ok(end) => return end,
                Err(fault) => fault,
            };
            let chain = self.ctx.chain(self.down.ingress.direction);
            let retry = chain.borrow_mut().on_fault(self.call, &fault);
            let Some(from) = retry else { return End::Reply(Reply::new(fault.failure, fault.detail)) };
            upload.rewind();
            response.reset();
            // The target is in the call by now; the name is not asked for again.
            if let Err(reply) = decide(self.ctx, self.down, self.call, from, "").await {
                return End::Reply(reply);
            }
        }
    }

    /// Sends the request over a new connection.
    async fn fresh(
        &mut self,
        address: std::net::SocketAddr,
        pool: PoolId,
        upload: &mut Upload,
        response: &mut ResponseHead,
        out: &mut Vec<u8>,
    ) -> Result<End, Fault> {
        response.reset();
        match self.ctx.upstreams.connect(address).await {
            Ok(connection) => self.attempt(connection, pool, upload, response, out).await,
            Err(error) => Err(Fault {
                failure: Failure::ConnectFailed,
                repeatable: upload.can_rewind(),
                detail: format!("connect to {address}: {error}"),
            }),
        }
    }

    fn endpoint(&self) -> Option<(Endpoint, PoolId)> {
        let index = self.call.endpoint()?;
        let target: &Target = self.call.target.as_ref()?;
        Some((target.service.endpoints.get(index)?.clone(), *target.pools.get(index)?))
    }

    /// Sends the request over this connection and delivers the response. `Err` if another attempt may be made.
    async fn attempt(
        &mut self,
        connection: Connection,
        pool: PoolId,
        upload: &mut Upload,
        response: &mut ResponseHead,
        out: &mut Vec<u8>,
    ) -> Result<End, Fault> {
        let timeout = self.call.target.as_ref().map_or(Duration::ZERO, |t| t.service.policy.response_timeout);
        let streams = (&self.down.stream, &*connection);
        let limits = &self.ctx.settings.limits;
        let mut transfer = Transfer {
            down: self.down,
            up: &connection,
            upload,
            surplus: self.head.buffer(),
            download: Download::new(
                streams,
                limits,
                response,
                out,
                self.wishes.delivery,
                if self.wishes.wanted.head { RequestKind::Head } else { RequestKind::Plain },
            ),
            response_timeout: timeout,
            idempotent: self.wishes.idempotent,
            uploaded: false,
            refused: None,
        };
        transfer.touch();
        let result = poll_fn(|cx| transfer.poll(cx)).await;
        let uploaded = transfer.uploaded && transfer.refused.is_none();
        let download = &transfer.download;
        let (status, begun) = (download.status(), download.is_begun());
        match result {
            Ok(()) => {
                let keep = download.keeps_client() && uploaded;
                if download.keeps_upstream() && uploaded {
                    connection.call_ended();
                    self.ctx.upstreams.put(pool, connection);
                }
                Ok(End::Delivered { status, keep })
            }
            Err(Broken::Reply(reply)) if !begun => Ok(End::Reply(reply)),
            Err(Broken::Reply(reply)) => Ok(self.cut(status, reply.failure)),
            Err(Broken::ClientGone) => {
                Ok(End::Cut { status: if begun { status } else { 0 }, failure: Failure::ClientGone })
            }
            Err(Broken::Upstream(fault)) if begun => Ok(self.cut(status, fault.failure)),
            Err(Broken::Upstream(fault)) => Err(fault),
        }
    }

    /// The client must not take what it has for the whole response.
    fn cut(&self, status: u16, failure: Failure) -> End {
        self.down.stream.reset_on_close();
        End::Cut { status, failure }
    }
}

/// Runs the chain from a link on, to a forward.
async fn decide(
    ctx: &Context,
    down: &Downstream,
    call: &mut Call,
    from: usize,
    service: &str,
) -> Result<(), Reply> {
    let mut from = from;
    while let Some(at) = step(ctx, down, call, service, from)? {
        ctx.lookups.wait(service, ctx.settings.lookup_timeout).await?;
        from = at;
    }
    Ok(())
}

/// Runs the chain once. `Some(link)` if the service must be looked up first.
fn step(
    ctx: &Context,
    down: &Downstream,
    call: &mut Call,
    service: &str,
    from: usize,
) -> Result<Option<usize>, Reply> {
    let directory = ctx.directory.borrow();
    let mut invocation = Invocation { call, service, directory: &directory, random: ctx.random.next() };
    match ctx.chain(down.ingress.direction).borrow_mut().on_request(from, &mut invocation) {
        Decision::Forward => Ok(None),
        Decision::LookUp(at) => Ok(Some(at)),
        Decision::Reply(reply) => Err(reply),
    }
}

/// Why a transfer ended early.
enum Broken {
    Upstream(Fault),
    ClientGone,
    Reply(Reply),
}

/// Both directions of an attempt at once: an upstream may answer before it has read the whole request.
struct Transfer<'a> {
    down: &'a Downstream,
    up: &'a Connection,
    upload: &'a mut Upload,
    surplus: &'a mut Vec<u8>,
    download: Download<'a>,
    response_timeout: Duration,
    idempotent: bool,
    uploaded: bool,
    /// The upstream stopped taking the request; it may have answered all the same.
    refused: Option<std::io::Error>,
}

impl Transfer<'_> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Broken>> {
        if !self.uploaded {
            match self.upload.poll(cx, &self.down.stream, self.surplus, self.up) {
                Poll::Ready(Ok(())) => self.request_sent(),
                Poll::Ready(Err(UploadError::Upstream(error))) => {
                    self.uploaded = true;
                    self.refused = Some(error);
                }
                Poll::Ready(Err(UploadError::ClientGone)) => return Poll::Ready(Err(Broken::ClientGone)),
                Poll::Ready(Err(UploadError::Malformed(reject))) => {
                    let reply = Reply::with_status(Failure::ClientProtocolError, reject.status, reject.why);
                    return Poll::Ready(Err(Broken::Reply(reply)));
                }
                Poll::Pending => self.touch(),
            }
        }
        let begun = self.download.is_begun();
        match self.download.poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(DownloadError::ClientGone)) => return Poll::Ready(Err(Broken::ClientGone)),
            Poll::Ready(Err(DownloadError::Upstream(fault))) => {
                let repeatable = fault.failure == Failure::UpstreamClosed
                    && self.upload.can_rewind()
                    && (self.idempotent || !self.upload.is_written());
                return Poll::Ready(Err(Broken::Upstream(Fault { repeatable, ..fault })));
            }
            Poll::Pending => {}
        }
        if self.download.is_begun() {
            if !begun {
                self.up.call_ended();
            }
            self.touch();
        }
        if self.uploaded && self.down.stream.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::ClientGone));
        }
        self.down.deadline.poll_expired(cx).map(|()| Err(self.expired()))
    }

    /// From here on the upstream's time runs.
    fn request_sent(&mut self) {
        self.uploaded = true;
        self.up.expect_nothing_yet();
        self.up.call_started();
        if self.response_timeout.is_zero() {
            self.down.deadline.disarm();
        } else {
            self.down.deadline.arm(net::now() + self.response_timeout);
        }
    }

    /// Something moved within a body.
    fn touch(&self) {
        let timeout = self.down.ctx.settings.stream_idle_timeout;
        if timeout.is_zero() {
            self.down.deadline.disarm();
        } else {
            self.down.deadline.arm(net::now() + timeout);
        }
    }

    fn expired(&self) -> Broken {
        let peer = self.up.peer_addr();
        if !self.uploaded {
            return Broken::Reply(Reply::new(Failure::ClientTimeout, "the request's body stopped coming"));
        }
        let (failure, detail) = if self.download.is_begun() {
            (Failure::UpstreamTimeout, format!("{peer} fell silent in the middle of its response"))
        } else {
            let limit = self.response_timeout;
            (
                Failure::UpstreamTimeout,
                format!(
                    "no response head from {peer} within {limit:?} (cse.isolation.Consumer.timeoutInMilliseconds)"
                ),
            )
        };
        Broken::Reply(Reply::new(failure, detail))
    }
}
