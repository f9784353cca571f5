//! Publishing: checks what a publisher hands in, and takes it to the group commit.

mod check;
mod error;
mod origin;
mod prepare;
mod schema;

use std::sync::Arc;

use self::prepare::Form;
use super::commit::{CommitError, Committer, Submitted};
use crate::clock::Clock;
use crate::event::NewEvent;
use crate::name::StreamName;
use crate::schema::Schemas;
use crate::store::{AppendCondition, Appended, Expected, Rejection, Store, Unit};
use crate::stream::configs::StreamConfigs;

pub use error::AppendError;

/// Events for one stream, appended together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Append {
    pub stream: String,
    pub expected: Expected,
    pub events: Vec<NewEvent>,
}

/// Appends of several streams, all or none of which happen.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// 1 to 100, each of another stream. Their events share the bounds of a single append.
    pub appends: Vec<Append>,
    /// What must hold of streams that are not appended to; at most 100.
    pub checks: Vec<Check>,
    /// What must hold of the whole log; at most 16.
    pub conditions: Vec<AppendCondition>,
}

/// What a publisher believes of a stream that it does not append to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    pub stream: String,
    pub expected: Expected,
}

/// The door for publishers. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
    configs: StreamConfigs,
    schemas: Schemas,
}

/// An append on its way to the store, where dropping this does not stop it.
#[derive(Debug)]
pub struct SubmittedAppend(InFlight);

impl SubmittedAppend {
    /// Returns when the events are durable, or turned away.
    pub async fn outcome(self) -> Result<Appended, AppendError> {
        let appends = self.0.outcome().await?;
        Ok(appends.into_iter().next().expect("a unit answers each of its appends"))
    }
}

/// A transaction on its way to the store, where dropping this does not stop it.
#[derive(Debug)]
pub struct SubmittedTransaction(InFlight);

impl SubmittedTransaction {
    /// Returns when all of it is durable, or turned away; one answer for each append, in order.
    pub async fn outcome(self) -> Result<Vec<Appended>, AppendError> {
        self.0.outcome().await.map_err(name_the_append)
    }
}

#[derive(Debug)]
struct InFlight {
    submitted: Submitted,
    /// Streams that have to exist because no append may make them.
    guarded: Vec<StreamName>,
}

impl InFlight {
    async fn outcome(self) -> Result<Vec<Appended>, AppendError> {
        match self.submitted.outcome().await {
            Ok(committed) => Ok(committed.appends),
            Err(error) => Err(AppendError::of_commit(error, &self.guarded)),
        }
    }
}

impl Publisher {
    pub fn new(
        (store, committer, clock): (Arc<dyn Store>, Committer, Arc<dyn Clock>),
        configs: StreamConfigs,
        schemas: Schemas,
    ) -> Self {
        Self { store, committer, clock, configs, schemas }
    }

    /// Returns when the events are durable. Nothing is stored on an error, but for the unknown
    /// outcome that [`CommitError`] names.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.submit(append).await?.outcome().await
    }

    /// Returns when the append is checked and queued; those submitted one after the other are stored
    /// in that order.
    pub async fn submit(&self, append: Append) -> Result<SubmittedAppend, AppendError> {
        self.submit_if(append, Vec::new()).await
    }

    /// The same for an append that is stored only if every condition holds.
    pub async fn submit_if(
        &self,
        append: Append,
        conditions: Vec<AppendCondition>,
    ) -> Result<SubmittedAppend, AppendError> {
        let one = Transaction { appends: vec![append], conditions, ..Transaction::default() };
        Ok(SubmittedAppend(self.queue(one, Form::OneStream).await?))
    }

    /// The same as [`Publisher::append`], for several streams.
    pub async fn transact(&self, transaction: Transaction) -> Result<Vec<Appended>, AppendError> {
        self.submit_transaction(transaction).await?.outcome().await
    }

    /// The same as [`Publisher::submit`], for several streams.
    pub async fn submit_transaction(&self, transaction: Transaction) -> Result<SubmittedTransaction, AppendError> {
        Ok(SubmittedTransaction(self.queue(transaction, Form::Transaction).await?))
    }

    /// The unit of an append, for those who commit it with something else.
    pub(crate) async fn unit(&self, append: Append) -> Result<Unit, AppendError> {
        let one = Transaction { appends: vec![append], ..Transaction::default() };
        Ok(self.prepare(one, Form::OneStream).await?.0)
    }

    /// The same for several streams.
    pub(crate) async fn unit_of(&self, appends: Vec<Append>) -> Result<Unit, AppendError> {
        let transaction = Transaction { appends, ..Transaction::default() };
        Ok(self.prepare(transaction, Form::Transaction).await?.0)
    }

    async fn queue(&self, transaction: Transaction, form: Form) -> Result<InFlight, AppendError> {
        let (unit, guarded) = self.prepare(transaction, form).await?;
        Ok(InFlight { submitted: self.committer.submit(unit).await?, guarded })
    }
}

/// The only append of a transaction is named like any other: `appends[0]`.
fn name_the_append(mut error: AppendError) -> AppendError {
    if let AppendError::Commit(CommitError::Rejected(Rejection::IdConflicts(conflicts))) = &mut error {
        for conflict in conflicts {
            conflict.append.get_or_insert(0);
        }
    }
    error
}
