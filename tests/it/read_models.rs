//! Read models as their users meet them: queries over HTTP, gRPC and the command line, changes that are
//! followed, generations that are compared. Checked with the flights, whose read model is known.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use serde_json::{Value, json};
use wasmill_server::proto::follow_changes_response::Kind;
use wasmill_server::proto::{
    ChangesResetReason, DiffProjectionRequest, DifferenceKind, FollowChangesRequest, QueryDocumentsRequest, WaitFor,
};

use crate::cli::{run, run_json};
use crate::flights::collection;
use crate::support::host::PATIENCE;
use crate::support::{TestHost, flights};

/// The first flights of January.
async fn with_flights(events: usize) -> (TestHost, u64) {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    let flights = flights::events();
    flights::publish(&host, &flights[..events]).await.expect("all are taken");
    (host, events as u64 - 1)
}

fn keys(page: &Value) -> Vec<&str> {
    let documents = page["documents"].as_array().unwrap_or_else(|| panic!("a page: {page}"));
    documents.iter().map(|document| document["key"].as_str().expect("a key")).collect()
}

/// Keys of the documents that pass, by the number in a field, downwards.
fn downwards<'a>(documents: &'a BTreeMap<String, Value>, field: &str, pass: impl Fn(&Value) -> bool) -> Vec<&'a str> {
    let mut found: Vec<_> = documents.iter().filter(|(_, document)| pass(document)).collect();
    found.sort_by_key(|(key, document)| std::cmp::Reverse((document[field].as_i64(), *key)));
    found.into_iter().map(|(key, _)| key.as_str()).collect()
}

