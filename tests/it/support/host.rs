//! A host process on a data directory of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use wasmill_server::proto::log_service_client::LogServiceClient;
use wasmill_server::proto::plugin_service_client::PluginServiceClient;
use wasmill_server::proto::projection_service_client::ProjectionServiceClient;
use wasmill_server::proto::stream_service_client::StreamServiceClient;

/// Every wait in the tests ends after this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary that stands beside this test's.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WASMILL_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test has a path");
    let binary = test.ancestors().nth(2).expect("target/release/deps/it").join("wasmill");
    assert!(binary.exists(), "{} is missing: cargo build --release", binary.display());
    binary
}

pub struct TestHost {
    child: Child,
    pub url: String,
    pub dir: Arc<tempfile::TempDir>,
    log: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl TestHost {
    pub async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().expect("a temporary folder"))).await
    }

    /// Starts on what an earlier host has left.
    pub async fn start_in(dir: Arc<tempfile::TempDir>) -> Self {
        Self::start_with(dir, &[]).await
    }

    pub async fn start_with(dir: Arc<tempfile::TempDir>, flags: &[&str]) -> Self {
        let mut command = command(dir.path());
        command.args(flags);
        let started = Self::try_start(command, dir).await;
        started.unwrap_or_else(|log| panic!("the host ended: {}", log.join("\n")))
    }

    /// Starts on what an earlier host has left, where its clients look for it.
    pub async fn start_again(dir: Arc<tempfile::TempDir>, url: &str) -> Self {
        Self::start_again_with(dir, url, &[]).await
    }

    pub async fn start_again_with(dir: Arc<tempfile::TempDir>, url: &str, flags: &[&str]) -> Self {
        let mut command = command_at(dir.path(), url.trim_start_matches("http://"));
        command.args(flags);
        let started = Self::try_start(command, dir).await;
        started.unwrap_or_else(|log| panic!("the host ended: {}", log.join("\n")))
    }

    /// Runs a command that becomes a host; what it has logged if it ends instead of listening.
    pub async fn try_start(mut command: Command, dir: Arc<tempfile::TempDir>) -> Result<Self, Vec<String>> {
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (told, address) = tokio::sync::oneshot::channel();
        let reading = Some(tokio::spawn(read_log(stderr, Arc::clone(&log), told)));
        let address = tokio::time::timeout(PATIENCE, address).await.expect("the host listens in time");
        let address = address.map_err(|_| log.lock().unwrap().clone())?;
        Ok(Self { child, url: format!("http://{address}"), dir, log, reading })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the host runs")
    }

    /// Lines of its log so far.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// kill -9; returns what it leaves behind.
    pub async fn kill(&mut self) -> Arc<tempfile::TempDir> {
        self.child.kill().await.expect("the host is killed");
        Arc::clone(&self.dir)
    }

    /// Waits until it has ended by itself; returns the exit code, all that it has logged, and what it
    /// leaves behind.
    pub async fn ends(mut self) -> (Option<i32>, Vec<String>, Arc<tempfile::TempDir>) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the host ends by itself in time");
        self.reading.take().expect("it is taken once").await.expect("the log is read to its end");
        let log = self.log.lock().unwrap().clone();
        (status.expect("it is waited for").code(), log, Arc::clone(&self.dir))
    }

    pub async fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().await.expect("kill runs");
        assert!(sent.success(), "SIG{signal} can be sent to {pid}");
    }

    /// SIGTERM; returns the exit code and what it leaves behind.
    pub async fn terminate(mut self) -> (Option<i32>, Arc<tempfile::TempDir>) {
        self.signal("TERM").await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the host drains in time");
        (status.expect("it is waited for").code(), Arc::clone(&self.dir))
    }

    /// SIGTERM; returns all that it has logged.
    pub async fn log_after_termination(mut self) -> Vec<Value> {
        let (log, reading) = (Arc::clone(&self.log), self.reading.take().expect("it is taken once"));
        self.terminate().await;
        reading.await.expect("the log is read to its end");
        let log = log.lock().unwrap();
        log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).expect("a URL").connect().await.expect("the host accepts")
    }

    pub async fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    pub async fn streams(&self) -> StreamServiceClient<Channel> {
        StreamServiceClient::new(self.channel().await)
    }

    pub async fn plugins(&self) -> PluginServiceClient<Channel> {
        PluginServiceClient::new(self.channel().await)
    }

    pub async fn projections(&self) -> ProjectionServiceClient<Channel> {
        ProjectionServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(reqwest::get(self.path(path)).await.expect("the host answers")).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = reqwest::Client::new().post(self.path(path)).header("content-type", content_type).body(body);
        answer(request.send().await.expect("the host answers")).await
    }

    /// A request of any method, with headers; a body is JSON.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = reqwest::Client::new().request(method, self.path(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        answer(request.send().await.expect("the host answers")).await
    }

    /// Publishes events given as JSON, and expects that they are taken.
    pub async fn publish(&self, stream: &str, events: &Value) -> Value {
        let path = format!("/api/event-streams/{stream}/events");
        let (status, body) = self.post(&path, "application/json", events.to_string()).await;
        assert_eq!(status, 201, "{body}");
        body
    }

    /// Deploys a component file.
    pub async fn deploy(&self, file: &Path) -> Value {
        let (status, body) =
            self.try_deploy(std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))).await;
        assert!(status == 201 || status == 200, "{status} {body}");
        body
    }

    pub async fn try_deploy(&self, component: Vec<u8>) -> (u16, Value) {
        self.post("/api/plugins", "application/wasm", component).await
    }

    /// Waits until `/health` has this status, and returns what it says.
    pub async fn becomes(&self, status: u16) -> Value {
        let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(50)));
        loop {
            pace.tick().await;
            let (now, health) = self.get("/health").await;
            if now == status {
                return health;
            }
            assert!(Instant::now() < until, "/health is not {status} within {PATIENCE:?}: {now} {health}");
        }
    }

    /// The host is ready and takes events: asked after every attack.
    pub async fn assert_healthy(&self) {
        let (status, health) = self.get("/health").await;
        assert_eq!(status, 200, "{health}");
        self.publish("health-check", &serde_json::json!([{ "type": "checked", "data": {} }])).await;
    }
}

impl Drop for TestHost {
    /// A test that fails shows what its host said last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            println!("the end of the log of {}:", self.url);
            log.iter().skip(log.len().saturating_sub(20)).for_each(|line| println!("{line}"));
        }
    }
}

pub fn command(dir: &Path) -> Command {
    command_at(dir, "127.0.0.1:0")
}

fn command_at(dir: &Path, address: &str) -> Command {
    let mut command = Command::new(binary());
    command
        .args(["serve", "--listen", address, "--log-format", "json", "--data-dir"])
        .arg(dir)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Keeps the log, and tells the address when the host listens (log record 101).
async fn read_log(
    stderr: BufReader<tokio::process::ChildStderr>,
    log: Arc<Mutex<Vec<String>>>,
    told: tokio::sync::oneshot::Sender<String>,
) {
    let (mut lines, mut told) = (stderr.lines(), Some(told));
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(record) = serde_json::from_str::<Value>(&line)
            && record["event_id"] == wasmill_core::log_id::HOST_LISTENING
            && let (Some(told), Some(address)) = (told.take(), record["address"].as_str())
        {
            let _ = told.send(address.to_owned());
        }
        log.lock().unwrap().push(line);
    }
}

async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
