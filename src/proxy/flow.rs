//! A body on its way from one side to the other, whatever each of them speaks. Knows no protocol: a [`Source`] gives
//! pieces, a [`Sink`] takes them, and a [`Pump`] moves them, one at a time.
//!
//! Back-pressure: a source is asked for a piece only when the last one has gone into the sink, and told how much has gone
//! (which is when HTTP/2 lets its peer send as much again). So a pump holds one piece, and a sink what its own bound
//! allows, however slowly it is read. A piece is never held back to wait for more. (What a source does about pieces that it
//! must keep meanwhile is its own affair.)

use std::fmt::Display;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use mesher_actors::snapshot::Failure;

use super::grpc;

/// What comes of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes, as they came.
    Data(Bytes),
    /// The fields behind it; nothing follows.
    Trailers(HeaderMap),
    /// Nothing follows.
    End,
}

/// An error code of HTTP/2 (RFC 9113 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) u32);

impl Code {
    /// Nothing is wrong.
    pub(super) const NO_ERROR: Code = Code(0x0);
    /// The exchange is not wanted any more.
    pub(super) const CANCEL: Code = Code(0x8);
    /// The other side broke the rules.
    pub(super) const PROTOCOL_ERROR: Code = Code(0x1);
    /// It is our fault, or our upstream's.
    pub(super) const INTERNAL_ERROR: Code = Code(0x2);
    /// The other end of a tunnel is not there, or not any more.
    pub(super) const CONNECT_ERROR: Code = Code(0xa);

    /// What one side is told of a failure of the other that has said no code itself.
    pub(super) fn of(failure: Failure) -> Self {
        match failure {
            Failure::UpstreamProtocolError => Self::PROTOCOL_ERROR,
            _ => Self::INTERNAL_ERROR,
        }
    }
}

/// Why a body breaks off, or never comes.
#[derive(Debug)]
pub(super) struct Lost {
    /// The code of the reset, if the stream was reset and not its connection lost.
    pub(super) reset: Option<Code>,
    /// The same for replies and metrics.
    pub(super) failure: Failure,
    /// The one who breaks off has certainly not acted on what it was sent.
    pub(super) unprocessed: bool,
    /// What happened, for people.
    pub(super) detail: String,
}

impl Lost {
    /// The client is gone.
    pub(super) fn client(detail: impl Into<String>) -> Self {
        Self { reset: None, failure: Failure::ClientGone, unprocessed: false, detail: detail.into() }
    }

    /// The upstream failed.
    pub(super) fn upstream(failure: Failure, detail: impl Into<String>) -> Self {
        Self { reset: None, failure, unprocessed: false, detail: detail.into() }
    }

    /// There is no connection to the upstream: what was to be sent on it is unseen, and there still.
    pub(super) fn unconnected(address: SocketAddr, why: &impl Display) -> Self {
        let lost = Self::upstream(Failure::ConnectFailed, format!("connect to {address}: {why}"));
        Self { unprocessed: true, ..lost }
    }
}

/// Where a body comes from.
pub(super) trait Source {
    /// The next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>>;

    /// Nothing follows the pieces that have come: known early, it spares the sink an empty frame.
    fn is_ended(&self) -> bool;

    /// So many bytes have gone into the sink.
    fn passed(&mut self, bytes: usize);

    /// There is no sink, or it takes nothing now. A source for which many small pieces are a burden may put them together.
    fn gather(&mut self, _: &mut Context<'_>) {}
}

/// A sink takes no more. Why is for its other direction to tell: an upstream that stops reading may have answered.
#[derive(Debug)]
pub(super) struct Closed;

/// Where a body goes.
pub(super) trait Sink {
    /// How many bytes may be put now, at least one and at most `wanted`.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>>;

    /// Takes bytes, no more than there is room for; `end` if they are the last.
    fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed>;

    /// Takes the fields behind the body, which they end.
    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed>;

    /// Ready when what was put needs nobody's care any more.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>>;
}

/// Which side of a pump failed.
#[derive(Debug)]
pub(super) enum Broken {
    Source(Lost),
    Sink,
}

impl From<Closed> for Broken {
    fn from(Closed: Closed) -> Self {
        Self::Sink
    }
}

/// One body under way.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// Of the present piece, what the sink has not taken.
    pending: Bytes,
    /// The first piece, for as long as it is the only one: the body can be sent again then.
    first: Bytes,
    pieces: u32,
    /// There is none: nothing is asked of the source.
    is_absent: bool,
    /// Bytes of the body that this sink has taken.
    position: u64,
    /// Bytes of the body that the source has been told of; more than the position after a [`rewind`](Self::rewind).
    told: u64,
    stage: Stage,
    moved: u64,
    grpc_status: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Flowing,
    /// Everything has gone into the sink.
    Flushing,
    Done,
}

