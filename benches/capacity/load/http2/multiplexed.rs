//! A connection of the load that carries several requests at once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::fields::{Encoder, Field, begins_with_200};
use super::frame::{END_HEADERS, END_STREAM, Frame, Frames, Kind, PADDED, write_with};
use super::link::Link;
use super::{ANSWER_BYTES, MESSAGE_BYTES};
use crate::load::client::{Client, Progress};
use crate::load::spec::Request;

/// Prefix and message of each call of gRPC: not compressed, 22 bytes long.
const CALL: &[u8] = b"\0\0\0\0\x16hello from the client!";

/// A request, and the answer it shall have.
#[derive(Debug, Clone)]
pub(in crate::load) struct Question {
    fields: Arc<[Field]>,
    body: &'static [u8],
    /// Bytes of the answer's body.
    wanted: u64,
    /// The answer ends with trailers.
    trailers: bool,
}

/// A connection on which up to `streams` requests are outstanding.
#[derive(Debug)]
pub(in crate::load) struct Multiplexed {
    stream: TcpStream,
    question: Question,
    streams: usize,
    link: Link,
    frames: Frames,
    encoder: Encoder,
    /// Requests that are not answered yet.
    open: Vec<Asked>,
    next_stream: u32,
}

#[derive(Debug)]
struct Asked {
    stream: u32,
    /// The time from which its latency counts.
    since: Instant,
    /// Its answer began with 200.
    has_head: bool,
    bytes: u64,
}

impl Question {
    /// What a client of this kind sends; the service is the same for all loads.
    pub(in crate::load) fn new(request: Request) -> Self {
        match request {
            Request::Get => Self {
                fields: Arc::new([
                    Field::kept(":method", "GET"),
                    Field::passing(":path", &format!("/b/{ANSWER_BYTES}")),
                    Field::kept(":scheme", "http"),
                    Field::kept(":authority", "origin"),
                    Field::kept("user-agent", "capacity"),
                    Field::kept("accept", "*/*"),
                ]),
                body: b"",
                wanted: ANSWER_BYTES,
                trailers: false,
            },
            Request::Unary => Self {
                fields: Arc::new([
                    Field::kept(":method", "POST"),
                    Field::kept(":scheme", "http"),
                    Field::kept(":path", "/capacity.Capacity/Call"),
                    Field::kept(":authority", "origin"),
                    Field::kept("content-type", "application/grpc"),
                    Field::kept("user-agent", "capacity"),
                    Field::kept("te", "trailers"),
                    Field::kept("grpc-timeout", "5S"),
                ]),
                body: CALL,
                wanted: MESSAGE_BYTES + 5,
                trailers: true,
            },
        }
    }
}

impl Multiplexed {
    /// On a connection that is open and does not block.
    pub(in crate::load) fn new(stream: TcpStream, question: Question, streams: usize) -> Self {
        let encoder = Encoder::new(question.fields.clone());
        Self {
            stream,
            question,
            streams,
            link: Link::client(),
            frames: Frames::default(),
            encoder,
            open: Vec::with_capacity(streams),
            next_stream: 1,
        }
    }

    fn follow(&mut self, frame: &Frame<'_>, answered: &mut Vec<Instant>) -> Result<(), String> {
        match frame.kind {
            Kind::Headers | Kind::Data => {}
            Kind::Reset => return Err(failed("reset a stream", frame.number(0))),
            Kind::GoAway => return Err(failed("ended a connection", frame.number(4))),
            _ => return self.link.control(frame),
        }
        if frame.kind == Kind::Data {
            self.link.received(frame.payload.len());
        }
        let place = self.open.iter().position(|asked| asked.stream == frame.stream);
        let place = place.ok_or_else(|| format!("an answer on stream {}, unasked", frame.stream))?;
        let asked = &mut self.open[place];
        asked.follow(frame)?;
        if frame.ends_stream() {
            asked.check(frame.kind, &self.question)?;
            answered.push(self.open.swap_remove(place).since);
        }
        Ok(())
    }
}

fn failed(what: &str, code: Option<u32>) -> String {
    format!("the proxy {what}: error {} (RFC 9113 section 7)", code.unwrap_or(0))
}

impl Client for Multiplexed {
    fn socket(&self) -> &TcpStream {
        &self.stream
    }

    fn streams(&self) -> usize {
        self.streams
    }

    fn ask(&mut self, since: Instant) -> Result<(), String> {
        if self.open.len() >= self.link.streams_max as usize {
            return Err(format!("the proxy allows only {} streams", self.link.streams_max));
        }
        let (stream, body) = (self.next_stream, self.question.body);
        self.next_stream += 2;
        let flags = if body.is_empty() { END_HEADERS | END_STREAM } else { END_HEADERS };
        let fields = 0..self.question.fields.len();
        write_with(&mut self.link.out, Kind::Headers, flags, stream, |out| self.encoder.block(out, fields));
        if !body.is_empty() {
            self.link.data(END_STREAM, stream, body)?;
        }
        self.open.push(Asked { stream, since, has_head: false, bytes: 0 });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.link.out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.link.out) {
            Ok(count) if count == self.link.out.len() => {
                self.link.out.clear();
                Ok(())
            }
            Ok(_) => Err("the socket took only a part of a request".to_owned()),
            Err(error) => Err(format!("sending: {error}")),
        }
    }

    fn receive(&mut self, scratch: &mut [u8], answered: &mut Vec<Instant>) -> Result<Progress, String> {
        let count = match self.stream.read(scratch) {
            Ok(0) if self.open.is_empty() => return Ok(Progress::Closed),
            Ok(0) => return Err("closed before the answer was complete".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Open),
            Err(error) => return Err(format!("receiving: {error}")),
        };
        let mut frames = std::mem::take(&mut self.frames);
        frames.take(&scratch[..count], |frame| self.follow(&frame, answered))?;
        self.frames = frames;
        Ok(Progress::Open)
    }
}

impl Asked {
    fn follow(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        if frame.flags & PADDED != 0 {
            return Err("a padded frame, which this bench does not read".to_owned());
        }
        if frame.kind == Kind::Data {
            self.bytes += frame.payload.len() as u64;
            return Ok(());
        }
        if frame.flags & END_HEADERS == 0 {
            return Err("a head in several frames, which this bench does not read".to_owned());
        }
        if !self.has_head && !begins_with_200(frame.payload) {
            return Err("answered with another status than 200".to_owned());
        }
        self.has_head = true;
        Ok(())
    }

    /// Holds the answer, whose last frame was of kind `last`, to what was asked for.
    fn check(&self, last: Kind, question: &Question) -> Result<(), String> {
        let wanted = question.wanted;
        if !self.has_head || self.bytes != wanted {
            return Err(format!("an answer of {} bytes where {wanted} were asked for", self.bytes));
        }
        if question.trailers != (last == Kind::Headers) {
            return Err(format!("an answer that ends with {last:?}"));
        }
        Ok(())
    }
}
