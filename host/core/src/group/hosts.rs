//! Which of the hosts on a store are alive.
//!
//! Each writes a number that grows; the others note by their own clocks when they saw it change, so that the
//! hosts' clocks need not agree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{COLLECTION_BEATS, document, unit};
use crate::clock::{Clock, Timestamp};
use crate::limits::{group as limits, read};
use crate::log::commit::Committer;
use crate::record::GenerationId;
use crate::store::{Store, StoreError};

pub(super) struct Hosts {
    host: Uuid,
    seen: Mutex<HashMap<Uuid, Seen>>,
}

struct Seen {
    beat: Bytes,
    changed_at: Timestamp,
}

impl Hosts {
    pub(super) fn new(host: Uuid) -> Self {
        Self { host, seen: Mutex::default() }
    }

    /// Whether a sign of life was seen in that time. This host is alive.
    pub(super) fn is_alive(&self, host: Uuid, within: Duration, now: Timestamp) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
        host == self.host || seen.get(&host).is_some_and(|seen| now.0 - seen.changed_at.0 < within)
    }

    /// A task of the host: gives a sign of life each round, and looks at those of the others.
    pub(super) async fn run(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        committer: Committer,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let mut beat: u64 = 0;
        loop {
            beat += 1;
            // What fails here is tried again with the next round.
            let _ = self.put(&committer, self.host, Some(beat)).await;
            if let Ok(long_dead) = self.look(&*store, clock.now()).await {
                for host in long_dead {
                    let _ = self.put(&committer, host, None).await;
                }
            }
            let next = Timestamp(clock.now().0.saturating_add(limits::ROUND_US));
            tokio::select! {
                () = clock.wait_until(next) => {}
                () = stop.cancelled() => break,
            }
        }
        let _ = self.put(&committer, self.host, None).await;
        Ok(())
    }

    async fn put(&self, committer: &Committer, host: Uuid, beat: Option<u64>) -> Result<(), ()> {
        let value = beat.map(|beat| Bytes::from(beat.to_string()));
        let documents = vec![document(COLLECTION_BEATS, host.to_string(), value)];
        committer.commit(unit(Vec::new(), documents)).await.map(|_| ()).map_err(|_| ())
    }

    /// Notes what has changed; hosts that have been silent for long are answered.
    pub(super) async fn look(&self, store: &dyn Store, now: Timestamp) -> Result<Vec<Uuid>, StoreError> {
        let page = store.scan(GenerationId::HOST, COLLECTION_BEATS, "", None, read::LIST_DOCUMENTS_MAX).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = HashMap::with_capacity(page.documents.len());
        for document in page.documents {
            let Ok(host) = Uuid::try_parse(&document.key) else { continue };
            let before = seen.remove(&host).filter(|before| before.beat == document.value);
            there.insert(host, before.unwrap_or(Seen { beat: document.value, changed_at: now }));
        }
        *seen = there;
        let long = i64::try_from(limits::FORGET_HOST_AFTER.as_micros()).unwrap_or(i64::MAX);
        let silent = seen.iter().filter(|(_, seen)| now.0 - seen.changed_at.0 > long);
        Ok(silent.map(|(host, _)| *host).collect())
    }
}
