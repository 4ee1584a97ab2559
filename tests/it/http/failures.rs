//! What mesher answers itself: one vocabulary of failures, each with its status, its flag and what to do about it.

use std::net::SocketAddr;

use super::super::support::client::Response;
use super::super::support::hand::Hand;
use super::super::support::mesh::{caller, caller_conf, on_both_drivers};
use super::super::support::net::free_address;
use super::super::support::origin::{Gate, Origin, Reply};
use super::super::support::process::Start;
use super::super::support::wait::{PATIENCE, wait_for, wait_until};

const GET: &str = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n";
const POST: &str = "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nhi";

/// The response is mesher's own, with this status and flag, and says this.
#[track_caller]
fn is_failure(response: &Response, status: u16, flag: &str, says: &str) {
    let error = response.header("x-mesher-error").unwrap_or_default();
    assert_eq!(response.status, status, "{response:?}");
    assert!(error.starts_with(&format!("{flag}; ")) && error.contains(says), "{error:?}: {says:?} expected");
    assert_eq!(response.text().trim_end(), error.split_once("; ").unwrap().1, "header and body say the same");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn a_name_that_the_registry_does_not_have_is_503_and_names_it() {
    on_both_drivers(|driver| {
        let mesher = caller(driver, &[]);
        let mut client = mesher.connect();
        is_failure(&client.ask(GET), 503, "NC", "no service \"orders\"");
        is_failure(&client.ask(GET), 503, "NC", "orders");
    });
}

#[test]
fn a_service_without_instances_is_503_and_says_how_many_are_left_out_and_why() {
    on_both_drivers(|driver| {
        let registry = "services:\n  orders:\n    - version: 0.0.1\n      status: DOWN\n      endpoints: [\"rest://127.0.0.1:1\"]\n  empty: []\n";
        let conf = caller_conf(driver, &[]).file("registry.yaml", registry);
        let mesher = Start::new(conf).ready();
        let mut client = mesher.connect();
        is_failure(&client.ask(GET), 503, "UH", "1 DOWN");
        is_failure(&client.get("empty", "http://empty/"), 503, "UH", "empty");
    });
}

#[test]
fn instances_that_refuse_are_503_and_name_an_address() {
    on_both_drivers(|driver| {
        let nobody = free_address();
        let mesher = caller(driver, &[("orders", &[nobody])]);
        let mut client = mesher.connect();
        is_failure(&client.ask(GET), 503, "UF", &nobody.to_string());
    });
}

#[test]
fn an_instance_that_ends_the_connection_instead_of_answering_is_503() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| Reply::default().close());
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        is_failure(&mesher.connect().ask(POST), 503, "UC", "before its response");
        assert_eq!(origin.requests(), 1);
    });
}

#[test]
fn an_instance_that_talks_nonsense_is_502_and_says_which_byte() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| Reply::default().send("SSH-2.0-OpenSSH_9.2\r\n\r\n").close());
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        is_failure(&mesher.connect().ask(GET), 502, "UPE", "malformed response");
    });
}

#[test]
fn an_instance_that_does_not_answer_in_time_is_504_and_names_the_setting() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let conf = caller_conf(driver, &[("orders", &[service.address()])])
            .set("chassis.yaml", "cse.isolation.Consumer.timeoutInMilliseconds", 60_000)
            .set("chassis.yaml", "cse.isolation.Consumer.orders.timeoutInMilliseconds", 100);
        let mesher = Start::new(conf).ready();
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        is_failure(&client.read_response(), 504, "UT", "cse.isolation.Consumer.timeoutInMilliseconds");
        assert!(peer.is_ended(), "the late answer has nowhere to go");
        // The client's connection carries on. A busy machine may be late now and then.
        wait_until("an answer in time", PATIENCE, || {
            client.send(GET);
            let (mut peer, _) = service.accept_request();
            let _ = peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            client.read_response().text() == "ok"
        });
    });
}

