//! Everything a node is made of, read from the configuration and the command line.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesher_actors::balancer::Upstream;
use mesher_actors::config::{Code, Config, Origin, Report, Unit};
use mesher_actors::health::Check;
use mesher_actors::registry::instance::{Identity, Registration};
use mesher_actors::snapshot::{Policy, Strategy};
use mesher_actors::tls::{Ciphers, Tls};

use super::memory;
use super::registration::{is_for_callers_only, registration};
use super::registry::Registry;
use super::service_ports::ServicePorts;
use crate::codec::Limits;
use crate::handler::SERVED;
use crate::handler::destination::LocalPorts;
use crate::net::DriverChoice;
use crate::proxy::{self, Policies, ServiceLabels};
use crate::upstream;

/// Where requests are listened for.
const HTTP: &str = "servicecomb.protocols.http.listenAddress";
/// Where calls of gRPC are, beside it.
const GRPC: &str = "servicecomb.protocols.grpc.listenAddress";

/// Where mesher stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Beside one service.
    Sidecar,
    /// In front of many.
    Edge,
}

/// What the command line and the build say beyond the configuration.
#[derive(Debug, Clone)]
pub struct Given {
    /// `--mode`.
    pub mode: Mode,
    /// `--service-ports`, or the variables that stand for it.
    pub ports: ServicePorts,
    /// `--shards`.
    pub shards: Option<usize>,
    /// Plug-ins that decrypt passphrases.
    pub ciphers: Ciphers,
}

/// How to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainSettings {
    /// Serving goes on for so long after deregistration, while peers learn of it.
    pub grace: Duration,
    /// All in all, requests in flight included.
    pub timeout: Duration,
}

/// A node to be.
#[derive(Clone)]
pub struct Settings {
    /// Where it stands.
    pub mode: Mode,
    /// The service it stands beside.
    pub identity: Identity,
    /// `servicecomb.protocols.http.listenAddress`.
    pub listen: SocketAddr,
    /// `servicecomb.protocols.grpc.listenAddress`, if there is one.
    pub listen_grpc: Option<SocketAddr>,
    /// Address of the admin, if it is on.
    pub admin: Option<SocketAddr>,
    /// Threads that carry traffic.
    pub shards: usize,
    /// Which I/O driver.
    pub driver: DriverChoice,
    /// Adaptive polling.
    pub polling: bool,
    /// How the data plane treats requests.
    pub policies: Policies,
    /// Memory that the process may hold; zero for no limit, nothing for the control group's.
    pub memory_bytes_max: Option<u64>,
    /// How to drain.
    pub drain: DrainSettings,
    /// How long a process that is to take over may need to get ready.
    pub upgrade_ready_within: Duration,
    /// What to register, if anything.
    pub registration: Option<Registration>,
    /// Checks of the local service.
    pub checks: Vec<Check>,
    /// Where the last good answers of the registry are kept.
    pub state_dir: Option<PathBuf>,
    /// What `ssl.*` comes to.
    pub tls: Tls,
    pub(super) registry: Registry,
    pub(super) upstreams: Arc<Upstreams>,
}

/// Strategy and bounds of each upstream service.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    default: Upstream,
    by_name: HashMap<String, Upstream>,
}

impl Upstreams {
    /// What the configuration says of a service.
    pub(super) fn of(&self, service: &str) -> Upstream {
        self.by_name.get(service).unwrap_or(&self.default).clone()
    }
}

