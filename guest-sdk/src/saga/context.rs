use serde::Serialize;
use serde::de::DeserializeOwned;

use super::parse;
use crate::outbox::Emitted;
use crate::{Context, Event, Failure, NewEvent, host};

/// What the host calls a step with, as the contract has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Called {
    pub(crate) saga_id: String,
    pub(crate) saga_type: String,
    pub(crate) correlation_id: String,
    pub(crate) step: String,
    pub(crate) attempt: u32,
    pub(crate) idempotency_key: String,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Option<Vec<u8>>,
    pub(crate) woken_by: Option<Event>,
    pub(crate) deadline_us: u64,
    pub(crate) attributes: Vec<(String, String)>,
}

/// One attempt at a step.
#[derive(Debug)]
pub struct StepContext<'a> {
    called: &'a Called,
    emitted: Emitted,
}

impl<'a> StepContext<'a> {
    pub(super) fn new(called: &'a Called) -> Self {
        Self { called, emitted: Emitted::default() }
    }

    pub fn saga_id(&self) -> &'a str {
        &self.called.saga_id
    }

    /// The name under which the plugin is deployed.
    pub fn saga_type(&self) -> &'a str {
        &self.called.saga_type
    }

    /// What the saga is about: there is one of its type for it.
    pub fn correlation_id(&self) -> &'a str {
        &self.called.correlation_id
    }

    pub fn step(&self) -> &'a str {
        &self.called.step
    }

    /// 1 for the first attempt at doing it, and again for the first at undoing it.
    pub fn attempt(&self) -> u32 {
        self.called.attempt
    }

    /// The same for every attempt at doing this step of this saga, and another for undoing it. It is in every request
    /// that changes something; a step that sends several, or more after it was woken, says which is which with
    /// [`key_for`](Self::key_for).
    pub fn idempotency_key(&self) -> &'a str {
        &self.called.idempotency_key
    }

    /// An idempotency key for one of several requests of the step.
    pub fn key_for(&self, request: &str) -> String {
        format!("{}/{request}", self.called.idempotency_key)
    }

    /// What the saga was started with, as JSON.
    ///
    /// # Errors
    /// `saga.malformed` (reject) when it is not of this shape.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        parse("the saga's input", &self.called.input)
    }

    pub fn input_bytes(&self) -> &'a [u8] {
        &self.called.input
    }

    /// What this step has answered when it was completed, for the one that undoes it. Nothing, when that is not known.
    ///
    /// # Errors
    /// `saga.malformed` (reject) when it is not of this shape.
    pub fn output<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        let output = self.called.output.as_deref().filter(|output| !output.is_empty());
        output.map(|output| parse("the step's output", output)).transpose()
    }

    /// What an earlier step has answered; nothing, when it has not.
    ///
    /// # Errors
    /// `saga.malformed` (reject) when it is not of this shape.
    pub fn output_of<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, Failure> {
        let output = host::output_of(step).filter(|output| !output.is_empty());
        output.map(|output| parse(&format!("the output of `{step}`"), &output)).transpose()
    }

    /// The event that has woken the step, if one did; a time may have, or it was never asleep.
    pub fn woken_by(&self) -> Option<Context<'a>> {
        self.called.woken_by.as_ref().map(|event| Context::new(event, 0))
    }

    /// When the host gives the attempt up, in microseconds since the Unix epoch.
    pub fn deadline_us(&self) -> u64 {
        self.called.deadline_us
    }

    /// The time by the saga's clock, in microseconds since the Unix epoch: the host's, or that of the events
    /// ([`Descriptor::on_event_time`](crate::Descriptor::on_event_time)).
    pub fn now_us(&self) -> u64 {
        let now = self.called.attributes.iter().find(|(name, _)| name == "now-us");
        now.and_then(|(_, now)| now.parse().ok()).unwrap_or(0)
    }

    /// What else the host says.
    pub fn attributes(&self) -> &'a [(String, String)] {
        &self.called.attributes
    }

    /// What the saga's steps share.
    pub fn data(&self) -> SagaData<'_> {
        SagaData { _step: std::marker::PhantomData }
    }

    /// Appends `event` to `stream`, which has to match a pattern of
    /// [`Descriptor::appends_to`](crate::Descriptor::appends_to). It is stored with the step's outcome, once.
    pub fn emit(&mut self, stream: &str, event: NewEvent) {
        self.emitted.caused_by(0).append(stream, event);
    }

    pub(super) fn write(&mut self) {
        self.emitted.write();
    }
}

/// Values that the steps of one saga share. What a step changes is stored with its outcome.
#[derive(Debug)]
pub struct SagaData<'a> {
    _step: std::marker::PhantomData<&'a ()>,
}

impl SagaData<'_> {
    /// # Errors
    /// `saga.malformed` (reject) when what is there is not of this shape.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        host::data_get(key).map(|value| parse(&format!("`{key}` of the saga's data"), &value)).transpose()
    }

    /// # Errors
    /// `data.unwritable` (halt) when `value` cannot be written as JSON.
    pub fn put(&mut self, key: &str, value: &impl Serialize) -> Result<(), Failure> {
        let value = serde_json::to_vec(value).map_err(|error| Failure::halt("data.unwritable", error.to_string()))?;
        host::data_put(key, value);
        Ok(())
    }

    pub fn get_bytes(&self, key: &str) -> Option<Vec<u8>> {
        host::data_get(key)
    }

    pub fn put_bytes(&mut self, key: &str, value: Vec<u8>) {
        host::data_put(key, value);
    }

    pub fn remove(&mut self, key: &str) {
        host::data_remove(key);
    }
}