#[test]
fn the_time_out_is_for_the_response_head_only() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            Reply::default().send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n(:").wait(&held).send(":)")
        });
        let other = Hand::listen();
        let services: [(&str, &[SocketAddr]); 2] =
            [("orders", &[origin.address()]), ("other", &[other.address()])];
        let conf = caller_conf(driver, &services).set(
            "chassis.yaml",
            "cse.isolation.Consumer.timeoutInMilliseconds",
            100,
        );
        let mesher = Start::new(conf).ready();
        // A busy machine may keep the head itself waiting.
        let mut client = wait_for("a response that begins in time", PATIENCE, || {
            let mut client = mesher.connect();
            client.send(GET);
            client.read_head_text().starts_with("HTTP/1.1 200 ").then_some(client)
        });
        client.read_through(b"(:");
        // A call that begins later and runs out of time: so has the first one's time.
        assert_eq!(mesher.connect().get("other", "http://other/").status, 504);
        gate.open();
        assert_eq!(client.read_through(b":)"), b":)");
    });
}

#[test]
fn a_body_that_falls_silent_is_given_up() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let conf = caller_conf(driver, &[("orders", &[service.address()])]).set(
            "mesher.yaml",
            "mesher.timeout.streamIdleSeconds",
            "100ms",
        );
        let mesher = Start::new(conf).ready();
        let mut client = mesher.connect();
        client.send(GET);
        let (mut peer, _) = service.accept_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        client.read_through(b"half");
        assert!(client.is_ended() && peer.is_ended());
        client = mesher.connect();
        client.send("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 10\r\n\r\nhalf");
        let (mut peer, _) = service.accept_request();
        is_failure(&client.read_response(), 408, "DT", "body");
        assert_eq!(peer.read_to_end(), b"half");
    });
}

#[test]
fn a_request_that_is_no_http_is_400_and_says_which_byte() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let cases = [
            ("GARBAGE\r\n\r\n", "byte"),
            ("GET http://orders/ HTTP/1.1\r\nHost : orders\r\n\r\n", "byte"),
            ("GET http://orders/ HTTP/1.1\r\nHost: orders\r\nHost: orders\r\n\r\n", "host"),
            ("GET / HTTP/1.1\r\n\r\n", "ost"),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", "host"),
            ("GET http://a~b/ HTTP/1.1\r\nHost: a~b\r\n\r\n", "service name"),
            ("GET http://orders:99999/ HTTP/1.1\r\nHost: orders:99999\r\n\r\n", "port"),
            (
                "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "byte",
            ),
            (
                "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                "content-length",
            ),
        ];
        for (request, says) in cases {
            let mut client = mesher.connect();
            is_failure(&client.ask(request), 400, "DPE", says);
        }
        assert_eq!(origin.connections(), 0);
        let unreadable = mesher.connect().ask("GARBAGE\r\n\r\n");
        assert_eq!(unreadable.header("connection"), Some("close"), "what follows could mean anything");
    });
}

#[test]
fn a_malformed_chunk_is_400_even_after_the_service_was_called() {
    on_both_drivers(|driver| {
        let service = Hand::listen();
        let mesher = caller(driver, &[("orders", &[service.address()])]);
        let mut client = mesher.connect();
        client.send(
            "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        );
        let (mut peer, _) = service.accept_request();
        peer.read_through(b"hi");
        client.send("zz\r\n");
        is_failure(&client.read_response(), 400, "DPE", "chunk");
        assert!(client.is_ended());
        assert!(!peer.read_to_end().ends_with(b"0\r\n\r\n"), "the service must not take it for complete");
    });
}

#[test]
fn mesher_itself_is_no_service_and_says_how_it_is_used() {
    on_both_drivers(|driver| {
        let mesher = caller(driver, &[]);
        let own = mesher.conf().outgoing.to_string();
        let response = mesher.connect().get(&own, "/");
        is_failure(&response, 400, "DPE", "http_proxy");
    });
}

#[test]
fn what_is_too_long_is_414_and_what_is_too_large_431() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])])
            .set("mesher.yaml", "mesher.limit.requestLineBytes", 256)
            .set("mesher.yaml", "mesher.limit.headBytes", 2048)
            .set("mesher.yaml", "mesher.limit.headers", 16);
        let mesher = Start::new(conf).ready();
        let ask = |target: &str, headers: &str| {
            let host = "Host: orders\r\n";
            mesher.connect().ask(format!("GET http://orders/{target} HTTP/1.1\r\n{host}{headers}\r\n"))
        };
        is_failure(&ask(&"x".repeat(300), ""), 414, "DPE", "");
        is_failure(&ask("", &format!("X: {}\r\n", "x".repeat(2048))), 431, "DPE", "");
        is_failure(&ask("", &"X: y\r\n".repeat(17)), 431, "DPE", "");
        assert_eq!(ask(&"x".repeat(200), &format!("X: {}\r\n", "x".repeat(1500))).status, 200);
        assert_eq!(ask("", &"X: y\r\n".repeat(15)).status, 200);
    });
}

