//! What goes with what, case by case. Each is also put the other way round: forward is backward with the
//! versions exchanged.

use serde_json::{Value, json};

use super::*;

fn found(old: &Value, new: &Value, direction: Direction) -> Vec<Incompatibility> {
    let (old, new) = (Named { schema: old, name: "version 1" }, Named { schema: new, name: "version 2" });
    compare(old, new, direction)
}

/// Checks both directions: what new readers make of old data, and what old readers make of new data.
fn goes(old: &Value, new: &Value, wanted: &[&str]) {
    let backward = found(old, new, Direction::Backward);
    let at: Vec<_> = backward.iter().map(|one| one.at.as_str()).collect();
    assert_eq!(at, wanted, "{old} -> {new}: {backward:#?}");
    let forward = found(new, old, Direction::Forward);
    let forward_at: Vec<_> = forward.iter().map(|one| one.at.as_str()).collect();
    assert_eq!(forward_at, wanted, "the other way round, {new} -> {old}: {forward:#?}");
}

fn fits(old: &Value, new: &Value) {
    goes(old, new, &[]);
}

fn breaks(old: &Value, new: &Value, at: &str) {
    goes(old, new, &[at]);
    assert!(found(old, new, Direction::Backward).iter().all(|one| one.certain), "{old} -> {new}");
}

fn unclear(old: &Value, new: &Value, at: &str) {
    goes(old, new, &[at]);
    assert!(found(old, new, Direction::Backward).iter().all(|one| !one.certain), "{old} -> {new}");
}

