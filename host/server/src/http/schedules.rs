//! Schedules: events that are published at a time, once or again and again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;
use wasmill_core::code::{Code, Detail, Problem};
use wasmill_core::event::NewEvent;
use wasmill_core::limits::read as limits;
use wasmill_core::name::StreamName;
use wasmill_core::schedule::{Missed, Schedule, ScheduleConfig, When};

use super::event_in::{self, Defaults};
use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, camel};
use super::publish::{BODY_BYTES_MAX, defaults};
use super::request::{InPath, json_body, shaped};
use super::schedule_out::view;
use crate::app::App;
use crate::convert::detail;
use crate::schedules::{self, INVALID, INVALID_EVENT};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScheduleJson<'a> {
    stream: Option<String>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    at: Option<String>,
    every_ms: Option<u64>,
    cron: Option<String>,
    time_zone: Option<String>,
    missed: Option<Missed>,
}

/// Reads a schedule, and names all that is wrong with it.
fn read(body: &str, defaults: &Defaults) -> Result<ScheduleConfig, Problem> {
    let ScheduleJson { stream, event, at, every_ms, cron, time_zone, missed } = shaped(body)?;
    let (mut shape, mut of_event) = (Vec::new(), Vec::new());
    let stream = stream.unwrap_or_else(|| {
        shape.push(detail("stream", "it is missing: where to publish?"));
        String::new()
    });
    if !shape.iter().any(|wrong: &Detail| wrong.at == "stream")
        && let Err(error) = StreamName::new(&stream)
    {
        shape.push(detail("stream", error.to_string()));
    }
    let when = when(at, every_ms, cron, time_zone).unwrap_or_else(|mut wrong| {
        shape.append(&mut wrong);
        When::At(0)
    });
    if event.is_none() {
        shape.push(detail("event", "it is missing: what to publish?"));
    }
    let event = event.and_then(|event| read_event(body, event.get(), defaults, &mut of_event)).unwrap_or_default();
    let (code, message) = match (shape.is_empty(), of_event.is_empty()) {
        (true, true) => return Ok(ScheduleConfig { stream, event, when, missed: missed.unwrap_or_default() }),
        (true, false) => (Code::InvalidEvent, INVALID_EVENT),
        (false, _) => (Code::InvalidArgument, INVALID),
    };
    shape.append(&mut of_event);
    Err(Problem { code, message: message.into(), details: shape })
}

fn read_event(body: &str, json: &str, defaults: &Defaults, wrong: &mut Vec<Detail>) -> Option<NewEvent> {
    match event_in::event(body, json, Uuid::nil(), defaults) {
        Ok(event) if !event.id.is_nil() => {
            wrong.push(detail("event.id", "each time has an id of its own; leave it out"));
            None
        }
        Ok(event) => Some(event),
        Err(mistakes) => {
            wrong.extend(mistakes.into_iter().map(|(field, what)| detail(format!("event{field}"), what)));
            None
        }
    }
}

fn when(
    at: Option<String>,
    every_ms: Option<u64>,
    cron: Option<String>,
    time_zone: Option<String>,
) -> Result<When, Vec<Detail>> {
    let given: Vec<&str> = [("at", at.is_some()), ("everyMs", every_ms.is_some()), ("cron", cron.is_some())]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
    let mut wrong = Vec::new();
    if given.len() != 1 {
        let at = given.get(1).copied().unwrap_or("at");
        wrong.push(detail(at, "give one of `at`, `everyMs` and `cron`"));
    }
    if time_zone.is_some() && cron.is_none() {
        wrong.push(detail("timeZone", "only a `cron` has one; a time says its offset from UTC itself"));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let when = match (at, every_ms, cron) {
        (Some(text), ..) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => When::At(time.as_microsecond()),
            Err(_) => {
                let text = text.escape_debug();
                let what = format!("`{text}` is not a time as RFC 3339 writes it, such as 2013-01-01T05:15:00Z");
                return Err(vec![detail("at", what)]);
            }
        },
        (_, Some(ms), _) => When::Every(ms),
        (.., cron) => When::Cron {
            expression: cron.unwrap_or_default(),
            time_zone: time_zone.unwrap_or_else(|| "UTC".to_owned()),
        },
    };
    when.check().map_err(|(at, what)| vec![detail(at, what)])?;
    Ok(when)
}

/// What core says of the event's fields, named as JSON does.
fn refused(mut problem: Problem) -> Refusal {
    for detail in problem.details.iter_mut().filter(|detail| detail.at.starts_with("event.")) {
        detail.at = camel(&detail.at);
    }
    problem.into()
}

