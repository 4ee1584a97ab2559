//! Environment variables as configuration: the names Mesher gives a meaning of their own, and every `A_B_C` as the
//! key `A.B.C`.
//!
//! Pure: the environment is a list of pairs. Which of the many variables of a process are kept is decided by
//! [`super::layers`].

use super::origin::Origin;
use super::value::Entry;
use super::yaml::Node;

/// Variables with a meaning of their own. They go before `A_B_C`; of several for one key the first set counts.
const NAMED: [(&str, &str); 14] = [
    ("PAAS_CSE_SC_ENDPOINT", "servicecomb.registry.address"),
    ("PAAS_CSE_ENDPOINT", "servicecomb.registry.address"),
    ("CSE_REGISTRY_ADDR", "servicecomb.registry.address"),
    ("CSE_SERVICE_CENTER", "servicecomb.registry.address"),
    ("PAAS_CSE_CC_ENDPOINT", "servicecomb.config.client.serverUri"),
    ("CAS_COMPONENT_NAME", "servicecomb.service.name"),
    ("CAS_INSTANCE_VERSION", "servicecomb.service.version"),
    ("CAS_APPLICATION_NAME", "servicecomb.service.app"),
    ("ENVIRONMENT", "servicecomb.service.environment"),
    ("HOSTING_SERVER_IP", "servicecomb.service.instanceProperties.nodeIP"),
    ("CSE_PROJECT_ID", "mesher.registry.project"),
    ("OUTGOING_HANDLER", "servicecomb.handler.chain.Consumer.outgoing"),
    ("INCOMING_HANDLER", "servicecomb.handler.chain.Provider.incoming"),
    ("MESHER_SHARDS", "mesher.shards"),
];

/// A variable's value, `None` if it is unset.
#[must_use]
pub(super) fn variable<'e>(env: &'e [(String, String)], name: &str) -> Option<&'e str> {
    env.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Keys that variables set, the strongest first: a later pair with the same key does not count.
#[must_use]
pub(super) fn entries(env: &[(String, String)]) -> Vec<(String, Entry)> {
    let named = NAMED.iter().filter_map(|(name, key)| {
        let value = variable(env, name).map(str::trim).filter(|value| !value.is_empty())?;
        Some(((*key).to_owned(), entry(name, value)))
    });
    let own_name = env.iter().map(|(name, value)| (name.clone(), entry(name, value)));
    let dotted = env.iter().filter(|(name, _)| name.contains('_'));
    let dotted = dotted.map(|(name, value)| (name.replace('_', "."), entry(name, value)));
    named.chain(own_name).chain(dotted).collect()
}

fn entry(name: &str, value: &str) -> Entry {
    let origin = Origin::Env(name.to_owned());
    Entry::new(Node::scalar(value.trim()), origin.clone(), origin)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn first<'e>(entries: &'e [(String, Entry)], key: &str) -> Option<&'e str> {
        entries.iter().find(|(k, _)| k == key).and_then(|(_, entry)| entry.text())
    }

    #[test]
    fn underscores_stand_for_dots() {
        let entries = entries(&env(&[("servicecomb_registry_address", " http://a:1 ")]));
        assert_eq!(first(&entries, "servicecomb.registry.address"), Some("http://a:1"));
    }

    #[test]
    fn a_named_variable_goes_before_the_dotted_form() {
        let entries = entries(&env(&[
            ("servicecomb_registry_address", "http://a:1"),
            ("PAAS_CSE_ENDPOINT", "http://b:2"),
        ]));
        assert_eq!(first(&entries, "servicecomb.registry.address"), Some("http://b:2"));
    }

    #[test]
    fn an_empty_named_variable_is_unset() {
        let entries = entries(&env(&[("PAAS_CSE_SC_ENDPOINT", ""), ("PAAS_CSE_ENDPOINT", "http://b:2")]));
        assert_eq!(first(&entries, "servicecomb.registry.address"), Some("http://b:2"));
    }

    proptest! {
        #[test]
        fn every_variable_is_found_under_both_names(name in "[a-zA-Z_]{1,20}", value in "[a-z0-9]{1,10}") {
            let entries = entries(&[(name.clone(), value.clone())]);
            prop_assert!(entries.iter().any(|(key, entry)| *key == name && entry.text() == Some(&value)));
            let dotted = name.replace('_', ".");
            prop_assert!(entries.iter().any(|(key, entry)| *key == dotted && entry.text() == Some(&value)));
        }
    }
}
