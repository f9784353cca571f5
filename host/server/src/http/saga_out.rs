//! Sagas in JSON, as HTTP and the command line show them: made from messages, so that both show the same.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use wasmill_core::clock::Timestamp;

use super::event_out::rfc3339;
use crate::proto::{self, SagaActivity, SagaClock, SagaDirection, SagaFactKind, SagaState, SagaStepState};

/// A saga as lists show it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SummaryView {
    pub(crate) saga_id: String,
    pub(crate) saga_type: String,
    pub(crate) revision: u32,
    pub(crate) correlation_id: String,
    pub(crate) state: &'static str,
    pub(crate) activity: &'static str,
    /// Completed steps, and all: `2/3`.
    pub(crate) progress: String,
    pub(crate) current_step: String,
    pub(crate) total_steps: u32,
    pub(crate) attempt: u32,
    pub(crate) started_at: String,
    pub(crate) updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) awaits: Option<AwaitedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<CauseView>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SagaView {
    #[serde(flatten)]
    pub(crate) summary: SummaryView,
    pub(crate) direction: &'static str,
    pub(crate) failed_attempts: u32,
    pub(crate) steps: Vec<StepView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_base64: Option<String>,
    pub(crate) data: BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) data_base64: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_by: Option<EventView>,
    pub(crate) clock: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turns_round: Option<CauseView>,
    pub(crate) only_forward: bool,
    pub(crate) killed: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepView {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_base64: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct AwaitedView {
    /// Any type without.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
    pub(crate) key: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CauseView {
    pub(crate) kind: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) id: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u64>,
}

/// A fact of a timeline. What does not belong to its kind is left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FactView {
    pub(crate) row: u32,
    pub(crate) time: String,
    pub(crate) fact: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// What the saga is after it.
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<EventView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) awaits: Option<AwaitedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<CauseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took_us: Option<u64>,
    /// Shared data that was put.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) data: BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) data_base64: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) data_removed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) emitted: Vec<EventView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) calls: Vec<CallView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallView {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) took_us: u64,
}

impl From<proto::SagaSummary> for SummaryView {
    fn from(saga: proto::SagaSummary) -> Self {
        Self {
            state: state(saga.state()),
            activity: activity(saga.activity()),
            saga_id: saga.id,
            saga_type: saga.r#type,
            revision: saga.revision,
            correlation_id: saga.correlation_id,
            progress: format!("{}/{}", saga.progress, saga.total_steps),
            current_step: saga.current_step,
            total_steps: saga.total_steps,
            attempt: saga.attempt,
            started_at: time(saga.started_at_us),
            updated_at: time(saga.updated_at_us),
            due_at: saga.due_at_us.map(time),
            awaits: saga.awaits.map(awaited),
            paused: saga.paused,
            cause: saga.cause.map(cause),
        }
    }
}

impl From<proto::Saga> for SagaView {
    fn from(saga: proto::Saga) -> Self {
        let (direction, clock) = (direction(saga.direction()), clock(saga.clock()));
        // A saga that is started with nothing has no input.
        let (input, input_base64) = value(Some(saga.input).filter(|input| !input.is_empty()));
        let (data, data_base64) = values(saga.data);
        Self {
            summary: saga.summary.unwrap_or_default().into(),
            direction,
            failed_attempts: saga.failed_attempts,
            steps: saga.steps.into_iter().map(step).collect(),
            input,
            input_base64,
            data,
            data_base64,
            started_by: saga.started_by.map(event),
            clock,
            turns_round: saga.turns_round.map(cause),
            only_forward: saga.only_forward,
            killed: saga.killed,
        }
    }
}

impl From<proto::SagaFact> for FactView {
    fn from(fact: proto::SagaFact) -> Self {
        let kind = fact.kind();
        let is_about_step = !fact.step.is_empty();
        let (way, state) = (direction(fact.direction()), state(fact.state()));
        let (given, given_base64) = value(fact.value.filter(|value| !value.is_empty()));
        let mut view = Self {
            row: fact.row,
            time: time(fact.at_us),
            fact: kind_name(kind),
            direction: is_about_step.then_some(way),
            attempt: Some(fact.attempt).filter(|_| is_about_step),
            step: Some(fact.step).filter(|_| is_about_step),
            state,
            revision: fact.revision,
            event: fact.event.map(event),
            awaits: fact.awaits.map(awaited),
            cause: fact.cause.map(cause),
            to_step: some(fact.to_step),
            outcome: some(fact.outcome),
            ..Self::default()
        };
        match kind {
            SagaFactKind::Started => (view.input, view.input_base64) = (given, given_base64),
            _ => (view.output, view.output_base64) = (given, given_base64),
        }
        match kind {
            SagaFactKind::Failed => view.next_attempt_at = fact.until_us.map(time),
            _ => view.until = fact.until_us.map(time),
        }
        if let Some(proto::SagaOrder { by, note }) = fact.order {
            (view.by, view.note) = (some(by), some(note));
        }
        if let Some(trail) = fact.trail {
            view.took_us = Some(trail.took_us);
            (view.data, view.data_base64) = values(trail.put);
            view.data_removed = trail.removed;
            view.emitted = trail.emitted.into_iter().map(event).collect();
            view.calls = trail.calls.into_iter().map(call).collect();
            view.log = trail.log;
        }
        view
    }
}

