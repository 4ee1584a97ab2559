//! How many frames of HTTP/2 that ask for no work a peer may send: a bucket of tokens (RFC 9113 section 10.5).
//!
//! Each such frame takes one out. Time puts some back, and so does work that was done for the peer, or asked of it, since
//! honest peers send what they send on account of it: window updates and pings of what they are sent, priorities and resets
//! of their streams, interim answers. Knows no frame; [`FrameWatch`](super::FrameWatch) judges them, and hands the time
//! in.

use std::time::{Duration, Instant};

/// Tokens that a connection has to begin with, and that time fills it up to. No peer begins with more than a few
/// dozen; who is kept from running for seconds, and then answers pings of all this time at once, finds enough. As a
/// flood they cost a few milliseconds.
pub(super) const BURST: u32 = 10_000;
/// Tokens that a millisecond puts back: a peer that pings each millisecond, or asks for as many updates, may do so for
/// ever, at less than a hundredth of a core.
const REFILL_A_MS: u32 = 1;
/// Most tokens there can be. A peer that stood still reads all at once what the sockets between hold, some 10 MB, which
/// is half a million frames of the least size, and may answer each with two updates.
const TOKENS_MAX: u32 = 1 << 20;

/// Tokens for a stream that the client begins: it may be given its priority anew, and its window, and be reset. As many as
/// the most that is known of a browser, twice.
pub(super) const FOR_STREAM: u32 = 10;
/// Tokens for a request that a server is asked: its answer may have four interim heads of a few fields, and the same again for
/// a reset, an empty end and what it measures by. More than that, for each of thousands of calls a second, is a flood. Most answers have none of it.
pub(super) const FOR_REQUEST: u32 = 80;
/// Tokens for a frame of DATA that the peer sends.
pub(super) const FOR_RECEIVED: u32 = 1;
/// Tokens for each piece of at most [`SENT_PIECE_BYTES`] that the peer is sent. Libraries answer a frame by two updates,
/// one of them for the connection, and some ping to measure the line; Envoy grants 10 updates a frame by default.
pub(super) const FOR_SENT: u32 = 10;
/// A frame of 16 KiB may be read, and its bytes given back, in several steps: 800 bytes at a time is still enough.
const SENT_PIECE_BYTES: usize = 4096;

/// Bytes of a payload that cost one token more. The frames that have a use are shorter; what is longer, many settings or a
/// frame of a type that nobody knows, is work in proportion.
pub(super) const PAYLOAD_STEP_BYTES: usize = 64;
/// Longest payload that is counted: a longer one is refused for its length.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;

/// What a header block of a server costs that is neither the head nor the trailers of an answer, as bytes of a payload beside
/// its own. It may be small and become a list of 64 KiB, which takes as long to read as many frames take to be thrown away.
pub(super) const INTERIM_BYTES: usize = 15 * PAYLOAD_STEP_BYTES;
/// Header blocks that a server owes for a request: the head of its answer, and trailers.
pub(super) const BLOCKS_OWED: u32 = 2;
/// Most blocks that are owed at a time: those of far more requests than a connection carries. Most answers have no trailers,
/// and what they have not used is not kept for a flood.
pub(super) const BLOCKS_OWED_MAX: u32 = 1024;

/// The tokens of one connection.
#[derive(Debug)]
pub(super) struct FrameBudget {
    tokens: u32,
    /// Up to when time has been counted.
    counted: Option<Instant>,
}

impl Default for FrameBudget {
    fn default() -> Self {
        Self::of(BURST)
    }
}

impl FrameBudget {
    /// Begins with so many tokens.
    pub(super) const fn of(tokens: u32) -> Self {
        Self { tokens, counted: None }
    }

    /// Time has passed, until `now`. What is left of a millisecond counts the next time.
    pub(super) fn refill(&mut self, now: Instant) {
        let counted = *self.counted.get_or_insert(now);
        let ms = u32::try_from(now.saturating_duration_since(counted).as_millis()).unwrap_or(u32::MAX);
        if ms == 0 {
            return;
        }
        self.counted = counted.checked_add(Duration::from_millis(ms.into()));
        if self.tokens < BURST {
            self.tokens = self.tokens.saturating_add(ms.saturating_mul(REFILL_A_MS)).min(BURST);
        }
    }

    /// Work was done that is worth so many.
    pub(super) fn earn(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(TOKENS_MAX);
    }

    /// The peer is sent so many bytes of a body, in one piece.
    pub(super) fn earn_sent(&mut self, bytes: usize) {
        let pieces = u32::try_from(bytes.div_ceil(SENT_PIECE_BYTES)).unwrap_or(u32::MAX);
        self.earn(pieces.saturating_mul(FOR_SENT));
    }

