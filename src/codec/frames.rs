//! Frames of HTTP/2 as far as their own bytes tell whether they are sound (RFC 9113 section 6): lengths that a type cannot
//! have, values that no setting can have, promises that nobody may make us; and whether there are more of those that ask for
//! no work than a peer has a use for (see `frame_budget`).
//!
//! It follows a client's bytes behind the preface, or a server's, however they are cut, and says where the first bad frame
//! begins and with which code the connection has to end, and since when a header block has been waiting for its end. It
//! knows of streams only the number of the last, or how many answers are owed, and reads no header block.

use std::time::Instant;

use super::frame_budget::{self, FrameBudget};

/// An error code of HTTP/2 (RFC 9113 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// A frame that a client does not send, nor a server that was told to push nothing.
    Protocol,
    /// A setting for windows that is beyond the largest window.
    FlowControl,
    /// A length that frames of this type cannot have.
    FrameSize,
    /// Each for itself is sound, and they are far too many.
    Flood,
}

/// Bytes of the least message of gRPC. Frames of DATA with fewer are rare, and as a flood they cost far more than their bytes.
pub const MESSAGE_BYTES_MIN: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Bytes before the payload of every frame.
const HEAD_BYTES: usize = 9;
/// Bytes of one setting: its name and its value.
const SETTING_BYTES: usize = 6;
/// Flag of a SETTINGS frame that only acknowledges.
const ACK: u8 = 1;
/// Flag of a DATA frame whose first byte tells how many of the last mean nothing.
const PADDED: u8 = 8;
/// Flag of the last frame of a header block.
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The bits of a stream's number (RFC 9113 section 4.1).
const STREAM_BITS: u32 = 0x7fff_ffff;
/// Largest window there can be (RFC 9113 section 6.9.1).
const WINDOW_MAX: u32 = 0x7fff_ffff;

/// Where in a stream of frames the bytes received so far end.
#[derive(Debug, Default)]
pub struct FrameWatch {
    /// The head of a frame, or a setting, as far as it has come.
    part: [u8; HEAD_BYTES],
    have: usize,
    /// Of the payload of the present frame, what is still to come.
    left: usize,
    /// What is looked at in it.
    look: Look,
    streams: Streams,
    /// The present header block begins a stream.
    is_head: bool,
    /// Heads of streams that are whole.
    heads: u32,
    budget: FrameBudget,
    /// When a header block began whose end has not come.
    block_since: Option<Instant>,
    /// It ends with the payload of the present frame.
    block_ends: bool,
    /// The last block was not owed: what follows of it costs, too.
    block_costs: bool,
    fault: Option<FrameFault>,
}

/// Who begins the streams, and so what a header block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    /// The peer, a client: the last that it has begun.
    Begun(u32),
    /// We: how many blocks the peer may still send on account of what it was asked.
    Owed(u32),
}

impl Default for Streams {
    fn default() -> Self {
        Self::Begun(0)
    }
}

/// What of a payload tells something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Look {
    #[default]
    Nothing,
    /// Each setting.
    Settings,
    /// The first byte, which tells how much padding there is.
    Padding,
}

impl FrameWatch {
    /// Follows a server. (By default it is a client.)
    #[must_use]
    pub fn of_server() -> Self {
        Self { streams: Streams::Owed(0), ..Self::default() }
    }

    /// Begins with so many tokens for frames that ask for no work.
    pub(super) fn and_tokens(self, tokens: u32) -> Self {
        Self { budget: FrameBudget::of(tokens), ..self }
    }

    /// Goes on with the bytes that came next, at `now`. Returns how many of them may be read: all, unless a frame is bad,
    /// whose last bytes that were looked at are not among them. From then on it is none.
    pub fn follow(&mut self, bytes: &[u8], now: Instant) -> usize {
        self.budget.refill(now);
        let mut rest = bytes;
        while self.fault.is_none() && !rest.is_empty() {
            let taken = self.step(rest, now);
            if self.fault.is_none() {
                rest = rest.get(taken..).unwrap_or_default();
            }
        }
        bytes.len().saturating_sub(rest.len())
    }

