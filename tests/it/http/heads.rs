//! What is forwarded of request and response heads: to the byte where it matters.

use super::super::support::mesh::{CALLER, caller, on_both_drivers};
use super::super::support::origin::{Origin, Reply, Seen};
use super::super::support::process::Mesher;

/// Sends a request through mesher; what the service saw of it.
#[track_caller]
fn forwarded(mesher: &Mesher, origin: &Origin, request: &str) -> Seen {
    let response = mesher.connect().ask(request);
    assert_eq!(response.status, 200, "{request:?} got {response:?}");
    origin.seen().pop().expect("nothing was forwarded")
}

#[test]
fn a_request_is_forwarded_to_the_byte_and_only_what_must_is_added() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let request = "GET http://orders:8083/a%2Fb/../c;d?x=1&y=%20a%2Fb&&z HTTP/1.1\r\n\
                       uSeR-aGeNt: curl/7 (x)\r\n\
                       Host: orders:8083\r\n\
                       X-Multi: 1\r\n\
                       x-multi: 2\r\n\
                       Accept: */*\r\n\
                       Empty:\r\n\
                       X-Multi:   3  \r\n\r\n";
        let seen = forwarded(&mesher, &origin, request);
        let expected = "GET /a%2Fb/../c;d?x=1&y=%20a%2Fb&&z HTTP/1.1\r\n\
                        Host: orders:8083\r\n\
                        uSeR-aGeNt: curl/7 (x)\r\n\
                        X-Multi: 1\r\n\
                        x-multi: 2\r\n\
                        Accept: */*\r\n\
                        Empty: \r\n\
                        X-Multi: 3\r\n\
                        X-Forwarded-For: 127.0.0.1\r\n\
                        X-Forwarded-Host: orders:8083\r\n\
                        X-Forwarded-Proto: http\r\n\
                        X-Forwarded-Port: 8083\r\n\
                        X-Cse-Context: {\"x-cse-src-microservice\":\"caller\"}\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&seen.request.raw), expected);
    });
}

#[test]
fn absolute_and_origin_form_mean_the_same() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let heads = [
            "GET http://orders:81/p?q HTTP/1.1\r\nHost: orders:81\r\n\r\n",
            "GET http://orders:81/p?q HTTP/1.1\r\nHost: another\r\n\r\n",
            "GET HTTP://orders:81/p?q HTTP/1.1\r\nHost: orders:81\r\n\r\n",
            "GET /p?q HTTP/1.1\r\nHost: orders:81\r\n\r\n",
        ];
        let raw: Vec<_> = heads.iter().map(|head| forwarded(&mesher, &origin, head).request.raw).collect();
        assert!(raw.iter().all(|bytes| *bytes == raw[0]), "{raw:?}");
        let bare = forwarded(&mesher, &origin, "GET http://orders HTTP/1.1\r\nHost: orders\r\n\r\n");
        assert_eq!(bare.request.target, "/");
        let query = forwarded(&mesher, &origin, "GET http://orders?q=1 HTTP/1.1\r\nHost: orders\r\n\r\n");
        assert_eq!(query.request.target, "/?q=1");
        assert_eq!(query.request.header("x-forwarded-port"), None, "no port was named");
    });
}

#[test]
fn options_for_a_whole_service_is_asked_with_an_asterisk() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        for head in [
            "OPTIONS http://orders HTTP/1.1\r\nHost: orders\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: orders\r\n\r\n",
        ] {
            let seen = forwarded(&mesher, &origin, head);
            assert_eq!((seen.request.method.as_str(), seen.request.target.as_str()), ("OPTIONS", "*"));
        }
    });
}

#[test]
fn headers_of_one_hop_stay_there() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| {
            let headers = [
                ("Connection", "X-Named, keep-alive"),
                ("X-Named", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("Upgrade", "h2c"),
                ("X-Kept", "1"),
            ];
            Reply::with_headers(200, "OK", &headers, "")
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let response = mesher.connect().ask(
            "GET http://orders/ HTTP/1.1\r\nHost: orders\r\nConnection: close, X-Secret,x-other\r\nConnection: x-third\r\n\
             X-Secret: 1\r\nX-OTHER: 2\r\nX-Third: 3\r\nKeep-Alive: 1\r\nProxy-Connection: keep-alive\r\n\
             Proxy-Authorization: Basic eDp5\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\r\n",
        );
        let request = &origin.seen()[0].request;
        let gone = [
            "connection",
            "x-secret",
            "x-other",
            "x-third",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "upgrade",
        ];
        for name in gone {
            assert_eq!(request.header(name), None, "{name} was forwarded");
        }
        assert_eq!(request.header("x-kept"), Some("1"));
        for name in ["x-named", "keep-alive", "proxy-authenticate", "upgrade"] {
            assert_eq!(response.header(name), None, "{name} was passed back");
        }
        assert_eq!(response.header("x-kept"), Some("1"));
        assert_eq!(response.header_all("connection"), ["close"], "as the client wished");
    });
}

