//! Receipts: who was delivered, and who has read, which event.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::Code;
use wasmill_server::proto::receipt_service_client::ReceiptServiceClient;
use wasmill_server::proto::{
    ListConsumersRequest, ListReceiptsOfConsumerRequest, ListReceiptsOfEventRequest, ListStreamsOfConsumerRequest,
    NoteReceiptsRequest, ReceiptPlace,
};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

async fn publish(host: &TestHost, stream: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|n| json!({ "type": "posted", "data": n })).collect();
    host.publish(stream, &json!(events)).await;
}

async fn configure(host: &TestHost, stream: &str, config: Value) {
    let path = format!("/api/event-streams/{stream}/config");
    let (status, said) = host.send("PUT", &path, &[], &config.to_string()).await;
    assert_eq!(status, 200, "{said}");
}

async fn try_note(host: &TestHost, stream: &str, body: Value) -> (u16, Value) {
    host.send("POST", &format!("/api/event-streams/{stream}/receipts"), &[], &body.to_string()).await
}

async fn note(host: &TestHost, stream: &str, body: Value) {
    let (status, said) = try_note(host, stream, body).await;
    assert_eq!(status, 204, "{said}");
}

async fn get(host: &TestHost, path: &str) -> Value {
    let (status, said) = host.get(path).await;
    assert_eq!(status, 200, "{path}: {said}");
    said
}

/// Stream and offset of each.
fn places(page: &Value) -> Vec<(String, u64)> {
    let place =
        |one: &Value| (one["stream"].as_str().expect("a name").into(), one["offset"].as_u64().expect("a number"));
    page["receipts"].as_array().expect("receipts").iter().map(place).collect()
}

fn place(stream: &str, offset: u64) -> (String, u64) {
    (stream.to_owned(), offset)
}

#[tokio::test]
async fn what_is_noted_is_found_by_event_and_by_consumer() {
    let host = TestHost::start().await;
    publish(&host, "news", 100).await;
    publish(&host, "post", 1).await;
    note(&host, "news", json!({ "consumer": "ann", "delivered": [3, 70], "read": [3] })).await;
    note(&host, "news", json!({ "consumer": "bob", "delivered": [3] })).await;
    note(&host, "post", json!({ "consumer": "ann", "read": [0] })).await;
    // What was said already is not said anew.
    let before = get(&host, "/api/event-streams/news/receipts?offset=3").await;
    note(&host, "news", json!({ "consumer": "ann", "read": [3] })).await;
    let of_event = get(&host, "/api/event-streams/news/receipts?offset=3").await;
    assert_eq!(of_event, before);
    let (ann, bob) = (&of_event["receipts"][0], &of_event["receipts"][1]);
    assert_eq!((&ann["consumer"], ann["readAt"].is_string()), (&json!("ann"), true), "{of_event}");
    assert_eq!((&bob["consumer"], bob.get("readAt"), &bob["reminders"]), (&json!("bob"), None, &json!(0)));
    assert_eq!(get(&host, "/api/event-streams/news/receipts?offset=4").await, json!({ "receipts": [] }));

    let consumers = get(&host, "/api/event-streams/news/consumers").await;
    let ann = &consumers["consumers"][0];
    assert_eq!((&ann["consumer"], &ann["delivered"], &ann["read"]), (&json!("ann"), &json!(2), &json!(1)));
    assert_eq!((&ann["lastDelivered"], &ann["lastRead"]), (&json!(70), &json!(3)), "{ann}");
    let streams = get(&host, "/api/consumers/ann").await;
    let names: Vec<_> = streams["streams"].as_array().expect("streams").iter().map(|one| &one["stream"]).collect();
    assert_eq!(names, ["news", "post"]);

    let all = get(&host, "/api/consumers/ann/receipts").await;
    assert_eq!(places(&all), [place("news", 3), place("news", 70), place("post", 0)]);
    let unread = get(&host, "/api/consumers/ann/receipts?unread=true").await;
    assert_eq!(places(&unread), [place("news", 70)]);
    let only = get(&host, "/api/consumers/ann/receipts?stream=news").await;
    assert_eq!((places(&only), only.get("next")), (vec![place("news", 3), place("news", 70)], None));
    assert_eq!(get(&host, "/api/consumers/nobody/receipts").await, json!({ "receipts": [] }));
}

