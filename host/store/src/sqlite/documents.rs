//! Documents of read models.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use wasmill_core::limits::read::LIST_BYTES_MAX;
use wasmill_core::record::GenerationId;
use wasmill_core::store::prefix::end_of_prefix;
use wasmill_core::store::{Document, DocumentChange, Documents, Unit};

use super::rows::{Rows, Statement};
use crate::guards;
use crate::number::signed;

/// Bytes of documents in one statement: SQLite and sqlx each keep a copy of them while it runs.
const STATEMENT_BYTES_MAX: usize = 4 << 20;

/// Changes that wait to be written together. The newest of a key is the one that counts.
#[derive(Debug, Default)]
pub(super) struct Pending<'a>(Vec<(GenerationId, &'a DocumentChange)>);

impl<'a> Pending<'a> {
    pub(super) fn add(&mut self, generation: GenerationId, changes: &'a [DocumentChange]) {
        self.0.extend(changes.iter().map(|change| (generation, change)));
    }

    /// The statements that write them. In the order of the index, so that neighbours share its pages.
    pub(super) fn flush(&mut self, statements: &mut Vec<Statement>) {
        let mut changes = std::mem::take(&mut self.0);
        let key = |(generation, change): &(GenerationId, &'a DocumentChange)| {
            (*generation, &*change.collection, change.key.as_str())
        };
        changes.sort_by(|a, b| key(a).cmp(&key(b)));
        let (mut puts, mut removals) = (Batch::new(PUT), Batch::new(REMOVE));
        for (n, change) in changes.iter().enumerate() {
            if changes.get(n + 1).is_none_or(|next| key(next) != key(change)) {
                let (generation, change) = change;
                let batch = if change.value.is_some() { &mut puts } else { &mut removals };
                batch.add(*generation, change, statements);
            }
        }
        puts.finish(statements);
        removals.finish(statements);
    }
}

const PUT: &str = "
    insert into document (generation, collection, key, value)
    select value ->> 0, cast(substr(packed, value ->> 1, value ->> 2) as text),
        cast(substr(packed, value ->> 3, value ->> 4) as text), substr(packed, value ->> 5, value ->> 6)
    from (select ? as packed), jsonb_each(?) where true
    on conflict (generation, collection, key) do update set value = excluded.value";

const REMOVE: &str = "
    delete from document where rowid in (
        select old.rowid
        from (select ? as packed), jsonb_each(?) gone
        cross join document old on old.generation = gone.value ->> 0
            and old.collection = cast(substr(packed, gone.value ->> 1, gone.value ->> 2) as text)
            and old.key = cast(substr(packed, gone.value ->> 3, gone.value ->> 4) as text))";

struct Batch {
    sql: &'static str,
    rows: Rows,
}

impl Batch {
    fn new(sql: &'static str) -> Self {
        Self { sql, rows: Rows::new() }
    }

    fn add(&mut self, generation: GenerationId, change: &DocumentChange, statements: &mut Vec<Statement>) {
        let collection = self.rows.put(change.collection.as_bytes());
        let key = self.rows.put(change.key.as_bytes());
        let value = self.rows.put(change.value.as_deref().unwrap_or_default());
        self.rows.push(&[
            signed(generation.0),
            collection.at,
            collection.length,
            key.at,
            key.length,
            value.at,
            value.length,
        ]);
        if self.rows.byte_count() > STATEMENT_BYTES_MAX {
            let full = std::mem::replace(self, Self::new(self.sql));
            full.finish(statements);
        }
    }

    fn finish(self, statements: &mut Vec<Statement>) {
        if !self.rows.is_empty() {
            statements.push(self.rows.bind_to(sqlx::query(self.sql)));
        }
    }
}

/// Removes up to `limit` documents of a generation, in the order of the index.
pub(super) fn drop_some(generation: GenerationId, limit: usize) -> Statement {
    const DROP: &str = "
        delete from document where rowid in
            (select rowid from document where generation = ? order by collection, key limit ?)";
    sqlx::query(DROP).bind(signed(generation.0)).bind(signed(limit as u64))
}

pub(super) async fn document(
    connection: &mut SqliteConnection,
    generation: GenerationId,
    collection: &str,
    key: &str,
) -> sqlx::Result<Option<Bytes>> {
    const GET: &str = "select value from document where generation = ? and collection = ? and key = ?";
    let query = sqlx::query_scalar(GET).bind(signed(generation.0)).bind(collection).bind(key);
    let value: Option<Vec<u8>> = query.fetch_optional(connection).await?;
    Ok(value.map(Bytes::from))
}

/// The values of the host's own documents that guards of the units name.
pub(super) async fn guarded(
    connection: &mut SqliteConnection,
    units: &[Unit],
) -> sqlx::Result<HashMap<(Arc<str>, String), Option<Bytes>>> {
    let places = guards::guarded(units);
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    let mut values = HashMap::with_capacity(places.len());
    for places in places.chunk_by(|a, b| a.0 == b.0) {
        let keys: Vec<String> = places.iter().map(|(_, key)| key.clone()).collect();
        let found = documents(&mut *connection, GenerationId::HOST, &places[0].0, &keys).await?;
        values.extend(places.iter().cloned().zip(found));
    }
    Ok(values)
}

