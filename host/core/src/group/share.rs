//! What is stored of a group's progress.
//!
//! The 256 slots of a group are kept in 16 shares, each one document: how far its events were read, and
//! which of those are not settled. A share is leased by one host, and every write of it is guarded by what
//! was there before, so a host that was taken over from can settle nothing any more.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::Position;
use crate::wire::WireError;

/// Slots of a group; a key's events are all of one slot.
pub const SLOTS: usize = 256;
/// Shares of a group: what one host leases, and one document. Sixteen, because an acknowledgement of a
/// hundred events of different keys would otherwise write a hundred documents.
pub const SHARES: usize = 16;

/// Slots are neighbours in a share.
pub fn share_of(slot: u8) -> usize {
    usize::from(slot) / (SLOTS / SHARES)
}

/// FNV-1a, by 64 bits folded: the same in every build, since slots are stored by it.
pub fn slot_of(key: &[u8]) -> u8 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash ^ (hash >> 32) ^ (hash >> 16) ^ (hash >> 8)).to_le_bytes()[0]
}

/// How often an event was handed out in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// A member said no.
    pub refused: u32,
    /// A member was gone, or its time was over.
    pub lost: u32,
    /// It rests until then.
    pub not_before: Timestamp,
}

impl Tries {
    pub fn count(self) -> u32 {
        self.refused.saturating_add(self.lost)
    }
}

/// The durable state of a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The host that leases it; nil when nobody does.
    pub owner: Uuid,
    /// Resets of the group that it has gone through.
    pub resets: u64,
    /// Counts changes by hosts that do not lease it, so that its owner notices each.
    pub edits: u64,
    /// Every event of the share before it was read: it is settled, or pending.
    pub next: Position,
    pub pending: BTreeMap<Position, Tries>,
}

const VERSION: u8 = 1;

impl Share {
    /// Everything of the share before it is settled.
    pub fn floor(&self) -> Position {
        self.pending.keys().next().copied().unwrap_or(self.next)
    }

    /// Makes an event pending again. `false` if it is already, or will be read anyway, as after a reset.
    pub fn takes_back(&mut self, position: Position) -> bool {
        let new = position < self.next && !self.pending.contains_key(&position);
        if new {
            self.pending.insert(position, Tries::default());
        }
        new
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.pending.len() * 4);
        out.put_u8(VERSION);
        out.put_slice(self.owner.as_bytes());
        put_varint(&mut out, self.resets);
        put_varint(&mut out, self.edits);
        put_varint(&mut out, self.next.0);
        put_varint(&mut out, self.pending.len() as u64);
        let mut last = 0;
        for (position, tries) in &self.pending {
            // Most are not tried yet: their low bit spares three zeros.
            let tried = *tries != Tries::default();
            put_varint(&mut out, ((position.0 - last) << 1) | u64::from(tried));
            last = position.0;
            if tried {
                put_varint(&mut out, u64::from(tries.refused));
                put_varint(&mut out, u64::from(tries.lost));
                put_varint(&mut out, tries.not_before.0.max(0).cast_unsigned());
            }
        }
        out.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (version, rest) = bytes.split_first().ok_or(WireError("a share is empty"))?;
        if *version != VERSION {
            return Err(WireError("a share of another version"));
        }
        let (owner, mut rest) = rest.split_at_checked(16).ok_or(WireError("a share ends within its owner"))?;
        let owner = Uuid::from_slice(owner).map_err(|_| WireError("a share's owner is no id"))?;
        let resets = take_varint(&mut rest)?;
        let edits = take_varint(&mut rest)?;
        let next = Position(take_varint(&mut rest)?);
        let mut pending = BTreeMap::new();
        let mut last = 0_u64;
        for _ in 0..take_varint(&mut rest)? {
            let step = take_varint(&mut rest)?;
            last = last.checked_add(step >> 1).ok_or(WireError("a share's positions run over"))?;
            let mut tries = Tries::default();
            if step & 1 == 1 {
                tries.refused = u32::try_from(take_varint(&mut rest)?).unwrap_or(u32::MAX);
                tries.lost = u32::try_from(take_varint(&mut rest)?).unwrap_or(u32::MAX);
                tries.not_before = Timestamp(i64::try_from(take_varint(&mut rest)?).unwrap_or(i64::MAX));
            }
            pending.insert(Position(last), tries);
        }
        if rest.is_empty() {
            Ok(Self { owner, resets, edits, next, pending })
        } else {
            Err(WireError("a share goes on behind its end"))
        }
    }
}

fn put_varint(out: &mut BytesMut, value: u64) {
    prost::encoding::encode_varint(value, out);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    prost::encoding::decode_varint(bytes).map_err(|_| WireError("a share ends within a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_it_was_written() {
        let tries = Tries { refused: 3, lost: 1, not_before: Timestamp(1_700_000_000_000_000) };
        let pending = BTreeMap::from([
            (Position(0), Tries::default()),
            (Position(7), tries),
            (Position(1 << 50), Tries { lost: 1, ..Tries::default() }),
        ]);
        let share = Share { owner: Uuid::from_u128(5), resets: 2, edits: 9, next: Position((1 << 50) + 1), pending };
        let bytes = share.encode();
        assert_eq!(Share::decode(&bytes), Ok(share));
        for end in 0..bytes.len() {
            assert!(Share::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn keys_spread_over_all_slots_and_keep_theirs() {
        let mut slots = [0_u32; SLOTS];
        for n in 0..25_600 {
            slots[usize::from(slot_of(format!("order-{n}").as_bytes()))] += 1;
        }
        let (least, most) = (slots.iter().min(), slots.iter().max());
        assert!(least > Some(&40) && most < Some(&190), "{least:?} to {most:?}");
        assert_eq!((slot_of(b"order-7"), slot_of(b"")), (slot_of(b"order-7"), slot_of(b"")));
        assert_eq!(slot_of(b"a"), 0x2d, "slots are stored: another hash would move every key");
    }
}
