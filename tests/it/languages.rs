//! The conformance suite of the languages: the plugins of `plugins/examples-*` do the same on the same events, which is
//! what `plugins/README.md` says and `tests/plugin-suite` has. A language whose components are not there is skipped
//! aloud; `tests/languages` builds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::run_json;
use crate::contract::kept;
use crate::flights::collection;
use crate::plugin_life::becomes;
use crate::support::flights::guest;
use crate::support::host::PATIENCE;
use crate::support::{TestHost, long, root};
use crate::tidy::skip;

const STATISTICS: &str = "user-statistics";
const WELCOME: &str = "welcome";
const UPCASTER: &str = "user-v1-to-v3";

/// As it was built just now, or for a language such as `0.1.0/c` as it was kept at that release of the contract.
fn component(language: &str, name: &str) -> Option<Vec<u8>> {
    if language.contains('/') {
        return Some(kept(&format!("{language}/{name}")));
    }
    let path = match language {
        "rust" => guest(name),
        _ => root().join("plugins").join(format!("examples-{language}/dist/{name}.wasm")),
    };
    std::fs::read(path).ok()
}

fn suite(name: &str) -> PathBuf {
    root().join("tests/plugin-suite").join(name)
}

fn lines(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(suite(name)).expect("the suite is shipped");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(suite("expected.json")).expect("the suite is shipped")).expect("JSON")
}

/// Publishes a file of the suite as it stands, white space and escapes included; the position of its last user.
async fn publish(host: &TestHost, name: &str) -> u64 {
    run_json(host, &format!("publish {}", suite(name).display())).await.json();
    let (_, page) = host.get("/api/events?streams=users-*&direction=backward&limit=1").await;
    page["events"][0]["position"].as_u64().unwrap_or_else(|| panic!("{page}"))
}

/// Deploys with all that the plugin asks for.
async fn deploy(host: &TestHost, language: &str, name: &str) {
    let file = component(language, name).expect("it is built");
    let grants = if name == WELCOME { "?grant=append:outbox-welcome" } else { "" };
    let (status, answer) = host.post(&format!("/api/plugins{grants}"), "application/wasm", file).await;
    assert_eq!(status, 201, "{language}: {answer}");
}

/// Events of the handler's stream, once there are as many as expected: type, version, key and data.
async fn appended(host: &TestHost, count: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let (_, page) = host.get("/api/event-streams/outbox-welcome/events?limit=1000").await;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        if events.len() >= count {
            let fields = ["type", "schemaVersion", "key", "data"];
            let told = |event: &Value| fields.iter().map(|&field| (field.to_owned(), event[field].clone())).collect();
            return events.iter().map(told).collect();
        }
        assert!(Instant::now() < until, "{} of {count} events within {PATIENCE:?}", events.len());
        tokio::task::yield_now().await;
    }
}

fn map(value: &Value) -> BTreeMap<String, Value> {
    serde_json::from_value(value.clone()).expect("an object")
}

/// A handler keeps the order of each key, and none between keys.
fn by_key(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by_key(|event| event["key"].to_string());
    events
}

/// A projection, a handler and rejected events, without an upcaster.
async fn folds_and_answers(language: &str) {
    let (host, expected) = (TestHost::start().await, expected());
    deploy(&host, language, STATISTICS).await;
    deploy(&host, language, WELCOME).await;
    let last = publish(&host, "events.jsonl").await;
    for name in ["statistics", "users"] {
        let documents = collection(&host, STATISTICS, name, last).await;
        assert_eq!(documents, map(&expected[STATISTICS][name]), "{language}: {name}");
    }
    let welcomes = expected[WELCOME]["appended"].as_array().expect("a list");
    let found = appended(&host, welcomes.len()).await;
    assert_eq!(by_key(found), by_key(welcomes.clone()), "{language}");

    let last = publish(&host, "rejected.jsonl").await;
    // The handler goes on behind what it rejects, so what it greets of these are the others.
    let greeted: Vec<Value> = others(&expected[WELCOME]["rejects"], "user.added");
    let all = appended(&host, welcomes.len() + greeted.len()).await;
    let keys: BTreeSet<String> = all.iter().skip(welcomes.len()).map(|event| event["key"].to_string()).collect();
    assert_eq!(keys, greeted.iter().map(Value::to_string).collect(), "{language}");
    // The projection pauses at the first.
    let path = format!("/api/projections/{STATISTICS}/documents/statistics/all?waitFor={last}&timeout=30s");
    assert_eq!(host.get(&path).await.1["code"], "projection_paused", "{language}");
    let (_, projection) = host.get(&format!("/api/projections/{STATISTICS}")).await;
    let reason = projection["failure"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("user.malformed"), "{language}: {projection}");
}

