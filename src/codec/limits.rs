//! How much a peer may send before it has said anything useful. Every bound of the codec is here, with its reason.

/// What an operator may set. Bytes and lines of a message head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line or status line, without its CRLF. Exceeding it is 414 (400 while still in the method).
    pub request_line: usize,
    /// Bytes of a whole head, empty lines in front and the final CRLF included. Exceeding it is 431. At most
    /// 16 MiB is honoured.
    pub head_bytes: usize,
    /// Header lines of a head. Exceeding it is 431.
    pub headers: usize,
}

/// [`Limits::head_bytes`] is cut to this: a [`Span`](super::Span) holds offsets in 32 bits.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 20;

/// Empty lines skipped in front of a request. RFC 9112 §2.2 asks for at least one: some clients end a body with a CRLF
/// that they do not count. More is a client that wastes our time.
pub(super) const EMPTY_LINES_MAX: usize = 4;

/// Bytes of a method. The longest registered one has 17 (`UPDATEREDIRECTREF`); whatever is far longer is no HTTP.
pub(super) const METHOD_BYTES_MAX: usize = 32;

/// Options in all `Connection` lines together. Each is compared with each header name, so this bounds that product.
pub(super) const CONNECTION_OPTIONS_MAX: usize = 32;

/// Bytes of a chunk-size line with its extensions. Signing clients use about a hundred; extensions are dropped here, so
/// a long one is only cost.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Bytes of a trailer section. It is checked after the body has passed, so it is kept smaller than a head.
pub(super) const TRAILER_BYTES_MAX: usize = 8192;

/// Lines of a trailer section.
pub(super) const TRAILER_LINES_MAX: usize = 32;

/// Longest body or chunk that is believed, in bytes. Peers that count in signed 64 bits read more as negative.
pub(super) const LENGTH_MAX: u64 = i64::MAX as u64;

/// Capacity that a recycled head keeps, in bytes. One large head must not fix its memory to the connection for ever.
pub(super) const RETAINED_BYTES_MAX: usize = 16 << 10;

/// Capacity that a recycled head keeps for its index, in lines.
pub(super) const RETAINED_LINES_MAX: usize = 64;

impl Default for Limits {
    /// 8192 bytes of request line (RFC 9112 §3 asks for at least 8000), 64 KiB of head, 128 lines.
    fn default() -> Self {
        Limits { request_line: 8192, head_bytes: 64 << 10, headers: 128 }
    }
}
