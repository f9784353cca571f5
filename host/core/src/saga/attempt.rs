//! One attempt at a step: the call, and what became of it.

use std::sync::Arc;

use uuid::Uuid;

use super::book::Book;
use super::call::{Direction, SagaData, StepCall, StepContext, StepOutcome};
use super::definition::SagaClock;
use super::engine::Engine;
use super::fact::{Awaited, Blob, Cause, CauseKind, Effects, EmittedNote, Trail, What};
use super::model::{Saga, after};
use crate::clock::Timestamp;
use crate::event::{Event, Origin};
use crate::guest::{Disposition, Failure, GuestError};
use crate::handler::outbox::{Outbox, id_of};
use crate::handler::output::{OutputError, output};
use crate::limits::saga as limits;
use crate::log::filter::Filter;
use crate::plugin::log::{Level, PluginLog};
use crate::store::{PageLimit, Unit};

/// What an attempt has come to, before it is stored.
pub(super) struct Outcome {
    pub(super) at: usize,
    pub(super) direction: Direction,
    pub(super) attempt: u32,
    pub(super) what: What,
    /// The events that it emits, to be committed with it.
    pub(super) unit: Unit,
}

/// Calls the present step of a saga of which an attempt was begun.
pub(super) async fn call(engine: &Engine, book: &Book, saga: &Saga, woken_by: Option<Event>) -> Outcome {
    let began = engine.now();
    let step = &book.definition.steps[saga.at];
    let deadline = after(began, step.attempt_timeout_ms);
    let mut outcome = Outcome {
        at: saga.at,
        direction: saga.direction(),
        attempt: saga.attempt,
        what: What::Interrupted,
        unit: Unit::default(),
    };
    let mut trail = Trail::default();
    let mut warm = match book.take().await {
        Ok(warm) => warm,
        Err(error) => {
            outcome.what = failed(book, saga, cause_of(&error), None, trail, began);
            return outcome;
        }
    };
    let idempotency_key = saga.idempotency_key(&book.definition);
    let http = book.gate.open(idempotency_key.clone(), deadline, Arc::clone(&engine.parts.clock));
    let http = Arc::new(http);
    let woken_by = match (woken_by, saga.woken_by) {
        (Some(event), _) => Some(event),
        (None, Some(position)) => event_at(engine, position).await,
        (None, None) => None,
    };
    let run = &saga.steps[saga.at];
    let call = StepCall {
        direction: saga.direction(),
        context: StepContext {
            saga_id: saga.id.to_string(),
            saga_type: saga.saga_type.clone(),
            correlation_id: saga.correlation_id.clone(),
            step: step.name.clone(),
            attempt: saga.attempt,
            idempotency_key,
            input: saga.input.clone(),
            output: run.output.clone().filter(|_| saga.direction() == Direction::Compensate),
            woken_by,
            deadline,
            attributes: attributes(saga, began),
        },
        data: SagaData::new(Arc::clone(&saga.data), Arc::new(saga.outputs(&book.definition))),
        outbox: Outbox::new(Arc::clone(&book.appends_to)),
        http: Arc::clone(&http),
    };
    let first_line = warm.log.next_number();
    warm.log.begin_call(began);
    let answer = tokio::select! {
        answer = warm.guest.step(call) => Some(answer),
        // The instance is lost with the call: nobody knows what it was in the middle of.
        () = engine.parts.clock.wait_until(deadline) => None,
    };
    let ended = engine.now();
    trail.took_us = ended.0.abs_diff(began.0);
    trail.calls = http.records();
    trail.log = lines(&warm.log, first_line);
    outcome.what = match answer {
        None => {
            let message = format!("step `{}` took longer than its {} ms", step.name, step.attempt_timeout_ms);
            let cause = Cause { kind: CauseKind::Timeout, code: "attempt.timeout".into(), message };
            failed(book, saga, cause, None, trail, ended)
        }
        Some((_, Err(error))) => {
            if matches!(error, GuestError::Failed(_)) {
                book.give_back(warm);
            }
            let retry_after_ms = match &error {
                GuestError::Failed(Failure { retry_after_ms, .. }) => *retry_after_ms,
                _ => None,
            };
            failed(book, saga, cause_of(&error), retry_after_ms, trail, ended)
        }
        Some((call, Ok(answer))) => {
            book.give_back(warm);
            match effects(engine, saga, call, trail.clone()).await {
                Ok((effects, unit)) => {
                    outcome.unit = unit;
                    match answered(saga, answer, effects) {
                        Ok(what) => what,
                        Err(message) => {
                            outcome.unit = Unit::default();
                            failed(book, saga, contract(message), None, trail, ended)
                        }
                    }
                }
                Err(OutputError::Guest(error)) => failed(book, saga, contract(error.to_string()), None, trail, ended),
                // It is tried again: its emitted events have the same ids then.
                Err(OutputError::Host(message)) => {
                    let cause = Cause { kind: CauseKind::Retry, code: "host".into(), message };
                    failed(book, saga, cause, None, trail, ended)
                }
            }
        }
    };
    outcome
}

fn answered(saga: &Saga, answer: StepOutcome, effects: Effects) -> Result<What, String> {
    match answer {
        StepOutcome::Completed(output) if output.len() > limits::OUTPUT_BYTES_MAX => {
            Err(format!("the output of a step has at most {} bytes, not {}", limits::OUTPUT_BYTES_MAX, output.len()))
        }
        StepOutcome::Completed(output) => Ok(What::Completed { output: Blob(output), effects }),
        StepOutcome::Suspended(wait) => {
            let event = (wait.event_type.is_some() || wait.match_key.is_some()).then(|| Awaited {
                event_type: wait.event_type,
                key: wait.match_key.unwrap_or_else(|| saga.correlation_id.clone()),
            });
            if event.is_none() && wait.until.is_none() {
                return Err("a suspended step waits for a time, for an event, or for both".into());
            }
            if event.as_ref().is_some_and(|event| event.key.len() > limits::CORRELATION_BYTES_MAX.max(256)) {
                return Err("the key of an awaited event has at most 256 bytes".into());
            }
            Ok(What::Suspended { until_us: wait.until.map(|time| time.0), event, effects })
        }
    }
}

