//! The admin as its users see it: over a socket, with a view and a board in their hands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod metrics;
mod pages;
mod server;

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
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
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

fn labels(direction: Direction, service: &str, version: &str) -> Labels {
    Labels { direction, app: "shop".into(), service: service.into(), version: version.into() }
}
