//! The writer: commits a group of units in one transaction, beside other hosts that do the same.
//!
//! Places are assigned under a lock on the log's head that is held until the commit is over, so they
//! appear in the order of commits. The usual group takes one round trip: it is planned from what the
//! writer knows, and its one statement fails if another host has appended meanwhile. Only then, or when a
//! unit does more than append, is the head locked first and the group planned under the lock.
//!
//! Every transaction begins by noting its number in the host's row. A writer that loses its connection
//! [connects anew](super::connect), which fences the old one off, and reads there whether its last group
//! was committed.

use std::collections::{HashMap, HashSet};
use std::io;

use lru::LruCache;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Event, Position};
use wasmill_core::record::GenerationId;
use wasmill_core::store::plan::{Known, Snapshot, UnitPlan};
use wasmill_core::store::{Change, Committed, Rejection, StoreError, Unit};

use super::changes::{Changes, Statement};
use super::connect::{LastCommit, Waits};
use super::error::{Failure, is_known_event_id, is_lost, is_overtaken, is_shut_out, store_error};
use super::log::{self, Fence, LogHead, Rows};
use super::{documents, filtered, plugins, removal, streams};
use crate::heads::{Heads, StreamRow};
use crate::number::signed;

type Outcomes = Vec<Result<Committed, Rejection>>;

/// Times that a group is begun anew before the store is said to be unavailable. Two are the usual limit:
/// once because another host was faster, once because an id is known.
const ATTEMPTS_MAX: usize = 10;

/// The one connection that writes, and what it knows without asking.
pub(super) struct Writer {
    pub(super) options: PgConnectOptions,
    pub(super) waits: Waits,
    pub(super) connection: Option<PgConnection>,
    /// Whether a transaction is open on the connection.
    pub(super) begun: bool,
    pub(super) host: Uuid,
    pub(super) epoch: i64,
    /// Number of the group begun last.
    pub(super) commit: i64,
    pub(super) head: LogHead,
    pub(super) heads: Heads,
    /// Event types that are certain to be stored.
    pub(super) types: LruCache<String, ()>,
    /// What is known of head and streams has to be read again.
    pub(super) stale: bool,
    /// Set while a group is committed: found set by the next one, the last was given up in between.
    pub(super) busy: bool,
    pub(super) closed: bool,
}

/// How a group is tried.
#[derive(Clone, Copy, Default)]
struct Attempt {
    /// Under a lock on the head, since what the writer knows is not enough.
    locked: bool,
    /// With the events that are stored under ids of the units, since one is known.
    looked_up: bool,
}

/// A group whose transaction is on its way.
struct Sent {
    outcomes: Outcomes,
    head: Option<LogHead>,
    streams: Vec<StreamRow>,
    types: Vec<String>,
    revises: bool,
}

enum Tried {
    Done(Outcomes),
    /// An outcome depends on whether ids are known.
    LookUp,
}

impl Writer {
    pub(super) async fn commit(&mut self, units: &[Unit], now: Timestamp) -> Result<Outcomes, StoreError> {
        self.ready().await?;
        self.busy = true;
        let outcomes = self.try_until_settled(units, now).await;
        self.busy = false;
        outcomes
    }

