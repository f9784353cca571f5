//! What registering some schemas comes to: checks all of them before anything is written.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::Value;

use super::compare::{Direction, Incompatibility, Named, compare};
use super::index::{self, TEXTS, TYPES, TypeRecord};
use super::{Compatibility, NewSchema, Registered, SchemaError, VersionInfo, document};
use crate::clock::Timestamp;
use crate::code::Detail;
use crate::limits::schema as limits;
use crate::name;
use crate::own;
use crate::store::{DocumentChange, Guard, Store, StoreError};

/// What is to be written, and what is to be answered.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) guards: Vec<Guard>,
    pub(super) documents: Vec<DocumentChange>,
    /// Of each type that changes.
    pub(super) records: BTreeMap<String, TypeRecord>,
    /// In the order of what was handed in.
    pub(super) registered: Vec<Registered>,
}

/// A schema that is sound by itself.
pub(super) struct Sound<'a> {
    new: &'a NewSchema,
    schema: Value,
}

/// Names all that is wrong with the schemas by themselves.
pub(super) fn sound(new: &[NewSchema]) -> Result<Vec<Sound<'_>>, SchemaError> {
    if new.is_empty() || new.len() > limits::AT_ONCE_MAX {
        return Err(SchemaError::Count);
    }
    let (mut sound, mut details) = (Vec::with_capacity(new.len()), Vec::new());
    for (i, one) in new.iter().enumerate() {
        name::check(&one.event_type).map_err(SchemaError::Name)?;
        let at = |at: &str| if new.len() == 1 { at.to_owned() } else { format!("schemas[{i}].{at}") };
        if one.version == Some(0) {
            details.push(plain(at("version"), "versions begin with 1"));
        }
        match document::parse(&one.schema) {
            Ok(schema) => sound.push(Sound { new: one, schema }),
            Err(wrong) => details.extend(wrong.into_iter().map(|detail| Detail { at: at(&detail.at), ..detail })),
        }
    }
    if details.is_empty() { Ok(sound) } else { Err(SchemaError::Invalid(details)) }
}

fn plain(at: String, message: &str) -> Detail {
    Detail { at, message: message.into(), facts: Vec::new() }
}

/// One type while its schemas are looked at.
struct Type {
    stored: Option<Bytes>,
    record: TypeRecord,
}

/// Looks at the schemas beside what is stored, version by version.
pub(super) async fn plan(store: &dyn Store, sound: &[Sound<'_>], now: Timestamp) -> Result<Plan, SchemaError> {
    let mut plan = Planning { store, types: HashMap::new(), texts: HashMap::new(), changes: Vec::new() };
    let (mut registered, mut conflicts, mut incompatible) = (Vec::new(), Vec::new(), Vec::new());
    // The versions of a type come in their order, those without a number behind them.
    let mut order: Vec<usize> = (0..sound.len()).collect();
    order.sort_by_key(|i| (&sound[*i].new.event_type, sound[*i].new.version.unwrap_or(u32::MAX)));
    for i in order {
        let Sound { new, schema } = &sound[i];
        let event_type = new.event_type.as_str();
        let record = plan.record(event_type).await?;
        let id = index::id_of(schema);
        let version = match new.version.or_else(|| Some(record.versions.iter().find(|known| known.id == id)?.version)) {
            Some(version) => version,
            None => record.latest().map_or(Some(1), |latest| latest.version.checked_add(1)).unwrap_or(u32::MAX),
        };
        if let Some(known) = record.version(version) {
            if known.id == id {
                registered.push((i, Registered { event_type: event_type.into(), info: known.clone(), new: false }));
            } else {
                let message = format!("version {version} of `{event_type}` is another schema");
                conflicts.push(plain(event_type.to_owned(), &message));
            }
            continue;
        }
        if record.versions.len() >= limits::VERSIONS_MAX {
            let max = limits::VERSIONS_MAX;
            return Err(SchemaError::TooMany(format!(
                "event type `{event_type}` has {max} schemas, which is the limit"
            )));
        }
        let mode = record.compatibility;
        for found in plan.beside(event_type, version, schema, mode).await? {
            incompatible.push(found);
        }
        let info = VersionInfo { version, id, bytes: new.schema.len(), registered_at_us: now.0 };
        registered.push((i, Registered { event_type: event_type.into(), info: info.clone(), new: true }));
        plan.add(event_type, info, schema.clone(), &new.schema);
    }
    if !conflicts.is_empty() {
        return Err(SchemaError::Conflict(conflicts));
    }
    if !incompatible.is_empty() {
        incompatible.truncate(limits::LISTED_MAX);
        return Err(SchemaError::Incompatible(incompatible));
    }
    registered.sort_by_key(|(i, _)| *i);
    Ok(plan.finish(registered.into_iter().map(|(_, one)| one).collect()))
}

struct Planning<'a> {
    store: &'a dyn Store,
    types: HashMap<String, Type>,
    /// Schemas that are new here.
    texts: HashMap<(String, u32), Value>,
    changes: Vec<DocumentChange>,
}