#[test]
fn a_connection_header_cannot_take_away_what_the_message_needs() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let seen = forwarded(
            &mesher,
            &origin,
            "POST http://orders/ HTTP/1.1\r\nHost: orders\r\nConnection: host, content-length, x-forwarded-for\r\n\
             Content-Length: 3\r\n\r\nabc",
        );
        assert_eq!(seen.request.header("host"), Some("orders"));
        assert_eq!(seen.request.body, b"abc");
        assert_eq!(seen.request.header_all("x-forwarded-for"), ["127.0.0.1"]);
    });
}

#[test]
fn the_way_a_request_has_come_is_told() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let seen = forwarded(
            &mesher,
            &origin,
            "GET http://orders:80/ HTTP/1.1\r\nHost: orders:80\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n\
             X-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\r\n",
        );
        let request = &seen.request;
        assert_eq!(request.header_all("x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1"]);
        assert_eq!(request.header_all("x-forwarded-host"), ["shop.example"], "the first one knows best");
        assert_eq!(request.header_all("x-forwarded-proto"), ["https"]);
        assert_eq!(request.header_all("x-forwarded-port"), ["80"], "the port that is called");
    });
}

#[test]
fn the_invocation_context_names_the_caller_and_keeps_what_else_it_says() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let own = format!("{{\"x-cse-src-microservice\":\"{CALLER}\"}}");
        let merged = format!("{{\"trace\":\"7\",\"x-cse-src-microservice\":\"{CALLER}\"}}");
        let cases = [
            ("", own.as_str()),
            ("x-cse-context: {\"trace\":\"7\",\"x-cse-src-microservice\":\"forged\"}\r\n", &merged),
            ("X-CSE-Context: null\r\n", &own),
            ("x-cse-context: {\"trace\":\r\n", &own),
            ("x-cse-context: {\"trace\":7}\r\n", &own),
            ("x-cse-context:\r\n", &own),
        ];
        for (header, expected) in cases {
            let head = format!("GET http://orders/ HTTP/1.1\r\nHost: orders\r\n{header}\r\n");
            let seen = forwarded(&mesher, &origin, &head);
            assert_eq!(seen.request.header_all("x-cse-context"), [expected], "{header:?}");
        }
    });
}

#[test]
fn a_response_head_keeps_its_case_order_and_repetitions() {
    on_both_drivers(|driver| {
        let head = "HTTP/1.1 299 Odd but fine\r\n\
                    sEt-CoOkIe: a=1; Path=/\r\n\
                    Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n\
                    Set-Cookie: b=2\r\n\
                    Via: 1.0 old\r\n\
                    set-cookie: c=3\r\n";
        let origin =
            Origin::start(move |_| Reply::default().send(format!("{head}Content-Length: 2\r\n\r\nhi")));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let mut client = mesher.connect();
        client.send("GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n");
        assert_eq!(client.read_head_text(), format!("{head}Content-Length: 2\r\n\r\n"));
    });
}

#[test]
fn redirects_are_the_clients_to_follow() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| {
            Reply::with_headers(302, "Found", &[("Location", "http://orders/elsewhere?a=%2F")], "moved")
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let response = mesher.connect().get("orders", "http://orders/here");
        assert_eq!((response.status, response.text()), (302, "moved"));
        assert_eq!(response.header("location"), Some("http://orders/elsewhere?a=%2F"));
        assert_eq!(origin.requests(), 1);
    });
}

#[test]
fn compressed_bodies_are_neither_asked_for_nor_touched() {
    on_both_drivers(|driver| {
        let gzipped: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
        let origin = Origin::start(move |_| {
            Reply::with_headers(
                200,
                "OK",
                &[("Content-Encoding", "gzip"), ("Vary", "accept-encoding")],
                gzipped,
            )
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let response = mesher.connect().get("orders", "http://orders/");
        assert_eq!((response.header("content-encoding"), response.body.as_slice()), (Some("gzip"), gzipped));
        assert_eq!(origin.seen()[0].request.header("accept-encoding"), None);
        let head = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\nAccept-Encoding: br;q=1, gzip\r\n\r\n";
        let seen = forwarded(&mesher, &origin, head);
        assert_eq!(seen.request.header("accept-encoding"), Some("br;q=1, gzip"));
    });
}

#[test]
fn any_method_is_carried() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        for method in ["GET", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "get", "X"] {
            let head = format!("{method} http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n");
            assert_eq!(forwarded(&mesher, &origin, &head).request.method, method);
        }
    });
}
