//! Receipts of one consumer for 64 neighbouring events of a stream: one document.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::clock::Timestamp;
use crate::event::Offset;
use crate::wire::WireError;

/// Events of a block.
pub(super) const EVENTS: u64 = 64;

/// The number of the block that has an event's receipt.
pub(super) fn block_of(offset: Offset) -> u64 {
    offset.0 / EVENTS
}

/// What is known of one event and one consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) delivered_at: Option<Timestamp>,
    pub(super) read_at: Option<Timestamp>,
    pub(super) reminders: u32,
    /// Nothing more happens about it: it was reminded of often enough, or is a dead letter.
    pub(super) given_up: bool,
    pub(super) dead_letter: bool,
    /// Of the last reminder.
    pub(super) reminded_at: Option<Timestamp>,
}

impl Entry {
    /// The latest of what has happened.
    fn touched_at(&self) -> Timestamp {
        self.delivered_at.max(self.read_at).max(self.reminded_at).unwrap_or_default()
    }

    /// Since when it waits to be read; `None` if it does not.
    pub(super) fn waits_since(&self) -> Option<Timestamp> {
        if self.read_at.is_some() || self.given_up { None } else { self.reminded_at.or(self.delivered_at) }
    }
}

/// What is said of an event: it was delivered or read, at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Delivered,
    /// Whoever has read it has got it.
    Read,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// When its timer is due.
    pub(super) timer: Option<Timestamp>,
    /// By what the offset is beyond the block's first.
    pub(super) entries: BTreeMap<u8, Entry>,
}

/// What a mark has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) delivered: bool,
    pub(super) read: bool,
}

impl Block {
    /// Notes a mark. The first of a kind holds.
    pub(super) fn mark(&mut self, offset: Offset, mark: Mark, at: Timestamp) -> Marked {
        let entry = self.entries.entry((offset.0 % EVENTS) as u8).or_default();
        let marked =
            Marked { delivered: entry.delivered_at.is_none(), read: mark == Mark::Read && entry.read_at.is_none() };
        entry.delivered_at.get_or_insert(at);
        if mark == Mark::Read {
            entry.read_at.get_or_insert(at);
        }
        marked
    }

    /// When something is to be done about it: an event waits too long, or all of it is old.
    pub(super) fn due(&self, unread_after_us: Option<i64>, keep_us: i64) -> Option<Timestamp> {
        let later = |at: Timestamp, us: i64| Timestamp(at.0.saturating_add(us));
        let unread = unread_after_us.and_then(|us| {
            let waiting = self.entries.values().filter_map(Entry::waits_since);
            waiting.min().map(|since| later(since, us))
        });
        let old = self.entries.values().map(|entry| later(entry.touched_at(), keep_us)).min();
        unread.into_iter().chain(old).min()
    }

    /// Forgets what is older than it is kept.
    pub(super) fn forget(&mut self, keep_us: i64, now: Timestamp) {
        self.entries.retain(|_, entry| entry.touched_at().0.saturating_add(keep_us) > now.0);
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.entries.len() * 16);
        out.put_u8(VERSION);
        put_time(&mut out, self.timer);
        for (low, entry) in &self.entries {
            out.put_u8(*low);
            // Times after the first are told from it: they are near.
            let base = entry.delivered_at;
            put_time(&mut out, base);
            put_after(&mut out, base, entry.read_at);
            put_after(&mut out, base, entry.reminded_at);
            let flags = u64::from(entry.given_up) | u64::from(entry.dead_letter) << 1;
            prost::encoding::encode_varint(u64::from(entry.reminders) << 2 | flags, &mut out);
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (version, mut rest) = bytes.split_first().ok_or(WireError("a block of receipts is empty"))?;
        if *version != VERSION {
            return Err(WireError("a block of receipts of another version"));
        }
        let mut block = Self { timer: take_time(&mut rest)?, entries: BTreeMap::new() };
        while let Some((low, behind)) = rest.split_first() {
            rest = behind;
            let base = take_time(&mut rest)?;
            let read_at = take_after(&mut rest, base)?;
            let reminded_at = take_after(&mut rest, base)?;
            let last = take(&mut rest)?;
            let reminders = u32::try_from(last >> 2).unwrap_or(u32::MAX);
            let (given_up, dead_letter) = (last & 1 == 1, last & 2 == 2);
            let entry = Entry { delivered_at: base, read_at, reminders, given_up, dead_letter, reminded_at };
            block.entries.insert(*low, entry);
        }
        Ok(block)
    }
}

