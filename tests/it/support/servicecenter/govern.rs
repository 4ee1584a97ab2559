//! The server's own health and the overview that go-chassis builds its index of addresses from.

use serde_json::{Value, json};

use super::fake::{Fake, OWN_TENANT};
use super::model::Instance;
use super::reply::Reply;
use super::router::Call;

impl Fake {
    /// `GET health`: the instances of service-center itself.
    pub(super) fn health(&mut self) -> Reply {
        let id = self.own().map(|own| own.service.service_id.clone()).unwrap_or_default();
        let cached = self.node().cache.of_service(OWN_TENANT, &id);
        let entries = if cached.is_empty() { self.store.with_prefix(OWN_TENANT, &id, "") } else { cached };
        let instances: Vec<_> = entries.into_iter().map(|(_, entry)| entry.instance).collect();
        Reply::listed("instances", &instances.iter().map(AsRef::as_ref).collect::<Vec<&Instance>>())
    }

    /// `GET govern/microservices?options=`: services, with their instances (less their properties) if asked for.
    pub(super) fn govern(&mut self, call: &Call<'_>) -> Reply {
        let asks_for_instances = matches!(call.request.parameter("options").as_str(), "instances" | "all");
        let app = call.request.parameter("appId");
        let services = self.catalog.services(&call.tenant).map(|listing| listing.service.clone());
        let services: Vec<_> = services.filter(|service| app.is_empty() || service.app_id == app).collect();
        let mut details = Vec::new();
        for service in services {
            let mut detail = json!({ "microService": service });
            if asks_for_instances {
                let instances = self.instances_without_properties(&call.tenant, &service.service_id);
                if !instances.is_empty() {
                    detail["instances"] = Value::from(instances);
                }
            }
            details.push(detail);
        }
        self.shuffle(&mut details);
        Reply::listed("allServicesDetail", &details)
    }

    fn instances_without_properties(&mut self, tenant: &str, service: &str) -> Vec<Value> {
        let cached = self.node().cache.of_service(tenant, service);
        let entries = if cached.is_empty() { self.store.with_prefix(tenant, service, "") } else { cached };
        let mut instances: Vec<Value> = entries
            .into_iter()
            .map(|(_, entry)| json!(Instance { properties: Default::default(), ..(*entry.instance).clone() }))
            .collect();
        self.shuffle(&mut instances);
        instances
    }
}
