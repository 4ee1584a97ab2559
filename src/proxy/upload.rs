//! The request on its way to the upstream: the head and the first body bytes in one buffer, then the rest of the
//! body piece by piece as the client sends it and the upstream takes it.

use std::io;
use std::task::{Context, Poll, ready};

use crate::codec::{Body, Forwarded, Reject};
use crate::net::{Stream, with_scratch};

/// Why a request could not be sent whole.
#[derive(Debug)]
pub enum UploadError {
    /// The upstream does not take it. It may have answered all the same.
    Upstream(io::Error),
    /// The client went away in the middle.
    ClientGone,
    /// The client's body is malformed.
    Malformed(Reject),
}

/// A request being sent.
#[derive(Debug)]
pub struct Upload {
    out: Vec<u8>,
    sent: usize,
    body: Body,
    streamed: bool,
    written: bool,
    moved: u64,
}

impl Upload {
    /// A request whose head and first body bytes are in `out`; `body` says what is still to come.
    #[must_use]
    pub fn new(out: Vec<u8>, body: Body) -> Self {
        Self { out, sent: 0, body, streamed: false, written: false, moved: 0 }
    }

    /// The request can be sent again from its beginning.
    #[must_use]
    pub fn can_rewind(&self) -> bool {
        !self.streamed
    }

    /// Starts over, for another connection.
    pub fn rewind(&mut self) {
        debug_assert!(self.can_rewind(), "its beginning is gone");
        self.sent = 0;
        self.written = false;
    }

    /// A byte of it was written to the present connection.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// Bytes written so far, over all attempts: tells whether something moved.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The buffer, to be used again.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    /// Sends on. Bytes of the client beyond this request go to `surplus`.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        down: &Stream,
        surplus: &mut Vec<u8>,
        up: &Stream,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match ready!(up.poll_write(cx, rest)) {
                    Ok(n) => {
                        self.sent += n;
                        self.moved += n as u64;
                        self.written = true;
                    }
                    Err(error) => return Poll::Ready(Err(UploadError::Upstream(error))),
                }
            }
            if self.body.is_done() {
                return Poll::Ready(Ok(()));
            }
            ready!(with_scratch(|scratch| {
                let n = match ready!(down.poll_read(cx, scratch)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(UploadError::ClientGone)),
                    Ok(n) => n,
                };
                let piece = scratch.get(..n).unwrap_or_default();
                self.out.clear();
                self.sent = 0;
                self.streamed = true;
                let taken = take(&mut self.body, piece, &mut self.out).map_err(UploadError::Malformed)?;
                surplus.extend_from_slice(piece.get(taken..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }))?;
        }
    }
}

/// Appends to `out` what is to be sent of `piece`; returns how much of it belongs to the body.
pub fn take(body: &mut Body, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, Reject> {
    let forwarded = body.forward(piece, out)?;
    if let Forwarded::Verbatim { send, .. } = forwarded {
        out.extend_from_slice(piece.get(..send).unwrap_or_default());
    }
    Ok(forwarded.taken())
}
