//! `wasmill bench`: what a host does on this machine, measured from outside as its clients see it.

mod append;
mod beside;
mod echo;
mod fanout;
mod group;
mod growth;
mod load;
mod plot;
mod projection;
mod replay;
mod report;
mod saga;
mod start;
mod tail;
mod target;

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::output::Output;
use report::{Conditions, Measurement, Report};
use target::{Target, TargetArgs};

pub(crate) const ADVICE: &str = "\
Every measurement but `start` publishes events that stay in the host's log: use a host that may be
thrown away, or --spawn, which makes one for the time of the measurement.";

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Append from many publishers at a time, each waiting for its answers
    Append(One<append::AppendArgs>),
    /// Read many events through one call
    Replay(One<replay::ReplayArgs>),
    /// Time from the call that publishes an event to its delivery to a follower
    Tail(One<tail::TailArgs>),
    /// The same with a replay of the past beside it, and without
    Beside(One<beside::BesideArgs>),
    /// Consume with a group whose workers acknowledge durably
    Group(One<group::GroupArgs>),
    /// Publish to many live followers of one stream, some of which may take nothing
    Fanout(One<fanout::FanoutArgs>),
    /// Build a read model with the flights projection, durable checkpoints included
    Projection(One<projection::ProjectionArgs>),
    /// Run sagas of a component, started over gRPC and awaited; always one at a time first
    Saga(One<saga::SagaArgs>),
    /// What an append costs as the log grows, in events and in streams
    Growth(One<growth::GrowthArgs>),
    /// Start of a host process with one plugin deployed to its first append; always on hosts of its own
    Start(start::StartArgs),
    /// All of these but `saga`, with the sizes that examples/bench/README.md reports
    All(TargetArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct One<A: Args> {
    #[command(flatten)]
    args: A,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) async fn run(command: BenchCommand, output: Output) -> Result<(), Failure> {
    match command {
        BenchCommand::Append(One { args, target }) => {
            args.check()?;
            let target = Target::open(&target).await?;
            let measurements = vec![
                echo::run(args.publishers, args.batch, args.size, args.duration(), output).await?,
                append::run(&target, &args, output).await?,
            ];
            show(&target.conditions(args.size), measurements, output)
        }
        BenchCommand::Replay(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurement = replay::run(&target, &args, output).await?;
            show(&target.conditions(args.size), vec![measurement], output)
        }
        BenchCommand::Tail(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurement = tail::run(&target, &args, output).await?;
            show(&target.conditions(args.size), vec![measurement], output)
        }
        BenchCommand::Beside(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurements = beside::run(&target, &args, output).await?;
            show(&target.conditions(load::EVENT_BYTES), measurements, output)
        }
        BenchCommand::Group(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurement = group::run(&target, &args, output).await?;
            show(&target.conditions(args.size), vec![measurement], output)
        }
        BenchCommand::Fanout(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurement = fanout::run(&target, &args, output).await?;
            show(&target.conditions(args.size), vec![measurement], output)
        }
        BenchCommand::Projection(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurements = projection::run(&target, &args, output).await?;
            show(&target.conditions(0), measurements, output)
        }
        BenchCommand::Saga(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurements = saga::run(&target, &args, output).await?;
            show(&target.conditions(0), measurements, output)
        }
        BenchCommand::Growth(One { args, target }) => {
            let target = Target::open(&target).await?;
            let measurements = growth::run(&target, &args, output).await?;
            show(&target.conditions(load::EVENT_BYTES), measurements, output)
        }
        BenchCommand::Start(args) => {
            let measurements = start::run(&args, output).await?;
            show(&Conditions::here(0, "spawned".into()), measurements, output)
        }
        BenchCommand::All(target) => all(&target, output).await,
    }
}

/// A fresh host for each kind of measurement, if hosts are spawned: none inherits another's log.
async fn all(args: &TargetArgs, output: Output) -> Result<(), Failure> {
    let mut measurements = Vec::new();
    let target = Target::open(args).await?;
    let conditions = target.conditions(load::EVENT_BYTES);
    for (publishers, batch) in [(1, 1), (64, 1), (16, 100)] {
        let args = append::AppendArgs { publishers, batch, ..append::AppendArgs::default() };
        measurements.push(echo::run(publishers, batch, args.size, args.duration(), output).await?);
        measurements.push(append::run(&target, &args, output).await?);
    }
    measurements.push(tail::run(&target, &tail::TailArgs::default(), output).await?);
    for (batch, credit, events) in [(100, 200, 500_000), (1, 100, 100_000)] {
        let args = group::GroupArgs { batch, credit, events, ..group::GroupArgs::default() };
        measurements.push(group::run(&target, &args, output).await?);
    }
    measurements.push(fanout::run(&target, &fanout::FanoutArgs::default(), output).await?);
    let target = target.fresh(args).await?;
    measurements.push(replay::run(&target, &replay::ReplayArgs::default(), output).await?);
    let target = target.fresh(args).await?;
    measurements.extend(projection::run(&target, &projection::ProjectionArgs::default(), output).await?);
    drop(target);
    measurements.extend(start::run(&start::StartArgs::default(), output).await?);
    show(&conditions, measurements, output)
}

fn show(conditions: &Conditions, measurements: Vec<Measurement>, output: Output) -> Result<(), Failure> {
    output.show(&Report { conditions: conditions.clone(), measurements })
}