impl Settings {
    /// Reads everything. What is wrong is in the report, and stands in here with its default.
    #[must_use]
    pub fn from_config(config: &Config, given: &Given, report: &mut Report) -> Self {
        let identity = identity(config);
        let listen = config.socket(HTTP, report).unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 30101).into());
        let listen_grpc = config.socket(GRPC, report);
        for (key, address) in [(HTTP, Some(listen)), (GRPC, listen_grpc)] {
            check_listen(config, given.mode, key, address, report);
        }
        let admin = admin(config, report);
        let registry = Registry::from_config(config, &identity, report);
        let service_host =
            config.ip("mesher.service.host", report).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own =
            [Some(listen), listen_grpc, admin].into_iter().flatten().map(|address| address.port()).collect();
        let ports = LocalPorts { configured: given.ports.local(), own };
        let upstreams = upstreams(config, report);
        let tls = Tls::from_config(config, &identity.name, given.ciphers.clone(), report);
        registry.secure(&tls);
        let policies = Policies {
            settings: connection_settings(config, report),
            upstream: upstream_settings(config, report),
            outgoing: config.chain("servicecomb.handler.chain.Consumer.outgoing", &SERVED),
            incoming: config.chain("servicecomb.handler.chain.Provider.incoming", &["transport"]),
            service_host,
            ports,
            local_policy: upstreams.of(&identity.name).policy,
            service: ServiceLabels {
                app: identity.app.clone(),
                name: identity.name.clone(),
                version: identity.version.clone(),
            },
            tls: tls.table(),
        };
        let settings = Self {
            mode: given.mode,
            listen,
            listen_grpc,
            admin,
            shards: given
                .shards
                .or_else(|| configured_shards(config, report))
                .unwrap_or_else(|| default_shards(given.mode)),
            driver: config
                .text("net.driver")
                .and_then(|name| name.parse().ok())
                .unwrap_or(DriverChoice::Auto),
            polling: config.boolean("net.polling", true, report),
            policies,
            memory_bytes_max: memory::bytes_max(config, report),
            drain: drain(config, report),
            upgrade_ready_within: config.duration(
                "mesher.upgrade.readySeconds",
                Unit::Seconds,
                Duration::from_secs(30),
                report,
            ),
            registration: registration(config, given.mode, &identity, (listen, listen_grpc), report),
            checks: Check::list_from_config(config, service_host, report),
            state_dir: config.text("mesher.state.dir").map(|dir| config.home().join(dir)),
            tls,
            registry,
            upstreams: Arc::new(upstreams),
            identity,
        };
        warn_of_open_ports(&settings, report);
        settings
    }

    /// Adds what is wrong with files that are read while mesher runs, and that a start does not wait for.
    pub fn inspect_watched_files(&self, now: SystemTime, report: &mut Report) {
        self.registry.inspect(report);
        let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.tls.inspect(i64::try_from(now_s).unwrap_or(i64::MAX), report);
    }
}

fn identity(config: &Config) -> Identity {
    let text = |key: &str, default: &str| config.text(key).unwrap_or_else(|| default.to_owned()).into();
    Identity {
        app: text("servicecomb.service.app", "default"),
        name: text("servicecomb.service.name", "mesher"),
        version: text("servicecomb.service.version", "0.0.1"),
        environment: text("servicecomb.service.environment", ""),
    }
}

/// A sidecar's address is what it registers, so it must be one that others can call.
fn check_listen(config: &Config, mode: Mode, key: &str, address: Option<SocketAddr>, report: &mut Report) {
    if let Some(listen) = address.filter(|listen| mode == Mode::Sidecar && listen.ip().is_unspecified()) {
        report
            .error(
                Code::CONFLICT,
                &config.origin(key),
                format!("`{key}`: a sidecar cannot listen on {}", listen.ip()),
            )
            .help(
                "give the address under which other machines reach this one; 127.0.0.1 to be a caller only",
            );
    }
}

fn admin(config: &Config, report: &mut Report) -> Option<SocketAddr> {
    const KEY: &str = "servicecomb.protocols.rest-admin.listenAddress";
    let enabled = config.boolean("admin.enable", true, report);
    let address = config.socket(KEY, report).unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 30102).into());
    enabled.then_some(address)
}

fn connection_settings(config: &Config, report: &mut Report) -> proxy::Settings {
    let mut seconds =
        |key: &str, default: u64| config.duration(key, Unit::Seconds, Duration::from_secs(default), report);
    let header_timeout = seconds("mesher.timeout.headerSeconds", 30);
    let idle_timeout = seconds("mesher.timeout.idleSeconds", 60);
    let stream_idle_timeout = seconds("mesher.timeout.streamIdleSeconds", 300);
    let tunnel_idle_timeout = seconds("mesher.timeout.tunnelIdleSeconds", 3600);
    let mut size = |key: &str, range: std::ops::RangeInclusive<u64>, default: u64| {
        usize::try_from(config.integer(key, range, default, report)).unwrap_or(usize::MAX)
    };
    proxy::Settings {
        limits: Limits {
            request_line: size("mesher.limit.requestLineBytes", 64..=65_536, 8192),
            head_bytes: size("mesher.limit.headBytes", 1024..=1_048_576, 65_536),
            headers: size("mesher.limit.headers", 8..=4096, 128),
        },
        header_timeout,
        idle_timeout,
        stream_idle_timeout,
        tunnel_idle_timeout,
        connections_max: size("mesher.limit.connections", 1..=10_000_000, 10_000) as u64,
        requests_max: size("mesher.limit.requests", 1..=10_000_000, 10_000) as u64,
        ..proxy::Settings::default()
    }
}

