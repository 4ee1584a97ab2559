//! Clients and services that send many frames and have a reason: what ends a flood must never end them.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use super::client::{Answer, Client};
use super::frame::{self, Frame, PREFACE, flag, kind, setting};
use super::hpack::Block;
use super::rogue::Rogue;
use super::siege::{LARGE, LARGE_BYTES, ROGUE, Siege};
use crate::support::wait::PATIENCE;

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

/// A service that says something to each frame that comes, and these settings at first.
fn service(settings: Frame, reply: fn(&Frame) -> Vec<Frame>) -> Rogue {
    Rogue::serve(move |mut socket: TcpStream, _| {
        let mut frames = BufReader::new(socket.try_clone().expect("a second handle"));
        let mut say =
            |said: Vec<Frame>| socket.write_all(&said.iter().flat_map(Frame::bytes).collect::<Vec<_>>());
        let begun = frames.read_exact(&mut [0; PREFACE.len()]).and_then(|()| say(vec![settings.clone()]));
        while let Ok(Some(frame)) = begun.as_ref().map_or(Ok(None), |()| frame::read(&mut frames)) {
            if say(reply(&frame)).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_service_that_takes_a_long_upload_through_small_windows_is_not_taken_for_a_flood() {
    const PIECES: usize = 15_000;
    let service = service(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, SMALL_WINDOW)]), |frame| {
        let room = u32::try_from(frame.payload.len()).expect("a frame fits");
        match frame.kind {
            kind::DATA if frame.has(flag::END_STREAM) => vec![Frame::answer(frame.stream)],
            kind::DATA if room > 0 => {
                vec![Frame::window_update(0, room), Frame::window_update(frame.stream, room)]
            }
            _ => vec![],
        }
    });
    let siege = Siege::calling(service.address(), "grpc");
    let length = PIECES * SMALL_WINDOW as usize;
    // A round trip for each piece: that adds up on a busy machine.
    let mut client = siege.mesher().connect().deadline(10 * PATIENCE);
    client
        .send(format!("POST http://{ROGUE}/ HTTP/1.1\r\nHost: {ROGUE}\r\nContent-Length: {length}\r\n\r\n"));
    client.send(vec![b'x'; length]);
    assert_eq!(client.read_response().status, 200);
    assert_eq!(siege.mesher().metric("mesher_upstream_http2_calmed_total"), 0);
}

#[test]
fn a_service_that_hints_and_pings_with_each_answer_is_not_taken_for_a_flood() {
    let service = service(Frame::settings(&[]), |frame| match frame.kind {
        kind::HEADERS => {
            let hints = Block::default().field(":status", "103").field("link", "</style.css>; rel=preload");
            let mut said = vec![Frame::ping(7); 8];
            said.extend([Frame::head(frame.stream, &hints), Frame::head(frame.stream, &hints)]);
            said.push(Frame::answer(frame.stream));
            said
        }
        _ => vec![],
    });
    let siege = Siege::calling(service.address(), "grpc");
    let mut client = Client::connect(siege.address());
    for number in 0..3_000 {
        let answer = client.ask(&Block::request_of(ROGUE, "GET"));
        assert!(matches!(answer, Answer::Response(200, _)), "cut at request {number}: {answer:?}");
    }
    assert_eq!((siege.mesher().metric("mesher_upstream_http2_calmed_total"), service.connections()), (0, 1));
}
