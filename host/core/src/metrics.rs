//! What the host counts, defined in one place so that names and units agree.
//!
//! Names follow Prometheus: base units, `_total` for counters.

mod plugin;

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub use plugin::PluginMetrics;

#[derive(Debug)]
pub struct Metrics {
    pub registry: Registry,
    pub events_published: IntCounter,
    pub units_rejected: IntCounter,
    pub queued_appends_failed: IntCounter,
    pub events_removed: IntCounter,
    pub streams_deleted: IntCounter,
    pub retention_last_run_seconds: Gauge,
    pub retention_duration_seconds: Gauge,
    pub commit_seconds: Histogram,
    pub commit_units: Histogram,
    pub tail_position: IntGauge,
    pub tail_cache_bytes: IntGauge,
    pub events_delivered: IntCounterVec,
    pub followers: IntGauge,
    pub document_changes_delivered: IntCounterVec,
    pub change_followers: IntGauge,
    pub replayed_events: IntCounterVec,
    pub scheduled_events: IntCounterVec,
    pub receipts: IntCounterVec,
    pub push_connections: IntGaugeVec,
    pub push_subscriptions: IntGaugeVec,
    pub requests: IntCounterVec,
    pub request_seconds: HistogramVec,
    pub projection_events: IntCounterVec,
    pub projection_documents: IntCounterVec,
    pub projection_lag_events: IntGaugeVec,
    pub projection_lag_seconds: IntGaugeVec,
    pub projection_state: IntGaugeVec,
    pub projection_batch_seconds: HistogramVec,
    pub plugins: PluginMetrics,
    pub handler_events: IntCounterVec,
    pub handler_emitted: IntCounterVec,
    pub sagas_started: IntCounterVec,
    pub sagas_ended: IntCounterVec,
    pub saga_attempts: IntCounterVec,
    pub saga_seconds: HistogramVec,
    pub sagas_active: IntGauge,
    pub sagas_waiting: IntGauge,
    pub sagas_paused: IntGauge,
    pub upcast_events: IntCounterVec,
    pub upcast_failures: IntCounterVec,
    pub group_events: IntCounterVec,
    pub group_processing_seconds: HistogramVec,
    pub group_lag_events: IntGaugeVec,
    pub group_lag_seconds: IntGaugeVec,
    pub group_unsettled_events: IntGaugeVec,
    pub group_in_flight_events: IntGaugeVec,
    pub group_parked_keys: IntGaugeVec,
    pub group_members: IntGaugeVec,
    pub group_health: IntGaugeVec,
}

/// What may become of a delivery.
pub const GROUP_OUTCOMES: [&str; 7] = ["delivered", "redelivered", "settled", "refused", "lost", "parked", "dropped"];

