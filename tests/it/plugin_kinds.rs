//! Handlers and upcasters over the real binary: what they may, what they do exactly once, who sees what is lifted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::{run, run_json};
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

fn component(name: &str) -> Vec<u8> {
    std::fs::read(flights::guest(name)).expect("the guest is built")
}

async fn deploy(host: &TestHost, name: &str, query: &str) -> (u16, Value) {
    host.post(&format!("/api/plugins?{query}"), "application/wasm", component(name)).await
}

async fn events(host: &TestHost, path: &str) -> Vec<Value> {
    let (status, page) = host.get(path).await;
    if status == 404 {
        return Vec::new();
    }
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().expect("events").clone()
}

/// Waits until a stream has so many events, and returns them.
async fn comes_to(host: &TestHost, stream: &str, count: usize) -> Vec<Value> {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(10)));
    let path = format!("/api/event-streams/{stream}/events?limit=1000");
    loop {
        pace.tick().await;
        let found = events(host, &path).await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        let told = || async { host.get("/api/plugins/test-handler/status").await.1 };
        assert!(Instant::now() < until, "{count} events in {stream}: {found:?}; {}", told().await);
    }
}

/// Waits until the handler is done with all that the log has.
async fn is_done(host: &TestHost) -> Value {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(10)));
    loop {
        pace.tick().await;
        let (code, status) = host.get("/api/plugins/test-handler/status").await;
        if code == 200 && status["lagEvents"] == json!(0) {
            return status;
        }
        assert!(Instant::now() < until, "the handler is done: {code} {status}");
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

fn emits(stream: &str, event_type: &str) -> Value {
    json!({ "emit": [{ "stream": stream, "type": event_type, "data": 1 }] })
}

#[tokio::test]
async fn a_handler_appends_only_where_it_was_granted_and_begins_where_it_is_told() {
    let host = TestHost::start().await;
    let before =
        host.publish("task-1", &json!([{ "type": "work", "key": "k", "data": emits("done-1", "before") }])).await;
    assert_eq!(before["lastPosition"], json!(0));
    let (status, problem) = deploy(&host, "test-handler", "").await;
    let at = problem["details"][0]["at"].as_str();
    assert_eq!((status, problem["code"].as_str(), at), (400, Some("invalid_argument"), Some("grants.append:done-*")));
    assert_eq!(host.get("/api/plugins").await.1["plugins"], json!([]), "nothing was deployed");
    let (status, deployed) = deploy(&host, "test-handler", "grant=append:done-*&set=prefix=now.").await;
    let plugin = &deployed["plugin"];
    assert_eq!(
        (status, &plugin["grants"], &plugin["config"]["prefix"]),
        (201, &json!(["append:done-*"]), &json!("now."))
    );

    // It does not react to the past, and says what caused what it emits.
    let sent =
        json!([{ "type": "work", "key": "k", "data": emits("done-1", "after") }, { "type": "prefixed", "data": {} }]);
    host.publish("task-1", &sent).await;
    let found = comes_to(&host, "done-1", 1).await;
    assert_eq!(types(&found), ["after"]);
    let cause = events(&host, "/api/event-streams/task-1/events?from=1&limit=2").await;
    assert_eq!(found[0]["causationId"], cause[0]["id"], "{found:?}");
    let named = comes_to(&host, "done-prefixed", 1).await;
    assert_eq!(types(&named), [format!("now.{}", cause[1]["id"].as_str().expect("an id"))]);

    // Reset, it handles the past too, and nothing of it twice: what it emits again is known by its id.
    let reset = run_json(&host, "plugin reset test-handler --to first").await.json();
    assert_eq!((&reset["done"], &reset["position"]), (&json!("reset"), &json!(0)));
    assert_eq!(types(&comes_to(&host, "done-1", 2).await), ["after", "before"]);
    is_done(&host).await;
    assert_eq!((comes_to(&host, "done-1", 2).await.len(), comes_to(&host, "done-prefixed", 1).await.len()), (2, 1));

    // Another configuration is another revision of the same component, which goes on where this one was.
    let configured = run_json(&host, "plugin configure test-handler --config prefix=then.").await.json();
    assert_eq!((&configured["changed"], &configured["plugin"]["revision"]), (&json!(true), &json!(2)));
    host.publish("task-1", &json!([{ "type": "prefixed", "data": {} }])).await;
    let name = |events: &[Value], n: usize| events[n]["type"].as_str().expect("a type").to_owned();
    assert!(name(&comes_to(&host, "done-prefixed", 2).await, 1).starts_with("then."));
    run_json(&host, "plugin rollback test-handler").await.json();
    host.publish("task-1", &json!([{ "type": "prefixed", "data": {} }])).await;
    assert!(name(&comes_to(&host, "done-prefixed", 3).await, 2).starts_with("now."));
    let text = reqwest::get(host.path("/metrics")).await.expect("an answer").text().await.expect("text");
    assert!(text.contains(r#"wasmill_handler_lag_events{plugin="test-handler"}"#), "{text}");
}

#[tokio::test]
async fn a_handler_may_begin_at_the_first_event() {
    let host = TestHost::start().await;
    host.publish("task-1", &json!([{ "type": "work", "key": "k", "data": emits("done-1", "did") }])).await;
    let (status, deployed) = deploy(&host, "test-handler", "grantAll=true&from=first").await;
    assert_eq!(status, 201, "{deployed}");
    assert_eq!(types(&comes_to(&host, "done-1", 1).await), ["did"]);
}

/// Publishes `count` events, each again and again until it is acknowledged, wherever the host is.
async fn publish_each(url: Arc<Mutex<String>>, count: u64, done: tokio::sync::watch::Sender<u64>) {
    for n in 0..count {
        let stream = format!("done-{}", n % 5);
        let id = format!("0198f7a2-0000-7000-8000-{n:012}");
        let event = json!([{ "id": id, "type": "work", "key": format!("k-{}", n % 7), "data": emits(&stream, "did") }]);
        loop {
            let path = format!("{}/api/event-streams/task-{}/events", url.lock().expect("no panic"), n % 3);
            let sent = reqwest::Client::new().post(path).json(&event).timeout(PATIENCE).send().await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::task::yield_now().await;
        }
        done.send_replace(n + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_doubles_nothing_that_a_handler_emits() {
    let mut rng = Rng::printed("kill_9_doubles_nothing_that_a_handler_emits");
    let (kills, count) = if long() { (100, 20_000) } else { (5, 1_000) };
    let mut host = TestHost::start().await;
    let (status, deployed) = deploy(&host, "test-handler", "grantAll=true&from=first").await;
    assert_eq!(status, 201, "{deployed}");
    let url = Arc::new(Mutex::new(host.url.clone()));
    let (done, mut acknowledged) = tokio::sync::watch::channel(0);
    let publisher = tokio::spawn(publish_each(Arc::clone(&url), count, done));
    let mut next = 0;
    for _ in 0..kills {
        next += 1 + rng.below(count / kills);
        acknowledged.wait_for(|acknowledged| *acknowledged >= next).await.expect("the publisher goes on");
        let dir = host.kill().await;
        host = TestHost::start_in(dir).await;
        *url.lock().expect("no panic") = host.url.clone();
    }
    publisher.await.expect("every event was published");
    is_done(&host).await;
    let (mut causes, mut emitted) = (BTreeSet::new(), 0);
    for stream in 0..5 {
        let mut from = 0;
        loop {
            let page = events(&host, &format!("/api/event-streams/done-{stream}/events?limit=1000&from={from}")).await;
            emitted += page.len();
            from += page.len();
            causes.extend(page.iter().map(|event| event["causationId"].as_str().expect("a cause").to_owned()));
            if page.is_empty() {
                break;
            }
        }
    }
    let published = (0..count).map(|n| format!("0198f7a2-0000-7000-8000-{n:012}")).collect::<BTreeSet<_>>();
    assert_eq!((emitted as u64, causes == published), (count, true), "one event for each, and only one");
}

#[tokio::test]
async fn an_event_that_fails_is_parked_with_its_key_and_replayed_after_the_mend() {
    let host = TestHost::start().await;
    // With this a name is too long: it cannot be emitted.
    let long = "x".repeat(250);
    let (status, deployed) = deploy(&host, "test-handler", &format!("grantAll=true&set=prefix={long}")).await;
    assert_eq!(status, 201, "{deployed}");
    let (status, settings) = host.send("PATCH", "/api/plugins/test-handler/settings", &[], r#"{"attempts":1}"#).await;
    assert_eq!(status, 200, "{settings}");
    let sent = json!([
        { "type": "prefixed", "key": "k", "data": {} },
        { "type": "work", "key": "k", "data": emits("done-k", "behind") },
        { "type": "work", "key": "j", "data": emits("done-j", "beside") },
    ]);
    host.publish("task-1", &sent).await;
    assert_eq!(types(&comes_to(&host, "done-j", 1).await), ["beside"], "another key goes on");
    let status = is_done(&host).await;
    assert_eq!(status["deadLetters"], json!(2), "{status}");
    let letters = "/api/groups/%24handler%2Ftest-handler/dead-letters";
    let (code, page) = host.get(letters).await;
    let parked = page["deadLetters"].as_array().unwrap_or_else(|| panic!("{code} {page}"));
    let positions: Vec<_> = parked.iter().map(|letter| &letter["event"]["position"]).collect();
    assert_eq!(positions, [&json!(0), &json!(1)], "the one that failed, and the one of its key behind it: {page}");
    assert!(events(&host, "/api/event-streams/done-k/events").await.is_empty(), "nothing of the key overtakes");

    run_json(&host, "plugin configure test-handler --config prefix=mended.").await.json();
    let (code, replayed) = host.send("POST", &format!("{letters}/replay"), &[], r#"{"all":true}"#).await;
    assert_eq!(code, 200, "{replayed}");
    assert_eq!(types(&comes_to(&host, "done-k", 1).await), ["behind"]);
    let named = comes_to(&host, "done-prefixed", 1).await;
    assert!(named[0]["type"].as_str().is_some_and(|name| name.starts_with("mended.")), "{named:?}");
    let order = |event: &Value| event["position"].as_u64().expect("a position");
    let behind = comes_to(&host, "done-k", 1).await;
    assert!(order(&named[0]) < order(&behind[0]), "in the order of their key");
    assert_eq!(host.get(letters).await.1["deadLetters"], json!([]));
}

/// The first events that are sent live.
pub async fn live(host: &TestHost, path: &str, count: usize) -> Vec<Value> {
    use futures_util::StreamExt;

    let mut body = reqwest::get(host.path(path)).await.expect("an answer").bytes_stream();
    let mut text = String::new();
    loop {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).expect("JSON")).collect();
        if events.len() >= count {
            return events;
        }
        let more = tokio::time::timeout(PATIENCE, body.next()).await.expect("in time").expect("more").expect("bytes");
        text.push_str(std::str::from_utf8(&more).expect("whole characters: all of it is ASCII"));
    }
}

fn forms(events: &[Value]) -> Vec<(&str, u64, &Value)> {
    let form = |event| {
        let event: &Value = event;
        let version = event["schemaVersion"].as_u64().expect("a version");
        (event["type"].as_str().expect("a type"), version, &event["data"])
    };
    events.iter().map(form).collect()
}

/// What was published, and what it is when it is lifted.
fn published() -> (Value, Value, Value) {
    (json!({ "n": 3 }), json!({ "count": 3, "doubled": 6 }), json!({ "a": 1 }))
}

#[tokio::test]
async fn what_is_lifted_is_lifted_for_every_reader() {
    let host = TestHost::start().await;
    let (first, third, old) = published();
    host.publish("guest-1", &json!([{ "type": "versioned", "key": "k", "data": first }])).await;
    host.publish("guest-1", &json!([{ "type": "old-name", "key": "k", "data": old }])).await;
    host.deploy(&flights::guest("test-guest")).await;
    assert_eq!(deploy(&host, "test-upcaster", "").await.0, 201);
    let was = json!({ "was": old });
    let lifted = vec![("versioned", 3, &third), ("new-name", 2, &was)];
    let raw = vec![("versioned", 1, &first), ("old-name", 1, &old)];

    for path in ["/api/events", "/api/event-streams/guest-1/events"] {
        assert_eq!(forms(&events(&host, path).await), lifted, "{path}");
        assert_eq!(forms(&events(&host, &format!("{path}?raw=true")).await), raw, "{path}");
        let live_path = format!("{path}/live?from=0");
        assert_eq!(forms(&live(&host, &live_path, 2).await), lifted, "{live_path}");
        assert_eq!(forms(&live(&host, &format!("{live_path}&raw=true"), 2).await), raw, "{live_path}");
    }
    // Filters look at what is handed out.
    assert_eq!(events(&host, "/api/events?types=new-name").await.len(), 1);
    assert_eq!(events(&host, "/api/events?types=old-name").await.len(), 0);
    assert_eq!(events(&host, "/api/events?types=old-name&raw=true").await.len(), 1);
    assert_eq!(events(&host, "/api/events?types=new-name&raw=true").await.len(), 0);
    assert_eq!(forms(&run_json(&host, "read guest-1").await.lines()), lifted);
    assert_eq!(forms(&run_json(&host, "read guest-1 --raw").await.lines()), raw);

    // A projection, which was built before there was an upcaster, is built anew.
    let path = "/api/projections/test-guest/documents/counts/new-name?waitFor=1&timeout=30s";
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(10)));
    while host.get(path).await.1["value"] != json!(1) {
        pace.tick().await;
        assert!(Instant::now() < until, "the projection folds what is lifted: {}", host.get(path).await.1);
    }
    assert_eq!(host.get("/api/projections/test-guest/documents/counts/old-name").await.0, 404);

    // A group, its dead letters, and a replay.
    run_json(&host, "group create g --type new-name --max-deliveries 1").await.json();
    let join = host.send("POST", "/api/groups/g/members", &[], r#"{"member":"w"}"#).await.1;
    let session = &join["session"];
    let pull = json!({ "session": session, "limit": 9, "waitMs": 60_000 }).to_string();
    let pulled = host.send("POST", "/api/groups/g/pull", &[], &pull).await.1;
    let delivery = &pulled["deliveries"][0];
    assert_eq!(forms(std::slice::from_ref(&delivery["event"])), lifted[1..], "{pulled}");
    let nack = json!({ "session": session, "tokens": [delivery["token"]], "refusal": { "park": "no" } }).to_string();
    assert_eq!(host.send("POST", "/api/groups/g/nack", &[], &nack).await.0, 200);
    let letters = host.get("/api/groups/g/dead-letters").await.1;
    assert_eq!(forms(std::slice::from_ref(&letters["deadLetters"][0]["event"])), lifted[1..], "{letters}");
    assert_eq!(run_json(&host, "deadletter replay g --all").await.code, Some(0));
    let pulled = host.send("POST", "/api/groups/g/pull", &[], &pull).await.1;
    assert_eq!(forms(std::slice::from_ref(&pulled["deliveries"][0]["event"])), lifted[1..], "{pulled}");
    let replayed = run_json(&host, "replay start --client --stream guest-1").await;
    assert_eq!(forms(&replayed.lines()), lifted, "{}", replayed.err);
}

#[tokio::test]
async fn what_cannot_be_lifted_is_read_as_it_is_and_parked_by_a_group() {
    let host = TestHost::start().await;
    assert_eq!(deploy(&host, "test-upcaster", "").await.0, 201);
    let data = json!({ "n": 1, "do": "fail" });
    host.publish("s", &json!([{ "type": "versioned", "key": "k", "data": data }])).await;
    let read = events(&host, "/api/events").await;
    assert_eq!(forms(&read), [("versioned", 1, &data)]);
    assert!(read[0]["upcastError"].as_str().is_some_and(|why| why.contains("told to fail")), "{read:?}");
    assert!(events(&host, "/api/events?raw=true").await[0].get("upcastError").is_none());
    assert!(run(&host, "read s").await.out.contains("(not lifted: "), "people see it too");
    run_json(&host, "group create g").await.json();
    let join = host.send("POST", "/api/groups/g/members", &[], r#"{"member":"w"}"#).await.1;
    let pull = json!({ "session": join["session"], "limit": 9, "waitMs": 0 }).to_string();
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(10)));
    loop {
        pace.tick().await;
        let pulled = host.send("POST", "/api/groups/g/pull", &[], &pull).await.1;
        assert_eq!(pulled["deliveries"], json!([]), "nobody gets it");
        let letters = host.get("/api/groups/g/dead-letters").await.1;
        if let Some(letter) = letters["deadLetters"].get(0) {
            assert!(letter["error"].as_str().is_some_and(|why| why.contains("told to fail")), "{letter}");
            return;
        }
        assert!(Instant::now() < until, "it is parked: {letters}");
    }
}
