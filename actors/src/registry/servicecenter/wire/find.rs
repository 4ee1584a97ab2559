//! The batch find, `POST …/instances/action?type=query`: one question for many services, each with the revision of
//! the answer we have.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::failure::{ErrorAnswer, RawError};
use super::id::{shown, usable_in_path};
use super::lenient::{List, list, or_default};
use super::offer::{Offer, RawInstance};
use crate::registry::object::Object;

/// What a find answers. An index names the place in the question; it may be any number, and a service may be in no
/// list at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FindAnswer {
    /// Services whose answer differs from the revision given.
    pub updated: Vec<Updated>,
    /// Places of services that have not changed.
    pub not_modified: Vec<usize>,
    /// Services that could not be answered for.
    pub failed: Vec<Failed>,
    /// Elements of the lists above that could not be read.
    pub unreadable: Vec<String>,
}

/// The new answer for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Updated {
    /// Its place in the question.
    pub index: usize,
    /// The revision of this answer.
    pub revision: Option<Arc<str>>,
    /// Its instances of every version and status.
    pub offers: Vec<Offer>,
    /// Instances that could not be read.
    pub unreadable: Vec<String>,
}

/// One failure of one or more services.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// Their places in the question.
    pub indexes: Vec<usize>,
    /// Why.
    pub error: ErrorAnswer,
}

/// The question for `names`, each with the revision we have.
#[must_use]
pub fn find_request<'a>(
    consumer: Option<&'a str>,
    app: &'a str,
    environment: &'a str,
    names: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Vec<u8> {
    let item = |(name, revision)| Item {
        // The rule `0+` is every version; 1.x servers insist on one.
        service: Key { app_id: app, service_name: name, environment, version: "0+" },
        revision,
    };
    let question = Question { consumer, services: names.into_iter().map(item).collect() };
    serde_json::to_vec(&question).unwrap_or_default()
}