/// 50 us to 5 s: an fsync on a good disk is at the lower end, a stuck one at the upper.
const SECONDS: [f64; 16] =
    [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

impl Metrics {
    /// Registers everything in a registry of its own, so that several hosts can live in one process.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("wasmill".into()), None)?;
        let r = &registry;
        let powers = (0..12).map(|n| f64::from(1 << n)).collect();
        Ok(Self {
            events_published: counter(r, "events_published_total", "Events committed to the log.")?,
            units_rejected: counter(r, "commit_units_rejected_total", "Commit units turned away by their conditions.")?,
            queued_appends_failed: counter(
                r,
                "queued_appends_failed_total",
                "Appends answered when they were queued that were not stored after all.",
            )?,
            events_removed: counter(
                r,
                "events_removed_total",
                "Events removed by truncation, deletion and retention.",
            )?,
            streams_deleted: counter(r, "streams_deleted_total", "Streams deleted, on request or because empty.")?,
            retention_last_run_seconds: seconds_gauge(
                r,
                "retention_last_run_timestamp_seconds",
                "When retention last ran, since 1970.",
            )?,
            retention_duration_seconds: seconds_gauge(r, "retention_last_run_duration_seconds", "How long it took.")?,
            commit_seconds: histogram(r, seconds("commit_seconds", "Time of one transaction of the group commit."))?,
            commit_units: histogram(
                r,
                HistogramOpts::new("commit_units", "Commit units that shared one transaction.").buckets(powers),
            )?,
            tail_position: gauge(r, "log_next_position", "Position that the next event gets.")?,
            tail_cache_bytes: gauge(r, "tail_cache_bytes", "Memory of the newest events.")?,
            events_delivered: counters(r, "events_delivered_total", "Events handed to readers.", &["via"])?,
            followers: gauge(r, "followers", "Readers that follow the log or a stream live.")?,
            document_changes_delivered: counters(
                r,
                "document_changes_delivered_total",
                "Changes of documents handed to those who follow a read model.",
                &["via"],
            )?,
            change_followers: gauge(r, "change_followers", "Readers that follow a read model live.")?,
            replayed_events: counters(
                r,
                "replayed_events_total",
                "Events that replays have handed over, by for whom: group or client.",
                &["target"],
            )?,
            scheduled_events: counters(
                r,
                "scheduled_events_total",
                "Times of schedules: published or failed.",
                &["outcome"],
            )?,
            receipts: counters(r, "receipts_total", "Receipts noted: delivered or read.", &["mark"])?,
            push_connections: gauges(
                r,
                "push_connections",
                "Open connections of the SignalR hub and WebSockets.",
                &["transport"],
            )?,
            push_subscriptions: gauges(
                r,
                "push_subscriptions",
                "Subscriptions over the SignalR hub and WebSockets.",
                &["transport"],
            )?,
            requests: counters(r, "requests_total", "Requests answered.", &["api", "route", "status"])?,
            request_seconds: histograms(r, seconds("request_seconds", "Time to answer a request."), &["api", "route"])?,
            projection_events: counters(r, "projection_events_total", "Events folded by a projection.", &["plugin"])?,
            projection_documents: counters(
                r,
                "projection_documents_total",
                "Documents written by a projection.",
                &["plugin"],
            )?,
            projection_lag_events: gauges(
                r,
                "projection_lag_events",
                "Positions between a projection and the end of the log.",
                &["plugin"],
            )?,
            projection_lag_seconds: gauges(
                r,
                "projection_lag_seconds",
                "Age of the oldest event that a projection has not folded.",
                &["plugin"],
            )?,
            projection_state: gauges(
                r,
                "projection_paused",
                "1 when a projection is paused and needs a person, else 0.",
                &["plugin"],
            )?,
            projection_batch_seconds: histograms(
                r,
                seconds("projection_batch_seconds", "Time to fold and commit one checkpoint's events."),
                &["plugin"],
            )?,
            plugins: PluginMetrics::new(r)?,
            handler_events: counters(r, "handler_events_total", "Events that a handler has handled.", &["plugin"])?,
            handler_emitted: counters(
                r,
                "handler_emitted_events_total",
                "Events that a handler emitted.",
                &["plugin"],
            )?,
            sagas_started: counters(r, "sagas_started_total", "Sagas that were started.", &["saga"])?,
            sagas_ended: counters(r, "sagas_ended_total", "Sagas that have ended, by how.", &["saga", "state"])?,
            saga_attempts: counters(
                r,
                "saga_attempts_total",
                "Attempts at steps that have ended, by how.",
                &["saga", "outcome"],
            )?,
            saga_seconds: histograms(
                r,
                HistogramOpts::new("saga_seconds", "From the start of a saga to its end.")
                    .buckets(prometheus::exponential_buckets(0.001, 4.0, 14)?),
                &["saga"],
            )?,
            sagas_active: gauge(r, "sagas_active", "Sagas that are driven, or queue for it.")?,
            sagas_waiting: gauge(r, "sagas_waiting", "Sagas at rest that a time or an event will wake.")?,
            sagas_paused: gauge(r, "sagas_paused", "Sagas that go no further without a person.")?,
            upcast_events: counters(r, "upcast_events_total", "Events that an upcaster has lifted.", &["plugin"])?,
            upcast_failures: counters(
                r,
                "upcast_failures_total",
                "Events that an upcaster could not lift.",
                &["plugin"],
            )?,
            group_events: counters(
                r,
                "group_events_total",
                "What became of a group's deliveries: delivered, redelivered, settled, refused, lost, parked, dropped.",
                &["group", "outcome"],
            )?,
            group_processing_seconds: histograms(
                r,
                seconds("group_processing_seconds", "Time from a delivery to its acknowledgement."),
                &["group"],
            )?,
            group_lag_events: gauges(
                r,
                "group_lag_events",
                "Positions of the log that a group has not settled.",
                &["group"],
            )?,
            group_lag_seconds: gauges(
                r,
                "group_lag_seconds",
                "Age of the oldest event that a group has read and not settled.",
                &["group"],
            )?,
            group_unsettled_events: gauges(
                r,
                "group_unsettled_events",
                "Events that a group has read and not settled.",
                &["group"],
            )?,
            group_in_flight_events: gauges(
                r,
                "group_in_flight_events",
                "Events in the hands of a group's members.",
                &["group"],
            )?,
            group_parked_keys: gauges(r, "group_parked_keys", "Keys of a group that have dead letters.", &["group"])?,
            group_members: gauges(r, "group_members", "Members of a group on this host.", &["group"])?,
            group_health: gauges(
                r,
                "group_health",
                "0 when a group is healthy, 1 when it is degraded, 2 when it is unhealthy.",
                &["group"],
            )?,
            registry,
        })
    }

    /// Forgets the series of a group that is gone.
    pub fn forget_group(&self, group: &str) {
        for outcome in GROUP_OUTCOMES {
            let _ = self.group_events.remove_label_values(&[group, outcome]);
        }
        let name = &[group];
        let _ = self.group_processing_seconds.remove_label_values(name);
        let gauges = [
            &self.group_lag_events,
            &self.group_lag_seconds,
            &self.group_unsettled_events,
            &self.group_in_flight_events,
            &self.group_parked_keys,
            &self.group_members,
            &self.group_health,
        ];
        for gauge in gauges {
            let _ = gauge.remove_label_values(name);
        }
    }

    /// Forgets the series of a plugin that is gone.
    pub fn forget_plugin(&self, plugin: &str) {
        let name = &[plugin];
        let _ = self.projection_events.remove_label_values(name);
        let _ = self.projection_documents.remove_label_values(name);
        let _ = self.projection_lag_events.remove_label_values(name);
        let _ = self.projection_lag_seconds.remove_label_values(name);
        let _ = self.projection_state.remove_label_values(name);
        let _ = self.projection_batch_seconds.remove_label_values(name);
        self.plugins.forget(plugin);
        let _ = self.handler_events.remove_label_values(name);
        let _ = self.handler_emitted.remove_label_values(name);
        let _ = self.upcast_events.remove_label_values(name);
        let _ = self.upcast_failures.remove_label_values(name);
    }
}

fn seconds(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(SECONDS.to_vec())
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn seconds_gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    let metric = Gauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(registry: &Registry, opts: HistogramOpts) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(opts)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histograms(registry: &Registry, opts: HistogramOpts, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
    let metric = HistogramVec::new(opts, labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
