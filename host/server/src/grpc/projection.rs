//! `wasmill.v1.ProjectionService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wasmill_core::limits::read as limits;

use super::convert;
use super::status::{refuse, status};
use crate::app::App;
use crate::proto;
use crate::proto::projection_service_server::ProjectionService;

pub(super) struct ProjectionApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl ProjectionService for ProjectionApi {
    async fn list_projections(
        &self,
        _: Request<proto::ListProjectionsRequest>,
    ) -> Result<Response<proto::ListProjectionsResponse>, Status> {
        let projections = self.0.host.projections.list().await.map_err(refuse)?;
        let projections = projections.into_iter().map(convert::projection).collect();
        Ok(Response::new(proto::ListProjectionsResponse { projections }))
    }

    async fn get_projection(
        &self,
        request: Request<proto::GetProjectionRequest>,
    ) -> Result<Response<proto::GetProjectionResponse>, Status> {
        let projection = self.0.host.projections.get(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::GetProjectionResponse { projection: Some(convert::projection(projection)) }))
    }

    async fn get_document(
        &self,
        request: Request<proto::GetDocumentRequest>,
    ) -> Result<Response<proto::GetDocumentResponse>, Status> {
        let proto::GetDocumentRequest { projection, collection, key, wait_for } = request.into_inner();
        let wait_for = convert::wait_for(wait_for).map_err(|problem| status(&problem))?;
        let answer = self.0.host.projections.document(&projection, &collection, &key, wait_for);
        let answer = answer.await.map_err(refuse)?;
        let next_position = answer.next_position.0;
        Ok(Response::new(proto::GetDocumentResponse { value: answer.value, next_position }))
    }

    async fn list_documents(
        &self,
        request: Request<proto::ListDocumentsRequest>,
    ) -> Result<Response<proto::ListDocumentsResponse>, Status> {
        let request = request.into_inner();
        let limit =
            convert::list_limit(request.limit, limits::LIST_DOCUMENTS_MAX).map_err(|problem| status(&problem))?;
        let wait_for = convert::wait_for(request.wait_for).map_err(|problem| status(&problem))?;
        let after = Some(request.after.as_str()).filter(|after| !after.is_empty());
        let (projection, collection) = (&request.projection, &request.collection);
        let answer = self.0.host.projections.documents(projection, collection, &request.prefix, after, limit, wait_for);
        let answer = answer.await.map_err(refuse)?;
        let next_position = answer.next_position.0;
        let (documents, next_after) = convert::documents(answer.value);
        let next_after = next_after.unwrap_or_default();
        Ok(Response::new(proto::ListDocumentsResponse { documents, next_after, next_position }))
    }

    async fn rebuild_projection(
        &self,
        request: Request<proto::RebuildProjectionRequest>,
    ) -> Result<Response<proto::RebuildProjectionResponse>, Status> {
        let generation = self.0.host.projections.rebuild(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::RebuildProjectionResponse { generation: generation.0 }))
    }
}
