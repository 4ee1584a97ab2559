//! Services that attack the sidecar that calls them, by HTTP/2: with floods of frames, and with heads.

use std::net::SocketAddr;
use std::sync::mpsc::channel;

use super::super::super::support::wait::PATIENCE;
use super::super::attacker::{Attacker, Flood, Said};
use super::super::client::{Answer, Client};
use super::super::frame::{Frame, PAYLOAD_BYTES, error, flag, kind, setting};
use super::super::hpack::Block;
use super::super::rogue::Rogue;
use super::super::siege::{ROGUE, Siege};
use super::{assert_stopped, streams};

/// The end of an attack: how its flood ended, what mesher said, what the client was answered.
struct Outcome {
    flood: Flood,
    said: Said,
    answer: Answer,
    siege: Siege,
    service: SocketAddr,
}

/// A client asks the service something, which on its first connection sends `before`, and then the frames, without end,
/// unless these have one. Both are told the stream.
#[track_caller]
fn attack(
    before: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static,
    flood: impl Fn(u32) -> Box<dyn Iterator<Item = Vec<u8>>> + Send + Sync + 'static,
) -> Outcome {
    let (tell, told) = channel();
    let rogue = Rogue::start(move |attacker, _| {
        attacker.send(Frame::settings(&[]).bytes());
        let Some(stream) = attacker.request(0) else { return };
        attacker.send(before(stream).iter().flat_map(Frame::bytes).collect::<Vec<u8>>());
        let flood = attacker.flood(flood(stream));
        let _ = tell.send((flood, attacker.wait_for_end()));
    });
    let siege = Siege::calling(rogue.address(), "grpc");
    let (answer, (flood, said)) = siege.attack(|address| {
        let answer = Client::connect(address).ask(&once());
        (answer, told.recv_timeout(PATIENCE).expect("the attack does not end"))
    });
    Outcome { flood, said, answer, siege, service: rogue.address() }
}

/// A request that is not repeated: it might do harm twice.
fn once() -> Block {
    Block::request_of(ROGUE, "POST")
}

/// Sends these frames behind each other until mesher ends the connection, which it has to do; and is told so.
#[track_caller]
fn flood_behind(
    before: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static,
    frame: impl Fn(u32, u32) -> Frame + Clone + Send + Sync + 'static,
) {
    let outcome = attack(before, move |stream| {
        let frame = frame.clone();
        Box::new((0..).map(move |number| frame(stream, number).bytes()))
    });
    assert_eq!((outcome.flood, outcome.said.goaway), (Flood::Cut, Some(error::ENHANCE_YOUR_CALM)));
    assert!(!matches!(outcome.answer, Answer::Response(200, _)), "{:?}", outcome.answer);
    let mesher = outcome.siege.mesher();
    assert_eq!(mesher.metric("mesher_upstream_http2_calmed_total"), 1);
    mesher.wait_for_output(&format!("its peer was told to calm down peer={}", outcome.service));
}

#[track_caller]
fn flood(frame: impl Fn(u32, u32) -> Frame + Clone + Send + Sync + 'static) {
    flood_behind(|_| Vec::new(), frame);
}

/// The head of an answer that goes on.
fn head(stream: u32) -> Frame {
    Frame::head(stream, &Block::default().field(":status", "200"))
}

/// The head of an interim answer.
fn interim(stream: u32, block: &Block) -> Frame {
    Frame::head(stream, block)
}

fn hints() -> Block {
    Block::default().field(":status", "103")
}

#[test]
fn pings_without_end_are_told_to_calm_down() {
    flood(|_, number| Frame::ping(number.into()));
}

#[test]
fn answers_to_pings_that_nobody_sent_are_told_to_calm_down() {
    flood(|_, number| Frame::ping(number.into()).with(flag::ACK));
}

#[test]
fn settings_without_end_are_told_to_calm_down() {
    flood(|_, number| Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, number % 2)]));
}

#[test]
fn settings_by_the_thousand_in_a_frame_are_told_to_calm_down() {
    let settings = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1); PAYLOAD_BYTES / 6]);
    flood(move |_, _| settings.clone());
}

#[test]
fn window_updates_without_end_are_told_to_calm_down() {
    flood(|_, _| Frame::window_update(0, 1));
}

#[test]
fn window_updates_of_a_stream_that_waits_are_told_to_calm_down() {
    flood(|stream, _| Frame::window_update(stream, 1));
}

#[test]
fn priorities_without_end_are_told_to_calm_down() {
    flood(|stream, _| Frame::priority(stream, 0));
}

