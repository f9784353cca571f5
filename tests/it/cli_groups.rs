//! The command line, where it is about consumer groups.

use serde_json::{Value, json};

use crate::cli::{run, run_json, write};
use crate::support::TestHost;

async fn publish(host: &TestHost, key: &str, count: u64) {
    let events: Vec<Value> = (0..count).map(|n| json!({ "type": "counted", "key": key, "data": n })).collect();
    host.publish("s", &json!(events)).await;
}

fn data(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn a_group_is_made_worked_for_and_looked_after() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let config = write(dir.path(), "g.json", &[json!({ "retry": { "baseMs": 0 } })]);
    let create = format!("group create g --stream s --max-deliveries 3 --config {config}");
    assert_eq!(run_json(&host, &create).await.json(), json!({ "group": "g", "created": true }));
    assert_eq!(run_json(&host, &create).await.json()["created"], json!(false), "the same again");
    let error = run_json(&host, "group create g --mode exclusive").await.error();
    assert_eq!(error["code"], json!("group_exists"), "{error}");
    publish(&host, "a", 5).await;

    let printed = run(&host, "group consume g --limit 2").await.lines();
    assert_eq!(data(&printed), [0, 1]);
    let shown = run_json(&host, "group show g").await.json();
    assert_eq!((&shown["position"], &shown["lagEvents"], &shown["members"]), (&json!(2), &json!(3), &json!([])));
    assert_eq!((&shown["config"]["maxDeliveries"], shown["config"].get("ackTimeoutMs")), (&json!(3), None));
    let printed = run(&host, "group consume g --member w --limit 3").await.lines();
    assert_eq!(data(&printed), [2, 3, 4], "what was acknowledged does not come again");

    let reset = run_json(&host, "group reset g --to 4").await.json();
    assert_eq!((&reset["done"], &reset["position"]), (&json!("reset"), &json!(4)));
    assert_eq!(run_json(&host, "group pause g").await.json()["done"], json!("paused"));
    let list = run_json(&host, "group list").await.json();
    assert_eq!((&list["groups"][0]["name"], &list["groups"][0]["paused"]), (&json!("g"), &json!(true)), "{list}");
    assert!(run(&host, "group list").await.out.starts_with("group  state"));
    assert_eq!(run_json(&host, "group resume g").await.json()["done"], json!("resumed"));
    let error = run_json(&host, "group skip g 99").await.error();
    assert_eq!(error["code"], json!("not_skipped"), "{error}");
    assert_eq!(run_json(&host, &format!("group configure g {config}")).await.json()["done"], json!("configured"));
    assert_eq!(run_json(&host, "group delete g").await.json()["done"], json!("deleted"));
    let error = run_json(&host, "group show g").await.error();
    assert_eq!(error["code"], json!("group_not_found"), "{error}");
    let none = run(&host, "group list").await;
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (Some(0), "", "no groups\n"));
}

#[tokio::test]
async fn dead_letters_are_shown_replayed_and_removed() {
    let host = TestHost::start().await;
    run_json(&host, "group create g").await.json();
    publish(&host, "a", 2).await;
    let post = async |path: &str, body: Value| {
        let (status, answer) = host.send("POST", &format!("/api/groups/g/{path}"), &[], &body.to_string()).await;
        assert!(status < 300, "{answer}");
        answer
    };
    let session = post("members", json!({ "member": "m" })).await["session"].clone();
    let pulled = post("pull", json!({ "session": session, "limit": 1, "waitMs": 60_000 })).await;
    let refusal = json!({ "park": "no such account" });
    post("nack", json!({ "session": session, "tokens": [pulled["deliveries"][0]["token"]], "refusal": refusal })).await;
    post("pull", json!({ "session": session })).await;

    let list = run_json(&host, "deadletter list g").await.json();
    let letters = list["deadLetters"].as_array().expect("dead letters");
    let reasons: Vec<_> = letters.iter().map(|letter| (&letter["event"]["data"], &letter["reason"])).collect();
    assert_eq!(reasons, [(&json!(0), &json!("parked")), (&json!(1), &json!("follows"))], "{list}");
    let page = run_json(&host, "deadletter list g --limit 1").await.json();
    assert_eq!((page["deadLetters"].as_array().map(Vec::len), &page["nextPosition"]), (Some(1), &json!(1)));
    let shown = run(&host, "deadletter show g 0").await;
    assert!(shown.out.contains("no such account") && shown.out.contains("refused 1, lost 0"), "{}", shown.out);
    let error = run_json(&host, "deadletter show g 7").await.error();
    assert_eq!(error["code"], json!("dead_letter_not_found"), "{error}");
    let error = run_json(&host, "deadletter replay g --position 1").await.error();
    assert_eq!(error["code"], json!("dead_letter_order"), "{error}");
    assert_eq!(run_json(&host, "deadletter replay g --key a").await.json(), json!({ "count": 2 }));
    post("members", json!({ "member": "m" })).await;
    let left = run_json(&host, "deadletter purge g --all").await.json();
    assert_eq!(left, json!({ "count": 0 }), "they are not dead letters any more");
    let printed = run(&host, "group consume g --limit 2 --member m").await.lines();
    assert_eq!(data(&printed), [0, 1]);
}
