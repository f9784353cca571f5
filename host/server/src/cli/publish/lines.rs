//! One line of JSON, one event. Pure, but for the source that it reads.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::proto::{Message, NewEvent};
use wasmill_core::limits::publish::APPEND_BYTES_MAX;

/// An event of 1 MiB may need six characters for a byte; nothing that a host takes is longer.
const LINE_BYTES_MAX: usize = 8 * APPEND_BYTES_MAX;

/// A line as it is written. What `wasmill read --output json` prints can be published elsewhere, so
/// what a host assigns is read over; any other unknown name is an error, since it may be a misspelt one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line<'a> {
    stream: Option<String>,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    /// Instead of `data`, for what is not JSON.
    #[serde(borrow)]
    data_base64: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    key: Option<String>,
    schema_version: Option<u32>,
    content_type: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    workflow_id: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    traceparent: Option<String>,
    /// Of a queue's message alone, as the next one.
    delay_ms: Option<u64>,
    time_to_live_ms: Option<u64>,
    priority: Option<u32>,
    #[serde(default, rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(default, rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(default, rename = "recordedAt")]
    _recorded_at: Option<IgnoredAny>,
    #[serde(default, rename = "upcastError")]
    _upcast_error: Option<IgnoredAny>,
}

/// Text of which it can be said where in the line it stands: without escapes it is a piece of the line.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// Counted in bytes from 1; with escapes the line's own beginning.
    fn column(&self, line: &str) -> usize {
        match self.0 {
            Cow::Borrowed(text) => text.as_ptr() as usize - line.as_ptr() as usize + 1,
            Cow::Owned(_) => 1,
        }
    }
}

/// `"data": null` is the JSON value null, not a missing field.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// An event, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    pub line: u64,
    pub stream: String,
    pub event: NewEvent,
}

/// A line that is not an event. Columns count bytes from 1, as editors do for plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub line: u64,
    pub column: usize,
    pub why: String,
    /// Whether it is the source that fails and not its text.
    pub unreadable: bool,
}

impl Malformed {
    fn text(line: u64, column: usize, why: impl Into<String>) -> Self {
        Self { line, column, why: why.into(), unreadable: false }
    }

    pub(crate) fn unreadable(line: u64, error: &io::Error) -> Self {
        Self { line, column: 1, why: format!("cannot be read: {error}"), unreadable: true }
    }
}

/// Walks the lines of a source.
pub(crate) struct Lines<R> {
    source: BufReader<R>,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source: BufReader::with_capacity(1 << 16, source), line: 0, buffer: Vec::new() }
    }

    /// Whether the next line is here already. If not, reading may wait for whoever writes it.
    pub(crate) fn next_is_here(&self) -> bool {
        self.source.buffer().contains(&b'\n')
    }

    /// The next event; blank lines are passed over.
    pub(crate) fn next_event(&mut self) -> Result<Option<Parsed>, Malformed> {
        self.next_line(event)
    }

    /// The next message of a queue, whose stream need not be said.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, Malformed> {
        self.next_line(message)
    }

    fn next_line<T>(&mut self, parse: fn(&str, u64) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        loop {
            self.buffer.clear();
            self.line += 1;
            if self.read_line()? == 0 {
                return Ok(None);
            }
            let text = std::str::from_utf8(&self.buffer)
                .map_err(|error| Malformed::text(self.line, error.valid_up_to() + 1, "not UTF-8"))?;
            let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
            if !text.trim().is_empty() {
                return parse(text, self.line).map(Some);
            }
        }
    }

    fn read_line(&mut self) -> Result<usize, Malformed> {
        let mut limited = Read::take(&mut self.source, LINE_BYTES_MAX as u64 + 1);
        let read =
            limited.read_until(b'\n', &mut self.buffer).map_err(|error| Malformed::unreadable(self.line, &error))?;
        if read > LINE_BYTES_MAX {
            let why = format!("longer than {LINE_BYTES_MAX} bytes");
            return Err(Malformed::text(self.line, LINE_BYTES_MAX, why));
        }
        Ok(read)
    }
}

