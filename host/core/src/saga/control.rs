//! Sagas as their users see them: started, looked at, and ordered about, on whichever host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

use super::attempt::new_id;
use super::definition::Definition;
use super::engine::{Announced, Engine, Parts, Poke, Replayed, replay};
use super::fact::{Blob, Fact, Order, Origin, What};
use super::model::{Phase, Saga};
use super::start::{self, Beginning, Started};
use super::view::{Listed, OpenSagas, Query, SagaPage, SagaStatus, Timeline};
use super::{Activity, SagaError, engine, rows, sweep, view};
use crate::event::{NewEvent, Origin as EventOrigin};
use crate::limits::{publish, saga as limits};
use crate::log::commit::CommitError;
use crate::log::publish::Append;
use crate::log_id;
use crate::record::GenerationId;
use crate::store::{Appended, Change, Rejection, StoreError};

/// The door to sagas. Cheap to clone.
#[derive(Clone)]
pub struct Sagas(Arc<Engine>);

/// What starts a saga by a call.
#[derive(Clone, Debug, Default)]
pub struct StartSaga {
    pub saga_type: String,
    /// A second start with the same one answers the first. The saga's own id without.
    pub correlation_id: Option<String>,
    pub input: Bytes,
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Pause,
    /// By another revision of its plugin, if one is named.
    Resume {
        revision: Option<u32>,
    },
    /// Compensates it.
    Cancel,
    /// Ends it without compensation.
    Kill,
    /// Tries the present step again, or goes back to an earlier one.
    Retry {
        step: Option<String>,
        revision: Option<u32>,
    },
    /// Leaves the present step, or its compensation, out.
    Skip,
    /// Takes the present step, or its compensation, for done by hand.
    MarkDone {
        output: Bytes,
    },
}

/// An event for a saga.
#[derive(Clone, Debug, Default)]
pub struct SagaEvent {
    /// Where it is appended; [`EVENTS`] without.
    pub stream: Option<String>,
    pub event_type: String,
    /// The key that the saga waits for without, or its correlation id when it does not wait.
    pub key: Option<String>,
    /// `{}` when it is empty.
    pub data: Bytes,
}

/// Sagas that have not ended, at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// They are driven, or queue for it.
    pub active: usize,
    /// A time or an event will wake them.
    pub waiting: usize,
    /// They go no further without a person.
    pub paused: usize,
}

/// Where events go that are sent to sagas.
pub const EVENTS: &str = "saga-events";

impl Sagas {
    /// Puts the engine together; it runs when the host has the lead.
    pub(crate) fn new(parts: Parts, lead: watch::Receiver<bool>) -> Self {
        let (engine, queued) = Engine::new(parts);
        let (tasks, stop) = (engine.parts.tasks.clone(), engine.parts.tasks.stop_token());
        tasks.spawn("sagas", engine::run(Arc::clone(&engine), queued, lead, stop));
        Self(engine)
    }

    pub async fn start(&self, start: StartSaga) -> Result<Started, SagaError> {
        self.start_with(new_id(self.0.now()), start).await
    }

    /// The same for one who waits: the saga's end is heard of without reading it.
    pub async fn start_watched(&self, start: StartSaga) -> Result<(Started, Watch), SagaError> {
        let id = new_id(self.0.now());
        let announced = self.0.announced(id);
        let started = self.start_with(id, start).await?;
        let watch = match started.new {
            true => Watch { sagas: self.clone(), id, announced, fresh: true },
            false => self.watch(started.id),
        };
        Ok((started, watch))
    }

