//! Beginning a saga: once for each type and correlation id.

use std::sync::Arc;

use uuid::Uuid;

use super::SagaError;
use super::call::Direction;
use super::definition::Definition;
use super::drive::Driven;
use super::engine::{BookError, Engine, Poke};
use super::fact::{Blob, Fact, Origin, What};
use super::model::Saga;
use super::rows::{self, Mark};
use crate::clock::Timestamp;
use crate::event::Position;
use crate::limits::saga as limits;
use crate::log::commit::CommitError;
use crate::log_id;
use crate::own::document;
use crate::record::GenerationId;
use crate::store::{Change, Rejection};

/// What a saga begins with.
pub(super) struct Beginning {
    /// Its own, if there is none of this type and correlation id.
    pub(super) id: Uuid,
    pub(super) saga_type: String,
    pub(super) revision: u32,
    /// Its own id without.
    pub(super) correlation_id: Option<String>,
    pub(super) input: Blob,
    pub(super) time: Timestamp,
    pub(super) from: Position,
    pub(super) origin: Origin,
}

/// A saga that there is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub id: Uuid,
    pub correlation_id: String,
    /// There was none of this type and correlation id before.
    pub new: bool,
}

pub(super) async fn begin(engine: &Arc<Engine>, beginning: Beginning) -> Result<Started, SagaError> {
    let definition = engine.definition(&beginning.saga_type, beginning.revision).await?;
    let (id, now) = (beginning.id, engine.now());
    let correlation_id = beginning.correlation_id.unwrap_or_else(|| id.to_string());
    let saga_type = beginning.saga_type;
    let started = Fact {
        at_us: now.0,
        what: What::Started {
            saga_type: saga_type.clone(),
            revision: beginning.revision,
            correlation_id: correlation_id.clone(),
            input: beginning.input,
            time_us: beginning.time.0,
            from: beginning.from.0,
            by: beginning.origin,
        },
    };
    let mut saga = Saga::begin(id, &started, &definition).expect("its first fact is that it was started");
    let mut facts = vec![started];
    let room = begin_first_step(engine, &mut saga, &mut facts, &definition, now).await?;
    let (mut unit, mark) = rows::add(&Mark { head: None, rows: 0 }, &saga, &definition, &facts);
    match engine.epoch() {
        Some(epoch) if room.is_some() => unit.guards.push(epoch),
        Some(_) => {}
        None => {
            let documents = vec![document(rows::TODO, id.to_string(), Some("1".into()))];
            unit.changes.push(Change::PutDocuments { generation: GenerationId::HOST, documents });
        }
    }
    match engine.parts.committer.commit(unit).await {
        Ok(_) => {}
        Err(error) if Engine::is_fenced(&error) => {
            engine.fenced();
            return Err(SagaError::Commit(CommitError::Overloaded));
        }
        Err(CommitError::Rejected(Rejection::Overtaken { .. })) => {
            let there = rows::find(engine.store(), &saga_type, &correlation_id).await?;
            let id = there.ok_or(SagaError::Commit(CommitError::Overloaded))?;
            return Ok(Started { id, correlation_id, new: false });
        }
        Err(error) => return Err(error.into()),
    }
    let name = saga_type.as_str();
    tracing::debug!(event_id = log_id::SAGA_STARTED, saga = %id, name, correlation_id, "saga started");
    engine.parts.metrics.sagas_started.with_label_values(&[name]).inc();
    match room {
        Some(room) => engine.drive_now(Driven::begun(saga, mark, definition), room),
        None => engine.poke(id, Poke::default()),
    }
    Ok(Started { id, correlation_id, new: true })
}

/// Begins the first attempt in the very commit that begins the saga, if this host can make it now.
async fn begin_first_step(
    engine: &Arc<Engine>,
    saga: &mut Saga,
    facts: &mut Vec<Fact>,
    definition: &Definition,
    now: Timestamp,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, SagaError> {
    if engine.epoch().is_none() || engine.active_count() > limits::DRIVEN_MAX {
        return Ok(None);
    }
    let Ok(room) = Arc::clone(&engine.room).try_acquire_owned() else { return Ok(None) };
    match engine.book(&saga.saga_type, saga.revision).await {
        Ok(book) if book.runs(saga.id) => {}
        Ok(_) | Err(BookError::Missing { .. } | BookError::Broken { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let what = What::AttemptStarted { step: 0, direction: Direction::Execute, attempt: 1 };
    let fact = Fact { at_us: now.0, what };
    saga.apply(&fact, definition).expect("a saga that was just started is ready");
    facts.push(fact);
    Ok(Some(room))
}
