//! A host put together: the log, the plugins, and the tasks behind them.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::clock::Clock;
use crate::code::Problem;
use crate::event::Position;
use crate::group::{GroupError, Groups};
use crate::guest::GuestEngine;
use crate::handler;
use crate::log::commit::{Committer, group_commit};
use crate::log::others::Others;
use crate::log::publish::Publisher;
use crate::log::read::Reader;
use crate::log::tail::Tail;
use crate::metrics::Metrics;
use crate::plugin::deploy::DeployError;
use crate::plugin::registry::Plugins;
use crate::projection::query::Projections;
use crate::projection::runner::RunnerContext;
use crate::receipt::{self, Receipts};
use crate::replay::Replays;
use crate::saga::{self, Sagas};
use crate::schedule::{self, Schedules};
use crate::schema::Schemas;
use crate::store::{Store, StoreError};
use crate::stream::config::StreamConfig;
use crate::stream::configs::StreamConfigs;
use crate::stream::lifecycle::Streams;
use crate::stream::retention::{Retention, RetentionOptions};
use crate::tasks::{Tasks, chain};
use crate::timer::{Timers, Wake};
use crate::upcast::Lifts;

/// What a host is made of.
pub struct HostParts {
    pub store: Arc<dyn Store>,
    pub engine: Arc<dyn GuestEngine>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub options: HostOptions,
}

/// What may be chosen of a host.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// What holds for every stream of which no stream configuration says anything else; to be
    /// [checked](StreamConfig::check) before.
    pub stream_defaults: StreamConfig,
    pub retention: RetentionOptions,
    /// What sagas may reach. Nothing, by default.
    pub network: saga::http::Network,
}

pub struct Host {
    pub publisher: Publisher,
    pub reader: Reader,
    pub stream_configs: StreamConfigs,
    pub streams: Streams,
    pub retention: Retention,
    pub plugins: Plugins,
    pub projections: Projections,
    pub groups: Groups,
    pub schemas: Schemas,
    pub schedules: Schedules,
    pub receipts: Receipts,
    pub replays: Replays,
    pub sagas: Sagas,
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub tasks: Tasks,
    committer: Committer,
    /// Made when the log was.
    pub log_id: Uuid,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error("the upcasters could not be loaded")]
    Upcasters(#[source] Box<DeployError>),
    #[error("the consumer groups could not be started")]
    Groups(#[source] Box<GroupError>),
    #[error(
        "the log ends at position {next_position}, but generation {generation} has already read up to {checkpoint}: \
         the store was restored from an older copy; restore a newer one, or remove the plugin's read model"
    )]
    LogBehindCheckpoint { next_position: Position, generation: u64, checkpoint: Position },
}

