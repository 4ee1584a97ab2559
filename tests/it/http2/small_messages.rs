//! Streams of small messages, a frame each, as gRPC sends them: a burden of frames, and no waste. Nobody is cut for them,
//! however many come at once and however long they have to wait.

use super::super::support::wait::{PATIENCE, wait_until};
use super::attacker::{Attacker, Flood};
use super::client::{Answer, Client};
use super::frame::{Frame, error, flag, setting};
use super::hpack::Block;
use super::rogue::Rogue;
use super::siege::{ROGUE, Siege};

/// As small as a message gets: five bytes before it, and as many in it.
const MESSAGE: [u8; 10] = *b"\0\0\0\0\x05small";
/// As many as the window of a stream takes.
const MESSAGES: usize = 6_500;
/// Streams that carry them at a time: ten times what the library keeps such frames for.
const STREAMS: usize = 20;
const BYTES: usize = STREAMS * MESSAGES * MESSAGE.len();
/// Far more memory than the bytes need, and far less than the frames would.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
const WIDE: u32 = 1 << 30;

/// All messages of all streams, in turns, and their ends.
fn messages(streams: &[u32]) -> impl Iterator<Item = Vec<u8>> {
    let ends = streams.iter().map(|stream| Frame::data(*stream, "").with(flag::END_STREAM).bytes());
    let turn: Vec<u8> = streams.iter().flat_map(|stream| Frame::data(*stream, MESSAGE).bytes()).collect();
    std::iter::repeat_n(turn, MESSAGES).chain(ends)
}

/// Opens all windows of what it was sent.
fn widen(party: &Attacker) {
    party.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, WIDE)]).bytes());
    party.send(Frame::window_update(0, WIDE).bytes());
}

/// A service that takes one connection, waits there for all requests and answers them by messages; and the next at once.
fn service() -> Rogue {
    Rogue::start(|connection, number| {
        if number > 0 {
            return;
        }
        connection.send(Frame::settings(&[]).bytes());
        let asked: Vec<u32> = (0..STREAMS).filter_map(|number| connection.request(number)).collect();
        let head = Block::default().field(":status", "200");
        connection.flood(asked.iter().map(|stream| Frame::head(*stream, &head).bytes()));
        connection.flood(messages(&asked));
        if let Some(last) = connection.request(STREAMS) {
            connection.send(Frame::answer(last).bytes());
        }
        connection.wait_for_end();
    })
}

fn ask_for_all(client: &Attacker) {
    let streams = (0..).map(|number| 2 * number + 1).take(STREAMS);
    client.flood(streams.map(|stream| Frame::request(stream, &Block::request_of(ROGUE, "GET")).bytes()));
}

#[track_caller]
fn assert_nobody_was_cut(siege: &Siege) {
    assert_eq!(siege.mesher().metric("mesher_upstream_http2_calmed_total"), 0);
    assert_eq!(siege.calmed(), 0);
}

#[test]
fn a_service_that_sends_them_on_many_streams_at_once_is_heard_to_the_end() {
    let service = service();
    let siege = Siege::calling(service.address(), "grpc");
    let client = Attacker::connect(siege.address());
    widen(&client);
    ask_for_all(&client);
    wait_until("all messages", PATIENCE, || {
        client.said().data_bytes == BYTES || !client.said().resets.is_empty()
    });
    assert_eq!((client.said().data_bytes, client.said().resets.len()), (BYTES, 0));
    assert_nobody_was_cut(&siege);
}

#[test]
fn those_that_a_client_does_not_take_yet_are_kept_as_bytes_and_disturb_no_other_call() {
    let service = service();
    let siege = Siege::calling(service.address(), "grpc");
    let client = Attacker::connect(siege.address());
    client.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]).bytes());
    let before = siege.mesher().anonymous_bytes();
    ask_for_all(&client);
    // Behind them on the same connection.
    let answer = Client::connect(siege.address()).ask(&Block::request_of(ROGUE, "GET"));
    assert_eq!(answer, Answer::Response(200, vec![]));
    let growth = siege.mesher().anonymous_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes of memory");
    widen(&client);
    wait_until("all messages", PATIENCE, || client.said().data_bytes == BYTES);
    assert_nobody_was_cut(&siege);
}

#[test]
fn those_of_calls_that_were_given_up_are_no_harm_to_others() {
    const GIVEN_UP: usize = 3;
    let service = Rogue::start(|connection, number| {
        if number > 0 {
            return;
        }
        connection.send(Frame::settings(&[]).bytes());
        let asked: Vec<u32> = (0..GIVEN_UP).filter_map(|number| connection.request(number)).collect();
        let head = Block::default().field(":status", "200");
        connection.flood(asked.iter().map(|stream| Frame::head(*stream, &head).bytes()));
        wait_until("all calls to be given up", PATIENCE, || {
            connection.said().resets.get(&error::CANCEL) == Some(&GIVEN_UP)
        });
        // As if they had been on their way.
        connection.flood(messages(&asked));
        if let Some(last) = connection.request(GIVEN_UP) {
            connection.send(Frame::answer(last).bytes());
        }
        connection.wait_for_end();
    });
    let siege = Siege::calling(service.address(), "grpc");
    let client = Attacker::connect(siege.address());
    let streams = || (0..).map(|number| 2 * number + 1).take(GIVEN_UP);
    client.flood(streams().map(|stream| Frame::request(stream, &Block::request_of(ROGUE, "GET")).bytes()));
    wait_until("all heads", PATIENCE, || client.said().statuses.get(&200) == Some(&GIVEN_UP));
    client.flood(streams().map(|stream| Frame::reset(stream, error::CANCEL).bytes()));
    let answer = Client::connect(siege.address()).ask(&Block::request_of(ROGUE, "GET"));
    assert_eq!(answer, Answer::Response(200, vec![]));
    assert_nobody_was_cut(&siege);
}

#[test]
fn those_that_a_service_does_not_take_yet_are_kept_as_bytes_and_disturb_no_other_call() {
    let (tell, told) = std::sync::mpsc::channel();
    let service = Rogue::start(move |connection, number| {
        if number > 0 {
            return;
        }
        connection.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]).bytes());
        // It begins to read with the request behind the others.
        if connection.request(STREAMS).is_some() {
            widen(&connection);
            wait_until("all messages", PATIENCE, || connection.said().data_bytes == BYTES);
            let _ = tell.send(());
        }
    });
    let siege = Siege::calling(service.address(), "grpc");
    let client = Attacker::connect(siege.address());
    assert!(client.catch_up(), "its windows are known");
    let before = siege.mesher().anonymous_bytes();
    let streams: Vec<u32> = (0..).map(|number| 2 * number + 1).take(STREAMS).collect();
    let head = Block::request_of(ROGUE, "POST");
    client.flood(streams.iter().map(|stream| Frame::head(*stream, &head).bytes()));
    assert_eq!(client.flood(messages(&streams)), Flood::Taken);
    assert!(client.catch_up(), "{:?}", client.said());
    let growth = siege.mesher().anonymous_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes of memory");
    let last = u32::try_from(2 * STREAMS + 1).expect("a stream");
    client.send(Frame::request(last, &Block::request_of(ROGUE, "GET")).bytes());
    told.recv_timeout(PATIENCE).expect("the service gets all messages");
    assert_nobody_was_cut(&siege);
}
