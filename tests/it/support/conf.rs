//! Configuration directories for the binary under test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use mesher::net::Driver;
use serde_yaml::{Mapping, Value};

use super::net::{free_host, free_port};
use super::wait::PATIENCE;

/// A directory of configuration files, removed on drop.
pub(crate) struct Conf {
    dir: tempfile::TempDir,
    /// File name to dotted keys; written out nested.
    files: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// Where applications send their calls: 127.0.0.1 and the traffic port.
    pub(crate) outgoing: SocketAddr,
    /// Where other sidecars send theirs: an address of this sidecar alone, same port.
    pub(crate) incoming: SocketAddr,
    /// Where the admin answers.
    pub(crate) admin: SocketAddr,
}

impl Conf {
    /// A sidecar of the service `name` (version 0.0.1, app `default`) on free addresses, logging to standard
    /// output, with the file registry and nothing in it.
    pub(crate) fn sidecar(name: &str) -> Self {
        let (host, port) = (free_host(), free_port());
        let incoming = SocketAddr::new(host.into(), port);
        let admin = SocketAddr::new(host.into(), free_port());
        let outgoing = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let dir = tempfile::tempdir().expect("no temporary directory");
        let conf = Self { dir, files: BTreeMap::new(), outgoing, incoming, admin };
        conf.set("chassis.yaml", "servicecomb.registry.type", "file")
            .set("chassis.yaml", "servicecomb.protocols.http.listenAddress", incoming.to_string())
            .set("chassis.yaml", "servicecomb.protocols.rest-admin.listenAddress", admin.to_string())
            .set("microservice.yaml", "servicecomb.service.name", name)
            .set("microservice.yaml", "servicecomb.service.version", "0.0.1")
            .set("mesher.yaml", "admin.enable", true)
            // A busy machine takes its time for a handshake. Who waits for the time-out sets a short one.
            .set("mesher.yaml", "mesher.timeout.connectSeconds", PATIENCE.as_secs())
            .set("lager.yaml", "logWriters", "stdout")
            .set("lager.yaml", "logLevel", "DEBUG")
            .file("registry.yaml", "services: {}\n")
    }

    /// Uses the service-centers at these addresses instead of the file registry.
    pub(crate) fn service_center(self, addresses: &[SocketAddr]) -> Self {
        let addresses: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        self.set("chassis.yaml", "servicecomb.registry.type", "servicecenter").set(
            "chassis.yaml",
            "servicecomb.registry.address",
            addresses.join(","),
        )
    }

    /// Runs on this I/O driver.
    pub(crate) fn driver(self, driver: Driver) -> Self {
        self.set("mesher.yaml", "net.driver", driver.to_string())
    }

    /// Sets a dotted key in a file; an earlier value is replaced.
    pub(crate) fn set(mut self, file: &'static str, key: &str, value: impl Into<Value>) -> Self {
        self.change(file, key, value);
        self
    }

    /// Sets a dotted key in a file of a mesher that runs already.
    pub(crate) fn change(&mut self, file: &'static str, key: &str, value: impl Into<Value>) {
        self.files.entry(file).or_default().insert(key.to_owned(), value.into());
        self.write(file);
    }

    /// Removes a dotted key from a file.
    pub(crate) fn unset(mut self, file: &'static str, key: &str) -> Self {
        self.files.entry(file).or_default().remove(key);
        self.write(file);
        self
    }

    /// Writes a file as it is.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.replace(name, text);
        self
    }

    /// Lists services in the file registry: name and endpoints, version 0.0.1 each.
    pub(crate) fn services(self, services: &[(&str, &[SocketAddr])]) -> Self {
        self.replace("registry.yaml", &registry_yaml(services));
        self
    }

    /// Replaces a file atomically, as an editor or a deployment does.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let staged = self.dir.path().join(format!(".{name}.new"));
        std::fs::write(&staged, text).expect("cannot write configuration");
        std::fs::rename(&staged, self.dir.path().join(name)).expect("cannot place configuration");
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `mesher.yaml`, which `--config` names.
    pub(crate) fn mesher_yaml(&self) -> PathBuf {
        self.dir.path().join("mesher.yaml")
    }

    fn write(&self, file: &str) {
        let mut root = Mapping::new();
        for (key, value) in &self.files[file] {
            nest(&mut root, key, value.clone());
        }
        self.replace(file, &serde_yaml::to_string(&root).expect("not YAML"));
    }
}

/// The text of a file registry.
pub(crate) fn registry_yaml(services: &[(&str, &[SocketAddr])]) -> String {
    let mut text = String::from("services:\n");
    if services.is_empty() {
        text = "services: {}\n".into();
    }
    for (name, addresses) in services {
        text += &format!("  {name}:\n");
        for address in *addresses {
            text += &format!("    - version: 0.0.1\n      endpoints: [\"rest://{address}\"]\n");
        }
    }
    text
}

/// Puts a value under a dotted key as nested maps.
fn nest(map: &mut Mapping, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            map.insert(key.into(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first.into()).or_insert_with(|| Mapping::new().into());
            nest(inner.as_mapping_mut().expect("key is both value and map"), rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_are_written_nested_and_can_change() {
        let conf = Conf::sidecar("a").set("chassis.yaml", "servicecomb.registry.scope", "full");
        let conf = conf.service_center(&["127.0.0.1:30100".parse().unwrap()]);
        let text = std::fs::read_to_string(conf.path().join("chassis.yaml")).unwrap();
        let chassis: Value = serde_yaml::from_str(&text).unwrap();
        let registry = &chassis["servicecomb"]["registry"];
        assert_eq!(registry["type"], "servicecenter");
        assert_eq!(registry["address"], "http://127.0.0.1:30100");
        assert_eq!(registry["scope"], "full");
        assert_eq!(chassis["servicecomb"]["protocols"]["http"]["listenAddress"], conf.incoming.to_string());
    }

    #[test]
    fn services_are_listed_with_their_endpoints() {
        let text = registry_yaml(&[("A", &["127.0.0.1:1".parse().unwrap(), "127.0.0.2:1".parse().unwrap()])]);
        let registry: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(registry["services"]["A"][1]["endpoints"][0], "rest://127.0.0.2:1");
    }
}
