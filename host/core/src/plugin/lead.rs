//! Which of several hosts on one store runs the plugins.
//!
//! One does, so that the work is done once; whichever takes the lead when the last one has let go of it. One that has
//! lost it stops them, and may get it again. Nothing depends on it but time: two that both believed to lead would fence each other off by the
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

    /// Keeps to what the store says: starts what was deployed when this host gets the lead, and stops it when the
    /// lead is lost, since another host may have it then.
    pub(crate) async fn follow_lead(self, stop: CancellationToken) -> Result<(), String> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            // A store that cannot be reached has ended the lead with its session.
            let has_it = matches!(self.store().try_lead().await, Ok(true));
            if has_it && !self.leads() && self.resume().await.is_ok() {
                self.0.leads.send_replace(true);
                tracing::info!(event_id = log_id::PLUGINS_HERE, "this host runs the plugins now");
            } else if !has_it && self.leads() {
                self.0.leads.send_replace(false);
                tracing::warn!(
                    event_id = log_id::PLUGINS_ELSEWHERE,
                    "this host has lost the lead, and stops the plugins"
                );
                self.step_down().await;
            }
        }
    }

    /// As it was before it had the lead.
    async fn step_down(&self) {
        let _changing = self.0.changing.lock().await;
        self.stop().await;
        self.0.clear();
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
