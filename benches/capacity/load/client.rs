//! One connection of the load: sends a prepared request, follows the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::response::Response;

/// How long an answer may take before the measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The request for `bytes`, in absolute form: every proxy here takes it, and mesher finds the service by it.
pub(super) fn request(bytes: u64, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "GET http://origin/b/{bytes} HTTP/1.1\r\nHost: origin\r\nUser-Agent: capacity\r\nAccept: */*\r\n{connection}\r\n"
    )
    .into_bytes()
}

/// What reading brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing that ends anything.
    Pending,
    /// The last byte of the answer.
    Complete,
    /// The peer closed, with no answer under way.
    Closed,
}

/// A connection with at most one request outstanding.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    response: Response,
    asked: bool,
    /// The time from which the latency of the outstanding request counts.
    pub(super) since: Instant,
}

impl Connection {
    /// Connects, and from then on never blocks.
    pub(super) fn open(address: SocketAddr, bytes: u64) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        Ok(Self { stream, response: Response::expecting(bytes), asked: false, since: Instant::now() })
    }

    /// The socket, for epoll.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request whose latency counts from `since`.
    pub(super) fn send(&mut self, request: &[u8], since: Instant) -> Result<(), String> {
        (self.since, self.asked) = (since, true);
        match self.stream.write(request) {
            Ok(count) if count == request.len() => Ok(()),
            Ok(_) => Err("the socket took only a part of a request".to_owned()),
            Err(error) => Err(format!("sending: {error}")),
        }
    }

    /// Reads once.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> Result<Progress, String> {
        match self.stream.read(scratch) {
            Ok(0) if self.asked => Err("closed before the answer was complete".to_owned()),
            Ok(0) => Ok(Progress::Closed),
            Ok(_) if !self.asked => Err("bytes that nobody asked for".to_owned()),
            Ok(count) => {
                let complete = self.response.take(&scratch[..count])?;
                self.asked = !complete;
                Ok(if complete { Progress::Complete } else { Progress::Pending })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Pending),
            Err(error) => Err(format!("receiving: {error}")),
        }
    }
}
