//! What is wrong gets a precise answer and changes nothing; the host is healthy after each.

use serde_json::{Value, json};
use wasmill_server::proto::{AppendRequest, GetDocumentRequest, GetLogRequest, NewEvent};

use crate::support::{TestHost, raw};

const JSON: &str = "application/json";
const EVENTS: &str = "/api/event-streams/s/events";

/// Sends a body that has to be refused: with this status and code, a message that contains each of the
/// `words`, and nothing stored.
async fn refused(
    host: &TestHost,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
    expected: (u16, &str),
    words: &[&str],
) {
    let before = next_position(host).await;
    let (status, problem) = host.post(path, content_type, body).await;
    assert_eq!((status, problem["code"].as_str()), (expected.0, Some(expected.1)), "{problem}");
    assert_eq!(problem["type"], format!("/errors/{}", expected.1), "{problem}");
    let text = problem.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is said in {text}");
    }
    assert_eq!(next_position(host).await, before, "nothing was stored");
    host.assert_healthy().await;
}

async fn next_position(host: &TestHost) -> u64 {
    host.log().await.get_log(GetLogRequest {}).await.expect("answered").into_inner().next_position
}

#[tokio::test]
async fn broken_json_is_told_where() {
    let host = TestHost::start().await;
    let (broken, invalid) = ((400, "malformed_body"), (400, "invalid_event"));
    refused(&host, EVENTS, JSON, r#"[{"type":"a","data":1},{"type" "b"}]"#, broken, &["line 1", "column 32"]).await;
    refused(&host, EVENTS, JSON, "[{\"type\":\"a\",\n\"data\":{\"x\":", broken, &["line 2"]).await;
    refused(&host, EVENTS, JSON, r#"[{"type":"a","data":1,"colour":2}]"#, invalid, &["events[0]", "colour"]).await;
    refused(&host, EVENTS, JSON, r#"[{"data":1}]"#, invalid, &["events[0]", "type"]).await;
    refused(&host, EVENTS, JSON, &b"[{\"type\":\"\xff\",\"data\":1}]"[..], broken, &[]).await;
    refused(&host, EVENTS, JSON, "", broken, &[]).await;
    refused(&host, EVENTS, "text/csv", "a,b", (415, "unsupported_media_type"), &["text/csv"]).await;
    let deep = format!(r#"[{{"type":"a","data":{}1{}}}]"#, "[".repeat(5_000), "]".repeat(5_000));
    refused(&host, EVENTS, JSON, deep, invalid, &["5000 levels", "127"]).await;
}

#[tokio::test]
async fn broken_protobuf_is_an_invalid_argument() {
    let host = TestHost::start().await;
    let append = "/wasmill.v1.LogService/Append";
    // A length that runs past the end; a field that is no field; text that is not UTF-8.
    for message in [&b"\x0a\x20abc"[..], &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], &b"\x0a\x02\xc3\x28"[..]]
    {
        let status = raw::call(&host, append, message).await.expect_err("it is refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
        host.assert_healthy().await;
    }
    let status = raw::call(&host, "/wasmill.v1.LogService/Nothing", b"").await.expect_err("no such method");
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_batch_with_one_bad_event_is_refused_whole() {
    let host = TestHost::start().await;
    refused(&host, EVENTS, JSON, "[]", (400, "empty_append"), &["1 to 1000"]).await;
    let batch =
        json!([{ "type": "a", "data": 1 }, { "type": "", "data": 2, "key": "" }, { "type": "b\u{7}", "data": 3 }]);
    let rules = ["events[1].type", "events[1].key", "events[2].type", "U+0007"];
    refused(&host, EVENTS, JSON, batch.to_string(), (400, "invalid_event"), &rules).await;
    let many: Vec<Value> = (0..1_001).map(|n| json!({ "type": "a", "data": n })).collect();
    refused(&host, EVENTS, JSON, json!(many).to_string(), (413, "append_too_large"), &["1001"]).await;
    let (status, streams) = host.get("/api/event-streams?pattern=s").await;
    assert_eq!((status, &streams["streams"]), (200, &json!([])), "no stream came into being");
}

#[tokio::test]
async fn names_keep_their_rules() {
    let host = TestHost::start().await;
    let event = r#"{"type":"a","data":1}"#;
    for (name, word) in [("a%07b", "U+0007"), ("%24host", "$"), ("a%00", "U+0000"), (&*"x".repeat(201), "201")] {
        let path = format!("/api/event-streams/{name}/events");
        refused(&host, &path, JSON, event, (400, "invalid_name"), &[word]).await;
    }
    let request = AppendRequest {
        stream: "a\nb".into(),
        events: vec![NewEvent { r#type: "a".into(), data: "1".into(), ..NewEvent::default() }],
        ..AppendRequest::default()
    };
    let status = host.log().await.append(request).await.expect_err("it is refused");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("U+000A"), "{}", status.message());
}

#[tokio::test]
async fn an_event_over_the_limit_is_told_both_sizes() {
    let host = TestHost::start().await;
    let large = json!([{ "type": "a", "data": "x".repeat(1 << 20) }]);
    refused(&host, EVENTS, JSON, large.to_string(), (413, "event_too_large"), &["1048578", "1048576"]).await;
    let huge = vec![b' '; 80 << 20];
    refused(&host, EVENTS, JSON, huge, (413, "body_too_large"), &[]).await;
    let event = |data: Vec<u8>| NewEvent { r#type: "a".into(), data: data.into(), ..NewEvent::default() };
    let request = AppendRequest { stream: "s".into(), events: vec![event(b"{".to_vec())], ..AppendRequest::default() };
    let status = host.log().await.append(request).await.expect_err("it is not JSON");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let host = TestHost::start().await;
    for (path, code, word) in [
        ("/api/event-streams/nothing", "stream_not_found", "nothing"),
        ("/api/event-streams/nothing/events", "stream_not_found", "nothing"),
        ("/api/plugins/nothing", "plugin_not_found", "nothing"),
        ("/api/plugins/nothing/logs", "plugin_not_found", "nothing"),
        ("/api/projections/nothing", "projection_not_found", "nothing"),
        ("/api/projections/nothing/documents/c/k", "projection_not_found", "nothing"),
        ("/api/nothing", "not_found", "/api/nothing"),
    ] {
        let (status, problem) = host.get(path).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some(code)), "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{problem}");
    }
    let request =
        GetDocumentRequest { projection: "p".into(), collection: "c".into(), key: "k".into(), wait_for: None };
    let status = host.projections().await.get_document(request).await.expect_err("there is none");
    assert_eq!(status.code(), tonic::Code::NotFound);
    for (path, word) in
        [("/api/events?from=x", "from"), ("/api/events?limit=-1", "limit"), ("/api/events?colour=1", "colour")]
    {
        let (status, problem) = host.get(path).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_argument")), "{path}: {problem}");
        assert!(problem.to_string().contains(word), "{problem}");
    }
    let (status, problem) = host.post(&format!("{EVENTS}?expected=3"), JSON, r#"{"type":"a","data":1}"#).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_argument")), "not a check, and no silence");
    let put = reqwest::Client::new().put(host.path("/api/events")).send().await.expect("an answer");
    assert_eq!(put.status(), 405);
    host.assert_healthy().await;
}
