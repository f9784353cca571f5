//! The command line, where it is about replays.

use serde_json::{Value, json};

use crate::cli::{run, run_json};
use crate::support::TestHost;

async fn filled() -> TestHost {
    let host = TestHost::start().await;
    let events: Vec<Value> = (0..20).map(|n| json!({ "type": "counted", "data": n })).collect();
    host.publish("s", &json!(events)).await;
    host
}

#[tokio::test]
async fn a_range_is_printed_like_a_read() {
    let host = filled().await;
    let line = "replay start --client --stream s --from-offset 5 --until-offset 9 --rate 10000";
    let lines = run_json(&host, line).await.lines();
    let offsets: Vec<_> = lines.iter().map(|event| event["offset"].as_u64()).collect();
    assert_eq!(offsets, [5, 6, 7, 8].map(Some));
    let list = run(&host, "replay list").await.out;
    assert!(list.contains("a client") && list.contains("4 of 4"), "{list}");
}

#[tokio::test]
async fn a_replay_is_begun_watched_paused_and_ended() {
    let host = filled().await;
    assert_eq!(run(&host, "replay list").await.err, "no replays\n");
    run_json(&host, "group create g").await.json();
    let consumed = run(&host, "group consume g --limit 20").await.lines();
    assert_eq!(consumed.len(), 20);
    let begun = run_json(&host, "replay start --group g --rate 1 --detach").await.json();
    let id = begun["id"].as_str().expect("an id");
    assert_eq!((&begun["group"], &begun["total"], &begun["eventsPerSecond"]), (&json!("g"), &json!(20), &json!(1)));
    for (verb, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")] {
        assert_eq!(run_json(&host, &format!("replay {verb} {id}")).await.json()["state"], json!(state));
    }
    assert!(run(&host, &format!("replay show {id}")).await.out.contains("1/s at most"));
    // Without --detach it is watched until it is over.
    let done = run_json(&host, "replay start --group g --from 15").await.json();
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(5)), "{done}");
    let consumed = run(&host, "group consume g --limit 5").await.lines();
    assert!(consumed.len() == 5, "{consumed:?}");
    let over = run_json(&host, &format!("replay resume {id}")).await.error();
    assert_eq!(over["code"], json!("replay_state"), "{over}");
    let wrong = run_json(&host, "replay start --projection none").await.error();
    assert_eq!(wrong["code"], json!("projection_not_found"), "{wrong}");
}
