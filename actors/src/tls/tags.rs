//! Tags: which keys `ssl.*` concern which listener or service, and which of several that say the same counts.
//!
//! ```text
//!   ssl.<key>                             everything         less specific
//!   ssl.<protocol>.Consumer.<key>         services called by a protocol, the local one aside
//!   ssl.<tag>.<key>                       this one           more specific: counts first, key by key
//! ```
//!
//! Pure. It never sees a file, and knows no more of a value than whether there is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::settings::{MODE, NAMES};
use crate::config::{Code, Config, Entry, Report};
use crate::snapshot::Protocol;

/// Tags of Mesher that name nothing this mesher has.
const WITHOUT_EFFECT: [&str; 6] = [
    "contractDiscovery.Consumer",
    "configServer.Consumer",
    "monitor.Consumer",
    "router.Consumer",
    "egress.Consumer",
    "http.Provider",
];
/// Tags of the client that talks to the registry, the first counting most: Mesher has one client for each of them.
const REGISTRY: [&str; 3] = ["registrator.Consumer", "serviceDiscovery.Consumer", "registry.Consumer"];
/// Where the registry is.
pub(super) const REGISTRY_ADDRESS: &str = "servicecomb.registry.address";
const REGISTRY_TYPE: &str = "servicecomb.registry.type";
const LOCAL: &str = "mesher.Provider";
const ADMIN: &str = "rest-admin.Provider";

/// Who a set of keys is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    /// Listeners on the loopback address.
    Local,
    /// Listeners that others call, by the name of the service beside us.
    External(Arc<str>),
    /// The admin interface.
    Admin,
    /// The client that talks to the registry.
    Registry,
    /// A service that is called.
    Service(Arc<str>, Protocol),
    /// The local service, which is called by our own name.
    Own(Arc<str>, Protocol),
    /// All other services that are called by a protocol.
    Others(Protocol),
}

/// The keys of one tag.
pub(super) struct Keys<'c> {
    pub(super) config: &'c Config,
    pub(super) tag: Tag,
    levels: Vec<String>,
}

// === impl Tag ===

impl Tag {
    /// It presents a certificate, and is not shown one unless it asks.
    pub(super) const fn is_server(&self) -> bool {
        matches!(self, Self::Local | Self::External(_) | Self::Admin)
    }

    /// As in the configuration.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Local => LOCAL.to_owned(),
            Self::External(own) => format!("{own}.rest.Provider"),
            Self::Admin => ADMIN.to_owned(),
            Self::Registry => REGISTRY[0].to_owned(),
            Self::Service(name, protocol) | Self::Own(name, protocol) => {
                format!("{name}.{}", consumer(*protocol))
            }
            Self::Others(protocol) => consumer(*protocol).to_owned(),
        }
    }

    /// Prefixes of its keys, the most specific first.
    fn levels(&self) -> Vec<String> {
        let mut tags = match self {
            Self::Registry => REGISTRY.map(str::to_owned).to_vec(),
            Self::Service(_, protocol) => vec![self.name(), consumer(*protocol).to_owned()],
            _ => vec![self.name()],
        };
        tags.iter_mut().for_each(|tag| *tag = format!("ssl.{tag}"));
        tags.push("ssl".to_owned());
        tags
    }
}

// === impl Keys ===

impl<'c> Keys<'c> {
    pub(super) fn new(config: &'c Config, tag: Tag) -> Self {
        let levels = tag.levels();
        Self { config, tag, levels }
    }

    /// The key that counts, whole, and its value. Nothing, if it is empty wherever it stands.
    pub(super) fn find(&self, name: &str) -> Option<(String, &'c Entry)> {
        self.levels.iter().find_map(|level| {
            let key = format!("{level}.{name}");
            let entry = self.config.raw(&key)?;
            (entry.text() != Some("")).then_some((key, entry))
        })
    }

    /// The first key that asks for TLS: any that says something but `mode`, which says how.
    pub(super) fn asks(&self) -> Option<(String, &'c Entry)> {
        NAMES.iter().filter(|name| **name != MODE).find_map(|name| self.find(name))
    }
}

