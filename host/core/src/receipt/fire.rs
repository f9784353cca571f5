//! What happens when an event was not read in time, and when receipts are old.

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::block::{Block, EVENTS, Entry};
use super::query::parts;
use super::writer::{due, seconds, unread_after_us};
use super::{
    COLLECTION_BLOCKS, COLLECTION_CONSUMERS, COLLECTION_PROGRESS, Receipts, block_key, decode_block, decode_progress,
    pair, timer,
};
use crate::clock::Timestamp;
use crate::event::{Event, NewEvent, Offset, Origin};
use crate::limits::{publish, receipt as limits};
use crate::log::publish::{Append, AppendError};
use crate::log_id;
use crate::name::StreamName;
use crate::own::{self, document, guard, unit};
use crate::store::{Direction, DocumentChange, Guard, PageLimit, Rejection, StoreError, Unit};
use crate::stream::Effective;
use crate::stream::config::OnUnread;
use crate::timer::{Fire, Timer};

/// The type of the event that reminds a consumer. Its key is the consumer.
pub const REMINDER_TYPE: &str = "wasmill.unread";

/// Under which the ids of reminders and of dead letters are made.
const NAMESPACE: Uuid = Uuid::from_u128(0x1c5e_8d1d_7f0c_4f47_b9c8_1f5f_60a4_2a77);

/// Acts on blocks whose time has come.
pub(crate) struct Firing(pub(crate) Receipts);

#[async_trait]
impl Fire for Firing {
    async fn fire(&self, fired: &Timer, now: Timestamp, refused: Option<&Rejection>) -> Result<Unit, StoreError> {
        let receipts = &self.0;
        let key = &fired.id;
        let stored = own::read(&*receipts.store, COLLECTION_BLOCKS, key).await?;
        let nothing = || unit(vec![fired.guard()], vec![fired.remove()]);
        let (Some(stored), Some((stream, number, consumer))) = (stored, parts(key)) else { return Ok(nothing()) };
        let mut block = decode_block(key, &stored)?;
        if block.timer != Some(fired.due) {
            return Ok(nothing());
        }
        let effective = receipts.configs.effective(&stream);
        let mut done = match refused {
            None => receipts.act(&stream, number, consumer, &mut block, &effective, now).await?,
            Some(rejection) => {
                not_reminded(&stream, consumer, &rejection.to_string());
                give_up(&mut block, &effective, now);
                Unit::default()
            }
        };
        block.forget(seconds(effective.config().receipts.keep_seconds.unwrap_or_default()), now);
        block.timer = due(&block, &effective);
        let mut documents = vec![fired.remove()];
        documents.extend(block.timer.map(|due| timer(key, due).set()));
        let mut guards = vec![fired.guard(), guard(COLLECTION_BLOCKS, key.clone(), Some(stored))];
        let value = (!block.entries.is_empty()).then(|| block.encode());
        if value.is_none() {
            let (others, changes) = receipts.without_block(&stream, number, consumer).await?;
            guards.extend(others);
            documents.extend(changes);
        }
        documents.push(document(COLLECTION_BLOCKS, key.clone(), value));
        let Unit { guards, changes, .. } = unit(guards, documents);
        (done.guards, done.changes) = (guards, changes);
        Ok(done)
    }
}

impl Receipts {
    /// The unit that publishes about events that wait too long, which is noted in the block. What one append does
    /// not hold stays late, and comes next.
    async fn act(
        &self,
        stream: &StreamName,
        number: u64,
        consumer: &str,
        block: &mut Block,
        effective: &Effective,
        now: Timestamp,
    ) -> Result<Unit, StoreError> {
        let Some(after_us) = unread_after_us(effective) else { return Ok(Unit::default()) };
        let late: Vec<u8> =
            block.entries.iter().filter(|(_, entry)| is_late(entry, after_us, now)).map(|(low, _)| *low).collect();
        if late.is_empty() {
            return Ok(Unit::default());
        }
        let first = Offset(number * EVENTS);
        let page = PageLimit { events: EVENTS as usize, bytes: usize::MAX };
        let events = self.store.read_stream(stream, first, Direction::Forward, page).await?;
        let config = &effective.config().receipts;
        let reminders_to = config.stream.clone().unwrap_or_default();
        let letters_to = effective.config().dead_letter.stream.clone().unwrap_or_else(|| reminders_to.clone());
        let letters = config.on_unread == Some(OnUnread::DeadLetter);
        let target = if letters { letters_to } else { reminders_to };
        let events_max = self.configs.effective(&StreamName::from_stored(&target)).append_events_max();
        let (mut whole, mut prepared, mut room) = (Unit::default(), Vec::new(), publish::APPEND_BYTES_MAX);
        for low in late {
            let Some(entry) = block.entries.get_mut(&low) else { continue };
            let offset = Offset(first.0 + u64::from(low));
            let event = events.iter().find(|event| event.offset() == offset);
            // What the log no longer has; and nobody is reminded of a reminder.
            let Some(event) = event.filter(|event| event.event_type() != REMINDER_TYPE && event.stream() != target)
            else {
                entry.given_up = true;
                continue;
            };
            let noted = match letters {
                true => Entry { given_up: true, dead_letter: true, ..*entry },
                false => reminded(entry, config.max_reminders.unwrap_or(1), now),
            };
            let new = if letters { dead_letter(event, consumer, entry) } else { reminder(event, consumer, &noted) };
            let append = Append { stream: target.clone(), events: vec![new], ..Append::default() };
            let unit = match self.publisher.unit(append).await {
                Ok(unit) => unit,
                Err(AppendError::Store(error)) => return Err(error),
                Err(error) => {
                    not_reminded(stream, consumer, &crate::tasks::chain(&error));
                    entry.given_up = true;
                    continue;
                }
            };
            let fits = room.checked_sub(unit.bytes()).filter(|_| prepared.len() < events_max);
            let Some(left) = fits else { break };
            (room, *entry) = (left, noted);
            prepared.extend(unit.appends.iter().flat_map(|append| append.events.iter().cloned()));
            // All are for one stream, and say the same of it.
            whole = unit;
        }
        if let Some(append) = whole.appends.first_mut() {
            append.events = prepared.into();
        }
        Ok(whole)
    }

