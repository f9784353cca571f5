//! `wasmill.v1.Event` as it travels: the stored bytes, handed on whole.
//!
//! The store keeps events in the encoding of this very message (core's `wire`), so a reader's server
//! copies bytes and allocates nothing for a field; its client gets the same bytes and looks into them
//! through core's [`Event`](wasmill_core::event::Event).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint, skip_field};
use prost::{DecodeError, Message};
use wasmill_core::event::Event as LogEvent;
use wasmill_core::wire::WireError;

/// A varint of 64 bits.
const NUMBER_BYTES_MAX: usize = 10;

/// One encoded event. What is inside is checked by [`Event::into_event`].
#[derive(Clone, Debug, Default)]
pub struct Event {
    raw: Raw,
}

/// Bytes on their way out are whole; bytes that come in are put together field by field.
#[derive(Clone, Debug)]
enum Raw {
    Whole(Bytes),
    Growing(BytesMut),
}

impl Event {
    pub fn raw(&self) -> &[u8] {
        match &self.raw {
            Raw::Whole(bytes) => bytes,
            Raw::Growing(bytes) => bytes,
        }
    }

    /// The event that the bytes stand for.
    pub fn into_event(self) -> Result<LogEvent, WireError> {
        LogEvent::decode(match self.raw {
            Raw::Whole(bytes) => bytes,
            Raw::Growing(bytes) => bytes.freeze(),
        })
    }
}

impl From<&LogEvent> for Event {
    fn from(event: &LogEvent) -> Self {
        Self { raw: Raw::Whole(event.raw().clone()) }
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.raw() == other.raw()
    }
}

impl Default for Raw {
    fn default() -> Self {
        Raw::Whole(Bytes::new())
    }
}

impl Raw {
    fn growing(&mut self) -> &mut BytesMut {
        if let Raw::Whole(bytes) = self {
            *self = Raw::Growing(BytesMut::from(&bytes[..]));
        }
        match self {
            Raw::Growing(bytes) => bytes,
            Raw::Whole(_) => unreachable!("it was made to grow above"),
        }
    }
}

impl Message for Event {
    fn encode_raw(&self, out: &mut impl BufMut) {
        out.put_slice(self.raw());
    }

    fn encoded_len(&self) -> usize {
        self.raw().len()
    }

    fn clear(&mut self) {
        self.raw = Raw::default();
    }

    /// Copies the field as it stands. Wire types that this message does not use are left out, as
    /// protobuf does with fields that it does not know.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match wire_type {
            WireType::Varint => {
                let value = decode_varint(from)?;
                let out = self.raw.growing();
                out.reserve(2 * NUMBER_BYTES_MAX);
                encode_key(tag, wire_type, out);
                encode_varint(value, out);
                Ok(())
            }
            WireType::LengthDelimited => {
                let mut value = Bytes::new();
                prost::encoding::bytes::merge(wire_type, &mut value, from, context)?;
                let out = self.raw.growing();
                out.reserve(2 * NUMBER_BYTES_MAX + value.len());
                encode_key(tag, wire_type, out);
                encode_varint(value.len() as u64, out);
                out.put(value);
                Ok(())
            }
            WireType::StartGroup | WireType::EndGroup | WireType::ThirtyTwoBit | WireType::SixtyFourBit => {
                skip_field(wire_type, tag, from, context)
            }
        }
    }
}
