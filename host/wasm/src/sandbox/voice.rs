//! How a guest speaks: to its plugin's log, if it has one yet.

use std::sync::Arc;

use wasmill_core::clock::Clock;
use wasmill_core::plugin::log::{Level, PluginLog};

#[derive(Clone)]
pub(crate) struct Voice {
    /// None while a component describes itself: nothing is known of it that a log could be named by.
    log: Option<Arc<PluginLog>>,
    clock: Arc<dyn Clock>,
}

impl Voice {
    pub(crate) fn new(log: Option<Arc<PluginLog>>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock }
    }

    pub(crate) fn begin_call(&self) {
        if let Some(log) = &self.log {
            log.begin_call(self.clock.now());
        }
    }

    pub(crate) fn say(&self, level: Level, message: &str, fields: Vec<(String, String)>) {
        if let Some(log) = &self.log {
            log.write(self.clock.now(), level, message, fields);
        }
    }
}
