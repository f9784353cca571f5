//! Where two generations of a read model differ, document by document.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::generation::{Generation, Phase};
use super::query::{Projections, QueryError};
use crate::event::Position;
use crate::limits::read as limits;
use crate::record::GenerationId;
use crate::store::{Document, Store, StoreError};

/// What to compare.
#[derive(Clone, Debug, Default)]
pub struct DiffRequest {
    /// Any two; without them the serving one and the one that is being built.
    pub generations: Option<(GenerationId, GenerationId)>,
    /// All collections without it.
    pub collection: Option<String>,
    /// Where the page before has ended.
    pub after: Option<DiffPlace>,
    /// Differences of a page, 1 to 1,000.
    pub limit: usize,
}

/// A document that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffPlace {
    pub collection: String,
    pub key: String,
}

/// A page of differences.
#[derive(Clone, Debug)]
pub struct Diff {
    pub before: Side,
    pub after: Side,
    /// Both were at the same position from the beginning of the page to its end. What differs is then not
    /// because one of them has seen more events.
    pub same_position: bool,
    /// Of the collections that are compared; on the first page only.
    pub collections: Vec<CollectionCounts>,
    pub differences: Vec<Difference>,
    /// Keys that were compared for this page.
    pub looked_at: u64,
    /// Where to go on; `None` at the end. There may be fewer differences than asked for, and yet more.
    pub next: Option<DiffPlace>,
}

#[derive(Clone, Debug)]
pub struct Side {
    pub generation: GenerationId,
    pub revision: u32,
    pub phase: Phase,
    /// Every event before this position is in it, as far as this page has compared it.
    pub next_position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionCounts {
    pub name: String,
    pub before: u64,
    pub after: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub collection: String,
    pub key: String,
    pub kind: DifferenceKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Only the first has it.
    Removed,
    /// Only the second has it.
    Added,
    /// None at all: the same JSON, written in other bytes.
    Changed(Vec<ValueChange>),
}

impl DifferenceKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            DifferenceKind::Removed => "removed",
            DifferenceKind::Added => "added",
            DifferenceKind::Changed(_) => "changed",
        }
    }
}

/// One place where two documents differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueChange {
    /// A JSON pointer (RFC 6901); empty for the whole document.
    pub path: String,
    /// JSON, cut if it is long.
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Projections {
    pub async fn diff(&self, name: &str, request: &DiffRequest) -> Result<Diff, QueryError> {
        let (deployment, serving) = self.find_serving(name)?;
        let (before, after) = match request.generations {
            None => (serving, deployment.building().ok_or_else(|| QueryError::NothingBuilt(name.into()))?),
            Some((before, after)) => {
                let find = |id: GenerationId| {
                    let gone = || QueryError::GenerationNotFound { projection: name.into(), generation: id };
                    deployment.generation(id).ok_or_else(gone)
                };
                (find(before)?, find(after)?)
            }
        };
        let gone = |generation: &Generation| QueryError::GenerationNotFound {
            projection: name.into(),
            generation: generation.id,
        };
        let _in_use =
            (before.hold().await.ok_or_else(|| gone(&before))?, after.hold().await.ok_or_else(|| gone(&after))?);
        let known = collections_of(&[&before, &after], &deployment.descriptor.collections);
        if let Some(collection) = request.collection.as_ref().filter(|collection| !known.contains(*collection)) {
            let known = known.into_iter().collect();
            return Err(QueryError::CollectionNotFound {
                projection: name.into(),
                collection: collection.clone(),
                known,
            });
        }
        let wanted = |name: &String| request.collection.as_ref().is_none_or(|collection| collection == name);
        let collections: Vec<String> = known.into_iter().filter(wanted).collect();
        let comparison = Comparison { store: &**self.0.store(), before: &before, after: &after };
        let mut diff = comparison.page(&collections, request).await?;
        if request.after.is_none() {
            for name in collections {
                let store = self.0.store();
                let (before, after) =
                    (store.count(before.id, &name, "").await?, store.count(after.id, &name, "").await?);
                diff.collections.push(CollectionCounts { name, before, after });
            }
        }
        Ok(diff)
    }
}

/// What either of them declares.
fn collections_of(
    generations: &[&Arc<Generation>],
    current: &[crate::plugin::descriptor::Collection],
) -> BTreeSet<String> {
    let declared = generations
        .iter()
        .flat_map(|generation| generation.descriptor().map_or(current, |descriptor| &*descriptor.collections));
    declared.map(|collection| collection.name.clone()).collect()
}

struct Comparison<'a> {
    store: &'a dyn Store,
    before: &'a Generation,
    after: &'a Generation,
}

