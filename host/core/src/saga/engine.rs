//! What drives sagas: one host of a store at a time, the one that has the lead.
//!
//! Whoever has something for a saga pokes it: a start, a timer, an event, an order. A poked saga is driven by one
//! task until it rests. All that the task, and everyone else, does to a saga is a unit that is guarded by the
//! saga's head, so nobody needs a lock, and an outcome is committed once. The engine's units are guarded by its
//! epoch as well: a host that has lost the lead commits nothing more.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::book::Book;
use super::definition::Definition;
use super::drive::{Driven, drive};
use super::fact::Fact;
use super::http::Network;
use super::model::Saga;
use super::registry::{Registry, Resting};
use super::rows::{self, Activity, ENGINE, Head, Mark, OPEN, TODO};
use super::view::SagaStatus;
use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Position};
use crate::limits::saga as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log::publish::Publisher;
use crate::log::read::Reader;
use crate::log_id;
use crate::metrics::Metrics;
use crate::own::{self, document, guard};
use crate::plugin::deploy::DeployError;
use crate::plugin::descriptor::{Descriptor, Kind};
use crate::plugin::registry::Plugins;
use crate::store::{Guard, Store, StoreError};
use crate::stream::configs::StreamConfigs;
use crate::tasks::{Tasks, chain};

/// What the engine is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) reader: Reader,
    pub(crate) publisher: Publisher,
    pub(crate) configs: StreamConfigs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) plugins: Plugins,
    pub(crate) network: Network,
    pub(crate) tasks: Tasks,
}

pub(super) struct Engine {
    pub(super) parts: Parts,
    definitions: Mutex<HashMap<(String, u32), Arc<Definition>>>,
    books: Mutex<HashMap<(String, u32), Arc<Book>>>,
    /// Sagas that are driven, or queue for it.
    active: Mutex<HashMap<Uuid, Vec<Poke>>>,
    queue: mpsc::Sender<Uuid>,
    pub(super) room: Arc<Semaphore>,
    pub(super) registry: Registry,
    /// Told when a saga was let go of.
    left: Notify,
    /// Those who wait for a saga, and what they are told: how it is since it has ended, or needs somebody.
    awaited: Mutex<HashMap<Uuid, watch::Sender<Option<Arc<SagaStatus>>>>>,
    /// What tells that this host drives sagas; `None` while it does not.
    epoch: watch::Sender<Option<Guard>>,
}

/// That something has happened to a saga, or may have.
#[derive(Debug, Default)]
pub(super) struct Poke {
    pub(super) event: Option<Event>,
    /// Told when what the poke brings about is stored.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// The place in the log up to which events were looked at, as it is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    position: u64,
    /// By the type of the sagas.
    event_times_us: BTreeMap<String, i64>,
}

impl Place {
    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers are JSON").into()
    }
}

const PLACE: &str = "place";
const EPOCH: &str = "epoch";

/// Why a revision cannot be called.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error("revision {revision} of saga `{name}` is not there")]
    Missing { name: String, revision: u32 },
    #[error("revision {revision} of saga `{name}` cannot be loaded: {why}")]
    Broken { name: String, revision: u32, why: String },
}

impl Engine {
    pub(super) fn new(parts: Parts) -> (Arc<Self>, mpsc::Receiver<Uuid>) {
        let (queue, queued) = mpsc::channel(limits::OPEN_MAX);
        let engine = Arc::new(Self {
            parts,
            definitions: Mutex::default(),
            books: Mutex::default(),
            active: Mutex::default(),
            queue,
            room: Arc::new(Semaphore::new(limits::DRIVEN_MAX)),
            registry: Registry::default(),
            left: Notify::new(),
            awaited: Mutex::default(),
            epoch: watch::Sender::new(None),
        });
        (engine, queued)
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.parts.store
    }

    pub(super) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// What the units of the host that drives sagas are guarded by; `None` on the others.
    pub(super) fn epoch(&self) -> Option<Guard> {
        self.epoch.borrow().clone()
    }

    pub(super) async fn definition(&self, name: &str, revision: u32) -> Result<Arc<Definition>, BookError> {
        let key = (name.to_owned(), revision);
        if let Some(definition) = locked(&self.definitions).get(&key) {
            return Ok(Arc::clone(definition));
        }
        let stored = self.parts.plugins.saga_descriptor(name, revision).await?;
        let stored = stored.ok_or_else(|| BookError::Missing { name: name.into(), revision })?;
        let damaged = || StoreError::Damaged { what: format!("the descriptor of revision {revision} of saga {name}") };
        let text = std::str::from_utf8(&stored).map_err(|_| damaged())?;
        let descriptor = Descriptor::parse(text, Kind::Saga).map_err(|_| damaged())?;
        let definition = Arc::new(Definition::of(&descriptor, revision));
        locked(&self.definitions).insert(key, Arc::clone(&definition));
        Ok(definition)
    }

