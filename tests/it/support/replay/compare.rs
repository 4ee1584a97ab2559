//! Where an actual answer differs from the recorded one.
//!
//! A pointer is a JSON pointer into the recording; behind `#` it goes on inside the JSON text that stands there.
//! Everything is compared but what the recording lists as varying. Values the server made up are compared by what
//! they stand for: the same value where the recording has the same, another where it has another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::recording::{Recording, Var};

/// What of a recording varies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Varying {
    volatile: BTreeSet<String>,
    unordered: BTreeSet<String>,
}

/// What the made-up values of the recording are in this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars {
    /// Recorded value to actual value.
    actual: BTreeMap<String, String>,
}

impl Varying {
    /// As a recording lists it.
    pub(crate) fn of(recording: &Recording) -> Self {
        let set = |list: &[String]| list.iter().cloned().collect();
        Self { volatile: set(&recording.volatile), unordered: set(&recording.unordered) }
    }

    /// The text that stands in `actual` where the recording has it at `pointer`, which begins with `start`. In a
    /// list without order it is that of the item which is the same but for this text.
    pub(crate) fn text_at(
        &self,
        start: &str,
        recorded: &Value,
        actual: &Value,
        pointer: &str,
        vars: &Vars,
    ) -> Option<String> {
        let within = |pointer: &str| format!("/{}", &pointer[start.len()..]);
        let list = self.unordered.iter().find(|list| pointer.starts_with(&format!("{list}/")));
        let Some(list) = list else { return Some(value_at(actual, &within(pointer))?.as_str()?.to_owned()) };
        let (item, rest) = pointer[list.len() + 1..].split_once('/')?;
        let item = below(list, item);
        let mut free = self.clone();
        free.volatile.insert(pointer.to_owned());
        let recorded = value_at(recorded, &within(&item))?;
        let items = value_at(actual, &within(list))?;
        let same = |other: &&Value| difference(&item, &recorded, other, vars, &free).is_none();
        Some(items.as_array()?.iter().find(same)?.pointer(&format!("/{rest}"))?.as_str()?.to_owned())
    }

    /// How many places whose pointers start with `pointer` vary.
    pub(crate) fn count_below(&self, pointer: &str) -> usize {
        self.volatile.iter().filter(|place| place.starts_with(pointer)).count()
    }
}

impl Vars {
    /// Takes the value of a variable from where it is first seen; says what is wrong with it.
    pub(crate) fn bind(&mut self, var: &Var, actual: &str) -> Result<(), String> {
        if let Some((recorded, _)) = self.actual.iter().find(|(_, value)| *value == actual) {
            return Err(format!("{} is {actual}, the same value that stands for {recorded}", var.name));
        }
        self.actual.insert(var.value.clone(), actual.to_owned());
        Ok(())
    }

    /// A recorded text with the values of this run.
    pub(crate) fn apply(&self, recorded: &str) -> String {
        self.actual
            .iter()
            .fold(recorded.to_owned(), |text, (recorded, actual)| text.replace(recorded, actual))
    }
}

/// The value at a pointer, which may go into JSON text behind `#`.
pub(crate) fn value_at(root: &Value, pointer: &str) -> Option<Value> {
    match pointer.split_once('#') {
        None => root.pointer(pointer).cloned(),
        Some((outer, inner)) => {
            let json: Value = serde_json::from_str(root.pointer(outer)?.as_str()?).ok()?;
            json.pointer(inner).cloned()
        }
    }
}

