//! Bounds of a client's HTTP/2 connection, each with its reason, and how they are told to the `h2` crate.
//!
//! Everything the crate has a default for is set here, so that a new version of it changes nothing. Beyond each bound on
//! what a client may waste, it ends the connection with GOAWAY ENHANCE_YOUR_CALM.

use std::time::Duration;

use crate::codec::Limits;

/// Streams that a client may have open at a time; more are answered REFUSED_STREAM. What RFC 9113 section 6.5.2 recommends
/// as the least, and most servers offer; who needs more opens another connection, which may be another shard's.
const STREAMS_MAX: u32 = 100;
/// Largest frame payload taken; the smallest that HTTP/2 allows (RFC 9113 section 6.5.2). Larger ones would let one stream
/// hold the connection for longer.
const FRAME_BYTES_MAX: u32 = 16_384;
/// HPACK's dynamic table, as the protocol has it by default (RFC 9113 section 6.5.2).
const HEADER_TABLE_BYTES: u32 = 4096;
/// Bytes of one request that may have arrived and not gone on. In a data centre a round trip takes a fraction of a
/// millisecond: 64 KiB each is hundreds of megabytes a second.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same over all streams: a stream whose upstream is slow never stalls the others.
const CONNECTION_WINDOW: u32 = STREAMS_MAX * STREAM_WINDOW;
/// Bytes of one response that may wait inside the connection to be sent, if the client grants that many but does not read.
/// A piece of each stream is on its way beside it: a connection whose client reads none of 100 answers holds some 17 MB.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that were reset by the client before they were even looked at (rapid reset, CVE-2023-44487): they come in one
/// read with their request. No client does that in good faith more than now and then.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that are reset, or refused, over the life of a connection because the client broke the rules ("MadeYouReset",
/// CVE-2025-8671). Streams beyond [`STREAMS_MAX`] count, which a client may open before it has seen our settings.
const ERROR_RESETS_MAX: usize = 200;
/// Streams that we have reset and that are remembered, so that what the client had sent before it heard of it is ignored in
/// silence; as many as can be open.
const RESET_STREAMS_MAX: usize = STREAMS_MAX as usize;
/// How long: more than a round trip to anywhere.
const RESET_STREAM_DURATION: Duration = Duration::from_secs(1);
/// What small DATA frames that wait may waste in the library's bookkeeping: no bound, since it never gives back what comes
/// for streams that were given up, and ends honest connections for it. None wait there: a connection is read in turns, and
/// what cannot go on is kept as bytes, within its window. Frames of next to nothing cost tokens.
const DATA_FRAME_BUDGET: usize = usize::MAX;
/// Least header list that is told to a client; what is smaller fits no real request.
const HEADER_LIST_BYTES_MIN: usize = 1024;

/// A stream that is reset within this time of its request, and before anything was answered, is reset early. Rapid reset is
/// a matter of microseconds.
const EARLY: Duration = Duration::from_millis(100);
/// The same for a call that has told its deadline, which may be shorter: half of that, since its client gives it up then,
/// but no less than this. A stream that lives for so long has had its share of [`STREAMS_MAX`].
const EARLY_MIN: Duration = Duration::from_millis(5);
/// Streams that a client may reset early at once. Each request that it lets be answered allows one again, so only who resets
/// more than it takes, and that by the hundred, is told to calm down. More than are open at a time: all may be given up.
pub(super) const EARLY_RESETS_MAX: u32 = 2 * STREAMS_MAX;
/// How fast [`EARLY_RESETS_MAX`] fills up by itself.
pub(super) const EARLY_RESETS_A_SECOND: u32 = 20;

/// How long a client may take to acknowledge that its connection ends, or to make room for the reason if it ends at once. As
/// long a connection without streams is waited for when the shard closes: who connected a moment ago is about to send.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// Whether a stream that has lived for so long, of a call with such a deadline, was reset early.
pub(super) fn is_early(lived: Duration, deadline: Option<Duration>) -> bool {
    lived < deadline.map_or(EARLY, |deadline| (deadline / 2).clamp(EARLY_MIN, EARLY))
}

/// The bounds as the `h2` crate wants them.
pub(super) fn builder(limits: &Limits) -> h2::server::Builder {
    let header_list = limits.head_bytes.max(HEADER_LIST_BYTES_MIN);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_STREAM_DURATION)
        .data_frame_budget(DATA_FRAME_BUDGET);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_given_up_at_its_deadline_is_not_reset_early_but_one_given_up_at_once_is() {
        let ms = Duration::from_millis;
        for deadline in [ms(6), ms(20), ms(150), ms(60_000)] {
            assert!(!is_early(deadline, Some(deadline)), "{deadline:?}");
            assert!(is_early(ms(1), Some(deadline)), "{deadline:?}");
        }
        assert!(is_early(ms(1), Some(Duration::ZERO)) && is_early(ms(99), None));
        assert!(!is_early(ms(100), None) && !is_early(ms(100), Some(Duration::MAX)));
    }
}
