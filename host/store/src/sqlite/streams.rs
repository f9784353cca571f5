//! The streams' rows: what the writer has to know of them, and what can be asked of them.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::{StreamInfo, StreamState};
use wasmill_core::store::plan::StreamHead;

use super::rows::{Rows, Statement};
use crate::heads::{Head, Heads, StreamRow};

/// Id that the first new stream gets.
pub(super) async fn next_id(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select coalesce(max(id), 0) + 1 from stream").fetch_one(connection).await
}

/// The heads of those streams that exist.
pub(super) async fn heads<'a>(
    connection: &mut SqliteConnection,
    heads: &mut Heads,
    names: impl Iterator<Item = &'a StreamName>,
) -> sqlx::Result<HashMap<StreamName, Head>> {
    const FIND: &str = "
        select distinct s.id, s.name, s.next_offset, s.state
        from (select ? as packed), jsonb_each(?)
        cross join stream s on s.name = cast(substr(packed, value ->> 0, value ->> 1) as text)";
    let (mut known, missing) = heads.known(names);
    if !missing.is_empty() {
        let mut rows = Rows::new();
        missing.iter().for_each(|name| rows.push_text(name.as_str()));
        for row in rows.bind_to(sqlx::query(FIND)).fetch_all(connection).await? {
            let stream = StreamHead {
                next_offset: Offset(row.try_get::<i64, _>(2)?.cast_unsigned()),
                state: state(row.try_get(3)?)?,
            };
            known.insert(StreamName::from_stored(row.try_get(1)?), Head { id: row.try_get(0)?, stream });
        }
    }
    Ok(known)
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
