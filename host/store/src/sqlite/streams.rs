//! The streams' rows: what the writer has to know of them, and what can be asked of them.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use futures_util::TryStreamExt;
use lru::LruCache;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Offset, Position};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::{StreamInfo, StreamState};
use wasmill_core::store::Unit;
use wasmill_core::store::plan::StreamHead;

use super::rows::{Rows, Statement};

/// Streams whose heads are kept between groups, at about 150 bytes each; those of others are fetched,
/// all of a group in one query.
const HEADS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// What the writer has to know of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) stream: StreamHead,
}

/// The heads of the streams used last. True without asking the database, since there is one writer.
#[derive(Debug)]
pub(super) struct Heads {
    cache: LruCache<StreamName, Head>,
    /// Id that the next new stream gets.
    next_id: i64,
}

impl Heads {
    pub(super) async fn load(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let next_id = sqlx::query_scalar("select coalesce(max(id), 0) + 1 from stream").fetch_one(connection).await?;
        Ok(Self { cache: LruCache::new(HEADS_MAX), next_id })
    }

    /// The heads of those streams that the units append to and that exist.
    pub(super) async fn of(
        &mut self,
        connection: &mut SqliteConnection,
        units: &[Unit],
    ) -> sqlx::Result<HashMap<StreamName, Head>> {
        self.of_names(connection, units.iter().flat_map(Unit::streams)).await
    }

    pub(super) async fn of_names<'a>(
        &mut self,
        connection: &mut SqliteConnection,
        names: impl Iterator<Item = &'a StreamName>,
    ) -> sqlx::Result<HashMap<StreamName, Head>> {
        let mut heads = HashMap::new();
        let mut missing = Rows::new();
        for stream in names {
            match self.cache.get(stream) {
                Some(head) => _ = heads.insert(stream.clone(), *head),
                None => missing.push_text(stream.as_str()),
            }
        }
        if !missing.is_empty() {
            const FIND: &str = "
                select distinct s.id, s.name, s.next_offset, s.state
                from (select ? as packed), jsonb_each(?)
                cross join stream s on s.name = cast(substr(packed, value ->> 0, value ->> 1) as text)";
            for row in missing.bind_to(sqlx::query(FIND)).fetch_all(connection).await? {
                let stream = StreamHead {
                    next_offset: Offset(row.try_get::<i64, _>(2)?.cast_unsigned()),
                    state: state(row.try_get(3)?)?,
                };
                let head = Head { id: row.try_get(0)?, stream };
                heads.insert(StreamName::from_stored(row.try_get(1)?), head);
            }
        }
        Ok(heads)
    }

    /// The rows of the streams that `chunks` go to, as they will be after them.
    pub(super) fn after<'a>(
        &self,
        heads: &HashMap<StreamName, Head>,
        chunks: impl Iterator<Item = &'a Chunk>,
    ) -> Vec<StreamRow> {
        let mut next_id = self.next_id;
        let mut rows: Vec<StreamRow> = Vec::new();
        let mut index: HashMap<&StreamName, usize> = HashMap::new();
        for chunk in chunks {
            let at = *index.entry(&chunk.stream).or_insert_with(|| {
                let id = heads.get(&chunk.stream).map_or(next_id, |head| head.id);
                next_id += i64::from(id == next_id);
                rows.push(StreamRow::new(id, chunk));
                rows.len() - 1
            });
            rows[at].add(chunk);
        }
        rows
    }

    /// Forgets what it knows of a stream that was changed otherwise than by an append.
    pub(super) fn forget(&mut self, stream: &StreamName) {
        self.cache.pop(stream);
    }

    /// Id that the next new stream gets.
    pub(super) fn next_id(&self) -> i64 {
        self.next_id
    }

    /// Takes note of what was committed.
    pub(super) fn keep(&mut self, rows: Vec<StreamRow>) {
        for row in rows {
            self.next_id = self.next_id.max(row.head.id + 1);
            self.cache.put(row.name, row.head);
        }
    }
}

/// A stream's row after a group, and what the group adds to it.
#[derive(Clone, Debug)]
pub(super) struct StreamRow {
    pub(super) name: StreamName,
    pub(super) head: Head,
    bytes_added: u64,
    first_recorded_at: Timestamp,
    last_recorded_at: Timestamp,
    last_position: Position,
}

impl StreamRow {
    fn new(id: i64, first: &Chunk) -> Self {
        Self {
            name: first.stream.clone(),
            head: Head { id, stream: StreamHead { next_offset: first.first_offset, state: StreamState::Live } },
            bytes_added: 0,
            first_recorded_at: first.recorded_at,
            last_recorded_at: first.recorded_at,
            last_position: first.first_position,
        }
    }

