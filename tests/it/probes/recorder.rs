//! An origin that takes nothing but what the grammar allows, remembers what it was sent, and answers all of it 200
//! with the body it got.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use super::strict::{self, Strict, Unread};
use crate::support::server::Server;

/// The target of requests that are answered and not remembered.
pub(crate) const BYSTANDER: &str = "/bystander";

/// The origin. Dropping it closes everything.
pub(crate) struct Recorder {
    server: Server,
    record: Arc<Mutex<Record>>,
}

/// What came.
#[derive(Default)]
struct Record {
    requests: Vec<Strict>,
    broken: Vec<String>,
}

impl Recorder {
    /// Starts on 127.0.0.1.
    pub(crate) fn start() -> Self {
        let record = Arc::<Mutex<Record>>::default();
        let shared = record.clone();
        let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), move |stream, _| serve(stream, &shared));
        Self { server, record }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Takes out the requests since the last time, oldest first.
    pub(crate) fn take(&self) -> Vec<Strict> {
        std::mem::take(&mut self.record.lock().unwrap().requests)
    }

    /// The rules that were broken so far.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.record.lock().unwrap().broken.clone()
    }
}

fn serve(mut stream: &TcpStream, record: &Mutex<Record>) {
    let mut reader = BufReader::new(stream);
    loop {
        match strict::read(&mut reader) {
            Ok(request) => {
                let answer = answer(&request);
                if request.target != BYSTANDER {
                    record.lock().unwrap().requests.push(request);
                }
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
            Err(Unread::Broken(why)) => return record.lock().unwrap().broken.push(why),
            Err(Unread::End | Unread::Unfinished) => return,
        }
    }
}

fn answer(request: &Strict) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Target: {}\r\n\r\n",
        request.body.len(),
        request.target
    );
    let body = if request.method == "HEAD" { &[][..] } else { &request.body };
    [head.as_bytes(), body].concat()
}