impl Pump {
    /// The body of a message without one: only what was put before it, its head, has to leave.
    pub(super) fn ending() -> Self {
        Self { stage: Stage::Flushing, is_absent: true, ..Self::default() }
    }

    /// Bytes that the sink has taken: tells whether something moved.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// A piece waits for the sink.
    pub(super) fn is_waiting_for_sink(&self) -> bool {
        !self.pending.is_empty() || self.stage == Stage::Flushing
    }

    /// The gRPC status among the trailers that have passed.
    pub(super) fn grpc_status(&self) -> Option<u8> {
        self.grpc_status
    }

    /// The body can be sent again from its beginning.
    pub(super) fn can_rewind(&self) -> bool {
        self.pieces == 0 || (self.pieces == 1 && !self.first.is_empty())
    }

    /// Starts over, into another sink. Only if it [can](Self::can_rewind).
    pub(super) fn rewind(&mut self) {
        self.position = 0;
        self.pending = self.first.clone();
        self.stage = if self.is_absent { Stage::Flushing } else { Stage::Flowing };
    }

    /// It will not be sent again: nothing is kept for that any more.
    pub(super) fn settle(&mut self) {
        self.first = Bytes::new();
    }

    /// Moves on. Ready when the whole body has gone.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Source,
        to: &mut impl Sink,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.stage != Stage::Flowing {
                if self.stage == Stage::Flushing {
                    ready!(to.poll_flushed(cx))?;
                    self.stage = Stage::Done;
                }
                return Poll::Ready(Ok(()));
            }
            if !self.pending.is_empty() {
                let Poll::Ready(room) = to.poll_room(cx, self.pending.len()) else {
                    from.gather(cx);
                    return Poll::Pending;
                };
                self.put(room?, from, to)?;
                continue;
            }
            let piece = match from.poll_piece(cx) {
                Poll::Ready(piece) => piece.map_err(Broken::Source)?,
                Poll::Pending => {
                    // What was put is not held back to go with more.
                    let _ = to.poll_flushed(cx)?;
                    return Poll::Pending;
                }
            };
            match piece {
                Piece::Data(data) => self.take(data, from, to)?,
                Piece::Trailers(trailers) => {
                    self.pieces = self.pieces.saturating_add(2);
                    self.grpc_status = grpc::status(&trailers);
                    self.stage = Stage::Flushing;
                    to.put_trailers(trailers)?;
                }
                Piece::End => {
                    self.stage = Stage::Flushing;
                    to.put(Bytes::new(), true)?;
                }
            }
        }
    }

    fn take(&mut self, data: Bytes, from: &mut impl Source, to: &mut impl Sink) -> Result<(), Broken> {
        if data.is_empty() {
            if from.is_ended() {
                self.stage = Stage::Flushing;
                to.put(data, true)?;
            }
            return Ok(());
        }
        self.first = if self.pieces == 0 { data.clone() } else { Bytes::new() };
        self.pieces = self.pieces.saturating_add(1);
        self.pending = data;
        Ok(())
    }

    fn put(&mut self, room: usize, from: &mut impl Source, to: &mut impl Sink) -> Result<(), Closed> {
        let data = self.pending.split_to(room.min(self.pending.len()));
        let (bytes, end) = (data.len(), self.pending.is_empty() && from.is_ended());
        to.put(data, end)?;
        self.moved += bytes as u64;
        self.position += bytes as u64;
        if self.position > self.told {
            from.passed(usize::try_from(self.position - self.told).unwrap_or(bytes));
            self.told = self.position;
        }
        if end {
            self.stage = Stage::Flushing;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;
    use std::task::Waker;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Script {
        pieces: VecDeque<Piece>,
        knows_its_end: bool,
        passed: usize,
        gathered: usize,
    }

    impl Source for Script {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
            self.pieces.pop_front().map_or(Poll::Pending, |piece| Poll::Ready(Ok(piece)))
        }

        fn is_ended(&self) -> bool {
            self.knows_its_end && self.pieces.is_empty()
        }

        fn passed(&mut self, bytes: usize) {
            self.passed += bytes;
        }

        fn gather(&mut self, _: &mut Context<'_>) {
            self.gathered += 1;
        }
    }

    #[derive(Default)]
    struct Taken {
        room: usize,
        bytes: Vec<u8>,
        trailers: Option<HeaderMap>,
        ends: u32,
    }

    impl Sink for Taken {
        fn poll_room(&mut self, _: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
            if self.room == 0 { Poll::Pending } else { Poll::Ready(Ok(wanted.min(self.room))) }
        }

        fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed> {
            self.room = self.room.checked_sub(data.len()).expect("more than there was room for");
            self.bytes.extend_from_slice(&data);
            self.ends += u32::from(end);
            Ok(())
        }

        fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
            self.trailers = Some(trailers);
            self.ends += 1;
            Ok(())
        }

        fn poll_flushed(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
            Poll::Ready(Ok(()))
        }
    }

    fn poll(pump: &mut Pump, from: &mut Script, to: &mut Taken) -> bool {
        match pump.poll(&mut Context::from_waker(Waker::noop()), from, to) {
            Poll::Ready(result) => {
                result.unwrap();
                true
            }
            Poll::Pending => false,
        }
    }

    fn data(text: &'static str) -> Piece {
        Piece::Data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_source_is_credited_only_with_what_the_sink_has_taken() {
        let (mut pump, mut from) = (Pump::default(), Script::default());
        let mut to = Taken { room: 3, ..Taken::default() };
        from.pieces.extend([data("hello"), data("world")]);
        assert!(!poll(&mut pump, &mut from, &mut to));
        assert_eq!((from.passed, from.pieces.len(), to.bytes.len()), (3, 1, 3));
        assert!(pump.is_waiting_for_sink() && from.gathered == 1);
        to.room = 100;
        from.pieces.push_back(Piece::End);
        assert!(poll(&mut pump, &mut from, &mut to));
        assert_eq!((from.passed, to.bytes.as_slice(), to.ends), (10, &b"helloworld"[..], 1));
        assert_eq!(from.gathered, 1, "nothing is in the way any more");
    }

    #[test]
    fn an_end_that_is_known_early_goes_with_the_last_piece() {
        let (mut pump, mut to) = (Pump::default(), Taken { room: 9, ..Taken::default() });
        let mut from = Script { knows_its_end: true, ..Script::default() };
        from.pieces.push_back(data("all"));
        assert!(poll(&mut pump, &mut from, &mut to));
        assert_eq!((to.bytes.as_slice(), to.ends), (&b"all"[..], 1));
    }

    #[test]
    fn trailers_end_a_body_and_tell_the_status_of_the_call() {
        let (mut pump, mut from, mut to) = (Pump::default(), Script::default(), Taken::default());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("5"));
        from.pieces.push_back(Piece::Trailers(trailers));
        assert!(poll(&mut pump, &mut from, &mut to));
        assert_eq!((pump.grpc_status(), to.ends, pump.can_rewind()), (Some(5), 1, false));
    }

    #[test]
    fn a_body_of_one_piece_can_be_sent_again_and_is_credited_once() {
        let (mut pump, mut from) = (Pump::default(), Script::default());
        let mut first = Taken { room: 2, ..Taken::default() };
        from.pieces.push_back(data("hello"));
        assert!(!poll(&mut pump, &mut from, &mut first));
        assert!(pump.can_rewind());
        pump.rewind();
        let mut second = Taken { room: 100, ..Taken::default() };
        assert!(!poll(&mut pump, &mut from, &mut second));
        assert_eq!((second.bytes.as_slice(), from.passed), (&b"hello"[..], 5));
        from.pieces.push_back(data("more"));
        assert!(!poll(&mut pump, &mut from, &mut second));
        assert!(!pump.can_rewind());
        assert_eq!(from.passed, 9);
    }

    proptest! {
        #[test]
        fn whatever_the_room_everything_arrives_in_order_and_is_credited(
            pieces in prop::collection::vec("[a-z]{0,9}", 0..6), rooms in prop::collection::vec(0_usize..7, 0..40)
        ) {
            let (mut pump, mut from, mut to) = (Pump::default(), Script::default(), Taken::default());
            from.pieces.extend(pieces.iter().map(|piece| Piece::Data(Bytes::from(piece.clone()))));
            from.pieces.push_back(Piece::End);
            let mut is_done = false;
            for room in rooms.into_iter().chain([100]) {
                to.room = room;
                is_done = poll(&mut pump, &mut from, &mut to);
                prop_assert_eq!(from.passed, to.bytes.len());
            }
            prop_assert!(is_done && to.ends == 1);
            prop_assert_eq!(to.bytes, pieces.concat().into_bytes());
        }
    }
}
