//! Opening: what the file is, which version it has, and whether what it says of itself holds together.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use sqlx::ConnectOptions;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use tokio::sync::Notify;
use uuid::Uuid;
use wasmill_core::clock::{Clock, SystemClock};
use wasmill_core::event::Position;
use wasmill_core::log_id;
use wasmill_core::record::GenerationId;
use wasmill_core::store::Source;

use super::checkpointer;
use super::commit::Writer;
use super::error::{is_busy, is_damage, is_full};
use super::log;
use super::{migrations, plugins, streams};
use crate::heads::Heads;
use crate::location::SchemaVersion;

/// How an embedded database is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file, made when it is missing; its directory has to be there. Two more files are
    /// kept beside it while it is open, of the same name with `-wal` and `-shm`.
    pub path: PathBuf,
    /// Connections for reads, 1 or more; each is a thread with a page cache of 4 MiB, made when it is
    /// first wanted. One read uses one of them.
    pub readers: u32,
    /// Page cache of the writer.
    pub cache_bytes: usize,
    /// How long a lock of another process, such as a backup, is waited for.
    pub lock_wait: Duration,
    /// Whether a missing database is made, and an older one brought to this binary's version.
    pub migrate: bool,
}

impl SqliteOptions {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 4, cache_bytes: 16 << 20, lock_wait: Duration::from_secs(5), migrate: true }
    }
}

/// Why a database was not opened. Nothing was written to it, but for migrations that were applied.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database {} cannot be opened", path.display())]
    Inaccessible {
        path: PathBuf,
        #[source]
        source: Source,
    },
    #[error("the database {} is locked by another process", path.display())]
    Locked {
        path: PathBuf,
        #[source]
        source: Source,
    },
    #[error("{} is not a database of Wasmill", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "the database {} was written by a newer Wasmill: it has version {found}, this binary knows up to {known}",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("version {version} of the database {} is not the one that this binary knows", path.display())]
    Altered { path: PathBuf, version: i64 },
    #[error(
        "the database {} has version {found}, and this binary needs {}: run `wasmill migrate`",
        path.display(), migrations::NEWEST
    )]
    Outdated { path: PathBuf, found: i64 },
    #[error("the database {} cannot be brought to version {}", path.display(), migrations::NEWEST)]
    NotMigrated {
        path: PathBuf,
        #[source]
        source: Source,
    },
    #[error("the database {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error(
        "the log in {} ends at position {head}, but generation {generation} of plugin `{plugin}` has read up to \
         {checkpoint}: the log was restored from a backup that is older than its read models",
        path.display()
    )]
    Behind { path: PathBuf, head: Position, plugin: String, generation: GenerationId, checkpoint: Position },
}

/// "WSML", set by the first migration.
const APPLICATION_ID: i64 = 0x5753_4d4c;
/// How long a read waits for a connection before it is told that the store is unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READER_CACHE_BYTES: usize = 4 << 20;
/// What a write-ahead log that has grown beyond is cut to when it is started over.
const LOG_BYTES_KEPT: u64 = 128 << 20;

/// Event types that the writer remembers to have stored.
const TYPES_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

pub(super) async fn open(options: &SqliteOptions) -> Result<(Writer, SqlitePool), OpenError> {
    let path = &options.path;
    check_header(path)?;
    if !options.migrate {
        let SchemaVersion { found, newest } = schema_version(path).await?;
        match found.unwrap_or(0) {
            found if found < newest => return Err(OpenError::Outdated { path: path.into(), found }),
            _ => {}
        }
    }
    let mut connection = connect_options(path, options.cache_bytes, options.lock_wait, "writer")
        .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
        .create_if_missing(true)
        .connect()
        .await
        .map_err(|error| refused(path, error))?;
    migrate(path, &mut connection).await?;
    settle(path, &mut connection).await?;
    let writer = load(path, connection).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(connect_options(path, READER_CACHE_BYTES, options.lock_wait, "reader").read_only(true));
    Ok((writer, readers))
}

/// Which version the file has; a file that is not there is not made.
pub(crate) async fn schema_version(path: &Path) -> Result<SchemaVersion, OpenError> {
    const VERSION: &str = "select max(version) from _sqlx_migrations where success";
    const MIGRATED: &str = "select count(*) from sqlite_schema where name = '_sqlx_migrations'";
    let newest = migrations::NEWEST;
    check_header(path)?;
    if !path.exists() {
        return Ok(SchemaVersion { found: None, newest });
    }
    let refused = |error| refused(path, error);
    let options = connect_options(path, READER_CACHE_BYTES, Duration::from_secs(5), "version");
    let mut connection = options.connect().await.map_err(refused)?;
    let migrated: i64 = sqlx::query_scalar(MIGRATED).fetch_one(&mut connection).await.map_err(refused)?;
    let found = match migrated {
        0 => None,
        _ => sqlx::query_scalar(VERSION).fetch_one(&mut connection).await.map_err(refused)?,
    };
    match found {
        Some(found) if found > newest => Err(OpenError::Newer { path: path.into(), found, known: newest }),
        found => Ok(SchemaVersion { found, newest }),
    }
}

/// Checkpoints of the write-ahead log are not made by the connection that commits, which would stall
/// appends: see the checkpointer.
pub(super) fn connect_options(
    path: &Path,
    cache_bytes: usize,
    lock_wait: Duration,
    role: &'static str,
) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(lock_wait)
        // A commit returns when it is on the disk, on macOS too, where a plain fsync is not enough.
        .pragma("synchronous", "full")
        .pragma("fullfsync", "on")
        .pragma("wal_autocheckpoint", "0")
        .pragma("temp_store", "memory")
        .pragma("cache_size", format!("-{}", cache_bytes / 1024))
        .thread_name(move |n| format!("sqlite-{role}-{n}"))
        .disable_statement_logging()
}

