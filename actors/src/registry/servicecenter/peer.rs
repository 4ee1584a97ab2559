//! A scripted service-center for tests: answers each request by a function of its text, one connection each, and
//! remembers what it was asked.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest wait for anything: far above what a loopback needs, so only a fault reaches it.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A running peer.
pub(super) struct Peer {
    pub(super) address: String,
    requests: mpsc::Receiver<String>,
}

impl Peer {
    /// Starts one that answers with status and body.
    pub(super) fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        Self::start_behind(|stream| stream, answer)
    }

    /// The same behind TLS.
    pub(super) fn start_tls(
        config: Arc<ServerConfig>,
        answer: impl Fn(&str) -> (u16, String) + Send + 'static,
    ) -> Self {
        let wrap = move |stream| StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        Self::start_behind(wrap, answer)
    }

    fn start_behind<S: Read + Write>(
        wrap: impl Fn(TcpStream) -> S + Send + 'static,
        answer: impl Fn(&str) -> (u16, String) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::channel();
        // Ends when its test does: nobody takes the requests any more.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = wrap(stream);
                let request = read(&mut stream);
                let (status, body) = answer(&request);
                if sender.send(request).is_err() {
                    return;
                }
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                // The client may have had enough already.
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).and_then(|()| stream.flush());
            }
        });
        Self { address, requests }
    }

    /// The next request, as text.
    pub(super) fn request(&self) -> String {
        self.requests.recv_timeout(DEADLINE).unwrap()
    }
}

/// An address at which nobody listens. It stays taken, so that no other test is given it.
pub(super) fn nobody() -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::mem::forget(socket);
    address
}

fn read(stream: &mut impl Read) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(chunk.get(..length).unwrap()));
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.map_or(0, |length| length.parse().unwrap())
        });
        if length == 0 || whole {
            return text;
        }
    }
}
