//! Events that a group has given up, and why.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::event::{Event, Position};
use crate::wire::WireError;

/// An event that was parked for a group.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub why: Why,
    pub event: Event,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Why {
    pub reason: Reason,
    /// Deliveries that a member refused.
    pub refused: u32,
    /// Deliveries whose member was gone, or too late.
    pub lost: u32,
    /// What the last member said.
    pub error: String,
    /// Who had it last.
    pub member: String,
    pub parked_at_us: i64,
    /// Resets that the group had gone through: those of an earlier life no longer park their key.
    pub resets: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A member has parked it.
    #[default]
    Parked,
    /// It was delivered in vain as often as the group allows.
    MaxDeliveries,
    /// An earlier event of its key is parked.
    Follows,
    /// Its time to live was over.
    Expired,
}

impl Why {
    /// Whether later events of its key follow it, in a group that has gone through so many resets.
    pub(super) fn parks(&self, resets: u64) -> bool {
        self.resets == resets && self.reason != Reason::Expired
    }
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Parked => "parked",
            Reason::MaxDeliveries => "max_deliveries",
            Reason::Follows => "follows",
            Reason::Expired => "expired",
        }
    }
}

impl DeadLetter {
    pub(super) fn encode(&self) -> Bytes {
        let why = serde_json::to_vec(&self.why).expect("it has only texts and numbers");
        let mut out = BytesMut::with_capacity(4 + why.len() + self.event.raw().len());
        out.put_u32_le(u32::try_from(why.len()).expect("an error text is bounded"));
        out.put_slice(&why);
        out.put_slice(self.event.raw());
        out.freeze()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, WireError> {
        let length = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
        let length = length.ok_or(WireError("a dead letter is too short"))?;
        let why = bytes.get(4..4 + length).ok_or(WireError("a dead letter ends within its reason"))?;
        let why = serde_json::from_slice(why).map_err(|_| WireError("a dead letter's reason is no JSON"))?;
        Ok(Self { why, event: Event::decode(bytes.slice(4 + length..))? })
    }

    /// Its place among the documents of the collection.
    pub(super) fn key(group: &str, position: Position) -> String {
        format!("{group}\u{1}{:016x}", position.0)
    }

    pub fn position(&self) -> Position {
        self.event.position()
    }
}
