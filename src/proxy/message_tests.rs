//! Heads of requests as HTTP/2 has them.

#![allow(clippy::unwrap_used)]

use http::Request;

use super::*;

fn request(method: &str, uri: &str, fields: &[(&'static str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn refused(mut parts: Parts, has_body: bool) -> (u16, String) {
    let reply = judge(&mut parts, &Limits::default(), has_body).unwrap_err();
    assert_eq!(reply.failure, Failure::ClientProtocolError);
    (reply.status, reply.detail.into_owned())
}

fn prepared(direction: Direction, mut parts: Parts) -> Parts {
    let traits = judge(&mut parts, &Limits::default(), false).unwrap();
    let (peer, alone) = (HeaderValue::from_static("10.0.0.1"), HeaderValue::from_static("{}"));
    let source = SourceContext::new("caller");
    let marks = Marks {
        direction,
        peer: &peer,
        scheme: "http",
        port: Some(8083),
        source: &source,
        source_alone: &alone,
    };
    prepare(&mut parts, traits, &marks);
    parts
}

fn texts<'p>(parts: &'p Parts, name: &str) -> Vec<&'p str> {
    parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn what_no_text_head_can_say_is_refused() {
    let with = |name, value| refused(request("GET", "http://a/", &[(name, value)]), false);
    assert_eq!(with("content_length", "5").0, 400);
    assert_eq!(with("x-a", " b").0, 400);
    assert_eq!(with("x-a", "b\t").0, 400);
    assert_eq!(with("expect", "200-maybe").0, 417);
    assert!(with("host", "b").1.contains("differs"));
    assert_eq!(refused(request("GET", "http://u@a/", &[]), false).0, 400);
    assert_eq!(refused(request("GET", "http://a/%00", &[]), false).0, 400);
    assert_eq!(refused(request("TRACE", "http://a/", &[]), true).0, 400);
    let twice = [("content-length", "5"), ("content-length", "5")];
    assert!(refused(request("POST", "http://a/", &twice), true).1.contains("content-length"));
}

#[test]
fn fields_are_counted_and_paths_measured() {
    let many: Vec<_> = (0..200).map(|_| ("cookie", "a=b")).collect();
    assert_eq!(refused(request("GET", "http://a/", &many), false).0, 431);
    let long = format!("http://a/{}", "x".repeat(9000));
    assert_eq!(refused(request("GET", &long, &[]), false).0, 414);
}

#[test]
fn a_host_that_stands_for_the_authority_becomes_it() {
    let mut parts = request("GET", "/path", &[("host", "orders:80")]);
    judge(&mut parts, &Limits::default(), false).unwrap();
    assert_eq!(parts.uri.to_string(), "http://orders:80/path");
    let mut parts = request("GET", "http://Orders/", &[("host", "orders")]);
    judge(&mut parts, &Limits::default(), false).unwrap();
    assert!(!parts.headers.contains_key("host"), "it says nothing new");
}

#[test]
fn mesher_says_who_called_and_whom() {
    let fields =
        [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2"), ("proxy-authorization", "x")];
    let parts = prepared(Direction::Outgoing, request("GET", "http://orders:80/", &fields));
    assert_eq!(texts(&parts, "x-forwarded-for"), ["1.1.1.1, 2.2.2.2, 10.0.0.1"]);
    assert_eq!(texts(&parts, "x-forwarded-host"), ["orders:80"]);
    assert_eq!(texts(&parts, "x-forwarded-proto"), ["http"]);
    assert_eq!(texts(&parts, "x-forwarded-port"), ["8083"]);
    assert_eq!(texts(&parts, "x-cse-context"), ["{}"]);
    assert!(texts(&parts, "proxy-authorization").is_empty(), "it was for this hop");
}

#[test]
fn on_the_way_in_what_the_callers_mesher_said_is_left() {
    let fields = [("x-cse-context", "{\"k\":\"v\"}"), ("x-forwarded-port", "1"), ("x-forwarded-host", "h")];
    let parts = prepared(Direction::Incoming, request("GET", "http://orders/", &fields));
    assert_eq!(texts(&parts, "x-cse-context"), ["{\"k\":\"v\"}"]);
    assert_eq!(
        (texts(&parts, "x-forwarded-port"), texts(&parts, "x-forwarded-host")),
        (vec!["1"], vec!["h"])
    );
}

#[test]
fn a_context_is_merged_and_hops_are_counted() {
    let fields = [("x-cse-context", "{\"k\":\"v\"}"), ("max-forwards", "7")];
    let parts = prepared(Direction::Outgoing, request("OPTIONS", "http://orders/", &fields));
    assert_eq!(texts(&parts, "x-cse-context"), ["{\"k\":\"v\",\"x-cse-src-microservice\":\"caller\"}"]);
    assert_eq!(texts(&parts, "max-forwards"), ["6"]);
}

#[test]
fn the_next_hop_is_told_how_it_is_reached() {
    let mut parts = request("GET", "https://orders:80/a?b", &[]);
    set_scheme(&mut parts, false);
    assert_eq!(parts.uri.to_string(), "http://orders:80/a?b");
    set_scheme(&mut parts, true);
    assert_eq!(parts.uri.to_string(), "https://orders:80/a?b");
}