    async fn try_until_settled(&mut self, units: &[Unit], now: Timestamp) -> Result<Outcomes, StoreError> {
        let mut attempt = Attempt::default();
        let mut give_up = None;
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let mut sent = None;
            let tried = timeout(self.waits.answer, self.attempt(units, now, attempt, &mut sent)).await;
            let error =
                match tried.unwrap_or_else(|_| Err(Failure::Sql(io::Error::from(io::ErrorKind::TimedOut).into()))) {
                    Ok(Tried::Done(outcomes)) => return Ok(outcomes),
                    Ok(Tried::LookUp) => {
                        attempt.looked_up = true;
                        continue;
                    }
                    Err(Failure::Store(error)) => {
                        self.roll_back().await;
                        return Err(error);
                    }
                    Err(Failure::Sql(error)) => error,
                };
            if is_shut_out(&error) {
                // Certain not to be committed.
                sent = None;
            }
            if is_lost(&error) || is_shut_out(&error) {
                let give_up = *give_up.get_or_insert_with(|| Instant::now() + self.waits.reconnect);
                match (self.reconnect().await, sent) {
                    (Ok(LastCommit::Number(number)), Some(sent)) if number == self.commit => return Ok(self.keep(sent)),
                    (Ok(LastCommit::Forgotten) | Err(_), Some(_)) => return Err(StoreError::Unknown(error.into())),
                    (Err(unavailable), None) => return Err(unavailable),
                    (Ok(_), _) if Instant::now() >= give_up => return Err(StoreError::Unavailable(error.into())),
                    (Ok(_), _) => {}
                }
            } else {
                self.roll_back().await;
                if is_overtaken(&error) {
                    attempt.locked = true;
                } else if is_known_event_id(&error) && !attempt.looked_up {
                    attempt.looked_up = true;
                } else if is_known_event_id(&error) {
                    let what = "the database: an event id is known, but its event is not in the log".into();
                    return Err(StoreError::Damaged { what });
                } else {
                    return Err(store_error(error));
                }
            }
            last = Some(error);
        }
        let last = last.map_or_else(|| "the group was looked up again and again".into(), |error| error.to_string());
        Err(StoreError::Unavailable(last.into()))
    }

    async fn attempt(
        &mut self,
        units: &[Unit],
        now: Timestamp,
        attempt: Attempt,
        sent: &mut Option<Sent>,
    ) -> Result<Tried, Failure> {
        self.commit += 1;
        let fence = Fence { host: self.host, epoch: self.epoch, commit: self.commit };
        let appends = units.iter().any(|unit| !unit.appends.is_empty());
        let changes = units.iter().any(|unit| !unit.changes.is_empty() || !unit.guards.is_empty());
        // The head is locked before any other row, so that two hosts are not in each other's way.
        let locks = attempt.locked || self.stale || (changes && appends) || units.iter().any(needs_the_head);
        let begun = locks || changes;
        let connection = self.connection.as_mut().ok_or_else(lost)?;
        if begun {
            self.begun = true;
            sqlx::query("begin").execute(&mut *connection).await?;
        }
        let head = match (locks, attempt.looked_up) {
            (true, _) => Some(log::lock(connection, fence).await?),
            // What is turned away is not checked by an append: it must not be judged by what was known
            // before another host has appended.
            (false, true) => Some(log::head(connection).await?.1),
            (false, false) => None,
        };
        if let Some(head) = head {
            head.check_follows(self.head)?;
            if self.stale || head.version != self.head.version {
                self.heads.start_over(head.next_stream_id);
            }
            (self.head, self.stale) = (head, false);
        }
        if begun && !locks {
            let begin = sqlx::query("select wasmill_begin($1, $2, $3)");
            begin.bind(fence.host).bind(fence.epoch).bind(fence.commit).execute(&mut *connection).await?;
        }
        let names = units.iter().flat_map(Unit::streams);
        let heads = streams::heads(connection, &mut self.heads, names).await?;
        let generations = named_generations(units);
        let mut snapshot = Snapshot {
            next_position: self.head.next_position,
            recorded_at: self.head.recorded_at,
            streams: heads.iter().map(|(name, head)| (name.clone(), head.stream)).collect(),
            known: if attempt.looked_up { known(connection, units).await? } else { HashMap::new() },
            matching: HashMap::new(),
            appended: Vec::new(),
            checkpoints: match generations.is_empty() {
                true => HashMap::new(),
                false => plugins::lock(connection, generations).await?,
            },
            guarded: documents::guarded(connection, units).await?,
        };
        for condition in units.iter().flat_map(|unit| &unit.conditions) {
            snapshot.matching.insert(condition.clone(), filtered::matching(connection, condition).await?);
        }
        let plans: Vec<_> = units.iter().map(|unit| snapshot.plan(unit, now)).collect();
        let doubtful = |(unit, plan): (&Unit, &Result<_, _>)| plan.is_err() && !unit.appends.is_empty();
        if !attempt.looked_up && units.iter().zip(&plans).any(doubtful) {
            self.roll_back().await;
            return Ok(Tried::LookUp);
        }
        let chunks: Vec<&Chunk> = plans.iter().flatten().flat_map(|plan| &plan.chunks).collect();
        let rows = self.heads.after(&heads, chunks.iter().copied());
        let types = new_types(&self.types, &chunks);
        let next_stream_id = rows.iter().map(|row| row.head.id + 1).fold(self.head.next_stream_id, i64::max);
        let after = LogHead {
            next_position: snapshot.next_position,
            next_stream_id,
            version: self.head.version + 1,
            recorded_at: snapshot.recorded_at,
        };
        let passing = units.iter().zip(&plans).enumerate().filter(|(_, (_, plan))| plan.is_ok());
        let passing = passing.flat_map(|(n, (unit, _))| unit.changes.iter().map(move |change| (n, change)));
        let changes = Changes::of(passing);
        let mut group = Group { statements: Vec::new(), removals: Vec::new(), revises: changes.revises };
        let appended = !chunks.is_empty();
        if appended {
            let rows = Rows::of(&chunks, rows.clone(), types.clone());
            group.statements.push(log::append(fence, self.head, after, rows));
        }
        let before = group.statements.len();
        group.removals = changes.removals.into_iter().map(|(n, unit)| (before + n, unit)).collect();
        group.statements.extend(changes.statements);
        let mut removed = 0;
        if let ([unit], [Ok(_)]) = (units, &plans[..])
            && unit.stands_alone()
        {
            for change in &unit.changes {
                if let Some(prepared) = removal::prepare(connection, change, now).await? {
                    removed += prepared.removed;
                    group.revises |= prepared.revises;
                    group.statements.extend(prepared.statements);
                }
            }
        }
        let committed = |plan: UnitPlan| Committed { appends: plan.appends, chunks: plan.chunks, removed };
        let outcomes: Outcomes = plans.into_iter().map(|plan| plan.map(committed)).collect();
        if group.statements.is_empty() {
            self.roll_back().await;
            return Ok(Tried::Done(outcomes));
        }
        if group.revises && !appended {
            group.statements.push(sqlx::query("select wasmill_notify($1)").bind(fence.host));
        }
        let revises = group.revises && units.iter().any(Unit::stands_alone);
        *sent = Some(Sent { outcomes, head: appended.then_some(after), streams: rows, types, revises });
        for (n, statement) in group.statements.into_iter().enumerate() {
            let count = statement.execute(&mut *connection).await?.rows_affected();
            if let Some((_, unit)) = group.removals.iter().find(|(of, _)| *of == n)
                && let Some(Ok(committed)) = sent.as_mut().map(|sent| &mut sent.outcomes[*unit])
            {
                committed.removed += count;
            }
        }
        if begun {
            sqlx::query("commit").execute(connection).await?;
            self.begun = false;
        }
        Ok(Tried::Done(sent.take().map(|sent| self.keep(sent)).unwrap_or_default()))
    }

    /// Takes note of what was committed.
    fn keep(&mut self, sent: Sent) -> Outcomes {
        if let Some(head) = sent.head {
            self.head = head;
        }
        self.heads.keep(sent.streams);
        for name in sent.types {
            self.types.put(name, ());
        }
        self.stale |= sent.revises;
        sent.outcomes
    }
}

