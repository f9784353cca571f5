//! Whether whatever one schema allows is allowed by another, and if not, every reason why.
//!
//! The answer errs on one side: what cannot be judged is told as such, and never passes. It follows from
//! single steps: a *writer's* schema, taken as several that all hold, implies each keyword of the *reader's*.
//! Where the writer offers alternatives, each is looked at by itself.

mod arrays;
mod choices;
mod leaves;
mod objects;
#[cfg(test)]
mod random_tests;
mod side;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::side::{Case, Side, Types, always, is_always};
use crate::limits::schema as limits;

/// Why a schema does not go with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// Where: names and keywords with dots between them, such as `properties.amount`; `$` is the whole schema.
    pub at: String,
    /// What changed, and why that breaks something.
    pub message: String,
    /// False where it could not be judged, which counts as if it broke something.
    pub certain: bool,
}

/// Who reads whose data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The new version's readers the old version's data.
    Backward,
    /// The old version's readers the new version's data.
    Forward,
}

/// A schema and what it is called in answers, such as `version 2`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) schema: &'a Value,
    pub(super) name: &'a str,
}

/// Every reason why data of one of them is not always valid under the other; none if it is.
pub(super) fn compare(old: Named<'_>, new: Named<'_>, direction: Direction) -> Vec<Incompatibility> {
    let (writer, reader) = match direction {
        Direction::Backward => (old, new),
        Direction::Forward => (new, old),
    };
    let (Some(writing), Some(reading)) = (Side::new(writer), Side::new(reader)) else {
        return vec![not_comparable("$", "one of the two is of a dialect that is not known")];
    };
    if writing.dialect != reading.dialect {
        return vec![not_comparable("$schema", "the two are of different dialects")];
    }
    let mut compare = Comparison {
        writer: writing,
        reader: reading,
        direction,
        found: Vec::new(),
        steps: 0,
        depth: 0,
        under_way: Vec::new(),
    };
    compare.covers(&[writer.schema], reader.schema, "");
    let mut found = compare.found;
    let mut seen = std::collections::HashSet::new();
    found.retain(|one| seen.insert((one.at.clone(), one.message.clone())));
    found.truncate(limits::LISTED_MAX);
    found
}

fn not_comparable(at: &str, why: &str) -> Incompatibility {
    Incompatibility { at: at.into(), message: format!("cannot be compared: {why}"), certain: false }
}

struct Comparison<'a> {
    writer: Side<'a>,
    reader: Side<'a>,
    direction: Direction,
    found: Vec<Incompatibility>,
    steps: usize,
    depth: usize,
    /// Pairs that are being looked at. One that comes again lies deeper in the data: it holds there if it
    /// holds here.
    under_way: Vec<(Vec<*const Value>, *const Value)>,
}

