//! An upstream that answers in HTTP/2.

use std::future::Future;
use std::mem::take;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use mesher_actors::snapshot::Failure;

use super::body::{Inflow, Outflow, Peer};
use crate::proxy::flow::{Closed, Code, Lost, Piece, Sink, Source};
use crate::proxy::relay::Upstream;
use crate::upstream::http2::{Answer, Call, CallError, Cause, Lease, Ready};

/// The response side of a call.
struct Callee<'a> {
    stage: Stage<'a>,
    lease: &'a Lease,
}

/// The request's body on its way there.
struct Upload<'a> {
    flow: Outflow,
    lease: &'a Lease,
}

enum Stage<'a> {
    Head(Answer),
    Body(Inflow<&'a Lease>),
}

/// Sends the head of a request on a stream that is ready, and takes it out of `parts`. Returns both sides of it; `lease` is
/// where its place is kept.
///
/// # Errors
/// Why it was not sent.
pub(in crate::proxy) fn call(
    ready: Ready,
    parts: &mut Parts,
    has_body: bool,
    lease: &mut Option<Lease>,
) -> Result<(impl Sink, impl Upstream), Lost> {
    let mut request = Request::new(());
    *request.method_mut() = take(&mut parts.method);
    *request.uri_mut() = take(&mut parts.uri);
    *request.version_mut() = parts.version;
    *request.headers_mut() = take(&mut parts.headers);
    let Call { answer, body, lease: place } = ready.send(request, !has_body).map_err(Lost::from)?;
    let lease = &*lease.insert(place);
    Ok((Upload { flow: Outflow::new(body), lease }, Callee { stage: Stage::Head(answer), lease }))
}

impl Peer for &Lease {
    fn lost(&self, error: &h2::Error) -> Lost {
        self.explain(error).into()
    }

    fn note_used(&self) {
        Lease::note_used(self);
    }
}

impl From<CallError> for Lost {
    fn from(error: CallError) -> Self {
        let reset = match error.cause {
            Cause::Reset(reason) => Some(Code(reason.into())),
            _ => None,
        };
        Self {
            reset,
            failure: error.cause.failure(false),
            unprocessed: error.cause.is_unprocessed(),
            detail: error.detail,
        }
    }
}

impl Sink for Upload<'_> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
        self.flow.poll_room(cx, wanted)
    }

    fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed> {
        self.lease.note_sent(data.len());
        self.flow.put(data, end)
    }

    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
        self.flow.put_trailers(trailers)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.flow.poll_flushed(cx)
    }
}

impl Upstream for Callee<'_> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Response<()>, bool), Lost>> {
        let Stage::Head(answer) = &mut self.stage else {
            return Poll::Ready(Err(Lost::upstream(
                Failure::UpstreamProtocolError,
                "the response has a second head",
            )));
        };
        match ready!(answer.poll_interim(cx)) {
            Some(Ok(head)) if head.status() == StatusCode::SWITCHING_PROTOCOLS => {
                // RFC 9113 section 8.6: there is none in HTTP/2, and a client of HTTP/1 would believe it.
                let detail = format!("{} answers with 101", self.lease.peer_addr());
                return Poll::Ready(Err(Lost::upstream(Failure::UpstreamProtocolError, detail)));
            }
            Some(Ok(head)) => return Poll::Ready(Ok((head, false))),
            Some(Err(error)) => return Poll::Ready(Err(self.lease.lost(&error))),
            None => {}
        }
        match ready!(Pin::new(answer).poll(cx)) {
            Ok(response) => {
                let (head, stream) = response.into_parts();
                if !(100..600).contains(&head.status.as_u16()) {
                    // RFC 9110 section 15: there are none beyond, and a client of HTTP/1 is told none.
                    let detail =
                        format!("{} answers with status {}", self.lease.peer_addr(), head.status.as_u16());
                    return Poll::Ready(Err(Lost::upstream(Failure::UpstreamProtocolError, detail)));
                }
                let end = stream.is_end_stream();
                self.stage = Stage::Body(Inflow::new(stream, self.lease));
                Poll::Ready(Ok((Response::from_parts(head, ()), end)))
            }
            Err(error) => Poll::Ready(Err(self.lease.lost(&error))),
        }
    }

    fn request_sent(&mut self) {
        // The answer counts as outstanding since its head was sent.
    }

    fn peer_addr(&self) -> SocketAddr {
        self.lease.peer_addr()
    }
}

impl Source for Callee<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        match &mut self.stage {
            Stage::Body(inflow) => inflow.poll_piece(cx),
            Stage::Head(_) => Poll::Pending,
        }
    }

    fn is_ended(&self) -> bool {
        matches!(&self.stage, Stage::Body(inflow) if inflow.is_ended())
    }

    fn passed(&mut self, bytes: usize) {
        if let Stage::Body(inflow) = &mut self.stage {
            inflow.passed(bytes);
        }
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        if let Stage::Body(inflow) = &mut self.stage {
            inflow.gather(cx);
        }
    }
}
