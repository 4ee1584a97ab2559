//! A downstream connection: finds out what it speaks, and carries the requests of HTTP/1 one after the other, from the first
//! byte to the last. HTTP/2, at the beginning or inside a tunnel, is handed over to [`http2`].

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use mesher_actors::snapshot::Failure;

use super::context::{Context, Ingress};
use super::drain::Seat;
use super::exchange::{self, After};
use super::http2::{self, Session};
use super::reply::Wanted;
use super::secure::{self, Opening};
use super::terms::Terms;
use super::tunnel::{self, Tunnel};
use crate::codec::{FirstBytes, Parse, RequestHead};
use crate::handler::Reply;
use crate::net::{self, Deadline, Stream, with_scratch};

/// How long a connection that has carried no request yet is waited for when the shard closes. Who connected a moment
/// ago is about to send, and what it sends may be something that must not be repeated elsewhere.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(1);

/// The name of HTTP/2 over TLS (RFC 9113 section 3.2).
const H2: &[u8] = b"h2";

/// A client's connection and what goes with it for its whole life.
pub struct Downstream {
    /// The socket.
    pub stream: Stream,
    /// The time-out of whatever it is doing.
    pub deadline: Deadline,
    /// Where it came in.
    pub ingress: Rc<Ingress>,
    /// Its shard.
    pub ctx: Rc<Context>,
    /// Counts it, and is what a shutdown wakes it by.
    open: Open,
    /// Those of the request that is being carried, or came last.
    terms: RefCell<Rc<Terms>>,
    /// Boxed: few connections have one, and an idle connection is as small as can be.
    tunnel: OnceCell<Box<Tunnel>>,
    /// Nothing was read yet, of the connection or of the tunnel that it has become: what comes may be another protocol.
    fresh: Cell<bool>,
    first_request: Cell<FirstRequest>,
    /// It is settled whether the connection comes over TLS.
    settled: Cell<bool>,
}

/// A connection's place among those open: counted, and known to the shutdown, for as long as this lives.
pub(super) struct Open {
    ctx: Rc<Context>,
    seat: Option<Seat>,
}

/// What is known of the first request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstRequest {
    Awaited,
    /// The shard closes, and waits [`FIRST_REQUEST_WAIT`] for it.
    AwaitedShortly,
    Came,
}

/// What came next on a connection.
enum Arrival {
    Request(Box<RequestHead>),
    /// TLS, at the beginning or inside a tunnel.
    Tls(Box<RequestHead>),
    /// The preface of HTTP/2.
    Http2(Box<RequestHead>),
    Refused(Reply),
    Ended,
}

/// Serves a connection to its end. It counts as open from this call on, not from the first poll.
pub fn serve(stream: Stream, ingress: Rc<Ingress>, ctx: Rc<Context>) -> impl Future<Output = ()> {
    let down = Downstream {
        stream,
        deadline: Deadline::new(),
        open: Open::new(&ctx),
        terms: RefCell::new(ctx.terms()),
        tunnel: OnceCell::new(),
        fresh: Cell::new(true),
        first_request: Cell::new(FirstRequest::Awaited),
        settled: Cell::new(false),
        ingress,
        ctx,
    };
    // By reference: a future that takes it over would hold it twice, idle connections too.
    async move {
        if let Some(preface) = requests(&down).await {
            down.hand_over(preface);
        }
    }
}

/// Carries the requests of HTTP/1. Ends with the connection, or with the first bytes of HTTP/2.
async fn requests(down: &Downstream) -> Option<Box<RequestHead>> {
    let mut pending = None;
    loop {
        match down.next_request(pending.take()).await {
            Arrival::Tls(mut head) => {
                if let Some(tunnel) = down.tunnel() {
                    tunnel::pass_tls(down, tunnel, head.buffer()).await;
                    down.ctx.spare.put_request(head);
                    return None;
                }
                if !secure::handshake(down, head).await {
                    return None;
                }
            }
            Arrival::Http2(head) => return Some(head),
            Arrival::Request(mut head) => {
                let after = exchange::carry(down, &mut head, net::now()).await;
                if after == After::Keep {
                    pending = down.rest_of(head);
                    continue;
                }
                // Unread bytes of the client would turn the close into a reset, which takes the response away. A
                // client that asked for the end sends no more.
                let unread = !head.rest().is_empty() || head.keep_alive() && down.stream.is_stale();
                down.ctx.spare.put_request(head);
                if unread || after == After::Linger {
                    down.linger().await;
                } else {
                    secure::end(down).await;
                }
                return None;
            }
            Arrival::Refused(reply) => {
                down.ctx.unrouted(down.ingress.direction).record(
                    reply.status,
                    Some(reply.failure),
                    Duration::ZERO,
                );
                exchange::answer(down, &reply, Wanted { close: true, ..Wanted::default() }).await;
                down.linger().await;
                return None;
            }
            Arrival::Ended => return None,
        }
    }
}

