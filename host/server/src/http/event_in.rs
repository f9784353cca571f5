//! Events as publishers write them in JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, NewEvent, Origin};
use wasmill_core::group::message::PRIORITY_MAX;
use wasmill_core::limits::group as queue_limits;
use wasmill_core::limits::publish as limits;

use crate::app::complete;
use crate::queues;

/// Mistakes that one answer lists.
pub(super) const MISTAKES_MAX: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventJson<'a> {
    id: Option<String>,
    r#type: String,
    schema_version: Option<u32>,
    key: Option<String>,
    time: Option<String>,
    content_type: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    tags: Option<Vec<String>>,
    headers: Option<BTreeMap<String, String>>,
    workflow_id: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    traceparent: Option<String>,
    /// Of a queue's message alone, as the next one.
    delay_ms: Option<u64>,
    time_to_live_ms: Option<u64>,
    priority: Option<u64>,
}

/// `"data": null` is the JSON value null, not a missing field.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// How the body is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One event, or an array of events.
    Json,
    /// One event a line.
    Lines,
}

/// What stands in for what events do not say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) origin: Origin,
    /// Ids are derived from it: the same request again has the same ids.
    pub(crate) idempotency_key: Option<String>,
}

pub(crate) fn events(body: &Bytes, layout: Layout, defaults: &Defaults) -> Result<Vec<NewEvent>, Problem> {
    each(body, layout, defaults, event)
}

/// Events for a queue, which say when they may be handed out.
pub(crate) fn messages(body: &Bytes, layout: Layout, defaults: &Defaults) -> Result<Vec<NewEvent>, Problem> {
    each(body, layout, defaults, message)
}

/// Reads one element, which is a slice of the body.
type Reader = fn(&str, &str, Uuid, &Defaults) -> Result<NewEvent, Mistakes>;

fn each(body: &Bytes, layout: Layout, defaults: &Defaults, read: Reader) -> Result<Vec<NewEvent>, Problem> {
    let text = utf8(body)?;
    let elements = match layout {
        Layout::Json => elements(text)?,
        Layout::Lines => lines(text)?,
    };
    if elements.len() > limits::APPEND_EVENTS_MAX {
        let (given, max) = (elements.len(), limits::APPEND_EVENTS_MAX);
        return Err(Problem::new(
            Code::AppendTooLarge,
            format!("an append has 1 to {max} events; this one has {given}"),
        ));
    }
    let mut problem = Problem::new(Code::InvalidEvent, "events break the rules; nothing was appended");
    let mut events = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        match read(text, element.get(), derived_id(defaults, &index.to_string()), defaults) {
            Ok(event) => events.push(event),
            Err(mistakes) => {
                for (field, message) in mistakes {
                    if problem.details.len() < MISTAKES_MAX {
                        problem = problem.with(format!("events[{index}]{field}"), message);
                    }
                }
            }
        }
    }
    if problem.details.is_empty() { Ok(events) } else { Err(problem) }
}

pub(super) fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not UTF-8: byte {} is out of place", error.valid_up_to());
        Problem::new(Code::MalformedBody, message)
    })
}

fn elements(text: &str) -> Result<Vec<&RawValue>, Problem> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error, 0))?;
    match whole.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(whole.get()).map_err(|error| malformed(&error, 0)),
        Some(b'{') => Ok(vec![whole]),
        _ => {
            let message = "the body is JSON, but neither an event (an object) nor an array of events";
            Err(Problem::new(Code::MalformedBody, message))
        }
    }
}

fn lines(text: &str) -> Result<Vec<&RawValue>, Problem> {
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    filled.map(|(number, line)| serde_json::from_str(line).map_err(|error| malformed(&error, number))).collect()
}

pub(super) fn malformed(error: &serde_json::Error, lines_before: usize) -> Problem {
    let (line, column) = (error.line() + lines_before, error.column());
    Problem::new(Code::MalformedBody, format!("not JSON at line {line} column {column}: {}", cause(error)))
}

/// The error's text without its place, which is relative to the part that was read.
pub(crate) fn cause(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if text.ends_with(&place) {
        text.truncate(text.len() - place.len());
    }
    text
}

