//! Reads `registry.yaml`. Pure; the one place that knows its keys.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::caret::{Fault, lines};
use crate::config::yaml;
use crate::registry::endpoint;
use crate::registry::instance::{Instance, Status, Zone};
use crate::registry::object::Object;

/// Instances in a file: those of a thousand services are more than anybody writes by hand, and they are all kept.
const INSTANCES_MAX: usize = 10_000;
/// Values in a file, counting what aliases repeat: more than a file of the largest size can have without them.
const VALUES_MAX: usize = 1_000_000;
/// Complaints about one file; each costs a search in it, and more help nobody.
pub(super) const COMPLAINTS_MAX: usize = 20;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Registry {
    /// Instances by service, in the order of the file.
    pub(super) services: BTreeMap<Arc<str>, Vec<Arc<Instance>>>,
    /// What is wrong in it without making it useless, each with its place; the first [`COMPLAINTS_MAX`].
    pub(super) complaints: Vec<Fault>,
}

/// What is assumed where a file says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) app: Arc<str>,
    pub(super) environment: Arc<str>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, deserialize_with = "unique")]
    services: Option<BTreeMap<String, Option<Vec<Object<Entry>>>>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default = "first_version")]
    version: String,
    app: Option<String>,
    environment: Option<String>,
    #[serde(default)]
    status: StatusWord,
    endpoints: Vec<String>,
    #[serde(default, deserialize_with = "unique")]
    properties: Option<BTreeMap<String, String>>,
    zone: Option<Object<ZoneWords>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneWords {
    #[serde(default)]
    region: String,
    #[serde(default, alias = "availableZone")]
    zone: String,
}

/// As service-center spells them, in either case.
#[derive(serde::Deserialize, Default, Clone, Copy)]
enum StatusWord {
    #[default]
    #[serde(rename = "UP", alias = "up")]
    Up,
    #[serde(rename = "DOWN", alias = "down")]
    Down,
    #[serde(rename = "STARTING", alias = "starting")]
    Starting,
    #[serde(rename = "TESTING", alias = "testing")]
    Testing,
    #[serde(
        rename = "OUTOFSERVICE",
        alias = "OUT_OF_SERVICE",
        alias = "outofservice",
        alias = "out_of_service"
    )]
    OutOfService,
}

/// Mesher's own default of `servicecomb.service.version`.
fn first_version() -> String {
    "0.0.1".to_owned()
}

/// Reads a file's text; an empty one is a registry without services.
///
/// # Errors
/// The first thing in it that makes no sense.
pub(super) fn parse(text: &str, defaults: &Defaults) -> Result<Registry, Fault> {
    // The reader below takes seconds for a few thousand brackets, and copies whatever an alias names.
    yaml::check_bounds(text, VALUES_MAX).map_err(|fault| Fault {
        place: Some((to_usize(fault.mark.line), to_usize(fault.mark.column))),
        message: fault.message,
    })?;
    let document = if is_empty(text) {
        Document { services: None }
    } else {
        let Object(document) = serde_yaml::from_str(text).map_err(|error| explain(&error))?;
        document
    };
    let mut registry = Registry::default();
    let mut count = 0_usize;
    for (name, entries) in document.services.unwrap_or_default() {
        let entries = entries.unwrap_or_default();
        count = count.saturating_add(entries.len());
        if count > INSTANCES_MAX {
            return Err(Fault { message: format!("more than {INSTANCES_MAX} instances"), place: None });
        }
        for address in entries.iter().flat_map(|Object(entry)| &entry.endpoints) {
            registry.complain(text, address);
        }
        let instances = entries
            .into_iter()
            .enumerate()
            .map(|(n, Object(entry))| Arc::new(entry.instance(&name, n, defaults)));
        registry.services.insert(name.as_str().into(), instances.collect());
    }
    Ok(registry)
}

