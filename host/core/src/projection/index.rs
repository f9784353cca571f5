//! Indexes: documents of the same generation, in a collection that only the host sees, whose keys are the
//! values of a field in their order, each with the key of the document that holds it.
//!
//! So an index is committed with its documents, copied, dropped and rebuilt like them, on every store. A
//! document without the field, or with an array or an object there, has no entry.

use std::sync::Arc;

use bytes::Bytes;

use super::field::{Field, Scalar, scalars};
use crate::limits::plugin as limits;
use crate::plugin::descriptor::Collection;
use crate::store::DocumentChange;
use crate::store::prefix::end_of_prefix;

/// Behind a value. What stands behind it is the document's key. Less than whatever a text may go on with.
const END: &str = "\u{1}\u{1}";
/// Greater than every entry of a value, and less than those of every greater one.
const AFTER: &str = "\u{1}\u{2}";

/// One index of a collection.
#[derive(Clone, Debug)]
pub struct Index {
    pub field: Field,
    /// The collection that its entries are in.
    pub name: Arc<str>,
}

/// The indexes that a collection declares.
pub fn indexes_of(collection: &Collection) -> Vec<Index> {
    let index = |field: &str| {
        let field = Field::new(field).ok()?;
        let name = format!("$index/{}/{field}", collection.name).into();
        Some(Index { field, name })
    };
    collection.indexes.iter().filter_map(|declared| index(&declared.field)).collect()
}

/// What a change of a document changes in the indexes.
pub(super) struct Upkeep {
    indexes: Vec<Index>,
    fields: Vec<Field>,
}

impl Upkeep {
    pub(super) fn new(indexes: Vec<Index>) -> Self {
        let fields = indexes.iter().map(|index| index.field.clone()).collect();
        Self { indexes, fields }
    }

    pub(super) fn is_none(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Rows that a change of one document may change, with its own.
    pub(super) fn rows(&self) -> usize {
        1 + 2 * self.indexes.len()
    }

    pub(super) fn follow(&self, old: Option<&Bytes>, change: &DocumentChange, changes: &mut Vec<DocumentChange>) {
        let entries = |document: Option<&Bytes>| match document {
            Some(document) => scalars(document, &self.fields),
            None => vec![None; self.fields.len()],
        };
        let (before, after) = (entries(old), entries(change.value.as_ref()));
        for ((index, before), after) in self.indexes.iter().zip(before).zip(after) {
            let [before, after] = [before, after].map(|value| value.map(|value| entry(&value, &change.key)));
            if before != after {
                let row = |key: String, value| DocumentChange { collection: Arc::clone(&index.name), key, value };
                changes.extend(before.map(|key| row(key, None)));
                changes.extend(after.map(|key| row(key, Some(Bytes::new()))));
            }
        }
    }
}

/// The key under which an index holds a document.
pub(super) fn entry(value: &Scalar, key: &str) -> String {
    let (mut entry, _) = encode(value);
    entry.push_str(END);
    entry.push_str(key);
    entry
}

/// The document that an entry leads to.
pub(super) fn key_of(entry: &str) -> Option<&str> {
    entry.split_once(END).map(|(_, key)| key)
}

/// Entries between two texts, which are no entries themselves; `""` and `None` stand for the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) above: String,
    pub(super) below: Option<String>,
}

impl Span {
    pub(super) fn everything() -> Self {
        Self { above: String::new(), below: None }
    }

    /// What begins with a text.
    fn beginning_with(text: String) -> Self {
        Self { below: end_of_prefix(&text), above: text }
    }

    pub(super) fn equal_to(value: &Scalar) -> Self {
        let (text, _) = encode(value);
        Self::beginning_with(text + END)
    }

    pub(super) fn of_kind(value: &Scalar) -> Self {
        Self::beginning_with(tag(value).to_string())
    }

    pub(super) fn with_prefix(prefix: &str) -> Self {
        let (text, _) = encode(&Scalar::Text(prefix.to_owned()));
        Self::beginning_with(text)
    }

    /// Less than the value, or equal. Of a text that was cut the equal ones cannot be told apart, and are in.
    pub(super) fn less(value: &Scalar, or_equal: bool) -> Self {
        let (text, whole) = encode(value);
        let below = if or_equal || !whole { text + AFTER } else { text };
        Self { below: Some(below), ..Self::of_kind(value) }
    }

    pub(super) fn greater(value: &Scalar, or_equal: bool) -> Self {
        let (text, whole) = encode(value);
        let above = if or_equal || !whole { text } else { text + AFTER };
        Self { above, ..Self::of_kind(value) }
    }

    /// What both hold.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let above = self.above.as_str().max(&other.above).to_owned();
        let below = match (&self.below, &other.below) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        below.as_ref().is_none_or(|below| *below > above).then_some(Self { above, below })
    }
}

