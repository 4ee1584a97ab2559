//! What mesher answers itself: as gRPC, with a status of the failure vocabulary and a message that says why.

use std::net::Ipv4Addr;
use std::pin::pin;

use bytes::Bytes;
use futures::future::select;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::client::EchoClient;
use super::mesh::{DOWN, FAR, Mesh, NOBODY, registry, sidecar};
use super::messages::EchoRequest;
use super::server::EchoServer;
use super::way::{Way, run};
use super::wire;
use crate::support::mesh::CALLER;
use crate::support::process::Start;
use crate::support::wait::{PATIENCE, wait_until};

fn ask(way: &Way) -> Status {
    run(async { EchoClient::new(way).unary(EchoRequest::default()).await }).expect_err("answered by nobody")
}

#[test]
fn a_service_that_nobody_knows_is_unavailable_and_the_message_says_so() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    for way in mesh.ways_to(NOBODY) {
        let status = ask(&way);
        assert_eq!(status.code(), Code::Unavailable, "{}", way.name);
        // tonic does not tell what stands in the answer to CONNECT.
        assert!(way.is_tunnel || status.message().contains(NOBODY), "{status:?}");
    }
}

#[test]
fn a_service_without_a_listening_instance_is_unavailable() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    for way in mesh.ways_to(DOWN) {
        let status = ask(&way);
        assert_eq!(status.code(), Code::Unavailable, "{}: {status:?}", way.name);
        assert!(!status.message().is_empty());
    }
}

#[test]
fn a_service_that_goes_away_is_unavailable_through_both_sidecars() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    let ways = mesh.ways();
    for way in &ways {
        run(async { EchoClient::new(way).unary(EchoRequest::default()).await }).unwrap();
    }
    drop(server);
    for way in &ways {
        assert_eq!(ask(way).code(), Code::Unavailable, "{}", way.name);
    }
}

#[test]
fn a_server_that_dies_in_the_middle_of_its_answer_is_unavailable() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    let ways = mesh.ways();
    let calls = ways.iter().map(|way| async {
        let request = EchoRequest { replies: 2, hold: true, ..EchoRequest::default() };
        let mut replies = EchoClient::new(way).call("ServerStream", request).await.unwrap().into_inner();
        for _ in 0..2 {
            assert!(replies.message().await.unwrap().is_some());
        }
        replies
    });
    run(async {
        let calls = futures::future::join_all(calls).await;
        drop(server);
        for (way, mut replies) in ways.iter().zip(calls) {
            let status = replies.message().await.expect_err("the answer goes on");
            assert_eq!(status.code(), Code::Unavailable, "{}: {status:?}", way.name);
            assert!(status.message().contains("127.0.0."), "it is not said who: {status:?}");
        }
    });
    for (sidecar, calls) in [(&mesh.caller, 4), (&mesh.provider, 2)] {
        // A call is counted once its last frame is out, which the client may see first.
        wait_until("the calls to be counted", PATIENCE, || {
            sidecar.metric_of("mesher_grpc_calls_total", "grpc_status=\"14\"") == calls
        });
        // Those that another sidecar has ended have ended in order.
        wait_until("their ends to be counted", PATIENCE, || {
            sidecar.metric_of("mesher_requests_total", "flag=\"UR\"") == 2
        });
    }
}

/// How a raw client sees an answer end that begins like this and whose server dies then.
fn end_of(head: Response<()>, part: &'static [u8]) -> Result<HeaderMap, h2::Reason> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("cannot listen");
    listener.set_nonblocking(true).expect("cannot be used by tokio");
    let mesh = Mesh::start(listener.local_addr().unwrap());
    let (kill, killed) = oneshot::channel::<()>();
    let server = async move {
        let (stream, _) = TcpListener::from_std(listener).unwrap().accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        send.send_data(Bytes::from_static(part), false).unwrap();
        select(pin!(connection.accept()), killed).await;
    };
    run(async {
        tokio::spawn(server);
        let mut client = wire::connect(mesh.outgoing).await;
        let (response, _body) = client.send_request(wire::call(FAR, &[]), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), part);
        drop(kill);
        match body.data().await {
            None => Ok(body.trailers().await.unwrap().expect("an end without a status")),
            Some(Err(error)) => Err(error.reason().expect("the connection ended")),
            Some(Ok(data)) => panic!("{data:?} follows"),
        }
    })
}

