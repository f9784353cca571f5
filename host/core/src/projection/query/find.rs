//! Answers queries: a page of the documents that match, in the order that is asked for.
//!
//! What a page reads is not one moment: a document that changes meanwhile is looked at as it is then. One that
//! does not change while its pages are read is found exactly once.

use bytes::Bytes;

use super::condition::Condition;
use super::plan::{NotIndexed, Plan, Sort};
use super::{Answer, Projections, QueryError, WaitFor};
use crate::limits::read as limits;
use crate::projection::field::{Field, scalars};
use crate::projection::generation::Generation;
use crate::projection::index::{Index, entry, indexes_of, key_of};
use crate::record::GenerationId;
use crate::store::{Document, Documents, Store, StoreError};

/// What is asked of a collection.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub condition: Condition,
    /// Of the keys.
    pub prefix: String,
    pub sort: Sort,
    /// Documents of a page, 1 to 1,000.
    pub limit: usize,
    /// The end of the page before.
    pub cursor: Option<Cursor>,
    /// Whether all that match are to be counted.
    pub count: bool,
}

/// Where a page has ended. It is good for the query that it came from, on whichever generation serves by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Tells queries apart.
    query: u64,
    /// The last entry, or key, that was looked at.
    place: String,
}

impl Cursor {
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.query.to_be_bytes(), self.place.as_bytes()].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (query, place) = bytes.split_first_chunk()?;
        Some(Self { query: u64::from_be_bytes(*query), place: String::from_utf8(place.to_vec()).ok()? })
    }
}

/// A page of what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub documents: Vec<Document>,
    /// Where to go on; `None` at the end. There may be fewer documents than asked for, or none, and yet more.
    pub cursor: Option<Cursor>,
    pub count: Option<Count>,
    /// The field by whose index they come; `None`: by their keys.
    pub by: Option<Field>,
    pub generation: GenerationId,
}

/// How many documents match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub documents: u64,
    /// Whether there may be more: a count looks at a bounded number of documents.
    pub at_least: bool,
}

impl Projections {
    pub async fn find(
        &self,
        name: &str,
        collection: &str,
        query: &Query,
        wait_for: Option<WaitFor>,
    ) -> Result<Answer<Found>, QueryError> {
        let (serving, _in_use) = self.ready(name, collection, wait_for).await?;
        // Taken before the read: the answer is at least this fresh.
        let next_position = serving.next();
        let search = Search::new(&**self.0.store(), &serving, collection, query).map_err(|NotIndexed(field)| {
            let known = indexes(&serving, collection).into_iter().map(|index| index.field.to_string()).collect();
            QueryError::NotIndexed { collection: collection.into(), field: field.to_string(), known }
        })?;
        if query.cursor.as_ref().is_some_and(|cursor| cursor.query != search.id()) {
            return Err(QueryError::ForeignCursor);
        }
        let count = if query.count { Some(search.count().await?) } else { None };
        let mut found = search.page().await?;
        found.count = count;
        Ok(Answer { value: found, next_position })
    }
}

fn indexes(serving: &Generation, collection: &str) -> Vec<Index> {
    let declared = serving.descriptor().map(|descriptor| descriptor.collections.iter());
    let declared = declared.into_iter().flatten().find(|declared| declared.name == collection);
    declared.map(indexes_of).unwrap_or_default()
}

struct Search<'a> {
    store: &'a dyn Store,
    generation: GenerationId,
    collection: &'a str,
    query: &'a Query,
    plan: Plan,
}

/// What was looked at next.
struct Step {
    /// In order, each with its place; `None` is one that is not wanted.
    looked: Vec<(String, Option<Document>)>,
    end: bool,
}

impl<'a> Search<'a> {
    fn new(
        store: &'a dyn Store,
        serving: &Generation,
        collection: &'a str,
        query: &'a Query,
    ) -> Result<Self, NotIndexed> {
        let plan = Plan::new(&query.condition, &query.prefix, &query.sort, &indexes(serving, collection))?;
        Ok(Self { store, generation: serving.id, collection, query, plan })
    }

