//! The developer's loop: a plugin is tried out and verified without a host, and its log is followed on one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::{Ran, write};
use crate::support::host::{PATIENCE, binary};
use crate::support::{TestHost, flights, root};
use crate::tidy::skip;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMILL_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn ended(child: Child) -> Ran {
    let output = tokio::time::timeout(2 * PATIENCE, child.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("it is waited for");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("its output is UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

pub async fn run(arguments: &[&str]) -> Ran {
    ended(command(arguments).spawn().expect("the binary starts")).await
}

/// What it found, whether or not it was content.
async fn report(arguments: &[&str]) -> (Option<i32>, Value) {
    let ran = run(&[arguments, &["--output", "json"]].concat()).await;
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err));
    (ran.code, report)
}

fn guest(name: &str) -> String {
    flights::guest(name).display().to_string()
}

fn user(event_type: &str, data: Value) -> Value {
    json!({ "stream": "users-1", "type": event_type, "time": "2026-01-01T00:00:00Z", "data": data })
}

fn users(dir: &Path) -> String {
    let events = [
        user("user.added", json!({ "id": "u1", "firstName": "Ada", "country": "GB" })),
        json!({ "stream": "office", "type": "door.opened", "data": {} }),
        user("user.added", json!({ "id": "u2", "name": "Grace" })),
        user("user.added", json!({ "name": "nobody" })),
        user("user.removed", json!({ "id": "u1" })),
    ];
    write(dir, "users.jsonl", &events)
}

#[tokio::test]
async fn a_projection_is_tried_out_without_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let events = users(dir.path());
    let (code, report) = report(&["plugin", "test", &guest("user-statistics"), "--events", &events]).await;
    assert_eq!(code, Some(1), "one event has failed");
    assert_eq!(report["plugin"]["name"], "user-statistics");
    assert_eq!(report["events"], json!({ "given": 5, "wanted": 4, "handled": 3 }));
    let documents: Vec<(String, Value)> = report["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| {
            let place = format!("{}/{}", document["collection"].as_str().unwrap(), document["key"].as_str().unwrap());
            (place, document["value"].clone())
        })
        .collect();
    let expected = [
        ("statistics/all", json!({ "added": 2, "removed": 1, "current": 1 })),
        ("statistics/country.GB", json!({ "added": 1, "removed": 1, "current": 0 })),
        ("statistics/country.unknown", json!({ "added": 1, "removed": 0, "current": 1 })),
        ("users/u2", json!({ "country": "unknown" })),
    ];
    assert_eq!(documents, expected.map(|(place, value)| (place.to_owned(), value)));
    let failure = &report["failures"][0];
    assert_eq!((&failure["event"], &failure["code"]), (&json!("line 4"), &json!("user.malformed")), "{failure}");
    assert!(report["cost"]["memoryBytes"].as_u64().unwrap() > 0);

    let ran = run(&["plugin", "test", &guest("user-statistics"), "--events", &events, "--batch", "1"]).await;
    for words in [
        "handled 3 events of 4 that it wants, of 5, in 3 calls",
        "statistics/all  {",
        "line 4, users-1/2 user.added: reject user.malformed",
        "us an event",
    ] {
        assert!(ran.out.contains(words), "`{words}` is said in {}", ran.out);
    }
    assert!(ran.err.contains("1 event of 4 failed"), "{}", ran.err);
}

#[tokio::test]
async fn a_handler_shows_what_it_emits_and_logs_and_has_its_settings_and_grants() {
    let dir = tempfile::tempdir().unwrap();
    let events = write(dir.path(), "users.jsonl", &[user("user.added", json!({ "id": "u1", "name": "Ada" }))]);
    let file = guest("welcome");
    let base = ["plugin", "test", &file, "--events", &events];
    let (code, report) = report(&[&base[..], &["--config", "greeting=Moin"]].concat()).await;
    assert_eq!(code, Some(0));
    let emitted = &report["output"][0];
    assert_eq!((&emitted["stream"], &emitted["key"]), (&json!("outbox-welcome"), &json!("u1")));
    assert_eq!(emitted["data"], json!({ "id": "u1", "text": "Moin, Ada!" }));
    assert_eq!(report["log"][0]["message"], "a welcome is asked for");

    let ran = run(&[&base[..], &["--config", "colour=red"]].concat()).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("config.colour") && ran.err.contains("greeting"), "{}", ran.err);
    let ran = run(&[&base[..], &["--grant", "append:elsewhere"]].concat()).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("append:outbox-welcome"), "{}", ran.err);
}