#[test]
fn frames_of_unknown_types_without_end_are_told_to_calm_down() {
    flood(|_, _| Frame::new(0xbb, 0, [0; 8]));
}

#[test]
fn long_frames_of_unknown_types_are_told_to_calm_down() {
    let frame = Frame::new(0xbb, 0, [0; PAYLOAD_BYTES]);
    flood(move |_, _| frame.clone());
}

#[test]
fn data_without_content_is_told_to_calm_down() {
    flood_behind(|stream| vec![head(stream)], |stream, _| Frame::data(stream, []));
}

#[test]
fn resets_of_a_stream_that_is_over_are_told_to_calm_down() {
    flood_behind(
        |stream| vec![head(stream), Frame::reset(stream, error::CANCEL)],
        |stream, _| Frame::reset(stream, error::CANCEL),
    );
}

#[test]
fn interim_answers_without_end_are_told_to_calm_down() {
    flood(|stream, _| interim(stream, &hints()));
}

/// Each of them becomes 1,900 fields.
#[test]
fn interim_answers_that_grow_when_they_are_read_are_told_to_calm_down() {
    let first = hints().remembered("a", "");
    let block = (0..1_800).fold(hints(), |block, _| block.indexed(62));
    flood_behind(move |stream| vec![interim(stream, &first)], move |stream, _| interim(stream, &block));
}

#[test]
fn a_header_block_that_never_ends_is_told_to_calm_down() {
    let field = Block::default().field("x-more", "x".repeat(PAYLOAD_BYTES - 12));
    for piece in [field.bytes().to_vec(), Vec::new()] {
        let outcome = attack(
            |stream| vec![Frame::new(kind::HEADERS, stream, hints().bytes())],
            move |stream| {
                let more = Frame::new(kind::CONTINUATION, stream, piece.clone()).bytes();
                Box::new(std::iter::repeat(more))
            },
        );
        assert_eq!(outcome.said.goaway, Some(error::ENHANCE_YOUR_CALM));
        assert_eq!(outcome.siege.mesher().metric("mesher_upstream_http2_calmed_total"), 1);
        assert!(matches!(outcome.answer, Answer::Response(502 | 503, _)), "{:?}", outcome.answer);
    }
}

#[test]
fn an_answer_that_grows_when_it_is_read_is_refused() {
    let block = Block::default().field(":status", "200").remembered("x-bomb", "x".repeat(4_000));
    let block = (0..12_000).fold(block, |block, _| block.indexed(62));
    let outcome = attack(
        move |stream| vec![interim(stream, &block)],
        |stream| Box::new(std::iter::once(Frame::goaway(stream, error::NO_ERROR).bytes())),
    );
    assert!(matches!(outcome.answer, Answer::Response(502 | 503, _)), "{:?}", outcome.answer);
}

/// To clients that take none of it.
#[test]
fn data_in_pieces_of_a_byte_is_not_kept_without_end() {
    const REQUESTS: u32 = 100;
    let (tell, told) = channel();
    let rogue = Rogue::start(move |attacker, _| {
        attacker.send(Frame::settings(&[]).bytes());
        let asked: Vec<u32> = (0..REQUESTS as usize).filter_map(|number| attacker.request(number)).collect();
        attacker.flood(asked.iter().map(|stream| head(*stream).bytes()));
        // Within the windows that every stream has.
        attacker
            .flood((0..60_000).flat_map(|_| asked.iter().map(|stream| Frame::data(*stream, "x").bytes())));
        let _ = tell.send(());
        attacker.wait_for_end();
    });
    let siege = Siege::calling(rogue.address(), "grpc");
    siege.attack(|address| {
        let client = Attacker::connect(address);
        client.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]).bytes());
        client.flood(streams(REQUESTS).map(|stream| Frame::request(stream, &once()).bytes()));
        told.recv_timeout(PATIENCE).expect("the attack does not end");
    });
}

#[test]
fn pings_whose_answers_nobody_reads_come_to_an_end() {
    let (tell, told) = channel();
    let rogue = Rogue::stalled(move |attacker| {
        attacker.send(Frame::settings(&[]).bytes());
        let _ = tell.send(attacker.flood((0..).map(|number| Frame::ping(number).bytes())));
    });
    let siege = Siege::calling(rogue.address(), "grpc");
    let (answer, flood) = siege.attack(|address| {
        let answer = Client::connect(address).ask(&once());
        (answer, told.recv_timeout(PATIENCE).expect("the attack does not end"))
    });
    assert_stopped(flood, siege.mesher().metric("mesher_upstream_http2_calmed_total"));
    assert!(matches!(answer, Answer::Response(503, _)), "{answer:?}");
}
