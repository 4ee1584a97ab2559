//! A client's connection as the `h2` crate reads it: a frame that is bad in itself never gets there. The crate would end
//! the connection for it as well, but with PROTOCOL_ERROR where the protocol has a code that tells more, or only when the
//! frame is whole. And frames that ask for no work come to an end, where the crate takes them for ever.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::{FrameFault, FrameWatch};
use crate::net::{self, Stream, Turn};

/// What comes first on every connection (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// What a connection's reader, its task and its streams know of its frames.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: RefCell<State>,
    turn: Turn,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of the preface that have come.
    preface: usize,
    frames: FrameWatch,
    /// All that was read has been looked at: more was asked for, and none was given.
    is_dry: bool,
    /// Of the streams begun, how many have been accepted or never will be.
    settled: u32,
    /// The client takes nothing more of what waits for it, since then.
    stuck_since: Option<Instant>,
}

/// The connection.
pub(super) struct Watched<'s> {
    pub(super) stream: &'s Stream,
    pub(super) watch: &'s Watch,
}

impl Watch {
    /// Why the connection has to end, if it has to. Nothing is read from then on.
    pub(super) fn fault(&self) -> Option<Reason> {
        self.state.borrow().frames.fault().map(|fault| match fault {
            FrameFault::Protocol => Reason::PROTOCOL_ERROR,
            FrameFault::FlowControl => Reason::FLOW_CONTROL_ERROR,
            FrameFault::FrameSize => Reason::FRAME_SIZE_ERROR,
            FrameFault::Flood => Reason::ENHANCE_YOUR_CALM,
        })
    }

    /// Since when a header block has been coming that is not whole.
    pub(super) fn block_since(&self) -> Option<Instant> {
        self.state.borrow().frames.block_since()
    }

    /// The client is sent so many bytes of a body.
    pub(super) fn note_sent(&self, bytes: usize) {
        self.state.borrow_mut().frames.note_sent(bytes);
    }

    /// A frame of next to nothing that the client has sent was of use.
    pub(super) fn note_used(&self) {
        self.state.borrow_mut().frames.note_used();
    }

    /// Others on the shard are to have their turn before more is read.
    pub(super) fn is_turn_over(&self) -> bool {
        self.turn.is_over()
    }

    /// A stream was accepted. True if no other has come that might be.
    pub(super) fn was_last(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.settled = state.settled.wrapping_add(1);
        state.settled == state.frames.heads()
    }

    /// There is no stream to accept. Those that were refused will never be.
    pub(super) fn note_none(&self) {
        let mut state = self.state.borrow_mut();
        if state.is_dry {
            state.settled = state.frames.heads();
        }
    }

    /// Since when the client takes nothing more of what waits for it. Nothing if nothing waits.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.state.borrow().stuck_since
    }

    /// Notes whether what was to be written has left.
    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        let stuck = &mut self.state.borrow_mut().stuck_since;
        if written.is_pending() {
            stuck.get_or_insert_with(net::now);
        } else {
            *stuck = None;
        }
        written
    }

    /// How many of these bytes, the next to come, may be read.
    fn follow(&self, bytes: &[u8]) -> usize {
        let mut state = self.state.borrow_mut();
        let preface = bytes.len().min(PREFACE_BYTES.saturating_sub(state.preface));
        state.preface += preface;
        preface + state.frames.follow(bytes.get(preface..).unwrap_or_default(), net::now())
    }
}

impl AsyncRead for Watched<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The task of the connection looks for a fault after each poll: nobody has to be woken.
        if self.watch.fault().is_some() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = match self.watch.turn.poll_go_on(cx) {
            Poll::Ready(()) => Pin::new(&mut self.stream).poll_read(cx, buf),
            Poll::Pending => Poll::Pending,
        };
        self.watch.state.borrow_mut().is_dry = read.is_pending();
        ready!(read)?;
        let came = buf.filled().get(before..).unwrap_or_default();
        self.watch.turn.note_read(came.len());
        let passed = self.watch.follow(came);
        if passed == 0 && !came.is_empty() {
            buf.set_filled(before);
            return Poll::Pending;
        }
        buf.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let watch = self.watch;
        watch.written(Pin::new(&mut self.stream).poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let watch = self.watch;
        watch.written(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Driver;
    use crate::net::tests::on_shard;

    fn begin(watch: &Watch, stream: u8) {
        let head = [0, 0, 0, 1, 5, 0, 0, 0, stream];
        assert_eq!(watch.follow(&head), head.len());
    }

    /// The watch of a connection on which two streams have come.
    fn of_two() -> Watch {
        let watch = Watch::default();
        watch.follow(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        begin(&watch, 1);
        begin(&watch, 3);
        watch
    }

    #[test]
    fn the_last_stream_is_known_as_soon_as_it_is_accepted() {
        on_shard(Driver::Epoll, async || {
            let watch = of_two();
            assert_eq!([watch.was_last(), watch.was_last()], [false, true]);
            begin(&watch, 5);
            assert!(watch.was_last());
        });
    }

    #[test]
    fn streams_that_nobody_could_accept_count_no_more_once_all_that_came_was_looked_at() {
        on_shard(Driver::Epoll, async || {
            let watch = of_two();
            watch.note_none();
            begin(&watch, 5);
            assert!(!watch.was_last(), "the others may still come");
            watch.state.borrow_mut().is_dry = true;
            watch.note_none();
            begin(&watch, 7);
            assert!(watch.was_last(), "the others were refused");
        });
    }
}
