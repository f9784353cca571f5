//! The parameters behind `?`, with an error that names each mistake.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use wasmill_core::clock::Timestamp;
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::read as limits;
use wasmill_core::log::filter::Filter;
use wasmill_core::name::Pattern;
use wasmill_core::store::Direction;
use wasmill_core::stream::lifecycle::DeleteMode;

use super::problem::Refusal;
use crate::access::TOKEN_PARAMETER;
use crate::convert::{self, Term};
use crate::pages::{Bound, NUMBER_MAX, Range};
use crate::publish::Durability;

/// Entries of a page when nothing is asked for.
pub(super) const PAGE_DEFAULT: usize = 100;

/// The parameters behind `?`. Each is taken by its name; at the end all mistakes are told at once,
/// unknown names included.
#[derive(Debug)]
pub(crate) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    problem: Problem,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::from_request_parts(parts, state).await;
        let refuse = |rejection: QueryRejection| {
            Problem::new(Code::InvalidArgument, "the query cannot be read").with("query", rejection.body_text())
        };
        let Query(given) = query.map_err(refuse)?;
        Ok(Self::new(given))
    }
}

impl Params {
    fn new(given: Vec<(String, String)>) -> Self {
        Self {
            given,
            known: Vec::new(),
            problem: Problem::new(Code::InvalidArgument, "parameters are not as they should be"),
        }
    }

    /// The token may stand here; it was looked at before.
    pub(crate) fn token(&mut self) {
        self.known.push(TOKEN_PARAMETER);
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        let value = values.next().cloned();
        if values.next().is_some() {
            self.refuse(name, "it stands there more than once");
        }
        value
    }

    /// As often as it stands there.
    pub(crate) fn every(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| given == name)
    }

    /// Values separated by commas, or given several times. In a value a comma is written `\,`.
    fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let values = self.given.iter().filter(|(given, _)| given == name).flat_map(|(_, list)| split(list));
        values.filter(|value| !value.is_empty()).collect()
    }

    /// Values given any number of times, each as it stands.
    pub(crate) fn each(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone()).collect()
    }

    /// An offset, a position or another number that JSON can carry.
    pub(crate) fn number(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(number) if number <= NUMBER_MAX => Some(number),
            Ok(_) | Err(_) => {
                self.refuse(name, format!("`{}` is not a whole number from 0 to {NUMBER_MAX}", text.escape_debug()));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let text = self.text(name)?;
        let flag = text.parse();
        if flag.is_err() {
            self.refuse(name, format!("`{}` is neither true nor false", text.escape_debug()));
        }
        flag.ok()
    }

    pub(crate) fn limit(&mut self, default: usize, max: usize) -> usize {
        match self.number("limit").map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)) {
            None => default,
            Some(limit) if (1..=max).contains(&limit) => limit,
            Some(limit) => {
                self.refuse("limit", format!("{limit} is out of range: 1 to {max}"));
                default
            }
        }
    }

    pub(crate) fn direction(&mut self) -> Direction {
        match self.text("direction").as_deref() {
            None | Some("forward") => Direction::Forward,
            Some("backward") => Direction::Backward,
            Some(other) => {
                self.refuse("direction", format!("`{}` is neither forward nor backward", other.escape_debug()));
                Direction::Forward
            }
        }
    }

    pub(crate) fn durability(&mut self) -> Durability {
        let given = self.text("durability");
        convert::durability(given.as_deref()).unwrap_or_else(|mistake| {
            self.refuse("durability", mistake);
            Durability::default()
        })
    }

    pub(crate) fn delete_mode(&mut self) -> DeleteMode {
        match self.text("mode").as_deref() {
            None | Some("soft") => DeleteMode::Soft,
            Some("hard") => DeleteMode::Hard,
            Some(other) => {
                self.refuse("mode", format!("`{}` is neither soft nor hard", other.escape_debug()));
                DeleteMode::Soft
            }
        }
    }

    pub(crate) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let text = self.text(name)?;
        let parsed = humantime::parse_duration(&text);
        if parsed.is_err() {
            self.refuse(name, format!("`{}` is not a time with its unit, such as 250ms or 5s", text.escape_debug()));
        }
        parsed.ok()
    }

    pub(crate) fn pattern(&mut self, name: &'static str) -> Option<Pattern> {
        let glob = self.text(name).filter(|glob| !glob.is_empty())?;
        Pattern::new(&glob).map_err(|error| self.refuse(name, error.to_string())).ok()
    }

    /// `streams` and `types`, globs, and `keys`, `tags` and `correlationIds`: an event must match one of
    /// each, and have every tag.
    pub(crate) fn filter(&mut self) -> Filter {
        let streams = self.texts("streams");
        self.filter_of(streams)
    }

    /// The same without `streams`, where there is only one.
    pub(crate) fn filter_in_stream(&mut self) -> Filter {
        self.filter_of(Vec::new())
    }

    fn filter_of(&mut self, streams: Vec<String>) -> Filter {
        let term = Term {
            streams,
            types: self.texts("types"),
            keys: self.texts("keys"),
            tags: self.texts("tags"),
            correlation_ids: self.texts("correlationIds"),
        };
        let at = |_, list: &str, _| if list == "correlation_ids" { "correlationIds".into() } else { list.to_owned() };
        convert::filter(&[term], "filter", at, &mut self.problem.details)
    }

    /// A place or a time, of which one may be given.
    pub(crate) fn bound<T>(&mut self, names: [&'static str; 2], place: fn(u64) -> T) -> Option<Bound<T>> {
        match (self.number(names[0]), self.time(names[1])) {
            (Some(_), Some(_)) => {
                self.refuse(names[1], format!("there is `{}` as well; give one of the two", names[0]));
                None
            }
            (Some(number), None) => Some(Bound::At(place(number))),
            (None, time) => time.map(Bound::Time),
        }
    }

    fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let parsed = text.parse::<jiff::Timestamp>();
        if parsed.is_err() {
            let given = text.escape_debug();
            self.refuse(name, format!("`{given}` is not a time as RFC 3339 writes it, such as 2013-01-01T05:15:00Z"));
        }
        parsed.ok().map(|time| Timestamp(time.as_microsecond()))
    }

    /// Lines go on to the end if no limit is asked for; a page does not.
    pub(crate) fn range<T>(&mut self, lines: bool, place: fn(u64) -> T) -> Range<T> {
        let from = self.bound(["from", "fromTime"], place);
        let until = self.bound(["until", "untilTime"], place);
        let direction = self.direction();
        let limit = match lines {
            true => match self.number("limit") {
                Some(0) => {
                    self.refuse("limit", "0 lines are none; leave it out for all");
                    None
                }
                limit => limit,
            },
            false => Some(self.limit(PAGE_DEFAULT, limits::PAGE_EVENTS_MAX) as u64),
        };
        Range { from, until, direction, limit }
    }

    pub(crate) fn refuse(&mut self, name: &'static str, message: impl Into<String>) {
        let problem = std::mem::replace(&mut self.problem, Problem::new(Code::InvalidArgument, ""));
        self.problem = problem.with(name, message);
    }

    /// All mistakes, if there are any.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        for (name, _) in &self.given {
            if !self.known.contains(&name.as_str()) && self.problem.details.len() < 20 {
                let known = if self.known.is_empty() { "none are".into() } else { self.known.join(", ") };
                let message = format!("there is no such parameter here; known: {known}");
                self.problem = self.problem.with(name.escape_debug().to_string(), message);
            }
        }
        if self.problem.details.is_empty() { Ok(()) } else { Err(Refusal(self.problem)) }
    }
}

