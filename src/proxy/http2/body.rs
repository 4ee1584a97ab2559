//! Bodies of HTTP/2 streams as sources and sinks.
//!
//! What has arrived is credit that the peer has used up; it gets it back when the bytes have gone on
//! ([`Source::passed`]). What is put must have been granted by the peer: the connection then holds no more than its window
//! and its own bound. And what comes while nothing can go on is kept as bytes, not as frames: some streams send frames of a few
//! bytes each, and the library keeps hundreds for each of them, or ends the connection.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use super::ahead::Ahead;
use super::session::Session;
use crate::codec::MESSAGE_BYTES_MIN;
use crate::proxy::flow::{Closed, Lost, Piece, Sink, Source};

/// The other end of a stream.
pub(super) trait Peer {
    /// What an error of the stream means.
    fn lost(&self, error: &h2::Error) -> Lost;

    /// A frame of next to nothing came from it, and goes on: it is work, and no waste.
    fn note_used(&self);
}

/// The client.
pub(super) struct Downstream<'s>(pub(super) &'s Session);

impl Peer for Downstream<'_> {
    fn lost(&self, error: &h2::Error) -> Lost {
        Lost::client(error.to_string())
    }

    fn note_used(&self) {
        self.0.watch.note_used();
    }
}

/// What comes on a stream.
pub(super) struct Inflow<P> {
    stream: RecvStream,
    peer: P,
    ahead: Option<Box<Ahead>>,
}

impl<P: Peer> Inflow<P> {
    pub(super) fn new(stream: RecvStream, peer: P) -> Self {
        Self { stream, peer, ahead: None }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Ok(Piece::Data(data))),
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
        if let Some(piece) = self.ahead.as_mut().and_then(|ahead| ahead.pop()) {
            return Poll::Ready(piece);
        }
        self.ahead = None;
        let piece = ready!(self.poll_stream(cx));
        if matches!(&piece, Ok(Piece::Data(data)) if data.len() < MESSAGE_BYTES_MIN) {
            self.peer.note_used();
        }
        Poll::Ready(piece)
    }

    fn is_ended(&self) -> bool {
        match self.ahead.as_ref().filter(|ahead| !ahead.is_empty()) {
            Some(ahead) => ahead.is_at_end(),
            None => self.stream.is_end_stream(),
        }
    }

    fn passed(&mut self, bytes: usize) {
        // A stream that was reset meanwhile wants no credit.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        // The end is taken, too: the crate forgets it when the connection ends.
        while self.ahead.as_ref().is_none_or(|ahead| ahead.last.is_none()) {
            let Poll::Ready(piece) = self.poll_stream(cx) else { return };
            self.ahead.get_or_insert_default().push(piece);
        }
    }
}

/// What goes on a stream.
pub(super) struct Outflow {
    pub(super) stream: SendStream<Bytes>,
    /// More room was asked for than there is.
    wishes: bool,
}

impl Outflow {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, wishes: false }
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        // Room that may still come is left to others: a stream that is given up lives on for a while, and the connection's
        // window would be given to it.
        if self.wishes {
            self.stream.reserve_capacity(0);
        }
    }
}

impl Sink for Outflow {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
        self.stream.reserve_capacity(wanted);
        self.wishes = true;
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                self.wishes = room < wanted;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const WIDE: u32 = 1 << 20;

    fn request() -> http::Request<()> {
        http::Request::post("http://orders/").body(()).unwrap()
    }

    /// The window of a connection, as every peer has it at first (RFC 9113 section 6.9.2).
    const WINDOW: usize = 65_535;

    #[test]
    fn room_that_a_given_up_stream_has_wished_for_is_left_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let scenario = async {
            let (near, far) = tokio::io::duplex(1 << 20);
            let (read, mut readers) = tokio::sync::mpsc::unbounded_channel();
            let server = async move {
                let mut server = h2::server::Builder::new()
                    .initial_window_size(WIDE)
                    .handshake::<_, Bytes>(far)
                    .await
                    .unwrap();
                while let Some(Ok((request, respond))) = server.accept().await {
                    let _ = read.send((request.into_body(), respond));
                }
            };
            let client = async move {
                let (mut sender, connection) = h2::client::handshake(near).await.unwrap();
                let driver = tokio::spawn(connection);
                let mut call = async || {
                    poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
                    let (response, stream) = sender.send_request(request(), false).unwrap();
                    (response, Outflow::new(stream))
                };
                let (_first, mut flow) = call().await;
                let mut left = WINDOW;
                while left > 0 {
                    let room = poll_fn(|cx| flow.poll_room(cx, left)).await.unwrap();
                    flow.put(vec![0; room].into(), false).unwrap();
                    left -= room;
                }
                // One that wants all there will be, and is given up, while its answer is still awaited.
                let (_response, mut given_up) = call().await;
                assert!(poll_fn(|cx| Poll::Ready(given_up.poll_room(cx, WINDOW).is_pending())).await);
                let (_other, mut other) = call().await;
                assert!(poll_fn(|cx| Poll::Ready(other.poll_room(cx, 5).is_pending())).await);
                drop(given_up);
                let (mut body, _respond) = readers.recv().await.unwrap();
                let mut taken = 0;
                while taken < WINDOW {
                    taken += body.data().await.unwrap().unwrap().len();
                }
                body.flow_control().release_capacity(WINDOW).unwrap();
                assert_eq!(poll_fn(|cx| other.poll_room(cx, 5)).await.unwrap(), 5);
                driver.abort();
            };
            tokio::select! {
                () = server => unreachable!("it serves for ever"),
                () = client => {}
            }
        };
        let limited = async { tokio::time::timeout(Duration::from_secs(20), scenario).await };
        runtime.block_on(limited).expect("the other stream gets no room");
    }
}
