//! A connection of the origin: answers GET with a body of fixed size, and what has a body itself as a call of gRPC.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, LazyLock};

use super::fields::{Encoder, Field};
use super::frame::{END_HEADERS, END_STREAM, Frame, Frames, Kind, PREFACE, write_with};
use super::link::Link;
use super::{ANSWER_BYTES, MESSAGE_BYTES};
use crate::load::origin::{Outlet, Served};

/// Everything the origin ever sends in a field block.
static FIELDS: LazyLock<Arc<[Field]>> = LazyLock::new(|| {
    Arc::new([
        Field::kept(":status", "200"),
        Field::kept("server", "origin"),
        Field::kept("content-type", "text/plain"),
        Field::passing("content-length", &ANSWER_BYTES.to_string()),
        Field::kept("content-type", "application/grpc"),
        Field::kept("grpc-status", "0"),
    ])
});

/// Places in [`FIELDS`].
const ANSWER_HEAD: [usize; 4] = [0, 1, 2, 3];
const CALL_HEAD: [usize; 3] = [0, 1, 4];
const TRAILERS: [usize; 1] = [5];

/// Body of the answer to a GET.
const ANSWER: [u8; ANSWER_BYTES as usize] = [b'x'; ANSWER_BYTES as usize];

/// Prefix and message of the answer to a call.
const MESSAGE: [u8; MESSAGE_BYTES as usize + 5] = *b"\0\0\0\0\x17hello from the backend!";

/// One connection.
#[derive(Debug)]
pub(in crate::load) struct Answering {
    outlet: Outlet,
    /// Bytes of the client's preface that are still to come.
    preface_left: usize,
    link: Link,
    frames: Frames,
    encoder: Encoder,
}

impl Served for Answering {
    type Shared = ();

    fn new(stream: TcpStream) -> Self {
        Self {
            outlet: Outlet::new(stream),
            preface_left: PREFACE.len(),
            link: Link::server(),
            frames: Frames::default(),
            encoder: Encoder::new(FIELDS.clone()),
        }
    }

    fn outlet(&mut self) -> &mut Outlet {
        &mut self.outlet
    }

    fn take(&mut self, piece: &[u8], (): &mut ()) -> io::Result<()> {
        let rest = self.after_preface(piece)?;
        let mut frames = std::mem::take(&mut self.frames);
        frames.take(rest, |frame| self.follow(&frame)).map_err(io::Error::other)?;
        self.frames = frames;
        let sent = self.outlet.send(&self.link.out);
        self.link.out.clear();
        sent
    }
}

impl Answering {
    fn after_preface<'p>(&mut self, piece: &'p [u8]) -> io::Result<&'p [u8]> {
        let (preface, rest) = piece.split_at(piece.len().min(self.preface_left));
        let expected = &PREFACE[PREFACE.len() - self.preface_left..];
        if !expected.starts_with(preface) {
            return Err(io::Error::other("no preface of HTTP/2"));
        }
        self.preface_left -= preface.len();
        Ok(rest)
    }

    fn follow(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        match frame.kind {
            Kind::Headers if frame.ends_stream() => self.answer(frame.stream),
            Kind::Data => {
                self.link.received(frame.payload.len());
                if frame.ends_stream() { self.answer_call(frame.stream) } else { Ok(()) }
            }
            _ => self.link.control(frame),
        }
    }

    fn answer(&mut self, stream: u32) -> Result<(), String> {
        self.head(END_HEADERS, stream, &ANSWER_HEAD);
        self.link.data(END_STREAM, stream, &ANSWER)
    }

    fn answer_call(&mut self, stream: u32) -> Result<(), String> {
        self.head(END_HEADERS, stream, &CALL_HEAD);
        self.link.data(0, stream, &MESSAGE)?;
        self.head(END_HEADERS | END_STREAM, stream, &TRAILERS);
        Ok(())
    }

    fn head(&mut self, flags: u8, stream: u32, places: &[usize]) {
        let (out, encoder) = (&mut self.link.out, &mut self.encoder);
        write_with(out, Kind::Headers, flags, stream, |out| encoder.block(out, places.iter().copied()));
    }
}
