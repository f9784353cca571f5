//! `wasmill.v1.QueueService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::convert;
use super::group::{VIA, convert as groups};
use super::status::{refuse, status};
use crate::app::{App, origin_of};
use crate::deliveries::{self, Wanted};
use crate::proto::queue_service_server::QueueService;
use crate::publish::{self, Answer};
use crate::{proto, queues};

pub(super) struct QueueApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl QueueService for QueueApi {
    async fn enqueue(
        &self,
        request: Request<proto::EnqueueRequest>,
    ) -> Result<Response<proto::EnqueueResponse>, Status> {
        let defaults = origin_of(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let proto::EnqueueRequest { queue, messages } = request.into_inner();
        queues::group(&self.0, &queue).await.map_err(|problem| status(&problem))?;
        let wishes: Vec<_> = messages.iter().map(|one| (one.delay_ms, one.time_to_live_ms, one.priority)).collect();
        let events = messages.into_iter().map(|message| message.event.unwrap_or_default()).collect();
        let append = proto::AppendRequest { stream: queue, events, ..proto::AppendRequest::default() };
        let mut publication = convert::append(append, &defaults).map_err(|problem| status(&problem))?;
        for (event, (delay, time_to_live, priority)) in publication.append.events.iter_mut().zip(wishes) {
            queues::wishes(event, delay, time_to_live, priority).map_err(|problem| status(&problem))?;
        }
        let answer = publish::append(&self.0, publication).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(match answer {
            Answer::Stored(appended) => proto::EnqueueResponse {
                first_offset: appended.first_offset.0,
                last_offset: appended.last_offset().0,
                duplicate: appended.duplicate,
            },
            Answer::Queued => proto::EnqueueResponse::default(),
        }))
    }

    async fn dequeue(
        &self,
        request: Request<proto::DequeueRequest>,
    ) -> Result<Response<proto::DequeueResponse>, Status> {
        let proto::DequeueRequest { queue, consumer, limit, wait_ms, visibility_ms } = request.into_inner();
        let events = groups::pull_limit(Some(limit.unwrap_or(1))).map_err(|problem| status(&problem))?;
        let wait = groups::wait(wait_ms).map_err(|problem| status(&problem))?;
        groups::check_lease(visibility_ms).map_err(|problem| status(&problem))?;
        let consumer = queues::consumer(&self.0, &queue, &consumer).await.map_err(|problem| status(&problem))?;
        let wanted = Wanted { events_max: events, wait, lease_ms: visibility_ms };
        let handed = deliveries::pull(&self.0, VIA, &consumer, wanted).await.map_err(refuse)?;
        Ok(Response::new(proto::DequeueResponse { messages: handed.iter().map(groups::delivery).collect() }))
    }

    async fn ack_messages(
        &self,
        request: Request<proto::AckMessagesRequest>,
    ) -> Result<Response<proto::AckMessagesResponse>, Status> {
        let proto::AckMessagesRequest { queue, consumer, tokens } = request.into_inner();
        groups::check_tokens(&tokens).map_err(|problem| status(&problem))?;
        let consumer = queues::consumer(&self.0, &queue, &consumer).await.map_err(|problem| status(&problem))?;
        let answers = consumer.ack(tokens).await.map_err(refuse)?;
        Ok(Response::new(proto::AckMessagesResponse { outcomes: groups::outcomes(&answers) }))
    }

    async fn nack_messages(
        &self,
        request: Request<proto::NackMessagesRequest>,
    ) -> Result<Response<proto::NackMessagesResponse>, Status> {
        let proto::NackMessagesRequest { queue, consumer, tokens, refusal } = request.into_inner();
        groups::check_tokens(&tokens).map_err(|problem| status(&problem))?;
        let nack = groups::nack(refusal).map_err(|problem| status(&problem))?;
        let consumer = queues::consumer(&self.0, &queue, &consumer).await.map_err(|problem| status(&problem))?;
        let answers = consumer.nack(tokens, nack).await.map_err(refuse)?;
        Ok(Response::new(proto::NackMessagesResponse { outcomes: groups::outcomes(&answers) }))
    }

    async fn extend_messages(
        &self,
        request: Request<proto::ExtendMessagesRequest>,
    ) -> Result<Response<proto::ExtendMessagesResponse>, Status> {
        let proto::ExtendMessagesRequest { queue, consumer, tokens, visibility_ms } = request.into_inner();
        groups::check_tokens(&tokens).map_err(|problem| status(&problem))?;
        groups::check_lease(Some(visibility_ms)).map_err(|problem| status(&problem))?;
        let consumer = queues::consumer(&self.0, &queue, &consumer).await.map_err(|problem| status(&problem))?;
        let answers = consumer.extend(tokens, visibility_ms).await.map_err(refuse)?;
        Ok(Response::new(proto::ExtendMessagesResponse { outcomes: groups::outcomes(&answers) }))
    }

    async fn get_queue(
        &self,
        request: Request<proto::GetQueueRequest>,
    ) -> Result<Response<proto::GetQueueResponse>, Status> {
        let queue = request.into_inner().queue;
        let (_, group) = queues::group(&self.0, &queue).await.map_err(|problem| status(&problem))?;
        let known = self.0.host.groups.status(&group).await.map_err(refuse)?;
        let group = Some(groups::group(&known, self.0.host.clock.now()));
        Ok(Response::new(proto::GetQueueResponse { group }))
    }
}
