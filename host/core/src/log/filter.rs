//! Which events a reader wants, or an append condition looks for.

use crate::event::Event;
use crate::name::Pattern;

/// Any of its terms may match; without terms it matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    terms: Vec<FilterTerm>,
}

/// Each list that is not empty must have a match; of `tags`, each tag must be on the event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterTerm {
    pub streams: Vec<Pattern>,
    pub types: Vec<Pattern>,
    /// An event without a key has its stream's name as key.
    pub keys: Vec<String>,
    pub tags: Vec<String>,
    pub correlation_ids: Vec<String>,
}

impl Filter {
    pub fn new(terms: Vec<FilterTerm>) -> Self {
        let terms = if terms.iter().any(FilterTerm::matches_all) { Vec::new() } else { terms };
        Self { terms }
    }

    /// Empty when every event matches.
    pub fn terms(&self) -> &[FilterTerm] {
        &self.terms
    }

    pub fn matches_all(&self) -> bool {
        self.terms.is_empty()
    }

    /// A filter that also matches what becomes a match when it is lifted: `sources` says from which types.
    pub(crate) fn before_lifting(&self, sources: impl Fn(&Pattern) -> Vec<Pattern>) -> Self {
        let widened = |term: &FilterTerm| {
            let mut types = term.types.clone();
            types.extend(term.types.iter().flat_map(&sources));
            types.sort_unstable();
            types.dedup();
            FilterTerm { types, ..term.clone() }
        };
        Self { terms: self.terms.iter().map(widened).collect() }
    }

    pub fn matches(&self, event: &Event) -> bool {
        self.terms.is_empty() || self.terms.iter().any(|term| term.matches(event))
    }
}

impl FilterTerm {
    pub fn matches_all(&self) -> bool {
        *self == Self::default()
    }

    /// Entries of all its lists.
    pub fn entry_count(&self) -> usize {
        self.streams.len() + self.types.len() + self.keys.len() + self.tags.len() + self.correlation_ids.len()
    }

    pub fn matches(&self, event: &Event) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.is_empty() || patterns.iter().any(|p| p.matches(text));
        let one_of = |texts: &[String], text: &str| texts.is_empty() || texts.iter().any(|t| t == text);
        any(&self.types, event.event_type())
            && any(&self.streams, event.stream())
            && one_of(&self.keys, event.key().unwrap_or(event.stream()))
            && (self.correlation_ids.is_empty()
                || event.correlation_id().is_some_and(|id| one_of(&self.correlation_ids, id)))
            && self.tags.iter().all(|tag| event.has_tag(tag))
    }
}
