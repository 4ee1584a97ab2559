//! Services that break the protocol, or off: the client gets a failure or a broken connection, never a whole response
//! that was none, and never a byte of one response in another.

use std::sync::atomic::{AtomicU64, Ordering};

use mesher::net::Driver;

use super::super::support::client::Client;
use super::super::support::hand::Hand;
use super::super::support::mesh::{caller, on_both_drivers};
use super::super::support::origin::{Origin, Reply, Seen};
use super::super::support::process::Mesher;

const GET: &str = "GET http://orders/fault HTTP/1.1\r\nHost: orders\r\n\r\n";
/// Stands in everything that no client may ever see.
const POISON: &str = "POISON";

/// Answers `/fault` as told, everything else with its own target.
fn faulty(fault: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Origin {
    Origin::start(move |seen| match seen.request.target.as_str() {
        "/fault" => fault(seen),
        target => Reply::ok(target),
    })
}

/// What a client gets for `/fault`: the response if it is whole, else what is wrong with it.
fn outcome(mesher: &Mesher, method: &str) -> Result<(u16, Vec<u8>), String> {
    let mut client = mesher.connect();
    client.send(GET.replace("GET", method));
    let response = client.try_read_response_to(method)?;
    if response.header("x-mesher-error").is_some() {
        return Ok((response.status, Vec::new()));
    }
    // The same connection goes on, or ends; it does not bring what nobody asked for.
    if client.try_send("GET http://orders/after HTTP/1.1\r\nHost: orders\r\n\r\n").is_ok() {
        match client.try_read_response_to("GET") {
            Ok(next) => assert_eq!(next.text(), "/after"),
            Err(error) => assert!(
                error.contains("stream ended before") || error.contains("no response head"),
                "{error}"
            ),
        }
    }
    Ok((response.status, response.body))
}

/// Requests after a fault get their own answers, on connections new and old.
#[track_caller]
fn goes_on(mesher: &Mesher) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut old: Client = mesher.connect();
    for _ in 0..4 {
        let target = format!("/canary/{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        assert_eq!(old.get("orders", &format!("http://orders{target}")).text(), target);
        assert_eq!(mesher.connect().get("orders", &format!("http://orders{target}")).text(), target);
    }
}

fn with(driver: Driver, fault: impl Fn(&Seen) -> Reply + Send + Sync + 'static, look: impl Fn(&Mesher)) {
    let origin = faulty(fault);
    let mesher = caller(driver, &[("orders", &[origin.address()])]);
    look(&mesher);
    goes_on(&mesher);
}

#[test]
fn a_malformed_response_is_502() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(20_000));
    let flood = format!(
        "{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{POISON}",
        "HTTP/1.1 102 Processing\r\n\r\n".repeat(5000)
    );
    let malformed = [
        "what is this\r\n\r\nPOISON",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "HTTP/1.1 99 Low\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1 1000 High\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1 abc Odd\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/2.0 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1  200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\nPOISON!",
        "HTTP/1.1 200 OK\r\nContent-Length: -6\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nContent-Length: 6, 7\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nX Space: a\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 6\r\n\r\nPOISON",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: poison\r\n\r\nPOISON",
        &long,
        &many,
        &flood,
    ];
    let malformed: Vec<String> = malformed.into_iter().map(str::to_owned).collect();
    on_both_drivers(|driver| {
        let served = malformed.clone();
        let next = AtomicU64::new(0);
        let origin = faulty(move |_| {
            let at = next.fetch_add(1, Ordering::SeqCst) as usize;
            Reply::default().send(&served[at % served.len()])
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        for case in &malformed {
            let (status, _) =
                outcome(&mesher, "GET").unwrap_or_else(|e| panic!("{:.60}: {e}", case.escape_debug()));
            assert_eq!(status, 502, "{:.80}", case.escape_debug());
            goes_on(&mesher);
        }
    });
}

#[test]
fn a_response_that_breaks_off_is_never_taken_for_a_whole_one() {
    let broken = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\nPOISON",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-6\r\nPOISON",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfPOISON\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0000000000000000000000000000000000000006\r\nPOISON",
    ];
    on_both_drivers(|driver| {
        for reset in [false, true] {
            let next = AtomicU64::new(0);
            let origin = faulty(move |_| {
                let at = next.fetch_add(1, Ordering::SeqCst) as usize;
                let reply = Reply::default().send(broken[at % broken.len()]);
                if reset { reply.reset() } else { reply.close() }
            });
            let mesher = caller(driver, &[("orders", &[origin.address()])]);
            for case in broken {
                match outcome(&mesher, "GET") {
                    Err(_) => {}
                    Ok((status, body)) => {
                        assert!(status >= 500 && body.is_empty(), "{case:?}: got {status} {body:?}");
                    }
                }
                goes_on(&mesher);
            }
        }
    });
}

#[test]
fn a_connection_that_is_reset_instead_of_an_answer_is_503() {
    on_both_drivers(|driver| {
        with(
            driver,
            |_| Reply::default().reset(),
            |mesher| {
                assert_eq!(outcome(mesher, "POST").unwrap().0, 503);
                assert_eq!(outcome(mesher, "GET").unwrap().0, 503);
            },
        );
        with(
            driver,
            |_| Reply::default().send("HTTP/1.1 200 OK\r\nX-Half").close(),
            |mesher| {
                assert_eq!(outcome(mesher, "GET").unwrap().0, 502);
            },
        );
    });
}

#[test]
fn what_follows_a_whole_response_belongs_to_nobody() {
    let surplus = [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ];
    on_both_drivers(|driver| {
        for (method, whole) in surplus {
            for behind in ["POISON", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"] {
                with(
                    driver,
                    move |_| Reply::default().send(format!("{whole}{behind}")),
                    |mesher| {
                        let (status, body) = outcome(mesher, method).unwrap();
                        assert!(
                            status < 400 && !body.starts_with(POISON.as_bytes()),
                            "{whole:?}: {status} {body:?}"
                        );
                    },
                );
            }
        }
    });
}

#[test]
fn bytes_that_come_unasked_on_an_idle_connection_belong_to_nobody() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.read_response().text(), "ok");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON");
        client.send(GET);
        // Mesher saw the bytes while the connection was idle and lets go of it, or found them too early for an answer.
        let mut other = service.accept();
        other.read_head_text();
        other.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine");
        assert_eq!(client.read_response().text(), "mine");
    });
}

#[test]
fn a_response_in_single_bytes_is_one_response() {
    on_both_drivers(|driver| {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nT: x\r\n\r\n";
        let bytes = move |_: &Seen| text.bytes().fold(Reply::default(), |reply, byte| reply.send([byte]));
        with(driver, bytes, |mesher| {
            let mut client = mesher.connect();
            client.send(GET);
            assert_eq!(client.read_response().status, 100);
            assert_eq!(client.read_response().text(), "onetwo");
        });
    });
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 3000000\r\n\r\n");
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop");
        drop(peer);
        // The client notices only when all is sent.
        for _ in 0..30 {
            client.send([b'x'; 100_000]);
        }
        let response = client.read_response();
        assert_eq!((response.status, response.text()), (413, "stop"));
    });
}
