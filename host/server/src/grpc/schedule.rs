//! `wasmill.v1.ScheduleService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;
use wasmill_core::code::{Code, Detail, Problem};
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, NewEvent, Origin};
use wasmill_core::limits::read as limits;
use wasmill_core::schedule::{Missed, Schedule, ScheduleConfig, When};

use super::convert;
use super::status::status;
use crate::app::{App, origin_of};
use crate::convert::detail;
use crate::http::schedule_out::new_event;
use crate::proto::schedule::When as Kind;
use crate::proto::schedule_service_server::ScheduleService;
use crate::schedules::{INVALID, INVALID_EVENT};
use crate::{proto, schedules};

pub(super) struct ScheduleApi(pub(super) Arc<App>);

#[tonic::async_trait]
impl ScheduleService for ScheduleApi {
    async fn put_schedule(
        &self,
        request: Request<proto::PutScheduleRequest>,
    ) -> Result<Response<proto::PutScheduleResponse>, Status> {
        let defaults = origin_of(request.metadata().as_ref()).map_err(|problem| status(&problem))?;
        let mut wanted = request.into_inner().schedule.unwrap_or_default();
        let name = match std::mem::take(&mut wanted.name) {
            name if name.is_empty() => Uuid::now_v7().to_string(),
            name => name,
        };
        let config = read(wanted, &defaults).map_err(|problem| status(&problem))?;
        let schedule = schedules::put(&self.0, &name, config).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::PutScheduleResponse { schedule: Some(view(&schedule)) }))
    }

    async fn get_schedule(
        &self,
        request: Request<proto::GetScheduleRequest>,
    ) -> Result<Response<proto::GetScheduleResponse>, Status> {
        let schedule = schedules::get(&self.0, &request.into_inner().name).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::GetScheduleResponse { schedule: Some(view(&schedule)) }))
    }

    async fn list_schedules(
        &self,
        request: Request<proto::ListSchedulesRequest>,
    ) -> Result<Response<proto::ListSchedulesResponse>, Status> {
        let proto::ListSchedulesRequest { after, limit } = request.into_inner();
        let limit = convert::list_limit(limit, limits::LIST_STREAMS_MAX).map_err(|problem| status(&problem))?;
        let after = Some(after.as_str()).filter(|after| !after.is_empty());
        let page = schedules::list(&self.0, after, limit).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::ListSchedulesResponse {
            schedules: page.schedules.iter().map(view).collect(),
            next_after: page.next_after.unwrap_or_default(),
        }))
    }

    async fn remove_schedule(
        &self,
        request: Request<proto::RemoveScheduleRequest>,
    ) -> Result<Response<proto::RemoveScheduleResponse>, Status> {
        schedules::remove(&self.0, &request.into_inner().name).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(proto::RemoveScheduleResponse {}))
    }

    async fn pause_schedule(
        &self,
        request: Request<proto::PauseScheduleRequest>,
    ) -> Result<Response<proto::PauseScheduleResponse>, Status> {
        let paused = schedules::pause(&self.0, &request.into_inner().name).await;
        let schedule = Some(view(&paused.map_err(|problem| status(&problem))?));
        Ok(Response::new(proto::PauseScheduleResponse { schedule }))
    }

    async fn resume_schedule(
        &self,
        request: Request<proto::ResumeScheduleRequest>,
    ) -> Result<Response<proto::ResumeScheduleResponse>, Status> {
        let resumed = schedules::resume(&self.0, &request.into_inner().name).await;
        let schedule = resumed.map_err(|problem| status(&problem))?.as_ref().map(view);
        Ok(Response::new(proto::ResumeScheduleResponse { schedule }))
    }
}

