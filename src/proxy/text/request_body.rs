//! The body of a request that comes as text, without its framing.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use mesher_actors::snapshot::Failure;

use crate::codec::{Body, Outgoing, RequestHead};
use crate::net::{Stream, with_scratch};
use crate::proxy::flow::{Code, Lost, Piece, Source};

/// A request's body being read. What the client sends behind it stays in the head's buffer, for the next request.
pub(in crate::proxy) struct RequestBody<'a> {
    down: &'a Stream,
    head: &'a mut RequestHead,
    body: Body,
    /// The bytes behind the head have been looked at.
    began: bool,
    data: Vec<u8>,
    trailers: HeaderMap,
}

impl<'a> RequestBody<'a> {
    /// The body behind this head.
    pub(in crate::proxy) fn new(down: &'a Stream, head: &'a mut RequestHead) -> Self {
        let body = head.body(Outgoing::AsReceived);
        Self { down, head, body, began: false, data: Vec::new(), trailers: HeaderMap::new() }
    }

    /// The whole of it was read: what follows on the connection is another request.
    pub(in crate::proxy) fn is_whole(&self) -> bool {
        self.body.is_done()
    }

    fn begin(&mut self) -> Result<(), Lost> {
        self.began = true;
        let rest = self.head.rest().to_vec();
        let taken = self.take(&rest)?;
        self.head.consume(taken);
        Ok(())
    }

    fn take(&mut self, piece: &[u8]) -> Result<usize, Lost> {
        let (data, trailers) = (&mut self.data, &mut self.trailers);
        let taken = self.body.unframe(
            piece,
            |payload| data.extend_from_slice(payload),
            |name, value| {
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
                {
                    trailers.append(name, value);
                }
            },
        );
        taken.map_err(|reject| Lost {
            code: Code::CANCEL,
            failure: Failure::ClientProtocolError,
            unprocessed: false,
            detail: reject.why.to_owned(),
        })
    }
}

impl Source for RequestBody<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        if !self.began {
            self.begin()?;
        }
        loop {
            if !self.data.is_empty() {
                return Poll::Ready(Ok(Piece::Data(Bytes::from(std::mem::take(&mut self.data)))));
            }
            if self.body.is_done() {
                let trailers = std::mem::take(&mut self.trailers);
                let last = if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) };
                return Poll::Ready(Ok(last));
            }
            let down = self.down;
            ready!(with_scratch(|scratch| {
                let piece = match ready!(down.poll_read(cx, scratch)) {
                    Ok(n @ 1..) => scratch.get(..n).unwrap_or_default(),
                    Ok(_) => return Poll::Ready(Err(Lost::client("the client closed the connection"))),
                    Err(error) => return Poll::Ready(Err(Lost::client(error.to_string()))),
                };
                let taken = self.take(piece)?;
                self.head.buffer().extend_from_slice(piece.get(taken..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }))?;
        }
    }

    fn is_ended(&self) -> bool {
        self.body.is_done() && self.data.is_empty() && self.trailers.is_empty()
    }

    fn passed(&mut self, _: usize) {
        // Nothing is read before the last piece has gone: TCP tells the peer.
    }
}
