//! The life of a plugin over the real binary: revisions, settings, roll back, confirmation, drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::{run, run_json};
use crate::flights::{assert_equal, figures};
use crate::support::host::PATIENCE;
use crate::support::{TestHost, flights};

/// The same component with other bytes: a custom section behind it, which means nothing.
fn variant(note: &str) -> Vec<u8> {
    let mut component = std::fs::read(flights::rust_component()).expect("the guest is built");
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    let section = [text("note"), text(note)].concat();
    component.push(0);
    component.push(u8::try_from(section.len()).expect("a short section"));
    component.extend(section);
    component
}

async fn deploy_variant(host: &TestHost, note: &str) -> u64 {
    let (status, answer) = host.try_deploy(variant(note)).await;
    assert_eq!((status, &answer["changed"]), (201, &json!(true)), "{answer}");
    answer["plugin"]["revision"].as_u64().expect("a number")
}

pub async fn post(host: &TestHost, path: &str) -> Value {
    let (status, answer) = host.send("POST", path, &[], "").await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

pub async fn patch(host: &TestHost, plugin: &str, change: Value) -> Value {
    let path = format!("/api/plugins/{plugin}/settings");
    let (status, settings) = host.send("PATCH", &path, &[], &change.to_string()).await;
    assert_eq!(status, 200, "{settings}");
    settings
}

pub async fn status(host: &TestHost, plugin: &str) -> Value {
    let (code, status) = host.get(&format!("/api/plugins/{plugin}/status")).await;
    assert_eq!(code, 200, "{status}");
    status
}

/// Waits until what is known of a plugin at `path` is as it should be, and returns it.
pub async fn becomes(host: &TestHost, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(10)));
    loop {
        pace.tick().await;
        let (code, now) = host.get(path).await;
        if code == 200 && fits(&now) {
            return now;
        }
        assert!(Instant::now() < until, "{what} within {PATIENCE:?}: {code} {now}");
    }
}

/// Waits until a revision answers queries.
async fn serves(host: &TestHost, plugin: &str, revision: u64) {
    let path = format!("/api/projections/{plugin}");
    becomes(host, &path, &format!("revision {revision} serves"), |now| now["revision"] == json!(revision)).await;
}

async fn becomes_state(host: &TestHost, plugin: &str, state: &str) -> Value {
    let path = format!("/api/plugins/{plugin}/status");
    becomes(host, &path, &format!("{plugin} is {state}"), |now| now["state"] == json!(state)).await
}

async fn cancel_flight(host: &TestHost) -> u64 {
    let data = json!({ "flight": "X1", "carrier": "AA", "origin": "JFK", "dest": "MIA", "miles": 1 });
    let event = json!([{ "type": "flight.cancelled", "key": "k", "data": data }]);
    host.publish("aircraft-1", &event).await["lastPosition"].as_u64().expect("a position")
}

/// What the projection says of `AA` when it is as far as `position`.
async fn cancelled(host: &TestHost, position: u64) -> Value {
    let path = format!("/api/projections/flights/documents/carriers/AA?waitFor={position}&timeout=30s");
    let (code, document) = host.get(&path).await;
    assert_eq!(code, 200, "{document}");
    document["value"]["cancelled"].clone()
}

