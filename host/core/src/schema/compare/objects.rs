//! Keywords about objects.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::leaves::counts;
use super::side::{Case, is_always};
use super::{Comparison, below, keyword};
use crate::schema::document;

type Named = Map<String, Value>;

fn named<'a>(part: &'a Named, name: &str) -> Option<&'a Named> {
    part.get(name).and_then(Value::as_object).filter(|named| !named.is_empty())
}

/// What a part says of one property; nothing if it says nothing.
fn of_property<'a>(part: &'a Named, property: &str) -> Vec<&'a Value> {
    let own = named(part, "properties").and_then(|properties| properties.get(property));
    let patterns = named(part, "patternProperties").into_iter().flatten();
    let matching = patterns.filter(|(pattern, _)| matches(pattern, property)).map(|(_, schema)| schema);
    let said: Vec<_> = own.into_iter().chain(matching).collect();
    if said.is_empty() { part.get("additionalProperties").into_iter().collect() } else { said }
}

/// As it is when data is validated.
fn matches(pattern: &str, property: &str) -> bool {
    let schema = json!({ "patternProperties": { pattern: false } });
    // It was compiled when the schema was registered.
    document::compile(&schema).is_ok_and(|validator| !validator.is_valid(&json!({ property: null })))
}

/// Properties that a part names.
fn names(part: &Named) -> impl Iterator<Item = &String> {
    named(part, "properties").into_iter().flat_map(|properties| properties.keys())
}

