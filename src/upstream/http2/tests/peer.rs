//! A peer that says exactly what it is told to, frame by frame (RFC 9113 section 4.1).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{Either, select};

use super::loopback;
use crate::net::{self, Listener, Stream, bind};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;

/// Listens.
pub(super) struct Peer {
    listener: Listener,
}

/// One connection.
pub(super) struct Session {
    stream: Stream,
    unread: Vec<u8>,
    /// How many more PINGs it answers.
    pub(super) pongs_left: usize,
    /// What the client has told of itself: settings, and credit beyond the first for the whole connection.
    pub(super) told: Vec<(u16, u32)>,
    pub(super) credit: u32,
    /// PINGs that came.
    pub(super) pings: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) payload: Vec<u8>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self { listener: Listener::adopt(bind(loopback(), false).unwrap()).unwrap() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    pub(super) async fn accept_raw(&self) -> Stream {
        self.listener.accept().await.unwrap().0
    }

    /// A connection whose preface was read; no SETTINGS are sent yet.
    pub(super) async fn accept_silently(&self) -> Session {
        let stream = self.accept_raw().await;
        let mut session = Session {
            stream,
            unread: Vec::new(),
            pongs_left: usize::MAX,
            told: Vec::new(),
            credit: 0,
            pings: 0,
        };
        assert_eq!(session.bytes(PREFACE.len()).await.as_deref(), Some(PREFACE));
        session
    }

    /// A connection that takes this many streams.
    pub(super) async fn accept(&self, streams_max: u32) -> Session {
        let session = self.accept_silently().await;
        session.allow(streams_max).await;
        session
    }
}

impl Session {
    /// The next frame that is not housekeeping; `None` at the end.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            let head = self.bytes(9).await?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let payload = self.bytes(length).await?;
            match head[3] {
                SETTINGS if head[4] & ACK == 0 => {
                    let pairs = payload.chunks(6).map(|pair| {
                        let number = u16::from_be_bytes([pair[0], pair[1]]);
                        (number, u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
                    });
                    self.told.extend(pairs);
                    self.send(SETTINGS, ACK, 0, &[]).await;
                }
                WINDOW_UPDATE if id == 0 => {
                    self.credit += u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                }
                PING if head[4] & ACK == 0 => {
                    self.pings += 1;
                    if let Some(left) = self.pongs_left.checked_sub(1) {
                        self.pongs_left = left;
                        self.send(PING, ACK, 0, &payload).await;
                    }
                }
                kind @ (DATA | HEADERS | RST_STREAM | GOAWAY) => return Some(Frame { kind, id, payload }),
                _ => {}
            }
        }
    }

    /// Nothing comes for a while but housekeeping. The last thing to ask it.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let silence = net::sleep(Duration::from_millis(30));
        matches!(select(Box::pin(self.frame()), silence).await, Either::Right(_))
    }

    /// The next frame is the head of a request: its stream.
    pub(super) async fn request(&mut self) -> u32 {
        let frame = self.frame().await.expect("a request comes");
        assert_eq!(frame.kind, HEADERS, "{frame:?}");
        frame.id
    }

    /// The client says goodbye without an error and closes.
    pub(super) async fn goodbye(&mut self) {
        let frame = self.frame().await.expect("a GOAWAY comes");
        assert_eq!((frame.kind, &frame.payload[4..8]), (GOAWAY, &[0, 0, 0, 0][..]), "{frame:?}");
        assert_eq!(self.frame().await, None);
    }

    /// A whole answer: 200 without a body.
    pub(super) async fn answer(&self, id: u32) {
        self.send(HEADERS, END_HEADERS | END_STREAM, id, &[0x88]).await;
    }

    /// The head of an answer that goes on.
    pub(super) async fn begin(&self, id: u32) {
        self.send(HEADERS, END_HEADERS, id, &[0x88]).await;
    }

    pub(super) async fn allow(&self, streams_max: u32) {
        self.send(SETTINGS, 0, 0, &setting(streams_max)).await;
    }

    /// Closes the connection in such a way that whatever the client still writes fails at once.
    pub(super) fn break_off(self) {
        self.stream.reset_on_close();
    }

    /// From now on only the sockets bound what may be on its way to it.
    pub(super) async fn widen(&self, id: u32) {
        for id in [0, id] {
            self.send(WINDOW_UPDATE, 0, id, &(1_u32 << 30).to_be_bytes()).await;
        }
    }

    pub(super) async fn reset(&self, id: u32, reason: h2::Reason) {
        self.send(RST_STREAM, 0, id, &u32::from(reason).to_be_bytes()).await;
    }

    pub(super) async fn go_away(&self, last: u32) {
        self.go_away_for(last, h2::Reason::NO_ERROR).await;
    }

    pub(super) async fn go_away_for(&self, last: u32, reason: h2::Reason) {
        self.send(GOAWAY, 0, 0, &goodbye(last, reason)).await;
    }

    /// Both in one piece.
    pub(super) async fn allow_and_go_away(&self, streams_max: u32, reason: h2::Reason) {
        let settings = frame(SETTINGS, 0, 0, &setting(streams_max));
        self.send_raw(&[settings, frame(GOAWAY, 0, 0, &goodbye(0, reason))].concat()).await;
    }

    /// More frames of this kind than any peer has a use for.
    pub(super) async fn flood(&self, kind: u8, bytes: usize) {
        let many = frame(kind, 0, 0, &vec![0; bytes]).repeat(100);
        for _ in 0..150 {
            self.send_raw(&many).await;
        }
    }

    pub(super) async fn send(&self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        self.send_raw(&frame(kind, flags, id, payload)).await;
    }

    pub(super) async fn send_raw(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // A client that is gone is the client's matter.
            let Ok(n) = poll_fn(|cx| self.stream.poll_write(cx, rest)).await else { return };
            rest = &rest[n..];
        }
    }

    async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut buf = [0; 4096];
        while self.unread.len() < count {
            match poll_fn(|cx| self.stream.poll_read(cx, &mut buf)).await {
                Ok(n @ 1..) => self.unread.extend(&buf[..n]),
                _ => return None,
            }
        }
        Some(self.unread.drain(..count).collect())
    }
}

/// A frame as it goes over the wire.
pub(super) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[length[1], length[2], length[3], kind, flags], &id.to_be_bytes()[..], payload].concat()
}

fn setting(streams_max: u32) -> Vec<u8> {
    [&MAX_CONCURRENT_STREAMS.to_be_bytes()[..], &streams_max.to_be_bytes()].concat()
}

fn goodbye(last: u32, reason: h2::Reason) -> Vec<u8> {
    [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat()
}
