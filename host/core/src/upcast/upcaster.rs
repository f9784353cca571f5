//! One upcaster: its warm instance, and its rest after crashes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::event::Event;
use crate::guest::{Disposition, GuestEnvironment, GuestError, GuestModule, Lifted, Upcasted, UpcasterGuest};
use crate::limits::{plugin as limits, publish};
use crate::log_id;
use crate::metrics::Metrics;
use crate::plugin::descriptor::Lift;
use crate::plugin::settings::Settings;

/// Failures of its own, one after the other, after which it rests.
const CRASHES_MAX: u32 = 3;

/// What an upcaster is made of.
pub struct Parts {
    pub plugin: String,
    pub revision: u32,
    pub lifts: Vec<Lift>,
    pub module: Arc<dyn GuestModule>,
    pub environment: GuestEnvironment,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

pub struct Upcaster {
    parts: Parts,
    instance: Mutex<Option<Box<dyn UpcasterGuest>>>,
    /// Crashes since it last went well.
    crashes: AtomicU32,
    /// Nobody calls it before that time, in microseconds.
    rests_until: AtomicI64,
    lifted: AtomicU64,
    failed: AtomicU64,
    last_error: std::sync::Mutex<Option<(crate::clock::Timestamp, String)>>,
}

impl fmt::Debug for Upcaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Upcaster {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            instance: Mutex::default(),
            crashes: AtomicU32::new(0),
            rests_until: AtomicI64::new(0),
            lifted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: std::sync::Mutex::default(),
        }
    }

    pub fn plugin(&self) -> &str {
        &self.parts.plugin
    }

    /// Plugin and revision.
    pub fn name(&self) -> String {
        format!("{}@{}", self.parts.plugin, self.parts.revision)
    }

    pub fn revision(&self) -> u32 {
        self.parts.revision
    }

    pub fn lifts(&self) -> &[Lift] {
        &self.parts.lifts
    }

    /// Events lifted, events that it could not lift, and why the last of them.
    pub fn counts(&self) -> (u64, u64, Option<(crate::clock::Timestamp, String)>) {
        let last = self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        (self.lifted.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed), last)
    }

    /// Whether it has crashed too often to be called now.
    pub fn is_resting(&self) -> bool {
        self.rests_until.load(Ordering::Relaxed) > self.parts.clock.now().0
    }

    /// One answer for each event, in order: it in the next version, or why not.
    pub(super) async fn lift(&self, events: Vec<Event>) -> Vec<Result<Event, String>> {
        let answers = self.try_all(&events).await;
        let failed = answers.iter().filter(|answer| answer.is_err()).count() as u64;
        let name = &[self.parts.plugin.as_str()];
        self.lifted.fetch_add(answers.len() as u64 - failed, Ordering::Relaxed);
        self.parts.metrics.upcast_events.with_label_values(name).inc_by(answers.len() as u64 - failed);
        if failed > 0 {
            self.failed.fetch_add(failed, Ordering::Relaxed);
            self.parts.metrics.upcast_failures.with_label_values(name).inc_by(failed);
            let last = answers.iter().find_map(|answer| answer.as_ref().err()).cloned().unwrap_or_default();
            tracing::warn!(event_id = log_id::UPCAST_FAILED, upcaster = self.name(), failed, last, "not lifted");
            let mut said = self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *said = Some((self.parts.clock.now(), last));
        }
        answers
    }

    async fn try_all(&self, events: &[Event]) -> Vec<Result<Event, String>> {
        if self.is_resting() {
            return events.iter().map(|_| Err("it rests after it has crashed".to_owned())).collect();
        }
        match self.call(events).await {
            Ok(answers) => events.iter().zip(answers).map(|(event, answer)| next(event, answer)).collect(),
            Err(error) if events.len() == 1 => vec![Err(error.to_string())],
            // One by one the guilty one is found.
            Err(_) => {
                let mut answers = Vec::with_capacity(events.len());
                for event in events {
                    answers.push(match self.is_resting() {
                        true => Err("it rests after it has crashed".to_owned()),
                        false => match self.call(std::slice::from_ref(event)).await {
                            Ok(mut answer) => next(event, answer.remove(0)),
                            Err(error) => Err(error.to_string()),
                        },
                    });
                }
                answers
            }
        }
    }

    async fn call(&self, events: &[Event]) -> Result<Vec<Upcasted>, GuestError> {
        let mut instance = self.instance.lock().await;
        self.parts.environment.log.begin_call(self.parts.clock.now());
        let mut guest = match instance.take() {
            Some(guest) => guest,
            None => {
                let started = self.parts.module.start_upcaster(self.parts.environment.clone()).await;
                started.inspect_err(|error| self.crashed(error))?
            }
        };
        for attempt in 1.. {
            match guest.upcast(events.into()).await {
                Ok(answers) => {
                    self.crashes.store(0, Ordering::Relaxed);
                    let (metrics, name) = (&self.parts.metrics.plugins, &self.parts.plugin);
                    metrics.called(name, guest.call_time());
                    metrics.uses_memory(name, guest.memory_bytes());
                    *instance = Some(guest);
                    return Ok(answers);
                }
                Err(GuestError::Failed(failure)) => {
                    if failure.disposition == Disposition::Retry && attempt < limits::ATTEMPTS {
                        continue;
                    }
                    *instance = Some(guest);
                    return Err(GuestError::Failed(failure));
                }
                Err(error) => {
                    // Whatever the crash left in the instance goes with it.
                    self.crashed(&error);
                    return Err(error);
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    fn crashed(&self, error: &GuestError) {
        self.parts.metrics.plugins.failed(&self.parts.plugin, error);
        let crashes = self.crashes.fetch_add(1, Ordering::Relaxed) + 1;
        if crashes >= CRASHES_MAX {
            let rest = Settings::default().back_off(crashes - CRASHES_MAX + 1).as_micros();
            let rest = i64::try_from(rest).unwrap_or(i64::MAX / 2);
            self.rests_until.store(self.parts.clock.now().0.saturating_add(rest), Ordering::Relaxed);
        }
    }
}

/// The event in the version that was made of it.
fn next(event: &Event, answer: Upcasted) -> Result<Event, String> {
    match answer {
        Upcasted::Failed(failure) => Err(failure.to_string()),
        Upcasted::Unchanged => Err("it left unchanged what its descriptor says that it lifts".into()),
        Upcasted::Replaced(Lifted { event_type, schema_version, data }) => {
            if data.len() > publish::EVENT_DATA_BYTES_MAX {
                let (bytes, max) = (data.len(), publish::EVENT_DATA_BYTES_MAX);
                return Err(format!("it made {bytes} bytes of data; the limit is {max}"));
            }
            let json = event.content_type() == crate::event::DEFAULT_CONTENT_TYPE;
            if json && serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_err() {
                return Err("what it made is not JSON".into());
            }
            event.lifted(&event_type, schema_version, &data).map_err(|error| error.to_string())
        }
    }
}
