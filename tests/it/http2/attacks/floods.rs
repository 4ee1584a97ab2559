//! Frames that are cheap to send: settings, pings, priorities, window updates, empty data (CVE-2019-9512, -9515, -9518).

use super::super::attacker::{Attacker, Flood, Said};
use super::super::frame::{Frame, error, flag, kind, setting};
use super::super::hpack::Block;
use super::super::siege::Siege;

/// Frames of a flood.
const FRAMES: u32 = 100_000;
/// Bytes that one who never reads sends at most: more than all buffers between the two hold.
const STALLED_BYTES: usize = 64 * 1024 * 1024;

/// Sends frames without end.
#[track_caller]
fn flood(frame: impl Fn(u32) -> Frame) -> Said {
    Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood((0..FRAMES).map(|number| frame(number).bytes()));
        attacker.settle()
    })
}

/// A flood that costs next to nothing may pass; one that does not is told so.
#[track_caller]
fn assert_passed_or_calmed(said: &Said) {
    assert!(said.goes_on() || said.goaway == Some(error::ENHANCE_YOUR_CALM), "{said:?}");
}

#[test]
fn settings_without_end_cost_little() {
    assert_passed_or_calmed(&flood(|number| {
        Frame::settings(&[
            (setting::HEADER_TABLE_SIZE, number % 2 * 4096),
            (setting::INITIAL_WINDOW_SIZE, number % 2),
        ])
    }));
}

#[test]
fn header_tables_resized_without_end_cost_little() {
    let sizes = |block: Block| (0..200).fold(block, |block, number| block.table_size(number % 2 * 4096));
    let block = sizes(Block::default()).field(":method", "GET");
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood((0..FRAMES / 200).map(|number| Frame::request(2 * number + 1, &block).bytes()));
        attacker.settle()
    });
    assert!(said.goes_on() || said.goaway.is_some(), "{said:?}");
}

#[test]
fn pings_whose_answers_nobody_reads_stop_being_read() {
    let flood = Siege::lay().attack(|address| {
        let attacker = Attacker::stalled(address);
        let ping = Frame::ping(1).bytes();
        attacker.flood((0..STALLED_BYTES / ping.len()).map(|_| ping.clone()))
    });
    assert_ne!(flood, Flood::Taken, "each answer to a ping was kept");
}

#[test]
fn pings_without_end_cost_little() {
    assert_passed_or_calmed(&flood(|number| Frame::ping(number.into())));
}

#[test]
fn priorities_without_end_cost_little() {
    assert_passed_or_calmed(&flood(|number| Frame::priority(2 * (number % 1000) + 1, 0)));
}

#[test]
fn window_updates_without_end_cost_little() {
    assert_passed_or_calmed(&flood(|_| Frame::window_update(0, 1)));
}

#[test]
fn data_without_content_is_told_to_calm_down() {
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(Frame::head(1, &Block::request("POST", "/attack")).bytes());
        attacker.flood((0..FRAMES).map(|_| Frame::data(1, []).bytes()));
        attacker.settle()
    });
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
}

#[test]
fn data_in_pieces_of_a_byte_passes_or_is_told_to_calm_down() {
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(Frame::head(1, &Block::request("POST", "/attack")).bytes());
        // Within the window that every stream has.
        attacker.flood((0..50_000).map(|_| Frame::data(1, "x").bytes()));
        attacker.settle()
    });
    assert_passed_or_calmed(&said);
}

#[test]
fn padding_without_content_is_told_to_calm_down_or_runs_out_of_window() {
    let padded = {
        let mut payload = vec![255];
        payload.extend([0; 255]);
        const PADDED: u8 = 8;
        Frame::new(kind::DATA, 1, payload).with(PADDED).bytes()
    };
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(Frame::head(1, &Block::request("POST", "/attack")).bytes());
        attacker.flood((0..FRAMES).map(|_| padded.clone()));
        attacker.settle()
    });
    let codes = [Some(error::ENHANCE_YOUR_CALM), Some(error::FLOW_CONTROL_ERROR)];
    assert!(said.goes_on() || codes.contains(&said.goaway), "{said:?}");
}

#[test]
fn frames_of_unknown_types_without_end_cost_little() {
    let said = flood(|_| Frame::new(0xbb, 0, [0; 8]).with(flag::ACK));
    assert_passed_or_calmed(&said);
}
