//! Durable timers: what is to happen at a time, in one table that is sorted by it.
//!
//! A timer is made, moved and removed by the unit that wants it, as one of that unit's documents, so it
//! stands or falls with what it belongs to. Firing it is one unit too: what is to be done, the removal of
//! the timer, and a guard that it is still there. So it is done once, whoever tries, and after any crash.
//! The host that has the lead fires them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::limits::timer as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log_id;
use crate::own::{self, SEPARATOR, document, guard};
use crate::store::{DocumentChange, Guard, Rejection, Store, StoreError, Unit};

const COLLECTION: &str = "timer";

/// Which room a timer wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Schedule,
    Receipts,
}

/// That something is to be done at a time. There is at most one of a kind, an id and a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timer {
    pub(crate) due: Timestamp,
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

impl Timer {
    fn key(&self) -> String {
        let kind = match self.kind {
            Kind::Schedule => 's',
            Kind::Receipts => 'r',
        };
        // By time, which is not before 1970.
        format!("{:016x}{SEPARATOR}{kind}{SEPARATOR}{}", self.due.0.max(0), self.id)
    }

    fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.splitn(3, SEPARATOR);
        let due = Timestamp(i64::from_str_radix(parts.next()?, 16).ok()?);
        let kind = match parts.next()? {
            "s" => Kind::Schedule,
            "r" => Kind::Receipts,
            _ => return None,
        };
        Some(Self { due, kind, id: parts.next()?.to_owned() })
    }

    pub(crate) fn set(&self) -> DocumentChange {
        document(COLLECTION, self.key(), Some(THERE))
    }

    pub(crate) fn remove(&self) -> DocumentChange {
        document(COLLECTION, self.key(), None)
    }

    /// It is still there.
    pub(crate) fn guard(&self) -> Guard {
        guard(COLLECTION, self.key(), Some(THERE))
    }
}

const THERE: Bytes = Bytes::from_static(b"1");

/// What a room does when one of its timers is due.
#[async_trait]
pub(crate) trait Fire: Send + Sync + 'static {
    /// The unit that does it. It removes the timer, and is guarded by it. `refused` says why the store has
    /// turned away the unit that was made at first; without that the unit should try, with it give up.
    async fn fire(&self, timer: &Timer, now: Timestamp, refused: Option<&Rejection>) -> Result<Unit, StoreError>;
}

/// Tells the timers that there is a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake(Arc<Notify>);

impl Wake {
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

/// The task that fires them.
pub(crate) struct Timers {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wake: Wake,
    pub(crate) schedules: Arc<dyn Fire>,
    pub(crate) receipts: Arc<dyn Fire>,
    /// Those that cannot be read are passed over until the next start: the others go on.
    pub(crate) unreadable: HashSet<Timer>,
}

impl Timers {
    pub(crate) async fn run(mut self, mut lead: watch::Receiver<bool>, stop: CancellationToken) -> Result<(), String> {
        let run = async {
            // It fails when the plugins are gone, and with them the host.
            if lead.wait_for(|leads| *leads).await.is_err() {
                return std::future::pending().await;
            }
            loop {
                let pause = match self.fire_due().await {
                    Ok(Some(next)) => self.until(next).await,
                    Ok(None) => self.until(Timestamp(i64::MAX)).await,
                    Err(error) => {
                        let (event_id, error) = (log_id::TIMERS_FAILED, crate::tasks::chain(&*error));
                        tracing::warn!(event_id, error, "timers are late");
                        Some(limits::RETRY)
                    }
                };
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
            }
        };
        stop.run_until_cancelled(run).await;
        Ok(())
    }

    /// Waits for a time, or for a new timer, which may be due earlier. Timers that other hosts make are
    /// looked for now and then.
    async fn until(&self, time: Timestamp) -> Option<Duration> {
        let others = async {
            match self.store.is_shared() {
                true => tokio::time::sleep(limits::LOOK_EVERY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.clock.wait_until(time) => {}
            () = self.wake.0.notified() => {}
            () = others => {}
        }
        None
    }

    /// Fires what is due, and says when the next one is.
    async fn fire_due(&mut self) -> Result<Option<Timestamp>, Box<dyn std::error::Error + Send + Sync>> {
        loop {
            let limit = limits::AT_ONCE + self.unreadable.len().min(limits::AT_ONCE);
            let page = own::page(&*self.store, COLLECTION, "", None, limit).await?;
            let now = self.clock.now();
            let timers = page.documents.iter().filter_map(|document| Timer::of_key(&document.key));
            let timers: Vec<Timer> = timers.filter(|timer| !self.unreadable.contains(timer)).collect();
            let due = timers.iter().take_while(|timer| timer.due <= now).count();
            if due == 0 {
                return Ok(timers.first().map(|timer| timer.due));
            }
            // Queued one after the other, they share their commits.
            let mut submitted = Vec::with_capacity(due);
            for timer in &timers[..due] {
                let unit = match self.room(timer).fire(timer, now, None).await {
                    Ok(unit) => unit,
                    Err(error @ StoreError::Damaged { .. }) => {
                        let (event_id, id) = (log_id::TIMERS_FAILED, timer.id.escape_debug().to_string());
                        tracing::error!(event_id, id, error = %error, "a timer cannot be read and is passed over");
                        self.unreadable.insert(timer.clone());
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                submitted.push((timer, self.committer.submit(unit).await?));
            }
            for (timer, submitted) in submitted {
                match submitted.outcome().await {
                    Ok(_) => {}
                    // It was changed meanwhile, or another host was faster; what there is now is looked at.
                    Err(CommitError::Rejected(Rejection::Overtaken { .. })) => {}
                    Err(CommitError::Rejected(rejection)) => {
                        let unit = self.room(timer).fire(timer, now, Some(&rejection)).await?;
                        self.committer.commit(unit).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn room(&self, timer: &Timer) -> &dyn Fire {
        match timer.kind {
            Kind::Schedule => &*self.schedules,
            Kind::Receipts => &*self.receipts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_sorted_by_time() {
        let timer = |due, kind, id: &str| Timer { due: Timestamp(due), kind, id: id.into() };
        let timers =
            [timer(9, Kind::Schedule, "z"), timer(10, Kind::Receipts, "a"), timer(1 << 40, Kind::Schedule, "a")];
        let keys: Vec<_> = timers.iter().map(Timer::key).collect();
        assert!(keys.is_sorted());
        for (timer, key) in timers.iter().zip(&keys) {
            assert_eq!(Timer::of_key(key).as_ref(), Some(timer));
        }
    }
}
