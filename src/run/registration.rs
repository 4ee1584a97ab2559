//! What is told to the registry of ourselves, read from the configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mesher_actors::config::{Config, Entry, Report};
use mesher_actors::registry::instance::{Identity, Registration, Status, Zone};

use super::settings::Mode;

/// Longest host name that service-center registers.
const HOST_NAME_MAX: usize = 64;

/// What is told to the registry. A sidecar on the loopback address can be called by nobody, so it registers no
/// endpoint, only its name.
pub(super) fn registration(
    config: &Config,
    mode: Mode,
    identity: &Identity,
    (listen, listen_grpc): (SocketAddr, Option<SocketAddr>),
    report: &mut Report,
) -> Option<Registration> {
    if config.text("servicecomb.registry.register").as_deref() == Some("manual") {
        return None;
    }
    let callable = |address: &SocketAddr| mode == Mode::Sidecar && !is_for_callers_only(address.ip());
    let mut endpoint = |key: &str, scheme: &str, listen: Option<SocketAddr>| {
        let address = config.socket(key, report).or(listen.filter(callable))?;
        Some(format!("{scheme}://{address}"))
    };
    let endpoints = [
        endpoint("servicecomb.protocols.http.advertiseAddress", "rest", Some(listen)),
        endpoint("servicecomb.protocols.grpc.advertiseAddress", "grpc", listen_grpc),
    ];
    let properties: BTreeMap<String, String> = config
        .under("servicecomb.service.instanceProperties")
        .filter_map(|(name, entry)| Some((name.to_owned(), entry.text()?.to_owned())))
        .chain(std::env::var("HOSTING_SERVER_IP").ok().map(|ip| ("nodeIP".to_owned(), ip)))
        .collect();
    Some(Registration {
        service: identity.clone(),
        cross_app: config.text("servicecomb.registry.scope").as_deref() == Some("full"),
        registered_by: if mode == Mode::Sidecar { "SIDECAR" } else { "SDK" },
        framework_version: env!("CARGO_PKG_VERSION"),
        endpoints: endpoints.into_iter().flatten().collect(),
        host_name: host_name(config),
        properties,
        zone: zone(config),
        status: status(config.raw("servicecomb.service.status")),
    })
}

/// 127.0.0.1 and ::1 take what the local service sends; any other address can be called by somebody.
pub(super) fn is_for_callers_only(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

/// The configured name or the system's, cut to what service-center takes.
fn host_name(config: &Config) -> String {
    let name = config.text("servicecomb.service.hostname").or_else(system_host_name);
    name.unwrap_or_else(|| "localhost".to_owned()).chars().take(HOST_NAME_MAX).collect()
}

fn system_host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn zone(config: &Config) -> Option<Zone> {
    let (region, zone) = (config.text("region.name")?, config.text("region.availableZone")?);
    Some(Zone { region: region.into(), zone: zone.into() })
}

fn status(entry: Option<&Entry>) -> Status {
    match entry.and_then(Entry::text) {
        Some("DOWN") => Status::Down,
        Some("STARTING") => Status::Starting,
        Some("TESTING") => Status::Testing,
        Some("OUTOFSERVICE") => Status::OutOfService,
        _ => Status::Up,
    }
}
