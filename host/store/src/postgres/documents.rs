//! Documents of read models.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use wasmill_core::limits::read::LIST_BYTES_MAX;
use wasmill_core::record::GenerationId;
use wasmill_core::store::prefix::end_of_prefix;
use wasmill_core::store::{Document, DocumentChange, Documents, Unit};

use super::changes::Statement;
use crate::guards;
use crate::number::signed;

/// Bytes of documents in one statement: sqlx keeps a copy of them while it runs.
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
        let mut batch = Batch::default();
        for (n, change) in changes.iter().enumerate() {
            if changes.get(n + 1).is_none_or(|next| key(next) != key(change)) {
                batch.add(change.0, change.1, statements);
            }
        }
        batch.finish(statements);
    }
}

/// Of different keys.
#[derive(Default)]
struct Batch {
    generations: Vec<i64>,
    collections: Vec<String>,
    keys: Vec<String>,
    values: Vec<Vec<u8>>,
    bytes: usize,
    gone: (Vec<i64>, Vec<String>, Vec<String>),
}

impl Batch {
    fn add(&mut self, generation: GenerationId, change: &DocumentChange, statements: &mut Vec<Statement>) {
        let (generation, collection) = (signed(generation.0), change.collection.to_string());
        match &change.value {
            Some(value) => {
                self.bytes += value.len();
                self.generations.push(generation);
                self.collections.push(collection);
                self.keys.push(change.key.clone());
                self.values.push(value.to_vec());
            }
            None => {
                self.gone.0.push(generation);
                self.gone.1.push(collection);
                self.gone.2.push(change.key.clone());
            }
        }
        if self.bytes > STATEMENT_BYTES_MAX {
            std::mem::take(self).finish(statements);
        }
    }

    fn finish(self, statements: &mut Vec<Statement>) {
        const PUT: &str = "
            insert into document (generation, collection, key, value)
            select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])
            on conflict (generation, collection, key) do update set value = excluded.value";
        const REMOVE: &str = "
            delete from document d
            using unnest($1::bigint[], $2::text[], $3::text[]) gone (generation, collection, key)
            where d.generation = gone.generation and d.collection = gone.collection and d.key = gone.key";
        if !self.keys.is_empty() {
            let put = sqlx::query(PUT).bind(self.generations).bind(self.collections);
            statements.push(put.bind(self.keys).bind(self.values));
        }
        if !self.gone.0.is_empty() {
            statements.push(sqlx::query(REMOVE).bind(self.gone.0).bind(self.gone.1).bind(self.gone.2));
        }
    }
}

/// Removes up to `limit` documents of a generation, in the order of the index.
pub(super) fn drop_some(generation: GenerationId, limit: usize) -> Statement {
    const DROP: &str = "
        delete from document where ctid = any(array(
            select ctid from document where generation = $1 order by collection, key limit $2))";
    sqlx::query(DROP).bind(signed(generation.0)).bind(signed(limit as u64))
}

pub(super) async fn document(
    connection: &mut PgConnection,
    generation: GenerationId,
    collection: &str,
    key: &str,
) -> sqlx::Result<Option<Bytes>> {
    const GET: &str = "select value from document where generation = $1 and collection = $2 and key = $3";
    let query = sqlx::query_scalar(GET).bind(signed(generation.0)).bind(collection).bind(key);
    let value: Option<Vec<u8>> = query.fetch_optional(connection).await?;
    Ok(value.map(Bytes::from))
}

