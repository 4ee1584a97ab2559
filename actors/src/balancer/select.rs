//! Who of a service's instances is called. Pure.
//!
//! An instance is called if it is of our application and environment, in a callable status, has an address that can
//! be read and is spoken, and is of the latest version. In this order: the latest version is the latest *that can be
//! called*, so that a new version which is still starting, or whose addresses are wrong, does not take the service
//! away. (Mesher, too, forgets instances that are down before it looks for the latest version.)

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Upstream;
use super::version::Version;
use crate::one_line::one_line;
use crate::registry::endpoint::{self, EndpointError};
use crate::registry::instance::{Identity, Instance, Status};
use crate::snapshot::{Endpoint, Protocol, Service};

/// What the data plane speaks; endpoints of other protocols would be chosen and could not be called.
const SPOKEN: [Protocol; 2] = [Protocol::Rest, Protocol::Grpc];
/// Different reasons in [`Service::left_out`]; it is a sentence for an error reply, not a list.
const REASONS_MAX: usize = 4;

/// Whose instances we call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Our application.
    pub(crate) app: Arc<str>,
    /// Our environment.
    pub(crate) environment: Arc<str>,
}

/// A service, and what was wrong with the addresses of its instances.
#[derive(Debug, PartialEq)]
pub(super) struct Selected {
    pub(super) service: Service,
    /// Addresses that cannot be used, of all instances; sorted.
    pub(super) unreadable: Vec<(String, EndpointError)>,
}

/// An instance that could be called, if its version is the right one.
struct Candidate<'i> {
    instance: &'i Instance,
    endpoints: Vec<Endpoint>,
}

/// Counts reasons; they come out in the order of their text.
#[derive(Default)]
struct LeftOut(BTreeMap<String, u32>);

/// Decides which of `instances` are called. Equal sets of instances give equal services, whatever their order.
pub(super) fn select(
    name: &Arc<str>,
    instances: &[Arc<Instance>],
    selection: &Selection,
    upstream: &Upstream,
) -> Selected {
    let (mut left_out, mut unreadable) = (LeftOut::default(), Vec::new());
    let mut candidates = Vec::new();
    for instance in instances {
        match selection.why_not(instance) {
            Some(why) => left_out.add(why),
            None => match endpoints(instance, &mut unreadable) {
                Ok(endpoints) => candidates.push(Candidate { instance, endpoints }),
                Err(why) => left_out.add(why),
            },
        }
    }
    let latest = candidates.iter().map(|c| Version::new(&c.instance.version)).max();
    candidates.retain(|candidate| {
        let version = &candidate.instance.version;
        let is_latest = Some(Version::new(version)) == latest;
        if !is_latest {
            left_out.add(format!("of version {version}"));
        }
        is_latest
    });
    // Of several spellings of the latest version the least, so that the order of the instances does not matter.
    let version = candidates.iter().map(|c| c.instance.version.clone()).min().unwrap_or_default();
    unreadable.sort_by(|one, two| one.0.cmp(&two.0));
    let all = candidates.into_iter().flat_map(|candidate| candidate.endpoints);
    let (tls, plain) = all.partition(|endpoint| endpoint.tls);
    let service = Service {
        name: name.clone(),
        app: selection.app.clone(),
        left_out: one_line(&left_out.sentence(&version)).into(),
        version,
        strategy: upstream.strategy,
        endpoints: in_order(plain),
        tls_endpoints: in_order(tls),
        instances_total: u32::try_from(instances.len()).unwrap_or(u32::MAX),
        policy: upstream.policy.clone(),
    };
    Selected { service, unreadable }
}

/// Sorted by protocol and address; an address that two instances claim is kept once.
fn in_order(mut endpoints: Vec<Endpoint>) -> Arc<[Endpoint]> {
    let key = |e: &Endpoint| -> (Protocol, SocketAddr) { (e.protocol, e.address) };
    endpoints.sort_by(|one, two| key(one).cmp(&key(two)).then_with(|| one.instance.cmp(&two.instance)));
    endpoints.dedup_by_key(|endpoint| key(endpoint));
    endpoints.into()
}

/// The addresses of an instance that can be called, or why there is none.
fn endpoints(
    instance: &Instance,
    unreadable: &mut Vec<(String, EndpointError)>,
) -> Result<Vec<Endpoint>, String> {
    let mut usable = Vec::new();
    let mut first_error = None;
    for text in &instance.endpoints {
        match endpoint::parse(text) {
            Ok(Some(found)) if SPOKEN.contains(&found.protocol) => usable.push(Endpoint {
                instance: instance.id.clone(),
                address: found.socket,
                protocol: found.protocol,
                tls: found.tls,
            }),
            Ok(_) => {}
            Err(why) => {
                first_error.get_or_insert_with(|| format!("with an unusable address ({why})"));
                unreadable.push((text.clone(), why));
            }
        }
    }
    if usable.is_empty() {
        Err(first_error.unwrap_or_else(|| "without a rest or grpc address".to_owned()))
    } else {
        Ok(usable)
    }
}

