//! Services: existence, registration, tags, schemas, dependencies.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::catalog::{Known, Listing, name_of};
use super::fake::Fake;
use super::model::{Instance, Properties, Service, from_object, or_default};
use super::reply::{Code, Error, Reply};
use super::router::Call;
use super::rules;

type Outcome = Result<Reply, Error>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Registration {
    service: Option<Service>,
    #[serde(deserialize_with = "or_default")]
    tags: Properties,
    #[serde(deserialize_with = "or_default")]
    instances: Vec<Instance>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct NewProperties {
    #[serde(deserialize_with = "or_default")]
    pub(super) properties: Properties,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NewTags {
    #[serde(deserialize_with = "or_default")]
    tags: Properties,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct NewSchema {
    schema_id: String,
    schema: String,
    summary: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NewSchemas {
    #[serde(deserialize_with = "or_default")]
    schemas: Vec<NewSchema>,
}

impl Fake {
    /// `GET existence`.
    pub(super) fn existence(&mut self, call: &Call<'_>) -> Outcome {
        match call.request.parameter("type").as_str() {
            "microservice" => self.service_existence(call),
            "schema" => self.schema_existence(call),
            _ => Err(Error::invalid("Only micro-service and schema can be used as type.")),
        }
    }

    fn service_existence(&self, call: &Call<'_>) -> Outcome {
        let [environment, app, name, version] =
            ["env", "appId", "serviceName", "version"].map(|parameter| call.request.parameter(parameter));
        rules::search_key("GetExistenceRequest", &environment, &app, &name)?;
        rules::existence_version(&version)?;
        let flag = format!("{environment}/{app}/{name}/{version}");
        let versions = self.catalog.versions(&(call.tenant.clone(), environment, app, name));
        if versions.is_empty() {
            return Err(Error::new(Code::NoSuchService, format!("{flag} does not exist.")));
        }
        match versions.into_iter().find(|(_, known)| *known == version) {
            Some((id, _)) => Ok(Reply::named("serviceId", &id)),
            None => Err(Error::new(Code::NoSuchVersion, format!("{flag} version mismatch."))),
        }
    }

    fn schema_existence(&self, call: &Call<'_>) -> Outcome {
        let [service, schema] = ["serviceId", "schemaId"].map(|parameter| call.request.parameter(parameter));
        rules::schema_key("GetSchemaRequest", &service, &schema)?;
        let listing = self.catalog.service(&call.tenant, &service);
        let listing = listing.ok_or_else(|| Error::new(Code::NoSuchService, "service does not exist."))?;
        let (_, summary) = listing.schemas.get(&schema).ok_or_else(no_such_schema)?;
        let reply = Reply::bare(200).header("Content-Type", "application/json; charset=UTF-8");
        let body = format!(r#"{{"serviceId":"{service}","schemaId":"{schema}"}}"#);
        Ok(reply.header("X-Schema-Summary", summary).body(body))
    }

    /// `GET microservices`.
    pub(super) fn list_services(&mut self, call: &Call<'_>) -> Outcome {
        let mut services: Vec<Service> =
            self.catalog.services(&call.tenant).map(|listing| listing.service.clone()).collect();
        self.shuffle(&mut services);
        Ok(Reply::listed("services", &services))
    }

    /// `POST microservices`.
    pub(super) fn register_service(&mut self, call: &Call<'_>) -> Outcome {
        let registration: Registration = decode(call)?;
        let Some(mut service) = registration.service else {
            return Err(Error::invalid("Request body is empty"));
        };
        self.fill_in(&mut service);
        rules::service(&service)?;
        let id = match self.catalog.add(&call.tenant, service) {
            Ok(id) => {
                self.forget_found(&call.tenant, &id);
                id
            }
            Err(Known::Under(id)) => id,
            Err(Known::Conflict) => {
                let detail = "ServiceID conflict or found the same service with different id.";
                return Err(Error::new(Code::ServiceExists, detail));
            }
        };
        if let Some(listing) = self.catalog.service_mut(&call.tenant, &id) {
            listing.tags.extend(registration.tags);
        }
        for instance in registration.instances {
            self.add_instance(&call.tenant, Instance { service_id: id.clone(), ..instance })?;
        }
        Ok(Reply::named("serviceId", &id))
    }

    /// Writes an instance of a service that registers with it.
    fn add_instance(&mut self, tenant: &str, instance: Instance) -> Result<String, Error> {
        let service = self.catalog.service(tenant, &instance.service_id).ok_or_else(no_such_service)?;
        let version = service.service.version.clone();
        rules::instance(Some(&instance))?;
        let (id, instance) = self.complete(instance, version);
        self.register((tenant.to_owned(), instance.service_id.clone(), id.clone()), Arc::new(instance));
        Ok(id)
    }

    fn fill_in(&self, service: &mut Service) {
        let defaults = [
            (&mut service.app_id, "default"),
            (&mut service.version, "0.0.1"),
            (&mut service.level, "BACK"),
            (&mut service.status, "UP"),
        ];
        for (field, default) in defaults {
            if field.is_empty() {
                *field = default.to_owned();
            }
        }
        service.timestamp = self.timestamp();
        service.mod_timestamp.clone_from(&service.timestamp);
    }

    /// `GET microservices/{id}`.
    pub(super) fn service(&mut self, call: &Call<'_>) -> Outcome {
        let listing = self.listing(call)?;
        Ok(Reply::named("service", &listing.service))
    }

    /// `PUT microservices/{id}/properties`.
    pub(super) fn set_service_properties(&mut self, call: &Call<'_>) -> Outcome {
        let new: NewProperties = decode(call)?;
        let timestamp = self.timestamp();
        let listing = self.listing_mut(call)?;
        listing.service.properties = new.properties;
        listing.service.mod_timestamp = timestamp;
        self.forget_found(&call.tenant, &call.parts[0]);
        Ok(Reply::empty())
    }

    /// `DELETE microservices/{id}`.
    pub(super) fn delete_service(&mut self, call: &Call<'_>) -> Outcome {
        let id = &call.parts[0];
        let force = match call.request.parameter("force").as_str() {
            "1" | "true" => true,
            "" | "0" | "false" => false,
            _ => return Err(Error::invalid("parameter force must be false or true")),
        };
        if self.own().is_some_and(|own| own.service.service_id == *id) {
            return Err(Error::invalid("not allow to delete service center"));
        }
        let name = name_of(&call.tenant, &self.listing(call)?.service);
        if !force {
            if self.catalog.consumers(&name).iter().any(|consumer| *consumer != *id) {
                let detail = "Can not delete this service, other service rely it.";
                return Err(Error::new(Code::HasConsumers, detail));
            }
            let cached = self.node().cache.of_service(&call.tenant, id);
            if !cached.is_empty() || !self.store.with_prefix(&call.tenant, id, "").is_empty() {
                return Err(Error::new(
                    Code::HasInstances,
                    "Can not delete the service deployed instance(s).",
                ));
            }
        }
        self.forget_found(&call.tenant, id);
        self.catalog.remove(&call.tenant, id);
        for (key, _) in self.store.with_prefix(&call.tenant, id, "") {
            self.take_away(&key);
        }
        Ok(Reply::empty())
    }

    /// `GET microservices/{id}/tags`.
    pub(super) fn tags(&mut self, call: &Call<'_>) -> Outcome {
        let tags = &self.listing(call)?.tags;
        Ok(if tags.is_empty() { Reply::json(&json!({})) } else { Reply::named("tags", tags) })
    }

    /// `POST microservices/{id}/tags`: replaces them all.
    pub(super) fn add_tags(&mut self, call: &Call<'_>) -> Outcome {
        let new: NewTags = decode(call)?;
        new.tags.iter().flat_map(|(key, value)| [key, value]).try_for_each(|text| rules::tag(text))?;
        self.listing_mut(call)?.tags = new.tags;
        Ok(Reply::empty())
    }

    /// `PUT microservices/{id}/tags/{key}?value=`.
    pub(super) fn change_tag(&mut self, call: &Call<'_>) -> Outcome {
        let value = call.request.parameter("value");
        rules::tag_value(&value)?;
        let tag = self.listing_mut(call)?.tags.get_mut(&call.parts[1]);
        *tag.ok_or_else(|| Error::new(Code::NoSuchTag, "Tag does not exist, please add one first."))? = value;
        Ok(Reply::empty())
    }

    /// `DELETE microservices/{id}/tags/{key,key}`.
    pub(super) fn delete_tags(&mut self, call: &Call<'_>) -> Outcome {
        let tags = &mut self.listing_mut(call)?.tags;
        for key in call.parts[1].split(',') {
            let gone = || format!("Delete tags failed for this key {key} does not exist.");
            tags.remove(key).ok_or_else(|| Error::new(Code::NoSuchTag, gone()))?;
        }
        Ok(Reply::empty())
    }

    /// `GET microservices/{id}/consumers`.
    pub(super) fn consumers(&mut self, call: &Call<'_>) -> Outcome {
        let listing = self.catalog.service(&call.tenant, &call.parts[0]);
        let listing = listing.ok_or_else(|| Error::new(Code::NoSuchService, "Provider does not exist"))?;
        let ids = self.catalog.consumers(&name_of(&call.tenant, &listing.service));
        Ok(Reply::listed("consumers", &self.services_of(&call.tenant, &ids)))
    }

    /// `GET microservices/{id}/providers`.
    pub(super) fn providers(&mut self, call: &Call<'_>) -> Outcome {
        let consumer = &call.parts[0];
        if self.catalog.service(&call.tenant, consumer).is_none() {
            return Err(Error::new(Code::NoSuchService, "Consumer does not exist"));
        }
        let ids = self.catalog.providers(&call.tenant, consumer);
        Ok(Reply::listed("providers", &self.services_of(&call.tenant, &ids)))
    }

    fn services_of(&self, tenant: &str, ids: &[String]) -> Vec<Service> {
        ids.iter().filter_map(|id| self.catalog.service(tenant, id)).map(|l| l.service.clone()).collect()
    }

    /// `GET microservices/{id}/schemas`.
    pub(super) fn schemas(&mut self, call: &Call<'_>) -> Outcome {
        let listing = self.listing(call)?;
        let with_content = matches!(call.request.parameter("withSchema").as_str(), "1" | "true");
        let schemas: Vec<_> =
            listing.service.schemas.iter().map(|id| schema_json(listing, id, with_content)).collect();
        Ok(Reply::listed("schemas", &schemas))
    }

    /// `GET microservices/{id}/schemas/{id}`.
    pub(super) fn schema(&mut self, call: &Call<'_>) -> Outcome {
        let (schema, summary) =
            self.listing(call)?.schemas.get(&call.parts[1]).ok_or_else(no_such_schema)?.clone();
        Ok(Reply::named("schema", &schema).header("X-Schema-Summary", summary))
    }

    /// `PUT microservices/{id}/schemas/{id}`.
    pub(super) fn add_schema(&mut self, call: &Call<'_>) -> Outcome {
        let new: NewSchema = decode(call)?;
        rules::schema_key("ModifySchemaRequest", &call.parts[0], &call.parts[1])?;
        rules::schema_content(&new.schema, &new.summary)?;
        let listing = self.listing_mut(call)?;
        let id = call.parts[1].clone();
        if !listing.service.schemas.contains(&id) {
            listing.service.schemas.push(id.clone());
        }
        listing.schemas.insert(id, (new.schema, new.summary));
        Ok(Reply::empty())
    }

    /// `POST microservices/{id}/schemas`: replaces them all.
    pub(super) fn add_schemas(&mut self, call: &Call<'_>) -> Outcome {
        let new: NewSchemas = decode(call)?;
        if new.schemas.is_empty() {
            return Err(Error::invalid("Invalid request."));
        }
        let listing = self.listing_mut(call)?;
        listing.service.schemas = new.schemas.iter().map(|schema| schema.schema_id.clone()).collect();
        listing.schemas = new.schemas.into_iter().map(|s| (s.schema_id, (s.schema, s.summary))).collect();
        Ok(Reply::empty())
    }

    /// `DELETE microservices/{id}/schemas/{id}`.
    pub(super) fn delete_schema(&mut self, call: &Call<'_>) -> Outcome {
        let listing = self.listing_mut(call)?;
        listing.schemas.remove(&call.parts[1]).ok_or_else(no_such_schema)?;
        Ok(Reply::empty())
    }

    fn listing(&self, call: &Call<'_>) -> Result<&Listing, Error> {
        self.catalog.service(&call.tenant, &call.parts[0]).ok_or_else(no_such_service)
    }

    fn listing_mut(&mut self, call: &Call<'_>) -> Result<&mut Listing, Error> {
        self.catalog.service_mut(&call.tenant, &call.parts[0]).ok_or_else(no_such_service)
    }

    /// A change of a service drops what was found of it.
    fn forget_found(&mut self, tenant: &str, id: &str) {
        let listing = self.catalog.service(tenant, id);
        if let Some(service) = listing.map(|listing| listing.service.clone()) {
            self.forget_everywhere(tenant, &service);
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(call: &Call<'_>) -> Result<T, Error> {
    let body = &call.request.body;
    from_object(body).map_err(|error| Error::invalid(go_json_error(body, &error)))
}

fn schema_json(listing: &Listing, id: &str, with_content: bool) -> serde_json::Value {
    let mut object = json!({ "schemaId": id });
    let Some((schema, summary)) = listing.schemas.get(id) else { return object };
    if !summary.is_empty() {
        object["summary"] = json!(summary);
    }
    if with_content {
        object["schema"] = json!(schema);
    }
    object
}

fn no_such_service() -> Error {
    Error::new(Code::NoSuchService, "Service does not exist.")
}

fn no_such_schema() -> Error {
    Error::new(Code::NoSuchSchema, "schema ref not found.")
}

/// What Go says of a body that it cannot read, for the mistakes that recordings show.
fn go_json_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if value.is_array() {
        return "json: cannot unmarshal array into Go value of type discovery.CreateServiceRequest".into();
    }
    let number = value["service"].as_object().and_then(|service| service.iter().find(|(_, v)| v.is_number()));
    match number {
        Some((field, _)) => {
            format!(
                "json: cannot unmarshal number into Go struct field MicroService.service.{field} of type string"
            )
        }
        None => error.to_string(),
    }
}
