//! A TCP connection as the kernel has it: direct `recv` and `send` calls that wait through the shard's epoll set. What the bytes mean is
//! not known here; [`Stream`](super::Stream) gives them to its caller or to TLS.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
use super::sys;
use super::timer::Sleep;

/// The kernel takes no more slices in one call (`UIO_MAXIOV`); the rest is for the next call.
const SLICES_MAX: usize = 1024;

/// A connected, non-blocking socket of this shard.
pub(super) struct Tcp {
    socket: Socket,
}

impl Tcp {
    /// Connects, with `TCP_NODELAY` set.
    pub(super) async fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<Self> {
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
        let tcp = Tcp::new(fd, shard::reactor());
        if pending {
            tcp.connected(timeout).await?;
        }
        Ok(tcp)
    }

    pub(super) fn new(fd: OwnedFd, reactor: Rc<Reactor>) -> Self {
        Tcp { socket: Socket::new(fd, reactor) }
    }

    pub(super) fn reactor(&self) -> &Rc<Reactor> {
        self.socket.reactor()
    }

    /// Zero bytes are the end of the connection.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.socket.slot().readable.get() != Readiness::Drained {
            ready!(self.socket.reactor().spend(cx));
            if let Some(received) = self.recv(buf) {
                return Poll::Ready(received);
            }
            // Registered by now or in a moment, which reports what has come since.
            self.socket.slot().readable.set(Readiness::Drained);
        }
        self.socket.wait_readable(cx)?;
        Poll::Pending
    }

    /// As [`poll_recv`](Self::poll_recv) for who does not wait; nobody is woken. Asks the kernel whatever is known.
    pub(super) fn try_recv(&self, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(received) = self.recv(buf) {
            return Poll::Ready(received);
        }
        self.socket.slot().consumed(self.socket.is_registered());
        Poll::Pending
    }

    pub(super) fn poll_send(&self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_sending(cx, || rustix::net::send(&self.socket, buf, SendFlags::NOSIGNAL))
    }

    /// One system call, the simpler one if that will do.
    pub(super) fn poll_send_vectored(
        &self,
        cx: &Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [buf] => self.poll_send(cx, buf),
            _ => self.poll_sending(cx, || self.send_vectored(bufs)),
        }
    }

    /// As [`poll_send_vectored`](Self::poll_send_vectored) for who does not wait; nobody is woken.
    pub(super) fn try_send_vectored(&self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.sending(|| self.send_vectored(bufs)).map_or(Poll::Pending, Poll::Ready)
    }

    /// The end, a reset or an error was reported.
    pub(super) fn has_ended(&self) -> bool {
        self.socket.slot().ended.get()
    }

    /// What is known without a system call.
    pub(super) fn readiness(&self) -> Readiness {
        self.socket.slot().readable.get()
    }

    /// See [`Stream::is_stale`](super::Stream::is_stale).
    pub(super) fn is_stale(&self) -> bool {
        let slot = self.socket.slot();
        if slot.ended.get() {
            return true;
        }
        match slot.readable.get() {
            Readiness::Drained => false,
            Readiness::Edge => true,
            Readiness::Unknown => match self.call_recv(&mut [0], RecvFlags::PEEK) {
                Err(Errno::AGAIN) => {
                    slot.consumed(self.socket.is_registered());
                    false
                }
                _ => true,
            },
        }
    }

    /// See [`Stream::is_stale_now`](super::Stream::is_stale_now).
    pub(super) fn is_stale_now(&self) -> bool {
        self.has_ended() || !matches!(self.call_recv(&mut [0], RecvFlags::PEEK), Err(Errno::AGAIN))
    }

    /// See [`Stream::poll_gone`](super::Stream::poll_gone).
    pub(super) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        // A socket that cannot be registered fails at its next read or write.
        if self.has_ended() || self.socket.wait_readable(cx).is_err() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// See [`Stream::is_watched`](super::Stream::is_watched).
    pub(super) fn is_watched(&self) -> bool {
        self.socket.is_registered()
    }

    /// See [`Stream::expect_nothing_yet`](super::Stream::expect_nothing_yet).
    pub(super) fn expect_nothing_yet(&self) {
        // Registering reports what is there; on a registered socket only reads that drained it may say so.
        if !self.socket.is_registered() && self.socket.register(EventFlags::empty()).is_ok() {
            self.socket.slot().consumed(true);
        }
    }

    /// See [`Stream::expect_signs_of_life`](super::Stream::expect_signs_of_life).
    pub(super) fn expect_signs_of_life(&self, within: Duration) {
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        // One that the kernel does not take is one that is not noticed, as without.
        let _ = sockopt::set_tcp_user_timeout(&self.socket, within_ms);
    }

    /// See [`Stream::unsent`](super::Stream::unsent).
    pub(super) fn unsent(&self) -> usize {
        sys::unsent(&self.socket).unwrap_or(0)
    }

    /// Says "end" to the peer. A connection that is gone already needs no saying.
    pub(super) fn shutdown_write(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Closing it resets the connection and throws away what was not sent.
    pub(super) fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
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
            match self.socket.wait_writable(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await?;
        sockopt::socket_error(&self.socket)??;
        Ok(())
    }

    /// `None`: nothing is there.
    fn recv(&self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        let (slot, room) = (self.socket.slot(), buf.len());
        match self.call_recv(buf, RecvFlags::empty()) {
            Ok(0) => Some(Ok(0)),
            Ok(n) => {
                // Less than there was room for: drained, and whatever came since is an edge to come.
                slot.consumed(n < room && self.socket.is_registered());
                Some(Ok(n))
            }
            Err(Errno::AGAIN) => None,
            Err(error) => Some(Err(self.fail(error))),
        }
    }

    fn call_recv(&self, buf: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buf, flags) {
                Ok((n, _)) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        let bufs = bufs.get(..SLICES_MAX).unwrap_or(bufs);
        let mut control = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&self.socket, bufs, &mut control, SendFlags::NOSIGNAL)
    }

    fn poll_sending(
        &self,
        cx: &Context<'_>,
        send: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.socket.slot().writable.get() {
            ready!(self.socket.reactor().spend(cx));
        }
        if let Some(sent) = self.sending(send) {
            return Poll::Ready(sent);
        }
        self.socket.wait_writable(cx)?;
        Poll::Pending
    }

    /// `None`: there is no room.
    fn sending(&self, mut send: impl FnMut() -> rustix::io::Result<usize>) -> Option<io::Result<usize>> {
        let slot = self.socket.slot();
        while slot.writable.get() {
            match send() {
                Ok(n) => return Some(Ok(n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => slot.writable.set(false),
                Err(error) => return Some(Err(self.fail(error))),
            }
        }
        None
    }

    /// A connection that failed once is no use to a pool.
    fn fail(&self, error: Errno) -> io::Error {
        self.socket.slot().ended.set(true);
        error.into()
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
