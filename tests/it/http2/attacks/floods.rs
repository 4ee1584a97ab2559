//! Frames that are cheap to send: settings, pings, priorities, window updates, empty data (CVE-2019-9512, -9515, -9518).

use super::super::attacker::{Attacker, Flood, Said};
use super::super::frame::{Frame, PAYLOAD_BYTES, error, flag, kind, setting};
use super::super::hpack::Block;
use super::super::siege::{HELD, Siege};
use super::assert_stopped;

/// Frames of a flood.
const FRAMES: u32 = 100_000;
/// Sends these frames behind each other, once `before` is answered, until mesher ends the connection; which it has to.
#[track_caller]
fn flood_behind(before: &[Frame], frame: impl Fn(u32) -> Frame) {
    let siege = Siege::lay();
    let said = siege.attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(before.iter().flat_map(Frame::bytes).collect::<Vec<u8>>());
        assert!(attacker.catch_up(), "ended before the flood");
        assert_eq!(attacker.flood((0..).map(|number| frame(number).bytes())), Flood::Cut);
        attacker.wait_for_end()
    });
    assert_eq!(said.goaway, Some(error::ENHANCE_YOUR_CALM));
    assert_eq!(siege.calmed(), 1);
}

/// Sends these frames and nothing else.
#[track_caller]
fn flood(frame: impl Fn(u32) -> Frame) {
    flood_behind(&[], frame);
}

/// A flood that costs next to nothing may pass; one that does not is told so.
#[track_caller]
fn assert_passed_or_calmed(said: &Said) {
    assert!(said.goes_on() || said.goaway == Some(error::ENHANCE_YOUR_CALM), "{said:?}");
}

#[test]
fn settings_without_end_are_told_to_calm_down() {
    flood(|number| {
        Frame::settings(&[
            (setting::HEADER_TABLE_SIZE, number % 2 * 4096),
            (setting::INITIAL_WINDOW_SIZE, number % 2),
        ])
    });
}

#[test]
fn settings_by_the_thousand_in_a_frame_are_told_to_calm_down() {
    let settings = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1); PAYLOAD_BYTES / 6]);
    flood(|_| settings.clone());
}

#[test]
fn answers_to_pings_that_nobody_sent_are_told_to_calm_down() {
    flood(|number| Frame::new(kind::PING, 0, u64::from(number).to_be_bytes()).with(flag::ACK));
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
fn pings_whose_answers_nobody_reads_come_to_an_end() {
    let siege = Siege::lay();
    let flood = siege.attack(|address| {
        let attacker = Attacker::stalled(address);
        attacker.flood((0..).map(|number| Frame::ping(number).bytes()))
    });
    assert_stopped(flood, siege.calmed());
}

#[test]
fn pings_without_end_are_told_to_calm_down() {
    flood(|number| Frame::ping(number.into()));
}

#[test]
fn priorities_without_end_are_told_to_calm_down() {
    flood(|number| Frame::priority(2 * (number % 1000) + 1, 0));
}

#[test]
fn window_updates_without_end_are_told_to_calm_down() {
    flood(|_| Frame::window_update(0, 1));
}

#[test]
fn window_updates_of_a_stream_that_waits_are_told_to_calm_down() {
    flood_behind(&[Frame::request(1, &Block::get(HELD))], |_| Frame::window_update(1, 1));
}

#[test]
fn resets_of_a_stream_that_is_over_are_told_to_calm_down() {
    flood_behind(&[Frame::request(1, &Block::get("/attack"))], |_| Frame::reset(1, error::CANCEL));
}

#[test]
fn resets_of_streams_that_never_were_end_the_connection() {
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.flood((0..).map(|number| Frame::reset(2 * (number % 1000) + 1, error::CANCEL).bytes()));
        attacker.wait_for_end()
    });
    assert_eq!(said.goaway, Some(error::PROTOCOL_ERROR));
}

#[test]
fn data_without_content_is_told_to_calm_down() {
    flood_behind(&[Frame::head(1, &Block::request("POST", "/attack"))], |_| Frame::data(1, []));
}

/// Frames that are many in proportion to what was asked for.
#[test]
fn pings_between_small_requests_are_told_to_calm_down() {
    let siege = Siege::lay();
    let said = siege.attack(|address| {
        let attacker = Attacker::connect(address);
        let asked = (0..200).map(|number| {
            let request = Frame::request(2 * number + 1, &Block::get("/attack")).bytes();
            let pings = (0..500_u32).flat_map(|number| Frame::ping(number.into()).bytes());
            request.into_iter().chain(pings).collect()
        });
        attacker.flood(asked);
        attacker.wait_for_end()
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
fn padding_without_content_is_told_to_calm_down() {
    const PADDED: u8 = 8;
    // Padding of no byte: only the one that says so is taken from the window.
    let padded = Frame::data(1, [0]).with(PADDED);
    flood_behind(&[Frame::head(1, &Block::request("POST", "/attack"))], |_| padded.clone());
}

#[test]
fn padding_without_content_that_fills_the_window_ends_the_connection() {
    const PADDED: u8 = 8;
    let padded = Frame::data(1, [&[255][..], &[0; 255]].concat()).with(PADDED);
    let said = Siege::lay().attack(|address| {
        let attacker = Attacker::connect(address);
        attacker.send(Frame::head(1, &Block::request("POST", "/attack")).bytes());
        attacker.flood((0..).map(|_| padded.bytes()));
        attacker.wait_for_end()
    });
    let codes = [Some(error::ENHANCE_YOUR_CALM), Some(error::FLOW_CONTROL_ERROR)];
    assert!(codes.contains(&said.goaway), "{said:?}");
}

#[test]
fn frames_of_unknown_types_without_end_are_told_to_calm_down() {
    flood(|_| Frame::new(0xbb, 0, [0; 8]).with(flag::ACK));
}

#[test]
fn long_frames_of_unknown_types_are_told_to_calm_down() {
    let frame = Frame::new(0xbb, 0, [0; PAYLOAD_BYTES]);
    flood(|_| frame.clone());
}