    /// What else changes when a block of a consumer goes: its progress says between which blocks the others are,
    /// and goes with the last one.
    async fn without_block(
        &self,
        stream: &StreamName,
        number: u64,
        consumer: &str,
    ) -> Result<(Vec<Guard>, Vec<DocumentChange>), StoreError> {
        let key = pair(stream.as_str(), consumer);
        let Some(stored) = own::read(&*self.store, COLLECTION_PROGRESS, &key).await? else {
            return Ok(Default::default());
        };
        let mut progress = decode_progress(&key, &stored)?;
        let guards = vec![guard(COLLECTION_PROGRESS, key.clone(), Some(stored))];
        if number > progress.first_block && number < progress.last_block {
            return Ok(Default::default());
        }
        let others: Box<dyn Iterator<Item = u64> + Send> = match number == progress.first_block {
            true => Box::new(number + 1..=progress.last_block),
            false => Box::new((progress.first_block..number).rev()),
        };
        let nearest = self.first_there(stream, consumer, others).await?;
        match (nearest, number == progress.first_block) {
            (None, _) => {
                let marker = document(COLLECTION_CONSUMERS, pair(consumer, stream.as_str()), None);
                return Ok((guards, vec![document(COLLECTION_PROGRESS, key, None), marker]));
            }
            (Some(nearest), true) => progress.first_block = nearest,
            (Some(nearest), false) => progress.last_block = nearest,
        }
        Ok((guards, vec![progress.put(key)]))
    }

    /// The first of the blocks that is there, or up to where was looked in vain; `None` if none is.
    async fn first_there(
        &self,
        stream: &StreamName,
        consumer: &str,
        blocks: Box<dyn Iterator<Item = u64> + Send>,
    ) -> Result<Option<u64>, StoreError> {
        let mut blocks = blocks.peekable();
        let looked: Vec<u64> = blocks.by_ref().take(limits::BLOCKS_LOOKED_AT_MAX).collect();
        let keys: Vec<String> = looked.iter().map(|block| block_key(stream.as_str(), *block, consumer)).collect();
        let found = own::read_many(&*self.store, COLLECTION_BLOCKS, &keys).await?;
        let first = looked.iter().zip(found).find_map(|(block, stored)| stored.map(|_| *block));
        Ok(first.or_else(|| blocks.peek().copied()))
    }
}

fn not_reminded(stream: &StreamName, consumer: &str, error: &str) {
    let event_id = log_id::REMINDER_FAILED;
    tracing::warn!(event_id, stream = %stream, consumer, error, "a consumer could not be reminded");
}

fn reminded(entry: &Entry, max: u64, now: Timestamp) -> Entry {
    let reminders = entry.reminders + 1;
    Entry { reminders, reminded_at: Some(now), given_up: u64::from(reminders) >= max, ..*entry }
}

fn is_late(entry: &Entry, after_us: i64, now: Timestamp) -> bool {
    entry.waits_since().is_some_and(|since| since.0.saturating_add(after_us) <= now.0)
}

/// Nobody is reminded, so that what cannot be published does not come up again and again.
fn give_up(block: &mut Block, effective: &Effective, now: Timestamp) {
    let Some(after_us) = unread_after_us(effective) else { return };
    block.entries.values_mut().filter(|entry| is_late(entry, after_us, now)).for_each(|entry| entry.given_up = true);
}

fn reminder(event: &Event, consumer: &str, entry: &Entry) -> NewEvent {
    let data = serde_json::json!({
        "stream": event.stream(),
        "offset": event.offset().0,
        "position": event.position().0,
        "eventId": event.id().to_string(),
        "eventType": event.event_type(),
        "consumer": consumer,
        "deliveredAtUs": entry.delivered_at.unwrap_or_default().0,
        "reminder": entry.reminders,
    });
    NewEvent {
        id: id(event, consumer, "reminder", entry),
        event_type: REMINDER_TYPE.into(),
        key: Some(consumer.to_owned()),
        data: Bytes::from(data.to_string()),
        origin: Origin::caused_by(event),
        ..NewEvent::default()
    }
}

fn dead_letter(event: &Event, consumer: &str, entry: &Entry) -> NewEvent {
    let mut copy = event.to_new();
    let mut say = |name: &str, value: String| copy.headers.push((format!("wasmill-dead-letter-{name}"), value));
    say("reason", "unread".into());
    say("consumer", consumer.into());
    say("stream", event.stream().into());
    say("position", event.position().to_string());
    copy.key.get_or_insert_with(|| event.stream().to_owned());
    NewEvent { id: id(event, consumer, "letter", entry), origin: Origin::caused_by(event), ..copy }
}

/// A receipt that was forgotten may begin again: its reminders are others.
fn id(event: &Event, consumer: &str, kind: &str, entry: &Entry) -> Uuid {
    let delivered_at = entry.delivered_at.unwrap_or_default().0;
    let text = format!("{}\u{1}{kind}\u{1}{}\u{1}{delivered_at}\u{1}{consumer}", event.id(), entry.reminders);
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}
