//! The parts of the configuration, each with its keys and defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use wasmill_core::saga;
use wasmill_core::stream::retention::RetentionOptions;
use wasmill_store::Location;

use super::settings::{Key, Settings};
use super::value::{Token, Value};

macro_rules! keys {
    ($($name:ident = $path:literal, $flag:literal, $env:literal;)*) => {
        $(pub(super) const $name: Key = Key { path: $path, flag: $flag, env: $env };)*
        /// Every key, so that an unknown one is told from a known one.
        pub(super) const KEYS: &[&Key] = &[$(&$name),*];
    };
}

keys! {
    LISTEN = "server.listen", "--listen", "WASMILL_LISTEN";
    DRAIN_TIMEOUT = "server.drain_timeout", "--drain-timeout", "WASMILL_DRAIN_TIMEOUT";
    CONNECTIONS_MAX = "server.connections_max", "--connections-max", "WASMILL_CONNECTIONS_MAX";
    TOKEN = "access.token", "--token", "WASMILL_TOKEN";
    TOKEN_FILE = "access.token_file", "--token-file", "WASMILL_TOKEN_FILE";
    INSECURE = "access.insecure", "--insecure", "WASMILL_INSECURE";
    ALLOWED_HOSTS = "access.allowed_hosts", "--allowed-host", "WASMILL_ALLOWED_HOSTS";
    ALLOWED_ORIGINS = "access.allowed_origins", "--allowed-origin", "WASMILL_ALLOWED_ORIGINS";
    DATA_DIR = "store.data_dir", "--data-dir", "WASMILL_DATA_DIR";
    STORE_URL = "store.url", "--store", "WASMILL_STORE";
    MIGRATE = "store.migrate", "--migrate", "WASMILL_MIGRATE";
    READERS = "store.readers", "--readers", "WASMILL_READERS";
    RETENTION_EVERY = "retention.every", "--retention-every", "WASMILL_RETENTION_EVERY";
    RETENTION_WINDOW = "retention.window", "--retention-window", "WASMILL_RETENTION_WINDOW";
    RETENTION_RATE = "retention.units_per_second", "--retention-rate", "WASMILL_RETENTION_RATE";
    CALL_DEADLINE = "wasm.call_deadline", "--call-deadline", "WASMILL_CALL_DEADLINE";
    MEMORY_LIMIT = "wasm.memory_limit", "--memory-limit", "WASMILL_MEMORY_LIMIT";
    GUEST_THREADS = "wasm.threads", "--guest-threads", "WASMILL_GUEST_THREADS";
    PRIVATE_HOSTS = "network.private_hosts", "--private-host", "WASMILL_PRIVATE_HOSTS";
    SECRETS_DIR = "network.secrets_dir", "--secrets-dir", "WASMILL_SECRETS_DIR";
    LOG_FORMAT = "log.format", "--log-format", "WASMILL_LOG_FORMAT";
    LOG_LEVEL = "log.level", "--log-level", "WASMILL_LOG_LEVEL";
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The one port, for gRPC and HTTP. Default: 127.0.0.1:7400.
    pub listen: SocketAddr,
    /// How long open streams and requests may take to end when the host is told to stop. Default: 10 s.
    pub drain_timeout: Duration,
    /// Connections at one time; more wait in the kernel's queue. Default: 10,000.
    pub connections_max: usize,
}

impl ServerConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            listen: settings.value(&LISTEN, SocketAddr::from((Ipv4Addr::LOCALHOST, 7400))),
            drain_timeout: settings.value(&DRAIN_TIMEOUT, Duration::from_secs(10)),
            connections_max: settings.within(&CONNECTIONS_MAX, 10_000, 1..=1_000_000),
        }
    }
}

/// `[access]`
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// What callers have to bear. Default: none, and then only loopback is listened on.
    pub token: Option<Token>,
    /// Listen beyond loopback without a token. Default: false.
    pub insecure: bool,
    /// Names, beside loopback and the listening address, that a Host header may carry; `*` for any.
    /// Any web page can make a browser call a name that it controls; a wrong name gives it away.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages, such as `https://app.example`, that may call from a browser, and get
    /// CORS headers. Default: none but the host's own pages.
    pub allowed_origins: Vec<String>,
}

impl AccessConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let allowed_origins: Vec<String> = settings.value(&ALLOWED_ORIGINS, Vec::new());
        if let Some(wrong) = allowed_origins.iter().find(|origin| !is_origin(origin)) {
            settings.refuse(
                &ALLOWED_ORIGINS,
                format!("`{wrong}` is not an origin"),
                "scheme and host, https://app.example",
            );
        }
        Self {
            token: read_token(settings),
            insecure: settings.value(&INSECURE, false),
            allowed_hosts: settings.value(&ALLOWED_HOSTS, Vec::new()),
            allowed_origins,
        }
    }
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '*']))
}