#[tokio::test]
async fn a_plugin_is_listed_with_its_state_and_its_revisions_with_their_roles() {
    let host = TestHost::start().await;
    let first = host.deploy(&flights::rust_component()).await["plugin"].clone();
    assert_eq!((&first["revision"], &first["config"], &first["grants"]), (&json!(1), &json!({}), &json!([])));
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(1));
    becomes_state(&host, "flights", "live").await;
    assert_eq!(deploy_variant(&host, "second").await, 2);
    serves(&host, "flights", 2).await;

    let (_, list) = host.get("/api/plugins").await;
    let plugin = &list["plugins"][0];
    assert_eq!((&plugin["revision"], &plugin["newestRevision"]), (&json!(2), &json!(2)), "{plugin}");
    assert!(plugin["lagEvents"].is_u64() && plugin["state"].is_string(), "{plugin}");
    let (_, revisions) = host.get("/api/plugins/flights/revisions").await;
    let revisions = revisions["revisions"].as_array().expect("revisions").clone();
    let roles: Vec<_> = revisions.iter().map(|revision| (&revision["number"], &revision["role"])).collect();
    assert_eq!(roles, [(&json!(2), &json!("running")), (&json!(1), &json!("standby"))]);
    assert_eq!(revisions[1]["sha256"], first["sha256"]);

    let shown = run_json(&host, "plugin status flights").await.json();
    assert_eq!(
        (&shown["name"], &shown["revision"], &shown["wanted"]),
        (&json!("flights"), &json!(2), &json!("running"))
    );
    assert_eq!(shown["standby"]["revision"], json!(1), "{shown}");
    let text = run(&host, "plugin status flights").await.out;
    assert!(text.contains("state        live") && text.contains("standby      generation"), "{text}");
    assert!(run(&host, "plugin list").await.out.starts_with("plugin   kind        state"));
    let listed = run_json(&host, "plugin revisions flights --limit 1").await.json();
    assert_eq!(listed["revisions"].as_array().map(Vec::len), Some(1));
    assert_eq!((&listed["revisions"][0]["number"], &listed["revisions"][0]["role"]), (&json!(2), &json!("running")));
}

#[tokio::test]
async fn settings_change_by_a_patch_and_survive_a_restart() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    let (_, before) = host.get("/api/plugins/flights/settings").await;
    assert_eq!(before, json!({ "wanted": "running", "checkpoint": "batch", "confirmSwap": false, "retry": {} }));
    let change = json!({ "attempts": 3, "retry": { "baseMs": 5, "factor": 3 }, "memoryBytes": 33_554_432 });
    let after = patch(&host, "flights", change).await;
    assert_eq!((&after["attempts"], &after["retry"]), (&json!(3), &json!({ "baseMs": 5, "factor": 3 })));
    let after = patch(&host, "flights", json!({ "retry": { "baseMs": null } })).await;
    assert_eq!((&after["attempts"], &after["retry"]), (&json!(3), &json!({ "factor": 3 })));

    let line = "plugin settings flights --batch 16 --checkpoint event --on-failure pause --poll 1s --default attempts";
    let shown = run_json(&host, line).await.json()["settings"].clone();
    assert_eq!((&shown["batchEvents"], &shown["pollIntervalMs"]), (&json!(16), &json!(1_000)), "{shown}");
    assert!(shown.get("attempts").is_none(), "{shown}");
    let text = reqwest::get(host.path("/metrics")).await.expect("an answer").text().await.expect("text");
    for line in [
        r#"wasmill_plugin_memory_limit_bytes{plugin="flights"} 33554432"#,
        r#"wasmill_plugin_call_deadline_seconds{plugin="flights"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    assert_eq!(host.get("/api/plugins/flights/settings").await.1, shown);
    assert_eq!(run_json(&host, "plugin settings flights").await.json()["settings"], shown);
    let text = run(&host, "plugin settings flights").await.out;
    assert!(text.contains("batchEvents           16") && text.contains("attempts              (8)"), "{text}");
}

