//! How calls and connections end: deadlines, cancellation, GOAWAY.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::future::{Either, select};
use tonic::{Code, Request};

use super::client::{EchoClient, call_id};
use super::mesh::{FAR, Mesh, NEAR, registry, sidecar};
use super::messages::EchoRequest;
use super::server::EchoServer;
use super::way::{Way, on_every_way_to, run};
use crate::support::mesh::CALLER;
use crate::support::process::Start;
use crate::support::wait::PATIENCE;

/// A call that is held until it is cancelled, and its name.
fn held() -> (String, EchoRequest) {
    let id = call_id();
    (id.clone(), EchoRequest { id, hold: true, ..EchoRequest::default() })
}

pub(crate) async fn a_deadline_ends_a_call_at_the_client_and_at_the_server(client: EchoClient) {
    // The shortest that lets the call reach the server, however busy the machine is.
    for timeout_ms in [200, 1000, 5000, 20_000] {
        let (id, request) = held();
        let mut request = Request::new(request);
        request.set_timeout(Duration::from_millis(timeout_ms));
        let (call, begun) = (pin!(client.unary(request)), pin!(client.begun(&id)));
        let Either::Right((begun, call)) = select(call, begun).await else { continue };
        begun.unwrap();
        // tonic's own clock says CANCELLED; servers and proxies that are told of the deadline say the other.
        let code = call.await.unwrap_err().code();
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
        assert!(client.was_cancelled(&id).await.unwrap());
        return;
    }
    panic!("no call reached the server in time");
}

pub(crate) async fn the_server_is_told_what_is_left_of_the_deadline(client: EchoClient) {
    let mut request = Request::new(EchoRequest::default());
    request.set_timeout(Duration::from_secs(600));
    let told_ms = client.unary(request).await.unwrap().time_left_ms;
    assert!((300_000..=600_000).contains(&told_ms), "{told_ms} ms");
    let told_ms = client.unary(EchoRequest::default()).await.unwrap().time_left_ms;
    assert_eq!(told_ms, 0, "a deadline that the client has not set");
}

pub(crate) async fn cancelling_before_the_answer_reaches_the_server(client: EchoClient) {
    let (id, request) = held();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.unary(request).await }
    });
    client.begun(&id).await.unwrap();
    call.abort();
    assert!(client.was_cancelled(&id).await.unwrap());
}

pub(crate) async fn cancelling_after_an_answer_reaches_the_server(client: EchoClient) {
    let (id, request) = held();
    let request = EchoRequest { replies: 1, ..request };
    let mut replies = client.call("ServerStream", request).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    drop(replies);
    assert!(client.was_cancelled(&id).await.unwrap());
}

pub(crate) async fn cancelling_a_conversation_reaches_the_server(client: EchoClient) {
    cancel_a_conversation(client, true).await;
}

/// Not every server tells this from the end of the requests.
pub(crate) async fn cancelling_a_conversation_reaches_the_server_that_reads(client: EchoClient) {
    cancel_a_conversation(client, false).await;
}

async fn cancel_a_conversation(client: EchoClient, hold: bool) {
    let id = call_id();
    let (send, requests) = mpsc::unbounded();
    send.unbounded_send(EchoRequest { id: id.clone(), hold, ..EchoRequest::default() }).unwrap();
    let mut requests = Request::new(requests);
    // Dropping the answers is not enough for tonic while there may be more to ask.
    let handle = requests.cancellation_handle();
    let mut replies = client.converse("Bidi", requests).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    handle.cancel();
    assert!(client.was_cancelled(&id).await.unwrap());
}

pub(crate) async fn a_call_that_ends_in_order_is_not_cancelled(client: EchoClient) {
    let id = call_id();
    client.unary(EchoRequest { id: id.clone(), ..EchoRequest::default() }).await.unwrap();
    assert!(!client.was_cancelled(&id).await.unwrap());
}

/// Of a server that ends each connection after a moment.
pub(crate) async fn calls_over_short_connections_are_not_lost(client: EchoClient) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        let call = |number| client.unary(EchoRequest { payload: vec![number], ..EchoRequest::default() });
        for (number, reply) in (0..4).zip(futures::future::join_all((0..4).map(call)).await) {
            assert_eq!(reply.unwrap().payload, [number]);
        }
    }
}

#[test]
fn no_call_is_lost_when_the_server_ends_connections_by_their_age() {
    // Far more than a connection needs to begin: one that ends before it has begun can carry no call.
    let server = EchoServer::start_with(Some(Duration::from_millis(250)), None);
    on_every_way_to(&server, |client| {
        let server = &server;
        async move {
            let (before, begun) = (server.accepted(), Instant::now());
            // Connections end under way, some of them with calls just sent.
            while server.accepted() < before + 4 {
                let calls = (0..8_u8).map(|number| {
                    client.unary(EchoRequest { payload: vec![number], ..EchoRequest::default() })
                });
                for (number, reply) in (0..8).zip(futures::future::join_all(calls).await) {
                    assert_eq!(reply.unwrap().payload, [number]);
                }
                assert!(begun.elapsed() < PATIENCE, "the server does not end connections");
            }
        }
    });
}

#[test]
fn a_call_in_flight_is_finished_by_the_server_that_drains_and_new_ones_go_to_another() {
    let [old, new] = [EchoServer::start(), EchoServer::start()];
    let (conf, outgoing, _) = sidecar(CALLER);
    let text = registry(&[(NEAR, old.address()), (NEAR, new.address())]);
    let _caller = Start::new(conf.file("registry.yaml", &text)).ready();
    let way = Way::plain(outgoing, NEAR);
    run(async {
        let client = EchoClient::new(&way);
        let (send, requests) = mpsc::unbounded();
        let mut replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
        let turn = || send.unbounded_send(EchoRequest::default()).unwrap();
        turn();
        assert_eq!(replies.message().await.unwrap().unwrap().requests, 1);
        let server = if old.accepted() == 1 { &old } else { &new };
        server.drain();
        for _ in 0..20 {
            client.unary(EchoRequest::default()).await.unwrap();
        }
        turn();
        assert_eq!(replies.message().await.unwrap().unwrap().requests, 2, "the call goes on");
        drop(send);
        assert_eq!(replies.message().await.unwrap(), None);
    });
}

#[test]
fn a_sidecar_that_ends_finishes_the_calls_in_flight() {
    let server = EchoServer::start();
    let mesh = Mesh::start_with(server.address(), |conf| {
        conf.set("mesher.yaml", "mesher.drain.graceSeconds", "0").set(
            "mesher.yaml",
            "mesher.drain.timeoutSeconds",
            "60s",
        )
    });
    let way = Way::plain(mesh.outgoing, FAR);
    run(async {
        let client = EchoClient::new(&way);
        let (send, requests) = mpsc::unbounded();
        let mut replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
        let turn = || send.unbounded_send(EchoRequest::default()).unwrap();
        turn();
        assert_eq!(replies.message().await.unwrap().unwrap().requests, 1);
        for sidecar in [&mesh.caller, &mesh.provider] {
            sidecar.terminate();
            sidecar.wait_for_output("draining");
        }
        turn();
        assert_eq!(replies.message().await.unwrap().unwrap().requests, 2);
        drop(send);
        assert_eq!(replies.message().await.unwrap(), None);
    });
}
