//! An upstream that answers in text: its response as heads and a body without framing.

use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use mesher_actors::snapshot::Failure;

use super::payload::Payload;
use crate::codec::{Body, Framing, Known, Limits, Outgoing, Parse, Reject, RequestKind, ResponseHead};
use crate::net::with_scratch;
use crate::proxy::flow::{Lost, Piece, Source};
use crate::proxy::relay::Upstream;
use crate::upstream::Connection;

/// Read at once while the head is awaited. What comes with it of the body is kept until the client takes it, and a client
/// may have many streams whose answers it does not take: a head and a small answer are enough.
const FIRST_BYTES_MAX: usize = 16 * 1024;

/// A response being read. Nothing is read ahead of what is asked for: what comes with the head is kept, one read of it.
pub(in crate::proxy) struct TextOrigin<'a> {
    up: &'a Connection,
    limits: &'a Limits,
    head: &'a mut ResponseHead,
    kind: RequestKind,
    stage: Stage,
    payload: Payload,
    interims: bool,
    out_of_step: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
}

impl<'a> TextOrigin<'a> {
    /// Nothing has come yet; `head` is empty.
    pub(in crate::proxy) fn new(
        up: &'a Connection,
        limits: &'a Limits,
        head: &'a mut ResponseHead,
        kind: RequestKind,
    ) -> Self {
        Self {
            up,
            limits,
            head,
            kind,
            stage: Stage::Head,
            payload: Payload::new(Body::new(Framing::None)),
            interims: false,
            out_of_step: false,
        }
    }

    /// The connection can carry another request, once this response has passed.
    pub(in crate::proxy) fn keeps_connection(&self) -> bool {
        self.stage == Stage::Body && self.payload.is_done() && !self.out_of_step && self.head.keep_alive()
    }

    fn begin(&mut self) -> Result<(Response<()>, bool), Lost> {
        let framing = self.head.framing();
        self.payload = Payload::new(self.head.body(Outgoing::AsReceived));
        self.stage = Stage::Body;
        let response = response_of(self.head, framing).map_err(|why| self.malformed(why, 0))?;
        let end = self.head.end();
        let rest = self.head.buffer().split_off(end);
        self.take(&rest)?;
        Ok((response, self.payload.is_ended()))
    }

    /// Takes what belongs to the body; bytes behind its end belong to no request.
    fn take(&mut self, piece: &[u8]) -> Result<(), Lost> {
        let taken = self.payload.take(piece);
        let taken = taken.map_err(|Reject { why, at, .. }| self.malformed(why, at))?;
        self.out_of_step |= taken < piece.len();
        Ok(())
    }

    fn broken(&self, what: &str) -> Lost {
        if let Some(refusal) = self.up.tls_refusal() {
            return Lost::unconnected(self.up.peer_addr(), &refusal);
        }
        let has_arrived = self.interims || self.head.is_started();
        let (failure, when) = match self.stage {
            Stage::Body => (Failure::UpstreamReset, "in the middle of its response"),
            Stage::Head if has_arrived => (Failure::UpstreamReset, "in the middle of its response head"),
            Stage::Head => (Failure::UpstreamClosed, "before its response"),
        };
        Lost::upstream(failure, format!("{} ended the connection {when} ({what})", self.up.peer_addr()))
    }

    fn malformed(&self, why: &str, at: usize) -> Lost {
        let peer = self.up.peer_addr();
        Lost::upstream(
            Failure::UpstreamProtocolError,
            format!("{peer} sent a malformed response: {why} (byte {at})"),
        )
    }

    fn end_of_input(&mut self) -> Result<(), Lost> {
        if self.stage == Stage::Body && self.payload.at_end_of_input().is_ok() {
            self.out_of_step = true;
            return Ok(());
        }
        Err(self.broken("closed"))
    }
}

impl Upstream for TextOrigin<'_> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Response<()>, bool), Lost>> {
        loop {
            match self.head.parse(self.limits, self.kind) {
                Ok(Parse::Complete) if self.head.is_interim() => {
                    self.interims = true;
                    let response = response_of(self.head, Framing::None);
                    self.head.take_rest();
                    let response = response.map_err(|why| self.malformed(why, 0))?;
                    return Poll::Ready(Ok((response, false)));
                }
                Ok(Parse::Complete) => {
                    self.up.call_ended();
                    return Poll::Ready(self.begin());
                }
                Ok(Parse::Incomplete) => {}
                Err(reject) => return Poll::Ready(Err(self.malformed(reject.why, reject.at))),
            }
            let (up, head) = (self.up, &mut *self.head);
            let read = ready!(with_scratch(|scratch| {
                let scratch = scratch.get_mut(..FIRST_BYTES_MAX).unwrap_or_default();
                up.poll_read(cx, scratch).map_ok(|n| {
                    head.buffer().extend_from_slice(scratch.get(..n).unwrap_or_default());
                    n
                })
            }));
            match read {
                Ok(0) => return Poll::Ready(Err(self.broken("closed"))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.broken(&error.to_string()))),
            }
        }
    }

    fn request_sent(&mut self) {
        self.up.expect_nothing_yet();
        if self.stage == Stage::Head {
            self.up.call_started();
        }
    }

    fn peer_addr(&self) -> SocketAddr {
        self.up.peer_addr()
    }
}

impl Source for TextOrigin<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        loop {
            if let Some(piece) = self.payload.piece() {
                return Poll::Ready(Ok(piece));
            }
            let up = self.up;
            ready!(with_scratch(|scratch| {
                let result = match ready!(up.poll_read(cx, scratch)) {
                    Ok(0) => self.end_of_input(),
                    Ok(n) => self.take(scratch.get(..n).unwrap_or_default()),
                    Err(error) => Err(self.broken(&error.to_string())),
                };
                Poll::Ready(result)
            }))?;
        }
    }

    fn is_ended(&self) -> bool {
        self.payload.is_ended()
    }

    fn passed(&mut self, _: usize) {
        // Nothing is read before the last piece has gone: TCP tells the peer.
    }
}

/// The head as fields, without what concerns the connection or frames the body, which HTTP/2 does by itself.
fn response_of(head: &ResponseHead, framing: Framing) -> Result<Response<()>, &'static str> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).map_err(|_| "malformed status")?;
    let fields = response.headers_mut();
    for header in head.headers().filter(|header| !header.hop_by_hop) {
        match header.known {
            Known::TransferEncoding => continue,
            Known::ContentLength if framing == Framing::Chunked => continue,
            _ => {}
        }
        let name = HeaderName::from_bytes(header.name).map_err(|_| "malformed header name")?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| "malformed header value")?;
        fields.append(name, value);
    }
    Ok(response)
}
