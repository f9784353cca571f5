//! Transactions as publishers write them in JSON: one document, over HTTP or in a file.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use wasmill_core::code::{Code, Detail, Problem};
use wasmill_core::event::{NewEvent, Offset, Position};
use wasmill_core::limits::publish as limits;
use wasmill_core::log::publish::{Append, Check, Transaction};
use wasmill_core::store::{AppendCondition, Expected};

use super::event_in::{self, Defaults, MISTAKES_MAX};
use crate::convert::{self, Term, detail};
use crate::pages::NUMBER_MAX;
use crate::publish::Durability;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TransactionJson<'a> {
    #[serde(borrow)]
    appends: Vec<AppendJson<'a>>,
    #[serde(default)]
    checks: Vec<CheckJson>,
    #[serde(default)]
    conditions: Vec<ConditionJson>,
    durability: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AppendJson<'a> {
    stream: String,
    expected_offset: Option<Value>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckJson {
    stream: String,
    expected_offset: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConditionJson {
    query: Vec<TermJson>,
    after: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TermJson {
    streams: Vec<String>,
    types: Vec<String>,
    keys: Vec<String>,
    tags: Vec<String>,
    correlation_ids: Vec<String>,
}

/// Reads the document, and names all that is wrong with it.
pub(crate) fn read(body: &[u8], defaults: &Defaults) -> Result<(Transaction, Durability), Problem> {
    let text = event_in::utf8(body)?;
    let json: TransactionJson = serde_json::from_str(text).map_err(|error| misshapen(&error))?;
    let count: usize = json.appends.iter().map(|append| append.events.len()).sum();
    if count > limits::APPEND_EVENTS_MAX {
        let max = limits::APPEND_EVENTS_MAX;
        let message = format!("a transaction has 1 to {max} events; this one has {count}");
        return Err(Problem::new(Code::AppendTooLarge, message));
    }
    let (mut shape, mut of_events) = (Vec::new(), Vec::new());
    let mut appends = Vec::with_capacity(json.appends.len());
    for (index, AppendJson { stream, expected_offset, events }) in json.appends.into_iter().enumerate() {
        let at = format!("appends[{index}].expected_offset");
        let expected = expected_offset.map_or(Expected::Any, |given| expected(&given, &at, &mut shape));
        let events = read_events(text, index, &events, defaults, &mut of_events);
        appends.push(Append { stream, expected, events });
    }
    let mut checks = Vec::with_capacity(json.checks.len());
    for (index, CheckJson { stream, expected_offset }) in json.checks.into_iter().enumerate() {
        let at = format!("checks[{index}].expected_offset");
        checks.push(Check { stream, expected: expected(&expected_offset, &at, &mut shape) });
    }
    let conditions = json.conditions.into_iter().enumerate();
    let conditions = conditions.map(|(index, json)| condition(json, index, &mut shape)).collect();
    let durability = convert::durability(json.durability.as_deref()).unwrap_or_else(|mistake| {
        shape.push(detail("durability", mistake));
        Durability::default()
    });
    let (code, message) = match (shape.is_empty(), of_events.is_empty()) {
        (true, true) => return Ok((Transaction { appends, checks, conditions }, durability)),
        (true, false) => (Code::InvalidEvent, "events break the rules; nothing was appended"),
        (false, _) => (Code::InvalidArgument, "the transaction breaks the rules; nothing was appended"),
    };
    shape.append(&mut of_events);
    shape.truncate(MISTAKES_MAX);
    Err(Problem { code, message: message.into(), details: shape })
}

/// What is JSON but no transaction is not allowed; what is no JSON cannot be read.
fn misshapen(error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return event_in::malformed(error, 0);
    }
    let (cause, line, column) = (event_in::cause(error), error.line(), error.column());
    Problem::new(Code::InvalidArgument, format!("not a transaction at line {line} column {column}: {cause}"))
}

fn read_events(
    body: &str,
    append: usize,
    events: &[&RawValue],
    defaults: &Defaults,
    wrong: &mut Vec<Detail>,
) -> Vec<NewEvent> {
    let mut read = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let id = event_in::derived_id(defaults, &format!("{append}/{index}"));
        match event_in::event(body, event.get(), id, defaults) {
            Ok(event) => read.push(event),
            Err(mistakes) => wrong.extend(
                mistakes
                    .into_iter()
                    .map(|(field, message)| detail(format!("appends[{append}].events[{index}]{field}"), message)),
            ),
        }
    }
    read
}