    /// A revision with its code, for the host that drives sagas.
    pub(super) async fn book(self: &Arc<Self>, name: &str, revision: u32) -> Result<Arc<Book>, BookError> {
        let key = (name.to_owned(), revision);
        if let Some(book) = locked(&self.books).get(&key) {
            return Ok(Arc::clone(book));
        }
        let definition = self.definition(name, revision).await?;
        let record = self.parts.plugins.saga_revision(name, Some(revision)).await?;
        let record = record.ok_or_else(|| BookError::Missing { name: name.into(), revision })?;
        let callable = self.parts.plugins.callable(&record).await.map_err(|error| match error {
            DeployError::Store(error) => BookError::Store(error),
            error => BookError::Broken { name: name.into(), revision, why: chain(&error) },
        })?;
        let book = match locked(&self.books).entry(key) {
            Entry::Occupied(there) => return Ok(Arc::clone(there.get())),
            Entry::Vacant(place) => {
                Arc::clone(place.insert(Arc::new(Book::new(definition, callable, &self.parts.network))))
            }
        };
        let (engine, held) = (Arc::clone(self), Arc::clone(&book));
        let stop = self.parts.tasks.stop_token();
        self.parts.tasks.spawn("held sagas", async move {
            while let Some(Some(released)) = stop.run_until_cancelled(held.released()).await {
                released.into_iter().for_each(|id| engine.poke(id, Poke::default()));
            }
            Ok(())
        });
        Ok(book)
    }

    /// The code of a plugin that was removed is let go of.
    pub(super) fn forget(&self, name: &str) {
        locked(&self.books).retain(|(plugin, _), _| plugin != name);
    }

    /// Has a saga looked at soon, on this host if it drives sagas.
    pub(super) fn poke(&self, id: Uuid, poke: Poke) {
        if self.epoch.borrow().is_none() {
            return;
        }
        match locked(&self.active).entry(id) {
            Entry::Occupied(mut active) => active.get_mut().push(poke),
            Entry::Vacant(place) => {
                place.insert(vec![poke]);
                // Each stands in it once, so that it has room unless the host stops.
                let _ = self.queue.try_send(id);
            }
        }
    }

    /// Drives a saga that was just begun with what is known of it, if there is room for it now.
    pub(super) fn drive_now(self: &Arc<Self>, driven: Driven, room: OwnedSemaphorePermit) {
        locked(&self.active).insert(driven.id(), Vec::new());
        tokio::spawn(drive(Arc::clone(self), driven, room));
    }

    pub(super) fn take_pokes(&self, id: Uuid, pokes: &mut Vec<Poke>) {
        if let Some(waiting) = locked(&self.active).get_mut(&id) {
            pokes.append(waiting);
        }
    }

    /// Lets go of a saga, unless it was poked meanwhile.
    pub(super) fn leave(&self, id: Uuid) -> bool {
        let mut active = locked(&self.active);
        let free = active.get(&id).is_none_or(Vec::is_empty);
        if free {
            active.remove(&id);
            self.left.notify_one();
        }
        free
    }

    /// Resolves when no more sagas are driven, or queue for it, than is good for those that would come.
    pub(super) async fn calm(&self) {
        while self.active_count() > limits::ACTIVE_MAX {
            self.left.notified().await;
        }
    }

    /// Lets go of a saga whatever was asked of it.
    pub(super) fn drop_pokes(&self, id: Uuid) {
        locked(&self.active).remove(&id);
        self.left.notify_one();
    }

    /// Tells those who wait for a saga how it is. They need not read it, which would cost more than all its steps.
    pub(super) fn announce(&self, saga: &Saga, definition: &Definition) {
        if let Some(waiting) = locked(&self.awaited).get(&saga.id) {
            waiting.send_replace(Some(Arc::new(SagaStatus::of(saga, definition))));
        }
    }

    /// Hears of the saga from now on.
    pub(super) fn announced(self: &Arc<Self>, id: Uuid) -> Announced {
        let mut awaited = locked(&self.awaited);
        let changes = awaited.entry(id).or_insert_with(|| watch::Sender::new(None)).subscribe();
        Announced { engine: Arc::clone(self), id, changes }
    }

    /// Sagas that are driven, or queue for it.
    pub(super) fn active_count(&self) -> usize {
        locked(&self.active).len()
    }

