//! From times to places. `recorded_at` never steps back, so the log is searched by halves, without an
//! index of its own.

use sqlx::postgres::PgConnection;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::name::StreamName;

pub(super) async fn position_at(connection: &mut PgConnection, time: Timestamp) -> sqlx::Result<Position> {
    const SEARCH: &str = "
        with recursive search(low, high) as (
            select 0::bigint, next_position from log_head
            union all
            select case when c.recorded_at < $1 then c.first_position + c.event_count else low end,
                case when c.recorded_at < $1 then high else c.first_position end
            from search cross join lateral (
                select * from chunk where first_position = coalesce(
                    (select max(first_position) from chunk where first_position between low and (low + high) / 2),
                    (select min(first_position) from chunk
                    where first_position > (low + high) / 2 and first_position < high))) c
            where low < high)
        select coalesce(
            (select min(first_position) from chunk where first_position >= (select max(low) from search)),
            (select next_position from log_head))";
    let position: i64 = sqlx::query_scalar(SEARCH).bind(time.0).fetch_one(connection).await?;
    Ok(Position(position.cast_unsigned()))
}

pub(super) async fn offset_at(
    connection: &mut PgConnection,
    stream: &StreamName,
    time: Timestamp,
) -> sqlx::Result<Offset> {
    const SEARCH: &str = "
        with recursive wanted as (select id, first_offset, next_offset from stream where name = $2),
        search(low, high) as (
            select first_offset, next_offset from wanted
            union all
            select case when c.recorded_at < $1 then c.first_offset + c.event_count else low end,
                case when c.recorded_at < $1 then high else c.first_offset end
            from search cross join wanted w cross join lateral (
                select * from chunk where stream_id = w.id and chunk.first_offset = coalesce(
                    (select max(first_offset) from chunk
                    where stream_id = w.id and first_offset between low and (low + high) / 2),
                    (select min(first_offset) from chunk
                    where stream_id = w.id and first_offset > (low + high) / 2 and first_offset < high))) c
            where low < high)
        select coalesce(
            (select min(c.first_offset) from chunk c join wanted w on c.stream_id = w.id
            where c.first_offset >= (select max(low) from search)),
            (select next_offset from wanted), 0)";
    let query = sqlx::query_scalar(SEARCH).bind(time.0).bind(stream.as_str());
    let offset: i64 = query.fetch_one(connection).await?;
    Ok(Offset(offset.cast_unsigned()))
}
