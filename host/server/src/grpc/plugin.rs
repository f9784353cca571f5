//! `wasmill.v1.PluginService`.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;
use tonic::{Request, Response, Status, Streaming};
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::plugin as limits;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::log::Level;

use super::convert;
use super::status::{refuse, status, unreadable};
use crate::app::App;
use crate::plugin_logs;
use crate::plugins::{self, REVISIONS_MAX};
use crate::proto;
use crate::proto::download_plugin_response::Kind;
use crate::proto::plugin_service_server::PluginService;

pub(super) struct PluginApi(pub(super) Arc<App>);

/// The next message of an upload.
async fn next<T>(requests: &mut Streaming<T>) -> Result<Option<T>, Status> {
    requests.message().await.map_err(|error| unreadable(&error).map_or(error, |problem| status(&problem)))
}

/// Takes a piece in; too large a component is refused before it is whole.
fn take(component: &mut BytesMut, chunk: &Bytes) -> Result<(), Status> {
    component.extend_from_slice(chunk);
    if component.len() > limits::COMPONENT_BYTES_MAX {
        let message = format!("a component has at most {} bytes", limits::COMPONENT_BYTES_MAX);
        return Err(status(&Problem::new(Code::BodyTooLarge, message)));
    }
    Ok(())
}

/// What one message of a download holds.
const PIECE_BYTES: usize = 256 << 10;

fn pieces(mut component: Bytes) -> impl Iterator<Item = Bytes> + Send {
    std::iter::from_fn(move || {
        let length = component.len().min(PIECE_BYTES);
        (length > 0).then(|| component.split_to(length))
    })
}

/// What is deployed, and how: the first message says that.
async fn upload(mut requests: Streaming<proto::DeployPluginRequest>) -> Result<(Bytes, DeployOptions), Status> {
    let mut component = BytesMut::new();
    let first = next(&mut requests).await?.unwrap_or_default();
    let options = convert::deploy_options(first.options).map_err(|problem| status(&problem))?;
    take(&mut component, &first.chunk)?;
    while let Some(request) = next(&mut requests).await? {
        if request.options.is_some() {
            let message = "they stand in the first message";
            let problem = Problem::new(Code::InvalidArgument, "options come too late").with("options", message);
            return Err(status(&problem));
        }
        take(&mut component, &request.chunk)?;
    }
    Ok((component.freeze(), options))
}

#[tonic::async_trait]
impl PluginService for PluginApi {
    type DownloadPluginStream = Pin<Box<dyn Stream<Item = Result<proto::DownloadPluginResponse, Status>> + Send>>;
    type FollowPluginLogsStream = Pin<Box<dyn Stream<Item = Result<proto::FollowPluginLogsResponse, Status>> + Send>>;

    async fn check_plugin(
        &self,
        request: Request<Streaming<proto::CheckPluginRequest>>,
    ) -> Result<Response<proto::CheckPluginResponse>, Status> {
        let (mut requests, mut component) = (request.into_inner(), BytesMut::new());
        while let Some(request) = next(&mut requests).await? {
            take(&mut component, &request.chunk)?;
        }
        let checked = self.0.host.plugins.check(component.freeze()).await.map_err(refuse)?;
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
        let (component, options) = upload(request.into_inner()).await?;
        let done = plugins::deploy(&self.0, component, &options, "options.start").await;
        let done = done.map_err(|problem| status(&problem))?;
        let plugin = Some(convert::plugin(&done.status));
        Ok(Response::new(proto::DeployPluginResponse { plugin, changed: done.changed }))
    }

