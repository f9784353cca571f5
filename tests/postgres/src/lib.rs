//! PostgreSQL servers for tests, run from the binaries that are installed. A server has a fresh cluster
//! in a temporary directory and a port of its own, and never outlives the process that started it, even
//! if that is killed.

mod installed;
mod server;

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use installed::{Installed, command};
use server::Server;

/// A free port can be taken by another process before the server listens on it. That is rare, so
/// being unlucky so many times in a row means something else.
const PORTS_TRIED_MAX: u32 = 5;

/// How much of the log a failed start shows.
const LOG_LINES_SHOWN: usize = 30;

const SETTINGS: [&str; 5] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=128MB",
    // In the directory and not in /dev/shm, where a killed server would leave it behind.
    "dynamic_shared_memory_type=mmap",
];

/// A PostgreSQL server of a test's own, in a temporary directory; ends when dropped.
pub struct Postgres {
    installed: Installed,
    settings: Vec<String>,
    port: u16,
    databases: AtomicU32,
    server: Option<Server>, // Before the directory, so that it is dropped before.
    directory: TempDir,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Waits for its clients to leave: the test's own connections have to be closed first.
    Smart,
    /// Disconnects its clients, and leaves nothing to recover.
    Fast,
    /// Ends at once, without a checkpoint.
    Immediate,
    /// SIGKILL to all its processes.
    Kill,
}

/// One server shared by the tests of a process, started on first use, ended when the process ends. It does
/// not sync: tests of durability start their own.
pub fn shared() -> &'static Postgres {
    static SHARED: LazyLock<Postgres> = LazyLock::new(|| Postgres::start_with(&[("fsync", "off")]));
    &SHARED
}

impl Postgres {
    /// Makes a cluster and starts a server on it; takes about a second. Panics when that fails, and says
    /// what has to be installed when nothing is.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with further settings, each a name and a value. They must not silence or redirect the
    /// log: it tells when the server is ready.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut failure = String::new();
        for _ in 0..PORTS_TRIED_MAX {
            match Self::try_start(settings) {
                Ok(postgres) => return postgres,
                Err(log) => failure = log,
            }
            if !failure.contains("could not bind") {
                break;
            }
        }
        panic!("{failure}");
    }

    fn try_start(settings: &[(&str, &str)]) -> Result<Self, String> {
        let installed = Installed::find();
        // Not where TMPDIR says: the server's user must be able to get there.
        let directory = tempfile::Builder::new().prefix("wasmill-postgres-").tempdir_in("/tmp");
        let directory = directory.expect("/tmp can be written to");
        if let Some((user, group)) = installed.user {
            chown(directory.path(), Some(user), Some(group)).expect("root may give its directory away");
        }
        let given = settings.iter().map(|(name, value)| format!("{name}={value}"));
        let settings = SETTINGS.into_iter().map(str::to_owned).chain(given).collect();
        let databases = AtomicU32::new(0);
        let mut postgres = Self { installed, settings, port: free_port(), databases, server: None, directory };
        postgres.run().map(|()| postgres)
    }

    /// Where a client finds a database, in the form that sqlx and psql know.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://wasmill@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database with a name that this server has not had yet, and returns its URL.
    pub fn create_database(&self) -> String {
        let database = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("create database {database}"));
        self.url(&database)
    }

    /// Stops the server and waits until all its processes have ended; what is stored stays. A paused
    /// server heeds only [`Stop::Kill`].
    pub fn stop(&mut self, how: Stop) {
        let server = self.server.take().expect("the server has not been stopped");
        match how {
            Stop::Smart => server.signal("TERM"),
            Stop::Fast => server.signal("INT"),
            Stop::Immediate => server.signal("QUIT"),
            Stop::Kill => server.kill(),
        }
        assert!(server.ends(), "PostgreSQL has not ended after {how:?}");
    }

    /// Starts the server again, on the same directory and port, after it has stopped or else been
    /// stopped fast.
    pub fn restart(&mut self) {
        if self.server.is_some() {
            self.stop(Stop::Fast);
        }
        self.run().unwrap_or_else(|log| panic!("{log}"));
    }

    /// Stops the time of all its processes: connections stay open, and nothing answers. Dropping a
    /// paused server takes five seconds.
    pub fn pause(&self) {
        self.running().pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.running().resume();
    }

    /// Runs SQL and returns the rows, a line each, columns separated by `|`. Panics if it fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = command(self.installed.path("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql]);
        output_of(psql.env("PGCONNECT_TIMEOUT", "30")).trim_end().to_owned()
    }

    fn running(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    /// Starts the server, on a new cluster if there is none. When it does not become ready, the error
    /// has the end of its log, and the directory is removed.
    fn run(&mut self) -> Result<(), String> {
        let directory = self.directory.path();
        let file = directory.join("log");
        let log = File::options().create(true).append(true).open(&file).expect("the log can be written");
        let mut watchdog = self.installed.watchdog(directory);
        watchdog.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        watchdog.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let server = Server::spawn(&mut watchdog, log);
        if server.becomes_ready() {
            self.server = Some(server);
            return Ok(());
        }
        let log = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        Err(format!("PostgreSQL did not become ready on port {}. The end of its log:\n{end}", self.port))
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for Postgres {
    /// Removes what a killed server would find and clean up at its next start: a segment of shared
    /// memory, of which a system has few (macOS 32). Its id is in line 7 of the lock file.
    fn drop(&mut self) {
        if self.server.is_none()
            && let Ok(lock) = std::fs::read_to_string(self.data().join("postmaster.pid"))
            && let Some(segment) = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1))
        {
            let _ = command("ipcrm").args(["-m", segment]).output();
        }
    }
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("there is a free port").port()
}

