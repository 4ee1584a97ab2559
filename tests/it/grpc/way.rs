//! The ways that a call can take to a server: straight to it, or through sidecars.

use std::net::{Ipv4Addr, SocketAddr};

use super::client::EchoClient;
use super::server::EchoServer;
use crate::support::conf::Conf;
use crate::support::mesh::{CALLER, PROVIDER};
use crate::support::net::{free_address, free_port};
use crate::support::process::{Mesher, Start};
use crate::support::tls::Authority;
use crate::support::wait::PATIENCE;

/// The service as a caller names it that reaches the server through its own sidecar alone.
pub(crate) const NEAR: &str = "near";
/// The same service, behind a sidecar of its own.
pub(crate) const FAR: &str = "far";
/// A service whose only instance does not listen.
pub(crate) const DOWN: &str = "down";

/// How a client reaches a server.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// For whoever reads what failed.
    pub(crate) name: &'static str,
    /// The address to connect to.
    pub(crate) dial: SocketAddr,
    /// The service, with the port if that is asked for.
    pub(crate) authority: String,
    /// By CONNECT; with prior knowledge of HTTP/2 otherwise.
    pub(crate) is_tunnel: bool,
}

impl Way {
    /// No sidecar at all.
    pub(crate) fn direct(server: SocketAddr) -> Self {
        Self { name: "direct", dial: server, authority: NEAR.into(), is_tunnel: false }
    }
}

/// A caller's sidecar and a provider's, before a server.
pub(crate) struct Mesh {
    pub(crate) caller: Mesher,
    pub(crate) provider: Mesher,
    /// Where the application sends its calls.
    pub(crate) outgoing: SocketAddr,
    server: SocketAddr,
}

impl Mesh {
    /// Starts both.
    #[track_caller]
    pub(crate) fn start(server: SocketAddr) -> Self {
        Self::start_with(server, &[], |conf| conf)
    }

    /// The same; the caller knows more services, and both are configured further.
    #[track_caller]
    pub(crate) fn start_with(
        server: SocketAddr,
        more: &[(&str, SocketAddr)],
        configure: impl Fn(Conf) -> Conf,
    ) -> Self {
        let sidecar = |name| {
            let (conf, outgoing, incoming) = sidecar(name);
            (configure(conf), outgoing, incoming)
        };
        let (conf, _, incoming) = sidecar(PROVIDER);
        let conf = conf.set("mesher.yaml", "mesher.service.host", server.ip().to_string());
        let provider = Start::new(conf).arg(format!("--service-ports=grpc:{}", server.port())).ready();
        let (conf, outgoing, _) = sidecar(CALLER);
        let services = [&[(NEAR, server), (FAR, incoming), (DOWN, free_address())], more].concat();
        let caller = Start::new(conf.file("registry.yaml", &registry(&services))).ready();
        Self { caller, provider, outgoing, server }
    }

    /// The same as [`start`](Self::start); the sidecars speak TLS with each other, and both prove who they are.
    #[track_caller]
    pub(crate) fn secured(server: SocketAddr) -> Self {
        let authority = Authority::new();
        let [listener, client] = [format!("{PROVIDER}.rest.Provider"), format!("{FAR}.grpc.Consumer")];
        let own = [authority.issue(FAR), authority.issue(CALLER)];
        Self::start_with(server, &[], |conf| {
            // Each of them has a use for one of the tags.
            let conf = conf.presents(&listener, &own[0]).verifies(&listener, &authority.pem);
            conf.presents(&client, &own[1]).verifies(&client, &authority.pem)
        })
    }

    /// The way through both, of one whose sidecars speak TLS.
    pub(crate) fn way_over_tls(&self) -> Way {
        let name = "two sidecars over TLS";
        Way { name, dial: self.outgoing, authority: FAR.into(), is_tunnel: false }
    }

    /// Every way through it that ends at the server.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let port = self.server.port();
        let way =
            |name, authority: String, is_tunnel| Way { name, dial: self.outgoing, authority, is_tunnel };
        vec![
            way("one sidecar", NEAR.into(), false),
            way("one sidecar by CONNECT", format!("{NEAR}:{port}"), true),
            way("two sidecars", FAR.into(), false),
            way("two sidecars by CONNECT", format!("{FAR}:{port}"), true),
        ]
    }

    /// Ways to another service through the caller's sidecar alone, with prior knowledge and by CONNECT.
    pub(crate) fn ways_to(&self, service: &str) -> [Way; 2] {
        let way =
            |name, authority: String, is_tunnel| Way { name, dial: self.outgoing, authority, is_tunnel };
        [
            way("with prior knowledge", service.into(), false),
            way("by CONNECT", format!("{service}:{}", free_port()), true),
        ]
    }
}

/// Configuration of a sidecar that serves gRPC, and where: for its application, and for other sidecars.
pub(crate) fn sidecar(name: &str) -> (Conf, SocketAddr, SocketAddr) {
    let conf = Conf::sidecar(name);
    let incoming = SocketAddr::new(conf.incoming.ip(), free_port());
    let outgoing = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), incoming.port());
    let key = "servicecomb.protocols.grpc.listenAddress";
    (conf.set("chassis.yaml", key, incoming.to_string()), outgoing, incoming)
}

/// A file registry of services that speak gRPC, one instance an entry; a name may have several.
pub(crate) fn registry(services: &[(&str, SocketAddr)]) -> String {
    let mut text = String::from("services:\n");
    let mut names: Vec<_> = services.iter().map(|(name, _)| *name).collect();
    names.dedup();
    for name in names {
        text += &format!("  {name}:\n");
        for (_, address) in services.iter().filter(|(other, _)| *other == name) {
            text += &format!("    - version: 0.0.1\n      endpoints: [\"grpc://{address}\"]\n");
        }
    }
    text
}

/// Plays a case on every way to a server.
#[track_caller]
pub(crate) fn on_every_way<Fut: Future<Output = ()>>(case: impl Fn(EchoClient) -> Fut + Sync) {
    on_every_way_to(&EchoServer::start(), case);
}

/// Plays a case on every way to this server.
#[track_caller]
pub(crate) fn on_every_way_to<Fut: Future<Output = ()>>(
    server: &EchoServer,
    case: impl Fn(EchoClient) -> Fut + Sync,
) {
    play(&[Way::direct(server.address())], &case);
    let mesh = Mesh::start(server.address());
    play(&mesh.ways(), &case);
}

/// Plays a case on these ways, all at the same time. A thread that fails has the name of its way.
#[track_caller]
pub(crate) fn play<Fut: Future<Output = ()>>(ways: &[Way], case: &(impl Fn(EchoClient) -> Fut + Sync)) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let start = |way: &Way| {
            let (name, way) = (way.name.to_owned(), way.clone());
            let play = move || run(async { case(EchoClient::new(&way)).await });
            std::thread::Builder::new().name(name).spawn_scoped(scope, play).expect("no thread")
        };
        let runs: Vec<_> = ways.iter().map(|way| (way.name, start(way))).collect();
        runs.into_iter().filter_map(|(name, run)| run.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "failed by {failed:?}, see above");
}

/// Runs a client. One that takes too long hangs.
#[track_caller]
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
    let ended: Result<T, _> = runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await });
    ended.expect("waited in vain for the end of a call")
}
