//! Units that hide, remove and forget events. Each is committed by itself, within a transaction that
//! holds the head.

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::name::StreamName;
use wasmill_core::record::{RemovedEvent, StreamState};
use wasmill_core::store::Change;

use super::changes::Statement;
use super::error::Failure;
use super::pages::{self, chunks};
use crate::number::signed;
use crate::removal::Removal;

/// What a change of this kind writes.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) statements: Vec<Statement>,
    /// Events that it removes or forgets.
    pub(super) removed: u64,
    /// Other hosts have to be told, and what is known of streams is stale.
    pub(super) revises: bool,
}

pub(super) async fn prepare(
    connection: &mut PgConnection,
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

/// Tells other hosts, and the writer itself, that what they know of streams is stale.
fn revise() -> Statement {
    sqlx::query("update log_head set revision = revision + 1, version = version + 1")
}

fn set(stream: &StreamName, truncate_before: Offset, state: StreamState) -> Prepared {
    const SET: &str = "
        update stream set truncate_before = greatest(truncate_before, least($1, next_offset)), state = $2
        where name = $3";
    let statement = sqlx::query(SET).bind(signed(truncate_before.0)).bind(state.as_str()).bind(stream.to_string());
    Prepared { statements: vec![statement, revise()], removed: 0, revises: true }
}

async fn remove(
    connection: &mut PgConnection,
    stream: &StreamName,
    limit: usize,
    now: Timestamp,
) -> Result<Prepared, Failure> {
    const WHICH: &str = "select id, least(truncate_before, first_offset + $1) from stream where name = $2";
    const CHUNKS: &str = chunks!("where stream_id = $1 and first_offset < $2 order by first_offset limit $3");
    let mut prepared = Prepared { revises: true, ..Prepared::default() };
    let which = sqlx::query_as(WHICH).bind(signed(limit as u64)).bind(stream.as_str());
    let Some((id, cut)): Option<(i64, i64)> = which.fetch_optional(&mut *connection).await? else {
        return Ok(prepared);
    };
    let mut removal = Removal::below(Offset(cut.cast_unsigned()));
    // No more chunks than events.
    let query = sqlx::query(CHUNKS).bind(id).bind(cut).bind(signed(limit as u64));
    for row in query.fetch_all(&mut *connection).await? {
        let run: Option<&[u8]> = row.try_get(3)?;
        let chunk = pages::stored(&row, run.map(Bytes::copy_from_slice).unwrap_or_default())?;
        removal.add(if run.is_some() { chunk } else { pages::with_run(connection, chunk).await? })?;
    }
    prepared.removed = removal.event_count;
    if removal.event_count > 0 {
        prepared.statements = statements(id, removal, now);
    }
    prepared.statements.push(revise());
    Ok(prepared)
}

fn statements(stream_id: i64, removal: Removal, now: Timestamp) -> Vec<Statement> {
    const POSTINGS: &str = "
        delete from posting p using unnest($1::bigint[], $2::bigint[]) gone (term, first_position)
        where p.term = gone.term and p.first_position = gone.first_position";
    const CHUNKS: &str = "delete from chunk where first_position = any($1)";
    const REMOVED: &str = "
        insert into removed (first_position, stream_id, first_offset, recorded_at, removed_at, ids)
        values ($1, $2, $3, $4, $5, $6)";
    const REST: &str = "
        insert into chunk (first_position, event_count, stream_id, first_offset, recorded_at, crc, run)
        values ($1, $2, $3, $4, $5, $6, $7)";
    const TERMS: &str = "insert into posting (term, first_position) select term, $2 from unnest($1::bigint[]) term";
    const STREAM: &str = "
        update stream set first_offset = first_offset + $2, bytes = bytes - $3,
            first_recorded_at = coalesce(
                (select recorded_at from chunk where stream_id = $1 order by chunk.first_offset limit 1),
                last_recorded_at)
        where id = $1";
    let chunks: Vec<i64> = removal.chunks.iter().map(|position| signed(position.0)).collect();
    let postings = removal.postings.iter().map(|(term, position)| (*term, signed(position.0)));
    let (terms, positions): (Vec<i64>, Vec<i64>) = postings.unzip();
    let mut statements = vec![sqlx::query(POSTINGS).bind(terms).bind(positions), sqlx::query(CHUNKS).bind(chunks)];
    for gone in removal.remembered {
        let ids: Vec<Uuid> = gone.ids.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).collect();
        let row = sqlx::query(REMOVED).bind(signed(gone.first_position.0)).bind(stream_id);
        let row = row.bind(signed(gone.first_offset.0)).bind(gone.recorded_at.0).bind(now.0);
        statements.push(row.bind(ids));
    }
    if let Some(rest) = removal.rest {
        let numbers = rest.numbers;
        let row = sqlx::query(REST).bind(signed(numbers.first_position)).bind(numbers.event_count as i32);
        let row = row.bind(numbers.stream_id).bind(signed(numbers.first_offset)).bind(numbers.recorded_at);
        statements.push(row.bind(i64::from(rest.crc)).bind(rest.run.to_vec()));
        statements.push(sqlx::query(TERMS).bind(rest.terms).bind(signed(numbers.first_position)));
    }
    let stream = sqlx::query(STREAM).bind(stream_id).bind(signed(removal.event_count)).bind(signed(removal.bytes));
    statements.push(stream);
    statements
}

