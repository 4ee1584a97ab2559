//! The admin as its users see it: over a socket, with a view and a board in their hands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::memory::{Bound, Memory, Pressure};
use crate::snapshot::Failure;
use crate::snapshot::stats::{Board, Direction, Labels, SERIES_MAX};
use crate::tls::Expiry;
use crate::tls::bench::{Authority, Home};

/// A view that tests change.
struct Mesher {
    reasons: Mutex<Vec<String>>,
    shards: Mutex<Vec<Shard>>,
}

impl View for Mesher {
    fn readiness(&self) -> Vec<String> {
        self.reasons.lock().unwrap().clone()
    }

    fn shards(&self) -> Vec<Shard> {
        self.shards.lock().unwrap().clone()
    }

    fn config(&self) -> ConfigState {
        ConfigState { generation: 2, reloads: 3, last_reload_ok: false, error: "line 1".into() }
    }

    fn certificates(&self) -> Vec<Expiry> {
        vec![Expiry { file: "conf/me.crt".into(), not_after_s: 2_000_000_000 }]
    }

    fn memory(&self) -> Option<Memory> {
        let memory = Memory {
            limit_bytes: 100,
            used_bytes: 95,
            bound: Bound::ControlGroup,
            pressure: Pressure::High,
            shortages: 3,
        };
        Some(memory)
    }

    fn details(&self) -> Value {
        json!({ "registry": { "type": "file" } })
    }
}

struct Fixture {
    mesher: Arc<Mesher>,
    board: Arc<Board>,
    admin: AdminHandle,
    options: AdminOptions,
}

impl Fixture {
    fn new() -> Self {
        Self::behind(None)
    }

    fn behind(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let why = "io_uring_setup: operation not permitted; allow it in the seccomp profile".to_owned();
        let shards = vec![
            Shard { alive: true, driver: "uring".into(), why: String::new() },
            Shard { alive: true, driver: "uring".into(), why },
        ];
        let mesher = Arc::new(Mesher { reasons: Mutex::default(), shards: Mutex::new(shards) });
        let board = Board::new();
        let options = AdminOptions {
            identity: Identity { app: "shop".into(), service: "cart \"9\"".into(), version: "1.2.3".into() },
            build: Build { version: "0.1.0".into(), commit: "abc".into(), built: String::new() },
            board: board.clone(),
            view: mesher.clone(),
            tls,
        };
        let admin = start(TcpListener::bind("127.0.0.1:0").unwrap(), options.clone()).unwrap();
        Self { mesher, board, admin, options }
    }

    fn not_ready(&self, reasons: &[&str]) {
        *self.mesher.reasons.lock().unwrap() = reasons.iter().map(ToString::to_string).collect();
    }

    fn kill_shard(&self, index: usize) {
        self.mesher.shards.lock().unwrap()[index].alive = false;
    }

