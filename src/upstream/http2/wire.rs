//! The socket of a connection as the `h2` crate holds it, and what others may still ask it.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use mesher_actors::snapshot::stats::ShardStats;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net;
use crate::upstream::Connection;

/// An open connection that speaks HTTP/2; counted while it lives. Closed when the last owner is gone, and the protocol's
/// side ([`Io`]) is meant to be the only one.
pub(super) struct Wire {
    connection: RefCell<Connection>,
    heard: Cell<Instant>,
    stats: Arc<ShardStats>,
}

/// What the `h2` crate reads and writes.
pub(super) struct Io(pub(super) Rc<Wire>);

// === impl Wire ===

impl Wire {
    pub(super) fn new(connection: Connection, stats: Arc<ShardStats>) -> Rc<Self> {
        stats.upstream_http2_open.add(1);
        Rc::new(Self { connection: RefCell::new(connection), heard: Cell::new(net::now()), stats })
    }

    /// When bytes came last.
    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// Something has arrived that the connection's task has not seen yet; it may be the end.
    pub(super) fn is_stale(&self) -> bool {
        self.connection.borrow().is_stale()
    }

    /// What was not sent is thrown away when the socket is closed.
    pub(super) fn reset_on_close(&self) {
        self.connection.borrow().reset_on_close();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stats.upstream_http2_open.sub(1);
    }
}

// === impl Io ===

impl Io {
    fn with<R>(&self, f: impl FnOnce(Pin<&mut net::Stream>) -> R) -> R {
        f(Pin::new(&mut self.0.connection.borrow_mut()))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.with(|stream| stream.poll_read(cx, buf)))?;
        if buf.filled().len() > before {
            self.0.heard.set(net::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| AsyncWrite::poll_write(stream, cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| AsyncWrite::poll_write_vectored(stream, cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.connection.borrow().is_write_vectored()
    }
}
