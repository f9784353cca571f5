//! The JSON protocol of SignalR, as "HubProtocol.md" of ASP.NET Core describes it: messages are JSON objects,
//! each followed by the record separator. Pure: bytes in, messages out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Event;

use crate::http::event_out::{self, Words};

const VERSION: u32 = 1;
/// Ends every message.
pub(super) const SEPARATOR: u8 = 0x1e;
/// A call of ours has a name and a number.
pub(super) const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Cuts what comes in into messages; where a transport cuts it does not matter.
#[derive(Debug, Default)]
pub(super) struct Messages {
    whole: VecDeque<Bytes>,
    rest: BytesMut,
}

impl Messages {
    pub(super) fn add(&mut self, data: &[u8]) -> Result<(), Problem> {
        let mut parts = data.split(|byte| *byte == SEPARATOR).peekable();
        while let Some(part) = parts.next() {
            if self.rest.len() + part.len() > MESSAGE_BYTES_MAX {
                let message = format!("a message here has at most {MESSAGE_BYTES_MAX} bytes");
                return Err(Problem::new(Code::BodyTooLarge, message));
            }
            self.rest.extend_from_slice(part);
            if parts.peek().is_some() {
                self.whole.push_back(self.rest.split().freeze());
            }
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.whole.pop_front()
    }
}

#[derive(Deserialize)]
struct Handshake {
    protocol: String,
    version: u32,
}

/// Checks the first message of a client.
pub(super) fn greeting(message: &[u8]) -> Result<(), Problem> {
    let Handshake { protocol, version } = serde_json::from_slice(message).map_err(|error| {
        let message =
            format!("the first message is no handshake, such as {{\"protocol\":\"json\",\"version\":1}}: {error}");
        Problem::new(Code::MalformedBody, message)
    })?;
    if protocol != "json" {
        let message = format!("the protocol `{}` is not spoken here; `json` is", protocol.escape_debug());
        return Err(Problem::new(Code::InvalidArgument, message));
    }
    // Version 2 adds reconnecting with state. Some clients say 0 for the first version.
    if version > VERSION {
        let message = format!("version {version} of the protocol is not spoken here; {VERSION} is");
        return Err(Problem::new(Code::InvalidArgument, message));
    }
    Ok(())
}

/// A call of the client's.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    /// Without it nobody waits for an answer.
    pub(super) id: Option<String>,
    pub(super) target: String,
    pub(super) arguments: Vec<Value>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Call(Call),
    /// A call that would be answered by a stream, or brings one along.
    Streaming(Option<String>),
    /// The end of a stream that is not there, or one of its items.
    OfStream,
    Ping,
    Close,
    /// Types that later versions of the protocol may bring are skipped.
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(rename = "type")]
    kind: u64,
    invocation_id: Option<String>,
    target: Option<String>,
    arguments: Option<Box<RawValue>>,
    stream_ids: Option<Vec<String>>,
}

pub(super) fn read(message: &[u8]) -> Result<Said, Problem> {
    let malformed = |text: String| Problem::new(Code::MalformedBody, format!("a message cannot be read: {text}"));
    let message: Message = serde_json::from_slice(message).map_err(|error| malformed(error.to_string()))?;
    let Message { kind, invocation_id: id, target, arguments, stream_ids } = message;
    Ok(match kind {
        1 if stream_ids.is_some_and(|ids| !ids.is_empty()) => Said::Streaming(id),
        1 => {
            let target = target.ok_or_else(|| malformed("a call has a target".into()))?;
            // What is wrong with the arguments is the call's failure, not the connection's.
            let arguments = arguments.map_or(Value::Null, |text| {
                serde_json::from_str(text.get()).unwrap_or_else(|error| error.to_string().into())
            });
            let Value::Array(arguments) = arguments else {
                return Err(malformed("the arguments of a call are a list".into()));
            };
            Said::Call(Call { id, target, arguments })
        }
        4 => Said::Streaming(id),
        2 | 3 | 5 => Said::OfStream,
        6 => Said::Ping,
        7 => Said::Close,
        _ => Said::Unknown,
    })
}

pub(super) const GREETED: &[u8] = b"{}\x1e";
pub(super) const PING: &[u8] = b"{\"type\":6}\x1e";

/// How a failure is told in one text.
pub(super) fn in_words(problem: &Problem) -> String {
    format!("{}: {}", problem.code.as_str(), problem.message)
}

fn ended(message: &Value) -> Bytes {
    let mut text = message.to_string().into_bytes();
    text.push(SEPARATOR);
    text.into()
}

pub(super) fn not_greeted(problem: &Problem) -> Bytes {
    ended(&json!({ "error": in_words(problem) }))
}

/// Calls a callback of the client's.
pub(super) fn callback(target: &str, arguments: &Value) -> Bytes {
    ended(&json!({ "type": 1, "target": target, "arguments": arguments }))
}

pub(super) fn completed(id: &str, result: &Value) -> Bytes {
    ended(&json!({ "type": 3, "invocationId": id, "result": result }))
}

pub(super) fn failed(id: &str, problem: &Problem) -> Bytes {
    ended(&json!({ "type": 3, "invocationId": id, "error": in_words(problem) }))
}

/// The last message. One with `come_again` has the client connect anew by itself.
pub(super) fn close(problem: &Problem, come_again: bool) -> Bytes {
    ended(&json!({ "type": 7, "error": in_words(problem), "allowReconnect": come_again }))
}

