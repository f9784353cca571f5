//! Schemas of event types over every face, and streams that ask for them.

use serde_json::{Map, Value, json};
use tonic::Code;
use tonic_types::StatusExt;
use wasmill_server::proto::schema_service_client::SchemaServiceClient;
use wasmill_server::proto::{
    AppendRequest, CheckSchemaRequest, DeleteSchemaRequest, GetSchemaRequest, GetSchemaTypeRequest,
    ListSchemaTypesRequest, NewEvent, RegisterSchemaRequest, SchemaCompatibility, SetSchemaCompatibilityRequest,
    ValidateDataRequest,
};

use crate::cli::{run, run_json, write};
use crate::support::{TestHost, data_set};

fn order(amount: &str) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": ["id"],
        "properties": { "id": { "type": "string" }, "amount": { "type": amount } } })
}

async fn put(host: &TestHost, version: u32, schema: &Value) -> (u16, Value) {
    let path = format!("/api/schemas/order.placed/versions/{version}");
    host.send("PUT", &path, &[], &schema.to_string()).await
}

async fn validation(host: &TestHost, pattern: &str, how: &str) {
    let body = json!({ "schema": { "validation": how } }).to_string();
    let (status, answer) = host.send("PUT", &format!("/api/stream-configs/{pattern}"), &[], &body).await;
    assert!(status < 300, "{answer}");
}

fn event(version: u32, data: &Value) -> Value {
    json!([{ "type": "order.placed", "schemaVersion": version, "data": data }])
}

