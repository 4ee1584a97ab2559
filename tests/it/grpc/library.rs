//! The libraries of other languages: grpcio (Python) and grpc-js (Node). The scripts of `tests/peers` serve and call by
//! them; `.ci/run peers` installs below `target/peers` what they need.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::mesh::{Cast, FAR, Listens};
use super::party::Party;
use super::server::EchoServer;
use super::way::Way;

/// One of them.
#[derive(Clone, Copy)]
pub(crate) enum Library {
    Grpcio,
    GrpcJs,
}

/// A server of one of them, or ours. It listens twice. Dropping it ends it.
pub(crate) enum Server {
    Tonic { clear: EchoServer, tls: EchoServer },
    Script { child: Child, listens: Listens },
}

// === impl Library ===

impl Library {
    /// A script of `tests/peers` in the library's language; none if the library is not installed, which the output says.
    pub(crate) fn script(self, name: &str) -> Option<Command> {
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
            .current_dir(root.join("tests/peers"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Some(command)
    }
}

/// Has a script play the cases of each way, and looks at what it says of them.
#[track_caller]
pub(crate) fn play_script(mut client: Command, ways: &[Value]) {
    let mut child = client.spawn().expect("cannot start a client");
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

/// A way as the scripts are told it.
pub(crate) fn description(way: &Way, cases: &[&str]) -> Value {
    // Either variable may be set; the libraries look at grpc_proxy first.
    let variable = if way.service() == FAR { "grpc_proxy" } else { "http_proxy" };
    let (target, proxy) = match way.is_tunnel {
        true => (way.authority.clone(), json!({"variable": variable, "url": format!("http://{}", way.dial)})),
        false => (way.dial.to_string(), Value::Null),
    };
    json!({
        "way": way.name,
        "target": target,
        "authority": way.authority,
        "proxy": proxy,
        "tls": way.tls.as_ref().map(Party::description),
        "cases": cases,
    })
}

// === impl Server ===

impl Server {
    /// Ours. Connections are asked to end at this age.
    pub(crate) fn tonic(cast: &Cast, connection_age_max: Option<Duration>) -> Option<Self> {
        let start = |party| EchoServer::start_with(connection_age_max, party);
        Some(Self::Tonic { clear: start(None), tls: start(Some(&cast.server)) })
    }

    /// The same, of a library; none if it is not installed.
    pub(crate) fn script(
        library: Library,
        cast: &Cast,
        connection_age_max: Option<Duration>,
    ) -> Option<Self> {
        let mut command = library.script("server")?;
        let age_ms = connection_age_max.map(|age| age.as_millis());
        let mut child = command.spawn().expect("cannot start a server");
        let asked = json!({"connection_age_ms_max": age_ms, "tls": cast.server.description()});
        writeln!(child.stdin.as_mut().unwrap(), "{asked}").expect("the server does not listen");
        let mut ports = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ports).expect("no ports");
        let (clear, tls) = ports.trim().split_once(' ').expect("the server did not start");
        let address = |port: &str| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().unwrap());
        Some(Self::Script { child, listens: Listens { clear: address(clear), tls: address(tls) } })
    }

    pub(crate) fn listens(&self) -> Listens {
        match self {
            Self::Tonic { clear, tls } => Listens { clear: clear.address(), tls: tls.address() },
            Self::Script { listens, .. } => *listens,
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
