//! Conversions that both faces share: names, filters and words as callers write them.

use wasmill_core::code::{Code, Detail, Problem};
use wasmill_core::group::Start;
use wasmill_core::limits::read::FILTER_TERMS_MAX;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::name::{InvalidName, Pattern, StreamName};
use wasmill_core::plugin::log::Level;

use crate::publish::Durability;

pub(crate) fn stream_name(name: &str) -> Result<StreamName, Problem> {
    let refuse = |error: InvalidName| {
        Problem::new(Code::InvalidName, format!("stream name: {error}")).with("stream", error.to_string())
    };
    StreamName::new(name).map_err(refuse)
}

/// A term of a filter as callers write it: two lists of globs, and three of texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Term {
    pub(crate) streams: Vec<String>,
    pub(crate) types: Vec<String>,
    pub(crate) keys: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) correlation_ids: Vec<String>,
}

/// Reads a filter, the place of which is called `whole`. Every mistake is added to `wrong`, where `at`
/// says which place an entry of a list has: its term, the list's name, its index in it.
pub(crate) fn filter(
    terms: &[Term],
    whole: &str,
    at: impl Fn(usize, &str, usize) -> String,
    wrong: &mut Vec<Detail>,
) -> Filter {
    let terms: Vec<FilterTerm> =
        terms.iter().zip(0..).map(|(term, n)| read_term(term, |list, index| at(n, list, index), wrong)).collect();
    let entries: usize = terms.iter().map(FilterTerm::entry_count).sum();
    if entries.max(terms.len()) > FILTER_TERMS_MAX {
        let message = format!("it has {entries} entries in {} terms; the limit is {FILTER_TERMS_MAX}", terms.len());
        wrong.push(detail(whole, message));
    }
    Filter::new(terms)
}

fn read_term(term: &Term, at: impl Fn(&str, usize) -> String, wrong: &mut Vec<Detail>) -> FilterTerm {
    let mut globs = |texts: &[String], list: &str| -> Vec<Pattern> {
        let read = |(index, text): (usize, &String)| {
            let pattern = Pattern::new(text);
            pattern.map_err(|error| wrong.push(detail(at(list, index), quoted(text, &error.to_string())))).ok()
        };
        texts.iter().enumerate().filter_map(read).collect()
    };
    let (streams, types) = (globs(&term.streams, "streams"), globs(&term.types, "types"));
    // What no event can have is a mistake, and some databases do not take U+0000.
    let mut exact = |texts: &[String], list: &str| -> Vec<String> {
        for (index, text) in texts.iter().enumerate() {
            if text.is_empty() {
                wrong.push(detail(at(list, index), "it is empty"));
            } else if text.contains(char::is_control) {
                wrong.push(detail(at(list, index), quoted(text, "it has a control character")));
            }
        }
        texts.to_vec()
    };
    FilterTerm {
        streams,
        types,
        keys: exact(&term.keys, "keys"),
        tags: exact(&term.tags, "tags"),
        correlation_ids: exact(&term.correlation_ids, "correlation_ids"),
    }
}

fn quoted(text: &str, message: &str) -> String {
    if text.is_empty() { message.to_owned() } else { format!("`{}`: {message}", text.escape_debug()) }
}

pub(crate) fn detail(at: impl Into<String>, message: impl Into<String>) -> Detail {
    Detail { at: at.into(), message: message.into(), facts: Vec::new() }
}

/// When an append is to be answered; durable if nothing is said.
pub(crate) fn durability(word: Option<&str>) -> Result<Durability, String> {
    match word {
        None | Some("durable") => Ok(Durability::Durable),
        Some("queued") => Ok(Durability::Queued),
        Some(other) => Err(format!("`{}` is neither durable nor queued", other.escape_debug())),
    }
}

/// A place in the log as it is written in one word: `first`, `last`, a position, or a time as RFC 3339 writes it.
pub(crate) fn place(text: &str) -> Result<Start, String> {
    match text {
        "first" => Ok(Start::First),
        "last" => Ok(Start::Last),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map(Start::Position).map_err(|_| "it is no position".to_owned())
        }
        text => {
            let time = text.parse::<jiff::Timestamp>().map_err(|_| {
                "it is neither first, last, a position, nor a time such as 2013-01-01T05:15:00Z".to_owned()
            })?;
            Ok(Start::Time(time.as_microsecond()))
        }
    }
}

/// The least level of log lines that are wanted; empty for all.
pub(crate) fn level(level: &str) -> Result<Level, String> {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    if level.is_empty() {
        return Ok(Level::Trace);
    }
    let known = levels.into_iter().find(|known| known.as_str() == level);
    known.ok_or_else(|| format!("`{}` is not a level: trace, debug, info, warn, error", level.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_wrong_entry_of_a_filter_is_named() {
        let first = Term { streams: texts(&["order-*", ""]), tags: texts(&["a\u{0}"]), ..Term::default() };
        let second = Term { types: texts(&["a\u{7}"]), correlation_ids: texts(&["c", ""]), ..Term::default() };
        let mut wrong = Vec::new();
        filter(&[first, second], "filter", |term, list, index| format!("{term}.{list}[{index}]"), &mut wrong);
        let at: Vec<_> = wrong.iter().map(|detail| detail.at.as_str()).collect();
        assert_eq!(at, ["0.streams[1]", "0.tags[0]", "1.types[0]", "1.correlation_ids[1]"]);
    }

    #[test]
    fn a_filter_has_a_bounded_number_of_entries() {
        let keys = (0..=FILTER_TERMS_MAX).map(|n| n.to_string()).collect();
        for terms in [vec![Term { keys, ..Term::default() }], vec![Term::default(); FILTER_TERMS_MAX + 1]] {
            let mut wrong = Vec::new();
            filter(&terms, "filter", |_, _, _| String::new(), &mut wrong);
            assert_eq!(wrong.iter().map(|detail| detail.at.as_str()).collect::<Vec<_>>(), ["filter"]);
        }
    }
}
