//! Other hosts on the same store: what they commit moves this host's tail, what they remove leaves its
//! memory, and what they configure holds here too.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tail::Tail;
use crate::log_id;
use crate::schema::Schemas;
use crate::store::{Store, StoreError};
use crate::stream::configs::StreamConfigs;
use crate::tasks::chain;

/// How long it rests when the store does not answer: from the first, doubled each time, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A task of the host. Where a store has one host only it does nothing: such a store never tells of a
/// change.
pub struct Others {
    pub store: Arc<dyn Store>,
    pub tail: Arc<Tail>,
    pub configs: StreamConfigs,
    pub schemas: Schemas,
    /// The revision of the store that this host's memory is of.
    pub revision: u64,
}

impl Others {
    /// Runs until it is stopped. It only reads: while the store cannot be reached it waits, and what
    /// it says goes on to hold; it fails when the store is damaged.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        let (first_delay, delay_max) = BACK_OFF;
        let mut delay = first_delay;
        loop {
            let failed_before = delay > first_delay;
            tokio::select! {
                () = self.store.changed(), if !failed_before => {}
                () = tokio::time::sleep(delay), if failed_before => {}
                () = stop.cancelled() => return Ok(()),
            }
            match self.look().await {
                Ok(()) => delay = first_delay,
                Err(error @ (StoreError::Failed(_) | StoreError::Damaged { .. })) => return Err(chain(&error)),
                Err(error) => {
                    if !failed_before {
                        let (event_id, error) = (log_id::OTHERS_UNKNOWN, chain(&error));
                        tracing::warn!(event_id, error, "what other hosts do is not known at the moment");
                    }
                    delay = (delay * 2).min(delay_max);
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let head = self.store.head().await?;
        if head.revision == self.revision {
            self.tail.jump(head.next_position);
            return Ok(());
        }
        // Which events were removed is not told.
        self.tail.restart(head.next_position);
        self.configs.reload().await?;
        self.schemas.reload().await?;
        self.revision = head.revision;
        Ok(())
    }
}
