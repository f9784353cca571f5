//! `wasmill projection`.

mod diff;
mod query;
mod status;

use clap::{Args, Subcommand};
use std::time::Duration;

use super::client::{Client, Remote};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::until_interrupted;
use crate::proto::{GetProjectionRequest, ListProjectionsRequest, ProjectionState, RebuildProjectionRequest};
use status::{Rebuilt, Status, Statuses};

/// How often a rebuild is looked at: often enough for a smooth bar, and for `bench` to time it by.
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectionCommand {
    /// List projections and how they are doing
    List(ListArgs),
    /// Show one projection: how far it is, its collections, what stopped it
    Get(NameArgs),
    /// Read documents of a projection's read model
    Query(query::QueryArgs),
    /// Show where the read model that is being built differs from the one that serves
    Diff(diff::DiffArgs),
    /// Build a read model anew from the first event, while the old one goes on serving
    Rebuild(RebuildArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NameArgs {
    /// The projection's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RebuildArgs {
    /// The projection's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Wait until the new read model serves
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(command: ProjectionCommand, output: Output) -> Result<(), Failure> {
    match command {
        ProjectionCommand::List(args) => {
            let mut projections = args.remote.connect().await?.projections();
            let response = projections.list_projections(ListProjectionsRequest {}).await?.into_inner();
            output.show(&Statuses { projections: response.projections.into_iter().map(Status::from).collect() })
        }
        ProjectionCommand::Get(args) => {
            let client = args.remote.connect().await?;
            output.show(&Status::from(get(&client, &args.name).await?))
        }
        ProjectionCommand::Query(args) => query::run(args, output).await,
        ProjectionCommand::Diff(args) => diff::run(args, output).await,
        ProjectionCommand::Rebuild(args) => rebuild(args, output).await,
    }
}

/// The state of one projection.
pub(crate) async fn get(client: &Client, name: &str) -> Result<crate::proto::Projection, Failure> {
    let request = GetProjectionRequest { name: name.to_owned() };
    let response = client.projections().get_projection(request).await?.into_inner();
    response.projection.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no projection"))
}

async fn rebuild(args: RebuildArgs, output: Output) -> Result<(), Failure> {
    let client = args.remote.connect().await?;
    let request = RebuildProjectionRequest { name: args.name.clone() };
    let generation = client.projections().rebuild_projection(request).await?.into_inner().generation;
    if args.wait {
        let bar = output.events_bar("rebuilding", 0);
        let result = until_interrupted(wait_for_generation(&client, &args.name, generation, &bar)).await;
        bar.finish_and_clear();
        result.map_err(|failure| match failure.exit {
            Exit::Interrupted => failure.with_help(format!("the host goes on building generation {generation}")),
            _ => failure,
        })?;
    }
    output.show(&Rebuilt { projection: args.name, generation, serving: args.wait })
}

/// Waits until a generation serves; fails if its building stops.
pub(crate) async fn wait_for_generation(
    client: &Client,
    name: &str,
    generation: u64,
    bar: &indicatif::ProgressBar,
) -> Result<(), Failure> {
    loop {
        let projection = get(client, name).await?;
        if projection.generation >= generation {
            return Ok(());
        }
        let Some(build) = projection.build.filter(|build| build.generation >= generation) else {
            let message = format!("generation {generation} of {name} is neither being built nor does it serve");
            return Err(Failure::failed("rebuild_gone", message)
                .with_help("another deployment or removal of the plugin has replaced it"));
        };
        bar.set_length(projection.log_next_position);
        bar.set_position(build.next_position);
        if matches!(build.state(), ProjectionState::Paused | ProjectionState::Stopped) {
            let reason = build.failure.map_or_else(|| "no reason is given".to_owned(), |failure| failure.reason);
            return Err(Failure::failed("rebuild_stopped", format!("building {name} stopped: {reason}"))
                .with_help("the old read model goes on serving; see `wasmill plugin logs`"));
        }
        tokio::time::sleep(POLL).await;
    }
}
