//! Removing a stream's oldest events: what becomes of the chunks that hold them.

use bytes::Bytes;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::store::StoreError;

use crate::chunk::{Numbers, StoredChunk, checksum};
use crate::term::{Term, of_chunk};

/// What one unit removes, gathered chunk by chunk, the oldest first.
#[derive(Debug)]
pub(crate) struct Removal {
    /// Events below it go.
    cut: Offset,
    /// First positions of the chunks that go.
    pub(crate) chunks: Vec<Position>,
    /// Rows of the index that go.
    pub(crate) postings: Vec<(Term, Position)>,
    pub(crate) remembered: Vec<Remembered>,
    /// What stays of the last chunk.
    pub(crate) rest: Option<Rest>,
    pub(crate) event_count: u64,
    pub(crate) bytes: u64,
}

/// Events of one chunk that were removed.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) first_position: Position,
    pub(crate) first_offset: Offset,
    pub(crate) recorded_at: Timestamp,
    pub(crate) ids: Vec<u8>,
}

/// A chunk that has lost its oldest events.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) numbers: Numbers,
    pub(crate) crc: u32,
    pub(crate) run: Bytes,
    pub(crate) terms: Vec<Term>,
}

impl Removal {
    pub(crate) fn below(cut: Offset) -> Self {
        Self {
            cut,
            chunks: Vec::new(),
            postings: Vec::new(),
            remembered: Vec::new(),
            rest: None,
            event_count: 0,
            bytes: 0,
        }
    }

    /// Takes in the stream's next chunk; those behind the cut are not to be given.
    pub(crate) fn add(&mut self, chunk: StoredChunk) -> Result<(), StoreError> {
        let (stream_id, run) = (chunk.stream_id, chunk.run.clone());
        let mut events = Vec::new();
        chunk.open(&mut events)?;
        let first = events[0].position();
        let going = events.iter().take_while(|event| event.offset() < self.cut).count();
        let (gone, stay) = events.split_at(going);
        let gone_bytes: usize = gone.iter().map(Event::framed_len).sum();
        self.chunks.push(first);
        self.postings.extend(of_chunk(&events).into_iter().map(|term| (term, first)));
        self.event_count += gone.len() as u64;
        self.bytes += gone_bytes as u64;
        if let Some(event) = gone.first() {
            self.remembered.push(Remembered {
                first_position: event.position(),
                first_offset: event.offset(),
                recorded_at: event.recorded_at(),
                ids: gone.iter().flat_map(|event| event.id().into_bytes()).collect(),
            });
        }
        if let Some(event) = stay.first() {
            let run = run.slice(gone_bytes..);
            let numbers = Numbers {
                first_position: event.position().0,
                event_count: stay.len() as u64,
                stream_id,
                first_offset: event.offset().0,
                recorded_at: event.recorded_at().0,
            };
            let crc = checksum(&numbers, &run);
            self.rest = Some(Rest { numbers, crc, run, terms: of_chunk(stay) });
        }
        Ok(())
    }
}
