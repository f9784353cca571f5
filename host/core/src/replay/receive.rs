//! A replay that a client receives itself.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::record::{Progress, Record, State, Target, load};
use super::{Pacer, ReplayError, Replays};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::limits::replay as limits;
use crate::log_id;
use crate::name::StreamName;
use crate::stream::Caller;

/// The end of a replay at which its events come out. Dropping it leaves the replay where it is.
pub struct Received {
    replays: Replays,
    id: Uuid,
    overtaken: CancellationToken,
    pacer: Option<Pacer>,
    /// Before this the client has all, as far as it is known here.
    next: Position,
    /// Events that were handed out since progress was noted, and when that was.
    done: u64,
    noted_at: Timestamp,
    /// What it was then: the client has that by now, what came since may be on its way.
    before: (Position, u64),
    /// Read and not yet due, and up to where was read.
    page: Vec<Event>,
    read_to: Option<Position>,
}

impl Replays {
    /// Receives a replay from where it is, or from behind `after`, which the client says that it has got. Whoever
    /// received it until now is told that it does not any more.
    pub async fn receive(&self, id: Uuid, after: Option<Position>) -> Result<Received, ReplayError> {
        let (_, record, progress) = load(&*self.0.store, id).await?.ok_or(ReplayError::NotFound(id))?;
        if record.target != Target::Client {
            let (state, what) = (record.wanted, "it is not for a client");
            return Err(ReplayError::State { id, state, what });
        }
        let next = after.map_or(progress.next, |after| after.0.saturating_add(1).clamp(record.from, record.until));
        let overtaken = CancellationToken::new();
        if let Some(before) = self.receiving().insert(id, overtaken.clone()) {
            before.cancel();
        }
        Ok(Received {
            replays: self.clone(),
            id,
            overtaken,
            pacer: None,
            next: Position(next),
            done: 0,
            noted_at: self.0.clock.now(),
            before: (Position(next), 0),
            page: Vec::new(),
            read_to: None,
        })
    }
}

impl Received {
    /// Waits for the next events; `None` when the replay is over. The events of the last call count as received.
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, ReplayError> {
        let overtaken = self.overtaken.clone();
        match overtaken.run_until_cancelled(self.next_page()).await {
            Some(page) => page,
            None => Err(ReplayError::Overtaken),
        }
    }

    /// Every event before it was handed out.
    pub fn next_position(&self) -> Position {
        self.next
    }

    async fn next_page(&mut self) -> Result<Option<Vec<Event>>, ReplayError> {
        let (replays, id) = (self.replays.clone(), self.id);
        let clock = &replays.0.clock;
        loop {
            let changed = replays.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let found = load(&*replays.0.store, id).await?;
            let (_, record, progress) = found.ok_or(ReplayError::NotFound(id))?;
            let now = clock.now();
            if record.wanted == State::Cancelled {
                return Ok(None);
            }
            let over = self.next.0 >= record.until;
            if over || now.0 - self.noted_at.0 >= limits::LOOK_EVERY_US || record.wanted == State::Paused {
                self.note(&record, progress, now, over).await?;
            }
            if over {
                return Ok(None);
            }
            let wait = match record.wanted {
                State::Paused => {
                    self.pacer = None;
                    Timestamp(now.0 + limits::LOOK_EVERY_US)
                }
                _ => match self.page(&record, now).await? {
                    Ok(events) if events.is_empty() => continue,
                    Ok(events) => return Ok(Some(events)),
                    Err(until) => until,
                },
            };
            tokio::select! {
                () = changed => {}
                () = clock.wait_until(wait) => {}
            }
        }
    }

    /// What may go now, or when to look again.
    async fn page(&mut self, record: &Record, now: Timestamp) -> Result<Result<Vec<Event>, Timestamp>, ReplayError> {
        let pacer = self.pacer.get_or_insert_with(|| Pacer::new(record.pace, now));
        let limited = record.pace.events_per_second.is_some() || record.pace.speed.is_some();
        let most = if limited { limits::PAGE_EVENTS } else { crate::limits::read::PAGE_EVENTS_MAX };
        let room = match pacer.room(most, now) {
            Ok(room) => room,
            Err(until) => return Ok(Err(until)),
        };
        let read_to = match self.read_to {
            Some(read_to) => read_to,
            None => {
                let filter = record.source.filter().unwrap_or_default();
                let (events, read_to) = self.replays.page(record, self.next.0, &filter, room).await?;
                let configs = &self.replays.0.configs;
                let open = |event: &Event| configs.may_read(&StreamName::from_stored(event.stream()), Caller::Api);
                let all_open = configs.all_open_to_readers();
                self.page = events.into_iter().filter(|event| all_open || open(event)).collect();
                if self.page.is_empty() && read_to <= self.next {
                    // Another host has appended what this one has not heard of.
                    return Ok(Err(Timestamp(now.0 + limits::FULL_PAUSE_US)));
                }
                self.read_to = Some(read_to);
                read_to
            }
        };
        let pacer = self.pacer.get_or_insert_with(|| Pacer::new(record.pace, now));
        // What was read before may be more than goes now.
        let (count, due) = pacer.take(&self.page[..self.page.len().min(room)], now);
        if count == 0 && !self.page.is_empty() {
            let look = Timestamp(now.0 + limits::LOOK_EVERY_US);
            return Ok(Err(due.map_or(look, |due| due.min(look))));
        }
        let rest = self.page.split_off(count);
        let events = std::mem::replace(&mut self.page, rest);
        self.next = self.page.first().map_or(read_to, Event::position);
        self.read_to = (!self.page.is_empty()).then_some(read_to);
        self.done += events.len() as u64;
        self.replays.0.metrics.replayed_events.with_label_values(&["client"]).inc_by(events.len() as u64);
        Ok(Ok(events))
    }

    /// Stores how far the client is.
    async fn note(&mut self, record: &Record, before: Progress, now: Timestamp, over: bool) -> Result<(), ReplayError> {
        let (next, done) = if over { (self.next, self.done) } else { self.before };
        if before.ended_at_us.is_some() || (next.0 <= before.next && done == 0 && !over) {
            (self.before, self.noted_at) = ((self.next, self.done), now);
            return Ok(());
        }
        let progress = Progress {
            next: next.0.max(before.next),
            done: before.done + done,
            ran_us: before.ran_us + (now.0 - self.noted_at.0),
            ended_at_us: over.then_some(now.0),
            error: None,
            noted_at_us: now.0,
        };
        self.replays.note(record.id, &progress).await?;
        self.done -= done;
        (self.before, self.noted_at) = ((self.next, self.done), now);
        if over {
            tracing::info!(event_id = log_id::REPLAY_DONE, replay = %record.id, events = progress.done, "a replay is done");
        }
        Ok(())
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.overtaken.is_cancelled() {
            self.replays.receiving().remove(&self.id);
        }
    }
}
