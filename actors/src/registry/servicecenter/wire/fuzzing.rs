//! Properties of what is read off service-center's wire, over arbitrary bytes. Panics if one does not hold.
//!
//! Driven by a fuzz target and by a test that replays its seeds. Not part of the control plane, hence free to panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support"
)]

use std::sync::Arc;

use serde_json::Value;

use super::{
    Change, FindAnswer, Frame, FrameError, Offer, TEXT_LENGTH_MAX, error_answer, find_answer,
    registered_instance, registered_service, usable_in_path, watch_frame,
};

/// Arbitrary bytes as every answer that service-center gives. What is read can be used: ids and revisions in a path, texts
/// in a line of the log, instances in the file of the last good state. JSON that says the same is read the same, and an
/// element that makes no sense spoils no other.
pub fn fuzz_servicecenter_answers(data: &[u8]) {
    let same = serde_json::from_slice::<Value>(data).ok().map(|value| serde_json::to_vec(&value).unwrap());
    if let Ok(answer) = find_answer(data) {
        check_answer(&answer);
        if let Some(same) = &same {
            assert_eq!(find_answer(same).as_ref(), Ok(&answer), "read in two ways");
            assert_spoils_no_other(same, &answer);
        }
    }
    match watch_frame(data) {
        Ok(frame) => {
            check_change(&frame);
            if let Some(same) = &same {
                assert_eq!(watch_frame(same), Ok(frame), "read in two ways");
            }
        }
        Err(FrameError::Refusal(text)) => assert_is_line(&text),
        Err(FrameError::Unreadable(_)) => {}
    }
    if let Some(error) = error_answer(data) {
        assert!((400_000..600_000).contains(&error.code.0));
        assert_is_line(&error.text);
    }
    for id in [registered_service(data), registered_instance(data)].into_iter().flatten() {
        assert!(usable_in_path(&id), "{id:?}");
    }
}

fn check_answer(answer: &FindAnswer) {
    for updated in &answer.updated {
        assert!(updated.revision.as_ref().is_none_or(|revision| usable_in_path(revision)));
        updated.offers.iter().for_each(check_offer);
        updated.unreadable.iter().for_each(|text| assert_is_line(text));
    }
    answer.failed.iter().for_each(|failed| assert_is_line(&failed.error.text));
    answer.unreadable.iter().for_each(|text| assert_is_line(text));
}

fn check_change(frame: &Frame) {
    match &frame.change {
        Change::Put(offer) => check_offer(offer),
        Change::Delete(id) => assert!(usable_in_path(id), "{id:?}"),
        Change::Expire => {}
    }
}

fn check_offer(offer: &Offer) {
    assert!(usable_in_path(&offer.id), "{:?}", offer.id);
    let empty: Arc<str> = "".into();
    let instance = offer.clone().into_instance(&empty, &empty);
    let kept = serde_json::to_string(&instance).unwrap();
    assert_eq!(serde_json::from_str::<crate::registry::instance::Instance>(&kept).unwrap(), instance);
}

/// One more element in each list, of which nothing can be made.
fn assert_spoils_no_other(answer: &[u8], read: &FindAnswer) {
    let mut value: Value = serde_json::from_slice(answer).unwrap();
    let mut added = 0;
    for list in ["updated", "failed"] {
        if let Some(list) = value["services"].get_mut(list).and_then(Value::as_array_mut) {
            list.insert(0, Value::String("nonsense".into()));
            added += 1;
        }
    }
    let again = find_answer(&serde_json::to_vec(&value).unwrap()).unwrap();
    assert_eq!((&again.updated, &again.failed), (&read.updated, &read.failed), "one spoils the others");
    assert_eq!(again.unreadable.len(), read.unreadable.len() + added, "one is lost without a word");
}

fn assert_is_line(text: &str) {
    assert!(text.chars().count() <= TEXT_LENGTH_MAX && !text.chars().any(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_answers_hold() {
        crate::seeds::replay("servicecenter_answers", fuzz_servicecenter_answers);
    }
}