fn upstream_settings(config: &Config, report: &mut Report) -> upstream::Settings {
    let idle = config.integer("servicecomb.transport.maxIdleCon.rest", 0..=1_000_000, 512, report);
    upstream::Settings {
        connect_timeout: config.duration(
            "mesher.timeout.connectSeconds",
            Unit::Seconds,
            Duration::from_secs(1),
            report,
        ),
        idle_per_endpoint: usize::try_from(idle).unwrap_or(usize::MAX),
        ..upstream::Settings::default()
    }
}

fn upstreams(config: &Config, report: &mut Report) -> Upstreams {
    const BALANCE: &str = "cse.loadbalance";
    const STRATEGY: &str = "strategy.name";
    const ISOLATION: &str = "cse.isolation.Consumer";
    const TIMEOUT: &str = "timeoutInMilliseconds";
    let mut all = Upstreams::default();
    if let Some(name) = config.text(&format!("{BALANCE}.{STRATEGY}")) {
        all.default.strategy = strategy(&name);
    }
    let default = Duration::from_secs(30);
    all.default.policy.response_timeout =
        config.duration(&format!("{ISOLATION}.{TIMEOUT}"), Unit::Milliseconds, default, report);
    for (rest, entry) in config.under(BALANCE) {
        if let (Some(service), Some(name)) = (rest.strip_suffix(&format!(".{STRATEGY}")), entry.text()) {
            all.by_name.entry(service.to_owned()).or_insert_with(|| all.default.clone()).strategy =
                strategy(name);
        }
    }
    for (rest, entry) in config.under(ISOLATION) {
        if let (Some(service), Ok(timeout)) =
            (rest.strip_suffix(&format!(".{TIMEOUT}")), entry.duration(Unit::Milliseconds))
        {
            let upstream = all.by_name.entry(service.to_owned()).or_insert_with(|| all.default.clone());
            upstream.policy = Policy { response_timeout: timeout };
        }
    }
    all
}

/// Names that are not served yet have been warned of and mean round robin.
fn strategy(name: &str) -> Strategy {
    if name == "Random" { Strategy::Random } else { Strategy::RoundRobin }
}

fn configured_shards(config: &Config, report: &mut Report) -> Option<usize> {
    const KEY: &str = "mesher.shards";
    config.raw(KEY)?;
    usize::try_from(config.integer(KEY, 1..=256, 1, report)).ok()
}

/// One shard carries what a service beside it can answer; a gateway takes what the machine offers, which the
/// standard library reads from the affinity and the cgroup's CPU quota.
fn default_shards(mode: Mode) -> usize {
    match mode {
        Mode::Sidecar => 1,
        Mode::Edge => std::thread::available_parallelism().map_or(1, Into::into),
    }
}

fn drain(config: &Config, report: &mut Report) -> DrainSettings {
    let mut seconds =
        |key: &str, default: u64| config.duration(key, Unit::Seconds, Duration::from_secs(default), report);
    let grace = seconds("mesher.drain.graceSeconds", 5);
    let timeout = seconds("mesher.drain.timeoutSeconds", 25);
    if grace > timeout {
        let key = "mesher.drain.graceSeconds";
        report
            .error(
                Code::CONFLICT,
                &config.origin(key),
                format!("`{key}` ({grace:?}) is more than `mesher.drain.timeoutSeconds` ({timeout:?})"),
            )
            .help("the time-out is for the whole shutdown, the grace included");
    }
    DrainSettings { grace, timeout }
}

/// Says once where a caller's `X-Forwarded-Port` is followed unchecked.
fn warn_of_open_ports(settings: &Settings, report: &mut Report) {
    let incoming = settings.mode == Mode::Sidecar && !is_for_callers_only(settings.listen.ip());
    if incoming && settings.policies.ports.configured.is_empty() {
        report
            .warning(
                Code::MISSING_VALUE,
                &Origin::Default,
                "no service port is configured: callers choose the local port with X-Forwarded-Port",
            )
            .help("start mesher with --service-ports=rest:PORT or SERVICE_PORTS=rest:PORT");
    }
}