/// What a command writes; panics with what it says when it fails.
fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// A connection that has asked whether the server speaks TLS, which it answers with one byte.
    fn asked(postgres: &Postgres) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", postgres.port)).unwrap();
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
        stream
    }

    #[test]
    fn server_answers_and_syncs() {
        let postgres = Postgres::start_with(&[("work_mem", "5MB")]);
        assert_eq!(postgres.psql("postgres", "select 1, null, 'a'; show work_mem; show fsync"), "1||a\n5MB\non");
    }

    #[test]
    fn shared_server_is_one() {
        assert!(std::ptr::eq(shared(), shared()));
    }

    #[test]
    fn created_databases_are_different_ones() {
        let [one, other] = [shared().create_database(), shared().create_database()];
        assert_ne!(one, other);
        let name = one.rsplit('/').next().unwrap();
        assert_eq!(shared().psql(name, "select current_database()"), name);
    }

    #[test]
    #[should_panic(expected = "division by zero")]
    fn failing_sql_panics_with_its_error() {
        shared().psql("postgres", "select 1 / 0");
    }

    #[test]
    fn what_is_stored_outlives_every_stop() {
        let mut postgres = Postgres::start();
        postgres.psql("postgres", "create table kept (how text)");
        for how in [Stop::Smart, Stop::Fast, Stop::Immediate, Stop::Kill] {
            postgres.psql("postgres", &format!("insert into kept values ('{how:?}')"));
            let before = postgres.url("postgres");
            postgres.stop(how);
            assert!(TcpStream::connect(("127.0.0.1", postgres.port)).is_err(), "nobody listens");
            postgres.restart();
            assert_eq!(postgres.url("postgres"), before);
        }
        postgres.restart(); // Stops it first.
        assert_eq!(postgres.psql("postgres", "select how from kept"), "Smart\nFast\nImmediate\nKill");
    }

    #[test]
    fn paused_server_answers_after_the_pause() {
        let (postgres, mut answer) = (Postgres::start(), [0]);
        postgres.pause();
        let mut stream = asked(&postgres);
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let error = stream.read(&mut answer).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        postgres.resume();
        stream.set_read_timeout(None).unwrap();
        assert_eq!((stream.read(&mut answer).unwrap(), answer), (1, *b"N"));
    }

    #[test]
    fn server_and_directory_end_with_the_pipe_to_the_watchdog() {
        let mut postgres = Postgres::start();
        let (mut stream, mut answer) = (asked(&postgres), [0]);
        stream.read_exact(&mut answer).unwrap();
        drop(postgres.server.take());
        assert!(!matches!(stream.read(&mut answer), Ok(1..)), "the connection has ended");
        assert!(!postgres.directory.path().exists());
    }

    #[test]
    #[should_panic(expected = "unrecognized configuration parameter")]
    fn server_that_does_not_start_tells_why() {
        Postgres::start_with(&[("no_such_setting", "on")]);
    }
}
