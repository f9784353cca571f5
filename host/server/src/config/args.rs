//! The flags of `wasmill serve`.

use std::path::PathBuf;

use super::parts;
use super::settings::Key;

/// Flags are texts here: they are understood together with the environment and the file, so that all
/// mistakes are told at once.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Configuration file [default: wasmill.toml, if there is one] [env: WASMILL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the one port, gRPC and HTTP [default: 127.0.0.1:7400] [env: WASMILL_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where everything is kept [default: ./wasmill-data] [env: WASMILL_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Store: memory:, sqlite:PATH or postgres://user:password@host:port/database [default: SQLite in the
    /// data directory] [env: WASMILL_STORE]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Whether the database is made, and brought to this version, at start [default: true]
    /// [env: WASMILL_MIGRATE]
    #[arg(long, value_name = "BOOL")]
    pub migrate: Option<String>,
    /// Token that callers have to bear; every user of the machine can see flags, so rather use
    /// --token-file [env: WASMILL_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// File with the token [env: WASMILL_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// Listen beyond this machine without a token [env: WASMILL_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    /// Name by which callers may address the host (repeatable; `*` for any) [env: WASMILL_ALLOWED_HOSTS]
    #[arg(long = "allowed-host", value_name = "NAME")]
    pub allowed_hosts: Vec<String>,
    /// Origin whose web pages may call the host (repeatable) [env: WASMILL_ALLOWED_ORIGINS]
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    pub allowed_origins: Vec<String>,
    /// Time that open streams have to end on a stop [default: 10s] [env: WASMILL_DRAIN_TIMEOUT]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<String>,
    /// Connections at one time [default: 10000] [env: WASMILL_CONNECTIONS_MAX]
    #[arg(long, value_name = "COUNT")]
    pub connections_max: Option<String>,
    /// Database connections that read [default: 4] [env: WASMILL_READERS]
    #[arg(long, value_name = "COUNT")]
    pub readers: Option<String>,
    /// Time between two looks for events that may go [default: 1min] [env: WASMILL_RETENTION_EVERY]
    #[arg(long, value_name = "TIME")]
    pub retention_every: Option<String>,
    /// Part of the day, UTC, in which events are removed, such as 01:00-05:00 [default: always]
    /// [env: WASMILL_RETENTION_WINDOW]
    #[arg(long, value_name = "FROM-TO")]
    pub retention_window: Option<String>,
    /// Removals of up to 1,000 events in a second [default: 100] [env: WASMILL_RETENTION_RATE]
    #[arg(long, value_name = "COUNT")]
    pub retention_rate: Option<String>,
    /// Time that a plugin has for one call [default: 1s] [env: WASMILL_CALL_DEADLINE]
    #[arg(long, value_name = "TIME")]
    pub call_deadline: Option<String>,
    /// Memory of one plugin instance [default: 64MiB] [env: WASMILL_MEMORY_LIMIT]
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// Threads that run plugins [default: one for each core, at most 2] [env: WASMILL_GUEST_THREADS]
    #[arg(long, value_name = "COUNT")]
    pub guest_threads: Option<String>,
    /// Host that sagas may reach on a private network or on this machine (repeatable): a name, *.NAME, an
    /// address, or `*` for any [env: WASMILL_PRIVATE_HOSTS]
    #[arg(long = "private-host", value_name = "HOST")]
    pub private_hosts: Vec<String>,
    /// Folder of the secrets that sagas may send, one file each; WASMILL_SECRET_NAME in the environment is one
    /// as well [env: WASMILL_SECRETS_DIR]
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<String>,
    /// auto, json or text; auto is text on a terminal [default: auto] [env: WASMILL_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug, trace, or TARGET=LEVEL,.. [default: info] [env: WASMILL_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl ServeArgs {
    /// What the flag of `key` was given; nothing if it was not.
    pub(super) fn texts(&self, key: &Key) -> Vec<String> {
        let Self {
            config: _,
            listen,
            data_dir,
            store,
            migrate,
            token,
            token_file,
            insecure,
            allowed_hosts,
            allowed_origins,
            drain_timeout,
            connections_max,
            readers,
            retention_every,
            retention_window,
            retention_rate,
            call_deadline,
            memory_limit,
            guest_threads,
            private_hosts,
            secrets_dir,
            log_format,
            log_level,
        } = self;
        let insecure = insecure.then(|| String::from("true"));
        let one = match key.path {
            p if p == parts::ALLOWED_HOSTS.path => return allowed_hosts.clone(),
            p if p == parts::ALLOWED_ORIGINS.path => return allowed_origins.clone(),
            p if p == parts::PRIVATE_HOSTS.path => return private_hosts.clone(),
            p if p == parts::LISTEN.path => listen,
            p if p == parts::DATA_DIR.path => data_dir,
            p if p == parts::STORE_URL.path => store,
            p if p == parts::MIGRATE.path => migrate,
            p if p == parts::TOKEN.path => token,
            p if p == parts::TOKEN_FILE.path => token_file,
            p if p == parts::INSECURE.path => &insecure,
            p if p == parts::DRAIN_TIMEOUT.path => drain_timeout,
            p if p == parts::CONNECTIONS_MAX.path => connections_max,
            p if p == parts::READERS.path => readers,
            p if p == parts::RETENTION_EVERY.path => retention_every,
            p if p == parts::RETENTION_WINDOW.path => retention_window,
            p if p == parts::RETENTION_RATE.path => retention_rate,
            p if p == parts::CALL_DEADLINE.path => call_deadline,
            p if p == parts::MEMORY_LIMIT.path => memory_limit,
            p if p == parts::GUEST_THREADS.path => guest_threads,
            p if p == parts::SECRETS_DIR.path => secrets_dir,
            p if p == parts::LOG_FORMAT.path => log_format,
            p if p == parts::LOG_LEVEL.path => log_level,
            _ => return Vec::new(),
        };
        one.iter().cloned().collect()
    }
}