/// Everything that keys may be for: listeners, the registry, and the services that are named. The order is stable.
pub(super) fn tags(config: &Config, own: &Arc<str>) -> Vec<Tag> {
    let mut tags = vec![Tag::Local, Tag::External(own.clone()), Tag::Admin, Tag::Registry];
    for protocol in [Protocol::Rest, Protocol::Grpc] {
        let suffix = format!(".{}", consumer(protocol));
        let services: BTreeSet<&str> = used(config)
            .filter_map(|(tag, _)| tag.strip_suffix(suffix.as_str()))
            .filter(|name| **name != **own)
            .collect();
        tags.push(Tag::Own(own.clone(), protocol));
        tags.extend(services.into_iter().map(|name| Tag::Service(name.into(), protocol)));
        tags.push(Tag::Others(protocol));
    }
    tags
}

/// Says which keys do nothing since their tag names nothing, and which do more than their writer may think.
pub(super) fn inspect(config: &Config, own: &str, report: &mut Report) {
    for (tag, entry) in used(config) {
        if WITHOUT_EFFECT.contains(&tag) {
            let message = format!("`ssl.{tag}` has no effect");
            report.warning(Code::NO_EFFECT, &entry.key_origin, message).help("it can be removed");
        } else if !names_something(tag, own) {
            let message = format!("`ssl.{tag}` has no effect: mesher has no listener or client of that name");
            report.warning(Code::NO_EFFECT, &entry.key_origin, message).help(format!(
                "listeners are {LOCAL}, {own}.rest.Provider and {ADMIN}, and services are \
                 <service>.rest.Consumer and <service>.grpc.Consumer"
            ));
        }
    }
    inspect_registry(config, report);
    let global = NAMES.iter().filter(|name| **name != MODE).find_map(|name| {
        let key = format!("ssl.{name}");
        config.raw(&key).filter(|entry| entry.text() != Some("")).map(|entry| (key, entry))
    });
    let is_disabled = config.text(&format!("ssl.{MODE}")).as_deref() == Some("disable");
    if let Some((key, entry)) = global.filter(|_| !is_disabled) {
        let message = format!(
            "`{key}` has no tag, so it turns on TLS everywhere: on the listeners {LOCAL}, {own}.rest.Provider \
             and {ADMIN}, and to every service that is called, `{own}` on this machine included"
        );
        report.warning(Code::FAR_REACHING, &entry.key_origin, message).help(
            "give it a tag, as in `ssl.<service>.rest.Consumer.caFile`; or set `ssl.<tag>.mode: disable` for what \
             is to stay in the clear",
        );
    }
}

/// Its address alone decides whether the registry is called by TLS, if it is called at all.
fn inspect_registry(config: &Config, report: &mut Report) {
    let asking = used(config).find(|(tag, entry)| REGISTRY.contains(tag) && entry.text() != Some(""));
    let Some((tag, entry)) = asking else { return };
    let is_file = config.text(REGISTRY_TYPE).as_deref() == Some("file");
    let is_secure = config.list(REGISTRY_ADDRESS).iter().any(|address| address.starts_with("https://"));
    let (why, help) = if is_file {
        (format!("`{REGISTRY_TYPE}` is `file`, and a file is not called"), "remove it".to_owned())
    } else if is_secure {
        return;
    } else {
        let why =
            format!("no address in `{REGISTRY_ADDRESS}` says https, so the registry is called in the clear");
        (why, format!("write https:// in `{REGISTRY_ADDRESS}`, or remove it"))
    };
    let message = format!("`ssl.{tag}` has no effect: {why}");
    report.warning(Code::NO_EFFECT, &entry.key_origin, message).help(help);
}

/// The name of the protocol's consumers.
const fn consumer(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rest => "rest.Consumer",
        Protocol::Grpc => "grpc.Consumer",
    }
}

fn names_something(tag: &str, own: &str) -> bool {
    let consumer = |protocol| {
        let consumer = consumer(protocol);
        tag.strip_suffix(consumer).is_some_and(|service| service.is_empty() || service.ends_with('.'))
    };
    let listener = tag == LOCAL || tag == ADMIN || tag.strip_suffix(".rest.Provider") == Some(own);
    listener || REGISTRY.contains(&tag) || consumer(Protocol::Rest) || consumer(Protocol::Grpc)
}

/// Tags that stand before a known name in the configuration, each as often as it has keys.
fn used(config: &Config) -> impl Iterator<Item = (&str, &Entry)> {
    config.under("ssl").filter_map(|(rest, entry)| {
        let (tag, name) = rest.rsplit_once('.')?;
        NAMES.contains(&name).then_some((tag, entry))
    })
}
