//! What a client sends behind the preface of HTTP/2, or a server, followed frame by frame.

use std::time::Instant;

use super::pieces;
use crate::codec::{FrameFault, FrameWatch};

/// Arbitrary bytes as frames; the first byte seeds the cuts, and is how many frames without work may come, unless it is
/// zero. How many bytes pass, and what is wrong with the first bad
/// frame, does not depend on the cuts, and a reader that has all bytes at once comes to the same.
pub fn fuzz_http2_frames(data: &[u8]) {
    let [seed, data @ ..] = data else { return };
    let tokens = if *seed == 0 { 10_000 } else { (*seed).into() };
    follow(data, *seed, naive(data, tokens, Sender::Client { last: 0 }), || {
        FrameWatch::default().and_tokens(tokens as u32)
    });
    // One that was asked once.
    follow(data, *seed, naive(data, tokens + 80, Sender::Server { owed: 2, costs: false }), || {
        let mut watch = FrameWatch::of_server().and_tokens(tokens as u32);
        watch.note_asked();
        watch
    });
}

/// Follows the bytes in pieces, and holds what comes of it against what a reader has found that has them all.
fn follow(data: &[u8], seed: u8, whole: Option<(FrameFault, usize)>, watch: impl Fn() -> FrameWatch) {
    let now = Instant::now();
    let mut at_once = watch();
    at_once.follow(data, now);
    for (step, seed) in [(data.len().max(1), 0), (1, 0), (19, seed)] {
        let mut watch = watch();
        let mut passed = 0;
        for piece in pieces(data, step, seed) {
            let taken = watch.follow(piece, now);
            assert!(taken == piece.len() || watch.fault().is_some(), "bytes are held back for nothing");
            passed += taken;
        }
        assert_eq!(watch.fault(), whole.map(|(fault, _)| fault), "depends on the cuts");
        assert_eq!(watch.block_since(), at_once.block_since(), "depends on the cuts");
        // Bytes of the bad frame may have passed before it was known to be bad: all but the one that told.
        let told = whole.map_or(data.len() + 1, |(_, told)| told);
        assert!(passed < told && whole.is_some() || passed == data.len(), "what is bad has passed");
    }
}

/// Who sends, and what a header block depends on.
enum Sender {
    Client { last: u32 },
    Server { owed: usize, costs: bool },
}

/// The first bad frame, and how many bytes it takes to know.
fn naive(data: &[u8], mut tokens: usize, mut sender: Sender) -> Option<(FrameFault, usize)> {
    let mut at = 0;
    while let Some(head) = data.get(at..at + 9) {
        let length = usize::from(head[0]) * 65536 + usize::from(head[1]) * 256 + usize::from(head[2]);
        let size = match head[3] {
            2 => Some(5),
            3 | 8 => Some(4),
            4 if head[4] & 1 == 1 => Some(0),
            5 => return Some((FrameFault::Protocol, at + 9)),
            6 => Some(8),
            _ => None,
        };
        if size.is_some_and(|size| size != length) || head[3] == 4 && length % 6 != 0 {
            return Some((FrameFault::FrameSize, at + 9));
        }
        let payload = &data[at + 9..data.len().min(at + 9 + length)];
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let worth = match (head[3], &mut sender) {
            (1, Sender::Client { last }) if stream > *last => {
                *last = stream;
                Worth { earned: 10, ..Worth::default() }
            }
            (1, Sender::Client { .. }) => Worth { price: 1, ..Worth::default() },
            (1, Sender::Server { owed: 0, costs }) => {
                *costs = true;
                Worth { price: 16 + length.min(16_384 - 15 * 64) / 64, ..Worth::default() }
            }
            (1, Sender::Server { owed, costs }) => {
                (*owed, *costs) = (*owed - 1, false);
                Worth::default()
            }
            (9, Sender::Server { costs: true, .. }) => {
                Worth { price: 1 + length.min(16_384) / 64, ..Worth::default() }
            }
            (kind, _) => worth(kind, head[4], length, payload.first()),
        };
        if tokens < worth.price {
            return Some((FrameFault::Flood, at + 9 + worth.looked_at));
        }
        tokens = tokens - worth.price + worth.earned;
        if head[3] == 4 {
            let bad =
                payload.chunks_exact(6).position(|setting| setting[..2] == [0, 4] && setting[2] & 0x80 != 0);
            if let Some(bad) = bad {
                return Some((FrameFault::FlowControl, at + 9 + 6 * (bad + 1)));
            }
        }
        at += 9 + length;
    }
    None
}

/// What a frame means for the budget, and how much of its payload it takes to know.
#[derive(Default)]
struct Worth {
    price: usize,
    earned: usize,
    looked_at: usize,
}

fn worth(kind: u8, flags: u8, length: usize, first: Option<&u8>) -> Worth {
    let is_padded = flags & 8 != 0 && length > 0;
    match (kind, first) {
        (0, None) if is_padded => Worth::default(), // the byte that tells has not come
        (0, first) => {
            let looked_at = usize::from(is_padded);
            let padding = if is_padded { 1 + first.map_or(0, |first| usize::from(*first)) } else { 0 };
            let has_content = length >= padding + 5;
            Worth { price: (!has_content).into(), earned: has_content.into(), looked_at }
        }
        (9, _) => Worth::default(),
        _ => Worth { price: 1 + length.min(16_384) / 64, ..Worth::default() },
    }
}