/// Calls `EventReceived` for each event.
pub(super) fn events(words: &Words, stream: &str, events: &[Event]) -> Bytes {
    let head = format!("{{\"type\":1,\"target\":\"EventReceived\",\"arguments\":[{},", json!(stream));
    let mut out = Vec::with_capacity(events.iter().map(|event| 64 + head.len() + event.raw().len() * 2).sum());
    for event in events {
        out.extend_from_slice(head.as_bytes());
        event_out::write_in(words, &mut out, event);
        out.extend_from_slice(b"]}");
        out.push(SEPARATOR);
    }
    out.into()
}

/// Reminders as calls of `EventUnread`, each with the stream's name and the reminder's data.
pub(super) fn reminders(events: &[Event]) -> Bytes {
    let mut out = Vec::new();
    for event in events {
        // The host has written it.
        let data: Value = serde_json::from_slice(event.data()).unwrap_or_default();
        out.extend_from_slice(&callback("EventUnread", &json!([data["stream"], data])));
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use wasmill_core::clock::Timestamp;
    use wasmill_core::event::{NewEvent, Offset, Position, PreparedEvent, decode_run};
    use wasmill_core::name::StreamName;

    use super::*;
    use crate::http::event_out::CAMEL;

    #[test]
    fn messages_are_found_wherever_they_are_cut() {
        let text = b"{\"a\":1}\x1e{\"b\":2}\x1e{\"c\"";
        for cut in 0..text.len() {
            let mut messages = Messages::default();
            messages.add(&text[..cut]).unwrap();
            messages.add(&text[cut..]).unwrap();
            messages.add(b":3}\x1e").unwrap();
            let found: Vec<Bytes> = std::iter::from_fn(|| messages.next()).collect();
            assert_eq!(found, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"c\":3}"], "{cut}");
        }
        let mut messages = Messages::default();
        messages.add(&vec![b'x'; MESSAGE_BYTES_MAX]).unwrap();
        assert_eq!(messages.add(b"x").unwrap_err().code, Code::BodyTooLarge);
    }

    #[test]
    fn a_handshake_asks_for_json() {
        assert!(greeting(br#"{"protocol":"json","version":1}"#).is_ok());
        let code = |text: &str| greeting(text.as_bytes()).unwrap_err().code;
        assert_eq!(code(r#"{"protocol":"messagepack","version":1}"#), Code::InvalidArgument);
        assert!(greeting(br#"{"protocol":"json","version":0}"#).is_ok(), "signalrcore says 0");
        assert_eq!(code(r#"{"protocol":"json","version":2}"#), Code::InvalidArgument);
        assert_eq!(code(r#"{"type":6}"#), Code::MalformedBody);
    }

    #[test]
    fn every_kind_of_message_is_told_apart() {
        let call = |text: &str| match read(text.as_bytes()).unwrap() {
            Said::Call(call) => (call.id, call.target, call.arguments),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            call(r#"{"type":1,"invocationId":"7","target":"T","arguments":["s",null],"streamIds":[]}"#),
            (Some("7".into()), "T".into(), vec![json!("s"), Value::Null])
        );
        assert_eq!(call(r#"{"type":1,"target":"T","arguments":[],"headers":{}}"#), (None, "T".into(), vec![]));
        let said = |text: &str| read(text.as_bytes()).unwrap();
        assert_eq!(said(r#"{"type":1,"target":"T","arguments":[],"streamIds":["1"]}"#), Said::Streaming(None));
        assert_eq!(
            said(r#"{"type":4,"invocationId":"7","target":"T","arguments":[]}"#),
            Said::Streaming(Some("7".into()))
        );
        assert_eq!(said(r#"{"type":5,"invocationId":"7"}"#), Said::OfStream);
        assert_eq!(said(r#"{"type":6}"#), Said::Ping);
        assert_eq!(said(r#"{"type":7,"error":"bye"}"#), Said::Close);
        assert_eq!(said(r#"{"type":99}"#), Said::Unknown);
        for broken in ["", "[]", "{}", r#"{"type":"1"}"#, r#"{"type":1,"arguments":[]}"#, r#"{"type":1,"target":"T"}"#]
        {
            assert_eq!(read(broken.as_bytes()).unwrap_err().code, Code::MalformedBody, "{broken}");
        }
    }

    #[test]
    fn an_event_is_a_call() {
        let event = NewEvent { event_type: "t".into(), data: Bytes::from_static(b"[1]"), ..NewEvent::default() };
        let prepared = PreparedEvent::encode(&event, &StreamName::from_stored("a\"b"), Timestamp(0));
        let (mut run, mut decoded) = (BytesMut::new(), Vec::new());
        prepared.place(&mut run, Position(7), Offset(3), Timestamp(0));
        decode_run(run.freeze(), &mut decoded).unwrap();
        let text = events(&CAMEL, "a\"b", &[decoded[0].clone(), decoded[0].clone()]);
        let calls: Vec<Value> =
            text.split(|byte| *byte == SEPARATOR).take(2).map(|call| serde_json::from_slice(call).unwrap()).collect();
        assert_eq!(calls[0], calls[1]);
        let call = &calls[0];
        assert_eq!((&call["type"], &call["target"]), (&json!(1), &json!("EventReceived")));
        assert_eq!(call["arguments"][0], json!("a\"b"));
        assert_eq!((&call["arguments"][1]["offset"], &call["arguments"][1]["data"]), (&json!(3), &json!([1])));
    }

    #[test]
    fn failures_are_a_code_and_words() {
        let problem = Problem::new(Code::InvalidName, "no \"name\"");
        let text = failed("3", &problem);
        assert_eq!(text.last(), Some(&SEPARATOR));
        let value: Value = serde_json::from_slice(&text[..text.len() - 1]).unwrap();
        assert_eq!(value, json!({ "type": 3, "invocationId": "3", "error": "invalid_name: no \"name\"" }));
    }
}
