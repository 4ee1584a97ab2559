//! Frames of HTTP/2 (RFC 9113 section 4), written and found in what arrives. Pure; knows no stream and no window.

/// What a client sends first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest payload that both ends allow: nobody here announces more than the default.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16_384;

/// Flag of DATA and HEADERS: the last frame of its stream in this direction.
pub(crate) const END_STREAM: u8 = 0x1;

/// Flag of SETTINGS and PING: an answer.
pub(crate) const ACK: u8 = 0x1;

/// Flag of HEADERS: the field block ends in this frame.
pub(crate) const END_HEADERS: u8 = 0x4;

/// Flag of DATA and HEADERS: padding, which nothing here sends and no peer of the bench does.
pub(crate) const PADDED: u8 = 0x8;

const HEADER_BYTES: usize = 9;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A piece of a body.
    Data,
    /// A head or trailers.
    Headers,
    /// The end of a stream that failed.
    Reset,
    /// What the sender allows and wants.
    Settings,
    /// Asks for an echo.
    Ping,
    /// The end of the connection.
    GoAway,
    /// More may be sent.
    WindowUpdate,
    /// The rest of a field block.
    Continuation,
    /// Something that may be ignored (RFC 9113 section 4.1).
    Other,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its flags.
    pub(crate) flags: u8,
    /// Its stream; 0 is the connection.
    pub(crate) stream: u32,
    /// What follows its header.
    pub(crate) payload: &'b [u8],
}

impl Frame<'_> {
    /// It is the last of its stream.
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags & END_STREAM != 0
    }

    /// Four bytes of the payload as a number, 31 bits of it.
    pub(crate) fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes) & 0x7fff_ffff)
    }
}

/// Appends a frame.
pub(crate) fn write(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    begin(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a frame whose payload `fill` appends.
pub(crate) fn write_with(
    out: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    stream: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let at = out.len();
    begin(out, kind, flags, stream, 0);
    fill(out);
    let length = out.len() - at - HEADER_BYTES;
    out[at..at + 3].copy_from_slice(&length_bytes(length));
}

fn begin(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, length: usize) {
    out.extend_from_slice(&length_bytes(length));
    out.extend_from_slice(&[code(kind), flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

fn length_bytes(length: usize) -> [u8; 3] {
    debug_assert!(length <= PAYLOAD_BYTES_MAX);
    [(length >> 16) as u8, (length >> 8) as u8, length as u8]
}

/// Finds frames in pieces of a connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The start of a frame that has not ended yet.
    partial: Vec<u8>,
}

impl Frames {
    /// Takes the next piece and shows `each` every frame that is whole, in order.
    ///
    /// # Errors
    /// A frame that is too long, or what `each` says; the connection is then of no use.
    pub(crate) fn take(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.partial.is_empty() {
            let taken = whole(piece, &mut each)?;
            self.partial.extend_from_slice(&piece[taken..]);
        } else {
            self.partial.extend_from_slice(piece);
            let taken = whole(&self.partial, &mut each)?;
            self.partial.drain(..taken);
        }
        Ok(())
    }
}

/// Shows the whole frames at the front of `bytes`; returns how many bytes they are.
fn whole(bytes: &[u8], each: &mut impl FnMut(Frame<'_>) -> Result<(), String>) -> Result<usize, String> {
    let mut at = 0;
    while let Some(header) = bytes[at..].first_chunk::<HEADER_BYTES>() {
        let [l0, l1, l2, code, flags, s0, s1, s2, s3] = *header;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(format!("a frame of {length} bytes where {PAYLOAD_BYTES_MAX} are allowed"));
        }
        let start = at + HEADER_BYTES;
        let Some(payload) = bytes.get(start..start + length) else { break };
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        each(Frame { kind: kind(code), flags, stream, payload })?;
        at = start + length;
    }
    Ok(at)
}

fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Data => 0,
        Kind::Headers => 1,
        Kind::Reset => 3,
        Kind::Settings => 4,
        Kind::Ping => 6,
        Kind::GoAway => 7,
        Kind::WindowUpdate => 8,
        Kind::Continuation => 9,
        Kind::Other => 0xff,
    }
}

fn kind(code: u8) -> Kind {
    match code {
        0 => Kind::Data,
        1 => Kind::Headers,
        3 => Kind::Reset,
        4 => Kind::Settings,
        6 => Kind::Ping,
        7 => Kind::GoAway,
        8 => Kind::WindowUpdate,
        9 => Kind::Continuation,
        _ => Kind::Other,
    }
}
