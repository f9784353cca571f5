//! Pages of the log and of streams: bounded by events and bytes, without loading far more than a page.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_core::event::{Event, Position};
use wasmill_core::store::{Direction, PageLimit};

use super::error::Failure;
use crate::chunk::StoredChunk;
use crate::number::signed;
use crate::page::{Axis, Page};

/// Chunks asked for by the first query of a page, and by one query at most. Each asks for four times
/// as many as the one before: a page is a few hundred large chunks or thousands of small ones, and a
/// query that is ended early has loaded up to 50 rows that nobody wants.
const ROWS_FIRST: usize = 32;
const ROWS_MAX: usize = 4_096;

/// The beginning of every query for chunks. Runs above 64 KiB are left out and fetched one by one, so
/// that the rows that wait between SQLite's thread and the reader's are small.
macro_rules! chunks {
    ($rest:literal) => {
        concat!("select first_position, stream_id, crc, iif(length(run) <= 65536, run, null) from chunk ", $rest)
    };
}
pub(super) use chunks;

/// A page that begins inside a chunk begins with that chunk. Parameters: where the page goes on, the
/// place of the chunk opened last, rows, name of the stream. One bound a query, not two: SQLite
/// would seek by either of them and look at all that lies between.
fn sql(axis: Axis<'_>, direction: Direction) -> &'static str {
    match (axis, direction) {
        (Axis::Log, Direction::Forward) => chunks!(
            "where first_position >= max(?2 + 1, coalesce(
                    (select max(first_position) from chunk where first_position <= ?1), ?1))
                order by first_position limit ?3"
        ),
        (Axis::Log, Direction::Backward) => chunks!(
            "where first_position <= min(?2 - 1, ?1)
                order by first_position desc limit ?3"
        ),
        (Axis::Stream(_), Direction::Forward) => chunks!(
            "where stream_id = (select id from stream where name = ?4)
                    and first_offset >= max(?2 + 1, coalesce(
                        (select max(first_offset) from chunk
                        where stream_id = (select id from stream where name = ?4) and first_offset <= ?1), ?1))
                order by first_offset limit ?3"
        ),
        (Axis::Stream(_), Direction::Backward) => chunks!(
            "where stream_id = (select id from stream where name = ?4) and first_offset <= min(?2 - 1, ?1)
                order by first_offset desc limit ?3"
        ),
    }
}

pub(super) async fn read(
    connection: &mut SqliteConnection,
    axis: Axis<'_>,
    from: u64,
    direction: Direction,
    limit: PageLimit,
) -> Result<Vec<Event>, Failure> {
    let mut page = Page::new(axis, from, direction, limit);
    let events_max = limit.events.clamp(1, ROWS_MAX);
    // One more than events: the chunk that the page begins in may end before it.
    let mut rows_max = ROWS_FIRST.min(events_max + 1);
    while !page.is_full() {
        let mut query = sqlx::query(sql(axis, direction)).bind(signed(page.next())).bind(page.bound());
        query = query.bind(rows_max as i64);
        if let Axis::Stream(name) = axis {
            query = query.bind(name.as_str());
        }
        let (mut rows, mut count, mut left_out) = (query.fetch(&mut *connection), 0, None);
        while !page.is_full()
            && left_out.is_none()
            && let Some(row) = rows.try_next().await?
        {
            count += 1;
            match row.try_get::<Option<&[u8]>, _>(3)? {
                Some(run) => page.add(stored(&row, Bytes::copy_from_slice(run))?)?,
                None => left_out = Some(stored(&row, Bytes::new())?),
            }
        }
        drop(rows);
        match left_out {
            Some(chunk) => page.add(with_run(connection, chunk).await?)?,
            None if count < rows_max => page.finish(),
            None => rows_max = (rows_max * 4).min(ROWS_MAX),
        }
    }
    Ok(page.into_events())
}

/// The chunk with its run, where the query has left it out.
pub(super) async fn with_run(connection: &mut SqliteConnection, chunk: StoredChunk) -> Result<StoredChunk, Failure> {
    let query =
        sqlx::query_scalar("select run from chunk where first_position = ?").bind(signed(chunk.first_position.0));
    let run: Vec<u8> = query.fetch_one(connection).await?;
    Ok(StoredChunk { run: run.into(), ..chunk })
}

/// A row of a query for chunks, but for its run.
pub(super) fn stored(row: &SqliteRow, run: Bytes) -> sqlx::Result<StoredChunk> {
    let crc = u32::try_from(row.try_get::<i64, _>(2)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let first_position = Position(row.try_get::<i64, _>(0)?.cast_unsigned());
    Ok(StoredChunk { first_position, stream_id: row.try_get(1)?, crc, run })
}
