//! Append conditions and transactions: the rules of <https://dcb.events/specification>, over both faces.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;
use wasmill_server::proto::expected::Kind as ExpectedKind;
use wasmill_server::proto::{
    AppendCondition, AppendRequest, Durability, Expected, Filter, FilterTerm, GetLogRequest, NewEvent, StreamAppend,
    StreamCheck, TransactRequest,
};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

const TRANSACTIONS: &str = "/api/transactions";

fn event(event_type: &str, tags: &[&str]) -> NewEvent {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    NewEvent { r#type: event_type.into(), data: "{}".into(), tags, ..NewEvent::default() }
}

fn term(types: &[&str], tags: &[&str]) -> FilterTerm {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    FilterTerm { types: owned(types), tags: owned(tags), ..FilterTerm::default() }
}

fn none_matches(terms: Vec<FilterTerm>, after: Option<u64>) -> AppendCondition {
    AppendCondition { query: Some(Filter { terms }), after }
}

fn append(stream: &str, events: Vec<NewEvent>, conditions: Vec<AppendCondition>) -> AppendRequest {
    AppendRequest { stream: stream.into(), events, conditions, ..AppendRequest::default() }
}

/// The same document as a request over HTTP would be.
fn document(stream: &str, term: &FilterTerm, after: Option<u64>) -> String {
    let query = json!([{ "types": term.types, "tags": term.tags }]);
    let condition = match after {
        Some(after) => json!({ "query": query, "after": after }),
        None => json!({ "query": query }),
    };
    let events = json!([{ "type": "c", "data": {} }]);
    json!({ "appends": [{ "stream": stream, "events": events }], "conditions": [condition] }).to_string()
}

async fn next_position(host: &TestHost) -> u64 {
    host.log().await.get_log(GetLogRequest {}).await.expect("answered").into_inner().next_position
}

async fn transact(host: &TestHost, document: impl Into<reqwest::Body>) -> (u16, Value) {
    host.post(TRANSACTIONS, "application/json", document).await
}

/// Types of a term are alternatives, its tags are not; `after` leaves out what was known; and a condition
/// says the same over both faces.
#[tokio::test]
async fn a_condition_fails_exactly_when_an_event_behind_its_position_matches() {
    let host = TestHost::start().await;
    let mut log = host.log().await;
    // Positions 0, 1 and 2.
    for (event_type, tags) in [("a", &["x", "y"][..]), ("b", &["x"]), ("a", &[])] {
        log.append(append("s", vec![event(event_type, tags)], Vec::new())).await.expect("taken");
    }
    let cases: [(FilterTerm, Option<u64>, Option<u64>); 12] = [
        (term(&["a"], &[]), None, Some(0)),
        (term(&["nothing"], &[]), None, None),
        (term(&["a", "b"], &["x"]), None, Some(0)),
        (term(&["a", "b"], &["x"]), Some(0), Some(1)),
        (term(&["a", "b"], &["x"]), Some(1), None),
        (term(&["b"], &["x", "y"]), None, None),
        (term(&[], &["x", "y"]), None, Some(0)),
        (term(&[], &["x", "y"]), Some(0), None),
        (term(&["a"], &[]), Some(1), Some(2)),
        (term(&["a"], &[]), Some(2), None),
        (term(&["*"], &[]), Some(1), Some(2)),
        (term(&["a"], &["x"]), Some(u64::from(u32::MAX)), None),
    ];
    let condition = |case: &FilterTerm, after| vec![none_matches(vec![case.clone()], after)];
    for (case, after, matching) in cases {
        let before = next_position(&host).await;
        // Those that pass leave events that no case looks for.
        let answer = log.append(append("other", vec![event("c", &["z"])], condition(&case, after))).await;
        let (status, body) = transact(&host, document("another", &case, after)).await;
        let Some(position) = matching else {
            // A glob for every type sees what the first of the two has appended.
            assert!(answer.is_ok(), "{case:?} after {after:?}: {answer:?}");
            assert_eq!(status, 201, "{case:?} after {after:?}: {body}");
            continue;
        };
        let refused = answer.expect_err("it does not hold");
        let details = refused.get_error_details();
        let info = details.error_info().expect("a reason");
        assert_eq!((refused.code(), info.reason.as_str()), (Code::FailedPrecondition, "append_condition_failed"));
        let violation = &details.precondition_failure().expect("a violation").violations[0];
        assert_eq!(violation.subject, "conditions[0]");
        assert_eq!((status, &body["code"]), (412, &json!("append_condition_failed")), "{body}");
        assert_eq!(body["details"][0]["at"], "conditions[0]");
        assert!(after.is_none_or(|after| position > after));
        assert!(body["details"][0]["facts"]["position"].as_u64().is_some_and(|found| found >= position), "{body}");
        assert_eq!(next_position(&host).await, before, "nothing was stored");
    }
    let all = log.append(append("s", vec![event("c", &[])], vec![none_matches(Vec::new(), None)])).await;
    assert!(all.is_err(), "without terms every event matches");
    let last = next_position(&host).await - 1;
    let all = log.append(append("s", vec![event("c", &[])], vec![none_matches(Vec::new(), Some(last))])).await;
    assert!(all.is_ok(), "{all:?}");
    let terms = vec![term(&["nothing"], &[]), term(&["b"], &[])];
    let either = log.append(append("s", vec![event("c", &[])], vec![none_matches(terms, None)])).await;
    assert!(either.is_err(), "terms are alternatives");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_parallel_conditional_appends_exactly_one_wins() {
    let host = TestHost::start().await;
    for round in 0..5 {
        let tag = format!("seat:{round}");
        let term = term(&["c"], &[&tag]);
        let attempts = (0..50).map(|n| {
            let (host, term, tag) = (&host, term.clone(), tag.clone());
            async move {
                let stream = format!("guest-{n}");
                if n % 2 == 0 {
                    let request = append(&stream, vec![event("c", &[&tag])], vec![none_matches(vec![term], None)]);
                    let answer = host.log().await.append(request).await;
                    return answer.map_err(|refused| assert_eq!(refused.code(), Code::FailedPrecondition)).is_ok();
                }
                let events = json!([{ "type": "c", "tags": [tag], "data": {} }]);
                let condition = json!({ "query": [{ "types": term.types, "tags": term.tags }] });
                let appends = json!([{ "stream": stream, "events": events }]);
                let document = json!({ "appends": appends, "conditions": [condition] });
                let (status, body) = transact(host, document.to_string()).await;
                assert!(status == 201 || status == 412, "{status} {body}");
                status == 201
            }
        });
        let won = join_all(attempts).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "round {round}");
        let (_, page) = host.get(&format!("/api/events?tags={tag}")).await;
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
    }
}

#[tokio::test]
async fn a_transaction_is_stored_whole_or_not_and_all_that_fails_is_told() {
    let host = TestHost::start().await;
    let mut log = host.log().await;
    log.append(append("a", vec![event("t", &["x"])], Vec::new())).await.expect("taken");
    let exactly = |offset| Some(Expected { kind: Some(ExpectedKind::Offset(offset)) });
    let request = |offset, checked, tag: &str| TransactRequest {
        appends: vec![
            StreamAppend { stream: "a".into(), expected: exactly(offset), events: vec![event("t", &[])] },
            StreamAppend { stream: "b".into(), expected: None, events: vec![event("t", &[]), event("t", &[])] },
        ],
        checks: vec![StreamCheck { stream: "c".into(), expected: Some(Expected { kind: Some(checked) }) }],
        conditions: vec![
            none_matches(vec![term(&[], &["nothing"])], None),
            none_matches(vec![term(&[], &[tag])], None),
        ],
        durability: Durability::Unspecified.into(),
    };
    let refused = log.transact(request(7, ExpectedKind::Exists(true), "x")).await.expect_err("nothing holds");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().expect("a reason").reason, "wrong_expected_offset");
    let violations = &details.precondition_failure().expect("violations").violations;
    let subjects: Vec<_> = violations.iter().map(|violation| violation.subject.as_str()).collect();
    assert_eq!(subjects, ["a", "c", "conditions[1]"], "{violations:?}");
    assert_eq!(next_position(&host).await, 1, "nothing was stored");

    let document = json!({
        "appends": [{ "stream": "a", "expectedOffset": 7, "events": [{ "type": "t", "data": 1 }] },
                    { "stream": "b", "events": [{ "type": "t", "data": 1 }] }],
        "checks": [{ "stream": "c", "expectedOffset": "exists" }],
        "conditions": [{ "query": [{ "tags": ["nothing"] }] }, { "query": [{ "tags": ["x"] }] }],
    });
    let (status, problem) = transact(&host, document.to_string()).await;
    let at: Vec<_> = problem["details"].as_array().expect("details").iter().map(|detail| &detail["at"]).collect();
    assert_eq!((status, at), (412, vec![&json!("a"), &json!("c"), &json!("conditions[1]")]), "{problem}");
    assert_eq!(problem["details"][0]["facts"], json!({ "expectedOffset": 7, "actualOffset": 0 }));
    assert_eq!(next_position(&host).await, 1, "nothing was stored");

    let answer = log.transact(request(0, ExpectedKind::NoStream(true), "y")).await.expect("all holds").into_inner();
    let places: Vec<_> = answer.appends.iter().map(|append| (append.first_offset, append.first_position)).collect();
    assert_eq!(places, [(1, 1), (0, 2)]);
}

