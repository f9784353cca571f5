//! Reads of the log by a filter: through the index where it helps, else by looking through the log.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use wasmill_core::event::{Event, Position};
use wasmill_core::limits::read::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use wasmill_core::log::filter::Filter;
use wasmill_core::store::{AppendCondition, Direction, LogRead, PageLimit};

use super::error::Failure;
use super::pages::{self, chunks};
use crate::matches::Matches;
use crate::page::Axis;
use crate::term::{self, Lookup, Term};
use crate::walk::{STEPS_MAX, Walk, start, union};

/// What one read looks through at most where no index helps.
const SCAN: PageLimit = PageLimit { events: PAGE_EVENTS_MAX, bytes: PAGE_BYTES_MAX };

/// Each step asks every group of terms for its next chunk; where all name the same, that one may match.
/// Parameters: where to begin, terms, the group of each, steps.
const FORWARD: &str = "
    with recursive walk(step, remaining) as (
        select coalesce((select max(first_position) from chunk where first_position <= $1), $1) * 2, $4
        union all
        select
            (select max(next) * 2 + (max(next) = min(next))::integer from (
                select min(coalesce(
                    (select first_position from posting p
                    where p.term = t.term and first_position >= (step >> 1) + (step & 1)
                    order by first_position limit 1), 9007199254740992)) as next
                from unnest($2::bigint[], $3::bigint[]) t (term, of_group) group by of_group) groups),
            remaining - 1
        from walk where remaining > 0 and step >> 1 < 9007199254740992)
    select step from walk";
const BACKWARD: &str = "
    with recursive walk(step, remaining) as (
        select $1::bigint * 2, $4
        union all
        select
            (select min(next) * 2 + (max(next) = min(next))::integer from (
                select max(coalesce(
                    (select first_position from posting p
                    where p.term = t.term and first_position <= (step >> 1) - (step & 1)
                    order by first_position desc limit 1), -1)) as next
                from unnest($2::bigint[], $3::bigint[]) t (term, of_group) group by of_group) groups),
            remaining - 1
        from walk where remaining > 0 and step >= 0)
    select step from walk";

pub(super) async fn read(
    connection: &mut PgConnection,
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
    fetch(connection, &walk.found, direction, &mut matches).await?;
    Ok(matches.finish(walk.next))
}

/// Chunks that may match; `None` when the index does not know.
async fn walk(
    connection: &mut PgConnection,
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
                let of_group = |(n, group): (i64, Vec<Term>)| group.into_iter().map(move |term| (term, n));
                let (terms, groups): (Vec<i64>, Vec<i64>) = (0..).zip(groups).flat_map(of_group).unzip();
                let query = sqlx::query_scalar(sql).bind(start(from, direction)).bind(terms).bind(groups);
                let steps: Vec<i64> = query.bind(STEPS_MAX).fetch_all(&mut *connection).await?;
                walks.push(Walk::of_steps(steps, direction));
            }
        }
    }
    Ok(Some(union(walks, direction)))
}

async fn types(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select name from event_type").fetch_all(connection).await
}

/// Fetches a few at first, since a small page is often full soon.
async fn fetch(
    connection: &mut PgConnection,
    found: &[i64],
    direction: Direction,
    matches: &mut Matches<'_>,
) -> Result<(), Failure> {
    const UP: &str = chunks!("where first_position = any($1) order by first_position");
    const DOWN: &str = chunks!("where first_position = any($1) order by first_position desc");
    let (mut found, mut count) = (found, 16);
    while !matches.is_full() && !found.is_empty() {
        let (now, later) = found.split_at(count.min(found.len()));
        let sql = if direction == Direction::Forward { UP } else { DOWN };
        let rows = sqlx::query(sql).bind(now).fetch(&mut *connection);
        let rows: Vec<_> = rows.try_collect().await?;
        for row in rows {
            if matches.is_full() {
                break;
            }
            let run = row.try_get::<Option<&[u8]>, _>(3)?.map(Bytes::copy_from_slice);
            let chunk = pages::stored(&row, run.clone().unwrap_or_default())?;
            matches.add(if run.is_some() { chunk } else { pages::with_run(connection, chunk).await? })?;
        }
        (found, count) = (later, count * 4);
    }
    Ok(())
}

/// Position of an event that breaks the condition.
pub(super) async fn matching(
    connection: &mut PgConnection,
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
