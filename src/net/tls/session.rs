//! A secured connection: the handshake, and then what [`Stream`](crate::net::Stream) asks of it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::{Connection, HandshakeKind};

use super::error::TlsError;
use super::records::{Input, Output, Records, Unasked};
use crate::net::slot::Readiness;
use crate::net::tcp::Tcp;
use crate::net::timer::Sleep;

/// A connection whose handshake is done.
pub(in crate::net) struct Session {
    records: RefCell<Records>,
    /// Agreed by ALPN.
    pub(in crate::net) alpn: Option<Box<[u8]>>,
    /// The peers knew each other from before.
    pub(in crate::net) resumed: bool,
}

impl Session {
    /// Does the handshake. `first` are bytes that were read from the connection already. After an error an alert that says why has been
    /// sent, if there is one for it and the socket took it.
    pub(in crate::net) async fn establish(
        tls: impl Into<Connection>,
        tcp: &Tcp,
        first: Vec<u8>,
        timeout: Duration,
    ) -> Result<Self, TlsError> {
        let mut records = Records::new(tls.into(), first);
        let mut late = Sleep::on(tcp.reactor().clone(), timeout);
        poll_fn(|cx| match records.poll_handshake(tcp, cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Pin::new(&mut late).poll(cx).map(|()| Err(TlsError::TimedOut)),
        })
        .await
        .map_err(TlsError::in_handshake)?;
        Ok(Session {
            alpn: records.tls.alpn_protocol().map(Into::into),
            resumed: records.tls.handshake_kind() == Some(HandshakeKind::Resumed),
            records: RefCell::new(records),
        })
    }

    /// See [`Stream::tls_refusal`](crate::net::Stream::tls_refusal).
    pub(in crate::net) fn refusal(&self) -> Option<TlsError> {
        let mut records = self.records.borrow_mut();
        if records.input != Input::Broken || records.heard {
            return None;
        }
        Some(records.why_broken()).filter(TlsError::is_refused_certificate)
    }

    /// See [`Stream::poll_read`](crate::net::Stream::poll_read).
    pub(in crate::net) fn poll_read(
        &self,
        tcp: &Tcp,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut records = self.records.borrow_mut();
        if records.output == Output::Ending {
            // Nobody else comes back for it. A failure shows in what is read.
            let _ = records.poll_end(tcp, Some(cx));
        }
        loop {
            match records.take_plaintext(buf) {
                0 => {}
                n => return Poll::Ready(Ok(n)),
            }
            match records.input {
                Input::Open => {}
                Input::Ended => return Poll::Ready(Ok(0)),
                Input::Broken => return Poll::Ready(Err(records.why_broken().into())),
            }
            match ready!(records.fill(tcp, Some(cx), buf)) {
                Ok(0) => {}
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// See [`Stream::poll_write_vectored`](crate::net::Stream::poll_write_vectored).
    pub(in crate::net) fn poll_write(
        &self,
        tcp: &Tcp,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut records = self.records.borrow_mut();
        if records.output != Output::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if records.held.is_some() {
            ready!(records.poll_flush(tcp, Some(cx)))?;
            let held = records.held.take();
            if held != bufs.iter().find_map(|buf| buf.first().copied()) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a write must go on with the bytes that the last one has not taken",
                )));
            }
            return Poll::Ready(Ok(1));
        }
        let taken = records.encrypt(bufs)?;
        match records.poll_flush(tcp, Some(cx)) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map(|()| taken)),
            Poll::Pending => {
                let Some(last) = taken.checked_sub(1) else { return Poll::Pending };
                records.held = byte_at(bufs, last);
                if last == 0 { Poll::Pending } else { Poll::Ready(Ok(last)) }
            }
        }
    }

    /// Ready once everything has left.
    pub(in crate::net) fn poll_flush(&self, tcp: &Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.records.borrow_mut().poll_flush(tcp, Some(cx))
    }

    /// See [`Stream::poll_close`](crate::net::Stream::poll_close).
    pub(in crate::net) fn poll_close(&self, tcp: &Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut records = self.records.borrow_mut();
        records.begin_end();
        records.poll_end(tcp, Some(cx))
    }

    /// Says `close_notify` and then the end of the connection, as far as the socket takes it; the next reads see to the rest.
    pub(in crate::net) fn shutdown_write(&self, tcp: &Tcp) {
        let mut records = self.records.borrow_mut();
        records.begin_end();
        let _ = records.poll_end(tcp, None);
    }

    /// Says `close_notify` if it was not said, as far as the socket takes it. For a connection that is about to be closed.
    pub(in crate::net) fn say_end(&self, tcp: &Tcp) {
        let mut records = self.records.borrow_mut();
        records.begin_end();
        let _ = records.poll_flush(tcp, None);
    }

    /// The connection is to be reset: an end that is not one must not look like one.
    pub(in crate::net) fn forget_end(&self) {
        self.records.borrow_mut().output = Output::Ended;
    }

    /// See [`Stream::is_stale`](crate::net::Stream::is_stale). `now`: the kernel is asked, whatever is known.
    pub(in crate::net) fn is_stale(&self, tcp: &Tcp, now: bool) -> bool {
        let mut records = self.records.borrow_mut();
        if tcp.has_ended() || records.input != Input::Open || records.plaintext > 0 {
            return true;
        }
        let may_have_come = now || tcp.readiness() != Readiness::Drained;
        may_have_come && records.take_unasked(tcp) != Unasked::Nothing
    }

    /// See [`Stream::poll_gone`](crate::net::Stream::poll_gone).
    pub(in crate::net) fn poll_gone(&self, tcp: &Tcp, cx: &Context<'_>) -> Poll<()> {
        let mut records = self.records.borrow_mut();
        let edge = tcp.readiness() == Readiness::Edge && !tcp.has_ended();
        if records.input != Input::Open
            || edge && records.plaintext == 0 && records.take_unasked(tcp) == Unasked::End
        {
            return Poll::Ready(());
        }
        tcp.poll_gone(cx)
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
