//! Making ourselves known: the service, and our instance of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::usable_in_path;
use crate::registry::instance::{Registration, Status};
use crate::registry::object::Object;

/// Longest alias service-center takes.
const ALIAS_LENGTH_MAX: usize = 128;
/// Heartbeats that may be missed before service-center drops the instance, one more than this: its own default
/// and the fewest it takes.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// Shortest heartbeat interval service-center takes, in seconds.
const HEARTBEAT_INTERVAL_SECONDS_MIN: u64 = 5;

/// The body that registers the service.
#[must_use]
pub fn service_request(registration: &Registration) -> Vec<u8> {
    let service = &registration.service;
    let alias = format!("{}:{}", service.app, service.name);
    let body = ServiceBody {
        service: Service {
            app_id: &service.app,
            service_name: &service.name,
            version: &service.version,
            environment: &service.environment,
            level: "BACK",
            status: "UP",
            alias: if alias.len() <= ALIAS_LENGTH_MAX { &alias } else { "" },
            register_by: registration.registered_by,
            framework: Framework { name: "Mesher", version: registration.framework_version },
            properties: registration.cross_app.then(|| BTreeMap::from([("allowCrossApp", "true")])),
        },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// The body that registers our instance under an id of our own, which makes the call safe to repeat.
#[must_use]
pub fn instance_request(
    registration: &Registration,
    id: &str,
    status: Status,
    heartbeat_interval: Duration,
) -> Vec<u8> {
    let interval = heartbeat_interval.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
    let zone = registration.zone.as_ref().map(|zone| ZoneBody {
        name: &zone.region,
        region: &zone.region,
        available_zone: &zone.zone,
    });
    let body = InstanceBody {
        instance: InstanceFields {
            instance_id: id,
            endpoints: &registration.endpoints,
            host_name: &registration.host_name,
            status: status_word(status),
            properties: &registration.properties,
            health_check: HealthCheck {
                mode: "push",
                interval: interval.max(HEARTBEAT_INTERVAL_SECONDS_MIN),
                times: HEARTBEATS_MISSED_MAX,
            },
            data_center_info: zone,
        },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Reads the id of a service that was found or registered.
///
/// # Errors
/// There is none, or it cannot be used in a path.
pub fn registered_service(body: &[u8]) -> Result<Arc<str>, String> {
    let ids: Ids = read(body)?;
    checked("serviceId", ids.service_id)
}

/// Reads the id of an instance that was registered.
///
/// # Errors
/// There is none, or it cannot be used in a path.
pub fn registered_instance(body: &[u8]) -> Result<Arc<str>, String> {
    let ids: Ids = read(body)?;
    checked("instanceId", ids.instance_id)
}

/// The status as service-center spells it.
pub(in super::super) const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Up => "UP",
        Status::Down => "DOWN",
        Status::Starting => "STARTING",
        Status::Testing => "TESTING",
        Status::OutOfService => "OUTOFSERVICE",
    }
}

fn read(body: &[u8]) -> Result<Ids, String> {
    if body.is_empty() {
        return Err("the answer is empty".into());
    }
    let Object(ids) = serde_json::from_slice(body).map_err(|e| format!("the answer cannot be read: {e}"))?;
    Ok(ids)
}

fn checked(field: &str, id: Option<String>) -> Result<Arc<str>, String> {
    match id {
        Some(id) if usable_in_path(&id) => Ok(id.into()),
        Some(id) => Err(format!("the answer has the unusable {field} {id:.40?}")),
        None => Err(format!("the answer has no {field}")),
    }
}

#[derive(Serialize)]
struct ServiceBody<'a> {
    service: Service<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    app_id: &'a str,
    service_name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    environment: &'a str,
    level: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    alias: &'a str,
    register_by: &'a str,
    framework: Framework<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<BTreeMap<&'a str, &'a str>>,
}

#[derive(Serialize)]
struct Framework<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct InstanceBody<'a> {
    instance: InstanceFields<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceFields<'a> {
    instance_id: &'a str,
    endpoints: &'a [String],
    host_name: &'a str,
    status: &'a str,
    properties: &'a BTreeMap<String, String>,
    health_check: HealthCheck<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_center_info: Option<ZoneBody<'a>>,
}

#[derive(Serialize)]
struct HealthCheck<'a> {
    mode: &'a str,
    interval: u64,
    times: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ZoneBody<'a> {
    name: &'a str,
    region: &'a str,
    available_zone: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ids {
    #[serde(default)]
    service_id: Option<String>,
    #[serde(default)]
    instance_id: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::instance::{Identity, Zone};

    fn registration(environment: &str, cross_app: bool, zone: Option<Zone>) -> Registration {
        Registration {
            service: Identity {
                app: "default".into(),
                name: "orders".into(),
                version: "1.0.0".into(),
                environment: environment.into(),
            },
            cross_app,
            registered_by: "SIDECAR",
            framework_version: "9.9.9",
            endpoints: vec!["rest://10.0.0.5:30101".into()],
            host_name: "node1".into(),
            properties: BTreeMap::from([("nodeIP".into(), "10.0.0.5".into())]),
            zone,
            status: Status::Up,
        }
    }

    #[test]
    fn a_service_is_registered_as_mesher_does() {
        let body: Value = serde_json::from_slice(&service_request(&registration("", false, None))).unwrap();
        assert_eq!(
            body,
            json!({"service": {"appId": "default", "serviceName": "orders", "version": "1.0.0", "level": "BACK",
                "status": "UP", "alias": "default:orders", "registerBy": "SIDECAR",
                "framework": {"name": "Mesher", "version": "9.9.9"}}})
        );
        let open: Value =
            serde_json::from_slice(&service_request(&registration("testing", true, None))).unwrap();
        assert_eq!(open.pointer("/service/properties/allowCrossApp"), Some(&json!("true")));
        assert_eq!(open.pointer("/service/environment"), Some(&json!("testing")));
    }

    #[test]
    fn an_instance_lives_for_four_heartbeats() {
        let zone = Some(Zone { region: "r1".into(), zone: "az1".into() });
        let body =
            instance_request(&registration("", false, zone), "i1", Status::Down, Duration::from_secs(30));
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({"instance": {"instanceId": "i1", "endpoints": ["rest://10.0.0.5:30101"], "hostName": "node1",
                "status": "DOWN", "properties": {"nodeIP": "10.0.0.5"},
                "healthCheck": {"mode": "push", "interval": 30, "times": 3},
                "dataCenterInfo": {"name": "r1", "region": "r1", "availableZone": "az1"}}})
        );
        let body =
            instance_request(&registration("", false, None), "i1", Status::Up, Duration::from_millis(1500));
        let interval = serde_json::from_slice::<Value>(&body)
            .unwrap()
            .pointer("/instance/healthCheck/interval")
            .cloned();
        assert_eq!(interval, Some(json!(5)), "the shortest that service-center takes");
    }

    #[test]
    fn an_id_is_read_only_if_it_is_usable() {
        assert_eq!(&*registered_service(br#"{"serviceId":"7062"}"#).unwrap(), "7062");
        assert_eq!(&*registered_instance(br#"{"instanceId":"k1","more":1}"#).unwrap(), "k1");
        assert!(registered_service(b"").unwrap_err().contains("empty"));
        assert!(registered_service(b"{}").unwrap_err().contains("no serviceId"));
        assert!(registered_instance(br#"{"instanceId":".."}"#).unwrap_err().contains("unusable"));
        assert!(registered_instance(b"[]").is_err());
    }
}