impl Comparison<'_> {
    async fn page(&self, collections: &[String], request: &DiffRequest) -> Result<Diff, StoreError> {
        let limit = request.limit.clamp(1, limits::LIST_DOCUMENTS_MAX);
        let at_first = (self.before.next(), self.after.next());
        let side = |generation: &Generation, next_position| Side {
            generation: generation.id,
            revision: generation.revision,
            phase: generation.progress.borrow().phase,
            next_position,
        };
        let mut diff = Diff {
            before: side(self.before, at_first.0),
            after: side(self.after, at_first.1),
            same_position: false,
            collections: Vec::new(),
            differences: Vec::new(),
            looked_at: 0,
            next: None,
        };
        let started = |name: &&String| request.after.as_ref().is_none_or(|after| after.collection <= **name);
        'pages: for name in collections.iter().filter(started) {
            let key = request.after.as_ref().filter(|after| after.collection == *name).map(|after| after.key.clone());
            let mut pair = [(self.before, key.clone()), (self.after, key)].map(|(generation, after)| Walk {
                store: self.store,
                generation: generation.id,
                read: VecDeque::new(),
                after,
                end: false,
            });
            while let Some((key, values)) = next_pair(&mut pair, name).await? {
                diff.looked_at += 1;
                if let Some(kind) = compare(values) {
                    diff.differences.push(Difference { collection: name.clone(), key: key.clone(), kind });
                }
                if diff.differences.len() >= limit || diff.looked_at >= limits::QUERY_LOOKED_AT_MAX as u64 {
                    diff.next = Some(DiffPlace { collection: name.clone(), key });
                    break 'pages;
                }
            }
        }
        diff.same_position = at_first.0 == at_first.1 && at_first == (self.before.next(), self.after.next());
        Ok(diff)
    }
}

/// The documents of one collection of a generation, in the order of their keys.
struct Walk<'a> {
    store: &'a dyn Store,
    generation: GenerationId,
    read: VecDeque<Document>,
    after: Option<String>,
    end: bool,
}

impl Walk<'_> {
    async fn fill(&mut self, collection: &str) -> Result<(), StoreError> {
        if self.read.is_empty() && !self.end {
            let limit = limits::LIST_DOCUMENTS_MAX;
            let page = self.store.scan(self.generation, collection, "", self.after.as_deref(), limit).await?;
            self.end = !page.more;
            self.after = page.documents.last().map(|document| document.key.clone());
            self.read = page.documents.into();
        }
        Ok(())
    }
}

/// The least key that is left on either side, and what stands there on both.
async fn next_pair(
    pair: &mut [Walk<'_>; 2],
    collection: &str,
) -> Result<Option<(String, [Option<Bytes>; 2])>, StoreError> {
    for side in &mut *pair {
        side.fill(collection).await?;
    }
    let [before, after] = pair;
    let order = match (before.read.front(), after.read.front()) {
        (None, None) => return Ok(None),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(a), Some(b)) => a.key.cmp(&b.key),
    };
    let before = if order.is_le() { before.read.pop_front() } else { None };
    let after = if order.is_ge() { after.read.pop_front() } else { None };
    let key = before.as_ref().or(after.as_ref()).map(|document| document.key.clone()).unwrap_or_default();
    Ok(Some((key, [before, after].map(|document| document.map(|document| document.value)))))
}

fn compare([before, after]: [Option<Bytes>; 2]) -> Option<DifferenceKind> {
    match (before, after) {
        (Some(before), Some(after)) if before == after => None,
        (Some(before), Some(after)) => Some(DifferenceKind::Changed(changes(&before, &after))),
        (Some(_), None) => Some(DifferenceKind::Removed),
        (None, Some(_)) => Some(DifferenceKind::Added),
        (None, None) => None,
    }
}

fn changes(before: &[u8], after: &[u8]) -> Vec<ValueChange> {
    let parse = |document: &[u8]| serde_json::from_slice::<Value>(document).ok();
    let mut changes = Vec::new();
    match (parse(before), parse(after)) {
        (Some(before), Some(after)) => descend(&mut String::new(), Some(&before), Some(&after), &mut changes),
        (_, _) => changes.push(ValueChange { path: String::new(), before: None, after: None }),
    }
    changes
}

fn descend(path: &mut String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<ValueChange>) {
    if before == after || changes.len() == limits::DIFFERENCES_OF_ONE_MAX {
        return;
    }
    let mut below = |name: &str, before: Option<&Value>, after: Option<&Value>| {
        let length = path.len();
        path.push('/');
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        descend(path, before, after, changes);
        path.truncate(length);
    };
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            names.into_iter().for_each(|name| below(name, before.get(name), after.get(name)));
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            (0..before.len().max(after.len())).for_each(|n| below(&n.to_string(), before.get(n), after.get(n)));
        }
        (_, _) => {
            let [before, after] = [before, after].map(|value| value.map(shown));
            changes.push(ValueChange { path: path.clone(), before, after });
        }
    }
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > limits::DIFFERENCE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(limits::DIFFERENCE_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_differ_are_told_by_their_pointers() {
        let before = br#"{"a":1,"b":{"c/d":[1,2],"e":"x"},"same":{"n":1},"gone":null}"#;
        let after = br#"{"b":{"c/d":[1,3,4],"e":{"f":1}},"same":{ "n":1},"a":1,"new~":true}"#;
        let found: Vec<String> = changes(before, after)
            .into_iter()
            .map(|ValueChange { path, before, after }| {
                format!("{path} {} {}", before.unwrap_or_default(), after.unwrap_or_default())
            })
            .collect();
        let expected = ["/b/c~1d/1 2 3", "/b/c~1d/2  4", "/b/e \"x\" {\"f\":1}", "/gone null ", "/new~0  true"];
        assert_eq!(found, expected);
        assert_eq!(changes(br#"{"a":1,"b":2}"#, br#"{"b":2, "a":1}"#), [], "the same JSON in other bytes");
        assert_eq!(changes(b"1", b"not JSON").len(), 1);
        let long = format!("\"{}\"", "ü".repeat(1_000));
        let cut = changes(long.as_bytes(), b"1").remove(0).before.unwrap();
        assert!(cut.len() < 300 && cut.ends_with('…'));
    }
}