fn step(step: proto::SagaStep) -> StepView {
    let state = match step.state() {
        SagaStepState::Unspecified | SagaStepState::Pending => "pending",
        SagaStepState::Current => "current",
        SagaStepState::Completed => "completed",
        SagaStepState::Skipped => "skipped",
        SagaStepState::Uncertain => "uncertain",
        SagaStepState::Compensated => "compensated",
    };
    let (output, output_base64) = value(step.output.filter(|output| !output.is_empty()));
    StepView { name: step.name, state, output, output_base64 }
}

pub(crate) fn state(state: SagaState) -> &'static str {
    match state {
        SagaState::Unspecified => "unknown",
        SagaState::NotStarted => "notStarted",
        SagaState::Running => "running",
        SagaState::Completed => "completed",
        SagaState::Compensating => "compensating",
        SagaState::Compensated => "compensated",
        SagaState::Failed => "failed",
    }
}

pub(crate) fn activity(activity: SagaActivity) -> &'static str {
    match activity {
        SagaActivity::Unspecified => "unknown",
        SagaActivity::Ready => "ready",
        SagaActivity::Calling => "calling",
        SagaActivity::Retrying => "retrying",
        SagaActivity::Waiting => "waiting",
        SagaActivity::Paused => "paused",
        SagaActivity::Ended => "ended",
    }
}

fn direction(direction: SagaDirection) -> &'static str {
    match direction {
        SagaDirection::Unspecified | SagaDirection::Execute => "execute",
        SagaDirection::Compensate => "compensate",
    }
}

fn clock(clock: SagaClock) -> &'static str {
    match clock {
        SagaClock::Unspecified | SagaClock::Host => "host",
        SagaClock::Event => "event",
    }
}

fn kind_name(kind: SagaFactKind) -> &'static str {
    match kind {
        SagaFactKind::Unspecified => "unknown",
        SagaFactKind::Started => "started",
        SagaFactKind::AttemptStarted => "attemptStarted",
        SagaFactKind::Completed => "completed",
        SagaFactKind::Suspended => "suspended",
        SagaFactKind::Failed => "failed",
        SagaFactKind::Interrupted => "interrupted",
        SagaFactKind::Woken => "woken",
        SagaFactKind::StepTimedOut => "stepTimedOut",
        SagaFactKind::SagaTimedOut => "sagaTimedOut",
        SagaFactKind::Cancelled => "cancelled",
        SagaFactKind::Paused => "paused",
        SagaFactKind::Resumed => "resumed",
        SagaFactKind::Retried => "retried",
        SagaFactKind::Skipped => "skipped",
        SagaFactKind::MarkedDone => "markedDone",
        SagaFactKind::Killed => "killed",
        SagaFactKind::Late => "late",
    }
}

