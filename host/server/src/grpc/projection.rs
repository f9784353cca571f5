//! `wasmill.v1.ProjectionService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use tonic::{Request, Response, Status};
use wasmill_core::limits::read as limits;

use super::convert;
use super::status::{refuse, status};
use crate::app::App;
use crate::proto;
use crate::proto::projection_service_server::ProjectionService;
use crate::queries;

pub(super) struct ProjectionApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl ProjectionService for ProjectionApi {
    type FollowChangesStream = Pin<Box<dyn Stream<Item = Result<proto::FollowChangesResponse, Status>> + Send>>;

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

    async fn query_documents(
        &self,
        request: Request<proto::QueryDocumentsRequest>,
    ) -> Result<Response<proto::QueryDocumentsResponse>, Status> {
        let mut request = request.into_inner();
        let wait_for = convert::wait_for(request.wait_for.take()).map_err(|problem| status(&problem))?;
        let query = convert::query(&request).map_err(|problem| status(&problem))?;
        let answer = self.0.host.projections.find(&request.projection, &request.collection, &query, wait_for);
        Ok(Response::new(convert::found(answer.await.map_err(refuse)?)))
    }

    async fn follow_changes(
        &self,
        request: Request<proto::FollowChangesRequest>,
    ) -> Result<Response<Self::FollowChangesStream>, Status> {
        let (wanted, after) = convert::wanted(request.into_inner());
        let follower = queries::follow(&self.0, wanted, after, "grpc").map_err(refuse)?;
        let updates = try_unfold(follower, |mut follower| async move {
            let update = follower.next().await.map_err(|problem| status(&problem))?;
            Ok(Some((convert::update(update), follower)))
        });
        Ok(Response::new(Box::pin(updates)))
    }

    async fn diff_projection(
        &self,
        request: Request<proto::DiffProjectionRequest>,
    ) -> Result<Response<proto::DiffProjectionResponse>, Status> {
        let request = request.into_inner();
        let asked = convert::diff_request(&request).map_err(|problem| status(&problem))?;
        let diff = self.0.host.projections.diff(&request.projection, &asked).await.map_err(refuse)?;
        Ok(Response::new(convert::diff(diff)))
    }

    async fn rebuild_projection(
        &self,
        request: Request<proto::RebuildProjectionRequest>,
    ) -> Result<Response<proto::RebuildProjectionResponse>, Status> {
        let generation = self.0.host.projections.rebuild(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::RebuildProjectionResponse { generation: generation.0 }))
    }
}
