//! The sagas' eye on the log: starts those that events start, and wakes those that wait for events or for the
//! time of events.
//!
//! The place up to which it has looked is stored behind everything that it has brought about. After a crash it looks
//! at some events again, which changes nothing: a start is told by its correlation id, a waking by where the saga's
//! wait begins.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::attempt::new_id;
use super::definition::{Correlation, SagaClock, StartsOn};
use super::engine::{Engine, Poke};
use super::fact::{Blob, Origin};
use super::start::{self, Beginning};
use crate::code::Problem;
use crate::event::{Event, Position};
use crate::limits::saga as limits;
use crate::log::filter::Filter;
use crate::log::read::LogFollower;
use crate::log_id;
use crate::store::PageLimit;
use crate::tasks::chain;

/// What the deployed sagas make of events.
struct Eyes {
    starters: Vec<Starter>,
    /// Names of those that live in the time of events, and which events move it.
    clocks: Vec<(String, Filter)>,
}

/// An entry of a deployed saga that is started by events.
struct Starter {
    name: String,
    revision: u32,
    filter: Filter,
    on: StartsOn,
}

pub(super) async fn run(engine: &Arc<Engine>) {
    let mut changed = engine.parts.plugins.changed();
    let mut eyes = eyes(engine);
    let mut follower: Option<LogFollower> = None;
    let mut stored = engine.registry.position();
    loop {
        engine.calm().await;
        let from = engine.registry.position();
        let follower = follower.get_or_insert_with(|| engine.parts.reader.follow_log(from, Filter::default()));
        let room = PageLimit { events: limits::FEED_EVENTS, bytes: limits::INPUT_BYTES_MAX * 4 };
        let page = tokio::select! {
            _ = changed.changed() => {
                eyes = self::eyes(engine);
                continue;
            }
            page = follower.next_page(room) => page,
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(event_id = log_id::SAGAS_LATE, error = chain(&error), "sagas are not told of events");
                tokio::time::sleep(limits::RETRY).await;
                continue;
            }
        };
        let touched = examine(engine, &page.events, &eyes).await;
        let next = page.next.unwrap_or(from);
        for id in engine.registry.examined(next) {
            engine.poke(id, Poke::default());
        }
        if (touched || next.0 - stored.0 >= limits::FEED_LAG_MAX) && engine.store_place(next).await.is_ok() {
            stored = next;
        }
    }
}

/// Looks at events one after the other, and returns when what they bring about is stored. That is stored together:
/// a saga that one of them starts finds the later ones by itself.
async fn examine(engine: &Arc<Engine>, events: &[Event], eyes: &Eyes) -> bool {
    let (mut wakings, mut starts, mut touched) = (Vec::new(), Vec::new(), false);
    for event in events {
        let moves = eyes.clocks.iter().filter(|(_, filter)| filter.matches(event)).map(|(name, _)| name.as_str());
        let (overdue, woken) = engine.registry.examine(event, moves);
        touched |= !overdue.is_empty();
        for id in overdue {
            engine.poke(id, Poke::default());
        }
        wakings.extend(woken.into_iter().map(|id| wake(engine, event, id)));
        starts.extend(eyes.starters.iter().filter(|on| on.filter.matches(event)).map(|on| start(engine, event, on)));
    }
    touched |= !wakings.is_empty() || !starts.is_empty();
    tokio::join!(join_all(wakings), join_all(starts));
    touched
}

/// Tells a saga of an event, and returns when it has heeded it.
async fn wake(engine: &Engine, event: &Event, id: Uuid) {
    loop {
        let (done, stored) = oneshot::channel();
        engine.poke(id, Poke { event: Some(event.clone()), done: Some(done) });
        // It is dropped when the saga was let go of, or this host does not drive sagas any more.
        if stored.await.is_ok() || engine.epoch().is_none() {
            return;
        }
        tokio::time::sleep(limits::LOOK_EVERY).await;
    }
}

async fn start(engine: &Arc<Engine>, event: &Event, starter: &Starter) {
    let Some(correlation_id) = correlation(event, &starter.on.correlation) else {
        let (event_id, saga, position) = (log_id::SAGA_NOT_STARTED, &starter.name, event.position().0);
        let place = String::from(starter.on.correlation.clone());
        tracing::warn!(event_id, saga, position, place, "an event has no correlation id there, and starts no saga");
        return;
    };
    let beginning = || Beginning {
        id: new_id(engine.now()),
        saga_type: starter.name.clone(),
        revision: starter.revision,
        correlation_id: Some(correlation_id.clone()),
        input: Blob(bytes::Bytes::copy_from_slice(event.data())),
        time: event.time(),
        from: Position(event.position().0 + 1),
        origin: Origin::Event { id: event.id().to_string(), position: event.position().0 },
    };
    loop {
        let error = match start::begin(engine, beginning()).await {
            Ok(_) => return,
            Err(error) if error.is_lasting() || engine.epoch().is_none() => {
                let problem = Problem::from(error);
                let (event_id, saga, reason) = (log_id::SAGA_NOT_STARTED, &starter.name, problem.message);
                tracing::error!(event_id, saga, position = event.position().0, reason, "an event starts no saga");
                return;
            }
            Err(error) => error,
        };
        tracing::warn!(event_id = log_id::SAGAS_LATE, error = chain(&error), "a saga could not be started yet");
        tokio::time::sleep(limits::RETRY).await;
    }
}

fn eyes(engine: &Engine) -> Eyes {
    let mut eyes = Eyes { starters: Vec::new(), clocks: Vec::new() };
    for (descriptor, revision) in engine.parts.plugins.sagas() {
        let options = descriptor.saga.clone().unwrap_or_default();
        if options.clock == SagaClock::Event {
            eyes.clocks.push((descriptor.name.clone(), options.moved_by()));
        }
        let starter = |on: StartsOn| Starter { name: descriptor.name.clone(), revision, filter: on.filter(), on };
        eyes.starters.extend(options.starts_on.into_iter().map(starter));
    }
    eyes
}

/// A correlation id as it stands in an event.
fn correlation(event: &Event, place: &Correlation) -> Option<String> {
    let found = match place {
        Correlation::Key => event.key().unwrap_or(event.stream()).to_owned(),
        Correlation::CorrelationId => event.correlation_id()?.to_owned(),
        Correlation::Data(path) => {
            let data: serde_json::Value = serde_json::from_slice(event.data()).ok()?;
            match path.iter().try_fold(&data, |value, name| value.get(name))? {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(number) => number.to_string(),
                _ => return None,
            }
        }
    };
    (!found.is_empty() && found.len() <= limits::CORRELATION_BYTES_MAX).then_some(found)
}