#[cfg(test)]
mod tests {
    use mesher_actors::config::Sources;
    use mesher_actors::tls::{Cipher, CipherError};

    use super::*;

    /// Passphrases written backwards.
    struct Ours;

    impl Cipher for Ours {
        fn decrypt(&self, text: &str) -> Result<String, CipherError> {
            if text.is_empty() {
                Err(CipherError("nothing in it".to_owned()))
            } else {
                Ok(text.chars().rev().collect())
            }
        }
    }

    fn settings(chassis: &str, microservice: &str) -> (Settings, Report) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("chassis.yaml"), chassis).unwrap();
        std::fs::write(dir.path().join("microservice.yaml"), microservice).unwrap();
        let sources = Sources { dir_flag: Some(dir.path().to_owned()), ..Sources::default() };
        let (config, mut report) = Config::load(&sources).unwrap();
        let mut ciphers = Ciphers::default();
        ciphers.register("ours", Arc::new(Ours));
        let given = Given { mode: Mode::Sidecar, ports: ServicePorts::default(), shards: None, ciphers };
        (Settings::from_config(&config, &given, &mut report), report)
    }

    const NAMED: &str = "servicecomb: {service: {name: x}}";

    #[test]
    fn a_service_of_its_own_settings_has_the_common_ones_for_the_rest() {
        let chassis = "cse:
  loadbalance: {strategy: {name: Random}, a: {strategy: {name: RoundRobin}}}
  isolation: {Consumer: {timeoutInMilliseconds: 7, a.b: {timeoutInMilliseconds: 9}}}";
        let (settings, report) = settings(chassis, NAMED);
        assert!(report.is_empty(), "{}", report.render(false));
        let of = |service: &str| {
            let upstream = settings.upstreams.of(service);
            (upstream.strategy, upstream.policy.response_timeout.as_millis())
        };
        assert_eq!(of("other"), (Strategy::Random, 7));
        assert_eq!(of("a"), (Strategy::RoundRobin, 7));
        assert_eq!(of("a.b"), (Strategy::Random, 9));
    }

    #[test]
    fn a_listener_for_grpc_that_others_can_call_is_registered_too() {
        let endpoints = |protocols: &str| {
            let chassis = format!("servicecomb: {{protocols: {{{protocols}}}}}");
            let (settings, report) = settings(&chassis, NAMED);
            assert!(report.is_empty(), "{}", report.render(false));
            settings.registration.unwrap().endpoints
        };
        let grpc = "grpc: {listenAddress: '127.0.0.1:2'}";
        assert_eq!(endpoints(grpc), [""; 0]);
        let advertised = "grpc: {listenAddress: '127.0.0.1:2', advertiseAddress: '10.0.0.1:3'}";
        assert_eq!(endpoints(advertised), ["grpc://10.0.0.1:3"]);
    }

    #[test]
    fn a_passphrase_is_decrypted_by_a_plug_in_of_the_build() {
        let key = format!("{}/actors/tests/data/keys/ec.aes256.pem", env!("CARGO_MANIFEST_DIR"));
        let passphrase = tempfile::NamedTempFile::new().unwrap();
        let problems = |cipher: &str| {
            let chassis = format!(
                "ssl.a.rest.Consumer: {{cipherPlugin: {cipher}, certPwdFile: {0}, keyFile: {key}, certFile: {1}}}",
                passphrase.path().display(),
                key.replace("ec.aes256.pem", "version1.crt")
            );
            let (_, report) = settings(&chassis, NAMED);
            report.problems().iter().map(ToString::to_string).collect::<String>()
        };
        std::fs::write(passphrase.path(), "emases nepo").unwrap();
        assert!(problems("default").contains("cannot be decrypted"));
        assert!(!problems("ours").contains("E0"), "{}", problems("ours"));
        std::fs::write(passphrase.path(), "").unwrap();
        assert!(problems("ours").contains("the cipher plug-in `ours` fails: nothing in it"));
        assert!(problems("theirs").contains("registered are default, ours"));
    }

    #[test]
    fn instance_properties_are_registered() {
        let microservice = "servicecomb: {service: {name: x, instanceProperties: {shelf: top, a.b: 1}}}";
        let (settings, _) = settings("", microservice);
        let properties = settings.registration.unwrap().properties;
        assert_eq!(properties.get("shelf").map(String::as_str), Some("top"));
        assert_eq!(properties.get("a.b").map(String::as_str), Some("1"));
    }
}
