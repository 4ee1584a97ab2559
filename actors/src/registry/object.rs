//! A structure read from what a stranger wrote, which has to stand as one.
//!
//! By itself serde takes a list of the fields' values for a structure as well: `[]` would be a registry without services.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A structure that stands as a map of names to values.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Name {
        name: String,
    }

    #[test]
    fn a_list_of_values_is_no_structure() {
        let read = |text| serde_json::from_str::<Object<Name>>(text).map(|Object(read)| read.name);
        assert_eq!(read(r#"{"name": "orders"}"#).unwrap(), "orders");
        assert!(read(r#"["orders"]"#).unwrap_err().to_string().contains("expected a map"));
    }
}