#[tokio::test]
async fn a_transaction_that_is_repeated_gets_its_first_answer() {
    let host = TestHost::start().await;
    let events = vec![NewEvent { id: Uuid::now_v7().to_string(), ..event("t", &["x"]) }];
    let request = append("a", events, vec![none_matches(vec![term(&[], &["x"])], None)]);
    let mut log = host.log().await;
    let first = log.append(request.clone()).await.expect("it holds").into_inner();
    let again = log.append(request).await.expect("what is stored is not checked again").into_inner();
    assert!(again.duplicate && again.first_position == first.first_position);

    let document = r#"{"appends":[{"stream":"b","expectedOffset":"no_stream","events":[{"type":"t","data":1}]},
        {"stream":"c","events":[{"type":"t","data":1},{"type":"t","data":1}]}]}"#;
    let keyed = |key: &'static str| {
        let request = reqwest::Client::new().post(host.path(TRANSACTIONS)).header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(document);
        async move { request.send().await.expect("an answer").json::<Value>().await.expect("JSON") }
    };
    let (first, again) = (keyed("k").await, keyed("k").await);
    for append in 0..2 {
        let (first, again) = (&first["appends"][append], &again["appends"][append]);
        assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)), "{first} {again}");
        assert_eq!(first["firstPosition"], again["firstPosition"]);
    }
    let other = keyed("another").await;
    assert_eq!(other["code"], "wrong_expected_offset", "{other}");
}

