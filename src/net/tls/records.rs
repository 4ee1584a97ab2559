//! rustls between a socket and buffers: records in, plaintext out, and the other way round. Waits for nothing by itself: every step says
//! whether it could be done, and who is woken when it can.

use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

use rustls::{Connection, Error, InvalidMessage};

use super::error::TlsError;
use crate::net::scratch::with_wire_scratch;
use crate::net::tcp::Tcp;

/// Plaintext that one write hands to rustls, and so about the most that waits in it for the socket. Four full records, one `send`.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// rustls takes no more records in while it holds more plaintext than this (its own bound, not to be changed).
const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// The least that is received at once: one record of the largest size (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
const RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;
/// The most that rustls keeps of a handshake message that is not whole, the heads of its records among it (its own bound, not to be
/// changed). A client hello of all browsers and libraries has some 2 kB, with keys of post-quantum cryptography.
pub(super) const HANDSHAKE_BYTES_MAX: usize = 0xffff;
/// What rustls reads into a buffer of the least size it has.
const SMALL_BYTES_MAX: usize = 4096;
/// Receives in a row that may bring no plaintext before a connection that nobody reads counts as out of step: a peer may send a few
/// tickets, but not keep us busy with them.
const UNASKED_READS_MAX: u32 = 4;

/// rustls, and what it does not say itself.
pub(super) struct Records {
    pub(super) tls: Connection,
    /// Records that rustls had no room for, or that came before it was there. Never without plaintext in rustls once the handshake is
    /// done, so no read waits while there are some.
    undigested: Vec<u8>,
    /// Plaintext in rustls. After an error it does not tell how much; that is `usize::MAX` then, until a read has found the end of it.
    pub(super) plaintext: usize,
    pub(super) input: Input,
    pub(super) output: Output,
    /// The last byte of a write whose records have not all left: taken, and not reported yet.
    pub(super) held: Option<u8>,
    /// There has been plaintext of the peer's.
    pub(super) heard: bool,
    /// rustls has a buffer for large records.
    grown: bool,
}

/// What records go over: a socket, or what stands for one where there is none. Without a context nobody is woken.
pub(super) trait Transport {
    /// Zero bytes are the end.
    fn poll_recv(&self, cx: Option<&mut Context<'_>>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_send(&self, cx: Option<&mut Context<'_>>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
}

/// What is to be expected of the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// It has said `close_notify`.
    Ended,
    /// It has broken the protocol, or the connection.
    Broken,
}

/// What we may still say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Open,
    /// `close_notify` is on its way; the end of the TCP connection is to follow it.
    Ending,
    /// Nothing any more.
    Ended,
}

/// What came while nobody read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unasked {
    Nothing,
    Plaintext,
    End,
}

impl Records {
    pub(super) fn new(mut tls: Connection, first: Vec<u8>) -> Self {
        tls.set_buffer_limit(Some(WRITE_BYTES_MAX));
        Records {
            tls,
            undigested: first,
            plaintext: 0,
            input: Input::Open,
            output: Output::Open,
            held: None,
            heard: false,
            grown: false,
        }
    }

    pub(super) fn poll_handshake(
        &mut self,
        tcp: &impl Transport,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TlsError>> {
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
    pub(super) fn fill(
        &mut self,
        tcp: &impl Transport,
        cx: Option<&mut Context<'_>>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, TlsError>> {
        let opened = if self.undigested.is_empty() {
            let opened = with_wire_scratch(|wire| {
                let room = buf.len().clamp(RECORD_BYTES_MAX, wire.len());
                let wire = wire.get_mut(..room).unwrap_or_default();
                tcp.poll_recv(cx, wire).map(|received| match received {
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

    pub(super) fn why_broken(&mut self) -> TlsError {
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
            // What is there can be read: if not, rustls has no more room for a message that is not whole.
            self.tls
                .read_tls(&mut wire)
                .map_err(|_| Error::from(InvalidMessage::HandshakePayloadTooLarge))?;
            match self.tls.process_new_packets() {
                Ok(io) => {
                    self.plaintext = io.plaintext_bytes_to_read();
                    self.heard |= self.plaintext > 0;
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

    pub(super) fn take_plaintext(&mut self, buf: &mut [u8]) -> usize {
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

    /// Makes records of plaintext: as much of it as is to wait for the socket.
    pub(super) fn encrypt(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tls.writer().write_vectored(bufs)
    }

    /// Takes in what has come although nobody reads, until plaintext is among it.
    pub(super) fn take_unasked(&mut self, tcp: &Tcp) -> Unasked {
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
    pub(super) fn poll_flush(
        &mut self,
        tcp: &impl Transport,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<io::Result<()>> {
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

    pub(super) fn begin_end(&mut self) {
        if self.output == Output::Open {
            self.output = Output::Ending;
            self.tls.send_close_notify();
        }
    }

    pub(super) fn poll_end(&mut self, tcp: &Tcp, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
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

/// A transport as rustls writes to it.
struct Wire<'a, 'b, 'c, T> {
    tcp: &'a T,
    cx: Option<&'b mut Context<'c>>,
}

impl<T: Transport> Write for Wire<'_, '_, '_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.tcp.poll_send(self.cx.as_deref_mut(), bufs) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Tcp {
    fn poll_recv(&self, cx: Option<&mut Context<'_>>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match cx {
            Some(cx) => self.poll_recv(cx, buf),
            None => self.try_recv(buf),
        }
    }

    fn poll_send(&self, cx: Option<&mut Context<'_>>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match cx {
            Some(cx) => self.poll_send_vectored(cx, bufs),
            None => self.try_send_vectored(bufs),
        }
    }
}
