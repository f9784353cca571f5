//! Opening: which server it is, which version the database has, and whether what it says of itself holds
//! together.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use sqlx::ConnectOptions;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use uuid::Uuid;
use wasmill_core::clock::{Clock, SystemClock};
use wasmill_core::event::Position;
use wasmill_core::record::GenerationId;
use wasmill_core::store::Source;

use super::commit::{UNKNOWN_HEAD, Writer};
use super::connect::Waits;
use super::error::code;
use super::{log, migrations, plugins};
use crate::heads::Heads;
use crate::location::SchemaVersion;

/// How a PostgreSQL database is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=...`
    pub url: String,
    /// Connections for reads, 1 or more. Two more are used: one writes, one listens.
    pub readers: u32,
    /// Whether the database is brought to this binary's version when it is older.
    pub migrate: bool,
    /// How long the server may take to answer a commit before its connection is taken for lost: 30 s. It
    /// covers the wait for another host's commit, but should not be needed otherwise than when a machine
    /// or a network goes away without a word.
    pub answer_wait: Duration,
    /// How long a lost connection is tried to be made anew before those who wait for a commit are told:
    /// 5 s. Until then they notice nothing but the wait.
    pub reconnect_wait: Duration,
}

impl PostgresOptions {
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            readers: 4,
            migrate: true,
            answer_wait: Duration::from_secs(15),
            reconnect_wait: Duration::from_secs(5),
        }
    }
}

/// Why a database was not opened. Nothing was written to it, but for migrations that were applied.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the URL of the database is not one of PostgreSQL: postgres://user:password@host:port/database")]
    Url(#[source] Source),
    #[error("the database {place} cannot be reached")]
    Inaccessible {
        place: String,
        #[source]
        source: Source,
    },
    #[error("the server of {place} is PostgreSQL {version}; 15 or newer is needed")]
    TooOld { place: String, version: String },
    #[error(
        "the database {place} was written by a newer Wasmill: it has version {found}, this binary knows up to {known}"
    )]
    Newer { place: String, found: i64, known: i64 },
    #[error("version {version} of the database {place} is not the one that this binary knows")]
    Altered { place: String, version: i64 },
    #[error(
        "the database {place} has version {found}, and this binary needs {}: run `wasmill migrate`",
        migrations::NEWEST
    )]
    Outdated { place: String, found: i64 },
    #[error("the database {place} cannot be brought to version {}", migrations::NEWEST)]
    NotMigrated {
        place: String,
        #[source]
        source: Source,
    },
    #[error("the database {place} is damaged: {what}")]
    Damaged { place: String, what: String },
    #[error(
        "the log in {place} ends at position {head}, but generation {generation} of plugin `{plugin}` has read up to \
         {checkpoint}: the log was restored from a backup that is older than its read models"
    )]
    Behind { place: String, head: Position, plugin: String, generation: GenerationId, checkpoint: Position },
}

/// How long a read waits for a connection before it is told that the store is unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Event types that the writer remembers to have stored.
const TYPES_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
const VERSION_MIN: i32 = 150_000;

/// Without what must not be shown.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{}:{}/{database}", options.get_host(), options.get_port())
}

pub(super) fn parse(url: &str) -> Result<PgConnectOptions, OpenError> {
    // sqlx takes any scheme.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(OpenError::Url("its scheme is another".into()));
    }
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| OpenError::Url(error.into()))?;
    // Notices tell nobody anything; a writer that stalls inside of a transaction holds up the others.
    // The order of commits rests on seeing, behind a lock, what was committed while it was waited for.
    let settings = [
        ("client_min_messages", "warning"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("default_transaction_isolation", "read committed"),
    ];
    Ok(options.options(settings).disable_statement_logging())
}