    async fn list_plugins(
        &self,
        _: Request<proto::ListPluginsRequest>,
    ) -> Result<Response<proto::ListPluginsResponse>, Status> {
        let plugins = plugins::list(&self.0).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::ListPluginsResponse { plugins: plugins.iter().map(convert::plugin).collect() }))
    }

    async fn get_plugin(
        &self,
        request: Request<proto::GetPluginRequest>,
    ) -> Result<Response<proto::GetPluginResponse>, Status> {
        let plugin = plugins::status(&self.0, &request.into_inner().name).await;
        let plugin = plugin.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::GetPluginResponse { plugin: Some(convert::plugin(&plugin)) }))
    }

    async fn remove_plugin(
        &self,
        request: Request<proto::RemovePluginRequest>,
    ) -> Result<Response<proto::RemovePluginResponse>, Status> {
        let proto::RemovePluginRequest { name, force } = request.into_inner();
        plugins::remove(&self.0, &name, force).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::RemovePluginResponse {}))
    }

    async fn get_plugin_logs(
        &self,
        request: Request<proto::GetPluginLogsRequest>,
    ) -> Result<Response<proto::GetPluginLogsResponse>, Status> {
        let request = request.into_inner();
        let limit = convert::list_limit(request.limit, limits::LOG_LINES_MAX).map_err(|problem| status(&problem))?;
        let level = level(&request.min_level)?;
        let lines = self.0.host.plugins.logs(&request.name, limit, level).map_err(refuse)?;
        Ok(Response::new(proto::GetPluginLogsResponse { lines: lines.into_iter().map(convert::log_line).collect() }))
    }

    async fn get_plugin_status(
        &self,
        request: Request<proto::GetPluginStatusRequest>,
    ) -> Result<Response<proto::GetPluginStatusResponse>, Status> {
        let plugin = plugins::overview(&self.0, &request.into_inner().name).await;
        let plugin = plugin.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::GetPluginStatusResponse { status: Some(convert::plugin_status(&plugin)) }))
    }

    async fn list_plugin_revisions(
        &self,
        request: Request<proto::ListPluginRevisionsRequest>,
    ) -> Result<Response<proto::ListPluginRevisionsResponse>, Status> {
        let proto::ListPluginRevisionsRequest { name, limit } = request.into_inner();
        let limit = convert::list_limit(limit, REVISIONS_MAX).map_err(|problem| status(&problem))?;
        let revisions = plugins::revisions(&self.0, &name, limit).await.map_err(|problem| status(&problem))?;
        let revisions = revisions.into_iter().map(convert::revision).collect();
        Ok(Response::new(proto::ListPluginRevisionsResponse { revisions }))
    }

    async fn download_plugin(
        &self,
        request: Request<proto::DownloadPluginRequest>,
    ) -> Result<Response<Self::DownloadPluginStream>, Status> {
        let proto::DownloadPluginRequest { name, revision } = request.into_inner();
        let found = plugins::component(&self.0, &name, revision).await;
        let (revision, component) = found.map_err(|problem| status(&problem))?;
        let first = Kind::Revision(convert::revision(revision));
        let kinds = std::iter::once(first).chain(pieces(component).map(Kind::Chunk));
        let answers = kinds.map(|kind| Ok(proto::DownloadPluginResponse { kind: Some(kind) }));
        Ok(Response::new(Box::pin(futures_util::stream::iter(answers))))
    }

    async fn configure_plugin(
        &self,
        request: Request<proto::ConfigurePluginRequest>,
    ) -> Result<Response<proto::ConfigurePluginResponse>, Status> {
        let proto::ConfigurePluginRequest { name, change } = request.into_inner();
        let done = plugins::configure(&self.0, &name, convert::setup_change(change)).await;
        let done = done.map_err(|problem| status(&problem))?;
        let plugin = Some(convert::plugin(&done.status));
        Ok(Response::new(proto::ConfigurePluginResponse { plugin, changed: done.changed }))
    }

    async fn get_plugin_settings(
        &self,
        request: Request<proto::GetPluginSettingsRequest>,
    ) -> Result<Response<proto::GetPluginSettingsResponse>, Status> {
        let settings = plugins::settings(&self.0, &request.into_inner().name).await;
        let settings = settings.map_err(|problem| status(&problem))?;
        let settings_json = plugins::settings_json(&settings).to_string();
        Ok(Response::new(proto::GetPluginSettingsResponse { settings_json }))
    }

    async fn change_plugin_settings(
        &self,
        request: Request<proto::ChangePluginSettingsRequest>,
    ) -> Result<Response<proto::ChangePluginSettingsResponse>, Status> {
        let proto::ChangePluginSettingsRequest { name, patch_json } = request.into_inner();
        let patch: Value = serde_json::from_str(&patch_json).map_err(|error| {
            let problem = Problem::new(Code::InvalidArgument, "the patch is not JSON");
            status(&problem.with("patch_json", error.to_string()))
        })?;
        let settings = plugins::change_settings(&self.0, &name, &patch).await;
        let settings = settings.map_err(|problem| status(&problem))?;
        let settings_json = plugins::settings_json(&settings).to_string();
        Ok(Response::new(proto::ChangePluginSettingsResponse { settings_json }))
    }

    async fn roll_back_plugin(
        &self,
        request: Request<proto::RollBackPluginRequest>,
    ) -> Result<Response<proto::RollBackPluginResponse>, Status> {
        let proto::RollBackPluginRequest { name, to } = request.into_inner();
        let plugin = plugins::roll_back(&self.0, &name, to).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::RollBackPluginResponse { plugin: Some(convert::plugin(&plugin)) }))
    }

    async fn drain_plugin(
        &self,
        request: Request<proto::DrainPluginRequest>,
    ) -> Result<Response<proto::DrainPluginResponse>, Status> {
        let proto::DrainPluginRequest { name, timeout_ms } = request.into_inner();
        let timeout = convert::drain_time(timeout_ms).map_err(|problem| status(&problem))?;
        let drained = plugins::drain(&self.0, &name, timeout).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::DrainPluginResponse { drained }))
    }

    async fn confirm_plugin(
        &self,
        request: Request<proto::ConfirmPluginRequest>,
    ) -> Result<Response<proto::ConfirmPluginResponse>, Status> {
        let proto::ConfirmPluginRequest { name, drop_standby } = request.into_inner();
        let done = plugins::confirm(&self.0, &name, drop_standby).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::ConfirmPluginResponse { done }))
    }

    async fn follow_plugin_logs(
        &self,
        request: Request<proto::FollowPluginLogsRequest>,
    ) -> Result<Response<Self::FollowPluginLogsStream>, Status> {
        let proto::FollowPluginLogsRequest { name, min_level, from } = request.into_inner();
        let level = level(&min_level)?;
        let pages = plugin_logs::follow(&self.0, name, from, level).map_err(|problem| status(&problem))?;
        let answers = pages.map(|page| match page {
            Ok(plugin_logs::Page { lines, next }) => {
                let lines = lines.into_iter().map(convert::log_line).collect();
                Ok(proto::FollowPluginLogsResponse { lines, next })
            }
            Err(problem) => Err(status(&problem)),
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn level(name: &str) -> Result<Level, Status> {
    crate::convert::level(name).map_err(|mistake| {
        status(&Problem::new(Code::InvalidArgument, "the level is not known").with("min_level", mistake))
    })
}