    async fn start_with(&self, id: Uuid, start: StartSaga) -> Result<Started, SagaError> {
        if start.input.len() > limits::INPUT_BYTES_MAX {
            return Err(SagaError::InputTooLarge { bytes: start.input.len() });
        }
        if let Some(id) = &start.correlation_id {
            let fits = !id.is_empty() && id.len() <= limits::CORRELATION_BYTES_MAX && !id.chars().any(char::is_control);
            if !fits {
                return Err(SagaError::CorrelationId { bytes: id.len() });
            }
        }
        let revision = self.0.parts.plugins.saga_revision(&start.saga_type, None).await?;
        let revision = revision.ok_or_else(|| SagaError::NoType(start.saga_type.clone()))?;
        let beginning = Beginning {
            id,
            saga_type: start.saga_type,
            revision: revision.number,
            correlation_id: start.correlation_id,
            input: Blob(start.input),
            time: self.0.now(),
            from: self.0.parts.reader.tail().next(),
            origin: Origin::Call,
        };
        start::begin(&self.0, beginning).await
    }

    pub async fn status(&self, id: Uuid) -> Result<SagaStatus, SagaError> {
        let known = replay(&self.0, id).await?.ok_or(SagaError::NotFound(id))?;
        Ok(SagaStatus::of(&known.saga, &known.definition))
    }

    pub async fn find(&self, saga_type: &str, correlation_id: &str) -> Result<SagaStatus, SagaError> {
        let found = rows::find(self.0.store(), saga_type, correlation_id).await?;
        let missing = || SagaError::NoneOf { saga_type: saga_type.into(), correlation_id: correlation_id.into() };
        self.status(found.ok_or_else(missing)?).await
    }

    /// The status as soon as it has ended or needs somebody, or as it is after `wait`.
    pub async fn wait(&self, id: Uuid, wait: Duration) -> Result<SagaStatus, SagaError> {
        self.watch(id).wait(wait).await
    }

    fn watch(&self, id: Uuid) -> Watch {
        Watch { sagas: self.clone(), id, announced: self.0.announced(id), fresh: false }
    }

    pub async fn list(&self, query: &Query) -> Result<SagaPage, SagaError> {
        view::list(self.0.store(), query, self.0.now()).await
    }

    /// Rows of a saga from number `from` on.
    pub async fn timeline(&self, id: Uuid, from: u32, limit: usize) -> Result<Timeline, SagaError> {
        let (_, head) = rows::head(self.0.store(), id).await?.ok_or(SagaError::NotFound(id))?;
        let limit = u32::try_from(limit.clamp(1, limits::PAGE)).unwrap_or(u32::MAX);
        let until = from.saturating_add(limit).min(head.rows);
        let rows = rows::rows(self.0.store(), id, 0, until as usize).await?;
        let definitions = engine::definitions(&self.0, &head.saga_type, rows.iter().flat_map(|row| &row.1)).await?;
        let damaged = || StoreError::Damaged { what: format!("the rows of saga {id}") };
        let mut timeline = view::timeline(id, rows, from, &definitions).ok_or_else(damaged)?;
        timeline.next = (until < head.rows).then_some(until);
        Ok(timeline)
    }

    /// How many sagas of a plugin have not ended, looking at up to [`limits::LOOKED_AT_MAX`] of all plugins.
    pub async fn open_by_revision(&self, saga_type: &str) -> Result<OpenSagas, SagaError> {
        Ok(view::open_by_revision(self.0.store(), saga_type, limits::LOOKED_AT_MAX).await?)
    }

    /// Whether one of a plugin has not ended, looking at as many as it takes.
    pub async fn has_open(&self, saga_type: &str) -> Result<bool, SagaError> {
        Ok(view::has_open(self.0.store(), saga_type).await?)
    }

