//! Schemas of event types, and streams that ask for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::NewEvent;
use wasmill_core::log::publish::{Append, Transaction};
use wasmill_core::name::Pattern;
use wasmill_core::plugin::descriptor;
use wasmill_core::schedule::{Missed, ScheduleConfig, When};
use wasmill_core::schema::{Compatibility, Judgement, NewSchema, Registered, SchemaError};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;

use super::shared::Shared;
use super::support::{TestHost, event, host, host_over};

const SOON: Duration = Duration::from_secs(20);

fn order(version: Option<u32>, amount: &str) -> NewSchema {
    new(
        "order.placed",
        version,
        &json!({ "type": "object", "additionalProperties": false,
        "properties": { "id": { "type": "string" }, "amount": { "type": amount } }, "required": ["id"] }),
    )
}

fn new(event_type: &str, version: Option<u32>, schema: &Value) -> NewSchema {
    NewSchema { event_type: event_type.into(), version, schema: schema.to_string() }
}

async fn registers(test: &TestHost, new: NewSchema) -> Registered {
    test.host.schemas.register(new).await.unwrap()
}

async fn refuses(test: &TestHost, new: NewSchema) -> Problem {
    test.host.schemas.register(new).await.unwrap_err().into()
}

async fn configure(test: &TestHost, pattern: &str, validation: &str) {
    let config = StreamConfig::parse(&json!({ "schema": { "validation": validation } }).to_string()).unwrap();
    test.host.stream_configs.put(&Subject::Pattern(Pattern::new(pattern).unwrap()), config).await.unwrap();
}

fn typed(event_type: &str, version: u32, data: &Value) -> NewEvent {
    let data = Bytes::from(data.to_string());
    NewEvent { event_type: event_type.into(), schema_version: version, data, ..event(Uuid::now_v7().as_u128()) }
}

async fn append(test: &TestHost, stream: &str, events: Vec<NewEvent>) -> Result<(), Problem> {
    let append = Append { stream: stream.into(), events, ..Append::default() };
    test.host.publisher.append(append).await.map(|_| ()).map_err(Problem::from)
}

fn at(problem: &Problem) -> Vec<&str> {
    problem.details.iter().map(|detail| detail.at.as_str()).collect()
}

#[tokio::test]
async fn a_schema_is_registered_once_and_never_changes() {
    let test = host().await;
    let first = registers(&test, order(None, "integer")).await;
    assert_eq!((first.info.version, first.new), (1, true));
    let again = registers(&test, order(None, "integer")).await;
    assert_eq!((again.info.clone(), again.new), (first.info.clone(), false), "the same content is the same version");
    let mut words = order(Some(1), "integer");
    words.schema = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&words.schema).unwrap()).unwrap();
    assert!(!registers(&test, words).await.new, "how it is laid out does not matter");
    let problem = refuses(&test, order(Some(1), "number")).await;
    assert_eq!((problem.code, at(&problem)), (Code::SchemaConflict, vec!["order.placed"]));
    assert_eq!(registers(&test, order(None, "number")).await.info.version, 2);
    assert_eq!(registers(&test, order(Some(7), "number")).await.info.version, 7, "versions may have gaps");
    let latest = test.host.schemas.schema("order.placed", None).await.unwrap();
    assert_eq!((latest.info.version, latest.schema), (7, order(None, "number").schema));
    assert_eq!(test.host.schemas.schema("order.placed", Some(1)).await.unwrap().info, first.info);
    let missing = test.host.schemas.schema("order.placed", Some(3)).await.unwrap_err();
    assert_eq!(missing.to_string(), "event type `order.placed` has no schema of version 3");
    assert_eq!(Problem::from(test.host.schemas.get("x").unwrap_err()).code, Code::SchemaNotFound);
    registers(&test, new("a", None, &json!(true))).await;
    let page = test.host.schemas.list(None, 1);
    assert_eq!((page.types[0].event_type.as_str(), page.more), ("a", true));
    let page = test.host.schemas.list(Some("a"), 1);
    assert_eq!((page.types[0].versions.len(), page.more), (3, false));
}

