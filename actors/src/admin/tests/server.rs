//! The server beneath the pages: connections, its stop, TLS.

use super::*;

#[test]
fn several_requests_go_over_one_connection() {
    let fixture = Fixture::new();
    let request = "GET /live HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = ask(fixture.admin.addr(), &format!("{request}{request}{last}"));
    assert_eq!(answers.body.matches("HTTP/1.1 200 OK").count(), 2, "{answers:?}");
}

#[test]
fn several_admins_run_in_one_process() {
    let (one, other) = (Fixture::new(), Fixture::new());
    one.not_ready(&["draining"]);
    assert_eq!((one.get("/ready").status, other.get("/ready").status), (503, 200));
    one.admin.stop();
    assert_eq!(other.get("/ready").status, 200);
}

#[test]
fn stopping_closes_the_listener_and_idle_connections() {
    let fixture = Fixture::new();
    let addr = fixture.admin.addr();
    let mut idle = connect(addr);
    idle.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 4096]).unwrap() > 0);
    fixture.admin.stop();
    assert!(matches!(idle.read(&mut [0; 64]), Ok(0)));
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn who_has_connected_before_the_stop_is_answered() {
    let fixture = Fixture::new();
    let addr = fixture.admin.addr();
    let mut early = connect(addr);
    assert_eq!(fixture.get("/live").status, 200, "it is accepted, as is who came before");
    let stopping = std::thread::spawn(move || fixture.admin.stop());
    while TcpStream::connect(addr).is_ok() {
        std::thread::yield_now();
    }
    early.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    early.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close"), "{text:?}");
    stopping.join().unwrap();
}

#[test]
fn one_admin_after_the_other_serves_a_socket_and_no_request_fails() {
    let options = Fixture::new().options;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = ask(addr, "GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                    assert_eq!(answer.status, 200);
                }
            });
        }
        for _ in 0..100 {
            start(listener.try_clone().unwrap(), options.clone()).unwrap().stop();
        }
        let last = start(listener, options).unwrap();
        over.store(true, Ordering::Relaxed);
        last // until they are answered
    })
    .stop();
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_stop() {
    let fixture = Fixture::new();
    let board = fixture.board.of_shard(0);
    for index in 0..SERIES_MAX {
        let _ = board.series(labels(Direction::Outgoing, &format!("service-{index}"), "0.0.1"));
    }
    let mut deaf = connect(fixture.admin.addr());
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(deaf.read(&mut [0; 64]).unwrap() > 0);
    let before = std::time::Instant::now();
    fixture.admin.stop();
    assert!(before.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_client_that_sends_nothing_does_not_hold_up_the_stop() {
    let fixture = Fixture::new();
    let mut silent = connect(fixture.admin.addr());
    assert_eq!(fixture.get("/live").status, 200);
    let before = std::time::Instant::now();
    fixture.admin.stop();
    assert!(before.elapsed() < Duration::from_secs(30));
    assert!(!matches!(silent.read(&mut [0; 64]), Ok(1..)), "an answer to no request");
}

#[test]
fn behind_tls_it_answers_those_who_speak_it() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("ca.crt", &authority.pem);
    let tls = home.good(
        "ssl.rest-admin.Provider: {certFile: me.crt, keyFile: me.key}\n\
         ssl.registrator.Consumer: {verifyPeer: 'true', caFile: ca.crt, serverName: me}\n",
    );
    let fixture = Fixture::behind(tls.admin());
    let session =
        rustls::ClientConnection::new(tls.registry().unwrap(), "localhost".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(session, connect(fixture.admin.addr()));
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = Vec::new();
    // The end of the connection may come without a goodbye.
    let _ = stream.read_to_end(&mut text);
    assert!(text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text));
}
