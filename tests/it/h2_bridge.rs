//! HTTP/2 on either side: heads, bodies, trailers, interim answers, cancellation, repetition, tunnels and shutdown.

mod peers;

use std::future::poll_fn;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request};
use mesher::net::Driver;

use self::peers::{Client, Service, in_time, local, piece, reason, rest, whole};
use super::support::conf::Conf;
use super::support::mesh::{caller, caller_conf, on_both_drivers};
use super::support::net::free_port;
use super::support::origin::{Gate, Origin, Reply};
use super::support::process::{Mesher, Start, run};
use super::support::wait::{PATIENCE, wait_until};

const CANCELLED: Duration = Duration::from_secs(5);

/// The registry of a caller: services and their endpoints, scheme included.
fn registry(services: &[(&str, String)]) -> String {
    let mut text = String::from("services:\n");
    for (name, endpoint) in services {
        text += &format!("  {name}: [{{version: 0.0.1, endpoints: [\"{endpoint}\"]}}]\n");
    }
    text
}

/// A sidecar that calls these.
fn calling(driver: Driver, services: &[(&str, String)]) -> Mesher {
    Start::new(caller_conf(driver, &[]).file("registry.yaml", &registry(services))).ready()
}

fn grpc(address: SocketAddr) -> String {
    format!("grpc://{address}")
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn post(uri: &str) -> Request<()> {
    Request::post(uri).body(()).unwrap()
}

/// A call of gRPC.
fn call(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// Sends back what it is sent, piece by piece, and trailers.
fn echo() -> Service {
    Service::start(|mut stream| {
        Box::pin(async move {
            let mut back = stream.begin(&[("x-path", stream.head.uri.path().to_owned().as_str())], false);
            while let Some(Ok(data)) = stream.body.data().await {
                stream.body.flow_control().release_capacity(data.len()).unwrap();
                back.send_data(data, false).unwrap();
            }
            back.send_trailers(trailers(&[("grpc-status", "0"), ("x-sum", "1")])).unwrap();
        })
    })
}

// --- from HTTP/2 to HTTP/1

#[test]
fn a_request_of_http2_reaches_a_service_of_http1_as_one_of_its_own() {
    on_both_drivers(|driver| {
        let origin = Origin::echoing();
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        let (asked, posted) = local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let request =
                Request::get("http://orders:8083/a?b=c").header("cookie", "x=1").header("cookie", "y=2");
            let asked = client.ask(request.header("te", "trailers").body(()).unwrap(), None).await;
            let posted = client.ask(post("http://orders/p"), Some(Bytes::from_static(b"hello"))).await;
            (asked, posted)
        });
        let text = asked.text();
        assert!(text.starts_with("GET /a?b=c HTTP/1.1\r\nHost: orders:8083\r\n"), "{text}");
        for line in [
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-port: 8083",
            "x-forwarded-host: orders:8083",
            "cookie: x=1; y=2",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
        }
        assert!(text.contains("x-cse-context: {\"x-cse-src-microservice\":\"caller\"}"), "{text}");
        assert!(posted.text().contains("Transfer-Encoding: chunked"), "{}", posted.text());
        assert!(posted.text().ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{}", posted.text());
        assert_eq!(origin.connections(), 1, "one connection carries both");
    });
}

#[test]
fn trailers_and_interim_answers_of_http1_come_back_on_the_stream() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| {
            Reply::default().send(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                 Connection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
            )
        });
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (mut response, _) = client.send(get("http://orders/"), true).await;
            let hints = in_time(poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
            assert_eq!((hints.status().as_u16(), hints.headers()["link"].as_bytes()), (103, &b"</a>"[..]));
            let answer = whole(response).await.unwrap();
            assert_eq!((answer.text(), answer.trailers["x-sum"].as_bytes()), ("hello", &b"7"[..]));
            assert!(!answer.head.headers.contains_key("connection"), "that concerns the other hop");
            assert!(answer.head.headers.contains_key("date"));
        });
    });
}

#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|_| Reply::default().send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let head = Request::head("http://orders/").body(()).unwrap();
            let answer = client.ask(head, None).await;
            assert_eq!((answer.field("content-length"), answer.body.len()), ("5", 0));
        });
    });
}