/// One answer for each key, in order.
pub(super) async fn documents(
    connection: &mut SqliteConnection,
    generation: GenerationId,
    collection: &str,
    keys: &[String],
) -> sqlx::Result<Vec<Option<Bytes>>> {
    const GET: &str = "
        select wanted.key, document.value
        from (select ? as packed), jsonb_each(?) wanted
        cross join document on document.generation = ? and document.collection = ?
            and document.key = cast(substr(packed, wanted.value ->> 0, wanted.value ->> 1) as text)";
    let mut values = vec![None; keys.len()];
    let mut rows = Rows::with_capacity(keys.len(), keys.iter().map(String::len).sum());
    keys.iter().for_each(|key| rows.push_text(key));
    let query = rows.bind_to(sqlx::query(GET)).bind(signed(generation.0)).bind(collection);
    let mut found = query.fetch(connection);
    while let Some(row) = found.try_next().await? {
        let n = usize::try_from(row.try_get::<i64, _>(0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        values[n] = Some(Bytes::copy_from_slice(row.try_get(1)?));
    }
    Ok(values)
}

/// Documents whose keys begin with `prefix` and come after `after`. The end of a prefix is seen and not
/// computed: the key after the last one of a prefix is not always text.
pub(super) async fn scan(
    connection: &mut SqliteConnection,
    generation: GenerationId,
    collection: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> sqlx::Result<Documents> {
    const SCAN: &str = "
        select key, value from document
        where generation = ? and collection = ? and key >= ? order by key limit ?";
    let start = prefix.max(after.unwrap_or_default());
    // One more for `after` itself, and one to see whether there are more.
    let rows_max = signed(limit as u64).saturating_add(2);
    let query = sqlx::query(SCAN).bind(signed(generation.0)).bind(collection);
    let mut rows = query.bind(start).bind(rows_max).fetch(connection);
    let (mut documents, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let key: &str = row.try_get(0)?;
        if after == Some(key) {
            continue;
        }
        if !key.starts_with(prefix) {
            break;
        }
        let value: &[u8] = row.try_get(1)?;
        bytes += value.len();
        if documents.len() == limit || (bytes > LIST_BYTES_MAX && !documents.is_empty()) {
            return Ok(Documents { documents, more: true });
        }
        documents.push(Document { key: key.into(), value: Bytes::copy_from_slice(value) });
    }
    Ok(Documents { documents, more: false })
}

/// The same downwards from `before`. Here the end of a prefix has to be known to begin with.
pub(super) async fn scan_back(
    connection: &mut SqliteConnection,
    generation: GenerationId,
    collection: &str,
    prefix: &str,
    before: Option<&str>,
    limit: usize,
) -> sqlx::Result<Documents> {
    const SCAN: &str = "
        select key, value from document
        where generation = ? and collection = ? and key >= ? and key < ? order by key desc limit ?";
    const SCAN_FROM_THE_END: &str = "
        select key, value from document
        where generation = ? and collection = ? and key >= ? order by key desc limit ?";
    let end = end_of_prefix(prefix);
    let end = end.as_deref().into_iter().chain(before).min();
    let query = sqlx::query(if end.is_some() { SCAN } else { SCAN_FROM_THE_END });
    let query = query.bind(signed(generation.0)).bind(collection).bind(prefix);
    let query = match end {
        Some(end) => query.bind(end),
        None => query,
    };
    // One more to see whether there are more.
    let mut rows = query.bind(signed(limit as u64).saturating_add(1)).fetch(connection);
    let (mut documents, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let (key, value): (&str, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        bytes += value.len();
        if documents.len() == limit || (bytes > LIST_BYTES_MAX && !documents.is_empty()) {
            return Ok(Documents { documents, more: true });
        }
        documents.push(Document { key: key.into(), value: Bytes::copy_from_slice(value) });
    }
    Ok(Documents { documents, more: false })
}

pub(super) async fn count(
    connection: &mut SqliteConnection,
    generation: GenerationId,
    collection: &str,
    prefix: &str,
) -> sqlx::Result<u64> {
    const COUNT: &str = "
        select count(*) from document
        where generation = ? and collection = ? and key >= ? and key < ?";
    const COUNT_TO_THE_END: &str = "
        select count(*) from document
        where generation = ? and collection = ? and key >= ?";
    let end = end_of_prefix(prefix);
    let query = sqlx::query_scalar(if end.is_some() { COUNT } else { COUNT_TO_THE_END });
    let query = query.bind(signed(generation.0)).bind(collection).bind(prefix);
    let query = match end {
        Some(end) => query.bind(end),
        None => query,
    };
    query.fetch_one(connection).await.map(i64::cast_unsigned)
}

pub(super) async fn collections(
    connection: &mut SqliteConnection,
    generation: GenerationId,
) -> sqlx::Result<Vec<String>> {
    const NAMES: &str = "
        with recursive names(name) as (
            select (select min(collection) from document where generation = ?1)
            union all
            select (select min(collection) from document where generation = ?1 and collection > name)
            from names where name is not null)
        select name from names where name is not null";
    sqlx::query_scalar(NAMES).bind(signed(generation.0)).fetch_all(connection).await
}
