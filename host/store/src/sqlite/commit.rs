//! The writer: commits a group of units in one transaction.
//!
//! That no id of a group is known is assumed, not asked: the insert of a known id fails, and only then,
//! or when a unit would be turned away for another reason, are the stored events looked up and the group
//! planned anew. So the usual group is one hop to SQLite's thread: begin, rows, commit.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Notify, OwnedMutexGuard};
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Event, Position};
use wasmill_core::name::StreamName;
use wasmill_core::record::GenerationId;
use wasmill_core::store::plan::{Snapshot, UnitPlan};
use wasmill_core::store::{Committed, Rejection, StoreError, Unit};

use super::changes::Changes;
use super::error::{Failure, is_known_event_id, is_no_transaction, store_error};
use super::log::{self, LogHead};
use super::rows::Statement;
use super::streams::{Head, Heads, StreamRow};

type Outcomes = Vec<Result<Committed, Rejection>>;

/// The one connection that writes, and what it knows without asking.
pub(super) struct Writer {
    pub(super) connection: Option<SqliteConnection>,
    pub(super) file: Arc<Path>,
    pub(super) head: LogHead,
    pub(super) heads: Heads,
    pub(super) checkpoints: HashMap<GenerationId, Position>,
    /// Set while a transaction runs, and for good when its outcome is not known.
    pub(super) in_doubt: bool,
    /// Tells the checkpointer that there is something to do.
    pub(super) committed: Arc<Notify>,
}

/// A group whose fate is decided, ready to be written.
struct Group {
    outcomes: Outcomes,
    transaction: Transaction,
}

#[derive(Default)]
struct Transaction {
    statements: Vec<Statement>,
    /// Statement whose row count belongs to the unit's answer, and the unit.
    removals: Vec<(usize, usize)>,
    /// The statements are a whole transaction by themselves.
    whole: bool,
    /// What the writer knows once this is committed.
    head: Option<LogHead>,
    streams: Vec<StreamRow>,
    checkpoints: Option<HashMap<GenerationId, Position>>,
}

/// Why a transaction was not committed.
enum NotCommitted {
    KnownId,
    Because(StoreError),
}

/// Commits the units. Dropping the future leaves no transaction half done: each runs to its end in a
/// task of its own, which holds the writer meanwhile.
pub(super) async fn commit(
    mut writer: OwnedMutexGuard<Writer>,
    units: &[Unit],
    now: Timestamp,
) -> Result<Outcomes, StoreError> {
    let mut known = None;
    loop {
        let file = Arc::clone(&writer.file);
        let fail = |failure: Failure| failure.of(&file);
        let looked_up = known.is_some();
        let group = writer.plan(units, now, known.take().unwrap_or_default()).await.map_err(fail)?;
        let doubtful = |(unit, outcome): (&Unit, &Result<_, _>)| outcome.is_err() && !unit.appends.is_empty();
        if !looked_up && units.iter().zip(&group.outcomes).any(doubtful) {
            known = Some(writer.known(units).await.map_err(fail)?);
            continue;
        }
        let Group { mut outcomes, transaction } = group;
        if transaction.statements.is_empty() {
            return Ok(outcomes);
        }
        let running = tokio::spawn(async move {
            let result = writer.run(transaction).await;
            (writer, result)
        });
        let (returned, result) = running.await.map_err(|error| StoreError::Failed(error.into()))?;
        writer = returned;
        match result {
            Ok(removed) => {
                for (unit, count) in removed {
                    if let Ok(committed) = &mut outcomes[unit] {
                        committed.removed += count;
                    }
                }
                return Ok(outcomes);
            }
            Err(NotCommitted::KnownId) if !looked_up => known = Some(writer.known(units).await.map_err(fail)?),
            Err(NotCommitted::KnownId) => {
                return Err(super::error::damaged(&file, "an event id is known, but its event is not in the log"));
            }
            Err(NotCommitted::Because(error)) => return Err(error),
        }
    }
}

/// The connection, if the store is neither closed nor in doubt.
fn usable(connection: &mut Option<SqliteConnection>, in_doubt: bool) -> Result<&mut SqliteConnection, StoreError> {
    if in_doubt {
        return Err(StoreError::Failed("what an earlier commit wrote is not known".into()));
    }
    connection.as_mut().ok_or_else(|| StoreError::Unavailable("the store is closed".into()))
}

/// Runs the statements as one transaction and says how many rows each changed.
async fn execute(connection: &mut SqliteConnection, statements: Vec<Statement>, whole: bool) -> sqlx::Result<Vec<u64>> {
    let mut counts = Vec::with_capacity(statements.len());
    if !whole {
        sqlx::query("begin immediate").execute(&mut *connection).await?;
    }
    for statement in statements {
        counts.push(statement.execute(&mut *connection).await?.rows_affected());
    }
    if !whole {
        sqlx::query("commit").execute(connection).await?;
    }
    Ok(counts)
}