#[test]
fn a_head_that_text_could_not_carry_never_reaches_a_service() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("hello");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            for (name, value) in
                [("content_length", "5"), ("x-a", " b"), ("host", "other"), ("expect", "more")]
            {
                let request = Request::get("http://orders/").header(name, value).body(()).unwrap();
                let answer = client.ask(request, None).await;
                assert!(matches!(answer.head.status.as_u16(), 400 | 417), "{name}: {value}");
                assert!(answer.field("x-mesher-error").starts_with("DPE; "), "{name}: {value}");
            }
            let many = (0..200).fold(Request::get("http://orders/"), |r, _| r.header("cookie", "a=b"));
            assert_eq!(client.ask(many.body(()).unwrap(), None).await.head.status, 431);
            assert_eq!(client.ask(get("http://orders/"), None).await.text(), "hello");
        });
        assert_eq!(origin.requests(), 1);
    });
}

// --- from HTTP/1 to HTTP/2

#[test]
fn a_request_of_http1_reaches_a_service_of_http2() {
    on_both_drivers(|driver| {
        let service = echo();
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        let mut client = mesher.connect();
        for _ in 0..2 {
            client.send("POST http://orders/a?b HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
            let answer = client.read_response();
            assert_eq!((answer.status, answer.text(), answer.header("x-path")), (200, "hello", Some("/a")));
            assert_eq!(answer.trailers, [("grpc-status".into(), "0".into()), ("x-sum".into(), "1".into())]);
        }
        client.send("GET http://orders/b HTTP/1.0\r\n\r\n");
        let answer = client.read_to_end();
        assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\n"));
        assert_eq!(service.connections(), 1, "all went on one connection");
    });
}

#[test]
fn interim_answers_and_lengths_of_http2_come_back_as_text() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let hints = http::Response::builder().status(103).header("link", "</a>").body(()).unwrap();
                stream.respond.send_informational(hints).unwrap();
                stream.answer(&[("content-length", "5")], "hello");
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        let mut client = mesher.connect();
        client.send("GET http://orders/ HTTP/1.1\r\nHost: orders\r\n\r\n");
        let hints = String::from_utf8(client.read_through(b"\r\n\r\n")).unwrap();
        assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        let answer = client.read_response();
        assert_eq!((answer.header("content-length"), answer.text()), (Some("5"), "hello"));
    });
}

#[test]
fn an_interim_answer_of_http2_reaches_a_client_that_waits_for_it_with_its_body() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let go_on = http::Response::builder().status(100).body(()).unwrap();
                stream.respond.send_informational(go_on).unwrap();
                let body = stream.body.data().await.unwrap().unwrap();
                stream.answer(&[], body);
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        let mut client = mesher.connect();
        client.send("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.read_through(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        assert_eq!(client.read_response().text(), "hello");
    });
}

// --- HTTP/2 on both sides

#[test]
fn messages_pass_both_ways_as_they_are_sent_and_trailers_behind_them() {
    on_both_drivers(|driver| {
        let service = echo();
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (response, mut there) = client.send(call("http://orders/s", &[]), false).await;
            let mut back = in_time(response).await.unwrap().into_body();
            for message in ["one", "two", "three"] {
                there.send_data(Bytes::from(message), false).unwrap();
                assert_eq!(piece(&mut back).await, message);
            }
            there.send_data(Bytes::new(), true).unwrap();
            assert!(rest(&mut back).await.unwrap().is_empty());
            let last = in_time(back.trailers()).await.unwrap().unwrap();
            assert_eq!((last["grpc-status"].as_bytes(), last["x-sum"].as_bytes()), (&b"0"[..], &b"1"[..]));
        });
        mesher.wait_for_metric("mesher_grpc_calls_total", 1);
    });
}

