//! Components that break the contract or the peace: each ends in a clear answer, and the host and its
//! other plugins go on.

use serde_json::json;

use crate::support::{TestHost, flights};

async fn refused(host: &TestHost, component: Vec<u8>, code: &str, words: &[&str]) {
    let (_, before) = host.get("/api/plugins").await;
    let (status, problem) = host.try_deploy(component).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some(code)), "{problem}");
    for word in words {
        assert!(problem.to_string().contains(word), "`{word}` is said in {problem}");
    }
    assert_eq!(host.get("/api/plugins").await.1, before, "nothing was deployed");
    host.assert_healthy().await;
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is WebAssembly")
}

#[tokio::test]
async fn what_is_not_a_component_is_refused() {
    let host = TestHost::start().await;
    refused(&host, b"not wasm at all".to_vec(), "component_invalid", &[]).await;
    refused(&host, wat("(module)"), "component_invalid", &["module"]).await;
    let flights = std::fs::read(flights::rust_component()).expect("the guest is built");
    refused(&host, flights[..flights.len() / 2].to_vec(), "component_invalid", &[]).await;
    let (status, problem) = host.post("/api/plugins", "application/wasm", vec![0; (64 << 20) + 1]).await;
    assert_eq!((status, problem["code"].as_str()), (413, Some("body_too_large")), "{problem}");
}

#[tokio::test]
async fn missing_exports_and_forbidden_imports_are_named() {
    let host = TestHost::start().await;
    let missing = ["descriptor", "projection"];
    refused(&host, wat("(component)"), "component_refused", &missing).await;
    let import = r#"(component (import "acme:bank/transfer@1.0.0" (instance (export "pay" (func)))))"#;
    refused(&host, wat(import), "component_refused", &["acme:bank/transfer@1.0.0"]).await;
    let http = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    refused(&host, wat(http), "component_refused", &["wasi:http/outgoing-handler"]).await;
    let newer = r#"(component (import "wasmill:plugin/state@0.2.0" (instance)))"#;
    refused(&host, wat(newer), "component_refused", &["wasmill:plugin/state@0.2.0", "0.1"]).await;
}

#[tokio::test]
async fn a_describe_that_loops_asks_for_too_much_or_lies_is_refused() {
    let host = TestHost::start().await;
    let variant = |name: &str| std::fs::read(flights::guest(name)).expect(name);
    refused(&host, variant("describe-loops"), "plugin_failed", &["ms"]).await;
    refused(&host, variant("describe-gigabyte"), "plugin_failed", &["memory"]).await;
    refused(&host, variant("bad-descriptor"), "descriptor_invalid", &[]).await;
    refused(&host, variant("many-collections"), "descriptor_invalid", &["bytes"]).await;
}

/// A projection that meets each hostile event in turn pauses there, says why, and hurts nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_projection_pauses_and_its_neighbour_goes_on() {
    for (event_type, words) in [
        ("loop", "ms"),
        ("gigabyte", "memory"),
        ("panic", "crashed"),
        ("recurse", "crashed"),
        ("exit", "crashed"),
        ("state-bomb", "bytes"),
        ("huge-document", "262144"),
        ("undeclared", "not declared"),
        ("reject", "reject"),
        ("halt", "halt"),
    ] {
        let host = TestHost::start().await;
        host.deploy(&flights::guest("test-guest")).await;
        host.deploy(&flights::rust_component()).await;
        host.publish("guest-1", &json!([{ "type": "fine", "data": 1 }])).await;
        let bad = host.publish("guest-1", &json!([{ "type": event_type, "data": {} }])).await;
        host.publish("guest-1", &json!([{ "type": "fine", "data": 1 }])).await;
        let position = bad["lastPosition"].as_u64().expect("a position");
        let path = format!("/api/projections/test-guest/documents/counts/fine?waitFor={position}&timeout=30s");
        let (status, problem) = host.get(&path).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("projection_paused")), "{event_type}: {problem}");
        let (_, projection) = host.get("/api/projections/test-guest").await;
        let failure = &projection["failure"];
        assert_eq!(
            (projection["state"].as_str(), failure["position"].as_u64()),
            (Some("paused"), Some(position)),
            "{projection}"
        );
        assert!(failure["reason"].as_str().is_some_and(|reason| reason.contains(words)), "{event_type}: {failure}");
        let (_, counted) = host.get("/api/projections/test-guest/documents/counts/fine").await;
        assert_eq!(counted["value"], json!(1), "all before it is folded, nothing of it or after it: {counted}");
        let flight = json!([{ "type": "flight.cancelled", "key": "k", "data": { "flight": "X1", "carrier": "AA", "origin": "JFK", "dest": "MIA", "miles": 1 } }]);
        let last = host.publish("aircraft-1", &flight).await["lastPosition"].as_u64().expect("a position");
        let path = format!("/api/projections/flights/documents/carriers/AA?waitFor={last}");
        let (status, carrier) = host.get(&path).await;
        assert_eq!((status, &carrier["value"]["cancelled"]), (200, &json!(1)), "the neighbour goes on: {carrier}");
        assert_eq!(host.get("/health/live").await.0, 200);
        host.publish("health-check", &json!([{ "type": "checked", "data": {} }])).await;
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_bounded() {
    let host = TestHost::start().await;
    host.deploy(&flights::guest("test-guest")).await;
    let last = host.publish("guest-1", &json!([{ "type": "log-flood", "data": {} }])).await["lastPosition"].clone();
    host.get(&format!("/api/projections/test-guest/documents/counts/x?waitFor={last}")).await;
    let (status, logs) = host.get("/api/plugins/test-guest/logs?limit=1000").await;
    let lines = logs["lines"].as_array().map(Vec::len);
    assert!(status == 200 && lines.is_some_and(|lines| lines > 0 && lines <= 1_000), "{status} {lines:?}");
    host.assert_healthy().await;
}