fn split(list: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut rest = list.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ',' => values.push(String::new()),
            '\\' if rest.next_if_eq(&',').is_some() => values.last_mut().expect("one is always there").push(','),
            c => values.last_mut().expect("one is always there").push(c),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use wasmill_core::log::filter::FilterTerm;

    use super::*;

    fn params(query: &[(&str, &str)]) -> Params {
        Params::new(query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let mut query =
            params(&[("from", "-1"), ("limit", "0"), ("direction", "up"), ("colour", "red"), ("types", "a\u{7}")]);
        query.number("from");
        query.limit(10, 100);
        query.direction();
        query.filter();
        let problem = query.finish().unwrap_err().0;
        let at: Vec<_> = problem.details.iter().map(|detail| detail.at.as_str()).collect();
        assert_eq!(at, ["from", "limit", "direction", "types", "colour"]);
    }

    #[test]
    fn a_parameter_stands_once() {
        let mut query = params(&[("from", "1"), ("from", "2")]);
        query.number("from");
        assert!(query.finish().is_err());
    }

    #[test]
    fn globs_may_be_joined_or_repeated() {
        let mut query = params(&[("types", "a,b"), ("types", "c"), ("streams", "*")]);
        let terms = FilterTerm {
            streams: vec![Pattern::new("*").unwrap()],
            types: ["a", "b", "c"].map(|glob| Pattern::new(glob).unwrap()).into(),
            ..FilterTerm::default()
        };
        assert_eq!(query.filter(), Filter::new(vec![terms]));
        assert!(query.finish().is_ok());
    }

    #[test]
    fn a_comma_in_a_value_is_escaped() {
        let mut query = params(&[("tags", r"a\,b,c\d"), ("keys", "k")]);
        let terms =
            FilterTerm { keys: vec!["k".into()], tags: vec!["a,b".into(), r"c\d".into()], ..FilterTerm::default() };
        assert_eq!(query.filter(), Filter::new(vec![terms]));
    }

    #[test]
    fn a_place_and_a_time_exclude_each_other() {
        let at = |query: &[(&str, &str)]| -> Vec<String> {
            let mut query = params(query);
            let known: Range<u64> = query.range(false, |number| number);
            let details = query.finish().err().map_or_else(Vec::new, |refusal| refusal.0.details);
            assert!(!details.is_empty() || known.from.is_some());
            details.into_iter().map(|detail| detail.at).collect()
        };
        assert_eq!(at(&[("from", "1"), ("fromTime", "2026-01-01T00:00:00Z")]), ["fromTime"]);
        assert_eq!(at(&[("fromTime", "noon"), ("untilTime", "12")]), ["fromTime", "untilTime"]);
        assert_eq!(at(&[("fromTime", "2026-01-01T00:00:00.000001+01:00"), ("until", "7")]), [""; 0]);
    }
}
