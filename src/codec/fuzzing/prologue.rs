//! A CONNECT head and what its sender does not wait to send behind it.

use super::pieces;
use crate::codec::{FirstBytes, Limits, Parse, Reject, RequestHead};

/// What a connection knows once it has looked at the first bytes of a tunnel.
#[derive(Debug, Clone, PartialEq)]
struct Prologue {
    /// Whom the client has connected to; none until the head is complete.
    authority: Option<Vec<u8>>,
    /// What it speaks in the tunnel.
    speaks: FirstBytes,
    /// Every byte behind the head, in order, none used.
    unread: Vec<u8>,
}

/// Arbitrary bytes as a CONNECT and the beginning of its tunnel; the first byte seeds the cuts. The head, the protocol in
/// the tunnel and the bytes that are left for it do not depend on the cuts; no byte between the two is lost.
pub fn fuzz_connect_prologue(data: &[u8]) {
    let [seed, data @ ..] = data else { return };
    let whole = prologue(data, data.len().max(1), 0);
    for (step, seed) in [(1, 0), (29, *seed)] {
        assert_eq!(prologue(data, step, seed), whole, "depends on the cuts");
    }
    if let Ok(Prologue { authority: Some(_), speaks, unread }) = whole {
        let behind = data.len() - unread.len();
        assert_eq!(data[behind..], unread, "not the bytes behind the head");
        assert!(data[..behind].ends_with(b"\r\n\r\n"), "part of the head was left for the tunnel");
        assert_eq!(FirstBytes::of(&unread), speaks);
    }
}

fn prologue(data: &[u8], step: usize, seed: u8) -> Result<Prologue, Reject> {
    let mut head = RequestHead::new();
    let mut seen = Prologue { authority: None, speaks: FirstBytes::Undecided, unread: Vec::new() };
    for piece in pieces(data, step, seed) {
        head.buffer().extend_from_slice(piece);
        if seen.authority.is_none() {
            if head.parse(&Limits::default())? == Parse::Incomplete {
                continue;
            }
            if head.method() != b"CONNECT" {
                return Ok(seen);
            }
            seen.authority = Some(head.target().to_vec());
            head.take_rest();
        }
        if seen.speaks == FirstBytes::Undecided {
            seen.speaks = FirstBytes::of(head.buffer());
        }
    }
    if seen.authority.is_some() {
        seen.unread = std::mem::take(head.buffer());
    }
    Ok(seen)
}
