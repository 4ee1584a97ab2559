//! Messages of several sizes.

use std::fmt;

/// Bytes of a message, and what to call it.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    name: &'static str,
    /// The message.
    pub(super) bytes: Vec<u8>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} B", self.name, self.bytes.len())
    }
}

/// Heads of requests: the shortest, that of a program, that of a browser.
pub(super) fn requests() -> [Sample; 3] {
    let program = "GET http://orders/v1/orders/4711 HTTP/1.1\r\nHost: orders\r\nUser-Agent: okhttp/4.12.0\r\n\
                   Accept: application/json\r\nAccept-Encoding: gzip\r\nx-request-id: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n\r\n";
    [
        sample("short", "GET / HTTP/1.1\r\nHost: orders\r\n\r\n"),
        sample("of a program", program),
        sample("30 headers", &format!("GET http://orders/ HTTP/1.1\r\nHost: orders\r\n{}\r\n", headers(29))),
    ]
}

/// Heads of responses, with few headers and with many.
pub(super) fn responses() -> [Sample; 2] {
    let usual = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
                 Content-Type: application/json\r\nContent-Length: 128\r\nCache-Control: no-store\r\n\r\n";
    [
        sample("usual", usual),
        sample("30 headers", &format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n{}\r\n", headers(29))),
    ]
}

/// 16 KiB as chunks of so many bytes.
pub(super) fn chunked(size: usize) -> Vec<u8> {
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    format!("{}0\r\n\r\n", chunk.repeat(16_384 / size)).into_bytes()
}

fn sample(name: &'static str, text: &str) -> Sample {
    Sample { name, bytes: text.as_bytes().to_vec() }
}

fn headers(count: usize) -> String {
    (0..count).map(|number| format!("X-Header-Number-{number:02}: the value {number}\r\n")).collect()
}
