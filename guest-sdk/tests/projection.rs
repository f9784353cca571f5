//! A projection in the native harness: what it may rely on, batch by batch.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wasmill_guest::testing::{Harness, TestEvent};
use wasmill_guest::{
    Collection, Context, Descriptor, Disposition, Failure, Projection, State, Subscription, config, log,
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Item {
    stock: i64,
}

#[derive(Deserialize)]
struct Change {
    item: String,
    by: i64,
}

#[derive(Deserialize)]
struct Named {
    item: String,
}

wasmill_guest::events! {
    enum Stock {
        Changed(Change) = "stock.changed",
        Dropped(Named) = "stock.dropped",
        /// Sets the stock to what `get` shows, by way of `put`.
        Copied(Named) = "stock.copied",
        /// Writes what a scan shows into `sums`.
        Summed(Named) = "stock.summed",
        Refused(Named) = "stock.refused",
        Described(Named) = "stock.described",
    }
}

const ITEMS: Collection<Item> = Collection::new("items").describe("What there is of each");
const SUMS: Collection<i64> = Collection::new("sums");
const NOTES: Collection<BTreeMap<String, String>> = Collection::new("notes");
/// Not declared.
const ELSEWHERE: Collection<i64> = Collection::new("elsewhere");

struct Warehouse;

impl Projection for Warehouse {
    type Event = Stock;

    fn descriptor() -> Descriptor {
        Descriptor::new("warehouse", "0.1.0")
            .subscribe(Subscription::to_streams(["stock-*"]).of_types(["stock.*"]))
            .subscribe(Subscription::to_types(["stock.changed"]))
            .collection(&ITEMS)
            .collection(&SUMS)
            .collection(&NOTES)
    }

    fn apply(event: Stock, context: &Context, state: &mut State) -> Result<(), Failure> {
        match event {
            Stock::Changed(change) => state.update(&ITEMS, &change.item, |item| item.stock += change.by),
            Stock::Dropped(named) => {
                state.remove(&ITEMS, &named.item);
                Ok(())
            }
            Stock::Copied(named) => {
                let copy = state.get(&ITEMS, &named.item)?.cloned().unwrap_or_default();
                state.put(&ITEMS, &format!("{}-copy", named.item), &copy)
            }
            Stock::Summed(named) => {
                let found: Vec<_> = state.scan(&ITEMS, &named.item)?.collect::<Result<_, _>>()?;
                let sum = found.iter().map(|(_, item)| item.stock).sum();
                let first_page = state.scan_page(&ITEMS, &named.item, None, 1)?;
                assert_eq!(first_page.documents.first(), found.first());
                assert_eq!(first_page.next_after.is_some(), found.len() > 1);
                state.put(&SUMS, &named.item, &sum)
            }
            Stock::Refused(named) => Err(Failure::reject("stock.refused", named.item)),
            Stock::Described(named) => {
                log::write(log::Level::Info, "described", &[("item", &named.item)]);
                let mut notes: BTreeMap<_, _> = context.details().into_iter().collect();
                notes.extend(config::get("depot").map(|depot| ("depot".to_owned(), depot)));
                state.put(&NOTES, &context.id().to_string(), &notes)
            }
        }
    }
}

fn changed(item: &str, by: i64) -> TestEvent {
    TestEvent::new("stock.changed", &json!({ "item": item, "by": by })).stream("stock-1")
}

fn event(event_type: &str, item: &str) -> TestEvent {
    TestEvent::new(event_type, &json!({ "item": item })).stream("stock-1")
}

#[test]
fn an_event_sees_what_earlier_events_of_its_batch_have_changed() {
    for batch in [1, 2, 3, 100] {
        let mut warehouse = Harness::<Warehouse>::new().batches_of(batch);
        let events = [
            changed("nuts", 5),
            changed("nuts", -2),
            event("stock.copied", "nuts"),
            changed("nuts-copy", 1),
            event("stock.summed", "nuts"),
            changed("nuts", 10),
            event("stock.dropped", "nuts-copy"),
            changed("nuts-copy", 7),
            event("stock.dropped", "bolts"),
        ];
        warehouse.apply(events).unwrap();
        let documents: Vec<_> = warehouse.documents().map(|(_, key, bytes)| (key, bytes)).collect();
        let expected: [(&str, &[u8]); 3] =
            [("nuts", br#"{"stock":13}"#), ("nuts-copy", br#"{"stock":7}"#), ("nuts", b"7")];
        assert_eq!(documents, expected, "in batches of {batch}");
    }
}

#[test]
fn where_batches_end_does_not_show() {
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let items = ["a", "ab", "a-copy", "b", "b-copy"];
    let events: Vec<_> = (0..3000)
        .map(|_| {
            let item = items[usize::try_from(next(5)).unwrap()];
            match next(8) {
                0 => event("stock.dropped", item),
                1 => event("stock.copied", item),
                2 => event("stock.summed", item),
                _ => changed(item, 1),
            }
        })
        .collect();
    let folded = |batch| {
        let mut warehouse = Harness::<Warehouse>::new().batches_of(batch);
        warehouse.apply(events.clone()).unwrap();
        warehouse
    };
    let one_by_one = folded(1);
    for batch in [2, 5, 64, 3000] {
        assert!(one_by_one.documents().eq(folded(batch).documents()), "in batches of {batch}");
    }
}

#[test]
fn a_scan_crosses_pages_and_stops_at_the_end_of_its_prefix() {
    let mut warehouse = Harness::<Warehouse>::new();
    let items = (0..300).map(|n| changed(&format!("bolt-{n}"), 1)).chain([changed("bolu", 1000)]);
    warehouse.apply(items).unwrap();
    warehouse.apply([event("stock.summed", "bolt-"), event("stock.summed", "none")]).unwrap();
    assert_eq!(warehouse.get(&SUMS, "bolt-"), Some(300));
    assert_eq!(warehouse.get(&SUMS, "none"), Some(0));
}

#[test]
fn a_failed_batch_leaves_nothing_and_names_its_event() {
    let mut warehouse = Harness::<Warehouse>::new().batches_of(4);
    warehouse.apply([changed("nuts", 1)]).unwrap();
    let batch = [changed("nuts", 1), event("stock.summed", "nuts"), event("stock.refused", "why")];
    let failure = warehouse.apply(batch).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Reject);
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("stock.refused", "why"));
    assert_eq!(failure.event_index, Some(2));
    assert_eq!(warehouse.scan(&ITEMS, ""), [("nuts".to_owned(), Item { stock: 1 })]);
    assert_eq!(warehouse.get(&SUMS, "nuts"), None);
}

#[test]
fn malformed_data_is_rejected_before_anything_is_folded() {
    let mut warehouse = Harness::<Warehouse>::new();
    for data in [&b"{\"item\":\"nuts\"}"[..], b"[]", b"", b"{\"item\":\"\xff\",\"by\":1}"] {
        let bad = TestEvent::from_bytes("stock.changed", data.to_vec()).stream("stock-1");
        let failure = warehouse.apply([changed("nuts", 1), bad]).unwrap_err();
        assert_eq!(failure.code, "event.malformed");
        assert_eq!((failure.disposition, failure.event_index), (Disposition::Reject, Some(1)));
        assert!(failure.message.starts_with("stock.changed: "), "{}", failure.message);
    }
    assert_eq!(warehouse.documents().count(), 0);
}

#[test]
fn only_events_that_the_plugin_subscribes_to_arrive() {
    let mut warehouse = Harness::<Warehouse>::new();
    let elsewhere = event("stock.refused", "x").stream("office-1");
    let unknown = TestEvent::from_bytes("stock.unheard-of", b"not JSON".to_vec()).stream("stock-1");
    let second = changed("nuts", 1).stream("office-1");
    warehouse.apply([elsewhere, unknown, second]).unwrap();
    assert_eq!(warehouse.get(&ITEMS, "nuts"), Some(Item { stock: 1 }));
}

#[test]
fn details_configuration_and_log_are_at_hand() {
    let mut warehouse = Harness::<Warehouse>::new().config("depot", "Hull");
    let described = event("stock.described", "nuts").id(1, 2).detail("traceparent", "00-1");
    warehouse.apply([changed("nuts", 1), described]).unwrap();
    let notes = warehouse.get(&NOTES, "00000000-0000-0001-0000-000000000002").unwrap();
    let expected = [("depot", "Hull"), ("traceparent", "00-1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(notes, BTreeMap::from(expected));
    let line = &warehouse.log()[0];
    assert_eq!((line.message.as_str(), line.fields[0].1.as_str()), ("described", "nuts"));
}

#[test]
fn many_documents_come_in_the_order_of_their_keys() {
    struct Many;
    impl Projection for Many {
        type Event = Stock;
        fn descriptor() -> Descriptor {
            Descriptor::new("many", "1").collection(&ITEMS).collection(&SUMS)
        }
        fn apply(event: Stock, _: &Context, state: &mut State) -> Result<(), Failure> {
            let Stock::Changed(change) = event else { return Ok(()) };
            state.update(&ITEMS, &change.item, |item| item.stock += change.by)?;
            let found = state.get_many(&ITEMS, &["b", "missing", "a", "b"])?;
            let stock: Vec<_> = found.iter().map(|item| item.map_or(-1, |item| item.stock)).collect();
            for (place, stock) in stock.iter().enumerate() {
                state.put(&SUMS, &place.to_string(), stock)?;
            }
            Ok(())
        }
    }
    let mut many = Harness::<Many>::new();
    many.apply([changed("a", 3)]).unwrap();
    many.apply([changed("b", 4)]).unwrap();
    let stock: Vec<_> = many.scan(&SUMS, "").into_iter().map(|(_, stock)| stock).collect();
    assert_eq!(stock, [4, -1, 3, 4]);
}

#[test]
fn a_stored_document_of_another_shape_halts_the_plugin() {
    const RAW: Collection<String> = Collection::new("items");
    struct Changed;
    impl Projection for Changed {
        type Event = Stock;
        fn descriptor() -> Descriptor {
            Descriptor::new("changed", "1").collection(&ITEMS)
        }
        fn apply(_: Stock, context: &Context, state: &mut State) -> Result<(), Failure> {
            if context.offset() == 0 {
                state.put_bytes(&RAW, "nuts", b"\"text\"".to_vec());
                assert_eq!(state.get_bytes(&RAW, "nuts")?, Some(&b"\"text\""[..]));
                return Ok(());
            }
            state.get(&ITEMS, "nuts").map(|_| ())
        }
    }
    let mut changed_plugin = Harness::<Changed>::new().batches_of(1);
    let failure = changed_plugin.apply([changed("nuts", 1), changed("nuts", 1)]).unwrap_err();
    assert_eq!((failure.disposition, failure.code.as_str()), (Disposition::Halt, "document.malformed"));
    assert!(failure.message.starts_with("the document `nuts` of `items`: "), "{}", failure.message);
}

#[test]
#[should_panic(expected = "the collection `elsewhere` is not in the plugin's descriptor")]
fn an_undeclared_collection_ends_the_test() {
    struct Undeclared;
    impl Projection for Undeclared {
        type Event = Stock;
        fn descriptor() -> Descriptor {
            Descriptor::new("undeclared", "1")
        }
        fn apply(_: Stock, _: &Context, state: &mut State) -> Result<(), Failure> {
            state.put(&ELSEWHERE, "x", &1)
        }
    }
    let _ = Harness::<Undeclared>::new().apply([changed("nuts", 1)]);
}

#[test]
#[should_panic(expected = "the descriptor: the name `Ware House`")]
fn a_descriptor_that_a_host_would_refuse_ends_the_test() {
    struct Misnamed;
    impl Projection for Misnamed {
        type Event = Stock;
        fn descriptor() -> Descriptor {
            Descriptor::new("Ware House", "1")
        }
        fn apply(_: Stock, _: &Context, _: &mut State) -> Result<(), Failure> {
            Ok(())
        }
    }
    Harness::<Misnamed>::new();
}

#[test]
fn the_descriptor_uses_only_fields_of_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../wit/descriptor.schema.json")).unwrap();
    let descriptor: serde_json::Value = serde_json::from_str(&Harness::<Warehouse>::new().descriptor_json()).unwrap();
    assert_eq!(
        descriptor,
        json!({
            "name": "warehouse",
            "version": "0.1.0",
            "kind": "projection",
            "subscribes": [
                { "streams": ["stock-*"], "types": ["stock.*"] },
                { "types": ["stock.changed"] },
            ],
            "collections": [
                { "name": "items", "description": "What there is of each" },
                { "name": "sums" },
                { "name": "notes" },
            ],
        })
    );
    let known = |of: &serde_json::Value, field: &str| of["properties"].get(field).is_some();
    assert!(descriptor.as_object().unwrap().keys().all(|field| known(&schema, field)));
    for (list, definition) in [("subscribes", "subscription"), ("collections", "collection")] {
        for entry in descriptor[list].as_array().unwrap() {
            assert!(entry.as_object().unwrap().keys().all(|field| known(&schema["$defs"][definition], field)));
        }
    }
}
