//! `wasmill plugin`.

mod life;
mod logs;
mod new;
mod settings;
mod setup;
mod show;
mod status;
mod test;
mod trial;
pub(super) mod upload;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::client::Remote;
use super::exit::Failure;
use super::output::Output;
use super::until_interrupted;
use crate::proto::{GetPluginLogsRequest, ListPluginsRequest, RemovePluginRequest};
use show::{Checked, LogLine, Plugin, Plugins, Removed};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a new plugin project that builds and deploys as it is
    New(new::NewArgs),
    /// Run a component here, without a host, and see what it does with events
    Test(test::TestArgs),
    /// Find out whether a component is a function of its events, which a rebuild relies on
    Verify(verify::VerifyArgs),
    /// Ask a host whether it would take a component, without deploying it
    Check(FileArgs),
    /// Upload a component and start it; the same bytes again change nothing
    Deploy(setup::DeployArgs),
    /// List what is deployed, and how it is
    List(ListArgs),
    /// Show how a plugin is: how far, how fast, what went wrong last, what is being built
    Status(NameArgs),
    /// List a plugin's revisions
    Revisions(life::RevisionsArgs),
    /// Change a plugin's configuration or grants, which makes a new revision of the same component
    Configure(setup::ConfigureArgs),
    /// Show how a plugin is run, or change it
    Settings(Box<settings::SettingsArgs>),
    /// Run a plugin that was stopped
    Start(NameArgs),
    /// Hand a plugin nothing, and keep no instance of it
    Stop(NameArgs),
    /// Hand a plugin nothing until it is resumed
    Pause(NameArgs),
    /// Go on with a plugin that was paused
    Resume(NameArgs),
    /// Go back to an earlier revision
    Rollback(life::RollBackArgs),
    /// Let a plugin work off what the log has now, then pause it
    Drain(life::DrainArgs),
    /// Let a read model that has been built serve, where that waits for a person
    Confirm(life::ConfirmArgs),
    /// Have a handler begin again at another place; what it emitted stays
    Reset(life::ResetArgs),
    /// Show the newest lines that a plugin has logged
    Logs(LogsArgs),
    /// Stop a plugin and remove it, its revisions and its read models
    Remove(RemoveArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct FileArgs {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NameArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RemoveArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Though sagas of it have not ended: they stay, paused until each is resumed with a revision that is deployed then
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct LogsArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Most lines
    #[arg(long, default_value_t = 100, value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Go on with the lines that come, until it is stopped
    #[arg(long, short, conflicts_with = "limit")]
    follow: bool,
    /// With --follow: the number of the first line [default: that of the newest 100]
    #[arg(long, value_name = "NUMBER", requires = "follow")]
    from: Option<u64>,
    /// Only lines of this level and above
    #[arg(long, value_name = "LEVEL")]
    min_level: Option<Level>,
    #[command(flatten)]
    remote: Remote,
}

/// How grave a line of a plugin's log is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

pub(crate) use upload::deploy;

pub(crate) async fn run(command: PluginCommand, output: Output) -> Result<(), Failure> {
    match command {
        PluginCommand::Logs(args) if args.follow => logs::follow(args, output).await,
        command => until_interrupted(run_to_the_end(command, output)).await,
    }
}

async fn run_to_the_end(command: PluginCommand, output: Output) -> Result<(), Failure> {
    match command {
        PluginCommand::New(args) => new::run(&args, output),
        PluginCommand::Test(args) => test::run(args, output).await,
        PluginCommand::Verify(args) => verify::run(args, output).await,
        PluginCommand::Check(args) => {
            let component = upload::read(&args.file)?;
            let client = args.remote.connect().await?;
            output.show(&Checked::try_from(upload::check(&client, component).await?)?)
        }
        PluginCommand::Deploy(args) => setup::deploy(args, output).await,
        PluginCommand::Configure(args) => setup::configure(args, output).await,
        PluginCommand::Status(args) => life::status(args, output).await,
        PluginCommand::Revisions(args) => life::revisions(args, output).await,
        PluginCommand::Settings(args) => settings::run(*args, output).await,
        PluginCommand::Start(args) => life::want(args, "running", "started", output).await,
        PluginCommand::Stop(args) => life::want(args, "stopped", "stopped", output).await,
        PluginCommand::Pause(args) => life::want(args, "paused", "paused", output).await,
        PluginCommand::Resume(args) => life::want(args, "running", "resumed", output).await,
        PluginCommand::Rollback(args) => life::roll_back(args, output).await,
        PluginCommand::Drain(args) => life::drain(args, output).await,
        PluginCommand::Confirm(args) => life::confirm(args, output).await,
        PluginCommand::Reset(args) => life::reset(args, output).await,
        PluginCommand::List(args) => {
            let mut plugins = args.remote.connect().await?.plugins();
            let listed = plugins.list_plugins(ListPluginsRequest {}).await?.into_inner().plugins;
            let plugins: Result<Vec<_>, _> = listed.into_iter().map(Plugin::try_from).collect();
            output.show(&Plugins { plugins: plugins? })
        }
        PluginCommand::Logs(args) => {
            let mut plugins = args.remote.connect().await?.plugins();
            let min_level = args.min_level.map_or("", Level::as_str).to_owned();
            let request = GetPluginLogsRequest { name: args.name, limit: args.limit, min_level };
            let lines = plugins.get_plugin_logs(request).await?.into_inner().lines;
            if lines.is_empty() {
                output.note("no lines");
            }
            output.show_all(lines.into_iter().map(LogLine::from))
        }
        PluginCommand::Remove(args) => {
            let mut plugins = args.remote.connect().await?.plugins();
            plugins.remove_plugin(RemovePluginRequest { name: args.name.clone(), force: args.force }).await?;
            output.show(&Removed { removed: args.name })
        }
    }
}
