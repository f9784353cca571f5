//! The two ways in which conditions are written: `delay>=15`, and JSON.

use serde_json::Value;

use super::condition::{Condition, Node, Test};
use crate::limits::read as limits;
use crate::projection::field::{Field, Scalar};

/// Where something is wrong, and what.
pub type Mistake = (String, String);

/// Reads both forms; all has to hold. `at` names them in mistakes.
pub fn condition(short: &[String], json: Option<&Value>, at: [&str; 2]) -> Result<Condition, Vec<Mistake>> {
    let mut reading = Reading::default();
    for (n, text) in short.iter().enumerate() {
        let at = if short.len() == 1 { at[0].to_owned() } else { format!("{}[{n}]", at[0]) };
        if let Some(node) = reading.short(text, &at) {
            reading.condition.nodes.push(node);
        }
    }
    if let Some(json) = json
        && let Some(node) = reading.json(json, at[1], 0)
    {
        reading.condition.nodes.push(node);
    }
    if reading.tests > limits::CONDITION_TESTS_MAX {
        reading.refuse(at[0], format!("it has {} tests, more than {}", reading.tests, limits::CONDITION_TESTS_MAX));
    }
    if reading.mistakes.is_empty() { Ok(reading.condition) } else { Err(reading.mistakes) }
}

#[derive(Default)]
struct Reading {
    condition: Condition,
    tests: usize,
    mistakes: Vec<Mistake>,
}

/// The longer ones first, so that `<=` is not taken for `<`.
const OPERATORS: [&str; 7] = ["!=", "<=", ">=", "^=", "=", "<", ">"];
const SHORT_FORM: &str = "write FIELD=VALUE, or with !=, <, <=, >, >= or ^= (begins with) in place of =; \
                          FIELD in A,B,C; FIELD exists; or FIELD missing";
const JSON_FORM: &str = "write {\"field\": NAME, TEST: VALUE}, where TEST is eq, ne, lt, le, gt, ge, prefix, in or \
                         exists; {\"all\": [...]} or {\"any\": [...]}";

impl Reading {
    fn refuse(&mut self, at: &str, what: impl Into<String>) {
        if self.mistakes.len() < limits::CONDITION_TESTS_MAX {
            self.mistakes.push((at.to_owned(), what.into()));
        }
    }

    fn test(&mut self, field: &str, test: Test, at: &str) -> Option<Node> {
        self.tests += 1;
        match Field::new(field) {
            Ok(field) => Some(Node::Test(self.condition.slot(field), test)),
            Err(error) => {
                self.refuse(at, error.to_string());
                None
            }
        }
    }

