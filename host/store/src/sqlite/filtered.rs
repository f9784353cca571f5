//! Reads of the log by a filter: through the index where it helps, else by looking through the log.

use std::fmt::Write;

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use wasmill_core::event::{Event, Position};
use wasmill_core::limits::read::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use wasmill_core::log::filter::Filter;
use wasmill_core::store::{AppendCondition, Direction, LogRead, PageLimit};

use super::error::Failure;
use super::pages::{self, chunks};
use crate::matches::Matches;
use crate::number::signed;
use crate::page::Axis;
use crate::term::{self, Lookup, Term};
use crate::walk::{STEPS_MAX, Walk, start, union};

/// What one read looks through at most where no index helps.
const SCAN: PageLimit = PageLimit { events: PAGE_EVENTS_MAX, bytes: PAGE_BYTES_MAX };

/// Each step asks every group of terms for its next chunk; where all name the same, that one may match.
/// Parameters: where to begin, the groups as JSON, steps.
const FORWARD: &str = "
    with recursive walk(step, remaining) as (
        select coalesce((select max(first_position) from chunk where first_position <= ?1), ?1) * 2, ?3
        union all
        select
            (select max(next) * 2 + (max(next) = min(next)) from (
                select (select min(coalesce(
                    (select first_position from posting
                    where term = t.value and first_position >= (step >> 1) + (step & 1)
                    order by first_position limit 1), 1 << 53)) from json_each(g.value) t) as next
                from json_each(?2) g)),
            remaining - 1
        from walk where remaining > 0 and step >> 1 < 1 << 53)
    select step from walk";
const BACKWARD: &str = "
    with recursive walk(step, remaining) as (
        select ?1 * 2, ?3
        union all
        select
            (select min(next) * 2 + (max(next) = min(next)) from (
                select (select max(coalesce(
                    (select first_position from posting
                    where term = t.value and first_position <= (step >> 1) - (step & 1)
                    order by first_position desc limit 1), -1)) from json_each(g.value) t) as next
                from json_each(?2) g)),
            remaining - 1
        from walk where remaining > 0 and step >= 0)
    select step from walk";

pub(super) async fn read(
    connection: &mut SqliteConnection,
    from: Position,
    direction: Direction,
    filter: &Filter,
    limit: PageLimit,
) -> Result<LogRead, Failure> {
    let Some(walk) = walk(connection, from, direction, filter).await? else {
        let events = pages::read(connection, Axis::Log, from.0, direction, SCAN).await?;
        return Ok(Matches::of_page(events, direction, filter, limit));
    };
    let mut matches = Matches::new(from, direction, filter, limit);
    if !walk.found.is_empty() {
        fetch(connection, &walk.found, direction, &mut matches).await?;
    }
    Ok(matches.finish(walk.next))
}

/// Chunks that may match; `None` when the index does not know.
async fn walk(
    connection: &mut SqliteConnection,
    from: Position,
    direction: Direction,
    filter: &Filter,
) -> Result<Option<Walk>, Failure> {
    let types = if term::needs_types(filter.terms()) { types(connection).await? } else { Vec::new() };
    let mut walks = Vec::with_capacity(filter.terms().len());
    for filter in filter.terms() {
        match term::lookup(filter, &types) {
            Lookup::Scan => return Ok(None),
            Lookup::Nothing => {}
            Lookup::Groups(groups) => {
                let sql = if direction == Direction::Forward { FORWARD } else { BACKWARD };
                let query = sqlx::query_scalar(sql).bind(start(from, direction)).bind(json(&groups)).bind(STEPS_MAX);
                let steps: Vec<i64> = query.fetch_all(&mut *connection).await?;
                walks.push(Walk::of_steps(steps, direction));
            }
        }
    }
    Ok(Some(union(walks, direction)))
}

async fn types(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select name from event_type").fetch_all(connection).await
}

fn json(groups: &[Vec<Term>]) -> String {
    let mut json = String::from("[");
    for (n, group) in groups.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(json, "{comma}{group:?}").expect("a string takes all that is written to it");
    }
    json.push(']');
    json
}

async fn fetch(
    connection: &mut SqliteConnection,
    found: &[i64],
    direction: Direction,
    matches: &mut Matches<'_>,
) -> Result<(), Failure> {
    const UP: &str = chunks!("where first_position in (select value from json_each(?)) order by first_position");
    const DOWN: &str = chunks!("where first_position in (select value from json_each(?)) order by first_position desc");
    let mut found = found;
    while !matches.is_full() && !found.is_empty() {
        let sql = if direction == Direction::Forward { UP } else { DOWN };
        let (mut rows, mut left_out) = (sqlx::query(sql).bind(format!("{found:?}")).fetch(&mut *connection), None);
        while !matches.is_full()
            && left_out.is_none()
            && let Some(row) = rows.try_next().await?
        {
            match row.try_get::<Option<&[u8]>, _>(3)? {
                Some(run) => matches.add(pages::stored(&row, Bytes::copy_from_slice(run))?)?,
                None => left_out = Some(pages::stored(&row, Bytes::new())?),
            }
        }
        drop(rows);
        let Some(chunk) = left_out else { return Ok(()) };
        let at = signed(chunk.first_position.0);
        matches.add(pages::with_run(connection, chunk).await?)?;
        let done = found.iter().position(|place| *place == at).map_or(found.len(), |n| n + 1);
        found = &found[done..];
    }
    Ok(())
}

/// Position of an event that breaks the condition.
pub(super) async fn matching(
    connection: &mut SqliteConnection,
    condition: &AppendCondition,
) -> Result<Option<Position>, Failure> {
    const ONE: PageLimit = PageLimit { events: 1, bytes: 1 };
    let mut next = Some(condition.after.map_or(Position(0), |after| Position(after.0.saturating_add(1))));
    while let Some(from) = next {
        let read = if condition.query.matches_all() {
            let events = pages::read(connection, Axis::Log, from.0, Direction::Forward, ONE).await?;
            LogRead { events, next: None }
        } else {
            read(connection, from, Direction::Forward, &condition.query, ONE).await?
        };
        if let Some(event) = read.events.first() {
            return Ok(Some(Event::position(event)));
        }
        next = read.next;
    }
    Ok(None)
}
