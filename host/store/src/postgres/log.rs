//! The log: chunks, the ids of their events, and the head.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Event, Position};
use wasmill_core::record::RemovedEvent;
use wasmill_core::store::{Head, StoreError};

use super::changes::Statement;
use super::error::Failure;
use super::pages::{self, chunks};
use super::removal;
use crate::chunk::{Numbers, StoredChunk, checksum};
use crate::heads::StreamRow;
use crate::term::of_chunk;

/// The newest place of the log, as a writer knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogHead {
    pub(super) next_position: Position,
    pub(super) next_stream_id: i64,
    pub(super) version: i64,
    pub(super) recorded_at: Timestamp,
}

impl LogHead {
    /// A log never gets shorter: readers have passed the places that it would give again.
    pub(super) fn check_follows(self, known: LogHead) -> Result<(), StoreError> {
        if self.next_position >= known.next_position {
            return Ok(());
        }
        let (end, before) = (self.next_position, known.next_position);
        let what = format!(
            "the database: its log ends at position {end}, but ended at {before} before: it was restored from a \
             backup, or a standby took over that lacked the newest commits"
        );
        Err(StoreError::Damaged { what })
    }
}

/// A host and the group that it commits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    pub(super) host: Uuid,
    pub(super) epoch: i64,
    pub(super) commit: i64,
}

/// A group of appends as one statement, which is a transaction by itself where none has begun: moves the
/// head from `before`, or fails if it is not there any more, and wakes the other hosts.
pub(super) fn append(fence: Fence, before: LogHead, after: LogHead, rows: Rows) -> Statement {
    const APPEND: &str = "
        select wasmill_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20, $21, $22, $23, $24, $25, $26)";
    let statement = sqlx::query(APPEND).bind(fence.host).bind(fence.epoch).bind(fence.commit).bind(before.version);
    let statement = statement.bind(after.next_position.0.cast_signed()).bind(after.next_stream_id);
    rows.bind_to(statement.bind(after.recorded_at.0))
}

/// What a group appends, column by column.
#[derive(Default)]
pub(super) struct Rows {
    ids: Vec<Uuid>,
    first_position: i64,
    positions: Vec<i64>,
    event_counts: Vec<i32>,
    stream_ids: Vec<i64>,
    first_offsets: Vec<i64>,
    recorded_ats: Vec<i64>,
    crcs: Vec<i64>,
    runs: Vec<Bytes>,
    terms: Vec<i64>,
    term_positions: Vec<i64>,
    streams: Vec<StreamRow>,
    types: Vec<String>,
}

impl Rows {
    /// `chunks` are in position order and without gaps; `streams` holds a row for each of their streams.
    pub(super) fn of(chunks: &[&Chunk], streams: Vec<StreamRow>, types: Vec<String>) -> Self {
        let stream_ids: HashMap<_, _> = streams.iter().map(|row| (row.name.clone(), row.head.id)).collect();
        let first_position = chunks.first().map_or(0, |chunk| chunk.first_position.0.cast_signed());
        let mut rows = Self { first_position, streams, types, ..Self::default() };
        let mut terms = Vec::with_capacity(chunks.len() * 4);
        for chunk in chunks {
            let stream_id = stream_ids[&chunk.stream];
            let numbers = Numbers {
                first_position: chunk.first_position.0,
                event_count: u64::from(chunk.count),
                stream_id,
                first_offset: chunk.first_offset.0,
                recorded_at: chunk.recorded_at.0,
            };
            rows.ids.extend(chunk.events.iter().map(Event::id));
            rows.positions.push(numbers.first_position.cast_signed());
            rows.event_counts.push(chunk.count.cast_signed());
            rows.stream_ids.push(stream_id);
            rows.first_offsets.push(numbers.first_offset.cast_signed());
            rows.recorded_ats.push(numbers.recorded_at);
            rows.crcs.push(i64::from(checksum(&numbers, &chunk.run)));
            rows.runs.push(chunk.run.clone());
            let position = numbers.first_position.cast_signed();
            terms.extend(of_chunk(&chunk.events).into_iter().map(|term| (term, position)));
        }
        // In the order of the index, whose pages are then touched once.
        terms.sort_unstable();
        (rows.terms, rows.term_positions) = terms.into_iter().unzip();
        rows
    }

    /// Only the rows, for a transaction that holds the head.
    pub(super) fn write(self) -> Statement {
        const WRITE: &str = "
            select wasmill_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
        self.bind_to(sqlx::query(WRITE))
    }