    fn short(&mut self, text: &str, at: &str) -> Option<Node> {
        if text.len() > limits::CONDITION_BYTES_MAX {
            self.refuse(at, format!("it has more than {} bytes", limits::CONDITION_BYTES_MAX));
            return None;
        }
        let text = text.trim();
        if let Some(field) = text.strip_suffix(" exists") {
            return self.test(field.trim(), Test::Exists(true), at);
        }
        if let Some(field) = text.strip_suffix(" missing") {
            return self.test(field.trim(), Test::Exists(false), at);
        }
        let first = text.find(['!', '<', '>', '^', '=']);
        if let Some((field, list)) = text.split_once(" in ")
            && first.is_none_or(|first| first > field.len())
        {
            let values: Vec<Scalar> = match serde_json::from_str::<Vec<Value>>(list) {
                Ok(list) => list.iter().map_while(scalar).collect(),
                Err(_) => list.split(',').map(|value| short_value(value.trim())).collect(),
            };
            if values.len() > limits::CONDITION_VALUES_MAX {
                self.refuse(at, format!("a list has at most {} values", limits::CONDITION_VALUES_MAX));
                return None;
            }
            return self.test(field.trim(), Test::OneOf(values), at);
        }
        let parts = first.and_then(|first| {
            let (field, rest) = text.split_at(first);
            let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator))?;
            Some((field.trim(), *operator, rest[operator.len()..].trim()))
        });
        let Some((field, operator, value)) = parts else {
            self.refuse(at, format!("`{}` is no condition: {SHORT_FORM}", text.escape_debug()));
            return None;
        };
        let test = match (operator, short_value(value)) {
            ("=", value) => Test::Equal(value),
            ("!=", value) => Test::NotEqual(value),
            ("<", value) => Test::Less(value),
            ("<=", value) => Test::LessOrEqual(value),
            (">", value) => Test::Greater(value),
            (">=", value) => Test::GreaterOrEqual(value),
            // What a text begins with is a text.
            (_, Scalar::Text(prefix)) => Test::Prefix(prefix),
            (_, _) => Test::Prefix(value.to_owned()),
        };
        self.test(field, test, at)
    }

    fn json(&mut self, json: &Value, at: &str, depth: usize) -> Option<Node> {
        if depth > limits::CONDITION_DEPTH_MAX {
            self.refuse(at, format!("conditions stand in each other at most {} deep", limits::CONDITION_DEPTH_MAX));
            return None;
        }
        // Beyond that many nothing more is read.
        if self.tests > limits::CONDITION_TESTS_MAX {
            return None;
        }
        match json {
            Value::Array(nodes) => self.list(nodes, at, depth).map(Node::All),
            Value::Object(members) => match (members.len(), members.get("all"), members.get("any")) {
                (1, Some(Value::Array(nodes)), None) => self.list(nodes, &format!("{at}.all"), depth).map(Node::All),
                (1, None, Some(Value::Array(nodes))) => self.list(nodes, &format!("{at}.any"), depth).map(Node::Any),
                (_, None, None) => self.object(members, at),
                (_, _, _) => {
                    self.refuse(at, JSON_FORM);
                    None
                }
            },
            _ => {
                self.refuse(at, JSON_FORM);
                None
            }
        }
    }

    fn list(&mut self, nodes: &[Value], at: &str, depth: usize) -> Option<Vec<Node>> {
        nodes.iter().enumerate().map(|(n, node)| self.json(node, &format!("{at}[{n}]"), depth + 1)).collect()
    }

    fn object(&mut self, members: &serde_json::Map<String, Value>, at: &str) -> Option<Node> {
        let Some(Value::String(field)) = members.get("field") else {
            self.refuse(at, JSON_FORM);
            return None;
        };
        let mut nodes = Vec::new();
        for (name, value) in members.iter().filter(|(name, _)| *name != "field") {
            let at = format!("{at}.{name}");
            let Some(test) = self.json_test(name, value, &at) else { continue };
            nodes.extend(self.test(field, test, &at));
        }
        match nodes.len() {
            0 => {
                self.refuse(at, JSON_FORM);
                None
            }
            1 => nodes.pop(),
            _ => Some(Node::All(nodes)),
        }
    }

    fn json_test(&mut self, name: &str, value: &Value, at: &str) -> Option<Test> {
        let single: Option<fn(Scalar) -> Test> = match name {
            "eq" => Some(Test::Equal),
            "ne" => Some(Test::NotEqual),
            "lt" => Some(Test::Less),
            "le" => Some(Test::LessOrEqual),
            "gt" => Some(Test::Greater),
            "ge" => Some(Test::GreaterOrEqual),
            _ => None,
        };
        let test = match (single, name, value) {
            (Some(test), _, value) => scalar(value).map(test),
            (None, "prefix", Value::String(prefix)) => Some(Test::Prefix(prefix.clone())),
            (None, "exists", Value::Bool(exists)) => Some(Test::Exists(*exists)),
            (None, "in", Value::Array(list)) if list.len() <= limits::CONDITION_VALUES_MAX => {
                list.iter().map(scalar).collect::<Option<Vec<_>>>().map(Test::OneOf)
            }
            (None, _, _) => None,
        };
        if test.is_none() {
            let rule = match name {
                "eq" | "ne" | "lt" | "le" | "gt" | "ge" => "it is compared with null, true, false, a number or a text",
                "prefix" => "it is a text",
                "exists" => "it is true or false",
                "in" => "it is a list of up to 256 of null, true, false, numbers and texts",
                _ => JSON_FORM,
            };
            self.refuse(at, rule);
        }
        test
    }
}

