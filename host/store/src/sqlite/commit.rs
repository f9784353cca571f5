//! The writer: commits a group of units in one transaction.
//!
//! That no id of a group is known is assumed, not asked: the insert of a known id fails, and only then,
//! or when a unit would be turned away for another reason, are the stored events looked up and the group
//! planned anew. So the usual group is one hop to SQLite's thread: begin, rows, commit.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use lru::LruCache;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Notify, OwnedMutexGuard};
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Position};
use wasmill_core::name::StreamName;
use wasmill_core::record::GenerationId;
use wasmill_core::store::plan::{Known, Snapshot, UnitPlan};
use wasmill_core::store::{Committed, Import, Rejection, StoreError, Unit};

use super::changes::Changes;
use super::documents;
use super::error::{Failure, is_known_event_id, is_no_transaction, store_error};
use super::filtered;
use super::import;
use super::log::{self, LogHead};
use super::removal::{self, Prepared};
use super::rows::Statement;
use super::streams;
use crate::chunk::chunks_of;
use crate::heads::{Head, Heads, StreamRow};

type Outcomes = Vec<Result<Committed, Rejection>>;

/// The one connection that writes, and what it knows without asking.
pub(super) struct Writer {
    pub(super) connection: Option<SqliteConnection>,
    pub(super) file: Arc<Path>,
    pub(super) head: LogHead,
    pub(super) heads: Heads,
    pub(super) checkpoints: HashMap<GenerationId, Position>,
    /// Event types that are certain to be stored.
    pub(super) types: LruCache<String, ()>,
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
    types: Vec<String>,
    forget: Vec<StreamName>,
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

impl Transaction {
    fn add(&mut self, prepared: Prepared) {
        // One statement of a prepared change may hold several: they need a transaction around them.
        self.whole = false;
        self.statements.extend(prepared.statements);
        self.forget.extend(prepared.stream);
    }
}

impl Writer {
    async fn plan(&mut self, units: &[Unit], now: Timestamp, known: HashMap<Uuid, Known>) -> Result<Group, Failure> {
        let connection = usable(&mut self.connection, self.in_doubt)?;
        let heads = streams::heads(connection, &mut self.heads, units.iter().flat_map(Unit::streams)).await?;
        let changes = units.iter().any(|unit| !unit.changes.is_empty());
        let mut snapshot = Snapshot {
            next_position: self.head.next_position,
            recorded_at: self.head.recorded_at,
            streams: heads.iter().map(|(name, head)| (name.clone(), head.stream)).collect(),
            known,
            matching: HashMap::new(),
            appended: Vec::new(),
            checkpoints: if changes { self.checkpoints.clone() } else { HashMap::new() },
            guarded: documents::guarded(connection, units).await?,
        };
        for condition in units.iter().flat_map(|unit| &unit.conditions) {
            let connection = usable(&mut self.connection, self.in_doubt)?;
            snapshot.matching.insert(condition.clone(), filtered::matching(connection, condition).await?);
        }
        let plans: Vec<_> = units.iter().map(|unit| snapshot.plan(unit, now)).collect();
        let mut transaction = self.transaction(units, &plans, snapshot, &heads);
        let mut removed = 0;
        if let ([unit], [Ok(_)]) = (units, &plans[..])
            && unit.stands_alone()
        {
            for change in &unit.changes {
                let connection = usable(&mut self.connection, self.in_doubt)?;
                if let Some(prepared) = removal::prepare(connection, change, now).await? {
                    removed += prepared.removed;
                    transaction.add(prepared);
                }
            }
        }
        let committed = |plan: UnitPlan| Committed { appends: plan.appends, chunks: plan.chunks, removed };
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
            let types = self.new_types(&chunks);
            transaction.statements.push(log::append(&chunks, &streams, &types, head, transaction.whole));
            (transaction.head, transaction.streams, transaction.types) = (Some(head), streams, types);
        }
        if !changes.statements.is_empty() {
            transaction.checkpoints = Some(after.checkpoints);
            let before = transaction.statements.len();
            transaction.removals = changes.removals.into_iter().map(|(n, unit)| (before + n, unit)).collect();
            transaction.statements.extend(changes.statements);
        }
        transaction
    }

