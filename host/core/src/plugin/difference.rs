//! Where two read models differ, and two JSON documents.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::trial::ReadModel;
use crate::limits::plugin::DIFFERENT_PATHS_MAX;

/// A document that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub collection: Arc<str>,
    pub key: String,
    pub what: Which,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    OnlyLeft(Bytes),
    OnlyRight(Bytes),
    /// At most [`DIFFERENT_PATHS_MAX`]; empty when only the bytes differ and not what they say.
    Changed(Vec<PathChange>),
    /// At least one of them is not JSON.
    Bytes {
        left: Bytes,
        right: Bytes,
    },
}

/// A value within a document: names with dots between them, and places in arrays in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    pub path: String,
    pub left: Option<Value>,
    pub right: Option<Value>,
}

/// Every document that differs, by collection and key.
pub fn between(left: &ReadModel, right: &ReadModel) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut note = |(collection, key): &(Arc<str>, String), what| {
        differences.push(Difference { collection: Arc::clone(collection), key: key.clone(), what });
    };
    for (place, value) in left {
        match right.get(place) {
            None => note(place, Which::OnlyLeft(value.clone())),
            Some(other) if other != value => note(place, documents(value, other)),
            Some(_) => {}
        }
    }
    for (place, value) in right.iter().filter(|(place, _)| !left.contains_key(*place)) {
        note(place, Which::OnlyRight(value.clone()));
    }
    differences.sort_by(|a, b| (&a.collection, &a.key).cmp(&(&b.collection, &b.key)));
    differences
}

/// How two documents differ that are not the same.
pub fn documents(left: &Bytes, right: &Bytes) -> Which {
    match (serde_json::from_slice(left), serde_json::from_slice(right)) {
        (Ok(left), Ok(right)) => {
            let mut changes = Vec::new();
            walk(String::new(), Some(&left), Some(&right), &mut changes);
            Which::Changed(changes)
        }
        _ => Which::Bytes { left: left.clone(), right: right.clone() },
    }
}

fn walk(path: String, left: Option<&Value>, right: Option<&Value>, changes: &mut Vec<PathChange>) {
    if left == right || changes.len() >= DIFFERENT_PATHS_MAX {
        return;
    }
    match (left, right) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let added = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(added) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(path, left.get(name), right.get(name), changes);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for place in 0..left.len().max(right.len()) {
                walk(format!("{path}[{place}]"), left.get(place), right.get(place), changes);
            }
        }
        _ => changes.push(PathChange { path, left: left.cloned(), right: right.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_model(documents: &[(&str, &str)]) -> ReadModel {
        let entry = |(key, value): &(&str, &str)| (("c".into(), (*key).to_owned()), Bytes::from((*value).to_owned()));
        documents.iter().map(entry).collect()
    }

    #[test]
    fn what_differs_is_named_by_document_and_path() {
        let left = read_model(&[("a", "{}"), ("b", r#"{"n":1,"in":{"x":[1,2]},"same":7}"#), ("c", "1"), ("e", "raw")]);
        let right = read_model(&[
            ("b", r#"{"n":2,"in":{"x":[1]},"same":7,"new":null}"#),
            ("c", "1.0"),
            ("d", "{}"),
            ("e", "{}"),
        ]);
        let found = between(&left, &right);
        let keys: Vec<_> = found.iter().map(|difference| difference.key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "c", "d", "e"]);
        assert_eq!(found[0].what, Which::OnlyLeft(Bytes::from_static(b"{}")));
        let Which::Changed(changes) = &found[1].what else { panic!() };
        let changes: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.left.clone(), c.right.clone())).collect();
        let expected = [
            ("in.x[1]", Some(json!(2)), None),
            ("n", Some(json!(1)), Some(json!(2))),
            ("new", None, Some(json!(null))),
        ];
        assert_eq!(changes, expected);
        assert!(matches!(found[3].what, Which::OnlyRight(_)) && matches!(found[4].what, Which::Bytes { .. }));
        assert!(between(&left, &left).is_empty());
    }
}
