//! `outbox` and `outbox-json`: what a handler emits. Nothing of it is stored before the host commits it with
//! the handler's position and state.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use wasmill_core::guest::GuestError;
use wasmill_core::handler::outbox::{Emitted, Outbox, OutboxError};

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::{emitted, outbox, outbox_json};

impl emitted::Host for Sandbox {}

impl outbox::Host for Sandbox {
    fn append(&mut self, cause: u32, stream: String, events: Vec<emitted::NewEvent>) -> wasmtime::Result<()> {
        for event in events {
            let emitted::NewEvent { event_type, schema_version, key, data, attributes } = event;
            let event = Outbox::event(event_type, schema_version, key, data.into(), attributes);
            self.emit(cause, stream.clone(), event)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppendJson<'a> {
    cause: u32,
    stream: String,
    #[serde(borrow)]
    events: Vec<EventJson<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventJson<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    key: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    attributes: Attributes,
}

/// Values are texts, or lists of them for what may stand several times.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Attributes(std::collections::BTreeMap<String, Texts>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Attributes {
    fn into_pairs(self) -> Vec<(String, String)> {
        let pairs = self.0.into_iter().flat_map(|(name, texts)| {
            let texts = match texts {
                Texts::One(text) => vec![text],
                Texts::Many(texts) => texts,
            };
            texts.into_iter().map(move |text| (name.clone(), text))
        });
        pairs.collect()
    }
}

impl outbox_json::Host for Sandbox {
    fn append(&mut self, appends: String) -> wasmtime::Result<()> {
        let parsed = serde_json::from_str::<Vec<AppendJson<'_>>>(&appends);
        let parsed = parsed.map_err(|error| self.broken("append", "[{cause, stream, events}]", &error))?;
        for append in parsed {
            for event in append.events {
                let data = Bytes::from(event.data.get().to_owned());
                let attributes = event.attributes.into_pairs();
                let event = Outbox::event(event.event_type, event.schema_version, event.key, data, attributes);
                self.emit(append.cause, append.stream.clone(), event)?;
            }
        }
        Ok(())
    }
}

impl Sandbox {
    fn emit(
        &mut self,
        cause: u32,
        stream: String,
        event: Result<wasmill_core::event::NewEvent, OutboxError>,
    ) -> wasmtime::Result<()> {
        let work = self.work("the outbox")?;
        // A saga has no batch: what it emits has the saga as its cause, which is 0.
        let count = if work.step.is_some() { 1 } else { work.events.len() };
        let none = || wasmtime::Error::msg("only handlers and sagas have an outbox");
        let outbox = work.outbox.as_mut().ok_or_else(none)?;
        let taken = event.and_then(|event| outbox.emit(Emitted { cause, stream, event }, count));
        taken.map_err(|error| self.end(GuestError::Outbox(error)))
    }
}