#[tokio::test]
async fn a_schema_is_registered_compared_and_shown_over_http() {
    let host = TestHost::start().await;
    let (status, made) = put(&host, 1, &order("integer")).await;
    assert_eq!((status, &made["version"], &made["type"]), (201, &json!(1), &json!("order.placed")), "{made}");
    assert_eq!(put(&host, 1, &order("integer")).await, (200, made.clone()), "again it changes nothing");
    let (status, conflict) = put(&host, 1, &order("number")).await;
    assert_eq!((status, &conflict["code"]), (409, &json!("schema_conflict")), "{conflict}");
    let path = "/api/schemas/order.placed";
    let stricter = json!({ "schema": order("string") }).to_string();
    let (status, checked) = host.send("POST", &format!("{path}/check"), &[], &stricter).await;
    assert_eq!((status, &checked["compatible"]), (200, &json!(false)), "{checked}");
    let found = &checked["incompatibilities"][0];
    assert_eq!(
        (&found["at"], &found["oldVersion"], &found["newVersion"]),
        (&json!("properties.amount"), &json!(1), &json!(2))
    );
    assert!(found["message"].as_str().expect("text").contains("type integer -> string"), "{found}");
    let (status, refused) = host.send("POST", path, &[], &stricter).await;
    assert_eq!((status, &refused["code"]), (409, &json!("schema_incompatible")), "{refused}");
    assert_eq!(refused["details"][0]["facts"]["direction"], json!("backward"), "{refused}");
    let (status, second) = host.send("POST", path, &[], &json!({ "schema": order("number") }).to_string()).await;
    assert_eq!((status, &second["version"]), (201, &json!(2)), "{second}");

    let (_, latest) = host.get(&format!("{path}/versions/latest")).await;
    assert_eq!((&latest["version"], &latest["schema"]), (&json!(2), &order("number")), "{latest}");
    let (_, of_type) = host.get(path).await;
    assert_eq!((&of_type["compatibility"], &of_type["versions"][0]["id"]), (&json!("backward"), &made["id"]));
    assert_eq!(host.get("/api/schemas").await, (200, json!({ "types": [of_type] })));
    let full = json!({ "compatibility": "full" });
    let (status, mode) = host.send("PUT", &format!("{path}/compatibility"), &[], &full.to_string()).await;
    assert_eq!((status, mode), (200, json!({ "type": "order.placed", "compatibility": "full" })));
    assert_eq!(host.get(&format!("{path}/compatibility")).await.1["compatibility"], json!("full"));

    let validate = format!("{path}/versions/1/validate");
    let (_, valid) = host.send("POST", &validate, &[], r#"{"id":"1"}"#).await;
    assert_eq!(valid, json!({ "valid": true, "version": 1, "violations": [] }));
    let (_, broken) = host.send("POST", &validate, &[], r#"{"id":"1","amount":1.5}"#).await;
    assert_eq!((&broken["valid"], &broken["violations"][0]["at"]), (&json!(false), &json!("/amount")), "{broken}");

    let version = format!("{path}/versions/1");
    let (status, kept) = host.send("DELETE", &version, &[], "").await;
    assert_eq!((status, &kept["code"]), (400, &json!("invalid_argument")), "{kept}");
    assert_eq!(host.send("DELETE", &format!("{version}?force=true"), &[], "").await.0, 204);
    let (status, gone) = host.get(&version).await;
    assert_eq!((status, &gone["code"]), (404, &json!("schema_not_found")), "{gone}");
}

#[tokio::test]
async fn what_is_no_request_for_a_schema_is_refused_by_name() {
    let host = TestHost::start().await;
    for (method, path, body, code, at) in [
        ("PUT", "t/versions/1", r#"{"type":"odd"}"#, "invalid_argument", "schema/type"),
        ("PUT", "t/versions/1", r#"{"$ref":"https://example.org/x"}"#, "invalid_argument", "schema/$ref"),
        ("PUT", "t/versions/0", "{}", "invalid_argument", "version"),
        ("PUT", "t/versions/latest", "{}", "invalid_argument", "version"),
        ("POST", "t", r#"{"version":1}"#, "invalid_argument", "body"),
        ("POST", "t", r#"{"schema":{},"colour":1}"#, "invalid_argument", "colour"),
        ("PUT", "t/compatibility", r#"{"compatibility":"sideways"}"#, "invalid_argument", "compatibility"),
        ("PUT", "%24t/versions/1", "{}", "invalid_name", "type"),
    ] {
        let (status, refused) = host.send(method, &format!("/api/schemas/{path}"), &[], body).await;
        assert!((400..500).contains(&status), "{path}: {refused}");
        assert_eq!((&refused["code"], &refused["details"][0]["at"]), (&json!(code), &json!(at)), "{path}: {refused}");
    }
}

#[tokio::test]
async fn a_stream_takes_what_keeps_its_schema_over_every_face_and_after_a_restart() {
    let mut host = TestHost::start().await;
    put(&host, 1, &order("integer")).await;
    validation(&host, "strict-*", "required").await;
    validation(&host, "known-*", "known").await;
    let (good, bad) = (json!({ "id": "o-1", "amount": 3 }), json!({ "id": 1, "amount": 1.5 }));
    for restarted in [false, true] {
        host.publish("strict-1", &event(1, &good)).await;
        host.publish("free-1", &event(1, &bad)).await;
        host.publish("known-1", &event(2, &bad)).await;
        for stream in ["strict-1", "known-1"] {
            let path = format!("/api/event-streams/{stream}/events");
            let (status, refused) = host.send("POST", &path, &[], &event(1, &bad).to_string()).await;
            assert_eq!((status, &refused["code"]), (422, &json!("schema_violation")), "{refused}");
            let pointers: Vec<_> =
                refused["details"].as_array().expect("details").iter().map(|one| &one["facts"]["pointer"]).collect();
            assert!(pointers.contains(&&json!("/id")) && pointers.contains(&&json!("/amount")), "{refused}");
            assert_eq!(refused["details"][0]["at"], json!("events[0].data"), "{refused}");
        }
        let (status, unknown) =
            host.send("POST", "/api/event-streams/strict-1/events", &[], &event(2, &good).to_string()).await;
        assert_eq!((status, &unknown["code"]), (404, &json!("schema_not_found")), "{unknown}");
        let two = json!({ "appends": [{ "stream": "free-1", "events": event(1, &bad) },
            { "stream": "strict-1", "events": event(1, &bad) }] });
        let (status, refused) = host.send("POST", "/api/transactions", &[], &two.to_string()).await;
        assert_eq!((status, &refused["details"][0]["at"]), (422, &json!("appends[1].events[0].data")), "{refused}");

        let of = |data: &Value| NewEvent {
            r#type: "order.placed".into(),
            data: data.to_string().into(),
            ..NewEvent::default()
        };
        let append =
            |data| AppendRequest { stream: "strict-1".into(), events: vec![of(data)], ..AppendRequest::default() };
        host.log().await.append(append(&good)).await.expect("it keeps the schema");
        let refused = host.log().await.append(append(&bad)).await.expect_err("it breaks the schema");
        let details = refused.get_error_details();
        let info = details.error_info().expect("an error info");
        assert_eq!((refused.code(), info.reason.as_str()), (Code::InvalidArgument, "schema_violation"));
        assert!(!details.bad_request().expect("violations").field_violations.is_empty(), "{details:?}");

        let dir = tempfile::tempdir().expect("a folder");
        let line = |data: &Value| json!({ "stream": "strict-1", "type": "order.placed", "data": data });
        let file = write(dir.path(), "good.jsonl", &[line(&good)]);
        run_json(&host, &format!("publish {file}")).await.json();
        let file = write(dir.path(), "bad.jsonl", &[line(&good), line(&bad)]);
        let refused = run_json(&host, &format!("publish {file}")).await.error();
        assert_eq!(refused["code"], json!("schema_violation"), "{refused}");
        if !restarted {
            let (dir, url) = (host.kill().await, host.url.clone());
            host = TestHost::start_again(dir, &url).await;
        }
    }
}

#[tokio::test]
async fn the_service_answers_as_http_does() {
    let host = TestHost::start().await;
    let mut schemas = SchemaServiceClient::new(host.channel().await);
    let register = |schema: &Value, version| RegisterSchemaRequest {
        r#type: "order.placed".into(),
        version,
        schema_json: schema.to_string(),
    };
    let made = schemas.register_schema(register(&order("integer"), None)).await.expect("registered").into_inner();
    let version = made.version.expect("a version");
    assert_eq!((version.version, made.registered), (1, true));
    assert!(
        !schemas.register_schema(register(&order("integer"), Some(1))).await.expect("known").into_inner().registered
    );
    let refused = schemas.register_schema(register(&order("string"), None)).await.expect_err("it does not go with it");
    let reason = refused.get_error_details().error_info().expect("an error info").reason.clone();
    assert_eq!((refused.code(), reason.as_str()), (Code::FailedPrecondition, "schema_incompatible"));
    let check =
        CheckSchemaRequest { r#type: "order.placed".into(), version: None, schema_json: order("string").to_string() };
    let checked = schemas.check_schema(check).await.expect("checked").into_inner();
    let found = &checked.incompatibilities[0];
    assert_eq!((checked.compatible, found.at.as_str(), found.certain), (false, "properties.amount", true));
    assert_eq!(found.direction(), SchemaCompatibility::Backward);
    let request = GetSchemaRequest { r#type: "order.placed".into(), version: None };
    let shown = schemas.get_schema(request).await.expect("shown").into_inner();
    assert_eq!((shown.schema_json, shown.version), (order("integer").to_string(), Some(version)));
    let request = SetSchemaCompatibilityRequest { r#type: "a".into(), compatibility: SchemaCompatibility::None.into() };
    schemas.set_schema_compatibility(request).await.expect("set");
    let unspecified = SetSchemaCompatibilityRequest { r#type: "a".into(), ..SetSchemaCompatibilityRequest::default() };
    assert_eq!(schemas.set_schema_compatibility(unspecified).await.expect_err("of none").code(), Code::InvalidArgument);
    let page = |after: &str| ListSchemaTypesRequest { after: after.into(), limit: 1 };
    let first = schemas.list_schema_types(page("")).await.expect("listed").into_inner();
    assert_eq!((first.types[0].r#type.as_str(), first.next_after.as_str()), ("a", "a"));
    let rest = schemas.list_schema_types(page("a")).await.expect("listed").into_inner();
    assert_eq!((rest.types[0].versions.len(), rest.next_after.as_str()), (1, ""));
    let data =
        |data: &'static str| ValidateDataRequest { r#type: "order.placed".into(), version: None, data: data.into() };
    let valid = schemas.validate_data(data(r#"{"id":"1"}"#)).await.expect("looked at").into_inner();
    assert_eq!((valid.valid, valid.version), (true, 1));
    let broken = schemas.validate_data(data(r#"{"id":1}"#)).await.expect("looked at").into_inner();
    assert_eq!((broken.valid, broken.violations[0].at.as_str()), (false, "/id"));
    let delete = |force| DeleteSchemaRequest { r#type: "order.placed".into(), version: 1, force };
    assert_eq!(schemas.delete_schema(delete(false)).await.expect_err("not forced").code(), Code::InvalidArgument);
    schemas.delete_schema(delete(true)).await.expect("deleted");
    let request = GetSchemaTypeRequest { r#type: "order.placed".into() };
    assert_eq!(schemas.get_schema_type(request).await.expect_err("it is gone").code(), Code::NotFound);
}

#[tokio::test]
async fn the_command_line_registers_checks_and_validates() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let none = run(&host, "schema list").await;
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (Some(0), "", "no schemas\n"));
    let file = |name: &str, content: &Value| write(dir.path(), name, std::slice::from_ref(content));
    let (integer, number, string) =
        (file("1.json", &order("integer")), file("2.json", &order("number")), file("3.json", &order("string")));
    let made = run(&host, &format!("schema register order.placed {integer}")).await;
    assert_eq!(made.out, "registered version 1 of order.placed\n", "{}", made.err);
    let again = run(&host, &format!("schema register order.placed {integer} --version 1")).await;
    assert_eq!(again.out, "version 1 of order.placed has this schema already\n", "{}", again.err);
    let wrong = run(&host, &format!("schema check order.placed {string}")).await;
    assert_eq!(wrong.code, Some(1), "{}", wrong.out);
    assert!(wrong.err.contains("properties.amount: ") && wrong.err.contains("integer -> string"), "{}", wrong.err);
    let refused = run_json(&host, &format!("schema register order.placed {string}")).await.error();
    assert_eq!(refused["code"], json!("schema_incompatible"), "{refused}");
    let checked = run_json(&host, &format!("schema check order.placed {number}")).await.json();
    assert_eq!(checked, json!({ "type": "order.placed", "compatible": true, "version": 2 }));
    assert_eq!(run(&host, "schema compatibility order.placed none").await.out, "order.placed: none\n");
    run_json(&host, &format!("schema register order.placed {string} --version 9")).await.json();
    let mode = run_json(&host, "schema compatibility order.placed").await.json();
    assert_eq!(mode, json!({ "type": "order.placed", "compatibility": "none" }));
    let shown = run_json(&host, "schema show order.placed --version 1").await.json();
    assert_eq!(host.get("/api/schemas/order.placed/versions/1").await, (200, shown), "it is the JSON that HTTP gives");
    let list = run(&host, "schema list").await.out;
    assert!(list.starts_with("type ") && list.contains("order.placed") && list.contains('9'), "{list}");
    let listed = run_json(&host, "schema list --limit 0").await.json();
    assert_eq!(host.get("/api/schemas").await, (200, listed), "it is the JSON that HTTP gives");
    let (good, bad) = (file("good.json", &json!({ "id": "1" })), file("bad.json", &json!({ "amount": true })));
    let valid = run(&host, &format!("schema validate --type order.placed --version 1 {good}")).await;
    assert_eq!(valid.out, "the data keeps version 1 of the schema of order.placed\n", "{}", valid.err);
    let broken = run(&host, &format!("schema validate --type order.placed --version 1 {bad}")).await;
    assert!(broken.code == Some(1) && broken.err.contains("/amount: "), "{}", broken.err);
    assert_eq!(run(&host, "schema delete order.placed --version 9").await.code, Some(1));
    let deleted = run(&host, "schema delete order.placed --version 9 --force").await;
    assert_eq!(deleted.out, "deleted version 9 of order.placed\n", "{}", deleted.err);
}

/// The narrowest schema, as far as types and names go, that takes all of `values`.
fn inferred(values: &[&Value]) -> Value {
    let type_of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut types: Vec<_> = values.iter().map(|value| type_of(value)).collect();
    types.sort_unstable();
    types.dedup();
    let mut schema = json!({ "type": types });
    let objects: Vec<_> = values.iter().filter_map(|value| value.as_object()).collect();
    if let Some(first) = objects.first() {
        let names: std::collections::BTreeSet<_> = objects.iter().flat_map(|object| object.keys()).collect();
        let of = |name: &&String| -> Vec<&Value> { objects.iter().filter_map(|object| object.get(*name)).collect() };
        let properties: Map<_, _> = names.iter().map(|name| ((*name).clone(), inferred(&of(name)))).collect();
        let required = first.keys().filter(|name| objects.iter().all(|object| object.contains_key(*name)));
        schema["required"] = required.cloned().collect();
        schema["properties"] = properties.into();
        schema["additionalProperties"] = false.into();
    }
    let items: Vec<_> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
    if !items.is_empty() {
        schema["items"] = inferred(&items);
    }
    schema
}

/// The same data with a wrong value at one of its ends.
fn spoilt(data: &Value) -> Value {
    let mut data = data.clone();
    let mut place = &mut data;
    while let Value::Object(object) = place {
        let deeper = object.iter().find(|(_, value)| value.as_object().is_some_and(|object| !object.is_empty()));
        let Some(name) = deeper.map(|(name, _)| name.clone()) else {
            object.insert("a name that no webhook has".into(), Value::Null);
            return data;
        };
        place = object.get_mut(&name).expect("it was just found");
    }
    json!([data])
}

#[tokio::test]
async fn webhooks_keep_the_schemas_that_they_come_to() {
    let Some(events) = data_set("github-webhooks.jsonl.gz") else { return };
    let host = TestHost::start().await;
    let mut by_type = std::collections::BTreeMap::<&str, Vec<&Value>>::new();
    for event in &events {
        by_type.entry(event["type"].as_str().expect("a type")).or_default().push(&event["data"]);
    }
    for (event_type, data) in &by_type {
        let schema = inferred(data).to_string();
        let (status, answer) = host.send("PUT", &format!("/api/schemas/{event_type}/versions/1"), &[], &schema).await;
        assert_eq!(status, 201, "{event_type}: {answer}");
    }
    validation(&host, "*", "required").await;
    for event in &events {
        let path = format!("/api/event-streams/{}/events", event["stream"].as_str().expect("a stream"));
        let of = |data: &Value| json!([{ "type": event["type"], "data": data }]).to_string();
        let (status, answer) = host.send("POST", &path, &[], &of(&event["data"])).await;
        assert_eq!(status, 201, "{answer}");
        let (status, answer) = host.send("POST", &path, &[], &of(&spoilt(&event["data"]))).await;
        assert_eq!((status, &answer["code"]), (422, &json!("schema_violation")), "{answer}");
    }
}

#[tokio::test]
async fn what_changed_between_two_versions_of_a_specification_is_found() {
    let Some(events) = data_set("cdevents.jsonl.gz") else { return };
    let host = TestHost::start().await;
    let of = |stream: &str| -> Vec<&Value> {
        let of_type = |event: &&Value| event["type"].as_str().is_some_and(|name| name.contains(".artifact.packaged."));
        events.iter().filter(of_type).filter(|event| event["stream"] == stream).map(|event| &event["data"]).collect()
    };
    let (old, new) = (of("cdevents-v0.2.0"), of("cdevents-v0.5.1"));
    assert!(!old.is_empty() && !new.is_empty(), "the data set has both");
    let path = "/api/schemas/artifact.packaged";
    let body = |data: &[&Value]| json!({ "schema": inferred(data) }).to_string();
    assert_eq!(host.send("POST", path, &[], &body(&old)).await.0, 201);
    let (status, refused) = host.send("POST", path, &[], &body(&new)).await;
    assert_eq!((status, &refused["code"]), (409, &json!("schema_incompatible")), "{refused}");
    let at: Vec<_> = refused["details"].as_array().expect("details").iter().map(|one| one["at"].as_str()).collect();
    // The specification renamed `context.version` to `context.specversion`.
    for changed in ["properties.context.properties.version", "properties.context.properties.specversion"] {
        assert!(at.contains(&Some(changed)), "{at:?}");
    }
}
