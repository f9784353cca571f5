//! The door to the groups: makes, changes and removes them, and leads to the task of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::config::{GroupConfig, GroupRecord, Start};
use super::context::Context;
use super::health::{GroupHealth, Shown};
use super::hosts::Hosts;
use super::runner::Runner;
use super::share::{SHARES, Share};
use super::{
    COLLECTION_DEAD_LETTERS, COLLECTION_GROUPS, COLLECTION_INTERESTS, COLLECTION_PARKED_KEYS, COLLECTION_REPLAYED,
    COLLECTION_SHARES, Command, GroupError, GroupStatus, Membership, SEPARATOR, ask, document, share_key, unit,
};
use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Offset, Position};
use crate::limits::{group as limits, read};
use crate::log::commit::CommitError;
use crate::log::publish::Publisher;
use crate::log::read::{ReadError, Reader};
use crate::log_id;
use crate::metrics::Metrics;
use crate::name::{self, StreamName};
use crate::receipt::Receipts;
use crate::record::GenerationId;
use crate::store::{Direction, DocumentChange, Guard, PageLimit, Rejection, StoreError};
use crate::stream::lifecycle::Streams;
use crate::tasks::Tasks;

/// Times that a change of a group is tried again because another host was faster.
pub(super) const TRIES_MAX: usize = 10;

/// All groups of a host. Cheap to clone.
#[derive(Clone)]
pub struct Groups(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) context: Context,
    tasks: Tasks,
    running: Mutex<HashMap<String, mpsc::Sender<Command>>>,
    shown: std::sync::Mutex<BTreeMap<String, Arc<Shown>>>,
    metrics: Arc<Metrics>,
}

impl GroupError {
    pub(super) fn store(error: StoreError) -> Self {
        GroupError::Store(Arc::new(error))
    }
}

impl From<ReadError> for GroupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => GroupError::store(error),
            ReadError::Stopped => GroupError::Stopped,
            ReadError::StreamNotFound(_) | ReadError::StreamDeleted(_) => GroupError::Argument(error.to_string()),
        }
    }
}

impl Groups {
    pub(crate) fn new(
        reader: Reader,
        publisher: Publisher,
        receipts: Receipts,
        clock: Arc<dyn Clock>,
        streams: Streams,
        tasks: Tasks,
    ) -> Self {
        let (store, committer) = (Arc::clone(&streams.store), streams.committer.clone());
        let (configs, metrics) = (streams.configs.clone(), Arc::clone(&streams.metrics));
        let host = Uuid::new_v4();
        let hosts = Arc::new(Hosts::new(host));
        if store.is_shared() {
            let (store, committer, clock) = (Arc::clone(&store), committer.clone(), Arc::clone(&clock));
            tasks.spawn("hosts", Arc::clone(&hosts).run(store, committer, clock, tasks.stop_token()));
        }
        let context = Context { store, committer, reader, clock, configs, streams, publisher, receipts, host, hosts };
        Self(Arc::new(Shared {
            context,
            tasks,
            running: Mutex::default(),
            shown: std::sync::Mutex::default(),
            metrics,
        }))
    }

    // Records.

    /// Makes a group that begins at `start`. One that is there already is left as it is if it has the same
    /// configuration; `true` if it was made.
    pub async fn create(&self, name: &str, config: GroupConfig, start: Start) -> Result<bool, GroupError> {
        check_name(name)?;
        config.check()?;
        if self.stored(name).await?.is_none() && self.list().await?.len() >= limits::GROUPS_MAX {
            return Err(GroupError::TooManyGroups);
        }
        let start = self.position_of(&config, start).await?.0;
        let created_at_us = self.0.context.clock.now().0;
        let record =
            GroupRecord { name: name.into(), config, queue: false, paused: false, resets: 0, start, created_at_us };
        match self.put(name, None, &record).await? {
            true => {
                tracing::info!(event_id = log_id::GROUP_CREATED, group = name, start, "a group was made");
                Ok(true)
            }
            false if self.record(name).await?.config == record.config => Ok(false),
            false => Err(GroupError::Exists(name.into())),
        }
    }

    pub async fn record(&self, name: &str) -> Result<GroupRecord, GroupError> {
        match self.stored(name).await? {
            Some((_, record)) => Ok(record),
            None => Err(GroupError::NotFound(name.into())),
        }
    }

