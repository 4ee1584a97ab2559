//! Writes a message to a socket as text: the head that is in the buffer, then a body in the framing that the head declares.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use crate::codec::{is_trailer, write};
use crate::net::Stream;
use crate::proxy::flow::{Closed, Sink};

/// How the body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Form {
    /// In chunks, maybe with trailers.
    Chunked,
    /// As it is: by its length, or until the connection ends. Trailers cannot be said.
    Plain,
    /// There is none, whatever comes: its bytes would be taken for the next message.
    Absent,
}

/// A message being written. Holds one piece of body at a time.
pub(in crate::proxy) struct TextWriter<'a> {
    to: &'a Stream,
    /// Head, chunk sizes, trailers.
    out: Vec<u8>,
    piece: Bytes,
    /// What follows the piece.
    tail: &'static [u8],
    /// What came to be said while the piece was still waiting: the end of the body, which follows everything else.
    end: Vec<u8>,
    /// Of all four together.
    sent: usize,
    form: Form,
    /// Why it takes no more.
    error: Option<io::ErrorKind>,
}

impl<'a> TextWriter<'a> {
    /// Goes on with what is in `out`.
    pub(in crate::proxy) fn new(to: &'a Stream, out: Vec<u8>, form: Form) -> Self {
        Self { to, out, piece: Bytes::new(), tail: b"", end: Vec::new(), sent: 0, form, error: None }
    }

    /// The buffer, for a head.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// From here on bodies are framed like this.
    pub(super) fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    /// The buffer, to be used again.
    pub(in crate::proxy) fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    /// The peer takes no more, though it had said its own end before, which is there to be read.
    pub(in crate::proxy) fn is_left(&self) -> bool {
        // What the kernel makes of a reset that comes behind the peer's end.
        self.error == Some(io::ErrorKind::BrokenPipe)
    }

    /// Part of what is to be said has left, and the rest has not.
    pub(super) fn is_midway(&self) -> bool {
        self.sent > 0
    }

    /// Where the end of the body is to be written: behind a piece that still waits.
    fn behind(&mut self) -> &mut Vec<u8> {
        if self.piece.is_empty() { &mut self.out } else { &mut self.end }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut skipped = self.sent;
        let parts: [&[u8]; 4] = [&self.out, &self.piece, self.tail, &self.end];
        let [out, parts @ ..] = parts.map(|part| {
            let rest = part.get(skipped..).unwrap_or_default();
            skipped = skipped.saturating_sub(part.len());
            rest
        });
        if parts.iter().all(|part| part.is_empty()) {
            return self.to.poll_write(cx, out);
        }
        let [piece, tail, end] = parts.map(IoSlice::new);
        self.to.poll_write_vectored(cx, &[IoSlice::new(out), piece, tail, end])
    }

    fn length(&self) -> usize {
        self.out.len() + self.piece.len() + self.tail.len() + self.end.len()
    }
}

impl Sink for TextWriter<'_> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
        // A head that has not left yet goes with the first piece.
        if !self.piece.is_empty() {
            ready!(self.poll_flushed(cx))?;
        }
        Poll::Ready(Ok(wanted))
    }

    fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed> {
        // An end needs no room.
        if data.is_empty() || self.form == Form::Absent {
            if end && self.form == Form::Chunked {
                write::last_chunk(self.behind());
            }
            return Ok(());
        }
        debug_assert!(self.piece.is_empty() && self.end.is_empty(), "there is no room");
        if self.form == Form::Plain {
            self.piece = data;
            return Ok(());
        }
        write::chunk_size(&mut self.out, data.len() as u64);
        self.piece = data;
        self.tail = if end { b"\r\n0\r\n\r\n" } else { b"\r\n" };
        Ok(())
    }

    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
        if self.form == Form::Chunked {
            let out = self.behind();
            write::chunk_size(out, 0);
            for (name, value) in &trailers {
                let name = name.as_str().as_bytes();
                // RFC 9110 section 6.5.1: what a receiver must not take from a trailer section is not sent in one.
                if is_trailer(name) {
                    write::header(out, name, value.as_bytes());
                }
            }
            write::end(out);
        }
        Ok(())
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        while self.sent < self.length() {
            match ready!(self.write(cx)) {
                Ok(n) => self.sent += n,
                Err(error) => {
                    self.error = Some(error.kind());
                    return Poll::Ready(Err(Closed));
                }
            }
        }
        self.out.clear();
        self.piece = Bytes::new();
        self.tail = b"";
        self.end.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
