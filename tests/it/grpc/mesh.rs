//! Two sidecars before a server: a caller's and a provider's. Which of the hops between a client and the server are TLS
//! is said once, and the ways through follow from it.

use std::net::{Ipv4Addr, SocketAddr};

use super::party::Party;
use super::way::Way;
use crate::support::conf::Conf;
use crate::support::mesh::{CALLER, PROVIDER};
use crate::support::net::{free_address, free_port};
use crate::support::process::{Mesher, Start};
use crate::support::tls::Authority;

/// The service as a caller names it that reaches the server through its own sidecar alone.
pub(crate) const NEAR: &str = "near";
/// The same service, behind a sidecar of its own.
pub(crate) const FAR: &str = "far";
/// A service whose only instance does not listen.
pub(crate) const DOWN: &str = "down";
/// A service whose connections are short.
pub(crate) const SHORT: &str = "short";
/// A service that is not in the registry.
pub(crate) const NOBODY: &str = "nobody";

/// Which hops are TLS. Sidecars speak it with each other as soon as there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hops {
    /// Between a client and its sidecar.
    pub(crate) client: Entry,
    /// Between the last sidecar and the server.
    pub(crate) server_is_tls: bool,
}

/// What a sidecar takes from its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// No TLS.
    Clear,
    /// Either.
    Permissive,
    /// Nothing but TLS.
    Strict,
}

/// Who takes part in TLS.
pub(crate) struct Cast {
    /// An application that calls.
    pub(crate) client: Party,
    /// The caller's sidecar, on both sides.
    caller: Party,
    /// The provider's sidecar, on both sides.
    provider: Party,
    /// An application that is called.
    pub(crate) server: Party,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listens {
    pub(crate) clear: SocketAddr,
    pub(crate) tls: SocketAddr,
}

/// A caller's sidecar and a provider's, before a server.
pub(crate) struct Mesh {
    pub(crate) caller: Mesher,
    pub(crate) provider: Mesher,
    /// Where the application sends its calls.
    pub(crate) outgoing: SocketAddr,
    server: SocketAddr,
    hops: Hops,
    /// What a client goes by where it speaks TLS.
    client: Option<Party>,
}

// === impl Hops ===

impl Hops {
    /// No TLS at all.
    pub(crate) const CLEAR: Self = Self { client: Entry::Clear, server_is_tls: false };
    /// All pairs of a client's and a server's hop are in one of them.
    pub(crate) const ALL: [Self; 3] = [
        Self::CLEAR,
        Self { client: Entry::Strict, server_is_tls: false },
        Self { client: Entry::Permissive, server_is_tls: true },
    ];

    fn have_tls(self) -> bool {
        self != Self::CLEAR
    }

    /// Whether a client may come like this. The sidecar itself is asked for a tunnel in the clear, and TLS inside is with
    /// the instance.
    fn allow(self, is_tunnel: bool, is_tls: bool) -> bool {
        match (is_tunnel, is_tls) {
            (false, true) => self.client != Entry::Clear,
            (true, true) => self.client != Entry::Strict && self.server_is_tls,
            (_, false) => self.client != Entry::Strict,
        }
    }
}

// === impl Cast ===

impl Cast {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let party = |names: &[&str]| Party::new(&authority, names);
        Self {
            client: party(&["client"]),
            caller: party(&[CALLER, NEAR, FAR, SHORT, NOBODY, DOWN]),
            provider: party(&[FAR]),
            server: party(&[PROVIDER, NEAR, SHORT]),
        }
    }
}

// === impl Mesh ===

impl Mesh {
    /// Starts both; everything is in the clear.
    #[track_caller]
    pub(crate) fn start(server: SocketAddr) -> Self {
        Self::start_with(server, |conf| conf)
    }

    /// The same; both are configured further.
    #[track_caller]
    pub(crate) fn start_with(server: SocketAddr, configure: impl Fn(Conf) -> Conf) -> Self {
        Self::build((server, None), Hops::CLEAR, None, configure)
    }

