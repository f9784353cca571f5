//! Looking receipts up, by event and by consumer.

use super::block::{Block, EVENTS, block_of};
use super::{
    COLLECTION_BLOCKS, COLLECTION_CONSUMERS, COLLECTION_PROGRESS, Progress, Receipt, ReceiptError, Receipts, block_key,
    block_prefix, check_consumer, decode_block, decode_progress, pair,
};
use crate::clock::Timestamp;
use crate::event::Offset;
use crate::limits::receipt as limits;
use crate::name::StreamName;
use crate::own::{self, SEPARATOR};

/// Receipts of a consumer, by stream and offset.
#[derive(Clone, Debug, Default)]
pub struct ReceiptPage {
    pub receipts: Vec<Receipt>,
    /// Where to go on; `None` when nothing is left. A page may be empty and yet not the last.
    pub next: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub stream: String,
    pub offset: Offset,
}

/// Consumers of a stream, in byte order of their names.
#[derive(Clone, Debug, Default)]
pub struct ConsumerPage {
    pub consumers: Vec<(String, Progress)>,
    pub more: bool,
}

impl Receipts {
    /// Everyone who was delivered an event, in byte order of their names, after `after`; and whether there are
    /// more.
    pub async fn of_event(
        &self,
        stream: &StreamName,
        offset: Offset,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Receipt>, bool), ReceiptError> {
        let limit = limit.clamp(1, limits::PAGE);
        let prefix = block_prefix(stream.as_str(), block_of(offset));
        let mut found = Vec::new();
        let mut after = after.map(|consumer| format!("{prefix}{consumer}"));
        loop {
            let page =
                own::page(&*self.store, COLLECTION_BLOCKS, &prefix, after.as_deref(), limits::BLOCKS_READ).await?;
            after = page.documents.last().map(|document| document.key.clone());
            for document in page.documents {
                if found.len() == limit {
                    return Ok((found, true));
                }
                let block = decode_block(&document.key, &document.value)?;
                let consumer = &document.key[prefix.len()..];
                found.extend(
                    receipts_of(&block, stream, block_of(offset), consumer).find(|found| found.offset == offset),
                );
            }
            if !page.more {
                return Ok((found, false));
            }
        }
    }

