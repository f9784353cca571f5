//! The gRPC face: converts, calls, converts.

mod bulk;
pub(crate) mod convert;
mod group;
mod log;
mod plugin;
mod projection;
mod queue;
mod receipt;
mod replay;
pub(crate) mod saga;
mod schedule;
mod schema;
pub(crate) mod status;
mod stream;

use std::sync::Arc;

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use wasmill_core::limits::{plugin as plugin_limits, publish};

use crate::app::App;
use crate::proto::DESCRIPTORS;
use crate::proto::group_service_server::{GroupServiceServer, SERVICE_NAME as GROUP};
use crate::proto::log_service_server::{LogServiceServer, SERVICE_NAME as LOG};
use crate::proto::plugin_service_server::{PluginServiceServer, SERVICE_NAME as PLUGIN};
use crate::proto::projection_service_server::{ProjectionServiceServer, SERVICE_NAME as PROJECTION};
use crate::proto::queue_service_server::{QueueServiceServer, SERVICE_NAME as QUEUE};
use crate::proto::receipt_service_server::{ReceiptServiceServer, SERVICE_NAME as RECEIPT};
use crate::proto::replay_service_server::{ReplayServiceServer, SERVICE_NAME as REPLAY};
use crate::proto::saga_service_server::{SERVICE_NAME as SAGA, SagaServiceServer};
use crate::proto::schedule_service_server::{SERVICE_NAME as SCHEDULE, ScheduleServiceServer};
use crate::proto::schema_service_server::{SERVICE_NAME as SCHEMA, SchemaServiceServer};
use crate::proto::stream_service_server::{SERVICE_NAME as STREAM, StreamServiceServer};

const MIB: usize = 1024 * 1024;
/// An append a little over its limit is read, so that the answer can name what is too large in it.
const APPEND_MESSAGE_BYTES_MAX: usize = publish::APPEND_BYTES_MAX + MIB;
/// A piece of a component has at most 1 MiB.
const CHUNK_MESSAGE_BYTES_MAX: usize = 2 * MIB;
/// Everything else is names and numbers; a filter may be long.
const SMALL_MESSAGE_BYTES_MAX: usize = 256 * 1024;

const SERVICES: [&str; 11] = [LOG, STREAM, GROUP, QUEUE, SCHEDULE, SCHEMA, RECEIPT, REPLAY, SAGA, PLUGIN, PROJECTION];

const _: () = assert!(CHUNK_MESSAGE_BYTES_MAX < plugin_limits::COMPONENT_BYTES_MAX);

/// All services; and what tells health checkers how they are.
pub(crate) struct Grpc {
    pub(crate) router: axum::Router,
    health: HealthReporter,
}

impl Grpc {
    pub(crate) async fn new(app: Arc<App>) -> Self {
        let health = HealthReporter::new();
        for service in SERVICES {
            health.set_service_status(service, ServingStatus::Serving).await;
        }
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the descriptors were made when the host was built");
        let log = LogServiceServer::new(log::LogApi(Arc::clone(&app)));
        let stream = StreamServiceServer::new(stream::StreamApi(Arc::clone(&app)));
        let group = GroupServiceServer::new(group::GroupApi(Arc::clone(&app)));
        let queue = QueueServiceServer::new(queue::QueueApi(Arc::clone(&app)));
        let schedule = ScheduleServiceServer::new(schedule::ScheduleApi(Arc::clone(&app)));
        let schema = SchemaServiceServer::new(schema::SchemaApi(Arc::clone(&app)));
        let receipt = ReceiptServiceServer::new(receipt::ReceiptApi(Arc::clone(&app)));
        let replay = ReplayServiceServer::new(replay::ReplayApi(Arc::clone(&app)));
        let saga = SagaServiceServer::new(saga::SagaApi(Arc::clone(&app)));
        let plugin = PluginServiceServer::new(plugin::PluginApi(Arc::clone(&app)));
        let projection = ProjectionServiceServer::new(projection::ProjectionApi(app));
        let health_service = tonic_health::server::HealthService::from_health_reporter(health.clone());
        let router = Routes::new(log.max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX))
            .add_service(stream.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX))
            .add_service(group.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX))
            .add_service(queue.max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX))
            .add_service(schedule.max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX))
            .add_service(schema.max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX))
            .add_service(receipt.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX))
            .add_service(replay.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX))
            .add_service(saga.max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX))
            .add_service(plugin.max_decoding_message_size(CHUNK_MESSAGE_BYTES_MAX))
            .add_service(projection.max_decoding_message_size(SMALL_MESSAGE_BYTES_MAX))
            .add_service(tonic_health::pb::health_server::HealthServer::new(health_service))
            .add_service(reflection)
            .prepare()
            .into_axum_router();
        Self { router, health }
    }

    /// Tells health checkers to send their traffic elsewhere.
    pub(crate) async fn drain(&self) {
        for service in [""].into_iter().chain(SERVICES) {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
    }
}
