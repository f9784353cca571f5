//! `wasmill.v1.ReceiptService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wasmill_core::limits::receipt as limits;
use wasmill_core::receipt::{Progress, Receipt};

use super::convert;
use super::status::status;
use crate::app::App;
use crate::proto::receipt_service_server::ReceiptService;
use crate::receipts::Wanted;
use crate::{proto, receipts};

pub(super) struct ReceiptApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl ReceiptService for ReceiptApi {
    async fn note_receipts(
        &self,
        request: Request<proto::NoteReceiptsRequest>,
    ) -> Result<Response<proto::NoteReceiptsResponse>, Status> {
        let proto::NoteReceiptsRequest { stream, consumer, delivered, read } = request.into_inner();
        let noted = receipts::note(&self.0, &stream, &consumer, delivered, read).await;
        noted.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::NoteReceiptsResponse {}))
    }

    async fn list_receipts_of_event(
        &self,
        request: Request<proto::ListReceiptsOfEventRequest>,
    ) -> Result<Response<proto::ListReceiptsOfEventResponse>, Status> {
        let proto::ListReceiptsOfEventRequest { stream, offset, after, limit } = request.into_inner();
        let found = receipts::of_event(&self.0, &stream, offset, some(&after), self::limit(limit)?).await;
        let (found, next_after) = found.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::ListReceiptsOfEventResponse {
            receipts: found.into_iter().map(receipt).collect(),
            next_after: next_after.unwrap_or_default(),
        }))
    }

    async fn list_consumers(
        &self,
        request: Request<proto::ListConsumersRequest>,
    ) -> Result<Response<proto::ListConsumersResponse>, Status> {
        let proto::ListConsumersRequest { stream, after, limit } = request.into_inner();
        let found = receipts::consumers(&self.0, &stream, some(&after), self::limit(limit)?).await;
        let (found, next_after) = found.map_err(|problem| status(&problem))?;
        let consumers = found.into_iter().map(|(consumer, is)| progress(stream.clone(), consumer, &is)).collect();
        Ok(Response::new(proto::ListConsumersResponse { consumers, next_after: next_after.unwrap_or_default() }))
    }

    async fn list_receipts_of_consumer(
        &self,
        request: Request<proto::ListReceiptsOfConsumerRequest>,
    ) -> Result<Response<proto::ListReceiptsOfConsumerResponse>, Status> {
        let proto::ListReceiptsOfConsumerRequest { consumer, stream, from, unread, limit } = request.into_inner();
        let wanted = Wanted {
            stream: Some(stream).filter(|stream| !stream.is_empty()),
            from: from.map(|from| (from.stream, from.offset)),
            unread,
            limit: self::limit(limit)?,
        };
        let found = receipts::of_consumer(&self.0, &consumer, wanted).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::ListReceiptsOfConsumerResponse {
            receipts: found.receipts.into_iter().map(receipt).collect(),
            next: found.next.map(|next| proto::ReceiptPlace { stream: next.stream, offset: next.offset.0 }),
        }))
    }

    async fn list_streams_of_consumer(
        &self,
        request: Request<proto::ListStreamsOfConsumerRequest>,
    ) -> Result<Response<proto::ListStreamsOfConsumerResponse>, Status> {
        let proto::ListStreamsOfConsumerRequest { consumer, after, limit } = request.into_inner();
        let found = receipts::streams_of(&self.0, &consumer, some(&after), self::limit(limit)?).await;
        let (found, next_after) = found.map_err(|problem| status(&problem))?;
        let streams = found.into_iter().map(|(stream, is)| progress(stream, consumer.clone(), &is)).collect();
        Ok(Response::new(proto::ListStreamsOfConsumerResponse { streams, next_after: next_after.unwrap_or_default() }))
    }
}

fn limit(limit: u32) -> Result<usize, Status> {
    convert::list_limit(limit, limits::PAGE).map_err(|problem| status(&problem))
}

fn some(after: &str) -> Option<&str> {
    Some(after).filter(|after| !after.is_empty())
}

fn receipt(receipt: Receipt) -> proto::Receipt {
    let Receipt { stream, offset, consumer, delivered_at, read_at, reminders, reminded_at, dead_letter } = receipt;
    proto::Receipt {
        stream: stream.to_string(),
        offset: offset.0,
        consumer,
        delivered_at_us: delivered_at.0,
        read_at_us: read_at.map(|time| time.0),
        reminders,
        reminded_at_us: reminded_at.map(|time| time.0),
        dead_letter,
    }
}

fn progress(stream: String, consumer: String, progress: &Progress) -> proto::ConsumerProgress {
    proto::ConsumerProgress {
        stream,
        consumer,
        delivered: progress.delivered,
        read: progress.read,
        last_delivered: progress.last_delivered,
        last_read: progress.last_read,
        updated_at_us: progress.updated_at_us,
    }
}
