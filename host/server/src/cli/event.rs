//! An event as the command line shows it: the JSON that HTTP gives, or one line of text.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use wasmill_core::event::Event;

use super::exit::Failure;
use super::output::Show;
use super::table::rfc3339_ms;
use crate::http::event_out;
use crate::wire;

/// What is shown of the data in a line of text: enough to recognise the event.
const TEXT_DATA_CHARS_MAX: usize = 160;

/// An event of the log. What it prints as JSON can be published again.
#[derive(Debug)]
pub(crate) struct Shown(Event);

impl Shown {
    pub(crate) fn decode(event: wire::Event) -> Result<Self, Failure> {
        event.into_event().map(Self).map_err(|error| {
            Failure::failed("malformed_answer", format!("the host's answer holds something else than events: {error}"))
        })
    }

    pub(crate) fn position(&self) -> u64 {
        self.0.position().0
    }

    pub(crate) fn stream(&self) -> &str {
        self.0.stream()
    }

    pub(crate) fn event_type(&self) -> &str {
        self.0.event_type()
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.0.key()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.0.offset().0
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = Vec::with_capacity(self.0.raw().len() * 2);
        event_out::write(&mut json, &self.0);
        // A host has checked that data which is called JSON is JSON; this one may be another host.
        let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
        RawValue::from_string(json).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl Show for Shown {
    fn to_text(&self) -> String {
        let data = one_line(self.0.data());
        let (time, stream, event_type) = (rfc3339_ms(self.0.time().0), self.0.stream(), self.0.event_type());
        let line = format!("{:>8}  {time}  {stream}/{}  {event_type}  {data}", self.position(), self.offset());
        match self.0.upcast_error() {
            None => line,
            Some(why) => format!("{line}  (not lifted: {})", one_line(why.as_bytes())),
        }
    }
}

/// The beginning of some text, on one line and without what could steer a terminal; of other data the size.
fn one_line(data: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(data) else { return format!("({} bytes)", data.len()) };
    let mut line: String =
        text.chars().take(TEXT_DATA_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use wasmill_core::clock::Timestamp;
    use wasmill_core::event::{NewEvent, Offset, Position, PreparedEvent, decode_run};
    use wasmill_core::name::StreamName;

    fn shown(data: Vec<u8>) -> Shown {
        let event = NewEvent { event_type: "t".into(), data: Bytes::from(data), ..NewEvent::default() };
        let prepared = PreparedEvent::encode(&event, &StreamName::from_stored("s-1"), Timestamp(1_500_000));
        let (mut run, mut events) = (BytesMut::new(), Vec::new());
        prepared.place(&mut run, Position(7), Offset(2), Timestamp(2_000_000));
        decode_run(run.freeze(), &mut events).unwrap();
        Shown(events.remove(0))
    }

    #[test]
    fn json_data_is_shown_as_it_was_written() {
        let json = serde_json::to_string(&shown(br#"{"b": 1.50, "a":[]}"#.to_vec())).unwrap();
        assert!(json.starts_with(r#"{"position":7,"offset":2,"stream":"s-1","#), "{json}");
        assert!(json.contains(r#""data":{"b": 1.50, "a":[]}"#) && json.contains("1970-01-01T00:00:01.5Z"), "{json}");
    }

    #[test]
    fn an_event_is_one_short_line_whatever_its_data() {
        let texts =
            [&b"{\n\"a\":\r\n1}"[..], b"\"\x1b[2J\"", b"\0\xff\n", b""].map(|data| shown(data.to_vec()).to_text());
        assert!(texts.iter().all(|text| !text.contains(char::is_control)), "{texts:?}");
        assert!(shown(vec![b'1'; 10_000]).to_text().len() < 300);
    }

    #[test]
    fn data_that_a_host_calls_json_and_is_not_is_an_error_and_no_panic() {
        assert!(serde_json::to_string(&shown(b"{".to_vec())).is_err());
    }
}