fn required(part: &Named) -> impl Iterator<Item = &str> {
    part.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

impl<'a> Comparison<'a> {
    pub(super) fn objects(&mut self, writer: &Case<'a>, reader: &'a Named, at: &str) -> bool {
        let mut implied = true;
        for name in required(reader).filter(|name| !writer.requires(name)) {
            let (writing, reading) = (self.writer.name, self.reader.name);
            let message = self.say(
                format!("became required: data of {writing} may lack it"),
                format!("is not required any more: {reading} needs it, and data of {writing} may lack it"),
            );
            implied &= self.breaks(&property(at, name), message);
        }
        let all: BTreeSet<&str> = writer
            .parts
            .iter()
            .copied()
            .chain([reader])
            .flat_map(|part| names(part).map(String::as_str).chain(required(part)))
            .collect();
        for name in all {
            implied &= self.property(writer, reader, name, at);
        }
        implied &= self.other_properties(writer, reader, at);
        implied & self.sizes(writer, reader, at) & self.dependencies(writer, reader, at)
    }

    fn property(&mut self, writer: &Case<'a>, reader: &'a Named, name: &str, at: &str) -> bool {
        let wanted: Vec<_> = of_property(reader, name).into_iter().filter(|schema| !is_always(schema)).collect();
        if wanted.is_empty() {
            return true;
        }
        let said: Vec<&Value> = writer.parts.iter().flat_map(|part| of_property(part, name)).collect();
        if said.iter().any(|schema| **schema == Value::Bool(false)) {
            return true;
        }
        let place = property(at, name);
        let (writing, reading) = (self.writer.name, self.reader.name);
        let closed = wanted.iter().any(|schema| **schema == Value::Bool(false));
        if closed && names_it(writer, name) {
            let message = self.say(
                format!("was removed, and others are not taken (additionalProperties): data of {writing} may have it"),
                format!("was added, and {reading} takes no others (additionalProperties)"),
            );
            return self.breaks(&place, message);
        }
        if said.iter().all(|schema| is_always(schema)) && !names_it(writer, name) {
            let covered =
                self.quietly(|this| wanted.iter().fold(true, |all, schema| all & this.covers(&[], schema, &place)));
            let message = self.say(
                format!(
                    "was added where others were taken before (additionalProperties): data of {writing} may have \
                     anything there"
                ),
                format!(
                    "was removed where others are taken (additionalProperties): data of {writing} may have anything \
                     there, and {reading} does not take everything"
                ),
            );
            return covered || self.breaks(&place, message);
        }
        wanted.into_iter().fold(true, |all, schema| all & self.covers(&said, schema, &place))
    }

    /// Those that neither of them names.
    fn other_properties(&mut self, writer: &Case<'a>, reader: &'a Named, at: &str) -> bool {
        let (others, patterns) = (keyword(reader, "additionalProperties"), named(reader, "patternProperties"));
        let closed = |part: &&Named| {
            part.get("additionalProperties") == Some(&Value::Bool(false)) && named(part, "patternProperties").is_none()
        };
        if (is_always(others) && patterns.is_none()) || writer.parts.iter().any(closed) {
            return true;
        }
        let with_patterns: Vec<&'a Named> =
            writer.parts.iter().copied().filter(|part| named(part, "patternProperties").is_some()).collect();
        let plain = writer.parts.iter().filter(|part| named(part, "patternProperties").is_none());
        let said: Vec<&'a Value> = plain.filter_map(|part| part.get("additionalProperties")).collect();
        let place = below(at, "additionalProperties");
        match (with_patterns.as_slice(), patterns) {
            ([], None) => self.additional(&said, others, &place),
            (parts, Some(patterns)) if parts.iter().any(|part| same_names(part, patterns)) => {
                let part = parts.iter().copied().find(|part| same_names(part, patterns)).expect("one of them has");
                let mut implied = true;
                for (pattern, schema) in patterns {
                    let said = &part["patternProperties"][pattern];
                    implied &= self.covers(&[said], schema, &below(at, &format!("patternProperties[{pattern}]")));
                }
                let said: Vec<_> = said.into_iter().chain(part.get("additionalProperties")).collect();
                implied & self.additional(&said, others, &place)
            }
            // Which pattern matches what is not known: all that the writer may have has to be taken by all.
            (parts, patterns) => {
                let wanted: Vec<_> = patterns.into_iter().flat_map(|named| named.values()).chain([others]).collect();
                let covered = self.quietly(|this| {
                    wanted.iter().all(|wanted| {
                        this.covers(&said, wanted, at)
                            || parts.iter().any(|part| {
                                let own = named(part, "patternProperties").into_iter().flat_map(|own| own.values());
                                let mut all = own.chain([keyword(part, "additionalProperties")]);
                                all.all(|schema| this.covers(&[schema], wanted, at))
                            })
                    })
                });
                covered || self.unclear(&below(at, "patternProperties"), "the two have different patterns")
            }
        }
    }

    fn additional(&mut self, said: &[&'a Value], wanted: &'a Value, at: &str) -> bool {
        if said.iter().any(|schema| **schema == Value::Bool(false)) {
            return true;
        }
        if *wanted == Value::Bool(false) {
            let (writing, reading) = (self.writer.name, self.reader.name);
            let message = self.say(
                format!("was closed: data of {writing} may have properties that nobody names"),
                format!("was opened: {reading} takes none that it does not name"),
            );
            return self.breaks(at, message);
        }
        self.covers(said, wanted, at)
    }

    fn sizes(&mut self, writer: &Case<'a>, reader: &'a Named, at: &str) -> bool {
        let needed: BTreeSet<&str> = writer.parts.iter().flat_map(|part| required(part)).collect();
        let fewest = reader.get("minProperties").and_then(Value::as_u64);
        let mut implied = fewest.is_some_and(|fewest| fewest <= needed.len() as u64)
            || self.at_least(writer, reader, "minProperties", at);
        let closed = |part: &&&Named| {
            part.get("additionalProperties") == Some(&Value::Bool(false)) && named(part, "patternProperties").is_none()
        };
        let most = writer.parts.iter().filter(closed).map(|part| names(part).count() as u64).min();
        let most = counts(writer, "maxProperties").chain(most).min();
        let wanted = reader.get("maxProperties").and_then(Value::as_u64);
        let few = wanted.zip(most).is_some_and(|(wanted, most)| most <= wanted);
        implied &= few || self.at_most(writer, reader, "maxProperties", at);
        let wanted = keyword(reader, "propertyNames");
        if !is_always(wanted) {
            let said: Vec<_> = writer.parts.iter().filter_map(|part| part.get("propertyNames")).collect();
            implied &= self.covers(&said, wanted, &below(at, "propertyNames"));
        }
        if !is_always(keyword(reader, "unevaluatedProperties")) {
            let place = below(at, "unevaluatedProperties");
            implied &= self.unclear(&place, "it depends on all that stands beside it");
        }
        implied
    }

    /// What one property being there asks of the others.
    fn dependencies(&mut self, writer: &Case<'a>, reader: &'a Named, at: &str) -> bool {
        let mut implied = true;
        for keyword in ["dependentRequired", "dependentSchemas", "dependencies"] {
            for (name, asked) in named(reader, keyword).into_iter().flatten() {
                let said = writer.parts.iter().filter_map(|part| named(part, keyword)?.get(name));
                let never = writer
                    .parts
                    .iter()
                    .any(|part| of_property(part, name).iter().any(|schema| **schema == Value::Bool(false)));
                let known = |asked: &Value| asked.as_str().is_some_and(|name| writer.requires(name));
                let holds = match asked {
                    Value::Array(asked) => asked.iter().all(known),
                    schema => self.quietly(|this| this.covers_in(writer, schema, at)),
                };
                if !(never || holds || said.into_iter().any(|said| said == asked && no_reference(asked))) {
                    let place = below(at, &format!("{keyword}.{name}"));
                    implied &= self.unclear(&place, "not in the same words in both");
                }
            }
        }
        implied
    }
}

/// What refers to something may mean another thing in the other schema.
fn no_reference(schema: &Value) -> bool {
    !schema.to_string().contains("\"$ref\"")
}

fn names_it(writer: &Case<'_>, name: &str) -> bool {
    writer.parts.iter().any(|part| names(part).any(|known| known == name))
}

fn same_names(part: &Named, patterns: &Named) -> bool {
    named(part, "patternProperties")
        .is_some_and(|own| own.len() == patterns.len() && own.keys().all(|pattern| patterns.contains_key(pattern)))
}

fn property(at: &str, name: &str) -> String {
    below(at, &format!("properties.{name}"))
}
