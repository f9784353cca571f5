//! `GET /metrics`: what the host counts, in the text format of Prometheus.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, Opts, Registry, TextEncoder, core::Collector};
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::plugin as limits;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::plugin::status;

use super::problem::Refusal;
use super::streams::typed;
use crate::app::App;
use crate::plugins;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATES: [status::State; 6] = [
    status::State::CatchingUp,
    status::State::Live,
    status::State::Retrying,
    status::State::Paused,
    status::State::Stopped,
    status::State::Ready,
];

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response<Body>, Refusal> {
    app.host.refresh_metrics();
    let mut families = app.host.metrics.registry.gather();
    families.extend(of_the_process(&app));
    families.extend(of_plugins(&app).await?);
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let text = TextEncoder::new().encode_to_string(&families);
    let text = text.map_err(unwritable)?;
    Ok(typed(CONTENT_TYPE, Body::from(text)))
}

/// How plugins are, and what they may have: their use stands beside it, under core's names.
async fn of_plugins(app: &App) -> Result<Vec<MetricFamily>, Problem> {
    let registry = Registry::new_custom(Some("wasmill".into()), None).map_err(unwritable)?;
    let gauges = |name: &str, help: &str, labels: &[&str]| {
        let gauges = GaugeVec::new(Opts::new(name, help), labels).map_err(unwritable)?;
        registry.register(Box::new(gauges.clone())).map_err(unwritable)?;
        Ok::<_, Problem>(gauges)
    };
    let by_name = &["plugin"];
    let memory = gauges("plugin_memory_limit_bytes", "Guest memory that one instance may have.", by_name)?;
    let deadline = gauges("plugin_call_deadline_seconds", "Guest time that one call may take.", by_name)?;
    let changed =
        gauges("plugin_changed_limit_bytes", "Documents that one checkpoint of a plugin may change.", by_name)?;
    let outbox = gauges("plugin_outbox_limit_bytes", "What one call of a handler may emit.", by_name)?;
    let state = gauges("plugin_state", "1 for the state that a plugin is in, else 0.", &["plugin", "kind", "state"])?;
    let lag_events = gauges("handler_lag_events", "Positions between a handler and the end of the log.", by_name)?;
    let lag_seconds =
        gauges("handler_lag_seconds", "Age of the oldest event that a handler has not handled.", by_name)?;
    for plugin in plugins::seen(app).await {
        let name = &[plugin.record.name.as_str()];
        let limit = plugin.settings.memory_bytes.unwrap_or(app.limits.memory_bytes);
        memory.with_label_values(name).set(number(limit));
        deadline.with_label_values(name).set(app.limits.call_deadline.as_secs_f64());
        if matches!(plugin.record.kind, Kind::Projection | Kind::Handler) {
            changed.with_label_values(name).set(number(limits::OVERLAY_BYTES_MAX as u64));
        }
        for one in STATES {
            let labels = &[name[0], plugin.record.kind.as_str(), one.as_str()];
            state.with_label_values(labels).set(f64::from(u8::from(one == plugin.state)));
        }
        if plugin.record.kind == Kind::Handler {
            outbox.with_label_values(name).set(number(limits::OUTBOX_BYTES_MAX as u64));
            lag_events.with_label_values(name).set(number(plugins::lag_events(&plugin)));
            lag_seconds.with_label_values(name).set(number(plugin.lag_seconds));
        }
    }
    Ok(registry.gather())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn number(value: u64) -> f64 {
    value as f64
}

fn unwritable(_: prometheus::Error) -> Problem {
    Problem::new(Code::Internal, "the metrics could not be written")
}

/// What every Prometheus user knows of any process, under the usual names.
fn of_the_process(app: &App) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        let gauge = Gauge::with_opts(Opts::new(name, help));
        if let (Ok(gauge), Some(value)) = (gauge, value) {
            gauge.set(value);
            families.extend(gauge.collect());
        }
    };
    let uptime = app.started.elapsed().as_secs_f64();
    gauge("wasmill_uptime_seconds", "Time since the host was started.", Some(uptime));
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        status_kib("VmRSS:").map(|kib| kib * 1024.0),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        status_kib("VmSize:").map(|kib| kib * 1024.0),
    );
    gauge("process_open_fds", "Number of open file descriptors.", open_files());
    let build = Opts::new("wasmill_build_info", "1, with the version of the host.");
    if let Ok(build) = Gauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION"))) {
        build.set(1.0);
        families.extend(build.collect());
    }
    families
}

/// A line of what Linux tells of a process; other systems have no such file.
fn status_kib(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn open_files() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}
