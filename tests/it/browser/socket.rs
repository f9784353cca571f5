//! The plain WebSocket and server-sent events with stock clients.

use super::{all_gone, host, publish, start};
use crate::support::TestHost;

#[tokio::test]
async fn the_plain_websocket_keeps_credit_and_acknowledgements() {
    let host = host().await;
    let Some(script) = start("test/socket.mjs", &[&host.url, "socket"], None) else { return };
    let lines = script.rest().await;
    assert_eq!(lines.len(), 6, "{lines:?}");
    all_gone(&host).await;
    host.assert_healthy().await;
}

/// The types that a page wants are chosen by the host, and the place goes on all the same.
#[tokio::test]
async fn server_sent_events_of_a_stream_may_be_filtered() {
    let host = TestHost::start().await;
    publish(&host, "s", 0, 30, true).await;
    let response = reqwest::get(host.path("/api/event-streams/s/events/live?from=0&types=end,other")).await;
    let mut response = response.expect("an answer");
    let mut text = String::new();
    while !text.contains("data: ") {
        text += std::str::from_utf8(&response.chunk().await.expect("read").expect("more")).expect("text");
    }
    let (_, data) = text.split_once("data: ").expect("an event");
    assert!(data.contains("\"offset\":30") && data.contains("\"type\":\"end\""), "{text}");
    assert_eq!(host.get("/api/event-streams/s/events/live?streams=s").await.0, 400);
}
