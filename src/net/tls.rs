//! TLS on a TCP connection: plaintext on one side, records on the other. rustls does the protocol, this moves bytes between it, the
//! socket and the caller. Knows no HTTP and no configuration; [`Stream`](super::Stream) drives it.
//!
//! ```text
//!   socket --recv--> the shard's wire buffer --> rustls --> caller's buffer      what the caller has no room for stays in rustls
//!   caller's buffer --> rustls --> records --one send--> socket                  what the socket does not take stays in rustls
//! ```
//!
//! Two rules make a secured connection look like a plain one:
//!
//! - **A write that is reported whole has left.** While records of a write wait for the socket its last byte is not reported as written,
//!   so whoever has written all of a message has nothing to flush before the connection is pooled, closed or forgotten.
//! - **Only plaintext counts as input.** Tickets and key updates on an idle connection are taken in by whoever asks whether it is stale.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::{Connection, HandshakeKind};

use super::scratch::with_wire_scratch;
use super::slot::Readiness;
use super::tcp::Tcp;
use super::timer::Sleep;
use super::tls_error::TlsError;

/// Plaintext that one write hands to rustls, and so about the most that waits in it for the socket. Four full records, one `send`.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// rustls takes no more records in while it holds more plaintext than this (its own bound, not to be changed).
const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// The least that is received at once: one record of the largest size (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
const RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;
/// What rustls reads into a buffer of the least size it has.
const SMALL_BYTES_MAX: usize = 4096;
/// Receives in a row that may bring no plaintext before a connection that nobody reads counts as out of step: a peer may send a few
/// tickets, but not keep us busy with them.
const UNASKED_READS_MAX: u32 = 4;

/// A connection whose handshake is done.
pub(super) struct Session {
    state: RefCell<State>,
    /// Agreed by ALPN.
    pub(super) alpn: Option<Box<[u8]>>,
    /// The name that the client asked for (SNI); servers only.
    pub(super) server_name: Option<Box<str>>,
    /// The peers knew each other from before.
    pub(super) resumed: bool,
}

/// rustls, and what it does not say itself.
struct State {
    tls: Connection,
    /// Records that rustls had no room for, or that came before it was there. Never without plaintext in rustls once the handshake is
    /// done, so no read waits while there are some.
    undigested: Vec<u8>,
    /// Plaintext in rustls. After an error it does not tell how much; that is `usize::MAX` then, until a read has found the end of it.
    plaintext: usize,
    input: Input,
    output: Output,
    /// The last byte of a write whose records have not all left: taken, and not reported yet.
    held: Option<u8>,
    /// rustls has a buffer for large records.
    grown: bool,
}

/// What is to be expected of the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// It has said `close_notify`.
    Ended,
    /// It has broken the protocol, or the connection.
    Broken,
}

/// What we may still say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// `close_notify` is on its way; the end of the TCP connection is to follow it.
    Ending,
    /// Nothing any more.
    Ended,
}

/// What came while nobody read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unasked {
    Nothing,
    Plaintext,
    End,
}

// === impl Session ===

impl Session {
    /// Does the handshake. `first` are bytes that were read from the connection already. After an error an alert that says why has been
    /// sent, if the socket took it.
    pub(super) async fn establish(
        tls: impl Into<Connection>,
        tcp: &Tcp,
        first: Vec<u8>,
        timeout: Duration,
    ) -> Result<Self, TlsError> {
        let mut state = State::new(tls.into(), first);
        let mut late = Sleep::on(tcp.reactor().clone(), timeout);
        poll_fn(|cx| match state.poll_handshake(tcp, cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Pin::new(&mut late).poll(cx).map(|()| Err(TlsError::TimedOut)),
        })
        .await?;
        let server_name = match &state.tls {
            Connection::Server(server) => server.server_name().map(Into::into),
            Connection::Client(_) => None,
        };
        Ok(Session {
            alpn: state.tls.alpn_protocol().map(Into::into),
            server_name,
            resumed: state.tls.handshake_kind() == Some(HandshakeKind::Resumed),
            state: RefCell::new(state),
        })
    }

