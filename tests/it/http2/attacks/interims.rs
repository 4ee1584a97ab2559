//! Interim answers without end, to clients that do not read: whatever either side speaks, mesher keeps next to nothing
//! of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::super::super::support::wait::PATIENCE;
use super::super::attacker::Attacker;
use super::super::client::{Answer, Client};
use super::super::frame::{Frame, long_block};
use super::super::hpack::Block;
use super::super::rogue::Rogue;
use super::super::siege::{ROGUE, Siege};
use super::streams;

/// Requests that are asked at a time, and not read.
const REQUESTS: u32 = 50;
/// Interim answers to each.
const INTERIMS: usize = 200;
/// What the heads of an interim answer say beside its status, as bytes: as much as so many may have, and almost as much as a
/// head may have.
const HEADS_BYTES: [usize; 2] = [150, 60 * 1024];
/// How long a service may not be read until it gives up.
const BLOCKED_AFTER: Duration = Duration::from_millis(500);

/// A service that says nothing but hints, with heads of so many bytes, and tells of each request once it has sent them or
/// was not let.
type Service = fn(usize) -> (Rogue, Receiver<()>);

/// One of HTTP/1.
fn of_http1(head_bytes: usize) -> (Rogue, Receiver<()>) {
    let (tell, told) = channel();
    let hints = format!("HTTP/1.1 103 Early Hints\r\nx-hint: {}\r\n\r\n", "x".repeat(head_bytes));
    let rogue = Rogue::serve(move |mut socket: TcpStream, _| {
        let mut request = BufReader::new(socket.try_clone().expect("a second handle")).lines();
        while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        socket.set_write_timeout(Some(BLOCKED_AFTER)).expect("not a TCP connection");
        let _ = (0..INTERIMS).try_for_each(|_| socket.write_all(hints.as_bytes()));
        let _ = tell.send(());
        let _ = socket.read(&mut [0]);
    });
    (rogue, told)
}

/// One of HTTP/2, that begins when all requests have come.
fn of_http2(head_bytes: usize) -> (Rogue, Receiver<()>) {
    let (tell, told) = channel();
    let rogue = Rogue::start(move |attacker, _| {
        attacker.send(Frame::settings(&[]).bytes());
        let asked: Vec<u32> = (0..REQUESTS as usize).filter_map(|number| attacker.request(number)).collect();
        let block = Block::default().field(":status", "103").field("x-hint", "x".repeat(head_bytes));
        attacker.flood((0..INTERIMS).flat_map(|_| asked.iter().map(|stream| long_block(*stream, &block, 0))));
        for _ in asked {
            let _ = tell.send(());
        }
        attacker.wait_for_end();
    });
    (rogue, told)
}

/// Clients of HTTP/1 that ask and do not read.
fn by_http1(address: SocketAddr) -> Vec<Attacker> {
    let ask = format!("GET http://{ROGUE}/ HTTP/1.1\r\nHost: {ROGUE}\r\n\r\n");
    let clients = (0..REQUESTS).map(|_| Attacker::deaf(TcpStream::connect(address).expect("a connection")));
    clients.inspect(|client| client.send(&ask)).collect()
}

/// One of HTTP/2.
fn by_http2(address: SocketAddr) -> Vec<Attacker> {
    let client = Attacker::stalled(address);
    let block = Block::request_of(ROGUE, "GET");
    client.flood(streams(REQUESTS).map(|stream| Frame::request(stream, &block).bytes()));
    vec![client]
}

#[track_caller]
fn besiege(scheme: &str, service: Service, ask: fn(SocketAddr) -> Vec<Attacker>) {
    for head_bytes in HEADS_BYTES {
        let (rogue, told) = service(head_bytes);
        let siege = Siege::calling(rogue.address(), scheme);
        siege.attack(|address| {
            let clients = ask(address);
            for _ in 0..REQUESTS {
                told.recv_timeout(PATIENCE).expect("a service is let go on for ever");
            }
            drop(clients);
        });
    }
}

#[test]
fn from_http1_to_http1() {
    besiege("rest", of_http1, by_http1);
}

#[test]
fn from_http1_to_http2() {
    besiege("rest", of_http1, by_http2);
}

#[test]
fn from_http2_to_http1() {
    besiege("grpc", of_http2, by_http1);
}

#[test]
fn from_http2_to_http2() {
    besiege("grpc", of_http2, by_http2);
}

/// A service of HTTP/2 that does not wait for others.
fn hinting(head_bytes: usize) -> Rogue {
    Rogue::start(move |attacker, _| {
        attacker.send(Frame::settings(&[]).bytes());
        let block = Block::default().field(":status", "103").field("x-hint", "x".repeat(head_bytes));
        for number in 0.. {
            let Some(stream) = attacker.request(number) else { return };
            attacker.flood((0..INTERIMS).map(|_| long_block(stream, &block, 0)));
        }
    })
}

#[test]
fn a_client_that_reads_is_told_what_is_wrong() {
    for head_bytes in HEADS_BYTES {
        let rogues = [("rest", of_http1(head_bytes).0), ("grpc", hinting(head_bytes))];
        for (scheme, rogue) in rogues {
            let siege = Siege::calling(rogue.address(), scheme);
            let mut client = siege.mesher().connect();
            client.send(format!("GET http://{ROGUE}/ HTTP/1.1\r\nHost: {ROGUE}\r\n\r\n"));
            let answer =
                std::iter::repeat_with(|| client.read_response()).find(|answer| answer.status >= 200);
            let answer = answer.expect("an answer");
            let why = answer.header("x-mesher-error").unwrap_or_default();
            assert!(answer.status == 502 && why.contains("interim"), "{scheme}: {} {why}", answer.status);
            let answer = Client::connect(siege.address()).ask(&Block::request_of(ROGUE, "GET"));
            assert!(matches!(answer, Answer::Response(502, _)), "{scheme}: {answer:?}");
        }
    }
}