/// Fields, and what is wrong with them.
pub(crate) type Mistakes = Vec<(&'static str, String)>;

/// Reads an event, which is a slice of the `body`. It gets `id` if it has none.
pub(crate) fn event(body: &str, text: &str, id: Uuid, defaults: &Defaults) -> Result<NewEvent, Mistakes> {
    let json = parsed(body, text)?;
    let of_a_queue = "only messages of a queue have it: POST /api/queues/{name}/messages";
    let wrong: Mistakes =
        [(".delayMs", json.delay_ms), (".timeToLiveMs", json.time_to_live_ms), (".priority", json.priority)]
            .into_iter()
            .filter_map(|(field, given)| given.map(|_| (field, of_a_queue.to_owned())))
            .collect();
    converted(json, id, defaults, wrong)
}

fn message(body: &str, text: &str, id: Uuid, defaults: &Defaults) -> Result<NewEvent, Mistakes> {
    let json = parsed(body, text)?;
    let max = queue_limits::DELAY_MS_MAX;
    let (delay_ms, time_to_live_ms) = (json.delay_ms.unwrap_or(0), json.time_to_live_ms.unwrap_or(0));
    let mut wrong: Mistakes = [(".delayMs", delay_ms), (".timeToLiveMs", time_to_live_ms)]
        .into_iter()
        .filter(|(_, ms)| *ms > max)
        .map(|(field, ms)| (field, format!("{ms} is out of range: 0 to {max}, which is ten years")))
        .collect();
    let priority = json.priority.map(|priority| u32::try_from(priority).unwrap_or(u32::MAX));
    if let Some(priority) = priority.filter(|priority| *priority > u32::from(PRIORITY_MAX)) {
        wrong.push((".priority", format!("{priority} is out of range: 0 to {PRIORITY_MAX}")));
    }
    let mut event = converted(json, id, defaults, wrong)?;
    queues::wishes(&mut event, delay_ms, time_to_live_ms, priority).map_err(|problem| vec![("", problem.message)])?;
    Ok(event)
}

fn parsed<'a>(body: &str, text: &'a str) -> Result<EventJson<'a>, Mistakes> {
    serde_json::from_str(text).map_err(|error| vec![("", located(body, text, &error))])
}

fn converted(json: EventJson<'_>, id: Uuid, defaults: &Defaults, mut mistakes: Mistakes) -> Result<NewEvent, Mistakes> {
    let id = match &json.id {
        None => Ok(id),
        Some(id) => Uuid::try_parse(id).map_err(|_| format!("`{}` is not a UUID", id.escape_debug())),
    };
    let id = id.unwrap_or_else(|mistake| {
        mistakes.push((".id", mistake));
        Uuid::nil()
    });
    let time = json.time.as_deref().map(|text| {
        let parsed: Result<jiff::Timestamp, _> = text.parse();
        parsed.map(|time| Timestamp(time.as_microsecond())).map_err(|_| {
            format!("`{}` is not a time as RFC 3339 writes it, such as 2013-01-01T05:15:00Z", text.escape_debug())
        })
    });
    let time = time.transpose().unwrap_or_else(|mistake| {
        mistakes.push((".time", mistake));
        None
    });
    if json.schema_version == Some(0) {
        mistakes.push((".schemaVersion", "versions begin with 1".into()));
    }
    let content_type = json.content_type.filter(|content_type| content_type != DEFAULT_CONTENT_TYPE);
    let data =
        data(json.data, json.data_base64.as_deref(), content_type.as_deref()).unwrap_or_else(|(field, mistake)| {
            mistakes.push((field, mistake));
            Bytes::new()
        });
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut origin = Origin {
        workflow_id: json.workflow_id,
        correlation_id: json.correlation_id,
        causation_id: json.causation_id,
        traceparent: json.traceparent,
    };
    complete(&mut origin, &defaults.origin);
    Ok(NewEvent {
        id,
        event_type: json.r#type,
        schema_version: json.schema_version.unwrap_or(1),
        key: json.key,
        time,
        content_type,
        data,
        tags: json.tags.unwrap_or_default(),
        headers: json.headers.unwrap_or_default().into_iter().collect(),
        origin,
    })
}