    /// See [`Stream::poll_read`](super::Stream::poll_read).
    pub(super) fn poll_read(
        &self,
        tcp: &Tcp,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        if state.output == Output::Ending {
            // Nobody else comes back for it. A failure shows in what is read.
            let _ = state.poll_end(tcp, Some(cx));
        }
        loop {
            match state.take_plaintext(buf) {
                0 => {}
                n => return Poll::Ready(Ok(n)),
            }
            match state.input {
                Input::Open => {}
                Input::Ended => return Poll::Ready(Ok(0)),
                Input::Broken => return Poll::Ready(Err(state.why_broken().into())),
            }
            match ready!(state.fill(tcp, Some(cx), buf)) {
                Ok(0) => {}
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// See [`Stream::poll_write_vectored`](super::Stream::poll_write_vectored).
    pub(super) fn poll_write(
        &self,
        tcp: &Tcp,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        if state.output != Output::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.held.is_some() {
            ready!(state.poll_flush(tcp, Some(cx)))?;
            let held = state.held.take();
            if held != bufs.iter().find_map(|buf| buf.first().copied()) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a write must go on with the bytes that the last one has not taken",
                )));
            }
            return Poll::Ready(Ok(1));
        }
        let taken = state.tls.writer().write_vectored(bufs)?;
        match state.poll_flush(tcp, Some(cx)) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map(|()| taken)),
            Poll::Pending => {
                let Some(last) = taken.checked_sub(1) else { return Poll::Pending };
                state.held = byte_at(bufs, last);
                if last == 0 { Poll::Pending } else { Poll::Ready(Ok(last)) }
            }
        }
    }

    /// Ready once everything has left.
    pub(super) fn poll_flush(&self, tcp: &Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().poll_flush(tcp, Some(cx))
    }

    /// See [`Stream::poll_close`](super::Stream::poll_close).
    pub(super) fn poll_close(&self, tcp: &Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        state.begin_end();
        state.poll_end(tcp, Some(cx))
    }

    /// Says `close_notify` and then the end of the connection, as far as the socket takes it; the next reads see to the rest.
    pub(super) fn shutdown_write(&self, tcp: &Tcp) {
        let mut state = self.state.borrow_mut();
        state.begin_end();
        let _ = state.poll_end(tcp, None);
    }

    /// Says `close_notify` if it was not said, as far as the socket takes it. For a connection that is about to be closed.
    pub(super) fn say_end(&self, tcp: &Tcp) {
        let mut state = self.state.borrow_mut();
        state.begin_end();
        let _ = state.poll_flush(tcp, None);
    }

    /// The connection is to be reset: an end that is not one must not look like one.
    pub(super) fn forget_end(&self) {
        self.state.borrow_mut().output = Output::Ended;
    }

    /// See [`Stream::is_stale`](super::Stream::is_stale). `now`: the kernel is asked, whatever is known.
    pub(super) fn is_stale(&self, tcp: &Tcp, now: bool) -> bool {
        let mut state = self.state.borrow_mut();
        if tcp.has_ended() || state.input != Input::Open || state.plaintext > 0 {
            return true;
        }
        let may_have_come = now || tcp.readiness() != Readiness::Drained;
        may_have_come && state.take_unasked(tcp) != Unasked::Nothing
    }

    /// See [`Stream::poll_gone`](super::Stream::poll_gone).
    pub(super) fn poll_gone(&self, tcp: &Tcp, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let edge = tcp.readiness() == Readiness::Edge && !tcp.has_ended();
        if state.input != Input::Open
            || edge && state.plaintext == 0 && state.take_unasked(tcp) == Unasked::End
        {
            return Poll::Ready(());
        }
        tcp.poll_gone(cx)
    }
}

// === impl State ===

impl State {
    fn new(mut tls: Connection, first: Vec<u8>) -> Self {
        tls.set_buffer_limit(Some(WRITE_BYTES_MAX));
        State {
            tls,
            undigested: first,
            plaintext: 0,
            input: Input::Open,
            output: Output::Open,
            held: None,
            grown: false,
        }
    }

