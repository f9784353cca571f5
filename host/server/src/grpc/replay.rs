//! `wasmill.v1.ReplayService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::group::Start;
use wasmill_core::replay::{NewReplay, Pace, Replay, Source, State, Target};

use super::group::convert::start;
use super::status::status;
use crate::app::App;
use crate::errors;
use crate::proto::replay_plan::Target as Kind;
use crate::proto::replay_service_server::ReplayService;
use crate::{proto, replays, wire};

const VIA: &str = "grpc";

pub(super) struct ReplayApi(pub(super) Arc<App>);

type Answers = Pin<Box<dyn Stream<Item = Result<proto::ReceiveReplayResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ReplayService for ReplayApi {
    type ReceiveReplayStream = Answers;

    async fn start_replay(
        &self,
        request: Request<proto::StartReplayRequest>,
    ) -> Result<Response<proto::StartReplayResponse>, Status> {
        let proto::StartReplayRequest { plan, from, until } = request.into_inner();
        let new = read(plan.unwrap_or_default(), from, until).map_err(|problem| status(&problem))?;
        let replay = replays::start(&self.0, new).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::StartReplayResponse { replay: Some(view(replay)) }))
    }

    async fn get_replay(
        &self,
        request: Request<proto::GetReplayRequest>,
    ) -> Result<Response<proto::GetReplayResponse>, Status> {
        let id = replays::id(&request.into_inner().id).map_err(|problem| status(&problem))?;
        let replay = self.0.host.replays.get(id).await.map_err(refuse)?;
        Ok(Response::new(proto::GetReplayResponse { replay: Some(view(replay)) }))
    }

    async fn list_replays(
        &self,
        _: Request<proto::ListReplaysRequest>,
    ) -> Result<Response<proto::ListReplaysResponse>, Status> {
        let replays = self.0.host.replays.list().await.map_err(refuse)?;
        Ok(Response::new(proto::ListReplaysResponse { replays: replays.into_iter().map(view).collect() }))
    }

    async fn pause_replay(
        &self,
        request: Request<proto::PauseReplayRequest>,
    ) -> Result<Response<proto::PauseReplayResponse>, Status> {
        let id = replays::id(&request.into_inner().id).map_err(|problem| status(&problem))?;
        let replay = Some(view(self.0.host.replays.pause(id).await.map_err(refuse)?));
        Ok(Response::new(proto::PauseReplayResponse { replay }))
    }

    async fn resume_replay(
        &self,
        request: Request<proto::ResumeReplayRequest>,
    ) -> Result<Response<proto::ResumeReplayResponse>, Status> {
        let id = replays::id(&request.into_inner().id).map_err(|problem| status(&problem))?;
        let replay = Some(view(self.0.host.replays.resume(id).await.map_err(refuse)?));
        Ok(Response::new(proto::ResumeReplayResponse { replay }))
    }

    async fn cancel_replay(
        &self,
        request: Request<proto::CancelReplayRequest>,
    ) -> Result<Response<proto::CancelReplayResponse>, Status> {
        let id = replays::id(&request.into_inner().id).map_err(|problem| status(&problem))?;
        let replay = Some(view(self.0.host.replays.cancel(id).await.map_err(refuse)?));
        Ok(Response::new(proto::CancelReplayResponse { replay }))
    }

    async fn receive_replay(
        &self,
        request: Request<proto::ReceiveReplayRequest>,
    ) -> Result<Response<Self::ReceiveReplayStream>, Status> {
        let proto::ReceiveReplayRequest { id, after_position } = request.into_inner();
        let id = replays::id(&id).map_err(|problem| status(&problem))?;
        let batches = replays::receive(&self.0, VIA, id, after_position.map(Position)).await;
        let answers = batches.map_err(|problem| status(&problem))?.map(|batch| match batch {
            Ok(batch) => Ok(proto::ReceiveReplayResponse {
                events: batch.events.iter().map(wire::Event::from).collect(),
                covered_through: batch.covered_through,
            }),
            Err(problem) => Err(status(&problem)),
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn refuse(error: wasmill_core::replay::ReplayError) -> Status {
    status(&errors::report(error))
}

fn read(
    plan: proto::ReplayPlan,
    from: Option<proto::GroupStart>,
    until: Option<proto::GroupStart>,
) -> Result<NewReplay, Problem> {
    let target = match plan.target {
        Some(Kind::Group(group)) => Target::Group(group),
        Some(Kind::Projection(projection)) => Target::Projection(projection),
        Some(Kind::Client(true)) => Target::Client,
        Some(Kind::Client(false)) | None => {
            let what = "say who gets the events: a group, a projection or a client";
            return Err(Problem::new(Code::InvalidArgument, what).with("plan.target", what));
        }
    };
    let proto::FilterTerm { streams, types, keys, tags, correlation_ids } = plan.source.unwrap_or_default();
    Ok(NewReplay {
        source: Source { streams, types, keys, tags, correlation_ids },
        from: start(from),
        until: until.map(|until| match until.kind {
            None => Start::Last,
            kind => start(Some(proto::GroupStart { kind })),
        }),
        target,
        pace: Pace { events_per_second: plan.events_per_second, speed: plan.speed },
    })
}

fn view(replay: Replay) -> proto::Replay {
    let Source { streams, types, keys, tags, correlation_ids } = replay.source;
    let plan = proto::ReplayPlan {
        source: Some(proto::FilterTerm { streams, types, keys, tags, correlation_ids }),
        target: Some(match replay.target {
            Target::Group(group) => Kind::Group(group),
            Target::Projection(projection) => Kind::Projection(projection),
            Target::Client => Kind::Client(true),
        }),
        events_per_second: replay.pace.events_per_second,
        speed: replay.pace.speed,
    };
    let state = match replay.state {
        State::Running => proto::ReplayState::Running,
        State::Paused => proto::ReplayState::Paused,
        State::Cancelled => proto::ReplayState::Cancelled,
        State::Done => proto::ReplayState::Done,
        State::Failed => proto::ReplayState::Failed,
    };
    proto::Replay {
        id: replay.id.to_string(),
        plan: Some(plan),
        from: replay.from.0,
        until: replay.until.0,
        state: state.into(),
        next: replay.next.0,
        done: replay.done,
        total: replay.total,
        total_is_estimate: replay.total_is_estimate,
        rate: replay.rate,
        ends_at_us: replay.ends_at.map(|time| time.0),
        created_at_us: replay.created_at.0,
        ended_at_us: replay.ended_at.map(|time| time.0),
        error: replay.error,
    }
}
