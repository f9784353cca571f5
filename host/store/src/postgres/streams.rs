//! The streams' rows: what the writer has to know of them, and what can be asked of them.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::{StreamInfo, StreamState};
use wasmill_core::store::plan::StreamHead;

use super::plugins::known;
use crate::heads::{Head, Heads};

/// Streams that one query of a list asks for.
const LIST_ROWS: i64 = 1_000;

/// The heads of those streams that exist.
pub(super) async fn heads<'a>(
    connection: &mut PgConnection,
    heads: &mut Heads,
    names: impl Iterator<Item = &'a StreamName>,
) -> sqlx::Result<HashMap<StreamName, Head>> {
    const FIND: &str = "select id, name, next_offset, state from stream where name = any($1)";
    let (mut found, missing) = heads.known(names);
    if !missing.is_empty() {
        let missing: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
        for row in sqlx::query(FIND).bind(missing).fetch_all(connection).await? {
            let stream =
                StreamHead { next_offset: offset(&row, 2)?, state: known(row.try_get(3)?, StreamState::from_stored)? };
            found.insert(StreamName::from_stored(row.try_get(1)?), Head { id: row.try_get(0)?, stream });
        }
    }
    Ok(found)
}

pub(super) async fn stream(connection: &mut PgConnection, name: &StreamName) -> sqlx::Result<Option<StreamInfo>> {
    const GET: &str = "
        select name, state, first_offset, truncate_before, next_offset, bytes, created_at, first_recorded_at,
            last_recorded_at, last_position
        from stream where name = $1";
    let row = sqlx::query(GET).bind(name.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(info).transpose()
}

/// A pattern's literal beginning bounds the search; the rest is matched here.
pub(super) async fn streams(
    connection: &mut PgConnection,
    pattern: Option<&Pattern>,
    after: Option<&str>,
    limit: usize,
) -> sqlx::Result<Vec<StreamInfo>> {
    const LIST: &str = "
        select name, state, first_offset, truncate_before, next_offset, bytes, created_at, first_recorded_at,
            last_recorded_at, last_position
        from stream where name >= $1 order by name limit $2";
    let prefix = pattern.map(Pattern::prefix).unwrap_or_default();
    let mut from = prefix.max(after.unwrap_or_default()).to_owned();
    let mut skip = after.map(str::to_owned);
    let mut streams = Vec::new();
    loop {
        let rows: Vec<PgRow> =
            sqlx::query(LIST).bind(&from).bind(LIST_ROWS).fetch(&mut *connection).try_collect().await?;
        for row in &rows {
            let name: &str = row.try_get(0)?;
            if streams.len() == limit || !name.starts_with(prefix) {
                return Ok(streams);
            }
            if skip.as_deref() != Some(name) && pattern.is_none_or(|pattern| pattern.matches(name)) {
                streams.push(info(row)?);
            }
        }
        match rows.last() {
            Some(last) if rows.len() as i64 == LIST_ROWS && streams.len() < limit => {
                from = last.try_get(0)?;
                skip = Some(from.clone());
            }
            _ => return Ok(streams),
        }
    }
}

fn offset(row: &PgRow, column: usize) -> sqlx::Result<Offset> {
    Ok(Offset(row.try_get::<i64, _>(column)?.cast_unsigned()))
}

fn info(row: &PgRow) -> sqlx::Result<StreamInfo> {
    Ok(StreamInfo {
        name: StreamName::from_stored(row.try_get(0)?),
        state: known(row.try_get(1)?, StreamState::from_stored)?,
        first_offset: offset(row, 2)?,
        truncate_before: offset(row, 3)?,
        next_offset: offset(row, 4)?,
        bytes: row.try_get::<i64, _>(5)?.cast_unsigned(),
        created_at: Timestamp(row.try_get(6)?),
        first_recorded_at: Timestamp(row.try_get(7)?),
        last_recorded_at: Timestamp(row.try_get(8)?),
        last_position: Position(row.try_get::<i64, _>(9)?.cast_unsigned()),
    })
}
