//! `wasmill replay start`.

use clap::Args;

use super::watch;
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::group::place;
use crate::cli::output::Output;
use crate::proto::group_start::Kind;
use crate::proto::replay_plan::Target;
use crate::proto::{FilterTerm, GroupStart, ReplayPlan, StartReplayRequest};

pub(super) const ADVICE: &str = "A group gets the events beside what is new; a projection is built anew in the shadow; \
    with --client this command receives them, and prints them like `wasmill read`. Interrupting the command leaves a \
    replay for a group or a projection running: see `replay watch`, `pause` and `cancel`.";

#[derive(Args, Clone, Debug)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Only streams whose names match; `*` stands for any text. May be given several times
    #[arg(long = "stream", value_name = "PATTERN")]
    streams: Vec<String>,
    /// Only events whose types match; `*` stands for any text. May be given several times
    #[arg(long = "type", value_name = "PATTERN")]
    types: Vec<String>,
    /// Only events with this key. May be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Only events that have this tag; given several times, all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Where to begin: `first`, a position, or a time as RFC 3339 writes it
    #[arg(long, value_name = "PLACE", default_value = "first", value_parser = place::parse)]
    from: GroupStart,
    /// Begin at this offset of the one stream that is replayed
    #[arg(long, value_name = "OFFSET", conflicts_with = "from")]
    from_offset: Option<u64>,
    /// The first event that is not replayed any more: a position or a time [default: the end as it is now]
    #[arg(long, value_name = "PLACE", value_parser = place::parse)]
    until: Option<GroupStart>,
    /// The offset of the first event that is not replayed any more
    #[arg(long, value_name = "OFFSET", conflicts_with = "until")]
    until_offset: Option<u64>,
    /// Most events a second [default: as fast as it goes]
    #[arg(long, value_name = "EVENTS")]
    rate: Option<u64>,
    /// Keep the distances in time that the events had: 1 is the original speed, 60 makes an hour a minute
    #[arg(long, value_name = "TIMES")]
    speed: Option<f64>,
    /// Say which replay was begun, and leave it to itself
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// Hand the events to this group's members
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Build this projection anew
    #[arg(long, value_name = "NAME")]
    projection: Option<String>,
    /// Receive the events here
    #[arg(long)]
    client: bool,
}

pub(super) async fn run(args: StartArgs, output: Output) -> Result<(), Failure> {
    let StartArgs { target, streams, types, keys, tags, from, from_offset, until, until_offset, .. } = args;
    let client = target.client;
    let target = match (target.group, target.projection) {
        (Some(group), _) => Target::Group(group),
        (_, Some(projection)) => Target::Projection(projection),
        (None, None) => Target::Client(true),
    };
    let offset = |offset: u64| GroupStart { kind: Some(Kind::Offset(offset)) };
    let plan = ReplayPlan {
        source: Some(FilterTerm { streams, types, keys, tags, correlation_ids: Vec::new() }),
        target: Some(target),
        events_per_second: args.rate,
        speed: args.speed,
    };
    let request = StartReplayRequest {
        plan: Some(plan),
        from: Some(from_offset.map_or(from, offset)),
        until: until_offset.map(offset).or(until),
    };
    let mut replays = args.remote.connect().await?.replays();
    let begun = super::status(replays.start_replay(request).await?.into_inner().replay)?;
    match (args.detach, client) {
        (true, _) => output.show(&begun),
        (false, true) => watch::receive(&mut replays, begun.id().to_owned(), None, output).await,
        (false, false) => watch::until_over(&mut replays, begun.id().to_owned(), output).await,
    }
}
