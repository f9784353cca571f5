//! The text of a JSON Schema: whether the host takes it, and what it comes to when it is compiled.

use std::collections::{HashMap, HashSet};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::code::Detail;
use crate::limits::schema as limits;

/// The dialects that are taken; a schema that names none is of the first.
const DIALECTS: [(&str, Dialect); 2] = [
    ("https://json-schema.org/draft/2020-12/schema", Dialect::Draft202012),
    ("http://json-schema.org/draft-07/schema", Dialect::Draft7),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Draft202012,
    Draft7,
}

impl Dialect {
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let Some(named) = schema.get("$schema") else { return Some(Self::Draft202012) };
        let named = named.as_str()?.trim_end_matches('#');
        DIALECTS.iter().find(|(name, _)| *name == named).map(|(_, dialect)| *dialect)
    }

    fn draft(self) -> Draft {
        match self {
            Self::Draft202012 => Draft::Draft202012,
            Self::Draft7 => Draft::Draft7,
        }
    }
}

/// Reads a schema, and names all that the host does not take of it.
pub(super) fn parse(text: &str) -> Result<Value, Vec<Detail>> {
    let wrong = |at: &str, message: String| vec![Detail { at: at.into(), message, facts: Vec::new() }];
    if text.len() > limits::SCHEMA_BYTES_MAX {
        let message = format!("it has {} bytes; a schema has at most {}", text.len(), limits::SCHEMA_BYTES_MAX);
        return Err(wrong("schema", message));
    }
    let schema: Value =
        serde_json::from_str(text).map_err(|error| wrong("schema", format!("it is not JSON: {error}")))?;
    if !schema.is_object() && !schema.is_boolean() {
        return Err(wrong("schema", "a schema is an object, true or false".into()));
    }
    let Some(dialect) = Dialect::of(&schema) else {
        let known = DIALECTS.map(|(name, _)| name).join(" and ");
        return Err(wrong("schema.$schema", format!("it is none of those that are taken: {known}")));
    };
    let mut details = Vec::new();
    let mut walk = |at: &str, message: &str| details.push((at.to_owned(), message.to_owned()));
    look_through(&schema, dialect, &mut walk);
    if details.is_empty() {
        details.extend(of_dialect(&schema, dialect));
    }
    if details.is_empty() {
        details.extend(refuse_loops(&schema, dialect).err());
    }
    if details.is_empty() {
        details.extend(compile(&schema).err().map(|message| (String::new(), message)));
    }
    if details.is_empty() {
        return Ok(schema);
    }
    details.truncate(limits::LISTED_MAX);
    let detail = |(at, message): (String, String)| Detail { at: format!("schema{at}"), message, facts: Vec::new() };
    Err(details.into_iter().map(detail).collect())
}

/// What checks data. It asks neither the network nor files, knows formats (unknown ones are not looked at),
/// and its regular expressions take time that is linear in the text.
pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    let dialect = Dialect::of(schema).unwrap_or(Dialect::Draft202012);
    let patterns = PatternOptions::regex().size_limit(limits::PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(dialect.draft())
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .offline()
        .build(schema)
        .map_err(|error| short(&error.masked().to_string()))
}

/// So much of a text as an answer carries.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().take_while(|(at, _)| *at < limits::TEXT_BYTES_MAX).last() {
        Some((at, _)) if at + 4 < text.len() => format!("{} ...", &text[..at]),
        _ => text.to_owned(),
    }
}

/// What the dialect's own schema says of it.
fn of_dialect(schema: &Value, dialect: Dialect) -> Vec<(String, String)> {
    let meta = match dialect {
        Dialect::Draft202012 => jsonschema::draft202012::meta::validator(),
        Dialect::Draft7 => jsonschema::draft7::meta::validator(),
    };
    let errors = meta.iter_errors(schema).take(limits::LISTED_MAX);
    errors.map(|error| (error.instance_path().to_string(), short(&error.to_string()))).collect()
}