fn awaited(proto::SagaAwaited { r#type, key }: proto::SagaAwaited) -> AwaitedView {
    AwaitedView { event_type: some(r#type), key }
}

fn cause(proto::SagaCause { kind, code, message }: proto::SagaCause) -> CauseView {
    CauseView { kind, code, message }
}

/// Only one that a step has appended has its stream here, and no position.
fn event(proto::SagaEventRef { id, position, r#type, stream }: proto::SagaEventRef) -> EventView {
    let position = stream.is_empty().then_some(position);
    EventView { id, event_type: some(r#type), stream: some(stream), position }
}

fn call(proto::SagaHttpCall { method, url, status, error, took_us }: proto::SagaHttpCall) -> CallView {
    CallView { method, url, status, error, took_us }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn time(us: i64) -> String {
    rfc3339(Timestamp(us))
}

/// Bytes as JSON if they are JSON, on one line, and in base64 if they are not.
fn value(bytes: Option<Bytes>) -> (Option<Box<RawValue>>, Option<String>) {
    let Some(bytes) = bytes else { return (None, None) };
    // A raw line break can stand in JSON only between its tokens, where a space means the same.
    let text = std::str::from_utf8(&bytes).ok().map(|text| text.replace(['\n', '\r'], " "));
    match text.and_then(|text| RawValue::from_string(text).ok()) {
        Some(json) => (Some(json), None),
        None => (None, Some(BASE64.encode(&bytes))),
    }
}

fn values(values: BTreeMap<String, Bytes>) -> (BTreeMap<String, Box<RawValue>>, BTreeMap<String, String>) {
    let (mut json, mut base64) = (BTreeMap::new(), BTreeMap::new());
    for (key, bytes) in values {
        match value(Some(bytes)) {
            (Some(value), _) => drop(json.insert(key, value)),
            (None, coded) => drop(base64.insert(key, coded.unwrap_or_default())),
        }
    }
    (json, base64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn saga() -> proto::Saga {
        let mut summary = proto::SagaSummary {
            id: "x".into(),
            r#type: "order".into(),
            revision: 2,
            correlation_id: "o-7".into(),
            current_step: "ship".into(),
            attempt: 1,
            progress: 2,
            total_steps: 3,
            due_at_us: Some(1_000_000),
            awaits: Some(proto::SagaAwaited { key: "o-7".into(), ..proto::SagaAwaited::default() }),
            ..proto::SagaSummary::default()
        };
        summary.set_state(SagaState::Running);
        summary.set_activity(SagaActivity::Waiting);
        let mut step = proto::SagaStep { name: "ship".into(), ..proto::SagaStep::default() };
        step.set_state(SagaStepState::Current);
        proto::Saga {
            summary: Some(summary),
            steps: vec![step],
            input: "{\n \"amount\": 1.50\n}".into(),
            data: [("a", &b"[1]"[..]), ("b", b"\xff"), ("c", b"text")]
                .map(|(key, value)| (key.to_owned(), Bytes::from_static(value)))
                .into(),
            ..proto::Saga::default()
        }
    }

    #[test]
    fn a_saga_is_shown_with_its_values_as_json_where_they_are() {
        let shown = serde_json::to_string(&SagaView::from(saga())).unwrap();
        assert!(shown.contains(r#""input":{  "amount": 1.50 }"#), "on one line, with its digits: {shown}");
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(
            shown,
            json!({
                "sagaId": "x", "sagaType": "order", "revision": 2, "correlationId": "o-7", "state": "running",
                "activity": "waiting", "progress": "2/3", "currentStep": "ship", "totalSteps": 3, "attempt": 1,
                "startedAt": "1970-01-01T00:00:00Z", "updatedAt": "1970-01-01T00:00:00Z",
                "dueAt": "1970-01-01T00:00:01Z", "awaits": {"key": "o-7"}, "direction": "execute",
                "failedAttempts": 0, "steps": [{"name": "ship", "state": "current"}], "input": {"amount": 1.5},
                "data": {"a": [1]}, "dataBase64": {"b": "/w==", "c": "dGV4dA=="}, "clock": "host",
                "onlyForward": false, "killed": false,
            })
        );
    }

    #[test]
    fn a_fact_has_what_belongs_to_its_kind() {
        let shown = |fact: proto::SagaFact| serde_json::to_value(FactView::from(fact)).unwrap();
        let mut started = proto::SagaFact { value: Some("{}".into()), revision: Some(1), ..proto::SagaFact::default() };
        started.set_kind(SagaFactKind::Started);
        started.set_state(SagaState::NotStarted);
        let expected = json!({
            "row": 0, "time": "1970-01-01T00:00:00Z", "fact": "started", "state": "notStarted", "revision": 1,
            "input": {},
        });
        assert_eq!(shown(started), expected);
        let trail = proto::SagaTrail {
            took_us: 7,
            removed: vec!["a".into()],
            emitted: vec![proto::SagaEventRef { id: "e".into(), stream: "s".into(), ..Default::default() }],
            calls: vec![proto::SagaHttpCall { method: "GET".into(), status: Some(200), ..Default::default() }],
            ..proto::SagaTrail::default()
        };
        let mut failed = proto::SagaFact {
            row: 3,
            step: "ship".into(),
            attempt: 2,
            until_us: Some(1),
            trail: Some(trail),
            ..proto::SagaFact::default()
        };
        failed.set_kind(SagaFactKind::Failed);
        failed.set_state(SagaState::Running);
        failed.set_direction(SagaDirection::Compensate);
        let expected = json!({
            "row": 3, "time": "1970-01-01T00:00:00Z", "fact": "failed", "step": "ship", "direction": "compensate",
            "attempt": 2, "state": "running", "nextAttemptAt": "1970-01-01T00:00:00.000001Z", "tookUs": 7,
            "dataRemoved": ["a"], "emitted": [{"id": "e", "stream": "s"}],
            "calls": [{"method": "GET", "url": "", "status": 200, "tookUs": 0}],
        });
        assert_eq!(shown(failed), expected);
    }
}
