//! Answers that nobody reads (CVE-2019-9511, -9517), and more streams than may be open.

use super::super::super::support::wait::{PATIENCE, wait_until};
use super::super::attacker::Attacker;
use super::super::frame::{Frame, error, setting};
use super::super::hpack::Block;
use super::super::siege::{HELD, LARGE, Siege};
use super::streams;

#[test]
fn answers_that_nobody_reads_are_not_kept_and_are_given_up_in_time() {
    let siege = Siege::with(|conf| conf.set("mesher.yaml", "mesher.timeout.streamIdleSeconds", 1));
    let said = siege.attack(|address| {
        let attacker = Attacker::connect(address);
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