/// Where schemas lie in a schema: below a keyword, in its list, or under its names.
const ONE: [&str; 11] = [
    "additionalProperties",
    "additionalItems",
    "items",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Those that say something of the same data.
const IN_PLACE_ONE: [&str; 4] = ["not", "if", "then", "else"];
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const IN_PLACE_NAMED: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Every schema in a schema, with its JSON pointer.
pub(super) fn visit<'a>(schema: &'a Value, at: &str, visitor: &mut dyn FnMut(&'a Map<String, Value>, &str)) {
    let Value::Object(object) = schema else { return };
    visitor(object, at);
    for (keyword, value) in object {
        let at = format!("{at}/{}", escaped(keyword));
        if ONE.contains(&keyword.as_str()) && !value.is_array() {
            visit(value, &at, visitor);
        }
        if LISTS.contains(&keyword.as_str()) {
            for (i, schema) in value.as_array().into_iter().flatten().enumerate() {
                visit(schema, &format!("{at}/{i}"), visitor);
            }
        }
        if NAMED.contains(&keyword.as_str()) {
            for (name, schema) in value.as_object().into_iter().flatten() {
                visit(schema, &format!("{at}/{}", escaped(name)), visitor);
            }
        }
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What would make the host ask others, or cannot be followed when two schemas are compared.
fn look_through(root: &Value, dialect: Dialect, refuse: &mut dyn FnMut(&str, &str)) {
    let mut schemas = HashSet::new();
    visit(root, "", &mut |object, _| {
        schemas.insert(std::ptr::from_ref(object));
    });
    visit(root, "", &mut |object, at| {
        for keyword in ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"] {
            if object.contains_key(keyword) {
                refuse(&format!("{at}/{keyword}"), "this keyword is not taken");
            }
        }
        if object.contains_key("$id") && !std::ptr::eq(object, root.as_object().unwrap_or(object)) {
            refuse(&format!("{at}/$id"), "only the whole schema may have an `$id`");
        }
        let Some(reference) = object.get("$ref").and_then(Value::as_str) else { return };
        let known = match resolve(root, dialect, reference) {
            Some(Value::Object(target)) => schemas.contains(&std::ptr::from_ref(target)),
            Some(target) => target.is_boolean(),
            None => false,
        };
        if !known {
            let message = "it names no schema in this one: nothing is fetched from elsewhere, so that what is \
                           registered says all";
            refuse(&format!("{at}/$ref"), message);
        }
    });
}

/// What a `$ref` within a schema names.
pub(super) fn resolve<'a>(root: &'a Value, dialect: Dialect, reference: &str) -> Option<&'a Value> {
    let fragment = reference.strip_prefix('#')?;
    let fragment = unescape(fragment)?;
    let found = match fragment.starts_with('/') || fragment.is_empty() {
        true => root.pointer(&fragment)?,
        false if dialect == Dialect::Draft202012 => anchor(root, &fragment)?,
        false => return None,
    };
    (found.is_object() || found.is_boolean()).then_some(found)
}

fn anchor<'a>(root: &'a Value, name: &str) -> Option<&'a Value> {
    let mut found = None;
    visit(root, "", &mut |object, at| {
        if object.get("$anchor").and_then(Value::as_str) == Some(name) && found.is_none() {
            found = Some(at.to_owned());
        }
    });
    root.pointer(&found?)
}

/// `%20` and the like.
fn unescape(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// A schema that comes to itself again without going into the data would never end; one that fans out again
/// and again would take too long.
fn refuse_loops(root: &Value, dialect: Dialect) -> Result<(), (String, String)> {
    let mut places = Vec::new();
    visit(root, "", &mut |object, at| places.push((object, at.to_owned())));
    let mut counted = HashMap::new();
    for (object, at) in places {
        match applied(root, dialect, object, &mut counted) {
            Some(count) if count <= limits::APPLIED_AT_ONCE_MAX => {}
            Some(_) => {
                let max = limits::APPLIED_AT_ONCE_MAX;
                return Err((at, format!("more than {max} schemas apply to one place of the data here")));
            }
            None => return Err((at, "it leads back to itself without going into the data".into())),
        }
    }
    Ok(())
}

/// The schemas that look at a value because this one does.
pub(super) fn in_place<'a>(
    root: &'a Value,
    dialect: Dialect,
    object: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    let referenced = object.get("$ref").and_then(Value::as_str).and_then(|name| resolve(root, dialect, name));
    let one = IN_PLACE_ONE.iter().filter_map(|keyword| object.get(*keyword));
    let lists = IN_PLACE_LISTS.iter().filter_map(|keyword| object.get(*keyword)?.as_array()).flatten();
    let named = IN_PLACE_NAMED.iter().filter_map(|keyword| object.get(*keyword)?.as_object());
    let named = named.flat_map(|named| named.values());
    referenced.into_iter().chain(one).chain(lists).chain(named).filter_map(Value::as_object)
}

/// How many schemas look at one value when this one does; `None` if it comes back to itself.
fn applied<'a>(
    root: &'a Value,
    dialect: Dialect,
    object: &'a Map<String, Value>,
    counted: &mut HashMap<*const Map<String, Value>, Option<usize>>,
) -> Option<usize> {
    if let Some(known) = counted.get(&std::ptr::from_ref(object)) {
        return *known;
    }
    // Until it is known: whoever comes here meanwhile has come round.
    counted.insert(object, None);
    let mut count = 1_usize;
    for schema in in_place(root, dialect, object) {
        count = count.saturating_add(applied(root, dialect, schema, counted)?);
    }
    counted.insert(object, Some(count));
    Some(count)
}
