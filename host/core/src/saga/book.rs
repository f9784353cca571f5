//! One revision of a saga, ready to be called: its definition, its code, and its warm instances.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::definition::Definition;
use super::http::{Gate, Network};
use crate::guest::{GuestEnvironment, GuestError, SagaGuest};
use crate::limits::{plugin, saga as limits};
use crate::name::Pattern;
use crate::plugin::log::PluginLog;
use crate::plugin::saga::Callable;
use crate::plugin::settings::Wanted;

pub(super) struct Book {
    pub(super) definition: Arc<Definition>,
    callable: Callable,
    config: Arc<[(String, String)]>,
    pub(super) appends_to: Arc<[Pattern]>,
    pub(super) gate: Arc<Gate>,
    warm: Mutex<Vec<Warm>>,
    /// Sagas that wait for their plugin to go on.
    held: Mutex<Vec<Uuid>>,
}

pub(super) struct Warm {
    pub(super) guest: Box<dyn SagaGuest>,
    pub(super) log: Arc<PluginLog>,
    calls: u32,
}

impl Book {
    pub(super) fn new(definition: Arc<Definition>, callable: Callable, network: &Network) -> Self {
        let grants = callable.setup.capabilities(&callable.descriptor);
        Self {
            config: callable.setup.pairs(&callable.descriptor),
            appends_to: callable.setup.appends_to(),
            gate: Arc::new(Gate::new(network.clone(), grants.iter().map(String::as_str))),
            definition,
            callable,
            warm: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// Whether its operator lets it run. One that does not is remembered, to be driven when that has changed.
    pub(super) fn runs(&self, saga: Uuid) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = self.callable.settings.borrow().wanted == Wanted::Running;
        if !runs && !held.contains(&saga) {
            held.push(saga);
        }
        runs
    }

    /// Resolves with the sagas that were held, when its operator lets it run again; `None` when it is removed.
    pub(super) async fn released(&self) -> Option<Vec<Uuid>> {
        let mut settings = self.callable.settings.clone();
        loop {
            settings.changed().await.ok()?;
            if settings.borrow_and_update().wanted == Wanted::Running {
                let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
                if !held.is_empty() {
                    return Some(held);
                }
            }
        }
    }

    /// An instance that nobody uses.
    pub(super) async fn take(&self) -> Result<Warm, GuestError> {
        let warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(warm) = warm {
            return Ok(warm);
        }
        let log = Arc::new(PluginLog::of_instance(Arc::clone(&self.callable.log)));
        let memory_bytes_max = self.callable.settings.borrow().memory_bytes_max();
        let environment =
            GuestEnvironment { config: Arc::clone(&self.config), log: Arc::clone(&log), memory_bytes_max };
        let guest = self.callable.module.start_saga(environment).await?;
        Ok(Warm { guest, log, calls: 0 })
    }

    /// Keeps an instance for the next call. One that has ended a call badly is dropped instead.
    pub(super) fn give_back(&self, mut warm: Warm) {
        warm.calls += 1;
        let mut all = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if warm.calls < plugin::CALLS_OF_INSTANCE_MAX && all.len() < limits::WARM_MAX {
            all.push(warm);
        }
    }
}
