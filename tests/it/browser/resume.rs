//! The examples follow a stream across hosts that are killed: no gap, no repeat.

use std::sync::Arc;

use super::{publish, start};
use crate::support::TestHost;

/// Runs an example while its host is killed twice. `first`: the first offset that it sees.
async fn survives(script: &str, from: &str, more: &[&str]) {
    let dir = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let mut host = TestHost::start_in(dir).await;
    let url = host.url.clone();
    publish(&host, "order-1", 0, 20, false).await;
    let mut args = vec![url.as_str(), "order-1", from];
    args.extend(more);
    let Some(mut script) = start(script, &args, None) else { return };
    let mut seen: Vec<String> = Vec::new();
    let first = if from == "live" { 20 } else { 0 };
    while !script_follows(&seen) {
        seen.push(script.line().await.expect("it goes on"));
    }
    for round in 0..2 {
        let dir = host.kill().await;
        host = TestHost::start_again(dir, &url).await;
        publish(&host, "order-1", 20 + round * 20, 40 + round * 20, round == 1).await;
    }
    seen.extend(script.rest().await);
    let offsets: Vec<u64> = seen.iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert_eq!(offsets, (first..=60).collect::<Vec<_>>(), "no gap, no repeat: {seen:?}");
}

/// Whether it is connected.
fn script_follows(seen: &[String]) -> bool {
    seen.iter().any(|line| line.starts_with("subscribed") || line.starts_with("following"))
}

#[tokio::test]
async fn signalr_over_websockets() {
    survives("signalr.mjs", "0", &["WebSockets"]).await;
}

#[tokio::test]
async fn signalr_over_server_sent_events() {
    survives("signalr.mjs", "0", &["ServerSentEvents"]).await;
}

#[tokio::test]
async fn signalr_over_long_polling() {
    survives("signalr.mjs", "0", &["LongPolling"]).await;
}

#[tokio::test]
async fn signalr_live_only() {
    survives("signalr.mjs", "live", &["WebSockets"]).await;
}

#[tokio::test]
async fn signalr_in_python() {
    survives("signalr_follow.py", "0", &[]).await;
}

#[tokio::test]
async fn event_source() {
    survives("sse.mjs", "0", &[]).await;
}

#[tokio::test]
async fn plain_websocket() {
    survives("socket.mjs", "0", &[]).await;
}
