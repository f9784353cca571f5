//! The SignalR hub with its stock clients, and what those do not try.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{all_gone, host, publish, start};
use crate::support::TestHost;
use crate::support::host::PATIENCE;

pub type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn stock_client(transport: &str) {
    let host = host().await;
    let Some(script) = start("test/hub.mjs", &[&host.url, transport], None) else { return };
    let lines = script.rest().await;
    assert!(lines.len() >= 8, "{lines:?}");
    println!("{transport}: {lines:?}");
    all_gone(&host).await;
    host.assert_healthy().await;
}

#[tokio::test]
async fn the_stock_client_over_websockets() {
    stock_client("WebSockets").await;
}

#[tokio::test]
async fn the_stock_client_over_server_sent_events() {
    stock_client("ServerSentEvents").await;
}

#[tokio::test]
async fn the_stock_client_over_long_polling() {
    stock_client("LongPolling").await;
}

#[tokio::test]
async fn the_stock_python_client() {
    let host = host().await;
    let Some(script) = start("test/hub.py", &[&host.url], None) else { return };
    assert_eq!(script.rest().await.len(), 3);
    all_gone(&host).await;
}

/// Tries a handshake, and says what it was refused with.
pub async fn open(host: &TestHost, path: &str, origin: Option<&str>) -> Result<Socket, u16> {
    let mut request = host.path(path).replacen("http", "ws", 1).into_client_request().expect("a URL");
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{path}: {error}"),
    }
}

pub async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("it is sent");
}