#[tokio::test]
async fn what_is_paused_or_stopped_stays_so_and_goes_on_where_it_was() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(1));
    post(&host, "/api/plugins/flights/pause").await;
    assert_eq!(becomes_state(&host, "flights", "paused").await["wanted"], json!("paused"));
    let health = host.get("/health").await.1["plugins"]["flights"].clone();
    assert_eq!((&health["status"], &health["state"]), (&json!("degraded"), &json!("paused")), "{health}");

    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    let last = cancel_flight(&host).await;
    assert_eq!(becomes_state(&host, "flights", "paused").await["lagEvents"], json!(1), "it does not go on");
    // Queries are answered from what it has.
    let (code, document) = host.get("/api/projections/flights/documents/carriers/AA").await;
    assert_eq!((code, &document["value"]["cancelled"]), (200, &json!(1)), "{document}");
    post(&host, "/api/plugins/flights/resume").await;
    becomes_state(&host, "flights", "live").await;
    assert_eq!(cancelled(&host, last).await, json!(2));
    assert_eq!(run_json(&host, "plugin stop flights").await.json()["done"], json!("stopped"));
    becomes_state(&host, "flights", "stopped").await;

    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    let last = cancel_flight(&host).await;
    assert_eq!(becomes_state(&host, "flights", "stopped").await["lagEvents"], json!(1));
    assert_eq!(run_json(&host, "plugin start flights").await.json()["done"], json!("started"));
    becomes_state(&host, "flights", "live").await;
    assert_eq!(cancelled(&host, last).await, json!(3));

    // What does not start with the host waits for a person, and for nothing else.
    patch(&host, "flights", json!({ "autoStart": false })).await;
    assert_eq!(status(&host, "flights").await["wanted"], json!("running"));
    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    becomes_state(&host, "flights", "stopped").await;
    patch(&host, "flights", json!({ "attempts": 2 })).await;
    let last = cancel_flight(&host).await;
    assert_eq!(status(&host, "flights").await["state"], json!("stopped"), "another setting does not start it");
    post(&host, "/api/plugins/flights/start").await;
    becomes_state(&host, "flights", "live").await;
    assert_eq!(cancelled(&host, last).await, json!(4));
}

/// A pause answered is a pause: what is published after it is not folded. A projection that waits for events
/// has to be woken for that.
#[tokio::test]
async fn a_pause_holds_from_its_answer_on() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(1));
    post(&host, "/api/plugins/flights/pause").await;
    cancel_flight(&host).await;
    let path = "/api/projections/flights/documents/carriers/AA?waitFor=1&timeout=500ms";
    let (code, problem) = host.get(path).await;
    assert_eq!((code, problem["code"].as_str()), (409, Some("projection_paused")), "{problem}");
}

/// Publishes the flights in their order, and noise behind them until it is told to stop.
async fn publish_without_pause(host: Arc<TestHost>, stop: Arc<AtomicBool>) {
    let events = flights::events();
    for some in events.chunks(500) {
        assert_eq!(flights::publish(&host, some).await.expect("the host is there"), some.len());
    }
    while !stop.load(Ordering::Relaxed) {
        host.publish("noise", &json!([{ "type": "noise", "data": {} }])).await;
    }
}

