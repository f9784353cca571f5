//! Upcasters: each event as far as the plugin lifts it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Call, Course, Failed, Life, Output, OutputKind, Run, Trial, TrialError, call_of};
use crate::event::Event;
use crate::guest::{Failure, GuestError, Lifted, Upcasted, UpcasterGuest};
use crate::limits::plugin as limits;

pub(super) struct Lifting<'a> {
    trial: &'a Trial,
    events: &'a [Event],
    course: Course,
    guest: Option<Box<dyn UpcasterGuest>>,
    run: Run,
}

/// An event on its way up.
struct Climbing {
    event: usize,
    now: Event,
    steps: usize,
}

impl<'a> Lifting<'a> {
    pub(super) fn new(trial: &'a Trial, events: &'a [Event], course: Course) -> Self {
        Self { trial, events, course, guest: None, run: Run::default() }
    }

    pub(super) async fn run(mut self, wanted: &[usize]) -> Result<Run, TrialError> {
        let mut crash = self.course.crash_after;
        let mut at = 0;
        while at < wanted.len() {
            let call = call_of(self.events, wanted, at, self.course.batch_events);
            let batch: Vec<usize> = wanted[call.clone()].to_vec();
            if self.climb(&batch).await?.is_err() {
                for event in batch {
                    if let Err(error) = self.climb(&[event]).await? {
                        self.run.failures.push(Failed { event, error, attempts: 1 });
                    }
                }
            }
            at = call.end;
            // There is nothing but the instance that a crash could take.
            if crash.is_some_and(|after| at >= after) {
                (crash, self.guest) = (None, None);
            }
        }
        Ok(self.run)
    }

    /// Takes events all the way up; on an error none of them has got anywhere.
    async fn climb(&mut self, batch: &[usize]) -> Result<Result<(), GuestError>, TrialError> {
        let started = |event: &usize| Climbing { event: *event, now: self.events[*event].clone(), steps: 0 };
        let mut climbing: Vec<Climbing> = batch.iter().map(started).collect();
        let (mut arrived, mut failures) = (Vec::new(), Vec::new());
        let (mut took_us, mut memory_bytes) = (0, 0);
        while !climbing.is_empty() {
            let began = self.trial.clock.now();
            let answers = match self.upcast(climbing.iter().map(|climbing| climbing.now.clone()).collect()).await? {
                Ok((answers, memory)) => {
                    memory_bytes = memory;
                    answers
                }
                Err(error) => return Ok(Err(error)),
            };
            took_us += self.trial.clock.now().0 - began.0;
            let mut higher = Vec::new();
            for (Climbing { event, now, steps }, answer) in climbing.into_iter().zip(answers) {
                match answer {
                    Upcasted::Replaced(Lifted { event_type, schema_version, data }) => {
                        let Ok(now) = now.lifted(&event_type, schema_version, &data) else {
                            let what = format!("`upcast` made an event of it that cannot be read: `{event_type}`");
                            return Ok(Err(GuestError::Contract { what }));
                        };
                        let next = Climbing { event, now, steps: steps + 1 };
                        let goes_on = self.trial.lifts(&next.now) && next.steps <= limits::LIFTS_OF_EVENT_MAX;
                        if goes_on { higher.push(next) } else { arrived.push(next) }
                    }
                    Upcasted::Unchanged => arrived.push(Climbing { event, now, steps }),
                    Upcasted::Failed(failure) => failures.push((event, failure)),
                }
            }
            climbing = higher;
        }
        self.settle(batch, arrived, failures);
        self.run.calls.push(Call { events: batch[0]..batch[batch.len() - 1] + 1, took_us, memory_bytes });
        Ok(Ok(()))
    }

    fn settle(&mut self, batch: &[usize], mut arrived: Vec<Climbing>, mut failures: Vec<(usize, Failure)>) {
        debug_assert_eq!(batch.len(), arrived.len() + failures.len(), "every event arrives or fails");
        arrived.sort_unstable_by_key(|climbing| climbing.event);
        failures.sort_unstable_by_key(|(event, _)| *event);
        let output = arrived.into_iter().map(|Climbing { event, now, steps }| {
            let (event_type, schema_version) = (now.event_type().to_owned(), now.schema_version());
            let data = Bytes::copy_from_slice(now.data());
            Output { event, what: OutputKind::Lifted { event_type, schema_version, data, steps } }
        });
        self.run.output.extend(output);
        let failed = |(event, failure)| Failed { event, error: GuestError::Failed(failure), attempts: 1 };
        self.run.failures.extend(failures.into_iter().map(failed));
    }

    async fn upcast(&mut self, events: Arc<[Event]>) -> Result<Result<(Vec<Upcasted>, usize), GuestError>, TrialError> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.trial.module.start_upcaster(self.trial.environment()).await.map_err(TrialError::Start)?,
        };
        match guest.upcast(events).await {
            Ok(answers) => {
                let memory = guest.memory_bytes();
                if self.course.life == Life::Long {
                    self.guest = Some(guest);
                }
                Ok(Ok((answers, memory)))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}