/// What a call that went well has brought about, and the unit of what it emits.
async fn effects(
    engine: &Engine,
    saga: &Saga,
    mut call: StepCall,
    trail: Trail,
) -> Result<(Effects, Unit), OutputError> {
    let place = format!("{}\0{}\0{}\0{}", saga.id, call.context.step, call.direction.as_str(), saga.wakes);
    let caused_by = |_cause: u32, number: u32| {
        let origin = Origin {
            workflow_id: Some(saga.id.to_string()),
            correlation_id: Some(saga.correlation_id.clone()),
            ..Origin::default()
        };
        (id_of(&format!("{place}\0{number}"), saga.started_at), origin)
    };
    let mut appends = call.outbox.take_named(caused_by);
    if saga.clock == SagaClock::Event {
        // It lives in the time of events, and so does what it tells.
        appends.iter_mut().flat_map(|append| &mut append.events).for_each(|event| event.time = Some(saga.time));
    }
    let note = |stream: &str, event: &crate::event::NewEvent| EmittedNote {
        id: event.id.to_string(),
        stream: stream.to_owned(),
        event_type: event.event_type.clone(),
    };
    let emitted = appends.iter().flat_map(|append| append.events.iter().map(|event| note(&append.stream, event)));
    let emitted = emitted.collect();
    let unit = output(&engine.parts.publisher, &engine.parts.configs, appends).await?;
    let changes = call.data.into_changes().into_iter();
    let data = changes.map(|(key, value)| (key, value.map(Blob))).collect();
    Ok((Effects { data, emitted, trail }, unit))
}

/// A failed attempt, with the time of the next one should there be one.
pub(super) fn failed(
    book: &Book,
    saga: &Saga,
    cause: Cause,
    retry_after_ms: Option<u32>,
    trail: Trail,
    now: Timestamp,
) -> What {
    let step = &book.definition.steps[saga.at];
    let retry = if saga.direction() == Direction::Execute { step.retry } else { step.compensate_retry };
    let pause_us = match retry_after_ms {
        Some(ms) => i64::from(ms) * 1_000,
        None => retry.pause_us(saga.failed + 1, chance()),
    };
    What::Failed { cause, retry_at_us: now.0.saturating_add(pause_us), trail }
}

fn cause_of(error: &GuestError) -> Cause {
    let (kind, code) = match error {
        GuestError::Failed(failure) => {
            let kind = match failure.disposition {
                Disposition::Retry => CauseKind::Retry,
                Disposition::Reject => CauseKind::Reject,
                Disposition::Halt => CauseKind::Halt,
            };
            return Cause { kind, code: failure.code.clone(), message: failure.message.clone() };
        }
        GuestError::DeadlineExceeded { .. } => (CauseKind::Timeout, "attempt.busy"),
        GuestError::Trapped { .. } | GuestError::Exhausted { .. } => (CauseKind::Crash, "plugin.crashed"),
        GuestError::OutOfMemory { .. } => (CauseKind::Crash, "plugin.memory"),
        GuestError::State(_) | GuestError::Outbox(_) | GuestError::Data(_) | GuestError::Contract { .. } => {
            (CauseKind::Contract, "plugin.contract")
        }
    };
    Cause { kind, code: code.into(), message: error.to_string() }
}

fn contract(message: String) -> Cause {
    Cause { kind: CauseKind::Contract, code: "plugin.contract".into(), message }
}

/// Names are part of the contract.
fn attributes(saga: &Saga, began: Timestamp) -> Vec<(String, String)> {
    let now = if saga.clock == SagaClock::Event { saga.time } else { began };
    let mut attributes =
        vec![("revision".to_owned(), saga.revision.to_string()), ("now-us".to_owned(), now.0.to_string())];
    if let Some(cause) = &saga.cause {
        attributes.push(("cause".into(), cause.code.clone()));
    }
    attributes
}

/// What a call has logged, cut where it is too much for a timeline.
fn lines(log: &PluginLog, from: u64) -> Vec<String> {
    let (lines, _) = log.since(from, Level::Debug, limits::LINES_OF_ATTEMPT_MAX);
    let text = |line: crate::plugin::log::LogLine| {
        let fields: String = line.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let mut text = format!("{}: {}{fields}", line.level.as_str(), line.message);
        text.truncate(text.floor_char_boundary(limits::NOTE_BYTES_MAX));
        text
    };
    lines.into_iter().map(text).collect()
}

async fn event_at(engine: &Engine, position: crate::event::Position) -> Option<Event> {
    let one = PageLimit { events: 1, bytes: 1 };
    let direction = crate::store::Direction::Forward;
    let page = engine.parts.reader.log_page(position, direction, &Filter::default(), one).await.ok()?;
    page.events.into_iter().find(|event| event.position() == position)
}

/// For the jitter of pauses.
fn chance() -> u32 {
    Uuid::new_v4().as_u128() as u32
}

/// An id for a saga: later ones sort behind earlier ones.
pub(super) fn new_id(now: Timestamp) -> Uuid {
    let ms = u64::try_from(now.0 / 1_000).unwrap_or_default();
    let random = *Uuid::new_v4().as_bytes().last_chunk().expect("a UUID has 16 bytes");
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}
