//! The messages of `/api/ws`: JSON objects, each with its `op`. Pure: bytes in, messages out.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Event;
use wasmill_core::group::{Handing, Settled, Token};

use crate::http::consume::{RefusalJson, delivery, words};
use crate::http::event_in::cause;
use crate::http::event_out;
use crate::http::problem;

/// An acknowledgement of thousands of deliveries fits.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Events that may be on their way to a client and not be acknowledged, of one subscription or member.
pub(super) const CREDIT_MAX: u64 = 10_000;
/// If nothing is said: enough to keep a line busy, little enough for a page to hold.
pub(super) const CREDIT: u64 = 256;
/// Names that a client gives its subscriptions, and the marks on what it asks.
const NAME_BYTES_MAX: usize = 64;

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Subscribe(Subscribe),
    Join(Join),
    Credit(u64),
    Ack(Ack),
    Nack(Nack),
    Extend(Extend),
    Read(Read),
    Unsubscribe,
    Ping,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Subscribe {
    /// One stream; without, the whole log.
    pub(super) stream: Option<String>,
    #[serde(default)]
    pub(super) streams: Vec<String>,
    #[serde(default)]
    pub(super) types: Vec<String>,
    #[serde(default)]
    pub(super) keys: Vec<String>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    #[serde(default)]
    pub(super) correlation_ids: Vec<String>,
    /// An offset of the stream, or a position; without, what comes from now on.
    pub(super) from: Option<u64>,
    pub(super) credit: Option<u64>,
    /// Events as they were published, not in their newest version.
    #[serde(default)]
    pub(super) raw: bool,
    /// Under whose name deliveries are noted.
    pub(super) consumer: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    pub(super) group: String,
    pub(super) member: Option<String>,
    pub(super) credit: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Credit {
    events: u64,
}

/// One of the three: where the subscription is by offset, by position, or of a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ack {
    pub(super) offset: Option<u64>,
    pub(super) position: Option<u64>,
    pub(super) tokens: Option<Vec<Token>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nack {
    pub(super) tokens: Vec<Token>,
    pub(super) refusal: RefusalJson,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extend {
    pub(super) tokens: Vec<Token>,
    pub(super) ms: u64,
}

/// A consumer has read events of a stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    pub(super) consumer: String,
    pub(super) stream: String,
    pub(super) offsets: Vec<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Which of a client's messages is answered, and what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    pub(super) id: Option<String>,
    /// The client's own mark on the message.
    pub(super) mark: Option<Value>,
}

pub(super) fn read(message: &[u8]) -> (About, Result<Ask, Problem>) {
    let mut about = About::default();
    let malformed = |text: String| Problem::new(Code::MalformedBody, format!("a message is a JSON object: {text}"));
    let fields = match serde_json::from_slice::<Map<String, Value>>(message) {
        Ok(fields) => fields,
        Err(error) => return (about, Err(malformed(error.to_string()))),
    };
    let ask = read_fields(fields, &mut about);
    (about, ask)
}

fn read_fields(mut fields: Map<String, Value>, about: &mut About) -> Result<Ask, Problem> {
    about.mark = match fields.remove("ref") {
        None => None,
        Some(Value::String(mark)) if mark.len() <= NAME_BYTES_MAX => Some(Value::String(mark)),
        Some(Value::Number(mark)) => Some(Value::Number(mark)),
        Some(_) => return Err(wrong("ref", format!("it is a number, or a text of up to {NAME_BYTES_MAX} bytes"))),
    };
    let op = match fields.remove("op") {
        Some(Value::String(op)) => op,
        Some(_) | None => {
            return Err(wrong(
                "op",
                "say what to do: subscribe, join, credit, ack, nack, extend, read, unsubscribe or ping",
            ));
        }
    };
    match op.as_str() {
        "ping" => return shaped(fields).map(|Nothing {}| Ask::Ping),
        "read" => return shaped(fields).map(Ask::Read),
        _ => {}
    }
    about.id = match fields.remove("id") {
        Some(Value::String(id)) if (1..=NAME_BYTES_MAX).contains(&id.len()) => Some(id),
        Some(_) | None => {
            let message = format!("name the subscription or the member with a text of 1 to {NAME_BYTES_MAX} bytes");
            return Err(wrong("id", message));
        }
    };
    match op.as_str() {
        "subscribe" => shaped(fields).map(Ask::Subscribe),
        "join" => shaped(fields).map(Ask::Join),
        "credit" => shaped(fields).map(|Credit { events }| Ask::Credit(events)),
        "ack" => shaped(fields).map(Ask::Ack),
        "nack" => shaped(fields).map(Ask::Nack),
        "extend" => shaped(fields).map(Ask::Extend),
        "unsubscribe" => shaped(fields).map(|Nothing {}| Ask::Unsubscribe),
        _ => Err(wrong(
            "op",
            format!(
                "there is no `{}`; there are subscribe, join, credit, ack, nack, extend, read, unsubscribe and ping",
                op.escape_debug()
            ),
        )),
    }
}

fn shaped<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Problem> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { "message".to_owned() } else { path };
        wrong(&at, cause(error.inner()))
    })
}