#[test]
fn a_reader_that_is_slow_holds_up_the_service_and_not_mesher() {
    const BODY: usize = 64 << 20;
    on_both_drivers(|driver| {
        let (tell, sent) = channel();
        let service = Service::start(move |mut stream| {
            let tell = tell.clone();
            Box::pin(async move {
                let mut back = stream.begin(&[], false);
                let (mut left, chunk) = (BODY, Bytes::from(vec![7; 16 << 10]));
                while left > 0 {
                    back.reserve_capacity(chunk.len());
                    let Some(Ok(room)) = poll_fn(|cx| back.poll_capacity(cx)).await else { return };
                    let n = room.min(chunk.len()).min(left);
                    left -= n;
                    back.send_data(chunk.slice(..n), left == 0).unwrap();
                    let _ = tell.send(n);
                }
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        let before = mesher.resident_bytes();
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (response, _) = client.send(get("http://orders/"), true).await;
            let mut body = in_time(response).await.unwrap().into_body();
            // The service stands still once every window on the way is full.
            let mut total = 0;
            while let Ok(n) = sent.recv_timeout(Duration::from_millis(300)) {
                total += n;
                tokio::task::yield_now().await;
            }
            assert!(total < 4 << 20, "{total} bytes were taken that nobody reads");
            assert!(mesher.resident_bytes() < before + (8 << 20));
            assert_eq!(rest(&mut body).await.unwrap().len(), BODY);
        });
        assert!(mesher.resident_bytes() < before + (8 << 20));
    });
}

#[test]
fn large_bodies_pass_whole_in_every_combination() {
    on_both_drivers(|driver| {
        let (http2, http1) = (echo(), Origin::start(|seen| Reply::ok(&seen.request.body)));
        let both = [("two", grpc(http2.address)), ("one", format!("rest://{}", http1.address()))];
        let mesher = calling(driver, &both);
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            for name in ["one", "two"] {
                let (response, mut there) = client.send(post(&format!("http://{name}/")), false).await;
                let mut left = Bytes::from(body.clone());
                let send = async {
                    while !left.is_empty() {
                        there.reserve_capacity(left.len());
                        let room = poll_fn(|cx| there.poll_capacity(cx)).await.unwrap().unwrap();
                        let part = left.split_to(room.min(left.len()));
                        there.send_data(part, left.is_empty()).unwrap();
                    }
                };
                let (answer, ()) = tokio::join!(whole(response), send);
                assert!(answer.unwrap().body == body, "{name}");
            }
        });
        let mut client = mesher.connect();
        client.send(format!(
            "POST http://two/ HTTP/1.1\r\nHost: two\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        let mut there = client.stream().try_clone().unwrap();
        let copy = body.clone();
        let sending = std::thread::spawn(move || there.write_all(&copy).unwrap());
        assert!(client.read_response().body == body);
        sending.join().unwrap();
    });
}

// --- cancellation and failures

#[test]
fn a_call_that_its_client_gives_up_is_given_up_at_the_service() {
    on_both_drivers(|driver| {
        let (tell, told) = channel();
        let service = Service::start(move |mut stream| {
            let tell = tell.clone();
            Box::pin(async move {
                tell.send(None).unwrap();
                let code = poll_fn(|cx| stream.respond.poll_reset(cx)).await.unwrap();
                tell.send(Some(code)).unwrap();
            })
        });
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("late").held_by(&held));
        let both = [("two", grpc(service.address)), ("one", format!("rest://{}", origin.address()))];
        let mesher = calling(driver, &both);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (_response, mut there) = client.send(get("http://two/"), true).await;
            in_time(async {
                while told.try_recv().is_err() {
                    tokio::task::yield_now().await
                }
            })
            .await;
            there.send_reset(Reason::CANCEL);
            let code = in_time(async {
                loop {
                    match told.try_recv() {
                        Ok(code) => break code,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            });
            assert_eq!(code.await, Some(Reason::CANCEL));
            let (_response, mut there) = client.send(get("http://one/"), true).await;
            in_time(async {
                while gate.waiting() == 0 {
                    tokio::task::yield_now().await
                }
            })
            .await;
            there.send_reset(Reason::CANCEL);
            in_time(async {
                while mesher.metric("mesher_requests_in_flight") > 0 {
                    tokio::task::yield_now().await
                }
            })
            .await;
        });
        mesher.wait_until_upstream_open(1);
        gate.open();
        let mut client = mesher.connect();
        client.send("GET http://two/ HTTP/1.1\r\nHost: two\r\n\r\n");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(None));
        drop(client);
        assert_eq!(told.recv_timeout(CANCELLED), Ok(Some(Reason::CANCEL)));
    });
}

#[test]
fn a_response_that_breaks_off_is_reset_with_the_same_code_or_cut() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let mut back = stream.begin(&[], false);
                back.send_data(Bytes::from_static(b"begun"), false).unwrap();
                let _ = stream.body.data().await;
                back.send_reset(Reason::from(0xb));
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
            assert_eq!(reason(&error), Reason::ENHANCE_YOUR_CALM);
        });
        let mut client = mesher.connect();
        client.send("POST http://orders/ HTTP/1.1\r\nHost: orders\r\nContent-Length: 9\r\n\r\n");
        client.read_through(b"begun\r\n");
        client.send("now");
        let mut byte = [0];
        let error = std::io::Read::read(&mut client.stream(), &mut byte).unwrap_err();
        assert!(super::support::client::is_reset(&error), "{error}");
    });
}