// === impl Selection ===

impl Selection {
    /// Whose instances the service `identity` calls: those of its own application and environment.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self { app: identity.app.clone(), environment: identity.environment.clone() }
    }

    fn why_not(&self, instance: &Instance) -> Option<String> {
        if instance.app != self.app {
            return Some(format!("of application {}", instance.app));
        }
        if instance.environment != self.environment {
            return Some(format!("of environment {:?}", instance.environment));
        }
        (!instance.status.callable()).then(|| status_name(instance.status).to_owned())
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Up => "UP",
        Status::Down => "DOWN",
        Status::Starting => "STARTING",
        Status::Testing => "TESTING",
        Status::OutOfService => "OUTOFSERVICE",
    }
}

// === impl LeftOut ===

impl LeftOut {
    fn add(&mut self, why: String) {
        *self.0.entry(why).or_default() += 1;
    }

    /// `2 DOWN, 1 of version 0.0.1 (latest is 0.0.2)`; empty if none is left out.
    fn sentence(self, latest: &str) -> String {
        let others: u32 = self.0.values().skip(REASONS_MAX).sum();
        let of_version = self.0.keys().take(REASONS_MAX).any(|why| why.starts_with("of version "));
        let mut parts: Vec<_> =
            self.0.iter().take(REASONS_MAX).map(|(why, count)| format!("{count} {why}")).collect();
        if others > 0 {
            parts.push(format!("{others} for other reasons"));
        }
        let mut sentence = parts.join(", ");
        if of_version {
            sentence.push_str(&format!(" (latest is {latest})"));
        }
        sentence
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    /// An instance that is called, unless `change` spoils it.
    pub(crate) fn instance(id: &str, address: &str, change: impl FnOnce(&mut Instance)) -> Arc<Instance> {
        let mut instance = Instance {
            id: id.into(),
            app: "default".into(),
            version: "0.0.1".into(),
            environment: "".into(),
            status: Status::Up,
            endpoints: vec![format!("rest://{address}")],
            properties: BTreeMap::new(),
            zone: None,
        };
        change(&mut instance);
        Arc::new(instance)
    }

    fn service(instances: &[Arc<Instance>]) -> Service {
        let selection = Selection { app: "default".into(), environment: "".into() };
        select(&"orders".into(), instances, &selection, &Upstream::default()).service
    }

    /// Which instances are called, and why the others are not.
    fn check(instances: &[Arc<Instance>], called: &[&str], left_out: &str) {
        let service = service(instances);
        let ids: Vec<_> = service.endpoints.iter().map(|e| &*e.instance).collect();
        assert_eq!((ids.as_slice(), &*service.left_out), (called, left_out));
        assert_eq!(service.instances_total as usize, instances.len());
    }

    #[test]
    fn up_and_testing_are_called_the_rest_is_counted() {
        let with = |id: &str, status| instance(id, &format!("10.0.0.{id}:80"), |i| i.status = status);
        let instances = [
            with("1", Status::Up),
            with("2", Status::Testing),
            with("3", Status::Down),
            with("4", Status::Down),
            with("5", Status::Starting),
            with("6", Status::OutOfService),
        ];
        check(&instances, &["1", "2"], "2 DOWN, 1 OUTOFSERVICE, 1 STARTING");
    }

    #[test]
    fn the_latest_version_that_can_be_called_is_called() {
        let with = |id: &str, version: &str, status| {
            instance(id, &format!("10.0.0.{id}:80"), |i| {
                i.version = version.into();
                i.status = status;
            })
        };
        let mut instances = vec![
            with("1", "0.0.1", Status::Up),
            with("2", "0.0.2", Status::Up),
            with("3", "0.0.10", Status::Down),
        ];
        check(&instances, &["2"], "1 DOWN, 1 of version 0.0.1 (latest is 0.0.2)");
        instances[2] = with("3", "0.0.10", Status::Up);
        check(&instances, &["3"], "1 of version 0.0.1, 1 of version 0.0.2 (latest is 0.0.10)");
        assert_eq!(&*service(&instances).version, "0.0.10");
    }

    #[test]
    fn unreadable_versions_are_called_only_where_there_is_no_other() {
        let with = |id: &str, version: &str| {
            instance(id, &format!("10.0.0.{id}:80"), |i| i.version = version.into())
        };
        check(&[with("1", "0.0.0"), with("2", "next")], &["1"], "1 of version next (latest is 0.0.0)");
        check(&[with("1", "0.0.1"), with("2", "0.0.0")], &["1"], "1 of version 0.0.0 (latest is 0.0.1)");
    }

    #[test]
    fn other_applications_and_environments_are_left_out() {
        let instances = [
            instance("1", "10.0.0.1:80", |i| i.app = "shop".into()),
            instance("2", "10.0.0.2:80", |i| i.environment = "testing".into()),
        ];
        check(&instances, &[], "1 of application shop, 1 of environment \"testing\"");
    }

    #[test]
    fn addresses_that_cannot_be_used_are_reported_one_by_one() {
        let instances = [
            instance("1", "orders.local:80", |i| i.endpoints.push("rest://10.0.0.1".to_owned())),
            instance("2", "10.0.0.2:80", |i| i.endpoints.push("rest://0.0.0.0:80".to_owned())),
            instance("3", "", |i| i.endpoints = vec!["highway://10.0.0.3:80".to_owned()]),
        ];
        let left_out = "1 with an unusable address (its host is not an IP address; host names are not resolved), \
                        1 without a rest or grpc address";
        check(&instances, &["2"], left_out);
        let selection = Selection { app: "default".into(), environment: "".into() };
        let unreadable = select(&"orders".into(), &instances, &selection, &Upstream::default()).unreadable;
        let texts: Vec<_> = unreadable.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["rest://0.0.0.0:80", "rest://10.0.0.1", "rest://orders.local:80"]);
    }