    fn poll_handshake(&mut self, tcp: &Tcp, cx: &mut Context<'_>) -> Poll<Result<(), TlsError>> {
        loop {
            ready!(self.poll_flush(tcp, Some(cx)))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.fill(tcp, Some(cx), &mut []))?;
        }
    }

    /// Brings in more records and moves their plaintext into `buf`, as much as it takes. Pending: nothing is there; without a context
    /// nobody is woken for it.
    fn fill(
        &mut self,
        tcp: &Tcp,
        cx: Option<&mut Context<'_>>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, TlsError>> {
        let opened = if self.undigested.is_empty() {
            let opened = with_wire_scratch(|wire| {
                let room = buf.len().clamp(RECORD_BYTES_MAX, wire.len());
                let wire = wire.get_mut(..room).unwrap_or_default();
                let received = match cx {
                    Some(cx) => tcp.poll_recv(cx, wire),
                    None => tcp.try_recv(wire),
                };
                received.map(|received| match received {
                    Ok(0) => Err(TlsError::Truncated),
                    Ok(n) => self.open(wire.get(..n).unwrap_or_default(), buf),
                    Err(error) => Err(error.into()),
                })
            });
            if opened.is_pending() {
                self.shrink();
            }
            ready!(opened)
        } else {
            let undigested = std::mem::take(&mut self.undigested);
            self.open(&undigested, buf)
        };
        if opened.is_err() {
            self.input = Input::Broken;
        }
        // An alert, or the answer to a key update. If the socket does not take it now it goes with what is written next.
        let _ = self.poll_flush(tcp, None);
        Poll::Ready(opened)
    }

    fn why_broken(&mut self) -> TlsError {
        // rustls says again what it has said once.
        self.tls.process_new_packets().map_or_else(TlsError::Protocol, |_| TlsError::Truncated)
    }

    /// An idle connection keeps a small buffer only: rustls sees to the size of its own when it is about to read.
    fn shrink(&mut self) {
        if std::mem::take(&mut self.grown) {
            let _ = self.tls.read_tls(&mut NothingThere);
        }
    }

    /// Decrypts records and moves their plaintext into `buf`, as much as it takes.
    fn open(&mut self, mut wire: &[u8], buf: &mut [u8]) -> Result<usize, TlsError> {
        let mut filled = 0;
        self.grown |= wire.len() > SMALL_BYTES_MAX;
        loop {
            filled += self.take_plaintext(buf.get_mut(filled..).unwrap_or_default());
            // What comes behind `close_notify` is nothing (RFC 8446 section 6.1).
            if wire.is_empty() || self.input != Input::Open {
                return Ok(filled);
            }
            if self.plaintext > PLAINTEXT_BYTES_MAX {
                self.undigested = wire.to_vec();
                return Ok(filled);
            }
            self.tls.read_tls(&mut wire)?;
            match self.tls.process_new_packets() {
                Ok(io) => {
                    self.plaintext = io.plaintext_bytes_to_read();
                    if io.peer_has_closed() {
                        self.input = Input::Ended;
                    }
                }
                Err(error) => {
                    self.input = Input::Broken;
                    // What came in order before is not lost; the read behind it says why it was the last.
                    let some_is_left =
                        self.tls.reader().into_first_chunk().is_ok_and(|chunk| !chunk.is_empty());
                    self.plaintext = if some_is_left { usize::MAX } else { 0 };
                    if !some_is_left && filled == 0 {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn take_plaintext(&mut self, buf: &mut [u8]) -> usize {
        if self.plaintext == 0 || buf.is_empty() {
            return 0;
        }
        let taken = self.tls.reader().read(buf).unwrap_or(0);
        self.plaintext = match self.plaintext {
            _ if taken < buf.len() => 0,
            usize::MAX => usize::MAX,
            plaintext => plaintext.saturating_sub(taken),
        };
        taken
    }

    /// Takes in what has come although nobody reads, until plaintext is among it.
    fn take_unasked(&mut self, tcp: &Tcp) -> Unasked {
        for _ in 0..UNASKED_READS_MAX {
            match self.fill(tcp, None, &mut []) {
                Poll::Pending => return Unasked::Nothing,
                Poll::Ready(_) if self.plaintext > 0 => return Unasked::Plaintext,
                Poll::Ready(Ok(_)) if self.input == Input::Open => {}
                Poll::Ready(_) => return Unasked::End,
            }
        }
        Unasked::End
    }

    /// Ready once all records have left. Pending without a context: nobody is woken for the rest.
    fn poll_flush(&mut self, tcp: &Tcp, mut cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Wire { tcp, cx: cx.as_deref_mut() }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin_end(&mut self) {
        if self.output == Output::Open {
            self.output = Output::Ending;
            self.tls.send_close_notify();
        }
    }

    fn poll_end(&mut self, tcp: &Tcp, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        if self.output == Output::Ending {
            let flushed = ready!(self.poll_flush(tcp, cx));
            self.output = Output::Ended;
            tcp.shutdown_write();
            flushed?;
        }
        Poll::Ready(Ok(()))
    }
}

/// A socket that has nothing for rustls.
struct NothingThere;

impl Read for NothingThere {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The socket as rustls writes to it.
struct Wire<'a, 'b, 'c> {
    tcp: &'a Tcp,
    cx: Option<&'b mut Context<'c>>,
}

impl Write for Wire<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = match &self.cx {
            Some(cx) => self.tcp.poll_send_vectored(cx, bufs),
            None => self.tcp.try_send_vectored(bufs),
        };
        match sent {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The byte at this place of the slices taken together.
fn byte_at(bufs: &[IoSlice<'_>], mut at: usize) -> Option<u8> {
    for buf in bufs {
        match buf.get(at) {
            Some(byte) => return Some(*byte),
            None => at -= buf.len(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_in_whichever_slice_it_is() {
        let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")];
        assert_eq!(byte_at(&bufs, 0), Some(b'a'));
        assert_eq!(byte_at(&bufs, 2), Some(b'c'));
        assert_eq!(byte_at(&bufs, 3), None);
    }
}