impl Planning<'_> {
    async fn record(&mut self, event_type: &str) -> Result<TypeRecord, StoreError> {
        if let Some(known) = self.types.get(event_type) {
            return Ok(known.record.clone());
        }
        let stored = own::read(self.store, TYPES, event_type).await?;
        let record = stored.as_ref().map(|stored| TypeRecord::decode(event_type, stored)).transpose()?;
        let record = record.unwrap_or_default();
        self.types.insert(event_type.to_owned(), Type { stored, record: record.clone() });
        Ok(record)
    }

    async fn schema(&self, event_type: &str, version: u32) -> Result<Value, StoreError> {
        if let Some(new) = self.texts.get(&(event_type.to_owned(), version)) {
            return Ok(new.clone());
        }
        let damaged = || StoreError::Damaged { what: format!("version {version} of the schema of `{event_type}`") };
        let text = index::read_text(self.store, event_type, version).await?.ok_or_else(damaged)?;
        serde_json::from_str(&text).map_err(|_| damaged())
    }

    /// Why a version does not go with its neighbours.
    async fn beside(
        &self,
        event_type: &str,
        version: u32,
        schema: &Value,
        mode: Compatibility,
    ) -> Result<Vec<Detail>, StoreError> {
        let mut details = Vec::new();
        if mode == Compatibility::None {
            return Ok(details);
        }
        let [below, above] = self.types[event_type].record.beside(version);
        for (old, new) in [(below, Some(version)), (Some(version), above)] {
            let (Some(old), Some(new)) = (old, new) else { continue };
            let other = self.schema(event_type, if old == version { new } else { old }).await?;
            let (before, after) = if old == version { (schema, &other) } else { (&other, schema) };
            details.extend(incompatibilities(event_type, (old, before), (new, after), mode));
        }
        Ok(details)
    }

    fn add(&mut self, event_type: &str, info: VersionInfo, schema: Value, text: &str) {
        let key = index::text_key(event_type, info.version);
        self.changes.push(own::document(TEXTS, key, Some(Bytes::copy_from_slice(text.as_bytes()))));
        self.texts.insert((event_type.to_owned(), info.version), schema);
        if let Some(known) = self.types.get_mut(event_type) {
            known.record.insert(info);
        }
    }

    fn finish(self, registered: Vec<Registered>) -> Plan {
        let mut plan = Plan { registered, documents: self.changes, ..Plan::default() };
        for (event_type, Type { stored, record }) in self.types {
            if !plan.registered.iter().any(|one| one.new && one.event_type == event_type) {
                continue;
            }
            plan.documents.push(own::document(TYPES, event_type.clone(), record.encode()));
            plan.guards.push(own::guard(TYPES, event_type.clone(), stored));
            plan.records.insert(event_type, record);
        }
        plan
    }
}

/// What of `new` does not go with `old`, as a mode says.
fn incompatibilities(
    event_type: &str,
    (old, before): (u32, &Value),
    (new, after): (u32, &Value),
    mode: Compatibility,
) -> Vec<Detail> {
    let directions: &[_] = match mode {
        Compatibility::None => &[],
        Compatibility::Backward => &[Direction::Backward],
        Compatibility::Forward => &[Direction::Forward],
        Compatibility::Full => &[Direction::Backward, Direction::Forward],
    };
    let (old_name, new_name) = (format!("version {old}"), format!("version {new}"));
    let look = |direction: &Direction| {
        let (old, new) = (Named { schema: before, name: &old_name }, Named { schema: after, name: &new_name });
        let direction_name = if *direction == Direction::Backward { "backward" } else { "forward" };
        compare(old, new, *direction).into_iter().map(move |found| (direction_name, found))
    };
    let detail = |(direction, found): (&str, Incompatibility)| Detail {
        at: found.at,
        message: format!("not {direction} compatible: {}", found.message),
        facts: vec![
            ("type", event_type.to_owned()),
            ("old_version", old.to_string()),
            ("new_version", new.to_string()),
            ("direction", direction.to_owned()),
            ("certain", found.certain.to_string()),
        ],
    };
    directions.iter().flat_map(look).map(detail).collect()
}
