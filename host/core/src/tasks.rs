//! Background tasks: each has a name, is stopped by one token, and its failure is seen.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::log_id;

/// An error and its causes in one line, for the log; never for a caller.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Runs tasks until they are told to stop. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: Arc<Mutex<JoinSet<()>>>,
    failed: Arc<Mutex<Option<String>>>,
    failure: CancellationToken,
}

impl Tasks {
    /// The token that every task watches.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that the host cannot live without: when it fails or panics, the host stops.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let this = self.clone();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Ended tasks are collected here, so that the set does not grow with those that come and go.
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let outcome = tokio::spawn(task).await;
            let reason = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(reason)) => reason,
                Err(panic) => format!("panicked: {panic}"),
            };
            tracing::error!(event_id = log_id::TASK_FAILED, task = name, reason, "a task failed; the host stops");
            this.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(format!("{name}: {reason}"));
            this.failure.cancel();
        });
    }

    /// Resolves when a task has failed.
    pub async fn failure(&self) -> String {
        self.failure.cancelled().await;
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Tells all tasks to stop and waits for them. Bounded by the caller.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        while running.join_next().await.is_some() {}
    }
}
