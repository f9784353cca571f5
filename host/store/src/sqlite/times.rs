//! From times to places. `recorded_at` never steps back, so the log is searched by halves, without an
//! index of its own.

use sqlx::sqlite::SqliteConnection;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::name::StreamName;

pub(super) async fn position_at(connection: &mut SqliteConnection, time: Timestamp) -> sqlx::Result<Position> {
    const SEARCH: &str = "
        with recursive search(low, high) as (
            select 0, next_position from log_head
            union all
            select iif(recorded_at < ?1, first_position + event_count, low),
                iif(recorded_at < ?1, high, first_position)
            from search join chunk on first_position = coalesce(
                (select max(first_position) from chunk where first_position between low and (low + high) / 2),
                (select min(first_position) from chunk where first_position > (low + high) / 2 and first_position < high))
            where low < high)
        select coalesce(
            (select min(first_position) from chunk where first_position >= (select max(low) from search)),
            (select next_position from log_head))";
    let position: i64 = sqlx::query_scalar(SEARCH).bind(time.0).fetch_one(connection).await?;
    Ok(Position(position.cast_unsigned()))
}

pub(super) async fn offset_at(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    time: Timestamp,
) -> sqlx::Result<Offset> {
    const SEARCH: &str = "
        with recursive wanted(stream, first_offset, next_offset) as (
            select id, first_offset, next_offset from stream where name = ?2),
        search(low, high) as (
            select first_offset, next_offset from wanted
            union all
            select iif(chunk.recorded_at < ?1, chunk.first_offset + event_count, low),
                iif(chunk.recorded_at < ?1, high, chunk.first_offset)
            from search join wanted join chunk on stream_id = stream and chunk.first_offset = coalesce(
                (select max(first_offset) from chunk
                where stream_id = stream and first_offset between low and (low + high) / 2),
                (select min(first_offset) from chunk
                where stream_id = stream and first_offset > (low + high) / 2 and first_offset < high))
            where low < high)
        select coalesce(
            (select min(chunk.first_offset) from chunk, wanted
            where stream_id = stream and chunk.first_offset >= (select max(low) from search)),
            (select next_offset from wanted), 0)";
    let query = sqlx::query_scalar(SEARCH).bind(time.0).bind(stream.as_str());
    let offset: i64 = query.fetch_one(connection).await?;
    Ok(Offset(offset.cast_unsigned()))
}
