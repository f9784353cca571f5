//! Schedules in JSON, as HTTP and the command line show them.

use serde::Serialize;
use serde_json::value::RawValue;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::NewEvent;
use wasmill_core::schedule::{Missed, Schedule, When};

use super::event_out::{self, rfc3339};

/// What was put, under the same names, and how it is doing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduleView {
    pub(crate) name: String,
    pub(crate) stream: String,
    pub(crate) event: Box<RawValue>,
    #[serde(flatten)]
    pub(crate) when: WhenView,
    pub(crate) missed: Missed,
    pub(crate) paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    pub(crate) published: u64,
    pub(crate) failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    pub(crate) created_at: String,
}

/// One of three.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum WhenView {
    At { at: String },
    Every { every_ms: u64 },
    Cron { cron: String, time_zone: String },
}

pub(crate) fn view(schedule: &Schedule) -> ScheduleView {
    let Schedule { state, event } = schedule;
    let time = |us: Option<i64>| us.map(|us| rfc3339(Timestamp(us)));
    ScheduleView {
        name: state.name.clone(),
        stream: event.stream().to_owned(),
        event: event_json(&new_event(schedule)),
        when: when(&state.when),
        missed: state.missed,
        paused: state.paused,
        next: time(state.next_us),
        last: time(state.last_us),
        published: state.published,
        failed: state.failed,
        last_error: state.last_error.clone(),
        created_at: rfc3339(Timestamp(state.created_at_us)),
    }
}

pub(crate) fn when(when: &When) -> WhenView {
    match when.clone() {
        When::At(us) => WhenView::At { at: rfc3339(Timestamp(us)) },
        When::Every(every_ms) => WhenView::Every { every_ms },
        When::Cron { expression, time_zone } => WhenView::Cron { cron: expression, time_zone },
    }
}

/// The event as it was put. One without a time of its own is kept with that of 1970.
pub(crate) fn new_event(schedule: &Schedule) -> NewEvent {
    let mut event = schedule.event.to_new();
    event.time = event.time.filter(|time| time.0 != 0);
    event
}

pub(crate) fn event_json(event: &NewEvent) -> Box<RawValue> {
    let mut json = Vec::new();
    event_out::write_new(&mut json, event);
    let json = String::from_utf8(json).ok().and_then(|json| RawValue::from_string(json).ok());
    // Data that is called JSON was checked when it came in.
    json.unwrap_or_else(|| RawValue::NULL.to_owned())
}