fn grpc_head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc+proto")
}

#[test]
fn an_answer_of_grpc_that_breaks_off_between_messages_ends_with_a_status() {
    let trailers = end_of(grpc_head().body(()).unwrap(), wire::EMPTY_MESSAGE).unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    assert!(trailers["grpc-message"].to_str().unwrap().contains("127.0.0."), "{trailers:?}");
    assert!(trailers["x-mesher-error"].to_str().unwrap().starts_with("UR; "), "{trailers:?}");
}

#[test]
fn an_answer_that_breaks_off_elsewhere_or_is_not_of_grpc_or_has_a_length_is_reset() {
    let plain = Response::builder().header("content-type", "text/plain").body(()).unwrap();
    let measured = grpc_head().header("content-length", 100).body(()).unwrap();
    let within_a_message = grpc_head().body(()).unwrap();
    for (head, part) in [
        (plain, wire::EMPTY_MESSAGE),
        (measured, wire::EMPTY_MESSAGE),
        (within_a_message, b"\0\0\0\0\x09half"),
    ] {
        assert_eq!(end_of(head, part), Err(h2::Reason::INTERNAL_ERROR));
    }
}

#[test]
fn a_failure_leaves_the_connection_to_the_sidecar_in_use() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    let way = Way::plain(mesh.outgoing, NOBODY);
    run(async {
        let client = EchoClient::new(&way);
        for _ in 0..5 {
            assert_eq!(client.unary(EchoRequest::default()).await.unwrap_err().code(), Code::Unavailable);
        }
        let open = mesh.caller.metric_of("mesher_connections", "side=\"downstream\"");
        assert_eq!(open, 1, "there is one connection, and it is still open");
    });
}

#[test]
fn a_call_without_a_provider_is_served_once_there_is_one() {
    let server = EchoServer::start();
    let (conf, dial, _) = sidecar(CALLER);
    let caller = Start::new(conf).ready();
    let way = Way::plain(dial, FAR);
    assert_eq!(ask(&way).code(), Code::Unavailable);
    caller.conf().replace("registry.yaml", &registry(&[(FAR, server.address())]));
    wait_until("the service to be known", PATIENCE, || {
        run(async { EchoClient::new(&way).unary(EchoRequest::default()).await }).is_ok()
    });
}

#[test]
fn a_head_that_mesher_refuses_is_answered_by_a_status_too() {
    let (script, _told) = wire::recording();
    let many = (0..200).map(|n| (format!("x-{n}"), "v".to_owned())).collect::<Vec<_>>();
    let refused = [
        ("near", vec![("x-a".to_owned(), " spaced".to_owned())], 3),
        ("near:99999", vec![], 3),
        ("near", many, 8),
    ];
    wire::on_the_wire(script, |connection, _| {
        let refused = refused.clone();
        async move {
            for (service, fields, status) in refused {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                let (head, ..) = wire::ask(connection.clone(), wire::call(service, &fields)).await;
                assert_eq!(head.status(), 200, "{service}");
                assert_eq!(head.headers()["content-type"], "application/grpc");
                assert_eq!(head.headers()["grpc-status"], status.to_string(), "{:?}", head.headers());
                assert!(!head.headers()["grpc-message"].is_empty());
                assert!(!head.headers().contains_key("date"), "metadata is the service's");
            }
        }
    });
}

#[test]
fn calls_that_end_without_a_status_are_counted_by_the_one_that_the_client_gives_them() {
    let server = EchoServer::start();
    let mesh = Mesh::start(server.address());
    run(async {
        let client = EchoClient::new(&Way::plain(mesh.outgoing, FAR));
        let request = EchoRequest { replies: 1, hold: true, ..EchoRequest::default() };
        let mut replies = client.call("ServerStream", request).await.unwrap().into_inner();
        assert!(replies.message().await.unwrap().is_some());
    });
    for sidecar in [&mesh.caller, &mesh.provider] {
        wait_until("the cancelled call to be counted", PATIENCE, || {
            sidecar.metric_of("mesher_grpc_calls_total", "grpc_status=\"1\"") == 1
        });
    }
}
