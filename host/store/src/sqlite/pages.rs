//! Pages of the log and of streams: bounded by events and bytes, without loading far more than a page.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use wasmill_core::event::{Event, Position};
use wasmill_core::name::StreamName;
use wasmill_core::store::{Direction, PageLimit, StoreError};

use super::error::Failure;
use super::rows::signed;
use crate::chunk::StoredChunk;

/// Chunks asked for by the first query of a page, and by one query at most. Each asks for four times
/// as many as the one before: a page is a few hundred large chunks or thousands of small ones, and a
/// query that is ended early has loaded up to 50 rows that nobody wants.
const ROWS_FIRST: usize = 32;
const ROWS_MAX: usize = 4_096;

/// What a page runs along.
#[derive(Clone, Copy, Debug)]
pub(super) enum Axis<'a> {
    /// The whole log, by position.
    Log,
    /// One stream, by offset.
    Stream(&'a StreamName),
}

/// The beginning of every query for chunks. Runs above 64 KiB are left out and fetched one by one, so
/// that the rows that wait between SQLite's thread and the reader's are small.
macro_rules! chunks {
    ($rest:literal) => {
        concat!("select first_position, stream_id, crc, iif(length(run) <= 65536, run, null) from chunk ", $rest)
    };
}
pub(super) use chunks;

impl Axis<'_> {
    /// A page that begins inside a chunk begins with that chunk. Parameters: where the page goes on, the
    /// place of the chunk opened last, rows, name of the stream. One bound a query, not two: SQLite
    /// would seek by either of them and look at all that lies between.
    fn sql(self, direction: Direction) -> &'static str {
        match (self, direction) {
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

    fn place(self, event: &Event) -> u64 {
        match self {
            Axis::Log => event.position().0,
            Axis::Stream(_) => event.offset().0,
        }
    }
}

pub(super) async fn read(
    connection: &mut SqliteConnection,
    axis: Axis<'_>,
    from: u64,
    direction: Direction,
    limit: PageLimit,
) -> Result<Vec<Event>, Failure> {
    let mut page = Page {
        axis,
        direction,
        limit,
        next: from,
        opened: None,
        events: Vec::new(),
        bytes: 0,
        end: false,
        chunk: Vec::new(),
    };
    let events_max = limit.events.clamp(1, ROWS_MAX);
    // One more than events: the chunk that the page begins in may end before it.
    let mut rows_max = ROWS_FIRST.min(events_max + 1);
    while !page.end {
        let mut query = sqlx::query(axis.sql(direction)).bind(signed(page.next)).bind(page.bound());
        query = query.bind(rows_max as i64);
        if let Axis::Stream(name) = axis {
            query = query.bind(name.as_str());
        }
        let (mut rows, mut count, mut left_out) = (query.fetch(&mut *connection), 0, None);
        while !page.end
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
            None if count < rows_max => page.end = true,
            None => rows_max = (rows_max * 4).min(ROWS_MAX),
        }
    }
    Ok(page.events)
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

struct Page<'a> {
    axis: Axis<'a>,
    direction: Direction,
    limit: PageLimit,
    /// The place that the next event may have, or the last one when reading backwards.
    next: u64,
    /// Place of the chunk opened last. No query gives it again: a page that begins behind a chunk's
    /// end would find that chunk for ever.
    opened: Option<u64>,
    events: Vec<Event>,
    bytes: usize,
    /// The page is full, or nothing is left.
    end: bool,
    /// Kept between chunks for its memory.
    chunk: Vec<Event>,
}

impl Page<'_> {
    /// Chunks of the next query lie beyond this place.
    fn bound(&self) -> i64 {
        match (self.opened, self.direction) {
            (Some(opened), _) => signed(opened),
            (None, Direction::Forward) => -1,
            (None, Direction::Backward) => i64::MAX,
        }
    }

    /// Takes what the page wants of a chunk. The first chunk may lie before the page, or reach into it;
    /// the others have to follow one another.
    fn add(&mut self, stored: StoredChunk) -> Result<(), StoreError> {
        let at = stored.first_position;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        stored.open(&mut chunk)?;
        let (first, last) = (self.axis.place(&chunk[0]), self.axis.place(&chunk[chunk.len() - 1]));
        let follows = match (self.opened, self.direction) {
            (None, Direction::Forward) => true,
            (Some(_), Direction::Forward) => first >= self.next,
            (None, Direction::Backward) => first <= self.next,
            (Some(_), Direction::Backward) => last <= self.next,
        };
        self.opened = Some(first);
        if let Axis::Stream(name) = self.axis
            && chunk[0].stream() != name.as_str()
        {
            return Err(StoreError::Damaged {
                what: format!("the chunk at position {at} is not one of stream `{name}`"),
            });
        }
        if !follows {
            return Err(StoreError::Damaged { what: format!("the chunk at position {at} is out of order") });
        }
        match self.direction {
            Direction::Forward => {
                let skip = usize::try_from(self.next.saturating_sub(first)).unwrap_or(usize::MAX);
                chunk.drain(..).skip(skip).all(|event| self.take(event));
                self.next = self.next.max(last + 1);
            }
            Direction::Backward => {
                let skip = usize::try_from(last.saturating_sub(self.next)).unwrap_or(usize::MAX);
                chunk.drain(..).rev().skip(skip).all(|event| self.take(event));
                match first.checked_sub(1) {
                    Some(before) => self.next = before,
                    None => self.end = true,
                }
            }
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Whether the page goes on behind the event.
    fn take(&mut self, event: Event) -> bool {
        self.bytes += event.raw().len();
        if self.events.is_empty() || self.bytes <= self.limit.bytes {
            self.events.push(event);
            self.end = self.events.len() >= self.limit.events || self.bytes >= self.limit.bytes;
        } else {
            self.end = true;
        }
        !self.end
    }
}
