//! Documents of the host's own: what it keeps beside the log, under [`GenerationId::HOST`].

use bytes::Bytes;

use crate::record::GenerationId;
use crate::store::{Change, DocumentChange, Documents, Guard, Store, StoreError, Unit};

/// Between the parts of a key. Names have no control characters.
pub(crate) const SEPARATOR: char = '\u{1}';

/// A new value for a document, or its removal.
pub(crate) fn document(collection: &str, key: String, value: Option<Bytes>) -> DocumentChange {
    DocumentChange { collection: collection.into(), key, value }
}

/// Passes if the document is as it was read.
pub(crate) fn guard(collection: &str, key: String, value: Option<Bytes>) -> Guard {
    Guard { collection: collection.into(), key, value }
}

/// A unit that passes if every guard holds.
pub(crate) fn unit(guards: Vec<Guard>, documents: Vec<DocumentChange>) -> Unit {
    let changes = vec![Change::PutDocuments { generation: GenerationId::HOST, documents }];
    Unit { guards, changes, ..Unit::default() }
}

pub(crate) async fn read(store: &dyn Store, collection: &str, key: &str) -> Result<Option<Bytes>, StoreError> {
    store.document(GenerationId::HOST, collection, key).await
}

/// One answer for each key, in order.
pub(crate) async fn read_many(
    store: &dyn Store,
    collection: &str,
    keys: &[String],
) -> Result<Vec<Option<Bytes>>, StoreError> {
    store.documents(GenerationId::HOST, collection, keys).await
}

/// A page of documents whose keys begin with `prefix` and come after `after`.
pub(crate) async fn page(
    store: &dyn Store,
    collection: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Documents, StoreError> {
    store.scan(GenerationId::HOST, collection, prefix, after, limit).await
}

/// Something that is kept as JSON with bytes behind it: the length of the JSON, the JSON, the bytes.
pub(crate) fn encode_with(json: &impl serde::Serialize, bytes: &[u8]) -> Bytes {
    let json = serde_json::to_vec(json).expect("it has only texts, numbers and flags");
    let mut out = Vec::with_capacity(4 + json.len() + bytes.len());
    out.extend_from_slice(&u32::try_from(json.len()).expect("what is stored is bounded").to_le_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(bytes);
    out.into()
}

/// The other way; `what` names it if it cannot be read.
pub(crate) fn decode_with<T: serde::de::DeserializeOwned>(
    what: &dyn Fn() -> String,
    stored: &Bytes,
) -> Result<(T, Bytes), StoreError> {
    let damaged = || StoreError::Damaged { what: what() };
    let length = stored.first_chunk().map(|length| u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
    let json = stored.get(4..4 + length).ok_or_else(damaged)?;
    Ok((serde_json::from_slice(json).map_err(|_| damaged())?, stored.slice(4 + length..)))
}

/// The same for JSON alone.
pub(crate) fn decode_json<T: serde::de::DeserializeOwned>(
    what: &dyn Fn() -> String,
    stored: &[u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(stored).map_err(|error| StoreError::Damaged { what: format!("{}: {error}", what()) })
}
