//! Finds a slot by its key: a hash table of places, with open addressing.
//!
//! `std`'s map would hold every key a second time, hash four times slower, and import random numbers
//! from the host for a protection that keys which live for one batch do not need.

use super::cache::Slot;

#[derive(Default)]
pub(super) struct Index {
    /// Places plus one, and 0 where there is none. A power of two long, and at most half full.
    table: Vec<u32>,
}

impl Index {
    /// Where `key` is among `slots`.
    pub(super) fn find(&self, key: &str, slots: &[Slot]) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let place = self.table[self.probe(key, slots)];
        (place as usize).checked_sub(1)
    }

    /// Where `key` is among `slots`, or is to be pushed: the place after the last.
    pub(super) fn find_or_insert(&mut self, key: &str, slots: &[Slot]) -> usize {
        if self.table.len() < 2 * (slots.len() + 1) {
            self.grow(slots);
        }
        let cell = self.probe(key, slots);
        if self.table[cell] == 0 {
            self.table[cell] = u32::try_from(slots.len() + 1).expect("a batch touches fewer than 2^32 documents");
        }
        self.table[cell] as usize - 1
    }

    /// The first cell that holds `key` or nothing.
    fn probe(&self, key: &str, slots: &[Slot]) -> usize {
        self.walk(key, |place| slots[place].key() == key)
    }

    fn grow(&mut self, slots: &[Slot]) {
        self.table = vec![0; (4 * (slots.len() + 1)).next_power_of_two().max(64)];
        for (place, slot) in (1..).zip(slots) {
            // No two slots have one key, so any cell that is taken is another's.
            let cell = self.walk(slot.key(), |_| false);
            self.table[cell] = place;
        }
    }

    /// From the cell where `key` belongs to the first that is empty, or whose place `is_it`.
    fn walk(&self, key: &str, is_it: impl Fn(usize) -> bool) -> usize {
        let mask = self.table.len() - 1;
        let mut cell = hash(key) & mask;
        while self.table[cell] != 0 && !is_it(self.table[cell] as usize - 1) {
            cell = (cell + 1) & mask;
        }
        cell
    }
}

/// rustc's own "Fx" hash, eight bytes at a step, with its high half folded in for the mask.
#[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
fn hash(key: &str) -> usize {
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = key.as_bytes().as_chunks::<8>();
    let last = rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    let mut hash = words.iter().fold(key.len() as u64, |hash, word| step(hash, u64::from_le_bytes(*word)));
    hash = step(hash, last);
    (hash ^ (hash >> 32)) as usize
}
