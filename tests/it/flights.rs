//! The main job, checked against answers that were computed from the source files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{TestHost, flights};

/// A whole collection by its key.
pub async fn collection(host: &TestHost, projection: &str, name: &str, wait_for: u64) -> BTreeMap<String, Value> {
    let (mut documents, mut after) = (BTreeMap::new(), String::new());
    loop {
        let path = format!(
            "/api/projections/{projection}/documents/{name}?limit=1000&waitFor={wait_for}&timeout=60s&after={after}"
        );
        let (status, page) = host.get(&path).await;
        assert_eq!(status, 200, "{page}");
        for document in page["documents"].as_array().expect("a page of documents") {
            documents.insert(document["key"].as_str().expect("a key").to_owned(), document["value"].clone());
        }
        match page["nextAfter"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return documents,
        }
    }
}

/// Reads every figure of the answers out of the read model.
pub async fn figures(host: &TestHost, projection: &str, last: u64) -> Value {
    let of = async |name: &str| collection(host, projection, name, last).await;
    let pick = |documents: &BTreeMap<String, Value>, field: &str| -> BTreeMap<String, Value> {
        let given = documents.iter().filter(|(_, document)| document[field] != json!(0));
        given.map(|(key, document)| (key.clone(), document[field].clone())).collect()
    };
    let (carriers, aircraft) = (of("carriers").await, of("aircraft").await);
    let totals = of("totals").await.remove("all").expect("the totals");
    json!({
        "events": totals["events"],
        "streams": totals["streams"],
        "byType": totals["byType"],
        "byStream": aircraft,
        "departuresByCarrier": pick(&carriers, "departures"),
        "departureDelayMinutesByCarrier": pick(&carriers, "departureDelayMinutes"),
        "cancelledByCarrier": pick(&carriers, "cancelled"),
        "departuresByOrigin": pick(&of("origins").await, "departures"),
        "arrivalsByDest": pick(&of("destinations").await, "arrivals"),
        "departedNeverArrived": of("airborne").await.len(),
    })
}

/// Compares figure by figure, so that a failure names the one that is wrong.
pub fn assert_equal(figures: &Value, answers: &Value) {
    for (name, answer) in answers.as_object().expect("the answers") {
        assert_eq!(&figures[name], answer, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_guests_give_every_figure_of_the_answers() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    host.deploy(&flights::js_component()).await;
    let events = flights::events();
    assert_eq!(flights::publish(&host, &events).await.expect("all are taken"), events.len());
    let answers = flights::answers();
    let last = events.len() as u64 - 1;
    for projection in ["flights", "flights-js"] {
        assert_equal(&figures(&host, projection, last).await, &answers);
    }
    let (rust, js) =
        (collection(&host, "flights", "airborne", last).await, collection(&host, "flights-js", "airborne", last).await);
    assert_eq!(rust, js, "both guests give the same documents");
    host.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_the_same_read_model() {
    let host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    let events = flights::events();
    flights::publish(&host, &events).await.expect("all are taken");
    let last = events.len() as u64 - 1;
    collection(&host, "flights", "totals", last).await;
    let (status, rebuild) = host.post("/api/projections/flights/rebuild", "application/json", "").await;
    assert_eq!(status, 202, "{rebuild}");
    let mut tries = 0;
    while host.get("/api/projections/flights").await.1["generation"] != rebuild["generation"] {
        tries += 1;
        assert!(tries < 20_000, "the rebuild is swapped in");
    }
    assert_equal(&figures(&host, "flights", last).await, &flights::answers());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_does_the_main_job_and_exits() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = tokio::process::Command::new(crate::support::host::binary());
    command.args(["demo", "--exit", "--listen", "127.0.0.1:0"]).current_dir(dir.path());
    let output = command.output().await.expect("the demo runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for figure in ["53,472", "United", "2,735"] {
        assert!(printed.contains(figure), "{figure} is in the table:\n{printed}");
    }
}
