//! Services and instances in service-center's JSON. Empty fields are left out, as Go's `omitempty` does; field order
//! follows the original, since body lengths are compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// String maps, absent when empty.
pub(super) type Properties = BTreeMap<String, String>;

/// `MicroService`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Service {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) service_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) app_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) service_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) level: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) schemas: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) paths: Vec<ServicePath>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) status: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(super) properties: Properties,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) alias: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) mod_timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) environment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) register_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) framework: Option<Framework>,
}

/// `paths` of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ServicePath {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    property: Properties,
}

/// `framework` of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Framework {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) version: String,
}

/// `MicroServiceInstance`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Instance {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) instance_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) service_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) endpoints: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) host_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) status: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(super) properties: Properties,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_check: Option<HealthCheck>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_center_info: Option<DataCenter>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) mod_timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) version: String,
}

/// `healthCheck` of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HealthCheck {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) mode: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) port: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) times: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) url: String,
}

/// `dataCenterInfo` of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DataCenter {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) region: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) available_zone: String,
}

impl HealthCheck {
    /// What an instance gets that says nothing: a heartbeat each 30 s, three may be missed.
    pub(super) fn by_heartbeat() -> Self {
        Self { mode: "push".into(), interval: 30, times: 3, ..Self::default() }
    }
}

impl Instance {
    /// Seconds without a heartbeat after which it is taken for gone.
    pub(super) fn patience_s(&self) -> i64 {
        self.health_check.as_ref().map_or(0, |check| check.interval * (check.times + 1))
    }
}

/// Reads an object. Unlike serde, Go takes no list for one.
pub(super) fn from_object<T: serde::de::DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let value: serde_json::Value = serde_json::from_slice(body)?;
    if is_list { Err(serde::de::Error::custom("a list is no object")) } else { serde_json::from_value(value) }
}

/// Takes `null` for nothing.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
