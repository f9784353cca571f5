//! CDEvents, which four versions of one specification wrote, read as the newest version by every kind of reader;
//! and as they were published by those who ask for that. What the newest version is of each is checked by
//! `plugins/cdevents/tests`, natively; here it is that all readers see the same.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use wasmill_server::proto::consume_request::Kind as Ask;
use wasmill_server::proto::consume_response::Kind as Said;
use wasmill_server::proto::group_service_client::GroupServiceClient;
use wasmill_server::proto::{
    ConsumeOpen, ConsumeRequest, Filter, FilterTerm, FollowLogRequest, FollowStreamRequest, ListDeadLettersRequest,
    ReadLogRequest, ReadStreamRequest,
};
use wasmill_server::wire::Event;

use crate::browser::hub::{greeted, hear, open, say};
use crate::cli::run_json;
use crate::groups_http::{Member, make};
use crate::plugin_kinds::live;
use crate::support::host::PATIENCE;
use crate::support::{TestHost, data_set, flights};

/// What a reader sees of an event: its type, and its data.
type Seen = (String, Value);
/// By the event's id.
type All = BTreeMap<String, Seen>;

const NEWEST: &str = "cdevents-v0.5.1";

fn seen(event: &Value) -> (String, Seen) {
    assert!(event.get("upcastError").is_none(), "{event}");
    let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{name}: {event}")).to_owned();
    (text("id"), (text("type"), event["data"].clone()))
}

fn all<'a>(events: impl IntoIterator<Item = &'a Value>) -> All {
    events.into_iter().map(seen).collect()
}

fn seen_over_grpc(event: Event) -> (String, Seen) {
    let event = event.into_event().expect("an event");
    assert_eq!((event.upcast_error(), event.schema_version()), (None, 1));
    let data = serde_json::from_slice(event.data()).expect("JSON");
    (event.id().to_string(), (event.event_type().to_owned(), data))
}

/// Those of one stream.
fn of(stream: &str, published: &[Value], all: &All) -> All {
    let its = published.iter().filter(|event| event["stream"] == stream);
    its.map(|event| event["id"].as_str().expect("an id")).map(|id| (id.to_owned(), all[id].clone())).collect()
}

async fn events(host: &TestHost, path: &str) -> All {
    let (status, page) = host.get(path).await;
    assert_eq!(status, 200, "{page}");
    all(page["events"].as_array().expect("events"))
}

/// A host with the events, as they were published and as they are read; `None` where there are none.
async fn with_events() -> Option<(TestHost, Vec<Value>, All, All)> {
    let published = data_set("cdevents.jsonl.gz")?;
    let host = TestHost::start().await;
    for stream in streams(&published) {
        let its = published.iter().filter(|event| event["stream"] == stream);
        let event = |event: &Value| {
            let mut event = event.clone();
            event.as_object_mut().expect("an object").remove("stream");
            event
        };
        host.publish(&stream, &its.map(event).collect()).await;
    }
    let raw = all(&published);
    assert_eq!(events(&host, "/api/events?limit=1000").await, raw, "there is nothing to lift them yet");
    // A projection that is there before is built anew.
    host.deploy(&flights::guest("test-guest")).await;
    host.deploy(&flights::guest("cdevents")).await;
    let lifted = events(&host, "/api/events?limit=1000").await;
    assert_eq!(lifted.keys().collect::<Vec<_>>(), raw.keys().collect::<Vec<_>>());
    Some((host, published, raw, lifted))
}