impl<'a> Comparison<'a> {
    /// Whether every value that all of `writer` allow is allowed by `reader`.
    fn covers(&mut self, writer: &[&'a Value], reader: &'a Value, at: &str) -> bool {
        if is_always(reader) {
            return true;
        }
        self.steps += 1;
        let writer: Vec<_> = writer.iter().map(|schema| self.writer.target(schema)).collect();
        let (writer, reader) = (writer.as_slice(), self.reader.target(reader));
        let key = (writer.iter().map(|schema| std::ptr::from_ref(*schema)).collect(), std::ptr::from_ref(reader));
        if self.under_way.contains(&key) {
            return true;
        }
        if self.steps > limits::COMPARED_MAX || self.depth > limits::COMPARED_DEPTH_MAX {
            return self.unclear(at, "there is too much to compare");
        }
        let Some(case) = self.writer.case(writer) else { return true };
        let reading = self.reader.case(&[reader]);
        self.under_way.push(key);
        self.depth += 1;
        let covered = match reading {
            None => self.nothing_is_taken(at),
            Some(reading) => self.covers_case(&case, &reading, at),
        };
        self.depth -= 1;
        self.under_way.pop();
        covered
    }

    /// The reader's parts one by one; all are looked at, so that all is told.
    fn covers_case(&mut self, writer: &Case<'a>, reader: &Case<'a>, at: &str) -> bool {
        let mut covered = true;
        for part in &reader.parts {
            covered &= self.covers_part(writer, part, at);
        }
        covered
    }

    fn covers_part(&mut self, writer: &Case<'a>, reader: &'a Map<String, Value>, at: &str) -> bool {
        self.steps += 1;
        let Some(types) = writer.types() else { return true };
        if writer.parts.iter().any(|part| self.same(part, reader)) {
            return true;
        }
        if self.steps > limits::COMPARED_MAX {
            return self.unclear(at, "there is too much to compare");
        }
        let before = self.found.len();
        if self.implies(writer, types, reader, at) {
            return true;
        }
        // What none of the writer's alternatives breaks, nothing breaks.
        let Some((alternatives, rest)) = writer.split() else { return false };
        let whole = self.found.split_off(before);
        let mut covered = true;
        for alternative in alternatives {
            if let Some(case) = self.writer.with(&rest, alternative) {
                covered &= self.covers_part(&case, reader, at);
            }
        }
        if !covered && self.found.len() == before {
            self.found.extend(whole);
        }
        covered
    }

    /// Whether the writer's case implies every keyword of one part of the reader.
    fn implies(&mut self, writer: &Case<'a>, types: Types, reader: &'a Map<String, Value>, at: &str) -> bool {
        let mut implied = self.leaves(writer, types, reader, at);
        if types.has(Types::OBJECT) {
            implied &= self.objects(writer, reader, at);
        }
        if types.has(Types::ARRAY) {
            implied &= self.arrays(writer, reader, at);
        }
        implied & self.choices(writer, types, reader, at)
    }

    /// Whether it would be covered; nothing is told.
    fn quietly(&mut self, look: impl FnOnce(&mut Self) -> bool) -> bool {
        let before = self.found.len();
        let covered = look(self);
        self.found.truncate(before);
        covered
    }

    /// Whether two parts say the same, what they refer to included.
    fn same(&self, writer: &Map<String, Value>, reader: &Map<String, Value>) -> bool {
        side::same_parts(&self.writer, writer, &self.reader, reader)
    }

    fn nothing_is_taken(&mut self, at: &str) -> bool {
        let message = self.say(
            format!("takes nothing any more, while data of {} may have something there", self.writer.name),
            format!(
                "took nothing in {}, while data of {} may have something there",
                self.reader.name, self.writer.name
            ),
        );
        self.breaks(at, message)
    }

    /// By who is new, the reader or the writer.
    fn say<T>(&self, new_reads: T, new_writes: T) -> T {
        match self.direction {
            Direction::Backward => new_reads,
            Direction::Forward => new_writes,
        }
    }

    /// A keyword by which the reader takes less than the writer may write.
    fn narrowed(&mut self, at: &str, keyword: &str, writer: Option<String>, reader: &str) -> bool {
        let message = self.narrowing(keyword, writer, reader);
        self.breaks(at, message)
    }

    fn narrowing(&self, keyword: &str, writer: Option<String>, reader: &str) -> String {
        let reader = document_short(reader);
        let changed = match (self.direction, writer.map(|writer| document_short(&writer))) {
            (Direction::Backward, None) => format!("{keyword} {reader} was added"),
            (Direction::Forward, None) => format!("{keyword} {reader} was removed"),
            (Direction::Backward, Some(writer)) => format!("{keyword} {writer} -> {reader}"),
            (Direction::Forward, Some(writer)) => format!("{keyword} {reader} -> {writer}"),
        };
        format!("{changed}: {} does not take all that {} allows", self.reader.name, self.writer.name)
    }

    fn breaks(&mut self, at: &str, message: String) -> bool {
        self.found.push(Incompatibility { at: named(at), message, certain: true });
        false
    }

    fn unclear(&mut self, at: &str, why: &str) -> bool {
        self.found.push(not_comparable(&named(at), why));
        false
    }
}

fn named(at: &str) -> String {
    if at.is_empty() { "$".into() } else { at.into() }
}

/// A place below another.
fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.into() } else { format!("{at}.{name}") }
}

fn document_short(text: &str) -> String {
    super::document::short(text)
}

/// What a keyword says, for people.
fn shown(value: &Value) -> String {
    value.to_string()
}

fn keyword<'a>(part: &'a Map<String, Value>, name: &str) -> &'a Value {
    part.get(name).unwrap_or(always())
}