/// Reads the totals until it is told to stop: they never step back, and each is one state of the model.
async fn read_without_pause(host: Arc<TestHost>, stop: Arc<AtomicBool>) -> u64 {
    let (mut seen, mut place, mut reads) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let (code, totals) = host.get("/api/projections/flights/documents/totals/all").await;
        assert_eq!(code, 200, "no reader meets an error: {totals}");
        let events = totals["value"]["events"].as_u64().expect("a count");
        let types = totals["value"]["byType"].as_object().expect("counts").values();
        assert_eq!(types.map(|count| count.as_u64().expect("a count")).sum::<u64>(), events, "{totals}");
        let next = totals["nextPosition"].as_u64().expect("a position");
        assert!(events >= seen && next >= place, "{seen} at {place} came before {totals}");
        (seen, place, reads) = (events, next, reads + 1);
    }
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_swap_and_roll_back_under_a_publisher_without_pause() {
    let host = Arc::new(TestHost::start().await);
    host.deploy(&flights::rust_component()).await;
    let first = flights::events()[..1].to_vec();
    flights::publish(&host, &first).await.expect("published");
    let path = "/api/projections/flights/documents/totals/all?waitFor=0&timeout=30s";
    assert_eq!(host.get(path).await.0, 200);
    let stop = Arc::new(AtomicBool::new(false));
    // The first event is known then: a repeated id is stored once.
    let publisher = tokio::spawn(publish_without_pause(Arc::clone(&host), Arc::clone(&stop)));
    let reader = tokio::spawn(read_without_pause(Arc::clone(&host), Arc::clone(&stop)));
    for round in 0..4 {
        let revision = deploy_variant(&host, &format!("round {round}")).await;
        serves(&host, "flights", revision).await;
        let back = post(&host, "/api/plugins/flights/rollback").await;
        let before = back["revision"].as_u64().expect("a number");
        assert!(before < revision && back["newestRevision"] == json!(revision), "{back}");
        serves(&host, "flights", before).await;
        let again = post(&host, &format!("/api/plugins/flights/rollback?to={revision}")).await;
        assert_eq!(again["revision"], json!(revision), "and to the newest again");
        serves(&host, "flights", revision).await;
    }
    let total = flights::events().len() as u64;
    let all = |now: &Value| now["value"]["events"] == json!(total);
    becomes(&host, "/api/projections/flights/documents/totals/all", "all flights are folded", all).await;
    stop.store(true, Ordering::Relaxed);
    publisher.await.expect("the publisher met no error");
    assert!(reader.await.expect("the reader saw no step back") > 0);
    let last = host.get("/api/log").await.1["nextPosition"].as_u64().expect("a position") - 1;
    assert_equal(&figures(&host, "flights", last).await, &flights::answers());
}

#[tokio::test]
async fn a_read_model_waits_for_a_person_where_that_is_wanted() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(1));
    patch(&host, "flights", json!({ "confirmSwap": true })).await;
    let error = run_json(&host, "plugin confirm flights").await.error();
    assert_eq!(error["code"], json!("nothing_to_confirm"), "{error}");
    let revision = deploy_variant(&host, "second").await;
    let waits = |now: &Value| now["building"]["waitsForConfirmation"] == json!(true);
    let waiting = becomes(&host, "/api/plugins/flights/status", "it waits for a person", waits).await;
    assert_eq!(waiting["building"]["revision"], json!(revision), "{waiting}");
    assert_eq!(host.get("/api/projections/flights").await.1["revision"], json!(1), "the old one serves");
    let roles = host.get("/api/plugins/flights/revisions").await.1;
    assert_eq!(
        (&roles["revisions"][0]["role"], &roles["revisions"][1]["role"]),
        (&json!("building"), &json!("running"))
    );
    let text = run(&host, "plugin status flights").await.out;
    assert!(text.contains("waits for `wasmill plugin confirm`"), "{text}");
    // It is kept up to date while it waits.
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(2));
    run_json(&host, "plugin confirm flights").await.json();
    serves(&host, "flights", revision).await;
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(3));

    assert_eq!(post(&host, "/api/plugins/flights/confirm?dropStandby=true").await, json!({ "done": true }));
    assert_eq!(post(&host, "/api/plugins/flights/confirm?dropStandby=true").await, json!({ "done": false }));
    let error = run_json(&host, "plugin confirm flights --drop-standby").await.error();
    assert_eq!(error["code"], json!("nothing_to_confirm"), "{error}");
    assert!(status(&host, "flights").await.get("standby").is_none());
    // Going back means building then, which waits for a person too.
    run_json(&host, "plugin rollback flights").await.json();
    becomes(&host, "/api/plugins/flights/status", "it waits for a person", waits).await;
    post(&host, "/api/plugins/flights/confirm").await;
    serves(&host, "flights", 1).await;
    assert_eq!(cancelled(&host, cancel_flight(&host).await).await, json!(4));
}

