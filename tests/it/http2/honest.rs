//! Clients that send many frames and have a reason: what ends a flood must never end them.

use super::client::{Answer, Client};
use super::frame::{Frame, setting};
use super::siege::{LARGE, LARGE_BYTES, Siege};

/// A window that fits no ten frames of gRPC: each answer of [`LARGE_BYTES`] takes thousands of updates.
const SMALL_WINDOW: u32 = 256;
/// What the flood of a client that does nothing else may have, a few times over.
const UPDATES: usize = 50_000;

#[test]
fn a_long_download_through_small_windows_is_not_taken_for_a_flood() {
    let siege = Siege::lay();
    let mut client = Client::connect(siege.address());
    client.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, SMALL_WINDOW)]).bytes());
    let updates_a_download = 2 * LARGE_BYTES / SMALL_WINDOW as usize;
    for _ in 0..UPDATES.div_ceil(updates_a_download) {
        let Answer::Response(200, body) = client.get(LARGE) else { panic!("cut in the middle") };
        assert_eq!(body.len(), LARGE_BYTES);
    }
    assert_eq!(siege.calmed(), 0);
}

#[test]
fn a_client_that_pings_with_each_request_is_not_taken_for_a_flood() {
    let siege = Siege::lay();
    let mut client = Client::connect(siege.address());
    for number in 0..3_000 {
        (0..8).for_each(|_| client.send(Frame::ping(number).bytes()));
        assert!(matches!(client.get("/"), Answer::Response(200, _)), "cut at request {number}");
    }
    assert_eq!(siege.calmed(), 0);
}
