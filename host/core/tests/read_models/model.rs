//! Random folds with random indexes against a plain map, and random queries against a plain filter and sort.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wasmill_core::host::Host;
use wasmill_core::projection::query::condition::Condition;
use wasmill_core::projection::query::find::{Count, Query};
use wasmill_core::projection::query::parse;
use wasmill_core::projection::query::plan::Sort;
use wasmill_core::random::{Random, seeds};
use wasmill_core::store::DocumentStore;
use wasmill_core::store::memory::MemoryStore;

use crate::guest::{Engine, clock, deploy, find, host_over, publish, wait};

const FIELDS: [&str; 4] = ["a", "b", "o.p", "o"];
const KEYS: [&str; 12] = ["k", "k1", "k10", "k2", "l", "ü", "\u{1}", "\u{10FFFF}", "m\u{1}\u{1}", "x y", "z", "zz"];
const COLLECTIONS: [&str; 2] = ["c", "d"];
const RUNS: u64 = 60;

type Model = BTreeMap<(String, String), Value>;

fn value(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => json!(random.percent(50)),
        2 | 3 => json!(random.below(5) as i64 - 2),
        4 => json!(random.below(8) as f64 / 4.0),
        5 => json!((1_u64 << 53) + random.below(3)),
        6 | 7 => json!(*random.pick(&["", "a", "ab", "b", "\u{0}", "\u{1}", "\u{1}a", "ü", "\u{10FFFF}"])),
        _ => json!("x".repeat(98) + *random.pick(&["", "y", "yz", "yzz", "yzü", "zz"])),
    }
}

fn document(random: &mut Random) -> Value {
    if random.percent(15) {
        return json!("remove");
    }
    let mut document = json!({});
    for name in ["a", "b", "o"] {
        match random.below(10) {
            0..2 => {}
            2 => document[name] = json!([1]),
            3..6 if name == "o" => document[name] = json!({ "p": value(random) }),
            _ => document[name] = value(random),
        }
    }
    document
}

/// What stands in a field, if it is a single value.
fn single<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
    let value = field.split('.').try_fold(document, |value, name| value.get(name))?;
    (!value.is_array() && !value.is_object()).then_some(value)
}

/// An order of single values that the host has to come to by itself; `None` between kinds.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            (_, _) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()),
        },
        _ => None,
    }
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        _ => 3,
    }
}

/// Texts sort by their first 100 characters.
fn in_index(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| json!(text.chars().take(100).collect::<String>()))
}

fn sorted(a: (&Value, &str), b: (&Value, &str)) -> Ordering {
    let (x, y) = (in_index(a.0), in_index(b.0));
    kind(&x).cmp(&kind(&y)).then_with(|| order(&x, &y).unwrap()).then_with(|| a.1.cmp(b.1))
}

fn test(random: &mut Random, depth: u64) -> Value {
    if depth < 2 && random.percent(20) {
        let nodes: Vec<Value> = (0..1 + random.below(2)).map(|_| test(random, depth + 1)).collect();
        return if random.percent(50) { json!({ "all": nodes }) } else { json!({ "any": nodes }) };
    }
    let field = *random.pick(&FIELDS);
    match random.below(9) {
        0 => json!({ "field": field, "exists": random.percent(50) }),
        1 => json!({ "field": field, "prefix": *random.pick(&["", "a", "x", "\u{1}"]) }),
        2 => json!({ "field": field, "in": (0..1 + random.below(4)).map(|_| value(random)).collect::<Vec<_>>() }),
        n => {
            json!({ "field": field, *random.pick(&["eq", "eq", "ne", "lt", "le", "gt", "ge"]): value(random), "exists": n != 3 })
        }
    }
}

fn holds(test: &Value, document: &Value) -> bool {
    if let Some(nodes) = test["all"].as_array() {
        return nodes.iter().all(|node| holds(node, document));
    }
    if let Some(nodes) = test["any"].as_array() {
        return nodes.iter().any(|node| holds(node, document));
    }
    let value = single(document, test["field"].as_str().unwrap());
    test.as_object().unwrap().iter().filter(|(name, _)| *name != "field").all(|(name, with)| {
        let order = value.and_then(|value| order(value, with));
        match name.as_str() {
            "exists" => json!(value.is_some()) == *with,
            "prefix" => value.and_then(Value::as_str).is_some_and(|text| text.starts_with(with.as_str().unwrap())),
            "in" => with
                .as_array()
                .unwrap()
                .iter()
                .any(|with| value.and_then(|value| self::order(value, with)) == Some(Ordering::Equal)),
            "eq" => order == Some(Ordering::Equal),
            "ne" => order.is_some_and(Ordering::is_ne),
            "lt" => order.is_some_and(Ordering::is_lt),
            "le" => order.is_some_and(Ordering::is_le),
            "gt" => order.is_some_and(Ordering::is_gt),
            "ge" => order.is_some_and(Ordering::is_ge),
            other => panic!("{other}"),
        }
    })
}

struct Run {
    random: Random,
    indexes: Vec<Vec<&'static str>>,
    model: Model,
}

