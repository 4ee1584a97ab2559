//! Services, their tags and schemas, and who looked for whom. All of this is seen at once by everybody.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use super::model::{Properties, Service};

/// What a service is called by: tenant, environment, application, name.
pub(super) type Name = (String, String, String, String);

/// Everything known of services.
#[derive(Default)]
pub(super) struct Catalog {
    /// By tenant and service id.
    services: BTreeMap<(String, String), Listing>,
    by_name: BTreeMap<(Name, String), String>,
    by_alias: BTreeMap<(Name, String), String>,
    /// Provider and consumer (service id).
    dependencies: BTreeSet<(Name, String)>,
}

/// One service.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    pub(super) service: Service,
    pub(super) tags: Properties,
    /// Schema id to content and summary.
    pub(super) schemas: BTreeMap<String, (String, String)>,
}

/// Why a service was not added.
pub(super) enum Known {
    /// The key is registered under this id.
    Under(String),
    /// The id asked for conflicts.
    Conflict,
}

impl Catalog {
    /// Adds a service; its id is made from its key unless it brings one.
    pub(super) fn add(&mut self, tenant: &str, mut service: Service) -> Result<String, Known> {
        let name = name_of(tenant, &service);
        let asked = std::mem::take(&mut service.service_id);
        let id = if asked.is_empty() { service_id(&name, &service.version) } else { asked.clone() };
        let alias = (!service.alias.is_empty()).then(|| {
            ((name.0.clone(), name.1.clone(), name.2.clone(), service.alias.clone()), service.version.clone())
        });
        let index = (name, service.version.clone());
        let by_alias = alias.as_ref().and_then(|alias| self.by_alias.get(alias));
        let known = self.by_name.get(&index).or(by_alias);
        let id_taken = self.services.contains_key(&(tenant.to_owned(), id.clone()));
        match known {
            Some(known) if !asked.is_empty() && *known != asked => return Err(Known::Conflict),
            Some(known) => return Err(Known::Under(known.clone())),
            None if id_taken => return Err(Known::Conflict),
            None => {}
        }
        self.by_name.insert(index, id.clone());
        if let Some(alias) = alias {
            self.by_alias.insert(alias, id.clone());
        }
        service.service_id.clone_from(&id);
        let listing = Listing { service, ..Listing::default() };
        self.services.insert((tenant.to_owned(), id.clone()), listing);
        Ok(id)
    }

    /// One service.
    pub(super) fn service(&self, tenant: &str, id: &str) -> Option<&Listing> {
        self.services.get(&(tenant.to_owned(), id.to_owned()))
    }

    /// One service, to be changed.
    pub(super) fn service_mut(&mut self, tenant: &str, id: &str) -> Option<&mut Listing> {
        self.services.get_mut(&(tenant.to_owned(), id.to_owned()))
    }

    /// The services of a tenant.
    pub(super) fn services(&self, tenant: &str) -> impl Iterator<Item = &Listing> {
        self.services.iter().filter(move |((t, _), _)| t == tenant).map(|(_, listing)| listing)
    }

    /// Ids and versions under a name or, if there are none, an alias.
    pub(super) fn versions(&self, name: &Name) -> Vec<(String, String)> {
        let under = |map: &BTreeMap<(Name, String), String>| -> Vec<(String, String)> {
            let same = map.range((name.clone(), String::new())..).take_while(|((n, _), _)| n == name);
            same.map(|((_, version), id)| (id.clone(), version.clone())).collect()
        };
        let named = under(&self.by_name);
        if named.is_empty() { under(&self.by_alias) } else { named }
    }

    /// Takes a service away, and the dependencies that no longer have two ends.
    pub(super) fn remove(&mut self, tenant: &str, id: &str) -> Option<Listing> {
        let listing = self.services.remove(&(tenant.to_owned(), id.to_owned()))?;
        self.by_name.retain(|(name, _), known| name.0 != tenant || known != id);
        self.by_alias.retain(|(name, _), known| name.0 != tenant || known != id);
        let named: BTreeSet<Name> = self.by_name.keys().map(|(name, _)| name.clone()).collect();
        self.dependencies.retain(|(provider, consumer)| {
            named.contains(provider) && (provider.0 != tenant || consumer != id)
        });
        Some(listing)
    }

    /// Notes that a consumer looked for a provider.
    pub(super) fn depend(&mut self, provider: Name, consumer: &str) {
        self.dependencies.insert((provider, consumer.to_owned()));
    }

    /// Ids of those who looked for a provider.
    pub(super) fn consumers(&self, provider: &Name) -> Vec<String> {
        self.dependencies
            .iter()
            .filter(|(name, _)| name == provider)
            .map(|(_, consumer)| consumer.clone())
            .collect()
    }

    /// Ids of those a consumer looked for.
    pub(super) fn providers(&self, tenant: &str, consumer: &str) -> Vec<String> {
        let asked = self.dependencies.iter().filter(|(name, id)| name.0 == tenant && id == consumer);
        asked.flat_map(|(name, _)| self.versions(name)).map(|(id, _)| id).collect()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a service is called by.
pub(super) fn name_of(tenant: &str, service: &Service) -> Name {
    (tenant.to_owned(), service.environment.clone(), service.app_id.clone(), service.service_name.clone())
}

/// The id the server makes from a service's key: SHA-1 of where its index entry stands in etcd.
fn service_id(name: &Name, version: &str) -> String {
    let (tenant, environment, app, service) = name;
    sha1_hex(&format!("/cse-sr/ms/indexes/{tenant}/{environment}/{app}/{service}/{version}"))
}

/// SHA-1 as lower-case hexadecimal.
pub(super) fn sha1_hex(text: &str) -> String {
    Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_real_server() {
        let own = ["default/default", "development", "default", "SERVICECENTER"].map(str::to_owned);
        let [tenant, environment, app, name] = own;
        let id = service_id(&(tenant, environment, app, name), "0.0.1");
        assert_eq!(id, "7062417bf9ebd4c646bb23059003cea42180894a");
    }
}