#[tokio::test]
async fn an_upcaster_shows_what_it_lifts() {
    let dir = tempfile::tempdir().unwrap();
    let events =
        [user("user.added", json!({ "id": "u1", "name": "Ada Lovelace" })), user("user.added", json!({ "id": "u2" }))];
    let events = write(dir.path(), "users.jsonl", &events);
    let (code, report) = report(&["plugin", "test", &guest("user-v1-to-v3"), "--events", &events]).await;
    assert_eq!(code, Some(1));
    let lifted = &report["output"][0];
    assert_eq!((&lifted["schemaVersion"], &lifted["steps"]), (&json!(3), &json!(2)));
    let expected = json!({ "id": "u1", "firstName": "Ada", "lastName": "Lovelace", "country": "unknown" });
    assert_eq!(lifted["data"], expected);
    assert_eq!(report["failures"][0]["event"], "line 2");
}

#[tokio::test]
async fn a_crash_shows_the_functions_of_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    let event = json!({ "stream": "guest-1", "type": "panic", "data": {} });
    let events = write(dir.path(), "panic.jsonl", &[event]);
    let ran = run(&["plugin", "test", &guest("test-guest"), "--events", &events]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("it panicked or aborted, in ") && ran.out.contains("apply"), "{}", ran.out);
    assert!(ran.out.contains("told to panic by event"), "{}", ran.out);
}

#[tokio::test]
async fn a_host_is_a_source_of_events_too() {
    let host = TestHost::start().await;
    let events: Vec<Value> =
        (0..5).map(|n| json!({ "type": "user.added", "data": { "id": format!("u{n}") } })).collect();
    for stream in ["users-1", "users-2"] {
        host.publish(stream, &json!(events)).await;
    }
    let file = guest("user-statistics");
    let of = async |stream: &str, range: &[&str]| {
        let arguments = [&["plugin", "test", &file, "--url", &host.url, "--stream", stream], range].concat();
        report(&arguments).await.1["events"]["handled"].clone()
    };
    assert_eq!(of("users-1", &[]).await, json!(5));
    assert_eq!(of("users-1", &["--from", "2", "--limit", "2"]).await, json!(2));
    assert_eq!(of("users-*", &[]).await, json!(10));
}

/// Those of `plugins/examples-rust`, with events that fail among the others.
#[tokio::test]
async fn plugins_of_rust_are_functions_of_their_events() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<Value> = (0..300)
        .map(|n| match n % 3 {
            0 => user("user.added", json!({ "id": format!("u{n}"), "name": "A B", "country": format!("C{}", n % 7) })),
            1 => user("user.removed", json!({ "id": format!("u{}", n - 4) })),
            _ => user("user.added", json!({ "id": n % 2 })),
        })
        .collect();
    let events = write(dir.path(), "users.jsonl", &lines);
    for name in ["user-statistics", "welcome", "user-v1-to-v3"] {
        let (code, report) = report(&["plugin", "verify", &guest(name), "--events", &events]).await;
        assert_eq!((code, &report["same"]), (Some(0), &json!(true)), "{name}: {report}");
        let runs = report["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 7);
        assert!(runs.iter().all(|run| run["readModel"] == runs[0]["readModel"] && run["failed"] == runs[0]["failed"]));
    }
}

/// Sixty events, every third of which does it.
fn habit(dir: &Path, what: &str) -> String {
    let event = |n| json!({ "stream": "s", "type": if n % 3 == 0 { what } else { "nothing" }, "data": {} });
    write(dir, &format!("{what}.jsonl"), &(0..60).map(event).collect::<Vec<_>>())
}

/// Plugins that look at the clock come to the same, since it stands still; those that roll dice are found, or come
/// to the same because they are refused; those that remember are found.
async fn interpreted(component: PathBuf, memory: &str, named: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = component.display().to_string();
    let verify = async |what: &str| {
        let events = habit(dir.path(), what);
        report(&["plugin", "verify", &file, "--memory", memory, "--events", &events]).await
    };
    let (code, report) = verify("clock").await;
    assert_eq!((code, &report["same"]), (Some(0), &json!(true)), "{named}: {report}");
    for what in ["dice", "memory"] {
        let (code, report) = verify(what).await;
        let runs = report["runs"].as_array().unwrap();
        if what == "dice" && code == Some(0) {
            let refused = runs.iter().all(|run| run["failed"] == 20 && run["readModel"] == runs[0]["readModel"]);
            assert!(refused, "{named} rolls dice that nobody sees: {report}");
            continue;
        }
        assert_eq!((code, &report["same"]), (Some(1), &json!(false)), "{named} {what}: {report}");
        let found = runs.iter().find(|run| run.get("differs").is_some()).unwrap();
        assert!(found["differs"]["document"].as_str().unwrap().starts_with("found/"), "{named} {what}: {found}");
    }
    let events = write(dir.path(), "timer.jsonl", &[json!({ "stream": "s", "type": "timer", "data": {} })]);
    let ran = run(&["plugin", "test", &file, "--memory", memory, "--events", &events]).await;
    assert_eq!(ran.code, Some(1), "{named}: a timer was slept: {}", ran.out);
    println!("{named}, a timer: {}", ran.out);
}