#[test]
fn what_a_service_has_not_looked_at_is_sent_again_whatever_it_is() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                if stream.number % 2 == 0 {
                    stream.respond.send_reset(Reason::REFUSED_STREAM);
                    return;
                }
                let body = rest(&mut stream.body).await.unwrap();
                stream.answer(&[("x-field", &stream.field("x-field"))], body);
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let request = Request::post("http://orders/").header("x-field", "kept").body(()).unwrap();
            let answer = client.ask(request, Some(Bytes::from_static(b"hello"))).await;
            assert_eq!((answer.text(), answer.field("x-field")), ("hello", "kept"));
        });
        assert_eq!(service.requests(), 2);
    });
}

#[test]
fn a_service_that_says_goaway_finishes_its_calls_and_the_next_goes_to_a_new_connection() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                stream.leave.notify_one();
                let body = rest(&mut stream.body).await.unwrap();
                stream.answer(&[], body);
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (first, mut there) = client.send(post("http://orders/"), false).await;
            in_time(async {
                while service.requests() == 0 {
                    tokio::task::yield_now().await
                }
            })
            .await;
            for _ in 0..20 {
                let answer = client.ask(post("http://orders/"), Some(Bytes::from_static(b"next"))).await;
                assert_eq!(answer.text(), "next");
            }
            there.send_data(Bytes::from_static(b"first"), true).unwrap();
            assert_eq!(whole(first).await.unwrap().text(), "first");
        });
        assert!(service.connections() > 1);
    });
}

// --- shutdown and abuse

#[test]
fn at_a_shutdown_clients_hear_goaway_and_their_streams_finish() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("late").held_by(&held));
        let mut mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let (response, _) = client.send(get("http://orders/"), true).await;
            in_time(async {
                while gate.waiting() == 0 {
                    tokio::task::yield_now().await
                }
            })
            .await;
            mesher.terminate();
            // No stream can be opened once GOAWAY has come.
            in_time(async {
                while poll_fn(|cx| client.sender.poll_ready(cx)).await.is_ok() {
                    tokio::task::yield_now().await
                }
            })
            .await;
            gate.open();
            assert_eq!(whole(response).await.unwrap().text(), "late");
            drop(client.sender);
            in_time(client.ended).await.unwrap().unwrap();
        });
        assert_eq!(mesher.wait(PATIENCE).code(), Some(0));
    });
}

#[test]
fn a_client_that_resets_what_it_asks_for_is_told_to_calm_down_and_hits_no_service() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Reply::ok("late").held_by(&held));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            for _ in 0..2000 {
                if poll_fn(|cx| client.sender.poll_ready(cx)).await.is_err() {
                    break;
                }
                let Ok((_, mut stream)) = client.sender.send_request(get("http://orders/"), true) else {
                    break;
                };
                stream.send_reset(Reason::CANCEL);
                tokio::task::yield_now().await;
            }
            let error = in_time(client.ended).await.unwrap().unwrap_err();
            assert_eq!(reason(&error), Reason::ENHANCE_YOUR_CALM);
        });
        assert!(origin.requests() <= 300, "{} reached the service", origin.requests());
        gate.open();
        assert_eq!(mesher.connect().get("orders", "http://orders/").status, 200, "others are served");
    });
}

// --- tunnels

#[test]
fn http2_inside_a_tunnel_is_the_services_whatever_its_authority_says() {
    on_both_drivers(|driver| {
        let origin =
            Origin::start(|seen| Reply::ok(seen.request.header("x-forwarded-port").unwrap_or("none")));
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut stream = TcpStream::connect(mesher.conf().outgoing).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.write_all(b"CONNECT orders:9000 HTTP/1.1\r\nHost: orders:9000\r\n\r\n").unwrap();
            let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(in_time(tokio::io::AsyncReadExt::read_u8(&mut stream)).await.unwrap());
            }
            assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
            let mut client = Client::over(stream).await;
            for authority in ["orders:9000", "orders", "something.else"] {
                let answer = client.ask(get(&format!("http://{authority}/")), None).await;
                assert_eq!(answer.text(), "9000", "{authority}");
            }
        });
        assert_eq!(origin.requests(), 3);
    });
}

#[test]
fn connect_on_a_stream_opens_a_tunnel_of_bytes_to_an_instance() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("through");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let connect = || Request::builder().method(Method::CONNECT);
            let (response, mut there) =
                client.send(connect().uri("orders:80").body(()).unwrap(), false).await;
            let response = in_time(response).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut back = response.into_body();
            there
                .send_data(
                    Bytes::from_static(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                    false,
                )
                .unwrap();
            let text = String::from_utf8(rest(&mut back).await.unwrap()).unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("through"), "{text}");
            let (refused, _there) = client.send(connect().uri("nobody:80").body(()).unwrap(), false).await;
            assert_eq!(in_time(refused).await.unwrap().status(), 503);
        });
        assert_eq!(origin.seen()[0].request.header("host"), Some("h"), "the bytes are those of the client");
    });
}

