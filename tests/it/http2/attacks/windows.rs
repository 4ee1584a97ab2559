//! Answers that nobody reads (CVE-2019-9511, -9517), and more streams than may be open.

use super::super::super::support::wait::{PATIENCE, look_for, wait_until};
use super::super::attacker::{Attacker, Flood};
use super::super::frame::{Frame, PAYLOAD_BYTES, error, kind, setting};
use super::super::hpack::Block;
use super::super::siege::{HELD, LARGE, Siege};
use super::streams;

/// Large answers that are together more than all buffers between the two hold.
const ANSWERS: u32 = 16;

#[test]
fn answers_that_nobody_reads_are_not_kept_and_are_given_up_in_time() {
    let siege = Siege::with(|conf| conf.set("mesher.yaml", "mesher.timeout.streamIdleSeconds", 1));
    assert_unread_answers_are_given_up(&siege);
}

/// A hundred large answers without a window for any of them.
#[track_caller]
pub(super) fn assert_unread_answers_are_given_up(siege: &Siege) {
    let said = siege.attack(|_| {
        let attacker = Attacker::connect(siege.door());
        attacker.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]).bytes());
        attacker.flood(streams(100).map(|stream| Frame::request(stream, &Block::get(LARGE)).bytes()));
        wait_until("every answer to be given up", PATIENCE, || {
            let said = attacker.said();
            said.ended || said.resets.values().sum::<usize>() == 100
        });
        attacker.settle()
    });
    assert!(said.statuses.keys().all(|status| *status == 200), "{said:?}");
}

#[test]
fn who_reads_nothing_cannot_hold_a_connection_that_has_to_end() {
    let siege = Siege::with(|conf| conf.set("mesher.yaml", "mesher.timeout.headerSeconds", 1));
    siege.attack(|address| {
        let attacker = Attacker::stalled(address);
        attacker.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]).bytes());
        attacker.send(Frame::window_update(0, 1 << 30).bytes());
        // The GOAWAY does not get through.
        attacker.flood(streams(ANSWERS).map(|stream| Frame::request(stream, &Block::get(LARGE)).bytes()));
        let asked = || siege.origin().seen().iter().filter(|seen| seen.request.target == LARGE).count();
        wait_until("every answer to be on its way", PATIENCE, || asked() == ANSWERS as usize);
        // A head that is never whole: the connection has to end for it.
        let head = Frame::new(kind::HEADERS, 101, Block::get("/attack").bytes());
        attacker.send(head.bytes());
        attacker.send(&Frame::new(kind::CONTINUATION, 101, [0; PAYLOAD_BYTES]).bytes()[..9]);
        let cut = look_for(PATIENCE, || (attacker.flood([vec![0]]) == Flood::Cut).then_some(()));
        assert!(cut.is_some(), "the connection is held by answers that nobody reads");
    });
}

#[test]
fn more_streams_than_may_be_open_are_refused() {
    let siege = Siege::lay();
    let said = siege.attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood(streams(2_000).map(|stream| Frame::request(stream, &Block::get(HELD)).bytes()));
        attacker.settle()
    });
    let refused = said.resets.get(&error::REFUSED_STREAM).copied().unwrap_or_default();
    assert!(refused > 0 || said.goaway == Some(error::ENHANCE_YOUR_CALM), "{said:?}");
    let reached = siege.origin().seen().iter().filter(|seen| seen.request.target == HELD).count();
    assert!(reached <= 100, "{reached} requests reached the service at a time");
}