#[tokio::test]
async fn a_plugin_is_drained_of_what_the_log_has() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    flights::publish(&host, &flights::events()[..5_000]).await.expect("published");
    assert_eq!(post(&host, "/api/plugins/flights/drain?timeout=60s").await, json!({ "drained": true }));
    let drained = becomes_state(&host, "flights", "paused").await;
    assert_eq!((&drained["lagEvents"], &drained["nextPosition"]), (&json!(0), &json!(5_000)), "{drained}");
    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    cancel_flight(&host).await;
    let error = run_json(&host, "plugin drain flights --timeout 1ms").await.error();
    assert_eq!(error["code"], json!("not_drained"), "what is paused gets nowhere: {error}");
    run_json(&host, "plugin resume flights").await.json();
    assert_eq!(run_json(&host, "plugin drain flights").await.json()["done"], json!("drained and paused"));
    assert_eq!(status(&host, "flights").await["nextPosition"], json!(5_001));
}

fn places(problem: &Value) -> Vec<&str> {
    let details = problem["details"].as_array().expect("details");
    details.iter().map(|detail| detail["at"].as_str().expect("a text")).collect()
}

#[tokio::test]
async fn every_mistake_in_a_deployment_or_a_setting_is_named() {
    let host = TestHost::start().await;
    let component = std::fs::read(flights::rust_component()).expect("the guest is built");
    let deploy = async |query: &str| {
        let path = format!("/api/plugins?{query}");
        host.post(&path, "application/wasm", component.clone()).await
    };
    for (query, at) in [
        ("set=colour=red&grant=append:x&set=size=7", vec!["grants.append:x", "config.colour", "config.size"]),
        ("set=colour&grantAll=maybe&from=noon&colour=red", vec!["set", "grantAll", "from", "colour"]),
        ("from=first", vec!["from"]),
    ] {
        let (status, problem) = deploy(query).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_argument")), "{query}: {problem}");
        assert_eq!(places(&problem), at, "{query}: {problem}");
    }
    assert_eq!(host.get("/api/plugins").await.1["plugins"], json!([]), "nothing was deployed");
    assert_eq!(deploy("grantAll=true").await.0, 201, "it asks for nothing");

    let settings = "/api/plugins/flights/settings";
    for (body, at) in [
        (r#"{"batchEvents":257,"attempts":0,"retry":{"factor":101}}"#, vec!["batchEvents", "attempts", "retry.factor"]),
        (r#"{"onFailure":"explode"}"#, vec!["onFailure"]),
        (r#"{"colour":1}"#, vec!["colour"]),
        ("[1]", vec!["settings"]),
    ] {
        let (status, problem) = host.send("PATCH", settings, &[], body).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_argument")), "{body}: {problem}");
        assert_eq!(places(&problem), at, "{body}: {problem}");
    }
    let (status, problem) = host.send("POST", "/api/plugins/flights/configure", &[], r#"{"grant":["append:x"]}"#).await;
    assert_eq!((status, places(&problem)), (400, vec!["grants.append:x"]), "{problem}");
    for (path, status, code) in [
        ("rollback", 400, "invalid_argument"),
        ("rollback?to=1", 400, "invalid_argument"),
        ("rollback?to=99", 400, "invalid_argument"),
        ("rollback?to=99999999999", 400, "invalid_argument"),
        ("drain?timeout=11m", 400, "invalid_argument"),
        ("confirm?dropStandby=perhaps", 400, "invalid_argument"),
        ("pause?colour=red", 400, "invalid_argument"),
    ] {
        let (found, problem) = host.send("POST", &format!("/api/plugins/flights/{path}"), &[], "").await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
    }
    for (method, path, body) in [
        ("GET", "status", ""),
        ("GET", "revisions", ""),
        ("GET", "settings", ""),
        ("PATCH", "settings", "{}"),
        ("POST", "configure", "{}"),
        ("POST", "start", ""),
        ("POST", "stop", ""),
        ("POST", "pause", ""),
        ("POST", "resume", ""),
        ("POST", "rollback", ""),
        ("POST", "drain", ""),
        ("POST", "confirm", ""),
    ] {
        let (status, problem) = host.send(method, &format!("/api/plugins/nobody/{path}"), &[], body).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some("plugin_not_found")), "{method} {path}: {problem}");
    }
    let error = run_json(&host, "plugin reset flights --to first").await.error();
    assert_eq!(error["code"], json!("not_a_handler"), "{error}");
    host.assert_healthy().await;
}

#[tokio::test]
async fn options_of_a_deployment_over_grpc_stand_in_its_first_message() {
    use wasmill_server::proto::{
        ChangePluginSettingsRequest, DeployOptions, DeployPluginRequest, GetPluginStatusRequest, GroupStart,
        PluginSetupChange, PluginState, RollBackPluginRequest,
    };

    let host = TestHost::start().await;
    let component = bytes::Bytes::from(std::fs::read(flights::rust_component()).expect("the guest is built"));
    let chunk = |chunk: bytes::Bytes, options| DeployPluginRequest { chunk, options };
    let mut plugins = host.plugins().await;
    let late = [chunk(component.clone(), None), chunk(bytes::Bytes::new(), Some(DeployOptions::default()))];
    let refused = plugins.deploy_plugin(futures_util::stream::iter(late)).await.expect_err("too late");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    let nowhere = DeployOptions { start: Some(GroupStart::default()), ..DeployOptions::default() };
    let refused = plugins.deploy_plugin(futures_util::stream::iter([chunk(component.clone(), Some(nowhere))])).await;
    assert!(refused.expect_err("no place").message().contains("options.start"));
    let setup = PluginSetupChange { grants: vec!["append:x".into()], ..PluginSetupChange::default() };
    let asks = DeployOptions { setup: Some(setup), start: None };
    let refused = plugins.deploy_plugin(futures_util::stream::iter([chunk(component.clone(), Some(asks))])).await;
    assert!(refused.expect_err("it does not ask for it").message().contains("append:x"));
    let options = Some(DeployOptions::default());
    let first = [chunk(bytes::Bytes::new(), options), chunk(component, None)];
    let deployed = plugins.deploy_plugin(futures_util::stream::iter(first)).await.expect("deployed").into_inner();
    let plugin = deployed.plugin.expect("a plugin");
    assert_eq!((plugin.revision, plugin.newest_revision, deployed.changed), (1, 1, true));
    let name = String::from("flights");
    let change = ChangePluginSettingsRequest { name: name.clone(), patch_json: r#"{"wanted":"stopped"}"#.into() };
    let settings = plugins.change_plugin_settings(change).await.expect("changed").into_inner().settings_json;
    assert!(settings.contains(r#""wanted":"stopped""#), "{settings}");
    becomes_state(&host, "flights", "stopped").await;
    let status = plugins.get_plugin_status(GetPluginStatusRequest { name: name.clone() }).await.expect("there");
    let status = status.into_inner().status.expect("a status");
    assert_eq!(status.wanted, "stopped");
    assert_eq!(status.plugin.expect("a plugin").state(), PluginState::Stopped);
    let change = ChangePluginSettingsRequest { name: name.clone(), patch_json: "{".into() };
    let refused = plugins.change_plugin_settings(change).await.expect_err("half an object");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    let refused = plugins.roll_back_plugin(RollBackPluginRequest { name, to: None }).await.expect_err("one revision");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
}

/// Without upcasters both forms are the same; what is refused is refused in both.
#[tokio::test]
async fn readers_may_ask_for_events_as_they_were_published() {
    let host = TestHost::start().await;
    host.publish("s", &json!([{ "type": "a", "data": { "n": 1 } }])).await;
    for path in ["/api/events", "/api/event-streams/s/events"] {
        assert_eq!(host.get(path).await, host.get(&format!("{path}?raw=true")).await, "{path}");
        let (status, problem) = host.get(&format!("{path}?raw=perhaps")).await;
        assert_eq!((status, places(&problem)), (400, vec!["raw"]), "{problem}");
    }
    let raw = run(&host, "read s --raw").await;
    assert_eq!((raw.code, &raw.out), (Some(0), &run(&host, "read s").await.out));
}