/// The values of the host's own documents that guards of the units name, locked until the transaction
/// ends, be they there or not.
pub(super) async fn guarded(
    connection: &mut PgConnection,
    units: &[Unit],
) -> sqlx::Result<HashMap<(Arc<str>, String), Option<Bytes>>> {
    let places = guards::guarded(units);
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended(place, 0)) from unnest($1::text[]) place";
    let locks: Vec<String> = places.iter().map(|(collection, key)| format!("{collection}\n{key}")).collect();
    sqlx::query(LOCK).bind(locks).execute(&mut *connection).await?;
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
    connection: &mut PgConnection,
    generation: GenerationId,
    collection: &str,
    keys: &[String],
) -> sqlx::Result<Vec<Option<Bytes>>> {
    const GET: &str = "
        select wanted.n, document.value
        from unnest($3::text[]) with ordinality wanted (key, n)
        join document on generation = $1 and collection = $2 and document.key = wanted.key collate \"C\"";
    let mut values = vec![None; keys.len()];
    let query = sqlx::query(GET).bind(signed(generation.0)).bind(collection).bind(keys);
    let mut found = query.fetch(connection);
    while let Some(row) = found.try_next().await? {
        let n = usize::try_from(row.try_get::<i64, _>(0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        values[n - 1] = Some(Bytes::copy_from_slice(row.try_get(1)?));
    }
    Ok(values)
}

/// Documents whose keys begin with `prefix` and come after `after`. The end of a prefix is seen and not
/// computed: the key after the last one of a prefix is not always text.
pub(super) async fn scan(
    connection: &mut PgConnection,
    generation: GenerationId,
    collection: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> sqlx::Result<Documents> {
    const SCAN: &str = "
        select key, value from document
        where generation = $1 and collection = $2 and key >= $3 order by key limit $4";
    let mut start = prefix.max(after.unwrap_or_default()).to_owned();
    let mut skip = after.map(str::to_owned);
    let rows_max = rows_at_once(generation, collection, limit);
    let (mut documents, mut bytes) = (Vec::new(), 0);
    loop {
        let query = sqlx::query(SCAN).bind(signed(generation.0)).bind(collection).bind(&start).bind(rows_max);
        let rows = query.fetch_all(&mut *connection).await?;
        for row in &rows {
            let key: &str = row.try_get(0)?;
            if skip.as_deref() == Some(key) {
                continue;
            }
            if !key.starts_with(prefix) {
                return Ok(Documents { documents, more: false });
            }
            let value: &[u8] = row.try_get(1)?;
            bytes += value.len();
            if documents.len() == limit || (bytes > LIST_BYTES_MAX && !documents.is_empty()) {
                return Ok(Documents { documents, more: true });
            }
            documents.push(Document { key: key.into(), value: Bytes::copy_from_slice(value) });
        }
        match rows.last() {
            Some(last) if rows.len() as i64 == rows_max => {
                start = last.try_get(0)?;
                skip = Some(start.clone());
            }
            _ => return Ok(Documents { documents, more: false }),
        }
    }
}

/// The same downwards from `before`. Here the end of a prefix has to be known to begin with.
pub(super) async fn scan_back(
    connection: &mut PgConnection,
    generation: GenerationId,
    collection: &str,
    prefix: &str,
    before: Option<&str>,
    limit: usize,
) -> sqlx::Result<Documents> {
    const SCAN: &str = "
        select key, value from document
        where generation = $1 and collection = $2 and key >= $3 and key < $5 order by key desc limit $4";
    const SCAN_FROM_THE_END: &str = "
        select key, value from document
        where generation = $1 and collection = $2 and key >= $3 order by key desc limit $4";
    let end = end_of_prefix(prefix);
    let mut end = end.as_deref().into_iter().chain(before).min().map(str::to_owned);
    let rows_max = rows_at_once(generation, collection, limit);
    let (mut documents, mut bytes) = (Vec::new(), 0);
    loop {
        let query = sqlx::query(if end.is_some() { SCAN } else { SCAN_FROM_THE_END });
        let mut query = query.bind(signed(generation.0)).bind(collection).bind(prefix).bind(rows_max);
        if let Some(end) = &end {
            query = query.bind(end);
        }
        let rows = query.fetch_all(&mut *connection).await?;
        for row in &rows {
            let (key, value): (&str, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            bytes += value.len();
            if documents.len() == limit || (bytes > LIST_BYTES_MAX && !documents.is_empty()) {
                return Ok(Documents { documents, more: true });
            }
            documents.push(Document { key: key.into(), value: Bytes::copy_from_slice(value) });
        }
        match rows.last() {
            Some(last) if rows.len() as i64 == rows_max => end = Some(last.try_get(0)?),
            _ => return Ok(Documents { documents, more: false }),
        }
    }
}

/// Rows that one query asks for: the server sends them all, and each may have 256 KiB, or 2 MiB if it is
/// the host's own. Those of an index have no value.
fn rows_at_once(generation: GenerationId, collection: &str, limit: usize) -> i64 {
    let is_index = generation != GenerationId::HOST && collection.starts_with('$');
    if is_index { signed(limit as u64).saturating_add(2) } else { 16 }
}

pub(super) async fn count(
    connection: &mut PgConnection,
    generation: GenerationId,
    collection: &str,
    prefix: &str,
) -> sqlx::Result<u64> {
    const COUNT: &str = "
        select count(*) from document
        where generation = $1 and collection = $2 and key >= $3 and key < $4";
    const COUNT_TO_THE_END: &str = "
        select count(*) from document
        where generation = $1 and collection = $2 and key >= $3";
    let end = end_of_prefix(prefix);
    let query = sqlx::query_scalar(if end.is_some() { COUNT } else { COUNT_TO_THE_END });
    let query = query.bind(signed(generation.0)).bind(collection).bind(prefix);
    let query = match end {
        Some(end) => query.bind(end),
        None => query,
    };
    query.fetch_one(connection).await.map(i64::cast_unsigned)
}

pub(super) async fn collections(connection: &mut PgConnection, generation: GenerationId) -> sqlx::Result<Vec<String>> {
    const NAMES: &str = "
        with recursive names(name) as (
            select (select min(collection) from document where generation = $1)
            union all
            select (select min(collection) from document where generation = $1 and collection > name)
            from names where name is not null)
        select name from names where name is not null";
    sqlx::query_scalar(NAMES).bind(signed(generation.0)).fetch_all(connection).await
}