/// Names all that is wrong with it.
fn read(schedule: proto::Schedule, defaults: &Origin) -> Result<ScheduleConfig, Problem> {
    let missed = schedule.missed();
    let proto::Schedule { stream, event, when, missed: number, .. } = schedule;
    let (mut shape, mut of_event) = (Vec::new(), Vec::new());
    let when = self::when(when).unwrap_or_else(|wrong| {
        shape.push(wrong);
        When::At(0)
    });
    if proto::Missed::try_from(number).is_err() {
        shape.push(detail("missed", format!("{number} is none of them: 1 is once, 2 is all, 3 is skip")));
    }
    let missed = match missed {
        proto::Missed::Unspecified | proto::Missed::Once => Missed::Once,
        proto::Missed::All => Missed::All,
        proto::Missed::Skip => Missed::Skip,
    };
    let event = match event {
        None => {
            shape.push(detail("event", "it is missing: what to publish?"));
            NewEvent::default()
        }
        Some(event) => read_event(event, defaults).unwrap_or_else(|wrong| {
            of_event.push(wrong);
            NewEvent::default()
        }),
    };
    let (code, message) = match (shape.is_empty(), of_event.is_empty()) {
        (true, true) => return Ok(ScheduleConfig { stream, event, when, missed }),
        (true, false) => (Code::InvalidEvent, INVALID_EVENT),
        (false, _) => (Code::InvalidArgument, INVALID),
    };
    shape.append(&mut of_event);
    Err(Problem { code, message: message.into(), details: shape })
}

fn read_event(event: proto::NewEvent, defaults: &Origin) -> Result<NewEvent, Detail> {
    if !event.id.is_empty() {
        return Err(detail("event.id", "each time has an id of its own; leave it out"));
    }
    let append = proto::AppendRequest { events: vec![event], ..proto::AppendRequest::default() };
    let read = convert::append(append, defaults).map_err(|problem| detail("event", problem.message))?;
    Ok(read.append.events.into_iter().next().unwrap_or_default())
}

fn when(when: Option<Kind>) -> Result<When, Detail> {
    let when = match when {
        Some(Kind::AtUs(us)) => When::At(us),
        Some(Kind::EveryMs(ms)) => When::Every(ms),
        Some(Kind::Cron(proto::Cron { expression, time_zone })) => {
            let time_zone = if time_zone.is_empty() { "UTC".to_owned() } else { time_zone };
            When::Cron { expression, time_zone }
        }
        None => return Err(detail("when", "give one of `at_us`, `every_ms` and `cron`")),
    };
    let named = |at| match at {
        "at" => "at_us",
        "everyMs" => "every_ms",
        "cron" => "cron.expression",
        "timeZone" => "cron.time_zone",
        other => other,
    };
    when.check().map_err(|(at, what)| detail(named(at), what))?;
    Ok(when)
}

fn view(schedule: &Schedule) -> proto::Schedule {
    let state = &schedule.state;
    let event = new_event(schedule);
    let mut view = proto::Schedule {
        name: state.name.clone(),
        stream: schedule.event.stream().to_owned(),
        event: Some(self::event(event)),
        when: Some(match state.when.clone() {
            When::At(us) => Kind::AtUs(us),
            When::Every(ms) => Kind::EveryMs(ms),
            When::Cron { expression, time_zone } => Kind::Cron(proto::Cron { expression, time_zone }),
        }),
        paused: state.paused,
        created_at_us: state.created_at_us,
        next_us: state.next_us,
        last_us: state.last_us,
        published: state.published,
        failed: state.failed,
        last_error: state.last_error.clone(),
        ..proto::Schedule::default()
    };
    view.set_missed(match state.missed {
        Missed::Once => proto::Missed::Once,
        Missed::All => proto::Missed::All,
        Missed::Skip => proto::Missed::Skip,
    });
    view
}

/// Without its id.
fn event(event: NewEvent) -> proto::NewEvent {
    let NewEvent { event_type, schema_version, key, time, content_type, data, tags, headers, origin, .. } = event;
    proto::NewEvent {
        id: String::new(),
        r#type: event_type,
        schema_version,
        key,
        time_us: time.map(|time| time.0),
        content_type: content_type.filter(|kind| kind != DEFAULT_CONTENT_TYPE).unwrap_or_default(),
        data,
        tags,
        headers: headers.into_iter().collect(),
        workflow_id: origin.workflow_id,
        correlation_id: origin.correlation_id,
        causation_id: origin.causation_id,
        traceparent: origin.traceparent,
    }
}