#[tokio::test]
async fn a_page_says_where_the_next_one_begins() {
    let host = TestHost::start().await;
    for stream in ["a", "b"] {
        publish(&host, stream, 200).await;
        note(&host, stream, json!({ "consumer": "ann", "read": [0, 63, 64, 199] })).await;
        note(&host, stream, json!({ "consumer": "bob", "read": [0] })).await;
    }
    let expected: Vec<_> = ["a", "b"].iter().flat_map(|stream| [0, 63, 64, 199].map(|n| place(stream, n))).collect();
    for limit in 1..=9 {
        let (mut found, mut query) = (Vec::new(), format!("limit={limit}"));
        loop {
            let page = get(&host, &format!("/api/consumers/ann/receipts?{query}")).await;
            found.extend(places(&page));
            let Some(next) = page.get("next") else { break };
            let (stream, offset) = (next["stream"].as_str().expect("a name"), &next["offset"]);
            query = format!("limit={limit}&stream={stream}&offset={offset}");
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    let rest = get(&host, "/api/consumers/ann/receipts?stream=a&offset=64&only=true").await;
    assert_eq!(places(&rest), [place("a", 64), place("a", 199)]);
    for path in ["/api/event-streams/a/receipts?offset=0&limit=1", "/api/event-streams/a/consumers?limit=1"] {
        let first = get(&host, path).await;
        assert_eq!(first["nextAfter"], json!("ann"), "{first}");
        let second = get(&host, &format!("{path}&after=ann")).await;
        assert_eq!(second.get("nextAfter"), None, "{second}");
        let entries = second.get("receipts").or(second.get("consumers")).expect("entries");
        assert_eq!((entries[0]["consumer"].as_str(), entries.get(1)), (Some("bob"), None));
    }
    let first = get(&host, "/api/consumers/ann?limit=1").await;
    assert_eq!((&first["streams"][0]["stream"], &first["nextAfter"]), (&json!("a"), &json!("a")));
}

#[tokio::test]
async fn who_has_not_read_in_time_is_reminded_in_a_stream() {
    let host = TestHost::start().await;
    configure(&host, "news", json!({ "receipts": { "unreadAfterSeconds": 1, "stream": "reminders" } })).await;
    publish(&host, "news", 2).await;
    note(&host, "news", json!({ "consumer": "ann", "delivered": [0, 1], "read": [1] })).await;
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(50)));
    let reminder = loop {
        pace.tick().await;
        let (status, page) = host.get("/api/event-streams/reminders/events").await;
        if status == 200 && page["events"][0].is_object() {
            break page["events"][0].clone();
        }
        assert!(Instant::now() < until, "nobody is reminded: {page}");
    };
    assert_eq!((&reminder["type"], &reminder["key"]), (&json!("wasmill.unread"), &json!("ann")), "{reminder}");
    assert_eq!((&reminder["data"]["stream"], &reminder["data"]["offset"]), (&json!("news"), &json!(0)), "{reminder}");
    let receipt = &get(&host, "/api/event-streams/news/receipts?offset=0").await["receipts"][0];
    assert!(receipt["reminders"].as_u64() >= Some(1) && receipt["remindedAt"].is_string(), "{receipt}");
    let effective = get(&host, "/api/event-streams/news/config").await;
    assert_eq!(effective["effective"]["receipts"]["maxReminders"], json!(3), "{effective}");
}

#[tokio::test]
async fn every_mistake_is_named_and_nothing_is_noted() {
    let host = TestHost::start().await;
    publish(&host, "news", 2).await;
    for (body, at) in [
        (json!({ "consumer": "", "delivered": [0], "read": [2] }), &["consumer", "read"][..]),
        (json!({ "consumer": "ann" }), &["read"]),
        (json!({ "consumer": "ann", "delivered": vec![0; 1_001], "read": [7] }), &["delivered", "read"]),
        (json!({ "consumer": "ann", "read": [-1] }), &["read[0]"]),
        (json!({ "consumer": "ann", "read": [0], "colour": 1 }), &["colour"]),
    ] {
        let (status, problem) = try_note(&host, "news", body).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")), "{problem}");
        let named: Vec<_> = problem["details"].as_array().expect("details").iter().map(|it| it["at"].clone()).collect();
        assert_eq!(named, at, "{problem}");
    }
    let (status, problem) = try_note(&host, "nothing", json!({ "consumer": "ann", "read": [0] })).await;
    assert_eq!((status, &problem["code"]), (404, &json!("stream_not_found")), "{problem}");
    for (path, at) in [
        ("/api/event-streams/news/receipts", "offset"),
        ("/api/event-streams/news/receipts?offset=-1", "offset"),
        ("/api/consumers/ann/receipts?offset=1", "offset"),
        ("/api/consumers/ann/receipts?unread=maybe", "unread"),
        ("/api/consumers/ann/receipts?limit=1001", "limit"),
        ("/api/consumers/%24x/receipts", "consumer"),
        ("/api/consumers/ann?colour=1", "colour"),
    ] {
        let (status, problem) = host.get(path).await;
        assert_eq!((status, &problem["details"][0]["at"]), (400, &json!(at)), "{path}: {problem}");
        assert_eq!(problem["details"].as_array().map(Vec::len), Some(1), "{path}: {problem}");
    }
    assert_eq!(get(&host, "/api/event-streams/news/consumers").await, json!({ "consumers": [] }));
}

