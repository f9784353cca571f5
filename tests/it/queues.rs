//! Queues over HTTP: messages that are delayed, expire, come back, are given up, and leave the log.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

/// Enough keys to have some in every share of a group.
const MANY: u64 = 400;

async fn post(host: &TestHost, path: &str, body: Value) -> (u16, Value) {
    host.send("POST", path, &[], &body.to_string()).await
}

async fn make(host: &TestHost, queue: &str) {
    let path = format!("/api/event-streams/{queue}/config");
    let (status, said) = host.send("PUT", &path, &[], r#"{"kind":"ephemeral"}"#).await;
    assert_eq!(status, 200, "{said}");
}

async fn put(host: &TestHost, queue: &str, messages: Value) -> Value {
    let (status, answer) = post(host, &format!("/api/queues/{queue}/messages"), messages).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

fn message(key: &str, n: u64) -> Value {
    json!({ "type": "counted", "key": key, "data": n })
}

fn with(mut message: Value, field: &str, ms: u64) -> Value {
    message[field] = ms.into();
    message
}

/// A consumer of the queue `q`.
struct Consumer<'a> {
    host: &'a TestHost,
    name: &'static str,
}

impl Consumer<'_> {
    async fn call(&self, what: &str, mut body: Value) -> (u16, Value) {
        body["consumer"] = self.name.into();
        post(self.host, &format!("/api/queues/q/{what}"), body).await
    }

    async fn dequeue(&self, body: Value) -> Vec<Value> {
        let (status, taken) = self.call("dequeue", body).await;
        assert_eq!(status, 200, "{taken}");
        taken["messages"].as_array().expect("messages").clone()
    }

    /// Takes when there is something.
    async fn take(&self, limit: u64) -> Vec<Value> {
        let taken = self.dequeue(json!({ "limit": limit, "waitMs": 60_000 })).await;
        assert!(!taken.is_empty(), "nothing came within a minute");
        taken
    }

    async fn take_now(&self) -> Vec<Value> {
        self.dequeue(json!({ "limit": 100 })).await
    }

    async fn ack(&self, messages: &[Value]) -> Value {
        let (status, acked) = self.call("ack", json!({ "tokens": tokens(messages) })).await;
        assert_eq!(status, 200, "{acked}");
        acked["outcomes"].clone()
    }

    async fn nack(&self, messages: &[Value], refusal: Value) -> Value {
        let (status, nacked) = self.call("nack", json!({ "tokens": tokens(messages), "refusal": refusal })).await;
        assert_eq!(status, 200, "{nacked}");
        nacked["outcomes"].clone()
    }
}

fn tokens(messages: &[Value]) -> Vec<Value> {
    messages.iter().map(|message| message["token"].clone()).collect()
}

/// The data of each.
fn data(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["event"]["data"].as_u64().expect("a number")).collect()
}

/// Waits until the stream of the queue holds nothing before this offset.
async fn trimmed_to(host: &TestHost, offset: u64) {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(50)));
    loop {
        pace.tick().await;
        let (status, stream) = host.get("/api/event-streams/q").await;
        assert_eq!(status, 200, "{stream}");
        if stream["firstOffset"].as_u64() == Some(offset) {
            return;
        }
        assert!(Instant::now() < until, "within {PATIENCE:?} it has not become {offset}: {stream}");
    }
}