    /// How far each consumer of a stream is.
    pub async fn consumers(
        &self,
        stream: &StreamName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ConsumerPage, ReceiptError> {
        let prefix = pair(stream.as_str(), "");
        let after = after.map(|consumer| format!("{prefix}{consumer}"));
        let limit = limit.clamp(1, limits::PAGE);
        let page = own::page(&*self.store, COLLECTION_PROGRESS, &prefix, after.as_deref(), limit).await?;
        let consumers = page.documents.iter().map(|document| {
            let progress = decode_progress(&document.key, &document.value)?;
            Ok::<_, ReceiptError>((document.key[prefix.len()..].to_owned(), progress))
        });
        Ok(ConsumerPage { consumers: consumers.collect::<Result<_, _>>()?, more: page.more })
    }

    /// How far a consumer is, in the streams of which it has receipts, after `after`.
    pub async fn streams_of(
        &self,
        consumer: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ConsumerPage, ReceiptError> {
        check_consumer(consumer)?;
        let prefix = pair(consumer, "");
        let after = after.map(|stream| format!("{prefix}{stream}"));
        let limit = limit.clamp(1, limits::PAGE);
        let page = own::page(&*self.store, COLLECTION_CONSUMERS, &prefix, after.as_deref(), limit).await?;
        let streams: Vec<String> =
            page.documents.iter().map(|document| document.key[prefix.len()..].to_owned()).collect();
        let keys: Vec<String> = streams.iter().map(|stream| pair(stream, consumer)).collect();
        let stored = own::read_many(&*self.store, COLLECTION_PROGRESS, &keys).await?;
        let mut found = Vec::new();
        for (stream, stored) in streams.into_iter().zip(stored) {
            if let Some(stored) = stored {
                found.push((stream.clone(), decode_progress(&stream, &stored)?));
            }
        }
        Ok(ConsumerPage { consumers: found, more: page.more })
    }

    /// Receipts of a consumer from `from` on: of all streams, or of the one that `from` names if `only` says so.
    pub async fn of_consumer(
        &self,
        consumer: &str,
        from: Option<Place>,
        only: bool,
        unread: bool,
        limit: usize,
    ) -> Result<ReceiptPage, ReceiptError> {
        check_consumer(consumer)?;
        let limit = limit.clamp(1, limits::PAGE);
        let mut page = ReceiptPage::default();
        let mut looks = limits::BLOCKS_LOOKED_AT_MAX;
        let mut place = match from {
            Some(from) => Some(from),
            None => self.next_stream(consumer, None).await?,
        };
        while let Some(at) = place.take() {
            let stream = StreamName::from_stored(&at.stream);
            let progress = pair(&at.stream, consumer);
            let progress = own::read(&*self.store, COLLECTION_PROGRESS, &progress).await?;
            if let Some(progress) = progress.map(|stored| decode_progress(&at.stream, &stored)).transpose()? {
                let first = block_of(at.offset).max(progress.first_block);
                let blocks: Vec<u64> = (first..=progress.last_block).take(looks.min(limits::BLOCKS_READ)).collect();
                let keys: Vec<String> = blocks.iter().map(|block| block_key(&at.stream, *block, consumer)).collect();
                looks -= keys.len();
                let stored = own::read_many(&*self.store, COLLECTION_BLOCKS, &keys).await?;
                for ((number, key), stored) in blocks.iter().zip(&keys).zip(stored) {
                    let Some(stored) = stored else { continue };
                    let block = decode_block(key, &stored)?;
                    let wanted = receipts_of(&block, &stream, *number, consumer)
                        .filter(|found| found.offset >= at.offset && !(unread && found.read_at.is_some()));
                    page.receipts.extend(wanted);
                }
                if page.receipts.len() >= limit {
                    page.next = page.receipts.get(limit).map(place_of);
                    if page.next.is_none() {
                        page.next = page
                            .receipts
                            .last()
                            .map(|last| Place { stream: at.stream.clone(), offset: Offset(last.offset.0 + 1) });
                    }
                    page.receipts.truncate(limit);
                    return Ok(page);
                }
                if let Some(last) = blocks.last().filter(|last| **last < progress.last_block) {
                    let next = Place { stream: at.stream, offset: Offset((last + 1) * EVENTS) };
                    if looks == 0 {
                        page.next = Some(next);
                        return Ok(page);
                    }
                    place = Some(next);
                    continue;
                }
            }
            if only {
                return Ok(page);
            }
            place = self.next_stream(consumer, Some(&at.stream)).await?;
            if looks == 0 {
                page.next = place;
                return Ok(page);
            }
        }
        Ok(page)
    }

    async fn next_stream(&self, consumer: &str, after: Option<&str>) -> Result<Option<Place>, ReceiptError> {
        let prefix = pair(consumer, "");
        let after = after.map(|stream| format!("{prefix}{stream}"));
        let page = own::page(&*self.store, COLLECTION_CONSUMERS, &prefix, after.as_deref(), 1).await?;
        let stream = page.documents.into_iter().next().map(|document| document.key[prefix.len()..].to_owned());
        Ok(stream.map(|stream| Place { stream, offset: Offset(0) }))
    }
}

fn place_of(receipt: &Receipt) -> Place {
    Place { stream: receipt.stream.to_string(), offset: receipt.offset }
}

pub(super) fn receipts_of<'a>(
    block: &'a Block,
    stream: &'a StreamName,
    number: u64,
    consumer: &'a str,
) -> impl Iterator<Item = Receipt> + 'a {
    block.entries.iter().map(move |(low, entry)| Receipt {
        stream: stream.clone(),
        offset: Offset(number * EVENTS + u64::from(*low)),
        consumer: consumer.to_owned(),
        delivered_at: entry.delivered_at.unwrap_or(Timestamp(0)),
        read_at: entry.read_at,
        reminders: entry.reminders,
        reminded_at: entry.reminded_at,
        dead_letter: entry.dead_letter,
    })
}

/// The parts of a block's key.
pub(super) fn parts(key: &str) -> Option<(StreamName, u64, &str)> {
    let mut parts = key.splitn(3, SEPARATOR);
    let (stream, block, consumer) = (parts.next()?, parts.next()?, parts.next()?);
    Some((StreamName::from_stored(stream), u64::from_str_radix(block, 16).ok()?, consumer))
}
