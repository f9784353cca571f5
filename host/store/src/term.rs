//! What the index of the log finds chunks by, the same in every database.
//!
//! A term is an event type, a key, a tag, a correlation id, or a stream's category. The index knows its
//! hash only and gives the chunks that may hold it; what is found is decoded and looked at again. So a
//! filter may be turned into terms that find too much, but never too little.

use sha2::{Digest, Sha256};
use wasmill_core::event::Event;
use wasmill_core::log::filter::FilterTerm;
use wasmill_core::name::Pattern;

/// The first 8 bytes of the SHA-256 of the kind and the text.
pub(crate) type Term = i64;

#[derive(Clone, Copy)]
enum Kind {
    Type = 1,
    Key = 2,
    Tag = 3,
    Correlation = 4,
    Category = 5,
}

fn term(kind: Kind, text: &str) -> Term {
    let hash = Sha256::new().chain_update([kind as u8]).chain_update(text).finalize();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_slice() else { unreachable!("a SHA-256 has 32 bytes") };
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// A stream's name up to its first `-`, the dash included; the whole name if it has none.
fn category(stream: &str) -> &str {
    stream.find('-').map_or(stream, |dash| &stream[..=dash])
}

/// The terms of one stream's events, each once, in ascending order.
pub(crate) fn of_chunk(events: &[Event]) -> Vec<Term> {
    let mut terms = Vec::with_capacity(4);
    let mut last_type = "";
    if let Some(event) = events.first() {
        terms.push(term(Kind::Category, category(event.stream())));
    }
    for event in events {
        if event.event_type() != last_type {
            last_type = event.event_type();
            terms.push(term(Kind::Type, last_type));
        }
        terms.extend(event.key().map(|key| term(Kind::Key, key)));
        terms.extend(event.correlation_id().map(|id| term(Kind::Correlation, id)));
        terms.extend(event.tags().iter().map(|tag| term(Kind::Tag, tag)));
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// How the index answers a term of a filter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It cannot help: the log has to be looked through.
    Scan,
    /// No event can match.
    Nothing,
    /// A chunk that matches has, of each group, at least one term.
    Groups(Vec<Vec<Term>>),
}

/// Whether a filter's types have to be known to look it up.
pub(crate) fn needs_types(filter: &[FilterTerm]) -> bool {
    filter.iter().any(|term| term.types.iter().any(|pattern| !pattern.is_exact()))
}

/// `types` are all types that there are, as far as [`needs_types`] says that they are needed.
pub(crate) fn lookup(filter: &FilterTerm, types: &[String]) -> Lookup {
    let mut groups = Vec::new();
    if !filter.types.is_empty() {
        let of_pattern = |pattern: &Pattern| -> Vec<Term> {
            if pattern.is_exact() {
                return vec![term(Kind::Type, pattern.as_str())];
            }
            types.iter().filter(|name| pattern.matches(name)).map(|name| term(Kind::Type, name)).collect()
        };
        groups.push(filter.types.iter().flat_map(of_pattern).collect());
    }
    if !filter.keys.is_empty() {
        // An event without a key has its stream's name as key.
        let of_key = |key: &String| [term(Kind::Key, key), term(Kind::Category, category(key))];
        groups.push(filter.keys.iter().flat_map(of_key).collect());
    }
    if !filter.correlation_ids.is_empty() {
        groups.push(filter.correlation_ids.iter().map(|id| term(Kind::Correlation, id)).collect());
    }
    groups.extend(filter.tags.iter().map(|tag| vec![term(Kind::Tag, tag)]));
    let categories: Option<Vec<Term>> = filter.streams.iter().map(category_of_pattern).collect();
    groups.extend(categories.filter(|categories| !categories.is_empty()));
    for group in &mut groups {
        group.sort_unstable();
        group.dedup();
    }
    match groups.len() {
        0 => Lookup::Scan,
        _ if groups.iter().any(Vec::is_empty) => Lookup::Nothing,
        _ => Lookup::Groups(groups),
    }
}

/// The category of all streams that match, if they have one in common.
fn category_of_pattern(pattern: &Pattern) -> Option<Term> {
    let prefix = pattern.prefix();
    let known = pattern.is_exact() || prefix.contains('-');
    known.then(|| term(Kind::Category, category(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(globs: &[&str]) -> Lookup {
        let streams = globs.iter().map(|glob| Pattern::new(glob).unwrap()).collect();
        lookup(&FilterTerm { streams, ..FilterTerm::default() }, &[])
    }

    #[test]
    fn hashes_are_the_same_in_every_build() {
        assert_eq!(term(Kind::Type, "order.placed"), -6_811_489_967_444_347_448);
        assert_ne!(term(Kind::Tag, "a"), term(Kind::Key, "a"));
    }

    #[test]
    fn patterns_of_streams_are_found_by_their_category() {
        let order = Lookup::Groups(vec![vec![term(Kind::Category, "order-")]]);
        assert_eq!((streams(&["order-*"]), streams(&["order-7"])), (order, streams(&["order-7-*"])));
        assert_eq!(streams(&["order"]), Lookup::Groups(vec![vec![term(Kind::Category, "order")]]));
        assert_eq!((streams(&["ord*"]), streams(&["*-1", "order-1"])), (Lookup::Scan, Lookup::Scan));
    }

    #[test]
    fn patterns_of_types_are_found_by_the_types_that_there_are() {
        let types = |glob: &str, known: &[&str]| {
            let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
            lookup(&FilterTerm { types: vec![Pattern::new(glob).unwrap()], ..FilterTerm::default() }, &known)
        };
        assert_eq!(types("a.*", &["a.b", "b.a"]), Lookup::Groups(vec![vec![term(Kind::Type, "a.b")]]));
        assert_eq!(types("a.*", &["b"]), Lookup::Nothing);
    }
}