struct Group {
    statements: Vec<Statement>,
    /// A statement whose row count belongs to a unit's answer, and that unit.
    removals: Vec<(usize, usize)>,
    revises: bool,
}

fn lost() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::NotConnected.into())
}

/// Whether nothing but a lock on the head makes it certain what the unit sees or changes.
fn needs_the_head(unit: &Unit) -> bool {
    let configures = |change: &Change| matches!(change, Change::PutStreamConfig { .. } | Change::Revise);
    let only_checks = unit.appends.is_empty() && !unit.checks.is_empty();
    only_checks || unit.stands_alone() || unit.changes.iter().any(configures)
}

/// Generations whose checkpoints decide whether a unit passes.
fn named_generations(units: &[Unit]) -> Vec<i64> {
    let named = units.iter().flat_map(|unit| &unit.changes).filter_map(|change| match change {
        Change::PutDocuments { generation, .. }
        | Change::Advance { generation, .. }
        | Change::SetGenerationState { generation, .. } => {
            Some(*generation).filter(|generation| *generation != GenerationId::HOST)
        }
        _ => None,
    });
    let mut ids: Vec<i64> = named.map(|GenerationId(id)| signed(id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Types that are not certain to be stored.
pub(super) fn new_types(stored: &LruCache<String, ()>, chunks: &[&Chunk]) -> Vec<String> {
    let mut types: Vec<&str> = Vec::new();
    for event in chunks.iter().flat_map(|chunk| &chunk.events) {
        let event_type = event.event_type();
        if types.last() != Some(&event_type) && !stored.contains(event_type) {
            types.push(event_type);
        }
    }
    types.sort_unstable();
    types.dedup();
    types.into_iter().map(str::to_owned).collect()
}

/// The events that are stored, or were, under ids of the units.
async fn known(connection: &mut PgConnection, units: &[Unit]) -> Result<HashMap<Uuid, Known>, Failure> {
    let ids = units.iter().flat_map(|unit| &unit.appends).flat_map(|append| append.events.iter());
    let ids: HashSet<Uuid> = ids.map(|event| event.id).collect();
    let events: Vec<Event> = log::find(connection, &ids).await?;
    let mut known: HashMap<_, _> = events.into_iter().map(|event| (event.id(), Known::Stored(event))).collect();
    let others: HashSet<Uuid> = ids.into_iter().filter(|id| !known.contains_key(id)).collect();
    let removed = log::find_removed(connection, &others).await?;
    known.extend(removed.into_iter().map(|event| (event.id, Known::Removed(event))));
    Ok(known)
}

/// Where a fresh writer begins; it reads all that before its first group.
pub(super) const UNKNOWN_HEAD: LogHead =
    LogHead { next_position: Position(0), next_stream_id: 1, version: -1, recorded_at: Timestamp(0) };
