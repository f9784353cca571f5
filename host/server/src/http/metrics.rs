//! `GET /metrics`: what the host counts, in the text format of Prometheus.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Opts, TextEncoder, core::Collector};
use wasmill_core::code::{Code, Problem};

use super::problem::Refusal;
use super::streams::typed;
use crate::app::App;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response<Body>, Refusal> {
    app.host.refresh_metrics();
    let mut families = app.host.metrics.registry.gather();
    families.extend(of_the_process(&app));
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let text = TextEncoder::new().encode_to_string(&families);
    let text = text.map_err(|_| Problem::new(Code::Internal, "the metrics could not be written"))?;
    Ok(typed(CONTENT_TYPE, Body::from(text)))
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
