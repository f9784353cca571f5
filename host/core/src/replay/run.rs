//! Running replays for groups and projections, on the host that has the lead.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::record::{Progress, Record, State, Target, load, load_all};
use super::{COLLECTION, Pace, Pacer, ReplayError, Replays};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::group::GroupError;
use crate::limits::replay as limits;
use crate::log::filter::Filter;
use crate::log::read::LogPage;
use crate::log_id;
use crate::own::{guard, unit};
use crate::plugin::swap::Rebuilding;
use crate::projection::generation::{Phase, Throttle};
use crate::record::GenerationId;
use crate::store::{Direction, PageLimit};

/// What a run has come to.
enum Outcome {
    /// Nothing more to do: it is over, or paused.
    Rests,
    Failed(String),
}

impl Replays {
    /// Runs whatever is to be run, in a task for each.
    pub(crate) async fn run(self, mut lead: watch::Receiver<bool>, stop: CancellationToken) -> Result<(), String> {
        let work = async {
            // It fails when the plugins are gone, and with them the host.
            if lead.wait_for(|leads| *leads).await.is_err() {
                return std::future::pending().await;
            }
            let mut running = JoinSet::new();
            let mut known = HashMap::new();
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let found = match load_all(&*self.0.store).await {
                    Ok(found) => found,
                    Err(error) => {
                        let (event_id, error) = (log_id::REPLAY_FAILED, crate::tasks::chain(&error));
                        tracing::warn!(event_id, error, "replays go on later");
                        tokio::time::sleep(limits::RETRY).await;
                        continue;
                    }
                };
                for (record, progress) in found {
                    // A projection that rests is watched too: it has its task, which must not go on.
                    let runs = match record.target {
                        Target::Client => false,
                        Target::Group(_) => record.wanted == State::Running,
                        Target::Projection(_) => true,
                    };
                    if runs && progress.ended_at_us.is_none() && !known.contains_key(&record.id) {
                        let id = record.id;
                        known.insert(id, running.spawn(self.clone().run_one(id)).id());
                    }
                }
                let others = async {
                    match self.0.store.is_shared() {
                        true => self.look_later().await,
                        false => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = changed => {}
                    () = others => {}
                    Some(ended) = running.join_next_with_id() => {
                        if let Err(error) = &ended {
                            let event_id = log_id::REPLAY_FAILED;
                            tracing::error!(event_id, error = %error, "the task of a replay has a defect");
                            tokio::time::sleep(limits::RETRY).await;
                        }
                        let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
                        known.retain(|_, running| *running != task);
                    }
                }
            }
        };
        stop.run_until_cancelled(work).await;
        Ok(())
    }

    async fn look_later(&self) {
        self.0.clock.wait_until(Timestamp(self.0.clock.now().0 + limits::LOOK_EVERY_US)).await;
    }

    async fn run_one(self, id: Uuid) {
        loop {
            let failed = match self.go_on(id).await {
                Ok(Outcome::Rests) => return,
                Ok(Outcome::Failed(reason)) => self.fail(id, reason).await,
                Err(error) => Err(error),
            };
            match failed {
                Ok(()) => return,
                Err(error) => {
                    let (event_id, error) = (log_id::REPLAY_FAILED, crate::tasks::chain(&error));
                    tracing::warn!(event_id, replay = %id, error, "a replay goes on later");
                    tokio::time::sleep(limits::RETRY).await;
                }
            }
        }
    }

    async fn fail(&self, id: Uuid, reason: String) -> Result<(), ReplayError> {
        tracing::warn!(event_id = log_id::REPLAY_FAILED, replay = %id, reason, "a replay cannot go on");
        let Some((_, _, progress)) = load(&*self.0.store, id).await? else { return Ok(()) };
        let ended_at_us = Some(self.0.clock.now().0);
        self.note(id, &Progress { error: Some(reason), ended_at_us, ..progress }).await
    }

    pub(super) async fn note(&self, id: Uuid, progress: &Progress) -> Result<(), ReplayError> {
        self.0.committer.commit(unit(Vec::new(), vec![progress.put(id)])).await?;
        Ok(())
    }

    async fn go_on(&self, id: Uuid) -> Result<Outcome, ReplayError> {
        let Some((_, record, _)) = load(&*self.0.store, id).await? else { return Ok(Outcome::Rests) };
        match record.target.clone() {
            Target::Client => Ok(Outcome::Rests),
            Target::Group(group) => self.to_group(id, &group).await,
            Target::Projection(projection) => self.to_projection(record, &projection).await,
        }
    }

