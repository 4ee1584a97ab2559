//! A sidecar under attack from clients, or from a service that it calls, and what the attack may cost: CPU, memory,
//! requests that reach the service, and nothing at all for those who attack nobody.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::support::conf::Conf;
use super::super::support::origin::{Gate, Origin, Reply};
use super::super::support::process::{Mesher, Start};
use super::super::support::tls::Authority;
use super::super::support::wait::pause_until;
use super::client::{Answer, Client};
use super::line::Door;

/// CPU of mesher from the first byte of an attack until it is over, without what the bystander costs.
const CPU_MAX: Duration = Duration::from_secs(1);
/// The same where the machine is slow: as much as so many honest requests cost there.
const CPU_REQUESTS_MAX: u32 = 1_500;
/// Honest requests that tell what one costs.
const PRICED: u32 = 30;
/// Memory that mesher may need for it at any time. The dearest is what interim heads become that are read in one turn, before
/// anybody can pass them on: all that a peer may send of them at once makes 9 MB.
const GROWTH_BYTES_MAX: u64 = 12 * 1024 * 1024;
/// Requests of it that may reach the service at once, and what comes to it each second: resets that a client has free.
const HITS_MAX: usize = 300;
const HITS_A_SECOND: f64 = 20.0;
/// Time between two requests of the bystander: often enough to meet every attack, and next to no work.
const BYSTANDER_EVERY: Duration = Duration::from_millis(10);

/// The service that is attacked.
const NAME: &str = "attacked";
/// The tag of its listener.
const LISTENER: &str = "attacked.rest.Provider";
/// What a service answers on [`LARGE`].
pub(crate) const LARGE_BYTES: usize = 1024 * 1024;
/// A path whose answer is far larger than a window.
pub(crate) const LARGE: &str = "/large";
/// A path that is not answered before the siege ends.
pub(crate) const HELD: &str = "/held";

/// A service that attacks who calls it.
pub(crate) const ROGUE: &str = "rogue";

/// A sidecar before a service that speaks HTTP/1.1, or one that calls such a service and another that attacks.
pub(crate) struct Siege {
    mesher: Mesher,
    /// Where the service is asked for.
    address: SocketAddr,
    origin: Origin,
    gate: Gate,
    /// Who has issued the certificate of the sidecar, if it speaks TLS.
    authority: Option<Authority>,
}

/// What one who attacks nobody has seen.
#[derive(Default)]
struct Bystander {
    requests: usize,
    slowest: Duration,
    memory_max: u64,
}

impl Siege {
    /// On the configuration as it ships.
    pub(crate) fn lay() -> Self {
        Self::with(|conf| conf)
    }

    /// Where everybody has to come by TLS.
    pub(crate) fn inside_tls(conf: impl FnOnce(Conf) -> Conf) -> Self {
        let authority = Authority::new();
        let certificate = authority.issue(NAME);
        let mut siege = Self::with(|plain| conf(plain.presents(LISTENER, &certificate)));
        siege.authority = Some(authority);
        siege
    }

    /// On another configuration. There is one shard: the bystander shares it with the attacker.
    pub(crate) fn with(conf: impl FnOnce(Conf) -> Conf) -> Self {
        let (origin, gate) = origin();
        let conf = conf(Conf::sidecar(NAME).set("mesher.yaml", "mesher.shards", 1));
        let address = conf.incoming;
        let mesher =
            Start::new(conf).arg(format!("--service-ports=rest:{}", origin.address().port())).ready();
        Self { mesher, address, origin, gate, authority: None }
    }

    /// Where [`ROGUE`] is one of the services that may be called, by the protocol of this scheme.
    pub(crate) fn calling(rogue: SocketAddr, scheme: &str) -> Self {
        let (origin, gate) = origin();
        let registry = format!(
            "services:\n  {NAME}: [{{version: 0.0.1, endpoints: [\"rest://{}\"]}}]\n  \
             {ROGUE}: [{{version: 0.0.1, endpoints: [\"{scheme}://{rogue}\"]}}]\n",
            origin.address()
        );
        let conf = Conf::sidecar("caller").file("registry.yaml", &registry);
        let conf = conf.set("mesher.yaml", "mesher.shards", 1);
        let address = conf.outgoing;
        Self { mesher: Start::new(conf).ready(), address, origin, gate, authority: None }
    }

