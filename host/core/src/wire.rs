//! The encoding of an event, the same in the store and on the wire: the protobuf message
//! `wasmill.v1.Event` (host/server/proto/wasmill/v1/event.proto).
//!
//! A publisher's fields are encoded once, before the event queues for the writer; the writer puts
//! the three fields that it assigns in front of them, which protobuf allows in any order. What a
//! reader gets over gRPC is then a copy of the stored bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};

/// Field numbers of `wasmill.v1.Event`.
pub mod field {
    pub const POSITION: u32 = 1;
    pub const OFFSET: u32 = 2;
    pub const STREAM: u32 = 3;
    pub const ID: u32 = 4;
    pub const TYPE: u32 = 5;
    pub const SCHEMA_VERSION: u32 = 6;
    pub const KEY: u32 = 7;
    pub const TIME_US: u32 = 8;
    pub const RECORDED_AT_US: u32 = 9;
    pub const CONTENT_TYPE: u32 = 10;
    pub const DATA: u32 = 11;
    pub const TAGS: u32 = 12;
    pub const HEADERS: u32 = 13;
    pub const WORKFLOW_ID: u32 = 14;
    pub const CORRELATION_ID: u32 = 15;
    pub const CAUSATION_ID: u32 = 16;
    pub const TRACEPARENT: u32 = 17;
    /// Never stored: why an event that is read could not be lifted.
    pub const UPCAST_ERROR: u32 = 18;
}

/// Bytes that are not the encoding of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded event: {0}")]
pub struct WireError(pub &'static str);

/// A range of an event's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// One field as it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    Number(u64),
    Bytes(Span),
}

/// Walks the fields of a message.
#[derive(Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut rest = &self.bytes[self.at..];
        let before = rest.len();
        let value = decode_varint(&mut rest).map_err(|_| WireError("a broken number"))?;
        self.at += before - rest.len();
        Ok(value)
    }

    /// The next field, or `None` at the end. Fields of other wire types than numbers and bytes are
    /// not used by this message and are an error.
    pub fn next_field(&mut self) -> Result<Option<(u32, Value)>, WireError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError("a field number too large"))?;
        match key & 7 {
            0 => Ok(Some((number, Value::Number(self.varint()?)))),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
                let end = end.ok_or(WireError("a field runs past the end"))?;
                let span = Span { start: narrow(self.at)?, end: narrow(end)? };
                self.at = end;
                Ok(Some((number, Value::Bytes(span))))
            }
            _ => Err(WireError("an unknown wire type")),
        }
    }
}

fn narrow(at: usize) -> Result<u32, WireError> {
    u32::try_from(at).map_err(|_| WireError("longer than 4 GiB"))
}

pub fn put_number(out: &mut BytesMut, number: u32, value: u64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

pub fn put_bytes(out: &mut BytesMut, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.put_slice(value);
}

/// An entry of `map<string, string>`.
pub fn put_entry(out: &mut BytesMut, number: u32, name: &str, value: &str) {
    let mut entry = BytesMut::with_capacity(name.len() + value.len() + 8);
    put_bytes(&mut entry, 1, name.as_bytes());
    put_bytes(&mut entry, 2, value.as_bytes());
    put_bytes(out, number, &entry);
}

/// Appends `message` to a run of messages: field 1, length-delimited. A run is thus the encoding of
/// any response whose field 1 is `repeated Event events`.
pub fn put_in_run(run: &mut BytesMut, head: &[u8], body: &[u8]) {
    encode_key(1, WireType::LengthDelimited, run);
    encode_varint((head.len() + body.len()) as u64, run);
    run.put_slice(head);
    run.put_slice(body);
}

/// What a message of `length` bytes takes in a run.
pub fn framed_len(length: usize) -> usize {
    key_len(1) + encoded_len_varint(length as u64) + length
}

/// Splits the next message off a run; it shares the run's memory.
pub fn take_from_run(run: &mut Bytes) -> Result<Option<Bytes>, WireError> {
    if run.is_empty() {
        return Ok(None);
    }
    let key = decode_varint(run).map_err(|_| WireError("a broken key in a run"))?;
    if key != (1 << 3 | 2) {
        return Err(WireError("a run holds something else than events"));
    }
    let length = decode_varint(run).map_err(|_| WireError("a broken length in a run"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > run.remaining() {
        return Err(WireError("a run ends inside an event"));
    }
    Ok(Some(run.split_to(length)))
}