    /// Hands events in, a page at a time. What was changed meanwhile is seen before each page.
    async fn to_group(&self, id: Uuid, group: &str) -> Result<Outcome, ReplayError> {
        let clock = &self.0.clock;
        let Some((_, record, mut progress)) = load(&*self.0.store, id).await? else { return Ok(Outcome::Rests) };
        let (mut pacer, mut since) = (Pacer::new(record.pace, clock.now()), clock.now());
        // Read, and not yet due; and up to where was read.
        let (mut page, mut read_to): (Vec<Event>, Option<Position>) = (Vec::new(), None);
        let mut noted = progress.next;
        while progress.ended_at_us.is_none() && self.is_wanted(id).await? {
            let now = clock.now();
            let room = match pacer.room(limits::PAGE_EVENTS, now) {
                Ok(room) => room,
                Err(until) => {
                    clock.wait_until(until).await;
                    continue;
                }
            };
            let to = match read_to.take() {
                Some(to) => to,
                None => match self.group_page(group, &record, progress.next, room).await {
                    Ok((events, to)) => {
                        page = events;
                        to
                    }
                    Err(ReplayError::Group(GroupError::NotFound(_))) => {
                        return Ok(Outcome::Failed(format!("group `{group}` does not exist any more")));
                    }
                    Err(error) => return Err(error),
                },
            };
            let (count, due) = pacer.take(&page, now);
            let behind = page.is_empty() && to.0 <= progress.next && to.0 < record.until;
            if behind || (count == 0 && !page.is_empty()) {
                // Not yet due; or another host has appended what this one has not heard of.
                read_to = (!page.is_empty()).then_some(to);
                let look = Timestamp(now.0 + limits::LOOK_EVERY_US);
                let pause = if page.is_empty() { Timestamp(now.0 + limits::FULL_PAUSE_US) } else { look };
                clock.wait_until(due.map_or(pause, |due| due.min(pause))).await;
                continue;
            }
            let rest = page.split_off(count);
            let events = std::mem::replace(&mut page, rest);
            progress.next = page.first().map_or(to.0, |first| first.position().0);
            progress.done += events.len() as u64;
            progress.ran_us += now.0 - since.0;
            since = now;
            let over = progress.next >= record.until;
            progress.ended_at_us = over.then_some(now.0);
            progress.noted_at_us = now.0;
            read_to = (!page.is_empty()).then_some(to);
            // Where nothing matches for long, that is noted now and then.
            if events.is_empty() && !over && progress.next - noted < limits::NOTE_POSITIONS {
                continue;
            }
            while !self.0.groups.again(group, events.clone(), progress.put(id)).await? {
                clock.wait_until(Timestamp(clock.now().0 + limits::FULL_PAUSE_US)).await;
                if !self.is_wanted(id).await? {
                    return Ok(Outcome::Rests);
                }
            }
            noted = progress.next;
            self.0.metrics.replayed_events.with_label_values(&["group"]).inc_by(events.len() as u64);
            if over {
                tracing::info!(event_id = log_id::REPLAY_DONE, replay = %id, events = progress.done, "a replay is done");
            }
        }
        Ok(Outcome::Rests)
    }

    async fn is_wanted(&self, id: Uuid) -> Result<bool, ReplayError> {
        let found = load(&*self.0.store, id).await?;
        Ok(found.is_some_and(|(_, record, _)| record.wanted == State::Running))
    }

    /// What comes next for a group: events that it wants and that were chosen, and up to where was read.
    async fn group_page(
        &self,
        group: &str,
        record: &Record,
        from: u64,
        room: usize,
    ) -> Result<(Vec<Event>, Position), ReplayError> {
        let config = self.0.groups.record(group).await?.config;
        let filter = record.source.within(&config).filter().unwrap_or_default();
        let limit = PageLimit { events: room, bytes: crate::limits::read::PAGE_BYTES_MAX };
        // The group lifts them when it hands them out.
        let page = self.0.reader.stored_page(Position(from), &filter, limit).await?;
        let (events, read_to) = within(record, page);
        let of_group = config.filter().unwrap_or_default();
        Ok((self.0.reader.lifts().matching(events, &of_group, true).await, read_to))
    }

