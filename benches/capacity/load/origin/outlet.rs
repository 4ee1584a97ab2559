//! The sending side of a connection: what the socket does not take at once goes out later.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// A socket that never blocks, and what it did not take.
#[derive(Debug)]
pub(in crate::load) struct Outlet {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Outlet {
    pub(in crate::load) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Vec::new() }
    }

    /// Sends, now or later.
    pub(in crate::load) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// The socket may take more.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    /// Reads once.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        self.stream.read(scratch)
    }
}