/// The first difference between what was recorded at `pointer` and what is there now.
pub(crate) fn difference(
    pointer: &str,
    recorded: &Value,
    actual: &Value,
    vars: &Vars,
    varying: &Varying,
) -> Option<String> {
    if varying.volatile.contains(pointer) {
        return None;
    }
    let differs = || Some(format!("{pointer}: recorded {recorded}, now {actual}"));
    match (recorded, actual) {
        (Value::Object(left), Value::Object(right)) => {
            if left.keys().ne(right.keys()) {
                return differs();
            }
            let fields = left.iter().map(|(name, value)| (name.as_str(), value, &right[name.as_str()]));
            let mut fields =
                fields.map(|(name, l, r)| difference(&below(pointer, name), l, r, vars, varying));
            fields.find_map(|difference| difference)
        }
        (Value::Array(left), Value::Array(right)) if left.len() != right.len() => differs(),
        (Value::Array(left), Value::Array(right)) if varying.unordered.contains(pointer) => {
            difference_of_sets(pointer, left, right, vars, varying)
        }
        (Value::Array(left), Value::Array(right)) if is_allow(left) => {
            if words(left).eq(&words(right)) {
                None
            } else {
                differs()
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            let items = left.iter().zip(right).enumerate();
            let mut items =
                items.map(|(at, (l, r))| difference(&below(pointer, &at.to_string()), l, r, vars, varying));
            items.find_map(|difference| difference)
        }
        (Value::String(left), Value::String(right)) => match (json_text(left), json_text(right)) {
            (Some(left), Some(right)) => difference(&format!("{pointer}#"), &left, &right, vars, varying),
            _ => (vars.apply(left) != *right).then(|| differs().unwrap_or_default()),
        },
        _ => (recorded != actual).then(|| differs().unwrap_or_default()),
    }
}

/// Compares without order: each recorded item must have an actual one of its own. Items with fewer varying places
/// choose first, since they are harder to please.
fn difference_of_sets(
    pointer: &str,
    recorded: &[Value],
    actual: &[Value],
    vars: &Vars,
    varying: &Varying,
) -> Option<String> {
    let mut items: Vec<(String, &Value)> =
        recorded.iter().enumerate().map(|(at, item)| (below(pointer, &at.to_string()), item)).collect();
    items.sort_by_key(|(pointer, _)| varying.count_below(&format!("{pointer}/")));
    let mut left: Vec<&Value> = actual.iter().collect();
    for (pointer, item) in items {
        let same = left.iter().position(|other| difference(&pointer, item, other, vars, varying).is_none());
        let Some(same) = same else {
            let left = Value::from(left.into_iter().cloned().collect::<Vec<_>>());
            return Some(format!("{pointer}: recorded {item}, not among {left}"));
        };
        left.remove(same);
    }
    None
}

/// JSON text of an object or a list, parsed.
fn json_text(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Is this pair the `Allow` header, whose words have no order.
fn is_allow(pair: &[Value]) -> bool {
    pair.len() == 2 && pair[0] == "Allow"
}

fn words(pair: &[Value]) -> BTreeSet<String> {
    pair.iter().filter_map(Value::as_str).flat_map(|text| text.split(", ")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(recorded: &Value, actual: &Value, varying: &Varying) -> Option<String> {
        difference("/r", recorded, actual, &Vars::default(), varying)
    }

    fn varying(volatile: &[&str], unordered: &[&str]) -> Varying {
        let set = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Varying { volatile: set(volatile), unordered: set(unordered) }
    }

    #[test]
    fn status_headers_and_body_are_compared() {
        let recorded =
            json!({ "status": 200, "headers": [["A", "1"], ["A", "2"]], "body": r#"{"a":[1,{"b":"c"}]}"# });
        let none = Varying::default();
        assert_eq!(check(&recorded, &recorded, &none), None);
        for (pointer, value) in [
            ("/status", json!(201)),
            ("/headers/0/1", json!("2")),
            ("/headers/1/0", json!("B")),
            ("/headers", json!([["A", "1"]])),
            ("/body", json!("")),
            ("/body", json!(r#"{"a":[1,{"b":"d"}]}"#)),
            ("/body", json!(r#"{"a":[1,{"b":"c","e":""}]}"#)),
            ("/body", json!(r#"{"a":[{"b":"c"},1]}"#)),
        ] {
            let mut changed = recorded.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            check(&recorded, &changed, &none).unwrap_or_else(|| panic!("{pointer} was not noticed"));
        }
    }

    #[test]
    fn layout_of_json_text_does_not_matter_but_absence_does() {
        let none = Varying::default();
        assert_eq!(check(&json!(r#"{"a":1,"b":2}"#), &json!(r#"{ "b":2, "a":1 }"#), &none), None);
        check(&json!(r#"{"a":[]}"#), &json!("{}"), &none).unwrap();
    }

    #[test]
    fn only_the_volatile_place_may_differ() {
        let varying = varying(&["/r/body#/t"], &[]);
        let recorded = json!({ "body": r#"{"t":"1","u":"1"}"# });
        assert_eq!(check(&recorded, &json!({ "body": r#"{"t":"2","u":"1"}"# }), &varying), None);
        check(&recorded, &json!({ "body": r#"{"t":"1","u":"2"}"# }), &varying).unwrap();
        check(&recorded, &json!({ "body": r#"{"u":"1"}"# }), &varying).unwrap();
    }

    #[test]
    fn unordered_lists_are_sets_with_every_item_counted() {
        let varying = varying(&["/r/0/id"], &["/r"]);
        let recorded = json!([{ "id": "x", "n": 1 }, { "id": "a", "n": 1 }, { "id": "b", "n": 1 }]);
        let same = json!([{ "id": "b", "n": 1 }, { "id": "a", "n": 1 }, { "id": "?", "n": 1 }]);
        assert_eq!(check(&recorded, &same, &varying), None);
        let twice = json!([{ "id": "b", "n": 1 }, { "id": "b", "n": 1 }, { "id": "?", "n": 1 }]);
        check(&recorded, &twice, &varying).unwrap();
        let ordered = Varying::default();
        check(&json!([1, 2]), &json!([2, 1]), &ordered).unwrap();
    }

    #[test]
    fn the_words_of_allow_have_no_order() {
        let none = Varying::default();
        assert_eq!(check(&json!(["Allow", "GET, PUT"]), &json!(["Allow", "PUT, GET"]), &none), None);
        check(&json!(["Allow", "GET, PUT"]), &json!(["Allow", "GET"]), &none).unwrap();
        check(&json!(["Vary", "a, b"]), &json!(["Vary", "b, a"]), &none).unwrap();
    }

    #[test]
    fn made_up_values_stay_the_same_and_apart() {
        let var =
            |name: &str, value: &str| Var { name: name.into(), value: value.into(), from: String::new() };
        let mut vars = Vars::default();
        vars.bind(&var("rev1", "aaaa"), "1111").unwrap();
        vars.bind(&var("rev2", "bbbb"), "1111").unwrap_err();
        vars.bind(&var("rev2", "bbbb"), "2222").unwrap();
        let differs = |recorded: &str, actual: &str| {
            difference("/r", &json!(recorded), &json!(actual), &vars, &Varying::default()).is_some()
        };
        assert!(!differs("rev=aaaa", "rev=1111"));
        assert!(differs("rev=aaaa", "rev=2222"));
        assert!(differs("rev=aaaa", "rev=aaaa"));
        assert!(!differs(r#"{"rev":"bbbb"}"#, r#"{"rev":"2222"}"#));
    }

    #[test]
    fn pointers_go_into_json_text() {
        let root = json!({ "body": r#"{"a":["x"]}"#, "h": [["n", "v"]] });
        assert_eq!(value_at(&root, "/body#/a/0"), Some(json!("x")));
        assert_eq!(value_at(&root, "/h/0/1"), Some(json!("v")));
        assert_eq!(value_at(&root, "/body#/b"), None);
    }

    #[test]
    fn a_value_in_an_unordered_list_is_that_of_the_same_item() {
        let varying = varying(&[], &["/s/l"]);
        let recorded = json!({ "l": [{ "id": "a", "n": 1 }, { "id": "b", "n": 2 }] });
        let actual = json!({ "l": [{ "id": "y", "n": 2 }, { "id": "x", "n": 1 }] });
        let at = |pointer| varying.text_at("/s/", &recorded, &actual, pointer, &Vars::default());
        assert_eq!(at("/s/l/0/id").as_deref(), Some("x"));
        assert_eq!(at("/s/l/1/id").as_deref(), Some("y"));
    }
}