    /// Events of the range, and up to where was read.
    pub(super) async fn page(
        &self,
        record: &Record,
        from: u64,
        filter: &Filter,
        room: usize,
    ) -> Result<(Vec<Event>, Position), ReplayError> {
        let limit = PageLimit { events: room, bytes: crate::limits::read::PAGE_BYTES_MAX };
        let page = self.0.reader.log_page(Position(from), Direction::Forward, filter, limit).await?;
        Ok(within(record, page))
    }

    /// One that was cancelled needs nobody any more.
    async fn abandoned(&self, id: Uuid) -> Result<Outcome, ReplayError> {
        if let Some((_, _, progress)) = load(&*self.0.store, id).await? {
            self.note(id, &Progress { ended_at_us: Some(self.0.clock.now().0), ..progress }).await?;
        }
        Ok(Outcome::Rests)
    }

    /// Builds a projection anew, and watches over it.
    async fn to_projection(&self, mut record: Record, projection: &str) -> Result<Outcome, ReplayError> {
        let (id, clock, plugins) = (record.id, &self.0.clock, &self.0.plugins);
        if record.generation.is_none() {
            if record.wanted == State::Cancelled {
                return self.abandoned(id).await;
            }
            let throttle =
                Throttle { paused: record.wanted == State::Paused, pace: record.pace, ..Throttle::default() };
            let generation = match plugins.rebuild(projection, throttle).await? {
                Some(Rebuilding::Begun(generation)) => generation,
                Some(Rebuilding::UnderWay(_)) => {
                    let what = "it is being built already; begin again when that is over";
                    return Ok(Outcome::Failed(what.into()));
                }
                None => return Ok(Outcome::Failed(format!("projection `{projection}` does not exist any more"))),
            };
            let Some((stored, before, _)) = load(&*self.0.store, id).await? else { return Ok(Outcome::Rests) };
            record = Record { generation: Some(generation.0), ..before };
            let guards = vec![guard(COLLECTION, record.key(), Some(stored))];
            self.0.committer.commit(unit(guards, vec![record.put()])).await?;
        }
        let generation = GenerationId(record.generation.unwrap_or_default());
        let mut since = clock.now();
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Some((_, record, mut progress)) = load(&*self.0.store, id).await? else { return Ok(Outcome::Rests) };
            let Some(deployment) = plugins.deployment(projection) else {
                return Ok(Outcome::Failed(format!("projection `{projection}` was removed")));
            };
            let is_ours = |built: &std::sync::Arc<crate::projection::generation::Generation>| built.id == generation;
            let serves = deployment.serving().filter(is_ours);
            let built = serves.clone().or_else(|| deployment.building().filter(is_ours));
            let Some(built) = built else {
                return Ok(Outcome::Failed("another build has taken its place".into()));
            };
            let (now, at) = (clock.now(), built.progress.borrow().clone());
            progress.ran_us += now.0 - since.0;
            since = now;
            // What it has looked at, wanted by it or not.
            progress.next = at.next.0.min(record.until);
            progress.done = progress.next.saturating_sub(record.from);
            let (paused, pace) = (record.wanted == State::Paused, record.pace);
            match record.wanted {
                State::Cancelled => {
                    plugins.abandon(projection, generation).await?;
                    return self.abandoned(id).await;
                }
                _ if serves.is_some() => {
                    built.throttle.send_modify(|throttle| {
                        *throttle = Throttle { paused: false, pace: Pace::default(), ..*throttle };
                    });
                    progress.ended_at_us = Some(now.0);
                    self.note(id, &progress).await?;
                    tracing::info!(event_id = log_id::REPLAY_DONE, replay = %id, projection, "a projection was built");
                    return Ok(Outcome::Rests);
                }
                _ => {
                    built.throttle.send_if_modified(|before| {
                        let throttle = Throttle { paused, pace, ..*before };
                        let new = *before != throttle;
                        *before = throttle;
                        new
                    });
                }
            }
            if at.phase == Phase::Paused
                && let Some(failure) = at.failure
            {
                return Ok(Outcome::Failed(format!("the plugin failed: {}", failure.reason)));
            }
            self.note(id, &progress).await?;
            tokio::select! {
                () = changed => {}
                () = self.look_later() => {}
            }
        }
    }
}

/// What a page has of the range, and up to where was read.
fn within(record: &Record, page: LogPage) -> (Vec<Event>, Position) {
    let mut events = page.events;
    events.truncate(events.partition_point(|event| event.position().0 < record.until));
    // Where this host's log ends is not where the range ends, if another host has appended.
    (events, Position(page.next.map_or(record.until, |next| next.0.min(record.until))))
}
