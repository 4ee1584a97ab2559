//! Origins that break the rules, and what their clients see of it: the right answer, a clear error, or a response that
//! is visibly cut short, but never a byte of a response that is not theirs.
//!
//! Each fault is asked for once; then four canaries go to the same origin, over whatever connections the fault has left
//! behind.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::support::client::{Client, Response};
use crate::support::conf::Conf;
use crate::support::origin::Gate;
use crate::support::process::{Mesher, Start};
use crate::support::server::{Server, reset_at_end};
use crate::support::wait::PATIENCE;
use crate::support::wire::{Request, read_request};

/// Stands in every byte that must not be seen.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Poison: yes\r\n\r\npoison";

/// What the origin does with a request that asks for the fault. True: its connection goes on.
type Act = dyn Fn(&TcpStream, &Request) -> bool + Send + Sync;

/// What the client is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// The origin's response: status and body.
    Response(u16, &'static str),
    /// Mesher's own reply with this status and flag.
    Error(u16, &'static str),
    /// The beginning of a response that does not end in order.
    Cut,
}

struct Fault {
    name: &'static str,
    method: &'static str,
    sees: Sees,
    act: Box<Act>,
}

/// The origin then closes in order.
const CLOSE: bool = false;
/// The origin then waits for the next request.
const KEEP: bool = true;

fn fault(name: &'static str, sees: Sees, bytes: impl Into<String>, keeps: bool) -> Fault {
    fault_to("GET", name, sees, bytes, keeps)
}

/// A fault that is the same bytes whatever comes.
fn fault_to(
    method: &'static str,
    name: &'static str,
    sees: Sees,
    bytes: impl Into<String>,
    keeps: bool,
) -> Fault {
    let bytes = bytes.into();
    let act = move |mut stream: &TcpStream, _: &Request| stream.write_all(bytes.as_bytes()).is_ok() && keeps;
    Fault { name, method, sees, act: Box::new(act) }
}

/// The same, ended by a reset.
fn resetting(name: &'static str, sees: Sees, bytes: &'static str) -> Fault {
    let act = move |mut stream: &TcpStream, _: &Request| {
        let _ = stream.write_all(bytes.as_bytes());
        reset_at_end(stream).unwrap();
        CLOSE
    };
    Fault { name, method: "GET", sees, act: Box::new(act) }
}

fn head(lines: &str, behind: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n{behind}")
}

fn chunked(body: &str) -> String {
    head("Transfer-Encoding: chunked\r\n", body)
}

/// The faults that are bytes, and how they end.
fn faults() -> Vec<Fault> {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const BAD: Sees = Sees::Error(502, "UPE");
    const CLOSED: Sees = Sees::Error(503, "UC");
    const BROKEN: Sees = Sees::Error(502, "UR");
    vec![
        fault("close-before-answer", CLOSED, "", CLOSE),
        resetting("reset-before-answer", CLOSED, ""),
        fault("head-cut-short", BROKEN, "HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
        resetting("head-reset", BROKEN, "HTTP/1.1 200 OK\r\nContent-Le"),
        fault("garbage", BAD, "\u{1}\u{2}garbage without an end", KEEP),
        fault("no-status-line", BAD, "hello", CLOSE),
        fault("status-99", BAD, "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("status-1000", BAD, "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("version-2", BAD, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("version-lower-case", BAD, "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP),
        fault("length-short", Sees::Cut, head("Content-Length: 100\r\n", "ten bytes!"), CLOSE),
        resetting("length-reset", Sees::Cut, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes!"),
        fault("length-long", Sees::Response(200, "ok"), OK.to_owned() + POISON, KEEP),
        fault("length-twice", BAD, head("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("length-twice-differing", BAD, head("Content-Length: 2\r\nContent-Length: 9\r\n", "ok"), KEEP),
        fault("length-negative", BAD, head("Content-Length: -1\r\n", "ok"), KEEP),
        fault("length-too-large", BAD, head("Content-Length: 99999999999999999999\r\n", "ok"), KEEP),
        fault("chunk-bad", BAD, chunked("zz\r\nok\r\n0\r\n\r\n"), KEEP),
        fault("chunk-cut-short", Sees::Cut, chunked("64\r\nok"), CLOSE),
        fault("chunk-without-last", Sees::Cut, chunked("2\r\nok\r\n"), CLOSE),
        fault("chunk-negative", BAD, chunked("-2\r\nok\r\n0\r\n\r\n"), KEEP),
        fault("chunk-40-digits", BAD, chunked(&format!("{}\r\nok\r\n0\r\n\r\n", "f".repeat(40))), KEEP),
        fault("chunk-spills", BAD, chunked("2\r\nok!\r\n0\r\n\r\n"), KEEP),
        fault(
            "chunked-beside-length",
            BAD,
            head("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "2\r\nok\r\n0\r\n\r\n"),
            KEEP,
        ),
        fault("coding-unknown", BAD, head("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), KEEP),
        fault("coding-not-chunked", BAD, head("Transfer-Encoding: identity\r\n", "ok"), CLOSE),
        fault("interim-100", Sees::Response(200, "ok"), format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"), KEEP),
        fault(
            "interim-103",
            Sees::Response(200, "ok"),
            format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{OK}"),
            KEEP,
        ),
        fault("interim-flood", BAD, "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5000) + OK, KEEP),
        fault(
            "101-unasked",
            BAD,
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n{POISON}"),
            KEEP,
        ),
        fault(
            "204-with-body",
            Sees::Response(204, ""),
            format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            KEEP,
        ),
        fault(
            "304-with-body",
            Sees::Response(304, ""),
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len()),
            KEEP,
        ),
        fault_to("HEAD", "head-with-body", Sees::Response(200, ""), format!("{OK}{POISON}"), KEEP),
        fault("header-nul", BAD, head("X: a\0b\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-bare-lf", BAD, head("X: a\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-folded", BAD, head("X: a\r\n b\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-space-in-name", BAD, head("X : a\r\nContent-Length: 2\r\n", "ok"), KEEP),
        fault("header-2-mb", BAD, head(&format!("X: {}\r\n", "x".repeat(2 << 20)), "ok"), KEEP),
        fault("20000-headers", BAD, head(&"X: a\r\n".repeat(20_000), "ok"), KEEP),
        fault("ended-by-close", Sees::Response(200, "all of it"), head("", "all of it"), CLOSE),
        resetting("ended-by-reset", Sees::Cut, "HTTP/1.1 200 OK\r\n\r\nnot all of it"),
    ]
}

/// A mesher in front of some origins, one a fault, each a service of that name.
struct Bench {
    mesher: Mesher,
    /// Closed with the bench.
    #[expect(dead_code, reason = "kept for their drop")]
    origins: Vec<Server>,
}

impl Bench {
    fn start(
        faults: Vec<Fault>,
        conf: impl FnOnce(Conf) -> Conf,
    ) -> (Self, Vec<(&'static str, &'static str, Sees)>) {
        let asks = faults.iter().map(|fault| (fault.name, fault.method, fault.sees)).collect();
        let names: Vec<&'static str> = faults.iter().map(|fault| fault.name).collect();
        let origins: Vec<Server> = faults.into_iter().map(|fault| origin(fault.name, fault.act)).collect();
        let addresses: Vec<[SocketAddr; 1]> = origins.iter().map(|origin| [origin.address()]).collect();
        let services: Vec<(&str, &[SocketAddr])> =
            names.iter().zip(&addresses).map(|(name, address)| (*name, address.as_slice())).collect();
        let mesher = Start::new(conf(Conf::sidecar("caller")).services(&services)).ready();
        (Self { mesher, origins }, asks)
    }

    /// One origin that does this.
    fn of(name: &'static str, act: impl Fn(&TcpStream, &Request) -> bool + Send + Sync + 'static) -> Self {
        let fault = Fault { name, method: "GET", sees: Sees::Cut, act: Box::new(act) };
        Self::start(vec![fault], |conf| conf).0
    }

    /// Four sound requests, each to be given its own answer; the first two on `client` if it is still good.
    fn canaries(&self, name: &str, client: Option<Client>) -> Result<(), String> {
        let mut client = client;
        for number in 0..4 {
            if number == 2 {
                client = None;
            }
            let mut connection = client.take().unwrap_or_else(|| self.mesher.connect());
            let target = format!("/canary-{number}");
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            let response =
                connection.try_read_response_to("GET").map_err(|e| format!("canary {number}: {e}"))?;
            let is_own = response.status == 200 && response.text() == format!("{name}{target}");
            if !is_own || response.header("x-poison").is_some() {
                return Err(format!("canary {number} got {response:?}"));
            }
            client = Some(connection);
        }
        Ok(())
    }
}

/// Answers canaries as it should, and everything else by `act`.
fn origin(name: &'static str, act: Box<Act>) -> Server {
    Server::start((Ipv4Addr::LOCALHOST, 0).into(), move |mut stream, _| {
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = read_request(&mut reader) {
            let goes_on = if request.target.starts_with("/canary") {
                let body = format!("{name}{}", request.target);
                let answer = head(&format!("Content-Length: {}\r\n", body.len()), &body);
                stream.write_all(answer.as_bytes()).is_ok()
            } else {
                act(stream, &request)
            };
            if !goes_on {
                return;
            }
        }
    })
}

/// Asks for a fault and says what is wrong with what came of it, if anything.
fn ask(bench: &Bench, name: &str, method: &str, sees: Sees) -> Result<(), String> {
    let mut client = bench.mesher.connect();
    client.send(format!("{method} /fault HTTP/1.1\r\nHost: {name}\r\n\r\n"));
    let response = final_response(&mut client, method);
    let keeps = match (&sees, &response) {
        (Sees::Response(status, body), Ok(response)) => {
            let is_it = response.status == *status && response.body == body.as_bytes();
            is_it.then(|| !says_close(response)).ok_or(format!("got {response:?}"))?
        }
        (Sees::Error(status, flag), Ok(response)) => {
            let cause = response.header("x-mesher-error").unwrap_or_default();
            let is_it = response.status == *status && cause.starts_with(&format!("{flag};"));
            is_it.then(|| !says_close(response)).ok_or(format!("got {response:?}"))?
        }
        (Sees::Cut, Err(_)) => false,
        (_, got) => return Err(format!("got {got:?} instead of {sees:?}")),
    };
    bench.canaries(name, keeps.then_some(client))
}

fn says_close(response: &Response) -> bool {
    response.header("connection") == Some("close")
}

/// The first response that is no interim one, of which there are few.
fn final_response(client: &mut Client, method: &str) -> Result<Response, String> {
    for _ in 0..100 {
        let response = client.try_read_response_to(method)?;
        if response.status >= 200 {
            return Ok(response);
        }
    }
    Err("a flood of interim responses".into())
}

fn play_faults(conf: impl FnOnce(Conf) -> Conf) {
    let (bench, asks) = Bench::start(faults(), conf);
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
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    // The first fits into the buffers of the kernel, the second into none.
    const SIZES: [usize; 2] = [3 << 20, 64 << 20];
    // Answers at the head, and closes without having read the body.
    let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), |mut stream, _| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if std::io::BufRead::read_line(&mut reader, &mut line).unwrap_or(0) == 0 {
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