#[tokio::test]
async fn messages_of_a_key_come_in_their_order() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let answer = put(&host, "q", json!([message("a", 0), message("b", 1), message("a", 2)])).await;
    assert_eq!(answer, json!({ "firstOffset": 0, "lastOffset": 2, "duplicate": false }));
    let (one, other) = (Consumer { host: &host, name: "one" }, Consumer { host: &host, name: "other" });
    let first = one.take(1).await;
    let key = first[0]["event"]["key"].clone();
    let elsewhere = other.take_now().await;
    assert!(elsewhere.iter().all(|message| message["event"]["key"] != key), "a key is in one consumer's hands");
    let mut all = data(&first);
    all.extend(data(&elsewhere));
    assert_eq!(one.ack(&first).await, json!(["durable"]));
    if !elsewhere.is_empty() {
        other.ack(&elsewhere).await;
    }
    while all.len() < 3 {
        let more = one.take(1).await;
        all.extend(data(&more));
        one.ack(&more).await;
    }
    let of_a: Vec<_> = all.iter().filter(|n| **n != 1).collect();
    assert_eq!(of_a, [&0, &2], "{all:?}");
    let (status, queue) = host.get("/api/queues/q").await;
    assert_eq!((status, &queue["name"], &queue["group"]), (200, &json!("q"), &json!("$queue/q")), "{queue}");
    assert_eq!((&queue["unsettled"], queue["consumers"].as_array().map(Vec::len)), (&json!(0), Some(2)), "{queue}");
    let (_, list) = host.get("/api/queues").await;
    assert_eq!(list["queues"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["queues"][0]["name"], json!("q"), "{list}");
}

#[tokio::test]
async fn urgent_messages_come_first_and_no_key_is_reordered() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let messages = json!([
        with(message("a", 0), "priority", 1),
        with(message("a", 1), "priority", 9),
        message("b", 2),
        with(message("c", 3), "priority", 9),
        with(message("d", 4), "priority", 0),
        json!({ "type": "counted", "data": 5, "priority": 5 }),
    ]);
    put(&host, "q", messages).await;
    let worker = Consumer { host: &host, name: "w" };
    let mut order = Vec::new();
    while order.len() < 6 {
        let taken = worker.take(1).await;
        worker.ack(&taken).await;
        order.extend(taken.iter().map(|one| one["event"]["data"].as_u64().expect("a number")));
    }
    // Message 1 is urgent, but behind 0 of its key; then it comes before 4.
    assert_eq!(order, [3, 5, 2, 0, 1, 4]);
    let (status, refused) = post(&host, "/api/queues/q/messages", with(message("a", 0), "priority", 10)).await;
    assert_eq!((status, &refused["details"][0]["at"]), (400, &json!("events[0].priority")), "{refused}");
}

#[tokio::test]
async fn a_put_that_is_repeated_puts_once() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let headers = [("idempotency-key", "k")];
    let body = with(message("a", 0), "delayMs", 1).to_string();
    let send = async || host.send("POST", "/api/queues/q/messages", &headers, &body).await;
    assert_eq!(send().await, (201, json!({ "firstOffset": 0, "lastOffset": 0, "duplicate": false })));
    assert_eq!(send().await, (201, json!({ "firstOffset": 0, "lastOffset": 0, "duplicate": true })));
}

#[tokio::test]
async fn a_delayed_message_is_waited_for() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let (begun, delay) = (Instant::now(), 700);
    put(&host, "q", json!([with(message("a", 0), "delayMs", delay), message("a", 1), message("b", 2)])).await;
    let consumer = Consumer { host: &host, name: "one" };
    let first = consumer.take(10).await;
    assert_eq!(data(&first), [2], "what is delayed holds its key, and no other");
    consumer.ack(&first).await;
    let late = consumer.take(10).await;
    assert!(begun.elapsed() >= Duration::from_millis(delay), "it came after {:?}", begun.elapsed());
    assert_eq!(data(&late)[0], 0);
    let mut all = data(&late);
    consumer.ack(&late).await;
    if all.len() < 2 {
        all.extend(data(&consumer.take(10).await));
    }
    assert_eq!(all, [0, 1]);
}

/// The message is due after its time is over, so that no consumer is early enough to get it.
#[tokio::test]
async fn a_message_whose_time_is_over_is_not_handed_out() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let over = with(with(message("a", 0), "delayMs", 600), "timeToLiveMs", 300);
    put(&host, "q", json!([over, message("a", 1)])).await;
    let consumer = Consumer { host: &host, name: "one" };
    let taken = consumer.take(10).await;
    assert_eq!(data(&taken), [1]);
    assert_eq!(consumer.ack(&taken).await, json!(["durable"]));
    assert_eq!(consumer.take_now().await, [json!(null); 0]);
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_comes_back_and_a_late_word_is_void() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    put(&host, "q", message("a", 0)).await;
    let (slow, other) = (Consumer { host: &host, name: "slow" }, Consumer { host: &host, name: "other" });
    let taken = slow.dequeue(json!({ "waitMs": 60_000, "visibilityMs": 200 })).await;
    assert_eq!(data(&taken), [0]);
    let again = other.take(1).await;
    assert_eq!((data(&again), &again[0]["lost"], &again[0]["refused"]), (vec![0], &json!(1), &json!(0)));
    assert_eq!(slow.ack(&taken).await, json!(["superseded"]));
    let longer = json!({ "tokens": tokens(&again), "visibilityMs": 60_000 });
    assert_eq!(other.call("extend", longer).await, (200, json!({ "outcomes": ["noted"] })));
    assert_eq!(other.ack(&again).await, json!(["durable"]));
    assert_eq!(other.take_now().await, [json!(null); 0]);
}

