//! A connection of the load that carries one request of HTTP/1 at a time, in the clear or in TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::client::{Client, Progress};
use super::response::Response;
use super::tls::Secure;

/// What stands before the path in absolute form. A client of a proxy asks so, and one that takes it for the origin
/// does not; every proxy here takes both, and mesher finds the service by either.
pub(super) const ABSOLUTE: &str = "http://origin";

/// The request for `bytes`.
pub(super) fn request(before_path: &str, bytes: u64, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "GET {before_path}/b/{bytes} HTTP/1.1\r\nHost: origin\r\nUser-Agent: capacity\r\nAccept: */*\r\n{connection}\r\n"
    )
    .into_bytes()
}

/// What bytes of HTTP/1 go through.
pub(super) trait Channel: Read + Write {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

/// A connection with at most one request outstanding.
#[derive(Debug)]
pub(super) struct Http1<S> {
    channel: S,
    request: Arc<[u8]>,
    response: Response,
    /// The time from which the latency of the outstanding request counts.
    asked: Option<Instant>,
}

impl<S> Http1<S> {
    /// Asks for `bytes` with this request, on a connection that does not block.
    pub(super) fn new(channel: S, request: Arc<[u8]>, bytes: u64) -> Self {
        Self { channel, request, response: Response::expecting(bytes), asked: None }
    }
}

impl<S: Channel> Client for Http1<S> {
    fn socket(&self) -> &TcpStream {
        self.channel.socket()
    }

    fn streams(&self) -> usize {
        1
    }

    fn ask(&mut self, since: Instant) -> Result<(), String> {
        self.asked = Some(since);
        match self.channel.write(&self.request) {
            Ok(count) if count == self.request.len() => Ok(()),
            Ok(_) => Err("the socket took only a part of a request".to_owned()),
            Err(error) => Err(format!("sending: {error}")),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        self.channel.flush().map_err(|error| format!("sending: {error}"))
    }

    fn receive(&mut self, scratch: &mut [u8], answered: &mut Vec<Instant>) -> Result<Progress, String> {
        match (self.channel.read(scratch), self.asked) {
            (Ok(0), Some(_)) => Err("closed before the answer was complete".to_owned()),
            (Ok(0), None) => Ok(Progress::Closed),
            (Ok(_), None) => Err("bytes that nobody asked for".to_owned()),
            (Ok(count), Some(since)) => {
                if self.response.take(&scratch[..count])? {
                    self.asked = None;
                    answered.push(since);
                }
                Ok(Progress::Open)
            }
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Open),
            (Err(error), _) => Err(format!("receiving: {error}")),
        }
    }
}

impl Channel for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Channel for Secure {
    fn socket(&self) -> &TcpStream {
        Secure::socket(self)
    }
}