fn streams(published: &[Value]) -> Vec<String> {
    let mut streams: Vec<_> = published.iter().map(|event| event["stream"].as_str().expect("a stream")).collect();
    streams.dedup();
    streams.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_read_and_subscription_sees_the_newest_version_or_what_was_published() {
    let Some((host, published, raw, lifted)) = with_events().await else { return };
    let newest: Vec<_> = of(NEWEST, &published, &raw).into_values().map(|(event_type, _)| event_type).collect();
    assert!(lifted.values().all(|(event_type, _)| newest.contains(event_type)), "all are of the newest version");
    assert_eq!(lifted.iter().filter(|(id, seen)| raw[*id] == **seen).count(), 45, "what was the newest stays");
    let forms = [("false", &lifted), ("true", &raw)];

    for (form, expected) in forms {
        assert_eq!(&events(&host, &format!("/api/events?limit=1000&raw={form}")).await, expected);
        let live_path = format!("/api/events/live?from=0&raw={form}");
        assert_eq!(&all(&live(&host, &live_path, raw.len()).await), expected);
        let raw = form == "true";
        assert_eq!(&read_log(&host, raw, Filter::default()).await, expected);
        assert_eq!(&follow_log(&host, raw, expected.len()).await, expected);
        assert_eq!(&socket(&host, json!({ "from": 0, "raw": raw }), expected.len()).await, expected);
        for stream in streams(&published) {
            let expected = &of(&stream, &published, expected);
            let path = format!("/api/event-streams/{stream}/events");
            assert_eq!(&events(&host, &format!("{path}?limit=1000&raw={form}")).await, expected);
            let live_path = format!("{path}/live?from=0&raw={form}");
            assert_eq!(&all(&live(&host, &live_path, expected.len()).await), expected);
            assert_eq!(&read_stream(&host, &stream, raw).await, expected);
            assert_eq!(&follow_stream(&host, &stream, raw, expected.len()).await, expected);
            let asked = json!({ "stream": stream, "from": 0, "raw": raw });
            assert_eq!(&socket(&host, asked, expected.len()).await, expected);
            let flag = if raw { "--raw" } else { "" };
            assert_eq!(&all(&run_json(&host, &format!("read {stream} {flag}")).await.lines()), expected);
        }
    }
    for stream in streams(&published) {
        let expected = of(&stream, &published, &lifted);
        assert_eq!(hub(&host, &stream, expected.len()).await, expected);
    }

    // Filters look at what is handed out: what four versions wrote under three names is found by one.
    let (finished, wanted) = ("dev.cdevents.testcaserun.finished.0.3.0", |all: &All| {
        let wanted = |(_, (event_type, _)): &(_, &Seen)| event_type == "dev.cdevents.testcaserun.finished.0.3.0";
        all.iter().filter(wanted).map(|(id, seen)| (id.clone(), seen.clone())).collect::<All>()
    });
    assert_eq!((wanted(&lifted).len(), wanted(&raw).len()), (4, 1));
    let term = FilterTerm { types: vec![finished.into()], ..FilterTerm::default() };
    for (form, expected) in forms {
        let expected = wanted(expected);
        assert_eq!(events(&host, &format!("/api/events?types={finished}&raw={form}")).await, expected);
        let filter = Filter { terms: vec![term.clone()] };
        assert_eq!(read_log(&host, form == "true", filter).await, expected);
        let asked = json!({ "types": [finished], "from": 0, "raw": form == "true" });
        assert_eq!(socket(&host, asked, expected.len()).await, expected);
    }
}

async fn read_log(host: &TestHost, raw: bool, filter: Filter) -> All {
    let request = ReadLogRequest { raw, filter: Some(filter), ..ReadLogRequest::default() };
    let mut pages = host.log().await.read_log(request).await.expect("read").into_inner();
    let mut found = All::new();
    while let Some(page) = pages.message().await.expect("read") {
        found.extend(page.events.into_iter().map(seen_over_grpc));
    }
    found
}

async fn read_stream(host: &TestHost, stream: &str, raw: bool) -> All {
    let request = ReadStreamRequest { stream: stream.into(), raw, ..ReadStreamRequest::default() };
    let mut pages = host.log().await.read_stream(request).await.expect("read").into_inner();
    let mut found = All::new();
    while let Some(page) = pages.message().await.expect("read") {
        found.extend(page.events.into_iter().map(seen_over_grpc));
    }
    found
}

async fn follow_log(host: &TestHost, raw: bool, count: usize) -> All {
    let request = FollowLogRequest { from_position: Some(0), raw, ..FollowLogRequest::default() };
    let mut pages = host.log().await.follow_log(request).await.expect("followed").into_inner();
    let mut found = All::new();
    while found.len() < count {
        let page = timeout(PATIENCE, pages.message()).await.expect("in time").expect("read").expect("more");
        found.extend(page.events.into_iter().map(seen_over_grpc));
    }
    found
}

async fn follow_stream(host: &TestHost, stream: &str, raw: bool, count: usize) -> All {
    let request = FollowStreamRequest { stream: stream.into(), from_offset: Some(0), raw, from_time_us: None };
    let mut pages = host.log().await.follow_stream(request).await.expect("followed").into_inner();
    let mut found = All::new();
    while found.len() < count {
        let page = timeout(PATIENCE, pages.message()).await.expect("in time").expect("read").expect("more");
        found.extend(page.events.into_iter().map(seen_over_grpc));
    }
    found
}

/// Subscribes on the plain WebSocket.
async fn socket(host: &TestHost, mut asked: Value, count: usize) -> All {
    asked["op"] = "subscribe".into();
    asked["id"] = "all".into();
    socket_events(host, &asked, count).await
}

async fn socket_events(host: &TestHost, asked: &Value, count: usize) -> All {
    let mut socket = open(host, "/api/ws", None).await.expect("it is taken");
    say(&mut socket, &asked.to_string()).await;
    let mut found = All::new();
    while found.len() < count {
        for said in hear(&mut socket).await.expect("more") {
            assert_ne!(said["op"], "error", "{said}");
            if said["op"] == "event" {
                found.extend([seen(&said["event"])]);
            }
        }
    }
    found
}

/// Subscribes on the SignalR hub.
async fn hub(host: &TestHost, stream: &str, count: usize) -> All {
    let mut socket = greeted(host, "?case=camel").await;
    let call = json!({ "type": 1, "target": "SubscribeToStream", "arguments": [stream, 0] });
    say(&mut socket, &format!("{call}\u{1e}")).await;
    let mut found = All::new();
    while found.len() < count {
        let said = hear(&mut socket).await.expect("more");
        for event in said.iter().filter(|said| said["target"] == "EventReceived").map(|said| &said["arguments"][1]) {
            // The hub's words for the same.
            let event = json!({ "id": event["eventId"], "type": event["eventType"], "data": event["data"] });
            found.extend([seen(&event)]);
        }
    }
    found
}

/// Takes and acknowledges until there were so many.
async fn work(member: &Member<'_>, count: usize) -> All {
    let mut found = All::new();
    while found.len() < count {
        let deliveries = member.pull(100).await;
        member.ack(&deliveries).await;
        found.extend(deliveries.iter().map(|delivery| seen(&delivery["event"])));
    }
    found
}

#[tokio::test]
async fn groups_dead_letters_and_replays_hand_out_the_newest_version() {
    let Some((host, published, _, lifted)) = with_events().await else { return };
    let types: Vec<_> = of(NEWEST, &published, &lifted).into_values().map(|(event_type, _)| event_type).collect();

    // Over HTTP, with a filter that only the newest version passes.
    make(&host, "newest", json!({ "types": types })).await;
    let member = Member::join(&host, "newest", "w").await;
    assert_eq!(work(&member, lifted.len()).await, lifted);

    // Over gRPC, and over the browsers' socket.
    make(&host, "streamed", json!({ "streams": ["cdevents-*"] })).await;
    assert_eq!(consume(&host, "streamed", lifted.len()).await, lifted);
    make(&host, "socket", json!({ "streams": ["cdevents-*"] })).await;
    let join = json!({ "op": "join", "id": "m", "group": "socket", "credit": 1000 });
    assert_eq!(socket_events(&host, &join, lifted.len()).await, lifted);

    // All are dead letters, those too that follow one of their key.
    make(&host, "dead", json!({ "streams": ["cdevents-*"] })).await;
    let dead = Member::join(&host, "dead", "w").await;
    let (until, mut letters) = (Instant::now() + PATIENCE, All::new());
    while letters.len() < lifted.len() {
        assert!(Instant::now() < until, "{} dead letters", letters.len());
        let (_, pulled) = dead.call("pull", json!({ "limit": 100, "waitMs": 100 })).await;
        let deliveries = pulled["deliveries"].as_array().expect("deliveries");
        if !deliveries.is_empty() {
            dead.nack(deliveries, json!({ "park": "no" })).await;
        }
        letters = dead_letters(&host).await;
    }
    assert_eq!(letters, lifted);
    assert_eq!(dead_letters_over_grpc(&host).await, lifted);
    assert_eq!(run_json(&host, "deadletter replay dead --all").await.code, Some(0));
    assert_eq!(work(&dead, lifted.len()).await, lifted);

    // A replay to a group, and one to a client.
    let replay =
        json!({ "group": "newest", "source": { "streams": ["cdevents-*"] }, "from": { "first": true } }).to_string();
    let (status, started) = host.send("POST", "/api/replays", &[], &replay).await;
    assert_eq!(status, 201, "{started}");
    assert_eq!(work(&member, lifted.len()).await, lifted);
    for stream in streams(&published) {
        let replayed = run_json(&host, &format!("replay start --client --stream {stream}")).await;
        assert_eq!(all(&replayed.lines()), of(&stream, &published, &lifted));
    }
}

async fn consume(host: &TestHost, group: &str, count: usize) -> All {
    let open = ConsumeOpen { group: group.into(), member: "w".into(), credit: 1_000 };
    let (_keep, asking) = tokio::sync::oneshot::channel::<()>();
    let requests = futures_util::stream::unfold((Some(open), asking), async |(open, asking)| match open {
        Some(open) => Some((ConsumeRequest { kind: Some(Ask::Open(open)) }, (None, asking))),
        // Until the test has all that it wants.
        None => asking.await.ok().and(None),
    });
    let mut client = GroupServiceClient::new(host.channel().await);
    let mut said = client.consume(requests).await.expect("a member").into_inner();
    let mut found = All::new();
    while found.len() < count {
        let message = timeout(PATIENCE, said.message()).await.expect("in time").expect("read").expect("more");
        if let Some(Said::Deliveries(deliveries)) = message.kind {
            let events = deliveries.deliveries.into_iter().map(|delivery| delivery.event.expect("an event"));
            found.extend(events.map(seen_over_grpc));
        }
    }
    found
}

async fn dead_letters(host: &TestHost) -> All {
    let (mut found, mut from) = (All::new(), json!(0));
    loop {
        let (status, page) = host.get(&format!("/api/groups/dead/dead-letters?from={from}")).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["deadLetters"].as_array().expect("letters").iter().map(|letter| seen(&letter["event"])));
        match page.get("next") {
            Some(next) => from = next.clone(),
            None => return found,
        }
    }
}

