//! A service-center with sidecars around it: callers, and providers beside a service.
//!
//! Service-center's clock stands still and is moved by [`Fleet::settle`], so that what it takes its time for has
//! happened at once: 0.3 s until a change is seen, 2.3 s until the end of an instance is.

use std::net::SocketAddr;
use std::time::Duration;

use mesher::net::Driver;
use serde_json::Value;

use super::client::Response;
use super::conf::Conf;
use super::origin::{Origin, Reply};
use super::process::{Mesher, Start};
use super::servicecenter::{Clock, Config, Shell};
use super::wait::{PATIENCE, wait_for, wait_until};

/// Name of the service in most tests.
pub(crate) const SERVICE: &str = "RESTServer";

/// A service-center, and how its sidecars run.
pub(crate) struct Fleet {
    /// The service-center.
    pub(crate) center: Shell,
    driver: Option<Driver>,
}

impl Fleet {
    /// Starts the service-center.
    pub(crate) fn start() -> Self {
        Self { center: Shell::start(Config::default(), Clock::Moved), driver: None }
    }

    /// Starts it; the sidecars will use this driver.
    pub(crate) fn start_on(driver: Driver) -> Self {
        Self { driver: Some(driver), ..Self::start() }
    }

    /// Lets what service-center has taken in become visible to all.
    pub(crate) fn settle(&self) {
        self.center.move_clock(Duration::from_secs(3));
    }

    /// The configuration of a sidecar that asks service-center each second.
    pub(crate) fn conf(&self, name: &str) -> Conf {
        let conf = Conf::sidecar(name);
        let conf = match self.driver {
            Some(driver) => conf.driver(driver),
            None => conf,
        };
        conf.service_center(&[self.center.address()])
            .set("chassis.yaml", "servicecomb.registry.refreshInterval", "1s")
            .set("mesher.yaml", "mesher.drain.graceSeconds", "100ms")
            .set("mesher.yaml", "mesher.drain.timeoutSeconds", "20s")
    }

    /// A sidecar that only calls.
    #[track_caller]
    pub(crate) fn caller(&self) -> Mesher {
        self.registered(Start::new(self.conf("caller")))
    }

    /// A sidecar of [`SERVICE`] beside `origin`.
    #[track_caller]
    pub(crate) fn provider(&self, origin: &Origin) -> Mesher {
        self.provider_with(origin, self.conf(SERVICE))
    }

    /// The same, with a configuration of one's own.
    #[track_caller]
    pub(crate) fn provider_with(&self, origin: &Origin, conf: Conf) -> Mesher {
        let port = origin.address().port();
        self.registered(Start::new(conf).arg(format!("--service-ports=rest:{port}")))
    }

    /// Starts a sidecar and waits until service-center lists it.
    #[track_caller]
    pub(crate) fn registered(&self, start: Start) -> Mesher {
        let mesher = start.ready();
        wait_for("the registration", PATIENCE, || mesher.instance_id());
        self.settle();
        mesher
    }

    /// Registers an instance as somebody else does: id and endpoint.
    pub(crate) fn register(&self, service: &str, instance: &str, endpoint: SocketAddr) {
        let id = self.service_id(service);
        let body = serde_json::json!({ "instance": {
            "instanceId": instance, "hostName": "elsewhere", "endpoints": [format!("rest://{endpoint}")],
        }});
        let path = format!("microservices/{id}/instances");
        assert_eq!(self.center.call("POST", &path, &body.to_string()).status, 200);
        self.settle();
    }

    /// Sets the status of an instance.
    pub(crate) fn set_status(&self, service: &str, instance: &str, status: &str) {
        let id = self.service_id(service);
        let path = format!("microservices/{id}/instances/{instance}/status?value={status}");
        assert_eq!(self.center.call("PUT", &path, "").status, 200);
        self.settle();
    }

    /// Takes an instance out.
    pub(crate) fn remove(&self, service: &str, instance: &str) {
        let id = self.service_id(service);
        let path = format!("microservices/{id}/instances/{instance}");
        assert_eq!(self.center.call("DELETE", &path, "").status, 200);
        self.settle();
    }

    /// The instances of a service as service-center lists them.
    pub(crate) fn instances(&self, service: &str) -> Vec<Value> {
        let id = self.service_id(service);
        let listed = self.center.call("GET", &format!("microservices/{id}/instances"), "").json();
        listed["instances"].as_array().cloned().unwrap_or_default()
    }

    /// The id of a service, which is registered if it is unknown.
    fn service_id(&self, name: &str) -> String {
        let body =
            serde_json::json!({ "service": { "serviceName": name, "appId": "default", "version": "0.0.1" } });
        let answer = self.center.call("POST", "microservices", &body.to_string()).json();
        answer["serviceId"].as_str().expect("no service id").to_owned()
    }
}

/// A service that answers with its name.
pub(crate) fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Reply::ok(name))
}

/// Calls a service through a sidecar, on a new connection.
#[track_caller]
pub(crate) fn call(mesher: &Mesher, service: &str) -> Response {
    mesher.connect().get(service, &format!("http://{service}/sayhello/peter"))
}

/// Waits until a sidecar calls a service at these addresses and no others.
#[track_caller]
pub(crate) fn wait_for_endpoints(mesher: &Mesher, service: &str, expected: &[SocketAddr]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    wait_until(&format!("{service} at {expected:?}"), PATIENCE, || {
        let mut endpoints = mesher.endpoints(service);
        endpoints.sort_unstable();
        endpoints == expected
    });
}