fn event(text: &str, number: u64) -> Result<Parsed, Malformed> {
    let (stream, Message { event, delay_ms, time_to_live_ms, priority }) = parse(text, number)?;
    if delay_ms > 0 || time_to_live_ms > 0 || priority.is_some() {
        let why = "`delayMs`, `timeToLiveMs` and `priority` are for messages of a queue: `wasmill queue put`";
        return Err(Malformed::text(number, 1, why));
    }
    let stream = stream.ok_or_else(|| Malformed::text(number, 1, "missing field `stream`"))?;
    Ok(Parsed { line: number, stream, event: event.unwrap_or_default() })
}

fn message(text: &str, number: u64) -> Result<Message, Malformed> {
    parse(text, number).map(|(_, message)| message)
}

/// The stream, if it is said, and the rest.
fn parse(text: &str, number: u64) -> Result<(Option<String>, Message), Malformed> {
    let text = text.trim_end();
    let start = text.len() - text.trim_start().len();
    if !text[start..].starts_with('{') {
        return Err(Malformed::text(number, start + 1, "not a JSON object: each line is one event"));
    }
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| {
        let why =
            if error.is_eof() { "the object has no end: each line is one event".into() } else { without_place(&error) };
        Malformed::text(number, error.column().max(1), why)
    })?;
    let wrong = |value: &Text<'_>, why: String| Malformed::text(number, value.column(text), why);

    if let Some(id) = &line.id {
        Uuid::try_parse(&id.0).map_err(|error| wrong(id, format!("`id` is not a UUID: {error}")))?;
    }
    let time_us = line.time.as_ref().map(|time| {
        let parsed = time.0.parse::<jiff::Timestamp>().map(|time| time.as_microsecond());
        parsed.map_err(|_| wrong(time, format!("`time` is not RFC 3339: {:?}", time.0)))
    });
    let data = match (line.data, &line.data_base64) {
        (Some(data), None) => data.get().as_bytes().to_vec(),
        (None, Some(data)) => {
            let decoded = BASE64.decode(data.0.as_ref());
            decoded.map_err(|error| wrong(data, format!("`dataBase64` is not base64: {error}")))?
        }
        (None, None) => return Err(Malformed::text(number, 1, "missing field `data`")),
        (Some(_), Some(data)) => return Err(wrong(data, "both `data` and `dataBase64` are given".into())),
    };
    let event = NewEvent {
        id: line.id.map(|id| id.0.into_owned()).unwrap_or_default(),
        r#type: line.event_type,
        schema_version: line.schema_version.unwrap_or_default(),
        key: line.key,
        time_us: time_us.transpose()?,
        content_type: line.content_type.unwrap_or_default(),
        data: data.into(),
        tags: line.tags,
        headers: line.headers.into_iter().collect(),
        workflow_id: line.workflow_id,
        correlation_id: line.correlation_id,
        causation_id: line.causation_id,
        traceparent: line.traceparent,
    };
    let (delay_ms, time_to_live_ms) = (line.delay_ms.unwrap_or(0), line.time_to_live_ms.unwrap_or(0));
    Ok((line.stream, Message { event: Some(event), delay_ms, time_to_live_ms, priority: line.priority }))
}