#[test]
fn a_head_that_does_not_come_in_time_is_408() {
    on_both_drivers(|driver| {
        let conf = caller_conf(driver, &[]).set("mesher.yaml", "mesher.timeout.headerSeconds", "100ms");
        let mesher = Start::new(conf).ready();
        let mut client = mesher.connect();
        client.send("GET http://orders/ HT");
        is_failure(&client.read_response(), 408, "DT", "mesher.timeout.headerSeconds");
        assert!(client.is_ended());
    });
}

#[test]
fn requests_beyond_the_limit_are_503_and_may_come_again() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("ok").held_by(&held));
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]).set(
            "mesher.yaml",
            "mesher.limit.requests",
            1,
        );
        let mesher = Start::new(conf).ready();
        let (mut one, mut two) = (mesher.connect(), mesher.connect());
        one.send(GET);
        wait_until("the first to wait", PATIENCE, || gate.waiting() == 1);
        let refused = two.ask(GET);
        is_failure(&refused, 503, "OM", "mesher.limit.requests");
        assert_eq!(refused.header("retry-after"), Some("1"));
        gate.open();
        assert_eq!(one.read_response().status, 200);
        assert_eq!(two.ask(GET).status, 200);
    });
}

#[test]
fn a_client_that_reads_json_gets_problem_details() {
    on_both_drivers(|driver| {
        let mesher = caller(driver, &[]);
        let mut client = mesher.connect();
        let head =
            "GET http://orders/ HTTP/1.1\r\nHost: orders\r\nAccept: text/html, application/json\r\n\r\n";
        let response = client.ask(head);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(problem["status"], 503);
        assert_eq!((&problem["flag"], &problem["title"]), (&"NC".into(), &"UnknownService".into()));
        assert!(problem["detail"].as_str().unwrap().contains("orders"));
    });
}

#[test]
fn a_head_request_gets_a_failure_without_its_body() {
    on_both_drivers(|driver| {
        let mesher = caller(driver, &[]);
        let mut client = mesher.connect();
        let response = client.ask("HEAD http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n");
        assert!(response.status == 503 && response.header("x-mesher-error").is_some());
        assert_eq!(client.ask(GET).status, 503, "nothing of a body came behind it");
    });
}

#[test]
fn a_refused_request_whose_body_was_not_read_ends_the_connection() {
    on_both_drivers(|driver| {
        let mesher = caller(driver, &[]);
        let mut client = mesher.connect();
        client.send(format!(
            "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: {}\r\n\r\n{GET}",
            GET.len()
        ));
        let response = client.read_response();
        assert_eq!((response.status, response.header("connection")), (503, Some("close")));
        assert!(client.is_ended(), "the body must not be taken for a request");
    });
}

#[test]
fn what_went_wrong_is_counted_by_its_flag() {
    on_both_drivers(|driver| {
        let nobody = free_address();
        let mesher = caller(driver, &[("orders", &[nobody])]);
        let mut client = mesher.connect();
        client.ask(GET);
        client.ask(GET);
        client.get("unknown", "http://unknown/");
        let count = |labels: &str| mesher.metric_of("mesher_requests_total", labels);
        // A request is counted once its last byte is out, which the client may see first.
        wait_until("the last one to be counted", PATIENCE, || count("flag=\"NC\"") == 1);
        assert_eq!(count("service=\"orders\",version=\"0.0.1\",code_class=\"5xx\",flag=\"UF\""), 2);
    });
}