/// Reads the answer to a find.
///
/// # Errors
/// The body is not an answer to a find: empty (service-center answers 200 without a body when a handler of its own
/// dies), no JSON, or without the list of services.
pub fn find_answer(body: &[u8]) -> Result<FindAnswer, String> {
    if body.is_empty() {
        return Err("the answer is empty".into());
    }
    let Object(raw): Object<RawAnswer> =
        serde_json::from_slice(body).map_err(|e| format!("the answer cannot be read: {e}"))?;
    let Object(lists) = raw.services.ok_or("the answer lists no services")?;
    let mut answer = FindAnswer { not_modified: lists.not_modified, ..FindAnswer::default() };
    for element in lists.updated {
        match element {
            Ok(Object(updated)) => answer.updated.push(updated.into()),
            Err(problem) => answer.unreadable.push(shown(&problem)),
        }
    }
    for element in lists.failed {
        match element {
            Ok(Object(RawFailed { indexes, error: Object(error) })) => {
                answer.failed.push(Failed { indexes, error: error.into() })
            }
            Err(problem) => answer.unreadable.push(shown(&problem)),
        }
    }
    Ok(answer)
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(rename = "consumerServiceId", skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
    services: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    service: Key<'a>,
    #[serde(rename = "rev", skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key<'a> {
    app_id: &'a str,
    service_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    environment: &'a str,
    version: &'a str,
}

#[derive(Deserialize)]
struct RawAnswer {
    services: Option<Object<RawLists>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLists {
    #[serde(default, deserialize_with = "list")]
    updated: List<Object<RawUpdated>>,
    #[serde(default, deserialize_with = "or_default")]
    not_modified: Vec<usize>,
    #[serde(default, deserialize_with = "list")]
    failed: List<Object<RawFailed>>,
}

#[derive(Deserialize)]
struct RawUpdated {
    index: usize,
    #[serde(default, rename = "rev", deserialize_with = "or_default")]
    revision: String,
    #[serde(default, deserialize_with = "list")]
    instances: List<Object<RawInstance>>,
}

#[derive(Deserialize)]
struct RawFailed {
    #[serde(default, deserialize_with = "or_default")]
    indexes: Vec<usize>,
    error: Object<RawError>,
}

impl From<RawUpdated> for Updated {
    fn from(raw: RawUpdated) -> Self {
        let revision = usable_in_path(&raw.revision).then(|| raw.revision.into());
        let mut updated = Self { index: raw.index, revision, offers: Vec::new(), unreadable: Vec::new() };
        for instance in raw.instances {
            match instance.and_then(|Object(raw)| raw.try_into()) {
                Ok(offer) => updated.offers.push(offer),
                Err(problem) => updated.unreadable.push(shown(&problem)),
            }
        }
        updated
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::super::Code;
    use super::*;

    #[test]
    fn the_question_carries_each_name_with_its_revision() {
        let body = find_request(Some("c1"), "default", "", [("r11a", Some("c0ab")), ("r11b", None)]);
        let expected = serde_json::json!({"consumerServiceId": "c1", "services": [
            {"service": {"appId": "default", "serviceName": "r11a", "version": "0+"}, "rev": "c0ab"},
            {"service": {"appId": "default", "serviceName": "r11b", "version": "0+"}}]});
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), expected);
    }

    #[test]
    fn the_three_lists_are_told_apart() {
        let answer = find_answer(
            br#"{"services":{"failed":[{"indexes":[0,2],"error":{"errorCode":"400012","errorMessage":"Micro-service does not exist",
            "detail":"Micro-service does not exist(Consumer[0c][/default/r11c/1.0.0] find provider[/default/nobody] failed, provider does not exist)"}}],
            "notModified":[1,4],"updated":[{"index":3,"rev":"0fbe","instances":[{"instanceId":"b1","version":"1.0.0","status":"UP"}]},
            {"index":5,"rev":"97784746be9a2d00f08bc72fe1ce5ff8c7d07ffe"}]}}"#,
        )
        .unwrap();
        assert_eq!(answer.not_modified, [1, 4]);
        assert_eq!(
            (&answer.failed[0].indexes[..], answer.failed[0].error.code),
            (&[0, 2][..], Code::NO_SERVICE)
        );
        assert!(answer.failed[0].error.names_provider());
        assert_eq!((answer.updated[0].index, answer.updated[0].revision.as_deref()), (3, Some("0fbe")));
        assert_eq!(&*answer.updated[0].offers[0].id, "b1");
        assert!(answer.updated[1].offers.is_empty(), "an absent list is an empty one");
        assert!(answer.unreadable.is_empty());
    }

    #[test]
    fn one_bad_element_does_not_spoil_the_rest() {
        let answer = find_answer(
            br#"{"services":{"updated":[{"index":"x"},7,{"index":0,"rev":"a\nb","instances":[{"instanceId":"ok"},{"instanceId":""},5]}],
            "failed":[{"indexes":[1]}]}}"#,
        )
        .unwrap();
        assert_eq!(answer.unreadable.len(), 3);
        assert_eq!(answer.updated.len(), 1);
        assert_eq!((answer.updated[0].offers.len(), answer.updated[0].unreadable.len()), (1, 2));
        assert_eq!(answer.updated[0].revision, None, "a revision that cannot be sent back is none");
    }

    #[test]
    fn what_is_no_answer_to_a_find_is_an_error() {
        assert_eq!(find_answer(b"").unwrap_err(), "the answer is empty");
        assert!(find_answer(b"<html>").unwrap_err().contains("cannot be read"));
        for body in ["[[]]", "[]", r#"{"services":[]}"#, r#"{"services":[[],[],[]]}"#] {
            assert!(find_answer(body.as_bytes()).unwrap_err().contains("expected a map"), "{body}");
        }
        for body in ["{}", r#"{"services":null}"#, r#"{"instances":[]}"#] {
            assert!(find_answer(body.as_bytes()).unwrap_err().contains("lists no services"), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = find_answer(&body);
        }

        #[test]
        fn whatever_is_read_has_usable_ids(id in ".{0,200}", rev in ".{0,200}", index in any::<usize>()) {
            let body = serde_json::json!({"services": {"updated": [{"index": index, "rev": rev, "instances": [{"instanceId": id}]}]}});
            let answer = find_answer(body.to_string().as_bytes()).unwrap();
            let updated = &answer.updated[0];
            prop_assert_eq!(updated.offers.len() + updated.unreadable.len(), 1);
            prop_assert!(updated.offers.iter().all(|offer| usable_in_path(&offer.id)));
            prop_assert!(updated.revision.as_ref().is_none_or(|rev| usable_in_path(rev)));
        }
    }
}
