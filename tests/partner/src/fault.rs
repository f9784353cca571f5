//! How it is told to misbehave.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::Operation;

/// What goes wrong, when, and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    pub operation: Operation,
    /// Every order without.
    #[serde(default)]
    pub order_id: Option<String>,
    pub moment: Moment,
    #[serde(flatten)]
    pub kind: Kind,
    /// Requests that it befalls; all without.
    #[serde(default)]
    pub times: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    BeforeEffect,
    AfterEffect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Kind {
    /// Answers with this status.
    Status {
        status: u16,
    },
    /// Does not answer, until it is hung up on.
    Hang,
    HangUp,
    /// Answers with so many bytes.
    Answer {
        bytes: u64,
    },
    Redirect {
        to: String,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    asked: HashMap<Operation, u64>,
    /// By order.
    befallen: HashMap<String, u64>,
}

impl Faults {
    pub(crate) fn tell(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    pub(crate) fn asked(&self, operation: Operation) -> u64 {
        self.state().asked.get(&operation).copied().unwrap_or_default()
    }

    pub(crate) fn befallen(&self, order_id: &str) -> u64 {
        self.state().befallen.get(order_id).copied().unwrap_or_default()
    }

    /// What befalls this request. Those that were told first come first.
    pub(crate) fn befalls(&self, operation: Operation, order_id: &str) -> Option<(Moment, Kind)> {
        let mut state = self.state();
        *state.asked.entry(operation).or_default() += 1;
        let meant = |fault: &&mut Fault| {
            let order = fault.order_id.as_deref().is_none_or(|order| order == order_id);
            fault.operation == operation && order && fault.times != Some(0)
        };
        let fault = state.faults.iter_mut().find(meant)?;
        fault.times = fault.times.map(|times| times - 1);
        let befallen = (fault.moment, fault.kind.clone());
        *state.befallen.entry(order_id.to_owned()).or_default() += 1;
        Some(befallen)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
