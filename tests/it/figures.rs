//! Figures of plugins that the issue of a release asks for: printed by `tests/run --long`, and never asserted. The
//! short form does the same with less of everything, since all of it has to work.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::run_json;
use crate::flights::collection;
use crate::hostile::renamed;
use crate::plugin_life::becomes;
use crate::support::flights::{events, rust_component};
use crate::support::{TestHost, long};

/// Resident memory of the host, in bytes.
pub fn memory(host: &TestHost) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("the host runs on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a size");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

async fn publish_user(host: &TestHost, n: usize) -> u64 {
    let user = json!([{ "type": "user.added", "data": { "id": format!("u{n}"), "name": "Ada", "country": "NO" } }]);
    host.publish("users-1", &user).await["lastPosition"].as_u64().expect("a position")
}

/// All of them have folded what was published.
async fn all_have(host: &TestHost, plugins: usize, position: u64, users: usize) {
    for n in 0..plugins {
        let found = collection(host, &format!("user-stats-{n:04}"), "statistics", position).await;
        assert_eq!(found["all"]["added"], json!(users), "plugin {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_plugins_start_from_the_cache_and_are_small() {
    let plugins = if long() { 100 } else { 10 };
    let mut host = TestHost::start().await;
    for n in 0..plugins {
        let component = renamed("user-statistics", &[("user-statistics", format!("user-stats-{n:04}"))]);
        let (code, deployed) = host.try_deploy(component).await;
        assert_eq!(code, 201, "{deployed}");
    }
    let cold = memory(&host);
    let last = publish_user(&host, 0).await;
    all_have(&host, plugins, last, 1).await;
    let warm = memory(&host);
    let dir = host.kill().await;
    let began = Instant::now();
    let mut host = TestHost::start_with(dir, &[]).await;
    let answers = began.elapsed();
    let (restarted, last) = (memory(&host), publish_user(&host, 1).await);
    all_have(&host, plugins, last, 2).await;
    let each = |more: usize, less: usize| more.saturating_sub(less) / 1024 / plugins;
    println!(
        "{plugins} plugins: the host answers {} ms after its start, and all have folded an event after {} ms; a first \
         event takes {} KiB of each, after a restart {} KiB",
        answers.as_millis(),
        began.elapsed().as_millis(),
        each(warm, cold),
        each(memory(&host), restarted),
    );
    host.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_rebuild_is_flat_in_memory_and_goes_on_after_a_restart() {
    // 53,472 events each.
    let months = if long() { 188 } else { 2 };
    let mut host = TestHost::start().await;
    host.deploy(&rust_component()).await;
    // Without ids, which are known the second time.
    let lines: String = events()
        .into_iter()
        .map(|(stream, event)| {
            let data: Value = serde_json::from_slice(&event.data).expect("JSON");
            let line = json!({ "stream": stream, "type": event.r#type, "key": event.key, "data": data });
            format!("{line}\n")
        })
        .collect();
    let file = host.dir.path().join("month.jsonl");
    std::fs::write(&file, lines).expect("it is written");
    let mut last = Value::Null;
    for _ in 0..months {
        last = run_json(&host, &format!("publish {}", file.display())).await.json()["lastPosition"].clone();
    }
    let last = last.as_u64().expect("a position");
    let before = collection(&host, "flights", "carriers", last).await;
    let (status, rebuild) = host.post("/api/projections/flights/rebuild", "application/json", "").await;
    assert_eq!(status, 202, "{rebuild}");
    let path = "/api/plugins/flights/status";
    let far = |now: &Value| now["building"]["nextPosition"].as_u64() > Some(last / 4);
    becomes(&host, path, "is far in its build", |now| far(now) || now["building"].is_null()).await;
    let dir = host.kill().await;
    let host = TestHost::start_with(dir, &[]).await;
    let resumed = host.get(path).await.1["building"]["nextPosition"].clone();
    let (began, mut samples) = (Instant::now(), Vec::new());
    let mut pace = tokio::time::interval(Duration::from_millis(if long() { 250 } else { 10 }));
    while host.get("/api/projections/flights").await.1["generation"] != rebuild["generation"] {
        pace.tick().await;
        samples.push(memory(&host) >> 20);
        assert!(began.elapsed() < Duration::from_secs(600), "it is built");
    }
    let took = began.elapsed();
    assert_eq!(collection(&host, "flights", "carriers", last).await, before, "the same as before");
    println!("{} events, rebuilt from {resumed} on after a restart in {took:?}; MiB {samples:?}", last + 1);
}