fn read_token(settings: &mut Settings) -> Option<Token> {
    let token: Option<Token> = settings.optional(&TOKEN);
    let Some(file) = settings.optional::<PathBuf>(&TOKEN_FILE) else { return token };
    if token.is_some() {
        settings.refuse(&TOKEN_FILE, "a token is given as well", "one of the two");
    }
    let read = std::fs::read_to_string(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
    match read.and_then(|text| Token::from_text(&text)) {
        Ok(token) => Some(token),
        Err(problem) => {
            settings.refuse(&TOKEN_FILE, problem, format!("a file that holds {}", Token::EXPECTED));
            None
        }
    }
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// What the host keeps beside the store: compiled plugins, and the lock that lets one host in; and the
    /// embedded database, if no other is named. Default: `./wasmill-data`.
    pub data_dir: PathBuf,
    /// Default: an SQLite database in `data_dir`.
    pub url: Option<Location>,
    /// Whether the database is made, and brought to this version, at start. Default: true; else
    /// `wasmill migrate` does it.
    pub migrate: bool,
    /// Connections that read the database beside the one that writes. Default: 4.
    pub readers: usize,
}

impl StoreConfig {
    /// Where the store is.
    pub fn location(&self) -> Location {
        self.url.clone().unwrap_or_else(|| Location::Sqlite(self.data_dir.join("wasmill.db")))
    }

    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            data_dir: settings.value(&DATA_DIR, PathBuf::from("./wasmill-data")),
            url: settings.optional(&STORE_URL),
            migrate: settings.value(&MIGRATE, true),
            readers: settings.within(&READERS, 4, 1..=64),
        }
    }
}

/// `[retention]`: when events that a stream's configuration lets go are removed.
#[derive(Clone, Copy, Debug)]
pub struct RetentionConfig(pub RetentionOptions);

impl RetentionConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let default = RetentionOptions::default();
        let every = settings.value(&RETENTION_EVERY, default.every);
        if !(Duration::from_secs(1)..=Duration::from_hours(24)).contains(&every) {
            settings.refuse(&RETENTION_EVERY, format!("{every:?} is out of range"), "1s to 24h");
        }
        Self(RetentionOptions {
            every,
            window: settings.optional(&RETENTION_WINDOW),
            units_per_second_max: settings.within(&RETENTION_RATE, default.units_per_second_max, 1..=10_000),
        })
    }
}

/// `[wasm]`: limits of plugins.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Time of the guest's own in one call. Default: 1 s.
    pub call_deadline: Duration,
    /// All memories of one instance together. Default: 64 MiB.
    pub memory_limit: ByteSize,
    /// Threads that run guests, apart from those that serve requests. Default: one for each core, at most 2.
    pub threads: usize,
}

impl WasmConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let call_deadline = settings.value(&CALL_DEADLINE, Duration::from_secs(1));
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&call_deadline) {
            settings.refuse(&CALL_DEADLINE, format!("{call_deadline:?} is out of range"), "10ms to 60s");
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            call_deadline,
            memory_limit: settings.within(&MEMORY_LIMIT, ByteSize::mib(64), ByteSize::mib(1)..=ByteSize::gib(4)),
            threads: settings.within(&GUEST_THREADS, cores.min(2), 1..=256),
        }
    }
}

/// `[network]`: what sagas may reach, beside what each was granted.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Hosts that may be on a private network or on this machine: names, `*.NAME`, addresses, or `*`. Default:
    /// none, since whoever is there trusts its neighbours.
    pub private_hosts: Vec<String>,
    /// Where secrets are, one file each. Default: the environment alone.
    pub secrets_dir: Option<PathBuf>,
}

impl NetworkConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let private_hosts: Vec<String> = settings.value(&PRIVATE_HOSTS, Vec::new());
        if let Some(wrong) = private_hosts.iter().find(|host| !saga::http::is_host(host)) {
            settings.refuse(
                &PRIVATE_HOSTS,
                format!("`{wrong}` is not a host"),
                "names, `*.NAME`, addresses, or `*`, without scheme and port",
            );
        }
        Self { private_hosts, secrets_dir: settings.optional(&SECRETS_DIR) }
    }
}

/// `[log]`: the host's own log, on the standard error.
#[derive(Clone, Debug)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A level, or directives such as `info,wasmill_core=debug`. Default: `info`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    Json,
    Text,
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "auto, json or text";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err(format!("`{text}` is not a format")),
        }
    }
}

impl LogConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let level = settings.value(&LOG_LEVEL, String::from("info"));
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level) {
            settings.refuse(
                &LOG_LEVEL,
                format!("`{level}`: {error}"),
                "error, warn, info, debug, trace, or TARGET=LEVEL,..",
            );
        }
        Self { format: settings.value(&LOG_FORMAT, LogFormat::Auto), level }
    }
}
