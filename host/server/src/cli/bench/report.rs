//! What was measured, and under which conditions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::output::Show;
use crate::cli::table::{duration, grouped, rate, table};

/// Latencies are kept to three digits.
const DIGITS: u8 = 3;
const LATENCY_MAX: Duration = Duration::from_secs(60);

#[derive(Serialize)]
pub(crate) struct Report {
    pub conditions: Conditions,
    pub measurements: Vec<Measurement>,
}

/// Without these a figure means nothing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conditions {
    pub wasmill: &'static str,
    pub host: String,
    /// Cores that client and host share, if the host is on this machine.
    pub cores: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    pub system: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub event_data_bytes: usize,
    pub durability: &'static str,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Conditions {
    pub(crate) fn here(event_data_bytes: usize, host: String) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let model = |text: String| {
            let line = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?.1.trim().to_owned();
            Some(line)
        };
        let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            wasmill: env!("CARGO_PKG_VERSION"),
            host,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: read("/proc/cpuinfo").and_then(model),
            system: format!("{} {} {}", std::env::consts::OS, std::env::consts::ARCH, kernel.trim()).trim().to_owned(),
            event_data_bytes,
            durability: "an append is answered after fsync",
        }
    }
}

/// One figure, or several of one run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measurement {
    pub what: String,
    pub events: u64,
    pub seconds: f64,
    pub events_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Whatever else was seen, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<&'static str, String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

impl Measurement {
    pub(crate) fn of(what: impl Into<String>, events: u64, took: Duration) -> Self {
        let (what, seconds, events_per_second) = (what.into(), took.as_secs_f64(), rate(events, took));
        Self { what, events, seconds, events_per_second, ..Self::default() }
    }

    #[must_use]
    pub(crate) fn with_latency(mut self, latencies: &Latencies) -> Self {
        self.latency = latencies.summary();
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.also.insert(name, value.into());
        self
    }
}

/// Latencies of many calls.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let max = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_bounds(1, max, DIGITS).expect("the bounds are in order"))
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        // Above a minute it counts as a minute.
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many times as long the slowest hundredth takes.
    pub(crate) fn p99_over(&self, other: &Self) -> Option<f64> {
        let p99 = |latencies: &Self| latencies.0.value_at_quantile(0.99) as f64;
        (!self.0.is_empty() && p99(other) > 0.0).then(|| p99(self) / p99(other))
    }

    /// Nothing was measured: there is nothing to say.
    pub(crate) fn summary(&self) -> Option<Latency> {
        let at = |quantile| self.0.value_at_quantile(quantile) / 1_000;
        let [p50_us, p90_us, p99_us, p999_us] = [0.5, 0.9, 0.99, 0.999].map(at);
        (!self.0.is_empty()).then(|| Latency { p50_us, p90_us, p99_us, p999_us, max_us: self.0.max() / 1_000 })
    }
}

fn micros(us: u64) -> String {
    if us < 10_000 { format!("{} us", grouped(us)) } else { duration(Duration::from_micros(us)) }
}

impl Show for Report {
    fn to_text(&self) -> String {
        let rows = self.measurements.iter().map(|measurement| {
            let Measurement { what, events, seconds, events_per_second, latency, also } = measurement;
            let latency = latency.map_or([String::new(), String::new(), String::new()], |latency| {
                [latency.p50_us, latency.p99_us, latency.max_us].map(micros)
            });
            let [p50, p99, max] = latency;
            let rate = if *events == 0 { String::new() } else { format!("{}/s", grouped(*events_per_second)) };
            let also: Vec<String> = also.iter().map(|(name, value)| format!("{name} {value}")).collect();
            let took = duration(Duration::from_secs_f64(*seconds));
            [what.clone(), rate, took, p50, p99, max, also.join(", ")]
        });
        let mut text = table(["", ">events", ">in", ">p50", ">p99", ">max", ""], rows);
        let Conditions { wasmill, host, cores, processor, system, event_data_bytes, durability } = &self.conditions;
        let processor = processor.as_deref().unwrap_or("an unknown processor");
        let _ =
            write!(text, "\n\nwasmill {wasmill}, host: {host}; {cores} cores of {processor}; {system}; {durability}");
        if *event_data_bytes > 0 {
            let _ = write!(text, "; {event_data_bytes} bytes of JSON data an event");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut latencies = Latencies::new();
        assert!(latencies.summary().is_none());
        for us in 1..=1_000 {
            latencies.add(Duration::from_micros(us));
        }
        latencies.add(Duration::from_secs(1_000));
        let summary = latencies.summary().unwrap();
        assert!((499..=502).contains(&summary.p50_us), "{summary:?}");
        assert!((988..=993).contains(&summary.p99_us), "{summary:?}");
        assert!(summary.max_us >= 59_000_000, "{summary:?}");
    }

    #[test]
    fn a_report_names_its_conditions() {
        let measurement = Measurement::of("append", 1_000, Duration::from_millis(500)).with("of echo", "0.70");
        let conditions = Conditions::here(256, "http://127.0.0.1:7400".into());
        let text = Report { conditions, measurements: vec![measurement] }.to_text();
        for part in ["2,000/s", "of echo 0.70", "256 bytes", "fsync", "127.0.0.1:7400"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
