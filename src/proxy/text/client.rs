//! A client that asked in text: takes the response as such.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};

use super::writer::{Form, TextWriter};
use crate::codec::{Framing, Version, reason, write};
use crate::proxy::connection::Downstream;
use crate::proxy::flow::{Closed, Sink};
use crate::proxy::forward::Delivery;
use crate::proxy::message::is_bodyless;
use crate::proxy::relay::Client;

/// The client's connection while it is answered.
pub(in crate::proxy) struct TextClient<'a> {
    down: &'a Downstream,
    writer: TextWriter<'a>,
    /// What the client wishes; the response or a shutdown may end the connection.
    delivery: Delivery,
    /// `HEAD`: no body, whatever is declared.
    is_head: bool,
    begun: bool,
}

impl<'a> TextClient<'a> {
    /// Nothing is answered yet. `out` is an empty buffer.
    pub(in crate::proxy) fn new(
        down: &'a Downstream,
        out: Vec<u8>,
        delivery: Delivery,
        is_head: bool,
    ) -> Self {
        let writer = TextWriter::new(&down.stream, out, Form::Plain);
        Self { down, writer, delivery, is_head, begun: false }
    }

    /// The connection can carry another request after this response. `sent`: the request has gone whole.
    pub(in crate::proxy) fn keeps_connection(&self, sent: bool) -> bool {
        self.begun && sent && self.delivery.keep_alive
    }

    /// An interim response has left in part: nothing else can be said any more.
    pub(in crate::proxy) fn is_midway(&self) -> bool {
        self.writer.is_midway()
    }

    /// The buffer, to be used again.
    pub(in crate::proxy) fn into_buffer(self) -> Vec<u8> {
        self.writer.into_buffer()
    }

    /// How the body leaves; until the connection ends only where the client knows no chunks.
    fn framing(&self, head: &Response<()>, end: bool) -> Framing {
        let declared = head.headers().get(header::CONTENT_LENGTH);
        if self.is_head || is_bodyless(head.status()) {
            return Framing::None;
        }
        let length = declared.and_then(|value| value.to_str().ok()?.parse().ok());
        match (length, self.delivery.version) {
            (Some(length), _) => Framing::Length(length),
            (None, _) if end => Framing::Length(0),
            (None, Version::Http11) => Framing::Chunked,
            (None, Version::Http10) => Framing::UntilClose,
        }
    }
}

impl Client for TextClient<'_> {
    fn interim(&mut self, head: Response<()>) -> Result<(), Closed> {
        if self.delivery.version == Version::Http11 {
            let out = self.writer.out();
            start(out, &head);
            fields(out, head.headers(), |name| name != header::CONTENT_LENGTH);
            write::end(out);
        }
        Ok(())
    }

    fn begin(&mut self, head: Response<()>, end: bool) -> Result<(), Closed> {
        let framing = self.framing(&head, end);
        self.begun = true;
        self.delivery.keep_alive &= framing != Framing::UntilClose && self.down.ctx.drain.keeps_connections();
        self.writer.set_form(match framing {
            Framing::Chunked => Form::Chunked,
            Framing::None => Form::Absent,
            Framing::Length(_) | Framing::UntilClose => Form::Plain,
        });
        let out = self.writer.out();
        start(out, &head);
        // A message without a body keeps the length it tells (HEAD, 304), but for 204 (RFC 9110 section 8.6).
        let tells_length = framing == Framing::None && head.status() != StatusCode::NO_CONTENT;
        fields(out, head.headers(), |name| name != header::CONTENT_LENGTH || tells_length);
        if !head.headers().contains_key(header::DATE) {
            write::header(out, b"Date", &self.down.ctx.dates.now());
        }
        write::framing(out, framing);
        match (self.delivery.keep_alive, self.delivery.version) {
            (false, _) => write::header(out, b"Connection", b"close"),
            (true, Version::Http10) => write::header(out, b"Connection", b"keep-alive"),
            (true, Version::Http11) => {}
        }
        write::end(out);
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>, sending: bool) -> Poll<()> {
        // While the request is read, its end tells.
        if sending { Poll::Pending } else { self.down.stream.poll_gone(cx) }
    }
}

impl Sink for TextClient<'_> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
        self.writer.poll_room(cx, wanted)
    }

    fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed> {
        self.writer.put(data, end)
    }

    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
        self.writer.put_trailers(trailers)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.writer.poll_flushed(cx)
    }
}

fn start(out: &mut Vec<u8>, head: &Response<()>) {
    let status = head.status().as_u16();
    write::status_line(out, status, reason(status).as_bytes());
}

fn fields(out: &mut Vec<u8>, fields: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) {
    for (name, value) in fields.iter().filter(|(name, _)| passes(name)) {
        write::header(out, name.as_str().as_bytes(), value.as_bytes());
    }
}
