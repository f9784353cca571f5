//! `wasmill plugin test`: what a plugin does with events, without a host.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use wasmill_core::limits::plugin::{CALL_EVENTS_MAX, LOG_LINES_MAX};
use wasmill_core::plugin::log::Level;
use wasmill_core::plugin::trial::{Call, Course, Life, Run, Trial};

use super::show::LogLine;
use super::trial::{
    Against, ComponentArgs, DocumentShown, Events, FailedShown, Identity, Other, OutputShown, Plural as _, RangeArgs,
    TrialArgs, engine, other, prepare, prepare_other, value,
};
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::{duration, grouped, rate};
use crate::grpc::convert;

/// Of each kind, so many are shown as text.
const TEXT_LINES_MAX: usize = 100;

#[derive(Args, Clone, Debug)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    component: ComponentArgs,
    #[command(flatten)]
    trial: TrialArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Events that are handed over at once
    #[arg(long, value_name = "EVENTS", default_value_t = CALL_EVENTS_MAX as u32,
          value_parser = clap::value_parser!(u32).range(1..=CALL_EVENTS_MAX as i64))]
    batch: u32,
    /// Another component, or a revision of the plugin that the host has: it is shown what the two make of the
    /// same events
    #[arg(long, value_name = "FILE.wasm|REVISION", value_parser = other)]
    against: Option<Other>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    plugin: Identity,
    events: Counts,
    documents: Vec<DocumentShown>,
    output: Vec<OutputShown>,
    failures: Vec<FailedShown>,
    log: Vec<LogLine>,
    cost: Cost,
    /// A hash of all documents, by which two runs can be told apart.
    read_model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

#[derive(Serialize)]
struct Counts {
    given: usize,
    /// Those that the plugin asks for.
    wanted: usize,
    handled: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cost {
    took_us: i64,
    memory_bytes: usize,
    calls: Vec<CallShown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallShown {
    events: usize,
    first: String,
    took_us: i64,
    memory_bytes: usize,
}

pub(crate) async fn run(args: TestArgs, output: Output) -> Result<(), Failure> {
    let engine = engine(&args.trial)?;
    let trial = prepare(&engine, args.component.load(&args.remote).await?, &args.trial).await?;
    let other = match &args.against {
        Some(other) => {
            let other = other.load(&trial.descriptor.name, &args.remote).await?;
            Some(prepare_other(&engine, other, &args.trial).await?)
        }
        None => None,
    };
    let from = (&args.component, &args.range, &args.remote);
    let events = Events::load(&trial, &args.trial.events, from, output).await?;
    let course = Course { batch_events: args.batch as usize, life: Life::Long, crash_after: None };
    let run = trial.run(&events.events, course).await?;
    let mut report = report(&trial, &events, &run);
    if let Some(other) = &other {
        report.against = Some(Against::of(other, &events, (&run, course)).await?);
    }
    output.show(&report)?;
    match report.failures.len() {
        0 => Ok(()),
        failed => {
            let message = format!("{} of {} failed", failed.of("event"), grouped(report.events.wanted as u64));
            Err(Failure::failed("plugin_failed", message))
        }
    }
}

fn report(trial: &Trial, events: &Events, run: &Run) -> Report {
    let handled: usize = run.calls.iter().map(|call| handed(trial, events, call)).sum();
    let calls = run.calls.iter().map(|call| CallShown {
        events: handed(trial, events, call),
        first: events.name(call.events.start),
        took_us: call.took_us,
        memory_bytes: call.memory_bytes,
    });
    let documents = run.read_model.iter().map(|((collection, key), bytes)| DocumentShown {
        collection: collection.to_string(),
        key: key.clone(),
        value: value(bytes),
    });
    let lines = trial.log.tail(LOG_LINES_MAX, Level::Trace).into_iter();
    Report {
        plugin: Identity::of(trial),
        events: Counts {
            given: events.events.len(),
            wanted: events.events.iter().filter(|event| trial.wants(event)).count(),
            handled,
        },
        documents: documents.collect(),
        output: run.output.iter().map(|output| OutputShown::of(output, events)).collect(),
        failures: run.failures.iter().map(|failed| FailedShown::of(failed, events)).collect(),
        log: lines.map(|line| LogLine::from(convert::log_line(line))).collect(),
        cost: Cost {
            took_us: run.calls.iter().map(|call| call.took_us).sum(),
            memory_bytes: run.calls.iter().map(|call| call.memory_bytes).max().unwrap_or(0),
            calls: calls.collect(),
        },
        read_model: run.hash(),
        against: None,
    }
}

/// How many events a call was handed: those between its first and its last that the plugin wants.
fn handed(trial: &Trial, events: &Events, call: &Call) -> usize {
    events.events[call.events.clone()].iter().filter(|event| trial.wants(event)).count()
}

impl Show for Report {
    fn to_text(&self) -> String {
        let Counts { given, wanted, handled } = self.events;
        let calls = self.cost.calls.len();
        let mut text = format!("{}\n", self.plugin.to_text());
        let _ = writeln!(
            text,
            "handled {} of {wanted} that it wants, of {given}, in {}",
            handled.of("event"),
            calls.of("call")
        );
        section(&mut text, "documents", self.documents.iter().map(DocumentShown::to_text));
        section(&mut text, "output", self.output.iter().map(OutputShown::to_text));
        section(&mut text, "failures", self.failures.iter().map(FailedShown::to_text));
        section(&mut text, "log", self.log.iter().map(Show::to_text));
        let slowest = self.cost.calls.iter().max_by_key(|call| call.took_us);
        if let Some(CallShown { events, first, took_us, .. }) = slowest {
            let took = Duration::from_micros(self.cost.took_us.unsigned_abs());
            let each = took.as_secs_f64() * 1e6 / handled.max(1) as f64;
            let (per_second, whole) = (grouped(rate(handled as u64, took)), duration(took));
            let _ = write!(text, "\ncost\n  {whole} in the plugin: {each:.1} us an event, {per_second} events/s");
            let slowest = duration(Duration::from_micros(took_us.unsigned_abs()));
            let _ = write!(text, "\n  slowest call: {slowest} for {}, from {first} on", events.of("event"));
            let kib = self.cost.memory_bytes / 1024;
            let _ = write!(text, "\n  memory of an instance: {} KiB", grouped(kib as u64));
        }
        if let Some(against) = &self.against {
            let _ = write!(text, "\n\n{}", against.to_text());
        }
        text
    }
}

/// A heading with its lines, where there are any.
fn section(text: &mut String, heading: &str, lines: impl ExactSizeIterator<Item = String>) {
    let count = lines.len();
    if count == 0 {
        return;
    }
    let _ = writeln!(text, "\n{heading}");
    for line in lines.take(TEXT_LINES_MAX) {
        let _ = writeln!(text, "  {line}");
    }
    if count > TEXT_LINES_MAX {
        let _ = writeln!(text, "  and {} more; --output json shows all", grouped((count - TEXT_LINES_MAX) as u64));
    }
}
