//! Live readers: each event once, in order, whatever goes on meanwhile.

use futures_util::StreamExt;
use serde_json::{Value, json};
use wasmill_server::proto::{AppendRequest, FollowLogRequest, FollowStreamRequest, NewEvent};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

fn append(stream: &str) -> AppendRequest {
    let event = NewEvent { r#type: "counted".into(), data: "{}".into(), ..NewEvent::default() };
    AppendRequest { stream: stream.into(), events: vec![event], ..AppendRequest::default() }
}

/// Publishes `count` events over `streams` streams from several tasks at once.
async fn publish(host: &TestHost, count: u64, streams: u64) {
    let publishers = (0..4).map(|publisher| {
        let channel = host.log();
        async move {
            let mut log = channel.await;
            for n in (publisher..count).step_by(4) {
                log.append(append(&format!("s-{}", n % streams))).await.expect("taken");
            }
        }
    });
    futures_util::future::join_all(publishers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_the_log_sees_each_event_once_in_order() {
    let host = TestHost::start().await;
    publish(&host, 500, 3).await;
    let request = FollowLogRequest { from_position: Some(0), ..FollowLogRequest::default() };
    let mut pages = host.log().await.follow_log(request).await.expect("followed").into_inner();
    let read = async {
        let mut next = 0;
        while next < 1_500 {
            let page =
                tokio::time::timeout(PATIENCE, pages.message()).await.expect("in time").expect("read").expect("a page");
            for event in page.events {
                assert_eq!(event.into_event().expect("an event").position().0, next, "no gap, no repeat");
                next += 1;
            }
        }
    };
    tokio::join!(read, publish(&host, 1_000, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_a_stream_that_does_not_exist_yet_sees_it_from_its_first_event() {
    let host = TestHost::start().await;
    let request = FollowStreamRequest { stream: "s-1".into(), from_offset: Some(0), ..FollowStreamRequest::default() };
    let mut pages = host.log().await.follow_stream(request).await.expect("followed").into_inner();
    let read = async {
        let mut next = 0;
        while next < 200 {
            let page =
                tokio::time::timeout(PATIENCE, pages.message()).await.expect("in time").expect("read").expect("a page");
            for event in page.events {
                let event = event.into_event().expect("an event");
                assert_eq!((event.stream(), event.offset().0), ("s-1", next), "no gap, no repeat");
                next += 1;
            }
        }
    };
    tokio::join!(read, publish(&host, 600, 3));
}

/// Reads server-sent events until `enough` have come; returns their ids and data.
async fn sse(host: &TestHost, path: &str, last_event_id: Option<u64>, enough: usize) -> Vec<(u64, Value)> {
    let mut request = reqwest::Client::new().get(host.path(path)).header("accept", "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id.to_string());
    }
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut body, mut text, mut events) = (response.bytes_stream(), String::new(), Vec::new());
    while events.len() < enough {
        let piece = tokio::time::timeout(PATIENCE, body.next()).await.expect("in time").expect("more").expect("read");
        text.push_str(std::str::from_utf8(&piece).expect("ASCII data"));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                events.push((id.parse().expect("a number"), serde_json::from_str(data).expect("JSON")));
            }
            text = rest.to_owned();
        }
    }
    events.truncate(enough);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_resume_after_the_last_one_seen() {
    let host = TestHost::start().await;
    publish(&host, 20, 2).await;
    let events = sse(&host, "/api/events/live?from=0", None, 12).await;
    assert_eq!(events.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    assert_eq!(events[3].1["position"], json!(3));
    let live = publish(&host, 20, 2);
    let (events, ()) = tokio::join!(sse(&host, "/api/events/live", Some(11), 28), live);
    assert_eq!(events.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (12..40).collect::<Vec<_>>(), "no gap, no repeat");
    let events = sse(&host, "/api/event-streams/s-1/events/live", Some(4), 15).await;
    assert_eq!(
        events.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        (5..20).collect::<Vec<_>>(),
        "offsets in a stream"
    );
}

/// A browser that loses its connection before the first event knows where to go on all the same.
#[tokio::test]
async fn server_sent_events_say_where_they_begin() {
    let host = TestHost::start().await;
    for (id, path) in
        [("-1", "/api/events/live"), ("3", "/api/events/live"), ("1", "/api/event-streams/s-1/events/live")]
    {
        let response = reqwest::get(host.path(path)).await.expect("an answer");
        let hello = response.bytes_stream().next().await.expect("a hello").expect("read");
        let hello = std::str::from_utf8(&hello).expect("text");
        assert!(hello.lines().any(|line| line == format!("id: {id}")), "{path}: {hello}");
        if id == "-1" {
            publish(&host, 4, 2).await;
        }
    }
    assert_eq!(sse(&host, "/api/events/live?from=2", None, 2).await[0].0, 2);
    let mut request = reqwest::Client::new().get(host.path("/api/events/live"));
    request = request.header("last-event-id", "-1");
    let mut body = request.send().await.expect("an answer").bytes_stream();
    let mut text = String::new();
    while !text.contains("data: ") {
        text += std::str::from_utf8(&body.next().await.expect("more").expect("read")).expect("text");
    }
    assert!(text.contains("\"position\":0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_followers_and_exits_with_0() {
    let host = TestHost::start().await;
    let request = FollowLogRequest::default();
    let mut pages = host.log().await.follow_log(request).await.expect("followed").into_inner();
    publish(&host, 4, 1).await;
    let (code, dir) = host.terminate().await;
    assert_eq!(code, Some(0));
    while let Ok(Some(_)) = pages.message().await {}
    let host = TestHost::start_in(dir).await;
    let (_, log) = host.get("/api/log").await;
    assert_eq!(log["nextPosition"], json!(4), "a drained host has everything");
}
