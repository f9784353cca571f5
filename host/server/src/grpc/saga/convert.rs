//! Sagas as messages. JSON is made from these too, so that core's types are looked at in one place.

use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::saga as limits;
use wasmill_core::saga::Activity;
use wasmill_core::saga::call::Direction;
use wasmill_core::saga::definition::SagaClock;
use wasmill_core::saga::fact::{Awaited, Blob, Cause, Effects, EmittedNote, Order, Origin, Overdue};
use wasmill_core::saga::fact::{Trail, What, WokenBy};
use wasmill_core::saga::http::HttpRecord;
use wasmill_core::saga::model::State;
use wasmill_core::saga::view::{Listed, Query, SagaPage, SagaStatus, StepState, StepStatus, Timeline, TimelineFact};

use crate::grpc::convert::list_limit;
use crate::{proto, sagas};

pub(crate) fn saga(status: SagaStatus) -> proto::Saga {
    let mut saga = proto::Saga {
        summary: Some(proto::SagaSummary {
            id: status.id.to_string(),
            r#type: status.saga_type,
            revision: status.revision,
            correlation_id: status.correlation_id,
            state: state(status.state).into(),
            activity: activity(status.activity).into(),
            current_step: status.current_step,
            attempt: status.attempt,
            progress: number(status.progress),
            total_steps: number(status.total_steps),
            started_at_us: status.started_at.0,
            updated_at_us: status.updated_at.0,
            due_at_us: status.due.map(|time| time.0),
            awaits: status.awaits.map(awaited),
            paused: status.paused,
            cause: status.cause.map(cause),
        }),
        failed_attempts: status.failed_attempts,
        steps: status.steps.into_iter().map(step).collect(),
        input: status.input,
        data: status.data,
        started_by: started_by(status.origin),
        turns_round: status.turns_round.map(cause),
        only_forward: status.only_forward,
        killed: status.killed,
        ..proto::Saga::default()
    };
    saga.set_direction(direction(status.direction));
    saga.set_clock(match status.clock {
        SagaClock::Host => proto::SagaClock::Host,
        SagaClock::Event => proto::SagaClock::Event,
    });
    saga
}

fn listed(Listed { id, head }: Listed) -> proto::SagaSummary {
    proto::SagaSummary {
        id: id.to_string(),
        r#type: head.saga_type,
        revision: head.revision,
        correlation_id: head.correlation_id,
        state: state(head.state).into(),
        activity: activity(head.activity).into(),
        current_step: head.step,
        attempt: head.attempt,
        progress: head.progress,
        total_steps: head.total_steps,
        started_at_us: head.started_at_us,
        updated_at_us: head.updated_at_us,
        due_at_us: head.due_us.or(head.event_due_us),
        awaits: head.awaits.map(awaited),
        paused: head.paused,
        cause: head.cause.map(cause),
    }
}

