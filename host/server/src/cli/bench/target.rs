//! The host under measurement: one that runs already, or a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use tokio::process::{Child, Command};

use super::report::Conditions;
use crate::cli::client::{Client, DEFAULT_URL, Remote};
use crate::cli::exit::{Exit, Failure};
use crate::cli::scratch::Scratch;
use crate::proto::GetLogRequest;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(1);

#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// Measure a host of its own: another process, on a data directory that is removed afterwards
    #[arg(long)]
    spawn: bool,
    #[command(flatten)]
    remote: Remote,
}

impl TargetArgs {
    /// Whether a host is named here and now; what the environment says is meant for all commands.
    fn names_a_host(&self, environment: Option<&str>) -> bool {
        self.remote.url != environment.unwrap_or(DEFAULT_URL)
    }
}

pub(crate) struct Target {
    pub remote: Remote,
    spawned: Option<Spawned>,
}

impl Target {
    pub(crate) async fn open(args: &TargetArgs) -> Result<Self, Failure> {
        if args.spawn && args.names_a_host(std::env::var("WASMILL_URL").ok().as_deref()) {
            return Err(Failure::usage(
                "--spawn measures a host of its own, and --url names another: give one of them",
            ));
        }
        if !args.spawn {
            args.remote.connect().await?;
            return Ok(Self { remote: args.remote.clone(), spawned: None });
        }
        let mut spawned = Spawned::fresh()?;
        spawned.start().await?;
        Ok(Self { remote: spawned.remote(), spawned: Some(spawned) })
    }

    /// Something that answers there, whatever it is.
    pub(crate) fn at(remote: Remote) -> Self {
        Self { remote, spawned: None }
    }

    /// Another host with an empty log, if hosts are spawned; else the same.
    pub(crate) async fn fresh(self, args: &TargetArgs) -> Result<Self, Failure> {
        if self.spawned.is_none() {
            return Ok(self);
        }
        drop(self);
        Self::open(args).await
    }

    /// Resident memory of a spawned host in KiB, where the system tells it.
    pub(crate) fn memory_kib(&self) -> Option<u64> {
        resident_kib(self.spawned.as_ref()?.process_id()?)
    }

    pub(crate) fn conditions(&self, event_data_bytes: usize) -> Conditions {
        let host = match &self.spawned {
            Some(_) => "a process of its own on this machine, SQLite on a fresh directory".into(),
            None => self.remote.url.clone(),
        };
        Conditions::here(event_data_bytes, host)
    }
}

/// A host process of this binary, with nothing configured but its place.
pub(crate) struct Spawned {
    scratch: Scratch,
    address: SocketAddr,
    child: Option<Child>,
}

impl Spawned {
    pub(crate) fn fresh() -> Result<Self, Failure> {
        // The port is free now; nobody else is likely to take it in the next few milliseconds.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = listener.map_err(|error| Failure::failed("listen", format!("no port is free: {error}")))?;
        Ok(Self { scratch: Scratch::new("bench")?, address, child: None })
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::local(self.address)
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Starts the process and waits until it answers.
    pub(crate) async fn start(&mut self) -> Result<Client, Failure> {
        self.launch()?;
        let remote = self.remote();
        let connected = tokio::time::timeout(START_TIMEOUT, async {
            loop {
                if let Ok(client) = remote.connect().await
                    && client.log().get_log(GetLogRequest {}).await.is_ok()
                {
                    return Ok(client);
                }
                if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                    return Err(self.failed(&format!("the host has ended: {status}")));
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        connected.await.unwrap_or_else(|_| Err(self.failed("the host does not answer")))
    }

    /// Starts the process and no more.
    pub(crate) fn launch(&mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::failed("spawn", format!("cannot start a host: {error}"));
        let log = std::fs::File::create(self.log_file()).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["serve", "--log-level", "warn", "--log-format", "text"]);
        command.arg("--listen").arg(self.address.to_string());
        command.arg("--data-dir").arg(self.scratch.path().join("data"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMILL_")) {
            command.env_remove(name);
        }
        // Neither a configuration file of the place nor a variable is to change what is measured.
        command.current_dir(self.scratch.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.kill_on_drop(true).spawn().map_err(failed)?);
        Ok(())
    }

    /// Asks the process to drain, and waits for its end.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let failed = |error: std::io::Error| Failure::failed("spawn", format!("cannot stop the host: {error}"));
        if let Some(id) = child.id() {
            Command::new("kill").arg(id.to_string()).status().await.map_err(failed)?;
        }
        match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
            Ok(status) => status.map(drop).map_err(failed),
            Err(_) => Err(self.failed("the host does not stop")),
        }
    }

    fn log_file(&self) -> std::path::PathBuf {
        self.scratch.path().join("host.log")
    }

    fn failed(&self, message: &str) -> Failure {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let failure = Failure::new(Exit::Unreachable, "unreachable", message);
        log.lines()
            .rev()
            .take(10)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .fold(failure, |failure, line| failure.with_detail("its log", line))
    }
}

/// Resident memory of a process in KiB, where the system tells it.
pub(crate) fn resident_kib(process_id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(process_id.to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_in_the_environment_does_not_forbid_to_spawn_one() {
        let args = |url: &str| TargetArgs { spawn: true, remote: Remote { url: url.into(), token: None } };
        assert!(!args(DEFAULT_URL).names_a_host(None) && !args("http://h:1").names_a_host(Some("http://h:1")));
        assert!(args("http://h:1").names_a_host(None) && args("http://h:1").names_a_host(Some("http://h:2")));
    }
}