#[tokio::test]
async fn a_guest_sees_an_events_details_and_no_clock() {
    let host = TestHost::start().await;
    host.deploy(&flights::guest("test-guest")).await;
    let id = "0198f7a2-0000-7000-8000-000000000001";
    let event = json!([{ "id": id, "type": "details", "data": {}, "tags": ["t:1"], "headers": { "h": "v" }, "workflowId": "w" }]);
    let last = host.publish("guest-1", &event).await["lastPosition"].clone();
    let (status, details) =
        host.get(&format!("/api/projections/test-guest/documents/details/{id}?waitFor={last}")).await;
    assert_eq!(status, 200, "{details}");
    let text = details["value"].to_string();
    for word in ["t:1", "header.h", "workflow-id", "recorded-at-us"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let removed = reqwest::Client::new().delete(host.path("/api/plugins/test-guest")).send().await.expect("an answer");
    assert!(removed.status().is_success(), "{}", removed.status());
    assert_eq!(host.get("/api/projections/test-guest").await.0, 404);
    assert_eq!(host.get("/api/plugins").await.1["plugins"], json!([]));
}

#[tokio::test]
async fn a_component_comes_in_over_grpc_once_and_is_kept() {
    use wasmill_server::proto::{CheckPluginRequest, DeployPluginRequest, GetPluginRequest};

    let host = TestHost::start().await;
    let component = std::fs::read(flights::rust_component()).expect("the guest is built");
    let pieces: Vec<bytes::Bytes> = component.chunks(64 * 1024).map(bytes::Bytes::copy_from_slice).collect();
    let mut plugins = host.plugins().await;
    let check = pieces.clone().into_iter().map(|chunk| CheckPluginRequest { chunk });
    let checked = plugins.check_plugin(futures_util::stream::iter(check)).await.expect("fit").into_inner();
    assert_eq!((checked.name.as_str(), checked.kind.as_str()), ("flights", "projection"));
    assert_eq!(host.get("/api/plugins").await.1["plugins"], json!([]), "a check keeps nothing");
    for changed in [true, false] {
        let deploy = pieces.clone().into_iter().map(|chunk| DeployPluginRequest { chunk, options: None });
        let deployed = plugins.deploy_plugin(futures_util::stream::iter(deploy)).await.expect("deployed").into_inner();
        assert_eq!(deployed.changed, changed, "the same bytes change nothing");
        assert_eq!(deployed.plugin.map(|plugin| plugin.revision), Some(1));
    }
    let broken = DeployPluginRequest { chunk: pieces[0].clone(), options: None };
    let status = plugins.deploy_plugin(futures_util::stream::iter([broken])).await.expect_err("half a component");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");

    // What was deployed is there after a restart, and goes on where it was.
    let (_, dir) = host.terminate().await;
    let host = TestHost::start_in(dir).await;
    let request = GetPluginRequest { name: "flights".into() };
    let plugin = host.plugins().await.get_plugin(request).await.expect("there").into_inner().plugin;
    assert_eq!(plugin.map(|plugin| plugin.sha256), Some(checked.sha256));
}

/// A document is handed out as the text that the plugin wrote: no number loses a digit on the way.
#[tokio::test]
async fn documents_come_back_as_written_and_what_is_missing_is_named() {
    let host = TestHost::start().await;
    host.deploy(&flights::guest("test-guest")).await;
    let id = "0198f7a2-0000-7000-8000-000000000002";
    let body = format!(r#"{{"id":"{id}","type":"echo","data":{{"z":12345678901234567890.10,"a":1e400}}}}"#);
    let (status, published) = host.post("/api/event-streams/guest-1/events", "application/json", body).await;
    assert_eq!(status, 201, "{published}");
    let documents = "/api/projections/test-guest/documents";
    let path = format!("{documents}/echoes/{id}?waitFor={}", published["lastPosition"]);
    let text = reqwest::get(host.path(&path)).await.expect("an answer").text().await.expect("text");
    assert!(text.contains(r#""value":{"z":12345678901234567890.10,"a":1e400}"#), "{text}");
    for (path, code, word) in [
        ("echoes/nothing", "document_not_found", "nothing"),
        ("colours/nothing", "collection_not_found", "echoes"),
        ("colours", "collection_not_found", "echoes"),
    ] {
        let (status, problem) = host.get(&format!("{documents}/{path}")).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some(code)), "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{problem}");
    }
    host.assert_healthy().await;
}
