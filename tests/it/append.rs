//! Publishing and reading over both faces.

use serde_json::json;
use uuid::Uuid;
use wasmill_server::proto::expected::Kind as ExpectedKind;
use wasmill_server::proto::{
    AppendRequest, Direction, Expected, GetStreamRequest, ListStreamsRequest, NewEvent, ReadLogRequest,
    ReadStreamRequest,
};

use crate::support::TestHost;

fn event(event_type: &str) -> NewEvent {
    NewEvent { r#type: event_type.into(), data: "{}".into(), ..NewEvent::default() }
}

fn append(stream: &str, events: Vec<NewEvent>) -> AppendRequest {
    AppendRequest { stream: stream.into(), events, ..AppendRequest::default() }
}

#[tokio::test]
async fn an_append_reads_back_whole_over_both_faces() {
    let host = TestHost::start().await;
    let id = Uuid::now_v7().to_string();
    let data = r#"{ "ünï":  [1, 2.50, "\u0041"] }"#;
    let whole = NewEvent {
        id: id.clone(),
        r#type: "order.placed".into(),
        schema_version: 3,
        key: Some("k-1".into()),
        time_us: Some(1_700_000_000_123_456),
        data: data.into(),
        tags: vec!["customer:7".into()],
        headers: [("source".to_owned(), "test".to_owned())].into(),
        workflow_id: Some("w".into()),
        correlation_id: Some("c".into()),
        causation_id: Some("x".into()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..NewEvent::default()
    };
    let answer = host.log().await.append(append("order-1", vec![whole])).await.expect("it is taken").into_inner();
    assert_eq!((answer.first_offset, answer.last_position, answer.duplicate), (0, 0, false));

    let request = ReadStreamRequest { stream: "order-1".into(), ..ReadStreamRequest::default() };
    let page = host.log().await.read_stream(request).await.expect("read").into_inner().message().await;
    let read = page.expect("a page").expect("a page").events.remove(0).into_event().expect("an event");
    assert_eq!(
        (read.data(), read.key(), read.schema_version()),
        (data.as_bytes(), Some("k-1"), 3),
        "bytes are unchanged"
    );
    assert_eq!((read.tags(), read.headers()), (vec!["customer:7"], vec![("source", "test")]));
    assert_eq!((read.id().to_string(), read.time().0), (id.clone(), 1_700_000_000_123_456));

    let (status, page) = host.get("/api/event-streams/order-1/events").await;
    let event = &page["events"][0];
    assert_eq!((status, event["id"].as_str(), event["offset"].as_u64()), (200, Some(id.as_str()), Some(0)), "{page}");
    assert_eq!(event["time"], "2023-11-14T22:13:20.123456Z");
    assert_eq!(
        (&event["workflowId"], &event["correlationId"], &event["causationId"]),
        (&json!("w"), &json!("c"), &json!("x"))
    );
    assert_eq!(event["data"], json!({ "ünï": [1, 2.5, "A"] }));
    let raw =
        reqwest::get(host.path("/api/event-streams/order-1/events")).await.expect("read").text().await.expect("text");
    assert!(raw.contains(r#"[1, 2.50, "\u0041"]"#), "the data's own text is handed on: {raw}");
}

#[tokio::test]
async fn a_batch_is_atomic_and_a_wrong_offset_names_both_numbers() {
    let host = TestHost::start().await;
    let mut log = host.log().await;
    log.append(append("s", vec![event("a"), event("b")])).await.expect("taken");
    let expecting =
        |kind| AppendRequest { expected: Some(Expected { kind: Some(kind) }), ..append("s", vec![event("c")]) };
    let status = log.append(expecting(ExpectedKind::Offset(5))).await.expect_err("a wrong offset is refused");
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("expected at 5 but is at 1"), "{}", status.message());
    log.append(expecting(ExpectedKind::NoStream(true))).await.expect_err("the stream is there");
    log.append(expecting(ExpectedKind::Offset(1))).await.expect("the right offset passes");

    let client = reqwest::Client::new();
    let post = |header: &'static str, value: &'static str| {
        let request = client.post(host.path("/api/event-streams/s/events")).header(header, value);
        request.header("content-type", "application/json").body(r#"{"type":"d","data":1}"#).send()
    };
    let refused = post("if-match", "\"1\"").await.expect("an answer");
    assert_eq!(refused.status(), 412);
    let problem: serde_json::Value = refused.json().await.expect("a problem");
    assert_eq!(problem["code"], "wrong_expected_offset");
    assert_eq!(problem["details"][0]["facts"], json!({ "expectedOffset": 1, "actualOffset": 2 }));
    assert_eq!(post("if-none-match", "*").await.expect("an answer").status(), 412);
    let taken = post("if-match", "\"2\"").await.expect("an answer");
    assert_eq!((taken.status().as_u16(), taken.headers()["etag"].to_str().unwrap()), (201, "\"3\""));
}

#[tokio::test]
async fn the_same_ids_are_answered_as_the_first_time() {
    let host = TestHost::start().await;
    let mut log = host.log().await;
    let request = append("s", (0..3).map(|_| NewEvent { id: Uuid::now_v7().to_string(), ..event("a") }).collect());
    let first = log.append(request.clone()).await.expect("taken").into_inner();
    log.append(append("s", vec![event("b")])).await.expect("taken");
    let again = log.append(request.clone()).await.expect("answered").into_inner();
    assert!(again.duplicate && again.first_offset == first.first_offset && again.last_position == first.last_position);
    assert_eq!(again.recorded_at_us, first.recorded_at_us);
    let mut other = request;
    other.events[1].data = r#"{"other":1}"#.into();
    let status = log.append(other).await.expect_err("another content is a conflict");
    assert_eq!(status.code(), tonic::Code::AlreadyExists, "{status:?}");
    assert_eq!(log.get_log(wasmill_server::proto::GetLogRequest {}).await.expect("read").into_inner().next_position, 4);

    let keyed = |body: &'static str| {
        let request = reqwest::Client::new().post(host.path("/api/event-streams/k/events"));
        request.header("idempotency-key", "order 7").header("content-type", "application/json").body(body).send()
    };
    let body = r#"[{"type":"a","data":1},{"type":"b","data":2}]"#;
    let first: serde_json::Value = keyed(body).await.expect("an answer").json().await.expect("JSON");
    let again: serde_json::Value = keyed(body).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(
        (&first["firstOffset"], &again["firstOffset"], &again["duplicate"]),
        (&json!(0), &json!(0), &json!(true))
    );
}

#[tokio::test]
async fn streams_and_log_are_read_both_ways_and_by_filter() {
    let host = TestHost::start().await;
    let mut log = host.log().await;
    for n in 0..30 {
        log.append(append(&format!("s-{}", n % 3), vec![event(if n % 2 == 0 { "even" } else { "odd" })]))
            .await
            .expect("taken");
    }
    let read = async |request: ReadLogRequest| {
        let mut pages = host.log().await.read_log(request).await.expect("read").into_inner();
        let mut positions = Vec::new();
        while let Some(page) = pages.message().await.expect("a page") {
            positions.extend(page.events.into_iter().map(|e| e.into_event().expect("an event").position().0));
        }
        positions
    };
    let from = |from, direction: Direction, limit| ReadLogRequest {
        from_position: from,
        direction: direction.into(),
        limit,
        ..ReadLogRequest::default()
    };
    assert_eq!(read(from(None, Direction::Forward, 0)).await, (0..30).collect::<Vec<_>>());
    assert_eq!(read(from(Some(27), Direction::Forward, 2)).await, [27, 28]);
    assert_eq!(read(from(None, Direction::Backward, 3)).await, [29, 28, 27]);
    assert_eq!(read(from(Some(1), Direction::Backward, 0)).await, [1, 0]);
    let (_, page) = host.get("/api/events?types=odd&streams=s-0&direction=backward&limit=3").await;
    let positions: Vec<_> = page["events"].as_array().expect("events").iter().map(|e| e["position"].as_u64()).collect();
    assert_eq!(positions, [Some(27), Some(21), Some(15)], "{page}");
    let (_, page) = host.get("/api/event-streams/s-1/events?from=8&limit=5").await;
    let offsets: Vec<_> = page["events"].as_array().expect("events").iter().map(|e| e["offset"].as_u64()).collect();
    assert_eq!(offsets, [Some(8), Some(9)], "{page}");

    let streams = ListStreamsRequest { pattern: "s-*".into(), after: "s-0".into(), limit: 1 };
    let listed = log.list_streams(streams).await.expect("listed").into_inner();
    assert_eq!(
        (listed.streams[0].name.as_str(), listed.streams[0].next_offset, listed.next_after.as_str()),
        ("s-1", 10, "s-1")
    );
    let stream = log.get_stream(GetStreamRequest { name: "s-2".into() }).await.expect("found").into_inner().stream;
    assert_eq!(stream.expect("a stream").last_position, 29);
}

#[tokio::test]
async fn what_an_event_causes_carries_its_ids_on() {
    let host = TestHost::start().await;
    let cause = Uuid::now_v7().to_string();
    let events = json!([{ "id": cause, "type": "a", "data": 1, "workflowId": "w-1", "correlationId": "c-1" }]);
    host.publish("a", &events).await;
    host.publish("b", &json!([{ "type": "b", "data": 2, "causationId": cause }])).await;
    let (_, page) = host.get("/api/event-streams/b/events").await;
    let event = &page["events"][0];
    assert_eq!(
        (&event["workflowId"], &event["correlationId"]),
        (&json!("w-1"), &json!("c-1")),
        "inherited from the cause"
    );

    let request = reqwest::Client::new().post(host.path("/api/event-streams/c/events"));
    let request = request.header("x-correlation-id", "from-header").header("content-type", "application/json");
    let answer = request.body(r#"{"type":"c","data":3}"#).send().await.expect("an answer");
    assert_eq!(answer.headers()["x-correlation-id"], "from-header", "the answer carries it too");
    let (_, page) = host.get("/api/event-streams/c/events").await;
    assert_eq!(page["events"][0]["correlationId"], "from-header");
}
