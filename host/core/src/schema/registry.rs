//! The registry: the door to the schemas.

use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use super::index::{self, Index, TEXTS, TYPES, TypeRecord};
use super::judge::{Cache, Compiled, judge, judge_event};
use super::plan::{Plan, plan, sound};
use super::{Compatibility, Judgement, NewSchema, Registered, Schema, SchemaError, TypeInfo, TypePage, VersionInfo};
use crate::clock::Clock;
use crate::event::NewEvent;
use crate::limits::schema as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log_id;
use crate::name;
use crate::own;
use crate::store::{Change, Rejection, Store, StoreError, Unit};

/// All schemas. Cheap to clone.
#[derive(Clone)]
pub struct Schemas(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
    /// Replaced as a whole.
    index: RwLock<Arc<Index>>,
    compiled: Cache,
    /// Held over a change and its commit, so that memory follows the store.
    changing: tokio::sync::Mutex<()>,
}

impl Schemas {
    /// Knows nothing before it has been [reloaded](Schemas::reload).
    pub(crate) fn new(store: Arc<dyn Store>, committer: Committer, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            store,
            committer,
            clock,
            index: RwLock::default(),
            compiled: Cache::default(),
            changing: tokio::sync::Mutex::default(),
        }))
    }

    /// Takes over what is stored: at the start, and when another host has changed it.
    pub(crate) async fn reload(&self) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock().await;
        self.set(index::load(&*self.0.store).await?);
        Ok(())
    }

    /// Registers one schema. The same again changes nothing.
    pub async fn register(&self, new: NewSchema) -> Result<Registered, SchemaError> {
        let registered = self.register_all(&[new]).await?;
        Ok(registered.into_iter().next().expect("one answer for each schema"))
    }

    /// Registers all of them or none, and answers for each in order. Those that are there already stay as
    /// they are.
    pub async fn register_all(&self, new: &[NewSchema]) -> Result<Vec<Registered>, SchemaError> {
        let sound = sound(new)?;
        let _changing = self.0.changing.lock().await;
        for _ in 0..limits::TRIES_MAX {
            let plan = plan(&*self.0.store, &sound, self.0.clock.now()).await?;
            let Plan { guards, documents, records, registered } = plan;
            self.check_room(records.keys())?;
            if !records.is_empty() && !self.commit(own::unit(guards, documents)).await? {
                continue;
            }
            self.remember(records.into_iter().map(|(event_type, record)| (event_type, Some(record))));
            for one in registered.iter().filter(|one| one.new) {
                let (event_id, event_type, version) = (log_id::SCHEMA_REGISTERED, &one.event_type, one.info.version);
                tracing::info!(event_id, event_type, version, "a schema was registered");
            }
            return Ok(registered);
        }
        Err(CommitError::Overloaded.into())
    }

    /// What [`Schemas::register_all`] would answer, without registering anything.
    pub async fn check_all(&self, new: &[NewSchema]) -> Result<Vec<Registered>, SchemaError> {
        let sound = sound(new)?;
        let plan = plan(&*self.0.store, &sound, self.0.clock.now()).await?;
        self.check_room(plan.records.keys())?;
        Ok(plan.registered)
    }

    /// The types after `after`, at most `limit` of them.
    pub fn list(&self, after: Option<&str>, limit: usize) -> TypePage {
        let index = self.index();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = index.range::<str, _>((from, Bound::Unbounded));
        let types = rest.by_ref().take(limit).map(|(event_type, record)| record.info(event_type)).collect();
        TypePage { types, more: rest.next().is_some() }
    }

    pub fn get(&self, event_type: &str) -> Result<TypeInfo, SchemaError> {
        let record = self.index().get(event_type).cloned();
        record.map(|record| record.info(event_type)).ok_or_else(|| not_found(event_type, None))
    }

    /// One version, or the latest.
    pub async fn schema(&self, event_type: &str, version: Option<u32>) -> Result<Schema, SchemaError> {
        let record = self.index().get(event_type).cloned();
        let info = record.and_then(|record| match version {
            None => record.latest().cloned(),
            Some(version) => record.version(version).cloned(),
        });
        let info = info.ok_or_else(|| not_found(event_type, version))?;
        let text = index::read_text(&*self.0.store, event_type, info.version).await?;
        let schema = text.ok_or_else(|| not_found(event_type, Some(info.version)))?;
        Ok(Schema { event_type: event_type.to_owned(), info, schema })
    }

    /// From now on. What is registered already is not looked at again.
    pub async fn set_compatibility(&self, event_type: &str, mode: Compatibility) -> Result<TypeInfo, SchemaError> {
        name::check(event_type).map_err(SchemaError::Name)?;
        let (_, info) = self
            .change(event_type, |record| {
                record.compatibility = mode;
                Ok(())
            })
            .await?;
        let (event_id, mode) = (log_id::SCHEMA_MODE_CHANGED, mode.as_str());
        tracing::info!(event_id, event_type, mode, "what new schemas of a type have to go with has changed");
        Ok(info)
    }

    /// Removes one version, if it is forced: events that were published under it stay, and the version may
    /// be registered anew.
    pub async fn delete(&self, event_type: &str, version: u32, force: bool) -> Result<(), SchemaError> {
        self.change(event_type, |record| {
            let at = record.versions.iter().position(|known| known.version == version);
            let at = at.ok_or_else(|| not_found(event_type, Some(version)))?;
            if !force {
                return Err(SchemaError::NotForced);
            }
            record.versions.remove(at);
            Ok(())
        })
        .await?;
        tracing::warn!(event_id = log_id::SCHEMA_DELETED, event_type, version, "a schema was deleted");
        Ok(())
    }

    /// Whether data keeps a version of a type's schema, or the latest.
    pub async fn validate(
        &self,
        event_type: &str,
        version: Option<u32>,
        data: &[u8],
    ) -> Result<(VersionInfo, Judgement), SchemaError> {
        let record = self.index().get(event_type).cloned();
        let info = record.and_then(|record| match version {
            None => record.latest().cloned(),
            Some(version) => record.version(version).cloned(),
        });
        let info = info.ok_or_else(|| not_found(event_type, version))?;
        let compiled = self.compiled(event_type, &info).await?;
        let compiled = compiled.ok_or_else(|| not_found(event_type, Some(info.version)))?;
        Ok((info, judge(&compiled, data)))
    }

    /// What is to be said of an event that is to be published. Where a schema is `required`, one that this
    /// host does not know of yet is looked for in the store.
    pub(crate) async fn judge(&self, event: &NewEvent, required: bool) -> Result<Judgement, StoreError> {
        let (event_type, version) = (event.event_type.as_str(), event.schema_version.max(1));
        let mut record = self.index().get(event_type).cloned();
        if required && record.as_ref().and_then(|record| record.version(version)).is_none() {
            record = self.stored(event_type).await?.map(Arc::new);
        }
        let Some(info) = record.as_ref().and_then(|record| record.version(version)) else {
            return Ok(Judgement::Unknown);
        };
        Ok(match self.compiled(event_type, info).await? {
            Some(compiled) => judge_event(&compiled, event),
            None => Judgement::Unknown,
        })
    }

    async fn compiled(&self, event_type: &str, info: &VersionInfo) -> Result<Option<Arc<Compiled>>, StoreError> {
        if let Some(known) = self.0.compiled.get(event_type, info.version, info.id) {
            return Ok(Some(known));
        }
        // Deleted meanwhile.
        let Some(text) = index::read_text(&*self.0.store, event_type, info.version).await? else { return Ok(None) };
        let what = || format!("version {} of the schema of `{event_type}`", info.version);
        let compiled = Compiled::new(info.id, &text).ok_or_else(|| StoreError::Damaged { what: what() })?;
        let compiled = Arc::new(compiled);
        self.0.compiled.put(event_type, info.version, &compiled);
        Ok(Some(compiled))
    }

    async fn stored(&self, event_type: &str) -> Result<Option<TypeRecord>, StoreError> {
        let stored = own::read(&*self.0.store, TYPES, event_type).await?;
        stored.map(|stored| TypeRecord::decode(event_type, &stored)).transpose()
    }

    /// Changes a type's record, and removes the texts of versions that it no longer has.
    async fn change(
        &self,
        event_type: &str,
        change: impl Fn(&mut TypeRecord) -> Result<(), SchemaError>,
    ) -> Result<(TypeRecord, TypeInfo), SchemaError> {
        let _changing = self.0.changing.lock().await;
        for _ in 0..limits::TRIES_MAX {
            let stored = own::read(&*self.0.store, TYPES, event_type).await?;
            let before = stored.as_ref().map(|stored| TypeRecord::decode(event_type, stored)).transpose()?;
            let before = before.unwrap_or_default();
            let mut after = before.clone();
            change(&mut after)?;
            let info = after.info(event_type);
            if after == before {
                return Ok((before, info));
            }
            self.check_room([event_type.to_owned()].iter())?;
            let gone = before.versions.iter().filter(|known| after.version(known.version).is_none());
            let gone = gone.map(|known| own::document(TEXTS, index::text_key(event_type, known.version), None));
            let record = own::document(TYPES, event_type.to_owned(), after.encode());
            let guards = vec![own::guard(TYPES, event_type.to_owned(), stored)];
            if self.commit(own::unit(guards, gone.chain([record]).collect())).await? {
                let kept = (after != TypeRecord::default()).then(|| after.clone());
                self.remember([(event_type.to_owned(), kept)]);
                return Ok((before, info));
            }
        }
        Err(CommitError::Overloaded.into())
    }

    /// False if something is no longer as it was read.
    async fn commit(&self, mut unit: Unit) -> Result<bool, SchemaError> {
        unit.changes.push(Change::Revise);
        match self.0.committer.commit(unit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Rejected(Rejection::Overtaken { .. })) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn check_room<'a>(&self, changed: impl Iterator<Item = &'a String>) -> Result<(), SchemaError> {
        let index = self.index();
        let new = changed.filter(|event_type| !index.contains_key(*event_type)).count();
        if new > 0 && index.len() + new > limits::TYPES_MAX {
            let max = limits::TYPES_MAX;
            return Err(SchemaError::TooMany(format!("there are schemas of {max} event types, which is the limit")));
        }
        Ok(())
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.0.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, index: Index) {
        *self.0.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
    }

    fn remember(&self, changed: impl IntoIterator<Item = (String, Option<TypeRecord>)>) {
        let mut changed = changed.into_iter().peekable();
        if changed.peek().is_none() {
            return;
        }
        let mut index = Index::clone(&self.index());
        for (event_type, record) in changed {
            match record {
                Some(record) => index.insert(event_type, Arc::new(record)),
                None => index.remove(&event_type),
            };
        }
        self.set(index);
    }
}

fn not_found(event_type: &str, version: Option<u32>) -> SchemaError {
    SchemaError::NotFound { event_type: event_type.to_owned(), version }
}
