//! The three ways to find instances: by name, by service id, and many at once.

use serde::{Deserialize, Serialize};

use super::catalog::{Name, name_of};
use super::fake::Fake;
use super::finder::{Found, Freshness, Query};
use super::instances::{Beat, decode};
use super::model::{Instance, Service, or_default};
use super::reply::{Code, Error, ErrorBody, Reply};
use super::router::Call;
use super::rules;

type Outcome = Result<Reply, Error>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Batch {
    #[serde(deserialize_with = "or_default")]
    services: Vec<ServiceItem>,
    #[serde(deserialize_with = "or_default")]
    instances: Vec<InstanceItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceItem {
    service: Option<Service>,
    rev: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InstanceItem {
    instance: Option<Beat>,
    rev: String,
}

#[derive(Serialize)]
struct BatchResults {
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<BatchResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<BatchResult>,
}

/// The three lists of a batch find.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct BatchResult {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_modified: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    updated: Vec<Updated>,
}

#[derive(Serialize)]
struct Failed {
    indexes: Vec<usize>,
    error: ErrorBody,
    #[serde(skip)]
    code: Code,
}

#[derive(Serialize)]
struct Updated {
    index: usize,
    rev: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instances: Vec<Instance>,
}

impl Fake {
    /// `GET microservices/{id}/instances`.
    pub(super) fn list_instances(&mut self, call: &Call<'_>) -> Outcome {
        let asked = Asked::of(call);
        rules::consumer("GetInstancesRequest", &asked.consumer)?;
        let (consumer, provider) = self.both_ends(call, &asked)?;
        let found = self.look(&call.tenant, &consumer, &provider, "", &asked);
        let Some(found) = found.filter(|found| !found.services.is_empty()) else {
            let flag = find_flag(&consumer, &provider, "instances");
            return Err(Error::new(
                Code::NoSuchService,
                format!("{flag} failed, provider instance does not exist"),
            ));
        };
        Ok(self.found(&asked, &found))
    }

    /// `GET microservices/{id}/instances/{id}`.
    pub(super) fn instance(&mut self, call: &Call<'_>) -> Outcome {
        let asked = Asked::of(call);
        rules::one_instance(&asked.consumer, &call.parts[0], &call.parts[1])?;
        let (consumer, provider) = self.both_ends(call, &asked)?;
        let found = self.one_instance(&call.tenant, &consumer, &provider, &call.parts[1], &asked)?;
        if asked.knows(&found.revision) {
            return Ok(not_modified(&found.revision));
        }
        let reply = Reply::named("instance", &*found.instances[0]);
        Ok(reply.header("X-Resource-Revision", &found.revision))
    }

    /// One instance of a provider.
    pub(super) fn one_instance(
        &mut self,
        tenant: &str,
        consumer: &Service,
        provider: &Service,
        id: &str,
        asked: &Asked,
    ) -> Result<Found, Error> {
        let found = self.look(tenant, consumer, provider, id, asked);
        found.filter(|found| !found.instances.is_empty()).ok_or_else(|| {
            let flag = find_flag(consumer, provider, &format!("instance[{id}]"));
            Error::new(Code::NoSuchInstance, format!("{flag} failed, provider instance does not exist"))
        })
    }

    fn both_ends(&self, call: &Call<'_>, asked: &Asked) -> Result<(Service, Service), Error> {
        let consumer = self.consumer(&call.tenant, &asked.consumer)?;
        let provider = self.provider(&call.tenant, &call.parts[0])?;
        Ok((consumer, provider))
    }

    fn provider(&self, tenant: &str, id: &str) -> Result<Service, Error> {
        let listing = self.catalog.service(tenant, id);
        let missing = || Error::new(Code::NoSuchService, format!("Provider[{id}] does not exist."));
        listing.map(|listing| listing.service.clone()).ok_or_else(missing)
    }

    fn consumer(&self, tenant: &str, id: &str) -> Result<Service, Error> {
        if id.is_empty() {
            return Ok(Service::default());
        }
        let listing = self.catalog.service(tenant, id);
        let missing = || Error::new(Code::NoSuchService, format!("Consumer[{id}] does not exist."));
        listing.map(|listing| listing.service.clone()).ok_or_else(missing)
    }

    fn look(
        &mut self,
        tenant: &str,
        consumer: &Service,
        provider: &Service,
        id: &str,
        asked: &Asked,
    ) -> Option<Found> {
        let within = Some((provider.service_id.as_str(), id));
        self.ask(&Query { within, ..asked.query(name_of(tenant, provider), consumer) })
    }

    fn ask(&mut self, query: &Query<'_>) -> Option<Found> {
        let now_ms = self.now_ms;
        let (finder, sources) = self.finding();
        finder.find(query, &sources, now_ms)
    }

    /// `GET instances`.
    pub(super) fn find(&mut self, call: &Call<'_>) -> Outcome {
        let [environment, app, name, version] =
            ["env", "appId", "serviceName", "version"].map(|parameter| call.request.parameter(parameter));
        let asked = Asked::of(call);
        rules::consumer("FindInstancesRequest", &asked.consumer)?;
        rules::find_key(&environment, &app, &name)?;
        if self.config.one_x {
            rules::version_rule_given(&version)?;
        }
        let found = self.find_by_name(&call.tenant, &environment, &app, &name, &asked)?;
        Ok(self.found(&asked, &found))
    }

    /// Finds by name or alias, and notes the dependency when that finds a service.
    fn find_by_name(
        &mut self,
        tenant: &str,
        env: &str,
        app: &str,
        name: &str,
        asked: &Asked,
    ) -> Result<Found, Error> {
        let consumer = self.consumer(tenant, &asked.consumer)?;
        let environment = if consumer.service_id.is_empty() { env } else { &consumer.environment };
        let provider: Name = (tenant.to_owned(), environment.to_owned(), app.to_owned(), name.to_owned());
        let Some(found) = self.ask(&asked.query(provider, &consumer)) else {
            let who = service_flag(&Service { environment: environment.to_owned(), ..consumer.clone() });
            let id = &consumer.service_id;
            let detail = format!(
                "Consumer[{id}][{who}] find provider[{environment}/{app}/{name}] failed, provider does not exist"
            );
            return Err(Error::new(Code::NoSuchService, detail));
        };
        let first = found.services.first().and_then(|id| self.catalog.service(tenant, id));
        if let Some(listing) = first.filter(|_| !consumer.service_id.is_empty()) {
            let provider = name_of(tenant, &listing.service);
            self.catalog.depend(provider, &consumer.service_id);
        }
        Ok(found)
    }

    fn found(&mut self, asked: &Asked, found: &Found) -> Reply {
        if asked.knows(&found.revision) {
            return not_modified(&found.revision);
        }
        let mut instances: Vec<Instance> = found.instances.iter().map(|i| (**i).clone()).collect();
        self.shuffle(&mut instances);
        Reply::listed("instances", &instances).header("X-Resource-Revision", &found.revision)
    }

    /// `POST instances/action?type=query`.
    pub(super) fn batch_find(&mut self, call: &Call<'_>) -> Outcome {
        let action = call.request.parameter("type");
        if action != "query" {
            return Err(Error::invalid(format!("Invalid action: {action}")));
        }
        let batch: Batch = decode(call)?;
        if batch.services.is_empty() && batch.instances.is_empty() {
            return Err(Error::invalid("Required services or instances"));
        }
        rules::consumer("BatchFindInstancesRequest", call.request.header("X-ConsumerId"))?;
        check_batch(&batch)?;
        let services = (!batch.services.is_empty()).then(|| self.batch_services(call, batch.services));
        let instances = (!batch.instances.is_empty()).then(|| self.batch_instances(call, batch.instances));
        Ok(Reply::json(&BatchResults { services, instances }))
    }

    fn batch_services(&mut self, call: &Call<'_>, items: Vec<ServiceItem>) -> BatchResult {
        let mut result = BatchResult::default();
        for (index, item) in items.into_iter().enumerate() {
            let asked = Asked { revision: item.rev, tags: Vec::new(), ..Asked::of(call) };
            let key = item.service.unwrap_or_default();
            let found =
                self.find_by_name(&call.tenant, &key.environment, &key.app_id, &key.service_name, &asked);
            self.append(&mut result, index, &asked, found);
        }
        result
    }

    fn batch_instances(&mut self, call: &Call<'_>, items: Vec<InstanceItem>) -> BatchResult {
        let mut result = BatchResult::default();
        for (index, item) in items.into_iter().enumerate() {
            let asked = Asked { revision: item.rev, tags: Vec::new(), ..Asked::of(call) };
            let key = item.instance.unwrap_or_default();
            let found = self.consumer(&call.tenant, &asked.consumer).and_then(|consumer| {
                let provider = self.provider(&call.tenant, &key.service_id)?;
                self.one_instance(&call.tenant, &consumer, &provider, &key.instance_id, &asked)
            });
            let first = found.map(|mut found| {
                found.instances.truncate(1);
                found
            });
            self.append(&mut result, index, &asked, first);
        }
        result
    }

    /// Puts one result into one of the three lists; failures share one text per code.
    fn append(&mut self, result: &mut BatchResult, index: usize, asked: &Asked, found: Result<Found, Error>) {
        match found {
            Err(error) => match result.failed.iter_mut().find(|failed| failed.code == error.code) {
                Some(failed) => failed.indexes.push(index),
                None => {
                    let body = Error::new(error.code, error.to_string()).json();
                    result.failed.push(Failed { indexes: vec![index], error: body, code: error.code });
                }
            },
            Ok(found) if asked.knows(&found.revision) => result.not_modified.push(index),
            Ok(found) => {
                let mut instances: Vec<Instance> = found.instances.iter().map(|i| (**i).clone()).collect();
                self.shuffle(&mut instances);
                result.updated.push(Updated { index, rev: found.revision, instances });
            }
        }
    }
}

/// What every find is asked with.
#[derive(Default, Clone)]
pub(super) struct Asked {
    consumer: String,
    tags: Vec<String>,
    /// Empty when there is none, or when it is void.
    revision: String,
    freshness: Option<Freshness>,
}

impl Asked {
    fn of(call: &Call<'_>) -> Self {
        let request = call.request;
        let freshness = match (request.parameter("noCache").as_str(), request.parameter("cacheOnly").as_str())
        {
            ("1", _) => Some(Freshness::StoreOnly),
            (_, "1") => Some(Freshness::CacheOnly),
            _ => None,
        };
        let tags = request.parameter("tags");
        Self {
            consumer: request.header("X-ConsumerId").to_owned(),
            tags: tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            revision: if freshness.is_none() { request.parameter("rev") } else { String::new() },
            freshness,
        }
    }

    fn query<'a>(&'a self, provider: Name, consumer: &'a Service) -> Query<'a> {
        let freshness = self.freshness.unwrap_or(Freshness::Any);
        Query {
            provider,
            consumer,
            within: None,
            tags: self.tags.clone(),
            revision: &self.revision,
            freshness,
        }
    }

    /// Has the client this revision already.
    fn knows(&self, revision: &str) -> bool {
        !self.revision.is_empty() && self.revision == revision
    }
}

fn check_batch(batch: &Batch) -> Result<(), Error> {
    for item in &batch.services {
        let key = item.service.as_ref().ok_or_else(|| rules::nil("FindService.Service"))?;
        rules::search_key("MicroServiceKey", &key.environment, &key.app_id, &key.service_name)?;
    }
    for item in &batch.instances {
        let key = item.instance.as_ref().ok_or_else(|| rules::nil("FindInstance.Instance"))?;
        rules::instance_key("HeartbeatSetElement", &key.service_id, &key.instance_id)?;
    }
    Ok(())
}

fn not_modified(revision: &str) -> Reply {
    Reply::bare(304).header("X-Resource-Revision", revision)
}

fn find_flag(consumer: &Service, provider: &Service, what: &str) -> String {
    let (who, whom) = (service_flag(consumer), service_flag(provider));
    format!("Consumer[{}][{who}] find provider[{}][{whom}] {what}", consumer.service_id, provider.service_id)
}

fn service_flag(service: &Service) -> String {
    let Service { environment, app_id, service_name, version, .. } = service;
    format!("{environment}/{app_id}/{service_name}/{version}")
}
