//! The server's side of a TLS handshake without a socket: bytes of a client in, what comes of them out. For fuzz targets; it asserts
//! nothing itself. Not part of the data path.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mesher_actors::snapshot::handshakes::TlsFailure;
use rustls::{Connection, Error, ServerConfig, ServerConnection};

use super::records::{self, Records, Transport};

/// The most that is held of a client hello that is not whole.
pub const HANDSHAKE_BYTES_MAX: usize = records::HANDSHAKE_BYTES_MAX;

/// A server in its handshake with a client.
pub struct Handshake {
    records: Records,
    client: Client,
}

/// What a server makes of the bytes of a client so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// More are needed.
    Incomplete,
    /// They begin with a client hello, and it is answered.
    Answered {
        /// Whom the client asks for (RFC 6066 section 3).
        server_name: Option<String>,
        /// The protocol agreed on (RFC 7301).
        alpn: Option<Vec<u8>>,
    },
    /// They are refused.
    Refused {
        /// Why, as it is counted.
        failure: TlsFailure,
        /// The alert that tells the client (RFC 8446 section 6). There is none for one who has sent an alert, and rustls sends none for
        /// records that no implementation sends.
        alert: Option<u8>,
    },
}

/// The client's end of a connection in memory.
#[derive(Default)]
struct Client {
    /// What it has sent and the server has not read.
    unread: RefCell<Vec<u8>>,
    /// What it was told.
    told: RefCell<Vec<u8>>,
}

impl Handshake {
    /// A server that has read the first bytes of a connection.
    ///
    /// # Errors
    /// A configuration that rustls refuses.
    pub fn begin(config: &Arc<ServerConfig>, first: &[u8]) -> Result<Self, Error> {
        let tls = ServerConnection::new(config.clone())?;
        Ok(Self { records: Records::new(tls.into(), first.to_vec()), client: Client::default() })
    }

    /// The client sends more.
    pub fn receive(&mut self, more: &[u8]) {
        self.client.unread.borrow_mut().extend_from_slice(more);
    }

    /// What comes of all that was received. Not to be asked again once it is refused.
    pub fn hello(&mut self) -> Hello {
        let polled = self.records.poll_handshake(&self.client, &mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(Err(error)) => {
                Hello::Refused { failure: error.failure(), alert: self.client.alert() }
            }
            Poll::Pending if self.client.told.borrow().is_empty() => Hello::Incomplete,
            Poll::Ready(Ok(())) | Poll::Pending => Hello::Answered {
                server_name: match &self.records.tls {
                    Connection::Server(server) => server.server_name().map(str::to_owned),
                    Connection::Client(_) => None,
                },
                alpn: self.records.tls.alpn_protocol().map(<[u8]>::to_vec),
            },
        }
    }
}

impl Client {
    /// The alert that was the last word of the server, in the clear.
    fn alert(&self) -> Option<u8> {
        match self.told.borrow().last_chunk::<7>() {
            Some([0x15, 3, _, 0, 2, _, alert]) => Some(*alert),
            _ => None,
        }
    }
}

impl Transport for Client {
    fn poll_recv(&self, _: Option<&mut Context<'_>>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut unread = self.unread.borrow_mut();
        if unread.is_empty() {
            return Poll::Pending;
        }
        let taken = unread.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(unread.drain(..taken)) {
            *to = from;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_send(&self, _: Option<&mut Context<'_>>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.told.borrow_mut().extend(bufs.iter().flat_map(|buf| buf.iter()));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }
}