    /// All groups, in byte order of their names.
    pub async fn list(&self) -> Result<Vec<GroupRecord>, GroupError> {
        let mut records = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let store = &self.0.context.store;
            let page =
                store.scan(GenerationId::HOST, COLLECTION_GROUPS, "", after.as_deref(), read::LIST_DOCUMENTS_MAX).await;
            let page = page.map_err(GroupError::store)?;
            after = page.documents.last().map(|document| document.key.clone());
            for document in page.documents {
                records.push(decode(&document.key, &document.value)?);
            }
            if !page.more {
                return Ok(records);
            }
        }
    }

    /// Replaces a group's configuration. Where it reads from another place is said with a reset.
    pub async fn configure(&self, name: &str, config: GroupConfig) -> Result<(), GroupError> {
        refuse_handlers(name)?;
        config.check()?;
        self.change(name, |record| record.config = config.clone()).await
    }

    /// Nothing is handed out until it is resumed; what members have they may settle.
    pub async fn pause(&self, name: &str) -> Result<(), GroupError> {
        self.change(name, |record| record.paused = true).await
    }

    pub async fn resume(&self, name: &str) -> Result<(), GroupError> {
        self.change(name, |record| record.paused = false).await
    }

    /// Begins again at another place, which is answered. What members have is void; dead letters stay, but
    /// none of their keys is parked any more.
    pub async fn reset(&self, name: &str, to: Start) -> Result<Position, GroupError> {
        let record = self.record(name).await?;
        if record.queue {
            return Err(GroupError::Argument("a queue has no past to begin at again: what is settled is gone".into()));
        }
        let start = self.position_of(&record.config, to).await?;
        self.change(name, |record| {
            record.resets += 1;
            record.start = start.0;
        })
        .await?;
        Ok(start)
    }

    /// Removes a group with all that it has: its dead letters too.
    pub async fn delete(&self, name: &str) -> Result<(), GroupError> {
        refuse_handlers(name)?;
        self.delete_own(name).await
    }

    /// The same for groups of the host's own.
    pub(crate) async fn delete_own(&self, name: &str) -> Result<(), GroupError> {
        let mut running = self.0.running.lock().await;
        let Some((stored, _)) = self.stored(name).await? else { return Err(GroupError::NotFound(name.into())) };
        if let Some(commands) = running.remove(name) {
            // One that has ended already does not need to be told.
            let _ = ask(&commands, |reply| Command::Stop { reply }).await;
        }
        let mut documents = vec![document(COLLECTION_GROUPS, name.into(), None)];
        documents.extend((0..SHARES).map(|share| document(COLLECTION_SHARES, share_key(name, share), None)));
        let guards = vec![Guard { collection: COLLECTION_GROUPS.into(), key: name.into(), value: Some(stored) }];
        self.commit(guards, documents).await?;
        for collection in [COLLECTION_DEAD_LETTERS, COLLECTION_PARKED_KEYS, COLLECTION_REPLAYED, COLLECTION_INTERESTS] {
            self.remove_all(collection, &format!("{name}{SEPARATOR}")).await?;
        }
        self.shown().remove(name);
        self.0.metrics.forget_group(name);
        tracing::info!(event_id = log_id::GROUP_DELETED, group = name, "a group was removed");
        Ok(())
    }

    async fn remove_all(&self, collection: &str, prefix: &str) -> Result<(), GroupError> {
        loop {
            let store = &self.0.context.store;
            let page = store.scan(GenerationId::HOST, collection, prefix, None, limits::LETTERS_PAGE).await;
            let page = page.map_err(GroupError::store)?;
            let documents: Vec<_> =
                page.documents.into_iter().map(|there| document(collection, there.key, None)).collect();
            if !documents.is_empty() {
                self.commit(Vec::new(), documents).await?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// The position that a place is now.
    /// Where a group of that configuration begins.
    pub(crate) async fn position_for(&self, config: &GroupConfig, start: Start) -> Result<Position, GroupError> {
        self.position_of(config, start).await
    }

    async fn position_of(&self, config: &GroupConfig, start: Start) -> Result<Position, GroupError> {
        let reader = &self.0.context.reader;
        let tail = reader.tail().next();
        Ok(match start {
            Start::First => Position(0),
            Start::Last => tail,
            Start::Position(position) if position > tail.0 => {
                let text = format!("position {position} is beyond the end of the log, {tail}");
                return Err(GroupError::Argument(text));
            }
            Start::Position(position) => Position(position),
            Start::Time(us) => reader.position_at(Timestamp(us)).await?,
            Start::Offset(offset) => {
                let Some(stream) = config.only_stream() else {
                    let text = "an offset is a place in one stream, and the group reads more than one: give a position";
                    return Err(GroupError::Argument(text.into()));
                };
                let stream = StreamName::new(stream).map_err(|error| GroupError::Argument(error.to_string()))?;
                let one = PageLimit { events: 1, bytes: 1 };
                let found = self.0.context.store.read_stream(&stream, Offset(offset), Direction::Forward, one).await;
                found.map_err(GroupError::store)?.first().map_or(tail, |event| event.position().min(tail))
            }
        })
    }

    pub(super) async fn stored(&self, name: &str) -> Result<Option<(Bytes, GroupRecord)>, GroupError> {
        let stored = self.0.context.store.document(GenerationId::HOST, COLLECTION_GROUPS, name).await;
        match stored.map_err(GroupError::store)? {
            None => Ok(None),
            Some(stored) => decode(name, &stored).map(|record| Some((stored, record))),
        }
    }

    /// `false` if what is stored is not what is expected.
    pub(super) async fn put(
        &self,
        name: &str,
        expected: Option<Bytes>,
        record: &GroupRecord,
    ) -> Result<bool, GroupError> {
        let guards = vec![Guard { collection: COLLECTION_GROUPS.into(), key: name.into(), value: expected }];
        let value = serde_json::to_vec(record).expect("it has only texts and numbers");
        match self.commit(guards, vec![document(COLLECTION_GROUPS, name.into(), Some(value.into()))]).await {
            Ok(()) => Ok(true),
            Err(GroupError::Commit(CommitError::Rejected(Rejection::Overtaken { .. }))) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn commit(&self, guards: Vec<Guard>, documents: Vec<DocumentChange>) -> Result<(), GroupError> {
        self.0.context.committer.commit(unit(guards, documents)).await?;
        Ok(())
    }

    /// Changes what is stored, then tells the group's task.
    async fn change(&self, name: &str, change: impl Fn(&mut GroupRecord)) -> Result<(), GroupError> {
        for _ in 0..TRIES_MAX {
            let Some((stored, before)) = self.stored(name).await? else {
                return Err(GroupError::NotFound(name.into()));
            };
            let mut record = before.clone();
            change(&mut record);
            if record == before {
                return Ok(());
            }
            if self.put(name, Some(stored), &record).await? {
                tracing::info!(event_id = log_id::GROUP_CHANGED, group = name, "a group was changed");
                let running = self.0.running.lock().await.get(name).cloned();
                if let Some(commands) = running {
                    ask(&commands, |reply| Command::Reload { record: Box::new(record), reply }).await?;
                }
                return Ok(());
            }
        }
        Err(GroupError::Commit(CommitError::Overloaded))
    }

    // Members.

    /// Makes a member of that name; one that has it already is taken for gone.
    pub async fn join(&self, group: &str, member: &str) -> Result<Membership, GroupError> {
        refuse_handlers(group)?;
        check_name(member)?;
        let commands = self.commands(group).await?;
        let session = ask(&commands, |reply| Command::Join { name: member.into(), reply }).await?;
        Ok(Membership { session, commands })
    }

    /// The same for groups of the host's own.
    pub(crate) async fn join_own(&self, group: &str, member: &str) -> Result<Membership, GroupError> {
        let commands = self.commands(group).await?;
        let session = ask(&commands, |reply| Command::Join { name: member.into(), reply }).await?;
        Ok(Membership { session, commands })
    }

    /// Makes a group of the host's own, or changes what it is.
    pub(crate) async fn put_own(&self, group: &str, config: GroupConfig, start: Position) -> Result<(), GroupError> {
        match self.stored(group).await? {
            Some((_, record)) if record.config == config => Ok(()),
            Some(_) => self.change(group, |record| record.config = config.clone()).await,
            None => {
                let created_at_us = self.0.context.clock.now().0;
                let (name, start) = (group.to_owned(), start.0);
                let record = GroupRecord { name, config, queue: false, paused: false, resets: 0, start, created_at_us };
                self.put(group, None, &record).await.map(drop)
            }
        }
    }

    /// The member of a session, for callers that hold no connection.
    pub async fn member(&self, group: &str, session: Uuid) -> Result<Membership, GroupError> {
        Ok(Membership { session, commands: self.commands(group).await? })
    }

    /// Has a member leave by its name, as if it had said so itself. `false` if there is none on this host.
    pub async fn remove_member(&self, group: &str, member: &str) -> Result<bool, GroupError> {
        let commands = self.commands(group).await?;
        ask(&commands, |reply| Command::Remove { name: member.into(), reply }).await
    }

    pub async fn status(&self, group: &str) -> Result<GroupStatus, GroupError> {
        let commands = self.commands(group).await?;
        let mut status = ask(&commands, |reply| Command::Status { reply }).await?;
        if self.0.context.store.is_shared() {
            // This host may have a part of it only, or nothing.
            let shares = self.0.context.stored_shares(group).await.map_err(GroupError::store)?;
            let start = status.record.start();
            let floors = shares.iter().map(|(_, _, share)| share.as_ref().map_or(start, Share::floor));
            status.position = floors.min().unwrap_or(start).min(status.tail);
            status.unsettled = shares.iter().flat_map(|(_, _, share)| share).map(|share| share.pending.len()).sum();
        }
        if status.oldest_recorded_at.is_none() && status.position < status.tail {
            // Nobody has asked for what comes next yet.
            let filter = status.record.config.filter().unwrap_or_default();
            let one = PageLimit { events: 1, bytes: 1 };
            let page = self.0.context.reader.log_page(status.position, Direction::Forward, &filter, one).await?;
            status.oldest_recorded_at = page.events.first().map(Event::recorded_at);
        }
        Ok(status)
    }

    /// Settles one event, be it in someone's hands, resting, or waiting. `false` if it is not among those that
    /// the group has read and not settled.
    pub async fn skip(&self, group: &str, position: Position) -> Result<bool, GroupError> {
        let commands = self.commands(group).await?;
        ask(&commands, |reply| Command::Skip { position, reply }).await
    }

    /// The way to a group's task, which is started if it does not run.
    pub(super) async fn commands(&self, group: &str) -> Result<mpsc::Sender<Command>, GroupError> {
        let mut running = self.0.running.lock().await;
        if let Some(commands) = running.get(group).filter(|commands| !commands.is_closed()) {
            return Ok(commands.clone());
        }
        let record = self.record(group).await?;
        let (sender, receiver) = mpsc::channel(limits::COMMANDS_MAX);
        let shown = Arc::new(Shown::new(&self.0.metrics, group, self.0.context.clock.now()));
        self.shown().insert(group.into(), Arc::clone(&shown));
        let runner = Runner::new(self.0.context.clone(), record, receiver, shown);
        self.0.tasks.spawn("group", runner.run(self.0.tasks.stop_token()));
        running.insert(group.into(), sender.clone());
        Ok(sender)
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Shown>>> {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task of every group, so that what it has not settled is seen before anyone joins it.
    pub(crate) async fn start(&self) -> Result<(), GroupError> {
        for record in self.list().await? {
            self.commands(&record.name).await?;
        }
        Ok(())
    }

    /// How every group is, in byte order of their names.
    pub fn health(&self) -> Vec<GroupHealth> {
        let (tail, now) = (self.0.context.reader.tail().next(), self.0.context.clock.now());
        self.shown().iter().map(|(group, shown)| shown.health(group, tail, now)).collect()
    }

    pub(crate) fn refresh_metrics(&self) {
        let (tail, now) = (self.0.context.reader.tail().next(), self.0.context.clock.now());
        for (group, shown) in self.shown().iter() {
            shown.refresh(&self.0.metrics, group, tail, now);
        }
    }

    /// Ends every group's task, with what was acknowledged committed.
    pub(crate) async fn stop(&self) {
        let running = std::mem::take(&mut *self.0.running.lock().await);
        for commands in running.into_values() {
            let _ = ask(&commands, |reply| Command::Stop { reply }).await;
        }
    }
}

fn check_name(name: &str) -> Result<(), GroupError> {
    name::check(name).map_err(|error| GroupError::Argument(format!("the name `{name}` is refused: {error}")))
}

/// What a handler's group is, and who is its member, follows from the plugin.
pub(super) fn refuse_handlers(group: &str) -> Result<(), GroupError> {
    if crate::handler::is_handlers(group) {
        let what = format!("`{group}` is a handler's: use `wasmill plugin` for it, or remove the plugin");
        return Err(GroupError::Argument(what));
    }
    Ok(())
}

fn decode(name: &str, stored: &[u8]) -> Result<GroupRecord, GroupError> {
    serde_json::from_slice(stored).map_err(|error| {
        GroupError::store(StoreError::Damaged { what: format!("the record of group `{name}`: {error}") })
    })
}
