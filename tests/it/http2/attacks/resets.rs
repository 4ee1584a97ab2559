//! Streams that a client opens and gives up (CVE-2023-44487), and streams that it makes mesher give up (CVE-2025-8671).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::attacker::{Attacker, Said};
use super::super::frame::{Frame, error, flag, kind};
use super::super::hpack::Block;
use super::super::siege::{HELD, Siege};
use super::streams;

/// Streams of a burst: fewer than may be open at a time.
const BURST: usize = 90;
/// The same where each burst is waited for.
const AWAITED_BURST: usize = 5;
/// Who gives a stream up later than this does no rapid reset. On a busy machine a burst that is waited for may take so long.
const RAPID: Duration = Duration::from_millis(100);
/// Streams that mesher is made to reset.
const MADE: u32 = 3_000;

pub(super) fn open(stream: u32) -> Vec<u8> {
    Frame::request(stream, &Block::get("/attack")).bytes()
}

pub(super) fn give_up(stream: u32) -> Vec<u8> {
    Frame::reset(stream, error::CANCEL).bytes()
}

#[test]
fn rapid_resets_are_told_to_calm_down() {
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood(streams(20_000).map(|stream| [open(stream), give_up(stream)].concat()));
        attacker.settle()
    });
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

/// Sends streams in bursts of so many, and each burst once the one before was worked through.
fn burst(address: SocketAddr, size: usize, mut send: impl FnMut(&Attacker, &[u32])) -> Said {
    let attacker = Attacker::connect(address);
    let streams: Vec<u32> = streams(20_000).collect();
    for burst in streams.chunks(size) {
        send(&attacker, burst);
        if !attacker.catch_up() {
            break;
        }
    }
    attacker.settle()
}

#[test]
fn rapid_resets_in_bursts_are_told_to_calm_down() {
    let said = Siege::lay().attack(|address| {
        burst(address, BURST, |attacker, streams| {
            let opened = streams.iter().map(|stream| open(*stream));
            attacker.flood(opened.chain(streams.iter().map(|stream| give_up(*stream))));
        })
    });
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

#[test]
fn requests_given_up_once_they_are_on_their_way_are_told_to_calm_down() {
    let said = Siege::lay().attack_excused(|address| {
        let mut slow = 0;
        let said = burst(address, AWAITED_BURST, |attacker, streams| {
            let begun = Instant::now();
            attacker.flood(streams.iter().map(|stream| Frame::request(*stream, &Block::get(HELD)).bytes()));
            attacker.catch_up();
            attacker.flood(streams.iter().map(|stream| give_up(*stream)));
            attacker.catch_up();
            slow += if begun.elapsed() < RAPID { 0 } else { streams.len() };
        });
        (said, slow)
    });
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

/// Opens streams and does something to each that mesher has to answer with a reset.
#[track_caller]
fn provoke(provocation: impl Fn(u32) -> Vec<u8>) -> Said {
    Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood(streams(MADE).map(provocation));
        attacker.settle()
    })
}

#[test]
fn windows_widened_by_nothing_end_the_connection() {
    let said = provoke(|stream| [open(stream), Frame::window_update(stream, 0).bytes()].concat());
    assert_eq!(said.goaway, Some(error::PROTOCOL_ERROR));
}

#[test]
fn windows_widened_beyond_their_bound_are_told_to_calm_down() {
    let said = provoke(|stream| [open(stream), Frame::window_update(stream, 0x7fff_ffff).bytes()].concat());
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

#[test]
fn bodies_shorter_than_announced_are_told_to_calm_down() {
    let block = Block::request("POST", "/attack").field("content-length", "5");
    let said = provoke(|stream| {
        let data = Frame::data(stream, "x").with(flag::END_STREAM);
        [Frame::head(stream, &block).bytes(), data.bytes()].concat()
    });
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

#[test]
fn streams_that_depend_on_themselves_are_told_to_calm_down() {
    let said = provoke(|stream| [open(stream), Frame::priority(stream, stream).bytes()].concat());
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

/// What cannot be taken for a mistake of one stream ends the connection. Implementations differ in which of the codes
/// that fit they say.
#[track_caller]
fn assert_broken(said: &Said, fitting: u32) {
    assert!([Some(fitting), Some(error::PROTOCOL_ERROR)].contains(&said.goaway), "{said:?}");
}

#[test]
fn heads_behind_the_end_of_a_request_end_the_connection() {
    let said = provoke(|stream| [open(stream), open(stream)].concat());
    assert_broken(&said, error::STREAM_CLOSED);
}

#[test]
fn bodies_behind_the_end_of_a_request_end_the_connection() {
    let said = provoke(|stream| [open(stream), Frame::data(stream, "x").bytes()].concat());
    assert_broken(&said, error::STREAM_CLOSED);
}

#[test]
fn priorities_that_are_too_short_end_the_connection() {
    let short = |stream| Frame::new(kind::PRIORITY, stream, [0; 4]).bytes();
    let said = provoke(|stream| [open(stream), short(stream)].concat());
    assert_broken(&said, error::FRAME_SIZE_ERROR);
}
