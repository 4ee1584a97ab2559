//! Bodies and calls: pieces as they come, back-pressure, cancellation, repetition.

use super::*;

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
        let before = mesher.anonymous_bytes();
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
            assert!(mesher.anonymous_bytes() < before + (8 << 20));
            assert_eq!(rest(&mut body).await.unwrap().len(), BODY);
        });
        assert!(mesher.anonymous_bytes() < before + (8 << 20));
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
            heard(&told).await;
            there.send_reset(Reason::CANCEL);
            assert_eq!(heard(&told).await, Some(Reason::CANCEL));
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
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Some(Reason::CANCEL)));
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
        assert!(crate::support::client::is_reset(&error), "{error}");
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