    /// The same for the same question, answered in the same way.
    fn id(&self) -> u64 {
        let Query { condition, prefix, sort, limit: _, cursor: _, count: _ } = self.query;
        let index = self.plan.index.as_ref().map(|index| &*index.name);
        let text = format!("{:?}", (self.collection, condition, prefix, sort, index));
        // FNV-1a: the same on every host and after every restart.
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    async fn page(&self) -> Result<Found, StoreError> {
        let limit = self.query.limit.clamp(1, limits::LIST_DOCUMENTS_MAX);
        let mut at = self.query.cursor.as_ref().map(|cursor| cursor.place.clone());
        let mut found = Found {
            documents: Vec::new(),
            cursor: None,
            count: None,
            by: self.plan.index.as_ref().map(|index| index.field.clone()),
            generation: self.generation,
        };
        let (mut bytes, mut looked_at) = (0, 0);
        loop {
            // One more than is asked for shows whether there are more.
            let missing = limit + 1 - found.documents.len();
            let step = self.step(at.as_deref(), if self.plan.exact { missing } else { missing.max(64) }).await?;
            for (place, document) in step.looked {
                if let Some(document) = document.filter(|document| self.wants(document)) {
                    bytes += document.value.len();
                    let full = bytes > limits::LIST_BYTES_MAX && !found.documents.is_empty();
                    if found.documents.len() == limit || full {
                        found.cursor = at.map(|place| Cursor { query: self.id(), place });
                        return Ok(found);
                    }
                    found.documents.push(document);
                }
                at = Some(place);
                looked_at += 1;
            }
            if step.end {
                return Ok(found);
            }
            if looked_at >= limits::QUERY_LOOKED_AT_MAX {
                found.cursor = at.map(|place| Cursor { query: self.id(), place });
                return Ok(found);
            }
        }
    }

    async fn count(&self) -> Result<Count, StoreError> {
        let is_all = self.plan.index.is_none() && self.plan.exact;
        if is_all {
            let documents = self.store.count(self.generation, self.collection, &self.query.prefix).await?;
            return Ok(Count { documents, at_least: false });
        }
        let (mut at, mut documents, mut looked_at) = (None::<String>, 0, 0);
        loop {
            let step = match &self.plan.index {
                Some(index) if self.plan.exact => {
                    let (entries, end) = self.entries(index, at.as_deref(), limits::LIST_DOCUMENTS_MAX).await?;
                    documents += entries.len() as u64;
                    Step { looked: entries.into_iter().map(|entry| (entry, None)).collect(), end }
                }
                _ => self.step(at.as_deref(), limits::LIST_DOCUMENTS_MAX).await?,
            };
            looked_at += step.looked.len();
            let wanted = step.looked.iter().filter_map(|(_, document)| document.as_ref());
            documents += wanted.filter(|document| self.wants(document)).count() as u64;
            if step.end || looked_at >= limits::COUNT_LOOKED_AT_MAX {
                return Ok(Count { documents, at_least: !step.end });
            }
            at = step.looked.into_iter().next_back().map(|(place, _)| place);
        }
    }

    fn wants(&self, document: &Document) -> bool {
        self.plan.index.is_some() && self.plan.exact || self.query.condition.matches(&document.value)
    }

    /// Looks at up to `want` documents behind a place.
    async fn step(&self, at: Option<&str>, want: usize) -> Result<Step, StoreError> {
        let Some(index) = &self.plan.index else {
            let page = self.scan(self.collection, &self.query.prefix, at, want).await?;
            let looked = page.documents.into_iter().map(|document| (document.key.clone(), Some(document)));
            return Ok(Step { looked: looked.collect(), end: !page.more });
        };
        let (entries, end) = self.entries(index, at, want.min(limits::DOCUMENTS_AT_ONCE)).await?;
        let keys: Vec<String> = entries.iter().map(|entry| key_of(entry).unwrap_or_default().to_owned()).collect();
        let values = match keys.is_empty() {
            true => Vec::new(),
            false => self.store.documents(self.generation, self.collection, &keys).await?,
        };
        let documents = entries.into_iter().zip(keys).zip(values).map(|((place, key), value)| {
            let document = value.filter(|_| key.starts_with(&self.query.prefix));
            let document = document.filter(|value| still_at(index, &place, &key, value));
            (place, document.map(|value| Document { key, value }))
        });
        Ok(Step { looked: documents.collect(), end })
    }

    /// Entries of the plan's spans behind a place, and whether those are the last.
    async fn entries(&self, index: &Index, at: Option<&str>, want: usize) -> Result<(Vec<String>, bool), StoreError> {
        let down = self.plan.descending;
        let mut spans = self.plan.spans.iter().peekable();
        while let Some(span) = spans.next() {
            let (above, below) = (span.above.as_str(), span.below.as_deref());
            let passed = at.is_some_and(|at| if down { at <= above } else { below.is_some_and(|below| at >= below) });
            if passed {
                continue;
            }
            let start = match (down, at) {
                (true, Some(at)) => Some(below.map_or(at, |below| below.min(at))),
                (true, None) => below,
                (false, at) => Some(at.unwrap_or_default().max(above)),
            };
            let page = self.scan(&index.name, "", start, want).await?;
            let read = page.documents.len();
            let within = |key: &str| if down { key > above } else { below.is_none_or(|below| key < below) };
            let entries: Vec<String> =
                page.documents.into_iter().map(|document| document.key).take_while(|key| within(key)).collect();
            let span_ends = !page.more || entries.len() < read;
            if !entries.is_empty() || !span_ends {
                return Ok((entries, span_ends && spans.peek().is_none()));
            }
        }
        Ok((Vec::new(), true))
    }

    async fn scan(
        &self,
        collection: &str,
        prefix: &str,
        at: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        let limit = limit.clamp(1, limits::LIST_DOCUMENTS_MAX);
        if self.plan.descending {
            self.store.scan_back(self.generation, collection, prefix, at, limit).await
        } else {
            self.store.scan(self.generation, collection, prefix, at.filter(|at| !at.is_empty()), limit).await
        }
    }
}

/// Whether a document has the value that its entry says. It may have changed since the entry was read.
fn still_at(index: &Index, place: &str, key: &str, document: &Bytes) -> bool {
    let value = scalars(document, std::slice::from_ref(&index.field)).pop().flatten();
    value.is_some_and(|value| entry(&value, key) == place)
}
