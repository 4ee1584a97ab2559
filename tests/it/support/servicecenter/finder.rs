//! Finding instances, with revisions.
//!
//! Results are kept per provider name and given again until an event of that provider (or two minutes) drops them
//! all. That is why a single read can be fresh, when nobody asked before, or old, when somebody did.
//!
//! A client that sends a revision other than the one kept is taken to know better: the kept result is read again from
//! the store, but only once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cache::Cache;
use super::catalog::{Catalog, Name, sha1_hex};
use super::model::{Instance, Service};
use super::store::{Entry, Key, Store};

/// How long results are kept.
const KEPT_MS: u64 = 120_000;

/// What is looked for.
pub(super) struct Query<'a> {
    pub(super) provider: Name,
    /// Who looks; empty id for nobody.
    pub(super) consumer: &'a Service,
    /// Only this service and the instances whose ids start so.
    pub(super) within: Option<(&'a str, &'a str)>,
    /// Tags the service must have.
    pub(super) tags: Vec<String>,
    /// Revision the client has, empty for none.
    pub(super) revision: &'a str,
    pub(super) freshness: Freshness,
}

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Cache first, store if it has nothing.
    Any,
    /// The store.
    StoreOnly,
    /// The cache.
    CacheOnly,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Services that match and may be called.
    pub(super) services: Vec<String>,
    pub(super) instances: Vec<Arc<Instance>>,
    /// Revision of this result; empty when no service was left to look into.
    pub(super) revision: String,
    reread: bool,
}

/// Results kept.
#[derive(Default)]
pub(super) struct Finder {
    kept: BTreeMap<Name, Kept>,
}

#[derive(Default)]
struct Kept {
    since_ms: u64,
    /// Service ids by what was asked for, as far as it restricts them.
    services: BTreeMap<Restriction, Vec<String>>,
    found: BTreeMap<(Restriction, Option<(String, String)>), Found>,
}

/// Service id, tags and consumer.
type Restriction = (Option<String>, Vec<String>, String);

/// What the finder reads.
pub(super) struct Sources<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) cache: &'a Cache,
    pub(super) store: &'a Store,
}

impl Finder {
    /// Finds instances; none if no service has the name.
    pub(super) fn find(&mut self, query: &Query<'_>, from: &Sources<'_>, now_ms: u64) -> Option<Found> {
        if query.freshness == Freshness::StoreOnly {
            return from.find(query, &from.matching(query)?);
        }
        self.kept.retain(|_, kept| now_ms < kept.since_ms + KEPT_MS);
        let fresh = || Kept { since_ms: now_ms, ..Kept::default() };
        let kept = self.kept.entry(query.provider.clone()).or_insert_with(fresh);
        let restriction = query.restriction();
        let services = match kept.services.get(&restriction) {
            Some(services) => services.clone(),
            None => kept.services.entry(restriction.clone()).or_insert(from.matching(query)?).clone(),
        };
        let within = query.within.map(|(service, instance)| (service.to_owned(), instance.to_owned()));
        let found = match kept.found.entry((restriction, within)) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(from.find(query, &services)?),
        };
        if !query.revision.is_empty() && query.revision != found.revision && !found.reread {
            let again = Query { freshness: Freshness::StoreOnly, ..query.again() };
            *found = Found { reread: true, ..from.find(&again, &services)? };
        }
        Some(found.clone())
    }

    /// Drops what is kept of a provider, under its name and its alias.
    pub(super) fn forget(&mut self, name: &Name, alias: &str) {
        self.kept.remove(name);
        if !alias.is_empty() {
            self.kept.remove(&(name.0.clone(), name.1.clone(), name.2.clone(), alias.to_owned()));
        }
    }
}

impl<'a> Query<'a> {
    fn restriction(&self) -> Restriction {
        let mut tags = self.tags.clone();
        tags.sort();
        (self.within.map(|(service, _)| service.to_owned()), tags, self.consumer.service_id.clone())
    }

    fn again(&self) -> Query<'a> {
        Query { provider: self.provider.clone(), tags: self.tags.clone(), ..*self }
    }
}

impl Sources<'_> {
    /// Ids of the services that match and may be called; none if no service has the name.
    fn matching(&self, query: &Query<'_>) -> Option<Vec<String>> {
        let tenant = &query.provider.0;
        let mut ids: Vec<String> = match query.within {
            Some((service, _)) => vec![service.to_owned()],
            None => self.catalog.versions(&query.provider).into_iter().map(|(id, _)| id).collect(),
        };
        if ids.is_empty() {
            return None;
        }
        ids.retain(|id| {
            let listing = self.catalog.service(tenant, id);
            let tagged = |tag| listing.is_some_and(|listing| listing.tags.contains_key(tag));
            query.tags.iter().all(tagged)
                && accessible(query.consumer, listing.map(|listing| &listing.service))
        });
        Some(ids)
    }

    fn find(&self, query: &Query<'_>, services: &[String]) -> Option<Found> {
        let mut found = Found { services: services.to_vec(), ..Found::default() };
        if query.within.is_some() && services.is_empty() {
            return Some(found);
        }
        let tenant = &query.provider.0;
        let prefix = query.within.map_or("", |(_, instance)| instance);
        let entries: Vec<(Key, Entry)> =
            services.iter().flat_map(|id| self.search(tenant, id, prefix, query.freshness)).collect();
        let newest = entries.iter().map(|(_, entry)| entry.revision).max().unwrap_or(0);
        found.revision = sha1_hex(&format!("{newest}.{},", entries.len()));
        found.instances = entries.into_iter().map(|(_, entry)| entry.instance).collect();
        Some(found)
    }

    /// The cache knows only whole services: a search for one instance never finds anything in it.
    fn search(&self, tenant: &str, service: &str, prefix: &str, freshness: Freshness) -> Vec<(Key, Entry)> {
        let cached = match (prefix, freshness) {
            ("", Freshness::Any | Freshness::CacheOnly) => self.cache.of_service(tenant, service),
            _ => Vec::new(),
        };
        if !cached.is_empty() || freshness == Freshness::CacheOnly {
            return cached;
        }
        self.store.with_prefix(tenant, service, prefix)
    }
}

/// May this consumer see this provider: same environment, and same application unless the provider allows others.
fn accessible(consumer: &Service, provider: Option<&Service>) -> bool {
    if consumer.service_id.is_empty() {
        return true;
    }
    let Some(provider) = provider else { return false };
    let open =
        provider.properties.get("allowCrossApp").is_some_and(|allow| allow.eq_ignore_ascii_case("true"));
    (open || provider.app_id == consumer.app_id) && provider.environment == consumer.environment
}
