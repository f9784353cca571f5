//! Keywords that put schemas together: `anyOf`, `oneOf`, `not`, `if`.

use serde_json::{Map, Value};

use super::side::{Case, Side, Types, equal};
use super::{Comparison, below};

/// How deep two schemas are looked into to find that no value is allowed by both.
const APART_DEPTH_MAX: usize = 8;

impl<'a> Comparison<'a> {
    pub(super) fn choices(
        &mut self,
        writer: &Case<'a>,
        types: Types,
        reader: &'a Map<String, Value>,
        at: &str,
    ) -> bool {
        let mut implied = true;
        for keyword in ["anyOf", "oneOf"] {
            let Some(Value::Array(branches)) = reader.get(keyword) else { continue };
            if !self.quietly(|this| this.chosen(writer, types, branches, keyword == "oneOf", at)) {
                let why = match keyword {
                    "anyOf" => format!("{} does not clearly allow all that {} has", self.reader.name, self.writer.name),
                    _ => format!("it is not clear that exactly one alternative of {} is met", self.reader.name),
                };
                implied = self.unclear(&below(at, keyword), &why);
            }
        }
        if let Some(excluded) = reader.get("not")
            && !self.never(writer, excluded)
        {
            implied = self.unclear(&below(at, "not"), "it is not clear that what it excludes never comes");
        }
        implied & self.conditional(writer, reader, at)
    }

    /// Whether one of the branches takes all of the case, or of each type of it; for `oneOf` no other may
    /// take any of it.
    fn chosen(&mut self, writer: &Case<'a>, types: Types, branches: &'a [Value], one: bool, at: &str) -> bool {
        for (i, branch) in branches.iter().enumerate() {
            let mut others = branches.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| other);
            if self.covers_in(writer, branch, at) && (!one || others.all(|other| self.never(writer, other))) {
                return true;
            }
        }
        if types.is_one() {
            return false;
        }
        types.each().all(|schema| {
            let Some(case) = self.writer.with(writer, schema) else { return true };
            let Some(types) = case.types() else { return true };
            types.is_one() && self.chosen(&case, types, branches, one, at)
        })
    }

    /// The same as `covers`, for a case that is known already.
    pub(super) fn covers_in(&mut self, writer: &Case<'a>, reader: &'a Value, at: &str) -> bool {
        match self.reader.case(&[reader]) {
            Some(reading) => self.covers_case(writer, &reading, at),
            None => writer.types().is_none(),
        }
    }

    /// Whether no value of the case is allowed by a schema of the reader's.
    fn never(&self, writer: &Case<'a>, reader: &'a Value) -> bool {
        match self.reader.case(&[reader]) {
            Some(reading) => apart(&self.writer, writer, &self.reader, &reading, 0),
            None => true,
        }
    }

    fn conditional(&mut self, writer: &Case<'a>, reader: &'a Map<String, Value>, at: &str) -> bool {
        let Some(condition) = reader.get("if") else { return true };
        let branch = |keyword: &str| super::keyword(reader, keyword);
        let (then, otherwise) = (branch("then"), branch("else"));
        let implied = self.quietly(|this| {
            let always_met = |this: &mut Self| this.covers_in(writer, condition, at);
            (this.covers_in(writer, then, at) || this.never(writer, condition))
                && (this.covers_in(writer, otherwise, at) || always_met(this))
        });
        implied || self.unclear(&below(at, "if"), "what follows from it depends on the data")
    }
}

/// Whether for certain no value is allowed by both: by their types, by the values that they list, or by a
/// property that at least one of them requires.
fn apart<'a>(side: &Side<'a>, case: &Case<'a>, other_side: &Side<'a>, other: &Case<'a>, depth: usize) -> bool {
    let (Some(types), Some(other_types)) = (case.types(), other.types()) else { return true };
    if !types.has(other_types) {
        return true;
    }
    if let (Some(values), Some(others)) = (case.values(), other.values())
        && !values.iter().any(|value| others.iter().any(|other| equal(value, other)))
    {
        return true;
    }
    let only_objects = types.within(Types::OBJECT) || other_types.within(Types::OBJECT);
    if !only_objects || depth == APART_DEPTH_MAX {
        return false;
    }
    let mut names = properties(case).chain(properties(other));
    names.any(|name| {
        let schemas = |case: &Case<'a>| -> Vec<&'a Value> {
            case.parts.iter().filter_map(|part| part.get("properties")?.get(name)).collect()
        };
        if !case.requires(name) && !other.requires(name) {
            return false;
        }
        match (side.case(&schemas(case)), other_side.case(&schemas(other))) {
            (Some(one), Some(two)) => apart(side, &one, other_side, &two, depth + 1),
            _ => true,
        }
    })
}

fn properties<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a String> {
    let named = case.parts.iter().filter_map(|part| part.get("properties")?.as_object());
    named.flat_map(|properties| properties.keys()).collect::<Vec<_>>().into_iter()
}
