//! What it costs to put data to a schema. One that looks at the members of an object in two ways, and at theirs
//! again, looks at the innermost 2^depth times: an event of a kilobyte could keep a host busy for ever.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::document::{Dialect, in_place, visit};
use crate::limits::schema as limits;

type Object = Map<String, Value>;

/// Keywords that look at members or items, whatever their names.
const ANY: [&str; 6] =
    ["additionalProperties", "unevaluatedProperties", "items", "additionalItems", "contains", "unevaluatedItems"];

/// In how many ways, at most, a schema looks at one member or item for each time that it looks at what holds
/// it, where there is something within it to look at.
pub(super) fn fan(root: &Value) -> usize {
    let Some(dialect) = Dialect::of(root) else { return usize::MAX };
    let (mut most, mut counter) = (0, Counter { root, dialect, deep: HashMap::new() });
    visit(root, "", &mut |object, _| most = most.max(counter.ways(object)));
    most
}

/// Whether that may come to more looks than an event may cost.
pub(super) fn is_too_much(fan: usize, bytes: usize, data: &Value) -> bool {
    fan > 1 && {
        let looks = u32::try_from(depth(data)).ok().and_then(|depth| fan.checked_pow(depth)?.checked_mul(bytes));
        looks.is_none_or(|looks| looks > limits::LOOKS_MAX)
    }
}

/// Levels of arrays and objects; data that was parsed has few.
fn depth(data: &Value) -> usize {
    match data {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

struct Counter<'a> {
    root: &'a Value,
    dialect: Dialect,
    /// Whether a schema looks into what it is put to.
    deep: HashMap<*const Object, bool>,
}

impl<'a> Counter<'a> {
    fn ways(&mut self, object: &'a Object) -> usize {
        let (mut by_name, mut any) = (HashMap::<&str, i64>::new(), 0);
        let mut pending = vec![object];
        while let Some(object) = pending.pop() {
            pending.extend(in_place(self.root, self.dialect, object));
            // What is evaluated elsewhere is found out by looking once more.
            let again = object.keys().any(|keyword| keyword.starts_with("unevaluated"));
            let weight = if again { 2 } else { 1 };
            // Which is not asked of members that stand under `properties`.
            let others = object.get("additionalProperties").is_some_and(|schema| self.is_deep(schema));
            for (name, schema) in members(object, "properties") {
                let here = i64::from(self.is_deep(schema)) - i64::from(others);
                *by_name.entry(name).or_default() += here * weight;
            }
            let lists = ["prefixItems", "items"].iter().filter_map(|keyword| object.get(*keyword)?.as_array());
            let one_of_each = lists.filter(|list| list.iter().any(|schema| self.is_deep(schema))).count();
            let patterns = members(object, "patternProperties").map(|(_, schema)| schema);
            let schemas = patterns.chain(ANY.iter().filter_map(|keyword| object.get(*keyword)));
            let deep = schemas.filter(|schema| self.is_deep(schema)).count();
            any += weight * i64::try_from(one_of_each + deep).unwrap_or(i64::MAX);
        }
        usize::try_from(any + by_name.into_values().max().unwrap_or(0).max(0)).unwrap_or(usize::MAX)
    }

    fn is_deep(&mut self, schema: &'a Value) -> bool {
        let Value::Object(object) = schema else { return false };
        if let Some(known) = self.deep.get(&std::ptr::from_ref(object)) {
            return *known;
        }
        let (mut deep, mut pending) = (false, vec![object]);
        while let Some(object) = pending.pop().filter(|_| !deep) {
            deep = ["properties", "patternProperties", "prefixItems"]
                .iter()
                .chain(&ANY)
                .any(|keyword| object.contains_key(*keyword));
            pending.extend(in_place(self.root, self.dialect, object));
        }
        self.deep.insert(object, deep);
        deep
    }
}

fn members<'a>(object: &'a Object, keyword: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let named = object.get(keyword).and_then(Value::as_object);
    named.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}
