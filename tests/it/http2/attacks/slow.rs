//! Connections that are opened and not used: mesher waits for what was begun as long as it is configured to, and no
//! longer.

use std::time::{Duration, Instant};

use super::super::super::support::wait::{PATIENCE, look_for, pause_until};
use super::super::attacker::Attacker;
use super::super::frame::{Frame, PREFACE, flag, kind};
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
