//! Events: what a publisher hands in, and what the log holds.

use std::fmt;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::name::StreamName;
use crate::wire::{self, Fields, Span, Value, WireError, field};

/// Place in the whole log, from 0, assigned without gaps in commit order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Place in a stream, from 0, assigned without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// JSON is what nearly every event is: it is not stored with each of them.
pub const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// An event as a publisher hands it in, not yet checked (see [`crate::log::publish`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// Identifies the event for ever; a second append of the same id is answered with the first.
    pub id: Uuid,
    pub event_type: String,
    /// From 1; 0 means 1.
    pub schema_version: u32,
    /// Orders events across workers; `None` stands for the stream's name.
    pub key: Option<String>,
    /// When it happened; `None` stands for the time at which the host takes it.
    pub time: Option<Timestamp>,
    /// `None` stands for [`DEFAULT_CONTENT_TYPE`].
    pub content_type: Option<String>,
    pub data: Bytes,
    pub tags: Vec<String>,
    pub headers: Vec<(String, String)>,
    pub origin: Origin,
}

/// What ties an event to the work that it belongs to. Whatever an event causes carries these on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub workflow_id: Option<String>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Origin {
    /// The origin of something that `cause` brought about.
    pub fn caused_by(cause: &Event) -> Self {
        let inherited = cause.origin();
        Self { causation_id: Some(cause.id().to_string()), ..inherited }
    }

    /// Fills what is missing from the origin of what caused this.
    pub fn inherit(&mut self, from: Origin) {
        self.workflow_id = self.workflow_id.take().or(from.workflow_id);
        self.correlation_id = self.correlation_id.take().or(from.correlation_id);
        self.traceparent = self.traceparent.take().or(from.traceparent);
    }
}

/// A checked event on its way to the writer: everything that does not depend on its place, encoded.
#[derive(Clone, Debug)]
pub struct PreparedEvent {
    pub id: Uuid,
    pub body: Bytes,
}

impl PreparedEvent {
    /// Encodes `event` for `stream`. `now` stands in for a missing time.
    pub fn encode(event: &NewEvent, stream: &StreamName, now: Timestamp) -> Self {
        let mut out = BytesMut::with_capacity(160 + stream.as_str().len() + event.data.len());
        wire::put_bytes(&mut out, field::STREAM, stream.as_str().as_bytes());
        let mut id = Uuid::encode_buffer();
        wire::put_bytes(&mut out, field::ID, event.id.as_hyphenated().encode_lower(&mut id).as_bytes());
        wire::put_bytes(&mut out, field::TYPE, event.event_type.as_bytes());
        wire::put_number(&mut out, field::SCHEMA_VERSION, u64::from(event.schema_version.max(1)));
        wire::put_number(&mut out, field::TIME_US, event.time.unwrap_or(now).0 as u64);
        let mut text = |number, value: &Option<String>| {
            if let Some(value) = value {
                wire::put_bytes(&mut out, number, value.as_bytes());
            }
        };
        text(field::KEY, &event.key);
        text(field::WORKFLOW_ID, &event.origin.workflow_id);
        text(field::CORRELATION_ID, &event.origin.correlation_id);
        text(field::CAUSATION_ID, &event.origin.causation_id);
        text(field::TRACEPARENT, &event.origin.traceparent);
        if let Some(content_type) = event.content_type.as_ref().filter(|c| *c != DEFAULT_CONTENT_TYPE) {
            wire::put_bytes(&mut out, field::CONTENT_TYPE, content_type.as_bytes());
        }
        for tag in &event.tags {
            wire::put_bytes(&mut out, field::TAGS, tag.as_bytes());
        }
        for (name, value) in &event.headers {
            wire::put_entry(&mut out, field::HEADERS, name, value);
        }
        wire::put_bytes(&mut out, field::DATA, &event.data);
        Self { id: event.id, body: out.freeze() }
    }

    /// Puts the assigned fields in front of the body and adds the event to a run.
    pub fn place(&self, run: &mut BytesMut, position: Position, offset: Offset, recorded_at: Timestamp) {
        let mut head = BytesMut::with_capacity(33);
        wire::put_number(&mut head, field::POSITION, position.0);
        wire::put_number(&mut head, field::OFFSET, offset.0);
        wire::put_number(&mut head, field::RECORDED_AT_US, recorded_at.0 as u64);
        wire::put_in_run(run, &head, &self.body);
    }

