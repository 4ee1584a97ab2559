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

#[test]
fn a_response_that_breaks_off_without_an_error_is_reset_with_one() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let mut back = stream.begin(&[], false);
                back.send_data(Bytes::from_static(b"begun"), false).unwrap();
                let _ = stream.body.data().await;
                back.send_reset(Reason::NO_ERROR);
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (response, mut there) = client.send(post("http://orders/"), false).await;
            let mut back = in_time(response).await.unwrap().into_body();
            assert_eq!(piece(&mut back).await, "begun");
            there.send_data(Bytes::from_static(b"now"), false).unwrap();
            let error = rest(&mut back).await.unwrap_err();
            assert_eq!(reason(&error), Reason::INTERNAL_ERROR, "some clients take NO_ERROR for the end");
        });
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

#[test]
fn a_tunnel_whose_client_resets_it_is_reset_at_the_service_too() {
    on_both_drivers(|driver| {
        let (tell, told) = channel();
        let address = raw(move |mut stream| {
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).unwrap();
            tell.send(Ok(4)).unwrap();
            tell.send(stream.read(&mut bytes).map_err(|error| error.kind())).unwrap();
        });
        let mesher = caller(driver, &[("orders", &[address])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (mut there, _back) = tunnel(&mut client, b"half").await;
            assert_eq!(heard(&told).await, Ok(4));
            there.send_reset(Reason::CANCEL);
            assert_eq!(heard(&told).await, Err(ErrorKind::ConnectionReset));
        });
    });
}

#[test]
fn what_a_service_has_said_comes_through_a_tunnel_though_it_listens_no_more() {
    /// More than a window, and no more than the sockets hold beside it.
    const BODY: usize = 150_000;
    on_both_drivers(|driver| {
        let (close, closing): (Sender<()>, _) = channel();
        let (tell, told) = channel();
        let address = raw(move |mut stream| {
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(&[7; BODY]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            closing.recv().unwrap();
            // Bytes are unread: whoever writes to it from now on fails.
            drop(stream);
            tell.send(()).unwrap();
        });
        let mesher = caller(driver, &[("orders", &[address])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let mut other = Client::connect(mesher.conf().outgoing).await;
            let (mut there, mut back) = tunnel(&mut client, b"x").await;
            let first = in_time(back.data()).await.unwrap().unwrap();
            there.send_data(Bytes::from_static(b"unread"), false).unwrap();
            // It has come there once mesher has answered what was said behind it.
            other.ask(get("http://nobody/"), None).await;
            close.send(()).unwrap();
            heard(&told).await;
            for _ in 0..5 {
                let _ = there.send_data(Bytes::from_static(b"more"), false);
                other.ask(get("http://nobody/"), None).await;
            }
            back.flow_control().release_capacity(first.len()).unwrap();
            let rest = rest(&mut back).await.map(|rest| rest.len());
            assert_eq!(rest.ok(), Some(BODY - first.len()));
        });
    });
}

// --- the end

#[test]
fn a_client_that_reads_slowly_gets_all_that_was_answered_before_a_shutdown() {
    const STREAMS: u32 = 100;
    const BODY: usize = 60_000;
    on_both_drivers(|driver| {
        let body = "b".repeat(BODY);
        let origin = Origin::start(move |_| Reply::ok(&body));
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]).set(
            "mesher.yaml",
            "mesher.drain.graceSeconds",
            "0",
        );
        let mut mesher = Start::new(conf).ready();
        let mut socket = TcpStream::connect(mesher.conf().outgoing).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 256 * 1024).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let wide = 1 << 30;
        let mut bytes = PREFACE.to_vec();
        bytes.extend(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, wide)]).bytes());
        bytes.extend(Frame::window_update(0, wide).bytes());
        for number in 0..STREAMS {
            bytes.extend(Frame::request(2 * number + 1, &Block::request_of("orders", "GET")).bytes());
        }
        socket.write_all(&bytes).unwrap();
        wait_until("the answers", PATIENCE, || {
            origin.requests() == STREAMS as usize && mesher.metric("mesher_requests_in_flight") == 0
        });
        mesher.terminate();
        let (mut came, mut ended) = (0, 0);
        while let Ok(Some(frame)) = frame::read(&mut socket) {
            match frame.kind {
                kind::DATA => {
                    came += frame.payload.len();
                    ended += u32::from(frame.has(flag::END_STREAM));
                    #[expect(clippy::disallowed_methods, reason = "a line of some 2 MB a second")]
                    thread::sleep(Duration::from_nanos(500 * frame.payload.len() as u64));
                    let room = u32::try_from(frame.payload.len()).unwrap();
                    let _ = socket.write_all(&Frame::window_update(0, room).bytes());
                }
                kind::PING if !frame.has(flag::ACK) => {
                    let _ =
                        socket.write_all(&Frame::new(kind::PING, 0, frame.payload).with(flag::ACK).bytes());
                }
                _ => {}
            }
        }
        assert_eq!((came, ended), (BODY * STREAMS as usize, STREAMS));
        assert_eq!(mesher.wait(PATIENCE).code(), Some(0));
    });
}