    fn get(&self, path: &str) -> Answer {
        ask(self.admin.addr(), &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }
}

/// A response, split.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a request and reads to the end of the connection.
fn ask(addr: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

// === pages ===

#[test]
fn version_has_the_keys_of_mesher_indented_by_one_blank() {
    let answer = Fixture::new().get("/v1/mesher/version");
    let expected = "{\n \"version\": \"0.1.0\",\n \"commit\": \"abc\",\n \"built\": \"\",\n \"Go-Chassis\": \"\",\n \
                    \"driver\": \"uring\"\n}\n";
    assert_eq!((answer.status, &*answer.body), (200, expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn health_is_green_without_an_error_and_red_with_all_reasons() {
    let fixture = Fixture::new();
    let answer = fixture.get("/v1/mesher/health");
    let green = json!({
        "serviceName": "cart \"9\"", "version": "1.2.3", "status": "green", "connectedMonitoring": false,
    });
    assert_eq!((answer.status, answer.json()), (200, green));

    fixture.not_ready(&["draining", "registry unreachable"]);
    fixture.kill_shard(1);
    let answer = fixture.get("/v1/mesher/health");
    let red = json!({
        "serviceName": "cart \"9\"", "version": "1.2.3", "status": "red", "connectedMonitoring": false,
        "error": "draining; registry unreachable; shard 1 is dead",
    });
    assert_eq!((answer.status, answer.json()), (500, red));
}

#[test]
fn readiness_turns_to_503_with_reasons_and_back() {
    let fixture = Fixture::new();
    for path in ["/ready", "/readyz"] {
        fixture.not_ready(&["draining"]);
        let answer = fixture.get(path);
        assert_eq!((answer.status, answer.json()), (503, json!({ "ready": false, "reasons": ["draining"] })));
        fixture.not_ready(&[]);
        let answer = fixture.get(path);
        assert_eq!((answer.status, answer.json()), (200, json!({ "ready": true, "reasons": [] })));
    }
}

#[test]
fn verbose_readiness_tells_each_shards_driver_and_why() {
    let fixture = Fixture::new();
    fixture.not_ready(&["starting"]);
    for path in ["/ready?verbose", "/readyz?x=1&verbose=true"] {
        let answer = fixture.get(path);
        let body = answer.json();
        assert_eq!(answer.status, 503);
        assert_eq!(body["reasons"], json!(["starting"]));
        assert_eq!(body["driver"], json!("uring"));
        assert_eq!(body["shards"][0], json!({ "shard": 0, "alive": true, "driver": "uring" }));
        assert!(body["shards"][1]["why"].as_str().unwrap().contains("seccomp"), "{body}");
        assert_eq!(body["details"]["registry"]["type"], json!("file"));
        let config = json!({ "generation": 2, "reloads": 3, "last_reload_ok": false, "error": "line 1" });
        assert_eq!(body["config"], config);
        let memory = json!({
            "limit_bytes": 100, "used_bytes": 95, "bound": "control_group", "pressure": "high", "shortages": 3
        });
        assert_eq!(body["memory"], memory);
    }
}

#[test]
fn liveness_depends_on_the_shards_alone() {
    let fixture = Fixture::new();
    fixture.not_ready(&["draining"]);
    for path in ["/live", "/livez", "/healthz"] {
        let answer = fixture.get(path);
        assert_eq!((answer.status, answer.json()), (200, json!({ "live": true, "reasons": [] })));
    }
    fixture.kill_shard(0);
    for path in ["/live", "/livez", "/healthz"] {
        let answer = fixture.get(path);
        let dead = json!({ "live": false, "reasons": ["shard 0 is dead"] });
        assert_eq!((answer.status, answer.json()), (503, dead));
    }
}

#[test]
fn an_unknown_path_is_404_and_lists_the_known_ones() {
    let fixture = Fixture::new();
    for path in ["/", "/v1/mesher", "/metrics/", "/liv%65", "//live"] {
        let answer = fixture.get(path);
        assert_eq!(answer.status, 404, "{path}");
        let paths = answer.json()["paths"].as_array().unwrap().clone();
        assert!(paths.contains(&json!("/v1/mesher/health")));
        for path in paths {
            assert_eq!(fixture.get(path.as_str().unwrap()).status, 200, "{path} is listed and not served");
        }
    }
}

#[test]
fn other_methods_are_405_with_allow() {
    let fixture = Fixture::new();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = ask(fixture.admin.addr(), &request);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert!(answer.json()["error"].as_str().unwrap().contains("GET"));
    }
}

#[test]
fn head_answers_as_get_does_without_the_body() {
    let fixture = Fixture::new();
    fixture.not_ready(&["draining"]);
    let head = ask(fixture.admin.addr(), "HEAD /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let get = fixture.get("/ready");
    assert_eq!((head.status, &*head.body), (503, ""));
    assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()));
}

#[test]
fn a_request_with_a_body_is_refused_and_its_connection_closed() {
    let fixture = Fixture::new();
    for framing in ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let answer = ask(fixture.admin.addr(), &format!("POST /live HTTP/1.1\r\nhost: x\r\n{framing}"));
        assert_eq!(answer.status, 413, "{framing}");
    }
}

// === metrics ===

#[test]
fn metrics_carry_mesher_names_and_ours_summed_over_the_shards() {
    let fixture = Fixture::new();
    for (index, requests) in [1, 2].into_iter().enumerate() {
        let board = fixture.board.of_shard(index);
        let series = board.series(labels(Direction::Outgoing, "RESTServer", "0.0.1"));
        for _ in 0..requests {
            series.record(200, None, Duration::from_millis(2));
            series.record(304, None, Duration::from_millis(2));
            series.record(404, None, Duration::from_millis(2));
            series.record(503, Some(Failure::NoHealthyInstance), Duration::from_secs(20));
        }
        series.record(0, Some(Failure::ClientGone), Duration::ZERO);
        series.retries.add(5);
        let shard = board.stats();
        shard.downstream_open.add(10 * requests);
        shard.upstream_open.add(1);
        shard.turns.add(100 * requests);
    }
    let answer = fixture.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = parse(&answer.body);
    let value = |sample: &str| {
        *samples.iter().find(|(name, _)| name == sample).map(|(_, value)| value).unwrap_or_else(|| {
            panic!("{sample} is missing in\n{}", answer.body);
        })
    };

    let service = r#"{app="shop",service_name="RESTServer",version="0.0.1"}"#;
    assert_eq!(value(&format!("requests_total{service}")), 14.0);
    assert_eq!(value(&format!("successes_total{service}")), 3.0);
    assert_eq!(value(&format!("failures_total{service}")), 8.0);
    assert_eq!(value(&format!("status_4xx{service}")), 3.0);
    assert_eq!(value(&format!("status_5xx{service}")), 3.0);
    assert_eq!(value(&format!("request_latency_seconds_count{service}")), 14.0);
    assert!((value(&format!("request_latency_seconds_sum{service}")) - 60.018).abs() < 1e-9);
    assert!(value(r#"start_time_seconds{app="shop",service_name="cart \"9\"",version="1.2.3"}"#) > 1.6e9);

    let ours = r#"direction="outgoing",service="RESTServer",version="0.0.1""#;
    let requests = |class: &str, flag: &str| {
        value(&format!(r#"mesher_requests_total{{{ours},code_class="{class}",flag="{flag}"}}"#))
    };
    assert_eq!((requests("2xx", ""), requests("5xx", "UH"), requests("none", "DC")), (3.0, 3.0, 2.0));
    let duration = "mesher_request_duration_seconds";
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="0.00025"}}"#)), 2.0);
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="0.0025"}}"#)), 11.0);
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="10"}}"#)), 11.0);
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="+Inf"}}"#)), 14.0);
    assert_eq!(value(&format!("mesher_retries_total{{{ours}}}")), 10.0);

    assert_eq!(value(r#"mesher_connections{side="downstream"}"#), 30.0);
    assert_eq!(value(r#"mesher_connections{side="upstream"}"#), 2.0);
    assert_eq!(value(r#"mesher_shard_turns_total{shard="1"}"#), 200.0);
    assert_eq!(value(r#"mesher_build_info{version="0.1.0",driver="uring"}"#), 1.0);
    assert_eq!((value("mesher_memory_limit_bytes"), value("mesher_memory_used_bytes")), (100.0, 95.0));
    assert_eq!((value("mesher_memory_short"), value("mesher_memory_shortages_total")), (1.0, 3.0));
    assert_eq!(value("mesher_config_reloads_total"), 3.0);
    assert_eq!(value(r#"mesher_tls_certificate_not_after_seconds{file="conf/me.crt"}"#), 2e9);
    assert_eq!(value("mesher_config_last_reload_successful"), 0.0);
    for single in [
        "mesher_requests_in_flight",
        "mesher_downstream_accepted_total",
        "mesher_downstream_http2_calmed_total",
        "mesher_upstream_connects_total",
        "mesher_upstream_http2_connections",
        "mesher_upstream_http2_streams",
        "mesher_upstream_reused_total",
        "mesher_panics_total",
        "mesher_accept_pauses_total",
        "mesher_shard_restarts_total",
        "mesher_series_refused_total",
    ] {
        assert_eq!(value(single), 0.0, "{single}");
    }
    for process in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"]
    {
        assert!(value(&format!("process_{process}")) >= 0.0);
    }
}

#[test]
fn metrics_of_services_with_odd_names_are_well_formed() {
    let fixture = Fixture::new();
    for name in ["", "a\"b", "a\\", "a\nb 1", "{}=,", "größe", "\u{202e}x", "__overflow__"] {
        for direction in [Direction::Incoming, Direction::Outgoing] {
            fixture.board.of_shard(0).series(labels(direction, name, name)).record(200, None, Duration::ZERO);
        }
    }
    for path in ["/metrics", "/v1/mesher/metrics"] {
        let samples = parse(&fixture.get(path).body);
        let counted = samples.iter().filter(|(name, _)| name.starts_with("mesher_requests_total{"));
        assert_eq!(counted.map(|(_, value)| value).sum::<f64>(), 16.0);
        assert!(samples.iter().any(|(name, _)| name.contains(r#"service="a\nb 1""#)));
    }
}

fn labels(direction: Direction, service: &str, version: &str) -> Labels {
    Labels { direction, app: "shop".into(), service: service.into(), version: version.into() }
}

/// Reads the text format strictly: each family has HELP then TYPE before its samples, all its samples together, and
/// no name with the same labels twice. Gives the samples as (name with labels as written, value).
fn parse(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with('\n'));
    let mut seen = std::collections::HashSet::new();
    let mut samples = Vec::new();
    let mut helped = None;
    let mut family: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect(line);
            assert!(!help.trim().is_empty() && seen.insert(format!("# {name}")), "{line}");
            helped = Some(name);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect(line);
            assert_eq!(helped.take(), Some(name), "{line}");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            family = Some((name, kind));
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let name = sample.split('{').next().unwrap();
            let (base, kind) = family.expect(line);
            let suffixes: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(base).expect(line);
            assert!(helped.is_none() && suffixes.contains(&suffix), "{line}");
            check_labels(&sample[name.len()..]);
            assert!(seen.insert(sample.to_owned()), "twice: {line}");
            samples.push((sample.to_owned(), value.parse().expect(line)));
        }
    }
    samples
}

/// `{name="value",…}` or nothing; in a value `\` only before `\`, `"` and `n`.
fn check_labels(mut rest: &str) {
    if rest.is_empty() {
        return;
    }
    rest = rest.strip_prefix('{').expect("labels begin with a brace");
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label is name=\"value\"");
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().expect("a value is closed") {
                (_, '\\') => assert!(matches!(chars.next(), Some((_, '\\' | '"' | 'n'))), "{value}"),
                (at, '"') => break at,
                _ => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}"),
        }
    }
}

// === the server ===

#[test]
fn several_requests_go_over_one_connection() {
    let fixture = Fixture::new();
    let request = "GET /live HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = ask(fixture.admin.addr(), &format!("{request}{request}{last}"));
    assert_eq!(answers.body.matches("HTTP/1.1 200 OK").count(), 2, "{answers:?}");
}

#[test]
fn several_admins_run_in_one_process() {
    let (one, other) = (Fixture::new(), Fixture::new());
    one.not_ready(&["draining"]);
    assert_eq!((one.get("/ready").status, other.get("/ready").status), (503, 200));
    one.admin.stop();
    assert_eq!(other.get("/ready").status, 200);
}

#[test]
fn stopping_closes_the_listener_and_idle_connections() {
    let fixture = Fixture::new();
    let addr = fixture.admin.addr();
    let mut idle = connect(addr);
    idle.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
    fixture.admin.stop();
    assert!(matches!(idle.read(&mut [0; 64]), Ok(0)));
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn who_has_connected_before_the_stop_is_answered() {
    let fixture = Fixture::new();
    let addr = fixture.admin.addr();
    let mut early = connect(addr);
    assert_eq!(fixture.get("/live").status, 200, "it is accepted, as is who came before");
    let stopping = std::thread::spawn(move || fixture.admin.stop());
    while TcpStream::connect(addr).is_ok() {
        std::thread::yield_now();
    }
    early.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    early.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close"), "{text:?}");
    stopping.join().unwrap();
}

#[test]
fn one_admin_after_the_other_serves_a_socket_and_no_request_fails() {
    let options = Fixture::new().options;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = ask(addr, "GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                    assert_eq!(answer.status, 200);
                }
            });
        }
        for _ in 0..100 {
            start(listener.try_clone().unwrap(), options.clone()).unwrap().stop();
        }
        let last = start(listener, options).unwrap();
        over.store(true, Ordering::Relaxed);
        last // until they are answered
    })
    .stop();
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_stop() {
    let fixture = Fixture::new();
    let board = fixture.board.of_shard(0);
    for index in 0..SERIES_MAX {
        let _ = board.series(labels(Direction::Outgoing, &format!("service-{index}"), "0.0.1"));
    }
    let mut deaf = connect(fixture.admin.addr());
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(deaf.read(&mut [0; 64]).unwrap() > 0);
    let before = std::time::Instant::now();
    fixture.admin.stop();
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_sends_nothing_does_not_hold_up_the_stop() {
    let fixture = Fixture::new();
    let mut silent = connect(fixture.admin.addr());
    assert_eq!(fixture.get("/live").status, 200);
    let before = std::time::Instant::now();
    fixture.admin.stop();
    assert!(before.elapsed() < Duration::from_secs(5));
    assert!(!matches!(silent.read(&mut [0; 64]), Ok(1..)), "an answer to no request");
}

#[test]
fn behind_tls_it_answers_those_who_speak_it() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("ca.crt", &authority.pem);
    let tls = home.good(
        "ssl.rest-admin.Provider: {certFile: me.crt, keyFile: me.key}\n\
         ssl.registrator.Consumer: {verifyPeer: 'true', caFile: ca.crt, serverName: me}\n",
    );
    let fixture = Fixture::behind(tls.admin());
    let session =
        rustls::ClientConnection::new(tls.registry().unwrap(), "localhost".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(session, connect(fixture.admin.addr()));
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = Vec::new();
    // The end of the connection may come without a goodbye.
    let _ = stream.read_to_end(&mut text);
    assert!(text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text));
}