    /// Types that are not certain to be stored.
    fn new_types(&self, chunks: &[&Chunk]) -> Vec<String> {
        let mut types: Vec<&str> = Vec::new();
        for event in chunks.iter().flat_map(|chunk| &chunk.events) {
            let event_type = event.event_type();
            if types.last() != Some(&event_type) && !self.types.contains(event_type) {
                types.push(event_type);
            }
        }
        types.sort_unstable();
        types.dedup();
        types.into_iter().map(str::to_owned).collect()
    }

    /// The events that are stored, or were, under ids of the units.
    async fn known(&mut self, units: &[Unit]) -> Result<HashMap<Uuid, Known>, Failure> {
        let ids = units.iter().flat_map(|unit| &unit.appends).flat_map(|append| append.events.iter());
        let ids: HashSet<Uuid> = ids.map(|event| event.id).collect();
        let connection = usable(&mut self.connection, self.in_doubt)?;
        let events = log::find(connection, &ids).await?;
        let mut known: HashMap<_, _> = events.into_iter().map(|event| (event.id(), Known::Stored(event))).collect();
        let others: HashSet<Uuid> = ids.into_iter().filter(|id| !known.contains_key(id)).collect();
        let removed = log::find_removed(connection, &others).await?;
        known.extend(removed.into_iter().map(|event| (event.id, Known::Removed(event))));
        Ok(known)
    }

    /// Takes over a part of another store. It may be repeated as a whole after an error.
    pub(super) async fn import(&mut self, part: Import) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        let fail = |failure: Failure| failure.of(&file);
        let sql = |error| store_error(&file, error);
        let mut transaction = Transaction::default();
        match part {
            Import::Events(events) => {
                let chunks = chunks_of(events);
                let names: Vec<StreamName> = chunks.iter().map(|chunk| chunk.stream.clone()).collect();
                let connection = usable(&mut self.connection, self.in_doubt)?;
                let heads = streams::heads(connection, &mut self.heads, names.iter()).await.map_err(sql)?;
                let streams = self.heads.after(&heads, chunks.iter());
                let types = self.new_types(&chunks.iter().collect::<Vec<_>>());
                transaction.statements = import::events(&chunks, &streams, &types);
                (transaction.streams, transaction.types) = (streams, types);
            }
            Import::Removed(events) => {
                let ids = import::stream_ids(usable(&mut self.connection, self.in_doubt)?).await.map_err(sql)?;
                let ids = ids.iter().map(|(name, id)| (name.as_str(), *id)).collect();
                transaction.statements = import::removed(&events, &ids);
            }
            Import::Streams(infos) => {
                transaction.forget = infos.iter().map(|info| info.name.clone()).collect();
                transaction.statements = vec![import::streams(&infos, self.heads.next_id())];
            }
            Import::Head { head, recorded_at } => {
                transaction.statements = vec![import::head(head, recorded_at)];
                transaction.head = Some(LogHead { next_position: head.next_position, recorded_at });
            }
        }
        if transaction.statements.is_empty() {
            return Ok(());
        }
        match self.run(transaction).await {
            Ok(_) => {
                let connection = usable(&mut self.connection, self.in_doubt)?;
                self.heads.start_over(streams::next_id(connection).await.map_err(sql)?);
                Ok(())
            }
            Err(NotCommitted::Because(error)) => Err(error),
            Err(NotCommitted::KnownId) => Err(fail(Failure::Store(StoreError::Damaged {
                what: "an event that is to be copied is there already".into(),
            }))),
        }
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
                transaction.forget.iter().for_each(|stream| self.heads.forget(stream));
                for name in transaction.types {
                    self.types.put(name, ());
                }
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
                // What it was about to change is damaged: nothing more is written to such a file.
                StoreError::Damaged { what } => return NotCommitted::Because(StoreError::Failed(what.into())),
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
