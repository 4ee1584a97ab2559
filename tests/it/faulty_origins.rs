//! Origins that break the rules, and what their clients see of it: the right answer, a clear error, or a response that
//! is visibly cut short, but never a byte of a response that is not theirs.
//!
//! Each fault is asked for once; then four canaries go to the same origin, over whatever connections the fault has left
//! behind.

mod bench;
mod table;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use bench::{Bench, CLOSE, Fault, POISON, Sees, ask, head, origin, says_close};

use crate::support::conf::Conf;
use crate::support::origin::Gate;
use crate::support::process::Start;
use crate::support::server::Server;
use crate::support::wait::PATIENCE;
use crate::support::wire::Request;

/// Asks for every fault of the table, all at once.
fn play_faults(conf: impl FnOnce(Conf) -> Conf) {
    let (bench, asks) = Bench::start(table::faults(), conf);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = asks
            .iter()
            .map(|(name, method, sees)| (name, scope.spawn(|| ask(&bench, name, method, *sees))))
            .collect();
        asked
            .into_iter()
            .filter_map(|(name, asked)| asked.join().unwrap().err().map(|why| format!("{name}: {why}")))
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!bench.mesher.output().contains("panicked"), "{}", bench.mesher.output());
}

#[test]
fn a_broken_response_is_told_to_its_client_and_to_nobody_else() {
    play_faults(|conf| conf);
}

#[test]
fn a_broken_response_is_told_to_its_client_alone_on_the_other_driver_too() {
    play_faults(|conf| conf.set("mesher.yaml", "net.driver", "epoll"));
}

#[test]
fn an_origin_that_closes_after_each_answer_it_promised_to_go_on_after_fails_no_request() {
    let promising = |mut stream: &TcpStream, _: &Request| {
        stream.write_all(head("Content-Length: 2\r\n", "ok").as_bytes()).is_ok() && CLOSE
    };
    let bench = Bench::of("closing", promising);
    let mut client = bench.mesher.connect();
    for _ in 0..100 {
        assert_eq!(client.get("closing", "/fault").text(), "ok");
    }
    bench.canaries("closing", Some(client)).unwrap();
}

#[test]
fn an_origin_that_closes_just_when_the_next_request_arrives_fails_none_that_is_safe_to_repeat() {
    // The latest moment there is: the request has arrived, unread.
    let closing_late = |mut stream: &TcpStream, _: &Request| {
        let sent = stream.write_all(head("Content-Length: 2\r\n", "ok").as_bytes());
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.peek(&mut [0]);
        sent.is_ok() && CLOSE
    };
    let bench = Bench::of("closing", closing_late);
    let mut client = bench.mesher.connect();
    for _ in 0..100 {
        assert_eq!(client.get("closing", "/fault").text(), "ok");
    }
    bench.canaries("closing", Some(client)).unwrap();
}

#[test]
fn what_an_idle_connection_is_sent_is_given_to_nobody() {
    // What follows an answer unasked: at once, and once the client has the answer.
    for is_late in [false, true] {
        let (gate, sent) = (Gate::default(), Gate::default());
        let (held, done) = (gate.clone(), sent.clone());
        let unasked = move |mut stream: &TcpStream, _: &Request| {
            let answered = stream.write_all(head("Content-Length: 2\r\n", "ok").as_bytes()).is_ok();
            if is_late {
                held.pass();
            }
            let poisoned = stream.write_all(POISON.as_bytes()).is_ok();
            done.open();
            answered && poisoned
        };
        let bench = Bench::of("unasked", unasked);
        let mut client = bench.mesher.connect();
        assert_eq!(client.get("unasked", "/fault").text(), "ok");
        gate.open();
        sent.pass();
        bench.canaries("unasked", Some(client)).unwrap();
    }
}

#[test]
fn a_body_that_a_response_must_not_have_is_given_to_nobody_even_if_it_comes_late() {
    for (status, method) in [("204 No Content", "GET"), ("304 Not Modified", "GET"), ("200 OK", "HEAD")] {
        let (gate, sent) = (Gate::default(), Gate::default());
        let (held, done) = (gate.clone(), sent.clone());
        let hiding = move |mut stream: &TcpStream, _: &Request| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", POISON.len());
            let answered = stream.write_all(head.as_bytes()).is_ok();
            held.pass();
            let poisoned = stream.write_all(POISON.as_bytes()).is_ok();
            done.open();
            answered && poisoned
        };
        let bench = Bench::of("hiding", hiding);
        let mut client = bench.mesher.connect();
        client.send(format!("{method} /fault HTTP/1.1\r\nHost: hiding\r\n\r\n"));
        assert_eq!(client.read_response_to(method).status.to_string(), status[..3]);
        gate.open();
        sent.pass();
        bench.canaries("hiding", Some(client)).unwrap();
    }
}