    /// The event as it would be read at the start of the log: for comparing contents.
    pub fn view(&self) -> Result<Event, WireError> {
        Event::decode(self.body.clone())
    }
}

/// An event of the log: its encoding, and an index into it. Cloning shares the bytes.
#[derive(Clone)]
pub struct Event {
    raw: Bytes,
    position: Position,
    offset: Offset,
    id: Uuid,
    time: Timestamp,
    recorded_at: Timestamp,
    schema_version: u32,
    stream: Span,
    event_type: Span,
    key: Option<Span>,
    correlation_id: Option<Span>,
    data: Span,
}

impl Event {
    /// Reads the index of an encoded event. Every text is checked to be UTF-8 here, once.
    pub fn decode(raw: Bytes) -> Result<Self, WireError> {
        let mut event = Self {
            raw: Bytes::new(),
            position: Position(0),
            offset: Offset(0),
            id: Uuid::nil(),
            time: Timestamp(0),
            recorded_at: Timestamp(0),
            schema_version: 1,
            stream: Span::default(),
            event_type: Span::default(),
            key: None,
            correlation_id: None,
            data: Span::default(),
        };
        let mut fields = Fields::new(&raw);
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (field::POSITION, Value::Number(n)) => event.position = Position(n),
                (field::OFFSET, Value::Number(n)) => event.offset = Offset(n),
                (field::TIME_US, Value::Number(n)) => event.time = Timestamp(n as i64),
                (field::RECORDED_AT_US, Value::Number(n)) => event.recorded_at = Timestamp(n as i64),
                (field::SCHEMA_VERSION, Value::Number(n)) => {
                    event.schema_version = u32::try_from(n).map_err(|_| WireError("schema version"))?;
                }
                (field::DATA, Value::Bytes(span)) => event.data = span,
                (field::ID, Value::Bytes(span)) => {
                    event.id = Uuid::try_parse_ascii(span.of(&raw)).map_err(|_| WireError("event id"))?;
                }
                (number, Value::Bytes(span)) => {
                    if number != field::HEADERS {
                        std::str::from_utf8(span.of(&raw)).map_err(|_| WireError("text is not UTF-8"))?;
                    }
                    match number {
                        field::STREAM => event.stream = span,
                        field::TYPE => event.event_type = span,
                        field::KEY => event.key = Some(span),
                        field::CORRELATION_ID => event.correlation_id = Some(span),
                        _ => {}
                    }
                }
                (_, Value::Number(_)) => {}
            }
        }
        event.raw = raw;
        Ok(event)
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(span.of(&self.raw)).expect("texts are checked in `decode`")
    }

    /// The whole encoding, as gRPC readers get it.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub fn position(&self) -> Position {
        self.position
    }

    pub fn offset(&self) -> Offset {
        self.offset
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The publisher's time.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The host's time, non-decreasing with position.
    pub fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    pub fn schema_version(&self) -> u32 {
        self.schema_version
    }

    pub fn stream(&self) -> &str {
        self.text(self.stream)
    }

    pub fn event_type(&self) -> &str {
        self.text(self.event_type)
    }

    pub fn key(&self) -> Option<&str> {
        self.key.map(|span| self.text(span))
    }

    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.map(|span| self.text(span))
    }

    pub fn data(&self) -> &[u8] {
        self.data.of(&self.raw)
    }

    pub fn content_type(&self) -> &str {
        self.find(field::CONTENT_TYPE).unwrap_or(DEFAULT_CONTENT_TYPE)
    }

    pub fn origin(&self) -> Origin {
        let owned = |number| self.find(number).map(str::to_owned);
        Origin {
            workflow_id: owned(field::WORKFLOW_ID),
            correlation_id: self.correlation_id().map(str::to_owned),
            causation_id: owned(field::CAUSATION_ID),
            traceparent: owned(field::TRACEPARENT),
        }
    }

    pub fn tags(&self) -> Vec<&str> {
        self.spans(field::TAGS).map(|span| self.text(span)).collect()
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        self.spans(field::TAGS).any(|span| span.of(&self.raw) == tag.as_bytes())
    }

    /// Its content once more, as a publisher would hand it in.
    pub fn to_new(&self) -> NewEvent {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        NewEvent {
            id: self.id,
            event_type: self.event_type().into(),
            schema_version: self.schema_version,
            key: self.key().map(str::to_owned),
            time: Some(self.time),
            content_type: Some(self.content_type().to_owned()),
            data: self.raw.slice_ref(self.data()),
            tags: self.tags().into_iter().map(str::to_owned).collect(),
            headers: self.headers().into_iter().map(owned).collect(),
            origin: self.origin(),
        }
    }

    /// The same event in another version.
    pub(crate) fn lifted(&self, event_type: &str, schema_version: u32, data: &[u8]) -> Result<Self, WireError> {
        let mut out = self.without(&[field::TYPE, field::SCHEMA_VERSION, field::DATA], data.len());
        wire::put_bytes(&mut out, field::TYPE, event_type.as_bytes());
        wire::put_number(&mut out, field::SCHEMA_VERSION, u64::from(schema_version));
        wire::put_bytes(&mut out, field::DATA, data);
        Self::decode(out.freeze())
    }

    /// The same event, with a word on why it could not be lifted.
    pub(crate) fn not_lifted(&self, why: &str) -> Self {
        let mut out = self.without(&[field::UPCAST_ERROR], self.data().len() + why.len());
        wire::put_bytes(&mut out, field::UPCAST_ERROR, why.as_bytes());
        Self::decode(out.freeze()).unwrap_or_else(|_| self.clone())
    }

    /// Why it could not be lifted to its newest version. It is as it was published then.
    pub fn upcast_error(&self) -> Option<&str> {
        self.find(field::UPCAST_ERROR)
    }

    /// Its encoding without some fields, in a buffer with room for `more` bytes.
    fn without(&self, left_out: &[u32], more: usize) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.raw.len() - self.data().len() + more + 64);
        let mut fields = Fields::new(&self.raw);
        while let Ok(Some((number, value))) = fields.next_field() {
            match value {
                _ if left_out.contains(&number) => {}
                Value::Number(n) => wire::put_number(&mut out, number, n),
                Value::Bytes(span) => wire::put_bytes(&mut out, number, span.of(&self.raw)),
            }
        }
        out
    }

    /// What it takes in a run: its encoding, and the frame around it.
    pub fn framed_len(&self) -> usize {
        wire::framed_len(self.raw.len())
    }

    /// In the publisher's order.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        self.spans(field::HEADERS).map(|span| self.header(span)).collect()
    }

    fn header(&self, entry: Span) -> (&str, &str) {
        let bytes = entry.of(&self.raw);
        let mut pair = ("", "");
        let mut fields = Fields::new(bytes);
        while let Ok(Some((number, value))) = fields.next_field() {
            if let Value::Bytes(span) = value {
                let text = std::str::from_utf8(span.of(bytes)).unwrap_or_default();
                match number {
                    1 => pair.0 = text,
                    _ => pair.1 = text,
                }
            }
        }
        pair
    }

    /// Rarely read fields are looked for when they are asked for.
    fn find(&self, wanted: u32) -> Option<&str> {
        self.spans(wanted).next().map(|span| self.text(span))
    }

    fn spans(&self, wanted: u32) -> impl Iterator<Item = Span> {
        let mut fields = Fields::new(&self.raw);
        std::iter::from_fn(move || {
            loop {
                match fields.next_field() {
                    Ok(Some((number, Value::Bytes(span)))) if number == wanted => return Some(span),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return None,
                }
            }
        })
    }

    /// Whether both say the same of the world: everything a publisher chose but the time, which the
    /// host fills in when it is missing, and the origin, which may have been inherited.
    pub fn same_content(&self, other: &Event) -> bool {
        self.stream() == other.stream()
            && self.event_type() == other.event_type()
            && self.schema_version == other.schema_version
            && self.key() == other.key()
            && self.content_type() == other.content_type()
            && self.data() == other.data()
            && self.tags() == other.tags()
            && self.headers() == other.headers()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Event({} {}/{} {} v{}, {} bytes)",
            self.position,
            self.stream(),
            self.offset,
            self.event_type(),
            self.schema_version,
            self.data().len()
        )
    }
}

