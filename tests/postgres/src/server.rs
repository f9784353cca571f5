//! The processes of a running server.
//!
//! Between the test process and the server stands a shell (`watchdog.sh`) that ends the server when the
//! test process is gone, however that came about: it notices that a pipe has been closed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Every wait for the server ends after this.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    watchdog: Child,
    postmaster: String,
    /// Tells that the server is ready, and is closed when the last of its processes has ended. (The
    /// mutex makes it `Sync`; nobody ever waits for it.)
    state: Mutex<Receiver<()>>,
}

impl Server {
    /// Runs the watchdog, and returns when there is a cluster and a server is about to start on it, or
    /// when that has failed. The log is appended to the file.
    pub(crate) fn spawn(watchdog: &mut Command, log: File) -> Self {
        watchdog.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut watchdog = watchdog.spawn().expect("the shell starts");
        let mut postmaster = String::new();
        let stdout = watchdog.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut postmaster).expect("the watchdog tells a process id");
        let stderr = watchdog.stderr.take().expect("stderr is piped");
        let (sender, state) = sync_channel(1);
        std::thread::spawn(move || keep_log(stderr, log, &sender));
        Self { watchdog, postmaster: postmaster.trim().to_owned(), state: Mutex::new(state) }
    }

    /// False when the server has ended instead, or takes too long.
    pub(crate) fn becomes_ready(&self) -> bool {
        self.state.lock().expect("no wait panics").recv_timeout(PATIENCE).is_ok()
    }

    /// Waits for the end of all processes, and lets the watchdog leave the directory. False when it
    /// takes too long; then server and directory are removed.
    pub(crate) fn ends(mut self) -> bool {
        let state = self.state.get_mut().expect("no wait panics");
        // It may have become ready again meanwhile: it does after each crash of a backend.
        let mut last = state.recv_timeout(PATIENCE);
        while last.is_ok() {
            last = state.recv_timeout(PATIENCE);
        }
        let stdin = self.watchdog.stdin.as_mut().expect("stdin is piped");
        last == Err(RecvTimeoutError::Disconnected) && writeln!(stdin).is_ok()
    }

    /// Sends a signal to the postmaster, which passes on what its children have to know.
    pub(crate) fn signal(&self, signal: &str) {
        assert!(kill(signal, &[&self.postmaster]), "no SIG{signal} can be sent to {}", self.postmaster);
    }

    pub(crate) fn pause(&self) {
        self.signal("STOP"); // From here on no further child is born.
        kill("STOP", &self.children());
    }

    pub(crate) fn resume(&self) {
        kill("CONT", &self.children());
        self.signal("CONT");
    }

    pub(crate) fn kill(&self) {
        self.signal("STOP");
        kill("KILL", &self.children());
        self.signal("KILL");
    }

    /// Each child is a session, and so a process group, of its own: the postmaster's group lacks them.
    fn children(&self) -> Vec<String> {
        let output = Command::new("ps").args(["-A", "-o", "ppid=", "-o", "pid="]).output();
        let text = String::from_utf8(output.expect("ps runs (Debian: procps)").stdout).expect("ps writes numbers");
        let pairs = text.lines().filter_map(|line| line.trim().split_once(' '));
        let children = pairs.filter(|(parent, _)| *parent == self.postmaster);
        children.map(|(_, child)| child.trim().to_owned()).collect()
    }
}

impl Drop for Server {
    /// The watchdog shuts the server down and removes its directory, unless it was told to leave it.
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// False when there is no such process (any more).
fn kill(signal: &str, processes: &[impl AsRef<str>]) -> bool {
    let processes = processes.iter().map(AsRef::as_ref);
    let output = Command::new("kill").args(["-s", signal]).args(processes).output();
    output.expect("kill runs (Debian: procps)").status.success()
}

/// Writes the log to its file until the last process has ended, and tells when the server is ready.
fn keep_log(stderr: ChildStderr, mut log: File, state: &SyncSender<()>) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let _ = log.write_all(&[line.as_slice(), b"\n"].concat());
        if String::from_utf8_lossy(&line).contains("ready to accept connections") {
            let _ = state.try_send(()); // Full: what nobody has taken yet says the same.
        }
    }
}
