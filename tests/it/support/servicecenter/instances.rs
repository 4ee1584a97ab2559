//! Instances: registration, heartbeats, changes, and the three ways to find them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cache::Change;
use super::catalog::{Name, name_of};
use super::fake::Fake;
use super::finder::{Found, Freshness, Query};
use super::model::{HealthCheck, Instance, Properties, Service, from_object, or_default};
use super::reply::{Code, Error, ErrorBody, Reply};
use super::router::{Call, instance_parts};
use super::rules;
use super::services::{NewProperties, listed};
use super::store::{Entry, Key};

/// Shortest heartbeat interval an instance may ask for, seconds.
const INTERVAL_MIN_S: i64 = 5;
/// Fewest missed heartbeats an instance may ask for.
const TIMES_MIN: i64 = 3;

type Outcome = Result<Reply, Error>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Registration {
    instance: Option<Instance>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Heartbeats {
    #[serde(deserialize_with = "or_default")]
    instances: Vec<Beat>,
}

/// Service and instance; also the result of a heartbeat.
#[derive(Deserialize, Serialize, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Beat {
    #[serde(skip_serializing_if = "String::is_empty")]
    service_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    instance_id: String,
    #[serde(skip_serializing_if = "String::is_empty", skip_deserializing)]
    err_message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ManyStatuses {
    matches: Matches,
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Matches {
    #[serde(deserialize_with = "or_default")]
    properties: Properties,
}

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
    /// `POST microservices/{id}/instances`.
    pub(super) fn register_instance(&mut self, call: &Call<'_>) -> Outcome {
        let service = call.parts[0];
        let registration: Registration = decode(call)?;
        let instance = registration.instance.map(|i| Instance { service_id: service.to_owned(), ..i });
        rules::instance(instance.as_ref())?;
        let listing = self.catalog.service(&call.tenant, service);
        let listing =
            listing.ok_or_else(|| Error::new(Code::NoSuchService, "Invalid 'serviceID' in request body."))?;
        let version = listing.service.version.clone();
        let key = |id: &str| (call.tenant.clone(), service.to_owned(), id.to_owned());
        let asked = instance.as_ref().map(|i| i.instance_id.clone()).unwrap_or_default();
        let alive = !asked.is_empty() && self.heartbeat(&key(&asked)).is_ok();
        if !alive {
            let (id, instance) = self.complete(instance.unwrap_or_default(), version);
            self.register(key(&id), Arc::new(instance));
            return Ok(Reply::json(&json!({ "instanceId": id })));
        }
        Ok(Reply::json(&json!({ "instanceId": asked })))
    }

    /// Fills in what a new instance leaves out; its id and itself.
    pub(super) fn complete(&mut self, mut instance: Instance, version: String) -> (String, Instance) {
        if instance.instance_id.is_empty() {
            instance.instance_id = self.new_instance_id();
        }
        if instance.status.is_empty() {
            instance.status = "UP".into();
        }
        let mut check = instance.health_check.unwrap_or_else(HealthCheck::by_heartbeat);
        if check.mode == "pull" {
            (check.interval, check.times) = (30, 3);
        } else {
            check.interval = check.interval.max(INTERVAL_MIN_S);
            check.times = check.times.max(TIMES_MIN);
        }
        instance.health_check = Some(check);
        instance.timestamp = self.timestamp();
        instance.mod_timestamp.clone_from(&instance.timestamp);
        instance.version = version;
        (instance.instance_id.clone(), instance)
    }

    /// `DELETE microservices/{id}/instances/{id}`.
    pub(super) fn delete_instance(&mut self, call: &Call<'_>) -> Outcome {
        let (service, instance) = instance_parts(call, "UnregisterInstanceRequest")?;
        let key = (call.tenant.clone(), service.to_owned(), instance.to_owned());
        if !self.take_away(&key) {
            return Err(Error::new(Code::NoSuchInstance, "Instance's leaseId not exist."));
        }
        Ok(Reply::empty())
    }

    /// Removes an instance from the store; false if there is none.
    pub(super) fn take_away(&mut self, key: &Key) -> bool {
        let Some(entry) = self.store.remove(key) else { return false };
        self.note(Change::Delete, key.clone(), entry);
        true
    }

    /// `PUT …/heartbeat`.
    pub(super) fn beat(&mut self, call: &Call<'_>) -> Outcome {
        let (service, instance) = instance_parts(call, "HeartbeatRequest")?;
        self.heartbeat(&(call.tenant.clone(), service.to_owned(), instance.to_owned()))?;
        let provider = self.catalog.service(&call.tenant, service).map(|listing| listing.service.clone());
        // The server reads the instance after each heartbeat, as a consumer without a name; what it found is kept.
        if let Some(provider) = provider {
            self.one_instance(&call.tenant, &Service::default(), &provider, instance, &Asked::default())?;
        }
        Ok(Reply::empty())
    }

    /// `PUT heartbeats`.
    pub(super) fn beat_many(&mut self, call: &Call<'_>) -> Outcome {
        let beats: Heartbeats = decode(call)?;
        if beats.instances.is_empty() {
            return Err(Error::invalid("Request format invalid."));
        }
        let mut results: Vec<Beat> = Vec::new();
        for beat in beats.instances {
            if results.iter().any(|r| r.service_id == beat.service_id && r.instance_id == beat.instance_id) {
                continue;
            }
            let key = (call.tenant.clone(), beat.service_id.clone(), beat.instance_id.clone());
            let err_message = self.heartbeat(&key).err().map(|error| error.to_string()).unwrap_or_default();
            results.push(Beat { err_message, ..beat });
        }
        self.shuffle(&mut results);
        Ok(Reply::json(&json!({ "instances": results })))
    }

    /// Keeps an instance alive.
    pub(super) fn heartbeat(&mut self, key: &Key) -> Result<(), Error> {
        let gone = |why: &str| Err(Error::new(Code::NoSuchInstance, why));
        let Some(lease) = self.store.lease(key) else { return gone("leaseId not exist, instance not exist") };
        if self.keep_alive(key, lease) {
            return Ok(());
        }
        gone("etcdserver: requested lease not found")
    }

    /// `PUT …/properties`.
    pub(super) fn set_instance_properties(&mut self, call: &Call<'_>) -> Outcome {
        let new: NewProperties = decode(call)?;
        let (service, instance) = instance_parts(call, "UpdateInstancePropsRequest")?;
        self.change(call, service, instance, |instance| instance.properties = new.properties)
    }

    /// `PUT …/status?value=`.
    pub(super) fn set_instance_status(&mut self, call: &Call<'_>) -> Outcome {
        let status = call.request.parameter("value");
        let (service, instance) = instance_parts(call, "UpdateInstanceStatusRequest")?;
        rules::new_status(&status)?;
        self.change(call, service, instance, |instance| instance.status = status)
    }

    /// Writes a changed copy of the instance as the cache has it: an earlier change that it has not is lost.
    fn change(
        &mut self,
        call: &Call<'_>,
        service: &str,
        id: &str,
        change: impl FnOnce(&mut Instance),
    ) -> Outcome {
        let key = (call.tenant.clone(), service.to_owned(), id.to_owned());
        let known = self.cached_or_stored(&key).map(|entry| (*entry.instance).clone());
        let Some(mut instance) = known else {
            return Err(Error::new(Code::NoSuchInstance, "Service instance does not exist."));
        };
        change(&mut instance);
        instance.mod_timestamp = self.timestamp();
        self.write(&key, instance)?;
        Ok(Reply::empty())
    }

    fn write(&mut self, key: &Key, instance: Instance) -> Result<(), Error> {
        let entry = self.store.update(key, Arc::new(instance));
        let entry = entry.ok_or_else(|| Error::new(Code::NoSuchInstance, "Instance's leaseId not exist."))?;
        self.note(Change::Update, key.clone(), entry);
        Ok(())
    }

    /// One instance, from the cache or else from the store.
    pub(super) fn cached_or_stored(&self, key: &Key) -> Option<&Entry> {
        self.node().cache.instance(key).or_else(|| self.store.instance(key))
    }

    /// `PUT instances/status`: every instance of the tenant whose properties match, whatever the status.
    pub(super) fn set_many_statuses(&mut self, call: &Call<'_>) -> Outcome {
        let many: ManyStatuses = decode(call)?;
        let wanted = &many.matches.properties;
        let matches = |entry: &Entry| wanted.iter().all(|(k, v)| entry.instance.properties.get(k) == Some(v));
        let all =
            self.node().cache.all().iter().filter(|(key, entry)| key.0 == call.tenant && matches(entry));
        let all: Vec<(Key, Instance)> =
            all.map(|(key, entry)| (key.clone(), (*entry.instance).clone())).collect();
        for (key, instance) in all {
            // One that is gone from the store has no lease and is passed over.
            let _ = self.write(&key, Instance { status: many.status.clone(), ..instance });
        }
        Ok(Reply::empty())
    }

    /// `GET microservices/{id}/instances`.
    pub(super) fn list_instances(&mut self, call: &Call<'_>) -> Outcome {
        let asked = Asked::of(call);
        let (consumer, provider) = self.both_ends(call, &asked)?;
        let found = self.look(&call.tenant, &consumer, &provider, Some(""), &asked);
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
        let (consumer, provider) = self.both_ends(call, &asked)?;
        let found = self.one_instance(&call.tenant, &consumer, &provider, call.parts[1], &asked)?;
        if asked.knows(&found.revision) {
            return Ok(not_modified(&found.revision));
        }
        let reply = Reply::json(&json!({ "instance": found.instances[0] }));
        Ok(reply.header("X-Resource-Revision", &found.revision))
    }

    fn one_instance(
        &mut self,
        tenant: &str,
        consumer: &Service,
        provider: &Service,
        id: &str,
        asked: &Asked,
    ) -> Result<Found, Error> {
        let found = self.look(tenant, consumer, provider, Some(id), asked);
        found.filter(|found| !found.instances.is_empty()).ok_or_else(|| {
            let flag = find_flag(consumer, provider, &format!("instance[{id}]"));
            Error::new(Code::NoSuchInstance, format!("{flag} failed, provider instance does not exist"))
        })
    }

    fn both_ends(&self, call: &Call<'_>, asked: &Asked) -> Result<(Service, Service), Error> {
        rules::consumer("GetInstancesRequest", &asked.consumer)?;
        let consumer = self.consumer(&call.tenant, &asked.consumer)?;
        let provider = self.provider(&call.tenant, call.parts[0])?;
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
        id: Option<&str>,
        asked: &Asked,
    ) -> Option<Found> {
        let within = id.map(|id| (provider.service_id.as_str(), id));
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
        rules::search_key("FindInstancesRequest", &environment, &app, &name)?;
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
        listed("instances", &instances).header("X-Resource-Revision", &found.revision)
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
        check_batch(&batch)?;
        let mut body = serde_json::Map::new();
        if !batch.services.is_empty() {
            body.insert("services".into(), json!(self.batch_services(call, batch.services)));
        }
        if !batch.instances.is_empty() {
            body.insert("instances".into(), json!(self.batch_instances(call, batch.instances)));
        }
        Ok(Reply::json(&body))
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
struct Asked {
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

fn decode<T: serde::de::DeserializeOwned>(call: &Call<'_>) -> Result<T, Error> {
    from_object(&call.request.body).map_err(|_| Error::invalid("Unmarshal error"))
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
