//! The documents of the registry, and what a host remembers of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Compatibility, TypeInfo, VersionInfo};
use crate::limits::read;
use crate::log_id;
use crate::own::{self, SEPARATOR};
use crate::store::{Store, StoreError};

/// A type's record.
pub(super) const TYPES: &str = "schema-type";
/// The text of a version.
pub(super) const TEXTS: &str = "schema";

/// Under which the ids of schemas are made.
const NAMESPACE: Uuid = Uuid::from_u128(0x1d4c_7f0a_93e2_4b68_8a1f_5c70_e2b9_44d3);

/// What is stored of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypeRecord {
    pub(super) compatibility: Compatibility,
    /// In their order.
    pub(super) versions: Vec<VersionInfo>,
}

impl TypeRecord {
    pub(super) fn version(&self, version: u32) -> Option<&VersionInfo> {
        self.versions.iter().find(|known| known.version == version)
    }

    pub(super) fn latest(&self) -> Option<&VersionInfo> {
        self.versions.last()
    }

    /// The nearest below and above.
    pub(super) fn beside(&self, version: u32) -> [Option<u32>; 2] {
        let versions = || self.versions.iter().map(|known| known.version);
        [versions().filter(|known| *known < version).max(), versions().filter(|known| *known > version).min()]
    }

    pub(super) fn insert(&mut self, info: VersionInfo) {
        let at = self.versions.partition_point(|known| known.version < info.version);
        self.versions.insert(at, info);
    }

    pub(super) fn info(&self, event_type: &str) -> TypeInfo {
        let Self { compatibility, versions } = self.clone();
        TypeInfo { event_type: event_type.to_owned(), compatibility, versions }
    }

    /// `None` for one that says nothing.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let said = *self != Self::default();
        said.then(|| serde_json::to_vec(self).expect("it has only texts and numbers").into())
    }

    pub(super) fn decode(event_type: &str, stored: &[u8]) -> Result<Self, StoreError> {
        own::decode_json(&|| format!("the schemas of `{event_type}`"), stored)
    }
}

pub(super) type Index = BTreeMap<String, Arc<TypeRecord>>;

/// All that is stored. A record that cannot be read is passed over and said in the log.
pub(super) async fn load(store: &dyn Store) -> Result<Index, StoreError> {
    let (mut index, mut after) = (Index::new(), None);
    loop {
        let page = own::page(store, TYPES, "", after.as_deref(), read::LIST_DOCUMENTS_MAX).await?;
        for document in &page.documents {
            match TypeRecord::decode(&document.key, &document.value) {
                Ok(record) => {
                    index.insert(document.key.clone(), Arc::new(record));
                }
                Err(error) => {
                    let (event_id, event_type) = (log_id::SCHEMA_UNREADABLE, &document.key);
                    tracing::error!(event_id, event_type, %error, "schemas of a type cannot be read");
                }
            }
        }
        after = page.documents.last().map(|last| last.key.clone());
        if !page.more || after.is_none() {
            return Ok(index);
        }
    }
}

pub(super) fn text_key(event_type: &str, version: u32) -> String {
    format!("{event_type}{SEPARATOR}{version:010}")
}

pub(super) async fn read_text(store: &dyn Store, event_type: &str, version: u32) -> Result<Option<String>, StoreError> {
    let stored = own::read(store, TEXTS, &text_key(event_type, version)).await?;
    let damaged = || StoreError::Damaged { what: format!("version {version} of the schema of `{event_type}`") };
    stored.map(|text| String::from_utf8(text.into()).map_err(|_| damaged())).transpose()
}

/// The same for the same content, however it is laid out.
pub(super) fn id_of(schema: &Value) -> Uuid {
    let mut text = String::new();
    write_canonical(schema, &mut text);
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_canonical(value, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(object) => {
            let sorted: BTreeMap<_, _> = object.iter().collect();
            text.push('{');
            for (name, value) in sorted {
                *text += &Value::from(name.as_str()).to_string();
                text.push(':');
                write_canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        plain => *text += &plain.to_string(),
    }
}