    /// The server is asked something: it owes an answer, and may say a few things beside it.
    pub fn note_asked(&mut self) {
        if let Streams::Owed(blocks) = &mut self.streams {
            *blocks = blocks.saturating_add(frame_budget::BLOCKS_OWED).min(frame_budget::BLOCKS_OWED_MAX);
        }
        self.budget.earn(frame_budget::FOR_REQUEST);
    }

    /// The peer is sent so many bytes of a body: it has a use for a few frames more.
    pub fn note_sent(&mut self, bytes: usize) {
        self.budget.earn_sent(bytes);
    }

    /// A frame of DATA of fewer than [`MESSAGE_BYTES_MIN`] bytes was of use: what it has cost is given back.
    pub fn note_used(&mut self) {
        self.budget.earn(frame_budget::FOR_RECEIVED);
    }

    /// What is wrong with the frame at which it has stopped.
    #[must_use]
    pub fn fault(&self) -> Option<FrameFault> {
        self.fault
    }

    /// Since when a header block (RFC 9113 section 4.3) has been coming that is not whole.
    #[must_use]
    pub fn block_since(&self) -> Option<Instant> {
        self.block_since
    }

    /// How many streams the client has begun by heads that are whole; it wraps.
    #[must_use]
    pub fn heads(&self) -> u32 {
        self.heads
    }

    /// Takes bytes of one part of a frame: its head, something in its payload, or a payload that nobody looks at.
    fn step(&mut self, bytes: &[u8], now: Instant) -> usize {
        let whole = match self.look {
            _ if self.left == 0 => HEAD_BYTES,
            Look::Settings => SETTING_BYTES,
            Look::Padding => 1,
            Look::Nothing => {
                let taken = bytes.len().min(self.left);
                self.left = self.left.saturating_sub(taken);
                self.end_block();
                return taken;
            }
        };
        let taken = self.fill(bytes, whole);
        if self.have == whole {
            self.have = 0;
            let judged = match self.look {
                _ if self.left == 0 => self.head(now),
                Look::Padding => self.padding(),
                _ => self.setting(),
            };
            self.fault = judged.err();
        }
        taken
    }

    /// Adds to `part`, up to so many bytes in all. Returns how many were taken.
    fn fill(&mut self, bytes: &[u8], whole: usize) -> usize {
        if self.have == 0
            && whole == HEAD_BYTES
            && let Some(head) = bytes.first_chunk()
        {
            // As nearly always.
            self.part = *head;
            self.have = HEAD_BYTES;
            return HEAD_BYTES;
        }
        let taken = bytes.len().min(whole.saturating_sub(self.have));
        for (to, from) in self.part.iter_mut().skip(self.have).zip(bytes.iter().take(taken)) {
            *to = *from;
        }
        self.have = self.have.saturating_add(taken);
        taken
    }

    /// A block ends with the last byte of its last frame.
    fn end_block(&mut self) {
        if self.block_ends && self.left == 0 {
            self.heads = self.heads.wrapping_add(self.is_head.into());
            (self.block_since, self.block_ends, self.is_head) = (None, false, false);
        }
    }

    fn head(&mut self, now: Instant) -> Result<(), FrameFault> {
        let [a, b, c, kind, flags, stream @ ..] = self.part;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let is_sound = match kind {
            PRIORITY => length == 5,
            RST_STREAM | WINDOW_UPDATE => length == 4,
            SETTINGS if flags & ACK != 0 => length == 0,
            SETTINGS => length.is_multiple_of(SETTING_BYTES),
            PING => length == 8,
            // RFC 9113 section 8.4: clients cannot, and servers are told not to.
            PUSH_PROMISE => return Err(FrameFault::Protocol),
            _ => true,
        };
        if !is_sound {
            return Err(FrameFault::FrameSize);
        }
        (self.left, self.look) = (length, Look::Nothing);
        match kind {
            HEADERS | CONTINUATION => {
                self.block_since.get_or_insert(now);
                self.block_ends = flags & END_HEADERS != 0;
                let judged = match kind {
                    HEADERS => self.block(u32::from_be_bytes(stream) & STREAM_BITS, length),
                    _ if self.block_costs => self.spend(length),
                    _ => Ok(()),
                };
                self.end_block();
                judged
            }
            DATA if flags & PADDED != 0 && length > 0 => {
                self.look = Look::Padding;
                Ok(())
            }
            DATA => self.data(length),
            SETTINGS => {
                self.look = Look::Settings;
                self.spend(length)
            }
            _ => self.spend(length),
        }
    }

