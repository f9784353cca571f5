//! Which of several hosts on one store runs the plugins.
//!
//! One does, so that the work is done once; whichever takes the lead when the last one has let go of it.
//! Nothing depends on it but time: two that both believed to lead would fence each other off by the
//! checkpoints that they move.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::registry::Plugins;
use crate::log_id;
use crate::store::StoreError;

/// Between two attempts to take the lead.
const RETRY: Duration = Duration::from_secs(1);

impl Plugins {
    /// Starts what was deployed, if this host has the lead, and says whether it has.
    pub(crate) async fn start(&self) -> Result<bool, StoreError> {
        if !self.store().try_lead().await? {
            tracing::info!(event_id = log_id::PLUGINS_ELSEWHERE, "another host runs the plugins");
            return Ok(false);
        }
        self.resume().await?;
        self.0.leads.send_replace(true);
        Ok(true)
    }

    /// Waits for the lead, then starts what was deployed.
    pub(crate) async fn start_later(self, stop: CancellationToken) -> Result<(), String> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            // What goes wrong here is tried again, as the other host may have ended with the database.
            if matches!(self.store().try_lead().await, Ok(true)) && self.resume().await.is_ok() {
                self.0.leads.send_replace(true);
                tracing::info!(event_id = log_id::PLUGINS_HERE, "this host runs the plugins now");
                return Ok(());
            }
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