impl Host {
    /// Starts the writer and everything that was deployed.
    pub async fn start(parts: HostParts) -> Result<Arc<Self>, StartError> {
        let HostParts { store, engine, clock, metrics, options } = parts;
        let head = store.head().await?;
        check_checkpoints(&*store, head.next_position).await?;
        let tail = Arc::new(Tail::new(head.next_position));
        let (committer, writer) =
            group_commit(Arc::clone(&store), Arc::clone(&tail), Arc::clone(&clock), Arc::clone(&metrics));
        let tasks = Tasks::default();
        tasks.spawn("writer", async move { writer.run().await.map_err(|error| chain(&*error)) });
        let lifts = Lifts::default();
        let reader = Reader::new(Arc::clone(&store), Arc::clone(&tail), lifts.clone());
        let context = RunnerContext {
            store: Arc::clone(&store),
            committer: committer.clone(),
            reader: reader.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let stream_configs = StreamConfigs::new(Arc::clone(&store), committer.clone(), options.stream_defaults);
        stream_configs.reload().await?;
        let schemas = Schemas::new(Arc::clone(&store), committer.clone(), Arc::clone(&clock));
        schemas.reload().await?;
        let others = Others {
            store: Arc::clone(&store),
            tail: Arc::clone(&tail),
            configs: stream_configs.clone(),
            schemas: schemas.clone(),
            revision: head.revision,
        };
        tasks.spawn("follow", others.run(tasks.stop_token()));
        let with = (Arc::clone(&store), committer.clone(), Arc::clone(&clock));
        let publisher = Publisher::new(with, stream_configs.clone(), schemas.clone());
        let streams = Streams {
            store: Arc::clone(&store),
            committer: committer.clone(),
            configs: stream_configs.clone(),
            tail,
            metrics: Arc::clone(&metrics),
        };
        let wake = Wake::default();
        let with = (Arc::clone(&store), committer.clone(), Arc::clone(&clock), wake.clone());
        let (receipts, receipt_writer) =
            receipt::receipts(publisher.clone(), stream_configs.clone(), with, Arc::clone(&metrics));
        tasks.spawn("receipts", receipt_writer.run(tasks.stop_token()));
        let groups = Groups::new(
            reader.clone(),
            publisher.clone(),
            receipts.clone(),
            Arc::clone(&clock),
            streams.clone(),
            tasks.clone(),
        );
        let handlers = handler::Context {
            store: Arc::clone(&store),
            committer: committer.clone(),
            groups: groups.clone(),
            publisher: publisher.clone(),
            configs: stream_configs.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let plugins = Plugins::new(context, handlers, (engine, schemas.clone()), lifts, tasks.clone());
        // Before anyone reads.
        plugins.load_lifts().await.map_err(|error| StartError::Upcasters(Box::new(error)))?;
        if store.is_shared() {
            tasks.spawn("upcasters", plugins.clone().follow_lifts(tasks.stop_token()));
        }
        groups.start().await.map_err(|error| StartError::Groups(Box::new(error)))?;
        let term = plugins.start().await?;
        if store.is_shared() {
            tasks.spawn("lead", plugins.clone().follow_lead(term, tasks.stop_token()));
        }
        let retention = Retention::new(streams.clone(), Arc::clone(&clock), options.retention);
        tasks.spawn("retention", retention.clone().run(tasks.stop_token()));
        let with = (Arc::clone(&store), committer.clone(), Arc::clone(&clock), wake.clone());
        let schedules = Schedules::new(publisher.clone(), stream_configs.clone(), with, Arc::clone(&metrics));
        let timers = Timers {
            store: Arc::clone(&store),
            committer: committer.clone(),
            clock: Arc::clone(&clock),
            wake,
            schedules: Arc::new(schedule::Firing(schedules.clone())),
            receipts: Arc::new(receipt::Firing(receipts.clone())),
            unreadable: HashSet::new(),
        };
        tasks.spawn("timers", timers.run(plugins.lead(), tasks.stop_token()));
        let with = (Arc::clone(&store), committer.clone(), Arc::clone(&clock));
        let replays = Replays::new(
            with,
            reader.clone(),
            groups.clone(),
            plugins.clone(),
            stream_configs.clone(),
            Arc::clone(&metrics),
        );
        tasks.spawn("replays", replays.clone().run(plugins.lead(), tasks.stop_token()));
        let parts = saga::Parts {
            store: Arc::clone(&store),
            committer: committer.clone(),
            reader: reader.clone(),
            publisher: publisher.clone(),
            configs: stream_configs.clone(),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            plugins: plugins.clone(),
            network: options.network,
            tasks: tasks.clone(),
        };
        let sagas = Sagas::new(parts, plugins.lead());
        let projections = Projections(plugins.clone());
        Ok(Arc::new(Self {
            publisher,
            reader,
            stream_configs,
            streams,
            retention,
            plugins,
            projections,
            groups,
            schemas,
            schedules,
            receipts,
            replays,
            sagas,
            store,
            metrics,
            clock,
            tasks,
            committer,
            log_id: head.log_id,
        }))
    }

    /// Brings the gauges up to date that are read rather than counted.
    pub fn refresh_metrics(&self) {
        let tail = self.reader.tail();
        self.metrics.tail_position.set(i64::try_from(tail.next().0).unwrap_or(i64::MAX));
        self.metrics.tail_cache_bytes.set(i64::try_from(tail.cached_bytes()).unwrap_or(i64::MAX));
        self.plugins.refresh_metrics();
        self.groups.refresh_metrics();
        self.sagas.refresh_metrics();
    }

    /// Drains: projections leave their checkpoints, the writer finishes what was queued, the store
    /// closes. To be called when no more requests come in.
    pub async fn stop(&self) {
        self.groups.stop().await;
        self.plugins.stop().await;
        self.committer.close();
        self.tasks.stop().await;
        self.store.close().await;
    }
}

/// A log that ends before a checkpoint has lost events that were already folded.
async fn check_checkpoints(store: &dyn Store, next_position: Position) -> Result<(), StartError> {
    for generation in store.generations().await? {
        if generation.checkpoint > next_position {
            let (generation, checkpoint) = (generation.id.0, generation.checkpoint);
            return Err(StartError::LogBehindCheckpoint { next_position, generation, checkpoint });
        }
    }
    Ok(())
}

impl From<&StartError> for Problem {
    fn from(error: &StartError) -> Self {
        Problem::new(crate::code::Code::StorageFailed, error.to_string())
    }
}
