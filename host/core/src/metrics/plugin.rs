//! What plugins use of their sandbox, and where they meet its limits.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::{counters, gauges, histograms, seconds};
use crate::guest::{Batch, Guest, GuestError, Limit};

#[derive(Debug)]
pub struct PluginMetrics {
    pub failures: IntCounterVec,
    pub retries: IntCounterVec,
    limit_exceeded: IntCounterVec,
    memory_bytes: IntGaugeVec,
    changed_bytes: IntGaugeVec,
    outbox_bytes: IntGaugeVec,
    call_seconds: HistogramVec,
}

impl PluginMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let by_name = &["plugin"];
        Ok(Self {
            failures: counters(r, "plugin_failures_total", "Failed calls into a plugin.", &["plugin", "reason"])?,
            retries: counters(r, "plugin_retries_total", "Calls into a plugin that were repeated.", by_name)?,
            limit_exceeded: counters(
                r,
                "plugin_limit_exceeded_total",
                "How often a plugin asked for more than its sandbox gives, by what it asked for.",
                &["plugin", "limit"],
            )?,
            memory_bytes: gauges(r, "plugin_memory_bytes", "Guest memory of the largest warm instance.", by_name)?,
            changed_bytes: gauges(
                r,
                "plugin_changed_bytes",
                "Documents that the newest checkpoint has changed, before it was committed.",
                by_name,
            )?,
            outbox_bytes: gauges(r, "plugin_outbox_bytes", "What the newest call of a handler has emitted.", by_name)?,
            call_seconds: histograms(
                r,
                seconds("plugin_call_seconds", "Guest time of a call: how long it computed."),
                by_name,
            )?,
        })
    }

    /// A call is over; `time` is what the guest has computed, where that is known.
    pub(crate) fn called(&self, plugin: &str, time: Option<Duration>) {
        if let Some(time) = time {
            self.call_seconds.with_label_values(&[plugin]).observe(time.as_secs_f64());
        }
    }

    pub(crate) fn failed(&self, plugin: &str, error: &GuestError) {
        self.failures.with_label_values(&[plugin, error.reason()]).inc();
        if let Some(limit) = error.limit() {
            self.exceeded(plugin, limit, 1);
        }
    }

    pub(crate) fn exceeded(&self, plugin: &str, limit: Limit, times: u64) {
        self.limit_exceeded.with_label_values(&[plugin, limit.as_str()]).inc_by(times);
    }

    pub(crate) fn uses_memory(&self, plugin: &str, bytes: usize) {
        set(&self.memory_bytes, plugin, bytes);
    }

    pub(crate) fn changes(&self, plugin: &str, bytes: usize) {
        set(&self.changed_bytes, plugin, bytes);
    }

    /// What a call of a handler took.
    pub(crate) fn handled(&self, plugin: &str, guest: &dyn Guest, batch: &Batch) {
        self.called(plugin, guest.call_time());
        self.uses_memory(plugin, guest.memory_bytes());
        self.changes(plugin, batch.state.overlay_bytes());
        set(&self.outbox_bytes, plugin, batch.outbox.bytes());
    }

    pub(super) fn forget(&self, plugin: &str) {
        let name = &[plugin];
        for limit in Limit::ALL {
            let _ = self.limit_exceeded.remove_label_values(&[plugin, limit.as_str()]);
        }
        for reason in GuestError::REASONS {
            let _ = self.failures.remove_label_values(&[plugin, reason]);
        }
        let _ = self.retries.remove_label_values(name);
        let _ = self.memory_bytes.remove_label_values(name);
        let _ = self.changed_bytes.remove_label_values(name);
        let _ = self.outbox_bytes.remove_label_values(name);
        let _ = self.call_seconds.remove_label_values(name);
    }
}

fn set(gauges: &IntGaugeVec, plugin: &str, bytes: usize) {
    gauges.with_label_values(&[plugin]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
}
