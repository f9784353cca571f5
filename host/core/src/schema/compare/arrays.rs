//! Keywords about arrays.

use serde_json::{Map, Value};

use super::leaves::counts;
use super::side::{Case, Side, is_always};
use super::{Comparison, always, below, keyword};
use crate::schema::document::Dialect;

/// The schemas of an array's places: those of the first, and of all others.
fn places<'a>(side: &Side<'a>, part: &'a Map<String, Value>) -> (&'a [Value], &'a Value) {
    let (first, others) = match (side.dialect, part.get("items")) {
        (Dialect::Draft202012, _) => ("prefixItems", "items"),
        (Dialect::Draft7, Some(Value::Array(_))) => ("items", "additionalItems"),
        (Dialect::Draft7, _) => return (&[], keyword(part, "items")),
    };
    (part.get(first).and_then(Value::as_array).map_or(&[], Vec::as_slice), keyword(part, others))
}

impl<'a> Comparison<'a> {
    pub(super) fn arrays(&mut self, writer: &Case<'a>, reader: &'a Map<String, Value>, at: &str) -> bool {
        let longest = counts(writer, "maxItems").min();
        let mut implied = self.at_least(writer, reader, "minItems", at) & self.at_most(writer, reader, "maxItems", at);
        if reader.get("uniqueItems") == Some(&Value::Bool(true))
            && !writer.says("uniqueItems", &Value::Bool(true))
            && longest.is_none_or(|longest| longest > 1)
        {
            implied &= self.narrowed(at, "uniqueItems", None, "true");
        }
        implied &= self.items(writer, longest, reader, at);
        let contains = ["contains", "minContains", "maxContains"];
        if reader.contains_key("contains")
            && !writer.parts.iter().any(|part| contains.iter().all(|name| part.get(*name) == reader.get(*name)))
        {
            implied &= self.unclear(&below(at, "contains"), "not in the same words in both");
        }
        if !is_always(keyword(reader, "unevaluatedItems")) {
            implied &= self.unclear(&below(at, "unevaluatedItems"), "it depends on all that stands beside it");
        }
        implied
    }

    fn items(&mut self, writer: &Case<'a>, longest: Option<u64>, reader: &'a Map<String, Value>, at: &str) -> bool {
        let writing: Vec<_> = writer.parts.iter().map(|part| places(&self.writer, part)).collect();
        let (first, others) = places(&self.reader, reader);
        let named = writing.iter().map(|(first, _)| first.len()).chain([first.len()]).max().unwrap_or(0);
        let reached =
            |place: usize| longest.is_none_or(|longest| place < usize::try_from(longest).unwrap_or(usize::MAX));
        let mut implied = true;
        for place in 0..named {
            // A place that allows nothing ends the array before it.
            let schemas: Vec<_> = writing.iter().map(|(first, others)| first.get(place).unwrap_or(others)).collect();
            if !reached(place) || schemas.iter().any(|schema| **schema == Value::Bool(false)) {
                return implied;
            }
            let wanted = first.get(place).unwrap_or(others);
            implied &= self.covers(&schemas, wanted, &below(at, &format!("items[{place}]")));
        }
        let schemas: Vec<_> = writing.iter().map(|(_, others)| *others).filter(|schema| *schema != always()).collect();
        if !reached(named) || schemas.iter().any(|schema| **schema == Value::Bool(false)) {
            return implied;
        }
        implied & self.covers(&schemas, others, &below(at, "items"))
    }
}
