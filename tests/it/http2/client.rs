//! A client that keeps to the rules: one request at a time, windows kept open, settings and pings acknowledged.

use std::io::{BufReader, Write};

use super::super::support::wait::PATIENCE;
use super::frame::{self, Frame, PREFACE, error, flag, kind, setting};
use super::hpack::{self, Block};
use super::line::{Door, Line};

/// One connection.
pub(crate) struct Client {
    line: BufReader<Line>,
    next: u32,
}

/// A response, or what came in place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Status and body.
    Response(u16, Vec<u8>),
    /// The stream was reset with this code.
    Reset(u32),
    /// The connection ended, with this code if the peer said one.
    Ended(Option<u32>),
}

impl Client {
    /// Connects and sends the preface.
    #[track_caller]
    pub(crate) fn connect(to: impl Into<Door>) -> Self {
        let line = to.into().open();
        line.socket.set_read_timeout(Some(PATIENCE)).expect("not a TCP connection");
        let mut client = Self { line: BufReader::new(line), next: 1 };
        client.send(PREFACE);
        // Without a table each header block can be read alone.
        client.send(Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]).bytes());
        client
    }

    /// The stream that the next request is to use.
    pub(crate) fn next_stream(&self) -> u32 {
        self.next
    }

    /// Sends bytes as they are. A peer that takes no more is noticed when its answer is read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.line.get_ref().write_all(bytes.as_ref());
    }

    /// A GET of this path.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(&Block::get(path))
    }

    /// A request without a body.
    #[track_caller]
    pub(crate) fn ask(&mut self, block: &Block) -> Answer {
        let stream = self.next;
        self.send(Frame::request(stream, block).bytes());
        self.answer(stream)
    }

    /// Waits for what becomes of a stream.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        self.next = self.next.max(stream + 2);
        let (mut status, mut body, mut goaway) = (None, Vec::new(), None);
        loop {
            let frame = match frame::read(&mut self.line) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Answer::Ended(goaway),
                Err(error) => panic!("no answer on stream {stream}: {error}"),
            };
            match frame.kind {
                kind::GOAWAY => goaway = Some(frame.number_at(4)),
                kind::SETTINGS if !frame.has(flag::ACK) => {
                    self.send(Frame::settings(&[]).with(flag::ACK).bytes());
                }
                kind::PING if !frame.has(flag::ACK) => {
                    self.send(Frame::new(kind::PING, 0, frame.payload.clone()).with(flag::ACK).bytes());
                }
                kind::DATA if !frame.payload.is_empty() => {
                    let room = u32::try_from(frame.payload.len()).expect("a frame fits");
                    self.send(Frame::window_update(0, room).bytes());
                    self.send(Frame::window_update(stream, room).bytes());
                }
                _ => {}
            }
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                kind::RST_STREAM if frame.number_at(0) == error::NO_ERROR && status.is_some() => {}
                kind::RST_STREAM => return Answer::Reset(frame.number_at(0)),
                kind::HEADERS => {
                    status = hpack::status(&frame.payload).filter(|status| *status >= 200).or(status)
                }
                kind::DATA => body.extend(&frame.payload),
                _ => {}
            }
            if matches!(frame.kind, kind::HEADERS | kind::DATA) && frame.has(flag::END_STREAM) {
                return Answer::Response(status.expect("a response has a status"), body);
            }
        }
    }
}
