//! Memory that is short: load is shed and taken on again, and nothing under way is harmed.

use super::support::client::Client;
use super::support::hand::Hand;
use super::support::mesh::{caller_conf, on_both_drivers};
use super::support::origin::Origin;
use super::support::process::{Mesher, Start};
use super::support::wait::{PATIENCE, wait_until};

/// Enough for the program itself, and little enough to be used up by a test.
const LIMIT: u64 = 160 << 20;
/// Most of a head that is never finished; the largest that may be configured.
const BALLAST_BYTES: usize = 1_000_000;
const GET: &str = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";

/// Has mesher hold heads that are not finished until its memory is short.
fn fill(mesher: &Mesher) -> Vec<Client> {
    let (mut ballast, before) = (Vec::new(), mesher.anonymous_bytes());
    wait_until("memory to be short", PATIENCE, || {
        assert!(ballast.len() < 300, "no shortage with {} heads", ballast.len());
        if mesher.metric("mesher_memory_short") == 1 {
            return true;
        }
        // What it has not read is in the kernel, and does not count.
        if mesher.anonymous_bytes() < before + (ballast.len() * BALLAST_BYTES / 2) as u64 {
            return false;
        }
        let mut client = mesher.connect();
        client.send("GET / HTTP/1.1\r\nHost: orders\r\nX: ");
        client.send(vec![b'x'; BALLAST_BYTES]);
        ballast.push(client);
        false
    });
    ballast
}

#[test]
fn short_of_memory_it_refuses_what_is_new_finishes_what_it_has_and_recovers() {
    on_both_drivers(|driver| {
        let (service, stock) = (Hand::listen(), Origin::answering("stock"));
        let services: &[(&str, &[_])] = &[("orders", &[service.address()]), ("stock", &[stock.address()])];
        let conf = caller_conf(driver, services).set("mesher.yaml", "mesher.limit.memoryBytes", LIMIT).set(
            "mesher.yaml",
            "mesher.limit.headBytes",
            1_048_576,
        );
        let mesher = Start::new(conf).ready();
        assert_eq!(mesher.metric("mesher_memory_limit_bytes"), LIMIT);
        let mut idle = mesher.connect();
        assert_eq!(idle.get("stock", "http://stock/").text(), "stock");
        let mut under_way = mesher.connect();
        under_way.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf, ");
        under_way.read_through(b"half, ");
        let mut asked = mesher.connect();
        asked.send(GET);
        let (mut other_peer, _) = service.accept_request();

        let ballast = fill(&mesher);
        mesher.wait_for_output("memory is short");
        mesher.wait_until_upstream_open(2); // those in use; that of the idle client was let go

        let refused = idle.ask(GET);
        let why = refused.header("x-mesher-error").unwrap_or_default();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(why.starts_with("OM; memory is short"), "{why}");
        assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
        assert!(idle.is_ended());
        peer.send("done");
        assert_eq!(under_way.read_through(b"done"), b"done");
        other_peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole");
        let whole = asked.read_response();
        assert_eq!((whole.text(), whole.header("connection")), ("whole", Some("close")));
        let status = mesher.status();
        assert_eq!(status["memory"]["pressure"], "high", "{status}");
        assert_eq!(status["ready"], true, "what passes by itself is no reason to be taken out");

        // One that was waited for already is accepted, and refused; the next waits in the kernel.
        let _first = mesher.connect();
        mesher.wait_for_output("not accepting connections for the moment");
        let mut waiting = mesher.connect();
        waiting.send("GET http://stock/ HTTP/1.1\r\nHost: stock\r\n\r\n");
        drop(ballast);
        mesher.wait_for_output("memory is no longer short");
        assert_eq!(waiting.read_response().text(), "stock", "a client waited and was not refused");
        assert_eq!(mesher.connect().get("stock", "http://stock/").text(), "stock");
        assert_eq!(mesher.metric("mesher_memory_short"), 0);
        assert_eq!(mesher.metric_of("mesher_requests_total", "flag=\"OM\""), 1);
    });
}

#[test]
fn a_limit_that_leaves_no_room_is_named_and_not_enforced() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]).set(
            "mesher.yaml",
            "mesher.limit.memoryBytes",
            1 << 20,
        );
        let mesher = Start::new(conf).ready();
        mesher.wait_for_output("a limit of 1048576 bytes leaves no room");
        assert_eq!(mesher.connect().ask(GET).text(), "ok");
    });
}

#[test]
fn another_limit_takes_effect_with_a_reload() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]).set(
            "mesher.yaml",
            "mesher.limit.memoryBytes",
            LIMIT,
        );
        let mut mesher = Start::new(conf).ready();
        mesher.conf_mut().change("mesher.yaml", "mesher.limit.memoryBytes", LIMIT * 2);
        mesher.signal(rustix::process::Signal::HUP);
        wait_until("the new limit", PATIENCE, || mesher.metric("mesher_memory_limit_bytes") == LIMIT * 2);
        assert_eq!(mesher.connect().ask(GET).text(), "ok");
    });
}