fn closed(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn open(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A property `x` of which one schema is said.
fn x(schema: Value) -> Value {
    closed(json!({ "x": schema }), &[])
}

#[test]
fn what_says_the_same_goes_together() {
    let schema = json!({
        "title": "An order", "type": "object", "required": ["id"], "additionalProperties": false,
        "properties": { "id": { "$ref": "#/$defs/id" }, "note": { "type": "string", "pattern": "^a" } },
        "$defs": { "id": { "type": "string", "format": "uuid" } }, "if": { "required": ["note"] }, "then": {},
        "oneOf": [{ "required": ["id"] }, { "required": ["other"] }], "not": { "required": ["never"] },
        "dependentRequired": { "note": ["id"] }, "unevaluatedProperties": false, "contains": {},
    });
    fits(&schema, &schema);
    let mut words = schema.clone();
    words["title"] = json!("Another word for it");
    words["properties"]["id"]["description"] = json!("Beside a reference");
    fits(&schema, &words);
    fits(&json!(true), &json!({}));
    fits(&json!(false), &schema);
    breaks(&json!({ "type": "null" }), &json!(false), "$");
}

#[test]
fn required_properties() {
    let of = |required: &[&str]| closed(json!({ "amount": { "type": "integer" } }), required);
    breaks(&of(&[]), &of(&["amount"]), "properties.amount");
    fits(&of(&["amount"]), &of(&[]));
    let message = |old: &Value, new: &Value, direction| found(old, new, direction)[0].message.clone();
    let became = message(&of(&[]), &of(&["amount"]), Direction::Backward);
    assert_eq!(became, "became required: data of version 1 may lack it");
    let ceased = message(&of(&["amount"]), &of(&[]), Direction::Forward);
    assert_eq!(ceased, "is not required any more: version 1 needs it, and data of version 2 may lack it");
}

#[test]
fn properties_that_come_and_go() {
    let (none, one) = (closed(json!({}), &[]), x(json!({ "type": "string" })));
    fits(&none, &one);
    breaks(&one, &none, "properties.x");
    let (none, one) = (open(json!({}), &[]), open(json!({ "x": { "type": "string" } }), &[]));
    breaks(&none, &one, "properties.x");
    fits(&one, &none);
    fits(&none, &open(json!({ "x": {} }), &[]));
    breaks(&open(json!({}), &[]), &closed(json!({}), &[]), "additionalProperties");
    let rest = |schema: Value| json!({ "additionalProperties": schema, "properties": { "id": {} } });
    breaks(&rest(json!({ "type": "number" })), &rest(json!({ "type": "integer" })), "additionalProperties");
    fits(&rest(json!({ "type": "integer" })), &rest(json!({ "type": "number" })));
}

#[test]
fn types() {
    let of = |types: Value| x(json!({ "type": types }));
    breaks(&of(json!("string")), &of(json!("integer")), "properties.x");
    breaks(&of(json!("number")), &of(json!("integer")), "properties.x");
    fits(&of(json!("integer")), &of(json!("number")));
    fits(&of(json!("integer")), &of(json!(["string", "number"])));
    fits(&of(json!("string")), &of(json!(["string", "null"])));
    breaks(&of(json!(["string", "null"])), &of(json!("string")), "properties.x");
    fits(&of(json!("string")), &x(json!({})));
    let why = found(&of(json!("string")), &of(json!("integer")), Direction::Backward);
    let message = "type string -> integer: version 2 does not take all that version 1 allows";
    assert_eq!(why, [Incompatibility { at: "properties.x".into(), message: message.into(), certain: true }]);
}

#[test]
fn listed_values() {
    let of = |values: Value| x(json!({ "enum": values }));
    fits(&of(json!(["a"])), &of(json!(["a", "b"])));
    breaks(&of(json!(["a", "b"])), &of(json!(["a"])), "properties.x");
    breaks(&x(json!({ "type": "string" })), &of(json!(["a"])), "properties.x");
    fits(&x(json!({ "type": "boolean" })), &of(json!([true, false, "b"])));
    fits(&of(json!([1, 2.0])), &of(json!([1.0, 2, 3])));
    fits(&x(json!({ "const": 1 })), &of(json!([1, 2])));
    breaks(&of(json!([1, 2])), &x(json!({ "const": 1 })), "properties.x");
    fits(&of(json!(["a", "b"])), &x(json!({ "type": "string", "maxLength": 1, "pattern": "^[ab]$" })));
    breaks(&of(json!(["a", "bc"])), &x(json!({ "type": "string", "maxLength": 1 })), "properties.x");
    let why = &found(&of(json!(["a", "b"])), &of(json!(["a"])), Direction::Backward)[0].message;
    assert_eq!(why, "value \"b\" is not taken any more, while data of version 1 may have it");
}

#[test]
fn ranges() {
    for (low, high) in [("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")] {
        let of = |keyword: &str, bound: Value| x(json!({ "type": "number", keyword: bound }));
        fits(&of(low, json!(5)), &of(low, json!(3)));
        breaks(&of(low, json!(3)), &of(low, json!(5)), "properties.x");
        breaks(&x(json!({ "type": "number" })), &of(low, json!(5)), "properties.x");
        fits(&of(high, json!(3)), &of(high, json!(3.5)));
        breaks(&of(high, json!(5)), &of(high, json!(3)), "properties.x");
    }
    let number = |schema: Value| x(schema);
    fits(&number(json!({ "exclusiveMinimum": 1 })), &number(json!({ "minimum": 1 })));
    breaks(&number(json!({ "minimum": 1 })), &number(json!({ "exclusiveMinimum": 1 })), "properties.x");
    fits(&x(json!({ "type": "string" })), &x(json!({ "minimum": 5 })));
    let huge = |bound: u64| x(json!({ "minimum": bound }));
    breaks(&huge(u64::MAX - 1), &huge(u64::MAX), "properties.x");
    fits(&x(json!({ "multipleOf": 6 })), &x(json!({ "multipleOf": 3 })));
    breaks(&x(json!({ "multipleOf": 3 })), &x(json!({ "multipleOf": 6 })), "properties.x");
    fits(&x(json!({ "type": "integer" })), &x(json!({ "multipleOf": 1 })));
    breaks(&x(json!({ "type": "number" })), &x(json!({ "multipleOf": 1 })), "properties.x");
}

#[test]
fn texts() {
    let of = |keyword: &str, value: Value| x(json!({ "type": "string", keyword: value }));
    fits(&of("minLength", json!(2)), &of("minLength", json!(1)));
    breaks(&of("minLength", json!(1)), &of("minLength", json!(2)), "properties.x");
    fits(&of("maxLength", json!(2)), &of("maxLength", json!(3)));
    breaks(&x(json!({})), &x(json!({ "maxLength": 3 })), "properties.x");
    breaks(&x(json!({ "type": "string" })), &of("pattern", json!("^a")), "properties.x");
    unclear(&of("pattern", json!("^ab")), &of("pattern", json!("^a")), "properties.x");
    breaks(&x(json!({ "type": "string" })), &of("format", json!("uuid")), "properties.x");
    breaks(&of("format", json!("date")), &of("format", json!("date-time")), "properties.x");
    fits(&of("format", json!("date")), &of("format", json!("colour")));
}

#[test]
fn arrays() {
    let of = |schema: Value| x(schema);
    let items = |schema: Value| of(json!({ "type": "array", "items": schema }));
    fits(&items(json!({ "type": "integer" })), &items(json!({ "type": "number" })));
    breaks(&items(json!({ "type": "number" })), &items(json!({ "type": "integer" })), "properties.x.items");
    breaks(&items(json!({})), &items(json!({ "type": "integer" })), "properties.x.items");
    let prefix = |first: &str, rest: Value| of(json!({ "prefixItems": [{ "type": first }], "items": rest }));
    fits(&prefix("integer", json!(false)), &prefix("number", json!(true)));
    breaks(&prefix("number", json!(false)), &prefix("integer", json!(false)), "properties.x.items[0]");
    breaks(&prefix("number", json!(true)), &prefix("number", json!(false)), "properties.x.items");
    fits(&of(json!({ "maxItems": 0 })), &of(json!({ "items": { "type": "integer" } })));
    fits(&of(json!({ "type": "array", "minItems": 2 })), &of(json!({ "type": "array", "minItems": 1 })));
    breaks(&of(json!({ "type": "array" })), &of(json!({ "type": "array", "minItems": 1 })), "properties.x");
    breaks(&of(json!({ "type": "array" })), &of(json!({ "type": "array", "maxItems": 1 })), "properties.x");
    breaks(&of(json!({ "type": "array" })), &of(json!({ "type": "array", "uniqueItems": true })), "properties.x");
    unclear(&of(json!({})), &of(json!({ "contains": { "const": 1 } })), "properties.x.contains");
    let draft7 = |first: &str, more: bool| {
        json!({ "$schema": "http://json-schema.org/draft-07/schema#",
            "items": [{ "type": first }], "additionalItems": more })
    };
    fits(&draft7("integer", false), &draft7("number", true));
    breaks(&draft7("number", false), &draft7("integer", false), "items[0]");
    breaks(&draft7("number", true), &draft7("number", false), "items");
}

#[test]
fn nested_objects_and_references() {
    let of = |kind: &str| closed(json!({ "to": closed(json!({ "zip": { "type": kind } }), &[]) }), &[]);
    breaks(&of("string"), &of("integer"), "properties.to.properties.zip");
    let by_reference = |kind: &str| {
        json!({ "additionalProperties": false, "properties": { "to": { "$ref": "#/$defs/to" } },
            "$defs": { "to": closed(json!({ "zip": { "type": kind } }), &[]) } })
    };
    breaks(&by_reference("string"), &by_reference("integer"), "properties.to.properties.zip");
    let inline = json!({ "additionalProperties": false, "properties": {
        "to": closed(json!({ "zip": { "type": "string" } }), &[]) } });
    fits(&inline, &by_reference("string"));
    let tree = |kind: &str| {
        json!({ "type": "object", "additionalProperties": false,
            "properties": { "value": { "type": kind }, "children": { "type": "array", "items": { "$ref": "#" } } } })
    };
    fits(&tree("integer"), &tree("number"));
    breaks(&tree("number"), &tree("integer"), "properties.value");
    let named = json!({ "$ref": "#name", "$defs": { "a": { "$anchor": "name", "type": "string" } } });
    fits(&named, &json!({ "type": "string" }));
    let beside = json!({ "$ref": "#/$defs/a", "maxLength": 1, "$defs": { "a": { "type": "string" } } });
    fits(&beside, &json!({ "type": "string", "maxLength": 2 }));
    breaks(&json!({ "type": "string" }), &beside, "$");
}

#[test]
fn patterns_of_names() {
    let of = |pattern: &str, kind: &str, more: Value| json!({ "patternProperties": { pattern: { "type": kind } }, "additionalProperties": more });
    fits(&of("^x-", "integer", json!(false)), &of("^x-", "number", json!(true)));
    breaks(&of("^x-", "number", json!(false)), &of("^x-", "integer", json!(false)), "patternProperties[^x-]");
    breaks(&of("^x-", "number", json!(true)), &of("^x-", "number", json!(false)), "additionalProperties");
    unclear(&of("^x-", "number", json!(false)), &of("^x-a", "number", json!(false)), "patternProperties");
    fits(&of("^x-", "integer", json!({ "type": "integer" })), &json!({ "additionalProperties": { "type": "number" } }));
    let named = closed(json!({ "x-a": { "type": "string" } }), &[]);
    breaks(&named, &of("^x-", "number", json!(true)), "properties.x-a");
    fits(&named, &of("^x-", "string", json!(false)));
    fits(&of("^x-", "integer", json!(false)), &json!({ "propertyNames": {} }));
    breaks(&json!({}), &json!({ "propertyNames": { "maxLength": 3 } }), "propertyNames");
}

#[test]
fn sizes_and_dependencies() {
    fits(&closed(json!({ "a": {} }), &["a"]), &json!({ "minProperties": 1, "maxProperties": 1 }));
    breaks(&json!({ "type": "object" }), &json!({ "minProperties": 1 }), "$");
    breaks(&json!({ "type": "object" }), &json!({ "maxProperties": 1 }), "$");
    let dependent = json!({ "dependentRequired": { "a": ["b"] } });
    fits(&open(json!({}), &["b"]), &dependent);
    fits(&closed(json!({ "b": {} }), &[]), &dependent);
    unclear(&json!({}), &dependent, "dependentRequired.a");
    let draft7 = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "dependencies": { "a": ["b"] } });
    fits(&draft7, &draft7);
    unclear(&json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), &draft7, "dependencies.a");
    unclear(&json!({}), &json!({ "unevaluatedProperties": false }), "unevaluatedProperties");
}