#[tokio::test]
async fn each_mode_asks_for_what_it_says() {
    // Of an integer that becomes a number, new readers read old data; the other way round old ones new data.
    for (mode, widens, narrows) in [
        (Compatibility::None, true, true),
        (Compatibility::Backward, true, false),
        (Compatibility::Forward, false, true),
        (Compatibility::Full, false, false),
    ] {
        for (first, second, goes) in [("integer", "number", widens), ("number", "integer", narrows)] {
            let test = host().await;
            let info = test.host.schemas.set_compatibility("order.placed", mode).await.unwrap();
            assert_eq!((info.compatibility, info.versions.len()), (mode, 0));
            registers(&test, order(None, first)).await;
            let registered = test.host.schemas.register(order(None, second)).await;
            assert_eq!(registered.is_ok(), goes, "{mode:?}: {first} -> {second}");
            if let Err(error) = registered {
                let problem = Problem::from(error);
                assert_eq!((problem.code, at(&problem)), (Code::SchemaIncompatible, vec!["properties.amount"]));
                assert_eq!(test.host.schemas.get("order.placed").unwrap().versions.len(), 1, "nothing was registered");
            }
        }
    }
}

#[tokio::test]
async fn a_version_is_compared_with_those_beside_it() {
    let test = host().await;
    registers(&test, order(Some(1), "integer")).await;
    registers(&test, order(Some(5), "number")).await;
    let between = new("order.placed", Some(3), &json!({ "type": "string" }));
    let problem = refuses(&test, between).await;
    let versions: Vec<_> = problem.details.iter().map(|detail| (&*detail.facts[1].1, &*detail.facts[2].1)).collect();
    assert_eq!(versions, [("1", "3"), ("3", "5")], "{problem:?}");
    assert!(registers(&test, order(Some(3), "number")).await.new);
    test.host.schemas.set_compatibility("order.placed", Compatibility::None).await.unwrap();
    assert!(registers(&test, new("order.placed", Some(4), &json!({ "type": "string" }))).await.new);
}