    /// Takes the next epoch, and all sagas that have not ended. From now on this host drives them.
    async fn begin(self: &Arc<Self>) -> Result<(), CommitError> {
        let read = |error: StoreError| CommitError::Store(Arc::new(error));
        let before = own::read(self.store(), ENGINE, EPOCH).await.map_err(read)?;
        let number: u64 = before.as_deref().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let epoch = Bytes::from((number + 1).to_string());
        let mut documents = vec![document(ENGINE, EPOCH.into(), Some(epoch.clone()))];
        let place = match own::read(self.store(), ENGINE, PLACE).await.map_err(read)? {
            Some(stored) => own::decode_json(&|| "the place of the sagas".into(), &stored).map_err(read)?,
            None => {
                // The first time of all: no event from here on is overlooked.
                let place = Place { position: self.parts.reader.tail().next().0, ..Place::default() };
                documents.push(document(ENGINE, PLACE.into(), Some(place.encode())));
                place
            }
        };
        let unit = own::unit(vec![guard(ENGINE, EPOCH.into(), before)], documents);
        self.parts.committer.commit(unit).await?;
        self.registry.begin(Position(place.position), place.event_times_us);
        self.epoch.send_replace(Some(guard(ENGINE, EPOCH.into(), Some(epoch))));
        let mut after = None;
        let mut count: u64 = 0;
        loop {
            let page = own::page(self.store(), OPEN, "", after.as_deref(), 1_000).await.map_err(read)?;
            for found in &page.documents {
                let Ok(id) = Uuid::try_parse(&found.key) else { continue };
                count += 1;
                match Head::decode(&found.key, &found.value) {
                    Ok(head) => self.resume(id, &head),
                    Err(error) => {
                        let (event_id, error) = (log_id::SAGA_UNREADABLE, error.to_string());
                        tracing::error!(event_id, saga = %id, error, "a saga cannot be read and is passed over");
                    }
                }
            }
            after = page.documents.last().map(|last| last.key.clone());
            if !page.more {
                break;
            }
        }
        tracing::info!(event_id = log_id::SAGAS_HERE, epoch = number + 1, open = count, "this host drives the sagas");
        Ok(())
    }

    fn resume(&self, id: Uuid, head: &Head) {
        let resting = Resting {
            saga_type: head.saga_type.clone(),
            due: head.due_us.map(Timestamp),
            event_due: head.event_due_us.map(Timestamp),
            awaited: head.awaits.clone(),
            from: Position(head.from),
            needs_person: head.activity == Activity::Paused,
        };
        self.registry.put(id, resting);
        if matches!(head.activity, Activity::Ready | Activity::Calling) {
            self.poke(id, Poke::default());
        }
    }

    /// Another host drives the sagas: this one lets go of them.
    pub(super) fn fenced(&self) {
        if self.epoch.send_replace(None).is_some() {
            tracing::warn!(event_id = log_id::SAGAS_ELSEWHERE, "this host does not drive the sagas any more");
        }
    }

    /// Forgets the sagas that queue to be driven.
    fn let_go(&self, queued: &mut mpsc::Receiver<Uuid>) {
        while let Ok(id) = queued.try_recv() {
            self.drop_pokes(id);
        }
    }

    pub(super) fn is_fenced(error: &CommitError) -> bool {
        matches!(error, CommitError::Rejected(crate::store::Rejection::Overtaken { collection, .. })
            if **collection == *ENGINE)
    }

    /// Stores up to where events were looked at.
    pub(super) async fn store_place(&self, position: Position) -> Result<(), CommitError> {
        let place = Place { position: position.0, event_times_us: self.registry.event_times() };
        let Some(epoch) = self.epoch() else { return Ok(()) };
        let unit = own::unit(vec![epoch], vec![document(ENGINE, PLACE.into(), Some(place.encode()))]);
        self.parts.committer.commit(unit).await.map(drop)
    }
}

/// The engine's tasks, whenever the host has the lead.
pub(super) async fn run(
    engine: Arc<Engine>,
    mut queued: mpsc::Receiver<Uuid>,
    mut lead: watch::Receiver<bool>,
    stop: CancellationToken,
) -> Result<(), String> {
    let run = async {
        while lead.wait_for(|leads| *leads).await.is_ok() {
            match engine.begin().await {
                Ok(()) => {
                    let mut epoch = engine.epoch.subscribe();
                    tokio::select! {
                        () = lead_sagas(&engine, &mut queued) => {}
                        _ = lead.wait_for(|leads| !*leads) => {}
                        // Of two that believe to lead, the other one has begun later.
                        _ = epoch.wait_for(Option::is_none) => {}
                    }
                }
                Err(CommitError::Stopped) => return,
                Err(error) => {
                    let (event_id, error) = (log_id::SAGAS_LATE, chain(&error));
                    tracing::warn!(event_id, error, "the sagas could not be taken over; it is tried again");
                }
            }
            engine.fenced();
            engine.let_go(&mut queued);
            tokio::time::sleep(limits::RETRY).await;
        }
    };
    stop.run_until_cancelled(run).await;
    Ok(())
}