fn carrier<'a>(airborne: &'a BTreeMap<String, Value>, wanted: &[&str]) -> Vec<&'a str> {
    let passes = |document: &Value| wanted.contains(&document["carrier"].as_str().expect("a carrier"));
    airborne.iter().filter(|(_, document)| passes(document)).map(|(key, _)| key.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_face_finds_the_same_documents_in_the_same_order() {
    let (host, last) = with_flights(20_000).await;
    let (carriers, airborne) =
        (collection(&host, "flights", "carriers", last).await, collection(&host, "flights", "airborne", last).await);
    assert!(carriers.len() > 10 && airborne.len() > 30, "{} {}", carriers.len(), airborne.len());
    let large = downwards(&carriers, "departures", |document| document["departures"].as_i64() >= Some(100));

    // HTTP, page by page.
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!(
            "/api/projections/flights/documents/carriers?where=departures%3E%3D100&sort=-departures&limit=4&count=true{cursor}"
        );
        let (status, page) = host.get(&path).await;
        assert_eq!((status, &page["count"], &page["by"]), (200, &json!(large.len()), &json!("departures")), "{page}");
        found.extend(keys(&page).into_iter().map(str::to_owned));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, large);

    // A body, with what the short form cannot say; and a wait for what was just published.
    let united = carrier(&airborne, &["UA", "AA"]);
    let body = json!({
        "where": { "any": [{ "field": "carrier", "eq": "UA" }, { "field": "carrier", "eq": "AA" }] },
        "sort": "$key", "limit": 1_000, "count": true, "waitFor": last, "timeout": "60s",
    });
    let path = "/api/projections/flights/query/airborne";
    let (status, page) = host.post(path, "application/json", body.to_string()).await;
    assert_eq!((status, keys(&page)), (200, united.clone()), "{page}");
    assert_eq!((&page["count"], &page["nextCursor"]), (&json!(united.len()), &Value::Null));

    // gRPC, in both forms at once.
    let mut projections = host.projections().await;
    let request = QueryDocumentsRequest {
        projection: "flights".into(),
        collection: "airborne".into(),
        r#where: vec!["carrier in UA,AA".into(), "departedAtUs>0".into()],
        condition_json: r#"{"field":"aircraft","prefix":"aircraft-"}"#.into(),
        sort: "-$key".into(),
        limit: 7,
        count: true,
        wait_for: Some(WaitFor { position: last, timeout_ms: 60_000 }),
        ..QueryDocumentsRequest::default()
    };
    let (mut found, mut cursor) = (Vec::new(), Default::default());
    loop {
        let request = QueryDocumentsRequest { cursor, ..request.clone() };
        let page = projections.query_documents(request).await.expect("found").into_inner();
        assert_eq!(page.count.map(|count| count.documents), Some(united.len() as u64));
        found.extend(page.documents.into_iter().map(|document| document.key));
        if page.next_cursor.is_empty() {
            break;
        }
        cursor = page.next_cursor;
    }
    found.reverse();
    assert_eq!(found, united);

    // The command line.
    let line = "projection query flights carriers --where departures>=100 --sort -departures --limit 0 --count";
    let answer = run_json(&host, line).await.json();
    assert_eq!((keys(&answer), &answer["count"]["documents"]), (large.clone(), &json!(large.len())), "{answer}");
    let line = "projection query flights carriers --where departures>=100 --sort -departures --limit 2 --count";
    let ran = run(&host, line).await;
    let lines: Vec<&str> = ran.out.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(lines, large[..2], "{}", ran.err);
    assert!(ran.err.contains(&format!("2 of {} documents", large.len())), "{}", ran.err);
    let cursor = ran.err.split("--cursor ").nth(1).expect("there are more").trim();
    let line =
        format!("projection query flights carriers --where departures>=100 --sort -departures --cursor {cursor}");
    assert_eq!(keys(&run_json(&host, &line).await.json()), large[2..]);
    let status = run(&host, "projection get flights").await;
    assert!(status.out.lines().any(|line| line.starts_with("airborne") && line.contains("carrier")), "{}", status.out);

    // What only the host sees is nowhere.
    let (_, status) = host.get("/api/projections/flights").await;
    assert!(!status.to_string().contains('$'), "{status}");
    let (status, _) = host.get("/api/projections/flights/documents/$index%2Fairborne%2Fcarrier").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_cannot_be_answered_says_why() {
    let (host, last) = with_flights(1_000).await;
    collection(&host, "flights", "totals", last).await;
    let refused = async |query: &str| {
        let (_, problem) = host.get(&format!("/api/projections/flights/documents/carriers?{query}")).await;
        let details = problem["details"].as_array().unwrap_or_else(|| panic!("a problem: {problem}"));
        let at: Vec<&str> = details.iter().map(|detail| detail["at"].as_str().unwrap()).collect();
        (problem["code"].as_str().unwrap().to_owned(), at.join(" "), problem["detail"].as_str().unwrap().to_owned())
    };
    let (code, _, message) = refused("sort=cancelled").await;
    assert_eq!(code, "not_indexed");
    assert!(message.ends_with("there are: departures"), "{message}");
    let (_, _, message) = refused("where=cancelled%3E0&sort=cancelled").await;
    assert!(message.contains("no index"), "{message}");
    for (query, at) in [
        ("where=departures", "where"),
        ("where=a%3D1&where=.b%3D1&sort=..", "where[1] sort"),
        ("sort=departures&after=UA", "after"),
        ("sort=departures&cursor=!", "cursor"),
        ("sort=departures&cursor=AAAAAAAAAAAA", "cursor"),
        ("count=yes", "count"),
        ("where=a%3D1&colour=red", "colour"),
    ] {
        let (code, found, message) = refused(query).await;
        assert_eq!((code.as_str(), found.as_str()), ("invalid_argument", at), "{query}: {message}");
    }
    let body = r#"{"where":{"all":[{"field":"departures","like":1}]}}"#;
    let (status, problem) = host.post("/api/projections/flights/query/carriers", "application/json", body).await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("where.all[0].like")), "{problem}");
    let error = run_json(&host, "projection query flights carriers --sort -cancelled").await.error();
    assert_eq!(error["code"], "not_indexed");
}

