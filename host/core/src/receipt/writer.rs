//! Writing receipts: one task, which takes what waits and commits it as one unit.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::block::{Block, Marked, block_of};
use super::{
    COLLECTION_BLOCKS, COLLECTION_CONSUMERS, COLLECTION_PROGRESS, Mark, Progress, ReceiptError, Receipts, Write,
    block_key, decode_block, decode_progress, pair, timer,
};
use crate::clock::{Clock, Timestamp};
use crate::event::Offset;
use crate::limits::receipt as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log::publish::Publisher;
use crate::metrics::Metrics;
use crate::name::StreamName;
use crate::own::{self, document, guard, unit};
use crate::store::{Rejection, Store, StoreError, Unit};
use crate::stream::Effective;
use crate::stream::configs::StreamConfigs;
use crate::timer::Wake;

/// The task that writes.
pub(crate) struct Writer {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
    configs: StreamConfigs,
    wake: Wake,
    metrics: Arc<Metrics>,
    writes: mpsc::Receiver<Write>,
    /// What the store has of documents that were written lately.
    known: LruCache<(&'static str, String), Option<Bytes>>,
}

/// The door, and the task behind it.
pub(crate) fn receipts(
    publisher: Publisher,
    configs: StreamConfigs,
    (store, committer, clock, wake): (Arc<dyn Store>, Committer, Arc<dyn Clock>, Wake),
    metrics: Arc<Metrics>,
) -> (Receipts, Writer) {
    let (sender, writes) = mpsc::channel(limits::QUEUE_MAX);
    let known = LruCache::new(NonZeroUsize::new(limits::BLOCKS_CACHED * 2).expect("it is not 0"));
    let door = Receipts { store: Arc::clone(&store), configs: configs.clone(), publisher, writes: sender };
    (door, Writer { store, committer, clock, configs, wake, metrics, writes, known })
}

impl Writer {
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        let mut calls = Vec::with_capacity(limits::CALLS_AT_ONCE);
        loop {
            tokio::select! {
                count = self.writes.recv_many(&mut calls, limits::CALLS_AT_ONCE) => if count == 0 { return Ok(()) },
                () = stop.cancelled() => return Ok(()),
            }
            while !calls.is_empty() {
                let marks = calls.iter().scan(0, |marks, call| {
                    *marks += call.marks.len();
                    Some(*marks)
                });
                let count = marks.take_while(|marks| *marks <= limits::MARKS_AT_ONCE).count().max(1);
                let outcome = self.write(&calls[..count]).await;
                for call in calls.drain(..count) {
                    // Who does not wait any more has its receipt all the same.
                    let _ = call.reply.send(outcome.clone());
                }
            }
        }
    }

    async fn write(&mut self, calls: &[Write]) -> Result<(), ReceiptError> {
        for _ in 0..limits::TRIES_MAX {
            let (unit, after, new) = self.unit(calls).await?;
            match self.committer.commit(unit).await {
                Ok(_) => {
                    for (place, value) in after {
                        self.known.put(place, Some(value));
                    }
                    self.metrics.receipts.with_label_values(&["delivered"]).inc_by(new.delivered);
                    self.metrics.receipts.with_label_values(&["read"]).inc_by(new.read);
                    if new.timers {
                        self.wake.wake();
                    }
                    return Ok(());
                }
                // Another host was faster.
                Err(CommitError::Rejected(Rejection::Overtaken { .. })) => self.known.clear(),
                Err(error) => {
                    self.known.clear();
                    return Err(error.into());
                }
            }
        }
        Err(CommitError::Overloaded.into())
    }