// --- gRPC

#[test]
fn a_call_goes_to_the_local_port_for_grpc_and_a_request_to_the_one_for_rest() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let left = stream.field("grpc-timeout");
                stream.begin(&[("grpc-status", "5"), ("x-left", &left)], true);
            })
        });
        let origin = Origin::answering("rest");
        let port = free_port();
        let conf = Conf::sidecar("provider").driver(driver);
        let listen = SocketAddr::new(conf.incoming.ip(), port);
        let conf = conf.set("chassis.yaml", "servicecomb.protocols.grpc.listenAddress", listen.to_string());
        let ports =
            format!("--service-ports=rest:{},grpc:{}", origin.address().port(), service.address.port());
        let mesher = Start::new(conf).arg(ports).ready();
        local(async {
            for address in [mesher.conf().incoming, listen] {
                let mut client = Client::connect(address).await;
                let answer = client.ask(call("http://provider/s/m", &[("grpc-timeout", "10S")]), None).await;
                assert_eq!(answer.field("grpc-status"), "5", "{address}");
                let left =
                    answer.field("x-left").trim_end_matches(char::is_alphabetic).parse::<u64>().unwrap();
                assert!(left > 0 && answer.field("x-left") != "10S", "{}", answer.field("x-left"));
            }
            let mut client = Client::connect(mesher.conf().incoming).await;
            assert_eq!(client.ask(get("http://provider/"), None).await.text(), "rest");
        });
        assert_eq!(mesher.metric_of("mesher_grpc_calls_total", "grpc_status=\"5\""), 2);
    });
}

#[test]
fn what_mesher_says_itself_to_a_call_is_a_status() {
    on_both_drivers(|driver| {
        let silent = Service::start(|stream| {
            Box::pin(async move {
                let _stream = stream;
                std::future::pending().await
            })
        });
        let origin = Origin::answering("rest");
        let services = [("silent", grpc(silent.address)), ("plain", format!("rest://{}", origin.address()))];
        let mesher = calling(driver, &services);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let timeout = [("grpc-timeout", "200m")];
            for (name, fields, status, flag) in
                [("silent", &timeout[..], "4", "UT"), ("plain", &[], "14", "UH"), ("nobody", &[], "14", "NC")]
            {
                let answer = client.ask(call(&format!("http://{name}/s/m"), fields), None).await;
                assert_eq!(answer.head.status, 200, "{name}");
                assert_eq!(
                    (answer.field("grpc-status"), answer.field("content-type")),
                    (status, "application/grpc"),
                    "{name}"
                );
                assert!(
                    answer.field("x-mesher-error").starts_with(flag),
                    "{name}: {}",
                    answer.field("x-mesher-error")
                );
                assert!(!answer.field("grpc-message").is_empty(), "{name}");
            }
        });
        assert_eq!(origin.requests(), 0, "a call is never sent as HTTP/1");
    });
}

#[test]
fn a_port_for_grpc_that_is_taken_is_named_with_its_key() {
    let conf = Conf::sidecar("caller");
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let conf = conf.set("chassis.yaml", "servicecomb.protocols.grpc.listenAddress", address);
    let config = conf.mesher_yaml();
    let (code, output) = run(&["--config", config.to_str().unwrap()], conf.path());
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("servicecomb.protocols.grpc.listenAddress"), "{output}");
}

// --- shards

#[test]
fn four_long_connections_never_all_sit_on_one_of_two_shards() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("hello");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])]);
        let mesher = Start::new(conf).arg("--shards=2").ready();
        local(async {
            let mut clients = Vec::new();
            for _ in 0..4 {
                let mut client = Client::connect(mesher.conf().outgoing).await;
                assert_eq!(client.ask(get("http://orders/"), None).await.text(), "hello");
                clients.push(client);
            }
            let on = |shard: u8| mesher.metric_of("mesher_shard_connections", &format!("shard=\"{shard}\""));
            assert_eq!((on(0), on(1)), (2, 2));
        });
        wait_until("the connections to end", PATIENCE, || {
            mesher.metric_of("mesher_connections", "side=\"downstream\"") == 0
        });
    });
}
