//! The parts that a host is made of, opened as the configuration says.

use std::sync::Arc;

use wasmill_core::clock::{Clock, SystemClock};
use wasmill_core::host::{HostOptions, HostParts};
use wasmill_core::metrics::Metrics;
use wasmill_core::saga::http::Network;
use wasmill_store::{OpenError, OpenOptions};
use wasmill_wasm::{EngineError, WasmConfig, WasmEngine};

use super::data_dir::Places;
use crate::config::{Config, NetworkConfig};
use crate::outgoing::{Client, SecretsError, StoredSecrets};

/// Why the parts could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    #[error("the store cannot be opened")]
    Store(#[from] OpenError),
    #[error("the Wasm engine cannot be started")]
    Engine(#[from] EngineError),
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

pub(super) async fn open(config: Config, data_dir: Places) -> Result<HostParts, PartsError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let readers = u32::try_from(config.store.readers).unwrap_or(u32::MAX);
    let store = config.store.location().open(OpenOptions { readers, migrate: config.store.migrate }).await?;
    let wasm = WasmConfig {
        guest_threads: config.wasm.threads,
        call_deadline: config.wasm.call_deadline,
        memory_bytes_max: usize::try_from(config.wasm.memory_limit.as_u64()).unwrap_or(usize::MAX),
        cache_dir: Some(data_dir.cache),
        ..WasmConfig::default()
    };
    let engine = WasmEngine::new(wasm, Arc::clone(&clock))?;
    let metrics = Arc::new(Metrics::new()?);
    let network = network(config.network)?;
    let options = HostOptions { retention: config.retention.0, network, ..HostOptions::default() };
    Ok(HostParts { store, engine: Arc::new(engine), clock, metrics, options })
}

fn network(config: NetworkConfig) -> Result<Network, SecretsError> {
    Ok(Network {
        client: Some(Arc::new(Client::new())),
        secrets: Some(Arc::new(StoredSecrets::open(config.secrets_dir)?)),
        private_hosts: config.private_hosts.into(),
    })
}
