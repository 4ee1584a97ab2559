//! All TLS of one mesher: the settings of its tags and what is made of them now.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use super::cipher::Ciphers;
use super::expiry::{Expiry, Nearness};
use super::fault::Fault;
use super::part::{Made, Part};
use super::settings::TagSettings;
use super::tags::{self, Keys, REGISTRY_ADDRESS, Tag};
use crate::config::{Code, Config, Report};
use crate::snapshot::Protocol;
use crate::snapshot::tls::{Tls as Table, TlsClients};

/// Everything that `ssl.*` comes to. The default is nothing: all is plain.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    ciphers: Ciphers,
    parts: Vec<Part>,
    /// Services that are named, and called in the clear.
    plain: Vec<Tag>,
}

impl Tls {
    /// Reads all keys `ssl.*` and the files that they name. `own` is the name of the service beside us. What is wrong
    /// is in the report; with errors in it the result must not be used, since parts are missing.
    #[must_use]
    pub fn from_config(config: &Config, own: &Arc<str>, ciphers: Ciphers, report: &mut Report) -> Self {
        tags::inspect(config, own, report);
        let mut all = Self { ciphers, ..Self::default() };
        for tag in tags::tags(config, own) {
            let keys = Keys::new(config, tag.clone());
            let settings = TagSettings::read(&keys, &all.ciphers, report)
                .or_else(|| (tag == Tag::Registry).then(|| bare_registry(config, report)).flatten());
            let Some(settings) = settings else {
                all.plain.push(tag);
                continue;
            };
            match Part::load(&settings, &all.ciphers, None) {
                Ok(part) => all.parts.push(part),
                Err(faults) => faults.iter().for_each(|fault| fault.report(report)),
            }
        }
        all
    }

    /// What the files come to now. A part of which a file cannot be used stays as it was. Parts that did not change are
    /// the same as before. Reads files, and may take a second for an encrypted key.
    #[must_use]
    pub fn renewed(&self) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut renew = |old: &Part| {
            Part::load(&old.settings, &self.ciphers, Some(old)).unwrap_or_else(|found| {
                faults.extend(found);
                old.clone()
            })
        };
        let parts = self.parts.iter().map(&mut renew).collect();
        (Self { parts, ..self.clone() }, faults)
    }

    /// These, with the parts of `old` that say the same, so that their sessions and connections live on.
    #[must_use]
    pub fn keeping(mut self, old: &Self) -> Self {
        for part in &mut self.parts {
            if let Some(old) = old.parts.iter().find(|old| old.is_like(part)) {
                *part = old.clone();
            }
        }
        self
    }

    /// Made of the same configuration; the files may have been others.
    #[must_use]
    pub fn is_renewal_of(&self, old: &Self) -> bool {
        let (settings, old_settings) = (self.parts.iter(), old.parts.iter());
        self.plain == old.plain && settings.map(|p| &p.settings).eq(old_settings.map(|p| &p.settings))
    }

    /// Nothing is TLS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What the data plane needs of it.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        // Of the services in the clear those count that others would make TLS of.
        for tag in &self.plain {
            if let Tag::Service(name, protocol) | Tag::Own(name, protocol) = tag {
                clients(&mut table, *protocol).named.insert(name.clone(), None);
            }
        }
        for part in &self.parts {
            match (&part.settings.tag, &part.made) {
                (Tag::Local, Made::Listener(listener)) => table.local = Some(listener.clone()),
                (Tag::External(_), Made::Listener(listener)) => table.external = Some(listener.clone()),
                (Tag::Service(name, protocol) | Tag::Own(name, protocol), Made::Service(client)) => {
                    clients(&mut table, *protocol).named.insert(name.clone(), Some(client.clone()));
                }
                (Tag::Others(protocol), Made::Family(family)) => {
                    clients(&mut table, *protocol).others = Some(family.clone());
                }
                _ => {}
            }
        }
        table
    }

    /// What the admin interface presents; none: it is plain.
    #[must_use]
    pub fn admin(&self) -> Option<Arc<ServerConfig>> {
        self.parts.iter().find_map(|part| match &part.made {
            Made::Admin(server) => Some(server.clone()),
            _ => None,
        })
    }

    /// How the registry is called, where its address says https.
    #[must_use]
    pub fn registry(&self) -> Option<Arc<ClientConfig>> {
        self.parts.iter().find_map(|part| match &part.made {
            Made::Registry(config) => Some(config.clone()),
            _ => None,
        })
    }

    /// When each file ends to be of use, each once, by path.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        let mut expiries: Vec<Expiry> = self.parts.iter().flat_map(|part| part.expiries.clone()).collect();
        expiries.sort_by(|a, b| (&a.file, a.not_after_s).cmp(&(&b.file, b.not_after_s)));
        expiries.dedup_by(|later, first| later.file == first.file);
        expiries
    }

    /// Warns of files whose end is past at a second since 1970, each once, where it is named. It is no error: peers refuse
    /// such a certificate, and a new file is taken up without a restart.
    pub fn inspect(&self, now_s: i64, report: &mut Report) {
        let files: Vec<_> = self.parts.iter().flat_map(|part| part.settings.files()).collect();
        for expiry in self.expiries().iter().filter(|expiry| expiry.nearness(now_s) == Nearness::Past) {
            if let Some(file) = files.iter().find(|file| file.path == expiry.file) {
                Fault::new(file, "the certificate has ended, and peers refuse it").warn(report);
            }
        }
    }

    /// All files that are read, each once.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let files = self.parts.iter().flat_map(|part| part.settings.files());
        files.map(|file| file.path.clone()).collect()
    }

    /// Tags whose configuration is another than that of `old`.
    #[must_use]
    pub fn changed_since(&self, old: &Self) -> Vec<String> {
        let is_new = |part: &&Part| !old.parts.iter().any(|old| old.is_like(part));
        self.parts.iter().filter(is_new).map(|part| part.settings.tag.name()).collect()
    }
}

/// A registry behind TLS works without any key, as with Mesher.
fn bare_registry(config: &Config, report: &mut Report) -> Option<TagSettings> {
    let addresses = config.list(REGISTRY_ADDRESS);
    addresses.iter().find(|address| address.starts_with("https://"))?;
    let message = format!(
        "`{REGISTRY_ADDRESS}` is called by TLS, and `ssl.registrator.Consumer.verifyPeer` is not true: the \
         certificate of the registry is not verified"
    );
    report
        .warning(Code::UNVERIFIED, &config.origin(REGISTRY_ADDRESS), message)
        .help("set `ssl.registrator.Consumer.verifyPeer: true` and `ssl.registrator.Consumer.caFile`");
    Some(TagSettings::unverified(Tag::Registry))
}

fn clients(table: &mut Table, protocol: Protocol) -> &mut TlsClients {
    match protocol {
        Protocol::Rest => &mut table.rest,
        Protocol::Grpc => &mut table.grpc,
    }
}
