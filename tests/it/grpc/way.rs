//! The ways that a call can take to a server: straight to it, or through sidecars.

use std::net::SocketAddr;
use std::time::Duration;

use super::cases::Case;
use super::client::EchoClient;
use super::mesh::{FAR, Hops, Mesh, NEAR};
use super::party::Party;
use super::server::EchoServer;
use crate::support::wait::PATIENCE;

/// Ways that are played at the same time. A server in Python or JavaScript has one thread for all of them.
const WAYS_AT_ONCE: usize = 4;
/// A case has so long: all others run beside it.
const CASE_PATIENCE: Duration = PATIENCE.saturating_mul(2);

/// How a client reaches a server.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// For whoever reads what failed.
    pub(crate) name: String,
    /// The address to connect to.
    pub(crate) dial: SocketAddr,
    /// The service, with the port if that is asked for.
    pub(crate) authority: String,
    /// By CONNECT; with prior knowledge of HTTP/2, or by ALPN, otherwise.
    pub(crate) is_tunnel: bool,
    /// Whom the client is over TLS; in the clear otherwise.
    pub(crate) tls: Option<Party>,
}

impl Way {
    /// No sidecar at all.
    pub(crate) fn direct(server: SocketAddr) -> Self {
        Self { name: "directly".into(), ..Self::plain(server, NEAR) }
    }

    /// Through a sidecar that listens here, with prior knowledge and in the clear.
    pub(crate) fn plain(dial: SocketAddr, service: &str) -> Self {
        let sidecars = if service == FAR { "two sidecars" } else { "one sidecar" };
        let name = format!("through {sidecars} to {service}");
        Self { name, dial, authority: service.into(), is_tunnel: false, tls: None }
    }

    /// Where these hops are TLS.
    pub(crate) fn among(mut self, hops: Hops) -> Self {
        if hops != Hops::CLEAR {
            let server = if hops.server_is_tls { "TLS" } else { "clear" };
            self.name += &format!(" ({:?} listener, {server} server)", hops.client);
        }
        self
    }

    /// By CONNECT, to this port.
    pub(crate) fn by_connect(mut self, port: u16) -> Self {
        self.name += " by CONNECT";
        self.authority = format!("{}:{port}", self.authority);
        Self { is_tunnel: true, ..self }
    }

    /// Over TLS; inside a tunnel, if there is one.
    pub(crate) fn over_tls(mut self, party: &Party) -> Self {
        self.name += " over TLS";
        Self { tls: Some(party.clone()), ..self }
    }

    /// TLS inside a tunnel, which sidecars do not look into.
    pub(crate) fn is_passed_through(&self) -> bool {
        self.is_tunnel && self.tls.is_some()
    }

    /// The service without the port.
    pub(crate) fn service(&self) -> &str {
        self.authority.split(':').next().unwrap_or_default()
    }
}

/// Plays a case on every way in the clear to this server.
#[track_caller]
pub(crate) fn on_every_way_to<Fut: Future<Output = ()>>(
    server: &EchoServer,
    case: impl Fn(EchoClient) -> Fut + Sync,
) {
    play(&[Way::direct(server.address())], &|way| run(async { case(EchoClient::new(way)).await }));
    let mesh = Mesh::start(server.address());
    play(&mesh.ways(), &|way| run(async { case(EchoClient::new(way)).await }));
}

/// Plays cases on these ways, some of them at the same time, each case with a channel of its own.
#[track_caller]
pub(crate) fn play_cases(ways: &[Way], cases: &[Case]) {
    ways.chunks(WAYS_AT_ONCE).for_each(|ways| play(ways, &|way| play_on(way, cases)));
}

/// Plays cases on a way, all at the same time.
#[track_caller]
fn play_on(way: &Way, cases: &[Case]) {
    let failed = block_on(async {
        let start = |case: &Case| {
            let played = (case.play)(EchoClient::new(way));
            (case.name, tokio::spawn(tokio::time::timeout(CASE_PATIENCE, played)))
        };
        let mut failed = Vec::new();
        for (name, case) in cases.iter().map(start).collect::<Vec<_>>() {
            match case.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => failed.push(format!("{name} hangs")),
                Err(_) => failed.push(name.to_owned()),
            }
        }
        failed
    });
    assert!(failed.is_empty(), "{}: {}, see above", way.name, failed.join(", "));
}

/// Plays something on these ways, all at the same time. A thread that fails has the name of its way.
#[track_caller]
fn play<'w>(ways: &'w [Way], client: &(impl Fn(&Way) + Sync)) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let start = |way: &'w Way| {
            let thread = std::thread::Builder::new().name(way.name.clone());
            thread.spawn_scoped(scope, move || client(way)).expect("no thread")
        };
        let runs: Vec<_> = ways.iter().map(|way| (&*way.name, start(way))).collect();
        runs.into_iter().filter_map(|(name, run)| run.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "failed {failed:?}, see above");
}

/// Runs a client. One that takes too long hangs.
#[track_caller]
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    let ended = block_on(async { tokio::time::timeout(PATIENCE, client).await });
    ended.expect("waited in vain for the end of a call")
}

fn block_on<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
    runtime.block_on(client)
}