pub(crate) fn page(page: SagaPage) -> proto::ListSagasResponse {
    proto::ListSagasResponse {
        sagas: page.sagas.into_iter().map(listed).collect(),
        next_after: page.next.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(super) fn query(request: proto::ListSagasRequest) -> Result<Query, Problem> {
    let (state, activity) = (request.state(), request.activity());
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Query {
        limit: list_limit(request.limit, limits::PAGE)?,
        saga_type: text(request.r#type),
        state: State::ALL.into_iter().find(|one| self::state(*one) == state),
        activity: Activity::ALL.into_iter().find(|one| self::activity(*one) == activity),
        correlation_id: text(request.correlation_id),
        step: text(request.step),
        older_than_ms: request.older_than_ms,
        after: text(request.after).map(|id| after(&id)).transpose()?,
    })
}

/// The last saga of the page before.
pub(crate) fn after(id: &str) -> Result<Uuid, Problem> {
    sagas::id(id).map_err(|wrong| Problem::new(Code::InvalidArgument, &wrong.message).with("after", wrong.message))
}

fn state(state: State) -> proto::SagaState {
    match state {
        State::NotStarted => proto::SagaState::NotStarted,
        State::Running => proto::SagaState::Running,
        State::Completed => proto::SagaState::Completed,
        State::Compensating => proto::SagaState::Compensating,
        State::Compensated => proto::SagaState::Compensated,
        State::Failed => proto::SagaState::Failed,
    }
}

fn activity(activity: Activity) -> proto::SagaActivity {
    match activity {
        Activity::Ready => proto::SagaActivity::Ready,
        Activity::Calling => proto::SagaActivity::Calling,
        Activity::Retrying => proto::SagaActivity::Retrying,
        Activity::Waiting => proto::SagaActivity::Waiting,
        Activity::Paused => proto::SagaActivity::Paused,
        Activity::Ended => proto::SagaActivity::Ended,
    }
}

fn direction(direction: Direction) -> proto::SagaDirection {
    match direction {
        Direction::Execute => proto::SagaDirection::Execute,
        Direction::Compensate => proto::SagaDirection::Compensate,
    }
}

fn step(StepStatus { name, state, output }: StepStatus) -> proto::SagaStep {
    let state = match state {
        StepState::Pending => proto::SagaStepState::Pending,
        StepState::Current => proto::SagaStepState::Current,
        StepState::Completed => proto::SagaStepState::Completed,
        StepState::Skipped => proto::SagaStepState::Skipped,
        StepState::Uncertain => proto::SagaStepState::Uncertain,
        StepState::Compensated => proto::SagaStepState::Compensated,
    };
    proto::SagaStep { name, state: state.into(), output }
}

fn started_by(origin: Origin) -> Option<proto::SagaEventRef> {
    match origin {
        Origin::Call => None,
        Origin::Event { id, position } => Some(proto::SagaEventRef { id, position, ..proto::SagaEventRef::default() }),
    }
}

fn awaited(Awaited { event_type, key }: Awaited) -> proto::SagaAwaited {
    proto::SagaAwaited { r#type: event_type.unwrap_or_default(), key }
}

fn cause(Cause { kind, code, message }: Cause) -> proto::SagaCause {
    proto::SagaCause { kind: kind.as_str().into(), code, message }
}

pub(crate) fn timeline(timeline: Timeline) -> proto::GetSagaTimelineResponse {
    let Timeline { rows, next, steps } = timeline;
    let facts = rows.into_iter().flat_map(|row| {
        let steps = &steps;
        row.facts.into_iter().map(move |told| fact(row.number, told, steps))
    });
    proto::GetSagaTimelineResponse { facts: facts.collect(), next }
}

fn fact(row: u32, told: TimelineFact, steps: &[String]) -> proto::SagaFact {
    use proto::SagaFactKind as Kind;
    let name = |step: usize| steps.get(step).cloned().unwrap_or_default();
    let mut fact = proto::SagaFact {
        row,
        at_us: told.at_us,
        step: told.step.map(name).unwrap_or_default(),
        attempt: told.attempt,
        state: state(told.state).into(),
        ..proto::SagaFact::default()
    };
    fact.set_direction(direction(told.direction));
    let kind = match told.what {
        What::Started { revision, input: Blob(input), by, .. } => {
            (fact.revision, fact.value, fact.event) = (Some(revision), Some(input), started_by(by));
            Kind::Started
        }
        What::AttemptStarted { .. } => Kind::AttemptStarted,
        What::Completed { output: Blob(output), effects } => {
            (fact.value, fact.trail) = (Some(output), Some(trail_of(effects)));
            Kind::Completed
        }
        What::Suspended { until_us, event, effects } => {
            (fact.until_us, fact.awaits) = (until_us, event.map(awaited));
            fact.trail = Some(trail_of(effects));
            Kind::Suspended
        }
        What::Failed { cause: why, trail: left, .. } => {
            (fact.cause, fact.trail) = (Some(cause(why)), Some(trail(left)));
            fact.until_us = told.retry_at_us;
            Kind::Failed
        }
        What::Interrupted => Kind::Interrupted,
        What::Woken { by, .. } => {
            fact.event = match by {
                WokenBy::Timer => None,
                WokenBy::Event { id, position, event_type } => {
                    Some(proto::SagaEventRef { id, position, r#type: event_type, stream: String::new() })
                }
            };
            Kind::Woken
        }
        What::TimedOut { what: Overdue::Step, .. } => Kind::StepTimedOut,
        What::TimedOut { what: Overdue::Saga, .. } => Kind::SagaTimedOut,
        What::Cancelled { order } => ordered(&mut fact, order, Kind::Cancelled),
        What::Paused { order } => ordered(&mut fact, order, Kind::Paused),
        What::Resumed { order, revision } => {
            fact.revision = revision;
            ordered(&mut fact, order, Kind::Resumed)
        }
        What::Retried { order, step, revision } => {
            fact.revision = revision;
            fact.to_step = step.and_then(|step| usize::try_from(step).ok()).map(name).unwrap_or_default();
            ordered(&mut fact, order, Kind::Retried)
        }
        What::Skipped { order } => ordered(&mut fact, order, Kind::Skipped),
        What::MarkedDone { order, output: Blob(output) } => {
            fact.value = Some(output);
            ordered(&mut fact, order, Kind::MarkedDone)
        }
        What::Killed { order } => ordered(&mut fact, order, Kind::Killed),
        What::Late { outcome, trail: left, .. } => {
            (fact.outcome, fact.trail) = (outcome, Some(trail(left)));
            Kind::Late
        }
    };
    fact.set_kind(kind);
    fact
}

fn ordered(fact: &mut proto::SagaFact, order: Order, kind: proto::SagaFactKind) -> proto::SagaFactKind {
    let Order { by, note } = order;
    fact.order = Some(proto::SagaOrder { by, note });
    kind
}

fn trail_of(Effects { data, emitted, trail: left }: Effects) -> proto::SagaTrail {
    let mut trail = trail(left);
    for (key, value) in data {
        match value {
            Some(Blob(value)) => drop(trail.put.insert(key, value)),
            None => trail.removed.push(key),
        }
    }
    let event = |EmittedNote { id, stream, event_type }: EmittedNote| proto::SagaEventRef {
        id,
        stream,
        r#type: event_type,
        position: 0,
    };
    trail.emitted = emitted.into_iter().map(event).collect();
    trail
}

fn trail(Trail { took_us, calls, log }: Trail) -> proto::SagaTrail {
    let call = |HttpRecord { method, url, status, error, took_us }: HttpRecord| proto::SagaHttpCall {
        method,
        url,
        status: status.map(u32::from),
        error,
        took_us,
    };
    proto::SagaTrail { took_us, calls: calls.into_iter().map(call).collect(), log, ..proto::SagaTrail::default() }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