    /// A header block. A client's begins a stream if its number is higher than all before (RFC 9113 section 5.1.1), and ends
    /// one otherwise; a server's is part of an answer.
    fn block(&mut self, stream: u32, bytes: usize) -> Result<(), FrameFault> {
        self.block_costs = self.streams == Streams::Owed(0);
        match &mut self.streams {
            Streams::Begun(last) if stream > *last => {
                (*last, self.is_head) = (stream, true);
                self.budget.earn(frame_budget::FOR_STREAM);
                Ok(())
            }
            Streams::Begun(_) => self.spend(0),
            Streams::Owed(0) => self.spend(bytes.saturating_add(frame_budget::INTERIM_BYTES)),
            Streams::Owed(blocks) => {
                *blocks = blocks.saturating_sub(1);
                Ok(())
            }
        }
    }

    /// A frame with so many bytes of a body. Next to nothing is next to no work, until it turns out to be of use.
    fn data(&mut self, bytes: usize) -> Result<(), FrameFault> {
        if bytes < MESSAGE_BYTES_MIN {
            return self.spend(0);
        }
        self.budget.earn(frame_budget::FOR_RECEIVED);
        Ok(())
    }

    fn padding(&mut self) -> Result<(), FrameFault> {
        self.look = Look::Nothing;
        self.left = self.left.saturating_sub(1);
        let [padding, ..] = self.part;
        self.data(self.left.saturating_sub(padding.into()))
    }

    /// A frame that asks for no work, with a payload of so many bytes.
    fn spend(&mut self, bytes: usize) -> Result<(), FrameFault> {
        if self.budget.spend(bytes) { Ok(()) } else { Err(FrameFault::Flood) }
    }

