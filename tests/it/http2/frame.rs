//! HTTP/2 frames as bytes (RFC 9113 section 4.1), legal or not. Knows no connection and no rule: what is given is
//! written.

use std::io::{ErrorKind, Read};

use super::hpack::Block;

/// What a client sends first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest payload that a peer may send to one that has not allowed more.
pub(crate) const PAYLOAD_BYTES: usize = 16_384;
/// Longest frame a test reads; longer is a test server gone wild.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Types of frames (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames; what they mean depends on the type.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

/// Error codes (RFC 9113 section 7).
pub(crate) mod error {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const COMPRESSION_ERROR: u32 = 9;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Parameters of SETTINGS (RFC 9113 section 6.5.2).
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A frame without flags.
    pub(crate) fn new(kind: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags: 0, stream, payload: payload.into() }
    }

    /// The whole head of a request without a body.
    pub(crate) fn request(stream: u32, block: &Block) -> Self {
        Self::new(kind::HEADERS, stream, block.bytes()).with(flag::END_HEADERS | flag::END_STREAM)
    }

    /// The whole head of a request whose body is to follow.
    pub(crate) fn head(stream: u32, block: &Block) -> Self {
        Self::new(kind::HEADERS, stream, block.bytes()).with(flag::END_HEADERS)
    }

    /// A piece of a body.
    pub(crate) fn data(stream: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(kind::DATA, stream, bytes)
    }

    /// The whole answer to a request: 200, and nothing else.
    pub(crate) fn answer(stream: u32) -> Self {
        Self::request(stream, &Block::default().field(":status", "200"))
    }

    /// The end of the connection: streams above `last` were not looked at.
    pub(crate) fn goaway(last: u32, code: u32) -> Self {
        Self::new(kind::GOAWAY, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// The end of a stream.
    pub(crate) fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, stream, code.to_be_bytes())
    }

    /// Parameters of the connection.
    pub(crate) fn settings(parameters: &[(u16, u32)]) -> Self {
        let bytes = parameters.iter().flat_map(|(name, value)| {
            let (name, value) = (name.to_be_bytes(), value.to_be_bytes());
            name.into_iter().chain(value)
        });
        Self::new(kind::SETTINGS, 0, bytes.collect::<Vec<u8>>())
    }

    /// A question whether the peer is there.
    pub(crate) fn ping(number: u64) -> Self {
        Self::new(kind::PING, 0, number.to_be_bytes())
    }

    /// Room for so many bytes more, on the connection if the stream is 0.
    pub(crate) fn window_update(stream: u32, bytes: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, stream, bytes.to_be_bytes())
    }

    /// What a stream depends on (deprecated, and still legal).
    pub(crate) fn priority(stream: u32, on: u32) -> Self {
        let mut payload = on.to_be_bytes().to_vec();
        payload.push(16);
        Self::new(kind::PRIORITY, stream, payload)
    }

    /// Sets flags.
    pub(crate) fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// Is this flag set.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number at this byte of the payload: an error code, say.
    pub(crate) fn number_at(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    /// As it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a payload that fits");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// The whole head of a request without a body, of any length.
pub(crate) fn long_request(stream: u32, block: &Block) -> Vec<u8> {
    long_block(stream, block, flag::END_STREAM)
}

/// A header block of any length: HEADERS with these flags and as many CONTINUATION frames as it takes.
pub(crate) fn long_block(stream: u32, block: &Block, flags: u8) -> Vec<u8> {
    let parts: Vec<&[u8]> = block.bytes().chunks(PAYLOAD_BYTES).collect();
    let mut bytes = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let (kind, flags) = match number {
            0 => (kind::HEADERS, flags),
            _ => (kind::CONTINUATION, 0),
        };
        let last = if number + 1 == parts.len() { flag::END_HEADERS } else { 0 };
        bytes.extend(Frame::new(kind, stream, *part).with(flags | last).bytes());
    }
    bytes
}

/// Reads the next frame; none at the end of the connection, however it ends.
///
/// # Errors
/// What the kernel says, an end within a frame, and a frame that no peer of a test sends.
pub(crate) fn read(from: &mut impl Read) -> std::io::Result<Option<Frame>> {
    let mut head = [0; 9];
    match from.read_exact(&mut head[..1]) {
        Err(end) if matches!(end.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        read => read?,
    }
    from.read_exact(&mut head[1..])?;
    let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).expect("64 bits");
    if length > PAYLOAD_BYTES_MAX {
        return Err(std::io::Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_as_it_was_written() {
        let frames = [
            Frame::request(1, &Block::get("/")),
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 70_000)]),
            Frame::data(3, "four").with(flag::END_STREAM),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let mut from = bytes.as_slice();
        for frame in frames {
            assert_eq!(read(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(read(&mut from).unwrap(), None);
    }

    #[test]
    fn a_long_block_is_one_block_in_several_frames() {
        let block = Block::get("/").field("x-long", "x".repeat(2 * PAYLOAD_BYTES));
        let bytes = long_request(1, &block);
        let mut from = bytes.as_slice();
        let frames: Vec<Frame> = std::iter::from_fn(|| read(&mut from).unwrap()).collect();
        let kinds: Vec<(u8, bool)> =
            frames.iter().map(|frame| (frame.kind, frame.has(flag::END_HEADERS))).collect();
        let expected = [(kind::HEADERS, false), (kind::CONTINUATION, false), (kind::CONTINUATION, true)];
        assert_eq!(kinds, expected);
        assert_eq!(frames.iter().flat_map(|frame| frame.payload.clone()).collect::<Vec<_>>(), block.bytes());
    }
}
