//! Which of several hosts on one store runs the plugins.
//!
//! One does, so that the work is done once; whichever takes the lead when the last one has let go of it. One that has
//! lost it stops them, and may get it again. Nothing depends on it but time: two that both believed to lead would fence each other off by the
//! checkpoints that they move.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::registry::Plugins;
use crate::log_id;
use crate::own::{self, document};
use crate::store::StoreError;

/// Between two attempts to take the lead.
const RETRY: Duration = Duration::from_secs(1);
/// The document that says which host had it last.
const COLLECTION: &str = "plugin-lead";
const KEY: &str = "host";

impl Plugins {
    /// Starts what was deployed, if this host has the lead, and says in which term it has.
    pub(crate) async fn start(&self) -> Result<Option<u64>, StoreError> {
        let term = self.store().try_lead().await?;
        match term {
            Some(_) => {
                self.resume().await?;
                self.mark().await;
                self.0.leads.send_replace(true);
            }
            None => tracing::info!(event_id = log_id::PLUGINS_ELSEWHERE, "another host runs the plugins"),
        }
        Ok(term)
    }

    /// Keeps to what the store says: starts what was deployed when this host gets the lead, and stops it when another
    /// one has it. While the store cannot be reached nothing changes, since nobody can commit anything.
    pub(crate) async fn follow_lead(self, mut term: Option<u64>, stop: CancellationToken) -> Result<(), String> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let Ok(now) = self.store().try_lead().await else { continue };
            let is_same = now == term || now.is_some() && self.is_marked().await;
            if is_same && self.leads() == now.is_some() {
                term = now;
                continue;
            }
            if self.0.leads.send_replace(false) {
                let (event_id, again) = (log_id::PLUGINS_ELSEWHERE, now.is_some());
                tracing::warn!(event_id, again, "this host has lost the lead; it may have it again");
                self.step_down(now.is_none()).await;
            }
            if now.is_some() && self.resume().await.is_ok() {
                self.mark().await;
                self.0.leads.send_replace(true);
                tracing::info!(event_id = log_id::PLUGINS_HERE, "this host runs the plugins now");
            }
            term = now;
        }
    }

    /// Says that this host has the lead. What is not said, or not yet, only makes it begin anew when it has lost it.
    async fn mark(&self) {
        if self.store().is_shared() {
            let mark = document(COLLECTION, KEY.into(), Some(Bytes::from(self.0.mark.to_string())));
            let _ = self.0.context.committer.commit(own::unit(Vec::new(), vec![mark])).await;
        }
    }

    /// Whether no other host has had the lead since this one has said that it has it.
    async fn is_marked(&self) -> bool {
        let marked = own::read(&**self.store(), COLLECTION, KEY).await;
        marked.is_ok_and(|mark| mark.is_some_and(|mark| *mark == *self.0.mark.to_string().as_bytes()))
    }

    /// Stops what it runs, of which another host may have moved the checkpoints.
    async fn step_down(&self, forget: bool) {
        let _changing = self.0.changing.lock().await;
        self.stop().await;
        if forget {
            self.0.clear();
        }
    }

    /// Whether this host runs the plugins.
    pub fn leads(&self) -> bool {
        *self.0.leads.borrow()
    }

    /// For whatever else one host does for all.
    pub(crate) fn lead(&self) -> watch::Receiver<bool> {
        self.0.leads.subscribe()
    }
}
