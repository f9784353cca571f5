//! How streams end, and how they are treated, over both faces and the command line.

use serde_json::{Value, json};
use tonic::Code;
use wasmill_server::proto::expected::Kind as ExpectedKind;
use wasmill_server::proto::stream_config_subject::Kind;
use wasmill_server::proto::{
    AppendRequest, DeleteMode, DeleteStreamConfigRequest, DeleteStreamRequest, Expected, FollowLogRequest,
    FollowStreamRequest, GetStreamConfigRequest, GetStreamRequest, ListStreamConfigsRequest, ListStreamsRequest,
    NewEvent, PutStreamConfigRequest, ReadStreamRequest, StreamConfig, StreamConfigSubject, StreamState,
    TruncateStreamRequest,
};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

async fn publish(host: &TestHost, stream: &str, count: usize) {
    let events: Vec<Value> = (0..count).map(|n| json!({ "type": "counted", "data": n })).collect();
    host.publish(stream, &json!(events)).await;
}

fn append(stream: &str) -> AppendRequest {
    let event = NewEvent { r#type: "counted".into(), data: "1".into(), ..NewEvent::default() };
    AppendRequest { stream: stream.into(), events: vec![event], ..AppendRequest::default() }
}

fn subject(kind: Kind) -> Option<StreamConfigSubject> {
    Some(StreamConfigSubject { kind: Some(kind) })
}

/// `(offset, position)` of each event of a stream.
async fn places(host: &TestHost, stream: &str) -> Vec<(u64, u64)> {
    let (status, page) = host.get(&format!("/api/event-streams/{stream}/events")).await;
    assert_eq!(status, 200, "{page}");
    let place =
        |event: &Value| (event["offset"].as_u64().expect("offset"), event["position"].as_u64().expect("position"));
    page["events"].as_array().expect("events").iter().map(place).collect()
}

#[tokio::test]
async fn truncation_takes_the_oldest_and_moves_nothing() {
    let host = TestHost::start().await;
    publish(&host, "s", 10).await;
    publish(&host, "other", 2).await;
    let truncate = async |body: &str, headers: &[(&str, &str)]| {
        host.send("POST", "/api/event-streams/s/truncate", headers, body).await
    };
    let (status, problem) = truncate(r#"{"before":4}"#, &[("if-match", "\"7\"")]).await;
    assert_eq!((status, &problem["code"]), (412, &json!("wrong_expected_offset")), "{problem}");
    assert_eq!(places(&host, "s").await.len(), 10);
    let (status, stream) = truncate(r#"{"before":4}"#, &[("if-match", "\"9\"")]).await;
    let facts = json!([stream["length"], stream["firstOffset"], stream["nextOffset"], stream["state"]]);
    assert_eq!((status, facts), (200, json!([6, 4, 10, "live"])), "{stream}");
    assert_eq!(places(&host, "s").await, (4..10).map(|n| (n, n)).collect::<Vec<_>>());
    let (_, page) = host.get("/api/events").await;
    assert_eq!(page["events"].as_array().map(Vec::len), Some(8), "the log has lost them too: {page}");
    let (status, problem) = truncate(r#"{"before":"4"}"#, &[]).await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("before")), "{problem}");

    let mut streams = host.streams().await;
    let expected = Some(Expected { kind: Some(ExpectedKind::Offset(3)) });
    let request = TruncateStreamRequest { name: "s".into(), before_offset: 100, expected };
    let refused = streams.truncate_stream(request.clone()).await.expect_err("it is elsewhere");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let request = TruncateStreamRequest { expected: None, ..request };
    let stream = streams.truncate_stream(request).await.expect("truncated").into_inner().stream.expect("a stream");
    assert_eq!((stream.length, stream.first_offset, stream.next_offset), (0, 10, 10));
    publish(&host, "s", 1).await;
    assert_eq!(places(&host, "s").await, [(10, 12)], "numbering goes on");
    let missing =
        streams.truncate_stream(TruncateStreamRequest { name: "nope".into(), ..TruncateStreamRequest::default() });
    assert_eq!(missing.await.expect_err("there is none").code(), Code::NotFound);
}

#[tokio::test]
async fn a_deleted_stream_comes_back_and_one_deleted_for_good_does_not() {
    let host = TestHost::start().await;
    publish(&host, "soft", 3).await;
    publish(&host, "hard", 3).await;
    let (status, stream) = host.send("DELETE", "/api/event-streams/soft", &[("if-match", "\"2\"")], "").await;
    assert_eq!((status, &stream["state"], &stream["length"]), (200, &json!("deleted"), &json!(0)), "{stream}");
    let (status, problem) = host.get("/api/event-streams/soft/events").await;
    assert_eq!((status, &problem["code"]), (410, &json!("stream_deleted")), "{problem}");
    publish(&host, "soft", 1).await;
    assert_eq!(places(&host, "soft").await, [(3, 6)]);

    let mut streams = host.streams().await;
    let request = DeleteStreamRequest { name: "hard".into(), mode: DeleteMode::Hard.into(), expected: None };
    let stream = streams.delete_stream(request).await.expect("deleted").into_inner().stream.expect("a stream");
    assert_eq!((stream.state(), stream.length), (StreamState::Tombstoned, 0));
    let refused = host.log().await.append(append("hard")).await.expect_err("it takes nothing more");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let (status, problem) =
        host.post("/api/event-streams/hard/events", "application/json", r#"{"type":"t","data":1}"#).await;
    assert_eq!((status, &problem["code"]), (410, &json!("stream_deleted")), "{problem}");
    let (_, list) = host.get("/api/event-streams").await;
    let states: Vec<_> =
        list["streams"].as_array().expect("streams").iter().map(|s| (&s["name"], &s["state"])).collect();
    assert_eq!(states, [(&json!("hard"), &json!("tombstoned")), (&json!("soft"), &json!("live"))]);
    let (status, problem) = host.send("DELETE", "/api/event-streams/soft?mode=medium", &[], "").await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("mode")), "{problem}");
    let (status, _) = host.send("DELETE", "/api/event-streams/nothing", &[], "").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_most_specific_word_counts_and_says_who_said_it() {
    let host = TestHost::start().await;
    let put = async |path: &str, config: Value| host.send("PUT", path, &[], &config.to_string()).await;
    let all = json!({ "retention": { "maxEvents": 100, "maxBytes": 5 }, "deletion": "soft_only" });
    assert_eq!(put("/api/stream-configs/*", all.clone()).await.0, 200);
    let (status, said) = put("/api/stream-configs/order-*", json!({ "retention": { "maxEvents": 7 } })).await;
    assert_eq!((status, said), (200, json!({ "pattern": "order-*", "config": { "retention": { "maxEvents": 7 } } })));
    assert_eq!(put("/api/event-streams/order-1/config", json!({ "autoCreate": false })).await.0, 200);
    let (status, view) = host.get("/api/event-streams/order-1/config").await;
    assert_eq!((status, &view["config"]), (200, &json!({ "autoCreate": false })));
    let effective = &view["effective"];
    let holds = [&effective["retention"]["maxEvents"], &effective["retention"]["maxBytes"], &effective["scope"]];
    assert_eq!(holds, [&json!(7), &json!(5), &json!("public")], "{view}");
    let origins = json!({
        "autoCreate": { "stream": "order-1" }, "deletion": { "pattern": "*" }, "retention.maxBytes": { "pattern": "*" },
        "retention.maxEvents": { "pattern": "order-*" },
    });
    assert_eq!(view["origins"], origins);

    let mut streams = host.streams().await;
    let request = GetStreamConfigRequest { subject: subject(Kind::Stream("order-1".into())) };
    let answer = streams.get_stream_config(request).await.expect("answered").into_inner();
    let parsed: Value = serde_json::from_str(&answer.effective_json).expect("JSON");
    assert_eq!((&parsed, answer.origins.len()), (effective, 4));
    assert_eq!(answer.config.expect("said").config_json, r#"{"autoCreate":false}"#);
    // A page at a time.
    let (mut after, mut listed) = (String::new(), Vec::new());
    loop {
        let request = ListStreamConfigsRequest { after, limit: 1 };
        let page = streams.list_stream_configs(request).await.expect("listed").into_inner();
        listed.extend(page.configs.into_iter().filter_map(|config| config.subject?.kind));
        after = page.next_after;
        if after.is_empty() {
            break;
        }
    }
    let expected = [Kind::Pattern("*".into()), Kind::Pattern("order-*".into()), Kind::Stream("order-1".into())];
    assert_eq!(listed, expected);

    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    let (_, list) = host.get("/api/stream-configs").await;
    assert_eq!(list["configs"][0], json!({ "pattern": "*", "config": all }), "it survives a restart: {list}");
    assert_eq!(host.send("DELETE", "/api/stream-configs/*", &[], "").await.0, 204);
    let (status, problem) = host.send("DELETE", "/api/stream-configs/*", &[], "").await;
    assert_eq!((status, &problem["code"]), (404, &json!("stream_config_not_found")), "{problem}");
    let mut streams = host.streams().await;
    let request = DeleteStreamConfigRequest { subject: subject(Kind::Stream("order-1".into())) };
    streams.delete_stream_config(request).await.expect("forgotten");
    let (_, view) = host.get("/api/event-streams/order-1/config").await;
    assert_eq!((view.get("config"), &view["effective"]["autoCreate"]), (None, &json!(true)), "{view}");
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_is_named() {
    let host = TestHost::start().await;
    for (path, body, code, words) in [
        ("/api/stream-configs/a*", r#"{"colour":1}"#, "invalid_argument", "colour"),
        (
            "/api/stream-configs/a*",
            r#"{"retention":{"maxAgeSeconds":9999999999}}"#,
            "invalid_argument",
            "retention.maxAgeSeconds",
        ),
        ("/api/stream-configs/a*", "{", "invalid_argument", "line 1"),
        ("/api/stream-configs/a", "{}", "invalid_name", "no `*`"),
        ("/api/event-streams/%24a/config", "{}", "invalid_name", "$"),
    ] {
        let (status, problem) = host.send("PUT", path, &[], body).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some(code)), "{problem}");
        assert!(problem.to_string().contains(words), "{words}: {problem}");
    }
    let request = PutStreamConfigRequest { config: Some(StreamConfig { subject: None, config_json: "{}".into() }) };
    let refused = host.streams().await.put_stream_config(request).await.expect_err("of what?");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (_, list) = host.get("/api/stream-configs").await;
    assert_eq!(list, json!({ "configs": [] }));
}

#[tokio::test]
async fn what_a_configuration_forbids_is_refused() {
    let host = TestHost::start().await;
    publish(&host, "kept-1", 2).await;
    let config = json!({
        "deletion": "forbidden", "autoCreate": false, "limits": { "maxEventBytes": 10, "maxAppendEvents": 2 }
    });
    assert_eq!(host.send("PUT", "/api/stream-configs/kept-*", &[], &config.to_string()).await.0, 200);
    for (method, path, body, expected) in [
        ("DELETE", "/api/event-streams/kept-1", "", (409, "stream_protected")),
        ("DELETE", "/api/event-streams/kept-1?mode=hard", "", (409, "stream_protected")),
        ("POST", "/api/event-streams/kept-1/truncate", r#"{"before":1}"#, (409, "stream_protected")),
        ("POST", "/api/event-streams/kept-2/events", r#"{"type":"t","data":1}"#, (404, "stream_not_found")),
        ("POST", "/api/event-streams/kept-1/events", r#"{"type":"t","data":12345678901}"#, (413, "event_too_large")),
        (
            "POST",
            "/api/event-streams/kept-1/events",
            r#"[{"type":"t","data":1},{"type":"t","data":1},{"type":"t","data":1}]"#,
            (413, "append_too_large"),
        ),
    ] {
        let (status, problem) = host.send(method, path, &[], body).await;
        assert_eq!((status, problem["code"].as_str()), (expected.0, Some(expected.1)), "{method} {path}: {problem}");
    }
    publish(&host, "kept-1", 2).await;
}

#[tokio::test]
async fn a_stream_that_is_internal_is_kept_from_clients() {
    let host = TestHost::start().await;
    publish(&host, "inner-1", 2).await;
    publish(&host, "outer", 2).await;
    publish(&host, "read-only", 1).await;
    assert_eq!(host.send("PUT", "/api/stream-configs/inner-*", &[], r#"{"scope":"internal"}"#).await.0, 200);
    let read_only = r#"{"access":{"publish":"plugins"}}"#;
    assert_eq!(host.send("PUT", "/api/event-streams/read-only/config", &[], read_only).await.0, 200);

    let event = r#"{"type":"t","data":1}"#;
    let transaction = json!({
        "appends": [{ "stream": "outer", "events": [{ "type": "t", "data": 1 }] },
                    { "stream": "read-only", "events": [{ "type": "t", "data": 1 }] }],
        "checks": [{ "stream": "inner-1", "expectedOffset": "exists" }],
    });
    for (method, path, body) in [
        ("GET", "/api/event-streams/inner-1", ""),
        ("GET", "/api/event-streams/inner-1/events", ""),
        ("GET", "/api/event-streams/inner-1/events/live", ""),
        ("POST", "/api/event-streams/inner-1/events", event),
        ("POST", "/api/event-streams/read-only/events", event),
        ("POST", "/api/event-streams/inner-1/truncate", r#"{"before":1}"#),
        ("DELETE", "/api/event-streams/inner-1", ""),
        ("POST", "/api/transactions", &transaction.to_string()),
    ] {
        let (status, problem) = host.send(method, path, &[], body).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("forbidden")), "{method} {path}: {problem}");
        let named = problem["details"].as_array().expect("details").iter().map(|detail| &detail["at"]);
        let expected = if path == "/api/transactions" {
            vec!["read-only", "inner-1"]
        } else {
            vec![path.split('/').nth(3).expect("a name")]
        };
        assert_eq!(named.collect::<Vec<_>>(), expected, "{problem}");
    }
    let mut log = host.log().await;
    let (name, stream) = ("inner-1".to_owned(), "inner-1".to_owned());
    let denied = [
        log.append(append("inner-1")).await.map(drop).expect_err("append"),
        log.get_stream(GetStreamRequest { name }).await.map(drop).expect_err("show"),
        log.read_stream(ReadStreamRequest { stream: stream.clone(), ..ReadStreamRequest::default() })
            .await
            .map(drop)
            .expect_err("read"),
        log.follow_stream(FollowStreamRequest { stream, ..FollowStreamRequest::default() })
            .await
            .map(drop)
            .expect_err("follow"),
    ];
    assert!(denied.iter().all(|status| status.code() == Code::PermissionDenied), "{denied:?}");

    // Neither the list nor the log shows it, and reading goes on behind it.
    let listed = log.list_streams(ListStreamsRequest::default()).await.expect("listed").into_inner();
    let names: Vec<_> = listed.streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["outer", "read-only"]);
    let (_, page) = host.get("/api/events").await;
    let positions: Vec<_> = page["events"].as_array().expect("events").iter().map(|e| e["position"].as_u64()).collect();
    assert_eq!((positions, &page["coveredThrough"]), (vec![Some(2), Some(3), Some(4)], &json!(4)), "{page}");
    let request = FollowLogRequest { from_position: Some(0), ..FollowLogRequest::default() };
    let mut pages = log.follow_log(request).await.expect("followed").into_inner();
    let mut followed = Vec::new();
    while followed.len() < 3 {
        let page = tokio::time::timeout(PATIENCE, pages.message()).await.expect("in time").expect("read");
        let events = page.expect("a page").events.into_iter();
        followed.extend(events.map(|event| event.into_event().expect("an event").position().0));
    }
    assert_eq!(followed, [2, 3, 4]);
    assert_eq!(places(&host, "read-only").await, [(0, 4)], "it may be read");

    assert_eq!(host.send("DELETE", "/api/stream-configs/inner-*", &[], "").await.0, 204);
    assert_eq!(places(&host, "inner-1").await, [(0, 0), (1, 1)], "as soon as it is open again");
}