impl Downstream {
    /// Address of the client.
    pub(super) fn peer(&self) -> IpAddr {
        self.stream.peer_addr().ip()
    }

    /// The terms of the request that is being carried, or came last.
    pub(super) fn terms(&self) -> Rc<Terms> {
        self.terms.borrow().clone()
    }

    /// A request begins: the terms of now are its own.
    fn begin(&self) {
        self.terms.replace(self.ctx.terms());
        self.first_request.set(FirstRequest::Came);
    }

    /// From here on the connection is HTTP/2's: a task of its own has it, so that one of HTTP/1 stays small.
    fn hand_over(self, mut head: Box<RequestHead>) {
        let (peer, scheme) = (self.peer(), self.scheme());
        let Self { stream, ingress, ctx, open, tunnel, .. } = self;
        stream.unread(std::mem::take(head.buffer()));
        ctx.spare.put_request(head);
        let session = Session::new((ctx, ingress), peer, scheme, tunnel.into_inner().map(|tunnel| *tunnel));
        net::spawn(http2::serve(stream, open, session));
    }

    /// The scheme of what it asks for.
    pub(super) fn scheme(&self) -> &'static str {
        if self.stream.is_tls() { "https" } else { "http" }
    }

    /// The head of a request that has begun is to be whole in time.
    fn await_head(&self) {
        self.deadline.arm(net::now() + self.terms.borrow().settings().header_timeout);
    }

    /// The service that the client has connected to, if it has.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get().map(|tunnel| &**tunnel)
    }

    /// From now on requests that name no service are for this one. False if there is a tunnel already.
    pub(super) fn enter(&self, tunnel: Tunnel) -> bool {
        self.fresh.set(true);
        self.tunnel.set(Box::new(tunnel)).is_ok()
    }

    /// What the client has sent behind a request; the head is recycled if that is nothing.
    fn rest_of(&self, mut head: Box<RequestHead>) -> Option<Box<RequestHead>> {
        if head.rest().is_empty() {
            self.ctx.spare.put_request(head);
            return None;
        }
        head.take_rest();
        Some(head)
    }

    /// Waits for a whole request head. `head` holds bytes that came behind the last request.
    async fn next_request(&self, mut head: Option<Box<RequestHead>>) -> Arrival {
        let arrived = match &mut head {
            Some(begun) => {
                self.begin();
                self.await_head();
                self.judge(begun)
            }
            None => {
                self.deadline.arm(net::now() + self.ctx.terms.borrow().settings().idle_timeout);
                None
            }
        };
        let arrived = match arrived {
            Some(arrived) => arrived,
            None => poll_fn(|cx| self.poll_request(cx, &mut head)).await,
        };
        match (arrived, head) {
            (Arrived::Whole, Some(head)) => Arrival::Request(head),
            (Arrived::Tls, Some(head)) => Arrival::Tls(head),
            (Arrived::Http2, Some(head)) => Arrival::Http2(head),
            (Arrived::Refused(reply), _) => Arrival::Refused(reply),
            (_, _) => Arrival::Ended,
        }
    }

    /// What the bytes of a request head amount to; nothing yet while more are needed.
    fn judge(&self, head: &mut RequestHead) -> Option<Arrived> {
        if !self.settled.replace(true) {
            match secure::opening(self, head.buffer()) {
                Opening::Clear => {}
                Opening::Tls => return Some(Arrived::Tls),
                Opening::Refused(reply) => return Some(Arrived::Refused(reply)),
                Opening::Misplaced => return Some(Arrived::End),
            }
        }
        // Who has agreed on it speaks nothing else (RFC 9113 section 3.3): that its preface is none is for HTTP/2 to find.
        if self.fresh.get() && self.stream.alpn() == Some(H2) {
            return (FirstBytes::of(head.buffer()) != FirstBytes::Undecided).then_some(Arrived::Http2);
        }
        match head.parse(&self.terms.borrow().settings().limits) {
            Ok(Parse::Complete) => {
                self.fresh.set(false);
                Some(Arrived::Whole)
            }
            Ok(Parse::Incomplete) => None,
            Err(reject) => {
                // No other protocol can begin like a request, so it is asked for only here.
                if self.fresh.get() {
                    match FirstBytes::of(head.buffer()) {
                        FirstBytes::Http2 => return Some(Arrived::Http2),
                        FirstBytes::Undecided => return None,
                        FirstBytes::Tls if self.tunnel().is_some() => return Some(Arrived::Tls),
                        FirstBytes::Tls | FirstBytes::Http1 => {}
                    }
                }
                let detail = format!("{} (byte {})", reject.why, reject.at);
                Some(Arrived::Refused(Reply::with_status(
                    Failure::ClientProtocolError,
                    reject.status,
                    detail,
                )))
            }
        }
    }

    fn poll_request(&self, cx: &mut TaskContext<'_>, head: &mut Option<Box<RequestHead>>) -> Poll<Arrived> {
        loop {
            let read = with_scratch(|scratch| {
                self.stream.poll_read(cx, scratch).map_ok(|n| {
                    let begun = head.is_some();
                    let whole = head.get_or_insert_with(|| self.ctx.spare.request());
                    whole.buffer().extend_from_slice(scratch.get(..n).unwrap_or_default());
                    (n, begun)
                })
            });
            match read {
                Poll::Ready(Ok((0, _)) | Err(_)) => return Poll::Ready(Arrived::End),
                Poll::Ready(Ok((_, begun))) => {
                    if !begun {
                        self.begin();
                    }
                    if let Some(arrived) = head.as_mut().and_then(|head| self.judge(head)) {
                        return Poll::Ready(arrived);
                    }
                    if !begun {
                        self.await_head();
                    }
                }
                Poll::Pending => break,
            }
        }
        if head.is_none() && self.ends_idle(cx) {
            return Poll::Ready(Arrived::End);
        }
        self.deadline.poll_expired(cx).map(|()| {
            if head.is_none() {
                return Arrived::End;
            }
            let limit = self.terms.borrow().settings().header_timeout;
            Arrived::Refused(Reply::new(
                Failure::ClientTimeout,
                format!("the request head was not complete within {limit:?} (mesher.timeout.headerSeconds)"),
            ))
        })
    }

    /// True if the connection is to end since the shard closes and no request is on its way.
    fn ends_idle(&self, cx: &TaskContext<'_>) -> bool {
        if !self.open.is_closing(cx) {
            return false;
        }
        if self.first_request.get() == FirstRequest::Awaited {
            self.first_request.set(FirstRequest::AwaitedShortly);
            self.deadline.arm(net::now() + FIRST_REQUEST_WAIT);
        }
        self.first_request.get() == FirstRequest::Came
    }

    /// Lets the client read the last reply before the connection is closed.
    pub(super) async fn linger(&self) {
        net::linger(&self.stream, &self.deadline).await;
    }
}

enum Arrived {
    Whole,
    Tls,
    Http2,
    Refused(Reply),
    End,
}

impl Open {
    fn new(ctx: &Rc<Context>) -> Self {
        ctx.stats.downstream_open.add(1);
        Self { ctx: ctx.clone(), seat: Some(ctx.drain.enter()) }
    }

    /// True once the shard takes on nothing new; otherwise the task is woken when that changes.
    pub(super) fn is_closing(&self, cx: &TaskContext<'_>) -> bool {
        self.seat.as_ref().is_some_and(|seat| self.ctx.drain.ends_idle(seat, cx))
    }

    /// True once connections are not kept any more; otherwise the task is woken when that changes.
    pub(super) fn is_draining(&self, cx: &TaskContext<'_>) -> bool {
        self.is_closing(cx) || !self.ctx.drain.keeps_connections()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.ctx.stats.downstream_open.sub(1);
        if let Some(seat) = self.seat.take() {
            self.ctx.drain.leave(seat);
        }
    }
}