const VERSION: u8 = 1;

/// 0 is none: nothing was recorded in 1970.
fn put_time(out: &mut BytesMut, time: Option<Timestamp>) {
    prost::encoding::encode_varint(time.map_or(0, |time| time.0.max(1).cast_unsigned()), out);
}

fn put_after(out: &mut BytesMut, base: Option<Timestamp>, time: Option<Timestamp>) {
    let base = base.unwrap_or_default().0;
    prost::encoding::encode_varint(time.map_or(0, |time| (time.0 - base).max(0).cast_unsigned() + 1), out);
}

fn take(bytes: &mut &[u8]) -> Result<u64, WireError> {
    prost::encoding::decode_varint(bytes).map_err(|_| WireError("a block of receipts ends within a number"))
}

fn take_time(bytes: &mut &[u8]) -> Result<Option<Timestamp>, WireError> {
    let us = i64::try_from(take(bytes)?).map_err(|_| WireError("a receipt's time"))?;
    Ok((us > 0).then_some(Timestamp(us)))
}

fn take_after(bytes: &mut &[u8], base: Option<Timestamp>) -> Result<Option<Timestamp>, WireError> {
    let Some(us) = take(bytes)?.checked_sub(1) else { return Ok(None) };
    let us = i64::try_from(us).map_err(|_| WireError("a receipt's time"))?;
    Ok(Some(Timestamp(base.unwrap_or_default().0.saturating_add(us))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, seeds};

    #[test]
    fn the_first_of_a_kind_holds() {
        let mut block = Block::default();
        let (first, again) = (Timestamp(10), Timestamp(20));
        assert_eq!(block.mark(Offset(65), Mark::Delivered, first), Marked { delivered: true, read: false });
        assert_eq!(block.mark(Offset(65), Mark::Delivered, again), Marked::default());
        assert_eq!(block.mark(Offset(65), Mark::Read, again), Marked { delivered: false, read: true });
        assert_eq!(block.mark(Offset(66), Mark::Read, again), Marked { delivered: true, read: true });
        let entry = block.entries[&1];
        assert_eq!((entry.delivered_at, entry.read_at), (Some(first), Some(again)));
    }

    #[test]
    fn what_waits_longest_is_due_first() {
        let mut block = Block::default();
        block.mark(Offset(0), Mark::Delivered, Timestamp(100));
        block.mark(Offset(1), Mark::Delivered, Timestamp(50));
        assert_eq!(block.due(Some(10), 1_000), Some(Timestamp(60)));
        block.mark(Offset(1), Mark::Read, Timestamp(55));
        assert_eq!(block.due(Some(10), 1_000), Some(Timestamp(110)));
        assert_eq!(block.due(None, 1_000), Some(Timestamp(1_055)));
        block.forget(1_000, Timestamp(1_055));
        assert_eq!(block.entries.keys().collect::<Vec<_>>(), [&0]);
    }

    #[test]
    fn a_block_is_read_as_it_was_written() {
        for seed in seeds(200) {
            let mut random = Random::new(seed);
            let mut block = Block { timer: random.percent(50).then_some(Timestamp(7)), ..Block::default() };
            for _ in 0..random.below(64) {
                let delivered_at = Timestamp(1 + (random.below(1 << 50) as i64));
                let mut later = || random.percent(50).then(|| Timestamp(delivered_at.0 + random.below(1 << 40) as i64));
                let (read_at, reminded_at) = (later(), later());
                let entry = Entry {
                    delivered_at: Some(delivered_at),
                    read_at,
                    reminded_at,
                    reminders: random.below(5) as u32,
                    given_up: random.percent(20),
                    dead_letter: random.percent(20),
                };
                block.entries.insert(random.below(EVENTS) as u8, entry);
            }
            let bytes = block.encode();
            assert_eq!(Block::decode(&bytes), Ok(block));
        }
    }
}