    /// Starts both before a server and one whose connections are short.
    #[track_caller]
    pub(crate) fn of_hops(hops: Hops, cast: &Cast, server: Listens, short: Listens) -> Self {
        let chosen = |listens: Listens| if hops.server_is_tls { listens.tls } else { listens.clear };
        Self::build((chosen(server), Some(chosen(short))), hops, hops.have_tls().then_some(cast), |conf| {
            // One that serves all ways at once may take its time for a handshake.
            conf.set("mesher.yaml", "mesher.timeout.connectSeconds", 10)
        })
    }

    #[track_caller]
    fn build(
        (server, short): (SocketAddr, Option<SocketAddr>),
        hops: Hops,
        cast: Option<&Cast>,
        configure: impl Fn(Conf) -> Conf,
    ) -> Self {
        let (conf, _, incoming) = sidecar(PROVIDER);
        let mut conf = configure(conf).set("mesher.yaml", "mesher.service.host", server.ip().to_string());
        if let Some(cast) = cast {
            conf = cast.provider.configure(conf, &format!("{PROVIDER}.rest.Provider"));
            if hops.server_is_tls {
                conf = cast.provider.configure(conf, &format!("{PROVIDER}.grpc.Consumer"));
            }
        }
        let provider = Start::new(conf).arg(format!("--service-ports=grpc:{}", server.port())).ready();

        let (conf, outgoing, _) = sidecar(CALLER);
        let mut services = vec![(NEAR, server), (FAR, incoming), (DOWN, free_address())];
        services.extend(short.map(|short| (SHORT, short)));
        let text = if hops.server_is_tls { tls_registry(&services) } else { registry(&services) };
        let mut conf = configure(conf).file("registry.yaml", &text);
        if let Some(cast) = cast {
            // Everything that declares TLS, or the other sidecar alone.
            let called =
                if hops.server_is_tls { "grpc.Consumer".into() } else { format!("{FAR}.grpc.Consumer") };
            conf = cast.caller.configure(conf, &called);
            if hops.client != Entry::Clear {
                conf = cast.caller.configure(conf, "mesher.Provider");
            }
            if hops.client == Entry::Permissive {
                conf = conf.set("chassis.yaml", "ssl.mesher.Provider.mode", "permissive");
            }
        }
        let caller = Start::new(conf).ready();
        Self { caller, provider, outgoing, server, hops, client: cast.map(|cast| cast.client.clone()) }
    }

    /// Every way through it that ends at the server.
    pub(crate) fn ways(&self) -> Vec<Way> {
        [NEAR, FAR].into_iter().flat_map(|service| self.ways_at(service, self.server.port())).collect()
    }

    /// Ways to another service through the caller's sidecar alone.
    pub(crate) fn ways_to(&self, service: &str) -> Vec<Way> {
        self.ways_at(service, free_port())
    }

    fn ways_at(&self, service: &str, port: u16) -> Vec<Way> {
        let all = [false, true].map(|is_tls| [false, true].map(|is_tunnel| (is_tunnel, is_tls)));
        let allowed =
            all.into_iter().flatten().filter(|(is_tunnel, is_tls)| self.hops.allow(*is_tunnel, *is_tls));
        let way = |(is_tunnel, is_tls): (bool, bool)| {
            let way = Way::plain(self.outgoing, service).among(self.hops);
            let way = if is_tunnel { way.by_connect(port) } else { way };
            match &self.client {
                Some(party) if is_tls => way.over_tls(party),
                _ => way,
            }
        };
        allowed.map(way).collect()
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
    listing(services, "")
}

/// The same; every instance says that it takes TLS.
fn tls_registry(services: &[(&str, SocketAddr)]) -> String {
    listing(services, "?sslEnabled=true")
}

fn listing(services: &[(&str, SocketAddr)], parameters: &str) -> String {
    let mut text = String::from("services:\n");
    let mut names: Vec<_> = services.iter().map(|(name, _)| *name).collect();
    names.dedup();
    for name in names {
        text += &format!("  {name}:\n");
        for (_, address) in services.iter().filter(|(other, _)| *other == name) {
            text += &format!("    - version: 0.0.1\n      endpoints: [\"grpc://{address}{parameters}\"]\n");
        }
    }
    text
}
