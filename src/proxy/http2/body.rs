//! Bodies of HTTP/2 streams as sources and sinks.
//!
//! What has arrived is credit that the peer has used up; it gets it back when the bytes have gone on
//! ([`Source::passed`]). What is put must have been granted by the peer: the connection then holds no more than its window
//! and its own bound. And what comes while nothing can go on is kept as bytes, not as frames: some streams send frames of a few
//! bytes each, and the library keeps hundreds for each of them, or ends the connection.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use crate::proxy::flow::{Closed, Lost, Piece, Sink, Source};

/// The other end of a stream: says what its errors mean.
pub(super) trait Peer {
    fn lost(&self, error: &h2::Error) -> Lost;
}

/// The client.
#[derive(Debug)]
pub(super) struct Downstream;

impl Peer for Downstream {
    fn lost(&self, error: &h2::Error) -> Lost {
        Lost::client(error.to_string())
    }
}

/// Lengths of pieces that are gathered. Those of a message of gRPC, however short, and up to where the library counts a frame
/// as small. Shorter ones are a waste that it may put an end to.
const GATHERED: Range<usize> = 5..256;

/// What comes on a stream.
pub(super) struct Inflow<P> {
    stream: RecvStream,
    peer: P,
    /// The last piece, if there was one, was of those that are gathered: the next may be, too.
    is_fine: bool,
    /// Came while nothing could go on. It has no bound of its own: the peer gets no credit for it.
    gathered: BytesMut,
    /// Came behind that.
    behind: Option<Result<Piece, Lost>>,
}

impl<P> Inflow<P> {
    pub(super) fn new(stream: RecvStream, peer: P) -> Self {
        Self { stream, peer, is_fine: true, gathered: BytesMut::new(), behind: None }
    }
}

impl<P: Peer> Inflow<P> {
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                self.is_fine = GATHERED.contains(&data.len());
                return Poll::Ready(Ok(Piece::Data(data)));
            }
            Some(Err(error)) => return Poll::Ready(Err(self.peer.lost(&error))),
            None => {}
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Ok(Piece::Trailers(trailers))),
            Ok(None) => Poll::Ready(Ok(Piece::End)),
            Err(error) => Poll::Ready(Err(self.peer.lost(&error))),
        }
    }
}

impl<P: Peer> Source for Inflow<P> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        if !self.gathered.is_empty() {
            return Poll::Ready(Ok(Piece::Data(self.gathered.split().freeze())));
        }
        match self.behind.take() {
            Some(piece) => Poll::Ready(piece),
            None => self.poll_stream(cx),
        }
    }

    fn is_ended(&self) -> bool {
        self.gathered.is_empty() && self.behind.is_none() && self.stream.is_end_stream()
    }

    fn passed(&mut self, bytes: usize) {
        // A stream that was reset meanwhile wants no credit.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        while self.is_fine && self.behind.is_none() && !self.stream.is_end_stream() {
            let Poll::Ready(piece) = self.poll_stream(cx) else { return };
            match piece {
                Ok(Piece::Data(data)) if self.is_fine => self.gathered.extend_from_slice(&data),
                piece => self.behind = Some(piece),
            }
        }
    }
}

/// What goes on a stream.
pub(super) struct Outflow {
    pub(super) stream: SendStream<Bytes>,
}

impl Sink for Outflow {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
        self.stream.reserve_capacity(wanted);
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Closed)),
            }
        }
    }

    fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed> {
        self.stream.send_data(data, end).map_err(|_| Closed)
    }

    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
        self.stream.send_trailers(trailers).map_err(|_| Closed)
    }

    fn poll_flushed(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }
}