#[test]
fn choices() {
    let any = |kinds: &[&str]| {
        let each: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        x(json!({ "anyOf": each }))
    };
    fits(&any(&["string", "null"]), &any(&["null", "integer", "string"]));
    fits(&any(&["string", "null"]), &x(json!({ "type": ["string", "null"] })));
    fits(&x(json!({ "type": ["string", "null"] })), &any(&["string", "null"]));
    unclear(&any(&["string", "null"]), &any(&["string"]), "properties.x.anyOf");
    breaks(&any(&["string", "null"]), &x(json!({ "type": "string" })), "properties.x");
    let shape =
        |kind: &str, value: &str| closed(json!({ "kind": { "const": kind }, "value": { "type": value } }), &["kind"]);
    let one = |shapes: &[Value]| json!({ "oneOf": shapes });
    let (circle, square, line) = (shape("circle", "integer"), shape("square", "string"), shape("line", "null"));
    fits(&one(&[circle.clone(), square.clone()]), &one(&[square.clone(), circle.clone(), line.clone()]));
    fits(&one(&[circle.clone(), square.clone()]), &one(&[square.clone(), shape("circle", "number")]));
    unclear(&one(&[circle.clone(), line]), &one(&[circle.clone(), square]), "oneOf");
    unclear(&one(std::slice::from_ref(&circle)), &one(&[circle.clone(), circle.clone()]), "oneOf");
    fits(&json!({ "allOf": [{ "type": "integer" }, { "minimum": 3 }] }), &json!({ "type": "number", "minimum": 2 }));
    breaks(&json!({ "type": "integer" }), &json!({ "allOf": [{ "type": "number" }, { "minimum": 2 }] }), "$");
    fits(&json!({ "type": "string" }), &json!({ "not": { "type": "integer" } }));
    unclear(&json!({ "type": "integer" }), &json!({ "not": { "const": 3 } }), "not");
    let conditional = json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] } });
    fits(&open(json!({}), &["a", "b"]), &conditional);
    fits(&closed(json!({ "c": {} }), &[]), &json!({ "if": { "type": "string" }, "then": false }));
    unclear(&open(json!({}), &["a"]), &conditional, "if");
}

#[test]
fn everything_is_told_at_once() {
    let old = closed(json!({ "id": { "type": "string" }, "state": { "enum": ["a", "b"] }, "gone": {} }), &[]);
    let new = closed(json!({ "id": { "type": "integer" }, "state": { "enum": ["b"] } }), &["id"]);
    goes(&old, &new, &["properties.id", "properties.gone", "properties.id", "properties.state"]);
}

#[test]
fn too_much_to_compare_does_not_pass() {
    let deep = |depth: usize| (0..depth).fold(json!({ "type": "integer" }), |inner, _| json!({ "items": inner }));
    let found = found(&deep(120), &deep(120), Direction::Backward);
    assert_eq!(found, []);
    let wide = |kind: &str| -> Value {
        (0..12).fold(
            json!({ "type": kind }),
            |inner, _| json!({ "items": { "anyOf": [inner.clone(), { "items": inner }] } }),
        )
    };
    let found = compare(
        Named { schema: &wide("number"), name: "version 1" },
        Named { schema: &wide("integer"), name: "version 2" },
        Direction::Backward,
    );
    assert!(!found.is_empty());
}
