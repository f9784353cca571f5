//! What happens when a schedule's time has come.

use async_trait::async_trait;

use super::{COLLECTION, Schedule, ScheduleState, Schedules, When, moved};
use crate::clock::Timestamp;
use crate::event::NewEvent;
use crate::limits::schedule as limits;
use crate::log::publish::{Append, AppendError};
use crate::log_id;
use crate::name::StreamName;
use crate::own::{guard, unit};
use crate::schedule::Missed;
use crate::store::{Change, Rejection, StoreError, Unit};
use crate::stream::Caller;
use crate::timer::{Fire, Timer};

/// Publishes for those whose time has come.
pub(crate) struct Firing(pub(crate) Schedules);

#[async_trait]
impl Fire for Firing {
    async fn fire(&self, timer: &Timer, now: Timestamp, refused: Option<&Rejection>) -> Result<Unit, StoreError> {
        let schedules = &self.0;
        let Some((stored, schedule)) = schedules.stored(&timer.id).await? else {
            return Ok(unit(vec![timer.guard()], vec![timer.remove()]));
        };
        let guards = vec![timer.guard(), guard(COLLECTION, timer.id.clone(), Some(stored))];
        if schedule.state.next() != Some(timer.due) {
            // A timer that nobody has removed.
            return Ok(unit(guards, vec![timer.remove()]));
        }
        let late = now.0 - timer.due.0 > limits::LATE_US;
        let skipped = late && schedule.state.missed == Missed::Skip && !matches!(schedule.state.when, When::At(_));
        let published = match (refused, skipped) {
            (Some(rejection), _) => Err(Some(rejection.to_string())),
            (None, true) => Err(None),
            (None, false) if !schedules.may_publish(&schedule) => Err(Some(CLOSED.to_owned())),
            (None, false) => match schedules.append(&schedule, timer.due).await {
                Ok(unit) => Ok(unit),
                Err(AppendError::Store(error)) => return Err(error),
                Err(error) => Err(Some(told(&error))),
            },
        };
        let outcome = if published.is_ok() { "published" } else { "failed" };
        if !skipped {
            schedules.metrics.scheduled_events.with_label_values(&[outcome]).inc();
        }
        if let Err(Some(error)) = &published {
            let (event_id, schedule) = (log_id::SCHEDULE_FAILED, &timer.id);
            tracing::warn!(event_id, schedule, error, "a schedule could not publish");
        }
        let after = after(schedule.state.clone(), timer.due, now, published.as_ref().err());
        let documents = moved(&timer.id, Some(&schedule.state), after.as_ref().map(|state| (state, &schedule.event)));
        let mut done = published.unwrap_or_default();
        done.guards.extend(guards);
        done.changes.push(Change::PutDocuments { generation: crate::record::GenerationId::HOST, documents });
        Ok(done)
    }
}

/// Why nothing is published to a stream that was open when the schedule was made.
const CLOSED: &str = "the stream's configuration does not let clients publish to it";

impl Schedules {
    /// Clients make schedules, so they publish where clients may.
    fn may_publish(&self, schedule: &Schedule) -> bool {
        self.configs.may_publish(&StreamName::from_stored(schedule.event.stream()), Caller::Api)
    }

    async fn append(&self, schedule: &Schedule, due: Timestamp) -> Result<Unit, AppendError> {
        let (state, event) = (&schedule.state, &schedule.event);
        let time = if state.own_time { event.time() } else { due };
        let event = NewEvent { id: state.event_id(due), time: Some(time), ..event.to_new() };
        let append = Append { stream: schedule.event.stream().into(), events: vec![event], ..Append::default() };
        self.publisher.unit(append).await
    }
}

/// The schedule when that time is over; `None` when it is done. `failed` is why nothing was published; without
/// a text because that time is left out.
fn after(
    mut state: ScheduleState,
    due: Timestamp,
    now: Timestamp,
    failed: Option<&Option<String>>,
) -> Option<ScheduleState> {
    match failed {
        None => {
            state.published += 1;
            (state.last_us, state.last_error) = (Some(due.0), None);
        }
        Some(None) => {}
        Some(Some(error)) => {
            state.failed += 1;
            state.last_error = Some(error.clone());
        }
    }
    let once = matches!(state.when, When::At(_));
    if once && failed.is_none() {
        return None;
    }
    let from = if state.missed == Missed::All { due } else { due.max(now) };
    state.next_us = state.when.next(from, Timestamp(state.created_at_us)).map(|next| next.0);
    // What cannot go on stays, so that somebody sees why.
    state.paused = state.next_us.is_none();
    Some(state)
}

fn told(error: &AppendError) -> String {
    let mut text = crate::tasks::chain(error);
    text.truncate(text.floor_char_boundary(limits::ERROR_BYTES_MAX));
    text
}