#[tokio::test]
async fn javascript_that_rolls_dice_is_found() {
    let component = root().join("tests/guests-js/dist/clock.wasm");
    if !component.exists() {
        return skip("tests/guests-js is not built (tests/run)");
    }
    interpreted(component, "64MiB", "JavaScript").await;
}

#[tokio::test]
async fn python_that_rolls_dice_is_found() {
    let component = root().join("tests/guests-python/dist/clock.wasm");
    if !component.exists() {
        return skip("tests/guests-python is not built (tests/run)");
    }
    interpreted(component, "256MiB", "Python").await;
}

#[tokio::test]
async fn the_difference_between_two_components_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let event = |n: u64| {
        let event_type = if n.is_multiple_of(2) { "good" } else { "echo" };
        json!({ "stream": "guest-1", "type": event_type, "data": { "n": n } })
    };
    let events: Vec<Value> = (0..4).map(event).collect();
    let events = write(dir.path(), "events.jsonl", &events);
    let (file, other) = (guest("test-guest"), guest("bad-descriptor"));
    let (code, report) = report(&["plugin", "verify", &file, "--events", &events, "--against", &file]).await;
    assert_eq!((code, &report["against"]["differentDocuments"]), (Some(0), &json!(0)));
    let ran = run(&["plugin", "verify", &file, "--events", &events, "--against", &other]).await;
    assert!(ran.err.contains("colour"), "the other one is checked too: {}", ran.err);
    // The statistics of users, against a guest that counts types.
    let statistics = guest("user-statistics");
    let ran = run(&["plugin", "verify", &file, "--events", &events, "--against", &statistics]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for words in ["against projection user-statistics", "3 documents and 0 events of output differ", "+ counts/good  2"]
    {
        assert!(ran.out.contains(words), "`{words}` is said in {}", ran.out);
    }
}

