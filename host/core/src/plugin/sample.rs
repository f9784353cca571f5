//! A look at each new revision of a projection: whether it comes to the same again, on a sample of its events.
//!
//! It runs beside the build and holds nothing up. What it finds is said in the plugin's log, where its author looks;
//! a person decides what becomes of it.

use std::sync::Arc;

use super::log::Level;
use super::registry::{Deployment, Plugins, Ready};
use super::trial::Trial;
use super::verify::{Divergence, verify};
use crate::event::Position;
use crate::limits::plugin as limits;
use crate::log_id;
use crate::store::{Direction, PageLimit};

impl Plugins {
    /// Verifies a revision on the first events that it wants.
    pub(super) fn verify_later(&self, deployment: &Deployment, ready: &Ready) {
        let (this, filter) = (self.clone(), ready.descriptor.filter());
        let (name, log) = (deployment.record.name.clone(), Arc::clone(&deployment.log));
        let trial = Trial {
            module: Arc::clone(&ready.module),
            descriptor: (*ready.descriptor).clone(),
            config: deployment.setup.pairs(&ready.descriptor),
            grants: Arc::default(),
            // Its words are those of a rehearsal.
            log: Arc::new(super::log::PluginLog::new(&*name)),
            memory_bytes_max: deployment.settings().memory_bytes_max(),
            clock: Arc::clone(&self.0.context.clock),
        };
        let stop = self.0.tasks.stop_token();
        self.0.tasks.spawn("verify", async move {
            let limit = PageLimit { events: limits::SAMPLE_EVENTS, bytes: limits::CALL_BYTES_MAX };
            let look = async {
                let page =
                    this.0.context.reader.log_page(Position(0), Direction::Forward, &filter, limit).await.ok()?;
                let verified = verify(&trial, &page.events).await.ok()?;
                let found = verified.into_iter().find_map(|verified| verified.difference)?;
                Some((page.events[found.event()].position(), found))
            };
            // A host that stops does not wait for it.
            if let Some(Some((position, found))) = stop.run_until_cancelled(look).await {
                let what = match found {
                    Divergence::Document { collection, key, .. } => format!("document {collection}/{key}"),
                    Divergence::Output { .. } => "its output".to_owned(),
                    Divergence::Failure { .. } => "whether it fails".to_owned(),
                };
                let message = format!(
                    "it is not a function of its events: {what} differs with other batches or instances, up to the \
                     event at position {position}; a rebuild may come to something else (wasmill plugin verify)"
                );
                tracing::warn!(event_id = log_id::PLUGIN_DIVERGES, plugin = name, message, "a projection diverges");
                log.write(this.0.context.clock.now(), Level::Warn, &message, Vec::new());
            }
            Ok(())
        });
    }
}