pub(super) async fn open(options: &PostgresOptions) -> Result<(Writer, PgPool, String), OpenError> {
    let connect = parse(&options.url)?;
    let place = place(&connect);
    let host = Uuid::new_v4();
    let mut writer = Writer {
        options: connect.clone().application_name(&format!("wasmill writer {host}")),
        waits: Waits { answer: options.answer_wait, reconnect: options.reconnect_wait },
        connection: None,
        begun: false,
        host,
        epoch: 0,
        commit: 0,
        head: UNKNOWN_HEAD,
        heads: Heads::new(1),
        types: LruCache::new(TYPES_MAX),
        stale: true,
        busy: false,
        closed: false,
    };
    let inaccessible = |source: sqlx::Error| OpenError::Inaccessible { place: place.clone(), source: source.into() };
    let mut connection = connect.connect().await.map_err(inaccessible)?;
    check_version(&place, &mut connection).await?;
    if options.migrate {
        migrate(&place, &mut connection).await?;
    } else {
        check(&place, &mut connection).await?;
    }
    writer.connect().await.map_err(inaccessible)?;
    check_head(&place, &mut connection).await?;
    let readers = PgPoolOptions::new()
        .max_connections(options.readers.max(1) + 1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(connect.application_name(&format!("wasmill reader {host}")));
    Ok((writer, readers, place))
}

async fn check_version(place: &str, connection: &mut PgConnection) -> Result<(), OpenError> {
    const VERSION: &str = "select current_setting('server_version_num')::integer, current_setting('server_version'),
        current_setting('fsync') = 'on'";
    let version = sqlx::query_as(VERSION).fetch_one(connection).await;
    let inaccessible = |source: sqlx::Error| OpenError::Inaccessible { place: place.into(), source: source.into() };
    let (number, version, syncs): (i32, String, bool) = version.map_err(inaccessible)?;
    if !syncs {
        tracing::warn!(database = place, "the server runs with fsync = off: a crash of its machine loses events");
    }
    if number < VERSION_MIN { Err(OpenError::TooOld { place: place.into(), version }) } else { Ok(()) }
}

/// Brings the database to the newest version. Of several hosts one does it, the others wait.
async fn migrate(place: &str, connection: &mut PgConnection) -> Result<(), OpenError> {
    let place = || place.to_owned();
    migrations::migrate(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > migrations::NEWEST => {
            OpenError::Newer { place: place(), found, known: migrations::NEWEST }
        }
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            OpenError::Altered { place: place(), version }
        }
        error => OpenError::NotMigrated { place: place(), source: error.into() },
    })
}

/// Refuses a database that is not of this binary's version.
async fn check(place: &str, connection: &mut PgConnection) -> Result<(), OpenError> {
    let found = version(connection).await;
    let found = found.map_err(|source| OpenError::Inaccessible { place: place.into(), source: source.into() })?;
    match found.unwrap_or(0) {
        found if found > migrations::NEWEST => {
            Err(OpenError::Newer { place: place.into(), found, known: migrations::NEWEST })
        }
        found if found < migrations::NEWEST => Err(OpenError::Outdated { place: place.into(), found }),
        _ => Ok(()),
    }
}

pub(super) async fn schema_version(url: &str) -> Result<SchemaVersion, OpenError> {
    let options = parse(url)?;
    let place = place(&options);
    let inaccessible = |source: sqlx::Error| OpenError::Inaccessible { place: place.clone(), source: source.into() };
    let mut connection = options.connect().await.map_err(inaccessible)?;
    check_version(&place, &mut connection).await?;
    let found = version(&mut connection).await.map_err(inaccessible)?;
    Ok(SchemaVersion { found, newest: migrations::NEWEST })
}

/// The newest version that was applied.
async fn version(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    match sqlx::query_scalar("select max(version) from _sqlx_migrations where success").fetch_one(connection).await {
        // undefined_table: never migrated
        Err(error) if code(&error).as_deref() == Some("42P01") => Ok(None),
        version => version,
    }
}

/// Makes the head if there is none, and checks that the newest rows agree with it.
async fn check_head(place: &str, connection: &mut PgConnection) -> Result<(), OpenError> {
    const START: &str = "
        insert into log_head (id, log_id, restore_epoch, next_position, next_stream_id, revision, version, recorded_at,
            created_at)
        values (1, $1, 0, 0, 1, 0, 0, 0, $2) on conflict (id) do nothing";
    const END: &str = "select first_position + event_count from chunk order by first_position desc limit 1";
    let failed = |source: sqlx::Error| OpenError::Inaccessible { place: place.into(), source: source.into() };
    let start = sqlx::query(START).bind(Uuid::new_v4()).bind(SystemClock.now().0);
    start.execute(&mut *connection).await.map_err(failed)?;
    // In this order: another host may append in between, and its end is then behind this head.
    let end: Option<i64> = sqlx::query_scalar(END).fetch_optional(&mut *connection).await.map_err(failed)?;
    let generations = plugins::generations(connection).await.map_err(failed)?;
    let (_, head) = log::head(connection).await.map_err(failed)?;
    if let Some(end) = end.filter(|end| end.cast_unsigned() > head.next_position.0) {
        let what = format!("its chunks end at position {end}, its head says {}", head.next_position);
        return Err(OpenError::Damaged { place: place.into(), what });
    }
    match generations.iter().find(|generation| generation.checkpoint > head.next_position) {
        None => Ok(()),
        Some(ahead) => Err(OpenError::Behind {
            place: place.into(),
            head: head.next_position,
            plugin: ahead.plugin.clone(),
            generation: ahead.id,
            checkpoint: ahead.checkpoint,
        }),
    }
}
