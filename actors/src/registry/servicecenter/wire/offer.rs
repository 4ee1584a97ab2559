//! One instance as service-center lists it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::id::usable_in_path;
use super::lenient::{List, list, or_default, texts};
use crate::registry::instance::{Instance, Status, Zone};
use crate::registry::object::Object;

/// Most endpoints kept of one instance: a service has a handful of protocols.
const ENDPOINTS_MAX: usize = 64;

/// One instance, checked. The answer does not say whose application and environment it is; the asker knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its id.
    pub id: Arc<str>,
    version: Arc<str>,
    status: Status,
    endpoints: Vec<String>,
    properties: BTreeMap<String, String>,
    zone: Option<Zone>,
}

impl Offer {
    /// As an instance of a service of this application and environment.
    #[must_use]
    pub fn into_instance(self, app: &Arc<str>, environment: &Arc<str>) -> Instance {
        Instance {
            id: self.id,
            app: Arc::clone(app),
            version: self.version,
            environment: Arc::clone(environment),
            status: self.status,
            endpoints: self.endpoints,
            properties: self.properties,
            zone: self.zone,
        }
    }
}

/// As it is on the wire; fields without use here (hostName, timestamps, healthCheck) are left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawInstance {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) instance_id: String,
    #[serde(default, deserialize_with = "or_default")]
    version: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "list")]
    endpoints: List<String>,
    #[serde(default, deserialize_with = "texts")]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    data_center_info: Option<Object<RawZone>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawZone {
    #[serde(default, deserialize_with = "or_default")]
    region: String,
    #[serde(default, deserialize_with = "or_default")]
    available_zone: String,
}

impl TryFrom<RawInstance> for Offer {
    type Error = String;

    fn try_from(raw: RawInstance) -> Result<Self, String> {
        let id = checked_id(&raw.instance_id)?;
        let status =
            status(&raw.status).ok_or_else(|| format!("instance {id}: unknown status {:?}", raw.status))?;
        Ok(Self {
            id,
            version: raw.version.into(),
            status,
            endpoints: raw.endpoints.into_iter().flatten().take(ENDPOINTS_MAX).collect(),
            properties: raw.properties,
            zone: raw.data_center_info.and_then(|Object(raw)| zone(raw)),
        })
    }
}

/// The id if it can be one.
pub(super) fn checked_id(id: &str) -> Result<Arc<str>, String> {
    if usable_in_path(id) { Ok(id.into()) } else { Err(format!("an instance has the unusable id {id:.40?}")) }
}

fn status(text: &str) -> Option<Status> {
    Some(match text {
        "UP" | "" => Status::Up,
        "DOWN" => Status::Down,
        "STARTING" => Status::Starting,
        "TESTING" => Status::Testing,
        "OUTOFSERVICE" => Status::OutOfService,
        _ => return None,
    })
}

fn zone(raw: RawZone) -> Option<Zone> {
    let known = !raw.region.is_empty() || !raw.available_zone.is_empty();
    known.then(|| Zone { region: raw.region.into(), zone: raw.available_zone.into() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(json: &str) -> Result<Instance, String> {
        let raw: RawInstance = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Ok(Offer::try_from(raw)?.into_instance(&"shop".into(), &"testing".into()))
    }

    #[test]
    fn an_instance_is_read_whole() {
        let instance = read(
            r#"{"instanceId":"k1","serviceId":"05ea","hostName":"node1","version":"1.0.0","status":"TESTING","future":1,
            "endpoints":["rest://10.0.0.5:30101?sslEnabled=true\u0026x=1","grpc://[::1]:1"],"timestamp":"1795560987",
            "properties":{"nodeIP":"10.0.0.5","weight":3,"deep":{}},"dataCenterInfo":{"name":"d","region":"r","availableZone":"z"}}"#,
        )
        .unwrap();
        assert_eq!((&*instance.id, &*instance.version, instance.status), ("k1", "1.0.0", Status::Testing));
        assert_eq!((&*instance.app, &*instance.environment), ("shop", "testing"));
        assert_eq!(instance.endpoints, ["rest://10.0.0.5:30101?sslEnabled=true&x=1", "grpc://[::1]:1"]);
        assert_eq!(
            instance.properties,
            [("nodeIP", "10.0.0.5"), ("weight", "3")].map(|(k, v)| (k.into(), v.into())).into()
        );
        assert_eq!(instance.zone, Some(Zone { region: "r".into(), zone: "z".into() }));
    }

    #[test]
    fn absent_and_null_fields_are_empty() {
        for json in [
            r#"{"instanceId":"a"}"#,
            r#"{"instanceId":"a","version":null,"status":null,"endpoints":null,"properties":null,"dataCenterInfo":null}"#,
        ] {
            let instance = read(json).unwrap();
            assert_eq!(instance.status, Status::Up, "service-center's default");
            assert!(
                instance.endpoints.is_empty() && instance.properties.is_empty() && instance.zone.is_none()
            );
        }
    }

    #[test]
    fn a_bad_endpoint_is_left_out_alone() {
        let instance = read(r#"{"instanceId":"a","endpoints":[7,"rest://10.0.0.5:1",null]}"#).unwrap();
        assert_eq!(instance.endpoints, ["rest://10.0.0.5:1"]);
    }

    #[test]
    fn an_instance_without_usable_id_or_status_is_refused() {
        assert!(read("{}").unwrap_err().contains("unusable id"));
        assert!(read(r#"{"instanceId":"../x y"}"#).unwrap_err().contains("unusable id"));
        assert!(read(r#"{"instanceId":"a","status":"MAYBE"}"#).unwrap_err().contains("MAYBE"));
    }
}
