//! Taking over a log from another store: places stay what they were.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Position};
use wasmill_core::record::{RemovedEvent, StreamInfo};
use wasmill_core::store::Head;

use super::log::{self, LogHead};
use super::rows::{Rows, Statement};
use crate::heads::StreamRow;
use crate::number::signed;

/// Events as chunks, with the rows that their streams have for now.
pub(super) fn events(chunks: &[Chunk], streams: &[StreamRow], types: &[String]) -> Vec<Statement> {
    let Some(last) = chunks.last() else { return Vec::new() };
    let next_position = Position(last.first_position.0 + u64::from(last.count));
    let head = LogHead { next_position, recorded_at: last.recorded_at };
    // One statement writes chunks that follow one another.
    let runs = chunks.chunk_by(|a, b| a.first_position.0 + u64::from(a.count) == b.first_position.0);
    let statement = |run: &[Chunk]| {
        let streams: Vec<StreamRow> =
            streams.iter().filter(|row| run.iter().any(|chunk| chunk.stream == row.name)).cloned().collect();
        log::append(&run.iter().collect::<Vec<_>>(), &streams, types, head, false)
    };
    runs.map(statement).collect()
}

pub(super) fn removed(events: &[RemovedEvent], ids: &HashMap<&str, i64>) -> Vec<Statement> {
    const REMOVED: &str = "
        insert into removed (first_position, stream_id, first_offset, recorded_at, removed_at, ids)
        values (?, ?, ?, ?, ?, ?);
        insert into event_id (id, position) values (?, ?)";
    let statement = |event: &RemovedEvent| {
        let id = event.id.as_bytes().to_vec();
        let stream = ids.get(event.stream.as_str()).copied().unwrap_or_default();
        let row = sqlx::query(REMOVED).bind(signed(event.position.0)).bind(stream).bind(signed(event.offset.0));
        let row = row.bind(event.recorded_at.0).bind(event.removed_at.0).bind(id.clone());
        row.bind(id).bind(signed(event.position.0))
    };
    events.iter().map(statement).collect()
}

/// Facts replace what follows from the events; streams without events are made.
pub(super) fn streams(infos: &[StreamInfo], first_new_id: i64) -> Statement {
    const STREAMS: &str = "
        insert into stream (id, name, state, first_offset, truncate_before, next_offset, bytes, created_at,
            first_recorded_at, last_recorded_at, last_position)
        select value ->> 0, cast(substr(packed, value ->> 1, value ->> 2) as text),
            cast(substr(packed, value ->> 3, value ->> 4) as text), value ->> 5, value ->> 6, value ->> 7, value ->> 8,
            value ->> 9, value ->> 10, value ->> 11, value ->> 12
        from (select ? as packed), jsonb_each(?) where true
        on conflict (name) do update set state = excluded.state, first_offset = excluded.first_offset,
            truncate_before = excluded.truncate_before, next_offset = excluded.next_offset, bytes = excluded.bytes,
            created_at = excluded.created_at, first_recorded_at = excluded.first_recorded_at,
            last_recorded_at = excluded.last_recorded_at, last_position = excluded.last_position";
    let mut rows = Rows::new();
    for (info, id) in infos.iter().zip(first_new_id..) {
        let (name, state) = (rows.put(info.name.as_str().as_bytes()), rows.put(info.state.as_str().as_bytes()));
        rows.push(&[
            id,
            name.at,
            name.length,
            state.at,
            state.length,
            signed(info.first_offset.0),
            signed(info.truncate_before.0),
            signed(info.next_offset.0),
            signed(info.bytes),
            info.created_at.0,
            info.first_recorded_at.0,
            info.last_recorded_at.0,
            signed(info.last_position.0),
        ]);
    }
    rows.bind_to(sqlx::query(STREAMS))
}

pub(super) fn head(head: Head, recorded_at: Timestamp) -> Statement {
    const HEAD: &str = "update log_head set log_id = ?, next_position = ?, revision = ?, recorded_at = ?";
    let id = head.log_id.as_bytes().to_vec();
    sqlx::query(HEAD).bind(id).bind(signed(head.next_position.0)).bind(signed(head.revision)).bind(recorded_at.0)
}

pub(super) async fn stream_ids(connection: &mut SqliteConnection) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("select name, id from stream").fetch_all(connection).await
}
