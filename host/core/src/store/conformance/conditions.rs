//! Append conditions, after the rules of <https://dcb.events/specification>.

use uuid::Uuid;

use super::{NOW, commit, commit_one, log};
use crate::event::{NewEvent, Position, PreparedEvent};
use crate::log::filter::{Filter, FilterTerm};
use crate::name::{Pattern, StreamName};
use crate::store::{AppendCondition, Expected, FailedCondition, Rejection, Store, StreamAppend, StreamCheck, Unit};

/// One event of its own id.
pub(super) fn tagged(stream: &str, seed: u128, event_type: &str, tags: &[&str]) -> Unit {
    let name = StreamName::from_stored(stream);
    let event = NewEvent {
        id: Uuid::from_u128(seed),
        event_type: event_type.into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..NewEvent::default()
    };
    let events = [PreparedEvent::encode(&event, &name, NOW)].into();
    Unit::append(StreamAppend { stream: name, expected: Expected::Any, events })
}

pub(super) fn term(types: &[&str], tags: &[&str]) -> FilterTerm {
    FilterTerm {
        types: types.iter().map(|glob| Pattern::new(glob).expect("a valid glob")).collect(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..FilterTerm::default()
    }
}

pub(super) fn condition(terms: Vec<FilterTerm>, after: Option<u64>) -> AppendCondition {
    AppendCondition { query: Filter::new(terms), after: after.map(Position) }
}

pub(super) fn with(unit: Unit, conditions: Vec<AppendCondition>) -> Unit {
    Unit { conditions, ..unit }
}

/// Whether a unit with this condition would pass, found out with one that stores nothing.
async fn holds(store: &impl Store, condition: AppendCondition) -> bool {
    commit(store, &[with(Unit::default(), vec![condition])]).await.remove(0).is_ok()
}

pub(super) async fn a_query_matches_types_and_tags(store: &impl Store) {
    commit_one(store, tagged("c", 1, "course.defined", &["course:1"])).await;
    commit_one(store, tagged("c", 2, "student.enrolled", &["course:1", "student:1"])).await;
    commit_one(store, tagged("d", 3, "course.defined", &["course:2"])).await;
    for (terms, matches, rule) in [
        (vec![term(&["course.defined"], &[])], true, "an event of the type"),
        (vec![term(&["course.moved"], &[])], false, "no event of the type"),
        (vec![term(&["course.moved", "student.enrolled"], &[])], true, "types of an item are alternatives"),
        (vec![term(&[], &["course:2"])], true, "an event with the tag"),
        (vec![term(&[], &["course:1", "student:1"])], true, "all tags of an item are on one event"),
        (vec![term(&[], &["course:2", "student:1"])], false, "each tag is on an event, but on no event are both"),
        (vec![term(&["course.defined"], &["student:1"])], false, "type and tags have to match one event"),
        (vec![term(&["course.moved"], &[]), term(&[], &["course:2"])], true, "items are alternatives"),
        (vec![term(&["course.*"], &["course:2"])], true, "types may be patterns"),
        (vec![], true, "a query without items matches every event"),
    ] {
        assert_eq!(!holds(store, condition(terms, None)).await, matches, "{rule}");
    }
}

pub(super) async fn only_later_events_break_a_condition(store: &impl Store) {
    assert!(holds(store, condition(vec![], None)).await, "in an empty log every condition holds");
    for n in 0..5 {
        commit_one(store, tagged("c", n + 1, "t", &[if n == 2 { "wanted" } else { "other" }])).await;
    }
    let wanted = |after| condition(vec![term(&[], &["wanted"])], after);
    assert!(!holds(store, wanted(None)).await && !holds(store, wanted(Some(1))).await, "a later event breaks it");
    assert!(holds(store, wanted(Some(2))).await, "the event at `after` itself was known");
    assert!(holds(store, wanted(Some(99))).await, "beyond the end there is nothing");
    let conditions = vec![wanted(Some(3)), wanted(Some(0)), condition(vec![term(&["t"], &[])], Some(3))];
    let check = StreamCheck { stream: StreamName::from_stored("c"), expected: Expected::NoStream };
    let unit = Unit { checks: vec![check], ..with(tagged("c", 9, "t", &[]), conditions) };
    let outcome = commit(store, &[unit]).await.remove(0);
    let Err(Rejection::ChecksFailed { offsets, conditions }) = outcome else { panic!("it is turned away") };
    assert_eq!(offsets.len(), 1, "failing offsets and conditions are told together");
    let failed =
        [FailedCondition { index: 1, position: Position(2) }, FailedCondition { index: 2, position: Position(4) }];
    assert_eq!(conditions, failed, "all failing conditions are told, each with an event");
    assert_eq!(log(store).await.len(), 5, "nothing was appended");
}

pub(super) async fn of_parallel_conditional_appends_one_wins(store: &impl Store) {
    let claim =
        |n: u128| with(tagged("seat", n, "claimed", &["seat:7"]), vec![condition(vec![term(&[], &["seat:7"])], None)]);
    let outcomes = commit(store, &[claim(1), claim(2), claim(3)]).await;
    let won: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(won, [true, false, false], "a condition sees the units before it in its group");
    assert!(commit(store, &[claim(4)]).await[0].is_err(), "and what was committed before");
    let again = commit(store, &[claim(1)]).await.remove(0);
    assert!(again.is_ok_and(|c| c.appends[0].duplicate), "a repeated append gets its first answer, unchecked");
    let unrelated =
        with(tagged("seat", 5, "claimed", &["seat:8"]), vec![condition(vec![term(&[], &["seat:8"])], None)]);
    assert!(commit(store, &[unrelated]).await[0].is_ok(), "what does not match is not in the way");
}

pub(super) async fn an_append_does_not_break_its_own_condition(store: &impl Store) {
    let own = with(tagged("s", 1, "t", &["a"]), vec![condition(vec![term(&[], &["a"])], None)]);
    assert!(commit(store, &[own]).await[0].is_ok());
}
