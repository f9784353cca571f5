//! `wasmill.v1.GroupService`.

mod consume;
pub(super) mod convert;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};
use wasmill_core::event::Position;
use wasmill_core::group::{GroupStatus, Membership};

use super::status::{refuse, status};
use crate::app::App;
use crate::deliveries::{self, Wanted};
use crate::proto::group_service_server::GroupService;
use crate::{groups, proto};

/// How its deliveries are counted.
pub(super) const VIA: &str = "grpc";

pub(super) struct GroupApi(pub(super) Arc<App>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl GroupApi {
    async fn member(&self, group: &str, session: &str) -> Result<Membership, Status> {
        let session = convert::session(session).map_err(|problem| status(&problem))?;
        self.0.host.groups.member(group, session).await.map_err(refuse)
    }

    async fn group(&self, name: &str) -> Result<proto::Group, Status> {
        let known: GroupStatus = self.0.host.groups.status(name).await.map_err(refuse)?;
        Ok(convert::group(&known, self.0.host.clock.now()))
    }
}

#[tonic::async_trait]
impl GroupService for GroupApi {
    type ConsumeStream = Answers<proto::ConsumeResponse>;

    async fn create_group(
        &self,
        request: Request<proto::CreateGroupRequest>,
    ) -> Result<Response<proto::CreateGroupResponse>, Status> {
        let proto::CreateGroupRequest { name, config_json, start } = request.into_inner();
        let config = groups::config(&config_json).map_err(|problem| status(&problem))?;
        groups::may_read(&self.0, &config).map_err(|problem| status(&problem))?;
        let created = self.0.host.groups.create(&name, config, convert::start(start)).await.map_err(refuse)?;
        Ok(Response::new(proto::CreateGroupResponse { created }))
    }

    async fn configure_group(
        &self,
        request: Request<proto::ConfigureGroupRequest>,
    ) -> Result<Response<proto::ConfigureGroupResponse>, Status> {
        let proto::ConfigureGroupRequest { name, config_json } = request.into_inner();
        let config = groups::config(&config_json).map_err(|problem| status(&problem))?;
        groups::may_read(&self.0, &config).map_err(|problem| status(&problem))?;
        self.0.host.groups.configure(&name, config).await.map_err(refuse)?;
        Ok(Response::new(proto::ConfigureGroupResponse {}))
    }

    async fn get_group(
        &self,
        request: Request<proto::GetGroupRequest>,
    ) -> Result<Response<proto::GetGroupResponse>, Status> {
        let group = Some(self.group(&request.into_inner().name).await?);
        Ok(Response::new(proto::GetGroupResponse { group }))
    }

    async fn list_groups(
        &self,
        _: Request<proto::ListGroupsRequest>,
    ) -> Result<Response<proto::ListGroupsResponse>, Status> {
        let mut groups = Vec::new();
        for record in self.0.host.groups.list().await.map_err(refuse)? {
            // One that was removed meanwhile is not there.
            groups.extend(self.group(&record.name).await.ok());
        }
        Ok(Response::new(proto::ListGroupsResponse { groups }))
    }

    async fn delete_group(
        &self,
        request: Request<proto::DeleteGroupRequest>,
    ) -> Result<Response<proto::DeleteGroupResponse>, Status> {
        self.0.host.groups.delete(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::DeleteGroupResponse {}))
    }

    async fn pause_group(
        &self,
        request: Request<proto::PauseGroupRequest>,
    ) -> Result<Response<proto::PauseGroupResponse>, Status> {
        self.0.host.groups.pause(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::PauseGroupResponse {}))
    }

    async fn resume_group(
        &self,
        request: Request<proto::ResumeGroupRequest>,
    ) -> Result<Response<proto::ResumeGroupResponse>, Status> {
        self.0.host.groups.resume(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::ResumeGroupResponse {}))
    }

    async fn reset_group(
        &self,
        request: Request<proto::ResetGroupRequest>,
    ) -> Result<Response<proto::ResetGroupResponse>, Status> {
        let proto::ResetGroupRequest { name, to } = request.into_inner();
        let to = convert::required_start(to, "to").map_err(|problem| status(&problem))?;
        let position = self.0.host.groups.reset(&name, to).await.map_err(refuse)?.0;
        Ok(Response::new(proto::ResetGroupResponse { position }))
    }

    async fn skip_event(
        &self,
        request: Request<proto::SkipEventRequest>,
    ) -> Result<Response<proto::SkipEventResponse>, Status> {
        let proto::SkipEventRequest { name, position } = request.into_inner();
        let skipped = self.0.host.groups.skip(&name, Position(position)).await.map_err(refuse)?;
        Ok(Response::new(proto::SkipEventResponse { skipped }))
    }

    async fn consume(
        &self,
        request: Request<Streaming<proto::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let answers = consume::start(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn join_group(
        &self,
        request: Request<proto::JoinGroupRequest>,
    ) -> Result<Response<proto::JoinGroupResponse>, Status> {
        let proto::JoinGroupRequest { group, member } = request.into_inner();
        let member = self.0.host.groups.join(&group, &member).await.map_err(refuse)?;
        Ok(Response::new(proto::JoinGroupResponse { session: member.session().to_string() }))
    }

    async fn leave_group(
        &self,
        request: Request<proto::LeaveGroupRequest>,
    ) -> Result<Response<proto::LeaveGroupResponse>, Status> {
        let proto::LeaveGroupRequest { group, session } = request.into_inner();
        self.member(&group, &session).await?.leave().await.map_err(refuse)?;
        Ok(Response::new(proto::LeaveGroupResponse {}))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatResponse>, Status> {
        let proto::HeartbeatRequest { group, session } = request.into_inner();
        self.member(&group, &session).await?.heartbeat().await.map_err(refuse)?;
        Ok(Response::new(proto::HeartbeatResponse {}))
    }

    async fn pull(&self, request: Request<proto::PullRequest>) -> Result<Response<proto::PullResponse>, Status> {
        let proto::PullRequest { group, session, limit, wait_ms } = request.into_inner();
        let events = convert::pull_limit(limit).map_err(|problem| status(&problem))?;
        let wait = convert::wait(wait_ms).map_err(|problem| status(&problem))?;
        let member = self.member(&group, &session).await?;
        let wanted = Wanted { events_max: events, wait, lease_ms: None };
        let handed = deliveries::pull(&self.0, VIA, &member, wanted).await.map_err(refuse)?;
        Ok(Response::new(proto::PullResponse { deliveries: handed.iter().map(convert::delivery).collect() }))
    }

    async fn ack(&self, request: Request<proto::AckRequest>) -> Result<Response<proto::AckResponse>, Status> {
        let proto::AckRequest { group, session, tokens } = request.into_inner();
        convert::check_tokens(&tokens).map_err(|problem| status(&problem))?;
        let answers = self.member(&group, &session).await?.ack(tokens).await.map_err(refuse)?;
        Ok(Response::new(proto::AckResponse { outcomes: convert::outcomes(&answers) }))
    }

    async fn nack(&self, request: Request<proto::NackRequest>) -> Result<Response<proto::NackResponse>, Status> {
        let proto::NackRequest { group, session, tokens, refusal } = request.into_inner();
        convert::check_tokens(&tokens).map_err(|problem| status(&problem))?;
        let nack = convert::nack(refusal).map_err(|problem| status(&problem))?;
        let answers = self.member(&group, &session).await?.nack(tokens, nack).await.map_err(refuse)?;
        Ok(Response::new(proto::NackResponse { outcomes: convert::outcomes(&answers) }))
    }

    async fn extend(&self, request: Request<proto::ExtendRequest>) -> Result<Response<proto::ExtendResponse>, Status> {
        let proto::ExtendRequest { group, session, tokens, ms } = request.into_inner();
        convert::check_tokens(&tokens).map_err(|problem| status(&problem))?;
        let answers = self.member(&group, &session).await?.extend(tokens, ms).await.map_err(refuse)?;
        Ok(Response::new(proto::ExtendResponse { outcomes: convert::outcomes(&answers) }))
    }

    async fn commit_acks(
        &self,
        request: Request<proto::CommitAcksRequest>,
    ) -> Result<Response<proto::CommitAcksResponse>, Status> {
        let proto::CommitAcksRequest { group, session } = request.into_inner();
        let committed = self.member(&group, &session).await?.commit().await.map_err(refuse)? as u64;
        Ok(Response::new(proto::CommitAcksResponse { committed }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<proto::ListDeadLettersRequest>,
    ) -> Result<Response<proto::ListDeadLettersResponse>, Status> {
        let proto::ListDeadLettersRequest { group, from_position, limit } = request.into_inner();
        let limit = convert::letters_limit(limit).map_err(|problem| status(&problem))?;
        let page = self.0.host.groups.dead_letters(&group, Position(from_position), limit).await.map_err(refuse)?;
        let next_position = page.letters.last().filter(|_| page.more).map(|last| last.position().0 + 1);
        let dead_letters = page.letters.iter().map(convert::dead_letter).collect();
        Ok(Response::new(proto::ListDeadLettersResponse { dead_letters, next_position }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<proto::ReplayDeadLettersRequest>,
    ) -> Result<Response<proto::ReplayDeadLettersResponse>, Status> {
        let proto::ReplayDeadLettersRequest { group, selection } = request.into_inner();
        let which = convert::which(selection).map_err(|problem| status(&problem))?;
        let count = self.0.host.groups.replay(&group, &which).await.map_err(refuse)? as u64;
        Ok(Response::new(proto::ReplayDeadLettersResponse { count }))
    }

    async fn purge_dead_letters(
        &self,
        request: Request<proto::PurgeDeadLettersRequest>,
    ) -> Result<Response<proto::PurgeDeadLettersResponse>, Status> {
        let proto::PurgeDeadLettersRequest { group, selection } = request.into_inner();
        let which = convert::which(selection).map_err(|problem| status(&problem))?;
        let count = self.0.host.groups.purge(&group, &which).await.map_err(refuse)? as u64;
        Ok(Response::new(proto::PurgeDeadLettersResponse { count }))
    }
}