#[tokio::test]
async fn what_is_wrong_with_a_transaction_is_named() {
    let host = TestHost::start().await;
    let event = json!({ "type": "t", "data": 1 });
    for (document, status, code, words) in [
        (json!({ "appends": [] }), 400, "empty_append", "1 to 1000"),
        (json!({}), 400, "invalid_argument", "missing field `appends`"),
        (
            json!({ "appends": [{ "stream": "a", "events": [{ "type": "t" }] }] }),
            400,
            "invalid_event",
            "appends[0].events[0].data",
        ),
        (
            json!({ "appends": [{ "stream": "a", "events": [event] }, { "stream": "a", "events": [event] }] }),
            400,
            "invalid_argument",
            "appends[1].stream",
        ),
        (
            json!({ "appends": [{ "stream": "a", "events": [event] }], "conditions": [{ "query": [{ "types": [""] }] }] }),
            400,
            "invalid_argument",
            "conditions[0].query[0].types[0]",
        ),
        (
            json!({ "appends": [{ "stream": "a", "events": [event] }], "conditions": vec![json!({ "query": [] }); 17] }),
            400,
            "invalid_argument",
            "17",
        ),
        (json!({ "appends": [{ "stream": "a", "events": vec![&event; 1_001] }] }), 413, "append_too_large", "1001"),
    ] {
        let (given, problem) = transact(&host, document.to_string()).await;
        assert_eq!((given, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert!(problem.to_string().contains(words), "{words}: {problem}");
    }
    assert_eq!(next_position(&host).await, 0);
    let condition = AppendCondition { query: None, after: Some(3) };
    let request = append("a", vec![self::event("t", &[])], vec![condition]);
    let refused = host.log().await.append(request).await.expect_err("a condition without a query says nothing");
    assert!(format!("{:?}", refused.get_error_details()).contains("conditions[0].query"), "{refused:?}");
}

async fn until_stored(host: &TestHost, events: u64) {
    let stored = async {
        while next_position(host).await < events {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("what was queued is stored in time");
}

#[tokio::test]
async fn a_queued_append_is_answered_without_offsets_and_stored() {
    let host = TestHost::start().await;
    let mut log = host.log().await;
    let queued = |stream: &str, conditions| AppendRequest {
        durability: Durability::Queued.into(),
        ..append(stream, vec![event("t", &[])], conditions)
    };
    let answer = log.append(queued("a", Vec::new())).await.expect("queued").into_inner();
    assert!(answer.queued && answer.recorded_at_us == 0, "{answer:?}");
    let path = "/api/event-streams/b/events?durability=queued";
    let (status, body) = host.post(path, "application/json", r#"{"type":"t","data":1}"#).await;
    assert_eq!((status, &body), (202, &json!({ "queued": true })));
    let document = r#"{"appends":[{"stream":"c","events":[{"type":"t","data":1}]}],"durability":"queued"}"#;
    assert_eq!(transact(&host, document).await, (202, json!({ "queued": true })));
    until_stored(&host, 3).await;
    // One that does not hold is answered all the same, and counted.
    let answer = log.append(queued("a", vec![none_matches(Vec::new(), None)])).await.expect("queued").into_inner();
    assert!(answer.queued);
    let counted = async {
        loop {
            let metrics = reqwest::get(host.path("/metrics")).await.expect("an answer").text().await.expect("text");
            if metrics.contains("wasmill_queued_appends_failed_total 1") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("it is counted in time");
    assert_eq!(next_position(&host).await, 3);
    let (status, problem) = host.post("/api/event-streams/b/events?durability=fast", "application/json", "{}").await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("durability")), "{problem}");
}