async fn dead_letters_over_grpc(host: &TestHost) -> All {
    let mut client = GroupServiceClient::new(host.channel().await);
    let (mut found, mut next) = (All::new(), Some(0));
    while let Some(from_position) = next {
        let request = ListDeadLettersRequest { group: "dead".into(), from_position, limit: None };
        let page = client.list_dead_letters(request).await.expect("listed").into_inner();
        found.extend(page.dead_letters.into_iter().map(|letter| seen_over_grpc(letter.event.expect("an event"))));
        next = page.next_position;
    }
    found
}

#[tokio::test]
async fn projections_and_handlers_fold_the_newest_version() {
    let Some((host, _, _, lifted)) = with_events().await else { return };
    // What it had folded before there was an upcaster is gone when the new build serves.
    let path = "/api/projections/test-guest/documents/echoes?limit=1000&waitFor=164&timeout=60s";
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(20)));
    loop {
        pace.tick().await;
        let (status, page) = host.get(path).await;
        assert_eq!(status, 200, "{page}");
        let documents = page["documents"].as_array().expect("documents").iter();
        let document = |document: &Value| {
            let event = &document["value"];
            let event_type = event["type"].as_str().expect("a type").to_owned();
            (document["key"].as_str().expect("a key").to_owned(), (event_type, event["data"].clone()))
        };
        if documents.map(document).collect::<All>() == lifted {
            break;
        }
        assert!(Instant::now() < until, "it folds what is lifted");
    }

    let component = std::fs::read(flights::guest("test-handler")).expect("the guest is built");
    let (status, deployed) = host.post("/api/plugins?grantAll=true&from=first", "application/wasm", component).await;
    assert_eq!(status, 201, "{deployed}");
    let told = "/api/event-streams/done-seen/events?limit=1000";
    let (until, mut told_of) = (Instant::now() + PATIENCE, All::new());
    while told_of.len() < lifted.len() {
        assert!(Instant::now() < until, "the handler has told of {}", told_of.len());
        pace.tick().await;
        let (status, page) = host.get(told).await;
        let events = page["events"].as_array().filter(|_| status == 200);
        told_of = events.into_iter().flatten().map(heard).collect();
    }
    assert_eq!(told_of, lifted);
}

/// What the handler says that it was handed.
fn heard(event: &Value) -> (String, Seen) {
    let cause = event["causationId"].as_str().expect("a cause").to_owned();
    let event_type = event["data"]["type"].as_str().expect("a type").to_owned();
    (cause, (event_type, event["data"]["data"].clone()))
}
