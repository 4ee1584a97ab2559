//! Back-pressure: a body goes no faster than it is taken, and mesher holds next to nothing of it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::support::mesh::{caller, on_both_drivers};
use super::super::support::origin::Gate;
use super::super::support::server::Server;
use super::super::support::wait::{PATIENCE, wait_until};

/// Size of the bodies that test back-pressure: far more than all socket buffers on the way hold.
const LARGE: u64 = 192 * 1024 * 1024;
/// What the kernel may hold on the way (two connections, each with the buffers of both its ends) with room to spare.
const KERNEL_HOLDS: u64 = 64 * 1024 * 1024;
/// What mesher may grow by while a large body passes.
const GROWTH_MAX: u64 = 8 * 1024 * 1024;

/// Writes a body of [`LARGE`] bytes and counts how much has been taken.
fn pour(mut stream: impl Write, written: &AtomicU64) {
    let piece = [b'x'; 64 * 1024];
    let mut left = LARGE;
    while left > 0 {
        let part = left.min(piece.len() as u64);
        if stream.write_all(&piece[..part as usize]).is_err() {
            return;
        }
        left -= part;
        written.fetch_add(part, Ordering::SeqCst);
    }
}

/// Reads a body of [`LARGE`] bytes.
fn drain(mut stream: impl Read, before: u64) {
    let mut piece = [0; 64 * 1024];
    let mut read = before;
    while read < LARGE {
        let n = stream.read(&mut piece).expect("the body broke off");
        assert!(n > 0, "the body ended after {read} bytes");
        read += n as u64;
    }
}

/// Waits until nothing has been written for a while; how much was by then.
fn wait_for_standstill(written: &AtomicU64) -> u64 {
    let (mut last, mut looks) = (0, 0);
    wait_until("the writer to stand still", PATIENCE, || {
        let now = written.load(Ordering::SeqCst);
        looks = if now == last && now > 0 { looks + 1 } else { 0 };
        last = now;
        looks > 50
    });
    last
}

#[test]
fn a_slow_reader_slows_the_service_down_instead_of_filling_memory() {
    on_both_drivers(|driver| {
        let written = Arc::new(AtomicU64::new(0));
        let counted = written.clone();
        let origin = Server::start("127.0.0.1:0".parse().unwrap(), move |mut stream, _| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            pour(stream, &counted);
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let before = mesher.anonymous_bytes();
        let mut client = mesher.connect();
        client.send("GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n");
        client.read_head_text();
        let stood = wait_for_standstill(&written);
        assert!(stood < KERNEL_HOLDS, "{stood} bytes were taken from the service though nobody reads");
        let grown = mesher.anonymous_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "mesher grew by {grown} bytes");
        let at_hand = client.read_buffered().len() as u64;
        drain(client.stream(), at_hand);
        let grown = mesher.anonymous_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "mesher grew by {grown} bytes");
    });
}

#[test]
fn a_slow_service_slows_an_upload_down_instead_of_filling_memory() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Server::start("127.0.0.1:0".parse().unwrap(), move |mut stream, _| {
            held.pass();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            drain(stream, 0);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let before = mesher.anonymous_bytes();
        let mut client = mesher.connect();
        client
            .send(format!("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: {LARGE}\r\n\r\n"));
        let written = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| pour(client.stream(), &written));
            let stood = wait_for_standstill(&written);
            assert!(
                stood < KERNEL_HOLDS,
                "{stood} bytes were taken from the client though the service reads nothing"
            );
            let grown = mesher.anonymous_bytes().saturating_sub(before);
            assert!(grown < GROWTH_MAX, "mesher grew by {grown} bytes");
            gate.open();
        });
        assert_eq!(client.read_response().text(), "ok");
        let grown = mesher.anonymous_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "mesher grew by {grown} bytes");
    });
}

#[test]
fn requests_that_wait_for_the_one_before_them_wait_at_the_client() {
    // All in all far more than mesher may grow by, and than sixteen connections are allowed to hold.
    const CLIENTS: usize = 16;
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Server::start("127.0.0.1:0".parse().unwrap(), move |mut stream, _| {
            let _ = stream.read(&mut [0; 4096]);
            held.pass();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let before = mesher.anonymous_bytes();
        let written = AtomicU64::new(0);
        let clients: Vec<_> = (0..CLIENTS).map(|_| mesher.connect()).collect();
        std::thread::scope(|scope| {
            for client in &clients {
                scope.spawn(|| {
                    let requests = "GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n".repeat(1000);
                    let mut stream = client.stream();
                    while let Ok(n) = stream.write(requests.as_bytes()) {
                        written.fetch_add(n as u64, Ordering::SeqCst);
                    }
                });
            }
            let stood = wait_for_standstill(&written);
            assert!(stood < CLIENTS as u64 * KERNEL_HOLDS, "{stood} bytes were taken from the clients");
            let grown = mesher.anonymous_bytes().saturating_sub(before);
            assert!(grown < GROWTH_MAX, "mesher grew by {grown} bytes");
            for client in &clients {
                let _ = client.stream().shutdown(std::net::Shutdown::Both);
            }
            gate.open();
        });
    });
}
