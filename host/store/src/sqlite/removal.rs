//! Units that hide, remove and forget events. Each is committed by itself, so what it does is found out
//! before its transaction begins.

use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::name::StreamName;
use wasmill_core::record::{RemovedEvent, StreamState};
use wasmill_core::store::Change;

use super::error::Failure;
use super::log::postings;
use super::pages::{self, chunks};
use super::rows::{Rows, Statement};
use crate::number::signed;
use crate::removal::Removal;

const REVISE: &str = "update log_head set revision = revision + 1";

/// What a change of this kind writes.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) statements: Vec<Statement>,
    /// Events that it removes or forgets.
    pub(super) removed: u64,
    /// The stream that is not what it was.
    pub(super) stream: Option<StreamName>,
}

pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    change: &Change,
    now: Timestamp,
) -> Result<Option<Prepared>, Failure> {
    match change {
        Change::SetStream { stream, truncate_before, state } => Ok(Some(set(stream, *truncate_before, *state))),
        Change::RemoveEvents { stream, limit } => remove(connection, stream, *limit, now).await.map(Some),
        Change::ForgetRemoved { before, limit } => Ok(Some(forget(connection, *before, *limit).await?)),
        _ => Ok(None),
    }
}

fn set(stream: &StreamName, truncate_before: Offset, state: StreamState) -> Prepared {
    const SET: &str = "
        update stream set truncate_before = max(truncate_before, min(?, next_offset)), state = ? where name = ?;
        update log_head set revision = revision + 1";
    let statement = sqlx::query(SET).bind(signed(truncate_before.0)).bind(state.as_str()).bind(stream.to_string());
    Prepared { statements: vec![statement], removed: 0, stream: Some(stream.clone()) }
}

async fn remove(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    limit: usize,
    now: Timestamp,
) -> Result<Prepared, Failure> {
    const WHICH: &str = "select id, min(truncate_before, first_offset + ?) from stream where name = ?";
    const CHUNKS: &str = chunks!("where stream_id = ? and first_offset < ? order by first_offset limit ?");
    let mut prepared = Prepared { stream: Some(stream.clone()), ..Prepared::default() };
    let which = sqlx::query_as(WHICH).bind(signed(limit as u64)).bind(stream.as_str());
    let Some((id, cut)): Option<(i64, i64)> = which.fetch_optional(&mut *connection).await? else {
        return Ok(prepared);
    };
    let mut removal = Removal::below(Offset(cut.cast_unsigned()));
    // No more chunks than events.
    let query = sqlx::query(CHUNKS).bind(id).bind(cut).bind(signed(limit as u64));
    let rows = query.fetch_all(&mut *connection).await?;
    for row in rows {
        let run: Option<&[u8]> = row.try_get(3)?;
        let chunk = pages::stored(&row, run.map(Bytes::copy_from_slice).unwrap_or_default())?;
        removal.add(if run.is_some() { chunk } else { pages::with_run(connection, chunk).await? })?;
    }
    prepared.removed = removal.event_count;
    if removal.event_count > 0 {
        prepared.statements = statements(id, removal, now);
    }
    prepared.statements.push(sqlx::query(REVISE));
    Ok(prepared)
}

fn statements(stream_id: i64, removal: Removal, now: Timestamp) -> Vec<Statement> {
    const REMOVE: &str = "
        delete from posting where (term, first_position) in (select value ->> 0, value ->> 1 from json_each(?));
        delete from chunk where first_position in (select value from json_each(?));
        insert into removed (first_position, stream_id, first_offset, recorded_at, removed_at, ids)
        select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, substr(packed, value ->> 5, value ->> 6)
        from (select ? as packed), jsonb_each(?);";
    const REST: &str = "
        insert into chunk (first_position, event_count, stream_id, first_offset, recorded_at, crc, run)
        values (?, ?, ?, ?, ?, ?, ?);
        insert into posting (term, first_position) select value ->> 0, value ->> 1 from json_each(?);";
    const STREAM: &str = "
        update stream set first_offset = first_offset + ?2, bytes = bytes - ?3,
            first_recorded_at = coalesce(
                (select recorded_at from chunk where stream_id = ?1 order by chunk.first_offset limit 1), last_recorded_at)
        where id = ?1";
    let chunks: Vec<u64> = removal.chunks.iter().map(|position| position.0).collect();
    let mut removed = Rows::new();
    for gone in &removal.remembered {
        let ids = removed.put(&gone.ids);
        removed.push(&[
            signed(gone.first_position.0),
            stream_id,
            signed(gone.first_offset.0),
            gone.recorded_at.0,
            now.0,
            ids.at,
            ids.length,
        ]);
    }
    let going = sqlx::query(REMOVE).bind(postings(&removal.postings)).bind(format!("{chunks:?}"));
    let mut statements = vec![removed.bind_to(going)];
    if let Some(rest) = removal.rest {
        let first = Position(rest.numbers.first_position);
        let terms: Vec<_> = rest.terms.iter().map(|term| (*term, first)).collect();
        let numbers = rest.numbers;
        let staying = sqlx::query(REST).bind(signed(numbers.first_position)).bind(signed(numbers.event_count));
        let staying = staying.bind(numbers.stream_id).bind(signed(numbers.first_offset)).bind(numbers.recorded_at);
        statements.push(staying.bind(i64::from(rest.crc)).bind(rest.run.to_vec()).bind(postings(&terms)));
    }
    let stream = sqlx::query(STREAM).bind(stream_id).bind(signed(removal.event_count)).bind(signed(removal.bytes));
    statements.push(stream);
    statements
}