    fn bind_to(self, statement: Statement) -> Statement {
        let statement = statement.bind(self.ids).bind(self.first_position).bind(self.positions);
        let statement = statement.bind(self.event_counts).bind(self.stream_ids).bind(self.first_offsets);
        let statement = statement.bind(self.recorded_ats).bind(self.crcs);
        let runs: Vec<Vec<u8>> = self.runs.iter().map(|run| run.to_vec()).collect();
        let statement = statement.bind(runs).bind(self.terms).bind(self.term_positions);
        let (mut ids, mut names, mut next_offsets, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut last, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for stream in self.streams {
            ids.push(stream.head.id);
            names.push(stream.name.to_string());
            next_offsets.push(stream.head.stream.next_offset.0.cast_signed());
            bytes.push(stream.bytes_added.cast_signed());
            first.push(stream.first_recorded_at.0);
            last.push(stream.last_recorded_at.0);
            positions.push(stream.last_position.0.cast_signed());
        }
        let statement = statement.bind(ids).bind(names).bind(next_offsets).bind(bytes);
        statement.bind(first).bind(last).bind(positions).bind(self.types)
    }
}

pub(super) async fn head(connection: &mut PgConnection) -> sqlx::Result<(Head, LogHead)> {
    const HEAD: &str = "select next_position, log_id, revision, next_stream_id, version, recorded_at from log_head";
    let row = sqlx::query(HEAD).fetch_one(connection).await?;
    let next_position = Position(row.try_get::<i64, _>(0)?.cast_unsigned());
    let head = Head { next_position, log_id: row.try_get(1)?, revision: row.try_get::<i64, _>(2)?.cast_unsigned() };
    let log_head = LogHead {
        next_position,
        next_stream_id: row.try_get(3)?,
        version: row.try_get(4)?,
        recorded_at: Timestamp(row.try_get(5)?),
    };
    Ok((head, log_head))
}

/// Begins a transaction that nobody else can append beside, and says where the log is.
pub(super) async fn lock(connection: &mut PgConnection, fence: Fence) -> sqlx::Result<LogHead> {
    const LOCK: &str = "select next_position, next_stream_id, version, recorded_at from wasmill_lock($1, $2, $3)";
    let row = sqlx::query(LOCK).bind(fence.host).bind(fence.epoch).bind(fence.commit).fetch_one(connection).await?;
    Ok(LogHead {
        next_position: Position(row.try_get::<i64, _>(0)?.cast_unsigned()),
        next_stream_id: row.try_get(1)?,
        version: row.try_get(2)?,
        recorded_at: Timestamp(row.try_get(3)?),
    })
}

const KNOWN: &str = "select position from event_id where id = any($1)";

/// Those of `ids` that the log knows and still has.
pub(super) async fn find(connection: &mut PgConnection, ids: &HashSet<Uuid>) -> Result<Vec<Event>, Failure> {
    const CHUNKS: &str = chunks!(
        "where first_position in (
            select (select max(first_position) from chunk where first_position <= wanted.position)
            from unnest($1::bigint[]) wanted (position))"
    );
    let mut found = Vec::new();
    if ids.is_empty() {
        return Ok(found);
    }
    let wanted: Vec<Uuid> = ids.iter().copied().collect();
    let positions: Vec<i64> = sqlx::query_scalar(KNOWN).bind(wanted).fetch_all(&mut *connection).await?;
    if positions.is_empty() {
        return Ok(found);
    }
    let mut left_out = Vec::new();
    let mut rows = sqlx::query(CHUNKS).bind(positions).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        match row.try_get::<Option<&[u8]>, _>(3)? {
            Some(run) => take(pages::stored(&row, Bytes::copy_from_slice(run))?, ids, &mut found)?,
            None => left_out.push(pages::stored(&row, Bytes::new())?),
        }
    }
    drop(rows);
    for chunk in left_out {
        take(pages::with_run(connection, chunk).await?, ids, &mut found)?;
    }
    Ok(found)
}

/// Those of `ids` that belong to removed events.
pub(super) async fn find_removed(
    connection: &mut PgConnection,
    ids: &HashSet<Uuid>,
) -> Result<Vec<RemovedEvent>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<Uuid> = ids.iter().copied().collect();
    let positions: Vec<i64> = sqlx::query_scalar(KNOWN).bind(wanted).fetch_all(&mut *connection).await?;
    let mut found = Vec::with_capacity(positions.len());
    for position in positions.into_iter().map(i64::cast_unsigned) {
        let events = removal::removed(connection, position.checked_sub(1).map(Position), 1).await?;
        found.extend(events.into_iter().filter(|event| event.position.0 == position));
    }
    Ok(found)
}

/// Takes the wanted events out of a chunk, as copies: one event would hold its whole chunk in memory.
fn take(chunk: StoredChunk, ids: &HashSet<Uuid>, found: &mut Vec<Event>) -> Result<(), StoreError> {
    let mut events = Vec::new();
    chunk.open(&mut events)?;
    for event in events.iter().filter(|event| ids.contains(&event.id())) {
        let own = Event::decode(Bytes::copy_from_slice(event.raw()));
        found.push(own.map_err(|error| StoreError::Damaged { what: error.to_string() })?);
    }
    Ok(())
}