#[tokio::test]
async fn what_is_no_schema_is_refused_with_every_reason() {
    let test = host().await;
    let place = |schema: &str| {
        let new = NewSchema { event_type: "t".into(), version: None, schema: schema.into() };
        async { refuses(&test, new).await }
    };
    for (schema, wanted) in [
        ("{", "schema"),
        ("[]", "schema"),
        (r#"{"$schema":"http://json-schema.org/draft-04/schema#"}"#, "schema.$schema"),
        (r#"{"type":"strange"}"#, "schema/type"),
        (r#"{"properties":{"a":{"$ref":"https://example.org/a.json"}}}"#, "schema/properties/a/$ref"),
        (r##"{"items":{"$ref":"#/$defs/none"}}"##, "schema/items/$ref"),
        (r#"{"items":{"$id":"inner"}}"#, "schema/items/$id"),
        (r##"{"items":{"$dynamicRef":"#a"}}"##, "schema/items/$dynamicRef"),
        (r##"{"$ref":"#"}"##, "schema"),
        (r##"{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}"##, "schema/$defs/a"),
        (r#"{"pattern":"(?=a)"}"#, "schema/pattern"),
    ] {
        let problem = place(schema).await;
        assert_eq!(problem.code, Code::InvalidArgument, "{schema}");
        assert!(at(&problem).iter().any(|at| wanted.starts_with(*at) && !at.is_empty()), "{schema}: {problem:?}");
    }
    let doubling = (0..20).fold(json!({ "a0": {} }), |mut all: Value, n| {
        let name = format!("#/$defs/a{n}");
        all[format!("a{}", n + 1)] = json!({ "allOf": [{ "$ref": name }, { "$ref": name }] });
        all
    });
    let problem = place(&json!({ "$defs": doubling }).to_string()).await;
    assert!(problem.details[0].message.contains("4096"), "{problem:?}");
    let problem = place(&json!({ "description": "x".repeat(65_536) }).to_string()).await;
    assert!(problem.details[0].message.contains("65536"), "{problem:?}");
    let problem = refuses(&test, NewSchema { version: Some(0), ..new("t", None, &json!(true)) }).await;
    assert_eq!((problem.code, at(&problem)), (Code::InvalidArgument, vec!["version"]));
    assert_eq!(refuses(&test, new("$t", None, &json!(true))).await.code, Code::InvalidName);
    let tree = json!({ "properties": { "children": { "items": { "$ref": "#" } } } });
    assert!(registers(&test, new("t", None, &tree)).await.new, "a loop through the data is none");
}

/// Such a schema would look at the innermost value 2^100 times.
#[tokio::test]
async fn what_would_take_for_ever_is_refused() {
    let test = host().await;
    let branch = |op: &str| json!({ "properties": { "left": { "$ref": "#" }, "op": { "const": op } } });
    registers(&test, new("tree", None, &json!({ "anyOf": [branch("+"), branch("-"), { "type": "null" }] }))).await;
    let deep = |depth: usize| (0..depth).fold(json!({ "op": "?" }), |inner, _| json!({ "left": inner }));
    let judge = async |depth| {
        let data = deep(depth).to_string();
        test.host.schemas.validate("tree", None, data.as_bytes()).await.unwrap().1
    };
    let Judgement::Breaks(shallow) = judge(4).await else { panic!("`?` is none of them") };
    assert!(!shallow[0].message.contains("too deep"), "{shallow:?}");
    let Judgement::Breaks(violations) = judge(100).await else { panic!("it is refused") };
    assert!(violations[0].message.contains("too deep"), "{violations:?}");
    let chain = json!({ "type": "object", "properties": { "left": { "$ref": "#" } } });
    registers(&test, new("chain", None, &chain)).await;
    let data = deep(100).to_string();
    let (_, judgement) = test.host.schemas.validate("chain", None, data.as_bytes()).await.unwrap();
    assert_eq!(judgement, Judgement::Keeps, "depth alone is no matter");
}

#[tokio::test]
async fn several_are_registered_together_or_not_at_all() {
    let test = host().await;
    let schemas = &test.host.schemas;
    let both = [order(Some(2), "number"), new("b", Some(1), &json!({ "type": "string" })), order(Some(1), "integer")];
    let checked = schemas.check_all(&both).await.unwrap();
    assert!(checked.iter().all(|one| one.new) && schemas.list(None, 9).types.is_empty(), "it only looks");
    let registered = schemas.register_all(&both).await.unwrap();
    let of: Vec<_> = registered.iter().map(|one| (one.event_type.as_str(), one.info.version, one.new)).collect();
    assert_eq!(of, [("order.placed", 2, true), ("b", 1, true), ("order.placed", 1, true)]);
    assert!(schemas.register_all(&both).await.unwrap().iter().all(|one| !one.new), "again it changes nothing");
    let wrong = [new("c", None, &json!(true)), new("b", None, &json!({ "type": "integer" })), order(None, "string")];
    let Err(SchemaError::Incompatible(details)) = schemas.register_all(&wrong).await else { panic!("it is refused") };
    let types: Vec<_> = details.iter().map(|detail| detail.facts[0].1.as_str()).collect();
    assert_eq!(types, ["b", "order.placed"], "all that is wrong is told");
    assert!(schemas.get("c").is_err(), "nothing was registered");
    let from = descriptor::Schema { event_type: "d".into(), version: 3, schema: json!({ "type": "null" }) };
    assert_eq!(registers(&test, NewSchema::from(&from)).await.info.version, 3);
}

#[tokio::test]
async fn streams_take_what_their_validation_says() {
    let test = host().await;
    registers(&test, order(None, "integer")).await;
    configure(&test, "known-*", "known").await;
    configure(&test, "required-*", "required").await;
    let good = || typed("order.placed", 1, &json!({ "id": "o-1", "amount": 3 }));
    let bad = || typed("order.placed", 1, &json!({ "amount": "3" }));
    let other = || typed("order.placed", 2, &json!(1));
    for (stream, bad_is, other_is) in [
        ("free", None, None),
        ("known-1", Some(Code::SchemaViolation), None),
        ("required-1", Some(Code::SchemaViolation), Some(Code::SchemaNotFound)),
    ] {
        append(&test, stream, vec![good()]).await.unwrap();
        let refused = append(&test, stream, vec![good(), bad()]).await.err();
        assert_eq!(refused.as_ref().map(|problem| problem.code), bad_is, "{stream}");
        if let Some(problem) = refused {
            assert_eq!(at(&problem), ["events[1].data", "events[1].data"]);
            let messages: Vec<_> = problem.details.iter().map(|detail| detail.message.as_str()).collect();
            assert!(messages.iter().any(|message| message.starts_with("/amount: ")), "{messages:?}");
            assert!(messages.iter().any(|message| message.contains("\"id\"")), "{messages:?}");
        }
        let refused = append(&test, stream, vec![other()]).await.err();
        assert_eq!(refused.as_ref().map(|problem| problem.code), other_is, "{stream}");
        if let Some(problem) = refused {
            assert_eq!(at(&problem), ["events[0].type"]);
        }
    }
    let count = test.log().await.len();
    let appends = vec![
        Append { stream: "free".into(), events: vec![bad()], ..Append::default() },
        Append { stream: "required-1".into(), events: vec![other(), bad()], ..Append::default() },
    ];
    let transaction = Transaction { appends, ..Transaction::default() };
    let problem = Problem::from(test.host.publisher.transact(transaction).await.unwrap_err());
    assert_eq!(problem.code, Code::SchemaViolation);
    assert_eq!(at(&problem)[..2], ["appends[1].events[0].type", "appends[1].events[1].data"]);
    assert_eq!(test.log().await.len(), count, "nothing was stored");
}

#[tokio::test]
async fn only_json_can_keep_a_schema() {
    let test = host().await;
    registers(&test, order(None, "integer")).await;
    configure(&test, "*", "required").await;
    let typed_as = |content_type: &str, data: &'static str| NewEvent {
        content_type: Some(content_type.into()),
        data: data.into(),
        ..typed("order.placed", 1, &json!(null))
    };
    for (content_type, data) in
        [("application/json; charset=utf-8", "{\"id\":\"1\"}"), ("application/vnd.order+json", "{\"id\":\"1\"}")]
    {
        append(&test, "s", vec![typed_as(content_type, data)]).await.unwrap();
    }
    for (content_type, data) in [("text/plain", "{\"id\":\"1\"}"), ("application/vnd.order+json", "{")] {
        let problem = append(&test, "s", vec![typed_as(content_type, data)]).await.unwrap_err();
        assert_eq!((problem.code, at(&problem)), (Code::SchemaViolation, vec!["events[0].content_type"]));
    }
}

#[tokio::test]
async fn queues_and_schedules_are_asked_too() {
    let test = host().await;
    registers(&test, order(None, "integer")).await;
    configure(&test, "*", "required").await;
    let schedule = |data: Value| ScheduleConfig {
        stream: "s".into(),
        event: typed("order.placed", 1, &data),
        when: When::Every(60_000),
        missed: Missed::Once,
    };
    test.host.schedules.put("good", schedule(json!({ "id": "1" }))).await.unwrap();
    let problem = Problem::from(test.host.schedules.put("bad", schedule(json!({}))).await.unwrap_err());
    assert_eq!(problem.code, Code::SchemaViolation);
    let config = StreamConfig::parse(r#"{"kind":"ephemeral"}"#).unwrap();
    let queue = wasmill_core::name::StreamName::new("queue").unwrap();
    test.host.stream_configs.put(&Subject::Stream(queue), config).await.unwrap();
    append(&test, "queue", vec![typed("order.placed", 1, &json!({ "id": "1" }))]).await.unwrap();
    let problem = append(&test, "queue", vec![typed("order.placed", 1, &json!({}))]).await.unwrap_err();
    assert_eq!(problem.code, Code::SchemaViolation);
}

/// The text is what the SDK's own test has (`guest-sdk/src/descriptor.rs`).
#[tokio::test]
async fn what_rust_types_give_is_registered_and_may_gain_a_field() {
    let test = host().await;
    let placed = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Placed",
        "type": "object",
        "additionalProperties": false,
        "required": ["orderId", "amount"],
        "properties": {
            "orderId": { "type": "string" },
            "amount": { "description": "In pence.", "type": "integer", "format": "int64" },
            "lines": { "type": "array", "items": { "$ref": "#/$defs/Line" } },
            "note": { "type": ["string", "null"] }
        },
        "$defs": { "Line": { "oneOf": [
            { "type": "string", "enum": ["Voucher"] },
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["Article"],
                "properties": { "Article": {
                    "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string" } }
                } }
            }
        ] } }
    });
    registers(&test, new("t", None, &placed)).await;
    let mut with_a_field = placed.clone();
    with_a_field["properties"]["currency"] = json!({ "type": ["string", "null"] });
    assert_eq!(registers(&test, new("t", None, &with_a_field)).await.info.version, 2);
    let mut with_a_variant = with_a_field.clone();
    let lines = with_a_variant["$defs"]["Line"]["oneOf"].as_array_mut().unwrap();
    lines[0]["enum"] = json!(["Voucher", "Gift"]);
    assert_eq!(registers(&test, new("t", None, &with_a_variant)).await.info.version, 3);
    let problem = refuses(&test, NewSchema { version: Some(4), ..new("t", None, &with_a_field) }).await;
    assert_eq!((problem.code, at(&problem)), (Code::SchemaIncompatible, vec!["properties.lines.items.oneOf"]));
    let data = json!({ "orderId": "1", "amount": 5, "lines": ["Gift", { "Article": { "sku": "a" } }] });
    let (info, judgement) = test.host.schemas.validate("t", None, data.to_string().as_bytes()).await.unwrap();
    assert_eq!((info.version, judgement), (3, Judgement::Keeps));
}

#[tokio::test]
async fn a_schema_is_deleted_only_by_force() {
    let test = host().await;
    let schemas = &test.host.schemas;
    registers(&test, order(None, "integer")).await;
    configure(&test, "*", "known").await;
    let bad = || typed("order.placed", 1, &json!(1));
    assert!(append(&test, "s", vec![bad()]).await.is_err());
    assert!(matches!(schemas.delete("order.placed", 1, false).await, Err(SchemaError::NotForced)));
    assert!(matches!(schemas.delete("order.placed", 2, true).await, Err(SchemaError::NotFound { .. })));
    schemas.delete("order.placed", 1, true).await.unwrap();
    assert!(schemas.list(None, 9).types.is_empty() && schemas.schema("order.placed", Some(1)).await.is_err());
    append(&test, "s", vec![bad()]).await.unwrap();
    assert!(registers(&test, new("order.placed", Some(1), &json!({ "type": "null" }))).await.new, "it is free again");
    let (_, judgement) = schemas.validate("order.placed", Some(1), b"null").await.unwrap();
    assert_eq!(judgement, Judgement::Keeps, "what was compiled before is not used");
    assert!(append(&test, "s", vec![bad()]).await.is_err());
}

#[tokio::test]
async fn what_one_host_registers_holds_on_the_other_and_after_a_restart() {
    let store = Shared::new();
    let (a, b) = (host_over(store.beside()).await, host_over(Arc::clone(&store) as _).await);
    configure(&a, "required-*", "required").await;
    configure(&a, "known-*", "known").await;
    let wait = async {
        while b.host.stream_configs.list().len() < 2 {
            tokio::task::yield_now().await;
        }
        registers(&a, order(None, "integer")).await;
        // Even before the other host has heard of it.
        append(&b, "required-1", vec![typed("order.placed", 1, &json!({ "id": "1" }))]).await.unwrap();
        while b.host.schemas.get("order.placed").is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("the other host hears of it");
    let problem = append(&b, "known-1", vec![typed("order.placed", 1, &json!({}))]).await.unwrap_err();
    assert_eq!(problem.code, Code::SchemaViolation);
    // Both at once: one of them is the first, and the other is compared with it.
    let (one, two) = tokio::join!(
        a.host.schemas.register(order(None, "number")),
        b.host.schemas.register(new("order.placed", None, &json!({ "type": "object", "required": ["id"] }))),
    );
    let versions = [one.as_ref().ok(), two.as_ref().ok()].map(|one| one.map(|one| one.info.version));
    assert!(versions.contains(&Some(2)), "{one:?} {two:?}");
    assert!(versions[0] != versions[1], "no version is given twice: {versions:?}");
    let later = host_over(store.beside()).await;
    assert_eq!(later.host.schemas.list(None, 9), a.host.schemas.list(None, 9));
    assert!(append(&later, "required-1", vec![typed("order.placed", 1, &json!({}))]).await.is_err());
}
