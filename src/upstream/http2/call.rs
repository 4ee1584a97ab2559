//! A call on its way: the place it has taken, the request sent, the answer awaited.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};

use super::error::CallError;
use super::link::Link;
use crate::net::{self, Outstanding};

/// A place on a connection that takes a request now. Dropping it gives the place back.
#[must_use = "the place is given back when this is dropped"]
pub struct Ready {
    sender: SendRequest<Bytes>,
    lease: Lease,
}

/// A request that was sent. The parts may be taken apart; dropping answer and body before the end of the stream resets it
/// (RST_STREAM with CANCEL), as [`Answer`] says.
pub struct Call {
    /// What comes back.
    pub answer: Answer,
    /// Where the request's body and trailers go. `send_data` must not be given more than `capacity` says, or the
    /// connection would hold it; and [`Lease::note_sent`] is told how much that was.
    pub body: SendStream<Bytes>,
    /// The place on the connection; to be kept until answer and body have ended.
    pub lease: Lease,
}

/// The answer's head. Given up before it has come, the call is cancelled at the peer as soon as that does others no harm.
///
/// Counts as an outstanding call of the shard until it has come. The body in it is window credit of the peer: who passes it
/// on calls `release_capacity` once the bytes are out, never before.
#[must_use = "an answer that is not awaited is cancelled"]
pub struct Answer {
    /// None once it has come.
    awaited: Option<Awaited>,
}

struct Awaited {
    response: ResponseFuture,
    link: Rc<Link>,
    _outstanding: Outstanding,
}

/// One of the streams that a connection may carry at a time. Dropping it lets the next call in.
pub struct Lease {
    link: Rc<Link>,
}

// === impl Ready ===

impl Ready {
    pub(super) fn new(sender: SendRequest<Bytes>, lease: Lease) -> Self {
        Self { sender, lease }
    }

    /// The peer.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.lease.peer_addr()
    }

    /// Sends the head of a request; `end`: there is neither body nor trailers. Its version must be 2 and its URI have
    /// scheme and authority.
    ///
    /// # Errors
    /// [`Cause::Refused`](super::Cause::Refused) if the connection has ended meanwhile;
    /// [`Cause::Unsendable`](super::Cause::Unsendable) for a head that HTTP/2 does not allow.
    pub fn send(mut self, request: http::Request<()>, end: bool) -> Result<Call, CallError> {
        match self.sender.send_request(request, end) {
            Ok((response, body)) => {
                let link = self.lease.link.clone();
                link.note_asked();
                let awaited = Awaited { response, link, _outstanding: net::outstanding() };
                Ok(Call { answer: Answer { awaited: Some(awaited) }, body, lease: self.lease })
            }
            Err(error) => Err(self.lease.unsent(&error)),
        }
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("lease", &self.lease).finish_non_exhaustive()
    }
}

// === impl Call ===

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("lease", &self.lease).finish_non_exhaustive()
    }
}

// === impl Answer ===

impl Answer {
    /// The next interim answer (1xx): to be asked before the answer itself; `None` when that comes next.
    pub fn poll_interim(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http::Response<()>, h2::Error>>> {
        match &mut self.awaited {
            Some(awaited) => awaited.response.poll_informational(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Future for Answer {
    type Output = Result<http::Response<RecvStream>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(awaited) = &mut self.awaited else { return Poll::Pending };
        let answer = ready!(Pin::new(&mut awaited.response).poll(cx));
        self.awaited = None;
        Poll::Ready(answer)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(Awaited { response, link, .. }) = self.awaited.take() {
            link.abandon(response);
        }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(link: Rc<Link>) -> Self {
        Self { link }
    }

    /// The peer.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.link.peer()
    }

    /// So many bytes of the request's body are put: the peer has a use for a few frames on account of them.
    pub fn note_sent(&self, bytes: usize) {
        self.link.note_sent(bytes);
    }

    /// A frame of next to nothing came from the peer, and somebody had a use for it.
    pub fn note_used(&self) {
        self.link.note_used();
    }

    /// What an error that the answer, its body or the request's body reported means.
    #[must_use]
    pub fn explain(&self, error: &h2::Error) -> CallError {
        self.link.explain(error)
    }

    fn unsent(&self, error: &h2::Error) -> CallError {
        self.link.explain_unsent(error)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.release();
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("peer", &self.peer_addr()).finish_non_exhaustive()
    }
}
