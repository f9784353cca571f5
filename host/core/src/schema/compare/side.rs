//! One of two schemas that are compared: its parts, the types it allows, and what a `$ref` of it names.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::Named;
use crate::schema::document::{Dialect, resolve};

/// Says nothing of data.
const ANNOTATIONS: [&str; 13] = [
    "$schema",
    "$id",
    "$anchor",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

static ALWAYS: Value = Value::Bool(true);

pub(super) fn always() -> &'static Value {
    &ALWAYS
}

/// Whether it allows everything: for certain, not whenever it does.
pub(super) fn is_always(schema: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(object) => object.keys().all(|keyword| ANNOTATIONS.contains(&keyword.as_str())),
        _ => false,
    }
}

/// A set of JSON types. A number is an integer or a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const OBJECT: Self = Self(4);
    pub(super) const ARRAY: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const INTEGER: Self = Self(32);
    pub(super) const FRACTION: Self = Self(64);
    pub(super) const NUMBER: Self = Self(96);
    pub(super) const ALL: Self = Self(127);
    const NAMES: [(&'static str, Self); 7] = [
        ("null", Self::NULL),
        ("boolean", Self::BOOLEAN),
        ("object", Self::OBJECT),
        ("array", Self::ARRAY),
        ("string", Self::STRING),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
    ];

    fn named(name: &str) -> Self {
        Self::NAMES.iter().find(|(known, _)| *known == name).map_or(Self(0), |(_, types)| *types)
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::ARRAY,
            Value::String(_) => Self::STRING,
            // 1.0 is an integer too; whichever it is, both are looked at.
            Value::Number(number) if number.is_f64() => Self::NUMBER,
            Value::Number(_) => Self::INTEGER,
        }
    }

    /// What one part allows.
    pub(super) fn of_part(part: &Map<String, Value>) -> Self {
        let mut types = match part.get("type") {
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).fold(Self(0), |all, name| Self(all.0 | Self::named(name).0))
            }
            _ => Self::ALL,
        };
        if let Some(values) = finite(part) {
            types.0 &= values.iter().fold(0, |all, value| all | Self::of_value(value).0);
        }
        types
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) fn is_one(self) -> bool {
        self.within(Self::NUMBER) || self.0.is_power_of_two()
    }

    /// `string or null`.
    pub(super) fn shown(self) -> String {
        let names = Self::NAMES
            .iter()
            .filter(|(name, types)| types.within(self) && !(*name == "integer" && self.has(Self::FRACTION)));
        match names.map(|(name, _)| *name).collect::<Vec<_>>() {
            _ if self == Self::ALL => "any".into(),
            names => names.join(" or "),
        }
    }

    /// A schema for each of the types.
    pub(super) fn each(self) -> impl Iterator<Item = &'static Value> {
        static EACH: LazyLock<Vec<(Types, Value)>> = LazyLock::new(|| {
            let each = Types::NAMES.iter().filter(|(name, _)| *name != "integer");
            each.map(|(name, types)| (*types, json!({ "type": name }))).collect()
        });
        EACH.iter().filter(move |(types, _)| types.has(self)).map(|(_, schema)| schema)
    }
}

/// The values that a part lists, if it does.
pub(super) fn finite(part: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (part.get("const"), part.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// JSON's own equality: 1 is 1.0.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() != b.is_f64() && a.as_f64().is_some() && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// One of the two schemas.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    root: &'a Value,
    pub(super) dialect: Dialect,
    pub(super) name: &'a str,
}

impl<'a> Side<'a> {
    pub(super) fn new(of: Named<'a>) -> Option<Self> {
        Some(Self { root: of.schema, dialect: Dialect::of(of.schema)?, name: of.name })
    }

    /// The `$schema` of the whole, for a part that is looked at by itself.
    pub(super) fn dialect_entry(&self) -> Option<(String, Value)> {
        Some(("$schema".to_owned(), self.root.get("$schema")?.clone()))
    }

    pub(super) fn resolve(&self, reference: &str) -> Option<&'a Value> {
        resolve(self.root, self.dialect, reference)
    }

    /// Where a schema leads that is nothing but a `$ref`.
    pub(super) fn target(&self, mut schema: &'a Value) -> &'a Value {
        while let Value::Object(object) = schema
            && object.len() == 1
            && let Some(target) = object.get("$ref").and_then(Value::as_str).and_then(|name| self.resolve(name))
        {
            schema = target;
        }
        schema
    }

    /// What all of `schemas` together come to; `None` if they allow nothing.
    pub(super) fn case(&self, schemas: &[&'a Value]) -> Option<Case<'a>> {
        let mut case = Case { parts: Vec::new(), alternatives: Vec::new() };
        for schema in schemas {
            self.add(schema, &mut case)?;
        }
        Some(case)
    }

    /// The same case with one schema more.
    pub(super) fn with(&self, case: &Case<'a>, schema: &'a Value) -> Option<Case<'a>> {
        let mut case = case.clone();
        self.add(schema, &mut case)?;
        Some(case)
    }

    /// `$ref` and `allOf` are followed; that neither comes round was seen to when it was registered.
    fn add(&self, schema: &'a Value, case: &mut Case<'a>) -> Option<()> {
        let object = match schema {
            Value::Bool(all) => return all.then_some(()),
            Value::Object(object) => object,
            _ => return Some(()),
        };
        if let Some(target) = object.get("$ref").and_then(Value::as_str).and_then(|name| self.resolve(name)) {
            self.add(target, case)?;
            // In draft 7 what stands beside a `$ref` does not count.
            if self.dialect == Dialect::Draft7 {
                return Some(());
            }
        }
        for schema in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add(schema, case)?;
        }
        for keyword in ["anyOf", "oneOf"] {
            case.alternatives.extend(object.get(keyword).and_then(Value::as_array));
        }
        case.parts.push(object);
        Some(())
    }
}

/// Schemas that all hold.
#[derive(Clone)]
pub(super) struct Case<'a> {
    pub(super) parts: Vec<&'a Map<String, Value>>,
    /// Of each list at least one holds.
    alternatives: Vec<&'a Vec<Value>>,
}

