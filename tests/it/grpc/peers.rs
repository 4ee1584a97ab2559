//! The libraries of other languages: grpcio (Python) and grpc-js (Node), as clients and as servers.
//!
//! The scripts lie in `tests/peers`; `.ci/run peers` installs below `target/peers` what they need. A library that is not
//! installed is skipped, and the output says so.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::channel::mpsc;
use serde_json::{Value, json};
use tonic::{Code, Request};

use super::client::{EchoClient, call_id};
use super::messages::EchoRequest;
use super::server::EchoServer;
use super::way::{DOWN, Mesh, Way, play};

/// What each script can be asked to play against any server.
const CASES: [&str; 20] = [
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
/// The service whose connections are short, and how short.
const SHORT: &str = "short";
const CONNECTION_AGE_MAX: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
enum Library {
    Grpcio,
    GrpcJs,
}

impl Library {
    /// A script of `tests/peers` in the library's language; none if the library is not installed.
    fn script(self, name: &str) -> Option<Command> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut command, installed, extension) = match self {
            Self::Grpcio => {
                let python = root.join("target/peers/python/bin/python");
                (Command::new(&python), python, "py")
            }
            Self::GrpcJs => {
                let modules = root.join("target/peers/node/node_modules");
                let mut node = Command::new("node");
                node.env("NODE_PATH", &modules);
                (node, modules.join("@grpc/grpc-js"), "js")
            }
        };
        if !installed.exists() {
            println!("skipped: {} is not there; `.ci/run peers` installs it", installed.display());
            return None;
        }
        command
            .env("GRPC_VERBOSITY", "NONE") // calls that must fail are no news
            .arg(root.join("tests/peers").join(format!("{name}.{extension}")))
            .current_dir(root.join("tests/peers"));
        Some(command)
    }
}

/// A server of another library, or ours. Dropping it ends it.
enum Server {
    Tonic(EchoServer),
    Script { child: Child, address: SocketAddr },
}

impl Server {
    fn tonic(connection_age_max: Option<Duration>) -> Option<Self> {
        Some(Self::Tonic(EchoServer::start_with(connection_age_max)))
    }

