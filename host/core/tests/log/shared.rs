//! A memory store that several hosts share, which counts reads and fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::StreamName;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::wrapped::Wrapped;
use wasmill_core::store::{
    Committed, Direction, Head, LogRead, LogStore, PageLimit, Rejection, Store, StoreError, Unit,
};

/// One host's connection.
pub(crate) struct Shared {
    memory: Arc<MemoryStore>,
    commits: Arc<watch::Sender<u64>>,
    seen: Mutex<watch::Receiver<u64>>,
    /// Pages of the log that this host has read.
    pub(crate) log_reads: AtomicUsize,
    /// Whether the head cannot be read.
    pub(crate) unreachable: AtomicBool,
    /// Which host has the lead, by the order in which they came.
    lead: Arc<std::sync::Mutex<Option<usize>>>,
    number: usize,
    /// Whether nothing can be committed any more: the host is dead.
    pub(crate) dead: AtomicBool,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::default()), Arc::new(watch::Sender::new(0)), Arc::default(), 0)
    }

    /// Another host's connection to the same store.
    pub(crate) fn beside(&self) -> Arc<Self> {
        let lead = Arc::clone(&self.lead);
        Self::over(Arc::clone(&self.memory), Arc::clone(&self.commits), lead, self.number + 1)
    }

    fn over(
        memory: Arc<MemoryStore>,
        commits: Arc<watch::Sender<u64>>,
        lead: Arc<std::sync::Mutex<Option<usize>>>,
        number: usize,
    ) -> Arc<Self> {
        let seen = Mutex::new(commits.subscribe());
        Arc::new(Self {
            memory,
            commits,
            seen,
            log_reads: AtomicUsize::new(0),
            unreachable: AtomicBool::new(false),
            lead,
            number,
            dead: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Wrapped for Shared {
    fn wrapped(&self) -> &dyn Store {
        &*self.memory
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn head(&self) -> Result<Head, StoreError> {
        match self.unreachable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("as told".into())),
            false => self.memory.head().await,
        }
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        self.log_reads.fetch_add(1, Ordering::SeqCst);
        // As any real store it takes a while.
        tokio::task::yield_now().await;
        self.memory.read_log(from, direction, filter, limit).await
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        match stream.as_str() {
            "damaged" => Err(StoreError::Damaged { what: "as its name says".into() }),
            _ => self.memory.offset_at(stream, time).await,
        }
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the host is dead".into()));
        }
        let outcomes = self.memory.commit(units, now).await;
        self.commits.send_modify(|commits| *commits += 1);
        // The other hosts may hear of it before this one's writer does.
        tokio::task::yield_now().await;
        outcomes
    }

    async fn try_lead(&self) -> Result<Option<u64>, StoreError> {
        let mut lead = self.lead.lock().unwrap();
        Ok((*lead.get_or_insert(self.number) == self.number).then_some(0))
    }

    async fn changed(&self) {
        let _ = self.seen.lock().await.changed().await;
    }
}