impl Writer {
    async fn plan(&mut self, units: &[Unit], now: Timestamp, known: HashMap<Uuid, Event>) -> Result<Group, Failure> {
        let connection = usable(&mut self.connection, self.in_doubt)?;
        let heads = self.heads.of(connection, units).await?;
        let changes = units.iter().any(|unit| !unit.changes.is_empty());
        let mut snapshot = Snapshot {
            next_position: self.head.next_position,
            recorded_at: self.head.recorded_at,
            next_offsets: heads.iter().map(|(name, head)| (name.clone(), head.next_offset)).collect(),
            known,
            checkpoints: if changes { self.checkpoints.clone() } else { HashMap::new() },
        };
        let plans: Vec<_> = units.iter().map(|unit| snapshot.plan(unit, now)).collect();
        let transaction = self.transaction(units, &plans, snapshot, &heads);
        let committed = |plan: UnitPlan| Committed { appends: plan.appends, chunks: plan.chunks, removed: 0 };
        Ok(Group { outcomes: plans.into_iter().map(|plan| plan.map(committed)).collect(), transaction })
    }

    /// What the units that pass write.
    fn transaction(
        &self,
        units: &[Unit],
        plans: &[Result<UnitPlan, Rejection>],
        after: Snapshot,
        heads: &HashMap<StreamName, Head>,
    ) -> Transaction {
        let passing = || units.iter().zip(plans).enumerate().filter(|(_, (_, plan))| plan.is_ok());
        let chunks: Vec<&Chunk> = plans.iter().flatten().flat_map(|plan| &plan.chunks).collect();
        let changes = passing().flat_map(|(n, (unit, _))| unit.changes.iter().map(move |change| (n, change)));
        let changes = Changes::of(changes);
        let mut transaction = Transaction { whole: changes.statements.is_empty(), ..Transaction::default() };
        if !chunks.is_empty() {
            let head = LogHead { next_position: after.next_position, recorded_at: after.recorded_at };
            let streams = self.heads.after(heads, chunks.iter().copied());
            transaction.statements.push(log::append(&chunks, &streams, head, transaction.whole));
            (transaction.head, transaction.streams) = (Some(head), streams);
        }
        if !changes.statements.is_empty() {
            transaction.checkpoints = Some(after.checkpoints);
            let before = transaction.statements.len();
            transaction.removals = changes.removals.into_iter().map(|(n, unit)| (before + n, unit)).collect();
            transaction.statements.extend(changes.statements);
        }
        transaction
    }

    /// The events that are stored under ids of the units.
    async fn known(&mut self, units: &[Unit]) -> Result<HashMap<Uuid, Event>, Failure> {
        let ids = units.iter().flat_map(|unit| &unit.appends).flat_map(|append| append.events.iter());
        let ids: HashSet<Uuid> = ids.map(|event| event.id).collect();
        let events = log::find(usable(&mut self.connection, self.in_doubt)?, &ids).await?;
        Ok(events.into_iter().map(|event| (event.id(), event)).collect())
    }

    async fn run(&mut self, transaction: Transaction) -> Result<Vec<(usize, u64)>, NotCommitted> {
        let file = Arc::clone(&self.file);
        let connection = usable(&mut self.connection, self.in_doubt).map_err(NotCommitted::Because)?;
        self.in_doubt = true;
        match execute(connection, transaction.statements, transaction.whole).await {
            Ok(counts) => {
                self.in_doubt = false;
                self.head = transaction.head.unwrap_or(self.head);
                self.heads.keep(transaction.streams);
                if let Some(checkpoints) = transaction.checkpoints {
                    self.checkpoints = checkpoints;
                }
                self.committed.notify_one();
                Ok(transaction.removals.into_iter().map(|(statement, unit)| (unit, counts[statement])).collect())
            }
            Err(error) => Err(self.back_out(&file, error).await),
        }
    }

    /// After an error of a statement: undoes what the transaction did, if that is certain to be possible.
    async fn back_out(&mut self, file: &Path, error: sqlx::Error) -> NotCommitted {
        let why = if is_known_event_id(&error) {
            NotCommitted::KnownId
        } else {
            match store_error(file, error) {
                failed @ StoreError::Failed(_) => return NotCommitted::Because(failed),
                other => NotCommitted::Because(other),
            }
        };
        let Some(connection) = &mut self.connection else { return why };
        match sqlx::query("rollback").execute(connection).await {
            Ok(_) => {}
            Err(error) if is_no_transaction(&error) => {}
            Err(error) => return NotCommitted::Because(StoreError::Failed(error.into())),
        }
        self.in_doubt = false;
        why
    }
}
