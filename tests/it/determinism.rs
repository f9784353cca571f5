//! Plugins of interpreted languages that look at their clock, roll dice and wait, on SQLite and on PostgreSQL: what
//! is no function of its events is found by `plugin verify`, and the rest comes to the same bytes, live and rebuilt,
//! with batches of other sizes and after kill -9. `host/wasm/tests/all/determinism.rs` has the memory store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::Instant;
use wasmill_test_postgres::Postgres;

use crate::cli::run_json;
use crate::support::host::PATIENCE;
use crate::support::{TestHost, root};
use crate::tidy::skip;

/// Appends of six events each.
const ROUNDS: u64 = 10;

struct Guest {
    name: &'static str,
    component: PathBuf,
    /// Of an instance, if more than the host gives by itself.
    memory_bytes: Option<u64>,
}

impl Guest {
    fn javascript() -> Self {
        let component = root().join("tests/guests-js/dist/clock.wasm");
        Self { name: "clock-js", component, memory_bytes: None }
    }

    fn python() -> Self {
        let component = root().join("tests/guests-python/dist/clock.wasm");
        Self { name: "clock-py", component, memory_bytes: Some(256 << 20) }
    }

    async fn patch(&self, host: &TestHost, change: Value) {
        let path = format!("/api/plugins/{}/settings", self.name);
        let (status, settings) = host.send("PATCH", &path, &[], &change.to_string()).await;
        assert_eq!(status, 200, "{settings}");
    }

    /// Waits for what is known of it at `path`.
    async fn becomes(&self, host: &TestHost, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let path = format!("{path}/{}{}", self.name, if path == "/api/plugins" { "/status" } else { "" });
        let (until, mut pace) = (Instant::now() + 2 * PATIENCE, tokio::time::interval(Duration::from_millis(20)));
        loop {
            pace.tick().await;
            let (code, now) = host.get(&path).await;
            if code == 200 && fits(&now) {
                return now;
            }
            assert!(Instant::now() < until, "{} {what}: {code} {now}", self.name);
        }
    }

    /// Its documents when it is past `position`.
    async fn documents(&self, host: &TestHost, position: u64) -> Vec<String> {
        let path = format!("/api/projections/{}/documents/found?limit=1000&waitFor={position}&timeout=60s", self.name);
        let text = reqwest::get(host.path(&path)).await.expect("an answer").text().await.expect("text");
        let page: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).expect("a page is an object");
        let documents = page.get("documents").unwrap_or_else(|| panic!("{text}"));
        // As they were sent, to the byte.
        let documents: Vec<Box<RawValue>> = serde_json::from_str(documents.get()).expect("an array");
        documents.iter().map(|document| document.get().to_owned()).collect()
    }

    async fn rebuilt(&self, host: &TestHost, batch: u64, position: u64) -> Vec<String> {
        self.patch(host, json!({ "batchEvents": batch })).await;
        let (status, rebuild) = host.send("POST", &format!("/api/projections/{}/rebuild", self.name), &[], "{}").await;
        assert_eq!(status, 202, "{rebuild}");
        let serves = |now: &Value| now["generation"] == rebuild["generation"];
        self.becomes(host, "/api/projections", "serves what was rebuilt", serves).await;
        self.documents(host, position).await
    }
}

async fn publish(host: &TestHost, stream: &str, event_type: &str, count: usize) -> u64 {
    let events = vec![json!({ "type": event_type, "data": {} }); count];
    host.publish(stream, &json!(events)).await["lastPosition"].as_u64().expect("a position")
}

/// What a guest comes to on one store.
async fn comes_to_the_same(guest: &Guest, flags: &[&str]) -> Vec<String> {
    let dir = Arc::new(tempfile::tempdir().expect("a folder"));
    let mut host = TestHost::start_with(dir, flags).await;
    host.deploy(&guest.component).await;
    if guest.memory_bytes.is_some() {
        guest.patch(&host, json!({ "memoryBytes": guest.memory_bytes })).await;
    }
    let mut last = 0;
    for round in 0..ROUNDS {
        last = publish(&host, "clock-1", if round % 2 == 0 { "clock" } else { "nothing" }, 6).await;
        guest.documents(&host, last).await;
        if round == ROUNDS / 2 {
            let dir = host.kill().await;
            host = TestHost::start_with(dir, flags).await;
        }
    }
    let live = guest.documents(&host, last).await;
    for batch in [1, 7, 256] {
        assert_eq!(guest.rebuilt(&host, batch, last).await, live, "{} in batches of {batch}", guest.name);
        let dir = host.kill().await;
        host = TestHost::start_with(dir, flags).await;
        assert_eq!(guest.documents(&host, last).await, live, "{} after kill -9", guest.name);
    }
    let line = format!("plugin verify --name {} --stream clock-1 --memory 256MiB", guest.name);
    assert_eq!(run_json(&host, &line).await.json()["same"], json!(true));

    // What is no function of its events is found, or refused each time.
    for habit in ["dice", "memory"] {
        for (n, event_type) in ["nothing", "nothing", habit].iter().cycle().take(30).enumerate() {
            assert!(publish(&host, &format!("{habit}-1"), event_type, 1).await > n as u64);
        }
        let line = format!("plugin verify --name {} --stream {habit}-1 --memory 256MiB", guest.name);
        let ran = run_json(&host, &line).await;
        let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
        let runs = report["runs"].as_array().expect("runs");
        let refused = runs.iter().all(|run| run["failed"] == json!(10));
        let found = (ran.code, &report["same"]) == (Some(1), &json!(false));
        assert!(found || (habit == "dice" && refused), "{} {habit}: {report}", guest.name);
    }

    // A timer is refused, and not slept.
    let host = TestHost::start().await;
    host.deploy(&guest.component).await;
    if guest.memory_bytes.is_some() {
        guest.patch(&host, json!({ "memoryBytes": guest.memory_bytes })).await;
    }
    publish(&host, "timer-1", "timer", 1).await;
    let paused = guest.becomes(&host, "/api/plugins", "pauses", |now| now["state"] == json!("paused")).await;
    assert_eq!(paused["failure"]["position"], json!(0), "{paused}");
    live
}

async fn on_both_stores(guest: &Guest) -> Vec<String> {
    let postgres = block_in_place(Postgres::start);
    let database = postgres.create_database();
    let sqlite = comes_to_the_same(guest, &[]).await;
    assert_eq!(comes_to_the_same(guest, &["--store", &database]).await, sqlite, "PostgreSQL and SQLite");
    sqlite
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_comes_to_the_same_on_two_stores() {
    let guest = Guest::javascript();
    if !guest.component.exists() {
        return skip("tests/guests-js is not built (tests/run)");
    }
    let documents = on_both_stores(&guest).await;
    let still = documents.iter().filter(|document| document.contains(r#""date":"1970-01-01T00:00:00.000Z""#));
    assert_eq!(still.count() as u64, 3 * ROUNDS, "the clock stands still: {documents:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_comes_to_the_same_on_two_stores() {
    let guest = Guest::python();
    if !guest.component.exists() {
        return skip("tests/guests-python is not built (tests/run)");
    }
    on_both_stores(&guest).await;
}