    /// A frame has come that asks for no work, with a payload of so many bytes. False if there is nothing left for it.
    pub(super) fn spend(&mut self, payload_bytes: usize) -> bool {
        let steps = payload_bytes.min(PAYLOAD_BYTES_MAX).checked_div(PAYLOAD_STEP_BYTES).unwrap_or(0);
        let price = u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(1);
        let left = self.tokens.checked_sub(price);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use proptest::prelude::*;

    /// Frames until it is spent, `at_most` at most.
    fn frames(budget: &mut FrameBudget, at_most: u32) -> u32 {
        (0..at_most).take_while(|_| budget.spend(8)).count().try_into().unwrap()
    }

    #[test]
    fn a_burst_is_let_pass_and_not_a_frame_more() {
        assert_eq!(frames(&mut FrameBudget::default(), u32::MAX), BURST);
    }

    #[test]
    fn time_fills_it_up_to_a_burst_and_no_further() {
        let (mut budget, begun) = (FrameBudget::default(), Instant::now());
        budget.refill(begun);
        frames(&mut budget, BURST);
        budget.refill(begun + Duration::from_millis(7));
        assert_eq!(frames(&mut budget, u32::MAX), 7);
        budget.refill(begun + Duration::from_secs(3600));
        assert_eq!(frames(&mut budget, u32::MAX), BURST);
    }

    #[test]
    fn a_time_that_was_seen_gives_nothing_again() {
        let (mut budget, begun) = (FrameBudget::of(0), Instant::now());
        let later = begun + Duration::from_millis(3);
        for now in [begun, later, begun, later] {
            budget.refill(now);
        }
        assert_eq!(frames(&mut budget, u32::MAX), 3);
    }

    #[test]
    fn a_long_frame_costs_more_than_a_short_one() {
        let mut budget = FrameBudget::of(PAYLOAD_BYTES_MAX as u32);
        assert!(budget.spend(PAYLOAD_BYTES_MAX) && budget.spend(usize::MAX));
        let price = PAYLOAD_BYTES_MAX / PAYLOAD_STEP_BYTES + 1;
        assert_eq!(budget.tokens as usize, PAYLOAD_BYTES_MAX - 2 * price);
    }

    #[test]
    fn what_work_has_earned_has_a_bound() {
        let mut budget = FrameBudget::default();
        (0..100_000).for_each(|_| budget.earn_sent(64 * 1024));
        assert_eq!(budget.tokens, TOKENS_MAX);
    }

    proptest! {
        /// However often it is asked, time gives the same.
        #[test]
        fn time_counts_the_same_in_many_steps_as_in_one(steps in prop::collection::vec(0_u64..5_000_000, 0..50)) {
            let begun = Instant::now();
            let (mut often, mut once) = (FrameBudget::of(0), FrameBudget::of(0));
            often.refill(begun);
            once.refill(begun);
            let mut now = begun;
            for step in steps {
                now += Duration::from_nanos(step);
                often.refill(now);
            }
            once.refill(now);
            prop_assert_eq!(often.tokens, once.tokens);
        }

        /// A peer that sends two updates for whatever it is sent, at once or all together at the end, and a ping.
        #[test]
        fn a_transfer_never_spends_it(pieces in prop::collection::vec(1_usize..20_000, 1..5_000), at_the_end: bool) {
            let mut budget = FrameBudget::of(0);
            let mut owed = 0;
            for bytes in pieces {
                budget.earn_sent(bytes);
                owed += 3 * bytes.div_ceil(PAYLOAD_BYTES_MAX);
                while !at_the_end && owed > 0 {
                    prop_assert!(budget.spend(8));
                    owed -= 1;
                }
            }
            prop_assert!((0..owed).all(|_| budget.spend(8)));
        }

        /// Pings each few milliseconds, for an hour, with nothing else.
        #[test]
        fn a_ping_each_millisecond_never_spends_it(every_ms in 1_u64..10, late_ms in prop::collection::vec(0_u64..5_000, 1..20)) {
            let (mut budget, mut now) = (FrameBudget::default(), Instant::now());
            budget.refill(now);
            for late_ms in late_ms {
                // It is kept from running, and then sends what it has missed.
                now += Duration::from_millis(late_ms);
                budget.refill(now);
                for _ in 0..late_ms / every_ms {
                    prop_assert!(budget.spend(8));
                }
                for _ in 0..1_000 {
                    now += Duration::from_millis(every_ms);
                    budget.refill(now);
                    prop_assert!(budget.spend(8));
                }
            }
        }
    }
}
