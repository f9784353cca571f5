//! Up to where a stream's events have outlived what its configuration keeps.

use super::effective::Keep;
use crate::clock::Timestamp;
use crate::event::Offset;
use crate::limits::read::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use crate::limits::stream::RETENTION_PAGES_MAX;
use crate::record::StreamInfo;
use crate::store::{Direction, PageLimit, Store, StoreError};

/// The offset below which `keep` lets events go. It never takes back what is hidden already, and never
/// depends on events that come in meanwhile.
pub(super) async fn cut(
    store: &dyn Store,
    info: &StreamInfo,
    keep: Keep,
    now: Timestamp,
) -> Result<Offset, StoreError> {
    let mut cut = info.oldest();
    if let Some(events) = keep.events {
        cut = cut.max(Offset(info.next_offset.0.saturating_sub(events)));
    }
    if let Some(age) = keep.age {
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let oldest = Timestamp(now.0.saturating_sub(age_us));
        if info.first_recorded_at < oldest {
            cut = cut.max(store.offset_at(&info.name, oldest).await?);
        }
    }
    if let Some(bytes) = keep.bytes.filter(|bytes| info.bytes > *bytes) {
        cut = cut.max(cut_by_bytes(store, info, info.bytes - bytes).await?);
    }
    Ok(cut)
}

/// Reads the oldest events until `excess` bytes are covered; what a bounded number of pages does not
/// cover is left to the next run. The newest event stays.
///
/// The sum begins at the very event that `info` calls the first: if another host has removed it
/// meanwhile, counting on from a later one would cover the excess twice.
async fn cut_by_bytes(store: &dyn Store, info: &StreamInfo, excess: u64) -> Result<Offset, StoreError> {
    let limit = PageLimit { events: PAGE_EVENTS_MAX, bytes: PAGE_BYTES_MAX };
    let newest = Offset(info.next_offset.0.saturating_sub(1));
    let (mut next, mut covered) = (info.first_offset, 0);
    for _ in 0..RETENTION_PAGES_MAX {
        let page = store.read_stream(&info.name, next, Direction::Forward, limit).await?;
        if page.is_empty() {
            break;
        }
        for event in &page {
            if covered >= excess || event.offset() >= newest {
                return Ok(next);
            }
            if event.offset() != next {
                return Ok(info.oldest());
            }
            covered += event.framed_len() as u64;
            next.0 += 1;
        }
    }
    Ok(next.min(newest))
}
