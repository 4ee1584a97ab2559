//! Connections that are opened and not used: mesher waits for what was begun as long as it is configured to, and no
//! longer.

use std::time::{Duration, Instant};

use super::super::super::support::wait::{PATIENCE, look_for, pause_until, wait_until};
use super::super::attacker::Attacker;
use super::super::frame::{Frame, PREFACE, error, flag, kind};
use super::super::hpack::Block;
use super::super::siege::{HELD, Siege};
use super::streams;

fn impatient() -> Siege {
    Siege::with(|conf| {
        conf.set("mesher.yaml", "mesher.timeout.headerSeconds", 1).set(
            "mesher.yaml",
            "mesher.timeout.idleSeconds",
            1,
        )
    })
}

#[test]
fn half_a_preface_is_not_waited_for_for_ever() {
    impatient().attack(|address| {
        let attacker = Attacker::silent(address);
        attacker.send(&PREFACE[..12]);
        attacker.wait_for_end();
    });
}

#[test]
fn a_preface_without_settings_is_not_waited_for_for_ever() {
    impatient().attack(|address| {
        let attacker = Attacker::silent(address);
        attacker.send(PREFACE);
        attacker.wait_for_end();
    });
}

#[test]
fn half_a_frame_is_not_waited_for_for_ever() {
    impatient().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(&Frame::request(1, &Block::get("/attack")).bytes()[..12]);
        attacker.wait_for_end();
    });
}

#[test]
fn a_header_block_without_its_end_is_not_waited_for_for_ever() {
    impatient().attack(|address| {
        let attacker = Attacker::connect(address);
        let head = Frame::new(kind::HEADERS, 1, Block::get("/attack").bytes()).with(flag::END_STREAM);
        attacker.send([head.bytes(), Frame::new(kind::CONTINUATION, 1, []).bytes()].concat());
        attacker.wait_for_end();
    });
}

#[test]
fn a_header_block_that_comes_byte_by_byte_is_not_waited_for_for_ever() {
    impatient().attack(|address| {
        let attacker = Attacker::connect(address);
        let head = Frame::request(1, &Block::get("/attack").field("x-slow", "x".repeat(1_000))).bytes();
        // Never silent, and not done before a minute is over.
        let is_cut = head.iter().any(|byte| {
            attacker.send([*byte]);
            pause_until(Instant::now() + Duration::from_millis(50));
            attacker.said().ended
        });
        assert!(is_cut, "the whole block was waited for");
    });
}

/// Begins a header block while another stream is open, and goes on with it in these pieces. A head is waited for for a
/// second, everything else as long as by default.
#[track_caller]
fn begin_a_block(pieces: impl Fn(&Attacker)) {
    Siege::with(|conf| conf.set("mesher.yaml", "mesher.timeout.headerSeconds", 1)).attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(Frame::request(1, &Block::get(HELD)).bytes());
        let head = Frame::new(kind::HEADERS, 3, Block::get("/attack").bytes()).with(flag::END_STREAM);
        attacker.send(head.bytes());
        pieces(&attacker);
        assert_eq!(attacker.wait_for_end().goaway, Some(error::ENHANCE_YOUR_CALM));
    });
}

#[test]
fn a_header_block_is_waited_for_like_any_head_though_other_streams_are_open() {
    begin_a_block(|_| ());
}

#[test]
fn a_header_block_in_slow_continuations_is_waited_for_like_any_head() {
    begin_a_block(|attacker| {
        let piece = Block::default().field("x-slow", "x");
        let is_cut = look_for(PATIENCE, || {
            attacker.send(Frame::new(kind::CONTINUATION, 3, piece.bytes()).bytes());
            pause_until(Instant::now() + Duration::from_millis(50));
            attacker.said().ended.then_some(())
        });
        assert!(is_cut.is_some(), "the whole block was waited for");
    });
}

#[test]
fn half_a_frame_of_a_header_block_is_waited_for_like_any_head() {
    begin_a_block(|attacker| {
        let last = Frame::new(kind::CONTINUATION, 3, [0; 100]).with(flag::END_HEADERS);
        attacker.send(&last.bytes()[..50]);
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let siege = Siege::with(|conf| conf.set("mesher.yaml", "mesher.timeout.streamIdleSeconds", 1));
    let said = siege.attack(|address| {
        let attacker = Attacker::connect(address);
        let post = Block::request("POST", "/attack").field("content-length", "5");
        attacker.flood(streams(100).map(|stream| Frame::head(stream, &post).bytes()));
        wait_until("every request to be answered", PATIENCE, || attacker.said().streams() >= 100);
        attacker.settle()
    });
    assert_eq!(said.statuses.keys().collect::<Vec<_>>(), [&408], "{said:?}");
}

#[test]
fn a_connection_without_a_request_is_closed() {
    impatient().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.wait_for_end();
    });
}

#[test]
fn pings_do_not_make_a_connection_useful() {
    impatient().attack(|address| {
        let attacker = Attacker::connect(address);
        let ended = look_for(PATIENCE, || {
            attacker.send(Frame::ping(7).bytes());
            attacker.said().ended.then_some(())
        });
        assert!(ended.is_some(), "pings keep a connection open that carries nothing");
    });
}

#[test]
fn who_never_acknowledges_settings_is_held_to_them_all_the_same() {
    let siege = Siege::lay();
    siege.attack(|address| {
        let attacker = Attacker::connect(address);
        // The settings of mesher have come, and stay without an answer.
        assert!(attacker.catch_up());
        attacker.flood(streams(300).map(|stream| Frame::request(stream, &Block::get(HELD)).bytes()));
        attacker.settle();
    });
    let reached = siege.origin().seen().iter().filter(|seen| seen.request.target == HELD).count();
    assert!(reached <= 100, "{reached} requests reached the service at a time");
}
