//! Each library as a client of each: tonic, grpcio (Python) and grpc-js (Node), in all cases, on all ways. A library that
//! is not installed is skipped, and the output says so.

use std::time::Duration;

use super::cases::{CASES, CASES_OF_SHORT_CONNECTIONS, CASES_OF_TONIC};
use super::library::{Library, Server, description, play_script};
use super::mesh::{Cast, DOWN, Hops, Mesh, NOBODY, SHORT};
use super::way::{Way, play_cases};

/// What each script can be asked to play against any server.
const SCRIPT_CASES: [&str; 20] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "empty_client_stream",
    "server_streaming",
    "empty_server_stream",
    "bidi_streaming",
    "empty_bidi_stream",
    "deadline",
    "deadline_as_the_server_sees_it",
    "no_deadline",
    "cancel_before_the_answer",
    "cancel_after_an_answer",
    "status_and_message",
    "status_after_answers",
    "metadata",
    "metadata_of_a_failure",
    "unknown_method",
    "unknown_rpc_service",
    "compressed",
];
/// Short, and still long enough for a handshake on a busy machine.
const CONNECTION_AGE_MAX: Duration = Duration::from_millis(500);

/// A server, one whose connections are short, and sidecars before both: a pair of them for each choice of hops.
struct Stage {
    direct: [Way; 2],
    meshes: Vec<Mesh>,
    _servers: [Server; 2],
}

impl Stage {
    /// None if the server is of a library that is not installed.
    fn build(start: impl Fn(&Cast, Option<Duration>) -> Option<Server>) -> Option<Self> {
        let cast = Cast::new();
        let servers = [start(&cast, None)?, start(&cast, Some(CONNECTION_AGE_MAX))?];
        let [server, short] = servers.each_ref().map(Server::listens);
        let meshes = Hops::ALL.iter().map(|hops| Mesh::of_hops(*hops, &cast, server, short));
        let direct = [Way::direct(server.clear), Way::direct(server.tls).over_tls(&cast.client)];
        Some(Self { direct, meshes: meshes.collect(), _servers: servers })
    }

    /// All ways through sidecars to the server.
    fn ways(&self) -> Vec<Way> {
        self.meshes.iter().flat_map(Mesh::ways).collect()
    }

    /// All ways through the caller's sidecar to another service.
    fn ways_to(&self, service: &str) -> Vec<Way> {
        self.meshes.iter().flat_map(|mesh| mesh.ways_to(service)).collect()
    }

    /// The same to the one whose connections are short. A tunnel that mesher does not look into is as good as straight to
    /// it, and grpc-js and tonic give up where a server refuses a call that came too late.
    fn ways_to_short(&self) -> Vec<Way> {
        self.ways_to(SHORT).into_iter().filter(|way| !way.is_passed_through()).collect()
    }

    /// Every hop that is to be TLS was.
    #[track_caller]
    fn assert_secured(&self) {
        let handshakes = |mesh: &Mesh| {
            let count = |mesher: &crate::support::process::Mesher, side: &str| {
                mesher.metric_of("mesher_tls_handshakes_total", &format!("side=\"{side}\",result=\"full\""))
            };
            let of =
                [(&mesh.caller, "downstream"), (&mesh.caller, "upstream"), (&mesh.provider, "downstream")];
            let server = count(&mesh.provider, "upstream");
            (of.map(|(mesher, side)| count(mesher, side) > 0), server > 0)
        };
        let met: Vec<_> = self.meshes.iter().map(handshakes).collect();
        assert_eq!(met, [([false; 3], false), ([true; 3], false), ([true; 3], true)], "of {:?}", Hops::ALL);
    }
}

/// All that tonic plays as a client, and whether it went well.
#[track_caller]
fn tonic_calls(stage: &Stage) {
    play_cases(&stage.direct, CASES);
    play_cases(&stage.ways(), CASES);
    play_cases(&stage.ways_to_short(), CASES_OF_SHORT_CONNECTIONS);
    stage.assert_secured();
}

/// The same of a library.
#[track_caller]
fn library_calls(client: Library, start: impl Fn(&Cast, Option<Duration>) -> Option<Server>) {
    let Some(client) = client.script("client") else { return };
    let Some(stage) = Stage::build(start) else { return };
    let mut ways = Vec::new();
    let mut add = |more: &[Way], cases: &[&str]| ways.extend(more.iter().map(|way| description(way, cases)));
    add(&stage.direct, &SCRIPT_CASES);
    add(&stage.ways(), &SCRIPT_CASES);
    add(&stage.ways_to_short(), &["calls_over_short_connections"]);
    for nobody in [NOBODY, DOWN] {
        add(&stage.ways_to(nobody), &["unavailable"]);
    }
    play_script(client, &ways);
    stage.assert_secured();
}

#[test]
fn tonic_calls_tonic() {
    let stage = Stage::build(Server::tonic).expect("tonic is always there");
    tonic_calls(&stage);
    play_cases(&stage.direct, CASES_OF_TONIC);
    play_cases(&stage.ways(), CASES_OF_TONIC);
}

#[test]
fn tonic_calls_grpcio() {
    let Some(stage) = Stage::build(|cast, age| Server::script(Library::Grpcio, cast, age)) else { return };
    tonic_calls(&stage);
}

#[test]
fn tonic_calls_grpc_js() {
    let Some(stage) = Stage::build(|cast, age| Server::script(Library::GrpcJs, cast, age)) else { return };
    tonic_calls(&stage);
}

#[test]
fn grpcio_calls_tonic() {
    library_calls(Library::Grpcio, Server::tonic);
}

#[test]
fn grpcio_calls_grpcio() {
    library_calls(Library::Grpcio, |cast, age| Server::script(Library::Grpcio, cast, age));
}

#[test]
fn grpcio_calls_grpc_js() {
    library_calls(Library::Grpcio, |cast, age| Server::script(Library::GrpcJs, cast, age));
}

#[test]
fn grpc_js_calls_tonic() {
    library_calls(Library::GrpcJs, Server::tonic);
}

#[test]
fn grpc_js_calls_grpcio() {
    library_calls(Library::GrpcJs, |cast, age| Server::script(Library::Grpcio, cast, age));
}

#[test]
fn grpc_js_calls_grpc_js() {
    library_calls(Library::GrpcJs, |cast, age| Server::script(Library::GrpcJs, cast, age));
}