/// A map, or nothing, that says each key once: of two entries for a service one would be lost without a word.
fn unique<'de, D, V>(deserializer: D) -> Result<Option<BTreeMap<String, V>>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Unique<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
        type Value = Option<BTreeMap<String, V>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry::<String, V>()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("`{key}` is there twice; put all of it under one")));
                }
                map.insert(key, value);
            }
            Ok(Some(map))
        }
    }

    deserializer.deserialize_any(Unique(PhantomData))
}

/// Nothing but comments and document markers, which deserialises as null.
fn is_empty(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

fn to_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn explain(error: &serde_yaml::Error) -> Fault {
    let place = error.location().map(|at| (at.line(), at.column()));
    let message = error.to_string();
    // Whoever shows the fault shows its place.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    Fault { message: message.to_owned(), place }
}

// === impl Registry ===

impl Registry {
    /// Takes note of an address that cannot be used.
    fn complain(&mut self, text: &str, address: &str) {
        let Err(why) = endpoint::parse(address) else { return };
        if self.complaints.len() == COMPLAINTS_MAX {
            return;
        }
        let message = format!("address {address:?} is skipped: {why}");
        let place = lines(text).enumerate().find_map(|(n, line)| {
            let before = line.get(..line.find(address)?)?;
            Some((n + 1, before.chars().count() + 1))
        });
        self.complaints.push(Fault { message, place });
    }
}

// === impl Entry ===

impl Entry {
    fn instance(self, service: &str, n: usize, defaults: &Defaults) -> Instance {
        let or = |text: Option<String>, default: &Arc<str>| text.map_or_else(|| default.clone(), Arc::from);
        // By its address, so that it stays the same instance when another one is written before it.
        let id = match self.endpoints.first() {
            Some(first) => format!("{service}/{first}"),
            None => format!("{service}/#{n}"),
        };
        Instance {
            id: id.into(),
            app: or(self.app, &defaults.app),
            version: self.version.into(),
            environment: or(self.environment, &defaults.environment),
            status: self.status.into(),
            endpoints: self.endpoints,
            properties: self.properties.unwrap_or_default(),
            zone: self.zone.map(|Object(zone)| Zone { region: zone.region.into(), zone: zone.zone.into() }),
        }
    }
}

impl From<StatusWord> for Status {
    fn from(word: StatusWord) -> Self {
        match word {
            StatusWord::Up => Self::Up,
            StatusWord::Down => Self::Down,
            StatusWord::Starting => Self::Starting,
            StatusWord::Testing => Self::Testing,
            StatusWord::OutOfService => Self::OutOfService,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Registry, String> {
        let defaults = Defaults { app: "shop".into(), environment: "testing".into() };
        super::parse(text, &defaults).map_err(|fault| fault.render(Path::new("registry.yaml"), text))
    }

    #[test]
    fn everything_but_the_endpoints_is_optional() {
        let registry = parse("services:\n  orders:\n    - endpoints: [\"rest://10.0.0.1:80\"]\n").unwrap();
        let expected = Instance {
            id: "orders/rest://10.0.0.1:80".into(),
            app: "shop".into(),
            version: "0.0.1".into(),
            environment: "testing".into(),
            status: Status::Up,
            endpoints: vec!["rest://10.0.0.1:80".to_owned()],
            properties: BTreeMap::new(),
            zone: None,
        };
        assert_eq!(registry.services["orders"], [Arc::new(expected)]);
        assert!(registry.complaints.is_empty());
    }

    #[test]
    fn everything_can_be_said() {
        let registry = parse(
            "services:\n  orders:\n    - version: 1.10\n      app: default\n      environment: \"\"\n      \
             status: OUTOFSERVICE\n      zone: {region: r1, availableZone: z1}\n      \
             properties: {weight: 10, canary: true}\n      endpoints: [rest://10.0.0.1:80, grpc://10.0.0.1:90]\n",
        )
        .unwrap();
        let instance = &registry.services["orders"][0];
        assert_eq!((&*instance.version, &*instance.app, &*instance.environment), ("1.10", "default", ""));
        assert_eq!(instance.status, Status::OutOfService);
        assert_eq!(instance.zone, Some(Zone { region: "r1".into(), zone: "z1".into() }));
        assert_eq!(instance.properties["weight"], "10");
        assert_eq!(instance.properties["canary"], "true");
        assert_eq!(instance.endpoints.len(), 2);
    }

    #[test]
    fn a_file_with_nothing_in_it_has_no_services() {
        for text in ["", "# nothing yet\n", "---\n", "services:\n", "services: {}\n"] {
            assert_eq!(parse(text), Ok(Registry::default()), "{text:?}");
        }
        assert_eq!(parse("services:\n  orders:\n").unwrap().services["orders"].len(), 0);
    }

    #[test]
    fn a_list_where_names_and_values_belong_is_a_mistake_and_no_empty_registry() {
        for text in ["[]", "- services:\n    orders: []\n", "services:\n  orders:\n    - [\"0.0.1\"]\n"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("expected a map of names to values"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_mistake_is_shown_with_line_and_caret() {
        let error = parse("services:\n  orders:\n    - version: 1\n      endpoint: [x]\n").unwrap_err();
        assert!(error.contains("unknown field `endpoint`"), "{error}");
        assert!(error.ends_with("4 |       endpoint: [x]\n  |       ^"), "{error}");
        let error = parse("services:\n  orders: [\n").unwrap_err();
        assert!(error.contains("--> registry.yaml:") && error.contains('^'), "{error}");
    }

    #[test]
    fn what_is_there_twice_is_a_mistake() {
        let error = parse("services:\n  a: []\n  b: []\n  a: []\n").unwrap_err();
        assert!(
            error.starts_with("services: `a` is there twice") && error.contains("--> registry.yaml:"),
            "{error}"
        );
    }

    #[test]
    fn a_thousand_bad_addresses_are_not_a_thousand_complaints() {
        let bad = "      - rest://nowhere\n".repeat(1000);
        let registry = parse(&format!("services:\n  orders:\n    - endpoints:\n{bad}")).unwrap();
        assert_eq!(registry.complaints.len(), COMPLAINTS_MAX);
    }

    #[test]
    fn a_file_that_nests_or_repeats_too_much_is_refused_at_once() {
        let nested = parse(&format!("services:\n  orders: {}\n", "[".repeat(200_000))).unwrap_err();
        assert!(nested.contains("recursion limit exceeded\n --> registry.yaml:2:"), "{}", &nested[..200]);
        let long = "x".repeat(500_000);
        let aliases = vec!["*a"; 2000].join(", ");
        let repeated =
            format!("services:\n  orders:\n  - {{properties: {{a: &a {long}}}, endpoints: [{aliases}]}}\n");
        let why = parse(&repeated).unwrap_err();
        assert!(
            why.starts_with("aliases repeat more than 1048576 bytes of text\n --> registry.yaml:3:"),
            "{why}"
        );
    }

    #[test]
    fn addresses_that_cannot_be_used_are_shown_one_by_one() {
        let text = "services:\n  orders:\n    - endpoints:\n      - rest://10.0.0.1\n      - rest://orders:80\n      - \
                    rest://10.0.0.2:80\n";
        let registry = parse(text).unwrap();
        assert_eq!(registry.complaints.len(), 2);
        let first = "address \"rest://10.0.0.1\" is skipped: it has no port; write rest://IP:PORT\n \
                     --> registry.yaml:4:9\n4 |       - rest://10.0.0.1\n  |         ^";
        assert_eq!(registry.complaints[0].render(Path::new("registry.yaml"), text), first);
        assert_eq!(registry.services["orders"][0].endpoints.len(), 3);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(services|orders|endpoints|rest://1|[ :\\-\\[\\]{}&*#\"\n]|.){0,30}") {
            let _ = parse(&text);
        }
    }
}
