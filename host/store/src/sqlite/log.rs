//! The log: chunks, the ids of their events, and the head.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Event, Position};
use wasmill_core::record::RemovedEvent;
use wasmill_core::store::{Head, StoreError};

use super::error::Failure;
use super::pages::{self, chunks};
use super::removal;
use super::rows::{Rows, Statement};
use super::streams::{self, upsert_streams};
use crate::chunk::{Numbers, StoredChunk, checksum};
use crate::heads::StreamRow;
use crate::term::{Term, of_chunk};

/// The newest place of the log, as the writer keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogHead {
    pub(super) next_position: Position,
    pub(super) recorded_at: Timestamp,
}

/// Everything that a group appends, in one statement string, so that it is one hop to the connection's
/// thread. The ids come first: they are what may fail, and little has been written by then.
macro_rules! append {
    () => {
        concat!(
            "
        with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?)
        insert or rollback into event_id (id, position)
        select substr(ids, i * 16 + 1, 16), first_position + i
        from n, (select ? as ids, ? as first_position);

        insert or rollback into chunk (first_position, event_count, stream_id, first_offset, recorded_at, crc, run)
        select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
            substr(packed, value ->> 6, value ->> 7)
        from (select ? as packed), jsonb_each(?);",
            upsert_streams!(),
            "
        insert or rollback into posting (term, first_position) select value ->> 0, value ->> 1 from jsonb_each(?);
        insert or ignore into event_type (name) select value from json_each(?);

        update or rollback log_head set next_position = ?, recorded_at = ?;"
        )
    };
}

const APPEND: &str = append!();
/// For a group that only appends: the whole transaction is one hop.
const APPEND_ALONE: &str = concat!("begin immediate;", append!(), "commit");

/// `chunks` are in position order and without gaps; `streams` holds a row for each of their streams;
/// `types` are event types that may be new.
pub(super) fn append(
    chunks: &[&Chunk],
    streams: &[StreamRow],
    types: &[String],
    after: LogHead,
    alone: bool,
) -> Statement {
    let events = chunks.iter().flat_map(|chunk| &chunk.events);
    let ids: Vec<u8> = events.flat_map(|event| event.id().into_bytes()).collect();
    let count = ids.len() as i64 / 16;
    let first_position = chunks.first().map_or(0, |chunk| chunk.first_position.0.cast_signed());
    let stream_ids: HashMap<_, _> = streams.iter().map(|row| (&row.name, row.head.id)).collect();
    let mut rows = Rows::with_capacity(chunks.len(), chunks.iter().map(|chunk| chunk.run.len()).sum());
    let mut terms = Vec::with_capacity(chunks.len() * 4);
    for chunk in chunks {
        terms.extend(of_chunk(&chunk.events).into_iter().map(|term| (term, chunk.first_position)));
        let stream_id = stream_ids[&chunk.stream];
        let numbers = Numbers {
            first_position: chunk.first_position.0,
            event_count: u64::from(chunk.count),
            stream_id,
            first_offset: chunk.first_offset.0,
            recorded_at: chunk.recorded_at.0,
        };
        let run = rows.put(&chunk.run);
        rows.push(&[
            numbers.first_position.cast_signed(),
            numbers.event_count.cast_signed(),
            numbers.stream_id,
            numbers.first_offset.cast_signed(),
            numbers.recorded_at,
            i64::from(checksum(&numbers, &chunk.run)),
            run.at,
            run.length,
        ]);
    }
    let statement = sqlx::query(if alone { APPEND_ALONE } else { APPEND }).bind(count).bind(ids).bind(first_position);
    // In the order of the index, whose pages are then written once.
    terms.sort_unstable();
    let statement = streams::bind_upsert(rows.bind_to(statement), streams).bind(postings(&terms));
    let statement = statement.bind(serde_json::Value::from(types).to_string());
    statement.bind(after.next_position.0.cast_signed()).bind(after.recorded_at.0)
}

/// Rows of the index as JSON.
pub(super) fn postings(rows: &[(Term, Position)]) -> String {
    let mut json = String::with_capacity(rows.len() * 40 + 2);
    json.push('[');
    for (n, (term, position)) in rows.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(json, "{comma}[{term},{position}]").expect("a string takes all that is written to it");
    }
    json.push(']');
    json
}

pub(super) async fn head(connection: &mut SqliteConnection) -> sqlx::Result<(Head, LogHead)> {
    let row =
        sqlx::query("select next_position, log_id, recorded_at, revision from log_head").fetch_one(connection).await?;
    let next_position = Position(row.try_get::<i64, _>(0)?.cast_unsigned());
    let log_id = Uuid::from_slice(row.try_get(1)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let revision = row.try_get::<i64, _>(3)?.cast_unsigned();
    Ok((Head { next_position, log_id, revision }, LogHead { next_position, recorded_at: Timestamp(row.try_get(2)?) }))
}

/// Those of `ids` that the log knows.
pub(super) async fn find(connection: &mut SqliteConnection, ids: &HashSet<Uuid>) -> Result<Vec<Event>, Failure> {
    const POSITIONS: &str = "
        with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?)
        select known.position
        from n, (select ? as ids) cross join event_id known on known.id = substr(ids, i * 16 + 1, 16)";
    const CHUNKS: &str = chunks!(
        "where first_position in
            (select (select max(first_position) from chunk where first_position <= value) from json_each(?))"
    );
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.into_bytes()).collect();
    let positions = sqlx::query_scalar(POSITIONS).bind(ids.len() as i64).bind(bytes);
    let positions: Vec<i64> = if ids.is_empty() { Vec::new() } else { positions.fetch_all(&mut *connection).await? };
    let mut found = Vec::new();
    if positions.is_empty() {
        return Ok(found);
    }
    let mut left_out = Vec::new();
    let mut rows = sqlx::query(CHUNKS).bind(format!("{positions:?}")).fetch(&mut *connection);
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
    connection: &mut SqliteConnection,
    ids: &HashSet<Uuid>,
) -> Result<Vec<RemovedEvent>, Failure> {
    const POSITIONS: &str = "
        with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?)
        select known.position
        from n, (select ? as ids) cross join event_id known on known.id = substr(ids, i * 16 + 1, 16)
        where (select max(first_position + length(removed.ids) / 16) from removed where first_position =
            (select max(first_position) from removed where first_position <= known.position)) > known.position";
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.into_bytes()).collect();
    let positions = sqlx::query_scalar(POSITIONS).bind(ids.len() as i64).bind(bytes);
    let positions: Vec<i64> = positions.fetch_all(&mut *connection).await?;
    let mut found = Vec::with_capacity(positions.len());
    for position in positions {
        let before = position.cast_unsigned().checked_sub(1).map(Position);
        found.extend(removal::removed(connection, before, 1).await?);
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
