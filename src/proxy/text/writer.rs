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
}

/// A message being written. Holds one piece of body at a time.
pub(in crate::proxy) struct TextWriter<'a> {
    to: &'a Stream,
    /// Head, chunk sizes, trailers.
    out: Vec<u8>,
    piece: Bytes,
    /// What follows the piece.
    tail: &'static [u8],
    /// Of all three together.
    sent: usize,
    form: Form,
}

impl<'a> TextWriter<'a> {
    /// Goes on with what is in `out`.
    pub(in crate::proxy) fn new(to: &'a Stream, out: Vec<u8>, form: Form) -> Self {
        Self { to, out, piece: Bytes::new(), tail: b"", sent: 0, form }
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

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let out = self.out.get(self.sent..).unwrap_or_default();
        let skipped = self.sent.saturating_sub(self.out.len());
        let piece = self.piece.get(skipped..).unwrap_or_default();
        let skipped = skipped.saturating_sub(self.piece.len());
        let tail = self.tail.get(skipped..).unwrap_or_default();
        if piece.is_empty() && tail.is_empty() {
            return self.to.poll_write(cx, out);
        }
        self.to.poll_write_vectored(cx, &[IoSlice::new(out), IoSlice::new(piece), IoSlice::new(tail)])
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
        debug_assert!(self.piece.is_empty() && self.tail.is_empty(), "there is no room");
        if self.form == Form::Plain {
            self.piece = data;
            return Ok(());
        }
        if data.is_empty() {
            if end {
                write::last_chunk(&mut self.out);
            }
            return Ok(());
        }
        write::chunk_size(&mut self.out, data.len() as u64);
        self.piece = data;
        self.tail = if end { b"\r\n0\r\n\r\n" } else { b"\r\n" };
        Ok(())
    }

    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
        if self.form == Form::Chunked {
            write::chunk_size(&mut self.out, 0);
            for (name, value) in &trailers {
                let name = name.as_str().as_bytes();
                // RFC 9110 section 6.5.1: what a receiver must not take from a trailer section is not sent in one.
                if is_trailer(name) {
                    write::header(&mut self.out, name, value.as_bytes());
                }
            }
            write::end(&mut self.out);
        }
        Ok(())
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        while self.sent < self.out.len() + self.piece.len() + self.tail.len() {
            match ready!(self.write(cx)) {
                Ok(n) => self.sent += n,
                Err(_) => return Poll::Ready(Err(Closed)),
            }
        }
        self.out.clear();
        self.piece = Bytes::new();
        self.tail = b"";
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