    /// Does what a person asks for, or says why it cannot be done.
    pub async fn command(&self, id: Uuid, command: &Command, order: Order) -> Result<SagaStatus, SagaError> {
        if order.note.len() > limits::NOTE_BYTES_MAX || order.by.len() > limits::NOTE_BYTES_MAX {
            return Err(SagaError::NoteTooLong);
        }
        for _ in 0..limits::TRIES_MAX {
            let known = replay(&self.0, id).await?.ok_or(SagaError::NotFound(id))?;
            let (what, definition) = self.fact_of(command, &order, &known).await?;
            let mut saga = known.saga.clone();
            let fact = Fact { at_us: self.0.now().0, what };
            saga.apply(&fact, &definition).map_err(|why| SagaError::State { id, why, state: saga.state })?;
            let (mut unit, _) = rows::add(&known.mark, &saga, &definition, &[fact]);
            if self.0.epoch().is_none() && !saga.has_ended() {
                let documents = vec![rows::todo(id)];
                unit.changes.push(Change::PutDocuments { generation: GenerationId::HOST, documents });
            }
            match self.0.parts.committer.commit(unit).await {
                Ok(_) => {}
                Err(CommitError::Rejected(Rejection::Overtaken { .. })) => continue,
                Err(error) => return Err(error.into()),
            }
            tracing::info!(event_id = log_id::SAGA_ORDERED, saga = %id, ?command, by = order.by, "a saga was ordered");
            super::drive::count(&self.0, &[], &saga);
            self.0.poke(id, Poke::default());
            self.0.announce(&saga, &definition);
            return Ok(SagaStatus::of(&saga, &definition));
        }
        Err(SagaError::Commit(CommitError::Overloaded))
    }

    async fn fact_of(
        &self,
        command: &Command,
        order: &Order,
        known: &Replayed,
    ) -> Result<(What, Arc<Definition>), SagaError> {
        let order = order.clone();
        let (saga, mut definition) = (&known.saga, Arc::clone(&known.definition));
        let what = match command {
            Command::Pause => What::Paused { order },
            Command::Cancel => What::Cancelled { order },
            Command::Kill => What::Killed { order },
            Command::Skip => What::Skipped { order },
            Command::MarkDone { output } if output.len() > limits::OUTPUT_BYTES_MAX => {
                return Err(SagaError::InputTooLarge { bytes: output.len() });
            }
            Command::MarkDone { output } => What::MarkedDone { order, output: Blob(output.clone()) },
            Command::Resume { revision } => {
                definition = self.other_revision(saga, definition, *revision).await?;
                What::Resumed { order, revision: *revision }
            }
            Command::Retry { step, revision } => {
                definition = self.other_revision(saga, definition, *revision).await?;
                let index = |name: &String| {
                    let missing = || SagaError::NoStep { step: name.clone(), steps: names(&definition) };
                    definition.step_named(name).and_then(|at| u32::try_from(at).ok()).ok_or_else(missing)
                };
                What::Retried { order, step: step.as_ref().map(index).transpose()?, revision: *revision }
            }
        };
        Ok((what, definition))
    }

    /// The definition of another revision, which has to begin with the steps that the saga has come to.
    async fn other_revision(
        &self,
        saga: &Saga,
        now: Arc<Definition>,
        revision: Option<u32>,
    ) -> Result<Arc<Definition>, SagaError> {
        let Some(revision) = revision else { return Ok(now) };
        let other = self.0.definition(&saga.saga_type, revision).await?;
        let behind = now.steps.iter().take(saga.at + 1).map(|step| &step.name);
        let same =
            other.steps.len() > saga.at && other.steps.iter().map(|step| &step.name).zip(behind).all(|(a, b)| a == b);
        if same { Ok(other) } else { Err(SagaError::OtherSteps { revision, steps: names(&other) }) }
    }

    /// Appends an event that the saga can be woken by.
    pub async fn send(&self, id: Uuid, event: SagaEvent) -> Result<Appended, SagaError> {
        let known = replay(&self.0, id).await?.ok_or(SagaError::NotFound(id))?;
        let saga = &known.saga;
        if saga.has_ended() {
            return Err(SagaError::State { id, why: super::Refused::Ended, state: saga.state });
        }
        if event.data.len() > publish::EVENT_DATA_BYTES_MAX {
            return Err(SagaError::InputTooLarge { bytes: event.data.len() });
        }
        let awaited = match &saga.phase {
            Phase::Waiting { event: Some(awaited), .. } => awaited.key.clone(),
            _ => saga.correlation_id.clone(),
        };
        let new = NewEvent {
            id: Uuid::new_v4(),
            event_type: event.event_type,
            key: Some(event.key.unwrap_or(awaited)),
            data: if event.data.is_empty() { Bytes::from_static(b"{}") } else { event.data },
            origin: EventOrigin {
                workflow_id: Some(id.to_string()),
                correlation_id: Some(saga.correlation_id.clone()),
                ..EventOrigin::default()
            },
            ..NewEvent::default()
        };
        let stream = event.stream.unwrap_or_else(|| EVENTS.into());
        let append = Append { stream, events: vec![new], ..Append::default() };
        Ok(self.0.parts.publisher.append(append).await?)
    }