async fn forget(connection: &mut PgConnection, before: Timestamp, limit: usize) -> sqlx::Result<Prepared> {
    const OLD: &str = "
        select first_position, ids from removed where removed_at < $1 order by first_position limit $2";
    const IDS: &str = "delete from event_id where id = any($1)";
    const ROWS: &str = "delete from removed where first_position = any($1)";
    const SHORTEN: &str = "
        update removed set first_position = first_position + $2, first_offset = first_offset + $2, ids = ids[$2 + 1:]
        where first_position = $1";
    let mut prepared = Prepared::default();
    let old = sqlx::query_as(OLD).bind(before.0).bind(signed(limit as u64)).fetch_all(connection).await?;
    let old: Vec<(i64, Vec<Uuid>)> = old;
    let (mut whole, mut ids, mut shorten) = (Vec::new(), Vec::<Uuid>::new(), None);
    for (first_position, of_chunk) in old {
        let room = limit - ids.len();
        ids.extend(of_chunk.iter().take(room).copied());
        if of_chunk.len() <= room {
            whole.push(first_position);
        } else {
            shorten = Some((first_position, room as i64));
            break;
        }
    }
    prepared.removed = ids.len() as u64;
    if !ids.is_empty() {
        prepared.statements = vec![sqlx::query(IDS).bind(ids), sqlx::query(ROWS).bind(whole)];
        if let Some((first_position, count)) = shorten.filter(|(_, count)| *count > 0) {
            prepared.statements.push(sqlx::query(SHORTEN).bind(first_position).bind(count));
        }
    }
    Ok(prepared)
}

/// What is remembered of removed events, by position, after `after`.
pub(super) async fn removed(
    connection: &mut PgConnection,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<RemovedEvent>, Failure> {
    const LIST: &str = "
        select r.first_position, s.name, r.first_offset, r.recorded_at, r.removed_at, r.ids
        from removed r join stream s on s.id = r.stream_id
        where r.first_position >= coalesce((select max(first_position) from removed where first_position <= $1), $1)
        order by r.first_position limit $2";
    let from = after.map_or(0, |after| signed(after.0.saturating_add(1)));
    let mut events = Vec::new();
    let query = sqlx::query(LIST).bind(from).bind(signed(limit as u64).saturating_add(1));
    for row in query.fetch_all(connection).await? {
        let first_position: i64 = row.try_get(0)?;
        let stream = StreamName::from_stored(row.try_get(1)?);
        let first_offset: i64 = row.try_get(2)?;
        let (recorded_at, removed_at) = (Timestamp(row.try_get(3)?), Timestamp(row.try_get(4)?));
        let ids: Vec<Uuid> = row.try_get(5)?;
        for (n, id) in (0_i64..).zip(ids) {
            if first_position + n < from || events.len() == limit {
                continue;
            }
            events.push(RemovedEvent {
                id,
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
