//! Dead letters of groups: shows them, hands them in again, removes them, publishes a mended copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, Event, NewEvent, Origin, Position};
use wasmill_core::group::{DeadLetter, LetterError, Which};
use wasmill_core::limits::group as limits;
use wasmill_core::log::publish::Append;
use wasmill_core::name::StreamName;
use wasmill_core::stream::Caller;

use super::event_in::{self, derived_id};
use super::event_out::{self, rfc3339};
use super::groups::BODY_BYTES_MAX;
use super::params::Params;
use super::problem::{Refusal, failed};
use super::publish::{BODY_BYTES_MAX as EVENT_BYTES_MAX, defaults, queued};
use super::request::{InPath, json_body, shaped};
use super::streams::typed;
use super::view;
use crate::app::App;
use crate::pages::NUMBER_MAX;
use crate::publish::{self, Answer, Publication};
use crate::rights;

/// Which dead letters are meant, said in one of three ways.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Selection {
    all: Option<bool>,
    key: Option<String>,
    positions: Option<Vec<u64>>,
}

/// What a copy has else than the event. Left out: as the event has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Edited {
    stream: Option<String>,
    r#type: Option<String>,
    schema_version: Option<u32>,
    key: Option<String>,
    content_type: Option<String>,
    #[serde(deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    tags: Option<Vec<String>>,
    headers: Option<BTreeMap<String, String>>,
    purge: bool,
}

/// `"data": null` is the JSON value null, not a missing field.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Response<Body>, Refusal> {
    let from = Position(params.number("from").unwrap_or(0));
    let limit = params.limit(limits::LETTERS_PAGE, limits::LETTERS_PAGE);
    params.finish()?;
    let page = app.host.groups.dead_letters(&name, from, limit).await.map_err(failed)?;
    let mut out =
        Vec::with_capacity(64 + page.letters.iter().map(|one| 256 + one.event.raw().len() * 2).sum::<usize>());
    out.extend_from_slice(b"{\"deadLetters\":[");
    for letter in page.letters.iter().filter(|letter| may_read(&app, &letter.event)) {
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        write(&mut out, letter);
    }
    out.push(b']');
    if let Some(last) = page.letters.last().filter(|_| page.more) {
        out.extend_from_slice(format!(",\"next\":{}", last.position().0 + 1).as_bytes());
    }
    out.push(b'}');
    Ok(typed("application/json", Body::from(out)))
}

/// A configuration may have changed since the event was handed out.
fn may_read(app: &App, event: &Event) -> bool {
    let configs = &app.host.stream_configs;
    configs.all_open_to_readers() || configs.may_read(&StreamName::from_stored(event.stream()), Caller::Api)
}

fn write(out: &mut Vec<u8>, DeadLetter { why, event }: &DeadLetter) {
    let mut head = json!({
        "position": event.position().0,
        "reason": why.reason.as_str(),
        "refused": why.refused,
        "lost": why.lost,
        "parkedAt": rfc3339(wasmill_core::clock::Timestamp(why.parked_at_us)),
    });
    for (field, text) in [("error", &why.error), ("member", &why.member)] {
        if !text.is_empty() {
            head[field] = text.as_str().into();
        }
    }
    let head = head.to_string();
    out.extend_from_slice(head.trim_end_matches('}').as_bytes());
    out.extend_from_slice(b",\"event\":");
    event_out::write(out, event);
    out.push(b'}');
}

async fn letter(app: &App, group: &str, position: u64) -> Result<DeadLetter, Refusal> {
    if position > NUMBER_MAX {
        let message = format!("{position} is out of range: 0 to {NUMBER_MAX}");
        let problem = Problem::new(Code::InvalidArgument, "the path cannot be read").with("position", message);
        return Err(problem.into());
    }
    let letter = app.host.groups.dead_letter(group, Position(position)).await.map_err(failed)?;
    rights::may_read(&app.host.stream_configs, &StreamName::from_stored(letter.event.stream()))?;
    Ok(letter)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath((name, position)): InPath<(String, u64)>,
    params: Params,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let mut out = Vec::new();
    write(&mut out, &letter(&app, &name, position).await?);
    Ok(typed("application/json", Body::from(out)))
}

pub(super) async fn replay(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let which = shaped::<Selection>(&json_body(&headers, body, BODY_BYTES_MAX).await?)?.read()?;
    let count = app.host.groups.replay(&name, &which).await.map_err(failed)?;
    Ok(Json(json!({ "count": count })))
}

pub(super) async fn purge(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let which = shaped::<Selection>(&json_body(&headers, body, BODY_BYTES_MAX).await?)?.read()?;
    let count = app.host.groups.purge(&name, &which).await.map_err(failed)?;
    Ok(Json(json!({ "count": count })))
}