/// Events of one stream that were appended together, as they are stored: a run of encoded events.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub stream: StreamName,
    pub first_position: Position,
    pub first_offset: Offset,
    pub count: u32,
    pub recorded_at: Timestamp,
    pub run: Bytes,
    /// The same events, decoded; they share the run's memory.
    pub events: Vec<Event>,
}

/// Decodes a run of events onto the end of `events`.
pub fn decode_run(mut run: Bytes, events: &mut Vec<Event>) -> Result<(), WireError> {
    while let Some(raw) = wire::take_from_run(&mut run)? {
        events.push(Event::decode(raw)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NewEvent {
        NewEvent {
            id: Uuid::from_u128(7),
            event_type: "order.placed".into(),
            schema_version: 2,
            key: Some("k".into()),
            time: Some(Timestamp(5)),
            content_type: Some("text/plain".into()),
            data: Bytes::from_static(b"\0\xffraw"),
            tags: vec!["a:1".into(), "b".into()],
            headers: vec![("x".into(), "1".into()), ("y".into(), String::new())],
            origin: Origin { workflow_id: Some("w".into()), correlation_id: Some("c".into()), ..Origin::default() },
        }
    }

    #[test]
    fn a_placed_event_reads_back_whole() {
        let prepared = PreparedEvent::encode(&sample(), &StreamName::from_stored("order-1"), Timestamp(9));
        let mut run = BytesMut::new();
        prepared.place(&mut run, Position(u64::MAX >> 11), Offset(3), Timestamp(11));
        prepared.place(&mut run, Position(1), Offset(4), Timestamp(12));
        let mut events = Vec::new();
        decode_run(run.freeze(), &mut events).unwrap();
        let event = &events[0];
        assert_eq!((event.position().0, event.offset().0), ((1 << 53) - 1, 3));
        assert_eq!((event.time(), event.recorded_at()), (Timestamp(5), Timestamp(11)));
        assert_eq!((event.stream(), event.event_type(), event.schema_version()), ("order-1", "order.placed", 2));
        assert_eq!((event.id(), event.key(), event.data()), (Uuid::from_u128(7), Some("k"), &b"\0\xffraw"[..]));
        assert_eq!(event.tags(), ["a:1", "b"]);
        assert_eq!(event.headers(), [("x", "1"), ("y", "")]);
        assert_eq!(event.content_type(), "text/plain");
        assert_eq!(event.origin(), sample().origin);
        assert!(event.same_content(&events[1]) && event.same_content(&prepared.view().unwrap()));
    }

    #[test]
    fn a_lifted_event_keeps_all_but_type_version_and_data() {
        let before = PreparedEvent::encode(&sample(), &StreamName::from_stored("s"), Timestamp(9)).view().unwrap();
        let after = before.lifted("order.made", 3, b"{}").unwrap();
        assert_eq!((after.event_type(), after.schema_version(), after.data()), ("order.made", 3, &b"{}"[..]));
        let back = after.lifted("order.placed", 2, before.data()).unwrap();
        assert!(back.same_content(&before) && back.origin() == before.origin() && back.id() == before.id());
        let failed = before.not_lifted("too old").not_lifted("too new");
        assert_eq!(failed.upcast_error(), Some("too new"));
        assert!(failed.same_content(&before) && before.upcast_error().is_none());
    }

    #[test]
    fn broken_bytes_are_refused_and_never_panic() {
        let prepared = PreparedEvent::encode(&sample(), &StreamName::from_stored("s"), Timestamp(0));
        for cut in 0..prepared.body.len() {
            let _ = Event::decode(prepared.body.slice(..cut));
            let mut flipped = prepared.body.to_vec();
            flipped[cut] ^= 0x55;
            if let Ok(event) = Event::decode(flipped.into()) {
                let _ = (event.tags(), event.headers(), event.origin(), event.content_type());
            }
        }
        assert!(Event::decode(Bytes::from_static(&[0x1a, 0x05, b'x'])).is_err());
    }
}