async fn forget(connection: &mut SqliteConnection, before: Timestamp, limit: usize) -> sqlx::Result<Prepared> {
    const OLD: &str = "
        select first_position, ids from removed where removed_at < ? order by first_position limit ?";
    const FORGET: &str = "
        with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?)
        delete from event_id where id in (select substr(ids, i * 16 + 1, 16) from n, (select ? as ids));
        delete from removed where first_position in (select value from json_each(?));";
    const SHORTEN: &str = "
        update removed set first_position = first_position + ?2, first_offset = first_offset + ?2,
            ids = substr(ids, ?2 * 16 + 1)
        where first_position = ?1";
    let mut prepared = Prepared::default();
    let old = sqlx::query_as(OLD).bind(before.0).bind(signed(limit as u64)).fetch_all(connection).await?;
    let old: Vec<(i64, Vec<u8>)> = old;
    let (mut whole, mut ids, mut shorten) = (Vec::new(), Vec::new(), None);
    for (first_position, of_chunk) in old {
        let room = limit - ids.len() / 16;
        let count = of_chunk.len() / 16;
        ids.extend_from_slice(&of_chunk[..count.min(room) * 16]);
        if count <= room {
            whole.push(first_position);
        } else {
            shorten = Some((first_position, room as i64));
            break;
        }
    }
    prepared.removed = ids.len() as u64 / 16;
    if prepared.removed > 0 {
        let forget = sqlx::query(FORGET).bind(signed(prepared.removed)).bind(ids).bind(format!("{whole:?}"));
        prepared.statements.push(forget);
        if let Some((first_position, count)) = shorten.filter(|(_, count)| *count > 0) {
            prepared.statements.push(sqlx::query(SHORTEN).bind(first_position).bind(count));
        }
    }
    Ok(prepared)
}

/// What is remembered of removed events, by position, after `after`.
pub(super) async fn removed(
    connection: &mut SqliteConnection,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<RemovedEvent>, Failure> {
    const LIST: &str = "
        select first_position, s.name, removed.first_offset, recorded_at, removed_at, ids
        from removed join stream s on s.id = stream_id
        where first_position >= coalesce((select max(first_position) from removed where first_position <= ?1), ?1)
        order by first_position limit ?2";
    let from = after.map_or(0, |after| signed(after.0.saturating_add(1)));
    let mut events = Vec::new();
    let query = sqlx::query(LIST).bind(from).bind(signed(limit as u64).saturating_add(1));
    for row in query.fetch_all(connection).await? {
        let first_position: i64 = row.try_get(0)?;
        let stream = StreamName::from_stored(row.try_get(1)?);
        let first_offset: i64 = row.try_get(2)?;
        let (recorded_at, removed_at) = (Timestamp(row.try_get(3)?), Timestamp(row.try_get(4)?));
        let ids: &[u8] = row.try_get(5)?;
        for (n, id) in (0_i64..).zip(ids.chunks_exact(16)) {
            if first_position + n < from || events.len() == limit {
                continue;
            }
            events.push(RemovedEvent {
                id: uuid::Uuid::from_slice(id).map_err(|error| sqlx::Error::Decode(error.into()))?,
                stream: stream.clone(),
                offset: Offset((first_offset + n).cast_unsigned()),
                position: Position((first_position + n).cast_unsigned()),
                recorded_at,
                removed_at,
            });
        }
    }
    Ok(events)
}
