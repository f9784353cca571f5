use std::marker::PhantomData;
use std::ops::Deref;

use super::{Bench, TestEvent};
use crate::{Failure, Handler, Lifted, Projection, Upcasted, Upcaster, handler, projection, upcaster};

/// Steps of one event that are as many as anyone needs: more is a circle.
const STEPS_MAX: usize = 64;

/// Folds events with a projection, as a host does: it chooses the events that the plugin subscribes
/// to, numbers them, hands them over in batches, and keeps the documents. What it has kept is asked for
/// by the methods of [`Bench`].
///
/// What would make a host refuse the plugin or end a call panics here, with the reason.
pub struct Harness<P> {
    bench: Bench,
    projection: PhantomData<P>,
}

impl<P: Projection> Harness<P> {
    /// # Panics
    /// When a host would refuse the descriptor.
    #[expect(clippy::new_without_default, reason = "making one runs the plugin")]
    pub fn new() -> Self {
        Self { bench: Bench::new(projection::describe::<P>()), projection: PhantomData }
    }

    /// Hands over at most `events` at a time. A projection must come to the same with any number.
    #[must_use]
    pub fn batches_of(mut self, events: usize) -> Self {
        self.bench.set_batch(events);
        self
    }

    /// Sets a value of the plugin's configuration.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.bench.set_config(key.into(), value.into());
        self
    }

    /// Publishes events and lets the projection fold those that it subscribes to.
    ///
    /// # Errors
    /// The plugin's failure. The batch that failed is rolled back, those before it stay.
    pub fn apply(&mut self, events: impl IntoIterator<Item = TestEvent>) -> Result<(), Failure> {
        self.bench.feed(events, projection::apply::<P>)
    }
}

impl<P> Deref for Harness<P> {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

/// Hands events to a handler; as [`Harness`], and keeps what it emits.
pub struct HandlerHarness<H> {
    bench: Bench,
    handler: PhantomData<H>,
}

impl<H: Handler> HandlerHarness<H> {
    /// # Panics
    /// When a host would refuse the descriptor.
    #[expect(clippy::new_without_default, reason = "making one runs the plugin")]
    pub fn new() -> Self {
        Self { bench: Bench::new(handler::describe::<H>()), handler: PhantomData }
    }

    /// Hands over at most `events` at a time.
    #[must_use]
    pub fn batches_of(mut self, events: usize) -> Self {
        self.bench.set_batch(events);
        self
    }

    /// Sets a value of the plugin's configuration.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.bench.set_config(key.into(), value.into());
        self
    }

    /// What [`env::now_us`](crate::env::now_us) answers from here on.
    pub fn set_now_us(&mut self, now_us: u64) {
        self.bench.set_now(now_us);
    }

    /// Publishes events and lets the handler handle those that it subscribes to.
    ///
    /// # Errors
    /// The plugin's failure. What the batch that failed has changed and emitted is gone, what those before
    /// it have stays.
    pub fn handle(&mut self, events: impl IntoIterator<Item = TestEvent>) -> Result<(), Failure> {
        self.bench.feed(events, handler::handle::<H>)
    }
}

impl<H> Deref for HandlerHarness<H> {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

/// Lifts events with an upcaster, as a host does.
pub struct UpcasterHarness<U> {
    bench: Bench,
    upcaster: PhantomData<U>,
}

impl<U: Upcaster> UpcasterHarness<U> {
    /// # Panics
    /// When a host would refuse the descriptor.
    #[expect(clippy::new_without_default, reason = "making one runs the plugin")]
    pub fn new() -> Self {
        Self { bench: Bench::new(upcaster::describe::<U>()), upcaster: PhantomData }
    }

    /// Sets a value of the plugin's configuration.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.bench.set_config(key.into(), value.into());
        self
    }

    /// Takes an event as far as the plugin lifts it; as it is, where it lifts it nowhere.
    ///
    /// # Errors
    /// The failure of the step that could not be taken.
    ///
    /// # Panics
    /// When the steps go in a circle.
    pub fn lift(&mut self, event: TestEvent) -> Result<Lifted, Failure> {
        let mut event = self.bench.publish(event);
        for _ in 0..STEPS_MAX {
            let upcasted = self.bench.call(vec![event.clone()], |events| Ok(upcaster::upcast::<U>(events)))?;
            match upcasted.into_iter().next() {
                Some(Upcasted::Replaced(Lifted { event_type, schema_version, data })) => {
                    event.event.event_type = event_type;
                    event.event.schema_version = schema_version;
                    event.event.data = data;
                }
                Some(Upcasted::Failed(failure)) => return Err(failure),
                Some(Upcasted::Unchanged) | None => {
                    let crate::Event { event_type, schema_version, data, .. } = event.event;
                    return Ok(Lifted { event_type, schema_version, data });
                }
            }
        }
        panic!("an event was lifted {STEPS_MAX} times: the steps go in a circle");
    }
}

impl<U> Deref for UpcasterHarness<U> {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}