impl Selection {
    fn read(self) -> Result<Which, Problem> {
        let wrong = |at: &str, message: String| {
            Err(Problem::new(Code::InvalidArgument, "it is not clear which dead letters are meant").with(at, message))
        };
        match self {
            Selection { all: Some(true), key: None, positions: None } => Ok(Which::All),
            Selection { all: None, key: Some(key), positions: None } => Ok(Which::Key(key)),
            Selection { all: None, key: None, positions: Some(positions) } => {
                if !(1..=limits::LETTERS_PAGE).contains(&positions.len()) {
                    let count = positions.len();
                    return wrong("positions", format!("{count} of them; give 1 to {}", limits::LETTERS_PAGE));
                }
                if let Some(position) = positions.iter().find(|position| **position > NUMBER_MAX) {
                    return wrong("positions", format!("{position} is out of range: 0 to {NUMBER_MAX}"));
                }
                Ok(Which::Positions(positions.into_iter().map(Position).collect()))
            }
            _ => wrong("body", "give one of `all: true`, `key: KEY` and `positions: [POSITION, ...]`".into()),
        }
    }
}

/// Publishes a copy, and removes the dead letter if that is asked for.
pub(super) async fn send(
    State(app): State<Arc<App>>,
    InPath((name, position)): InPath<(String, u64)>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::response::Response, Refusal> {
    params.finish()?;
    let mut edited: Edited = shaped(&json_body(&headers, body, EVENT_BYTES_MAX).await?)?;
    let old = letter(&app, &name, position).await?.event;
    let purge = edited.purge;
    let stream = edited.stream.take().unwrap_or_else(|| old.stream().to_owned());
    let event = NewEvent { id: derived_id(&defaults(&headers)?, "0"), ..edited.copy(&old)? };
    let id = event.id;
    let append = Append { stream, events: vec![event], ..Append::default() };
    let appended = match publish::append(&app, Publication { append, ..Publication::default() }).await? {
        Answer::Stored(appended) => appended,
        Answer::Queued => return Ok(queued()),
    };
    let removed = purge && purged(&app, &name, Position(position)).await?;
    let mut answer = view::appended(&appended);
    answer["id"] = id.to_string().into();
    answer["purged"] = removed.into();
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `false` if someone else was faster.
async fn purged(app: &App, group: &str, position: Position) -> Result<bool, Refusal> {
    match app.host.groups.purge(group, &Which::Positions(vec![position])).await {
        Ok(count) => Ok(count > 0),
        Err(LetterError::NotFound { .. }) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

impl Edited {
    fn copy(self, old: &Event) -> Result<NewEvent, Problem> {
        let content_type = self.content_type.unwrap_or_else(|| old.content_type().to_owned());
        let content_type = Some(content_type).filter(|content_type| content_type != DEFAULT_CONTENT_TYPE);
        let data = match (&self.data, &self.data_base64) {
            (None, None) => Bytes::copy_from_slice(old.data()),
            (json, base64) => event_in::data(json.as_deref(), base64.as_deref(), content_type.as_deref()).map_err(
                |(field, message)| {
                    Problem::new(Code::InvalidEvent, "the copy breaks the rules; nothing was appended")
                        .with(field.trim_start_matches('.'), message)
                },
            )?,
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(NewEvent {
            event_type: self.r#type.unwrap_or_else(|| old.event_type().to_owned()),
            schema_version: self.schema_version.unwrap_or_else(|| old.schema_version()),
            key: self.key.or_else(|| old.key().map(str::to_owned)),
            time: Some(old.time()),
            content_type,
            data,
            tags: self.tags.unwrap_or_else(|| old.tags().into_iter().map(str::to_owned).collect()),
            headers: match self.headers {
                Some(headers) => headers.into_iter().collect(),
                None => old.headers().into_iter().map(owned).collect(),
            },
            origin: Origin::caused_by(old),
            ..NewEvent::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_named_in_one_way() {
        let read =
            |json: &str| shaped::<Selection>(json).unwrap().read().map_err(|problem| problem.details[0].at.clone());
        assert_eq!(read(r#"{"all":true}"#), Ok(Which::All));
        assert_eq!(read(r#"{"key":"k"}"#), Ok(Which::Key("k".into())));
        assert_eq!(read(r#"{"positions":[7,9]}"#), Ok(Which::Positions(vec![Position(7), Position(9)])));
        for wrong in ["{}", r#"{"all":false}"#, r#"{"all":true,"key":"k"}"#] {
            assert_eq!(read(wrong), Err("body".into()), "{wrong}");
        }
        for wrong in [r#"{"positions":[]}"#, r#"{"positions":[9007199254740992]}"#] {
            assert_eq!(read(wrong), Err("positions".into()), "{wrong}");
        }
    }

    #[test]
    fn null_is_data() {
        let edited: Edited = shaped(r#"{"data":null}"#).unwrap();
        assert_eq!(edited.data.map(|data| data.get().to_owned()).as_deref(), Some("null"));
        let edited: Edited = shaped(r#"{"data":{ "a": 1.50 }}"#).unwrap();
        assert_eq!(edited.data.map(|data| data.get().to_owned()).as_deref(), Some(r#"{ "a": 1.50 }"#));
        assert!(shaped::<Edited>("{}").unwrap().data.is_none());
    }
}