/// The next messages of the hub; `None` at the end of the connection.
pub async fn hear(socket: &mut Socket) -> Option<Vec<Value>> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time") {
            Some(Ok(Message::Text(text))) => {
                let messages = text.split_terminator('\u{1e}');
                return Some(messages.map(|message| serde_json::from_str(message).expect("JSON")).collect());
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

/// A greeted connection.
pub async fn greeted(host: &TestHost, query: &str) -> Socket {
    let mut socket = open(host, &format!("/hubs/events{query}"), None).await.expect("it is taken");
    say(&mut socket, "{\"protocol\":\"json\",\"version\":1}\u{1e}").await;
    assert_eq!(hear(&mut socket).await, Some(vec![json!({})]));
    socket
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_invited() {
    let dir = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let host = TestHost::start_with(dir, &["--allowed-origin", "http://page.example"]).await;
    for path in ["/hubs/events", "/api/ws"] {
        assert_eq!(open(&host, path, Some("http://evil.example")).await.err(), Some(403), "{path}");
        assert!(open(&host, path, Some("http://page.example")).await.is_ok(), "{path}");
        assert!(open(&host, path, Some(&host.url)).await.is_ok(), "{path}: the host's own page");
    }
    let negotiate = |origin: &'static str| {
        let request = reqwest::Client::new().post(host.path("/hubs/events/negotiate")).header("origin", origin);
        async move { request.send().await.expect("an answer") }
    };
    assert_eq!(negotiate("http://evil.example").await.status(), 403);
    let invited = negotiate("http://page.example").await;
    assert_eq!(invited.headers()["access-control-allow-origin"], "http://page.example");
    assert_eq!(invited.headers()["access-control-allow-credentials"], "true");
    all_gone(&host).await;
}

#[tokio::test]
async fn the_token_may_stand_in_the_url_and_is_not_logged() {
    let (dir, token) = (Arc::new(tempfile::tempdir().expect("a temporary folder")), "correct-horse-battery");
    let host = TestHost::start_with(dir, &["--token", token, "--log-level", "debug"]).await;
    for path in ["/hubs/events", "/api/ws"] {
        assert_eq!(open(&host, path, None).await.err(), Some(401), "{path}");
        assert_eq!(open(&host, &format!("{path}?access_token=wrong"), None).await.err(), Some(401), "{path}");
        assert!(open(&host, &format!("{path}?access_token={token}"), None).await.is_ok(), "{path}");
    }
    for path in ["/api/events/live", "/api/event-streams/s/events/live"] {
        let status = async |query: &str| reqwest::get(host.path(path) + query).await.expect("an answer").status();
        assert_eq!(status("").await, 401, "{path}");
        assert_eq!(status(&format!("?access_token={token}")).await, 200, "{path}");
    }
    assert_eq!(host.get(&format!("/api/log?access_token={token}")).await.0, 401, "URLs end up in logs");
    let lines = host.log_after_termination().await;
    assert!(lines.iter().any(|line| line.to_string().contains("/hubs/events")), "requests are logged");
    assert!(lines.iter().all(|line| !line.to_string().contains(token)), "but not the token");
}

#[tokio::test]
async fn what_is_no_hub_message_ends_the_connection_with_a_word() {
    let host = TestHost::start().await;
    for handshake in ["hello\u{1e}", "{\"protocol\":\"messagepack\",\"version\":1}\u{1e}", "{\"type\":6}\u{1e}"] {
        let mut socket = open(&host, "/hubs/events", None).await.expect("it is taken");
        say(&mut socket, handshake).await;
        let said = hear(&mut socket).await.expect("an answer");
        assert!(said[0]["error"].is_string() && said[0].get("type").is_none(), "{said:?}");
        assert_eq!(hear(&mut socket).await, None, "{handshake}");
    }
    let too_long = "x".repeat(100_000);
    for message in ["nonsense\u{1e}", "{\"type\":1}\u{1e}", "[]\u{1e}", &too_long] {
        let mut socket = greeted(&host, "").await;
        say(&mut socket, message).await;
        let said = hear(&mut socket).await.unwrap_or_else(|| panic!("an answer to {message:.20}"));
        assert_eq!((&said[0]["type"], &said[0]["allowReconnect"]), (&json!(7), &json!(false)), "{said:?}");
        assert!(said[0]["error"].is_string(), "{said:?}");
        assert_eq!(hear(&mut socket).await, None);
    }
    all_gone(&host).await;
    host.assert_healthy().await;
}

#[tokio::test]
async fn messages_may_be_cut_anywhere_and_come_together() {
    let host = TestHost::start().await;
    let mut socket = greeted(&host, "?case=camel").await;
    say(&mut socket, "{\"type\":6}\u{1e}{\"type\":1,\"invocationId\":\"1\",\"target\":\"SubscribeTo").await;
    say(&mut socket, "Stream\",\"arguments\":[\"s\",0]}\u{1e}").await;
    let mut said = Vec::new();
    while said.len() < 2 {
        said.extend(hear(&mut socket).await.expect("answers"));
    }
    assert_eq!(said[0], json!({ "type": 1, "target": "SubscriptionConfirmed", "arguments": ["s"] }));
    assert_eq!(said[1], json!({ "type": 3, "invocationId": "1", "result": { "streamName": "s", "nextOffset": 0 } }));
    publish(&host, "s", 0, 1, false).await;
    let said = hear(&mut socket).await.expect("an event");
    assert_eq!(said[0]["arguments"][1]["data"], json!({ "n": 0 }));
}

#[tokio::test]
async fn a_host_that_stops_asks_its_clients_to_come_again() {
    let host = TestHost::start().await;
    let mut socket = greeted(&host, "").await;
    let mut plain = open(&host, "/api/ws", None).await.expect("it is taken");
    let terminated = tokio::spawn(host.terminate());
    let said = hear(&mut socket).await.expect("a last word");
    assert_eq!((&said[0]["type"], &said[0]["allowReconnect"]), (&json!(7), &json!(true)), "{said:?}");
    assert!(said[0]["error"].as_str().expect("a text").starts_with("draining: "), "{said:?}");
    assert_eq!(hear(&mut plain).await.expect("a last word")[0]["code"], json!("draining"));
    assert_eq!(hear(&mut socket).await, None);
    assert_eq!(terminated.await.expect("it ends").0, Some(0));
}
