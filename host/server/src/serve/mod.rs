//! The life of a host: configured, built, spawned, waited for, drained.

mod accept;
mod data_dir;
mod parts;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use wasmill_core::host::{Host, StartError};
use wasmill_core::log_id;

use crate::access::Access;
use crate::app::{App, GuestLimits};
use crate::config::Config;
use crate::front::Front;
use crate::grpc::Grpc;
use crate::http;
use crate::hub;
use crate::push::Push;

use accept::{Connections, accept};
pub use data_dir::{DataDir, DataDirError};
pub use parts::PartsError;

/// After the drain, for the checkpoints and the last commits.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a host did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Parts(#[from] PartsError),
    #[error("the host cannot start")]
    Start(#[from] StartError),
    /// Without this task the host cannot keep its promises.
    #[error("the host had to stop: {0}")]
    TaskFailed(String),
    #[error("the last commits took longer than {STOP_TIMEOUT:?}; what was acknowledged is safe")]
    StopTimeout,
}

/// Binds the configured address.
pub async fn bind(config: &Config) -> Result<TcpListener, ServeError> {
    let address = config.server.listen;
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Resolves when the process is asked to end: SIGTERM, or an interrupt from the keyboard.
pub async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("the runtime has its signal driver");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}

/// Runs a host on `listener` until `shutdown` resolves, and drains it. An error after the start means
/// that the host gave up by itself.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (listener, started) = (Arc::new(listener), Instant::now());
    let data_dir = DataDir::take(&config.store.data_dir)?;
    let host = Host::start(parts::open(config.clone(), data_dir.places()).await?).await?;
    let address = listener.local_addr().unwrap_or(config.server.listen);
    let access = Access::new(&config.access, address);
    let connections = Connections::default();
    let push = Push::new(Arc::clone(&host.metrics), connections.open.clone(), connections.cut.clone());
    let (drain, hub) = (connections.drain.clone(), hub::Registry::default());
    let (call_deadline, memory_bytes) = (config.wasm.call_deadline, config.wasm.memory_limit.as_u64());
    let limits = GuestLimits { call_deadline, memory_bytes };
    let app = Arc::new(App { host: Arc::clone(&host), access, drain, started, push, hub, limits });
    let grpc = Grpc::new(Arc::clone(&app)).await;
    let front = Arc::new(Front::new(Arc::clone(&app), grpc.router.clone(), http::router(Arc::clone(&app))));
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let next_position = host.reader.tail().next().0;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(event_id = log_id::HOST_STARTED, version, next_position, took_ms, "host started");
    tracing::info!(event_id = log_id::HOST_LISTENING, %address, "listening for gRPC and HTTP");

    let failure = tokio::select! {
        () = accept(Arc::clone(&listener), Arc::clone(&front), connections.clone(), config.server.connections_max) => None,
        () = shutdown => None,
        failure = host.tasks.failure() => Some(failure),
    };

    tracing::info!(event_id = log_id::HOST_DRAINING, open_connections = connections.open.len(), "draining");
    drop(listener);
    grpc.drain().await;
    connections.drain.cancel();
    connections.open.close();
    let drained = tokio::time::timeout(config.server.drain_timeout, connections.open.wait()).await.is_ok();
    connections.cut.cancel();
    connections.open.wait().await;
    let stopped = tokio::time::timeout(STOP_TIMEOUT, host.stop()).await;
    tracing::info!(event_id = log_id::HOST_STOPPED, drained, "host stopped");
    match (failure, stopped) {
        (Some(failure), _) => Err(ServeError::TaskFailed(failure)),
        (None, Err(_)) => Err(ServeError::StopTimeout),
        (None, Ok(())) => Ok(()),
    }
}
