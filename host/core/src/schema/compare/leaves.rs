//! Keywords about a value itself: its type, its list, its range, its text.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::side::{Case, Types, equal};
use super::{Comparison, shown};
use crate::schema::document;

const LEAVES: [&str; 14] = [
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "contentEncoding",
    "contentMediaType",
];
/// Formats that are looked at when data is validated, in either dialect. Others are words for people.
const FORMATS: [&str; 18] = [
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "uri",
    "uri-reference",
    "uri-template",
];
const UUID_FORMAT: &str = "uuid";

impl<'a> Comparison<'a> {
    pub(super) fn leaves(&mut self, writer: &Case<'a>, types: Types, reader: &'a Map<String, Value>, at: &str) -> bool {
        if let Some(values) = writer.values() {
            return self.values(&values, reader, at);
        }
        let mut implied = self.types(types, reader, at) & self.listed(writer, types, reader, at);
        if types.has(Types::NUMBER) {
            for (keyword, upper, exclusive) in [
                ("minimum", false, false),
                ("exclusiveMinimum", false, true),
                ("maximum", true, false),
                ("exclusiveMaximum", true, true),
            ] {
                if let Some(Value::Number(bound)) = reader.get(keyword)
                    && !range_within(writer, bound, upper, exclusive)
                {
                    implied &= self.narrowed(at, keyword, said(writer, keyword), &bound.to_string());
                }
            }
            implied &= self.multiples(writer, types, reader, at);
        }
        if types.has(Types::STRING) {
            implied &= self.at_least(writer, reader, "minLength", at) & self.at_most(writer, reader, "maxLength", at);
            implied &= self.texts(writer, reader, at);
        }
        implied
    }

