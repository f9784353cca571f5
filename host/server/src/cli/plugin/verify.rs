//! `wasmill plugin verify`: whether a plugin is a function of its events, and how it differs from another.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use wasmill_core::plugin::trial::{Course, Life};
use wasmill_core::plugin::verify::{Divergence, REFERENCE, Verified, verify};

use super::trial::{
    Against, ComponentArgs, Events, Identity, Other, Plural as _, RangeArgs, TrialArgs, engine, other, prepare,
    prepare_other,
};
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::table;

#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    component: ComponentArgs,
    #[command(flatten)]
    trial: TrialArgs,
    #[command(flatten)]
    range: RangeArgs,
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
    events: usize,
    /// Whether every run came to the same.
    same: bool,
    runs: Vec<RunShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunShown {
    batch_events: usize,
    /// Whether each call had an instance of its own.
    fresh_instances: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    crash_after: Option<usize>,
    read_model: String,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<DivergenceShown>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DivergenceShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    /// What it is, where it is no document.
    what: &'static str,
    event: String,
}

pub(crate) async fn run(args: VerifyArgs, output: Output) -> Result<(), Failure> {
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
    let verified = verify(&trial, &events.events).await?;
    let against = match &other {
        Some(other) => Some(Against::of(other, &events, (&verified[0].run, REFERENCE)).await?),
        None => None,
    };
    let runs: Vec<RunShown> = verified.iter().map(|verified| RunShown::of(verified, &events)).collect();
    let same = runs.iter().all(|run| run.differs.is_none());
    let wanted = events.events.iter().filter(|event| trial.wants(event)).count();
    output.show(&Report { plugin: Identity::of(&trial), events: wanted, same, runs, against })?;
    if same {
        return Ok(());
    }
    let message = "what it comes to depends on how its events are handed over";
    let help = "Look for the clock, random numbers, or something that is kept outside of the state: a plugin's time \
                is its events', and nothing outlives a batch but its documents.";
    Err(Failure::failed("not_deterministic", message).with_help(help))
}

impl RunShown {
    fn of(verified: &Verified, events: &Events) -> Self {
        let Verified { course, run, difference } = verified;
        let Course { batch_events, life, crash_after } = *course;
        Self {
            batch_events,
            fresh_instances: life == Life::OneCall,
            crash_after,
            read_model: run.hash(),
            failed: run.failures.len(),
            differs: difference.as_ref().map(|difference| DivergenceShown::of(difference, events)),
        }
    }
}

impl DivergenceShown {
    fn of(difference: &Divergence, events: &Events) -> Self {
        let (document, what) = match difference {
            Divergence::Document { collection, key, .. } => (Some(format!("{collection}/{key}")), "document"),
            Divergence::Output { .. } => (None, "output"),
            Divergence::Failure { .. } => (None, "failure"),
        };
        Self { document, what, event: events.name(difference.event()) }
    }
}

impl Show for Report {
    fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.plugin.to_text());
        let _ = writeln!(text, "{} in {}\n", self.events.of("event"), self.runs.len().of("run"));
        let rows = self.runs.iter().enumerate().map(|(n, run)| {
            let instances = if run.fresh_instances { "one a call" } else { "one for all" };
            let crash = run.crash_after.map_or(String::new(), |after| format!("after {after}"));
            let outcome = match &run.differs {
                None if n == 0 => "held against".to_owned(),
                None => "the same".to_owned(),
                Some(DivergenceShown { document, what, event }) => {
                    format!("DIFFERS: {} {}, first at {event}", what, document.as_deref().unwrap_or_default())
                }
            };
            let hash = run.read_model.get(..12).unwrap_or_default().to_owned();
            [run.batch_events.to_string(), instances.into(), crash, run.failed.to_string(), hash, outcome]
        });
        text.push_str(&table([">batch", "instances", "crash", ">failed", "read model", "outcome"], rows));
        if let Some(against) = &self.against {
            let _ = write!(text, "\n\n{}", against.to_text());
        }
        text
    }
}