impl<'a> Case<'a> {
    /// The types that it allows; `None` if there is none.
    pub(super) fn types(&self) -> Option<Types> {
        let types = self.parts.iter().fold(Types::ALL, |types, part| Types(types.0 & Types::of_part(part).0));
        (types.0 != 0).then_some(types)
    }

    /// Its first list of alternatives, and the case without it.
    pub(super) fn split(&self) -> Option<(&'a Vec<Value>, Self)> {
        let (first, rest) = self.alternatives.split_first()?;
        Some((first, Self { parts: self.parts.clone(), alternatives: rest.to_vec() }))
    }

    /// Every value that it allows, if they are listed; perhaps others too.
    pub(super) fn values(&self) -> Option<Vec<&'a Value>> {
        let lists: Vec<_> = self.parts.iter().filter_map(|part| finite(part)).collect();
        let (first, others) = lists.split_first()?;
        let types = self.types()?;
        let in_all = |value: &&Value| {
            types.has(Types::of_value(value)) && others.iter().all(|list| list.iter().any(|other| equal(other, value)))
        };
        Some(first.iter().copied().filter(in_all).collect())
    }

    /// Whether any part has exactly this of a keyword.
    pub(super) fn says(&self, name: &str, value: &Value) -> bool {
        self.parts.iter().any(|part| part.get(name) == Some(value))
    }

    pub(super) fn requires(&self, property: &str) -> bool {
        let required = self.parts.iter().filter_map(|part| part.get("required")?.as_array()).flatten();
        required.filter_map(Value::as_str).any(|name| name == property)
    }
}

/// Whether two parts say the same of data, what they refer to included.
pub(super) fn same_parts(
    side: &Side<'_>,
    part: &Map<String, Value>,
    other_side: &Side<'_>,
    other: &Map<String, Value>,
) -> bool {
    let mut assumed = Vec::new();
    same_objects(side, part, other_side, other, &mut assumed)
}

fn same_objects(
    side: &Side<'_>,
    part: &Map<String, Value>,
    other_side: &Side<'_>,
    other: &Map<String, Value>,
    assumed: &mut Vec<(String, String)>,
) -> bool {
    let says = |name: &String| !ANNOTATIONS.contains(&name.as_str());
    part.keys().filter(|name| says(name)).count() == other.keys().filter(|name| says(name)).count()
        && part.iter().filter(|(name, _)| says(name)).all(|(name, value)| match (value, other.get(name)) {
            (Value::String(value), Some(Value::String(other))) if name == "$ref" => {
                if assumed.iter().any(|(one, two)| one == value && two == other) {
                    return true;
                }
                assumed.push((value.clone(), other.clone()));
                match (side.resolve(value), other_side.resolve(other)) {
                    (Some(value), Some(other)) => same_schemas(side, value, other_side, other, assumed),
                    _ => false,
                }
            }
            (value, Some(other)) => same_keyword(name, side, value, other_side, other, assumed),
            (_, None) => false,
        })
}

fn same_schemas(
    side: &Side<'_>,
    schema: &Value,
    other_side: &Side<'_>,
    other: &Value,
    assumed: &mut Vec<(String, String)>,
) -> bool {
    match (schema, other) {
        (Value::Object(schema), Value::Object(other)) => same_objects(side, schema, other_side, other, assumed),
        (schema, other) => schema == other,
    }
}

/// What is said under a keyword: schemas are looked into, the rest is compared as it stands.
fn same_keyword(
    name: &str,
    side: &Side<'_>,
    value: &Value,
    other_side: &Side<'_>,
    other: &Value,
    assumed: &mut Vec<(String, String)>,
) -> bool {
    const NAMED: [&str; 4] = ["properties", "patternProperties", "dependentSchemas", "dependencies"];
    const PLAIN: [&str; 2] = ["enum", "const"];
    match (value, other) {
        (Value::Object(named), Value::Object(others)) if NAMED.contains(&name) => {
            named.len() == others.len()
                && named.iter().all(|(name, schema)| {
                    let other = others.get(name);
                    other.is_some_and(|other| same_schemas(side, schema, other_side, other, assumed))
                })
        }
        (Value::Object(value), Value::Object(other)) if !PLAIN.contains(&name) => {
            same_objects(side, value, other_side, other, assumed)
        }
        (Value::Array(list), Value::Array(others)) if !PLAIN.contains(&name) => {
            list.len() == others.len()
                && list.iter().zip(others).all(|(schema, other)| same_schemas(side, schema, other_side, other, assumed))
        }
        (value, other) => value == other,
    }
}
