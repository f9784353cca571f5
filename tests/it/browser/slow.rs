//! Browsers that do not keep up, and those that vanish.

use std::time::Instant;

use serde_json::json;

use super::hub::{Socket, greeted, hear, open, say};
use super::{all_gone, metric, until};
use crate::figures::memory;
use crate::support::TestHost;
use crate::support::host::PATIENCE;

const EVENTS: u64 = 1_000;
const EVENT_BYTES: usize = 20_000;
/// Connections that never read.
const STUCK: usize = 50;
/// What a stuck connection may hold: three frames of 32 KiB each, in JSON, and the buffers around them.
const STUCK_BYTES_MAX: usize = 512 * 1024;

async fn subscribe(socket: &mut Socket, stream: &str) {
    let call = json!({ "type": 1, "target": "SubscribeToStream", "arguments": [stream, 0] });
    say(socket, &format!("{call}\u{1e}")).await;
}

async fn read_all(socket: &mut Socket) {
    let mut next = 0;
    while next < EVENTS {
        for message in hear(socket).await.expect("more") {
            if message["target"] == "EventReceived" {
                assert_eq!(message["arguments"][1]["offset"], json!(next), "no gap, no repeat");
                next += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_does_not_read_slows_only_itself() {
    let host = TestHost::start().await;
    let data = "x".repeat(EVENT_BYTES);
    for _ in 0..EVENTS / 50 {
        let events: Vec<_> = (0..50).map(|_| json!({ "type": "t", "data": data })).collect();
        host.publish("large", &json!(events)).await;
    }
    // Whatever reading once costs is there before the others come.
    let mut fast = greeted(&host, "").await;
    subscribe(&mut fast, "large").await;
    let started = Instant::now();
    read_all(&mut fast).await;
    println!("alone {EVENTS} events took {:?}", started.elapsed());
    let before = memory(&host);
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let mut socket = greeted(&host, "").await;
        subscribe(&mut socket, "large").await;
        stuck.push(socket);
    }
    until(&host, "wasmill_push_subscriptions", STUCK as f64 + 1.0).await;
    let started = Instant::now();
    let mut other = greeted(&host, "").await;
    subscribe(&mut other, "large").await;
    read_all(&mut other).await;
    println!("beside {STUCK} stuck ones {EVENTS} events took {:?}", started.elapsed());
    let started = Instant::now();
    let mut later = greeted(&host, "").await;
    subscribe(&mut later, "large").await;
    read_all(&mut later).await;
    println!("when those have filled their lines it takes {:?}", started.elapsed());
    host.publish("large", &json!([{ "type": "t", "data": {} }])).await;
    hear(&mut other).await.expect("a live event");
    let delivered = metric(&host, "wasmill_events_delivered_total{via=\"signalr-websocket\"}").await;
    let grown = memory(&host).saturating_sub(before);
    println!("{STUCK} stuck connections cost {} KiB each; {delivered} events delivered", grown / 1024 / STUCK);
    assert!(grown < STUCK * STUCK_BYTES_MAX, "{grown} bytes for {STUCK} stuck connections");
    assert!(delivered < (EVENTS as f64) * 20.0, "nothing is read for who takes nothing: {delivered}");
    drop((stuck, fast, other, later));
    all_gone(&host).await;
    host.assert_healthy().await;
}

/// Followers were polled with their connection once. When a client took nothing, theirs stood still in the middle
/// of a read, with a connection to the database: a few such clients made the store unreachable for everyone.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_keeps_nothing_from_others() {
    const STREAMS: usize = 30;
    const CLIENTS: usize = 8;
    let host = TestHost::start().await;
    let events: Vec<_> = (0..40).map(|_| json!({ "type": "t", "data": "x".repeat(EVENT_BYTES) })).collect();
    for n in 0..STREAMS {
        host.publish(&format!("large-{n}"), &json!(events)).await;
    }
    let mut stuck = Vec::new();
    for _ in 0..CLIENTS {
        let mut socket = greeted(&host, "").await;
        for n in 0..STREAMS {
            subscribe(&mut socket, &format!("large-{n}")).await;
        }
        stuck.push(socket);
    }
    until(&host, "wasmill_push_subscriptions", (STREAMS * CLIENTS) as f64).await;
    for n in 0..STREAMS {
        let (status, body) = host.get(&format!("/api/event-streams/large-{n}/events?limit=1")).await;
        assert_eq!(status, 200, "{body}");
    }
    let mut other = greeted(&host, "").await;
    subscribe(&mut other, "large-7").await;
    let mut next = 0;
    while next < 40 {
        let said = hear(&mut other).await.expect("more");
        next += said.iter().filter(|message| message["target"] == "EventReceived").count();
    }
    drop((stuck, other));
    all_gone(&host).await;
}

/// Gone without a word, over every transport.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_those_who_vanish() {
    let host = TestHost::start().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = greeted(&host, "").await;
        subscribe(&mut socket, "s").await;
        sockets.push(socket);
        let mut socket = open(&host, "/api/ws", None).await.expect("it is taken");
        for id in ["a", "b"] {
            say(&mut socket, &json!({ "op": "subscribe", "id": id }).to_string()).await;
        }
        sockets.push(socket);
    }
    let (_, negotiated) = host.post("/hubs/events/negotiate?negotiateVersion=1", "text/plain", "").await;
    let id = negotiated["connectionToken"].as_str().expect("a token");
    let path = host.path(&format!("/hubs/events?id={id}"));
    let listening = reqwest::Client::new().get(&path).header("accept", "text/event-stream");
    let listening = listening.send().await.expect("an answer");
    assert_eq!(listening.status(), 200);
    let handshake = format!(
        "{{\"protocol\":\"json\",\"version\":1}}\u{1e}{}\u{1e}",
        json!({ "type": 1, "target": "SubscribeToStream", "arguments": ["s"] })
    );
    let sent = reqwest::Client::new().post(&path).body(handshake).send().await.expect("an answer");
    assert_eq!(sent.status(), 200);
    until(&host, "wasmill_push_connections", 41.0).await;
    until(&host, "wasmill_push_subscriptions", 61.0).await;
    let started = Instant::now();
    drop((sockets, listening));
    all_gone(&host).await;
    assert!(started.elapsed() < PATIENCE);
}
