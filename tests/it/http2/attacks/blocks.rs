//! Header blocks that never end (CVE-2024-27316), or that are small on the wire and large when read (CVE-2019-9516).

use super::super::attacker::{Attacker, Said};
use super::super::frame::{Frame, PAYLOAD_BYTES, error, flag, kind, long_request};
use super::super::hpack::Block;
use super::super::siege::Siege;
use super::streams;

/// What mesher answers when a head is too large (RFC 6585 section 5).
const TOO_LARGE: u16 = 431;

/// Begins a header block on stream 1 and never ends it.
#[track_caller]
fn continue_without_end(piece: &[u8], frames: usize) -> Said {
    Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        let head = Frame::new(kind::HEADERS, 1, Block::get("/attack").bytes()).with(flag::END_STREAM);
        attacker.send(head.bytes());
        let more = Frame::new(kind::CONTINUATION, 1, piece).bytes();
        attacker.flood((0..frames).map(|_| more.clone()));
        attacker.wait_for_end()
    })
}

#[test]
fn a_header_block_that_never_ends_is_told_to_calm_down() {
    let field = Block::default().field("x-more", "x".repeat(PAYLOAD_BYTES - 12));
    let said = continue_without_end(field.bytes(), 10_000);
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

#[test]
fn a_header_block_that_goes_on_with_nothing_is_told_to_calm_down() {
    let said = continue_without_end(&[], 100_000);
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

/// A request of 12,000 fields of 4 kB each in 16 kB.
pub(super) fn bomb(stream: u32) -> Vec<u8> {
    let block = Block::get("/attack").remembered("x-bomb", "x".repeat(4_000));
    long_request(stream, &(0..12_000).fold(block, |block, _| block.indexed(62)))
}

#[track_caller]
pub(super) fn assert_refused(said: &Said, streams: usize) {
    let answered: usize = said.statuses.values().sum();
    let too_large = said.statuses.get(&TOO_LARGE).copied().unwrap_or_default();
    assert_eq!(answered, too_large, "{said:?}");
    let codes = [Some(error::ENHANCE_YOUR_CALM), Some(error::COMPRESSION_ERROR)];
    assert!(said.streams() == streams || codes.contains(&said.goaway), "{said:?}");
}

/// Sends one request for each stream and none of them may reach the service.
#[track_caller]
fn refused(count: u32, request: impl Fn(u32) -> Vec<u8>) {
    let siege = Siege::lay();
    let said = siege.attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood(streams(count).map(request));
        attacker.settle()
    });
    assert_refused(&said, count as usize);
    let reached = siege.origin().seen().iter().filter(|seen| seen.request.target == "/attack").count();
    assert_eq!(reached, 0, "{said:?}");
}

#[test]
fn a_block_that_grows_when_it_is_read_is_refused() {
    refused(1, bomb);
}

#[test]
fn many_blocks_that_grow_when_they_are_read_are_refused() {
    refused(100, bomb);
}

#[test]
fn twenty_thousand_fields_are_refused() {
    let fields = (0..20_000).fold(Block::get("/attack"), |block, _| block.field("a", "b"));
    refused(1, |stream| long_request(stream, &fields));
}

#[test]
fn twelve_thousand_crumbs_of_cookie_are_refused() {
    let crumbs = (0..12_000).fold(Block::get("/attack"), |block, _| block.field("cookie", "a=b"));
    refused(1, |stream| long_request(stream, &crumbs));
}
