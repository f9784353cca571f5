//! `wasmill.v1.SchemaService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::read as limits;
use wasmill_core::schema::{Compatibility, NewSchema, TypeInfo, VersionInfo, Violation};

use super::convert;
use super::status::status;
use crate::app::App;
use crate::proto::schema_service_server::SchemaService;
use crate::schemas::{Checked, Incompatible};
use crate::{proto, schemas};

pub(super) struct SchemaApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl SchemaService for SchemaApi {
    async fn register_schema(
        &self,
        request: Request<proto::RegisterSchemaRequest>,
    ) -> Result<Response<proto::RegisterSchemaResponse>, Status> {
        let proto::RegisterSchemaRequest { r#type: event_type, version, schema_json: schema } = request.into_inner();
        let new = NewSchema { event_type, version, schema };
        let registered = schemas::register(&self.0, new).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::RegisterSchemaResponse {
            r#type: registered.event_type,
            version: Some(version_view(&registered.info)),
            registered: registered.new,
        }))
    }

    async fn check_schema(
        &self,
        request: Request<proto::CheckSchemaRequest>,
    ) -> Result<Response<proto::CheckSchemaResponse>, Status> {
        let proto::CheckSchemaRequest { r#type: event_type, version, schema_json: schema } = request.into_inner();
        let new = NewSchema { event_type, version, schema };
        let Checked { version, incompatibilities } =
            schemas::check(&self.0, new).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::CheckSchemaResponse {
            compatible: incompatibilities.is_empty(),
            version,
            incompatibilities: incompatibilities.into_iter().map(incompatible).collect(),
        }))
    }

    async fn get_schema(
        &self,
        request: Request<proto::GetSchemaRequest>,
    ) -> Result<Response<proto::GetSchemaResponse>, Status> {
        let proto::GetSchemaRequest { r#type: event_type, version } = request.into_inner();
        let schema = schemas::show(&self.0, &event_type, version).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::GetSchemaResponse {
            r#type: schema.event_type,
            version: Some(version_view(&schema.info)),
            schema_json: schema.schema,
        }))
    }

    async fn get_schema_type(
        &self,
        request: Request<proto::GetSchemaTypeRequest>,
    ) -> Result<Response<proto::GetSchemaTypeResponse>, Status> {
        let found = schemas::show_type(&self.0, &request.into_inner().r#type).map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::GetSchemaTypeResponse { r#type: Some(type_view(&found)) }))
    }

    async fn list_schema_types(
        &self,
        request: Request<proto::ListSchemaTypesRequest>,
    ) -> Result<Response<proto::ListSchemaTypesResponse>, Status> {
        let proto::ListSchemaTypesRequest { after, limit } = request.into_inner();
        let limit = convert::list_limit(limit, limits::LIST_STREAMS_MAX).map_err(|problem| status(&problem))?;
        let page = schemas::list(&self.0, Some(after.as_str()).filter(|after| !after.is_empty()), limit);
        let next_after = page.types.last().filter(|_| page.more).map(|last| last.event_type.clone());
        Ok(Response::new(proto::ListSchemaTypesResponse {
            types: page.types.iter().map(type_view).collect(),
            next_after: next_after.unwrap_or_default(),
        }))
    }

    async fn set_schema_compatibility(
        &self,
        request: Request<proto::SetSchemaCompatibilityRequest>,
    ) -> Result<Response<proto::SetSchemaCompatibilityResponse>, Status> {
        let request = request.into_inner();
        let mode = mode(request.compatibility()).map_err(|problem| status(&problem))?;
        let info = schemas::set_compatibility(&self.0, &request.r#type, mode).await;
        let info = info.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::SetSchemaCompatibilityResponse { r#type: Some(type_view(&info)) }))
    }

    async fn delete_schema(
        &self,
        request: Request<proto::DeleteSchemaRequest>,
    ) -> Result<Response<proto::DeleteSchemaResponse>, Status> {
        let proto::DeleteSchemaRequest { r#type: event_type, version, force } = request.into_inner();
        schemas::delete(&self.0, &event_type, version, force).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::DeleteSchemaResponse {}))
    }

    async fn validate_data(
        &self,
        request: Request<proto::ValidateDataRequest>,
    ) -> Result<Response<proto::ValidateDataResponse>, Status> {
        let proto::ValidateDataRequest { r#type: event_type, version, data } = request.into_inner();
        let (version, violations) =
            schemas::validate(&self.0, &event_type, version, &data).await.map_err(|problem| status(&problem))?;
        let violation = |Violation { at, message }: Violation| proto::SchemaViolation { at, message };
        Ok(Response::new(proto::ValidateDataResponse {
            valid: violations.is_empty(),
            version,
            violations: violations.into_iter().map(violation).collect(),
        }))
    }
}

fn mode(mode: proto::SchemaCompatibility) -> Result<Compatibility, Problem> {
    match mode {
        proto::SchemaCompatibility::None => Ok(Compatibility::None),
        proto::SchemaCompatibility::Backward => Ok(Compatibility::Backward),
        proto::SchemaCompatibility::Forward => Ok(Compatibility::Forward),
        proto::SchemaCompatibility::Full => Ok(Compatibility::Full),
        proto::SchemaCompatibility::Unspecified => {
            let message = "it is missing or unknown: 1 is none, 2 is backward, 3 is forward, 4 is full";
            Err(Problem::new(Code::InvalidArgument, "the compatibility is refused").with("compatibility", message))
        }
    }
}

fn mode_view(mode: Compatibility) -> proto::SchemaCompatibility {
    match mode {
        Compatibility::None => proto::SchemaCompatibility::None,
        Compatibility::Backward => proto::SchemaCompatibility::Backward,
        Compatibility::Forward => proto::SchemaCompatibility::Forward,
        Compatibility::Full => proto::SchemaCompatibility::Full,
    }
}

fn version_view(info: &VersionInfo) -> proto::SchemaVersion {
    proto::SchemaVersion {
        version: info.version,
        id: info.id.to_string(),
        bytes: info.bytes as u64,
        registered_at_us: info.registered_at_us,
    }
}

fn type_view(info: &TypeInfo) -> proto::SchemaType {
    proto::SchemaType {
        r#type: info.event_type.clone(),
        compatibility: mode_view(info.compatibility).into(),
        versions: info.versions.iter().map(version_view).collect(),
    }
}

fn incompatible(one: Incompatible) -> proto::SchemaIncompatibility {
    let Incompatible { at, message, old_version, new_version, direction, certain } = one;
    let direction = mode_view(direction).into();
    proto::SchemaIncompatibility { at, message, old_version, new_version, direction, certain }
}