/// One mistake of a message, told in words too.
pub(super) fn wrong(at: &str, message: impl Into<String>) -> Problem {
    let message = message.into();
    Problem::new(Code::InvalidArgument, format!("{at}: {message}")).with(at, message)
}

impl About {
    /// An answer, with what it is about.
    fn answer(&self, op: &str, more: Value) -> Bytes {
        let mut fields = Map::from_iter([("op".to_owned(), op.into())]);
        fields.extend(self.id.clone().map(|id| ("id".to_owned(), id.into())));
        fields.extend(self.mark.clone().map(|mark| ("ref".to_owned(), mark)));
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        Value::Object(fields).to_string().into()
    }

    /// `next` is `nextOffset` or `nextPosition`.
    pub(super) fn subscribed(&self, next: &str, place: u64) -> Bytes {
        self.answer("subscribed", json!({ next: place }))
    }

    pub(super) fn joined(&self, session: &str) -> Bytes {
        self.answer("joined", json!({ "session": session }))
    }

    pub(super) fn settled(&self, settled: &[Settled]) -> Bytes {
        self.answer("settled", json!({ "outcomes": words(settled) }))
    }

    pub(super) fn unsubscribed(&self) -> Bytes {
        self.answer("unsubscribed", Value::Null)
    }

    /// It survives a power cut that the events were read.
    pub(super) fn noted(&self) -> Bytes {
        self.answer("noted", Value::Null)
    }

    pub(super) fn pong(&self) -> Bytes {
        self.answer("pong", Value::Null)
    }

    pub(super) fn error(&self, problem: &Problem) -> Bytes {
        let details: Vec<Value> = problem.details.iter().map(problem::detail).collect();
        let code = problem.code.as_str();
        self.answer("error", json!({ "code": code, "message": problem.message, "details": details }))
    }
}

fn event_head(id: &str, room: usize) -> Vec<u8> {
    let head = json!({ "op": "event", "id": id }).to_string();
    let mut out = Vec::with_capacity(head.len() + 16 + room * 2);
    out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
    out.push(b',');
    out
}

pub(super) fn event(id: &str, event: &Event) -> Bytes {
    let mut out = event_head(id, event.raw().len());
    out.extend_from_slice(b"\"event\":");
    event_out::write(&mut out, event);
    out.push(b'}');
    out.into()
}

pub(super) fn handed(id: &str, handing: &Handing) -> Bytes {
    let mut out = event_head(id, handing.event.raw().len() + 64);
    delivery(&mut out, handing);
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_says_what_it_is_about() {
        let at = |text: &str| {
            let (about, ask) = read(text.as_bytes());
            let problem = ask.unwrap_err();
            (about.id, problem.code, problem.details.into_iter().map(|detail| detail.at).collect::<String>())
        };
        let wrong = |id: Option<&str>, at: &str| (id.map(str::to_owned), Code::InvalidArgument, at.to_owned());
        for broken in ["", "7", "[]", "{\"op\":\"ping\"", "nonsense"] {
            assert_eq!(at(broken).1, Code::MalformedBody, "{broken}");
        }
        assert_eq!(at("{}"), wrong(None, "op"));
        assert_eq!(at(r#"{"op":"ack"}"#), wrong(None, "id"));
        assert_eq!(at(r#"{"op":"fly","id":"a"}"#), wrong(Some("a"), "op"));
        assert_eq!(at(r#"{"op":"subscribe","id":"a","colour":1}"#), wrong(Some("a"), "colour"));
        assert_eq!(at(r#"{"op":"subscribe","id":"a","from":"x"}"#), wrong(Some("a"), "from"));
        assert_eq!(at(r#"{"op":"subscribe","id":"a","types":["t",7]}"#), wrong(Some("a"), "types[1]"));
        assert_eq!(at(r#"{"op":"credit","id":"a","events":-1}"#), wrong(Some("a"), "events"));
        assert_eq!(at(r#"{"op":"ping","id":"a"}"#), wrong(None, "id"));
        assert_eq!(at(r#"{"op":"ping","ref":[]}"#), wrong(None, "ref"));
    }

    #[test]
    fn an_answer_says_what_it_answers() {
        let (about, ask) = read(br#"{"op":"subscribe","id":"a","ref":7,"stream":"s","from":0}"#);
        assert!(matches!(ask, Ok(Ask::Subscribe(Subscribe { from: Some(0), credit: None, raw: false, .. }))));
        let value = |bytes: Bytes| serde_json::from_slice::<Value>(&bytes).unwrap();
        assert_eq!(
            value(about.subscribed("nextOffset", 3)),
            json!({"op": "subscribed", "id": "a", "ref": 7, "nextOffset": 3})
        );
        let problem = wrong("from", "no");
        assert_eq!(
            value(about.error(&problem)),
            json!({
                "op": "error", "id": "a", "ref": 7, "code": "invalid_argument", "message": "from: no",
                "details": [{"at": "from", "message": "no", "facts": {}}],
            })
        );
        assert_eq!(value(About::default().pong()), json!({"op": "pong"}));
    }
}