#[tokio::test]
async fn mistakes_are_told_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.jsonl").display().to_string();
    std::fs::write(&broken, "{\"stream\":\"s\",\"type\":\"t\",\"data\":{}}\n{\"stream\":\"s\"\n").unwrap();
    let file = guest("user-statistics");
    for (arguments, code, words) in [
        (vec!["plugin", "test", &file], 2, "--events"),
        (vec!["plugin", "test", &file, "--events", &broken], 1, "broken.jsonl:2:"),
        (vec!["plugin", "test", &file, "--events", "nowhere.jsonl"], 1, "nowhere.jsonl"),
        (vec!["plugin", "test", &broken, "--events", &broken], 1, "component_invalid"),
        (vec!["plugin", "verify", &file, "--events", &broken, "--memory", "much"], 2, "--memory"),
    ] {
        let ran = run(&arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(words), "`{words}` is said in {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_over_grpc_and_http() {
    let host = TestHost::start().await;
    host.deploy(&flights::guest("test-guest")).await;
    let print = async |n: usize| {
        for _ in 0..n {
            host.publish("guest-1", &json!([{ "type": "print", "data": {} }])).await;
        }
    };
    print(1).await;
    let mut child = command(&["plugin", "logs", "test-guest", "--follow", "--url", &host.url, "--output", "json"]);
    let mut child = child.spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut next = async || -> Value {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
        serde_json::from_str(&line.expect("read").expect("there is more")).expect("JSON")
    };
    for number in 0..2 {
        assert_eq!(next().await["number"], json!(number));
    }
    print(2).await;
    for number in 2..6 {
        assert_eq!(next().await["number"], json!(number));
    }

    // After the third line, as a browser that comes back; warnings alone.
    let url = host.path("/api/plugins/test-guest/logs/live?level=warn");
    let response = reqwest::Client::new().get(url).header("Last-Event-ID", "2").send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.bytes_stream();
    let mut text = String::new();
    while text.matches("data: ").count() < 2 {
        let piece = tokio::time::timeout(PATIENCE, body.next()).await.expect("in time").expect("more").expect("read");
        text.push_str(std::str::from_utf8(&piece).expect("text"));
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["3", "5"], "{text}");

    // It ends with the plugin, and says so.
    let (status, _) = host.send("DELETE", "/api/plugins/test-guest", &[], "").await;
    assert_eq!(status, 204);
    let ended =
        tokio::time::timeout(Duration::from_secs(60), child.wait()).await.expect("it ends").expect("it is waited for");
    assert_eq!(ended.code(), Some(1));
}

/// A component that a host has is tried with what it was deployed with, on the events that it asks for.
#[tokio::test]
async fn what_a_host_has_is_tried_verified_and_held_against() {
    let host = TestHost::start().await;
    let added = |n: u64| json!({ "type": "user.added", "data": { "id": format!("u{n}"), "name": "Ada" } });
    host.publish("users-1", &(0..20).map(added).collect()).await;
    host.publish("office", &json!([{ "type": "door.opened", "data": {} }])).await;
    let welcome = std::fs::read(flights::guest("welcome")).unwrap();
    let deploy = "/api/plugins?grantAll=true&from=first&set=greeting=Moin";
    let (status, deployed) = host.post(deploy, "application/wasm", welcome.clone()).await;
    assert_eq!(status, 201, "{deployed}");

    let (code, report) = report(&["plugin", "test", "--name", "welcome", "--url", &host.url]).await;
    assert_eq!((code, &report["events"]), (Some(0), &json!({ "given": 20, "wanted": 20, "handled": 20 })), "{report}");
    assert_eq!(report["output"][0]["data"]["text"], json!("Moin, Ada!"));
    let ran = run(&["plugin", "verify", "--name", "welcome", "--url", &host.url, "--stream", "users-1"]).await;
    assert!(ran.code == Some(0) && ran.out.contains("20 events in 7 runs"), "{} {}", ran.out, ran.err);

    // Another revision, and a file, against the first.
    let change = r#"{"set":{"greeting":"Hello"}}"#;
    let (status, changed) = host.send("POST", "/api/plugins/welcome/configure", &[], change).await;
    assert_eq!((status, &changed["plugin"]["revision"]), (200, &json!(2)), "{changed}");
    let against = ["--url", &host.url, "--stream", "users-1", "--against", "1"];
    let ran = run(&[&["plugin", "test", "--name", "welcome"][..], &against].concat()).await;
    for words in ["Hello, Ada!", "0 documents and 40 events of output differ", "Moin, Ada!"] {
        assert!(ran.out.contains(words), "`{words}` is said in {}", ran.out);
    }
    let same = [&["plugin", "test", "--name", "welcome", "--revision", "1", "--output", "json"][..], &against].concat();
    let same: Value = serde_json::from_str(&run(&same).await.out).unwrap();
    assert_eq!(same["against"]["differentOutput"], json!(0), "{same}");
    let file = guest("welcome");
    let ran = run(&[&["plugin", "verify", &file, "--config", "greeting=Welcome"][..], &against].concat()).await;
    assert!(ran.out.contains("40 events of output differ"), "{} {}", ran.out, ran.err);

    // The bytes themselves.
    let answer = reqwest::get(host.path("/api/plugins/welcome/revisions/2/component")).await.unwrap();
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "application/wasm");
    assert_eq!(headers["etag"].to_str().unwrap().trim_matches('"'), changed["plugin"]["sha256"]);
    assert!(answer.bytes().await.unwrap() == welcome, "as they were uploaded");
    for (path, code) in [
        ("/api/plugins/welcome/revisions/3/component", "plugin_revision_not_found"),
        ("/api/plugins/nobody/revisions/1/component", "plugin_not_found"),
    ] {
        let (status, problem) = host.get(path).await;
        assert_eq!((status, &problem["code"]), (404, &json!(code)), "{problem}");
    }
    for (arguments, code, words) in [
        (vec!["plugin", "test", "--name", "nobody"], 1, "plugin_not_found"),
        (vec!["plugin", "test", "--name", "welcome", "--revision", "9"], 1, "plugin_revision_not_found"),
        (vec!["plugin", "test", &file, "--against", "9", "--stream", "users-1"], 1, "plugin_revision_not_found"),
        (vec!["plugin", "test", &file, "--name", "welcome"], 2, "cannot be used with"),
        (vec!["plugin", "test", &file, "--revision", "1"], 2, "cannot be used with"),
        (vec!["plugin", "verify", "--stream", "users-1"], 2, "--name"),
    ] {
        let ran = run(&[&arguments[..], &["--url", &host.url, "--output", "json"]].concat()).await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains(words), "`{words}` is said in {}", ran.err);
    }
}