/// The offset of the stream's last event, or a word for it.
fn expected(given: &Value, at: &str, wrong: &mut Vec<Detail>) -> Expected {
    let offset = given.as_u64().filter(|offset| *offset <= NUMBER_MAX);
    match (offset, given.as_str()) {
        (Some(offset), _) => Expected::Exactly(Offset(offset)),
        (None, Some("no_stream")) => Expected::NoStream,
        (None, Some("exists")) => Expected::Exists,
        (None, _) => {
            let message =
                format!("{given} is neither an offset nor \"no_stream\" nor \"exists\"; leave it out for any");
            wrong.push(detail(at, message));
            Expected::Any
        }
    }
}

fn condition(json: ConditionJson, index: usize, wrong: &mut Vec<Detail>) -> AppendCondition {
    let term =
        |TermJson { streams, types, keys, tags, correlation_ids }| Term { streams, types, keys, tags, correlation_ids };
    let terms: Vec<Term> = json.query.into_iter().map(term).collect();
    let whole = format!("conditions[{index}].query");
    let at = |term, list: &str, entry| format!("{whole}[{term}].{list}[{entry}]");
    let query = convert::filter(&terms, &whole, at, wrong);
    if json.after.is_some_and(|after| after > NUMBER_MAX) {
        wrong.push(detail(format!("conditions[{index}].after"), format!("it is no position: 0 to {NUMBER_MAX}")));
    }
    AppendCondition { query, after: json.after.map(Position) }
}

#[cfg(test)]
mod tests {
    use wasmill_core::log::filter::{Filter, FilterTerm};

    use super::*;

    fn parse(text: &str) -> Result<(Transaction, Durability), Problem> {
        read(text.as_bytes(), &Defaults { idempotency_key: Some("k".into()), ..Defaults::default() })
    }

    #[test]
    fn every_part_of_a_transaction_is_read() {
        let (transaction, durability) = parse(
            r#"{"appends":[{"stream":"a","expectedOffset":7,"events":[{"type":"t","data":{ "x": 1.0 }}]},
                {"stream":"b","expectedOffset":"no_stream","events":[{"type":"t","data":1},{"type":"t","data":2}]}],
                "checks":[{"stream":"c","expectedOffset":"exists"}],
                "conditions":[{"query":[{"tags":["x","y"]},{"types":["t"]}],"after":9},{"query":[]}],
                "durability":"queued"}"#,
        )
        .unwrap();
        let Transaction { appends, checks, conditions } = transaction;
        let expected: Vec<_> = appends.iter().map(|append| append.expected).collect();
        assert_eq!(expected, [Expected::Exactly(Offset(7)), Expected::NoStream]);
        assert_eq!(&appends[0].events[0].data[..], br#"{ "x": 1.0 }"#, "the text of data is kept as it is");
        let ids: std::collections::BTreeSet<_> = appends.iter().flat_map(|a| a.events.iter().map(|e| e.id)).collect();
        assert_eq!(ids.len(), 3, "the key makes an id for each event");
        assert_eq!(checks, [Check { stream: "c".into(), expected: Expected::Exists }]);
        let tags = FilterTerm { tags: vec!["x".into(), "y".into()], ..FilterTerm::default() };
        let types = FilterTerm { types: vec![wasmill_core::name::Pattern::new("t").unwrap()], ..FilterTerm::default() };
        let first = AppendCondition { query: Filter::new(vec![tags, types]), after: Some(Position(9)) };
        assert_eq!(conditions, [first, AppendCondition { query: Filter::default(), after: None }]);
        assert_eq!(durability, Durability::Queued);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let problem = parse(
            r#"{"appends":[{"stream":"a","expectedOffset":-1,"events":[{"type":"t"}]}],"durability":"fast",
                "checks":[{"stream":"b","expectedOffset":"gone"}],"conditions":[{"query":[{"correlationIds":[""]}]}]}"#,
        )
        .unwrap_err();
        let at: Vec<_> = problem.details.iter().map(|detail| detail.at.as_str()).collect();
        let expected = [
            "appends[0].expected_offset",
            "checks[0].expected_offset",
            "conditions[0].query[0].correlation_ids[0]",
            "durability",
            "appends[0].events[0].data",
        ];
        assert_eq!((problem.code, at.as_slice()), (Code::InvalidArgument, &expected[..]));
    }

    #[test]
    fn what_is_no_transaction_is_pointed_at() {
        for (text, code, words) in [
            ("[1]", Code::InvalidArgument, "line 1"),
            ("{\n\"appends\":[],\"colour\":1}", Code::InvalidArgument, "line 2 column 21: unknown field `colour`"),
            (r#"{"conditions":[{"after":1}],"appends":[]}"#, Code::InvalidArgument, "missing field `query`"),
            (r#"{"appends":[]"#, Code::MalformedBody, "line 1"),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.code, code, "{text}");
            assert!(problem.message.contains(words), "{words}: {}", problem.message);
        }
        assert_eq!(
            parse(r#"{"appends":[{"stream":"a","events":[{"colour":1}]}]}"#).unwrap_err().code,
            Code::InvalidEvent
        );
    }
}