#[tokio::test]
async fn a_message_that_is_put_off_comes_again_and_that_is_no_attempt() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    put(&host, "q", message("a", 0)).await;
    let consumer = Consumer { host: &host, name: "one" };
    let taken = consumer.take(1).await;
    let begun = Instant::now();
    assert_eq!(consumer.nack(&taken, json!({ "delayMs": 300 })).await, json!(["durable"]));
    let again = consumer.take(1).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "it came after {:?}", begun.elapsed());
    assert_eq!((&again[0]["refused"], &again[0]["lost"]), (&json!(0), &json!(0)));
    assert_eq!(consumer.nack(&again, json!({ "skip": true })).await, json!(["durable"]));
    assert_eq!(consumer.take_now().await, [json!(null); 0]);
}

/// Puts `MANY` messages, each of a key of its own, and takes them all; in the order in which they were put.
async fn put_and_take_many(consumer: &Consumer<'_>) -> Vec<Value> {
    let messages: Vec<_> = (0..MANY).map(|n| message(&format!("k{n}"), n)).collect();
    put(consumer.host, "q", json!(messages)).await;
    let mut taken = Vec::new();
    while (taken.len() as u64) < MANY {
        taken.extend(consumer.take(MANY).await);
    }
    taken.sort_by_key(|message| message["event"]["data"].as_u64());
    taken
}

#[tokio::test]
async fn what_is_done_leaves_the_stream() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let consumer = Consumer { host: &host, name: "one" };
    let taken = put_and_take_many(&consumer).await;
    consumer.ack(&taken).await;
    trimmed_to(&host, MANY).await;
    let (_, page) = host.get("/api/event-streams/q/events").await;
    assert_eq!(page["events"], json!([]));
}

#[tokio::test]
async fn what_is_done_leaves_the_stream_however_few_keys_there_are() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    put(&host, "q", json!([message("a", 0), message("a", 1)])).await;
    let consumer = Consumer { host: &host, name: "one" };
    let taken = consumer.take(2).await;
    consumer.ack(&taken).await;
    trimmed_to(&host, 2).await;
}

#[tokio::test]
async fn a_dead_letter_outlives_its_message_in_the_log() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    let consumer = Consumer { host: &host, name: "one" };
    let taken = put_and_take_many(&consumer).await;
    assert_eq!(consumer.nack(&taken[..1], json!({ "park": "no such account" })).await, json!(["durable"]));
    consumer.ack(&taken[1..]).await;
    trimmed_to(&host, MANY).await;

    let group = "/api/groups/%24queue%2Fq/dead-letters";
    let (status, page) = host.get(group).await;
    assert_eq!(status, 200, "{page}");
    let letter = &page["deadLetters"][0];
    assert_eq!((&letter["error"], &letter["event"]["data"]), (&json!("no such account"), &json!(0)), "{page}");
    assert_eq!(letter["event"]["id"], taken[0]["event"]["id"]);
    let replayed = post(&host, &format!("{group}/replay"), json!({ "all": true })).await;
    assert_eq!(replayed, (200, json!({ "count": 1 })));
    let again = consumer.take(1).await;
    assert_eq!((&again[0]["event"], &again[0]["refused"]), (&taken[0]["event"], &json!(0)));
    assert_eq!(consumer.ack(&again).await, json!(["durable"]));
    let (_, page) = host.get(group).await;
    assert_eq!(page["deadLetters"], json!([]));
}

