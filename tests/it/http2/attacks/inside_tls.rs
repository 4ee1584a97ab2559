//! Attacks inside TLS: what mesher may spend is the same, and decrypting counts.

use super::super::attacker::{Attacker, Said};
use super::super::frame::{Frame, PAYLOAD_BYTES, error, flag, kind, long_request, setting};
use super::super::hpack::Block;
use super::super::siege::Siege;
use super::blocks::{assert_refused, bomb};
use super::resets::{give_up, open};
use super::windows::assert_unread_answers_are_given_up;
use super::{assert_stopped, streams};

/// Frames of a flood.
const FRAMES: u32 = 100_000;
/// Streams that mesher is made to reset.
const MADE: u32 = 3_000;

/// What mesher says to one who sends this without end.
#[track_caller]
fn flood(before: &[u8], pieces: impl IntoIterator<Item = Vec<u8>>) -> Said {
    let siege = Siege::inside_tls(|conf| conf);
    siege.attack(|_| {
        let attacker = Attacker::connect(siege.door());
        attacker.send(before);
        attacker.flood(pieces);
        attacker.settle()
    })
}

#[track_caller]
fn assert_calmed(said: &Said) {
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM), "{said:?}");
}

#[test]
fn rapid_resets_are_told_to_calm_down() {
    assert_calmed(&flood(&[], streams(20_000).map(|stream| [open(stream), give_up(stream)].concat())));
}

#[test]
fn resets_that_mesher_is_made_to_send_are_told_to_calm_down() {
    let widen = |stream| Frame::window_update(stream, 0x7fff_ffff).bytes();
    assert_calmed(&flood(&[], streams(MADE).map(|stream| [open(stream), widen(stream)].concat())));
}

#[test]
fn a_header_block_that_never_ends_is_told_to_calm_down() {
    let head = Frame::new(kind::HEADERS, 1, Block::get("/attack").bytes()).with(flag::END_STREAM);
    let field = Block::default().field("x-more", "x".repeat(PAYLOAD_BYTES - 12));
    let more = Frame::new(kind::CONTINUATION, 1, field.bytes()).bytes();
    let siege = Siege::inside_tls(|conf| conf);
    assert_calmed(&siege.attack(|_| {
        let attacker = Attacker::connect(siege.door());
        attacker.send(head.bytes());
        attacker.flood((0..10_000).map(|_| more.clone()));
        attacker.wait_for_end()
    }));
}

#[test]
fn data_without_content_is_told_to_calm_down() {
    let post = Frame::head(1, &Block::request("POST", "/attack")).bytes();
    assert_calmed(&flood(&post, (0..FRAMES).map(|_| Frame::data(1, []).bytes())));
}

#[test]
fn settings_without_end_are_told_to_calm_down() {
    let settings = |number| Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, number % 2)]).bytes();
    assert_calmed(&flood(&[], (0..FRAMES).map(settings)));
}

#[test]
fn pings_without_end_are_told_to_calm_down() {
    assert_calmed(&flood(&[], (0..FRAMES).map(|number| Frame::ping(number.into()).bytes())));
}

#[test]
fn pings_whose_answers_nobody_reads_come_to_an_end() {
    let siege = Siege::inside_tls(|conf| conf);
    let flood = siege.attack(|_| {
        let attacker = Attacker::stalled(siege.door());
        attacker.flood((0..).map(|number| Frame::ping(number).bytes()))
    });
    assert_stopped(flood, siege.calmed());
}

#[test]
fn answers_that_nobody_reads_are_not_kept_and_are_given_up_in_time() {
    let siege = Siege::inside_tls(|conf| conf.set("mesher.yaml", "mesher.timeout.streamIdleSeconds", 1));
    assert_unread_answers_are_given_up(&siege);
}

#[test]
fn blocks_that_grow_when_they_are_read_are_refused() {
    assert_refused(&flood(&[], streams(100).map(bomb)), 100);
}

#[test]
fn twenty_thousand_fields_are_refused() {
    let fields = (0..20_000).fold(Block::get("/attack"), |block, _| block.field("a", "b"));
    assert_refused(&flood(&long_request(1, &fields), []), 1);
}
