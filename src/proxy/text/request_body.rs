//! The body of a request that comes as text, without its framing.

use std::task::{Context, Poll, ready};

use mesher_actors::snapshot::Failure;

use super::payload::Payload;
use crate::codec::{Outgoing, RequestHead};
use crate::net::{Stream, with_scratch};
use crate::proxy::flow::{Lost, Piece, Source};

/// A request's body being read. What the client sends behind it stays in the head's buffer, for the next request.
pub(in crate::proxy) struct RequestBody<'a> {
    down: &'a Stream,
    head: &'a mut RequestHead,
    payload: Payload,
    /// The bytes behind the head have been looked at.
    began: bool,
}

impl<'a> RequestBody<'a> {
    /// The body behind this head.
    pub(in crate::proxy) fn new(down: &'a Stream, head: &'a mut RequestHead) -> Self {
        let payload = Payload::new(head.body(Outgoing::AsReceived));
        Self { down, head, payload, began: false }
    }

    /// The whole of it was read: what follows on the connection is another request.
    pub(in crate::proxy) fn is_whole(&self) -> bool {
        self.payload.is_done()
    }

    fn begin(&mut self) -> Result<(), Lost> {
        self.began = true;
        let rest = self.head.rest().to_vec();
        let taken = self.take(&rest)?;
        self.head.consume(taken);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        self.payload.take(bytes).map_err(|reject| Lost {
            reset: None,
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
            if let Some(piece) = self.payload.piece() {
                return Poll::Ready(Ok(piece));
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
        self.payload.is_ended()
    }

    fn passed(&mut self, _: usize) {
        // Nothing is read before the last piece has gone: TCP tells the peer.
    }
}