#[tokio::test]
async fn what_is_in_hand_when_the_host_is_killed_comes_back_and_what_is_done_does_not() {
    let mut host = TestHost::start().await;
    make(&host, "q").await;
    put(&host, "q", json!((0..4).map(|n| message(&format!("k{n}"), n)).collect::<Vec<_>>())).await;
    let consumer = Consumer { host: &host, name: "one" };
    let mut taken = Vec::new();
    while taken.len() < 4 {
        taken.extend(consumer.take(4).await);
    }
    taken.sort_by_key(|message| message["event"]["data"].as_u64());
    assert_eq!(consumer.ack(&taken[..2]).await, json!(["durable", "durable"]));
    let dir = host.kill().await;

    let host = TestHost::start_in(dir).await;
    let consumer = Consumer { host: &host, name: "two" };
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(consumer.take(4).await);
    }
    let mut numbers = data(&again);
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
    assert!(again.iter().all(|message| message["lost"] == 0), "a host that dies is no attempt: {again:?}");
    assert_eq!(consumer.ack(&again).await, json!(["durable", "durable"]));
    assert_eq!(consumer.take_now().await, [json!(null); 0]);
}

#[tokio::test]
async fn a_stream_that_is_no_queue_is_refused() {
    let host = TestHost::start().await;
    host.publish("s", &message("a", 0)).await;
    for (path, body) in [
        ("messages", message("a", 1)),
        ("dequeue", json!({ "consumer": "c" })),
        ("ack", json!({ "consumer": "c", "tokens": [1] })),
        ("nack", json!({ "consumer": "c", "tokens": [1], "refusal": { "skip": true } })),
        ("extend", json!({ "consumer": "c", "tokens": [1], "visibilityMs": 1_000 })),
    ] {
        let (status, problem) = post(&host, &format!("/api/queues/s/{path}"), body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("no_queue")), "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("kind: ephemeral")), "{problem}");
    }
    assert_eq!(host.get("/api/queues/s").await.0, 409);
    assert_eq!(host.get("/api/queues").await, (200, json!({ "queues": [] })));
    let (_, page) = host.get("/api/event-streams/s/events").await;
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "nothing was put: {page}");
}

#[tokio::test]
async fn every_mistake_is_named() {
    let host = TestHost::start().await;
    make(&host, "q").await;
    for (path, body, code, at) in [
        ("dequeue", json!({ "consumer": "c", "limit": 0 }), "invalid_argument", "limit"),
        ("dequeue", json!({ "consumer": "c", "waitMs": 60_001 }), "invalid_argument", "waitMs"),
        ("dequeue", json!({ "consumer": "c", "visibilityMs": 99 }), "invalid_argument", "visibilityMs"),
        ("dequeue", json!({ "consumer": 7 }), "invalid_argument", "consumer"),
        ("ack", json!({ "consumer": "c", "tokens": [] }), "invalid_argument", "tokens"),
        ("nack", json!({ "consumer": "c", "tokens": [1], "refusal": {} }), "invalid_argument", "refusal"),
        ("extend", json!({ "consumer": "c", "tokens": [1], "visibilityMs": 1 }), "invalid_argument", "visibilityMs"),
        ("messages", with(message("a", 0), "delayMs", 400_000_000_000), "invalid_event", "events[0].delayMs"),
        ("messages", json!({ "type": "a", "data": 1, "delay": 1 }), "invalid_event", "events[0]"),
    ] {
        let (status, problem) = post(&host, &format!("/api/queues/q/{path}"), body).await;
        assert_eq!((status, &problem["code"]), (400, &json!(code)), "{path}: {problem}");
        assert_eq!(problem["details"][0]["at"], json!(at), "{path}: {problem}");
    }
    let (status, problem) = post(&host, "/api/queues/q/dequeue", json!({ "consumer": "" })).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")), "{problem}");
    let event = with(message("a", 0), "delayMs", 5).to_string();
    let (status, problem) = host.post("/api/event-streams/s/events", "application/json", event).await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("events[0].delayMs")), "{problem}");
    host.assert_healthy().await;
}
