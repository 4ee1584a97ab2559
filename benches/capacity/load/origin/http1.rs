//! HTTP/1: answers `/b/N` with N bytes.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::TcpStream;

use memchr::memmem;

use super::outlet::Outlet;
use super::server::Served;

/// The largest body it makes.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Http1 {
    outlet: Outlet,
    /// The start of a request head that has not ended yet.
    head: Vec<u8>,
}

impl Served for Http1 {
    /// Whole answers, by the length of their bodies.
    type Shared = HashMap<u64, Vec<u8>>;

    fn new(stream: TcpStream) -> Self {
        Self { outlet: Outlet::new(stream), head: Vec::new() }
    }

    fn outlet(&mut self) -> &mut Outlet {
        &mut self.outlet
    }

    fn take(&mut self, piece: &[u8], answers: &mut HashMap<u64, Vec<u8>>) -> io::Result<()> {
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(piece);
        let mut rest = &head[..];
        while let Some(end) = memmem::find(rest, b"\r\n\r\n") {
            let length = body_length(&rest[..end]).ok_or(ErrorKind::InvalidData)?;
            self.outlet.send(answers.entry(length).or_insert_with(|| answer(length)))?;
            // Only the load itself asks for it, when there is no proxy between.
            if memmem::find(&rest[..end], b"Connection: close").is_some() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            rest = &rest[end + 4..];
        }
        let taken = head.len() - rest.len();
        head.drain(..taken);
        self.head = head;
        Ok(())
    }
}

/// N of `/b/N` in the request line, in origin or absolute form.
fn body_length(head: &[u8]) -> Option<u64> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let digits = &line[memmem::find(line, b"/b/")? + 3..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let length = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    (length <= BODY_BYTES_MAX).then_some(length)
}

fn answer(length: u64) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length as usize, b'x');
    answer
}