#[test]
fn a_response_in_single_bytes_is_one_response() {
    let drop_by_drop = |mut stream: &TcpStream, _: &Request| {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\none\r\n3\r\ntwo\r\n0\r\nT: x\r\n\r\n";
        let _ = stream.set_nodelay(true);
        text.bytes().all(|byte| stream.write_all(&[byte]).is_ok())
    };
    let bench = Bench::of("drops", drop_by_drop);
    let mut client = bench.mesher.connect();
    client.send("GET /fault HTTP/1.1\r\nHost: drops\r\n\r\n");
    assert_eq!(client.read_response().status, 100);
    let response = client.read_response();
    assert_eq!((response.text(), response.trailers.len()), ("onetwo", 1));
    bench.canaries("drops", Some(client)).unwrap();
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    // The first fits into the buffers of the kernel, the second into none.
    const SIZES: [usize; 2] = [3 << 20, 64 << 20];
    // Answers at the head, and closes without having read the body.
    let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), |mut stream, _| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        let _ = stream.write_all(refusal.as_bytes());
    });
    let addresses = [server.address()];
    let canary = origin("canary", Box::new(|_, _| CLOSE));
    let canaries = [canary.address()];
    let conf = Conf::sidecar("caller").services(&[("strict", &addresses), ("canary", &canaries)]);
    let bench = Bench { mesher: Start::new(conf).ready(), origins: vec![server, canary] };
    for size in SIZES.into_iter().cycle().take(10) {
        let mut client = bench.mesher.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: strict\r\nContent-Length: {size}\r\n\r\n"));
        // What is not taken after the refusal is no matter.
        let is_sent = client.try_send(vec![b'x'; size]).is_ok();
        let response = client.read_response();
        assert_eq!((response.status, response.text()), (413, "big"));
        // Else what is left of the body would be taken for a request.
        assert!(says_close(&response) || size == SIZES[0] && is_sent, "{response:?}");
        bench.canaries("canary", (!says_close(&response)).then_some(client)).unwrap();
    }
}

#[test]
fn an_origin_that_never_answers_is_given_up_when_its_time_is_over() {
    let hanging = |stream: &TcpStream, _: &Request| {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.peek(&mut [0]);
        CLOSE
    };
    let fault = Fault { name: "hang", method: "GET", sees: Sees::Error(504, "UT"), act: Box::new(hanging) };
    let conf =
        |conf: Conf| conf.set("chassis.yaml", "cse.isolation.Consumer.hang.timeoutInMilliseconds", 200);
    let (bench, asks) = Bench::start(vec![fault], conf);
    for (name, method, sees) in asks {
        ask(&bench, name, method, sees).unwrap();
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_away_from_the_origin() {
    let (left, asked) = (Gate::default(), Gate::default());
    let (seen_left, seen_asked) = (left.clone(), asked.clone());
    let waiting = move |mut stream: &TcpStream, _: &Request| {
        seen_asked.open();
        let _ = stream.set_read_timeout(Some(PATIENCE));
        // The end or a reset, either tells that nobody waits any more.
        if stream.read(&mut [0]).map_or(true, |read| read == 0) {
            seen_left.open();
        }
        CLOSE
    };
    let bench = Bench::of("slow", waiting);
    let mut client = bench.mesher.connect();
    client.send("GET /fault HTTP/1.1\r\nHost: slow\r\n\r\n");
    asked.pass();
    drop(client);
    left.pass();
    bench.canaries("slow", None).unwrap();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_response_stops_the_origin() {
    let stopped = Gate::default();
    let seen_stopped = stopped.clone();
    let endless = move |mut stream: &TcpStream, _: &Request| {
        let piece = [b'x'; 64 * 1024];
        let mut sent =
            stream.write_all(head(&format!("Content-Length: {}\r\n", u64::MAX >> 1), "").as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(&piece);
        }
        seen_stopped.open();
        CLOSE
    };
    let bench = Bench::of("endless", endless);
    let mut client = bench.mesher.connect();
    client.send("GET /fault HTTP/1.1\r\nHost: endless\r\n\r\n");
    client.read_through(b"\r\n\r\nxxx");
    drop(client);
    stopped.pass();
    bench.canaries("endless", None).unwrap();
}