    /// Forgets a saga that has ended, and its timeline.
    pub async fn forget(&self, id: Uuid) -> Result<(), SagaError> {
        let (stored, head) = rows::head(self.0.store(), id).await?.ok_or(SagaError::NotFound(id))?;
        if head.activity != Activity::Ended {
            return Err(SagaError::State { id, why: super::Refused::NotEnded, state: head.state });
        }
        if self.0.epoch().is_some() {
            // An event that has started it is not looked at again.
            self.0.store_place(self.0.registry.position()).await?;
        }
        sweep::forget(&self.0, id, &head, stored).await
    }

    /// Forgets some of those that have ended and whose time is over, as the host does by itself now and then.
    pub async fn sweep(&self) -> Result<usize, SagaError> {
        sweep::sweep(&self.0).await
    }

    /// Drops what is remembered of a plugin that was removed.
    pub fn forget_type(&self, saga_type: &str) {
        self.0.forget(saga_type);
    }

    /// Brings the gauges up to date that are read rather than counted.
    pub fn refresh_metrics(&self) {
        let metrics = &self.0.parts.metrics;
        metrics.sagas_active.set(i64::try_from(self.0.active_count()).unwrap_or(i64::MAX));
        metrics.sagas_waiting.set(i64::try_from(self.0.registry.len()).unwrap_or(i64::MAX));
        metrics.sagas_paused.set(i64::try_from(self.0.registry.need_person()).unwrap_or(i64::MAX));
    }

    /// How the sagas of this store are doing; `None` on a host that does not drive them.
    pub fn load(&self) -> Option<Load> {
        self.0.epoch()?;
        let registry = &self.0.registry;
        Some(Load { active: self.0.active_count(), waiting: registry.len(), paused: registry.need_person() })
    }

    /// Sagas of a type, newest last; see [`Sagas::list`].
    pub async fn of_type(&self, saga_type: &str, limit: usize) -> Result<Vec<Listed>, SagaError> {
        let query = Query { saga_type: Some(saga_type.into()), limit, ..Query::default() };
        Ok(self.list(&query).await?.sagas)
    }
}

/// Waits for one saga.
pub struct Watch {
    sagas: Sagas,
    id: Uuid,
    announced: Announced,
    /// It was there before the saga, so that nothing was missed.
    fresh: bool,
}

impl Watch {
    /// As [`Sagas::wait`].
    pub async fn wait(mut self, wait: Duration) -> Result<SagaStatus, SagaError> {
        let deadline = tokio::time::Instant::now() + wait;
        let engine = &self.sagas.0;
        loop {
            if !std::mem::take(&mut self.fresh) {
                let status = self.sagas.status(self.id).await?;
                if status.rests_for_good() || tokio::time::Instant::now() >= deadline {
                    return Ok(status);
                }
            }
            let elsewhere = async {
                // Another host drives it, and does not tell.
                match engine.epoch() {
                    Some(_) => std::future::pending().await,
                    None => tokio::time::sleep(limits::LOOK_EVERY).await,
                }
            };
            tokio::select! {
                status = self.announced.next() => match status {
                    // Only an end is final: whatever else is told may have changed meanwhile.
                    Some(status) if status.activity == Activity::Ended => return Ok(Arc::unwrap_or_clone(status)),
                    _ => {}
                },
                () = elsewhere => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
}

fn names(definition: &Definition) -> String {
    definition.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ")
}
