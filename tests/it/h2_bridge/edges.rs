//! What no well-behaved peer does, and what the end of one side must not cost the other.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::Sender;
use std::thread;

use super::super::http2::frame::{self, Frame, PREFACE, flag, kind, setting};
use super::super::http2::hpack::Block;
use super::*;

/// A service of one connection, played by a script: bytes, whatever they mean.
fn raw(script: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || script(listener.accept().unwrap().0));
    address
}

/// A tunnel to `orders`, with these bytes sent through it.
async fn tunnel(client: &mut Client, first: &'static [u8]) -> (h2::SendStream<Bytes>, h2::RecvStream) {
    let connect = Request::builder().method(Method::CONNECT).uri("orders:80").body(()).unwrap();
    let (response, mut there) = client.send(connect, false).await;
    let response = in_time(response).await.unwrap();
    assert_eq!(response.status(), 200);
    there.send_data(Bytes::from_static(first), false).unwrap();
    (there, response.into_body())
}

// --- bodies

#[test]
fn bytes_behind_an_answer_without_content_are_not_taken_for_the_next_answer() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let status = stream.head.uri.path().trim_start_matches('/').parse::<u16>().unwrap();
                let head = http::Response::builder().status(status).body(()).unwrap();
                let mut body = stream.respond.send_response(head, false).unwrap();
                let text =
                    if status == 200 { "this" } else { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother" };
                body.send_data(Bytes::from(text), true).unwrap();
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        for status in [204, 304] {
            let mut client = mesher.connect();
            assert_eq!(client.get("orders", &format!("http://orders/{status}")).status, status);
            assert_eq!(client.get("orders", "http://orders/200").text(), "this", "behind {status}");
        }
    });
}

// --- repetition

#[test]
fn a_request_that_its_service_resets_is_not_asked_again_unless_that_is_wished() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                stream.respond.send_reset(Reason::INTERNAL_ERROR);
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        assert_eq!(mesher.connect().get("orders", "http://orders/").status, 503);
        assert_eq!(service.requests(), 1);
    });
}

// --- tunnels

// --- the end

