//! Single values within documents: where they stand, and how they compare.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::limits::plugin as limits;

/// Where a value stands in a JSON document: names with dots between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a field: names with dots between them, up to {} bytes", .0.escape_debug(), limits::FIELD_BYTES_MAX)]
pub struct InvalidField(String);

impl Field {
    pub fn new(path: &str) -> Result<Self, InvalidField> {
        let whole = path.split('.').all(|name| !name.is_empty()) && !path.chars().any(char::is_control);
        if whole && path.len() <= limits::FIELD_BYTES_MAX {
            Ok(Self(path.into()))
        } else {
            Err(InvalidField(path.chars().take(limits::FIELD_BYTES_MAX).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value that documents are found and sorted by. An array or an object is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Scalar {
    /// `None` for values of different kinds: those do not compare.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Null, Scalar::Null) => Some(Ordering::Equal),
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
            (Scalar::Number(a), Scalar::Number(b)) => Some(a.compare(b)),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            (Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Text(_), _) => None,
        }
    }
}

/// A number of a JSON document, exactly: the nearest double, and what a whole number of 64 bits is beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    double: f64,
    rest: i16,
}

impl Number {
    pub(super) fn parts(self) -> (f64, i16) {
        (self.double, self.rest)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.double.total_cmp(&other.double).then(self.rest.cmp(&other.rest))
    }

    fn whole(number: i128) -> Self {
        let double = number as f64;
        // Of 64 bits a double keeps 53: it is off by 1,024 at most.
        let rest = i16::try_from(number - double as i128).unwrap_or(0);
        Self { double, rest }
    }
}

impl From<f64> for Number {
    fn from(double: f64) -> Self {
        // -0 is 0.
        Self { double: double + 0.0, rest: 0 }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::whole(number.into())
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::whole(number.into())
    }
}

/// The single values that stand in `fields` of a document, in their order. A document that is not JSON has
/// none.
pub fn scalars(document: &[u8], fields: &[Field]) -> Vec<Option<Scalar>> {
    let mut found = vec![None; fields.len()];
    let wanted: Vec<Wanted<'_>> =
        fields.iter().enumerate().map(|(slot, field)| Wanted { slot, rest: field.as_str() }).collect();
    let mut reading = serde_json::Deserializer::from_slice(document);
    let read = Node { wanted, found: &mut found }.deserialize(&mut reading).and_then(|()| reading.end());
    if read.is_err() {
        found.fill(None);
    }
    found
}

/// What is looked for below a place: nothing more, if it is to stand at this very place.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    slot: usize,
    rest: &'a str,
}

/// A place in a document. What nobody asks for is skipped, not built.
struct Node<'a, 'f> {
    wanted: Vec<Wanted<'a>>,
    found: &'f mut [Option<Scalar>],
}

impl Node<'_, '_> {
    fn is(self, value: impl Fn() -> Option<Scalar>) {
        for wanted in self.wanted {
            self.found[wanted.slot] = if wanted.rest.is_empty() { value() } else { None };
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.is(|| Some(Scalar::Null));
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.is(|| Some(Scalar::Bool(value)));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.is(|| Some(Scalar::Number(value.into())));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.is(|| Some(Scalar::Number(value.into())));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.is(|| Some(Scalar::Number(value.into())));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.is(|| Some(Scalar::Text(value.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        self.is(|| None);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Node { wanted, found } = self;
        for wanted in &wanted {
            found[wanted.slot] = None;
        }
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            let below: Vec<Wanted<'_>> = wanted
                .iter()
                .filter_map(|Wanted { slot, rest }| {
                    let (first, rest) = rest.split_once('.').unwrap_or((rest, ""));
                    (first == name).then_some(Wanted { slot: *slot, rest })
                })
                .collect();
            if below.is_empty() {
                members.next_value::<IgnoredAny>()?;
            } else {
                members.next_value_seed(Node { wanted: below, found })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(document: &str, fields: &[&str]) -> Vec<Option<Scalar>> {
        let fields: Vec<Field> = fields.iter().map(|field| Field::new(field).unwrap()).collect();
        scalars(document.as_bytes(), &fields)
    }

    #[test]
    fn values_are_found_by_their_paths() {
        let document = r#"{"a":{"b":1,"c":[1],"\u0064":"x"},"n":null,"t":true,"list":[{"a":{"b":2}}],"f":-1.5}"#;
        let found = at(document, &["a.b", "a", "a.c", "a.d", "n", "t", "list.a", "f", "a.b.c", "none"]);
        let number = |n: f64| Some(Scalar::Number(n.into()));
        let text = Some(Scalar::Text("x".into()));
        let (null, bool) = (Some(Scalar::Null), Some(Scalar::Bool(true)));
        assert_eq!(found, [number(1.0), None, None, text, null, bool, None, number(-1.5), None, None]);
        assert_eq!(at(r#"{"a":1,"a":{"b":2},"c":{"b":1},"c":7}"#, &["a", "c.b"]), [None, None], "the last one counts");
        assert_eq!(at(r#"{"a":1} x"#, &["a"]), [None], "it is not JSON");
        assert_eq!(at("7", &["a"]), [None]);
        assert_eq!(at(r#"{"a":{"a":3},"b":4}"#, &["a.a", "b"]), [number(3.0), number(4.0)]);
    }

    #[test]
    fn numbers_compare_exactly_beyond_what_a_double_holds() {
        let sorted = [i64::MIN as f64, -1e15, -1.5, 0.0, 0.5, 1e15].map(Number::from);
        assert!(sorted.windows(2).all(|pair| pair[0].compare(&pair[1]) == Ordering::Less));
        assert_eq!(Number::from(-0.0).compare(&Number::from(0_u64)), Ordering::Equal);
        let large = [(1_u64 << 53) - 1, 1 << 53, (1 << 53) + 1, (1 << 60) + 1, (1 << 60) + 2, u64::MAX - 1, u64::MAX];
        let large = large.map(Number::from);
        assert!(large.windows(2).all(|pair| pair[0].compare(&pair[1]) == Ordering::Less), "{large:?}");
        assert_eq!(Number::from(1_u64 << 60).compare(&Number::from((1_u64 << 60) as f64)), Ordering::Equal);
        assert_eq!(Number::from(u64::MAX).compare(&Number::from(18_446_744_073_709_551_616.0)), Ordering::Less);
        assert_eq!(Number::from(i64::MIN).compare(&Number::from(i64::MIN + 1)), Ordering::Less);
    }

    #[test]
    fn values_of_different_kinds_do_not_compare() {
        let kinds = [Scalar::Null, Scalar::Bool(false), Scalar::Number(0.0.into()), Scalar::Text(String::new())];
        for (n, a) in kinds.iter().enumerate() {
            for (m, b) in kinds.iter().enumerate() {
                assert_eq!(a.compare(b).is_some(), n == m);
            }
        }
    }
}