    #[test]
    fn addresses_of_both_protocols_are_called_those_of_rest_first() {
        let both = [
            instance("1", "10.0.0.9:80", |i| i.endpoints.push("grpc://10.0.0.1:90".to_owned())),
            instance("2", "10.0.0.2:80", |_| {}),
        ];
        let called: Vec<_> =
            service(&both).endpoints.iter().map(|e| (e.protocol, e.address.to_string())).collect();
        let expected = [
            (Protocol::Rest, "10.0.0.2:80".to_owned()),
            (Protocol::Rest, "10.0.0.9:80".to_owned()),
            (Protocol::Grpc, "10.0.0.1:90".to_owned()),
        ];
        assert_eq!(called, expected);
    }

    #[test]
    fn every_address_of_an_instance_is_called_and_none_twice() {
        let instances = [
            instance("1", "10.0.0.2:80", |i| i.endpoints.push("rest://10.0.0.1:80".to_owned())),
            instance("2", "10.0.0.2:80", |_| {}),
        ];
        let addresses: Vec<_> = service(&instances)
            .endpoints
            .iter()
            .map(|e| (e.address.to_string(), e.instance.clone()))
            .collect();
        assert_eq!(
            addresses,
            [("10.0.0.1:80".to_owned(), "1".into()), ("10.0.0.2:80".to_owned(), "1".into())]
        );
    }

    fn any_instance() -> impl Strategy<Value = Arc<Instance>> {
        let status = prop_oneof![Just(Status::Up), Just(Status::Down), Just(Status::Testing)];
        let version = prop_oneof![Just("0.0.1"), Just("1.0"), Just("1.0.0"), Just("0.0.0"), Just("x")];
        let app = prop_oneof![3 => Just("default"), 1 => Just("shop")];
        (0..20_u8, 0..4_u8, status, version, app).prop_map(|(id, host, status, version, app)| {
            instance(&id.to_string(), &format!("10.0.0.{host}:80"), |i| {
                i.status = status;
                i.version = version.into();
                i.app = app.into();
            })
        })
    }

    proptest! {
        #[test]
        fn the_order_of_the_instances_does_not_matter(
            (one, two) in prop::collection::vec(any_instance(), 0..12)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
        ) {
            prop_assert_eq!(service(&one), service(&two));
        }

        #[test]
        fn only_callable_instances_of_one_version_are_called(all in prop::collection::vec(any_instance(), 0..12)) {
            let called = service(&all);
            let latest = Version::new(&called.version);
            for endpoint in called.endpoints.iter() {
                prop_assert!(all.iter().any(|i| i.id == endpoint.instance
                    && i.status.callable()
                    && &*i.app == "default"
                    && Version::new(&i.version) == latest));
            }
            let callable = all.iter().any(|i| i.status.callable() && &*i.app == "default");
            prop_assert_eq!(called.endpoints.is_empty(), !callable);
        }
    }
}
