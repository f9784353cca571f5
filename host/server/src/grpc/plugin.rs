//! `wasmill.v1.PluginService`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tonic::{Request, Response, Status, Streaming};
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::plugin as limits;
use wasmill_core::plugin::deploy::DeployOptions;

use super::convert;
use super::status::{refuse, status, unreadable};
use crate::app::App;
use crate::proto;
use crate::proto::plugin_service_server::PluginService;

pub(super) struct PluginApi(pub(super) Arc<App>);

/// Puts a component together; too large a one is refused before it is whole.
async fn collect<T>(mut requests: Streaming<T>, chunk: fn(T) -> Bytes) -> Result<Bytes, Status> {
    let mut component = BytesMut::new();
    loop {
        match requests.message().await {
            Ok(Some(request)) => component.extend_from_slice(&chunk(request)),
            Ok(None) => return Ok(component.freeze()),
            Err(error) => return Err(unreadable(&error).map_or(error, |problem| status(&problem))),
        }
        if component.len() > limits::COMPONENT_BYTES_MAX {
            let message = format!("a component has at most {} bytes", limits::COMPONENT_BYTES_MAX);
            return Err(status(&Problem::new(Code::BodyTooLarge, message)));
        }
    }
}

#[tonic::async_trait]
impl PluginService for PluginApi {
    async fn check_plugin(
        &self,
        request: Request<Streaming<proto::CheckPluginRequest>>,
    ) -> Result<Response<proto::CheckPluginResponse>, Status> {
        let component = collect(request.into_inner(), |request| request.chunk).await?;
        let checked = self.0.host.plugins.check(component).await.map_err(refuse)?;
        Ok(Response::new(proto::CheckPluginResponse {
            sha256: checked.sha256,
            kind: checked.descriptor.kind.as_str().into(),
            name: checked.descriptor.name,
            version: checked.descriptor.version,
            descriptor_json: checked.descriptor_json,
        }))
    }

    async fn deploy_plugin(
        &self,
        request: Request<Streaming<proto::DeployPluginRequest>>,
    ) -> Result<Response<proto::DeployPluginResponse>, Status> {
        let component = collect(request.into_inner(), |request| request.chunk).await?;
        let deployed = self.0.host.plugins.deploy(component, &DeployOptions::default()).await.map_err(refuse)?;
        let plugin = Some(convert::plugin(deployed.plugin));
        Ok(Response::new(proto::DeployPluginResponse { plugin, changed: deployed.changed }))
    }

    async fn list_plugins(
        &self,
        _: Request<proto::ListPluginsRequest>,
    ) -> Result<Response<proto::ListPluginsResponse>, Status> {
        let plugins = self.0.host.plugins.list().into_iter().map(convert::plugin).collect();
        Ok(Response::new(proto::ListPluginsResponse { plugins }))
    }

    async fn get_plugin(
        &self,
        request: Request<proto::GetPluginRequest>,
    ) -> Result<Response<proto::GetPluginResponse>, Status> {
        let plugin = self.0.host.plugins.get(&request.into_inner().name).map_err(refuse)?;
        Ok(Response::new(proto::GetPluginResponse { plugin: Some(convert::plugin(plugin)) }))
    }

    async fn remove_plugin(
        &self,
        request: Request<proto::RemovePluginRequest>,
    ) -> Result<Response<proto::RemovePluginResponse>, Status> {
        self.0.host.plugins.remove(&request.into_inner().name).await.map_err(refuse)?;
        Ok(Response::new(proto::RemovePluginResponse {}))
    }

    async fn get_plugin_logs(
        &self,
        request: Request<proto::GetPluginLogsRequest>,
    ) -> Result<Response<proto::GetPluginLogsResponse>, Status> {
        let request = request.into_inner();
        let limit = convert::list_limit(request.limit, limits::LOG_LINES_MAX).map_err(|problem| status(&problem))?;
        let level = crate::convert::level(&request.min_level).map_err(|mistake| {
            status(&Problem::new(Code::InvalidArgument, "the level is not known").with("min_level", mistake))
        })?;
        let lines = self.0.host.plugins.logs(&request.name, limit, level).map_err(refuse)?;
        Ok(Response::new(proto::GetPluginLogsResponse { lines: lines.into_iter().map(convert::log_line).collect() }))
    }
}
