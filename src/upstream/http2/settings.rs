//! Bounds of upstream HTTP/2 connections, each with its reason, and how they are told to the `h2` crate.

use std::time::Duration;

use super::pulse;

/// What a connection is told as the peer's number of streams until the peer has told it. No SETTINGS frame can say it:
/// the number there has 32 bits.
pub(super) const STREAMS_UNKNOWN: usize = usize::MAX - 1;

/// Largest frame payload taken; the smallest that HTTP/2 allows (RFC 9113 section 6.5.2). Larger ones would let one
/// stream hold the connection for longer.
const FRAME_BYTES_MAX: u32 = 16_384;
/// HPACK's dynamic table, as the protocol has it by default (RFC 9113 section 6.5.2).
const HEADER_TABLE_BYTES: u32 = 4096;
/// Bytes of one stream that may wait inside the connection to be sent; as much as a stream's window takes on most peers.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Cancelled streams that are remembered, so that what the peer had sent before it heard of it is ignored in silence. Ten
/// times the streams of a connection: a client that cancels everything must not make them be forgotten early.
const RESET_STREAMS_MAX: usize = 1000;
/// How long a cancelled stream is remembered: more than a round trip to anywhere.
const RESET_STREAM_DURATION: Duration = Duration::from_secs(2);
/// Streams that this side resets over the life of a connection because the peer broke the rules. Frames for streams that
/// were cancelled and forgotten count too, so the bound is generous; it keeps a peer that sends nonsense, and does not
/// read, from making us queue an answer for each.
const ERROR_RESETS_MAX: usize = 10_000;

/// What small DATA frames that wait may waste in the library's bookkeeping: no bound, since it never gives back what comes
/// for calls that were given up, and ends honest connections for it, with all their calls. None wait there: a connection is
/// read in turns, and whoever reads an answer takes what has come, whether it can go on or not. Frames of next to nothing
/// cost tokens.
const DATA_FRAME_BUDGET: usize = usize::MAX;

/// Bounds of a shard's upstream HTTP/2 connections. A time of zero means "never".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Calls at a time on one connection, unless its peer allows fewer. What most servers allow; more on one connection
    /// would wait for each other on its one socket.
    pub streams_per_connection: u32,
    /// Connections of a shard to one endpoint that take calls. Beyond 64 x 100 calls at a time an endpoint has other
    /// troubles; one that allows a single stream a connection still gets 64 calls.
    pub connections_per_endpoint: usize,
    /// Calls that may wait for a place on one endpoint. They wait for a few milliseconds usually; a longer queue would
    /// only hand out places to callers that have given up.
    pub waiting_per_endpoint: usize,
    /// How long the peer's SETTINGS frame may take once the connection is made (RFC 9113 section 3.4).
    pub settings_timeout: Duration,
    /// Age at which a connection is retired, give or take a tenth, so that instances behind a shared address get their
    /// share and not all connections are renewed at once.
    pub age_max: Duration,
    /// How long a connection may carry nothing before it is retired; below the 75 s of nginx, one of the shortest.
    pub idle_timeout: Duration,
    /// After how much silence of its peer a connection with calls under way is pinged. Servers built on gRPC libraries end
    /// connections that are pinged more often than every five minutes ("too_many_pings").
    pub ping_interval: Duration,
    /// How long the answer to a PING may take, and the peer's machine to acknowledge anything at all that it is sent.
    pub ping_timeout: Duration,
    /// How long a header block that has begun may take to be whole. Nothing else comes on the connection before that, so each
    /// call on it waits; a head takes a round trip or two even where frames are lost.
    pub head_timeout: Duration,
    /// Bytes of one answer that may have arrived and not been passed on. What a hundred slow readers can make one
    /// connection hold is a hundred times this.
    pub stream_window: u32,
    /// The same over all answers of a connection. A hundred stream windows: slow readers never stall the others.
    pub connection_window: u32,
    /// Largest header list of an answer, as RFC 9113 section 6.5.2 counts it.
    pub header_list_bytes_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams_per_connection: 100,
            connections_per_endpoint: 64,
            waiting_per_endpoint: 1024,
            settings_timeout: Duration::from_secs(5),
            age_max: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(310),
            ping_timeout: Duration::from_secs(20),
            head_timeout: Duration::from_secs(10),
            stream_window: 64 * 1024,
            connection_window: 100 * 64 * 1024,
            header_list_bytes_max: 64 * 1024,
        }
    }
}

impl Settings {
    /// Everything the `h2` crate has a default for is set here, so that a new version of it changes nothing.
    pub(super) fn builder(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_max_send_streams(STREAMS_UNKNOWN)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_header_list_size(self.header_list_bytes_max)
            .max_frame_size(FRAME_BYTES_MAX)
            .header_table_size(HEADER_TABLE_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .reset_stream_duration(RESET_STREAM_DURATION)
            .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
            .data_frame_budget(DATA_FRAME_BUDGET)
            // Nobody would read a pushed answer.
            .enable_push(false)
            .max_concurrent_streams(0)
            .max_pending_accept_reset_streams(0);
        builder
    }

    /// The times, for a connection made at a moment that `random` stands for.
    pub(super) fn times(&self, random: u64) -> pulse::Times {
        pulse::Times {
            age_max: pulse::jittered(self.age_max, random),
            idle_timeout: self.idle_timeout,
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            head_timeout: self.head_timeout,
        }
    }
}
