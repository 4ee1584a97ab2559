//! A service that the test plays by hand: it accepts, reads and writes when the test says so, on the test's own thread.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::client::Client;
use super::wait::{PATIENCE, wait_for};

/// A listening service. Connections that nobody accepts wait in the kernel.
pub(crate) struct Hand {
    listener: TcpListener,
    address: SocketAddr,
}

impl Hand {
    /// Listens on 127.0.0.1.
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("cannot listen");
        listener.set_nonblocking(true).expect("cannot poll");
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection: its `send` answers, its `read_…` read what was asked.
    #[track_caller]
    pub(crate) fn accept(&self) -> Client {
        wait_for("a connection to the service", PATIENCE, || self.try_accept())
    }

    /// A connection that is there already.
    pub(crate) fn try_accept(&self) -> Option<Client> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).expect("cannot block");
        Some(Client::over(stream))
    }

    /// Accepts a connection and reads the head of its first request.
    #[track_caller]
    pub(crate) fn accept_request(&self) -> (Client, String) {
        let mut peer = self.accept();
        let head = peer.read_head_text();
        (peer, head)
    }
}
