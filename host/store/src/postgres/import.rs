//! Taking over a log from another store: places stay what they were.

use std::collections::HashMap;

use sqlx::postgres::PgConnection;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::Chunk;
use wasmill_core::name::StreamName;
use wasmill_core::record::{RemovedEvent, StreamInfo};
use wasmill_core::store::{Head, Import, StoreError};

use super::changes::Statement;
use super::commit::{Writer, new_types};
use super::error::Failure;
use super::log::{self, Fence, Rows};
use super::streams;
use crate::chunk::chunks_of;
use crate::heads::StreamRow;
use crate::number::signed;

/// Events as chunks, with the rows that their streams have for now.
fn events_of(chunks: &[Chunk], streams: &[StreamRow], types: &[String]) -> Vec<Statement> {
    // One statement writes chunks that follow one another.
    let runs = chunks.chunk_by(|a, b| a.first_position.0 + u64::from(a.count) == b.first_position.0);
    let statement = |run: &[Chunk]| {
        let streams = streams.iter().filter(|row| run.iter().any(|chunk| chunk.stream == row.name)).cloned().collect();
        Rows::of(&run.iter().collect::<Vec<_>>(), streams, types.to_vec()).write()
    };
    runs.map(statement).collect()
}

fn removed(events: &[RemovedEvent], ids: &HashMap<&str, i64>) -> Vec<Statement> {
    const ROW: &str = "
        insert into removed (first_position, stream_id, first_offset, recorded_at, removed_at, ids)
        values ($1, $2, $3, $4, $5, array[$6::uuid])";
    const ID: &str = "insert into event_id (id, position) values ($1, $2)";
    let statements = |event: &RemovedEvent| {
        let stream = ids.get(event.stream.as_str()).copied().unwrap_or_default();
        let row = sqlx::query(ROW).bind(signed(event.position.0)).bind(stream).bind(signed(event.offset.0));
        let row = row.bind(event.recorded_at.0).bind(event.removed_at.0).bind(event.id);
        [row, sqlx::query(ID).bind(event.id).bind(signed(event.position.0))]
    };
    events.iter().flat_map(statements).collect()
}

/// Facts replace what follows from the events; streams without events are made.
fn streams_of(infos: &[StreamInfo], first_new_id: i64) -> Vec<Statement> {
    const STREAM: &str = "
        insert into stream (id, name, state, first_offset, truncate_before, next_offset, bytes, created_at,
            first_recorded_at, last_recorded_at, last_position)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        on conflict (name) do update set state = excluded.state, first_offset = excluded.first_offset,
            truncate_before = excluded.truncate_before, next_offset = excluded.next_offset, bytes = excluded.bytes,
            created_at = excluded.created_at, first_recorded_at = excluded.first_recorded_at,
            last_recorded_at = excluded.last_recorded_at, last_position = excluded.last_position";
    let statement = |(info, id): (&StreamInfo, i64)| {
        let row = sqlx::query(STREAM).bind(id).bind(info.name.to_string()).bind(info.state.as_str());
        let row = row.bind(signed(info.first_offset.0)).bind(signed(info.truncate_before.0));
        let row = row.bind(signed(info.next_offset.0)).bind(signed(info.bytes)).bind(info.created_at.0);
        row.bind(info.first_recorded_at.0).bind(info.last_recorded_at.0).bind(signed(info.last_position.0))
    };
    infos.iter().zip(first_new_id..).map(statement).collect()
}

fn next_stream_id(id: i64) -> Statement {
    sqlx::query("update log_head set next_stream_id = greatest(next_stream_id, $1), version = version + 1").bind(id)
}

fn head_of(head: Head, recorded_at: Timestamp) -> Statement {
    const HEAD: &str = "
        update log_head set log_id = $1, next_position = $2, revision = $3, recorded_at = $4, version = version + 1";
    let statement = sqlx::query(HEAD).bind(head.log_id).bind(signed(head.next_position.0));
    statement.bind(signed(head.revision)).bind(recorded_at.0)
}

impl Writer {
    /// Takes over a part of another store.
    pub(super) async fn import(&mut self, part: Import) -> Result<(), StoreError> {
        self.ready().await?;
        self.busy = true;
        let imported = self.write(part).await;
        if imported.is_err() {
            self.roll_back().await;
        }
        self.busy = false;
        imported.map_err(StoreError::from)
    }

    async fn write(&mut self, part: Import) -> Result<(), Failure> {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::NotConnected.into());
        let connection = self.connection.as_mut().ok_or_else(lost)?;
        self.begun = true;
        sqlx::query("begin").execute(&mut *connection).await?;
        self.commit += 1;
        let fence = Fence { host: self.host, epoch: self.epoch, commit: self.commit };
        let before = log::lock(connection, fence).await?;
        self.heads.start_over(before.next_stream_id);
        let mut statements = match part {
            Import::Events(events) => {
                let chunks = chunks_of(events);
                let names: Vec<StreamName> = chunks.iter().map(|chunk| chunk.stream.clone()).collect();
                let known = streams::heads(connection, &mut self.heads, names.iter()).await?;
                let rows = self.heads.after(&known, chunks.iter());
                let types = new_types(&self.types, &chunks.iter().collect::<Vec<_>>());
                let next_id = rows.iter().map(|row| row.head.id + 1).max().unwrap_or(0);
                let mut statements = events_of(&chunks, &rows, &types);
                statements.push(next_stream_id(next_id));
                statements
            }
            Import::Removed(events) => {
                let ids = stream_ids(connection).await?;
                removed(&events, &ids.iter().map(|(name, id)| (name.as_str(), *id)).collect())
            }
            Import::Streams(infos) => {
                let mut statements = streams_of(&infos, before.next_stream_id);
                statements.push(next_stream_id(before.next_stream_id + infos.len() as i64));
                statements
            }
            Import::Head { head, recorded_at } => vec![head_of(head, recorded_at)],
        };
        statements.push(sqlx::query("commit"));
        for statement in statements {
            statement.execute(&mut *connection).await?;
        }
        (self.stale, self.begun) = (true, false);
        Ok(())
    }
}

async fn stream_ids(connection: &mut PgConnection) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("select name, id from stream").fetch_all(connection).await
}
