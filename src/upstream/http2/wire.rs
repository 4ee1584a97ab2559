//! The socket of a connection as the `h2` crate holds it, and what others may still ask it. A peer that floods it with frames
//! that ask for no work is not read any more, where the crate would read on for ever.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use mesher_actors::snapshot::stats::ShardStats;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::{FrameFault, FrameWatch};
use crate::net::{self, Stream, Turn};
use crate::upstream::Connection;

/// An open connection that speaks HTTP/2; counted while it lives. Closed when the last owner is gone: the protocol's side
/// ([`Io`]) and the connection's task are meant to be the only ones.
pub(super) struct Wire {
    connection: Connection,
    heard: Cell<Instant>,
    /// What comes.
    frames: RefCell<FrameWatch>,
    turn: Turn,
    /// Part of what the crate wants to be written has left, and the rest has not.
    midway: Cell<bool>,
    /// Nothing more comes.
    ended: Cell<bool>,
    /// How it has ended, if the crate has not heard it yet.
    untold: Cell<Option<io::Result<()>>>,
    stats: Arc<ShardStats>,
}

/// What the `h2` crate reads and writes.
pub(super) struct Io(pub(super) Rc<Wire>);

// === impl Wire ===

impl Wire {
    pub(super) fn new(connection: Connection, stats: Arc<ShardStats>) -> Rc<Self> {
        stats.upstream_http2_open.add(1);
        Rc::new(Self {
            connection,
            heard: Cell::new(net::now()),
            frames: RefCell::new(FrameWatch::of_server()),
            turn: Turn::default(),
            midway: Cell::new(false),
            ended: Cell::new(false),
            untold: Cell::new(None),
            stats,
        })
    }

    /// When bytes came last.
    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// Something has arrived that the connection's task has not seen yet; it may be the end.
    pub(super) fn is_stale(&self) -> bool {
        self.connection.is_stale()
    }

    /// What was not sent is thrown away when the socket is closed.
    pub(super) fn reset_on_close(&self) {
        self.connection.reset_on_close();
    }

    /// A request goes out.
    pub(super) fn note_asked(&self) {
        self.frames.borrow_mut().note_asked();
    }

    /// So many bytes of a request's body go out.
    pub(super) fn note_sent(&self, bytes: usize) {
        self.frames.borrow_mut().note_sent(bytes);
    }

    /// A frame of next to nothing that came was of use.
    pub(super) fn note_used(&self) {
        self.frames.borrow_mut().note_used();
    }

    /// The peer has sent more frames that ask for no work than it has a use for. It is not read any more.
    pub(super) fn is_flooded(&self) -> bool {
        self.frames.borrow().fault() == Some(FrameFault::Flood)
    }

    /// The peer has sent a frame that is bad in itself. The crate ends the connection for nearly all of them.
    pub(super) fn is_broken(&self) -> bool {
        self.frames.borrow().fault().is_some_and(|fault| fault != FrameFault::Flood)
    }

    /// Since when a header block has been coming that is not whole.
    pub(super) fn block_since(&self) -> Option<Instant> {
        self.frames.borrow().block_since()
    }

    /// Nothing more comes, which the crate has not heard yet, or only just.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Something else can be said now without tearing a frame of the crate's.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.midway.get()
    }

    /// The socket.
    pub(super) fn stream(&self) -> &Stream {
        &self.connection
    }

    /// How many of these bytes, the next to come, may be read. What is bad in itself may: the crate finds that too.
    fn follow(&self, bytes: &[u8]) -> usize {
        let mut frames = self.frames.borrow_mut();
        let passed = frames.follow(bytes, net::now());
        if frames.fault() == Some(FrameFault::Flood) { passed } else { bytes.len() }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stats.upstream_http2_open.sub(1);
    }
}

// === impl Io ===

impl Io {
    fn with<R>(&self, f: impl FnOnce(Pin<&mut &Stream>) -> R) -> R {
        f(Pin::new(&mut self.0.stream()))
    }

    /// Notes whether all of what was to be written has left. What cannot be written any more is thrown away: a peer that is
    /// gone may have said before what it has not looked at, which the crate would not read if it heard of this first. The end
    /// is read behind that.
    fn written(&self, written: Poll<io::Result<usize>>, wanted: usize) -> Poll<io::Result<usize>> {
        self.0.midway.set(!matches!(written, Poll::Ready(Ok(n)) if n == wanted));
        written.map(|written| Ok(written.unwrap_or(wanted)))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The task of the connection looks for a flood after each poll: nobody has to be woken.
        if self.0.is_flooded() {
            return Poll::Pending;
        }
        ready!(self.0.turn.poll_go_on(cx));
        let before = buf.filled().len();
        let read = ready!(self.with(|stream| stream.poll_read(cx, buf)));
        let came = buf.filled().get(before..).unwrap_or_default();
        if came.is_empty() {
            if self.0.ended.replace(true) {
                return Poll::Ready(self.0.untold.take().unwrap_or(read));
            }
            self.0.untold.set(Some(read));
            // The crate makes a broken answer of each that nobody has looked at yet, though it may be whole, where its request
            // is not: those who wait for them were woken, and come before the next turn of this.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.0.heard.set(net::now());
        self.0.turn.note_read(came.len());
        let passed = self.0.follow(came);
        buf.set_filled(before + passed);
        if passed == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written(self.with(|stream| AsyncWrite::poll_write(stream, cx, buf)), buf.len())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx)).map(|_| Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.written(self.with(|stream| AsyncWrite::poll_write_vectored(stream, cx, bufs)), wanted)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream().is_write_vectored()
    }
}
