use std::sync::Arc;

use serde_json::json;
use wasmill_core::code::{Code, Problem};
use wasmill_core::projection::query::QueryError;
use wasmill_core::projection::query::find::{Count, Cursor, Query};
use wasmill_core::record::GenerationId;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{DocumentStore, PluginStore};

use crate::guest::{Engine, clock, deploy, field, find, host_over, keys, publish, query, until, wait};

#[tokio::test]
async fn documents_are_found_sorted_paged_and_counted() {
    let (store, engine) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()));
    let host = host_over(&store, &engine, &clock()).await;
    deploy(&host, "1", &[("flights", &["delay", "carrier"]), ("plain", &[])]).await;
    let flight = |carrier: &str, delay: i64| json!({ "carrier": carrier, "delay": delay, "gate": { "n": delay } });
    let flights = vec![
        vec![("flights", "a", flight("UA", 30)), ("flights", "b", flight("AA", -5))],
        vec![("flights", "c", flight("UA", 15)), ("flights", "d", flight("UA", 15)), ("plain", "x", json!(1))],
        vec![("flights", "e", json!({ "carrier": "DL" })), ("flights", "f", flight("DL", 9))],
        vec![("flights", "g", json!({ "carrier": "DL", "delay": "late" }))],
    ];
    let last = publish(&host, flights).await;
    host.projections.document("p", "flights", "a", wait(last)).await.unwrap();
    let all = async |conditions: &[&str], sort: &str| {
        let found = find(&host, "flights", &query(conditions, sort, 100)).await.unwrap().value;
        assert_eq!(found.cursor, None);
        keys(&found).join("")
    };
    assert_eq!(all(&[], "").await, "abcdefg");
    assert_eq!(all(&[], "-$key").await, "gfedcba");
    assert_eq!(all(&[], "delay").await, "bfcdag", "texts stand behind numbers, and without a value it is left out");
    assert_eq!(all(&[], "-delay").await, "gadcfb");
    assert_eq!(all(&["delay>=15"], "").await, "cda");
    assert_eq!(all(&["delay>15"], "").await, "a");
    assert_eq!(all(&["delay<15"], "-delay").await, "fb");
    assert_eq!(all(&["carrier=UA", "delay<=15"], "").await, "cd");
    assert_eq!(all(&["carrier in UA,AA", "gate.n!=15"], "").await, "ba");
    assert_eq!(all(&["carrier in UA,AA"], "-carrier").await, "dcab");
    assert_eq!(all(&["gate.n<10"], "").await, "bf");
    assert_eq!(all(&["delay missing"], "").await, "e");
    assert_eq!(all(&["delay^=la"], "").await, "g");
    assert_eq!(all(&["delay>=15", "delay<10"], "").await, "");

    // Pages, and a count that is the same on each of them.
    let mut asked = Query { count: true, ..query(&["carrier in UA,DL"], "delay", 2) };
    let mut pages = Vec::new();
    loop {
        let found = find(&host, "flights", &asked).await.unwrap().value;
        assert_eq!(found.by, Some(field("delay")));
        assert_eq!(found.count, Some(Count { documents: 5, at_least: false }));
        pages.push(keys(&found).join(""));
        let Some(cursor) = found.cursor else { break };
        asked.cursor = Cursor::from_bytes(&cursor.to_bytes());
        assert_eq!(asked.cursor, Some(cursor), "it survives its way through a client");
    }
    assert_eq!(pages, ["fc", "da", "g"]);
    let other = Query { cursor: asked.cursor.clone(), ..query(&["carrier=UA"], "delay", 2) };
    let refused = find(&host, "flights", &other).await.unwrap_err();
    assert!(matches!(refused, QueryError::ForeignCursor), "{refused}");

    let unsorted = find(&host, "flights", &query(&[], "gate.n", 2)).await.unwrap_err();
    let problem = Problem::from(unsorted);
    assert_eq!(problem.code, Code::NotIndexed);
    assert!(problem.message.contains("delay, carrier"), "{}", problem.message);

    // What only the host sees is in no answer.
    let status = host.projections.get("p").await.unwrap();
    let counts: Vec<_> = status.collections.iter().map(|c| (c.name.as_str(), c.documents, c.indexes.len())).collect();
    assert_eq!(counts, [("flights", 7, 2), ("plain", 1, 0)]);
    let hidden = find(&host, "$index/flights/delay", &query(&[], "", 2)).await;
    assert!(matches!(hidden, Err(QueryError::CollectionNotFound { .. })));
    host.stop().await;
}