/// The payload: the very text of a JSON value, or bytes.
pub(super) fn data(
    json: Option<&RawValue>,
    base64: Option<&str>,
    content_type: Option<&str>,
) -> Result<Bytes, (&'static str, String)> {
    match (json, base64) {
        (Some(_), Some(_)) => Err((".dataBase64", "there is `data` as well; give one of the two".into())),
        (None, None) => Err((".data", "it is missing; give `data`, or `dataBase64` for what is not JSON".into())),
        (None, Some(base64)) => {
            let decoded = BASE64.decode(base64);
            decoded.map(Bytes::from).map_err(|error| (".dataBase64", format!("it is not base64: {error}")))
        }
        (Some(json), None) => match content_type {
            Some(other) if !is_json(other) => {
                let message = format!("`{}` is not JSON; give its bytes as `dataBase64`", other.escape_debug());
                Err((".data", message))
            }
            _ => Ok(Bytes::copy_from_slice(json.get().as_bytes())),
        },
    }
}

/// `application/json` and the types built on it, whatever parameters they have.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence == DEFAULT_CONTENT_TYPE || essence.ends_with("+json")
}

/// A namespace of our own for ids that come from idempotency keys.
const KEYS: Uuid = Uuid::from_u128(0x6c1b_4f0e_9a56_5d0b_8f3e_2f6d_70a4_11c9);

/// The id of the event at `place`, which has no space, so that no two pairs of place and key make one name.
pub(crate) fn derived_id(defaults: &Defaults, place: &str) -> Uuid {
    match &defaults.idempotency_key {
        None => Uuid::now_v7(),
        Some(key) => Uuid::new_v5(&KEYS, format!("{place} {key}").as_bytes()),
    }
}

