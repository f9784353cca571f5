//! `wasmill.v1.StreamService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wasmill_core::event::Offset;
use wasmill_core::limits::read as limits;
use wasmill_core::stream::configs::Subject;

use super::convert;
use super::status::{refuse, status};
use crate::app::App;
use crate::convert::stream_name;
use crate::proto::stream_service_server::StreamService;
use crate::{proto, rights, stream_configs};

pub(super) struct StreamApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl StreamService for StreamApi {
    async fn truncate_stream(
        &self,
        request: Request<proto::TruncateStreamRequest>,
    ) -> Result<Response<proto::TruncateStreamResponse>, Status> {
        let proto::TruncateStreamRequest { name, before_offset, expected } = request.into_inner();
        let stream = stream_name(&name).map_err(|problem| status(&problem))?;
        let expected = convert::expected(expected).map_err(|problem| status(&problem))?;
        rights::may_publish(&self.0.host.stream_configs, &stream).map_err(|problem| status(&problem))?;
        let info = self.0.host.streams.truncate_before(&stream, Offset(before_offset), expected).await;
        let stream = Some(convert::stream(&info.map_err(refuse)?));
        Ok(Response::new(proto::TruncateStreamResponse { stream }))
    }

    async fn delete_stream(
        &self,
        request: Request<proto::DeleteStreamRequest>,
    ) -> Result<Response<proto::DeleteStreamResponse>, Status> {
        let proto::DeleteStreamRequest { name, mode, expected } = request.into_inner();
        let stream = stream_name(&name).map_err(|problem| status(&problem))?;
        let mode = convert::delete_mode(mode).map_err(|problem| status(&problem))?;
        let expected = convert::expected(expected).map_err(|problem| status(&problem))?;
        rights::may_publish(&self.0.host.stream_configs, &stream).map_err(|problem| status(&problem))?;
        let info = self.0.host.streams.delete(&stream, mode, expected).await.map_err(refuse)?;
        Ok(Response::new(proto::DeleteStreamResponse { stream: Some(convert::stream(&info)) }))
    }

    async fn get_stream_config(
        &self,
        request: Request<proto::GetStreamConfigRequest>,
    ) -> Result<Response<proto::GetStreamConfigResponse>, Status> {
        let subject = convert::config_subject(request.into_inner().subject).map_err(|problem| status(&problem))?;
        Ok(Response::new(match &subject {
            Subject::Pattern(_) => {
                let config = stream_configs::get(&self.0, &subject).map_err(|problem| status(&problem))?;
                let config = Some(convert::stream_config(&subject, &config));
                proto::GetStreamConfigResponse { config, ..proto::GetStreamConfigResponse::default() }
            }
            Subject::Stream(stream) => {
                let config = self.0.host.stream_configs.get(&subject);
                let explained = self.0.host.stream_configs.explain(stream);
                convert::explained(config.map(|config| convert::stream_config(&subject, &config)), &explained)
            }
        }))
    }

    async fn put_stream_config(
        &self,
        request: Request<proto::PutStreamConfigRequest>,
    ) -> Result<Response<proto::PutStreamConfigResponse>, Status> {
        let proto::StreamConfig { subject, config_json } = request.into_inner().config.unwrap_or_default();
        let subject = convert::config_subject(subject).map_err(|problem| status(&problem))?;
        stream_configs::put(&self.0, &subject, &config_json).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::PutStreamConfigResponse {}))
    }

    async fn delete_stream_config(
        &self,
        request: Request<proto::DeleteStreamConfigRequest>,
    ) -> Result<Response<proto::DeleteStreamConfigResponse>, Status> {
        let subject = convert::config_subject(request.into_inner().subject).map_err(|problem| status(&problem))?;
        stream_configs::remove(&self.0, &subject).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::DeleteStreamConfigResponse {}))
    }

    async fn list_stream_configs(
        &self,
        request: Request<proto::ListStreamConfigsRequest>,
    ) -> Result<Response<proto::ListStreamConfigsResponse>, Status> {
        let proto::ListStreamConfigsRequest { after, limit } = request.into_inner();
        let limit = convert::list_limit(limit, limits::LIST_STREAMS_MAX).map_err(|problem| status(&problem))?;
        let page = stream_configs::list(&self.0, Some(after.as_str()).filter(|after| !after.is_empty()), limit);
        let configs = page.configs.iter().map(|(subject, config)| convert::stream_config(subject, config)).collect();
        let next_after = page.next_after.unwrap_or_default();
        Ok(Response::new(proto::ListStreamConfigsResponse { configs, next_after }))
    }
}
