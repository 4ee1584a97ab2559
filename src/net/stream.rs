//! A connection: direct `recv` and `send` calls that wait through the shard's epoll set.
//!
//! One task may poll reading and one may poll writing at a time. Dropping a stream closes it. A task that keeps finding bytes, or room for
//! them, is made to yield now and then: no pump needs to count.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};

use super::reactor::Reactor;
use super::shard;
use super::slot::Readiness;
use super::socket::Socket;
use super::timer::Sleep;

/// The kernel takes no more slices in one call (`UIO_MAXIOV`); the rest is for the next call.
const SLICES_MAX: usize = 1024;

/// A TCP connection of this shard.
pub struct Stream {
    socket: Socket,
    peer: SocketAddr,
    in_call: Cell<bool>,
    ahead: Cell<Option<Box<Ahead>>>,
}

/// Bytes that were read before it was known who is to have them.
struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

impl Stream {
    /// Connects, with `TCP_NODELAY` set.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] after `timeout`; else what the kernel says.
    ///
    /// # Panics
    /// Outside of a shard.
    pub async fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<Stream> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        let pending = match rustix::net::connect(&fd, &addr) {
            Ok(()) => false,
            // Interrupted or not: the handshake goes on, and its end is an edge.
            Err(Errno::INPROGRESS | Errno::INTR) => true,
            Err(error) => return Err(error.into()),
        };
        let stream = Stream::new(fd, addr, shard::reactor());
        if pending {
            stream.connected(timeout).await?;
        }
        Ok(stream)
    }

    /// Takes a connected, non-blocking socket.
    pub(super) fn new(fd: OwnedFd, peer: SocketAddr, reactor: Rc<Reactor>) -> Self {
        Stream { socket: Socket::new(fd, reactor), peer, in_call: Cell::new(false), ahead: Cell::new(None) }
    }

    /// Reads into `buf`, which must not be empty. Zero bytes are the end of the connection.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::ConnectionReset`] among others.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        debug_assert!(!buf.is_empty(), "an empty read would look like the end");
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Ok(self.take_ahead(ahead, buf)));
        }
        let slot = self.socket.slot();
        if slot.readable.get() != Readiness::Drained {
            ready!(self.socket.reactor().spend(cx));
            let room = buf.len();
            match self.receive(buf, RecvFlags::empty()) {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(n) => {
                    // Less than there was room for: drained, and whatever came since is an edge to come.
                    slot.consumed(n < room && self.socket.is_registered());
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN) => slot.readable.set(Readiness::Drained),
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
        }
        self.socket.wait_readable(cx)?;
        Poll::Pending
    }

    /// Gives back bytes that were read: they are the next to be read, before what was given back earlier and before anything from
    /// the socket. For who looks at the first bytes of a connection to decide whose it is.
    pub fn unread(&self, mut bytes: Vec<u8>) {
        if let Some(behind) = self.ahead.take() {
            bytes.extend_from_slice(behind.bytes.get(behind.taken..).unwrap_or_default());
        }
        if !bytes.is_empty() {
            self.ahead.set(Some(Box::new(Ahead { bytes, taken: 0 })));
        }
    }

    fn take_ahead(&self, mut ahead: Box<Ahead>, buf: &mut [u8]) -> usize {
        let rest = ahead.bytes.get(ahead.taken..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        ahead.taken += n;
        if ahead.taken < ahead.bytes.len() {
            self.ahead.set(Some(ahead));
        }
        n
    }

    /// Writes some of `buf`.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::BrokenPipe`] among others, never a signal.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, || rustix::net::send(&self.socket, buf, SendFlags::NOSIGNAL))
    }

    /// Writes some of `bufs` in one system call.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bufs = bufs.get(..SLICES_MAX).unwrap_or(bufs);
        self.poll_send(cx, || {
            let mut control = SendAncillaryBuffer::default();
            rustix::net::sendmsg(&self.socket, bufs, &mut control, SendFlags::NOSIGNAL)
        })
    }

    /// Whether bytes, the end or an error arrived while nobody read: a pooled connection for which this holds is closed or out of step.
    /// A system call is made only if the last read left the question open.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let slot = self.socket.slot();
        if slot.ended.get() {
            return true;
        }
        match slot.readable.get() {
            Readiness::Drained => false,
            Readiness::Edge => true,
            Readiness::Unknown => match self.receive(&mut [0], RecvFlags::PEEK) {
                Err(Errno::AGAIN) => {
                    slot.consumed(self.socket.is_registered());
                    false
                }
                _ => true,
            },
        }
    }

    /// As [`is_stale`](Self::is_stale), and asks the kernel: for a connection that was read since the last turn, whose next edge may not
    /// have been fetched yet.
    #[must_use]
    pub fn is_stale_now(&self) -> bool {
        self.socket.slot().ended.get()
            || !matches!(self.receive(&mut [0], RecvFlags::PEEK), Err(Errno::AGAIN))
    }

    /// Ready once the peer has closed its side or the connection is broken. Reads nothing: what has arrived before stays to be read. Waits
    /// in place of a read, so the two are not to be polled at the same time.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        // A socket that cannot be registered fails at its next read or write.
        if self.socket.slot().ended.get() || self.socket.wait_readable(cx).is_err() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// The shard hears of this connection's edges: [`poll_gone`](Self::poll_gone) costs no system call.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.socket.is_registered()
    }

    /// After a request was sent nothing can have arrived yet: the next read waits for the edge instead of asking the kernel first.
    /// Nothing is lost if something has arrived all the same.
    pub fn expect_nothing_yet(&self) {
        // Registering reports what is there; on a registered socket only reads that drained it may say so.
        if !self.socket.is_registered() && self.socket.register(EventFlags::empty()).is_ok() {
            self.socket.slot().consumed(true);
        }
    }

    /// A request went out on this connection and its answer is outstanding. Input of the shard's polling rule.
    pub fn call_started(&self) {
        if !self.in_call.replace(true) {
            let calls = self.socket.reactor().calls();
            calls.set(calls.get().saturating_add(1));
        }
    }

    /// The answer has begun to arrive, or will not. Dropping the stream says so too.
    pub fn call_ended(&self) {
        if self.in_call.replace(false) {
            let calls = self.socket.reactor().calls();
            calls.set(calls.get().saturating_sub(1));
        }
    }

    /// Says "end" to the peer; reading goes on. A connection that is gone already needs no saying.
    pub fn shutdown_write(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Dropping the stream resets the connection and throws away what was not sent.
    pub fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    /// The other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(rustix::net::getsockname(&self.socket)?.try_into()?)
    }

    async fn connected(&self, timeout: Duration) -> io::Result<()> {
        let slot = self.socket.slot();
        slot.writable.set(false);
        slot.readable.set(Readiness::Drained);
        self.socket.register(EventFlags::OUT)?;
        let mut late = Sleep::on(self.socket.reactor().clone(), timeout);
        poll_fn(|cx| {
            if slot.writable.get() {
                return Poll::Ready(Ok(()));
            }
            if Pin::new(&mut late).poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Ready(ready!(self.wait_writable(cx)))
        })
        .await?;
        sockopt::socket_error(&self.socket)??;
        Ok(())
    }

    fn wait_writable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.wait_writable(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn receive(&self, buf: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buf, flags) {
                Ok((n, _)) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_send(
        &self,
        cx: &Context<'_>,
        mut send: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let slot = self.socket.slot();
        if slot.writable.get() {
            ready!(self.socket.reactor().spend(cx));
        }
        while slot.writable.get() {
            match send() {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => slot.writable.set(false),
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
        }
        self.socket.wait_writable(cx)?;
        Poll::Pending
    }

    /// A connection that failed once is no use to a pool.
    fn fail(&self, error: Errno) -> io::Error {
        self.socket.slot().ended.set(true);
        error.into()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.call_ended();
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("fd", &self.socket.as_fd()).field("peer", &self.peer).finish()
    }
}
