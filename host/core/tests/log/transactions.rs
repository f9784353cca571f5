//! Appends of several streams: all of it or nothing, and every mistake named.

use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{NewEvent, Offset};
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::log::publish::{Append, AppendError, Check, Transaction};
use wasmill_core::store::{AppendCondition, Expected};

use super::support::{append, event, host};

fn transaction(appends: Vec<Append>) -> Transaction {
    Transaction { appends, ..Transaction::default() }
}

fn tagged(tag: &str) -> Filter {
    Filter::new(vec![FilterTerm { tags: vec![tag.into()], ..FilterTerm::default() }])
}

/// The code, and where each mistake is.
fn mistakes(outcome: Result<Vec<wasmill_core::store::Appended>, AppendError>) -> (Code, Vec<String>) {
    let problem = Problem::from(outcome.expect_err("it is refused"));
    (problem.code, problem.details.into_iter().map(|detail| detail.at).collect())
}

#[tokio::test]
async fn appends_of_several_streams_happen_together() {
    let test = host().await;
    let answers = test.host.publisher.transact(transaction(vec![append("a", 2), append("b", 3)])).await.unwrap();
    let places: Vec<_> = answers.iter().map(|a| (a.stream.as_str(), a.first_offset.0, a.first_position.0)).collect();
    assert_eq!(places, [("a", 0, 0), ("b", 0, 2)]);
    let wrong = Append { expected: Expected::Exactly(Offset(7)), ..append("b", 1) };
    let outcome = test.host.publisher.transact(transaction(vec![append("a", 1), wrong])).await;
    assert_eq!(mistakes(outcome), (Code::WrongExpectedOffset, vec!["b".into()]));
    assert_eq!(test.log().await.len(), 5, "nothing of it was stored");
}

#[tokio::test]
async fn all_failing_checks_are_told_together() {
    let test = host().await;
    let publisher = &test.host.publisher;
    let mut marked = append("a", 1);
    marked.events[0].tags = vec!["seat:7".into()];
    publisher.append(marked).await.unwrap();
    let attempt = |seat: &str, expected| Transaction {
        appends: vec![append("b", 1)],
        checks: vec![Check { stream: "a".into(), expected }],
        conditions: vec![AppendCondition { query: tagged(seat), after: None }],
    };
    let outcome = publisher.transact(attempt("seat:7", Expected::NoStream)).await;
    assert_eq!(mistakes(outcome), (Code::WrongExpectedOffset, vec!["a".into(), "conditions[0]".into()]));
    let outcome = publisher.transact(attempt("seat:7", Expected::Exists)).await;
    assert_eq!(mistakes(outcome), (Code::AppendConditionFailed, vec!["conditions[0]".into()]));
    publisher.transact(attempt("seat:8", Expected::Exactly(Offset(0)))).await.unwrap();
}

#[tokio::test]
async fn every_mistake_of_a_transaction_is_named() {
    let test = host().await;
    let mut second = append("b", 2);
    second.events[1].key = Some(String::new());
    let appends = vec![append("a", 1), second, append("$c", 1), append("a", 0)];
    let checks = ["b", "x", "x"].map(|stream| Check { stream: stream.into(), expected: Expected::Any }).to_vec();
    let tags = (0..129).map(|n| n.to_string()).collect();
    let query = Filter::new(vec![FilterTerm { tags, ..FilterTerm::default() }]);
    let conditions = vec![AppendCondition { query: tagged("t"), after: None }, AppendCondition { query, after: None }];
    let outcome = test.host.publisher.transact(Transaction { appends, checks, conditions }).await;
    let (code, at) = mistakes(outcome);
    assert_eq!(code, Code::InvalidArgument);
    let expected = [
        "appends[2].stream",
        "appends[3].events",
        "conditions[1].query",
        "appends[3].stream",
        "checks[0].stream",
        "checks[2].stream",
        "appends[1].events[1].key",
    ];
    assert_eq!(at, expected);
    assert!(test.log().await.is_empty());
}

#[tokio::test]
async fn a_transaction_shares_the_bounds_of_an_append() {
    let test = host().await;
    let publisher = &test.host.publisher;
    let none = publisher.transact(Transaction::default()).await;
    assert_eq!(mistakes(none).0, Code::EmptyAppend);
    let many = publisher.transact(transaction(vec![append("a", 600), append("b", 401)])).await;
    assert!(matches!(many, Err(AppendError::TooManyEvents { events: 1_001 })));
    let streams = publisher.transact(transaction((0..101).map(|n| append(&format!("s-{n}"), 1)).collect())).await;
    assert_eq!(mistakes(streams), (Code::InvalidArgument, vec!["appends".into()]));
    let large = |stream: &str, id: u128| {
        let event = |n| NewEvent { data: Bytes::from(format!("\"{}\"", "x".repeat(900_000))), ..event(id + n) };
        Append { stream: stream.into(), events: (0..3).map(event).collect(), ..Append::default() }
    };
    let bytes = publisher.transact(transaction(vec![large("a", 10), large("b", 20)])).await;
    assert_eq!(mistakes(bytes).0, Code::AppendTooLarge);
    publisher.transact(transaction(vec![large("a", 10)])).await.unwrap();
}

#[tokio::test]
async fn an_id_stands_once_and_a_conflict_says_in_which_append() {
    let test = host().await;
    let publisher = &test.host.publisher;
    let of = |stream: &str, ids: &[u128]| Append {
        stream: stream.into(),
        events: ids.iter().map(|id| event(*id)).collect(),
        ..Append::default()
    };
    let twice = publisher.transact(transaction(vec![of("a", &[1, 2]), of("b", &[3, 2])])).await;
    assert_eq!(mistakes(twice), (Code::EventIdConflict, vec!["appends[1].events[1].id".into()]));
    let first = publisher.transact(transaction(vec![of("a", &[1]), of("b", &[2])])).await.unwrap();
    let again = publisher.transact(transaction(vec![of("a", &[1]), of("b", &[2])])).await.unwrap();
    assert!(again.iter().all(|answer| answer.duplicate), "a repeated transaction gets its first answer");
    assert_eq!(first[1].first_position, again[1].first_position);
    let taken = publisher.transact(transaction(vec![of("c", &[9, 2])])).await;
    assert_eq!(mistakes(taken), (Code::EventIdConflict, vec!["appends[0].events[1].id".into()]));
    let taken = publisher.append(of("c", &[9, 2])).await.map(|answer| vec![answer]);
    assert_eq!(mistakes(taken), (Code::EventIdConflict, vec!["events[1].id".into()]));
}

#[tokio::test]
async fn a_cause_in_another_append_passes_its_ids_on() {
    let test = host().await;
    let (mut cause, mut effect) = (event(1), event(2));
    cause.origin.correlation_id = Some("c".into());
    effect.origin.causation_id = Some(Uuid::from_u128(1).to_string());
    let of = |stream: &str, event| Append { stream: stream.into(), events: vec![event], ..Append::default() };
    test.host.publisher.transact(transaction(vec![of("a", cause), of("b", effect)])).await.unwrap();
    assert_eq!(test.log().await[1].correlation_id(), Some("c"));
}