/// Server-sent events: name, id if it has one, and data.
struct Events {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Events {
    async fn follow(host: &TestHost, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(host.path(&format!("/api/projections/flights/changes?{query}")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { body: Box::pin(response.bytes_stream()), text: String::new() }
    }

    async fn next(&mut self) -> (String, Option<String>, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = (field("event: "), field("id: "), field("data: "));
                self.text = rest.to_owned();
                if let (Some(name), id, Some(data)) = found {
                    return (name, id, serde_json::from_str(&data).expect("data is JSON"));
                }
                continue;
            }
            let piece = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("in time");
            self.text += std::str::from_utf8(&piece.expect("more").expect("read")).expect("text");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_followed_through_lost_connections_and_rebuilds() {
    let (host, last) = with_flights(1_000).await;
    let carriers = collection(&host, "flights", "carriers", last).await;
    let departures = |carrier: &str| carriers[carrier]["departures"].as_u64().expect("a number");
    let mut events = Events::follow(&host, "collection=carriers&prefix=U", None).await;
    let (name, id, begin) = events.next().await;
    assert_eq!((name.as_str(), &begin["nextPosition"]), ("begin", &json!(last + 1)), "{begin}");
    assert_eq!(id, Some(format!("{}-{}", begin["generation"], last + 1)));
    let mut follower = host
        .projections()
        .await
        .follow_changes(FollowChangesRequest { projection: "flights".into(), ..FollowChangesRequest::default() })
        .await
        .expect("followed")
        .into_inner();
    let message = async |follower: &mut tonic::Streaming<wasmill_server::proto::FollowChangesResponse>| {
        let message = tokio::time::timeout(PATIENCE, follower.message()).await.expect("in time");
        message.expect("no failure").expect("no end").kind.expect("a kind")
    };
    let Kind::Begin(place) = message(&mut follower).await else { panic!("it begins") };
    assert_eq!(place.next_position, last + 1);

    let departed = |carrier: &str| {
        json!([{ "type": "flight.departed", "key": format!("{carrier}-1"), "data": {
            "flight": "1", "carrier": carrier, "origin": "EWR", "dest": "IAH", "delayMinutes": 2 } }])
    };
    for carrier in ["AA", "UA"] {
        host.publish("aircraft-test", &departed(carrier)).await;
    }
    let (name, id, change) = events.next().await;
    let expected = json!({ "departures": departures("UA") + 1, "departureDelayMinutes": 0, "cancelled": 0 });
    assert_eq!((name.as_str(), &change["key"], &change["nextPosition"]), ("change", &json!("UA"), &json!(last + 3)));
    assert_eq!(change["value"]["departures"], expected["departures"]);
    let id = id.expect("the last change of a commit has an id");
    let mut told = BTreeMap::new();
    while told.len() < 2 {
        let Kind::Changes(changes) = message(&mut follower).await else { panic!("changes come") };
        assert!(changes.whole);
        let place = changes.place.expect("a place");
        assert!(changes.changes.iter().all(|change| !change.collection.starts_with('$')), "entries are the host's own");
        assert!(changes.changes.iter().any(|change| change.collection == "airborne"));
        for change in changes.changes.into_iter().filter(|change| change.collection == "carriers") {
            told.insert(change.key, place.next_position);
        }
    }
    assert_eq!(told, BTreeMap::from([("AA".to_owned(), last + 2), ("UA".to_owned(), last + 3)]));

    // The connection is lost, and what happens meanwhile is told when it is back.
    drop(events);
    host.publish("aircraft-test", &departed("UA")).await;
    let mut events = Events::follow(&host, "collection=carriers&prefix=U", Some(&id)).await;
    assert_eq!(events.next().await.0, "begin");
    let (_, id, change) = events.next().await;
    assert_eq!(change["value"]["departures"], json!(departures("UA") + 2));

    // Another generation: everything is to be read anew.
    let (status, rebuild) = host.post("/api/projections/flights/rebuild", "application/json", "").await;
    assert_eq!(status, 202, "{rebuild}");
    let (name, _, reset) = events.next().await;
    assert_eq!((name.as_str(), &reset["reason"]), ("reset", &json!("replaced")), "{reset}");
    assert_eq!(reset["generation"], rebuild["generation"]);
    let reset = loop {
        match message(&mut follower).await {
            Kind::Reset(reset) => break reset,
            Kind::Changes(_) | Kind::Begin(_) => {}
        }
    };
    assert_eq!(reset.reason(), ChangesResetReason::Replaced);
    let mut late = Events::follow(&host, "", id.as_deref()).await;
    assert_eq!(late.next().await.0, "reset", "an id of the old one");
    host.publish("aircraft-test", &departed("UA")).await;
    assert_eq!(events.next().await.2["value"]["departures"], json!(departures("UA") + 3));

    let (status, _) = host.get("/api/projections/flights/changes?collection=none").await;
    assert_eq!(status, 404);
    let (status, problem) = host.send("GET", "/api/projections/flights/changes", &[("last-event-id", "7")], "").await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("Last-Event-ID")));
    let (code, _) = host.terminate().await;
    assert_eq!(code, Some(0), "those who follow do not hold up the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_built_is_compared_with_what_serves() {
    let (host, last) = with_flights(20_000).await;
    let carriers = collection(&host, "flights", "carriers", last).await;
    let (status, problem) = host.get("/api/projections/flights/diff").await;
    assert_eq!((status, &problem["code"]), (409, &json!("generation_not_found")), "{problem}");
    // At this pace it is not finished before it is looked at.
    let replay = json!({ "projection": "flights", "eventsPerSecond": 500 });
    let (status, replay) = host.post("/api/replays", "application/json", replay.to_string()).await;
    assert_eq!(status, 201, "{replay}");
    let at = async || host.get("/api/projections/flights").await.1["build"]["nextPosition"].as_u64().unwrap_or(0);
    while at().await < 50 {}
    let path = format!("/api/replays/{}/pause", replay["id"].as_str().expect("an id"));
    assert_eq!(host.post(&path, "application/json", "").await.0, 200);

    let (status, diff) = host.get("/api/projections/flights/diff?collection=carriers&limit=1000").await;
    assert_eq!(status, 200, "{diff}");
    assert_eq!((&diff["samePosition"], &diff["before"]["nextPosition"]), (&json!(false), &json!(last + 1)));
    assert_eq!(diff["collections"][0]["before"], json!(carriers.len()));
    let differences = diff["differences"].as_array().expect("a list");
    assert_eq!(differences.len(), carriers.len(), "each has departed since");
    for difference in differences {
        let key = difference["key"].as_str().expect("a key");
        match difference["kind"].as_str() {
            Some("removed") => {}
            Some("changed") => {
                let values = difference["values"].as_array().expect("a list");
                let departures = values.iter().find(|value| value["path"] == "/departures").expect("it has grown");
                assert_eq!(departures["before"], json!(carriers[key]["departures"].to_string()));
            }
            other => panic!("{other:?}: {difference}"),
        }
    }
    let request = DiffProjectionRequest { projection: "flights".into(), limit: 5, ..DiffProjectionRequest::default() };
    let mut projections = host.projections().await;
    let first = projections.diff_projection(request.clone()).await.expect("compared").into_inner();
    assert_eq!((first.differences.len(), first.collections.len()), (5, 6));
    let second = DiffProjectionRequest { after: first.next, ..request };
    let second = projections.diff_projection(second).await.expect("compared").into_inner();
    let place = |difference: &wasmill_server::proto::DocumentDifference| {
        (difference.collection.clone(), difference.key.clone())
    };
    assert!(place(&first.differences[4]) < place(&second.differences[0]), "pages go on");
    assert_ne!(second.differences[0].kind(), DifferenceKind::Unspecified);

    let answer = run_json(&host, "projection diff flights --collection carriers --limit 0").await.json();
    assert_eq!((&answer["more"], answer["differences"].as_array().unwrap().len()), (&json!(false), carriers.len()));
    let ran = run(&host, "projection diff flights --limit 3").await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.starts_with("before  generation 1 (revision 1), live at position 20,000"), "{}", ran.out);
    assert!(ran.err.contains("3 differences in") && ran.err.contains("not at the same position"), "{}", ran.err);
}
