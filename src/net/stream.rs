//! A connection: bytes in and out, waiting through the shard's epoll set, in the clear or over TLS.
//!
//! One task may poll reading and one may poll writing at a time. Dropping a stream closes it. A task that keeps finding bytes, or room for
//! them, is made to yield now and then: no pump needs to count.

use std::cell::{Cell, OnceCell};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::reactor::Reactor;
use super::tcp::Tcp;
use super::tls::{Session, TlsError};

/// A TCP connection of this shard.
pub struct Stream {
    tcp: Tcp,
    tls: OnceCell<Box<Session>>,
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
        Ok(Stream::over(Tcp::connect(addr, timeout).await?, addr))
    }

    /// Takes a connected, non-blocking socket.
    pub(super) fn new(fd: OwnedFd, peer: SocketAddr, reactor: Rc<Reactor>) -> Self {
        Stream::over(Tcp::new(fd, reactor), peer)
    }

    fn over(tcp: Tcp, peer: SocketAddr) -> Self {
        Stream { tcp, tls: OnceCell::new(), peer, in_call: Cell::new(false), ahead: Cell::new(None) }
    }

    /// Goes over to TLS as its server, before anything else is done with it. Bytes given back by [`unread`](Self::unread) are the beginning of the handshake.
    ///
    /// # Errors
    /// See [`TlsError`]. The stream is in the clear still: nothing of worth can be said on it, but an alert was sent, which the peer gets
    /// to read if the stream is read to its end before it is dropped.
    pub async fn accept_tls(&self, config: Arc<ServerConfig>, timeout: Duration) -> Result<(), TlsError> {
        // Boxed: what a handshake needs is large, and most connections have none, or none any more.
        Box::pin(async move { self.secure(ServerConnection::new(config)?, timeout).await }).await
    }

    /// Goes over to TLS as its client; the server is asked for `name` and has to prove it, if `config` verifies servers.
    ///
    /// # Errors
    /// See [`TlsError`]. The stream is of no further use.
    pub async fn connect_tls(
        &self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        timeout: Duration,
    ) -> Result<(), TlsError> {
        Box::pin(async move { self.secure(ClientConnection::new(config, name)?, timeout).await }).await
    }

    async fn secure(&self, tls: impl Into<Connection>, timeout: Duration) -> Result<(), TlsError> {
        debug_assert!(!self.is_tls(), "TLS inside of TLS is for the ends of a tunnel");
        let mut first = Vec::new();
        if let Some(ahead) = self.ahead.take() {
            first.extend_from_slice(ahead.rest());
        }
        let session = Session::establish(tls, &self.tcp, first, timeout).await?;
        // Never twice: a stream that has one is not secured again.
        let _ = self.tls.set(Box::new(session));
        Ok(())
    }

    /// Whether it goes over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.get().is_some()
    }

    /// The protocol agreed by ALPN (RFC 7301), if any.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.get()?.alpn.as_deref()
    }

    /// Whether the TLS handshake was a resumption.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.get().is_some_and(|tls| tls.resumed)
    }

    /// That the peer does not take our certificate, if it said so in the place of its first byte, and that was read. By TLS 1.3 a client
    /// has done its handshake before the server has judged its certificate (RFC 8446 section 2), so this is how it learns that it
    /// is refused. Of what was sent the peer has looked at nothing.
    #[must_use]
    pub fn tls_refusal(&self) -> Option<TlsError> {
        self.tls.get()?.refusal()
    }

    /// Reads into `buf`, which must not be empty. Zero bytes are the end of the connection.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::ConnectionReset`] among others. Over TLS [`io::ErrorKind::UnexpectedEof`] if the connection
    /// ended without `close_notify`, so that nobody else can have ended it, and [`io::ErrorKind::InvalidData`] for what is not TLS.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        debug_assert!(!buf.is_empty(), "an empty read would look like the end");
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Ok(self.take_ahead(ahead, buf)));
        }
        match self.tls.get() {
            None => self.tcp.poll_recv(cx, buf),
            Some(tls) => tls.poll_read(&self.tcp, cx, buf),
        }
    }

    /// Gives back bytes that were read: they are the next to be read, before what was given back earlier and before anything from
    /// the socket. For who looks at the first bytes of a connection to decide whose it is.
    pub fn unread(&self, mut bytes: Vec<u8>) {
        if let Some(behind) = self.ahead.take() {
            bytes.extend_from_slice(behind.rest());
        }
        if !bytes.is_empty() {
            self.ahead.set(Some(Box::new(Ahead { bytes, taken: 0 })));
        }
    }

    fn take_ahead(&self, mut ahead: Box<Ahead>, buf: &mut [u8]) -> usize {
        let rest = ahead.rest();
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

    /// Writes some of `buf`. What was not taken has to come first in the next write: over TLS its last byte may be on its way already,
    /// and only be reported once it has left.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::BrokenPipe`] among others, never a signal.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.tls.get() {
            None => self.tcp.poll_send(cx, buf),
            Some(tls) => tls.poll_write(&self.tcp, cx, &[IoSlice::new(buf)]),
        }
    }

    /// Writes some of `bufs` in one system call; see [`poll_write`](Self::poll_write).
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.tls.get() {
            None => self.tcp.poll_send_vectored(cx, bufs),
            Some(tls) => tls.poll_write(&self.tcp, cx, bufs),
        }
    }

    /// Ready once all that was written has left for the kernel; at once in the clear. Who got all bytes of a message reported as written
    /// need not ask.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.tls.get() {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_flush(&self.tcp, cx),
        }
    }

    /// Says "end" to the peer, as [`shutdown_write`](Self::shutdown_write); ready once that has left.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.tls.get() {
            None => {
                self.tcp.shutdown_write();
                Poll::Ready(Ok(()))
            }
            Some(tls) => tls.poll_close(&self.tcp, cx),
        }
    }

    /// Whether bytes, the end or an error arrived while nobody read: a pooled connection for which this holds is closed or out of step.
    /// A system call is made only if the last read left the question open. What concerns TLS alone (tickets, new keys) is taken in.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        match self.tls.get() {
            None => self.tcp.is_stale(),
            Some(tls) => tls.is_stale(&self.tcp, false),
        }
    }

    /// As [`is_stale`](Self::is_stale), and asks the kernel: for a connection that was read since the last turn, whose next edge may not
    /// have been fetched yet.
    #[must_use]
    pub fn is_stale_now(&self) -> bool {
        match self.tls.get() {
            None => self.tcp.is_stale_now(),
            Some(tls) => tls.is_stale(&self.tcp, true),
        }
    }

    /// Ready once the peer has closed its side or the connection is broken. Reads nothing: what has arrived before stays to be read. Waits
    /// in place of a read, so the two are not to be polled at the same time.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.tls.get() {
            None => self.tcp.poll_gone(cx),
            Some(tls) => tls.poll_gone(&self.tcp, cx),
        }
    }

    /// The shard hears of this connection's edges: [`poll_gone`](Self::poll_gone) costs no system call.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.tcp.is_watched()
    }

    /// After a request was sent nothing can have arrived yet: the next read waits for the edge instead of asking the kernel first.
    /// Nothing is lost if something has arrived all the same.
    pub fn expect_nothing_yet(&self) {
        self.tcp.expect_nothing_yet();
    }

    /// A request went out on this connection and its answer is outstanding. Input of the shard's polling rule.
    pub fn call_started(&self) {
        if !self.in_call.replace(true) {
            let calls = self.tcp.reactor().calls();
            calls.set(calls.get().saturating_add(1));
        }
    }

    /// The answer has begun to arrive, or will not. Dropping the stream says so too.
    pub fn call_ended(&self) {
        if self.in_call.replace(false) {
            let calls = self.tcp.reactor().calls();
            calls.set(calls.get().saturating_sub(1));
        }
    }

    /// Says "end" to the peer; reading goes on. A connection that is gone already needs no saying.
    pub fn shutdown_write(&self) {
        match self.tls.get() {
            None => self.tcp.shutdown_write(),
            Some(tls) => tls.shutdown_write(&self.tcp),
        }
    }

    /// From now on the connection fails once the peer has taken nothing of what was sent for so long: its machine is gone, or nobody
    /// there reads. By itself the kernel tries for a quarter of an hour. Zero leaves it at that.
    pub fn expect_signs_of_life(&self, within: Duration) {
        self.tcp.expect_signs_of_life(within);
    }

    /// Bytes that the kernel keeps since the peer has not taken them. Closing a connection on which the peer still says something
    /// throws them away.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.tcp.unsent()
    }

    /// Dropping the stream resets the connection and throws away what was not sent.
    pub fn reset_on_close(&self) {
        if let Some(tls) = self.tls.get() {
            tls.forget_end();
        }
        self.tcp.reset_on_close();
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
        self.tcp.local_addr()
    }
}

impl Ahead {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }
}

impl Drop for Stream {
    /// Over TLS the end is said first, or what came before could be taken for a part only.
    fn drop(&mut self) {
        self.call_ended();
        if let Some(tls) = self.tls.get() {
            tls.say_end(&self.tcp);
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("fd", &self.tcp.as_fd())
            .field("peer", &self.peer)
            .field("tls", &self.is_tls())
            .finish()
    }
}
