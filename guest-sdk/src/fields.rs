use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Failure;

/// The fields of a JSON object in their order, each as it was written. What is not touched stays the same to
/// the byte, long numbers included, which is what an upcaster owes the fields that it does not know.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    /// The field `name`, where it is there and of this type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// The JSON of the field `name`. The last one counts, where an object has several.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(field, _)| field == name).map(|(_, value)| value.get())
    }

    /// Sets a field where it stands, or else behind the others.
    ///
    /// # Errors
    /// `event.unwritable` (halt) when `value` cannot be written as JSON.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let value = serde_json::value::to_raw_value(value);
        let value = value.map_err(|error| Failure::halt("event.unwritable", format!("`{name}`: {error}")))?;
        match self.0.iter_mut().rev().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Gives a field another name, where it stands; one that has that name already goes. Nothing happens when
    /// there is no such field.
    pub fn rename(&mut self, name: &str, to: &str) {
        if name == to || self.raw(name).is_none() {
            return;
        }
        self.remove(to);
        for (field, _) in self.0.iter_mut().filter(|(field, _)| field == name) {
            to.clone_into(field);
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| field != name);
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = object.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_stays_as_it_was_written() {
        let text = r#"{"z":1.50,"a":{"y":[1, 2]},"n":12345678901234567890123,"b":null}"#;
        let mut fields: Fields = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&fields).unwrap(), text);
        fields.remove("a");
        fields.set("b", &"new").unwrap();
        fields.set("last", &7).unwrap();
        fields.rename("z", "first");
        fields.rename("a", "gone");
        let expected = r#"{"first":1.50,"n":12345678901234567890123,"b":"new","last":7}"#;
        assert_eq!(serde_json::to_string(&fields).unwrap(), expected);
        assert_eq!((fields.get::<u32>("last"), fields.get::<u32>("b"), fields.get::<u32>("a")), (Some(7), None, None));
        assert!(serde_json::from_str::<Fields>("[1]").is_err());
    }
}
