//! What a writer has to know of streams without asking, and what a group makes of it.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use lru::LruCache;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Offset, Position};
use wasmill_core::name::StreamName;
use wasmill_core::record::StreamState;
use wasmill_core::store::plan::StreamHead;

/// Streams whose heads are kept between groups, at about 150 bytes each; those of others are fetched,
/// all of a group in one query.
const HEADS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// What the writer has to know of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) id: i64,
    pub(crate) stream: StreamHead,
}

/// The heads of the streams used last.
#[derive(Debug)]
pub(crate) struct Heads {
    cache: LruCache<StreamName, Head>,
    /// Id that the next new stream gets.
    next_id: i64,
}

impl Heads {
    pub(crate) fn new(next_id: i64) -> Self {
        Self { cache: LruCache::new(HEADS_MAX), next_id }
    }

    /// What it knows of `names`, and those that it does not know.
    pub(crate) fn known<'a>(
        &mut self,
        names: impl Iterator<Item = &'a StreamName>,
    ) -> (HashMap<StreamName, Head>, Vec<&'a StreamName>) {
        let (mut known, mut missing) = (HashMap::new(), Vec::new());
        for name in names {
            match self.cache.get(name) {
                Some(head) => _ = known.insert(name.clone(), *head),
                None => missing.push(name),
            }
        }
        (known, missing)
    }

    /// Forgets everything, since another host may have written.
    pub(crate) fn start_over(&mut self, next_id: i64) {
        self.cache.clear();
        self.next_id = next_id;
    }

    /// The rows of the streams that `chunks` go to, as they will be after them.
    pub(crate) fn after<'a>(
        &self,
        heads: &HashMap<StreamName, Head>,
        chunks: impl Iterator<Item = &'a Chunk>,
    ) -> Vec<StreamRow> {
        let mut next_id = self.next_id;
        let mut rows: Vec<StreamRow> = Vec::new();
        let mut index: HashMap<&StreamName, usize> = HashMap::new();
        for chunk in chunks {
            let at = *index.entry(&chunk.stream).or_insert_with(|| {
                let id = heads.get(&chunk.stream).map_or(next_id, |head| head.id);
                next_id += i64::from(id == next_id);
                rows.push(StreamRow::new(id, chunk));
                rows.len() - 1
            });
            rows[at].add(chunk);
        }
        rows
    }

    /// Forgets what it knows of a stream that was changed otherwise than by an append.
    pub(crate) fn forget(&mut self, stream: &StreamName) {
        self.cache.pop(stream);
    }

    /// Id that the next new stream gets.
    pub(crate) fn next_id(&self) -> i64 {
        self.next_id
    }

    /// Takes note of what was committed.
    pub(crate) fn keep(&mut self, rows: Vec<StreamRow>) {
        for row in rows {
            self.next_id = self.next_id.max(row.head.id + 1);
            self.cache.put(row.name, row.head);
        }
    }
}

/// A stream's row after a group, and what the group adds to it.
#[derive(Clone, Debug)]
pub(crate) struct StreamRow {
    pub(crate) name: StreamName,
    pub(crate) head: Head,
    pub(crate) bytes_added: u64,
    pub(crate) first_recorded_at: Timestamp,
    pub(crate) last_recorded_at: Timestamp,
    pub(crate) last_position: Position,
}

impl StreamRow {
    fn new(id: i64, first: &Chunk) -> Self {
        Self {
            name: first.stream.clone(),
            head: Head { id, stream: StreamHead { next_offset: first.first_offset, state: StreamState::Live } },
            bytes_added: 0,
            first_recorded_at: first.recorded_at,
            last_recorded_at: first.recorded_at,
            last_position: first.first_position,
        }
    }

    fn add(&mut self, chunk: &Chunk) {
        self.head.stream.next_offset = Offset(chunk.first_offset.0 + u64::from(chunk.count));
        self.bytes_added += chunk.run.len() as u64;
        self.last_recorded_at = chunk.recorded_at;
        self.last_position = Position(chunk.first_position.0 + u64::from(chunk.count) - 1);
    }
}
