//! `wasmill stream truncate` and `delete`.

use clap::Args;

use super::{Remote, Stream};
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::expected::Kind;
use crate::proto::{self, DeleteMode, DeleteStreamRequest, Expected, TruncateStreamRequest};

#[derive(Args, Clone, Debug)]
pub(crate) struct TruncateArgs {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    name: String,
    /// Offset below which events go; one beyond the end removes them all
    #[arg(long, value_name = "OFFSET")]
    before: u64,
    /// Only if the stream's last event has this offset
    #[arg(long, value_name = "OFFSET")]
    expect: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    name: String,
    /// For good: nothing can be appended to it again. Without it, the next append brings it back
    #[arg(long)]
    hard: bool,
    /// Only if the stream's last event has this offset
    #[arg(long, value_name = "OFFSET")]
    expect: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn truncate(args: TruncateArgs, output: Output) -> Result<(), Failure> {
    let TruncateArgs { name, before: before_offset, expect, remote } = args;
    let request = TruncateStreamRequest { name, before_offset, expected: expected(expect) };
    let answer = remote.connect().await?.streams().truncate_stream(request).await?.into_inner();
    show(answer.stream, output)
}

pub(super) async fn delete(args: DeleteArgs, output: Output) -> Result<(), Failure> {
    let DeleteArgs { name, hard, expect, remote } = args;
    let mode = if hard { DeleteMode::Hard } else { DeleteMode::Soft }.into();
    let request = DeleteStreamRequest { name, mode, expected: expected(expect) };
    let answer = remote.connect().await?.streams().delete_stream(request).await?.into_inner();
    show(answer.stream, output)
}

fn expected(offset: Option<u64>) -> Option<Expected> {
    offset.map(|offset| Expected { kind: Some(Kind::Offset(offset)) })
}

/// What is left of it.
fn show(stream: Option<proto::Stream>, output: Output) -> Result<(), Failure> {
    let stream = stream.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no stream"))?;
    output.show(&Stream::from(stream))
}