/// As JSON, if it is a single value of JSON; anything else is the text itself.
fn short_value(text: &str) -> Scalar {
    let json = serde_json::from_str::<Value>(text).ok();
    json.as_ref().and_then(scalar).unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::Null => Some(Scalar::Null),
        Value::Bool(value) => Some(Scalar::Bool(*value)),
        Value::String(text) => Some(Scalar::Text(text.clone())),
        Value::Number(number) => {
            let whole = number.as_u64().map(Into::into).or_else(|| number.as_i64().map(Into::into));
            whole.or_else(|| number.as_f64().map(Into::into)).map(Scalar::Number)
        }
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn short(texts: &[&str]) -> Result<Condition, Vec<Mistake>> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        condition(&texts, None, ["where", "where"])
    }

    fn long(json: &Value) -> Result<Condition, Vec<Mistake>> {
        condition(&[], Some(json), ["where", "where"])
    }

    const DOCUMENT: &str = r#"{"carrier":"UA","delay":15,"flight":"1545","a":{"b":null},"late":true,"list":[1]}"#;

    #[test]
    fn short_conditions_say_what_their_json_says() {
        let cases = [
            ("carrier=UA", json!({"field":"carrier","eq":"UA"}), true),
            ("carrier = \"UA\"", json!([{"field":"carrier","eq":"UA"}]), true),
            ("carrier!=AA", json!({"field":"carrier","ne":"AA"}), true),
            ("none!=AA", json!({"field":"none","ne":"AA"}), false),
            ("delay!=AA", json!({"field":"delay","ne":"AA"}), false),
            ("delay>=15", json!({"field":"delay","ge":15}), true),
            ("delay > 15", json!({"field":"delay","gt":15}), false),
            ("delay<15.5", json!({"field":"delay","lt":15.5}), true),
            ("delay<=-1", json!({"field":"delay","le":-1}), false),
            ("flight=1545", json!({"field":"flight","eq":1545}), false),
            ("flight=\"1545\"", json!({"field":"flight","eq":"1545"}), true),
            ("flight^=15", json!({"field":"flight","prefix":"15"}), true),
            ("carrier in AA,UA", json!({"field":"carrier","in":["AA","UA"]}), true),
            ("carrier in [\"A,A\"]", json!({"field":"carrier","in":["A,A"]}), false),
            ("a.b=null", json!({"field":"a.b","eq":null}), true),
            ("a.b exists", json!({"field":"a.b","exists":true}), true),
            ("list missing", json!({"field":"list","exists":false}), true),
            ("late=true", json!({"all":[{"any":[{"field":"late","eq":true}]}]}), true),
            ("carrier=a in b", json!({"field":"carrier","eq":"a in b"}), false),
        ];
        for (text, json, expected) in cases {
            assert_eq!(short(&[text]).unwrap().matches(DOCUMENT.as_bytes()), expected, "{text}");
            assert_eq!(long(&json).unwrap().matches(DOCUMENT.as_bytes()), expected, "{json}");
        }
        assert!(!short(&["carrier=UA", "delay>15"]).unwrap().matches(DOCUMENT.as_bytes()));
        let range = json!({"any":[{"field":"delay","ge":10,"lt":15},{"field":"delay","ge":15,"lt":20}]});
        assert!(long(&range).unwrap().matches(DOCUMENT.as_bytes()));
    }

    #[test]
    fn every_mistake_is_named_by_its_place() {
        let at = |read: Result<Condition, Vec<Mistake>>| -> Vec<String> {
            read.unwrap_err().into_iter().map(|(at, _)| at).collect()
        };
        assert_eq!(at(short(&["a=1", "delay", ".a=2"])), ["where[1]", "where[2]"]);
        assert_eq!(at(short(&["=1"])), ["where"]);
        assert_eq!(at(long(&json!({"field":"a","eq":[1]}))), ["where.eq", "where"]);
        let json = json!({"all":[{"field":"a","like":"b"},{"any":7},{"field":"a","in":1}]});
        assert_eq!(at(long(&json)), ["where.all[0].like", "where.all[0]"]);
        assert_eq!(at(long(&json!(7))), ["where"]);
        let deep = (0..20).fold(json!({"field":"a","eq":1}), |inner, _| json!({"all":[inner]}));
        assert_eq!(at(long(&deep)).len(), 1);
        assert_eq!(at(short(&["a=1"; 65])), ["where"]);
    }
}