async fn lead_sagas(engine: &Arc<Engine>, queued: &mut mpsc::Receiver<Uuid>) {
    let dispatch = async {
        while let Some(id) = queued.recv().await {
            let Ok(room) = Arc::clone(&engine.room).acquire_owned().await else { return };
            tokio::spawn(drive(Arc::clone(engine), Driven::unknown(id), room));
        }
    };
    tokio::join!(
        dispatch,
        timers(engine),
        super::feed::run(engine),
        changed_elsewhere(engine),
        super::sweep::run(engine)
    );
}

/// Pokes the sagas whose time has come.
async fn timers(engine: &Engine) {
    loop {
        let next = engine.registry.next_due().unwrap_or(Timestamp(i64::MAX));
        tokio::select! {
            () = engine.parts.clock.wait_until(next) => {}
            () = engine.registry.earlier() => continue,
        }
        for id in engine.registry.take_due(engine.now(), limits::FEED_EVENTS) {
            engine.poke(id, Poke::default());
        }
    }
}

/// Pokes the sagas that other hosts have changed.
async fn changed_elsewhere(engine: &Engine) {
    if !engine.parts.store.is_shared() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(limits::LOOK_EVERY).await;
        let Some(epoch) = engine.epoch() else { continue };
        let Ok(page) = own::page(engine.store(), TODO, "", None, limits::FEED_EVENTS).await else { continue };
        if page.documents.is_empty() {
            continue;
        }
        let removals = page.documents.iter().map(|found| document(TODO, found.key.clone(), None)).collect();
        // It is removed first: what is noted afterwards is found by the next look.
        if engine.parts.committer.commit(own::unit(vec![epoch], removals)).await.is_ok() {
            let ids = page.documents.iter().filter_map(|found| Uuid::try_parse(&found.key).ok());
            ids.for_each(|id| engine.poke(id, Poke::default()));
        }
    }
}

/// What tells how a saga is when that has changed.
pub(super) struct Announced {
    engine: Arc<Engine>,
    id: Uuid,
    changes: watch::Receiver<Option<Arc<SagaStatus>>>,
}

impl Announced {
    /// The next announcement.
    pub(super) async fn next(&mut self) -> Option<Arc<SagaStatus>> {
        // The sender stays as long as there is a receiver.
        let _ = self.changes.changed().await;
        self.changes.borrow_and_update().clone()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut awaited = locked(&self.engine.awaited);
        if awaited.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            awaited.remove(&self.id);
        }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A saga as its rows say.
pub(super) struct Replayed {
    pub(super) saga: Saga,
    pub(super) mark: Mark,
    pub(super) definition: Arc<Definition>,
}

pub(super) async fn replay(engine: &Engine, id: Uuid) -> Result<Option<Replayed>, BookError> {
    let Some((stored, head)) = rows::head(engine.store(), id).await? else { return Ok(None) };
    // Rows that were added since are not of this head.
    let rows = rows::rows(engine.store(), id, 0, head.rows as usize).await?;
    let facts: Vec<_> = rows.into_iter().flat_map(|(_, facts)| facts).collect();
    let definitions = definitions(engine, &head.saga_type, &facts).await?;
    let damaged = || StoreError::Damaged { what: format!("the rows of saga {id}") };
    let (saga, definition) = Saga::replay(id, &facts, &definitions).ok_or_else(damaged)?;
    Ok(Some(Replayed { saga, mark: Mark { head: Some(stored), rows: head.rows }, definition }))
}

/// Those of all revisions that the facts name.
pub(super) async fn definitions(
    engine: &Engine,
    saga_type: &str,
    facts: impl IntoIterator<Item = &Fact>,
) -> Result<HashMap<u32, Arc<Definition>>, BookError> {
    let revisions: BTreeSet<u32> = facts.into_iter().filter_map(|fact| fact.what.revision()).collect();
    let mut definitions = HashMap::new();
    for revision in revisions {
        definitions.insert(revision, engine.definition(saga_type, revision).await?);
    }
    Ok(definitions)
}