#[tokio::test]
async fn a_page_looks_at_a_bounded_number_of_documents_and_says_where_to_go_on() {
    let (store, engine) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()));
    let host = host_over(&store, &engine, &clock()).await;
    deploy(&host, "1", &[("c", &["n"])]).await;
    let names: Vec<String> = (0..25_000).map(|n| format!("{n:05}")).collect();
    let mut last = None;
    for names in names.chunks(5_000) {
        let events = names.chunks(100).map(|names| {
            names.iter().map(|name| ("c", name.as_str(), json!({ "n": 1, "rare": name == "24999" }))).collect()
        });
        last = Some(publish(&host, events.collect()).await);
    }
    host.projections.document("p", "c", "00000", wait(last.unwrap())).await.unwrap();
    for conditions in [&["rare=true"][..], &["n=1", "rare=true"]] {
        let (mut asked, mut pages) = (query(conditions, "", 10), Vec::new());
        loop {
            let found = find(&host, "c", &asked).await.unwrap().value;
            pages.push(found.documents.len());
            asked.cursor = found.cursor;
            if asked.cursor.is_none() {
                break;
            }
        }
        assert_eq!(pages, [0, 0, 1], "{conditions:?}");
    }
    host.stop().await;
}

/// While a new revision is built, the one that serves has the indexes of the old one.
#[tokio::test]
async fn a_cursor_goes_on_in_a_new_generation_and_is_refused_where_its_index_is_gone() {
    let (store, engine) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()));
    let host = host_over(&store, &engine, &clock()).await;
    deploy(&host, "1", &[("c", &["n"])]).await;
    let names: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    let events = (0..).zip(&names).map(|(n, name)| vec![("c", name.as_str(), json!({ "n": 100 - n }))]).collect();
    let last = publish(&host, events).await;
    host.projections.document("p", "c", "k0", wait(last)).await.unwrap();
    let mut asked = query(&[], "n", 4);
    let first = find(&host, "c", &asked).await.unwrap().value;
    assert_eq!(keys(&first), ["k9", "k8", "k7", "k6"]);
    asked.cursor.clone_from(&first.cursor);
    let serves = async |generation| {
        until(async || (host.projections.get("p").await.unwrap().generation == generation).then_some(())).await;
    };
    serves(host.projections.rebuild("p").await.unwrap()).await;
    let second = find(&host, "c", &asked).await.unwrap().value;
    assert_ne!(second.generation, first.generation);
    assert_eq!(keys(&second), ["k5", "k4", "k3", "k2"], "it goes on by the order, which is the same");

    deploy(&host, "2", &[("c", &[])]).await;
    until(async || (host.projections.get("p").await.unwrap().revision == 2).then_some(())).await;
    let refused = find(&host, "c", &asked).await.unwrap_err();
    assert!(matches!(refused, QueryError::NotIndexed { .. }), "{refused}");
    asked.sort = query(&[], "", 1).sort;
    assert!(matches!(find(&host, "c", &asked).await, Err(QueryError::ForeignCursor)));
    // The one that served before is kept for a while; then it goes with all its entries.
    assert!(host.plugins.confirm("p").await.unwrap());
    let left = until(async || {
        let generations = store.generations().await.unwrap();
        (generations.len() == 1).then(|| generations[0].id)
    });
    let left = left.await;
    assert_eq!(store.collections(left).await.unwrap(), ["c"], "it declares no index");
    for old in 1..left.0 {
        assert_eq!(store.collections(GenerationId(old)).await.unwrap(), [""; 0], "nothing of the old ones is left");
    }
    host.stop().await;
}