#[tokio::test]
async fn receipts_of_a_stream_that_clients_may_not_read_are_not_shown() {
    let host = TestHost::start().await;
    for stream in ["a", "b", "c", "d"] {
        publish(&host, stream, 3).await;
        note(&host, stream, json!({ "consumer": "ann", "read": [0, 1, 2] })).await;
    }
    for stream in ["b", "d"] {
        configure(&host, stream, json!({ "access": { "read": "plugins" } })).await;
    }
    for path in ["receipts?offset=0", "consumers"] {
        let (status, problem) = host.get(&format!("/api/event-streams/b/{path}")).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    }
    assert_eq!(try_note(&host, "b", json!({ "consumer": "ann", "read": [0] })).await.0, 403);
    assert_eq!(host.get("/api/consumers/ann/receipts?stream=b").await.0, 403);
    for limit in 1..=7 {
        let (mut found, mut query) = (Vec::new(), format!("limit={limit}"));
        loop {
            let page = get(&host, &format!("/api/consumers/ann/receipts?{query}")).await;
            assert!(places(&page).len() <= limit, "{page}");
            found.extend(places(&page));
            let Some(next) = page.get("next") else { break };
            let stream = next["stream"].as_str().expect("a name");
            assert!(["a", "c"].contains(&stream), "the name of `{stream}` is not told");
            query = format!("limit={limit}&stream={stream}&offset={}", next["offset"]);
        }
        let expected: Vec<_> = ["a", "c"].iter().flat_map(|stream| [0, 1, 2].map(|n| place(stream, n))).collect();
        assert_eq!(found, expected, "in pages of {limit}");
        let mut query = format!("limit={limit}");
        let mut streams = Vec::new();
        loop {
            let page = get(&host, &format!("/api/consumers/ann?{query}")).await;
            let names = page["streams"].as_array().expect("streams").iter();
            streams.extend(names.map(|one| one["stream"].as_str().expect("a name").to_owned()));
            let Some(after) = page.get("nextAfter") else { break };
            query = format!("limit={limit}&after={}", after.as_str().expect("a name"));
        }
        assert_eq!(streams, ["a", "c"], "in pages of {limit}");
    }
}

#[tokio::test]
async fn the_same_goes_over_grpc() {
    let host = TestHost::start().await;
    publish(&host, "news", 10).await;
    let mut receipts = ReceiptServiceClient::new(host.channel().await);
    let (stream, consumer) = ("news".to_owned(), "ann".to_owned());
    let said =
        NoteReceiptsRequest { stream: stream.clone(), consumer: consumer.clone(), delivered: vec![1], read: vec![2] };
    receipts.note_receipts(said.clone()).await.expect("noted");
    let request = ListReceiptsOfEventRequest { stream: stream.clone(), offset: 2, ..Default::default() };
    let of_event = receipts.list_receipts_of_event(request).await.expect("listed").into_inner();
    assert_eq!((of_event.receipts.len(), of_event.next_after.as_str()), (1, ""));
    let read = &of_event.receipts[0];
    assert_eq!((read.consumer.as_str(), read.read_at_us), ("ann", Some(read.delivered_at_us)));
    let request = ListConsumersRequest { stream: stream.clone(), ..Default::default() };
    let consumers = receipts.list_consumers(request).await.expect("listed").into_inner().consumers;
    let request = ListStreamsOfConsumerRequest { consumer: consumer.clone(), ..Default::default() };
    let streams = receipts.list_streams_of_consumer(request).await.expect("listed").into_inner().streams;
    assert_eq!(consumers, streams);
    let progress = &consumers[0];
    assert_eq!(
        (progress.delivered, progress.read, progress.last_delivered, progress.last_read),
        (2, 1, Some(2), Some(2))
    );
    let request = ListReceiptsOfConsumerRequest { consumer: consumer.clone(), limit: 1, ..Default::default() };
    let first = receipts.list_receipts_of_consumer(request.clone()).await.expect("listed").into_inner();
    assert_eq!((first.receipts[0].offset, &first.next), (1, &Some(ReceiptPlace { stream: stream.clone(), offset: 2 })));
    let request = ListReceiptsOfConsumerRequest { from: first.next, ..request };
    let second = receipts.list_receipts_of_consumer(request.clone()).await.expect("listed").into_inner();
    assert_eq!(second.receipts[0].offset, 2);
    let request = ListReceiptsOfConsumerRequest { stream: "other".into(), ..request };
    let elsewhere = receipts.list_receipts_of_consumer(request).await.expect_err("it is not clear where to begin");
    assert_eq!(elsewhere.code(), Code::InvalidArgument);
    let beyond = receipts.note_receipts(NoteReceiptsRequest { read: vec![10], ..said }).await.expect_err("refused");
    assert_eq!(beyond.code(), Code::InvalidArgument);
}