    /// What the calls change, what the store has then, and how much of it is new.
    async fn unit(&mut self, calls: &[Write]) -> Result<(Unit, BTreeMap<Place, Bytes>, New), ReceiptError> {
        let now = self.clock.now();
        let by_consumer = sorted(calls);
        let mut unit = unit(Vec::new(), Vec::new());
        let mut documents = Vec::new();
        let (mut after, mut new) = (BTreeMap::new(), New::default());
        let known = self.learn(&by_consumer).await?;
        for ((stream, consumer), marks) in &by_consumer {
            let effective = self.configs.effective(stream);
            let place = (COLLECTION_PROGRESS, pair(stream.as_str(), consumer));
            let stored = known.get(&place).cloned().flatten();
            let mut progress = match &stored {
                Some(stored) => decode_progress(&place.1, stored)?,
                None => Progress { first_block: u64::MAX, ..Progress::default() },
            };
            let before = (progress.delivered, progress.read);
            for (block, marks) in by_block(marks) {
                let key = block_key(stream.as_str(), block, consumer);
                let stored_block = known.get(&(COLLECTION_BLOCKS, key.clone())).cloned().flatten();
                let mut value = stored_block.as_deref().map(|stored| decode_block(&key, stored)).transpose()?;
                let value = value.get_or_insert_default();
                let changed = mark(value, &mut progress, &marks, now);
                if !changed {
                    continue;
                }
                (progress.first_block, progress.last_block) =
                    (progress.first_block.min(block), progress.last_block.max(block));
                // A timer that comes too early looks again, so only an earlier one is set anew.
                let due = due(value, &effective);
                if value.timer.is_none_or(|set| due.is_some_and(|due| due < set)) {
                    documents.extend(value.timer.map(|set| timer(&key, set).remove()));
                    documents.extend(due.map(|due| timer(&key, due).set()));
                    new.timers |= due.is_some();
                    value.timer = due;
                }
                let encoded = value.encode();
                unit.guards.push(guard(COLLECTION_BLOCKS, key.clone(), stored_block));
                documents.push(document(COLLECTION_BLOCKS, key.clone(), Some(encoded.clone())));
                after.insert((COLLECTION_BLOCKS, key), encoded);
                progress.updated_at_us = now.0;
            }
            new.delivered += progress.delivered - before.0;
            new.read += progress.read - before.1;
            if progress.updated_at_us == now.0 {
                if stored.is_none() {
                    let marker = pair(consumer, stream.as_str());
                    documents.push(document(COLLECTION_CONSUMERS, marker, Some(Bytes::from_static(b"1"))));
                }
                let encoded = progress.encode();
                unit.guards.push(guard(COLLECTION_PROGRESS, place.1.clone(), stored));
                documents.push(document(COLLECTION_PROGRESS, place.1.clone(), Some(encoded.clone())));
                after.insert(place, encoded);
            }
        }
        unit.changes = own::unit(Vec::new(), documents).changes;
        Ok((unit, after, new))
    }

    /// The documents that are about to change, as the store has them.
    async fn learn(&mut self, marks: &Sorted<'_>) -> Result<BTreeMap<Place, Option<Bytes>>, StoreError> {
        let mut found = BTreeMap::new();
        let mut wanted: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        for ((stream, consumer), offsets) in marks {
            let progress = (COLLECTION_PROGRESS, pair(stream.as_str(), consumer));
            let blocks: BTreeSet<u64> = offsets.iter().map(|(offset, _)| block_of(*offset)).collect();
            let blocks = blocks.into_iter().map(|block| block_key(stream.as_str(), block, consumer));
            for place in blocks.map(|key| (COLLECTION_BLOCKS, key)).chain([progress]) {
                match self.known.get(&place) {
                    Some(value) => drop(found.insert(place, value.clone())),
                    None => drop(wanted.entry(place.0).or_default().insert(place.1)),
                }
            }
        }
        for (collection, keys) in wanted {
            let keys: Vec<String> = keys.into_iter().collect();
            for keys in keys.chunks(crate::limits::read::LIST_DOCUMENTS_MAX) {
                let values = own::read_many(&*self.store, collection, keys).await?;
                for (key, value) in keys.iter().zip(values) {
                    self.known.put((collection, key.clone()), value.clone());
                    found.insert((collection, key.clone()), value);
                }
            }
        }
        Ok(found)
    }
}

/// What was not noted before.
#[derive(Clone, Copy, Debug, Default)]
struct New {
    delivered: u64,
    read: u64,
    /// Whether a timer was set.
    timers: bool,
}

type Place = (&'static str, String);
type Sorted<'a> = BTreeMap<(&'a StreamName, &'a str), Vec<(Offset, Mark)>>;

fn sorted(calls: &[Write]) -> Sorted<'_> {
    let mut sorted: Sorted<'_> = BTreeMap::new();
    for call in calls {
        let marks = sorted.entry((&call.stream, call.consumer.as_str())).or_default();
        marks.extend(call.marks.iter().copied());
    }
    sorted
}

fn by_block(marks: &[(Offset, Mark)]) -> BTreeMap<u64, Vec<(Offset, Mark)>> {
    let mut blocks: BTreeMap<u64, Vec<(Offset, Mark)>> = BTreeMap::new();
    for (offset, mark) in marks {
        blocks.entry(block_of(*offset)).or_default().push((*offset, *mark));
    }
    blocks
}

/// Whether anything was new.
fn mark(block: &mut Block, progress: &mut Progress, marks: &[(Offset, Mark)], now: Timestamp) -> bool {
    let mut changed = false;
    for (offset, mark) in marks {
        let Marked { delivered, read } = block.mark(*offset, *mark, now);
        if delivered {
            progress.delivered += 1;
            progress.last_delivered = progress.last_delivered.max(Some(offset.0));
        }
        if read {
            progress.read += 1;
            progress.last_read = progress.last_read.max(Some(offset.0));
        }
        changed |= delivered || read;
    }
    changed
}

/// When the block's timer is due.
pub(super) fn due(block: &Block, effective: &Effective) -> Option<Timestamp> {
    let receipts = &effective.config().receipts;
    block.due(unread_after_us(effective), seconds(receipts.keep_seconds.unwrap_or_default()))
}

pub(super) fn unread_after_us(effective: &Effective) -> Option<i64> {
    effective.config().receipts.unread_after_seconds.filter(|seconds| *seconds > 0).map(seconds)
}

pub(super) fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000)
}
