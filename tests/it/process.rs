//! The life of the process: configuration, the lock of the data directory, access, metrics, logs.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::host::command;
use crate::support::{TestHost, root};
use crate::tidy::skip;

#[tokio::test]
async fn a_second_start_on_the_same_data_is_refused() {
    let host = TestHost::start().await;
    let output = command(host.dir.path()).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&host.pid().to_string()), "the holder is named: {said}");
    host.assert_healthy().await;
}

#[tokio::test]
async fn every_mistake_in_the_configuration_is_reported_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = "[server]\nlisten = \"0.0.0.0:7400\"\ncolour = 1\n[wasm]\nmemory_limit = \"much\"\n";
    std::fs::write(dir.path().join("wasmill.toml"), file).expect("written");
    let mut command = tokio::process::Command::new(crate::support::host::binary());
    command.arg("serve").current_dir(dir.path()).env("WASMILL_CALL_DEADLINE", "soon");
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    for word in ["colour", "much", "soon", "token"] {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
    assert!(!dir.path().join("wasmill-data").exists(), "nothing was opened");
}

#[tokio::test]
async fn with_a_token_nothing_but_health_is_open() {
    let dir = Arc::new(tempfile::tempdir().expect("a folder"));
    let host = TestHost::start_with(dir, &["--token", "correct-horse-battery"]).await;
    let get = async |path: &str, token: Option<&str>| {
        let mut request = reqwest::Client::new().get(host.path(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(get("/api/events", None).await, 401);
    assert_eq!(get("/api/events", Some("wrong")).await, 401);
    assert_eq!(get("/api/events", Some("correct-horse-battery")).await, 200);
    assert_eq!(get("/health", None).await, 200);
    let status = host.log().await.get_log(wasmill_server::proto::GetLogRequest {}).await.expect_err("no token");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(
        !host.log_lines().iter().any(|line| line.to_string().contains("correct-horse-battery")),
        "no secret in the log"
    );
}

/// Any web page can reach a port of this machine; only its name and origin tell it from a friend.
#[tokio::test]
async fn foreign_hosts_and_origins_are_turned_away() {
    let host = TestHost::start().await;
    let with = async |name: &str, value: &str| {
        let request = reqwest::Client::new().get(host.path("/api/events")).header(name, value);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(with("host", "evil.example").await, 403);
    assert_eq!(with("origin", "https://evil.example").await, 403);
    assert_eq!(with("host", "localhost").await, 200);
}

#[tokio::test]
async fn metrics_are_clean_and_count() {
    let host = TestHost::start().await;
    host.publish("s", &json!([{ "type": "a", "data": 1 }, { "type": "b", "data": 2 }])).await;
    host.deploy(&crate::support::flights::rust_component()).await;
    let text = reqwest::get(host.path("/metrics")).await.expect("an answer").text().await.expect("text");
    assert!(text.contains("wasmill_events_published_total 2"), "{text}");
    let known = [root().join(".cache/tools/promtool"), "/usr/bin/promtool".into()];
    let Some(promtool) = known.iter().find(|path| path.exists()) else {
        return skip("promtool is not there (tests/tools)");
    };
    let mut check = std::process::Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    check.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
    let output = check.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test]
async fn log_records_have_numbers_and_correlation_ids() {
    let dir = Arc::new(tempfile::tempdir().expect("a folder"));
    let host = TestHost::start_with(dir, &["--log-level", "debug"]).await;
    let request = reqwest::Client::new().post(host.path("/api/event-streams/s/events"));
    let request = request.header("x-correlation-id", "seen-in-the-log").header("content-type", "application/json");
    assert_eq!(request.body("[]").send().await.expect("an answer").status(), 400);
    let (_, health) = host.get("/health").await;
    assert_eq!(health["status"], "ready", "{health}");
    // A drained host has written its whole log.
    let lines = host.log_after_termination().await;
    let ours = |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with("wasmill"));
    assert!(lines.iter().filter(ours).all(|line| line["event_id"].is_u64()), "{lines:?}");
    let of_request = lines.iter().filter(|line| line["correlation_id"] == "seen-in-the-log");
    assert!(of_request.count() > 0, "{lines:?}");
}

#[tokio::test]
async fn the_http_api_is_described() {
    let host = TestHost::start().await;
    let (status, openapi) = host.get("/openapi.json").await;
    assert_eq!((status, openapi["openapi"].as_str().map(|v| v.starts_with("3.1"))), (200, Some(true)));
    assert!(openapi["paths"]["/api/event-streams/{name}/events"]["post"].is_object());
}

#[tokio::test]
async fn grpc_has_health_and_reflection() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let host = TestHost::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(host.channel().await);
    let answers = client.server_reflection_info(futures_util::stream::iter([request])).await.expect("answered");
    let answer = answers.into_inner().message().await.expect("read").expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else { panic!("{answer:?}") };
    let services: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["wasmill.v1.LogService", "wasmill.v1.PluginService", "wasmill.v1.ProjectionService"] {
        assert!(services.iter().any(|service| service == name), "{name} in {services:?}");
        let request = HealthCheckRequest { service: name.into() };
        let health = HealthClient::new(host.channel().await).check(request).await.expect("answered").into_inner();
        assert_eq!(health.status(), ServingStatus::Serving);
    }
}