/// Ids of the events of rejected.jsonl that are not rejected.
fn others(rejects: &Value, event_type: &str) -> Vec<Value> {
    let rejects = rejects.as_array().expect("line numbers");
    let numbered = lines("rejected.jsonl").into_iter().enumerate();
    let kept = numbered.filter(|(n, event)| event["type"] == event_type && !rejects.contains(&json!(n + 1)));
    kept.map(|(_, event)| event["data"]["id"].clone()).collect()
}

/// An upcaster, seen by a reader.
async fn lifts(language: &str) {
    let (host, expected) = (TestHost::start().await, expected());
    deploy(&host, language, UPCASTER).await;
    let expected = &expected[UPCASTER];
    publish(&host, "events.jsonl").await;
    let lifted = expected["lifted"].as_array().expect("a list");
    for (n, line, event) in added(&host, "events.jsonl").await {
        let to = lifted.iter().find(|to| to["line"] == json!(n)).unwrap_or(&line);
        let told = (&event["schemaVersion"], &event["data"]);
        assert_eq!(told, (&to["schemaVersion"], &to["data"]), "{language}, line {n}");
    }
    publish(&host, "rejected.jsonl").await;
    let rejects = expected["rejects"].as_array().expect("line numbers");
    for (n, _, event) in added(&host, "rejected.jsonl").await {
        // What cannot be lifted is read raw, and says why.
        let failed = event.to_string().contains("user.malformed");
        assert_eq!(failed, rejects.contains(&json!(n)), "{language}, line {n}: {event}");
    }
}

/// Users added in a file: the number of the line, the line, and the event that a reader gets for it.
async fn added(host: &TestHost, file: &str) -> Vec<(usize, Value, Value)> {
    // Streams and keys together tell the events of the suite apart.
    let key = |event: &Value| format!("{} {}", event["stream"], event["key"]);
    let (_, page) = host.get("/api/events?streams=users-*&limit=1000").await;
    let read = page["events"].as_array().expect("events").iter().map(|event| (key(event), event.clone()));
    let read: BTreeMap<String, Value> = read.collect();
    let numbered = (1..).zip(lines(file)).filter(|(_, line)| line["type"] == "user.added");
    numbered.map(|(n, line)| (n, line.clone(), read[&key(&line)].clone())).collect()
}

pub async fn passes(language: &str) {
    let missing = [STATISTICS, WELCOME, UPCASTER].into_iter().find(|name| component(language, name).is_none());
    if let Some(name) = missing {
        return skip(&format!("{name} of plugins/examples-{language} is not built (tests/languages)"));
    }
    folds_and_answers(language).await;
    lifts(language).await;
    if long() {
        figures(language).await;
    }
}

/// Prints a row of the table of plugins/README.md: size, time to deploy, events a second of a projection and of a
/// handler that has an event to answer for each.
async fn figures(language: &str) {
    const EVENTS: usize = 100_000;
    let host = TestHost::start().await;
    let mut last = Value::Null;
    for chunk in (0..EVENTS).collect::<Vec<_>>().chunks(1_000) {
        let user =
            |n: &usize| json!({ "id": format!("u{n}"), "name": "Ada Lovelace", "country": format!("C{}", n % 20) });
        let event = |n: &usize| json!({ "type": "user.added", "key": format!("u{n}"), "data": user(n) });
        last = host.publish("users", &chunk.iter().map(event).collect()).await["lastPosition"].clone();
    }
    let bytes = component(language, STATISTICS).expect("it is built").len();
    let started = Instant::now();
    deploy(&host, language, STATISTICS).await;
    let deployed = started.elapsed();
    let path = format!("/api/projections/{STATISTICS}/documents/statistics/all?waitFor={last}&timeout=60s");
    assert_eq!(host.get(&path).await.1["value"]["added"], json!(EVENTS), "{language}");
    let projected = EVENTS as f64 / (started.elapsed() - deployed).as_secs_f64();
    let file = component(language, WELCOME).expect("it is built");
    let (status, answer) = host.post("/api/plugins?grantAll=true&from=first", "application/wasm", file).await;
    assert_eq!(status, 201, "{language}: {answer}");
    let started = Instant::now();
    let path = "/api/event-streams/outbox-welcome";
    becomes(&host, path, "has all answers", |now| now["nextOffset"] == json!(EVENTS)).await;
    let handled = EVENTS as f64 / started.elapsed().as_secs_f64();
    let (size, deployed) = (bytes / 1024, deployed.as_millis());
    println!("| {language} | {size} KB | {deployed} ms | {projected:.0} | {handled:.0} |");
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_passes_the_suite() {
    passes("rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_passes_the_suite() {
    passes("js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_passes_the_suite() {
    passes("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_passes_the_suite() {
    passes("c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_passes_the_suite() {
    passes("go").await;
}
