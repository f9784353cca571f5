//! Browsers and what they are reached by: the SignalR hub, the plain WebSocket and server-sent events, with the
//! clients that people use. `tests/run` installs them (`examples/browser`).

pub mod hub;
mod page;
mod resume;
mod slow;
mod socket;

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::support::host::PATIENCE;
use crate::support::{TestHost, root};
use crate::tidy::skip;

fn folder() -> PathBuf {
    root().join("examples/browser")
}

/// A script of `examples/browser` that runs.
struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
}

/// `None`, said aloud, if what it needs is not installed.
fn start(script: &str, args: &[&str], token: Option<&str>) -> Option<Script> {
    let (program, needed) = match script.ends_with(".py") {
        true => (folder().join(".venv/bin/python"), folder().join(".venv/bin/python")),
        false => ("node".into(), folder().join("node_modules/@microsoft/signalr")),
    };
    if !needed.exists() {
        skip(&format!("{} is not installed (tests/run does it)", needed.display()));
        return None;
    }
    let mut command = Command::new(program);
    command.arg(script).args(args).current_dir(folder()).stdin(Stdio::null()).kill_on_drop(true);
    command.env_remove("WASMILL_TOKEN").envs(token.map(|token| ("WASMILL_TOKEN", token)));
    match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(mut child) => {
            let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
            let stderr = child.stderr.take().expect("it is piped");
            Some(Script { child, lines, stderr })
        }
        Err(error) => {
            skip(&format!("{script} cannot be run: {error}"));
            None
        }
    }
}

impl Script {
    /// The next line that it prints; `None` at its end.
    async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        match line {
            Ok(line) => line.expect("its output is UTF-8"),
            Err(_) => panic!("nothing more is printed: {}", self.complaint().await),
        }
    }

    /// What it prints until it ends, which it must do well.
    async fn rest(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it is known");
        assert!(status.success(), "{}\n{}", lines.join("\n"), self.complaint().await);
        lines
    }

    async fn complaint(&mut self) -> String {
        let _ = self.child.start_kill();
        let mut text = String::new();
        let _ = self.stderr.read_to_string(&mut text).await;
        text
    }
}

/// A host with a stream that clients may not read.
async fn host() -> TestHost {
    let host = TestHost::start().await;
    let config = json!({ "access": { "read": "plugins" } }).to_string();
    let (status, body) = host.send("PUT", "/api/event-streams/private/config", &[], &config).await;
    assert!(status < 300, "{status} {body}");
    host
}

/// The sum of the series of a metric.
async fn metric(host: &TestHost, name: &str) -> f64 {
    let (_, text) = host.get("/metrics").await;
    let text = text.as_str().expect("metrics are text");
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().expect("a number")).sum()
}

/// Waits until nothing is left of any connection.
async fn all_gone(host: &TestHost) {
    until(host, "wasmill_push_connections", 0.0).await;
    until(host, "wasmill_push_subscriptions", 0.0).await;
    until(host, "wasmill_followers", 0.0).await;
}

async fn until(host: &TestHost, name: &str, wanted: f64) {
    let (end, mut pace) =
        (std::time::Instant::now() + PATIENCE, tokio::time::interval(std::time::Duration::from_millis(20)));
    loop {
        pace.tick().await;
        let now = metric(host, name).await;
        if now == wanted {
            return;
        }
        assert!(std::time::Instant::now() < end, "{name} is {now} and not {wanted} within {PATIENCE:?}");
    }
}

/// Publishes events of the type `counted` from the number `from` on, and at the end one of the type `end`.
async fn publish(host: &TestHost, stream: &str, from: u64, until: u64, end: bool) {
    let mut events: Vec<_> = (from..until).map(|n| json!({ "type": "counted", "data": { "n": n } })).collect();
    if end {
        events.push(json!({ "type": "end", "data": {} }));
    }
    for part in events.chunks(10) {
        host.publish(stream, &json!(part)).await;
    }
}
