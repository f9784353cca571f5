//! A plugin run in this process, on events from a file or from a host: what `plugin test` and
//! `plugin verify` share.

mod against;
mod events;
mod show;
mod source;

use std::sync::Arc;

use bytesize::ByteSize;
use clap::Args;
use wasmill_core::clock::SystemClock;
use wasmill_core::code::Problem;
use wasmill_core::guest::GuestEngine;
use wasmill_core::plugin::deploy::DeployError;
use wasmill_core::plugin::descriptor::Descriptor;
use wasmill_core::plugin::log::PluginLog;
use wasmill_core::plugin::setup::{Broken, SetupChange};
use wasmill_core::plugin::trial::{Trial, TrialError};
use wasmill_wasm::{WasmConfig, WasmEngine};

pub(crate) use against::Against;
pub(crate) use events::{Events, EventsArgs, RangeArgs};
pub(crate) use show::{DocumentShown, FailedShown, Identity, OutputShown, Plural, value};
pub(crate) use source::{Component, ComponentArgs, Other, other};

use crate::cli::exit::Failure;

/// Two components at a time, and an instance that starts while another ends.
const INSTANCES_MAX: u32 = 8;

#[derive(Args, Clone, Debug)]
pub(crate) struct TrialArgs {
    #[command(flatten)]
    pub events: EventsArgs,
    /// A setting of the plugin, beside those that a deployed one has. May be given several times
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// A capability that the plugin has, such as append:mail-*, beside those that a deployed one was granted.
    /// May be given several times [default of a file: all that it asks for]
    #[arg(long = "grant", value_name = "CAPABILITY")]
    pub grants: Vec<String>,
    /// Memory that the plugin may have
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub memory: ByteSize,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The engine that a host has, with nothing kept over the end of this process.
pub(crate) fn engine(args: &TrialArgs) -> Result<WasmEngine, Failure> {
    let memory_bytes_max = usize::try_from(args.memory.as_u64()).unwrap_or(usize::MAX);
    let config = WasmConfig { memory_bytes_max, instances_max: INSTANCES_MAX, ..WasmConfig::default() };
    WasmEngine::new(config, Arc::new(SystemClock)).map_err(|error| Failure::failed("engine", error.to_string()))
}

/// The one that another is held against: a revision is as it was deployed, whatever the other one is given.
pub(crate) async fn prepare_other(
    engine: &WasmEngine,
    component: Component,
    args: &TrialArgs,
) -> Result<Trial, Failure> {
    let mut args = args.clone();
    if component.setup.is_some() {
        args.settings.clear();
        args.grants.clear();
    }
    prepare(engine, component, &args).await
}

/// Checks and compiles a component as a host does at its upload, and gives it what the arguments say.
pub(crate) async fn prepare(engine: &WasmEngine, component: Component, args: &TrialArgs) -> Result<Trial, Failure> {
    let refused = |error: DeployError| Failure::from(crate::grpc::status::status(&Problem::from(error)));
    let module = engine.compile(component.bytes).await.map_err(|error| refused(error.into()))?;
    let json = module.describe().await.map_err(|error| refused(DeployError::Describe(error)))?;
    let descriptor = Descriptor::parse(&json, module.kind()).map_err(|error| refused(error.into()))?;
    let change = SetupChange {
        set: args.settings.iter().cloned().collect(),
        grant: args.grants.iter().cloned().collect(),
        grant_all: args.grants.is_empty() && component.setup.is_none(),
        ..SetupChange::default()
    };
    let before = component.setup.unwrap_or_default();
    let setup = before.changed(&change, &descriptor).map_err(|broken| wrong_setup(&descriptor, broken))?;
    Ok(Trial {
        config: setup.pairs(&descriptor),
        grants: setup.appends_to(),
        log: Arc::new(PluginLog::new(descriptor.name.as_str())),
        module,
        descriptor,
        memory_bytes_max: None,
        clock: Arc::new(SystemClock),
    })
}

/// As at a deployment, but that is not told of in the host's words.
fn wrong_setup(descriptor: &Descriptor, broken: Broken) -> Failure {
    let failure = Failure::usage(format!("`{}` cannot be run like this", descriptor.name));
    broken.into_iter().fold(failure, |failure, (at, what)| failure.with_detail(at, what))
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        let code = match &error {
            TrialError::Start(_) => "plugin_failed",
            TrialError::Saga => "usage",
            TrialError::Store(_) => "internal",
        };
        Failure::failed(code, error.to_string())
    }
}
