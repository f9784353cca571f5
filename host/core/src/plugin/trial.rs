//! A plugin tried out on events at hand: beside the log, over documents in memory, and called as the host
//! calls it. What it comes to can be looked at, and held against another run of it.

mod fold;
mod lift;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::descriptor::{Descriptor, Kind};
use super::log::PluginLog;
use crate::clock::{Clock, Timestamp};
use crate::event::{Event, NewEvent, Offset, Position, PreparedEvent, decode_run};
use crate::guest::{GuestEnvironment, GuestError, GuestModule};
use crate::limits::plugin as limits;
use crate::name::{Pattern, StreamName};
use crate::store::StoreError;

/// Which plugin, and what it is given.
#[derive(Clone)]
pub struct Trial {
    pub module: Arc<dyn GuestModule>,
    pub descriptor: Descriptor,
    pub config: Arc<[(String, String)]>,
    /// Streams that a handler may append to.
    pub grants: Arc<[Pattern]>,
    pub log: Arc<PluginLog>,
    /// The engine's own limit without.
    pub memory_bytes_max: Option<usize>,
    /// What calls took is measured by it.
    pub clock: Arc<dyn Clock>,
}

/// How the events are handed over. What a projection comes to must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Events of one call, at most.
    pub batch_events: usize,
    pub life: Life,
    /// The host dies once, when so many events were handed over and some of them were not stored yet.
    pub crash_after: Option<usize>,
}

/// How long an instance lives, as long as nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Long,
    OneCall,
}

/// Documents by collection and key.
pub type ReadModel = BTreeMap<(Arc<str>, String), Bytes>;

/// What came of a course. Events are named by their place among those that were handed in.
#[derive(Debug, Default)]
pub struct Run {
    pub read_model: ReadModel,
    pub output: Vec<Output>,
    pub failures: Vec<Failed>,
    pub calls: Vec<Call>,
    /// Each document that a call has changed.
    pub trace: Vec<Changed>,
    /// It cannot go on, as it says itself: later events were not handed over.
    pub halted: bool,
}

/// Something that came out of a plugin, beside documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The event that it answers, or that it is.
    pub event: usize,
    pub what: OutputKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A handler has emitted it.
    Emitted { stream: String, event: Box<NewEvent> },
    /// An upcaster has made it of the event, in so many steps.
    Lifted { event_type: String, schema_version: u32, data: Bytes, steps: usize },
}

/// An event that the plugin could not do anything with, by itself and on a fresh instance.
#[derive(Clone, Debug)]
pub struct Failed {
    pub event: usize,
    pub error: GuestError,
    pub attempts: u32,
}

/// A call that succeeded.
#[derive(Clone, Debug)]
pub struct Call {
    pub events: Range<usize>,
    pub took_us: i64,
    /// Of the instance, when the call was over.
    pub memory_bytes: usize,
}

/// A document after a call: the hash of its value, or `None` when it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which of [`Run::calls`].
    pub call: usize,
    pub collection: Arc<str>,
    pub key: String,
    pub value: Option<[u8; 32]>,
}

/// Why there is no run. What goes wrong with an event is part of a run instead.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("the plugin does not start: {0}")]
    Start(#[source] GuestError),
    #[error("a saga has nothing to fold; its steps are tried out by starting one")]
    Saga,
    #[error("the documents could not be kept")]
    Store(#[from] StoreError),
}

impl Trial {
    /// Hands `events` over, those that the plugin wants.
    pub async fn run(&self, events: &[Event], course: Course) -> Result<Run, TrialError> {
        let wanted: Vec<usize> = (0..events.len()).filter(|i| self.wants(&events[*i])).collect();
        match self.descriptor.kind {
            Kind::Projection | Kind::Handler => fold::Folding::new(self, events, course).await?.run(&wanted).await,
            Kind::Upcaster => lift::Lifting::new(self, events, course).run(&wanted).await,
            Kind::Saga => Err(TrialError::Saga),
        }
    }

    /// Whether the host would hand it this event.
    pub fn wants(&self, event: &Event) -> bool {
        match self.descriptor.kind {
            Kind::Upcaster => self.lifts(event),
            Kind::Projection | Kind::Handler | Kind::Saga => self.descriptor.filter().matches(event),
        }
    }

    fn lifts(&self, event: &Event) -> bool {
        let of = (event.event_type(), event.schema_version());
        self.descriptor.lifts.iter().any(|lift| (lift.event_type.as_str(), lift.version) == of)
    }

    fn environment(&self) -> GuestEnvironment {
        GuestEnvironment {
            config: Arc::clone(&self.config),
            log: Arc::clone(&self.log),
            memory_bytes_max: self.memory_bytes_max,
        }
    }
}

impl Run {
    /// A hash of all documents, by which two read models are the same to the byte.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for ((collection, key), value) in &self.read_model {
            part(collection.as_bytes());
            part(key.as_bytes());
            part(value);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Events that calls have dealt with.
    pub fn handled(&self) -> usize {
        self.calls.iter().map(|call| call.events.len()).sum()
    }
}

/// Which of `wanted`, from `at` on, fit into a call.
fn call_of(events: &[Event], wanted: &[usize], at: usize, batch_events: usize) -> Range<usize> {
    let mut bytes = 0;
    let fitting = wanted[at..].iter().take(batch_events.clamp(1, limits::CALL_EVENTS_MAX)).take_while(|i| {
        bytes += events[**i].raw().len();
        bytes <= limits::CALL_BYTES_MAX
    });
    at..at + fitting.count().max(1)
}

/// Makes events of the log out of new ones, which follow each other as if nothing else had ever been
/// published. One without a time happened at the beginning of time.
pub fn place(events: impl IntoIterator<Item = (StreamName, NewEvent)>) -> Vec<Event> {
    let mut offsets: BTreeMap<StreamName, u64> = BTreeMap::new();
    let mut run = BytesMut::new();
    for ((stream, event), position) in events.into_iter().zip(0..) {
        let offset = offsets.entry(stream.clone()).or_default();
        let time = event.time.unwrap_or_default();
        PreparedEvent::encode(&event, &stream, Timestamp(0)).place(&mut run, Position(position), Offset(*offset), time);
        *offset += 1;
    }
    let mut events = Vec::new();
    decode_run(run.freeze(), &mut events).expect("what `place` wrote can be read");
    events
}
