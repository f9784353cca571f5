//! Publishing as every face does it: who may, what must hold, and when it is answered.

use std::sync::Arc;

use wasmill_core::code::Problem;
use wasmill_core::log::publish::{Append, AppendError, SubmittedAppend, Transaction};
use wasmill_core::log_id;
use wasmill_core::metrics::Metrics;
use wasmill_core::store::{AppendCondition, Appended};
use wasmill_core::stream::Access;
use wasmill_core::tasks::chain;

use crate::app::App;
use crate::errors::report;
use crate::rights;

/// When a publisher is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When its events survive a power cut.
    #[default]
    Durable,
    /// When it has joined the group commit.
    Queued,
}

/// An append of one stream, as a face hands it in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publication {
    pub(crate) append: Append,
    pub(crate) conditions: Vec<AppendCondition>,
    pub(crate) durability: Durability,
}

#[derive(Debug)]
pub(crate) enum Answer<T> {
    Stored(T),
    /// On its way; what becomes of it is only counted.
    Queued,
}

/// An append that has its place in the queue.
#[derive(Debug)]
pub(crate) enum Submitted {
    Durable(SubmittedAppend),
    Queued,
}

impl Submitted {
    pub(crate) async fn answer(self) -> Result<Answer<Appended>, Problem> {
        match self {
            Submitted::Durable(submitted) => submitted.outcome().await.map(Answer::Stored).map_err(report),
            Submitted::Queued => Ok(Answer::Queued),
        }
    }
}

/// Returns when the append is checked and queued, see [`wasmill_core::log::publish::Publisher::submit`].
pub(crate) async fn submit(app: &App, publication: Publication) -> Result<Submitted, Problem> {
    let Publication { append, conditions, durability } = publication;
    rights::may(&app.host.stream_configs, [(append.stream.as_str(), Access::Publish)])?;
    let submitted = app.host.publisher.submit_if(append, conditions).await.map_err(report)?;
    if durability == Durability::Durable {
        return Ok(Submitted::Durable(submitted));
    }
    let metrics = Arc::clone(&app.host.metrics);
    tokio::spawn(async move { count_failure(&metrics, submitted.outcome().await) });
    Ok(Submitted::Queued)
}

pub(crate) async fn append(app: &App, publication: Publication) -> Result<Answer<Appended>, Problem> {
    submit(app, publication).await?.answer().await
}

pub(crate) async fn transact(
    app: &App,
    transaction: Transaction,
    durability: Durability,
) -> Result<Answer<Vec<Appended>>, Problem> {
    let appends = transaction.appends.iter().map(|append| (append.stream.as_str(), Access::Publish));
    let checks = transaction.checks.iter().map(|check| (check.stream.as_str(), Access::Read));
    rights::may(&app.host.stream_configs, appends.chain(checks))?;
    let submitted = app.host.publisher.submit_transaction(transaction).await.map_err(report)?;
    if durability == Durability::Durable {
        return submitted.outcome().await.map(Answer::Stored).map_err(report);
    }
    let metrics = Arc::clone(&app.host.metrics);
    tokio::spawn(async move { count_failure(&metrics, submitted.outcome().await) });
    Ok(Answer::Queued)
}

/// Nobody waits for the outcome any more.
fn count_failure<T>(metrics: &Metrics, outcome: Result<T, AppendError>) {
    if let Err(error) = outcome {
        metrics.queued_appends_failed.inc();
        let event_id = log_id::QUEUED_APPEND_FAILED;
        tracing::debug!(event_id, error = chain(&error), "an append that was answered when queued is not stored");
    }
}