    fn add(&mut self, chunk: &Chunk) {
        self.head.stream.next_offset = Offset(chunk.first_offset.0 + u64::from(chunk.count));
        self.bytes_added += chunk.run.len() as u64;
        self.last_recorded_at = chunk.recorded_at;
        self.last_position = Position(chunk.first_position.0 + u64::from(chunk.count) - 1);
    }
}

/// Inserts new streams and moves known ones on; bind with [`bind_upsert`]. A macro, so that it can be
/// a part of a longer constant.
macro_rules! upsert_streams {
    () => {
        "
        insert into stream (id, name, state, first_offset, truncate_before, next_offset, bytes, created_at,
            first_recorded_at, last_recorded_at, last_position)
        select value ->> 0, cast(substr(packed, value ->> 1, value ->> 2) as text), 'live', 0, 0,
            value ->> 3, value ->> 4, value ->> 5, value ->> 5, value ->> 6, value ->> 7
        from (select ? as packed), jsonb_each(?) where true
        on conflict (id) do update set
            state = 'live',
            first_recorded_at = iif(first_offset < next_offset, first_recorded_at, excluded.first_recorded_at),
            next_offset = excluded.next_offset,
            bytes = bytes + excluded.bytes,
            last_recorded_at = excluded.last_recorded_at,
            last_position = excluded.last_position;"
    };
}
pub(super) use upsert_streams;

pub(super) fn bind_upsert(statement: Statement, streams: &[StreamRow]) -> Statement {
    let mut rows = Rows::with_capacity(streams.len(), streams.len() * 32);
    for stream in streams {
        let name = rows.put(stream.name.as_str().as_bytes());
        rows.push(&[
            stream.head.id,
            name.at,
            name.length,
            stream.head.stream.next_offset.0.cast_signed(),
            stream.bytes_added.cast_signed(),
            stream.first_recorded_at.0,
            stream.last_recorded_at.0,
            stream.last_position.0.cast_signed(),
        ]);
    }
    rows.bind_to(statement)
}

pub(super) async fn stream(connection: &mut SqliteConnection, name: &StreamName) -> sqlx::Result<Option<StreamInfo>> {
    const GET: &str = "
        select name, state, first_offset, truncate_before, next_offset, bytes, created_at, first_recorded_at,
            last_recorded_at, last_position
        from stream where name = ?";
    let row = sqlx::query(GET).bind(name.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(info).transpose()
}

/// Patterns are matched here and not by SQLite's `glob`, whose time is not linear in the text. A
/// pattern's literal beginning bounds the search.
pub(super) async fn streams(
    connection: &mut SqliteConnection,
    pattern: Option<&Pattern>,
    after: Option<&str>,
    limit: usize,
) -> sqlx::Result<Vec<StreamInfo>> {
    const LIST: &str = "
        select name, state, first_offset, truncate_before, next_offset, bytes, created_at, first_recorded_at,
            last_recorded_at, last_position
        from stream where name >= ? order by name";
    let prefix = pattern.map(Pattern::prefix).unwrap_or_default();
    let mut rows = sqlx::query(LIST).bind(prefix.max(after.unwrap_or_default())).fetch(connection);
    let mut streams = Vec::new();
    while streams.len() < limit {
        let Some(row) = rows.try_next().await? else { break };
        let name: &str = row.try_get(0)?;
        if !name.starts_with(prefix) {
            break;
        }
        if after != Some(name) && pattern.is_none_or(|pattern| pattern.matches(name)) {
            streams.push(info(&row)?);
        }
    }
    Ok(streams)
}

fn info(row: &SqliteRow) -> sqlx::Result<StreamInfo> {
    let number = |column: usize| row.try_get::<i64, _>(column);
    Ok(StreamInfo {
        name: StreamName::from_stored(row.try_get(0)?),
        state: state(row.try_get(1)?)?,
        first_offset: Offset(number(2)?.cast_unsigned()),
        truncate_before: Offset(number(3)?.cast_unsigned()),
        next_offset: Offset(number(4)?.cast_unsigned()),
        bytes: number(5)?.cast_unsigned(),
        created_at: Timestamp(number(6)?),
        first_recorded_at: Timestamp(number(7)?),
        last_recorded_at: Timestamp(number(8)?),
        last_position: Position(number(9)?.cast_unsigned()),
    })
}

fn state(text: &str) -> sqlx::Result<StreamState> {
    StreamState::from_stored(text).ok_or_else(|| sqlx::Error::Decode(format!("stream state `{text}`").into()))
}