pub(super) async fn list(State(app): State<Arc<App>>, mut params: Params) -> Result<Json<Value>, Refusal> {
    let (after, limit) = (params.text("after"), params.limit(PAGE_DEFAULT, limits::LIST_STREAMS_MAX));
    params.finish()?;
    let page = schedules::list(&app, after.as_deref(), limit).await?;
    let mut answer = json!({ "schedules": page.schedules.iter().map(view).collect::<Vec<_>>() });
    if let Some(next_after) = page.next_after {
        answer["nextAfter"] = next_after.into();
    }
    Ok(Json(answer))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Response, Refusal> {
    params.finish()?;
    Ok(shown(&schedules::get(&app, &name).await?))
}

fn shown(schedule: &Schedule) -> Response {
    Json(view(schedule)).into_response()
}

/// Under a name that the host makes.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    let config = read(&json_body(&headers, body, BODY_BYTES_MAX).await?, &defaults(&headers)?)?;
    let name = Uuid::now_v7().to_string();
    let schedule = schedules::put(&app, &name, config).await.map_err(refused)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/schedules/{name}"))], shown(&schedule)).into_response())
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    let config = read(&json_body(&headers, body, BODY_BYTES_MAX).await?, &defaults(&headers)?)?;
    Ok(shown(&schedules::put(&app, &name, config).await.map_err(refused)?))
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    schedules::remove(&app, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Response, Refusal> {
    params.finish()?;
    Ok(shown(&schedules::pause(&app, &name).await?))
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Response, Refusal> {
    params.finish()?;
    let resumed = schedules::resume(&app, &name).await?;
    Ok(resumed.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |schedule| shown(&schedule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(body: &str) -> (Code, Vec<String>) {
        let problem = read(body, &Defaults::default()).unwrap_err();
        (problem.code, problem.details.into_iter().map(|detail| detail.at).collect())
    }

    #[test]
    fn a_schedule_is_read_in_its_three_forms() {
        let read = |when: &str| {
            let body = format!(r#"{{"stream":"s","event":{{"type":"t","data":{{"n": 1.50}}}},{when}}}"#);
            read(&body, &Defaults::default()).unwrap()
        };
        assert_eq!(&read(r#""everyMs":1000"#).event.data[..], br#"{"n": 1.50}"#);
        assert_eq!(read(r#""at":"1970-01-01T01:00:01+01:00","missed":"all""#).when, When::At(1_000_000));
        let cron = |time_zone: &str| When::Cron { expression: "@daily".into(), time_zone: time_zone.into() };
        assert_eq!(read(r#""cron":"@daily""#).when, cron("UTC"));
        assert_eq!(read(r#""cron":"@daily","timeZone":"Europe/Berlin""#).when, cron("Europe/Berlin"));
    }

    #[test]
    fn every_mistake_is_named() {
        for (body, at) in [
            ("{}", &["stream", "at", "event"][..]),
            (r#"{"stream":"$x","event":{"type":"t","data":1},"at":"noon"}"#, &["stream", "at"]),
            (r#"{"stream":"s","event":{"type":"t"},"everyMs":1000,"cron":"* * * * *"}"#, &["cron", "event.data"]),
            (r#"{"stream":"s","event":{"type":"t","data":1},"everyMs":999,"timeZone":"UTC"}"#, &["timeZone"]),
            (r#"{"stream":"s","event":{"type":"t","data":1},"everyMs":999}"#, &["everyMs"]),
            (r#"{"stream":"s","event":{"type":"t","data":1},"cron":"hello"}"#, &["cron"]),
            (r#"{"stream":"s","event":{"type":"t","data":1},"cron":"@daily","timeZone":"Mars"}"#, &["timeZone"]),
            (r#"{"stream":"s","event":{"type":"t","data":1},"at":"2026-01-01T00:00:00Z","colour":1}"#, &["colour"]),
            (r#"{"stream":"s","event":{"type":"t","data":1},"everyMs":1000,"missed":"never"}"#, &["missed"]),
        ] {
            assert_eq!(
                mistakes(body),
                (Code::InvalidArgument, at.iter().map(|at| (*at).to_owned()).collect()),
                "{body}"
            );
        }
        let id = r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"t","data":1}"#;
        for (event, at) in [(id, "event.id"), (r#"{"type":"t","data":1,"delayMs":1}"#, "event.delayMs")] {
            let body = format!(r#"{{"stream":"s","event":{event},"everyMs":1000}}"#);
            assert_eq!(mistakes(&body), (Code::InvalidEvent, vec![at.to_owned()]), "{body}");
        }
    }
}
