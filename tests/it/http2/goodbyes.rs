//! Services that say goodbye at the wrong moment: what they certainly have not looked at is asked once more, whatever it
//! is, though there is no other instance; and nothing else is.

use std::sync::mpsc::channel;

use super::super::support::client::Response;
use super::super::support::conf::Conf;
use super::super::support::process::{Mesher, Start};
use super::super::support::wait::{PATIENCE, wait_until};
use super::attacker::{Attacker, Said};
use super::client::{Answer, Client};
use super::frame::{Frame, error, flag, setting};
use super::hpack::{AUTHORITY, Block};
use super::rogue::Rogue;

/// A sidecar that calls the only instance there is.
fn calling(rogue: &Rogue) -> Mesher {
    let address = rogue.address();
    let registry =
        format!("services:\n  {AUTHORITY}:\n    - version: 0.0.1\n      endpoints: [\"grpc://{address}\"]\n");
    Start::new(Conf::sidecar("caller").file("registry.yaml", &registry)).ready()
}

/// Answers all that is asked.
fn serve(visitor: &Attacker) {
    visitor.send(Frame::settings(&[]).bytes());
    let mut number = 0;
    while let Some(stream) = visitor.request(number) {
        visitor.send(Frame::answer(stream).bytes());
        number += 1;
    }
}

/// What a request with a small body is answered, by a client of either protocol, if the first connection of each is played
/// by this script and all others serve; and how many connections there were.
#[track_caller]
fn ask_by(method: &str, first: fn(&Attacker)) -> [(u16, usize); 2] {
    let by = |client: fn(&Mesher, &str) -> u16| {
        let rogue =
            Rogue::start(move |visitor, number| if number == 0 { first(&visitor) } else { serve(&visitor) });
        let mesher = calling(&rogue);
        (client(&mesher, method), rogue.connections())
    };
    [by(by_http1), by(by_http2)]
}

/// The same of a request that might do harm twice.
#[track_caller]
fn ask(first: fn(&Attacker)) -> [(u16, usize); 2] {
    ask_by("POST", first)
}

fn by_http1(mesher: &Mesher, method: &str) -> u16 {
    let request = format!(
        "{method} http://{AUTHORITY}/ HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: 4\r\n\r\nbody"
    );
    let Response { status, .. } = mesher.connect().ask(request);
    status
}

fn by_http2(mesher: &Mesher, method: &str) -> u16 {
    let mut client = Client::connect(mesher.conf().outgoing);
    let data = Frame::data(1, "body").with(flag::END_STREAM).bytes();
    client.send([Frame::head(1, &Block::request(method, "/")).bytes(), data].concat());
    match client.answer(1) {
        Answer::Response(status, _) => status,
        other => panic!("{other:?}"),
    }
}

fn greet(visitor: &Attacker) {
    visitor.send(Frame::settings(&[]).bytes());
}

fn say_goodbye(visitor: &Attacker) {
    visitor.send(Frame::goaway(0, error::NO_ERROR).bytes());
}

#[test]
fn a_goodbye_with_the_settings_is_followed_by_another_connection() {
    let answers = ask(|visitor| {
        greet(visitor);
        say_goodbye(visitor);
    });
    assert_eq!(answers, [(200, 2); 2]);
}

#[test]
fn a_goodbye_before_the_settings_is_followed_by_another_connection() {
    assert_eq!(ask(say_goodbye), [(200, 2); 2]);
}

#[test]
fn an_end_without_a_word_is_followed_by_another_connection() {
    assert_eq!(ask(|_| ()), [(200, 2); 2]);
}

#[test]
fn an_end_behind_the_settings_is_followed_by_another_connection() {
    // It may come too late to be one of the set-up: who knows then whether the request has run.
    assert_eq!(ask_by("PUT", greet), [(200, 2); 2]);
}

#[test]
fn a_goodbye_that_leaves_a_request_out_has_it_sent_again() {
    let answers = ask(|visitor| {
        greet(visitor);
        visitor.request(0);
        say_goodbye(visitor);
    });
    assert_eq!(answers, [(200, 2); 2]);
}

#[test]
fn goodbyes_of_all_connections_that_share_the_calls_cost_no_request() {
    let rogue = Rogue::start(|visitor, number| {
        if number > 1 {
            return serve(&visitor);
        }
        greet(&visitor);
        visitor.request(0);
        say_goodbye(&visitor);
    });
    let mesher = calling(&rogue);
    assert_eq!((by_http2(&mesher, "POST"), rogue.connections()), (200, 3));
}

