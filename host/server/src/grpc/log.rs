//! `wasmill.v1.LogService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use wasmill_core::event::{Event, Offset, Origin, Position};
use wasmill_core::limits::read as limits;
use wasmill_core::log::filter::Filter;
use wasmill_core::log::read::ReadError;
use wasmill_core::name::Pattern;

use super::status::{refuse, status};
use super::{bulk, convert};
use crate::app::{App, origin_of};
use crate::convert::stream_name;
use crate::pages::{self, Batch, How};
use crate::proto::log_service_server::LogService;
use crate::publish::{self, Answer};
use crate::{proto, rights, wire};

/// How its events are read.
fn how(raw: bool) -> How {
    How { via: "grpc", raw }
}

pub(super) struct LogApi(pub(super) Arc<App>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the call's metadata say of the origin of its events.
fn defaults<T>(request: &Request<T>) -> Result<Origin, Status> {
    origin_of(request.metadata().as_ref()).map_err(|problem| status(&problem))
}

fn in_messages<T: 'static>(
    batches: impl Stream<Item = Result<Batch, ReadError>> + Send + 'static,
    message: fn(Vec<wire::Event>, Option<u64>) -> T,
) -> Response<Answers<T>> {
    let encoded = |events: Vec<Event>| events.iter().map(wire::Event::from).collect();
    let messages = batches.map(move |batch| match batch {
        Ok(Batch { events, covered_through, more: _ }) => Ok(message(encoded(events), covered_through)),
        Err(error) => Err(refuse(error)),
    });
    Response::new(Box::pin(messages))
}

#[tonic::async_trait]
impl LogService for LogApi {
    type AppendBulkStream = Answers<proto::AppendBulkResponse>;
    type ReadStreamStream = Answers<proto::ReadStreamResponse>;
    type ReadLogStream = Answers<proto::ReadLogResponse>;
    type FollowStreamStream = Answers<proto::FollowStreamResponse>;
    type FollowLogStream = Answers<proto::FollowLogResponse>;

