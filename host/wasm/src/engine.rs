//! The engine: what all plugins share.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use wasmill_core::clock::Clock;
use wasmill_core::guest::{ComponentError, GuestEngine, GuestModule};
use wasmill_core::limits::plugin::COMPONENT_BYTES_MAX;
use wasmill_core::plugin::descriptor::Kind;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::CompiledCache;
use crate::config::WasmConfig;
use crate::contract::{Form, Outline, made_of};
use crate::module::WasmModule;
use crate::threads::GuestThreads;
use crate::worlds::v0_1::linker::Linkers;
use crate::{compile, settings, ticker};

/// Loads, checks, compiles, limits and runs plugins. It has to be made, and may be dropped, on any
/// thread; modules and guests keep what they need of it alive.
pub struct WasmEngine {
    shared: Arc<Shared>,
    /// One compilation at a time: each takes all the threads that it is allowed.
    compiling: Arc<Semaphore>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) config: WasmConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) threads: GuestThreads,
    pub(crate) linkers: Linkers,
    cache: Option<CompiledCache>,
}

/// Why no plugin can run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the Wasm engine does not start with these settings: {0}")]
    Settings(String),
    #[error("the threads of the Wasm engine do not start")]
    Threads(#[source] std::io::Error),
    #[error("the cache of compiled plugins cannot be used")]
    Cache(#[source] std::io::Error),
}

impl WasmEngine {
    /// `clock` is the time of handlers and sagas, and stamps the lines of all plugins' logs.
    pub fn new(config: WasmConfig, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        let settings = |error: wasmtime::Error| EngineError::Settings(format!("{error:#}"));
        let engine = Engine::new(&settings::wasmtime_config(&config)).map_err(settings)?;
        ticker::start(&engine).map_err(EngineError::Threads)?;
        let threads = GuestThreads::start(config.guest_threads).map_err(EngineError::Threads)?;
        let open = |dir| CompiledCache::open(dir, &engine, config.cache_bytes_max);
        let cache = config.cache_dir.as_deref().map(open).transpose().map_err(EngineError::Cache)?;
        let linkers = Linkers::new(&engine).map_err(settings)?;
        let shared = Shared { engine, config, clock, threads, linkers, cache };
        Ok(Self { shared: Arc::new(shared), compiling: Arc::new(Semaphore::new(1)) })
    }
}

#[async_trait]
impl GuestEngine for WasmEngine {
    async fn cached(&self, sha256: &str) -> Option<Arc<dyn GuestModule>> {
        let (shared, sha256) = (Arc::clone(&self.shared), sha256.to_owned());
        let load = move || -> Option<Arc<dyn GuestModule>> {
            let (component, made) = shared.load(&sha256)?;
            // What this version refuses has to be refused with its reasons, by `compile`.
            let module = WasmModule::link(shared, sha256, &component, made).ok()?;
            Some(Arc::new(module))
        };
        spawn_blocking(load).await.ok().flatten()
    }

    async fn compile(&self, component: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        if component.len() > COMPONENT_BYTES_MAX {
            let bytes = component.len();
            return Err(ComponentError::Invalid(format!("it has {bytes} bytes, more than {COMPONENT_BYTES_MAX}")));
        }
        let turn = Arc::clone(&self.compiling).acquire_owned().await.expect("it is never closed");
        let shared = Arc::clone(&self.shared);
        let compile = move || -> Result<Arc<dyn GuestModule>, ComponentError> {
            // Held by the work, not by whoever waits for it: that one may go away.
            let _turn = turn;
            Ok(Arc::new(shared.compile(&component)?))
        };
        let crashed = |_| ComponentError::Compile("the compiler crashed on it".into());
        spawn_blocking(compile).await.map_err(crashed)?
    }
}

impl Shared {
    fn load(&self, sha256: &str) -> Option<(Component, (Kind, Form))> {
        let component = self.cache.as_ref()?.load(&self.engine, sha256)?;
        let made = made_of(component.component_type().exports(&self.engine).map(|(name, _)| name))?;
        Some((component, made))
    }

    fn compile(self: Arc<Self>, bytes: &[u8]) -> Result<WasmModule, ComponentError> {
        let made = Outline::read(bytes)?.check().map_err(ComponentError::Refused)?;
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some((component, _)) = self.load(&sha256) {
            return WasmModule::link(self, sha256, &component, made);
        }
        let component = compile::compile(&self.engine, bytes, self.config.compile_threads)?;
        let component = match &self.cache {
            Some(cache) => cache.keep(&self.engine, &sha256, component),
            None => component,
        };
        WasmModule::link(self, sha256, &component, made)
    }
}
