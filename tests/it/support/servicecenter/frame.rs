//! WebSocket frames (RFC 6455, section 5) as a server reads and writes them. No extensions, no fragments: the
//! peers of these tests send neither.

use std::io::Read;

/// Longest payload read; clients of service-center may send 64 bytes.
const PAYLOAD_BYTES_MAX: u64 = 1024 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Text.
    Text(String),
    /// Anything else that carries data.
    Binary(Vec<u8>),
    /// Asks for a pong.
    Ping(Vec<u8>),
    /// Answers a ping.
    Pong(Vec<u8>),
    /// Ends the connection, with a code and a reason or without.
    Close(Option<(u16, String)>),
}

impl Frame {
    /// The bytes a server sends: unmasked.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (opcode, payload) = match self {
            Self::Text(text) => (1, text.as_bytes().to_vec()),
            Self::Binary(bytes) => (2, bytes.clone()),
            Self::Close(None) => (8, Vec::new()),
            Self::Close(Some((code, reason))) => (8, [&code.to_be_bytes(), reason.as_bytes()].concat()),
            Self::Ping(bytes) => (9, bytes.clone()),
            Self::Pong(bytes) => (10, bytes.clone()),
        };
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..126 => bytes.push(u8::try_from(short).unwrap()),
            medium @ 126..0x1_0000 => {
                bytes.push(126);
                bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    /// Bytes of the payload.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Close(close) => close.as_ref().map_or(0, |(_, reason)| reason.len() + 2),
        }
    }

    /// Reads a frame of a client, masked or not.
    pub(crate) fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let [first, second] = take(from)?;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(take(from)?)),
            127 => u64::from_be_bytes(take(from)?),
            short => u64::from(short),
        };
        if length > PAYLOAD_BYTES_MAX || first & 0x80 == 0 {
            return Err(bad("too long or fragmented"));
        }
        let mask = if second & 0x80 == 0 { [0; 4] } else { take(from)? };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        from.read_exact(&mut payload)?;
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
        Self::of(first & 0x0f, payload)
    }

    fn of(opcode: u8, payload: Vec<u8>) -> std::io::Result<Self> {
        let text = |bytes| String::from_utf8(bytes).map_err(|_| bad("text is not UTF-8"));
        Ok(match opcode {
            1 => Self::Text(text(payload)?),
            2 => Self::Binary(payload),
            9 => Self::Ping(payload),
            10 => Self::Pong(payload),
            8 => match payload.split_first_chunk() {
                Some((code, reason)) => {
                    Self::Close(Some((u16::from_be_bytes(*code), text(reason.to_vec())?)))
                }
                None => Self::Close(None),
            },
            _ => return Err(bad("unknown opcode")),
        })
    }
}

fn take<const N: usize>(from: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("bad frame: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_as_they_were_written() {
        for frame in [
            Frame::Text("x".repeat(70_000)),
            Frame::Text("x".repeat(300)),
            Frame::Binary(vec![0, 255]),
            Frame::Ping(vec![]),
            Frame::Pong(b"a".to_vec()),
            Frame::Close(None),
            Frame::Close(Some((1000, "bye".into()))),
        ] {
            assert_eq!(Frame::read(&mut frame.encode().as_slice()).unwrap(), frame);
        }
    }

    #[test]
    fn a_masked_frame_is_unmasked() {
        // The example of RFC 6455, section 5.7.
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(Frame::read(&mut &bytes[..]).unwrap(), Frame::Text("Hello".into()));
    }
}