#[test]
fn a_goodbye_that_includes_a_request_does_not_have_it_sent_again() {
    let answers = ask(|visitor| {
        greet(visitor);
        visitor.request(0);
        visitor.send(Frame::goaway(1, error::NO_ERROR).bytes());
    });
    assert_eq!(answers, [(503, 1); 2]);
}

#[test]
fn an_end_in_the_middle_of_a_request_that_does_harm_twice_does_not_have_it_sent_again() {
    let answers = ask(|visitor| {
        greet(visitor);
        visitor.request(0);
    });
    assert_eq!(answers, [(503, 1); 2]);
}

#[test]
fn one_who_always_says_goodbye_is_asked_once_and_once_more_for_each_connection_that_shares_calls() {
    for script in [
        |visitor: &Attacker| {
            greet(visitor);
            say_goodbye(visitor);
        },
        |visitor: &Attacker| {
            greet(visitor);
            visitor.request(0);
            say_goodbye(visitor);
        },
    ] {
        let rogue = Rogue::start(move |visitor, _| script(&visitor));
        let mesher = calling(&rogue);
        assert_eq!((by_http1(&mesher, "POST"), rogue.connections()), (503, 3));
        assert_eq!((by_http2(&mesher, "POST"), rogue.connections()), (503, 6));
    }
}

#[test]
fn what_is_gone_of_a_body_is_not_made_up() {
    let (tell, told) = channel();
    let rogue = Rogue::start(move |visitor, number| {
        if number > 0 {
            return serve(&visitor);
        }
        greet(&visitor);
        visitor.request(0);
        for bytes in [4, 8] {
            wait_until("a piece of the body", PATIENCE, || visitor.said().data_bytes == bytes);
            let _ = tell.send(());
        }
        say_goodbye(&visitor);
    });
    let mesher = calling(&rogue);
    let mut client = Client::connect(mesher.conf().outgoing);
    client.send(Frame::head(1, &Block::request("POST", "/")).bytes());
    for piece in ["half", "half"] {
        client.send(Frame::data(1, piece).bytes());
        told.recv_timeout(PATIENCE).expect("it arrives alone");
    }
    assert!(matches!(client.answer(1), Answer::Response(503, _)));
    assert_eq!(rogue.connections(), 1);
}

#[test]
fn an_answer_that_is_whole_comes_through_though_its_service_goes_before_it_has_the_whole_request() {
    let rogue = Rogue::start(|visitor, _| {
        greet(&visitor);
        let Some(stream) = visitor.request(0) else { return };
        let head = Frame::head(stream, &Block::default().field(":status", "200")).bytes();
        let bodies = [
            Frame::data(stream, "no, ").bytes(),
            Frame::data(stream, "thanks").with(flag::END_STREAM).bytes(),
        ];
        visitor.send([head, bodies.concat()].concat());
    });
    let mesher = calling(&rogue);
    let mut client = Client::connect(mesher.conf().outgoing);
    client.send(Frame::head(1, &Block::request("POST", "/")).bytes());
    client.send(Frame::data(1, "half").bytes());
    assert_eq!(client.answer(1), Answer::Response(200, b"no, thanks".to_vec()));
    let mut client = mesher.connect();
    client.send(format!(
        "POST http://{AUTHORITY}/ HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: 9\r\n\r\nhalf"
    ));
    let answer = client.read_response();
    assert_eq!((answer.status, answer.text()), (200, "no, thanks"));
    // Also to one that takes it only when the service has long gone.
    let slow = Attacker::connect(mesher.conf().outgoing);
    slow.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]).bytes());
    slow.send(Frame::head(1, &Block::request("POST", "/")).bytes());
    slow.send(Frame::data(1, "half").bytes());
    wait_until("the head", PATIENCE, || slow.said().statuses.get(&200) == Some(&1));
    mesher.wait_until_upstream_open(0);
    slow.send(Frame::window_update(1, 100).bytes());
    // The request has no end, so the stream is reset behind a whole answer, without an error (RFC 9113 section 8.1).
    wait_until("the end of the stream", PATIENCE, || !slow.said().resets.is_empty());
    let Said { data_bytes, resets, .. } = slow.said();
    assert_eq!((data_bytes, resets), (10, [(error::NO_ERROR, 1)].into()));
}