    fn setting(&mut self) -> Result<(), FrameFault> {
        self.left = self.left.saturating_sub(SETTING_BYTES);
        let [a, b, value @ .., _, _, _] = self.part;
        if u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE && u32::from_be_bytes(value) > WINDOW_MAX {
            return Err(FrameFault::FlowControl);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        [&[0, 0, length, kind, flags, 0, 0, 0, 0], payload].concat()
    }

    fn fault(bytes: &[u8]) -> Option<FrameFault> {
        let mut watch = FrameWatch::default();
        watch.follow(bytes, Instant::now());
        watch.fault()
    }

    #[test]
    fn lengths_that_a_type_cannot_have_are_found() {
        for (kind, flags, length) in [
            (PRIORITY, 0, 4),
            (RST_STREAM, 0, 5),
            (SETTINGS, 0, 7),
            (SETTINGS, ACK, 6),
            (PING, 0, 7),
            (WINDOW_UPDATE, 0, 3),
        ] {
            let bytes = frame(kind, flags, &vec![0; length]);
            assert_eq!(fault(&bytes), Some(FrameFault::FrameSize), "type {kind}, {length} bytes");
        }
        assert_eq!(fault(&frame(PUSH_PROMISE, 4, &[0; 5])), Some(FrameFault::Protocol));
    }

    #[test]
    fn a_window_cannot_begin_beyond_its_bound() {
        let with = |value: u32| {
            frame(SETTINGS, 0, &[&[0, 3, 0xff, 0, 0, 0, 0, 4][..], &value.to_be_bytes()].concat())
        };
        assert_eq!(fault(&with(WINDOW_MAX)), None);
        assert_eq!(fault(&with(WINDOW_MAX + 1)), Some(FrameFault::FlowControl));
    }

    #[test]
    fn sound_frames_pass_and_nothing_behind_a_bad_one_does() {
        let sound =
            [frame(SETTINGS, 0, &[0, 4, 0, 0, 0, 0]), frame(0xbb, 0, b"any"), frame(PING, 0, &[0; 8])]
                .concat();
        let all = [sound.clone(), frame(PING, 0, &[0; 9]), sound.clone()].concat();
        let mut watch = FrameWatch::default();
        assert_eq!(watch.follow(&all, Instant::now()), sound.len());
        assert_eq!(watch.follow(&sound, Instant::now()), 0);
    }

    /// How many of these frames, one after the other, pass.
    fn passing(watch: &mut FrameWatch, frame: &[u8]) -> usize {
        let now = Instant::now();
        (0..).take_while(|_| watch.follow(frame, now) == frame.len()).count()
    }

    #[test]
    fn frames_that_ask_for_no_work_come_to_an_end() {
        let padding = [&[9][..], &[0; 9]].concat();
        for (kind, flags, payload) in [
            (DATA, 0, &[][..]),
            (DATA, 1, &[]),     // the end of a stream, again and again
            (DATA, 0, b"less"), // than a message of gRPC
            (DATA, PADDED, &padding),
            (HEADERS, END_HEADERS, &[]), // of no new stream
            (PRIORITY, 0, &[0; 5]),
            (RST_STREAM, 0, &[0; 4]),
            (SETTINGS, 0, &[]),
            (SETTINGS, 0, &[0, 1, 0, 0, 0, 0]),
            (SETTINGS, ACK, &[]),
            (PING, 0, &[0; 8]),
            (PING, ACK, &[0; 8]),
            (7, 0, &[0; 8]), // GOAWAY
            (WINDOW_UPDATE, 0, &[0; 4]),
            (0xbb, 0, b"unknown"),
        ] {
            let (mut watch, frame) = (FrameWatch::default().and_tokens(5), frame(kind, flags, payload));
            assert_eq!(passing(&mut watch, &frame), 5, "type {kind}, flags {flags}, {payload:?}");
            assert_eq!(watch.fault(), Some(FrameFault::Flood));
        }
    }

    #[test]
    fn what_was_sent_and_streams_and_content_allow_more_of_them() {
        let ping = frame(PING, 0, &[0; 8]);
        let pings_after = |work: &dyn Fn(&mut FrameWatch)| {
            let mut watch = FrameWatch::default().and_tokens(0);
            work(&mut watch);
            passing(&mut watch, &ping)
        };
        let having = |bytes: Vec<u8>| {
            pings_after(&|watch: &mut FrameWatch| {
                assert_eq!(watch.follow(&bytes, Instant::now()), bytes.len())
            })
        };
        let mut begun = frame(HEADERS, END_HEADERS, b"block");
        begun[8] = 1;
        assert_eq!(having(begun), frame_budget::FOR_STREAM as usize);
        assert_eq!(having(frame(DATA, 0, b"small")), frame_budget::FOR_RECEIVED as usize);
        assert_eq!(having(frame(DATA, PADDED, b"\x02small\0\0")), frame_budget::FOR_RECEIVED as usize);
        assert_eq!(pings_after(&|watch| watch.note_used()), frame_budget::FOR_RECEIVED as usize);
        assert_eq!(pings_after(&|watch| watch.note_sent(1)), frame_budget::FOR_SENT as usize);
        assert_eq!(pings_after(&|watch| watch.note_sent(0)), 0);
    }

    #[test]
    fn next_to_nothing_that_is_of_use_may_come_for_ever() {
        let (mut watch, byte) = (FrameWatch::default().and_tokens(1), frame(DATA, 0, b"x"));
        for _ in 0..100 {
            assert_eq!(watch.follow(&byte, Instant::now()), byte.len());
            watch.note_used();
        }
        assert_eq!(watch.fault(), None);
    }

    #[test]
    fn a_server_owes_an_answer_and_may_say_little_beside_it() {
        let block = frame(HEADERS, END_HEADERS, b"block");
        let (owed, price) =
            (frame_budget::BLOCKS_OWED, 1 + frame_budget::INTERIM_BYTES / frame_budget::PAYLOAD_STEP_BYTES);
        let asked = |times: usize| {
            let mut watch = FrameWatch::of_server().and_tokens(0);
            (0..times).for_each(|_| watch.note_asked());
            watch
        };
        let beside = frame_budget::FOR_REQUEST as usize;
        assert_eq!(passing(&mut asked(0), &block), 0);
        assert_eq!(passing(&mut asked(3), &block), 3 * (owed as usize + beside / price));
        assert_eq!(passing(&mut asked(3), &frame(PING, 0, &[0; 8])), 3 * beside);
        // A long one costs more, in however many frames; one that is owed may be as long as it likes.
        let (begun, more) = (frame(HEADERS, 0, b"block"), frame(CONTINUATION, 0, &[0; 64]));
        let continued = |mut watch: FrameWatch| {
            watch.follow(&begun, Instant::now());
            (0..100).take_while(|_| watch.follow(&more, Instant::now()) == more.len()).count()
        };
        assert_eq!(continued(asked(0).and_tokens(u32::try_from(price).unwrap_or(0) + 10)), 5);
        assert_eq!(continued(asked(1).and_tokens(0)), 100);
        let mut often = asked(1_000_000).and_tokens(0);
        assert_eq!(passing(&mut often, &block), frame_budget::BLOCKS_OWED_MAX as usize);
        assert_eq!(often.fault(), Some(FrameFault::Flood));
    }

    proptest! {
        /// A server that answers whatever it is asked, at any rate: with a few interim heads, a body in small pieces, trailers
        /// and a reset; that lets an upload go on by two updates a piece, and pings on account of each.
        #[test]
        fn a_server_that_answers_is_never_taken_for_a_flood(
            calls in prop::collection::vec((2_usize..7, 0_usize..20, prop::collection::vec(1_usize..20_000, 0..5)), 1..1_000),
            all_at_the_end: bool,
        ) {
            let (mut watch, now) = (FrameWatch::of_server().and_tokens(0), Instant::now());
            let mut owed = Vec::new();
            for (blocks, pieces, uploads) in calls {
                watch.note_asked();
                let mut said = vec![frame(HEADERS, END_HEADERS, b"block"); blocks];
                said.extend(vec![frame(DATA, 0, b"small"); pieces]);
                said.push(frame(RST_STREAM, 0, &[0; 4]));
                for bytes in uploads {
                    watch.note_sent(bytes);
                    said.extend([frame(WINDOW_UPDATE, 0, &[0; 4]), frame(WINDOW_UPDATE, 0, &[0; 4]), frame(PING, 0, &[0; 8])]);
                }
                owed.append(&mut said);
                if !all_at_the_end || owed.len() > 1_000 {
                    for said in owed.drain(..) {
                        prop_assert_eq!(watch.follow(&said, now), said.len());
                    }
                }
            }
            for said in owed {
                prop_assert_eq!(watch.follow(&said, now), said.len());
            }
        }
    }

    #[test]
    fn a_header_block_is_open_from_its_first_frame_to_the_last_byte_of_its_last() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut watch = FrameWatch::default();
        let mut open_since = |bytes: &[u8], now| {
            watch.follow(bytes, now);
            watch.block_since()
        };
        assert_eq!(open_since(&frame(SETTINGS, 0, &[]), at(0)), None);
        assert_eq!(open_since(&frame(HEADERS, 0, b"block"), at(1)), Some(at(1)));
        assert_eq!(open_since(&frame(CONTINUATION, 0, b""), at(2)), Some(at(1)));
        let last = frame(CONTINUATION, END_HEADERS, b"end");
        let (most, rest) = last.split_at(last.len() - 1);
        assert_eq!(open_since(most, at(3)), Some(at(1)));
        assert_eq!(open_since(rest, at(4)), None);
        // Whole ones, and the next begins behind them.
        let whole = [frame(HEADERS, END_HEADERS, b"all"), frame(HEADERS, END_HEADERS, b"")].concat();
        assert_eq!(open_since(&whole, at(5)), None);
        let next = [frame(HEADERS, 0, b"first"), last, frame(HEADERS, 0, b"")].concat();
        assert_eq!(open_since(&next, at(6)), Some(at(6)));
    }

    #[test]
    fn a_stream_has_begun_when_its_head_is_whole() {
        let on = |stream: u8, kind, flags, block: &[u8]| {
            let mut bytes = frame(kind, flags, block);
            bytes[8] = stream;
            bytes
        };
        let all = [
            on(1, HEADERS, END_HEADERS, b"one"),
            on(3, HEADERS, 0, b"thr"),
            on(3, CONTINUATION, END_HEADERS, b"ee"),
            on(1, HEADERS, END_HEADERS, b"trailers"),
            on(5, HEADERS, END_HEADERS, b""),
        ];
        let mut watch = FrameWatch::default();
        let heads = all.iter().map(|bytes| {
            let (most, last) = bytes.split_at(bytes.len() - 1);
            watch.follow(most, Instant::now());
            let before = watch.heads();
            watch.follow(last, Instant::now());
            (before, watch.heads())
        });
        assert_eq!(heads.collect::<Vec<_>>(), [(0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]);
    }
}
