//! Instances: registration, heartbeats and changes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::Change;
use super::fake::Fake;
use super::find::Asked;
use super::model::{HealthCheck, Instance, Properties, Service, from_object, or_default};
use super::reply::{Code, Error, Reply};
use super::router::{Call, instance_key};
use super::rules;
use super::services::NewProperties;
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
pub(super) struct Beat {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) service_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) instance_id: String,
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

impl Fake {
    /// `POST microservices/{id}/instances`.
    pub(super) fn register_instance(&mut self, call: &Call<'_>) -> Outcome {
        let service = call.parts[0].as_str();
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
            return Ok(Reply::named("instanceId", &id));
        }
        Ok(Reply::named("instanceId", &asked))
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
        let key = instance_key(call, "UnregisterInstanceRequest")?;
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
        let key = instance_key(call, "HeartbeatRequest")?;
        self.heartbeat(&key)?;
        let provider = self.catalog.service(&call.tenant, &key.1).map(|listing| listing.service.clone());
        // The server reads the instance after each heartbeat, as a consumer without a name; what it found is kept.
        if let Some(provider) = provider {
            self.one_instance(&call.tenant, &Service::default(), &provider, &key.2, &Asked::default())?;
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
        Ok(Reply::named("instances", &results))
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
        let key = instance_key(call, "UpdateInstancePropsRequest")?;
        self.change(&key, |instance| instance.properties = new.properties)
    }

    /// `PUT …/status?value=`.
    pub(super) fn set_instance_status(&mut self, call: &Call<'_>) -> Outcome {
        let status = call.request.parameter("value");
        let key = instance_key(call, "UpdateInstanceStatusRequest")?;
        rules::new_status(&status)?;
        self.change(&key, |instance| instance.status = status)
    }

    /// Writes a changed copy of the instance as the cache has it: an earlier change that it has not is lost.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Instance)) -> Outcome {
        let known = self.cached_or_stored(key).map(|entry| (*entry.instance).clone());
        let Some(mut instance) = known else {
            return Err(Error::new(Code::NoSuchInstance, "Service instance does not exist."));
        };
        change(&mut instance);
        instance.mod_timestamp = self.timestamp();
        self.write(key, instance)?;
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
}

/// Reads the body of a call.
pub(super) fn decode<T: serde::de::DeserializeOwned>(call: &Call<'_>) -> Result<T, Error> {
    from_object(&call.request.body).map_err(|_| Error::invalid("Unmarshal error"))
}