    fn script(library: Library, connection_age_max: Option<Duration>) -> Option<Self> {
        let mut command = library.script("server")?;
        command.args(connection_age_max.map(|age| age.as_millis().to_string()));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cannot start a server");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).expect("no port");
        let port = port.trim().parse().expect("the server did not start");
        Some(Self::Script { child, address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port) })
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Tonic(server) => server.address(),
            Self::Script { address, .. } => *address,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Script { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A way as the scripts are told it.
fn description(label: &str, way: &Way, cases: &[&str]) -> Value {
    // Either variable may be set; the libraries look at grpc_proxy first.
    let variable = if way.authority.starts_with("far") { "grpc_proxy" } else { "http_proxy" };
    let (target, proxy) = match way.is_tunnel {
        true => (way.authority.clone(), json!({"variable": variable, "url": format!("http://{}", way.dial)})),
        false => (way.dial.to_string(), Value::Null),
    };
    let authority = &way.authority;
    json!({"way": format!("{label} {}", way.name), "target": target, "authority": authority, "proxy": proxy, "cases": cases})
}

/// All that a client of a library plays, and whether it went well.
#[track_caller]
fn library_calls(client: Library, start: impl Fn(Option<Duration>) -> Option<Server>) {
    let Some(client) = client.script("client") else { return };
    let (Some(server), Some(short)) = (start(None), start(Some(CONNECTION_AGE_MAX))) else { return };
    let mesh = Mesh::start_with(server.address(), &[(SHORT, short.address())], |conf| conf);
    let mut ways = vec![description("to it", &Way::direct(server.address()), &CASES)];
    ways.extend(mesh.ways().iter().map(|way| description("through", way, &CASES)));
    let secured = Mesh::secured(server.address());
    ways.push(description("through", &secured.way_over_tls(), &CASES));
    // Not straight to it: grpc-js gives up where a server refuses a call that came too late.
    let short = ["calls_over_short_connections"];
    ways.extend(mesh.ways_to(SHORT).iter().map(|way| description(SHORT, way, &short)));
    for nobody in ["nobody", DOWN] {
        ways.extend(mesh.ways_to(nobody).iter().map(|way| description(nobody, way, &["unavailable"])));
    }
    play_script(client, &ways);
}

#[track_caller]
fn play_script(mut client: Command, ways: &[Value]) {
    let mut child =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cannot start a client");
    let asked = serde_json::to_vec(ways).unwrap();
    child.stdin.take().unwrap().write_all(&asked).expect("the client does not listen");
    let told = child.wait_with_output().expect("no output");
    let told = String::from_utf8(told.stdout).unwrap();
    let (mut played, mut wrong) = (BTreeSet::new(), Vec::new());
    for line in told.lines() {
        let result: Value = serde_json::from_str(line).expect("no JSON");
        let name = |key: &str| result[key].as_str().unwrap().to_owned();
        played.insert((name("way"), name("case")));
        if !result["wrong"].is_null() {
            wrong.push(format!("{}: {}: {}", name("way"), name("case"), name("wrong")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases failed\n{}", wrong.len(), played.len(), wrong.join("\n"));
    let cases: usize = ways.iter().map(|way| way["cases"].as_array().unwrap().len()).sum();
    assert_eq!(played.len(), cases, "the client ended early");
}

#[test]
fn grpcio_calls_tonic() {
    library_calls(Library::Grpcio, Server::tonic);
}

#[test]
fn grpcio_calls_grpcio() {
    library_calls(Library::Grpcio, |age| Server::script(Library::Grpcio, age));
}

#[test]
fn grpcio_calls_grpc_js() {
    library_calls(Library::Grpcio, |age| Server::script(Library::GrpcJs, age));
}

#[test]
fn grpc_js_calls_tonic() {
    library_calls(Library::GrpcJs, Server::tonic);
}

#[test]
fn grpc_js_calls_grpcio() {
    library_calls(Library::GrpcJs, |age| Server::script(Library::Grpcio, age));
}

#[test]
fn grpc_js_calls_grpc_js() {
    library_calls(Library::GrpcJs, |age| Server::script(Library::GrpcJs, age));
}

#[test]
fn tonic_calls_tonic_through_sidecars_that_speak_tls() {
    let server = EchoServer::start();
    let mesh = Mesh::secured(server.address());
    play(&[mesh.way_over_tls()], &everything);
    let handshakes =
        mesh.caller.metric_of("mesher_tls_handshakes_total", "side=\"upstream\",result=\"full\"");
    assert!(handshakes > 0, "the calls went in the clear");
}

#[test]
fn tonic_calls_grpcio() {
    tonic_calls(Library::Grpcio);
}

#[test]
fn tonic_calls_grpc_js() {
    tonic_calls(Library::GrpcJs);
}

#[track_caller]
fn tonic_calls(library: Library) {
    let Some(server) = Server::script(library, None) else { return };
    play(&[Way::direct(server.address())], &everything);
    let mesh = Mesh::start(server.address());
    play(&mesh.ways(), &everything);
}

/// One call of each kind, and each way a call can end.
async fn everything(client: EchoClient) {
    let large = EchoRequest { payload: vec![7; 5 * 1024 * 1024], ..EchoRequest::default() };
    assert!(client.unary(large.clone()).await.unwrap().payload == large.payload);

    let (send, requests) = mpsc::unbounded();
    let say =
        || send.unbounded_send(EchoRequest { payload: b"x".to_vec(), ..EchoRequest::default() }).unwrap();
    say();
    let mut replies = client.converse("Bidi", Request::new(requests)).await.unwrap().into_inner();
    for turn in 1..=20 {
        assert_eq!(replies.message().await.unwrap().unwrap().requests, turn);
        say();
    }
    drop(send);
    assert_eq!(replies.message().await.unwrap().unwrap().requests, 21);
    assert_eq!(replies.message().await.unwrap(), None);

    let message = "kein K\u{e4}se: 100% weg \u{20ac}";
    let request = EchoRequest { fail_code: 5, fail_message: message.into(), ..EchoRequest::default() };
    let status = client.unary(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, message));

    let id = call_id();
    let request = EchoRequest { id: id.clone(), replies: 1, hold: true, ..EchoRequest::default() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(30));
    let mut replies = client.call("ServerStream", request).await.unwrap().into_inner();
    let told_ms = replies.message().await.unwrap().unwrap().time_left_ms;
    assert!((10_000..=30_000).contains(&told_ms), "{told_ms} ms");
    drop(replies);
    assert!(client.was_cancelled(&id).await.unwrap());
    assert_eq!(
        client.call("Unserved", EchoRequest::default()).await.unwrap_err().code(),
        Code::Unimplemented
    );
}