/// Whether an index holds the whole of a value, so that what is equal in it is equal.
pub(super) fn is_whole(value: &Scalar) -> bool {
    encode(value).1
}

/// The same of a text that others begin with.
pub(super) fn is_whole_prefix(prefix: &str) -> bool {
    prefix.chars().count() <= limits::INDEX_TEXT_CHARS_MAX
}

/// Kinds in their order: null, false and true, numbers, texts.
fn tag(value: &Scalar) -> char {
    match value {
        Scalar::Null => 'a',
        Scalar::Bool(_) => 'b',
        Scalar::Number(_) => 'n',
        Scalar::Text(_) => 't',
    }
}

/// A value as a text that sorts as it does; and whether no other value has the same one.
fn encode(value: &Scalar) -> (String, bool) {
    let mut text = String::from(tag(value));
    let mut whole = true;
    match value {
        Scalar::Null => {}
        Scalar::Bool(value) => text.push(if *value { '1' } else { '0' }),
        Scalar::Number(number) => {
            let (double, rest) = number.parts();
            let bits = double.to_bits();
            // The bits of positive doubles sort as they do; those of negative ones the other way round.
            let sortable = if double.is_sign_negative() { !bits } else { bits ^ (1 << 63) };
            let rest = i32::from(rest) + 0x8000;
            text.push_str(&format!("{sortable:016x}{rest:04x}"));
        }
        Scalar::Text(value) => {
            let mut chars = value.chars();
            for c in chars.by_ref().take(limits::INDEX_TEXT_CHARS_MAX) {
                match c {
                    // Stores take no U+0000 in keys, and U+0001 ends a value.
                    '\0' => text.push_str("\u{1}\u{2}"),
                    '\u{1}' => text.push_str("\u{1}\u{3}"),
                    c => text.push(c),
                }
            }
            whole = value.chars().count() < limits::INDEX_TEXT_CHARS_MAX;
        }
    }
    (text, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, seeds};

    fn value(random: &mut Random) -> Scalar {
        const CHARS: [char; 9] = ['\0', '\u{1}', '\u{2}', '\u{3}', 'a', 'b', 'ü', '\u{D7FF}', '\u{10FFFF}'];
        match random.below(8) {
            0 => Scalar::Null,
            1 => Scalar::Bool(random.percent(50)),
            2 => Scalar::Number((random.number() as i64 >> random.below(64)).into()),
            3 => Scalar::Number(random.number().into()),
            4 => Scalar::Number((random.below(9) as f64 / 4.0 - 1.0).into()),
            _ => {
                let length = *random.pick(&[0, 1, 1, 2, 3, 99, 100, 101, 120]);
                let common: String = if length > 50 { "x".repeat(95) } else { String::new() };
                let rest = length - common.len();
                Scalar::Text(common + &(0..rest).map(|_| *random.pick(&CHARS)).collect::<String>())
            }
        }
    }

    #[test]
    fn entries_sort_as_their_values_do() {
        for seed in seeds(20) {
            let mut random = Random::new(seed);
            for _ in 0..2_000 {
                let (a, b) = (value(&mut random), value(&mut random));
                let (x, y) = (entry(&a, "k"), entry(&b, "k"));
                assert_eq!(key_of(&x), Some("k"));
                assert!(!x.contains('\0') && x.len() <= limits::INDEX_KEY_BYTES_MAX);
                match a.compare(&b) {
                    Some(order) if is_whole(&a) || is_whole(&b) => assert_eq!(x.cmp(&y), order, "{a:?} {b:?}"),
                    // Long texts that differ late are equal here.
                    Some(order) => assert!(x == y || x.cmp(&y) == order, "{a:?} {b:?}"),
                    None => assert_ne!(tag(&a), tag(&b)),
                }
                let within = |span: &Span| x > span.above && span.below.as_ref().is_none_or(|below| x < *below);
                let order = a.compare(&b);
                let expected = [
                    (Span::equal_to(&b), order.is_some_and(std::cmp::Ordering::is_eq)),
                    (Span::less(&b, false), order.is_some_and(std::cmp::Ordering::is_lt)),
                    (Span::less(&b, true), order.is_some_and(std::cmp::Ordering::is_le)),
                    (Span::greater(&b, false), order.is_some_and(std::cmp::Ordering::is_gt)),
                    (Span::greater(&b, true), order.is_some_and(std::cmp::Ordering::is_ge)),
                    (Span::of_kind(&b), order.is_some()),
                ];
                for (span, holds) in expected {
                    let exact = is_whole(&b);
                    assert!(within(&span) == holds || !exact && within(&span), "{a:?} {b:?} {span:?}");
                }
                if let (Scalar::Text(a), Scalar::Text(b)) = (&a, &b) {
                    let span = Span::with_prefix(b);
                    let exact = is_whole_prefix(b);
                    assert!(within(&span) == a.starts_with(b.as_str()) || !exact && within(&span), "{a:?} {b:?}");
                }
            }
        }
    }
}