    /// Where to attack.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The sidecar.
    pub(crate) fn mesher(&self) -> &Mesher {
        &self.mesher
    }

    /// The same, and how to get in.
    pub(crate) fn door(&self) -> Door {
        match &self.authority {
            None => self.address().into(),
            Some(authority) => Door::inside_tls(self.address(), authority, NAME),
        }
    }

    /// The service behind.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Connections of clients that were told to calm down.
    pub(crate) fn calmed(&self) -> u64 {
        self.mesher.metric("mesher_downstream_http2_calmed_total")
    }

    /// Attacks, and holds mesher to what that may cost.
    #[track_caller]
    pub(crate) fn attack<T>(&self, attack: impl FnOnce(SocketAddr) -> T) -> T {
        self.attack_excused(|address| (attack(address), 0))
    }

    /// The same; the attack says beside its result how many of its requests were none of an attack.
    #[track_caller]
    pub(crate) fn attack_excused<T>(&self, attack: impl FnOnce(SocketAddr) -> (T, usize)) -> T {
        let mut innocent = Client::connect(self.door());
        assert_fine(innocent.get("/"));
        let price = self.price(&mut innocent);
        let (memory, hits, cpu) =
            (self.mesher.anonymous_bytes(), self.origin.requests(), self.mesher.cpu_time());
        let (begun, over) = (Instant::now(), AtomicBool::new(false));
        let (result, bystander) = std::thread::scope(|scope| {
            let bystander = scope.spawn(|| self.stand_by(&mut innocent, &over));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(self.address())));
            over.store(true, Ordering::SeqCst);
            (result, bystander.join().expect("the bystander was harmed, see above"))
        });
        let (result, excused) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let cpu = (self.mesher.cpu_time() - cpu).saturating_sub(price * bystander.requests as u32);
        let cpu_max = CPU_MAX.max(price * CPU_REQUESTS_MAX);
        let hits_max = HITS_MAX + excused + (HITS_A_SECOND * begun.elapsed().as_secs_f64()) as usize;
        let growth = bystander.memory_max.saturating_sub(memory);
        let hits = self.origin.requests() - hits - bystander.requests;
        let Bystander { requests, slowest, .. } = bystander;
        println!(
            "{cpu:?} of CPU, {growth} bytes, {hits} hits; {requests} others at {price:?}, the slowest in {slowest:?}"
        );
        assert_fine(Client::connect(self.door()).get("/"));
        assert!(cpu <= cpu_max, "{cpu:?} of CPU, of at most {cpu_max:?}");
        assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes of memory");
        assert!(hits <= hits_max, "{hits} requests reached the service, of at most {hits_max}");
        result
    }

    /// CPU that an honest request costs.
    fn price(&self, client: &mut Client) -> Duration {
        let before = self.mesher.cpu_time();
        (0..PRICED).for_each(|_| assert_fine(client.get("/")));
        (self.mesher.cpu_time() - before) / PRICED
    }

    /// Goes on asking on one connection until the attack is over, and once more.
    fn stand_by(&self, client: &mut Client, over: &AtomicBool) -> Bystander {
        let mut seen = Bystander::default();
        loop {
            let is_last = over.load(Ordering::SeqCst);
            let begun = Instant::now();
            assert_fine(client.get("/"));
            seen.requests += 1;
            seen.slowest = seen.slowest.max(begun.elapsed());
            seen.memory_max = seen.memory_max.max(self.mesher.anonymous_bytes());
            if is_last {
                return seen;
            }
            pause_until(begun + BYSTANDER_EVERY);
        }
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.gate.open();
    }
}

/// The service, and what holds back some of its answers.
fn origin() -> (Origin, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.request.target.as_str() {
        LARGE => Reply::ok(vec![b'x'; LARGE_BYTES]),
        HELD => Reply::ok("at last").held_by(&held),
        _ => Reply::ok("fine"),
    });
    (origin, gate)
}

#[track_caller]
fn assert_fine(answer: Answer) {
    assert_eq!(answer, Answer::Response(200, b"fine".to_vec()));
}
