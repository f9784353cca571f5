//! Which events a reader wants.

use crate::event::Event;
use crate::name::Pattern;

/// Any of its terms may match; without terms it matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<FilterTerm>,
}

/// Each list that is not empty must have a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterTerm {
    pub streams: Vec<Pattern>,
    pub types: Vec<Pattern>,
}

impl Filter {
    pub fn new(terms: Vec<FilterTerm>) -> Self {
        let terms = if terms.iter().any(FilterTerm::matches_all) { Vec::new() } else { terms };
        Self { terms }
    }

    pub fn matches_all(&self) -> bool {
        self.terms.is_empty()
    }

    pub fn matches(&self, event: &Event) -> bool {
        self.terms.is_empty() || self.terms.iter().any(|term| term.matches(event))
    }
}

impl FilterTerm {
    fn matches_all(&self) -> bool {
        self.streams.is_empty() && self.types.is_empty()
    }

    fn matches(&self, event: &Event) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.is_empty() || patterns.iter().any(|p| p.matches(text));
        any(&self.types, event.event_type()) && any(&self.streams, event.stream())
    }
}
