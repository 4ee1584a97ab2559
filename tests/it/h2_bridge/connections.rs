//! Connections of HTTP/2: their end, tunnels through them, and who serves them.

use super::*;

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
fn who_connects_while_the_end_is_announced_is_served_before_it_hears_goaway() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("hello");
        let conf = caller_conf(driver, &[("orders", &[origin.address()])])
            .set("mesher.yaml", "mesher.drain.graceSeconds", "10m")
            .set("mesher.yaml", "mesher.drain.timeoutSeconds", "10m");
        let mesher = Start::new(conf).ready();
        mesher.terminate();
        wait_until("the announcement", PATIENCE, || {
            mesher.connect().get("orders", "http://orders/").header("connection") == Some("close")
        });
        local(async {
            for _ in 0..3 {
                let mut client = Client::connect(mesher.conf().outgoing).await;
                let unasked = client.sender.current_max_send_streams();
                // Libraries look at what comes with the SETTINGS before they ask anything.
                in_time(async {
                    while client.sender.current_max_send_streams() == unasked {
                        tokio::task::yield_now().await
                    }
                })
                .await;
                assert_eq!(client.ask(get("http://orders/"), None).await.text(), "hello");
                in_time(client.ended).await.unwrap().unwrap();
            }
        });
    });
}

#[test]
fn who_has_asked_nothing_by_the_end_hears_goaway() {
    on_both_drivers(|driver| {
        let conf = caller_conf(driver, &[]).set("mesher.yaml", "mesher.drain.graceSeconds", "0");
        let mut mesher = Start::new(conf).ready();
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            poll_fn(|cx| client.sender.poll_ready(cx)).await.unwrap();
            mesher.terminate();
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
        mesher.wait_for_output("it was told to calm down client=127.0.0.1 listener=127.0.0.1:");
        gate.open();
        assert_eq!(mesher.connect().get("orders", "http://orders/").status, 200, "others are served");
    });
}

// --- tunnels

#[test]
fn a_tunnel_on_a_stream_needs_a_port_as_one_on_a_connection_does() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("hello");
        let mesher = caller(driver, &[("orders", &[origin.address()])]);
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let answer = client.ask(Request::connect("orders").body(()).unwrap(), None).await;
            assert_eq!((answer.head.status.as_u16(), answer.text()), (400, "CONNECT without a port\n"));
        });
    });
}

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
