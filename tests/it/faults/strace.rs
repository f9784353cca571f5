//! strace, which makes system calls of a running process fail.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

const TRACE: [&str; 4] = ["-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync"];

/// Attached to a process; what that process does meanwhile stands in a file.
pub struct Strace {
    child: Child,
    file: PathBuf,
}

/// A call as strace saw it.
#[derive(Debug)]
pub enum Call {
    Written { file: String, at: u64, bytes: usize },
    Synced { file: String },
    SyncFailed { file: String },
}

impl Strace {
    /// Attaches to a host. `inject` says what becomes of the calls that sync, as strace wants it: with
    /// `error=EIO:when=5` the fifth of each thread fails. An error says why it cannot be done.
    pub async fn attach(host: &TestHost, inject: &str, file: PathBuf) -> Result<Self, String> {
        let mut strace = Command::new("strace");
        strace.args(TRACE).arg("-e").arg(format!("inject=fdatasync,fsync:{inject}"));
        strace.arg("-o").arg(&file).arg("-p").arg(host.pid().to_string());
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = strace.spawn().map_err(|error| format!("strace does not run: {error}"))?;
        let mut said = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let line = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("strace says in time what it does");
        let line = line.expect("its stderr is read").unwrap_or_default();
        if !line.contains("attached") {
            return Err(format!("strace cannot attach to a process: {line}"));
        }
        // It says more when threads come and go, and must not wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Ok(Self { child, file })
    }

    /// Waits until a sync of this file has begun.
    pub async fn sees_a_sync(&self, of: &str) {
        let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(20)));
        let begun = |line: &str| line.contains("fdatasync(") && line.contains(of);
        while !std::fs::read_to_string(&self.file).is_ok_and(|text| text.lines().any(begun)) {
            assert!(Instant::now() < until, "no sync of {of} has begun within {PATIENCE:?}");
            pace.tick().await;
        }
    }

    /// What it has seen, after the process has ended.
    pub async fn ends(mut self) -> Vec<Call> {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends with its process").expect("waited for");
        calls(&self.file)
    }
}

/// A host that is traced from its beginning. The host is the child; strace looks on from aside.
pub fn traced(host: &Command, file: &Path) -> Command {
    let host = host.as_std();
    let mut strace = Command::new("strace");
    strace.arg("-D").args(TRACE).arg("-o").arg(file).arg(host.get_program()).args(host.get_args());
    strace.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    strace
}

/// The calls that have ended, in the order of their ends.
pub fn calls(file: &Path) -> Vec<Call> {
    const UNFINISHED: &str = " <unfinished ...>";
    let text = std::fs::read_to_string(file).expect("strace has written what it saw");
    let (mut begun, mut calls) = (HashMap::new(), Vec::new());
    for line in text.lines() {
        let Some((thread, what)) = line.split_once(' ').map(|(thread, what)| (thread, what.trim_start())) else {
            continue;
        };
        if let Some(beginning) = what.strip_suffix(UNFINISHED) {
            begun.insert(thread, beginning);
        } else if let Some((_, end)) = what.strip_prefix("<... ").and_then(|what| what.split_once(" resumed>")) {
            let beginning = begun.remove(thread).unwrap_or_default();
            calls.extend(call(&format!("{beginning}{end}")));
        } else {
            calls.extend(call(what));
        }
    }
    calls
}

impl Call {
    pub fn file(&self) -> &str {
        let (Self::Written { file, .. } | Self::Synced { file } | Self::SyncFailed { file }) = self;
        file
    }
}

/// A call such as `pwrite64(9</data/wasmill.db-wal>, "..."..., 4096, 8192) = 4096`.
fn call(text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (_, rest) = rest.split_once('<')?;
    let (file, rest) = rest.split_once('>')?;
    let (arguments, outcome) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let (file, failed) = (file.to_owned(), outcome.starts_with('-'));
    match name {
        "pwrite64" if !failed => {
            let mut numbers = arguments.rsplit(", ");
            let (at, bytes) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
            Some(Call::Written { file, at, bytes })
        }
        "fdatasync" | "fsync" if failed => Some(Call::SyncFailed { file }),
        "fdatasync" | "fsync" => Some(Call::Synced { file }),
        _ => None,
    }
}