/// Refuses what is certainly something else, before SQLite has touched it.
fn check_header(path: &Path) -> Result<(), OpenError> {
    let inaccessible = |source: std::io::Error| OpenError::Inaccessible { path: path.into(), source: source.into() };
    let mut header = [0; 100];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Empty, or cut off within the header: made, but never written, by a host that was killed.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && is_empty(path) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(OpenError::Foreign { path: path.into() }),
        Err(error) => Err(inaccessible(error)),
        Ok(()) => {
            let id = i64::from(u32::from_be_bytes([header[68], header[69], header[70], header[71]]));
            // Not yet ours is a zero: the first migration may still be in the write-ahead log.
            let ours = header.starts_with(b"SQLite format 3\0") && (id == APPLICATION_ID || id == 0);
            if ours { Ok(()) } else { Err(OpenError::Foreign { path: path.into() }) }
        }
    }
}

fn is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    // The first migration sets the id together with its tables; the migrator's table may be older.
    const WHOSE: &str = "
        select application_id,
            (select count(*) from sqlite_schema where type = 'table' and name <> '_sqlx_migrations')
        from pragma_application_id";
    let refused = |error| refused(path, error);
    let (id, tables): (i64, i64) = sqlx::query_as(WHOSE).fetch_one(&mut *connection).await.map_err(refused)?;
    if id != APPLICATION_ID && tables > 0 {
        return Err(OpenError::Foreign { path: path.into() });
    }
    // Only now is it certain whose file this is.
    let mode = sqlx::query_scalar("pragma journal_mode = wal").fetch_one(&mut *connection);
    let mode: String = mode.await.map_err(refused)?;
    if mode != "wal" {
        let source = format!("SQLite cannot keep a write-ahead log beside it, only a journal of mode `{mode}`");
        return Err(OpenError::Inaccessible { path: path.into(), source: source.into() });
    }
    migrations::migrate(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > migrations::NEWEST => {
            OpenError::Newer { path: path.into(), found, known: migrations::NEWEST }
        }
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            OpenError::Altered { path: path.into(), version }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if is_busy(&error) || is_damage(&error) =>
        {
            refused(error)
        }
        error => OpenError::NotMigrated { path: path.into(), source: error.into() },
    })
}

/// Puts on the disk what an earlier host has left in the write-ahead log. If it was killed in mid-commit,
/// that is in the kernel's memory alone; if its disk failed, not even on its way to the disk any more. From
/// now on it is read, and publishers are told that it is known: so the log is synced, and copied into the
/// database, which is synced too.
async fn settle(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let inaccessible = |source: Source| OpenError::Inaccessible { path: path.into(), source };
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match File::open(Path::new(&log)).and_then(|log| log.sync_data()) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(inaccessible(error.into())),
        _ => {}
    }
    match checkpointer::copy(connection).await {
        Err(error) if is_full(&error) => {
            let file = path.display().to_string();
            tracing::warn!(
                event_id = log_id::STORE_CHECKPOINT_FAILED,
                file,
                "the disk is full: the write-ahead log is not copied into the database yet"
            );
            Ok(())
        }
        copied => copied.map_err(|error| refused(path, error)),
    }
}

/// Reads what the writer has to know, and checks that the parts agree. It looks at the newest rows
/// only: the time to open does not grow with the log. What it does not see is found when it is read.
async fn load(path: &Path, mut connection: SqliteConnection) -> Result<Writer, OpenError> {
    const START: &str = "
        insert into log_head (id, log_id, restore_epoch, next_position, revision, recorded_at, created_at)
        values (1, ?, 0, 0, 0, 0, ?) on conflict (id) do nothing";
    const END: &str = "select first_position + event_count from chunk order by first_position desc limit 1";
    let refused = |error| refused(path, error);
    let damaged = |what: String| OpenError::Damaged { path: path.into(), what };
    let start = sqlx::query(START).bind(&Uuid::new_v4().as_bytes()[..]).bind(SystemClock.now().0);
    start.execute(&mut connection).await.map_err(refused)?;
    let (_, head) = log::head(&mut connection).await.map_err(refused)?;
    let end: Option<i64> = sqlx::query_scalar(END).fetch_optional(&mut connection).await.map_err(refused)?;
    // Removal may take the newest events, but no chunk can stand behind the head.
    if end.is_some_and(|end| end.cast_unsigned() > head.next_position.0) {
        return Err(damaged(format!(
            "its chunks end at position {}, its head says {}",
            end.unwrap_or(0),
            head.next_position
        )));
    }
    let generations = plugins::generations(&mut connection).await.map_err(refused)?;
    if let Some(ahead) = generations.iter().find(|generation| generation.checkpoint > head.next_position) {
        return Err(OpenError::Behind {
            path: path.into(),
            head: head.next_position,
            plugin: ahead.plugin.clone(),
            generation: ahead.id,
            checkpoint: ahead.checkpoint,
        });
    }
    Ok(Writer {
        heads: Heads::new(streams::next_id(&mut connection).await.map_err(refused)?),
        connection: Some(connection),
        file: Arc::from(path),
        head,
        checkpoints: generations.iter().map(|generation| (generation.id, generation.checkpoint)).collect(),
        types: LruCache::new(TYPES_MAX),
        in_doubt: false,
        committed: Arc::new(Notify::new()),
    })
}

fn refused(path: &Path, error: sqlx::Error) -> OpenError {
    let path = path.to_path_buf();
    match error {
        error if is_busy(&error) => OpenError::Locked { path, source: error.into() },
        error if is_damage(&error) => OpenError::Damaged { path, what: error.to_string() },
        error => OpenError::Inaccessible { path, source: error.into() },
    }
}