    /// Each value that the writer may write is put to the reader's keywords.
    fn values(&mut self, values: &[&'a Value], reader: &'a Map<String, Value>, at: &str) -> bool {
        let mut leaves: Map<String, Value> = Map::new();
        leaves.extend(LEAVES.iter().filter_map(|name| Some(((*name).to_owned(), reader.get(*name)?.clone()))));
        if leaves.is_empty() {
            return true;
        }
        leaves.extend(self.reader.dialect_entry());
        let Ok(validator) = document::compile(&Value::Object(leaves)) else {
            return self.unclear(at, "a keyword here cannot be judged by itself");
        };
        let refused = values.iter().filter(|value| !validator.is_valid(value));
        let mut covered = true;
        for value in refused {
            let value = document::short(&shown(value));
            let message = self.say(
                format!("value {value} is not taken any more, while data of {} may have it", self.writer.name),
                format!("value {value} is new, and {} does not take it", self.reader.name),
            );
            covered = self.breaks(at, message);
        }
        covered
    }

    fn types(&mut self, types: Types, reader: &'a Map<String, Value>, at: &str) -> bool {
        if !reader.contains_key("type") {
            return true;
        }
        let mut of_type = Map::new();
        of_type.extend(reader.get_key_value("type").map(|(name, value)| (name.clone(), value.clone())));
        let taken = Types::of_part(&of_type);
        types.within(taken) || self.narrowed(at, "type", Some(types.shown()), &taken.shown())
    }

    /// The writer does not list its values; those of a type that has few are known all the same.
    fn listed(&mut self, writer: &Case<'a>, types: Types, reader: &'a Map<String, Value>, at: &str) -> bool {
        let mut implied = true;
        for keyword in ["enum", "const"] {
            let Some(taken) = reader.get(keyword) else { continue };
            let takes = |value: &Value| match (keyword, taken) {
                ("enum", Value::Array(values)) => values.iter().any(|one| equal(one, value)),
                (_, one) => equal(one, value),
            };
            let few = [(Types::NULL, Value::Null), (Types::BOOLEAN, true.into()), (Types::BOOLEAN, false.into())];
            let all = few.iter().filter(|(of, _)| types.has(*of)).all(|(_, value)| takes(value));
            let only_those = !types.has(Types::NUMBER)
                && ![Types::STRING, Types::ARRAY, Types::OBJECT].iter().any(|other| types.has(*other));
            if !(writer.says(keyword, taken) || all && only_those) {
                implied &= self.narrowed(at, keyword, None, &shown(taken));
            }
        }
        implied
    }

    fn multiples(&mut self, writer: &Case<'a>, types: Types, reader: &'a Map<String, Value>, at: &str) -> bool {
        let Some(Value::Number(of)) = reader.get("multipleOf") else { return true };
        let whole = |number: &Number| number.as_u64().filter(|number| *number > 0);
        let implied = writer.parts.iter().filter_map(|part| part.get("multipleOf")).any(|said| match said {
            Value::Number(said) if said == of => true,
            Value::Number(said) => whole(said).zip(whole(of)).is_some_and(|(said, of)| said.is_multiple_of(of)),
            _ => false,
        });
        let whole_numbers = whole(of) == Some(1) && !types.has(Types::FRACTION);
        implied || whole_numbers || self.narrowed(at, "multipleOf", said(writer, "multipleOf"), &of.to_string())
    }

    fn texts(&mut self, writer: &Case<'a>, reader: &'a Map<String, Value>, at: &str) -> bool {
        let mut implied = true;
        for keyword in ["pattern", "format", "contentEncoding", "contentMediaType"] {
            let Some(Value::String(wanted)) = reader.get(keyword) else { continue };
            let only_words = keyword == "format" && !FORMATS.contains(&wanted.as_str()) && wanted != UUID_FORMAT;
            if only_words || writer.says(keyword, &reader[keyword]) {
                continue;
            }
            let said = said(writer, keyword);
            implied = match (&said, keyword) {
                // One regular expression may take all that another takes.
                (Some(_), "pattern") => {
                    let changed = self.narrowing(keyword, said, &shown(&reader[keyword]));
                    self.unclear(at, &changed)
                }
                _ => self.narrowed(at, keyword, said, &shown(&reader[keyword])),
            };
        }
        implied
    }

    /// A lower bound of a count.
    pub(super) fn at_least(
        &mut self,
        writer: &Case<'a>,
        reader: &'a Map<String, Value>,
        keyword: &str,
        at: &str,
    ) -> bool {
        let Some(wanted) = reader.get(keyword).and_then(count) else { return true };
        let said = counts(writer, keyword).max();
        wanted <= said.unwrap_or(0) || self.narrowed(at, keyword, said.map(|n| n.to_string()), &wanted.to_string())
    }

    /// An upper bound of a count.
    pub(super) fn at_most(
        &mut self,
        writer: &Case<'a>,
        reader: &'a Map<String, Value>,
        keyword: &str,
        at: &str,
    ) -> bool {
        let Some(wanted) = reader.get(keyword).and_then(count) else { return true };
        let said = counts(writer, keyword).min();
        said.is_some_and(|said| said <= wanted)
            || self.narrowed(at, keyword, said.map(|n| n.to_string()), &wanted.to_string())
    }
}

/// A count may be written `2.0`.
fn count(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    let of_fraction = |number: f64| (number.fract() == 0.0 && (0.0..1e15).contains(&number)).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(of_fraction))
}

pub(super) fn counts<'a>(writer: &Case<'a>, keyword: &str) -> impl Iterator<Item = u64> {
    writer.parts.iter().filter_map(move |part| part.get(keyword).and_then(count))
}

/// What the writer says of a keyword, for people.
fn said(writer: &Case<'_>, keyword: &str) -> Option<String> {
    writer.parts.iter().find_map(|part| part.get(keyword)).map(shown)
}

/// Whether one of the writer's bounds lies within the reader's.
fn range_within(writer: &Case<'_>, bound: &Number, upper: bool, exclusive: bool) -> bool {
    let keywords = if upper {
        [("maximum", false), ("exclusiveMaximum", true)]
    } else {
        [("minimum", false), ("exclusiveMinimum", true)]
    };
    let inner = if upper { Ordering::Less } else { Ordering::Greater };
    writer.parts.iter().any(|part| {
        keywords.iter().any(|(keyword, excludes)| match part.get(*keyword) {
            Some(Value::Number(said)) => match order(said, bound) {
                Some(Ordering::Equal) => *excludes || !exclusive,
                order => order == Some(inner),
            },
            _ => false,
        })
    })
}

/// `None` where a number is too long to be compared exactly.
fn order(a: &Number, b: &Number) -> Option<Ordering> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |number: &Number| number.as_i128();
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (a_whole, b_whole) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let inexact = |whole: Option<i128>, number: f64| whole.is_some() && number.abs() > EXACT;
            if inexact(a_whole, a) || inexact(b_whole, b) { None } else { a.partial_cmp(&b) }
        }
    }
}
