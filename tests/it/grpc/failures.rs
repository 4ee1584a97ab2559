//! What mesher answers itself: as gRPC, with a status of the failure vocabulary and a message that says why.

use tonic::{Code, Status};

use super::client::EchoClient;
use super::mesh::{DOWN, FAR, Mesh, NOBODY, registry, sidecar};
use super::messages::EchoRequest;
use super::server::EchoServer;
use super::way::{Way, run};
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
