//! What a person asks of a saga.

use clap::Args;

use super::{Remote, view};
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::{
    CancelSagaRequest, KillSagaRequest, MarkSagaStepDoneRequest, PauseSagaRequest, ResumeSagaRequest, RetrySagaRequest,
    SkipSagaStepRequest,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct OrderArgs {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: String,
    /// Why; it stands on the timeline
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ResumeArgs {
    /// With another revision of its plugin, which begins with the steps that the saga has come to
    #[arg(long, value_name = "REVISION")]
    revision: Option<u32>,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RetryArgs {
    /// An earlier step to go back to [default: the present one]
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// With another revision of its plugin, which begins with the steps that the saga has come to
    #[arg(long, value_name = "REVISION")]
    revision: Option<u32>,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DoneArgs {
    /// What the step would have answered
    #[arg(long, default_value = "", hide_default_value = true, value_name = "JSON")]
    answer: String,
    #[command(flatten)]
    order: OrderArgs,
}

pub(super) async fn cancel(OrderArgs { id, note, remote }: OrderArgs, output: Output) -> Result<(), Failure> {
    let answer = remote.connect().await?.sagas().cancel_saga(CancelSagaRequest { id, note }).await?;
    output.show(&view(answer.into_inner().saga)?)
}

pub(super) async fn pause(OrderArgs { id, note, remote }: OrderArgs, output: Output) -> Result<(), Failure> {
    let answer = remote.connect().await?.sagas().pause_saga(PauseSagaRequest { id, note }).await?;
    output.show(&view(answer.into_inner().saga)?)
}

pub(super) async fn kill(OrderArgs { id, note, remote }: OrderArgs, output: Output) -> Result<(), Failure> {
    let answer = remote.connect().await?.sagas().kill_saga(KillSagaRequest { id, note }).await?;
    output.show(&view(answer.into_inner().saga)?)?;
    output.note("nothing was compensated");
    Ok(())
}

pub(super) async fn skip(OrderArgs { id, note, remote }: OrderArgs, output: Output) -> Result<(), Failure> {
    let answer = remote.connect().await?.sagas().skip_saga_step(SkipSagaStepRequest { id, note }).await?;
    output.show(&view(answer.into_inner().saga)?)
}

pub(super) async fn resume(args: ResumeArgs, output: Output) -> Result<(), Failure> {
    let ResumeArgs { revision, order: OrderArgs { id, note, remote } } = args;
    let answer = remote.connect().await?.sagas().resume_saga(ResumeSagaRequest { id, note, revision }).await?;
    output.show(&view(answer.into_inner().saga)?)
}

pub(super) async fn retry(args: RetryArgs, output: Output) -> Result<(), Failure> {
    let RetryArgs { step, revision, order: OrderArgs { id, note, remote } } = args;
    let answer = remote.connect().await?.sagas().retry_saga(RetrySagaRequest { id, note, step, revision }).await?;
    output.show(&view(answer.into_inner().saga)?)
}

pub(super) async fn done(args: DoneArgs, output: Output) -> Result<(), Failure> {
    let DoneArgs { answer, order: OrderArgs { id, note, remote } } = args;
    let request = MarkSagaStepDoneRequest { id, note, output: answer.into() };
    let answer = remote.connect().await?.sagas().mark_saga_step_done(request).await?;
    output.show(&view(answer.into_inner().saga)?)
}