/// The place of a mistake in the whole body. `part` is a slice of it.
fn located(body: &str, part: &str, error: &serde_json::Error) -> String {
    let before = &body[..part.as_ptr() as usize - body.as_ptr() as usize];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + error.line();
    let column = if error.line() == 1 { before.len() - line_start + error.column() } else { error.column() };
    format!("{} (line {line} column {column})", cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<NewEvent>, Problem> {
        events(&Bytes::copy_from_slice(body.as_bytes()), Layout::Json, &Defaults::default())
    }

    fn details(problem: &Problem) -> Vec<(&str, &str)> {
        problem.details.iter().map(|detail| (detail.at.as_str(), detail.message.as_str())).collect()
    }

    #[test]
    fn the_text_of_data_is_kept_as_it_is() {
        let events = read(r#"{"type":"a","data":{ "b": 1.50,  "a":"\u00e9" }}"#).unwrap();
        assert_eq!(&events[0].data[..], br#"{ "b": 1.50,  "a":"\u00e9" }"#);
        assert_eq!(&read(r#"{"type":"a","data":null}"#).unwrap()[0].data[..], b"null");
    }

    #[test]
    fn every_field_is_read() {
        let body = r#"[{"id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"t","schemaVersion":2,"key":"k",
            "time":"2013-01-01T05:15:00-05:00","contentType":"text/plain","dataBase64":"aGk=","tags":["x"],
            "headers":{"b":"2","a":"1"},"workflowId":"w","correlationId":"c","causationId":"x","traceparent":"p"}]"#;
        let event = read(body).unwrap().remove(0);
        assert_eq!(event.id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!((event.schema_version, event.key.as_deref(), &event.data[..]), (2, Some("k"), &b"hi"[..]));
        assert_eq!(event.time, Some(Timestamp(1_357_035_300_000_000)));
        assert_eq!(event.headers, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(event.origin.traceparent.as_deref(), Some("p"));
    }

    #[test]
    fn unknown_fields_are_named_with_their_event_and_place() {
        let problem = read("[{\"type\":\"a\",\"data\":1},\n  {\"type\":\"a\",\"colour\":1,\"data\":1}]").unwrap_err();
        assert_eq!(problem.code, Code::InvalidEvent);
        let (at, message) = details(&problem)[0];
        assert_eq!(at, "events[1]");
        assert!(message.contains("`colour`") && message.contains("line 2 column"), "{message}");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let problem = read(
            r#"[{"type":"a","id":"7","time":"noon","data":1,"dataBase64":"aGk="},{"type":"a"},{"data":1},
                {"type":"a","contentType":"text/plain","data":"x"},{"type":"a","dataBase64":"!"}]"#,
        )
        .unwrap_err();
        let at: Vec<_> = details(&problem).iter().map(|(at, _)| *at).collect();
        let expected = [
            "events[0].id",
            "events[0].time",
            "events[0].dataBase64",
            "events[1].data",
            "events[2]",
            "events[3].data",
            "events[4].dataBase64",
        ];
        assert_eq!(at, expected);
    }

    #[test]
    fn what_is_not_json_is_pointed_at() {
        let problem = read("[{\"type\":\"a\",\n \"data\":}]").unwrap_err();
        assert_eq!(problem.code, Code::MalformedBody);
        assert!(problem.message.contains("line 2 column 9"), "{}", problem.message);
        assert_eq!(read("7").unwrap_err().code, Code::MalformedBody);
        assert_eq!(read("").unwrap_err().code, Code::MalformedBody);
        assert_eq!(read("[{\"type\":\"a\"").unwrap_err().code, Code::MalformedBody);
        let not_utf8 = events(&Bytes::from_static(b"{\"type\":\"\xff\"}"), Layout::Json, &Defaults::default());
        assert!(not_utf8.unwrap_err().message.contains("byte 9"));
    }

    #[test]
    fn lines_are_counted_in_the_errors() {
        let lines =
            |text: &'static str| events(&Bytes::from_static(text.as_bytes()), Layout::Lines, &Defaults::default());
        assert_eq!(lines("{\"type\":\"a\",\"data\":1}\n\n{\"type\":\"b\",\"data\":2}\r\n").unwrap().len(), 2);
        let problem = lines("{\"type\":\"a\",\"data\":1}\n{\"type\"\n").unwrap_err();
        assert!(problem.message.contains("line 2"), "{}", problem.message);
    }

    #[test]
    fn an_idempotency_key_gives_the_same_ids_again() {
        let defaults = |key: &str| Defaults { idempotency_key: Some(key.into()), ..Defaults::default() };
        let body = Bytes::from_static(br#"[{"type":"a","data":1},{"type":"a","data":1}]"#);
        let ids = |key| events(&body, Layout::Json, &defaults(key)).unwrap().iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids("k"), ids("k"));
        assert_ne!(ids("k")[0], ids("k")[1]);
        assert_ne!(ids("k")[0], ids("l")[0]);
    }

    #[test]
    fn a_message_says_when_it_may_be_handed_out_and_an_event_does_not() {
        let body = Bytes::from_static(
            br#"{"type":"a","data":1,"headers":{"h":"1"},"delayMs":5,"timeToLiveMs":7,"priority":9}"#,
        );
        let messages = |body: &Bytes| messages(body, Layout::Json, &Defaults::default());
        let headers = messages(&body).unwrap().remove(0).headers;
        let expected =
            [("h", "1"), ("wasmill-delay-ms", "5"), ("wasmill-time-to-live-ms", "7"), ("wasmill-priority", "9")];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let refused = events(&body, Layout::Json, &Defaults::default()).unwrap_err();
        let at: Vec<_> = details(&refused).iter().map(|(at, _)| *at).collect();
        assert_eq!(at, ["events[0].delayMs", "events[0].timeToLiveMs", "events[0].priority"]);
        let refused = messages(&Bytes::from_static(br#"{"type":"a","data":1,"delayMs":400000000000}"#)).unwrap_err();
        assert_eq!(details(&refused)[0].0, "events[0].delayMs");
        let refused = messages(&Bytes::from_static(br#"{"type":"a","data":1,"priority":10}"#)).unwrap_err();
        assert_eq!(details(&refused)[0].0, "events[0].priority");
    }

    #[test]
    fn too_many_events_are_refused_before_they_are_read() {
        let body = format!("[{}{{}}]", "{},".repeat(limits::APPEND_EVENTS_MAX));
        assert_eq!(read(&body).unwrap_err().code, Code::AppendTooLarge);
    }
}