impl Run {
    async fn fold(&mut self, host: &Host) {
        let mut events = Vec::new();
        for _ in 0..1 + self.random.below(12) {
            let mut event = Vec::new();
            for _ in 0..self.random.below(4) {
                let (collection, key) = (*self.random.pick(&COLLECTIONS), *self.random.pick(&KEYS));
                let document = document(&mut self.random);
                let place = (collection.to_owned(), key.to_owned());
                match document == json!("remove") {
                    true => self.model.remove(&place),
                    false => self.model.insert(place, document.clone()),
                };
                event.push((collection, key, document));
            }
            events.push(event);
        }
        let last = publish(host, events).await;
        host.projections.documents("p", "c", "", None, 1, wait(last)).await.unwrap();
    }

    fn documents(&self, collection: &str) -> impl Iterator<Item = (&str, &Value)> {
        let of_collection = self.model.iter().filter(move |((name, _), _)| *name == collection);
        of_collection.map(|((_, key), document)| (key.as_str(), document))
    }

    /// Every entry has its document, and every document its entries.
    async fn compare_entries(&self, store: &MemoryStore, host: &Host) {
        let generation = host.projections.get("p").await.unwrap().generation;
        for (collection, indexes) in COLLECTIONS.iter().zip(&self.indexes) {
            for field in indexes {
                let expected = self.documents(collection).filter(|(_, document)| single(document, field).is_some());
                let name = format!("$index/{collection}/{field}");
                let stored = store.count(generation, &name, "").await.unwrap();
                assert_eq!(stored, expected.count() as u64, "{name}");
            }
        }
        let named = store.collections(generation).await.unwrap();
        let hidden = named.iter().filter(|name| name.starts_with('$')).count();
        assert!(hidden <= self.indexes.iter().map(Vec::len).sum());
    }

    async fn query(&mut self, host: &Host) {
        let n = self.random.below(2) as usize;
        let (collection, indexes) = (COLLECTIONS[n], self.indexes[n].clone());
        let tests: Vec<Value> = (0..self.random.below(4)).map(|_| test(&mut self.random, 0)).collect();
        let condition: Condition = parse::condition(&[], Some(&json!(tests)), ["where", "where"]).unwrap();
        let sort = match self.random.below(3) {
            0 if !indexes.is_empty() => format!("{}{}", self.random.pick(&["", "-"]), self.random.pick(&indexes)),
            1 => (*self.random.pick(&["$key", "-$key"])).to_owned(),
            _ => String::new(),
        };
        let prefix = *self.random.pick(&["", "", "", "k", "k1", "\u{10FFFF}"]);
        let mut query = Query {
            condition,
            prefix: prefix.to_owned(),
            sort: if sort.is_empty() { Sort::Any } else { Sort::parse(&sort).unwrap() },
            limit: *self.random.pick(&[1, 2, 3, 5, 1_000]),
            cursor: None,
            count: true,
        };
        let field = sort.trim_start_matches('-');
        let by_field = !field.is_empty() && field != "$key";
        let mut expected: Vec<(&str, &Value)> = self
            .documents(collection)
            .filter(|(key, document)| key.starts_with(prefix) && tests.iter().all(|test| holds(test, document)))
            .filter(|(_, document)| !by_field || single(document, field).is_some())
            .collect();
        let (mut found, mut asked) = (Vec::new(), 0);
        loop {
            let page = find(host, collection, &query).await.unwrap().value;
            assert!(page.documents.len() <= query.limit);
            let count = Count { documents: expected.len() as u64, at_least: false };
            assert_eq!(page.count, Some(count), "{collection} {tests:?} {sort}");
            // Without an order that is asked for it is that of the index that was taken.
            if let Some(by) = page.by.as_ref().filter(|_| sort.is_empty()) {
                expected.sort_by(|a, b| {
                    let value = |document| single(document, by.as_str()).unwrap();
                    sorted((value(a.1), a.0), (value(b.1), b.0))
                });
            }
            let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            found.extend(page.documents.iter().map(|document| (document.key.clone(), json(&document.value))));
            asked += 1;
            assert!(asked <= expected.len() + 1, "pages come to an end, and none is empty");
            match page.cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        if by_field {
            let value = |document| single(document, field).unwrap();
            expected.sort_by(|a, b| sorted((value(a.1), a.0), (value(b.1), b.0)));
        }
        if sort.starts_with('-') {
            expected.reverse();
        }
        let found: Vec<(&str, &Value)> = found.iter().map(|(key, document)| (key.as_str(), document)).collect();
        assert_eq!(found, expected, "{collection} {tests:?} {sort}");
    }
}

#[tokio::test]
async fn random_queries_are_answered_as_by_a_plain_filter_and_sort() {
    for seed in seeds(RUNS) {
        let mut random = Random::new(seed);
        let some = |random: &mut Random| FIELDS.into_iter().filter(|_| random.percent(50)).collect::<Vec<_>>();
        let indexes = vec![some(&mut random), some(&mut random)];
        let mut run = Run { random, indexes, model: Model::new() };
        let (store, engine, clock) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()), clock());
        let mut host = host_over(&store, &engine, &clock).await;
        let declared: Vec<(&str, &[&str])> =
            COLLECTIONS.into_iter().zip(&run.indexes).map(|(name, fields)| (name, fields.as_slice())).collect();
        deploy(&host, "1", &declared).await;
        for round in 0..8 {
            run.fold(&host).await;
            // Behind a restart the host knows nothing of what it has written.
            if round % 3 == 2 {
                host.stop().await;
                host = host_over(&store, &engine, &clock).await;
            }
            for _ in 0..12 {
                run.query(&host).await;
            }
            run.compare_entries(&store, &host).await;
        }
        host.stop().await;
    }
}