/// The library ends its sentences with its own line and column, which are said better outside.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(why, _)| why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<Parsed>, Option<Malformed>) {
        let mut lines = Lines::new(text.as_bytes());
        let mut events = Vec::new();
        loop {
            match lines.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, None),
                Err(malformed) => return (events, Some(malformed)),
            }
        }
    }

    fn wrong(text: &str) -> (u64, usize, String) {
        let malformed = all(text).1.expect("it is malformed");
        (malformed.line, malformed.column, malformed.why)
    }

    const GOOD: &str = r#"{"stream":"s","type":"t","data":{"a":1.50}}"#;

    #[test]
    fn data_is_published_byte_for_byte() {
        let line = r#"{"stream":"s","type":"t","key":"k","id":"e87bca84-a79b-5303-a650-073b0837aeb1",
            "time":"2013-01-01T10:17:00.000Z","data": {"a": 1.50, "b" : [ ] } ,"tags":["x"],"headers":{"h":"1"}}"#;
        let (events, malformed) = all(&line.replace('\n', " "));
        assert_eq!(malformed, None);
        let event = &events[0].event;
        assert_eq!(&event.data[..], br#"{"a": 1.50, "b" : [ ] }"#);
        assert_eq!((event.time_us, event.key.as_deref()), (Some(1_357_035_420_000_000), Some("k")));
        assert_eq!((event.tags.len(), event.headers.len()), (1, 1));
    }

    #[test]
    fn blank_lines_carriage_returns_and_a_byte_order_mark_are_passed_over() {
        let (events, malformed) = all(&format!("\u{feff}{GOOD}\r\n\r\n  \n{GOOD}"));
        assert_eq!(malformed, None);
        assert_eq!(events.iter().map(|event| event.line).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn data_may_be_null_or_bytes() {
        let lines = r#"{"stream":"s","type":"t","data":null}
            {"stream":"s","type":"t","contentType":"text/plain","dataBase64":"AP8="}"#;
        let (events, malformed) = all(lines);
        assert_eq!(malformed, None);
        assert_eq!((&events[0].event.data[..], &events[1].event.data[..]), (&b"null"[..], &b"\0\xff"[..]));
    }

    #[test]
    fn what_read_prints_can_be_published() {
        let printed = r#"{"position":7,"offset":1,"recordedAt":"2020-01-01T00:00:00Z","schemaVersion":2,
            "stream":"s","type":"t","data":1}"#;
        assert_eq!(all(&printed.replace('\n', " ")).0[0].event.schema_version, 2);
    }

    #[test]
    fn a_message_needs_no_stream_and_may_say_when() {
        let line = r#"{"type":"t","data":1,"delayMs":5,"timeToLiveMs":7}"#;
        let message = Lines::new(line.as_bytes()).next_message().unwrap().unwrap();
        assert_eq!((message.delay_ms, message.time_to_live_ms), (5, 7));
        assert_eq!(message.event.map(|event| event.r#type).as_deref(), Some("t"));
        assert!(wrong(&line.replace("\"type\"", "\"stream\":\"s\",\"type\"")).2.contains("wasmill queue put"));
    }

    #[test]
    fn a_malformed_line_is_named_with_its_column() {
        assert_eq!(wrong(&format!("{GOOD}\n{{\"stream\":\"s\",}}")), (2, 15, "trailing comma".into()));
        assert_eq!(wrong(&format!("{GOOD}\n\n{}", &GOOD[..20])).0, 3);
        assert_eq!(wrong(r#"{"stream":"s","type":"t"}"#), (1, 1, "missing field `data`".into()));
        let (line, column, why) = wrong(r#"{"stream":"s","type":"t","data":1,"time":"yesterday"}"#);
        assert_eq!((line, column, why.as_str()), (1, 43, "`time` is not RFC 3339: \"yesterday\""));
        let (_, column, why) = wrong(r#"{"stream":"s","type":"t","data":1,"id":"7"}"#);
        assert_eq!((column, why.starts_with("`id` is not a UUID")), (41, true));
        let (_, _, why) = wrong(r#"{"stream":"s","type":"t","data":1,"hearders":{}}"#);
        assert!(why.starts_with("unknown field `hearders`"), "{why}");
        assert_eq!(wrong(r#"{"type":"t","data":1}"#).2, "missing field `stream`");
        let (_, column, why) = wrong(r#"{"stream":"s","type":"t","dataBase64":"AP_"}"#);
        assert_eq!((column, why.starts_with("`dataBase64` is not base64")), (40, true));
        assert_eq!(wrong(" [1]"), (1, 2, "not a JSON object: each line is one event".into()));
        assert_eq!(wrong("{\n  \"stream\": \"s\"\n}"), (1, 1, "the object has no end: each line is one event".into()));
    }

    #[test]
    fn what_has_been_read_is_told_from_what_is_still_to_come() {
        let text = format!("{GOOD}\n{GOOD}\n{GOOD}");
        let mut lines = Lines::new(text.as_bytes());
        assert!(!lines.next_is_here());
        lines.next_event().unwrap();
        assert!(lines.next_is_here());
        lines.next_event().unwrap();
        assert!(!lines.next_is_here() && lines.next_event().unwrap().is_some());
    }

    #[test]
    fn bytes_that_are_not_text_are_named_with_their_column() {
        let mut lines = Lines::new(&b"{\"stream\":\"\xff\"}\n"[..]);
        let malformed = lines.next_event().unwrap_err();
        assert_eq!((malformed.line, malformed.column, malformed.why.as_str()), (1, 12, "not UTF-8"));
    }
}
