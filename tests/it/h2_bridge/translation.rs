//! How messages of one version become those of the other.

use super::*;

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
fn an_answer_without_content_tells_no_length_as_text() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let status = stream.head.uri.path().trim_start_matches('/').parse::<u16>().unwrap();
                let head = http::Response::builder().status(status).header("content-length", "0");
                stream.respond.send_response(head.body(()).unwrap(), true).unwrap();
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        let length = |path: &str| {
            let answer = mesher.connect().get("orders", &format!("http://orders{path}"));
            answer.header("content-length").map(str::to_owned)
        };
        assert_eq!((length("/204"), length("/304").as_deref()), (None, Some("0")));
    });
}

#[test]
fn a_status_that_is_none_is_the_services_fault_whatever_the_client_speaks() {
    on_both_drivers(|driver| {
        let service = Service::start(|mut stream| {
            Box::pin(async move {
                let head = http::Response::builder().status(999).body(()).unwrap();
                stream.respond.send_response(head, true).unwrap();
            })
        });
        let mesher = calling(driver, &[("orders", grpc(service.address))]);
        let answer = mesher.connect().get("orders", "http://orders/");
        assert_eq!(answer.status, 502);
        assert!(answer.header("x-mesher-error").unwrap().starts_with("UPE; "));
        local(async {
            let mut client = Client::connect(mesher.conf().outgoing).await;
            let answer = client.ask(get("http://orders/"), None).await;
            assert_eq!(answer.head.status, 502);
            assert!(answer.text().contains("status 999"), "{answer:?}");
        });
    });
}

// --- HTTP/2 on both sides

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
