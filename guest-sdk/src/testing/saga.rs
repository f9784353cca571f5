use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bench, TestEvent};
use crate::http::{Error, Request, Response};
use crate::saga::{self, Called, Direction};
use crate::{Disposition, Failure, Outcome, Saga, Wait};

/// Where a saga stands when nothing more of it can be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    Completed,
    /// Until [`SagaHarness::wake`] or [`SagaHarness::wake_at`].
    Waiting(Wait),
    /// A step asked to be retried: [`SagaHarness::go_on`] does.
    Retrying(Failure),
    /// It was undone, because of this.
    Compensated(Failure),
    /// A person would have to look: the plugin cannot go on.
    Paused(Failure),
}

/// Runs one saga, as a host does: step by step, with what its steps store, and backwards when one is rejected. Its
/// requests are answered by the test.
pub struct SagaHarness<S> {
    bench: Bench,
    input: Vec<u8>,
    correlation_id: String,
    /// The next step, or the one that is being undone.
    at: usize,
    attempt: u32,
    /// Why it goes backwards, if it does.
    failure: Option<Failure>,
    saga: PhantomData<S>,
}

impl<S: Saga> SagaHarness<S> {
    /// # Panics
    /// When a host would refuse the descriptor.
    #[expect(clippy::new_without_default, reason = "making one runs the plugin")]
    pub fn new() -> Self {
        Self {
            bench: Bench::new(saga::describe::<S>()),
            input: Vec::new(),
            correlation_id: "correlation-1".to_owned(),
            at: 0,
            attempt: 1,
            failure: None,
            saga: PhantomData,
        }
    }

    /// Sets a value of the plugin's configuration.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.bench.set_config(key.into(), value.into());
        self
    }

    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = id.into();
        self
    }

    /// What the steps' requests are answered.
    #[must_use]
    pub fn answering(mut self, answer: impl FnMut(&Request) -> Result<Response, Error> + 'static) -> Self {
        self.bench.saga_memory().answer = Some(Box::new(answer));
        self
    }

    /// What [`env::now_us`](crate::env::now_us) and [`StepContext::now_us`](crate::StepContext::now_us) answer from here
    /// on.
    pub fn set_now_us(&mut self, now_us: u64) {
        self.bench.set_now(now_us);
    }

    /// Starts the saga with `input` as JSON.
    ///
    /// # Panics
    /// When `input` cannot be written as JSON.
    pub fn start(&mut self, input: &impl Serialize) -> Rest {
        self.input = serde_json::to_vec(input).expect("the input can be written as JSON");
        self.go_on()
    }

    /// Wakes a saga that waits, with an event.
    pub fn wake(&mut self, event: TestEvent) -> Rest {
        let event = self.bench.publish(event);
        self.run(Some(event))
    }

    /// Wakes a saga that waits, since it is `now_us`.
    pub fn wake_at(&mut self, now_us: u64) -> Rest {
        self.bench.set_now(now_us);
        self.run(None)
    }

    /// Attempts the present step once more.
    pub fn go_on(&mut self) -> Rest {
        self.run(None)
    }

    /// Undoes what was done, as if somebody had cancelled the saga.
    pub fn cancel(&mut self) -> Rest {
        self.turn_back(Failure::reject("saga.cancelled", "it was cancelled"));
        self.run(None)
    }

    /// What its steps share, under `key`.
    ///
    /// # Panics
    /// When it is of another type.
    pub fn data<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.bench.saga().data.get(key)?;
        Some(serde_json::from_slice(value).unwrap_or_else(|error| panic!("`{key}` of the data: {error}")))
    }

    /// What a completed step has answered.
    ///
    /// # Panics
    /// When it is of another type.
    pub fn output<T: DeserializeOwned>(&self, step: &str) -> Option<T> {
        let output = self.bench.saga().outputs.get(step)?;
        Some(serde_json::from_slice(output).unwrap_or_else(|error| panic!("the output of `{step}`: {error}")))
    }

    /// What it has sent, in order.
    pub fn sent(&self) -> &[Request] {
        &self.bench.saga().sent
    }

    fn run(&mut self, mut woken_by: Option<TestEvent>) -> Rest {
        let steps = S::steps();
        loop {
            let direction = if self.failure.is_some() { Direction::Compensate } else { Direction::Execute };
            let Some(step) = steps.get(self.at) else {
                return self.failure.clone().map_or(Rest::Completed, Rest::Compensated);
            };
            match self.attempt(step.name(), direction, woken_by.take()) {
                Ok(Outcome::Suspended(wait)) => return Rest::Waiting(wait),
                Ok(Outcome::Completed(output)) if direction == Direction::Execute => {
                    self.bench.saga_memory().outputs.insert(step.name().to_owned(), output);
                    (self.at, self.attempt) = (self.at + 1, 1);
                }
                Ok(Outcome::Completed(_)) => self.back(),
                Err(failure) => match (failure.disposition, direction) {
                    (Disposition::Reject, Direction::Execute) => self.turn_back(failure),
                    (Disposition::Retry, _) => {
                        self.attempt += 1;
                        return Rest::Retrying(failure);
                    }
                    (Disposition::Halt | Disposition::Reject, _) => return Rest::Paused(failure),
                },
            }
        }
    }

    /// The step that has failed is not done; those before it are undone, the last one first.
    fn turn_back(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.back();
    }

    /// Beyond the first step is behind all of them: there is nothing left to do.
    fn back(&mut self) {
        self.at = self.at.checked_sub(1).unwrap_or(usize::MAX);
        self.attempt = 1;
    }

    fn attempt(&mut self, step: &str, direction: Direction, woken_by: Option<TestEvent>) -> Result<Outcome, Failure> {
        let way = if direction == Direction::Execute { "execute" } else { "compensate" };
        let idempotency_key = format!("saga-1/{step}/{way}");
        let memory = self.bench.saga_memory();
        memory.idempotency_key.clone_from(&idempotency_key);
        let output = memory.outputs.get(step).filter(|_| direction == Direction::Compensate).cloned();
        let called = Called {
            saga_id: "saga-1".to_owned(),
            saga_type: self.bench.name().to_owned(),
            correlation_id: self.correlation_id.clone(),
            step: step.to_owned(),
            attempt: self.attempt,
            idempotency_key,
            input: self.input.clone(),
            output,
            woken_by: woken_by.as_ref().map(|event| event.event.clone()),
            deadline_us: u64::MAX,
            attributes: vec![("now-us".to_owned(), self.bench.now_us().to_string())],
        };
        self.bench.call(woken_by.into_iter().collect(), |_| saga::attempt::<S>(&called, direction))
    }
}

impl<S> Deref for SagaHarness<S> {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}
