//! A chunk as a database holds it, and the check that no flipped bit passes.

use bytes::{Bytes, BytesMut};
use wasmill_core::event::{Chunk, Event, Position, decode_run};
use wasmill_core::limits::publish::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX};
use wasmill_core::name::StreamName;
use wasmill_core::store::StoreError;
use wasmill_core::wire::put_in_run;

/// What a read takes from a chunk's row. The other columns can be told from the run, and are checked
/// against it by the checksum; leaving them out makes a row a third cheaper to fetch.
#[derive(Debug)]
pub(crate) struct StoredChunk {
    pub(crate) first_position: Position,
    pub(crate) stream_id: i64,
    pub(crate) crc: u32,
    pub(crate) run: Bytes,
}

impl StoredChunk {
    /// Decodes the chunk's events onto the end of `events`, all of them or none.
    pub(crate) fn open(self, events: &mut Vec<Event>) -> Result<(), StoreError> {
        let before = events.len();
        let first_position = self.first_position;
        self.decode_and_check(events).map_err(|why| {
            events.truncate(before);
            StoreError::Damaged { what: format!("the chunk at position {first_position}: {why}") }
        })
    }

    fn decode_and_check(self, events: &mut Vec<Event>) -> Result<(), String> {
        let before = events.len();
        decode_run(self.run.clone(), events).map_err(|error| error.to_string())?;
        let events = &events[before..];
        let first = events.first().ok_or("it has no events")?;
        if first.position() != self.first_position {
            return Err(format!("its first event says position {}", first.position()));
        }
        let in_order = events.iter().zip(0..).all(|(event, n)| {
            event.position().0.wrapping_sub(first.position().0) == n
                && event.offset().0.wrapping_sub(first.offset().0) == n
        });
        if !in_order {
            return Err("its events do not follow one another".into());
        }
        let numbers = Numbers {
            first_position: self.first_position.0,
            event_count: events.len() as u64,
            stream_id: self.stream_id,
            first_offset: first.offset().0,
            recorded_at: first.recorded_at().0,
        };
        let crc = checksum(&numbers, &self.run);
        if crc != self.crc {
            return Err(format!("its checksum is {crc:08x}, not {:08x}", self.crc));
        }
        Ok(())
    }
}

/// The numbers of a chunk's row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) first_position: u64,
    pub(crate) event_count: u64,
    pub(crate) stream_id: i64,
    pub(crate) first_offset: u64,
    pub(crate) recorded_at: i64,
}

/// CRC-32 of the run, then of the row's numbers, each as 8 bytes, little-endian.
pub(crate) fn checksum(numbers: &Numbers, run: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(run);
    hasher.update(&numbers.first_position.to_le_bytes());
    hasher.update(&numbers.event_count.to_le_bytes());
    hasher.update(&numbers.stream_id.to_le_bytes());
    hasher.update(&numbers.first_offset.to_le_bytes());
    hasher.update(&numbers.recorded_at.to_le_bytes());
    hasher.finalize()
}

/// Events of the log as chunks: those that follow one another in one stream, and were recorded together.
pub(crate) fn chunks_of(events: Vec<Event>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut run = BytesMut::new();
    for event in events {
        let follows = chunks.last().is_some_and(|chunk| {
            chunk.stream.as_str() == event.stream()
                && chunk.recorded_at == event.recorded_at()
                && chunk.first_position.0 + u64::from(chunk.count) == event.position().0
                && (chunk.count as usize) < APPEND_EVENTS_MAX
                && run.len() + event.framed_len() <= APPEND_BYTES_MAX
        });
        if !follows {
            if let Some(chunk) = chunks.last_mut() {
                chunk.run = run.split().freeze();
            }
            chunks.push(Chunk {
                stream: StreamName::from_stored(event.stream()),
                first_position: event.position(),
                first_offset: event.offset(),
                count: 0,
                recorded_at: event.recorded_at(),
                run: Bytes::new(),
                events: Vec::new(),
            });
        }
        put_in_run(&mut run, &[], event.raw());
        let chunk = chunks.last_mut().expect("one was made");
        chunk.count += 1;
        chunk.events.push(event);
    }
    if let Some(chunk) = chunks.last_mut() {
        chunk.run = run.freeze();
    }
    chunks
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use uuid::Uuid;
    use wasmill_core::clock::Timestamp;
    use wasmill_core::event::{NewEvent, Offset, PreparedEvent};
    use wasmill_core::name::StreamName;

    use super::*;

    fn stored() -> StoredChunk {
        let mut run = BytesMut::new();
        for n in 0..3 {
            let event = NewEvent { id: Uuid::from_u128(n), data: Bytes::from_static(b"data"), ..NewEvent::default() };
            let prepared = PreparedEvent::encode(&event, &StreamName::from_stored("s"), Timestamp(1));
            prepared.place(&mut run, Position(5 + n as u64), Offset(2 + n as u64), Timestamp(9));
        }
        let numbers = Numbers { first_position: 5, event_count: 3, stream_id: 4, first_offset: 2, recorded_at: 9 };
        let crc = checksum(&numbers, &run);
        StoredChunk { first_position: Position(5), stream_id: 4, crc, run: run.freeze() }
    }

    #[test]
    fn an_intact_chunk_opens() {
        let mut events = Vec::new();
        stored().open(&mut events).unwrap();
        assert_eq!(events.iter().map(|e| e.position().0).collect::<Vec<_>>(), [5, 6, 7]);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let run = stored().run;
        for bit in 0..run.len() * 8 {
            let mut flipped = run.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut events = Vec::new();
            let opened = StoredChunk { run: flipped.into(), ..stored() }.open(&mut events);
            assert!(matches!(opened, Err(StoreError::Damaged { .. })) && events.is_empty(), "bit {bit}");
        }
        for wrong in [
            StoredChunk { first_position: Position(4), ..stored() },
            StoredChunk { stream_id: 5, ..stored() },
            StoredChunk { crc: 0, ..stored() },
            StoredChunk { run: Bytes::new(), ..stored() },
        ] {
            assert!(wrong.open(&mut Vec::new()).is_err());
        }
    }
}