    async fn append(&self, request: Request<proto::AppendRequest>) -> Result<Response<proto::AppendResponse>, Status> {
        let defaults = defaults(&request)?;
        let publication = convert::append(request.into_inner(), &defaults).map_err(|problem| status(&problem))?;
        let answer = publish::append(&self.0, publication).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(convert::answer(&answer)))
    }

    async fn transact(
        &self,
        request: Request<proto::TransactRequest>,
    ) -> Result<Response<proto::TransactResponse>, Status> {
        let defaults = defaults(&request)?;
        let transaction = convert::transaction(request.into_inner(), &defaults);
        let (transaction, durability) = transaction.map_err(|problem| status(&problem))?;
        let answer = publish::transact(&self.0, transaction, durability).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(match answer {
            Answer::Stored(appends) => {
                proto::TransactResponse { appends: appends.iter().map(convert::appended).collect(), queued: false }
            }
            Answer::Queued => proto::TransactResponse { appends: Vec::new(), queued: true },
        }))
    }

    async fn append_bulk(
        &self,
        request: Request<Streaming<proto::AppendBulkRequest>>,
    ) -> Result<Response<Self::AppendBulkStream>, Status> {
        let defaults = defaults(&request)?;
        let answers = bulk::start(Arc::clone(&self.0), request.into_inner(), defaults);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn read_stream(
        &self,
        request: Request<proto::ReadStreamRequest>,
    ) -> Result<Response<Self::ReadStreamStream>, Status> {
        let request = request.into_inner();
        let stream = stream_name(&request.stream).map_err(|problem| status(&problem))?;
        let range = convert::stream_range(&request).map_err(|problem| status(&problem))?;
        rights::may_read(&self.0.host.stream_configs, &stream).map_err(|problem| status(&problem))?;
        let batches = pages::read_stream(&self.0, how(request.raw), &range, stream).await.map_err(refuse)?;
        Ok(in_messages(batches, |events, covered_through| proto::ReadStreamResponse { events, covered_through }))
    }

    async fn read_log(&self, request: Request<proto::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let mut request = request.into_inner();
        let filter = convert::filter(request.filter.take()).map_err(|problem| status(&problem))?;
        let range = convert::log_range(&request).map_err(|problem| status(&problem))?;
        let batches = pages::read_log(&self.0, how(request.raw), &range, filter).await.map_err(refuse)?;
        Ok(in_messages(batches, |events, covered_through| proto::ReadLogResponse { events, covered_through }))
    }

    async fn follow_stream(
        &self,
        request: Request<proto::FollowStreamRequest>,
    ) -> Result<Response<Self::FollowStreamStream>, Status> {
        let proto::FollowStreamRequest { stream, from_offset, from_time_us, raw } = request.into_inner();
        let stream = stream_name(&stream).map_err(|problem| status(&problem))?;
        let from = convert::bound(from_offset, from_time_us, ["from_offset", "from_time_us"], Offset);
        let from = from.map_err(|problem| status(&problem))?;
        rights::may_read(&self.0.host.stream_configs, &stream).map_err(|problem| status(&problem))?;
        let from = pages::start_in_stream(&self.0, &stream, from).await.map_err(refuse)?;
        let batches = pages::follow_stream(&self.0, how(raw), (stream, from), Filter::default());
        Ok(in_messages(batches, |events, _| proto::FollowStreamResponse { events }))
    }

    async fn follow_log(
        &self,
        request: Request<proto::FollowLogRequest>,
    ) -> Result<Response<Self::FollowLogStream>, Status> {
        let proto::FollowLogRequest { from_position, filter, from_time_us, raw } = request.into_inner();
        let filter = convert::filter(filter).map_err(|problem| status(&problem))?;
        let from = convert::bound(from_position, from_time_us, ["from_position", "from_time_us"], Position);
        let from = from.map_err(|problem| status(&problem))?;
        let from = pages::start_in_log(&self.0, from).await.map_err(refuse)?;
        let batches = pages::follow_log(&self.0, how(raw), from, filter);
        Ok(in_messages(batches, |events, covered_through| proto::FollowLogResponse { events, covered_through }))
    }

    async fn get_stream(
        &self,
        request: Request<proto::GetStreamRequest>,
    ) -> Result<Response<proto::GetStreamResponse>, Status> {
        let name = stream_name(&request.into_inner().name).map_err(|problem| status(&problem))?;
        rights::may_read(&self.0.host.stream_configs, &name).map_err(|problem| status(&problem))?;
        let info = self.0.host.store.stream(&name).await.map_err(ReadError::Store).map_err(refuse)?;
        let info = info.ok_or_else(|| refuse(ReadError::StreamNotFound(name)))?;
        Ok(Response::new(proto::GetStreamResponse { stream: Some(convert::stream(&info)) }))
    }

    async fn list_streams(
        &self,
        request: Request<proto::ListStreamsRequest>,
    ) -> Result<Response<proto::ListStreamsResponse>, Status> {
        let request = request.into_inner();
        let limit = convert::list_limit(request.limit, limits::LIST_STREAMS_MAX).map_err(|problem| status(&problem))?;
        let pattern: Option<Pattern> = convert::pattern(&request.pattern).map_err(|problem| status(&problem))?;
        let after = Some(request.after.as_str()).filter(|after| !after.is_empty());
        let page = pages::list_streams(&self.0, pattern.as_ref(), after, limit).await.map_err(refuse)?;
        let streams = page.streams.iter().map(convert::stream).collect();
        Ok(Response::new(proto::ListStreamsResponse { streams, next_after: page.next_after.unwrap_or_default() }))
    }

    async fn get_log(&self, _: Request<proto::GetLogRequest>) -> Result<Response<proto::GetLogResponse>, Status> {
        let next_position = self.0.host.reader.tail().next().0;
        Ok(Response::new(proto::GetLogResponse { log_id: self.0.host.log_id.to_string(), next_position }))
    }
}
